// What most families share of turning metadata into a description.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family.h"

#define MAX_DIM 1048576 // widths beyond this are no model
#define MAX_BLOCK (1 << 26) // nor are recurrent states of so many numbers in one layer

typedef struct act_name {
    const char *name;
    hth_act act;
} act_name;

static const act_name acts[] = {
    {"silu", HTH_ACT_SILU},          {"swish", HTH_ACT_SILU},     {"swiglu", HTH_ACT_SILU},
    {"gelu", HTH_ACT_GELU_ERF},      {"gelu_new", HTH_ACT_GELU_TANH}, {"gelu_pytorch_tanh", HTH_ACT_GELU_TANH},
    {"gelu_fast", HTH_ACT_GELU_TANH}, {"relu", HTH_ACT_RELU},      {"relu2", HTH_ACT_RELU2},
};

static hth_act find_act(hth_builder *b, const char *name) {
    for (size_t i = 0; i < HTH_COUNT(acts); i++) {
        if (strcmp(acts[i].name, name) == 0) return acts[i].act;
    }
    hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: activation \"%s\" is not known", name);
    return HTH_ACT_SILU;
}

static hth_act read_act(hth_builder *b, hth_act dflt) {
    const char *name = NULL;
    if (hth_meta_str(b->m, NULL, "hidden_activation", &name)) return find_act(b, name);
    if (!hth_meta_str(b->m, NULL, "hidden_act|activation_function", &name)) return dflt;
    hth_act act = find_act(b, name);
    // The first Gemma files say "gelu" and mean the tanh form.
    return act == HTH_ACT_GELU_ERF && (b->family->traits & HTH_TRAIT_GELU_TANH) ? HTH_ACT_GELU_TANH : act;
}

// ---- rope

// Numbers of a head that a rotation may reach.
static int32_t rotary_width(const hth_builder *b) {
    const hth_layer_desc *l = &b->d->layers[0];
    return l->mixer == HTH_MIXER_LATENT ? l->latent.d_rope : l->attn.head_dim;
}

static void read_scaling_type(hth_builder *b, const char *path, hth_rope *r) {
    static const struct {
        const char *name;
        hth_rope_scaling scaling;
    } kinds[] = {{"default", HTH_SCALING_NONE},   {"none", HTH_SCALING_NONE},         {"linear", HTH_SCALING_LINEAR},
                 {"llama3", HTH_SCALING_LLAMA3},  {"yarn", HTH_SCALING_YARN},         {"longrope", HTH_SCALING_LONGROPE},
                 {"su", HTH_SCALING_LONGROPE},    {"proportional", HTH_SCALING_LINEAR}, {"mrope", HTH_SCALING_NONE}};
    char where[96];
    const char *name = NULL;
    snprintf(where, sizeof where, "%s.rope_type|%s.type", path, path);
    if (!hth_meta_str(b->m, "rope.scaling.type", where, &name)) return;
    for (size_t i = 0; i < HTH_COUNT(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            r->scaling = kinds[i].scaling;
            if (strcmp(name, "proportional") == 0 && r->factor == 0) r->factor = 1;
            return;
        }
    }
    // "dynamic" depends on the length of each request, unless a fixed alpha is given.
    snprintf(where, sizeof where, "%s.alpha", path);
    double alpha;
    if (strcmp(name, "dynamic") == 0 && hth_meta_num(b->m, NULL, where, &alpha) && r->n_rot > 2 && alpha > 0) {
        r->theta *= pow(alpha, (double)r->n_rot / (r->n_rot - 2));
        return;
    }
    hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "rope scaling \"%s\" is not known", name);
}

static void read_num(hth_builder *b, const char *key, const char *path, const char *member, double *out) {
    char where[128];
    snprintf(where, sizeof where, "%s.%s", path, member);
    hth_meta_num(b->m, key, where, out);
}

