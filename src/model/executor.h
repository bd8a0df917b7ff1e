// What computes. An executor owns buffers and sequence states and runs steps; the CPU's is the
// first, a GPU's can be the second. A step runs a range of layers over a batch of rows.
#ifndef HTH_MODEL_EXECUTOR_H
#define HTH_MODEL_EXECUTOR_H

#include <stdatomic.h>

#include "model/model.h"
#include "os/thread.h"

// What a kind of executor implements; the functions below go through it.
typedef struct hth_executor_ops hth_executor_ops;
typedef struct hth_executor hth_executor;
typedef struct hth_state hth_state; // what a sequence has left behind in each layer: K/V pages, recurrent blocks

// The CPU's. Borrows `team` (used by one step at a time). Returns owned.
HTH_NODISCARD hth_code hth_executor_cpu_new(hth_team *team, hth_executor **out, hth_err *err);
void hth_executor_free(hth_executor *ex); // after all its states

typedef struct hth_state_params {
    int64_t n_ctx; // most tokens the sequence may hold; decides long or short rope factors
    hth_kv_type k_type, v_type;
    // How many of the latest rows can be taken back where layers are recurrent: their blocks are kept after each. A
    // draft tree may have so many rows.
    int32_t n_keep;
} hth_state_params;

#define HTH_MAX_KEEP 1024

// An empty sequence. Memory grows by pages with what is stored. Returns owned.
HTH_NODISCARD hth_code hth_state_new(hth_executor *ex, const hth_model *m, const hth_state_params *params,
                                     hth_state **out, hth_err *err);
void hth_state_free(hth_state *s);
int64_t hth_state_len(const hth_state *s);      // rows stored
int64_t hth_state_n_ctx(const hth_state *s);
// Forgets all rows from `n` on. HTH_ERR_RANGE when n is beyond the length, HTH_ERR_UNSUPPORTED when a
// layer's state cannot go back there (a window has slid; a recurrent layer further than n_keep rows, except to 0).
HTH_NODISCARD hth_code hth_state_truncate(hth_state *s, int64_t n, hth_err *err);
// Of the rows from `first` on, keeps only those listed (ascending row numbers) and closes the gaps: what
// remains of a draft tree once a branch has been accepted. Errors leave the state as it is: HTH_ERR_RANGE for
// rows that are no branch, HTH_ERR_UNSUPPORTED as for truncation to `first`.
HTH_NODISCARD hth_code hth_state_keep(hth_state *s, int64_t first, const int64_t *rows, int64_t n_row, hth_err *err);
// A sequence that begins with the first n rows of s and has its context. What both hold is shared until one of them
// writes there; either may be freed first. HTH_ERR_RANGE when n is beyond the length or inside a draft tree,
// HTH_ERR_UNSUPPORTED as for truncation to n. Returns owned.
HTH_NODISCARD hth_code hth_state_fork(const hth_state *s, int64_t n, hth_state **out, hth_err *err);
// The largest n <= n_most for which s can be truncated or forked.
int64_t hth_state_reach(const hth_state *s, int64_t n_most);
bool hth_state_goes_anywhere(const hth_model *m); // whether that is n_most for every sequence of the model
// Another limit for the tokens it may hold. HTH_ERR_RANGE below what it holds, HTH_ERR_UNSUPPORTED where rows are
// stored whose rotation depends on the limit (longrope).
HTH_NODISCARD hth_code hth_state_set_n_ctx(hth_state *s, int64_t n_ctx, hth_err *err);
// Bytes that its rows take: what the sequence would cost alone. A page that two sequences share counts in both;
// hth_state_own_bytes counts what freeing it now would give back, hth_executor_state_bytes each page once,
// hth_state_bytes_beside what s needs where `other` (of the same model, or NULL) is there.
uint64_t hth_state_bytes(const hth_state *s);
uint64_t hth_state_own_bytes(const hth_state *s);
uint64_t hth_state_bytes_beside(const hth_state *s, const hth_state *other);
uint64_t hth_executor_state_bytes(const hth_executor *ex); // of all states made with it; from any thread

// A row's kind fixes its arithmetic: prompt rows may use other kernels than generated ones (later
// levels do); neighbours, chunks and threads never matter.
typedef enum hth_row_kind { HTH_ROW_PROMPT, HTH_ROW_GENERATED } hth_row_kind;

typedef enum hth_row_want { HTH_WANT_LOGITS = 1, HTH_WANT_HIDDEN = 2 } hth_row_want;

// One row: a token, or an embedding vector when token is -1. Rows of one sequence stand in order.
typedef struct hth_row {
    int32_t token;
    int32_t i_seq;     // index in hth_batch.states
    int64_t pos[4];    // position components; pos[0] orders the sequence: it may skip or repeat, never fall
    int32_t parent;    // row of this batch that it follows, HTH_PARENT_PREVIOUS for the ordinary case (the
                       // sequence's row before it); more than one child makes a draft tree
    int32_t span;      // neighbouring rows of one sequence with the same span >= 0 see each other both ways (all
                       // in one step, not in a draft tree); -1: causal
    int32_t type;      // token type (BERT segments)
    int32_t i_embd;    // for token -1, and for all rows of a predictor (hth_model.predictor): row in hth_batch.embd
    uint8_t kind;      // hth_row_kind
    uint8_t want;      // hth_row_want bits
} hth_row;

