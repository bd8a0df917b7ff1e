// An ask at work: the model is found, the prompt rendered, tokenized and admitted; then what comes is told as events,
// and a dialect's printer makes its own bytes of them. A printer never sees an engine, and the engine never a dialect.
//
//   handler (worker)      hth_ask from JSON -> hth_call_start -> hth_call_answer
//   HTTP thread           events -> printer.event (streams), or printer.whole at the end
#ifndef HTH_SERVER_CALL_H
#define HTH_SERVER_CALL_H

#include "server/ask.h"
#include "server/http.h"
#include "server/sampled.h"

struct hth_server;

typedef struct hth_call hth_call;

typedef enum hth_call_kind {
    HTH_CALL_STARTED,   // first of all; .started
    HTH_CALL_PROGRESS,  // prefill; .progress
    HTH_CALL_CONTENT,   // .text
    HTH_CALL_REASONING, // .text
    HTH_CALL_TOOL,      // a call begins: .tool with id and name
    HTH_CALL_ARGUMENTS, // .text is a piece of the call's arguments (.tool as in TOOL)
    HTH_CALL_TOOL_END,  // the call is complete (.tool as in TOOL)
    HTH_CALL_TOKEN,     // one token, where tokens or logprobs are wanted; comes before the text that it completes
    HTH_CALL_FINISH,    // a choice has ended: .finish
    HTH_CALL_EMBEDDING, // .embedding
    HTH_CALL_SCORE,     // .score
    HTH_CALL_ERROR,     // all has ended: .fault. No event but END follows
    HTH_CALL_END,       // the last one: .usage
} hth_call_kind;

typedef enum hth_finish {
    HTH_FINISH_STOP,      // the model ended it
    HTH_FINISH_STOP_TEXT, // .stop is which
    HTH_FINISH_LENGTH,    // max_tokens
    HTH_FINISH_CONTEXT,   // the context is full
    HTH_FINISH_TOOLS,     // ended with calls of tools
    HTH_FINISH_CANCELLED,
} hth_finish;

typedef struct hth_call_usage {
    int64_t n_prompt, n_cached, n_output, n_reasoning; // tokens of all choices
    int64_t n_drafted, n_accepted;
    uint64_t load_ns, queued_ns, prefill_ns, generate_ns, total_ns;
    hth_miss miss;
    int64_t n_sent_back[HTH_SAMPLED_COUNT]; // calls in the messages, by what was known of them
} hth_call_usage;

typedef struct hth_call_event {
    hth_call_kind kind;
    int32_t choice;       // prompts * n: prompt i's j-th completion is i * n + j; -1: of no choice
    const char *text;     // whole characters; borrowed until the next event
    size_t n_text;
    union {
        struct {
            const char *model; // the name to answer with
            int64_t created;   // seconds since 1970
            const struct hth_tokenizer *tokenizer; // for hth_call_spell; NULL: none
        } started;
        struct {
            int64_t n_done, n_total, n_cached;
            uint64_t elapsed_ns;
        } progress;
        struct {
            int32_t index;    // of the call in its choice, from 0
            const char *id, *name;
        } tool;
        struct {
            int32_t id;
            bool is_prompt, has_logprob;
            float logprob;
            const hth_logprob *top; // [n_top]
            int32_t n_top;
        } token;             // .text is what the token alone is written as; perhaps no whole characters
        struct {
            hth_finish reason;
            hth_chat_text stop; // STOP_TEXT: the text
        } finish;
        struct {
            const float *values; // [n]
            int32_t n;
            int64_t n_prompt;
        } embedding;
        struct {
            double value;
            int64_t n_prompt;
        } score;
        const hth_fault *fault;
        const hth_call_usage *usage;
    };
} hth_call_event;

// ---- collected for replies in one piece

typedef struct hth_call_tool {
    hth_str id, name, arguments;
} hth_call_tool;

typedef struct hth_call_token {
    int32_t id;
    bool is_prompt, has_logprob;
    float logprob;
    uint32_t text, n_text; // in hth_call_choice.spellings
    uint32_t top, n_top;   // in hth_call_choice.tops
} hth_call_token;

typedef struct hth_call_choice {
    hth_str content, reasoning;
    hth_call_tool *tools; // [n_tool]
    size_t n_tool, cap_tool;
    hth_call_token *tokens; // [n_token]
    size_t n_token, cap_token;
    hth_str spellings;
    hth_logprob *tops; // [n_top]
    size_t n_top, cap_top;
    bool has_finished;
    hth_finish reason;
    hth_chat_text stop;
    float *embedding; // [n_embedding]
    int32_t n_embedding;
    double score;
    int64_t n_prompt; // of EMBED and RERANK
} hth_call_choice;

