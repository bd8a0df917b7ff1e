// What a sequence will take, without taking it.
#ifndef HTH_MODEL_STATE_PLAN_H
#define HTH_MODEL_STATE_PLAN_H

#include "model/executor.h"

// Most bytes that a state holds on its way to n_row rows, in steps of up to n_chunk: windowed layers give back what
// has slid out.
HTH_NODISCARD hth_code hth_state_plan(hth_executor *ex, const hth_model *m, const hth_state_params *params, int64_t n_row,
                                      int64_t n_chunk, uint64_t *n_bytes, hth_err *err);
// Bytes that forks of a state of n_row rows keep in common, however they go on.
HTH_NODISCARD hth_code hth_state_plan_shared(hth_executor *ex, const hth_model *m, const hth_state_params *params,
                                             int64_t n_row, uint64_t *n_bytes, hth_err *err);

#endif
