// Conjunctions with branches: one conjunction per branch. What excludes something (not, if, oneOf) is turned into branches
// that say what is left, where that can be said.
#include <string.h>

#include "base/json_out.h"
#include "grammar/schema.h"

#define MAX_ONE_OF 200

// The conjunction with the branches of its split marked as done. It holds already what its schemas refer to: were that
// added again, its branches would not be marked.
static void list_without(s_schema *s, const s_facts *f, uint32_t skip, s_list *out) {
    for (size_t i = 0; i < f->list.n; i++) {
        s_elem e = f->list.e[i];
        if (e.node == f->split.node && e.skip == f->split.skip) e.skip = skip;
        e.skip |= SKIP_INNER;
        (void)s_add(s, out, e);
    }
}

static void add_branch(s_schema *s, const s_facts *f, uint32_t skip, const hth_json *const *more, size_t n, uint32_t rule) {
    s_list list = {0};
    list_without(s, f, skip, &list);
    for (size_t i = 0; i < n; i++) (void)s_add(s, &list, (s_elem){more[i], 0});
    const uint32_t branch = s_rule_of(s, &list);
    if (s->b->code == HTH_OK) g_edge_add(s->b, s->b->rules[rule].start, EDGE_RULE, branch, s->b->rules[rule].end);
    s_list_free(&list);
}

static bool are_apart(s_schema *s, const s_facts *f, uint32_t skip, const hth_json *x, const hth_json *y) {
    s_list list = {0};
    list_without(s, f, skip, &list);
    (void)s_add(s, &list, (s_elem){x, 0});
    (void)s_add(s, &list, (s_elem){y, 0});
    const bool apart = s_is_never(s, &list);
    s_list_free(&list);
    return apart;
}

// Whether no value can satisfy two of the branches.
static bool check_one_of(s_schema *s, const s_facts *f, uint32_t skip, const hth_json *branches) {
    const hth_json *node = f->split.node;
    if (branches->n > MAX_ONE_OF) return s_refuse(s, node, "oneOf", "more than 200 branches");
    for (uint32_t i = 0; i < branches->n; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (are_apart(s, f, skip, &branches->u.items[i], &branches->u.items[k])) continue;
            char why[80];
            hth_str text;
            hth_str_init(&text, HTH_MEM_TEXT, sizeof why);
            (void)hth_str_printf(&text, "branches %u and %u may hold for the same value", k, i);
            const bool ok = s_refuse(s, node, "oneOf", hth_str_text(&text));
            hth_str_free(&text);
            return ok;
        }
    }
    return s->b->code == HTH_OK;
}

static void split_branches(s_schema *s, const s_facts *f, const char *keyword, uint32_t skip, uint32_t rule) {
    const hth_json *branches = hth_json_get(f->split.node, keyword);
    if (branches->kind != HTH_JSON_ARRAY) {
        s_bad(s, f->split.node, keyword, "not a list");
        return;
    }
    if (skip & SKIP_ONE_OF && strcmp(keyword, "oneOf") == 0 && !check_one_of(s, f, skip, branches)) return;
    for (uint32_t i = 0; i < branches->n && s->b->code == HTH_OK; i++) {
        const hth_json *one = &branches->u.items[i];
        add_branch(s, f, skip, &one, 1, rule);
    }
}

// ---- what depends on properties