// After a step over a draft tree a next step of that sequence is refused until hth_state_keep (or truncation).
#define HTH_PARENT_PREVIOUS (-1)
#define HTH_PARENT_NONE (-2) // follows the rows stored before this step: another root of a draft tree

typedef struct hth_batch {
    const hth_row *rows; // [n_row]
    int32_t n_row;
    hth_state *const *states; // [n_seq], NULL entries are not allowed for causal models; encoders take n_seq with NULLs
    int32_t n_seq;
    const float *embd;      // [n_embd, d_model]
    const float *per_layer; // [n_embd, n_layer, d_per_layer] additions for embedding rows, or NULL
    int32_t n_embd;         // what rows' i_embd must be below
} hth_batch;

// One step: layers [layer_first, layer_last) over the batch.
//   layer_first == 0: rows come from tokens and embeddings; otherwise from `hidden_in` [n_row, n_stream, d].
//   layer_last == n_layer: logits of the rows that want them; otherwise `hidden_out` gets every row.
//   Wishes of rows that this range does not reach (logits, a hidden layer outside it) are passed over, so that one
//   batch can go through a chain of ranges. A state belongs to one range; layers that share keys need one range.
//   Outputs are host memory of the caller (a device executor copies at wait).
// A product w x at work: x [n_tok, x_stride], computed by several threads.
typedef struct hth_linear_call {
    const hth_weight *w;
    int64_t expert; // of routed experts, else 0
    const float *x;
    int64_t x_stride, n_tok;
    const int32_t *seqs; // [n_tok] each row's hth_row.i_seq; NULL for rows that are none of the batch's
    int i_thread;        // who calls
} hth_linear_call;

// What may be added to a linear operation: low-rank adapters (model/lora.h), and the sum over the parts of a matrix
// that was split by columns between machines. Each function may be NULL.
typedef struct hth_linear_hook {
    // Adds to y[t, first_row .. last_row) of the product; y [n_tok, y_stride]. Each row is asked for once, by the thread
    // that has computed it; of routed experts, for each expert in use with that one's tokens.
    void (*add)(void *user, const hth_linear_call *call, int64_t first_row, int64_t last_row, float *y, int64_t y_stride);
    // Called once per product by one thread when all rows are there: of a routed one, those of all its experts in
    // ascending order of experts. Not with experts on disk, which are multiplied as they come.
    void (*reduce)(void *user, const hth_weight *w, int64_t n_tok, float *y, int64_t y_stride);
    // Adds to the embedding x [d_model] of a token, before it is scaled.
    void (*embed)(void *user, int32_t i_seq, int32_t token, float *x);
    void *user;
} hth_linear_hook;

// What the inputs of quantized weights are rounded to before they are multiplied.
typedef enum hth_activations {
    HTH_ACTIVATIONS_AUTO, // Q16 for models below HTH_SMALL_MODEL bytes, where speed is plenty; else Q8
    HTH_ACTIVATIONS_Q8,   // 8 bits with a scale per 32
    HTH_ACTIVATIONS_Q16,  // what that rounding leaves is rounded once more, which makes two products of one
    HTH_ACTIVATIONS_F32,  // nothing: the arithmetic of the references
} hth_activations;
#define HTH_SMALL_MODEL ((uint64_t)1 << 28)

// What AUTO means for this model; other wishes are returned as they are.
hth_activations hth_activations_for(const hth_model *m, hth_activations wish);

typedef struct hth_step {
    const hth_model *model;
    hth_batch batch;
    int32_t layer_first, layer_last;
    const float *hidden_in;
    float *hidden_out;     // [n_row, n_stream, d_model]; NULL unless layer_last < n_layer
    float *logits;         // [rows wanting logits, n_vocab] in row order
    float *hidden_want;    // [rows wanting hidden, d_model]: after the output norm, or after layer `hidden_layer`
    int32_t hidden_layer;  // -1: after the output norm
    hth_activations activations;
    const hth_linear_hook *hook; // may be NULL
    const atomic_bool *cancel; // checked between layers; may be NULL
} hth_step;

typedef uint64_t hth_ticket;

struct hth_executor_ops {
    hth_code (*submit)(hth_executor *ex, const hth_step *step, hth_ticket *out, hth_err *err);
    hth_code (*wait)(hth_executor *ex, hth_ticket ticket, hth_err *err);
    hth_code (*scratch)(hth_executor *ex, const hth_model *m, int32_t n_row, hth_activations activations,
                        uint64_t *n_bytes, hth_err *err);
    void (*free)(hth_executor *ex);
};

struct hth_executor {
    const hth_executor_ops *ops;   // first member of every kind's own struct
    _Atomic uint64_t state_bytes; // of pages alive
};

// Validates the whole step (tokens in range, sequences have room, parents precede) before touching any
// state. On any failure, including cancel, the states are as before the step.
HTH_NODISCARD hth_code hth_executor_submit(hth_executor *ex, const hth_step *step, hth_ticket *out, hth_err *err);
// Waits for the step; outputs are valid after HTH_OK.
HTH_NODISCARD hth_code hth_executor_wait(hth_executor *ex, hth_ticket ticket, hth_err *err);
// Work space that a step of n_row rows takes, by the code that lays it out.
HTH_NODISCARD hth_code hth_executor_scratch(hth_executor *ex, const hth_model *m, int32_t n_row,
                                            hth_activations activations, uint64_t *n_bytes, hth_err *err);

#endif
