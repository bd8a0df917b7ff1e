// Integer products of prompt rows: every level gives the bits of ref, and ref means what the types mean.
#include "q8_check.h"

enum { MAX_COL = 4096, MAX_TOK = 40, CASES = 12 };

#define X86 (HTH_CPU_AVX2 | HTH_CPU_AVX512)
static const struct level q8_levels[] = {
    {"ref", 0},
    {"avx2", HTH_CPU_AVX2},
    {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI},
    {"avx512", X86},
    {"avx512-vnni", X86 | HTH_CPU_AVX512_VNNI},
    {"amx-int8", X86 | HTH_CPU_AVX512_VNNI | HTH_CPU_AMX_INT8},
    {"neon", HTH_CPU_NEON},
    {"dotprod", HTH_CPU_NEON | HTH_CPU_DOTPROD},
    {"i8mm", HTH_CPU_NEON | HTH_CPU_DOTPROD | HTH_CPU_I8MM},
};

static float bound(float d, int code, float m) {
    return 0x1p-22f * (fabsf(d * (float)code) + fabsf(m));
}

static void codes_mean_what_dequantize_gives(void **state) {
    (void)state;
    FOR_EACH_Q8_TYPE(t, codes) {
        const hth_type_info *info = hth_type_get(t);
        const hth_q8_type type = hth_q8_type_of(t);
        for (int trial = 0; trial < 200; trial++) {
            uint8_t block[512], code[256];
            float d[16], m[16], want[256];
            fill_bytes(block, info->block_bytes);
            codes(block, code, d, m);
            info->dequantize(block, want, info->block_len);
            for (uint32_t i = 0; i < info->block_len; i++) {
                uint32_t g = i / type.group;
                if (!type.has_min) {
                    float got = (float)(code[i] - type.zero) * d[g];
                    if (!same_float(got, want[i])) fail_msg("%s: %a, not %a", info->name, (double)got, (double)want[i]);
                } else if (isfinite(want[i])) {
                    float got = fmaf(d[g], code[i], m[g]);
                    if (!(fabsf(got - want[i]) <= bound(d[g], code[i], m[g])))
                        fail_msg("%s: %a, not %a", info->name, (double)got, (double)want[i]);
                }
            }
        }
    }
}

static void every_type_has_an_entry_at_every_level(void **state) {
    (void)state;
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        assert_non_null(k.quantize);
        assert_non_null(k.gemm);
        for (uint32_t t = 0; t < HTH_Q8_LAYOUTS; t++) {
            bool has = t >= HTH_TYPE_GGML_COUNT || hth_q8_codes(t) != NULL;
            assert_int_equal(k.type[t].group != 0, has);
            assert_int_equal(k.panel[t] != NULL, has);
            assert_int_equal(k.panel_type[t].group != 0, has);
            if (has && k.tiles) assert_int_equal(k.panel_type[t].group, HTH_Q8_WIDE);
            if (has) assert_int_equal(k.type[t].has_min && k.type[t].zero, false);
        }
    }
    char op[48];
    int n = 0;
    while (hth_q8_describe(hth_q8_get(), n, op, &level)) {
        assert_string_not_equal(level, "none");
        n++;
    }
    assert_int_equal(n, 3 + 2 * (25 + 8));
    assert_false(hth_q8_describe(hth_q8_get(), -1, op, &level));
}

// What only the vector levels can get wrong in the layout is visible in any bytes: also NaN scales.
static bool same_floats(const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!same_float(a[i], b[i])) return false;
    return true;
}

