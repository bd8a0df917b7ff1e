// Reference of the integer product for generated rows: any layout, some columns at a time.
#include <math.h>

#include "kernels/levels.h"

enum { STEP = 256 };

// Adds columns c ... c + n - 1 of one weight row to the outputs of all tokens, group by group.
static void add_columns(hth_q8_type type, const uint8_t *code, const float *d, const float *m, int64_t c, int64_t n,
                        const hth_q8 *x, int64_t n_tok, float *total) {
    for (int64_t g = 0; g < n / type.group; g++) {
        const int64_t at = c + g * type.group;
        for (int64_t t = 0; t < n_tok; t++) {
            const int8_t *q = x->q + t * x->q_stride + at;
            const int32_t *sum = x->sum + t * 2 * x->d_stride + at / 16;
            const float scale = x->d[t * x->d_stride + at / HTH_Q8_BLOCK];
            int32_t dot = 0;
            for (int i = 0; i < type.group; i++) dot += (code[g * type.group + i] - type.zero) * q[i];
            total[t] = fmaf((float)dot, d[g] * scale, total[t]);
            if (!type.has_min) continue;
            const int32_t s = type.group == 16 ? sum[0] : sum[0] + sum[1];
            total[t] = fmaf(m[g], scale * (float)s, total[t]);
        }
    }
}

static void gemv(uint32_t layout, const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y,
                 int64_t y_stride) {
    const hth_q8_type type = hth_q8_type_of(layout);
    for (int64_t r = 0; r < n_row; r++) {
        float total[HTH_GEMV_TOKENS] = {0};
        for (int64_t c = 0; c < n_col; c += STEP) {
            const int64_t n = n_col - c < STEP ? n_col - c : STEP;
            uint8_t code[STEP];
            float d[STEP / 16], m[STEP / 16];
            hth_q8_read(layout, w, r, c, n, code, d, m);
            add_columns(type, code, d, m, c, n, x, n_tok, total);
        }
        for (int64_t i = 0; i < n_tok; i++) y[i * y_stride + r] = total[i];
    }
}

#define DEFINE(T, layout)                                                                                              \
    static void gemv_##T(const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y, \
                         int64_t y_stride) {                                                                           \
        gemv(layout, w, n_row, n_col, x, n_tok, y, y_stride);                                                          \
    }
HTH_Q8_FOR_LAYOUTS(DEFINE)

void hth_ref_q8_gemv(hth_q8_kernels *k) {
#define SET(T, layout) k->gemv[layout] = gemv_##T;
    HTH_Q8_FOR_LAYOUTS(SET)
}
