// Multiply-and-fold hash over 8-byte words, and a linear-probing map that doubles at 70 % load.
#include "base/hash.h"

#include <stdatomic.h>
#include <string.h>

#define MAP_MIN_SLOTS 16u
#define K0 0x9e3779b97f4a7c15ull
#define K1 0xd6e8feb86659fd93ull

static uint64_t fold(uint64_t a, uint64_t b) {
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t load_tail(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

// The only factor that bytes reach is mixed with what the seed has become, so nobody who does not know the seed
// can choose words that make a product zero.
uint64_t hth_hash(const void *bytes, size_t n, uint64_t seed) {
    const unsigned char *p = bytes;
    uint64_t h = fold(seed ^ K0, K1) + n;
    size_t left = n;
    for (; left > 8; left -= 8, p += 8) h = fold(load_tail(p, 8) ^ h, K1) + K0;
    h = fold((left ? load_tail(p, left) : 0) ^ h, K1) + K0;
    return fold(h, K1);
}

// Different for each map of a process and, with address randomisation, for each run.
static uint64_t next_seed(void) {
    static _Atomic uint64_t counter;
    uint64_t n = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
    return fold((uint64_t)(uintptr_t)&counter + n, K1);
}

bool hth_map_init(hth_map *m, hth_mem_tag tag, size_t n_expect) {
    *m = (hth_map){.seed = next_seed(), .tag = tag};
    if (n_expect > SIZE_MAX / 64) return false;
    size_t n_slot = MAP_MIN_SLOTS;
    while (n_slot * 7 / 10 < n_expect) n_slot *= 2;
    m->slots = hth_calloc(tag, n_slot, sizeof *m->slots);
    if (!m->slots) return false;
    m->n_slot = n_slot;
    return true;
}

void hth_map_free(hth_map *m) {
    hth_free(m->slots);
    *m = (hth_map){0};
}

static hth_map_slot *probe(hth_map_slot *slots, size_t n_slot, const char *key, size_t len, uint64_t hash) {
    size_t i = (size_t)hash & (n_slot - 1);
    for (;; i = (i + 1) & (n_slot - 1)) {
        hth_map_slot *s = &slots[i];
        if (!s->key) return s;
        if (s->hash == hash && s->len == len && (len == 0 || memcmp(s->key, key, len) == 0)) return s;
    }
}

static bool double_slots(hth_map *m) {
    hth_map_slot *slots = hth_calloc(m->tag, m->n_slot * 2, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < m->n_slot; i++) {
        const hth_map_slot *s = &m->slots[i];
        if (s->key) *probe(slots, m->n_slot * 2, s->key, s->len, s->hash) = *s;
    }
    hth_free(m->slots);
    m->slots = slots;
    m->n_slot *= 2;
    return true;
}

bool hth_map_insert(hth_map *m, const char *key, size_t len, uint32_t value, uint32_t *old, bool *was_there) {
    if (len > UINT32_MAX || !m->slots) return false;
    if ((m->n_used + 1) * 10 > m->n_slot * 7 && !double_slots(m)) return false;
    uint64_t hash = hth_hash(key, len, m->seed);
    hth_map_slot *s = probe(m->slots, m->n_slot, key, len, hash);
    bool found = s->key != NULL;
    if (was_there) *was_there = found;
    if (found && old) *old = s->value;
    if (!found) {
        *s = (hth_map_slot){.key = key ? key : "", .len = (uint32_t)len, .value = value, .hash = hash};
        m->n_used++;
    }
    return true;
}

bool hth_map_find(const hth_map *m, const char *key, size_t len, uint32_t *value) {
    if (!m->slots) return false;
    const hth_map_slot *s = probe(m->slots, m->n_slot, key, len, hth_hash(key, len, m->seed));
    if (!s->key) return false;
    if (value) *value = s->value;
    return true;
}
