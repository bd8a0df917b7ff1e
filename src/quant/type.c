// The table of tensor types. One row per type; the arithmetic lives in quant/type_<name>.c.
// ggml's numbers index the first array directly (numbers it retired are holes), safetensors' the second.
#include "quant/type_impl.h"

#define ROW(TYPE, name, len, bytes, deq, quant) {HTH_TYPE_##TYPE, name, len, bytes, deq, quant}
#define GGML(TYPE, ...) [HTH_TYPE_##TYPE] = ROW(TYPE, __VA_ARGS__)
#define OTHER(TYPE, ...) [HTH_TYPE_##TYPE - HTH_TYPE_U8] = ROW(TYPE, __VA_ARGS__)

static const hth_type_info ggml_rows[HTH_TYPE_GGML_COUNT] = {
    GGML(F32, "f32", 1, 4, hth_dequantize_f32, hth_quantize_f32),
    GGML(F16, "f16", 1, 2, hth_dequantize_f16, hth_quantize_f16),
    GGML(Q4_0, "q4_0", 32, 18, hth_dequantize_q4_0, hth_quantize_q4_0),
    GGML(Q4_1, "q4_1", 32, 20, hth_dequantize_q4_1, hth_quantize_q4_1),
    GGML(Q5_0, "q5_0", 32, 22, hth_dequantize_q5_0, hth_quantize_q5_0),
    GGML(Q5_1, "q5_1", 32, 24, hth_dequantize_q5_1, hth_quantize_q5_1),
    GGML(Q8_0, "q8_0", 32, 34, hth_dequantize_q8_0, hth_quantize_q8_0),
    GGML(Q8_1, "q8_1", 32, 36, hth_dequantize_q8_1, hth_quantize_q8_1),
    GGML(Q2_K, "q2_K", 256, 84, hth_dequantize_q2_k, hth_quantize_q2_k),
    GGML(Q3_K, "q3_K", 256, 110, hth_dequantize_q3_k, hth_quantize_q3_k),
    GGML(Q4_K, "q4_K", 256, 144, hth_dequantize_q4_k, hth_quantize_q4_k),
    GGML(Q5_K, "q5_K", 256, 176, hth_dequantize_q5_k, hth_quantize_q5_k),
    GGML(Q6_K, "q6_K", 256, 210, hth_dequantize_q6_k, hth_quantize_q6_k),
    GGML(Q8_K, "q8_K", 256, 292, hth_dequantize_q8_k, hth_quantize_q8_k),
    GGML(IQ2_XXS, "iq2_xxs", 256, 66, hth_dequantize_iq2_xxs, NULL),
    GGML(IQ2_XS, "iq2_xs", 256, 74, hth_dequantize_iq2_xs, NULL),
    GGML(IQ3_XXS, "iq3_xxs", 256, 98, hth_dequantize_iq3_xxs, NULL),
    GGML(IQ1_S, "iq1_s", 256, 50, hth_dequantize_iq1_s, NULL),
    GGML(IQ4_NL, "iq4_nl", 32, 18, hth_dequantize_iq4_nl, hth_quantize_iq4_nl),
    GGML(IQ3_S, "iq3_s", 256, 110, hth_dequantize_iq3_s, NULL),
    GGML(IQ2_S, "iq2_s", 256, 82, hth_dequantize_iq2_s, NULL),
    GGML(IQ4_XS, "iq4_xs", 256, 136, hth_dequantize_iq4_xs, hth_quantize_iq4_xs),
    GGML(I8, "i8", 1, 1, hth_dequantize_i8, NULL),
    GGML(I16, "i16", 1, 2, hth_dequantize_i16, NULL),
    GGML(I32, "i32", 1, 4, hth_dequantize_i32, NULL),
    GGML(I64, "i64", 1, 8, hth_dequantize_i64, NULL),
    GGML(F64, "f64", 1, 8, hth_dequantize_f64, NULL),
    GGML(IQ1_M, "iq1_m", 256, 56, hth_dequantize_iq1_m, NULL),
    GGML(BF16, "bf16", 1, 2, hth_dequantize_bf16, hth_quantize_bf16),
    GGML(TQ1_0, "tq1_0", 256, 54, hth_dequantize_tq1_0, hth_quantize_tq1_0),
    GGML(TQ2_0, "tq2_0", 256, 66, hth_dequantize_tq2_0, hth_quantize_tq2_0),
    GGML(MXFP4, "mxfp4", 32, 17, hth_dequantize_mxfp4, hth_quantize_mxfp4),
    GGML(NVFP4, "nvfp4", 64, 36, hth_dequantize_nvfp4, hth_quantize_nvfp4),
    GGML(Q1_0, "q1_0", 128, 18, hth_dequantize_q1_0, hth_quantize_q1_0),
    GGML(Q2_0, "q2_0", 64, 18, hth_dequantize_q2_0, hth_quantize_q2_0),
};

static const hth_type_info other_rows[] = {
    OTHER(U8, "u8", 1, 1, hth_dequantize_u8, NULL),
    OTHER(U16, "u16", 1, 2, hth_dequantize_u16, NULL),
    OTHER(U32, "u32", 1, 4, hth_dequantize_u32, NULL),
    OTHER(U64, "u64", 1, 8, hth_dequantize_u64, NULL),
    OTHER(BOOL, "bool", 1, 1, hth_dequantize_bool, NULL),
    OTHER(F8_E4M3, "f8_e4m3", 1, 1, hth_dequantize_f8_e4m3, NULL),
    OTHER(F8_E5M2, "f8_e5m2", 1, 1, hth_dequantize_f8_e5m2, NULL),
    OTHER(F8_E8M0, "f8_e8m0", 1, 1, hth_dequantize_f8_e8m0, NULL),
};

const hth_type_info *hth_type_get(uint32_t type) {
    const hth_type_info *row = NULL;
    uint32_t other = type - HTH_TYPE_U8; // huge when below
    if (type < HTH_TYPE_GGML_COUNT) row = &ggml_rows[type];
    else if (other < HTH_COUNT(other_rows)) row = &other_rows[other];
    return row && row->name ? row : NULL;
}

// ASCII only: type names hold no other letters, and the C library's tolower follows the locale.
static bool same_name(const char *a, const char *b) {
    for (;; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y) return false;
        if (x == 0) return true;
    }
}

const hth_type_info *hth_type_by_name(const char *name) {
    if (!name) return NULL;
    const hth_type_info *row;
    for (int i = 0; (row = hth_type_at(i)); i++)
        if (same_name(row->name, name)) return row;
    return NULL;
}

const hth_type_info *hth_type_at(int i) {
    if (i < 0) return NULL;
    for (size_t k = 0; k < HTH_COUNT(ggml_rows); k++)
        if (ggml_rows[k].name && i-- == 0) return &ggml_rows[k];
    return (size_t)i < HTH_COUNT(other_rows) ? &other_rows[i] : NULL;
}
