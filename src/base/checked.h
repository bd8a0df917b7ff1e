// Checked integer arithmetic for sizes that come from outside. Each returns false on overflow and
// then leaves *out untouched; nothing from a file is multiplied or added without one of these.
#ifndef HTH_BASE_CHECKED_H
#define HTH_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

HTH_NODISCARD static inline bool hth_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    if (a > UINT64_MAX - b) return false;
    *out = a + b;
    return true;
}

HTH_NODISCARD static inline bool hth_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    if (b != 0 && a > UINT64_MAX / b) return false;
    *out = a * b;
    return true;
}

// Rounds `a` up to a multiple of `align`, a power of two.
HTH_NODISCARD static inline bool hth_align_u64(uint64_t a, uint64_t align, uint64_t *out) {
    uint64_t sum;
    if (align == 0 || (align & (align - 1)) != 0 || !hth_add_u64(a, align - 1, &sum)) return false;
    *out = sum & ~(align - 1);
    return true;
}

HTH_NODISCARD static inline bool hth_mul_size(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

HTH_NODISCARD static inline bool hth_add_size(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

// True when [off, off + len) lies inside [0, total).
HTH_NODISCARD static inline bool hth_in_range(uint64_t off, uint64_t len, uint64_t total) {
    return off <= total && len <= total - off;
}

#endif
