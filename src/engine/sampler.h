// From logits to a token. Counter-based randomness: the draw depends on (seed, position) only, so the
// same seed gives the same tokens whatever happens around it.
#ifndef HTH_ENGINE_SAMPLER_H
#define HTH_ENGINE_SAMPLER_H

#include "base/err.h"

typedef struct hth_sampler_params {
    float temperature; // 0: greedy
    int32_t top_k;     // 0: off
    float top_p;       // 1: off
    float min_p;       // 0: off
    uint64_t seed;
} hth_sampler_params;

hth_sampler_params hth_sampler_default(void); // temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, seed 0

// HTH_ERR_RANGE naming the parameter when one is absurd (NaN, negative).
HTH_NODISCARD hth_code hth_sampler_check(const hth_sampler_params *p, hth_err *err);

typedef struct hth_sampler hth_sampler;
HTH_NODISCARD hth_code hth_sampler_new(const hth_sampler_params *p, int32_t n_vocab, hth_sampler **out,
                                       hth_err *err);
void hth_sampler_free(hth_sampler *s);
// Chooses from logits [n_vocab] for the token at `pos`. Order: temperature-free filters top-k, top-p, min-p,
// then temperature (llama.cpp's default order). NaN anywhere: HTH_ERR_INTERNAL "logits are not numbers".
HTH_NODISCARD hth_code hth_sampler_pick(hth_sampler *s, const float *logits, int64_t pos, int32_t *token,
                                        hth_err *err);

#endif
