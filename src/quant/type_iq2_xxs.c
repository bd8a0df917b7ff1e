// iq2_xxs: 256 numbers in 8 groups of 32; eight numbers are one of 256 codebook entries with signs.
//
//   qs  eight bytes per group: four entry indices, then 32 bits: 7 sign bits for each of the four
//       entries, and the group's scale s in the top four bits
//   value = d * (s + 1/2) / 4 * level * sign
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq2_xxs {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 4];
} block_iq2_xxs;
static_assert(sizeof(block_iq2_xxs) == 66, "iq2_xxs block");

void hth_dequantize_iq2_xxs(const void *src, float *dst, int64_t n) {
    const block_iq2_xxs *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float d = load_f16(b->d);
        for (int g = 0; g < 8; g++) {
            const uint8_t *index = b->qs + 8 * g;
            uint32_t rest = hth_load_u32(index + 4);
            float step = d * (0.5f + (float)(rest >> 28)) * 0.25f;
            for (int e = 0; e < 4; e++, dst += 8) {
                uint16_t entry = hth_grid_iq2_xxs[index[e]];
                uint8_t signs = grid_even_signs(rest >> (7 * e));
                for (int j = 0; j < 8; j++)
                    dst[j] = step * (float)grid_level_iq2(entry, j) * grid_sign(signs, j);
            }
        }
    }
}