static void panels_are_those_of_ref(void **state) {
    (void)state;
    static uint8_t code[2][16 * MAX_COL] __attribute__((aligned(64)));
    static float scale[2][MAX_COL] __attribute__((aligned(64))), min[2][MAX_COL] __attribute__((aligned(64)));
    static const int64_t rows[] = {1, 2, 5, 8, 15, 16};
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        FOR_EACH_Q8_TYPE(t, codes) {
            const hth_type_info *info = hth_type_get(t);
            for (int trial = 0; trial < CASES; trial++) {
                int64_t n_row = rows[trial % 6], n_col = info->block_len * (1 + random_bits() % 11);
                int64_t used = n_col / info->block_len * info->block_bytes, row_bytes = used + trial % 3 * 5;
                size_t bytes = (size_t)((n_row - 1) * row_bytes + used);
                uint8_t *w = guarded(0, bytes, trial % 2 ? GUARD_AFTER : GUARD_BEFORE);
                fill_bytes(w, bytes);
                if (trial == 3) memset(w, 0, bytes); // no step at all
                const hth_q8_rows from = {.code = w, .row_bytes = row_bytes};
                for (int i = 0; i < 2; i++) {
                    memset(code[i], 0xee, sizeof code[i]);
                    memset(scale[i], 0xee, sizeof scale[i]);
                    memset(min[i], 0xee, sizeof min[i]);
                    hth_panel out = {code[i], scale[i], k.panel_type[t].has_min ? min[i] : NULL};
                    if (i) k.panel[t](&from, n_row, n_col, &out);
                    else hth_ref_q8_panel(t, k.panel_type[t], &from, n_row, n_col, &out);
                }
                if (memcmp(code[0], code[1], sizeof code[0]) || !same_floats(scale[0], scale[1], MAX_COL) ||
                    !same_floats(min[0], min[1], MAX_COL))
                    fail_msg("panel %s %s: %d rows, %d columns differ", info->name, level, (int)n_row, (int)n_col);
            }
        }
    }
}

static void quantized_activations_are_those_of_ref(void **state) {
    (void)state;
    hth_q8_kernels k, ref;
    hth_q8_fill(&ref, 0);
    const char *level;
    static int8_t q[2][1024];
    static float d[2][32];
    static int32_t sum[2][64];
    FOR_EACH_Q8_LEVEL(k, level) {
        for (int trial = 0; trial < 300; trial++) {
            int64_t n = 32 * (1 + random_bits() % 32);
            float *x = guarded_floats(0, n, trial % 2 ? GUARD_AFTER : GUARD_BEFORE);
            if (trial % 3) fill_normal(x, n);
            else fill_with_extremes(x, n, 3);
            if (trial % 3 == 1) // halves, exactly: the rounding of ties
                for (int64_t i = 0; i < n; i++) x[i] = i % 32 ? (float)((int)(random_bits() % 253) - 126) + 0.5f : 127;
            if (trial % 7 == 0)
                for (int64_t i = 0; i < n; i++) x[i] *= 0x1p-140f;
            for (int i = 0; i < 2; i++) {
                memset(q[i], 0x55, sizeof q[i]);
                memset(d[i], 0x55, sizeof d[i]);
                memset(sum[i], 0x55, sizeof sum[i]);
                (i ? k : ref).quantize(x, n, q[i], d[i], sum[i]);
            }
            assert_memory_equal(q[0], q[1], sizeof q[0]);
            assert_memory_equal(sum[0], sum[1], sizeof sum[0]);
            assert_same_floats(level, "quantize d", d[1], d[0], 32);
        }
    }
}

static void quantized_activations_are_near_and_poisoned_by_nan(void **state) {
    (void)state;
    float x[64], d[2];
    int8_t q[64];
    int32_t sum[4];
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        for (int trial = 0; trial < 100; trial++) {
            fill_normal(x, 64);
            k.quantize(x, 64, q, d, sum);
            for (int i = 0; i < 64; i++) assert_true(fabsf(x[i] - d[i / 32] * q[i]) <= 0.5001f * d[i / 32]);
            for (int i = 0; i < 4; i++) {
                int32_t want = 0;
                for (int j = 0; j < 16; j++) want += q[16 * i + j];
                assert_int_equal(sum[i], want);
            }
        }
        x[40] = NAN;
        k.quantize(x, 64, q, d, sum);
        assert_true(isfinite(d[0]) && isnan(d[1]));
        x[40] = -INFINITY;
        k.quantize(x, 64, q, d, sum);
        assert_true(isnan(d[1]));
        memset(x, 0, sizeof x);
        k.quantize(x, 64, q, d, sum);
        for (int i = 0; i < 64; i++) assert_true(q[i] == 0 && d[i / 32] == 0);
    }
}

