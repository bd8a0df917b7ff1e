// Tiny models with random weights, written by the test itself: a folder with config.json and
// model.safetensors. Numbers depend on the tensor's name alone, so a model is the same in every run and
// whatever was changed beside.
#ifndef HTH_TEST_TINY_H
#define HTH_TEST_TINY_H

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "model/model.h"
#include "unit/cmocka_all.h"

typedef enum tiny_kind {
    TINY_LLAMA,   // 6 query heads on 2 key heads, llama3 scaling, untied
    TINY_GEMMA3,  // windows, two rotations, sandwich norms, softcaps
    TINY_GEMMA4,  // layers that share keys, per-layer inputs, two head sizes
    TINY_GEMMA3N, // four streams per token, a learned residual, sparse gates
    TINY_COHERE,  // attention and feed-forward side by side, LayerNorm, norms per head
    TINY_PHI3,    // fused matrices, longrope
    TINY_LFM2,    // short convolutions in layers 0 and 2
    TINY_QWEN35,  // gated delta rule in layers 0 and 2, gated attention
    TINY_LATENT,  // latent attention: compressed queries, keys and values
    TINY_FALCON_H1, // attention and Mamba 2 side by side, with multipliers
    TINY_NEMOTRON_H, // layers of one kind each: Mamba 2, feed-forward, attention
    TINY_JAMBA,      // Mamba 1 in layers 0 and 2
    TINY_RWKV7,      // states handed from row to row, and the row before in mixer and feed-forward
    TINY_CAUSAL_COUNT,
    TINY_BERT = TINY_CAUSAL_COUNT, // encoder
    TINY_COUNT
} tiny_kind;

enum { TINY_VOCAB = 97, TINY_WINDOW = 12 };

// One member of config.json: "a.b" stands inside the object "a"; members of one object are neighbours.
typedef struct tiny_pair {
    char key[96], value[256];
} tiny_pair;

typedef struct tiny_tensor {
    char name[192], type[8];
    int64_t n_row, n_col; // n_col 0: a vector
    float mean, spread;   // uniform in mean +- spread
} tiny_tensor;

typedef struct tiny {
    tiny_pair pairs[64];
    int n_pair;
    tiny_tensor tensors[160];
    int n_tensor;
} tiny;

static inline tiny_pair *tiny_find_pair(tiny *t, const char *key) {
    for (int i = 0; i < t->n_pair; i++) {
        if (strcmp(t->pairs[i].key, key) == 0) return &t->pairs[i];
    }
    return NULL;
}

// A place for a new member: behind the others of its object.
static inline tiny_pair *tiny_new_pair(tiny *t, const char *key) {
    assert_true(t->n_pair < 64);
    const size_t n = strcspn(key, ".") + 1;
    int at = t->n_pair;
    for (int i = 0; i < t->n_pair; i++) {
        if (strncmp(t->pairs[i].key, key, n) == 0) at = i + 1;
    }
    tiny_pair *p = &t->pairs[at];
    memmove(p + 1, p, (size_t)(t->n_pair++ - at) * sizeof *p);
    snprintf(p->key, sizeof p->key, "%s", key);
    return p;
}

// Sets a member to JSON text; NULL removes it.
static inline void tiny_set(tiny *t, const char *key, const char *value) {
    tiny_pair *p = tiny_find_pair(t, key);
    if (!value) {
        assert_non_null(p);
        memmove(p, p + 1, (size_t)(&t->pairs[--t->n_pair] - p) * sizeof *p);
        return;
    }
    if (!p) p = tiny_new_pair(t, key);
    snprintf(p->value, sizeof p->value, "%s", value);
}

static inline void tiny_set_int(tiny *t, const char *key, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    tiny_set(t, key, text);
}

// The tensor must be there.
static inline tiny_tensor *tiny_find(tiny *t, const char *name) {
    int i = 0;
    while (i < t->n_tensor && strcmp(t->tensors[i].name, name) != 0) i++;
    assert_true(i < t->n_tensor);
    return &t->tensors[i];
}

static inline void tiny_retype(tiny *t, const char *name, const char *type) {
    tiny_tensor *p = tiny_find(t, name);
    snprintf(p->type, sizeof p->type, "%s", type);
}

static inline void tiny_remove(tiny *t, const char *name) {
    tiny_tensor *p = tiny_find(t, name);
    memmove(p, p + 1, (size_t)(&t->tensors[--t->n_tensor] - p) * sizeof *p);
}

static inline tiny_tensor *tiny_add(tiny *t, const char *name, int64_t n_row, int64_t n_col, float mean,
                                    float spread) {
    assert_true(t->n_tensor < 160);
    tiny_tensor *p = &t->tensors[t->n_tensor++];
    *p = (tiny_tensor){.type = "F32", .n_row = n_row, .n_col = n_col, .mean = mean, .spread = spread};
    snprintf(p->name, sizeof p->name, "%s", name);
    return p;
}

static inline void tiny_named(tiny *t, const char *prefix, const char *name, int64_t n_row, int64_t n_col,
                              float mean, float spread) {
    char full[192];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    tiny_add(t, full, n_row, n_col, mean, spread);
}

// A matrix whose products keep about the size of their input times `gain`.
static inline void tiny_matrix(tiny *t, const char *prefix, const char *name, int64_t n_row, int64_t n_col,
                               float gain) {
    char full[192];
    snprintf(full, sizeof full, "%s%s.weight", prefix, name);
    tiny_add(t, full, n_row, n_col, 0, gain * sqrtf(3.0f / (float)n_col));
}

