// Private to src/kernels: the instruction-set levels. Each writes the entries that it has into a table;
// later ones overwrite earlier ones.
#ifndef HTH_KERNELS_LEVELS_H
#define HTH_KERNELS_LEVELS_H

#include <math.h>

#include "kernels/bf16.h"
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
void hth_ref_scan(hth_kernels *k);
void hth_ref_recurrent(hth_kernels *k);

// e^x as the softmaxes take it.
static inline float hth_ref_share(float x) {
    return x < HTH_LEAST_SHARE ? 0 : expf(x);
}

// Each does nothing in a build for another architecture.
void hth_level_avx2(hth_kernels *k);
void hth_level_avx512(hth_kernels *k);
void hth_level_neon(hth_kernels *k);

// The probe's loops, the best that the features allow.
void hth_ref_probe(hth_probe *p);
void hth_level_probe_x86(hth_probe *p, uint32_t cpu_features);
void hth_level_probe_arm(hth_probe *p, uint32_t cpu_features);

// Products of bf16 (bf16.h).
void hth_ref_bf16(hth_bf16_kernels *k);
void hth_bf16_pack_avx512(hth_bf16_kernels *k); // pack alone
void hth_bf16_avx512(hth_bf16_kernels *k);      // with BF16
void hth_bf16_amx(hth_bf16_kernels *k);

// Integer products (q8.h). One block of a type in the terms of q8.h: code [block_len], and per group d and
// (types with a minimum only) m. Any alignment.
typedef void (*hth_q8_codes_fn)(const uint8_t *block, uint8_t *code, float *d, float *m);
hth_q8_codes_fn hth_q8_codes(uint32_t type); // NULL: the type has no integer path
// Columns c ... c + n - 1 of one row in any layout, whole units, at most 256: code [n], d and m by group of the layout's type.
void hth_q8_read(uint32_t layout, const hth_q8_rows *w, int64_t row, int64_t c, int64_t n, uint8_t *code, float *d, float *m);
// D and M of planes for columns c ... c + n - 1 of one row, by group of the layout's type.
void hth_q8_read_scales(uint32_t layout, const hth_q8_rows *w, int64_t row, int64_t c, int64_t n, float *d, float *m);
hth_q8_type hth_q8_type_of(uint32_t layout); // {0, 0, false}: no integer path
typedef struct hth_q8_range {
    uint8_t least, most;
} hth_q8_range;
hth_q8_range hth_q8_range_of(uint32_t layout); // of its codes

// X(name, layout) for each of them.
#define HTH_Q8_FOR_LAYOUTS(X)                                                                                          \
    X(Q4_0, HTH_TYPE_Q4_0) X(Q4_1, HTH_TYPE_Q4_1) X(Q5_0, HTH_TYPE_Q5_0) X(Q5_1, HTH_TYPE_Q5_1) X(Q8_0, HTH_TYPE_Q8_0) \
    X(Q2_K, HTH_TYPE_Q2_K) X(Q3_K, HTH_TYPE_Q3_K) X(Q4_K, HTH_TYPE_Q4_K) X(Q5_K, HTH_TYPE_Q5_K) X(Q6_K, HTH_TYPE_Q6_K) \
    X(IQ1_S, HTH_TYPE_IQ1_S) X(IQ1_M, HTH_TYPE_IQ1_M) X(IQ2_XXS, HTH_TYPE_IQ2_XXS) X(IQ2_XS, HTH_TYPE_IQ2_XS)          \
    X(IQ2_S, HTH_TYPE_IQ2_S) X(IQ3_XXS, HTH_TYPE_IQ3_XXS) X(IQ3_S, HTH_TYPE_IQ3_S) X(IQ4_NL, HTH_TYPE_IQ4_NL)          \
    X(IQ4_XS, HTH_TYPE_IQ4_XS) X(TQ1_0, HTH_TYPE_TQ1_0) X(TQ2_0, HTH_TYPE_TQ2_0) X(MXFP4, HTH_TYPE_MXFP4)              \
    X(NVFP4, HTH_TYPE_NVFP4) X(Q1_0, HTH_TYPE_Q1_0) X(Q2_0, HTH_TYPE_Q2_0) X(AFFINE_2, HTH_Q8_AFFINE_2)                \
    X(AFFINE_3, HTH_Q8_AFFINE_3) X(AFFINE_4, HTH_Q8_AFFINE_4) X(AFFINE_5, HTH_Q8_AFFINE_5)                             \
    X(AFFINE_6, HTH_Q8_AFFINE_6) X(AFFINE_8, HTH_Q8_AFFINE_8) X(E2M1, HTH_Q8_E2M1) X(E2M1_16, HTH_Q8_E2M1_16)

