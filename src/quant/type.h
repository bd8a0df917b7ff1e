// Tensor element and block types: the table of every type Hearth reads.
//
// Numbers below 1000 are ggml's own (GGUF stores them). Adding a type is adding one file
// quant/type_<name>.c with its block struct, reference dequantize, reference quantize where the
// format has one, and a row in quant/type.c.
#ifndef HTH_QUANT_TYPE_H
#define HTH_QUANT_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum hth_type {
    HTH_TYPE_F32 = 0, HTH_TYPE_F16 = 1,
    HTH_TYPE_Q4_0 = 2, HTH_TYPE_Q4_1 = 3,
    HTH_TYPE_Q5_0 = 6, HTH_TYPE_Q5_1 = 7, HTH_TYPE_Q8_0 = 8, HTH_TYPE_Q8_1 = 9,
    HTH_TYPE_Q2_K = 10, HTH_TYPE_Q3_K = 11, HTH_TYPE_Q4_K = 12, HTH_TYPE_Q5_K = 13,
    HTH_TYPE_Q6_K = 14, HTH_TYPE_Q8_K = 15,
    HTH_TYPE_IQ2_XXS = 16, HTH_TYPE_IQ2_XS = 17, HTH_TYPE_IQ3_XXS = 18, HTH_TYPE_IQ1_S = 19,
    HTH_TYPE_IQ4_NL = 20, HTH_TYPE_IQ3_S = 21, HTH_TYPE_IQ2_S = 22, HTH_TYPE_IQ4_XS = 23,
    HTH_TYPE_I8 = 24, HTH_TYPE_I16 = 25, HTH_TYPE_I32 = 26, HTH_TYPE_I64 = 27,
    HTH_TYPE_F64 = 28, HTH_TYPE_IQ1_M = 29, HTH_TYPE_BF16 = 30,
    HTH_TYPE_TQ1_0 = 34, HTH_TYPE_TQ2_0 = 35,
    HTH_TYPE_MXFP4 = 39, HTH_TYPE_NVFP4 = 40, HTH_TYPE_Q1_0 = 41, HTH_TYPE_Q2_0 = 42,
    HTH_TYPE_GGML_COUNT = 43,
    // Not ggml's: element types of safetensors files.
    HTH_TYPE_U8 = 1000, HTH_TYPE_U16, HTH_TYPE_U32, HTH_TYPE_U64, HTH_TYPE_BOOL,
    HTH_TYPE_F8_E4M3, HTH_TYPE_F8_E5M2, HTH_TYPE_F8_E8M0,
} hth_type;

// Reads n elements (a multiple of block_len) from blocks at src (any alignment). Bit-exact.
typedef void (*hth_dequantize_fn)(const void *src, float *dst, int64_t n);
// Reference quantizer: n elements (a multiple of block_len); importance (n values) may be NULL.
typedef void (*hth_quantize_fn)(const float *src, void *dst, int64_t n, const float *importance);

typedef struct hth_type_info {
    hth_type type;
    const char *name;     // as llama.cpp spells it in lower case: "q4_K", "iq2_xxs", "bf16"
    uint32_t block_len;   // elements per block, 1 for plain types
    uint32_t block_bytes; // bytes per block
    hth_dequantize_fn dequantize; // never NULL for numeric types
    hth_quantize_fn quantize;     // NULL where no reference quantizer exists yet
} hth_type_info;

// The row of a type, or NULL for a number that is not a type.
const hth_type_info *hth_type_get(uint32_t type);
// The row with this name (any case), or NULL.
const hth_type_info *hth_type_by_name(const char *name);
// Row i of the table for listing, NULL past the end.
const hth_type_info *hth_type_at(int i);

#endif
