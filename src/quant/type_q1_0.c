// q1_0: 128 numbers, one f16 step, one sign bit each: value = bit ? d : -d.
#include <string.h>

#include "quant/type_impl.h"

enum { LEN = 128 };

typedef struct block_q1_0 {
    uint8_t d[2]; // f16
    uint8_t qs[LEN / 8];
} block_q1_0;
static_assert(sizeof(block_q1_0) == 18, "q1_0 block");

void hth_dequantize_q1_0(const void *src, float *dst, int64_t n) {
    const block_q1_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        for (int j = 0; j < LEN; j += 8)
            for (int k = 0; k < 8; k++) dst[j + k] = (float)(2 * (b->qs[j / 8] >> k & 1) - 1) * d;
    }
}

// The mean magnitude is the step of least squared error for fixed signs.
void hth_quantize_q1_0(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_q1_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float sum = 0;
        memset(b->qs, 0, sizeof b->qs);
        for (int j = 0; j < LEN; j++) {
            sum += fabsf(src[j]);
            if (src[j] >= 0) b->qs[j / 8] |= (uint8_t)(1 << (j % 8));
        }
        store_f16(b->d, sum / LEN);
    }
}
