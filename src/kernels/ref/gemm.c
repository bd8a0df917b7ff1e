// Reference matrix product. Sixteen partial sums per output, folded by halves, so that its rounding
// error is like a vector kernel's.
#include <string.h>

#include "base/fp.h"
#include "kernels/levels.h"

enum { LANES = 16 };

// Number i of a row.
typedef float (*number_fn)(const uint8_t *row, int64_t i);

static float number_f32(const uint8_t *row, int64_t i) {
    float v;
    memcpy(&v, row + 4 * i, sizeof v);
    return v;
}
static uint16_t half_at(const uint8_t *row, int64_t i) {
    uint16_t v;
    memcpy(&v, row + 2 * i, sizeof v);
    return v;
}
static float number_f16(const uint8_t *row, int64_t i) {
    return hth_f16_to_f32(half_at(row, i));
}
static float number_bf16(const uint8_t *row, int64_t i) {
    return hth_bf16_to_f32(half_at(row, i));
}

static float dot_ref(const uint8_t *a, number_fn number, const float *b, int64_t n) {
    float sum[LANES] = {0};
    for (int64_t k = 0; k < n; k += LANES)
        for (int i = 0; i < LANES && k + i < n; i++) sum[i] += number(a, k + i) * b[k + i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

static void gemm_ref(const uint8_t *w, int64_t row_bytes, number_fn number, const float *x, int64_t x_stride, float *y,
                     int64_t y_stride, int64_t n_row, int64_t n_tok, int64_t n_col) {
    for (int64_t t = 0; t < n_tok; t++)
        for (int64_t r = 0; r < n_row; r++)
            y[t * y_stride + r] = dot_ref(w + r * row_bytes, number, x + t * x_stride, n_col);
}

static void gemm_f32_ref(const float *w, int64_t w_stride, const float *x, int64_t x_stride, float *y,
                         int64_t y_stride, int64_t n_row, int64_t n_tok, int64_t n_col) {
    gemm_ref((const uint8_t *)w, 4 * w_stride, number_f32, x, x_stride, y, y_stride, n_row, n_tok, n_col);
}
static void gemm_f16_ref(const uint8_t *w, int64_t row_bytes, const float *x, int64_t x_stride, float *y,
                         int64_t y_stride, int64_t n_row, int64_t n_tok, int64_t n_col) {
    gemm_ref(w, row_bytes, number_f16, x, x_stride, y, y_stride, n_row, n_tok, n_col);
}
static void gemm_bf16_ref(const uint8_t *w, int64_t row_bytes, const float *x, int64_t x_stride, float *y,
                          int64_t y_stride, int64_t n_row, int64_t n_tok, int64_t n_col) {
    gemm_ref(w, row_bytes, number_bf16, x, x_stride, y, y_stride, n_row, n_tok, n_col);
}

void hth_ref_gemm(hth_kernels *k) {
    k->gemm_f32 = gemm_f32_ref;
    k->gemm_f16 = gemm_f16_ref;
    k->gemm_bf16 = gemm_bf16_ref;
}
