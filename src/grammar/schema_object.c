// Objects. Properties come in the order of the schema; what is not named there comes last, in any order.
//
//   state (i, c): the properties before the i-th are behind us, c of them were written (as far as it matters)
#include <string.h>

#include "grammar/schema.h"

#define MAX_PATTERNS 4
#define MAX_STATES 200000u

typedef struct property {
    const char *name;
    uint32_t n_name;
    bool is_required;
    s_list list; // owned: what its value must satisfy
} property;

typedef struct pattern {
    const hth_json_member *member; // of patternProperties
    size_t elem;                   // of the conjunction
} pattern;

typedef struct object {
    s_schema *s;
    const s_facts *f;
    property *props; // owned
    size_t n_prop, cap_prop;
    hth_map by_name;
    pattern *patterns; // owned
    size_t n_pattern, cap_pattern;
    s_list names; // owned: propertyNames
    uint64_t min, max;
    uint32_t n_count; // values of c: 0 to n_count - 1, the last one for more too where max is open
} object;

static bool find_property(object *o, const char *name, uint32_t n, property **out) {
    uint32_t i;
    bool was_there;
    if (!hth_map_insert(&o->by_name, name, n, (uint32_t)o->n_prop, &i, &was_there)) return g_fail_nomem(o->s->b);
    if (!was_there) {
        i = (uint32_t)o->n_prop;
        if (!hth_grow(HTH_MEM_TEXT, (void **)&o->props, &o->cap_prop, o->n_prop + 1, sizeof *o->props, 1u << 20)) {
            return g_fail_nomem(o->s->b);
        }
        o->props[o->n_prop++] = (property){.name = name, .n_name = n};
    }
    *out = &o->props[i];
    return true;
}

// The names that any schema of the conjunction names, in their order; then what is required without being named.
static bool collect_names(object *o) {
    s_schema *s = o->s;
    property *p;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < o->f->list.n; i++) {
            const hth_json *node = o->f->list.e[i].node;
            const hth_json *props = hth_json_get(node, "properties"), *required = hth_json_get(node, "required");
            if (props && props->kind != HTH_JSON_OBJECT) return s_bad(s, node, "properties", "not an object");
            for (uint32_t k = 0; round == 0 && props && k < props->n; k++) {
                if (!find_property(o, props->u.members[k].key, props->u.members[k].key_len, &p)) return false;
            }
            if (required && required->kind == HTH_JSON_BOOL) continue; // draft 3
            if (required && required->kind != HTH_JSON_ARRAY) return s_bad(s, node, "required", "not a list");
            for (uint32_t k = 0; round == 1 && required && k < required->n; k++) {
                const hth_json *name = &required->u.items[k];
                if (name->kind != HTH_JSON_STRING) return s_bad(s, node, "required", "not a list of strings");
                if (!find_property(o, name->u.str, name->n, &p)) return false;
                p->is_required = true;
            }
        }
    }
    return true;
}

static bool collect_patterns(object *o) {
    for (size_t i = 0; i < o->f->list.n; i++) {
        const hth_json *node = o->f->list.e[i].node, *patterns = hth_json_get(node, "patternProperties");
        const hth_json *names = hth_json_get(node, "propertyNames");
        if (names && !s_add(o->s, &o->names, (s_elem){names, 0})) return false;
        if (!patterns) continue;
        if (patterns->kind != HTH_JSON_OBJECT) return s_bad(o->s, node, "patternProperties", "not an object");
        for (uint32_t k = 0; k < patterns->n; k++) {
            if (!hth_grow(HTH_MEM_TEXT, (void **)&o->patterns, &o->cap_pattern, o->n_pattern + 1, sizeof *o->patterns, 1u << 16)) {
                return g_fail_nomem(o->s->b);
            }
            o->patterns[o->n_pattern++] = (pattern){&patterns->u.members[k], i};
        }
    }
    return true;
}

static hth_json pattern_text(const pattern *p) {
    return (hth_json){.kind = HTH_JSON_STRING, .n = p->member->key_len, .u.str = p->member->key};
}

// What the value of a property must satisfy; matched[i] says which patterns its name matches.
static bool collect_value(object *o, const char *name, uint32_t n_name, const bool *matched, s_list *out) {
    for (size_t i = 0; i < o->f->list.n; i++) {
        const hth_json *node = o->f->list.e[i].node, *props = hth_json_get(node, "properties");
        bool is_known = false;
        for (uint32_t k = 0; name && props && k < props->n; k++) {
            const hth_json_member *m = &props->u.members[k];
            if (m->key_len != n_name || memcmp(m->key, name, n_name) != 0) continue;
            is_known = true;
            if (!s_add(o->s, out, (s_elem){&m->value, 0})) return false;
        }
        for (size_t k = 0; k < o->n_pattern; k++) {
            if (o->patterns[k].elem != i || !matched[k]) continue;
            is_known = true;
            if (!s_add(o->s, out, (s_elem){&o->patterns[k].member->value, 0})) return false;
        }
        const hth_json *rest = hth_json_get(node, "additionalProperties");
        if (!is_known && rest && !s_add(o->s, out, (s_elem){rest, 0})) return false;
    }
    return true;
}

