// Arrays: places before the first item of the rest are states of their own, as far as their number matters.
#include "grammar/schema.h"

#define MAX_STATES 100000u
#define MAX_UNIQUE 12 // values that may stand in any order, each once

typedef struct array {
    s_schema *s;
    const s_facts *f;
    uint64_t min, max;
    const hth_json *contains; // NULL: nothing
    uint64_t min_contains;
} array;

// What the i-th item must satisfy; *is_rest where all from i on are the same.
static bool item_list(const array *a, uint32_t i, s_list *out, bool *is_rest) {
    *is_rest = true;
    for (size_t k = 0; k < a->f->list.n; k++) {
        const hth_json *node = a->f->list.e[k].node;
        const hth_json *prefix = hth_json_get(node, "prefixItems"), *items = hth_json_get(node, "items");
        if (items && items->kind == HTH_JSON_ARRAY) { // before 2020
            prefix = items;
            items = hth_json_get(node, "additionalItems");
        }
        if (prefix && prefix->kind != HTH_JSON_ARRAY) return s_bad(a->s, node, "prefixItems", "not a list");
        const bool in_prefix = prefix && i < prefix->n;
        const hth_json *one = in_prefix ? &prefix->u.items[i] : items;
        if (in_prefix) *is_rest = false;
        if (one && !s_add(a->s, out, (s_elem){one, 0})) return false;
    }
    return true;
}

static bool find_contains(array *a) {
    const hth_json *bad = NULL;
    for (size_t k = 0; k < a->f->list.n; k++) {
        const hth_json *node = a->f->list.e[k].node, *contains = hth_json_get(node, "contains");
        if (!contains) continue;
        const int64_t min = hth_json_int(node, "minContains", 1, &bad);
        if (hth_json_get(node, "maxContains") && !s_refuse(a->s, node, "maxContains", "not supported")) return false;
        if (min <= 0) continue;
        if (a->contains || min > 64) {
            if (!s_refuse(a->s, node, "contains", a->contains ? "a second one" : "more than 64 times")) return false;
            continue;
        }
        a->contains = contains;
        a->min_contains = (uint64_t)min;
    }
    return true;
}

static void add_item(array *a, uint32_t from, bool is_first, const s_list *list, uint32_t to) {
    g_build *b = a->s->b;
    const uint32_t rule = s_rule_of(a->s, list), mid = g_state(b);
    if (b->code != HTH_OK) return;
    g_edge_rx(b, from, is_first ? a->s->ws : a->s->comma, mid);
    g_edge_add(b, mid, EDGE_RULE, rule, to);
}

static bool is_never(const s_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        if (l->e[i].node->kind == HTH_JSON_BOOL && !l->e[i].node->u.b) return true;
    }
    return false;
}

// Items one after the other: state (i, seen) with i items written and `seen` of them satisfying `contains`.
static void add_items(array *a, uint32_t rule) {
    s_schema *s = a->s;
    g_build *b = s->b;
    const uint32_t n_seen = (uint32_t)(a->contains ? a->min_contains : 0) + 1;
    g_rx close = g_rx_cat2(b, s->ws, g_rx_text(b, "]"));
    uint32_t at = g_state(b); // (0, 0)
    for (uint32_t k = 1; k < n_seen; k++) (void)g_state(b);
    if (b->code != HTH_OK) return;
    g_edge_rx(b, b->rules[rule].start, g_rx_text(b, "["), at);
    for (uint32_t i = 0; b->code == HTH_OK && g_work(b, 8); i++) {
        s_list list = {0}, both = {0};
        bool is_rest;
        if (!item_list(a, i, &list, &is_rest)) return s_list_free(&list);
        for (uint32_t k = 0; k < n_seen; k++) {
            if (i >= a->min && k + 1 == n_seen) g_edge_rx(b, at + k, close, b->rules[rule].end);
        }
        const bool ends = i >= a->max || is_never(&list);
        const bool loops = !ends && is_rest && i > 0 && i >= a->min && a->max == UINT64_MAX;
        if (i > MAX_STATES / n_seen) {
            g_fail(b, HTH_ERR_LIMIT, "an array with more than %u counted items is too large", MAX_STATES);
        }
        uint32_t next = at;
        for (uint32_t k = 0; !ends && !loops && k < n_seen; k++) {
            const uint32_t made = g_state(b);
            if (k == 0) next = made;
        }
        for (size_t k = 0; k < list.n && a->contains; k++) (void)s_add(s, &both, list.e[k]);
        if (a->contains) (void)s_add(s, &both, (s_elem){a->contains, 0});
        for (uint32_t k = 0; !ends && k < n_seen && b->code == HTH_OK; k++) {
            add_item(a, at + k, i == 0, &list, next + k);
            if (k + 1 < n_seen) add_item(a, at + k, i == 0, &both, next + k + 1);
        }
        s_list_free(&list);
        s_list_free(&both);
        if (ends || loops) return;
        at = next;
    }
}

