// A byte trie whose edges lie in one hash table: fast to build, one probe per byte to walk.
#ifndef HTH_TEXT_TRIE_H
#define HTH_TEXT_TRIE_H

#include "base/err.h"
#include "base/mem.h"

#define HTH_TRIE_NONE UINT32_MAX

typedef struct hth_trie_edge {
    uint64_t key; // node << 8 | byte, plus one; 0 is free
    uint32_t child;
} hth_trie_edge;

typedef struct hth_trie {
    hth_trie_edge *edges; // owned; a power of two
    size_t n_slot, n_edge;
    uint32_t *values; // owned; per node, HTH_TRIE_NONE where no key ends
    size_t n_node, cap_node;
    uint64_t seed;
    uint32_t root[256]; // children of node 0
    size_t max_len;     // of the keys
} hth_trie;

HTH_NODISCARD hth_code hth_trie_init(hth_trie *t, size_t n_expect, hth_err *err);
void hth_trie_free(hth_trie *t);
// Inserts a key of at least one byte; a key that is there already keeps its value.
HTH_NODISCARD hth_code hth_trie_insert(hth_trie *t, const uint8_t *key, size_t n, uint32_t value,
                                       hth_err *err);

static inline uint64_t hth_trie_mix(uint64_t key, uint64_t seed) {
    uint64_t h = (key ^ seed) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 29;
}

// The child of `node` by `byte`, or HTH_TRIE_NONE.
static inline uint32_t hth_trie_step(const hth_trie *t, uint32_t node, uint8_t byte) {
    if (node == 0) return t->root[byte];
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    for (size_t i = (size_t)hth_trie_mix(key, t->seed) & (t->n_slot - 1);; i = (i + 1) & (t->n_slot - 1)) {
        if (t->edges[i].key == key) return t->edges[i].child;
        if (t->edges[i].key == 0) return HTH_TRIE_NONE;
    }
}

#endif
