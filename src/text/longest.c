// The longest token that the text begins with, again and again.
#include "text/pieces.h"

hth_code hth_longest_encode(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word, size_t n) {
    for (size_t at = 0; at < n;) {
        uint32_t node = 0, best = HTH_TRIE_NONE;
        size_t end = at + 1;
        for (size_t i = at; i < n; i++) {
            node = hth_trie_step(&m->pieces, node, word[i]);
            if (node == HTH_TRIE_NONE) break;
            if (m->pieces.values[node] == HTH_TRIE_NONE) continue;
            best = m->pieces.values[node];
            end = i + 1;
        }
        HTH_TRY(best == HTH_TRIE_NONE ? hth_pieces_push_unknown(m, v, w, word + at, 1)
                                      : hth_token_push(w->out, (hth_token)best, w->err));
        at = end;
    }
    return HTH_OK;
}
