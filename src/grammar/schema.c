// JSON schemas: from the document to rules.
#include "grammar/schema.h"

#include <string.h>

#include "base/json_out.h"
#include "grammar/impl.h"

#define MAX_TEXT (16u << 20)
#define MAX_RULES 100000u

// ---- places in the document

typedef struct way { // one step from a value to a value inside it
    const hth_json *at;
    uint32_t next;
} way;

static void put_escaped(hth_str *out, const char *key, uint32_t n) {
    (void)hth_str_putc(out, '/');
    for (uint32_t i = 0; i < n; i++) {
        if (key[i] == '~' || key[i] == '/') {
            (void)hth_str_puts(out, key[i] == '~' ? "~0" : "~1");
        } else {
            (void)hth_str_putc(out, key[i]);
        }
    }
}

// Writes the JSON pointer of a value of the document, by looking for it.
void s_path(const s_schema *s, const hth_json *node, hth_str *out) {
    way ways[HTH_JSON_MAX_DEPTH + 1];
    size_t n = 0;
    ways[n++] = (way){s->root, 0};
    while (n > 0 && ways[n - 1].at != node) {
        way *w = &ways[n - 1];
        const bool has_more = (w->at->kind == HTH_JSON_ARRAY || w->at->kind == HTH_JSON_OBJECT) && w->next < w->at->n;
        if (!has_more || n > HTH_JSON_MAX_DEPTH) {
            n--;
            continue;
        }
        const hth_json *inner = w->at->kind == HTH_JSON_ARRAY ? &w->at->u.items[w->next] : &w->at->u.members[w->next].value;
        w->next++;
        ways[n++] = (way){inner, 0};
    }
    if (n == 0) (void)hth_str_puts(out, "(derived)");
    for (size_t i = 0; i + 1 < n; i++) {
        const hth_json *v = ways[i].at;
        if (v->kind == HTH_JSON_ARRAY) {
            (void)hth_str_printf(out, "/%u", ways[i].next - 1);
        } else {
            const hth_json_member *m = &v->u.members[ways[i].next - 1];
            put_escaped(out, m->key, m->key_len);
        }
    }
}

static void put_place(const s_schema *s, const hth_json *node, const char *keyword, hth_str *out) {
    hth_str_init(out, HTH_MEM_TEXT, 1u << 16);
    s_path(s, node, out);
    if (*keyword) (void)hth_str_printf(out, "/%s", keyword);
}

bool s_bad(s_schema *s, const hth_json *node, const char *keyword, const char *why) {
    hth_str place;
    put_place(s, node, keyword, &place);
    g_fail(s->b, HTH_ERR_FORMAT, "schema, at %s: %s", hth_str_text(&place), why);
    hth_str_free(&place);
    return false;
}

bool s_tell(s_schema *s, const hth_json *node, const char *keyword) {
    hth_str place;
    put_place(s, node, keyword, &place);
    if (s->b->code != HTH_OK && s->b->err) {
        (void)hth_str_puts(&place, "");
        s->b->code = hth_fail_in(s->b->err, s->b->code, hth_str_text(&place));
        s->b->code = hth_fail_in(s->b->err, s->b->code, "schema");
    }
    hth_str_free(&place);
    return false;
}

static bool note_widened(s_schema *s, const char *place, size_t n) {
    g_build *b = s->b;
    for (size_t i = 0; i < b->n_widened; i++) {
        if (strcmp(b->widened[i], place) == 0) return true;
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->widened, &b->cap_widened, b->n_widened + 1, sizeof *b->widened, 1u << 16)) {
        return g_fail_nomem(b);
    }
    char *copy = g_alloc(b, n + 1, 1);
    if (!copy) return false;
    memcpy(copy, place, n);
    b->widened[b->n_widened++] = copy;
    return true;
}

bool s_refuse(s_schema *s, const hth_json *node, const char *keyword, const char *why) {
    hth_str place;
    bool ok;
    if (s->b->code != HTH_OK) return false;
    put_place(s, node, keyword, &place);
    if (s->b->lenient) {
        ok = note_widened(s, hth_str_text(&place), place.len);
    } else {
        ok = g_fail(s->b, HTH_ERR_UNSUPPORTED, "schema, at %s: cannot be enforced: %s", hth_str_text(&place), why);
    }
    hth_str_free(&place);
    return ok;
}

