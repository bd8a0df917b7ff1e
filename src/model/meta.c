// Hyper-parameter look-ups over GGUF metadata and config.json.
#include "model/meta.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_FLOAT 3.4e38 // what a float holds, a little less

hth_code hth_meta_open(hth_container *c, hth_meta *out, const char **family, hth_err *err) {
    *out = (hth_meta){.gguf = hth_container_gguf(c), .err = err};
    *family = NULL;
    if (out->gguf) {
        HTH_TRY(hth_gguf_get_str(out->gguf, "general.architecture", family, NULL, err));
        if (!*family) return hth_fail(err, HTH_ERR_FORMAT, "metadata key general.architecture is missing");
        out->arch = *family;
        return HTH_OK;
    }
    HTH_TRY(hth_container_json(c, "config.json", &out->root, err));
    if (!out->root) return hth_fail(err, HTH_ERR_FORMAT, "config.json is missing");
    const hth_json *text = hth_json_get(out->root, "text_config");
    out->text = text && text->kind == HTH_JSON_OBJECT ? text : out->root;
    *family = hth_json_str(out->text, "model_type", NULL, NULL);
    if (!*family) *family = hth_json_str(out->root, "model_type", NULL, NULL);
    if (!*family) return hth_fail(err, HTH_ERR_FORMAT, "config.json: model_type is missing");
    return HTH_OK;
}

void hth_meta_fail(hth_meta *m, hth_code code, const char *fmt, ...) {
    if (m->code != HTH_OK) return;
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    m->code = hth_fail(m->err, code, "%s", text);
}

hth_code hth_meta_check(const hth_meta *m) {
    return m->code;
}

// One value of either container; both NULL when absent.
typedef struct meta_value {
    const hth_gguf_kv *kv;
    const hth_json *json;
    char name[160]; // for messages
} meta_value;

static const hth_json *descend(const hth_json *v, const char *path) {
    while (v && *path) {
        const char *dot = strchr(path, '.');
        size_t n = dot ? (size_t)(dot - path) : strlen(path);
        char key[96];
        if (n >= sizeof key) return NULL;
        memcpy(key, path, n);
        key[n] = 0;
        v = hth_json_get(v, key);
        path += n + (dot ? 1 : 0);
    }
    return v;
}

// Copies the next of "a|b|c" into word; returns the rest, or NULL at the end.
static const char *next_word(const char *list, char word[96]) {
    const char *bar = strchr(list, '|');
    size_t n = bar ? (size_t)(bar - list) : strlen(list);
    if (n > 95) n = 95;
    memcpy(word, list, n);
    word[n] = 0;
    return bar ? bar + 1 : NULL;
}

static bool find_gguf(hth_meta *m, const char *key, meta_value *out) {
    if (key[0] == '/') {
        snprintf(out->name, sizeof out->name, "%s", key + 1);
    } else {
        snprintf(out->name, sizeof out->name, "%s.%s", m->arch, key);
    }
    out->kv = hth_gguf_find(m->gguf, out->name);
    return out->kv != NULL;
}

static bool find_json(hth_meta *m, const char *path, meta_value *out) {
    const hth_json *v = descend(m->text, path);
    if (!v && m->text != m->root) v = descend(m->root, path);
    for (const hth_meta_default *d = m->defaults; !v && d && d->path; d++) {
        if (strcmp(d->path, path) == 0) v = &d->value;
    }
    if (!v || v->kind == HTH_JSON_NULL) return false;
    out->json = v;
    snprintf(out->name, sizeof out->name, "config.json: %s", path);
    return true;
}

static bool look_up(hth_meta *m, const char *key, const char *path, meta_value *out) {
    *out = (meta_value){0};
    const char *list = m->gguf ? key : path;
    bool found = false;
    while (m->code == HTH_OK && list && !found) {
        char word[96];
        list = next_word(list, word);
        found = m->gguf ? find_gguf(m, word, out) : find_json(m, word, out);
    }
    return found;
}

