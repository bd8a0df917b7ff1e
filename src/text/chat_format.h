// Chat prompts for the classic formats: a small table from marker strings in a model's chat template to
// the pieces of text that stand around messages. No template is interpreted here: one that is not
// recognised for certain is an error, never a guess.
#ifndef HTH_TEXT_CHAT_FORMAT_H
#define HTH_TEXT_CHAT_FORMAT_H

#include "text/tokenizer.h"

typedef enum hth_chat_role {
    HTH_CHAT_SYSTEM,
    HTH_CHAT_USER,
    HTH_CHAT_ASSISTANT,
    HTH_CHAT_ROLE_COUNT
} hth_chat_role;

typedef struct hth_chat_message {
    hth_chat_role role; // a system message stands first or not at all
    const char *text;   // borrowed
    size_t n;
} hth_chat_message;

typedef struct hth_chat_format hth_chat_format;

// Where the format was taken from.
typedef enum hth_chat_source {
    HTH_CHAT_FROM_TEMPLATE, // the model's chat template
    HTH_CHAT_FROM_TOKENS,   // the model has no template, but its vocabulary has a format's control tokens
    HTH_CHAT_FROM_NAME,     // the caller chose
} hth_chat_source;

// Finds the format of a model. `name` chooses one from the table, NULL recognises it. Errors:
// HTH_ERR_NOTFOUND when the model carries no template and its vocabulary shows none,
// HTH_ERR_UNSUPPORTED when its template is none of the table's, HTH_ERR_RANGE for an unknown name.
// Borrows `t`. Returns owned.
HTH_NODISCARD hth_code hth_chat_format_open(hth_container *c, const hth_tokenizer *t, const char *name,
                                            hth_chat_format **out, hth_err *err);
// The same from a template's text alone; `t` may be NULL, BOS and EOS are then spelled <s> and </s>.
HTH_NODISCARD hth_code hth_chat_format_recognise(const char *text, size_t n, const hth_tokenizer *t,
                                                 hth_chat_format **out, hth_err *err);
void hth_chat_format_free(hth_chat_format *f);

const char *hth_chat_format_name(const hth_chat_format *f);
hth_chat_source hth_chat_format_source(const hth_chat_format *f);
const char *hth_chat_format_name_at(int i); // the table's names, NULL past the end

// A rendered prompt: what the tokenizer takes. Message texts are user segments, so that nothing in them
// becomes a control token. Borrows the messages' text and the format's.
typedef struct hth_chat_prompt {
    hth_text_segment *segments; // owned
    size_t n, cap;
    bool starts_with_bos; // BOS stands before the first segment
} hth_chat_prompt;

// Renders messages and the beginning of the answer. HTH_ERR_RANGE when the roles are in an order that the
// format cannot express.
HTH_NODISCARD hth_code hth_chat_render(const hth_chat_format *f, const hth_chat_message *messages, size_t n,
                                       hth_chat_prompt *out, hth_err *err);
void hth_chat_prompt_free(hth_chat_prompt *p);

// Renders and tokenizes; appends to *out.
HTH_NODISCARD hth_code hth_chat_tokenize(const hth_chat_format *f, const hth_tokenizer *t,
                                         const hth_chat_message *messages, size_t n, hth_token_list *out,
                                         hth_err *err);

#endif