static bool collect_values(object *o) {
    bool *matched = hth_calloc(HTH_MEM_TEXT, o->n_pattern + 1, 1);
    bool ok = matched || g_fail_nomem(o->s->b);
    for (size_t i = 0; i < o->n_prop && ok; i++) {
        property *p = &o->props[i];
        const hth_json name = {.kind = HTH_JSON_STRING, .n = p->n_name, .u.str = p->name};
        for (size_t k = 0; k < o->n_pattern; k++) {
            const hth_json text = pattern_text(&o->patterns[k]);
            matched[k] = s_pattern_matches(o->s, &text, p->name, p->n_name);
        }
        ok = collect_value(o, p->name, p->n_name, matched, &p->list);
        static const hth_json never = {.kind = HTH_JSON_BOOL};
        if (ok && o->names.n > 0 && !s_holds_all(o->s, &o->names, &name)) ok = s_add(o->s, &p->list, (s_elem){&never, 0});
    }
    hth_free(matched);
    return ok && o->s->b->code == HTH_OK;
}

// ---- edges

static uint32_t state_at(const object *o, uint32_t first, size_t i, uint32_t c) {
    return first + (uint32_t)i * o->n_count + c;
}

// The count after one more property, or G_NONE where there may be no more.
static uint32_t count_after(const object *o, uint32_t c) {
    if (o->max != UINT64_MAX) return c < o->max ? c + 1 : G_NONE;
    return c + 1 < o->n_count ? c + 1 : c;
}

// "key": value from one state to another; the first of an object has no comma before it.
static void add_member(object *o, uint32_t from, bool is_first, g_rx key, uint32_t rule, uint32_t to) {
    g_build *b = o->s->b;
    g_rx before = is_first ? o->s->ws : o->s->comma;
    const uint32_t mid = g_state(b);
    g_edge_rx(b, from, g_rx_cat3(b, before, key, o->s->colon), mid);
    g_edge_add(b, mid, EDGE_RULE, rule, to);
}

static g_rx key_rx(g_build *b, const char *name, uint32_t n, g_encoding enc) {
    g_rx quote = g_rx_text(b, "\"");
    return g_rx_cat3(b, quote, g_rx_string(b, name, n, enc), quote);
}

static void add_named(object *o, uint32_t first, size_t i) {
    g_build *b = o->s->b;
    const property *p = &o->props[i];
    const bool is_never = p->list.n == 1 && p->list.e[0].node->kind == HTH_JSON_BOOL && !p->list.e[0].node->u.b;
    const uint32_t rule = is_never ? 0 : s_rule_of(o->s, &p->list);
    g_rx key = is_never ? 0 : key_rx(b, p->name, p->n_name, ENC_JSON_PLAIN);
    for (uint32_t c = 0; c < o->n_count && b->code == HTH_OK; c++) {
        const uint32_t next = count_after(o, c);
        if (!p->is_required) g_edge_empty(b, state_at(o, first, i, c), state_at(o, first, i + 1, c));
        if (next == G_NONE || is_never) continue;
        add_member(o, state_at(o, first, i, c), c == 0, key, rule, state_at(o, first, i + 1, next));
    }
}

// Keys that match exactly the patterns of `subset`, have no name of their own and satisfy propertyNames.
static g_rx free_keys(object *o, unsigned subset) {
    s_schema *s = o->s;
    g_build *b = s->b;
    s_facts names;
    bool ok = s_gather(s, &o->names, &names);
    names.types &= T_STRING;
    g_rx key = 0;
    if (ok && names.types && !names.never) key = names.n_enum > 0 ? s_values_rx(s, &names) : s_string_rx(s, &names);
    s_facts_free(&names);
    if (!key) return b->code == HTH_OK ? g_rx_never(b) : 0;
    for (size_t k = 0; k < o->n_pattern; k++) {
        const hth_json text = pattern_text(&o->patterns[k]);
        g_rx quote = g_rx_text(b, "\""), one = g_rx_cat3(b, quote, s_pattern_rx(s, &text, ENC_JSON), quote);
        key = subset >> k & 1 ? g_rx_and(b, key, one) : g_rx_except(b, key, one);
    }
    if (o->n_prop == 0) return key;
    g_rx *list = hth_calloc(HTH_MEM_TEXT, o->n_prop, sizeof *list);
    if (!list) return g_fail_nomem(b);
    for (size_t i = 0; i < o->n_prop; i++) list[i] = key_rx(b, o->props[i].name, o->props[i].n_name, ENC_JSON);
    g_rx named = g_rx_alt(b, list, o->n_prop);
    hth_free(list);
    return g_rx_except(b, key, named);
}