static const float *read_divisors(hth_builder *b, const char *path, const char *member, int32_t n) {
    char where[128];
    snprintf(where, sizeof where, "%s.%s", path, member);
    if (n <= 0 || !hth_meta_has(b->m, NULL, where)) return NULL;
    float *v = hth_arena_alloc(&b->model->arena, (size_t)n, sizeof *v);
    if (!v) {
        b->m->code = hth_fail_nomem(b->m->err, (uint64_t)n * sizeof *v);
        return NULL;
    }
    return hth_meta_nums(b->m, NULL, where, v, n) ? v : NULL;
}

void hth_builder_rope(hth_builder *b, const char *path, hth_rope *r) {
    char where[128];
    snprintf(where, sizeof where, "%s.rope_theta", path);
    hth_meta_num(b->m, NULL, where, &r->theta);
    double partial;
    snprintf(where, sizeof where, "%s.partial_rotary_factor", path);
    if (r->n_turning == 0 && hth_meta_num(b->m, NULL, where, &partial)) {
        if (!(partial > 0 && partial <= 1)) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: %s is %g, outside 0..1", where, partial);
            return;
        }
        r->n_rot = (int32_t)(partial * rotary_width(b));
    }
    read_num(b, "rope.scaling.factor", path, "factor", &r->factor);
    read_scaling_type(b, path, r);
    read_num(b, "rope.scaling.low_freq_factor", path, "low_freq_factor", &r->low_freq_factor);
    read_num(b, "rope.scaling.high_freq_factor", path, "high_freq_factor", &r->high_freq_factor);
    read_num(b, "rope.scaling.yarn_beta_fast", path, "beta_fast", &r->beta_fast);
    read_num(b, "rope.scaling.yarn_beta_slow", path, "beta_slow", &r->beta_slow);
    read_num(b, NULL, path, "mscale", &r->mscale);
    read_num(b, NULL, path, "mscale_all_dim", &r->mscale_all_dim);
    read_num(b, "rope.scaling.attn_factor", path, "attention_factor", &r->attn_factor);
    snprintf(where, sizeof where, "%s.original_max_position_embeddings|original_max_position_embeddings", path);
    hth_meta_int(b->m, "rope.scaling.original_context_length", where, 1, INT64_MAX / 4, &r->n_ctx_orig);
    bool truncate = true;
    snprintf(where, sizeof where, "%s.truncate", path);
    if (hth_meta_bool(b->m, NULL, where, &truncate)) r->yarn_no_truncate = !truncate;
    r->divisors[0] = read_divisors(b, path, "short_factor", r->n_rot / 2);
    r->divisors[1] = read_divisors(b, path, "long_factor", r->n_rot / 2);
    if (r->scaling != HTH_SCALING_LONGROPE) r->divisors[0] = r->divisors[1] = NULL;
    snprintf(where, sizeof where, "%s.factor", path);
    const bool is_given = hth_meta_has(b->m, NULL, where);
    if (!b->is_gguf && r->scaling != HTH_SCALING_NONE && is_given && !(r->factor > 0)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: %s is %g, a positive number is needed", where, r->factor);
    } else if (!b->is_gguf && r->scaling == HTH_SCALING_LINEAR && r->factor == 0) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: %s is missing", where);
    }
    if (r->factor == 0 && r->scaling != HTH_SCALING_NONE && r->scaling != HTH_SCALING_LONGROPE) {
        r->factor = r->scaling == HTH_SCALING_YARN && r->n_ctx_orig > 0 ? (double)r->n_ctx_max / (double)r->n_ctx_orig : 1;
    }
    // GGUF's attn_factor multiplies yarn's own magnitude instead of replacing it.
    if (b->is_gguf && r->scaling == HTH_SCALING_YARN && r->attn_factor != 0 && r->factor > 1) {
        r->attn_factor *= 0.1 * log(r->factor) + 1;
    }
}

