// Both files of importance become one table of means. All of it is small: a number per column of each matrix.
#include "formats/imatrix.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "formats/extent.h"
#include "formats/gguf_write.h"
#include "formats/utf8.h"
#include "os/file.h"

#define MAX_BYTES ((uint64_t)4 << 30)
#define MAX_ENTRIES ((size_t)1 << 20)
#define MAX_NAME 4096

struct hth_imatrix {
    hth_arena arena; // owns names and means
    hth_imatrix_entry *entries; // [n] owned
    size_t n, cap;
    hth_map by_name;
    int64_t n_chunk;
    const char *dataset;
};

static hth_code new_entry(hth_imatrix *m, const char *name, size_t n_name, uint64_t n, float **mean, hth_err *err) {
    bool was_there;
    const uint64_t n_bytes = n * sizeof(float);
    hth_imatrix_entry e = {.n = (int64_t)n};
    e.name = hth_arena_strndup(&m->arena, name, n_name);
    *mean = e.name ? hth_arena_alloc(&m->arena, (size_t)n, sizeof **mean) : NULL;
    e.mean = *mean;
    if (!*mean || !hth_grow(HTH_MEM_FORMAT, (void **)&m->entries, &m->cap, m->n + 1, sizeof e, MAX_ENTRIES) ||
        !hth_map_insert(&m->by_name, e.name, n_name, (uint32_t)m->n, NULL, &was_there)) {
        return hth_fail_nomem(err, n_bytes);
    }
    if (was_there) {
        hth_shown shown = hth_show_name(e.name, n_name);
        return hth_fail(err, HTH_ERR_FORMAT, "weight '%s' is there twice", shown.text);
    }
    m->entries[m->n++] = e;
    return HTH_OK;
}

// Quantizers divide and take roots: no NaN, no infinity, nothing below zero.
static hth_code check_means(const char *name, const float *mean, uint64_t n, hth_err *err) {
    for (uint64_t i = 0; i < n; i++) {
        if (mean[i] >= 0 && isfinite(mean[i])) continue;
        hth_shown shown = hth_show_name(name, strlen(name));
        return hth_fail(err, HTH_ERR_FORMAT, "weight '%s': importance %" PRIu64 " is %g", shown.text, i, (double)mean[i]);
    }
    return HTH_OK;
}

// ---- GGUF

#define SUMS ".in_sum2"
#define COUNTS ".counts"

static const hth_tensor *find_tensor(const hth_gguf *g, const hth_map *names, const char *name, size_t n) {
    uint32_t i;
    return hth_map_find(names, name, n, &i) ? hth_gguf_tensor_at(g, i) : NULL;
}

static uint64_t numbers_of(const hth_tensor *t) {
    return t->n_bytes / sizeof(float);
}

static hth_code take_sums(hth_imatrix *m, const hth_tensor *sums, const hth_tensor *counts, size_t n_name, hth_err *err) {
    hth_shown shown = hth_show_name(sums->name, n_name);
    if (sums->type != HTH_TYPE_F32 || counts->type != HTH_TYPE_F32)
        return hth_fail(err, HTH_ERR_FORMAT, "the sums and counts of weight '%s' are not f32", shown.text);
    const uint64_t n = numbers_of(sums), n_count = numbers_of(counts);
    if (n % n_count != 0)
        return hth_fail(err, HTH_ERR_FORMAT, "weight '%s' has %" PRIu64 " sums for %" PRIu64 " counts", shown.text, n, n_count);
    float *mean;
    HTH_TRY(new_entry(m, sums->name, n_name, n, &mean, err));
    for (uint64_t i = 0; i < n; i++) {
        const float count = hth_load_f32(counts->data + 4 * (i / (n / n_count)));
        if (!(count >= 0 && isfinite(count)))
            return hth_fail(err, HTH_ERR_FORMAT, "weight '%s' has a count of %g", shown.text, (double)count);
        mean[i] = count > 0 ? hth_load_f32(sums->data + 4 * i) / count : 1;
    }
    return check_means(m->entries[m->n - 1].name, mean, n, err);
}

static bool ends_with(const char *name, const char *suffix, size_t *n_stem) {
    const size_t n = strlen(name), k = strlen(suffix);
    if (n <= k || strcmp(name + n - k, suffix) != 0) return false;
    *n_stem = n - k;
    return true;
}

