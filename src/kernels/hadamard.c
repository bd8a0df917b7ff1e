// The Walsh-Hadamard transform of the blocks of a head: log2(block) passes of sums and differences. One arithmetic at
// every instruction-set level, since no sum is reordered.
#include <math.h>

#include "kernels/kernels.h"

static void transform(float *x, int64_t n) {
    for (int64_t half = 1; half < n; half *= 2) {
        for (int64_t i = 0; i < n; i += 2 * half) {
            for (int64_t j = i; j < i + half; j++) {
                const float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
        }
    }
    const float scale = 1 / sqrtf((float)n);
    for (int64_t i = 0; i < n; i++) x[i] *= scale;
}

void hth_hadamard(float *x, int64_t n, int64_t dim) {
    const int64_t block = dim & -dim;
    for (int64_t i = 0; i < n; i += block) transform(x + i, block);
}
