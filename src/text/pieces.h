// The five models that turn one word (a piece of normalized, split text) into tokens.
#ifndef HTH_TEXT_PIECES_H
#define HTH_TEXT_PIECES_H

#include "text/tokenizer.h"
#include "text/trie.h"
#include "text/vocab.h"

typedef enum model_kind {
    MODEL_PAIRS,   // BPE by a list of merges of token pairs
    MODEL_RANKS,   // BPE by the place of the merged bytes in the vocabulary (tiktoken, SentencePiece)
    MODEL_UNIGRAM, // best path by scores
    MODEL_WORDPIECE,
    MODEL_LONGEST, // the longest token each time (RWKV)
} model_kind;

// One merge: tokens left and right become `id`; lower ranks merge first.
typedef struct merge_slot {
    uint32_t left, right; // left is MERGE_FREE in a free slot
    uint32_t rank, id;
} merge_slot;
#define MERGE_FREE UINT32_MAX

typedef struct hth_pieces {
    model_kind kind;
    bool byte_level;          // symbols are bytes, not characters
    bool whole_first;         // a word that is a token stays whole ("ignore_merges")
    bool whole_newlines;      // so does a run of newlines
    bool fuse_unk;            // neighbouring unknowns become one
    bool byte_fallback;       // unknown characters become byte tokens
    bool fallback_bytes_drop; // byte tokens that are missing are left out instead of becoming unknown
    int32_t unk;              // -1: unknown characters vanish
    merge_slot *merges;       // owned; a power of two
    size_t n_merge_slot, n_merge;
    uint64_t seed;
    int32_t ascii_id[128];      // tokens of single ASCII characters, -1
    char suffix[16], infix[16]; // "</w>" after a word's last symbol, "##" before all but the first
    uint32_t n_suffix, n_infix;
    hth_trie pieces; // UNIGRAM, LONGEST: all pieces; WORDPIECE: those that begin a word
    hth_trie conts;  // WORDPIECE: those that go on
    double unk_score;
    uint32_t max_word_chars; // WORDPIECE
} hth_pieces;

// One call's work space; zeroed is ready.
typedef struct model_work {
    struct symbol *symbols; // owned
    size_t cap_symbols;
    struct candidate *heap; // owned
    size_t n_heap, cap_heap;
    struct path_node *path; // owned
    size_t cap_path;
    hth_token_list *out; // borrowed
    hth_err *err;
    bool last_unk; // the latest token of this word stands for unknown characters
} model_work;

void hth_pieces_free(hth_pieces *m);
void hth_pieces_work_free(model_work *w);

// Adds a merge; one that is there already keeps its rank. n_expect sizes the table at the first call.
HTH_NODISCARD hth_code hth_pieces_add_merge(hth_pieces *m, size_t n_expect, uint32_t left, uint32_t right,
                                            uint32_t rank, uint32_t id, hth_err *err);
// Asks the memory for the slot of a merge that will be added or looked up soon.
void hth_pieces_prefetch(const hth_pieces *m, uint32_t left, uint32_t right);
// Prepares what is derived from the vocabulary (ascii_id, tries, unknown score).
HTH_NODISCARD hth_code hth_pieces_finish(hth_pieces *m, const hth_vocab *v, bool min_over_all, hth_err *err);

// Appends the tokens of a word of n > 0 bytes to w->out.
HTH_NODISCARD hth_code hth_pieces_encode(const hth_pieces *m, const hth_vocab *v, model_work *w,
                                         const uint8_t *word, size_t n);

HTH_NODISCARD hth_code hth_token_push(hth_token_list *out, hth_token id, hth_err *err);
// The parts of hth_pieces_encode, one per file.
HTH_NODISCARD hth_code hth_bpe_encode(const hth_pieces *m, const hth_vocab *v, model_work *w,
                                      const uint8_t *word, size_t n);
HTH_NODISCARD hth_code hth_unigram_encode(const hth_pieces *m, const hth_vocab *v, model_work *w,
                                          const uint8_t *word, size_t n);
HTH_NODISCARD hth_code hth_wordpiece_encode(const hth_pieces *m, model_work *w, const uint8_t *word,
                                            size_t n);
HTH_NODISCARD hth_code hth_longest_encode(const hth_pieces *m, const hth_vocab *v, model_work *w, const uint8_t *word,
                                          size_t n);
// Tokens for characters that the vocabulary lacks: bytes, the unknown token, or nothing.
HTH_NODISCARD hth_code hth_pieces_push_unknown(const hth_pieces *m, const hth_vocab *v, model_work *w,
                                               const uint8_t *text, size_t n);

#endif
