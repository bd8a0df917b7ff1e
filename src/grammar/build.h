// What one compilation works with: limits, memory, and the first thing that went wrong. The front ends (schema, GBNF,
// Lark, regular expressions) and the back end (automata, network) share it.
//
// Errors are sticky: after the first one every function does nothing and returns 0 or false, so that a long construction
// is checked once, at its end.
#ifndef HTH_GRAMMAR_BUILD_H
#define HTH_GRAMMAR_BUILD_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/str.h"
#include "grammar/grammar.h"
#include "text/cpset.h"

#define G_INFINITE UINT32_MAX
#define G_NONE UINT32_MAX

// ---- automata over bytes

// Deterministic and trimmed: from every state but 0 a match can be reached. State 0 is dead.
typedef struct g_dfa {
    uint32_t n_state, n_class, start;
    uint8_t class_of[256];
    uint32_t *next;  // [n_state, n_class]
    uint8_t *accept; // [n_state]: 0, DFA_ACCEPTS, or DFA_ENDS where no byte may follow
} g_dfa;

enum { DFA_ACCEPTS = 1, DFA_ENDS = 2 };

static inline uint32_t g_dfa_step(const g_dfa *d, uint32_t q, uint8_t byte) {
    return d->next[q * d->n_class + d->class_of[byte]];
}
bool g_dfa_matches(const g_dfa *d, const void *text, size_t n);

// ---- regular expressions over bytes: nodes of a tree, by number; 0 is the failed one

typedef uint32_t g_rx;

typedef enum g_rx_kind {
    RX_FAILED,
    RX_EMPTY,   // the empty text
    RX_NEVER,   // nothing
    RX_SET,     // one byte of set a
    RX_LITERAL, // b bytes at a of the pool
    RX_CAT,     // children [a, a + b)
    RX_ALT,
    RX_REPEAT,   // child a, min to max times
    RX_AND,      // both children
    RX_NOT,      // all other byte strings than child a
    RX_DFA,      // automaton a
    RX_BEGIN,    // ^, inside RX_ANCHORED
    RX_END,      // $
    RX_ANCHORED, // child a with its anchors resolved: the text begins and ends with it
} g_rx_kind;

typedef struct g_rx_node {
    uint8_t kind;
    uint32_t a, b;
    uint32_t min, max;
    uint32_t weight; // states that it takes, roughly
} g_rx_node;

typedef struct g_byteset {
    uint64_t bits[4];
} g_byteset;

// How a character is written.
typedef enum g_encoding {
    ENC_UTF8,
    ENC_JSON,       // inside a JSON string, in every way that means it
    ENC_JSON_PLAIN, // inside a JSON string, without escapes where none are needed (single characters beyond ASCII keep them)
    ENC_COUNT
} g_encoding;

// ---- terminals and the network of rules

typedef enum g_term_kind {
    TERM_DFA,     // automaton `dfa`
    TERM_COUNTED, // '"', min to max times what automaton `dfa` matches, '"'; no match is the beginning of another
    TERM_TOKENS,  // single tokens, see g_token_set
} g_term_kind;

typedef struct g_term {
    g_term_kind kind;
    uint32_t dfa;      // TERM_TOKENS: the token set
    uint32_t min, max; // TERM_COUNTED; max may be G_INFINITE
} g_term;

#define G_COUNT_SHIFT 5    // a counted terminal's character has fewer states than 1 << this
#define G_COUNT_MAX 0x3ffffffu // no string is so long

// Tokens that a grammar names: one by its spelling, or a range of ids.
typedef struct g_token_set {
    const char *name; // NULL: the range
    uint32_t n_name;
    int32_t first, last;
    bool is_other; // any token with a text but these
} g_token_set;

static inline bool g_token_is_in(const g_token_set *s, int32_t token, bool has_text) {
    const bool in = token >= s->first && token <= s->last;
    return s->is_other ? !in && has_text : in;
}

typedef enum g_edge_kind { EDGE_EMPTY, EDGE_TERM, EDGE_RULE } g_edge_kind;

typedef struct g_edge {
    uint32_t kind, id; // id of the terminal or rule
    uint32_t to;
    uint32_t link; // while building: the next edge of the same state; after that unused
} g_edge;

typedef struct g_rule {
    uint32_t start, end;
} g_rule;

typedef struct g_build {
    hth_grammar_limits limits;
    bool lenient;
    hth_grammar_space space;
    hth_code code; // the first error
    hth_err *err;
    hth_arena arena; // of the grammar, handed over to it: automata and tables
    uint64_t work;   // steps left

    g_rx_node *nodes; // owned
    size_t n_node, cap_node;
    g_rx *kids; // owned
    size_t n_kid, cap_kid;
    g_byteset *sets; // owned, no two alike
    size_t n_set, cap_set;
    hth_str literals;
    g_dfa *dfas; // owned; their tables lie in the arena
    size_t n_dfa, cap_dfa;
    uint64_t n_dfa_state;
    g_rx any[ENC_COUNT]; // any character, once asked for
    struct g_charset_memo {
        hth_cpset set; // owned
        g_encoding enc;
        g_rx rx;
    } *charsets; // owned
    size_t n_charset, cap_charset;
    hth_unicode unicode; // once asked for
    bool has_unicode;

    g_term *terms; // owned
    size_t n_term, cap_term;
    g_rx *term_rx; // owned, [cap_term]: what a terminal was made of
    size_t cap_term_rx;
    g_token_set *tokens; // owned; names in the arena
    size_t n_tokens, cap_tokens;
    uint32_t *heads; // owned: a state's first edge
    size_t n_state, cap_state;
    g_edge *edges; // owned
    size_t n_edge, cap_edge;
    g_rule *rules; // owned
    size_t n_rule, cap_rule;
    uint32_t start_rule;
    char **widened; // owned; texts in the arena
    size_t n_widened, cap_widened;
} g_build;

