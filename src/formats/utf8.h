// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#ifndef HTH_FORMATS_UTF8_H
#define HTH_FORMATS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool hth_utf8_is_tail(uint8_t b) {
    return (b & 0xc0) == 0x80;
}

// Bytes of the character at p (1 to 4), of which `left` bytes exist; 0 when it is not well-formed.
static inline unsigned hth_utf8_len(const uint8_t *p, size_t left) {
    if (left == 0) return 0;
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    if (left < 2 || !hth_utf8_is_tail(p[1])) return 0;
    if (p[0] < 0xe0) return 2;
    if (left < 3 || !hth_utf8_is_tail(p[2])) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0; // overlong
    if (p[0] == 0xed && p[1] > 0x9f) return 0; // surrogate
    if (p[0] < 0xf0) return 3;
    if (left < 4 || !hth_utf8_is_tail(p[3])) return 0;
    if (p[0] == 0xf0 && p[1] < 0x90) return 0; // overlong
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0; // above U+10FFFF
    return 4;
}

// True when all n bytes are well-formed UTF-8 without zero bytes: fit to be a C string.
static inline bool hth_utf8_is_name(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned len = hth_utf8_len(p + i, n - i);
        if (len == 0 || p[i] == 0) return false;
        i += len;
    }
    return true;
}

#endif
