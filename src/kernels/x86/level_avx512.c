// Level avx512: the kernels of vec/ with AVX-512 F, BW, VL and DQ, and its own for 4-bit types.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/fp.h"

// This file alone may use these instructions; no build flag says so.
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2")
#endif

#include "kernels/x86/vec_avx512.inc"

#include "kernels/vec/all.inc"
#include "kernels/x86/nibbles_avx512.inc"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void hth_level_avx512(hth_kernels *k) {
#if defined(__x86_64__)
    fill_avx512(k);
    fill_nibbles_avx512(k);
#else
    (void)k;
#endif
}
