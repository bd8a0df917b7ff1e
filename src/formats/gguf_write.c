// The header is put together in memory (a large vocabulary makes it ten megabytes), the data goes through.
#include "formats/gguf_write.h"

#include <string.h>

#include "base/checked.h"
#include "base/str.h"
#include "formats/extent.h"
#include "formats/gguf_impl.h"
#include "os/file.h"

#define ALIGN_DEFAULT 32u
#define ALIGN_MAX (1u << 24)
#define MAX_PAIRS ((size_t)1 << 20)
#define MAX_TENSORS ((size_t)1 << 22)

// A pair as the file has it behind its key: the kind, and for an array the items' kind and number.
typedef struct pair {
    char *key;    // owned
    char *prefix; // owned: kind, array header, and for our own pairs the value
    size_t n_prefix;
    const uint8_t *value; // borrowed: what follows for a copied pair
    uint64_t n_value;
} pair;

typedef struct entry {
    char *name; // owned
    hth_type type;
    int n_dim;
    int64_t dim[HTH_MAX_DIM];
    uint64_t n_bytes;
} entry;

struct hth_gguf_writer {
    char *path; // owned
    pair *pairs; // [n_pair] owned
    size_t n_pair, cap_pair;
    entry *entries; // [n_entry] owned
    size_t n_entry, cap_entry;
    uint64_t align;
    hth_file_out *file; // from begin on
    uint64_t n_header, n_total;
    size_t i_entry;  // whose data comes next
    uint64_t at;     // bytes of it that have come
};

hth_code hth_gguf_writer_new(const char *path, hth_gguf_writer **out, hth_err *err) {
    *out = NULL;
    hth_gguf_writer *w = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *w);
    if (!w) return hth_fail_nomem(err, sizeof *w);
    w->align = ALIGN_DEFAULT;
    w->path = hth_strndup(HTH_MEM_FORMAT, path, strlen(path));
    if (!w->path) {
        hth_free(w);
        return hth_fail_nomem(err, strlen(path));
    }
    *out = w;
    return HTH_OK;
}

void hth_gguf_writer_abort(hth_gguf_writer *w) {
    if (!w) return;
    hth_file_out_abort(w->file);
    for (size_t i = 0; i < w->n_pair; i++) {
        hth_free(w->pairs[i].key);
        hth_free(w->pairs[i].prefix);
    }
    for (size_t i = 0; i < w->n_entry; i++) hth_free(w->entries[i].name);
    hth_free(w->pairs);
    hth_free(w->entries);
    hth_free(w->path);
    hth_free(w);
}

static void put(hth_str *s, uint64_t v, int n_bytes) {
    uint8_t b[8];
    for (int i = 0; i < n_bytes; i++) b[i] = (uint8_t)(v >> (8 * i));
    hth_str_append(s, b, (size_t)n_bytes);
}

static void put_text(hth_str *s, const char *text) {
    put(s, strlen(text), 8);
    hth_str_puts(s, text);
}

// ---- metadata

// A new pair. NULL when memory is short.
static pair *add_pair(hth_gguf_writer *w, const char *key) {
    if (!hth_grow(HTH_MEM_FORMAT, (void **)&w->pairs, &w->cap_pair, w->n_pair + 1, sizeof *w->pairs, MAX_PAIRS))
        return NULL;
    char *copy = hth_strndup(HTH_MEM_FORMAT, key, strlen(key));
    if (!copy) return NULL;
    pair *p = &w->pairs[w->n_pair++];
    *p = (pair){.key = copy};
    return p;
}

static pair *find_pair(const hth_gguf_writer *w, const char *key) {
    for (size_t i = 0; i < w->n_pair; i++) {
        if (strcmp(w->pairs[i].key, key) == 0) return &w->pairs[i];
    }
    return NULL;
}

// Fills `p`, or a new pair where it is NULL. Takes `prefix`.
static hth_code set_pair(hth_gguf_writer *w, pair *p, const char *key, hth_str *prefix, const uint8_t *value,
                         uint64_t n_value, hth_err *err) {
    if (!p && !prefix->failed) p = add_pair(w, key);
    if (!p || prefix->failed) {
        hth_str_free(prefix);
        return hth_fail_nomem(err, prefix->len + strlen(key));
    }
    hth_free(p->prefix);
    *p = (pair){.key = p->key, .prefix = prefix->p, .n_prefix = prefix->len, .value = value, .n_value = n_value};
    return HTH_OK;
}

static hth_str begin_pair(hth_gguf_kind kind) {
    hth_str s;
    hth_str_init(&s, HTH_MEM_FORMAT, (size_t)1 << 30);
    put(&s, kind, 4);
    return s;
}

