// Attention over stored keys and values, every level and type.
#include "check.h"

static const char *const type_names[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q5_0"};
static const int64_t head_dims[] = {0, 1, 3, 7, 8, 16, 17, 32, 40, 64, 80, 96, 100, 128, 160, 257, 576};
enum { MAX_HEADS = 9, MAX_DIM = 600 };

static float read_kv(hth_kv_type type, const uint8_t *p, int64_t i) {
    float f, block[HTH_KV_BLOCK];
    uint16_t h;
    static const hth_type types[HTH_KV_TYPE_COUNT] = {
        [HTH_KV_Q8_0] = HTH_TYPE_Q8_0, [HTH_KV_Q4_0] = HTH_TYPE_Q4_0, [HTH_KV_Q5_0] = HTH_TYPE_Q5_0};
    if (hth_kv_is_block(type)) {
        const hth_type_info *info = hth_type_get(types[type]);
        info->dequantize(p + i / HTH_KV_BLOCK * info->block_bytes, block, HTH_KV_BLOCK);
        return block[i % HTH_KV_BLOCK];
    }
    if (type == HTH_KV_F32) return memcpy(&f, p + 4 * i, 4), f;
    memcpy(&h, p + 2 * i, 2);
    return type == HTH_KV_F16 ? hth_f16_to_f32(h) : hth_bf16_to_f32(h);
}

// n_key vectors of head_dim, `stride` apart, at an odd address, ending (or beginning) at a guard page.
static hth_kv_run make_kv(int slot, hth_kv_type type, int64_t n_key, int64_t head_dim, guard_side side) {
    const int64_t bytes = hth_kv_row_bytes(type, head_dim), stride = bytes + 3;
    uint8_t *p = guarded(slot, n_key ? (size_t)((n_key - 1) * stride + bytes) : 0, side);
    hth_kernels ref;
    hth_kernels_fill(&ref, 0);
    for (int64_t j = 0; j < n_key; j++) {
        float v[MAX_DIM];
        fill_normal(v, head_dim);
        ref.kv_store[type](p + j * stride, v, head_dim);
    }
    return (hth_kv_run){p, stride, n_key, head_dim};
}

static hth_kv_run part_of(const hth_kv_run *run, int64_t first, int64_t n) {
    return (hth_kv_run){(const uint8_t *)run->data + first * run->stride, run->stride, n, run->dim};
}

static double dot(hth_kv_type type, const float *q, const hth_kv_run *k, int64_t j, double *size) {
    double want = 0;
    *size = 0;
    for (int64_t d = 0; d < k->dim; d++) {
        const double product = (double)q[d] * read_kv(type, (const uint8_t *)k->data + j * k->stride, d);
        want += product, *size += fabs(product);
    }
    return want;
}

static void check_dot(const char *level, const hth_kernels *k, hth_kv_type type, int64_t n_key, int64_t n,
                      guard_side side) {
    const float scale = 0.125f;
    const int64_t n_q = 1 + random_bits() % MAX_HEADS, q_stride = n + random_bits() % 3,
                  score_stride = n_key + random_bits() % 3;
    const hth_kv_run keys = make_kv(0, type, n_key, n, side);
    float *q = guarded_floats(1, (n_q - 1) * q_stride + n, side);
    float *score = guarded_floats(2, (n_q - 1) * score_stride + n_key, side);
    fill_normal(q, (n_q - 1) * q_stride + n);
    k->kv_dot[type](&keys, q, q_stride, n_q, scale, score, score_stride);
    for (int64_t i = 0; i < n_q; i++)
        for (int64_t j = 0; j < n_key; j++) {
            double size;
            const double want = dot(type, q + i * q_stride, &keys, j, &size);
            const float got = score[i * score_stride + j];
            if (!(fabs(got - want * scale) <= 5e-7 * size * scale))
                fail_msg("kv_dot %s %s: key %d of %d, head %d of %d, head_dim %d: %g, not %g", type_names[type], level,
                         (int)j, (int)n_key, (int)i, (int)n_q, (int)n, (double)got, want * scale);
            float alone;
            const hth_kv_run key = part_of(&keys, j, 1);
            k->kv_dot[type](&key, q + i * q_stride, q_stride, 1, scale, &alone, 1);
            assert_same_floats(level, "kv_dot of one key and head", &alone, &got, 1);
        }
}

static void check_acc(const char *level, const hth_kernels *k, hth_kv_type type, int64_t n_key, int64_t n,
                      guard_side side) {
    static float parts[MAX_HEADS * (MAX_DIM + 2)], before[MAX_HEADS * (MAX_DIM + 2)];
    const int64_t n_q = 1 + random_bits() % MAX_HEADS, p_stride = n_key + random_bits() % 3, stride = n + random_bits() % 3;
    const int64_t n_acc = (n_q - 1) * stride + n, n_p = (n_q - 1) * p_stride + n_key;
    const hth_kv_run values = make_kv(0, type, n_key, n, side);
    float *p = guarded_floats(1, n_p, side), *acc = guarded_floats(2, n_acc, side);
    fill_normal(p, n_p);
    fill_normal(acc, n_acc);
    memcpy(before, acc, (size_t)n_acc * sizeof *acc);
    memcpy(parts, acc, (size_t)n_acc * sizeof *acc);
    k->kv_acc[type](&values, p, p_stride, n_q, acc, stride);
    for (int64_t i = 0; i < n_q; i++)
        for (int64_t d = 0; d < n; d++) {
            double want = before[i * stride + d], size = fabs(want);
            for (int64_t j = 0; j < n_key; j++) {
                const uint8_t *value = (const uint8_t *)values.data + j * values.stride;
                const double product = (double)p[i * p_stride + j] * read_kv(type, value, d);
                want += product, size += fabs(product);
            }
            if (!(fabs(acc[i * stride + d] - want) <= 1e-6 * size))
                fail_msg("kv_acc %s %s: element %d of %d, head %d of %d, %d keys: %g, not %g", type_names[type], level,
                         (int)d, (int)n, (int)i, (int)n_q, (int)n_key, (double)acc[i * stride + d], want);
        }
    for (int64_t i = 0; i < n_q; i++) // head by head, and the keys in pieces
        for (int64_t j = 0, m; j < n_key; j += m) {
            m = 1 + random_bits() % 4;
            if (j + m > n_key) m = n_key - j;
            const hth_kv_run some = part_of(&values, j, m);
            k->kv_acc[type](&some, p + i * p_stride + j, p_stride, 1, parts + i * stride, stride);
        }
    assert_same_floats(level, "kv_acc in parts", parts, acc, n_acc);
}

static void check_load(const char *level, const hth_kernels *k, hth_kv_type type, int64_t n_key, int64_t n,
                       guard_side side) {
    const hth_kv_run run = make_kv(0, type, n_key, n, side);
    float *got = guarded_floats(1, n_key * n, side);
    k->kv_load[type](&run, got);
    for (int64_t j = 0; j < n_key; j++)
        for (int64_t d = 0; d < n; d++) {
            const float want = read_kv(type, (const uint8_t *)run.data + j * run.stride, d);
            if (!same_float(got[j * n + d], want))
                fail_msg("kv_load %s %s: number %d of row %d is %a, not %a", type_names[type], level, (int)d, (int)j,
                         (double)got[j * n + d], (double)want);
        }
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
                for (size_t h = 0; h < HTH_COUNT(head_dims); h++) check(level, &k, type, n_keys[i], head_dims[h], side);
}

static void scores_are_right_and_do_not_depend_on_other_keys_or_heads(void **state) {
    (void)state;
    check_all(check_dot);
}

static void weighted_values_are_right_however_the_run_is_cut(void **state) {
    (void)state;
    check_all(check_acc);
}

static void rows_are_widened_exactly(void **state) {
    (void)state;
    check_all(check_load);
}

static void nan_in_one_key_stays_in_its_score(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_kv_type type = 0; type < HTH_KV_TYPE_COUNT; type++) {
        enum { N = 64 };
        float q[3 * N], key[N], score[3 * 6];
        uint8_t keys[6 * N * 4];
        const int64_t stride = hth_kv_row_bytes(type, N);
        fill_normal(q, 3 * N);
        for (int j = 0; j < 6; j++) {
            fill_normal(key, N);
            if (j == 4) key[N - 1] = NAN;
            k.kv_store[type](keys + j * stride, key, N);
        }
        k.kv_dot[type](&(hth_kv_run){keys, stride, 6, N}, q, N, 3, 1, score, 6);
        for (int j = 0; j < 18; j++) assert_int_equal(isnan(score[j]) != 0, j % 6 == 4);
    }
}

