// Integer products: weights that are stored in few bits times activations quantized to 8 bits.
//
// Every quantized weight here is read as  value[r][c] = D[r][c / g] * code[r][c] + M[r][c / g]
//   code   0 ... 255, unsigned
//   g      32, or 16 for types with a scale per 16
//   D, M   float32; types without minimum have M = -zero * D with one `zero` for the whole type
//          (8 for q4_0, 128 for q8_0, 32 for q6_K, ...), and code - zero fits a signed byte
// and activations as  x[t][c] = d[t][c / 32] * q[t][c],  q in -127 ... 127.
//
// Two uses with two arithmetics, so that a row's bits depend on its kind only (model/executor.h):
//   prompt rows     a panel of HTH_PANEL_ROWS weight rows is converted once and multiplied with all tokens
//   generated rows  straight from the file's own layout, 1 to HTH_GEMV_TOKENS tokens at once, each token's
//                   result being the same bits as when it is alone
#ifndef HTH_KERNELS_Q8_H
#define HTH_KERNELS_Q8_H

#include "quant/type.h"

#define HTH_Q8_BLOCK 32
#define HTH_PANEL_ROWS 16
#define HTH_GEMV_TOKENS 16

// Quantized activations of n_tok rows; memory of the caller, 64-byte aligned, rows padded with zeros to a
// multiple of 64 columns.
typedef struct hth_q8 {
    int8_t *q;    // [n_tok, q_stride]
    float *d;     // [n_tok, d_stride]  scale per 32
    int32_t *sum; // [n_tok, 2 * d_stride]  sum of q per 16
    int64_t q_stride, d_stride;
} hth_q8;

// Sixteen weight rows ready for multiplication; memory of the caller, 64-byte aligned. Missing rows are zeros.
//
//   code  [n_col / 4][16 rows][4 columns]
//   scale [n_col / g][16 rows]    D
//   min   [n_col / g][16 rows]    M; only for types that have one
typedef struct hth_panel {
    uint8_t *code;
    float *scale, *min;
} hth_panel;

// How a type reads in these terms.
typedef struct hth_q8_type {
    uint8_t group; // 16 or 32; 0: the type has no integer path
    uint8_t zero;  // for types without minimum
    bool has_min;
} hth_q8_type;

typedef struct hth_q8_kernels {
    hth_q8_type type[HTH_TYPE_GGML_COUNT];

    // One row of n columns (a multiple of 32): d = max|x| / 127, q = round to nearest even of x / d (0 where
    // d is 0), sums of q. Columns from n to the padded end of q are set to zero.
    void (*quantize)(const float *x, int64_t n, int8_t *q, float *d, int32_t *sum);

    // Converts n_row (1 ... 16) rows of n_col columns, row r beginning at w + r * row_bytes. n_col is a multiple
    // of the type's block length. NULL for types without integer path.
    void (*panel[HTH_TYPE_GGML_COUNT])(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const hth_panel *out);

    // y[t * y_stride + r] for r < n_row <= 16 and all tokens. Arithmetic of one output, for groups in order:
    //   i = sum of (code - zero) * q over the group      exact, int32 (zero is 0 for types with minimum)
    //   y = fma((float)i, D * d, y);  with minimum also  y = fma(M, d * (float)sum, y)
    void (*gemm)(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                 float *y, int64_t y_stride);

    // y[t * y_stride + r] for n_row rows (any number) in the file's layout and 1 ... HTH_GEMV_TOKENS tokens. Integer
    // sums per group are exact; the order of the float additions is the level's own, but the same for every
    // n_row and n_tok. NULL for types without integer path.
    void (*gemv[HTH_TYPE_GGML_COUNT])(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const hth_q8 *x,
                                      int64_t n_tok, float *y, int64_t y_stride);
} hth_q8_kernels;

// The table for this CPU (and the HEARTH_CPU mask).
const hth_q8_kernels *hth_q8_get(void);
void hth_q8_fill(hth_q8_kernels *out, uint32_t cpu_features);
// As hth_kernels_describe: "gemm_q8", "gemv_q8 q4_K", "panel_q8 q4_K".
bool hth_q8_describe(const hth_q8_kernels *k, int i, char op[48], const char **level);

#endif
