// The tokenizer object and what its files share. A tokenizer is a pipeline:
//
//   text -> special tokens out -> normalize -> normalized added tokens out -> split -> model -> ids
//           (added.c)             (normalize.c)  (added.c)                    (split.c) (pieces.c)
//
// The loaders (load_*.c) fill the object; after loading it never changes.
#ifndef HTH_TEXT_TOK_IMPL_H
#define HTH_TEXT_TOK_IMPL_H

#include "text/normalize.h"
#include "text/pieces.h"
#include "text/split.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

#define TOK_MAX_STEPS 64

// A token that is looked for in text before the model sees it.
typedef struct added_token {
    int32_t id;
    bool lstrip, rstrip, single_word, normalized;
    bool control;
    bool guarded; // never made from a user's bytes either (hth_tokenizer_guard)
} added_token;

typedef enum detok_kind {
    DETOK_BYTES,     // texts follow each other
    DETOK_SPM,       // the same; a leading space of the text goes, when strip_first
    DETOK_WORDPIECE, // a space between, none before a continuation
    DETOK_SPACED,    // a space between tokens
} detok_kind;

struct hth_tokenizer {
    const char *kind;
    char pre[48];
    hth_vocab vocab;
    hth_pieces model;
    hth_unicode unicode;
    norm_step norms[TOK_MAX_STEPS];
    size_t n_norm;
    split_step splits[TOK_MAX_STEPS];
    size_t n_split;
    bool cut_marks;     // words end before U+2581: no piece of the vocabulary reaches over such a place
    added_token *added; // owned
    size_t n_added, cap_added;
    hth_trie raw;       // added tokens looked for in the text as it is; values index `added`
    hth_trie raw_later; // normalized control and guarded tokens, for texts with a user's parts
    hth_trie normal;    // added tokens looked for in normalized text
    bool has_raw, has_raw_later, has_normal;
    int32_t prefix[8], suffix[8]; // of HTH_TOKENIZE_ADD_SPECIAL
    size_t n_prefix, n_suffix;
    bool adds_bos, adds_eos;
    int32_t special[HTH_SPECIAL_COUNT];
    detok_kind detok;
    bool strip_first; // DETOK_SPM
    bool cleanup;     // DETOK_WORDPIECE: no space before punctuation
    const char *cont; // DETOK_WORDPIECE: what marks a continuation
    bool word_suffix; // texts end with model.suffix where a word ends
};

// Makes an empty tokenizer with its Unicode tables. Returns owned.
HTH_NODISCARD hth_code hth_tok_new(hth_tokenizer **out, hth_err *err);
// The next step of a pipeline, zeroed; too many steps are an error.
HTH_NODISCARD hth_code hth_tok_add_norm(hth_tokenizer *t, norm_kind kind, norm_step **out, hth_err *err);
HTH_NODISCARD hth_code hth_tok_add_replace(hth_tokenizer *t, const char *pattern, const char *content,
                                           hth_err *err);
HTH_NODISCARD hth_code hth_tok_add_prepend(hth_tokenizer *t, const char *content, size_t n, hth_err *err);
HTH_NODISCARD hth_code hth_tok_add_split(hth_tokenizer *t, split_kind kind, split_step **out, hth_err *err);
HTH_NODISCARD hth_code hth_tok_add_regex(hth_tokenizer *t, const char *pattern, size_t n,
                                         split_behavior behavior, bool invert, hth_err *err);
HTH_NODISCARD hth_code hth_tok_add_added(hth_tokenizer *t, added_token a, hth_err *err);
// Indexes everything after a loader has filled t: maps, tries, model tables, special tokens by their
// well-known spellings, ends of generation. min_over_all: see hth_pieces_finish.
HTH_NODISCARD hth_code hth_tok_finish(hth_tokenizer *t, bool min_over_all, hth_err *err);
// Marks the ends of generation and finds special tokens that nobody named (known.c).
void hth_tok_find_known(hth_tokenizer *t);
// Whether the token marks a place in a file for filling in the middle.
bool hth_tok_is_mark(const hth_tokenizer *t, int32_t id);

// BERT's normalizer and pre-tokenizer.
HTH_NODISCARD hth_code hth_tok_setup_bert(hth_tokenizer *t, bool clean, bool spaced, bool strip_accents,
                                          bool lowercase, bool split, hth_err *err);
// Fills the tries of MODEL_WORDPIECE from the texts: those that begin with `cont` go on.
HTH_NODISCARD hth_code hth_tok_fill_wordpiece(hth_tokenizer *t, const char *cont, hth_err *err);
// Fills t's pipeline and flags for a pre-tokenizer name of GGUF; *known is false for other names.
HTH_NODISCARD hth_code hth_tok_apply_pre(hth_tokenizer *t, const char *name, bool *known, hth_err *err);

HTH_NODISCARD hth_code hth_tok_load_gguf(const hth_gguf *g, hth_tokenizer **out, hth_err *err);
HTH_NODISCARD hth_code hth_tok_load_json(const hth_json *root, hth_tokenizer **out, hth_err *err);
HTH_NODISCARD hth_code hth_tok_apply_config(hth_tokenizer *t, const hth_json *tokenizer_config,
                                            const hth_json *generation_config, hth_err *err);
HTH_NODISCARD hth_code hth_tok_load_tekken(const hth_json *root, hth_tokenizer **out, hth_err *err);
HTH_NODISCARD hth_code hth_tok_load_ranks(const char *text, size_t n, hth_tokenizer **out, hth_err *err);
HTH_NODISCARD hth_code hth_tok_load_sentencepiece(const uint8_t *data, size_t n, hth_tokenizer **out,
                                                  hth_err *err);
HTH_NODISCARD hth_code hth_tok_load_vocab_txt(const char *text, size_t n, bool lowercase, hth_tokenizer **out,
                                              hth_err *err);
HTH_NODISCARD hth_code hth_tok_load_world(const char *text, size_t n, hth_tokenizer **out, hth_err *err);
void hth_tok_setup_world(hth_tokenizer *t); // what does not depend on the vocabulary

// ---- finding added tokens ----

typedef struct user_range {
    size_t start, end;
} user_range;

typedef struct added_match {
    size_t start, end; // bytes it takes, stripped spaces included
    size_t next;       // where the search goes on: spaces taken on the right may be tokens once more
    const added_token *token;
} added_match;

// The next added token in [from, n) of text, of which everything before `done` is dealt with. `users`: where
// control tokens do not count; `control` false: they count nowhere.
bool hth_added_next(const hth_tokenizer *t, const hth_trie *trie, const hth_trie *second, const uint8_t *text,
                    size_t n, size_t from, size_t done, const user_range *users, size_t n_user, bool control,
                    added_match *out);

#endif
