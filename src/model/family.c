// The table of families, and what each has of its own. Facts are those of the authors' published code (the
// transformers library for hubs, ggml's model conventions for GGUF); docs/models.md tells where each was checked.
#include "base/fp.h"
#include "model/family_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- shared pieces

static void set_window(hth_builder *b, int32_t i, int32_t window) {
    b->d->layers[i].attn.window = window;
}

int32_t hth_family_window(hth_builder *b) {
    int32_t window = 0;
    hth_meta_i32(b->m, "attention.sliding_window", "sliding_window", 0, INT32_MAX, &window);
    return window;
}

// Layers that are not full see `window` tokens; period as in hth_builder_is_full.
void hth_family_windows(hth_builder *b, int32_t period) {
    int32_t window = hth_family_window(b);
    for (int32_t i = 0; i < b->d->n_layer && window > 0; i++) {
        if (!hth_builder_is_full(b, i, period)) set_window(b, i, window);
    }
}

void hth_family_biases(hth_builder *b, const char *attention, const char *mlp) {
    if (b->is_gguf) return;
    bool attn = false, ffn = false;
    hth_meta_bool(b->m, NULL, attention, &attn);
    hth_meta_bool(b->m, NULL, mlp, &ffn);
    b->qkv_bias = b->o_bias = attn;
    b->mlp_bias = ffn;
}

// A second rotation, a copy of the first without scaling, for the windowed layers.
static hth_rope *add_local_rope(hth_builder *b) {
    hth_rope *r = &b->d->rope[1];
    *r = b->d->rope[0];
    r->scaling = HTH_SCALING_NONE;
    r->factor = r->attn_factor = 0;
    r->divisors[0] = r->divisors[1] = NULL;
    b->d->n_rope = 2;
    return r;
}

// ---- families

static void adjust_llama(hth_builder *b) {
    int64_t n_expert = 0;
    hth_meta_int(b->m, "expert_count", "num_local_experts|num_experts|n_routed_experts", 0, INT32_MAX, &n_expert);
    if (n_expert > 1 && b->is_gguf) { // Mixtral's name there
        hth_family_mixtral(b);
        return;
    }
    if (n_expert > 1) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "this is a mixture of %lld experts, which family llama is not known to be",
                      (long long)n_expert);
    }
    hth_family_biases(b, "attention_bias", "mlp_bias");
    if (hth_meta_has(b->m, NULL, "layer_types")) hth_family_windows(b, 1);
}

static void adjust_mistral(hth_builder *b) {
    hth_family_biases(b, "attention_bias", "mlp_bias");
    hth_family_windows(b, 0);
}

static void adjust_mistral3(hth_builder *b) {
    hth_desc *d = b->d;
    hth_family_biases(b, "attention_bias", "mlp_bias");
    hth_family_windows(b, 0);
    float beta = 0;
    hth_meta_float(b->m, "attention.temperature_scale", "rope_parameters.llama_4_scaling_beta", &beta);
    double log_mul = 0;
    if (hth_meta_num(b->m, "rope.scaling.yarn_log_multiplier", NULL, &log_mul) && log_mul != 0) {
        d->rope[0].mscale = 1;
        d->rope[0].mscale_all_dim = log_mul;
    }
    for (int32_t i = 0; i < d->n_layer; i++) {
        d->layers[i].attn.pos_scale_beta = beta;
        d->layers[i].attn.pos_scale_n_orig = d->rope[0].n_ctx_orig;
    }
}

static void adjust_smollm3(hth_builder *b) {
    hth_family_biases(b, "attention_bias", "mlp_bias");
    int64_t has_rope[HTH_MAX_LAYER];
    int32_t step = 4;
    hth_meta_i32(b->m, NULL, "no_rope_layer_interval", 1, HTH_MAX_LAYER, &step);
    bool listed = hth_meta_ints(b->m, NULL, "no_rope_layers", 0, 1, has_rope, b->d->n_layer);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        if (listed ? has_rope[i] == 0 : (i + 1) % step == 0) b->d->layers[i].attn.rope = -1;
    }
    bool use_window = false;
    if (hth_meta_bool(b->m, NULL, "use_sliding_window", &use_window) && use_window) hth_family_windows(b, 1);
}

static void window_of_qwen(hth_builder *b) {
    bool use = false;
    int32_t from = 0;
    if (!hth_meta_bool(b->m, NULL, "use_sliding_window", &use) || !use) return;
    hth_meta_i32(b->m, NULL, "max_window_layers", 0, HTH_MAX_LAYER, &from);
    int32_t window = hth_family_window(b);
    bool typed = hth_meta_has(b->m, NULL, "layer_types");
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        if (typed ? !hth_builder_is_full(b, i, 1) : i >= from) set_window(b, i, window);
    }
}

static void adjust_qwen2(hth_builder *b) {
    if (!b->is_gguf) {
        b->qkv_bias = 1;
        b->o_bias = b->mlp_bias = 0;
    }
    window_of_qwen(b);
}

static void adjust_qwen3(hth_builder *b) {
    hth_family_biases(b, "attention_bias", NULL);
    window_of_qwen(b);
}

// Embedding models of the Gemma line let text see ahead; "vision" leaves text causal.
static void refuse_two_way(hth_builder *b) {
    const hth_json *v = b->is_gguf ? NULL : hth_json_get(b->m->text, "use_bidirectional_attention");
    bool ahead = v && ((v->kind == HTH_JSON_BOOL && v->u.b) || (v->kind == HTH_JSON_STRING && strcmp(v->u.str, "vision") != 0));
    if (ahead) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: use_bidirectional_attention is not supported for text");
}

static void set_query_scale(hth_builder *b) {
    double scalar = b->d->layers[0].attn.head_dim;
    // GGUF has no key for it; the 27B models of Gemma 2 (46 layers) and 3 (62) use the width of an equal share.
    if (b->is_gguf && (b->d->n_layer == 46 || b->d->n_layer == 62)) {
        scalar = (double)b->d->d_model / b->d->layers[0].attn.n_head;
    }
    hth_meta_num(b->m, NULL, "query_pre_attn_scalar", &scalar);
    if (!(scalar > 0)) hth_meta_fail(b->m, HTH_ERR_FORMAT, "query_pre_attn_scalar is %g, not positive", scalar);
    const float scale = hth_meta_narrow(b->m, "the query scale", 1 / sqrt(scalar));
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].attn.scale = scale;
}

static void read_softcaps(hth_builder *b) {
    float attn = 0;
    hth_meta_float(b->m, "attn_logit_softcapping", "attn_logit_softcapping", &attn);
    hth_meta_float(b->m, "final_logit_softcapping", "final_logit_softcapping", &b->d->logit_softcap);
    if (attn < 0 || b->d->logit_softcap < 0) hth_meta_fail(b->m, HTH_ERR_FORMAT, "a softcap is negative");
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].attn.softcap = attn;
}

static void adjust_gemma(hth_builder *b) {
    hth_family_biases(b, "attention_bias", NULL);
}

static void adjust_gemma2(hth_builder *b) {
    hth_family_biases(b, "attention_bias", NULL);
    set_query_scale(b);
    read_softcaps(b);
    hth_family_windows(b, 2);
}

