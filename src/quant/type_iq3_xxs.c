// iq3_xxs: 256 numbers in 8 groups of 32; four numbers are one of 256 codebook entries, eight share
// seven sign bits.
//
//   qs    entry indices, eight per group
//   rest  32 bits per group: 4 x 7 sign bits, and the scale s in the top four
//   value = d * (s + 1/2) / 2 * level * sign
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq3_xxs {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 4];
    uint8_t rest[LEN / 32][4];
} block_iq3_xxs;
static_assert(sizeof(block_iq3_xxs) == 98, "iq3_xxs block");

void hth_dequantize_iq3_xxs(const void *src, float *dst, int64_t n) {
    const block_iq3_xxs *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float d = load_f16(b->d);
        for (int e = 0; e < LEN / 8; e++, dst += 8) {
            uint32_t rest = hth_load_u32(b->rest[e / 4]);
            float step = d * (0.5f + (float)(rest >> 28)) * 0.5f;
            uint16_t first = hth_grid_iq3_xxs[b->qs[2 * e]], second = hth_grid_iq3_xxs[b->qs[2 * e + 1]];
            uint8_t signs = grid_even_signs(rest >> (e % 4 * 7));
            for (int j = 0; j < 4; j++) {
                dst[j] = step * (float)grid_level_iq3_xxs(first, j) * grid_sign(signs, j);
                dst[j + 4] = step * (float)grid_level_iq3_xxs(second, j) * grid_sign(signs, j + 4);
            }
        }
    }
}
