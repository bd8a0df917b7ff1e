// iq2_xs: 256 numbers in 16 groups of 16; eight numbers are one of 512 codebook entries with signs.
//
//   qs      one 16-bit word per entry: 9 bits of index, 7 of signs
//   scales  groups 2k (low nibble) and 2k + 1 (high)
//   value = d * (s + 1/2) / 4 * level * sign
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq2_xs {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 8][2];
    uint8_t scales[LEN / 32];
} block_iq2_xs;
static_assert(sizeof(block_iq2_xs) == 74, "iq2_xs block");

void hth_dequantize_iq2_xs(const void *src, float *dst, int64_t n) {
    const block_iq2_xs *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float d = load_f16(b->d);
        for (int e = 0; e < LEN / 8; e++, dst += 8) {
            int g = e / 2, word = hth_load_u16(b->qs[e]);
            float step = d * (0.5f + (float)(b->scales[g / 2] >> (g % 2 * 4) & 15)) * 0.25f;
            uint16_t entry = hth_grid_iq2_xs[word & 511];
            uint8_t signs = grid_even_signs((uint32_t)word >> 9);
            for (int j = 0; j < 8; j++)
                dst[j] = step * (float)grid_level_iq2(entry, j) * grid_sign(signs, j);
        }
    }
}
