// Level avx512: nothing yet.
#include "kernels/levels.h"

void hth_level_avx512(hth_kernels *k) {
    (void)k;
}
