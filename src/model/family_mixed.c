// Families with routed experts whose layers attend in two ways: some see everything, some a part (see family.c).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family_impl.h"

#define MAX_WIDTH 1048576

// Whether config.json has a list of numbers at `path` that is not empty.
static bool has_list(const hth_builder *b, const char *path) {
    const hth_json *v = b->is_gguf ? NULL : hth_json_get(b->m->text, path);
    return v && v->kind == HTH_JSON_ARRAY && v->n > 0;
}

// A switch that some files write as a number.
static bool is_on(const hth_builder *b, const char *path, bool dflt) {
    const hth_json *v = hth_json_get(b->m->text, path);
    if (!v || v->kind == HTH_JSON_NULL) return dflt;
    return v->kind == HTH_JSON_BOOL ? v->u.b : v->kind != HTH_JSON_NUMBER || v->u.num.d != 0;
}

// ---- Llama 4

// Layers with positions see their own chunk; the others everything, their queries scaled by position.
typedef struct llama4_attention {
    int64_t chunk; // 0: those with positions see everything too
    bool qk_norm;
    bool scaled;
    int32_t floor_scale;
    float attn_scale;
} llama4_attention;

static llama4_attention llama4_read(hth_builder *b) {
    llama4_attention a = {.chunk = 8192, .qk_norm = true, .scaled = true, .floor_scale = 8192, .attn_scale = 0.1f};
    if (b->is_gguf) { // no keys: llama.cpp goes by the published models
        int32_t window = 1, n_expert = 0;
        if (hth_meta_i32(b->m, "attention.sliding_window", NULL, 0, INT32_MAX, &window) && window == 0) a.chunk = 0;
        hth_meta_i32(b->m, "expert_count", NULL, 1, HTH_MAX_EXPERT, &n_expert);
        a.qk_norm = n_expert != 128;
        return a;
    }
    a.chunk = 0;
    hth_meta_int(b->m, NULL, "attention_chunk_size", 1, INT32_MAX, &a.chunk);
    hth_meta_bool(b->m, NULL, "use_qk_norm", &a.qk_norm);
    a.scaled = is_on(b, "attn_temperature_tuning", true);
    hth_meta_i32(b->m, NULL, "floor_scale", 1, INT32_MAX, &a.floor_scale);
    hth_meta_float(b->m, NULL, "attn_scale", &a.attn_scale);
    return a;
}

static void llama4_layer(hth_attention_desc *at, const llama4_attention *a, bool has_rope) {
    if (has_rope) {
        at->window = a->chunk;
        at->chunked = a->chunk > 0;
        at->qk_norm = a->qk_norm ? HTH_QK_NORM_HEAD : HTH_QK_NORM_NONE;
        at->qk_norm_after_rope = at->qk_norm_no_weight = true;
        return;
    }
    at->rope = -1;
    if (!a->scaled) return;
    at->pos_scale_beta = a->attn_scale;
    at->pos_scale_n_orig = a->floor_scale;
    at->pos_scale_offset = 1;
}

static void llama4_positions(hth_builder *b) {
    const llama4_attention a = llama4_read(b);
    int64_t has_rope[HTH_MAX_LAYER];
    int32_t step = 4;
    const bool listed =
        has_list(b, "no_rope_layers") && hth_meta_ints(b->m, NULL, "no_rope_layers", 0, 1, has_rope, b->d->n_layer);
    hth_meta_i32(b->m, NULL, "no_rope_layer_interval", 1, HTH_MAX_LAYER, &step);
    if (b->is_gguf && a.chunk == 0) step = HTH_MAX_LAYER + 1; // all with positions
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        llama4_layer(&b->d->layers[i].attn, &a, listed ? has_rope[i] != 0 : (i + 1) % step != 0);
        const char *type = hth_meta_item(b->m, "layer_types", i);
        if (!type || (strcmp(type, "full_attention") == 0) == (b->d->layers[i].attn.rope < 0)) continue;
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: layer %d is of type \"%s\", but %s positions", (int)i, type,
                      b->d->layers[i].attn.rope < 0 ? "has no" : "has");
    }
}

// Experts in every n-th layer, or in those listed.
static void llama4_dense_layers(hth_builder *b) {
    bool is_moe[HTH_MAX_LAYER] = {false};
    int32_t step = 1, width = b->d->layers[0].d_ff;
    hth_meta_i32(b->m, "interleave_moe_layer_step", "interleave_moe_layer_step", 1, HTH_MAX_LAYER, &step);
    const hth_json *list = has_list(b, "moe_layers") ? hth_json_get(b->m->text, "moe_layers") : NULL;
    for (uint64_t k = 0; list && k < list->n; k++) {
        const hth_json *item = &list->u.items[k];
        const bool ok = item->kind == HTH_JSON_NUMBER && item->is_int && item->u.num.i >= 0 && item->u.num.i < b->d->n_layer;
        if (!ok) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: moe_layers names a layer that is not there");
            return;
        }
        is_moe[item->u.num.i] = true;
    }
    hth_meta_i32(b->m, NULL, "intermediate_size_mlp", 1, MAX_WIDTH, &width);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        if (!b->is_gguf) b->dense_ff[i] = width;
        l->d_ff = l->moe.d_ff; // one shared expert, as wide as the others
        l->moe.n_shared = 1;
        if (list ? !is_moe[i] : (i + 1) % step != 0) hth_builder_dense(b, i);
    }
}

