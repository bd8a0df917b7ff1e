// What the machine is: CPU features by name, cores, memory.
#ifndef HTH_OS_CPU_H
#define HTH_OS_CPU_H

#include <stdbool.h>
#include <stdint.h>

typedef enum hth_cpu_feature {
    // x86-64
    HTH_CPU_AVX2 = 1u << 0, // with FMA, F16C, BMI2
    HTH_CPU_AVX_VNNI = 1u << 1,
    HTH_CPU_AVX512 = 1u << 2, // F, BW, VL, DQ
    HTH_CPU_AVX512_VNNI = 1u << 3,
    HTH_CPU_AVX512_VBMI = 1u << 4,
    HTH_CPU_AVX512_BF16 = 1u << 5,
    HTH_CPU_AMX_INT8 = 1u << 6,
    HTH_CPU_AMX_BF16 = 1u << 7,
    HTH_CPU_QUICK_BF16 = 1u << 8, // AVX512_BF16's products at the pace of f32 ones; Intel's take four times as long
    // arm64
    HTH_CPU_NEON = 1u << 16,
    HTH_CPU_FP16 = 1u << 17,
    HTH_CPU_DOTPROD = 1u << 18,
    HTH_CPU_I8MM = 1u << 19,
    HTH_CPU_BF16 = 1u << 20,
    HTH_CPU_SVE2 = 1u << 21,
} hth_cpu_feature;

// Features that both the CPU and the system's saved registers allow. HEARTH_CPU in the environment
// ("ref", "avx2", "avx512", "neon", ...) masks them down; unknown words are ignored.
uint32_t hth_cpu_features(void);
const char *hth_cpu_feature_name(hth_cpu_feature feature); // "avx2", ...

// Asks the system for the tile registers of AMX, which Linux gives to a process only on request; false where
// there are none or the system refuses. hth_cpu_features asks by itself.
bool hth_cpu_enable_amx(void);

// Logical CPUs that this process may run on, at least 1. Cheap.
int hth_cpu_count(void);

typedef struct hth_machine {
    char cpu_name[96];
    int n_logical;  // logical CPUs this process may run on
    int n_physical; // physical cores among them (best effort; performance cores only on Apple silicon)
    uint64_t memory_bytes, available_bytes;
    uint32_t page_bytes;
    const char *os, *arch; // "linux" | "macos", "x86_64" | "arm64"
} hth_machine;

// Threads for heavy work when nobody says how many: one per physical core, between 1 and 1024.
int hth_cpu_default_threads(void);

// Never fails; what cannot be found is 0 or "unknown".
void hth_machine_get(hth_machine *out);

#endif
