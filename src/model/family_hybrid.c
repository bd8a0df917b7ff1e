// Families whose layers are recurrent in part, and what each has of its own (see family.c).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family_impl.h"

// ---- shared pieces

// Whether layer i of a folder has attention, by layer_types.
static bool is_typed_full(hth_builder *b, int32_t i, const char *other) {
    const char *type = hth_meta_item(b->m, "layer_types", i);
    if (!type) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: layer_types does not cover layer %d", (int)i);
    } else if (strcmp(type, "full_attention") != 0 && strcmp(type, other) != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: layer type \"%s\" is not known to family %s", type,
                      b->family->name);
    }
    return type && strcmp(type, "full_attention") == 0;
}

// Whether an array of config.json lists the number.
static bool is_listed(const hth_json *list, int64_t number) {
    for (uint64_t k = 0; list && list->kind == HTH_JSON_ARRAY && k < list->n; k++) {
        const hth_json *item = &list->u.items[k];
        if (item->kind == HTH_JSON_NUMBER && item->is_int && item->u.num.i == number) return true;
    }
    return false;
}

// ---- LFM2

static bool lfm2_is_full(hth_builder *b, int32_t i) {
    if (b->is_gguf) return b->d->layers[i].attn.n_kv_head > 0;
    const hth_json *list = hth_json_get(b->m->text, "full_attn_idxs");
    if (list && list->kind == HTH_JSON_ARRAY) return is_listed(list, i);
    return is_typed_full(b, i, "conv");
}

// The feed-forward's width, which config.json states before its adjustment.
static int32_t lfm2_width(hth_builder *b) {
    int32_t width = b->d->layers[0].d_ff, multiple = 256;
    bool adjust = true;
    double factor = 1;
    hth_meta_i32(b->m, NULL, "block_ff_dim", 1, 1048576, &width);
    hth_meta_bool(b->m, NULL, "block_auto_adjust_ff_dim", &adjust);
    hth_meta_num(b->m, NULL, "block_ffn_dim_multiplier", &factor);
    hth_meta_i32(b->m, NULL, "block_multiple_of", 1, 1048576, &multiple);
    if (!adjust) return width;
    factor *= 2 * width / 3;
    if (!(factor >= 1 && factor <= 1048576)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: block_ffn_dim_multiplier gives a feed-forward of %g", factor);
        return 1;
    }
    return ((int32_t)factor + multiple - 1) / multiple * multiple;
}

static void lfm2_mixers(hth_builder *b) {
    int32_t n_tap = 3;
    bool bias = false, causal = true;
    const int32_t window = b->is_gguf ? hth_family_window(b) : 0;
    hth_meta_bool(b->m, "attention.causal", NULL, &causal);
    if (!causal) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "models of family %s that see ahead are not supported", b->family->name);
    hth_meta_bool(b->m, NULL, "conv_bias", &bias);
    b->conv_bias = bias;
    if (!b->is_gguf) b->qkv_bias = b->o_bias = b->mlp_bias = 0;
    hth_meta_i32(b->m, "shortconv.l_cache", "conv_L_cache", 2, HTH_MAX_TAIL_ROWS + 1, &n_tap);
    if (!b->is_gguf && !hth_meta_has(b->m, NULL, "rope_theta|rope_parameters.rope_theta")) b->d->rope[0].theta = 1e6;
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        l->attn.window = window;
        if (lfm2_is_full(b, i)) continue;
        l->mixer = HTH_MIXER_NONE;
        l->recurrent = (hth_recurrent_desc){.kind = HTH_RECURRENT_CONV, .tail_rows = n_tap - 1, .tail_width = b->d->d_model};
    }
}

void hth_family_lfm2(hth_builder *b) {
    lfm2_mixers(b);
    const int32_t width = b->is_gguf ? 0 : lfm2_width(b);
    for (int32_t i = 0; i < b->d->n_layer && width > 0; i++) b->d->layers[i].d_ff = width;
}

void hth_family_lfm2_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .normalize = b->is_gguf, .normalize_min = 1e-6f};
    bool choice = true;
    lfm2_mixers(b);
    hth_meta_bool(b->m, NULL, "use_expert_bias", &choice);
    b->choice_bias = choice;
    hth_builder_moe(b, &moe);
    int32_t n_dense = 0;
    hth_meta_i32(b->m, NULL, "num_dense_layers", 0, HTH_MAX_LAYER, &n_dense);
    for (int32_t i = 0; i < b->d->n_layer && i < n_dense; i++) hth_builder_dense(b, i);
}

// ---- Qwen3-Next and Qwen 3.5

static bool qwen_is_full(hth_builder *b, int32_t i) {
    int32_t period = 4;
    if (hth_meta_has(b->m, NULL, "layer_types")) return is_typed_full(b, i, "linear_attention");
    if (b->is_gguf) {
        char key[160];
        snprintf(key, sizeof key, "%s.attention.recurrent_layers", b->m->arch);
        const hth_gguf_kv *kv = hth_gguf_find(b->m->gguf, key);
        if (kv && (kv->kind != HTH_GGUF_ARRAY || kv->item_kind == HTH_GGUF_STRING || (uint64_t)i >= kv->n)) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "metadata key %s does not cover layer %d", key, (int)i);
            return true;
        }
        if (kv) return hth_gguf_item_i64(kv, (uint64_t)i) == 0;
    }
    hth_meta_i32(b->m, "full_attention_interval", "full_attention_interval", 1, HTH_MAX_LAYER, &period);
    return (i + 1) % period == 0;
}

