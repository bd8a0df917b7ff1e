// Places and Earley sets.
#include "grammar/chart.h"

#include <stdlib.h>
#include <string.h>

#define SELF 0xfffffffeu    // an item that began in the set that it is in
#define NOWHERE 0xffffffffu // the start rule's own item
#define POOL_MAX (1u << 28)

static bool fail(hth_chart *c, hth_code code) {
    if (c->code == HTH_OK) c->code = code;
    return false;
}

static bool grow(hth_chart *c, void **p, size_t *cap, size_t need, size_t size) {
    const size_t before = *cap;
    if (need <= before) return true;
    if (c->n_bytes > c->max_bytes) return fail(c, HTH_ERR_LIMIT);
    if (!hth_grow(HTH_MEM_TEXT, p, cap, need, size, POOL_MAX)) return fail(c, HTH_ERR_NOMEM);
    c->n_bytes += (*cap - before) * size;
    return true;
}

// ---- terminals

uint32_t term_start(const hth_grammar *g, const g_term *t) {
    return t->kind == TERM_DFA ? g->dfas[t->dfa].start : 1;
}

// ---- hash tables of numbers

static bool index_grow(hth_chart *c, chart_index *x, size_t n, uint64_t (*hash)(const hth_chart *c, uint32_t i)) {
    if ((n + 1) * 2 <= x->n_slot) return true;
    const size_t n_slot = x->n_slot ? x->n_slot * 2 : 256;
    uint32_t *slots = hth_calloc(HTH_MEM_TEXT, n_slot, sizeof *slots);
    if (!slots) return fail(c, HTH_ERR_NOMEM);
    c->n_bytes += (n_slot - x->n_slot) * sizeof *slots;
    hth_free(x->slots);
    *x = (chart_index){slots, n_slot};
    for (uint32_t i = 0; i < n; i++) {
        size_t k = hash(c, i) & (n_slot - 1);
        while (slots[k]) k = (k + 1) & (n_slot - 1);
        slots[k] = i + 1;
    }
    return true;
}

static uint64_t hash_kernel(const chart_item *kernel, size_t n) {
    return hth_hash(kernel, n * sizeof *kernel, 2);
}

static uint64_t hash_set(const hth_chart *c, uint32_t i) {
    return hash_kernel(c->items + c->sets[i].kernel, c->sets[i].n_kernel);
}

static uint64_t hash_configs(const chart_config *p, size_t n, uint32_t set) {
    return n > 0 ? hth_hash(p, n * sizeof *p, set + 3ull) : set;
}

static uint64_t hash_place(const hth_chart *c, uint32_t i) {
    const chart_place *p = &c->places[i];
    return hash_configs(p->n_config > 0 ? c->configs + p->config : NULL, p->n_config, p->set);
}

// ---- sets

static bool seen_grow(hth_chart *c) {
    const size_t n = c->cap_seen ? c->cap_seen * 2 : 256;
    uint64_t *seen = hth_calloc(HTH_MEM_TEXT, n, sizeof *seen);
    uint32_t *gens = hth_calloc(HTH_MEM_TEXT, n, sizeof *gens);
    if (!seen || !gens) {
        hth_free(seen);
        hth_free(gens);
        return fail(c, HTH_ERR_NOMEM);
    }
    for (size_t i = 0; i < c->cap_seen; i++) {
        if (c->seen_gen[i] != c->gen) continue;
        size_t k = (size_t)(c->seen[i] * 0x9e3779b97f4a7c15ull >> 24) & (n - 1);
        while (gens[k] == c->gen) k = (k + 1) & (n - 1);
        seen[k] = c->seen[i];
        gens[k] = c->gen;
    }
    hth_free(c->seen);
    hth_free(c->seen_gen);
    c->seen = seen;
    c->seen_gen = gens;
    c->n_bytes += (n - c->cap_seen) * 12;
    c->cap_seen = n;
    return true;
}

static void push(hth_chart *c, uint32_t state, uint32_t origin) {
    if ((c->n_seen + 1) * 2 > c->cap_seen && !seen_grow(c)) return;
    const uint64_t key = (uint64_t)state << 32 | origin;
    size_t k = (size_t)(key * 0x9e3779b97f4a7c15ull >> 24) & (c->cap_seen - 1);
    for (; c->seen_gen[k] == c->gen; k = (k + 1) & (c->cap_seen - 1)) {
        if (c->seen[k] == key) return;
    }
    c->seen[k] = key;
    c->seen_gen[k] = c->gen;
    c->n_seen++;
    if (!grow(c, (void **)&c->todo, &c->cap_todo, c->n_todo + 1, sizeof *c->todo)) return;
    c->todo[c->n_todo++] = (chart_item){state, origin};
}

