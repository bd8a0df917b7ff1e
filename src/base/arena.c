// Chunked arena: chunks double from 4 KiB to 1 MiB; larger requests get a chunk of their own.
#include "base/arena.h"

#include <string.h>

#include "base/checked.h"

#define CHUNK_MIN 4096u
#define CHUNK_MAX (1u << 20)

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t cap;
} arena_chunk;

_Static_assert(sizeof(arena_chunk) == 16, "chunk data stays 16-byte aligned");

void hth_arena_init(hth_arena *a, hth_mem_tag tag, uint64_t max_bytes) {
    *a = (hth_arena){.max_bytes = max_bytes, .tag = tag};
}

static arena_chunk *add_chunk(hth_arena *a, size_t need) {
    size_t cap = a->head ? a->head->cap * 2 : CHUNK_MIN;
    if (cap > CHUNK_MAX) cap = CHUNK_MAX;
    uint64_t left = a->max_bytes - a->total_bytes;
    left = left > sizeof(arena_chunk) ? left - sizeof(arena_chunk) : 0;
    if (cap > left) cap = (size_t)left; // the last chunk takes what remains
    if (cap < need) cap = need;
    size_t whole;
    if (cap > left || !hth_add_size(cap, sizeof(arena_chunk), &whole)) return NULL;
    arena_chunk *c = hth_alloc(a->tag, whole);
    if (!c) return NULL;
    a->total_bytes += whole;
    c->cap = cap;
    return c;
}

void *hth_arena_alloc(hth_arena *a, size_t count, size_t size) {
    size_t n;
    if (!hth_mul_size(count, size, &n) || !hth_add_size(n, 15, &n)) return NULL;
    n &= ~(size_t)15;
    if (!a->head || n > a->head->cap - a->used) {
        arena_chunk *c = add_chunk(a, n);
        if (!c) return NULL;
        c->next = a->head;
        a->head = c;
        a->used = 0;
    }
    unsigned char *p = (unsigned char *)(a->head + 1) + a->used;
    a->used += n;
    memset(p, 0, n);
    return p;
}

char *hth_arena_strndup(hth_arena *a, const char *text, size_t n) {
    size_t whole;
    if (!hth_add_size(n, 1, &whole)) return NULL;
    char *copy = hth_arena_alloc(a, whole, 1);
    if (copy && n) memcpy(copy, text, n);
    return copy;
}

void hth_arena_free(hth_arena *a) {
    for (arena_chunk *c = a->head; c;) {
        arena_chunk *next = c->next;
        hth_free(c);
        c = next;
    }
    hth_arena_init(a, a->tag, a->max_bytes);
}
