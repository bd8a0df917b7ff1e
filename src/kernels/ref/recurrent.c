// Reference kernels of recurrent mixers.
#include "kernels/levels.h"

static void conv_ref(float *y, const float *x, const float *tail, int64_t tail_stride, const float *w, int64_t w_stride,
                     const float *bias, int64_t n_tail, int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        float sum = fmaf(x[c], w[n_tail * w_stride + c], bias ? bias[c] : 0);
        for (int64_t j = n_tail; j-- > 0;) sum = fmaf(tail[j * tail_stride + c], w[j * w_stride + c], sum);
        y[c] = sum;
    }
}

static void delta_ref(float *to, const float *from, int64_t state_stride, const float *k, const float *q, const float *g,
                      int64_t g_step, const float *v, float beta, float *out, int64_t n_row, int64_t n_col) {
    for (int64_t c = 0; c < n_col; c++) {
        float held = 0, sum = 0;
        for (int64_t i = 0; i < n_row; i++) held = fmaf(from[i * state_stride + c] * g[i * g_step], k[i], held);
        const float e = (v[c] - held) * beta;
        for (int64_t i = 0; i < n_row; i++) {
            const float s = fmaf(k[i], e, from[i * state_stride + c] * g[i * g_step]);
            to[i * state_stride + c] = s;
            sum = fmaf(s, q[i], sum);
        }
        out[c] = sum;
    }
}

static void wkv_ref(float *to, const float *from, int64_t state_stride, const float *k, const float *b, const float *t,
                    const float *g, const float *q, const float *v, float *out, int64_t n_row, int64_t n_col) {
    for (int64_t c = 0; c < n_col; c++) {
        float held = 0, sum = 0;
        for (int64_t i = 0; i < n_row; i++) held = fmaf(from[i * state_stride + c], k[i], held);
        for (int64_t i = 0; i < n_row; i++) {
            const float s = fmaf(-b[i], held, fmaf(t[i], v[c], from[i * state_stride + c] * g[i]));
            to[i * state_stride + c] = s;
            sum = fmaf(s, q[i], sum);
        }
        out[c] = sum;
    }
}

void hth_ref_recurrent(hth_kernels *k) {
    k->conv = conv_ref;
    k->delta = delta_ref;
    k->wkv = wkv_ref;
}
