// How the authors of a model want it sampled.
#ifndef HTH_CLI_SAMPLING_H
#define HTH_CLI_SAMPLING_H

#include "engine/sampler.h"
#include "formats/container.h"

// Starts from the engine's defaults and takes what generation_config.json (do_sample, temperature, top_k,
// top_p, min_p) or GGUF's general.sampling.* keys say.
HTH_NODISCARD hth_code cli_sampling_of(hth_container *c, hth_sampler_params *out, hth_err *err);
// A seed for a run without --seed, short enough to type again.
uint64_t cli_new_seed(void);

#endif
