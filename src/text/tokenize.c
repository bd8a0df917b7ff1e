// Running the pipeline over segments.
#include <string.h>

#include "text/tok_impl.h"

#define MAX_TEXT ((size_t)UINT32_MAX - 64)
#define CACHE_KEY 22
#define MIN_CACHE 64u
#define MAX_CACHE (1u << 15)

// A word seen before in this call: its tokens lie at `at` in the output.
typedef struct cached_word {
    uint32_t at;
    uint16_t n_token;
    uint8_t n; // 0: free
    uint8_t word[CACHE_KEY + 3];
} cached_word;

typedef struct work {
    const hth_tokenizer *t;
    hth_token_list *out;
    hth_err *err;
    norm_work norm;
    split_work split;
    model_work model;
    cached_word *cache; // owned
    size_t n_cache;
    user_range *users; // owned; absolute ranges of the raw text
    size_t n_user;
} work;

static void work_free(work *w) {
    hth_norm_work_free(&w->norm);
    hth_split_work_free(&w->split);
    hth_pieces_work_free(&w->model);
    hth_free(w->cache);
    hth_free(w->users);
}

static hth_code encode_word(work *w, const uint8_t *word, size_t n) {
    const hth_tokenizer *t = w->t;
    if (n > CACHE_KEY || !w->cache) return hth_pieces_encode(&t->model, &t->vocab, &w->model, word, n);
    uint64_t h = hth_hash(word, n, (uint64_t)(uintptr_t)w->cache);
    cached_word *c = &w->cache[(h ^ h >> 32) & (w->n_cache - 1)];
    hth_token_list *out = w->out;
    if (c->n == n && memcmp(c->word, word, n) == 0) {
        for (uint32_t i = 0; i < c->n_token; i++) HTH_TRY(hth_token_push(out, out->ids[c->at + i], w->err));
        return HTH_OK;
    }
    size_t at = out->n;
    HTH_TRY(hth_pieces_encode(&t->model, &t->vocab, &w->model, word, n));
    if (at < UINT32_MAX && out->n - at <= UINT16_MAX) {
        *c = (cached_word){.at = (uint32_t)at, .n_token = (uint16_t)(out->n - at), .n = (uint8_t)n};
        memcpy(c->word, word, n);
    }
    return HTH_OK;
}

// Cuts before every U+2581 that follows something else, where that cannot change the tokens.
static hth_code encode_marked(work *w, const uint8_t *text, size_t n) {
    size_t start = 0;
    for (size_t i = 1; i + 2 < n;) {
        const uint8_t *hit = memchr(text + i, 0xe2, n - i - 2);
        if (!hit) break;
        i = (size_t)(hit - text);
        bool mark = hit[1] == 0x96 && hit[2] == 0x81;
        bool after_mark = i >= 3 && hit[-3] == 0xe2 && hit[-2] == 0x96 && hit[-1] == 0x81;
        if (mark && !after_mark) {
            HTH_TRY(encode_word(w, text + start, i - start));
            start = i;
        }
        i += mark ? 3 : 1;
    }
    return start < n ? encode_word(w, text + start, n - start) : HTH_OK;
}

static hth_code encode_normal(work *w, const uint8_t *text, size_t n, bool first) {
    const hth_tokenizer *t = w->t;
    if (n == 0) return HTH_OK;
    const piece_list *pieces;
    HTH_TRY(hth_split(t->splits, t->n_split, &w->split, text, n, first, &text, &pieces, w->err));
    for (size_t i = 0; i < pieces->n; i++) {
        const uint8_t *word = text + pieces->p[i].start;
        HTH_TRY(t->cut_marks ? encode_marked(w, word, pieces->p[i].n) : encode_word(w, word, pieces->p[i].n));
    }
    return HTH_OK;
}

// A stretch without raw added tokens.
static hth_code encode_stretch(work *w, const uint8_t *text, size_t n, bool first) {
    const hth_tokenizer *t = w->t;
    HTH_TRY(hth_normalize(t->norms, t->n_norm, t->model.byte_level, &w->norm, text, n, &text, &n, w->err));
    size_t done = 0;
    added_match m = {0};
    while (t->has_normal &&
           hth_added_next(t, &t->normal, NULL, text, n, m.next, done, NULL, 0, w->n_user == 0, &m)) {
        if (m.start > done) HTH_TRY(encode_normal(w, text + done, m.start - done, first && done == 0));
        HTH_TRY(hth_token_push(w->out, m.token->id, w->err));
        done = m.end;
    }
    return encode_normal(w, text + done, n - done, first && done == 0);
}

