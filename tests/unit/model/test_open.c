// Folders whose config.json and tensors contradict each other, or say what no model is: each is one typed
// error that names the key or the tensor. Then every hyper-parameter at its extremes: an error, or a token
// computed cleanly.
#include "model/family.h"
#include "rig.h"

typedef struct wrong {
    tiny_kind kind;
    hth_code code;
    const char *says;
    const char *key, *value; // config.json member to set; value NULL: to remove
    void (*spoil)(tiny *t);
} wrong;

static void no_down(tiny *t) {
    tiny_remove(t, "model.layers.1.mlp.down_proj.weight");
}
static void no_norm(tiny *t) {
    tiny_remove(t, "model.layers.2.post_attention_layernorm.weight");
}
static void no_embedding(tiny *t) {
    tiny_remove(t, "model.embed_tokens.weight");
}
static void no_head(tiny *t) {
    tiny_remove(t, "lm_head.weight");
}
static void narrow_query(tiny *t) {
    tiny_find(t, "model.layers.0.self_attn.q_proj.weight")->n_row -= 16;
}
static void turned_down(tiny *t) {
    tiny_tensor *p = tiny_find(t, "model.layers.0.mlp.down_proj.weight");
    p->n_row = 80;
    p->n_col = 48;
}
static void short_norm(tiny *t) {
    tiny_find(t, "model.norm.weight")->n_row--;
}
static void flat_matrix(tiny *t) {
    tiny_tensor *p = tiny_find(t, "model.layers.0.self_attn.o_proj.weight");
    p->n_row *= p->n_col;
    p->n_col = 0;
}
static void integer_matrix(tiny *t) {
    tiny_retype(t, "model.layers.0.self_attn.o_proj.weight", "I32");
}
static void integer_norm(tiny *t) {
    tiny_retype(t, "model.layers.0.input_layernorm.weight", "I32");
}
static void surplus(tiny *t) {
    tiny_vector(t, "model.layers.1.", "self_attn.q_norm.weight", 16, 1);
}
static void surplus_bias(tiny *t) {
    tiny_vector(t, "model.layers.1.", "self_attn.q_proj.bias", 96, 0);
}
static void fp8_without_scales(tiny *t) {
    tiny_retype(t, "model.layers.0.mlp.up_proj.weight", "F8_E4M3");
}
static void fp8_bad_scales(tiny *t) {
    fp8_without_scales(t);
    tiny_named(t, "model.layers.0.", "mlp.up_proj.weight_scale_inv", 3, 5, 1, 0);
}
static void fp8_bad_scale_type(tiny *t) {
    fp8_without_scales(t);
    tiny_named(t, "model.layers.0.", "mlp.up_proj.weight_scale_inv", 1, 1, 1, 0);
    tiny_retype(t, "model.layers.0.mlp.up_proj.weight_scale_inv", "I32");
}
static void fp8_huge_block(tiny *t) {
    fp8_without_scales(t);
    tiny_named(t, "model.layers.0.", "mlp.up_proj.weight_scale_inv", 1, 1, 1, 0);
    tiny_set(t, "quantization_config.quant_method", "\"fp8\"");
    tiny_set(t, "quantization_config.weight_block_size", "[9223372036854775807, 9223372036854775807]");
}
// up_proj [80, 48] as MLX packs it: 48 codes of 4 bits in 6 words.
static void mlx_up(tiny *t, const char *bits, const char *group) {
    tiny_tensor *p = tiny_find(t, "model.layers.0.mlp.up_proj.weight");
    tiny_retype(t, p->name, "U32");
    p->n_col = 6;
    tiny_named(t, "model.layers.0.", "mlp.up_proj.scales", 80, 2, 1, 0);
    tiny_set(t, "quantization.bits", bits);
    tiny_set(t, "quantization.group_size", group);
}
static void mlx_bits(tiny *t) {
    mlx_up(t, "7", "32");
}
static void mlx_group(tiny *t) {
    mlx_up(t, "4", "24");
}
static void mlx_huge_bits(tiny *t) {
    mlx_up(t, "9223372036854775807", "32");
}
static void mlx_columns(tiny *t) {
    mlx_up(t, "4", "32"); // 48 columns are no multiple of 32
}
static void mlx_mode(tiny *t) {
    mlx_up(t, "4", "32");
    tiny_set(t, "quantization.mode", "\"q3z\"");
}

