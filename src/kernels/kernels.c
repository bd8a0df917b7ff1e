// Fills the table of kernels from the levels that the CPU has, and tells which level an entry is of.
#include "kernels/kernels.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kernels/levels.h"
#include "os/cpu.h"

static void fill_ref(hth_kernels *k) {
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        const hth_type_info *info = hth_type_get(t);
        k->dequantize[t] = info ? info->dequantize : NULL;
    }
    hth_ref_gemm(k);
    hth_ref_norm(k);
    hth_ref_rope(k);
    hth_ref_act(k);
    hth_ref_vector(k);
    hth_ref_kv(k);
    hth_ref_tile(k);
    hth_ref_softmax(k);
    hth_ref_scan(k);
    hth_ref_recurrent(k);
}

// From the plainest to the best.
static const struct {
    const char *name;
    uint32_t feature; // 0: always there
    void (*fill)(hth_kernels *k);
} levels[] = {
    {"ref", 0, fill_ref},
    {"avx2", HTH_CPU_AVX2, hth_level_avx2},
    {"avx512", HTH_CPU_AVX512, hth_level_avx512},
    {"neon", HTH_CPU_NEON, hth_level_neon},
};

void hth_kernels_fill(hth_kernels *out, uint32_t cpu_features) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < HTH_COUNT(levels); i++)
        if ((cpu_features & levels[i].feature) == levels[i].feature) levels[i].fill(out);
}

// The first caller fills the table; others that come meanwhile wait for the few microseconds.
const hth_kernels *hth_kernels_get(void) {
    enum { EMPTY, FILLING, READY };
    static atomic_int state = EMPTY;
    static hth_kernels table;
    if (HTH_LIKELY(atomic_load_explicit(&state, memory_order_acquire) == READY)) return &table;
    int expected = EMPTY;
    if (atomic_compare_exchange_strong(&state, &expected, FILLING)) {
        hth_kernels_fill(&table, hth_cpu_features());
        atomic_store_explicit(&state, READY, memory_order_release);
    }
    while (atomic_load_explicit(&state, memory_order_acquire) != READY) continue;
    return &table;
}

