// Reference of integer products: quantization of activations, conversion to panels, the product. Other levels
// give the same bits.
#include <math.h>
#include <string.h>

#include "base/fp.h"
#include "kernels/levels.h"

// A block with a NaN or an infinity gets a scale of NaN, so that every output it takes part in is NaN. A scale
// below the normal numbers is taken as 0: it would have too few bits for q to stay within 127.
static void quantize_block(const float *x, int8_t *q, float *d, int32_t sum[2]) {
    uint32_t largest = 0; // as bits: NaN above infinity above numbers
    for (int i = 0; i < HTH_Q8_BLOCK; i++) {
        uint32_t bits = hth_f32_bits(x[i]) & 0x7fffffff;
        if (bits > largest) largest = bits;
    }
    *d = largest < 0x7f800000 ? hth_f32_from_bits(largest) / 127.0f : hth_f32_from_bits(0x7fc00000);
    if (*d < 0x1p-126f) *d = 0;
    sum[0] = sum[1] = 0;
    for (int i = 0; i < HTH_Q8_BLOCK; i++) {
        q[i] = *d > 0 ? (int8_t)((x[i] / *d + 0x1.8p23f) - 0x1.8p23f) : 0; // rounds to nearest even
        sum[i / 16] += q[i];
    }
}

static void quantize_ref(const float *x, int64_t n, int8_t *q, float *d, int32_t *sum) {
    for (int64_t i = 0; i < n; i += HTH_Q8_BLOCK)
        quantize_block(x + i, q + i, d + i / HTH_Q8_BLOCK, sum + i / HTH_Q8_BLOCK * 2);
    if (n % 64) memset(q + n, 0, HTH_Q8_BLOCK);
}

static void quantize_prompt_ref(const float *x, int64_t n, const hth_q8 *out, int64_t row) {
    float *d = out->d + row * out->d_stride, *wide_sum = out->wide_sum + row * out->wide_stride;
    int32_t *sum = out->sum + row * 2 * out->d_stride;
    quantize_ref(x, n, out->q + row * out->q_stride, d, sum);
    for (int64_t i = 0; i < n / HTH_Q8_BLOCK; i++) {
        float *w = &wide_sum[i * HTH_Q8_BLOCK / HTH_Q8_WIDE];
        if (i * HTH_Q8_BLOCK % HTH_Q8_WIDE == 0) *w = 0;
        *w += d[i] * (float)(sum[2 * i] + sum[2 * i + 1]);
    }
}

// Column c of a token's tiles; the low part lies 1024 bytes on.
static int8_t *in_tiles(const hth_q8 *x, int64_t token, int64_t c) {
    return x->tiles + c / HTH_Q8_WIDE * x->tile_stride + token / 16 * 8192 + c % HTH_Q8_WIDE / 64 * 2048 + token % 16 * 64 + c % 64;
}

// As for 32, a NaN or an infinity makes the scale NaN, and a scale below the normal numbers is 0.
void hth_ref_q8_quantize_tiles(const float *x, int64_t n, const hth_q8 *out, int64_t row) {
    for (int64_t c = 0; c < (n + 63) / 64 * 64; c += HTH_Q8_WIDE) {
        int64_t len = n - c < HTH_Q8_WIDE ? n - c : HTH_Q8_WIDE;
        uint32_t largest = 0;
        for (int64_t i = 0; i < len; i++) {
            uint32_t bits = hth_f32_bits(x[c + i]) & 0x7fffffff;
            if (bits > largest) largest = bits;
        }
        float d = largest < 0x7f800000 ? hth_f32_from_bits(largest) / 16256.0f : hth_f32_from_bits(0x7fc00000);
        if (d < 0x1p-126f) d = 0;
        int32_t sum = 0;
        for (int64_t i = 0; i < (len + 63) / 64 * 64; i++) {
            int v = i < len && d > 0 ? (int)((x[c + i] / d + 0x1.8p23f) - 0x1.8p23f) : 0;
            int low = ((v + 64) & 127) - 64;
            int8_t *at = in_tiles(out, row, c + i);
            at[0] = (int8_t)((v - low) / 128);
            at[1024] = (int8_t)low;
            sum += v;
        }
        out->wide_d[row * out->wide_stride + c / HTH_Q8_WIDE] = d;
        out->wide_sum[row * out->wide_stride + c / HTH_Q8_WIDE] = d * (float)sum;
    }
}

