// The description of a model: hyper-parameters and, for each layer, what it is made of. A family is
// a function from metadata to this; nothing below the description knows family names.
#ifndef HTH_MODEL_DESC_H
#define HTH_MODEL_DESC_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"

#define HTH_MAX_ROPE 4
#define HTH_MAX_LAYER 1024
#define HTH_MAX_STREAM 4

typedef enum hth_norm_kind { HTH_NORM_NONE, HTH_NORM_RMS, HTH_NORM_LAYER } hth_norm_kind;

typedef enum hth_rope_scaling {
    HTH_SCALING_NONE,
    HTH_SCALING_LINEAR,   // positions divided by factor
    HTH_SCALING_LLAMA3,   // low frequencies divided by factor, smooth in between
    HTH_SCALING_YARN,     // arXiv:2309.00071
    HTH_SCALING_LONGROPE, // arXiv:2402.13753: per-dimension divisors, short and long
} hth_rope_scaling;

// One rotation. Layers refer to it by index. The first part is what a family states; hth_rope_prepare
// turns it into frequencies.
typedef struct hth_rope {
    int32_t n_rot;       // elements of a head taking part, from the first on; even
    hth_pairing pairing; // as the container lays out Q and K
    double theta;
    hth_rope_scaling scaling;
    double factor, low_freq_factor, high_freq_factor, beta_fast, beta_slow;
    double attn_factor;            // published multiplier of cos and sin; 0: by the scaling's formula
    double mscale, mscale_all_dim; // yarn as DeepSeek publishes it; 0: absent
    int64_t n_ctx_orig;            // context of pre-training
    int64_t n_ctx_max;             // context after scaling (longrope's magnitude)
    bool yarn_no_truncate;         // correction range not rounded to whole dimensions
    int32_t n_freq_dim;            // denominator of the frequency exponent; 0: n_rot
    int32_t n_turning;             // pairs that turn at all, the rest stay (Gemma 4); 0: all
    const float *divisors[2];      // [n_rot/2] short and long, divide the frequencies; NULL: none

    const double *inv_freq[2]; // [n_rot/2] radians per position: short, long (the same without longrope)
    float magnitude[2];        // multiplies cos and sin
} hth_rope;

// How a layer looks back at keys and values. Beside it, or in its place, may stand a recurrent mixer.
typedef enum hth_mixer { HTH_MIXER_ATTENTION, HTH_MIXER_LATENT, HTH_MIXER_NONE } hth_mixer;
typedef enum hth_qk_norm { HTH_QK_NORM_NONE, HTH_QK_NORM_HEAD, HTH_QK_NORM_ALL } hth_qk_norm;

// Grouped-query attention.
typedef struct hth_attention_desc {
    int32_t n_head, n_kv_head;
    int32_t head_dim;   // of queries and keys
    int32_t head_dim_v; // of values
    int32_t rope;       // index of hth_desc.rope, -1: no positions (NoPE)
    int64_t window;     // a key is visible when q_pos - k_pos < window; 0: all
    bool chunked;       // instead, when it stands in the query's own chunk: k_pos / window == q_pos / window (Llama 4)
    float scale;        // of scores
    float softcap;      // scores = cap * tanh(scores / cap); 0: none
    hth_qk_norm qk_norm;
    hth_norm_kind qk_norm_kind;
    bool qk_norm_after_rope;
    bool qk_norm_per_head_weight; // weight is [n_head, head_dim], not [head_dim] (Cohere)
    bool qk_norm_no_weight;       // (Llama 4)
    bool gated;        // each query head's projection is followed by a gate: its result is multiplied by its sigmoid
    bool v_norm;       // RMS without weight on values
    float v_scale;     // of values; 0: none
    bool v_is_k;       // values are the unrotated, unnormed key projection
    int32_t kv_layer;  // layer whose keys and values are read; own index when it has its own
    // Query scale by position (Llama 4, Ministral 3): q *= 1 + beta * log(1 + floor((pos + offset) / n_orig)); 0: none
    float pos_scale_beta;
    int64_t pos_scale_n_orig;
    int32_t pos_scale_offset;
    float out_scale; // of the mixer's output; 0: none
} hth_attention_desc;

// A mixer that hands one block of numbers from row to row.
typedef enum hth_recurrent {
    HTH_RECURRENT_NONE,
    HTH_RECURRENT_CONV,  // gated short convolution (LFM2): cpu_conv.c
    HTH_RECURRENT_DELTA, // gated delta rule (Qwen3-Next, Kimi Linear): cpu_delta.c
    HTH_RECURRENT_MAMBA1, // cpu_mamba1.c
    HTH_RECURRENT_MAMBA2, // cpu_mamba.c
    HTH_RECURRENT_WKV,    // RWKV-7: cpu_wkv.c
} hth_recurrent;

// Heads of a delta rule: n_head (of values) states of head_rows (a key) x head_cols (a value); each key head serves
// n_head / n_key_head of them.
typedef struct hth_delta_desc {
    int32_t n_key_head;
    bool keys_alternate; // value head h has key head h % n_key_head, not those of a key head behind each other
    bool decay_by_row;   // each row of a state has a decay of its own (KDA), else a state has one
    hth_act gate_act;    // the results are multiplied by this of their gates
} hth_delta_desc;

