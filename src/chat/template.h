// A model's chat template: found, compiled once, asked what it understands, and rendered for a conversation.
// One way for all models: those without a template get one of the classic formats (chat/classic.h), which are
// templates too.
#ifndef HTH_CHAT_TEMPLATE_H
#define HTH_CHAT_TEMPLATE_H

#include "chat/jinja.h"
#include "chat/message.h"
#include "formats/container.h"

typedef struct hth_chat_template hth_chat_template;

typedef enum hth_chat_source {
    HTH_CHAT_FROM_MODEL,  // the model's own template
    HTH_CHAT_FROM_FILE,   // the caller's text
    HTH_CHAT_FROM_NAME,   // a classic format that the caller named
    HTH_CHAT_FROM_TOKENS, // the model has none, but its vocabulary has a classic format's control tokens
} hth_chat_source;

typedef struct hth_chat_choice {
    const char *name;    // a classic format, or one of the model's own templates ("tool_use"); NULL: by itself
    hth_chat_text text;  // a template that overrides; p NULL: none
} hth_chat_choice;

// Finds and compiles the template. `c` and `t` may be NULL where `choice` gives a text: BOS and EOS are then
// spelled <s> and </s>. What the template writes literally is guarded in the tokenizer (hth_tokenizer_guard), so
// call it before the tokenizer is shared. Errors: HTH_ERR_NOTFOUND when the model has no template and its
// vocabulary shows none, HTH_ERR_RANGE for an unknown name, HTH_ERR_FORMAT for a template that is broken.
// Borrows c and t. Returns owned; immutable.
HTH_NODISCARD hth_code hth_chat_template_open(hth_container *c, hth_tokenizer *t, const hth_chat_choice *choice,
                                              hth_chat_template **out, hth_err *err);
void hth_chat_template_free(hth_chat_template *t);

hth_chat_source hth_chat_template_source(const hth_chat_template *t);
// "model", "file", or the classic format's name.
const char *hth_chat_template_name(const hth_chat_template *t);

// Whether the template's own text (that of its own for tools included) holds `word`.
bool hth_chat_template_has_literal(const hth_chat_template *t, const char *word);

// What the template does with a conversation, found out by rendering one.
typedef struct hth_chat_abilities {
    bool strings, parts;   // contents that it can take
    bool system;           // a system message is written
    bool systems;          // several are
    bool late_systems;     // one behind other messages is
    bool developer;        // knows that role
    bool tools;            // writes the tools it is given
    bool object_arguments; // wants a call's arguments as an object; else as JSON in a string
} hth_chat_abilities;
const hth_chat_abilities *hth_chat_template_abilities(const hth_chat_template *t);

typedef struct hth_chat_request {
    const hth_chat_message *messages; // [n_message]; or
    size_t n_message;
    const hth_jinja_value *values;    // the messages as dicts, given to the template as they are; NULL: messages
    const hth_jinja_value *tools;     // a list, or NULL
    const hth_jinja_value *documents; // a list, or NULL
    const hth_jinja_value *kwargs;    // a dict of more variables, or NULL
    bool no_answer;                   // do not open the answer (add_generation_prompt is false)
    const char *continues;            // the last message is left open after this field ("content"); NULL: no
    const hth_jinja_time *now;        // NULL: the clock
    const hth_jinja_limits *limits;   // NULL: the defaults
} hth_chat_request;

// Renders. With `messages`, their shape is what the template understands: system texts are merged where it writes only one,
// come first where it wants them there, are moved into the user's turn where the family has none, contents become strings or
// lists. Parts that are no text are HTH_ERR_UNSUPPORTED where the template cannot take lists.
HTH_NODISCARD hth_code hth_chat_render(const hth_chat_template *t, const hth_chat_request *r, hth_jinja_text *out,
                                       hth_err *err);
// Whether a rendering needs BOS before it: the template is a classic format, which does not write it.
bool hth_chat_wants_bos(const hth_chat_template *t, const hth_tokenizer *tokenizer, const hth_jinja_text *text);
// The ids of a rendering; appends to *out. BOS comes from the template; a classic format gets one where the
// tokenizer adds it.
HTH_NODISCARD hth_code hth_chat_text_ids(const hth_chat_template *t, const hth_tokenizer *tokenizer,
                                         const hth_jinja_text *text, hth_token_list *out, hth_err *err);

#endif
