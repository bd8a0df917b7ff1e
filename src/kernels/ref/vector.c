// Reference sums and multiples of vectors. No fused multiply-add at any level: all levels agree to the bit.
#include "base/fp.h"
#include "kernels/levels.h"

static void add_ref(float *dst, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) dst[i] = a[i] + b[i];
}

static void scale_ref(float *dst, const float *x, float s, int64_t n) {
    for (int64_t i = 0; i < n; i++) dst[i] = x[i] * s;
}

static void add_scaled_ref(float *dst, const float *x, float s, int64_t n) {
    for (int64_t i = 0; i < n; i++) dst[i] += x[i] * s;
}

static void dequantize_e4m3_ref(const uint8_t *src, float scale, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) dst[i] = scale * hth_e4m3_to_f32(src[i]);
}

static void dequantize_e5m2_ref(const uint8_t *src, float scale, float *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) dst[i] = scale * hth_e5m2_to_f32(src[i]);
}

void hth_ref_vector(hth_kernels *k) {
    k->dequantize_f8[0] = dequantize_e4m3_ref;
    k->dequantize_f8[1] = dequantize_e5m2_ref;
    k->add = add_ref;
    k->scale = scale_ref;
    k->add_scaled = add_scaled_ref;
}