static void adjust_gemma3(hth_builder *b) {
    hth_desc *d = b->d;
    hth_family_biases(b, "attention_bias", NULL);
    refuse_two_way(b);
    set_query_scale(b);
    read_softcaps(b);
    hth_family_windows(b, 6);
    // The authors' hub code keeps this factor in bf16; GGUF's engines do not.
    if (!b->is_gguf) d->embd_scale = hth_bf16_to_f32(hth_f32_to_bf16(d->embd_scale));
    hth_rope *local = add_local_rope(b);
    local->theta = 10000;
    hth_meta_num(b->m, "rope.freq_base_swa", "rope_local_base_freq", &local->theta);
    if (hth_meta_has(b->m, NULL, "rope_parameters.full_attention")) {
        hth_builder_rope(b, "rope_parameters.full_attention", &d->rope[0]);
        hth_builder_rope(b, "rope_parameters.sliding_attention", local);
    }
    for (int32_t i = 0; i < d->n_layer; i++) d->layers[i].attn.rope = hth_builder_is_full(b, i, 6) ? 0 : 1;
}

// Layers from first_shared on read the keys of the last layer before it that is of their own kind.
static void share_kv(hth_builder *b, int32_t n_shared, const bool *is_full) {
    hth_desc *d = b->d;
    const int32_t first = d->n_layer - n_shared;
    if (n_shared > 0 && first < 1) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "%d layers share keys, but there are only %d", (int)n_shared, (int)d->n_layer);
        return;
    }
    for (int32_t i = first; i < d->n_layer; i++) {
        int32_t owner = first - 1;
        while (owner >= 0 && is_full[owner] != is_full[i]) owner--;
        if (owner < 0) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d shares keys, but no earlier layer is of its kind", (int)i);
            return;
        }
        d->layers[i].attn.kv_layer = owner;
    }
}

static void gemma4_ropes(hth_builder *b, int32_t full_dim, int32_t local_dim) {
    hth_desc *d = b->d;
    hth_rope *full = &d->rope[0];
    hth_rope *local = add_local_rope(b);
    double partial = 0.25;
    full->n_rot = full_dim;
    local->n_rot = local_dim;
    local->theta = 10000;
    hth_meta_num(b->m, "rope.freq_base_swa", NULL, &local->theta);
    hth_meta_i32(b->m, "rope.dimension_count_swa", NULL, 2, 65536, &local->n_rot);
    if (b->is_gguf) return; // the pairs that stay still are divisors in rope_freqs
    full->theta = 1e6;
    hth_meta_num(b->m, NULL, "rope_parameters.full_attention.partial_rotary_factor", &partial);
    if (!(partial > 0 && partial <= 1) || (int32_t)(partial * full_dim) < 2) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: partial_rotary_factor is %g, outside 0..1", partial);
        return;
    }
    full->n_turning = (int32_t)(partial * full_dim) / 2;
    hth_builder_rope(b, "rope_parameters.full_attention", full);
    local->n_turning = local_dim / 2;
    hth_builder_rope(b, "rope_parameters.sliding_attention", local);
}

static void gemma4_layer(hth_builder *b, int32_t i, bool is_full, int32_t full_dim, int32_t local_dim) {
    hth_layer_desc *l = &b->d->layers[i];
    l->attn.head_dim = l->attn.head_dim_v = is_full ? full_dim : local_dim;
    l->attn.scale = 1;
    l->attn.v_norm = true;
    l->attn.rope = is_full ? 0 : 1;
    l->has_layer_scalar = true;
    l->has_per_layer_input = b->d->d_per_layer > 0;
}

static void adjust_gemma4(hth_builder *b) {
    hth_desc *d = b->d;
    bool is_full[HTH_MAX_LAYER], k_is_v = false, wide = false;
    int32_t n_shared = 0, full_kv = 0, full_dim = d->layers[0].attn.head_dim, local_dim = full_dim;
    hth_family_biases(b, "attention_bias", NULL);
    refuse_two_way(b);
    read_softcaps(b);
    hth_family_windows(b, 6);
    hth_meta_i32(b->m, NULL, "global_head_dim", 2, 65536, &full_dim);
    hth_meta_i32(b->m, "attention.key_length_swa", NULL, 2, 65536, &local_dim);
    int32_t full_v = full_dim, local_v = local_dim;
    hth_meta_i32(b->m, "attention.value_length", NULL, 2, 65536, &full_v);
    hth_meta_i32(b->m, "attention.value_length_swa", NULL, 2, 65536, &local_v);
    if (full_v != full_dim || local_v != local_dim) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "keys of %d and values of %d in one head", (int)full_dim, (int)full_v);
    }
    hth_meta_i32(b->m, "embedding_length_per_layer_input", "hidden_size_per_layer_input", 0, 65536, &d->d_per_layer);
    d->n_vocab_per_layer = d->n_vocab;
    hth_meta_i32(b->m, NULL, "vocab_size_per_layer_input", 1, INT32_MAX, &d->n_vocab_per_layer);
    hth_meta_i32(b->m, "attention.shared_kv_layers", "num_kv_shared_layers", 0, HTH_MAX_LAYER, &n_shared);
    hth_meta_bool(b->m, NULL, "attention_k_eq_v", &k_is_v);
    hth_meta_i32(b->m, NULL, "num_global_key_value_heads", 1, 65536, &full_kv);
    hth_meta_bool(b->m, NULL, "use_double_wide_mlp", &wide);
    for (int32_t i = 0; i < d->n_layer; i++) {
        is_full[i] = hth_builder_is_full(b, i, 6);
        hth_layer_desc *l = &d->layers[i];
        char path[64]; // how newer configs state what global_head_dim and num_global_key_value_heads state
        snprintf(path, sizeof path, "per_layer_config.%d.head_dim", (int)i);
        hth_meta_i32(b->m, NULL, path, 2, 65536, is_full[i] ? &full_dim : &local_dim);
        gemma4_layer(b, i, is_full[i], full_dim, local_dim);
        snprintf(path, sizeof path, "per_layer_config.%d.num_key_value_heads", (int)i);
        hth_meta_i32(b->m, NULL, path, 1, 65536, &l->attn.n_kv_head);
        if (k_is_v && is_full[i]) l->attn.v_is_k = true;
        if (k_is_v && is_full[i] && full_kv > 0) l->attn.n_kv_head = full_kv;
        if (wide && i >= d->n_layer - n_shared) l->d_ff *= 2;
        char name[64]; // GGUF: layers without a value matrix reuse the keys
        snprintf(name, sizeof name, "blk.%d.attn_v.weight", (int)i);
        if (b->is_gguf && i < d->n_layer - n_shared && !hth_container_find(b->model->container, name)) l->attn.v_is_k = true;
    }
    gemma4_ropes(b, full_dim, local_dim);
    share_kv(b, n_shared, is_full);
}

// The standard normal's quantile of p in (0, 1), by Newton's method on its distribution function.
static double normal_quantile(double p) {
    double x = 0;
    for (int i = 0; i < 60; i++) {
        const double density = exp(-x * x / 2) / 2.506628274631000502415765;
        const double step = (0.5 * erfc(-x / sqrt(2.0)) - p) / (density > 1e-300 ? density : 1e-300);
        x -= step > 1 ? 1 : step < -1 ? -1 : step; // far from the root the slope misleads
    }
    return x;
}