// Mamba 1: one state of head_rows (the state's size) x head_cols (the channels).
typedef struct hth_mamba1_desc {
    int32_t step_rank; // of the numbers that steps are projected from
    bool normed;       // these, what states take in and what they give out go through RMS norms
    float norm_eps;
} hth_mamba1_desc;

// Heads of Mamba 2: n_head states of head_rows (the state's size) x head_cols (a head's).
typedef struct hth_mamba_desc {
    int32_t n_group;      // heads of a group share what their states take in and give out
    int32_t norm_parts;   // parts that the norm of the output takes each alone; 0: no norm
    bool norm_before_gate;
    float dt_min, dt_max; // limits of a step
    float in_scale[5];    // of the input's projections: gate, x, B, C, step
} hth_mamba_desc;

// RWKV-7: n_head states of head_rows x head_cols, both a head's width. The block's tail is the previous row's input of
// the mixer, then that of the feed-forward. Widths of what is projected by way of a few numbers:
typedef struct hth_wkv_desc {
    int32_t rank_decay, rank_beta, rank_value, rank_gate;
    bool is_first; // later layers take over some of this layer's values
} hth_wkv_desc;

// A block is [tail_rows, tail_width]: the latest inputs of a causal convolution, the oldest first, then
// [n_head, head_rows, head_cols]: a matrix per head. Before the first row it is zero.
typedef struct hth_recurrent_desc {
    hth_recurrent kind;
    int32_t tail_rows, tail_width;
    int32_t n_head, head_rows, head_cols;
    hth_delta_desc delta; // of HTH_RECURRENT_DELTA
    hth_mamba1_desc mamba1; // of HTH_RECURRENT_MAMBA1
    hth_mamba_desc mamba; // of HTH_RECURRENT_MAMBA2
    hth_wkv_desc wkv;     // of HTH_RECURRENT_WKV
    float out_scale;      // of the mixer's output; 0: none
} hth_recurrent_desc;

#define HTH_MAX_TAIL_ROWS 64
#define HTH_MAX_HEAD_COLS 1024 // of Mamba

// Numbers of a block, rounded to whole cache lines.
static inline int64_t hth_recurrent_len(const hth_recurrent_desc *r) {
    const int64_t n = (int64_t)r->tail_rows * r->tail_width + (int64_t)r->n_head * r->head_rows * r->head_cols;
    return r->kind == HTH_RECURRENT_NONE ? 0 : (n + 15) / 16 * 16;
}

// Multi-head latent attention (arXiv:2405.04434). A token's keys and values are one compressed row c of kv_rank numbers
// and one rotated part of d_rope numbers that all heads share. Head h has
//   key = [K_h c | rotated part]  value = V_h c,  K_h [d_nope, kv_rank], V_h [d_v, kv_rank]
// and as K_h q . c = q . K_h' c it may as well turn its query and its result instead of every key and value: then all
// heads share keys of kv_rank + d_rope numbers whose first kv_rank are the values. That is what the layer's `attn`
// describes (n_kv_head 1), and what a sequence's state holds.
typedef struct hth_latent_desc {
    int32_t q_rank; // of the compressed query, 0: queries are projected directly
    int32_t kv_rank;
    int32_t d_nope, d_rope; // of a query and of a key: the part without positions, then the rotated part
    int32_t d_v;            // of a value
    float norm_eps;         // of the norms of compressed rows
} hth_latent_desc;

typedef enum hth_ffn { HTH_FFN_NONE, HTH_FFN_GATED, HTH_FFN_PLAIN, HTH_FFN_MOE } hth_ffn;

// What a router makes of its logits.
typedef enum hth_router_score {
    HTH_SCORE_SOFTMAX, // over all experts
    HTH_SCORE_CHOSEN,  // softmax over the chosen ones; the logits themselves choose
    HTH_SCORE_SIGMOID, // each by itself
    // SparseMixer (arXiv:2310.00811): the logits choose; a chosen one's weight is its softmax over those at most
    // `band` below it, relative to the larger magnitude of the two, without the better chosen ones.
    HTH_SCORE_BAND,
} hth_router_score;

// Routed experts: `n_used` gated feed-forwards of `n_expert`, chosen by score (plus a learned bias of the choice
// where one is bound), their results weighted by score. Beside them may stand a shared feed-forward for all rows,
// which is the layer's own gate, up and down (d_ff of the layer; 0: none).
typedef struct hth_moe_desc {
    int32_t n_expert, n_used;
    int32_t d_ff; // of one expert
    int32_t d_latent; // width of experts' inputs and results, with a projection before all of them and one behind; 0: d_model
    hth_router_score score;
    // Group-limited choice: the experts stand in n_group equal groups, of which n_group_used take part: those with
    // the largest sum of their group_best best scores. n_group <= 1: all take part.
    int32_t n_group, n_group_used, group_best;
    bool normalize;      // weights are divided by their sum
    float normalize_min; // which counts as at least this
    float scale;         // of the weights
    float band;          // of HTH_SCORE_BAND
    bool weight_input;   // expert(w * x) instead of w * expert(x)
    bool no_gate;        // experts, and the shared feed-forward, are down(act(up(x)))
    // Clamped gate (act_limit > 0): g = min(gate, limit); g * sigmoid(alpha * g) * (clamp(up, +-limit) + 1)
    float act_limit, act_alpha;
    int32_t n_shared;  // how many experts the shared feed-forward counts as
    bool shared_gated; // its result is multiplied by a sigmoid of its own logit
} hth_moe_desc;

