// Byte-pair encoding of one word. Symbols start as bytes or characters; the pair of lowest rank, leftmost
// first, merges until none is left. Short words look for it by scanning; long ones keep candidates in a
// heap, which costs n log n whatever the word is.
#include <string.h>

#include "text/pieces.h"

#define SHORT_WORD 48
#define MAX_WORD (1u << 30)
#define NO_RANK UINT32_MAX
#define NO_SYMBOL UINT32_MAX

typedef struct symbol {
    uint32_t id;           // MERGE_FREE: not in the vocabulary
    uint32_t start, end;   // bytes of the word
    uint32_t prev, next;   // in the heap way only
    uint32_t rank, merged; // of the pair that begins here, in the scan way only
} symbol;

typedef struct candidate {
    uint32_t rank, at; // `at` is the left symbol
    uint32_t end, id;  // end of the pair, to recognise outdated candidates
} candidate;

// Rank of the pair (a, b) and what it becomes; NO_RANK when they do not merge.
static uint32_t pair_rank(const hth_pieces *m, const hth_vocab *v, const uint8_t *word, const symbol *a,
                          const symbol *b, uint32_t *merged) {
    if (m->kind == MODEL_PAIRS) {
        if (a->id == MERGE_FREE || b->id == MERGE_FREE || m->n_merge_slot == 0) return NO_RANK;
        uint64_t key[1] = {(uint64_t)a->id << 32 | b->id};
        size_t i = (size_t)hth_hash(key, sizeof key, m->seed) & (m->n_merge_slot - 1);
        for (;; i = (i + 1) & (m->n_merge_slot - 1)) {
            const merge_slot *s = &m->merges[i];
            if (s->left == a->id && s->right == b->id) {
                *merged = s->id;
                return s->rank;
            }
            if (s->left == MERGE_FREE) return NO_RANK;
        }
    }
    int32_t id = hth_vocab_find_text(v, word + a->start, b->end - a->start);
    if (id < 0) return NO_RANK;
    *merged = (uint32_t)id;
    return v->rank ? v->rank[id] : (uint32_t)id;
}

static uint32_t find_affixed(const hth_pieces *m, const hth_vocab *v, const uint8_t *text, size_t n,
                             bool first, bool last) {
    char buf[48];
    size_t len = 0;
    if (!first) {
        memcpy(buf, m->infix, m->n_infix);
        len = m->n_infix;
    }
    memcpy(buf + len, text, n);
    len += n;
    if (last) {
        memcpy(buf + len, m->suffix, m->n_suffix);
        len += m->n_suffix;
    }
    return (uint32_t)hth_vocab_find_text(v, buf, len);
}

// Cuts the word into its first symbols. Characters that would vanish are left out here already, so that
// their neighbours meet.
static hth_code make_symbols(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                             size_t n, size_t *n_symbol) {
    if (n > MAX_WORD)
        return hth_fail(w->err, HTH_ERR_LIMIT, "a text of %zu bytes without a break is too long", n);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&w->symbols, &w->cap_symbols, n, sizeof *w->symbols, MAX_WORD)) {
        return hth_fail_nomem(w->err, n * sizeof *w->symbols);
    }
    size_t k = 0;
    bool vanish = m->unk < 0 && !m->byte_fallback;
    for (size_t i = 0; i < n;) {
        unsigned len = 1;
        uint32_t id;
        if (m->byte_level) {
            id = (uint32_t)v->byte_id[word[i]];
        } else {
            uint32_t cp = hth_cp_at(word + i, n - i, &len);
            if (m->n_suffix || m->n_infix) {
                id = find_affixed(m, v, word + i, len, i == 0, i + len == n);
            } else {
                id = (uint32_t)(cp < 128 ? m->ascii_id[cp] : hth_vocab_find_text(v, word + i, len));
            }
        }
        if (id != MERGE_FREE || !vanish) {
            w->symbols[k++] = (symbol){.id = id, .start = (uint32_t)i, .end = (uint32_t)(i + len)};
        }
        i += len;
    }
    *n_symbol = k;
    return HTH_OK;
}

static hth_code push_symbol(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                            const symbol *s) {
    if (s->id == MERGE_FREE) return hth_pieces_push_unknown(m, v, w, word + s->start, s->end - s->start);
    w->last_unk = false;
    return hth_token_push(w->out, (hth_token)s->id, w->err);
}

