// Integer products with AVX-512 VNNI. A group of sixteen rows lies in registers, unsigned; activations come four
// at a time as a broadcast memory operand of vpdpbusd. The integer sum begins at what the codes' zero takes
// away, so that offset codes cost nothing.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/x86/q8_tile512.inc"

typedef int32_t __attribute__((may_alias)) four_bytes;

// sum += w * x. Compilers would load and broadcast by an instruction of its own.
static HTH_ALWAYS_INLINE __m512i dot4(__m512i sum, __m512i w, const int8_t *x) {
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*(const four_bytes *)(const void *)x));
    return sum;
}

enum { SIDE = 4 };

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

// Sixteen rows, n_tok tokens: a number known when compiled, so that sums stay in registers.
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
            const int8_t *xs[SIDE];
            HTH_UNROLL for (int j = 0; j < side; j++) {
                dot[j] = has_min ? _mm512_setzero_si512() : _mm512_set1_epi32(offset[t + j][g]);
                xs[j] = x;
                x += w->q_stride;
                __asm__("" : "+r"(x)); // one register per address; compilers would juggle more
            }
            HTH_UNROLL for (int i = 0; i < group / 4; i++)
                HTH_UNROLL for (int j = 0; j < side; j++) dot[j] = dot4(dot[j], c[i], xs[j] + 4 * i);
            HTH_UNROLL for (int j = 0; j < side; j++) {
                __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(d[t + j][g]));
                sum[t + j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[j]), both, sum[t + j]);
                if (has_min) sum[t + j] = _mm512_fmadd_ps(min, _mm512_set1_ps(dsum[t + j][g]), sum[t + j]);
            }
        }
    }
    HTH_UNROLL for (int t = 0; t < n_tok; t++) _mm512_mask_storeu_ps(y + t * w->y_stride, w->rows, sum[t]);
}

static HTH_ALWAYS_INLINE void multiply_any(const tile *w, const scales *s, int64_t n_tok, const int group,
                                           const bool has_min) {
    if (n_tok == TOKENS) {
        multiply(w, s, 0, TOKENS, group, has_min);
        return;
    }
    int64_t t = 0;
    if (n_tok & 8) multiply(w, s, t, 8, group, has_min), t += 8;
    if (n_tok & 4) multiply(w, s, t, 4, group, has_min), t += 4;
    if (n_tok & 2) multiply(w, s, t, 2, group, has_min), t += 2;
    if (n_tok & 1) multiply(w, s, t, 1, group, has_min);
}

static HTH_ALWAYS_INLINE void gemm_of(const hth_panel *p, const int group, const bool has_min, int zero, int64_t n_row,
                                      int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y, int64_t y_stride) {
    scales s;
    int64_t c = 0;
    do {
        int64_t n_group = (n_col - c < CHUNK ? n_col - c : CHUNK) / group;
        tile w = {.code = p->code + c * 16,
                  .scale = p->scale + c / group * 16,
                  .min = has_min ? p->min + c / group * 16 : NULL,
                  .q_stride = x->q_stride,
                  .n_group = n_group,
                  .y_stride = y_stride,
                  .rows = first_n(n_row),
                  .is_first = c == 0};
        for (int64_t t = 0; t < n_tok; t += TOKENS) {
            int64_t n = n_tok - t < TOKENS ? n_tok - t : TOKENS;
            load_chunk(&s, x, t, n, c, n_group, group, has_min ? BRING_DSUM : BRING_OFFSET, zero);
            w.q = x->q + t * x->q_stride + c;
            w.y = y + t * y_stride;
            multiply_any(&w, &s, n, group, has_min);
        }
        c += CHUNK;
    } while (c < n_col);
}

void hth_q8_gemm_avx512_run(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x,
                            int64_t n_tok, float *y, int64_t y_stride) {
    if (type.group == 32 && type.has_min) gemm_of(w, 32, true, 0, n_row, n_col, x, n_tok, y, y_stride);
    else if (type.group == 32) gemm_of(w, 32, false, type.zero, n_row, n_col, x, n_tok, y, y_stride);
    else if (type.has_min) gemm_of(w, 16, true, 0, n_row, n_col, x, n_tok, y, y_stride);
    else gemm_of(w, 16, false, type.zero, n_row, n_col, x, n_tok, y, y_stride);
}
#endif

void hth_q8_gemm_avx512(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->gemm = hth_q8_gemm_avx512_run;
#else
    (void)k;
#endif
}
