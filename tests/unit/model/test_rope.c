// Rotation angles of every scaling, against the published formulas computed here in long double, and what is
// refused.
#include <float.h>
#include <math.h>

#include "base/attr.h"
#include "model/rope.h"
#include "unit/cmocka_all.h"

#define PI 3.141592653589793238462643383279502884L
// cos and sin are f32 of angles that are exact to 1e-9 at the positions used.
#define TOLERANCE 1.3e-7L

enum { MAX_HALF = 64 };

static const int64_t positions[] = {0, 1, 2, 37, 4095, 131071, 1000000};

static void prepare(hth_rope *r, hth_arena *arena) {
    hth_err err = {0};
    hth_arena_init(arena, HTH_MEM_MODEL, 1 << 20);
    if (hth_rope_prepare(r, arena, &err) != HTH_OK) fail_msg("%s", err.msg);
}

// Compares with frequencies `freq` and the multiplier of cos and sin.
static void compare(const hth_rope *r, int64_t n_ctx, const long double *freq, long double magnitude) {
    float cos_[MAX_HALF], sin_[MAX_HALF];
    for (size_t p = 0; p < HTH_COUNT(positions); p++) {
        hth_rope_angles(r, positions[p], n_ctx, cos_, sin_);
        for (int i = 0; i < r->n_rot / 2; i++) {
            const long double angle = (long double)positions[p] * freq[i];
            const long double slack = magnitude * (TOLERANCE + 4 * fabsl(angle) * (long double)DBL_EPSILON);
            if (fabsl((long double)cos_[i] - magnitude * cosl(angle)) > slack ||
                fabsl((long double)sin_[i] - magnitude * sinl(angle)) > slack) {
                fail_msg("pair %d at position %lld: cos %.9g sin %.9g, not %.9Lg %.9Lg", i,
                         (long long)positions[p], (double)cos_[i], (double)sin_[i], magnitude * cosl(angle),
                         magnitude * sinl(angle));
            }
        }
    }
}

static void plain_freqs(int n_dim, int half, long double theta, long double *freq) {
    for (int i = 0; i < half; i++) freq[i] = powl(theta, -2.0L * i / n_dim);
}

static void plain_angles_are_right_up_to_a_million_positions(void **unused) {
    static const struct {
        int n_rot;
        double theta;
    } cases[] = {{2, 10000}, {64, 10000}, {128, 500000}, {96, 1e6}, {20, 100}};
    (void)unused;
    for (size_t c = 0; c < HTH_COUNT(cases); c++) {
        long double freq[MAX_HALF];
        hth_rope r = {.n_rot = cases[c].n_rot, .theta = cases[c].theta};
        hth_arena arena;
        prepare(&r, &arena);
        plain_freqs(r.n_rot, r.n_rot / 2, (long double)r.theta, freq);
        compare(&r, 4096, freq, 1);
        hth_arena_free(&arena);
    }
}

static void linear_scaling_divides_the_positions(void **unused) {
    (void)unused;
    long double freq[MAX_HALF];
    hth_rope r = {.n_rot = 64, .theta = 10000, .scaling = HTH_SCALING_LINEAR, .factor = 8};
    hth_arena arena;
    prepare(&r, &arena);
    plain_freqs(64, 32, 10000, freq);
    for (int i = 0; i < 32; i++) freq[i] /= 8;
    compare(&r, 4096, freq, 1);
    hth_arena_free(&arena);
}

static void llama3_scaling_keeps_short_waves_divides_long_ones_and_blends_between(void **unused) {
    (void)unused;
    long double freq[MAX_HALF];
    hth_rope r = {.n_rot = 128,
                  .theta = 500000,
                  .scaling = HTH_SCALING_LLAMA3,
                  .factor = 8,
                  .low_freq_factor = 1,
                  .high_freq_factor = 4,
                  .n_ctx_orig = 8192};
    hth_arena arena;
    prepare(&r, &arena);
    plain_freqs(128, 64, 500000, freq);
    int kept = 0, divided = 0, blended = 0;
    for (int i = 0; i < 64; i++) {
        const long double turns = 8192 * freq[i] / (2 * PI); // over the original context
        if (turns > 4) {
            kept++;
        } else if (turns < 1) {
            divided++;
            freq[i] /= 8;
        } else {
            blended++;
            const long double smooth = (turns - 1) / 3;
            freq[i] = freq[i] * smooth + freq[i] / 8 * (1 - smooth);
        }
    }
    assert_true(kept > 0 && divided > 0 && blended > 0);
    compare(&r, 4096, freq, 1);
    hth_arena_free(&arena);
}