static bool is_gguf_int(hth_gguf_kind k) {
    return k != HTH_GGUF_F32 && k != HTH_GGUF_F64 && k != HTH_GGUF_STRING && k != HTH_GGUF_ARRAY &&
           k != HTH_GGUF_BOOL && k < HTH_GGUF_KIND_COUNT;
}

static bool is_gguf_float(hth_gguf_kind k) {
    return k == HTH_GGUF_F32 || k == HTH_GGUF_F64;
}

// An integer from a JSON number: exact, or a float with an integral value ("8192.0" occurs).
static bool json_integer(const hth_json *v, int64_t *out) {
    if (v->kind != HTH_JSON_NUMBER) return false;
    if (v->is_int) {
        *out = v->u.num.i;
        return true;
    }
    double d = v->u.num.d;
    if (!(fabs(d) < 9e15) || d != floor(d)) return false;
    *out = (int64_t)d;
    return true;
}

static bool check_range(hth_meta *m, const char *name, int64_t v, int64_t lo, int64_t hi) {
    if (v >= lo && v <= hi) return true;
    hth_meta_fail(m, HTH_ERR_FORMAT, "%s is %lld, outside %lld..%lld", name, (long long)v, (long long)lo,
                  (long long)hi);
    return false;
}

bool hth_meta_int(hth_meta *m, const char *key, const char *path, int64_t lo, int64_t hi, int64_t *out) {
    meta_value v;
    if (!look_up(m, key, path, &v)) return false;
    int64_t got = 0;
    if (v.kv) {
        hth_code code = hth_gguf_get_i64(m->gguf, v.name, &got, m->err);
        if (code != HTH_OK) {
            m->code = code;
            return false;
        }
    } else if (!json_integer(v.json, &got)) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is not an integer", v.name);
        return false;
    }
    if (!check_range(m, v.name, got, lo, hi)) return false;
    *out = got;
    return true;
}

bool hth_meta_i32(hth_meta *m, const char *key, const char *path, int32_t lo, int32_t hi, int32_t *out) {
    int64_t wide;
    if (!hth_meta_int(m, key, path, lo, hi, &wide)) return false;
    *out = (int32_t)wide;
    return true;
}

bool hth_meta_num(hth_meta *m, const char *key, const char *path, double *out) {
    meta_value v;
    if (!look_up(m, key, path, &v)) return false;
    double got = 0;
    if (v.kv) {
        hth_code code = hth_gguf_get_f64(m->gguf, v.name, &got, m->err);
        if (code != HTH_OK) {
            m->code = code;
            return false;
        }
    } else if (v.json->kind != HTH_JSON_NUMBER) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is not a number", v.name);
        return false;
    } else {
        got = v.json->is_int ? (double)v.json->u.num.i : v.json->u.num.d;
    }
    if (!isfinite(got)) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is not finite", v.name);
        return false;
    }
    *out = got;
    return true;
}

bool hth_meta_float(hth_meta *m, const char *key, const char *path, float *out) {
    double wide;
    if (!hth_meta_num(m, key, path, &wide)) return false;
    if (fabs(wide) > MAX_FLOAT) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is %g, too large", key && m->gguf ? key : path, wide);
        return false;
    }
    *out = (float)wide;
    return true;
}

bool hth_meta_bool(hth_meta *m, const char *key, const char *path, bool *out) {
    meta_value v;
    if (!look_up(m, key, path, &v)) return false;
    if (v.kv) {
        hth_code code = hth_gguf_get_bool(m->gguf, v.name, out, m->err);
        if (code != HTH_OK) m->code = code;
        return code == HTH_OK;
    }
    if (v.json->kind != HTH_JSON_BOOL) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is not true or false", v.name);
        return false;
    }
    *out = v.json->u.b;
    return true;
}

