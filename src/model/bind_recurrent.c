// Weights of recurrent mixers.
#include <math.h>
#include <string.h>

#include "model/bind_impl.h"

hth_code hth_bind_numbers(hth_binder *k, hth_role role, int32_t layer, const char *suffix, int64_t n, const float **out) {
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, role, layer, suffix, base);
    return t ? hth_bind_vector(k, t, n, 0, out) : hth_bind_missing(k, role, layer, base, suffix);
}

// Files have a channel's factors side by side; the convolution wants a row of channels for each of them. `roles` name
// tensors that have equally many of the channels.
static hth_code bind_channels(hth_binder *k, int32_t layer, const hth_role *roles, int n_role, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t n = r->tail_width, n_tap = r->tail_rows + 1, n_each = n / n_role;
    float *rows = hth_arena_alloc(&k->m->arena, (size_t)(n * n_tap), sizeof *rows);
    if (!rows) return hth_fail_nomem(k->err, (uint64_t)(n * n_tap) * sizeof *rows);
    for (int i = 0; i < n_role; i++) {
        const float *file;
        HTH_TRY(hth_bind_numbers(k, roles[i], layer, ".weight", n_each * n_tap, &file));
        for (int64_t c = 0; c < n_each; c++) {
            for (int64_t j = 0; j < n_tap; j++) rows[j * n + i * n_each + c] = file[c * n_tap + j];
        }
    }
    w->conv = rows;
    return HTH_OK;
}

hth_code hth_bind_conv(hth_binder *k, int32_t layer, int promise, hth_recurrent_weights *w) {
    const hth_role role = HTH_ROLE_CONV;
    const int64_t n = k->b->d->layers[layer].recurrent.tail_width;
    HTH_TRY(bind_channels(k, layer, &role, 1, w));
    return hth_bind_bias(k, HTH_ROLE_CONV, layer, n, promise, &w->conv_bias);
}

static hth_code bind_short_conv(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const int64_t d = k->b->d->d_model;
    const int promise = k->b->conv_bias;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_IN, layer, 3 * d, d, &w->in));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_RECURRENT_IN, layer, 3 * d, promise, &w->in_bias));
    HTH_TRY(hth_bind_conv(k, layer, promise, w));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_OUT, layer, d, d, &w->out));
    return hth_bind_bias(k, HTH_ROLE_RECURRENT_OUT, layer, d, promise, &w->out_bias);
}

// ---- delta rule

// One per head, repeated where every row of a state has a decay. GGUF has -e^a where folders have a.
hth_code hth_bind_decays(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t n_each = r->delta.decay_by_row ? r->head_rows : 1, n = r->n_head * n_each;
    const float *file;
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_RATE, layer, "", r->n_head, &file));
    float *rates = hth_arena_alloc(&k->m->arena, (size_t)n, sizeof *rates);
    if (!rates) return hth_fail_nomem(k->err, (uint64_t)n * sizeof *rates);
    for (int64_t i = 0; i < n; i++) rates[i] = k->b->is_gguf ? file[i / n_each] : -expf(file[i / n_each]);
    w->decay_rate = rates;
    return hth_bind_numbers(k, HTH_ROLE_DELTA_DECAY_BIAS, layer, k->b->is_gguf ? ".bias" : "", n, &w->decay_bias);
}

// The convolution's channels in the order of a grouped projection: those of each key head together.
static hth_code group_channels(hth_binder *k, const hth_recurrent_desc *r, hth_recurrent_weights *w) {
    const int64_t n_key = r->delta.n_key_head, dk = r->head_rows, dv = r->head_cols * (int64_t)(r->n_head / n_key);
    const int64_t n = r->tail_width, group = 2 * dk + dv;
    float *rows = hth_arena_alloc(&k->m->arena, (size_t)(n * (r->tail_rows + 1)), sizeof *rows);
    if (!rows) return hth_fail_nomem(k->err, (uint64_t)n * sizeof *rows);
    for (int64_t j = 0; j <= r->tail_rows; j++) {
        const float *from = w->conv + j * n;
        float *to = rows + j * n;
        for (int64_t h = 0; h < n_key; h++, to += group) {
            memcpy(to, from + h * dk, (size_t)dk * sizeof *to);
            memcpy(to + dk, from + (n_key + h) * dk, (size_t)dk * sizeof *to);
            memcpy(to + 2 * dk, from + 2 * n_key * dk + h * dv, (size_t)dv * sizeof *to);
        }
    }
    w->conv = rows;
    return HTH_OK;
}

