// tq1_0: 256 ternary numbers, one f16 step. A byte holds five trits (3^5 = 243 < 256) as the fraction
// byte / 256 written in base 3: multiplying by 3^k modulo 256 drops the first k trits, the next one is
// then the integer part of 3 * byte / 256. The last four bytes hold four trits each.
//
//   bytes  0..31   numbers   0..159, byte m and trit k: number k * 32 + m
//   bytes 32..47   numbers 160..239, byte m and trit k: number 160 + k * 16 + m
//   qh             numbers 240..255, byte m and trit k: number 240 + k * 4 + m
#include "quant/type_impl.h"

enum { LEN = 256 };

typedef struct block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint8_t d[2]; // f16
} block_tq1_0;
static_assert(sizeof(block_tq1_0) == 54, "tq1_0 block");

static const uint8_t pow3[5] = {1, 3, 9, 27, 81};

static void unpack_trits(const uint8_t *bytes, int n_byte, int n_trit, float d, float *dst) {
    for (int k = 0; k < n_trit; k++) {
        for (int m = 0; m < n_byte; m++) {
            uint8_t rest = (uint8_t)(bytes[m] * pow3[k]);
            dst[k * n_byte + m] = (float)((rest * 3 >> 8) - 1) * d;
        }
    }
}

static void pack_trits(const float *src, float inv, int n_byte, int n_trit, uint8_t *bytes) {
    for (int m = 0; m < n_byte; m++) {
        int q = 0;
        for (int k = 0; k < 5; k++) {
            int trit = k < n_trit ? clamp_int(roundf(src[k * n_byte + m] * inv), -1, 1) + 1 : 0;
            q = q * 3 + trit;
        }
        bytes[m] = (uint8_t)((q * 256 + 242) / 243); // rounded up, so that truncation gives q back
    }
}

void hth_dequantize_tq1_0(const void *src, float *dst, int64_t n) {
    const block_tq1_0 *b = src;
    for (int64_t i = 0; i < n / LEN; i++, b++, dst += LEN) {
        float d = load_f16(b->d);
        unpack_trits(b->qs, 32, 5, d, dst);
        unpack_trits(b->qs + 32, 16, 5, d, dst + 160);
        unpack_trits(b->qh, 4, 4, d, dst + 240);
    }
}

void hth_quantize_tq1_0(const float *src, void *dst, int64_t n, const float *importance) {
    (void)importance;
    block_tq1_0 *b = dst;
    for (int64_t i = 0; i < n / LEN; i++, b++, src += LEN) {
        float d = 0;
        for (int j = 0; j < LEN; j++) d = fmaxf(d, fabsf(src[j]));
        float inv = inverse_or_zero(d);
        store_f16(b->d, d);
        pack_trits(src, inv, 32, 5, b->qs);
        pack_trits(src + 160, inv, 16, 5, b->qs + 32);
        pack_trits(src + 240, inv, 4, 4, b->qh);
    }
}
