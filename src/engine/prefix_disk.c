// The second tier: files of rows (prefix_file.h), written by a thread of its own.
//
// A piece is a file with the last rows of a sequence; the rows before them are in its parent's file, and so on. So a
// conversation that goes on writes what is new. A file lives as long as an entry or another piece holds it. Files are no
// more than a hint: one that is missing, torn or another program's is passed over.
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "engine/prefix_file.h"
#include "model/state_io.h"
#include "os/clock.h"
#include "os/file.h"

#define SUFFIX ".rows"
#define MAX_FILES ((size_t)1 << 16)
#define MAX_CHAIN 16 // pieces of a sequence; then all of it is written anew
#define MIN_ROWS 32  // fewer new rows are not worth a file

struct prefix_piece {
    prefix_file f;
    prefix_piece *parent; // held
    size_t n_hold;
    int32_t depth;
    prefix_piece *next; // of all that are in files
};

struct prefix_disk {
    hth_prefix *c;
    uint64_t model, last_order;
    prefix_piece *pieces;
    hth_thread thread;
    hth_cond wake;
    bool has_wake, has_thread, is_closing;
    bool keeps_files; // whoever drops them: while the cache is being made or freed
};

// ---- names

static char *path_of(const hth_prefix *c, uint64_t model, uint64_t id) {
    const size_t n = strlen(c->p.folder) + 48;
    char *path = hth_alloc(HTH_MEM_ENGINE, n);
    if (path) snprintf(path, n, "%s/%016llx-%016llx" SUFFIX, c->p.folder, (unsigned long long)model, (unsigned long long)id);
    return path;
}

// ---- pieces

prefix_piece *prefix_piece_hold(prefix_piece *piece) {
    piece->n_hold++;
    return piece;
}

int64_t prefix_piece_rows(const prefix_piece *piece) {
    return (int64_t)piece->f.end;
}

prefix_piece *prefix_piece_parent(const prefix_piece *piece) {
    return piece->parent;
}

static void remove_file(prefix_disk *d, uint64_t id) {
    hth_err err;
    char *path = path_of(d->c, d->model, id);
    if (path && hth_file_remove(path, &err) != HTH_OK) d->c->stats.n_bad++;
    hth_free(path);
}

static void unlink_piece(prefix_disk *d, prefix_piece *piece) {
    prefix_piece **at = &d->pieces;
    while (*at != piece) at = &(*at)->next;
    *at = piece->next;
    d->c->stats.folder_bytes -= piece->f.n_bytes;
    d->c->stats.n_file--;
}

static void add_piece(prefix_disk *d, prefix_piece *piece) {
    piece->next = d->pieces;
    d->pieces = piece;
    d->c->stats.folder_bytes += piece->f.n_bytes;
    d->c->stats.n_file++;
}

// While the cache is being freed files stay.
void prefix_piece_drop(prefix_disk *d, prefix_piece *piece) {
    while (piece && --piece->n_hold == 0) {
        prefix_piece *parent = piece->parent;
        unlink_piece(d, piece);
        if (!d->keeps_files) remove_file(d, piece->f.id);
        hth_free(piece);
        piece = parent;
    }
}

// ---- reading rows

static hth_code load_piece(const hth_prefix *c, const prefix_piece *p, hth_state *s, hth_err *err) {
    char *path = path_of(c, c->disk->model, p->f.id);
    if (!path) return hth_fail_nomem(err, 64);
    hth_file_in *f;
    uint8_t *head;
    prefix_file now;
    hth_code code = prefix_file_open(path, c->disk->model, (uint64_t)c->p.state.n_ctx, &f, &head, &now, err);
    if (code == HTH_OK) {
        code = prefix_file_read_rows(f, s, err);
        if (code == HTH_OK && (now.id != p->f.id || now.end != p->f.end || hth_state_len(s) != (int64_t)p->f.end)) {
            code = hth_fail(err, HTH_ERR_FORMAT, "%s: other rows than it had", path);
        }
        hth_free(head);
        hth_file_in_close(f);
    }
    hth_free(path);
    return code;
}

hth_code prefix_disk_load(const hth_prefix *c, const prefix_piece *piece, hth_state **out, hth_err *err) {
    const prefix_piece *chain[MAX_CHAIN];
    int n = 0;
    *out = NULL;
    for (const prefix_piece *p = piece; p && n < MAX_CHAIN; p = p->parent) chain[n++] = p;
    hth_state *s;
    HTH_TRY(hth_state_new(c->p.executor, c->p.model, &c->p.state, &s, err));
    hth_code code = HTH_OK;
    while (n > 0 && code == HTH_OK) code = load_piece(c, chain[--n], s, err);
    if (code == HTH_OK) *out = s;
    else hth_state_free(s);
    return code;
}