static void need_size(hth_builder *b, const char *key, const char *path, int32_t lo, int32_t hi, int32_t *out) {
    if (hth_meta_i32(b->m, key, path, lo, hi, out)) return;
    hth_meta_fail(b->m, HTH_ERR_FORMAT, "%s%s is missing", b->is_gguf ? "metadata key " : "config.json: ",
                  b->is_gguf ? key : path);
}

// The sizes of a gated delta rule.
static hth_recurrent_desc read_delta(hth_builder *b) {
    hth_recurrent_desc r = {.kind = HTH_RECURRENT_DELTA, .delta = {.n_key_head = 1, .gate_act = HTH_ACT_SILU}};
    int32_t n_tap = 4, d_value = 0;
    need_size(b, "ssm.conv_kernel", "linear_conv_kernel_dim", 2, HTH_MAX_TAIL_ROWS + 1, &n_tap);
    need_size(b, "ssm.state_size", "linear_key_head_dim", 1, 65536, &r.head_rows);
    need_size(b, "ssm.group_count", "linear_num_key_heads", 1, 65536, &r.delta.n_key_head);
    need_size(b, "ssm.time_step_rank", "linear_num_value_heads", 1, 65536, &r.n_head);
    need_size(b, "ssm.inner_size", "linear_value_head_dim", 1, 1 << 24, &d_value);
    if (b->m->code != HTH_OK) return r;
    if (r.n_head % r.delta.n_key_head != 0) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%d value heads cannot share %d key heads", (int)r.n_head, (int)r.delta.n_key_head);
    } else if (b->is_gguf && d_value % r.n_head != 0) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "metadata key ssm.inner_size: %d numbers cannot be shared by %d value heads",
                      (int)d_value, (int)r.n_head);
    }
    r.head_cols = b->is_gguf ? d_value / r.n_head : d_value;
    const int64_t width = 2 * (int64_t)r.delta.n_key_head * r.head_rows + (int64_t)r.n_head * r.head_cols;
    if (width > 1 << 24) hth_meta_fail(b->m, HTH_ERR_LIMIT, "a recurrent layer of %lld numbers is too wide", (long long)width);
    r.tail_rows = n_tap - 1;
    r.tail_width = width > 1 << 24 ? 1 : (int32_t)width;
    return r;
}

static void qwen_mixers(hth_builder *b, bool keys_alternate) {
    bool gated = true;
    hth_family_drop_prediction_layers(b);
    hth_family_biases(b, "attention_bias", NULL);
    hth_meta_bool(b->m, NULL, "attn_output_gate", &gated);
    hth_recurrent_desc r = read_delta(b);
    r.delta.keys_alternate = keys_alternate;
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        l->attn.gated = gated;
        if (qwen_is_full(b, i)) {
            b->next_like = i + 1;
            continue;
        }
        l->mixer = HTH_MIXER_NONE;
        l->recurrent = r;
    }
}

void hth_family_qwen3_next(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .normalize = true, .shared_gated = true};
    qwen_mixers(b, false);
    hth_builder_moe(b, &moe);
    hth_family_qwen_dense_layers(b);
}

// GGUF files have the heads of values in turns.
void hth_family_qwen35(hth_builder *b) {
    qwen_mixers(b, b->is_gguf);
}

void hth_family_qwen35_moe(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX, .normalize = true, .shared_gated = true};
    qwen_mixers(b, b->is_gguf);
    b->bare_experts = !b->is_gguf;
    hth_builder_moe(b, &moe);
    hth_family_qwen_dense_layers(b);
}

// ---- Kimi Linear

// Layers are listed from 1 on.
static bool kimi_is_full(hth_builder *b, int32_t i, const int64_t *n_kv_head) {
    if (b->is_gguf) return n_kv_head[i] > 0;
    const hth_json *config = hth_json_get(b->m->text, "linear_attn_config");
    const bool full = is_listed(hth_json_get(config, "full_attn_layers"), i + 1);
    if (full == is_listed(hth_json_get(config, "kda_layers"), i + 1)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: linear_attn_config lists layer %d %s", (int)i + 1, full ? "twice" : "nowhere");
    }
    return full;
}

void hth_family_kimi_linear(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2, .normalize = true};
    hth_recurrent_desc r = {.kind = HTH_RECURRENT_DELTA, .delta = {.decay_by_row = true, .gate_act = HTH_ACT_SIGMOID}};
    int64_t n_kv_head[HTH_MAX_LAYER];
    int32_t n_tap = 4;
    bool no_positions = true;
    hth_family_drop_prediction_layers(b);
    hth_meta_bool(b->m, NULL, "mla_use_nope", &no_positions);
    if (!no_positions) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: mla_use_nope false is not known to family kimi-linear");
    if (b->is_gguf && !hth_meta_ints(b->m, "attention.head_count_kv", NULL, 0, 65536, n_kv_head, b->d->n_layer)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "metadata key attention.head_count_kv (which layers have attention) is missing");
    }
    need_size(b, "ssm.conv_kernel", "linear_attn_config.short_conv_kernel_size", 2, HTH_MAX_TAIL_ROWS + 1, &n_tap);
    need_size(b, "kda.head_dim", "linear_attn_config.head_dim", 1, 4096, &r.head_rows);
    need_size(b, "attention.head_count", "linear_attn_config.num_heads", 1, 4096, &r.n_head);
    b->choice_bias = 1;
    hth_family_latent_experts(b, &moe);
    r.delta.n_key_head = r.n_head;
    r.head_cols = r.head_rows;
    r.tail_rows = n_tap - 1;
    r.tail_width = 3 * r.n_head * r.head_rows;
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        l->attn.rope = -1;
        if (kimi_is_full(b, i, n_kv_head)) continue;
        l->mixer = HTH_MIXER_NONE;
        l->recurrent = r;
    }
}
