// Reference activations, through libm.
#include <math.h>

#include "kernels/levels.h"

static float act_none(float x) {
    return x;
}

static float act_silu(float x) {
    return x / (1 + expf(-x));
}

// (1 + tanh u) / 2 = 1 / (1 + e^-2u), which keeps its digits where tanh u is close to -1.
static float act_gelu_tanh(float x) {
    const float twice_sqrt_2_pi = 1.5957691216057308f;
    return x / (1 + expf(-twice_sqrt_2_pi * (x + 0.044715f * x * x * x)));
}

// (1 + erf z) / 2 = erfc(-z) / 2, likewise.
static float act_gelu_erf(float x) {
    const float sqrt_half = 0.70710678118654752f;
    return x * (0.5f * erfcf(-x * sqrt_half));
}

static float act_relu(float x) {
    return x < 0 ? 0 : x; // NaN stays
}

static float act_relu2(float x) {
    return act_relu(x) * act_relu(x);
}

static float act_sigmoid(float x) {
    return 1 / (1 + expf(-x));
}

static float act_softplus(float x) {
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

static float act_exp(float x) {
    return expf(x);
}

#define DEFINE_ACT(name)                                                                           \
    static void name##_ref(float *dst, const float *x, int64_t n) {                                \
        for (int64_t i = 0; i < n; i++) dst[i] = name(x[i]);                                       \
    }                                                                                              \
    static void name##_mul_ref(float *dst, const float *gate, const float *up, int64_t n) {        \
        for (int64_t i = 0; i < n; i++) dst[i] = name(gate[i]) * up[i];                            \
    }

DEFINE_ACT(act_none)
DEFINE_ACT(act_silu)
DEFINE_ACT(act_gelu_tanh)
DEFINE_ACT(act_gelu_erf)
DEFINE_ACT(act_relu)
DEFINE_ACT(act_relu2)
DEFINE_ACT(act_sigmoid)
DEFINE_ACT(act_softplus)
DEFINE_ACT(act_exp)

void hth_ref_act(hth_kernels *k) {
    k->act[HTH_ACT_NONE] = act_none_ref;
    k->act[HTH_ACT_SILU] = act_silu_ref;
    k->act[HTH_ACT_GELU_TANH] = act_gelu_tanh_ref;
    k->act[HTH_ACT_GELU_ERF] = act_gelu_erf_ref;
    k->act[HTH_ACT_RELU] = act_relu_ref;
    k->act[HTH_ACT_RELU2] = act_relu2_ref;
    k->act[HTH_ACT_SIGMOID] = act_sigmoid_ref;
    k->act[HTH_ACT_SOFTPLUS] = act_softplus_ref;
    k->act[HTH_ACT_EXP] = act_exp_ref;
    k->act_mul[HTH_ACT_NONE] = act_none_mul_ref;
    k->act_mul[HTH_ACT_SILU] = act_silu_mul_ref;
    k->act_mul[HTH_ACT_GELU_TANH] = act_gelu_tanh_mul_ref;
    k->act_mul[HTH_ACT_GELU_ERF] = act_gelu_erf_mul_ref;
    k->act_mul[HTH_ACT_RELU] = act_relu_mul_ref;
    k->act_mul[HTH_ACT_RELU2] = act_relu2_mul_ref;
    k->act_mul[HTH_ACT_SIGMOID] = act_sigmoid_mul_ref;
    k->act_mul[HTH_ACT_SOFTPLUS] = act_softplus_mul_ref;
    k->act_mul[HTH_ACT_EXP] = act_exp_mul_ref;
}
