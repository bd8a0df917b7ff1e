// q4_0: 32 numbers, one f16 step, codes 0..15 stand for -8..7.
//
//   | d | 16 bytes: byte j holds number j (low nibble) and number j + 16 (high nibble) |
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_q4_0 {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 2];
} block_q4_0;
static_assert(sizeof(block_q4_0) == 18, "q4_0 block");

void hth_dequantize_q4_0(const void *src, float *dst, int64_t n) {
    const block_q4_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int j = 0; j < LEN / 2; j++) {
            dst[j] = (float)((b->qs[j] & 15) - 8) * d;
            dst[j + LEN / 2] = (float)((b->qs[j] >> 4) - 8) * d;
        }
    }
}

static void quantize_weighed(const float *src, block_q4_0 *b, const float *importance) {
    const hth_fit_levels levels = hth_fit_whole(-8, 7);
    float level[LEN];
    store_f16(b->d, hth_fit_block_signed(src, importance, LEN, &levels, level));
    for (int j = 0; j < LEN / 2; j++) b->qs[j] = (uint8_t)((int)(level[j] + 8) | (int)(level[j + LEN / 2] + 8) << 4);
}

// Without importance the number of largest magnitude gets code -8, which uses the whole asymmetric range.
void hth_quantize_q4_0(const float *src, void *dst, int64_t n, const float *importance) {
    block_q4_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        if (importance) {
            quantize_weighed(src, b, importance + i * LEN);
            continue;
        }
        float extreme = 0;
        for (int j = 0; j < LEN; j++)
            if (fabsf(src[j]) > fabsf(extreme)) extreme = src[j];
        float d = extreme / -8, inv = inverse_or_zero(d);
        store_f16(b->d, d);
        for (int j = 0; j < LEN / 2; j++) {
            int lo = clamp_int(src[j] * inv + 8.5f, 0, 15);
            int hi = clamp_int(src[j + LEN / 2] * inv + 8.5f, 0, 15);
            b->qs[j] = (uint8_t)(lo | hi << 4);
        }
    }
}
