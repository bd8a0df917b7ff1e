// Terminals and the network of rules: building it, and making a grammar of what can be used of it.
#include <string.h>

#include "grammar/impl.h"

#define MAX_EDGES (1u << 24)

static uint32_t add_term(g_build *b, const g_term *t, g_rx made_of) {
    if (b->code != HTH_OK) return 0;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->terms, &b->cap_term, b->n_term + 1, sizeof *b->terms, MAX_EDGES) ||
        !hth_grow(HTH_MEM_TEXT, (void **)&b->term_rx, &b->cap_term_rx, b->n_term + 1, sizeof *b->term_rx, MAX_EDGES)) {
        g_fail_nomem(b);
        return 0;
    }
    b->terms[b->n_term] = *t;
    b->term_rx[b->n_term] = made_of;
    return (uint32_t)b->n_term++;
}

uint32_t g_term_rx(g_build *b, g_rx x) {
    for (size_t i = 0; i < b->n_term; i++) {
        if (b->term_rx[i] == x && x != 0) return (uint32_t)i;
    }
    return add_term(b, &(g_term){.kind = TERM_DFA, .dfa = g_dfa_of(b, x)}, x);
}

uint32_t g_term_counted(g_build *b, uint32_t dfa, uint32_t min, uint32_t max) {
    if (b->code == HTH_OK && b->dfas[dfa].n_state >= 1u << G_COUNT_SHIFT) {
        g_fail(b, HTH_ERR_INTERNAL, "characters that are counted take too many states");
    }
    for (size_t i = 0; i < b->n_term; i++) {
        const g_term *t = &b->terms[i];
        if (t->kind == TERM_COUNTED && t->dfa == dfa && t->min == min && t->max == max) return (uint32_t)i;
    }
    return add_term(b, &(g_term){.kind = TERM_COUNTED, .dfa = dfa, .min = min, .max = max}, 0);
}

uint32_t g_term_tokens(g_build *b, const g_token_set *set) {
    if (b->code != HTH_OK) return 0;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->tokens, &b->cap_tokens, b->n_tokens + 1, sizeof *set, MAX_EDGES)) {
        g_fail_nomem(b);
        return 0;
    }
    b->tokens[b->n_tokens] = *set;
    return add_term(b, &(g_term){.kind = TERM_TOKENS, .dfa = (uint32_t)b->n_tokens++}, 0);
}

uint32_t g_state(g_build *b) {
    if (b->code != HTH_OK) return 0;
    if (b->n_state >= b->limits.states) {
        g_fail(b, HTH_ERR_LIMIT, "the grammar has more states than allowed (%u)", b->limits.states);
        return 0;
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->heads, &b->cap_state, b->n_state + 1, sizeof *b->heads, MAX_EDGES)) {
        g_fail_nomem(b);
        return 0;
    }
    b->heads[b->n_state] = G_NONE;
    return (uint32_t)b->n_state++;
}

void g_edge_add(g_build *b, uint32_t from, g_edge_kind kind, uint32_t id, uint32_t to) {
    if (b->code != HTH_OK) return;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->edges, &b->cap_edge, b->n_edge + 1, sizeof *b->edges, MAX_EDGES)) {
        g_fail_nomem(b);
        return;
    }
    b->edges[b->n_edge] = (g_edge){.kind = kind, .id = id, .to = to, .link = b->heads[from]};
    b->heads[from] = (uint32_t)b->n_edge++;
}

void g_edge_rx(g_build *b, uint32_t from, g_rx x, uint32_t to) {
    if (b->code != HTH_OK) return;
    if (b->nodes[x].kind == RX_EMPTY) {
        g_edge_empty(b, from, to);
        return;
    }
    const uint32_t t = g_term_rx(b, x);
    if (b->code != HTH_OK) return;
    const g_dfa *d = &b->dfas[b->terms[t].dfa];
    if (g_dfa_is_never(d)) return;
    if (d->accept[d->start]) g_edge_empty(b, from, to);
    g_edge_add(b, from, EDGE_TERM, t, to);
}

uint32_t g_rule_new(g_build *b) {
    if (b->code != HTH_OK) return 0;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->rules, &b->cap_rule, b->n_rule + 1, sizeof *b->rules, MAX_EDGES)) {
        g_fail_nomem(b);
        return 0;
    }
    const uint32_t start = g_state(b), end = g_state(b);
    b->rules[b->n_rule] = (g_rule){start, end};
    return (uint32_t)b->n_rule++;
}

