// Families with Mamba 2 mixers, and what each has of its own (see family.c).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family_impl.h"

// ---- shared pieces

// What families call the sizes of the mixer in config.json.
typedef struct mamba_names {
    const char *heads, *head_dim, *state, *taps, *groups, *proj_bias, *conv_bias;
} mamba_names;

static const mamba_names prefixed = {"mamba_n_heads",  "mamba_d_head",    "mamba_d_state",  "mamba_d_conv",
                                     "mamba_n_groups", "mamba_proj_bias", "mamba_conv_bias"};

// Infinity as Python's json module writes it, or as transformers does; -1: no number.
static double limit_of(const hth_json *v) {
    const char *name = hth_json_str(v, "__float__", "", NULL);
    if (v->kind == HTH_JSON_OBJECT) return strcmp(name, "Infinity") == 0 ? INFINITY : -1;
    return v->kind == HTH_JSON_NUMBER ? v->u.num.d : -1;
}

// Limits of a step; the second may be infinite.
static void read_limits(hth_builder *b, hth_recurrent_desc *r) {
    static const char *const names[] = {"time_step_limit", "mamba_dt_limit"};
    r->mamba.dt_min = 0;
    r->mamba.dt_max = INFINITY;
    for (size_t i = 0; i < HTH_COUNT(names) && !b->is_gguf; i++) {
        const hth_json *v = hth_json_get(b->m->text, names[i]);
        if (!v || v->kind == HTH_JSON_NULL) continue;
        const bool is_pair = v->kind == HTH_JSON_ARRAY && v->n == 2;
        const double lo = is_pair ? limit_of(&v->u.items[0]) : -1, hi = is_pair ? limit_of(&v->u.items[1]) : -1;
        if (!(lo >= 0 && lo < 3.4e38 && hi > lo)) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: %s is not two ascending numbers from 0 on", names[i]);
            return;
        }
        r->mamba.dt_min = (float)lo;
        r->mamba.dt_max = hi > 3.4e38 ? INFINITY : (float)hi;
    }
}

static void read_number(hth_builder *b, const char *key, const char *path, int32_t hi, int32_t *out) {
    if (hth_meta_i32(b->m, key, path, 1, hi, out)) return;
    hth_meta_fail(b->m, HTH_ERR_FORMAT, "%s%s%s is missing", b->is_gguf ? b->m->arch : "config.json: ", b->is_gguf ? "." : "",
                  b->is_gguf ? key : path);
}

// The mixer, the same in all layers that have it.
static hth_recurrent_desc read_mixer(hth_builder *b, const mamba_names *names) {
    hth_recurrent_desc r = {.kind = HTH_RECURRENT_MAMBA2, .n_head = 1, .head_cols = 1,
                            .mamba = {.n_group = 1, .in_scale = {1, 1, 1, 1, 1}}};
    int32_t n_tap = 2, d_inner = 1;
    bool proj = false, conv = true;
    read_number(b, "ssm.conv_kernel", names->taps, HTH_MAX_TAIL_ROWS + 1, &n_tap);
    read_number(b, "ssm.state_size", names->state, 65536, &r.head_rows);
    read_number(b, "ssm.time_step_rank", names->heads, 65536, &r.n_head);
    hth_meta_i32(b->m, "ssm.group_count", names->groups, 1, 65536, &r.mamba.n_group);
    if (b->is_gguf) {
        read_number(b, "ssm.inner_size", NULL, 1 << 24, &d_inner);
        r.head_cols = d_inner / r.n_head;
    } else {
        read_number(b, NULL, names->head_dim, 65536, &r.head_cols);
        hth_meta_bool(b->m, NULL, names->proj_bias, &proj);
        hth_meta_bool(b->m, NULL, names->conv_bias, &conv);
        b->mixer_bias = proj;
        b->conv_bias = conv;
    }
    read_limits(b, &r);
    if (b->m->code != HTH_OK) return r;
    if (r.n_head % r.mamba.n_group != 0 || (b->is_gguf && d_inner % r.n_head != 0) || r.head_cols > HTH_MAX_HEAD_COLS || n_tap < 2) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "a Mamba mixer of %d heads of %d in %d groups, with %d taps, is not possible",
                      (int)r.n_head, (int)r.head_cols, (int)r.mamba.n_group, (int)n_tap);
    } else if ((int64_t)r.n_head * r.head_cols + 2 * (int64_t)r.mamba.n_group * r.head_rows > 1 << 24) {
        hth_meta_fail(b->m, HTH_ERR_LIMIT, "a Mamba mixer of %d heads of %d, with %d groups of %d, is too wide", (int)r.n_head,
                      (int)r.head_cols, (int)r.mamba.n_group, (int)r.head_rows);
    } else {
        r.tail_rows = n_tap - 1;
        r.tail_width = r.n_head * r.head_cols + 2 * r.mamba.n_group * r.head_rows;
        r.mamba.norm_parts = r.mamba.n_group;
    }
    return r;
}

