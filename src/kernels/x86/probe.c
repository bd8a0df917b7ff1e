// Loops for the probe, in assembler: no compiler can fold them, and no file needs the flags of a level. Registers
// are named by their lower part, as wider types of C need those flags; nothing else here uses them.
#include "kernels/levels.h"
#include "os/cpu.h"

#if defined(__x86_64__)

// Twelve sums hide the latency of two instructions per cycle on every CPU so far.
enum { SUMS = 12 };
#define REPEAT(op) op("0") op("1") op("2") op("3") op("4") op("5") op("6") op("7") op("8") op("9") op("10") op("11")
#define REGISTERS                                                                                                    \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13"
#define CLEAR(i) "vpxor %%xmm" i ", %%xmm" i ", %%xmm" i "\n"

#define DEFINE_LOOP(name, op)                                                                                        \
    static void name(int64_t n) {                                                                                    \
        if (n <= 0) return;                                                                                          \
        __asm__ volatile(REPEAT(CLEAR) CLEAR("12") CLEAR("13") "1:\n" REPEAT(op) "dec %0\n jnz 1b\n vzeroupper\n"    \
                         : "+r"(n) : : "cc", REGISTERS);                                                             \
    }
#define FMA_256(i) "vfmadd231ps %%ymm12, %%ymm12, %%ymm" i "\n"
#define FMA_512(i) "vfmadd231ps %%zmm12, %%zmm12, %%zmm" i "\n"
#define DOT_BF16_512(i) "vdpbf16ps %%zmm12, %%zmm12, %%zmm" i "\n"
#define DOT_I8_512(i) "vpdpbusd %%zmm12, %%zmm12, %%zmm" i "\n"
#define DOT_I8_256(i) "%{vex%} vpdpbusd %%ymm12, %%ymm12, %%ymm" i "\n"
// Without a dot instruction: products of pairs of bytes, their sums with 16 and then 32 bits.
#define MADD_I8_256(i)                                                                                               \
    "vpmaddubsw %%ymm12, %%ymm12, %%ymm13\n vpmaddwd %%ymm12, %%ymm13, %%ymm13\n vpaddd %%ymm13, %%ymm" i ", %%ymm" i "\n"
DEFINE_LOOP(fma_f32_avx2, FMA_256)
DEFINE_LOOP(fma_f32_avx512, FMA_512)
DEFINE_LOOP(dot_bf16_avx512, DOT_BF16_512)
DEFINE_LOOP(dot_i8_avx512, DOT_I8_512)
DEFINE_LOOP(dot_i8_avx_vnni, DOT_I8_256)
DEFINE_LOOP(dot_i8_avx2, MADD_I8_256)

static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
#define ZERO_TILES                                                                                                   \
    "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"                                        \
    "tilezero %%tmm4\n tilezero %%tmm5\n tilezero %%tmm6\n tilezero %%tmm7\n"

// Four sums of 16 x 16 numbers over 64 columns each, two operands of each side.
static void dot_i8_amx(int64_t n) {
    if (n <= 0) return;
    __asm__ volatile("ldtilecfg %1\n" ZERO_TILES
                     "1:\n"
                     "tdpbsud %%tmm6, %%tmm4, %%tmm0\n tdpbsud %%tmm7, %%tmm4, %%tmm1\n"
                     "tdpbsud %%tmm6, %%tmm5, %%tmm2\n tdpbsud %%tmm7, %%tmm5, %%tmm3\n"
                     "dec %0\n jnz 1b\n"
                     "tilerelease\n"
                     : "+r"(n)
                     : "m"(tile_config)
                     : "cc");
}

static void dot_bf16_amx(int64_t n) {
    if (n <= 0) return;
    __asm__ volatile("ldtilecfg %1\n" ZERO_TILES
                     "1:\n"
                     "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
                     "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n"
                     "dec %0\n jnz 1b\n"
                     "tilerelease\n"
                     : "+r"(n)
                     : "m"(tile_config)
                     : "cc");
}

// Four streams, 256 bytes of each a turn.
#define DEFINE_READ(name, load)                                                                                      \
    static void name(const void *p, int64_t n_bytes) {                                                               \
        const char *a = p, *b = a + n_bytes / 4, *c = b + n_bytes / 4, *d = c + n_bytes / 4;                         \
        int64_t n = n_bytes / HTH_PROBE_READ_BYTES;                                                                  \
        if (n <= 0) return;                                                                                          \
        __asm__ volatile("1:\n" load("%1") load("%2") load("%3") load("%4")                                          \
                         "add $256, %1\n add $256, %2\n add $256, %3\n add $256, %4\n"                               \
                         "dec %0\n jnz 1b\n vzeroupper\n"                                                            \
                         : "+&r"(n), "+&r"(a), "+&r"(b), "+&r"(c), "+&r"(d) : : "cc", "memory", "xmm0");             \
    }
#define LOAD_256(p)                                                                                                  \
    "vmovdqu (" p "), %%ymm0\n vmovdqu 32(" p "), %%ymm0\n vmovdqu 64(" p "), %%ymm0\n vmovdqu 96(" p "), %%ymm0\n"  \
    "vmovdqu 128(" p "), %%ymm0\n vmovdqu 160(" p "), %%ymm0\n vmovdqu 192(" p "), %%ymm0\n vmovdqu 224(" p "), %%ymm0\n"
#define LOAD_512(p)                                                                                                  \
    "vmovdqu64 (" p "), %%zmm0\n vmovdqu64 64(" p "), %%zmm0\n vmovdqu64 128(" p "), %%zmm0\n"                       \
    "vmovdqu64 192(" p "), %%zmm0\n"
DEFINE_READ(read_avx2, LOAD_256)
DEFINE_READ(read_avx512, LOAD_512)

// A loop of `sums` instructions that multiply `products` pairs each.
static hth_probe_loop loop_of(const char *name, void (*run)(int64_t), int sums, int products) {
    return (hth_probe_loop){name, run, 2.0 * sums * products};
}

void hth_level_probe_x86(hth_probe *p, uint32_t f) {
    if (!(f & HTH_CPU_AVX2)) return;
    p->read = read_avx2;
    p->f32 = loop_of("vfmadd231ps ymm", fma_f32_avx2, SUMS, 8);
    p->i8 = loop_of("vpmaddubsw ymm", dot_i8_avx2, SUMS, 32);
    if (f & HTH_CPU_AVX_VNNI) p->i8 = loop_of("vpdpbusd ymm", dot_i8_avx_vnni, SUMS, 32);
    if (!(f & HTH_CPU_AVX512)) return;
    p->read = read_avx512;
    p->f32 = loop_of("vfmadd231ps zmm", fma_f32_avx512, SUMS, 16);
    if (f & HTH_CPU_AVX512_BF16) p->bf16 = loop_of("vdpbf16ps zmm", dot_bf16_avx512, SUMS, 32);
    if (f & HTH_CPU_AVX512_VNNI) p->i8 = loop_of("vpdpbusd zmm", dot_i8_avx512, SUMS, 64);
    if (f & HTH_CPU_AMX_BF16) p->bf16 = loop_of("tdpbf16ps", dot_bf16_amx, 4, 16 * 16 * 32);
    if (f & HTH_CPU_AMX_INT8) p->tile = loop_of("tdpbsud", dot_i8_amx, 4, 16 * 16 * 64);
}

#else

void hth_level_probe_x86(hth_probe *p, uint32_t f) {
    (void)p;
    (void)f;
}

#endif
