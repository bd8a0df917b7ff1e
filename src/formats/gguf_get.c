// Typed reads of GGUF metadata. Everything was bounds-checked at opening; here only kinds and ranges are.
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cursor.h"
#include "formats/extent.h"
#include "formats/gguf_impl.h"

static uint64_t load_uint(const uint8_t *p, unsigned n_bytes) {
    hth_cursor c = hth_cursor_make(p, n_bytes);
    return hth_cursor_uint(&c, n_bytes);
}

static double load_f64(const uint8_t *p) {
    uint64_t bits = load_uint(p, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

// The integer (or bool) at p; a U64 above INT64_MAX comes out negative.
static int64_t load_int(const uint8_t *p, hth_gguf_kind kind) {
    switch (kind) {
    case HTH_GGUF_I8: return (int8_t)p[0];
    case HTH_GGUF_I16: return (int16_t)load_uint(p, 2);
    case HTH_GGUF_I32: return (int32_t)load_uint(p, 4);
    default: return (int64_t)load_uint(p, hth_gguf_kind_bytes(kind));
    }
}

static bool is_integer(hth_gguf_kind kind) {
    return kind != HTH_GGUF_F32 && kind != HTH_GGUF_F64 && kind != HTH_GGUF_BOOL && kind != HTH_GGUF_STRING &&
           kind != HTH_GGUF_ARRAY && (unsigned)kind < HTH_GGUF_KIND_COUNT;
}

static hth_code name_file(const hth_gguf *g, hth_code code, hth_err *err) {
    return g->path[0] ? hth_fail_in(err, code, g->path) : code;
}

static hth_code fail_kind(const hth_gguf *g, const hth_gguf_kv *kv, const char *wanted, hth_err *err) {
    hth_shown key = hth_show_name(kv->key, strlen(kv->key));
    bool is_array = kv->kind == HTH_GGUF_ARRAY;
    hth_code code = hth_fail_at(err, HTH_ERR_FORMAT, kv->pos, "metadata key '%s' is of kind %s%s, not %s",
                                key.text, is_array ? "array of " : "",
                                hth_gguf_kind_name(is_array ? kv->item_kind : kv->kind), wanted);
    return name_file(g, code, err);
}

hth_code hth_gguf_get_i64(const hth_gguf *g, const char *key, int64_t *out, hth_err *err) {
    const hth_gguf_kv *kv = hth_gguf_find(g, key);
    if (!kv) return HTH_OK;
    if (!is_integer(kv->kind)) return fail_kind(g, kv, "an integer", err);
    int64_t v = load_int(kv->data, kv->kind);
    if (kv->kind == HTH_GGUF_U64 && v < 0) {
        hth_code code = hth_fail_at(err, HTH_ERR_FORMAT, kv->pos,
                                    "metadata key '%s': %" PRIu64 " is out of range", key, (uint64_t)v);
        return name_file(g, code, err);
    }
    *out = v;
    return HTH_OK;
}

static double load_number(const uint8_t *p, hth_gguf_kind kind) {
    if (kind == HTH_GGUF_F32) return (double)hth_load_f32(p);
    if (kind == HTH_GGUF_F64) return load_f64(p);
    int64_t v = load_int(p, kind);
    return kind == HTH_GGUF_U64 ? (double)(uint64_t)v : (double)v;
}

hth_code hth_gguf_get_f64(const hth_gguf *g, const char *key, double *out, hth_err *err) {
    const hth_gguf_kv *kv = hth_gguf_find(g, key);
    if (!kv) return HTH_OK;
    if (!is_integer(kv->kind) && kv->kind != HTH_GGUF_F32 && kv->kind != HTH_GGUF_F64) {
        return fail_kind(g, kv, "a number", err);
    }
    *out = load_number(kv->data, kv->kind);
    return HTH_OK;
}

hth_code hth_gguf_get_bool(const hth_gguf *g, const char *key, bool *out, hth_err *err) {
    const hth_gguf_kv *kv = hth_gguf_find(g, key);
    if (!kv) return HTH_OK;
    if (kv->kind != HTH_GGUF_BOOL) return fail_kind(g, kv, "bool", err);
    *out = kv->data[0] != 0;
    return HTH_OK;
}

hth_code hth_gguf_get_str(const hth_gguf *g, const char *key, const char **out, size_t *n, hth_err *err) {
    const hth_gguf_kv *kv = hth_gguf_find(g, key);
    if (!kv) return HTH_OK;
    if (kv->kind != HTH_GGUF_STRING) return fail_kind(g, kv, "string", err);
    *out = (const char *)kv->data;
    if (n) *n = (size_t)kv->n;
    return HTH_OK;
}

int64_t hth_gguf_item_i64(const hth_gguf_kv *kv, uint64_t i) {
    const uint8_t *p = kv->data + i * hth_gguf_kind_bytes(kv->item_kind);
    if (kv->item_kind == HTH_GGUF_F32 || kv->item_kind == HTH_GGUF_F64) {
        // Written as floats by some converters; outside int64 the conversion would be undefined.
        double v = load_number(p, kv->item_kind);
        if (!(v > -9.2e18)) return v < 0 ? INT64_MIN : 0;
        return v < 9.2e18 ? (int64_t)v : INT64_MAX;
    }
    return load_int(p, kv->item_kind);
}

double hth_gguf_item_f64(const hth_gguf_kv *kv, uint64_t i) {
    return load_number(kv->data + i * hth_gguf_kind_bytes(kv->item_kind), kv->item_kind);
}

void hth_gguf_next_str(const uint8_t **it, const char **text, size_t *n) {
    uint64_t len = load_uint(*it, 8);
    *text = (const char *)*it + 8;
    *n = (size_t)len;
    *it += 8 + len;
}
