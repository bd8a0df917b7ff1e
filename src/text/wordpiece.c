// WordPiece: the longest piece that begins the word, then the longest that goes on, and so forth; a word
// that cannot be divided this way is unknown as a whole.
#include "text/pieces.h"

static size_t count_chars(const uint8_t *word, size_t n, size_t limit) {
    size_t count = 0;
    for (size_t i = 0; i < n && count <= limit; count++) {
        unsigned len;
        (void)hth_cp_at(word + i, n - i, &len);
        i += len;
    }
    return count;
}

hth_code hth_wordpiece_encode(const hth_pieces *m, model_work *w, const uint8_t *word, size_t n) {
    size_t n_before = w->out->n;
    bool known = count_chars(word, n, m->max_word_chars) <= m->max_word_chars;
    for (size_t i = 0; i < n && known;) {
        const hth_trie *trie = i == 0 ? &m->pieces : &m->conts;
        uint32_t node = 0, best = HTH_TRIE_NONE;
        size_t end = i;
        for (size_t j = i; j < n;) {
            node = hth_trie_step(trie, node, word[j++]);
            if (node == HTH_TRIE_NONE) break;
            if (trie->values[node] == HTH_TRIE_NONE) continue;
            best = trie->values[node];
            end = j;
        }
        known = best != HTH_TRIE_NONE;
        if (known) HTH_TRY(hth_token_push(w->out, (hth_token)best, w->err));
        i = end;
    }
    if (known) return HTH_OK;
    w->out->n = n_before;
    return m->unk < 0 ? HTH_OK : hth_token_push(w->out, m->unk, w->err);
}
