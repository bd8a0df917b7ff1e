// OpenAI's Responses: what reading, printing, the jobs and the routes share.
//
// A *job* is a response being made. It owns its request and the call; one thread of hth_responses reads the
// calls of all jobs and prints their events into the jobs' journals, from which exchanges read: the one that
// asked, and those that come later for a response made in the background. What a client wants kept goes to
// the store before its last event is told.
#ifndef HTH_SERVER_RESPONSES_IMPL_H
#define HTH_SERVER_RESPONSES_IMPL_H

#include "base/json_out.h"
#include "os/sync.h"
#include "server/call.h"
#include "server/responses.h"
#include "server/server.h"

#define RESPONSES_MAX_READERS 16

// A request as it is read. The ask is first: the shared readers of fields fill it.
typedef struct responses_request {
    hth_ask ask;
    const hth_json *input, *metadata, *tools, *tool_choice, *format; // echoed as they came; NULL: not given
    const hth_json *custom_schemas; // [tools] of those that are custom: an object with a text called input
    hth_chat_text instructions, previous, user, safety_identifier, cache_key, verbosity, effort, summary;
    bool *is_custom; // [ask.n_tool]
    bool store, background, wants_sealed, wants_logprobs;
    bool has_max_tokens, has_temperature, has_top_p, has_presence, has_frequency;
    bool sums_up;   // reasoning is told as its summary
    int truncation; // 1: auto
    int64_t max_tool_calls;
    // being built
    hth_chat_message *messages;
    hth_chat_part *parts;
    hth_chat_call *calls;
    char *thoughts;
    size_t n_message, n_part, n_call, n_thought;
} responses_request;

typedef enum responses_item {
    ITEM_NONE,
    ITEM_MESSAGE,
    ITEM_REASONING,
    ITEM_CALL,
    ITEM_CUSTOM
} responses_item;
typedef enum responses_status {
    STATUS_QUEUED,
    STATUS_IN_PROGRESS,
    STATUS_COMPLETED,
    STATUS_INCOMPLETE,
    STATUS_FAILED,
    STATUS_CANCELLED
} responses_status;

typedef struct responses_job {
    int n_hold; // under hth_responses.lock
    struct responses_job *next, *next_ready;
    struct responses_ticket *ticket;
    bool is_ready;
    bool is_forgotten; // deleted, or never to be kept: nobody finds it
    uint64_t ended_ns;

    struct hth_responses *owner_of;
    char id[HTH_CALL_ID], who[64];
    int64_t created;
    hth_arena arena;
    hth_json_doc *doc;
    const char *document;
    size_t n_document;
    const char *own; // [n_own] in the document: this response's input items, without brackets
    size_t n_own;
    responses_request r;

    hth_mutex lock; // all below
    hth_call *call; // NULL: over
    responses_status status;
    int64_t completed;
    const char *model;
    const struct hth_tokenizer *tokenizer; // while the call is there
    hth_str events;                        // printed, one after the other
    size_t *ends;                          // [n_event] where each ends in `events`
    size_t n_event, cap_event;
    bool has_ended; // nothing more is printed
    hth_str body;   // the response as it ended

    responses_item item; // the open one
    char item_id[HTH_CALL_ID];
    int64_t n_item;              // that were opened
    hth_str text, call_id, name; // of the open item
    hth_str logprobs, pending;   // JSON of the open item's, and of tokens whose text has not come
    hth_str done;                // JSON of the items that are closed
    hth_finish reason;
    hth_fault fault; // kind NONE: all went well
    hth_call_usage usage;
    bool was_cancelled;

    hth_exchange *readers[RESPONSES_MAX_READERS]; // held
    int n_reader;
} responses_job;

// responses_read.c. `document` of the job is {"input": [...], "custom": [...], "body": {...}}; n_before items
// of the input come from earlier responses.
HTH_NODISCARD bool responses_read(hth_fields *f, const hth_json *root, size_t n_before,
                                  const hth_responses *all, responses_request *r);

// responses_print.c; with the job's lock.
void responses_print(void *job, const hth_call_event *e); // an hth_call_fn
void responses_print_begin(responses_job *j);
void responses_print_end(responses_job *j); // the last event, when the response is stored
void responses_write(responses_job *j, hth_json_out *out, const char *key); // the response as it is now

// responses_refs.c: items that a request names by their id.
bool responses_has_references(const hth_json *input);
// Appends the items of the array `input`, with those that are named in place of their names. Refuses what is not
// found among the stored responses of `who`. `a` holds what is read; it lives as long as the request.
HTH_NODISCARD bool responses_resolve(hth_responses *all, const char *who, hth_arena *a, const hth_fields *f,
                                     const hth_json *input, hth_str *to, hth_fault *fault);

// responses_seal.c: thoughts that clients carry and cannot read.
HTH_NODISCARD bool responses_seal(const hth_responses *all, const char *text, size_t n, hth_str *out);
// The text has room for n bytes. False where it was not sealed here.
HTH_NODISCARD bool responses_unseal(const hth_responses *all, const char *sealed, size_t n, char *text,
                                    size_t *n_text);

// responses_jobs.c
HTH_NODISCARD responses_job *responses_job_new(hth_responses *all, hth_exchange *x, hth_fault *fault);
// Starts the call: this may wait. Afterwards the job is worked on, and `x`, where it is not NULL, reads it.
HTH_NODISCARD bool responses_job_start(responses_job *j, hth_fault *fault);
void responses_job_drop(responses_job *j);
responses_job *responses_job_find(hth_responses *all, const char *who, const char *id); // held; NULL: none
void responses_job_cancel(responses_job *j);
// Cancels it and lets nobody find it again; it is not stored when it ends.
void responses_job_forget(responses_job *j);
// Answers with the events after `after`, or with the body when it ends. Takes the hold.
void responses_job_answer(responses_job *j, hth_exchange *x, bool stream, int64_t after);

struct hth_responses {
    hth_server *s;
    hth_mutex lock;
    hth_cond wake;
    hth_thread thread;
    bool has_thread;
    bool stops;                        // takes no more jobs
    bool ends;                         // the thread too
    responses_job *jobs;               // all
    responses_job *ready, *last_ready; // to be read
    struct responses_ticket *free_tickets, *tickets;
    size_t n_job, n_kept;
    unsigned char seal_key[32];
};

#endif
