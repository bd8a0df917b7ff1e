// Speed of integer products for generated rows, straight from the file's layout:
//
//   q8_gemv [-m MB] [-t THREADS] [type ...]
//
// Walks MB megabytes (512) of weights of each type with 1, 2, 4, 8, 16 tokens at once, with one thread and with
// two (or THREADS only), and prints bytes of weights per nanosecond and the share of a streaming read of the
// same memory by the same threads. Both take turns on pieces of 16 MB, in an order that comes back to a piece
// after all others only; the figures are those of the best piece, because other programs may be running.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/q8.h"
#include "os/clock.h"
#include "os/thread.h"

enum { COLS = 4096, TURNS = 12, PIECE = 16 << 20, MAX_TOKENS = HTH_GEMV_TOKENS };

static uint8_t *w;
static float *y;
static hth_q8 x;

typedef struct job {
    const hth_q8_kernels *k;
    uint32_t type; // HTH_TYPE_GGML_COUNT: the streaming read
    int64_t row_bytes, n_row, n_tok, first, last; // rows of all pieces; of the piece
} job;

static volatile uint64_t sink;

static void read_all(const job *j) {
    typedef uint64_t v8 __attribute__((vector_size(64), aligned(64)));
    const uint8_t *p = w + j->first * j->row_bytes / 256 * 256, *end = w + j->last * j->row_bytes / 256 * 256;
    v8 a = {0}, b = {0}, c = {0}, d = {0};
    for (; p < end; p += 256) {
        const v8 *v = (const v8 *)(const void *)p;
        a ^= v[0], b ^= v[1], c ^= v[2], d ^= v[3];
        __builtin_prefetch(p + 4096, 0, 2);
        __builtin_prefetch(p + 4160, 0, 2);
        __builtin_prefetch(p + 4224, 0, 2);
        __builtin_prefetch(p + 4288, 0, 2);
    }
    a ^= b ^ c ^ d;
    for (int i = 0; i < 8; i++) sink = a[i];
}

static void multiply(const job *j) {
    // A matrix of a model: some thousand rows at a time.
    for (int64_t r = j->first; r < j->last; r += 1024) {
        int64_t n = j->last - r < 1024 ? j->last - r : 1024;
        j->k->gemv[j->type](&(hth_q8_rows){.code = w + r * j->row_bytes, .row_bytes = j->row_bytes}, n, COLS, &x, j->n_tok, y + r, j->n_row);
    }
}

static void work(void *user, int i_thread, int n_thread) {
    job j = *(const job *)user;
    const int64_t first = j.first, n = j.last - first;
    j.first = first + n * i_thread / n_thread / 16 * 16;
    if (i_thread + 1 < n_thread) j.last = first + n * (i_thread + 1) / n_thread / 16 * 16;
    if (j.type == HTH_TYPE_GGML_COUNT) read_all(&j);
    else multiply(&j);
}

// Bytes per nanosecond.
static double speed(hth_team *team, job *all) {
    uint64_t start = hth_clock_ns();
    hth_team_run(team, work, all);
    return (double)((all->last - all->first) * all->row_bytes) / (double)(hth_clock_ns() - start);
}

// Codes of all values, scales of everyday size: subnormal ones would cost time that models do not spend.
static void fill_weights(uint32_t t, int64_t bytes) {
    const bool is_byte = t == HTH_TYPE_MXFP4 || t == HTH_TYPE_NVFP4; // scales of one byte
    const uint64_t mask = is_byte ? 0x0f0f0f0f0f0f0f0f : 0x03ff03ff03ff03ff;
    const uint64_t set = is_byte ? 0x7070707070707070 : 0x3000300030003000;
    uint64_t bits = 1;
    for (int64_t i = 0; i < bytes / 8; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        uint64_t v = (bits >> 8 & mask) | set;
        memcpy(w + 8 * i, &v, 8);
    }
}

static const int64_t tokens[] = {0, 1, 2, 4, 8, 16}; // 0: the streaming read
enum { KINDS = HTH_COUNT(tokens) };

static void bench_type(const hth_q8_kernels *k, uint32_t t, int64_t bytes, int n_thread) {
    const hth_type_info *info = hth_type_get(t);
    job all = {.k = k, .row_bytes = COLS / info->block_len * info->block_bytes};
    const int64_t step = PIECE / all.row_bytes / 16 * 16, n_piece = bytes / (step * all.row_bytes);
    all.n_row = n_piece * step;
    hth_team *team;
    if (hth_team_new(n_thread, &team, NULL)) exit(1);
    double best[KINDS] = {0};
    for (int64_t i = 0; i < TURNS * n_piece; i++) {
        const size_t kind = (size_t)(i + i / n_piece) % KINDS;
        if (kind > 2 && i >= 2 * n_piece) continue; // bound by arithmetic
        all.first = i % n_piece * step;
        all.last = all.first + step;
        all.n_tok = tokens[kind];
        all.type = kind == 0 ? HTH_TYPE_GGML_COUNT : t;
        double s = speed(team, &all);
        if (s > best[kind]) best[kind] = s;
    }
    printf("%-8s %d threads: read %5.1f GB/s; tokens at once:", info->name, n_thread, best[0]);
    for (size_t i = 1; i < KINDS; i++)
        printf("  %d: %5.1f GB/s %3.0f %% x%.1f", (int)tokens[i], best[i], 100 * best[i] / best[0],
               (double)tokens[i] * best[i] / best[1]);
    printf("\n");
    fflush(stdout);
    hth_team_free(team);
}

static bool wanted(const char *name, int n, char **names) {
    for (int i = 0; i < n; i++)
        if (!strcmp(name, names[i])) return true;
    return n == 0;
}

int main(int argc, char **argv) {
    int64_t bytes = 512;
    int only_threads = 0, at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (argv[at][1] == 'm') bytes = atoll(argv[at + 1]);
        else only_threads = atoi(argv[at + 1]);
    }
    bytes <<= 20;
    w = hth_alloc_aligned(HTH_MEM_SCRATCH, (size_t)bytes);
    y = hth_alloc_aligned(HTH_MEM_SCRATCH, (size_t)(bytes / (COLS / 16) * MAX_TOKENS) * sizeof *y);
    x = (hth_q8){.q = hth_alloc_aligned(HTH_MEM_SCRATCH, MAX_TOKENS * COLS),
                 .d = hth_alloc_aligned(HTH_MEM_SCRATCH, MAX_TOKENS * COLS / 32 * sizeof(float)),
                 .sum = hth_alloc_aligned(HTH_MEM_SCRATCH, MAX_TOKENS * COLS / 16 * sizeof(int32_t)),
                 .q_stride = COLS,
                 .d_stride = COLS / 32};
    if (!w || !y || !x.q || !x.d || !x.sum) return 1;
    const hth_q8_kernels *k = hth_q8_get();
    float row[COLS];
    for (int i = 0; i < COLS; i++) row[i] = (float)(i * 7919 % 1000) * 2e-3f - 1;
    for (int t = 0; t < MAX_TOKENS; t++)
        k->quantize(row, COLS, x.q + t * COLS, x.d + t * COLS / 32, x.sum + t * COLS / 16);
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) {
        if (!k->gemv[t] || !wanted(hth_type_get(t)->name, argc - at, argv + at)) continue;
        fill_weights(t, bytes);
        for (int n = 1; n <= 2; n++)
            if (!only_threads || n == 1) bench_type(k, t, bytes, only_threads ? only_threads : n);
    }
    return 0;
}
