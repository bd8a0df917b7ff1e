// How the authors of a model want it sampled.
#ifndef HTH_ENGINE_SAMPLER_DEFAULTS_H
#define HTH_ENGINE_SAMPLER_DEFAULTS_H

#include "engine/sampler.h"
#include "formats/container.h"

// Starts from hth_sampler_default and takes what GGUF's general.sampling.* keys or a folder's generation_config.json
// (do_sample, temperature, top_k, top_p, min_p, typical_p, repetition_penalty) say.
HTH_NODISCARD hth_code hth_sampler_defaults_of(hth_container *c, hth_sampler_params *out, hth_err *err);

#endif
