// iq1_s: 256 numbers in 8 groups of 32; eight numbers are one of 2048 codebook entries, and a whole
// group is shifted by plus or minus 1/8.
//
//   qs  low eight bits of the entry's index
//   qh  one 16-bit word per group: 4 x 3 top bits of indices, scale s (3 bits), sign of the shift
//   value = d * (2 s + 1) * (level + shift)
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq1_s {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 8];
    uint8_t qh[LEN / 32][2];
} block_iq1_s;
static_assert(sizeof(block_iq1_s) == 50, "iq1_s block");

void hth_dequantize_iq1_s(const void *src, float *dst, int64_t n) {
    const block_iq1_s *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float d = load_f16(b->d);
        for (int e = 0; e < LEN / 8; e++, dst += 8) {
            int word = hth_load_u16(b->qh[e / 4]);
            float step = d * (float)(2 * (word >> 12 & 7) + 1), shift = word & 0x8000 ? -0.125f : 0.125f;
            uint16_t entry = hth_grid_iq1[b->qs[e] | (word >> (e % 4 * 3) & 7) << 8];
            for (int j = 0; j < 8; j++) dst[j] = step * ((float)grid_level_iq1(entry, j) + shift);
        }
    }
}
