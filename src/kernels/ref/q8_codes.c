// Blocks of every type in the terms of q8.h: unsigned codes, and per group D and M. This is the reference that
// all converters and products are checked against; it follows dequantize of quant/type_<name>.c, where the
// layouts are drawn, so that D * code + M is what dequantize gives: to the bit for types with a zero, and for
// types with a minimum but for the rounding of the sum.
#include "kernels/levels.h"
#include "quant/grid.h"
#include "quant/type_impl.h"

// --- types of 32 numbers and a scale ---

static void put_nibbles(const uint8_t *qs, int n, uint8_t *code) {
    for (int j = 0; j < n; j++) {
        code[j] = qs[j] & 15;
        code[j + n] = qs[j] >> 4;
    }
}

static void codes_q4_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = load_f16(b);
    put_nibbles(b + 2, 16, code);
}

static void codes_q4_1(const uint8_t *b, uint8_t *code, float *d, float *m) {
    d[0] = load_f16(b);
    m[0] = load_f16(b + 2);
    put_nibbles(b + 4, 16, code);
}

static void add_fifth_bits(uint32_t bits, uint8_t code[32]) {
    for (int j = 0; j < 32; j++) code[j] |= (uint8_t)((bits >> j & 1) << 4);
}

static void codes_q5_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = load_f16(b);
    put_nibbles(b + 6, 16, code);
    add_fifth_bits(hth_load_u32(b + 2), code);
}

static void codes_q5_1(const uint8_t *b, uint8_t *code, float *d, float *m) {
    d[0] = load_f16(b);
    m[0] = load_f16(b + 2);
    put_nibbles(b + 8, 16, code);
    add_fifth_bits(hth_load_u32(b + 4), code);
}

static void codes_q8_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = load_f16(b);
    for (int j = 0; j < 32; j++) code[j] = b[2 + j] ^ 128; // from two's complement to offset 128
}

static void put_levels(const uint8_t *qs, int n, const int8_t level[16], int zero, uint8_t *code) {
    for (int j = 0; j < n; j++) {
        code[j] = (uint8_t)(level[qs[j] & 15] + zero);
        code[j + n] = (uint8_t)(level[qs[j] >> 4] + zero);
    }
}

static void codes_iq4_nl(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = load_f16(b);
    put_levels(b + 2, 16, hth_iq4_values, 128, code);
}

static void codes_mxfp4(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = e8m0_half(b[0]);
    put_levels(b + 1, 16, hth_e2m1_twice, 12, code);
}

// Half of the scale, see quant/type_nvfp4.c.
static float nvfp4_half(uint8_t v) {
    if (v == 0x7f) return 0;
    int exp = v >> 3 & 15, man = v & 7;
    if (exp == 0) return (float)man * 0x1p-10f;
    return hth_f32_from_bits((uint32_t)(exp + 119) << 23 | (uint32_t)man << 20);
}

static void codes_nvfp4(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 4; g++) {
        d[g] = nvfp4_half(b[g]);
        put_levels(b + 4 + 8 * g, 8, hth_e2m1_twice, 12, code + 16 * g);
    }
}

static void codes_q1_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 4; g++) d[g] = load_f16(b);
    for (int j = 0; j < 128; j++) code[j] = (uint8_t)((b[2 + j / 8] >> (j % 8) & 1) * 2);
}

static void codes_q2_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 2; g++) d[g] = load_f16(b);
    for (int j = 0; j < 64; j++) code[j] = b[2 + j / 4] >> (2 * (j % 4)) & 3;
}

// --- types of 256 numbers ---

static void codes_q2_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    float step = load_f16(b + 80), min = load_f16(b + 82);
    for (int g = 0; g < 16; g++) {
        d[g] = step * (float)(b[g] & 15);
        m[g] = -(min * (float)(b[g] >> 4));
        const uint8_t *qs = b + 16 + g / 8 * 32 + g % 2 * 16;
        for (int j = 0; j < 16; j++) code[16 * g + j] = qs[j] >> (g % 8 / 2 * 2) & 3;
    }
}

