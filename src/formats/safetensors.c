// Safetensors: the header is JSON, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}},
// offsets counted from the header's end.
#include "formats/safetensors.h"

#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/checked.h"
#include "base/cursor.h"
#include "formats/extent.h"
#include "formats/json_impl.h"
#include "formats/utf8.h"
#include "os/file.h"

#define HEADER_MAX ((uint64_t)100 * 1000 * 1000) // as the reference implementation has it
// A tensor's entry of some 80 bytes becomes some 400 of tree; four times that is enough for anything sane.
#define TREE_FACTOR 24
#define TREE_BASE 65536

struct hth_safetensors {
    hth_file_map map;
    const uint8_t *data;
    uint64_t n_bytes;
    hth_arena arena; // names
    hth_tensor *tensors;
    size_t n_tensor;
};

static const struct {
    const char *name;
    hth_type type;
} dtypes[] = {{"F64", HTH_TYPE_F64},        {"F32", HTH_TYPE_F32},         {"F16", HTH_TYPE_F16},
              {"BF16", HTH_TYPE_BF16},      {"I64", HTH_TYPE_I64},         {"I32", HTH_TYPE_I32},
              {"I16", HTH_TYPE_I16},        {"I8", HTH_TYPE_I8},           {"U64", HTH_TYPE_U64},
              {"U32", HTH_TYPE_U32},        {"U16", HTH_TYPE_U16},         {"U8", HTH_TYPE_U8},
              {"BOOL", HTH_TYPE_BOOL},      {"F8_E4M3", HTH_TYPE_F8_E4M3}, {"F8_E5M2", HTH_TYPE_F8_E5M2},
              {"F8_E8M0", HTH_TYPE_F8_E8M0}};

// One entry of the header while it is being read.
typedef struct entry {
    const char *shown; // its name as messages show it
    const hth_json *v;
    hth_err *err;
} entry;

static hth_code read_dtype(const entry *e, hth_tensor *t) {
    const hth_json *v = hth_json_get(e->v, "dtype");
    if (!v || v->kind != HTH_JSON_STRING) {
        return hth_fail_at(e->err, HTH_ERR_FORMAT, v ? v->pos : e->v->pos,
                           "tensor '%s' lacks the string 'dtype'", e->shown);
    }
    for (size_t i = 0; i < HTH_COUNT(dtypes); i++) {
        if (strlen(dtypes[i].name) != v->n || memcmp(dtypes[i].name, v->u.str, v->n) != 0) continue;
        t->type = dtypes[i].type;
        return HTH_OK;
    }
    hth_shown dtype = hth_show_name(v->u.str, v->n);
    return hth_fail_at(e->err, HTH_ERR_UNSUPPORTED, v->pos, "tensor '%s' has the unknown dtype '%s'",
                       e->shown, dtype.text);
}

static hth_code read_shape(const entry *e, hth_tensor *t, uint64_t *n_element) {
    const hth_json *v = hth_json_get(e->v, "shape");
    if (!v || v->kind != HTH_JSON_ARRAY) {
        return hth_fail_at(e->err, HTH_ERR_FORMAT, v ? v->pos : e->v->pos,
                           "tensor '%s' lacks the array 'shape'", e->shown);
    }
    if (v->n > HTH_MAX_DIM) {
        return hth_fail_at(e->err, HTH_ERR_UNSUPPORTED, v->pos,
                           "tensor '%s' has %" PRIu32 " dimensions, at most %d are allowed", e->shown, v->n,
                           HTH_MAX_DIM);
    }
    *n_element = 1;
    t->n_dim = (int)v->n;
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *dim = &v->u.items[i];
        if (dim->kind != HTH_JSON_NUMBER || !dim->is_int || dim->u.num.i < 0) {
            return hth_fail_at(e->err, HTH_ERR_FORMAT, dim->pos,
                               "tensor '%s': a dimension must be a whole number >= 0", e->shown);
        }
        t->dim[i] = dim->u.num.i;
        if (!hth_mul_u64(*n_element, (uint64_t)dim->u.num.i, n_element) || *n_element > INT64_MAX) {
            return hth_fail_at(e->err, HTH_ERR_FORMAT, dim->pos,
                               "tensor '%s': the product of the dimensions overflows", e->shown);
        }
    }
    return HTH_OK;
}