void g_build_init(g_build *b, const hth_grammar_options *o, hth_err *err);
void g_build_free(g_build *b);
// Remembers the first failure. Always returns false.
bool g_fail(g_build *b, hth_code code, const char *fmt, ...) HTH_PRINTF(3, 4);
bool g_fail_nomem(g_build *b);
// Takes n from what may be done; false where nothing is left.
bool g_work(g_build *b, uint64_t n);
void *g_alloc(g_build *b, size_t count, size_t size); // from the arena
const hth_unicode *g_unicode(g_build *b);

// rx.c
g_rx g_rx_empty(g_build *b);
g_rx g_rx_never(g_build *b);
g_rx g_rx_literal(g_build *b, const void *bytes, size_t n);
g_rx g_rx_text(g_build *b, const char *text); // zero-terminated
g_rx g_rx_set(g_build *b, const g_byteset *set);
g_rx g_rx_range(g_build *b, uint8_t first, uint8_t last);
g_rx g_rx_cat(g_build *b, const g_rx *list, size_t n);
g_rx g_rx_cat2(g_build *b, g_rx x, g_rx y);
g_rx g_rx_cat3(g_build *b, g_rx x, g_rx y, g_rx z);
g_rx g_rx_alt(g_build *b, const g_rx *list, size_t n);
g_rx g_rx_alt2(g_build *b, g_rx x, g_rx y);
g_rx g_rx_repeat(g_build *b, g_rx x, uint32_t min, uint32_t max);
g_rx g_rx_star(g_build *b, g_rx x);
g_rx g_rx_maybe(g_build *b, g_rx x);
g_rx g_rx_and(g_build *b, g_rx x, g_rx y);
g_rx g_rx_not(g_build *b, g_rx x);
g_rx g_rx_except(g_build *b, g_rx x, g_rx y); // x but not y
g_rx g_rx_dfa(g_build *b, uint32_t dfa);
g_rx g_rx_anchor(g_build *b, g_rx_kind begin_or_end);
g_rx g_rx_anchored(g_build *b, g_rx x);
g_rx g_rx_char(g_build *b, uint32_t cp, g_encoding enc);
g_rx g_rx_any_char(g_build *b, g_encoding enc);
// A text as characters; in ENC_UTF8 any bytes.
g_rx g_rx_string(g_build *b, const char *text, size_t n, g_encoding enc);
uint32_t g_rx_weight(const g_build *b, g_rx x);

// charset.c
g_rx g_rx_chars(g_build *b, hth_cpset *set, g_encoding enc); // one character of a set, which is sorted

// rx_parse.c
typedef enum g_regex_syntax { REGEX_ECMA, REGEX_PYTHON } g_regex_syntax;
typedef struct g_regex_params {
    g_regex_syntax syntax;
    g_encoding enc;
    bool is_search; // matches anywhere in the text; else the whole text
    bool fold;      // (?i)
    bool dot_all;
} g_regex_params;
g_rx g_regex_parse(g_build *b, const char *text, size_t n, const g_regex_params *p);

// dfa.c
// The automaton of a node, kept for as long as the build.
uint32_t g_dfa_of(g_build *b, g_rx x);
// Keeps an automaton whose tables come from g_dfa_alloc: trims it, merges equal states where that is cheap.
uint32_t g_dfa_keep(g_build *b, const g_dfa *d);
// Rows for n_state states and n_class classes, all dead; n_state counts the dead state too. The tables are owned.
bool g_dfa_alloc(g_build *b, uint32_t n_state, uint32_t n_class, g_dfa *out);
void g_dfa_release(g_dfa *d);
bool g_dfa_product(g_build *b, const g_dfa *x, const g_dfa *y, g_dfa *out); // what both match; tables owned
bool g_dfa_complement(g_build *b, const g_dfa *x, g_dfa *out);              // all other byte strings; tables owned
static inline bool g_dfa_is_never(const g_dfa *d) {
    return d->start == 0;
}

// subsets.c
bool g_dfa_from_rx(g_build *b, g_rx x, bool is_anchored, g_dfa *out); // not trimmed; tables owned

// schema.c: the rule of a schema and all that it needs
struct hth_json;
uint32_t g_schema_rule(g_build *b, const struct hth_json *root);

// net.c
uint32_t g_term_rx(g_build *b, g_rx x); // a terminal; equal ones are shared
uint32_t g_term_counted(g_build *b, uint32_t dfa, uint32_t min, uint32_t max);
uint32_t g_term_tokens(g_build *b, const g_token_set *set);
uint32_t g_state(g_build *b);
void g_edge_add(g_build *b, uint32_t from, g_edge_kind kind, uint32_t id, uint32_t to);
static inline void g_edge_empty(g_build *b, uint32_t from, uint32_t to) {
    g_edge_add(b, from, EDGE_EMPTY, 0, to);
}
// Adds an edge for a regular expression; nothing where it matches nothing.
void g_edge_rx(g_build *b, uint32_t from, g_rx x, uint32_t to);
uint32_t g_rule_new(g_build *b); // a rule with its start and end
// Makes the grammar of everything that start_rule reaches, or leaves the error in b.
hth_grammar *g_build_finish(g_build *b);

#endif
