// Plain integer types. Values beyond 2^24 round to the nearest float.
#include <string.h>

#include "quant/type_impl.h"

#define DEFINE_INT(name, c_type)                                                                   \
    void hth_dequantize_##name(const void *src, float *dst, int64_t n) {                          \
        const uint8_t *p = src;                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                          \
            c_type v;                                                                              \
            memcpy(&v, p + (int64_t)sizeof v * i, sizeof v);                                       \
            dst[i] = (float)v;                                                                     \
        }                                                                                          \
    }

DEFINE_INT(i8, int8_t)
DEFINE_INT(i16, int16_t)
DEFINE_INT(i32, int32_t)
DEFINE_INT(i64, int64_t)
DEFINE_INT(u8, uint8_t)
DEFINE_INT(u16, uint16_t)
DEFINE_INT(u32, uint32_t)
DEFINE_INT(u64, uint64_t)

void hth_dequantize_bool(const void *src, float *dst, int64_t n) {
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = p[i] != 0;
}
