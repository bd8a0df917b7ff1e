// Hearth's C interface: open a model, submit requests, read what comes.
//
//   hth_host     the cores: one thread team and one scheduling thread, for all models that share them
//   hth_engine   an opened model: weights, tokenizer, and the sequences at work on it
//   hth_request  one thing to compute: completions of a prompt, scores of its tokens, or an embedding
//
// What a request has to say comes as numbered events, which are kept in a log of bounded size: any number of
// readers may read it, from any number on. examples/complete.c is the shortest whole program.
//
// Threads. Every function may be called from any thread at any time, with two exceptions: an object must not be
// used during or after the call that frees it, and a reader serves one thread at a time. Callbacks are called by
// the host's threads; they must be quick, and of this interface they may call hth_request_cancel only.
// There is no global state: two hosts know nothing of each other.
//
// Structs of parameters: zero everywhere is the default. What they point at is copied, unless said otherwise.
#ifndef HEARTH_H
#define HEARTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hearth_err.h"
#include "hearth_lora.h"
#include "hearth_sampling.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hth_host hth_host;
typedef struct hth_engine hth_engine;
typedef struct hth_request hth_request;
typedef struct hth_replay hth_replay;

// ---- the cores

typedef struct hth_host_params {
    int n_thread; // 0: one per physical core
    bool numa;    // threads and weights are spread over the machine's memory nodes, if it has several; weights are then
                  // read into memory, not mapped
} hth_host_params;

// Returns owned. `p` may be NULL.
HTH_CHECKED hth_code hth_host_new(const hth_host_params *p, hth_host **out, hth_err *err);
// After all its engines. NULL is valid.
HTH_API void hth_host_free(hth_host *h);
HTH_API int hth_host_n_thread(const hth_host *h);

// ---- a model

typedef struct hth_engine_params {
    hth_host *host;  // borrowed, outlives the engine; NULL: the engine makes its own
    int n_thread;    // of its own host
    bool numa;       // likewise
    int64_t n_ctx;   // most tokens of a sequence; 0: what the model was made for, as far as memory holds it
    const char *k_type, *v_type;   // how keys and values are stored: "f32", "f16", "bf16", "q8_0", "q4_0", "q5_0"; NULL: f16
    const char *activations;       // "auto", "q8", "q16", "f32"; NULL: auto
    int32_t n_sequence;            // most sequences at work at once; 0: 16
    int32_t n_queue;               // most requests that wait; 0: 256
    uint64_t memory_bytes;         // for keys, values and work space; 0: three quarters of what the machine has free
    uint64_t weight_bytes;         // memory for weights with what they need to run; a mixture of experts that takes more
                                   // reads experts from disk. 0: what the machine can give
    int32_t n_chunk;               // most prompt rows of a step; 0: 512, or 1024 where experts stay on disk
    bool need_tokenizer;           // fail where the model carries none
    const char *draft;             // a small model of the same vocabulary that guesses what this one may say
                                   // (hth_request_params.n_draft); another vocabulary is HTH_ERR_UNSUPPORTED. NULL: none
    bool no_map;                   // weights are read into memory of the process's own, in large pages where the system
                                   // has them, not mapped: slower to open, faster to generate with
    // Told while weights are read, which takes time only where they are not all mapped. Returning false stops.
    bool (*on_load)(void *user, int64_t done, int64_t total);
    void *load_user;
    bool no_cache;                 // what was computed for one request is forgotten with it
    uint64_t cache_bytes;          // of memory_bytes, most for beginnings kept from ended requests; 0: all that is free
    const char *cache_folder;      // keeps beginnings over restarts, in a folder made where missing; NULL: none
    uint64_t cache_folder_bytes;   // most for its files; 0: 4 GiB
} hth_engine_params;

// Opens a GGUF file or a model folder. Weights are mapped, not read, unless the parameters say so. Returns owned.
HTH_CHECKED hth_code hth_engine_open(const char *path, const hth_engine_params *p, hth_engine **out, hth_err *err);
// Cancels its requests, waits until they have ended, frees. Requests may outlive their engine. NULL is valid.
HTH_API void hth_engine_close(hth_engine *e);

// Memory for sequences of a length, by the code that allocates it. Bytes.
typedef struct hth_plan {
    int64_t n_ctx;          // tokens of each sequence
    int32_t n_sequence;
    uint64_t weight_bytes;  // mapped from the files of model and draft: the system may drop and reread them
    uint64_t own_bytes;     // of the model's, in memory of the process's own instead (no_map, numa, experts kept on disk)
    uint64_t kv_bytes;      // keys, values and other state of all sequences
    uint64_t scratch_bytes; // work space of the largest step, logits, sampling
    uint64_t limit_bytes;   // what kv_bytes + scratch_bytes may be (hth_engine_params.memory_bytes)
} hth_plan;

