// One conversation with one model: feed tokens, generate tokens. The simplest engine; the scheduler
// for many users grows beside it.
#ifndef HTH_ENGINE_SESSION_H
#define HTH_ENGINE_SESSION_H

#include "engine/sampler.h"
#include "model/lora.h"
#include "model/residency.h"
#include "text/tokenizer.h"

// A loaded model with everything needed to talk to it.
typedef struct hth_solo {
    hth_model *model;         // owned
    hth_tokenizer *tokenizer; // owned; NULL when the model carries none
    hth_team *team;           // owned
    hth_executor *executor;   // owned
} hth_solo;

typedef struct hth_solo_params {
    int n_thread;        // 0: one per physical core
    bool need_tokenizer; // fail when there is none
    uint64_t memory_bytes; // that weights, K/V and work may take (model/residency.h); 0: what the machine can give
    int64_t n_ctx;         // tokens of context to leave room for; 0: as a session's default
    hth_residency_progress_fn progress; // of reading weights that do not fit; may be NULL
    void *progress_user;
} hth_solo_params;

HTH_NODISCARD hth_code hth_solo_open(const char *path, const hth_solo_params *p, hth_solo **out,
                                       hth_err *err);
void hth_solo_close(hth_solo *e);

typedef struct hth_session hth_session;

#define HTH_SESSION_CTX 8192
// A step of a prompt reads most experts, however many rows it has.
#define HTH_SESSION_STREAM_CHUNK 1024

typedef struct hth_session_params {
    int64_t n_ctx;   // 0: the smaller of the model's context and 8192
    int32_t n_chunk; // prompt rows per step, 0: 256, or 1024 of a model whose experts come from disk (fewer where
                     // all their logits are asked for)
    hth_kv_type k_type, v_type; // of keys and values
    hth_activations activations; // as hth_step
    bool score_generated; // hth_session_score computes its rows as generated ones, not as a prompt's
    hth_lora_set loras; // adapters of all its tokens; borrowed
    const atomic_bool *cancel; // checked between layers of prompt steps (HTH_ERR_CANCELLED); may be NULL
} hth_session_params;

HTH_NODISCARD hth_code hth_session_new(hth_solo *e, const hth_session_params *p, hth_session **out,
                                       hth_err *err);
void hth_session_free(hth_session *s);

// Called during long work: `done` of `total` prompt tokens. Returning false cancels (HTH_ERR_CANCELLED).
typedef bool (*hth_progress_fn)(void *user, int64_t done, int64_t total);

// After a failure of any function below the session is usable: it holds the tokens that were computed,
// hth_session_tokens tells which, and the call may be repeated.

// Makes the session's sequence equal to `tokens`: keeps the longest common prefix that is already
// computed, drops the rest, prefills what is missing. Afterwards hth_session_logits has the last row.
// HTH_ERR_LIMIT with both counts when tokens do not fit in n_ctx.
HTH_NODISCARD hth_code hth_session_sync(hth_session *s, const hth_token *tokens, size_t n,
                                        hth_progress_fn progress, void *user, hth_err *err);
// Appends one generated token and computes the next logits.
HTH_NODISCARD hth_code hth_session_push(hth_session *s, hth_token token, const atomic_bool *cancel,
                                        hth_err *err);
// [n_vocab] after the last token, borrowed until the next call; NULL when there are none.
const float *hth_session_logits(const hth_session *s);
int64_t hth_session_len(const hth_session *s);
int64_t hth_session_n_ctx(const hth_session *s);
const hth_token *hth_session_tokens(const hth_session *s); // [len]

// Runs tokens from an empty state and hands out the logits of row `first` and all after it, a chunk at a
// time: fn(user, first_row, n_row, logits [n_row, n_vocab]). The session is empty afterwards.
typedef hth_code (*hth_solo_logits_fn)(void *user, int64_t first_row, int32_t n_row, const float *logits,
                                  hth_err *err);
HTH_NODISCARD hth_code hth_session_score(hth_session *s, const hth_token *tokens, size_t n, int64_t first,
                                         hth_solo_logits_fn fn, void *user, hth_err *err);

#endif
