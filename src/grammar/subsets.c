// From a tree to a deterministic automaton: Thompson's construction, then sets of its states as states. Bytes that no
// set of the expression tells apart are one class. Anchors are edges that may be passed at the text's two ends only.
#include <stdlib.h>
#include <string.h>

#include "grammar/build.h"

#define MAX_NFA (1u << 22)

typedef enum nfa_kind { NFA_SET, NFA_EMPTY, NFA_BEGIN, NFA_END } nfa_kind;

typedef struct nfa_edge {
    uint32_t kind, set, to, next;
} nfa_edge;

typedef struct nfa {
    g_build *b;
    uint32_t *heads; // owned
    size_t n, cap;
    nfa_edge *edges; // owned
    size_t n_edge, cap_edge;
} nfa;

static uint32_t nfa_state(nfa *a) {
    if (a->b->code != HTH_OK) return 0;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&a->heads, &a->cap, a->n + 1, sizeof *a->heads, MAX_NFA)) {
        g_fail(a->b, HTH_ERR_LIMIT, "an expression takes more than %u states", MAX_NFA);
        return 0;
    }
    a->heads[a->n] = G_NONE;
    return (uint32_t)a->n++;
}

static void nfa_add(nfa *a, uint32_t from, nfa_kind kind, uint32_t set, uint32_t to) {
    if (a->b->code != HTH_OK) return;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&a->edges, &a->cap_edge, a->n_edge + 1, sizeof *a->edges, 4 * MAX_NFA)) {
        g_fail(a->b, HTH_ERR_LIMIT, "an expression takes more than %u edges", 4 * MAX_NFA);
        return;
    }
    a->edges[a->n_edge] = (nfa_edge){kind, set, to, a->heads[from]};
    a->heads[from] = (uint32_t)a->n_edge++;
}

static uint32_t set_index(g_build *b, const g_byteset *set) {
    g_rx x = g_rx_set(b, set);
    return x ? b->nodes[x].a : 0;
}

static uint32_t emit(nfa *a, g_rx x, uint32_t from, unsigned depth);

static uint32_t emit_literal(nfa *a, const g_rx_node *node, uint32_t from) {
    const uint32_t at = node->a, n = node->b;
    for (uint32_t i = 0; i < n && a->b->code == HTH_OK; i++) {
        const uint8_t c = (uint8_t)a->b->literals.p[at + i];
        g_byteset set = {0};
        set.bits[c >> 6] = 1ull << (c & 63);
        uint32_t to = nfa_state(a);
        nfa_add(a, from, NFA_SET, set_index(a->b, &set), to);
        from = to;
    }
    return from;
}

static uint32_t emit_repeat(nfa *a, g_rx x, uint32_t min, uint32_t max, uint32_t from, unsigned depth) {
    for (uint32_t i = 0; i < min && a->b->code == HTH_OK; i++) from = emit(a, x, from, depth);
    if (max == G_INFINITE) {
        uint32_t loop = nfa_state(a), end = nfa_state(a);
        nfa_add(a, from, NFA_EMPTY, 0, loop);
        nfa_add(a, emit(a, x, loop, depth), NFA_EMPTY, 0, loop);
        nfa_add(a, loop, NFA_EMPTY, 0, end);
        return end;
    }
    uint32_t end = nfa_state(a);
    for (uint32_t i = min; i < max && a->b->code == HTH_OK; i++) {
        nfa_add(a, from, NFA_EMPTY, 0, end);
        from = emit(a, x, from, depth);
    }
    nfa_add(a, from, NFA_EMPTY, 0, end);
    return end;
}