static const hth_json_member *dependent_at(const hth_json *node, uint32_t i) {
    static const char *const keywords[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    for (int k = 0; k < 3; k++) {
        const hth_json *d = hth_json_get(node, keywords[k]);
        if (!d || d->kind != HTH_JSON_OBJECT) continue;
        if (i < d->n) return &d->u.members[i];
        i -= d->n;
    }
    return NULL;
}

// {"required": [name, ...]}, and in `absent` {"properties": {name: false}}.
static void write_dependent(const hth_json_member *m, hth_str *present, hth_str *absent) {
    hth_json_out j = hth_json_out_make(present, false), k = hth_json_out_make(absent, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_begin(&j, "required", '[');
    hth_json_out_str(&j, NULL, m->key, m->key_len);
    for (uint32_t i = 0; m->value.kind == HTH_JSON_ARRAY && i < m->value.n; i++) {
        const hth_json *name = &m->value.u.items[i];
        if (name->kind == HTH_JSON_STRING) hth_json_out_str(&j, NULL, name->u.str, name->n);
    }
    if (m->value.kind == HTH_JSON_STRING) hth_json_out_str(&j, NULL, m->value.u.str, m->value.n);
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    hth_json_out_begin(&k, NULL, '{');
    hth_json_out_begin(&k, "properties", '{');
    hth_json_out_str(&k, NULL, m->key, m->key_len); // a name may hold a zero byte, a key of the writer cannot
    (void)hth_str_puts(absent, ":false");
    hth_json_out_end(&k, '}');
    hth_json_out_end(&k, '}');
}

static void split_dependent(s_schema *s, const s_facts *f, uint32_t rule) {
    const uint32_t at = f->split.skip >> 8, skip = ((at + 1) << 8) | (f->split.skip & 255);
    const hth_json_member *m = dependent_at(f->split.node, at);
    hth_str present, absent;
    hth_str_init(&present, HTH_MEM_TEXT, 1u << 20);
    hth_str_init(&absent, HTH_MEM_TEXT, 1u << 20);
    write_dependent(m, &present, &absent);
    const hth_json *with[2] = {s_derive(s, &present), &m->value}, *without = s_derive(s, &absent);
    hth_str_free(&present);
    hth_str_free(&absent);
    if (s->b->code != HTH_OK) return;
    const bool is_schema = m->value.kind == HTH_JSON_OBJECT || m->value.kind == HTH_JSON_BOOL;
    add_branch(s, f, skip, with, is_schema ? 2 : 1, rule);
    add_branch(s, f, skip, &without, 1, rule);
}

// ---- not, if

static void split_not(s_schema *s, const s_facts *f, uint32_t rule) {
    const uint32_t skip = f->split.skip | SKIP_NOT;
    const hth_json *rest = s_negate(s, hth_json_get(f->split.node, "not"));
    if (s->b->code != HTH_OK) return;
    if (!rest && !s_refuse(s, f->split.node, "not", "what is left cannot be described")) return;
    add_branch(s, f, skip, &rest, rest != NULL, rule);
}

static void split_if(s_schema *s, const s_facts *f, uint32_t rule) {
    const uint32_t skip = f->split.skip | SKIP_IF;
    const hth_json *node = f->split.node, *cond = hth_json_get(node, "if");
    const hth_json *then = hth_json_get(node, "then"), *other = hth_json_get(node, "else");
    const hth_json *rest = NULL;
    if (!then && !other) {
        add_branch(s, f, skip, NULL, 0, rule);
        return;
    }
    rest = s_negate(s, cond);
    if (s->b->code != HTH_OK) return;
    if (!rest) {
        if (s_refuse(s, node, "if", "its opposite cannot be described")) add_branch(s, f, skip, NULL, 0, rule);
        return;
    }
    const hth_json *yes[2] = {cond, then}, *no[2] = {rest, other};
    add_branch(s, f, skip, yes, then ? 2 : 1, rule);
    add_branch(s, f, skip, no, other ? 2 : 1, rule);
}

void s_split(s_schema *s, const s_facts *f, uint32_t rule) {
    const uint32_t skip = f->split.skip;
    if (strcmp(f->split_by, "anyOf") == 0) {
        split_branches(s, f, "anyOf", skip | SKIP_ANY_OF, rule);
    } else if (strcmp(f->split_by, "oneOf") == 0) {
        split_branches(s, f, "oneOf", skip | SKIP_ONE_OF, rule);
    } else if (strcmp(f->split_by, "not") == 0) {
        split_not(s, f, rule);
    } else if (strcmp(f->split_by, "if") == 0) {
        split_if(s, f, rule);
    } else {
        split_dependent(s, f, rule);
    }
}
