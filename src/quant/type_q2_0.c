// q2_0: 64 numbers, one f16 step, two bits each: codes 0..3 stand for -1, 0, 1, 2.
#include <string.h>

#include "quant/type_impl.h"

enum { LEN = 64 };

typedef struct block_q2_0 {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 4];
} block_q2_0;
static_assert(sizeof(block_q2_0) == 18, "q2_0 block");

void hth_dequantize_q2_0(const void *src, float *dst, int64_t n) {
    const block_q2_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int j = 0; j < LEN; j++) dst[j] = (float)((b->qs[j / 4] >> (2 * (j % 4)) & 3) - 1) * d;
    }
}

// The step is the largest magnitude: made for ternary weights, so code 3 is never written.
void hth_quantize_q2_0(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_q2_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float d = 0;
        for (int j = 0; j < LEN; j++) d = fmaxf(d, fabsf(src[j]));
        float inv = inverse_or_zero(d);
        store_f16(b->d, d);
        memset(b->qs, 0, sizeof b->qs);
        for (int j = 0; j < LEN; j++)
            b->qs[j / 4] |= (uint8_t)(clamp_int(roundf(src[j] * inv) + 1, 0, 3) << (2 * (j % 4)));
    }
}
