// q5_1: 32 numbers, value = d * code + m with codes 0..31. Bits lie as in q5_0.
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_q5_1 {
    uint8_t d[2], m[2]; // f16 step and minimum
    uint8_t qh[4];      // 32 fifth bits
    uint8_t qs[LEN / 2];
} block_q5_1;
static_assert(sizeof(block_q5_1) == 24, "q5_1 block");

void hth_dequantize_q5_1(const void *src, float *dst, int64_t n) {
    const block_q5_1 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d), m = load_f16(b->m);
        uint32_t qh = hth_load_u32(b->qh);
        for (int j = 0; j < LEN / 2; j++) {
            int lo = (b->qs[j] & 15) | (int)(qh >> j & 1) << 4;
            int hi = b->qs[j] >> 4 | (int)(qh >> (j + LEN / 2) & 1) << 4;
            dst[j] = (float)lo * d + m;
            dst[j + LEN / 2] = (float)hi * d + m;
        }
    }
}

static void quantize_weighed(const float *src, block_q5_1 *b, const float *importance) {
    float code[LEN], min;
    store_f16(b->d, hth_fit_block_affine(src, importance, LEN, 31, code, &min));
    store_f16(b->m, min);
    uint32_t qh = 0;
    for (int j = 0; j < LEN / 2; j++) {
        int lo = (int)code[j], hi = (int)code[j + LEN / 2];
        b->qs[j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
        qh |= (uint32_t)(lo >> 4) << j | (uint32_t)(hi >> 4) << (j + LEN / 2);
    }
    hth_store_u16(b->qh, (uint16_t)qh);
    hth_store_u16(b->qh + 2, (uint16_t)(qh >> 16));
}

void hth_quantize_q5_1(const float *src, void *dst, int64_t n, const float *importance) {
    block_q5_1 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        if (importance) {
            quantize_weighed(src, b, importance + i * LEN);
            continue;
        }
        float min = src[0], max = src[0];
        for (int j = 1; j < LEN; j++) {
            if (src[j] < min) min = src[j];
            if (src[j] > max) max = src[j];
        }
        float d = (max - min) / 31, inv = inverse_or_zero(d);
        store_f16(b->d, d);
        store_f16(b->m, min);
        uint32_t qh = 0;
        for (int j = 0; j < LEN / 2; j++) {
            int lo = clamp_int((src[j] - min) * inv + 0.5f, 0, 31);
            int hi = clamp_int((src[j + LEN / 2] - min) * inv + 0.5f, 0, 31);
            b->qs[j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
            qh |= (uint32_t)(lo >> 4) << j | (uint32_t)(hi >> 4) << (j + LEN / 2);
        }
        hth_store_u16(b->qh, (uint16_t)qh);
        hth_store_u16(b->qh + 2, (uint16_t)(qh >> 16));
    }
}