static void no_positions(hth_builder *b) {
    b->d->n_rope = 0;
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].attn.rope = -1;
}

// ---- Mamba 2

void hth_family_mamba2(hth_builder *b) {
    static const mamba_names names = {"num_heads", "head_dim", "ssm_state_size|state_size", "conv_kernel",
                                      "n_groups",  "use_bias", "use_conv_bias"};
    bool normed = true;
    const hth_recurrent_desc r = read_mixer(b, &names);
    hth_meta_bool(b->m, NULL, "rms_norm", &normed);
    if (!normed) hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: rms_norm is off, which family mamba2 does not know");
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        b->d->layers[i].recurrent = r;
        b->d->layers[i].ffn = HTH_FFN_NONE;
    }
}

// ---- Falcon H1: attention and Mamba 2 side by side

// Factors that GGUF files have in their weights. MLX folders too, but for two that mlx-lm forgets.
typedef struct falcon_factors {
    float embd, lm_head, attn_in, attn_out, key, ssm_in, ssm_out, ssm[5], mlp[2];
} falcon_factors;

static falcon_factors falcon_read(hth_builder *b) {
    falcon_factors f = {1, 1, 1, 1, 1, 1, 1, {1, 1, 1, 1, 1}, {1, 1}};
    hth_meta_float(b->m, NULL, "embedding_multiplier", &f.embd);
    hth_meta_float(b->m, NULL, "lm_head_multiplier", &f.lm_head);
    hth_meta_float(b->m, NULL, "attention_in_multiplier", &f.attn_in);
    hth_meta_float(b->m, NULL, "attention_out_multiplier", &f.attn_out);
    hth_meta_float(b->m, NULL, "key_multiplier", &f.key);
    hth_meta_float(b->m, NULL, "ssm_in_multiplier", &f.ssm_in);
    hth_meta_float(b->m, NULL, "ssm_out_multiplier", &f.ssm_out);
    hth_meta_nums(b->m, NULL, "ssm_multipliers", f.ssm, 5);
    hth_meta_nums(b->m, NULL, "mlp_multipliers", f.mlp, 2);
    const float *all = &f.embd;
    for (size_t i = 0; i < sizeof f / sizeof *all; i++) {
        if (all[i] > 0) continue;
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: a multiplier is %g, not positive", (double)all[i]);
        break;
    }
    return f;
}

// MLX stores convolutions [channels, taps, 1], hubs [channels, 1, taps].
static bool is_mlx_conv(hth_builder *b) {
    const hth_tensor *t = hth_container_find(b->model->container, "model.layers.0.mamba.conv1d.weight");
    return t && t->n_dim == 3 && t->dim[2] == 1 && t->dim[1] != 1;
}

