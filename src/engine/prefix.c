// The entries of the prefix cache, sorted by key. The longest common beginning with any of them is that with a
// neighbour of the place where a key would stand, and it falls on the way outwards from there; so a lookup is a binary
// search and, where states cannot be taken back to any row, a walk that ends when no better entry can come.
#include "engine/prefix.h"

#include <string.h>

#include "engine/prefix_impl.h"
#include "os/clock.h"

#define MAX_ENTRIES ((size_t)1 << 16)

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// ---- the sorted list

static int compare(const prefix_key *a, const prefix_key *b) {
    const size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes, same = prefix_key_common(a, b);
    if (same < n) return a->bytes[same] < b->bytes[same] ? -1 : 1;
    return a->n_bytes == b->n_bytes ? 0 : a->n_bytes < b->n_bytes ? -1 : 1;
}

// The first entry whose key is not below k.
static size_t place_of(const hth_prefix *c, const prefix_key *k) {
    size_t lo = 0, hi = c->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (compare(&c->entries[mid]->key, k) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

// Entries in the order of what they have in common with a key, most first.
typedef struct walk {
    const hth_prefix *c;
    const prefix_key *key;
    size_t left, right; // candidates are entries[left - 1] and entries[right]
    size_t left_common, right_common;
} walk;

static size_t common_at(const walk *w, size_t i, bool exists) {
    return exists ? prefix_key_common(&w->c->entries[i]->key, w->key) : 0;
}

static walk walk_from(const hth_prefix *c, const prefix_key *key) {
    walk w = {.c = c, .key = key, .left = place_of(c, key)};
    w.right = w.left;
    w.left_common = common_at(&w, w.left - 1, w.left > 0);
    w.right_common = common_at(&w, w.right, w.right < c->n);
    return w;
}

// Returns false where no entry is left that has more in common than the domain.
static bool walk_next(walk *w, size_t *i, size_t *common) {
    const bool is_left = w->left_common > w->right_common;
    *common = is_left ? w->left_common : w->right_common;
    if (*common <= w->key->n_head) return false;
    if (is_left) {
        *i = --w->left;
        w->left_common = common_at(w, w->left - 1, w->left > 0);
    } else {
        *i = w->right++;
        w->right_common = common_at(w, w->right, w->right < w->c->n);
    }
    return true;
}

// Tokens that an entry and a text begin with both; `common`: bytes of their keys.
static size_t same_tokens(const prefix_entry *e, const prefix_key *key, const hth_token *tokens, size_t common) {
    size_t most = prefix_key_tokens(key, common), i = 0;
    if (most > e->key.n) most = e->key.n;
    while (i < most && e->tokens[i] == tokens[i]) i++;
    return i;
}

// ---- memory

// What entry i adds to the pages of its neighbours in memory. Entries that share pages stand together, so the sum over
// all entries counts a page once.
static int64_t cost_of(const hth_prefix *c, size_t i) {
    const hth_state *s = c->entries[i]->state, *before = NULL, *after = NULL;
    if (!s) return 0;
    for (size_t k = i; k > 0 && !before; k--) before = c->entries[k - 1]->state;
    for (size_t k = i + 1; k < c->n && !after; k++) after = c->entries[k]->state;
    int64_t n = (int64_t)hth_state_bytes_beside(s, before);
    if (after) n += (int64_t)hth_state_bytes_beside(after, s) - (int64_t)hth_state_bytes_beside(after, before);
    return n;
}

static void count(hth_prefix *c, size_t i, int sign) {
    c->stats.n_bytes += (uint64_t)(sign * cost_of(c, i));
    if (c->entries[i]->state) c->stats.n_entry += (uint64_t)sign;
}

void prefix_entry_free(hth_prefix *c, prefix_entry *e) {
    if (!e) return;
    hth_state_free(e->state);
    prefix_piece_drop(c->disk, e->piece);
    prefix_piece_drop(c->disk, e->base);
    prefix_key_free(&e->key);
    hth_free(e->tokens);
    hth_free(e);
}

static prefix_entry *take_out(hth_prefix *c, size_t i) {
    prefix_entry *e = c->entries[i];
    count(c, i, -1);
    memmove(c->entries + i, c->entries + i + 1, (c->n - i - 1) * sizeof *c->entries);
    c->n--;
    return e;
}

void prefix_remove(hth_prefix *c, size_t i) {
    prefix_entry_free(c, take_out(c, i));
}

hth_code prefix_add(hth_prefix *c, prefix_entry *e, hth_err *err) {
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&c->entries, &c->cap, c->n + 1, sizeof *c->entries, MAX_ENTRIES)) {
        prefix_entry_free(c, e);
        return hth_fail_nomem(err, (c->n + 1) * sizeof *c->entries);
    }
    const size_t i = place_of(c, &e->key);
    memmove(c->entries + i + 1, c->entries + i, (c->n - i) * sizeof *c->entries);
    c->entries[i] = e;
    c->n++;
    e->id = ++c->last_id;
    count(c, i, 1);
    return HTH_OK;
}

