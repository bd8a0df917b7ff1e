// The table of types and the arithmetic behind it. Bit-exactness against other programs is the business
// of tests/parity/test_quant.py; here are bounds, alignment, memory extent and hostile bytes.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fp.h"
#include "base/mem.h"
#include "quant/type.h"

enum { LEN = 1024 }; // a multiple of every block length

static uint64_t seed;

static uint32_t next_random(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

// About normal, standard deviation 1.
static float next_normal(void) {
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += (float)(next_random() >> 8) * 0x1p-24f;
    return sum - 6;
}

static void fill_normal(float *x, int n) {
    for (int i = 0; i < n; i++) x[i] = next_normal();
}

static size_t row_bytes(const hth_type_info *t, int n) {
    return (size_t)n / t->block_len * t->block_bytes;
}

// Exactly as long as asked for, so that the address sanitizer sees the first byte too many.
static void *exact(size_t n_bytes) {
    void *p = hth_alloc(HTH_MEM_MISC, n_bytes);
    assert_non_null(p);
    return p;
}

static bool same_bits_or_nan(float a, float b) {
    return (a != a && b != b) || hth_f32_bits(a) == hth_f32_bits(b);
}

static double nmse(const float *x, const float *y, const float *weight, int n) {
    double err = 0, power = 0;
    for (int i = 0; i < n; i++) {
        double w = weight ? weight[i] : 1, d = (double)y[i] - x[i];
        err += w * d * d;
        power += w * x[i] * x[i];
    }
    return err / power;
}

static void every_row_is_found_by_its_number_and_its_name(void **state) {
    (void)state;
    int n = 0;
    for (const hth_type_info *t; (t = hth_type_at(n)); n++) {
        assert_ptr_equal(hth_type_get((uint32_t)t->type), t);
        assert_ptr_equal(hth_type_by_name(t->name), t);
        assert_non_null(t->dequantize);
        assert_true(t->block_len > 0 && LEN % t->block_len == 0 && t->block_bytes > 0);
    }
    assert_int_equal(n, 43);
    assert_null(hth_type_at(n));
    assert_null(hth_type_at(-1));
}

static void names_are_found_in_any_case(void **state) {
    (void)state;
    assert_int_equal(hth_type_by_name("Q4_K")->type, HTH_TYPE_Q4_K);
    assert_int_equal(hth_type_by_name("q4_k")->type, HTH_TYPE_Q4_K);
    assert_int_equal(hth_type_by_name("iQ2_xXs")->type, HTH_TYPE_IQ2_XXS);
    assert_null(hth_type_by_name("q4"));
    assert_null(hth_type_by_name("q4_K_M"));
    assert_null(hth_type_by_name(""));
    assert_null(hth_type_by_name(NULL));
}

static void numbers_that_are_no_type_have_no_row(void **state) {
    (void)state;
    static const uint32_t holes[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 999, 1008, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < HTH_COUNT(holes); i++) assert_null(hth_type_get(holes[i]));
}

static void a_quantizer_writes_exactly_its_blocks(void **state) {
    (void)state;
    float x[LEN];
    seed = 1;
    fill_normal(x, LEN);
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) {
        if (!t->quantize) continue;
        // Whatever was in the buffer must not matter, nor may a byte beyond change.
        size_t n_bytes = row_bytes(t, LEN);
        uint8_t *zeros = exact(n_bytes + 64), *ones = exact(n_bytes + 64);
        memset(zeros, 0, n_bytes + 64);
        memset(ones, 0xff, n_bytes + 64);
        t->quantize(x, zeros, LEN, NULL);
        t->quantize(x, ones, LEN, NULL);
        if (memcmp(zeros, ones, n_bytes) != 0) fail_msg("%s leaves bytes of its blocks unset", t->name);
        for (size_t k = n_bytes; k < n_bytes + 64; k++)
            if (zeros[k] != 0 || ones[k] != 0xff) fail_msg("%s writes beyond its blocks", t->name);
        hth_free(zeros);
        hth_free(ones);
    }
}

