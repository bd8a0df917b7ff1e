// The GGUF header: counts, metadata pairs, tensor records, in this order, all little-endian.
//
//   "GGUF" u32 version  u64 n_tensor  u64 n_kv
//   n_kv x     { string key, u32 kind, value }
//   n_tensor x { string name, u32 n_dim, u64 dim[n_dim] (innermost first), u32 type, u64 offset }
//   zeros up to general.alignment, then the data that the offsets count from
//
// where a string is u64 length and bytes. Memory grows with what was read, never with what a count
// promises: a count is only compared with the bytes that are left.
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/cursor.h"
#include "formats/extent.h"
#include "formats/gguf_impl.h"
#include "formats/utf8.h"

#define KEY_MAX 65535u
#define NAME_MAX_BYTES 255u // ggml itself stops at 63
#define KV_MAX ((size_t)1 << 20)
#define TENSOR_MAX ((size_t)1 << 22)
#define DIM_MAX 4u
#define ALIGN_DEFAULT 32u
#define ALIGN_MAX ((uint64_t)1 << 24)

// Least bytes of a pair (one-letter key, u8) and of a tensor record (one-letter name, one dimension).
#define KV_MIN_BYTES (8 + 1 + 4 + 1)
#define TENSOR_MIN_BYTES (8 + 1 + 4 + 8 + 4 + 8)

typedef struct reader {
    hth_cursor cur;
    hth_gguf *g;
    hth_err *err;
    uint64_t n_kv, n_tensor;
    uint64_t align;
    uint64_t *record_pos; // [n_tensor] owned: where each tensor record began, for messages
    size_t cap_pos;
} reader;

// The sticky error of the cursor as a sentence. `what` is what was being read.
static hth_code fail_short(reader *r, const char *what) {
    if (r->cur.len < r->g->n_bytes) {
        return hth_fail_at(r->err, HTH_ERR_LIMIT, r->cur.fail_pos,
                           "the header is larger than %" PRIu64 " bytes", HTH_GGUF_HEADER_MAX);
    }
    return hth_fail_at(r->err, HTH_ERR_FORMAT, r->cur.fail_pos, "the file ends inside %s", what);
}

// Reads a string as a view. `what` and `i` say whose it is ("the key of metadata pair 3").
static hth_code read_string(reader *r, const char *what, uint64_t i, const uint8_t **text, uint64_t *n) {
    uint64_t pos = r->cur.pos;
    *n = hth_cursor_u64(&r->cur);
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, what);
    if (*n > hth_cursor_left(&r->cur)) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "%s %" PRIu64 " would be %" PRIu64 " bytes long, %" PRIu64 " are left", what, i,
                           *n, hth_cursor_left(&r->cur));
    }
    *text = hth_cursor_bytes(&r->cur, *n);
    return HTH_OK;
}

// Reads a key or a tensor name and keeps a zero-terminated copy.
static hth_code read_name(reader *r, const char *what, uint64_t i, uint64_t max, const char **out) {
    uint64_t pos = r->cur.pos, n;
    const uint8_t *text;
    HTH_TRY(read_string(r, what, i, &text, &n));
    if (n == 0) return hth_fail_at(r->err, HTH_ERR_FORMAT, pos, "%s %" PRIu64 " is empty", what, i);
    if (n > max) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "%s %" PRIu64 " is %" PRIu64 " bytes long, at most %" PRIu64 " are allowed", what,
                           i, n, max);
    }
    if (!hth_utf8_is_name(text, (size_t)n)) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos, "%s %" PRIu64 " is not valid UTF-8", what, i);
    }
    *out = hth_arena_strndup(&r->g->arena, (const char *)text, (size_t)n);
    return *out ? HTH_OK : hth_fail_nomem(r->err, n);
}

