// Constrained output: texts that say what may be written (a JSON schema, a regular expression, a GBNF or Lark
// grammar, a list of choices) and the masks of tokens that keep a model inside of it.
//
//   hth_grammar        compiled: terminals as automata over bytes, rules as a network above them. Immutable
//   hth_grammar_vocab  a tokenizer's vocabulary as byte tries. Immutable
//   hth_guide          one completion's place in a grammar: masks, steps forward, steps back
//   hth_guides         the guides of a request's completions, behind a function of the engine's hth_mask_fn
//
// A grammar is read without a lexer: a text belongs to it if there is any way to derive its bytes. That is a superset of
// what longest-match lexers accept, and needs no priorities between terminals.
//
// Threads. Grammars and vocabularies may be used by any number of threads, a guide by one at a time.
#ifndef HTH_GRAMMAR_GRAMMAR_H
#define HTH_GRAMMAR_GRAMMAR_H

#include "text/tokenizer.h"

typedef struct hth_grammar hth_grammar;
typedef struct hth_grammar_vocab hth_grammar_vocab;
typedef struct hth_guide hth_guide;
typedef struct hth_guides hth_guides;

// ---- grammars

// Where JSON may have white space.
typedef enum hth_grammar_space {
    HTH_SPACE_FREE,    // anywhere: one space, or a line break and up to 32 spaces or tabs: all that is printed, indented too
    HTH_SPACE_SPACED,  // ", " and ": ", as Python's json.dumps and tojson write
    HTH_SPACE_COMPACT, // none
} hth_grammar_space;

typedef struct hth_grammar_limits { // 0: the default
    uint32_t nesting;      // brackets and groups of expressions; schemas may be nested as deep as JSON (64)
    uint32_t repetition;   // counts such as {1,n} that are unrolled (20000)
    uint32_t alternatives; // branches of one choice (20000)
    uint32_t states;       // of all automata together (400000)
    uint64_t bytes;        // of the compiled grammar and of compiling it (256 MiB)
} hth_grammar_limits;

typedef struct hth_grammar_options {
    bool lenient; // of schemas: what cannot be enforced is widened and listed (hth_grammar_widened), not refused
    hth_grammar_space space;
    hth_grammar_limits limits;
} hth_grammar_options;

// All return owned. `o` may be NULL. Errors name the place: the JSON pointer of a keyword (HTH_ERR_UNSUPPORTED where it
// cannot be enforced), the line of a grammar, the byte of a regular expression, or the limit (HTH_ERR_LIMIT). A grammar
// that no text satisfies is HTH_ERR_RANGE.
HTH_NODISCARD hth_code hth_grammar_from_schema(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out,
                                               hth_err *err);
// Any JSON object.
HTH_NODISCARD hth_code hth_grammar_from_json_object(const hth_grammar_options *o, hth_grammar **out, hth_err *err);
// The whole text matches. The syntax is ECMAScript's without look-behind and back-references.
HTH_NODISCARD hth_code hth_grammar_from_regex(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out,
                                              hth_err *err);
// llama.cpp's grammar files.
HTH_NODISCARD hth_code hth_grammar_from_gbnf(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out,
                                             hth_err *err);
// Lark's EBNF without templates, imports of files and priorities that change the language. Beyond Lark:
//   <|name|>, <name>  the control or added token with this spelling: looked up when a guide is made
//   <[12]>, <[5-9]>   tokens by number
//   %json { ... }     a value that satisfies a JSON schema
//   %lark "..."       a text of another grammar, which is whole in itself
//   %lark_json "..."  the same as it is written inside of a JSON string
HTH_NODISCARD hth_code hth_grammar_from_lark(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out,
                                             hth_err *err);
// Exactly one of the texts.
HTH_NODISCARD hth_code hth_grammar_from_choices(const char *const *texts, const size_t *n, size_t n_text,
                                                const hth_grammar_options *o, hth_grammar **out, hth_err *err);
// GBNF or Lark, told apart by how rules are written (`::=` or `:`).
HTH_NODISCARD hth_code hth_grammar_from_text(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out,
                                             hth_err *err);
// Grammars are counted; the last one to let go frees. NULL is valid for both.
hth_grammar *hth_grammar_hold(hth_grammar *g);
void hth_grammar_free(hth_grammar *g);

// What was widened (lenient), as JSON pointers with the keyword: "/properties/a/not". Borrowed from g.
size_t hth_grammar_n_widened(const hth_grammar *g);
const char *hth_grammar_widened(const hth_grammar *g, size_t i);

// ---- grammars that are asked for again

