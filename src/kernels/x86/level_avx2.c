// Level avx2: nothing yet.
#include "kernels/levels.h"

void hth_level_avx2(hth_kernels *k) {
    (void)k;
}
