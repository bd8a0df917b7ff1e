// Reference attention of a tile of queries: every lane by itself, in the order of the keys.
#include <math.h>

#include "kernels/levels.h"

enum { LANES = HTH_TILE_LANES };

static void tile_scores_ref(const float *k, int64_t n_key, int64_t dim, const float *q, int64_t n_q, float *s) {
    for (int64_t j = 0; j < n_key; j++)
        for (int64_t c = 0; c < n_q; c++) {
            float sum = 0;
            for (int64_t d = 0; d < dim; d++) sum = fmaf(q[d * LANES + c], k[j * dim + d], sum);
            s[j * LANES + c] = sum;
        }
}

static void tile_softmax_ref(float *s, int64_t n_key, int64_t n_q, float *top, float *sum, float *keep) {
    for (int64_t c = 0; c < n_q; c++) {
        float most = top[c], part = 0;
        for (int64_t j = 0; j < n_key; j++)
            if (s[j * LANES + c] > most) most = s[j * LANES + c];
        const float from = most == -INFINITY ? 0 : most;
        keep[c] = hth_ref_share(top[c] - from);
        for (int64_t j = 0; j < n_key; j++) part += s[j * LANES + c] = hth_ref_share(s[j * LANES + c] - from);
        sum[c] = fmaf(sum[c], keep[c], part);
        top[c] = most;
    }
}

static void tile_values_ref(const float *v, int64_t n_key, int64_t dim, const float *s, const float *keep, int64_t n_q,
                            float *acc) {
    for (int64_t d = 0; d < dim; d++)
        for (int64_t c = 0; c < n_q; c++) {
            float sum = 0;
            for (int64_t j = 0; j < n_key; j++) sum = fmaf(s[j * LANES + c], v[j * dim + d], sum);
            acc[d * LANES + c] = fmaf(acc[d * LANES + c], keep[c], sum);
        }
}

void hth_ref_tile(hth_kernels *k) {
    k->tile_scores = tile_scores_ref;
    k->tile_softmax = tile_softmax_ref;
    k->tile_values = tile_values_ref;
}