static void add_link(hth_chart *c, chart_link **list, size_t *n, size_t *cap, chart_link link) {
    if (grow(c, (void **)list, cap, *n + 1, sizeof link)) (*list)[(*n)++] = link;
}

// A rule that began in `origin` is complete: what waited for it there goes on.
static void complete(hth_chart *c, uint32_t rule, uint32_t origin) {
    const chart_set s = c->sets[origin];
    size_t lo = s.wait, hi = s.wait + s.n_wait;
    while (lo < hi) { // the first one that waits for the rule
        const size_t mid = (lo + hi) / 2;
        if (c->links[mid].id < rule) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (; lo < s.wait + s.n_wait && c->links[lo].id == rule; lo++) {
        push(c, c->links[lo].to, c->links[lo].origin == SELF ? origin : c->links[lo].origin);
    }
}

static void expand(hth_chart *c, chart_item item, bool *accepting) {
    const hth_grammar *g = c->g;
    for (uint32_t e = g->first[item.state]; e < g->first[item.state + 1] && c->code == HTH_OK; e++) {
        const g_edge *edge = &g->edges[e];
        if (edge->kind == EDGE_EMPTY) {
            push(c, edge->to, item.origin);
        } else if (edge->kind == EDGE_TERM) {
            add_link(c, &c->scan, &c->n_scan, &c->cap_scan, (chart_link){edge->id, edge->to, item.origin});
        } else {
            add_link(c, &c->wait, &c->n_wait, &c->cap_wait, (chart_link){edge->id, edge->to, item.origin});
            push(c, g->rules[edge->id].start, SELF);
            if (g->nullable[edge->id]) push(c, edge->to, item.origin);
        }
    }
    if (g->ends[item.state] == G_NONE || item.origin == SELF) return;
    if (item.origin == NOWHERE) {
        *accepting = true;
    } else {
        complete(c, g->ends[item.state], item.origin);
    }
}

static int compare_links(const void *a, const void *b) {
    const chart_link *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    if (x->to != y->to) return x->to < y->to ? -1 : 1;
    return (x->origin > y->origin) - (x->origin < y->origin);
}

static int compare_items(const void *a, const void *b) {
    const chart_item *x = a, *y = b;
    if (x->state != y->state) return x->state < y->state ? -1 : 1;
    return (x->origin > y->origin) - (x->origin < y->origin);
}

static uint32_t keep_links(hth_chart *c, chart_link *list, size_t n) {
    if (!grow(c, (void **)&c->links, &c->cap_link, c->n_link + n, sizeof *list)) return 0;
    if (n > 1) qsort(list, n, sizeof *list, compare_links);
    if (n > 0) memcpy(c->links + c->n_link, list, n * sizeof *list);
    c->n_link += n;
    return (uint32_t)(c->n_link - n);
}

static uint32_t make_set(hth_chart *c, uint32_t kernel, uint32_t n_kernel) {
    chart_set s = {.kernel = kernel, .n_kernel = n_kernel};
    c->gen++;
    c->n_seen = c->n_todo = c->n_scan = c->n_wait = 0;
    for (uint32_t i = 0; i < n_kernel; i++) push(c, c->items[kernel + i].state, c->items[kernel + i].origin);
    for (size_t i = 0; i < c->n_todo && c->code == HTH_OK; i++) expand(c, c->todo[i], &s.accepting);
    s.scan = keep_links(c, c->scan, c->n_scan);
    s.n_scan = (uint32_t)c->n_scan;
    s.wait = keep_links(c, c->wait, c->n_wait);
    s.n_wait = (uint32_t)c->n_wait;
    if (!grow(c, (void **)&c->sets, &c->cap_set, c->n_set + 1, sizeof s) || c->code != HTH_OK) return G_NONE;
    c->sets[c->n_set] = s;
    return (uint32_t)c->n_set++;
}

// The set of c->kernel.
static uint32_t intern_set(hth_chart *c) {
    size_t n = 0;
    qsort(c->kernel, c->n_kernel, sizeof *c->kernel, compare_items);
    for (size_t i = 0; i < c->n_kernel; i++) { // no two alike
        if (i == 0 || compare_items(&c->kernel[i - 1], &c->kernel[i]) != 0) c->kernel[n++] = c->kernel[i];
    }
    if (!index_grow(c, &c->set_index, c->n_set, hash_set)) return G_NONE;
    size_t k = hash_kernel(c->kernel, n) & (c->set_index.n_slot - 1);
    for (; c->set_index.slots[k]; k = (k + 1) & (c->set_index.n_slot - 1)) {
        const chart_set *s = &c->sets[c->set_index.slots[k] - 1];
        if (s->n_kernel == n && memcmp(c->items + s->kernel, c->kernel, n * sizeof *c->kernel) == 0) {
            return c->set_index.slots[k] - 1;
        }
    }
    if (!grow(c, (void **)&c->items, &c->cap_item, c->n_item + n, sizeof *c->items)) return G_NONE;
    memcpy(c->items + c->n_item, c->kernel, n * sizeof *c->kernel);
    c->n_item += n;
    const uint32_t set = make_set(c, (uint32_t)(c->n_item - n), (uint32_t)n);
    if (set != G_NONE) c->set_index.slots[k] = set + 1;
    return set;
}

// Adds to the kernel what terminal `term`, which began in `set`, leads to.
static void add_scanned(hth_chart *c, uint32_t set, uint32_t term) {
    const chart_set s = c->sets[set];
    size_t lo = s.scan, hi = s.scan + s.n_scan;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (c->links[mid].id < term) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (; lo < s.scan + s.n_scan && c->links[lo].id == term; lo++) {
        if (!grow(c, (void **)&c->kernel, &c->cap_kernel, c->n_kernel + 1, sizeof *c->kernel)) return;
        const uint32_t origin = c->links[lo].origin;
        c->kernel[c->n_kernel++] = (chart_item){c->links[lo].to, origin == SELF ? set : origin};
    }
}

// ---- places

static void add_live(hth_chart *c, chart_config config) {
    if (grow(c, (void **)&c->live, &c->cap_live, c->n_live + 1, sizeof config)) c->live[c->n_live++] = config;
}

static int compare_configs(const void *a, const void *b) {
    const chart_config *x = a, *y = b;
    if (x->set != y->set) return x->set < y->set ? -1 : 1;
    if (x->term != y->term) return x->term < y->term ? -1 : 1;
    return (x->q > y->q) - (x->q < y->q);
}

static uint32_t add_place(hth_chart *c, uint32_t set) {
    const size_t n_class = c->g->n_class;
    if (!grow(c, (void **)&c->configs, &c->cap_config, c->n_config + c->n_live, sizeof *c->configs) ||
        !grow(c, (void **)&c->places, &c->cap_place, c->n_place + 1, sizeof *c->places) ||
        !grow(c, (void **)&c->next, &c->cap_next, (c->n_place + 1) * n_class, sizeof *c->next)) {
        return PLACE_NONE;
    }
    memset(c->next + c->n_place * n_class, 0, n_class * sizeof *c->next);
    if (c->n_live > 0) memcpy(c->configs + c->n_config, c->live, c->n_live * sizeof *c->live);
    c->places[c->n_place] = (chart_place){.config = (uint32_t)c->n_config, .n_config = (uint32_t)c->n_live, .set = set,
                                          .mask = -1, .accepting = set != G_NONE && c->sets[set].accepting};
    c->n_config += c->n_live;
    return (uint32_t)c->n_place++;
}

// The place with the configurations in c->live, at the end of `set` (or G_NONE).
static uint32_t intern_place(hth_chart *c, uint32_t set) {
    if (c->n_live > 1) qsort(c->live, c->n_live, sizeof *c->live, compare_configs);
    if (c->code != HTH_OK || !index_grow(c, &c->place_index, c->n_place, hash_place)) return PLACE_NONE;
    size_t k = hash_configs(c->live, c->n_live, set) & (c->place_index.n_slot - 1);
    for (; c->place_index.slots[k]; k = (k + 1) & (c->place_index.n_slot - 1)) {
        const uint32_t i = c->place_index.slots[k] - 1;
        const chart_place *p = &c->places[i];
        if (p->n_config != c->n_live || p->set != set) continue;
        if (c->n_live == 0 || memcmp(c->configs + p->config, c->live, c->n_live * sizeof *c->live) == 0) return i;
    }
    const uint32_t place = add_place(c, set);
    if (place != PLACE_NONE) c->place_index.slots[k] = place + 1;
    return place;
}

// Ends the step whose half read terminals are in c->live and whose finished ones are in c->kernel.
static uint32_t arrive(hth_chart *c) {
    uint32_t set = G_NONE;
    if (c->code == HTH_OK && c->n_kernel > 0) {
        set = intern_set(c);
        if (set == G_NONE) return PLACE_NONE;
        uint32_t last = G_NONE;
        const chart_set s = c->sets[set];
        for (uint32_t i = s.scan; i < s.scan + s.n_scan; i++) {
            const uint32_t term = c->links[i].id;
            if (term != last) add_live(c, (chart_config){term, term_start(c->g, &c->g->terms[term]), set});
            last = term;
        }
        if (s.n_scan == 0 && !s.accepting) set = G_NONE;
    }
    if (c->code != HTH_OK || (c->n_live == 0 && set == G_NONE)) return PLACE_NONE;
    return intern_place(c, set);
}

uint32_t chart_find(hth_chart *c, uint32_t place, uint32_t class) {
    const hth_grammar *g = c->g;
    const uint8_t byte = g->byte_of[class];
    if (c->code != HTH_OK) return PLACE_NONE;
    c->n_live = c->n_kernel = 0;
    for (uint32_t i = 0; i < c->places[place].n_config && c->code == HTH_OK; i++) {
        const chart_config f = c->configs[c->places[place].config + i];
        const g_term *t = &g->terms[f.term];
        const uint32_t q = term_step(g, t, f.q, byte);
        if (q == 0) continue;
        const int accepts = term_accepts(g, t, q);
        if (accepts) add_scanned(c, f.set, f.term);
        if (accepts != DFA_ENDS) add_live(c, (chart_config){f.term, q, f.set});
    }
    const uint32_t to = c->n_live > 0 || c->n_kernel > 0 ? arrive(c) : PLACE_NONE;
    if (c->code != HTH_OK) return PLACE_NONE;
    c->next[(size_t)place * g->n_class + class] = to + 1;
    return to;
}

uint32_t chart_enter(hth_chart *c, uint32_t term, uint32_t q, uint32_t set) {
    c->n_live = c->n_kernel = 0;
    if (c->code != HTH_OK) return PLACE_NONE;
    add_scanned(c, set, term);
    if (term_accepts(c->g, &c->g->terms[term], q) != DFA_ENDS) add_live(c, (chart_config){term, q, set});
    return arrive(c);
}

uint32_t chart_step_token(hth_chart *c, uint32_t place, const g_token_set *sets, int32_t token, bool has_text) {
    c->n_live = c->n_kernel = 0;
    for (uint32_t i = 0; i < c->places[place].n_config && c->code == HTH_OK; i++) {
        const chart_config f = c->configs[c->places[place].config + i];
        const g_term *t = &c->g->terms[f.term];
        if (t->kind != TERM_TOKENS || !g_token_is_in(&sets[t->dfa], token, has_text)) continue;
        add_scanned(c, f.set, f.term);
    }
    return c->n_kernel > 0 ? arrive(c) : PLACE_NONE;
}

// ---- the whole

hth_code chart_init(hth_chart *c, const hth_grammar *g, uint64_t max_bytes, hth_err *err) {
    *c = (hth_chart){.g = g, .max_bytes = max_bytes};
    return chart_reset(c, err);
}

hth_code chart_reset(hth_chart *c, hth_err *err) {
    const hth_grammar *g = c->g;
    const uint64_t max_bytes = c->max_bytes;
    chart_free(c);
    *c = (hth_chart){.g = g, .max_bytes = max_bytes};
    c->n_live = 0;
    (void)add_place(c, G_NONE); // PLACE_NONE
    if (c->code == HTH_OK) {
        for (uint32_t k = 0; k < g->n_class; k++) c->next[k] = PLACE_NONE + 1;
        if (grow(c, (void **)&c->kernel, &c->cap_kernel, 1, sizeof *c->kernel)) {
            c->kernel[0] = (chart_item){g->rules[g->start_rule].start, NOWHERE};
            c->n_kernel = 1;
            c->start = arrive(c);
        }
    }
    return c->code == HTH_OK ? HTH_OK : hth_fail(err, c->code, "the grammar's places do not fit in their memory");
}

void chart_free(hth_chart *c) {
    hth_free(c->places);
    hth_free(c->next);
    hth_free(c->configs);
    hth_free(c->sets);
    hth_free(c->items);
    hth_free(c->links);
    hth_free(c->place_index.slots);
    hth_free(c->set_index.slots);
    hth_free(c->todo);
    hth_free(c->kernel);
    hth_free(c->scan);
    hth_free(c->wait);
    hth_free(c->live);
    hth_free(c->seen);
    hth_free(c->seen_gen);
}
