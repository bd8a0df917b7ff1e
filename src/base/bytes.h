// Little-endian numbers at any address, as files hold them.
#ifndef HTH_BASE_BYTES_H
#define HTH_BASE_BYTES_H

#include "base/fp.h"

static inline uint16_t hth_load_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t hth_load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// n bytes, 1 ... 8; put together in a register where n is known when compiled.
static inline uint64_t hth_load_bytes(const uint8_t *p, int n) {
    uint64_t v = 0;
    if (n >= 4) v = hth_load_u32(p);
    for (int i = n >= 4 ? 4 : 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline float hth_load_f32(const uint8_t *p) {
    return hth_f32_from_bits(hth_load_u32(p));
}

static inline void hth_store_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void hth_store_f32(uint8_t *p, float v) {
    const uint32_t bits = hth_f32_bits(v);
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(bits >> (8 * i));
}

#endif
