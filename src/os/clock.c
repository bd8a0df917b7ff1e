// Time from the system's clocks.
#include "os/clock.h"

#include <time.h>

uint64_t hth_clock_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t hth_clock_unix_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

hth_local_time hth_clock_local(void) {
    time_t now = time(NULL);
    struct tm t = {0};
    (void)localtime_r(&now, &t);
    return (hth_local_time){.year = t.tm_year + 1900, .month = t.tm_mon + 1, .day = t.tm_mday, .hour = t.tm_hour,
                            .minute = t.tm_min, .second = t.tm_sec, .weekday = (t.tm_wday + 6) % 7, .yearday = t.tm_yday + 1};
}
