// A loaded model: description, bound weights, container. Immutable after loading; any number of
// executors and threads may share it.
//
// Loading is parse (formats) -> describe (family: metadata to hth_desc) -> bind (names to weights,
// every shape and size checked). After that the rest may trust.
#ifndef HTH_MODEL_MODEL_H
#define HTH_MODEL_MODEL_H

#include "base/arena.h"
#include "formats/container.h"
#include "model/desc.h"
#include "quant/weight.h"

// How a layer mixes the streams of a token (desc.n_stream > 1): see cpu_altup.c.
typedef struct hth_altup {
    const float *router;      // [n_stream, d]
    const float *router_norm; // [d]
    const float *predict;     // [n_stream (to) * n_stream (from), n_stream]
    const float *correct;     // [n_stream, n_stream]
    const float *scale;       // [d] on what the per-layer input is gated with; or NULL
} hth_altup;

// Weights of a recurrent mixer; which ones there are depends on its kind.
typedef struct hth_recurrent_weights {
    // CONV: [3 * d, d] gates before and after the convolution, then its input.
    // DELTA: queries of all heads, keys, values. Where the file groups them by key head, each group being a query, a
    // key, the values and then their gates, this holds the gates too and is_grouped is set.
    // MAMBA1: x and gates of all channels.
    // MAMBA2: gates of all heads, x of all heads, B and C of all groups, a step for each head.
    // WKV: queries of all heads.
    hth_weight in;
    hth_weight out; // [d, all heads]
    const float *in_bias, *out_bias;
    const float *conv;      // [tail_rows + 1, tail_width] the oldest row's factors first; channels as `in` has them
    const float *conv_bias; // [tail_width]
    const float *skip;       // MAMBA2: [n_head] what a head's input adds to its output
    // DELTA, and of these MAMBA2: decay_bias (of a head's step), decay_rate, norm [all heads]
    bool is_grouped, beta_is_grouped; // and so `beta` has the decays of each group behind its betas
    hth_weight key, value;   // where `in` holds the queries alone
    hth_weight gate;         // [all heads, d]
    hth_weight beta, decay;  // [n_head, d]; decay [n_head * head_rows, d] where each row has its own
    hth_weight gate_a, decay_a; // [rank, d]: what gate and decay project, [.., rank], instead of the input
    const float *decay_bias; // [rows of decay]
    const float *decay_rate; // [rows of decay] negative: decay = e^(rate * softplus(x + bias))
    const float *norm;       // [head_cols] of each head's result
    // MAMBA1: what x, convolved, is projected to: numbers for steps, B, C; then steps. skip [channels], decay_rate
    // [state, channels], decay_bias [channels] of steps.
    hth_weight x, step;
    const float *step_norm, *b_norm, *c_norm; // NULL: no weights
    // WKV: queries are in `in`; decays and gates by way of a few numbers as above, and so betas (how much of what a key
    // held is taken out) and how much of the first layer's values is taken over.
    hth_weight beta_a, value_mix_a, value_mix;
    const float *beta_bias, *value_mix_bias; // [d]
    const float *shift;     // [6, d] of queries, decays, keys, values, betas, gates: how much of the row before each takes
    const float *ffn_shift; // [d] the same of the feed-forward
    const float *key_unit;  // [d] keys times this, as unit vectors, are what is taken out
    const float *key_beta;  // [d] how much keys grow with their betas
    const float *bonus;     // [d] of a row's own key
    const float *norm_bias; // [all heads]; norm is [all heads] too
} hth_recurrent_weights;

// Latent attention; the queries' own (or, of compressed queries, second) projection is the layer's q.
typedef struct hth_latent {
    hth_weight q_a, kv_a;          // [q_rank, d] [kv_rank + d_rope, d]
    const float *q_a_bias, *kv_a_bias;
    const float *q_norm, *kv_norm; // [q_rank] [kv_rank]
    hth_weight *k_up, *v_up;       // [n_head] of them, each [d_nope, kv_rank] and [d_v, kv_rank]
    bool k_up_turned;              // instead k_up are [kv_rank, d_nope], as newer files have them
} hth_latent;

