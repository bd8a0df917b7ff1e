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

static void fill_bytes(void *p, size_t n) {
    uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)random_bits();
}

#endif
