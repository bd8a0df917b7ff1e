// A compiled grammar as the guide reads it.
#ifndef HTH_GRAMMAR_IMPL_H
#define HTH_GRAMMAR_IMPL_H

#include <stdatomic.h>

#include "grammar/build.h"

// Rules are networks: states joined by edges that take a terminal, a rule, or nothing. Every rule is productive and
// every state leads to its rule's end, so that whatever was accepted so far can be completed.
struct hth_grammar {
    atomic_int n_holder;
    hth_arena arena; // owns everything below
    const g_dfa *dfas;
    const g_term *terms;
    const g_token_set *tokens;
    const uint32_t *first; // [n_state + 1]: a state's edges
    const g_edge *edges;
    const uint32_t *ends;  // [n_state]: the rule that ends in a state, or G_NONE
    const g_rule *rules;
    const uint8_t *nullable; // [n_rule]
    uint32_t n_dfa, n_term, n_tokens, n_state, n_rule, start_rule;
    uint8_t class_of[256]; // bytes that no terminal tells apart
    uint8_t byte_of[256];
    uint16_t n_byte[256]; // bytes in a class
    uint32_t n_class;
    char **widened;
    size_t n_widened;
};

#endif
