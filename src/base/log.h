// Log lines go to one sink that the program sets; without one the library is silent.
#ifndef HTH_BASE_LOG_H
#define HTH_BASE_LOG_H

#include "base/attr.h"

typedef enum hth_log_level { HTH_LOG_DEBUG, HTH_LOG_INFO, HTH_LOG_WARN, HTH_LOG_ERROR } hth_log_level;

// Called with one line without newline; may be called from any thread.
typedef void (*hth_log_sink)(hth_log_level level, const char *line, void *user);

// Set before any other thread runs.
void hth_log_set_sink(hth_log_sink sink, void *user, hth_log_level min_level);
void hth_log(hth_log_level level, const char *fmt, ...) HTH_PRINTF(2, 3);

#endif
