// Opening and closing GGUF files, and the look-ups that need no checking.
#include "formats/gguf.h"

#include <string.h>

#include "formats/gguf_impl.h"

static const char *const kind_names[HTH_GGUF_KIND_COUNT] = {
    [HTH_GGUF_U8] = "u8",       [HTH_GGUF_I8] = "i8",     [HTH_GGUF_U16] = "u16",
    [HTH_GGUF_I16] = "i16",     [HTH_GGUF_U32] = "u32",   [HTH_GGUF_I32] = "i32",
    [HTH_GGUF_F32] = "f32",     [HTH_GGUF_BOOL] = "bool", [HTH_GGUF_STRING] = "string",
    [HTH_GGUF_ARRAY] = "array", [HTH_GGUF_U64] = "u64",   [HTH_GGUF_I64] = "i64",
    [HTH_GGUF_F64] = "f64"};

const char *hth_gguf_kind_name(hth_gguf_kind kind) {
    return (unsigned)kind < HTH_GGUF_KIND_COUNT ? kind_names[kind] : "unknown";
}

unsigned hth_gguf_kind_bytes(hth_gguf_kind kind) {
    static const uint8_t bytes[HTH_GGUF_KIND_COUNT] = {
        [HTH_GGUF_U8] = 1,  [HTH_GGUF_I8] = 1,  [HTH_GGUF_U16] = 2, [HTH_GGUF_I16] = 2,
        [HTH_GGUF_U32] = 4, [HTH_GGUF_I32] = 4, [HTH_GGUF_F32] = 4, [HTH_GGUF_BOOL] = 1,
        [HTH_GGUF_U64] = 8, [HTH_GGUF_I64] = 8, [HTH_GGUF_F64] = 8};
    return (unsigned)kind < HTH_GGUF_KIND_COUNT ? bytes[kind] : 0;
}

static hth_gguf *new_gguf(const char *path, hth_err *err, hth_code *code) {
    hth_gguf *g = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *g);
    if (g) g->path = hth_strndup(HTH_MEM_FORMAT, path, strlen(path));
    if (g && g->path) return g;
    hth_free(g);
    *code = hth_fail_nomem(err, sizeof *g + strlen(path));
    return NULL;
}

hth_code hth_gguf_open_part(const char *path, hth_gguf **out, hth_err *err) {
    *out = NULL;
    hth_code code = HTH_OK;
    hth_gguf *g = new_gguf(path, err, &code);
    if (!g) return code;
    code = hth_file_map_open(path, &g->map, err);
    if (code == HTH_OK) {
        g->data = g->map.data;
        g->n_bytes = g->map.n_bytes;
        code = hth_gguf_parse(g, err);
        if (code != HTH_OK) code = hth_fail_in(err, code, path);
    }
    if (code != HTH_OK) {
        hth_gguf_close(g);
        return code;
    }
    *out = g;
    return HTH_OK;
}

// Merging a set leaves split.count at zero in the whole file.
static bool is_split(int64_t n_part) {
    return n_part != 0 && n_part != 1;
}

hth_code hth_gguf_open(const char *path, hth_gguf **out, hth_err *err) {
    *out = NULL;
    hth_gguf *g;
    HTH_TRY(hth_gguf_open_part(path, &g, err));
    int64_t n_part = 1;
    hth_code code = hth_gguf_get_i64(g, "split.count", &n_part, err);
    if (code == HTH_OK && is_split(n_part)) code = hth_gguf_join(&g, n_part, err);
    if (code != HTH_OK) {
        hth_gguf_close(g);
        return code;
    }
    *out = g;
    return HTH_OK;
}

hth_code hth_gguf_open_memory(const void *data, uint64_t n_bytes, hth_gguf **out, hth_err *err) {
    *out = NULL;
    hth_code code = HTH_OK;
    hth_gguf *g = new_gguf("", err, &code);
    if (!g) return code;
    g->data = data;
    g->n_bytes = n_bytes;
    int64_t n_part = 1;
    code = hth_gguf_parse(g, err);
    if (code == HTH_OK) code = hth_gguf_get_i64(g, "split.count", &n_part, err);
    if (code == HTH_OK && is_split(n_part)) {
        code = hth_fail(err, HTH_ERR_UNSUPPORTED, "a part of a split set cannot be opened from memory");
    }
    if (code != HTH_OK) {
        hth_gguf_close(g);
        return code;
    }
    *out = g;
    return HTH_OK;
}

void hth_gguf_close(hth_gguf *g) {
    if (!g) return;
    for (int i = 1; i < g->n_part; i++) hth_gguf_close(g->parts[i]); // a part has no parts
    hth_free(g->parts);
    hth_free(g->kvs);
    hth_free(g->tensors);
    hth_map_free(&g->kv_by_key);
    hth_map_free(&g->tensor_by_name);
    hth_arena_free(&g->arena);
    hth_file_map_close(&g->map);
    hth_free(g->path);
    hth_free(g);
}

uint32_t hth_gguf_version(const hth_gguf *g) {
    return g->version;
}

int64_t hth_gguf_n_kv(const hth_gguf *g) {
    return (int64_t)g->n_kv;
}

const hth_gguf_kv *hth_gguf_kv_at(const hth_gguf *g, int64_t i) {
    return i >= 0 && (uint64_t)i < g->n_kv ? &g->kvs[i] : NULL;
}

const hth_gguf_kv *hth_gguf_find(const hth_gguf *g, const char *key) {
    uint32_t i;
    return hth_map_find(&g->kv_by_key, key, strlen(key), &i) ? &g->kvs[i] : NULL;
}

int64_t hth_gguf_n_tensor(const hth_gguf *g) {
    return (int64_t)g->n_tensor;
}

const hth_tensor *hth_gguf_tensor_at(const hth_gguf *g, int64_t i) {
    return i >= 0 && (uint64_t)i < g->n_tensor ? &g->tensors[i] : NULL;
}

static const hth_gguf *part_at(const hth_gguf *g, int i) {
    return i >= 0 && i < g->n_part ? g->parts[i] : g;
}

int hth_gguf_n_file(const hth_gguf *g) {
    return g->n_part ? g->n_part : 1;
}

const char *hth_gguf_file_path(const hth_gguf *g, int i) {
    return part_at(g, i)->path;
}

const uint8_t *hth_gguf_file_data(const hth_gguf *g, int i, uint64_t *n_bytes) {
    const hth_gguf *part = part_at(g, i);
    if (n_bytes) *n_bytes = part->n_bytes;
    return part->data;
}
