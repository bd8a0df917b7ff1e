// Weights of Mamba mixers.
#include "model/bind_impl.h"

#include <math.h>

// Factors that the family puts on x, B and C before their convolution.
static hth_code scale_conv(hth_binder *k, const hth_recurrent_desc *r, hth_recurrent_weights *w) {
    const int64_t d_inner = (int64_t)r->n_head * r->head_cols, d_state = (int64_t)r->mamba.n_group * r->head_rows;
    const int64_t n = r->tail_width, n_tap = r->tail_rows + 1;
    if (r->mamba.in_scale[1] == 1 && r->mamba.in_scale[2] == 1 && r->mamba.in_scale[3] == 1) return HTH_OK;
    float *rows = hth_arena_alloc(&k->m->arena, (size_t)(n * n_tap), sizeof *rows);
    if (!rows) return hth_fail_nomem(k->err, (uint64_t)(n * n_tap) * sizeof *rows);
    for (int64_t i = 0; i < n * n_tap; i++) {
        const int64_t c = i % n;
        rows[i] = w->conv[i] * r->mamba.in_scale[c < d_inner ? 1 : c < d_inner + d_state ? 2 : 3];
    }
    w->conv = rows;
    return HTH_OK;
}

// A state that grew from row to row would soon be no number.
static hth_code check_rates(const hth_binder *k, int32_t layer, int64_t n, const float *rates) {
    for (int64_t i = 0; i < n; i++) {
        if (rates[i] <= 0) continue;
        return hth_fail(k->err, HTH_ERR_FORMAT, "layer %d: the rate of decay of head %lld is %g, not negative", (int)layer,
                        (long long)i, (double)rates[i]);
    }
    return HTH_OK;
}

hth_code hth_bind_mamba(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t d = k->b->d->d_model, d_inner = (int64_t)r->n_head * r->head_cols;
    const int64_t width = d_inner + r->tail_width + r->n_head;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_IN, layer, width, d, &w->in));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_RECURRENT_IN, layer, width, k->b->mixer_bias, &w->in_bias));
    HTH_TRY(hth_bind_conv(k, layer, k->b->conv_bias, w));
    HTH_TRY(scale_conv(k, r, w));
    HTH_TRY(hth_bind_decays(k, layer, w));
    HTH_TRY(check_rates(k, layer, r->n_head, w->decay_rate));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_SSM_SKIP, layer, "", r->n_head, &w->skip));
    if (r->mamba.norm_parts > 0) HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_NORM, layer, ".weight", d_inner, &w->norm));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_OUT, layer, d, d_inner, &w->out));
    return hth_bind_bias(k, HTH_ROLE_RECURRENT_OUT, layer, d, k->b->mixer_bias, &w->out_bias);
}

// ---- Mamba 1

// Files have a channel's rates side by side, GGUF as they are, folders as logarithms of their negatives.
static hth_code bind_rates(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t n_state = r->head_rows, n = r->head_cols;
    const float *file;
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_RATE, layer, "", n_state * n, &file));
    float *rates = hth_arena_alloc(&k->m->arena, (size_t)(n_state * n), sizeof *rates);
    if (!rates) return hth_fail_nomem(k->err, (uint64_t)(n_state * n) * sizeof *rates);
    for (int64_t i = 0; i < n_state * n; i++) {
        const float v = file[i % n * n_state + i / n];
        rates[i] = k->b->is_gguf ? v : -expf(v);
    }
    w->decay_rate = rates;
    return check_rates(k, layer, n_state * n, rates);
}

static hth_code bind_step_norms(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    char base[HTH_NAME_LEN];
    if (!hth_bind_find(k, HTH_ROLE_SSM_STEP_NORM, layer, ".weight", base)) return HTH_OK;
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_SSM_STEP_NORM, layer, ".weight", r->mamba1.step_rank, &w->step_norm));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_SSM_B_NORM, layer, ".weight", r->head_rows, &w->b_norm));
    return hth_bind_numbers(k, HTH_ROLE_SSM_C_NORM, layer, ".weight", r->head_rows, &w->c_norm);
}

hth_code hth_bind_mamba1(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t d = k->b->d->d_model, n = r->head_cols, rank = r->mamba1.step_rank;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_IN, layer, 2 * n, d, &w->in));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_RECURRENT_IN, layer, 2 * n, k->b->mixer_bias, &w->in_bias));
    HTH_TRY(hth_bind_conv(k, layer, k->b->conv_bias, w));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_SSM_X, layer, rank + 2 * (int64_t)r->head_rows, n, &w->x));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_SSM_STEP, layer, n, rank, &w->step));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_SSM_STEP, layer, n, 1, &w->decay_bias));
    HTH_TRY(bind_rates(k, layer, w));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_SSM_SKIP, layer, "", n, &w->skip));
    if (r->mamba1.normed) HTH_TRY(bind_step_norms(k, layer, w));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_OUT, layer, d, n, &w->out));
    return hth_bind_bias(k, HTH_ROLE_RECURRENT_OUT, layer, d, k->b->mixer_bias, &w->out_bias);
}
