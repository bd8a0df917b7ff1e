// q5_0: 32 numbers, one f16 step, codes 0..31 stand for -16..15. The low nibbles lie as in q4_0;
// bit j of qh is the fifth bit of number j.
#include "quant/fit.h"
#include "quant/type_impl.h"

enum { LEN = 32 };

typedef struct block_q5_0 {
    uint8_t d[2];  // f16
    uint8_t qh[4]; // 32 fifth bits
    uint8_t qs[LEN / 2];
} block_q5_0;
static_assert(sizeof(block_q5_0) == 22, "q5_0 block");

void hth_dequantize_q5_0(const void *src, float *dst, int64_t n) {
    const block_q5_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        uint32_t qh = hth_load_u32(b->qh);
        for (int j = 0; j < LEN / 2; j++) {
            int lo = (b->qs[j] & 15) | (int)(qh >> j & 1) << 4;
            int hi = b->qs[j] >> 4 | (int)(qh >> (j + LEN / 2) & 1) << 4;
            dst[j] = (float)(lo - 16) * d;
            dst[j + LEN / 2] = (float)(hi - 16) * d;
        }
    }
}

static void quantize_weighed(const float *src, block_q5_0 *b, const float *importance) {
    const hth_fit_levels levels = hth_fit_whole(-16, 15);
    float level[LEN];
    store_f16(b->d, hth_fit_block_signed(src, importance, LEN, &levels, level));
    uint32_t qh = 0;
    for (int j = 0; j < LEN / 2; j++) {
        int lo = (int)level[j] + 16, hi = (int)level[j + LEN / 2] + 16;
        b->qs[j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
        qh |= (uint32_t)(lo >> 4) << j | (uint32_t)(hi >> 4) << (j + LEN / 2);
    }
    hth_store_u16(b->qh, (uint16_t)qh);
    hth_store_u16(b->qh + 2, (uint16_t)(qh >> 16));
}

void hth_quantize_q5_0(const float *src, void *dst, int64_t n, const float *importance) {
    block_q5_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        if (importance) {
            quantize_weighed(src, b, importance + i * LEN);
            continue;
        }
        float extreme = 0;
        for (int j = 0; j < LEN; j++)
            if (fabsf(src[j]) > fabsf(extreme)) extreme = src[j];
        float d = extreme / -16, inv = inverse_or_zero(d);
        store_f16(b->d, d);
        uint32_t qh = 0;
        for (int j = 0; j < LEN / 2; j++) {
            int lo = clamp_int(src[j] * inv + 16.5f, 0, 31);
            int hi = clamp_int(src[j + LEN / 2] * inv + 16.5f, 0, 31);
            b->qs[j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
            qh |= (uint32_t)(lo >> 4) << j | (uint32_t)(hi >> 4) << (j + LEN / 2);
        }
        hth_store_u16(b->qh, (uint16_t)qh);
        hth_store_u16(b->qh + 2, (uint16_t)(qh >> 16));
    }
}
