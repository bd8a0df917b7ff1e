// Integer products of generated rows: ref is what the types mean, and every level gives the bits of ref, for any
// number of rows and tokens at once.
#include "q8_check.h"

enum { MAX_COL = 2048, MAX_ROW = 40, MAX_TOK = HTH_GEMV_TOKENS };

#define X86 (HTH_CPU_AVX2 | HTH_CPU_AVX512)
static const struct level q8_levels[] = {
    {"ref", 0},
    {"avx2", HTH_CPU_AVX2},
    {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI},
    {"avx512-vnni", X86 | HTH_CPU_AVX512_VNNI},
    {"neon", HTH_CPU_NEON},
    {"dotprod", HTH_CPU_NEON | HTH_CPU_DOTPROD},
};

// Weights of a type: `at` bytes away from any alignment, and nothing can be read behind the last row.
typedef struct weights {
    uint8_t *w;
    int64_t row_bytes, n_row, n_col;
} weights;

static weights random_weights(const hth_type_info *info, int64_t n_row, int64_t n_block, int64_t gap) {
    const int64_t used = n_block * info->block_bytes;
    weights w = {.row_bytes = used + gap, .n_row = n_row, .n_col = n_block * info->block_len};
    const size_t n = (size_t)((n_row - 1) * w.row_bytes + used);
    w.w = guarded(0, n, GUARD_AFTER);
    fill_bytes(w.w, n);
    return w;
}

// Everyday scales instead of random bits, NaN and infinity among them.
static void calm_scales(const hth_type_info *info, weights *w) {
    static float x[MAX_COL];
    if (!info->quantize) return;
    for (int64_t r = 0; r < w->n_row; r++) {
        fill_normal(x, w->n_col);
        info->quantize(x, w->w + r * w->row_bytes, w->n_col, NULL);
    }
}

static void call(const hth_q8_kernels *k, uint32_t t, const weights *w, int64_t row, int64_t n_row, hth_q8 x, int64_t tok,
                 int64_t n_tok, float *y, int64_t y_stride) {
    x.q += tok * x.q_stride;
    x.d += tok * x.d_stride;
    x.sum += tok * 2 * x.d_stride;
    k->gemv[t](&(hth_q8_rows){.code = w->w + row * w->row_bytes, .row_bytes = w->row_bytes}, n_row, w->n_col, &x, n_tok, y + tok * y_stride + row, y_stride);
}

// The sum of codes times q in double precision, and the sum of its terms' magnitudes.
static double exact(uint32_t t, const weights *w, int64_t r, const hth_q8 *x, int64_t tok, double *size) {
    const hth_type_info *info = hth_type_get(t);
    const hth_q8_type type = hth_q8_type_of(t);
    double total = 0;
    *size = 0;
    for (int64_t c = 0; c < w->n_col; c += info->block_len) {
        uint8_t code[256];
        float d[16], m[16] = {0};
        hth_q8_codes(t)(w->w + r * w->row_bytes + c / info->block_len * info->block_bytes, code, d, m);
        for (int64_t i = 0; i < info->block_len; i++) {
            const int64_t g = i / type.group;
            double q = (double)x->q[tok * x->q_stride + c + i] * (double)x->d[tok * x->d_stride + (c + i) / 32];
            double product = (double)d[g] * (code[i] - type.zero) * q, offset = type.has_min ? (double)m[g] * q : 0;
            total += product + offset;
            *size += fabs(product) + fabs(offset);
        }
    }
    return total;
}

static void ref_is_near_the_exact_sum(void **state) {
    (void)state;
    static float y[MAX_TOK * MAX_ROW];
    hth_q8_kernels ref;
    hth_q8_fill(&ref, 0);
    FOR_EACH_Q8_TYPE(t, codes) {
        const hth_type_info *info = hth_type_get(t);
        for (int trial = 0; trial < 4; trial++) {
            weights w = random_weights(info, 3, trial % 2 ? 1 : MAX_COL / info->block_len, 0);
            calm_scales(info, &w);
            const hth_q8 x = quantized(2, w.n_col, trial == 3);
            call(&ref, t, &w, 0, 3, x, 0, 2, y, 3);
            for (int i = 0; i < 6; i++) {
                double size, want = exact(t, &w, i % 3, &x, i / 3, &size);
                if (!isfinite(want)) continue;
                // Two roundings per group at most, each of half a unit of a sum that is no larger than `size`.
                double groups = (double)w.n_col / 16, bound = (groups + 4) * 0x1p-23 * size;
                if (!(fabs(y[i] - want) <= bound)) fail_msg("%s: %g, not %g", info->name, (double)y[i], want);
                if (want != 0 && fabs(want) > 1e-2 * size && bound >= 0.1 * fabs(want)) fail_msg("the bound says nothing");
            }
        }
    }
}

