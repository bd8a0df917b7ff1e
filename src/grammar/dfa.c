// Deterministic automata: products, complements, trimming, merging of equal states.
#include "grammar/build.h"

#include <string.h>

bool g_dfa_matches(const g_dfa *d, const void *text, size_t n) {
    uint32_t q = d->start;
    for (size_t i = 0; i < n && q; i++) q = g_dfa_step(d, q, ((const uint8_t *)text)[i]);
    return q && d->accept[q];
}

bool g_dfa_alloc(g_build *b, uint32_t n_state, uint32_t n_class, g_dfa *out) {
    *out = (g_dfa){.n_state = n_state, .n_class = n_class};
    if (b->code != HTH_OK) return false;
    if (n_state > b->limits.states) {
        return g_fail(b, HTH_ERR_LIMIT, "an automaton has more states than allowed (%u)", b->limits.states);
    }
    out->next = hth_calloc(HTH_MEM_TEXT, (size_t)n_state * n_class, sizeof *out->next);
    out->accept = hth_calloc(HTH_MEM_TEXT, n_state, 1);
    if (out->next && out->accept) return true;
    g_dfa_release(out);
    return g_fail_nomem(b);
}

void g_dfa_release(g_dfa *d) {
    hth_free(d->next);
    hth_free(d->accept);
    *d = (g_dfa){0};
}

// ---- products

typedef struct product {
    g_build *b;
    const g_dfa *x, *y;
    uint64_t *pairs; // owned
    size_t n, cap;
    uint32_t *slots; // owned
    size_t n_slot;
    g_dfa out;
    size_t cap_next, cap_accept;
    uint8_t byte_of[256];
} product;

static size_t pair_slot(const product *p, uint64_t pair) {
    size_t k = (size_t)(pair * 0x9e3779b97f4a7c15ull >> 20) & (p->n_slot - 1);
    while (p->slots[k] && p->pairs[p->slots[k] - 1] != pair) k = (k + 1) & (p->n_slot - 1);
    return k;
}

static bool grow_pairs(product *p) {
    if ((p->n + 1) * 2 <= p->n_slot) return true;
    size_t n = p->n_slot ? p->n_slot * 2 : 256;
    uint32_t *slots = hth_calloc(HTH_MEM_TEXT, n, sizeof *slots);
    if (!slots) return g_fail_nomem(p->b);
    hth_free(p->slots);
    p->slots = slots;
    p->n_slot = n;
    for (size_t i = 0; i < p->n; i++) slots[pair_slot(p, p->pairs[i])] = (uint32_t)i + 1;
    return true;
}

static uint32_t pair_state(product *p, uint32_t qx, uint32_t qy) {
    g_build *b = p->b;
    if (!qx || !qy || !grow_pairs(p)) return 0;
    const uint64_t pair = (uint64_t)qx << 32 | qy;
    size_t k = pair_slot(p, pair);
    if (p->slots[k]) return p->slots[k];
    const uint32_t nc = p->out.n_class, q = (uint32_t)p->n + 1;
    if (++b->n_dfa_state > b->limits.states) {
        g_fail(b, HTH_ERR_LIMIT, "the automata have more states than allowed (%u)", b->limits.states);
        return 0;
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&p->pairs, &p->cap, p->n + 1, sizeof *p->pairs, SIZE_MAX) ||
        !hth_grow(HTH_MEM_TEXT, (void **)&p->out.next, &p->cap_next, (size_t)(q + 1) * nc, sizeof *p->out.next, SIZE_MAX) ||
        !hth_grow(HTH_MEM_TEXT, (void **)&p->out.accept, &p->cap_accept, q + 1, 1, SIZE_MAX)) {
        g_fail_nomem(b);
        return 0;
    }
    p->pairs[p->n++] = pair;
    p->slots[k] = q;
    memset(p->out.next + (size_t)q * nc, 0, nc * sizeof *p->out.next);
    p->out.accept[q] = p->x->accept[qx] && p->y->accept[qy];
    return q;
}

