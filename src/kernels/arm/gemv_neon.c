// Integer products for generated rows, NEON.
#include "kernels/levels.h"

void hth_q8_gemv_neon(hth_q8_kernels *k) {
    (void)k;
}
