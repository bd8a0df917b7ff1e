// Products of bf16 with AVX-512: activations as vectors of sixteen tokens, one number of weights at a time against all of
// them. What prepares the activations serves the tiles of AMX, too.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "base/fp.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,avx512bf16"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,avx512bf16")
#endif

#include "kernels/x86/transpose512.inc"

// --- activations ---

// To the nearest bf16 in the upper half of each number, as hth_f32_to_bf16.
static HTH_ALWAYS_INLINE __m512i round_bf16(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    return _mm512_and_si512(_mm512_mask_mov_epi32(rounded, is_nan, quiet), _mm512_set1_epi32((int)0xffff0000));
}

// Sixteen pairs of the 32 numbers a, b in their order.
static HTH_ALWAYS_INLINE __m512i pairs_of(__m512i a, __m512i b) {
    const __m256i low = _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16)), high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

static void pack_avx512(const float *x, int64_t x_stride, int64_t n_tok, int64_t n_col, int n_part, uint16_t *block) {
    for (int64_t c = 0; c < n_col; c += HTH_BF16_STEP) {
        __m512i pairs[2][16];
        for (int64_t t = 0; t < 16; t++) {
            pairs[0][t] = pairs[1][t] = _mm512_setzero_si512();
            if (t >= n_tok) continue;
            const __m512 a = _mm512_loadu_ps(x + t * x_stride + c), b = _mm512_loadu_ps(x + t * x_stride + c + 16);
            const __m512i high_a = round_bf16(a), high_b = round_bf16(b);
            pairs[0][t] = pairs_of(high_a, high_b);
            if (n_part == 2)
                pairs[1][t] = pairs_of(round_bf16(_mm512_sub_ps(a, _mm512_castsi512_ps(high_a))),
                                       round_bf16(_mm512_sub_ps(b, _mm512_castsi512_ps(high_b))));
        }
        for (int p = 0; p < n_part; p++) {
            transpose_16x16(pairs[p]);
            for (int i = 0; i < 16; i++, block += 32) _mm512_storeu_si512(block, pairs[p][i]);
        }
    }
}

// --- products ---

enum { ROWS = 12 };

static HTH_ALWAYS_INLINE __m512bh one_pair(const uint8_t *w) {
    int32_t pair;
    memcpy(&pair, w, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

// Sums of up to ROWS rows with two blocks of tokens. n_row: known when compiled.
static HTH_ALWAYS_INLINE void multiply_rows(const uint8_t *w, int64_t row_bytes, const int n_row, int64_t n_col, const uint16_t *x0,
                                            const uint16_t *x1, int n_part, float sums[2][ROWS][16]) {
    __m512 sum[2][ROWS];
    HTH_UNROLL for (int r = 0; r < n_row; r++) sum[0][r] = sum[1][r] = _mm512_setzero_ps();
    for (int64_t c = 0; c < n_col; c += HTH_BF16_STEP, w += 2 * HTH_BF16_STEP) {
        for (int p = 0; p < n_part; p++) {
            for (int64_t i = 0; i < 16; i++, x0 += 32, x1 += 32) {
                const __m512bh a = (__m512bh)_mm512_loadu_si512(x0), b = (__m512bh)_mm512_loadu_si512(x1);
                HTH_UNROLL for (int r = 0; r < n_row; r++) {
                    const __m512bh pair = one_pair(w + r * row_bytes + 4 * i);
                    sum[0][r] = _mm512_dpbf16_ps(sum[0][r], pair, a);
                    sum[1][r] = _mm512_dpbf16_ps(sum[1][r], pair, b);
                }
            }
        }
    }
    HTH_UNROLL for (int r = 0; r < n_row; r++) {
        _mm512_storeu_ps(sums[0][r], sum[0][r]);
        _mm512_storeu_ps(sums[1][r], sum[1][r]);
    }
}

static void multiply(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const uint16_t *x0, const uint16_t *x1,
                     int n_part, float sums[2][ROWS][16]) {
    if (n_row == ROWS) {
        multiply_rows(w, row_bytes, ROWS, n_col, x0, x1, n_part, sums);
        return;
    }
    for (int64_t r = 0; r < n_row; r++) { // the last few
        float one[2][ROWS][16];
        multiply_rows(w + r * row_bytes, row_bytes, 1, n_col, x0, x1, n_part, one);
        memcpy(sums[0][r], one[0][0], sizeof one[0][0]);
        memcpy(sums[1][r], one[1][0], sizeof one[1][0]);
    }
}

static void gemm_avx512(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const uint16_t *x, int n_part,
                        int64_t first, int64_t last, float *y, int64_t y_stride) {
    const int64_t size = hth_bf16_block(n_col, n_part);
    for (int64_t r = 0; r < n_row; r += ROWS) {
        const int64_t n = n_row - r < ROWS ? n_row - r : ROWS;
        for (int64_t b = first / 16; b * 16 < last; b += 2) {
            float sums[2][ROWS][16];
            const int64_t other = (b + 1) * 16 < last ? b + 1 : b;
            multiply(w + r * row_bytes, row_bytes, n, n_col, x + b * size, x + other * size, n_part, sums);
            for (int64_t t = b * 16 < first ? first : b * 16; t < last && t < b * 16 + 32; t++)
                for (int64_t i = 0; i < n; i++) y[t * y_stride + r + i] = sums[t / 16 - b][i][t % 16];
        }
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void hth_bf16_pack_avx512(hth_bf16_kernels *k) {
#if defined(__x86_64__)
    k->pack = pack_avx512;
#else
    (void)k;
#endif
}

void hth_bf16_avx512(hth_bf16_kernels *k) {
#if defined(__x86_64__)
    *k = (hth_bf16_kernels){.name = "avx512-bf16", .pack = pack_avx512, .gemm = gemm_avx512};
#else
    (void)k;
#endif
}
