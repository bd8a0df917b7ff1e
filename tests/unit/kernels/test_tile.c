// Attention of a tile of queries: lanes that do not depend on each other, sums in a fixed order, online softmax.
#include "check.h"

enum { LANES = HTH_TILE_LANES, MAX_KEYS = 256 };

static const int64_t dims[] = {0, 1, 3, 4, 12, 13, 64, 80, 100, 128, 257};
static const int64_t n_keys[] = {0, 1, 3, 4, 5, 6, 12, 13, 17, 100, 256};

// The lanes that exist, from a tile of the reference and one of a level.
static void assert_same_lanes(const char *level, const char *op, const float *got, const float *want, int64_t n_row,
                              int64_t n_q) {
    for (int64_t r = 0; r < n_row; r++)
        for (int64_t c = 0; c < n_q; c++)
            if (!same_float(got[r * LANES + c], want[r * LANES + c]))
                fail_msg("%s %s: row %d of %d, lane %d of %d is %a, not %a", op, level, (int)r, (int)n_row, (int)c, (int)n_q,
                         (double)got[r * LANES + c], (double)want[r * LANES + c]);
}

#define FOR_EACH_SHAPE(dim, n_key)                                                                      \
    for (size_t i_dim_ = 0, i_key_ = 0; i_dim_ < HTH_COUNT(dims); i_key_ = 0, i_dim_++)                 \
        for (int64_t dim = dims[i_dim_], n_key; i_key_ < HTH_COUNT(n_keys) && (n_key = n_keys[i_key_], true); i_key_++)

static void scores_have_the_bits_of_the_reference_at_every_level(void **state) {
    (void)state;
    static float want[MAX_KEYS * LANES];
    hth_kernels k, ref;
    const char *level;
    hth_kernels_fill(&ref, 0);
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SHAPE(dim, n_key) {
            const int64_t n_q = 1 + random_bits() % LANES;
            float *keys = guarded_floats(0, n_key * dim, side), *q = guarded_floats(1, dim * LANES, side);
            float *s = guarded_floats(2, n_key * LANES, side);
            fill_normal(keys, n_key * dim);
            fill_normal(q, dim * LANES);
            ref.tile_scores(keys, n_key, dim, q, n_q, want);
            k.tile_scores(keys, n_key, dim, q, n_q, s);
            assert_same_lanes(level, "tile_scores", s, want, n_key, n_q);
        }
}

static void values_have_the_bits_of_the_reference_at_every_level(void **state) {
    (void)state;
    static float want[257 * LANES];
    hth_kernels k, ref;
    const char *level;
    hth_kernels_fill(&ref, 0);
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        FOR_EACH_SHAPE(dim, n_key) {
            const int64_t n_q = 1 + random_bits() % LANES;
            float *values = guarded_floats(0, n_key * dim, side), *s = guarded_floats(1, n_key * LANES, side);
            float *acc = guarded_floats(2, dim * LANES, side), keep[LANES];
            fill_normal(values, n_key * dim);
            fill_normal(s, n_key * LANES);
            fill_normal(keep, LANES);
            fill_normal(acc, dim * LANES);
            memcpy(want, acc, (size_t)(dim * LANES) * sizeof *want);
            ref.tile_values(values, n_key, dim, s, keep, n_q, want);
            k.tile_values(values, n_key, dim, s, keep, n_q, acc);
            assert_same_lanes(level, "tile_values", acc, want, dim, n_q);
        }
}

static void tile_equals_double(const char *level, const float *s, const float *e, int64_t n_key, int64_t c, float top,
                               double sum_before, float top_before, float sum, float keep) {
    double most = top_before, want = 0;
    for (int64_t j = 0; j < n_key; j++) most = fmax(most, s[j * LANES + c]);
    if (!same_float(top, (float)most)) fail_msg("tile_softmax %s: maximum %g, not %g", level, (double)top, most);
    if (most == -INFINITY) {
        assert_true(sum == 0);
        for (int64_t j = 0; j < n_key; j++) assert_true(e[j * LANES + c] == 0);
        return;
    }
    for (int64_t j = 0; j < n_key; j++) {
        const double p = exp((double)(s[j * LANES + c] - top)); // the difference is rounded
        if (!(fabs(e[j * LANES + c] - p) <= 1e-6 * p + 1e-37))
            fail_msg("tile_softmax %s: key %d of %d, lane %d: %g, not %g", level, (int)j, (int)n_key, (int)c,
                     (double)e[j * LANES + c], p);
        want += p;
    }
    const double kept = exp((double)(top_before - top));
    assert_true(fabs(keep - kept) <= 1e-6 * kept + 1e-37);
    want += sum_before * kept;
    if (!(fabs(sum - want) <= 1e-5 * want)) fail_msg("tile_softmax %s: sum %g, not %g", level, (double)sum, want);
}

