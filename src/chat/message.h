// Messages as clients send them: lists of typed parts, calls of tools, reasoning. What a template is given of
// them depends on the template (chat/template.h).
#ifndef HTH_CHAT_MESSAGE_H
#define HTH_CHAT_MESSAGE_H

#include "chat/jinja_value.h"

typedef struct hth_chat_text { // may hold zeros
    const char *p;
    size_t n;
} hth_chat_text;

typedef enum hth_chat_part_kind {
    HTH_CHAT_PART_TEXT,
    HTH_CHAT_PART_IMAGE,
    HTH_CHAT_PART_AUDIO,
    HTH_CHAT_PART_VIDEO,
    HTH_CHAT_PART_FILE,
} hth_chat_part_kind;

typedef struct hth_chat_part {
    hth_chat_part_kind kind;
    hth_chat_text text; // TEXT: the text; others: an address, or empty
} hth_chat_part;

typedef struct hth_chat_call {
    hth_chat_text id, name; // id may be empty
    hth_chat_text arguments; // JSON
    bool as_written;         // a model wrote them so: the template's tojson leaves their spelling as it is
} hth_chat_call;

typedef struct hth_chat_message {
    hth_chat_text role;
    const hth_chat_part *parts; // [n_part]
    size_t n_part;
    hth_chat_text name, call_id, reasoning; // p NULL: none
    const hth_chat_call *calls;             // [n_call]
    size_t n_call;
} hth_chat_message;

static inline hth_chat_text hth_chat_text_of(const char *text) {
    return (hth_chat_text){text, __builtin_strlen(text)};
}

static inline bool hth_chat_text_is(hth_chat_text t, const char *word) {
    return t.p && __builtin_strlen(word) == t.n && __builtin_memcmp(t.p, word, t.n) == 0;
}

// Messages of OpenAI's chat API from JSON: an array of objects, content a string, null or a list of parts,
// arguments a string or an object. Everything lives in `a`. Errors name the message.
HTH_NODISCARD hth_code hth_chat_messages_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                                                   hth_chat_message **out, size_t *n_out, hth_err *err);

// The messages as the dicts that templates read, with nothing changed but: a role that is one of the usual words
// counts as the template's own (templates build control tokens from it), and reasoning goes by its three names.
HTH_NODISCARD hth_code hth_chat_values_from_json(hth_arena *a, const hth_json *v, const char *text, size_t n,
                                                 hth_jinja_value *out, hth_err *err);

typedef struct hth_chat_shape {
    bool parts;            // contents are lists
    bool object_arguments; // arguments are objects, not JSON in a string
    bool parsed_results;   // a tool's result is there a second time, as `parsed`: what its text is as JSON, else the text
} hth_chat_shape;

// Messages in the shape that a template wants.
HTH_NODISCARD hth_code hth_chat_message_value(hth_arena *a, const hth_chat_message *m, hth_chat_shape shape,
                                              hth_jinja_value *out, hth_err *err);

#endif
