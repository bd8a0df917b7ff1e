// A pure loop of sdot.
#include "kernels/q8_peak.h"

#if defined(__aarch64__)
#include <stddef.h>

#include "base/attr.h"
#include "os/clock.h"
#include "os/cpu.h"

enum { LOOPS = 20000, RUNS = 12 };

double hth_q8_peak(uint32_t cpu_features) {
    if (!(cpu_features & HTH_CPU_DOTPROD)) return 0;
    uint64_t best = UINT64_MAX;
    for (int run = 0; run < RUNS; run++) {
        size_t n = LOOPS;
        uint64_t start = hth_clock_ns();
#define DOT(i) "sdot v" i ".4s, v16.16b, v17.16b\n"
        __asm__ volatile(".arch_extension dotprod\n"
                         "movi v16.16b, #0\n movi v17.16b, #0\n"
                         "1:\n" DOT("0") DOT("1") DOT("2") DOT("3") DOT("4") DOT("5") DOT("6") DOT("7") DOT("18") DOT("19")
                         DOT("20") DOT("21") DOT("22") DOT("23") DOT("24") DOT("25") "subs %0, %0, #1\n b.ne 1b\n"
                         : "+r"(n)
                         :
                         : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21",
                           "v22", "v23", "v24", "v25");
        uint64_t ns = hth_clock_ns() - start;
        if (ns < best) best = ns;
    }
    return LOOPS * 16.0 * 16 * 2 / (double)best * 1e-3;
}
#endif