// Forgets what entry i has in memory, and the entry itself where no file has it.
static void evict(hth_prefix *c, size_t i) {
    prefix_entry *e = c->entries[i];
    c->stats.n_evicted++;
    if (!e->piece) {
        prefix_remove(c, i);
        return;
    }
    count(c, i, -1);
    hth_state_free(e->state);
    e->state = NULL;
}

// The longest unused entry of which something would be given back; c->n: none.
static size_t find_victim(const hth_prefix *c) {
    uint64_t after = 0;
    for (;;) {
        size_t best = c->n;
        for (size_t i = 0; i < c->n; i++) {
            const prefix_entry *e = c->entries[i];
            if (e->state && e->used > after && (best == c->n || e->used < c->entries[best]->used)) best = i;
        }
        if (best == c->n || hth_state_own_bytes(c->entries[best]->state) > 0) return best;
        after = c->entries[best]->used;
    }
}

static uint64_t evict_one(hth_prefix *c) {
    const size_t i = find_victim(c);
    if (i == c->n) return 0;
    const uint64_t own = hth_state_own_bytes(c->entries[i]->state);
    evict(c, i);
    return own;
}

static void keep_limit(hth_prefix *c) {
    while (c->stats.n_bytes > c->p.limit_bytes && evict_one(c) > 0) {
    }
}

uint64_t hth_prefix_make_room(hth_prefix *c, uint64_t n_bytes) {
    uint64_t n = 0, more = 1;
    hth_lock(&c->lock);
    while (n < n_bytes && (more = evict_one(c)) > 0) n += more;
    hth_unlock(&c->lock);
    return n;
}

// ---- finding

typedef struct best {
    prefix_entry *e;
    int64_t n, n_same;
    bool goes_on; // the entry has tokens after those that are the same
} best;

// Rows of an entry that can be given for the first n of its tokens.
static int64_t reach(const hth_prefix *c, const prefix_entry *e, int64_t n) {
    if (e->state) return hth_state_reach(e->state, n);
    return n == (int64_t)e->key.n || hth_state_goes_anywhere(c->p.model) ? n : 0;
}

// The best entry, of those in memory or of all.
static best search(hth_prefix *c, const prefix_key *key, const hth_token *tokens, int64_t n_most, bool in_files) {
    best b = {0};
    walk w = walk_from(c, key);
    for (size_t i, common; walk_next(&w, &i, &common);) {
        const int64_t bound = (int64_t)prefix_key_tokens(key, common);
        if (bound <= b.n) break;
        prefix_entry *e = c->entries[i];
        const int64_t same = (int64_t)same_tokens(e, key, tokens, common);
        const int64_t n = e->state || in_files ? reach(c, e, min64(same, n_most)) : 0;
        if (same > b.n_same) {
            b.n_same = same;
            b.goes_on = (size_t)same < e->key.n;
        }
        if (n > b.n || (n > 0 && n == b.n && !b.e->state && e->state)) {
            b.e = e;
            b.n = n;
        }
        if (b.n == n_most && b.e && b.e->state) break;
    }
    return b;
}

