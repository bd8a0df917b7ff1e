// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC'11): no state, so the draw for a position can be made in any order, any number of times.
#ifndef HTH_ENGINE_RANDOM_H
#define HTH_ENGINE_RANDOM_H

#include <stdint.h>

static inline void hth_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53 * c[0], b = (uint64_t)0xcd9e8d57 * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ k[1],
                            (uint32_t)a};
        for (int i = 0; i < 4; i++) c[i] = next[i];
        k[0] += 0x9e3779b9;
        k[1] += 0xbb67ae85;
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

// Uniform in [0, 1) with 53 bits, for one position of one seed; `which` tells several draws for it apart.
static inline double hth_random_draw(uint64_t seed, int64_t pos, uint32_t which) {
    uint32_t counter[4] = {(uint32_t)pos, (uint32_t)((uint64_t)pos >> 32), which, 0};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, out[4];
    hth_philox4x32(counter, key, out);
    return (double)(((uint64_t)out[0] << 32 | out[1]) >> 11) * 0x1p-53;
}

static inline double hth_random_at(uint64_t seed, int64_t pos) {
    return hth_random_draw(seed, pos, 0);
}

#endif