static void check_store(const char *level, const hth_kernels *k, hth_kv_type type, const float *src,
                        int64_t n, guard_side side) {
    static uint8_t want[5000 * 4];
    const size_t n_bytes = hth_kv_row_bytes(type, n);
    hth_kernels ref;
    hth_kernels_fill(&ref, 0);
    ref.kv_store[type](want, src, n);
    uint8_t *got = guarded(3, n_bytes, side);
    k->kv_store[type](got, src, n);
    if (hth_kv_is_block(type)) {
        for (size_t i = 0; i < n_bytes; i++)
            if (got[i] != want[i]) fail_msg("kv_store %s %s: byte %d is %d, not %d", type_names[type], level, (int)i, got[i], want[i]);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float a = read_kv(type, got, i), b = read_kv(type, want, i);
        if (!same_float(a, b))
            fail_msg("kv_store %s %s: %a became %a, not %a", type_names[type], level, (double)src[i],
                     (double)a, (double)b);
    }
}

// Numbers for blocks: ties of rounding, steps too small to divide by, blocks of one number, of zeros.
static void fill_blocks(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += HTH_KV_BLOCK) {
        const uint32_t kind = random_bits() % 8;
        const float size = ldexpf(1, (int)(random_bits() % 60) - 30);
        const int64_t end = i + HTH_KV_BLOCK < n ? i + HTH_KV_BLOCK : n;
        for (int64_t j = i; j < end; j++) {
            const float half = ((float)(random_bits() % 509) - 254) * 0.5f;
            x[j] = kind == 0 ? 0.0f : kind == 1 ? 1e-41f * random_normal() : kind == 2 ? half * size : random_normal() * size;
        }
        if (kind == 2) x[i + random_bits() % (uint32_t)(end - i)] = 127 * size;
        if (kind == 3) for (int64_t j = i; j < end; j++) x[j] = j % 2 ? size : -size;
        if (kind == 4) x[i + random_bits() % (uint32_t)(end - i)] = random_bits() % 2 ? NAN : -INFINITY;
        if (kind == 5) x[i] = 1e38f;
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
                if (hth_kv_is_block(type)) continue;
                float *src = guarded_floats(0, n, side);
                for (int64_t i = 0; i < n; i++) src[i] = next_stored();
                check_store(level, &k, type, src, n, side);
            }
}

