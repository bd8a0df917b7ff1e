// Integer products with sdot. Codes are made signed as they are loaded: by their zero, so that nothing is left to
// correct, or by 128 where there is a minimum, which a multiple of the sum of q takes back.
#include "kernels/levels.h"

#if defined(__aarch64__)
#include <arm_neon.h>

enum { TOKENS = 4 };

// sum += the dot products of four codes each with four bytes of q. By name: the file's flags do not include it.
#define DOT(sum, codes, q, lane)                                                                                     \
    __asm__(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.4b[" #lane "]" : "+w"(sum) : "w"(codes), "w"(q))

typedef struct tile {
    const hth_panel *w;
    int64_t n_row, n_col;
    int zero;
    const int8_t *q; // from the tile's first token on
    const float *d;
    const int32_t *sum;
    const float *wide_sum;
    int64_t q_stride, d_stride, wide_stride;
    float *y;
    int64_t y_stride;
} tile;

// dot[t][r] += (codes - zero) of rows 4 r ... times q of token t, columns c ... c + n - 1.
static HTH_ALWAYS_INLINE void add_columns(int32x4_t dot[TOKENS][4], const tile *w, int64_t c, const int n_tok, const int group,
                                          int8x16_t zero) {
    HTH_UNROLL for (int i = 0; i < group; i += 16) {
        int8x16_t x[TOKENS];
        HTH_UNROLL for (int t = 0; t < n_tok; t++) x[t] = vld1q_s8(w->q + t * w->q_stride + c + i);
        // One of the four groups of four columns; the lane is part of the instruction.
#define ADD_LANE(lane)                                                                                               \
HTH_UNROLL for (int r = 0; r < 4; r++) {                                                                         \
    uint8x16_t code = vld1q_u8(w->w->code + (c + i + 4 * lane) * 16 + 16 * r);                                   \
    int8x16_t v = vsubq_s8(vreinterpretq_s8_u8(code), zero);                                                     \
    HTH_UNROLL for (int t = 0; t < n_tok; t++) DOT(dot[t][r], v, x[t], lane);            \
}
        ADD_LANE(0)
        ADD_LANE(1)
        ADD_LANE(2)
        ADD_LANE(3)
#undef ADD_LANE
    }
}

static HTH_ALWAYS_INLINE void store_rows(const tile *w, float32x4_t total[TOKENS][4], const int n_tok) {
    for (int t = 0; t < n_tok; t++) {
        float row[16];
        HTH_UNROLL for (int r = 0; r < 4; r++) vst1q_f32(row + 4 * r, total[t][r]);
        for (int64_t r = 0; r < w->n_row; r++) w->y[t * w->y_stride + r] = row[r];
    }
}

// n_tok and group: numbers known when compiled.
static HTH_ALWAYS_INLINE void multiply(const tile *w, const int n_tok, const int group, const bool has_min) {
    float32x4_t total[TOKENS][4];
    HTH_UNROLL for (int t = 0; t < n_tok; t++)
        HTH_UNROLL for (int r = 0; r < 4; r++) total[t][r] = vdupq_n_f32(0);
    const int8x16_t zero = vdupq_n_s8((int8_t)(has_min ? 128 : w->zero));
    for (int64_t c = 0; c < w->n_col; c += group) {
        int32x4_t dot[TOKENS][4];
        float d[TOKENS], dsum[TOKENS];
        HTH_UNROLL for (int t = 0; t < n_tok; t++) {
            const int32_t *s = w->sum + t * 2 * w->d_stride + c / 16;
            int32_t q_sum = group == 32 ? s[0] + s[1] : s[0];
            d[t] = w->d[t * w->d_stride + c / 32];
            dsum[t] = d[t] * (float)q_sum;
            HTH_UNROLL for (int r = 0; r < 4; r++) dot[t][r] = vdupq_n_s32(has_min ? 128 * q_sum : 0);
        }
        add_columns(dot, w, c, n_tok, group, zero);
        const int64_t at = c / group * 16;
        HTH_UNROLL for (int r = 0; r < 4; r++) {
            float32x4_t scale = vld1q_f32(w->w->scale + at + 4 * r), min = vdupq_n_f32(0);
            if (has_min) min = vld1q_f32(w->w->min + at + 4 * r);
            HTH_UNROLL for (int t = 0; t < n_tok; t++) {
                float32x4_t f = vcvtq_f32_s32(dot[t][r]);
                total[t][r] = vfmaq_f32(total[t][r], f, vmulq_n_f32(scale, d[t]));
                if (has_min) total[t][r] = vfmaq_n_f32(total[t][r], min, dsum[t]);
            }
        }
    }
    store_rows(w, total, n_tok);
}

// The same for wide panels: groups of 32 whose sums meet the weights' scale once in 256 columns.
static HTH_ALWAYS_INLINE void multiply_wide(const tile *w, const int n_tok) {
    float32x4_t total[TOKENS][4];
    HTH_UNROLL for (int t = 0; t < n_tok; t++)
        HTH_UNROLL for (int r = 0; r < 4; r++) total[t][r] = vdupq_n_f32(0);
    for (int64_t g = 0; g < w->n_col; g += HTH_Q8_WIDE) {
        float32x4_t part[TOKENS][4];
        HTH_UNROLL for (int t = 0; t < n_tok; t++)
            HTH_UNROLL for (int r = 0; r < 4; r++) part[t][r] = vdupq_n_f32(0);
        const int64_t end = w->n_col - g < HTH_Q8_WIDE ? w->n_col : g + HTH_Q8_WIDE;
        for (int64_t c = g; c < end; c += 32) {
            int32x4_t dot[TOKENS][4];
            HTH_UNROLL for (int t = 0; t < n_tok; t++) {
                const int32_t *s = w->sum + t * 2 * w->d_stride + c / 16;
                HTH_UNROLL for (int r = 0; r < 4; r++) dot[t][r] = vdupq_n_s32(128 * (s[0] + s[1]));
            }
            add_columns(dot, w, c, n_tok, 32, vdupq_n_s8((int8_t)128));
            HTH_UNROLL for (int t = 0; t < n_tok; t++)
                HTH_UNROLL for (int r = 0; r < 4; r++)
                    part[t][r] = vfmaq_n_f32(part[t][r], vcvtq_f32_s32(dot[t][r]), w->d[t * w->d_stride + c / 32]);
        }
        HTH_UNROLL for (int r = 0; r < 4; r++) {
            const int64_t at = g / HTH_Q8_WIDE * 16 + 4 * r;
            HTH_UNROLL for (int t = 0; t < n_tok; t++) {
                total[t][r] = vfmaq_f32(total[t][r], part[t][r], vld1q_f32(w->w->scale + at));
                total[t][r] = vfmaq_n_f32(total[t][r], vld1q_f32(w->w->min + at), w->wide_sum[t * w->wide_stride + g / HTH_Q8_WIDE]);
            }
        }
    }
    store_rows(w, total, n_tok);
}

// group: 16, 32 or 256.
static HTH_ALWAYS_INLINE void gemm_of(const hth_panel *p, const int group, const bool has_min, int zero, int64_t n_row,
                                      int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y, int64_t y_stride) {
    tile w = {.w = p, .n_row = n_row, .n_col = n_col, .zero = zero, .q_stride = x->q_stride, .d_stride = x->d_stride,
              .wide_stride = x->wide_stride, .y_stride = y_stride};
    for (int64_t t = 0; t < n_tok;) {
        w.q = x->q + t * x->q_stride;
        w.d = x->d + t * x->d_stride;
        w.sum = x->sum + t * 2 * x->d_stride;
        if (group == HTH_Q8_WIDE) w.wide_sum = x->wide_sum + t * x->wide_stride;
        w.y = y + t * y_stride;
        const bool many = n_tok - t >= TOKENS;
        if (group == HTH_Q8_WIDE && many) multiply_wide(&w, TOKENS);
        else if (group == HTH_Q8_WIDE) multiply_wide(&w, 1);
        else if (many) multiply(&w, TOKENS, group, has_min);
        else multiply(&w, 1, group, has_min);
        t += many ? TOKENS : 1;
    }
}

static void gemm_dotprod(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x,
                         int64_t n_tok, float *y, int64_t y_stride) {
    for (int64_t r = 0; r < n_row; r += HTH_PANEL_ROWS, w++, y += HTH_PANEL_ROWS) {
        const int64_t n = n_row - r < HTH_PANEL_ROWS ? n_row - r : HTH_PANEL_ROWS;
        if (type.group == HTH_Q8_WIDE) gemm_of(w, HTH_Q8_WIDE, true, 0, n, n_col, x, n_tok, y, y_stride);
        else if (type.group == 32 && type.has_min) gemm_of(w, 32, true, 0, n, n_col, x, n_tok, y, y_stride);
        else if (type.group == 32) gemm_of(w, 32, false, type.zero, n, n_col, x, n_tok, y, y_stride);
        else if (type.has_min) gemm_of(w, 16, true, 0, n, n_col, x, n_tok, y, y_stride);
        else gemm_of(w, 16, false, type.zero, n, n_col, x, n_tok, y, y_stride);
    }
}
#endif

void hth_q8_gemm_neon(hth_q8_kernels *k) {
#if defined(__aarch64__)
    k->gemm = gemm_dotprod;
#else
    (void)k;
#endif
}