// Wide panels are near what the types mean: the rounding of the codes, and of the sixteen bits that make them.
static void wide_panels_are_near_the_weights(void **state) {
    (void)state;
    enum { N = 256, ROWS = 16 };
    static uint8_t w[ROWS * 512], code[ROWS * N] __attribute__((aligned(64)));
    static float scale[16], min[16], x[ROWS * N], want[N];
    FOR_EACH_Q8_TYPE(t, codes) {
        const hth_type_info *info = hth_type_get(t);
        const int64_t row_bytes = N / info->block_len * info->block_bytes;
        fill_normal(x, ROWS * N);
        if (info->quantize) info->quantize(x, w, ROWS * N, NULL);
        else fill_bytes(w, sizeof w);
        hth_panel out = {code, scale, min};
        hth_ref_q8_panel(t, (hth_q8_type){HTH_Q8_WIDE, 0, true}, &(hth_q8_rows){.code = w, .row_bytes = row_bytes}, ROWS, N, &out);
        for (int r = 0; r < ROWS; r++) {
            info->dequantize(w + r * row_bytes, want, N);
            float least = 0, most = 0;
            for (int i = 0; i < N; i++) least = fminf(least, want[i]), most = fmaxf(most, want[i]);
            if (isnan(scale[r]) || !(most - least < 1e30f)) continue;
            for (int i = 0; i < N; i++) {
                float got = scale[r] * code[i / 4 * 64 + r * 4 + i % 4] + min[r];
                if (!(fabsf(got - want[i]) <= 0.8f * scale[r] + 1e-6f * (most - least)))
                    fail_msg("%s: %a, not %a, step %a", info->name, (double)got, (double)want[i], (double)scale[r]);
            }
            if (info->quantize) assert_true(scale[r] <= (most - least) / 253 * 2.2f);
        }
    }
}

static void a_poisoned_group_poisons_its_row_of_a_wide_panel(void **state) {
    (void)state;
    static uint8_t code[16 * 256] __attribute__((aligned(64)));
    static float scale[16], min[16];
    uint8_t w[3 * 8 * 18];
    float x[3 * 256];
    hth_q8_kernels k;
    const char *level;
    const hth_type_info *info = hth_type_get(HTH_TYPE_Q4_0);
    fill_normal(x, 3 * 256);
    FOR_EACH_Q8_LEVEL(k, level) {
        if (k.panel_type[HTH_TYPE_Q4_0].group != HTH_Q8_WIDE) continue;
        for (int what = 0; what < 2; what++) {
            info->quantize(x, w, 3 * 256, NULL);
            w[144 + 5 * 18 + 1] = what ? 0x7c : 0x7e; // the scale of a block of row 1: infinity, NaN
            w[144 + 5 * 18] = 0;
            hth_panel out = {code, scale, min};
            k.panel[HTH_TYPE_Q4_0](&(hth_q8_rows){.code = w, .row_bytes = 144}, 3, 256, &out);
            for (int r = 0; r < 3; r++) assert_true(r == 1 ? isnan(scale[r]) && isnan(min[r]) : isfinite(scale[r]) && isfinite(min[r]));
        }
    }
}

