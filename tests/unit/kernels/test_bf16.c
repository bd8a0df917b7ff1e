// Products of bf16: rounding is that of the reference to the bit, sums are near the exact ones, and an output's bits do
// not depend on what else is computed in the call.
#include <stdlib.h>

#include "check.h"
#include "base/bytes.h"
#include "kernels/levels.h"

enum { MAX_TOK = 70, MAX_ROW = 71, MAX_COL = 544 };

static const struct unit {
    const char *name;
    uint32_t needs, features; // what the CPU must have; what is asked for
} units[] = {
    {"ref", 0, 0},
    {"avx512-bf16", HTH_CPU_AVX512 | HTH_CPU_AVX512_BF16, HTH_CPU_AVX512 | HTH_CPU_AVX512_BF16 | HTH_CPU_QUICK_BF16},
    {"amx-bf16", HTH_CPU_AVX512 | HTH_CPU_AMX_BF16, HTH_CPU_AVX512 | HTH_CPU_AMX_BF16},
};

static bool next_unit(size_t *i, hth_bf16_kernels *k) {
    for (; *i < HTH_COUNT(units); (*i)++) {
        if (units[*i].needs & ~hth_cpu_features()) continue;
        hth_bf16_fill(k, units[*i].features);
        return true;
    }
    return false;
}
#define FOR_EACH_UNIT(i, k) for (size_t i = 0; next_unit(&(i), &(k)); (i)++)

// Weights [n_row, n_col] one byte off any alignment, behind which nothing can be read; everyday numbers.
static uint8_t *weights(int64_t n_row, int64_t n_col, int64_t row_bytes) {
    uint8_t *w = guarded(0, (size_t)((n_row - 1) * row_bytes + 2 * n_col), GUARD_AFTER);
    for (int64_t r = 0; r < n_row; r++) {
        for (int64_t c = 0; c < n_col; c++) hth_store_u16(w + r * row_bytes + 2 * c, hth_f32_to_bf16(random_uniform(-1, 1)));
    }
    return w;
}

static uint16_t *packed(const hth_bf16_kernels *k, const float *x, int64_t n_tok, int64_t n_col, int n_part) {
    const int64_t block = hth_bf16_block(n_col, n_part), n = (n_tok + HTH_BF16_TOKENS - 1) / HTH_BF16_TOKENS;
    uint16_t *out = guarded(1, (size_t)(n * block) * sizeof *out, GUARD_AFTER);
    for (int64_t i = 0; i < n; i++) {
        const int64_t left = n_tok - i * HTH_BF16_TOKENS;
        k->pack(x + i * HTH_BF16_TOKENS * n_col, n_col, left < HTH_BF16_TOKENS ? left : HTH_BF16_TOKENS, n_col, n_part,
                out + i * block);
    }
    return out;
}

static void activations_are_rounded_as_the_reference_does(void **state) {
    (void)state;
    static float x[HTH_BF16_TOKENS * MAX_COL];
    hth_bf16_kernels k, ref;
    hth_bf16_fill(&ref, 0);
    FOR_EACH_UNIT(u, k) {
        for (int trial = 0; trial < 40; trial++) {
            const int64_t n_col = 32 * (1 + trial % 5), n_tok = 1 + trial % HTH_BF16_TOKENS;
            const int n_part = 1 + trial % 2;
            const size_t bytes = (size_t)hth_bf16_block(n_col, n_part) * 2;
            for (int64_t i = 0; i < n_tok * n_col; i++) // any bits: infinities, NaN and subnormal numbers, too
                x[i] = trial % 4 == 3 ? hth_f32_from_bits((uint32_t)random_bits()) : random_uniform(-3, 3);
            uint16_t *want = malloc(bytes), *got = guarded(1, bytes, GUARD_AFTER);
            ref.pack(x, n_col, n_tok, n_col, n_part, want);
            k.pack(x, n_col, n_tok, n_col, n_part, got);
            for (size_t i = 0; i < bytes / 2; i++) {
                const bool both_nan = isnan(hth_bf16_to_f32(want[i])) && isnan(hth_bf16_to_f32(got[i]));
                if (got[i] != want[i] && !both_nan) fail_msg("%s: number %zu is %04x, not %04x", units[u].name, i, got[i], want[i]);
            }
            free(want);
        }
    }
}

