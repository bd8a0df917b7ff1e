// Products of bf16 with AMX tiles: two tiles of sixteen rows of weights, as they lie in memory, times two tiles of
// sixteen tokens. A tile of sums has a row of weights in each row and is turned on its way to y.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(                                                                                        \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,amx-tile,amx-bf16"))),              \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,amx-tile,amx-bf16")
#endif

#include "kernels/x86/amx.inc"
#include "kernels/x86/transpose512.inc"

enum { TILE = 16, LINE = 64 };

// Tiles 0 ... 3 are sums of rows a and a, b and b with two blocks of tokens; 4 and 5 hold n_a and n_b rows of weights,
// 6 and 7 tokens.
static void configure(int64_t n_a, int64_t n_b) {
    const uint8_t a = (uint8_t)n_a, b = (uint8_t)(n_b > 0 ? n_b : 1);
    configure_tiles((const uint8_t[8]){a, a, b, b, a, b, TILE, TILE});
}

// Rows of weights that are multiplied together, and what comes behind them.
typedef struct rows {
    const uint8_t *w;
    int64_t row_bytes, n_col, n, n_next;
} rows;

static HTH_ALWAYS_INLINE void fetch_next(const rows *w, int64_t c) {
    const uint8_t *next = w->w + 2 * TILE * w->row_bytes + 2 * c;
    for (int64_t i = 0; i < w->n_next; i++) _mm_prefetch((const char *)(next + i * w->row_bytes), _MM_HINT_T1);
}

// Up to 32 rows times blocks x0 and x1 of tokens, into sums[row / 16][block]. Whether there are more than 16 rows is known
// when compiled, as is whether the rows behind are to be fetched meanwhile.
static HTH_ALWAYS_INLINE void multiply(const rows *w, const uint16_t *x0, const uint16_t *x1, int n_part, float sums[4][TILE * TILE],
                                       const bool has_b, const bool fetches) {
    const size_t stride = (size_t)w->row_bytes;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t c = 0; c < w->n_col; c += HTH_BF16_STEP) {
        _tile_loadd(4, w->w + 2 * c, stride);
        if (has_b) _tile_loadd(5, w->w + TILE * w->row_bytes + 2 * c, stride);
        if (fetches) fetch_next(w, c);
        for (int p = 0; p < n_part; p++, x0 += 512, x1 += 512) {
            _tile_loadd(6, x0, LINE);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, x1, LINE);
            _tile_dpbf16ps(1, 4, 7);
            if (has_b) _tile_dpbf16ps(2, 5, 6);
            if (has_b) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sums[0], LINE);
    _tile_stored(1, sums[1], LINE);
    if (has_b) _tile_stored(2, sums[2], LINE);
    if (has_b) _tile_stored(3, sums[3], LINE);
    written(sums);
}

// Sums of n rows with a block's tokens [first, last) to y [token, y_stride].
static void store_turned(const float *sums, int64_t n, int64_t first, int64_t last, float *y, int64_t y_stride) {
    __m512i v[TILE];
    for (int i = 0; i < TILE; i++) v[i] = _mm512_load_si512(sums + TILE * i);
    transpose_16x16(v);
    const __mmask16 mask = (__mmask16)((1u << n) - 1);
    for (int64_t t = first; t < last; t++) _mm512_mask_storeu_ps(y + t * y_stride, mask, _mm512_castsi512_ps(v[t]));
}

static void gemm_amx(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const uint16_t *x, int n_part,
                     int64_t first, int64_t last, float *y, int64_t y_stride) {
    float sums[4][TILE * TILE] __attribute__((aligned(64)));
    const int64_t size = hth_bf16_block(n_col, n_part), begin = first / TILE;
    for (int64_t r = 0, n; r < n_row; r += n) {
        n = n_row - r < 2 * TILE ? n_row - r : 2 * TILE;
        const int64_t left = n_row - r - n, n_a = n < TILE ? n : TILE, n_b = n - n_a;
        const rows now = {w + r * row_bytes, row_bytes, n_col, n, left < 2 * TILE ? left : 2 * TILE};
        if (r == 0 || n < 2 * TILE) configure(n_a, n_b);
        for (int64_t b = begin; b * TILE < last; b += 2) {
            const uint16_t *x0 = x + b * size, *x1 = (b + 1) * TILE < last ? x0 + size : x0;
            if (n_b == 0) multiply(&now, x0, x1, n_part, sums, false, false);
            else if (b == begin) multiply(&now, x0, x1, n_part, sums, true, true);
            else multiply(&now, x0, x1, n_part, sums, true, false);
            for (int64_t i = 0; i < 2; i++) {
                const int64_t t0 = (b + i) * TILE, a = first > t0 ? first - t0 : 0, z = last - t0 < TILE ? last - t0 : TILE;
                if (a >= z) continue;
                store_turned(sums[i], n_a, a, z, y + t0 * y_stride + r, y_stride);
                if (n_b > 0) store_turned(sums[2 + i], n_b, a, z, y + t0 * y_stride + r + TILE, y_stride);
            }
        }
    }
    _tile_release();
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void hth_bf16_amx(hth_bf16_kernels *k) {
#if defined(__x86_64__)
    hth_bf16_pack_avx512(k);
    k->name = "amx-bf16";
    k->gemm = gemm_amx;
#else
    (void)k;
#endif
}
