// Integer products with AVX-512 VNNI. A group of sixteen rows lies in registers, unsigned; activations come four
// at a time as a broadcast memory operand of vpdpbusd. The integer sum begins at what the codes' zero takes
// away, so that offset codes cost nothing.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/x86/q8_tile512.inc"

enum { SIDE = 4, CHUNK_WIDE = CHUNK / HTH_Q8_WIDE };

// What tokens bring for a chunk of wide panels.
typedef struct wide_scales {
    float d[TOKENS][CHUNK / 32], sum[TOKENS][CHUNK_WIDE];
} wide_scales;

static HTH_ALWAYS_INLINE void load_chunk_wide(wide_scales *out, const hth_q8 *x, int64_t t, int64_t n_tok, int64_t c,
                                              int64_t n_group) {
    const float *d = x->d + t * x->d_stride + c / 32, *sum = x->wide_sum + t * x->wide_stride + c / HTH_Q8_WIDE;
    const __mmask16 low = first_n(n_group), high = first_n(n_group - 16), wide = first_n((n_group + 7) / 8);
    for (int64_t i = 0; i < n_tok; i++, d += x->d_stride, sum += x->wide_stride) {
        _mm512_storeu_ps(out->d[i], _mm512_maskz_loadu_ps(low, d));
        _mm512_storeu_ps(out->d[i] + 16, _mm512_maskz_loadu_ps(high, d + 16));
        _mm_storeu_ps(out->sum[i], _mm_maskz_loadu_ps((__mmask8)wide, sum));
    }
}

typedef int32_t __attribute__((may_alias)) four_bytes;

// sum += w * x. Compilers would load and broadcast by an instruction of its own.
static HTH_ALWAYS_INLINE __m512i dot4(__m512i sum, __m512i w, const int8_t *x) {
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*(const four_bytes *)(const void *)x));
    return sum;
}

// Sixteen rows of a chunk of columns.
typedef struct tile {
    const uint8_t *code;
    const float *scale, *min; // of the chunk
    const int8_t *q;
    int64_t q_stride, n_group;
    float *y;
    int64_t y_stride;
    __mmask16 rows;
    bool is_first; // chunk of the columns
} tile;

// dot[0 ... n - 1] += the codes of a group times q of n tokens, of which x is the first. Returns the next one.
static HTH_ALWAYS_INLINE const int8_t *add_group(__m512i dot[SIDE], const __m512i c[8], const int8_t *x, int64_t q_stride,
                                                 const int n, const int group) {
    const int8_t *xs[SIDE];
    HTH_UNROLL for (int j = 0; j < n; j++) {
        xs[j] = x;
        x += q_stride;
        __asm__("" : "+r"(x)); // one register per address; compilers would juggle more
    }
    HTH_UNROLL for (int i = 0; i < group / 4; i++)
        HTH_UNROLL for (int j = 0; j < n; j++) dot[j] = dot4(dot[j], c[i], xs[j] + 4 * i);
    return x;
}

typedef union any_scales {
    scales narrow;
    wide_scales wide;
} any_scales;

// n_tok tokens: a number known when compiled, so that sums stay in registers.
static HTH_ALWAYS_INLINE void multiply(const tile *w, const scales *s, int64_t first, const int n_tok, const int group,
                                       const bool has_min) {
    const int side = n_tok < SIDE ? n_tok : SIDE;
    __m512 sum[TOKENS];
    const int8_t *q = w->q + first * w->q_stride;
    const float (*d)[CHUNK_GROUPS] = s->d + first, (*dsum)[CHUNK_GROUPS] = s->dsum + first;
    const int32_t (*offset)[CHUNK_GROUPS] = s->offset + first;
    float *y = w->y + first * w->y_stride;
    HTH_UNROLL for (int t = 0; t < n_tok; t++)
        sum[t] = w->is_first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(w->rows, y + t * w->y_stride);
    const uint8_t *code = w->code;
    const int64_t n_group = w->n_group;
    for (int64_t g = 0; g < n_group; g++, code += group * 16, q += group) {
        __m512i c[8];
        HTH_UNROLL for (int i = 0; i < group / 4; i++) c[i] = _mm512_load_si512(code + 64 * i);
        __m512 scale = _mm512_load_ps(w->scale + 16 * g), min = _mm512_setzero_ps();
        if (has_min) min = _mm512_load_ps(w->min + 16 * g);
        // Some tokens side by side: the sums of one would wait for each other.
        const int8_t *x = q;
        HTH_UNROLL for (int t = 0; t < n_tok; t += side) {
            __m512i dot[SIDE];
            HTH_UNROLL for (int j = 0; j < side; j++)
                dot[j] = has_min ? _mm512_setzero_si512() : _mm512_set1_epi32(offset[t + j][g]);
            x = add_group(dot, c, x, w->q_stride, side, group);
            HTH_UNROLL for (int j = 0; j < side; j++) {
                __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(d[t + j][g]));
                sum[t + j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[j]), both, sum[t + j]);
                if (has_min) sum[t + j] = _mm512_fmadd_ps(min, _mm512_set1_ps(dsum[t + j][g]), sum[t + j]);
            }
        }
    }
    HTH_UNROLL for (int t = 0; t < n_tok; t++) _mm512_mask_storeu_ps(y + t * w->y_stride, w->rows, sum[t]);
}

