// Layers that predict one token further (multi-token prediction, as DeepSeek V3 introduced it): bound as a model of one
// layer that shares everything else with the model it belongs to. It helps speculation only, so a file in which
// something about it is unusual is still a good file: then there is no predictor, and the log says why.
#include "base/log.h"
#include "model/bind_impl.h"

// Where its layer is: behind the last one, or in a place of its own.
static bool find_layer(hth_binder *k) {
    static const char *const roots[] = {"mtp.", "model.mtp.", "language_model.mtp.", "model.language_model.mtp."};
    char base[HTH_NAME_LEN];
    k->first_layer = k->b->d->n_layer;
    if (hth_bind_find(k, HTH_ROLE_NEXT_PROJ, 0, ".weight", base)) return true;
    k->first_layer = 0;
    for (size_t i = 0; !k->b->is_gguf && i < HTH_COUNT(roots); i++) {
        k->root = roots[i];
        if (hth_bind_find(k, HTH_ROLE_NEXT_PROJ, 0, ".weight", base)) return true;
    }
    return false;
}

// It is like the last layer, or the one that the family names.
static hth_code describe(const hth_builder *b, hth_model *p, hth_err *err) {
    const hth_desc *of = b->d;
    const int32_t like = b->next_like > 0 ? b->next_like - 1 : of->n_layer - 1;
    const hth_layer_desc *last = &of->layers[like];
    if (of->n_stream > 1 || of->d_per_layer > 0 || last->recurrent.kind != HTH_RECURRENT_NONE || last->mixer == HTH_MIXER_NONE ||
        last->attn.kv_layer != like) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "a predicting layer is not known for layers like those of %s", of->family);
    }
    p->desc = *of;
    p->desc.n_layer = 1;
    p->desc.layers = hth_arena_alloc(&p->arena, 1, sizeof *p->desc.layers);
    p->layers = hth_arena_alloc(&p->arena, 1, sizeof *p->layers);
    if (!p->desc.layers || !p->layers) return hth_fail_nomem(err, sizeof *p->layers);
    p->desc.layers[0] = *last;
    p->desc.layers[0].attn.kv_layer = 0;
    hth_builder of_it = *b;
    of_it.d = &p->desc;
    of_it.dense_ff[0] = b->dense_ff[like];
    if (b->next_is_dense && last->ffn == HTH_FFN_MOE) hth_builder_dense(&of_it, 0);
    return HTH_OK;
}

// A matrix of its own, or the model's.
static hth_code bind_or_share(hth_binder *k, hth_role role, const hth_weight *shared, hth_weight *out) {
    const hth_desc *d = k->b->d;
    char base[HTH_NAME_LEN];
    *out = *shared;
    if (!hth_bind_find(k, role, 0, ".weight", base)) return HTH_OK;
    return hth_bind_matrix(k, role, 0, d->n_vocab, d->d_model, out);
}

static hth_code bind(hth_binder *k, const hth_model *of) {
    hth_model *p = k->m;
    const int64_t d = p->desc.d_model;
    const float *no_bias;
    char base[HTH_NAME_LEN];
    HTH_TRY(hth_bind_layer(k, 0));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_NEXT_PROJ, 0, d, 2 * d, &p->combine));
    HTH_TRY(hth_bind_norm(k, HTH_ROLE_NEXT_EMBD_NORM, 0, d, &p->combine_embd_norm, &no_bias));
    HTH_TRY(hth_bind_norm(k, HTH_ROLE_NEXT_HIDDEN_NORM, 0, d, &p->combine_hidden_norm, &no_bias));
    HTH_TRY(bind_or_share(k, HTH_ROLE_NEXT_EMBD, &of->token_embd, &p->token_embd));
    HTH_TRY(bind_or_share(k, HTH_ROLE_NEXT_OUTPUT, &of->output, &p->output));
    p->output_bias = of->output_bias;
    p->output_norm = of->output_norm;
    p->output_norm_bias = of->output_norm_bias;
    if (!hth_bind_find(k, HTH_ROLE_NEXT_NORM, 0, ".weight", base)) return HTH_OK;
    return hth_bind_norm(k, HTH_ROLE_NEXT_NORM, 0, d, &p->output_norm, &p->output_norm_bias);
}

static hth_code make(hth_binder *k, hth_model *p, hth_err *err) {
    hth_builder builder = *k->b;
    const hth_model *of = k->m;
    builder.model = p;
    builder.d = &p->desc;
    HTH_TRY(describe(k->b, p, err));
    p->container = of->container;
    p->buffers = of->buffers;
    k->used = hth_arena_alloc(&p->arena, (size_t)hth_container_n_tensor(k->c), sizeof *k->used);
    if (!k->used) return hth_fail_nomem(err, (uint64_t)hth_container_n_tensor(k->c));
    k->b = &builder;
    k->m = p;
    k->err = err;
    return bind(k, of);
}

hth_code hth_bind_predictor(const hth_binder *binder) {
    enum { MAX_BYTES = 1 << 30 };
    hth_binder k = *binder;
    hth_err why;
    if (!k.b->d->causal || k.b->d->n_layer == 0 || !find_layer(&k)) return HTH_OK;
    hth_model *p = hth_calloc(HTH_MEM_MODEL, 1, sizeof *p);
    if (!p) return hth_fail_nomem(binder->err, sizeof *p);
    hth_arena_init(&p->arena, HTH_MEM_MODEL, MAX_BYTES);
    const hth_code code = make(&k, p, &why);
    if (code == HTH_OK) {
        binder->m->predictor = p;
        return HTH_OK;
    }
    hth_arena_free(&p->arena);
    hth_free(p);
    if (code == HTH_ERR_NOMEM) return *binder->err = why, code;
    hth_log(HTH_LOG_WARN, "the layer that predicts further tokens is not used: %s", why.msg);
    return HTH_OK;
}
