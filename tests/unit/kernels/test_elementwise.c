// Activations, sums, rotations, norms and the pieces of softmax, every level.
#include "check.h"

enum { MAX_N = 4096 + 5 };

static const char *const act_names[] = {"none", "silu", "gelu_tanh", "gelu_erf", "relu", "relu2",
                                        "sigmoid", "softplus", "exp"};

// The formulas of kernels.h in double, in the forms that keep their digits.
static double act_true(hth_act act, double x) {
    switch (act) {
    case HTH_ACT_SILU: return x / (1 + exp(-x));
    case HTH_ACT_GELU_TANH: return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case HTH_ACT_GELU_ERF: return x * 0.5 * erfc(-x * M_SQRT1_2);
    case HTH_ACT_RELU: return x < 0 ? 0 : x;
    case HTH_ACT_RELU2: return x < 0 ? 0 : x * x;
    case HTH_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case HTH_ACT_SOFTPLUS: return x < 0 ? log1p(exp(x)) : x + log1p(exp(-x));
    case HTH_ACT_EXP: return exp(x);
    default: return x;
    }
}

// Rounding in the exponent is magnified by its size, and the tails of the two gelus have exponents of x^3
// and x^2.
static double act_ulp(hth_act act, double x) {
    switch (act) {
    case HTH_ACT_SILU:
    case HTH_ACT_SIGMOID:
    case HTH_ACT_SOFTPLUS: return 4;
    case HTH_ACT_EXP: return 1.1;
    case HTH_ACT_GELU_TANH: return 4 + (x < 0 && x > -100 ? 4 * fabs(1.6 * x + 0.0714 * x * x * x) : 0);
    case HTH_ACT_GELU_ERF: return 9 + (x < 0 && x > -100 ? 2 * x * x : 0);
    default: return 0.5;
    }
}

static void activations_are_right_within_stated_ulps(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_act act = 0; act < HTH_ACT_COUNT; act++)
        for (guard_side side = 0; side < GUARD_SIDES; side++)
            FOR_EACH_SIZE(n) {
                float *x = guarded_floats(0, n, side), *y = guarded_floats(1, n, side);
                fill_with_extremes(x, n, n % 2 ? 12 : 2);
                k.act[act](y, x, n);
                for (int64_t i = 0; i < n; i++) {
                    double error = ulp_error(y[i], act_true(act, x[i]));
                    // Where e^-x is beyond float the quotient is 0; the true value is below 3e-37.
                    if (y[i] == 0 && fabs(act_true(act, x[i])) < 3e-37) continue;
                    if (!(error <= act_ulp(act, x[i])))
                        fail_msg("act %s %s: %a gave %a, not %a: %g ulp", act_names[act], level, (double)x[i],
                                 (double)y[i], act_true(act, x[i]), error);
                }
            }
}

static void act_mul_is_act_times_the_second_vector(void **state) {
    (void)state;
    static float want[MAX_N];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_act act = 0; act < HTH_ACT_COUNT; act++)
        for (guard_side side = 0; side < GUARD_SIDES; side++)
            FOR_EACH_SIZE(n) {
                float *gate = guarded_floats(0, n, side), *up = guarded_floats(1, n, side);
                float *y = guarded_floats(2, n, side);
                fill_with_extremes(gate, n, 12);
                fill_normal(up, n);
                k.act[act](want, gate, n);
                for (int64_t i = 0; i < n; i++) want[i] *= up[i];
                k.act_mul[act](y, gate, up, n);
                assert_same_floats(level, "act_mul", y, want, n);
                k.act_mul[act](up, gate, up, n); // in place, as the feed-forward calls it
                assert_same_floats(level, "act_mul in place", up, want, n);
            }
}

// Applies an operation to part [first, last) of x in place.
typedef void part_fn(const hth_kernels *k, int variant, float *x, int64_t n);

