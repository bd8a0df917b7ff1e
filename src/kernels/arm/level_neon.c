// Level neon: nothing yet.
#include "kernels/levels.h"

void hth_level_neon(hth_kernels *k) {
    (void)k;
}