// Copies an automaton in: edges to the same state share a set.
static uint32_t emit_dfa(nfa *a, uint32_t index, uint32_t from) {
    g_build *b = a->b;
    const g_dfa d = b->dfas[index];
    const uint32_t first = (uint32_t)a->n;
    for (uint32_t q = 0; q < d.n_state; q++) (void)nfa_state(a);
    uint32_t end = nfa_state(a);
    if (!g_work(b, (uint64_t)d.n_state * d.n_class)) return 0;
    g_byteset of_class[256] = {0};
    for (unsigned c = 0; c < 256; c++) of_class[d.class_of[c]].bits[c >> 6] |= 1ull << (c & 63);
    for (uint32_t q = 1; q < d.n_state && b->code == HTH_OK; q++) {
        const uint32_t *row = d.next + (size_t)q * d.n_class;
        bool done[256] = {false};
        for (uint32_t c = 0; c < d.n_class; c++) {
            if (row[c] == 0 || done[c]) continue;
            g_byteset set = {0};
            for (uint32_t k = c; k < d.n_class; k++) {
                if (row[k] != row[c]) continue;
                done[k] = true;
                for (int w = 0; w < 4; w++) set.bits[w] |= of_class[k].bits[w];
            }
            nfa_add(a, first + q, NFA_SET, set_index(b, &set), first + row[c]);
        }
        if (d.accept[q]) nfa_add(a, first + q, NFA_EMPTY, 0, end);
    }
    if (d.start != 0) nfa_add(a, from, NFA_EMPTY, 0, first + d.start);
    return end;
}

// What only whole automata can do: made apart, then copied in.
static uint32_t emit_apart(nfa *a, g_rx x, uint32_t from) {
    uint32_t index = g_dfa_of(a->b, x);
    return index == G_NONE ? 0 : emit_dfa(a, index, from);
}

// Adds what leads from `from` through a match of x; returns where it ends.
static uint32_t emit(nfa *a, g_rx x, uint32_t from, unsigned depth) {
    g_build *b = a->b;
    if (b->code != HTH_OK || !g_work(b, 1)) return 0;
    if (depth > 4096) {
        g_fail(b, HTH_ERR_LIMIT, "an expression is nested too deeply");
        return 0;
    }
    const g_rx_node node = b->nodes[x];
    uint32_t to;
    switch ((g_rx_kind)node.kind) {
    case RX_EMPTY: return from;
    case RX_SET:
        to = nfa_state(a);
        nfa_add(a, from, NFA_SET, node.a, to);
        return to;
    case RX_LITERAL: return emit_literal(a, &node, from);
    case RX_CAT:
        for (uint32_t i = 0; i < node.b; i++) from = emit(a, b->kids[node.a + i], from, depth + 1);
        return from;
    case RX_ALT:
        to = nfa_state(a);
        for (uint32_t i = 0; i < node.b; i++) {
            nfa_add(a, emit(a, b->kids[node.a + i], from, depth + 1), NFA_EMPTY, 0, to);
        }
        return to;
    case RX_REPEAT: return emit_repeat(a, node.a, node.min, node.max, from, depth + 1);
    case RX_DFA: return emit_dfa(a, node.a, from);
    case RX_AND:
    case RX_NOT:
    case RX_ANCHORED: return emit_apart(a, x, from);
    case RX_BEGIN:
    case RX_END:
        to = nfa_state(a);
        nfa_add(a, from, node.kind == RX_BEGIN ? NFA_BEGIN : NFA_END, 0, to);
        return to;
    case RX_FAILED:
    case RX_NEVER: break;
    }
    return nfa_state(a); // nothing leads there
}

// ---- sets of states

typedef struct subsets {
    nfa *a;
    uint32_t *mark; // owned, [a->n]: the closure that a state was last seen in
    uint32_t gen;
    uint32_t *stack; // owned, [a->n]
    uint32_t *set;   // owned, [a->n]: the closure at work
    size_t n_set;
    uint32_t final;
    uint32_t *pool; // owned: all sets, each with its size before it
    size_t n_pool, cap_pool;
    uint32_t *at; // owned, [n]: where a state's set begins in the pool
    size_t n, cap_at;
    uint32_t *slots; // owned: hash table of states
    size_t n_slot;
    uint8_t class_of[256];
    uint8_t byte_of[256]; // one byte of each class
    uint32_t n_class;
    g_dfa out;
    size_t cap_next, cap_accept;
} subsets;

