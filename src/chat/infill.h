// Filling in the middle: the prompt that asks a model for what stands between two texts, in the form that its
// family was trained on, with other files of the repository before them.
#ifndef HTH_CHAT_INFILL_H
#define HTH_CHAT_INFILL_H

#include "chat/message.h"
#include "text/tokenizer.h"

#define HTH_INFILL_MAX_ENDS 5

typedef struct hth_infill_row hth_infill_row; // a family, see infill.c

// What a vocabulary offers. -1: no such token.
typedef struct hth_infill_format {
    const char *name; // "qwen", "starcoder2", ...
    hth_token prefix, suffix, middle, repo, file;
    const hth_infill_row *row;
} hth_infill_format;

// Finds it by the tokens that the model's metadata names, else by their spellings. Errors: HTH_ERR_UNSUPPORTED where
// the vocabulary has none.
HTH_NODISCARD hth_code hth_infill_find(const hth_tokenizer *t, hth_infill_format *out, hth_err *err);
// The tokens of the format, each of which ends what is filled in (as the model's own ends do). Returns how many.
size_t hth_infill_ends(const hth_infill_format *f, hth_token out[HTH_INFILL_MAX_ENDS]);

typedef enum hth_infill_order {
    HTH_INFILL_OWN, // the one that the family's authors show
    HTH_INFILL_PSM, // prefix, suffix, then the middle
    HTH_INFILL_SPM, // suffix, prefix, then the middle
} hth_infill_order;

typedef struct hth_infill_file {
    hth_chat_text path, text; // path p NULL: "filename"
} hth_infill_file;

typedef struct hth_infill_request {
    hth_chat_text prefix, suffix;
    hth_chat_text path;           // of the text itself; p NULL: "filename" where files need one
    hth_chat_text repo;           // p NULL: "myproject", likewise
    const hth_infill_file *files; // [n_file] the most important last
    size_t n_file;
    hth_infill_order order;
    size_t max_text; // tokens of prefix and suffix together; 0: no limit but the next
    size_t max_all;  // tokens of the prompt; 0: no limit
} hth_infill_request;

typedef struct hth_infill_counts { // tokens of the request, and how many of them are in the prompt
    size_t prefix, suffix, files, prefix_taken, suffix_taken, files_taken;
} hth_infill_counts;

// Appends the prompt's tokens to *out, BOS included where the tokenizer adds it. Nothing in the request's texts becomes
// a control token. What is too long is cut as far away from the gap as possible: the prefix loses its beginning, the
// suffix its end, a quarter of `max_text` is the suffix's and what one leaves is the other's; files lose their
// beginnings, the first file first. `counts` may be NULL. Errors: HTH_ERR_UNSUPPORTED for an order that the family was
// not trained on, HTH_ERR_LIMIT where not even the control tokens fit.
HTH_NODISCARD hth_code hth_infill_prompt(const hth_infill_format *f, const hth_tokenizer *t, const hth_infill_request *r,
                                         hth_token_list *out, hth_infill_counts *counts, hth_err *err);

#endif