// ---- what the folder holds at the start

static prefix_entry *entry_of(const hth_prefix *c, uint64_t piece_id) {
    for (size_t i = 0; i < c->n; i++) {
        if (c->entries[i]->piece && c->entries[i]->piece->f.id == piece_id) return c->entries[i];
    }
    return NULL;
}

// One file becomes an entry. Takes nothing; what is not wanted is an error.
static hth_code adopt(prefix_disk *d, const char *path, hth_err *err) {
    hth_prefix *c = d->c;
    hth_file_in *f;
    uint8_t *head;
    prefix_file found;
    HTH_TRY(prefix_file_open(path, d->model, (uint64_t)c->p.state.n_ctx, &f, &head, &found, err));
    hth_file_in_close(f);
    const prefix_entry *before = found.parent_id ? entry_of(c, found.parent_id) : NULL;
    const bool fits = found.parent_id == 0 ? found.first == 0 && found.n_head > 0
                                           : before && found.first <= before->key.n && found.n_head == before->key.n_head &&
                                                 before->piece->depth + 1 < MAX_CHAIN && found.first > 0;
    prefix_entry *e = fits ? hth_calloc(HTH_MEM_ENGINE, 1, sizeof *e) : NULL;
    prefix_piece *p = e ? hth_calloc(HTH_MEM_ENGINE, 1, sizeof *p) : NULL;
    hth_code code = !fits ? hth_fail(err, HTH_ERR_FORMAT, "%s: what it continues is not there", path)
                          : p ? HTH_OK : hth_fail_nomem(err, sizeof *p);
    if (code == HTH_OK) code = prefix_file_take_key(&found, before, head, c->p.model->desc.n_vocab, e, err);
    hth_free(head);
    if (code != HTH_OK) {
        hth_free(p);
        prefix_entry_free(c, e);
        return code;
    }
    p->f = found;
    p->parent = before ? prefix_piece_hold(before->piece) : NULL;
    p->depth = before ? before->piece->depth + 1 : 0;
    add_piece(d, p);
    e->piece = prefix_piece_hold(p);
    if (p->f.order > d->last_order) d->last_order = p->f.order;
    e->used = ++c->clock;
    return prefix_add(c, e, err);
}

typedef struct listed {
    uint64_t order;
    char *path;
} listed;

static bool has_suffix(const char *path) {
    const size_t n = strlen(path), n_suffix = strlen(SUFFIX);
    return n >= n_suffix && strcmp(path + n - n_suffix, SUFFIX) == 0;
}

static uint64_t order_of(prefix_disk *d, const char *path) {
    hth_err err;
    hth_file_in *f;
    uint8_t *head;
    prefix_file p;
    if (prefix_file_open(path, d->model, (uint64_t)d->c->p.state.n_ctx, &f, &head, &p, &err) != HTH_OK) return UINT64_MAX;
    hth_free(head);
    hth_file_in_close(f);
    return p.order;
}

// A child's file was written after its parent's.
static void sort_by_order(listed *l, size_t n) {
    for (size_t gap = n / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < n; i++) {
            const listed x = l[i];
            size_t k = i;
            for (; k >= gap && l[k - gap].order > x.order; k -= gap) l[k] = l[k - gap];
            l[k] = x;
        }
    }
}

// Files of this model that are no use are removed: torn ones, and what a program that was killed left half written.
static void discard(prefix_disk *d, const char *path) {
    hth_err err;
    d->c->stats.n_bad++;
    if (hth_file_remove(path, &err) != HTH_OK) d->c->stats.n_bad++;
}

