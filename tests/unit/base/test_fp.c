// Small floats, every bit pattern, against values computed from the definition with exact powers of two
// (ldexp), and rounding against the nearest of all values.
#include <math.h>
#include <stdbool.h>

#include "base/fp.h"
#include "unit/cmocka_all.h"

// Value of a sign-exponent-mantissa format without special codes, in double: exact for all of these.
static double value_of(unsigned bits, int n_exp, int n_man, int bias) {
    unsigned man = bits & ((1u << n_man) - 1), e = bits >> n_man & ((1u << n_exp) - 1);
    double v = e ? ldexp(1.0 + ldexp(man, -n_man), (int)e - bias) : ldexp(man, 1 - bias - n_man);
    return bits >> (n_man + n_exp) & 1 ? -v : v;
}

// -0 and 0 differ; any NaN equals any NaN.
static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

static void every_half_widens_exactly(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        unsigned e = h >> 10 & 31;
        double want = e < 31 ? value_of(h, 5, 10, 15) : h & 0x3ff ? NAN : h & 0x8000 ? -INFINITY : INFINITY;
        if (!same(hth_f16_to_f32((uint16_t)h), want)) fail_msg("f16 %04x", h);
    }
}

static void every_bfloat_widens_exactly(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        unsigned e = h >> 7 & 255;
        double want = e < 255 ? value_of(h, 8, 7, 127) : h & 0x7f ? NAN : h & 0x8000 ? -INFINITY : INFINITY;
        if (!same(hth_bf16_to_f32((uint16_t)h), want)) fail_msg("bf16 %04x", h);
    }
}

static void every_8_bit_float_widens_exactly(void **state) {
    (void)state;
    for (unsigned v = 0; v < 256; v++) {
        double e4m3 = (v & 0x7f) == 0x7f ? NAN : value_of(v, 4, 3, 7);
        if (!same(hth_e4m3_to_f32((uint8_t)v), e4m3)) fail_msg("e4m3 %02x", v);
        double e5m2 = (v >> 2 & 31) < 31 ? value_of(v, 5, 2, 15) : v & 3 ? NAN : v & 0x80 ? -INFINITY : INFINITY;
        if (!same(hth_e5m2_to_f32((uint8_t)v), e5m2)) fail_msg("e5m2 %02x", v);
        double e8m0 = v == 255 ? NAN : ldexp(1, (int)v - 127);
        if (!same(hth_e8m0_to_f32((uint8_t)v), e8m0)) fail_msg("e8m0 %02x", v);
    }
}

static void every_half_and_bfloat_survives_the_way_back(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = hth_f16_to_f32((uint16_t)h), b = hth_bf16_to_f32((uint16_t)h);
        uint16_t f_back = hth_f32_to_f16(f), b_back = hth_f32_to_bf16(b);
        if (isnan(f) ? !isnan(hth_f16_to_f32(f_back)) : f_back != h) fail_msg("f16 %04x", h);
        if (isnan(b) ? !isnan(hth_bf16_to_f32(b_back)) : b_back != h) fail_msg("bf16 %04x", h);
    }
}

static void narrowing_to_half_rounds_ties_to_even(void **state) {
    (void)state;
    // Between each two neighbours: the middle goes to the even one, one float below or above the middle to
    // the nearer one. Past the largest, 65536 stands for infinity.
    for (unsigned h = 0; h < 0x7c00; h++) {
        double low = value_of(h, 5, 10, 15), high = h == 0x7bff ? 65536.0 : value_of(h + 1, 5, 10, 15);
        float middle = (float)((low + high) / 2);
        unsigned even = h & 1 ? h + 1 : h;
        for (unsigned sign = 0; sign < 2; sign++) {
            float s = sign ? -1.0f : 1.0f;
            unsigned bit = sign << 15;
            if (hth_f32_to_f16(s * middle) != (even | bit)) fail_msg("middle above f16 %04x", h);
            if (hth_f32_to_f16(s * nextafterf(middle, 0)) != (h | bit)) fail_msg("below, f16 %04x", h);
            if (hth_f32_to_f16(s * nextafterf(middle, INFINITY)) != ((h + 1) | bit)) fail_msg("above, f16 %04x", h);
        }
    }
    assert_int_equal(hth_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(hth_f32_to_f16(-3.4e38f), 0xfc00);
    assert_int_equal(hth_f32_to_f16(1e-45f), 0);
}

static void narrowing_to_bfloat_rounds_ties_to_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(hth_f32_to_bf16(hth_f32_from_bits(h << 16 | 0x8000)), even);
        assert_int_equal(hth_f32_to_bf16(hth_f32_from_bits(h << 16 | 0x7fff)), h);
        assert_int_equal(hth_f32_to_bf16(hth_f32_from_bits(h << 16 | 0x8001 | 0x80000000u)), (h + 1) | 0x8000);
    }
    assert_true(isnan(hth_bf16_to_f32(hth_f32_to_bf16(hth_f32_from_bits(0x7f800001))))); // not infinity
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(every_bfloat_widens_exactly),
        cmocka_unit_test(every_8_bit_float_widens_exactly),
        cmocka_unit_test(every_half_and_bfloat_survives_the_way_back),
        cmocka_unit_test(narrowing_to_half_rounds_ties_to_even),
        cmocka_unit_test(narrowing_to_bfloat_rounds_ties_to_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