// ---- what lies in files

static size_t index_with(const hth_prefix *c, uint64_t id) {
    size_t i = 0;
    while (i < c->n && c->entries[i]->id != id) i++;
    return i;
}

// Rows were read for an entry that may have gone, or come to memory, meanwhile. Takes the state.
static void bring_in(hth_prefix *c, uint64_t id, hth_state *s) {
    const size_t i = index_with(c, id);
    if (i == c->n || c->entries[i]->state) {
        hth_state_free(s);
        return;
    }
    c->entries[i]->state = s;
    c->entries[i]->used = ++c->clock;
    count(c, i, 1);
    c->stats.n_loaded++;
    keep_limit(c);
}

static void drop_bad(hth_prefix *c, uint64_t id) {
    const size_t i = index_with(c, id);
    c->stats.n_bad++;
    if (i < c->n && !c->entries[i]->state) prefix_remove(c, i);
}

// Entries whose files turn out to be bad are dropped, and the search begins again. The lock is held, but not while reading.
static hth_code fetch(hth_prefix *c, const prefix_key *key, const hth_prefix_text *text, int64_t n_most, hth_err *err) {
    for (;;) {
        const best b = search(c, key, text->tokens, n_most, true);
        if (!b.e || b.e->state) return HTH_OK;
        prefix_piece *piece = prefix_piece_hold(b.e->piece);
        const uint64_t id = b.e->id;
        hth_state *s;
        hth_unlock(&c->lock);
        const hth_code code = prefix_disk_load(c, piece, &s, err);
        hth_lock(&c->lock);
        prefix_piece_drop(c->disk, piece);
        if (code == HTH_OK) bring_in(c, id, s);
        if (code == HTH_OK || code == HTH_ERR_NOMEM) return code;
        drop_bad(c, id);
    }
}

hth_code hth_prefix_fetch(hth_prefix *c, const hth_prefix_text *text, int64_t n_most, hth_err *err) {
    prefix_key key;
    if (!c->disk) return HTH_OK;
    HTH_TRY(prefix_key_make(c->p.tokenizer, text, &key, err));
    hth_lock(&c->lock);
    const hth_code code = fetch(c, &key, text, n_most < 0 ? 0 : n_most, err);
    hth_unlock(&c->lock);
    prefix_key_free(&key);
    return code;
}

// ---- what is in memory

static hth_prefix_end why_ended(const best *b, size_t n_token, int64_t n_most) {
    if (b->n < min64(b->n_same, n_most)) return HTH_PREFIX_STATE;
    if ((size_t)b->n_same == n_token) return HTH_PREFIX_ALL;
    return b->n_same == 0 ? HTH_PREFIX_COLD : b->goes_on ? HTH_PREFIX_DIFFERENT : HTH_PREFIX_ENDED;
}

static hth_code find(hth_prefix *c, const prefix_key *key, const hth_prefix_text *text, int64_t n_most, hth_prefix_hit *out,
                     hth_err *err) {
    const best b = search(c, key, text->tokens, n_most, false);
    c->stats.n_find++;
    *out = (hth_prefix_hit){.n = b.n, .n_same = b.n_same, .why = why_ended(&b, text->n, n_most)};
    if (!b.e) return HTH_OK;
    HTH_TRY(hth_state_fork(b.e->state, b.n, &out->state, err));
    b.e->used = ++c->clock;
    c->stats.n_hit++;
    c->stats.n_token += (uint64_t)b.n;
    return HTH_OK;
}