static hth_code check_version(reader *r) {
    uint32_t version = hth_cursor_u32(&r->cur);
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "the version");
    r->g->version = version;
    if (version == 2 || version == 3) return HTH_OK;
    if (version == 1) {
        return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, 4,
                           "GGUF version 1 is no longer in use; convert the file again");
    }
    // Big-endian files keep the magic and swap everything else.
    if (version != 0 && (version & 0x00ffffff) == 0 && version >> 24 < 16) {
        return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, 4,
                           "this is a big-endian GGUF file; only little-endian ones are supported");
    }
    return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, 4, "GGUF version %" PRIu32 " is not known (2 and 3 are)",
                       version);
}

static hth_code check_magic(reader *r) {
    const uint8_t *magic = hth_cursor_bytes(&r->cur, 4);
    if (!magic) return fail_short(r, "the magic number; this is not a GGUF file");
    if (memcmp(magic, "GGUF", 4) == 0) return HTH_OK;
    static const char old[][5] = {"lmgg", "fmgg", "tjgg",
                                  "algg"}; // ggml, ggmf, ggjt, ggla as little-endian words
    for (size_t i = 0; i < HTH_COUNT(old); i++) {
        if (memcmp(magic, old[i], 4) == 0) {
            return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, 0,
                               "this is a ggml file from before GGUF; convert the model again");
        }
    }
    if (memcmp(magic, "FUGG", 4) == 0) {
        return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, 0,
                           "this is a big-endian GGUF file; only little-endian ones are supported");
    }
    return hth_fail_at(r->err, HTH_ERR_FORMAT, 0, "not a GGUF file: it begins with %02x %02x %02x %02x",
                       magic[0], magic[1], magic[2], magic[3]);
}

static hth_code check_count(reader *r, uint64_t pos, const char *what, uint64_t n, uint64_t min_bytes,
                            uint64_t max) {
    uint64_t left = hth_cursor_left(&r->cur);
    if (n > left / min_bytes) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "%" PRIu64 " %s do not fit into the %" PRIu64 " bytes left", n, what, left);
    }
    if (n > max) {
        return hth_fail_at(r->err, HTH_ERR_LIMIT, pos, "%" PRIu64 " %s are more than the %" PRIu64 " allowed",
                           n, what, max);
    }
    return HTH_OK;
}

static hth_code read_counts(reader *r) {
    HTH_TRY(check_magic(r));
    HTH_TRY(check_version(r));
    r->n_tensor = hth_cursor_u64(&r->cur);
    r->n_kv = hth_cursor_u64(&r->cur);
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "the counts of tensors and metadata");
    HTH_TRY(check_count(r, 8, "tensors", r->n_tensor, TENSOR_MIN_BYTES, TENSOR_MAX));
    return check_count(r, 16, "metadata pairs", r->n_kv, KV_MIN_BYTES, KV_MAX);
}

static hth_code read_kind(reader *r, const char *key, const char *what, hth_gguf_kind *out) {
    uint64_t pos = r->cur.pos;
    uint32_t kind = hth_cursor_u32(&r->cur);
    hth_shown shown = hth_show_name(key, strlen(key));
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "a metadata kind");
    if (kind >= HTH_GGUF_KIND_COUNT) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos, "metadata key '%s' has the unknown %s %" PRIu32,
                           shown.text, what, kind);
    }
    *out = (hth_gguf_kind)kind;
    return HTH_OK;
}

static hth_code check_bools(reader *r, const hth_gguf_kv *kv, uint64_t n, uint64_t pos) {
    for (uint64_t i = 0; i < n; i++) {
        if (kv->data[i] > 1) {
            hth_shown key = hth_show_name(kv->key, strlen(kv->key));
            return hth_fail_at(r->err, HTH_ERR_FORMAT, pos + i, "metadata key '%s': %u is not a bool",
                               key.text, kv->data[i]);
        }
    }
    return HTH_OK;
}

