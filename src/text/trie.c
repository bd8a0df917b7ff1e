// Linear probing, doubled at half load. Node numbers are small and dense, so the seed only has to
// scatter them; keys of the table are not chosen by an outsider byte for byte.
#include "text/trie.h"

#include <string.h>

#define MAX_NODES (1u << 28)
#define MIN_SLOTS 64u

static hth_code add_node(hth_trie *t, uint32_t *node, hth_err *err) {
    if (!hth_grow(HTH_MEM_TEXT, (void **)&t->values, &t->cap_node, t->n_node + 1, sizeof *t->values,
                  MAX_NODES)) {
        return hth_fail_nomem(err, sizeof *t->values);
    }
    *node = (uint32_t)t->n_node;
    t->values[t->n_node++] = HTH_TRIE_NONE;
    return HTH_OK;
}

hth_code hth_trie_init(hth_trie *t, size_t n_expect, hth_err *err) {
    *t = (hth_trie){.seed = 0x2545f4914f6cdd1dull};
    for (int i = 0; i < 256; i++) t->root[i] = HTH_TRIE_NONE;
    t->n_slot = MIN_SLOTS;
    while (t->n_slot / 8 < n_expect && t->n_slot < (1u << 24)) t->n_slot *= 2;
    t->edges = hth_calloc(HTH_MEM_TEXT, t->n_slot, sizeof *t->edges);
    if (!t->edges) return hth_fail_nomem(err, t->n_slot * sizeof *t->edges);
    uint32_t root;
    return add_node(t, &root, err);
}

void hth_trie_free(hth_trie *t) {
    hth_free(t->edges);
    hth_free(t->values);
    *t = (hth_trie){0};
}

static void put_edge(hth_trie_edge *edges, size_t n_slot, uint64_t seed, hth_trie_edge e) {
    size_t i = (size_t)hth_trie_mix(e.key, seed) & (n_slot - 1);
    while (edges[i].key != 0) i = (i + 1) & (n_slot - 1);
    edges[i] = e;
}

static hth_code grow_edges(hth_trie *t, hth_err *err) {
    size_t n_slot = t->n_slot * 2;
    hth_trie_edge *edges = hth_calloc(HTH_MEM_TEXT, n_slot, sizeof *edges);
    if (!edges) return hth_fail_nomem(err, n_slot * sizeof *edges);
    for (size_t i = 0; i < t->n_slot; i++) {
        if (t->edges[i].key) put_edge(edges, n_slot, t->seed, t->edges[i]);
    }
    hth_free(t->edges);
    t->edges = edges;
    t->n_slot = n_slot;
    return HTH_OK;
}

hth_code hth_trie_insert(hth_trie *t, const uint8_t *key, size_t n, uint32_t value, hth_err *err) {
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t child = hth_trie_step(t, node, key[i]);
        if (child == HTH_TRIE_NONE) {
            HTH_TRY(add_node(t, &child, err));
            if (node == 0) {
                t->root[key[i]] = child;
            } else {
                if (2 * (t->n_edge + 1) > t->n_slot) HTH_TRY(grow_edges(t, err));
                put_edge(t->edges, t->n_slot, t->seed,
                         (hth_trie_edge){.key = ((uint64_t)node << 8 | key[i]) + 1, .child = child});
                t->n_edge++;
            }
        }
        node = child;
    }
    if (t->values[node] == HTH_TRIE_NONE) t->values[node] = value;
    if (n > t->max_len) t->max_len = n;
    return HTH_OK;
}
