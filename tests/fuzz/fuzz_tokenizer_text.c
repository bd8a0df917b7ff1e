// Any bytes through a tokenizer of every kind, as segments of a template and of a user: ids lie in the
// vocabulary, a user's bytes never become control tokens, byte-level text comes back, nothing leaks.
#include <stdlib.h>
#include <string.h>

#include "text/tok_impl.h"
#include "tokenizer_kinds.h"

#define N_KIND 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool contains(const uint8_t *text, size_t n, const char *word) {
    size_t k = strlen(word);
    for (size_t i = 0; i + k <= n; i++) {
        if (memcmp(text + i, word, k) == 0) return true;
    }
    return false;
}

static void check(const hth_tokenizer *t, const hth_text_segment *s, size_t n_segment, bool all_user,
                  const uint8_t *text, size_t n) {
    hth_err err;
    hth_token_list ids = {0};
    hth_str back, want;
    hth_str_init(&back, HTH_MEM_TEXT, 1u << 26);
    hth_str_init(&want, HTH_MEM_TEXT, 1u << 26);
    hth_utf8_sanitize(&want, text, n);
    hth_detokenizer d = hth_detokenizer_make(t, true);
    if (hth_tokenize(t, s, n_segment, 0, &ids, &err) != HTH_OK) abort();
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.ids[i] < 0 || ids.ids[i] >= hth_tokenizer_n_vocab(t)) abort();
        if (all_user && hth_tokenizer_is_control(t, ids.ids[i]) && ids.ids[i] != t->model.unk) abort();
        if (hth_detokenizer_push(&d, ids.ids[i], &back, &err) != HTH_OK) abort();
    }
    if (hth_detokenizer_end(&d, &back, &err) != HTH_OK) abort();
    for (size_t i = 0; i < back.len;) { // whole characters only
        unsigned len;
        uint32_t cp = hth_cp_at((const uint8_t *)back.p + i, back.len - i, &len);
        if (hth_cp_is_invalid((const uint8_t *)back.p + i, cp, len)) abort();
        i += len;
    }
    bool ascii = true;
    for (size_t i = 0; i < n; i++) ascii = ascii && text[i] < 0x80;
    // Without the added token that takes spaces, ASCII comes back byte for byte.
    bool plain = ascii && !contains(text, n, "ab") && !contains(text, n, "<|x|>");
    if (plain && t->model.byte_level &&
        (back.len != want.len || (want.len && memcmp(back.p, want.p, want.len) != 0)))
        abort();
    hth_str_free(&back);
    hth_str_free(&want);
    hth_token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static hth_tokenizer *kinds[N_KIND];
    if (size < 3) return 0;
    hth_tokenizer **t = &kinds[data[0] % N_KIND];
    if (!*t) *t = make_tokenizer_kind(data[0] % N_KIND);
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    const uint8_t *text = data + 3;
    size_t n = size - 3, cut = n ? data[1] % (n + 1) : 0;
    unsigned who = data[2];
    hth_text_segment s[3] = {{(const char *)text, cut, who & 1},
                             {(const char *)text + cut, (n - cut) / 2, who & 2},
                             {(const char *)text + cut + (n - cut) / 2, n - cut - (n - cut) / 2, who & 4}};
    check(*t, s, 3, (who & 7) == 7, text, n);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
    return 0;
}
