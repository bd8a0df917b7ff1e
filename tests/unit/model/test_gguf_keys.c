// GGUF metadata at its extremes: every key of two families in every kind and size is an error with a message,
// or the model opens and computes a token.
#include "rig.h"

typedef struct value {
    uint32_t kind; // as in the file
    uint64_t bits; // of a number; of each item of an array
    uint32_t item_kind;
    uint64_t n; // items
    const char *text;
} value;

enum {
    U32 = 4,
    I32 = 5,
    F32 = 6,
    BOOL = 7,
    STRING = 8,
    ARRAY = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
    MAX_PAIR = 48
};

typedef struct pair {
    char key[96];
    value v;
} pair;

typedef struct gguf {
    pair pairs[MAX_PAIR];
    int n_pair;
    tiny weights;
} gguf;

static uint64_t bits_of_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static uint64_t bits_of_f64(double d) {
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

static void set(gguf *g, const char *key, value v) {
    int i = 0;
    while (i < g->n_pair && strcmp(g->pairs[i].key, key) != 0) i++;
    assert_true(i < MAX_PAIR);
    if (i == g->n_pair) g->n_pair++;
    snprintf(g->pairs[i].key, sizeof g->pairs[i].key, "%s", key);
    g->pairs[i].v = v;
}

static void set_int(gguf *g, const char *key, uint32_t v) {
    set(g, key, (value){.kind = U32, .bits = v});
}

static void set_num(gguf *g, const char *key, float v) {
    set(g, key, (value){.kind = F32, .bits = bits_of_f32(v)});
}

// ---- writing

static void put(FILE *f, uint64_t v, int n_byte) {
    for (int i = 0; i < n_byte; i++) fputc((int)(v >> (8 * i)) & 255, f);
}

static void put_text(FILE *f, const char *text) {
    put(f, strlen(text), 8);
    fputs(text, f);
}

static int size_of_kind(uint32_t kind) {
    return kind == BOOL ? 1 : kind == U64 || kind == I64 || kind == F64 ? 8 : 4;
}

static void put_value(FILE *f, const value *v) {
    put(f, v->kind, 4);
    if (v->kind == STRING) {
        put_text(f, v->text);
    } else if (v->kind == ARRAY) {
        put(f, v->item_kind, 4);
        put(f, v->n, 8);
        for (uint64_t i = 0; i < v->n; i++) {
            if (v->item_kind == STRING) {
                put_text(f, v->text);
            } else {
                put(f, v->bits, size_of_kind(v->item_kind));
            }
        }
    } else {
        put(f, v->bits, size_of_kind(v->kind));
    }
}

static bool is_stack(const tiny_tensor *p) {
    return strncmp(p->name, "altup_", 6) == 0; // three square matrices in one
}

static void write_gguf(const gguf *g, const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    put(f, 0x46554747, 4);
    put(f, 3, 4);
    put(f, (uint64_t)g->weights.n_tensor, 8);
    put(f, (uint64_t)g->n_pair, 8);
    for (int i = 0; i < g->n_pair; i++) {
        put_text(f, g->pairs[i].key);
        put_value(f, &g->pairs[i].v);
    }
    uint64_t off = 0;
    for (int i = 0; i < g->weights.n_tensor; i++) {
        const tiny_tensor *p = &g->weights.tensors[i];
        put_text(f, p->name);
        put(f, is_stack(p) ? 3 : p->n_col ? 2 : 1, 4);
        if (p->n_col) put(f, (uint64_t)p->n_col, 8);
        put(f, (uint64_t)(is_stack(p) ? p->n_col : p->n_row), 8);
        if (is_stack(p)) put(f, (uint64_t)(p->n_row / p->n_col), 8);
        put(f, 0, 4);
        put(f, off, 8);
        off += ((uint64_t)tiny_count(p) * 4 + 31) & ~(uint64_t)31;
    }
    while (ftell(f) % 32 != 0) fputc(0, f);
    for (int i = 0; i < g->weights.n_tensor; i++) {
        tiny_write_tensor(f, &g->weights.tensors[i]);
        while (ftell(f) % 32 != 0) fputc(0, f);
    }
    assert_int_equal(fclose(f), 0);
}

// ---- the models

// Takes the tensors of the folder's model under GGUF's names: pairs of hub name, GGUF name, "" at the end.
static void rename_all(tiny *t, const char *const names[][2]) {
    for (int i = 0; i < t->n_tensor; i++) {
        char *name = t->tensors[i].name;
        for (int j = 0; names[j][0][0]; j++) {
            char *at = strstr(name, names[j][0]);
            if (!at) continue;
            char rest[192];
            snprintf(rest, sizeof rest, "%s", at + strlen(names[j][0]));
            snprintf(at, sizeof t->tensors[i].name - (size_t)(at - name), "%s%s", names[j][1], rest);
        }
    }
}

static const char *const llama_names[][2] = {{"model.embed_tokens", "token_embd"},
                                             {"model.norm", "output_norm"},
                                             {"lm_head", "output"},
                                             {"model.layers.", "blk."},
                                             {"input_layernorm", "attn_norm"},
                                             {"post_attention_layernorm", "ffn_norm"},
                                             {"self_attn.q_proj", "attn_q"},
                                             {"self_attn.k_proj", "attn_k"},
                                             {"self_attn.v_proj", "attn_v"},
                                             {"self_attn.o_proj", "attn_output"},
                                             {"mlp.gate_proj", "ffn_gate"},
                                             {"mlp.up_proj", "ffn_up"},
                                             {"mlp.down_proj", "ffn_down"},
                                             {"", ""}};

static void make_llama(gguf *g) {
    memset(g, 0, sizeof *g);
    tiny_make(TINY_LLAMA, &g->weights);
    rename_all(&g->weights, llama_names);
    set(g, "general.architecture", (value){.kind = STRING, .text = "llama"});
    set_int(g, "llama.block_count", 3);
    set_int(g, "llama.context_length", 512);
    set_int(g, "llama.embedding_length", 48);
    set_int(g, "llama.feed_forward_length", 80);
    set_int(g, "llama.attention.head_count", 6);
    set_int(g, "llama.attention.head_count_kv", 2);
    set_int(g, "llama.attention.key_length", 16);
    set_int(g, "llama.attention.value_length", 16);
    set_int(g, "llama.rope.dimension_count", 16);
    set_num(g, "llama.rope.freq_base", 10000);
    set_num(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    set(g, "llama.rope.scaling.type", (value){.kind = STRING, .text = "yarn"});
    set_num(g, "llama.rope.scaling.factor", 4);
    set_num(g, "llama.rope.scaling.attn_factor", 1);
    set_int(g, "llama.rope.scaling.original_context_length", 128);
    set_num(g, "llama.rope.scaling.yarn_beta_fast", 32);
    set_num(g, "llama.rope.scaling.yarn_beta_slow", 1);
}

static const char *const gemma3n_names[][2] = {{"model.embed_tokens_per_layer", "per_layer_token_embd"},
                                               {"model.per_layer_model_projection", "per_layer_model_proj"},
                                               {"model.per_layer_projection_norm", "per_layer_proj_norm"},
                                               {"model.embed_tokens", "token_embd"},
                                               {"model.norm", "output_norm"},
                                               {"model.layers.", "blk."},
                                               {"input_layernorm", "attn_norm"},
                                               {"post_attention_layernorm", "post_attention_norm"},
                                               {"pre_feedforward_layernorm", "ffn_norm"},
                                               {"post_feedforward_layernorm", "post_ffw_norm"},
                                               {"self_attn.q_proj", "attn_q"},
                                               {"self_attn.k_proj", "attn_k"},
                                               {"self_attn.v_proj", "attn_v"},
                                               {"self_attn.o_proj", "attn_output"},
                                               {"self_attn.q_norm", "attn_q_norm"},
                                               {"self_attn.k_norm", "attn_k_norm"},
                                               {"mlp.gate_proj", "ffn_gate"},
                                               {"mlp.up_proj", "ffn_up"},
                                               {"mlp.down_proj", "ffn_down"},
                                               {"per_layer_input_gate", "inp_gate"},
                                               {"per_layer_projection", "proj"},
                                               {"post_per_layer_input_norm", "post_norm"},
                                               {"laurel.linear_left", "laurel_l"},
                                               {"laurel.linear_right", "laurel_r"},
                                               {"laurel.post_laurel_norm", "laurel_post_norm"},
                                               {"altup.modality_router", "altup_router"},
                                               {"altup.router_norm", "altup_router_norm"},
                                               {"altup.prediction_coefs", "altup_predict_coef"},
                                               {"altup.correction_coefs", "altup_correct_coef"},
                                               {"altup.correct_output_scale", "altup_correct_scale.weight"},
                                               {"", ""}};

static void make_gemma3n(gguf *g) {
    memset(g, 0, sizeof *g);
    tiny_make(TINY_GEMMA3N, &g->weights);
    for (int j = 0; j < 3; j++) {
        char name[64];
        snprintf(name, sizeof name, "model.altup_projections.%d.weight", j);
        tiny_remove(&g->weights, name);
        snprintf(name, sizeof name, "model.altup_unembed_projections.%d.weight", j);
        tiny_remove(&g->weights, name);
    }
    rename_all(&g->weights, gemma3n_names);
    tiny_find(&g->weights, "per_layer_token_embd.weight")->n_row = TINY_VOCAB;
    tiny_matrix(&g->weights, "", "altup_proj", 3 * 48, 48, 1);
    tiny_matrix(&g->weights, "", "altup_unembd_proj", 3 * 48, 48, 1);
    set(g, "general.architecture", (value){.kind = STRING, .text = "gemma3n"});
    set_int(g, "gemma3n.block_count", 4);
    set_int(g, "gemma3n.context_length", 512);
    set_int(g, "gemma3n.embedding_length", 48);
    set(g, "gemma3n.feed_forward_length", (value){.kind = ARRAY, .item_kind = I32, .n = 4, .bits = 40});
    set_int(g, "gemma3n.attention.head_count", 6);
    set_int(g, "gemma3n.attention.head_count_kv", 2);
    set_int(g, "gemma3n.attention.key_length", 12);
    set_int(g, "gemma3n.attention.value_length", 12);
    set_num(g, "gemma3n.rope.freq_base", 10000);
    set_num(g, "gemma3n.rope.freq_base_swa", 100);
    set_num(g, "gemma3n.attention.layer_norm_rms_epsilon", 1e-6f);
    set_int(g, "gemma3n.attention.sliding_window", 12);
    set(g, "gemma3n.attention.sliding_window_pattern",
        (value){.kind = ARRAY, .item_kind = BOOL, .n = 4, .bits = 1});
    set_int(g, "gemma3n.attention.shared_kv_layers", 1);
    set_int(g, "gemma3n.embedding_length_per_layer_input", 8);
    set_int(g, "gemma3n.altup.active_idx", 0);
    set_int(g, "gemma3n.altup.num_inputs", 4);
    set(g, "gemma3n.activation_sparsity_scale",
        (value){.kind = ARRAY, .item_kind = F32, .n = 4, .bits = bits_of_f32(1.2f)});
    set_num(g, "gemma3n.final_logit_softcapping", 20);
}

// ---- the sweep

// Opens and, where that succeeds, computes a token. Returns whether it opened.
static bool try_file(const gguf *g, const char *path, hth_team *team, const char *what) {
    hth_model *m = NULL;
    hth_executor *ex;
    hth_state *s;
    hth_err err = {0};
    hth_ticket ticket;
    static float logits[TINY_VOCAB];
    write_gguf(g, path);
    const hth_code code = hth_model_open(path, &m, &err);
    if (code != HTH_OK) {
        const bool typed = code == HTH_ERR_FORMAT || code == HTH_ERR_UNSUPPORTED || code == HTH_ERR_LIMIT;
        if (m || !typed || strlen(err.msg) < 20) fail_msg("%s: code %d, \"%s\"", what, (int)code, err.msg);
        return false;
    }
    const hth_state_params params = {.n_ctx = 1000};
    hth_row row = rig_row(7, 12345);
    assert_int_equal(m->desc.n_vocab, TINY_VOCAB);
    assert_int_equal(hth_executor_cpu_new(team, &ex, &err), HTH_OK);
    assert_int_equal(hth_state_new(ex, m, &params, &s, &err), HTH_OK);
    hth_step step = {.model = m,
                     .batch = {.rows = &row, .n_row = 1, .states = &s, .n_seq = 1},
                     .layer_last = m->desc.n_layer,
                     .logits = logits,
                     .hidden_layer = -1};
    if (hth_executor_submit(ex, &step, &ticket, &err) != HTH_OK) fail_msg("%s opens, but: %s", what, err.msg);
    hth_state_free(s);
    hth_executor_free(ex);
    hth_model_free(m);
    return true;
}

static const char *const more_keys[] = {
    "attention.sliding_window", "attention.sliding_window_pattern", "expert_count",
    "rope.scale_linear",        "attention.key_length_swa",         "attn_logit_softcapping"};

static void sweep(void (*make)(gguf *), hth_team *team) {
    const value extremes[] = {{.kind = U32, .bits = 0},
                              {.kind = U32, .bits = 1},
                              {.kind = U32, .bits = 3},
                              {.kind = U32, .bits = 4096},
                              {.kind = U32, .bits = UINT32_MAX},
                              {.kind = I32, .bits = (uint32_t)-1},
                              {.kind = U64, .bits = UINT64_MAX},
                              {.kind = U64, .bits = (uint64_t)1 << 62},
                              {.kind = I64, .bits = (uint64_t)1 << 63},
                              {.kind = F32, .bits = 0},
                              {.kind = F32, .bits = bits_of_f32(0.5f)},
                              {.kind = F32, .bits = bits_of_f32(-1)},
                              {.kind = F32, .bits = bits_of_f32(3e38f)},
                              {.kind = F32, .bits = bits_of_f32(1e-40f)},
                              {.kind = F32, .bits = bits_of_f32(NAN)},
                              {.kind = F32, .bits = bits_of_f32(INFINITY)},
                              {.kind = F64, .bits = bits_of_f64(1e308)},
                              {.kind = F64, .bits = bits_of_f64(-1e-308)},
                              {.kind = BOOL, .bits = 1},
                              {.kind = STRING, .text = ""},
                              {.kind = STRING, .text = "linear"},
                              {.kind = STRING, .text = "longrope"},
                              {.kind = ARRAY, .item_kind = I32, .n = 0},
                              {.kind = ARRAY, .item_kind = I32, .n = 1, .bits = 1},
                              {.kind = ARRAY, .item_kind = I32, .n = 9, .bits = (uint32_t)-1},
                              {.kind = ARRAY, .item_kind = U64, .n = 9, .bits = UINT64_MAX},
                              {.kind = ARRAY, .item_kind = F32, .n = 9, .bits = bits_of_f32(NAN)},
                              {.kind = ARRAY, .item_kind = F32, .n = 9, .bits = bits_of_f32(-INFINITY)},
                              {.kind = ARRAY, .item_kind = F64, .n = 9, .bits = bits_of_f64(1e300)},
                              {.kind = ARRAY, .item_kind = STRING, .n = 9, .text = "x"},
                              {.kind = ARRAY, .item_kind = BOOL, .n = 9, .bits = 0}};
    gguf *g = malloc(sizeof *g), *spoilt = malloc(sizeof *g);
    char dir[128], path[160], what[160], keys[MAX_PAIR][96];
    int n_key = 0, n_open = 0, n_tried = 0;
    make(g);
    for (int i = 0; i < g->n_pair; i++) memcpy(keys[n_key++], g->pairs[i].key, sizeof keys[0]);
    for (size_t i = 0; i < HTH_COUNT(more_keys); i++)
        snprintf(keys[n_key++], 96, "%s.%s", g->pairs[0].v.text, more_keys[i]);
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    assert_true(try_file(g, path, team, "the model itself"));
    for (int i = 0; i < n_key; i++) {
        for (size_t v = 0; v < HTH_COUNT(extremes); v++, n_tried++) {
            *spoilt = *g;
            set(spoilt, keys[i], extremes[v]);
            snprintf(what, sizeof what, "%s, extreme %d", keys[i], (int)v);
            n_open += try_file(spoilt, path, team, what);
        }
        *spoilt = *g; // absent
        if (i < g->n_pair) spoilt->pairs[i] = spoilt->pairs[--spoilt->n_pair];
        n_open += try_file(spoilt, path, team, keys[i]);
    }
    assert_in_range(n_open, 1, n_tried - 1);
    unlink(path);
    rmdir(dir);
    free(g);
    free(spoilt);
}

static void any_key_of_any_kind_at_any_extreme_is_an_error_or_computes(void **unused) {
    (void)unused;
    hth_team *team;
    hth_err err;
    assert_int_equal(hth_team_new(1, &team, &err), HTH_OK);
    sweep(make_llama, team);
    sweep(make_gemma3n, team);
    hth_team_free(team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_key_of_any_kind_at_any_extreme_is_an_error_or_computes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
