// Families with routed experts, and what each has of its own (see family.c).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family_impl.h"

// Mixtral; in GGUF it calls itself llama.
void hth_family_mixtral(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_CHOSEN};
    hth_family_biases(b, "attention_bias", NULL);
    if (!b->is_gguf) hth_family_windows(b, 0);
    hth_builder_moe(b, &moe);
}

void hth_family_qwen_dense_layers(hth_builder *b) {
    int32_t step = 1;
    hth_meta_i32(b->m, NULL, "decoder_sparse_step", 1, HTH_MAX_LAYER, &step);
    const hth_json *list = b->is_gguf ? NULL : hth_json_get(b->m->text, "mlp_only_layers");
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        bool is_dense = (i + 1) % step != 0;
        for (uint64_t k = 0; list && list->kind == HTH_JSON_ARRAY && k < list->n; k++) {
            const hth_json *item = &list->u.items[k];
            is_dense |= item->kind == HTH_JSON_NUMBER && item->is_int && item->u.num.i == i;
        }
        if (is_dense) hth_builder_dense(b, i);
    }
}

static void qwen_windows(hth_builder *b) {
    bool use = false;
    if (hth_meta_bool(b->m, NULL, "use_sliding_window", &use) && use) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: use_sliding_window is not supported in family %s", b->family->name);
    }
}

void hth_family_qwen2_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .shared_gated = true};
    bool bias = true;
    hth_meta_bool(b->m, NULL, "qkv_bias", &bias);
    if (!b->is_gguf) {
        b->qkv_bias = bias;
        b->o_bias = b->mlp_bias = 0;
    }
    qwen_windows(b);
    hth_builder_moe(b, &moe);
    hth_family_qwen_dense_layers(b);
}

void hth_family_qwen3_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .normalize = b->is_gguf};
    hth_family_biases(b, "attention_bias", NULL);
    qwen_windows(b);
    hth_builder_moe(b, &moe);
    hth_family_qwen_dense_layers(b);
}

void hth_family_gpt_oss(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_CHOSEN, .act_limit = 7, .act_alpha = 1.702f};
    if (!b->is_gguf) {
        bool bias = true;
        hth_meta_bool(b->m, NULL, "attention_bias", &bias);
        b->qkv_bias = b->o_bias = bias;
        b->bare_experts = b->turned_experts = true;
    }
    hth_builder_moe(b, &moe);
    float limit = moe.act_limit;
    if (hth_meta_float(b->m, NULL, "swiglu_limit", &limit) && !(limit > 0)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: swiglu_limit is %g, not positive", (double)limit);
    }
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].moe.act_limit = limit;
    // Every other layer is full, from the second on, where the metadata lists nothing.
    hth_family_windows(b, 2);
}

void hth_family_drop_prediction_layers(hth_builder *b) {
    int32_t n = 0;
    if (b->is_gguf && hth_meta_i32(b->m, "nextn_predict_layers", NULL, 0, b->d->n_layer - 1, &n)) b->d->n_layer -= n;
}

static void set_qk_norm(hth_builder *b, hth_qk_norm kind) {
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].attn.qk_norm = kind;
}

void hth_family_glm4_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2, .normalize = true};
    bool qk_norm = b->is_gguf && hth_container_find(b->model->container, "blk.0.attn_q_norm.weight");
    hth_family_drop_prediction_layers(b);
    hth_family_biases(b, "attention_bias", NULL);
    if (!b->is_gguf) b->o_bias = 0;
    b->choice_bias = 1;
    hth_meta_bool(b->m, NULL, "use_qk_norm", &qk_norm);
    if (qk_norm) set_qk_norm(b, HTH_QK_NORM_HEAD);
    hth_builder_moe(b, &moe);
}

void hth_family_dots1(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2};
    hth_family_biases(b, "attention_bias", "mlp_bias");
    if (!b->is_gguf) b->choice_bias = 1;
    qwen_windows(b);
    hth_builder_moe(b, &moe);
}

void hth_family_olmoe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX};
    hth_family_biases(b, "attention_bias", "mlp_bias");
    if (hth_meta_has(b->m, "attention.clamp_kqv", "clip_qkv")) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "clipped queries, keys and values (clip_qkv) are not known to family olmoe");
    }
    hth_builder_moe(b, &moe);
}

void hth_family_granite_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_CHOSEN};
    hth_family_granite(b);
    hth_builder_moe(b, &moe);
}

// Ernie: experts in every n-th layer between two others.
void hth_family_ernie_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .normalize = true, .normalize_min = b->is_gguf ? 6.103515625e-5f : 1e-12f};
    int32_t first = 0, last = b->d->n_layer - 1, step = 1;
    hth_family_biases(b, "use_bias", "use_bias");
    hth_builder_moe(b, &moe);
    hth_meta_i32(b->m, NULL, "moe_layer_start_index", 0, HTH_MAX_LAYER, &first);
    hth_meta_i32(b->m, NULL, "moe_layer_end_index", -1, HTH_MAX_LAYER, &last);
    hth_meta_i32(b->m, "interleave_moe_layer_step", "moe_layer_interval", 1, HTH_MAX_LAYER, &step);
    if (last < 0) last = b->d->n_layer - 1;
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        if (i < first || i > last || (i + 1) % step != 0) hth_builder_dense(b, i);
    }
}

