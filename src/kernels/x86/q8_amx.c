// Integer products with AMX tiles, where multiplying is so cheap that activations come in 16 bits: a high and a low
// tile of sixteen tokens, times two tiles of sixteen rows of wide panels. Their four tiles of sums go through
// memory to be folded into floats once in 256 columns, while the next but one are multiplied.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "base/fp.h"

#if defined(__clang__)
#pragma clang attribute push(                                                                                        \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,amx-tile,amx-int8"))),              \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi2,amx-tile,amx-int8")
#endif

#include "kernels/x86/amx.inc"

enum { TOKENS = 16, DEPTH = 64, TILE = TOKENS * DEPTH, BLOCK = 2 * TILE * HTH_Q8_WIDE / DEPTH, ROWS = 64, GROUP = 64 };

// --- activations ---

static HTH_ALWAYS_INLINE uint32_t largest_of(const float *x, int64_t n) {
    __m512i a = _mm512_setzero_si512();
    for (int64_t i = 0; i < n; i += 16)
        a = _mm512_max_epi32(a, _mm512_castps_si512(_mm512_abs_ps(_mm512_loadu_ps(x + i))));
    return (uint32_t)_mm512_reduce_max_epi32(a);
}

static void quantize_prompt_amx(const float *x, int64_t n, const hth_q8 *out, int64_t row) {
    int8_t *tile = out->tiles + row / TOKENS * BLOCK + row % TOKENS * DEPTH;
    float *wide_d = out->wide_d + row * out->wide_stride, *wide_sum = out->wide_sum + row * out->wide_stride;
    const __m512i half = _mm512_set1_epi32(64), mask = _mm512_set1_epi32(127);
    for (int64_t c = 0; c < n; c += HTH_Q8_WIDE) {
        const int64_t len = n - c < HTH_Q8_WIDE ? n - c : HTH_Q8_WIDE;
        const uint32_t largest = largest_of(x + c, len); // as bits: NaN above infinity above numbers
        float d = largest < 0x7f800000 ? hth_f32_from_bits(largest) / 16256.0f : hth_f32_from_bits(0x7fc00000);
        if (d < 0x1p-126f) d = 0;
        const __mmask16 some = d > 0 ? 0xffff : 0;
        __m512i sum = _mm512_setzero_si512();
        for (int64_t i = 0; i < (len + 63) / 64 * 64; i += 16) {
            int8_t *at = tile + i / DEPTH * 2 * TILE + i % DEPTH;
            __m512 scaled = i < len ? _mm512_maskz_div_ps(some, _mm512_loadu_ps(x + c + i), _mm512_set1_ps(d)) : _mm512_setzero_ps();
            __m512i v = _mm512_cvtps_epi32(scaled);
            __m512i low = _mm512_sub_epi32(_mm512_and_si512(_mm512_add_epi32(v, half), mask), half);
            __m512i high = _mm512_srai_epi32(_mm512_sub_epi32(v, low), 7);
            _mm_storeu_si128((__m128i *)(void *)at, _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((__m128i *)(void *)(at + TILE), _mm512_cvtepi32_epi8(low));
            sum = _mm512_add_epi32(sum, v);
        }
        *wide_d++ = d;
        *wide_sum++ = d * (float)_mm512_reduce_add_epi32(sum);
        tile += out->tile_stride;
    }
}

// --- products ---

// Where the columns of a job lie decides where its floats come from and go to. ANY: few tokens, or all columns.
typedef enum place { NOWHERE, FIRST, MIDDLE, LAST, ANY } place;

// The work on one set of sums: sixteen tokens times two panels, which may be the same, over up to 256 columns. Of the
// tokens [first, last) are wanted; wide_d, wide_sum, acc and y are those of the first.
typedef struct job {
    const int8_t *x;
    const uint8_t *code[2];
    int64_t n_tile;
    place place;
    bool is_first, is_last; // of the columns
    int64_t first, last;
    const float *scale[2], *min[2], *wide_d, *wide_sum;
    float *acc, *y;
    __mmask16 rows[2];
} job;

typedef struct strides {
    int64_t wide, y;
} strides;

typedef struct sums {
    int32_t high[2][TOKENS * 16], low[2][TOKENS * 16];
} sums;

// Tokens t ... t + n - 1 of the tile; n, is_first and is_last: known when compiled.
static HTH_ALWAYS_INLINE void fold(const job *w, const strides *by, const sums *from, int64_t t, const int n,
                                   const bool is_first, const bool is_last) {
    const __m512 scale[2] = {_mm512_load_ps(w->scale[0]), _mm512_load_ps(w->scale[1])};
    const __m512 min[2] = {_mm512_load_ps(w->min[0]), _mm512_load_ps(w->min[1])};
    const float *wide_d = w->wide_d + (t - w->first) * by->wide, *wide_sum = w->wide_sum + (t - w->first) * by->wide;
    float *acc = w->acc + (t - w->first) * ROWS, *y = w->y + (t - w->first) * by->y;
    HTH_UNROLL for (int i = 0; i < n; i++, t++, wide_d += by->wide, wide_sum += by->wide, acc += ROWS, y += by->y) {
        const __m512 d = _mm512_set1_ps(*wide_d), sum = _mm512_set1_ps(*wide_sum);
        HTH_UNROLL for (int p = 0; p < 2; p++) {
            __m512i high = _mm512_load_si512(from->high[p] + 16 * t), low = _mm512_load_si512(from->low[p] + 16 * t);
            __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
            __m512 total = is_first ? _mm512_setzero_ps() : _mm512_load_ps(acc + 16 * p);
            total = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale[p], d), total);
            total = _mm512_fmadd_ps(min[p], sum, total);
            if (is_last) _mm512_mask_storeu_ps(y + 16 * p, w->rows[p], total);
            else _mm512_store_ps(acc + 16 * p, total);
        }
    }
}