// Which share of a layer's gate values is cut off; GGUF has the multiplier of the deviation itself.
static void gemma3n_sparsity(hth_builder *b) {
    hth_desc *d = b->d;
    float share[HTH_MAX_LAYER];
    const char *path = "activation_sparsity_pattern";
    if (b->is_gguf) {
        const hth_gguf_kv *kv = hth_gguf_find(b->m->gguf, "gemma3n.activation_sparsity_scale");
        if (kv && (kv->kind != HTH_GGUF_ARRAY || kv->item_kind != HTH_GGUF_F32 || kv->n < (uint64_t)d->n_layer)) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "%s is not an array of %d f32 numbers", kv->key, (int)d->n_layer);
            return;
        }
        for (int32_t i = 0; kv && i < d->n_layer; i++) { // minus infinity where nothing is cut
            const double v = hth_gguf_item_f64(kv, (uint64_t)i);
            d->layers[i].has_gate_cut = fabs(v) < 100;
            if (d->layers[i].has_gate_cut) d->layers[i].gate_cut = (float)v;
        }
    } else if (hth_meta_has(b->m, NULL, path) && hth_meta_nums(b->m, NULL, path, share, d->n_layer)) {
        for (int32_t i = 0; i < d->n_layer; i++) {
            if (share[i] < 0 || share[i] >= 1) {
                hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: %s is %g at layer %d, outside 0..1", path, (double)share[i], (int)i);
                return;
            }
            d->layers[i].has_gate_cut = share[i] > 0;
            if (share[i] > 0) d->layers[i].gate_cut = (float)normal_quantile((double)share[i]);
        }
    }
}

static void gemma3n_streams(hth_builder *b) {
    hth_desc *d = b->d;
    int32_t active = 0;
    double clip = 120;
    d->n_stream = 4;
    d->stream_scale = true;
    hth_meta_i32(b->m, "altup.num_inputs", "altup_num_inputs", 2, HTH_MAX_STREAM, &d->n_stream);
    hth_meta_i32(b->m, "altup.active_idx", "altup_active_idx", 0, HTH_MAX_STREAM, &active);
    hth_meta_bool(b->m, NULL, "altup_correct_scale", &d->stream_scale);
    if (hth_meta_has(b->m, NULL, "altup_coef_clip") && hth_meta_num(b->m, NULL, "altup_coef_clip", &clip)) {
        d->stream_clip = hth_meta_narrow(b->m, "altup_coef_clip", fabs(clip));
    }
    if (active != 0) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "stream %d is the active one; only 0 is known", (int)active);
}

static void adjust_gemma3n(hth_builder *b) {
    hth_desc *d = b->d;
    bool is_full[HTH_MAX_LAYER];
    int32_t n_shared = b->is_gguf && d->n_layer > 20 ? d->n_layer - 20 : 0; // what GGUF files leave out
    hth_family_biases(b, "attention_bias", NULL);
    read_softcaps(b);
    hth_family_windows(b, 5);
    hth_rope *local = add_local_rope(b);
    local->theta = 10000;
    hth_meta_num(b->m, "rope.freq_base_swa", "rope_local_base_freq", &local->theta);
    if (hth_meta_has(b->m, NULL, "rope_parameters.full_attention")) {
        hth_builder_rope(b, "rope_parameters.full_attention", &d->rope[0]);
        hth_builder_rope(b, "rope_parameters.sliding_attention", local);
    }
    d->d_per_layer = 256;
    d->n_vocab_per_layer = d->n_vocab;
    hth_meta_i32(b->m, "embedding_length_per_layer_input", "hidden_size_per_layer_input", 1, 65536, &d->d_per_layer);
    hth_meta_i32(b->m, NULL, "vocab_size_per_layer_input", 1, INT32_MAX, &d->n_vocab_per_layer);
    hth_meta_i32(b->m, "attention.shared_kv_layers", "num_kv_shared_layers", 0, HTH_MAX_LAYER, &n_shared);
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_layer_desc *l = &d->layers[i];
        is_full[i] = hth_builder_is_full(b, i, 5);
        l->attn.rope = is_full[i] ? 0 : 1;
        l->attn.scale = 1;
        l->attn.v_norm = true;
        l->has_laurel = l->has_per_layer_input = true;
    }
    gemma3n_sparsity(b);
    gemma3n_streams(b);
    share_kv(b, n_shared, is_full);
}

static void adjust_phi3(hth_builder *b) {
    if (!b->is_gguf) b->qkv_bias = b->o_bias = b->mlp_bias = 0;
    hth_family_windows(b, 0);
}

static void adjust_phi2(hth_builder *b) {
    bool qk_norm = false;
    if (!b->is_gguf) b->qkv_bias = b->o_bias = b->mlp_bias = 1;
    hth_meta_bool(b->m, NULL, "qk_layernorm", &qk_norm);
    if (qk_norm) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: qk_layernorm is not known to family phi2");
}

static void read_logit_scale(hth_builder *b, const char *path, bool divides) {
    double scale = 0;
    if (!hth_meta_num(b->m, "logit_scale", path, &scale) || scale == 0) return;
    b->d->logit_scale = hth_meta_narrow(b->m, "the logit scale", divides ? 1 / scale : scale);
}

static void adjust_cohere(hth_builder *b) {
    bool qk_norm = b->is_gguf && hth_container_find(b->model->container, "blk.0.attn_q_norm.weight");
    hth_family_biases(b, "attention_bias", NULL);
    hth_meta_bool(b->m, NULL, "use_qk_norm", &qk_norm);
    if (!b->is_gguf) b->d->logit_scale = 0.0625f;
    read_logit_scale(b, "logit_scale", false);
    for (int32_t i = 0; i < b->d->n_layer && qk_norm; i++) {
        hth_attention_desc *a = &b->d->layers[i].attn;
        a->qk_norm = HTH_QK_NORM_HEAD;
        a->qk_norm_kind = HTH_NORM_LAYER;
        a->qk_norm_per_head_weight = true;
    }
}

static void adjust_cohere2(hth_builder *b) {
    hth_family_biases(b, "attention_bias", NULL);
    if (!b->is_gguf) b->d->logit_scale = 0.0625f;
    read_logit_scale(b, "logit_scale", false);
    hth_family_windows(b, 4);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        if (hth_builder_is_full(b, i, 4)) b->d->layers[i].attn.rope = -1;
    }
}

static void adjust_olmo2(hth_builder *b) {
    hth_desc *d = b->d;
    hth_family_biases(b, "attention_bias", NULL);
    if (hth_family_window(b) == 0) return;
    hth_family_windows(b, 4);
    hth_rope *local = add_local_rope(b);
    hth_meta_num(b->m, "rope.freq_base_swa", NULL, &local->theta);
    if (hth_meta_has(b->m, NULL, "rope_parameters.full_attention")) {
        hth_builder_rope(b, "rope_parameters.full_attention", &d->rope[0]);
        hth_builder_rope(b, "rope_parameters.sliding_attention", local);
    }
    for (int32_t i = 0; i < d->n_layer; i++) d->layers[i].attn.rope = hth_builder_is_full(b, i, 4) ? 0 : 1;
}

void hth_family_granite(hth_builder *b) {
    float residual = 1, attn = b->d->layers[0].attn.scale;
    hth_family_biases(b, "attention_bias", "mlp_bias");
    hth_meta_float(b->m, "embedding_scale", "embedding_multiplier", &b->d->embd_scale);
    hth_meta_float(b->m, "residual_scale", "residual_multiplier", &residual);
    hth_meta_float(b->m, "attention.scale", "attention_multiplier", &attn);
    read_logit_scale(b, "logits_scaling", true);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        b->d->layers[i].residual_scale = residual;
        b->d->layers[i].attn.scale = attn;
    }
}

