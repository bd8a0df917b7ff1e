// Speculation: guess the next tokens cheaply, compute all of them in one step of the model, and keep those that the
// model itself would have chosen. Every row is picked from with the randomness of its own position, so the tokens are
// the same as without; a wrong guess costs time only.
//
//   hth_drafter_propose -> rows of kind HTH_ROW_GENERATED behind the last token -> for row after row: pick, accept, go
//   on while the pick is in the draft -> drop the rows that were not reached (hth_state_truncate, hth_state_keep)
#ifndef HTH_ENGINE_DRAFT_H
#define HTH_ENGINE_DRAFT_H

#include "engine/sampler.h"
#include "model/executor.h"
#include "text/tokenizer.h"

#define HTH_MAX_DRAFT 31
#define HTH_DRAFTER_CHUNK 256 // rows that a draft model reads at once

// Guessed tokens. Token i follows token parent[i] < i of the draft, or with -1 the sequence itself.
typedef struct hth_draft {
    int32_t n;
    int32_t tokens[HTH_MAX_DRAFT];
    int32_t parent[HTH_MAX_DRAFT];
    int32_t source; // how it was guessed: which of the rates in hth_gain judges it
} hth_draft;

// The draft's token after `node` (-1: after the sequence) that equals `token`, or -1.
int32_t hth_draft_child(const hth_draft *d, int32_t node, int32_t token);
// Whether each token follows the one before it.
bool hth_draft_is_line(const hth_draft *d);

typedef struct hth_drafter hth_drafter;
typedef struct hth_drafter_ops {
    hth_code (*propose)(hth_drafter *d, const int32_t *tokens, size_t n, int32_t most, hth_draft *out, hth_err *err);
    void (*free)(hth_drafter *d);
} hth_drafter_ops;
struct hth_drafter {
    const hth_drafter_ops *ops; // first member of every kind's own struct
};

// At most `most` <= HTH_MAX_DRAFT tokens for the sequence tokens [n], which is the one of the call before with something
// appended, or a new one. Nothing to guess is an empty draft.
HTH_NODISCARD hth_code hth_drafter_propose(hth_drafter *d, const int32_t *tokens, size_t n, int32_t most, hth_draft *out,
                                           hth_err *err);
void hth_drafter_free(hth_drafter *d); // NULL is valid

// Looks up the last 2 to 4 tokens in the sequence and guesses what followed them before. Constant time and about 40
// bytes per token.
HTH_NODISCARD hth_code hth_drafter_ngram_new(hth_drafter **out, hth_err *err);

typedef struct hth_drafter_model_params {
    const hth_model *model;  // the small model; borrowed, as is the executor, which runs nothing else meanwhile
    hth_executor *executor;
    int32_t n_vocab;         // ids that the large model can choose; others are not guessed
    int64_t n_ctx;           // longer sequences get no guesses
    const hth_sampler_params *sampling; // the request's own: with its seed, both models draw alike where they agree
    float least_share;       // a guess ends where the small model gives its token less than this
} hth_drafter_model_params;

// Guesses with a second model of the same vocabulary. What it has to read before that is read a chunk at a time, with
// no guess until it has caught up: whoever shares the cores waits no longer for it than for a chunk.
HTH_NODISCARD hth_code hth_drafter_model_new(const hth_drafter_model_params *p, hth_drafter **out, hth_err *err);

// Room for a step of the small model; grows as it is needed, all zero is empty.
typedef struct hth_draft_work {
    hth_row *rows;      // [row_cap] owned, as are the others
    hth_state **states; // [state_cap]
    float *logits;      // [logits_cap]
    size_t row_cap, state_cap, logits_cap;
} hth_draft_work;
void hth_draft_work_free(hth_draft_work *w);

