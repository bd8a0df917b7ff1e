// Integer products of weights in planes: what is read are the numbers that the weight's view gives, and every level gives
// the bits of ref, reading nothing past the end of a plane.
#include "q8_check.h"
#include "quant/weight.h"

enum { MAX_COL = 1536, MAX_ROW = 40, MAX_TOK = HTH_GEMV_TOKENS };

#define X86 (HTH_CPU_AVX2 | HTH_CPU_AVX512)
static const struct level q8_levels[] = {
    {"ref", 0},
    {"avx2", HTH_CPU_AVX2},
    {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI},
    {"avx512-vnni", X86 | HTH_CPU_AVX512_VNNI},
    {"amx-int8", X86 | HTH_CPU_AVX512_VNNI | HTH_CPU_AMX_INT8},
    {"neon", HTH_CPU_NEON},
    {"dotprod", HTH_CPU_NEON | HTH_CPU_DOTPROD},
};

static const int bits_of[] = {2, 3, 4, 5, 6, 8, 4, 4}; // from HTH_Q8_AFFINE_2 on

static bool is_affine(uint32_t layout) {
    return layout < HTH_Q8_E2M1;
}

// Codes are any bits; scales everyday numbers, now and then any bits too. Rows lie `gap` bytes apart.
static hth_q8_rows random_rows(uint32_t layout, int64_t n_row, int64_t n_col, int group, uint32_t scale_type, int64_t gap, bool is_wild) {
    const int64_t bytes = n_col * bits_of[layout - HTH_Q8_AFFINE_2] / 8, n_scale = n_col / group;
    const int64_t size = !is_affine(layout) ? 1 : scale_type == HTH_TYPE_F32 ? 4 : 2;
    hth_q8_rows w = {.row_bytes = bytes + gap, .scale_bytes = n_scale * size + gap, .scale_type = scale_type, .group = group};
    const size_t n_code = (size_t)((n_row - 1) * w.row_bytes + bytes);
    const size_t n = (size_t)((n_row - 1) * w.scale_bytes + n_scale * size);
    uint8_t *code = guarded(4, n_code, GUARD_AFTER), *planes[2] = {guarded(5, n, GUARD_AFTER), guarded(6, n, GUARD_AFTER)};
    fill_bytes(code, n_code);
    for (int p = 0; p < 2; p++) {
        fill_bytes(planes[p], n);
        for (int64_t i = 0; !is_wild && i < n_row * n_scale; i++) {
            uint8_t *at = planes[p] + i / n_scale * w.scale_bytes + i % n_scale * size;
            const float v = random_uniform(-0.1f, 0.1f);
            const uint32_t bits = hth_f32_bits(v);
            const uint16_t half = scale_type == HTH_TYPE_F16 ? hth_f32_to_f16(v) : (uint16_t)(bits >> 16);
            if (size == 1) *at = (uint8_t)(layout == HTH_Q8_E2M1 ? 110 + random_bits() % 20 : random_bits() % 0x7f);
            else if (size == 4) memcpy(at, &bits, 4);
            else memcpy(at, &half, 2);
        }
    }
    w.code = code, w.scale = planes[0], w.bias = is_affine(layout) ? planes[1] : NULL;
    return w;
}

typedef struct shape {
    uint32_t layout, scale_type;
    int group;
    int64_t n_col;
} shape;

static shape random_shape(uint32_t layout) {
    static const uint32_t types[] = {HTH_TYPE_BF16, HTH_TYPE_F16, HTH_TYPE_F32};
    shape s = {.layout = layout, .scale_type = types[random_bits() % 3], .group = 32 << random_bits() % 4};
    if (layout == HTH_Q8_E2M1_16) s.group = 16;
    const int64_t unit = s.group > hth_q8_layout_unit(layout) ? s.group : hth_q8_layout_unit(layout);
    s.n_col = unit * (1 + random_bits() % (uint32_t)(MAX_COL / unit));
    return s;
}