static void many_blocks_are_each_block_by_itself(void **state) {
    (void)state;
    float x[LEN];
    seed = 2;
    fill_normal(x, LEN);
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) {
        size_t n_bytes = row_bytes(t, LEN), step = t->block_bytes;
        uint8_t *raw = exact(n_bytes), *one = exact(step);
        for (size_t k = 0; k < n_bytes; k++) raw[k] = (uint8_t)next_random();
        if (t->quantize) t->quantize(x, raw, LEN, NULL);
        float *all = exact(LEN * sizeof *all), *part = exact(t->block_len * sizeof *part);
        t->dequantize(raw, all, LEN);
        for (size_t b = 0; b < n_bytes / step; b++) {
            if (t->quantize) {
                t->quantize(x + b * t->block_len, one, t->block_len, NULL);
                if (memcmp(one, raw + b * step, step) != 0)
                    fail_msg("%s block %zu quantizes otherwise", t->name, b);
            }
            memcpy(one, raw + b * step, step);
            t->dequantize(one, part, t->block_len);
            for (size_t k = 0; k < t->block_len; k++)
                if (!same_bits_or_nan(part[k], all[b * t->block_len + k]))
                    fail_msg("%s block %zu reads otherwise alone", t->name, b);
        }
        hth_free(raw);
        hth_free(one);
        hth_free(all);
        hth_free(part);
    }
}

static void blocks_may_lie_at_any_address(void **state) {
    (void)state;
    seed = 3;
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) {
        size_t n_bytes = row_bytes(t, LEN);
        uint8_t *raw = exact(n_bytes + 16);
        float want[LEN], got[LEN];
        for (size_t k = 0; k < n_bytes; k++) raw[k] = (uint8_t)next_random();
        t->dequantize(raw, want, LEN);
        for (size_t shift = 1; shift < 16; shift++) {
            memmove(raw + shift, raw + shift - 1, n_bytes);
            t->dequantize(raw + shift, got, LEN);
            for (int k = 0; k < LEN; k++)
                if (!same_bits_or_nan(got[k], want[k]))
                    fail_msg("%s at address + %zu differs", t->name, shift);
        }
        hth_free(raw);
    }
}

// Run under the address and undefined-behaviour sanitizers this is the test that no bit pattern makes an
// index leave its table or a conversion leave its range.
static void any_bytes_can_be_read(void **state) {
    (void)state;
    static const uint8_t fills[] = {0x00, 0xff, 0x7c, 0x7e, 0xfc, 0xfe, 0x7f, 0x80, 0x55, 0xaa};
    seed = 4;
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) {
        size_t n_bytes = row_bytes(t, LEN);
        uint8_t *raw = exact(n_bytes);
        float *dst = exact(LEN * sizeof *dst);
        for (size_t f = 0; f < HTH_COUNT(fills); f++) {
            memset(raw, fills[f], n_bytes);
            t->dequantize(raw, dst, LEN);
        }
        for (int round = 0; round < 200; round++) {
            for (size_t k = 0; k < n_bytes; k++) raw[k] = (uint8_t)next_random();
            t->dequantize(raw, dst, LEN);
        }
        hth_free(raw);
        hth_free(dst);
    }
}

static void any_numbers_can_be_quantized(void **state) {
    (void)state;
    static const float odd[] = {NAN,      INFINITY,  -INFINITY, 3.4028235e38f, -3.4028235e38f,
                                1e-45f,   -1e-45f,   65504,     -65520,        0x1p-14f,
                                0x1p-24f, 0x1p-126f, 0.0f,      -0.0f,         1};
    float x[LEN];
    uint8_t raw[LEN * 8];
    seed = 5;
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) {
        if (!t->quantize) continue;
        for (size_t f = 0; f < HTH_COUNT(odd); f++) { // blocks of nothing else
            for (int k = 0; k < LEN; k++) x[k] = odd[f];
            t->quantize(x, raw, LEN, NULL);
            t->quantize(x, raw, LEN, x);
        }
        for (int round = 0; round < 100; round++) { // and among ordinary ones
            fill_normal(x, LEN);
            for (int k = 0; k < LEN; k += 1 + (int)(next_random() % 64))
                x[k] = odd[next_random() % HTH_COUNT(odd)];
            t->quantize(x, raw, LEN, NULL);
        }
    }
}

