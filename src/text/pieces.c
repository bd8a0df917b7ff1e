// What the models share: the merge table, unknown characters, growing the output.
#include "text/pieces.h"

#include <math.h>
#include <string.h>

#define MAX_TOKENS (1u << 30)
#define UNK_PENALTY 10.0 // SentencePiece, unigram_model.cc

hth_code hth_token_push(hth_token_list *out, hth_token id, hth_err *err) {
    if (out->n == out->cap &&
        !hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, out->n + 1, sizeof *out->ids, MAX_TOKENS)) {
        return hth_fail_nomem(err, out->n * sizeof *out->ids);
    }
    out->ids[out->n++] = id;
    return HTH_OK;
}

void hth_token_list_free(hth_token_list *list) {
    hth_free(list->ids);
    *list = (hth_token_list){0};
}

void hth_pieces_free(hth_pieces *m) {
    hth_free(m->merges);
    hth_trie_free(&m->pieces);
    hth_trie_free(&m->conts);
    m->merges = NULL;
}

void hth_pieces_work_free(model_work *w) {
    hth_free(w->symbols);
    hth_free(w->heap);
    hth_free(w->path);
    *w = (model_work){0};
}

static merge_slot *find_slot(merge_slot *slots, size_t n, uint64_t seed, uint32_t left, uint32_t right) {
    uint64_t key[1] = {(uint64_t)left << 32 | right};
    size_t i = (size_t)hth_hash(key, sizeof key, seed) & (n - 1);
    while (slots[i].left != MERGE_FREE && (slots[i].left != left || slots[i].right != right))
        i = (i + 1) & (n - 1);
    return &slots[i];
}

static hth_code grow_merges(hth_pieces *m, size_t n_slot, hth_err *err) {
    merge_slot *slots = hth_alloc(HTH_MEM_TEXT, n_slot * sizeof *slots);
    if (!slots) return hth_fail_nomem(err, n_slot * sizeof *slots);
    memset(slots, 0xff, n_slot * sizeof *slots);
    for (size_t i = 0; i < m->n_merge_slot; i++) {
        const merge_slot *s = &m->merges[i];
        if (s->left != MERGE_FREE) *find_slot(slots, n_slot, m->seed, s->left, s->right) = *s;
    }
    hth_free(m->merges);
    m->merges = slots;
    m->n_merge_slot = n_slot;
    return HTH_OK;
}

hth_code hth_pieces_add_merge(hth_pieces *m, size_t n_expect, uint32_t left, uint32_t right, uint32_t rank,
                              uint32_t id, hth_err *err) {
    if (!m->merges) {
        size_t n_slot = 64;
        while (n_slot < 2 * n_expect && n_slot < (1u << 24)) n_slot *= 2;
        HTH_TRY(grow_merges(m, n_slot, err));
    } else if (2 * m->n_merge > m->n_merge_slot) {
        HTH_TRY(grow_merges(m, 2 * m->n_merge_slot, err));
    }
    merge_slot *s = find_slot(m->merges, m->n_merge_slot, m->seed, left, right);
    if (s->left != MERGE_FREE) return HTH_OK;
    *s = (merge_slot){.left = left, .right = right, .rank = rank, .id = id};
    m->n_merge++;
    return HTH_OK;
}

void hth_pieces_prefetch(const hth_pieces *m, uint32_t left, uint32_t right) {
    uint64_t key[1] = {(uint64_t)left << 32 | right};
    if (m->n_merge_slot)
        __builtin_prefetch(&m->merges[(size_t)hth_hash(key, sizeof key, m->seed) & (m->n_merge_slot - 1)]);
}

// Unigram: unknown characters cost more than the worst piece.
static void find_unk_score(hth_pieces *m, const hth_vocab *v, bool min_over_all) {
    double min = INFINITY;
    for (int32_t i = 0; i < v->n; i++) {
        if (v->e[i].flags & TOK_ABSENT) continue;
        if (!min_over_all && v->e[i].flags) continue;
        if (v->score[i] < min) min = v->score[i];
    }
    m->unk_score = (isfinite(min) ? min : 0) - UNK_PENALTY;
}

static hth_code fill_trie(hth_pieces *m, const hth_vocab *v, hth_err *err) {
    HTH_TRY(hth_trie_init(&m->pieces, (size_t)v->n, err));
    const unsigned no_text = TOK_CONTROL | TOK_ABSENT | TOK_BYTE | TOK_UNKNOWN | (m->kind == MODEL_LONGEST ? TOK_UNUSED : 0);
    for (int32_t i = 0; i < v->n; i++) {
        if (v->e[i].flags & no_text || v->e[i].n_text == 0) continue;
        const uint8_t *text = (const uint8_t *)hth_vocab_text(v, i);
        HTH_TRY(hth_trie_insert(&m->pieces, text, v->e[i].n_text, (uint32_t)i, err));
    }
    return HTH_OK;
}

hth_code hth_pieces_finish(hth_pieces *m, const hth_vocab *v, bool min_over_all, hth_err *err) {
    for (int b = 0; b < 128; b++) {
        char c = (char)b;
        m->ascii_id[b] = hth_vocab_find_text(v, &c, 1);
    }
    if (m->kind != MODEL_UNIGRAM && m->kind != MODEL_LONGEST) return HTH_OK;
    if (m->kind == MODEL_UNIGRAM) find_unk_score(m, v, min_over_all);
    return fill_trie(m, v, err);
}

hth_code hth_pieces_push_unknown(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *text,
                                 size_t n) {
    bool bytes = m->byte_fallback;
    for (size_t i = 0; i < n && bytes && !m->fallback_bytes_drop; i++) bytes = v->byte_id[text[i]] >= 0;
    if (bytes) {
        w->last_unk = false;
        for (size_t i = 0; i < n; i++) {
            if (v->byte_id[text[i]] >= 0) HTH_TRY(hth_token_push(w->out, v->byte_id[text[i]], w->err));
        }
        return HTH_OK;
    }
    if (m->unk < 0 || (m->fuse_unk && w->last_unk)) return HTH_OK;
    w->last_unk = true;
    return hth_token_push(w->out, m->unk, w->err);
}

hth_code hth_pieces_encode(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                           size_t n) {
    w->last_unk = false;
    switch (m->kind) {
    case MODEL_UNIGRAM: return hth_unigram_encode(m, v, w, word, n);
    case MODEL_LONGEST: return hth_longest_encode(m, v, w, word, n);
    case MODEL_WORDPIECE: return hth_wordpiece_encode(m, w, word, n);
    default: return hth_bpe_encode(m, v, w, word, n);
    }
}
