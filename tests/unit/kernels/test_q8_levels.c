// No type falls to a slower level of integer products than the CPU allows, unless it is listed here.
#include "check.h"

#include "kernels/levels.h"

// From the plainest to the best; what an architecture lacks is never met there.
static const char *const ranks[] = {"none", "ref",         "neon",    "dotprod",    "i8mm",
                                    "avx2", "avx-vnni",    "avx512",  "avx512-vnni", "amx-int8"};

static int rank_of(const char *level) {
    for (int i = 0; i < (int)HTH_COUNT(ranks); i++)
        if (strcmp(ranks[i], level) == 0) return i;
    fail_msg("a level that this test does not know: %s", level);
    return 0;
}

// What each kind of operation must be at least, by what the CPU has. The first row that fits counts.
static const struct intent {
    uint32_t features;
    const char *quantize, *panel, *gemm, *gemv;
} intents[] = {
    {HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI | HTH_CPU_AMX_INT8, "avx2", "avx2", "amx-int8", "avx512-vnni"},
    {HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI, "avx2", "avx2", "avx512-vnni", "avx512-vnni"},
    {HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI, "avx2", "avx2", "avx-vnni", "avx-vnni"},
    {HTH_CPU_AVX2, "avx2", "avx2", "avx2", "avx2"},
    {HTH_CPU_NEON | HTH_CPU_DOTPROD | HTH_CPU_I8MM, "neon", "neon", "i8mm", "dotprod"},
    {HTH_CPU_NEON | HTH_CPU_DOTPROD, "neon", "neon", "dotprod", "dotprod"},
    {HTH_CPU_NEON, "neon", "neon", "ref", "ref"}, // the executor multiplies in f32 where the product is the reference's
    {0, "ref", "ref", "ref", "ref"},
};

// Types that are allowed less: "gemv_q8 tq1_0".
static const struct exception {
    const char *op, *level;
} exceptions[] = {{"", "ref"}};

static const char *intended(const struct intent *want, const char *op) {
    for (size_t i = 0; i < HTH_COUNT(exceptions); i++)
        if (strcmp(exceptions[i].op, op) == 0) return exceptions[i].level;
    if (strcmp(op, "quantize_q8") == 0 || strcmp(op, "quantize_prompt_q8") == 0) return want->quantize;
    if (strcmp(op, "gemm_q8") == 0) return want->gemm;
    if (strncmp(op, "panel_q8 ", 9) == 0) return want->panel;
    if (strncmp(op, "gemv_q8 ", 8) == 0) return want->gemv;
    fail_msg("an operation that this test does not know: %s", op);
    return "";
}

static int count_holes(const hth_q8_kernels *k, uint32_t features, bool is_told) {
    const struct intent *want = intents;
    while ((want->features & features) != want->features) want++;
    char op[48];
    const char *level;
    int n_hole = 0;
    for (int i = 0; hth_q8_describe(k, i, op, &level); i++) {
        if (rank_of(level) >= rank_of(intended(want, op))) continue;
        if (is_told) print_error("features %x: %s is %s, not %s\n", features, op, level, intended(want, op));
        n_hole++;
    }
    return n_hole;
}

static void no_type_is_slower_than_intended(void **state) {
    (void)state;
    int n_hole = 0;
    for (size_t i = 0; i < HTH_COUNT(intents); i++) {
        if (intents[i].features & ~hth_cpu_features()) continue;
        hth_q8_kernels k;
        // What comes with a level: AVX-512 never without AVX2.
        const uint32_t features = intents[i].features | (intents[i].features & HTH_CPU_AVX512 ? HTH_CPU_AVX2 : 0);
        hth_q8_fill(&k, features);
        n_hole += count_holes(&k, features, true);
    }
    assert_int_equal(n_hole, 0);
}

// A test that could not see a hole would be worth nothing.
static void a_hole_shows(void **state) {
    (void)state;
    if (!(hth_cpu_features() & (HTH_CPU_AVX2 | HTH_CPU_DOTPROD))) skip();
    hth_q8_kernels k, ref;
    hth_q8_fill(&k, hth_cpu_features());
    hth_q8_fill(&ref, 0);
    const int before = count_holes(&k, hth_cpu_features(), false);
    k.gemv[HTH_TYPE_Q4_K] = ref.gemv[HTH_TYPE_Q4_K];
    assert_int_equal(count_holes(&k, hth_cpu_features(), false), before + 1);
    k.panel[HTH_TYPE_IQ2_S] = NULL;
    assert_int_equal(count_holes(&k, hth_cpu_features(), false), before + 2);
    k.gemm = ref.gemm;
    assert_int_equal(count_holes(&k, hth_cpu_features(), false), before + 3);
}

// Every type of less than 16 bits has an integer path but the two that only hold activations.
static void every_quantized_type_has_an_integer_path(void **state) {
    (void)state;
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        const hth_type_info *type = hth_type_get(t);
        if (!type || type->block_len == 1 || t == HTH_TYPE_Q8_1 || t == HTH_TYPE_Q8_K) continue;
        if (!hth_q8_codes(t)) fail_msg("%s has no integer path", type->name);
    }
}

// The exact table rounds no weight, and is no slower for it than the best level without tiles.
static void the_exact_table_has_no_wide_panels(void **state) {
    (void)state;
    hth_q8_kernels exact, ref;
    hth_q8_fill_exact(&exact, hth_cpu_features());
    hth_q8_fill(&ref, 0);
    assert_false(exact.tiles);
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        assert_memory_equal(&exact.panel_type[t], &exact.type[t], sizeof exact.type[t]);
    }
    if (hth_cpu_features() & (HTH_CPU_AVX2 | HTH_CPU_DOTPROD)) assert_true(exact.gemm != ref.gemm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_type_is_slower_than_intended),
        cmocka_unit_test(a_hole_shows),
        cmocka_unit_test(every_quantized_type_has_an_integer_path),
        cmocka_unit_test(the_exact_table_has_no_wide_panels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
