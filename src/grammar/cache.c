// Compiled grammars by what they were made of. A few hundred at most, so they are looked for one by one.
#include <string.h>

#include "base/hash.h"
#include "grammar/impl.h"
#include "os/sync.h"

#define TEXT_MAX (1u << 20) // longer ones are not kept

typedef struct entry {
    hth_grammar_kind kind;
    bool lenient;
    hth_grammar_space space;
    uint64_t hash, used, n_bytes;
    char *text; // owned, [n]
    size_t n;
    hth_grammar *grammar; // held
} entry;

struct hth_grammar_cache {
    hth_mutex lock; // of all
    entry *entries; // owned, [n_most]
    size_t n, n_most;
    uint64_t max_bytes, clock;
    hth_grammar_cache_stats stats;
};

hth_code hth_grammar_cache_new(size_t n_most, uint64_t max_bytes, hth_grammar_cache **out, hth_err *err) {
    hth_grammar_cache *c = hth_calloc(HTH_MEM_TEXT, 1, sizeof *c);
    if (!c) return hth_fail_nomem(err, sizeof *c);
    c->n_most = n_most;
    c->max_bytes = max_bytes;
    c->entries = hth_calloc(HTH_MEM_TEXT, n_most + 1, sizeof *c->entries);
    hth_code code = c->entries ? hth_mutex_init(&c->lock, err) : hth_fail_nomem(err, n_most * sizeof *c->entries);
    if (code != HTH_OK) {
        hth_free(c->entries);
        hth_free(c);
        return code;
    }
    *out = c;
    return HTH_OK;
}

static void drop(hth_grammar_cache *c, size_t i) {
    c->stats.n_bytes -= c->entries[i].n_bytes;
    hth_grammar_free(c->entries[i].grammar);
    hth_free(c->entries[i].text);
    c->entries[i] = c->entries[--c->n];
}

void hth_grammar_cache_free(hth_grammar_cache *c) {
    if (!c) return;
    while (c->n > 0) drop(c, 0);
    hth_mutex_destroy(&c->lock);
    hth_free(c->entries);
    hth_free(c);
}

static size_t find(const hth_grammar_cache *c, const entry *key) {
    size_t i = 0;
    for (; i < c->n; i++) {
        const entry *e = &c->entries[i];
        if (e->hash == key->hash && e->kind == key->kind && e->lenient == key->lenient && e->space == key->space &&
            e->n == key->n && memcmp(e->text, key->text, key->n) == 0) {
            break;
        }
    }
    return i;
}

// Takes what was longest unused out until another one fits.
static void make_room(hth_grammar_cache *c, uint64_t n_bytes) {
    while (c->n > 0 && (c->n == c->n_most || c->stats.n_bytes + n_bytes > c->max_bytes)) {
        size_t oldest = 0;
        for (size_t i = 1; i < c->n; i++) {
            if (c->entries[i].used < c->entries[oldest].used) oldest = i;
        }
        drop(c, oldest);
    }
}

// Keeps a grammar, where that is possible.
static void keep(hth_grammar_cache *c, entry e, hth_grammar *g) {
    e.n_bytes = e.n + g->arena.total_bytes;
    if (e.n > TEXT_MAX || c->n_most == 0 || e.n_bytes > c->max_bytes / 2) return;
    e.text = hth_strndup(HTH_MEM_TEXT, e.text, e.n);
    if (!e.text) return;
    hth_lock(&c->lock);
    if (find(c, &e) < c->n) { // somebody else was faster
        hth_free(e.text);
    } else {
        make_room(c, e.n_bytes);
        e.grammar = hth_grammar_hold(g);
        e.used = ++c->clock;
        c->entries[c->n++] = e;
        c->stats.n_bytes += e.n_bytes;
    }
    hth_unlock(&c->lock);
}

static hth_code compile(hth_grammar_kind kind, const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out,
                        hth_err *err) {
    switch (kind) {
    case HTH_GRAMMAR_SCHEMA: return hth_grammar_from_schema(text, n, o, out, err);
    case HTH_GRAMMAR_JSON_OBJECT: return hth_grammar_from_json_object(o, out, err);
    case HTH_GRAMMAR_REGEX: return hth_grammar_from_regex(text, n, o, out, err);
    case HTH_GRAMMAR_GBNF: return hth_grammar_from_gbnf(text, n, o, out, err);
    case HTH_GRAMMAR_LARK: return hth_grammar_from_lark(text, n, o, out, err);
    case HTH_GRAMMAR_TEXT: return hth_grammar_from_text(text, n, o, out, err);
    }
    return hth_fail(err, HTH_ERR_RANGE, "%d is no kind of grammar", (int)kind);
}

hth_code hth_grammar_cached(hth_grammar_cache *c, hth_grammar_kind kind, const char *text, size_t n, const hth_grammar_options *o,
                            hth_grammar **out, hth_err *err) {
    static const hth_grammar_limits none;
    const hth_grammar_options plain = {0}, *how = o ? o : &plain;
    const bool is_kept = c && memcmp(&how->limits, &none, sizeof none) == 0; // others are asked for by nobody twice
    union { // a key's text is borrowed
        const char *in;
        char *text;
    } borrowed = {text ? text : ""};
    entry key = {.kind = kind, .lenient = how->lenient, .space = how->space, .text = borrowed.text, .n = n};
    if (!is_kept) return compile(kind, text, n, o, out, err);
    key.hash = hth_hash(key.text, n, (uint64_t)kind);
    hth_lock(&c->lock);
    const size_t i = find(c, &key);
    const bool is_found = i < c->n;
    if (is_found) {
        c->entries[i].used = ++c->clock;
        *out = hth_grammar_hold(c->entries[i].grammar);
    }
    c->stats.n_hit += is_found;
    c->stats.n_miss += !is_found;
    hth_unlock(&c->lock);
    if (is_found) return HTH_OK;
    HTH_TRY(compile(kind, text, n, o, out, err));
    keep(c, key, *out);
    return HTH_OK;
}

hth_grammar_cache_stats hth_grammar_cache_get_stats(hth_grammar_cache *c) {
    hth_lock(&c->lock);
    hth_grammar_cache_stats stats = c->stats;
    stats.n = c->n;
    hth_unlock(&c->lock);
    return stats;
}