// Steps over n strings: the one loop that a large vocabulary spends its opening time in.
static hth_code skip_strings(reader *r, const hth_gguf_kv *kv) {
    hth_cursor *c = &r->cur;
    for (uint64_t i = 0; i < kv->n; i++) {
        uint64_t pos = c->pos, n = hth_cursor_u64(c);
        if (HTH_LIKELY(hth_cursor_bytes(c, n) != NULL)) continue;
        hth_shown key = hth_show_name(kv->key, strlen(kv->key));
        if (c->fail_pos == pos) return fail_short(r, "an array of strings");
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "metadata key '%s': string %" PRIu64 " would be %" PRIu64 " bytes long, %" PRIu64
                           " are left",
                           key.text, i, n, c->len - c->fail_pos);
    }
    return HTH_OK;
}

static hth_code read_array(reader *r, hth_gguf_kv *kv) {
    hth_shown key = hth_show_name(kv->key, strlen(kv->key));
    uint64_t kind_pos = r->cur.pos;
    HTH_TRY(read_kind(r, kv->key, "kind of array items", &kv->item_kind));
    if (kv->item_kind == HTH_GGUF_ARRAY) {
        return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, kind_pos, "metadata key '%s' is an array of arrays",
                           key.text);
    }
    uint64_t pos = r->cur.pos;
    kv->n = hth_cursor_u64(&r->cur);
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "an array's length");
    unsigned item_bytes = hth_gguf_kind_bytes(kv->item_kind);
    bool is_text = kv->item_kind == HTH_GGUF_STRING;
    if (kv->n > hth_cursor_left(&r->cur) / (is_text ? 8 : item_bytes)) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "metadata key '%s': %" PRIu64 " array items do not fit into the %" PRIu64
                           " bytes left",
                           key.text, kv->n, hth_cursor_left(&r->cur));
    }
    uint64_t first = r->cur.pos;
    kv->data = r->cur.data + first;
    if (is_text) return skip_strings(r, kv);
    (void)hth_cursor_bytes(&r->cur, kv->n * item_bytes); // cannot fail, cannot overflow: checked above
    return kv->item_kind == HTH_GGUF_BOOL ? check_bools(r, kv, kv->n, first) : HTH_OK;
}

static hth_code read_text_value(reader *r, uint64_t i, hth_gguf_kv *kv) {
    const uint8_t *text;
    HTH_TRY(read_string(r, "the string of metadata pair", i, &text, &kv->n));
    kv->data = (const uint8_t *)hth_arena_strndup(&r->g->arena, (const char *)text, (size_t)kv->n);
    return kv->data ? HTH_OK : hth_fail_nomem(r->err, kv->n);
}

static hth_code read_value(reader *r, uint64_t i, hth_gguf_kv *kv) {
    if (kv->kind == HTH_GGUF_STRING) return read_text_value(r, i, kv);
    if (kv->kind == HTH_GGUF_ARRAY) return read_array(r, kv);
    uint64_t pos = r->cur.pos;
    kv->data = hth_cursor_bytes(&r->cur, hth_gguf_kind_bytes(kv->kind));
    if (!kv->data) return fail_short(r, "a metadata value");
    return kv->kind == HTH_GGUF_BOOL ? check_bools(r, kv, 1, pos) : HTH_OK;
}

static hth_code read_pair(reader *r, uint64_t i) {
    hth_gguf *g = r->g;
    hth_gguf_kv kv = {.pos = r->cur.pos};
    HTH_TRY(read_name(r, "the key of metadata pair", i, KEY_MAX, &kv.key));
    HTH_TRY(read_kind(r, kv.key, "kind", &kv.kind));
    HTH_TRY(read_value(r, i, &kv));
    bool was_there;
    if (!hth_map_insert(&g->kv_by_key, kv.key, strlen(kv.key), (uint32_t)g->n_kv, NULL, &was_there) ||
        !hth_grow(HTH_MEM_FORMAT, (void **)&g->kvs, &g->cap_kv, g->n_kv + 1, sizeof kv, KV_MAX)) {
        return hth_fail_nomem(r->err, sizeof kv * (g->n_kv + 1));
    }
    if (was_there) {
        hth_shown key = hth_show_name(kv.key, strlen(kv.key));
        return hth_fail_at(r->err, HTH_ERR_FORMAT, kv.pos, "metadata key '%s' appears twice", key.text);
    }
    g->kvs[g->n_kv++] = kv;
    return HTH_OK;
}