void hth_family_minicpm(hth_builder *b) {
    hth_desc *d = b->d;
    double depth = 1.4, base = 256, residual;
    if (!b->is_gguf) b->qkv_bias = b->o_bias = b->mlp_bias = 0;
    d->embd_scale = 12;
    hth_meta_float(b->m, "embedding_scale", "scale_emb", &d->embd_scale);
    hth_meta_num(b->m, NULL, "scale_depth", &depth);
    hth_meta_num(b->m, NULL, "dim_model_base", &base);
    residual = depth / sqrt(d->n_layer);
    hth_meta_num(b->m, "residual_scale", NULL, &residual);
    d->logit_scale = hth_meta_narrow(b->m, "the logit scale", base / d->d_model);
    read_logit_scale(b, NULL, true);
    const float scale = hth_meta_narrow(b->m, "the residual scale", residual);
    for (int32_t i = 0; i < d->n_layer; i++) d->layers[i].residual_scale = scale;
}

static void adjust_glm4(hth_builder *b) {
    hth_family_biases(b, "attention_bias", NULL);
    if (!b->is_gguf) b->o_bias = 0;
    if (!b->is_gguf && !hth_meta_has(b->m, NULL, "partial_rotary_factor|rope_parameters.partial_rotary_factor")) {
        b->d->rope[0].n_rot = b->d->layers[0].attn.head_dim / 2;
    }
}

static void adjust_starcoder2(hth_builder *b) {
    if (!b->is_gguf) {
        bool bias = true;
        hth_meta_bool(b->m, NULL, "use_bias", &bias);
        b->qkv_bias = b->o_bias = b->mlp_bias = bias;
    }
    hth_family_windows(b, 0);
}

// "LLLG" repeats over the layers.
static bool exaone4_is_full(hth_builder *b, int32_t i) {
    const hth_json *v = b->is_gguf ? NULL : hth_json_get(b->m->text, "sliding_window_pattern");
    bool is_typed = hth_meta_has(b->m, NULL, "layer_types");
    if (is_typed || !v || v->kind != HTH_JSON_STRING || v->n == 0) return hth_builder_is_full(b, i, 4);
    return v->u.str[(uint32_t)i % v->n] != 'L';
}

static void adjust_exaone4(hth_builder *b) {
    hth_desc *d = b->d;
    if (!b->is_gguf) b->qkv_bias = b->o_bias = b->mlp_bias = 0;
    int32_t window = hth_family_window(b);
    bool patterned = hth_meta_has(b->m, "attention.sliding_window", "sliding_window_pattern|layer_types");
    if (window == 0 || !patterned) return;
    for (int32_t i = 0; i < d->n_layer; i++) {
        if (exaone4_is_full(b, i)) {
            d->layers[i].attn.rope = -1;
        } else {
            set_window(b, i, window);
        }
    }
}

static void adjust_seed_oss(hth_builder *b) {
    if (b->is_gguf) return;
    bool qkv = true, out = false, mlp = false;
    hth_meta_bool(b->m, NULL, "attention_bias", &qkv);
    hth_meta_bool(b->m, NULL, "attention_out_bias", &out);
    hth_meta_bool(b->m, NULL, "mlp_bias", &mlp);
    b->qkv_bias = qkv;
    b->o_bias = out;
    b->mlp_bias = mlp;
}

static void adjust_ernie(hth_builder *b) {
    hth_family_biases(b, "use_bias", "use_bias");
}

void hth_family_hunyuan(hth_builder *b) {
    hth_family_biases(b, "attention_bias", NULL);
    bool qk_norm = true;
    hth_meta_bool(b->m, NULL, "use_qk_norm", &qk_norm);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        b->d->layers[i].attn.qk_norm = qk_norm ? HTH_QK_NORM_HEAD : HTH_QK_NORM_NONE;
        b->d->layers[i].attn.qk_norm_after_rope = true;
    }
}

// ---- encoders

static void read_pooling(hth_builder *b) {
    static const hth_pooling kinds[] = {HTH_POOL_NONE, HTH_POOL_MEAN, HTH_POOL_CLS, HTH_POOL_LAST, HTH_POOL_RANK};
    hth_desc *d = b->d;
    int32_t kind = 1;
    hth_meta_i32(b->m, "pooling_type", NULL, 0, 4, &kind);
    d->pooling = kinds[kind];
    if (b->is_gguf) return;
    const hth_json *p = NULL;
    hth_code code = hth_container_json(b->model->container, "1_Pooling/config.json", &p, b->m->err);
    if (code != HTH_OK) b->m->code = code;
    if (hth_json_bool(p, "pooling_mode_cls_token", false, NULL)) d->pooling = HTH_POOL_CLS;
    if (hth_json_bool(p, "pooling_mode_lasttoken", false, NULL)) d->pooling = HTH_POOL_LAST;
    const char *arch = hth_meta_item(b->m, "architectures", 0);
    if (arch && strstr(arch, "ForSequenceClassification")) {
        d->pooling = HTH_POOL_RANK;
        const hth_json *labels = hth_json_get(b->m->text, "id2label");
        d->n_class = labels && labels->kind == HTH_JSON_OBJECT && labels->n > 0 ? (int32_t)labels->n : 1;
        hth_meta_i32(b->m, NULL, "num_labels", 1, 65536, &d->n_class);
    }
}

static void no_rope(hth_builder *b) {
    b->d->n_rope = 0;
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].attn.rope = -1;
}

static void adjust_bert(hth_builder *b) {
    hth_desc *d = b->d;
    no_rope(b);
    d->learned_positions = true;
    d->n_token_type = 2;
    hth_meta_i32(b->m, "/tokenizer.ggml.token_type_count", "type_vocab_size", 1, 65536, &d->n_token_type);
    bool act_stated = hth_meta_has(b->m, NULL, "hidden_act");
    for (int32_t i = 0; i < d->n_layer && !act_stated; i++) d->layers[i].act = HTH_ACT_GELU_ERF;
    if (!b->is_gguf) b->qkv_bias = b->o_bias = b->mlp_bias = 1;
    const char *positions = "absolute";
    hth_meta_str(b->m, NULL, "position_embedding_type", &positions);
    if (strcmp(positions, "absolute") != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: position_embedding_type \"%s\" is not known", positions);
    }
    read_pooling(b);
}

// What the configuration class can state and no published model of the family has.
static void refuse_other_nomic(hth_builder *b) {
    static const char *const switches[] = {"causal", "parallel_block", "prenorm"};
    bool fc2 = b->mlp_bias, interleaved = false;
    for (size_t i = 0; i < HTH_COUNT(switches); i++) {
        bool on = false;
        hth_meta_bool(b->m, NULL, switches[i], &on);
        if (on) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: %s is not supported in family nomic-bert", switches[i]);
    }
    hth_meta_bool(b->m, NULL, "mlp_fc2_bias", &fc2);
    if (fc2 != (b->mlp_bias != 0)) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: mlp_fc2_bias differs from mlp_fc1_bias");
    if (hth_meta_has(b->m, NULL, "rotary_emb_scale_base")) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: rotary_emb_scale_base is not supported");
    }
    hth_meta_bool(b->m, NULL, "rotary_emb_interleaved", &interleaved);
    if (interleaved) b->d->rope[0].pairing = HTH_ROPE_NORM;
}

