// Rotary position embedding, arXiv:2104.09864, and its published scalings.
#ifndef HTH_MODEL_ROPE_H
#define HTH_MODEL_ROPE_H

#include "base/arena.h"
#include "model/desc.h"

// Checks the stated part of *rope and fills inv_freq and magnitude (memory from `arena`).
HTH_NODISCARD hth_code hth_rope_prepare(hth_rope *rope, hth_arena *arena, hth_err *err);

// cos and sin [n_rot/2] of one position. `n_ctx` is the sequence's planned context: longrope uses its
// long divisors when that is above n_ctx_orig.
void hth_rope_angles(const hth_rope *rope, int64_t pos, int64_t n_ctx, float *cos_, float *sin_);

#endif
