// Integer products: weights that are stored in few bits times activations quantized to 8 bits.
//
// Every quantized weight here is read as  value[r][c] = D[r][c / g] * code[r][c] + M[r][c / g]
//   code   0 ... 255, unsigned
//   g      32, or 16 for types with a scale per 16
//   D, M   float32; types without minimum have M = -zero * D with one `zero` for the whole type
//          (8 for q4_0, 128 for q8_0, 32 for q6_K, ...), and code - zero fits a signed byte
// and activations as  x[t][c] = d[t][c / 32] * q[t][c],  q in -127 ... 127.
//
// Weights are blocks of a ggml type, which carry their scales, or lie in planes (quant/weight.h): codes, scales and
// biases apart, as MLX writes them. Either is a *layout*.
//
// Two uses with two arithmetics, so that a row's bits depend on its kind only (model/executor.h):
//   prompt rows     a panel of HTH_PANEL_ROWS weight rows is converted once and multiplied with all tokens. Many
//                   types become wide panels: codes of 8 bits with D and M per 256, whose rounding costs less
//                   than that of the activations does (0.8 % against 1.1 to 1.3 % of a product, measured)
//   generated rows  straight from the file's own layout, 1 to HTH_GEMV_TOKENS tokens at once, each token's
//                   result being the same bits as when it is alone
#ifndef HTH_KERNELS_Q8_H
#define HTH_KERNELS_Q8_H

#include "quant/type.h"

#define HTH_Q8_BLOCK 32
#define HTH_PANEL_ROWS 16
#define HTH_GEMV_TOKENS 16
#define HTH_Q8_WIDE 256

// The layouts: every ggml type, and planes. Of affine ones D and M are scale and bias as they lie there; of the others,
// whose codes are e2m1 numbers, D is half the scale, because the codes are twice the numbers.
enum {
    HTH_Q8_AFFINE_2 = HTH_TYPE_GGML_COUNT, // codes of two bits, and so on: one little-endian stream of bits a row
    HTH_Q8_AFFINE_3,
    HTH_Q8_AFFINE_4,
    HTH_Q8_AFFINE_5,
    HTH_Q8_AFFINE_6,
    HTH_Q8_AFFINE_8,
    HTH_Q8_E2M1,    // scales per 32 or more: bytes, 2^(e - 127)
    HTH_Q8_E2M1_16, // per 16: bytes, e4m3
    HTH_Q8_LAYOUTS
};
const char *hth_q8_layout_name(uint32_t layout); // "q4_K", "affine4"; NULL: none
// Columns that stand for themselves in memory: a block, or so many of planes that they begin and end at a byte.
int64_t hth_q8_layout_unit(uint32_t layout);

// Rows of weights in a layout.
typedef struct hth_q8_rows {
    const uint8_t *code; // the first row; blocks where the layout has blocks
    int64_t row_bytes;   // from one row to the next
    // Of planes:
    const uint8_t *scale, *bias; // of the first row; bias NULL where the layout has none
    int64_t scale_bytes;         // from one row to the next, of both
    uint32_t scale_type;         // of AFFINE: HTH_TYPE_F32, F16, BF16
    int group;                   // columns per scale: a power of two, 16 to 512
} hth_q8_rows;

// The same from row r on.
static inline hth_q8_rows hth_q8_rows_from(const hth_q8_rows *w, int64_t r) {
    hth_q8_rows from = *w;
    from.code += r * w->row_bytes;
    if (from.scale) from.scale += r * w->scale_bytes;
    if (from.bias) from.bias += r * w->scale_bytes;
    return from;
}

// Quantized activations of n_tok rows; memory of the caller, 64-byte aligned, rows padded with zeros to a
// multiple of 64 columns.
typedef struct hth_q8 {
    int8_t *q;    // [n_tok, q_stride]
    float *d;     // [n_tok, d_stride]  scale per 32
    int32_t *sum; // [n_tok, 2 * d_stride]  sum of q per 16
    int64_t q_stride, d_stride;

    // Prompt rows bring more for wide panels. Kernels with `tiles` read none of the above, but numbers of 16 bits
    //   x[t][c] = wide_d[t][c / 256] * v[t][c],  v = 128 * high + low, |v| <= 16256, -64 <= low < 64
    // that lie in tiles of 16 tokens and 64 columns, 256 columns after 256: [n_col / 256][n_tok / 16][4][high, low][16][64].
    // Others have no tiles and no wide_d.
    int8_t *tiles;
    float *wide_d;   // [n_tok, wide_stride]
    float *wide_sum; // [n_tok, wide_stride]  sum of x per 256 as quantized: what M is multiplied with
    int64_t wide_stride, tile_stride; // tile_stride: bytes for 256 columns of all tokens
    int64_t first;                    // token of the first tile that the other fields begin with
} hth_q8;