typedef enum hth_grammar_kind {
    HTH_GRAMMAR_SCHEMA,
    HTH_GRAMMAR_JSON_OBJECT, // no text
    HTH_GRAMMAR_REGEX,
    HTH_GRAMMAR_GBNF,
    HTH_GRAMMAR_LARK,
    HTH_GRAMMAR_TEXT, // hth_grammar_from_text
} hth_grammar_kind;

typedef struct hth_grammar_cache hth_grammar_cache;
typedef struct hth_grammar_cache_stats {
    uint64_t n_hit, n_miss;
    uint64_t n, n_bytes; // kept now
} hth_grammar_cache_stats;

// Keeps the grammars that were asked for last, at most n_most and max_bytes. For any number of threads. Returns owned.
HTH_NODISCARD hth_code hth_grammar_cache_new(size_t n_most, uint64_t max_bytes, hth_grammar_cache **out, hth_err *err);
void hth_grammar_cache_free(hth_grammar_cache *c); // NULL is valid
// The grammar that hth_grammar_from_... makes of the same text with the same options; compiled where it is not kept. With
// limits of one's own nothing is kept; `c` may be NULL. Errors are not remembered. Returns owned.
HTH_NODISCARD hth_code hth_grammar_cached(hth_grammar_cache *c, hth_grammar_kind kind, const char *text, size_t n,
                                          const hth_grammar_options *o, hth_grammar **out, hth_err *err);
hth_grammar_cache_stats hth_grammar_cache_get_stats(hth_grammar_cache *c);

// ---- vocabularies

// Returns owned; borrows the tokenizer. Text tokens are allowed by their bytes; control tokens only where a grammar names
// them, end tokens where it is satisfied.
HTH_NODISCARD hth_code hth_grammar_vocab_new(const hth_tokenizer *t, hth_grammar_vocab **out, hth_err *err);
void hth_grammar_vocab_free(hth_grammar_vocab *v);

// ---- guides

typedef struct hth_guide_params {
    hth_grammar *grammar;           // held by the guide
    const hth_grammar_vocab *vocab; // borrowed
    const int32_t *end_tokens;      // [n_end]; NULL: the tokenizer's
    size_t n_end;
    uint64_t max_bytes; // of what it remembers to be fast; 0: 64 MiB
} hth_guide_params;

// Returns owned. HTH_ERR_NOTFOUND where the grammar names a token that the vocabulary lacks.
HTH_NODISCARD hth_code hth_guide_new(const hth_guide_params *p, hth_guide **out, hth_err *err);
void hth_guide_free(hth_guide *g);

// Sets the bits of the tokens that may come next in mask [(n_vocab + 31) / 32], whatever was there before.
HTH_NODISCARD hth_code hth_guide_mask(hth_guide *g, uint32_t *mask, hth_err *err);
// Goes on by one token. HTH_ERR_RANGE, and nothing changes, where it may not come next. After an end token nothing may.
HTH_NODISCARD hth_code hth_guide_accept(hth_guide *g, int32_t token, hth_err *err);
// Takes back the latest n tokens.
HTH_NODISCARD hth_code hth_guide_rollback(hth_guide *g, size_t n, hth_err *err);
// Goes to the place after exactly these tokens: takes back what differs, accepts what is new.
HTH_NODISCARD hth_code hth_guide_sync(hth_guide *g, const int32_t *tokens, size_t n, hth_err *err);
// Whether the text may end here.
bool hth_guide_is_accepting(const hth_guide *g);
// Whether an end token was accepted, or nothing but the end may come.
bool hth_guide_is_done(hth_guide *g);
// The tokens that must come next whatever the model says, as the tokenizer cuts them, without those at the end that
// could be cut differently together with what follows. Appends to *out, at most `most`.
HTH_NODISCARD hth_code hth_guide_forced(hth_guide *g, size_t most, hth_token_list *out, hth_err *err);
// The bytes that must come next. Appends to *out.
HTH_NODISCARD hth_code hth_guide_forced_text(hth_guide *g, hth_str *out, hth_err *err);

// ---- an engine's request

// Guides for completions 0 .. n - 1. Returns owned.
HTH_NODISCARD hth_code hth_guides_new(const hth_guide_params *p, int32_t n, hth_guides **out, hth_err *err);
void hth_guides_free(hth_guides *gs);
// An hth_mask_fn whose user is an hth_guides. May be called for different completions at once.
bool hth_guides_mask(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask);
// An hth_force_fn with the same user: what hth_guide_forced says. Where it fails, 0: the next mask says why.
size_t hth_guides_force(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out);
hth_guide *hth_guides_at(hth_guides *gs, int32_t i);
// What went wrong where the function returned false.
const hth_err *hth_guides_error(const hth_guides *gs, int32_t i);

#endif
