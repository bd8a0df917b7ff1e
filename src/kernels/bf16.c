// Which unit multiplies bf16.
#include "kernels/bf16.h"

#include "kernels/levels.h"
#include "os/cpu.h"

void hth_bf16_fill(hth_bf16_kernels *out, uint32_t cpu_features) {
    const uint32_t vectors = HTH_CPU_AVX512 | HTH_CPU_AVX512_BF16 | HTH_CPU_QUICK_BF16;
    const uint32_t tiles = HTH_CPU_AVX512 | HTH_CPU_AMX_BF16;
    hth_ref_bf16(out);
    if ((cpu_features & vectors) == vectors) hth_bf16_avx512(out);
    if ((cpu_features & tiles) == tiles) hth_bf16_amx(out);
}

hth_bf16_kernels hth_bf16_get(void) {
    hth_bf16_kernels k;
    hth_bf16_fill(&k, hth_cpu_features());
    return k;
}