static void falcon_scale(hth_builder *b, const falcon_factors *f, hth_recurrent_desc *r) {
    hth_desc *d = b->d;
    const bool folded = is_mlx_conv(b);
    bool tied = false;
    hth_meta_bool(b->m, NULL, "tie_word_embeddings", &tied);
    if (folded) {
        d->logit_scale = tied ? f->lm_head / f->embd : 1;
    } else {
        d->embd_scale = f->embd;
        d->logit_scale = f->lm_head;
        for (int j = 0; j < 5; j++) r->mamba.in_scale[j] = f->ssm[j] * f->ssm_in;
        r->out_scale = f->ssm_out;
    }
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_layer_desc *l = &d->layers[i];
        l->attn.v_scale = f->attn_in;
        l->attn.scale *= f->key * (folded ? 1 : f->attn_in * f->attn_in);
        l->attn.out_scale = folded ? 1 : f->attn_out;
        l->gate_scale = folded ? 1 : f->mlp[0];
        l->ffn_scale = folded ? 1 : f->mlp[1];
    }
}

void hth_family_falcon_h1(hth_builder *b) {
    hth_recurrent_desc r = read_mixer(b, &prefixed);
    bool normed = false, before = true, out_bias = false;
    hth_family_biases(b, "attention_bias", "mlp_bias");
    hth_meta_bool(b->m, NULL, "mamba_norm_before_gate", &before);
    hth_meta_bool(b->m, NULL, "mamba_rms_norm", &normed);
    if (b->is_gguf) normed = hth_container_find(b->model->container, "blk.0.ssm_norm.weight") != NULL;
    r.mamba.norm_before_gate = normed && before && !b->is_gguf;
    if (!normed) r.mamba.norm_parts = 0;
    hth_meta_bool(b->m, NULL, "projectors_bias", &out_bias);
    if (!b->is_gguf && (out_bias || b->mixer_bias != 0)) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: %s is not supported in family falcon-h1",
                      out_bias ? "projectors_bias" : "mamba_proj_bias");
    }
    const falcon_factors f = falcon_read(b);
    if (!b->is_gguf && b->m->code == HTH_OK) falcon_scale(b, &f, &r);
    for (int32_t i = 0; i < b->d->n_layer; i++) b->d->layers[i].recurrent = r;
}

// ---- Granite 4: layers have attention or Mamba 2

static bool is_mamba(const char *type) {
    return strcmp(type, "mamba") == 0 || strcmp(type, "linear_attention") == 0;
}

static bool granite_attends(hth_builder *b, int32_t i) {
    if (b->is_gguf) return b->d->layers[i].attn.n_kv_head > 0;
    const char *type = hth_meta_item(b->m, "layer_types", i);
    if (!type) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: layer_types does not cover layer %d", (int)i);
    } else if (strcmp(type, "attention") != 0 && strcmp(type, "full_attention") != 0 && !is_mamba(type)) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: layer type \"%s\" is not known to family %s", type,
                      b->family->name);
    }
    return type && !is_mamba(type);
}

static void granite_positions(hth_builder *b) {
    const char *kind = "";
    bool rotates = true;
    hth_meta_bool(b->m, "rope.scaling.finetuned", NULL, &rotates);
    hth_meta_str(b->m, NULL, "position_embedding_type", &kind);
    if (b->is_gguf ? !rotates : strcmp(kind, "rope") != 0) no_positions(b);
}

void hth_family_granite_hybrid(hth_builder *b) {
    const hth_moe_desc moe = {.score = HTH_SCORE_CHOSEN};
    int32_t n_expert = 0, width = 0;
    hth_family_granite(b);
    granite_positions(b);
    hth_meta_i32(b->m, "expert_count", "num_local_experts", 0, HTH_MAX_EXPERT, &n_expert);
    const bool shared = hth_meta_i32(b->m, NULL, "shared_intermediate_size", 1, 1048576, &width);
    if (n_expert > 0) hth_builder_moe(b, &moe);
    hth_recurrent_desc r = {0};
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        if (n_expert == 0 && shared) l->d_ff = width;
        if (granite_attends(b, i)) continue;
        if (r.kind == HTH_RECURRENT_NONE) r = read_mixer(b, &prefixed);
        l->mixer = HTH_MIXER_NONE;
        l->recurrent = r;
    }
}

// ---- Nemotron H: a layer is Mamba 2, attention, a feed-forward or experts