static void softmax_is_right_block_after_block(void **state) {
    (void)state;
    static float s[MAX_KEYS * LANES];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        for (size_t i = 0; i < HTH_COUNT(n_keys); i++) {
            const int64_t n_key = n_keys[i], n_q = 1 + random_bits() % LANES;
            float top[LANES], sum[LANES], keep[LANES];
            for (int c = 0; c < LANES; c++) top[c] = -INFINITY, sum[c] = 0;
            for (int block = 0; block < 4; block++) {
                float top_before[LANES], sum_before[LANES];
                float *e = guarded_floats(0, n_key * LANES, side);
                for (int64_t j = 0; j < n_key * LANES; j++) {
                    const bool hidden = j % LANES % 3 == 0 && (block == 0 || j / LANES > n_key / 2);
                    s[j] = e[j] = hidden ? -INFINITY : random_normal() * 10;
                }
                memcpy(top_before, top, sizeof top);
                memcpy(sum_before, sum, sizeof sum);
                k.tile_softmax(e, n_key, n_q, top, sum, keep);
                for (int64_t c = 0; c < n_q; c++)
                    tile_equals_double(level, s, e, n_key, c, top[c], sum_before[c], top_before[c], sum[c], keep[c]);
            }
        }
}

// What other lanes hold, how many there are, and hidden keys around a lane's own change none of its bits.
static void a_lane_is_alone(void **state) {
    (void)state;
    enum { N = 37, BEFORE = 5, AFTER = 9, ALL = BEFORE + N + AFTER, DIM = 20 };
    static float few[N * LANES], many[ALL * LANES], v[ALL * DIM], acc_few[DIM * LANES], acc_many[DIM * LANES];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (int64_t c = 0; c < LANES; c++) {
        float top[LANES], sum[LANES], keep[LANES], top_m[LANES], sum_m[LANES], keep_m[LANES];
        fill_normal(few, N * LANES);
        fill_normal(many, ALL * LANES);
        fill_normal(v, ALL * DIM);
        fill_normal(acc_few, DIM * LANES);
        fill_normal(acc_many, DIM * LANES);
        fill_normal(top, LANES);
        fill_normal(top_m, LANES);
        memset(sum, 0, sizeof sum);
        memset(sum_m, 0, sizeof sum_m);
        top[0] = top_m[c], sum[0] = sum_m[c] = 1;
        for (int64_t d = 0; d < DIM; d++) acc_few[d * LANES] = acc_many[d * LANES + c];
        for (int64_t j = 0; j < ALL; j++) {
            const bool seen = j >= BEFORE && j < BEFORE + N;
            many[j * LANES + c] = seen ? few[(j - BEFORE) * LANES] : -INFINITY;
        }
        k.tile_softmax(few, N, 1, top, sum, keep);
        k.tile_values(v + BEFORE * DIM, N, DIM, few, keep, 1, acc_few);
        k.tile_softmax(many, ALL, c + 1, top_m, sum_m, keep_m);
        k.tile_values(v, ALL, DIM, many, keep_m, c + 1, acc_many);
        assert_same_floats(level, "sum of a lane", &sum_m[c], &sum[0], 1);
        for (int64_t d = 0; d < DIM; d++)
            assert_same_floats(level, "value of a lane", &acc_many[d * LANES + c], &acc_few[d * LANES], 1);
    }
}

static void nan_stays_in_its_lane(void **state) {
    (void)state;
    enum { N = 9 };
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        float s[N * LANES], top[LANES], sum[LANES] = {0}, keep[LANES];
        fill_normal(s, N * LANES);
        s[5 * LANES + 3] = NAN;
        for (int c = 0; c < LANES; c++) top[c] = -INFINITY;
        k.tile_softmax(s, N, LANES, top, sum, keep);
        for (int c = 0; c < LANES; c++) assert_int_equal(isnan(sum[c]) != 0, c == 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_have_the_bits_of_the_reference_at_every_level),
        cmocka_unit_test(values_have_the_bits_of_the_reference_at_every_level),
        cmocka_unit_test(softmax_is_right_block_after_block),
        cmocka_unit_test(a_lane_is_alone),
        cmocka_unit_test(nan_stays_in_its_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
