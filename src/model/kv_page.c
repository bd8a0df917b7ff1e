// The number of holders stands behind a block's bytes, so that the bytes keep their alignment.
#include "model/kv_page.h"

#include <string.h>

static size_t holders_at(size_t n_bytes) {
    const size_t align = sizeof(atomic_uint);
    return (n_bytes + align - 1) / align * align;
}

static atomic_uint *holders(uint8_t *page, size_t n_bytes) {
    return (atomic_uint *)(void *)(page + holders_at(n_bytes));
}

uint8_t *hth_kv_page_new(hth_executor *ex, size_t n_bytes) {
    uint8_t *page = hth_alloc_aligned(HTH_MEM_STATE, holders_at(n_bytes) + sizeof(atomic_uint));
    if (!page) return NULL;
    atomic_init(holders(page, n_bytes), 1);
    atomic_fetch_add_explicit(&ex->state_bytes, n_bytes, memory_order_relaxed);
    return page;
}

void hth_kv_page_hold(uint8_t *page, size_t n_bytes) {
    atomic_fetch_add_explicit(holders(page, n_bytes), 1, memory_order_relaxed);
}

void hth_kv_page_drop(hth_executor *ex, uint8_t *page, size_t n_bytes) {
    // Release: what this holder read is read. Acquire: the last one sees that of all before it frees.
    if (atomic_fetch_sub_explicit(holders(page, n_bytes), 1, memory_order_acq_rel) != 1) return;
    atomic_fetch_sub_explicit(&ex->state_bytes, n_bytes, memory_order_relaxed);
    hth_free(page);
}

bool hth_kv_page_is_shared(uint8_t *page, size_t n_bytes) {
    return atomic_load_explicit(holders(page, n_bytes), memory_order_acquire) > 1;
}

bool hth_kv_page_own(hth_executor *ex, uint8_t **page, size_t n_bytes) {
    if (!hth_kv_page_is_shared(*page, n_bytes)) return true;
    uint8_t *copy = hth_kv_page_new(ex, n_bytes);
    if (!copy) return false;
    memcpy(copy, *page, n_bytes);
    hth_kv_page_drop(ex, *page, n_bytes);
    *page = copy;
    return true;
}
