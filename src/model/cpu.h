// Inside of the CPU executor: one step as the thread team sees it. Every thread runs the same sequence
// of operations; each operation splits its work by thread number and ends at a barrier where the next
// one reads what it wrote.
#ifndef HTH_MODEL_CPU_H
#define HTH_MODEL_CPU_H

#include <stdatomic.h>

#include "kernels/bf16.h"
#include "kernels/q8.h"
#include "model/cpu_deal.h"
#include "model/profile.h"
#include "model/residency.h"
#include "model/state.h"

// Rows of a weight that are dequantized together into a thread's panel.
#define CPU_PANEL_ROWS 16
// Integer products: panels of rows that a thread converts before it goes through the tokens, and tokens
// whose activations stay in cache meanwhile.
#define CPU_Q8_PANELS 16
#define CPU_Q8_TOKENS 128
// Keys per attention partial; partials are folded in order, so this number is part of the arithmetic.
#define CPU_ATTN_BLOCK 256

// What a row sees: rows [first, base) of its sequence's state, then its ancestors in this batch.
typedef struct cpu_row {
    hth_state *state;
    int64_t slot;  // where its keys and values go
    int64_t base;  // rows that were in the state before this step
    int64_t end;   // linear case: sees rows below `end` (its own slot + 1, or more in a two-way span)
    int32_t n_ancestor;      // draft trees: rows of the batch it descends from, itself included; 0: linear
    const int64_t *ancestors; // their slots, oldest first
    int32_t block_from, block_to; // recurrent layers: the slots whose block it reads, and which gets its own; may be equal
} cpu_row;

// The rows of one sequence, in the order in which recurrent layers take them: line_rows[first ... first + n - 1].
typedef struct cpu_line {
    hth_state *state;
    int32_t first, n;
} cpu_line;

// Prompt rows that see the same line of keys: order[first ... first + n - 1].
typedef struct cpu_group {
    int32_t first, n;
} cpu_group;

// The rows of gathered input that one expert works on: [first, first + n).
typedef struct cpu_expert {
    int64_t expert, first, n;
} cpu_expert;

// Buffers of routed experts (cpu_moe.c). n = rows of the batch, m = n * experts per row.
typedef struct cpu_moe_scratch {
    float *logits;  // [n, n_expert] then scores
    float *choice;  // [n_thread, n_expert]
    float *weights; // [n, n_used]
    int32_t *ids;   // [n, n_used] chosen experts, best first
    int32_t *place; // [n, n_used] where that pair stands among the gathered rows
    int32_t *seqs;  // [m] each gathered row's sequence
    uint8_t *kinds; // [m]
    int64_t *count; // [2 * n_expert]
    cpu_expert *experts; // [n_expert] those in use
    cpu_expert *absent;  // [n_expert] while these are put in order
    float *latent;   // [n, d_latent] inputs, then the experts' sums, where they stand between projections
    float *x;        // [m, d] gathered input, then the experts' results
    float *gate, *up; // [m, d_ff]
    bool is_gathered; // x holds the input's rows; else products bring them to their places as bytes
    int64_t n_in_use; // of experts
    int64_t n_pair;   // gathered rows
    int32_t table;    // of the tier that they come from; -1: all are in memory
    int64_t turn, turn_end, n_begun; // experts at work: [turn, turn_end); those before n_begun are held in memory
} cpu_moe_scratch;

// Buffers of one step, all in one allocation that the executor keeps. n = rows of the batch.
typedef struct cpu_scratch {
    float *x;      // [n, d] the residual stream
    float *h;      // [n, d] normed input of a block
    float *branch; // [n, d] output of a block
    float *branch2; // [n, d] a second branch beside the mixer: a parallel feed-forward, or Laurel
    float *streams; // [n, n_stream, d] where there are several; x is then the active one at work
    float *q;      // [n, n_head * head_dim]
    float *k, *v;  // [n, n_kv_head * head_dim]
    float *attn;   // [n, n_head * head_dim_v]
    float *latent_q;   // [n_generated, n_head * (kv_rank + d_rope)] queries of compressed rows
    float *latent_out; // [n_generated, n_head * kv_rank] what they find
    float *gate, *up; // [n, d_ff]
    float *per_layer; // [n, n_layer * d_per_layer]
    float *recurrent; // [n, cpu_recurrent_width]; or queries with their gates, [n, n_head, 2, head_dim]
    float *cos_, *sin_; // [n_rope, n, n_rot_max / 2]
    float *pair;      // [n, 2 d] of predictors: the normed embedding, and behind it the normed hidden row
    float *panels;    // [n_thread, panel_len]
    float *attn_work;  // [n_thread, attn_work_len]
    float *attn_parts; // partial results of attention, by all threads
    hth_q8 q8;        // the input of the present product, quantized; its strides are those of cpu_q8_strides
    uint16_t *bf16;   // [blocks of n rows, widest input * n_part] the same as blocks of bf16; NULL: no product wants it
    hth_q8 q8_own;    // [n_thread, n_own * n_part] the same of a few generated rows, for each thread alone
    uint8_t *q8_panels; // [n_thread, q8_panel_bytes]
    size_t panel_len, attn_work_len, q8_panel_bytes;
    int32_t n_rot_max, n_own;
    cpu_moe_scratch moe;
} cpu_scratch;