// --- panels ---

// See levels.h. n_group groups; the codes of one row are replaced.
static void widen(const float *d, const float *m, int n_group, hth_q8_type type, hth_q8_range range, uint8_t *code,
                  float *wide_d, float *wide_m) {
    float lo = INFINITY, hi = -INFINITY, poison = 0;
    for (int g = 0; g < n_group; g++) {
        float a = d[g] * (float)(range.least - type.zero) + m[g], b = d[g] * (float)(range.most - type.zero) + m[g];
        poison += (a - a) + (b - b);
        lo = fminf(lo, fminf(a, b));
        hi = fmaxf(hi, fmaxf(a, b));
    }
    const float step = (hi - lo) / 253.0f + poison;
    *wide_d = !(step < INFINITY) ? NAN : step < HTH_Q8_WIDE_LEAST_STEP ? 0 : step;
    *wide_m = *wide_d > 0 ? lo - step : *wide_d + lo;
    const float f = *wide_d > 0 ? 1.0f / step * 256.0f : 0;
    for (int i = 0; i < n_group * type.group; i++) {
        int g = i / type.group, factor = f > 0 ? (int)rintf(d[g] * f) : 0;
        int base = f > 0 ? (int)rintf((m[g] - lo) * f) + 384 - type.zero * factor : 0;
        code[i] = (uint8_t)((code[i] * factor + base) >> 8 & 255);
    }
}

static void convert_row(uint32_t layout, hth_q8_type panel, const hth_q8_rows *w, int64_t n_col, const hth_panel *out, int64_t r) {
    const hth_q8_type type = hth_q8_type_of(layout);
    for (int64_t c = 0; c < n_col; c += HTH_Q8_WIDE) {
        const int64_t n = n_col - c < HTH_Q8_WIDE ? n_col - c : HTH_Q8_WIDE;
        uint8_t code[HTH_Q8_WIDE];
        float d[16] = {0}, m[16] = {0}, wide_d, wide_m;
        hth_q8_read(layout, w, r, c, n, code, d, m);
        if (panel.group == HTH_Q8_WIDE) {
            widen(d, m, (int)(n / type.group), type, hth_q8_range_of(layout), code, &wide_d, &wide_m);
            d[0] = wide_d, m[0] = wide_m;
        }
        for (int64_t i = 0; i < n; i++) out->code[(c + i) / 4 * 64 + r * 4 + i % 4] = code[i];
        for (int64_t i = 0; i < n; i += panel.group) {
            int64_t at = (c + i) / panel.group * HTH_PANEL_ROWS + r;
            out->scale[at] = d[i / panel.group];
            if (panel.has_min) out->min[at] = m[i / panel.group];
        }
    }
}

void hth_ref_q8_panel(uint32_t layout, hth_q8_type panel, const hth_q8_rows *w, int64_t n_row, int64_t n_col,
                      const hth_panel *out) {
    const int64_t n_code = panel.group == HTH_Q8_WIDE ? (n_col + 63) / 64 * 64 : n_col;
    const int64_t n_scale = (n_col + panel.group - 1) / panel.group * HTH_PANEL_ROWS;
    memset(out->code, 0, (size_t)(n_code * HTH_PANEL_ROWS));
    memset(out->scale, 0, (size_t)n_scale * sizeof(float));
    if (panel.has_min) memset(out->min, 0, (size_t)n_scale * sizeof(float));
    for (int64_t r = 0; r < n_row; r++) convert_row(layout, panel, w, n_col, out, r);
}

// --- products ---

static int code_at(const hth_panel *w, int64_t r, int64_t c) {
    return w->code[c / 4 * 64 + r * 4 + c % 4];
}