static void find_classes(subsets *s) {
    const nfa *a = s->a;
    bool *seen = hth_calloc(HTH_MEM_TEXT, s->a->b->n_set + 1, 1);
    if (!seen) {
        g_fail_nomem(a->b);
        return;
    }
    s->n_class = 1;
    for (size_t i = 0; i < a->n_edge; i++) {
        if (a->edges[i].kind != NFA_SET || seen[a->edges[i].set]) continue;
        seen[a->edges[i].set] = true;
        const g_byteset *set = &a->b->sets[a->edges[i].set];
        int16_t split[256]; // the new class of those of an old one that are in the set
        uint32_t size[256] = {0}, in[256] = {0};
        for (unsigned c = 0; c < 256; c++) {
            size[s->class_of[c]]++;
            in[s->class_of[c]] += set->bits[c >> 6] >> (c & 63) & 1;
        }
        for (uint32_t k = 0, n = s->n_class; k < n; k++) {
            split[k] = in[k] > 0 && in[k] < size[k] ? (int16_t)s->n_class++ : -1;
        }
        for (unsigned c = 0; c < 256; c++) {
            if (split[s->class_of[c]] >= 0 && (set->bits[c >> 6] >> (c & 63) & 1)) s->class_of[c] = (uint8_t)split[s->class_of[c]];
        }
    }
    hth_free(seen);
    for (unsigned c = 0; c < 256; c++) s->byte_of[s->class_of[c]] = (uint8_t)c;
}

// Adds a state and what is reached from it without a byte to the closure at work.
static void close_over(subsets *s, uint32_t state, bool at_begin, bool at_end) {
    size_t n_stack = 0;
    if (s->mark[state] == s->gen) return;
    s->mark[state] = s->gen;
    s->stack[n_stack++] = state;
    while (n_stack > 0) {
        uint32_t q = s->stack[--n_stack];
        bool is_kept = q == s->final;
        for (uint32_t e = s->a->heads[q]; e != G_NONE; e = s->a->edges[e].next) {
            const nfa_edge *edge = &s->a->edges[e];
            is_kept |= edge->kind == NFA_SET || edge->kind == NFA_END;
            const bool passes = edge->kind == NFA_EMPTY || (edge->kind == NFA_BEGIN && at_begin) || (edge->kind == NFA_END && at_end);
            if (!passes || s->mark[edge->to] == s->gen) continue;
            s->mark[edge->to] = s->gen;
            s->stack[n_stack++] = edge->to;
        }
        if (is_kept) s->set[s->n_set++] = q;
    }
}

static int compare_u32(const void *x, const void *y) {
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

static bool grow_slots(subsets *s) {
    size_t n = s->n_slot ? s->n_slot * 2 : 256;
    uint32_t *slots = hth_calloc(HTH_MEM_TEXT, n, sizeof *slots);
    if (!slots) return g_fail_nomem(s->a->b);
    for (size_t i = 0; i < s->n; i++) {
        const uint32_t *p = s->pool + s->at[i];
        size_t k = hth_hash(p + 1, p[0] * sizeof *p, 1) & (n - 1);
        while (slots[k]) k = (k + 1) & (n - 1);
        slots[k] = (uint32_t)i + 1;
    }
    hth_free(s->slots);
    s->slots = slots;
    s->n_slot = n;
    return true;
}

// Whether the text may end in the set at work.
static bool ends_in(subsets *s, const uint32_t *set, size_t n) {
    s->gen++;
    size_t kept = s->n_set;
    bool found = false;
    for (size_t i = 0; i < n; i++) close_over(s, set[i], false, true);
    for (size_t i = kept; i < s->n_set; i++) found |= s->set[i] == s->final;
    s->n_set = kept;
    return found;
}

static bool add_row(subsets *s, uint32_t index, bool accepts) {
    g_build *b = s->a->b;
    const size_t need = (size_t)(index + 1) * s->n_class;
    if (++b->n_dfa_state > b->limits.states) {
        return g_fail(b, HTH_ERR_LIMIT, "the automata have more states than allowed (%u)", b->limits.states);
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&s->out.next, &s->cap_next, need, sizeof *s->out.next, SIZE_MAX) ||
        !hth_grow(HTH_MEM_TEXT, (void **)&s->out.accept, &s->cap_accept, index + 1, 1, SIZE_MAX)) {
        return g_fail_nomem(b);
    }
    memset(s->out.next + (size_t)index * s->n_class, 0, s->n_class * sizeof *s->out.next);
    s->out.accept[index] = accepts;
    return true;
}

