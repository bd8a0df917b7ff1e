// What layers above may ask an engine for besides include/hearth.h: the parts it was opened with.
#ifndef HTH_ENGINE_ENGINE_H
#define HTH_ENGINE_ENGINE_H

#include "engine/sampler.h"
#include "hearth.h"
#include "model/executor.h"
#include "model/profile.h"
#include "text/tokenizer.h"

const hth_model *hth_engine_model(const hth_engine *e);
hth_tokenizer *hth_engine_tokenizer(const hth_engine *e); // NULL where the model carries none

// As hth_engine_params takes them.
const char *hth_kv_type_name(hth_kv_type type);
const char *hth_activations_name(hth_activations activations);

int hth_engine_n_thread(const hth_engine *e);

// Lowers hth_plan.limit_bytes, before the engine's first request. HTH_ERR_LIMIT where one sequence of the engine's
// context would not fit any more.
HTH_NODISCARD hth_code hth_engine_limit_memory(hth_engine *e, uint64_t n_bytes, hth_err *err);

// The same as hth_engine_open over a model that is open already; takes both (tokenizer may be NULL), also on failure.
HTH_NODISCARD hth_code hth_engine_over(hth_model *model, hth_tokenizer *tokenizer, const hth_engine_params *p,
                                       hth_engine **out, hth_err *err);

// For measurements; both only while no request is at work, or from a callback of the only one.
// Where the time of its steps goes is counted in `p` from now on; NULL: no more (model/profile.h). All engines of the
// host are counted together.
HTH_NODISCARD hth_code hth_engine_profile(hth_engine *e, hth_profile *p, hth_err *err);
// All products of its steps are shown to `hook` (borrowed), in the place of requests' adapters; NULL: no more.
void hth_engine_watch(hth_engine *e, const hth_linear_hook *hook);

// Numbers that an embedding has: d_model, or the classes of HTH_POOL_RANK. HTH_POOL_NONE: as the model says.
int32_t hth_engine_n_embed(const hth_engine *e, hth_pooling pooling);

#endif
