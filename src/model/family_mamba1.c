// Families with Mamba 1 mixers, and what each has of its own (see family.c).
#include <stdio.h>
#include <string.h>

#include "model/family_impl.h"

#define MAX_CHANNELS (1 << 20)

// What families call the sizes of the mixer in config.json.
typedef struct mixer_names {
    const char *state, *taps, *rank, *proj_bias, *conv_bias;
} mixer_names;

static void read_number(hth_builder *b, const char *what, const char *key, const char *path, int32_t hi, int32_t *out) {
    if (!hth_meta_i32(b->m, key, path, 1, hi, out)) hth_builder_missing(b, what, key, path);
}

// "auto": a sixteenth of the width.
static int32_t read_rank(hth_builder *b, const char *path) {
    const hth_json *v = b->is_gguf ? NULL : hth_json_get(b->m->text, path);
    int32_t rank = (b->d->d_model + 15) / 16;
    if (v && v->kind == HTH_JSON_STRING && strcmp(v->u.str, "auto") == 0) return rank;
    read_number(b, "the rank of steps", "ssm.time_step_rank", path, 65536, &rank);
    return rank;
}

// n_channel: of a folder.
static hth_recurrent_desc read_mixer(hth_builder *b, const mixer_names *names, int64_t n_channel) {
    hth_recurrent_desc r = {.kind = HTH_RECURRENT_MAMBA1, .n_head = 1, .head_rows = 1, .head_cols = 1};
    int32_t n_tap = 2;
    bool proj = false, conv = true;
    read_number(b, "the number of taps", "ssm.conv_kernel", names->taps, HTH_MAX_TAIL_ROWS + 1, &n_tap);
    read_number(b, "the size of a state", "ssm.state_size", names->state, 65536, &r.head_rows);
    r.mamba1.step_rank = read_rank(b, names->rank);
    r.mamba1.norm_eps = b->d->norm_eps;
    if (b->is_gguf) {
        read_number(b, "the number of channels", "ssm.inner_size", NULL, MAX_CHANNELS, &r.head_cols);
    } else {
        r.head_cols = n_channel <= MAX_CHANNELS ? (int32_t)n_channel : MAX_CHANNELS;
        hth_meta_bool(b->m, NULL, names->proj_bias, &proj);
        hth_meta_bool(b->m, NULL, names->conv_bias, &conv);
        b->mixer_bias = proj;
        b->conv_bias = conv;
    }
    if (b->m->code == HTH_OK && n_tap < 2) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "a Mamba mixer with %d taps is not possible", (int)n_tap);
    }
    r.tail_rows = n_tap - 1;
    r.tail_width = r.head_cols;
    return r;
}

// ---- Mamba, Falcon Mamba

void hth_family_mamba1(hth_builder *b) {
    static const mixer_names names = {"state_size", "conv_kernel", "time_step_rank", "use_bias", "use_conv_bias"};
    const char *type = "", *act = "silu";
    int32_t n_channel = 1;
    if (!b->is_gguf) read_number(b, "the number of channels", NULL, "intermediate_size", MAX_CHANNELS, &n_channel);
    hth_recurrent_desc r = read_mixer(b, &names, n_channel);
    hth_meta_str(b->m, NULL, "model_type", &type);
    hth_meta_str(b->m, NULL, "hidden_act", &act);
    if (strcmp(act, "silu") != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: hidden_act \"%s\" is not known to family mamba", act);
    }
    r.mamba1.normed = strcmp(type, "falcon_mamba") == 0;
    hth_meta_bool(b->m, "ssm.dt_b_c_rms", NULL, &r.mamba1.normed);
    if (!b->is_gguf) {
        r.mamba1.norm_eps = 1e-6f;
        hth_meta_float(b->m, NULL, "mixer_rms_eps", &r.mamba1.norm_eps);
    }
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        b->d->layers[i].recurrent = r;
        b->d->layers[i].ffn = HTH_FFN_NONE;
    }
}

// ---- Jamba: attention in some layers, experts in some

// Every period-th layer from `offset` on.
static bool is_nth(hth_builder *b, const char *offset_key, const char *period_key, int32_t i) {
    int32_t offset = 0, period = 1;
    hth_meta_i32(b->m, NULL, offset_key, 0, HTH_MAX_LAYER, &offset);
    hth_meta_i32(b->m, NULL, period_key, 1, HTH_MAX_LAYER, &period);
    return i % period == offset;
}

static bool attends(hth_builder *b, int32_t i) {
    if (b->is_gguf) return b->d->layers[i].attn.n_kv_head > 0;
    const char *type = hth_meta_item(b->m, "layers_block_type", i);
    if (type && strcmp(type, "attention") != 0 && strcmp(type, "mamba") != 0) {
        hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: layer type \"%s\" is not known to family jamba", type);
    }
    return type ? strcmp(type, "attention") == 0 : is_nth(b, "attn_layer_offset", "attn_layer_period", i);
}

static bool has_experts(hth_builder *b, int32_t i) {
    char router[64];
    snprintf(router, sizeof router, "blk.%d.ffn_gate_inp.weight", (int)i);
    return b->is_gguf ? hth_container_find(b->model->container, router) != NULL
                      : is_nth(b, "expert_layer_offset", "expert_layer_period", i);
}

void hth_family_jamba(hth_builder *b) {
    static const mixer_names names = {"mamba_d_state", "mamba_d_conv", "mamba_dt_rank", "mamba_proj_bias", "mamba_conv_bias"};
    const hth_moe_desc moe = {.score = HTH_SCORE_SOFTMAX};
    int32_t expand = 2, n_expert = 0;
    hth_meta_i32(b->m, NULL, "mamba_expand", 1, 64, &expand);
    hth_meta_i32(b->m, "expert_count", "num_experts", 0, HTH_MAX_EXPERT, &n_expert);
    hth_recurrent_desc r = read_mixer(b, &names, (int64_t)expand * b->d->d_model);
    r.mamba1.normed = true;
    if (n_expert > 1) hth_builder_moe(b, &moe);
    b->d->n_rope = 0;
    for (int32_t i = 0; i < b->d->n_layer && b->m->code == HTH_OK; i++) {
        hth_layer_desc *l = &b->d->layers[i];
        l->attn.rope = -1;
        if (n_expert > 1 && !has_experts(b, i)) hth_builder_dense(b, i);
        if (attends(b, i)) continue;
        l->mixer = HTH_MIXER_NONE;
        l->recurrent = r;
    }
}