static inline void tiny_vector(tiny *t, const char *prefix, const char *name, int64_t n, float mean) {
    char full[192];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    tiny_add(t, full, n, 0, mean, 0.3f);
}

// ---- writing

// Closes and opens objects on the way from the path `from` to the path `to`; returns what is left of `to`.
static inline const char *tiny_walk(FILE *f, const char *from, const char *to, bool first) {
    size_t same = 0;
    for (size_t i = 0; from[i] && from[i] == to[i]; i++) {
        if (from[i] == '.') same = i + 1;
    }
    for (const char *p = from + same; (p = strchr(p, '.')); p++) fputc('}', f);
    if (!first) fputs(", ", f);
    const char *rest = to + same;
    for (const char *dot; (dot = strchr(rest, '.')); rest = dot + 1) {
        fprintf(f, "\"%.*s\": {", (int)(dot - rest), rest);
    }
    return rest;
}

static inline void tiny_write_config(const tiny *t, const char *dir) {
    char path[256];
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputc('{', f);
    const char *at = "";
    for (int i = 0; i < t->n_pair; i++) {
        fprintf(f, "\"%s\": %s", tiny_walk(f, at, t->pairs[i].key, i == 0), t->pairs[i].value);
        at = t->pairs[i].key;
    }
    for (const char *p = at; (p = strchr(p, '.')); p++) fputc('}', f);
    fputs("}\n", f);
    assert_int_equal(fclose(f), 0);
}

static inline int64_t tiny_count(const tiny_tensor *p) {
    return p->n_row * (p->n_col ? p->n_col : 1);
}

static inline size_t tiny_size(const tiny_tensor *p) {
    return strcmp(p->type, "F32") == 0 || strcmp(p->type, "U32") == 0 || strcmp(p->type, "I32") == 0 ? 4
         : strcmp(p->type, "F16") == 0 || strcmp(p->type, "BF16") == 0                               ? 2
                                                                                                     : 1;
}

// xorshift64*, uniform in [-1, 1).
static inline float tiny_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (float)((*state * 0x2545F4914F6CDD1Du) >> 40) / (float)(1 << 23) - 1;
}

// Types other than F32 get random bytes without the top bit of a byte: halves stay finite.
static inline void tiny_write_tensor(FILE *f, const tiny_tensor *p) {
    uint64_t seed = 88172645463325252u;
    for (const char *c = p->name; *c; c++) seed = (seed ^ (uint8_t)*c) * 0x100000001B3u;
    for (int64_t i = 0; i < tiny_count(p); i++) {
        float v = p->mean + p->spread * tiny_random(&seed);
        if (strcmp(p->type, "F32") == 0) {
            fwrite(&v, 4, 1, f);
        } else {
            for (size_t b = 0; b < tiny_size(p); b++) fputc((int)(seed >> (8 * b + 20)) & 0x3B, f);
        }
    }
}

static inline void tiny_write_weights(const tiny *t, const char *dir) {
    char path[256], head[32768];
    size_t n = 0, off = 0;
    n += (size_t)snprintf(head, sizeof head, "{");
    for (int i = 0; i < t->n_tensor; i++) {
        const tiny_tensor *p = &t->tensors[i];
        const size_t size = (size_t)tiny_count(p) * tiny_size(p);
        char shape[64];
        snprintf(shape, sizeof shape, p->n_col ? "%lld,%lld" : "%lld", (long long)p->n_row,
                 (long long)p->n_col);
        n += (size_t)snprintf(head + n, sizeof head - n,
                              "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                              i ? "," : "", p->name, p->type, shape, off, off + size);
        off += size;
    }
    n += (size_t)snprintf(head + n, sizeof head - n, "}");
    assert_true(n < sizeof head - 8);
    while (n % 8 != 0) head[n++] = ' ';
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int b = 0; b < 8; b++) fputc((int)((uint64_t)n >> (8 * b)) & 255, f);
    fwrite(head, 1, n, f);
    for (int i = 0; i < t->n_tensor; i++) tiny_write_tensor(f, &t->tensors[i]);
    assert_int_equal(fclose(f), 0);
}

static inline void tiny_make_dir(char dir[128]) {
    const char *tmp = getenv("TMPDIR"),
               *memory = "/dev/shm"; // thousands of tiny files: in memory where there is a place
    if (!tmp) tmp = access(memory, W_OK) == 0 ? memory : "/tmp";
    snprintf(dir, 128, "%.100s/hearth-XXXXXX", tmp);
    assert_non_null(mkdtemp(dir));
}

// Files that are open stay readable.
static inline void tiny_remove_dir(const char *dir) {
    char path[256];
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
}

static inline hth_code tiny_open(const tiny *t, hth_model **m, hth_err *err) {
    char dir[128];
    tiny_make_dir(dir);
    tiny_write_config(t, dir);
    tiny_write_weights(t, dir);
    hth_code code = hth_model_open(dir, m, err);
    tiny_remove_dir(dir);
    return code;
}

// ---- the models

typedef struct tiny_shape {
    int d, n_head, n_kv, head_dim, d_ff;
    float norm; // mean of norm weights: 0 where the family adds 1
} tiny_shape;