static void wide_router(tiny *t) {
    tiny_find(t, "model.layers.1.altup.modality_router.weight")->n_row = 5;
}
static void no_laurel(tiny *t) {
    tiny_remove(t, "model.layers.1.laurel.linear_left.weight");
}
static void turned_laurel(tiny *t) {
    tiny_find(t, "model.layers.1.laurel.linear_right.weight")->n_col = 11;
}
static void no_stream(tiny *t) {
    tiny_remove(t, "model.altup_unembed_projections.2.weight");
}

static void wide_heads(tiny *t) {
    tiny_set(t, "qk_nope_head_dim", "64");
}

static const wrong wrongs[] = {
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "family \"mystery\" is not known; known are: llama", "model_type",
     "\"mystery\"", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "model_type", "model_type", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "mixture of 8 experts", "num_local_experts", "8", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "number of layers) is missing", "num_hidden_layers", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "num_hidden_layers is 0", "num_hidden_layers", "0", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "num_hidden_layers is 2000", "num_hidden_layers", "2000", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "layers.3.input_layernorm", "num_hidden_layers", "4", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "hidden_size is not an integer", "hidden_size", "\"48\"", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "width) is missing", "hidden_size", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "attention heads) is missing", "num_attention_heads", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "6 query heads cannot share 4", "num_key_value_heads", "4", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "6 query heads cannot share 12", "num_key_value_heads", "12", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "feed-forward width) is missing", "intermediate_size", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "vocabulary size) is missing", "vocab_size", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "embed_tokens.weight is [97 x 48], [96 x 48]", "vocab_size", "96", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "epsilon) is missing", "rms_norm_eps", NULL, NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "rms_norm_eps is not a number", "rms_norm_eps", "\"NaN\"", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "epsilon is -1", "rms_norm_eps", "-1", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "epsilon is 1", "rms_norm_eps", "1", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "dimension is 15", "partial_rotary_factor", "0.99", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "partial_rotary_factor is 1.5", "partial_rotary_factor", "1.5", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "theta is 0", "rope_theta", "0", NULL},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "rope scaling \"spiral\"", "rope_scaling.rope_type", "\"spiral\"",
     NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "factor is -1", "rope_scaling.factor", "-1.0", NULL},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "activation \"sine\"", "hidden_act", "\"sine\"", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "q_proj.bias (query projection of layer 0) is missing", "attention_bias",
     "true", NULL},
    {TINY_LLAMA, HTH_ERR_FORMAT, "q_proj.bias exists, but config.json says", NULL, NULL, surplus_bias},
    {TINY_LLAMA, HTH_ERR_FORMAT, "layers.1.mlp.down_proj.weight (down projection of layer 1) is missing",
     NULL, NULL, no_down},
    {TINY_LLAMA, HTH_ERR_FORMAT,
     "layers.2.post_attention_layernorm.weight (feed-forward norm of layer 2) is missing", NULL, NULL,
     no_norm},
    {TINY_LLAMA, HTH_ERR_FORMAT, "embed_tokens.weight (token embedding) is missing", NULL, NULL,
     no_embedding},
    {TINY_LLAMA, HTH_ERR_FORMAT, "lm_head.weight (output matrix) is missing", NULL, NULL, no_head},
    {TINY_LLAMA, HTH_ERR_FORMAT, "layers.0.self_attn.q_proj.weight is [80 x 48], [96 x 48] is needed", NULL,
     NULL, narrow_query},
    {TINY_LLAMA, HTH_ERR_FORMAT, "down_proj.weight is [80 x 48], [48 x 80] is needed", NULL, NULL,
     turned_down},
    {TINY_LLAMA, HTH_ERR_FORMAT, "model.norm.weight is [47], 48 numbers are needed", NULL, NULL, short_norm},
    {TINY_LLAMA, HTH_ERR_FORMAT, "o_proj.weight is [4608], [48 x 96] is needed", NULL, NULL, flat_matrix},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "o_proj.weight has type i32", NULL, NULL, integer_matrix},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "input_layernorm.weight has type i32", NULL, NULL, integer_norm},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "layers.1.self_attn.q_norm.weight has no place in family llama", NULL,
     NULL, surplus},
    {TINY_LLAMA, HTH_ERR_FORMAT, "up_proj.weight is FP8 but has no scales", NULL, NULL, fp8_without_scales},
    {TINY_LLAMA, HTH_ERR_FORMAT, "weight_scale_inv is [3 x 5], [1 x 1] is needed", NULL, NULL,
     fp8_bad_scales},
    {TINY_LLAMA, HTH_ERR_FORMAT, "weight_scale_inv has a type", NULL, NULL, fp8_bad_scale_type},
    {TINY_LLAMA, HTH_ERR_FORMAT, "weight_block_size", NULL, NULL, fp8_huge_block},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "affine quantization with 7 bits in groups of 32", NULL, NULL,
     mlx_bits},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "affine quantization with 4 bits in groups of 24", NULL, NULL,
     mlx_group},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "affine quantization with 9223372036854775807 bits", NULL, NULL,
     mlx_huge_bits},
    {TINY_LLAMA, HTH_ERR_FORMAT, "up_proj.weight is [80 x 6]", NULL, NULL, mlx_columns},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "quantization mode \"q3z\"", NULL, NULL, mlx_mode},
    {TINY_LLAMA, HTH_ERR_UNSUPPORTED, "quantization method \"gptq\"", "quantization_config.quant_method",
     "\"gptq\"", NULL},
    {TINY_GEMMA3, HTH_ERR_FORMAT, "layer_types does not cover layer 1", "layer_types", "[\"full_attention\"]",
     NULL},
    {TINY_GEMMA3, HTH_ERR_UNSUPPORTED, "layer type \"mamba\"", "layer_types",
     "[\"mamba\",\"mamba\",\"mamba\",\"mamba\"]", NULL},
    {TINY_GEMMA3, HTH_ERR_FORMAT, "softcap is negative", "attn_logit_softcapping", "-3.0", NULL},
    {TINY_GEMMA4, HTH_ERR_FORMAT, "6 layers share keys, but there are only 6", "num_kv_shared_layers", "6",
     NULL},
    {TINY_GEMMA4, HTH_ERR_FORMAT, "no earlier layer is of its kind", "num_kv_shared_layers", "4", NULL},
    {TINY_GEMMA3N, HTH_ERR_UNSUPPORTED, "stream 2 is the active one", "altup_active_idx", "2", NULL},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "altup_num_inputs is 9", "altup_num_inputs", "9", NULL},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "altup.modality_router.weight is [4 x 48], [3 x 48]", "altup_num_inputs",
     "3", NULL},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "activation_sparsity_pattern is 1 at layer 2",
     "activation_sparsity_pattern", "[0.5, 0.5, 1.0, 0]", NULL},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "activation_sparsity_pattern is not an array of 4",
     "activation_sparsity_pattern", "[0.5]", NULL},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "altup.modality_router.weight is [5 x 48], [4 x 48]", NULL, NULL,
     wide_router},
    {TINY_GEMMA3N, HTH_ERR_FORMAT,
     "laurel.linear_left.weight (learned residual, first matrix of layer 1) is missing", NULL, NULL,
     no_laurel},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "laurel.linear_right.weight is [48 x 11], [48 x 10]", NULL, NULL,
     turned_laurel},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "altup_unembed_projections.2.weight", NULL, NULL, no_stream},
    {TINY_GEMMA3N, HTH_ERR_FORMAT, "embed_tokens_per_layer.weight is [60 x 32], [61 x 32]",
     "vocab_size_per_layer_input", "61", NULL},
    {TINY_PHI3, HTH_ERR_FORMAT, "short_factor is not an array of 3 numbers", "rope_scaling.short_factor",
     "[1.0, 2.0]", NULL},
    {TINY_PHI3, HTH_ERR_FORMAT, "short and long", "rope_scaling.long_factor", "null", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "kv_lora_rank (the rank of keys and values) is missing", "kv_lora_rank", "null", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "kv_lora_rank is 0", "kv_lora_rank", "0", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "kv_lora_rank is 1099511627776", "kv_lora_rank", "1099511627776", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "kv_a_proj_with_mqa.weight is [64 x 48], [96 x 48]", "kv_lora_rank", "64", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "q_lora_rank is -1", "q_lora_rank", "-1", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "q_a_proj.weight is [20 x 48], [21 x 48]", "q_lora_rank", "21", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "self_attn.q_proj.weight (query projection of layer 0) is missing", "q_lora_rank", "null", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "qk_nope_head_dim (the size of a key's part without positions) is missing",
     "qk_nope_head_dim", "null", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "q_b_proj.weight is [288 x 20], [294 x 20]", "qk_nope_head_dim", "17", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "qk_rope_head_dim is 0", "qk_rope_head_dim", "0", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "rotary dimension is 33", "qk_rope_head_dim", "33", NULL},
    {TINY_LATENT, HTH_ERR_FORMAT, "kv_b_proj.weight is [168 x 32], [174 x 32]", "v_head_dim", "13", NULL},
    {TINY_LATENT, HTH_ERR_LIMIT, "65536 heads of 64 + 32 and 12 are too wide", "num_attention_heads", "65536", wide_heads},
    {TINY_BERT, HTH_ERR_FORMAT, "position_embeddings.weight is [64 x 48], [65 x 48]",
     "max_position_embeddings", "65", NULL},
};