// The number of the state whose set is at work; 0 for the empty set.
static uint32_t intern(subsets *s) {
    g_build *b = s->a->b;
    if (s->n_set == 0) return 0;
    qsort(s->set, s->n_set, sizeof *s->set, compare_u32);
    if ((s->n + 1) * 2 > s->n_slot && !grow_slots(s)) return 0;
    size_t k = hth_hash(s->set, s->n_set * sizeof *s->set, 1) & (s->n_slot - 1);
    for (; s->slots[k]; k = (k + 1) & (s->n_slot - 1)) {
        const uint32_t *p = s->pool + s->at[s->slots[k] - 1];
        if (p[0] == s->n_set && memcmp(p + 1, s->set, s->n_set * sizeof *p) == 0) return s->slots[k];
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&s->pool, &s->cap_pool, s->n_pool + s->n_set + 1, sizeof *s->pool, 1u << 26) ||
        !hth_grow(HTH_MEM_TEXT, (void **)&s->at, &s->cap_at, s->n + 1, sizeof *s->at, SIZE_MAX)) {
        g_fail(b, HTH_ERR_LIMIT, "an automaton takes more memory than allowed");
        return 0;
    }
    s->pool[s->n_pool] = (uint32_t)s->n_set;
    memcpy(s->pool + s->n_pool + 1, s->set, s->n_set * sizeof *s->set);
    s->at[s->n] = (uint32_t)s->n_pool;
    s->n_pool += s->n_set + 1;
    s->slots[k] = (uint32_t)++s->n;
    const uint32_t *p = s->pool + s->at[s->n - 1];
    s->n_set = 0;
    return add_row(s, (uint32_t)s->n, ends_in(s, p + 1, p[0])) ? (uint32_t)s->n : 0;
}

static void step(subsets *s, uint32_t state, uint32_t cls) {
    const uint8_t byte = s->byte_of[cls];
    const uint32_t n = s->pool[s->at[state - 1]];
    s->gen++;
    s->n_set = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t q = s->pool[s->at[state - 1] + 1 + i];
        for (uint32_t e = s->a->heads[q]; e != G_NONE; e = s->a->edges[e].next) {
            const nfa_edge *edge = &s->a->edges[e];
            if (edge->kind != NFA_SET || !(s->a->b->sets[edge->set].bits[byte >> 6] >> (byte & 63) & 1)) continue;
            close_over(s, edge->to, false, false);
        }
    }
    if (!g_work(s->a->b, n + s->n_set + 1)) return;
    uint32_t to = intern(s);
    if (s->a->b->code == HTH_OK) s->out.next[(size_t)state * s->n_class + cls] = to;
}

static void explore(subsets *s, uint32_t start, bool is_anchored) {
    if (!add_row(s, 0, false)) return;
    s->gen = 1;
    close_over(s, start, is_anchored, false);
    s->out.start = intern(s);
    for (uint32_t q = 1; q <= s->n && s->a->b->code == HTH_OK; q++) {
        for (uint32_t c = 0; c < s->n_class && s->a->b->code == HTH_OK; c++) step(s, q, c);
    }
    s->out.n_state = (uint32_t)s->n + 1;
    s->out.n_class = s->n_class;
    memcpy(s->out.class_of, s->class_of, sizeof s->class_of);
}

static bool make_subsets(nfa *a, uint32_t start, uint32_t final, bool is_anchored, g_dfa *out) {
    subsets s = {.a = a, .final = final};
    s.mark = hth_calloc(HTH_MEM_TEXT, a->n + 1, sizeof *s.mark);
    s.stack = hth_calloc(HTH_MEM_TEXT, a->n + 1, sizeof *s.stack);
    s.set = hth_calloc(HTH_MEM_TEXT, 2 * a->n + 1, sizeof *s.set); // twice: ends_in works behind the set
    if (s.mark && s.stack && s.set) {
        find_classes(&s);
        if (a->b->code == HTH_OK) explore(&s, start, is_anchored);
    } else {
        g_fail_nomem(a->b);
    }
    hth_free(s.mark);
    hth_free(s.stack);
    hth_free(s.set);
    hth_free(s.pool);
    hth_free(s.at);
    hth_free(s.slots);
    if (a->b->code != HTH_OK) g_dfa_release(&s.out);
    *out = s.out;
    return a->b->code == HTH_OK;
}

bool g_dfa_from_rx(g_build *b, g_rx x, bool is_anchored, g_dfa *out) {
    *out = (g_dfa){0};
    if (b->code != HTH_OK) return false;
    nfa a = {.b = b};
    uint32_t start = nfa_state(&a);
    uint32_t final = emit(&a, x, start, 0);
    bool ok = b->code == HTH_OK && make_subsets(&a, start, final, is_anchored, out);
    hth_free(a.heads);
    hth_free(a.edges);
    return ok;
}
