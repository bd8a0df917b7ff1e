// What the kernel tests share: the levels that this CPU can run, memory between guard pages, random
// numbers, distances in units of the last place.
#ifndef HTH_TEST_KERNELS_CHECK_H
#define HTH_TEST_KERNELS_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fp.h"
#include "kernels/kernels.h"
#include "os/cpu.h"

static const struct level {
    const char *name;
    uint32_t features;
} all_levels[] = {
    {"ref", 0}, {"avx2", HTH_CPU_AVX2}, {"avx512", HTH_CPU_AVX2 | HTH_CPU_AVX512}, {"neon", HTH_CPU_NEON}};

// Fills *k with the i-th level that can run here; false past the end.
static inline bool next_level(int i, hth_kernels *k, const char **name) {
    for (size_t l = 0; l < HTH_COUNT(all_levels); l++) {
        if (all_levels[l].features & ~hth_cpu_features() || i-- > 0) continue;
        hth_kernels_fill(k, all_levels[l].features);
        *name = all_levels[l].name;
        return true;
    }
    return false;
}

#define FOR_EACH_LEVEL(k, name) for (int level_ = 0; next_level(level_, &(k), &(name)); level_++)

static const int64_t sizes[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 255, 257, 576, 4096 + 5};
#define FOR_EACH_SIZE(n) \
    for (int64_t i_size_ = 0, n; i_size_ < (int64_t)HTH_COUNT(sizes) && (n = sizes[i_size_], true); i_size_++)

// Memory that ends at (or begins after) a page which faults when touched. One buffer per slot; the next
// call for the slot reuses it.
enum { GUARD_SLOTS = 8, GUARD_BYTES = 1 << 20 };
typedef enum guard_side { GUARD_BEFORE, GUARD_AFTER, GUARD_SIDES } guard_side;

static inline void *guarded(int slot, size_t n_bytes, guard_side side) {
    static uint8_t *buffers[GUARD_SLOTS];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!buffers[slot]) {
        uint8_t *p = mmap(NULL, GUARD_BYTES + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);
        assert_true(p != MAP_FAILED);
        assert_int_equal(mprotect(p, page, PROT_NONE), 0);
        assert_int_equal(mprotect(p + page + GUARD_BYTES, page, PROT_NONE), 0);
        buffers[slot] = p + page;
    }
    assert_true(n_bytes <= GUARD_BYTES);
    return side == GUARD_BEFORE ? buffers[slot] : buffers[slot] + GUARD_BYTES - n_bytes;
}

static inline float *guarded_floats(int slot, int64_t n, guard_side side) {
    return guarded(slot, (size_t)n * sizeof(float), side);
}

static uint64_t random_state = 1;

static inline uint32_t random_bits(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static inline float random_uniform(float lo, float hi) {
    return lo + (hi - lo) * ((float)(random_bits() >> 8) * 0x1p-24f);
}

static inline float random_normal(void) {
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += random_uniform(0, 1);
    return sum - 6;
}

static inline void fill_normal(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = random_normal();
}

static const float extremes[] = {0.0f,    -0.0f,    1e30f,     -1e30f, INFINITY, -INFINITY, NAN,
                                 1e-42f,  -1e-42f,  0x1p-126f, 88.8f,  -88.8f,   -87.4f,    -103.9f,
                                 -104.1f, 1e-30f,   3.4e38f,   -3.4e38f, 9.1f,   -13.7f};

// Mostly numbers of everyday size; at places, one that breaks formulas.
static inline void fill_with_extremes(float *x, int64_t n, float width) {
    for (int64_t i = 0; i < n; i++)
        x[i] = random_bits() % 5 ? random_uniform(-width, width)
                                 : extremes[random_bits() % HTH_COUNT(extremes)];
}

// Distance from the true value in units of float's last place there. Right infinities and NaNs have 0.
static inline double ulp_error(float got, double want) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
    if (isinf(got) || isinf((float)want)) return (double)got == (double)(float)want ? 0 : INFINITY;
    int exp;
    frexp(want, &exp);
    return fabs(got - want) / ldexp(1, (exp < -125 ? -125 : exp) - 24);
}

static inline bool same_float(float a, float b) {
    return hth_f32_bits(a) == hth_f32_bits(b) || (isnan(a) && isnan(b));
}

static inline void assert_same_floats(const char *level, const char *op, const float *got, const float *want,
                                      int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!same_float(got[i], want[i]))
            fail_msg("%s %s: element %d of %d is %a, not %a", op, level, (int)i, (int)n, (double)got[i],
                     (double)want[i]);
}

#endif
