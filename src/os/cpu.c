// CPU features, cores and memory.
#include "os/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"

#if defined(__linux__)
#include <sched.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#elif defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

typedef struct feature_name {
    hth_cpu_feature feature;
    const char *name;
} feature_name;

static const feature_name feature_names[] = {
    {HTH_CPU_AVX2, "avx2"},           {HTH_CPU_AVX_VNNI, "avx-vnni"},       {HTH_CPU_AVX512, "avx512"},
    {HTH_CPU_AVX512_VNNI, "avx512-vnni"}, {HTH_CPU_AVX512_VBMI, "avx512-vbmi"}, {HTH_CPU_AVX512_BF16, "avx512-bf16"},
    {HTH_CPU_AMX_INT8, "amx-int8"},   {HTH_CPU_NEON, "neon"},               {HTH_CPU_FP16, "fp16"},
    {HTH_CPU_DOTPROD, "dotprod"},     {HTH_CPU_I8MM, "i8mm"},               {HTH_CPU_BF16, "bf16"},
    {HTH_CPU_SVE2, "sve2"}};

const char *hth_cpu_feature_name(hth_cpu_feature feature) {
    for (size_t i = 0; i < HTH_COUNT(feature_names); i++) {
        if (feature_names[i].feature == feature) return feature_names[i].name;
    }
    return "unknown";
}

#if defined(__x86_64__)

static void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4]) {
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

// Which register sets the system saves (Intel SDM 1, 13.3): bits 1-2 AVX, 5-7 AVX-512, 17-18 AMX tiles.
static uint64_t saved_registers(void) {
    uint32_t r[4];
    cpuid(1, 0, r);
    if (!(r[2] & 1u << 27)) return 0; // no OSXSAVE
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static uint32_t detect(void) {
    uint32_t r1[4], r7[4] = {0}, r71[4] = {0}, top[4];
    cpuid(0, 0, top);
    cpuid(1, 0, r1);
    if (top[0] >= 7) {
        cpuid(7, 0, r7);
        cpuid(7, 1, r71);
    }
    const uint64_t saved = saved_registers();
    const bool avx = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tiles = (saved & 0x60000) == 0x60000;
    uint32_t f = 0;
    const bool fma = r1[2] >> 12 & 1, f16c = r1[2] >> 29 & 1, avx2 = r7[1] >> 5 & 1, bmi2 = r7[1] >> 8 & 1;
    if (avx && fma && f16c && avx2 && bmi2) f |= HTH_CPU_AVX2;
    if (!(f & HTH_CPU_AVX2)) return 0;
    if (r71[0] >> 4 & 1) f |= HTH_CPU_AVX_VNNI;
    const bool avx512 = (r7[1] >> 16 & 1) && (r7[1] >> 17 & 1) && (r7[1] >> 30 & 1) && (r7[1] >> 31 & 1);
    if (!zmm || !avx512) return f;
    f |= HTH_CPU_AVX512;
    if (r7[2] >> 11 & 1) f |= HTH_CPU_AVX512_VNNI;
    if (r7[2] >> 1 & 1) f |= HTH_CPU_AVX512_VBMI;
    if (r71[0] >> 5 & 1) f |= HTH_CPU_AVX512_BF16;
    if (tiles && (r7[3] >> 24 & 1) && (r7[3] >> 25 & 1)) f |= HTH_CPU_AMX_INT8;
    return f;
}

#elif defined(__aarch64__) && defined(__linux__)

static uint32_t detect(void) {
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    uint32_t f = HTH_CPU_NEON;
    if (cap >> 9 & 1 && cap >> 10 & 1) f |= HTH_CPU_FP16;
    if (cap >> 20 & 1) f |= HTH_CPU_DOTPROD;
    if (cap2 >> 1 & 1) f |= HTH_CPU_SVE2;
    if (cap2 >> 13 & 1) f |= HTH_CPU_I8MM;
    if (cap2 >> 14 & 1) f |= HTH_CPU_BF16;
    return f;
}

#elif defined(__aarch64__) && defined(__APPLE__)

static bool has_sysctl(const char *name) {
    int v = 0;
    size_t n = sizeof v;
    return sysctlbyname(name, &v, &n, NULL, 0) == 0 && v != 0;
}

static uint32_t detect(void) {
    uint32_t f = HTH_CPU_NEON;
    if (has_sysctl("hw.optional.arm.FEAT_FP16")) f |= HTH_CPU_FP16;
    if (has_sysctl("hw.optional.arm.FEAT_DotProd")) f |= HTH_CPU_DOTPROD;
    if (has_sysctl("hw.optional.arm.FEAT_I8MM")) f |= HTH_CPU_I8MM;
    if (has_sysctl("hw.optional.arm.FEAT_BF16")) f |= HTH_CPU_BF16;
    return f;
}

#else

static uint32_t detect(void) {
    return 0;
}

#endif

// HEARTH_CPU names the highest level to use.
static uint32_t mask_of(const char *word) {
    if (!word || !*word) return UINT32_MAX;
    if (strcmp(word, "ref") == 0) return 0;
    if (strcmp(word, "avx2") == 0) return HTH_CPU_AVX2;
    if (strcmp(word, "avx-vnni") == 0) return HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI;
    if (strcmp(word, "avx512") == 0) {
        return UINT32_MAX & ~(uint32_t)(HTH_CPU_AVX512_VNNI | HTH_CPU_AVX512_VBMI | HTH_CPU_AVX512_BF16 | HTH_CPU_AMX_INT8);
    }
    if (strcmp(word, "neon") == 0) return HTH_CPU_NEON;
    if (strcmp(word, "dotprod") == 0) return HTH_CPU_NEON | HTH_CPU_FP16 | HTH_CPU_DOTPROD;
    return UINT32_MAX;
}

uint32_t hth_cpu_features(void) {
    return detect() & mask_of(getenv("HEARTH_CPU"));
}

#if defined(__linux__)

// The value behind "key : value" in a text file of the kernel's; 0 bytes when absent.
static void find_line(const char *path, const char *key, char *value, size_t n) {
    value[0] = 0;
    FILE *f = fopen(path, "r");
    if (!f) return;
    char line[512];
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        char *v = strchr(line, ':');
        if (!v) continue;
        v += 1 + strspn(v + 1, " \t");
        v[strcspn(v, "\n")] = 0;
        snprintf(value, n, "%s", v);
        break;
    }
    fclose(f);
}

static uint64_t read_kib(const char *key) {
    char value[64];
    find_line("/proc/meminfo", key, value, sizeof value);
    return strtoull(value, NULL, 10) * 1024;
}

// A core is the set of logical CPUs that list the same first sibling.
static int count_cores(const cpu_set_t *allowed) {
    int n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed)) continue;
        char path[128];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        FILE *f = fopen(path, "r");
        int first = cpu;
        if (f) {
            if (fscanf(f, "%d", &first) != 1) first = cpu;
            fclose(f);
        }
        n += first == cpu || !CPU_ISSET(first, allowed);
    }
    return n;
}