static void stores_of_blocks_are_the_quantizers(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_kv_type type = HTH_KV_Q8_0; type <= HTH_KV_Q5_0; type++)
        for (guard_side side = 0; side < GUARD_SIDES; side++)
            for (int64_t n = 0; n <= 4096; n = n < 160 ? n + 8 : n < 320 ? n + 31 : n * 2) {
                float *src = guarded_floats(0, n, side);
                fill_blocks(src, n);
                check_store(level, &k, type, src, n, side);
            }
}

static void a_block_with_a_number_that_is_not_finite_becomes_nan(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level)
    for (hth_kv_type type = HTH_KV_Q8_0; type <= HTH_KV_Q5_0; type++) {
        float src[80], got[80];
        uint8_t stored[96 * 4];
        for (int bad = 40; bad < 80; bad += 30) { // in a whole block, and in the one of 16 numbers
            fill_normal(src, 80);
            src[bad] = INFINITY;
            k.kv_store[type](stored, src, 80);
            k.kv_load[type](&(hth_kv_run){stored, 0, 1, 80}, got);
            for (int i = 0; i < 80; i++) assert_int_equal(isnan(got[i]) != 0, i / 32 == bad / 32);
        }
    }
}

// Against the matrix itself: entry (i, j) has the sign of the parity of the bits that i and j share.
static void the_hadamard_transform_is_its_matrix_and_its_own_inverse(void **state) {
    static const int64_t dims[] = {64, 80, 96, 128, 256, 576, 12};
    (void)state;
    for (size_t c = 0; c < HTH_COUNT(dims); c++) {
        const int64_t dim = dims[c], block = dim & -dim, n = 3 * dim;
        float x[3 * 576], y[3 * 576];
        fill_normal(x, n);
        memcpy(y, x, sizeof x);
        hth_hadamard(y, n, dim);
        for (int64_t i = 0; i < n; i++) {
            double want = 0;
            for (int64_t j = 0; j < block; j++) {
                int sign = 1;
                for (int64_t both = i % block & j; both; both &= both - 1) sign = -sign;
                want += sign * (double)x[i / block * block + j];
            }
            assert_true(fabs(y[i] - want / sqrt((double)block)) < 1e-5);
        }
        hth_hadamard(y, n, dim);
        for (int64_t i = 0; i < n; i++) assert_true(fabsf(y[i] - x[i]) < 1e-5f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_right_and_do_not_depend_on_other_keys_or_heads),
        cmocka_unit_test(weighted_values_are_right_however_the_run_is_cut),
        cmocka_unit_test(rows_are_widened_exactly),
        cmocka_unit_test(nan_in_one_key_stays_in_its_score),
        cmocka_unit_test(stores_round_as_the_reference_does),
        cmocka_unit_test(stores_of_blocks_are_the_quantizers),
        cmocka_unit_test(the_hadamard_transform_is_its_matrix_and_its_own_inverse),
        cmocka_unit_test(a_block_with_a_number_that_is_not_finite_becomes_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