static void codes_q3_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    const uint8_t *scales = b + 96;
    float step = load_f16(b + 108);
    for (int g = 0; g < 16; g++) {
        int low = scales[g % 8] >> (g / 8 * 4) & 15, top = scales[8 + g % 4] >> (g / 4 * 2) & 3;
        d[g] = step * (float)((low | top << 4) - 32);
        const uint8_t *qs = b + 32 + g / 8 * 32 + g % 2 * 16, *high = b + g % 2 * 16;
        for (int j = 0; j < 16; j++)
            code[16 * g + j] = (uint8_t)((qs[j] >> (g % 8 / 2 * 2) & 3) | (high[j] >> (g / 2) & 1) << 2);
    }
}

static void put_k4_scales(const uint8_t *b, float d[8], float m[8]) {
    float step = load_f16(b), min = load_f16(b + 2);
    uint8_t scales[8], mins[8];
    unpack_scales_k4(b + 4, scales, mins);
    for (int g = 0; g < 8; g++) {
        d[g] = step * (float)scales[g];
        m[g] = -(min * (float)mins[g]);
    }
}

static void codes_q4_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    put_k4_scales(b, d, m);
    for (int g = 0; g < 8; g += 2) put_nibbles(b + 16 + 16 * g, 32, code + 32 * g);
}

static void codes_q5_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    put_k4_scales(b, d, m);
    for (int g = 0; g < 8; g += 2) put_nibbles(b + 48 + 16 * g, 32, code + 32 * g);
    for (int k = 0; k < 256; k++) code[k] |= (uint8_t)((b[16 + k % 32] >> (k / 32) & 1) << 4);
}

static void codes_q6_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    float step = load_f16(b + 208);
    for (int g = 0; g < 16; g++) {
        d[g] = step * (float)(int8_t)b[192 + g];
        int half = g / 8, quarter = g % 8 / 2, first = g % 2 * 16;
        const uint8_t *ql = b + half * 64 + quarter % 2 * 32 + first, *qh = b + 128 + half * 32 + first;
        for (int j = 0; j < 16; j++)
            code[16 * g + j] = (uint8_t)((ql[j] >> (quarter / 2 * 4) & 15) | (qh[j] >> (quarter * 2) & 3) << 4);
    }
}

static void codes_iq4_xs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    float step = load_f16(b);
    int high = hth_load_u16(b + 2);
    for (int g = 0; g < 8; g++) {
        int scale = (b[4 + g / 2] >> (g % 2 * 4) & 15) | (high >> (2 * g) & 3) << 4;
        d[g] = step * (float)(scale - 32);
        put_levels(b + 8 + 16 * g, 16, hth_iq4_values, 128, code + 32 * g);
    }
}

static void put_trits(const uint8_t *bytes, int n_byte, int n_trit, uint8_t *code) {
    for (int k = 0, pow3 = 1; k < n_trit; k++, pow3 *= 3)
        for (int i = 0; i < n_byte; i++) code[k * n_byte + i] = (uint8_t)((bytes[i] * pow3 & 255) * 3 >> 8);
}

static void codes_tq1_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) d[g] = load_f16(b + 52);
    put_trits(b, 32, 5, code);
    put_trits(b + 32, 16, 5, code + 160);
    put_trits(b + 48, 4, 4, code + 240);
}

static void codes_tq2_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) {
        d[g] = load_f16(b + 64);
        for (int j = 0; j < 32; j++) code[32 * g + j] = b[g / 4 * 32 + j] >> (2 * (g % 4)) & 3;
    }
}

// --- types with a codebook ---

static uint8_t signed_code(int zero, int level, uint8_t signs, int j) {
    return (uint8_t)(signs >> j & 1 ? zero - level : zero + level);
}

static void put_iq2(uint16_t entry, uint8_t signs, uint8_t code[8]) {
    for (int j = 0; j < 8; j++) code[j] = signed_code(64, grid_level_iq2(entry, j), signs, j);
}

static void codes_iq2_xxs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) {
        const uint8_t *index = b + 2 + 8 * g;
        uint32_t rest = hth_load_u32(index + 4);
        d[g] = load_f16(b) * (0.5f + (float)(rest >> 28)) * 0.25f;
        for (int e = 0; e < 4; e++, code += 8)
            put_iq2(hth_grid_iq2_xxs[index[e]], grid_even_signs(rest >> (7 * e)), code);
    }
}

