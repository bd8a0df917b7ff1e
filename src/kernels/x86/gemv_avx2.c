// Integer products for generated rows with AVX2.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "quant/type_impl.h"

// Codes below 128: sums of two products fit 16 bits. Signed ones are multiplied as magnitudes.
enum { SIGNED_ZERO = 0 };
static HTH_ALWAYS_INLINE __m256i dot_bytes(__m256i dot, __m256i code, __m256i q, const bool is_signed) {
    const __m256i pairs = is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(q, code))
                                    : _mm256_maddubs_epi16(code, q);
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "kernels/x86/gemv_ops_avx2.inc"

#include "kernels/vec/gemv.inc"
#endif

void hth_q8_gemv_avx2(hth_q8_kernels *k) {
#if defined(__x86_64__)
    HTH_Q8_FOR_LAYOUTS(SET_GEMV)
    hth_q8_widen_grids();
#else
    (void)k;
#endif
}
