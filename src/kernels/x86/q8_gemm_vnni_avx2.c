// Integer products with AVX-VNNI: vpdpbusd as processors without AVX-512 have it.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

// By name: the file's flags do not include the instruction, and the prefix chooses its form without AVX-512.
static HTH_ALWAYS_INLINE __m256i dot_bytes(__m256i sum, __m256i codes, __m256i q) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(q));
    return sum;
}

#include "kernels/x86/q8_tile256.inc"

DEFINE_GEMM(gemm_of_panel, DOT)
DEFINE_GEMM_OF_PANELS(gemm_avx_vnni, gemm_of_panel)
#endif

void hth_q8_gemm_avx_vnni(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->gemm = gemm_avx_vnni;
#else
    (void)k;
#endif
}
