// Monotonic time, and the time of day.
#ifndef HTH_OS_CLOCK_H
#define HTH_OS_CLOCK_H

#include <stdint.h>

// Nanoseconds since some fixed moment; never goes back.
uint64_t hth_clock_ns(void);
// Nanoseconds since 1970 by the machine's clock, which people may set.
int64_t hth_clock_unix_ns(void);

#endif
