// One conversation with one model: feed tokens, generate tokens. The simplest engine; the scheduler
// for many users grows beside it.
#ifndef HTH_ENGINE_SESSION_H
#define HTH_ENGINE_SESSION_H

#include "engine/sampler.h"
#include "model/executor.h"
#include "text/tokenizer.h"

// A loaded model with everything needed to talk to it.
typedef struct hth_engine {
    hth_model *model;         // owned
    hth_tokenizer *tokenizer; // owned; NULL when the model carries none
    hth_team *team;           // owned
    hth_executor *executor;   // owned
} hth_engine;

typedef struct hth_engine_params {
    int n_thread;        // 0: one per physical core
    bool need_tokenizer; // fail when there is none
} hth_engine_params;

HTH_NODISCARD hth_code hth_engine_open(const char *path, const hth_engine_params *p, hth_engine **out, hth_err *err);
void hth_engine_close(hth_engine *e);

typedef struct hth_session hth_session;

typedef struct hth_session_params {
    int64_t n_ctx;       // 0: the smaller of the model's context and 8192
    int32_t n_chunk;     // prompt rows per step, 0: 256
    hth_kv_type kv_type;
} hth_session_params;

HTH_NODISCARD hth_code hth_session_new(hth_engine *e, const hth_session_params *p, hth_session **out, hth_err *err);
void hth_session_free(hth_session *s);

// Called during long work: `done` of `total` prompt tokens. Returning false cancels (HTH_ERR_CANCELLED).
typedef bool (*hth_progress_fn)(void *user, int64_t done, int64_t total);

// Makes the session's sequence equal to `tokens`: keeps the longest common prefix that is already
// computed, drops the rest, prefills what is missing. Afterwards hth_session_logits has the last row.
// HTH_ERR_LIMIT with both counts when tokens do not fit in n_ctx.
HTH_NODISCARD hth_code hth_session_sync(hth_session *s, const hth_token *tokens, size_t n, hth_progress_fn progress,
                                        void *user, hth_err *err);
// Appends one generated token and computes the next logits.
HTH_NODISCARD hth_code hth_session_push(hth_session *s, hth_token token, const volatile bool *cancel, hth_err *err);
const float *hth_session_logits(const hth_session *s); // [n_vocab] borrowed until the next call
int64_t hth_session_len(const hth_session *s);
int64_t hth_session_n_ctx(const hth_session *s);
const hth_token *hth_session_tokens(const hth_session *s); // [len]

// Runs tokens from an empty state and hands out every row's logits, a chunk at a time:
// fn(user, first_row, n_row, logits [n_row, n_vocab]). Used by `logits` and `perplexity`.
typedef hth_code (*hth_logits_fn)(void *user, int64_t first_row, int32_t n_row, const float *logits, hth_err *err);
HTH_NODISCARD hth_code hth_session_score(hth_session *s, const hth_token *tokens, size_t n, hth_logits_fn fn,
                                         void *user, hth_err *err);

// Pooled embedding of one token sequence: out [d_model], as the model's pooling says (or `pooling`
// when not HTH_POOL_NONE), L2-normalised when asked.
HTH_NODISCARD hth_code hth_engine_embed(hth_engine *e, const hth_token *tokens, size_t n, hth_pooling pooling,
                                        bool normalize, float *out, hth_err *err);

#endif
