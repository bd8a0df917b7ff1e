// mxfp4 as GGUF stores it: 32 e2m1 codes and one e8m0 scale. Nibbles lie as in q4_0 (number j and
// j + 16 share a byte), unlike the hubs' mxfp4, where neighbours do: see HTH_SCHEME_MXFP4.
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_mxfp4 {
    uint8_t e; // e8m0
    uint8_t qs[LEN / 2];
} block_mxfp4;
static_assert(sizeof(block_mxfp4) == 17, "mxfp4 block");

// OCP Microscaling Formats 1.0, table 3, times two.
const int8_t hth_e2m1_twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

int hth_e2m1_nearest(float x, float half_scale) {
    int best = 0;
    float best_err = fabsf(x);
    for (int i = 1; i < 16; i++) {
        float err = fabsf((float)hth_e2m1_twice[i] * half_scale - x);
        if (err < best_err) best = i, best_err = err;
    }
    return best;
}

void hth_dequantize_mxfp4(const void *src, float *dst, int64_t n) {
    const block_mxfp4 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = e8m0_half(b->e);
        for (int j = 0; j < LEN / 2; j++) {
            dst[j] = (float)hth_e2m1_twice[b->qs[j] & 15] * d;
            dst[j + LEN / 2] = (float)hth_e2m1_twice[b->qs[j] >> 4] * d;
        }
    }
}

// The scale's exponent is the largest magnitude's less e2m1's own (2), as the specification proposes.
void hth_quantize_mxfp4(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_mxfp4 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float extreme = 0;
        for (int j = 0; j < LEN; j++) extreme = fmaxf(extreme, fabsf(src[j]));
        int exp = -1000; // of a block of zeros; clamps to 0
        if (extreme > 0 && isfinite(extreme)) frexpf(extreme, &exp);
        int e = exp - 1 - 2 + 127;
        b->e = (uint8_t)(e < 0 ? 0 : e);
        float d = e8m0_half(b->e);
        for (int j = 0; j < LEN / 2; j++)
            b->qs[j] = (uint8_t)(hth_e2m1_nearest(src[j], d) | hth_e2m1_nearest(src[j + LEN / 2], d) << 4);
    }
}
