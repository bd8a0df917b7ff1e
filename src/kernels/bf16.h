// Products of bf16 weights with prompt rows, on units that multiply pairs of bf16 and add in f32. Activations are rounded
// to bf16 as the weights' authors round them; where that is too coarse, what the rounding leaves is rounded again and
// makes a second part. Weights are read where they lie.
#ifndef HTH_KERNELS_BF16_H
#define HTH_KERNELS_BF16_H

#include <stdint.h>

#define HTH_BF16_TOKENS 16 // of a block of activations
#define HTH_BF16_STEP 32   // columns that a product takes at once; widths are multiples of it

typedef struct hth_bf16_kernels {
    const char *name; // of the level; NULL: only the reference, which f32 products beat
    // Rounds x [n_tok, x_stride], n_tok <= HTH_BF16_TOKENS, into one block of hth_bf16_block(n_col, n_part) numbers:
    // [n_col / 32][n_part][16 pairs of columns][16 tokens][2]; the tokens from n_tok on are zeros.
    void (*pack)(const float *x, int64_t x_stride, int64_t n_tok, int64_t n_col, int n_part, uint16_t *block);
    // y[t, r] = w x for the tokens first <= t < last of the blocks x, and rows 0 <= r < n_row, which lie row_bytes apart.
    void (*gemm)(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const uint16_t *x, int n_part,
                 int64_t first, int64_t last, float *y, int64_t y_stride);
} hth_bf16_kernels;

static inline int64_t hth_bf16_block(int64_t n_col, int n_part) {
    return n_col * n_part * HTH_BF16_TOKENS;
}

// The best among the features.
void hth_bf16_fill(hth_bf16_kernels *out, uint32_t cpu_features);
// Those of this machine.
hth_bf16_kernels hth_bf16_get(void);

#endif