static inline void tiny_attention(tiny *t, const char *p, const tiny_shape *s) {
    // Large queries and keys make attention peaked, so that a key too many or too few shows.
    tiny_matrix(t, p, "self_attn.q_proj", s->n_head * s->head_dim, s->d, 2);
    tiny_matrix(t, p, "self_attn.k_proj", s->n_kv * s->head_dim, s->d, 2);
    tiny_matrix(t, p, "self_attn.v_proj", s->n_kv * s->head_dim, s->d, 1);
    tiny_matrix(t, p, "self_attn.o_proj", s->d, s->n_head * s->head_dim, 1);
}

static inline void tiny_ffn(tiny *t, const char *p, const tiny_shape *s) {
    tiny_matrix(t, p, "mlp.gate_proj", s->d_ff, s->d, 1);
    tiny_matrix(t, p, "mlp.up_proj", s->d_ff, s->d, 1);
    tiny_matrix(t, p, "mlp.down_proj", s->d, s->d_ff, 1);
}

static inline void tiny_common(tiny *t, const char *type, const tiny_shape *s, int n_layer) {
    *t = (tiny){0};
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\"", type);
    tiny_set(t, "model_type", quoted);
    tiny_set_int(t, "hidden_size", s->d);
    tiny_set_int(t, "num_hidden_layers", n_layer);
    tiny_set_int(t, "num_attention_heads", s->n_head);
    tiny_set_int(t, "num_key_value_heads", s->n_kv);
    tiny_set_int(t, "head_dim", s->head_dim);
    tiny_set_int(t, "intermediate_size", s->d_ff);
    tiny_set_int(t, "vocab_size", TINY_VOCAB);
    tiny_set(t, "max_position_embeddings", "512");
    tiny_set(t, "rope_theta", "10000.0");
}

static inline void tiny_norms(tiny *t, const char *p, const tiny_shape *s, const char *const *names) {
    for (; *names; names++) {
        char full[96];
        snprintf(full, sizeof full, "%s.weight", *names);
        tiny_vector(t, p, full, s->d, s->norm);
    }
}

static inline void tiny_ends(tiny *t, const tiny_shape *s, bool tied) {
    tiny_matrix(t, "model.", "embed_tokens", TINY_VOCAB, s->d, 4);
    tiny_vector(t, "model.", "norm.weight", s->d, s->norm);
    if (!tied) tiny_matrix(t, "", "lm_head", TINY_VOCAB, s->d, 2);
    tiny_set(t, "tie_word_embeddings", tied ? "true" : "false");
}

static inline void tiny_llama(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 16, .d_ff = 80, .norm = 1};
    tiny_common(t, "llama", &s, 3);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "rope_scaling.rope_type", "\"llama3\"");
    tiny_set(t, "rope_scaling.factor", "4.0");
    tiny_set(t, "rope_scaling.low_freq_factor", "1.0");
    tiny_set(t, "rope_scaling.high_freq_factor", "4.0");
    tiny_set(t, "rope_scaling.original_max_position_embeddings", "64");
    tiny_set(t, "attention_bias", "false");
    tiny_set(t, "mlp_bias", "false");
    tiny_set(t, "hidden_act", "\"silu\"");
    for (int i = 0; i < 3; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_attention(t, p, &s);
        tiny_ffn(t, p, &s);
    }
    tiny_ends(t, &s, false);
}

static const char *const tiny_sandwich[] = {"input_layernorm", "post_attention_layernorm",
                                            "pre_feedforward_layernorm", "post_feedforward_layernorm", NULL};

static inline void tiny_gemma3(tiny *t) {
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 12, .d_ff = 80, .norm = 0};
    tiny_common(t, "gemma3_text", &s, 4);
    tiny_set(t, "rms_norm_eps", "1e-6");
    tiny_set(t, "sliding_window", "12");
    tiny_set(t, "layer_types",
             "[\"sliding_attention\",\"sliding_attention\",\"full_attention\",\"sliding_attention\"]");
    tiny_set(t, "rope_local_base_freq", "100.0");
    tiny_set(t, "rope_scaling.rope_type", "\"linear\"");
    tiny_set(t, "rope_scaling.factor", "8.0");
    tiny_set(t, "query_pre_attn_scalar", "12");
    tiny_set(t, "attn_logit_softcapping", "15.0");
    tiny_set(t, "final_logit_softcapping", "20.0");
    for (int i = 0; i < 4; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, tiny_sandwich);
        tiny_attention(t, p, &s);
        tiny_vector(t, p, "self_attn.q_norm.weight", s.head_dim, 0);
        tiny_vector(t, p, "self_attn.k_norm.weight", s.head_dim, 0);
        tiny_ffn(t, p, &s);
    }
    tiny_ends(t, &s, true);
}