const hth_json *s_derive(s_schema *s, const hth_str *text) {
    hth_json_doc *doc;
    if (s->b->code != HTH_OK) return NULL;
    if (text->failed || !hth_grow(HTH_MEM_TEXT, (void **)&s->made, &s->cap_doc, s->n_doc + 1, sizeof *s->made, 1u << 16)) {
        g_fail_nomem(s->b);
        return NULL;
    }
    s->b->code = hth_json_parse(hth_str_text(text), text->len, MAX_TEXT, &doc, s->b->err);
    if (s->b->code != HTH_OK) return NULL;
    s->made[s->n_doc++] = doc;
    return hth_json_root(doc);
}

// ---- rules

static bool same_list(const s_list *a, const s_list *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (a->e[i].node != b->e[i].node || a->e[i].skip != b->e[i].skip) return false;
    }
    return true;
}

// One schema that holds for everything adds nothing.
static bool is_trivial(const hth_json *v) {
    return (v->kind == HTH_JSON_BOOL && v->u.b) || (v->kind == HTH_JSON_OBJECT && v->n == 0);
}

static size_t hash_list(const s_list *l) {
    uint64_t h = 0;
    for (size_t i = 0; i < l->n; i++) {
        const uint64_t key[2] = {(uint64_t)(uintptr_t)l->e[i].node, l->e[i].skip};
        h = hth_hash(key, sizeof key, h);
    }
    return (size_t)h;
}

static bool grow_index(s_schema *s) {
    const size_t n = s->n_slot ? s->n_slot * 2 : 64;
    uint32_t *slots = hth_calloc(HTH_MEM_TEXT, n, sizeof *slots);
    if (!slots) return g_fail_nomem(s->b);
    for (size_t i = 0; i < s->n_rule; i++) {
        size_t k = hash_list(&s->rules[i].list) & (n - 1);
        while (slots[k]) k = (k + 1) & (n - 1);
        slots[k] = (uint32_t)i + 1;
    }
    hth_free(s->slots);
    s->slots = slots;
    s->n_slot = n;
    return true;
}

uint32_t s_rule_of(s_schema *s, const s_list *list) {
    s_list l = {0};
    for (size_t i = 0; i < list->n; i++) {
        if (!is_trivial(list->e[i].node)) (void)s_add(s, &l, list->e[i]);
    }
    if (s->b->code != HTH_OK || ((s->n_rule + 1) * 2 > s->n_slot && !grow_index(s))) {
        s_list_free(&l);
        return 0;
    }
    size_t k = hash_list(&l) & (s->n_slot - 1);
    for (; s->slots[k]; k = (k + 1) & (s->n_slot - 1)) {
        if (!same_list(&s->rules[s->slots[k] - 1].list, &l)) continue;
        s_list_free(&l);
        return s->rules[s->slots[k] - 1].rule;
    }
    if (s->n_rule == MAX_RULES) g_fail(s->b, HTH_ERR_LIMIT, "the schema takes more than %u rules", MAX_RULES);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&s->rules, &s->cap_rule, s->n_rule + 1, sizeof *s->rules, MAX_RULES)) g_fail_nomem(s->b);
    if (s->b->code != HTH_OK) {
        s_list_free(&l);
        return 0;
    }
    s->rules[s->n_rule] = (s_rule){l, g_rule_new(s->b)};
    s->slots[k] = (uint32_t)s->n_rule + 1;
    return s->rules[s->n_rule++].rule;
}

static void add_booleans(s_schema *s, const s_facts *f, uint32_t from, uint32_t to) {
    for (int i = 0; i < 2; i++) {
        const hth_json v = {.kind = HTH_JSON_BOOL, .u.b = i == 1};
        if (f->n_not == 0 || s_holds_all(s, &f->list, &v)) g_edge_rx(s->b, from, g_rx_text(s->b, i == 1 ? "true" : "false"), to);
    }
}

