// Speed of the kernels on one thread, every level that this CPU can run:
//
//   kernels [operation]      only operations whose name contains the word
//
// GB/s counts the f32 numbers that a kernel writes (dequantize) or reads and writes (vectors), GFLOP/s two
// operations per multiply-add. Each figure is the best of several short runs.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "os/clock.h"
#include "os/cpu.h"

static const struct level {
    const char *name;
    uint32_t features;
} levels[] = {
    {"ref", 0}, {"avx2", HTH_CPU_AVX2}, {"avx512", HTH_CPU_AVX2 | HTH_CPU_AVX512}, {"neon", HTH_CPU_NEON}};

enum { MAX_FLOATS = 4 << 20, N = 4096, KEYS = 32 };

static float *in, *other, *out; // [MAX_FLOATS], rows of vectors' alignment as the executor has them
static uint8_t blocks[8 * N];    // weights, or keys and values
static float turn[64];
static const char *only = "";

// One operation to time; the union of what its kernel wants to know.
typedef struct task {
    const hth_kernels *k;
    int variant;
    int64_t n_row, n_tok, n_col;
} task;
typedef void task_fn(const task *t);

// Seconds of one call: the best of 9 runs of at least 3 ms each.
static double time_one(task_fn *fn, const task *t) {
    double best = 1e9;
    int64_t n_call = 1;
    for (int run = 0; run < 9;) {
        uint64_t start = hth_clock_ns();
        for (int64_t i = 0; i < n_call; i++) fn(t);
        double seconds = (double)(hth_clock_ns() - start) * 1e-9;
        if (seconds < 3e-3) {
            n_call *= 2;
            continue;
        }
        if (seconds / (double)n_call < best) best = seconds / (double)n_call;
        run++;
    }
    return best;
}

// A line per operation, a column per level.
static void report(const char *name, task_fn *fn, task t, double work, const char *unit) {
    if (!strstr(name, only)) return;
    printf("%-30s", name);
    for (size_t l = 0; l < HTH_COUNT(levels); l++) {
        if (levels[l].features & ~hth_cpu_features()) continue;
        hth_kernels k;
        hth_kernels_fill(&k, levels[l].features);
        t.k = &k;
        printf("  %-6s %7.1f", levels[l].name, work / time_one(fn, &t) * 1e-9);
        fflush(stdout);
    }
    printf("  %s\n", unit);
}

static void run_gemm(const task *t) {
    // As the executor calls it: panels of sixteen rows.
    for (int64_t r = 0; r < t->n_row; r += 16)
        t->k->gemm_f32(in + r * t->n_col, t->n_col, other, t->n_col, out + r, t->n_row,
                       t->n_row - r < 16 ? t->n_row - r : 16, t->n_tok, t->n_col);
}

static void run_dequantize(const task *t) {
    t->k->dequantize[t->variant](blocks, out, N);
}

static void run_act_mul(const task *t) {
    t->k->act_mul[t->variant](out, in, other, N);
}