static inline int32_t hth_moe_width(const hth_moe_desc *moe, int32_t d_model) {
    return moe->d_latent > 0 ? moe->d_latent : d_model;
}

#define HTH_MAX_EXPERT 4096
#define HTH_MAX_EXPERT_USED 64

typedef struct hth_layer_desc {
    hth_mixer mixer;
    hth_attention_desc attn; // of HTH_MIXER_ATTENTION and, of compressed rows, HTH_MIXER_LATENT;
                             // others keep kv_layer at their own index
    hth_latent_desc latent;  // of HTH_MIXER_LATENT
    hth_recurrent_desc recurrent; // beside the mixer: both read the same input, their outputs are added
    hth_ffn ffn;
    hth_act act;
    int32_t d_ff;     // of HTH_FFN_MOE: of the shared feed-forward
    hth_moe_desc moe; // of HTH_FFN_MOE
    bool has_ffn_shift; // the feed-forward reads its input mixed with that of the row before
    float gate_scale, ffn_scale; // of the gate's projection and of the result; 0: none
    bool has_gate_cut; // gate values below mean + gate_cut * deviation of their row become 0, others are lowered by it
    float gate_cut;
    // Where norms stand; each is present when its weight is bound.
    //   h = x + s * post_attn(mixer(pre_attn(x)));  x' = h + s * post_ffn(ffn(pre_ffn(h)))
    //   Without any mixer h = x, without a feed-forward x' = h; their norms are absent too.
    //   parallel:   x' = x + mixer(pre_attn(x)) + ffn(pre_ffn or pre_attn(x))
    //   post_ln:    x = norm(x + mixer(x)); x' = norm(x + ffn(x))      (BERT)
    bool parallel;
    bool post_ln;
    bool pre_norm;  // false: the mixer and ffn read x as it is (OLMo 2)
    bool sandwich;  // post_attn and post_ffn norms on the branch outputs
    float residual_scale;  // s
    bool has_per_layer_input; // Gemma 3n/4 per-layer embeddings
    bool has_layer_scalar;    // x' multiplied by a learned scalar
    bool has_laurel;          // h = (h + laurel(pre_attn(x))) / sqrt 2: a learned residual beside the mixer
} hth_layer_desc;

static inline bool hth_layer_has_mixer(const hth_layer_desc *l) {
    return l->mixer != HTH_MIXER_NONE || l->recurrent.kind != HTH_RECURRENT_NONE;
}

// Whether a token's values are the first numbers of its keys and stand in no place of their own.
static inline bool hth_values_in_keys(const hth_layer_desc *l) {
    return l->mixer == HTH_MIXER_LATENT;
}

typedef enum hth_pooling { HTH_POOL_NONE, HTH_POOL_MEAN, HTH_POOL_CLS, HTH_POOL_LAST, HTH_POOL_RANK } hth_pooling;

typedef struct hth_desc {
    const char *family; // "llama", "gemma3", ...
    int32_t n_layer, d_model, n_vocab;
    int64_t n_ctx_train;
    hth_norm_kind norm;
    float norm_eps;
    bool causal;          // false: encoder, every row of a sequence sees every other
    float embd_scale;     // hidden = embd_scale * embedding (rounded as the family's authors do)
    float logit_scale;    // logits *= logit_scale
    float logit_softcap;  // 0: none
    bool tied_output;     // the output matrix is the embedding
    bool has_embd_norm;   // of decoders; encoders always have one
    int32_t n_stream;     // hidden rows carried per token between layers: [row, n_stream, d_model]. Above 1: AltUp
    float stream_clip;    // bound of AltUp's coefficients, 0: none
    bool stream_scale;    // AltUp's output scale is in use
    int32_t n_pos;        // position components per row (1; 3 or 4 for M-RoPE)
    int32_t d_per_layer;  // width of per-layer inputs, 0: none
    int32_t n_vocab_per_layer; // tokens that have per-layer embeddings of their own; the others have token 0's
    int32_t n_token_type; // BERT segment embeddings, 0: none
    bool learned_positions;
    int64_t n_chosen_keys; // trained to attend to the best so many keys; computed densely here. 0: trained to attend to all
    hth_pooling pooling;
    int32_t n_class;      // outputs of the classification head (RANK)
    int32_t n_rope;
    hth_rope rope[HTH_MAX_ROPE];
    hth_layer_desc *layers; // [n_layer] owned by the model
} hth_desc;

#endif