static void read_main_rope(hth_builder *b) {
    hth_desc *d = b->d;
    hth_rope *r = &d->rope[0];
    const int32_t head_dim = rotary_width(b);
    *r = (hth_rope){.n_rot = head_dim, .theta = 10000, .low_freq_factor = 1, .high_freq_factor = 4, .beta_fast = 32,
                    .beta_slow = 1, .n_ctx_orig = d->n_ctx_train, .n_ctx_max = d->n_ctx_train};
    unsigned pairs = b->is_gguf ? HTH_TRAIT_NORM_ROPE_GGUF : HTH_TRAIT_NORM_ROPE_HUB;
    r->pairing = b->family->traits & pairs ? HTH_ROPE_NORM : HTH_ROPE_NEOX;
    d->n_rope = 1;
    hth_meta_i32(b->m, "rope.dimension_count", NULL, 2, MAX_DIM, &r->n_rot);
    hth_meta_num(b->m, "rope.freq_base", "rope_theta|rotary_emb_base", &r->theta);
    double partial;
    if (hth_meta_num(b->m, NULL, "partial_rotary_factor|rotary_emb_fraction", &partial)) {
        if (!(partial > 0 && partial <= 1)) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: partial_rotary_factor is %g, outside 0..1", partial);
            return;
        }
        r->n_rot = (int32_t)(partial * head_dim);
    }
    double linear = 0;
    if (hth_meta_num(b->m, "rope.scale_linear", NULL, &linear) && linear != 0) {
        r->scaling = HTH_SCALING_LINEAR;
        r->factor = linear;
    }
    bool has_parameters = hth_meta_has(b->m, NULL, "rope_parameters");
    hth_builder_rope(b, has_parameters ? "rope_parameters" : "rope_scaling", r);
    if (b->is_gguf && r->scaling == HTH_SCALING_NONE && r->factor > 1 && !hth_meta_has(b->m, "rope.scaling.type", NULL)) {
        r->scaling = HTH_SCALING_LINEAR; // a factor without a type means linear
    }
    if (r->n_rot > head_dim) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "rotary dimension %d is larger than a head of %d", (int)r->n_rot, (int)head_dim);
    }
}

// ---- shapes

void hth_builder_missing(hth_builder *b, const char *what, const char *key, const char *path) {
    if (b->is_gguf) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "metadata key %s.%s (%s) is missing", b->m->arch, key ? key : "", what);
    } else {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: %.*s (%s) is missing", (int)strcspn(path, "|"), path, what);
    }
}

static void read_heads(hth_builder *b, int64_t *work) {
    hth_desc *d = b->d;
    const int32_t n = d->n_layer;
    if (!hth_meta_ints(b->m, "attention.head_count", "num_attention_heads|n_head", 1, 65536, work, n)) {
        hth_builder_missing(b, "the number of attention heads", "attention.head_count", "num_attention_heads");
        return;
    }
    for (int32_t i = 0; i < n; i++) d->layers[i].attn.n_head = d->layers[i].attn.n_kv_head = (int32_t)work[i];
    if (b->family->traits & HTH_TRAIT_LATENT) {
        hth_builder_latent(b);
        return;
    }
    const int64_t least = b->family->traits & HTH_TRAIT_HYBRID ? 0 : 1;
    if (hth_meta_ints(b->m, "attention.head_count_kv", "num_key_value_heads", least, 65536, work, n)) {
        for (int32_t i = 0; i < n; i++) d->layers[i].attn.n_kv_head = (int32_t)work[i];
    }
    int32_t head_dim, head_dim_v;
    if (!hth_meta_i32(b->m, "attention.key_length", "head_dim", 1, 65536, &head_dim)) {
        head_dim = d->d_model / d->layers[0].attn.n_head;
        if (head_dim * d->layers[0].attn.n_head != d->d_model) {
            hth_meta_fail(b->m, HTH_ERR_FORMAT, "width %d is not divisible by %d heads", (int)d->d_model,
                          (int)d->layers[0].attn.n_head);
        }
    }
    head_dim_v = head_dim;
    hth_meta_i32(b->m, "attention.value_length", NULL, 1, 65536, &head_dim_v);
    for (int32_t i = 0; i < n; i++) {
        hth_attention_desc *a = &d->layers[i].attn;
        a->head_dim = head_dim;
        a->head_dim_v = head_dim_v;
        a->scale = 1 / sqrtf((float)head_dim);
        a->kv_layer = i;
    }
}