hth_code hth_prefix_find(hth_prefix *c, const hth_prefix_text *text, int64_t n_most, hth_prefix_hit *out, hth_err *err) {
    prefix_key key;
    *out = (hth_prefix_hit){0};
    HTH_TRY(prefix_key_make(c->p.tokenizer, text, &key, err));
    hth_lock(&c->lock);
    const hth_code code = find(c, &key, text, n_most < 0 ? 0 : n_most, out, err);
    hth_unlock(&c->lock);
    prefix_key_free(&key);
    if (code != HTH_OK) *out = (hth_prefix_hit){0};
    return code;
}

// ---- putting

// The new entry goes on from what files already hold: the longest chain of pieces within its first `same` tokens.
static void inherit(hth_prefix *c, prefix_entry *e, const prefix_entry *from, int64_t same) {
    prefix_piece *p = from->piece ? from->piece : from->base;
    while (p && prefix_piece_rows(p) > same) p = prefix_piece_parent(p);
    if (!p || (e->base && prefix_piece_rows(e->base) >= prefix_piece_rows(p))) return;
    prefix_piece *old = e->base;
    e->base = prefix_piece_hold(p);
    prefix_piece_drop(c->disk, old);
}

// A file held the rows already; now they are in memory too.
static void revive(hth_prefix *c, size_t i, prefix_entry *e) {
    c->entries[i]->state = e->state;
    e->state = NULL;
    count(c, i, 1);
}

// Drops what e can be taken back to. Returns the entry that e itself can be had from, or NULL.
static prefix_entry *settle(hth_prefix *c, prefix_entry *e) {
    walk w = walk_from(c, &e->key);
    const int64_t n = (int64_t)e->key.n;
    for (size_t i, common; walk_next(&w, &i, &common);) {
        prefix_entry *o = c->entries[i];
        const int64_t same = (int64_t)same_tokens(o, &e->key, e->tokens, common);
        if (same == n && !o->state && o->key.n == e->key.n) revive(c, i, e);
        if (same == n && o->state && hth_state_reach(o->state, n) == n) return o;
        inherit(c, e, o, same);
        if (same == 0 || (size_t)same < o->key.n || hth_state_reach(e->state, same) != same) continue;
        prefix_remove(c, i);
        if (i < w.left) w.left--; // entries from the left of the key's place only
        if (i < w.right) w.right--;
    }
    return NULL;
}

static hth_code put(hth_prefix *c, prefix_entry *e, hth_err *err) {
    prefix_entry *there = settle(c, e);
    if (there) {
        there->used = ++c->clock;
        prefix_entry_free(c, e);
        return HTH_OK;
    }
    e->used = ++c->clock;
    e->put_ns = hth_clock_ns();
    HTH_TRY(prefix_add(c, e, err));
    keep_limit(c);
    prefix_disk_wake(c->disk);
    return HTH_OK;
}

hth_code hth_prefix_put(hth_prefix *c, const hth_prefix_text *text, hth_state *state, hth_err *err) {
    prefix_entry *e = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *e);
    hth_code code = e ? HTH_OK : hth_fail_nomem(err, sizeof *e);
    if (code == HTH_OK && ((int64_t)text->n != hth_state_len(state) || text->n == 0)) {
        code = hth_fail(err, HTH_ERR_RANGE, "%zu tokens for a sequence of %lld rows", text->n, (long long)hth_state_len(state));
    }
    if (code == HTH_OK) code = prefix_key_make(c->p.tokenizer, text, &e->key, err);
    if (code == HTH_OK) {
        e->tokens = hth_calloc(HTH_MEM_ENGINE, text->n, sizeof *e->tokens);
        if (e->tokens) memcpy(e->tokens, text->tokens, text->n * sizeof *e->tokens);
        else code = hth_fail_nomem(err, text->n * sizeof *e->tokens);
    }
    if (code != HTH_OK) {
        hth_state_free(state);
        prefix_entry_free(c, e);
        return code;
    }
    if (!hth_state_goes_anywhere(c->p.model)) { // a fork is without the room for rows that a recurrent layer keeps
        code = hth_state_fork(state, (int64_t)text->n, &e->state, err);
        hth_state_free(state);
    } else {
        e->state = state;
    }
    if (code != HTH_OK) {
        prefix_entry_free(c, e);
        return code;
    }
    hth_lock(&c->lock);
    code = put(c, e, err);
    hth_unlock(&c->lock);
    return code;
}

