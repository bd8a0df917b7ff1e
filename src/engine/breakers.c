// Built token by token in the order of ids, so that the sequences lie sorted by their first token.
#include "engine/breakers.h"

#include <string.h>

#define MAX_TAIL 20

typedef struct sequence {
    int32_t head;
    uint32_t first, n_tail; // in tails
} sequence;

struct hth_breakers {
    sequence *items; // [n] owned, by head
    size_t n, cap;
    int32_t *tails; // [n_tails] owned
    size_t n_tails, cap_tails;
};

// The end of a text from a byte on, as tokens.
typedef struct rest {
    uint32_t first, n;
} rest;

typedef struct builder {
    const hth_tokenizer *t;
    const char *text;
    size_t n_text;
    rest rests[HTH_MAX_BREAKER_BYTES];
} builder;

void hth_breakers_free(hth_breakers *b) {
    if (!b) return;
    hth_free(b->items);
    hth_free(b->tails);
    hth_free(b);
}

const char *hth_breakers_default_at(int i) {
    static const char *const texts[] = {"\n", ":", "\"", "*"};
    return i >= 0 && (size_t)i < HTH_COUNT(texts) ? texts[i] : NULL;
}

static hth_code tokenize_rests(hth_breakers *b, builder *w, hth_err *err) {
    for (size_t from = 1; from < w->n_text; from++) {
        hth_token_list list = {0};
        const hth_text_segment segment = {.text = w->text + from, .n = w->n_text - from, .is_user = true};
        hth_code code = hth_tokenize(w->t, &segment, 1, 0, &list, err);
        const size_t n = list.n < MAX_TAIL ? list.n : MAX_TAIL;
        if (code == HTH_OK && !hth_grow(HTH_MEM_ENGINE, (void **)&b->tails, &b->cap_tails, b->n_tails + n,
                                        sizeof *b->tails, SIZE_MAX / 64)) {
            code = hth_fail_nomem(err, n * sizeof *b->tails);
        }
        if (code == HTH_OK && n > 0) memcpy(b->tails + b->n_tails, list.ids, n * sizeof *list.ids);
        hth_token_list_free(&list);
        if (code != HTH_OK) return code;
        w->rests[from] = (rest){(uint32_t)b->n_tails, (uint32_t)n};
        b->n_tails += n;
    }
    return HTH_OK;
}

static hth_code add(hth_breakers *b, int32_t head, rest tail, hth_err *err) {
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&b->items, &b->cap, b->n + 1, sizeof *b->items, SIZE_MAX / 64))
        return hth_fail_nomem(err, (b->n + 1) * sizeof *b->items);
    b->items[b->n++] = (sequence){.head = head, .first = tail.first, .n_tail = tail.n};
    return HTH_OK;
}

static bool contains(const char *word, size_t n_word, const char *text, size_t n_text) {
    for (size_t i = 0; i + n_text <= n_word; i++) {
        if (memcmp(word + i, text, n_text) == 0) return true;
    }
    return false;
}

// Adds what a token's text has to do with a breaker's.
static hth_code add_token(hth_breakers *b, const builder *w, int32_t id, const char *word, size_t n_word, hth_err *err) {
    if (contains(word, n_word, w->text, w->n_text)) return add(b, id, (rest){0}, err);
    for (size_t n = 1; n < w->n_text && n <= n_word; n++) { // the word's last n bytes begin the text
        if (memcmp(word + n_word - n, w->text, n) == 0) HTH_TRY(add(b, id, w->rests[n], err));
    }
    return HTH_OK;
}

static hth_code add_all(hth_breakers *b, const hth_tokenizer *t, builder *texts, size_t n, hth_err *err) {
    hth_str word;
    hth_str_init(&word, HTH_MEM_TEXT, (size_t)1 << 20);
    hth_code code = HTH_OK;
    for (int32_t id = 0; id < hth_tokenizer_n_vocab(t) && code == HTH_OK; id++) {
        hth_detokenizer d = hth_detokenizer_make(t, true);
        d.at_start = false;
        hth_str_clear(&word);
        code = hth_detokenizer_push(&d, id, &word, err);
        for (size_t i = 0; i < n && code == HTH_OK; i++)
            code = add_token(b, &texts[i], id, hth_str_text(&word), word.len, err);
    }
    hth_str_free(&word);
    return code;
}

static hth_code check_texts(const char *const *texts, size_t n, hth_err *err) {
    if (n > HTH_MAX_BREAKERS)
        return hth_fail(err, HTH_ERR_RANGE, "dry_sequence_breakers has %zu entries; it may have %d", n, HTH_MAX_BREAKERS);
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(texts[i]);
        if (len > 0 && len <= HTH_MAX_BREAKER_BYTES) continue;
        return hth_fail(err, HTH_ERR_RANGE, "dry_sequence_breakers: entry %zu has %zu bytes; it must have 1 to %d", i, len,
                        HTH_MAX_BREAKER_BYTES);
    }
    return HTH_OK;
}

hth_code hth_breakers_new(const hth_tokenizer *t, const char *const *texts, size_t n, hth_breakers **out, hth_err *err) {
    HTH_TRY(check_texts(texts, n, err));
    builder *work = hth_calloc(HTH_MEM_ENGINE, n, sizeof *work);
    hth_breakers *b = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *b);
    hth_code code = work && b ? HTH_OK : hth_fail_nomem(err, n * sizeof *work);
    for (size_t i = 0; i < n && code == HTH_OK; i++) {
        work[i] = (builder){.t = t, .text = texts[i], .n_text = strlen(texts[i])};
        code = tokenize_rests(b, &work[i], err);
    }
    if (code == HTH_OK) code = add_all(b, t, work, n, err);
    hth_free(work);
    if (code == HTH_OK) *out = b;
    else hth_breakers_free(b);
    return code;
}

int64_t hth_breakers_match(const hth_breakers *b, const int32_t *tokens, size_t n) {
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (b->items[mid].head < tokens[0]) lo = mid + 1;
        else hi = mid;
    }
    int64_t longest = 0;
    for (; lo < b->n && b->items[lo].head == tokens[0]; lo++) {
        const sequence *s = &b->items[lo];
        const int64_t len = (int64_t)s->n_tail + 1;
        if (len <= longest || len > (int64_t)n) continue;
        if (s->n_tail == 0 || memcmp(tokens + 1, b->tails + s->first, s->n_tail * sizeof *tokens) == 0) longest = len;
    }
    return longest;
}