static void read_ffn(hth_builder *b, int64_t *work) {
    hth_desc *d = b->d;
    const unsigned t = b->family->traits;
    const int64_t least = t & HTH_TRAIT_HYBRID ? 0 : 1;
    if (!hth_meta_ints(b->m, "feed_forward_length|expert_feed_forward_length",
                       "intermediate_size|n_inner|block_ff_dim|moe_intermediate_size", least, MAX_DIM, work, d->n_layer)) {
        hth_builder_missing(b, "the feed-forward width", "feed_forward_length", "intermediate_size");
        return;
    }
    hth_act act = read_act(b, t & (HTH_TRAIT_PLAIN_FFN | HTH_TRAIT_GELU_TANH) ? HTH_ACT_GELU_TANH : HTH_ACT_SILU);
    for (int32_t i = 0; i < d->n_layer; i++) {
        d->layers[i].ffn = t & HTH_TRAIT_PLAIN_FFN ? HTH_FFN_PLAIN : HTH_FFN_GATED;
        d->layers[i].act = act;
        d->layers[i].d_ff = (int32_t)work[i];
    }
}

static void leave_out_attention(hth_builder *b) {
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        b->d->layers[i].mixer = HTH_MIXER_NONE;
        b->d->layers[i].attn.kv_layer = i;
        b->d->layers[i].attn.rope = -1;
    }
}

static void apply_traits(hth_builder *b) {
    hth_desc *d = b->d;
    const unsigned t = b->family->traits;
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_layer_desc *l = &d->layers[i];
        l->parallel = (t & HTH_TRAIT_PARALLEL) != 0;
        l->post_ln = (t & HTH_TRAIT_ENCODER) != 0;
        l->pre_norm = !(t & (HTH_TRAIT_POST_ONLY | HTH_TRAIT_ENCODER));
        l->sandwich = (t & (HTH_TRAIT_POST_ONLY | HTH_TRAIT_SANDWICH | HTH_TRAIT_ENCODER)) != 0;
        l->residual_scale = 1;
        l->attn.qk_norm_kind = HTH_NORM_RMS;
        if (t & HTH_TRAIT_QK_NORM_HEAD) l->attn.qk_norm = HTH_QK_NORM_HEAD;
        if (t & HTH_TRAIT_QK_NORM_ALL) l->attn.qk_norm = HTH_QK_NORM_ALL;
    }
}

static void read_size(hth_builder *b, const char *what, const char *key, const char *path, int64_t hi, int32_t *out) {
    int64_t v;
    if (hth_meta_int(b->m, key, path, 1, hi, &v)) {
        *out = (int32_t)v;
    } else {
        hth_builder_missing(b, what, key, path);
    }
}

