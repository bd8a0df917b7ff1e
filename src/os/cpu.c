// What the machine is. x86 asks the processor itself (cpuid, and xgetbv for which registers the system
// saves); arm64 asks the system. The feature set is found once and masked by HEARTH_CPU.
#include "os/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#elif defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

// --- features ---

bool hth_cpu_enable_amx(void) {
#if defined(__linux__) && defined(__x86_64__)
    // ARCH_REQ_XCOMP_PERM of the kernel's asm/prctl.h, for state component 18 (tile data). Threads made later
    // inherit it, earlier ones of the process have it too.
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static const struct {
    hth_cpu_feature feature;
    const char *name;
} feature_names[] = {
    {HTH_CPU_AVX2, "avx2"},
    {HTH_CPU_AVX_VNNI, "avx-vnni"},
    {HTH_CPU_AVX512, "avx512"},
    {HTH_CPU_AVX512_VNNI, "avx512-vnni"},
    {HTH_CPU_AVX512_VBMI, "avx512-vbmi"},
    {HTH_CPU_AVX512_BF16, "avx512-bf16"},
    {HTH_CPU_AMX_INT8, "amx-int8"},
    {HTH_CPU_AMX_BF16, "amx-bf16"},
    {HTH_CPU_QUICK_BF16, "quick-bf16"},
    {HTH_CPU_NEON, "neon"},
    {HTH_CPU_FP16, "fp16"},
    {HTH_CPU_DOTPROD, "dotprod"},
    {HTH_CPU_I8MM, "i8mm"},
    {HTH_CPU_BF16, "bf16"},
    {HTH_CPU_SVE2, "sve2"},
};

const char *hth_cpu_feature_name(hth_cpu_feature feature) {
    for (size_t i = 0; i < HTH_COUNT(feature_names); i++) {
        if (feature_names[i].feature == feature) return feature_names[i].name;
    }
    return "unknown";
}

#if defined(__x86_64__)

static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool is_amd(void) {
    uint32_t a, b, c, d;
    return __get_cpuid(0, &a, &b, &c, &d) && b == 0x68747541 && d == 0x69746e65 && c == 0x444d4163; // "AuthenticAMD"
}

// Bits of Intel's manual, volume 2A, CPUID leaves 1 and 7; XCR0 bits 1-2 (SSE, AVX), 5-7 (AVX-512) and
// 17-18 (AMX tiles).
static uint32_t detect_features(void) {
    uint32_t a, b, c, d, a1 = 0, b1, c1, d1;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    bool has_saved = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1, avx = c >> 28 & 1;
    if (!has_saved || !avx) return 0;
    uint64_t saved = saved_registers();
    bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tiles = (saved & 0x60000) == 0x60000;
    if (!ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (a >= 1 && !__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1)) a1 = 0;

    uint32_t found = 0;
    bool avx2 = b >> 5 & 1, bmi2 = b >> 8 & 1;
    if (!avx2 || !fma || !f16c || !bmi2) return 0; // every later level stands on this one
    found |= HTH_CPU_AVX2;
    if (a1 >> 4 & 1) found |= HTH_CPU_AVX_VNNI;
    bool f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1;
    if (zmm && f && dq && bw && vl) {
        found |= HTH_CPU_AVX512;
        if (c >> 11 & 1) found |= HTH_CPU_AVX512_VNNI;
        if (c >> 1 & 1) found |= HTH_CPU_AVX512_VBMI;
        if (a1 >> 5 & 1) found |= HTH_CPU_AVX512_BF16;
        if ((a1 >> 5 & 1) && is_amd()) found |= HTH_CPU_QUICK_BF16;
    }
    if (tiles && (d >> 24 & 1) && hth_cpu_enable_amx()) {
        if (d >> 25 & 1) found |= HTH_CPU_AMX_INT8;
        if (d >> 22 & 1) found |= HTH_CPU_AMX_BF16;
    }
    return found;
}

#elif defined(__aarch64__) && defined(__linux__)

// Bits of the kernel's arm64 hardware capabilities (Documentation/arch/arm64/elf_hwcaps).
static uint32_t detect_features(void) {
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    uint32_t found = 0;
    if (cap >> 1 & 1) found |= HTH_CPU_NEON;
    if ((cap >> 9 & 1) && (cap >> 10 & 1)) found |= HTH_CPU_FP16;
    if (cap >> 20 & 1) found |= HTH_CPU_DOTPROD;
    if (cap2 >> 1 & 1) found |= HTH_CPU_SVE2;
    if (cap2 >> 13 & 1) found |= HTH_CPU_I8MM;
    if (cap2 >> 14 & 1) found |= HTH_CPU_BF16;
    return found;
}

#elif defined(__aarch64__) && defined(__APPLE__)

static bool has_option(const char *name) {
    int value = 0;
    size_t n = sizeof value;
    return sysctlbyname(name, &value, &n, NULL, 0) == 0 && value != 0;
}

static uint32_t detect_features(void) {
    uint32_t found = HTH_CPU_NEON;
    if (has_option("hw.optional.arm.FEAT_FP16")) found |= HTH_CPU_FP16;
    if (has_option("hw.optional.arm.FEAT_DotProd")) found |= HTH_CPU_DOTPROD;
    if (has_option("hw.optional.arm.FEAT_I8MM")) found |= HTH_CPU_I8MM;
    if (has_option("hw.optional.arm.FEAT_BF16")) found |= HTH_CPU_BF16;
    return found;
}

#else

static uint32_t detect_features(void) {
    return 0;
}

#endif

// The words of HEARTH_CPU and what each leaves of the features. A level keeps what belongs to it and
// to the levels below; a longer list keeps what any of its words keeps.
static const struct {
    const char *word;
    uint32_t keep;
} mask_words[] = {
    {"ref", 0},
    {"avx2", HTH_CPU_AVX2},
    {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI},
    {"avx512", HTH_CPU_AVX2 | HTH_CPU_AVX512},
    {"avx512-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI},
    {"avx512-vbmi", HTH_CPU_AVX2 | HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI | HTH_CPU_AVX512_VBMI},
    {"avx512-bf16", HTH_CPU_AVX2 | HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI | HTH_CPU_AVX512_BF16 | HTH_CPU_QUICK_BF16},
    {"amx-int8", HTH_CPU_AVX2 | HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI | HTH_CPU_AVX512_VBMI |
                     HTH_CPU_AVX512_BF16 | HTH_CPU_AMX_INT8},
    {"amx-bf16", HTH_CPU_AVX2 | HTH_CPU_AVX512 | HTH_CPU_AVX512_VNNI | HTH_CPU_AVX512_VBMI |
                     HTH_CPU_AVX512_BF16 | HTH_CPU_AMX_INT8 | HTH_CPU_AMX_BF16},
    {"neon", HTH_CPU_NEON},
    {"fp16", HTH_CPU_NEON | HTH_CPU_FP16},
    {"dotprod", HTH_CPU_NEON | HTH_CPU_FP16 | HTH_CPU_DOTPROD},
    {"i8mm", HTH_CPU_NEON | HTH_CPU_FP16 | HTH_CPU_DOTPROD | HTH_CPU_I8MM},
    {"bf16", HTH_CPU_NEON | HTH_CPU_FP16 | HTH_CPU_DOTPROD | HTH_CPU_I8MM | HTH_CPU_BF16},
    {"sve2", HTH_CPU_NEON | HTH_CPU_FP16 | HTH_CPU_DOTPROD | HTH_CPU_I8MM | HTH_CPU_BF16 | HTH_CPU_SVE2},
};

static uint32_t mask_features(uint32_t found, const char *words) {
    uint32_t keep = 0;
    bool any = false;
    while (words && *words) {
        size_t n = strcspn(words, ", ");
        for (size_t i = 0; i < HTH_COUNT(mask_words); i++) {
            if (strlen(mask_words[i].word) != n || memcmp(mask_words[i].word, words, n) != 0) continue;
            keep |= mask_words[i].keep;
            any = true;
        }
        words += n;
        words += strspn(words, ", ");
    }
    return any ? found & keep : found;
}

uint32_t hth_cpu_features(void) {
    static _Atomic uint64_t known; // bit 32: found out
    uint64_t value = atomic_load_explicit(&known, memory_order_relaxed);
    if (value == 0) {
        value = (uint64_t)1 << 32 | mask_features(detect_features(), getenv("HEARTH_CPU"));
        atomic_store_explicit(&known, value, memory_order_relaxed);
    }
    return (uint32_t)value;
}

// --- machine ---

#if defined(__linux__)

// Copies what follows "<key> :" in a file of such lines; false when there is none.
static bool find_line(const char *file, const char *key, char *out, size_t n_out) {
    FILE *f = fopen(file, "re");
    if (!f) return false;
    char line[512];
    bool found = false;
    size_t n_key = strlen(key);
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n_key) != 0) continue;
        const char *value = line + n_key + strspn(line + n_key, " \t:");
        snprintf(out, n_out, "%.*s", (int)strcspn(value, "\n"), value);
        found = true;
    }
    fclose(f);
    return found;
}

