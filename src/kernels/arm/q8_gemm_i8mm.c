// Integer products with smmla, which multiplies two rows of eight bytes with two rows of eight: tokens go in pairs, rows
// too. What is left of the tokens goes one by one through sdot, which gives the same bits.
#include "kernels/levels.h"

#if defined(__aarch64__)
#include "kernels/arm/q8_tile_neon.inc"

// Eight columns each of two rows, from the two registers of four columns of four rows.
static HTH_ALWAYS_INLINE int8x16_t first_rows(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
}
static HTH_ALWAYS_INLINE int8x16_t last_rows(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
}
// Two numbers of token 0 or 1 for each of two pairs of rows.
static HTH_ALWAYS_INLINE int32x4_t of_token(int32x4_t rows_01, int32x4_t rows_23, const int t) {
    int64x2_t a = vreinterpretq_s64_s32(rows_01), b = vreinterpretq_s64_s32(rows_23);
    return vreinterpretq_s32_s64(t ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
}

static HTH_ALWAYS_INLINE void add_columns(int32x4_t dot[TOKENS][4], const tile *w, int64_t c, const int n_tok, const int group,
                                          int8x16_t zero) {
    if (n_tok < TOKENS) {
        add_by_lane(dot, w, c, n_tok, group, zero);
        return;
    }
    int32x4_t sum[TOKENS / 2][8]; // of two tokens and two rows: [token][row]
    HTH_UNROLL for (int t = 0; t < TOKENS / 2; t++)
        HTH_UNROLL for (int r = 0; r < 8; r++) sum[t][r] = vdupq_n_s32(0);
    HTH_UNROLL for (int i = 0; i < group; i += 8) {
        int8x16_t x[TOKENS / 2];
        HTH_UNROLL for (int t = 0; t < TOKENS / 2; t++) {
            const int8_t *q = w->q + 2 * t * w->q_stride + c + i;
            x[t] = vcombine_s8(vld1_s8(q), vld1_s8(q + w->q_stride));
        }
        HTH_UNROLL for (int r = 0; r < 4; r++) {
            int8x16_t a = codes_of(w, c + i, r, zero), b = codes_of(w, c + i + 4, r, zero);
            HTH_UNROLL for (int t = 0; t < TOKENS / 2; t++) {
                sum[t][2 * r] = vmmlaq_s32(sum[t][2 * r], x[t], first_rows(a, b));
                sum[t][2 * r + 1] = vmmlaq_s32(sum[t][2 * r + 1], x[t], last_rows(a, b));
            }
        }
    }
    HTH_UNROLL for (int t = 0; t < TOKENS; t++)
        HTH_UNROLL for (int r = 0; r < 4; r++)
            dot[t][r] = vaddq_s32(dot[t][r], of_token(sum[t / 2][2 * r], sum[t / 2][2 * r + 1], t % 2));
}

static void gemm_i8mm(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                      float *y, int64_t y_stride) {
    multiply_panels(w, type, n_row, n_col, x, n_tok, y, y_stride);
}
#endif

void hth_q8_gemm_i8mm(hth_q8_kernels *k) {
#if defined(__aarch64__)
    k->gemm = gemm_i8mm;
#else
    (void)k;
#endif
}
