// Opening a model: container, family, description, binding.
#include "model/model.h"

#include <stdio.h>
#include <string.h>

#include "model/bind.h"
#include "model/residency.h"
#include "os/file.h"

// Descriptions, vectors and tables of even the largest models stay far below this.
#define MAX_ARENA_BYTES ((uint64_t)4 << 30)

static hth_code refuse_family(const char *name, bool is_gguf, hth_err *err) {
    char known[360] = "", more[32] = "";
    size_t at = 0;
    int n_more = 0;
    for (int i = 0; hth_family_at(i); i++) {
        const char *other = is_gguf ? hth_family_at(i)->gguf[0] : hth_family_at(i)->hub[0];
        if (!other) continue;
        const bool fits = n_more == 0 && at + strlen(other) + 2 < sizeof known;
        if (fits) at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", at ? " " : "", other);
        n_more += !fits;
    }
    if (n_more > 0) snprintf(more, sizeof more, " and %d more", n_more);
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "family \"%.60s\" is not known; known are: %s%s", name, known, more);
}

// Families that are dense as far as this engine knows them must not be run wrongly.
static hth_code refuse_experts(hth_meta *m, const hth_family *family, hth_err *err) {
    int64_t n = 0;
    bool moe = false;
    hth_meta_int(m, "expert_count", "num_local_experts|num_experts|n_routed_experts", 0, INT32_MAX, &n);
    hth_meta_bool(m, NULL, "enable_moe_block", &moe);
    HTH_TRY(hth_meta_check(m));
    if ((n <= 1 && !moe) || (family->traits & HTH_TRAIT_MOE)) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "this is a mixture of %lld experts, which family %s is not known to be", (long long)n,
                    family->name);
}

static hth_code wrap_files(hth_model *m, hth_err *err) {
    const int n = hth_container_n_file(m->container);
    m->buffers = hth_arena_alloc(&m->arena, (size_t)n, sizeof *m->buffers);
    if (!m->buffers) return hth_fail_nomem(err, (uint64_t)n * sizeof *m->buffers);
    for (int i = 0; i < n; i++) m->buffers[i].host = hth_container_file_data(m->container, i, &m->buffers[i].n_bytes);
    return HTH_OK;
}

static hth_code build(hth_model *m, const char *path, hth_err *err) {
    HTH_TRY(hth_container_open(path, &m->container, err));
    HTH_TRY(wrap_files(m, err));
    hth_meta meta;
    const char *name;
    HTH_TRY(hth_meta_open(m->container, &meta, &name, err));
    const bool is_gguf = meta.gguf != NULL;
    const hth_family *family = hth_family_find(name, is_gguf);
    if (!family) return refuse_family(name, is_gguf, err);
    meta.defaults = family->defaults;
    HTH_TRY(refuse_experts(&meta, family, err));
    hth_builder b = {.m = &meta, .model = m, .d = &m->desc, .family = family, .is_gguf = is_gguf,
                     .qkv_bias = -1, .o_bias = -1, .mlp_bias = -1, .conv_bias = -1, .mixer_bias = -1, .choice_bias = -1};
    HTH_TRY(hth_describe(&b, err));
    return hth_bind(&b, err);
}

hth_code hth_model_open(const char *path, hth_model **out, hth_err *err) {
    *out = NULL;
    hth_model *m = hth_calloc(HTH_MEM_MODEL, 1, sizeof *m);
    if (!m) return hth_fail_nomem(err, sizeof *m);
    hth_arena_init(&m->arena, HTH_MEM_MODEL, MAX_ARENA_BYTES);
    hth_code code = build(m, path, err);
    if (code != HTH_OK) {
        bool named = m->container == NULL; // the container's own errors carry file names already
        hth_model_free(m);
        return named ? code : hth_fail_in(err, code, path);
    }
    *out = m;
    return HTH_OK;
}

// What it shares is its model's.
static void free_predictor(hth_model *p) {
    if (!p) return;
    hth_arena_free(&p->arena);
    hth_free(p);
}

void hth_model_free(hth_model *m) {
    if (!m) return;
    free_predictor(m->predictor);
    hth_stream_free(m->stream);
    hth_arena_free(&m->arena);
    hth_container_close(m->container);
    hth_free(m);
}

hth_code hth_model_check_files(const hth_model *m, hth_err *err) {
    for (int i = 0; i < hth_container_n_file(m->container); i++) {
        if (!hth_file_map_is_damaged(m->buffers[i].host)) continue;
        return hth_fail(err, HTH_ERR_IO, "%s: the file was cut off, or its disk failed, while the model was in use",
                        hth_container_file_path(m->container, i));
    }
    return HTH_OK;
}

int hth_layer_matrices(const hth_layer *l, const hth_weight *all[HTH_LAYER_MATRICES]) {
    const hth_weight *const list[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down, &l->per_layer_gate,
                                      &l->per_layer_proj, &l->laurel_left, &l->laurel_right, &l->router,
                                      &l->shared_router, &l->recurrent.in, &l->recurrent.out, &l->recurrent.gate,
                                      &l->recurrent.beta, &l->recurrent.decay, &l->recurrent.key, &l->recurrent.value,
                                      &l->recurrent.gate_a, &l->recurrent.decay_a, &l->recurrent.x, &l->recurrent.step,
                                      &l->recurrent.beta_a, &l->recurrent.value_mix_a, &l->recurrent.value_mix,
                                      &l->latent.q_a, &l->latent.kv_a, &l->latent_in, &l->latent_out};
    int n = 0;
    _Static_assert(HTH_COUNT(list) <= HTH_LAYER_MATRICES, "room for all");
    for (size_t i = 0; i < HTH_COUNT(list); i++) {
        if (hth_weight_exists(list[i])) all[n++] = list[i];
    }
    return n;
}
