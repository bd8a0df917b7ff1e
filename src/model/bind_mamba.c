// Weights of Mamba mixers.
#include "model/bind_impl.h"

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
