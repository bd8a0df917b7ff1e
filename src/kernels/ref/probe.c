// Plain C, for CPUs without a level of their own. The volatile sums keep the compiler from leaving the loops out.
#include "kernels/levels.h"

static void read_ref(const void *p, int64_t n_bytes) {
    const uint64_t *words = p;
    uint64_t sum = 0;
    for (int64_t i = 0; i < n_bytes / 8; i++) sum += words[i];
    volatile uint64_t sink = sum;
    (void)sink;
}

static void mul_add_f32_ref(int64_t n) {
    volatile float factor = 0.5f;
    const float f = factor;
    float sum[32] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < 32; k++) sum[k] = sum[k] * f + 1.0f;
    for (int k = 0; k < 32; k++) factor = sum[k];
}

static void dot_i8_ref(int64_t n) {
    volatile int8_t factor = 3;
    const int8_t f = factor;
    int32_t sum[32] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < 32; k++) sum[k] += (int8_t)(i + k) * f;
    int32_t all = 0;
    for (int k = 0; k < 32; k++) all ^= sum[k];
    factor = (int8_t)all;
}

void hth_ref_probe(hth_probe *p) {
    p->read = read_ref;
    p->f32 = (hth_probe_loop){"C, f32", mul_add_f32_ref, 32 * 2};
    p->i8 = (hth_probe_loop){"C, int8", dot_i8_ref, 32 * 2};
}
