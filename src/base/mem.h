// Every heap allocation of Hearth. Counted by tag, limited, and able to fail on purpose: the
// failure-injection tests replay a scenario with the n-th allocation refused, for every n.
// Thread-safe. Blocks from hth_alloc are 16-byte aligned, from hth_alloc_aligned 64-byte.
#ifndef HTH_BASE_MEM_H
#define HTH_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

typedef enum hth_mem_tag {
    HTH_MEM_MISC,
    HTH_MEM_FORMAT,  // parsed headers, JSON trees, tensor tables
    HTH_MEM_TEXT,    // vocabularies, tokenizer state, text buffers
    HTH_MEM_MODEL,   // descriptions, bound weights
    HTH_MEM_STATE,   // K/V pages and other sequence state
    HTH_MEM_SCRATCH, // activations, panels, per-step work space
    HTH_MEM_ENGINE,
    HTH_MEM_SERVER, // connections, requests and replies of the server
    HTH_MEM_TAG_COUNT
} hth_mem_tag;

// Return owned memory, or NULL when the system, the limit or the injected failure refuses.
// A size of zero gives a valid block. Count and size are multiplied with an overflow check.
HTH_NODISCARD void *hth_alloc(hth_mem_tag tag, size_t n_bytes);
HTH_NODISCARD void *hth_calloc(hth_mem_tag tag, size_t count, size_t size);
HTH_NODISCARD void *hth_alloc_aligned(hth_mem_tag tag, size_t n_bytes);
// Grows or shrinks a block of hth_alloc, hth_calloc or hth_realloc (or NULL); the old block stays
// valid when NULL is returned. Not for aligned blocks.
HTH_NODISCARD void *hth_realloc(hth_mem_tag tag, void *ptr, size_t n_bytes);
// Takes `ptr` from any of the above; NULL is valid.
void hth_free(void *ptr);

// Makes room for `need` elements of `size` bytes in *ptr, doubling *cap; refuses to pass `max`. The
// address of any object pointer may be given, cast to void **.
// Returns false (nothing changed) when refused.
HTH_NODISCARD bool hth_grow(hth_mem_tag tag, void **ptr, size_t *cap, size_t need, size_t size, size_t max);

// Returns owned copy of n bytes plus a terminating zero.
HTH_NODISCARD char *hth_strndup(hth_mem_tag tag, const char *text, size_t n);

typedef struct hth_mem_stats {
    uint64_t n_bytes[HTH_MEM_TAG_COUNT]; // live now
    uint64_t total_bytes, peak_bytes;
    uint64_t n_blocks; // live blocks
    uint64_t n_calls;  // allocations ever attempted
} hth_mem_stats;

void hth_mem_get_stats(hth_mem_stats *out);
const char *hth_mem_tag_name(hth_mem_tag tag);

// Refuses allocations that would bring the live total above `n_bytes`; 0 removes the limit.
void hth_mem_set_limit(uint64_t n_bytes);

// Injects failures: the n-th allocation from now (1 is the next) fails, and with `sticky` all
// after it; 0 switches it off. Returns nothing; hth_mem_fail_hit tells whether it happened.
void hth_mem_fail_at(uint64_t n, bool sticky);
bool hth_mem_fail_hit(void);

#endif
