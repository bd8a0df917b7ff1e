// JSON writer. Commas and indentation come from one bit per open level: has it an item already.
#include "base/json_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 63

hth_json_out hth_json_out_make(hth_str *to, bool pretty) {
    return (hth_json_out){.to = to, .pretty = pretty};
}

static void break_line(hth_json_out *j) {
    if (!j->pretty) return;
    hth_str_putc(j->to, '\n');
    for (int i = 0; i < j->depth; i++) hth_str_append(j->to, "  ", 2);
}

// Length of the valid UTF-8 sequence at p, 0 when there is none (Unicode 15, table 3-7).
static size_t sequence_length(const unsigned char *p, size_t n) {
    unsigned char c = p[0], low = 0x80, high = 0xbf;
    size_t len = 0;
    if (c < 0x80) len = 1;
    if (c >= 0xc2 && c <= 0xdf) len = 2;
    if (c >= 0xe0 && c <= 0xef) len = 3;
    if (c >= 0xf0 && c <= 0xf4) len = 4;
    if (len == 0 || len > n) return 0;
    if (c == 0xe0) low = 0xa0;
    if (c == 0xed) high = 0x9f; // surrogates
    if (c == 0xf0) low = 0x90;
    if (c == 0xf4) high = 0x8f;
    if (len > 1 && (p[1] < low || p[1] > high)) return 0;
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) return 0;
    }
    return len;
}

static void put_escaped(hth_str *to, unsigned char c) {
    const char *short_form = c == '"'    ? "\\\""
                             : c == '\\' ? "\\\\"
                             : c == '\n' ? "\\n"
                             : c == '\r' ? "\\r"
                             : c == '\t' ? "\\t"
                             : c == '\b' ? "\\b"
                             : c == '\f' ? "\\f"
                                         : NULL;
    if (short_form) {
        hth_str_append(to, short_form, 2);
    } else {
        hth_str_printf(to, "\\u%04x", c);
    }
}

static void put_quoted(hth_str *to, const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    hth_str_putc(to, '"');
    size_t plain = 0; // start of the bytes that need no change
    for (size_t i = 0; i < n;) {
        size_t len = sequence_length(p + i, n - i);
        bool must_escape = p[i] < 0x20 || p[i] == '"' || p[i] == '\\' || p[i] == 0x7f;
        if (len > 0 && !must_escape) {
            i += len;
            continue;
        }
        hth_str_append(to, text + plain, i - plain);
        if (must_escape) {
            put_escaped(to, p[i]);
        } else {
            hth_str_append(to, "\xef\xbf\xbd", 3);
        }
        plain = ++i;
    }
    if (n > plain) hth_str_append(to, text + plain, n - plain);
    hth_str_putc(to, '"');
}

// What comes in front of a value: a comma, a new line, the key.
static void start_value(hth_json_out *j, const char *key) {
    uint64_t bit = (uint64_t)1 << j->depth;
    if (j->has_items & bit) hth_str_putc(j->to, ',');
    j->has_items |= bit;
    if (j->depth > 0) break_line(j);
    if (!key) return;
    put_quoted(j->to, key, strlen(key));
    hth_str_append(j->to, ": ", j->pretty ? 2 : 1);
}

void hth_json_out_begin(hth_json_out *j, const char *key, char bracket) {
    start_value(j, key);
    if (j->depth >= MAX_DEPTH) { // our own bug: the text is marked bad instead of being wrong
        j->to->failed = true;
        return;
    }
    hth_str_putc(j->to, bracket);
    j->depth++;
    j->has_items &= ~((uint64_t)1 << j->depth);
}

void hth_json_out_end(hth_json_out *j, char bracket) {
    if (j->depth <= 0) {
        j->to->failed = true;
        return;
    }
    bool had_items = j->has_items >> j->depth & 1;
    j->depth--;
    if (had_items) break_line(j);
    hth_str_putc(j->to, bracket);
}

void hth_json_out_str(hth_json_out *j, const char *key, const char *text, size_t n) {
    start_value(j, key);
    put_quoted(j->to, text, n);
}

void hth_json_out_text(hth_json_out *j, const char *key, const char *text) {
    start_value(j, key);
    if (text) {
        put_quoted(j->to, text, strlen(text));
    } else {
        hth_str_puts(j->to, "null");
    }
}

void hth_json_out_int(hth_json_out *j, const char *key, int64_t v) {
    start_value(j, key);
    hth_str_printf(j->to, "%lld", (long long)v);
}

// The fewest digits from `first` to `last` that read back the same; the last number always does.
static void put_number(hth_json_out *j, double v, bool is_float, int first, int last) {
    char digits[32];
    for (int precision = first; precision <= last; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, v);
        if (is_float ? strtof(digits, NULL) == (float)v : strtod(digits, NULL) == v) break;
    }
    char *comma = strchr(digits, ','); // the decimal point of some locales
    if (comma) *comma = '.';
    hth_str_puts(j->to, digits);
}

void hth_json_out_num(hth_json_out *j, const char *key, double v) {
    start_value(j, key);
    if (!isfinite(v)) hth_str_puts(j->to, "null");
    else put_number(j, v, false, 1, 17);
}

void hth_json_out_float(hth_json_out *j, const char *key, float v) {
    start_value(j, key);
    if (!isfinite(v)) hth_str_puts(j->to, "null");
    else put_number(j, (double)v, true, 6, 9);
}

void hth_json_out_bool(hth_json_out *j, const char *key, bool v) {
    start_value(j, key);
    hth_str_puts(j->to, v ? "true" : "false");
}

void hth_json_out_raw(hth_json_out *j, const char *key, const char *text, size_t n) {
    start_value(j, key);
    hth_str_append(j->to, text, n);
}