hth_code hth_gguf_writer_set_u32(hth_gguf_writer *w, const char *key, uint32_t v, hth_err *err) {
    hth_str s = begin_pair(HTH_GGUF_U32);
    put(&s, v, 4);
    return set_pair(w, find_pair(w, key), key, &s, NULL, 0, err);
}

hth_code hth_gguf_writer_set_text(hth_gguf_writer *w, const char *key, const char *text, hth_err *err) {
    hth_str s = begin_pair(HTH_GGUF_STRING);
    put_text(&s, text);
    return set_pair(w, find_pair(w, key), key, &s, NULL, 0, err);
}

hth_code hth_gguf_writer_set_texts(hth_gguf_writer *w, const char *key, const char *const *texts, size_t n,
                                   hth_err *err) {
    hth_str s = begin_pair(HTH_GGUF_ARRAY);
    put(&s, HTH_GGUF_STRING, 4);
    put(&s, n, 8);
    for (size_t i = 0; i < n; i++) put_text(&s, texts[i]);
    return set_pair(w, find_pair(w, key), key, &s, NULL, 0, err);
}

// Bytes of a pair's value behind kind, item kind and counts.
static uint64_t value_bytes(const hth_gguf_kv *kv) {
    if (kv->kind == HTH_GGUF_STRING) return kv->n;
    if (kv->kind != HTH_GGUF_ARRAY) return hth_gguf_kind_bytes(kv->kind);
    if (kv->item_kind != HTH_GGUF_STRING) return kv->n * hth_gguf_kind_bytes(kv->item_kind);
    const uint8_t *it = kv->data;
    for (uint64_t i = 0; i < kv->n; i++) {
        const char *text;
        size_t n;
        hth_gguf_next_str(&it, &text, &n);
    }
    return (uint64_t)(it - kv->data);
}

static hth_code set_align(hth_gguf_writer *w, const hth_gguf_kv *kv, hth_err *err) {
    uint64_t v = 0;
    if (kv->kind == HTH_GGUF_U32)
        for (int i = 0; i < 4; i++) v |= (uint64_t)kv->data[i] << (8 * i);
    if (v == 0 || v > ALIGN_MAX || (v & (v - 1)) != 0)
        return hth_fail(err, HTH_ERR_FORMAT, "general.alignment is no power of two up to %u", ALIGN_MAX);
    w->align = v;
    return HTH_OK;
}

hth_code hth_gguf_writer_copy(hth_gguf_writer *w, const hth_gguf_kv *kv, hth_err *err) {
    if (strcmp(kv->key, "general.alignment") == 0) HTH_TRY(set_align(w, kv, err));
    hth_str s = begin_pair(kv->kind);
    if (kv->kind == HTH_GGUF_ARRAY) put(&s, kv->item_kind, 4);
    if (kv->kind == HTH_GGUF_ARRAY || kv->kind == HTH_GGUF_STRING) put(&s, kv->n, 8);
    return set_pair(w, NULL, kv->key, &s, kv->data, value_bytes(kv), err);
}

// ---- tensors

// Whole blocks only, and a size that 64 bits hold.
static hth_code tensor_bytes(const entry *e, uint64_t *out, hth_err *err) {
    const hth_type_info *info = hth_type_get(e->type);
    uint64_t n = 1;
    bool ok = info && e->type < HTH_TYPE_GGML_COUNT;
    for (int i = 0; i < e->n_dim && ok; i++) ok = e->dim[i] > 0 && hth_mul_u64(n, (uint64_t)e->dim[i], &n);
    ok = ok && e->dim[e->n_dim - 1] % info->block_len == 0 && hth_mul_u64(n / info->block_len, info->block_bytes, out);
    return ok ? HTH_OK : hth_fail(err, HTH_ERR_RANGE, "tensor '%s' cannot be stored as type %u", e->name, (unsigned)e->type);
}

hth_code hth_gguf_writer_tensor(hth_gguf_writer *w, const char *name, hth_type type, int n_dim, const int64_t *dim,
                                hth_err *err) {
    if (n_dim < 1 || n_dim > 4) return hth_fail(err, HTH_ERR_RANGE, "tensor '%s' has %d dimensions", name, n_dim);
    if (!hth_grow(HTH_MEM_FORMAT, (void **)&w->entries, &w->cap_entry, w->n_entry + 1, sizeof *w->entries, MAX_TENSORS))
        return hth_fail_nomem(err, (w->n_entry + 1) * sizeof *w->entries);
    entry *e = &w->entries[w->n_entry];
    *e = (entry){.type = type, .n_dim = n_dim};
    memcpy(e->dim, dim, (size_t)n_dim * sizeof *dim);
    e->name = hth_strndup(HTH_MEM_FORMAT, name, strlen(name));
    if (!e->name) return hth_fail_nomem(err, strlen(name));
    w->n_entry++;
    return tensor_bytes(e, &e->n_bytes, err);
}

