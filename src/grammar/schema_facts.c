// Conjunctions: following references, collecting what all schemas of a list ask for.
#include <string.h>

#include "grammar/schema.h"

#define MAX_LIST 4096
#define MAX_DEPTH 24 // of questions that lead to other questions

void s_list_free(s_list *l) {
    hth_free(l->e);
    *l = (s_list){0};
}

bool s_add(s_schema *s, s_list *l, s_elem e) {
    if (s->b->code != HTH_OK) return false;
    for (size_t i = 0; i < l->n; i++) {
        if (l->e[i].node == e.node && l->e[i].skip == e.skip) return true;
    }
    if (l->n == MAX_LIST) return g_fail(s->b, HTH_ERR_LIMIT, "more than %d schemas hold for one value", MAX_LIST);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&l->e, &l->cap, l->n + 1, sizeof e, MAX_LIST)) return g_fail_nomem(s->b);
    l->e[l->n++] = e;
    return g_work(s->b, l->n);
}

// ---- references

static bool is_escape(const char *p, const char *end) {
    return end - p >= 3 && p[0] == '%';
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

// The next part of a JSON pointer in a URI fragment. False where there is none.
static bool next_part(const char **at, const char *end, hth_str *part) {
    hth_str_clear(part);
    if (*at >= end) return false;
    for ((*at)++; *at < end && **at != '/'; (*at)++) {
        char c = **at;
        if (is_escape(*at, end) && hex((*at)[1]) >= 0 && hex((*at)[2]) >= 0) {
            c = (char)(hex((*at)[1]) << 4 | hex((*at)[2]));
            *at += 2;
        }
        if (c == '~' && *at + 1 < end && ((*at)[1] == '0' || (*at)[1] == '1')) {
            (*at)++;
            c = **at == '0' ? '~' : '/';
        }
        (void)hth_str_putc(part, c);
    }
    return true;
}

static const hth_json *get_n(const hth_json *v, const char *key, size_t n) {
    for (uint32_t i = 0; v && v->kind == HTH_JSON_OBJECT && i < v->n; i++) {
        if (v->u.members[i].key_len == n && memcmp(v->u.members[i].key, key, n) == 0) return &v->u.members[i].value;
    }
    return NULL;
}

static const hth_json *follow(const hth_json *v, const char *at, const char *end) {
    hth_str part;
    hth_str_init(&part, HTH_MEM_TEXT, 1u << 16);
    while (v && next_part(&at, end, &part)) {
        if (part.failed) {
            v = NULL;
        } else if (v->kind == HTH_JSON_ARRAY) {
            uint32_t i = 0;
            for (size_t k = 0; k < part.len && i < v->n; k++) {
                i = part.p[k] >= '0' && part.p[k] <= '9' ? i * 10 + (uint32_t)(part.p[k] - '0') : v->n;
            }
            v = part.len > 0 && i < v->n ? &v->u.items[i] : NULL;
        } else {
            v = get_n(v, hth_str_text(&part), part.len);
        }
    }
    hth_str_free(&part);
    return v;
}

typedef struct search { // for a schema that names itself
    const char *text;
    size_t n;
    bool is_anchor;
    const hth_json *found;
    unsigned n_found;
} search;

static bool names_itself(const search *q, const hth_json *v) {
    static const char *const anchors[] = {"$anchor", "$dynamicAnchor"}, *const ids[] = {"$id", "id"};
    for (int i = 0; i < 2; i++) {
        const hth_json *name = hth_json_get(v, q->is_anchor ? anchors[i] : ids[i]);
        if (name && name->kind == HTH_JSON_STRING && name->n == q->n && memcmp(name->u.str, q->text, q->n) == 0) return true;
        const hth_json *id = hth_json_get(v, ids[i]); // "#name" in old drafts; relative to a base elsewhere
        if (!id || id->kind != HTH_JSON_STRING) continue;
        if (q->is_anchor && id->n == q->n + 1 && id->u.str[0] == '#' && memcmp(id->u.str + 1, q->text, q->n) == 0) return true;
        if (!q->is_anchor && id->n > q->n && id->u.str[id->n - q->n - 1] == '/' &&
            memcmp(id->u.str + id->n - q->n, q->text, q->n) == 0) {
            return true;
        }
    }
    return false;
}

// The document's nesting is limited by its reader, and with it this recursion.
static void search_in(search *q, const hth_json *v) {
    if (v->kind == HTH_JSON_OBJECT) {
        if (names_itself(q, v)) {
            q->found = v;
            q->n_found++;
        }
        for (uint32_t i = 0; i < v->n; i++) {
            const char *key = v->u.members[i].key;
            if (strcmp(key, "enum") != 0 && strcmp(key, "const") != 0) search_in(q, &v->u.members[i].value);
        }
    }
    for (uint32_t i = 0; v->kind == HTH_JSON_ARRAY && i < v->n; i++) search_in(q, &v->u.items[i]);
}

static const hth_json *find_named(s_schema *s, const char *text, size_t n, bool is_anchor) {
    search q = {.text = text, .n = n, .is_anchor = is_anchor};
    search_in(&q, s->root);
    return q.n_found == 1 ? q.found : NULL;
}

// What a reference points at, NULL where it is not in this document.
const hth_json *s_resolve(s_schema *s, const hth_json *node, const char *ref, uint32_t n) {
    const char *end = ref + n, *hash = memchr(ref, '#', n);
    const hth_json *at = s->root;
    (void)node;
    if (!hash) hash = end;
    if (hash > ref) at = find_named(s, ref, (size_t)(hash - ref), false);
    const hth_json *root_id = hth_json_get(s->root, "$id");
    if (!at && root_id && root_id->kind == HTH_JSON_STRING && root_id->n == (size_t)(hash - ref) &&
        memcmp(root_id->u.str, ref, root_id->n) == 0) {
        at = s->root;
    }
    if (!at || hash == end || hash + 1 == end) return at;
    return hash[1] == '/' ? follow(at, hash + 1, end) : find_named(s, hash + 1, (size_t)(end - hash - 1), true);
}

static bool add_ref(s_schema *s, const hth_json *node, const char *keyword, s_list *todo) {
    const hth_json *ref = hth_json_get(node, keyword);
    if (!ref) return true;
    if (ref->kind != HTH_JSON_STRING) return s_bad(s, node, keyword, "a reference is a string");
    const hth_json *to = s_resolve(s, node, ref->u.str, ref->n);
    if (!to) return s_refuse(s, node, keyword, "the reference leads out of this document");
    return s_add(s, todo, (s_elem){to, 0});
}

// ---- facts

static uint32_t type_bit(const char *name) {
    static const struct {
        const char *name;
        uint32_t bits;
    } types[] = {{"null", T_NULL},     {"boolean", T_BOOL}, {"integer", T_INTEGER},          {"number", T_INTEGER | T_NUMBER},
                 {"string", T_STRING}, {"array", T_ARRAY},  {"object", T_OBJECT}};
    for (size_t i = 0; i < HTH_COUNT(types); i++) {
        if (strcmp(types[i].name, name) == 0) return types[i].bits;
    }
    return 0;
}

static bool gather_type(s_schema *s, const hth_json *node, s_facts *f) {
    const hth_json *type = hth_json_get(node, "type");
    uint32_t bits = 0;
    if (!type) return true;
    const uint32_t n = type->kind == HTH_JSON_ARRAY ? type->n : 1;
    for (uint32_t i = 0; i < n; i++) {
        const hth_json *t = type->kind == HTH_JSON_ARRAY ? &type->u.items[i] : type;
        const uint32_t bit = t->kind == HTH_JSON_STRING ? type_bit(t->u.str) : 0;
        if (bit == 0) return s_bad(s, node, "type", "not a type of JSON");
        bits |= bit;
    }
    f->types &= bits;
    return true;
}

static void raise_min(s_facts *f, const s_decimal *v, bool excluded) {
    const int d = f->has_min ? s_decimal_compare(v, &f->min) : 1;
    if (d > 0) f->min = *v, f->min_excluded = excluded;
    if (d == 0) f->min_excluded |= excluded;
    f->has_min = true;
}

static void lower_max(s_facts *f, const s_decimal *v, bool excluded) {
    const int d = f->has_max ? s_decimal_compare(v, &f->max) : -1;
    if (d < 0) f->max = *v, f->max_excluded = excluded;
    if (d == 0) f->max_excluded |= excluded;
    f->has_max = true;
}

static bool gather_bound(s_schema *s, const hth_json *node, const char *keyword, const char *exclusive, bool is_min, s_facts *f) {
    const hth_json *v = hth_json_get(node, keyword), *x = hth_json_get(node, exclusive);
    s_decimal d;
    if (v) {
        if (v->kind != HTH_JSON_NUMBER || !s_decimal_of(v, &d)) return s_bad(s, node, keyword, "not a number");
        const bool excluded = x && x->kind == HTH_JSON_BOOL && x->u.b; // draft 4
        is_min ? raise_min(f, &d, excluded) : lower_max(f, &d, excluded);
    }
    if (x && x->kind != HTH_JSON_BOOL) {
        if (x->kind != HTH_JSON_NUMBER || !s_decimal_of(x, &d)) return s_bad(s, node, exclusive, "not a number");
        is_min ? raise_min(f, &d, true) : lower_max(f, &d, true);
    }
    return true;
}

static bool gather_count(s_schema *s, const hth_json *node, const char *keyword, bool is_min, uint64_t *out) {
    const hth_json *v = hth_json_get(node, keyword), *bad = NULL;
    if (!v) return true;
    const int64_t n = hth_json_int(node, keyword, -1, &bad);
    if (n < 0) return s_bad(s, node, keyword, "not a count");
    if (is_min ? (uint64_t)n > *out : (uint64_t)n < *out) *out = (uint64_t)n;
    return true;
}

static bool has_any(const hth_json *node, const char *const *keywords) {
    for (; *keywords; keywords++) {
        if (hth_json_get(node, *keywords)) return true;
    }
    return false;
}

static bool gather_counts(s_schema *s, const hth_json *n, s_facts *f) {
    return gather_count(s, n, "minLength", true, &f->min_length) && gather_count(s, n, "maxLength", false, &f->max_length) &&
           gather_count(s, n, "minItems", true, &f->min_items) && gather_count(s, n, "maxItems", false, &f->max_items) &&
           gather_count(s, n, "minProperties", true, &f->min_properties) &&
           gather_count(s, n, "maxProperties", false, &f->max_properties);
}

static uint32_t n_dependent(const hth_json *node) {
    static const char *const keywords[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    uint32_t n = 0;
    for (int i = 0; i < 3; i++) {
        const hth_json *d = hth_json_get(node, keywords[i]);
        if (d && d->kind == HTH_JSON_OBJECT) n += d->n;
    }
    return n;
}

static void find_split(const s_elem *e, s_facts *f) {
    static const struct {
        const char *keyword;
        uint32_t skip;
    } splits[] = {{"anyOf", SKIP_ANY_OF}, {"oneOf", SKIP_ONE_OF}, {"not", SKIP_NOT}, {"if", SKIP_IF}};
    for (size_t i = 0; i < HTH_COUNT(splits) && !f->split.node; i++) {
        if (!(e->skip & splits[i].skip) && hth_json_get(e->node, splits[i].keyword)) {
            f->split = *e;
            f->split_by = splits[i].keyword;
        }
    }
    if (!f->split.node && e->skip >> 8 < n_dependent(e->node)) {
        f->split = *e;
        f->split_by = "dependentRequired";
    }
}

static bool refuse_some(s_schema *s, const hth_json *node) {
    static const char *const keywords[] = {"unevaluatedProperties", "unevaluatedItems", "$recursiveRef"};
    for (size_t i = 0; i < HTH_COUNT(keywords); i++) {
        const hth_json *v = hth_json_get(node, keywords[i]);
        if (!v || (v->kind == HTH_JSON_BOOL && v->u.b)) continue;
        if (!s_refuse(s, node, keywords[i], "not supported")) return false;
    }
    return true;
}

// What holds wherever this schema holds.
static bool add_inner(s_schema *s, const hth_json *n, s_list *todo) {
    if (!add_ref(s, n, "$ref", todo) || !add_ref(s, n, "$dynamicRef", todo)) return false;
    const hth_json *all = hth_json_get(n, "allOf");
    if (all && all->kind != HTH_JSON_ARRAY) return s_bad(s, n, "allOf", "not a list");
    for (uint32_t i = 0; all && i < all->n; i++) {
        if (!s_add(s, todo, (s_elem){&all->u.items[i], 0})) return false;
    }
    return true;
}

// One schema of the conjunction; what it refers to is added to the list that is worked through.
static bool gather_one(s_schema *s, s_elem e, s_list *todo, s_facts *f) {
    static const char *const array_keywords[] = {"items", "prefixItems", "additionalItems", "contains", NULL};
    static const char *const object_keywords[] = {"properties", "required", "patternProperties", "additionalProperties",
                                                  "propertyNames", NULL};
    const hth_json *n = e.node;
    if (n->kind == HTH_JSON_BOOL) {
        f->never |= !n->u.b;
        return true;
    }
    if (n->kind != HTH_JSON_OBJECT) return s_bad(s, n, "", "a schema is an object, true or false");
    if (s->is_old && hth_json_get(n, "$ref")) return add_ref(s, n, "$ref", todo);
    if (!(e.skip & SKIP_INNER) && !add_inner(s, n, todo)) return false;
    e.skip &= ~(uint32_t)SKIP_INNER;
    const size_t n_before = f->list.n;
    if (!refuse_some(s, n) || !s_add(s, &f->list, e)) return false;
    if (f->list.n == n_before) return true; // it was there
    const hth_json *unique = hth_json_get(n, "uniqueItems"), *pattern = hth_json_get(n, "pattern"), *format = hth_json_get(n, "format");
    const hth_json *no = hth_json_get(n, HTH_KEY_NOT_ENUM);
    f->n_not += no != NULL;
    f->n_pattern += no || hth_json_get(n, HTH_KEY_NOT_PATTERN);
    f->n_enum += hth_json_get(n, "enum") || hth_json_get(n, "const");
    f->n_pattern += pattern || (format && format->kind == HTH_JSON_STRING && g_format_index(format->u.str) >= 0);
    f->n_multiple += hth_json_get(n, "multipleOf") != NULL;
    f->is_unique |= unique && unique->kind == HTH_JSON_BOOL && unique->u.b;
    f->has_items |= has_any(n, array_keywords);
    f->has_properties |= has_any(n, object_keywords);
    find_split(&e, f);
    return gather_type(s, n, f) && gather_counts(s, n, f) && gather_bound(s, n, "minimum", "exclusiveMinimum", true, f) &&
           gather_bound(s, n, "maximum", "exclusiveMaximum", false, f);
}

// Excluded values of types that have no automaton of their own.
static bool exclude_values(s_schema *s, s_facts *f) {
    for (size_t i = 0; i < f->list.n; i++) {
        const hth_json *no = hth_json_get(f->list.e[i].node, HTH_KEY_NOT_ENUM);
        for (uint32_t k = 0; no && no->kind == HTH_JSON_ARRAY && k < no->n; k++) {
            const hth_json_kind kind = no->u.items[k].kind;
            if (kind == HTH_JSON_NULL) f->types &= ~(uint32_t)T_NULL;
            const uint32_t type = kind == HTH_JSON_ARRAY ? T_ARRAY : kind == HTH_JSON_OBJECT ? T_OBJECT : 0;
            if (f->n_enum == 0 && (f->types & type) && !s_refuse(s, f->list.e[i].node, "not", "a list or an object is excluded")) {
                return false;
            }
        }
    }
    return true;
}

// What all schemas of the list and those that they refer to ask for. The facts are freed by the caller in any case.
bool s_gather(s_schema *s, const s_list *list, s_facts *f) {
    *f = (s_facts){.types = T_ALL, .max_length = UINT64_MAX, .max_items = UINT64_MAX, .max_properties = UINT64_MAX};
    s_list todo = {0};
    for (size_t i = 0; i < list->n; i++) (void)s_add(s, &todo, list->e[i]);
    for (size_t i = 0; i < todo.n && s->b->code == HTH_OK; i++) (void)gather_one(s, todo.e[i], &todo, f);
    s_list_free(&todo);
    if (f->n_not > 0 && s->b->code == HTH_OK) (void)exclude_values(s, f);
    if (f->min_length > f->max_length) f->types &= ~(uint32_t)T_STRING;
    if (f->min_items > f->max_items) f->types &= ~(uint32_t)T_ARRAY;
    if (f->min_properties > f->max_properties) f->types &= ~(uint32_t)T_OBJECT;
    if (f->has_min && f->has_max) {
        const int d = s_decimal_compare(&f->min, &f->max);
        if (d > 0 || (d == 0 && (f->min_excluded || f->max_excluded))) f->types &= ~(uint32_t)(T_INTEGER | T_NUMBER);
    }
    f->never |= f->types == 0;
    return s->b->code == HTH_OK;
}

void s_facts_free(s_facts *f) {
    s_list_free(&f->list);
}

// ---- whether nothing satisfies a conjunction

// Whether one of the values that the schema lists satisfies all.
static bool some_value_holds(s_schema *s, const s_facts *f) {
    for (size_t i = 0; i < f->list.n; i++) {
        const hth_json *values = hth_json_get(f->list.e[i].node, "enum"), *one = hth_json_get(f->list.e[i].node, "const");
        if (one) return s_holds_all(s, &f->list, one);
        if (!values || values->kind != HTH_JSON_ARRAY) continue;
        for (uint32_t k = 0; k < values->n; k++) {
            if (s_holds_all(s, &f->list, &values->u.items[k])) return true;
        }
        return false;
    }
    return true;
}

static void add_property(s_schema *s, const s_facts *f, const char *name, size_t n, s_list *out) {
    for (size_t i = 0; i < f->list.n; i++) {
        const hth_json *node = f->list.e[i].node;
        const hth_json *p = get_n(hth_json_get(node, "properties"), name, n);
        const hth_json *additional = hth_json_get(node, "additionalProperties");
        if (p) (void)s_add(s, out, (s_elem){p, 0});
        if (!p && !hth_json_get(node, "patternProperties") && additional) (void)s_add(s, out, (s_elem){additional, 0});
    }
}

// Whether a property that must be there cannot be.
static bool misses_property(s_schema *s, const s_facts *f) {
    bool found = false;
    for (size_t i = 0; i < f->list.n && !found; i++) {
        const hth_json *required = hth_json_get(f->list.e[i].node, "required");
        if (!required || required->kind != HTH_JSON_ARRAY) continue;
        for (uint32_t k = 0; k < required->n && !found; k++) {
            s_list property = {0};
            const hth_json *name = &required->u.items[k];
            if (name->kind != HTH_JSON_STRING) continue;
            add_property(s, f, name->u.str, name->n, &property);
            found = property.n > 1 && s_is_never(s, &property);
            found |= property.n == 1 && property.e[0].node->kind == HTH_JSON_BOOL && !property.e[0].node->u.b;
            s_list_free(&property);
        }
    }
    return found;
}

bool s_is_never(s_schema *s, const s_list *list) {
    s_facts f;
    if (s->depth >= MAX_DEPTH || s->b->code != HTH_OK) return false;
    s->depth++;
    bool never = s_gather(s, list, &f) && f.never;
    if (!never && s->b->code == HTH_OK && f.n_enum > 0) never = !some_value_holds(s, &f);
    if (!never && s->b->code == HTH_OK && f.types == T_OBJECT) never = misses_property(s, &f);
    s_facts_free(&f);
    s->depth--;
    return never;
}
