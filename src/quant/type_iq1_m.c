// iq1_m: 256 numbers in 16 groups of 16; eight numbers are one of 2048 codebook entries, each shifted
// by plus or minus 1/8.
//
//   qs      low eight bits of the entry's index
//   qh      a nibble per entry: top three bits of the index, sign of the shift
//   scales  four 16-bit words: 4 x 3 bits of group scales s, and four bits of the block's f16 step,
//           lowest four in the first word
//   value = d * (2 s + 1) * (level + shift)
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq1_m {
    uint8_t qs[LEN / 8];
    uint8_t qh[LEN / 16];
    uint8_t scales[4][2];
} block_iq1_m;
static_assert(sizeof(block_iq1_m) == 56, "iq1_m block");

void hth_dequantize_iq1_m(const void *src, float *dst, int64_t n) {
    const block_iq1_m *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        int half = 0;
        for (int k = 0; k < 4; k++) half |= hth_load_u16(b->scales[k]) >> 12 << (4 * k);
        float d = hth_f16_to_f32((uint16_t)half);
        for (int e = 0; e < LEN / 8; e++, dst += 8) {
            int g = e / 2, nibble = b->qh[e / 2] >> (e % 2 * 4) & 15;
            int scale = hth_load_u16(b->scales[g / 4]) >> (g % 4 * 3) & 7;
            float step = d * (float)(2 * scale + 1), shift = nibble & 8 ? -0.125f : 0.125f;
            uint16_t entry = hth_grid_iq1[b->qs[e] | (nibble & 7) << 8];
            for (int j = 0; j < 8; j++) dst[j] = step * ((float)grid_level_iq1(entry, j) + shift);
        }
    }
}
