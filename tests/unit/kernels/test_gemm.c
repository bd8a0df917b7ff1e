// gemm_f32 of every level: error against double precision, extent, and that an output's bits do not
// depend on what else is computed in the call. gemm_f16 and gemm_bf16 give its bits.
#include "check.h"

#include "base/fp.h"

typedef struct problem {
    float *w, *x, *y;
    int64_t w_stride, x_stride, y_stride, n_row, n_tok, n_col;
} problem;

// Matrices that end (or begin) at a guard page, with gaps between rows.
static problem make(int64_t n_row, int64_t n_tok, int64_t n_col, int64_t gap, guard_side side) {
    problem p = {.n_row = n_row, .n_tok = n_tok, .n_col = n_col};
    p.w_stride = n_col + gap, p.x_stride = n_col + 2 * gap, p.y_stride = n_row + gap;
    int64_t n_w = n_row ? (n_row - 1) * p.w_stride + n_col : 0;
    int64_t n_x = n_tok ? (n_tok - 1) * p.x_stride + n_col : 0;
    int64_t n_y = n_tok ? (n_tok - 1) * p.y_stride + n_row : 0;
    p.w = guarded_floats(0, n_w, side);
    p.x = guarded_floats(1, n_x, side);
    p.y = guarded_floats(2, n_y, side);
    fill_normal(p.w, n_w);
    fill_normal(p.x, n_x);
    for (int64_t i = 0; i < n_y; i++) p.y[i] = 12345;
    return p;
}

static void multiply(const hth_kernels *k, const problem *p) {
    k->gemm_f32(p->w, p->w_stride, p->x, p->x_stride, p->y, p->y_stride, p->n_row, p->n_tok, p->n_col);
}

// Rounding alone gives about 1e-14 to 1e-13; a product left out or halved in precision much more.
static const double max_nmse = 1e-12;

static void check_error(const char *level, const problem *p) {
    double error = 0, power = 0;
    for (int64_t t = 0; t < p->n_tok; t++)
        for (int64_t r = 0; r < p->n_row; r++) {
            double want = 0, got = p->y[t * p->y_stride + r];
            for (int64_t i = 0; i < p->n_col; i++) {
                double product = (double)p->w[r * p->w_stride + i] * p->x[t * p->x_stride + i];
                want += product, power += product * product; // of products: sums may cancel
            }
            error += (got - want) * (got - want);
        }
    if (!(error <= max_nmse * power))
        fail_msg("%s: %d rows, %d tokens, %d columns: NMSE %g", level, (int)p->n_row, (int)p->n_tok,
                 (int)p->n_col, error / power);
}

static void check_gaps(const char *level, const problem *p) {
    for (int64_t t = 0; t + 1 < p->n_tok; t++)
        for (int64_t r = p->n_row; r < p->y_stride; r++)
            if (p->y[t * p->y_stride + r] != 12345) fail_msg("%s: wrote beyond row %d of y", level, (int)t);
}

static void products_are_right_within_rounding_and_bounds(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        for (guard_side side = 0; side < GUARD_SIDES; side++) {
            FOR_EACH_SIZE(n_col) {
                for (int64_t n_row = 0; n_row <= 9; n_row++) {
                    for (int64_t n_tok = 0; n_tok <= 7; n_tok += 1 + (n_col > 1000)) {
                        problem p = make(n_row, n_tok, n_col, n_col % 3, side);
                        multiply(&k, &p);
                        check_error(level, &p);
                        check_gaps(level, &p);
                    }
                }
            }
        }
    }
}

static void an_output_does_not_depend_on_its_neighbours(void **state) {
    (void)state;
    enum { ROWS = 21, TOKENS = 19 };
    static float whole[TOKENS * ROWS], parts[TOKENS * ROWS];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        FOR_EACH_SIZE(n_col) {
            problem p = make(ROWS, TOKENS, n_col, 0, GUARD_AFTER);
            multiply(&k, &p);
            memcpy(whole, p.y, sizeof whole);
            for (int64_t rows = 1; rows <= 9; rows++) {
                int64_t tokens = rows < 3 ? 1 : 1 + random_bits() % 8;
                for (int64_t r = 0; r < ROWS; r += rows)
                    for (int64_t t = 0; t < TOKENS; t += tokens)
                        k.gemm_f32(p.w + r * n_col, n_col, p.x + t * n_col, n_col, parts + t * ROWS + r, ROWS,
                                   r + rows < ROWS ? rows : ROWS - r,
                                   t + tokens < TOKENS ? tokens : TOKENS - t, n_col);
                assert_same_floats(level, "gemm_f32 in parts", parts, whole, TOKENS * ROWS);
                memset(parts, 0, sizeof parts);
            }
        }
    }
}