void hth_family_hunyuan_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .normalize = true};
    bool mixed = true, shares_kv = false;
    hth_family_hunyuan(b);
    hth_builder_moe(b, &moe);
    hth_meta_bool(b->m, NULL, "use_mixed_mlp_moe", &mixed);
    hth_meta_bool(b->m, NULL, "use_cla", &shares_kv);
    if (shares_kv) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: use_cla is not supported in family hunyuan-moe");
    for (int32_t i = 0; i < b->d->n_layer && !b->is_gguf; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        const int64_t width = mixed ? (int64_t)b->dense_ff[i] * l->moe.n_shared : 0;
        if (width > 1048576) hth_meta_fail(b->m, HTH_ERR_LIMIT, "a shared expert of %lld is too wide", (long long)width);
        l->d_ff = width > 1048576 ? 0 : (int32_t)width;
    }
}

// MiniMax M2. Its elders of the same name have linear attention in most layers.
void hth_family_minimax(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .normalize = true};
    bool qk_norm = true;
    b->choice_bias = 1;
    if (!b->is_gguf) b->qkv_bias = b->o_bias = 0;
    hth_meta_bool(b->m, NULL, "use_qk_norm", &qk_norm);
    set_qk_norm(b, qk_norm ? HTH_QK_NORM_ALL : HTH_QK_NORM_NONE);
    hth_meta_i32(b->m, NULL, "rotary_dim", 2, 65536, &b->d->rope[0].n_rot);
    if (hth_family_window(b) > 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: sliding_window is not supported in family minimax-m2");
    }
    int64_t kinds[HTH_MAX_LAYER];
    if (hth_meta_ints(b->m, NULL, "attn_type_list", 1, 1, kinds, b->d->n_layer) && b->m->code != HTH_OK) return;
    hth_builder_moe(b, &moe);
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].d_ff = 0; // the config names a shared width of old
}

// Ling. The second generation has scores by sigmoid, limited groups, a bias of the choice and norms on queries and keys.
void hth_family_bailing_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .group_best = 2};
    bool bias = false, mlp_bias = false, norm_head = false, choice_bias = false, shared = true;
    bool qk_norm = b->is_gguf && hth_container_find(b->model->container, "blk.0.attn_q_norm.weight");
    hth_family_drop_prediction_layers(b);
    if (!b->is_gguf) {
        hth_meta_bool(b->m, NULL, "use_qkv_bias", &bias);
        hth_meta_bool(b->m, NULL, "use_bias", &mlp_bias);
        hth_meta_bool(b->m, NULL, "use_qk_norm", &qk_norm);
        hth_meta_bool(b->m, NULL, "moe_router_enable_expert_bias", &choice_bias);
        hth_meta_bool(b->m, NULL, "moe_router_enable_shared_expert", &shared);
        b->qkv_bias = bias;
        b->o_bias = b->mlp_bias = mlp_bias;
        b->choice_bias = choice_bias;
    }
    hth_meta_bool(b->m, NULL, "norm_head", &norm_head);
    if (norm_head) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: norm_head is not supported in family %s", b->family->name);
    if (qk_norm) set_qk_norm(b, HTH_QK_NORM_HEAD);
    hth_meta_i32(b->m, NULL, "rotary_dim", 2, 65536, &b->d->rope[0].n_rot);
    hth_builder_moe(b, &moe);
    int32_t width = 0;
    const bool stated = hth_meta_i32(b->m, NULL, "moe_shared_expert_intermediate_size", 1, 65536, &width);
    for (int32_t i = 0; i < b->d->n_layer && !b->is_gguf; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        if (l->ffn != HTH_FFN_MOE) continue;
        if (stated && l->moe.n_shared <= 16) l->d_ff = width * l->moe.n_shared;
        if (!shared) l->d_ff = 0;
    }
}

// Phi 3.5 MoE. Its longrope states the magnitudes.
void hth_family_phimoe(hth_builder *b) {
    hth_moe_desc moe = {.score = HTH_SCORE_BAND, .band = 0.02f};
    float jitter = 0.01f;
    double short_scale = 0, long_scale = 0;
    bool attention = false, output = false;
    hth_meta_bool(b->m, NULL, "attention_bias", &attention);
    hth_meta_bool(b->m, NULL, "lm_head_bias", &output);
    b->qkv_bias = b->o_bias = attention;
    if (output != (hth_container_find(b->model->container, "lm_head.bias") != NULL)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: lm_head_bias contradicts tensor lm_head.bias");
    }
    hth_family_windows(b, 0);
    if (hth_meta_float(b->m, NULL, "router_jitter_noise", &jitter)) moe.band = 2 * jitter;
    if (hth_meta_num(b->m, NULL, "rope_scaling.short_mscale|rope_parameters.short_mscale", &short_scale) &&
        hth_meta_num(b->m, NULL, "rope_scaling.long_mscale|rope_parameters.long_mscale", &long_scale)) {
        if (short_scale != long_scale) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: short_mscale differs from long_mscale");
        b->d->rope[0].attn_factor = short_scale;
    }
    hth_builder_moe(b, &moe);
}

// The first DeepSeek MoE, which attends as Llama does.
void hth_family_deepseek_1(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX};
    int32_t step = 1;
    hth_family_biases(b, "attention_bias", NULL);
    hth_builder_moe(b, &moe);
    hth_meta_i32(b->m, NULL, "moe_layer_freq", 1, HTH_MAX_LAYER, &step);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        if (i % step != 0 && b->d->layers[i].ffn == HTH_FFN_MOE) hth_builder_dense(b, i);
    }
}
