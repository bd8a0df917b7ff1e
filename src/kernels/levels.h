// Private to src/kernels: the instruction-set levels. Each writes the entries that it has into a table;
// later ones overwrite earlier ones.
#ifndef HTH_KERNELS_LEVELS_H
#define HTH_KERNELS_LEVELS_H

#include "kernels/kernels.h"

// Plain C, all entries but dequantize. One function per file of ref/.
void hth_ref_gemm(hth_kernels *k);
void hth_ref_norm(hth_kernels *k);
void hth_ref_rope(hth_kernels *k);
void hth_ref_act(hth_kernels *k);
void hth_ref_vector(hth_kernels *k);
void hth_ref_kv(hth_kernels *k);
void hth_ref_softmax(hth_kernels *k);

// Each does nothing in a build for another architecture.
void hth_level_avx2(hth_kernels *k);
void hth_level_avx512(hth_kernels *k);
void hth_level_neon(hth_kernels *k);

#endif
