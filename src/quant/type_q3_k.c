// q3_K: 256 numbers in 16 groups of 16, value = d * (scale - 32) * (code - 4), codes 0..7.
//
//   qs      the two low bits of codes, laid as in q2_K
//   hmask   the third bit: bit g / 2 of byte (g % 2) * 16 + j is that of number j of group g
//   scales  six bits each: low nibbles of groups 0-7 and 8-15 pair up in bytes 0-7; the top two bits of
//           groups k, k + 4, k + 8, k + 12 fill byte 8 + k
#include <string.h>

#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_q3_k {
    uint8_t hmask[LEN / 8];
    uint8_t qs[LEN / 4];
    uint8_t scales[12];
    uint8_t d[2]; // f16
} block_q3_k;
static_assert(sizeof(block_q3_k) == 110, "q3_K block");

void hth_dequantize_q3_k(const void *src, float *dst, int64_t n) {
    const block_q3_k *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int g = 0; g < 16; g++) {
            int low = b->scales[g % 8] >> (g / 8 * 4) & 15, top = b->scales[8 + g % 4] >> (g / 4 * 2) & 3;
            float step = d * (float)((low | top << 4) - 32);
            const uint8_t *qs = b->qs + g / 8 * 32 + g % 2 * 16, *high = b->hmask + g % 2 * 16;
            int shift = g % 8 / 2 * 2, bit = g / 2;
            for (int j = 0; j < 16; j++) {
                int code = (qs[j] >> shift & 3) | (high[j] >> bit & 1) << 2;
                dst[16 * g + j] = step * (float)(code - 4);
            }
        }
    }
}

void hth_quantize_q3_k(const float *src, void *dst, int64_t n, const float *importance) {
    block_q3_k *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        hth_fit_super_signed fit;
        const float *imp = importance ? importance + i * LEN : NULL;
        hth_fit_signed_super(src, imp, 16, hth_fit_whole(-4, 3), -32, 31, &fit);
        memset(b, 0, sizeof *b);
        store_f16(b->d, fit.d);
        for (int g = 0; g < 16; g++) {
            int scale = fit.scale[g] + 32;
            b->scales[g % 8] |= (uint8_t)((scale & 15) << (g / 8 * 4));
            b->scales[8 + g % 4] |= (uint8_t)(scale >> 4 << (g / 4 * 2));
            for (int j = 0; j < 16; j++) {
                int code = fit.level[16 * g + j] + 4;
                b->qs[g / 8 * 32 + g % 2 * 16 + j] |= (uint8_t)((code & 3) << (g % 8 / 2 * 2));
                b->hmask[g % 2 * 16 + j] |= (uint8_t)(code >> 2 << (g / 2));
            }
        }
    }
}