static void run_norm_rms(const task *t) {
    t->k->norm_rms(out, in, other, N, 1e-6f);
}
static void run_norm_layer(const task *t) {
    t->k->norm_layer(out, in, other, other, N, 1e-6f);
}
static void run_rope(const task *t) {
    t->k->rope[t->variant](out, turn, turn, 128); // 45 degrees each time
}
static void run_add(const task *t) {
    t->k->add(out, in, other, N);
}
static void run_max(const task *t) {
    out[0] = t->k->max(in, N);
}
static void run_exp_sum(const task *t) {
    memcpy(out, in, N * sizeof *out);
    out[0] = t->k->exp_sum(out, 3, N);
}
static void run_tanh_cap(const task *t) {
    memcpy(out, in, N * sizeof *out);
    t->k->tanh_cap(out, 30, N);
}
static hth_kv_run run_of(const task *t) {
    return (hth_kv_run){blocks, hth_kv_row_bytes((hth_kv_type)t->variant, 128), KEYS, 128};
}
static void run_kv_dot(const task *t) {
    const hth_kv_run run = run_of(t);
    t->k->kv_dot[t->variant](&run, other, 128, t->n_tok, 0.1f, out, KEYS);
}
static void run_kv_acc(const task *t) {
    const hth_kv_run run = run_of(t);
    t->k->kv_acc[t->variant](&run, other, KEYS, t->n_tok, out, 128);
}
static void run_kv_load(const task *t) {
    const hth_kv_run run = run_of(t);
    t->k->kv_load[t->variant](&run, out);
}
static void run_kv_store(const task *t) {
    t->k->kv_store[t->variant](blocks, in, 128 * KEYS);
}
// Tiles of 32 queries, 256 keys, head_dim 64 or 128.
static void run_tile_scores(const task *t) {
    t->k->tile_scores(in, 256, t->n_col, other, 32, out);
}
static void run_tile_values(const task *t) {
    t->k->tile_values(in, 256, t->n_col, other, turn, 32, out);
}
static void run_tile_softmax(const task *t) {
    float top[32], sum[32] = {0}, keep[32];
    for (int i = 0; i < 32; i++) top[i] = -INFINITY;
    memcpy(out, in, 256 * 32 * sizeof *out);
    t->k->tile_softmax(out, 256, 32, top, sum, keep);
}

// A row of 64 columns of a state of 128 rows; four taps of 512 channels.
static void run_wkv(const task *t) {
    t->k->wkv(out, in, 64, other, other + 64, other + 128, other + 192, other + 256, other + 320, turn, 64, 64);
}

static void run_delta(const task *t) {
    t->k->delta(out, in, 64, other, other + 128, other + 256, t->variant, other + 384, 0.5f, turn, 128, 64);
}
static void run_conv(const task *t) {
    t->k->conv(out, in, in + 512, 512, other, 512, NULL, 3, 512);
}

static void bench_gemm(void) {
    static const int64_t shapes[][3] = {{8, 1, 576},     {16, 1, 576},    {16, 1, 2048},    {16, 2, 2048},
                                        {16, 3, 2048},   {16, 4, 2048},   {1536, 1, 576},   {1536, 4, 576},
                                        {1536, 64, 576}, {576, 64, 1536}, {1536, 512, 576}, {2048, 64, 2048},
                                        {2048, 512, 2048}};
    for (size_t i = 0; i < HTH_COUNT(shapes); i++) {
        task t = {.n_row = shapes[i][0], .n_tok = shapes[i][1], .n_col = shapes[i][2]};
        char name[64];
        snprintf(name, sizeof name, "gemm_f32 %dx%d, %d tokens", (int)t.n_row, (int)t.n_col, (int)t.n_tok);
        report(name, run_gemm, t, 2.0 * (double)t.n_row * (double)t.n_tok * (double)t.n_col, "GFLOP/s");
    }
}

static void bench_dequantize(void) {
    for (uint32_t i = 0; i < HTH_TYPE_GGML_COUNT; i++) {
        const hth_type_info *info = hth_type_get(i);
        if (!info) continue;
        char name[64];
        // Scales of everyday size; the few types without a quantizer get 1.0 in any format.
        if (info->quantize) info->quantize(in, blocks, N, NULL);
        else memset(blocks, 0x3c, sizeof blocks);
        snprintf(name, sizeof name, "dequantize %s", info->name);
        report(name, run_dequantize, (task){.variant = (int)i}, 4.0 * N, "GB/s");
    }
}

