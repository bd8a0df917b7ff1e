// q8_0: 32 numbers, one f16 step, signed byte codes.
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_q8_0 {
    uint8_t d[2]; // f16
    int8_t qs[LEN];
} block_q8_0;
static_assert(sizeof(block_q8_0) == 34, "q8_0 block");

void hth_dequantize_q8_0(const void *src, float *dst, int64_t n) {
    const block_q8_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int j = 0; j < LEN; j++) dst[j] = (float)b->qs[j] * d;
    }
}

void hth_quantize_q8_0(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_q8_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float extreme = 0;
        for (int j = 0; j < LEN; j++) extreme = fmaxf(extreme, fabsf(src[j]));
        float d = extreme / 127, inv = inverse_or_zero(d);
        store_f16(b->d, d);
        for (int j = 0; j < LEN; j++) b->qs[j] = (int8_t)clamp_int(roundf(src[j] * inv), -127, 127);
    }
}