// Layers 4 and 5 read the keys of 3 and 2.
static inline void tiny_gemma4(tiny *t) {
    enum { LAYERS = 6, PER_LAYER = 8 };
    tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 12, .d_ff = 40, .norm = 1};
    tiny_common(t, "gemma4_text", &s, LAYERS);
    tiny_set(t, "rope_theta", NULL);
    tiny_set(t, "rms_norm_eps", "1e-6");
    tiny_set(t, "sliding_window", "12");
    tiny_set(t, "layer_types",
             "[\"sliding_attention\",\"sliding_attention\",\"full_attention\",\"sliding_attention\","
             "\"sliding_attention\",\"full_attention\"]");
    tiny_set(t, "global_head_dim", "20");
    tiny_set(t, "num_kv_shared_layers", "2");
    tiny_set_int(t, "hidden_size_per_layer_input", PER_LAYER);
    tiny_set(t, "use_double_wide_mlp", "true");
    tiny_set(t, "attention_k_eq_v", "false");
    tiny_set(t, "num_global_key_value_heads", "null");
    tiny_set(t, "rope_parameters.full_attention.rope_type", "\"proportional\"");
    tiny_set(t, "rope_parameters.full_attention.rope_theta", "3000.0");
    tiny_set(t, "rope_parameters.full_attention.partial_rotary_factor", "0.5");
    tiny_set(t, "rope_parameters.sliding_attention.rope_type", "\"default\"");
    tiny_set(t, "rope_parameters.sliding_attention.rope_theta", "100.0");
    tiny_set(t, "final_logit_softcapping", "20.0");
    for (int i = 0; i < LAYERS; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        s.head_dim = i == 2 || i == 5 ? 20 : 12;
        s.d_ff = i >= 4 ? 80 : 40;
        tiny_norms(t, p, &s, tiny_sandwich);
        tiny_attention(t, p, &s);
        tiny_vector(t, p, "self_attn.q_norm.weight", s.head_dim, 1);
        tiny_vector(t, p, "self_attn.k_norm.weight", s.head_dim, 1);
        tiny_ffn(t, p, &s);
        tiny_matrix(t, p, "per_layer_input_gate", PER_LAYER, s.d, 1);
        tiny_matrix(t, p, "per_layer_projection", s.d, PER_LAYER, 1);
        tiny_vector(t, p, "post_per_layer_input_norm.weight", s.d, 1);
        tiny_vector(t, p, "layer_scalar", 1, 1);
    }
    tiny_matrix(t, "model.", "embed_tokens_per_layer", TINY_VOCAB, (int64_t)LAYERS * PER_LAYER, 4);
    tiny_matrix(t, "model.", "per_layer_model_projection", (int64_t)LAYERS * PER_LAYER, s.d, 1);
    tiny_vector(t, "model.", "per_layer_projection_norm.weight", PER_LAYER, 1);
    tiny_ends(t, &s, true);
}

// What the layers of Gemma 3n have besides those of Gemma 4.
static inline void tiny_streams(tiny *t, const char *p, const tiny_shape *s) {
    enum { RANK = 10, STREAMS = 4 };
    tiny_matrix(t, p, "laurel.linear_left", RANK, s->d, 1);
    tiny_matrix(t, p, "laurel.linear_right", s->d, RANK, 1);
    tiny_vector(t, p, "laurel.post_laurel_norm.weight", s->d, 1);
    tiny_matrix(t, p, "altup.modality_router", STREAMS, s->d, 40);
    tiny_vector(t, p, "altup.router_norm.weight", s->d, 1);
    tiny_matrix(t, p, "altup.prediction_coefs", (int64_t)STREAMS * STREAMS, STREAMS, 0.5f);
    tiny_matrix(t, p, "altup.correction_coefs", STREAMS, STREAMS, 0.5f);
    tiny_vector(t, p, "altup.correct_output_scale", s->d, 1);
}

// Layer 3 reads the keys of layer 1.
static inline void tiny_gemma3n(tiny *t) {
    enum { LAYERS = 4, PER_LAYER = 8, PER_LAYER_VOCAB = 60 };
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 12, .d_ff = 40, .norm = 1};
    tiny_common(t, "gemma3n_text", &s, LAYERS);
    tiny_set(t, "intermediate_size", "[40, 40, 40, 40]");
    tiny_set(t, "rms_norm_eps", "1e-6");
    tiny_set(t, "sliding_window", "12");
    tiny_set(t, "layer_types",
             "[\"sliding_attention\",\"full_attention\",\"sliding_attention\",\"full_attention\"]");
    tiny_set(t, "rope_local_base_freq", "100.0");
    tiny_set(t, "num_kv_shared_layers", "1");
    tiny_set_int(t, "hidden_size_per_layer_input", PER_LAYER);
    tiny_set_int(t, "vocab_size_per_layer_input", PER_LAYER_VOCAB);
    tiny_set(t, "activation_sparsity_pattern", "[0.9, 0.6, 0.0, 0.0]");
    tiny_set(t, "altup_num_inputs", "4");
    tiny_set(t, "altup_active_idx", "0");
    tiny_set(t, "altup_coef_clip", "0.3");
    tiny_set(t, "altup_correct_scale", "true");
    tiny_set(t, "laurel_rank", "10");
    tiny_set(t, "final_logit_softcapping", "20.0");
    for (int i = 0; i < LAYERS; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, tiny_sandwich);
        tiny_attention(t, p, &s);
        tiny_vector(t, p, "self_attn.q_norm.weight", s.head_dim, 1);
        tiny_vector(t, p, "self_attn.k_norm.weight", s.head_dim, 1);
        tiny_ffn(t, p, &s);
        tiny_matrix(t, p, "per_layer_input_gate", PER_LAYER, s.d, 1);
        tiny_matrix(t, p, "per_layer_projection", s.d, PER_LAYER, 1);
        tiny_vector(t, p, "post_per_layer_input_norm.weight", s.d, 1);
        tiny_streams(t, p, &s);
    }
    for (int j = 0; j < 3; j++) {
        char name[64];
        snprintf(name, sizeof name, "altup_projections.%d", j);
        tiny_matrix(t, "model.", name, s.d, s.d, 1);
        snprintf(name, sizeof name, "altup_unembed_projections.%d", j);
        tiny_matrix(t, "model.", name, s.d, s.d, 1);
    }
    tiny_matrix(t, "model.", "embed_tokens_per_layer", PER_LAYER_VOCAB, (int64_t)LAYERS * PER_LAYER, 4);
    tiny_matrix(t, "model.", "per_layer_model_projection", (int64_t)LAYERS * PER_LAYER, s.d, 1);
    tiny_vector(t, "model.", "per_layer_projection_norm.weight", PER_LAYER, 1);
    tiny_ends(t, &s, true);
}