static bool has_one_edge(const g_build *b, uint32_t s) {
    return b->heads[s] != G_NONE && b->edges[b->heads[s]].link == G_NONE;
}

// Whether nothing but the rule's end comes after state s.
static bool is_last(const g_build *b, const g_rule *r, uint32_t s) {
    for (unsigned i = 0; i < 8 && s != r->end; i++) {
        if (!has_one_edge(b, s) || b->edges[b->heads[s]].kind != EDGE_EMPTY) return false;
        s = b->edges[b->heads[s]].to;
    }
    return s == r->end && b->heads[s] == G_NONE;
}

// Whether nothing of the rule comes before state s: n_in counts the edges into a state, `came` is the one edge's origin.
static bool is_first(const g_rule *r, const uint32_t *n_in, const uint32_t *came, uint32_t s) {
    for (unsigned i = 0; i < 8 && s != r->start; i++) {
        if (n_in[s] != 1 || came[s] == G_NONE) return false;
        s = came[s];
    }
    return s == r->start && n_in[s] == 0;
}

enum { CALL, CALL_LAST, CALL_FIRST };

static void sort_calls(const g_build *b, uint32_t *n_in, uint32_t *came, uint8_t *kinds) {
    for (uint32_t s = 0; s < b->n_state; s++) {
        for (uint32_t e = b->heads[s]; e != G_NONE; e = b->edges[e].link) {
            n_in[b->edges[e].to]++;
            came[b->edges[e].to] = b->edges[e].kind == EDGE_EMPTY ? s : G_NONE;
        }
    }
    for (uint32_t s = 0; s < b->n_state; s++) {
        for (uint32_t e = b->heads[s]; e != G_NONE; e = b->edges[e].link) {
            if (b->edges[e].kind != EDGE_RULE) continue;
            const g_rule *r = &b->rules[b->edges[e].id];
            kinds[e] = is_last(b, r, b->edges[e].to) ? CALL_LAST : is_first(r, n_in, came, s) ? CALL_FIRST : CALL;
        }
    }
}

// A rule that calls itself last begins anew, one that calls itself first goes on after its end: the language stays,
// and long lists take no memory. (A call in first place is left as an empty edge to the start, where it came from.)
static bool make_loops(g_build *b) {
    uint32_t *n_in = hth_calloc(HTH_MEM_TEXT, b->n_state + 1, sizeof *n_in);
    uint32_t *came = hth_calloc(HTH_MEM_TEXT, b->n_state + 1, sizeof *came);
    uint8_t *kinds = hth_calloc(HTH_MEM_TEXT, b->n_edge + 1, 1);
    const size_t n_edge = b->n_edge;
    if (n_in && came && kinds) {
        sort_calls(b, n_in, came, kinds);
    } else {
        g_fail_nomem(b);
    }
    for (size_t e = 0; e < n_edge && b->code == HTH_OK; e++) {
        if (kinds[e] == CALL) continue;
        const g_rule r = b->rules[b->edges[e].id];
        const uint32_t to = b->edges[e].to;
        b->edges[e].kind = EDGE_EMPTY;
        b->edges[e].to = r.start;
        if (kinds[e] == CALL_FIRST) g_edge_empty(b, r.end, to);
    }
    hth_free(n_in);
    hth_free(came);
    hth_free(kinds);
    return b->code == HTH_OK;
}

// ---- from the network to the grammar

typedef struct finish {
    g_build *b;
    uint8_t *productive; // owned, [n_rule]
    uint8_t *nullable;   // [n_rule], of the arena
    uint8_t *alive;      // owned, [n_state]: leads to its rule's end
    uint32_t *back_first, *back_edge, *origin; // owned: edges by where they lead
    uint32_t *stack;     // owned, [n_state]
} finish;

static bool edge_works(const finish *f, const g_edge *e) {
    return e->kind != EDGE_RULE || f->productive[e->id];
}