// arXiv:2309.00071: pairs that turn more than beta_fast times over the original context are kept, fewer than
// beta_slow times are divided, a straight ramp between; bounds rounded outwards.
static void yarn_freqs(const hth_rope *r, long double *freq) {
    const long double unit = r->n_rot / (2 * logl((long double)r->theta));
    long double low = unit * logl((long double)r->n_ctx_orig / ((long double)r->beta_fast * 2 * PI));
    long double high = unit * logl((long double)r->n_ctx_orig / ((long double)r->beta_slow * 2 * PI));
    if (!r->yarn_no_truncate) {
        low = floorl(low);
        high = ceill(high);
    }
    low = fmaxl(low, 0);
    high = fminl(high, r->n_rot - 1);
    plain_freqs(r->n_rot, r->n_rot / 2, (long double)r->theta, freq);
    for (int i = 0; i < r->n_rot / 2; i++) {
        const long double ramp = fminl(fmaxl((i - low) / (high - low), 0), 1);
        freq[i] = freq[i] / (long double)r->factor * ramp + freq[i] * (1 - ramp);
    }
}

static void yarn_ramps_between_its_betas_and_raises_the_magnitude(void **unused) {
    (void)unused;
    for (int variant = 0; variant < 4; variant++) {
        long double freq[MAX_HALF], magnitude = 0.1L * logl(40) + 1;
        hth_rope r = {.n_rot = 64,
                      .theta = 10000,
                      .scaling = HTH_SCALING_YARN,
                      .factor = 40,
                      .beta_fast = 32,
                      .beta_slow = 1,
                      .n_ctx_orig = 4096,
                      .yarn_no_truncate = variant == 1};
        if (variant == 2) { // as DeepSeek publishes it
            r.mscale = 1;
            r.mscale_all_dim = 0.707;
            magnitude = (0.1L * logl(40) + 1) / (0.1L * 0.707L * logl(40) + 1);
        }
        if (variant == 3) {
            r.attn_factor = 1.25;
            magnitude = 1.25L;
        }
        hth_arena arena;
        prepare(&r, &arena);
        yarn_freqs(&r, freq);
        compare(&r, 163840, freq, magnitude);
        hth_arena_free(&arena);
    }
}

static void yarn_with_a_factor_of_one_changes_nothing(void **unused) {
    (void)unused;
    long double freq[MAX_HALF];
    hth_rope r = {.n_rot = 64,
                  .theta = 10000,
                  .scaling = HTH_SCALING_YARN,
                  .factor = 1,
                  .beta_fast = 32,
                  .beta_slow = 1,
                  .n_ctx_orig = 4096};
    hth_arena arena;
    prepare(&r, &arena);
    plain_freqs(64, 32, 10000, freq);
    compare(&r, 4096, freq, 1);
    hth_arena_free(&arena);
}

static void longrope_takes_the_long_divisors_when_the_context_is_longer_than_the_original(void **unused) {
    (void)unused;
    float divisors[2][24];
    long double freq[2][MAX_HALF];
    plain_freqs(48, 24, 10000, freq[0]);
    plain_freqs(48, 24, 10000, freq[1]);
    for (int i = 0; i < 24; i++) {
        divisors[0][i] = 1 + 0.0625f * (float)i;
        divisors[1][i] = 1 + 1.5f * (float)i;
        for (int set = 0; set < 2; set++) freq[set][i] /= (long double)divisors[set][i];
    }
    hth_rope r = {.n_rot = 48,
                  .theta = 10000,
                  .scaling = HTH_SCALING_LONGROPE,
                  .n_ctx_orig = 4096,
                  .n_ctx_max = 131072,
                  .divisors = {divisors[0], divisors[1]}};
    hth_arena arena;
    prepare(&r, &arena);
    const long double magnitude = sqrtl(1 + logl(32) / logl(4096));
    compare(&r, 4096, freq[0], magnitude);
    compare(&r, 4097, freq[1], magnitude);
    hth_arena_free(&arena);
}

static void divisors_of_a_file_divide_each_frequency(void **unused) {
    (void)unused;
    float divisors[16];
    long double freq[MAX_HALF];
    plain_freqs(32, 16, 10000, freq);
    for (int i = 0; i < 16; i++) {
        divisors[i] = i < 9 ? 1 : 1e30f; // such pairs stand still
        freq[i] /= (long double)divisors[i];
    }
    hth_rope r = {.n_rot = 32, .theta = 10000, .divisors = {divisors, divisors}};
    hth_arena arena;
    prepare(&r, &arena);
    compare(&r, 4096, freq, 1);
    hth_arena_free(&arena);
}

