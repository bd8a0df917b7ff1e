// Reads a model's answer as it is generated: what is thought, what is said, which tools are called with what.
// Any cutting of the answer into pieces gives the same text in the same order, and nothing is ever taken back.
// The text has control tokens spelled out (hth_request_params.show_control): markers are found in it, the
// vocabulary's other control tokens are left out.
#ifndef HTH_CHAT_OUTPUT_H
#define HTH_CHAT_OUTPUT_H

#include "chat/format.h"

typedef enum hth_chat_delta_kind {
    HTH_CHAT_DELTA_REASONING, // text
    HTH_CHAT_DELTA_CONTENT,   // text
    HTH_CHAT_DELTA_CALL,      // a call begins: call, id, name
    HTH_CHAT_DELTA_ARGUMENTS, // text: more of the JSON object
    HTH_CHAT_DELTA_CALL_END,  // call
} hth_chat_delta_kind;

// Pointers are valid during the call of the sink.
typedef struct hth_chat_delta {
    hth_chat_delta_kind kind;
    int32_t call;           // of the last three: 0, 1, 2 ...
    const char *text;       // [n_text]
    size_t n_text;
    hth_chat_text id, name; // of CALL
    bool is_cut;            // of CALL_END: the answer ended before the call did
} hth_chat_delta;

// Anything but HTH_OK ends the feed with that code.
typedef hth_code (*hth_chat_sink)(void *user, const hth_chat_delta *d, hth_err *err);

typedef struct hth_chat_output_params {
    const hth_chat_format *format;
    hth_chat_begins begins;       // hth_chat_format_begins
    const hth_chat_tools *tools;  // borrowed; what looks like a call of anything else is content. NULL: calls are content
    bool any_tool;                // calls of tools that are not listed are calls too (tools may be NULL)
    bool raw_reasoning;           // thoughts and their tags are content, as they come
    const hth_tokenizer *tokenizer; // its other control tokens are left out; NULL: they stay
    uint64_t seed;                // of the ids that are made up: one for each answer
    uint64_t max_bytes;           // of what has to be held back; 0: 64 MiB
    hth_chat_sink sink;
    void *user;
} hth_chat_output_params;

typedef struct hth_chat_output hth_chat_output;

// Returns owned.
HTH_NODISCARD hth_code hth_chat_output_new(const hth_chat_output_params *p, hth_chat_output **out, hth_err *err);
void hth_chat_output_free(hth_chat_output *o);
// More of the answer. HTH_ERR_LIMIT where a value that cannot be told yet passes max_bytes.
HTH_NODISCARD hth_code hth_chat_output_feed(hth_chat_output *o, const char *text, size_t n, hth_err *err);
// The answer is over: tells what was held back, and ends an open call.
HTH_NODISCARD hth_code hth_chat_output_end(hth_chat_output *o, hth_err *err);

// Whether a thought is open: what a budget, or "stop thinking now", may end (chat/budget.h).
bool hth_chat_output_is_thinking(const hth_chat_output *o);

// An answer taken together.
typedef struct hth_chat_answer_call {
    hth_str id, name, arguments;
    bool is_cut; // the answer ended before the call did
} hth_chat_answer_call;

typedef struct hth_chat_answer {
    hth_str content, reasoning;
    hth_chat_answer_call *calls; // [n_call] owned
    size_t n_call, cap;
} hth_chat_answer;

void hth_chat_answer_init(hth_chat_answer *a);
void hth_chat_answer_free(hth_chat_answer *a);
// A sink; `user` is the hth_chat_answer.
hth_code hth_chat_answer_take(void *user, const hth_chat_delta *d, hth_err *err);
// All at once: what p->sink and p->user are does not matter. *out is initialized here.
HTH_NODISCARD hth_code hth_chat_answer_parse(const hth_chat_output_params *p, const char *text, size_t n,
                                             hth_chat_answer *out, hth_err *err);

#endif
