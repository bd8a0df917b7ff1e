// Reference pieces of softmax and score capping, through libm.
#include <math.h>

#include "kernels/levels.h"

static float max_ref(const float *x, int64_t n) {
    float max = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (x[i] > max || x[i] != x[i]) max = x[i]; // once NaN it stays: nothing compares greater
    return max;
}

static float exp_sum_ref(float *x, float max, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = hth_ref_share(x[i] - max);
        sum += x[i];
    }
    return (float)sum;
}

static void tanh_cap_ref(float *x, float cap, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = cap * tanhf(x[i] / cap);
}

void hth_ref_softmax(hth_kernels *k) {
    k->max = max_ref;
    k->exp_sum = exp_sum_ref;
    k->tanh_cap = tanh_cap_ref;
}
