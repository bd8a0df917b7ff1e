// The second tier: files of rows, written by a thread of its own.
//
// A piece is a file with the last rows of a sequence; the rows before them are in its parent's file, and so on. So a
// conversation that goes on writes what is new. A file lives as long as an entry or another piece holds it. It holds
//
//   head     magic, version, model, id, parent, order, number of its first and end token, bytes of key and head of key
//   tokens   of its own rows: number, and how many bytes of the key it takes
//   key      the bytes of these tokens (with the domain before them in a piece without parent)
//   check    checksum of all before
//   rows     a record of model/state_io.h, with its own checksum
//
// Files appear whole or not at all (hth_file_out), are read with their checksums, and are no more than a hint: one that
// is missing, torn or another program's is passed over.
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/hash.h"
#include "engine/prefix_impl.h"
#include "model/state_io.h"
#include "os/clock.h"
#include "os/file.h"

#define MAGIC "HTHPREFX"
#define VERSION 1
#define SUFFIX ".rows"
#define MAX_FILES ((size_t)1 << 16)
#define MAX_CHAIN 16 // pieces of a sequence; then all of it is written anew
#define MIN_ROWS 32  // fewer new rows are not worth a file

enum { HEAD_BYTES = 8 * 12, TOKEN_BYTES = 8 };

struct prefix_piece {
    uint64_t id, parent_id, order;
    prefix_piece *parent; // held
    size_t n_hold;
    size_t first, end; // tokens of its own rows
    size_t n_key, n_head;
    uint64_t n_bytes; // of the file
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

// What decides the numbers of a state: the weights' files by samples of their bytes, K/V types, the engine's own.
static uint64_t model_of(const hth_prefix_params *p) {
    const char *identity = p->identity ? p->identity : "";
    uint64_t h = hth_hash(identity, strlen(identity), VERSION);
    const uint64_t types[2] = {(uint64_t)p->state.k_type, (uint64_t)p->state.v_type};
    h = hth_hash(types, sizeof types, h);
    const int n_file = hth_container_n_file(p->model->container);
    for (int i = 0; i < n_file; i++) {
        enum { SAMPLES = 64, SAMPLE = 4096, BEGINNING = 1 << 20 };
        uint64_t n;
        const uint8_t *bytes = hth_container_file_data(p->model->container, i, &n);
        h = hth_hash(bytes, (size_t)(n < BEGINNING ? n : BEGINNING), h ^ n);
        for (uint64_t k = 0; n > BEGINNING && k < SAMPLES; k++) h = hth_hash(bytes + (n - SAMPLE) / SAMPLES * (k + 1), SAMPLE, h);
    }
    return h;
}

// ---- pieces

prefix_piece *prefix_piece_hold(prefix_piece *piece) {
    piece->n_hold++;
    return piece;
}

int64_t prefix_piece_rows(const prefix_piece *piece) {
    return (int64_t)piece->end;
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
    d->c->stats.folder_bytes -= piece->n_bytes;
    d->c->stats.n_file--;
}

static void add_piece(prefix_disk *d, prefix_piece *piece) {
    piece->next = d->pieces;
    d->pieces = piece;
    d->c->stats.folder_bytes += piece->n_bytes;
    d->c->stats.n_file++;
}

// While the cache is being freed files stay.
void prefix_piece_drop(prefix_disk *d, prefix_piece *piece) {
    while (piece && --piece->n_hold == 0) {
        prefix_piece *parent = piece->parent;
        unlink_piece(d, piece);
        if (!d->keeps_files) remove_file(d, piece->id);
        hth_free(piece);
        piece = parent;
    }
}

// ---- the head of a file

static void put_u64(hth_str *s, uint64_t v) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    (void)hth_str_append(s, bytes, sizeof bytes);
}

static size_t key_begin(const prefix_key *k, size_t first) {
    return first == 0 ? 0 : k->ends[first - 1];
}

static void put_head(hth_str *s, uint64_t model, const prefix_piece *p, const prefix_key *k, const hth_token *tokens) {
    const uint64_t head[] = {VERSION, model, p->id, p->parent_id, p->order, p->first, p->end, p->n_key, p->n_head, 0, 0};
    (void)hth_str_append(s, MAGIC, 8);
    for (size_t i = 0; i < HTH_COUNT(head); i++) put_u64(s, head[i]);
    for (size_t i = p->first; i < p->end; i++) {
        const size_t begin = i == 0 ? k->n_head : k->ends[i - 1];
        put_u64(s, (uint64_t)(uint32_t)tokens[i] << 32 | (uint64_t)(k->ends[i] - begin));
    }
    (void)hth_str_append(s, k->bytes + key_begin(k, p->first), p->n_key);
    put_u64(s, hth_hash(s->p, s->len, VERSION));
}

