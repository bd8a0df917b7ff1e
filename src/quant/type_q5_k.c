// q5_K: q4_K with a fifth bit per code: bit g of qh[j] is that of number j of group g.
#include <string.h>

#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_q5_k {
    uint8_t d[2], dmin[2]; // f16
    uint8_t scales[12];    // see unpack_scales_k4
    uint8_t qh[LEN / 8];
    uint8_t qs[LEN / 2];
} block_q5_k;
static_assert(sizeof(block_q5_k) == 176, "q5_K block");

void hth_dequantize_q5_k(const void *src, float *dst, int64_t n) {
    const block_q5_k *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d), dmin = load_f16(b->dmin);
        uint8_t scale[8], min[8];
        unpack_scales_k4(b->scales, scale, min);
        for (int g = 0; g < 8; g++) {
            float step = d * (float)scale[g], m = dmin * (float)min[g];
            const uint8_t *qs = b->qs + g / 2 * 32;
            int shift = g % 2 * 4;
            for (int j = 0; j < 32; j++) {
                int code = (qs[j] >> shift & 15) | (b->qh[j] >> g & 1) << 4;
                dst[32 * g + j] = step * (float)code - m;
            }
        }
    }
}

void hth_quantize_q5_k(const float *src, void *dst, int64_t n, const float *importance) {
    block_q5_k *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        hth_fit_super_affine fit;
        hth_fit_affine_super(src, importance ? importance + i * LEN : NULL, 32, 31, 63, &fit);
        memset(b, 0, sizeof *b);
        store_f16(b->d, fit.d);
        store_f16(b->dmin, fit.dmin);
        pack_scales_k4(b->scales, fit.scale, fit.min);
        for (int k = 0; k < LEN; k++) {
            int g = k / 32, j = k % 32;
            b->qs[g / 2 * 32 + j] |= (uint8_t)((fit.code[k] & 15) << (g % 2 * 4));
            b->qh[j] |= (uint8_t)(fit.code[k] >> 4 << g);
        }
    }
}
