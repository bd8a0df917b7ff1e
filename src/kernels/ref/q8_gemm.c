// Reference of integer products: quantization of activations, conversion to panels, the product. Other levels
// give the same bits.
#include <math.h>
#include <string.h>

#include "base/fp.h"
#include "kernels/levels.h"

// A block with a NaN or an infinity gets a scale of NaN, so that every output it takes part in is NaN. A scale
// below the normal numbers is taken as 0: it would have too few bits for q to stay within 127.
static void quantize_block(const float *x, int8_t *q, float *d, int32_t sum[2]) {
    uint32_t largest = 0; // as bits: NaN above infinity above numbers
    for (int i = 0; i < HTH_Q8_BLOCK; i++) {
        uint32_t bits = hth_f32_bits(x[i]) & 0x7fffffff;
        if (bits > largest) largest = bits;
    }
    *d = largest < 0x7f800000 ? hth_f32_from_bits(largest) / 127.0f : hth_f32_from_bits(0x7fc00000);
    if (*d < 0x1p-126f) *d = 0;
    sum[0] = sum[1] = 0;
    for (int i = 0; i < HTH_Q8_BLOCK; i++) {
        q[i] = *d > 0 ? (int8_t)((x[i] / *d + 0x1.8p23f) - 0x1.8p23f) : 0; // rounds to nearest even
        sum[i / 16] += q[i];
    }
}

static void quantize_ref(const float *x, int64_t n, int8_t *q, float *d, int32_t *sum) {
    for (int64_t i = 0; i < n; i += HTH_Q8_BLOCK)
        quantize_block(x + i, q + i, d + i / HTH_Q8_BLOCK, sum + i / HTH_Q8_BLOCK * 2);
    if (n % 64) memset(q + n, 0, HTH_Q8_BLOCK);
}

static void convert(uint32_t t, const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const hth_panel *out) {
    const hth_type_info *info = hth_type_get(t);
    const hth_q8_type type = hth_q8_type_of(t);
    hth_q8_codes_fn codes = hth_q8_codes(t);
    for (int64_t c = 0; c < n_col; c += info->block_len) {
        for (int r = 0; r < HTH_PANEL_ROWS; r++) {
            uint8_t code[256] = {0};
            float d[16] = {0}, m[16] = {0};
            if (r < n_row) codes(w + r * row_bytes + c / info->block_len * info->block_bytes, code, d, m);
            for (int64_t i = 0; i < info->block_len; i++) out->code[(c + i) / 4 * 64 + r * 4 + i % 4] = code[i];
            for (int64_t i = 0; i < info->block_len / type.group; i++) {
                int64_t at = (c / type.group + i) * HTH_PANEL_ROWS + r;
                out->scale[at] = d[i];
                if (type.has_min) out->min[at] = m[i];
            }
        }
    }
}

static void gemm_ref(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                     float *y, int64_t y_stride) {
    const int g = type.group;
    for (int64_t t = 0; t < n_tok; t++) {
        const int8_t *q = x->q + t * x->q_stride;
        const float *d = x->d + t * x->d_stride;
        const int32_t *sum = x->sum + t * 2 * x->d_stride;
        for (int64_t r = 0; r < n_row; r++) {
            float total = 0;
            for (int64_t c = 0; c < n_col; c += g) {
                int32_t dot = 0;
                for (int i = 0; i < g; i++)
                    dot += (w->code[(c + i) / 4 * 64 + r * 4 + i % 4] - type.zero) * q[c + i];
                int64_t at = c / g * HTH_PANEL_ROWS + r;
                total = fmaf((float)dot, w->scale[at] * d[c / HTH_Q8_BLOCK], total);
                int32_t q_sum = sum[c / 16] + (g == 32 ? sum[c / 16 + 1] : 0);
                if (type.has_min) total = fmaf(w->min[at], d[c / HTH_Q8_BLOCK] * (float)q_sum, total);
            }
            y[t * y_stride + r] = total;
        }
    }
}

#define FOR_EACH_TYPE(X)                                                                                             \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) X(IQ4_XS) X(IQ2_XXS)   \
    X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) X(IQ1_S) X(IQ1_M) X(TQ1_0) X(TQ2_0) X(MXFP4) X(NVFP4) X(Q1_0) X(Q2_0)

#define DEFINE_PANEL(T)                                                                                              \
    static void panel_##T##_ref(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col,                   \
                                const hth_panel *out) {                                                              \
        convert(HTH_TYPE_##T, w, row_bytes, n_row, n_col, out);                                                      \
    }
FOR_EACH_TYPE(DEFINE_PANEL)
#undef DEFINE_PANEL

void hth_ref_q8_gemm(hth_q8_kernels *k) {
    k->quantize = quantize_ref;
    k->gemm = gemm_ref;
#define SET_PANEL(T) k->panel[HTH_TYPE_##T] = panel_##T##_ref;
    FOR_EACH_TYPE(SET_PANEL)
#undef SET_PANEL
}
