// The table of compute kernels. Filled once at start: reference C first (kernels/ref, the
// specification), then each better instruction-set level overwrites the entries that it has.
// After hth_kernels_get the table is immutable.
//
// Rules of every kernel
//   - all buffers f32 unless said; float pointers need C's own 4 bytes of alignment, void pointers
//     none; nothing is read or written outside the stated extents; n may be 0
//   - the arithmetic of one output element depends on its own inputs and on n only: never on how
//     many rows, tokens or heads are computed in the same call (reproducibility of the engine)
//   - NaN and infinity propagate; no fast-math
#ifndef HTH_KERNELS_KERNELS_H
#define HTH_KERNELS_KERNELS_H

#include "quant/type.h"

// Types in which keys and values may be stored. The last three are ggml's blocks of 32 numbers (quant/type_q8_0.c,
// quant/type_q4_0.c, quant/type_q5_0.c); the last block of a vector may hold fewer, and zeros after them.
typedef enum hth_kv_type {
    HTH_KV_F32, HTH_KV_F16, HTH_KV_BF16, HTH_KV_Q8_0, HTH_KV_Q4_0, HTH_KV_Q5_0, HTH_KV_TYPE_COUNT
} hth_kv_type;

#define HTH_KV_BLOCK 32

static inline bool hth_kv_is_block(hth_kv_type t) {
    return t == HTH_KV_Q8_0 || t == HTH_KV_Q4_0 || t == HTH_KV_Q5_0;
}

// Types of few bits store a head's numbers mixed by hth_hadamard, so that one large number does not cost the others of
// its block their bits (arXiv:2404.00456). Queries are mixed like keys, which leaves their products as they were, and
// what attention made of mixed values is mixed once more, which undoes it.
static inline bool hth_kv_is_mixed(hth_kv_type t) {
    return t == HTH_KV_Q4_0 || t == HTH_KV_Q5_0;
}

// Bytes of one stored vector of n numbers.
static inline uint32_t hth_kv_row_bytes(hth_kv_type t, int64_t n) {
    static const uint8_t bytes_of_32[HTH_KV_TYPE_COUNT] = {128, 64, 64, 34, 18, 22};
    if (hth_kv_is_block(t)) n = (n + HTH_KV_BLOCK - 1) / HTH_KV_BLOCK * HTH_KV_BLOCK;
    return (uint32_t)(n * bytes_of_32[t] / HTH_KV_BLOCK);
}

// n_key vectors of `dim` numbers, stored `stride` bytes apart: one K/V head of a page.
typedef struct hth_kv_run {
    const void *data;
    int64_t stride, n_key, dim;
} hth_kv_run;

// Multiplies each head of `dim` numbers in x [n] by Hadamard matrices: symmetric, orthogonal, their own inverse; of the
// largest power of two that divides dim (for 80: five blocks of 16).
void hth_hadamard(float *x, int64_t n, int64_t dim);

// Queries that the tile kernels compute side by side: lane c of a tile is query c.
#define HTH_TILE_LANES 32

typedef enum hth_act {
    HTH_ACT_NONE,
    HTH_ACT_SILU,      // x / (1 + e^-x)
    HTH_ACT_GELU_TANH, // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    HTH_ACT_GELU_ERF,  // 0.5 x (1 + erf(x / sqrt 2))
    HTH_ACT_RELU,
    HTH_ACT_RELU2, // max(x, 0)^2
    HTH_ACT_SIGMOID,  // 1 / (1 + e^-x)
    HTH_ACT_SOFTPLUS, // log(1 + e^x)
    HTH_ACT_EXP,      // e^x
    HTH_ACT_COUNT
} hth_act;

typedef enum hth_pairing {
    HTH_ROPE_NORM, // pairs (2i, 2i+1)
    HTH_ROPE_NEOX, // pairs (i, i + n_rot/2)
} hth_pairing;

// The logarithm of what counts as nothing in a softmax: just above where float32 becomes denormal.
#define HTH_LEAST_SHARE (-87.0f)

