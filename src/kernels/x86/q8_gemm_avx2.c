// Integer products with AVX2, whose products of bytes saturate sums of 16 bits: the largest code of a panel decides
// how many fit, so that nothing ever saturates.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

static HTH_ALWAYS_INLINE __m256i dot_bytes(__m256i sum, __m256i codes, __m256i q) {
    (void)codes, (void)q; // of the level above
    return sum;
}

#include "kernels/x86/q8_tile256.inc"

DEFINE_GEMM(gemm_add_8, ADD_8)
DEFINE_GEMM(gemm_add_4, ADD_4)
DEFINE_GEMM(gemm_add_2, ADD_2)
DEFINE_GEMM(gemm_add_1, ADD_1)
DEFINE_GEMM(gemm_by_sign, BY_SIGN)
DEFINE_GEMM(gemm_in_halves, IN_HALVES)

static int largest_code(const uint8_t *code, int64_t n) {
    __m256i a = _mm256_setzero_si256();
    for (int64_t i = 0; i < n; i += 32)
        a = _mm256_max_epu8(a, _mm256_load_si256((const __m256i *)(const void *)(code + i)));
    uint8_t bytes[32];
    int largest = 0;
    _mm256_storeu_si256((__m256i *)(void *)bytes, a);
    for (int i = 0; i < 32; i++) largest = bytes[i] > largest ? bytes[i] : largest;
    return largest;
}

static void gemm_of_panel(GEMM_PARAMETERS) {
    if (type.group == HTH_Q8_WIDE) { // codes are 1 ... 254, but for padding
        gemm_by_sign(w, type, n_row, n_col, x, n_tok, y, y_stride);
        return;
    }
    const int largest = largest_code(w->code, n_col * 16);
    if (largest <= 16) gemm_add_8(w, type, n_row, n_col, x, n_tok, y, y_stride);
    else if (largest <= 32) gemm_add_4(w, type, n_row, n_col, x, n_tok, y, y_stride);
    else if (largest <= 64) gemm_add_2(w, type, n_row, n_col, x, n_tok, y, y_stride);
    else if (largest <= 128) gemm_add_1(w, type, n_row, n_col, x, n_tok, y, y_stride);
    else if (!type.has_min) gemm_by_sign(w, type, n_row, n_col, x, n_tok, y, y_stride);
    else gemm_in_halves(w, type, n_row, n_col, x, n_tok, y, y_stride);
}

DEFINE_GEMM_OF_PANELS(gemm_avx2, gemm_of_panel)
#endif

void hth_q8_gemm_avx2(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->gemm = gemm_avx2;
#else
    (void)k;
#endif
}