static void rank_pair(const hth_pieces *m, const hth_vocab *v, const uint8_t *word, symbol *s, size_t n,
                      size_t i) {
    s[i].rank = i + 1 < n ? pair_rank(m, v, word, &s[i], &s[i + 1], &s[i].merged) : NO_RANK;
}

static size_t merge_by_scan(const hth_pieces *m, const hth_vocab *v, const uint8_t *word, symbol *s,
                            size_t n) {
    for (size_t i = 0; i < n; i++) rank_pair(m, v, word, s, n, i);
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            if (s[i].rank < s[best].rank) best = i;
        }
        if (n < 2 || s[best].rank == NO_RANK) return n;
        s[best].id = s[best].merged;
        s[best].end = s[best + 1].end;
        memmove(&s[best + 1], &s[best + 2], (n - best - 2) * sizeof *s);
        n--;
        rank_pair(m, v, word, s, n, best);
        if (best > 0) rank_pair(m, v, word, s, n, best - 1);
    }
}

static bool comes_first(const candidate *a, const candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static hth_code heap_push(model_work *w, candidate c) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&w->heap, &w->cap_heap, w->n_heap + 1, sizeof c,
                  SIZE_MAX / sizeof c)) {
        return hth_fail_nomem(w->err, w->n_heap * sizeof c);
    }
    size_t i = w->n_heap++;
    while (i > 0 && comes_first(&c, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = c;
    return HTH_OK;
}

static candidate heap_pop(model_work *w) {
    candidate top = w->heap[0], c = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && comes_first(&w->heap[child + 1], &w->heap[child])) child++;
        if (!comes_first(&w->heap[child], &c)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = c;
    return top;
}

static hth_code push_candidate(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                               uint32_t at) {
    symbol *s = w->symbols;
    if (at == NO_SYMBOL || s[at].next == NO_SYMBOL) return HTH_OK;
    const symbol *b = &s[s[at].next];
    candidate c = {.at = at, .end = b->end};
    c.rank = pair_rank(m, v, word, &s[at], b, &c.id);
    return c.rank == NO_RANK ? HTH_OK : heap_push(w, c);
}

static hth_code merge_by_heap(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                              size_t n) {
    symbol *s = w->symbols;
    w->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        s[i].prev = i == 0 ? NO_SYMBOL : i - 1;
        s[i].next = i + 1 == n ? NO_SYMBOL : i + 1;
    }
    for (uint32_t i = 0; i < n; i++) HTH_TRY(push_candidate(m, v, w, word, i));
    while (w->n_heap > 0) {
        candidate c = heap_pop(w);
        symbol *a = &s[c.at];
        // Outdated when the left symbol is gone (end 0) or the pair has grown since.
        if (a->end == 0 || a->next == NO_SYMBOL || s[a->next].end != c.end) continue;
        symbol *b = &s[a->next];
        a->id = c.id;
        a->end = b->end;
        a->next = b->next;
        b->end = 0;
        if (a->next != NO_SYMBOL) s[a->next].prev = c.at;
        HTH_TRY(push_candidate(m, v, w, word, a->prev));
        HTH_TRY(push_candidate(m, v, w, word, c.at));
    }
    return HTH_OK;
}

static bool is_newlines(const uint8_t *word, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (word[i] != '\n') return false;
    }
    return true;
}

hth_code hth_bpe_encode(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                        size_t n) {
    if (m->whole_first || (m->whole_newlines && is_newlines(word, n))) {
        int32_t id = hth_vocab_find_text(v, word, n);
        if (id >= 0) return hth_token_push(w->out, id, w->err);
    }
    size_t k = 0;
    HTH_TRY(make_symbols(m, v, w, word, n, &k));
    if (k <= SHORT_WORD) {
        k = merge_by_scan(m, v, word, w->symbols, k);
        for (size_t i = 0; i < k; i++) HTH_TRY(push_symbol(m, v, w, word, &w->symbols[i]));
        return HTH_OK;
    }
    HTH_TRY(merge_by_heap(m, v, w, word, k));
    for (uint32_t i = 0; i != NO_SYMBOL; i = w->symbols[i].next) {
        HTH_TRY(push_symbol(m, v, w, word, &w->symbols[i]));
    }
    return HTH_OK;
}