// The plan for n_sequence sequences of n_ctx tokens each; 0: the engine's own numbers.
HTH_CHECKED hth_code hth_engine_plan(const hth_engine *e, int64_t n_ctx, int32_t n_sequence, hth_plan *out,
                                     hth_err *err);

typedef struct hth_engine_stats {
    int32_t n_waiting, n_running;   // requests now
    int32_t n_sequence;             // sequences now
    uint64_t n_done;                // requests that ended
    uint64_t n_busy;                // refused because the queue was full
    uint64_t n_step, n_mixed_step;  // forward passes; those with both prompt and generated rows
    uint64_t n_prompt_row, n_generated_row;
    uint64_t n_parked;              // times that a request gave its memory to others and was computed again later
    uint64_t n_cached_token;        // prompt tokens whose keys and values were there already
    uint64_t step_ns;               // spent in forward passes, those of a draft model among them
    uint64_t overhead_ns;           // spent by the scheduling thread outside of forward passes and sampling
    uint64_t sample_ns;
    uint64_t kv_bytes;              // in use now
    uint64_t reserved_bytes;        // promised to the requests at work
    uint64_t cache_bytes, n_cache_entry; // kept of requests that ended
} hth_engine_stats;

HTH_API void hth_engine_get_stats(hth_engine *e, hth_engine_stats *out);
HTH_API int64_t hth_engine_n_ctx(const hth_engine *e);
HTH_API int32_t hth_engine_n_vocab(const hth_engine *e);
// How the model's authors want it sampled, which is what requests that say nothing get.
HTH_API void hth_engine_sampling(const hth_engine *e, hth_sampler_params *out);
// Texts at which DRY stops looking for repetitions, as the model's tokens; NULL: newline, colon, quotation mark and
// asterisk. Goes through the whole vocabulary: keep the result. HTH_ERR_UNSUPPORTED without a tokenizer. Returns owned.
HTH_CHECKED hth_code hth_engine_breakers(const hth_engine *e, const char *const *texts, size_t n, hth_breakers **out,
                                         hth_err *err);
// Opens an adapter for the model: GGUF, or a folder of PEFT or mlx-lm. Freed before the engine is closed. Returns owned.
HTH_CHECKED hth_code hth_engine_lora(const hth_engine *e, const char *path, hth_lora **out, hth_err *err);

// ---- a request

// A stretch of a prompt: tokens where `tokens` is not NULL, else text. Neighbouring texts are tokenized as one.
typedef struct hth_segment {
    const char *text;
    size_t n_text;
    bool is_user; // nothing in the text becomes a control token
    const int32_t *tokens;
    size_t n_token;
} hth_segment;

typedef struct hth_bytes {
    const char *p;
    size_t n;
} hth_bytes;

typedef enum hth_task { HTH_TASK_GENERATE, HTH_TASK_EMBED } hth_task;
typedef enum hth_priority { HTH_PRIORITY_INTERACTIVE, HTH_PRIORITY_BACKGROUND } hth_priority;

// What happens where prompt and answer do not fit in the context. What was cut is an event.
typedef enum hth_overflow {
    HTH_OVERFLOW_ERROR,           // a prompt that does not fit is refused; an answer ends with HTH_STOP_CONTEXT
    HTH_OVERFLOW_TRUNCATE_MIDDLE, // a prompt loses its middle; an answer ends with HTH_STOP_CONTEXT. For embeddings a text
                                  // loses its end
    HTH_OVERFLOW_ROLLING,         // the oldest tokens after the first n_keep go, at any time, and the rest is recomputed
} hth_overflow;

// Says which tokens may come next: sets the bits of allowed ids in mask [(n_vocab + 31) / 32], which is zero.
// `tokens` are those generated so far. Returning false ends the completion with an error, as does an empty mask.
// May be called by several threads, for different completions.
typedef bool (*hth_mask_fn)(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask);

// Says what comes next in the model's place: returns how many tokens *out has, which stay there until the completion's next
// call; 0: the model chooses. Asked before each choice, with the tokens generated so far. What is said counts as generated,
// ends nothing where it holds end tokens, and is computed as one batch. Never called for a completion while `mask` is.
typedef size_t (*hth_force_fn)(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out);

// Logits of prompt rows [first_row, first_row + n_row): [n_row, n_vocab], borrowed for the call.
// Returning false ends the request.
typedef bool (*hth_logits_fn)(void *user, int64_t first_row, int32_t n_row, int32_t n_vocab, const float *logits);