// The sum in double precision of what the parts hold, and of its terms' magnitudes.
static double exact(const uint8_t *w, const uint16_t *x, int64_t n_col, int n_part, int64_t t, double *size) {
    const uint16_t *block = x + t / 16 * hth_bf16_block(n_col, n_part) + t % 16 * 2;
    double sum = 0;
    *size = 0;
    for (int64_t c = 0; c < n_col; c++) {
        for (int p = 0; p < n_part; p++) {
            const double q = (double)hth_bf16_to_f32(block[(c / 32 * n_part + p) * 512 + c % 32 / 2 * 32 + c % 2]);
            const double term = (double)hth_bf16_to_f32(hth_load_u16(w + 2 * c)) * q;
            sum += term;
            *size += fabs(term);
        }
    }
    return sum;
}

static void sums_are_near_the_exact_ones(void **state) {
    (void)state;
    static float x[MAX_TOK * MAX_COL], y[MAX_TOK * (MAX_ROW + 3)];
    hth_bf16_kernels k;
    FOR_EACH_UNIT(u, k) {
        for (int trial = 0; trial < 60; trial++) {
            const int64_t n_col = 32 * (1 + (int64_t)(random_bits() % 17)), n_row = 1 + (int64_t)(random_bits() % MAX_ROW);
            const int64_t n_tok = 1 + (int64_t)(random_bits() % MAX_TOK), row_bytes = 2 * n_col + trial % 3;
            const int64_t first = (int64_t)(random_bits() % (uint64_t)n_tok), stride = MAX_ROW + 3;
            const int n_part = 1 + trial % 2;
            const uint8_t *w = weights(n_row, n_col, row_bytes);
            for (int64_t i = 0; i < n_tok * n_col; i++) x[i] = random_uniform(-1, 1);
            const uint16_t *blocks = packed(&k, x, n_tok, n_col, n_part);
            for (size_t i = 0; i < HTH_COUNT(y); i++) y[i] = 12345;
            k.gemm(w, row_bytes, n_row, n_col, blocks, n_part, first, n_tok, y, stride);
            for (int64_t i = 0; i < n_tok * stride; i++) {
                const int64_t t = i / stride, r = i % stride;
                if (t < first || r >= n_row) {
                    if (y[i] != 12345) fail_msg("%s: token %d, row %d was written", units[u].name, (int)t, (int)r);
                    continue;
                }
                double size, want = exact(w + r * row_bytes, blocks, n_col, n_part, t, &size);
                if (!(fabs((double)y[i] - want) <= 0x1p-22 * size + 1e-30))
                    fail_msg("%s: token %d, row %d: %.9g, not %.9g", units[u].name, (int)t, (int)r, (double)y[i], want);
            }
        }
    }
}

static void neighbours_do_not_change_a_bit(void **state) {
    (void)state;
    enum { TOK = 40, ROW = 45, COL = 320 };
    static float x[TOK * COL], all[TOK * ROW], some[TOK * ROW];
    hth_bf16_kernels k;
    FOR_EACH_UNIT(u, k) {
        const uint8_t *w = weights(ROW, COL, 2 * COL);
        for (int i = 0; i < TOK * COL; i++) x[i] = random_uniform(-1, 1);
        const uint16_t *blocks = packed(&k, x, TOK, COL, 2);
        k.gemm(w, 2 * COL, ROW, COL, blocks, 2, 0, TOK, all, ROW);
        for (int64_t t = 0; t < TOK; t++) {
            for (int64_t r = 0; r < ROW; r += 16) // as threads share them
                k.gemm(w + r * 2 * COL, 2 * COL, ROW - r < 16 ? ROW - r : 16, COL, blocks, 2, t, t + 1, some + r, ROW);
        }
        assert_same_floats(units[u].name, "gemm", some, all, TOK * ROW);
        // A token in another place of its block.
        blocks = packed(&k, x + 5 * COL, TOK - 5, COL, 2);
        k.gemm(w, 2 * COL, ROW, COL, blocks, 2, 0, TOK - 5, some, ROW);
        assert_same_floats(units[u].name, "gemm", some, all + 5 * ROW, (TOK - 5) * ROW);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_rounded_as_the_reference_does),
        cmocka_unit_test(sums_are_near_the_exact_ones),
        cmocka_unit_test(neighbours_do_not_change_a_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