static hth_code take_tensors(hth_imatrix *m, const hth_gguf *g, const hth_map *names, hth_err *err) {
    for (int64_t i = 0; i < hth_gguf_n_tensor(g); i++) {
        const hth_tensor *t = hth_gguf_tensor_at(g, i);
        char partner[MAX_NAME + 16];
        size_t n;
        const bool is_sums = ends_with(t->name, SUMS, &n);
        if ((!is_sums && !ends_with(t->name, COUNTS, &n)) || n > MAX_NAME) continue;
        memcpy(partner, t->name, n);
        memcpy(partner + n, is_sums ? COUNTS : SUMS, is_sums ? sizeof COUNTS : sizeof SUMS);
        const hth_tensor *other = find_tensor(g, names, partner, strlen(partner));
        if (!other) {
            hth_shown shown = hth_show_name(t->name, strlen(t->name));
            return hth_fail(err, HTH_ERR_FORMAT, "tensor '%s' has no %s beside it", shown.text, is_sums ? "counts" : "in_sum2");
        }
        if (is_sums) HTH_TRY(take_sums(m, t, other, n, err));
    }
    return HTH_OK;
}

static hth_code read_keys(hth_imatrix *m, const hth_gguf *g, hth_err *err) {
    const char *type = "";
    HTH_TRY(hth_gguf_get_str(g, "general.type", &type, NULL, err));
    if (strcmp(type, "imatrix") != 0) {
        hth_shown shown = hth_show_name(type, strlen(type));
        return hth_fail(err, HTH_ERR_FORMAT, "this is no importance matrix: general.type is '%s'", shown.text);
    }
    HTH_TRY(hth_gguf_get_i64(g, "imatrix.chunk_count", &m->n_chunk, err));
    if (m->n_chunk < 0) m->n_chunk = 0;
    const hth_gguf_kv *kv = hth_gguf_find(g, "imatrix.datasets");
    if (!kv || kv->kind != HTH_GGUF_ARRAY || kv->item_kind != HTH_GGUF_STRING || kv->n == 0) return HTH_OK;
    const uint8_t *it = kv->data;
    const char *text;
    size_t n;
    hth_gguf_next_str(&it, &text, &n);
    m->dataset = hth_arena_strndup(&m->arena, text, n);
    return m->dataset ? HTH_OK : hth_fail_nomem(err, n);
}

static hth_code read_gguf(hth_imatrix *m, const hth_gguf *g, hth_err *err) {
    HTH_TRY(read_keys(m, g, err));
    hth_map names;
    hth_code code = HTH_OK;
    bool was_there;
    if (!hth_map_init(&names, HTH_MEM_FORMAT, (size_t)hth_gguf_n_tensor(g))) return hth_fail_nomem(err, 0);
    for (int64_t i = 0; i < hth_gguf_n_tensor(g) && code == HTH_OK; i++) {
        const char *name = hth_gguf_tensor_at(g, i)->name;
        if (!hth_map_insert(&names, name, strlen(name), (uint32_t)i, NULL, &was_there)) code = hth_fail_nomem(err, strlen(name));
    }
    if (code == HTH_OK) code = take_tensors(m, g, &names, err);
    hth_map_free(&names);
    return code;
}

// ---- .dat
//
//   i32 n_entry
//   n_entry x { i32 length, name, i32 n_call, i32 n, f32 [n] (means times n_call) }
//   i32 n_chunk, i32 length, name of the text       (both may be missing)

static hth_code fail_short(const hth_cursor *c, hth_err *err) {
    return hth_fail_at(err, HTH_ERR_FORMAT, c->pos, "the file ends inside an entry");
}

static hth_code read_entry(hth_imatrix *m, hth_cursor *c, hth_err *err) {
    const uint32_t n_name = hth_cursor_u32(c);
    if (!hth_cursor_ok(c)) return fail_short(c, err);
    if (n_name == 0 || n_name > MAX_NAME)
        return hth_fail_at(err, HTH_ERR_FORMAT, c->pos, "a weight's name of %" PRIu32 " bytes", n_name);
    const uint8_t *name = hth_cursor_bytes(c, n_name);
    const int32_t n_call = (int32_t)hth_cursor_u32(c), n = (int32_t)hth_cursor_u32(c);
    if (!hth_cursor_ok(c)) return fail_short(c, err);
    if (n < 1) return hth_fail_at(err, HTH_ERR_FORMAT, c->pos, "an entry of %" PRId32 " numbers", n);
    const uint8_t *values = hth_cursor_bytes(c, (uint64_t)n * 4);
    if (!hth_cursor_ok(c)) return fail_short(c, err);
    if (!hth_utf8_is_name(name, n_name))
        return hth_fail_at(err, HTH_ERR_FORMAT, c->pos, "a weight's name is no text");
    float *mean;
    HTH_TRY(new_entry(m, (const char *)name, n_name, (uint64_t)n, &mean, err));
    for (int32_t i = 0; i < n; i++) mean[i] = hth_load_f32(values + 4 * (size_t)i) / (float)(n_call > 0 ? n_call : 1);
    return check_means(m->entries[m->n - 1].name, mean, (uint64_t)n, err);
}