static void join_classes(product *p) {
    int16_t of_pair[256];
    uint32_t n = 0;
    uint8_t cx[256], cy[256];
    for (unsigned c = 0; c < 256; c++) {
        uint32_t k = 0;
        while (k < n && (cx[k] != p->x->class_of[c] || cy[k] != p->y->class_of[c])) k++;
        if (k == n) {
            cx[n] = p->x->class_of[c];
            cy[n] = p->y->class_of[c];
            of_pair[n++] = (int16_t)c;
        }
        p->out.class_of[c] = (uint8_t)k;
    }
    for (uint32_t k = 0; k < n; k++) p->byte_of[k] = (uint8_t)of_pair[k];
    p->out.n_class = n;
}

bool g_dfa_product(g_build *b, const g_dfa *x, const g_dfa *y, g_dfa *out) {
    product p = {.b = b, .x = x, .y = y};
    *out = (g_dfa){0};
    if (b->code != HTH_OK) return false;
    join_classes(&p);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&p.out.next, &p.cap_next, p.out.n_class, sizeof *p.out.next, SIZE_MAX) ||
        !hth_grow(HTH_MEM_TEXT, (void **)&p.out.accept, &p.cap_accept, 1, 1, SIZE_MAX)) {
        g_dfa_release(&p.out);
        return g_fail_nomem(b);
    }
    memset(p.out.next, 0, p.out.n_class * sizeof *p.out.next);
    p.out.accept[0] = 0;
    p.out.start = pair_state(&p, x->start, y->start);
    for (uint32_t q = 1; q <= p.n && g_work(b, p.out.n_class); q++) {
        const uint32_t qx = (uint32_t)(p.pairs[q - 1] >> 32), qy = (uint32_t)p.pairs[q - 1];
        for (uint32_t c = 0; c < p.out.n_class && b->code == HTH_OK; c++) {
            uint32_t to = pair_state(&p, g_dfa_step(x, qx, p.byte_of[c]), g_dfa_step(y, qy, p.byte_of[c]));
            p.out.next[(size_t)q * p.out.n_class + c] = to;
        }
    }
    p.out.n_state = (uint32_t)p.n + 1;
    hth_free(p.pairs);
    hth_free(p.slots);
    if (b->code != HTH_OK) g_dfa_release(&p.out);
    *out = p.out;
    return b->code == HTH_OK;
}

// The dead state becomes a living one, whose place a new dead state takes: state q turns into q + 1.
bool g_dfa_complement(g_build *b, const g_dfa *x, g_dfa *out) {
    if (!g_dfa_alloc(b, x->n_state + 1, x->n_class, out)) return false;
    memcpy(out->class_of, x->class_of, sizeof x->class_of);
    out->start = x->start + 1;
    for (uint32_t q = 0; q < x->n_state; q++) {
        out->accept[q + 1] = !(q && x->accept[q]);
        for (uint32_t c = 0; c < x->n_class; c++) {
            out->next[(size_t)(q + 1) * x->n_class + c] = (q ? x->next[(size_t)q * x->n_class + c] : 0) + 1;
        }
    }
    return true;
}

// ---- trimming

// Marks the states from which a match can be reached, by going backwards over the edges in rounds.
static bool find_living(g_build *b, const g_dfa *d, uint8_t *lives) {
    uint32_t *first = hth_calloc(HTH_MEM_TEXT, d->n_state + 2, sizeof *first);
    uint32_t *from = hth_calloc(HTH_MEM_TEXT, (size_t)d->n_state * d->n_class + 1, sizeof *from);
    uint32_t *stack = hth_calloc(HTH_MEM_TEXT, d->n_state + 1, sizeof *stack);
    size_t n_stack = 0;
    const size_t n_edge = (size_t)d->n_state * d->n_class;
    if (first && from && stack) {
        for (size_t i = d->n_class; i < n_edge; i++) first[d->next[i] + 1]++;
        for (uint32_t q = 0; q <= d->n_state; q++) first[q + 1] += first[q];
        for (size_t i = n_edge; i-- > d->n_class;) from[--first[d->next[i] + 1]] = (uint32_t)(i / d->n_class);
        for (uint32_t q = 1; q < d->n_state; q++) {
            if (d->accept[q]) stack[n_stack++] = q;
            lives[q] = d->accept[q];
        }
        while (n_stack > 0) { // first[q + 1] is now where the edges into q begin, first[q + 2] where they end
            const uint32_t q = stack[--n_stack];
            const size_t end = q + 2 <= d->n_state ? first[q + 2] : n_edge - d->n_class;
            for (size_t i = first[q + 1]; i < end; i++) {
                if (from[i] == 0 || lives[from[i]]) continue;
                lives[from[i]] = 1;
                stack[n_stack++] = from[i];
            }
        }
    } else {
        g_fail_nomem(b);
    }
    hth_free(first);
    hth_free(from);
    hth_free(stack);
    return b->code == HTH_OK;
}

