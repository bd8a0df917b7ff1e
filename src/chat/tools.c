// Tools as OpenAI's API lists them: names, schemas, and what a schema says about a value's kind.
#include "chat/tools.h"

#include <string.h>

#define MAX_REFERENCES 16

static bool is_text(const hth_chat_text *t, const char *p, size_t n) {
    return t->n == n && memcmp(t->p, p, n) == 0;
}

const hth_chat_tool *hth_chat_tools_find(const hth_chat_tools *t, const char *name, size_t n) {
    for (size_t i = 0; i < t->n; i++) {
        if (is_text(&t->items[i].name, name, n)) return &t->items[i];
    }
    return NULL;
}

// Bytes of the JSON value that begins at p, which was parsed before.
static size_t value_length(const char *p, size_t n) {
    size_t depth = 0, i = 0;
    bool in_string = false;
    for (; i < n; i++) {
        if (in_string) {
            if (p[i] == '\\') {
                i++;
            } else if (p[i] == '"') {
                in_string = false;
            }
        } else if (p[i] == '"') {
            in_string = true;
        } else if (p[i] == '{' || p[i] == '[') {
            depth++;
        } else if ((p[i] == '}' || p[i] == ']') && --depth == 0) {
            return i + 1;
        }
    }
    return n;
}

static hth_code read_tool(const hth_json *v, size_t i, const char *text, size_t n, hth_chat_tool *out, hth_err *err) {
    const hth_json *inner = hth_json_get(v, "function");
    if (!inner) inner = v;
    const hth_json *name = hth_json_get(inner, "name"), *schema = hth_json_get(inner, "parameters");
    if (!name || name->kind != HTH_JSON_STRING || name->n == 0) {
        return hth_fail(err, HTH_ERR_FORMAT, "tool %zu has no name", i);
    }
    if (!schema) schema = hth_json_get(inner, "input_schema");
    if (schema && schema->kind == HTH_JSON_NULL) schema = NULL;
    if (schema && schema->kind != HTH_JSON_OBJECT) {
        return hth_fail(err, HTH_ERR_FORMAT, "the parameters of tool '%.60s' are no JSON schema", name->u.str);
    }
    *out = (hth_chat_tool){.name = {name->u.str, name->n}, .schema = schema, .strict = hth_json_bool(inner, "strict", false, NULL)};
    if (schema && schema->pos < n) {
        out->schema_text = (hth_chat_text){text + schema->pos, value_length(text + schema->pos, n - (size_t)schema->pos)};
    }
    return HTH_OK;
}

hth_code hth_chat_tools_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n, hth_chat_tools *out,
                                  hth_err *err) {
    *out = (hth_chat_tools){NULL, 0};
    if (v->kind != HTH_JSON_ARRAY) return hth_fail(err, HTH_ERR_FORMAT, "tools are no JSON array");
    hth_chat_tool *items = hth_arena_alloc(a, v->n, sizeof *items);
    if (!items) return hth_fail_nomem(err, v->n * sizeof *items);
    for (uint32_t i = 0; i < v->n; i++) HTH_TRY(read_tool(&v->u.items[i], i, text, n, &items[i], err));
    *out = (hth_chat_tools){items, v->n};
    return HTH_OK;
}

hth_chat_text hth_chat_tool_schema_text(const hth_chat_tool *t, const hth_json *part) {
    const size_t at = (size_t)(part->pos - t->schema->pos);
    return (hth_chat_text){t->schema_text.p + at, value_length(t->schema_text.p + at, t->schema_text.n - at)};
}

// ---- kinds ----