static inline void tiny_cohere(tiny *t) {
    static const char *const norms[] = {"input_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 8, .d_ff = 56, .norm = 1};
    tiny_common(t, "cohere", &s, 3);
    tiny_set(t, "layer_norm_eps", "1e-5");
    tiny_set(t, "use_qk_norm", "true");
    tiny_set(t, "logit_scale", "0.25");
    for (int i = 0; i < 3; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_attention(t, p, &s);
        tiny_named(t, p, "self_attn.q_norm.weight", s.n_head, s.head_dim, 1, 0.3f);
        tiny_named(t, p, "self_attn.k_norm.weight", s.n_kv, s.head_dim, 1, 0.3f);
        tiny_ffn(t, p, &s);
    }
    tiny_ends(t, &s, true);
}

static inline void tiny_phi3(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 8, .d_ff = 56, .norm = 1};
    tiny_common(t, "phi3", &s, 3);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "partial_rotary_factor", "0.75");
    tiny_set(t, "original_max_position_embeddings", "128");
    tiny_set(t, "rope_scaling.type", "\"longrope\"");
    tiny_set(t, "rope_scaling.short_factor", "[1.0, 1.1, 1.3]");
    tiny_set(t, "rope_scaling.long_factor", "[1.0, 2.5, 6.0]");
    for (int i = 0; i < 3; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_matrix(t, p, "self_attn.qkv_proj", (s.n_head + 2 * s.n_kv) * s.head_dim, s.d, 2);
        tiny_matrix(t, p, "self_attn.o_proj", s.d, s.n_head * s.head_dim, 1);
        tiny_matrix(t, p, "mlp.gate_up_proj", 2 * s.d_ff, s.d, 1);
        tiny_matrix(t, p, "mlp.down_proj", s.d, s.d_ff, 1);
    }
    tiny_ends(t, &s, false);
}

static inline void tiny_linear(tiny *t, const char *p, const char *name, int64_t n_row, int64_t n_col) {
    char bias[96];
    tiny_matrix(t, p, name, n_row, n_col, 1.5f);
    snprintf(bias, sizeof bias, "%s.bias", name);
    tiny_vector(t, p, bias, n_row, 0);
}

static inline void tiny_layer_norm(tiny *t, const char *p, const char *name, int64_t n) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    tiny_vector(t, p, full, n, 1);
    snprintf(full, sizeof full, "%s.bias", name);
    tiny_vector(t, p, full, n, 0);
}

static inline void tiny_latent(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 6, .head_dim = 32, .d_ff = 56, .norm = 1};
    tiny_common(t, "deepseek_v3", &s, 3);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "q_lora_rank", "20");
    tiny_set(t, "kv_lora_rank", "32");
    tiny_set(t, "qk_nope_head_dim", "16");
    tiny_set(t, "qk_rope_head_dim", "32");
    tiny_set(t, "v_head_dim", "12");
    for (int i = 0; i < 3; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_matrix(t, p, "self_attn.q_a_proj", 20, s.d, 1);
        tiny_vector(t, p, "self_attn.q_a_layernorm.weight", 20, 1);
        tiny_matrix(t, p, "self_attn.q_b_proj", s.n_head * (16 + 32), 20, 2);
        tiny_matrix(t, p, "self_attn.kv_a_proj_with_mqa", 32 + 32, s.d, 1);
        tiny_vector(t, p, "self_attn.kv_a_layernorm.weight", 32, 1);
        tiny_matrix(t, p, "self_attn.kv_b_proj", s.n_head * (16 + 12), 32, 1.5f);
        tiny_matrix(t, p, "self_attn.o_proj", s.d, s.n_head * 12, 1);
        tiny_ffn(t, p, &s);
    }
    tiny_ends(t, &s, false);
}

