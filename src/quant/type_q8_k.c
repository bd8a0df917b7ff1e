// q8_K: 256 numbers, one f32 step, signed byte codes and their sums by 16: the activation format that
// dot products with the super-block types take. value = d * code.
#include <string.h>

#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_q8_k {
    uint8_t d[4]; // f32
    int8_t qs[LEN];
    uint8_t sums[LEN / 16][2]; // i16
} block_q8_k;
static_assert(sizeof(block_q8_k) == 292, "q8_K block");

void hth_dequantize_q8_k(const void *src, float *dst, int64_t n) {
    const block_q8_k *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = hth_f32_from_bits(hth_load_u32(b->d));
        for (int j = 0; j < LEN; j++) dst[j] = d * (float)b->qs[j];
    }
}

// The number of largest magnitude gets code -127.
void hth_quantize_q8_k(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_q8_k *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float extreme = 0;
        for (int j = 0; j < LEN; j++)
            if (fabsf(src[j]) > fabsf(extreme)) extreme = src[j];
        float inv = extreme != 0 ? -127.0f / extreme : 0.0f;
        float d = inverse_or_zero(inv);
        memcpy(b->d, &d, sizeof d);
        for (int j = 0; j < LEN; j++) b->qs[j] = (int8_t)clamp_nearest(inv * src[j], -127, 127);
        for (int g = 0; g < LEN / 16; g++) {
            int sum = 0;
            for (int j = 0; j < 16; j++) sum += b->qs[16 * g + j];
            hth_store_u16(b->sums[g], (uint16_t)sum);
        }
    }
}
