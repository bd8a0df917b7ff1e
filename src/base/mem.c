// The allocator front: a 16-byte header in front of each block carries size and tag, counters are
// relaxed atomics (they order nothing), and the underlying calls happen nowhere else.
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

// [ base ... pad | header | block ]: `pad` leads back from the header to what malloc returned.
typedef struct block_header {
    uint64_t n_bytes;
    uint32_t pad;
    uint16_t tag;
    uint16_t magic;
} block_header;

#define BLOCK_MAGIC 0x4854
#define BLOCK_ALIGN 64

_Static_assert(sizeof(block_header) == 16, "blocks stay 16-byte aligned");

static _Atomic uint64_t tag_bytes[HTH_MEM_TAG_COUNT];
static _Atomic uint64_t total_bytes, peak_bytes, n_blocks, n_calls, limit_bytes;
static _Atomic int64_t fail_countdown; // > 0: fails when it reaches zero
static atomic_bool fail_sticky, fail_hit;

static bool is_failure_due(void) {
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) <= 0) {
        return atomic_load_explicit(&fail_sticky, memory_order_relaxed) &&
               atomic_load_explicit(&fail_hit, memory_order_relaxed);
    }
    if (atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) != 1) return false;
    atomic_store_explicit(&fail_hit, true, memory_order_relaxed);
    return true;
}

// Reserves n bytes of the budget; false when refused.
static bool charge(hth_mem_tag tag, uint64_t n) {
    atomic_fetch_add_explicit(&n_calls, 1, memory_order_relaxed);
    if (is_failure_due()) return false;
    uint64_t now = atomic_fetch_add_explicit(&total_bytes, n, memory_order_relaxed) + n;
    uint64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    if (limit != 0 && now > limit) {
        atomic_fetch_sub_explicit(&total_bytes, n, memory_order_relaxed);
        return false;
    }
    atomic_fetch_add_explicit(&tag_bytes[tag], n, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &peak_bytes, &peak, now, memory_order_relaxed, memory_order_relaxed)) {
    }
    return true;
}

static void discharge(hth_mem_tag tag, uint64_t n) {
    atomic_fetch_sub_explicit(&total_bytes, n, memory_order_relaxed);
    atomic_fetch_sub_explicit(&tag_bytes[tag], n, memory_order_relaxed);
}

// A block of `from` bytes becomes one of `to` <= `from` bytes, perhaps under another tag.
static void recharge(hth_mem_tag from_tag, uint64_t from, hth_mem_tag to_tag, uint64_t to) {
    discharge(from_tag, from);
    atomic_fetch_add_explicit(&total_bytes, to, memory_order_relaxed);
    atomic_fetch_add_explicit(&tag_bytes[to_tag], to, memory_order_relaxed);
}

static block_header *header_of(void *ptr) {
    block_header *h = (block_header *)ptr - 1;
    if (h->magic != BLOCK_MAGIC) abort(); // a foreign or freed pointer: our own bug
    return h;
}

static void *start_block(unsigned char *base, size_t lead, hth_mem_tag tag, size_t n_bytes) {
    block_header *h = (block_header *)(void *)(base + lead) - 1;
    *h = (block_header){
        .n_bytes = n_bytes, .pad = (uint32_t)(lead - sizeof *h), .tag = (uint16_t)tag, .magic = BLOCK_MAGIC};
    atomic_fetch_add_explicit(&n_blocks, 1, memory_order_relaxed);
    return h + 1;
}

void *hth_alloc(hth_mem_tag tag, size_t n_bytes) {
    size_t whole;
    if (!hth_add_size(n_bytes, sizeof(block_header), &whole) || !charge(tag, n_bytes)) return NULL;
    unsigned char *base = malloc(whole);
    if (!base) {
        discharge(tag, n_bytes);
        return NULL;
    }
    return start_block(base, sizeof(block_header), tag, n_bytes);
}

void *hth_calloc(hth_mem_tag tag, size_t count, size_t size) {
    size_t n_bytes, whole;
    if (!hth_mul_size(count, size, &n_bytes)) return NULL;
    if (!hth_add_size(n_bytes, sizeof(block_header), &whole) || !charge(tag, n_bytes)) return NULL;
    unsigned char *base = calloc(1, whole);
    if (!base) {
        discharge(tag, n_bytes);
        return NULL;
    }
    return start_block(base, sizeof(block_header), tag, n_bytes);
}