static void adjust_nomic_bert(hth_builder *b) {
    b->d->n_token_type = 2;
    hth_meta_i32(b->m, "/tokenizer.ggml.token_type_count", "type_vocab_size", 1, 65536, &b->d->n_token_type);
    if (!b->is_gguf) {
        hth_family_biases(b, "qkv_proj_bias", "mlp_fc1_bias");
        b->o_bias = b->qkv_bias;
        refuse_other_nomic(b);
    }
    read_pooling(b);
}

// ---- the table

// Families whose layers are norm, attention, norm, feed-forward call the second norm after the first block.
static const hth_name names_prenorm[] = {{HTH_ROLE_ATTN_POST_NORM, ""},
                                         {HTH_ROLE_FFN_NORM, "layers.%d.post_attention_layernorm|h.%d.ln_2"},
                                         {HTH_ROLE_NONE, NULL}};
static const hth_name names_glm4[] = {{HTH_ROLE_ATTN_POST_NORM, "layers.%d.post_self_attn_layernorm"},
                                      {HTH_ROLE_FFN_NORM, "layers.%d.post_attention_layernorm"},
                                      {HTH_ROLE_FFN_POST_NORM, "layers.%d.post_mlp_layernorm"},
                                      {HTH_ROLE_NONE, NULL}};
static const hth_name names_post_attention_gguf[] = {{HTH_ROLE_ATTN_POST_NORM, ""},
                                               {HTH_ROLE_FFN_NORM, "blk.%d.post_attention_norm"},
                                               {HTH_ROLE_NONE, NULL}};

static const hth_name names_llama4[] = {{HTH_ROLE_ATTN_POST_NORM, ""},
                                        {HTH_ROLE_FFN_NORM, "layers.%d.post_attention_layernorm"},
                                        {HTH_ROLE_GATE, "layers.%d.feed_forward.gate_proj"},
                                        {HTH_ROLE_UP, "layers.%d.feed_forward.up_proj"},
                                        {HTH_ROLE_DOWN, "layers.%d.feed_forward.down_proj"},
                                        {HTH_ROLE_EXPERTS_GATE_UP, "layers.%d.feed_forward.experts.gate_up_proj"},
                                        {HTH_ROLE_NONE, NULL}};
static const hth_name names_mimo2[] = {{HTH_ROLE_ATTN_POST_NORM, ""},
                                       {HTH_ROLE_FFN_NORM, "layers.%d.post_attention_layernorm|layers.%d.pre_mlp_layernorm"},
                                       {HTH_ROLE_SINKS, "layers.%d.self_attn.attention_sink_bias"},
                                       {HTH_ROLE_NONE, NULL}};

static const hth_name names_mamba[] = {{HTH_ROLE_TOKEN_EMBD, "embeddings"},
                                       {HTH_ROLE_ATTN_NORM, "layers.%d.norm"},
                                       {HTH_ROLE_OUTPUT_NORM, "norm_f"},
                                       {HTH_ROLE_NONE, NULL}};
static const hth_name names_jamba[] = {{HTH_ROLE_FFN_NORM, "layers.%d.pre_ff_layernorm"},
                                       {HTH_ROLE_GATE, "layers.%d.feed_forward.gate_proj"},
                                       {HTH_ROLE_UP, "layers.%d.feed_forward.up_proj"},
                                       {HTH_ROLE_DOWN, "layers.%d.feed_forward.down_proj"},
                                       {HTH_ROLE_EXPERTS_GATE, "layers.%d.feed_forward.switch_mlp.gate_proj"},
                                       {HTH_ROLE_EXPERTS_UP, "layers.%d.feed_forward.switch_mlp.up_proj"},
                                       {HTH_ROLE_EXPERTS_DOWN, "layers.%d.feed_forward.switch_mlp.down_proj"},
                                       {HTH_ROLE_EXPERT_GATE, "layers.%d.feed_forward.experts.%e.gate_proj"},
                                       {HTH_ROLE_EXPERT_UP, "layers.%d.feed_forward.experts.%e.up_proj"},
                                       {HTH_ROLE_EXPERT_DOWN, "layers.%d.feed_forward.experts.%e.down_proj"},
                                       {HTH_ROLE_NONE, NULL}};
static const hth_name names_falcon_h1[] = {{HTH_ROLE_FFN_NORM, "layers.%d.pre_ff_layernorm"},
                                           {HTH_ROLE_GATE, "layers.%d.feed_forward.gate_proj"},
                                           {HTH_ROLE_UP, "layers.%d.feed_forward.up_proj"},
                                           {HTH_ROLE_DOWN, "layers.%d.feed_forward.down_proj"},
                                           {HTH_ROLE_NONE, NULL}};
static const hth_name names_granite_hybrid[] = {{HTH_ROLE_ATTN_POST_NORM, ""},
                                                {HTH_ROLE_FFN_NORM, "layers.%d.post_attention_layernorm"},
                                                {HTH_ROLE_GATE_UP, "layers.%d.shared_mlp.input_linear"},
                                                {HTH_ROLE_DOWN, "layers.%d.mlp.down_proj|layers.%d.shared_mlp.output_linear"},
                                                {HTH_ROLE_NONE, NULL}};
static const hth_name names_nemotron_h[] = {{HTH_ROLE_TOKEN_EMBD, "embeddings"},
                                            {HTH_ROLE_OUTPUT_NORM, "norm_f"},
                                            {HTH_ROLE_ATTN_NORM, "layers.%d.norm"},
                                            {HTH_ROLE_FFN_NORM, "layers.%d.norm"},
                                            {HTH_ROLE_Q, "layers.%d.mixer.q_proj"},
                                            {HTH_ROLE_K, "layers.%d.mixer.k_proj"},
                                            {HTH_ROLE_V, "layers.%d.mixer.v_proj"},
                                            {HTH_ROLE_O, "layers.%d.mixer.o_proj"},
                                            {HTH_ROLE_UP, "layers.%d.mixer.up_proj"},
                                            {HTH_ROLE_DOWN, "layers.%d.mixer.down_proj"},
                                            {HTH_ROLE_ROUTER, "layers.%d.mixer.gate"},
                                            {HTH_ROLE_CHOICE_BIAS, "layers.%d.mixer.gate.e_score_correction_bias"},
                                            {HTH_ROLE_EXPERTS_UP, "layers.%d.mixer.switch_mlp.fc1"},
                                            {HTH_ROLE_EXPERTS_DOWN, "layers.%d.mixer.switch_mlp.fc2"},
                                            {HTH_ROLE_EXPERT_UP, "layers.%d.mixer.experts.%e.up_proj"},
                                            {HTH_ROLE_EXPERT_DOWN, "layers.%d.mixer.experts.%e.down_proj"},
                                            {HTH_ROLE_SHARED_UP, "layers.%d.mixer.shared_experts.up_proj"},
                                            {HTH_ROLE_SHARED_DOWN, "layers.%d.mixer.shared_experts.down_proj"},
                                            {HTH_ROLE_NONE, NULL}};
static const hth_name names_nemotron_h_gguf[] = {{HTH_ROLE_FFN_NORM, "blk.%d.attn_norm"}, {HTH_ROLE_NONE, NULL}};

