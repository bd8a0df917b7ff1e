// The other files of tokenizers. First byte: 0 SentencePiece, 1 a rank table, 2 vocab.txt, 3 GGUF metadata, 4 RWKV's.
#include <stdlib.h>

#include "text/tok_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hth_code load(unsigned kind, const uint8_t *data, size_t n, hth_tokenizer **t, hth_err *err) {
    hth_gguf *g = NULL;
    switch (kind % 5) {
    case 0: return hth_tok_load_sentencepiece(data, n, t, err);
    case 1: return hth_tok_load_ranks((const char *)data, n, t, err);
    case 2: return hth_tok_load_vocab_txt((const char *)data, n, true, t, err);
    case 4: return hth_tok_load_world((const char *)data, n, t, err);
    default: break;
    }
    hth_code code = hth_gguf_open_memory(data, n, &g, err);
    if (code == HTH_OK) code = hth_tok_load_gguf(g, t, err);
    hth_gguf_close(g);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    hth_err err = {.msg = ""};
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_tokenizer *t = NULL;
    hth_code code = load(data[0], data + 1, size - 1, &t, &err);
    if ((code == HTH_OK) != (t != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (t) {
        hth_token_list ids = {0};
        hth_text_segment s = {.text = (const char *)data, .n = size};
        code = hth_tokenize(t, &s, 1, HTH_TOKENIZE_ADD_SPECIAL, &ids, &err);
        for (size_t i = 0; code == HTH_OK && i < ids.n; i++) {
            if (ids.ids[i] < 0 || ids.ids[i] >= hth_tokenizer_n_vocab(t)) abort();
        }
        hth_token_list_free(&ids);
    }
    hth_tokenizer_free(t);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
    return 0;
}
