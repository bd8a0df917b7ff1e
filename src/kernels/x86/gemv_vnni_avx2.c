// Integer products for generated rows with AVX-VNNI.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "quant/type_impl.h"

// By name: the file's flags do not include the instruction, and the prefix chooses its form without AVX-512.
enum { SIGNED_ZERO = 128 };
static HTH_ALWAYS_INLINE __m256i dot_bytes(__m256i dot, __m256i code, __m256i q, const bool is_signed) {
    (void)is_signed;
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(dot) : "x"(code), "x"(q));
    return dot;
}

#include "kernels/x86/gemv_ops_avx2.inc"

#include "kernels/vec/gemv.inc"
#endif

void hth_q8_gemv_avx_vnni(hth_q8_kernels *k) {
#if defined(__x86_64__)
    HTH_Q8_FOR_LAYOUTS(SET_GEMV)
    hth_q8_widen_grids();
#else
    (void)k;
#endif
}