// The texts of one conjunction between a rule's start and end.
static void make_rule(s_schema *s, const s_list *list, uint32_t rule) {
    g_build *b = s->b;
    s_facts f;
    if (s_gather(s, list, &f) && !f.never) {
        const uint32_t from = b->rules[rule].start, to = b->rules[rule].end;
        if (f.n_enum > 0) {
            g_edge_rx(b, from, s_values_rx(s, &f), to);
        } else if (f.split.node) {
            s_split(s, &f, rule);
        } else {
            if (f.types & T_OBJECT) s_object(s, &f, rule);
            if (f.types & T_ARRAY) s_array(s, &f, rule);
            if (f.types & T_STRING) s_string_edge(s, &f, from, to);
            if (f.types & (T_INTEGER | T_NUMBER)) g_edge_rx(b, from, s_number_rx(s, &f), to);
            if (f.types & T_BOOL) add_booleans(s, &f, from, to);
            if (f.types & T_NULL) g_edge_rx(b, from, g_rx_text(b, "null"), to);
        }
    }
    s_facts_free(&f);
}

static void set_space(s_schema *s) {
    g_build *b = s->b;
    const hth_grammar_space space = b->space;
    s->ws = g_rx_empty(b);
    if (space == HTH_SPACE_FREE) {
        g_byteset indent = {{1ull << ' ' | 1ull << '\t'}};
        g_rx lines = g_rx_cat2(b, g_rx_text(b, "\n"), g_rx_repeat(b, g_rx_set(b, &indent), 0, 32));
        s->ws = g_rx_maybe(b, g_rx_alt2(b, g_rx_text(b, " "), lines));
        const uint32_t dfa = g_dfa_of(b, s->ws);
        s->ws = dfa == G_NONE ? 0 : g_rx_dfa(b, dfa);
    }
    s->comma = g_rx_cat2(b, g_rx_text(b, ","), s->ws);
    s->colon = g_rx_cat2(b, g_rx_text(b, ":"), s->ws);
    if (space == HTH_SPACE_SPACED) {
        s->comma = g_rx_text(b, ", ");
        s->colon = g_rx_text(b, ": ");
    }
}

static bool is_old_draft(const hth_json *root) {
    static const char *const names[] = {"draft-03", "draft-04", "draft-06", "draft-07"};
    const char *uri = hth_json_str(root, "$schema", "", NULL);
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        if (strstr(uri, names[i])) return true;
    }
    return false;
}

static void schema_free(s_schema *s) {
    for (size_t i = 0; i < s->n_rule; i++) s_list_free(&s->rules[i].list);
    for (size_t i = 0; i < s->n_doc; i++) hth_json_free(s->made[i]);
    hth_free(s->rules);
    hth_free(s->slots);
    hth_free(s->made);
    hth_free(s->patterns);
}

uint32_t g_schema_rule(g_build *b, const hth_json *root) {
    s_schema s = {.b = b, .root = root, .is_old = is_old_draft(root)};
    s_list list = {0};
    set_space(&s);
    (void)s_add(&s, &list, (s_elem){root, 0});
    const uint32_t rule = s_rule_of(&s, &list);
    for (; s.n_made < s.n_rule && b->code == HTH_OK; s.n_made++) {
        // A list's memory stays where it is while the table of rules grows.
        const s_rule r = s.rules[s.n_made];
        make_rule(&s, &r.list, r.rule);
    }
    s_list_free(&list);
    schema_free(&s);
    return rule;
}

hth_code hth_grammar_from_schema(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err) {
    hth_json_doc *doc;
    g_build b;
    hth_code code = hth_json_parse(text, n, o && o->limits.bytes ? o->limits.bytes : MAX_TEXT * 8ull, &doc, err);
    if (code != HTH_OK) return hth_fail_in(err, code, "schema");
    g_build_init(&b, o, err);
    b.start_rule = g_schema_rule(&b, hth_json_root(doc));
    hth_json_free(doc);
    *out = g_build_finish(&b);
    code = b.code;
    g_build_free(&b);
    return code;
}

hth_code hth_grammar_from_json_object(const hth_grammar_options *o, hth_grammar **out, hth_err *err) {
    static const char any[] = "{\"type\":\"object\"}";
    return hth_grammar_from_schema(any, sizeof any - 1, o, out, err);
}