static hth_code read_offsets(const entry *e, uint64_t data_bytes, uint64_t *begin, uint64_t *end) {
    const hth_json *v = hth_json_get(e->v, "data_offsets");
    if (!v || v->kind != HTH_JSON_ARRAY || v->n != 2) {
        return hth_fail_at(e->err, HTH_ERR_FORMAT, v ? v->pos : e->v->pos,
                           "tensor '%s' lacks 'data_offsets' with two numbers", e->shown);
    }
    for (int i = 0; i < 2; i++) {
        const hth_json *off = &v->u.items[i];
        if (off->kind != HTH_JSON_NUMBER || !off->is_int || off->u.num.i < 0) {
            return hth_fail_at(e->err, HTH_ERR_FORMAT, off->pos,
                               "tensor '%s': an offset must be a whole number >= 0", e->shown);
        }
        *(i == 0 ? begin : end) = (uint64_t)off->u.num.i;
    }
    if (*begin > *end || *end > data_bytes) {
        return hth_fail_at(e->err, HTH_ERR_FORMAT, v->pos,
                           "tensor '%s': offsets %" PRIu64 " to %" PRIu64 " do not lie inside the %" PRIu64
                           " bytes of data; the file is truncated or damaged",
                           e->shown, *begin, *end, data_bytes);
    }
    return HTH_OK;
}

static hth_code read_entry(hth_safetensors *s, const entry *e, uint64_t data_at, hth_tensor *t) {
    if (e->v->kind != HTH_JSON_OBJECT) {
        return hth_fail_at(e->err, HTH_ERR_FORMAT, e->v->pos, "tensor '%s' is not described by an object",
                           e->shown);
    }
    uint64_t n_element, begin = 0, end = 0;
    HTH_TRY(read_dtype(e, t));
    HTH_TRY(read_shape(e, t, &n_element));
    HTH_TRY(read_offsets(e, s->n_bytes - data_at, &begin, &end));
    const hth_type_info *info = hth_type_get(t->type);
    if (!info) {
        return hth_fail_at(e->err, HTH_ERR_UNSUPPORTED, e->v->pos, "tensor '%s' has an unsupported dtype",
                           e->shown);
    }
    if (!hth_mul_u64(n_element, info->block_bytes, &t->n_bytes) || t->n_bytes != end - begin) {
        return hth_fail_at(e->err, HTH_ERR_FORMAT, e->v->pos,
                           "tensor '%s': %" PRIu64 " elements of %s do not take %" PRIu64 " bytes", e->shown,
                           n_element, info->name, end - begin);
    }
    t->off = data_at + begin;
    t->data = s->data + t->off;
    return HTH_OK;
}

// "__metadata__": free-form pairs of strings. Nothing in it is needed, but it must be what it claims.
static hth_code check_metadata(const hth_json *v, hth_err *err) {
    if (v->kind != HTH_JSON_OBJECT) {
        return hth_fail_at(err, HTH_ERR_FORMAT, v->pos, "'__metadata__' is not an object");
    }
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *text = &v->u.members[i].value;
        if (text->kind != HTH_JSON_STRING) {
            return hth_fail_at(err, HTH_ERR_FORMAT, text->pos, "a value of '__metadata__' is not a string");
        }
    }
    return HTH_OK;
}

static hth_code read_member(hth_safetensors *s, const hth_json_member *m, uint64_t data_at, hth_err *err) {
    if (m->key_len == 12 && memcmp(m->key, "__metadata__", 12) == 0) return check_metadata(&m->value, err);
    if (m->key_len == 0 || !hth_utf8_is_name((const uint8_t *)m->key, m->key_len)) {
        return hth_fail_at(err, HTH_ERR_FORMAT, m->value.pos, "a tensor's name is empty or contains a zero");
    }
    hth_shown shown = hth_show_name(m->key, m->key_len);
    entry e = {.shown = shown.text, .v = &m->value, .err = err};
    hth_tensor t = {0};
    HTH_TRY(read_entry(s, &e, data_at, &t));
    t.name = hth_arena_strndup(&s->arena, m->key, m->key_len);
    if (!t.name) return hth_fail_nomem(err, m->key_len);
    s->tensors[s->n_tensor++] = t;
    return HTH_OK;
}

