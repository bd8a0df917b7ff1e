// The tokenizer object: building it step by step, indexing it, and the questions one may ask it.
#include <string.h>

#include "text/tok_impl.h"

#define MAX_ADDED (1u << 22)
#define MAX_ADDED_LEN 1024u

hth_code hth_tok_new(hth_tokenizer **out, hth_err *err) {
    hth_tokenizer *t = hth_calloc(HTH_MEM_TEXT, 1, sizeof *t);
    *out = NULL;
    if (!t) return hth_fail_nomem(err, sizeof *t);
    t->kind = "bpe";
    t->model.unk = -1;
    t->model.seed = (uint64_t)(uintptr_t)t | 1; // differs from run to run; a hash seed of zero is a bad one
    t->model.max_word_chars = 100;
    for (int i = 0; i < HTH_SPECIAL_COUNT; i++) t->special[i] = -1;
    hth_code code = hth_unicode_init(&t->unicode, err);
    if (code == HTH_OK) {
        *out = t;
    } else {
        hth_tokenizer_free(t);
    }
    return code;
}

void hth_tokenizer_free(hth_tokenizer *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_norm; i++) hth_norm_free(&t->norms[i]);
    for (size_t i = 0; i < t->n_split; i++) hth_regex_free(t->splits[i].re);
    hth_vocab_free(&t->vocab);
    hth_pieces_free(&t->model);
    hth_unicode_free(&t->unicode);
    hth_free(t->added);
    hth_trie_free(&t->raw);
    hth_trie_free(&t->raw_later);
    hth_trie_free(&t->normal);
    hth_free(t);
}

hth_code hth_tok_add_norm(hth_tokenizer *t, norm_kind kind, norm_step **out, hth_err *err) {
    if (t->n_norm == TOK_MAX_STEPS)
        return hth_fail(err, HTH_ERR_LIMIT, "more than %d normalizers", TOK_MAX_STEPS);
    *out = &t->norms[t->n_norm++];
    (*out)->kind = kind;
    return HTH_OK;
}

static hth_code set_text(char **to, size_t *n_to, const char *text, size_t n, hth_err *err) {
    *to = hth_strndup(HTH_MEM_TEXT, text, n);
    *n_to = n;
    return *to ? HTH_OK : hth_fail_nomem(err, n);
}

hth_code hth_tok_add_replace(hth_tokenizer *t, const char *pattern, const char *content, hth_err *err) {
    norm_step *s = NULL;
    HTH_TRY(hth_tok_add_norm(t, NORM_REPLACE, &s, err));
    HTH_TRY(set_text(&s->pattern, &s->n_pattern, pattern, strlen(pattern), err));
    return set_text(&s->content, &s->n_content, content, strlen(content), err);
}

hth_code hth_tok_add_prepend(hth_tokenizer *t, const char *content, size_t n, hth_err *err) {
    norm_step *s = NULL;
    HTH_TRY(hth_tok_add_norm(t, NORM_PREPEND, &s, err));
    return set_text(&s->content, &s->n_content, content, n, err);
}

hth_code hth_tok_add_split(hth_tokenizer *t, split_kind kind, split_step **out, hth_err *err) {
    if (t->n_split == TOK_MAX_STEPS)
        return hth_fail(err, HTH_ERR_LIMIT, "more than %d pre-tokenizers", TOK_MAX_STEPS);
    *out = &t->splits[t->n_split++];
    (*out)->kind = kind;
    return HTH_OK;
}

hth_code hth_tok_add_regex(hth_tokenizer *t, const char *pattern, size_t n, split_behavior behavior,
                           bool invert, hth_err *err) {
    split_step *s = NULL;
    HTH_TRY(hth_tok_add_split(t, SPLIT_REGEX, &s, err));
    s->behavior = behavior;
    s->invert = invert;
    return hth_regex_compile(pattern, n, &t->unicode, &s->re, err);
}

hth_code hth_tok_add_added(hth_tokenizer *t, added_token a, hth_err *err) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&t->added, &t->cap_added, t->n_added + 1, sizeof a, MAX_ADDED)) {
        return hth_fail_nomem(err, t->n_added * sizeof a);
    }
    t->added[t->n_added++] = a;
    return HTH_OK;
}