static void nan_stays_in_its_row_and_overflow_is_infinite(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        problem p = make(6, 4, 37, 0, GUARD_AFTER);
        p.w[2 * 37 + 36] = NAN;                           // row 2
        p.x[3 * 37 + 5] = 1e30f, p.w[4 * 37 + 5] = 1e30f; // row 4 of token 3
        multiply(&k, &p);
        for (int t = 0; t < 4; t++)
            for (int r = 0; r < 6; r++) {
                float y = p.y[t * 6 + r];
                if (r == 2) assert_true(isnan(y));
                else if (r == 4 && t == 3) assert_true(isinf(y) && y > 0);
                else assert_true(isfinite(y));
            }
    }
}

// Rows of halves at odd addresses, behind the last of which nothing can be read; the same numbers go to wide.
static uint8_t *make_halves(const problem *p, int64_t row_bytes, bool is_bf16, float *wide) {
    const size_t n = (size_t)((p->n_row - 1) * row_bytes + 2 * p->n_col);
    uint8_t *w = guarded(0, n, GUARD_AFTER);
    memset(w, 0xff, n); // NaN between the rows
    for (int64_t r = 0; r < p->n_row; r++) {
        for (int64_t i = 0; i < p->n_col; i++) {
            const float v = random_uniform(-2, 2);
            const uint16_t h = is_bf16 ? hth_f32_to_bf16(v) : hth_f32_to_f16(v);
            memcpy(w + r * row_bytes + 2 * i, &h, 2);
            wide[r * p->n_col + i] = is_bf16 ? hth_bf16_to_f32(h) : hth_f16_to_f32(h);
        }
    }
    return w;
}

static void halves_give_the_bits_of_the_same_numbers_as_f32(void **state) {
    (void)state;
    enum { ROWS = 21, TOKENS = 16 };
    static float got[TOKENS * ROWS], want[TOKENS * ROWS], wide[ROWS * 4096];
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        FOR_EACH_SIZE(n_col) {
            if (n_col == 0 || n_col > 4096) continue;
            for (int64_t n_tok = 1; n_tok <= TOKENS; n_tok += 1 + n_tok / 3) {
                for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
                    const problem p = make(1 + random_bits() % ROWS, n_tok, n_col, 0, GUARD_AFTER);
                    const int64_t row_bytes = 2 * n_col + (int64_t)(random_bits() % 4);
                    const uint8_t *w = make_halves(&p, row_bytes, is_bf16, wide);
                    k.gemm_f32(wide, n_col, p.x, p.x_stride, want, ROWS, p.n_row, n_tok, n_col);
                    (is_bf16 ? k.gemm_bf16 : k.gemm_f16)(w, row_bytes, p.x, p.x_stride, got, ROWS, p.n_row, n_tok, n_col);
                    for (int64_t t = 0; t < n_tok; t++)
                        assert_same_floats(level, is_bf16 ? "gemm_bf16" : "gemm_f16", got + t * ROWS, want + t * ROWS, p.n_row);
                }
            }
        }
    }
}

static void no_columns_give_zeros(void **state) {
    (void)state;
    hth_kernels k;
    const char *level;
    FOR_EACH_LEVEL(k, level) {
        problem p = make(5, 3, 0, 0, GUARD_AFTER);
        multiply(&k, &p);
        for (int i = 0; i < 15; i++) assert_true(p.y[i] == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right_within_rounding_and_bounds),
        cmocka_unit_test(an_output_does_not_depend_on_its_neighbours),
        cmocka_unit_test(nan_stays_in_its_row_and_overflow_is_infinite),
        cmocka_unit_test(halves_give_the_bits_of_the_same_numbers_as_f32),
        cmocka_unit_test(no_columns_give_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
