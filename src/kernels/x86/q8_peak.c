// Pure loops of 8-bit dot instructions.
#include "kernels/q8_peak.h"

#if defined(__x86_64__)
#include <stddef.h>

#include "base/attr.h"
#include "os/clock.h"
#include "os/cpu.h"

enum { LOOPS = 20000, RUNS = 12 };

// Ten independent sums hide the latency. Registers are named, as no type of C is theirs without the level's
// flags; nothing else here uses them.
#define REPEAT_10(op)                                                                                                \
    op("0") op("1") op("2") op("3") op("4") op("5") op("6") op("7") op("8") op("9")

#define DEFINE_LOOP(name, setup, body, teardown, ...)                                                                \
    static void name(void) {                                                                                         \
        size_t n = LOOPS;                                                                                            \
        __asm__ volatile(setup "1:\n" body "dec %0\n jnz 1b\n" teardown : "+r"(n) : : "cc", __VA_ARGS__);            \
    }
#define REGISTERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"

#define DOT_512(i) "vpdpbusd %%zmm10, %%zmm10, %%zmm" i "\n"
DEFINE_LOOP(loop_avx512, "vpxor %%xmm10, %%xmm10, %%xmm10\n", REPEAT_10(DOT_512), "vzeroupper\n", REGISTERS)
#define DOT_256(i) "%{vex%} vpdpbusd %%ymm10, %%ymm10, %%ymm" i "\n"
DEFINE_LOOP(loop_avx_vnni, "vpxor %%xmm10, %%xmm10, %%xmm10\n", REPEAT_10(DOT_256), "vzeroupper\n", REGISTERS)
// Without a dot instruction: products of pairs of bytes, and their addition.
#define MADD_256(i) "vpmaddubsw %%ymm10, %%ymm10, %%ymm11\n vpaddw %%ymm11, %%ymm" i ", %%ymm" i "\n"
DEFINE_LOOP(loop_avx2, "vpxor %%xmm10, %%xmm10, %%xmm10\n", REPEAT_10(MADD_256), "vzeroupper\n", REGISTERS)

// Four sums of 16 x 16 numbers over 64 columns each, two operands of each side.
static void loop_amx(void) {
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    size_t n = LOOPS / 4;
    __asm__ volatile("ldtilecfg %1\n"
                     "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
                     "tilezero %%tmm4\n tilezero %%tmm5\n tilezero %%tmm6\n tilezero %%tmm7\n"
                     "1:\n"
                     "tdpbsud %%tmm6, %%tmm4, %%tmm0\n tdpbsud %%tmm7, %%tmm4, %%tmm1\n"
                     "tdpbsud %%tmm6, %%tmm5, %%tmm2\n tdpbsud %%tmm7, %%tmm5, %%tmm3\n"
                     "dec %0\n jnz 1b\n"
                     "tilerelease\n"
                     : "+r"(n)
                     : "m"(config)
                     : "cc");
}

static const struct loop {
    uint32_t features;
    void (*run)(void);
    double operations;
} loops[] = {
    {HTH_CPU_AVX2 | HTH_CPU_AMX_INT8, loop_amx, LOOPS / 4 * 4.0 * 16 * 16 * 64 * 2},
    {HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI, loop_avx512, LOOPS * 10.0 * 64 * 2},
    {HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI, loop_avx_vnni, LOOPS * 10.0 * 32 * 2},
    {HTH_CPU_AVX2, loop_avx2, LOOPS * 10.0 * 32 * 2},
};

double hth_q8_peak(uint32_t cpu_features) {
    for (size_t i = 0; i < HTH_COUNT(loops); i++) {
        if (loops[i].features & ~cpu_features) continue;
        uint64_t best = UINT64_MAX;
        for (int run = 0; run < RUNS; run++) {
            uint64_t start = hth_clock_ns();
            loops[i].run();
            uint64_t ns = hth_clock_ns() - start;
            if (ns < best) best = ns;
        }
        return loops[i].operations / (double)best * 1e-3;
    }
    return 0;
}
#endif
