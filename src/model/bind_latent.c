// Binds latent attention. The expansions of keys and values come as one matrix of all heads or as two with the keys'
// turned around (hth_latent): each head gets a view of its own.
#include "model/bind_impl.h"

static hth_code new_heads(hth_binder *k, int32_t n_head, hth_weight **out) {
    *out = hth_arena_alloc(&k->m->arena, (size_t)n_head, sizeof **out);
    return *out ? HTH_OK : hth_fail_nomem(k->err, (uint64_t)n_head * sizeof **out);
}

// One matrix: of each head the rows of keys, then those of values.
static hth_code bind_joined(hth_binder *k, int32_t i, hth_latent *l) {
    const hth_latent_desc *d = &k->b->d->layers[i].latent;
    const int32_t n_head = k->b->d->layers[i].attn.n_head;
    const int64_t n = d->d_nope + d->d_v;
    hth_weight all;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_KV_B, i, n_head * n, d->kv_rank, &all));
    for (int32_t h = 0; h < n_head; h++) {
        HTH_TRY(hth_weight_slice_rows(&all, h * n, d->d_nope, &l->k_up[h], k->err));
        HTH_TRY(hth_weight_slice_rows(&all, h * n + d->d_nope, d->d_v, &l->v_up[h], k->err));
    }
    return HTH_OK;
}

// A tensor with a matrix per head, stacked or one after the other.
static hth_code bind_heads(hth_binder *k, hth_role role, int32_t i, int64_t n_row, int64_t n_col, hth_weight *heads) {
    const int32_t n_head = k->b->d->layers[i].attn.n_head;
    char base[HTH_NAME_LEN];
    hth_weight all;
    const hth_tensor *t = hth_bind_find(k, role, i, ".weight", base);
    if (!t) return hth_bind_missing(k, role, i, base, ".weight");
    const bool is_stacked = t->n_dim == 3;
    k->stack = is_stacked ? n_head : 0;
    const hth_code code = hth_bind_tensor(k, base, t, is_stacked ? n_row : n_head * n_row, n_col, &all);
    k->stack = 0;
    HTH_TRY(code);
    for (int32_t h = 0; h < n_head; h++) {
        if (!is_stacked) {
            HTH_TRY(hth_weight_slice_rows(&all, h * n_row, n_row, &heads[h], k->err));
            continue;
        }
        heads[h] = all;
        heads[h].n_expert = 1;
        heads[h].codes.at.off += (uint64_t)h * all.codes.expert_bytes;
        heads[h].scales.at.off += (uint64_t)h * all.scales.expert_bytes;
        heads[h].biases.at.off += (uint64_t)h * all.biases.expert_bytes;
    }
    return HTH_OK;
}

static hth_code bind_queries(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_latent_desc *d = &k->b->d->layers[i].latent;
    const int64_t n = (int64_t)k->b->d->layers[i].attn.n_head * (d->d_nope + d->d_rope), width = k->b->d->d_model;
    if (d->q_rank == 0) return hth_bind_matrix(k, HTH_ROLE_Q, i, n, width, &l->q);
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_Q_A, i, d->q_rank, width, &l->latent.q_a));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_Q_A, i, d->q_rank, k->b->qkv_bias, &l->latent.q_a_bias));
    HTH_TRY(hth_bind_norm(k, HTH_ROLE_Q_A_NORM, i, d->q_rank, &l->latent.q_norm, NULL));
    return hth_bind_matrix(k, HTH_ROLE_Q_B, i, n, d->q_rank, &l->q);
}

hth_code hth_bind_latent(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_latent_desc *d = &k->b->d->layers[i].latent;
    const int32_t n_head = k->b->d->layers[i].attn.n_head;
    const int64_t n_kv = d->kv_rank + d->d_rope;
    char base[HTH_NAME_LEN];
    HTH_TRY(bind_queries(k, i, l));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_KV_A, i, n_kv, k->b->d->d_model, &l->latent.kv_a));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_KV_A, i, n_kv, k->b->qkv_bias, &l->latent.kv_a_bias));
    HTH_TRY(hth_bind_norm(k, HTH_ROLE_KV_A_NORM, i, d->kv_rank, &l->latent.kv_norm, NULL));
    HTH_TRY(new_heads(k, n_head, &l->latent.k_up));
    HTH_TRY(new_heads(k, n_head, &l->latent.v_up));
    const hth_tensor *joined = hth_bind_find(k, HTH_ROLE_KV_B, i, ".weight", base);
    if (!hth_bind_find(k, HTH_ROLE_K_B, i, ".weight", base)) return bind_joined(k, i, &l->latent);
    hth_bind_mark_used(k, joined); // some files have both
    l->latent.k_up_turned = true;
    HTH_TRY(bind_heads(k, HTH_ROLE_K_B, i, d->kv_rank, d->d_nope, l->latent.k_up));
    return bind_heads(k, HTH_ROLE_V_B, i, d->d_v, d->kv_rank, l->latent.v_up);
}
