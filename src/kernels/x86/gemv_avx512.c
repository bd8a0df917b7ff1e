// Integer products for generated rows, AVX-512.
#include "kernels/levels.h"

void hth_q8_gemv_avx512(hth_q8_kernels *k) {
    (void)k;
}
