// JSON writer for everything that prints `--json`: appends to a string, places commas itself,
// escapes strings, replaces invalid UTF-8 by U+FFFD, prints doubles in the shortest form that reads
// back the same (non-finite as null). Errors are the string's: check to->failed at the end, which also
// tells of brackets that do not match.
#ifndef HTH_BASE_JSON_OUT_H
#define HTH_BASE_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct hth_json_out {
    hth_str *to;        // borrowed
    uint64_t has_items; // one bit per open level (at most 63)
    int depth;
    bool pretty;
} hth_json_out;

hth_json_out hth_json_out_make(hth_str *to, bool pretty);
// `key` is NULL inside arrays and at the top.
void hth_json_out_begin(hth_json_out *j, const char *key, char bracket); // '{' or '['
void hth_json_out_end(hth_json_out *j, char bracket);                     // '}' or ']'
void hth_json_out_str(hth_json_out *j, const char *key, const char *text, size_t n);
void hth_json_out_text(hth_json_out *j, const char *key, const char *text); // zero-terminated; NULL is null
void hth_json_out_int(hth_json_out *j, const char *key, int64_t v);
void hth_json_out_num(hth_json_out *j, const char *key, double v);
void hth_json_out_float(hth_json_out *j, const char *key, float v); // shortest for a float
void hth_json_out_bool(hth_json_out *j, const char *key, bool v);
// A value that is JSON already, as it stands.
void hth_json_out_raw(hth_json_out *j, const char *key, const char *text, size_t n);

#endif