// ---- the file

static uint64_t padding(const hth_gguf_writer *w, uint64_t n) {
    return (w->align - n % w->align) % w->align;
}

// The records, with offsets from the end of the header.
static hth_code put_records(hth_gguf_writer *w, hth_str *s, hth_err *err) {
    uint64_t off = 0;
    for (size_t i = 0; i < w->n_entry; i++) {
        const entry *e = &w->entries[i];
        put_text(s, e->name);
        put(s, (uint64_t)e->n_dim, 4);
        for (int d = e->n_dim - 1; d >= 0; d--) put(s, (uint64_t)e->dim[d], 8);
        put(s, e->type, 4);
        put(s, off, 8);
        uint64_t next;
        if (!hth_add_u64(off, e->n_bytes, &next) || next > INT64_MAX)
            return hth_fail(err, HTH_ERR_LIMIT, "%s: the tensors are more than fit in a file", w->path);
        off = next + padding(w, next);
    }
    w->n_total = off;
    return HTH_OK;
}

static hth_code write_header(hth_gguf_writer *w, hth_str *s, hth_err *err) {
    hth_str_puts(s, "GGUF");
    put(s, 3, 4);
    put(s, w->n_entry, 8);
    put(s, w->n_pair, 8);
    for (size_t i = 0; i < w->n_pair; i++) {
        const pair *p = &w->pairs[i];
        put_text(s, p->key);
        hth_str_append(s, p->prefix, p->n_prefix);
        if (p->n_value > 0) hth_str_append(s, p->value, (size_t)p->n_value);
    }
    HTH_TRY(put_records(w, s, err));
    for (uint64_t n = padding(w, s->len); n > 0; n--) hth_str_putc(s, 0);
    if (s->failed) return hth_fail_nomem(err, s->len);
    w->n_header = s->len;
    w->n_total += s->len;
    return hth_file_out_write(w->file, hth_str_text(s), s->len, err);
}

hth_code hth_gguf_writer_begin(hth_gguf_writer *w, hth_err *err) {
    HTH_TRY(hth_file_out_open(w->path, &w->file, err));
    hth_str s;
    hth_str_init(&s, HTH_MEM_FORMAT, HTH_GGUF_HEADER_MAX);
    hth_code code = write_header(w, &s, err);
    hth_str_free(&s);
    return code;
}

uint64_t hth_gguf_writer_bytes(const hth_gguf_writer *w) {
    return w->n_total;
}

static hth_code pad(hth_gguf_writer *w, uint64_t n, hth_err *err) {
    static const uint8_t zeros[256];
    while (n > 0) {
        const uint64_t part = n < sizeof zeros ? n : sizeof zeros;
        HTH_TRY(hth_file_out_write(w->file, zeros, (size_t)part, err));
        n -= part;
    }
    return HTH_OK;
}

hth_code hth_gguf_writer_data(hth_gguf_writer *w, const void *bytes, uint64_t n, hth_err *err) {
    const uint8_t *p = bytes;
    while (n > 0) {
        if (w->i_entry >= w->n_entry) return hth_fail(err, HTH_ERR_INTERNAL, "%s: more data than tensors", w->path);
        const uint64_t size = w->entries[w->i_entry].n_bytes, part = size - w->at < n ? size - w->at : n;
        HTH_TRY(hth_file_out_write(w->file, p, (size_t)part, err));
        p += part;
        n -= part;
        w->at += part;
        if (w->at < size) continue;
        HTH_TRY(pad(w, padding(w, size), err));
        w->at = 0;
        w->i_entry++;
    }
    return HTH_OK;
}

hth_code hth_gguf_writer_commit(hth_gguf_writer *w, hth_err *err) {
    hth_code code = HTH_OK;
    if (!w->file || w->i_entry < w->n_entry) {
        code = hth_fail(err, HTH_ERR_INTERNAL, "%s: the data of tensor %zu is missing", w->path, w->i_entry);
    } else {
        hth_file_out *file = w->file;
        w->file = NULL;
        code = hth_file_out_commit(file, err);
    }
    hth_gguf_writer_abort(w);
    return code;
}