static unsigned kind_of_word(const hth_json *v) {
    static const struct {
        const char *word;
        unsigned kind;
    } rows[] = {{"string", HTH_CHAT_KIND_STRING}, {"integer", HTH_CHAT_KIND_NUMBER}, {"number", HTH_CHAT_KIND_NUMBER},
                {"boolean", HTH_CHAT_KIND_BOOL},  {"null", HTH_CHAT_KIND_NULL},      {"array", HTH_CHAT_KIND_ARRAY},
                {"object", HTH_CHAT_KIND_OBJECT}};
    for (size_t i = 0; v->kind == HTH_JSON_STRING && i < HTH_COUNT(rows); i++) {
        if (strcmp(rows[i].word, v->u.str) == 0) return rows[i].kind;
    }
    return HTH_CHAT_KIND_ALL;
}

static unsigned kind_of_value(const hth_json *v) {
    static const unsigned kinds[] = {HTH_CHAT_KIND_NULL,   HTH_CHAT_KIND_BOOL,  HTH_CHAT_KIND_NUMBER,
                                     HTH_CHAT_KIND_STRING, HTH_CHAT_KIND_ARRAY, HTH_CHAT_KIND_OBJECT};
    return kinds[v->kind];
}

// #/$defs/name
static const hth_json *follow_reference(const hth_json *root, const hth_json *v) {
    for (int i = 0; v && i < MAX_REFERENCES; i++) {
        const char *ref = hth_json_str(v, "$ref", NULL, NULL);
        if (!ref) return v;
        const bool is_defs = strncmp(ref, "#/$defs/", 8) == 0, is_definitions = strncmp(ref, "#/definitions/", 14) == 0;
        if (!is_defs && !is_definitions) return NULL;
        v = hth_json_get(hth_json_get(root, is_defs ? "$defs" : "definitions"), ref + (is_defs ? 8 : 14));
    }
    return NULL;
}

static unsigned kinds_without_branches(const hth_json *v) {
    const hth_json *type = hth_json_get(v, "type"), *values = hth_json_get(v, "enum"), *constant = hth_json_get(v, "const");
    unsigned kinds = 0;
    if (constant) return kind_of_value(constant);
    for (uint32_t i = 0; values && values->kind == HTH_JSON_ARRAY && i < values->n; i++) kinds |= kind_of_value(&values->u.items[i]);
    if (kinds) return kinds;
    if (!type) return HTH_CHAT_KIND_ALL;
    if (type->kind != HTH_JSON_ARRAY) return kind_of_word(type);
    for (uint32_t i = 0; i < type->n; i++) kinds |= kind_of_word(&type->u.items[i]);
    return kinds ? kinds : HTH_CHAT_KIND_ALL;
}

static unsigned kinds_of(const hth_json *root, const hth_json *v) {
    static const char *const branches[] = {"anyOf", "oneOf"};
    v = follow_reference(root, v);
    if (!v || v->kind != HTH_JSON_OBJECT) return HTH_CHAT_KIND_ALL;
    unsigned own = kinds_without_branches(v);
    for (size_t i = 0; i < HTH_COUNT(branches); i++) {
        const hth_json *list = hth_json_get(v, branches[i]);
        unsigned kinds = 0;
        for (uint32_t k = 0; list && list->kind == HTH_JSON_ARRAY && k < list->n; k++) {
            const hth_json *branch = follow_reference(root, &list->u.items[k]);
            kinds |= branch ? kinds_without_branches(branch) : HTH_CHAT_KIND_ALL;
        }
        if (kinds) own &= kinds;
    }
    return own ? own : HTH_CHAT_KIND_ALL;
}

unsigned hth_chat_tool_kinds(const hth_chat_tool *t, const char *key, size_t n) {
    const hth_json *properties = t->schema ? hth_json_get(t->schema, "properties") : NULL;
    if (!properties || properties->kind != HTH_JSON_OBJECT) return HTH_CHAT_KIND_ALL;
    for (uint32_t i = 0; i < properties->n; i++) {
        const hth_json_member *m = &properties->u.members[i];
        if (m->key_len == n && memcmp(m->key, key, n) == 0) return kinds_of(t->schema, &m->value);
    }
    return HTH_CHAT_KIND_ALL;
}
