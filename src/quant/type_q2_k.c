// q2_K: 256 numbers in 16 groups of 16, value = d * scale * code - dmin * min, codes 0..3.
//
//   scales  group g: scale in the low nibble, min in the high nibble
//   qs      each half of 128 numbers has 32 bytes; byte m holds numbers m, m + 32, m + 64, m + 96
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_q2_k {
    uint8_t scales[LEN / 16];
    uint8_t qs[LEN / 4];
    uint8_t d[2], dmin[2]; // f16
} block_q2_k;
static_assert(sizeof(block_q2_k) == 84, "q2_K block");

void hth_dequantize_q2_k(const void *src, float *dst, int64_t n) {
    const block_q2_k *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d), dmin = load_f16(b->dmin);
        for (int g = 0; g < 16; g++) {
            float step = d * (float)(b->scales[g] & 15), min = dmin * (float)(b->scales[g] >> 4);
            const uint8_t *qs = b->qs + g / 8 * 32 + g % 2 * 16;
            int shift = g % 8 / 2 * 2;
            for (int j = 0; j < 16; j++) dst[16 * g + j] = step * (float)(qs[j] >> shift & 3) - min;
        }
    }
}

void hth_quantize_q2_k(const float *src, void *dst, int64_t n, const float *importance) {
    block_q2_k *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        hth_fit_super_affine fit;
        hth_fit_affine_super(src, importance ? importance + i * LEN : NULL, 16, 3, 15, &fit);
        store_f16(b->d, fit.d);
        store_f16(b->dmin, fit.dmin);
        for (int g = 0; g < 16; g++) b->scales[g] = (uint8_t)(fit.scale[g] | fit.min[g] << 4);
        for (int m = 0; m < LEN / 4; m++) {
            const uint8_t *c = fit.code + m / 32 * 128 + m % 32;
            b->qs[m] = (uint8_t)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
        }
    }
}
