// nvfp4 as GGUF stores it: 64 e2m1 codes in four groups of 16, each with an e4m3 scale whose sign
// bit is ignored. Within a group number j and j + 8 share a byte.
#include <string.h>

#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 64, GROUP = 16 };

typedef struct block_nvfp4 {
    uint8_t d[LEN / GROUP]; // e4m3 without sign
    uint8_t qs[LEN / 2];
} block_nvfp4;
static_assert(sizeof(block_nvfp4) == 36, "nvfp4 block");

// Half of the scale, to go with doubled e2m1 values. The NaN code 0x7f reads as 0, but with the sign
// bit set it is 480: so do the programs that write these files.
static float scale_half(uint8_t v) {
    if (v == 0x7f) return 0;
    int exp = v >> 3 & 15, man = v & 7;
    if (exp == 0) return (float)man * 0x1p-10f;
    return hth_f32_from_bits((uint32_t)(exp + 119) << 23 | (uint32_t)man << 20);
}

void hth_dequantize_nvfp4(const void *src, float *dst, int64_t n) {
    const block_nvfp4 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        for (int g = 0; g < LEN / GROUP; g++, dst += GROUP) {
            float d = scale_half(b->d[g]);
            const uint8_t *qs = b->qs + g * GROUP / 2;
            for (int j = 0; j < GROUP / 2; j++) {
                dst[j] = (float)hth_e2m1_twice[qs[j] & 15] * d;
                dst[j + GROUP / 2] = (float)hth_e2m1_twice[qs[j] >> 4] * d;
            }
        }
    }
}

// The code of the scale nearest to v, halves up, at most 448 (0x7e).
static uint8_t nearest_scale(float v) {
    if (!(v > 0)) return 0;
    if (v >= 448) return 0x7e;
    if (v < 0x1p-6f) return (uint8_t)(v * 512 + 0.5f); // subnormals: steps of 2^-9, 8 is the first normal
    // Rebased exponent and mantissa are one number; adding half of the last place rounds it.
    return (uint8_t)((hth_f32_bits(v) - (120u << 23) + (1u << 19)) >> 20);
}

// Codes of a group under one scale; returns what is lost.
static float encode(const float *src, uint8_t *qs, uint8_t scale, const float *weight) {
    const float d = scale_half(scale);
    float err = 0;
    for (int j = 0; j < GROUP / 2; j++) {
        const int lo = hth_e2m1_nearest(src[j], d), hi = hth_e2m1_nearest(src[j + GROUP / 2], d);
        const float x = (float)hth_e2m1_twice[lo] * d - src[j], y = (float)hth_e2m1_twice[hi] * d - src[j + GROUP / 2];
        qs[j] = (uint8_t)(lo | hi << 4);
        err += weight[j] * x * x + weight[j + GROUP / 2] * y * y;
    }
    return err;
}

// The largest magnitude as 6, and the scales from there to those that make it 4.
static uint8_t quantize_group(const float *src, uint8_t *qs, const float *weight) {
    float extreme = 0, best = INFINITY;
    for (int j = 0; j < GROUP; j++) extreme = fmaxf(extreme, fabsf(src[j]));
    const int first = nearest_scale(extreme / 6);
    uint8_t scale = (uint8_t)first;
    (void)encode(src, qs, scale, weight);
    for (int s = first > 2 ? first - 2 : 0; s <= first + 5 && s <= 0x7e; s++) {
        uint8_t trial[GROUP / 2];
        const float err = encode(src, trial, (uint8_t)s, weight);
        if (!(err < best)) continue;
        best = err;
        scale = (uint8_t)s;
        memcpy(qs, trial, sizeof trial);
    }
    return scale;
}

void hth_quantize_nvfp4(const float *src, void *dst, int64_t n, const float *importance) {
    block_nvfp4 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++) {
        float weight[LEN];
        hth_fit_weights(importance ? importance + i * LEN : NULL, LEN, weight);
        for (int g = 0; g < LEN / GROUP; g++, src += GROUP)
            b->d[g] = quantize_group(src, b->qs + g * GROUP / 2, weight + g * GROUP);
    }
}
