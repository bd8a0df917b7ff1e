// q4_K: 256 numbers in 8 groups of 32, value = d * scale * code - dmin * min, codes 0..15, scales and
// minima of six bits. Groups 2k and 2k + 1 share 32 bytes: low nibbles the first, high the second.
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_q4_k {
    uint8_t d[2], dmin[2]; // f16
    uint8_t scales[12];    // see unpack_scales_k4
    uint8_t qs[LEN / 2];
} block_q4_k;
static_assert(sizeof(block_q4_k) == 144, "q4_K block");

void hth_dequantize_q4_k(const void *src, float *dst, int64_t n) {
    const block_q4_k *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d), dmin = load_f16(b->dmin);
        uint8_t scale[8], min[8];
        unpack_scales_k4(b->scales, scale, min);
        for (int g = 0; g < 8; g++) {
            float step = d * (float)scale[g], m = dmin * (float)min[g];
            const uint8_t *qs = b->qs + g / 2 * 32;
            int shift = g % 2 * 4;
            for (int j = 0; j < 32; j++) dst[32 * g + j] = step * (float)(qs[j] >> shift & 15) - m;
        }
    }
}

void hth_quantize_q4_k(const float *src, void *dst, int64_t n, const float *importance) {
    block_q4_k *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        hth_fit_super_affine fit;
        hth_fit_affine_super(src, importance ? importance + i * LEN : NULL, 32, 15, 63, &fit);
        store_f16(b->d, fit.d);
        store_f16(b->dmin, fit.dmin);
        pack_scales_k4(b->scales, fit.scale, fit.min);
        for (int m = 0; m < LEN / 2; m++) {
            const uint8_t *c = fit.code + m / 32 * 64 + m % 32;
            b->qs[m] = (uint8_t)(c[0] | c[32] << 4);
        }
    }
}
