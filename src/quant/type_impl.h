// For src/quant and the converters of src/kernels: what the type files share. Block structs are made of bytes only, so that a
// block may lie at any address and no padding can appear; numbers in them are little-endian.
#ifndef HTH_QUANT_TYPE_IMPL_H
#define HTH_QUANT_TYPE_IMPL_H

#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "base/bytes.h"
#include "quant/type.h"

static inline float load_f16(const uint8_t *p) {
    return hth_f16_to_f32(hth_load_u16(p));
}

static inline void store_f16(uint8_t *p, float v) {
    hth_store_u16(p, hth_f32_to_f16(v));
}

// Truncates v into [lo, hi]; NaN gives lo. Conversions of values out of an int's range are undefined.
static inline int clamp_int(float v, int lo, int hi) {
    return v > (float)lo ? (v < (float)hi ? (int)v : hi) : lo;
}

// Nearest integer in [lo, hi], halves to even, for |lo|, |hi| < 2^21; NaN gives lo. Adding and taking
// away 1.5 * 2^23 rounds in the float unit itself, which vectorises where nearbyintf is a call.
static inline int clamp_nearest(float v, int lo, int hi) {
    float c = v > (float)lo ? (v < (float)hi ? v : (float)hi) : (float)lo;
    return (int)((c + 0x1.8p23f) - 0x1.8p23f);
}

// 1 / d for scaling by a block's step; a block of zeros has step 0 and gets codes of 0.
static inline float inverse_or_zero(float d) {
    return d != 0 ? 1.0f / d : 0.0f;
}

// 6-bit scales and minima of q4_K and q5_K: eight of each in twelve bytes. The low six bits of the
// first four scales and minima lie in bytes 0-3 and 4-7; of the last four the low nibbles are paired
// in bytes 8-11 and the top two bits fill bytes 0-7.
static inline void unpack_scales_k4(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8]) {
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        min[j] = packed[j + 4] & 63;
        scale[j + 4] = (uint8_t)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
        min[j + 4] = (uint8_t)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
    }
}

static inline void pack_scales_k4(uint8_t packed[12], const uint8_t scale[8], const uint8_t min[8]) {
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

// Values of 4-bit codes.
extern const int8_t hth_iq4_values[16]; // iq4_nl and iq4_xs
extern const int8_t hth_e2m1_twice[16]; // mxfp4 and nvfp4: e2m1 values, doubled to be whole

// Half of 2^(e - 127), to go with doubled e2m1 values. 255 is not a NaN here: ggml reads it as a number.
static inline float e8m0_half(uint8_t e) {
    return hth_f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

// Index of the e2m1 value nearest to x / half_scale, the first one of equals.
int hth_e2m1_nearest(float x, float half_scale);

#define HTH_DECLARE_TYPE(name)                                                                     \
    void hth_dequantize_##name(const void *src, float *dst, int64_t n);                           \
    void hth_quantize_##name(const float *src, void *dst, int64_t n, const float *importance)

HTH_DECLARE_TYPE(f32);
HTH_DECLARE_TYPE(f16);
HTH_DECLARE_TYPE(bf16);
HTH_DECLARE_TYPE(f64);
HTH_DECLARE_TYPE(i8);
HTH_DECLARE_TYPE(i16);
HTH_DECLARE_TYPE(i32);
HTH_DECLARE_TYPE(i64);
HTH_DECLARE_TYPE(u8);
HTH_DECLARE_TYPE(u16);
HTH_DECLARE_TYPE(u32);
HTH_DECLARE_TYPE(u64);
HTH_DECLARE_TYPE(bool);
HTH_DECLARE_TYPE(f8_e4m3);
HTH_DECLARE_TYPE(f8_e5m2);
HTH_DECLARE_TYPE(f8_e8m0);
HTH_DECLARE_TYPE(q4_0);
HTH_DECLARE_TYPE(q4_1);
HTH_DECLARE_TYPE(q5_0);
HTH_DECLARE_TYPE(q5_1);
HTH_DECLARE_TYPE(q8_0);
HTH_DECLARE_TYPE(q8_1);
HTH_DECLARE_TYPE(q2_k);
HTH_DECLARE_TYPE(q3_k);
HTH_DECLARE_TYPE(q4_k);
HTH_DECLARE_TYPE(q5_k);
HTH_DECLARE_TYPE(q6_k);
HTH_DECLARE_TYPE(q8_k);
HTH_DECLARE_TYPE(iq1_s);
HTH_DECLARE_TYPE(iq1_m);
HTH_DECLARE_TYPE(iq2_xxs);
HTH_DECLARE_TYPE(iq2_xs);
HTH_DECLARE_TYPE(iq2_s);
HTH_DECLARE_TYPE(iq3_xxs);
HTH_DECLARE_TYPE(iq3_s);
HTH_DECLARE_TYPE(iq4_nl);
HTH_DECLARE_TYPE(iq4_xs);
HTH_DECLARE_TYPE(tq1_0);
HTH_DECLARE_TYPE(tq2_0);
HTH_DECLARE_TYPE(mxfp4);
HTH_DECLARE_TYPE(nvfp4);
HTH_DECLARE_TYPE(q1_0);
HTH_DECLARE_TYPE(q2_0);

#endif
