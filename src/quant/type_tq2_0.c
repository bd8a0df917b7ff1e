// tq2_0: 256 ternary numbers, one f16 step, two bits each: codes 0, 1, 2 stand for -1, 0, 1 (3 reads
// as 2). In each half of 128, byte m holds numbers m, m + 32, m + 64, m + 96 from the low bits up.
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_tq2_0 {
    uint8_t qs[LEN / 4];
    uint8_t d[2]; // f16
} block_tq2_0;
static_assert(sizeof(block_tq2_0) == 66, "tq2_0 block");

void hth_dequantize_tq2_0(const void *src, float *dst, int64_t n) {
    const block_tq2_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int g = 0; g < LEN / 32; g++) {
            const uint8_t *qs = b->qs + g / 4 * 32;
            for (int m = 0; m < 32; m++) dst[32 * g + m] = (float)((qs[m] >> (2 * (g % 4)) & 3) - 1) * d;
        }
    }
}

void hth_quantize_tq2_0(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_tq2_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float d = 0;
        for (int j = 0; j < LEN; j++) d = fmaxf(d, fabsf(src[j]));
        float inv = inverse_or_zero(d);
        store_f16(b->d, d);
        for (int m = 0; m < LEN / 4; m++) {
            const float *x = src + m / 32 * 128 + m % 32;
            int q = 0;
            for (int k = 0; k < 4; k++) q |= (clamp_int(roundf(x[32 * k] * inv), -1, 1) + 1) << (2 * k);
            b->qs[m] = (uint8_t)q;
        }
    }
}
