// The vocabulary as byte tries that are walked front to back.
//
// Most tokens are plain text, and most places of most grammars either allow all plain text of some length (inside a
// string) or none. So tokens are sorted into groups by what they are made of and how many characters they have; where
// an automaton takes every text of a class and length, the group's bits are set at once and its trie is not walked.
#ifndef HTH_GRAMMAR_VOCAB_H
#define HTH_GRAMMAR_VOCAB_H

#include "grammar/grammar.h"

// Each a part of the next; none has quotes, \ or controls.
enum { PLAIN_ALNUM, PLAIN_WORD, PLAIN_ASCII, PLAIN_ANY, PLAIN_COUNT };
#define N_LENGTHS 19
#define GROUP_OTHER (PLAIN_COUNT * N_LENGTHS) // everything else of at most PLAIN_MAX bytes
#define GROUP_LONG (GROUP_OTHER + 1)          // and longer
#define N_GROUPS (GROUP_LONG + 1)
#define PLAIN_MAX 32                           // characters of the longest plain group

extern const uint8_t g_lengths[N_LENGTHS]; // most characters of a group

typedef struct trie_node {
    uint32_t end; // the first node that is not below this one
    uint8_t byte;
    uint8_t depth; // bytes before this one
} trie_node;

typedef struct trie_group {
    trie_node *nodes; // owned; in the order of the bytes
    int32_t *tokens;  // owned; that end in a node, or -1
    size_t n;
    uint32_t first[257]; // where the tokens that begin with a byte begin; those of the next byte begin where they end
} trie_group;

struct hth_grammar_vocab {
    const hth_tokenizer *tokenizer;
    int32_t n_vocab;
    size_t n_word;            // of a mask
    trie_group groups[N_GROUPS]; // class * N_LENGTHS + length
    trie_group all;
    uint32_t *plain;          // owned, [PLAIN_COUNT, N_LENGTHS, n_word]: all tokens of a class up to a length
    int32_t *same;            // owned, [n_vocab]: another token with the same bytes, or -1
    uint32_t *text;           // owned, [n_vocab + 1]: where a token's bytes begin
    char *bytes;              // owned
    size_t max_len;           // bytes of the longest token
};

static inline const uint8_t *vocab_text(const hth_grammar_vocab *v, int32_t id, size_t *n) {
    *n = v->text[id + 1] - v->text[id];
    return (const uint8_t *)v->bytes + v->text[id];
}
// Whether some token begins with these bytes and goes on behind them.
bool vocab_goes_on(const hth_grammar_vocab *v, const uint8_t *text, size_t n);

#endif