static hth_code encode_text(work *w, const uint8_t *text, size_t n) {
    const hth_tokenizer *t = w->t;
    const hth_trie *later = t->has_raw_later && w->n_user > 0 ? &t->raw_later : NULL;
    size_t done = 0;
    added_match m = {0};
    while ((t->has_raw || later) &&
           hth_added_next(t, &t->raw, later, text, n, m.next, done, w->users, w->n_user, true, &m)) {
        if (m.start > done) HTH_TRY(encode_stretch(w, text + done, m.start - done, done == 0));
        HTH_TRY(hth_token_push(w->out, m.token->id, w->err));
        done = m.end;
    }
    return done < n ? encode_stretch(w, text + done, n - done, done == 0) : HTH_OK;
}

// Joins segments: *text borrows the only one, or is owned in *joined. Notes the user's ranges.
static hth_code join_segments(work *w, const hth_text_segment *s, size_t n_segment, const uint8_t **text,
                              size_t *n, uint8_t **joined) {
    size_t total = 0;
    for (size_t i = 0; i < n_segment; i++) {
        if (s[i].n > MAX_TEXT - total) return hth_fail(w->err, HTH_ERR_LIMIT, "a text of more than 4 GB");
        total += s[i].n;
        w->n_user += s[i].is_user && s[i].n > 0;
    }
    *n = total;
    *text = n_segment == 1 ? (const uint8_t *)s[0].text : NULL;
    w->users = hth_alloc(HTH_MEM_TEXT, (w->n_user + 1) * sizeof *w->users);
    if (n_segment > 1) *joined = hth_alloc(HTH_MEM_TEXT, total);
    if (!w->users || (n_segment > 1 && !*joined)) return hth_fail_nomem(w->err, total);
    size_t at = 0, k = 0;
    for (size_t i = 0; i < n_segment; i++) {
        if (n_segment > 1 && s[i].n > 0) memcpy(*joined + at, s[i].text, s[i].n);
        if (s[i].is_user && s[i].n > 0) {
            if (k > 0 && w->users[k - 1].end == at) {
                w->users[k - 1].end = at + s[i].n;
            } else {
                w->users[k++] = (user_range){.start = at, .end = at + s[i].n};
            }
        }
        at += s[i].n;
    }
    w->n_user = k;
    if (*joined) *text = *joined;
    return HTH_OK;
}

static hth_code prepare(work *w, size_t n_text) {
    size_t n = MIN_CACHE;
    while (n < n_text / 8 && n < MAX_CACHE) n *= 2;
    w->cache = hth_calloc(HTH_MEM_TEXT, n, sizeof *w->cache);
    if (!w->cache) return hth_fail_nomem(w->err, n * sizeof *w->cache);
    w->n_cache = n;
    return HTH_OK;
}

hth_code hth_tokenize(const hth_tokenizer *t, const hth_text_segment *segments, size_t n_segment,
                      unsigned flags, hth_token_list *out, hth_err *err) {
    work w = {.t = t, .out = out, .err = err, .model = {.out = out, .err = err}};
    const uint8_t *text = NULL;
    uint8_t *joined = NULL;
    size_t n = 0, n_before = out->n;
    hth_code code = join_segments(&w, segments, n_segment, &text, &n, &joined);
    if (code == HTH_OK) code = prepare(&w, n);
    bool add = flags & HTH_TOKENIZE_ADD_SPECIAL;
    for (size_t i = 0; add && i < t->n_prefix && code == HTH_OK; i++)
        code = hth_token_push(out, t->prefix[i], err);
    if (code == HTH_OK && n > 0) code = encode_text(&w, text, n);
    for (size_t i = 0; add && i < t->n_suffix && code == HTH_OK; i++)
        code = hth_token_push(out, t->suffix[i], err);
    if (code != HTH_OK) out->n = n_before;
    work_free(&w);
    hth_free(joined);
    return code;
}
