// A tokenizer.json or tekken.json, a zero byte, a text: no crash, no leak, ids below the size of the
// vocabulary.
#include <stdlib.h>
#include <string.h>

#include "text/tok_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(hth_tokenizer *t, const uint8_t *text, size_t n) {
    hth_err err;
    hth_text_segment s[2] = {{(const char *)text, n / 2, false},
                             {(const char *)text + n / 2, n - n / 2, true}};
    hth_token_list ids = {0};
    hth_str out;
    hth_str_init(&out, HTH_MEM_TEXT, 1u << 24);
    hth_detokenizer d = hth_detokenizer_make(t, true);
    hth_code code = hth_tokenize(t, s, 2, HTH_TOKENIZE_ADD_SPECIAL, &ids, &err);
    for (size_t i = 0; code == HTH_OK && i < ids.n; i++) {
        if (ids.ids[i] < 0 || ids.ids[i] >= hth_tokenizer_n_vocab(t)) abort();
        if (hth_detokenizer_push(&d, ids.ids[i], &out, &err) != HTH_OK) break;
    }
    (void)!hth_detokenizer_end(&d, &out, &err);
    hth_str_free(&out);
    hth_token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size;
    hth_json_doc *doc = NULL;
    if (hth_json_parse((const char *)data, n, 1u << 24, &doc, &err) != HTH_OK) return 0;
    const hth_json *root = hth_json_root(doc);
    hth_tokenizer *t = NULL;
    hth_code code =
        hth_json_get(root, "model") ? hth_tok_load_json(root, &t, &err) : hth_tok_load_tekken(root, &t, &err);
    if ((code == HTH_OK) != (t != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (t && hth_tok_apply_config(t, root, root, &err) != HTH_OK) abort();
    hth_json_free(doc);
    if (t) use(t, zero ? zero + 1 : data, zero ? size - n - 1 : size);
    hth_tokenizer_free(t);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
    return 0;
}
