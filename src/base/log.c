// Logging: format into a bounded line, hand it to the sink.
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static hth_log_sink log_sink;
static void *log_user;
static hth_log_level log_min;

void hth_log_set_sink(hth_log_sink sink, void *user, hth_log_level min_level) {
    log_sink = sink;
    log_user = user;
    log_min = min_level;
}

void hth_log(hth_log_level level, const char *fmt, ...) {
    if (!log_sink || level < log_min) return;
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (unsigned char *c = (unsigned char *)line; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = ' ';
    }
    log_sink(level, line, log_user);
}
