// q4_1: 32 numbers, value = d * code + m with codes 0..15. Nibbles lie as in q4_0.
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_q4_1 {
    uint8_t d[2], m[2]; // f16 step and minimum
    uint8_t qs[LEN / 2];
} block_q4_1;
static_assert(sizeof(block_q4_1) == 20, "q4_1 block");

void hth_dequantize_q4_1(const void *src, float *dst, int64_t n) {
    const block_q4_1 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d), m = load_f16(b->m);
        for (int j = 0; j < LEN / 2; j++) {
            dst[j] = (float)(b->qs[j] & 15) * d + m;
            dst[j + LEN / 2] = (float)(b->qs[j] >> 4) * d + m;
        }
    }
}

static void quantize_weighed(const float *src, block_q4_1 *b, const float *importance) {
    float code[LEN], min;
    store_f16(b->d, hth_fit_block_affine(src, importance, LEN, 15, code, &min));
    store_f16(b->m, min);
    for (int j = 0; j < LEN / 2; j++) b->qs[j] = (uint8_t)((int)code[j] | (int)code[j + LEN / 2] << 4);
}

void hth_quantize_q4_1(const float *src, void *dst, int64_t n, const float *importance) {
    block_q4_1 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        if (importance) {
            quantize_weighed(src, b, importance + i * LEN);
            continue;
        }
        float min = src[0], max = src[0];
        for (int j = 1; j < LEN; j++) {
            if (src[j] < min) min = src[j];
            if (src[j] > max) max = src[j];
        }
        float d = (max - min) / 15, inv = inverse_or_zero(d);
        store_f16(b->d, d);
        store_f16(b->m, min);
        for (int j = 0; j < LEN / 2; j++) {
            int lo = clamp_int((src[j] - min) * inv + 0.5f, 0, 15);
            int hi = clamp_int((src[j + LEN / 2] - min) * inv + 0.5f, 0, 15);
            b->qs[j] = (uint8_t)(lo | hi << 4);
        }
    }
}