static hth_code read_alignment(reader *r) {
    r->align = ALIGN_DEFAULT;
    const hth_gguf_kv *kv = hth_gguf_find(r->g, "general.alignment");
    if (!kv) return HTH_OK;
    if (kv->kind != HTH_GGUF_U32) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, kv->pos,
                           "metadata key 'general.alignment' is of kind %s, not u32",
                           hth_gguf_kind_name(kv->kind));
    }
    hth_cursor c = hth_cursor_make(kv->data, 4);
    r->align = hth_cursor_u32(&c);
    if (r->align < 8 || r->align > ALIGN_MAX || (r->align & (r->align - 1)) != 0) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, kv->pos,
                           "general.alignment is %" PRIu64 "; a power of two from 8 to %" PRIu64
                           " is required",
                           r->align, ALIGN_MAX);
    }
    return HTH_OK;
}

// Reads the dimensions, which GGUF stores innermost first, and counts the elements.
static hth_code read_dims(reader *r, const char *name, hth_tensor *t, uint64_t *n_element) {
    uint64_t pos = r->cur.pos;
    uint32_t n_dim = hth_cursor_u32(&r->cur);
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "a tensor record");
    if (n_dim < 1 || n_dim > DIM_MAX) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "tensor '%s' has %" PRIu32 " dimensions, 1 to %u are allowed", name, n_dim,
                           DIM_MAX);
    }
    t->n_dim = (int)n_dim;
    *n_element = 1;
    for (uint32_t i = 0; i < n_dim; i++) {
        pos = r->cur.pos;
        uint64_t dim = hth_cursor_u64(&r->cur);
        if (!hth_cursor_ok(&r->cur)) return fail_short(r, "a tensor record");
        if (dim == 0 || dim > INT64_MAX) {
            return hth_fail_at(r->err, HTH_ERR_FORMAT, pos, "tensor '%s' has a dimension of %" PRId64, name,
                               (int64_t)dim);
        }
        if (!hth_mul_u64(*n_element, dim, n_element) || *n_element > INT64_MAX) {
            return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                               "tensor '%s': the product of the dimensions overflows", name);
        }
        t->dim[n_dim - 1 - i] = (int64_t)dim;
    }
    return HTH_OK;
}

static hth_code read_type(reader *r, const char *name, uint64_t n_element, hth_tensor *t) {
    uint64_t pos = r->cur.pos;
    uint32_t type = hth_cursor_u32(&r->cur);
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "a tensor record");
    const hth_type_info *info = type < HTH_TYPE_GGML_COUNT ? hth_type_get(type) : NULL;
    if (!info) {
        return hth_fail_at(r->err, HTH_ERR_UNSUPPORTED, pos, "tensor '%s' has the unknown type %" PRIu32,
                           name, type);
    }
    t->type = info->type;
    int64_t n_col = t->dim[t->n_dim - 1];
    if (n_col % info->block_len != 0) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "tensor '%s': rows of %" PRId64
                           " elements cannot be type %s, whose blocks hold %" PRIu32,
                           name, n_col, info->name, info->block_len);
    }
    if (!hth_mul_u64(n_element / info->block_len, info->block_bytes, &t->n_bytes)) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos, "tensor '%s': its size in bytes overflows", name);
    }
    return HTH_OK;
}

