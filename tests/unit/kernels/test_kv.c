// Attention over stored keys and values, every level and type.
#include "check.h"

static const char *const type_names[] = {"f32", "f16", "bf16"};
static const int64_t head_dims[] = {0, 1, 3, 7, 8, 16, 17, 40, 64, 80, 100, 128, 257, 576};

static float read_kv(hth_kv_type type, const uint8_t *p, int64_t i) {
    float f;
    uint16_t h;
    if (type == HTH_KV_F32) return memcpy(&f, p + 4 * i, 4), f;
    memcpy(&h, p + 2 * i, 2);
    return type == HTH_KV_F16 ? hth_f16_to_f32(h) : hth_bf16_to_f32(h);
}

// n_key vectors of head_dim, `stride` apart, at an odd address, ending (or beginning) at a guard page.
static uint8_t *make_kv(int slot, hth_kv_type type, int64_t n_key, int64_t head_dim, int64_t stride,
                        guard_side side) {
    int64_t bytes = head_dim * hth_kv_elem_bytes(type);
    uint8_t *p = guarded(slot, n_key ? (size_t)((n_key - 1) * stride + bytes) : 0, side);
    hth_kernels ref;
    hth_kernels_fill(&ref, 0);
    for (int64_t j = 0; j < n_key; j++) {
        float v[600];
        fill_normal(v, head_dim);
        ref.kv_store[type](p + j * stride, v, head_dim);
    }
    return p;
}

static void check_dot(const char *level, const hth_kernels *k, hth_kv_type type, int64_t n_key, int64_t n,
                      guard_side side) {
    const int64_t stride = n * hth_kv_elem_bytes(type) + 3;
    const float scale = 0.125f;
    uint8_t *keys = make_kv(0, type, n_key, n, stride, side);
    float *q = guarded_floats(1, n, side), *score = guarded_floats(2, n_key, side);
    fill_normal(q, n);
    k->kv_dot[type](q, keys, stride, n_key, n, scale, score);
    for (int64_t j = 0; j < n_key; j++) {
        double want = 0, size = 0;
        for (int64_t d = 0; d < n; d++) {
            double product = (double)q[d] * read_kv(type, keys + j * stride, d);
            want += product, size += fabs(product);
        }
        if (!(fabs(score[j] - want * scale) <= 5e-7 * size * scale))
            fail_msg("kv_dot %s %s: key %d of %d, head_dim %d: %g, not %g", type_names[type], level, (int)j,
                     (int)n_key, (int)n, (double)score[j], want * scale);
        float alone;
        k->kv_dot[type](q, keys + j * stride, stride, 1, n, scale, &alone);
        assert_same_floats(level, "kv_dot of one key", &alone, &score[j], 1);
    }
}

static void check_acc(const char *level, const hth_kernels *k, hth_kv_type type, int64_t n_key, int64_t n,
                      guard_side side) {
    const int64_t stride = n * hth_kv_elem_bytes(type) + 3;
    uint8_t *values = make_kv(0, type, n_key, n, stride, side);
    float *p = guarded_floats(1, n_key, side), *acc = guarded_floats(2, n, side), parts[600], before[600];
    fill_normal(p, n_key);
    fill_normal(acc, n);
    memcpy(before, acc, (size_t)n * sizeof *acc);
    memcpy(parts, acc, (size_t)n * sizeof *acc);
    k->kv_acc[type](p, values, stride, n_key, n, acc);
    for (int64_t d = 0; d < n; d++) {
        double want = before[d], size = fabs(want);
        for (int64_t j = 0; j < n_key; j++) {
            double product = (double)p[j] * read_kv(type, values + j * stride, d);
            want += product, size += fabs(product);
        }
        if (!(fabs(acc[d] - want) <= 1e-6 * size))
            fail_msg("kv_acc %s %s: element %d of %d, %d keys: %g, not %g", type_names[type], level, (int)d,
                     (int)n, (int)n_key, (double)acc[d], want);
    }
    for (int64_t j = 0, m; j < n_key; j += m) {
        m = 1 + random_bits() % 4;
        if (j + m > n_key) m = n_key - j;
        k->kv_acc[type](p + j, values + j * stride, stride, m, n, parts);
    }
    assert_same_floats(level, "kv_acc in parts", parts, acc, n);
}

