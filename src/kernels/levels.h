// Private to src/kernels: the instruction-set levels. Each writes the entries that it has into a table;
// later ones overwrite earlier ones.
#ifndef HTH_KERNELS_LEVELS_H
#define HTH_KERNELS_LEVELS_H

#include "kernels/kernels.h"
#include "kernels/probe.h"
#include "kernels/q8.h"

// Plain C, all entries but dequantize. One function per file of ref/.
void hth_ref_gemm(hth_kernels *k);
void hth_ref_norm(hth_kernels *k);
void hth_ref_rope(hth_kernels *k);
void hth_ref_act(hth_kernels *k);
void hth_ref_vector(hth_kernels *k);
void hth_ref_kv(hth_kernels *k);
void hth_ref_tile(hth_kernels *k);
void hth_ref_softmax(hth_kernels *k);

// Each does nothing in a build for another architecture.
void hth_level_avx2(hth_kernels *k);
void hth_level_avx512(hth_kernels *k);
void hth_level_neon(hth_kernels *k);

// The probe's loops, the best that the features allow.
void hth_ref_probe(hth_probe *p);
void hth_level_probe_x86(hth_probe *p, uint32_t cpu_features);
void hth_level_probe_arm(hth_probe *p, uint32_t cpu_features);

// Integer products (q8.h). One block of a type in the terms of q8.h: code [block_len], and per group d and
// (types with a minimum only) m. Any alignment.
typedef void (*hth_q8_codes_fn)(const uint8_t *block, uint8_t *code, float *d, float *m);
hth_q8_codes_fn hth_q8_codes(uint32_t type); // NULL: the type has no integer path
hth_q8_type hth_q8_type_of(uint32_t type);

void hth_ref_q8_gemm(hth_q8_kernels *k);  // quantize, panel, gemm
void hth_ref_q8_gemv(hth_q8_kernels *k);

// As the levels above. What a level needs of the CPU is said in q8.c.
void hth_q8_panel_avx2(hth_q8_kernels *k); // quantize, panel
void hth_q8_gemm_avx2(hth_q8_kernels *k);
void hth_q8_gemm_avx_vnni(hth_q8_kernels *k);
void hth_q8_gemm_avx512(hth_q8_kernels *k); // VNNI
void hth_q8_gemm_amx(hth_q8_kernels *k);
// The AVX-512 product, to which the tiles leave what is not theirs.
void hth_q8_gemm_avx512_run(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x,
                            int64_t n_tok, float *y, int64_t y_stride);
void hth_q8_panel_neon(hth_q8_kernels *k);
void hth_q8_gemm_neon(hth_q8_kernels *k); // dotprod
void hth_q8_gemv_avx2(hth_q8_kernels *k);
void hth_q8_gemv_avx_vnni(hth_q8_kernels *k);
void hth_q8_gemv_avx512(hth_q8_kernels *k); // VNNI
void hth_q8_gemv_neon(hth_q8_kernels *k);   // dotprod

#endif
