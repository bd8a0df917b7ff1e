// The opposite of a schema as a schema: by De Morgan, keyword by keyword. Values that may not occur are written with a
// keyword of our own, HTH_NOT_ENUM.
#include <string.h>

#include "base/json_out.h"
#include "grammar/schema.h"

#define MAX_DEPTH 16

// The reader limits how deep values are nested.
static void put_json(hth_str *out, const hth_json *v) {
    hth_json_out j = hth_json_out_make(out, false);
    switch (v->kind) {
    case HTH_JSON_NULL: (void)hth_str_puts(out, "null"); return;
    case HTH_JSON_BOOL: (void)hth_str_puts(out, v->u.b ? "true" : "false"); return;
    case HTH_JSON_NUMBER: v->is_int ? hth_json_out_int(&j, NULL, v->u.num.i) : hth_json_out_num(&j, NULL, v->u.num.d); return;
    case HTH_JSON_STRING: hth_json_out_str(&j, NULL, v->u.str, v->n); return;
    default: break;
    }
    const bool is_array = v->kind == HTH_JSON_ARRAY;
    (void)hth_str_putc(out, is_array ? '[' : '{');
    for (uint32_t i = 0; i < v->n; i++) {
        if (i > 0) (void)hth_str_putc(out, ',');
        if (!is_array) {
            hth_json_out key = hth_json_out_make(out, false);
            hth_json_out_str(&key, NULL, v->u.members[i].key, v->u.members[i].key_len);
            (void)hth_str_putc(out, ':');
        }
        put_json(out, is_array ? &v->u.items[i] : &v->u.members[i].value);
    }
    (void)hth_str_putc(out, is_array ? ']' : '}');
}

static bool negate(s_schema *s, const hth_json *v, hth_str *out, unsigned depth);

// {"anyOf" or "allOf": [the opposites]}
static bool negate_all(s_schema *s, const hth_json *list, const char *join, hth_str *out, unsigned depth) {
    if (list->kind != HTH_JSON_ARRAY) return false;
    (void)hth_str_printf(out, "{\"%s\":[", join);
    for (uint32_t i = 0; i < list->n; i++) {
        if (i > 0) (void)hth_str_putc(out, ',');
        if (!negate(s, &list->u.items[i], out, depth)) return false;
    }
    (void)hth_str_puts(out, "]}");
    return true;
}

static bool negate_type(const hth_json *type, hth_str *out) {
    static const char *const all[] = {"null", "boolean", "number", "string", "array", "object"};
    bool has[HTH_COUNT(all)] = {false};
    const uint32_t n = type->kind == HTH_JSON_ARRAY ? type->n : 1;
    for (uint32_t i = 0; i < n; i++) {
        const hth_json *t = type->kind == HTH_JSON_ARRAY ? &type->u.items[i] : type;
        size_t k = 0;
        while (k < HTH_COUNT(all) && (t->kind != HTH_JSON_STRING || strcmp(all[k], t->u.str) != 0)) k++;
        if (k == HTH_COUNT(all)) return false; // integer: numbers that are none have no name
        has[k] = true;
    }
    (void)hth_str_puts(out, "{\"type\":[");
    bool first = true;
    for (size_t k = 0; k < HTH_COUNT(all); k++) {
        if (has[k]) continue;
        (void)hth_str_printf(out, "%s\"%s\"", first ? "" : ",", all[k]);
        first = false;
    }
    (void)hth_str_puts(out, "]}");
    return !first;
}

// A bound of one type turned around: {"type": type, keyword: value + add}
static bool negate_bound(const char *type, const char *keyword, const hth_json *v, int64_t add, hth_str *out) {
    if (v->kind != HTH_JSON_NUMBER) return false;
    if (add != 0 && (!v->is_int || v->u.num.i + add < 0)) {
        (void)hth_str_puts(out, "false");
        return v->is_int;
    }
    (void)hth_str_printf(out, "{\"type\":\"%s\",\"%s\":", type, keyword);
    if (add != 0) {
        (void)hth_str_printf(out, "%lld", (long long)(v->u.num.i + add));
    } else {
        put_json(out, v);
    }
    (void)hth_str_putc(out, '}');
    return true;
}

static bool negate_required(const hth_json *names, hth_str *out) {
    if (names->kind != HTH_JSON_ARRAY) return false;
    (void)hth_str_puts(out, "{\"anyOf\":[");
    for (uint32_t i = 0; i < names->n; i++) {
        (void)hth_str_printf(out, "%s{\"type\":\"object\",\"properties\":{", i > 0 ? "," : "");
        put_json(out, &names->u.items[i]);
        (void)hth_str_puts(out, ":false}}");
    }
    (void)hth_str_puts(out, "]}");
    return true;
}