static void zeros_stay_zeros(void **state) {
    (void)state;
    const float x[LEN] = {0};
    float y[LEN];
    uint8_t raw[LEN * 8];
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) {
        if (!t->quantize) continue;
        t->quantize(x, raw, LEN, NULL);
        t->dequantize(raw, y, LEN);
        for (int k = 0; k < LEN; k++)
            if (y[k] != 0) fail_msg("%s turns 0 into %g", t->name, (double)y[k]);
    }
}

// Normal numbers, 16 rows of 1024: bounds a tenth above what was measured. A swapped nibble, a lost high
// bit or a wrong scale costs far more than that.
static void a_round_trip_loses_no_more_than_its_type_must(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double bound;
    } bounds[] = {
        {"f32", 0}, {"f16", 4.8e-08}, {"bf16", 3.1e-06}, {"q4_0", 7.9e-03}, {"q4_1", 6.5e-03},
        {"q5_0", 2.0e-03}, {"q5_1", 1.5e-03}, {"q8_0", 3.0e-05}, {"q8_1", 3.0e-05}, {"q8_K", 4.9e-05},
        {"q2_K", 8.2e-02}, {"q3_K", 2.3e-02}, {"q4_K", 5.5e-03}, {"q5_K", 1.4e-03}, {"q6_K", 3.2e-04},
        {"iq4_nl", 6.0e-03}, {"iq4_xs", 6.2e-03}, {"mxfp4", 1.5e-02}, {"nvfp4", 9.8e-03}, {"q1_0", 3.9e-01},
        {"q2_0", 5.6e-01}, {"tq1_0", 6.9e-01}, {"tq2_0", 6.9e-01},
    };
    int n_quantizer = 0;
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++) n_quantizer += t->quantize != NULL;
    assert_int_equal(n_quantizer, HTH_COUNT(bounds));
    for (size_t b = 0; b < HTH_COUNT(bounds); b++) {
        t = hth_type_by_name(bounds[b].name);
        double sum = 0;
        seed = 6;
        for (int round = 0; round < 16; round++) {
            float x[LEN], y[LEN];
            uint8_t raw[LEN * 8];
            fill_normal(x, LEN);
            t->quantize(x, raw, LEN, NULL);
            t->dequantize(raw, y, LEN);
            sum += nmse(x, y, NULL, LEN) / 16;
        }
        if (sum > bounds[b].bound) fail_msg("%s: NMSE %.3e, at most %.3e", t->name, sum, bounds[b].bound);
    }
}

static void ternary_numbers_survive_ternary_types(void **state) {
    (void)state;
    float x[LEN], y[LEN];
    uint8_t raw[LEN];
    seed = 7;
    for (int k = 0; k < LEN; k++) x[k] = 0.75f * (float)((int)(next_random() % 3) - 1);
    for (int i = 0; i < 3; i++) {
        const hth_type_info *t = hth_type_by_name((const char *[]){"tq1_0", "tq2_0", "q2_0"}[i]);
        t->quantize(x, raw, LEN, NULL);
        t->dequantize(raw, y, LEN);
        for (int k = 0; k < LEN; k++)
            if (x[k] != y[k]) fail_msg("%s changes number %d", t->name, k);
    }
}