static const hth_name names_rwkv7[] = {{HTH_ROLE_TOKEN_EMBD, "embeddings"},
                                       {HTH_ROLE_EMBD_NORM, "layers.0.pre_norm"},
                                       {HTH_ROLE_ATTN_NORM, "layers.%d.attn_norm"},
                                       {HTH_ROLE_FFN_NORM, "layers.%d.ffn_norm"},
                                       {HTH_ROLE_RECURRENT_IN, "layers.%d.attn.r_proj"},
                                       {HTH_ROLE_K, "layers.%d.attn.k_proj"},
                                       {HTH_ROLE_V, "layers.%d.attn.v_proj"},
                                       {HTH_ROLE_RECURRENT_OUT, "layers.%d.attn.o_proj"},
                                       {HTH_ROLE_DELTA_DECAY_A, "layers.%d.attn.w_lora.lora.0"},
                                       {HTH_ROLE_DELTA_DECAY, "layers.%d.attn.w_lora.lora.2"},
                                       {HTH_ROLE_DELTA_DECAY_BIAS, "layers.%d.attn.w_lora.lora.2"},
                                       {HTH_ROLE_DELTA_BETA, "layers.%d.attn.a_lora.lora.2"},
                                       {HTH_ROLE_DELTA_GATE_A, "layers.%d.attn.g_lora.lora.0"},
                                       {HTH_ROLE_DELTA_GATE, "layers.%d.attn.g_lora.lora.2"},
                                       {HTH_ROLE_DELTA_NORM, "layers.%d.attn.g_norm"},
                                       {HTH_ROLE_UP, "layers.%d.ffn.key"},
                                       {HTH_ROLE_DOWN, "layers.%d.ffn.value"},
                                       {HTH_ROLE_NONE, NULL}};
static const hth_name names_rwkv7_gguf[] = {{HTH_ROLE_FFN_NORM, "blk.%d.attn_norm_2"},
                                            {HTH_ROLE_RECURRENT_IN, "blk.%d.time_mix_receptance"},
                                            {HTH_ROLE_K, "blk.%d.time_mix_key"},
                                            {HTH_ROLE_V, "blk.%d.time_mix_value"},
                                            {HTH_ROLE_RECURRENT_OUT, "blk.%d.time_mix_output"},
                                            {HTH_ROLE_DELTA_DECAY_A, "blk.%d.time_mix_w1"},
                                            {HTH_ROLE_DELTA_DECAY, "blk.%d.time_mix_w2"},
                                            {HTH_ROLE_DELTA_DECAY_BIAS, "blk.%d.time_mix_w0"},
                                            {HTH_ROLE_DELTA_BETA, "blk.%d.time_mix_a2"},
                                            {HTH_ROLE_DELTA_GATE_A, "blk.%d.time_mix_g1"},
                                            {HTH_ROLE_DELTA_GATE, "blk.%d.time_mix_g2"},
                                            {HTH_ROLE_DELTA_NORM, "blk.%d.time_mix_ln"},
                                            {HTH_ROLE_UP, "blk.%d.channel_mix_key"},
                                            {HTH_ROLE_DOWN, "blk.%d.channel_mix_value"},
                                            {HTH_ROLE_NONE, NULL}};

static const hth_name names_bailing[] = {{HTH_ROLE_TOKEN_EMBD, "word_embeddings"},
                                         {HTH_ROLE_QKV, "layers.%d.attention.query_key_value"},
                                         {HTH_ROLE_O, "layers.%d.attention.dense"},
                                         {HTH_ROLE_Q_NORM, "layers.%d.attention.query_layernorm"},
                                         {HTH_ROLE_K_NORM, "layers.%d.attention.key_layernorm"},
                                         {HTH_ROLE_ATTN_POST_NORM, ""},
                                         {HTH_ROLE_FFN_NORM, "layers.%d.post_attention_layernorm"},
                                         {HTH_ROLE_NONE, NULL}};

static const hth_name names_lfm2[] = {{HTH_ROLE_ATTN_NORM, "layers.%d.operator_norm"},
                                      {HTH_ROLE_FFN_NORM, "layers.%d.ffn_norm"},
                                      {HTH_ROLE_OUTPUT_NORM, "embedding_norm"},
                                      {HTH_ROLE_O, "layers.%d.self_attn.out_proj"},
                                      {HTH_ROLE_Q_NORM, "layers.%d.self_attn.q_layernorm"},
                                      {HTH_ROLE_K_NORM, "layers.%d.self_attn.k_layernorm"},
                                      {HTH_ROLE_GATE, "layers.%d.feed_forward.w1|layers.%d.feed_forward.gate_proj"},
                                      {HTH_ROLE_UP, "layers.%d.feed_forward.w3|layers.%d.feed_forward.up_proj"},
                                      {HTH_ROLE_DOWN, "layers.%d.feed_forward.w2|layers.%d.feed_forward.down_proj"},
                                      {HTH_ROLE_ROUTER, "layers.%d.feed_forward.gate"},
                                      {HTH_ROLE_CHOICE_BIAS, "layers.%d.feed_forward.expert_bias"},
                                      {HTH_ROLE_EXPERTS_GATE, "layers.%d.feed_forward.switch_mlp.gate_proj"},
                                      {HTH_ROLE_EXPERTS_UP, "layers.%d.feed_forward.switch_mlp.up_proj"},
                                      {HTH_ROLE_EXPERTS_DOWN, "layers.%d.feed_forward.switch_mlp.down_proj"},
                                      {HTH_ROLE_EXPERT_GATE, "layers.%d.feed_forward.experts.%e.w1|"
                                                            "layers.%d.feed_forward.experts.%e.gate_proj"},
                                      {HTH_ROLE_EXPERT_UP, "layers.%d.feed_forward.experts.%e.w3|"
                                                            "layers.%d.feed_forward.experts.%e.up_proj"},
                                      {HTH_ROLE_EXPERT_DOWN, "layers.%d.feed_forward.experts.%e.w2|"
                                                            "layers.%d.feed_forward.experts.%e.down_proj"},
                                      {HTH_ROLE_NONE, NULL}};
static const hth_name names_lfm2_gguf[] = {{HTH_ROLE_OUTPUT_NORM, "token_embd_norm"}, {HTH_ROLE_NONE, NULL}};

#define DEFAULT_INT(name, v) {name, {.kind = HTH_JSON_NUMBER, .is_int = true, .u.num = {.d = (v), .i = (v)}}}
#define DEFAULT_NUM(name, v) {name, {.kind = HTH_JSON_NUMBER, .u.num = {.d = (v)}}}

// The larger models' text_config states little more than its sizes.
static const hth_meta_default defaults_gemma3[] = {
    DEFAULT_INT("num_attention_heads", 8), DEFAULT_INT("num_key_value_heads", 4), DEFAULT_INT("head_dim", 256),
    DEFAULT_INT("vocab_size", 262208),     DEFAULT_INT("sliding_window", 4096),   DEFAULT_INT("query_pre_attn_scalar", 256),
    DEFAULT_NUM("rms_norm_eps", 1e-6),     DEFAULT_NUM("rope_theta", 1e6),        {NULL, {.kind = HTH_JSON_NULL}}};

static const hth_meta_default defaults_qwen_hybrid[] = {DEFAULT_NUM("partial_rotary_factor", 0.25),
                                                        {NULL, {.kind = HTH_JSON_NULL}}};

#define QWEN_HYBRID (HTH_TRAIT_HYBRID | HTH_TRAIT_QK_NORM_HEAD | HTH_TRAIT_PLUS_ONE_HUB)
#define PAIRS_GGUF HTH_TRAIT_NORM_ROPE_GGUF
#define PAIRS_BOTH (HTH_TRAIT_NORM_ROPE_GGUF | HTH_TRAIT_NORM_ROPE_HUB)
#define LATENT (HTH_TRAIT_LATENT | HTH_TRAIT_MOE)
#define GEMMA (HTH_TRAIT_PLUS_ONE_HUB | HTH_TRAIT_EMBD_SQRT | HTH_TRAIT_GELU_TANH)

