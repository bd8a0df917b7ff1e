// Decimal to binary. Nearly every number of a model's files has at most 19 digits and a small exponent
// and is converted with 128-bit integers; the rest goes to strtod without a decimal point, the one
// character whose meaning depends on the locale.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "formats/json_impl.h"

#define DIGITS_U64 19  // always fit uint64
#define DIGITS_MAX 780 // more digits cannot change a double, but that they are not all zero can
#define EXP_MAX 100000
#define EXP_SATURATED (INT64_MAX / 4)

static const uint64_t pow10_u64[DIGITS_U64 + 1] = {1ull,
                                                   10ull,
                                                   100ull,
                                                   1000ull,
                                                   10000ull,
                                                   100000ull,
                                                   1000000ull,
                                                   10000000ull,
                                                   100000000ull,
                                                   1000000000ull,
                                                   10000000000ull,
                                                   100000000000ull,
                                                   1000000000000ull,
                                                   10000000000000ull,
                                                   100000000000000ull,
                                                   1000000000000000ull,
                                                   10000000000000000ull,
                                                   100000000000000000ull,
                                                   1000000000000000000ull,
                                                   10000000000000000000ull};

static const double pow10_exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// A number taken apart: digits[..] with one optional point, times 10^exp.
typedef struct decimal {
    const uint8_t *digits; // first digit
    size_t n_digit_text;   // bytes of digits and point
    uint64_t m;            // first significant digits, at most DIGITS_U64
    int n_kept;            // of them
    bool is_cut;           // digits were left out of m
    int64_t exp10;         // value is m * 10^exp10 unless cut
    int64_t exp_written;
} decimal;

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

static void take_digit(decimal *d, uint8_t c, bool is_fraction) {
    if (d->n_kept < DIGITS_U64) {
        d->m = d->m * 10 + (uint64_t)(c - '0');
        if (d->m != 0) d->n_kept++;
        d->exp10 -= is_fraction;
    } else {
        d->is_cut = true;
        d->exp10 += !is_fraction;
    }
}

// m / 10^k correctly rounded, 1 <= k <= 19: a quotient of 63 or 64 bits, the remainder as its last bit.
static double divide_pow10(uint64_t m, int k) {
    uint64_t den = pow10_u64[k];
    int m_shift = __builtin_clzll(m), den_shift = __builtin_clzll(den);
    den <<= den_shift;
    __uint128_t num = (__uint128_t)(m << m_shift) << 63;
    uint64_t q = (uint64_t)(num / den);
    if (num % den != 0) q |= 1;
    return ldexp((double)q, den_shift - m_shift - 63);
}

// The number through strtod, as digits and exponent without a point.
static double convert_slowly(const decimal *d) {
    char text[DIGITS_MAX + 32];
    size_t n = 0;
    int64_t exp10 = d->exp_written;
    bool in_fraction = false, cut_nonzero = false;
    for (size_t i = 0; i < d->n_digit_text; i++) {
        uint8_t c = d->digits[i];
        if (c == '.') {
            in_fraction = true;
        } else if (n < DIGITS_MAX) {
            if (n > 0 || c != '0') text[n++] = (char)c;
            exp10 -= in_fraction;
        } else {
            cut_nonzero = cut_nonzero || c != '0';
            exp10 += !in_fraction;
        }
    }
    if (n == 0) return 0;
    if (cut_nonzero) {
        text[n++] = '1';
        exp10--;
    }
    if (exp10 > EXP_MAX) exp10 = EXP_MAX;
    if (exp10 < -EXP_MAX) exp10 = -EXP_MAX;
    snprintf(text + n, sizeof text - n, "e%d", (int)exp10);
    return strtod(text, NULL);
}

static double convert(const decimal *d) {
    if (d->m == 0) return 0;
    if (d->is_cut) return convert_slowly(d);
    if (d->m <= 1ull << 53 && d->exp10 >= -22 && d->exp10 <= 22) { // both exact: one rounding
        double m = (double)d->m;
        return d->exp10 < 0 ? m / pow10_exact[-d->exp10] : m * pow10_exact[d->exp10];
    }
    if (d->exp10 == 0) return (double)d->m;
    if (d->exp10 < 0 && d->exp10 >= -DIGITS_U64) return divide_pow10(d->m, (int)-d->exp10);
    if (d->exp10 > 0 && d->exp10 <= DIGITS_U64) return (double)((__uint128_t)d->m * pow10_u64[d->exp10]);
    return convert_slowly(d);
}

// Returns the position behind the digits from `at`, or `at` when there is none.
static size_t scan_digits(const uint8_t *text, size_t n, size_t at, decimal *d, bool is_fraction) {
    for (; at < n && is_digit(text[at]); at++) take_digit(d, text[at], is_fraction);
    return at;
}

// Reads e[+-]digits at `at` if it is there; returns the position behind it, or 0 when it is broken.
static size_t scan_exponent(const uint8_t *text, size_t n, size_t at, decimal *d) {
    if (at >= n || (text[at] | 0x20) != 'e') return at;
    at++;
    bool is_negative = at < n && text[at] == '-';
    if (at < n && (text[at] == '-' || text[at] == '+')) at++;
    size_t first = at;
    int64_t e = 0;
    for (; at < n && is_digit(text[at]); at++) {
        if (e < EXP_SATURATED / 10) e = e * 10 + (text[at] - '0');
    }
    d->exp_written = is_negative ? -e : e;
    d->exp10 += d->exp_written;
    return at == first ? 0 : at;
}

hth_json_number hth_json_read_number(const uint8_t *text, size_t n) {
    const hth_json_number none = {.len = 0};
    bool is_negative = n > 0 && text[0] == '-';
    size_t first = is_negative, at = first;
    decimal d = {.digits = text + first};
    if (at < n && text[at] == '0') {
        at++;
    } else {
        at = scan_digits(text, n, at, &d, false);
    }
    if (at == first) return none;
    bool is_int = true;
    if (at < n && text[at] == '.') {
        size_t point = at;
        is_int = false;
        at = scan_digits(text, n, at + 1, &d, true);
        if (at == point + 1) return none;
    }
    d.n_digit_text = at - first;
    size_t end = scan_exponent(text, n, at, &d);
    if (end == 0) return none;
    is_int = is_int && end == at && !d.is_cut && d.m <= (uint64_t)INT64_MAX + is_negative;
    double v = convert(&d);
    hth_json_number r = {.d = is_negative ? -v : v, .is_int = is_int, .len = end};
    if (is_int) r.i = is_negative ? (int64_t)(0 - d.m) : (int64_t)d.m;
    return r;
}
