// Explicit reads of files past the system's cache, by a few threads that keep the disk busy: for weights that
// stay on disk and are brought into memory by the piece. What is read does not push out anything else, and a
// disk that fails is an error of that read, not a fault of whoever touches a page.
#ifndef HTH_OS_DIRECT_H
#define HTH_OS_DIRECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

// Places in files and in memory are multiples of this.
#define HTH_DIRECT_ALIGN 4096u

typedef struct hth_direct hth_direct; // a file opened for such reads; any thread may read

HTH_NODISCARD hth_code hth_direct_open(const char *path, hth_direct **out, hth_err *err);
void hth_direct_close(hth_direct *f);
// False where the file system only reads through its cache.
bool hth_direct_is_past_cache(const hth_direct *f);
const char *hth_direct_path(const hth_direct *f); // borrowed

// Rounds a range [off, off + n_bytes) of a file to what such a read must take: *lead bytes more before it. Returns the
// length, *lead included.
uint64_t hth_direct_cover(uint64_t off, uint64_t n_bytes, uint64_t *lead);

// One read, in the caller's memory, which stays as it is until the read is done.
typedef struct hth_direct_read {
    const hth_direct *file;
    uint64_t off;    // multiple of HTH_DIRECT_ALIGN
    uint64_t n_bytes; // that must come; up to the next multiple of HTH_DIRECT_ALIGN are written
    uint8_t *to;     // multiple of HTH_DIRECT_ALIGN
    // the reader's:
    struct hth_direct_read *next;
    uint64_t n_taken;    // bytes that threads have begun to read
    uint32_t n_piece;    // pieces that are being read
    int error;           // errno of the first piece that failed, -1: the file ended
    _Atomic int state; // hth_direct_state
} hth_direct_read;

typedef enum hth_direct_state {
    HTH_DIRECT_IDLE, // never asked for
    HTH_DIRECT_ASKED,
    HTH_DIRECT_DONE,
    HTH_DIRECT_FAILED,
} hth_direct_state;

static inline hth_direct_state hth_direct_state_of(const hth_direct_read *r) {
    return (hth_direct_state)atomic_load_explicit(&r->state, memory_order_acquire);
}

// The threads. Reads are begun in the order in which they are asked for; large ones are cut into pieces that several
// threads take.
typedef struct hth_reader hth_reader;
HTH_NODISCARD hth_code hth_reader_new(int n_thread, hth_reader **out, hth_err *err);
void hth_reader_free(hth_reader *r); // after all reads are done
void hth_reader_ask(hth_reader *r, hth_direct_read *read);
// Until `read`, which was asked for, is done. An error says which file and where, and why.
HTH_NODISCARD hth_code hth_reader_wait(hth_reader *r, const hth_direct_read *read, hth_err *err);
typedef struct hth_reader_stats {
    uint64_t n_bytes; // read so far
    uint64_t busy_ns; // time during which at least one read was under way
} hth_reader_stats;
hth_reader_stats hth_reader_get_stats(hth_reader *r);

// Injects a failure: the n-th piece read from now on fails (1 is the next); 0 switches it off. For tests.
void hth_direct_fail_at(uint64_t n);

// Excludes others from what one thread does with a reader's results over several calls.
void hth_reader_lock(hth_reader *r);
void hth_reader_unlock(hth_reader *r);

#endif
