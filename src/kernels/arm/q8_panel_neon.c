// Panels with what every arm64 CPU has: rows of codes by the reference, which compilers turn into vector code well
// enough, then four columns of sixteen rows at a time; and quantization of activations.
#include "kernels/levels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "base/fp.h"

enum { STEP = 256 }; // columns between transpositions

// Four rows of four 32-bit numbers become columns, 64 bytes apart.
static HTH_ALWAYS_INLINE void transpose(const uint8_t *src, int64_t stride, uint8_t *dst) {
    uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(src)), b = vreinterpretq_u32_u8(vld1q_u8(src + stride));
    uint32x4_t c = vreinterpretq_u32_u8(vld1q_u8(src + 2 * stride)), d = vreinterpretq_u32_u8(vld1q_u8(src + 3 * stride));
    uint64x2_t ab0 = vreinterpretq_u64_u32(vtrn1q_u32(a, b)), ab1 = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
    uint64x2_t cd0 = vreinterpretq_u64_u32(vtrn1q_u32(c, d)), cd1 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    vst1q_u8(dst, vreinterpretq_u8_u64(vtrn1q_u64(ab0, cd0)));
    vst1q_u8(dst + 64, vreinterpretq_u8_u64(vtrn1q_u64(ab1, cd1)));
    vst1q_u8(dst + 128, vreinterpretq_u8_u64(vtrn2q_u64(ab0, cd0)));
    vst1q_u8(dst + 192, vreinterpretq_u8_u64(vtrn2q_u64(ab1, cd1)));
}

static void convert(uint32_t layout, const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out) {
    const int64_t group = hth_q8_type_of(layout).group;
    const bool has_min = hth_q8_type_of(layout).has_min;
    uint8_t code[HTH_PANEL_ROWS][STEP] __attribute__((aligned(64)));
    float d[HTH_PANEL_ROWS][16], m[HTH_PANEL_ROWS][16];
    memset(code, 0, sizeof code);
    memset(d, 0, sizeof d);
    memset(m, 0, sizeof m);
    for (int64_t c = 0; c < n_col; c += STEP) {
        const int64_t n = n_col - c < STEP ? n_col - c : STEP;
        for (int64_t r = 0; r < n_row; r++) hth_q8_read(layout, w, r, c, n, code[r], d[r], m[r]);
        for (int64_t i = 0; i < n; i += 16)
            for (int r = 0; r < HTH_PANEL_ROWS; r += 4) transpose(code[r] + i, STEP, out->code + (c + i) * 16 + 4 * r);
        for (int64_t g = 0; g < n / group; g++)
            for (int r = 0; r < HTH_PANEL_ROWS; r++) {
                out->scale[(c / group + g) * 16 + r] = d[r][g];
                if (has_min) out->min[(c / group + g) * 16 + r] = m[r][g];
            }
    }
}

#define DEFINE_PANEL(T, layout)                                                                                  \
    static void panel_##T##_neon(const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out) {     \
        convert(layout, w, n_row, n_col, out);                                                                   \
    }
HTH_Q8_FOR_LAYOUTS(DEFINE_PANEL)
#undef DEFINE_PANEL

static void quantize_neon(const float *x, int64_t n, int8_t *q, float *d, int32_t *sum) {
    for (int64_t i = 0; i < n; i += 32, x += 32, q += 32, d++, sum += 2) {
        float32x4_t v[8];
        uint32x4_t a = vdupq_n_u32(0);
        HTH_UNROLL for (int j = 0; j < 8; j++) {
            v[j] = vld1q_f32(x + 4 * j);
            a = vmaxq_u32(a, vreinterpretq_u32_f32(vabsq_f32(v[j])));
        }
        uint32_t largest = vmaxvq_u32(a); // as bits: NaN above infinity above numbers
        float step = largest < 0x7f800000 ? hth_f32_from_bits(largest) / 127.0f : hth_f32_from_bits(0x7fc00000);
        if (step < 0x1p-126f) step = 0;
        *d = step;
        HTH_UNROLL for (int h = 0; h < 2; h++) {
            int32x4_t w[4];
            HTH_UNROLL for (int j = 0; j < 4; j++) w[j] = vcvtnq_s32_f32(vdivq_f32(v[4 * h + j], vdupq_n_f32(step)));
            int8x8_t low = vmovn_s16(vcombine_s16(vmovn_s32(w[0]), vmovn_s32(w[1])));
            int8x8_t high = vmovn_s16(vcombine_s16(vmovn_s32(w[2]), vmovn_s32(w[3])));
            int8x16_t packed = step > 0 ? vcombine_s8(low, high) : vdupq_n_s8(0);
            vst1q_s8(q + 16 * h, packed);
            sum[h] = vaddlvq_s8(packed);
        }
    }
    if (n % 64) memset(q, 0, HTH_Q8_BLOCK);
}

static void quantize_prompt_neon(const float *x, int64_t n, const hth_q8 *out, int64_t row) {
    const float *d = out->d + row * out->d_stride;
    const int32_t *sum = out->sum + row * 2 * out->d_stride;
    float *wide_sum = out->wide_sum + row * out->wide_stride;
    quantize_neon(x, n, out->q + row * out->q_stride, out->d + row * out->d_stride, out->sum + row * 2 * out->d_stride);
    for (int64_t i = 0; i < n; i += HTH_Q8_WIDE) {
        float s = 0;
        for (int64_t j = i; j < n && j < i + HTH_Q8_WIDE; j += HTH_Q8_BLOCK, d++, sum += 2) s += *d * (float)(sum[0] + sum[1]);
        *wide_sum++ = s;
    }
}
#endif

void hth_q8_panel_neon(hth_q8_kernels *k) {
#if defined(__aarch64__)
    k->quantize = quantize_neon;
    k->quantize_prompt = quantize_prompt_neon;
#define SET_PANEL(T, layout) k->panel[layout] = panel_##T##_neon;
    HTH_Q8_FOR_LAYOUTS(SET_PANEL)
#undef SET_PANEL
#else
    (void)k;
#endif
}