// Entries after dequantize, for describing.
#define ENTRY(name, member) {name, offsetof(hth_kernels, member)}
static const struct entry {
    const char *name;
    size_t offset;
} entries[] = {
    ENTRY("dequantize f8_e4m3", dequantize_f8[0]),
    ENTRY("dequantize f8_e5m2", dequantize_f8[1]),
    ENTRY("gemm_f32", gemm_f32),
    ENTRY("gemm_f16", gemm_f16),
    ENTRY("gemm_bf16", gemm_bf16),
    ENTRY("norm_rms", norm_rms),
    ENTRY("norm_layer", norm_layer),
    ENTRY("rope norm", rope[HTH_ROPE_NORM]),
    ENTRY("rope neox", rope[HTH_ROPE_NEOX]),
    ENTRY("act none", act[HTH_ACT_NONE]),
    ENTRY("act silu", act[HTH_ACT_SILU]),
    ENTRY("act gelu_tanh", act[HTH_ACT_GELU_TANH]),
    ENTRY("act gelu_erf", act[HTH_ACT_GELU_ERF]),
    ENTRY("act relu", act[HTH_ACT_RELU]),
    ENTRY("act relu2", act[HTH_ACT_RELU2]),
    ENTRY("act sigmoid", act[HTH_ACT_SIGMOID]),
    ENTRY("act softplus", act[HTH_ACT_SOFTPLUS]),
    ENTRY("act exp", act[HTH_ACT_EXP]),
    ENTRY("act_mul none", act_mul[HTH_ACT_NONE]),
    ENTRY("act_mul silu", act_mul[HTH_ACT_SILU]),
    ENTRY("act_mul gelu_tanh", act_mul[HTH_ACT_GELU_TANH]),
    ENTRY("act_mul gelu_erf", act_mul[HTH_ACT_GELU_ERF]),
    ENTRY("act_mul relu", act_mul[HTH_ACT_RELU]),
    ENTRY("act_mul relu2", act_mul[HTH_ACT_RELU2]),
    ENTRY("act_mul sigmoid", act_mul[HTH_ACT_SIGMOID]),
    ENTRY("act_mul softplus", act_mul[HTH_ACT_SOFTPLUS]),
    ENTRY("act_mul exp", act_mul[HTH_ACT_EXP]),
    ENTRY("add", add),
    ENTRY("scale", scale),
    ENTRY("add_scaled", add_scaled),
    ENTRY("kv_dot f32", kv_dot[HTH_KV_F32]),
    ENTRY("kv_dot f16", kv_dot[HTH_KV_F16]),
    ENTRY("kv_dot bf16", kv_dot[HTH_KV_BF16]),
    ENTRY("kv_dot q8_0", kv_dot[HTH_KV_Q8_0]),
    ENTRY("kv_dot q4_0", kv_dot[HTH_KV_Q4_0]),
    ENTRY("kv_dot q5_0", kv_dot[HTH_KV_Q5_0]),
    ENTRY("kv_acc f32", kv_acc[HTH_KV_F32]),
    ENTRY("kv_acc f16", kv_acc[HTH_KV_F16]),
    ENTRY("kv_acc bf16", kv_acc[HTH_KV_BF16]),
    ENTRY("kv_acc q8_0", kv_acc[HTH_KV_Q8_0]),
    ENTRY("kv_acc q4_0", kv_acc[HTH_KV_Q4_0]),
    ENTRY("kv_acc q5_0", kv_acc[HTH_KV_Q5_0]),
    ENTRY("kv_load f32", kv_load[HTH_KV_F32]),
    ENTRY("kv_load f16", kv_load[HTH_KV_F16]),
    ENTRY("kv_load bf16", kv_load[HTH_KV_BF16]),
    ENTRY("kv_load q8_0", kv_load[HTH_KV_Q8_0]),
    ENTRY("kv_load q4_0", kv_load[HTH_KV_Q4_0]),
    ENTRY("kv_load q5_0", kv_load[HTH_KV_Q5_0]),
    ENTRY("kv_store f32", kv_store[HTH_KV_F32]),
    ENTRY("kv_store f16", kv_store[HTH_KV_F16]),
    ENTRY("kv_store bf16", kv_store[HTH_KV_BF16]),
    ENTRY("kv_store q8_0", kv_store[HTH_KV_Q8_0]),
    ENTRY("kv_store q4_0", kv_store[HTH_KV_Q4_0]),
    ENTRY("kv_store q5_0", kv_store[HTH_KV_Q5_0]),
    ENTRY("tile_scores", tile_scores),
    ENTRY("tile_softmax", tile_softmax),
    ENTRY("tile_values", tile_values),
    ENTRY("conv", conv),
    ENTRY("delta", delta),
    ENTRY("wkv", wkv),
    ENTRY("scan", scan),
    ENTRY("max", max),
    ENTRY("exp_sum", exp_sum),
    ENTRY("tanh_cap", tanh_cap),
};

// The offset and the name of entry i; false past the end.
static bool find_entry(int i, char op[48], size_t *offset) {
    if (i < 0) return false;
    if ((size_t)i < HTH_COUNT(entries)) {
        snprintf(op, 48, "%s", entries[i].name);
        *offset = entries[i].offset;
        return true;
    }
    i -= (int)HTH_COUNT(entries);
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        const hth_type_info *info = hth_type_get(t);
        if (!info || i-- > 0) continue;
        snprintf(op, 48, "dequantize %s", info->name);
        *offset = offsetof(hth_kernels, dequantize) + t * sizeof(hth_dequantize_fn);
        return true;
    }
    return false;
}

// An entry is of the last level that would put the same function there. Levels that the CPU lacks are not
// even asked: their files may be compiled with its instructions throughout.
bool hth_kernels_describe(const hth_kernels *k, int i, char op[48], const char **level) {
    size_t offset;
    if (!find_entry(i, op, &offset)) return false;
    *level = "none";
    for (size_t l = 0; l < HTH_COUNT(levels); l++) {
        if (levels[l].feature & ~hth_cpu_features()) continue;
        hth_kernels one;
        void (*have)(void), (*its)(void);
        memset(&one, 0, sizeof one);
        levels[l].fill(&one);
        memcpy(&have, (const char *)k + offset, sizeof have);
        memcpy(&its, (const char *)&one + offset, sizeof its);
        if (its && its == have) *level = levels[l].name;
    }
    return true;
}
