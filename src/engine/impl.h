// Inside of the engine: who owns what, and who may touch it.
//
//   submitting threads --(host lock)--> queue of the engine --> host thread: admit, plan a step, run it, sample,
//   deliver --> journal of the request --> readers
//
// Three kinds of fields: constant after opening; under the host's lock; of the host's thread alone. A request is held
// by its owner and, until it is done, by the engine.
#ifndef HTH_ENGINE_IMPL_H
#define HTH_ENGINE_IMPL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "engine/draft.h"
#include "engine/engine.h"
#include "engine/journal.h"
#include "engine/pooling.h"
#include "engine/prefix.h"
#include "engine/stop.h"
#include "model/lora.h"
#include "os/sync.h"

#define HTH_MAX_COMPLETIONS 128
#define HTH_MAX_TOP 100
#define HTH_DRAFT_ROWS 32 // guessed rows of a step, of all sequences

typedef enum request_phase { REQUEST_WAITING, REQUEST_RUNNING, REQUEST_DONE } request_phase;

struct hth_request {
    atomic_int n_hold;
    // Constant after submission.
    hth_host *host;     // held: its lock outlives the engine
    hth_engine *engine; // borrowed; not used once done
    hth_request_params p; // what it points at lies in the arena
    hth_sampler_params sampling;
    hth_lora_set adapters;
    hth_bytes domain; // of what is cached
    hth_arena arena;
    hth_token *prompt; // [n_prompt]
    int64_t n_prompt;
    hth_token *forced; // [n_forced]
    int64_t n_forced;
    int64_t cut_first, cut_n; // left out of the prompt
    int64_t n_keep;           // rolling keeps so many
    int64_t n_room;           // tokens that a sequence of it may come to hold
    int32_t n_seq;            // completions
    hth_pooling pooling;
    uint64_t need_bytes;      // most that its sequences take
    int64_t n_first;          // tokens that it is given room for at first, and the bytes of that
    uint64_t first_bytes;
    uint64_t submit_ns, deadline_ns; // 0: no deadline
    hth_journal *journal;
    hth_replay *reader;
    // Under the host's lock.
    request_phase phase;
    bool is_cancelled;
    int32_t n_row_in_step;
    hth_request *next; // in the queue
    // Of the host's thread while it runs.
    int32_t n_live; // sequences that have not ended
    int64_t n_held; // tokens that it has room for now, and the bytes that are reserved for that (room.c)
    uint64_t held_bytes;
    hth_usage usage;
    uint64_t start_ns, prompt_ns;
};

typedef struct sequence sequence;
struct sequence {
    hth_request *request; // borrowed
    int32_t completion;
    int32_t slot;     // place among the engine's sequences: decides the thread that samples for it
    hth_state *state; // owned; NULL for an encoder's
    hth_token *tokens; // [n_token] prompt and what was generated
    size_t n_token, cap;
    int64_t n_computed;   // of them
    int64_t snapshot_at;  // where a snapshot is due (reuse_keep_branch); 0: nowhere
    int64_t n_prompt_row; // rows below are computed as a prompt's
    int64_t n_again;      // rows below were there once, and are computed again since room was given to others
    bool waits;           // for completion 0 to read the prompt
    sequence *leader; // borrowed: it reads the same beginning, and this one waits for its first n_led rows
    int64_t n_led;
    bool has_prompt;      // the prompt was read
    bool is_broken;       // ended by an error: its state is not to be kept
    bool is_parked;       // has given its state back, and waits for room to compute it again
    int64_t n_echoed;     // prompt tokens that were told
    int64_t n_output, n_forced;
    hth_sampler *sampler;
    hth_detokenizer detokenizer, echo;
    hth_stop_filter stop;
    hth_str text;    // work space
    uint32_t *mask;  // [(n_vocab + 31) / 32] or NULL
    const hth_token *due; // [n_due] borrowed from hth_request_params.force: what comes next
    size_t n_due;
    int64_t asked_at; // n_output + 1 when that function was asked last
    hth_logprob *top;    // [n_top] work space
    hth_pooled pooled; // of HTH_TASK_EMBED
    hth_drafter *lookup, *guesser; // made when needed; the second is of the draft model or the predicting layer
    bool is_rolled;                // this step has cut its tokens
    hth_gain gain;
    // This step.
    int32_t first_row, n_row, first_logits, n_logits, first_hidden, n_hidden;
    hth_draft draft;
    int32_t n_draft, i_draft; // guessed rows among n_row, and how many of them were reached
    bool is_ended;
};

// One token to choose.
typedef struct choice {
    sequence *seq;
    const float *logits;
    hth_token token;  // -1: a forced text has ended
    bool is_forced;
    float logprob;
    int32_t n_top;
    hth_code code;
    hth_err err;
} choice;

typedef struct queue {
    hth_request *head, *tail;
} queue;

// How long things take, learned from the steps that ran.
typedef struct timing {
    double decode_ns[64]; // of a step with n + 1 generated rows alone; 0: not known
    double prompt_row_ns; // of one more prompt row
    double request_ns;    // of a whole request
} timing;