static void bench_kv(void) {
    static const char *const types[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q5_0"};
    char name[64];
    for (int i = 0; i < HTH_KV_TYPE_COUNT; i++) {
        const double bytes = (double)KEYS * hth_kv_row_bytes((hth_kv_type)i, 128);
        snprintf(name, sizeof name, "kv_store %s", types[i]);
        report(name, run_kv_store, (task){.variant = i}, 4.0 * KEYS * 128, "GB/s of f32");
        run_kv_store(&(task){.k = hth_kernels_get(), .variant = i}); // whatever was asked for
        memset(out, 0, 1024 * sizeof *out);
        for (int n_q = 1; n_q <= 8; n_q *= 2) {
            const task t = {.variant = i, .n_tok = n_q};
            snprintf(name, sizeof name, "kv_dot %s, %d heads", types[i], n_q);
            report(name, run_kv_dot, t, bytes, "GB/s of keys");
            snprintf(name, sizeof name, "kv_acc %s, %d heads", types[i], n_q);
            report(name, run_kv_acc, t, bytes, "GB/s of values");
        }
        snprintf(name, sizeof name, "kv_load %s", types[i]);
        report(name, run_kv_load, (task){.variant = i}, 4.0 * KEYS * 128, "GB/s of f32");
    }
}

static void bench_tiles(void) {
    for (int64_t dim = 64; dim <= 128; dim *= 2) {
        const double ops = 2.0 * 256 * 32 * (double)dim;
        const task t = {.n_col = dim};
        char name[64];
        memset(out, 0, 128 * 32 * sizeof *out);
        snprintf(name, sizeof name, "tile_scores, head_dim %d", (int)dim);
        report(name, run_tile_scores, t, ops, "GFLOP/s");
        report("tile_softmax", run_tile_softmax, t, 256 * 32.0, "G/s");
        snprintf(name, sizeof name, "tile_values, head_dim %d", (int)dim);
        report(name, run_tile_values, t, ops, "GFLOP/s");
    }
}

static void bench_others(void) {
    static const char *const acts[] = {"none", "silu", "gelu_tanh", "gelu_erf", "relu", "relu2", "sigmoid", "softplus", "exp"};
    _Static_assert(HTH_COUNT(acts) == HTH_ACT_COUNT, "a name each");
    char name[64];
    for (int i = 0; i < HTH_ACT_COUNT; i++) {
        snprintf(name, sizeof name, "act_mul %s", acts[i]);
        report(name, run_act_mul, (task){.variant = i}, 12.0 * N, "GB/s");
    }
    report("norm_rms", run_norm_rms, (task){0}, 12.0 * N, "GB/s");
    report("norm_layer", run_norm_layer, (task){0}, 16.0 * N, "GB/s");
    report("rope norm", run_rope, (task){.variant = HTH_ROPE_NORM}, 12.0 * 128, "GB/s");
    report("rope neox", run_rope, (task){.variant = HTH_ROPE_NEOX}, 12.0 * 128, "GB/s");
    report("add", run_add, (task){0}, 12.0 * N, "GB/s");
    report("max", run_max, (task){0}, 4.0 * N, "GB/s");
    report("exp_sum", run_exp_sum, (task){0}, 8.0 * N, "GB/s");
    report("tanh_cap", run_tanh_cap, (task){0}, 8.0 * N, "GB/s");
    report("wkv", run_wkv, (task){0}, 64 * 64.0, "G states/s");
    report("delta", run_delta, (task){.variant = 0}, 128 * 64.0, "G states/s");
    report("delta, decay by row", run_delta, (task){.variant = 1}, 128 * 64.0, "G states/s");
    report("conv", run_conv, (task){0}, 4 * 512.0, "G taps/s");
    bench_kv();
    bench_tiles();
}

int main(int argc, char **argv) {
    if (argc > 1) only = argv[1];
    in = hth_alloc_aligned(HTH_MEM_SCRATCH, MAX_FLOATS * sizeof *in);
    other = hth_alloc_aligned(HTH_MEM_SCRATCH, MAX_FLOATS * sizeof *other);
    out = hth_alloc_aligned(HTH_MEM_SCRATCH, MAX_FLOATS * sizeof *out);
    if (!in || !other || !out) return 1;
    for (int64_t i = 0; i < MAX_FLOATS; i++) {
        in[i] = (float)(i * 7919 % 1000) * 2e-3f - 1;
        other[i] = (float)(i * 104729 % 1000) * 2e-3f - 1;
        out[i] = 0;
    }
    for (int i = 0; i < 64; i++) turn[i] = sqrtf(0.5f);
    bench_gemm();
    bench_dequantize();
    bench_others();
    hth_free(in);
    hth_free(other);
    hth_free(out);
    return 0;
}