static hth_code read_tensors(hth_safetensors *s, const hth_json *root, uint64_t data_at, hth_err *err) {
    if (root->kind != HTH_JSON_OBJECT) {
        return hth_fail_at(err, HTH_ERR_FORMAT, root->pos, "the header is not an object");
    }
    s->tensors = hth_calloc(HTH_MEM_FORMAT, root->n, sizeof *s->tensors);
    if (!s->tensors) return hth_fail_nomem(err, root->n * sizeof *s->tensors);
    for (uint32_t i = 0; i < root->n; i++) HTH_TRY(read_member(s, &root->u.members[i], data_at, err));
    return hth_extent_check(s->tensors, s->n_tensor, true, data_at, s->n_bytes, err);
}

static hth_code parse(hth_safetensors *s, hth_err *err) {
    HTH_TRY(hth_refuse_pointer(s->data, s->n_bytes, err));
    hth_cursor c = hth_cursor_make(s->data, s->n_bytes);
    uint64_t n_header = hth_cursor_u64(&c);
    if (!hth_cursor_ok(&c)) {
        return hth_fail_at(err, HTH_ERR_FORMAT, 0,
                           "the file ends inside the header's length; this is not a safetensors file");
    }
    if (n_header > s->n_bytes - 8) {
        return hth_fail_at(err, HTH_ERR_FORMAT, 0,
                           "the header would be %" PRIu64 " bytes long, %" PRIu64 " are left", n_header,
                           s->n_bytes - 8);
    }
    if (n_header > HEADER_MAX) {
        return hth_fail_at(err, HTH_ERR_LIMIT, 0,
                           "the header is %" PRIu64 " bytes long, at most %" PRIu64 " are allowed", n_header,
                           HEADER_MAX);
    }
    if (n_header == 0 || s->data[8] != '{') {
        return hth_fail_at(err, HTH_ERR_FORMAT, 8, "the header does not begin with '{'");
    }
    hth_arena_init(&s->arena, HTH_MEM_FORMAT, 16 * n_header + TREE_BASE);
    hth_json_doc *doc;
    HTH_TRY(hth_json_parse_at((const char *)s->data + 8, (size_t)n_header, 8,
                              TREE_FACTOR * n_header + TREE_BASE, &doc, err));
    hth_code code = read_tensors(s, hth_json_root(doc), 8 + n_header, err);
    hth_json_free(doc);
    return code;
}

hth_code hth_safetensors_open(const char *path, hth_safetensors **out, hth_err *err) {
    *out = NULL;
    hth_safetensors *s = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *s);
    if (!s) return hth_fail_nomem(err, sizeof *s);
    hth_code code = hth_file_map_open(path, &s->map, err);
    if (code == HTH_OK) {
        s->data = s->map.data;
        s->n_bytes = s->map.n_bytes;
        code = parse(s, err);
        if (code != HTH_OK) code = hth_fail_in(err, code, path);
    }
    if (code != HTH_OK) {
        hth_safetensors_close(s);
        return code;
    }
    *out = s;
    return HTH_OK;
}

hth_code hth_safetensors_open_memory(const void *data, uint64_t n_bytes, hth_safetensors **out,
                                     hth_err *err) {
    *out = NULL;
    hth_safetensors *s = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *s);
    if (!s) return hth_fail_nomem(err, sizeof *s);
    s->data = data;
    s->n_bytes = n_bytes;
    hth_code code = parse(s, err);
    if (code != HTH_OK) {
        hth_safetensors_close(s);
        return code;
    }
    *out = s;
    return HTH_OK;
}

void hth_safetensors_close(hth_safetensors *s) {
    if (!s) return;
    hth_free(s->tensors);
    hth_arena_free(&s->arena);
    hth_file_map_close(&s->map);
    hth_free(s);
}

int64_t hth_safetensors_n_tensor(const hth_safetensors *s) {
    return (int64_t)s->n_tensor;
}

const hth_tensor *hth_safetensors_tensor_at(const hth_safetensors *s, int64_t i) {
    return i >= 0 && (uint64_t)i < s->n_tensor ? &s->tensors[i] : NULL;
}

const uint8_t *hth_safetensors_data(const hth_safetensors *s, uint64_t *n_bytes) {
    if (n_bytes) *n_bytes = s->n_bytes;
    return s->data;
}
