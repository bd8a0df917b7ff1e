// Integer products with sdot.
#include "kernels/levels.h"

#if defined(__aarch64__)
#include "kernels/arm/q8_tile_neon.inc"

static HTH_ALWAYS_INLINE void add_columns(int32x4_t dot[TOKENS][4], const tile *w, int64_t c, const int n_tok, const int group,
                                          int8x16_t zero) {
    add_by_lane(dot, w, c, n_tok, group, zero);
}

static void gemm_dotprod(const hth_panel *w, hth_q8_type type, int64_t n_row, int64_t n_col, const hth_q8 *x,
                         int64_t n_tok, float *y, int64_t y_stride) {
    multiply_panels(w, type, n_row, n_col, x, n_tok, y, y_stride);
}
#endif

void hth_q8_gemm_neon(hth_q8_kernels *k) {
#if defined(__aarch64__)
    k->gemm = gemm_dotprod;
#else
    (void)k;
#endif
}