typedef struct hth_call_whole {
    const char *model;
    int64_t created;
    const struct hth_tokenizer *tokenizer;
    hth_call_choice *choices; // [n_choice]
    size_t n_choice, cap_choice;
    hth_call_usage usage;
    hth_fault fault; // kind NONE: all went well
    bool failed;     // memory was refused while collecting
} hth_call_whole;

// ---- how a dialect prints. One static table per kind of reply; `user` is the dialect's own state, in the exchange's
// arena. All run on one HTTP thread at a time.

typedef struct hth_printer {
    const char *type, *stream_type; // content types of the reply in one piece and of the stream; NULL: JSON and SSE
    // Streams: appends what the event is in this dialect; nothing is fine. Ends (data: [DONE]) come with END; after an
    // ERROR too.
    void (*event)(void *user, const hth_call_event *e, hth_str *out);
    // A stream that has been quiet for a while: something that clients skip. NULL: an SSE comment.
    void (*ping)(void *user, hth_str *out);
    // The reply in one piece.
    void (*whole)(void *user, const hth_call_whole *w, hth_str *out);
} hth_printer;

// Finds the model (loading it where it must be: this waits), renders, tokenizes, submits. On a worker thread.
// False: *fault says why, nothing is at work. The ask and what it points to live until the call is dropped.
HTH_NODISCARD bool hth_call_start(struct hth_server *s, hth_exchange *x, const hth_ask *ask, hth_call **out,
                                  hth_fault *fault);
// The same for work that belongs to no exchange: `on_more(user)` is called by any thread when there is more to read,
// perhaps before this returns, and is the last time called with the last event.
HTH_NODISCARD bool hth_call_start_detached(struct hth_server *s, const hth_ask *ask, void (*on_more)(void *user), void *user,
                                           hth_call **out, hth_fault *fault);
// Binds the call to its exchange and answers: as a stream where the ask says so, else in one piece. Takes the call.
void hth_call_answer(hth_call *c, const hth_printer *printer, void *user);
// All steps of a handler: start, and answer or refuse. What could not be honoured is named in X-Hearth-Ignored.
void hth_call_serve(struct hth_server *s, hth_exchange *x, const hth_ask *ask, const char *ignored, const hth_printer *printer,
                    void *user);

// "Stop thinking now": ends the thoughts of the call with this hth_ask.control_id. False where none has it, any more or yet.
bool hth_call_stop_thinking(struct hth_server *s, hth_chat_text id);
struct hth_calls *hth_calls_new(void); // NULL: no memory
void hth_calls_free(struct hth_calls *all);

// Tells the events that have come since the last time, at most about `max` of them, on the caller's thread; one reader
// at a time. What an event points to is valid during fn.
typedef enum hth_call_state { HTH_CALL_MORE, HTH_CALL_WAIT, HTH_CALL_ENDED } hth_call_state;
typedef void (*hth_call_fn)(void *user, const hth_call_event *e);
hth_call_state hth_call_read(hth_call *c, int max, hth_call_fn fn, void *user);

// Puts events together; for who answers in one piece. An hth_call_fn whose user is the hth_call_whole.
void hth_call_collect(void *whole, const hth_call_event *e);
void hth_call_whole_free(hth_call_whole *w);
// The first n numbers of a vector, as long as 1 again; n 0: all as they are. Returns how many there are.
size_t hth_call_shorten(float *v, size_t n_all, int64_t n);

const hth_sampler_params *hth_call_sampling(const hth_call *c); // as it was settled
void hth_call_cancel(hth_call *c); // any thread
void hth_call_drop(hth_call *c);   // cancels what is left

// The tokens of an ask's prompt without computing anything (count_tokens and the like); of a chat, rendered.
HTH_NODISCARD bool hth_call_count(struct hth_server *s, hth_exchange *x, const hth_ask *ask, int64_t *n_token, hth_fault *fault);
// The rendered prompt of a chat, as text. Appends.
HTH_NODISCARD bool hth_call_render(struct hth_server *s, hth_exchange *x, const hth_ask *ask, hth_str *out, hth_fault *fault);

// What a token alone is written as; perhaps no whole characters. Borrowed from the tokenizer.
const char *hth_call_spell(const struct hth_tokenizer *t, int32_t id, size_t *n);

// Where tests are allowed to, the header X-Hearth-Script is what is answered.
void hth_call_take_script(struct hth_server *s, hth_exchange *x, hth_ask *a);

// A new id: prefix and 24 letters and digits that nobody can guess.
#define HTH_CALL_ID 48
void hth_call_new_id(const char *prefix, char out[HTH_CALL_ID]);

#endif