typedef struct hth_kernels {
    // Fast versions of quant/type.h's dequantize for ggml block types; bit-exact with them. NULL for
    // numbers that are no type.
    hth_dequantize_fn dequantize[HTH_TYPE_GGML_COUNT];

    // dst = scale * x, x in e4m3 [0] or e5m2 [1] (base/fp.h).
    void (*dequantize_f8[2])(const uint8_t *src, float scale, float *dst, int64_t n);

    // y[t * y_stride + r] = sum over k of w[r * w_stride + k] * x[t * x_stride + k]
    //   w [n_row, n_col], x [n_tok, n_col], y [n_tok, n_row]; strides in elements.
    // Any n_row and n_tok >= 0; the caller gives panels that fit in cache.
    void (*gemm_f32)(const float *w, int64_t w_stride, const float *x, int64_t x_stride, float *y,
                     int64_t y_stride, int64_t n_row, int64_t n_tok, int64_t n_col);
    // The same bits as gemm_f32 with the weights as f32, from rows of f16 or bf16 that begin row_bytes apart at any
    // address: made for a few tokens, whose time is that of reading the weights.
    void (*gemm_f16)(const uint8_t *w, int64_t row_bytes, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                     int64_t n_row, int64_t n_tok, int64_t n_col);
    void (*gemm_bf16)(const uint8_t *w, int64_t row_bytes, const float *x, int64_t x_stride, float *y, int64_t y_stride,
                      int64_t n_row, int64_t n_tok, int64_t n_col);


    // dst = x / sqrt(mean(x^2) + eps) * weight; weight [n] may be NULL. dst may be x. The mean is
    // accumulated in double or in enough partial sums that its error stays below 1e-7.
    void (*norm_rms)(float *dst, const float *x, const float *weight, int64_t n, float eps);
    // dst = (x - mean) / sqrt(var + eps) * weight + bias; weight, bias may be NULL.
    void (*norm_layer)(float *dst, const float *x, const float *weight, const float *bias, int64_t n, float eps);

    // Rotates n_rot elements of x in place: cos_, sin_ [n_rot / 2].
    void (*rope[2])(float *x, const float *cos_, const float *sin_, int64_t n_rot); // by hth_pairing

    void (*act[HTH_ACT_COUNT])(float *dst, const float *x, int64_t n);                        // dst = act(x)
    void (*act_mul[HTH_ACT_COUNT])(float *dst, const float *gate, const float *up, int64_t n); // act(gate) * up

    void (*add)(float *dst, const float *a, const float *b, int64_t n);
    void (*scale)(float *dst, const float *x, float s, int64_t n);
    void (*add_scaled)(float *dst, const float *x, float s, int64_t n); // dst += s * x

    // Attention over one run of keys, n_q query heads at once; the strides are in floats.
    //   score[i * score_stride + j] = scale * sum_d q[i * q_stride + d] * k[j][d]
    void (*kv_dot[HTH_KV_TYPE_COUNT])(const hth_kv_run *k, const float *q, int64_t q_stride, int64_t n_q, float scale,
                                      float *score, int64_t score_stride);
    //   acc[i * acc_stride + d] += sum over j (in order) of p[i * p_stride + j] * v[j][d]
    void (*kv_acc[HTH_KV_TYPE_COUNT])(const hth_kv_run *v, const float *p, int64_t p_stride, int64_t n_q, float *acc,
                                      int64_t acc_stride);
    void (*kv_load[HTH_KV_TYPE_COUNT])(const hth_kv_run *run, float *dst); // dst [n_key, dim], as the dots see them
    // f32 -> K/V type. Block types round as quant/type.h's quantizers do; a block with a number that is not finite
    // becomes all NaN.
    void (*kv_store[HTH_KV_TYPE_COUNT])(void *dst, const float *src, int64_t n);

    // Attention of a tile of n_q <= HTH_TILE_LANES queries over n_key keys; lane c of query, score and sum is the
    // c-th of each HTH_TILE_LANES floats. All lanes may be read, those from n_q on may be left or overwritten.
    //   s[j][c] = sum over d in order of q[d][c] * k[j][d], each step one fused multiply-add
    void (*tile_scores)(const float *k, int64_t n_key, int64_t dim, const float *q, int64_t n_q, float *s);
    //   top[c] = max(top[c], max over j of s[j][c]); s = exp(s - top), 0 below HTH_LEAST_SHARE as for exp_sum; keep = exp(old top - top);
    //   sum[c] = sum[c] * keep[c] + (sum over j in order of s[j][c])
    // A lane that has seen nothing but -inf keeps top -inf, and its sum and its s are 0.
    void (*tile_softmax)(float *s, int64_t n_key, int64_t n_q, float *top, float *sum, float *keep);
    //   acc[d][c] = fma(acc[d][c], keep[c], sum over j in order of s[j][c] * v[j][d], each step one fma)
    void (*tile_values)(const float *v, int64_t n_key, int64_t dim, const float *s, const float *keep, int64_t n_q,
                        float *acc);

    // One row of a causal convolution, each channel by itself: y[c] = x[c] * w[n_tail][c] + ... + tail[0][c] * w[0][c],
    // newest first, each step one fused multiply-add to a sum that begins with bias[c] (NULL: 0). w [n_tail + 1, n] and
    // tail [n_tail, n] have strides in floats. y may be x.
    void (*conv)(float *y, const float *x, const float *tail, int64_t tail_stride, const float *w, int64_t w_stride,
                 const float *bias, int64_t n_tail, int64_t n);

    // One row of the gated delta rule (arXiv:2412.06464) for n_col columns of a head's state [n_row, n_col]; the states'
    // rows begin state_stride floats apart. Sums run over the rows in order, one fused multiply-add each:
    //   s = g * from (by row);  e = (v - k' s) * beta;  to = s + k e;  out = q' to
    // k, q [n_row]; g[i * g_step] is the decay of row i. `to` may be `from`, `out` may be v.
    void (*delta)(float *to, const float *from, int64_t state_stride, const float *k, const float *q, const float *g,
                  int64_t g_step, const float *v, float beta, float *out, int64_t n_row, int64_t n_col);

    // One row of RWKV-7's recurrence (arXiv:2503.14456) for n_col columns of a head's state [n_row, n_col] with rows
    // state_stride floats apart. Sums run over the rows in order, one fused multiply-add each:
    //   e = k' from;  to = g * from (by row) + t v - b e;  out = q' to
    // k (what is taken out), b (where it is taken from), t (where v is put), g, q [n_row]; v, out [n_col]. `to` may be `from`.
    void (*wkv)(float *to, const float *from, int64_t state_stride, const float *k, const float *b, const float *t,
                const float *g, const float *q, const float *v, float *out, int64_t n_row, int64_t n_col);

    // One row of a linear recurrence of a matrix [n, m]: to[i][j] = fma(b[i], x[j], decay * from[i][j]), and y[j] = the sum
    // over i in order of c[i] * to[i][j], each step one fma to a sum that begins with 0. `to` may be `from`, y may be x.
    void (*scan)(float *to, const float *from, const float *b, const float *c, float decay, int64_t n, int64_t m,
                 const float *x, float *y);

    float (*max)(const float *x, int64_t n);                 // -inf for n = 0
    float (*exp_sum)(float *x, float max, int64_t n);        // x = exp(x - max), 0 where x - max < HTH_LEAST_SHARE; returns the sum
    void (*tanh_cap)(float *x, float cap, int64_t n);        // x = cap * tanh(x / cap)
} hth_kernels;

// The table for this CPU (and the HEARTH_CPU mask). Thread-safe after the first call, which the
// program makes before starting threads.
const hth_kernels *hth_kernels_get(void);
// A table limited to the given features (tests): fills *out.
void hth_kernels_fill(hth_kernels *out, uint32_t cpu_features);

// Which level each entry has, for `hearth info`: entry i as operation name ("gemm_f32",
// "dequantize q4_K") and level name ("ref", "avx2", "neon"). Returns false past the end.
bool hth_kernels_describe(const hth_kernels *k, int i, char op[48], const char **level);

#endif
