// iq3_s: 256 numbers in 8 groups of 32; four numbers are one of 512 codebook entries with signs.
//
//   qs, qh  low eight bits of the entry's index, and the ninth: bit e % 8 of byte e / 8
//   signs   one bit per number
//   scales  groups 2k (low nibble) and 2k + 1 (high)
//   value = d * (2 s + 1) * level * sign
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq3_s {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 4];
    uint8_t qh[LEN / 32];
    uint8_t signs[LEN / 8];
    uint8_t scales[LEN / 64];
} block_iq3_s;
static_assert(sizeof(block_iq3_s) == 110, "iq3_s block");

void hth_dequantize_iq3_s(const void *src, float *dst, int64_t n) {
    const block_iq3_s *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float d = load_f16(b->d);
        for (int e = 0; e < LEN / 4; e++, dst += 4) {
            int g = e / 8, scale = b->scales[g / 2] >> (g % 2 * 4) & 15;
            float step = d * (float)(2 * scale + 1);
            uint16_t entry = hth_grid_iq3_s[b->qs[e] | (b->qh[g] >> (e % 8) & 1) << 8];
            uint8_t signs = b->signs[e / 2] >> (e % 2 * 4);
            for (int j = 0; j < 4; j++)
                dst[j] = step * (float)grid_level_iq3_s(entry, j) * grid_sign(signs, j);
        }
    }
}