static hth_code bind_delta_inputs(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t d = k->b->d->d_model, d_out = (int64_t)r->n_head * r->head_cols;
    char base[HTH_NAME_LEN];
    w->is_grouped = !hth_bind_find(k, HTH_ROLE_DELTA_QKV, layer, ".weight", base) &&
                    hth_bind_find(k, HTH_ROLE_RECURRENT_IN, layer, ".weight", base);
    if (w->is_grouped) {
        HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_IN, layer, r->tail_width + d_out, d, &w->in));
    } else {
        HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_QKV, layer, r->tail_width, d, &w->in));
        HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_GATE, layer, d_out, d, &w->gate));
    }
    w->beta_is_grouped = hth_bind_find(k, HTH_ROLE_DELTA_BETA_DECAY, layer, ".weight", base);
    if (w->beta_is_grouped) return hth_bind_matrix(k, HTH_ROLE_DELTA_BETA_DECAY, layer, 2 * r->n_head, d, &w->beta);
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_BETA, layer, r->n_head, d, &w->beta));
    return hth_bind_matrix(k, HTH_ROLE_DELTA_DECAY, layer, r->n_head, d, &w->decay);
}

// Kimi Linear: everything has a tensor of its own, named like those of attention.
static hth_code bind_kda(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    static const hth_role convolutions[] = {HTH_ROLE_CONV_Q, HTH_ROLE_CONV_K, HTH_ROLE_CONV_V};
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    const int64_t d = k->b->d->d_model, rank = r->head_rows, n = (int64_t)r->n_head * r->head_rows;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_Q, layer, n, d, &w->in));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_K, layer, n, d, &w->key));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_V, layer, n, d, &w->value));
    HTH_TRY(bind_channels(k, layer, convolutions, 3, w));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_DECAY_A, layer, rank, d, &w->decay_a));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_DECAY, layer, n, rank, &w->decay));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_GATE_A, layer, rank, d, &w->gate_a));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_GATE, layer, n, rank, &w->gate));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_DELTA_BETA, layer, r->n_head, d, &w->beta));
    HTH_TRY(hth_bind_decays(k, layer, w));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_NORM, layer, ".weight", r->head_cols, &w->norm));
    return hth_bind_matrix(k, HTH_ROLE_O, layer, d, n, &w->out);
}

static hth_code bind_delta(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_recurrent_desc *r = &k->b->d->layers[layer].recurrent;
    if (r->delta.decay_by_row) return bind_kda(k, layer, w);
    HTH_TRY(bind_delta_inputs(k, layer, w));
    HTH_TRY(hth_bind_conv(k, layer, 0, w));
    if (w->is_grouped) HTH_TRY(group_channels(k, r, w));
    HTH_TRY(hth_bind_decays(k, layer, w));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_NORM, layer, ".weight", r->head_cols, &w->norm));
    return hth_bind_matrix(k, HTH_ROLE_RECURRENT_OUT, layer, k->b->d->d_model, (int64_t)r->n_head * r->head_cols, &w->out);
}

hth_code hth_bind_recurrent(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    switch (k->b->d->layers[layer].recurrent.kind) {
    case HTH_RECURRENT_CONV: return bind_short_conv(k, layer, w);
    case HTH_RECURRENT_DELTA: return bind_delta(k, layer, w);
    case HTH_RECURRENT_MAMBA1: return hth_bind_mamba1(k, layer, w);
    case HTH_RECURRENT_MAMBA2: return hth_bind_mamba(k, layer, w);
    case HTH_RECURRENT_WKV: return hth_bind_wkv(k, layer, w);
    case HTH_RECURRENT_NONE: break;
    }
    return HTH_OK;
}
