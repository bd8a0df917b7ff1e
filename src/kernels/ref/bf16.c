// Products of bf16: what they mean. Sums are f32, in the order of columns, the first part of a step before the second.
#include <string.h>

#include "base/bytes.h"
#include "kernels/levels.h"

static void pack_ref(const float *x, int64_t x_stride, int64_t n_tok, int64_t n_col, int n_part, uint16_t *block) {
    memset(block, 0, (size_t)hth_bf16_block(n_col, n_part) * sizeof *block);
    for (int64_t t = 0; t < n_tok; t++) {
        for (int64_t c = 0; c < n_col; c++) {
            uint16_t *at = block + c / HTH_BF16_STEP * n_part * 512 + c % HTH_BF16_STEP / 2 * 32 + 2 * t + c % 2;
            float rest = x[t * x_stride + c];
            for (int p = 0; p < n_part; p++, at += 512) {
                *at = hth_f32_to_bf16(rest);
                rest -= hth_bf16_to_f32(*at);
            }
        }
    }
}

static void gemm_ref(const uint8_t *w, int64_t row_bytes, int64_t n_row, int64_t n_col, const uint16_t *x, int n_part,
                     int64_t first, int64_t last, float *y, int64_t y_stride) {
    for (int64_t t = first; t < last; t++) {
        const uint16_t *block = x + t / HTH_BF16_TOKENS * hth_bf16_block(n_col, n_part) + t % HTH_BF16_TOKENS * 2;
        for (int64_t r = 0; r < n_row; r++) {
            float sum = 0;
            for (int64_t c = 0; c < n_col; c++) {
                const uint16_t *at = block + c / HTH_BF16_STEP * n_part * 512 + c % HTH_BF16_STEP / 2 * 32 + c % 2;
                const float weight = hth_bf16_to_f32(hth_load_u16(w + r * row_bytes + 2 * c));
                for (int p = 0; p < n_part; p++) sum = fmaf(weight, hth_bf16_to_f32(at[512 * p]), sum);
            }
            y[t * y_stride + r] = sum;
        }
    }
}

void hth_ref_bf16(hth_bf16_kernels *k) {
    *k = (hth_bf16_kernels){.pack = pack_ref, .gemm = gemm_ref};
}
