// iq4_nl: 32 numbers, one f16 step, codes are indices of 16 levels that lie closer around zero
// (hth_iq4_values). Nibbles lie as in q4_0.
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_iq4_nl {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 2];
} block_iq4_nl;
static_assert(sizeof(block_iq4_nl) == 18, "iq4_nl block");

void hth_dequantize_iq4_nl(const void *src, float *dst, int64_t n) {
    const block_iq4_nl *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int j = 0; j < LEN / 2; j++) {
            dst[j] = d * (float)hth_iq4_values[b->qs[j] & 15];
            dst[j + LEN / 2] = d * (float)hth_iq4_values[b->qs[j] >> 4];
        }
    }
}

void hth_quantize_iq4_nl(const float *src, void *dst, int64_t n, const float *importance) {
    block_iq4_nl *b = dst;
    const hth_fit_levels levels = hth_fit_iq4();
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float level[LEN];
        store_f16(b->d, hth_fit_block_signed(src, importance ? importance + i * LEN : NULL, LEN, &levels, level));
        for (int j = 0; j < LEN / 2; j++) {
            int lo = hth_iq4_index((int)level[j]), hi = hth_iq4_index((int)level[j + LEN / 2]);
            b->qs[j] = (uint8_t)(lo | hi << 4);
        }
    }
}