// Hopcroft's refinement. A block's states are neighbours in `order`; a splitter is a block and a class of bytes.
typedef struct partition {
    uint32_t n_state, n_class, n_block;
    uint32_t *block_of;         // borrowed, [n_state]
    uint32_t *order, *place;    // owned, [n_state]; place: where a state is in order
    uint32_t *first, *n_marked; // owned, [n_state + 1]; a block's marked states come first
    uint32_t *end;              // owned, [n_state + 1]
    uint32_t *from_at, *from;   // owned: the states that lead to state q by class c begin at from_at[c * n_state + q]
    uint64_t *work;             // owned, [n_state * n_class]: splitters to look at
    size_t n_work;
    uint32_t *touched, *splitter; // owned, [n_state]
} partition;

static void partition_free(partition *p) {
    hth_free(p->order);
    hth_free(p->place);
    hth_free(p->first);
    hth_free(p->n_marked);
    hth_free(p->end);
    hth_free(p->from_at);
    hth_free(p->from);
    hth_free(p->work);
    hth_free(p->touched);
    hth_free(p->splitter);
}

static bool partition_alloc(partition *p) {
    const size_t n = (size_t)p->n_state + 1, n_edge = n * p->n_class;
    p->order = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->order);
    p->place = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->place);
    p->first = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->first);
    p->n_marked = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->n_marked);
    p->end = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->end);
    p->from_at = hth_calloc(HTH_MEM_TEXT, n_edge + 1, sizeof *p->from_at);
    p->from = hth_calloc(HTH_MEM_TEXT, n_edge, sizeof *p->from);
    p->work = hth_calloc(HTH_MEM_TEXT, n_edge, sizeof *p->work);
    p->touched = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->touched);
    p->splitter = hth_calloc(HTH_MEM_TEXT, n, sizeof *p->splitter);
    return p->order && p->place && p->first && p->n_marked && p->end && p->from_at && p->from && p->work && p->touched && p->splitter;
}

static void push_block(partition *p, uint32_t block) {
    for (uint32_t c = 0; c < p->n_class; c++) p->work[p->n_work++] = (uint64_t)block << 32 | c;
}

// Blocks 0 (dead), 1 and 2 as block_of says. What leads to the dead state follows from the rest.
static void begin_partition(partition *p, const g_dfa *d) {
    const uint32_t n = p->n_state;
    uint32_t at = 0;
    for (uint32_t block = 0; block < 3; block++) {
        p->first[p->n_block] = at;
        for (uint32_t q = 0; q < n; q++) {
            if (p->block_of[q] == block) p->order[at++] = q;
        }
        p->end[p->n_block] = at;
        p->n_block += at > p->first[p->n_block];
    }
    for (uint32_t i = 0; i < n; i++) p->place[p->order[i]] = i;
    for (uint32_t k = 0; k < p->n_block; k++) {
        for (uint32_t i = p->first[k]; i < p->end[k]; i++) p->block_of[p->order[i]] = k;
        if (k > 0) push_block(p, k);
    }
    for (uint32_t q = 1; q < n; q++) {
        for (uint32_t c = 0; c < p->n_class; c++) {
            const uint32_t to = d->next[(size_t)q * p->n_class + c];
            if (to) p->from_at[(size_t)c * n + to]++;
        }
    }
    for (size_t i = 1; i <= (size_t)n * p->n_class; i++) p->from_at[i] += p->from_at[i - 1]; // where each ends
    for (uint32_t q = n; q-- > 1;) {
        for (uint32_t c = 0; c < p->n_class; c++) {
            const uint32_t to = d->next[(size_t)q * p->n_class + c];
            if (to) p->from[--p->from_at[(size_t)c * n + to]] = q; // and in the end, begins
        }
    }
}