struct hth_engine {
    // Constant.
    hth_host *host;
    bool owns_host;
    hth_model *model;         // owned
    hth_tokenizer *tokenizer; // owned
    int64_t n_ctx;
    hth_kv_type k_type, v_type;
    hth_activations activations;
    int32_t n_sequence, n_queue, n_chunk, n_choice; // n_choice: ids below are chosen from
    bool can_draft, goes_back; // no layer is recurrent
    int32_t n_keep;           // rows that recurrent layers can take back: the most that are guessed where there are any
    hth_model *draft;         // owned; a small model that guesses. NULL: none
    const hth_model *predictor; // the model's own layer that guesses, where there is no draft model; NULL: none
    uint64_t memory_bytes, kv_limit_bytes, scratch_bytes;
    hth_sampler_params sampling; // the model's own
    hth_prefix *prefix;          // owned; NULL: nothing is kept
    hth_sampler_work **works; // [threads of the host] work space of sampling
    // Under the host's lock.
    hth_engine *next; // of the host's engines
    queue waiting[2]; // by priority
    int32_t n_waiting, n_running;
    int32_t n_deadline; // waiting requests that have one
    bool is_closing, is_stepping;
    hth_engine_stats stats;
    // Of the host's thread.
    sequence **seqs; // [n_sequence], the first n_seq in use
    int32_t n_seq;
    uint64_t reserved_bytes, cached_bytes, n_cached_token; // promised; kept of ended requests; found of those
    uint64_t n_parked; // times that a request gave its room to another
    double vtime_ns; // time that its steps took, for fairness between engines
    int32_t turn;    // rotates who is first among readers of prompts
    bool embeds_next; // which kind of step is next where there is work for both
    timing timing;
    hth_row_cost row_cost; // of steps with generated rows alone
    double guess_ns;       // of a token by the draft model, or by the predicting layer
    uint64_t asked_ns;     // that they took for this step's guesses
    hth_draft_work draft_work;
    hth_row *rows; // [row_cap]
    size_t row_cap;
    hth_state **states; // [n_sequence]
    hth_lora_set *sets; // [n_sequence] of the sequences in the step
    hth_lora_runner *lora_runner;
    const hth_linear_hook *watcher; // borrowed: hth_engine_watch
    float *logits, *hidden;
    size_t logits_cap, hidden_cap; // numbers
    choice *choices; // [n_sequence]
    int32_t n_choices;
    sequence **stepping; // [n_stepping <= n_sequence] those with rows in the step, in the order of their rows
    int32_t n_stepping;
};

struct hth_host {
    atomic_int n_hold;      // by its owner and by requests, for the lock
    hth_team *team;         // of the host's thread once that runs
    hth_executor *executor; // likewise
    hth_thread thread;
    bool has_thread;
    int n_node;             // memory nodes that threads and weights are spread over
    hth_mutex lock;
    hth_cond work, done; // something to do; an engine has become empty
    // Under the lock.
    hth_engine *engines;
    bool is_closing;
    int32_t n_row_in_step, n_cancelled_row; // of the step at work
    atomic_bool abort_step;
};

// ---- request.c

void request_hold(hth_request *r);
void request_drop(hth_request *r);
// Ends a request that has no sequences (any more) and is not in the queue: writes the last event, drops the engine's
// hold. Not under the lock.
void request_end(hth_request *r);
// Ends one that was taken out of the queue, as cancelled or (err not NULL) with an error.
void request_end_waiting(hth_request *r, const hth_err *err);
// Takes a request out of the queue; the lock is held.
void queue_remove(hth_engine *e, hth_request *r);
void request_fail(hth_request *r, int32_t completion, const hth_err *err, const hth_refusal *why);
// Adds an event and hands it to the callback.
HTH_NODISCARD hth_code request_tell(hth_request *r, hth_event *event, hth_err *err);
void request_tell_last(hth_request *r, hth_event *event);

// ---- host.c

void host_hold(hth_host *h);
void host_drop(hth_host *h);
void host_add(hth_host *h, hth_engine *e);
// Ends all requests of the engine and takes it from the host.
void host_remove(hth_host *h, hth_engine *e);

// ---- plan.c

// Bytes of keys and values of `n` completions that share a prompt.
HTH_NODISCARD hth_code plan_request(const hth_engine *e, int64_t n_prompt, int64_t n_room, int32_t n, bool is_embedding,
                                    uint64_t *out, hth_err *err);
// How the states of its sequences are made.
hth_state_params plan_state(const hth_engine *e, int64_t n_ctx, bool is_embedding);
// Settles n_ctx and the limits of a new engine.
HTH_NODISCARD hth_code plan_engine(hth_engine *e, const hth_engine_params *p, hth_err *err);

// ---- room.c

// Settles what a request is given at first: n_first, first_bytes.
HTH_NODISCARD hth_code room_plan(hth_request *r, hth_err *err);
void room_take(hth_engine *e, hth_request *r);  // of a request that begins
void room_give(hth_engine *e, hth_request *r);  // of one that ends, or waits
// Before a step: those that write get more room where they need it, others give theirs back for it, and come back.
void room_settle(hth_engine *e);
// Whether somebody of this priority, or a higher one, waits for room: nobody else may have it.
bool room_is_awaited(const hth_engine *e, hth_priority priority);