hth_code hth_tok_setup_bert(hth_tokenizer *t, bool clean, bool spaced, bool strip_accents, bool lowercase,
                            bool split, hth_err *err) {
    norm_step *s = NULL;
    HTH_TRY(hth_tok_add_norm(t, NORM_BERT, &s, err));
    s->clean = clean;
    s->spaced = spaced;
    if (strip_accents) {
        HTH_TRY(hth_tok_add_norm(t, NORM_NFD, &s, err));
        HTH_TRY(hth_tok_add_norm(t, NORM_STRIP_ACCENTS, &s, err));
        s->nonspacing = true;
    }
    if (lowercase) HTH_TRY(hth_tok_add_norm(t, NORM_LOWERCASE, &s, err));
    if (!split) return HTH_OK;
    static const char punct[] = "[\\p{P}!-/:-@\\[-`{-~]";
    HTH_TRY(hth_tok_add_regex(t, "\\s", 2, SPLIT_REMOVED, false, err));
    return hth_tok_add_regex(t, punct, strlen(punct), SPLIT_ISOLATED, false, err);
}

hth_code hth_tok_fill_wordpiece(hth_tokenizer *t, const char *cont, hth_err *err) {
    const hth_vocab *v = &t->vocab;
    size_t n_cont = strlen(cont);
    HTH_TRY(hth_trie_init(&t->model.pieces, (size_t)v->n, err));
    HTH_TRY(hth_trie_init(&t->model.conts, (size_t)v->n / 4, err));
    for (int32_t i = 0; i < v->n; i++) {
        if (v->e[i].flags & (TOK_CONTROL | TOK_ABSENT | TOK_UNKNOWN)) continue;
        const char *text = hth_vocab_text(v, i);
        size_t n = v->e[i].n_text;
        bool goes_on = n_cont > 0 && n > n_cont && memcmp(text, cont, n_cont) == 0;
        if (goes_on) {
            HTH_TRY(hth_trie_insert(&t->model.conts, (const uint8_t *)text + n_cont, n - n_cont, (uint32_t)i,
                                    err));
        } else if (n > 0) {
            HTH_TRY(hth_trie_insert(&t->model.pieces, (const uint8_t *)text, n, (uint32_t)i, err));
        }
    }
    return HTH_OK;
}

static hth_code insert_added(hth_tokenizer *t, hth_trie *trie, bool *has, size_t i, const uint8_t *text,
                             size_t n, hth_err *err) {
    if (n == 0) return HTH_OK;
    if (n > MAX_ADDED_LEN) {
        return hth_fail(err, HTH_ERR_LIMIT, "added token %d: %zu bytes are too long", (int)t->added[i].id, n);
    }
    *has = true;
    return hth_trie_insert(trie, text, n, (uint32_t)i, err);
}

static hth_code index_added(hth_tokenizer *t, hth_err *err) {
    HTH_TRY(hth_trie_init(&t->raw, t->n_added, err));
    HTH_TRY(hth_trie_init(&t->raw_later, 0, err));
    HTH_TRY(hth_trie_init(&t->normal, 0, err));
    norm_work w = {0};
    hth_code code = HTH_OK;
    for (size_t i = 0; i < t->n_added && code == HTH_OK; i++) {
        added_token *a = &t->added[i];
        a->guarded = a->guarded || (!a->control && hth_tok_is_mark(t, a->id));
        const uint8_t *text = (const uint8_t *)hth_vocab_spelling(&t->vocab, a->id);
        size_t n = t->vocab.e[a->id].n_spelling;
        if (!a->normalized) {
            code = insert_added(t, &t->raw, &t->has_raw, i, text, n, err);
            continue;
        }
        if (a->control || a->guarded) code = insert_added(t, &t->raw_later, &t->has_raw_later, i, text, n, err);
        if (code == HTH_OK)
            code = hth_normalize(t->norms, t->n_norm, t->model.byte_level, &w, text, n, &text, &n, err);
        if (code == HTH_OK) code = insert_added(t, &t->normal, &t->has_normal, i, text, n, err);
    }
    hth_norm_work_free(&w);
    return code;
}

