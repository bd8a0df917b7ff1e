// A growable byte string with a maximum. Always zero-terminated; may contain zeros.
// The error is sticky: after a refused append `failed` stays set and appends do nothing, so a long
// sequence of appends is checked once.
#ifndef HTH_BASE_STR_H
#define HTH_BASE_STR_H

#include "base/mem.h"

typedef struct hth_str {
    char *p; // owned; NULL while empty
    size_t len, cap, max;
    hth_mem_tag tag;
    bool failed;
} hth_str;

void hth_str_init(hth_str *s, hth_mem_tag tag, size_t max);
void hth_str_free(hth_str *s);
void hth_str_clear(hth_str *s); // keeps the memory, clears `failed`
bool hth_str_append(hth_str *s, const void *bytes, size_t n);
bool hth_str_puts(hth_str *s, const char *text);
bool hth_str_putc(hth_str *s, char c);
bool hth_str_printf(hth_str *s, const char *fmt, ...) HTH_PRINTF(2, 3);
// The text, "" when empty. Borrowed until the next change.
const char *hth_str_text(const hth_str *s);

#endif