// Sixteen weight rows ready for multiplication; memory of the caller, 64-byte aligned. Missing rows are zeros.
//
//   code  [n_col / 4][16 rows][4 columns]
//   scale [n_col / g][16 rows]    D
//   min   [n_col / g][16 rows]    M; only for types that have one
//
// In wide panels g is 256, the last group of a row may be shorter, and the code is padded with zeros to a multiple
// of 64 columns.
typedef struct hth_panel {
    uint8_t *code;
    float *scale, *min;
} hth_panel;

// How a type reads in these terms.
typedef struct hth_q8_type {
    uint16_t group; // 16 or 32, for panels also 256; 0: the type has no integer path
    uint8_t zero;  // for types without minimum
    bool has_min;
} hth_q8_type;

typedef struct hth_q8_kernels {
    hth_q8_type type[HTH_Q8_LAYOUTS];
    hth_q8_type panel_type[HTH_Q8_LAYOUTS]; // of panels: as `type`, or wide: {256, 0, true}
    bool tiles;                                  // whether prompt rows are read from tiles; then all panels are wide

    // One row of n columns (a multiple of 32): d = max|x| / 127, q = round to nearest even of x / d (0 where
    // d is 0), sums of q. Columns from n to the padded end of q are set to zero.
    void (*quantize)(const float *x, int64_t n, int8_t *q, float *d, int32_t *sum);
    // A prompt row: all that gemm reads of row `row` of `out`, whose `first` is 0.
    //   without tiles  as quantize; wide_sum: from 0 on, d * (float)sum of 32 added group by group (not fused)
    //   with tiles     per 256: wide_d = max|x| / 16256, v = round to nearest even of x / wide_d; wide_sum = wide_d *
    //                  (float)sum. Columns from n to the padded end are set to zero.
    void (*quantize_prompt)(const float *x, int64_t n, const hth_q8 *out, int64_t row);

    // Converts n_row (1 ... 16) rows of n_col columns, a multiple of the layout's unit. NULL for layouts without
    // integer path.
    void (*panel[HTH_Q8_LAYOUTS])(const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out);

    // y[t * y_stride + r] for r < n_row and all tokens; w holds a panel for each sixteen rows. Arithmetic of one
    // output, for groups in order, sums beginning at 0:
    //   i = sum of (code - zero) * q over the group      exact, int32 (zero is 0 for types with minimum)
    //   y = fma((float)i, D * d, y);  with minimum also  y = fma(M, d * (float)sum, y)
    // In wide panels:
    //   i = sum of code * q over 32; s = fma((float)i, d, s), s beginning at 0 for each 256
    //   y = fma(s, D, y);  y = fma(M, wide_sum, y)
    // With tiles:
    //   i = sum of code * v over 256, exact;  y = fma((float)i, D * wide_d, y);  y = fma(M, wide_sum, y)
    void (*gemm)(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                 float *y, int64_t y_stride);

    // y[t * y_stride + r] for n_row rows (any number) as they lie in the file and 1 ... HTH_GEMV_TOKENS tokens. Integer
    // sums per group are exact; the order of the float additions is the level's own, but the same for every
    // n_row and n_tok. NULL for layouts without integer path.
    void (*gemv[HTH_Q8_LAYOUTS])(const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y,
                                 int64_t y_stride);
} hth_q8_kernels;

// The table for this CPU (and the HEARTH_CPU mask), and the best one without wide panels or tiles, whose products
// round nothing but the activations.
const hth_q8_kernels *hth_q8_get(void);
const hth_q8_kernels *hth_q8_get_exact(void);
void hth_q8_fill(hth_q8_kernels *out, uint32_t cpu_features);
void hth_q8_fill_exact(hth_q8_kernels *out, uint32_t cpu_features);
// As hth_kernels_describe: "gemm_q8", "gemv_q8 q4_K", "panel_q8 affine4".
bool hth_q8_describe(const hth_q8_kernels *k, int i, char op[48], const char **level);

#endif
