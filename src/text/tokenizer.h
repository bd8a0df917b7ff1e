// Text <-> tokens. One tokenizer object per model; immutable after loading, so any number of
// threads may use it. Kinds: byte-level BPE, SentencePiece BPE, Unigram, WordPiece, the rank
// tables of tiktoken and tekken (byte-level BPE by rank), and RWKV's longest tokens.
#ifndef HTH_TEXT_TOKENIZER_H
#define HTH_TEXT_TOKENIZER_H

#include "base/str.h"
#include "formats/container.h"

typedef struct hth_tokenizer hth_tokenizer;
typedef int32_t hth_token;

// Builds the tokenizer that the container carries: GGUF metadata, tokenizer.json, tekken.json,
// tokenizer.model, vocab.txt, RWKV's vocabulary or *.tiktoken in a folder. HTH_ERR_NOTFOUND when it carries none.
HTH_NODISCARD hth_code hth_tokenizer_load(hth_container *c, hth_tokenizer **out, hth_err *err);
// The same from a tokenizer.json, tekken.json, tokenizer.model, vocab.txt, .tiktoken or .gguf file alone.
HTH_NODISCARD hth_code hth_tokenizer_load_file(const char *path, hth_tokenizer **out, hth_err *err);
void hth_tokenizer_free(hth_tokenizer *t);

// Guards added tokens that are no control tokens but mark something in a chat (a family's <think>, <tool_call>):
// those that `is_marker` picks are never made from a user's bytes. Call it before the tokenizer is shared.
HTH_NODISCARD hth_code hth_tokenizer_guard(hth_tokenizer *t,
                                           bool (*is_marker)(const void *user, const char *text, size_t n),
                                           const void *user, hth_err *err);

// A stretch of text and what it may become. Segments are tokenized as one text (no extra prefix
// space, merges cross segment borders where no special token stands between), but in a segment with
// is_user the bytes never match control tokens: they stay text. Ordinary added tokens still match.
typedef struct hth_text_segment {
    const char *text; // borrowed; any bytes
    size_t n;
    bool is_user;
} hth_text_segment;

typedef struct hth_token_list {
    hth_token *ids; // owned
    size_t n, cap;
} hth_token_list;
void hth_token_list_free(hth_token_list *list);

typedef enum hth_tokenize_flags {
    HTH_TOKENIZE_ADD_SPECIAL = 1, // BOS, EOS, [CLS], [SEP] as the model's own settings say
} hth_tokenize_flags;

// Appends the tokens of `segments` to *out. Invalid UTF-8: each maximal invalid subpart is treated as
// U+FFFD by normalizers and splits where the kind works on characters, and byte-level kinds keep the
// bytes themselves. Time is linear in the length for every input.
HTH_NODISCARD hth_code hth_tokenize(const hth_tokenizer *t, const hth_text_segment *segments, size_t n_segment,
                                    unsigned flags, hth_token_list *out, hth_err *err);

int32_t hth_tokenizer_n_vocab(const hth_tokenizer *t); // ids are below this
const char *hth_tokenizer_kind(const hth_tokenizer *t); // "bpe", "spm", "unigram", "wordpiece", "world"
const char *hth_tokenizer_pre(const hth_tokenizer *t);  // pre-tokenizer name or "" (for show)

// Ids of special tokens, -1 when the model has none.
typedef enum hth_special {
    HTH_SPECIAL_BOS, HTH_SPECIAL_EOS, HTH_SPECIAL_EOT, HTH_SPECIAL_PAD, HTH_SPECIAL_UNK, HTH_SPECIAL_SEP,
    HTH_SPECIAL_CLS, HTH_SPECIAL_MASK, HTH_SPECIAL_FIM_PRE, HTH_SPECIAL_FIM_SUF, HTH_SPECIAL_FIM_MID,
    HTH_SPECIAL_FIM_PAD, HTH_SPECIAL_FIM_REPO, HTH_SPECIAL_FIM_SEP, HTH_SPECIAL_COUNT
} hth_special;
hth_token hth_tokenizer_special(const hth_tokenizer *t, hth_special which);
// End of generation: EOS, end of turn, end of message, as the model says or its vocabulary shows.
bool hth_tokenizer_is_end(const hth_tokenizer *t, hth_token id);
// A control token: never printed as text, never made from a user's bytes.
bool hth_tokenizer_is_control(const hth_tokenizer *t, hth_token id);
bool hth_tokenizer_adds_bos(const hth_tokenizer *t);
bool hth_tokenizer_adds_eos(const hth_tokenizer *t);
// Exact id of a token's text (special spelling), -1 when absent.
hth_token hth_tokenizer_find(const hth_tokenizer *t, const char *text, size_t n);
// The vocabulary's own spelling of id; owned by t, n bytes. NULL when id is out of range.
const char *hth_tokenizer_spelling(const hth_tokenizer *t, hth_token id, size_t *n);
// The bytes that id stands for inside a text (a space may be U+2581); owned by t, n bytes. NULL for tokens that stand
// for themselves alone, whatever their spelling: control, added, unknown ones, and ids out of range.
const char *hth_tokenizer_bytes(const hth_tokenizer *t, hth_token id, size_t *n);

// Streaming detokenizer: text comes out in whole UTF-8 characters only. Plain struct, no allocation.
typedef struct hth_detokenizer {
    const hth_tokenizer *t; // borrowed
    bool show_control;      // print control tokens by their spelling
    bool at_start;          // SentencePiece strips one leading space of a text
    bool after_special;
    uint8_t pending[8];     // bytes of an unfinished character
    uint8_t n_pending;
} hth_detokenizer;

hth_detokenizer hth_detokenizer_make(const hth_tokenizer *t, bool show_control);
// Appends the text that `id` completes to *out. An id out of range is HTH_ERR_RANGE.
HTH_NODISCARD hth_code hth_detokenizer_push(hth_detokenizer *d, hth_token id, hth_str *out, hth_err *err);
// End of text: an unfinished character comes out as U+FFFD.
HTH_NODISCARD hth_code hth_detokenizer_end(hth_detokenizer *d, hth_str *out, hth_err *err);

#endif
