// The executor front: hands each call to the kind behind it.
#include "model/executor.h"

hth_code hth_executor_submit(hth_executor *ex, const hth_step *step, hth_ticket *out, hth_err *err) {
    return ex->ops->submit(ex, step, out, err);
}

hth_code hth_executor_wait(hth_executor *ex, hth_ticket ticket, hth_err *err) {
    return ex->ops->wait(ex, ticket, err);
}

hth_code hth_executor_scratch(hth_executor *ex, const hth_model *m, int32_t n_row, hth_activations activations,
                              uint64_t *n_bytes, hth_err *err) {
    return ex->ops->scratch(ex, m, n_row, activations, n_bytes, err);
}

hth_activations hth_activations_for(const hth_model *m, hth_activations wish) {
    if (wish != HTH_ACTIVATIONS_AUTO) return wish;
    return m->weight_bytes < HTH_SMALL_MODEL ? HTH_ACTIVATIONS_Q16 : HTH_ACTIVATIONS_Q8;
}

uint64_t hth_executor_state_bytes(const hth_executor *ex) {
    return atomic_load_explicit(&ex->state_bytes, memory_order_relaxed);
}

void hth_executor_free(hth_executor *ex) {
    if (ex) ex->ops->free(ex);
}
