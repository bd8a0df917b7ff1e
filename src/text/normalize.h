// Normalizers: what a tokenizer does to a stretch of text before it splits it.
#ifndef HTH_TEXT_NORMALIZE_H
#define HTH_TEXT_NORMALIZE_H

#include "text/cpset.h"
#include "text/regex.h"
#include "text/trie.h"

typedef enum norm_kind {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWERCASE,
    NORM_STRIP_ACCENTS,
    NORM_STRIP,         // spaces off the ends; left, right
    NORM_REPLACE,       // every `pattern` by `content`
    NORM_REPLACE_RE,    // every match of `re` by `content`
    NORM_PREPEND,       // `content` in front of a text that is not empty
    NORM_BERT,          // clean, spaced
    NORM_CHARSMAP,      // precompiled map applied by grapheme, as the `tokenizers` package does
    NORM_SENTENCEPIECE, // precompiled map by longest prefix, then the rules about spaces
    NORM_NMT,
    NORM_BYTE_ALPHABET, // bytes as visible characters
} norm_kind;

// A precompiled character map of SentencePiece: a double-array trie over UTF-8 and the strings it leads to.
typedef struct hth_charsmap {
    uint32_t *units; // owned
    size_t n_unit;
    char *strings; // owned; zero-terminated strings
    size_t n_strings;
} hth_charsmap;
HTH_NODISCARD hth_code hth_charsmap_init(hth_charsmap *map, const uint8_t *blob, size_t n, hth_err *err);
void hth_charsmap_free(hth_charsmap *map);
// Looks up prefixes of text. Returns the bytes that the longest (or the shortest) takes, 0 when none
// does, and its replacement.
size_t hth_charsmap_find(const hth_charsmap *map, const uint8_t *text, size_t n, bool longest,
                         const char **to, size_t *n_to);

typedef struct norm_step {
    norm_kind kind;
    bool left, right;                                 // STRIP
    bool clean, spaced;                               // BERT
    bool nonspacing;                                  // STRIP_ACCENTS: only marks of category Mn
    bool add_prefix, merge_spaces, escape, as_suffix; // SENTENCEPIECE
    char *pattern, *content;                          // owned
    size_t n_pattern, n_content;
    hth_regex *re;       // owned
    hth_charsmap map;    // owned
    hth_charset *steady; // owned; NF*: characters that the form leaves alone, whatever stands around them
    hth_charset *accents, *drop, *spaces, *apart; // owned; BERT
} norm_step;

void hth_norm_free(norm_step *s);
// Prepares the sets of a step whose other fields are set.
HTH_NODISCARD hth_code hth_norm_finish(norm_step *s, const hth_unicode *u, hth_err *err);

typedef struct norm_work {
    hth_str buf[2];
    uint32_t *cps; // owned
    size_t cap_cps;
    hth_matcher matcher;
} norm_work;
void hth_norm_work_free(norm_work *w);

// Applies `n_step` steps to text. *out is text itself or lies in w and lasts until the next call.
// `keep_invalid`: invalid bytes stay as they are (byte-level tokenizers); else they become U+FFFD.
HTH_NODISCARD hth_code hth_normalize(const norm_step *steps, size_t n_step, bool keep_invalid, norm_work *w,
                                     const uint8_t *text, size_t n, const uint8_t **out, size_t *n_out,
                                     hth_err *err);

#endif