// ---- tokens of the same bytes

// The last place where a token ends in both, within `common` bytes; *a and *b: tokens up to there.
static size_t meeting_point(const prefix_key *x, const prefix_key *y, size_t common, size_t *a, size_t *b) {
    *a = prefix_key_tokens(x, common);
    *b = prefix_key_tokens(y, common);
    while (*a > 0 && *b > 0 && x->ends[*a - 1] != y->ends[*b - 1]) {
        if (x->ends[*a - 1] > y->ends[*b - 1]) --*a;
        else --*b;
    }
    return *a > 0 && *b > 0 ? x->ends[*a - 1] : 0;
}

static hth_code splice(hth_token_list *tokens, size_t n_own, const hth_token *with, size_t n, hth_err *err) {
    const size_t rest = tokens->n - n_own, need = n + rest;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&tokens->ids, &tokens->cap, need, sizeof *tokens->ids, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, need * sizeof *tokens->ids);
    }
    memmove(tokens->ids + n, tokens->ids + n_own, rest * sizeof *tokens->ids);
    memcpy(tokens->ids, with, n * sizeof *with);
    tokens->n = need;
    return HTH_OK;
}

static hth_code reuse(hth_prefix *c, const prefix_key *key, hth_token_list *tokens, hth_err *err) {
    const prefix_entry *from = NULL;
    size_t most = 0, n_own = 0, n_cached = 0;
    walk w = walk_from(c, key);
    for (size_t i, common, a, b; walk_next(&w, &i, &common) && common > most;) {
        const size_t at = meeting_point(key, &c->entries[i]->key, common, &a, &b);
        if (at <= most) continue;
        most = at;
        from = c->entries[i];
        n_own = a;
        n_cached = b;
    }
    return from ? splice(tokens, n_own, from->tokens, n_cached, err) : HTH_OK;
}

hth_code hth_prefix_reuse_tokens(hth_prefix *c, const void *domain, size_t n_domain, hth_token_list *tokens, hth_err *err) {
    const hth_prefix_text text = {.domain = domain, .n_domain = n_domain, .tokens = tokens->ids, .n = tokens->n};
    prefix_key key;
    HTH_TRY(prefix_key_make(c->p.tokenizer, &text, &key, err));
    hth_lock(&c->lock);
    const hth_code code = reuse(c, &key, tokens, err);
    hth_unlock(&c->lock);
    prefix_key_free(&key);
    return code;
}

// ---- life

hth_code hth_prefix_new(const hth_prefix_params *p, hth_prefix **out, hth_err *err) {
    *out = NULL;
    hth_prefix *c = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *c);
    if (!c) return hth_fail_nomem(err, sizeof *c);
    c->p = *p;
    hth_code code = hth_mutex_init(&c->lock, err);
    if (code != HTH_OK) {
        hth_free(c);
        return code;
    }
    if (p->folder) code = prefix_disk_open(c, err);
    if (code != HTH_OK) {
        hth_prefix_free(c);
        return code;
    }
    *out = c;
    return HTH_OK;
}

void hth_prefix_free(hth_prefix *c) {
    if (!c) return;
    prefix_disk_close(c);
    while (c->n > 0) prefix_remove(c, c->n - 1);
    hth_free(c->entries);
    hth_mutex_destroy(&c->lock);
    hth_free(c);
}

void hth_prefix_get_stats(hth_prefix *c, hth_prefix_stats *out) {
    hth_lock(&c->lock);
    *out = c->stats;
    hth_unlock(&c->lock);
}