static void mark(partition *p, uint32_t q, size_t *n_touched) {
    const uint32_t block = p->block_of[q], at = p->place[q], to = p->first[block] + p->n_marked[block];
    if (at < to) return; // marked already
    if (p->n_marked[block]++ == 0) p->touched[(*n_touched)++] = block;
    const uint32_t other = p->order[to];
    p->order[to] = q;
    p->order[at] = other;
    p->place[q] = to;
    p->place[other] = at;
}

// The smaller part of a block that is marked in part becomes a new one.
static void split_block(partition *p, uint32_t block) {
    const uint32_t n = p->end[block] - p->first[block], n_marked = p->n_marked[block];
    p->n_marked[block] = 0;
    if (n_marked == n) return;
    const uint32_t made = p->n_block++, cut = p->first[block] + n_marked;
    if (n_marked <= n - n_marked) {
        p->first[made] = p->first[block];
        p->end[made] = p->first[block] = cut;
    } else {
        p->end[made] = p->end[block];
        p->first[made] = p->end[block] = cut;
    }
    for (uint32_t i = p->first[made]; i < p->end[made]; i++) p->block_of[p->order[i]] = made;
    push_block(p, made);
}

// Splits all blocks by whether class c leads into a block.
static void split_by(g_build *b, partition *p, uint32_t block, uint32_t c) {
    const uint32_t n = p->end[block] - p->first[block];
    size_t n_touched = 0;
    uint64_t n_edge = 0;
    memcpy(p->splitter, p->order + p->first[block], n * sizeof *p->splitter); // marking moves them
    for (uint32_t i = 0; i < n; i++) {
        const size_t at = (size_t)c * p->n_state + p->splitter[i];
        for (uint32_t k = p->from_at[at]; k < p->from_at[at + 1]; k++) mark(p, p->from[k], &n_touched);
        n_edge += p->from_at[at + 1] - p->from_at[at];
    }
    for (size_t i = 0; i < n_touched; i++) split_block(p, p->touched[i]);
    (void)g_work(b, n + n_edge);
}

// Leaves in block_of the classes of states that no text tells apart.
static bool refine(g_build *b, const g_dfa *d, uint32_t *block_of, uint32_t *n_block) {
    partition p = {.n_state = d->n_state, .n_class = d->n_class, .block_of = block_of};
    if (partition_alloc(&p)) begin_partition(&p, d);
    else g_fail_nomem(b);
    while (p.n_work > 0 && b->code == HTH_OK) {
        const uint64_t splitter = p.work[--p.n_work];
        split_by(b, &p, (uint32_t)(splitter >> 32), (uint32_t)splitter);
    }
    *n_block = p.n_block;
    partition_free(&p);
    return b->code == HTH_OK;
}