static bool negate_properties(s_schema *s, const hth_json *props, hth_str *out, unsigned depth) {
    if (props->kind != HTH_JSON_OBJECT) return false;
    (void)hth_str_puts(out, "{\"anyOf\":[");
    for (uint32_t i = 0; i < props->n; i++) {
        const hth_json key = {.kind = HTH_JSON_STRING, .n = props->u.members[i].key_len, .u.str = props->u.members[i].key};
        (void)hth_str_printf(out, "%s{\"type\":\"object\",\"required\":[", i > 0 ? "," : "");
        put_json(out, &key);
        (void)hth_str_puts(out, "],\"properties\":{");
        put_json(out, &key);
        (void)hth_str_putc(out, ':');
        if (!negate(s, &props->u.members[i].value, out, depth)) return false;
        (void)hth_str_puts(out, "}}");
    }
    (void)hth_str_puts(out, "]}");
    return true;
}

static bool negate_ref(s_schema *s, const hth_json *ref, hth_str *out, unsigned depth) {
    if (ref->kind != HTH_JSON_STRING) return false;
    const hth_json *to = s_resolve(s, ref, ref->u.str, ref->n);
    return to && negate(s, to, out, depth);
}

static bool is_annotation(const char *key) {
    static const char *const names[] = {"title", "description", "default", "examples", "$schema", "$id", "id", "$comment", "deprecated",
                                        "readOnly", "writeOnly", "$defs", "definitions", "then", "else", "$anchor"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        if (strcmp(names[i], key) == 0) return true;
    }
    return false;
}

static bool negate_keyword(s_schema *s, const hth_json_member *m, hth_str *out, unsigned depth) {
    static const struct {
        const char *keyword, *type, *opposite;
        int add;
    } bounds[] = {{"minimum", "number", "exclusiveMaximum", 0}, {"maximum", "number", "exclusiveMinimum", 0},
                  {"exclusiveMinimum", "number", "maximum", 0}, {"exclusiveMaximum", "number", "minimum", 0},
                  {"minLength", "string", "maxLength", -1},     {"maxLength", "string", "minLength", 1},
                  {"minItems", "array", "maxItems", -1},        {"maxItems", "array", "minItems", 1},
                  {"minProperties", "object", "maxProperties", -1}, {"maxProperties", "object", "minProperties", 1}};
    const hth_json *v = &m->value;
    const char *k = m->key;
    for (size_t i = 0; i < HTH_COUNT(bounds); i++) {
        if (strcmp(bounds[i].keyword, k) == 0) return negate_bound(bounds[i].type, bounds[i].opposite, v, bounds[i].add, out);
    }
    if (strcmp(k, "type") == 0) return negate_type(v, out);
    if (strcmp(k, "required") == 0) return negate_required(v, out);
    if (strcmp(k, "properties") == 0) return negate_properties(s, v, out, depth);
    if (strcmp(k, "anyOf") == 0) return negate_all(s, v, "allOf", out, depth);
    if (strcmp(k, "allOf") == 0) return negate_all(s, v, "anyOf", out, depth);
    if (strcmp(k, "$ref") == 0) return negate_ref(s, v, out, depth);
    if (strcmp(k, "const") == 0 || strcmp(k, "enum") == 0) {
        (void)hth_str_printf(out, "{\"%s\":%s", HTH_NOT_ENUM, *k == 'c' ? "[" : "");
        put_json(out, v);
        (void)hth_str_puts(out, *k == 'c' ? "]}" : "}");
        return true;
    }
    if (strcmp(k, "pattern") == 0) {
        (void)hth_str_printf(out, "{\"type\":\"string\",\"%s\":", HTH_NOT_PATTERN);
        put_json(out, v);
        (void)hth_str_putc(out, '}');
        return true;
    }
    if (strcmp(k, "not") == 0) {
        put_json(out, v);
        return true;
    }
    return false;
}

// Writes the opposite; false where it cannot be said.
static bool negate(s_schema *s, const hth_json *v, hth_str *out, unsigned depth) {
    if (v->kind == HTH_JSON_BOOL) {
        put_json(out, &(hth_json){.kind = HTH_JSON_BOOL, .u.b = !v->u.b});
        return true;
    }
    if (v->kind != HTH_JSON_OBJECT || depth >= MAX_DEPTH || out->failed) return false;
    bool first = true;
    (void)hth_str_puts(out, "{\"anyOf\":[");
    for (uint32_t i = 0; i < v->n; i++) {
        if (is_annotation(v->u.members[i].key)) continue;
        if (!first) (void)hth_str_putc(out, ',');
        first = false;
        if (!negate_keyword(s, &v->u.members[i], out, depth + 1)) return false;
    }
    (void)hth_str_puts(out, first ? "false]}" : "]}");
    return true;
}

const hth_json *s_negate(s_schema *s, const hth_json *v) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, 1u << 20);
    const hth_json *made = negate(s, v, &text, 0) && !text.failed ? s_derive(s, &text) : NULL;
    hth_str_free(&text);
    return made;
}