// How n_row rows of n_col columns lie as bytes: padded to 64, a scale per 32, a sum per 16, and what wide panels want, as
// tiles of 16 rows where the kernels do. Only the strides are set.
static inline hth_q8 cpu_q8_strides(int64_t n_row, int64_t n_col, bool in_tiles) {
    const int64_t cols = (n_col + 63) / 64 * 64;
    return (hth_q8){.q_stride = cols + 64, // rows that lie a power of two apart would share too little of a cache
                    .d_stride = cols / HTH_Q8_BLOCK,
                    .wide_stride = (cols + HTH_Q8_WIDE - 1) / HTH_Q8_WIDE,
                    .tile_stride = in_tiles ? (n_row + 15) / 16 * 16 * HTH_Q8_WIDE * 2 : 0};
}

typedef struct cpu_executor {
    hth_executor base;
    hth_team *team; // borrowed
    const hth_kernels *kernels;
    const hth_q8_kernels *q8, *q8_exact;
    hth_bf16_kernels bf16;
    // Whether integer products beat f32 ones here: where only the reference has them, they do not.
    bool fast_gemm, fast_gemv[HTH_Q8_LAYOUTS];
    float *memory; // scratch, grows to the largest step so far
    size_t memory_len;
    uint8_t *moe_memory; // the same for routed experts
    size_t moe_bytes;
    cpu_lane *lanes;   // [n_thread] of the operations that are dealt out
    hth_ticket n_done; // steps run so far; submit runs them at once
    hth_profile *profile; // borrowed; NULL: nobody asks where the time goes
} cpu_executor;

// One step in flight.
typedef struct cpu_step {
    const hth_step *step;
    const hth_model *model;
    const hth_kernels *k;
    const hth_q8_kernels *q8;
    const struct cpu_executor *ex;
    hth_team *team;
    cpu_lane *lanes; // [n_thread]
    cpu_row *rows; // [n_row]
    uint8_t *kinds;       // [n_row] hth_row_kind
    uint8_t *logit_kinds; // [n_logits] of the rows that want logits
    int32_t *seqs, *logit_seqs; // of the same rows: hth_row.i_seq
    int32_t n_row, n_logits, n_hidden;
    bool mixes_keys, mixes_values; // a sequence of the step stores them mixed (hth_kv_is_mixed)
    bool is_integer; // quantized weights meet integers
    bool is_bf16;    // prompt rows meet bf16 weights as bf16
    int n_part;      // rows of bytes or of bf16 that one row of input becomes: 1, or 2 where one is too coarse
    int32_t *order;    // [n_row] rows as attention takes them: prompt rows in groups, then the generated ones
    cpu_group *groups; // [n_group]
    int32_t n_group, n_generated;
    cpu_line *lines;    // [n_line] where layers are recurrent
    int32_t *line_rows; // [n_row]
    int32_t n_line;
    atomic_llong next_task, next_part; // of the attention at work; 0 between two
    cpu_scratch s;
    uint64_t *planned_bytes; // not NULL: buffers are counted here, not laid out
    atomic_bool cancelled; // written before a barrier, read by all after it
    atomic_bool read_failed; // an expert could not be read; the step is cancelled then
    hth_err read_err;        // why; by who set read_failed
    atomic_int bad_router; // 1 + the layer whose router gave no numbers; the step is cancelled then
} cpu_step;

// One thread's view of the step.
typedef struct cpu_thread {
    cpu_step *c;
    int i, n; // thread number, team size
} cpu_thread;

