// Rotary position embedding, arXiv:2104.09864, and its published scalings.
#ifndef HTH_MODEL_ROPE_H
#define HTH_MODEL_ROPE_H

#include "base/arena.h"
#include "model/desc.h"

// Checks the stated part of *rope and fills inv_freq and magnitude (memory from `arena`).
HTH_NODISCARD hth_code hth_rope_prepare(hth_rope *rope, hth_arena *arena, hth_err *err);

// Whether a sequence with this planned context turns by longrope's long divisors.
static inline bool hth_rope_is_long(const hth_rope *rope, int64_t n_ctx) {
    return rope->scaling == HTH_SCALING_LONGROPE && n_ctx > rope->n_ctx_orig;
}

// cos and sin [n_rot/2] of one position. `n_ctx` is the sequence's planned context.
void hth_rope_angles(const hth_rope *rope, int64_t pos, int64_t n_ctx, float *cos_, float *sin_);

#endif
