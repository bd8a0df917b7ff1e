// Reference matrix product. Sixteen partial sums per output, folded by halves, so that its rounding
// error is like a vector kernel's.
#include "kernels/levels.h"

enum { LANES = 16 };

static float dot_ref(const float *a, const float *b, int64_t n) {
    float sum[LANES] = {0};
    int64_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (int i = 0; i < LANES; i++) sum[i] += a[k + i] * b[k + i];
    for (int i = 0; k + i < n; i++) sum[i] += a[k + i] * b[k + i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

static void gemm_f32_ref(const float *w, int64_t w_stride, const float *x, int64_t x_stride, float *y,
                         int64_t y_stride, int64_t n_row, int64_t n_tok, int64_t n_col) {
    for (int64_t t = 0; t < n_tok; t++)
        for (int64_t r = 0; r < n_row; r++)
            y[t * y_stride + r] = dot_ref(w + r * w_stride, x + t * x_stride, n_col);
}

void hth_ref_gemm(hth_kernels *k) {
    k->gemm_f32 = gemm_f32_ref;
}