// A thread turns to an operation; returns the one before. Costs a branch where nobody asks.
static inline hth_op cpu_profile_enter(const cpu_thread *t, hth_op op) {
    hth_profile *p = t->c->ex->profile;
    return HTH_LIKELY(!p) ? HTH_OP_SMALL : hth_profile_enter(&p->threads[t->i], op);
}

hth_op cpu_profile_linear(const cpu_thread *t, const hth_weight *w); // turns to the product with this weight
void cpu_profile_end(const cpu_thread *t); // of the step

static inline void cpu_barrier(const cpu_thread *t) {
    const hth_op before = cpu_profile_enter(t, HTH_OP_WAIT);
    hth_team_barrier(t->c->team);
    (void)cpu_profile_enter(t, before);
}

// y[t, r] = w x + bias for all rows of w. Several products with the same input run as one operation.
typedef struct cpu_product {
    const hth_weight *w;
    int64_t expert;
    const float *bias; // [n_row] or NULL
    float *y;          // [n_tok, y_stride]
    int64_t y_stride;
    bool exact; // f32 activations whatever the step says
} cpu_product;

// Rows of the batch that a thread works on alone.
typedef struct cpu_range {
    int64_t first, last;
} cpu_range;

static inline cpu_range cpu_my_rows(const cpu_thread *t) {
    cpu_range r;
    hth_team_part(t->c->n_row, 1, t->i, t->n, &r.first, &r.last);
    return r;
}

// What the products multiply: x [n_tok, x_stride], and each row's kind [n_tok].
typedef struct cpu_input {
    const float *x;
    int64_t x_stride, n_tok;
    const uint8_t *kinds;
} cpu_input;

// An input whose x has n_tok / n_copy rows: row i of x is rows place[i * n_copy + j], j < n_copy, of the input. Only for
// products that cpu_reads_bytes: each row is quantized once and then copied.
typedef struct cpu_scatter {
    const int32_t *place;
    int32_t n_copy;
} cpu_scatter;

// Rows [first, last) of one product by this thread alone, with f32 activations; the step's hook does not apply.
void cpu_multiply_f32(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in);

// Computes the products; ends with a barrier. Weights with an integer path are multiplied with activations
// quantized to 8 bits unless the step asks for f32.
void cpu_linear(const cpu_thread *t, const cpu_product *products, int n_product, const cpu_input *in);

// What a thread goes on to do with rows [first, last) of products that it has just computed.
typedef void (*cpu_rows_fn)(const cpu_thread *t, const void *user, int64_t first, int64_t last);
// Products of equally many rows, and then `fn` for all of these; ends with a barrier.
void cpu_linear_then(const cpu_thread *t, const cpu_product *products, int n_product, const cpu_input *in, cpu_rows_fn fn,
                     const void *user);

// Whether the products read nothing of an input with these kinds of rows but what was quantized.
bool cpu_reads_bytes(const cpu_step *c, const cpu_product *products, int n_product, const uint8_t *kinds, int64_t n_tok);

// What a thread goes on to do with rows [first, last) of products that it has just computed for tokens [tok, tok_end).
typedef void (*cpu_expert_rows_fn)(const cpu_thread *t, const void *user, int64_t tok, int64_t tok_end, int64_t first,
                                   int64_t last);
// cpu_linear_then for routed experts (cpu_experts.c).
typedef struct cpu_expert_job {
    const cpu_product *products; // of equally many rows; weights and biases ([n_expert, n_row]) are those of all experts
    int n_product;
    const cpu_expert *experts; // at work: the rows of `in` are those of experts[0], then of experts[1], ...
    int64_t n_expert;
    const cpu_input *in;
    const cpu_scatter *scatter; // of `in`, or NULL
    cpu_expert_rows_fn fn;      // or NULL
    const void *user;
} cpu_expert_job;

// Waits for experts that are still being read; ends with a barrier.
void cpu_linear_experts(const cpu_thread *t, const cpu_expert_job *job);

// Until an expert that the step has begun is in memory; false when it cannot be read.
bool cpu_expert_wait(const cpu_thread *t, int64_t expert);

// Feed-forward with routed experts: in [n, d] -> out [n, d]; needs a barrier before others' rows are read.
void cpu_moe(const cpu_thread *t, int32_t layer, const float *in, float *out);
// Lays out its buffers for the step's rows.
HTH_NODISCARD hth_code cpu_moe_prepare(cpu_executor *ex, cpu_step *c, hth_err *err);