static inline void tiny_lfm2(tiny *t) {
    static const char *const norms[] = {"operator_norm", "ffn_norm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 8, .d_ff = 56, .norm = 1};
    tiny_common(t, "lfm2", &s, 4);
    tiny_set(t, "norm_eps", "1e-5");
    tiny_set(t, "conv_L_cache", "4");
    tiny_set(t, "conv_bias", "true");
    tiny_set(t, "block_auto_adjust_ff_dim", "false");
    tiny_set(t, "layer_types", "[\"conv\",\"full_attention\",\"conv\",\"full_attention\"]");
    for (int i = 0; i < 4; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        if (i % 2 == 1) {
            tiny_matrix(t, p, "self_attn.q_proj", s.n_head * s.head_dim, s.d, 2);
            tiny_matrix(t, p, "self_attn.k_proj", s.n_kv * s.head_dim, s.d, 2);
            tiny_matrix(t, p, "self_attn.v_proj", s.n_kv * s.head_dim, s.d, 1);
            tiny_matrix(t, p, "self_attn.out_proj", s.d, s.n_head * s.head_dim, 1);
            tiny_vector(t, p, "self_attn.q_layernorm.weight", s.head_dim, 1);
            tiny_vector(t, p, "self_attn.k_layernorm.weight", s.head_dim, 1);
        } else {
            tiny_linear(t, p, "conv.in_proj", 3 * s.d, s.d);
            tiny_named(t, p, "conv.conv.weight", s.d, 4, 0, 1);
            tiny_vector(t, p, "conv.conv.bias", s.d, 0);
            tiny_linear(t, p, "conv.out_proj", s.d, s.d);
        }
        tiny_matrix(t, p, "feed_forward.w1", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "feed_forward.w3", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "feed_forward.w2", s.d, s.d_ff, 1);
    }
    tiny_matrix(t, "model.", "embed_tokens", TINY_VOCAB, s.d, 2);
    tiny_vector(t, "model.", "embedding_norm.weight", s.d, 1);
}

// 2 heads of keys and 6 of values.
static inline void tiny_delta(tiny *t, const char *p, const tiny_shape *s) {
    enum { KEYS = 2, VALUES = 6, D_KEY = 6, D_VALUE = 20, TAPS = 4, CHANNELS = 2 * KEYS * D_KEY + VALUES * D_VALUE };
    tiny_matrix(t, p, "linear_attn.in_proj_qkv", CHANNELS, s->d, 2);
    tiny_matrix(t, p, "linear_attn.in_proj_z", VALUES * D_VALUE, s->d, 2);
    tiny_matrix(t, p, "linear_attn.in_proj_b", VALUES, s->d, 2);
    tiny_matrix(t, p, "linear_attn.in_proj_a", VALUES, s->d, 2);
    tiny_named(t, p, "linear_attn.conv1d.weight", CHANNELS, TAPS, 0, 1);
    tiny_vector(t, p, "linear_attn.A_log", VALUES, -1);
    tiny_vector(t, p, "linear_attn.dt_bias", VALUES, -1);
    tiny_vector(t, p, "linear_attn.norm.weight", D_VALUE, 1);
    tiny_matrix(t, p, "linear_attn.out_proj", s->d, VALUES * D_VALUE, 1);
}

static inline void tiny_gated_attention(tiny *t, const char *p, const tiny_shape *s) {
    tiny_matrix(t, p, "self_attn.q_proj", 2 * s->n_head * s->head_dim, s->d, 2);
    tiny_matrix(t, p, "self_attn.k_proj", s->n_kv * s->head_dim, s->d, 2);
    tiny_matrix(t, p, "self_attn.v_proj", s->n_kv * s->head_dim, s->d, 1);
    tiny_matrix(t, p, "self_attn.o_proj", s->d, s->n_head * s->head_dim, 1);
    tiny_vector(t, p, "self_attn.q_norm.weight", s->head_dim, 0);
    tiny_vector(t, p, "self_attn.k_norm.weight", s->head_dim, 0);
}

// A layer that predicts one token further.
static inline void tiny_mtp(tiny *t, const tiny_shape *s, const char *const *norms) {
    tiny_norms(t, "mtp.layers.0.", s, norms);
    tiny_ffn(t, "mtp.layers.0.", s);
    tiny_gated_attention(t, "mtp.layers.0.", s);
    tiny_matrix(t, "mtp.", "fc", s->d, 2 * s->d, 1);
    tiny_vector(t, "mtp.", "pre_fc_norm_embedding.weight", s->d, 0);
    tiny_vector(t, "mtp.", "pre_fc_norm_hidden.weight", s->d, 0);
    tiny_vector(t, "mtp.", "norm.weight", s->d, 0);
}

static inline void tiny_qwen35(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 12, .d_ff = 56, .norm = 0};
    tiny_common(t, "qwen3_5_text", &s, 4);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "rope_theta", NULL);
    tiny_set(t, "rope_parameters.rope_theta", "100.0");
    tiny_set(t, "rope_parameters.partial_rotary_factor", "0.5");
    tiny_set(t, "full_attention_interval", "2");
    tiny_set(t, "linear_conv_kernel_dim", "4");
    tiny_set(t, "linear_key_head_dim", "6");
    tiny_set(t, "linear_value_head_dim", "20");
    tiny_set(t, "linear_num_key_heads", "2");
    tiny_set(t, "linear_num_value_heads", "6");
    for (int i = 0; i < 4; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_ffn(t, p, &s);
        if (i % 2 == 0) {
            tiny_delta(t, p, &s);
            continue;
        }
        tiny_gated_attention(t, p, &s);
    }
    tiny_mtp(t, &s, norms);
    tiny_ends(t, &s, false);
}

