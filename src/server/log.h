// What the server tells: lines of the program and of requests, as text or JSON, and on demand requests with their
// texts. Whole lines are written at once, from any thread. Headers, queries and keys are never told.
#ifndef HTH_SERVER_LOG_H
#define HTH_SERVER_LOG_H

#include "base/log.h"
#include "server/call.h"
#include "server/config.h"

typedef struct hth_logger hth_logger;

// `fd` is where lines go when no file is named; borrowed. Becomes the sink of hth_log. Returns owned.
HTH_NODISCARD hth_code hth_logger_new(const hth_config *c, int fd, hth_logger **out, hth_err *err);
void hth_logger_free(hth_logger *l);

// One line for an exchange that has ended; what is NULL or 0 is left out.
typedef struct hth_access_line {
    const char *method, *path, *address, *key, *model;
    int status;            // 0: the client left
    uint64_t elapsed_ns, first_ns;
    const hth_call_usage *usage; // NULL: none
} hth_access_line;
void hth_logger_access(hth_logger *l, const hth_access_line *line);

// The body of a request, where the request log is on.
bool hth_logger_wants_bodies(const hth_logger *l);
void hth_logger_body(hth_logger *l, const char *method, const char *path, const char *body, size_t n);

// "2026-11-21T09:19:01.123Z"
void hth_time_text(char out[32]);

#endif
