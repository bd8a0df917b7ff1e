// For src/quant and src/kernels: the codebooks of the IQ types and how to read an entry.
//
// An entry is one 16-bit word: element j at bits 2j (IQ1, IQ2: eight elements of three levels) or 3j
// (IQ3: four elements of eight levels). Nine kilobytes in all stay in the first cache.
#ifndef HTH_QUANT_GRID_H
#define HTH_QUANT_GRID_H

#include <stdint.h>

extern const uint16_t hth_grid_iq1[2048];
extern const uint16_t hth_grid_iq2_xxs[256], hth_grid_iq2_xs[512], hth_grid_iq2_s[1024];
extern const uint16_t hth_grid_iq3_xxs[256], hth_grid_iq3_s[512];

// 0..2 -> -1, 0, 1.
static inline int grid_level_iq1(uint16_t entry, int j) {
    return (entry >> (2 * j) & 3) - 1;
}

// 0..2 -> 8, 25, 43: odd levels of an E8 lattice, scaled to about eight times 1, 3, 5.
static inline int grid_level_iq2(uint16_t entry, int j) {
    int level = entry >> (2 * j) & 3;
    return 8 + 17 * level + (level >> 1);
}

// 0..7 -> 4, 12, 20 ... 52, and 62 for the last.
static inline int grid_level_iq3_xxs(uint16_t entry, int j) {
    int level = entry >> (3 * j) & 7;
    return 4 + 8 * level + (level == 7 ? 2 : 0);
}

// 0..7 -> 1, 3 ... 15.
static inline int grid_level_iq3_s(uint16_t entry, int j) {
    return 1 + 2 * (entry >> (3 * j) & 7);
}

// Signs of eight elements stored in seven bits: the eighth makes the number of minus signs even.
static inline uint8_t grid_even_signs(uint32_t seven) {
    uint32_t s = seven & 127, p = s ^ s >> 4;
    p ^= p >> 2;
    p ^= p >> 1;
    return (uint8_t)(s | (p & 1) << 7);
}

static inline float grid_sign(uint8_t signs, int j) {
    return (float)(1 - 2 * (signs >> j & 1));
}

#endif
