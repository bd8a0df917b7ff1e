// Reference sums and multiples of vectors. No fused multiply-add at any level: all levels agree to the bit.
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

void hth_ref_vector(hth_kernels *k) {
    k->add = add_ref;
    k->scale = scale_ref;
    k->add_scaled = add_scaled_ref;
}