static hth_code scan(prefix_disk *d, hth_err *err) {
    char **names, prefix[20];
    size_t n, n_listed = 0;
    const char *folder = d->c->p.folder;
    HTH_TRY(hth_folder_list(folder, "", HTH_MEM_ENGINE, MAX_FILES, &names, &n, err));
    const size_t room = strlen(folder) + 2;
    listed *l = hth_calloc(HTH_MEM_ENGINE, n + 1, sizeof *l);
    snprintf(prefix, sizeof prefix, "%016llx-", (unsigned long long)d->model);
    for (size_t i = 0; l && i < n; i++) {
        if (strncmp(names[i], prefix, strlen(prefix)) != 0) continue;
        const size_t n_path = room + strlen(names[i]);
        char *path = hth_alloc(HTH_MEM_ENGINE, n_path);
        if (!path) break;
        snprintf(path, n_path, "%s/%s", folder, names[i]);
        l[n_listed++] = (listed){order_of(d, path), path};
    }
    hth_free(names);
    if (!l) return hth_fail_nomem(err, n * sizeof *l);
    sort_by_order(l, n_listed);
    hth_code code = HTH_OK;
    d->keeps_files = true; // where memory is refused
    for (size_t i = 0; i < n_listed; i++) {
        if (code != HTH_ERR_NOMEM) code = has_suffix(l[i].path) ? adopt(d, l[i].path, err) : HTH_ERR_FORMAT;
        if (code != HTH_OK && code != HTH_ERR_NOMEM) discard(d, l[i].path);
        hth_free(l[i].path);
    }
    d->keeps_files = false;
    hth_free(l);
    return HTH_OK;
}

// ---- writing

// Gives up files, those of the longest unused entries first.
static void keep_limit(hth_prefix *c) {
    while (c->stats.folder_bytes > c->p.folder_bytes) {
        size_t best = c->n;
        for (size_t i = 0; i < c->n; i++) {
            const prefix_entry *e = c->entries[i];
            if ((e->piece || e->base) && (best == c->n || e->used < c->entries[best]->used)) best = i;
        }
        if (best == c->n) return;
        prefix_entry *e = c->entries[best];
        prefix_piece *piece = e->piece, *base = e->base;
        e->piece = e->base = NULL;
        e->no_file = true;
        prefix_piece_drop(c->disk, piece);
        prefix_piece_drop(c->disk, base);
        if (!e->state) prefix_remove(c, best);
    }
}

// One file to write: what of the cache it needs, held or copied, so that the lock is free meanwhile.
typedef struct job {
    uint64_t entry_id;
    hth_state *state;
    prefix_piece *piece;
    hth_str head;
} job;

static hth_code run_job(prefix_disk *d, job *j, hth_err *err) {
    char *path = path_of(d->c, d->model, j->piece->f.id);
    if (!path) return hth_fail_nomem(err, 64);
    const hth_code code = prefix_file_write(path, &j->head, j->state, (int64_t)j->piece->f.first, err);
    hth_free(path);
    return code;
}

static uint64_t new_id(prefix_disk *d) {
    const uint64_t seed[3] = {hth_clock_ns(), (uint64_t)(uintptr_t)d, ++d->last_order};
    const uint64_t id = hth_hash(seed, sizeof seed, d->model);
    return id ? id : 1;
}

static hth_code prepare(prefix_disk *d, const prefix_entry *e, job *j, hth_err *err) {
    prefix_piece *base = e->base && e->base->depth + 1 < MAX_CHAIN && e->base->f.end >= HTH_STATE_RECORD_ROWS ? e->base : NULL;
    hth_str_init(&j->head, HTH_MEM_ENGINE, UINT32_MAX);
    j->entry_id = e->id;
    j->piece = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *j->piece);
    if (!j->piece) return hth_fail_nomem(err, sizeof *j->piece);
    const size_t first = base ? base->f.end / HTH_STATE_RECORD_ROWS * HTH_STATE_RECORD_ROWS : 0;
    j->piece->depth = base ? base->depth + 1 : 0;
    j->piece->f = (prefix_file){.id = new_id(d), .parent_id = base ? base->f.id : 0, .order = d->last_order, .first = first,
                                .end = e->key.n};
    prefix_file_put_head(&j->head, d->model, &j->piece->f, &e->key, e->tokens);
    if (j->head.failed) return hth_fail_nomem(err, j->head.len);
    const uint64_t about = hth_state_bytes(e->state) / e->key.n * (e->key.n - first) + j->head.len;
    if (about > d->c->p.folder_bytes) {
        return hth_fail(err, HTH_ERR_LIMIT, "%llu bytes of cached rows for a folder of %llu", (unsigned long long)about,
                        (unsigned long long)d->c->p.folder_bytes);
    }
    HTH_TRY(hth_state_fork(e->state, (int64_t)e->key.n, &j->state, err));
    if (base) j->piece->parent = prefix_piece_hold(base);
    return HTH_OK;
}

static prefix_entry *entry_with(const hth_prefix *c, uint64_t id) {
    for (size_t i = 0; i < c->n; i++) {
        if (c->entries[i]->id == id) return c->entries[i];
    }
    return NULL;
}

