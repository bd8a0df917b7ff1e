// Level avx2: the kernels of vec/ with AVX2, FMA and F16C.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/fp.h"

// This file alone may use these instructions; no build flag says so.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2")
#endif

#include "kernels/x86/vec_avx2.inc"

#include "kernels/vec/all.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void hth_level_avx2(hth_kernels *k) {
#if defined(__x86_64__)
    fill_avx2(k);
#else
    (void)k;
#endif
}
