// Fills the table of integer products from the levels that the CPU has, and tells which level an entry is of.
#include "kernels/q8.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kernels/levels.h"
#include "os/cpu.h"

static void fill_ref(hth_q8_kernels *k, bool exact) {
    (void)exact;
    for (uint32_t t = 0; t < HTH_Q8_LAYOUTS; t++) {
        k->type[t] = hth_q8_type_of(t);
        k->panel_type[t] = hth_q8_panel_type_of(t, HTH_Q8_NONE_WIDE);
    }
    hth_ref_q8_gemm(k);
    hth_ref_q8_gemv(k);
}

static void fill_avx2(hth_q8_kernels *k, bool exact) {
    (void)exact;
    hth_q8_panel_avx2(k);
    hth_q8_gemm_avx2(k);
    hth_q8_gemv_avx2(k);
}

static void fill_avx_vnni(hth_q8_kernels *k, bool exact) {
    if (!exact) hth_q8_panel_wide_avx2(k, HTH_Q8_SOME_WIDE);
    hth_q8_gemm_avx_vnni(k);
    hth_q8_gemv_avx_vnni(k);
}

static void fill_avx512_vnni(hth_q8_kernels *k, bool exact) {
    if (!exact) hth_q8_panel_wide_avx2(k, HTH_Q8_SOME_WIDE);
    hth_q8_gemm_avx512(k);
    hth_q8_gemv_avx512(k);
}

static void fill_amx(hth_q8_kernels *k, bool exact) {
    if (exact) return;
    k->tiles = true;
    hth_q8_panel_wide_avx2(k, HTH_Q8_ALL_WIDE);
    hth_q8_gemm_amx(k);
}

static void fill_neon(hth_q8_kernels *k, bool exact) {
    (void)exact;
    hth_q8_panel_neon(k);
}

static void fill_dotprod(hth_q8_kernels *k, bool exact) {
    (void)exact;
    hth_q8_gemm_neon(k);
    hth_q8_gemv_neon(k);
}

static void fill_i8mm(hth_q8_kernels *k, bool exact) {
    (void)exact;
    hth_q8_gemm_i8mm(k);
}

// From the plainest to the best.
static const struct level {
    const char *name;
    uint32_t features; // 0: always there
    void (*fill)(hth_q8_kernels *k, bool exact);
} levels[] = {
    {"ref", 0, fill_ref},
    {"avx2", HTH_CPU_AVX2, fill_avx2},
    {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI, fill_avx_vnni},
    {"avx512-vnni", HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI, fill_avx512_vnni},
    {"amx-int8", HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI | HTH_CPU_AMX_INT8, fill_amx},
    {"neon", HTH_CPU_NEON, fill_neon},
    {"dotprod", HTH_CPU_NEON | HTH_CPU_DOTPROD, fill_dotprod},
    {"i8mm", HTH_CPU_NEON | HTH_CPU_DOTPROD | HTH_CPU_I8MM, fill_i8mm},
};

static void fill(hth_q8_kernels *out, uint32_t cpu_features, bool exact) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < HTH_COUNT(levels); i++)
        if ((cpu_features & levels[i].features) == levels[i].features) levels[i].fill(out, exact);
}

void hth_q8_fill(hth_q8_kernels *out, uint32_t cpu_features) {
    fill(out, cpu_features, false);
}

void hth_q8_fill_exact(hth_q8_kernels *out, uint32_t cpu_features) {
    fill(out, cpu_features, true);
}

// [0] the fastest, [1] the exact one. The first caller fills them; others that come meanwhile wait for the few
// microseconds.
static const hth_q8_kernels *tables(void) {
    enum { EMPTY, FILLING, READY };
    static atomic_int state = EMPTY;
    static hth_q8_kernels table[2];
    if (HTH_LIKELY(atomic_load_explicit(&state, memory_order_acquire) == READY)) return table;
    int expected = EMPTY;
    if (atomic_compare_exchange_strong(&state, &expected, FILLING)) {
        for (int i = 0; i < 2; i++) fill(&table[i], hth_cpu_features(), i == 1);
        atomic_store_explicit(&state, READY, memory_order_release);
    }
    while (atomic_load_explicit(&state, memory_order_acquire) != READY) continue;
    return table;
}

const hth_q8_kernels *hth_q8_get(void) {
    return &tables()[0];
}

const hth_q8_kernels *hth_q8_get_exact(void) {
    return &tables()[1];
}

// The offset and the name of entry i: those that serve all types, then panel and gemv of each type.
static bool find_entry(int i, char op[48], size_t *offset) {
    if (i < 0) return false;
    static const struct {
        const char *name;
        size_t offset;
    } common[] = {{"quantize_q8", offsetof(hth_q8_kernels, quantize)},
                  {"quantize_prompt_q8", offsetof(hth_q8_kernels, quantize_prompt)},
                  {"gemm_q8", offsetof(hth_q8_kernels, gemm)}};
    if (i < (int)HTH_COUNT(common)) {
        snprintf(op, 48, "%s", common[i].name);
        *offset = common[i].offset;
        return true;
    }
    i -= (int)HTH_COUNT(common);
    for (uint32_t t = 0; t < HTH_Q8_LAYOUTS; t++) {
        if (!hth_q8_type_of(t).group) continue;
        if (i >= 2) {
            i -= 2;
            continue;
        }
        snprintf(op, 48, "%s %s", i == 0 ? "panel_q8" : "gemv_q8", hth_q8_layout_name(t));
        *offset = (i == 0 ? offsetof(hth_q8_kernels, panel) : offsetof(hth_q8_kernels, gemv)) + t * sizeof(void (*)(void));
        return true;
    }
    return false;
}

// An entry is of the last level that would put the same function there.
bool hth_q8_describe(const hth_q8_kernels *k, int i, char op[48], const char **level) {
    size_t offset;
    if (!find_entry(i, op, &offset)) return false;
    *level = "none";
    for (size_t l = 0; l < HTH_COUNT(levels); l++) {
        if (levels[l].features & ~hth_cpu_features()) continue;
        hth_q8_kernels one;
        void (*have)(void), (*its)(void);
        memset(&one, 0, sizeof one);
        levels[l].fill(&one, false);
        memcpy(&have, (const char *)k + offset, sizeof have);
        memcpy(&its, (const char *)&one + offset, sizeof its);
        if (its && its == have) *level = levels[l].name;
    }
    return true;
}