static float multiply_narrow(const hth_panel *w, hth_q8_type type, int64_t r, int64_t n_col, const hth_q8 *x, int64_t t) {
    const int8_t *q = x->q + t * x->q_stride;
    const float *d = x->d + t * x->d_stride;
    const int32_t *sum = x->sum + t * 2 * x->d_stride;
    float total = 0;
    for (int64_t c = 0; c < n_col; c += type.group) {
        int32_t dot = 0;
        for (int i = 0; i < type.group; i++) dot += (code_at(w, r, c + i) - type.zero) * q[c + i];
        int64_t at = c / type.group * HTH_PANEL_ROWS + r;
        total = fmaf((float)dot, w->scale[at] * d[c / HTH_Q8_BLOCK], total);
        int32_t q_sum = sum[c / 16] + (type.group == 32 ? sum[c / 16 + 1] : 0);
        if (type.has_min) total = fmaf(w->min[at], d[c / HTH_Q8_BLOCK] * (float)q_sum, total);
    }
    return total;
}

static float multiply_wide(const hth_panel *w, int64_t r, int64_t n_col, const hth_q8 *x, int64_t t) {
    float total = 0;
    for (int64_t c = 0; c < n_col; c += HTH_Q8_WIDE) {
        const int64_t end = n_col - c < HTH_Q8_WIDE ? n_col : c + HTH_Q8_WIDE, g = c / HTH_Q8_WIDE;
        float sum = 0;
        for (int64_t i = c; i < end; i += HTH_Q8_BLOCK) {
            int32_t dot = 0;
            for (int64_t j = i; j < i + HTH_Q8_BLOCK; j++) dot += code_at(w, r, j) * x->q[t * x->q_stride + j];
            sum = fmaf((float)dot, x->d[t * x->d_stride + i / HTH_Q8_BLOCK], sum);
        }
        total = fmaf(sum, w->scale[g * HTH_PANEL_ROWS + r], total);
        total = fmaf(w->min[g * HTH_PANEL_ROWS + r], x->wide_sum[t * x->wide_stride + g], total);
    }
    return total;
}

static float multiply_tiles(const hth_panel *w, int64_t r, int64_t n_col, const hth_q8 *x, int64_t t) {
    float total = 0;
    for (int64_t c = 0; c < n_col; c += HTH_Q8_WIDE) {
        const int64_t end = n_col - c < HTH_Q8_WIDE ? n_col : c + HTH_Q8_WIDE, g = c / HTH_Q8_WIDE;
        int32_t dot = 0;
        for (int64_t i = c; i < end; i++) {
            const int8_t *v = in_tiles(x, x->first + t, i);
            dot += code_at(w, r, i) * (128 * v[0] + v[1024]);
        }
        total = fmaf((float)dot, w->scale[g * HTH_PANEL_ROWS + r] * x->wide_d[t * x->wide_stride + g], total);
        total = fmaf(w->min[g * HTH_PANEL_ROWS + r], x->wide_sum[t * x->wide_stride + g], total);
    }
    return total;
}

static void gemm_ref(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                     float *y, int64_t y_stride) {
    for (int64_t t = 0; t < n_tok; t++) {
        for (int64_t r = 0; r < n_row; r++) {
            const hth_panel *p = &w[r / HTH_PANEL_ROWS];
            const int64_t at = r % HTH_PANEL_ROWS;
            float *out = &y[t * y_stride + r];
            if (x->tiles) *out = multiply_tiles(p, at, n_col, x, t);
            else if (type.group == HTH_Q8_WIDE) *out = multiply_wide(p, at, n_col, x, t);
            else *out = multiply_narrow(p, type, at, n_col, x, t);
        }
    }
}

#define DEFINE_PANEL(T, layout)                                                                                 \
    static void panel_##T##_ref(const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out) {     \
        hth_ref_q8_panel(layout, hth_q8_type_of(layout), w, n_row, n_col, out);                                 \
    }
HTH_Q8_FOR_LAYOUTS(DEFINE_PANEL)
#undef DEFINE_PANEL

void hth_ref_q8_gemm(hth_q8_kernels *k) {
    k->quantize = quantize_ref;
    k->quantize_prompt = quantize_prompt_ref;
    k->gemm = gemm_ref;
#define SET_PANEL(T, layout) k->panel[layout] = panel_##T##_ref;
    HTH_Q8_FOR_LAYOUTS(SET_PANEL)
#undef SET_PANEL
}
