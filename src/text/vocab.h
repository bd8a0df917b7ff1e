// The vocabulary: each token's bytes, its own spelling, what it is, and its place in the merge order.
#ifndef HTH_TEXT_VOCAB_H
#define HTH_TEXT_VOCAB_H

#include "base/hash.h"
#include "base/str.h"
#include "text/unicode.h"

#define HTH_VOCAB_MAX (1 << 24)       // tokens
#define HTH_VOCAB_MAX_POOL (1u << 30) // bytes of all texts

enum {
    TOK_CONTROL = 1, // never text, never made from a user's bytes
    TOK_ADDED = 2,   // found in text before the model runs (added or user-defined)
    TOK_BYTE = 4,    // stands for one byte, whatever its spelling
    TOK_UNUSED = 8,
    TOK_UNKNOWN = 16,
    TOK_END = 32,      // ends a generation
    TOK_ABSENT = 64,   // a hole in the numbering
    TOK_FOREIGN = 128, // spelled in other than the byte alphabet: no text leads to it
};

typedef struct tok_entry {
    uint32_t text, n_text;         // the bytes it stands for, in the pool
    uint32_t spelling, n_spelling; // as the vocabulary writes it, in the pool
    uint8_t flags;
    uint8_t byte; // of TOK_BYTE
} tok_entry;

typedef struct hth_vocab {
    tok_entry *e; // owned, [n]
    int32_t n;
    hth_str pool;
    hth_map by_text;      // tokens that a model may make from text: not control, not absent, not byte
    hth_map by_special;   // control, added and unknown tokens by spelling
    double *score;        // owned, [n], or NULL
    uint32_t *rank;       // owned, [n]: merge order of SentencePiece BPE, or NULL
    int32_t byte_id[256]; // token of a single byte, -1
    bool has_bytes;       // all 256 are there
} hth_vocab;

// Prepares n absent tokens.
HTH_NODISCARD hth_code hth_vocab_init(hth_vocab *v, int64_t n, hth_err *err);
void hth_vocab_free(hth_vocab *v);
// Sets a token's spelling; its text is the same bytes until hth_vocab_set_text.
HTH_NODISCARD hth_code hth_vocab_set(hth_vocab *v, int32_t id, const char *spelling, size_t n, unsigned flags,
                                     hth_err *err);
HTH_NODISCARD hth_code hth_vocab_set_text(hth_vocab *v, int32_t id, const char *text, size_t n, hth_err *err);
// Reads the text from the spelling: the byte alphabet undone (false where a character is not of it, the
// text then stays), or U+2581 turned into spaces.
HTH_NODISCARD hth_code hth_vocab_decode_bytes(hth_vocab *v, int32_t id, bool *ok, hth_err *err);
// Builds the maps and byte_id; nothing may be added after.
HTH_NODISCARD hth_code hth_vocab_index(hth_vocab *v, hth_err *err);
// Gives equal scores equal ranks, the highest score rank 0.
HTH_NODISCARD hth_code hth_vocab_rank_scores(hth_vocab *v, hth_err *err);

static inline const char *hth_vocab_text(const hth_vocab *v, int32_t id) {
    return v->pool.p + v->e[id].text;
}
static inline const char *hth_vocab_spelling(const hth_vocab *v, int32_t id) {
    return v->pool.p + v->e[id].spelling;
}
// The token that a model may use for these bytes, -1.
static inline int32_t hth_vocab_find_text(const hth_vocab *v, const void *text, size_t n) {
    uint32_t id;
    return hth_map_find(&v->by_text, text, n, &id) ? (int32_t)id : -1;
}
// Any token with this spelling, special ones first, -1.
int32_t hth_vocab_find(const hth_vocab *v, const char *spelling, size_t n);

#endif
