// Counts pages over an empty state, whose layers know the size of theirs.
#include "model/state_plan.h"

#include "base/checked.h"
#include "model/state.h"

static int64_t pages_of(int64_t n_row) {
    return n_row / HTH_PAGE_ROWS + (n_row % HTH_PAGE_ROWS != 0);
}

// Most pages that a layer holds at once: hth_state_slide keeps two windows of what is there, before a chunk comes.
static int64_t pages_held(const hth_layer_state *l, int64_t n_row, int64_t n_chunk) {
    const int64_t all = pages_of(n_row);
    if (l->window == 0 || l->window > n_row || n_chunk > n_row) return all;
    const int64_t windowed = pages_of(2 * l->window + n_chunk) + 1;
    return windowed < all ? windowed : all;
}

// All slots of the recurrent layers' blocks.
static uint64_t recurrent_bytes(const hth_state *s) {
    const hth_desc *d = &s->model->desc;
    if (!s->slots || d->n_layer == 0) return 0;
    const int64_t last = s->layers[d->n_layer - 1].block_at + hth_recurrent_len(&d->layers[d->n_layer - 1].recurrent);
    return (uint64_t)last * sizeof(float) * 2 * ((uint64_t)s->n_keep + 1);
}

static hth_code add_up(hth_state *s, int64_t n_row, int64_t n_chunk, bool only_shared, uint64_t *n_bytes, hth_err *err) {
    uint64_t sum = only_shared ? 0 : (uint64_t)n_row * sizeof *s->pos + recurrent_bytes(s);
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        const hth_layer_state *l = &s->layers[i];
        // What a window may have left behind is not counted on.
        const int64_t n_page = only_shared ? (l->window == 0 ? n_row / HTH_PAGE_ROWS : 0) : pages_held(l, n_row, n_chunk);
        uint64_t bytes;
        if (!hth_mul_u64((uint64_t)n_page, l->page_bytes + sizeof(void *), &bytes) || !hth_add_u64(sum, bytes, &sum)) {
            return hth_fail(err, HTH_ERR_LIMIT, "a sequence of %lld tokens is too long to be counted", (long long)n_row);
        }
    }
    *n_bytes = sum;
    return HTH_OK;
}

static hth_code plan(hth_executor *ex, const hth_model *m, const hth_state_params *params, int64_t n_row, int64_t n_chunk,
                     bool only_shared, uint64_t *n_bytes, hth_err *err) {
    if (n_row < 0 || n_row > INT64_MAX / 64) {
        return hth_fail(err, HTH_ERR_RANGE, "a sequence of %lld tokens is out of range", (long long)n_row);
    }
    hth_state *s;
    hth_state_params p = *params;
    if (p.n_ctx < 1) p.n_ctx = 1;
    HTH_TRY(hth_state_new(ex, m, &p, &s, err));
    hth_code code = add_up(s, n_row, n_chunk, only_shared, n_bytes, err);
    hth_state_free(s);
    return code;
}

hth_code hth_state_plan(hth_executor *ex, const hth_model *m, const hth_state_params *params, int64_t n_row,
                        int64_t n_chunk, uint64_t *n_bytes, hth_err *err) {
    return plan(ex, m, params, n_row, n_chunk, false, n_bytes, err);
}

hth_code hth_state_plan_shared(hth_executor *ex, const hth_model *m, const hth_state_params *params, int64_t n_row,
                               uint64_t *n_bytes, hth_err *err) {
    return plan(ex, m, params, n_row, 0, true, n_bytes, err);
}
