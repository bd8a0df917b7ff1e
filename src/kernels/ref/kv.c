// Reference attention arithmetic over stored keys and values.
#include <math.h>
#include <string.h>

#include "base/fp.h"
#include "kernels/levels.h"

enum { LANES = 16 };

// Element i of a stored vector; memcpy because pages promise no alignment.
static float load_f32(const uint8_t *p, int64_t i) {
    float v;
    memcpy(&v, p + 4 * i, sizeof v);
    return v;
}

static uint16_t load_half(const uint8_t *p, int64_t i) {
    uint16_t v;
    memcpy(&v, p + 2 * i, sizeof v);
    return v;
}

static float load_f16(const uint8_t *p, int64_t i) {
    return hth_f16_to_f32(load_half(p, i));
}

static float load_bf16(const uint8_t *p, int64_t i) {
    return hth_bf16_to_f32(load_half(p, i));
}

static float load_q8_0(const uint8_t *p, int64_t i) {
    const uint8_t *block = p + i / HTH_KV_BLOCK * 34;
    return (float)(int8_t)block[2 + i % HTH_KV_BLOCK] * load_f16(block, 0);
}

static float load_q4_0(const uint8_t *p, int64_t i) {
    const uint8_t *block = p + i / HTH_KV_BLOCK * 18;
    const int at = (int)(i % HTH_KV_BLOCK), byte = block[2 + at % 16];
    return (float)((at < 16 ? byte & 15 : byte >> 4) - 8) * load_f16(block, 0);
}

static float load_q5_0(const uint8_t *p, int64_t i) {
    const uint8_t *block = p + i / HTH_KV_BLOCK * 22;
    const int at = (int)(i % HTH_KV_BLOCK), byte = block[6 + at % 16], fifth = block[2 + at / 8] >> at % 8 & 1;
    return (float)(((at < 16 ? byte & 15 : byte >> 4) | fifth << 4) - 16) * load_f16(block, 0);
}

static float fold(float sum[LANES]) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

#define DEFINE_KV(type)                                                                            \
    static void kv_dot_##type##_ref(const hth_kv_run *k, const float *q, int64_t q_stride, int64_t n_q, float scale, \
                                    float *score, int64_t score_stride) {                          \
        for (int64_t i = 0; i < n_q; i++)                                                          \
            for (int64_t j = 0; j < k->n_key; j++) {                                               \
                const uint8_t *key = (const uint8_t *)k->data + j * k->stride;                     \
                float sum[LANES] = {0};                                                            \
                for (int64_t d = 0; d < k->dim; d++) sum[d % LANES] += q[i * q_stride + d] * load_##type(key, d); \
                score[i * score_stride + j] = scale * fold(sum);                                   \
            }                                                                                      \
    }                                                                                              \
    static void kv_acc_##type##_ref(const hth_kv_run *v, const float *p, int64_t p_stride, int64_t n_q, float *acc, \
                                    int64_t acc_stride) {                                          \
        for (int64_t i = 0; i < n_q; i++)                                                          \
            for (int64_t j = 0; j < v->n_key; j++) {                                               \
                const uint8_t *value = (const uint8_t *)v->data + j * v->stride;                   \
                for (int64_t d = 0; d < v->dim; d++)                                               \
                    acc[i * acc_stride + d] += p[i * p_stride + j] * load_##type(value, d);        \
            }                                                                                      \
    }                                                                                              \
    static void kv_load_##type##_ref(const hth_kv_run *run, float *dst) {                          \
        for (int64_t j = 0; j < run->n_key; j++)                                                   \
            for (int64_t d = 0; d < run->dim; d++)                                                 \
                *dst++ = load_##type((const uint8_t *)run->data + j * run->stride, d);             \
    }

DEFINE_KV(f32)
DEFINE_KV(f16)
DEFINE_KV(bf16)
DEFINE_KV(q8_0)
DEFINE_KV(q4_0)
DEFINE_KV(q5_0)

static void kv_store_f32_ref(void *dst, const float *src, int64_t n) {
    if (n > 0) memcpy(dst, src, (size_t)n * sizeof *src);
}

static void kv_store_f16_ref(void *dst, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t v = hth_f32_to_f16(src[i]);
        memcpy((char *)dst + 2 * i, &v, sizeof v);
    }
}

static void kv_store_bf16_ref(void *dst, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t v = hth_f32_to_bf16(src[i]);
        memcpy((char *)dst + 2 * i, &v, sizeof v);
    }
}

// By the type's quantizer; codes hold no NaN, so the step does.
static void store_blocks(hth_type type, uint8_t *dst, const float *src, int64_t n) {
    const hth_type_info *info = hth_type_get(type);
    for (; n > 0; n -= HTH_KV_BLOCK, src += HTH_KV_BLOCK, dst += info->block_bytes) {
        float block[HTH_KV_BLOCK] = {0};
        bool finite = true;
        memcpy(block, src, (size_t)(n < HTH_KV_BLOCK ? n : HTH_KV_BLOCK) * sizeof *src);
        for (int i = 0; i < HTH_KV_BLOCK; i++) finite &= isfinite(block[i]) != 0;
        if (finite) {
            info->quantize(block, dst, HTH_KV_BLOCK, NULL);
        } else {
            memset(dst, 0, info->block_bytes);
            memcpy(dst, &(uint16_t){0x7e00}, 2);
        }
    }
}

static void kv_store_q8_0_ref(void *dst, const float *src, int64_t n) {
    store_blocks(HTH_TYPE_Q8_0, dst, src, n);
}

static void kv_store_q4_0_ref(void *dst, const float *src, int64_t n) {
    store_blocks(HTH_TYPE_Q4_0, dst, src, n);
}

static void kv_store_q5_0_ref(void *dst, const float *src, int64_t n) {
    store_blocks(HTH_TYPE_Q5_0, dst, src, n);
}

#define ENTRIES(type, name)                    \
    k->kv_dot[type] = kv_dot_##name##_ref;     \
    k->kv_acc[type] = kv_acc_##name##_ref;     \
    k->kv_load[type] = kv_load_##name##_ref;   \
    k->kv_store[type] = kv_store_##name##_ref

void hth_ref_kv(hth_kernels *k) {
    ENTRIES(HTH_KV_F32, f32);
    ENTRIES(HTH_KV_F16, f16);
    ENTRIES(HTH_KV_BF16, bf16);
    ENTRIES(HTH_KV_Q8_0, q8_0);
    ENTRIES(HTH_KV_Q4_0, q4_0);
    ENTRIES(HTH_KV_Q5_0, q5_0);
}