static const hth_family families[] = {
    {"llama", {"llama"}, {"llama"}, PAIRS_GGUF | HTH_TRAIT_MOE, names_prenorm, NULL, adjust_llama, NULL},
    {"mistral", {NULL, NULL}, {"mistral"}, 0, names_prenorm, NULL, adjust_mistral, NULL},
    {"mistral3", {"mistral3"}, {"ministral3", "ministral", "mistral3"}, PAIRS_GGUF, names_prenorm, NULL, adjust_mistral3, NULL},
    {"smollm3", {"smollm3"}, {"smollm3"}, PAIRS_GGUF, names_prenorm, NULL, adjust_smollm3, NULL},
    {"qwen2", {"qwen2"}, {"qwen2"}, 0, names_prenorm, NULL, adjust_qwen2, NULL},
    {"qwen3", {"qwen3"}, {"qwen3"}, HTH_TRAIT_QK_NORM_HEAD, names_prenorm, NULL, adjust_qwen3, NULL},
    {"gemma", {"gemma"}, {"gemma"}, GEMMA, names_prenorm, NULL, adjust_gemma, NULL},
    {"gemma2", {"gemma2"}, {"gemma2"}, GEMMA | HTH_TRAIT_SANDWICH, NULL, NULL, adjust_gemma2, NULL},
    {"gemma3", {"gemma3"}, {"gemma3_text", "gemma3"}, GEMMA | HTH_TRAIT_SANDWICH | HTH_TRAIT_QK_NORM_HEAD, NULL, NULL,
     adjust_gemma3, defaults_gemma3},
    {"gemma3n", {"gemma3n"}, {"gemma3n_text", "gemma3n"},
     HTH_TRAIT_EMBD_SQRT | HTH_TRAIT_GELU_TANH | HTH_TRAIT_SANDWICH | HTH_TRAIT_QK_NORM_HEAD, NULL, NULL, adjust_gemma3n, NULL},
    {"gemma4", {"gemma4"}, {"gemma4_text", "gemma4"},
     HTH_TRAIT_EMBD_SQRT | HTH_TRAIT_GELU_TANH | HTH_TRAIT_SANDWICH | HTH_TRAIT_QK_NORM_HEAD, NULL, NULL, adjust_gemma4, NULL},
    {"phi3", {"phi3"}, {"phi3", "phi4"}, 0, names_prenorm, NULL, adjust_phi3, NULL},
    {"phi2", {"phi2"}, {"phi"}, HTH_TRAIT_LAYER_NORM | HTH_TRAIT_PARALLEL | HTH_TRAIT_PLAIN_FFN, NULL, NULL, adjust_phi2, NULL},
    {"command-r", {"command-r"}, {"cohere"}, PAIRS_BOTH | HTH_TRAIT_LAYER_NORM | HTH_TRAIT_PARALLEL, NULL, NULL,
     adjust_cohere, NULL},
    {"cohere2", {"cohere2"}, {"cohere2"}, PAIRS_BOTH | HTH_TRAIT_LAYER_NORM | HTH_TRAIT_PARALLEL, NULL, NULL,
     adjust_cohere2, NULL},
    {"olmo2", {"olmo2"}, {"olmo2"}, HTH_TRAIT_POST_ONLY | HTH_TRAIT_QK_NORM_ALL, NULL, NULL, adjust_olmo2, NULL},
    {"olmo3", {NULL, NULL}, {"olmo3"}, HTH_TRAIT_POST_ONLY | HTH_TRAIT_QK_NORM_ALL, NULL, NULL, adjust_olmo2, NULL},
    {"granite", {"granite"}, {"granite"}, PAIRS_GGUF, names_prenorm, NULL, hth_family_granite, NULL},
    {"minicpm", {"minicpm"}, {"minicpm"}, PAIRS_GGUF, names_prenorm, NULL, hth_family_minicpm, NULL},
    {"glm4", {"glm4"}, {"glm4"}, PAIRS_BOTH | HTH_TRAIT_SANDWICH, names_glm4, NULL, adjust_glm4, NULL},
    {"glm", {"chatglm"}, {"glm"}, PAIRS_BOTH, names_prenorm, NULL, adjust_glm4, NULL},
    {"starcoder2", {"starcoder2"}, {"starcoder2"}, HTH_TRAIT_LAYER_NORM | HTH_TRAIT_PLAIN_FFN,
     names_prenorm, NULL, adjust_starcoder2, NULL},
    {"exaone", {"exaone"}, {"exaone"}, 0, names_prenorm, NULL, NULL, NULL},
    {"exaone4", {"exaone4"}, {"exaone4"}, HTH_TRAIT_POST_ONLY | HTH_TRAIT_QK_NORM_HEAD, NULL, NULL, adjust_exaone4, NULL},
    {"seed_oss", {"seed_oss"}, {"seed_oss"}, 0, names_prenorm, names_post_attention_gguf, adjust_seed_oss, NULL},
    {"ernie4_5", {"ernie4_5"}, {"ernie4_5"}, PAIRS_BOTH, names_prenorm, NULL, adjust_ernie, NULL},
    {"hunyuan-dense", {"hunyuan-dense"}, {"hunyuan_v1_dense"}, 0, names_prenorm, NULL, hth_family_hunyuan, NULL},
    {"helium", {NULL, NULL}, {"helium"}, HTH_TRAIT_NORM_ROPE_HUB, names_prenorm, NULL, adjust_llama, NULL},
    {"mixtral", {NULL, NULL}, {"mixtral"}, HTH_TRAIT_MOE, names_prenorm, NULL, hth_family_mixtral, NULL},
    {"qwen2moe", {"qwen2moe"}, {"qwen2_moe"}, HTH_TRAIT_MOE, names_prenorm, NULL, hth_family_qwen2_moe, NULL},
    {"qwen3moe", {"qwen3moe"}, {"qwen3_moe"}, HTH_TRAIT_MOE | HTH_TRAIT_QK_NORM_HEAD, names_prenorm, NULL,
     hth_family_qwen3_moe, NULL},
    {"gpt-oss", {"gpt-oss"}, {"gpt_oss"}, HTH_TRAIT_MOE, names_prenorm, names_post_attention_gguf, hth_family_gpt_oss, NULL},
    {"phimoe", {NULL}, {"phimoe"}, HTH_TRAIT_MOE | HTH_TRAIT_LAYER_NORM, names_prenorm, NULL, hth_family_phimoe, NULL},
    {"glm4moe", {"glm4moe"}, {"glm4_moe"}, HTH_TRAIT_MOE, names_prenorm, names_post_attention_gguf, hth_family_glm4_moe, NULL},
    {"olmoe", {"olmoe"}, {"olmoe"}, HTH_TRAIT_MOE | HTH_TRAIT_QK_NORM_ALL, names_prenorm, NULL, hth_family_olmoe, NULL},
    {"granitemoe", {"granitemoe"}, {"granitemoe", "granitemoeshared"}, PAIRS_GGUF | HTH_TRAIT_MOE, names_prenorm, NULL,
     hth_family_granite_moe, NULL},
    {"ernie4_5-moe", {"ernie4_5-moe"}, {"ernie4_5_moe"}, PAIRS_BOTH | HTH_TRAIT_MOE, names_prenorm, NULL, hth_family_ernie_moe, NULL},
    {"hunyuan-moe", {"hunyuan-moe"}, {"hunyuan_v1_moe", "hunyuan"}, HTH_TRAIT_MOE, names_prenorm, NULL, hth_family_hunyuan_moe, NULL},
    {"dots1", {"dots1"}, {"dots1"}, HTH_TRAIT_MOE | HTH_TRAIT_QK_NORM_HEAD, names_prenorm, NULL, hth_family_dots1, NULL},
    {"minimax-m2", {"minimax-m2"}, {"minimax_m2", "minimax"}, HTH_TRAIT_MOE, names_prenorm, NULL, hth_family_minimax, NULL},
    {"bailingmoe", {"bailingmoe"}, {NULL}, HTH_TRAIT_MOE | PAIRS_GGUF, NULL, NULL, hth_family_bailing_moe, NULL},
    {"bailingmoe2", {"bailingmoe2"}, {"bailing_moe"}, HTH_TRAIT_MOE, names_bailing, NULL, hth_family_bailing_moe, NULL},
    {"deepseek", {"deepseek"}, {"deepseek"}, PAIRS_GGUF | HTH_TRAIT_MOE, names_prenorm, NULL, hth_family_deepseek_1, NULL},
    {"llama4", {"llama4"}, {"llama4_text", "llama4"}, PAIRS_BOTH | HTH_TRAIT_MOE, names_llama4, NULL, hth_family_llama4, NULL},
    {"mimo2", {"mimo2"}, {"mimo_v2_flash"}, HTH_TRAIT_MOE, names_mimo2, NULL, hth_family_mimo2, NULL},
    {"qwen3next", {"qwen3next"}, {"qwen3_next"}, QWEN_HYBRID | HTH_TRAIT_MOE, names_prenorm, names_post_attention_gguf,
     hth_family_qwen3_next, defaults_qwen_hybrid},
    {"qwen35", {"qwen35"}, {"qwen3_5_text", "qwen3_5"}, QWEN_HYBRID, names_prenorm, names_post_attention_gguf, hth_family_qwen35,
     defaults_qwen_hybrid},
    {"qwen35moe", {"qwen35moe"}, {"qwen3_5_moe_text", "qwen3_5_moe"}, QWEN_HYBRID | HTH_TRAIT_MOE, names_prenorm,
     names_post_attention_gguf, hth_family_qwen35_moe, defaults_qwen_hybrid},
    {"kimi-linear", {"kimi-linear"}, {"kimi_linear"}, HTH_TRAIT_HYBRID | HTH_TRAIT_MOE | HTH_TRAIT_LATENT, names_prenorm, NULL,
     hth_family_kimi_linear, NULL},
    {"lfm2", {"lfm2"}, {"lfm2"}, HTH_TRAIT_HYBRID | HTH_TRAIT_QK_NORM_HEAD, names_lfm2, names_lfm2_gguf, hth_family_lfm2, NULL},
    {"lfm2moe", {"lfm2moe"}, {"lfm2_moe"}, HTH_TRAIT_HYBRID | HTH_TRAIT_MOE | HTH_TRAIT_QK_NORM_HEAD, names_lfm2, names_lfm2_gguf,
     hth_family_lfm2_moe, NULL},
    {"deepseek2", {"deepseek2"}, {"deepseek_v2"}, LATENT | PAIRS_BOTH, names_prenorm, NULL, hth_family_deepseek2, NULL},
    {"deepseek3", {NULL}, {"deepseek_v3", "kimi_k2"}, LATENT | PAIRS_BOTH, names_prenorm, NULL, hth_family_deepseek3, NULL},
    {"deepseek32", {"deepseek32"}, {"deepseek_v32"}, LATENT | PAIRS_BOTH, names_prenorm, NULL, hth_family_deepseek32, NULL},
    {"mistral4", {"mistral4"}, {"mistral4"}, LATENT | PAIRS_BOTH, names_prenorm, NULL, hth_family_mistral4, NULL},
    {"glm4moe-lite", {NULL}, {"glm4_moe_lite"}, LATENT | PAIRS_BOTH, names_prenorm, NULL, hth_family_glm4_moe_lite, NULL},
    {"youtu", {NULL}, {"youtu_llm", "youtu"}, HTH_TRAIT_LATENT | PAIRS_BOTH, names_prenorm, NULL, hth_family_youtu, NULL},
    {"minicpm3", {"minicpm3"}, {"minicpm3"}, HTH_TRAIT_LATENT, names_prenorm, NULL, hth_family_minicpm3, NULL},
    {"mamba", {"mamba"}, {"mamba", "falcon_mamba"}, HTH_TRAIT_RECURRENT, names_mamba, NULL, hth_family_mamba1, NULL},
    {"jamba", {"jamba"}, {"jamba"}, HTH_TRAIT_HYBRID | HTH_TRAIT_MOE, names_jamba, NULL, hth_family_jamba, NULL},
    {"mamba2", {"mamba2"}, {"mamba2"}, HTH_TRAIT_RECURRENT, names_mamba, NULL, hth_family_mamba2, NULL},
    {"falcon-h1", {"falcon-h1"}, {"falcon_h1"}, HTH_TRAIT_HYBRID, names_falcon_h1, NULL, hth_family_falcon_h1, NULL},
    {"granitehybrid", {"granitehybrid"}, {"granitemoehybrid"}, HTH_TRAIT_HYBRID | HTH_TRAIT_MOE | PAIRS_GGUF, names_granite_hybrid, NULL,
     hth_family_granite_hybrid, NULL},
    {"nemotron_h", {"nemotron_h", "nemotron_h_moe"}, {"nemotron_h"}, HTH_TRAIT_HYBRID | HTH_TRAIT_MOE | HTH_TRAIT_PLAIN_FFN,
     names_nemotron_h, names_nemotron_h_gguf, hth_family_nemotron_h, NULL},
    {"rwkv7", {"rwkv7"}, {"rwkv7"}, HTH_TRAIT_RECURRENT | HTH_TRAIT_LAYER_NORM, names_rwkv7, names_rwkv7_gguf, hth_family_rwkv7,
     NULL},
    {"bert", {"bert"}, {"bert"}, HTH_TRAIT_ENCODER | HTH_TRAIT_LAYER_NORM | HTH_TRAIT_PLAIN_FFN, NULL, NULL, adjust_bert, NULL},
    {"nomic-bert", {"nomic-bert"}, {"nomic_bert"}, HTH_TRAIT_ENCODER | HTH_TRAIT_LAYER_NORM, NULL, NULL, adjust_nomic_bert, NULL},
};

const hth_family *hth_family_at(int i) {
    return i >= 0 && (size_t)i < HTH_COUNT(families) ? &families[i] : NULL;
}

const char *hth_family_name_at(int i) {
    const hth_family *f = hth_family_at(i);
    return f ? f->name : NULL;
}

static bool is_listed(const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n && names[i]; i++) {
        if (strcmp(names[i], name) == 0) return true;
    }
    return false;
}

const hth_family *hth_family_find(const char *name, bool is_gguf) {
    for (size_t i = 0; i < HTH_COUNT(families); i++) {
        const hth_family *f = &families[i];
        if (is_gguf ? is_listed(f->gguf, HTH_COUNT(f->gguf), name) : is_listed(f->hub, HTH_COUNT(f->hub), name)) return f;
    }
    return NULL;
}
