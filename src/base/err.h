// Error values. A function that can fail returns a code that the compiler insists is used; the
// place that detects the problem writes the sentence a person will read.
#ifndef HTH_BASE_ERR_H
#define HTH_BASE_ERR_H

#include "base/attr.h"
#include "hearth_err.h" // hth_code, hth_err

// Writes code and message into *err (which may be NULL) and returns `code`, so that a caller can
// `return hth_fail(...)`. Bytes of the message below 0x20 become '?': names in it come from files.
HTH_NODISCARD hth_code hth_fail(hth_err *err, hth_code code, const char *fmt, ...) HTH_PRINTF(3, 4);

// The same with a byte position, which is also appended to the message as " (at byte N)".
HTH_NODISCARD hth_code hth_fail_at(hth_err *err, hth_code code, uint64_t pos, const char *fmt, ...)
    HTH_PRINTF(4, 5);

// Puts "<prefix>: " in front of the message already in *err and returns its code; used where a
// file name or tensor name becomes known one level up.
HTH_NODISCARD hth_code hth_fail_in(hth_err *err, hth_code code, const char *prefix);

// Out of memory, with the number of bytes that were asked for.
HTH_NODISCARD hth_code hth_fail_nomem(hth_err *err, uint64_t n_bytes);

// Short name of a code, for logs and JSON: "format", "io", ...
const char *hth_code_name(hth_code code);

// Returns from the enclosing function when `expr` is not HTH_OK.
#define HTH_TRY(expr)                                                                              \
    do {                                                                                           \
        hth_code try_code_ = (expr);                                                               \
        if (HTH_UNLIKELY(try_code_ != HTH_OK)) return try_code_;                                   \
    } while (0)

// Jumps to `label` with `code_var` set when `expr` is not HTH_OK.
#define HTH_TRY_GOTO(code_var, expr, label)                                                        \
    do {                                                                                           \
        (code_var) = (expr);                                                                       \
        if (HTH_UNLIKELY((code_var) != HTH_OK)) goto label;                                        \
    } while (0)

#endif