bool hth_meta_str(hth_meta *m, const char *key, const char *path, const char **out) {
    meta_value v;
    if (!look_up(m, key, path, &v)) return false;
    if (v.kv) {
        hth_code code = hth_gguf_get_str(m->gguf, v.name, out, NULL, m->err);
        if (code != HTH_OK) m->code = code;
        return code == HTH_OK;
    }
    if (v.json->kind != HTH_JSON_STRING) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is not a string", v.name);
        return false;
    }
    *out = v.json->u.str;
    return true;
}

// Item i of an array value as integer.
static bool item_int(const meta_value *v, int64_t i, int64_t *out) {
    if (v->json) return json_integer(&v->json->u.items[i], out);
    if (!is_gguf_int(v->kv->item_kind) && v->kv->item_kind != HTH_GGUF_BOOL) return false;
    *out = hth_gguf_item_i64(v->kv, (uint64_t)i);
    return true;
}

static bool is_array(const meta_value *v) {
    return v->json ? v->json->kind == HTH_JSON_ARRAY : v->kv->kind == HTH_GGUF_ARRAY;
}

static uint64_t array_len(const meta_value *v) {
    return v->json ? v->json->n : v->kv->n;
}

bool hth_meta_ints(hth_meta *m, const char *key, const char *path, int64_t lo, int64_t hi, int64_t *out,
                   int64_t n) {
    meta_value v;
    if (!look_up(m, key, path, &v)) return false;
    if (!is_array(&v)) {
        int64_t one;
        if (!hth_meta_int(m, key, path, lo, hi, &one)) return false;
        for (int64_t i = 0; i < n; i++) out[i] = one;
        return true;
    }
    if (array_len(&v) < (uint64_t)n) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s has %llu items, %lld are needed", v.name,
                      (unsigned long long)array_len(&v), (long long)n);
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!item_int(&v, i, &out[i])) {
            hth_meta_fail(m, HTH_ERR_FORMAT, "%s: item %lld is not an integer", v.name, (long long)i);
            return false;
        }
        if (!check_range(m, v.name, out[i], lo, hi)) return false;
    }
    return true;
}

bool hth_meta_nums(hth_meta *m, const char *key, const char *path, float *out, int64_t n) {
    meta_value v;
    if (!look_up(m, key, path, &v)) return false;
    bool is_numeric = is_array(&v) &&
                      (v.json || is_gguf_float(v.kv->item_kind) || is_gguf_int(v.kv->item_kind));
    if (!is_numeric || array_len(&v) != (uint64_t)n) {
        hth_meta_fail(m, HTH_ERR_FORMAT, "%s is not an array of %lld numbers", v.name, (long long)n);
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        const hth_json *item = v.json ? &v.json->u.items[i] : NULL;
        double d = NAN;
        if (!item) {
            d = hth_gguf_item_f64(v.kv, (uint64_t)i);
        } else if (item->kind == HTH_JSON_NUMBER) {
            d = item->is_int ? (double)item->u.num.i : item->u.num.d;
        }
        if (!(fabs(d) <= MAX_FLOAT)) {
            hth_meta_fail(m, HTH_ERR_FORMAT, "%s: item %lld is not a finite number", v.name, (long long)i);
            return false;
        }
        out[i] = (float)d;
    }
    return true;
}

const char *hth_meta_item(hth_meta *m, const char *path, int64_t i) {
    meta_value v;
    if (m->gguf || !look_up(m, NULL, path, &v) || v.json->kind != HTH_JSON_ARRAY || i >= (int64_t)v.json->n) {
        return NULL;
    }
    const hth_json *item = &v.json->u.items[i];
    if (item->kind == HTH_JSON_STRING) return item->u.str;
    hth_meta_fail(m, HTH_ERR_FORMAT, "%s: item %lld is not a string", v.name, (long long)i);
    return NULL;
}

float hth_meta_narrow(hth_meta *m, const char *what, double v) {
    if (fabs(v) <= MAX_FLOAT) return (float)v;
    hth_meta_fail(m, HTH_ERR_FORMAT, "%s would be %g, too large", what, v);
    return 0;
}

bool hth_meta_has(hth_meta *m, const char *key, const char *path) {
    meta_value v;
    return look_up(m, key, path, &v);
}
