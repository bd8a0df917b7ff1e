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

// Qwen keeps some layers dense: those listed, and all but every n-th.
static void qwen_dense_layers(hth_builder *b) {
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
    qwen_dense_layers(b);
}

void hth_family_qwen3_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .normalize = b->is_gguf};
    hth_family_biases(b, "attention_bias", NULL);
    qwen_windows(b);
    hth_builder_moe(b, &moe);
    qwen_dense_layers(b);
}

void hth_family_gpt_oss(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_CHOSEN, .act_limit = 7, .act_alpha = 1.702f};
    if (!b->is_gguf) {
        bool bias = true;
        hth_meta_bool(b->m, NULL, "attention_bias", &bias);
        b->qkv_bias = b->o_bias = bias;
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
