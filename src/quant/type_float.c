// Plain floating-point types: one element is one block of one number.
#include <string.h>

#include "quant/type_impl.h"

void hth_dequantize_f32(const void *src, float *dst, int64_t n) {
    memcpy(dst, src, (size_t)n * sizeof *dst);
}

void hth_quantize_f32(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    memcpy(dst, src, (size_t)n * sizeof *src);
}

void hth_dequantize_f16(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = load_f16(p + 2 * i);
}

void hth_quantize_f16(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) store_f16(p + 2 * i, src[i]);
}

void hth_dequantize_bf16(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = hth_bf16_to_f32(hth_load_u16(p + 2 * i));
}

void hth_quantize_bf16(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) hth_store_u16(p + 2 * i, hth_f32_to_bf16(src[i]));
}

// The bits of a double, rounded to float here rather than by a cast: a cast of a number beyond the
// range of float is undefined in C, and files may hold any bits.
static float narrow_f64(double v) {
    if (v > 0x1.fffffefffffffp127) return INFINITY;
    if (v < -0x1.fffffefffffffp127) return -INFINITY;
    return (float)v;
}

void hth_dequantize_f64(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, p + 8 * i, sizeof v);
        dst[i] = narrow_f64(v);
    }
}

void hth_dequantize_f8_e4m3(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = hth_e4m3_to_f32(p[i]);
}

void hth_dequantize_f8_e5m2(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = hth_e5m2_to_f32(p[i]);
}

void hth_dequantize_f8_e8m0(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = hth_e8m0_to_f32(p[i]);
}
