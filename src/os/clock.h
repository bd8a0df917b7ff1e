// Monotonic time, and the time of day.
#ifndef HTH_OS_CLOCK_H
#define HTH_OS_CLOCK_H

#include <stdint.h>

// Nanoseconds since some fixed moment; never goes back.
uint64_t hth_clock_ns(void);
// Nanoseconds since 1970 by the machine's clock, which people may set.
int64_t hth_clock_unix_ns(void);

// The time of day where the machine is.
typedef struct hth_local_time {
    int year, month, day; // month 1..12
    int hour, minute, second;
    int weekday, yearday; // 0 = Monday; 1 = first of January
} hth_local_time;
hth_local_time hth_clock_local(void);

#endif