static void put_iq2_scales(const uint8_t *b, const uint8_t *scales, float d[16]) {
    for (int g = 0; g < 16; g++)
        d[g] = load_f16(b) * (0.5f + (float)(scales[g / 2] >> (g % 2 * 4) & 15)) * 0.25f;
}

static void codes_iq2_xs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    put_iq2_scales(b, b + 66, d);
    for (int e = 0; e < 32; e++, code += 8) {
        int word = hth_load_u16(b + 2 + 2 * e);
        put_iq2(hth_grid_iq2_xs[word & 511], grid_even_signs((uint32_t)word >> 9), code);
    }
}

static void codes_iq2_s(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    put_iq2_scales(b, b + 74, d);
    for (int e = 0; e < 32; e++, code += 8)
        put_iq2(hth_grid_iq2_s[b[2 + e] | (b[66 + e / 4] >> (e % 4 * 2) & 3) << 8], b[34 + e], code);
}

static void codes_iq3_xxs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int e = 0; e < 64; e++, code += 4) {
        uint32_t rest = hth_load_u32(b + 66 + e / 8 * 4);
        d[e / 8] = load_f16(b) * (0.5f + (float)(rest >> 28)) * 0.5f;
        uint16_t entry = hth_grid_iq3_xxs[b[2 + e]];
        uint8_t signs = grid_even_signs(rest >> (e / 2 % 4 * 7)) >> (e % 2 * 4);
        for (int j = 0; j < 4; j++) code[j] = signed_code(64, grid_level_iq3_xxs(entry, j), signs, j);
    }
}

static void codes_iq3_s(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int e = 0; e < 64; e++, code += 4) {
        int g = e / 8, scale = b[106 + g / 2] >> (g % 2 * 4) & 15;
        d[g] = load_f16(b) * (float)(2 * scale + 1);
        uint16_t entry = hth_grid_iq3_s[b[2 + e] | (b[66 + g] >> (e % 8) & 1) << 8];
        uint8_t signs = b[74 + e / 2] >> (e % 2 * 4);
        for (int j = 0; j < 4; j++) code[j] = signed_code(16, grid_level_iq3_s(entry, j), signs, j);
    }
}

// Levels -1, 0, 1 shifted by an eighth are whole numbers of eighths: no minimum is needed, and the shift
// may change within a group.
static void put_iq1(uint16_t entry, bool minus, uint8_t code[8]) {
    for (int j = 0; j < 8; j++) code[j] = (uint8_t)(16 + 8 * grid_level_iq1(entry, j) + (minus ? -1 : 1));
}

static void codes_iq1_s(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int e = 0; e < 32; e++, code += 8) {
        int word = hth_load_u16(b + 34 + e / 4 * 2);
        d[e / 4] = load_f16(b) * (float)(2 * (word >> 12 & 7) + 1) * 0.125f;
        put_iq1(hth_grid_iq1[b[2 + e] | (word >> (e % 4 * 3) & 7) << 8], word & 0x8000, code);
    }
}

static void codes_iq1_m(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    int half = 0;
    for (int k = 0; k < 4; k++) half |= hth_load_u16(b + 48 + 2 * k) >> 12 << (4 * k);
    for (int e = 0; e < 32; e++, code += 8) {
        int g = e / 2, nibble = b[32 + g] >> (e % 2 * 4) & 15;
        int scale = hth_load_u16(b + 48 + g / 4 * 2) >> (g % 4 * 3) & 7;
        d[g] = hth_f16_to_f32((uint16_t)half) * (float)(2 * scale + 1) * 0.125f;
        put_iq1(hth_grid_iq1[b[e] | (nibble & 7) << 8], nibble & 8, code);
    }
}

// --- planes ---

static void read_planes(uint32_t layout, const hth_q8_rows *w, int64_t row, int64_t c, int64_t n, uint8_t *code) {
    static const int bits_of[] = {2, 3, 4, 5, 6, 8, 4, 4};
    const int bits = bits_of[layout - HTH_Q8_AFFINE_2];
    const uint8_t *p = w->code + row * w->row_bytes + c * bits / 8;
    for (int64_t i = 0; i < n; i += 8, p += bits) { // eight codes fill `bits` bytes
        const uint64_t word = hth_load_bytes(p, bits);
        for (int k = 0; k < 8; k++) {
            const uint8_t v = (uint8_t)(word >> (bits * k) & ((1u << bits) - 1));
            code[i + k] = layout >= HTH_Q8_E2M1 ? (uint8_t)(12 + hth_e2m1_twice[v]) : v;
        }
    }
}