// What a prompt row brings is what ref says.
static void prompt_rows_are_those_of_ref(void **state) {
    (void)state;
    enum { N_ROW = 19, N = 1024 };
    typedef struct buffers {
        int8_t q[N_ROW * N], tiles[32 * N * 2];
        float d[N_ROW * 32], wide_d[N_ROW * 4], wide_sum[N_ROW * 4];
        int32_t sum[N_ROW * 64];
    } buffers;
    static buffers b[2];
    hth_q8_kernels k, ref;
    hth_q8_fill(&ref, 0);
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        for (int trial = 0; trial < 60; trial++) {
            const int64_t n = trial % 4 ? 32 * (1 + random_bits() % 32) : N;
            float *x = guarded_floats(0, n * N_ROW, trial % 2 ? GUARD_AFTER : GUARD_BEFORE);
            if (trial % 3) fill_normal(x, n * N_ROW);
            else fill_with_extremes(x, n * N_ROW, 3);
            for (int64_t i = 0; trial % 7 == 0 && i < n * N_ROW; i++) x[i] *= 0x1p-138f;
            memset(b, 0x55, sizeof b);
            for (int i = 0; i < 2; i++) {
                const hth_q8 out = {.q = b[i].q, .d = b[i].d, .sum = b[i].sum, .q_stride = N, .d_stride = 32,
                                    .tiles = k.tiles ? b[i].tiles : NULL, .wide_d = b[i].wide_d, .wide_sum = b[i].wide_sum,
                                    .wide_stride = 4, .tile_stride = 32 * 512};
                for (int64_t r = 0; r < N_ROW; r++) {
                    if (i) k.quantize_prompt(x + r * n, n, &out, r);
                    else if (k.tiles) hth_ref_q8_quantize_tiles(x + r * n, n, &out, r);
                    else ref.quantize_prompt(x + r * n, n, &out, r);
                }
            }
            assert_memory_equal(b[0].q, b[1].q, sizeof b[0].q);
            assert_memory_equal(b[0].tiles, b[1].tiles, sizeof b[0].tiles);
            assert_memory_equal(b[0].sum, b[1].sum, sizeof b[0].sum);
            assert_same_floats(level, "d", b[1].d, b[0].d, N_ROW * 32);
            assert_same_floats(level, "wide_d", b[1].wide_d, b[0].wide_d, N_ROW * 4);
            assert_same_floats(level, "wide_sum", b[1].wide_sum, b[0].wide_sum, N_ROW * 4);
        }
    }
}

static void tiles_hold_sixteen_bits_of_a_number(void **state) {
    (void)state;
    static int8_t tiles[16 * 512];
    float x[256], wide_d, wide_sum;
    const hth_q8 out = {.tiles = tiles, .wide_d = &wide_d, .wide_sum = &wide_sum, .wide_stride = 1, .tile_stride = sizeof tiles};
    fill_normal(x, 256);
    hth_ref_q8_quantize_tiles(x, 256, &out, 0);
    float sum = 0;
    for (int c = 0; c < 256; c++) {
        int high = tiles[c / 64 * 2048 + c % 64], low = tiles[c / 64 * 2048 + 1024 + c % 64];
        assert_true(low >= -64 && low < 64);
        assert_true(fabsf(x[c] - wide_d * (float)(128 * high + low)) <= 0.5001f * wide_d);
        sum += x[c];
    }
    assert_true(fabsf(sum - wide_sum) <= 128 * wide_d);
}

// A product of random panels and activations.
typedef struct product {
    hth_panel w[3];
    hth_q8 x;
    hth_q8_type type;
    int64_t n_row, n_col, n_tok;
} product;

static int8_t extreme_q(void) {
    return random_bits() & 1 ? 127 : -127;
}

