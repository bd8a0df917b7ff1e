// What families with routed experts share of turning metadata into a description.
#include <math.h>
#include <string.h>

#include "model/family.h"

#define MAX_WIDTH 1048576

static void read_score(hth_builder *b, hth_moe_desc *moe) {
    static const hth_router_score by_number[] = {HTH_SCORE_SOFTMAX, HTH_SCORE_SOFTMAX, HTH_SCORE_SIGMOID, HTH_SCORE_CHOSEN};
    int32_t number = 0;
    if (hth_meta_i32(b->m, "expert_gating_func", NULL, 0, 3, &number) && number > 0) moe->score = by_number[number];
    const char *name = NULL;
    if (!hth_meta_str(b->m, NULL, "scoring_func|score_function|moe_gate_act|moe_router_activation_func", &name)) return;
    if (strcmp(name, "sigmoid") == 0 || strcmp(name, "noaux_tc") == 0) {
        moe->score = HTH_SCORE_SIGMOID;
    } else if (strcmp(name, "softmax") == 0) {
        moe->score = HTH_SCORE_SOFTMAX;
    } else {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: the router's scoring function \"%s\" is not known", name);
    }
}

static void read_groups(hth_builder *b, hth_moe_desc *moe) {
    hth_meta_i32(b->m, "expert_group_count", "n_group|num_expert_group", 0, HTH_MAX_EXPERT, &moe->n_group);
    if (moe->n_group <= 1) return;
    moe->n_group_used = moe->n_group;
    hth_meta_i32(b->m, "expert_group_used_count", "topk_group", 1, HTH_MAX_EXPERT, &moe->n_group_used);
    if (moe->n_expert % moe->n_group != 0) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%d experts cannot form %d equal groups", (int)moe->n_expert, (int)moe->n_group);
    } else if (moe->n_group_used > moe->n_group) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%d groups of experts take part, but there are %d", (int)moe->n_group_used,
                      (int)moe->n_group);
    } else if (moe->n_used > moe->n_expert / moe->n_group * moe->n_group_used) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%d experts are used, but %d groups of %d take part", (int)moe->n_used,
                      (int)moe->n_group_used, (int)(moe->n_expert / moe->n_group));
    }
}

// A number of the whole model that some configs repeat for each layer.
static bool read_same(hth_builder *b, const char *key, const char *path, int32_t lo, int32_t hi, int32_t *out) {
    int64_t each[HTH_MAX_LAYER];
    if (!hth_meta_ints(b->m, key, path, lo, hi, each, b->d->n_layer)) return false;
    for (int32_t i = 1; i < b->d->n_layer; i++) {
        if (each[i] == each[0]) continue;
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "%s differs between layers", b->is_gguf ? key : path);
        return false;
    }
    *out = (int32_t)each[0];
    return true;
}

static void read_counts(hth_builder *b, hth_moe_desc *moe) {
    const bool counted = hth_meta_i32(b->m, "expert_count", "num_local_experts|num_experts|n_routed_experts|moe_num_experts", 1,
                                      HTH_MAX_EXPERT, &moe->n_expert);
    const bool used =
        read_same(b, "expert_used_count", "num_experts_per_tok|moe_k|moe_topk|num_experts_per_token", 1, HTH_MAX_EXPERT_USED, &moe->n_used);
    if (!counted || !used) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%s (the number of experts%s) is missing",
                      b->is_gguf ? (counted ? "metadata key expert_used_count" : "metadata key expert_count")
                                 : (counted ? "config.json: num_experts_per_tok" : "config.json: num_experts"),
                      counted ? " per token" : "");
    } else if (moe->n_used > moe->n_expert) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%d experts are used per token, but there are %d", (int)moe->n_used,
                      (int)moe->n_expert);
    }
}

// Width of the shared feed-forward: stated, or that of so many experts.
static int32_t read_shared(hth_builder *b, hth_moe_desc *moe) {
    int32_t width = 0;
    read_same(b, "expert_shared_count", "n_shared_experts|num_shared_experts|num_shared_expert|moe_num_shared_experts", 0,
              HTH_MAX_EXPERT, &moe->n_shared);
    const int64_t together = (int64_t)moe->n_shared * moe->d_ff;
    if (together > MAX_WIDTH) {
        hth_meta_fail(b->m, HTH_ERR_LIMIT, "%d shared experts of %d are too wide", (int)moe->n_shared, (int)moe->d_ff);
        return 0;
    }
    width = (int32_t)together;
    hth_meta_i32(b->m, "expert_shared_feed_forward_length", "shared_expert_intermediate_size|shared_intermediate_size", 0,
                 MAX_WIDTH, &width);
    if (width > 0 && moe->n_shared == 0) moe->n_shared = 1;
    return width;
}

void hth_builder_moe(hth_builder *b, const hth_moe_desc *dflt) {
    hth_desc *d = b->d;
    hth_moe_desc moe = *dflt;
    if (moe.scale == 0) moe.scale = 1;
    if (moe.group_best == 0) moe.group_best = 1;
    read_counts(b, &moe);
    read_score(b, &moe);
    hth_meta_bool(b->m, "expert_weights_norm", "norm_topk_prob|moe_renormalize", &moe.normalize);
    float scale = 0;
    if (hth_meta_float(b->m, "expert_weights_scale", "routed_scaling_factor|moe_routed_scaling_factor", &scale) &&
        (scale != 0 || !b->is_gguf)) {
        moe.scale = scale;
    }
    if (b->m->code == HTH_OK) read_groups(b, &moe);
    int64_t width[HTH_MAX_LAYER];
    const bool stated = hth_meta_ints(b->m, "expert_feed_forward_length", "moe_intermediate_size|expert_intermediate_size", 1,
                                      MAX_WIDTH, width, d->n_layer);
    int32_t n_dense = 0;
    hth_meta_i32(b->m, "leading_dense_block_count", "first_k_dense_replace", 0, HTH_MAX_LAYER, &n_dense);
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_layer_desc *l = &d->layers[i];
        l->ffn = HTH_FFN_MOE;
        l->moe = moe;
        l->moe.d_ff = stated ? (int32_t)width[i] : l->d_ff;
        b->dense_ff[i] = l->d_ff;
        l->d_ff = read_shared(b, &l->moe);
        if (i < n_dense) hth_builder_dense(b, i);
    }
}

void hth_builder_dense(hth_builder *b, int32_t i) {
    hth_layer_desc *l = &b->d->layers[i];
    l->ffn = HTH_FFN_GATED;
    l->d_ff = b->dense_ff[i];
    l->moe = (hth_moe_desc){0};
}
