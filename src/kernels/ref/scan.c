// Reference kernel of linear recurrences.
#include "kernels/levels.h"

static void scan_ref(float *to, const float *from, const float *b, const float *c, float decay, int64_t n, int64_t m,
                     const float *x, float *y) {
    for (int64_t j = 0; j < m; j++) {
        const float in = x[j];
        float sum = 0;
        for (int64_t i = 0; i < n; i++) {
            const float s = fmaf(b[i], in, decay * from[i * m + j]);
            to[i * m + j] = s;
            sum = fmaf(c[i], s, sum);
        }
        y[j] = sum;
    }
}

void hth_ref_scan(hth_kernels *k) {
    k->scan = scan_ref;
}