static void each_contradiction_is_one_error_that_names_it(void **unused) {
    (void)unused;
    tiny *t = malloc(sizeof *t);
    for (size_t i = 0; i < HTH_COUNT(wrongs); i++) {
        const wrong *w = &wrongs[i];
        hth_model *m = NULL;
        hth_err err = {0};
        tiny_make(w->kind, t);
        if (w->key) tiny_set(t, w->key, w->value);
        if (w->spoil) w->spoil(t);
        const hth_code code = tiny_open(t, &m, &err);
        if (code != w->code || !strstr(err.msg, w->says)) {
            print_error("expected %d \"%s\", got %d \"%s\"\n", (int)w->code, w->says, (int)code, err.msg);
            fail();
        }
        assert_null(m);
    }
    free(t);
}

static void the_known_families_are_listed_or_counted_for_an_unknown_one(void **unused) {
    (void)unused;
    tiny *t = malloc(sizeof *t);
    hth_model *m;
    hth_err err = {0};
    tiny_make(TINY_LLAMA, t);
    tiny_set(t, "model_type", "\"mystery\"");
    assert_int_equal(tiny_open(t, &m, &err), HTH_ERR_UNSUPPORTED);
    int n = 0, n_listed = 1, n_more = 0;
    for (int i = 0; hth_family_at(i); i++) n += hth_family_at(i)->hub[0] != NULL;
    const char *list = strstr(err.msg, "known are: llama ");
    assert_non_null(list);
    const char *more = strstr(list, " and ");
    for (const char *p = list + strlen("known are: "); *p && p != more; p++) n_listed += *p == ' ';
    if (more) assert_int_equal(sscanf(more, " and %d more", &n_more), 1);
    assert_int_equal(n_listed + n_more, n);
    assert_true(strlen(err.msg) < sizeof err.msg - 1); // nothing was cut off
    free(t);
}