// Part i of folding job w: a quarter of its tokens, or all where they are few. `at`, known when compiled: its place.
static HTH_ALWAYS_INLINE void fold_part(const job *w, const strides *by, const sums *from, int64_t i, const place at) {
    if (at == FIRST) fold(w, by, from, 4 * i, 4, true, false);
    if (at == MIDDLE) fold(w, by, from, 4 * i, 4, false, false);
    if (at == LAST) fold(w, by, from, 4 * i, 4, false, true);
    if (at != ANY || i > 0) return;
    for (int64_t t = w->first; t < w->last; t++) {
        if (w->is_first && w->is_last) fold(w, by, from, t, 1, true, true);
        else if (w->is_first) fold(w, by, from, t, 1, true, false);
        else if (w->is_last) fold(w, by, from, t, 1, false, true);
        else fold(w, by, from, t, 1, false, false);
    }
}

// A job's four tiles of sums go to memory one by one, as the next job wants them. Tiles 4 and 5 hold tokens, 6 and 7
// weights.
#define DEFINE_BEGIN(name, tile, a, b)                                                                               \
    static HTH_ALWAYS_INLINE void name(int32_t *before) {                                                            \
        _tile_stored(tile, before, 64);                                                                              \
        _tile_zero(tile);                                                                                            \
        _tile_dpbsud(tile, a, b);                                                                                    \
    }
DEFINE_BEGIN(begin_0, 0, 4, 6)
DEFINE_BEGIN(begin_1, 1, 4, 7)
DEFINE_BEGIN(begin_2, 2, 5, 6)
DEFINE_BEGIN(begin_3, 3, 5, 7)
#undef DEFINE_BEGIN