static void make_tiles(product *p, bool extreme) {
    static int8_t tiles[(MAX_TOK + 16 + 15) / 16 * 16 * MAX_COL * 2] __attribute__((aligned(64)));
    static float wide_d[MAX_TOK * (MAX_COL / 256 + 3)];
    p->x.tiles = tiles;
    p->x.wide_d = wide_d;
    p->x.tile_stride = (MAX_TOK + 16 + 15) / 16 * 8192;
    p->x.first = random_bits() % 3 ? random_bits() % 17 : 0;
    fill_normal(wide_d, p->n_tok * p->x.wide_stride);
    fill_bytes(tiles, sizeof tiles); // other tokens, and columns of padding that meet codes of padding: zeros
    for (int64_t t = p->x.first; t < p->x.first + p->n_tok; t++)
        for (int64_t c = 0; c < (p->n_col + 63) / 64 * 64; c++) {
            int8_t *at = tiles + c / 256 * p->x.tile_stride + t / 16 * 8192 + c % 256 / 64 * 2048 + t % 16 * 64 + c % 64;
            at[0] = extreme ? extreme_q() : (int8_t)((int)(random_bits() % 255) - 127);
            at[1024] = (int8_t)(extreme ? 0 : (int)(random_bits() % 128) - 64);
            if (c >= p->n_col) at[0] = at[1024] = 0;
        }
}

static product make(hth_q8_type type, bool tiles, int64_t n_row, int64_t n_col, int64_t n_tok, bool extreme) {
    static uint8_t code[3 * 16 * MAX_COL] __attribute__((aligned(64)));
    static float scale[3 * MAX_COL] __attribute__((aligned(64))), min[3 * MAX_COL] __attribute__((aligned(64)));
    static float d[MAX_TOK * (MAX_COL / 32 + 3)], wide_sum[MAX_TOK * (MAX_COL / 256 + 3)];
    static int32_t sum[MAX_TOK * 2 * (MAX_COL / 32 + 3)];
    static int8_t q[MAX_TOK * MAX_COL + MAX_TOK * 64] __attribute__((aligned(64)));
    const int64_t n_code = 16 * ((n_col + 63) / 64 * 64), n_scale = 16 * ((n_col + type.group - 1) / type.group);
    const bool wide = type.group == HTH_Q8_WIDE;
    product p = {.x = {.q = q, .d = d, .sum = sum, .wide_sum = wide ? wide_sum : NULL},
                 .type = type, .n_row = n_row, .n_col = n_col, .n_tok = n_tok};
    for (int i = 0; i < 3; i++) p.w[i] = (hth_panel){code + i * n_code, scale + i * n_scale, type.has_min ? min + i * n_scale : NULL};
    p.x.wide_stride = (n_col + 255) / 256 + random_bits() % 3;
    fill_normal(wide_sum, n_tok * p.x.wide_stride);
    if (tiles) make_tiles(&p, extreme);
    p.x.q_stride = (n_col + 63) / 64 * 64;
    p.x.d_stride = n_col / 32 + random_bits() % 3;
    // code - zero fits a signed byte; levels may work by the largest code.
    static const uint32_t tops[] = {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255};
    uint32_t top = wide ? 254 : type.zero < 128 && !type.has_min ? type.zero + 127u : 255, other = tops[random_bits() % HTH_COUNT(tops)];
    if (random_bits() % 3 && other < top) top = other;
    for (int64_t i = 0; i < 3 * n_code; i++)
        code[i] = (uint8_t)(extreme ? random_bits() % 2 * top : random_bits() % (top + 1));
    if (extreme && random_bits() % 2) memset(code, (int)top, sizeof code);
    for (int i = 0; i < 3; i++) memset(p.w[i].code + 16 * n_col, 0, (size_t)(n_code - 16 * n_col));
    fill_normal(scale, 3 * n_scale);
    fill_normal(min, 3 * n_scale);
    fill_normal(d, n_tok * p.x.d_stride);
    bool alike = extreme && random_bits() % 2;
    for (int64_t t = 0; t < n_tok; t++)
        for (int64_t c = 0; c < n_col; c++) {
            int8_t v = alike ? -127 : extreme ? extreme_q() : (int8_t)((int)(random_bits() % 255) - 127);
            q[t * p.x.q_stride + c] = v;
            int32_t *at = &sum[t * 2 * p.x.d_stride + c / 16];
            *at = (c % 16 ? *at : 0) + v;
        }
    return p;
}

static void multiply(const hth_q8_kernels *k, const product *p, float *y, int64_t y_stride) {
    k->gemm(p->w, p->type, p->n_row, p->n_col, &p->x, p->n_tok, y, y_stride);
}

