// Three tables, for the last 2, 3 and 4 tokens, say where such tokens stood last. An entry is made when the token
// behind them is known, so that the sequence's own end is never found; places that share a slot are chained, the latest
// first, and the first few of them are looked at.
// As long as a guess has been right, the place that it came from is simply followed.
#include <string.h>

#include "base/mem.h"
#include "engine/draft.h"

enum { SHORTEST = 2, LONGEST = 4, N_TABLE = LONGEST - SHORTEST + 1, FOLLOWED = 4, LEAST_SLOTS = 1024, MOST_STEPS = 8 };

typedef struct ngram_drafter {
    hth_drafter base;
    int32_t *tokens; // [n] owned: the sequence so far
    size_t n, cap;
    uint32_t *slots[N_TABLE]; // [n_slot] owned: 1 + place of the last of so many tokens; 0: none
    uint32_t *earlier[N_TABLE]; // [n_slot] owned: by place, the one before it in its slot
    size_t n_slot;
    size_t followed; // place of the token that the last one equals; 0: none
} ngram_drafter;

static size_t slot_of(const ngram_drafter *d, size_t last, int len) {
    uint64_t hash = 0;
    for (int i = 0; i < len; i++) hash = (hash + (uint32_t)d->tokens[last - (size_t)i] + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash >> 32) & (d->n_slot - 1);
}

static void remember(ngram_drafter *d, size_t last) {
    for (int t = 0; t < N_TABLE && last + 1 >= (size_t)(SHORTEST + t); t++) {
        uint32_t *slot = &d->slots[t][slot_of(d, last, SHORTEST + t)];
        d->earlier[t][last] = *slot;
        *slot = (uint32_t)last + 1;
    }
}

static void free_tables(uint32_t *slots[N_TABLE], uint32_t *earlier[N_TABLE]) {
    for (int t = 0; t < N_TABLE; t++) {
        hth_free(slots[t]);
        hth_free(earlier[t]);
    }
}

// Tables of at least as many slots as there are tokens, filled again when they grow.
static hth_code make_room(ngram_drafter *d, size_t n, hth_err *err) {
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&d->tokens, &d->cap, n, sizeof *d->tokens, UINT32_MAX / 8))
        return hth_fail_nomem(err, n * sizeof *d->tokens);
    if (n <= d->n_slot) return HTH_OK;
    size_t n_slot = d->n_slot ? d->n_slot : LEAST_SLOTS;
    while (n_slot < n) n_slot *= 2;
    uint32_t *slots[N_TABLE] = {0}, *earlier[N_TABLE] = {0};
    bool has_all = true;
    for (int t = 0; t < N_TABLE; t++) {
        slots[t] = hth_calloc(HTH_MEM_ENGINE, n_slot, sizeof **slots);
        earlier[t] = hth_calloc(HTH_MEM_ENGINE, n_slot, sizeof **earlier);
        has_all = has_all && slots[t] && earlier[t];
    }
    if (!has_all) {
        free_tables(slots, earlier);
        return hth_fail_nomem(err, n_slot * sizeof **slots);
    }
    free_tables(d->slots, d->earlier);
    memcpy(d->slots, slots, sizeof slots);
    memcpy(d->earlier, earlier, sizeof earlier);
    d->n_slot = n_slot;
    for (size_t i = 0; i + 1 < d->n; i++) remember(d, i);
    return HTH_OK;
}

static void append(ngram_drafter *d, int32_t token) {
    if (d->followed > 0) d->followed = d->tokens[d->followed + 1] == token ? d->followed + 1 : 0;
    d->tokens[d->n++] = token;
    if (d->n > 1) remember(d, d->n - 2);
}

static void forget(ngram_drafter *d) {
    for (int t = 0; t < N_TABLE && d->n_slot > 0; t++) memset(d->slots[t], 0, d->n_slot * sizeof **d->slots);
    d->n = d->followed = 0;
}

static bool is_equal(const ngram_drafter *d, size_t last, size_t n) {
    return last + 1 >= n && memcmp(d->tokens + last + 1 - n, d->tokens + d->n - n, n * sizeof *d->tokens) == 0;
}

// The place of the longest stretch that ends as the sequence does; *len is its length. 0: none.
static size_t find(const ngram_drafter *d, int *len) {
    for (int n = LONGEST; n >= SHORTEST; n--) {
        if (d->n < (size_t)n + 1) continue;
        const int t = n - SHORTEST;
        uint32_t place = d->slots[t][slot_of(d, d->n - 1, n)];
        for (int step = 0; place > 0 && step < MOST_STEPS; step++) {
            *len = n;
            if (is_equal(d, place - 1, (size_t)n)) return place - 1;
            place = d->earlier[t][place - 1];
        }
    }
    return 0;
}

static hth_code propose(hth_drafter *base, const int32_t *tokens, size_t n, int32_t most, hth_draft *out, hth_err *err) {
    ngram_drafter *d = (ngram_drafter *)base;
    // A sequence that is not the known one with an end: it is read anew. Comparing all of it each time would cost more
    // than guessing, so only the end that both have is compared.
    const size_t both = d->n < 8 ? d->n : 8;
    if (n < d->n || (both > 0 && memcmp(tokens + d->n - both, d->tokens + d->n - both, both * sizeof *tokens) != 0)) forget(d);
    HTH_TRY(make_room(d, n, err));
    while (d->n < n) append(d, tokens[d->n]);
    int len = FOLLOWED + 1;
    size_t from = d->followed;
    if (from == 0) from = find(d, &len);
    if (from == 0) return HTH_OK;
    d->followed = from;
    out->source = len - 1; // 1 ... 3 by length, 4: followed
    for (; out->n < most && from + 1 + (size_t)out->n < d->n; out->n++) {
        out->tokens[out->n] = d->tokens[from + 1 + (size_t)out->n];
        out->parent[out->n] = out->n - 1;
    }
    return HTH_OK;
}

static void free_ngram(hth_drafter *base) {
    ngram_drafter *d = (ngram_drafter *)base;
    free_tables(d->slots, d->earlier);
    hth_free(d->tokens);
    hth_free(d);
}

static const hth_drafter_ops ngram_ops = {.propose = propose, .free = free_ngram};

hth_code hth_drafter_ngram_new(hth_drafter **out, hth_err *err) {
    ngram_drafter *d = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *d);
    if (!d) return hth_fail_nomem(err, sizeof *d);
    d->base.ops = &ngram_ops;
    *out = &d->base;
    return HTH_OK;
}