static bool index_backwards(finish *f) {
    const g_build *b = f->b;
    f->origin = hth_calloc(HTH_MEM_TEXT, b->n_edge + 1, sizeof *f->origin);
    f->back_first = hth_calloc(HTH_MEM_TEXT, b->n_state + 2, sizeof *f->back_first);
    f->back_edge = hth_calloc(HTH_MEM_TEXT, b->n_edge + 1, sizeof *f->back_edge);
    if (!f->origin || !f->back_first || !f->back_edge) return g_fail_nomem(f->b);
    for (uint32_t s = 0; s < b->n_state; s++) {
        for (uint32_t e = b->heads[s]; e != G_NONE; e = b->edges[e].link) f->origin[e] = s;
    }
    for (size_t e = 0; e < b->n_edge; e++) f->back_first[b->edges[e].to + 1]++;
    for (size_t s = 0; s < b->n_state; s++) f->back_first[s + 1] += f->back_first[s];
    uint32_t *at = hth_alloc(HTH_MEM_TEXT, (b->n_state + 1) * sizeof *at);
    if (!at) return g_fail_nomem(f->b);
    memcpy(at, f->back_first, (b->n_state + 1) * sizeof *at);
    for (size_t e = 0; e < b->n_edge; e++) f->back_edge[at[b->edges[e].to]++] = (uint32_t)e;
    hth_free(at);
    return true;
}

// Marks, going backwards from `state`, what leads there over edges that work; with only_empty over those without text.
static void mark_back(finish *f, uint32_t state, uint8_t *marks, bool only_empty) {
    const g_build *b = f->b;
    size_t n = 0;
    if (marks[state]) return;
    marks[state] = 1;
    f->stack[n++] = state;
    while (n > 0) {
        const uint32_t s = f->stack[--n];
        for (uint32_t i = f->back_first[s]; i < f->back_first[s + 1]; i++) {
            const g_edge *e = &b->edges[f->back_edge[i]];
            const uint32_t from = f->origin[f->back_edge[i]];
            if (marks[from] || !edge_works(f, e)) continue;
            if (only_empty && (e->kind == EDGE_TERM || (e->kind == EDGE_RULE && !f->nullable[e->id]))) continue;
            marks[from] = 1;
            f->stack[n++] = from;
        }
    }
}

// Rules that can be completed at all; in rounds, each of which finds what the ones before made possible.
static bool find_productive(finish *f) {
    g_build *b = f->b;
    for (bool changed = true; changed;) {
        changed = false;
        memset(f->alive, 0, b->n_state);
        if (!g_work(b, b->n_edge + b->n_state + 1)) return false;
        for (uint32_t r = 0; r < b->n_rule; r++) mark_back(f, b->rules[r].end, f->alive, false);
        for (uint32_t r = 0; r < b->n_rule; r++) {
            if (f->productive[r] || !f->alive[b->rules[r].start]) continue;
            f->productive[r] = 1;
            changed = true;
        }
    }
    return true;
}

static bool find_nullable(finish *f) {
    g_build *b = f->b;
    uint8_t *marks = hth_calloc(HTH_MEM_TEXT, b->n_state + 1, 1);
    if (!marks) return g_fail_nomem(b);
    for (bool changed = true; changed && b->code == HTH_OK;) {
        changed = false;
        memset(marks, 0, b->n_state);
        if (!g_work(b, b->n_edge + b->n_state + 1)) break;
        for (uint32_t r = 0; r < b->n_rule; r++) mark_back(f, b->rules[r].end, marks, true);
        for (uint32_t r = 0; r < b->n_rule; r++) {
            if (f->nullable[r] || !marks[b->rules[r].start]) continue;
            f->nullable[r] = 1;
            changed = true;
        }
    }
    hth_free(marks);
    return b->code == HTH_OK;
}

static bool copy_edges(finish *f, hth_grammar *g) {
    g_build *b = f->b;
    uint32_t *first = g_alloc(b, b->n_state + 1, sizeof *first);
    g_edge *edges = g_alloc(b, b->n_edge + 1, sizeof *edges);
    uint32_t *ends = g_alloc(b, b->n_state + 1, sizeof *ends);
    if (!first || !edges || !ends) return false;
    uint32_t n = 0;
    for (uint32_t s = 0; s < b->n_state; s++) {
        first[s] = n;
        ends[s] = G_NONE;
        for (uint32_t e = b->heads[s]; e != G_NONE; e = b->edges[e].link) {
            const g_edge *edge = &b->edges[e];
            if (f->alive[edge->to] && edge_works(f, edge) && !(edge->kind == EDGE_EMPTY && edge->to == s)) edges[n++] = *edge;
        }
    }
    first[b->n_state] = n;
    for (uint32_t r = 0; r < b->n_rule; r++) ends[b->rules[r].end] = r;
    g->first = first;
    g->edges = edges;
    g->ends = ends;
    g->n_state = (uint32_t)b->n_state;
    return true;
}

