// Level neon: the kernels of vec/ with what every arm64 CPU has.
#include "kernels/levels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "base/fp.h"

#include "kernels/arm/vec_neon.inc"

#include "kernels/vec/all.inc"
#endif

void hth_level_neon(hth_kernels *k) {
#if defined(__aarch64__)
    fill_neon(k);
#else
    (void)k;
#endif
}