static float read_number(const uint8_t *plane, uint32_t type, int64_t i) {
    if (type == HTH_TYPE_F32) return hth_f32_from_bits(hth_load_u32(plane + 4 * i));
    return type == HTH_TYPE_F16 ? hth_f16_to_f32(hth_load_u16(plane + 2 * i)) : hth_bf16_to_f32(hth_load_u16(plane + 2 * i));
}

void hth_q8_read_scales(uint32_t layout, const hth_q8_rows *w, int64_t row, int64_t c, int64_t n, float *d, float *m) {
    const uint8_t *scale = w->scale + row * w->scale_bytes, *bias = w->bias ? w->bias + row * w->scale_bytes : NULL;
    const int64_t step = layout == HTH_Q8_E2M1_16 ? 16 : 32;
    for (int64_t at = c, end; at < c + n; at = end) { // columns of one scale
        const int64_t i = at / w->group;
        float v, b = 0;
        end = (i + 1) * w->group < c + n ? (i + 1) * w->group : c + n;
        if (layout == HTH_Q8_E2M1) v = 0.5f * hth_e8m0_to_f32(scale[i]);
        else if (layout == HTH_Q8_E2M1_16) v = 0.5f * hth_e4m3_to_f32(scale[i]);
        else v = read_number(scale, w->scale_type, i), b = read_number(bias, w->scale_type, i);
        for (int64_t k = (at - c) / step; k < (end - c) / step; k++) d[k] = v, m[k] = b;
    }
}

const char *hth_q8_layout_name(uint32_t layout) {
    static const char *const names[] = {"affine2", "affine3", "affine4", "affine5", "affine6", "affine8", "e2m1", "e2m1_16"};
    if (layout >= HTH_TYPE_GGML_COUNT) return layout < HTH_Q8_LAYOUTS ? names[layout - HTH_Q8_AFFINE_2] : NULL;
    const hth_type_info *info = hth_type_get(layout);
    return info ? info->name : NULL;
}

int64_t hth_q8_layout_unit(uint32_t layout) {
    if (layout >= HTH_TYPE_GGML_COUNT) return layout == HTH_Q8_AFFINE_2 || layout == HTH_Q8_AFFINE_3 ? 64 : 32;
    return hth_type_get(layout)->block_len;
}

