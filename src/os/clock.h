// Monotonic time.
#ifndef HTH_OS_CLOCK_H
#define HTH_OS_CLOCK_H

#include <stdint.h>

// Nanoseconds since some fixed moment; never goes back.
uint64_t hth_clock_ns(void);

#endif