static void importance_moves_the_error_to_where_it_matters_less(void **state) {
    (void)state;
    static const char *const names[] = {"q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs"};
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        const hth_type_info *t = hth_type_by_name(names[i]);
        double plain = 0, weighted = 0;
        seed = 8;
        for (int round = 0; round < 16; round++) {
            float x[LEN], y[LEN], importance[LEN];
            uint8_t raw[LEN * 8];
            fill_normal(x, LEN);
            for (int k = 0; k < LEN; k++) importance[k] = next_random() % 8 == 0 ? 50 : 0.02f;
            t->quantize(x, raw, LEN, NULL);
            t->dequantize(raw, y, LEN);
            plain += nmse(x, y, importance, LEN);
            t->quantize(x, raw, LEN, importance);
            t->dequantize(raw, y, LEN);
            weighted += nmse(x, y, importance, LEN);
        }
        if (weighted > 0.7 * plain)
            fail_msg("%s: weighted error %.3e, without %.3e", t->name, weighted, plain);
    }
}

static void activation_types_carry_the_sums_of_their_codes(void **state) {
    (void)state;
    float x[256];
    uint8_t raw[292];
    seed = 9;
    fill_normal(x, 256);
    hth_type_get(HTH_TYPE_Q8_K)->quantize(x, raw, 256, NULL);
    for (int g = 0; g < 16; g++) {
        int sum = 0;
        for (int j = 0; j < 16; j++) sum += (int8_t)raw[4 + 16 * g + j];
        assert_int_equal((int16_t)(raw[260 + 2 * g] | raw[261 + 2 * g] << 8), sum);
    }
    hth_type_get(HTH_TYPE_Q8_1)->quantize(x, raw, 32, NULL);
    int sum = 0;
    float extreme = 0;
    for (int j = 0; j < 32; j++) {
        sum += (int8_t)raw[4 + j];
        extreme = fmaxf(extreme, fabsf(x[j]));
    }
    assert_int_equal(raw[2] | raw[3] << 8, hth_f32_to_f16((float)sum * (extreme / 127)));
}

// What random bytes read as, in one number per type, so that a machine without the reference programs
// still proves every index, shift and sign. tests/parity/test_quant.py proves the numbers behind them.
static void every_type_reads_random_bytes_as_recorded(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t hash;
    } want[] = {
        {"f32", 0x19882a368d767576}, {"f16", 0x85d9d0219919bd6a}, {"q4_0", 0x22df9b99e8eeea85},
        {"q4_1", 0xbfd271dc78e6208a}, {"q5_0", 0x783032b2158256e5}, {"q5_1", 0x34565dcb630cbd7b},
        {"q8_0", 0x91b89770a7f10945}, {"q8_1", 0xcb4ea60fbe76c905}, {"q2_K", 0xb805600316f07097},
        {"q3_K", 0x72d5c9ade93e8865}, {"q4_K", 0x6bcc41eddcc052b6}, {"q5_K", 0x688eb2a155494886},
        {"q6_K", 0xc336fd2ee82573d9}, {"q8_K", 0xdb3c9136ce270f1e}, {"iq2_xxs", 0xefb0f953b1283a21},
        {"iq2_xs", 0x5b85b5726340fd95}, {"iq3_xxs", 0xf394c5359b07f44d}, {"iq1_s", 0x6ba72013529c2b05},
        {"iq4_nl", 0x7b20c54db4455085}, {"iq3_s", 0x08e200f2da85a735}, {"iq2_s", 0xde792dab5c502fd1},
        {"iq4_xs", 0xf27df57b744c08b1}, {"i8", 0x7e9174787b9a2325}, {"i16", 0xd9f560120d264925},
        {"i32", 0xfb4ac35cc34015a0}, {"i64", 0xf35f390086d73ca3}, {"f64", 0x116eddeee8f48f45},
        {"iq1_m", 0x2055564d38c8a525}, {"bf16", 0x111ff882bb447e1b}, {"tq1_0", 0x251e3421a659b125},
        {"tq2_0", 0x1dba41e4e5b80f25}, {"mxfp4", 0x2f015558e4562325}, {"nvfp4", 0xef3c24a51fa22325},
        {"q1_0", 0x3d3f34144cfbca25}, {"q2_0", 0x6a71fca2fa999165}, {"u8", 0x413dedf4fff42325},
        {"u16", 0x642d23da8898aa25}, {"u32", 0x397f12ddafa1b0bf}, {"u64", 0x1705b80874733f47},
        {"bool", 0xad6d7bcf9d362325}, {"f8_e4m3", 0x1f09612e52987d14}, {"f8_e5m2", 0xe952248cfe1ab6e7},
        {"f8_e8m0", 0xc054335a0f5f208c},
    };
    for (size_t i = 0; i < HTH_COUNT(want); i++) {
        const hth_type_info *t = hth_type_by_name(want[i].name);
        uint8_t raw[LEN * 8];
        float y[LEN];
        uint64_t hash = 0xcbf29ce484222325;
        seed = 10;
        for (int round = 0; round < 64; round++) {
            for (size_t k = 0; k < row_bytes(t, LEN); k++) raw[k] = (uint8_t)next_random();
            t->dequantize(raw, y, LEN);
            for (int k = 0; k < LEN; k++)
                hash = (hash ^ (y[k] == y[k] ? hth_f32_bits(y[k]) : 1)) * 0x100000001b3;
        }
        if (hash != want[i].hash) fail_msg("%s: 0x%016llx", t->name, (unsigned long long)hash);
    }
    assert_null(hth_type_at(HTH_COUNT(want)));
}