static const hth_q8_type kinds[] = {{32, 8, false},  {32, 128, false}, {32, 1, false}, {32, 0, true},
                                    {16, 32, false}, {16, 64, false},  {16, 0, true}, {HTH_Q8_WIDE, 0, true}};

static bool can_multiply(const hth_q8_kernels *k, size_t kind) {
    return !k->tiles || kinds[kind].group == HTH_Q8_WIDE;
}

static void products_are_those_of_ref(void **state) {
    (void)state;
    static const int64_t cols[] = {32, 64, 96, 160, 512, 1024, 1056, 2048 + 32, 4096};
    static float want[MAX_TOK * 52];
    hth_q8_kernels k, ref;
    hth_q8_fill(&ref, 0);
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        if (level_ == 0) continue;
        for (size_t kind = 0; kind < HTH_COUNT(kinds); kind++) {
            for (int trial = 0; trial < 60 && can_multiply(&k, kind); trial++) {
                int64_t n_col = cols[(size_t)trial % HTH_COUNT(cols)], n_row = trial % 4 ? 1 + random_bits() % 48 : 48;
                int64_t n_tok = trial < 40 ? trial : (int64_t)(random_bits() % MAX_TOK), y_stride = n_row + trial % 3;
                product p = make(kinds[kind], k.tiles, n_row, n_col, n_tok, trial % 5 == 4);
                int64_t n_y = n_tok ? (n_tok - 1) * y_stride + n_row : 0;
                float *y = guarded_floats(1, n_y, trial % 2 ? GUARD_AFTER : GUARD_BEFORE);
                for (int64_t i = 0; i < n_y; i++) y[i] = want[i] = 12345;
                multiply(&ref, &p, want, y_stride);
                multiply(&k, &p, y, y_stride);
                char what[96];
                snprintf(what, sizeof what, "gemm of %d rows, %d columns, %d tokens, kind %d", (int)n_row, (int)n_col,
                         (int)n_tok, (int)kind);
                assert_same_floats(level, what, y, want, n_y);
            }
        }
    }
}

// Wide products, of real weights and activations, against double precision: what is quantized is all that is lost.
static double error_of_a_wide_product(bool tiles) {
    enum { COLS = 1024, ROWS = 16, TOK = 9 };
    static uint8_t w[ROWS * COLS / 32 * 34], code[ROWS * COLS] __attribute__((aligned(64)));
    static float scale[ROWS * 4], min[ROWS * 4], weights[ROWS * COLS], x[TOK * COLS], y[TOK * ROWS];
    static int8_t q[TOK * COLS], t16[16 * COLS * 2];
    static float d[TOK * 32], wide_d[TOK * 4], wide_sum[TOK * 4];
    static int32_t sum[TOK * 64];
    const hth_type_info *info = hth_type_get(HTH_TYPE_Q8_0);
    const hth_q8_type type = {HTH_Q8_WIDE, 0, true};
    hth_q8_kernels ref;
    hth_q8_fill(&ref, 0);
    fill_normal(weights, ROWS * COLS);
    fill_normal(x, TOK * COLS);
    info->quantize(weights, w, ROWS * COLS, NULL);
    info->dequantize(w, weights, ROWS * COLS);
    const hth_panel panel = {code, scale, min};
    const hth_q8 in = {.q = q, .d = d, .sum = sum, .q_stride = COLS, .d_stride = 32, .tiles = tiles ? t16 : NULL,
                       .wide_d = wide_d, .wide_sum = wide_sum, .wide_stride = 4, .tile_stride = 8192};
    hth_ref_q8_panel(HTH_TYPE_Q8_0, type, &(hth_q8_rows){.code = w, .row_bytes = COLS / 32 * 34}, ROWS, COLS, &panel);
    for (int t = 0; t < TOK; t++) {
        if (tiles) hth_ref_q8_quantize_tiles(x + t * COLS, COLS, &in, t);
        else ref.quantize_prompt(x + t * COLS, COLS, &in, t);
    }
    ref.gemm(&panel, type, ROWS, COLS, &in, TOK, y, ROWS);
    double error = 0, power = 0;
    for (int t = 0; t < TOK; t++)
        for (int r = 0; r < ROWS; r++) {
            double want = 0;
            for (int c = 0; c < COLS; c++) want += (double)x[t * COLS + c] * weights[r * COLS + c];
            error += (y[t * ROWS + r] - want) * (y[t * ROWS + r] - want);
            power += want * want;
        }
    return sqrt(error / power);
}