// What hth_drafter_propose is asked for one sequence.
typedef struct hth_draft_ask {
    hth_drafter *drafter;  // of hth_drafter_model_new
    const int32_t *tokens; // [n]
    size_t n;
    int32_t most; // 1 ... HTH_MAX_DRAFT
    hth_draft *out;
    // The drafter's own: what its sequence runs next, and what came of it.
    const int32_t *next; // [n_next]
    int32_t n_next;
    bool is_read; // with `next` all of the tokens are there
    const float *logits;
} hth_draft_ask;

// The same for several sequences, n <= HTH_DRAFTER_CHUNK: each step of the small model, which all share, is one for all of
// them. A chunk is read by all together. After an error nothing was guessed for anybody.
HTH_NODISCARD hth_code hth_drafter_model_propose(hth_draft_ask *asks, int32_t n, hth_draft_work *w, hth_err *err);
hth_state_params hth_drafter_state(int64_t n_ctx); // of its sequence
// HTH_ERR_UNSUPPORTED where the small model's tokens mean something else: says which, and what they are.
HTH_NODISCARD hth_code hth_draft_check_vocab(const hth_tokenizer *large, const hth_tokenizer *small, hth_err *err);

// How drafts are drawn: as the request, but for what looks back on tokens, which would have to be taken back with each
// wrong guess, and without biases.
hth_sampler_params hth_drafter_sampling(const hth_sampler_params *request);

typedef struct hth_drafter_predict_params {
    const hth_model *model; // hth_model.predictor; borrowed, as is the executor
    hth_executor *executor;
    int32_t n_vocab;
    int64_t n_ctx;
    const hth_sampler_params *sampling;
    float least_share;
    hth_activations activations;
} hth_drafter_predict_params;

// Guesses with a layer that the model's file carries for it.
HTH_NODISCARD hth_code hth_drafter_predict_new(const hth_drafter_predict_params *p, hth_drafter **out, hth_err *err);
// What the model made of the rows [first, first + n) of a sequence: hidden [n, d_model], after its output norm. `tokens`
// are the sequence's, up to the one behind those rows at least. Rows that do not go on from those before begin anew.
HTH_NODISCARD hth_code hth_drafter_predict_learn(hth_drafter *d, const float *hidden, int64_t first, int64_t n,
                                                 const int32_t *tokens, hth_err *err);

// ---- whether it pays

#define HTH_MAX_COST_ROWS 64

// What a step with so many generated rows costs; learned from the steps that ran.
typedef struct hth_row_cost {
    double ns[HTH_MAX_COST_ROWS + 1]; // by rows; 0: not seen yet
} hth_row_cost;

void hth_row_cost_add(hth_row_cost *c, int32_t n_row, double ns);
// Known, or estimated from what is known; 0 while nothing is.
double hth_row_cost_ns(const hth_row_cost *c, int32_t n_row);

#define HTH_DRAFT_SOURCES 7
#define HTH_DRAFT_BY_MODEL 5
#define HTH_DRAFT_BY_LAYER 6

// What one request has gained. Rates of acceptance and a balance of time: drafting stops while it has lost more than
// about half a percent of the request's time, and is tried again when the rest has grown.
typedef struct hth_gain {
    double rate[HTH_DRAFT_SOURCES]; // probability that a draft's next token is right
    double balance_ns, spent_ns;
    int64_t n_drafted, n_accepted;
} hth_gain;

void hth_gain_init(hth_gain *g);
// What a step was, or will be, without a draft: its sequences have n_row rows, n_sequence sequences share its cost. And
// what guessing takes: nothing for a lookup.
typedef struct hth_gain_step {
    int32_t n_row, n_sequence;
    double guess_ns; // of a token
} hth_gain_step;
// How many tokens of a draft from `source` to compute, at most `most`.
int32_t hth_gain_length(const hth_gain *g, const hth_row_cost *cost, int32_t source, const hth_gain_step *step, int32_t most);
// A step with n_drafted of its tokens has run, of which n_accepted were kept.
void hth_gain_add(hth_gain *g, const hth_row_cost *cost, int32_t source, const hth_gain_step *step, int32_t n_drafted,
                  int32_t n_accepted);

#endif
