// q6_K: 256 numbers in 16 groups of 16, value = d * scale * (code - 32), codes 0..63, scales signed
// bytes. In each half of 128 numbers, quarter q (32 numbers, number j of it):
//
//   low nibble    byte (q % 2) * 32 + j of the half's 64 bytes of ql, nibble q / 2
//   top two bits  bits 2q of byte j of the half's 32 bytes of qh
#include <string.h>

#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_q6_k {
    uint8_t ql[LEN / 2];
    uint8_t qh[LEN / 4];
    int8_t scales[LEN / 16];
    uint8_t d[2]; // f16
} block_q6_k;
static_assert(sizeof(block_q6_k) == 210, "q6_K block");

void hth_dequantize_q6_k(const void *src, float *dst, int64_t n) {
    const block_q6_k *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int g = 0; g < 16; g++) {
            float step = d * (float)b->scales[g];
            int half = g / 8, quarter = g % 8 / 2, first = g % 2 * 16;
            const uint8_t *ql = b->ql + half * 64 + quarter % 2 * 32 + first, *qh = b->qh + half * 32 + first;
            int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
            for (int j = 0; j < 16; j++) {
                int code = (ql[j] >> low_shift & 15) | (qh[j] >> high_shift & 3) << 4;
                dst[16 * g + j] = step * (float)(code - 32);
            }
        }
    }
}

void hth_quantize_q6_k(const float *src, void *dst, int64_t n, const float *importance) {
    block_q6_k *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        hth_fit_super_signed fit;
        const float *imp = importance ? importance + i * LEN : NULL;
        hth_fit_signed_super(src, imp, 16, hth_fit_whole(-32, 31), -128, 127, &fit);
        memset(b, 0, sizeof *b);
        store_f16(b->d, fit.d);
        memcpy(b->scales, fit.scale, sizeof b->scales);
        for (int k = 0; k < LEN; k++) {
            int code = fit.level[k] + 32, half = k / 128, quarter = k % 128 / 32, j = k % 32;
            b->ql[half * 64 + quarter % 2 * 32 + j] |= (uint8_t)((code & 15) << (quarter / 2 * 4));
            b->qh[half * 32 + j] |= (uint8_t)(code >> 4 << (quarter * 2));
        }
    }
}
