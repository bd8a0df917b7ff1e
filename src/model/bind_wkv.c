// Weights of RWKV-7 mixers.
#include <string.h>

#include "model/bind_impl.h"

// GGUF has vectors as tensors of their own, "x.weight"; folders as biases or as bare parameters.
static hth_code bind_own(hth_binder *k, hth_role role, int32_t layer, const char *hub_suffix, const float **out) {
    return hth_bind_numbers(k, role, layer, k->b->is_gguf ? ".weight" : hub_suffix, k->b->d->d_model, out);
}

// [6, d]: one tensor in GGUF, one for each in folders.
static hth_code bind_shift(hth_binder *k, int32_t layer, const float **out) {
    static const hth_role roles[] = {HTH_ROLE_SHIFT_Q, HTH_ROLE_SHIFT_DECAY, HTH_ROLE_SHIFT_K,
                                     HTH_ROLE_SHIFT_V, HTH_ROLE_SHIFT_BETA,  HTH_ROLE_SHIFT_GATE};
    const int64_t d = k->b->d->d_model, n = d * (int64_t)HTH_COUNT(roles);
    if (k->b->is_gguf) return hth_bind_numbers(k, HTH_ROLE_SHIFT, layer, ".weight", n, out);
    float *all = hth_arena_alloc(&k->m->arena, (size_t)n, sizeof *all);
    if (!all) return hth_fail_nomem(k->err, (uint64_t)n * sizeof *all);
    for (size_t i = 0; i < HTH_COUNT(roles); i++) {
        const float *one;
        HTH_TRY(bind_own(k, roles[i], layer, "", &one));
        memcpy(all + (int64_t)i * d, one, (size_t)d * sizeof *all);
    }
    *out = all;
    return HTH_OK;
}

// Two matrices, [rank, d] and [d, rank], and a bias where `bias` is not NONE.
static hth_code bind_pair(hth_binder *k, int32_t layer, hth_role first, hth_role second, hth_role bias, int64_t rank,
                          hth_weight *a, hth_weight *b, const float **bias_out) {
    const int64_t d = k->b->d->d_model;
    HTH_TRY(hth_bind_matrix(k, first, layer, rank, d, a));
    HTH_TRY(hth_bind_matrix(k, second, layer, d, rank, b));
    return bias == HTH_ROLE_NONE ? HTH_OK : bind_own(k, bias, layer, ".bias", bias_out);
}

// GGUF files have this pair in the first layer too, where nothing reads it.
static void pass_over_first(hth_binder *k, int32_t layer) {
    static const hth_role roles[] = {HTH_ROLE_VALUE_MIX_A, HTH_ROLE_VALUE_MIX, HTH_ROLE_VALUE_MIX_BIAS};
    char base[HTH_NAME_LEN];
    for (size_t i = 0; i < HTH_COUNT(roles); i++) {
        hth_bind_mark_used(k, hth_bind_find(k, roles[i], layer, ".weight", base));
        hth_bind_mark_used(k, hth_bind_find(k, roles[i], layer, ".bias", base));
    }
}

hth_code hth_bind_wkv(hth_binder *k, int32_t layer, hth_recurrent_weights *w) {
    const hth_wkv_desc *r = &k->b->d->layers[layer].recurrent.wkv;
    const int64_t d = k->b->d->d_model;
    HTH_TRY(bind_shift(k, layer, &w->shift));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_RECURRENT_IN, layer, d, d, &w->in));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_K, layer, d, d, &w->key));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_V, layer, d, d, &w->value));
    HTH_TRY(bind_pair(k, layer, HTH_ROLE_DELTA_DECAY_A, HTH_ROLE_DELTA_DECAY, HTH_ROLE_DELTA_DECAY_BIAS, r->rank_decay,
                      &w->decay_a, &w->decay, &w->decay_bias));
    HTH_TRY(bind_pair(k, layer, HTH_ROLE_BETA_A, HTH_ROLE_DELTA_BETA, HTH_ROLE_BETA_BIAS, r->rank_beta, &w->beta_a, &w->beta,
                      &w->beta_bias));
    HTH_TRY(bind_pair(k, layer, HTH_ROLE_DELTA_GATE_A, HTH_ROLE_DELTA_GATE, HTH_ROLE_NONE, r->rank_gate, &w->gate_a, &w->gate,
                      NULL));
    if (r->is_first) {
        pass_over_first(k, layer);
    } else {
        HTH_TRY(bind_pair(k, layer, HTH_ROLE_VALUE_MIX_A, HTH_ROLE_VALUE_MIX, HTH_ROLE_VALUE_MIX_BIAS, r->rank_value,
                          &w->value_mix_a, &w->value_mix, &w->value_mix_bias));
    }
    HTH_TRY(bind_own(k, HTH_ROLE_KEY_UNIT, layer, "", &w->key_unit));
    HTH_TRY(bind_own(k, HTH_ROLE_KEY_BETA, layer, "", &w->key_beta));
    HTH_TRY(bind_own(k, HTH_ROLE_BONUS, layer, "", &w->bonus));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_NORM, layer, ".weight", d, &w->norm));
    HTH_TRY(hth_bind_numbers(k, HTH_ROLE_DELTA_NORM, layer, ".bias", d, &w->norm_bias));
    HTH_TRY(bind_own(k, HTH_ROLE_SHIFT_FFN, layer, "", &w->ffn_shift));
    return hth_bind_matrix(k, HTH_ROLE_RECURRENT_OUT, layer, d, d, &w->out);
}
