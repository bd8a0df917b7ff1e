// Rules with expressions, as GBNF and Lark write them, on their way to a network. What is regular and not too large
// becomes terminals, the larger the better: inside a terminal nothing but its automaton is followed.
#ifndef HTH_GRAMMAR_EBNF_H
#define HTH_GRAMMAR_EBNF_H

#include "grammar/build.h"

typedef uint32_t e_node; // by number; 0 is the failed one

typedef struct e_rule {
    const char *name; // borrowed from the text
    uint32_t n_name;
    uint64_t pos;     // where it was first named, for errors
    e_node body;      // 0: not defined
    bool is_terminal; // must be regular
    bool is_regular;
    g_rx rx;       // of a regular one
    uint32_t rule; // of the network, for the others
} e_rule;

typedef struct e_expr {
    uint8_t kind;
    uint32_t a, b;     // as of g_rx_node
    uint32_t min, max;
} e_expr;

typedef struct ebnf {
    g_build *b;
    const char *text;
    size_t n, at;   // the reader's place
    unsigned depth; // open brackets
    g_encoding enc; // how the grammar's characters are written
    e_expr *nodes;  // owned
    size_t n_node, cap_node;
    e_node *kids; // owned
    size_t n_kid, cap_kid;
    e_rule *rules; // owned
    size_t n_rule, cap_rule;
    hth_map by_name;
    // the lists of alternatives and sequences that are open while parsing
    e_node *stack; // owned
    size_t n_stack, cap_stack;
} ebnf;

bool e_init(ebnf *e, g_build *b, const char *text, size_t n);
void e_free(ebnf *e);
// Fails with the line of the reader's place. Always 0.
uint32_t e_bad(ebnf *e, hth_code code, const char *what);
// The rule of a name, made where it is new.
uint32_t e_rule_of(ebnf *e, const char *name, size_t n);

e_node e_rx(ebnf *e, g_rx x);
e_node e_ref(ebnf *e, uint32_t rule);
e_node e_net(ebnf *e, uint32_t net_rule); // a rule that is in the network already
e_node e_tokens(ebnf *e, const g_token_set *set);
e_node e_cat(ebnf *e, const e_node *list, size_t n);
e_node e_alt(ebnf *e, const e_node *list, size_t n);
e_node e_and(ebnf *e, e_node x, e_node y); // of regular ones, as the next
e_node e_not(ebnf *e, e_node x);            // any other text
e_node e_repeat(ebnf *e, e_node x, uint32_t min, uint32_t max);
void e_push(ebnf *e, e_node x); // on the stack
e_node e_cat_from(ebnf *e, size_t base); // what lies on the stack from `base` on, which is taken away
e_node e_alt_from(ebnf *e, size_t base);

// Turns all rules into the network, beginning with `start`.
bool e_finish(ebnf *e, uint32_t start);

// What both languages write alike: after "<": [12] or [5-9] or a name, up to ">". `negated` for !<...>.
e_node e_take_token(ebnf *e, bool negated);
bool e_take_number(ebnf *e, uint32_t *out);

#endif