static void part_act(const hth_kernels *k, int variant, float *x, int64_t n) {
    k->act[variant](x, x, n);
}
static void part_exp(const hth_kernels *k, int variant, float *x, int64_t n) {
    (void)variant;
    (void)k->exp_sum(x, 3, n);
}
static void part_cap(const hth_kernels *k, int variant, float *x, int64_t n) {
    (void)variant;
    k->tanh_cap(x, 30, n);
}

// Threads cut vectors where they like: an element's bits may not depend on where it stands.
static void elements_do_not_depend_on_how_a_vector_is_cut(void **state) {
    (void)state;
    static const struct {
        const char *name;
        part_fn *fn;
        int variants;
    } ops[] = {{"act", part_act, HTH_ACT_COUNT}, {"exp_sum", part_exp, 1}, {"tanh_cap", part_cap, 1}};
    static float x[MAX_N], whole[MAX_N];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (size_t o = 0; o < HTH_COUNT(ops); o++)
        for (int v = 0; v < ops[o].variants; v++) {
            fill_with_extremes(x, MAX_N, 20);
            memcpy(whole, x, sizeof x);
            ops[o].fn(&k, v, whole, MAX_N);
            for (int64_t i = 0, n; i < MAX_N; i += n) {
                n = 1 + random_bits() % 40;
                if (i + n > MAX_N) n = MAX_N - i;
                ops[o].fn(&k, v, x + i, n);
            }
            assert_same_floats(level, ops[o].name, x, whole, MAX_N);
        }
}

static void sums_and_multiples_equal_the_reference(void **state) {
    (void)state;
    static float want[MAX_N];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SIZE(n) {
            float *a = guarded_floats(0, n, side), *b = guarded_floats(1, n, side);
            float *y = guarded_floats(2, n, side);
            fill_with_extremes(a, n, 10);
            fill_with_extremes(b, n, 10);
            for (int64_t i = 0; i < n; i++) want[i] = a[i] + b[i];
            k.add(y, a, b, n);
            assert_same_floats(level, "add", y, want, n);
            for (int64_t i = 0; i < n; i++) want[i] = a[i] * 0.3f;
            k.scale(y, a, 0.3f, n);
            assert_same_floats(level, "scale", y, want, n);
            for (int64_t i = 0; i < n; i++) {
                volatile float product = b[i] * 0.3f; // rounded before the sum
                want[i] = a[i] + product;
            }
            k.add_scaled(a, b, 0.3f, n);
            assert_same_floats(level, "add_scaled", a, want, n);
        }
}

static void rotations_turn_the_right_pairs(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_pairing pairing = HTH_ROPE_NORM; pairing <= HTH_ROPE_NEOX; pairing++)
        for (guard_side side = 0; side < GUARD_SIDES; side++)
            FOR_EACH_SIZE(half) {
                static float before[2 * MAX_N];
                float *x = guarded_floats(0, 2 * half, side), *c = guarded_floats(1, half, side);
                float *s = guarded_floats(2, half, side);
                fill_normal(x, 2 * half);
                for (int64_t i = 0; i < half; i++) {
                    float angle = random_uniform(-4, 4);
                    c[i] = cosf(angle), s[i] = sinf(angle);
                }
                memcpy(before, x, (size_t)half * 2 * sizeof *x);
                k.rope[pairing](x, c, s, 2 * half);
                for (int64_t i = 0; i < half; i++) {
                    int64_t first = pairing == HTH_ROPE_NORM ? 2 * i : i;
                    int64_t second = pairing == HTH_ROPE_NORM ? 2 * i + 1 : i + half;
                    volatile float ac = before[first] * c[i], bs = before[second] * s[i];
                    volatile float as = before[first] * s[i], bc = before[second] * c[i];
                    float want[2] = {ac - bs, as + bc}, got[2] = {x[first], x[second]};
                    const char *op = pairing == HTH_ROPE_NORM ? "rope norm" : "rope neox";
                    assert_same_floats(level, op, got, want, 2);
                }
            }
}