static void ref_reads_what_the_view_gives(void **state) {
    (void)state;
    for (uint32_t layout = HTH_Q8_AFFINE_2; layout < HTH_Q8_LAYOUTS; layout++) {
        for (int trial = 0; trial < 12; trial++) {
            const shape s = random_shape(layout);
            const hth_q8_rows w = random_rows(layout, 3, s.n_col, s.group, s.scale_type, trial % 3, false);
            const hth_buffer code = {.host = w.code}, scale = {.host = w.scale}, bias = {.host = w.bias};
            const hth_weight view = {.scheme = is_affine(layout) ? HTH_SCHEME_AFFINE : s.group == 16 ? HTH_SCHEME_NVFP4 : HTH_SCHEME_MXFP4,
                                     .type = HTH_TYPE_U32, .scale_type = is_affine(layout) ? s.scale_type : HTH_TYPE_U8,
                                     .bits = (uint8_t)bits_of[layout - HTH_Q8_AFFINE_2], .group = (uint32_t)s.group, .scale_rows = 1,
                                     .n_row = 3, .n_col = s.n_col, .n_expert = 1,
                                     .codes = {.at = {&code, 0}, .row_bytes = (uint64_t)w.row_bytes},
                                     .scales = {.at = {&scale, 0}, .row_bytes = (uint64_t)w.scale_bytes},
                                     .biases = {.at = {&bias, 0}, .row_bytes = (uint64_t)w.scale_bytes}};
            const hth_q8_type type = hth_q8_type_of(layout);
            static float want[MAX_COL];
            for (int r = 0; r < 3; r++) {
                hth_weight_row_f32(&view, 0, r, 0, s.n_col, want);
                for (int64_t c = 0; c < s.n_col; c += 32) {
                    uint8_t codes[64];
                    float d[4], m[4];
                    if (c % hth_q8_layout_unit(layout)) continue;
                    hth_q8_read(layout, &w, r, c, hth_q8_layout_unit(layout), codes, d, m);
                    for (int i = 0; i < hth_q8_layout_unit(layout); i++) {
                        const int g = i / type.group;
                        const float got = is_affine(layout) ? d[g] * (float)codes[i] + m[g] : d[g] * (float)(codes[i] - 12);
                        if (got != want[c + i]) fail_msg("%s: column %d is %a, not %a", hth_q8_layout_name(layout), (int)c + i, (double)got, (double)want[c + i]);
                    }
                }
            }
        }
    }
}

static void products_are_those_of_ref(void **state) {
    (void)state;
    static float y[MAX_TOK * MAX_ROW], want[MAX_TOK * MAX_ROW];
    static const int64_t rows[] = {16, 1, 33, 15, 17, 8, 40, 3};
    hth_q8_kernels k, ref;
    hth_q8_fill(&ref, 0);
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        for (uint32_t layout = HTH_Q8_AFFINE_2; layout < HTH_Q8_LAYOUTS; layout++) {
            for (int trial = 0; trial < 32; trial++) {
                const int64_t n_row = rows[trial % 8], n_tok = trial < 16 ? 1 + trial % 2 : 1 + trial % 16;
                const shape s = random_shape(layout);
                const hth_q8_rows w = random_rows(layout, n_row, s.n_col, s.group, s.scale_type, trial % 3, trial % 8 == 7);
                const hth_q8 x = quantized(n_tok, s.n_col, trial % 5 == 4);
                for (int64_t i = 0; i < MAX_TOK * MAX_ROW; i++) y[i] = want[i] = -77;
                ref.gemv[layout](&w, n_row, s.n_col, &x, n_tok, want, MAX_ROW);
                k.gemv[layout](&w, n_row, s.n_col, &x, n_tok, y, MAX_ROW);
                for (int64_t i = 0; i < MAX_TOK * MAX_ROW; i++)
                    if (!same_float(y[i], want[i]))
                        fail_msg("%s %s: %d rows, %d tokens, %d columns in groups of %d: row %d, token %d is %a, not %a",
                                 hth_q8_layout_name(layout), level, (int)n_row, (int)n_tok, (int)s.n_col, s.group, (int)(i % MAX_ROW),
                                 (int)(i / MAX_ROW), (double)y[i], (double)want[i]);
            }
        }
    }
}

static void panels_are_those_of_ref(void **state) {
    (void)state;
    static uint8_t code[2][16 * MAX_COL] __attribute__((aligned(64)));
    static float scale[2][MAX_COL] __attribute__((aligned(64))), min[2][MAX_COL] __attribute__((aligned(64)));
    hth_q8_kernels k;
    const char *level;
    FOR_EACH_Q8_LEVEL(k, level) {
        for (uint32_t layout = HTH_Q8_AFFINE_2; layout < HTH_Q8_LAYOUTS; layout++) {
            for (int trial = 0; trial < 24; trial++) {
                const int64_t n_row = trial % 2 ? 16 : 1 + random_bits() % 16;
                const shape s = random_shape(layout);
                const hth_q8_rows w = random_rows(layout, n_row, s.n_col, s.group, s.scale_type, trial % 3, trial % 8 == 7);
                for (int i = 0; i < 2; i++) {
                    memset(code[i], 0xee, sizeof code[i]);
                    memset(scale[i], 0xee, sizeof scale[i]);
                    memset(min[i], 0xee, sizeof min[i]);
                    const hth_panel out = {code[i], scale[i], k.panel_type[layout].has_min ? min[i] : NULL};
                    if (i) k.panel[layout](&w, n_row, s.n_col, &out);
                    else hth_ref_q8_panel(layout, k.panel_type[layout], &w, n_row, s.n_col, &out);
                }
                bool is_same = memcmp(code[0], code[1], sizeof code[0]) == 0;
                for (int i = 0; i < MAX_COL; i++) is_same &= same_float(scale[0][i], scale[1][i]) && same_float(min[0][i], min[1][i]);
                if (!is_same) fail_msg("%s %s: %d rows, %d columns differ", hth_q8_layout_name(layout), level, (int)n_row, (int)s.n_col);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ref_reads_what_the_view_gives), cmocka_unit_test(products_are_those_of_ref),
                                       cmocka_unit_test(panels_are_those_of_ref)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
