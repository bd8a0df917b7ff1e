// Error values: formatting only, no allocation, so that an error can always be reported.
#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// Control characters, also those of U+0080 to U+009F, which some terminals obey.
static void clean_message(char *msg) {
    for (unsigned char *c = (unsigned char *)msg; *c; c++) {
        bool is_c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f;
        if (is_c1) c[1] = '?';
        if (is_c1 || *c < 0x20 || *c == 0x7f) *c = '?';
    }
}

hth_code hth_fail(hth_err *err, hth_code code, const char *fmt, ...) {
    if (!err) return code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    clean_message(err->msg);
    err->code = code;
    err->pos = HTH_NO_POS;
    return code;
}

hth_code hth_fail_at(hth_err *err, hth_code code, uint64_t pos, const char *fmt, ...) {
    if (!err) return code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->msg, sizeof err->msg - 40, fmt, args);
    va_end(args);
    clean_message(err->msg);
    size_t n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, " (at byte %llu)", (unsigned long long)pos);
    err->code = code;
    err->pos = pos;
    return code;
}

hth_code hth_fail_in(hth_err *err, hth_code code, const char *prefix) {
    if (!err) return code;
    char old[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    size_t room = sizeof err->msg - 1;
    int n_prefix = snprintf(err->msg, sizeof err->msg, "%.*s: ", (int)(room / 2), prefix);
    size_t at = n_prefix < 0 ? 0 : (size_t)n_prefix;
    snprintf(err->msg + at, sizeof err->msg - at, "%.*s", (int)(room - at), old);
    clean_message(err->msg);
    return code;
}

hth_code hth_fail_nomem(hth_err *err, uint64_t n_bytes) {
    return hth_fail(err, HTH_ERR_NOMEM, "out of memory: %llu bytes could not be allocated",
                    (unsigned long long)n_bytes);
}

const char *hth_code_name(hth_code code) {
    switch (code) {
    case HTH_OK: return "ok";
    case HTH_ERR_NOMEM: return "nomem";
    case HTH_ERR_IO: return "io";
    case HTH_ERR_FORMAT: return "format";
    case HTH_ERR_LIMIT: return "limit";
    case HTH_ERR_UNSUPPORTED: return "unsupported";
    case HTH_ERR_RANGE: return "range";
    case HTH_ERR_NOTFOUND: return "notfound";
    case HTH_ERR_CANCELLED: return "cancelled";
    case HTH_ERR_INTERNAL: return "internal";
    case HTH_ERR_BUSY: return "busy";
    case HTH_ERR_TIMEOUT: return "timeout";
    case HTH_ERR_NUMBERS: return "numbers";
    }
    return "unknown";
}
