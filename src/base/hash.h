// Hashing and a byte-string map. The map's hash is seeded per process start-up value given by the
// caller of hth_map_init, so that keys from a file cannot be chosen to collide.
#ifndef HTH_BASE_HASH_H
#define HTH_BASE_HASH_H

#include "base/mem.h"

// A 64-bit mixing hash of n bytes (multiply-and-fold, wyhash's principle). Not cryptographic.
uint64_t hth_hash(const void *bytes, size_t n, uint64_t seed);

// Maps byte strings (borrowed, must outlive the map) to 32-bit values. Open addressing.
typedef struct hth_map_slot {
    const char *key;
    uint32_t len;
    uint32_t value;
    uint64_t hash;
} hth_map_slot;

typedef struct hth_map {
    hth_map_slot *slots; // owned; a power of two
    size_t n_slot, n_used;
    uint64_t seed;
    hth_mem_tag tag;
} hth_map;

// Prepares a map for about `n_expect` keys. Returns false when memory is refused.
HTH_NODISCARD bool hth_map_init(hth_map *m, hth_mem_tag tag, size_t n_expect);
void hth_map_free(hth_map *m);
// Inserts, or finds the value already there: *old is set to it and *was_there to true; the stored
// value is then unchanged. Returns false when memory is refused.
HTH_NODISCARD bool hth_map_insert(hth_map *m, const char *key, size_t len, uint32_t value, uint32_t *old,
                                  bool *was_there);
// True and *value when present.
bool hth_map_find(const hth_map *m, const char *key, size_t len, uint32_t *value);

#endif
