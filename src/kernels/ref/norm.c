// Reference norms. Sums in double; the rest in float, in the order that every level keeps.
#include <math.h>

#include "kernels/levels.h"

static void norm_rms_ref(float *dst, const float *x, const float *weight, int64_t n, float eps) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    float s = (float)(1.0 / sqrt(sum / (double)n + eps));
    for (int64_t i = 0; i < n; i++) dst[i] = weight ? x[i] * s * weight[i] : x[i] * s;
}

// Two passes: the variance of numbers far from zero would drown in a one-pass sum of squares.
static void norm_layer_ref(float *dst, const float *x, const float *weight, const float *bias, int64_t n,
                           float eps) {
    double sum = 0, var = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean);
    float s = (float)(1.0 / sqrt(var / (double)n + eps));
    for (int64_t i = 0; i < n; i++) {
        float v = (float)(x[i] - mean) * s;
        if (weight) v *= weight[i];
        if (bias) v += bias[i];
        dst[i] = v;
    }
}

void hth_ref_norm(hth_kernels *k) {
    k->norm_rms = norm_rms_ref;
    k->norm_layer = norm_layer_ref;
}