// The type of a layout's panels where none, some or all are wide. Some: those of types whose activations other engines
// quantize per 256, which costs far more than wide panels do.
typedef enum hth_q8_wide { HTH_Q8_NONE_WIDE, HTH_Q8_SOME_WIDE, HTH_Q8_ALL_WIDE } hth_q8_wide;
hth_q8_type hth_q8_panel_type_of(uint32_t layout, hth_q8_wide wide);

// Wide codes of up to 256 columns of one row are made of the type's own codes, groups of 16 or 32 with D and M: all
// that the groups can hold is spread over 1 ... 254. Numbers of 16 bits, modulo 2^16:
//   a, b = D * (least - zero) + M, D * (most - zero) + M       multiplied, then added; M = 0 for types with a zero
//   lo, hi = least and greatest of them over the groups;  step = (hi - lo) / 253;  f = 1 / step * 256
//   A = round(D * f), B = round((M - lo) * f) + 384 - zero * A    to nearest even
//   wide code = (code * A + B) >> 8;  wide D = step;  wide M = lo - step
// Where step is below 2^-120 the wide codes and D are 0 and M is lo; where a or b is not finite, or step, the codes are 0
// and D and M are NaN.
#define HTH_Q8_WIDE_LEAST_STEP 0x1p-120f

void hth_ref_q8_panel(uint32_t layout, hth_q8_type panel, const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out);
void hth_ref_q8_quantize_tiles(const float *x, int64_t n, const hth_q8 *out, int64_t row); // quantize_prompt with tiles

void hth_ref_q8_gemm(hth_q8_kernels *k);  // quantize, panel, gemm
void hth_ref_q8_gemv(hth_q8_kernels *k);

// As the levels above. What a level needs of the CPU is said in q8.c.
void hth_q8_panel_avx2(hth_q8_kernels *k); // quantize, panel
void hth_q8_gemm_avx2(hth_q8_kernels *k);
void hth_q8_gemm_avx_vnni(hth_q8_kernels *k);
void hth_q8_gemm_avx512(hth_q8_kernels *k); // VNNI
void hth_q8_panel_wide_avx2(hth_q8_kernels *k, hth_q8_wide wide); // panel_type, panel of those that are wide
void hth_q8_gemm_amx(hth_q8_kernels *k); // quantize_prompt, gemm
void hth_q8_panel_neon(hth_q8_kernels *k);
void hth_q8_gemm_neon(hth_q8_kernels *k); // dotprod
void hth_q8_gemm_i8mm(hth_q8_kernels *k);
// Codebooks that the gemv of IQ types read, the same at every level; each level's gemv has them written.
extern uint32_t hth_wide_grid_iq1[2048], hth_wide_grid_iq2_xxs[256], hth_wide_grid_iq2_xs[512], hth_wide_grid_iq2_s[1024],
    hth_wide_grid_iq3_xxs[256], hth_wide_grid_iq3_s[512];
void hth_q8_widen_grids(void);
void hth_q8_gemv_avx2(hth_q8_kernels *k);
void hth_q8_gemv_avx_vnni(hth_q8_kernels *k);
void hth_q8_gemv_avx512(hth_q8_kernels *k); // VNNI
void hth_q8_gemv_neon(hth_q8_kernels *k);   // dotprod

#endif
