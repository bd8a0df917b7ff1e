// Added tokens: leftmost, then longest, found by walking the trie from each place where one can begin.
// The walk is bounded by the longest token, so time is linear in the text.
#include "text/tok_impl.h"

// True when [start, end) touches a user's range; ranges ascend, *hint moves along with start.
static bool touches_user(const user_range *users, size_t n_user, size_t *hint, size_t start, size_t end) {
    while (*hint < n_user && users[*hint].end <= start) (*hint)++;
    return *hint < n_user && users[*hint].start < end;
}

static bool is_word_before(const uint8_t *text, size_t at) {
    if (at == 0) return false;
    size_t p = hth_cp_before(text, at);
    unsigned len;
    return hth_cp_is_word(hth_cp_at(text + p, at - p, &len));
}

static bool is_word_at(const uint8_t *text, size_t n, size_t at) {
    unsigned len;
    return at < n && hth_cp_is_word(hth_cp_at(text + at, n - at, &len));
}

// Longest token at text[at]; the end goes to *end.
static const added_token *longest(const hth_tokenizer *t, const hth_trie *trie, const uint8_t *text, size_t n,
                                  size_t at, const user_range *users, size_t n_user, size_t *hint,
                                  bool control, size_t *end) {
    const added_token *best = NULL;
    uint32_t node = 0;
    for (size_t i = at; i < n;) {
        node = hth_trie_step(trie, node, text[i++]);
        if (node == HTH_TRIE_NONE) break;
        if (trie->values[node] == HTH_TRIE_NONE) continue;
        const added_token *a = &t->added[trie->values[node]];
        if ((a->control || a->guarded) && (!control || touches_user(users, n_user, hint, at, i))) continue;
        best = a;
        *end = i;
    }
    return best;
}

// Takes the spaces around a match, on the left not beyond `done`.
static void strip_around(const added_token *a, const uint8_t *text, size_t n, size_t done, added_match *m) {
    unsigned len;
    while (a->lstrip && m->start > done) {
        size_t p = hth_cp_before(text, m->start);
        if (p < done || !hth_cp_is_space(hth_cp_at(text + p, m->start - p, &len))) break;
        m->start = p;
    }
    while (a->rstrip && m->end < n && hth_cp_is_space(hth_cp_at(text + m->end, n - m->end, &len)))
        m->end += len;
}

bool hth_added_next(const hth_tokenizer *t, const hth_trie *trie, const hth_trie *second, const uint8_t *text,
                    size_t n, size_t from, size_t done, const user_range *users, size_t n_user, bool control,
                    added_match *out) {
    size_t hint = 0;
    for (size_t at = from; at < n; at++) {
        if (trie->root[text[at]] == HTH_TRIE_NONE && (!second || second->root[text[at]] == HTH_TRIE_NONE))
            continue;
        size_t end = at, end2 = at;
        const added_token *a = longest(t, trie, text, n, at, users, n_user, &hint, control, &end);
        const added_token *b =
            second ? longest(t, second, text, n, at, users, n_user, &hint, control, &end2) : NULL;
        if (b && (!a || end2 > end)) {
            a = b;
            end = end2;
        }
        if (!a) continue;
        if (a->single_word && (is_word_before(text, at) || is_word_at(text, n, end))) {
            at = end - 1;
            continue;
        }
        *out = (added_match){.start = at, .end = end, .next = end, .token = a};
        strip_around(a, text, n, done, out);
        return true;
    }
    return false;
}
