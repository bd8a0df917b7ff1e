// Reference rotation of pairs. No fused multiply-add at any level: all levels agree to the bit.
#include "kernels/levels.h"

static void rotate(float *a, float *b, float c, float s) {
    float x = *a, y = *b;
    *a = x * c - y * s;
    *b = x * s + y * c;
}

static void rope_norm_ref(float *x, const float *cos_, const float *sin_, int64_t n_rot) {
    for (int64_t i = 0; i < n_rot / 2; i++) rotate(&x[2 * i], &x[2 * i + 1], cos_[i], sin_[i]);
}

static void rope_neox_ref(float *x, const float *cos_, const float *sin_, int64_t n_rot) {
    for (int64_t i = 0; i < n_rot / 2; i++) rotate(&x[i], &x[i + n_rot / 2], cos_[i], sin_[i]);
}

void hth_ref_rope(hth_kernels *k) {
    k->rope[HTH_ROPE_NORM] = rope_norm_ref;
    k->rope[HTH_ROPE_NEOX] = rope_neox_ref;
}