void *hth_alloc_aligned(hth_mem_tag tag, size_t n_bytes) {
    size_t whole;
    if (!hth_add_size(n_bytes, sizeof(block_header) + BLOCK_ALIGN, &whole) || !charge(tag, n_bytes)) {
        return NULL;
    }
    unsigned char *base = malloc(whole);
    if (!base) {
        discharge(tag, n_bytes);
        return NULL;
    }
    uintptr_t first = (uintptr_t)base + sizeof(block_header);
    uintptr_t aligned = (first + BLOCK_ALIGN - 1) & ~(uintptr_t)(BLOCK_ALIGN - 1);
    return start_block(base, (size_t)(aligned - (uintptr_t)base), tag, n_bytes);
}

void *hth_realloc(hth_mem_tag tag, void *ptr, size_t n_bytes) {
    if (!ptr) return hth_alloc(tag, n_bytes);
    block_header *old = header_of(ptr);
    if (old->pad != 0) abort(); // aligned blocks do not grow: our own bug
    block_header saved = *old;
    uint64_t more = n_bytes > saved.n_bytes ? n_bytes - saved.n_bytes : 0;
    size_t whole;
    if (!hth_add_size(n_bytes, sizeof *old, &whole) || !charge(tag, more)) return NULL;
    block_header *h = realloc(old, whole);
    if (!h) {
        discharge(tag, more);
        return NULL;
    }
    recharge((hth_mem_tag)saved.tag, saved.n_bytes, tag, n_bytes - more);
    h->n_bytes = n_bytes;
    h->tag = (uint16_t)tag;
    return h + 1;
}

void hth_free(void *ptr) {
    if (!ptr) return;
    block_header *h = header_of(ptr);
    discharge((hth_mem_tag)h->tag, h->n_bytes);
    atomic_fetch_sub_explicit(&n_blocks, 1, memory_order_relaxed);
    h->magic = 0;
    free((unsigned char *)h - h->pad);
}

bool hth_grow(hth_mem_tag tag, void **ptr, size_t *cap, size_t need, size_t size, size_t max) {
    if (need <= *cap) return true;
    if (need > max) return false;
    size_t want = *cap < 8 ? 8 : *cap > max / 2 ? max : *cap * 2;
    if (want < need) want = need;
    if (want > max) want = max;
    size_t n_bytes;
    if (!hth_mul_size(want, size, &n_bytes)) return false;
    void *old; // the caller's pointer may be of any object type: copied, never read as a void *
    memcpy(&old, ptr, sizeof old);
    void *grown = hth_realloc(tag, old, n_bytes);
    if (!grown) return false;
    memcpy(ptr, &grown, sizeof grown);
    *cap = want;
    return true;
}

char *hth_strndup(hth_mem_tag tag, const char *text, size_t n) {
    size_t whole;
    if (!hth_add_size(n, 1, &whole)) return NULL;
    char *copy = hth_alloc(tag, whole);
    if (!copy) return NULL;
    if (n) memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

void hth_mem_get_stats(hth_mem_stats *out) {
    for (int i = 0; i < HTH_MEM_TAG_COUNT; i++) {
        out->n_bytes[i] = atomic_load_explicit(&tag_bytes[i], memory_order_relaxed);
    }
    out->total_bytes = atomic_load_explicit(&total_bytes, memory_order_relaxed);
    out->peak_bytes = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    out->n_blocks = atomic_load_explicit(&n_blocks, memory_order_relaxed);
    out->n_calls = atomic_load_explicit(&n_calls, memory_order_relaxed);
}

const char *hth_mem_tag_name(hth_mem_tag tag) {
    static const char *const names[HTH_MEM_TAG_COUNT] = {
        [HTH_MEM_MISC] = "misc",   [HTH_MEM_FORMAT] = "format",   [HTH_MEM_TEXT] = "text",
        [HTH_MEM_MODEL] = "model", [HTH_MEM_STATE] = "state",     [HTH_MEM_SCRATCH] = "scratch",
        [HTH_MEM_ENGINE] = "engine", [HTH_MEM_SERVER] = "server"};
    return (unsigned)tag < HTH_MEM_TAG_COUNT ? names[tag] : "unknown";
}

void hth_mem_set_limit(uint64_t n_bytes) {
    atomic_store_explicit(&limit_bytes, n_bytes, memory_order_relaxed);
}

void hth_mem_fail_at(uint64_t n, bool sticky) {
    atomic_store_explicit(&fail_hit, false, memory_order_relaxed);
    atomic_store_explicit(&fail_sticky, n != 0 && sticky, memory_order_relaxed);
    atomic_store_explicit(&fail_countdown, (int64_t)n, memory_order_relaxed);
}

bool hth_mem_fail_hit(void) {
    return atomic_load_explicit(&fail_hit, memory_order_relaxed);
}
