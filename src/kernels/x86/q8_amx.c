// Integer products with AMX tiles: sixteen tokens times sixteen rows. What is left of the tokens goes to the level
// below, which gives the same bits.
//
// A tile product takes 16 cycles whatever its depth, its way to memory as many, and the folding of its 256
// integers into floats 48 to 80 vector operations, which set the pace: products run a few groups ahead of
// folding. Codes with a zero are made signed first, chunk by chunk, so that folding has nothing to take away.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(                                                                                        \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,amx-tile,amx-int8"))),              \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,amx-tile,amx-int8")
#endif

#include "kernels/x86/q8_tile512.inc"

enum { AHEAD = 2, SLOTS = 4 }; // groups that products are ahead of folding; tiles of integers in memory

// The compilers' tile intrinsics do not say that they read memory: what was written must not wait or be dropped.
static HTH_ALWAYS_INLINE void written(const void *p) {
    __asm__ volatile("" : : "r"(p) : "memory");
}

// Registers 0, 1, 6 and 7 sum, 2 and 3 hold tokens, 4 and 5 weights.
static void configure(int group) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = (uint16_t)(i == 2 || i == 3 ? group : 64);
        config.rows[i] = (uint8_t)(i == 4 || i == 5 ? group / 4 : 16);
    }
    written(&config);
    _tile_loadconfig(&config);
}

// codes - zero of a chunk, in signed bytes.
static void make_signed(uint8_t *out, const uint8_t *code, int64_t n, uint8_t zero) {
    const __m512i z = _mm512_set1_epi8((char)zero);
    for (int64_t i = 0; i < n; i += 64)
        _mm512_store_si512(out + i, _mm512_sub_epi8(_mm512_load_si512(code + i), z));
    written(out);
}

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

// One group's product; sets of registers take turns.
#define DEFINE_PRODUCT(name, c, a, b)                                                                                \
    static HTH_ALWAYS_INLINE void name(int32_t *out, const tile *w, int64_t g, const int group, const bool has_min) { \
        _tile_zero(c);                                                                                               \
        _tile_loadd(a, w->q + g * group, w->q_stride);                                                               \
        _tile_loadd(b, w->code + g * group * 16, 64);                                                                \
        if (has_min) _tile_dpbsud(c, a, b);                                                                          \
        else _tile_dpbssd(c, a, b);                                                                                  \
        _tile_stored(c, out, 64);                                                                                    \
    }
DEFINE_PRODUCT(product_0, 0, 2, 4)
DEFINE_PRODUCT(product_1, 1, 3, 5)
DEFINE_PRODUCT(product_2, 6, 2, 4)
DEFINE_PRODUCT(product_3, 7, 3, 5)
#undef DEFINE_PRODUCT

static HTH_ALWAYS_INLINE void fold(__m512 sum[TOKENS], const int32_t *dot, const tile *w, const scales *s, int64_t g,
                                   const bool has_min) {
    __m512 scale = _mm512_load_ps(w->scale + 16 * g), min = _mm512_setzero_ps();
    if (has_min) min = _mm512_load_ps(w->min + 16 * g);
    HTH_UNROLL for (int t = 0; t < TOKENS; t++) {
        __m512 f = _mm512_cvtepi32_ps(_mm512_load_si512(dot + 16 * t));
        sum[t] = _mm512_fmadd_ps(f, _mm512_mul_ps(scale, _mm512_set1_ps(s->d[t][g])), sum[t]);
        if (has_min) sum[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(s->dsum[t][g]), sum[t]);
    }
}

static HTH_ALWAYS_INLINE void multiply(const tile *w, const scales *s, int32_t dots[SLOTS][256], const int group,
                                       const bool has_min) {
    __m512 sum[TOKENS];
    HTH_UNROLL for (int t = 0; t < TOKENS; t++)
        sum[t] = w->is_first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(w->rows, w->y + t * w->y_stride);
    const int64_t n = w->n_group;
    for (int64_t g = 0; g < n + AHEAD; g += SLOTS) {
#define STEP(i)                                                                                                      \
    if (g + i < n) product_##i(dots[i], w, g + i, group, has_min);                                                   \
    if (g + i >= AHEAD && g + i < n + AHEAD) fold(sum, dots[(i + AHEAD) % SLOTS], w, s, g + i - AHEAD, has_min);
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
#undef STEP
    }
    HTH_UNROLL for (int t = 0; t < TOKENS; t++) _mm512_mask_storeu_ps(w->y + t * w->y_stride, w->rows, sum[t]);
}

typedef struct buffers {
    int32_t dots[SLOTS][256];
    uint8_t codes[CHUNK * 16];
    scales s;
} buffers;

// n_tok is a multiple of TOKENS.
static HTH_ALWAYS_INLINE void gemm_of(const hth_panel *p, const int group, const bool has_min, uint8_t zero, int64_t n_row,
                                      int64_t n_col, const hth_q8 *x, int64_t n_tok, float *y, int64_t y_stride) {
    buffers b __attribute__((aligned(64)));
    configure(group);
    for (int64_t c = 0; c < n_col; c += CHUNK) {
        int64_t n_chunk = n_col - c < CHUNK ? n_col - c : CHUNK;
        tile w = {.code = has_min ? p->code + c * 16 : b.codes,
                  .scale = p->scale + c / group * 16,
                  .min = has_min ? p->min + c / group * 16 : NULL,
                  .q_stride = x->q_stride,
                  .n_group = n_chunk / group,
                  .y_stride = y_stride,
                  .rows = first_n(n_row),
                  .is_first = c == 0};
        if (!has_min) make_signed(b.codes, p->code + c * 16, n_chunk * 16, zero);
        for (int64_t t = 0; t < n_tok; t += TOKENS) {
            load_chunk(&b.s, x, t, TOKENS, c, w.n_group, group, has_min ? BRING_DSUM : BRING_D, 0);
            w.q = x->q + t * x->q_stride + c;
            w.y = y + t * y_stride;
            multiply(&w, &b.s, b.dots, group, has_min);
        }
    }
    _tile_release();
}

static void gemm_tiles(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                       float *y, int64_t y_stride) {
    if (type.has_min) gemm_of(w, 32, true, 0, n_row, n_col, x, n_tok, y, y_stride);
    else gemm_of(w, 32, false, type.zero, n_row, n_col, x, n_tok, y, y_stride);
}

// Groups of 16 are too shallow: their folding costs as much as all of vpdpbusd.
static void gemm_amx(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                     float *y, int64_t y_stride) {
    const int64_t whole = type.group == 32 && n_col > 0 ? n_tok / TOKENS * TOKENS : 0;
    if (whole) gemm_tiles(w, type, n_row, n_col, x, whole, y, y_stride);
    if (whole == n_tok) return;
    const hth_q8 rest = {.q = x->q + whole * x->q_stride,
                         .d = x->d + whole * x->d_stride,
                         .sum = x->sum + whole * 2 * x->d_stride,
                         .q_stride = x->q_stride,
                         .d_stride = x->d_stride};
    hth_q8_gemm_avx512_run(w, type, n_row, n_col, &rest, n_tok - whole, y + whole * y_stride, y_stride);
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void hth_q8_gemm_amx(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->gemm = gemm_amx;
#else
    (void)k;
#endif
}
