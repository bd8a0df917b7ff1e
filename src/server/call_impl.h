// What the files of call*.c share. A call's fields are set while it starts; afterwards they are its reader's alone.
#ifndef HTH_SERVER_CALL_IMPL_H
#define HTH_SERVER_CALL_IMPL_H

#include "chat/budget.h"
#include "chat/infill.h"
#include "chat/output.h"
#include "chat/reasoning.h"
#include "grammar/grammar.h"
#include "os/sync.h"
#include "server/call.h"
#include "server/config.h"
#include "server/models.h"
#include "server/sampled.h"
#include "server/server.h"

#define CALL_MAX_AT_WORK 32 // prompts of one call that are submitted at once

// One completion of one prompt.
typedef struct call_choice {
    hth_chat_output *parser; // owned; NULL: text is content
    int32_t n_call;
    uint64_t last_token_ns;
    hth_str id, name, arguments; // of the call being told
} call_choice;

// One prompt.
typedef struct call_job { // also the `user` of its request's callbacks
    hth_call *call;
    hth_guides *guides;   // owned; NULL: anything may be written
    bool forces;          // they write what there is no choice about
    hth_chat_budget *budget; // owned; NULL: thoughts are not cut
    hth_request *request; // owned; NULL: not submitted yet, or over
    bool is_over;
    int64_t n_prompt;
} call_job;

struct hth_call {
    atomic_int n_hold;
    hth_server *s;
    hth_exchange *x; // held; NULL: detached
    void (*on_more)(void *user);
    void *more_user;
    const hth_ask *ask;
    hth_arena arena;
    hth_use *use;    // NULL: released
    hth_call *next_listed; // of the calls that can be told by their id
    bool is_listed;
    bool wakes_at_end; // one reply in one piece: nobody reads before
    atomic_bool is_cancelled;

    // what every prompt is submitted with
    hth_request_params params;
    hth_lora_set adapters; // where the request chooses its own
    hth_sampler_params sampling;
    hth_logit_bias *sampling_bias; // [n_bias]
    size_t n_bias, cap_bias;
    hth_segment script;
    const char *ends_thought; // written after the prompt: the thought that it opens is over. NULL: nothing
    const hth_chat_message *messages; // the ask's, with calls as they were written
    hth_segment *prompt; // [n_prompt] of a chat
    size_t n_prompt;
    hth_grammar *grammar;
    const hth_grammar_vocab *vocab; // the model's
    const hth_chat_format *format; // NULL: text is content
    hth_chat_begins begins;
    hth_chat_tools tools;
    hth_json_doc *tools_doc;

    // reading
    hth_mutex lock; // jobs' requests: the reader submits and frees, cancel reads
    call_job *jobs; // [n_job]
    size_t n_job, n_submitted, n_over, next_job;
    int32_t n_completion; // of each prompt
    call_choice *choices; // [n_job * n_completion]
    bool has_started, has_failed, has_ended;
    hth_fault fault;
    hth_call_usage usage;
    uint64_t start_ns;
    int64_t created;
    hth_call_fn fn; // while reading
    void *fn_user;
    int32_t at_choice;
};

static inline bool call_no_memory(hth_fault *fault) {
    return hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the request");
}

// What the dialect calls a field of hth_ask_names.
#define CALL_NAME(c_, field_) ((c_)->ask->names && (c_)->ask->names->field_ ? (c_)->ask->names->field_ : #field_)

// call_grammar.c
bool call_make_grammar(hth_call *c, hth_fault *fault);
bool call_make_guides(hth_call *c, size_t i, hth_request_params *p, hth_fault *fault); // of job i
const hth_err *call_guide_error(const call_job *job, int32_t completion);
void call_free_grammar(hth_call *c);

// call_budget.c
bool call_make_budget(hth_call *c, size_t i, hth_fault *fault); // of job i
// What is written in the model's place: the end of a thought that is cut, and what a grammar leaves no choice of.
void call_force(hth_call *c, size_t i, hth_request_params *p);
void call_delist(hth_call *c);

// call_start.c
hth_chat_output_params call_answers(hth_call *c); // how answers are read
uint64_t call_random(void);
bool call_submit_next(hth_call *c, hth_fault *fault);
void call_release(hth_call *c); // the model
// call.c: an hth_chat_sink for the choice that is being read.
hth_code call_take_delta(void *user, const hth_chat_delta *d, hth_err *err);

// call_prompt.c: fills params, prompt, format, grammar of a call whose model is there.
bool call_prepare(hth_call *c, hth_fault *fault);
// The segments of job i.
bool call_segments(hth_call *c, size_t i, const hth_segment **out, size_t *n, hth_fault *fault);
bool call_render(hth_call *c, hth_jinja_text *text, hth_fault *fault);

#endif