static void read_shape(hth_builder *b, int64_t *work) {
    hth_desc *d = b->d;
    const unsigned t = b->family->traits;
    d->family = b->family->name;
    d->norm = t & HTH_TRAIT_LAYER_NORM ? HTH_NORM_LAYER : HTH_NORM_RMS;
    d->causal = !(t & HTH_TRAIT_ENCODER);
    d->embd_scale = t & HTH_TRAIT_EMBD_SQRT ? sqrtf((float)d->d_model) : 1;
    d->logit_scale = 1;
    d->n_stream = d->n_pos = 1;
    if (!b->is_gguf) read_size(b, "the vocabulary size", NULL, "vocab_size", INT32_MAX, &d->n_vocab);
    d->n_ctx_train = 2048;
    hth_meta_int(b->m, "context_length", "max_position_embeddings|n_positions|model_max_length", 1, INT64_MAX / 4, &d->n_ctx_train);
    double eps = 0;
    const char *eps_key = t & HTH_TRAIT_LAYER_NORM ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    const char *eps_keys = t & HTH_TRAIT_HYBRID ? "attention.layer_norm_rms_epsilon|attention.layer_norm_epsilon" : eps_key;
    if (!hth_meta_num(b->m, eps_keys, "rms_norm_eps|layer_norm_eps|norm_epsilon|layer_norm_epsilon|norm_eps|layernorm_epsilon", &eps)) {
        hth_builder_missing(b, "the norm's epsilon", eps_key, "rms_norm_eps");
    } else if (!(eps >= 0 && eps < 1)) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "the norm's epsilon is %g, outside 0..1", eps);
    }
    d->norm_eps = (float)eps;
    if (t & HTH_TRAIT_RECURRENT) {
        leave_out_attention(b);
    } else {
        read_heads(b, work);
        read_ffn(b, work);
    }
    if (b->m->code == HTH_OK) apply_traits(b);
}

// ---- windows

bool hth_builder_is_full(hth_builder *b, int32_t i, int32_t period) {
    const char *type = hth_meta_item(b->m, "layer_types", i);
    if (type) {
        bool full = strcmp(type, "full_attention") == 0;
        if (!full && strcmp(type, "sliding_attention") != 0) {
            hth_meta_fail(b->m, HTH_ERR_UNSUPPORTED, "config.json: layer type \"%s\" is not known to family %s", type,
                          b->family->name);
        }
        return full;
    }
    if (!b->is_gguf && hth_meta_has(b->m, NULL, "layer_types")) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "config.json: layer_types does not cover layer %d", (int)i);
        return false;
    }
    const hth_gguf_kv *kv = NULL;
    if (b->is_gguf) {
        char key[160];
        snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", b->m->arch);
        kv = hth_gguf_find(b->m->gguf, key);
    }
    if (kv && kv->kind == HTH_GGUF_ARRAY) {
        bool ok = kv->item_kind != HTH_GGUF_STRING && (uint64_t)i < kv->n;
        if (!ok) hth_meta_fail(b->m, HTH_ERR_FORMAT, "attention.sliding_window_pattern does not cover layer %d", (int)i);
        return ok && hth_gguf_item_i64(kv, (uint64_t)i) == 0;
    }
    int64_t n = period;
    hth_meta_int(b->m, "attention.sliding_window_pattern", "sliding_window_pattern", 0, HTH_MAX_LAYER, &n);
    return n > 0 && (i + 1) % n == 0;
}

// ---- checks that the forward pass relies on

// What every recurrent mixer has; sizes of its own are checked where they are read.
static void check_recurrent(hth_builder *b, int32_t i) {
    const hth_recurrent_desc *r = &b->d->layers[i].recurrent;
    const int64_t tail = (int64_t)r->tail_rows * r->tail_width, head = (int64_t)r->head_rows * r->head_cols;
    if (r->tail_rows > HTH_MAX_TAIL_ROWS || tail > MAX_BLOCK || head > MAX_BLOCK || head * r->n_head > MAX_BLOCK) {
        hth_meta_fail(b->m, HTH_ERR_LIMIT, "layer %d: a recurrent state of %d x %d and %d heads of %d x %d is too large", (int)i,
                      (int)r->tail_rows, (int)r->tail_width, (int)r->n_head, (int)r->head_rows, (int)r->head_cols);
    }
}