// Bytes that behave alike in all terminals.
static void find_classes(hth_grammar *g) {
    g->n_class = 1;
    for (uint32_t t = 0; t < g->n_term; t++) {
        if (g->terms[t].kind == TERM_TOKENS) continue;
        const g_dfa *d = &g->dfas[g->terms[t].dfa];
        uint8_t next[256];
        uint32_t n = 0;
        uint16_t pair[256];
        for (unsigned c = 0; c < 256; c++) {
            const bool is_quote = g->terms[t].kind == TERM_COUNTED && c == '"';
            // A quote stands outside of a counted terminal's own classes; d's class 255 is never used beside it.
            const uint16_t want = (uint16_t)(g->class_of[c] << 8 | (is_quote ? 255 : d->class_of[c]));
            uint32_t k = 0;
            while (k < n && pair[k] != want) k++;
            if (k == n) pair[n++] = want;
            next[c] = (uint8_t)k;
        }
        memcpy(g->class_of, next, sizeof next);
        g->n_class = n;
    }
    for (unsigned c = 0; c < 256; c++) {
        g->byte_of[g->class_of[c]] = (uint8_t)c;
        g->n_byte[g->class_of[c]]++;
    }
}

static void *keep(g_build *b, const void *from, size_t n, size_t size) {
    void *to = g_alloc(b, n + 1, size);
    if (to && n > 0) memcpy(to, from, n * size);
    return to;
}

static hth_grammar *assemble(finish *f) {
    g_build *b = f->b;
    hth_grammar *g = g_alloc(b, 1, sizeof *g);
    if (!g || !copy_edges(f, g)) return NULL;
    g->dfas = keep(b, b->dfas, b->n_dfa, sizeof *b->dfas);
    g->terms = keep(b, b->terms, b->n_term, sizeof *b->terms);
    g->tokens = keep(b, b->tokens, b->n_tokens, sizeof *b->tokens);
    g->rules = keep(b, b->rules, b->n_rule, sizeof *b->rules);
    g->widened = keep(b, b->widened, b->n_widened, sizeof *b->widened);
    if (b->code != HTH_OK) return NULL;
    g->nullable = f->nullable;
    g->n_dfa = (uint32_t)b->n_dfa;
    g->n_term = (uint32_t)b->n_term;
    g->n_tokens = (uint32_t)b->n_tokens;
    g->n_rule = (uint32_t)b->n_rule;
    g->start_rule = b->start_rule;
    g->n_widened = b->n_widened;
    find_classes(g);
    atomic_init(&g->n_holder, 1);
    g->arena = b->arena; // which holds g itself
    hth_arena_init(&b->arena, HTH_MEM_TEXT, 0);
    return g;
}

hth_grammar *g_build_finish(g_build *b) {
    if (b->code != HTH_OK || !make_loops(b)) return NULL;
    finish f = {.b = b};
    hth_grammar *g = NULL;
    f.productive = hth_calloc(HTH_MEM_TEXT, b->n_rule + 1, 1);
    f.alive = hth_calloc(HTH_MEM_TEXT, b->n_state + 1, 1);
    f.stack = hth_calloc(HTH_MEM_TEXT, b->n_state + 1, sizeof *f.stack);
    f.nullable = g_alloc(b, b->n_rule + 1, 1);
    if (!f.productive || !f.alive || !f.stack || !f.nullable) g_fail_nomem(b);
    if (b->code == HTH_OK && index_backwards(&f) && find_productive(&f) && find_nullable(&f)) {
        if (f.productive[b->start_rule]) {
            g = assemble(&f);
        } else {
            g_fail(b, HTH_ERR_RANGE, "no text can satisfy this");
        }
    }
    hth_free(f.productive);
    hth_free(f.alive);
    hth_free(f.stack);
    hth_free(f.back_first);
    hth_free(f.back_edge);
    hth_free(f.origin);
    return g;
}

// ---- the grammar

hth_grammar *hth_grammar_hold(hth_grammar *g) {
    if (g) atomic_fetch_add(&g->n_holder, 1);
    return g;
}

void hth_grammar_free(hth_grammar *g) {
    if (!g || atomic_fetch_sub(&g->n_holder, 1) != 1) return;
    hth_arena arena = g->arena;
    hth_arena_free(&arena);
}

size_t hth_grammar_n_widened(const hth_grammar *g) {
    return g->n_widened;
}

const char *hth_grammar_widened(const hth_grammar *g, size_t i) {
    return i < g->n_widened ? g->widened[i] : NULL;
}
