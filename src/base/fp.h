// Small floating-point formats <-> float32, exact to the bit in both directions (round to nearest
// even). Plain C so that every platform gives the same bits; kernels have vector versions.
#ifndef HTH_BASE_FP_H
#define HTH_BASE_FP_H

#include <stdint.h>
#include <string.h>

static inline float hth_f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t hth_f32_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

// IEEE binary16. Without branches, so that loops over it vectorise: the exponent is rebased as if every
// number were normal; a subnormal is given the exponent of 2^-14, which as a leading one it lacks and
// which is taken away again, exactly.
static inline float hth_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, abs = h & 0x7fff;
    uint32_t lead = abs < 0x0400 ? 0x38800000 : 0; // 2^-14
    uint32_t bits = (abs << 13) + (abs < 0x0400 ? 113u << 23 : 112u << 23);
    bits |= abs >= 0x7c00 ? 0x7f800000 : 0; // infinities and NaNs
    return hth_f32_from_bits(sign | hth_f32_bits(hth_f32_from_bits(bits) - hth_f32_from_bits(lead)));
}

static inline uint16_t hth_f32_to_f16(float f) {
    uint32_t bits = hth_f32_bits(f), sign = bits >> 16 & 0x8000, abs = bits & 0x7fffffff;
    if (abs > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (abs >> 13 & 0x3ff)); // NaN stays NaN
    if (abs >= 0x477ff000) return (uint16_t)(sign | 0x7c00);                      // rounds to infinity
    if (abs < 0x38800000) { // subnormal: the addition rounds to nearest even at 2^-24
        float sum = hth_f32_from_bits(abs) + 0.5f;
        return (uint16_t)(sign | (hth_f32_bits(sum) - 0x3f000000));
    }
    uint32_t odd = abs >> 13 & 1;
    return (uint16_t)(sign | ((abs - 0x38000000 + 0xfff + odd) >> 13));
}

static inline float hth_bf16_to_f32(uint16_t b) {
    return hth_f32_from_bits((uint32_t)b << 16);
}

static inline uint16_t hth_f32_to_bf16(float f) {
    uint32_t bits = hth_f32_bits(f);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 64); // NaN stays NaN
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// OCP 8-bit formats: e4m3 "fn" (no infinity, 0x7f is NaN) and e5m2.
static inline float hth_e4m3_to_f32(uint8_t v) { // as hth_f16_to_f32
    uint32_t sign = (uint32_t)(v & 0x80) << 24, abs = v & 0x7f;
    uint32_t lead = abs < 8 ? 0x3c800000 : 0; // 2^-6
    uint32_t bits = (abs << 20) + (abs < 8 ? 121u << 23 : 120u << 23);
    bits |= abs == 0x7f ? 0x7fc00000 : 0;
    return hth_f32_from_bits(sign | hth_f32_bits(hth_f32_from_bits(bits) - hth_f32_from_bits(lead)));
}

static inline float hth_e5m2_to_f32(uint8_t v) {
    return hth_f16_to_f32((uint16_t)(v << 8));
}

// e8m0: a power of two, 2^(v - 127); 255 is NaN (OCP MX specification 1.0, 5.4.1).
static inline float hth_e8m0_to_f32(uint8_t v) {
    if (v == 255) return hth_f32_from_bits(0x7fc00000);
    return v == 0 ? 0x1p-127f : hth_f32_from_bits((uint32_t)v << 23);
}

#endif
