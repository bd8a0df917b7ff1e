// Families with latent attention, and what each has of its own (see family.c).
#include <stdio.h>
#include <string.h>

#include "model/family_impl.h"

// DeepSeek's own code has this in its norms of compressed rows, whatever the configuration says of the others.
#define COMPRESSED_EPS 1e-6f

static void set_compressed_eps(hth_builder *b, float eps) {
    for (int32_t i = 0; i < b->d->n_layer && !b->is_gguf; i++) b->d->layers[i].latent.norm_eps = eps;
}

static void read_attention(hth_builder *b) {
    bool neighbours = true;
    hth_family_biases(b, "attention_bias", "mlp_bias");
    hth_builder_latent_rope(b);
    if (hth_meta_bool(b->m, NULL, "rope_interleave", &neighbours) && !neighbours) b->d->rope[0].pairing = HTH_ROPE_NEOX;
}

void hth_family_latent_experts(hth_builder *b, const hth_moe_desc *dflt) {
    int32_t n_dense = 0, step = 1;
    hth_meta_i32(b->m, "leading_dense_block_count", NULL, 0, HTH_MAX_LAYER, &n_dense);
    if (!hth_meta_has(b->m, "expert_count", "n_routed_experts|num_experts") || n_dense == b->d->n_layer) return;
    hth_builder_moe(b, dflt);
    hth_meta_i32(b->m, NULL, "moe_layer_freq", 1, HTH_MAX_LAYER, &step);
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        if (i % step != 0 && b->d->layers[i].ffn == HTH_FFN_MOE) hth_builder_dense(b, i);
    }
}

static void refuse_method(hth_builder *b, const char *known, const char *also) {
    const char *method = known;
    hth_meta_str(b->m, NULL, "topk_method", &method);
    if (strcmp(method, known) == 0 || strcmp(method, also) == 0) return;
    hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: topk_method \"%s\" is not known to family %s", method, b->family->name);
}

// A bias of the choice tells the third generation from the second.
static bool has_choice_bias(const hth_builder *b) {
    int32_t n_dense = 0;
    char name[64];
    hth_meta_i32(b->m, "leading_dense_block_count", NULL, 0, HTH_MAX_LAYER, &n_dense);
    snprintf(name, sizeof name, "blk.%d.exp_probs_b.bias", (int)n_dense);
    return hth_container_find(b->model->container, name) != NULL;
}

// GLM 4.7 Flash was published in GGUF before its files said that scores are sigmoids.
static bool is_glm_lite(hth_builder *b) {
    int64_t n_vocab = 0;
    hth_meta_int(b->m, "vocab_size", NULL, 1, INT32_MAX, &n_vocab);
    return (b->d->n_layer == 47 || b->d->n_layer == 48) && n_vocab == 154880;
}

// GGUF has all generations under one name.
static void read_gguf_experts(hth_builder *b) {
    hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .group_best = 1};
    if (has_choice_bias(b)) moe.group_best = 2;
    if (!hth_meta_has(b->m, "expert_gating_func", NULL) && is_glm_lite(b)) moe.score = HTH_SCORE_SIGMOID;
    hth_family_latent_experts(b, &moe);
}

// Mistral scales queries by their position.
static void read_position_scale(hth_builder *b) {
    float beta = 0;
    int64_t n_orig = b->is_gguf ? 8192 : b->d->rope[0].n_ctx_orig;
    hth_meta_float(b->m, "attention.temperature_scale", "rope_parameters.llama_4_scaling_beta", &beta);
    hth_meta_int(b->m, "attention.temperature_length", NULL, 1, INT64_MAX / 4, &n_orig);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        b->d->layers[i].attn.pos_scale_beta = beta;
        b->d->layers[i].attn.pos_scale_n_orig = n_orig;
    }
}

void hth_family_mistral4(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .group_best = 2, .normalize = true};
    read_attention(b);
    set_compressed_eps(b, COMPRESSED_EPS);
    read_position_scale(b);
    b->bare_experts = !b->is_gguf;
    hth_family_latent_experts(b, &moe);
}

void hth_family_deepseek2(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .group_best = 1};
    hth_family_drop_prediction_layers(b);
    read_attention(b);
    set_compressed_eps(b, COMPRESSED_EPS);
    if (b->is_gguf) {
        read_position_scale(b); // Mistral Large 3 is of this architecture there
        read_gguf_experts(b);
        return;
    }
    bool normalize = false;
    const char *method = "greedy";
    refuse_method(b, "greedy", "group_limited_greedy");
    hth_meta_str(b->m, NULL, "topk_method", &method);
    if (hth_meta_bool(b->m, NULL, "norm_topk_prob", &normalize) && normalize) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: norm_topk_prob is not supported in family %s", b->family->name);
    }
    hth_family_latent_experts(b, &moe);
    for (int32_t i = 0; i < b->d->n_layer && strcmp(method, "greedy") == 0; i++) b->d->layers[i].moe.n_group = 0;
}

void hth_family_deepseek3(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2, .normalize = true};
    hth_family_drop_prediction_layers(b);
    read_attention(b);
    set_compressed_eps(b, COMPRESSED_EPS);
    if (!b->is_gguf) b->choice_bias = 1;
    refuse_method(b, "noaux_tc", "noaux_tc");
    hth_family_latent_experts(b, &moe);
}

// An indexer chooses the keys that a query sees. Here every query sees all of them, which is what the indexer's choice
// comes to as long as there are not more than it may choose.
void hth_family_deepseek32(hth_builder *b) {
    int64_t n = 2048;
    hth_family_deepseek3(b);
    hth_meta_int(b->m, "attention.indexer.top_k", "index_topk", 1, INT64_MAX / 4, &n);
    b->d->n_chosen_keys = n;
}

void hth_family_glm4_moe_lite(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2, .normalize = true};
    read_attention(b);
    b->choice_bias = 1;
    refuse_method(b, "noaux_tc", "noaux_tc");
    hth_family_latent_experts(b, &moe);
}

void hth_family_youtu(hth_builder *b) {
    bool neighbours = true;
    read_attention(b);
    if (hth_meta_bool(b->m, NULL, "rope_traditional", &neighbours) && !neighbours) b->d->rope[0].pairing = HTH_ROPE_NEOX;
}

void hth_family_minicpm3(hth_builder *b) {
    hth_family_minicpm(b);
    read_attention(b);
    set_compressed_eps(b, COMPRESSED_EPS);
}