static void some_pairs_turn_and_the_rest_stay(void **unused) {
    (void)unused;
    long double freq[MAX_HALF];
    hth_rope r = {.n_rot = 64,
                  .theta = 1e6,
                  .n_turning = 8,
                  .n_freq_dim = 128,
                  .scaling = HTH_SCALING_LINEAR,
                  .factor = 2};
    hth_arena arena;
    prepare(&r, &arena);
    plain_freqs(128, 32, 1000000, freq);
    for (int i = 0; i < 32; i++) freq[i] = i < 8 ? freq[i] / 2 : 0;
    compare(&r, 4096, freq, 1);
    hth_arena_free(&arena);
}

static void what_no_rotation_can_be_is_refused_by_name(void **unused) {
    static const float good[2] = {1, 1}, zero[2] = {1, 0}, nan_[2] = {NAN, 1};
    const struct {
        const char *says;
        hth_rope rope;
    } cases[] = {
        {"dimension is 0", {.n_rot = 0, .theta = 1e4}},
        {"dimension is 3", {.n_rot = 3, .theta = 1e4}},
        {"dimension is -2", {.n_rot = -2, .theta = 1e4}},
        {"theta is 1,", {.n_rot = 4, .theta = 1}},
        {"theta is -5", {.n_rot = 4, .theta = -5}},
        {"theta is inf", {.n_rot = 4, .theta = INFINITY}},
        {"theta is", {.n_rot = 4, .theta = NAN}},
        {"factor is 0", {.n_rot = 4, .theta = 1e4, .scaling = HTH_SCALING_LINEAR}},
        {"factor is -1",
         {.n_rot = 4, .theta = 1e4, .scaling = HTH_SCALING_YARN, .factor = -1, .n_ctx_orig = 64}},
        {"original context",
         {.n_rot = 4, .theta = 1e4, .scaling = HTH_SCALING_YARN, .factor = 2, .n_ctx_orig = 1}},
        {"ascending",
         {.n_rot = 4,
          .theta = 1e4,
          .scaling = HTH_SCALING_LLAMA3,
          .factor = 2,
          .n_ctx_orig = 64,
          .low_freq_factor = 4,
          .high_freq_factor = 4}},
        {"beta",
         {.n_rot = 4,
          .theta = 1e4,
          .scaling = HTH_SCALING_YARN,
          .factor = 2,
          .n_ctx_orig = 64,
          .beta_fast = 32}},
        {"short and long",
         {.n_rot = 4, .theta = 1e4, .scaling = HTH_SCALING_LONGROPE, .n_ctx_orig = 64, .divisors = {good}}},
        {"factor 1 is 0", {.n_rot = 4, .theta = 1e4, .divisors = {good, zero}}},
        {"factor 0 is", {.n_rot = 4, .theta = 1e4, .divisors = {nan_, good}}},
        {"attention factor", {.n_rot = 4, .theta = 1e4, .attn_factor = 1e300}},
        {"attention factor", {.n_rot = 4, .theta = 1e4, .attn_factor = -1}},
    };
    (void)unused;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_arena arena;
        hth_err err = {0};
        hth_rope r = cases[i].rope;
        hth_arena_init(&arena, HTH_MEM_MODEL, 1 << 20);
        assert_int_equal(hth_rope_prepare(&r, &arena, &err), HTH_ERR_FORMAT);
        if (!strstr(err.msg, cases[i].says)) fail_msg("expected \"%s\" in \"%s\"", cases[i].says, err.msg);
        hth_arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_angles_are_right_up_to_a_million_positions),
        cmocka_unit_test(linear_scaling_divides_the_positions),
        cmocka_unit_test(llama3_scaling_keeps_short_waves_divides_long_ones_and_blends_between),
        cmocka_unit_test(yarn_ramps_between_its_betas_and_raises_the_magnitude),
        cmocka_unit_test(yarn_with_a_factor_of_one_changes_nothing),
        cmocka_unit_test(longrope_takes_the_long_divisors_when_the_context_is_longer_than_the_original),
        cmocka_unit_test(divisors_of_a_file_divide_each_frequency),
        cmocka_unit_test(some_pairs_turn_and_the_rest_stay),
        cmocka_unit_test(what_no_rotation_can_be_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
