// Why a request is refused or has failed, before it is put into a dialect's words. Every dialect prints it in its own
// shape; the HTTP status follows from the kind alone.
#ifndef HTH_SERVER_FAULT_H
#define HTH_SERVER_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hearth.h"

typedef enum hth_fault_kind {
    HTH_FAULT_NONE,
    HTH_FAULT_BAD_REQUEST,  // 400 a field is wrong: .param
    HTH_FAULT_UNSUPPORTED,  // 400 well-formed, but nothing here honours it: .param
    HTH_FAULT_CONTEXT,      // 400 the prompt is too long: .n_prompt, .n_ctx
    HTH_FAULT_UNAUTHORIZED, // 401 no key, or a wrong one
    HTH_FAULT_FORBIDDEN,    // 403 this key, origin or address may not
    HTH_FAULT_NOT_FOUND,    // 404 no such endpoint or object
    HTH_FAULT_NO_MODEL,     // 404 no such model; the message lists what there is
    HTH_FAULT_METHOD,       // 405
    HTH_FAULT_SLOW,         // 408 the request did not arrive in time
    HTH_FAULT_CONFLICT,     // 409
    HTH_FAULT_TOO_LARGE,    // 413
    HTH_FAULT_URI,          // 414
    HTH_FAULT_MEDIA_TYPE,   // 415
    HTH_FAULT_BUSY,         // 429 the queue, or a limit of the key, is full: .retry_ms
    HTH_FAULT_INTERNAL,     // 500
    HTH_FAULT_NOT_OFFERED,  // 501 the endpoint exists in the dialect, and this server does not have it
    HTH_FAULT_UNAVAILABLE,  // 503 still loading, or shutting down: .retry_ms
    HTH_FAULT_NO_MEMORY,    // 503 memory that is not there, now: .retry_ms
    HTH_FAULT_TIMEOUT,      // 504 a deadline passed
} hth_fault_kind;

typedef struct hth_fault {
    hth_fault_kind kind;
    char param[160];        // the field's path ("messages[2].content[0].type"); "" where none is at fault
    char message[1024];     // one sentence or two, UTF-8
    const char *code;       // static; a finer word that a dialect may print ("invalid_json"); NULL: by kind
    int64_t n_prompt, n_ctx;
    int64_t retry_ms;       // when to try again; 0: trying again does not help
} hth_fault;

// Fills *f and returns false, so that a parser can `return hth_refuse(...)`. `param` may be NULL.
bool hth_refuse(hth_fault *f, hth_fault_kind kind, const char *param, const char *fmt, ...) HTH_PRINTF(4, 5);
// The same from what a lower layer said. `why` may be NULL.
bool hth_refuse_err(hth_fault *f, const hth_err *err, const hth_refusal *why);

int hth_fault_status(hth_fault_kind kind); // 400, 401, ...

#endif
