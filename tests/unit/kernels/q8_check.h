// For the tests of integer products: walks through the levels that this CPU has and the types that have codes.
#ifndef HTH_TEST_Q8_CHECK_H
#define HTH_TEST_Q8_CHECK_H

#include "check.h"
#include "kernels/levels.h"

// The i-th of `levels` that this CPU can run.
static bool next_q8_level(const struct level *levels, size_t n, int i, hth_q8_kernels *k, const char **name) {
    for (size_t l = 0; l < n; l++) {
        if (levels[l].features & ~hth_cpu_features() || i-- > 0) continue;
        hth_q8_fill(k, levels[l].features);
        *name = levels[l].name;
        return true;
    }
    return false;
}
// Over the file's own q8_levels.
#define FOR_EACH_Q8_LEVEL(k, name) \
    for (int level_ = 0; next_q8_level(q8_levels, HTH_COUNT(q8_levels), level_, &(k), &(name)); level_++)
#define FOR_EACH_Q8_TYPE(t, codes)                     \
    for (uint32_t t = 0; t < HTH_TYPE_GGML_COUNT; t++) \
        for (hth_q8_codes_fn codes = hth_q8_codes(t); codes; codes = NULL)

// Activations whose rows end where they are said to end.
static inline hth_q8 quantized(int64_t n_tok, int64_t n_col, bool is_extreme) {
    const int64_t padded = (n_col + 63) / 64 * 64;
    hth_q8 x = {.q_stride = padded, .d_stride = padded / 32};
    x.q = guarded(1, (size_t)(n_tok * padded), GUARD_AFTER);
    x.d = guarded(2, (size_t)(n_tok * padded / 32) * 4, GUARD_AFTER);
    x.sum = guarded(3, (size_t)(n_tok * padded / 16) * 4, GUARD_AFTER);
    for (int64_t i = 0; i < n_tok * padded; i++) {
        x.q[i] = (int8_t)(is_extreme ? (random_bits() & 1 ? 127 : -127) : (int)(random_bits() % 255) - 127);
        if (i % padded >= n_col) x.q[i] = 0;
    }
    for (int64_t i = 0; i < n_tok * padded / 32; i++) x.d[i] = random_uniform(0.001f, 2);
    for (int64_t i = 0; i < n_tok * padded / 16; i++) {
        x.sum[i] = 0;
        for (int j = 0; j < 16; j++) x.sum[i] += x.q[16 * i + j];
    }
    return x;
}

static void fill_bytes(void *p, size_t n) {
    uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)random_bits();
}

#endif
