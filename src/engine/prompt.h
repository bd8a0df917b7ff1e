// A request's parameters: checked, copied, made into tokens.
#ifndef HTH_ENGINE_PROMPT_H
#define HTH_ENGINE_PROMPT_H

#include "engine/impl.h"

// Fills what is constant in *r (p, sampling, prompt, forced, cut, n_keep, n_room, need_bytes, deadline) from *p.
// r->engine and r->arena are there already.
HTH_NODISCARD hth_code prompt_prepare(hth_request *r, const hth_request_params *p, hth_refusal *why, hth_err *err);
// Of that only what decides with whom it shares what is cached: adapters and salt.
HTH_NODISCARD hth_code prompt_domain(hth_request *r, const hth_request_params *p, hth_refusal *why, hth_err *err);

#endif
