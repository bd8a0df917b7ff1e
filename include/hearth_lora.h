// Low-rank adapters: what a request is computed with besides the model's weights.
#ifndef HEARTH_LORA_H
#define HEARTH_LORA_H

#include <stdint.h>

#include "hearth_err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HTH_MAX_LORA 32 // that one sequence uses

typedef struct hth_lora hth_lora; // opened by hth_engine_lora (hearth.h)
// After all requests that use it. NULL is valid.
HTH_API void hth_lora_free(hth_lora *l);

typedef struct hth_lora_use {
    const hth_lora *lora; // borrowed
    float scale;          // 1: as it was trained
} hth_lora_use;

// What one sequence uses; n may be 0.
typedef struct hth_lora_set {
    const hth_lora_use *uses; // [n <= HTH_MAX_LORA] borrowed
    int32_t n;
} hth_lora_set;

#ifdef __cplusplus
}
#endif

#endif
