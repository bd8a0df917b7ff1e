// Arena: many small allocations with one lifetime, freed together. Not thread-safe.
#ifndef HTH_BASE_ARENA_H
#define HTH_BASE_ARENA_H

#include "base/mem.h"

typedef struct hth_arena {
    struct arena_chunk *head; // newest chunk
    size_t used;              // bytes used in the newest chunk
    uint64_t total_bytes;     // bytes of all chunks
    uint64_t max_bytes;       // refuses to pass this
    hth_mem_tag tag;
} hth_arena;

// Prepares an empty arena that will never hold more than `max_bytes`. Allocates nothing.
void hth_arena_init(hth_arena *a, hth_mem_tag tag, uint64_t max_bytes);
// Returns `count` zeroed elements of `size` bytes, 16-byte aligned, owned by the arena; NULL when refused.
HTH_NODISCARD void *hth_arena_alloc(hth_arena *a, size_t count, size_t size);
// Returns a copy of n bytes with a terminating zero, owned by the arena.
HTH_NODISCARD char *hth_arena_strndup(hth_arena *a, const char *text, size_t n);
// Frees everything; the arena is empty and usable again.
void hth_arena_free(hth_arena *a);

#endif
