// Breadth-first over characters: from a set of states to the set after any one character of a class.
#include "grammar/plain.h"

#include <string.h>

#define MAX_SET 48 // more states at once are not followed

typedef struct states {
    uint32_t q[MAX_SET];
    size_t n;
} states;

static bool add_state(states *s, uint32_t q) {
    if (q == 0) return false;
    for (size_t i = 0; i < s->n; i++) {
        if (s->q[i] == q) return true;
    }
    if (s->n == MAX_SET) return false;
    s->q[s->n++] = q;
    return true;
}

// All states after one byte of [first, last]; false where one is dead.
static bool step_range(const g_dfa *d, const states *from, unsigned first, unsigned last, states *to) {
    bool seen[256] = {false};
    for (unsigned c = first; c <= last; c++) {
        if (seen[d->class_of[c]]) continue;
        seen[d->class_of[c]] = true;
        for (size_t i = 0; i < from->n; i++) {
            if (!add_state(to, g_dfa_step(d, from->q[i], (uint8_t)c))) return false;
        }
    }
    return true;
}

static bool step_ascii(const g_dfa *d, const states *from, int class, states *to) {
    if (class <= PLAIN_WORD) {
        return step_range(d, from, '0', '9', to) && step_range(d, from, 'A', 'Z', to) && step_range(d, from, 'a', 'z', to) &&
               (class == PLAIN_ALNUM || step_range(d, from, '_', '_', to));
    }
    return step_range(d, from, ' ', '!', to) && step_range(d, from, '#', '[', to) && step_range(d, from, ']', '~', to);
}

// The forms of UTF-8 (Unicode, table 3-7).
static bool step_utf8(const g_dfa *d, const states *from, states *to) {
    static const uint8_t forms[][8] = {
        {0xc2, 0xdf, 0x80, 0xbf},
        {0xe0, 0xe0, 0xa0, 0xbf, 0x80, 0xbf},
        {0xe1, 0xec, 0x80, 0xbf, 0x80, 0xbf},
        {0xed, 0xed, 0x80, 0x9f, 0x80, 0xbf},
        {0xee, 0xef, 0x80, 0xbf, 0x80, 0xbf},
        {0xf0, 0xf0, 0x90, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {0xf1, 0xf3, 0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf},
        {0xf4, 0xf4, 0x80, 0x8f, 0x80, 0xbf, 0x80, 0xbf},
    };
    for (size_t f = 0; f < HTH_COUNT(forms); f++) {
        states at = *from;
        for (unsigned i = 0; i < 8 && forms[f][i]; i += 2) {
            states next = {.n = 0};
            if (!step_range(d, &at, forms[f][i], forms[f][i + 1], &next)) return false;
            at = next;
        }
        for (size_t i = 0; i < at.n; i++) {
            if (!add_state(to, at.q[i])) return false;
        }
    }
    return step_range(d, from, 0x7f, 0x7f, to);
}

static bool step_char(const g_dfa *d, const states *from, int class, states *to) {
    to->n = 0;
    return step_ascii(d, from, class, to) && (class < PLAIN_ANY || step_utf8(d, from, to));
}

static bool has_state(const states *s, uint32_t q) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->q[i] == q) return true;
    }
    return false;
}

static unsigned measure(const g_dfa *d, uint32_t q, int class) {
    states at = {.n = 1, .q = {q}}, next, all = at;
    for (unsigned n = 0; n < PLAIN_MAX; n++) {
        if (!step_char(d, &at, class, &next)) return n;
        at.n = 0; // goes on with what is new
        for (size_t i = 0; i < next.n; i++) {
            if (has_state(&all, next.q[i])) continue;
            if (!add_state(&all, next.q[i])) return n + 1;
            at.q[at.n++] = next.q[i];
        }
        if (at.n == 0) return PLAIN_MAX; // it goes in a circle
    }
    return PLAIN_MAX;
}

static unsigned of_dfa(plain_memo *m, const hth_grammar *g, uint32_t dfa, uint32_t q, int class) {
    const g_dfa *d = &g->dfas[dfa];
    if (!m->known) {
        m->known = hth_calloc(HTH_MEM_TEXT, (size_t)g->n_dfa + 1, sizeof *m->known);
        if (!m->known) return 0;
        m->n_dfa = g->n_dfa;
    }
    if (!m->known[dfa]) m->known[dfa] = hth_calloc(HTH_MEM_TEXT, (size_t)PLAIN_COUNT * d->n_state, 1);
    if (!m->known[dfa]) return 0;
    uint8_t *known = &m->known[dfa][(size_t)class * d->n_state + q];
    if (*known == 0) *known = (uint8_t)(measure(d, q, class) + 1);
    return *known - 1u;
}

void plain_free(plain_memo *m) {
    for (size_t i = 0; m->known && i < m->n_dfa; i++) hth_free(m->known[i]);
    hth_free(m->known);
    *m = (plain_memo){0};
}

unsigned plain_length(plain_memo *m, const hth_grammar *g, const g_term *t, uint32_t q, int class) {
    if (t->kind == TERM_TOKENS) return 0;
    if (t->kind == TERM_DFA) return of_dfa(m, g, t->dfa, q, class);
    const g_dfa *d = &g->dfas[t->dfa];
    if (q < 3 || ((q - 3) & ((1u << G_COUNT_SHIFT) - 1)) != d->start) return 0;
    if (of_dfa(m, g, t->dfa, d->start, class) == 0) return 0;
    if (t->max == G_INFINITE) return PLAIN_MAX;
    const uint32_t left = t->max - ((q - 3) >> G_COUNT_SHIFT);
    return left < PLAIN_MAX ? left : PLAIN_MAX;
}
