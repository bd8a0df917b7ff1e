// mxfp4 as GGUF stores it: 32 e2m1 codes and one e8m0 scale. Nibbles lie as in q4_0 (number j and
// j + 16 share a byte), unlike the hubs' mxfp4, where neighbours do: see HTH_SCHEME_MXFP4.
#include "quant/fit.h"
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

// Codes under one scale; returns what is lost.
static float encode(const float *src, block_mxfp4 *b, int e, const float *weight) {
    const float d = e8m0_half((uint8_t)e);
    float err = 0;
    b->e = (uint8_t)e;
    for (int j = 0; j < LEN / 2; j++) {
        const int lo = hth_e2m1_nearest(src[j], d), hi = hth_e2m1_nearest(src[j + LEN / 2], d);
        const float x = (float)hth_e2m1_twice[lo] * d - src[j], y = (float)hth_e2m1_twice[hi] * d - src[j + LEN / 2];
        b->qs[j] = (uint8_t)(lo | hi << 4);
        err += weight[j] * x * x + weight[j + LEN / 2] * y * y;
    }
    return err;
}

// The scales around `e` are tried.
static void quantize_weighed(const float *src, block_mxfp4 *b, int e, const float *importance) {
    float weight[LEN], best = INFINITY;
    hth_fit_weights(importance, LEN, weight);
    for (int k = e > 0 ? e - 1 : 0; k <= e + 1 && k < 255; k++) {
        block_mxfp4 trial;
        const float err = encode(src, &trial, k, weight);
        if (!(err < best) && best < INFINITY) continue;
        best = err < INFINITY ? err : INFINITY;
        *b = trial;
    }
}

// Without importance the scale's exponent is the largest magnitude's less e2m1's own (2), as the specification
// proposes.
void hth_quantize_mxfp4(const float *src, void *dst, int64_t n, const float *importance) {
    block_mxfp4 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float extreme = 0;
        for (int j = 0; j < LEN; j++) extreme = fmaxf(extreme, fabsf(src[j]));
        int exp = -1000; // of a block of zeros; clamps to 0
        if (extreme > 0 && isfinite(extreme)) frexpf(extreme, &exp);
        int e = exp - 1 - 2 + 127;
        b->e = (uint8_t)(e < 0 ? 0 : e);
        if (importance) {
            quantize_weighed(src, b, b->e, importance + i * LEN);
            continue;
        }
        float d = e8m0_half(b->e);
        for (int j = 0; j < LEN / 2; j++)
            b->qs[j] = (uint8_t)(hth_e2m1_nearest(src[j], d) | hth_e2m1_nearest(src[j + LEN / 2], d) << 4);
    }
}