static void check_rms(const char *level, const hth_kernels *k, float *x, const float *weight, int64_t n,
                      guard_side side) {
    const float eps = 1e-6f;
    float *y = guarded_floats(2, n, side);
    k->norm_rms(y, x, weight, n, eps);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    double s = 1 / sqrt(sum / (double)n + eps);
    for (int64_t i = 0; i < n; i++) {
        double want = x[i] * s * (weight ? weight[i] : 1);
        if (!(ulp_error(y[i], want) <= 2.5))
            fail_msg("norm_rms %s: element %d of %d is %a, not %a", level, (int)i, (int)n, (double)y[i],
                     want);
    }
    k->norm_rms(x, x, weight, n, eps);
    assert_same_floats(level, "norm_rms in place", x, y, n);
}

static void rms_norms_are_right_within_two_and_a_half_ulps(void **state) {
    (void)state;
    static const float scales[] = {1, 0, 1e-3f, 1e30f};
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SIZE(n)
        for (size_t i = 0; i < HTH_COUNT(scales); i++) {
            float *x = guarded_floats(0, n, side), *w = guarded_floats(1, n, side);
            for (int64_t j = 0; j < n; j++) x[j] = random_normal() * scales[i];
            fill_normal(w, n);
            check_rms(level, &k, x, i % 2 ? NULL : w, n, side);
        }
}

// Numbers far from zero: a one-pass variance would have no digit left.
static void layer_norms_are_right_far_from_zero(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SIZE(n)
        for (int variant = 0; variant < 4; variant++) {
            float *x = guarded_floats(0, n, side), *y = guarded_floats(1, n, side);
            float *w = variant & 1 ? guarded_floats(2, n, side) : NULL;
            float *b = variant & 2 ? guarded_floats(3, n, side) : NULL;
            for (int64_t i = 0; i < n; i++) x[i] = random_normal() + (variant == 3 ? 10000 : 1);
            if (w) fill_normal(w, n);
            if (b) fill_normal(b, n);
            k.norm_layer(y, x, w, b, n, 1e-5f);
            double mean = 0, var = 0;
            for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
            for (int64_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean) / (double)n;
            for (int64_t i = 0; i < n; i++) {
                double v = (x[i] - mean) / sqrt(var + 1e-5f) * (w ? w[i] : 1), want = v + (b ? b[i] : 0);
                // The sum with the bias may cancel; n = 1 leaves only what rounding made of x - mean.
                if (!(fabs(y[i] - want) <= 2.5e-7 * fabs(v) + 6.1e-8 * fabs(want) + 1e-9))
                    fail_msg("norm_layer %s: element %d of %d is %a, not %a", level, (int)i, (int)n,
                             (double)y[i], want);
            }
            k.norm_layer(x, x, w, b, n, 1e-5f);
            assert_same_floats(level, "norm_layer in place", x, y, n);
        }
}

static void norms_pass_nan_on(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        float x[35], y[35];
        fill_normal(x, 35);
        x[34] = NAN;
        k.norm_rms(y, x, NULL, 35, 1e-6f);
        for (int i = 0; i < 35; i++) assert_true(isnan(y[i]));
        k.norm_layer(y, x, NULL, NULL, 35, 1e-6f);
        for (int i = 0; i < 35; i++) assert_true(isnan(y[i]));
    }
}

static void the_maximum_is_found_and_nan_wins(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SIZE(n) {
            float *x = guarded_floats(0, n, side), want = -INFINITY;
            for (int64_t i = 0; i < n; i++) x[i] = random_normal() - 100, want = x[i] > want ? x[i] : want;
            if (k.max(x, n) != want) fail_msg("max %s of %d numbers", level, (int)n);
            if (n == 0) continue;
            int64_t at = (int64_t)(random_bits() % (uint32_t)n);
            x[at] = -INFINITY;
            want = -INFINITY;
            for (int64_t i = 0; i < n; i++) want = x[i] > want ? x[i] : want;
            if (k.max(x, n) != want) fail_msg("max %s of %d numbers, one -inf", level, (int)n);
            x[at] = NAN;
            if (!isnan(k.max(x, n))) fail_msg("max %s lost the NaN at %d of %d", level, (int)at, (int)n);
        }
}