// The file's bytes: what was written beside the pages is small.
static uint64_t file_bytes(const job *j, const prefix_disk *d) {
    hth_err err;
    uint64_t n = 0;
    hth_file_in *f;
    char *path = path_of(d->c, d->model, j->piece->f.id);
    if (path && hth_file_in_open(path, &f, &n, &err) == HTH_OK) hth_file_in_close(f);
    hth_free(path);
    return n;
}

// After the writing; under the lock again.
static void finish(prefix_disk *d, job *j, hth_code code) {
    hth_prefix *c = d->c;
    prefix_entry *e = entry_with(c, j->entry_id);
    if (e) e->no_file = code != HTH_OK;
    if (code == HTH_OK) {
        j->piece->f.n_bytes = file_bytes(j, d);
        add_piece(d, prefix_piece_hold(j->piece));
        c->stats.n_written++;
        if (e) e->piece = prefix_piece_hold(j->piece);
        prefix_piece_drop(d, j->piece); // nobody's any more where the entry has gone meanwhile
        keep_limit(c);
    } else {
        c->stats.n_bad++;
        if (j->piece) prefix_piece_drop(d, j->piece->parent);
        hth_free(j->piece);
    }
}

// The entry that has waited longest; NULL where none is due, and then *when says when one will be.
static prefix_entry *next_due(const prefix_disk *d, uint64_t *when) {
    const hth_prefix *c = d->c;
    prefix_entry *first = NULL;
    for (size_t i = 0; i < c->n; i++) {
        prefix_entry *e = c->entries[i];
        const bool is_new = !e->base || e->key.n >= e->base->f.end + MIN_ROWS || !hth_state_goes_anywhere(c->p.model);
        if (!e->state || e->piece || e->no_file || e->key.n < MIN_ROWS || !is_new) continue;
        if (!first || e->put_ns < first->put_ns) first = e;
    }
    *when = first ? first->put_ns + c->p.write_after_ms * 1000000 : UINT64_MAX;
    return first && (d->is_closing || *when <= hth_clock_ns()) ? first : NULL;
}

static void write_one(prefix_disk *d, prefix_entry *e) {
    hth_err err;
    job j = {0};
    hth_code code = prepare(d, e, &j, &err);
    if (code == HTH_OK) {
        hth_unlock(&d->c->lock);
        code = run_job(d, &j, &err);
        hth_state_free(j.state);
        hth_lock(&d->c->lock);
    }
    hth_str_free(&j.head);
    if (j.entry_id) finish(d, &j, code);
}

static void *write_files(void *user) {
    prefix_disk *d = user;
    hth_lock(&d->c->lock);
    for (;;) {
        uint64_t when;
        prefix_entry *e = next_due(d, &when);
        if (e) write_one(d, e);
        else if (d->is_closing) break;
        else if (when == UINT64_MAX) hth_cond_wait(&d->wake, &d->c->lock);
        else hth_cond_wait_until(&d->wake, &d->c->lock, when);
    }
    hth_unlock(&d->c->lock);
    return NULL;
}

// ---- life

void prefix_disk_wake(prefix_disk *d) {
    if (d) hth_cond_wake_all(&d->wake);
}

hth_code prefix_disk_open(hth_prefix *c, hth_err *err) {
    prefix_disk *d = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *d);
    if (!d) return hth_fail_nomem(err, sizeof *d);
    c->disk = d;
    d->c = c;
    d->model = prefix_file_model(&c->p);
    HTH_TRY(hth_cond_init(&d->wake, err));
    d->has_wake = true;
    hth_err trouble; // of the folder: then there is nothing in it, and writing to it fails by itself
    if (hth_folder_make(c->p.folder, &trouble) != HTH_OK || scan(d, &trouble) != HTH_OK) c->stats.n_bad++;
    keep_limit(c);
    HTH_TRY(hth_thread_start(&d->thread, write_files, d, err));
    d->has_thread = true;
    return HTH_OK;
}

void prefix_disk_close(hth_prefix *c) {
    prefix_disk *d = c->disk;
    if (!d) return;
    hth_lock(&c->lock);
    d->is_closing = true;
    if (d->has_wake) hth_cond_wake_all(&d->wake);
    hth_unlock(&c->lock);
    if (d->has_thread) hth_thread_join(&d->thread);
    d->keeps_files = true;
    while (c->n > 0) prefix_remove(c, c->n - 1);
    if (d->has_wake) hth_cond_destroy(&d->wake);
    c->disk = NULL;
    hth_free(d);
}