// Attention of layer `i` for all rows: reads s.q and the states, writes s.attn; ends with a barrier.
void cpu_attention(const cpu_thread *t, int32_t i);
size_t cpu_attention_work(const hth_attention_desc *a);               // floats that each thread needs for it
size_t cpu_attention_parts(const hth_attention_desc *a, int n_thread); // and all threads together

// The recurrent mixer of layer `i` (cpu_recurrent.c): in [n, d] -> out [n, d]; ends with a barrier. Rows of a line hand
// their blocks on in order, so threads share the work by channels or heads, never by rows.
void cpu_recurrent(const cpu_thread *t, int32_t i, const float *in, float *out);
int64_t cpu_recurrent_width(const hth_recurrent_desc *r); // floats per row that it needs in s.recurrent
void cpu_short_conv(const cpu_thread *t, int32_t i, const float *in, float *out); // of HTH_RECURRENT_CONV

void cpu_delta(const cpu_thread *t, int32_t i, const float *in, float *out);      // of HTH_RECURRENT_DELTA
int64_t cpu_delta_width(const hth_recurrent_desc *r);
void cpu_mamba(const cpu_thread *t, int32_t i, const float *in, float *out);      // of HTH_RECURRENT_MAMBA2
int64_t cpu_mamba_width(const hth_recurrent_desc *r);

void cpu_mamba1(const cpu_thread *t, int32_t i, const float *in, float *out);     // of HTH_RECURRENT_MAMBA1
int64_t cpu_mamba1_width(const hth_recurrent_desc *r);
void cpu_wkv(const cpu_thread *t, int32_t i, const float *in, float *out);        // of HTH_RECURRENT_WKV
int64_t cpu_wkv_width(const hth_recurrent_desc *r);
// in [n, d] mixed with the rows before -> branch2; ends with a barrier.
const float *cpu_shift_ffn(const cpu_thread *t, int32_t layer, const float *in);

// Channels that a convolution takes through all rows before the next ones, so that their tails stay in cache.
#define CPU_CONV_CHANNELS 256
// Convolves n <= CPU_CONV_CHANNELS channels from `first` on of one row, in place (x points to the first of them), and
// moves the row's inputs into the tail.
void cpu_convolve_row(const cpu_thread *t, int32_t layer, int32_t row, float *x, int64_t first, int64_t n);

// Scales the query of row i, n numbers, by its position, where the family does.
void cpu_scale_query(const cpu_thread *t, const hth_attention_desc *a, int64_t i, float *q, int64_t n);

// Latent attention of layer `i` (cpu_latent.c): in [n, d] -> s.attn [n, n_head * d_v]; ends with a barrier.
void cpu_latent_attention(const cpu_thread *t, int32_t layer, const float *in);
// What it needs, in floats: `work` of each thread, `parts` of all together; per row and per generated row.
typedef struct cpu_latent_sizes {
    size_t work, parts;
    int64_t q, compressed_q, compressed_kv, out, latent_q, latent_out;
} cpu_latent_sizes;
cpu_latent_sizes cpu_latent_sizes_of(const hth_layer_desc *l, int n_thread);

// Several streams per token (cpu_altup.c). begin: x -> streams. predict: streams -> streams, x. correct: x, streams ->
// streams, x (what gates the per-layer input). end: streams -> x. Each works on the thread's own rows; begin and
// end contain matrix products, so x must be complete before begin.
void cpu_streams_begin(const cpu_thread *t);
void cpu_streams_predict(const cpu_thread *t, int32_t layer);
void cpu_streams_correct(const cpu_thread *t, int32_t layer);
void cpu_streams_add(const cpu_thread *t, int64_t row, const float *branch); // to all but stream 0
void cpu_streams_end(const cpu_thread *t);
// The learned residual of input `in`: computed into branch2 (matrix products), then added to x.
void cpu_laurel(const cpu_thread *t, int32_t layer, const float *in);
void cpu_add_laurel(const cpu_thread *t);
// Sparse gates: zeroes what lies below mean + cutoff * deviation of a row of s.gate; ends with a barrier.
void cpu_cut_gate(const cpu_thread *t, float cutoff, int64_t d_ff);

// All layers of the step; runs on every thread of the team.
void cpu_run_step(void *user, int i_thread, int n_thread);

// One row of a weight as f32, by the fast dequantizer where there is one.
void cpu_weight_row(const hth_kernels *k, const hth_weight *w, int64_t expert, int64_t row, float *dst);

#endif
