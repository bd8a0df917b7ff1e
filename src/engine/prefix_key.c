// Keys of sequences: made from tokens, compared as bytes.
#include "engine/prefix_key.h"

#include <string.h>

enum { MARK = 0xff, MARK_TEXT = 0, MARK_TOKEN = 1, MARK_MEDIA = 2, MARK_DOMAIN_END = 3 };

static void put_text(hth_str *s, const void *bytes, size_t n) {
    const char *p = bytes, *end = p + n;
    while (p < end) {
        const char *mark = memchr(p, MARK, (size_t)(end - p));
        const char *to = mark ? mark + 1 : end;
        (void)hth_str_append(s, p, (size_t)(to - p));
        if (mark) (void)hth_str_putc(s, MARK_TEXT);
        p = to;
    }
}

static void put_mark(hth_str *s, uint8_t kind, uint64_t value, int n) {
    uint8_t bytes[10] = {MARK, kind};
    for (int i = 0; i < n; i++) bytes[2 + i] = (uint8_t)(value >> (8 * i));
    (void)hth_str_append(s, bytes, 2 + (size_t)n);
}

static void put_token(hth_str *s, const hth_tokenizer *t, const hth_prefix_text *text, size_t i) {
    size_t n;
    const hth_token id = text->tokens[i];
    const char *bytes = id >= 0 && t ? hth_tokenizer_bytes(t, id, &n) : NULL;
    if (bytes) put_text(s, bytes, n);
    else if (id >= 0) put_mark(s, MARK_TOKEN, (uint64_t)id, 4);
    else put_mark(s, MARK_MEDIA, text->media ? text->media[i] : 0, 8);
}

hth_code prefix_key_make(const hth_tokenizer *t, const hth_prefix_text *text, prefix_key *out, hth_err *err) {
    hth_str s;
    hth_str_init(&s, HTH_MEM_ENGINE, UINT32_MAX / 2);
    *out = (prefix_key){.n = text->n};
    out->ends = hth_calloc(HTH_MEM_ENGINE, text->n + 1, sizeof *out->ends);
    if (!out->ends) return hth_fail_nomem(err, (text->n + 1) * sizeof *out->ends);
    put_text(&s, text->domain, text->n_domain);
    put_mark(&s, MARK_DOMAIN_END, 0, 0);
    out->n_head = s.len;
    for (size_t i = 0; i < text->n; i++) {
        put_token(&s, t, text, i);
        out->ends[i] = (uint32_t)s.len;
    }
    out->bytes = (uint8_t *)s.p;
    out->n_bytes = s.len;
    if (!s.failed) return HTH_OK;
    prefix_key_free(out);
    return hth_fail_nomem(err, s.len);
}

void prefix_key_free(prefix_key *k) {
    hth_free(k->bytes);
    hth_free(k->ends);
    *k = (prefix_key){0};
}

size_t prefix_key_common(const prefix_key *a, const prefix_key *b) {
    const size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes, step = 256;
    size_t i = 0;
    while (n - i >= step && memcmp(a->bytes + i, b->bytes + i, step) == 0) i += step;
    while (i < n && a->bytes[i] == b->bytes[i]) i++;
    return i;
}

size_t prefix_key_tokens(const prefix_key *k, size_t n_bytes) {
    size_t lo = 0, hi = k->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (k->ends[mid] <= n_bytes) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}
