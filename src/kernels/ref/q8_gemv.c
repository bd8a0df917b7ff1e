// Reference of the integer product for generated rows: any type, one block at a time.
#include <math.h>

#include "kernels/levels.h"

// Adds block `c` (its first column) of one weight row to the outputs of all tokens, group by group.
static void add_block(hth_q8_type type, const hth_type_info *info, const uint8_t *code, const float *d, const float *m,
                      int64_t c, const hth_q8 *x, int64_t n_tok, float *total) {
    for (int64_t g = 0; g < info->block_len / type.group; g++) {
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

static void gemv(uint32_t t, const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const hth_q8 *x,
                 int64_t n_tok, float *y, int64_t y_stride) {
    const hth_type_info *info = hth_type_get(t);
    const hth_q8_type type = hth_q8_type_of(t);
    hth_q8_codes_fn codes = hth_q8_codes(t);
    for (int64_t r = 0; r < n_row; r++) {
        float total[HTH_GEMV_TOKENS] = {0};
        for (int64_t c = 0; c < n_col; c += info->block_len) {
            uint8_t code[256];
            float d[16], m[16];
            codes(w + r * row_bytes + c / info->block_len * info->block_bytes, code, d, m);
            add_block(type, info, code, d, m, c, x, n_tok, total);
        }
        for (int64_t i = 0; i < n_tok; i++) y[i * y_stride + r] = total[i];
    }
}

#define FOR_TYPES(X)                                                                                               \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ2_XXS) X(IQ2_XS) X(IQ3_XXS) \
    X(IQ1_S) X(IQ4_NL) X(IQ3_S) X(IQ2_S) X(IQ4_XS) X(IQ1_M) X(TQ1_0) X(TQ2_0) X(MXFP4) X(NVFP4) X(Q1_0) X(Q2_0)

#define DEFINE(T)                                                                                                    \
    static void gemv_##T(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok, \
                         float *y, int64_t y_stride) {                                                               \
        gemv(HTH_TYPE_##T, w, row_bytes, n_row, n_col, x, n_tok, y, y_stride);                                         \
    }
FOR_TYPES(DEFINE)

void hth_ref_q8_gemv(hth_q8_kernels *k) {
#define SET(T)                                                                                                       \
    if (hth_q8_codes(HTH_TYPE_##T)) k->gemv[HTH_TYPE_##T] = gemv_##T;
    FOR_TYPES(SET)
}