static void wide_products_lose_less_than_a_hundredth(void **state) {
    (void)state;
    double with_bytes = error_of_a_wide_product(false), with_tiles = error_of_a_wide_product(true);
    assert_true(with_bytes < 0.010 && with_bytes > 0.004);
    assert_true(with_tiles < 0.008 && with_tiles > 0.003); // of the weights alone
}

// The reference against double precision: rounding alone is left.
static void products_are_right(void **state) {
    (void)state;
    hth_q8_kernels ref;
    hth_q8_fill(&ref, 0);
    for (size_t kind = 0; kind < HTH_COUNT(kinds) - 1; kind++) {
        product p = make(kinds[kind], false, 16, 512, 7, false);
        float y[7 * 16];
        multiply(&ref, &p, y, 16);
        double error = 0, power = 0;
        for (int t = 0; t < 7; t++)
            for (int r = 0; r < 16; r++) {
                double want = 0;
                for (int c = 0; c < 512; c++) {
                    int at = c / p.type.group * 16 + r;
                    double m = p.type.has_min ? p.w[0].min[at] : -p.type.zero * (double)p.w[0].scale[at];
                    double w = p.w[0].scale[at] * (double)p.w[0].code[c / 4 * 64 + r * 4 + c % 4] + m;
                    double x = p.x.d[t * p.x.d_stride + c / 32] * (double)p.x.q[t * p.x.q_stride + c];
                    want += w * x, power += w * x * w * x;
                }
                error += (y[t * 16 + r] - want) * (y[t * 16 + r] - want);
            }
        assert_true(error <= 1e-10 * power);
    }
}

static void nan_scales_reach_their_token_and_row_alone(void **state) {
    (void)state;
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        for (size_t kind = 0; kind < HTH_COUNT(kinds); kind++) {
            if (!can_multiply(&k, kind)) continue;
            product p = make(kinds[kind], k.tiles, 16, 1088, 19, false);
            float y[19 * 16];
            p.w[0].scale[16 + 3] = NAN;
            if (k.tiles) p.x.wide_d[17 * p.x.wide_stride + 2] = NAN;
            else p.x.d[17 * p.x.d_stride + 2] = NAN;
            multiply(&k, &p, y, 16);
            for (int t = 0; t < 19; t++)
                for (int r = 0; r < 16; r++) assert_int_equal(isnan(y[t * 16 + r]) != 0, t == 17 || r == 3);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_mean_what_dequantize_gives),
        cmocka_unit_test(every_type_has_an_entry_at_every_level),
        cmocka_unit_test(panels_are_those_of_ref),
        cmocka_unit_test(quantized_activations_are_those_of_ref),
        cmocka_unit_test(quantized_activations_are_near_and_poisoned_by_nan),
        cmocka_unit_test(wide_panels_are_near_the_weights),
        cmocka_unit_test(a_poisoned_group_poisons_its_row_of_a_wide_panel),
        cmocka_unit_test(prompt_rows_are_those_of_ref),
        cmocka_unit_test(tiles_hold_sixteen_bits_of_a_number),
        cmocka_unit_test(wide_products_lose_less_than_a_hundredth),
        cmocka_unit_test(products_are_right),
        cmocka_unit_test(products_are_those_of_ref),
        cmocka_unit_test(nan_scales_reach_their_token_and_row_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