static bool is_never(const s_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        if (l->e[i].node->kind == HTH_JSON_BOOL && !l->e[i].node->u.b) return true;
    }
    return false;
}

// Members without a name in the schema, at the end. *any tells whether there can be some.
static void add_free(object *o, uint32_t first, bool *any) {
    g_build *b = o->s->b;
    *any = false;
    for (unsigned subset = 0; subset < 1u << o->n_pattern && b->code == HTH_OK; subset++) {
        bool matched[MAX_PATTERNS];
        s_list list = {0};
        for (size_t k = 0; k < o->n_pattern; k++) matched[k] = subset >> k & 1;
        if (collect_value(o, NULL, 0, matched, &list) && !is_never(&list)) {
            g_rx key = free_keys(o, subset);
            const uint32_t dfa = g_dfa_of(b, key), rule = s_rule_of(o->s, &list);
            if (dfa != G_NONE && !g_dfa_is_never(&b->dfas[dfa])) {
                *any = true;
                for (uint32_t c = 0; c < o->n_count && b->code == HTH_OK; c++) {
                    const uint32_t next = count_after(o, c);
                    if (next == G_NONE) continue;
                    add_member(o, state_at(o, first, o->n_prop, c), c == 0, g_rx_dfa(b, dfa), rule, state_at(o, first, o->n_prop, next));
                }
            }
        }
        s_list_free(&list);
    }
}

static bool fits(object *o) {
    const uint64_t needed = o->max != UINT64_MAX ? o->max : o->min;
    if (o->n_prop > o->s->b->limits.alternatives || needed >= MAX_STATES / (o->n_prop + 2)) {
        return g_fail(o->s->b, HTH_ERR_LIMIT, "an object with %zu properties of which %llu are counted is too large", o->n_prop,
                      (unsigned long long)needed);
    }
    o->n_count = (uint32_t)(needed > 1 ? needed : 1) + 1;
    return true;
}

static const hth_json *who_asks(const object *o, const char *keyword) {
    for (size_t i = 0; i < o->f->list.n; i++) {
        if (hth_json_get(o->f->list.e[i].node, keyword)) return o->f->list.e[i].node;
    }
    return o->s->root;
}

static bool too_many_patterns(object *o) {
    if (o->n_pattern <= MAX_PATTERNS) return false;
    if (s_refuse(o->s, who_asks(o, "patternProperties"), "patternProperties", "more than four patterns hold for one object")) {
        o->n_pattern = MAX_PATTERNS;
        return false;
    }
    return true;
}

static void build(object *o, uint32_t rule) {
    s_schema *s = o->s;
    g_build *b = s->b;
    size_t n_required = 0;
    bool any_free;
    if (!collect_names(o) || !collect_patterns(o) || too_many_patterns(o) || !collect_values(o)) return;
    for (size_t i = 0; i < o->n_prop; i++) n_required += o->props[i].is_required;
    if (o->max > o->n_prop + (1u << 20)) o->max = UINT64_MAX; // no object is so large
    if (o->min <= n_required) o->min = 0;
    if (!fits(o)) return;
    const uint32_t first = g_state(b);
    for (size_t i = 1; i < (o->n_prop + 1) * o->n_count; i++) (void)g_state(b);
    if (b->code != HTH_OK) return;
    g_edge_rx(b, b->rules[rule].start, g_rx_text(b, "{"), first);
    for (size_t i = 0; i < o->n_prop; i++) add_named(o, first, i);
    add_free(o, first, &any_free);
    // A key that is written twice is one property, but counts as two here.
    if (any_free && o->min > n_required + 1 &&
        !s_refuse(s, who_asks(o, "minProperties"), "minProperties", "names that are free could be repeated")) {
        return;
    }
    g_rx close = g_rx_cat2(b, s->ws, g_rx_text(b, "}"));
    for (uint32_t c = 0; c < o->n_count && b->code == HTH_OK; c++) {
        if (c >= o->min) g_edge_rx(b, state_at(o, first, o->n_prop, c), close, b->rules[rule].end);
    }
}

void s_object(s_schema *s, const s_facts *f, uint32_t rule) {
    object o = {.s = s, .f = f, .min = f->min_properties, .max = f->max_properties};
    if (!hth_map_init(&o.by_name, HTH_MEM_TEXT, 16)) {
        g_fail_nomem(s->b);
        return;
    }
    build(&o, rule);
    for (size_t i = 0; i < o.n_prop; i++) s_list_free(&o.props[i].list);
    hth_map_free(&o.by_name);
    hth_free(o.props);
    hth_free(o.patterns);
    s_list_free(&o.names);
}