static void every_level_gives_the_bits_of_ref(void **state) {
    (void)state;
    static float y[MAX_TOK * MAX_ROW], want[MAX_TOK * MAX_ROW];
    static const int64_t rows[] = {16, 1, 33, 15, 17, 8, 40, 3};
    hth_q8_kernels k, ref;
    hth_q8_fill(&ref, 0);
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        FOR_EACH_Q8_TYPE(t, codes) {
            const hth_type_info *info = hth_type_get(t);
            for (int trial = 0; trial < 32; trial++) {
                const int64_t n_row = rows[trial % 8], n_tok = trial < 16 ? 1 + trial % 2 : 1 + trial % 16;
                const int64_t most = MAX_COL / info->block_len, gap = trial % 3 == 2 ? 7 : 0;
                weights w = random_weights(info, n_row, trial % 4 == 0 ? most : 1 + random_bits() % most, gap);
                if (trial % 8 != 7) calm_scales(info, &w);
                const hth_q8 x = quantized(n_tok, w.n_col, trial % 5 == 4);
                for (int64_t i = 0; i < MAX_TOK * MAX_ROW; i++) y[i] = want[i] = -77;
                call(&ref, t, &w, 0, n_row, x, 0, n_tok, want, MAX_ROW);
                call(&k, t, &w, 0, n_row, x, 0, n_tok, y, MAX_ROW);
                for (int64_t i = 0; i < MAX_TOK * MAX_ROW; i++)
                    if (!same_float(y[i], want[i]))
                        fail_msg("%s %s: %d rows, %d tokens, %d columns: row %d, token %d is %a, not %a", info->name, level,
                                 (int)n_row, (int)n_tok, (int)w.n_col, (int)(i % MAX_ROW), (int)(i / MAX_ROW), (double)y[i],
                                 (double)want[i]);
            }
        }
    }
}

static void rows_and_tokens_do_not_see_each_other(void **state) {
    (void)state;
    static float y[MAX_TOK * MAX_ROW], want[MAX_TOK * MAX_ROW];
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        FOR_EACH_Q8_TYPE(t, codes) {
            const hth_type_info *info = hth_type_get(t);
            weights w = random_weights(info, MAX_ROW, 1 + 600 / info->block_len, 0);
            calm_scales(info, &w);
            const hth_q8 x = quantized(MAX_TOK, w.n_col, false);
            for (int tok = 0; tok < MAX_TOK; tok++)
                for (int row = 0; row < MAX_ROW; row++) call(&k, t, &w, row, 1, x, tok, 1, want, MAX_ROW);
            for (int n_tok = 1; n_tok <= MAX_TOK; n_tok++) {
                const int first = (int)(random_bits() % (uint32_t)(MAX_TOK - n_tok + 1));
                const int split = (int)(random_bits() % (MAX_ROW + 1));
                memset(y, 0, sizeof y);
                call(&k, t, &w, 0, split, x, first, n_tok, y, MAX_ROW);
                call(&k, t, &w, split, MAX_ROW - split, x, first, n_tok, y, MAX_ROW);
                assert_same_floats(level, info->name, y + first * MAX_ROW, want + first * MAX_ROW, n_tok * MAX_ROW);
            }
        }
    }
}

// Exact integers: with scales of one, sums of products below 2^24 have no rounding at all.
static void extremes_do_not_saturate(void **state) {
    (void)state;
    static float y[MAX_ROW];
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        for (int sign = -1; sign <= 1; sign += 2) {
            weights w = random_weights(hth_type_get(HTH_TYPE_Q8_0), MAX_ROW, 4, 0);
            hth_q8 x = quantized(1, w.n_col, false);
            for (int64_t i = 0; i < MAX_ROW * 4; i++) {
                uint8_t *block = w.w + 34 * i;
                block[0] = 0, block[1] = 0x3c; // 1.0
                memset(block + 2, i / 4 % 2 ? 0x80 : 0x7f, 32);
            }
            for (int64_t i = 0; i < x.q_stride; i++) x.q[i] = (int8_t)(127 * sign);
            for (int64_t i = 0; i < 4; i++) x.d[i] = 1;
            for (int64_t i = 0; i < 8; i++) x.sum[i] = 16 * 127 * sign;
            call(&k, HTH_TYPE_Q8_0, &w, 0, MAX_ROW, x, 0, 1, y, MAX_ROW);
            for (int r = 0; r < MAX_ROW; r++)
                if (y[r] != (float)((r % 2 ? -128 : 127) * 127 * sign * 128)) fail_msg("%s: %g", level, (double)y[r]);
        }
    }
}

static void nothing_is_written_for_no_rows(void **state) {
    (void)state;
    hth_q8_kernels k;
    const char *level;
    float y = -77;
    FOR_EACH_Q8_LEVEL(k, level) {
        FOR_EACH_Q8_TYPE(t, codes) {
            weights w = random_weights(hth_type_get(t), 1, 1, 0);
            call(&k, t, &w, 0, 0, quantized(1, w.n_col, false), 0, 1, &y, 1);
            assert_true(y == -77);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_is_near_the_exact_sum),
        cmocka_unit_test(every_level_gives_the_bits_of_ref),
        cmocka_unit_test(rows_and_tokens_do_not_see_each_other),
        cmocka_unit_test(extremes_do_not_saturate),
        cmocka_unit_test(nothing_is_written_for_no_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