static void halves_follow_their_definition(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x8000; h++) {
        int exp = (int)(h >> 10), man = (int)(h & 0x3ff);
        float got = hth_f16_to_f32((uint16_t)h), minus = hth_f16_to_f32((uint16_t)(h | 0x8000));
        if (exp == 31) {
            assert_true(man ? got != got && minus != minus : got == INFINITY && minus == -INFINITY);
            continue;
        }
        float value = exp == 0 ? ldexpf((float)man, -24) : ldexpf((float)(1024 + man), exp - 25);
        assert_int_equal(hth_f32_bits(got), hth_f32_bits(value));
        assert_int_equal(hth_f32_bits(minus), hth_f32_bits(-value));
        assert_int_equal(hth_f32_to_f16(got), h);
        if (h < 0x7bff) { // between neighbours: below, at (to even) and above the middle
            float middle = 0.5f * value + 0.5f * hth_f16_to_f32((uint16_t)(h + 1));
            assert_int_equal(hth_f32_to_f16(middle), h + (h & 1));
            assert_int_equal(hth_f32_to_f16(nextafterf(middle, 0)), h);
            assert_int_equal(hth_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        }
    }
}

static void doubles_beyond_float_become_infinities(void **state) {
    (void)state;
    const double x[4] = {1e300, -1e300, 0x1.fffffep127, 0x1p-1074};
    float y[4];
    hth_type_get(HTH_TYPE_F64)->dequantize(x, y, 4);
    assert_true(isinf(y[0]) && y[0] > 0 && isinf(y[1]) && y[1] < 0);
    assert_true(y[2] == 0x1.fffffep127f && y[3] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_number_and_its_name),
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(numbers_that_are_no_type_have_no_row),
        cmocka_unit_test(a_quantizer_writes_exactly_its_blocks),
        cmocka_unit_test(many_blocks_are_each_block_by_itself),
        cmocka_unit_test(blocks_may_lie_at_any_address),
        cmocka_unit_test(any_bytes_can_be_read),
        cmocka_unit_test(any_numbers_can_be_quantized),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(a_round_trip_loses_no_more_than_its_type_must),
        cmocka_unit_test(ternary_numbers_survive_ternary_types),
        cmocka_unit_test(importance_moves_the_error_to_where_it_matters_less),
        cmocka_unit_test(activation_types_carry_the_sums_of_their_codes),
        cmocka_unit_test(every_type_reads_random_bytes_as_recorded),
        cmocka_unit_test(halves_follow_their_definition),
        cmocka_unit_test(doubles_beyond_float_become_infinities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