// Multiplies job w. Sums of the job before are stored no earlier than their tile is wanted again, and those of the job
// before that, `last`, folded meanwhile: multiplying never waits. at: the place of the last one.
static HTH_ALWAYS_INLINE void multiply(const job *w, sums *before, const job *last, const sums *ready, const strides *by,
                                       const place at) {
    const int8_t *x = w->x;
    const uint8_t *a = w->code[0], *b = w->code[1];
    const int64_t n_tile = at == ANY ? w->n_tile : HTH_Q8_WIDE / DEPTH;
    _tile_loadd(4, x, DEPTH);
    _tile_loadd(6, a, DEPTH);
    begin_0(before->high[0]);
    _tile_loadd(7, b, DEPTH);
    begin_1(before->high[1]);
    _tile_loadd(5, x + TILE, DEPTH);
    begin_2(before->low[0]);
    begin_3(before->low[1]);
    written(before);
    HTH_UNROLL for (int64_t i = 0; i < 4; i++) {
        if (at != ANY) fold_part(last, by, ready, i, at);
        if (i + 1 >= n_tile) continue;
        x += 2 * TILE, a += TILE, b += TILE;
        _tile_loadd(4, x, DEPTH);
        _tile_loadd(6, a, DEPTH);
        _tile_dpbsud(0, 4, 6);
        _tile_loadd(7, b, DEPTH);
        _tile_dpbsud(1, 4, 7);
        _tile_loadd(5, x + TILE, DEPTH);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
}

static void fold_all(const job *w, const strides *by, const sums *from) {
    for (int64_t i = 0; i < 4; i++) {
        if (w->place == FIRST) fold_part(w, by, from, i, FIRST);
        else if (w->place == MIDDLE) fold_part(w, by, from, i, MIDDLE);
        else if (w->place == LAST) fold_part(w, by, from, i, LAST);
        else if (w->place == ANY) fold_part(w, by, from, i, ANY);
    }
}

static HTH_ALWAYS_INLINE void multiply_any(const job *w, sums *before, const job *last, const sums *ready, const strides *by) {
    const place at = w->n_tile == HTH_Q8_WIDE / DEPTH ? last->place : ANY;
    if (at == MIDDLE) {
        multiply(w, before, last, ready, by, MIDDLE);
    } else if (at == FIRST) {
        multiply(w, before, last, ready, by, FIRST);
    } else if (at == LAST) {
        multiply(w, before, last, ready, by, LAST);
    } else {
        multiply(w, before, last, ready, by, ANY);
        fold_all(last, by, ready);
    }
}

static HTH_ALWAYS_INLINE __mmask16 first_n(int64_t n) {
    return n >= 16 ? (__mmask16)0xffff : n <= 0 ? (__mmask16)0 : (__mmask16)((1u << n) - 1);
}

// What jobs need of the product, and the work under way: n jobs so far.
typedef struct product {
    const hth_panel *w;
    int64_t n_row, n_col;
    const hth_q8 *x;
    float *y;
    strides by;
    int64_t n;
    job jobs[3];
    sums sums[2];
    float acc[GROUP + TOKENS][ROWS]; // of a group of tokens, which begins with its first tile, and rows
} product;

// Rows r ... r + 31 of those that begin at r0, columns c ... c + 255; tokens t ... t_end - 1, all of one tile, of the
// group that begins at t0.
static HTH_ALWAYS_INLINE void run_job(product *p, int64_t r0, int64_t r, int64_t c, int64_t t0, int64_t t, int64_t t_end) {
    const hth_panel *a = &p->w[r / 16], *b = r + 16 < p->n_row ? a + 1 : a;
    const int64_t block = (p->x->first + t) / TOKENS, g = c / HTH_Q8_WIDE;
    job *now = &p->jobs[p->n % 3];
    now->x = p->x->tiles + g * p->x->tile_stride + block * BLOCK;
    now->code[0] = a->code + c * 16, now->code[1] = b->code + c * 16;
    now->n_tile = p->n_col - c < HTH_Q8_WIDE ? (p->n_col - c + DEPTH - 1) / DEPTH : HTH_Q8_WIDE / DEPTH;
    now->first = (p->x->first + t) % TOKENS;
    now->last = now->first + t_end - t;
    now->scale[0] = a->scale + 16 * g, now->scale[1] = b->scale + 16 * g;
    now->min[0] = a->min + 16 * g, now->min[1] = b->min + 16 * g;
    now->wide_d = p->x->wide_d + t * p->x->wide_stride + g;
    now->wide_sum = p->x->wide_sum + t * p->x->wide_stride + g;
    now->acc = p->acc[t - t0] + (r - r0);
    now->y = p->y + t * p->by.y + r;
    now->rows[0] = first_n(p->n_row - r);
    now->rows[1] = first_n(p->n_row - r - 16);
    now->is_first = c == 0;
    now->is_last = c + HTH_Q8_WIDE >= p->n_col;
    const bool is_any = t_end - t < TOKENS || (now->is_first && now->is_last);
    now->place = is_any ? ANY : now->is_first ? FIRST : now->is_last ? LAST : MIDDLE;
    multiply_any(now, &p->sums[(p->n + 1) % 2], &p->jobs[(p->n + 1) % 3], &p->sums[p->n % 2], &p->by);
    p->n++;
}

// The last two jobs.
static void finish(product *p) {
    sums *stored = &p->sums[(p->n + 1) % 2];
    fold_all(&p->jobs[(p->n + 1) % 3], &p->by, &p->sums[p->n % 2]);
    _tile_stored(0, stored->high[0], 64);
    _tile_stored(1, stored->high[1], 64);
    _tile_stored(2, stored->low[0], 64);
    _tile_stored(3, stored->low[1], 64);
    written(stored);
    fold_all(&p->jobs[(p->n + 2) % 3], &p->by, stored);
}

// Tokens in groups and rows in groups: their floats and the rows' columns stay in the first cache.
static void gemm_amx(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x, int64_t n_tok,
                     float *y, int64_t y_stride) {
    product p __attribute__((aligned(64)));
    p.w = w, p.n_row = n_row, p.n_col = n_col, p.x = x, p.y = y, p.n = 0;
    p.by = (strides){x->wide_stride, y_stride};
    for (int i = 0; i < 3; i++) p.jobs[i].place = NOWHERE;
    (void)type;
    configure_tiles((const uint8_t[8]){TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS});
    for (int64_t t0 = 0, t_end; t0 < n_tok; t0 = t_end) {
        t_end = t0 + GROUP - (x->first + t0) % TOKENS;
        if (t_end > n_tok) t_end = n_tok;
        for (int64_t r0 = 0; r0 < n_row; r0 += ROWS) {
            for (int64_t c = 0; c < n_col; c += HTH_Q8_WIDE) {
                for (int64_t t = t0, next; t < t_end; t = next) {
                    next = t + TOKENS - (x->first + t) % TOKENS;
                    if (next > t_end) next = t_end;
                    for (int64_t r = r0; r < n_row && r < r0 + ROWS; r += 32) run_job(&p, r0, r, c, t0, t, next);
                }
            }
        }
    }
    if (p.n) finish(&p);
    _tile_release();
    for (int64_t t = 0; n_col <= 0 && t < n_tok; t++)
        for (int64_t r = 0; r < n_row; r++) y[t * y_stride + r] = 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void hth_q8_gemm_amx(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->quantize_prompt = quantize_prompt_amx;
    k->gemm = gemm_amx;
#else
    (void)k;
#endif
}
