// iq4_xs: 256 numbers in 8 groups of 32, value = d * (scale - 32) * level, levels those of iq4_nl.
//
//   scales_l  low nibbles of the six-bit scales, group 2k low and 2k + 1 high in byte k
//   scales_h  top two bits of group g at bit 2g
//   qs        16 bytes per group, nibbles as in q4_0
#include <string.h>

#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq4_xs {
    uint8_t d[2];        // f16
    uint8_t scales_h[2]; // 16 bits
    uint8_t scales_l[LEN / 64];
    uint8_t qs[LEN / 2];
} block_iq4_xs;
static_assert(sizeof(block_iq4_xs) == 136, "iq4_xs block");

void hth_dequantize_iq4_xs(const void *src, float *dst, int64_t n) {
    const block_iq4_xs *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        int high = hth_load_u16(b->scales_h);
        for (int g = 0; g < 8; g++) {
            int scale = (b->scales_l[g / 2] >> (g % 2 * 4) & 15) | (high >> (2 * g) & 3) << 4;
            float step = d * (float)(scale - 32);
            const uint8_t *qs = b->qs + 16 * g;
            for (int j = 0; j < 16; j++) {
                dst[32 * g + j] = step * (float)hth_iq4_values[qs[j] & 15];
                dst[32 * g + j + 16] = step * (float)hth_iq4_values[qs[j] >> 4];
            }
        }
    }
}

void hth_quantize_iq4_xs(const float *src, void *dst, int64_t n, const float *importance) {
    block_iq4_xs *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        hth_fit_super_signed fit;
        hth_fit_signed_super(src, importance ? importance + i * LEN : NULL, 32, hth_fit_iq4(), -32, 31, &fit);
        memset(b, 0, sizeof *b);
        store_f16(b->d, fit.d);
        int high = 0;
        for (int g = 0; g < 8; g++) {
            int scale = fit.scale[g] + 32;
            b->scales_l[g / 2] |= (uint8_t)((scale & 15) << (g % 2 * 4));
            high |= scale >> 4 << (2 * g);
            for (int j = 0; j < 16; j++) {
                int lo = hth_iq4_index(fit.level[32 * g + j]), hi = hth_iq4_index(fit.level[32 * g + j + 16]);
                b->qs[16 * g + j] = (uint8_t)(lo | hi << 4);
            }
        }
        hth_store_u16(b->scales_h, (uint16_t)high);
    }
}