static inline void tiny_bert(tiny *t) {
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 6, .head_dim = 8, .d_ff = 56};
    tiny_common(t, "bert", &s, 2);
    tiny_set(t, "layer_norm_eps", "1e-12");
    tiny_set(t, "type_vocab_size", "2");
    tiny_set(t, "max_position_embeddings", "64");
    for (int i = 0; i < 2; i++) {
        char p[64];
        snprintf(p, sizeof p, "encoder.layer.%d.", i);
        tiny_linear(t, p, "attention.self.query", s.d, s.d);
        tiny_linear(t, p, "attention.self.key", s.d, s.d);
        tiny_linear(t, p, "attention.self.value", s.d, s.d);
        tiny_linear(t, p, "attention.output.dense", s.d, s.d);
        tiny_layer_norm(t, p, "attention.output.LayerNorm", s.d);
        tiny_linear(t, p, "intermediate.dense", s.d_ff, s.d);
        tiny_linear(t, p, "output.dense", s.d, s.d_ff);
        tiny_layer_norm(t, p, "output.LayerNorm", s.d);
    }
    tiny_matrix(t, "embeddings.", "word_embeddings", TINY_VOCAB, s.d, 2);
    tiny_matrix(t, "embeddings.", "position_embeddings", 64, s.d, 1);
    tiny_matrix(t, "embeddings.", "token_type_embeddings", 2, s.d, 1);
    tiny_layer_norm(t, "embeddings.", "LayerNorm", s.d);
}

// 4 heads of 6 in 2 groups, with states of 10.
static inline void tiny_mamba(tiny *t, const char *p, const char *mixer, int64_t d) {
    char q[96];
    snprintf(q, sizeof q, "%s%s.", p, mixer);
    tiny_matrix(t, q, "in_proj", 2 * 24 + 2 * 20 + 4, d, 1);
    tiny_named(t, q, "conv1d.weight", 24 + 2 * 20, 4, 0, 1);
    tiny_vector(t, q, "conv1d.bias", 24 + 2 * 20, 0);
    tiny_named(t, q, "A_log", 4, 0, -1, 1.5f);
    tiny_vector(t, q, "D", 4, 1);
    tiny_vector(t, q, "dt_bias", 4, 0);
    tiny_vector(t, q, "norm.weight", 24, 1);
    tiny_matrix(t, q, "out_proj", d, 24, 1);
}

static inline void tiny_falcon_h1(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "pre_ff_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 8, .d_ff = 56, .norm = 1};
    tiny_common(t, "falcon_h1", &s, 2);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "mamba_n_heads", "4");
    tiny_set(t, "mamba_d_head", "6");
    tiny_set(t, "mamba_d_state", "10");
    tiny_set(t, "mamba_d_conv", "4");
    tiny_set(t, "mamba_n_groups", "2");
    tiny_set(t, "mamba_rms_norm", "true");
    tiny_set(t, "mamba_norm_before_gate", "false");
    tiny_set(t, "ssm_multipliers", "[0.8, 1.2, 0.9, 1.1, 0.7]");
    tiny_set(t, "mlp_multipliers", "[0.8, 1.2]");
    tiny_set(t, "key_multiplier", "0.6");
    tiny_set(t, "ssm_out_multiplier", "0.7");
    for (int i = 0; i < 2; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_attention(t, p, &s);
        tiny_mamba(t, p, "mamba", s.d);
        tiny_matrix(t, p, "feed_forward.gate_proj", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "feed_forward.up_proj", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "feed_forward.down_proj", s.d, s.d_ff, 1);
    }
    tiny_ends(t, &s, false);
}

static inline void tiny_nemotron_h(tiny *t) {
    static const char kinds[] = "M-*M";
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 8, .d_ff = 56, .norm = 1};
    tiny_common(t, "nemotron_h", &s, 4);
    tiny_set(t, "layer_norm_epsilon", "1e-5");
    tiny_set(t, "hybrid_override_pattern", "\"M-*M\"");
    tiny_set(t, "mamba_num_heads", "4");
    tiny_set(t, "mamba_head_dim", "6");
    tiny_set(t, "ssm_state_size", "10");
    tiny_set(t, "conv_kernel", "4");
    tiny_set(t, "n_groups", "2");
    for (int i = 0; i < 4; i++) {
        char p[64];
        snprintf(p, sizeof p, "backbone.layers.%d.", i);
        tiny_vector(t, p, "norm.weight", s.d, 1);
        if (kinds[i] == 'M') tiny_mamba(t, p, "mixer", s.d);
        if (kinds[i] == '-') tiny_matrix(t, p, "mixer.up_proj", s.d_ff, s.d, 1);
        if (kinds[i] == '-') tiny_matrix(t, p, "mixer.down_proj", s.d, s.d_ff, 1);
        if (kinds[i] != '*') continue;
        tiny_matrix(t, p, "mixer.q_proj", s.n_head * s.head_dim, s.d, 2);
        tiny_matrix(t, p, "mixer.k_proj", s.n_kv * s.head_dim, s.d, 2);
        tiny_matrix(t, p, "mixer.v_proj", s.n_kv * s.head_dim, s.d, 1);
        tiny_matrix(t, p, "mixer.o_proj", s.d, s.n_head * s.head_dim, 1);
    }
    tiny_matrix(t, "backbone.", "embeddings", TINY_VOCAB, s.d, 4);
    tiny_vector(t, "backbone.", "norm_f.weight", s.d, 1);
    tiny_matrix(t, "", "lm_head", TINY_VOCAB, s.d, 2);
}