// Weights and vectors of one layer. Matrices are views on the mapping; vectors are small and kept as
// f32 copies (norm conventions such as w + 1 already applied). Absent ones: scheme NONE or NULL.
typedef struct hth_layer {
    hth_weight q, k, v, o;        // [n_head*head_dim, d] [n_kv*head_dim, d] [n_kv*head_dim_v, d] [d, n_head*head_dim_v]
    hth_weight gate, up, down;    // [d_ff, d] [d_ff, d] [d, d_ff]
    hth_weight per_layer_gate, per_layer_proj; // [d_per_layer, d] [d, d_per_layer]
    const float *q_bias, *k_bias, *v_bias, *o_bias;
    const float *gate_bias, *up_bias, *down_bias;
    const float *q_norm, *k_norm;           // [head_dim], [n_head, head_dim] or [n_head*head_dim]
    const float *q_norm_bias, *k_norm_bias;
    const float *sinks;                     // [n_head]
    const float *attn_norm, *attn_norm_bias; // before the mixer      [d]
    const float *attn_post_norm, *attn_post_norm_bias; // on its output, or after the sum for post_ln
    const float *ffn_norm, *ffn_norm_bias;
    const float *ffn_post_norm, *ffn_post_norm_bias;
    const float *per_layer_norm;
    float scalar; // 1 when absent
    hth_weight laurel_left, laurel_right; // [rank, d] [d, rank]
    const float *laurel_norm;             // [d]
    hth_weight router;        // [n_expert, d]
    const float *router_bias; // [n_expert] added to the logits
    const float *choice_bias; // [n_expert] added to the scores while experts are chosen
    hth_weight expert_gate, expert_up, expert_down; // n_expert times [d_ff, d] [d_ff, d] [d, d_ff]
    hth_weight latent_in, latent_out; // [d_latent, d] [d, d_latent] before and behind the experts
    const float *latent_in_bias, *latent_out_bias;
    const float *expert_gate_bias, *expert_up_bias, *expert_down_bias; // [n_expert, d_ff] [n_expert, d_ff] [n_expert, d]
    hth_weight shared_router; // [1, d]
    hth_altup altup;
    hth_recurrent_weights recurrent;
    hth_latent latent;
} hth_layer;

typedef struct hth_model {
    hth_container *container; // owned
    hth_desc desc;
    hth_layer *layers; // [desc.n_layer]
    hth_weight token_embd;    // [n_vocab, d]
    hth_weight output;        // [n_vocab, d]; equals token_embd when tied
    hth_weight per_layer_embd; // [n_vocab_per_layer, n_layer * d_per_layer]
    hth_weight per_layer_model_proj; // [n_layer * d_per_layer, d]
    hth_weight stream_proj[HTH_MAX_STREAM - 1], stream_unembd[HTH_MAX_STREAM - 1]; // [d, d] into and out of streams 1..
    hth_weight pos_embd;       // [n_ctx, d]
    hth_weight type_embd;      // [n_token_type, d]
    hth_weight cls, cls_out;   // ranking heads
    const float *cls_bias, *cls_out_bias;
    const float *embd_norm, *embd_norm_bias, *output_norm, *output_norm_bias, *per_layer_proj_norm;
    const float *output_bias;
    // Of a predictor (see below): x = combine [norm(embedding), norm(hidden row)] goes into its only layer.
    hth_weight combine; // [d, 2 d]
    const float *combine_embd_norm, *combine_hidden_norm; // [d]
    hth_buffer *buffers; // [n_file] the container's files, as the executors see them
    hth_arena arena;     // owns desc, layers, vectors
    uint64_t n_param;    // numbers in all bound weights
    uint64_t n_param_active; // of them, those that one token meets: all but the experts that it does not use
    uint64_t weight_bytes;
    uint64_t own_bytes;  // of its files, in memory of the process's own (model/residency.h); the rest is mapped
    bool has_bf16;           // among the matrices
    const bool *tensor_used; // [n_tensor] of the container's tensors: some weight or vector comes from it
    // The first layer that the file carries for predicting one token further (multi-token prediction), as a model of one
    // layer: row i reads token i + 1 and what this model made of token i, after its output norm (hth_row.i_embd), and
    // gives logits for token i + 2. It is no part of the ordinary pass. Owned; NULL: there is none.
    struct hth_model *predictor;
    struct hth_stream *stream; // owned; what of it is read from disk as needed (model/residency.h). NULL: nothing
} hth_model;

// Opens, describes and binds. `path`: GGUF file or folder. Returns owned. An unknown family gives
// HTH_ERR_UNSUPPORTED naming it and the known ones.
HTH_NODISCARD hth_code hth_model_open(const char *path, hth_model **out, hth_err *err);
void hth_model_free(hth_model *m);
// HTH_ERR_IO where a file of the model was cut off, or could not be read, after it was opened: what was computed since
// then may have met zeros for weights. Cheap.
HTH_NODISCARD hth_code hth_model_check_files(const hth_model *m, hth_err *err);

// A layer's matrices that are there and whose products meet a step's hook, but for routed experts. Returns how many.
#define HTH_LAYER_MATRICES 40
int hth_layer_matrices(const hth_layer *l, const hth_weight *all[HTH_LAYER_MATRICES]);

// Family names for listing, NULL past the end.
const char *hth_family_name_at(int i);

#endif