static bool read_number(const char *file, long *out) {
    FILE *f = fopen(file, "re");
    if (!f) return false;
    char line[64], *end = line;
    bool ok = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    if (ok) *out = strtol(line, &end, 10);
    return ok && end != line;
}

// Core and package of one logical CPU as one number, or -1.
static long core_of(int cpu) {
    char path[128];
    long core, package;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
    if (!read_number(path, &core)) return -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    if (!read_number(path, &package)) package = 0;
    return (package & 0xffff) << 16 | (core & 0xffff);
}

static void count_cores(hth_machine *m) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    m->n_logical = hth_cpu_count();
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return; // more CPUs than the set has room for
    long seen[CPU_SETSIZE];
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        long core = core_of(cpu);
        bool is_new = true;
        for (int i = 0; i < m->n_physical && core >= 0; i++) is_new = is_new && seen[i] != core;
        if (is_new) seen[m->n_physical++] = core;
    }
}

static uint64_t memory_line(const char *key) {
    char value[64];
    if (!find_line("/proc/meminfo", key, value, sizeof value)) return 0;
    return strtoull(value, NULL, 10) * 1024;
}

static void get_system(hth_machine *m) {
    m->os = "linux";
    if (!find_line("/proc/cpuinfo", "model name", m->cpu_name, sizeof m->cpu_name)) {
        snprintf(m->cpu_name, sizeof m->cpu_name, "unknown");
    }
    count_cores(m);
    m->memory_bytes = memory_line("MemTotal:");
    m->available_bytes = memory_line("MemAvailable:");
}

