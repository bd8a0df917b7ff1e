// Growable byte string: doubling growth up to its maximum.
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

void hth_str_init(hth_str *s, hth_mem_tag tag, size_t max) {
    *s = (hth_str){.max = max, .tag = tag};
}

void hth_str_free(hth_str *s) {
    hth_free(s->p);
    hth_str_init(s, s->tag, s->max);
}

void hth_str_clear(hth_str *s) {
    s->len = 0;
    s->failed = false;
    if (s->p) s->p[0] = 0;
}

// Makes room for n more bytes and the terminator.
static bool reserve(hth_str *s, size_t n) {
    size_t need, max = s->max == SIZE_MAX ? SIZE_MAX : s->max + 1;
    if (s->failed || !hth_add_size(s->len, n, &need) || need > s->max || need == SIZE_MAX ||
        !hth_grow(s->tag, (void **)&s->p, &s->cap, need + 1, 1, max)) {
        s->failed = true;
        return false;
    }
    return true;
}

bool hth_str_append(hth_str *s, const void *bytes, size_t n) {
    if (!reserve(s, n)) return false;
    if (n) memcpy(s->p + s->len, bytes, n);
    s->len += n;
    s->p[s->len] = 0;
    return true;
}

bool hth_str_puts(hth_str *s, const char *text) {
    return hth_str_append(s, text, strlen(text));
}

bool hth_str_putc(hth_str *s, char c) {
    return hth_str_append(s, &c, 1);
}

bool hth_str_printf(hth_str *s, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    bool ok = n >= 0 && reserve(s, (size_t)n);
    if (ok) {
        vsnprintf(s->p + s->len, (size_t)n + 1, fmt, again);
        s->len += (size_t)n;
    }
    va_end(again);
    if (!ok) s->failed = true;
    return ok;
}

const char *hth_str_text(const hth_str *s) {
    return s->p ? s->p : "";
}
