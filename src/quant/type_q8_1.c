// q8_1: q8_0 with the sum of the block, an activation format: dot products with types that have a
// minimum need it. value = d * code; s = f16(sum of codes * d), with d before it is rounded to f16.
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_q8_1 {
    uint8_t d[2], s[2]; // f16 step and sum
    int8_t qs[LEN];
} block_q8_1;
static_assert(sizeof(block_q8_1) == 36, "q8_1 block");

void hth_dequantize_q8_1(const void *src, float *dst, int64_t n) {
    const block_q8_1 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int j = 0; j < LEN; j++) dst[j] = (float)b->qs[j] * d;
    }
}

void hth_quantize_q8_1(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_q8_1 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float extreme = 0;
        for (int j = 0; j < LEN; j++) extreme = fmaxf(extreme, fabsf(src[j]));
        float d = extreme / 127, inv = inverse_or_zero(d);
        int sum = 0;
        for (int j = 0; j < LEN; j++) {
            b->qs[j] = (int8_t)clamp_int(roundf(src[j] * inv), -127, 127);
            sum += b->qs[j];
        }
        store_f16(b->d, d);
        store_f16(b->s, (float)sum * d);
    }
}