typedef struct hth_event hth_event;
typedef void (*hth_event_fn)(void *user, const hth_event *event);

typedef struct hth_request_params {
    hth_task task;
    const hth_segment *segments; // [n_segment] the prompt
    size_t n_segment;
    bool add_special; // with BOS and the like around the prompt, as the model wants them
    hth_priority priority;
    bool no_cache;       // neither uses what others have left nor leaves anything
    hth_bytes salt;      // requests with different ones share nothing: tenants, say
    int64_t deadline_ms; // from now; then it ends with HTH_ERR_TIMEOUT. 0: none

    // of HTH_TASK_GENERATE
    const hth_sampler_params *sampling; // NULL: the model's own; dry_breakers is borrowed until it is done
    int32_t n;           // completions of the prompt; 0: 1. Completion i > 0 draws with a seed made of (seed, i)
    int64_t max_tokens;  // per completion; 0: as many as the context holds
    bool no_output;      // the prompt alone: scores, logits, or to fill the cache
    hth_overflow overflow;
    int64_t n_keep;      // tokens that rolling and truncation keep at the beginning; 0: by themselves
    const hth_bytes *stop; // [n_stop] texts that end a completion; they are not part of it
    size_t n_stop;
    const int32_t *stop_tokens; // [n_stop_token] tokens that do
    size_t n_stop_token;
    bool ignore_end;     // the model's own end tokens do not end it
    bool show_control;   // control tokens appear in the text by their spelling
    bool echo;           // the prompt's tokens as events
    bool logprobs, prompt_logprobs;
    bool logprobs_after; // logprobs are of what the filters have left, as the draw sees it; otherwise the model's own
    int32_t n_top;       // most likely tokens that are listed with each logprob; at most 100
    int32_t n_draft;     // tokens that are guessed per step, which changes none of them. 0: as far as it pays; n: up to so
                         // many, whether it pays or not; -1: none
    hth_mask_fn mask;    // with it or `force` a completion does not roll: it ends where the context is full
    hth_force_fn force;
    const hth_segment *forced; // [n_forced] the scripted model: every completion is this, then ends
    size_t n_forced;
    hth_logits_fn on_logits;
    int64_t logits_from; // first prompt row that on_logits wants
    bool prompt_as_generated; // prompt rows are computed with the arithmetic of generated ones

    // of HTH_TASK_EMBED
    const char *pooling; // "mean", "cls", "last", "rank"; NULL: as the model says
    bool normalize;

    hth_event_fn on_event; // called for each event in order, before it can be read from the log
    // Called after each event can be read from the log: wakes who reads it elsewhere. The call with `is_last` is the
    // last callback of the request, and comes for every request that was submitted.
    void (*on_more)(void *user, bool is_last);
    void *user;            // of all callbacks
    const hth_lora_set *adapters; // low-rank adapters that it is computed with; they outlive it. NULL: none
    size_t n_log;          // events that the log keeps; 0: all
} hth_request_params;

typedef enum hth_event_kind {
    HTH_EVENT_QUEUED,    // number 1
    HTH_EVENT_CUT,       // tokens left out: .cut
    HTH_EVENT_PREFILL,   // .progress
    HTH_EVENT_PROMPT,    // one token of the prompt (echo, prompt_logprobs): .token
    HTH_EVENT_TOKEN,     // one token of a completion: .token
    HTH_EVENT_STOP,      // a completion has ended: .stop
    HTH_EVENT_ERROR,     // a completion, or with completion -1 all, ended by an error: .error
    HTH_EVENT_EMBEDDING, // .embedding
    HTH_EVENT_END,       // the last one: .usage
} hth_event_kind;

typedef enum hth_stop_reason {
    HTH_STOP_END,       // the model ended its text
    HTH_STOP_TEXT,      // a stop text came
    HTH_STOP_TOKEN,     // a stop token came
    HTH_STOP_LENGTH,    // max_tokens
    HTH_STOP_CONTEXT,   // the context is full
    HTH_STOP_CANCELLED,
} hth_stop_reason;

// Why the longest cached prefix ended where it did.
typedef enum hth_miss {
    HTH_MISS_NONE,      // all of the prompt was there
    HTH_MISS_COLD,      // nothing like it was there
    HTH_MISS_DIFFERENT, // what was there goes on with another token
    HTH_MISS_ENDED,     // what was there ends here
    HTH_MISS_STATE,     // more is equal, but a window or a recurrent layer could only be taken back to an earlier place
} hth_miss;