// Opens a piece's file and checks its head. *bytes: owned, all of the head.
static hth_code open_piece(const char *path, uint64_t model, uint64_t n_most, hth_file_in **f, uint8_t **bytes,
                           prefix_piece *out, hth_err *err) {
    uint8_t fixed[HEAD_BYTES];
    *bytes = NULL;
    HTH_TRY(hth_file_in_open(path, f, &out->n_bytes, err));
    hth_code code = hth_file_in_read(*f, fixed, sizeof fixed, err);
    hth_cursor at = hth_cursor_make(fixed + 8, sizeof fixed - 8);
    const uint64_t version = hth_cursor_u64(&at), of_model = hth_cursor_u64(&at);
    out->id = hth_cursor_u64(&at);
    out->parent_id = hth_cursor_u64(&at);
    out->order = hth_cursor_u64(&at);
    const uint64_t first = hth_cursor_u64(&at), end = hth_cursor_u64(&at), n_key = hth_cursor_u64(&at), n_head = hth_cursor_u64(&at);
    if (code == HTH_OK && (memcmp(fixed, MAGIC, 8) != 0 || version != VERSION || of_model != model || first >= end ||
                           end > n_most || n_key > out->n_bytes || n_head > n_key || (end - first) > out->n_bytes / TOKEN_BYTES)) {
        code = hth_fail(err, HTH_ERR_FORMAT, "%s: not a file of cached rows for this model", path);
    }
    out->first = (size_t)first;
    out->end = (size_t)end;
    out->n_key = (size_t)n_key;
    out->n_head = (size_t)n_head;
    if (code == HTH_OK) {
        const size_t n = HEAD_BYTES + (out->end - out->first) * TOKEN_BYTES + out->n_key;
        *bytes = hth_alloc(HTH_MEM_ENGINE, n + 8);
        code = *bytes ? hth_file_in_read(*f, *bytes + HEAD_BYTES, n + 8 - HEAD_BYTES, err) : hth_fail_nomem(err, n + 8);
        if (code == HTH_OK) {
            memcpy(*bytes, fixed, sizeof fixed);
            hth_cursor sum = hth_cursor_make(*bytes + n, 8);
            if (hth_cursor_u64(&sum) != hth_hash(*bytes, n, VERSION)) {
                code = hth_fail(err, HTH_ERR_FORMAT, "%s: damaged: its checksum does not fit", path);
            }
        }
    }
    if (code == HTH_OK) return HTH_OK;
    hth_free(*bytes);
    hth_file_in_close(*f);
    *bytes = NULL;
    *f = NULL;
    return code;
}

// ---- reading rows

static hth_code read_file(void *user, void *bytes, size_t n, hth_err *err) {
    return hth_file_in_read(user, bytes, n, err);
}