// ---- reuse.c

HTH_NODISCARD hth_code reuse_open(hth_engine *e, const hth_engine_params *p, hth_err *err);
HTH_NODISCARD hth_code reuse_make_domain(hth_request *r, hth_err *err);
// The prompt's tokens become those cached for the same text. On the submitting thread.
HTH_NODISCARD hth_code reuse_tokens(const hth_request *r, hth_token_list *tokens, hth_err *err);
// What is cached of the prompt, to and from a file. On the calling thread.
HTH_NODISCARD hth_code reuse_save(const hth_request *r, const char *path, int64_t *n, hth_err *err);
HTH_NODISCARD hth_code reuse_restore(const hth_request *r, const char *path, int64_t *n, hth_err *err);
// Gives a new sequence the longest cached beginning of its prompt, if there is any.
HTH_NODISCARD hth_code reuse_find(hth_engine *e, sequence *s, hth_err *err);
// Gives back a sequence's state, which the cache keeps as long as it can, and takes in again what is there of it.
void reuse_park(hth_engine *e, sequence *s);
HTH_NODISCARD hth_code reuse_resume(hth_engine *e, sequence *s, hth_err *err);
// Where what is cached for a prompt lies in files, reads it. On the submitting thread; that it fails changes nothing.
void reuse_fetch(const hth_request *r);
// A prompt whose beginning somebody is reading waits for those rows (sequence.leader).
void reuse_wait(hth_engine *e, sequence *s);
// Who waits for rows that are there goes on from them.
void reuse_catch_up(hth_engine *e);
// Nobody waits for this sequence any more: they take what it has.
void reuse_let_go(hth_engine *e, const sequence *leader);
// Bytes that are cached, as far as this thread knows: e->cached_bytes.
void reuse_count(hth_engine *e);
// Drops what is cached beyond the memory that no request has been promised.
void reuse_make_room(hth_engine *e);
void reuse_keep_branch(hth_engine *e, const sequence *s); // a copy, where the prompt leaves what another one shares
void reuse_keep_prompt(hth_engine *e, const sequence *s); // a copy, when the prompt has been read
void reuse_keep_end(hth_engine *e, sequence *s);          // the state itself, when the sequence has ended

// ---- sequence.c

HTH_NODISCARD hth_code sequence_new(hth_engine *e, hth_request *r, int32_t completion, int32_t slot, sequence **out,
                                    hth_err *err);
void sequence_free(sequence *s);
// How its tokens are drawn: as the request says, with a seed of its own.
hth_sampler_params sequence_sampling(const sequence *s);
// Rows that wait to be computed.
int64_t sequence_pending(const sequence *s);
// The next row is one that was generated (else the prompt's).
bool sequence_is_generating(const sequence *s);
bool sequence_is_embedding(const sequence *s);
// Takes the chosen token; the sequence may end by that.
void sequence_take(hth_engine *e, sequence *s, const choice *c);
void sequence_stop(sequence *s, hth_stop_reason reason, int32_t token, int32_t i_stop);
// Completion 0 has read the prompt: the other one goes on from a copy of its state.
HTH_NODISCARD hth_code sequence_follow(sequence *s, const sequence *first, hth_err *err);
// Events for the prompt's tokens [first, last); logits [.. , n_vocab] of the rows before them or NULL.
HTH_NODISCARD hth_code sequence_tell_prompt(hth_engine *e, sequence *s, int64_t first, int64_t last, const float *logits,
                                            hth_err *err);
void sequence_fail(sequence *s, const hth_err *err);

// ---- step.c

// Admits, runs one forward pass for the engine's sequences, delivers.
void engine_step(hth_engine *e);
// Whether there is anything to do; the host is locked.
bool engine_has_work(const hth_engine *e);

// ---- speculate.c

// Opens the draft model, where there is one, and settles how many guesses the model's layers can take back.
HTH_NODISCARD hth_code speculate_open(hth_engine *e, const char *draft, hth_err *err);
// Adds guessed rows to a step that was planned. Returns how many.
int32_t speculate_plan(hth_engine *e);
// After a token was taken: whether it was guessed, so that the next row's logits are those of the sequence.
bool speculate_follow(sequence *s, int32_t token);
// Whether the hidden rows of a sequence are wanted, for the predicting layer.
bool speculate_wants_hidden(const hth_engine *e, const sequence *s);
// Hands them on: the step's rows that have turned out to be the sequence's.
void speculate_learn(hth_engine *e, sequence *s, const float *hidden);
// Drops what was not reached, and learns from it.
void speculate_settle(hth_engine *e);

// ---- choose.c

// Chooses the tokens of e->choices on all threads.
void engine_choose(hth_engine *e);
// The next token that is due to a sequence without anything to choose from. False: none is, or its logarithm is wanted.
bool engine_choose_due(const hth_engine *e, sequence *s, choice *out);

#endif
