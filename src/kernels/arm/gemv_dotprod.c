// Integer products for generated rows with NEON and sdot.
#include "kernels/levels.h"

#if defined(__aarch64__)
#include <string.h>

#include "quant/type_impl.h"

#include "kernels/arm/gemv_ops_dotprod.inc"

#include "kernels/vec/gemv.inc"
#endif

void hth_q8_gemv_neon(hth_q8_kernels *k) {
#if defined(__aarch64__)
    HTH_Q8_FOR_LAYOUTS(SET_GEMV)
    hth_q8_widen_grids();
#else
    (void)k;
#endif
}