static void a_folder_with_fp8_scales_in_blocks_rows_or_one_opens(void **unused) {
    static const int shapes[][2] = {{1, 1}, {80, 1}, {80, 0}, {1, 0}, {2, 1}};
    (void)unused;
    tiny *t = malloc(sizeof *t);
    for (size_t i = 0; i < HTH_COUNT(shapes); i++) {
        tiny_make(TINY_LLAMA, t);
        fp8_without_scales(t);
        tiny_named(t, "model.layers.0.", "mlp.up_proj.weight_scale_inv", shapes[i][0], shapes[i][1], 0.5f,
                   0.1f);
        if (i == 4) tiny_set(t, "quantization_config.weight_block_size", "[40, 64]");
        rig r = rig_of(t, 1);
        assert_int_equal(r.m->layers[0].up.scale_rows, i == 0 ? 128 : i == 3 ? 80 : i == 4 ? 40 : 1);
        hth_row row = rig_row(5, 0);
        float *logits = rig_alone(&r, &row, 1);
        assert_true(isfinite(logits[0]));
        free(logits);
        rig_close(&r);
    }
    free(t);
}

// ---- every hyper-parameter at its extremes

static const char *const extremes[] = {"0",
                                       "1",
                                       "-1",
                                       "2",
                                       "3",
                                       "64",
                                       "1024",
                                       "1025",
                                       "65536",
                                       "65537",
                                       "1048576",
                                       "1048577",
                                       "2147483647",
                                       "2147483648",
                                       "4294967296",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "1e308",
                                       "-1e308",
                                       "1e-308",
                                       "1e-320",
                                       "0.5",
                                       "1e400",
                                       "\"NaN\"",
                                       "\"\"",
                                       "\"text\"",
                                       "null",
                                       "true",
                                       "false",
                                       "[]",
                                       "{}",
                                       "[1]",
                                       "[1e308, -1, null]",
                                       "[[[]]]",
                                       "{\"a\": 1}"};

