// Reference attention arithmetic over stored keys and values.
#include <string.h>

#include "base/fp.h"
#include "kernels/levels.h"

enum { LANES = 16 };

// Element i of a run of keys or values; memcpy because pages promise no alignment.
static float load_f32(const char *p, int64_t i) {
    float v;
    memcpy(&v, p + 4 * i, sizeof v);
    return v;
}

static uint16_t load_half(const char *p, int64_t i) {
    uint16_t v;
    memcpy(&v, p + 2 * i, sizeof v);
    return v;
}

static float load_f16(const char *p, int64_t i) {
    return hth_f16_to_f32(load_half(p, i));
}

static float load_bf16(const char *p, int64_t i) {
    return hth_bf16_to_f32(load_half(p, i));
}

static float fold(float sum[LANES]) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

#define DEFINE_KV(type)                                                                            \
    static void kv_dot_##type##_ref(const float *q, const void *k, int64_t stride_bytes, int64_t n_key, \
                                    int64_t head_dim, float scale, float *score) {                 \
        for (int64_t j = 0; j < n_key; j++) {                                                      \
            const char *key = (const char *)k + j * stride_bytes;                                  \
            float sum[LANES] = {0};                                                                \
            for (int64_t d = 0; d < head_dim; d++) sum[d % LANES] += q[d] * load_##type(key, d);   \
            score[j] = scale * fold(sum);                                                          \
        }                                                                                          \
    }                                                                                              \
    static void kv_acc_##type##_ref(const float *p, const void *v, int64_t stride_bytes, int64_t n_key, \
                                    int64_t head_dim, float *acc) {                                \
        for (int64_t j = 0; j < n_key; j++) {                                                      \
            const char *value = (const char *)v + j * stride_bytes;                                \
            for (int64_t d = 0; d < head_dim; d++) acc[d] += p[j] * load_##type(value, d);         \
        }                                                                                          \
    }

DEFINE_KV(f32)
DEFINE_KV(f16)
DEFINE_KV(bf16)

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

void hth_ref_kv(hth_kernels *k) {
    k->kv_dot[HTH_KV_F32] = kv_dot_f32_ref;
    k->kv_dot[HTH_KV_F16] = kv_dot_f16_ref;
    k->kv_dot[HTH_KV_BF16] = kv_dot_bf16_ref;
    k->kv_acc[HTH_KV_F32] = kv_acc_f32_ref;
    k->kv_acc[HTH_KV_F16] = kv_acc_f16_ref;
    k->kv_acc[HTH_KV_BF16] = kv_acc_bf16_ref;
    k->kv_store[HTH_KV_F32] = kv_store_f32_ref;
    k->kv_store[HTH_KV_F16] = kv_store_f16_ref;
    k->kv_store[HTH_KV_BF16] = kv_store_bf16_ref;
}
