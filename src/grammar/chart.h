// Where one can be in a grammar, found as it is needed and remembered.
//
//   place  what has been read so far, as far as it matters: configurations of terminals that are half read, and whether
//          the text may end. Stepping by a byte leads to another place; steps are kept in a table
//   set    an Earley set: rules that are half done, each with the set in which it began. Sets are made where a terminal
//          ends, and two with the same content are one, so lists and siblings come back to the same places
//
// A place never holds a configuration from which the text cannot be completed.
#ifndef HTH_GRAMMAR_CHART_H
#define HTH_GRAMMAR_CHART_H

#include "grammar/impl.h"

#define PLACE_NONE 0u // nothing is possible

typedef struct chart_config {
    uint32_t term, q; // a terminal and the state of its automaton
    uint32_t set;     // where it began
} chart_config;

typedef struct chart_place {
    uint32_t config, n_config; // in the pool
    uint32_t set;              // that ends here, or G_NONE
    int32_t mask;              // of the guide's cache, -1
    bool accepting;
} chart_place;

typedef struct chart_item {
    uint32_t state, origin;
} chart_item;

typedef struct chart_link { // a half done rule that waits for a terminal or a rule
    uint32_t id, to, origin;
} chart_link;

typedef struct chart_set {
    uint32_t kernel, n_kernel;
    uint32_t scan, n_scan; // for terminals, sorted
    uint32_t wait, n_wait; // for rules, sorted
    bool accepting;
} chart_set;

typedef struct chart_index { // an open hash table of numbers
    uint32_t *slots;
    size_t n_slot;
} chart_index;

typedef struct hth_chart {
    const hth_grammar *g; // borrowed
    uint64_t n_bytes, max_bytes;
    hth_code code;        // sticky: why a step could not be made
    chart_place *places;  // owned; 0 is PLACE_NONE
    size_t n_place, cap_place;
    uint32_t *next; // owned, [cap_next, n_class]: place + 1, 0 where not known yet
    size_t cap_next;
    chart_config *configs; // owned
    size_t n_config, cap_config;
    chart_set *sets; // owned
    size_t n_set, cap_set;
    chart_item *items; // owned: kernels
    size_t n_item, cap_item;
    chart_link *links; // owned
    size_t n_link, cap_link;
    chart_index place_index, set_index;
    // work space
    chart_item *todo, *kernel;
    size_t n_todo, cap_todo, n_kernel, cap_kernel;
    chart_link *scan, *wait;
    size_t n_scan, cap_scan, n_wait, cap_wait;
    chart_config *live;
    size_t n_live, cap_live;
    uint64_t *seen; // hash set of items, emptied by its generation
    uint32_t *seen_gen;
    size_t n_seen, cap_seen;
    uint32_t gen;
    uint32_t start; // the first place
} hth_chart;

HTH_NODISCARD hth_code chart_init(hth_chart *c, const hth_grammar *g, uint64_t max_bytes, hth_err *err);
void chart_free(hth_chart *c);
// Forgets everything but the first place.
HTH_NODISCARD hth_code chart_reset(hth_chart *c, hth_err *err);
// The place after one byte of a class, PLACE_NONE where there is none or c->code was set.
uint32_t chart_find(hth_chart *c, uint32_t place, uint32_t class);
static inline uint32_t chart_step(hth_chart *c, uint32_t place, uint32_t class) {
    const uint32_t known = c->next[(size_t)place * c->g->n_class + class];
    return HTH_LIKELY(known != 0) ? known - 1 : chart_find(c, place, class);
}
// The place after the token sets that `has` says the token is in.
uint32_t chart_step_token(hth_chart *c, uint32_t place, const g_token_set *sets, int32_t token, bool has_text);

// The place where a terminal that began in `set` has got to state q, at which it accepts.
uint32_t chart_enter(hth_chart *c, uint32_t term, uint32_t q, uint32_t set);

// States of terminals: 0 is dead. Of a counted one, 1 is before its first quote, 2 is its end; the others are pairs of a
// count and a state of the character's automaton.
static inline uint32_t counted_state(uint32_t count, uint32_t s) {
    return 3 + (count << G_COUNT_SHIFT) + s;
}

static inline uint32_t counted_step(const g_dfa *d, const g_term *t, uint32_t q, uint8_t byte) {
    if (q == 1) return byte == '"' ? counted_state(0, d->start) : 0;
    if (q < 3) return 0;
    uint32_t count = (q - 3) >> G_COUNT_SHIFT, s = (q - 3) & ((1u << G_COUNT_SHIFT) - 1);
    if (s == d->start && byte == '"') return count >= t->min ? 2 : 0;
    if (s == d->start && count == t->max) return 0;
    s = g_dfa_step(d, s, byte);
    if (s == 0) return 0;
    if (!d->accept[s]) return counted_state(count, s);
    if (t->max != G_INFINITE || count < t->min) count++;
    return counted_state(count, d->start);
}

uint32_t term_start(const hth_grammar *g, const g_term *t);

static inline uint32_t term_step(const hth_grammar *g, const g_term *t, uint32_t q, uint8_t byte) {
    if (t->kind == TERM_DFA) return g_dfa_step(&g->dfas[t->dfa], q, byte);
    return t->kind == TERM_COUNTED ? counted_step(&g->dfas[t->dfa], t, q, byte) : 0;
}

// 0, DFA_ACCEPTS, or DFA_ENDS where nothing more may follow.
static inline int term_accepts(const hth_grammar *g, const g_term *t, uint32_t q) {
    return t->kind == TERM_DFA ? g->dfas[t->dfa].accept[q] : q == 2 ? DFA_ENDS : 0;
}

#endif