void hth_family_llama4(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .weight_input = true};
    hth_family_biases(b, "attention_bias", NULL);
    b->bare_experts = b->turned_experts = !b->is_gguf;
    hth_builder_moe(b, &moe);
    llama4_positions(b);
    llama4_dense_layers(b);
}

// ---- MiMo V2

// What the layers with a window have of their own.
static void mimo_windowed(hth_builder *b, int32_t i, int32_t window) {
    hth_attention_desc *a = &b->d->layers[i].attn;
    a->window = window;
    a->rope = 1;
    if (b->is_gguf) return; // the number of key heads is a list there, the rest is the same
    hth_meta_i32(b->m, NULL, "swa_num_attention_heads", 1, 65536, &a->n_head);
    hth_meta_i32(b->m, NULL, "swa_num_key_value_heads", 1, 65536, &a->n_kv_head);
    hth_meta_i32(b->m, NULL, "swa_head_dim", 1, 65536, &a->head_dim);
    hth_meta_i32(b->m, NULL, "swa_v_head_dim", 1, 65536, &a->head_dim_v);
    a->scale = hth_meta_narrow(b->m, "the query scale", 1 / sqrt((double)a->head_dim));
}

static void mimo_ropes(hth_builder *b) {
    hth_rope *local = &b->d->rope[1];
    double partial = 1;
    int32_t head_dim = b->d->layers[0].attn.head_dim;
    *local = b->d->rope[0];
    b->d->n_rope = 2;
    hth_meta_num(b->m, "rope.freq_base_swa", "swa_rope_theta", &local->theta);
    if (b->is_gguf) return;
    hth_meta_i32(b->m, NULL, "swa_head_dim", 1, 65536, &head_dim);
    hth_meta_num(b->m, NULL, "partial_rotary_factor", &partial);
    if (partial > 0 && partial <= 1) local->n_rot = (int32_t)(partial * head_dim);
}

// Learned sinks are there where the config says so; GGUF files have no word on them.
static void mimo_sinks(hth_builder *b) {
    bool full = false, windowed = true;
    hth_meta_bool(b->m, NULL, "add_full_attention_sink_bias", &full);
    hth_meta_bool(b->m, NULL, "add_swa_attention_sink_bias", &windowed);
    for (int32_t i = 0; i < b->d->n_layer && !b->is_gguf; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.attention_sink_bias", (int)i);
        const bool wanted = b->d->layers[i].attn.window > 0 ? windowed : full;
        if (wanted == (hth_container_find(b->model->container, name) != NULL)) continue;
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: layer %d %s attention sinks, but tensor %s %s", (int)i,
                      wanted ? "has" : "has no", name, wanted ? "is missing" : "exists");
    }
}

static void missing(hth_builder *b, const char *key, const char *path) {
    hth_meta_fail(b->m, HTH_ERR_FORMAT, "%s%s is missing", b->is_gguf ? "metadata key mimo2." : "config.json: ",
                  b->is_gguf ? key : path);
}

static void mimo_layers(hth_builder *b) {
    hth_desc *d = b->d;
    int64_t hybrid[HTH_MAX_LAYER], routed[HTH_MAX_LAYER];
    float v_scale = 0;
    int32_t window = 0, v_dim = d->layers[0].attn.head_dim_v;
    const bool has_kinds =
        hth_meta_ints(b->m, "attention.sliding_window_pattern", "hybrid_layer_pattern", 0, 1, hybrid, d->n_layer);
    const bool has_routed = !b->is_gguf && hth_meta_ints(b->m, NULL, "moe_layer_freq", 0, 1, routed, d->n_layer);
    hth_meta_i32(b->m, "attention.sliding_window", "sliding_window_size|sliding_window", 1, INT32_MAX, &window);
    hth_meta_i32(b->m, NULL, "v_head_dim", 1, 65536, &v_dim);
    hth_meta_float(b->m, "attention.value_scale", "attention_value_scale", &v_scale);
    if (!has_kinds) missing(b, "attention.sliding_window_pattern", "hybrid_layer_pattern");
    if (window == 0) missing(b, "attention.sliding_window", "sliding_window_size");
    for (int32_t i = 0; i < d->n_layer && b->m->code == HTH_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", (int)i);
        d->layers[i].attn.v_scale = v_scale == 1 ? 0 : v_scale;
        d->layers[i].attn.head_dim_v = v_dim;
        if (hybrid[i] != 0) mimo_windowed(b, i, window);
        if (hybrid[i] != 0) b->next_like = i + 1;
        const bool is_routed =
            b->is_gguf ? hth_container_find(b->model->container, name) != NULL : !has_routed || routed[i] != 0;
        if (!is_routed) hth_builder_dense(b, i);
    }
}

void hth_family_mimo2(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2, .normalize = b->is_gguf};
    const char *method = "noaux_tc";
    hth_family_drop_prediction_layers(b);
    hth_family_biases(b, "attention_bias", NULL);
    if (!b->is_gguf) b->o_bias = 0;
    b->choice_bias = 1;
    hth_meta_str(b->m, NULL, "topk_method", &method);
    if (strcmp(method, "noaux_tc") != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: topk_method \"%s\" is not known to family mimo2", method);
    }
    hth_builder_moe(b, &moe);
    b->next_is_dense = true;
    mimo_ropes(b);
    mimo_layers(b);
    mimo_sinks(b);
}