#elif defined(__APPLE__)

static long long system_number(const char *name) {
    union {
        int32_t narrow;
        int64_t wide;
    } value = {.wide = 0};
    size_t n = sizeof value;
    if (sysctlbyname(name, &value, &n, NULL, 0) != 0) return 0;
    return n == sizeof value.narrow ? value.narrow : value.wide;
}

static uint64_t available_memory(uint32_t page_bytes) {
    vm_statistics64_data_t stats;
    mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&stats, &n) != KERN_SUCCESS) return 0;
    return ((uint64_t)stats.free_count + stats.inactive_count + stats.purgeable_count) * page_bytes;
}

static void get_system(hth_machine *m) {
    m->os = "macos";
    size_t n = sizeof m->cpu_name;
    if (sysctlbyname("machdep.cpu.brand_string", m->cpu_name, &n, NULL, 0) != 0) {
        snprintf(m->cpu_name, sizeof m->cpu_name, "unknown");
    }
    m->n_logical = hth_cpu_count();
    m->n_physical = (int)system_number("hw.perflevel0.physicalcpu"); // performance cores
    if (m->n_physical <= 0) m->n_physical = (int)system_number("hw.physicalcpu");
    m->memory_bytes = (uint64_t)system_number("hw.memsize");
    m->available_bytes = available_memory(m->page_bytes);
}

#else
#error "Hearth knows Linux and macOS; another system needs its part of src/os"
#endif

int hth_cpu_count(void) {
    long n = 0;
#if defined(__linux__)
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) n = CPU_COUNT(&allowed);
#endif
    if (n < 1) n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (int)n;
}

int hth_cpu_default_threads(void) {
    hth_machine machine;
    hth_machine_get(&machine);
    const int n = machine.n_physical;
    return n < 1 ? 1 : n > 1024 ? 1024 : n;
}

void hth_machine_get(hth_machine *out) {
    *out = (hth_machine){.os = "unknown", .arch = "unknown"};
#if defined(__x86_64__)
    out->arch = "x86_64";
#elif defined(__aarch64__)
    out->arch = "arm64";
#endif
    long page = sysconf(_SC_PAGESIZE);
    out->page_bytes = page > 0 ? (uint32_t)page : 0;
    get_system(out);
    if (out->n_physical < 1) out->n_physical = out->n_logical;
}