static hth_code read_record(reader *r, uint64_t i) {
    hth_gguf *g = r->g;
    uint64_t record_pos = r->cur.pos, n_element;
    hth_tensor t = {0};
    HTH_TRY(read_name(r, "the name of tensor", i, NAME_MAX_BYTES, &t.name));
    hth_shown name = hth_show_name(t.name, strlen(t.name));
    HTH_TRY(read_dims(r, name.text, &t, &n_element));
    HTH_TRY(read_type(r, name.text, n_element, &t));
    uint64_t pos = r->cur.pos;
    t.off = hth_cursor_u64(&r->cur); // still counted from the data's beginning
    if (!hth_cursor_ok(&r->cur)) return fail_short(r, "a tensor record");
    if (t.off % r->align != 0) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, pos,
                           "tensor '%s': offset %" PRIu64 " is not a multiple of the alignment %" PRIu64,
                           name.text, t.off, r->align);
    }
    bool was_there;
    if (!hth_map_insert(&g->tensor_by_name, t.name, strlen(t.name), (uint32_t)i, NULL, &was_there) ||
        !hth_grow(HTH_MEM_FORMAT, (void **)&g->tensors, &g->cap_tensor, g->n_tensor + 1, sizeof t,
                  TENSOR_MAX) ||
        !hth_grow(HTH_MEM_FORMAT, (void **)&r->record_pos, &r->cap_pos, g->n_tensor + 1, sizeof(uint64_t),
                  TENSOR_MAX)) {
        return hth_fail_nomem(r->err, sizeof t * (g->n_tensor + 1));
    }
    if (was_there) {
        return hth_fail_at(r->err, HTH_ERR_FORMAT, record_pos, "tensor '%s' appears twice", name.text);
    }
    r->record_pos[g->n_tensor] = record_pos;
    g->tensors[g->n_tensor++] = t;
    return HTH_OK;
}

// Turns offsets into places in the file, now that the header's end is known.
static hth_code place_tensors(reader *r) {
    hth_gguf *g = r->g;
    uint64_t begin;
    if (g->n_tensor == 0) return HTH_OK;
    if (!hth_align_u64(r->cur.pos, r->align, &begin)) {
        return hth_fail(r->err, HTH_ERR_INTERNAL, "the header's end cannot be aligned");
    }
    for (size_t i = 0; i < g->n_tensor; i++) {
        hth_tensor *t = &g->tensors[i];
        if (!hth_add_u64(begin, t->off, &t->off) || !hth_in_range(t->off, t->n_bytes, g->n_bytes)) {
            hth_shown name = hth_show_name(t->name, strlen(t->name));
            return hth_fail_at(r->err, HTH_ERR_FORMAT, r->record_pos[i],
                               "tensor '%s': its %" PRIu64 " bytes do not lie inside the file of %" PRIu64
                               " bytes; the file is truncated or damaged",
                               name.text, t->n_bytes, g->n_bytes);
        }
        t->data = g->data + t->off;
    }
    return hth_extent_check(g->tensors, g->n_tensor, false, begin, g->n_bytes, r->err);
}

static hth_code parse_all(reader *r) {
    HTH_TRY(hth_refuse_pointer(r->g->data, r->g->n_bytes, r->err));
    HTH_TRY(read_counts(r));
    for (uint64_t i = 0; i < r->n_kv; i++) HTH_TRY(read_pair(r, i));
    HTH_TRY(read_alignment(r));
    for (uint64_t i = 0; i < r->n_tensor; i++) HTH_TRY(read_record(r, i));
    return place_tensors(r);
}

hth_code hth_gguf_parse(hth_gguf *g, hth_err *err) {
    uint64_t n = g->n_bytes < HTH_GGUF_HEADER_MAX ? g->n_bytes : HTH_GGUF_HEADER_MAX;
    reader r = {.cur = hth_cursor_make(g->data, n), .g = g, .err = err};
    // Copies are padded to 16 bytes: at most four times the header, whatever it holds.
    hth_arena_init(&g->arena, HTH_MEM_FORMAT, 4 * n + (1u << 16));
    if (!hth_map_init(&g->kv_by_key, HTH_MEM_FORMAT, 0) ||
        !hth_map_init(&g->tensor_by_name, HTH_MEM_FORMAT, 0)) {
        return hth_fail_nomem(err, sizeof(hth_map_slot));
    }
    hth_code code = parse_all(&r);
    hth_free(r.record_pos);
    return code;
}
