// One pass, six bits at a time.
#include "text/base64.h"

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

bool hth_base64_decode(const char *text, size_t n, uint8_t *out, size_t *n_out) {
    while (n > 0 && text[n - 1] == '=') n--;
    uint32_t bits = 0;
    unsigned n_bit = 0;
    *n_out = 0;
    for (size_t i = 0; i < n; i++) {
        int v = value_of(text[i]);
        if (v < 0) return false;
        bits = bits << 6 | (uint32_t)v;
        n_bit += 6;
        if (n_bit >= 8) {
            n_bit -= 8;
            out[(*n_out)++] = (uint8_t)(bits >> n_bit);
        }
    }
    return n_bit < 6;
}
