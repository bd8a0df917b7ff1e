// Speed of integer products on one thread, every level that this CPU can run:
//
//   q8_gemm [level]      only levels whose name contains the word
//
// 512 tokens times 64 rows of 2048 columns, panel conversion included, in TOPS (two operations per
// multiply-add), in blocks of 128 tokens as the executor makes them; the share of the level's own peak, which pure
// loops of its dot instruction give; the conversion alone in bytes of codes per nanosecond. Each figure is the best of
// many short runs.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/q8.h"
#include "kernels/probe.h"
#include "os/clock.h"
#include "os/cpu.h"

enum { TOKENS = 512, ROWS = 256, COLS = 2048, STRIDE = COLS + 64, Y_STRIDE = ROWS + 16, BLOCK = 128, PANELS = 16, RUNS = 20 };

#define X86 (HTH_CPU_AVX2 | HTH_CPU_AVX512)
static const struct level {
    const char *name;
    uint32_t features;
} levels[] = {{"avx2", HTH_CPU_AVX2},
              {"avx-vnni", HTH_CPU_AVX2 | HTH_CPU_AVX_VNNI},
              {"avx512-vnni", X86 | HTH_CPU_AVX512_VNNI},
              {"amx-int8", X86 | HTH_CPU_AVX512_VNNI | HTH_CPU_AMX_INT8},
              {"dotprod", HTH_CPU_NEON | HTH_CPU_DOTPROD},
              {"i8mm", HTH_CPU_NEON | HTH_CPU_DOTPROD | HTH_CPU_I8MM}};

static float *input, *y; // [TOKENS, COLS], [TOKENS, Y_STRIDE]
static uint8_t *w;   // [ROWS, COLS] of any type
static bool tiles;
static hth_q8 q8;
static hth_panel panels[PANELS];

static void convert(const hth_q8_kernels *k, uint32_t t, int64_t row) {
    const hth_type_info *info = hth_type_get(t);
    int64_t row_bytes = COLS / info->block_len * info->block_bytes;
    for (int i = 0; i < PANELS; i++)
        k->panel[t](&(hth_q8_rows){.code = w + (row + i * HTH_PANEL_ROWS) * row_bytes, .row_bytes = row_bytes}, HTH_PANEL_ROWS,
                    COLS, &panels[i]);
}

static hth_q8 q8_from(int64_t t) {
    hth_q8 x = q8;
    x.q += t * x.q_stride, x.d += t * x.d_stride, x.sum += 2 * t * x.d_stride;
    x.wide_d += t * x.wide_stride, x.wide_sum += t * x.wide_stride, x.first = t;
    if (!tiles) x.tiles = NULL;
    return x;
}

static double seconds_of(const hth_q8_kernels *k, uint32_t t, bool multiply) {
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = hth_clock_ns();
        for (int64_t r = 0; r < ROWS; r += PANELS * HTH_PANEL_ROWS) {
            convert(k, t, r);
            for (int64_t i = 0; multiply && i < TOKENS; i += BLOCK) {
                const hth_q8 x = q8_from(i);
                k->gemm(panels, k->panel_type[t], PANELS * HTH_PANEL_ROWS, COLS, &x, BLOCK, y + i * Y_STRIDE + r, Y_STRIDE);
            }
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
        for (int64_t t = 0; t < TOKENS; t++) k->quantize_prompt(input + t * COLS, COLS, &q8, t);
        double s = (double)(hth_clock_ns() - start) * 1e-9;
        if (s < best) best = s;
    }
    return best;
}

// Operations per second, in units of 10^12, of the level's best loop of dot instructions.
static double peak_of(const struct level *l) {
    enum { ROUNDS = 1 << 16 };
    hth_probe p;
    hth_probe_fill(&p, l->features);
    const hth_probe_loop loop = p.tile.name ? p.tile : p.i8;
    double best = 1e9;
    for (int run = 0; loop.name && run < RUNS; run++) {
        uint64_t start = hth_clock_ns();
        loop.run(ROUNDS);
        double s = (double)(hth_clock_ns() - start) * 1e-9;
        if (s < best) best = s;
    }
    return ROUNDS * loop.n_op / best * 1e-12;
}

static void bench_level(const struct level *l) {
    hth_q8_kernels k;
    hth_q8_fill(&k, l->features);
    tiles = k.tiles;
    double peak = peak_of(l);
    double quantize = seconds_to_quantize(&k);
    printf("%s: peak %.3f TOPS, quantize %.2f GB/s of floats\n", l->name, peak, 4.0 * TOKENS * COLS / quantize * 1e-9);
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        if (!k.type[t].group) continue;
        const hth_type_info *info = hth_type_get(t);
        // Everyday scales; types without a quantizer get 1.0 in any format.
        if (info->quantize) info->quantize(input, w, (int64_t)ROWS * COLS, NULL);
        else memset(w, 0x3c, (size_t)ROWS * COLS);
        double all = seconds_of(&k, t, true), conversion = seconds_of(&k, t, false);
        double tops = 2.0 * TOKENS * ROWS * COLS / all * 1e-12;
        printf("  %-8s per %3d%s  %.3f TOPS  %3.0f %%  conversion %5.2f codes/ns, %4.1f %% of the time\n", info->name,
               k.panel_type[t].group, k.panel_type[t].has_min ? " min" : "    ", tops, 100 * tops / peak,
               (double)ROWS * COLS / conversion * 1e-9, 100 * conversion / all);
        fflush(stdout);
    }
}

static void *get(size_t n) {
    return hth_alloc_aligned(HTH_MEM_SCRATCH, n);
}

int main(int argc, char **argv) {
    input = get(TOKENS * COLS * sizeof *input);
    y = get(TOKENS * Y_STRIDE * sizeof *y);
    w = get(ROWS * COLS * 2);
    q8 = (hth_q8){.q = get(TOKENS * STRIDE), .d = get(TOKENS * COLS / 8), .sum = get(TOKENS * COLS / 4),
                  .tiles = get(TOKENS * STRIDE * 2), .wide_d = get(TOKENS * COLS / 64), .wide_sum = get(TOKENS * COLS / 64),
                  .q_stride = STRIDE, .d_stride = COLS / 32, .wide_stride = COLS / 256, .tile_stride = TOKENS * 512};
    if (!input || !y || !w || !q8.q || !q8.d || !q8.sum || !q8.tiles || !q8.wide_d || !q8.wide_sum) return 1;
    for (int i = 0; i < PANELS; i++) {
        panels[i] = (hth_panel){get(16 * COLS), get(COLS * sizeof(float)), get(COLS * sizeof(float))};
        if (!panels[i].code || !panels[i].scale || !panels[i].min) return 1;
    }
    for (int64_t i = 0; i < TOKENS * COLS; i++) input[i] = (float)(i * 7919 % 1000) * 2e-3f - 1;
    for (size_t l = 0; l < HTH_COUNT(levels); l++) {
        if (levels[l].features & ~hth_cpu_features()) continue;
        if (argc > 1 && !strstr(levels[l].name, argv[1])) continue;
        bench_level(&levels[l]);
    }
    return 0;
}