// Members that no tiny model states but a family may read.
static const char *const more_keys[] = {
    "sliding_window",
    "sliding_window_pattern",
    "layer_types",
    "partial_rotary_factor",
    "attention_bias",
    "logit_scale",
    "original_max_position_embeddings",
    "rope_scaling",
    "rope_parameters",
    "rope_scaling.attention_factor",
    "rope_scaling.beta_fast",
    "rope_scaling.beta_slow",
    "rope_scaling.mscale",
    "rope_scaling.mscale_all_dim",
    "rope_scaling.truncate",
    "rope_scaling.alpha",
    "num_experts",
    "quantization",
    "quantization_config",
    "text_config",
    "quantization_config.weight_block_size",
    "hidden_activation",
    "tie_word_embeddings",
    "final_logit_softcapping",
};

// Runs a token at a large position. Returns false with a message when even an opened model fails.
static void run_one_token(hth_model *m, hth_team *team, const char *what) {
    hth_executor *ex;
    hth_state *s;
    hth_err err = {0};
    hth_ticket ticket;
    static float logits[TINY_VOCAB];
    const hth_state_params params = {.n_ctx = 1000};
    hth_row row = rig_row(7, 12345);
    assert_int_equal(m->desc.n_vocab, TINY_VOCAB); // the embedding in the file has that many rows
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
}

static int try_config(const tiny *t, const char *dir, hth_team *team, const char *what) {
    hth_model *m = NULL;
    hth_err err = {0};
    tiny_write_config(t, dir);
    const hth_code code = hth_model_open(dir, &m, &err);
    if (code == HTH_OK) {
        run_one_token(m, team, what);
        hth_model_free(m);
        return 1;
    }
    if (m || strlen(err.msg) < 20 ||
        (code != HTH_ERR_FORMAT && code != HTH_ERR_UNSUPPORTED && code != HTH_ERR_LIMIT)) {
        fail_msg("%s: code %d, \"%s\"", what, (int)code, err.msg);
    }
    return 0;
}

static void sweep(tiny_kind kind, hth_team *team) {
    tiny *t = malloc(sizeof *t), *spoilt = malloc(sizeof *t);
    char dir[128], what[512];
    const char *keys[96];
    int n_key = 0, n_open = 0, n_tried = 0;
    tiny_make(kind, t);
    for (int i = 0; i < t->n_pair; i++) keys[n_key++] = t->pairs[i].key;
    for (size_t i = 0; i < HTH_COUNT(more_keys); i++) {
        bool is_parent = false; // an object of its own in this config: replaced, not added beside
        for (int j = 0; j < t->n_pair; j++)
            is_parent |= strncmp(t->pairs[j].key, more_keys[i], strlen(more_keys[i])) == 0;
        if (!is_parent) keys[n_key++] = more_keys[i];
    }
    tiny_make_dir(dir);
    tiny_write_weights(t, dir);
    assert_int_equal(try_config(t, dir, team, "the model itself"), 1);
    for (int i = 0; i < n_key; i++) {
        for (size_t v = 0; v < HTH_COUNT(extremes); v++, n_tried++) {
            *spoilt = *t;
            tiny_set(spoilt, keys[i], extremes[v]);
            snprintf(what, sizeof what, "%.95s = %.40s", keys[i], extremes[v]);
            n_open += try_config(spoilt, dir, team, what);
        }
        *spoilt = *t; // absent
        if (tiny_find_pair(spoilt, keys[i])) tiny_set(spoilt, keys[i], NULL);
        n_open += try_config(spoilt, dir, team, keys[i]);
    }
    assert_in_range(n_open, 1, n_tried - 1);
    tiny_remove_dir(dir);
    free(t);
    free(spoilt);
}

static void any_hyper_parameter_at_any_extreme_is_an_error_or_computes(void **unused) {
    (void)unused;
    hth_team *team;
    hth_err err;
    assert_int_equal(hth_team_new(1, &team, &err), HTH_OK);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) sweep((tiny_kind)kind, team);
    hth_team_free(team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_contradiction_is_one_error_that_names_it),
        cmocka_unit_test(the_known_families_are_listed_or_counted_for_an_unknown_one),
        cmocka_unit_test(a_folder_with_fp8_scales_in_blocks_rows_or_one_opens),
        cmocka_unit_test(any_hyper_parameter_at_any_extreme_is_an_error_or_computes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