// Which state each becomes: equal ones the same, dead ones 0.
static bool number_states(g_build *b, const g_dfa *d, uint32_t *number, uint32_t *n) {
    uint32_t n_block = 0;
    for (uint32_t q = 1; q < d->n_state; q++) {
        if (number[q]) number[q] = d->accept[q] ? 2 : 1;
    }
    g_dfa living = *d; // with edges to dead states cut
    if (!g_work(b, (uint64_t)d->n_state * d->n_class)) return false;
    for (size_t i = 0; i < (size_t)d->n_state * d->n_class; i++) {
        if (!number[living.next[i]]) living.next[i] = 0;
    }
    uint32_t *first = hth_calloc(HTH_MEM_TEXT, d->n_state, sizeof *first);
    if (!first) return g_fail_nomem(b);
    memcpy(first, number, d->n_state * sizeof *first);
    *n = 1;
    uint32_t *rename = refine(b, &living, number, &n_block) ? hth_calloc(HTH_MEM_TEXT, (size_t)n_block + 1, sizeof *rename) : NULL;
    if (!rename) g_fail_nomem(b); // or what was wrong before
    for (uint32_t q = 1; rename && q < d->n_state; q++) { // blocks of dead states vanish, the others keep their order
        if (first[q] && !rename[number[q]]) rename[number[q]] = (*n)++;
        number[q] = first[q] ? rename[number[q]] : 0;
    }
    hth_free(rename);
    hth_free(first);
    return b->code == HTH_OK;
}

// Copies the states that remain into the arena.
static bool compact(g_build *b, const g_dfa *d, const uint32_t *number, uint32_t n, g_dfa *out) {
    *out = *d;
    out->n_state = n;
    out->start = number[d->start];
    out->next = g_alloc(b, (size_t)n * d->n_class, sizeof *out->next);
    out->accept = g_alloc(b, n, 1);
    if (!out->next || !out->accept) return false;
    for (uint32_t q = 1; q < d->n_state; q++) {
        if (!number[q]) continue;
        uint32_t any = 0;
        for (uint32_t c = 0; c < d->n_class; c++) {
            const uint32_t to = number[d->next[(size_t)q * d->n_class + c]];
            out->next[(size_t)number[q] * d->n_class + c] = to;
            any |= to;
        }
        out->accept[number[q]] = !d->accept[q] ? 0 : any ? DFA_ACCEPTS : DFA_ENDS;
    }
    return true;
}

uint32_t g_dfa_keep(g_build *b, const g_dfa *d) {
    if (b->code != HTH_OK) return G_NONE;
    if (!hth_grow(HTH_MEM_TEXT, (void **)&b->dfas, &b->cap_dfa, b->n_dfa + 1, sizeof *b->dfas, 1u << 22)) {
        g_fail_nomem(b);
        return G_NONE;
    }
    uint8_t *lives = hth_calloc(HTH_MEM_TEXT, d->n_state, 1);
    uint32_t *number = hth_calloc(HTH_MEM_TEXT, d->n_state, sizeof *number);
    uint32_t n = 0;
    g_dfa out;
    bool ok = lives && number ? find_living(b, d, lives) : g_fail_nomem(b);
    for (uint32_t q = 1; ok && q < d->n_state; q++) number[q] = lives[q];
    ok = ok && number_states(b, d, number, &n) && compact(b, d, number, n, &out);
    hth_free(lives);
    hth_free(number);
    if (!ok) return G_NONE;
    b->dfas[b->n_dfa] = out;
    return (uint32_t)b->n_dfa++;
}

static bool make(g_build *b, g_rx x, g_dfa *out) {
    const g_rx_node node = b->nodes[x];
    if (node.kind == RX_ANCHORED) return g_dfa_from_rx(b, node.a, true, out);
    if (node.kind != RX_AND && node.kind != RX_NOT) return g_dfa_from_rx(b, x, false, out);
    uint32_t i = g_dfa_of(b, node.kind == RX_AND ? b->kids[node.a] : node.a);
    if (i == G_NONE) return false;
    if (node.kind == RX_NOT) return g_dfa_complement(b, &b->dfas[i], out);
    uint32_t k = g_dfa_of(b, b->kids[node.a + 1]);
    return k != G_NONE && g_dfa_product(b, &b->dfas[i], &b->dfas[k], out);
}

uint32_t g_dfa_of(g_build *b, g_rx x) {
    if (b->code != HTH_OK) return G_NONE;
    if (b->nodes[x].kind == RX_DFA) return b->nodes[x].a;
    g_dfa d = {0};
    if (!make(b, x, &d)) return G_NONE;
    uint32_t index = g_dfa_keep(b, &d);
    g_dfa_release(&d);
    return index;
}