// 96 channels with states of 10, and steps from 6 numbers.
static inline void tiny_jamba(tiny *t) {
    static const char *const norms[] = {"input_layernorm", "pre_ff_layernorm", NULL};
    const tiny_shape s = {.d = 48, .n_head = 6, .n_kv = 2, .head_dim = 8, .d_ff = 56, .norm = 1};
    tiny_common(t, "jamba", &s, 3);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "attn_layer_offset", "1");
    tiny_set(t, "attn_layer_period", "3");
    tiny_set(t, "num_experts", "1");
    tiny_set(t, "mamba_d_conv", "4");
    tiny_set(t, "mamba_d_state", "10");
    tiny_set(t, "mamba_dt_rank", "6");
    for (int i = 0; i < 3; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        tiny_norms(t, p, &s, norms);
        tiny_matrix(t, p, "feed_forward.gate_proj", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "feed_forward.up_proj", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "feed_forward.down_proj", s.d, s.d_ff, 1);
        if (i == 1) {
            tiny_attention(t, p, &s);
            continue;
        }
        tiny_matrix(t, p, "mamba.in_proj", 2 * 96, s.d, 1);
        tiny_named(t, p, "mamba.conv1d.weight", 96, 4, 0, 1);
        tiny_vector(t, p, "mamba.conv1d.bias", 96, 0);
        tiny_matrix(t, p, "mamba.x_proj", 6 + 2 * 10, 96, 1);
        tiny_matrix(t, p, "mamba.dt_proj", 96, 6, 1);
        tiny_vector(t, p, "mamba.dt_proj.bias", 96, 0);
        tiny_named(t, p, "mamba.A_log", 96, 10, -1, 1.5f);
        tiny_vector(t, p, "mamba.D", 96, 1);
        tiny_vector(t, p, "mamba.dt_layernorm.weight", 6, 1);
        tiny_vector(t, p, "mamba.b_layernorm.weight", 10, 1);
        tiny_vector(t, p, "mamba.c_layernorm.weight", 10, 1);
        tiny_matrix(t, p, "mamba.out_proj", s.d, 96, 1);
    }
    tiny_matrix(t, "model.", "embed_tokens", TINY_VOCAB, s.d, 4);
    tiny_vector(t, "model.", "final_layernorm.weight", s.d, 1);
    tiny_matrix(t, "", "lm_head", TINY_VOCAB, s.d, 2);
}

// Two matrices with 6 numbers between them, and a bias.
static inline void tiny_rank_6(tiny *t, const char *p, const char *what, int64_t d, bool has_bias) {
    char q[96];
    snprintf(q, sizeof q, "%sattn.%s_lora.", p, what);
    tiny_matrix(t, q, "lora.0", 6, d, 1);
    tiny_matrix(t, q, "lora.2", d, 6, 2);
    if (has_bias) tiny_vector(t, q, "lora.2.bias", d, 0);
}

// 4 heads of 12.
static inline void tiny_rwkv7(tiny *t) {
    static const char *const mixed[] = {"attn.x_r", "attn.x_w", "attn.x_k", "attn.x_v", "attn.x_a", "attn.x_g", "ffn.x_k"};
    static const char *const factors[] = {"attn.k_k", "attn.k_a", "attn.r_k"};
    static const char *const square[] = {"attn.r_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj"};
    static const char *const ranks[] = {"decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim"};
    const tiny_shape s = {.d = 48, .n_head = 4, .n_kv = 4, .head_dim = 12, .d_ff = 56};
    tiny_common(t, "rwkv7", &s, 3);
    tiny_set(t, "hidden_act", "\"sqrelu\"");
    tiny_set(t, "norm_eps", "1e-5");
    for (size_t i = 0; i < HTH_COUNT(ranks); i++) tiny_set(t, ranks[i], "6");
    for (int i = 0; i < 3; i++) {
        char p[64];
        snprintf(p, sizeof p, "model.layers.%d.", i);
        if (i == 0) tiny_layer_norm(t, p, "pre_norm", s.d);
        tiny_layer_norm(t, p, "attn_norm", s.d);
        tiny_layer_norm(t, p, "ffn_norm", s.d);
        tiny_layer_norm(t, p, "attn.g_norm", s.d);
        for (size_t j = 0; j < HTH_COUNT(mixed); j++) tiny_named(t, p, mixed[j], s.d, 0, 0.5f, 0.6f);
        for (size_t j = 0; j < HTH_COUNT(factors); j++) tiny_named(t, p, factors[j], s.d, 0, 0.7f, 0.5f);
        for (size_t j = 0; j < HTH_COUNT(square); j++) tiny_matrix(t, p, square[j], s.d, s.d, 1);
        tiny_rank_6(t, p, "w", s.d, true);
        tiny_rank_6(t, p, "a", s.d, true);
        tiny_rank_6(t, p, "g", s.d, false);
        if (i > 0) tiny_rank_6(t, p, "v", s.d, true);
        tiny_matrix(t, p, "ffn.key", s.d_ff, s.d, 1);
        tiny_matrix(t, p, "ffn.value", s.d, s.d_ff, 1);
    }
    tiny_matrix(t, "model.", "embeddings", TINY_VOCAB, s.d, 4);
    tiny_layer_norm(t, "model.", "norm", s.d);
    tiny_matrix(t, "", "lm_head", TINY_VOCAB, s.d, 2);
}

static inline void tiny_make(tiny_kind kind, tiny *t) {
    static void (*const makers[TINY_COUNT])(tiny *) = {tiny_llama,  tiny_gemma3,    tiny_gemma4,     tiny_gemma3n,
                                                       tiny_cohere, tiny_phi3,      tiny_lfm2,       tiny_qwen35,
                                                       tiny_latent, tiny_falcon_h1,  tiny_nemotron_h, tiny_jamba,
                                                       tiny_rwkv7,  tiny_bert};
    makers[kind](t);
}

#endif