hth_code hth_tokenizer_guard(hth_tokenizer *t, bool (*is_marker)(const void *user, const char *text, size_t n),
                             const void *user, hth_err *err) {
    for (size_t i = 0; i < t->n_added; i++) {
        added_token *a = &t->added[i];
        const char *text = hth_vocab_spelling(&t->vocab, a->id);
        size_t n = t->vocab.e[a->id].n_spelling;
        if (a->control || a->guarded || !is_marker(user, text, n)) continue;
        a->guarded = true;
        if (!a->normalized) continue;
        HTH_TRY(insert_added(t, &t->raw_later, &t->has_raw_later, i, (const uint8_t *)text, n, err));
    }
    return HTH_OK;
}

// True when no piece that a model can make has U+2581 behind something else.
static bool can_cut_marks(const hth_tokenizer *t) {
    const hth_vocab *v = &t->vocab;
    if (t->model.byte_level || t->model.kind == MODEL_WORDPIECE || t->model.n_suffix || t->model.n_infix)
        return false;
    for (int32_t i = 0; i < v->n; i++) {
        if (v->e[i].flags & ~(unsigned)(TOK_END | TOK_UNUSED)) continue;
        const char *text = hth_vocab_text(v, i);
        bool other = false;
        for (uint32_t k = 0; k + 2 < v->e[i].n_text; k++) {
            bool mark = memcmp(text + k, "\xe2\x96\x81", 3) == 0;
            if (mark && other) return false;
            if (mark) {
                k += 2;
            } else {
                other = true;
            }
        }
    }
    return true;
}

hth_code hth_tok_finish(hth_tokenizer *t, bool min_over_all, hth_err *err) {
    if (t->model.byte_level) {
        for (int b = 0; b < 256; b++) {
            char c = (char)b;
            if (t->vocab.byte_id[b] < 0) t->vocab.byte_id[b] = hth_vocab_find_text(&t->vocab, &c, 1);
        }
    }
    for (size_t i = 0; i < t->n_norm; i++) HTH_TRY(hth_norm_finish(&t->norms[i], &t->unicode, err));
    HTH_TRY(hth_pieces_finish(&t->model, &t->vocab, min_over_all, err));
    t->cut_marks = can_cut_marks(t);
    hth_tok_find_known(t);
    return index_added(t, err);
}

int32_t hth_tokenizer_n_vocab(const hth_tokenizer *t) {
    return t->vocab.n;
}
const char *hth_tokenizer_kind(const hth_tokenizer *t) {
    return t->kind;
}
const char *hth_tokenizer_pre(const hth_tokenizer *t) {
    return t->pre;
}

hth_token hth_tokenizer_special(const hth_tokenizer *t, hth_special which) {
    return (unsigned)which < HTH_SPECIAL_COUNT ? t->special[which] : -1;
}

static bool has_flag(const hth_tokenizer *t, hth_token id, unsigned flag) {
    return id >= 0 && id < t->vocab.n && (t->vocab.e[id].flags & flag) != 0;
}

bool hth_tokenizer_is_end(const hth_tokenizer *t, hth_token id) {
    return has_flag(t, id, TOK_END);
}
bool hth_tokenizer_is_control(const hth_tokenizer *t, hth_token id) {
    return has_flag(t, id, TOK_CONTROL);
}
bool hth_tokenizer_adds_bos(const hth_tokenizer *t) {
    return t->adds_bos;
}
bool hth_tokenizer_adds_eos(const hth_tokenizer *t) {
    return t->adds_eos;
}

hth_token hth_tokenizer_find(const hth_tokenizer *t, const char *text, size_t n) {
    return hth_vocab_find(&t->vocab, text, n);
}

const char *hth_tokenizer_spelling(const hth_tokenizer *t, hth_token id, size_t *n) {
    if (id < 0 || id >= t->vocab.n) return NULL;
    *n = t->vocab.e[id].n_spelling;
    return hth_vocab_spelling(&t->vocab, id);
}

const char *hth_tokenizer_bytes(const hth_tokenizer *t, hth_token id, size_t *n) {
    if (id < 0 || id >= t->vocab.n) return NULL;
    const tok_entry *e = &t->vocab.e[id];
    if (e->flags & (TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN | TOK_ABSENT)) return NULL;
    *n = e->flags & TOK_BYTE ? 1 : e->n_text;
    return e->flags & TOK_BYTE ? (const char *)&e->byte : hth_vocab_text(&t->vocab, id);
}