static const struct row {
    hth_q8_type type;
    hth_q8_codes_fn codes;
    hth_q8_range range;
    bool is_wide; // where some panels are
} rows[HTH_Q8_LAYOUTS] = {
    [HTH_TYPE_Q4_0] = {{32, 8, false}, codes_q4_0, {0, 15}, false},
    [HTH_TYPE_Q4_1] = {{32, 0, true}, codes_q4_1, {0, 15}, false},
    [HTH_TYPE_Q5_0] = {{32, 16, false}, codes_q5_0, {0, 31}, false},
    [HTH_TYPE_Q5_1] = {{32, 0, true}, codes_q5_1, {0, 31}, false},
    [HTH_TYPE_Q8_0] = {{32, 128, false}, codes_q8_0, {0, 255}, false},
    [HTH_TYPE_Q2_K] = {{16, 0, true}, codes_q2_k, {0, 3}, true},
    [HTH_TYPE_Q3_K] = {{16, 4, false}, codes_q3_k, {0, 7}, true},
    [HTH_TYPE_Q4_K] = {{32, 0, true}, codes_q4_k, {0, 15}, true},
    [HTH_TYPE_Q5_K] = {{32, 0, true}, codes_q5_k, {0, 31}, true},
    [HTH_TYPE_Q6_K] = {{16, 32, false}, codes_q6_k, {0, 63}, true},
    [HTH_TYPE_IQ4_NL] = {{32, 128, false}, codes_iq4_nl, {1, 241}, false},
    [HTH_TYPE_IQ4_XS] = {{32, 128, false}, codes_iq4_xs, {1, 241}, true},
    [HTH_TYPE_IQ2_XXS] = {{32, 64, false}, codes_iq2_xxs, {21, 107}, true},
    [HTH_TYPE_IQ2_XS] = {{16, 64, false}, codes_iq2_xs, {21, 107}, true},
    [HTH_TYPE_IQ2_S] = {{16, 64, false}, codes_iq2_s, {21, 107}, true},
    [HTH_TYPE_IQ3_XXS] = {{32, 64, false}, codes_iq3_xxs, {2, 126}, true},
    [HTH_TYPE_IQ3_S] = {{32, 16, false}, codes_iq3_s, {1, 31}, true},
    [HTH_TYPE_IQ1_S] = {{32, 16, false}, codes_iq1_s, {7, 25}, true},
    [HTH_TYPE_IQ1_M] = {{16, 16, false}, codes_iq1_m, {7, 25}, true},
    [HTH_TYPE_TQ1_0] = {{32, 1, false}, codes_tq1_0, {0, 2}, true},
    [HTH_TYPE_TQ2_0] = {{32, 1, false}, codes_tq2_0, {0, 2}, true},
    [HTH_TYPE_MXFP4] = {{32, 12, false}, codes_mxfp4, {0, 24}, false},
    [HTH_TYPE_NVFP4] = {{16, 12, false}, codes_nvfp4, {0, 24}, false},
    [HTH_TYPE_Q1_0] = {{32, 1, false}, codes_q1_0, {0, 2}, false},
    [HTH_TYPE_Q2_0] = {{32, 1, false}, codes_q2_0, {0, 3}, false},
    [HTH_Q8_AFFINE_2] = {{32, 0, true}, NULL, {0, 3}, false},
    [HTH_Q8_AFFINE_3] = {{32, 0, true}, NULL, {0, 7}, false},
    [HTH_Q8_AFFINE_4] = {{32, 0, true}, NULL, {0, 15}, false},
    [HTH_Q8_AFFINE_5] = {{32, 0, true}, NULL, {0, 31}, false},
    [HTH_Q8_AFFINE_6] = {{32, 0, true}, NULL, {0, 63}, false},
    [HTH_Q8_AFFINE_8] = {{32, 0, true}, NULL, {0, 255}, false},
    [HTH_Q8_E2M1] = {{32, 12, false}, NULL, {0, 24}, false},
    [HTH_Q8_E2M1_16] = {{16, 12, false}, NULL, {0, 24}, false},
};

hth_q8_codes_fn hth_q8_codes(uint32_t type) {
    return type < HTH_TYPE_GGML_COUNT ? rows[type].codes : NULL;
}

hth_q8_type hth_q8_type_of(uint32_t layout) {
    return layout < HTH_Q8_LAYOUTS ? rows[layout].type : (hth_q8_type){0, 0, false};
}

hth_q8_range hth_q8_range_of(uint32_t layout) {
    return layout < HTH_Q8_LAYOUTS ? rows[layout].range : (hth_q8_range){0, 0};
}

hth_q8_type hth_q8_panel_type_of(uint32_t layout, hth_q8_wide wide) {
    if (layout >= HTH_Q8_LAYOUTS || !rows[layout].type.group) return (hth_q8_type){0, 0, false};
    bool is_wide = wide == HTH_Q8_ALL_WIDE || (wide == HTH_Q8_SOME_WIDE && rows[layout].is_wide);
    return is_wide ? (hth_q8_type){HTH_Q8_WIDE, 0, true} : rows[layout].type;
}

void hth_q8_read(uint32_t layout, const hth_q8_rows *w, int64_t row, int64_t c, int64_t n, uint8_t *code, float *d, float *m) {
    if (layout >= HTH_TYPE_GGML_COUNT) {
        read_planes(layout, w, row, c, n, code);
        hth_q8_read_scales(layout, w, row, c, n, d, m);
        return;
    }
    const hth_type_info *info = hth_type_get(layout);
    const int group = rows[layout].type.group;
    const uint8_t *block = w->code + row * w->row_bytes + c / info->block_len * info->block_bytes;
    for (int64_t i = 0; i < n; i += info->block_len, block += info->block_bytes)
        rows[layout].codes(block, code + i, d + i / group, m + i / group);
}
