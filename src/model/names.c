// Tensor names by role. GGUF's are those of ggml's documentation; a hub's are those of the transformers library.
#include "model/names.h"

typedef struct role_names {
    const char *title, *gguf, *hub;
} role_names;

static const role_names table[HTH_ROLE_COUNT] = {
    [HTH_ROLE_NONE] = {"nothing", "", ""},
    [HTH_ROLE_TOKEN_EMBD] = {"token embedding", "token_embd", "embed_tokens|wte|embeddings.word_embeddings"},
    [HTH_ROLE_POS_EMBD] = {"position embedding", "position_embd", "embeddings.position_embeddings"},
    [HTH_ROLE_TYPE_EMBD] = {"token type embedding", "token_types", "embeddings.token_type_embeddings"},
    [HTH_ROLE_EMBD_NORM] = {"embedding norm", "token_embd_norm", "embeddings.LayerNorm|emb_ln"},
    [HTH_ROLE_OUTPUT_NORM] = {"output norm", "output_norm", "norm|final_layernorm|ln_f"},
    [HTH_ROLE_OUTPUT] = {"output matrix", "output", "lm_head"},
    [HTH_ROLE_ROPE_FREQS] = {"rope divisors", "rope_freqs", ""},
    [HTH_ROLE_ROPE_SHORT] = {"short rope divisors", "rope_factors_short", ""},
    [HTH_ROLE_ROPE_LONG] = {"long rope divisors", "rope_factors_long", ""},
    [HTH_ROLE_CLS] = {"classifier", "cls", "classifier.dense|pooler.dense"},
    [HTH_ROLE_CLS_OUT] = {"classifier output", "cls.output", "classifier.out_proj|classifier|score"},
    [HTH_ROLE_PER_LAYER_EMBD] = {"per-layer embedding", "per_layer_token_embd", "embed_tokens_per_layer"},
    [HTH_ROLE_PER_LAYER_MODEL_PROJ] = {"per-layer projection", "per_layer_model_proj", "per_layer_model_projection"},
    [HTH_ROLE_PER_LAYER_PROJ_NORM] = {"per-layer norm", "per_layer_proj_norm", "per_layer_projection_norm"},
    [HTH_ROLE_STREAM_PROJ] = {"projection into a stream", "altup_proj", "altup_projections.%d"},
    [HTH_ROLE_STREAM_UNEMBD] = {"projection out of a stream", "altup_unembd_proj", "altup_unembed_projections.%d"},

    [HTH_ROLE_ATTN_NORM] = {"attention norm", "blk.%d.attn_norm", "layers.%d.input_layernorm|h.%d.ln_1"},
    [HTH_ROLE_Q] = {"query projection", "blk.%d.attn_q",
                    "layers.%d.self_attn.q_proj|h.%d.attn.attention.q_proj|encoder.layer.%d.attention.self.query"},
    [HTH_ROLE_K] = {"key projection", "blk.%d.attn_k",
                    "layers.%d.self_attn.k_proj|h.%d.attn.attention.k_proj|encoder.layer.%d.attention.self.key"},
    [HTH_ROLE_V] = {"value projection", "blk.%d.attn_v",
                    "layers.%d.self_attn.v_proj|h.%d.attn.attention.v_proj|encoder.layer.%d.attention.self.value"},
    [HTH_ROLE_QKV] = {"fused query-key-value projection", "blk.%d.attn_qkv",
                      "layers.%d.self_attn.qkv_proj|encoder.layers.%d.attn.Wqkv"},
    [HTH_ROLE_O] = {"attention output projection", "blk.%d.attn_output",
                    "layers.%d.self_attn.o_proj|layers.%d.self_attn.dense|h.%d.attn.attention.out_proj|"
                    "encoder.layer.%d.attention.output.dense|encoder.layers.%d.attn.out_proj"},
    [HTH_ROLE_Q_NORM] = {"query norm", "blk.%d.attn_q_norm", "layers.%d.self_attn.q_norm|layers.%d.self_attn.query_layernorm"},
    [HTH_ROLE_K_NORM] = {"key norm", "blk.%d.attn_k_norm", "layers.%d.self_attn.k_norm|layers.%d.self_attn.key_layernorm"},
    [HTH_ROLE_SINKS] = {"attention sinks", "blk.%d.attn_sinks", "layers.%d.self_attn.sinks"},
    [HTH_ROLE_Q_A] = {"query compression", "blk.%d.attn_q_a", "layers.%d.self_attn.q_a_proj"},
    [HTH_ROLE_Q_A_NORM] = {"norm of compressed queries", "blk.%d.attn_q_a_norm", "layers.%d.self_attn.q_a_layernorm"},
    [HTH_ROLE_Q_B] = {"query expansion", "blk.%d.attn_q_b", "layers.%d.self_attn.q_b_proj"},
    [HTH_ROLE_KV_A] = {"key-value compression", "blk.%d.attn_kv_a_mqa", "layers.%d.self_attn.kv_a_proj_with_mqa"},
    [HTH_ROLE_KV_A_NORM] = {"norm of compressed keys and values", "blk.%d.attn_kv_a_norm", "layers.%d.self_attn.kv_a_layernorm"},
    [HTH_ROLE_KV_B] = {"key-value expansion", "blk.%d.attn_kv_b", "layers.%d.self_attn.kv_b_proj"},
    [HTH_ROLE_K_B] = {"key expansion", "blk.%d.attn_k_b", "layers.%d.self_attn.embed_q"},
    [HTH_ROLE_V_B] = {"value expansion", "blk.%d.attn_v_b", "layers.%d.self_attn.unembed_out"},
    [HTH_ROLE_ATTN_POST_NORM] = {"norm after attention", "blk.%d.post_attention_norm|blk.%d.attn_output_norm",
                                 "layers.%d.post_attention_layernorm|encoder.layer.%d.attention.output.LayerNorm|"
                                 "encoder.layers.%d.norm1"},
    [HTH_ROLE_FFN_NORM] = {"feed-forward norm", "blk.%d.ffn_norm", "layers.%d.pre_feedforward_layernorm|h.%d.ln_2"},
    [HTH_ROLE_GATE] = {"gate projection", "blk.%d.ffn_gate", "layers.%d.mlp.gate_proj|h.%d.mlp.c_fc_0|encoder.layers.%d.mlp.fc12"},
    [HTH_ROLE_UP] = {"up projection", "blk.%d.ffn_up",
                     "layers.%d.mlp.up_proj|layers.%d.mlp.c_fc|layers.%d.mlp.fc1|h.%d.mlp.c_fc_1|"
                     "encoder.layer.%d.intermediate.dense|encoder.layers.%d.mlp.fc11"},
    [HTH_ROLE_GATE_UP] = {"fused gate-up projection", "blk.%d.ffn_up", "layers.%d.mlp.gate_up_proj"},
    [HTH_ROLE_DOWN] = {"down projection", "blk.%d.ffn_down",
                       "layers.%d.mlp.down_proj|layers.%d.mlp.c_proj|layers.%d.mlp.fc2|h.%d.mlp.c_proj|"
                       "encoder.layer.%d.output.dense|encoder.layers.%d.mlp.fc2"},
    [HTH_ROLE_FFN_POST_NORM] = {"norm after the feed-forward", "blk.%d.post_ffw_norm|blk.%d.layer_output_norm",
                                "layers.%d.post_feedforward_layernorm|encoder.layer.%d.output.LayerNorm|encoder.layers.%d.norm2"},
    [HTH_ROLE_PER_LAYER_GATE] = {"per-layer input gate", "blk.%d.inp_gate", "layers.%d.per_layer_input_gate"},
    [HTH_ROLE_PER_LAYER_PROJ] = {"per-layer input projection", "blk.%d.proj", "layers.%d.per_layer_projection"},
    [HTH_ROLE_PER_LAYER_NORM] = {"per-layer input norm", "blk.%d.post_norm", "layers.%d.post_per_layer_input_norm"},
    [HTH_ROLE_LAYER_SCALAR] = {"layer scalar", "blk.%d.layer_output_scale", "layers.%d.layer_scalar"},
    [HTH_ROLE_LAUREL_LEFT] = {"learned residual, first matrix", "blk.%d.laurel_l", "layers.%d.laurel.linear_left"},
    [HTH_ROLE_LAUREL_RIGHT] = {"learned residual, second matrix", "blk.%d.laurel_r", "layers.%d.laurel.linear_right"},
    [HTH_ROLE_LAUREL_NORM] = {"learned residual's norm", "blk.%d.laurel_post_norm", "layers.%d.laurel.post_laurel_norm"},
    [HTH_ROLE_ALTUP_ROUTER] = {"stream router", "blk.%d.altup_router", "layers.%d.altup.modality_router"},
    [HTH_ROLE_ALTUP_ROUTER_NORM] = {"stream router's norm", "blk.%d.altup_router_norm", "layers.%d.altup.router_norm"},
    [HTH_ROLE_ALTUP_PREDICT] = {"stream prediction", "blk.%d.altup_predict_coef", "layers.%d.altup.prediction_coefs"},
    [HTH_ROLE_ALTUP_CORRECT] = {"stream correction", "blk.%d.altup_correct_coef", "layers.%d.altup.correction_coefs"},
    [HTH_ROLE_ALTUP_SCALE] = {"stream output scale", "blk.%d.altup_correct_scale", "layers.%d.altup.correct_output_scale"},
    [HTH_ROLE_ROUTER] = {"router of experts", "blk.%d.ffn_gate_inp",
                         "layers.%d.mlp.gate|layers.%d.block_sparse_moe.gate|layers.%d.mlp.router|"
                         "layers.%d.block_sparse_moe.router.layer|layers.%d.mlp.gate.wg|layers.%d.mlp.gate.gate_proj|"
                         "layers.%d.feed_forward.router"},
    [HTH_ROLE_CHOICE_BIAS] = {"bias of the choice of experts", "blk.%d.exp_probs_b",
                              "layers.%d.mlp.gate.e_score_correction_bias|layers.%d.mlp.moe_statics.e_score_correction_bias|"
                              "layers.%d.mlp.e_score_correction_bias|layers.%d.mlp.gate.expert_bias|"
                              "layers.%d.block_sparse_moe.e_score_correction_bias|"
                              "layers.%d.block_sparse_moe.gate.e_score_correction_bias"},
    [HTH_ROLE_EXPERTS_GATE] = {"gate projections of the experts", "blk.%d.ffn_gate_exps",
                               "layers.%d.mlp.switch_mlp.gate_proj|layers.%d.block_sparse_moe.switch_mlp.gate_proj|"
                               "layers.%d.mlp.experts.gate_proj|layers.%d.feed_forward.experts.gate_proj"},
    [HTH_ROLE_EXPERTS_UP] = {"up projections of the experts", "blk.%d.ffn_up_exps",
                             "layers.%d.mlp.switch_mlp.up_proj|layers.%d.block_sparse_moe.switch_mlp.up_proj|"
                             "layers.%d.mlp.experts.up_proj|layers.%d.feed_forward.experts.up_proj"},
    [HTH_ROLE_EXPERTS_GATE_UP] = {"fused gate-up projections of the experts", "blk.%d.ffn_gate_up_exps",
                                  "layers.%d.block_sparse_moe.input_linear|layers.%d.mlp.experts.gate_up_proj"},
    [HTH_ROLE_EXPERTS_DOWN] = {"down projections of the experts", "blk.%d.ffn_down_exps",
                               "layers.%d.mlp.switch_mlp.down_proj|layers.%d.block_sparse_moe.switch_mlp.down_proj|"
                               "layers.%d.mlp.experts.down_proj|layers.%d.block_sparse_moe.output_linear|"
                               "layers.%d.feed_forward.experts.down_proj"},
    [HTH_ROLE_EXPERT_GATE] = {"gate projection of an expert", "blk.%d.ffn_gate.%e",
                              "layers.%d.mlp.experts.%e.gate_proj|layers.%d.block_sparse_moe.experts.%e.w1"},
    [HTH_ROLE_EXPERT_UP] = {"up projection of an expert", "blk.%d.ffn_up.%e",
                            "layers.%d.mlp.experts.%e.up_proj|layers.%d.block_sparse_moe.experts.%e.w3"},
    [HTH_ROLE_EXPERT_DOWN] = {"down projection of an expert", "blk.%d.ffn_down.%e",
                              "layers.%d.mlp.experts.%e.down_proj|layers.%d.block_sparse_moe.experts.%e.w2"},
    [HTH_ROLE_LATENT_IN] = {"projection before the experts", "blk.%d.ffn_latent_down", "layers.%d.mixer.fc1_latent_proj"},
    [HTH_ROLE_LATENT_OUT] = {"projection behind the experts", "blk.%d.ffn_latent_up", "layers.%d.mixer.fc2_latent_proj"},
    [HTH_ROLE_SHARED_GATE] = {"gate projection of the shared expert", "blk.%d.ffn_gate_shexp",
                              "layers.%d.mlp.shared_expert.gate_proj|layers.%d.mlp.shared_experts.gate_proj|"
                              "layers.%d.block_sparse_moe.shared_experts.gate_proj|"
                              "layers.%d.mlp.shared_mlp.gate_proj|layers.%d.feed_forward.shared_expert.gate_proj"},
    [HTH_ROLE_SHARED_UP] = {"up projection of the shared expert", "blk.%d.ffn_up_shexp",
                            "layers.%d.mlp.shared_expert.up_proj|layers.%d.mlp.shared_experts.up_proj|"
                              "layers.%d.block_sparse_moe.shared_experts.up_proj|"
                            "layers.%d.mlp.shared_mlp.up_proj|layers.%d.feed_forward.shared_expert.up_proj"},
    [HTH_ROLE_SHARED_GATE_UP] = {"fused gate-up projection of the shared expert", "", "layers.%d.shared_mlp.input_linear"},
    [HTH_ROLE_SHARED_DOWN] = {"down projection of the shared expert", "blk.%d.ffn_down_shexp",
                              "layers.%d.mlp.shared_expert.down_proj|layers.%d.mlp.shared_experts.down_proj|"
                              "layers.%d.block_sparse_moe.shared_experts.down_proj|"
                              "layers.%d.mlp.shared_mlp.down_proj|layers.%d.shared_mlp.output_linear|"
                              "layers.%d.feed_forward.shared_expert.down_proj"},
    [HTH_ROLE_SHARED_ROUTER] = {"gate of the shared expert", "blk.%d.ffn_gate_inp_shexp", "layers.%d.mlp.shared_expert_gate"},
    [HTH_ROLE_RECURRENT_IN] = {"input projection of the recurrent mixer", "blk.%d.ssm_in|blk.%d.shortconv.in_proj",
                               "layers.%d.conv.in_proj|layers.%d.linear_attn.in_proj_qkvz|layers.%d.mamba.in_proj|"
                               "layers.%d.mixer.in_proj"},
    [HTH_ROLE_RECURRENT_OUT] = {"output projection of the recurrent mixer", "blk.%d.ssm_out|blk.%d.shortconv.out_proj",
                                "layers.%d.conv.out_proj|layers.%d.linear_attn.out_proj|layers.%d.mamba.out_proj|"
                                "layers.%d.mixer.out_proj"},
    [HTH_ROLE_CONV] = {"causal convolution", "blk.%d.ssm_conv1d|blk.%d.shortconv.conv",
                       "layers.%d.conv.conv|layers.%d.linear_attn.conv1d|layers.%d.mamba.conv1d|layers.%d.mixer.conv1d"},
    [HTH_ROLE_DELTA_QKV] = {"projection of a delta rule", "blk.%d.attn_qkv", "layers.%d.linear_attn.in_proj_qkv"},
    [HTH_ROLE_DELTA_GATE] = {"gate of a delta rule", "blk.%d.attn_gate|blk.%d.ssm_g_b",
                             "layers.%d.linear_attn.in_proj_z|layers.%d.self_attn.g_b_proj"},
    [HTH_ROLE_DELTA_BETA_DECAY] = {"betas and decays", "blk.%d.ssm_ba", "layers.%d.linear_attn.in_proj_ba"},
    [HTH_ROLE_DELTA_BETA] = {"betas", "blk.%d.ssm_beta", "layers.%d.linear_attn.in_proj_b|layers.%d.self_attn.b_proj"},
    [HTH_ROLE_DELTA_DECAY] = {"decays", "blk.%d.ssm_alpha|blk.%d.ssm_f_b",
                              "layers.%d.linear_attn.in_proj_a|layers.%d.self_attn.f_b_proj"},
    [HTH_ROLE_DELTA_RATE] = {"rates of decay", "blk.%d.ssm_a",
                             "layers.%d.linear_attn.A_log|layers.%d.self_attn.A_log|layers.%d.mamba.A_log|"
                             "layers.%d.mixer.A_log"},
    [HTH_ROLE_DELTA_DECAY_BIAS] = {"bias of the decays", "blk.%d.ssm_dt",
                                   "layers.%d.linear_attn.dt_bias|layers.%d.self_attn.dt_bias|layers.%d.mamba.dt_bias|"
                                   "layers.%d.mixer.dt_bias"},
    [HTH_ROLE_DELTA_NORM] = {"norm of a recurrent mixer", "blk.%d.ssm_norm",
                             "layers.%d.linear_attn.norm|layers.%d.self_attn.o_norm|layers.%d.mamba.norm|layers.%d.mixer.norm"},
    [HTH_ROLE_DELTA_GATE_A] = {"first matrix of the gate", "blk.%d.ssm_g_a", "layers.%d.self_attn.g_a_proj"},
    [HTH_ROLE_DELTA_DECAY_A] = {"first matrix of the decays", "blk.%d.ssm_f_a", "layers.%d.self_attn.f_a_proj"},
    [HTH_ROLE_CONV_Q] = {"convolution of queries", "blk.%d.ssm_conv1d_q", "layers.%d.self_attn.q_conv1d|layers.%d.self_attn.q_conv.conv"},
    [HTH_ROLE_CONV_K] = {"convolution of keys", "blk.%d.ssm_conv1d_k", "layers.%d.self_attn.k_conv1d|layers.%d.self_attn.k_conv.conv"},
    [HTH_ROLE_CONV_V] = {"convolution of values", "blk.%d.ssm_conv1d_v", "layers.%d.self_attn.v_conv1d|layers.%d.self_attn.v_conv.conv"},
    [HTH_ROLE_SHIFT] = {"mixing with the row before", "blk.%d.time_mix_lerp_fused", ""},
    [HTH_ROLE_SHIFT_Q] = {"mixing of queries", "", "layers.%d.attn.x_r"},
    [HTH_ROLE_SHIFT_DECAY] = {"mixing of decays", "", "layers.%d.attn.x_w"},
    [HTH_ROLE_SHIFT_K] = {"mixing of keys", "", "layers.%d.attn.x_k"},
    [HTH_ROLE_SHIFT_V] = {"mixing of values", "", "layers.%d.attn.x_v"},
    [HTH_ROLE_SHIFT_BETA] = {"mixing of betas", "", "layers.%d.attn.x_a"},
    [HTH_ROLE_SHIFT_GATE] = {"mixing of gates", "", "layers.%d.attn.x_g"},
    [HTH_ROLE_SHIFT_FFN] = {"mixing of the feed-forward", "blk.%d.channel_mix_lerp_k", "layers.%d.ffn.x_k"},
    [HTH_ROLE_BETA_A] = {"first matrix of the betas", "blk.%d.time_mix_a1", "layers.%d.attn.a_lora.lora.0"},
    [HTH_ROLE_BETA_BIAS] = {"bias of the betas", "blk.%d.time_mix_a0", "layers.%d.attn.a_lora.lora.2"},
    [HTH_ROLE_VALUE_MIX_A] = {"first matrix of the first layer's part", "blk.%d.time_mix_v1", "layers.%d.attn.v_lora.lora.0"},
    [HTH_ROLE_VALUE_MIX] = {"second matrix of the first layer's part", "blk.%d.time_mix_v2", "layers.%d.attn.v_lora.lora.2"},
    [HTH_ROLE_VALUE_MIX_BIAS] = {"bias of the first layer's part", "blk.%d.time_mix_v0", "layers.%d.attn.v_lora.lora.2"},
    [HTH_ROLE_KEY_UNIT] = {"factors of unit keys", "blk.%d.time_mix_k_k", "layers.%d.attn.k_k"},
    [HTH_ROLE_KEY_BETA] = {"factors of keys by beta", "blk.%d.time_mix_k_a", "layers.%d.attn.k_a"},
    [HTH_ROLE_BONUS] = {"factors of a row's own key", "blk.%d.time_mix_r_k", "layers.%d.attn.r_k"},
    // DeepSeek and GLM: behind the last layer; Qwen: under "mtp."; MiMo: under "model.mtp.".
    [HTH_ROLE_NEXT_PROJ] = {"projection of a predicting layer", "blk.%d.nextn.eh_proj", "layers.%d.eh_proj|fc"},
    [HTH_ROLE_NEXT_EMBD_NORM] = {"embedding norm of a predicting layer", "blk.%d.nextn.enorm",
                                 "layers.%d.enorm|pre_fc_norm_embedding"},
    [HTH_ROLE_NEXT_HIDDEN_NORM] = {"hidden norm of a predicting layer", "blk.%d.nextn.hnorm",
                                   "layers.%d.hnorm|pre_fc_norm_hidden"},
    [HTH_ROLE_NEXT_NORM] = {"output norm of a predicting layer", "blk.%d.nextn.shared_head_norm|blk.%d.layer_output_norm",
                            "layers.%d.shared_head.norm|layers.%d.final_layernorm|norm"},
    [HTH_ROLE_NEXT_OUTPUT] = {"output of a predicting layer", "blk.%d.nextn.shared_head_head", "layers.%d.shared_head.head"},
    [HTH_ROLE_NEXT_EMBD] = {"token embedding of a predicting layer", "blk.%d.nextn.embed_tokens", "layers.%d.embed_tokens"},
    [HTH_ROLE_SSM_X] = {"projection of the convolved input", "blk.%d.ssm_x", "layers.%d.mixer.x_proj|layers.%d.mamba.x_proj"},
    [HTH_ROLE_SSM_STEP] = {"projection of steps", "blk.%d.ssm_dt", "layers.%d.mixer.dt_proj|layers.%d.mamba.dt_proj"},
    [HTH_ROLE_SSM_STEP_NORM] = {"norm of steps", "blk.%d.ssm_dt_norm", "layers.%d.mamba.dt_layernorm"},
    [HTH_ROLE_SSM_B_NORM] = {"norm of a state's input", "blk.%d.ssm_b_norm", "layers.%d.mamba.b_layernorm"},
    [HTH_ROLE_SSM_C_NORM] = {"norm of a state's output", "blk.%d.ssm_c_norm", "layers.%d.mamba.c_layernorm"},
    [HTH_ROLE_SSM_SKIP] = {"skip of a recurrent mixer", "blk.%d.ssm_d", "layers.%d.mamba.D|layers.%d.mixer.D"},
};

const char *hth_role_gguf(hth_role role) {
    return table[role].gguf;
}

const char *hth_role_hub(hth_role role) {
    return table[role].hub;
}

const char *hth_role_title(hth_role role) {
    return table[role].title;
}