// M, *, - or E, as the authors write the pattern.
static char nemotron_kind(hth_builder *b, int32_t i) {
    static const struct {
        const char *name;
        char kind;
    } names[] = {{"mamba", 'M'}, {"linear_attention", 'M'}, {"attention", '*'}, {"full_attention", '*'}, {"mlp", '-'},
                 {"moe", 'E'},   {"M", 'M'},                {"*", '*'},         {"-", '-'},              {"E", 'E'}};
    const hth_layer_desc *l = &b->d->layers[i];
    char router[64];
    snprintf(router, sizeof router, "blk.%d.ffn_gate_inp.weight", (int)i);
    if (b->is_gguf && hth_container_find(b->model->container, router)) return 'E';
    if (b->is_gguf) return l->d_ff > 0 ? '-' : l->attn.n_kv_head > 0 ? '*' : 'M';
    const hth_json *pattern = hth_json_get(b->m->text, "hybrid_override_pattern");
    if (pattern && pattern->kind == HTH_JSON_STRING) return (uint64_t)i < pattern->n ? pattern->u.str[i] : 0;
    const char *type = hth_meta_item(b->m, "hybrid_override_pattern|layers_block_type|layer_types", i);
    for (size_t k = 0; type && k < HTH_COUNT(names); k++) {
        if (strcmp(names[k].name, type) == 0) return names[k].kind;
    }
    return 0;
}

static void nemotron_layer(hth_builder *b, int32_t i, char kind, const hth_recurrent_desc *r) {
    hth_layer_desc *l = &b->d->layers[i];
    l->act = HTH_ACT_RELU2;
    if (kind != '*') l->mixer = HTH_MIXER_NONE;
    if (kind == 'M') l->recurrent = *r;
    if (kind == 'E') return;
    l->ffn = kind == '-' ? HTH_FFN_PLAIN : HTH_FFN_NONE;
    l->moe = (hth_moe_desc){0};
    if (kind == 'M' || kind == '*' || kind == '-') return;
    hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: the pattern of layers gives layer %d no kind that family %s knows",
                  (int)i, b->family->name);
}

// Experts without a gate in layers of their own.
static void nemotron_experts(hth_builder *b, const char *kinds) {
    const hth_moe_desc moe = {.score = HTH_SCORE_SIGMOID, .group_best = 2, .normalize = b->is_gguf, .no_gate = true};
    int32_t width = 0, latent = 0;
    hth_meta_i32(b->m, "moe_latent_size", "moe_latent_size", 1, 1048576, &latent);
    b->choice_bias = 1;
    hth_builder_moe(b, &moe);
    const bool stated = hth_meta_i32(b->m, NULL, "moe_shared_expert_intermediate_size", 1, 1048576, &width);
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        l->moe.d_latent = latent;
        if (kinds[i] != 'E') l->d_ff = b->dense_ff[i];
        else if (stated && l->moe.n_shared > 0) l->d_ff = width;
    }
}

void hth_family_nemotron_h(hth_builder *b) {
    static const mamba_names names = {"mamba_num_heads", "mamba_head_dim", "ssm_state_size", "conv_kernel",
                                      "n_groups",        "mamba_proj_bias", "use_conv_bias"};
    hth_family_drop_prediction_layers(b);
    hth_family_biases(b, "attention_bias", "mlp_bias");
    no_positions(b);
    const hth_recurrent_desc r = read_mixer(b, &names);
    const char *act = "relu2";
    hth_meta_float(b->m, NULL, "layer_norm_epsilon", &b->d->norm_eps); // files state two, of which this is in use
    hth_meta_str(b->m, NULL, "mlp_hidden_act", &act);
    if (strcmp(act, "relu2") != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: mlp_hidden_act \"%s\" is not known to family nemotron_h", act);
    }
    char kinds[HTH_MAX_LAYER];
    bool has_experts = false;
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        kinds[i] = nemotron_kind(b, i);
        has_experts |= kinds[i] == 'E';
    }
    if (has_experts) nemotron_experts(b, kinds);
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) nemotron_layer(b, i, kinds[i], &r);
}