typedef void check_fn(const char *level, const hth_kernels *k, hth_kv_type type, int64_t n_key, int64_t n,
                      guard_side side);

static void check_all(check_fn *check) {
    static const int64_t n_keys[] = {0, 1, 2, 3, 4, 5, 16, 33};
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_kv_type type = 0; type < HTH_KV_TYPE_COUNT; type++)
        for (guard_side side = 0; side < GUARD_SIDES; side++)
            for (size_t i = 0; i < HTH_COUNT(n_keys); i++)
                for (size_t h = 0; h < HTH_COUNT(head_dims); h++)
                    check(level, &k, type, n_keys[i], head_dims[h], side);
}

static void scores_are_right_and_do_not_depend_on_other_keys(void **state) {
    (void)state;
    check_all(check_dot);
}

static void weighted_values_are_right_however_the_run_is_cut(void **state) {
    (void)state;
    check_all(check_acc);
}

static void nan_in_one_key_stays_in_its_score(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        float q[20], keys[6 * 20], score[6];
        fill_normal(q, 20);
        fill_normal(keys, 6 * 20);
        keys[4 * 20 + 19] = NAN;
        k.kv_dot[HTH_KV_F32](q, keys, 80, 6, 20, 1, score);
        for (int j = 0; j < 6; j++) assert_int_equal(isnan(score[j]) != 0, j == 4);
    }
}

static void check_store(const char *level, const hth_kernels *k, hth_kv_type type, const float *src,
                        int64_t n, guard_side side) {
    static uint8_t want[5000 * 4];
    hth_kernels ref;
    hth_kernels_fill(&ref, 0);
    ref.kv_store[type](want, src, n);
    uint8_t *got = guarded(3, (size_t)n * hth_kv_elem_bytes(type), side);
    k->kv_store[type](got, src, n);
    for (int64_t i = 0; i < n; i++) {
        float a = read_kv(type, got, i), b = read_kv(type, want, i);
        if (!same_float(a, b))
            fail_msg("kv_store %s %s: %a became %a, not %a", type_names[type], level, (double)src[i],
                     (double)a, (double)b);
    }
}

// Values of every size, halfway cases of both rounding steps among them, NaN and infinities.
static float next_stored(void) {
    uint32_t bits = random_bits();
    switch (random_bits() % 8) {
    case 0: return hth_f32_from_bits(bits);
    case 1: return hth_f32_from_bits((bits & 0xffffe000u) | 0x1000); // halfway between f16 numbers
    case 2: return hth_f32_from_bits((bits & 0xffff0000u) | 0x8000); // halfway between bf16 numbers
    case 3: return hth_f16_to_f32((uint16_t)(bits & 0x83ff)) * 1.5f; // f16 subnormals
    case 4: return extremes[bits % HTH_COUNT(extremes)];
    case 5: return hth_f32_from_bits((bits & 0x80000fffu) | 0x7f800001); // NaN that would round to infinity
    case 6: return hth_f32_from_bits((bits & 0x80000fffu) | 0x7ffff000); // NaN that would round to zero
    default: return random_normal() * 1000;
    }
}

static void stores_round_as_the_reference_does(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_kv_type type = 0; type < HTH_KV_TYPE_COUNT; type++)
        for (guard_side side = 0; side < GUARD_SIDES; side++)
            FOR_EACH_SIZE(n) {
                float *src = guarded_floats(0, n, side);
                for (int64_t i = 0; i < n; i++) src[i] = next_stored();
                check_store(level, &k, type, src, n, side);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_right_and_do_not_depend_on_other_keys),
        cmocka_unit_test(weighted_values_are_right_however_the_run_is_cut),
        cmocka_unit_test(nan_in_one_key_stays_in_its_score),
        cmocka_unit_test(stores_round_as_the_reference_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
