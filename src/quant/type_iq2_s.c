// iq2_s: 256 numbers in 16 groups of 16; eight numbers are one of 1024 codebook entries with signs.
//
//   qs      low eight bits of the entry's index; qh: its top two, four entries per byte
//   signs   eight per entry
//   scales  groups 2k (low nibble) and 2k + 1 (high)
//   value = d * (s + 1/2) / 4 * level * sign
#include "quant/grid.h"
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_iq2_s {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 8];
    uint8_t signs[LEN / 8];
    uint8_t qh[LEN / 32];
    uint8_t scales[LEN / 32];
} block_iq2_s;
static_assert(sizeof(block_iq2_s) == 82, "iq2_s block");

void hth_dequantize_iq2_s(const void *src, float *dst, int64_t n) {
    const block_iq2_s *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float d = load_f16(b->d);
        for (int e = 0; e < LEN / 8; e++, dst += 8) {
            int g = e / 2;
            float step = d * (0.5f + (float)(b->scales[g / 2] >> (g % 2 * 4) & 15)) * 0.25f;
            uint16_t entry = hth_grid_iq2_s[b->qs[e] | (b->qh[e / 4] >> (e % 4 * 2) & 3) << 8];
            uint8_t signs = b->signs[e];
            for (int j = 0; j < 8; j++)
                dst[j] = step * (float)grid_level_iq2(entry, j) * grid_sign(signs, j);
        }
    }
}