static void check_exp(const char *level, const hth_kernels *k, float *x, float max, int64_t n,
                      double tolerance) {
    static float before[MAX_N];
    memcpy(before, x, (size_t)n * sizeof *x);
    double want_sum = 0;
    float sum = k->exp_sum(x, max, n);
    for (int64_t i = 0; i < n; i++) {
        float from = before[i] - max;
        double error = ulp_error(x[i], from < HTH_LEAST_SHARE ? 0 : exp(from));
        if (!(error <= 1.5))
            fail_msg("exp_sum %s: e^%a gave %a, not %a: %g ulp", level, (double)from, (double)x[i], exp(from),
                     error);
        want_sum += x[i];
    }
    if (isfinite((float)want_sum) ? !(fabs(sum - want_sum) <= tolerance * want_sum)
                                  : !same_float(sum, (float)want_sum))
        fail_msg("exp_sum %s: sum of %d is %a, not %a", level, (int)n, (double)sum, want_sum);
}

static void exponentials_are_right_within_one_and_a_half_ulps(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SIZE(n) {
            float *x = guarded_floats(0, n, side);
            for (int64_t i = 0; i < n; i++) x[i] = random_uniform(-20, 5);
            check_exp(level, &k, x, 5, n, 3e-6);
            for (int64_t i = 0; i < n; i++) x[i] = random_uniform(-110, 90); // nothing to overflow
            check_exp(level, &k, x, 0, n, 3e-6);
            fill_with_extremes(x, n, 100);
            check_exp(level, &k, x, 0, n, 3e-6);
        }
}

static void exponentials_of_extremes_are_exact(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        float x[] = {-INFINITY, INFINITY, NAN, 0, -1e30f, 1e30f, -87.001f, 89};
        float want[] = {0, INFINITY, NAN, 1, 0, INFINITY, 0, INFINITY};
        (void)k.exp_sum(x, 0, 8);
        assert_same_floats(level, "exp_sum", x, want, 8);
    }
}

static void capping_is_right_within_four_ulps(void **state) {
    (void)state;
    static float before[MAX_N];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SIZE(n)
        for (float width = 0.01f; width < 1000; width *= 10) {
            float *x = guarded_floats(0, n, side);
            const float cap = 30;
            fill_with_extremes(x, n, width);
            memcpy(before, x, (size_t)n * sizeof *x);
            k.tanh_cap(x, cap, n);
            for (int64_t i = 0; i < n; i++) {
                double want = cap * tanh((double)before[i] / cap);
                // A quotient that is denormal has lost digits before tanh sees it.
                if (!(ulp_error(x[i], want) <= (fabsf(before[i]) < 1e-36f ? 40 : 4)))
                    fail_msg("tanh_cap %s: %a gave %a, not %a", level, (double)before[i], (double)x[i], want);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_right_within_stated_ulps),
        cmocka_unit_test(act_mul_is_act_times_the_second_vector),
        cmocka_unit_test(elements_do_not_depend_on_how_a_vector_is_cut),
        cmocka_unit_test(sums_and_multiples_equal_the_reference),
        cmocka_unit_test(rotations_turn_the_right_pairs),
        cmocka_unit_test(rms_norms_are_right_within_two_and_a_half_ulps),
        cmocka_unit_test(layer_norms_are_right_far_from_zero),
        cmocka_unit_test(norms_pass_nan_on),
        cmocka_unit_test(the_maximum_is_found_and_nan_wins),
        cmocka_unit_test(exponentials_are_right_within_one_and_a_half_ulps),
        cmocka_unit_test(exponentials_of_extremes_are_exact),
        cmocka_unit_test(capping_is_right_within_four_ulps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