static hth_code load_piece(const hth_prefix *c, const prefix_piece *p, hth_state *s, hth_err *err) {
    char *path = path_of(c, c->disk->model, p->id);
    if (!path) return hth_fail_nomem(err, 64);
    hth_file_in *f;
    uint8_t *head;
    prefix_piece now = {0};
    hth_code code = open_piece(path, c->disk->model, (uint64_t)c->p.state.n_ctx, &f, &head, &now, err);
    if (code == HTH_OK) {
        const hth_state_source source = {read_file, f};
        code = hth_state_read(s, &source, err);
        if (code == HTH_OK && (now.id != p->id || now.end != p->end || hth_state_len(s) != (int64_t)p->end)) {
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

static hth_code take_key(const prefix_piece *p, const prefix_entry *before, const uint8_t *head, int32_t n_vocab, prefix_entry *e,
                         hth_err *err) {
    const uint8_t *tokens = head + HEAD_BYTES, *key = tokens + (p->end - p->first) * TOKEN_BYTES;
    const size_t begin = before ? key_begin(&before->key, p->first) : 0;
    e->key = (prefix_key){.n = p->end, .n_bytes = begin + p->n_key, .n_head = p->n_head};
    e->key.bytes = hth_alloc(HTH_MEM_ENGINE, e->key.n_bytes + 1);
    e->key.ends = hth_calloc(HTH_MEM_ENGINE, p->end, sizeof *e->key.ends);
    e->tokens = hth_calloc(HTH_MEM_ENGINE, p->end, sizeof *e->tokens);
    if (!e->key.bytes || !e->key.ends || !e->tokens) return hth_fail_nomem(err, e->key.n_bytes + p->end * 8);
    if (before) {
        memcpy(e->key.bytes, before->key.bytes, begin);
        memcpy(e->key.ends, before->key.ends, p->first * sizeof *e->key.ends);
        memcpy(e->tokens, before->tokens, p->first * sizeof *e->tokens);
    }
    memcpy(e->key.bytes + begin, key, p->n_key);
    hth_cursor at = hth_cursor_make(tokens, (p->end - p->first) * TOKEN_BYTES);
    uint64_t end = before ? begin : p->n_head;
    for (size_t i = p->first; i < p->end; i++) {
        const uint64_t v = hth_cursor_u64(&at);
        e->tokens[i] = (hth_token)(uint32_t)(v >> 32);
        end += (uint32_t)v;
        if (e->tokens[i] < -1 || e->tokens[i] >= n_vocab || end > e->key.n_bytes) break;
        e->key.ends[i] = (uint32_t)end;
    }
    if (end == e->key.n_bytes && hth_cursor_left(&at) == 0) return HTH_OK;
    return hth_fail(err, HTH_ERR_FORMAT, "tokens and key of cached rows do not fit");
}

static prefix_entry *entry_of(const hth_prefix *c, uint64_t piece_id) {
    for (size_t i = 0; i < c->n; i++) {
        if (c->entries[i]->piece && c->entries[i]->piece->id == piece_id) return c->entries[i];
    }
    return NULL;
}

// One file becomes an entry. Takes nothing; what is not wanted is an error.
static hth_code adopt(prefix_disk *d, const char *path, hth_err *err) {
    hth_prefix *c = d->c;
    hth_file_in *f;
    uint8_t *head;
    prefix_piece found = {0};
    HTH_TRY(open_piece(path, d->model, (uint64_t)c->p.state.n_ctx, &f, &head, &found, err));
    hth_file_in_close(f);
    const prefix_entry *before = found.parent_id ? entry_of(c, found.parent_id) : NULL;
    const bool fits = found.parent_id == 0 ? found.first == 0 && found.n_head > 0
                                           : before && found.first <= before->key.n && found.n_head == before->key.n_head &&
                                                 before->piece->depth + 1 < MAX_CHAIN && found.first > 0;
    prefix_entry *e = fits ? hth_calloc(HTH_MEM_ENGINE, 1, sizeof *e) : NULL;
    prefix_piece *p = e ? hth_calloc(HTH_MEM_ENGINE, 1, sizeof *p) : NULL;
    hth_code code = !fits ? hth_fail(err, HTH_ERR_FORMAT, "%s: what it continues is not there", path)
                          : p ? HTH_OK : hth_fail_nomem(err, sizeof *p);
    if (code == HTH_OK) code = take_key(&found, before, head, c->p.model->desc.n_vocab, e, err);
    hth_free(head);
    if (code != HTH_OK) {
        hth_free(p);
        prefix_entry_free(c, e);
        return code;
    }
    *p = found;
    p->parent = before ? prefix_piece_hold(before->piece) : NULL;
    p->depth = before ? before->piece->depth + 1 : 0;
    add_piece(d, p);
    e->piece = prefix_piece_hold(p);
    if (p->order > d->last_order) d->last_order = p->order;
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
    prefix_piece p = {0};
    if (open_piece(path, d->model, (uint64_t)d->c->p.state.n_ctx, &f, &head, &p, &err) != HTH_OK) return UINT64_MAX;
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

static hth_code write_file(void *user, const void *bytes, size_t n, hth_err *err) {
    return hth_file_out_write(user, bytes, n, err);
}

// One file to write: what of the cache it needs, held or copied, so that the lock is free meanwhile.
typedef struct job {
    uint64_t entry_id;
    hth_state *state;
    prefix_piece *piece;
    hth_str head;
} job;

static hth_code run_job(prefix_disk *d, job *j, hth_err *err) {
    char *path = path_of(d->c, d->model, j->piece->id);
    if (!path) return hth_fail_nomem(err, 64);
    hth_file_out *f;
    hth_code code = hth_file_out_open(path, &f, err);
    hth_free(path);
    if (code != HTH_OK) return code;
    const hth_state_sink sink = {write_file, f};
    code = hth_file_out_write(f, j->head.p, j->head.len, err);
    if (code == HTH_OK) code = hth_state_write(j->state, (int64_t)j->piece->first, &sink, err);
    if (code == HTH_OK) return hth_file_out_commit(f, err);
    hth_file_out_abort(f);
    return code;
}

static uint64_t new_id(prefix_disk *d) {
    const uint64_t seed[3] = {hth_clock_ns(), (uint64_t)(uintptr_t)d, ++d->last_order};
    const uint64_t id = hth_hash(seed, sizeof seed, d->model);
    return id ? id : 1;
}

static hth_code prepare(prefix_disk *d, const prefix_entry *e, job *j, hth_err *err) {
    prefix_piece *base = e->base && e->base->depth + 1 < MAX_CHAIN && e->base->end >= HTH_STATE_RECORD_ROWS ? e->base : NULL;
    hth_str_init(&j->head, HTH_MEM_ENGINE, UINT32_MAX);
    j->entry_id = e->id;
    j->piece = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *j->piece);
    if (!j->piece) return hth_fail_nomem(err, sizeof *j->piece);
    const size_t first = base ? base->end / HTH_STATE_RECORD_ROWS * HTH_STATE_RECORD_ROWS : 0;
    *j->piece = (prefix_piece){.id = new_id(d), .parent_id = base ? base->id : 0, .order = d->last_order, .first = first, .end = e->key.n,
                               .n_head = e->key.n_head, .n_key = e->key.n_bytes - key_begin(&e->key, first),
                               .depth = base ? base->depth + 1 : 0};
    put_head(&j->head, d->model, j->piece, &e->key, e->tokens);
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
    char *path = path_of(d->c, d->model, j->piece->id);
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
        j->piece->n_bytes = file_bytes(j, d);
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
        const bool is_new = !e->base || e->key.n >= e->base->end + MIN_ROWS || !hth_state_goes_anywhere(c->p.model);
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
    d->model = model_of(&c->p);
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
