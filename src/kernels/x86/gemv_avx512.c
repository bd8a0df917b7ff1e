// Integer products for generated rows with AVX-512 VNNI.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <string.h>

#include "quant/type_impl.h"

#include "kernels/x86/gemv_ops_avx512.inc"

#include "kernels/vec/gemv.inc"
#endif

void hth_q8_gemv_avx512(hth_q8_kernels *k) {
#if defined(__x86_64__)
    HTH_Q8_FOR_LAYOUTS(SET_GEMV)
    hth_q8_widen_grids();
#else
    (void)k;
#endif
}