typedef struct hth_usage {
    int64_t n_prompt, n_cached, n_output; // tokens; outputs of all completions, end tokens included
    hth_miss miss;
    int64_t miss_at; // prompt tokens that were equal to something cached; n_cached of them were of use
    int64_t n_drafted, n_accepted;
    int64_t n_forced; // of the outputs: those that hth_force_fn said
    uint64_t queued_ns, prefill_ns, generate_ns;
} hth_usage;

typedef struct hth_logprob {
    int32_t token;
    float logprob; // natural logarithm
} hth_logprob;

// What an error says to a program. Fields that do not apply are 0 or NULL.
typedef struct hth_refusal {
    const char *parameter;           // the name of the parameter at fault
    int64_t n_prompt, n_ctx;         // tokens that do not fit, and the limit
    uint64_t need_bytes, have_bytes; // memory that does not fit
    int64_t retry_ms;                // when to try again (HTH_ERR_BUSY)
} hth_refusal;

// Pointers are valid until the reader's next call, or for the callback.
struct hth_event {
    uint64_t number; // 1, 2, 3 ... without gaps
    hth_event_kind kind;
    int32_t completion;
    const char *text; // TOKEN, STOP: text that is now certain, whole characters; often none. PROMPT: the token's
    size_t n_text;
    union {
        struct {
            int64_t n_done, n_total, n_cached;
        } progress;
        struct {
            int64_t first, n;
        } cut;
        struct {
            int32_t id;
            int64_t index;     // in the prompt, or in the completion
            bool has_logprob;  // false for the first prompt token too
            float logprob;
            const hth_logprob *top; // [n_top]
            int32_t n_top;
        } token;
        struct {
            hth_stop_reason reason;
            int32_t token;  // END, TOKEN: which; else -1
            int32_t i_stop; // TEXT: which; else -1
        } stop;
        struct {
            const hth_err *err;
            hth_refusal refusal;
        } error;
        struct {
            const float *values; // [n]
            int32_t n;
        } embedding;
        hth_usage usage;
    };
};

// Checks the request, tokenizes it, puts it in the queue. Returns owned. Errors name the parameter, and `why`
// (may be NULL) tells a program: HTH_ERR_RANGE a bad parameter, HTH_ERR_LIMIT a prompt or memory that cannot fit,
// HTH_ERR_BUSY a full queue.
HTH_CHECKED hth_code hth_request_submit(hth_engine *e, const hth_request_params *p, hth_request **out,
                                        hth_refusal *why, hth_err *err);
// Writes what is cached of the beginning of a request's prompt (of *p: segments, add_special, salt, adapters) to a file
// with a version and checksums; *n: its tokens. An engine on the same model, with the same types of keys, values and
// activations, takes it in again: then a prompt that begins so is found there as if it had just been computed. After a
// turn the prompt is the conversation so far. Both work on the calling thread and disturb nobody. HTH_ERR_NOTFOUND where
// nothing is cached or there is no such file, HTH_ERR_FORMAT for a file that is damaged or of another model, HTH_ERR_UNSUPPORTED for one that was
// saved with another salt or other adapters, or where the engine keeps no cache.
HTH_CHECKED hth_code hth_engine_save(hth_engine *e, const hth_request_params *p, const char *path, int64_t *n, hth_err *err);
HTH_CHECKED hth_code hth_engine_restore(hth_engine *e, const hth_request_params *p, const char *path, int64_t *n,
                                        hth_err *err);

// Ends it as soon as possible: at once in the queue, between layers where the step is mostly its own, else after
// the step at work. Its events end as usual.
HTH_API void hth_request_cancel(hth_request *r);
// Cancels it if it is not done. NULL is valid.
HTH_API void hth_request_free(hth_request *r);

// The next event. timeout_ms < 0: waits as long as it takes. HTH_ERR_TIMEOUT where none came, HTH_ERR_NOTFOUND
// after HTH_EVENT_END, HTH_ERR_LIMIT where the log has dropped the event.
HTH_CHECKED hth_code hth_request_next(hth_request *r, int64_t timeout_ms, hth_event *out, hth_err *err);
// Another reader, whose first event is number after + 1. Returns owned; may outlive the request.
HTH_CHECKED hth_code hth_replay_new(hth_request *r, uint64_t after, hth_replay **out, hth_err *err);
HTH_CHECKED hth_code hth_replay_next(hth_replay *reader, int64_t timeout_ms, hth_event *out, hth_err *err);
HTH_API void hth_replay_free(hth_replay *reader);

#ifdef __cplusplus
}
#endif

#endif