static hth_code read_dat(hth_imatrix *m, const uint8_t *data, uint64_t n_bytes, hth_err *err) {
    hth_cursor c = hth_cursor_make(data, n_bytes);
    const uint32_t n = hth_cursor_u32(&c);
    if (!hth_cursor_ok(&c) || n == 0 || n > MAX_ENTRIES)
        return hth_fail(err, HTH_ERR_FORMAT, "this is no importance matrix, neither GGUF nor .dat");
    for (uint32_t i = 0; i < n; i++) HTH_TRY(read_entry(m, &c, err));
    if (hth_cursor_left(&c) < 4) return HTH_OK;
    m->n_chunk = (int32_t)hth_cursor_u32(&c);
    if (m->n_chunk < 0) m->n_chunk = 0;
    const uint32_t n_text = hth_cursor_left(&c) >= 4 ? hth_cursor_u32(&c) : 0;
    if (n_text == 0 || n_text > MAX_NAME || n_text > hth_cursor_left(&c)) return HTH_OK;
    const uint8_t *text = hth_cursor_bytes(&c, n_text);
    m->dataset = hth_arena_strndup(&m->arena, (const char *)text, n_text);
    return m->dataset ? HTH_OK : hth_fail_nomem(err, n_text);
}

// ---- either

static hth_code read_bytes(hth_imatrix *m, const uint8_t *data, uint64_t n_bytes, hth_err *err) {
    hth_code code = HTH_OK;
    if (n_bytes > MAX_BYTES) return hth_fail(err, HTH_ERR_LIMIT, "the importance matrix is larger than 4 GiB");
    if (n_bytes >= 4 && memcmp(data, "GGUF", 4) == 0) {
        hth_gguf *g;
        HTH_TRY(hth_gguf_open_memory(data, n_bytes, &g, err));
        code = read_gguf(m, g, err);
        hth_gguf_close(g);
    } else {
        code = read_dat(m, data, n_bytes, err);
    }
    if (code == HTH_OK && m->n == 0) code = hth_fail(err, HTH_ERR_FORMAT, "the importance matrix is empty");
    return code;
}

hth_code hth_imatrix_open_memory(const void *data, uint64_t n_bytes, hth_imatrix **out, hth_err *err) {
    *out = NULL;
    hth_imatrix *m = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *m);
    if (!m) return hth_fail_nomem(err, sizeof *m);
    m->dataset = "";
    hth_arena_init(&m->arena, HTH_MEM_FORMAT, 2 * MAX_BYTES);
    hth_code code = hth_map_init(&m->by_name, HTH_MEM_FORMAT, 512) ? read_bytes(m, data, n_bytes, err) : hth_fail_nomem(err, 0);
    if (code != HTH_OK) {
        hth_imatrix_close(m);
        return code;
    }
    *out = m;
    return HTH_OK;
}

hth_code hth_imatrix_open(const char *path, hth_imatrix **out, hth_err *err) {
    hth_file_map map;
    *out = NULL;
    HTH_TRY(hth_file_map_open(path, &map, err));
    const hth_code code = hth_imatrix_open_memory(map.data, map.n_bytes, out, err);
    hth_file_map_close(&map);
    return code == HTH_OK ? code : hth_fail_in(err, code, path);
}

void hth_imatrix_close(hth_imatrix *m) {
    if (!m) return;
    hth_map_free(&m->by_name);
    hth_arena_free(&m->arena);
    hth_free(m->entries);
    hth_free(m);
}

int64_t hth_imatrix_n(const hth_imatrix *m) {
    return (int64_t)m->n;
}

const hth_imatrix_entry *hth_imatrix_at(const hth_imatrix *m, int64_t i) {
    return i >= 0 && (size_t)i < m->n ? &m->entries[i] : NULL;
}