static void check_layer(hth_builder *b, int32_t i) {
    const hth_attention_desc *a = &b->d->layers[i].attn;
    check_recurrent(b, i);
    if (b->d->layers[i].mixer == HTH_MIXER_NONE) return;
    if (a->n_kv_head < 1) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d has attention, but no key heads", (int)i);
        return;
    }
    if (a->n_head % a->n_kv_head != 0) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d: %d query heads cannot share %d key heads", (int)i, (int)a->n_head,
                      (int)a->n_kv_head);
    }
    if ((int64_t)a->n_head * a->head_dim > 4 * MAX_DIM || (int64_t)a->n_head * a->head_dim_v > 4 * MAX_DIM) {
        hth_meta_fail(b->m, HTH_ERR_LIMIT, "layer %d: %d heads of %d are too wide", (int)i, (int)a->n_head, (int)a->head_dim);
    }
    const hth_latent_desc *c = &b->d->layers[i].latent;
    if ((int64_t)a->n_head * (c->d_nope + c->d_rope) > 4 * MAX_DIM || (int64_t)a->n_head * (c->d_nope + c->d_v) > 4 * MAX_DIM) {
        hth_meta_fail(b->m, HTH_ERR_LIMIT, "layer %d: %d heads of %d + %d and %d are too wide", (int)i, (int)a->n_head,
                      (int)c->d_nope, (int)c->d_rope, (int)c->d_v);
    }
    if (a->rope >= 0 && b->d->rope[a->rope].n_rot > a->head_dim) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d: rotary dimension %d is larger than a head of %d", (int)i,
                      (int)b->d->rope[a->rope].n_rot, (int)a->head_dim);
    }
    if (a->gated && a->head_dim != a->head_dim_v) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d: gates of %d numbers cannot be those of values of %d", (int)i,
                      (int)a->head_dim, (int)a->head_dim_v);
    }
    if (a->v_is_k && a->head_dim != a->head_dim_v) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d: keys of %d numbers cannot be values of %d", (int)i, (int)a->head_dim,
                      (int)a->head_dim_v);
    }
    const hth_attention_desc *o = &b->d->layers[a->kv_layer].attn;
    if (o->n_kv_head != a->n_kv_head || o->head_dim != a->head_dim || o->head_dim_v != a->head_dim_v ||
        o->kv_layer != a->kv_layer || a->kv_layer > i) {
        hth_meta_fail(b->m, HTH_ERR_FORMAT, "layer %d cannot share the keys of layer %d", (int)i, (int)a->kv_layer);
    }
}

// Configs that list the kinds of layers may leave out how many there are.
static bool count_listed(hth_builder *b) {
    const hth_json *list = b->is_gguf ? NULL : hth_json_get(b->m->text, "layers_block_type");
    const bool is_count = list && list->kind == HTH_JSON_ARRAY && list->n >= 1 && list->n <= HTH_MAX_LAYER;
    if (!is_count || hth_meta_has(b->m, NULL, "num_hidden_layers")) return false;
    b->d->n_layer = (int32_t)list->n;
    return true;
}

hth_code hth_describe(hth_builder *b, hth_err *err) {
    hth_desc *d = b->d;
    if (!count_listed(b)) {
        read_size(b, "the number of layers", "block_count", "num_hidden_layers|num_layers|n_layer", HTH_MAX_LAYER, &d->n_layer);
    }
    read_size(b, "the width", "embedding_length", "hidden_size|n_embd", MAX_DIM, &d->d_model);
    HTH_TRY(hth_meta_check(b->m));
    d->layers = hth_arena_alloc(&b->model->arena, (size_t)d->n_layer, sizeof *d->layers);
    int64_t *work = hth_arena_alloc(&b->model->arena, (size_t)d->n_layer, sizeof *work);
    if (!d->layers || !work) return hth_fail_nomem(err, (uint64_t)d->n_layer * sizeof *d->layers);
    read_shape(b, work);
    HTH_TRY(hth_meta_check(b->m));
    if (!(b->family->traits & HTH_TRAIT_RECURRENT)) read_main_rope(b);
    HTH_TRY(hth_meta_check(b->m));
    if (b->family->adjust) b->family->adjust(b);
    for (int32_t i = 0; b->m->code == HTH_OK && i < d->n_layer; i++) check_layer(b, i);
    return hth_meta_check(b->m);
}
