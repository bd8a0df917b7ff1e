// Integer products for generated rows, AVX2.
#include "kernels/levels.h"

void hth_q8_gemv_avx2(hth_q8_kernels *k) {
    (void)k;
}