void hth_machine_get(hth_machine *m) {
    *m = (hth_machine){.os = "linux", .page_bytes = (uint32_t)sysconf(_SC_PAGESIZE)};
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        m->n_logical = CPU_COUNT(&set);
        m->n_physical = count_cores(&set);
    } else {
        m->n_logical = m->n_physical = (int)sysconf(_SC_NPROCESSORS_ONLN);
    }
    find_line("/proc/cpuinfo", "model name", m->cpu_name, sizeof m->cpu_name);
    m->memory_bytes = read_kib("MemTotal");
    m->available_bytes = read_kib("MemAvailable");
#elif defined(__APPLE__)

static int64_t read_sysctl(const char *name) {
    int64_t v = 0;
    size_t n = sizeof v;
    return sysctlbyname(name, &v, &n, NULL, 0) == 0 ? v : 0;
}

void hth_machine_get(hth_machine *m) {
    *m = (hth_machine){.os = "macos", .page_bytes = (uint32_t)sysconf(_SC_PAGESIZE)};
    size_t n = sizeof m->cpu_name;
    (void)sysctlbyname("machdep.cpu.brand_string", m->cpu_name, &n, NULL, 0);
    m->n_logical = (int)read_sysctl("hw.logicalcpu");
    m->n_physical = (int)read_sysctl("hw.perflevel0.physicalcpu");
    if (m->n_physical == 0) m->n_physical = (int)read_sysctl("hw.physicalcpu");
    m->memory_bytes = (uint64_t)read_sysctl("hw.memsize");
    vm_statistics64_data_t vm;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&vm, &count) == KERN_SUCCESS) {
        m->available_bytes = ((uint64_t)vm.free_count + vm.inactive_count + vm.purgeable_count) * m->page_bytes;
    }
#else

void hth_machine_get(hth_machine *m) {
    *m = (hth_machine){.os = "unknown", .page_bytes = 4096, .n_logical = 1, .n_physical = 1};
#endif
#if defined(__x86_64__)
    m->arch = "x86_64";
#elif defined(__aarch64__)
    m->arch = "arm64";
#else
    m->arch = "unknown";
#endif
    if (m->cpu_name[0] == 0) snprintf(m->cpu_name, sizeof m->cpu_name, "unknown");
    if (m->n_logical < 1) m->n_logical = 1;
    if (m->n_physical < 1) m->n_physical = m->n_logical;
}
