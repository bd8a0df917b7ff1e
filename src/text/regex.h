// The regular expressions that tokenizers split text with: the part of Oniguruma's (Ruby) and PCRE's
// syntax that they use. Alternation, groups, look-around, classes with && and \p{...}, greedy, lazy and
// possessive quantifiers, (?i). No captures, no back-references.
//
// Matching is backtracking with the usual leftmost, first-alternative meaning, but what failed once at a
// position is remembered, so that time is linear in the text for every pattern. No recursion anywhere.
#ifndef HTH_TEXT_REGEX_H
#define HTH_TEXT_REGEX_H

#include "text/unicode.h"

typedef struct hth_regex hth_regex;

// Returns owned. Syntax errors name the byte of the pattern.
HTH_NODISCARD hth_code hth_regex_compile(const char *pattern, size_t n, const hth_unicode *u, hth_regex **out,
                                         hth_err *err);
void hth_regex_free(hth_regex *re);

// One thread's work space; a zeroed struct is ready. Keeps its memory from text to text.
typedef struct hth_matcher {
    const hth_regex *re; // borrowed
    const uint8_t *text; // borrowed; everything below is about this text
    size_t n;
    struct match_frame *stack; // owned
    size_t n_stack, cap_stack;
    size_t barrier;         // innermost look-around or atomic group on the stack, SIZE_MAX for none
    struct match_run *runs; // owned, one per class loop
    size_t cap_runs;
    uint8_t *memo; // owned; outcome per choice point and position, NULL until the text proves hard
    size_t memo_base, memo_len;
    uint64_t steps, limit;
    bool memo_on;
} hth_matcher;

void hth_matcher_free(hth_matcher *m);
// Makes `text` the text that the next searches look at; outside of it nothing exists for look-around.
HTH_NODISCARD hth_code hth_matcher_begin(hth_matcher *m, const hth_regex *re, const uint8_t *text, size_t n,
                                         hth_err *err);
// Finds the first match that begins at `from` or later.
HTH_NODISCARD hth_code hth_matcher_find(hth_matcher *m, size_t from, bool *found, size_t *start, size_t *end,
                                        hth_err *err);

#endif