// Of wide panels: within 256 columns only the tokens' scales change, so that groups meet them alone.
static HTH_ALWAYS_INLINE void multiply_wide(const tile *w, const wide_scales *s, int64_t first, const int n_tok) {
    const int side = n_tok < SIDE ? n_tok : SIDE;
    const int8_t *q = w->q + first * w->q_stride;
    const float (*d)[CHUNK / 32] = s->d + first, (*wide_sum)[CHUNK_WIDE] = s->sum + first;
    const uint8_t *code = w->code;
    for (int64_t g = 0; g < w->n_group; g += 8) {
        __m512 sum[TOKENS];
        HTH_UNROLL for (int t = 0; t < n_tok; t++) sum[t] = _mm512_setzero_ps();
        const int64_t end = w->n_group - g < 8 ? w->n_group : g + 8;
        for (int64_t i = g; i < end; i++, code += 32 * 16, q += 32) {
            __m512i c[8];
            HTH_UNROLL for (int j = 0; j < 8; j++) c[j] = _mm512_load_si512(code + 64 * j);
            const int8_t *x = q;
            HTH_UNROLL for (int t = 0; t < n_tok; t += side) {
                __m512i dot[SIDE];
                HTH_UNROLL for (int j = 0; j < side; j++) dot[j] = _mm512_setzero_si512();
                x = add_group(dot, c, x, w->q_stride, side, 32);
                HTH_UNROLL for (int j = 0; j < side; j++)
                    sum[t + j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[j]), _mm512_set1_ps(d[t + j][i]), sum[t + j]);
            }
        }
        const __m512 scale = _mm512_load_ps(w->scale + 2 * g), min = _mm512_load_ps(w->min + 2 * g);
        const __mmask16 before = w->is_first && g == 0 ? 0 : w->rows;
        float *y = w->y + first * w->y_stride;
        HTH_UNROLL for (int t = 0; t < n_tok; t++, y += w->y_stride) {
            __m512 total = _mm512_fmadd_ps(sum[t], scale, _mm512_maskz_loadu_ps(before, y));
            total = _mm512_fmadd_ps(min, _mm512_set1_ps(wide_sum[t][g / 8]), total);
            _mm512_mask_storeu_ps(y, w->rows, total);
        }
    }
}

static HTH_ALWAYS_INLINE void multiply_tokens(const tile *w, const any_scales *s, int64_t first, const int n_tok,
                                              const int group, const bool has_min) {
    if (group == HTH_Q8_WIDE) multiply_wide(w, &s->wide, first, n_tok);
    else multiply(w, &s->narrow, first, n_tok, group, has_min);
}

static HTH_ALWAYS_INLINE void multiply_any(const tile *w, const any_scales *s, int64_t n_tok, const int group,
                                           const bool has_min) {
    if (n_tok == TOKENS) {
        multiply_tokens(w, s, 0, TOKENS, group, has_min);
        return;
    }
    int64_t t = 0;
    if (n_tok & 8) multiply_tokens(w, s, t, 8, group, has_min), t += 8;
    if (n_tok & 4) multiply_tokens(w, s, t, 4, group, has_min), t += 4;
    if (n_tok & 2) multiply_tokens(w, s, t, 2, group, has_min), t += 2;
    if (n_tok & 1) multiply_tokens(w, s, t, 1, group, has_min);
}

// What tokens bring is loaded once for all panels. group: 16, 32 or 256.
static HTH_ALWAYS_INLINE void gemm_of(const hth_panel *p, const int group, const bool has_min, int zero, int64_t n_row,
                                      int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y, int64_t y_stride) {
    const int step = group == HTH_Q8_WIDE ? 32 : group;
    any_scales s;
    int64_t c = 0;
    do {
        const int64_t n_group = (n_col - c < CHUNK ? n_col - c : CHUNK) / step;
        for (int64_t t = 0; t < n_tok; t += TOKENS) {
            const int64_t n = n_tok - t < TOKENS ? n_tok - t : TOKENS;
            if (group == HTH_Q8_WIDE) load_chunk_wide(&s.wide, x, t, n, c, n_group);
            else load_chunk(&s.narrow, x, t, n, c, n_group, group, has_min ? BRING_DSUM : BRING_OFFSET, zero);
            for (int64_t r = 0; r < n_row; r += HTH_PANEL_ROWS) {
                const hth_panel *panel = &p[r / HTH_PANEL_ROWS];
                const tile w = {.code = panel->code + c * 16,
                                .scale = panel->scale + c / group * 16,
                                .min = has_min ? panel->min + c / group * 16 : NULL,
                                .q = x->q + t * x->q_stride + c,
                                .q_stride = x->q_stride,
                                .n_group = n_group,
                                .y = y + t * y_stride + r,
                                .y_stride = y_stride,
                                .rows = first_n(n_row - r),
                                .is_first = c == 0};
                multiply_any(&w, &s, n, group, has_min);
            }
        }
        c += CHUNK;
    } while (c < n_col);
}

static void gemm_avx512(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                        float *y, int64_t y_stride) {
    if (type.group == HTH_Q8_WIDE) gemm_of(w, HTH_Q8_WIDE, true, 0, n_row, n_col, x, n_tok, y, y_stride);
    else if (type.group == 32 && type.has_min) gemm_of(w, 32, true, 0, n_row, n_col, x, n_tok, y, y_stride);
    else if (type.group == 32) gemm_of(w, 32, false, type.zero, n_row, n_col, x, n_tok, y, y_stride);
    else if (type.has_min) gemm_of(w, 16, true, 0, n_row, n_col, x, n_tok, y, y_stride);
    else gemm_of(w, 16, false, type.zero, n_row, n_col, x, n_tok, y, y_stride);
}
#endif

void hth_q8_gemm_avx512(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->gemm = gemm_avx512;
#else
    (void)k;
#endif
}
