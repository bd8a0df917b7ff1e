// Loops for the probe, in assembler as on x86.
#include "kernels/levels.h"
#include "os/cpu.h"

#if defined(__aarch64__)

enum { SUMS = 16 };
#define REPEAT(op)                                                                                                   \
    op("0") op("1") op("2") op("3") op("4") op("5") op("6") op("7")                                                  \
    op("16") op("17") op("18") op("19") op("20") op("21") op("22") op("23")
#define REGISTERS                                                                                                    \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25"
#define CLEAR(i) "movi v" i ".16b, #0\n"

#define DEFINE_LOOP(name, before, op)                                                                                \
    static void name(int64_t n) {                                                                                    \
        if (n <= 0) return;                                                                                          \
        __asm__ volatile(before REPEAT(CLEAR) CLEAR("24") CLEAR("25") "1:\n" REPEAT(op) "subs %0, %0, #1\n b.ne 1b\n" \
                         : "+r"(n) : : "cc", REGISTERS);                                                             \
    }
#define FMLA(i) "fmla v" i ".4s, v24.4s, v25.4s\n"
#define SMULL(i) "smull v24.8h, v25.8b, v25.8b\n sadalp v" i ".4s, v24.8h\n"
#define SDOT(i) "sdot v" i ".4s, v24.16b, v25.16b\n"
#define SMMLA(i) "smmla v" i ".4s, v24.16b, v25.16b\n"
#define BFMMLA(i) "bfmmla v" i ".4s, v24.8h, v25.8h\n"
DEFINE_LOOP(fma_f32_neon, "", FMLA)
DEFINE_LOOP(dot_i8_neon, "", SMULL)
DEFINE_LOOP(dot_i8_dotprod, ".arch_extension dotprod\n", SDOT)
DEFINE_LOOP(dot_i8_i8mm, ".arch_extension i8mm\n", SMMLA)
DEFINE_LOOP(dot_bf16_bf16, ".arch_extension bf16\n", BFMMLA)

#define LOAD(p)                                                                                                      \
    "ldp q0, q1, [" p "]\n ldp q0, q1, [" p ", #32]\n ldp q0, q1, [" p ", #64]\n ldp q0, q1, [" p ", #96]\n"         \
    "ldp q0, q1, [" p ", #128]\n ldp q0, q1, [" p ", #160]\n ldp q0, q1, [" p ", #192]\n ldp q0, q1, [" p ", #224]\n"
static void read_neon(const void *p, int64_t n_bytes) {
    const char *a = p, *b = a + n_bytes / 4, *c = b + n_bytes / 4, *d = c + n_bytes / 4;
    int64_t n = n_bytes / HTH_PROBE_READ_BYTES;
    if (n <= 0) return;
    __asm__ volatile("1:\n" LOAD("%1") LOAD("%2") LOAD("%3") LOAD("%4")
                     "add %1, %1, #256\n add %2, %2, #256\n add %3, %3, #256\n add %4, %4, #256\n"
                     "subs %0, %0, #1\n b.ne 1b\n"
                     : "+&r"(n), "+&r"(a), "+&r"(b), "+&r"(c), "+&r"(d) : : "cc", "memory", "v0", "v1");
}

// A loop of instructions that multiply `products` pairs each.
static hth_probe_loop loop_of(const char *name, void (*run)(int64_t), int products) {
    return (hth_probe_loop){name, run, 2.0 * SUMS * products};
}

void hth_level_probe_arm(hth_probe *p, uint32_t f) {
    if (!(f & HTH_CPU_NEON)) return;
    p->read = read_neon;
    p->f32 = loop_of("fmla", fma_f32_neon, 4);
    p->i8 = loop_of("smull", dot_i8_neon, 8);
    if (f & HTH_CPU_DOTPROD) p->i8 = loop_of("sdot", dot_i8_dotprod, 16);
    if (f & HTH_CPU_I8MM) p->i8 = loop_of("smmla", dot_i8_i8mm, 2 * 2 * 8);
    if (f & HTH_CPU_BF16) p->bf16 = loop_of("bfmmla", dot_bf16_bf16, 2 * 2 * 4);
}

#else

void hth_level_probe_arm(hth_probe *p, uint32_t f) {
    (void)p;
    (void)f;
}

#endif