const hth_imatrix_entry *hth_imatrix_find(const hth_imatrix *m, const char *name) {
    uint32_t i;
    return hth_map_find(&m->by_name, name, strlen(name), &i) ? &m->entries[i] : NULL;
}

int64_t hth_imatrix_n_chunk(const hth_imatrix *m) {
    return m->n_chunk;
}

const char *hth_imatrix_dataset(const hth_imatrix *m) {
    return m->dataset;
}

// ---- writing

static int by_name(const void *a, const void *b) {
    const hth_imatrix_sums *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static hth_code announce(hth_gguf_writer *w, const hth_imatrix_sums *s, hth_err *err) {
    char name[MAX_NAME + 16];
    const int64_t sums[] = {s->n_expert, s->n}, counts[] = {s->n_expert, 1};
    const int skip = s->n_expert == 1; // an ordinary matrix has vectors
    const size_t n = strlen(s->name);
    if (n > MAX_NAME) return hth_fail(err, HTH_ERR_LIMIT, "a weight's name of %zu bytes", n);
    memcpy(name, s->name, n);
    memcpy(name + n, SUMS, sizeof SUMS);
    HTH_TRY(hth_gguf_writer_tensor(w, name, HTH_TYPE_F32, 2 - skip, sums + skip, err));
    memcpy(name + n, COUNTS, sizeof COUNTS);
    return hth_gguf_writer_tensor(w, name, HTH_TYPE_F32, 2 - skip, counts + skip, err);
}

// Numbers i < n of either list as f32; one of them is NULL.
static hth_code write_numbers(hth_gguf_writer *w, const double *sums, const int64_t *counts, int64_t n, hth_err *err) {
    uint8_t piece[1024];
    const int64_t most = (int64_t)sizeof piece / 4;
    for (int64_t i = 0; i < n; i += most) {
        const int64_t some = n - i < most ? n - i : most;
        for (int64_t j = 0; j < some; j++) hth_store_f32(piece + 4 * j, sums ? (float)sums[i + j] : (float)counts[i + j]);
        HTH_TRY(hth_gguf_writer_data(w, piece, (uint64_t)some * 4, err));
    }
    return HTH_OK;
}

static hth_code write_sums(hth_gguf_writer *w, const hth_imatrix_sums *s, hth_err *err) {
    HTH_TRY(write_numbers(w, s->sum, NULL, s->n_expert * s->n, err));
    return write_numbers(w, NULL, s->count, s->n_expert, err);
}

static hth_code write_all(hth_gguf_writer *w, const hth_imatrix_sums *const *sums, size_t n, const char *dataset,
                          uint32_t n_chunk, uint32_t chunk_size, hth_err *err) {
    HTH_TRY(hth_gguf_writer_set_text(w, "general.type", "imatrix", err));
    HTH_TRY(hth_gguf_writer_set_texts(w, "imatrix.datasets", &dataset, 1, err));
    HTH_TRY(hth_gguf_writer_set_u32(w, "imatrix.chunk_count", n_chunk, err));
    HTH_TRY(hth_gguf_writer_set_u32(w, "imatrix.chunk_size", chunk_size, err));
    for (size_t i = 0; i < n; i++) HTH_TRY(announce(w, sums[i], err));
    HTH_TRY(hth_gguf_writer_begin(w, err));
    for (size_t i = 0; i < n; i++) HTH_TRY(write_sums(w, sums[i], err));
    return HTH_OK;
}

hth_code hth_imatrix_write(const char *path, const hth_imatrix_sums *sums, size_t n, const char *dataset, uint32_t n_chunk,
                           uint32_t chunk_size, hth_err *err) {
    const hth_imatrix_sums **order = hth_calloc(HTH_MEM_FORMAT, n + 1, sizeof *order);
    hth_gguf_writer *w = NULL;
    if (!order) return hth_fail_nomem(err, n * sizeof *order);
    for (size_t i = 0; i < n; i++) order[i] = &sums[i];
    qsort(order, n, sizeof *order, by_name);
    hth_code code = hth_gguf_writer_new(path, &w, err);
    if (code == HTH_OK) code = write_all(w, order, n, dataset, n_chunk, chunk_size, err);
    hth_free(order);
    if (code == HTH_OK) return hth_gguf_writer_commit(w, err);
    hth_gguf_writer_abort(w);
    return code;
}
