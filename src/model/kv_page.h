// Memory of sequences: blocks that several of them may hold at once. Only who holds a block alone may write to it;
// the others copy it first. Holding and dropping are safe from any thread, so a frozen fork can be read and freed
// elsewhere while its origin goes on.
#ifndef HTH_MODEL_KV_PAGE_H
#define HTH_MODEL_KV_PAGE_H

#include "model/executor.h"

// A block of n_bytes held once, aligned to 64, counted in ex's state bytes; NULL when memory is refused.
// The functions below take the same n_bytes.
HTH_NODISCARD uint8_t *hth_kv_page_new(hth_executor *ex, size_t n_bytes);
void hth_kv_page_hold(uint8_t *page, size_t n_bytes);
void hth_kv_page_drop(hth_executor *ex, uint8_t *page, size_t n_bytes); // frees it with the last holder
bool hth_kv_page_is_shared(uint8_t *page, size_t n_bytes);
// Makes *page one that the caller alone holds; false when memory is refused (nothing has changed then).
HTH_NODISCARD bool hth_kv_page_own(hth_executor *ex, uint8_t **page, size_t n_bytes);

#endif
