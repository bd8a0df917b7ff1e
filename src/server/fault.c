// Faults: a sentence, a kind, and the HTTP status of the kind.
#include "server/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"

bool hth_refuse(hth_fault *f, hth_fault_kind kind, const char *param, const char *fmt, ...) {
    va_list args;
    f->kind = kind;
    snprintf(f->param, sizeof f->param, "%s", param ? param : "");
    va_start(args, fmt);
    vsnprintf(f->message, sizeof f->message, fmt, args);
    va_end(args);
    return false;
}

static hth_fault_kind kind_of(const hth_err *err, const hth_refusal *why) {
    switch (err->code) {
    case HTH_ERR_RANGE:
    case HTH_ERR_FORMAT: return HTH_FAULT_BAD_REQUEST;
    case HTH_ERR_UNSUPPORTED: return HTH_FAULT_UNSUPPORTED;
    case HTH_ERR_NOTFOUND: return HTH_FAULT_NO_MODEL;
    case HTH_ERR_LIMIT:
        return why && why->n_ctx > 0      ? HTH_FAULT_CONTEXT
             : why && why->need_bytes > 0 ? HTH_FAULT_NO_MEMORY
                                          : HTH_FAULT_BAD_REQUEST;
    case HTH_ERR_BUSY: return HTH_FAULT_BUSY;
    case HTH_ERR_TIMEOUT: return HTH_FAULT_TIMEOUT;
    case HTH_ERR_NOMEM: return HTH_FAULT_NO_MEMORY;
    case HTH_ERR_CANCELLED: return HTH_FAULT_UNAVAILABLE;
    default: return HTH_FAULT_INTERNAL;
    }
}

bool hth_refuse_err(hth_fault *f, const hth_err *err, const hth_refusal *why) {
    (void)hth_refuse(f, kind_of(err, why), why ? why->parameter : NULL, "%s", err->msg);
    if (why) {
        f->n_prompt = why->n_prompt;
        f->n_ctx = why->n_ctx;
        f->retry_ms = why->retry_ms;
    }
    return false;
}

int hth_fault_status(hth_fault_kind kind) {
    static const int status[] = {
        [HTH_FAULT_NONE] = 200,      [HTH_FAULT_BAD_REQUEST] = 400,  [HTH_FAULT_UNSUPPORTED] = 400,
        [HTH_FAULT_CONTEXT] = 400,   [HTH_FAULT_UNAUTHORIZED] = 401, [HTH_FAULT_FORBIDDEN] = 403,
        [HTH_FAULT_NOT_FOUND] = 404, [HTH_FAULT_NO_MODEL] = 404,     [HTH_FAULT_METHOD] = 405,
        [HTH_FAULT_SLOW] = 408,      [HTH_FAULT_CONFLICT] = 409,     [HTH_FAULT_TOO_LARGE] = 413,
        [HTH_FAULT_URI] = 414,       [HTH_FAULT_MEDIA_TYPE] = 415,   [HTH_FAULT_BUSY] = 429,
        [HTH_FAULT_INTERNAL] = 500,  [HTH_FAULT_NOT_OFFERED] = 501,  [HTH_FAULT_UNAVAILABLE] = 503,
        [HTH_FAULT_NO_MEMORY] = 503, [HTH_FAULT_TIMEOUT] = 504};
    return (size_t)kind < HTH_COUNT(status) ? status[kind] : 500;
}
