// Looks merges up in batches: the tables are far larger than the caches, and asking for many slots at once
// hides most of the waiting.
#ifndef HTH_TEXT_MERGE_BATCH_H
#define HTH_TEXT_MERGE_BATCH_H

#include "text/tok_impl.h"

#define MERGE_BATCH 32
#define MERGE_BYTES 1024 // longest merged token

typedef struct merge_batch {
    hth_tokenizer *t; // borrowed
    size_t n_expect;  // merges in all
    size_t n, n_missing;
    uint32_t rank[MERGE_BATCH];
    uint32_t missing[MERGE_BATCH]; // ranks of the latest flush that name tokens which no text leads to
    uint32_t n_a[MERGE_BATCH], n_b[MERGE_BATCH];
    char buf[MERGE_BATCH][MERGE_BYTES]; // bytes of both parts
    hth_err *err;
} merge_batch;

// Adds the merge of the tokens spelled a and p to a batch that is not full. A merge that can never apply
// (foreign characters, too long) is passed over and *ok is false.
void hth_merge_batch_add(merge_batch *b, const char *a, size_t n_a, const char *p, size_t n_b, uint32_t rank,
                         bool *ok);
// Looks up and adds what is waiting to t's model; fills `missing`.
HTH_NODISCARD hth_code hth_merge_batch_flush(merge_batch *b);

#endif
