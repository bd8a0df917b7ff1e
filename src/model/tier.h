// Weights that stay on disk: tables of items (the experts of a layer, the rows of an embedding) of which those in use
// lie in a cache of equal slots. Items are brought in by explicit reads at queue depth, never by page faults, and
// whoever computes with one waits for that one alone.
//
// What is kept. A quarter of the slots (more where one step brings more at once) take whatever comes in and are given
// up in the order of their last use, so that a long prompt, which needs everything once, goes through them. The others
// are the hot set: the items that were used in most steps, counted with a half-life of TIER_HALF_LIFE steps. An item
// enters the hot set when it is clearly ahead of the last one in it, and is not given up before that.
//
// One thread at a time uses a tier, between enter and leave; within that, any number of threads may wait for items.
#ifndef HTH_MODEL_TIER_H
#define HTH_MODEL_TIER_H

#include "os/direct.h"
#include "quant/weight.h"

#define TIER_HALF_LIFE 256

// Where a part of an item lies.
typedef struct hth_tier_place {
    int32_t i_file;
    uint64_t off;
} hth_tier_place;

#define HTH_TIER_PARTS 9 // most parts of an item

typedef struct hth_tier_table {
    const char *name; // "layer 3": for messages; borrowed
    const char *item; // "expert"; borrowed
    int32_t n_item, n_part;
    int32_t n_together; // items that a step of one row uses
    uint64_t part_bytes[HTH_TIER_PARTS];
    hth_tier_place *places; // [n_item, n_part]; borrowed
} hth_tier_table;

typedef struct hth_tier hth_tier;

// Opens the files for reading past the cache by n_thread threads. `paths` [n_file] are borrowed.
HTH_NODISCARD hth_code hth_tier_new(const char *const *paths, int n_file, int n_thread, hth_tier **out, hth_err *err);
void hth_tier_free(hth_tier *t); // waits for reads under way
// Adds a table; *out is its number.
HTH_NODISCARD hth_code hth_tier_add(hth_tier *t, const hth_tier_table *table, int32_t *out, hth_err *err);
// Bytes of cache without which nothing can be computed.
uint64_t hth_tier_min_bytes(const hth_tier *t);
// Bytes of all items as they lie in slots: with so much cache nothing is read twice.
uint64_t hth_tier_max_bytes(const hth_tier *t);
// Makes the slots, in at most n_bytes; tables are complete then. HTH_ERR_LIMIT below hth_tier_min_bytes.
HTH_NODISCARD hth_code hth_tier_make_room(hth_tier *t, uint64_t n_bytes, hth_err *err);
// refs [n_item] follow the items of a table: while an item is in use refs[item] is byte `delta` of its part. Borrowed.
HTH_NODISCARD hth_code hth_tier_follow(hth_tier *t, int32_t table, int32_t part, uint64_t delta, hth_ref *refs, hth_err *err);

// A use: enter; begin items; wait for each of them before its bytes are read; end them; leave.
void hth_tier_enter(hth_tier *t, int32_t table);
void hth_tier_leave(hth_tier *t);
bool hth_tier_has(const hth_tier *t, int32_t table, int32_t item); // in memory, or on its way
// Holds an item in memory, reading it if need be. False while all slots are held by others, at least one of them by
// this use.
HTH_NODISCARD bool hth_tier_begin(hth_tier *t, int32_t table, int32_t item);
void hth_tier_end(hth_tier *t, int32_t table, int32_t item);
// Until an item that was begun is there. An error names the file, the table and the item.
HTH_NODISCARD hth_code hth_tier_wait(hth_tier *t, int32_t table, int32_t item, hth_err *err);

// Measures the disk for about `ns` nanoseconds with the reads that items need, into memory of its own. The rate is the best of
// some windows, so that what disturbs the disk for a moment does not count.
HTH_NODISCARD hth_code hth_tier_probe(hth_tier *t, uint64_t ns, double *bytes_per_second, hth_err *err);

typedef struct hth_tier_stats {
    uint64_t n_used, n_read;  // items begun; those that had to be read
    uint64_t read_bytes;      // from disk
    uint64_t busy_ns;         // while the disk was at work
    int64_t n_item, n_slot;   // of all tables; of the cache
    uint64_t slot_bytes;      // of all slots
    bool is_past_cache;
} hth_tier_stats;
hth_tier_stats hth_tier_get_stats(hth_tier *t);
hth_reader *hth_tier_reader(hth_tier *t);           // borrowed: for other reads of the same files
const hth_direct *hth_tier_file(hth_tier *t, int i);

#endif
