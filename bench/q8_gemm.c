// Speed of integer products on one thread, every level that this CPU can run:
//
//   q8_gemm [level]      only levels whose name contains the word
//
// 512 tokens times 64 rows of 2048 columns, panel conversion included, in TOPS (two operations per
// multiply-add); the share of the level's own peak, which pure loops of its dot instruction give; the
// conversion alone in bytes of codes per nanosecond. Each figure is the best of many short runs.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/q8.h"
#include "kernels/q8_peak.h"
#include "os/clock.h"
#include "os/cpu.h"

enum { TOKENS = 512, ROWS = 64, COLS = 2048, RUNS = 40 };

#define X86 (HTH_CPU_AVX2 | HTH_CPU_AVX512)
static const struct level {
    const char *name;
    uint32_t features;
} levels[] = {{"avx2", HTH_CPU_AVX2},
              {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI},
              {"avx512-vnni", X86 | HTH_CPU_AVX512_VNNI},
              {"amx-int8", X86 | HTH_CPU_AVX512_VNNI | HTH_CPU_AMX_INT8},
              {"dotprod", HTH_CPU_NEON | HTH_CPU_DOTPROD}};

static float *x, *y; // [TOKENS, COLS], [TOKENS, ROWS]
static uint8_t *w;   // [ROWS, COLS] of any type
static hth_q8 q8;
static hth_panel panel;

static void convert(const hth_q8_kernels *k, uint32_t t, int64_t row) {
    const hth_type_info *info = hth_type_get(t);
    int64_t row_bytes = COLS / info->block_len * info->block_bytes;
    k->panel[t](w + row * row_bytes, row_bytes, HTH_PANEL_ROWS, COLS, &panel);
}

static double seconds_of(const hth_q8_kernels *k, uint32_t t, bool multiply) {
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = hth_clock_ns();
        for (int64_t r = 0; r < ROWS; r += HTH_PANEL_ROWS) {
            convert(k, t, r);
            if (multiply) k->gemm(&panel, k->type[t], HTH_PANEL_ROWS, COLS, &q8, TOKENS, y + r, ROWS);
        }
        double s = (double)(hth_clock_ns() - start) * 1e-9;
        if (s < best) best = s;
    }
    return best;
}

static double seconds_to_quantize(const hth_q8_kernels *k) {
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = hth_clock_ns();
        for (int64_t t = 0; t < TOKENS; t++)
            k->quantize(x + t * COLS, COLS, q8.q + t * COLS, q8.d + t * COLS / 32, q8.sum + t * COLS / 16);
        double s = (double)(hth_clock_ns() - start) * 1e-9;
        if (s < best) best = s;
    }
    return best;
}

static void bench_level(const struct level *l) {
    hth_q8_kernels k;
    hth_q8_fill(&k, l->features);
    double peak = hth_q8_peak(l->features);
    double quantize = seconds_to_quantize(&k);
    printf("%s: peak %.3f TOPS, quantize %.2f GB/s of floats\n", l->name, peak, 4.0 * TOKENS * COLS / quantize * 1e-9);
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        if (!k.type[t].group) continue;
        const hth_type_info *info = hth_type_get(t);
        // Everyday scales; types without a quantizer get 1.0 in any format.
        if (info->quantize) info->quantize(x, w, (int64_t)ROWS * COLS, NULL);
        else memset(w, 0x3c, (size_t)ROWS * COLS);
        double all = seconds_of(&k, t, true), conversion = seconds_of(&k, t, false);
        double tops = 2.0 * TOKENS * ROWS * COLS / all * 1e-12;
        printf("  %-8s per %d%s  %.3f TOPS  %3.0f %%  conversion %5.2f codes/ns, %4.1f %% of the time\n", info->name,
               k.type[t].group, k.type[t].has_min ? " min" : "    ", tops, 100 * tops / peak,
               (double)ROWS * COLS / conversion * 1e-9, 100 * conversion / all);
        fflush(stdout);
    }
}

static void *get(size_t n) {
    return hth_alloc_aligned(HTH_MEM_SCRATCH, n);
}

int main(int argc, char **argv) {
    x = get(TOKENS * COLS * sizeof *x);
    y = get(TOKENS * ROWS * sizeof *y);
    w = get(ROWS * COLS * 2);
    q8 = (hth_q8){get(TOKENS * COLS), get(TOKENS * COLS / 32 * sizeof(float)), get(TOKENS * COLS / 16 * 4), COLS, COLS / 32};
    panel = (hth_panel){get(16 * COLS), get(COLS * sizeof(float)), get(COLS * sizeof(float))};
    if (!x || !y || !w || !q8.q || !q8.d || !q8.sum || !panel.code || !panel.scale || !panel.min) return 1;
    for (int64_t i = 0; i < TOKENS * COLS; i++) x[i] = (float)(i * 7919 % 1000) * 2e-3f - 1;
    for (size_t l = 0; l < HTH_COUNT(levels); l++) {
        if (levels[l].features & ~hth_cpu_features()) continue;
        if (argc > 1 && !strstr(levels[l].name, argv[1])) continue;
        bench_level(&levels[l]);
    }
    return 0;
}