// ---- items that differ: subsets of the values that there are

typedef struct values {
    const hth_json *list[MAX_UNIQUE];
    size_t n;
    hth_json both[2]; // of booleans
} values;

// The values that all items can have; false where they are too many.
static bool find_values(array *a, values *v) {
    s_list list = {0};
    s_facts f = {0};
    bool is_rest, ok = item_list(a, 0, &list, &is_rest) && is_rest && s_gather(a->s, &list, &f);
    const hth_json *all = NULL;
    v->n = 0;
    for (size_t i = 0; ok && i < f.list.n && !all; i++) all = hth_json_get(f.list.e[i].node, "enum");
    if (ok && f.types == T_BOOL && !all) {
        v->both[0] = (hth_json){.kind = HTH_JSON_BOOL};
        v->both[1] = (hth_json){.kind = HTH_JSON_BOOL, .u.b = true};
        v->list[v->n++] = &v->both[0];
        v->list[v->n++] = &v->both[1];
    } else if (ok && all && all->kind == HTH_JSON_ARRAY) {
        for (uint32_t i = 0; ok && i < all->n; i++) {
            bool is_new = s_holds_all(a->s, &f.list, &all->u.items[i]);
            for (size_t k = 0; k < v->n; k++) is_new &= !s_equal(v->list[k], &all->u.items[i]);
            if (is_new && v->n == MAX_UNIQUE) ok = false;
            if (is_new && ok) v->list[v->n++] = &all->u.items[i];
        }
    } else {
        ok = false;
    }
    s_list_free(&list);
    s_facts_free(&f);
    return ok;
}

static unsigned count_bits(unsigned x) {
    unsigned n = 0;
    for (; x; x &= x - 1) n++;
    return n;
}

static void add_unique(array *a, const values *v, uint32_t rule) {
    s_schema *s = a->s;
    g_build *b = s->b;
    const uint32_t first = g_state(b);
    for (uint32_t i = 1; i < 1u << v->n; i++) (void)g_state(b);
    g_rx texts[MAX_UNIQUE], close = g_rx_cat2(b, s->ws, g_rx_text(b, "]"));
    for (size_t k = 0; k < v->n; k++) texts[k] = s_value_rx(s, v->list[k]);
    if (b->code != HTH_OK) return;
    g_edge_rx(b, b->rules[rule].start, g_rx_text(b, "["), first);
    for (unsigned used = 0; used < 1u << v->n && b->code == HTH_OK; used++) {
        const unsigned n = count_bits(used);
        if (n >= a->min) g_edge_rx(b, first + used, close, b->rules[rule].end);
        if (n >= a->max) continue;
        const uint32_t mid = g_state(b);
        g_edge_rx(b, first + used, used == 0 ? s->ws : s->comma, mid);
        for (size_t k = 0; k < v->n; k++) {
            if (!(used >> k & 1)) g_edge_rx(b, mid, texts[k], first + (used | 1u << k));
        }
    }
}

static const hth_json *who_is_unique(const array *a) {
    for (size_t i = 0; i < a->f->list.n; i++) {
        if (hth_json_get(a->f->list.e[i].node, "uniqueItems")) return a->f->list.e[i].node;
    }
    return a->s->root;
}

void s_array(s_schema *s, const s_facts *f, uint32_t rule) {
    array a = {.s = s, .f = f, .min = f->min_items, .max = f->max_items};
    values v;
    if (!find_contains(&a)) return;
    if (a.max > 1u << 26) a.max = UINT64_MAX; // no array is so long
    if (a.contains && a.min < a.min_contains) a.min = a.min_contains;
    if (f->is_unique && a.max > 1) {
        if (!a.contains && find_values(&a, &v)) {
            add_unique(&a, &v, rule);
            return;
        }
        if (s->b->code != HTH_OK || !s_refuse(s, who_is_unique(&a), "uniqueItems", "the items can have too many values")) return;
    }
    add_items(&a, rule);
}
