// What the two tiers of the prefix cache share. Everything here is under the cache's lock.
#ifndef HTH_ENGINE_PREFIX_IMPL_H
#define HTH_ENGINE_PREFIX_IMPL_H

#include "engine/prefix.h"
#include "os/sync.h"

typedef struct prefix_disk prefix_disk;
typedef struct prefix_piece prefix_piece; // a file with the last rows of a sequence; those before are in its parents

typedef struct prefix_entry {
    uint64_t id; // never given twice
    prefix_key key;
    hth_token *tokens; // [key.n] owned
    hth_state *state;  // owned; NULL: in files only
    uint64_t used;     // the cache's clock when it was last
    uint64_t put_ns;
    prefix_piece *piece; // held; ends with this entry's last row. NULL: not in a file
    prefix_piece *base;  // held; the longest chain of files whose rows are this entry's first ones
    bool no_file;        // writing has failed
} prefix_entry;

struct hth_prefix {
    hth_mutex lock;
    hth_prefix_params p;
    prefix_entry **entries; // [n] owned, sorted by key
    size_t n, cap;
    uint64_t clock, last_id;
    hth_prefix_stats stats;
    prefix_disk *disk; // owned; NULL: no second tier
};

// Adds an entry whose key, tokens and pieces are taken; on failure too.
HTH_NODISCARD hth_code prefix_add(hth_prefix *c, prefix_entry *e, hth_err *err);
void prefix_remove(hth_prefix *c, size_t i);
void prefix_entry_free(hth_prefix *c, prefix_entry *e);

// ---- prefix_disk.c; `d` may be NULL where nothing is returned

HTH_NODISCARD hth_code prefix_disk_open(hth_prefix *c, hth_err *err); // fills c->disk and the entries that files hold
void prefix_disk_close(hth_prefix *c);                               // not under the lock
void prefix_disk_wake(prefix_disk *d);                               // there may be something to write
prefix_piece *prefix_piece_hold(prefix_piece *piece);
void prefix_piece_drop(prefix_disk *d, prefix_piece *piece);         // removes the file with the last holder
int64_t prefix_piece_rows(const prefix_piece *piece);                // of the sequence up to its end
prefix_piece *prefix_piece_parent(const prefix_piece *piece);
// Reads a sequence up to the end of a piece that the caller holds; owned by the caller. Not under the lock.
HTH_NODISCARD hth_code prefix_disk_load(const hth_prefix *c, const prefix_piece *piece, hth_state **out, hth_err *err);

#endif
