// Pre-tokenizers: cut normalized text into the words that the model sees, one after another.
#ifndef HTH_TEXT_SPLIT_H
#define HTH_TEXT_SPLIT_H

#include "text/regex.h"

typedef enum split_kind {
    SPLIT_REGEX,         // by `re`, see behavior
    SPLIT_PREFIX_SPACE,  // a space in front of every piece that does not begin with one
    SPLIT_METASPACE,     // spaces to `mark`, a mark in front, cut before marks
    SPLIT_BYTE_ALPHABET, // bytes as visible characters (only where further steps see them)
    SPLIT_BYTES_BACK,    // the byte alphabet undone
    SPLIT_THREES,        // runs of numbers into groups of three, counted from the right
} split_kind;

typedef enum split_behavior { // what becomes of a match; names as in tokenizer.json
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
} split_behavior;

typedef enum metaspace_prepend { METASPACE_ALWAYS, METASPACE_FIRST, METASPACE_NEVER } metaspace_prepend;

typedef struct split_step {
    split_kind kind;
    split_behavior behavior;
    bool invert;
    hth_regex *re; // owned
    char mark[8];  // METASPACE
    uint32_t n_mark;
    metaspace_prepend prepend;
    bool cut; // METASPACE: cut before marks
} split_step;

typedef struct piece {
    uint32_t start, n;
} piece;

typedef struct piece_list {
    piece *p; // owned
    size_t n, cap;
} piece_list;

typedef struct split_work {
    piece_list lists[2];
    hth_str text[2]; // for steps that change it
    hth_matcher matcher;
} split_work;
void hth_split_work_free(split_work *w);

// Cuts text. `first`: it is the beginning of the whole input. *out pieces of *out_text, none empty; both
// last until the next call.
HTH_NODISCARD hth_code hth_split(const split_step *steps, size_t n_step, split_work *w, const uint8_t *text,
                                 size_t n, bool first, const uint8_t **out_text, const piece_list **out,
                                 hth_err *err);

#endif
