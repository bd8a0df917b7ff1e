"""The rows of families.py with routed experts.

Enough experts that a wrong choice shows in every row, few enough that ties do not occur.
"""
import re

import numpy as np

from configs import vary


def separate_experts(weights, config):
    """mlp.switch_mlp.x [n_expert, ...] -> mlp.experts.<e>.x, as most hubs publish them."""
    out = {}
    for name, value in weights.items():
        match = re.fullmatch(r"(.*\.mlp)\.(?:switch_mlp|experts)\.(\w+_proj\.\w+)", name)
        if not match:
            out[name] = value
            continue
        for e in range(len(value)):
            out[f"{match[1]}.experts.{e}.{match[2]}"] = value[e]
    return out


def mixtral_names(weights, config):
    """block_sparse_moe.switch_mlp.gate_proj -> block_sparse_moe.experts.<e>.w1, and so on."""
    letters = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
    out = {}
    for name, value in weights.items():
        match = re.fullmatch(r"(.*\.block_sparse_moe)\.switch_mlp\.(\w+_proj)\.weight", name)
        if not match:
            out[name] = value
            continue
        for e in range(len(value)):
            out[f"{match[1]}.experts.{e}.{letters[match[2]]}.weight"] = value[e]
    return out


MIXTRAL = {
    "architectures": ["MixtralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 52,
    "max_position_embeddings": 512,
    "model_type": "mixtral",
    "num_attention_heads": 6,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_local_experts": 8,
    "output_router_logits": False,
    "rms_norm_eps": 0.003,
    "rope_theta": 700.0,
    "router_aux_loss_coef": 0.02,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.36.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}

QWEN3_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "decoder_sparse_step": 1,
    "eos_token_id": 2,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "max_window_layers": 48,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 28,
    "norm_topk_prob": True,
    "num_attention_heads": 6,
    "num_experts": 24,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 900.0,
    "router_aux_loss_coef": 0.001,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 283,
}

QWEN2_MOE = {
    "architectures": ["Qwen2MoeForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "decoder_sparse_step": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "max_window_layers": 21,
    "model_type": "qwen2_moe",
    "moe_intermediate_size": 28,
    "norm_topk_prob": False,
    "num_attention_heads": 6,
    "num_experts": 12,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "rms_norm_eps": 0.003,
    "rope_theta": 800.0,
    "router_aux_loss_coef": 0.001,
    "shared_expert_intermediate_size": 60,
    "sliding_window": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.39.0.dev0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 283,
}

GPT_OSS = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 2,
    "experts_per_token": 3,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initial_context_length": 64,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "max_position_embeddings": 2048,
    "model_type": "gpt_oss",
    "num_attention_heads": 6,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 12,
    "output_router_logits": False,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"beta_fast": 8.0, "beta_slow": 0.25, "factor": 32.0, "original_max_position_embeddings": 64,
                     "rope_type": "yarn", "truncate": False},
    "rope_theta": 15000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 24,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.55.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}


GLM4_MOE = {
    "architectures": ["Glm4MoeForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": [2],
    "first_k_dense_replace": 1,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "glm4_moe",
    "moe_intermediate_size": 28,
    "n_group": 1,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 1,
    "pad_token_id": 0,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 900.0,
    "routed_scaling_factor": 2.5,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "torch_dtype": "float32",
    "transformers_version": "4.54.0",
    "use_cache": True,
    "use_qk_norm": True,
    "vocab_size": 283,
}

OLMOE = {
    "architectures": ["OlmoeForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "clip_qkv": None,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 44,
    "max_position_embeddings": 512,
    "model_type": "olmoe",
    "norm_topk_prob": False,
    "num_attention_heads": 6,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 3,
    "output_router_logits": False,
    "pad_token_id": 1,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "router_aux_loss_coef": 0.01,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.43.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}

GRANITE_MOE = {
    "architectures": ["GraniteMoeForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.1,
    "attention_multiplier": 0.21,
    "bos_token_id": 0,
    "embedding_multiplier": 2.2,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 44,
    "logits_scaling": 1.7,
    "max_position_embeddings": 512,
    "model_type": "granitemoe",
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_local_experts": 12,
    "output_router_logits": False,
    "pad_token_id": 0,
    "residual_multiplier": 0.62,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "router_aux_loss_coef": 0.001,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.46.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}


def granite_names(weights, config):
    """gate_proj and up_proj of all experts in one input_linear."""
    out = dict(weights)
    for name in [n for n in weights if "switch_mlp.gate_proj" in n]:
        up, down = name.replace("gate_proj", "up_proj"), name.replace("gate_proj", "down_proj")
        out[name.replace("switch_mlp.gate_proj", "input_linear")] = np.concatenate([out.pop(name), out.pop(up)], axis=1)
        out[name.replace("switch_mlp.gate_proj", "output_linear")] = out.pop(down)
    return out


ERNIE_MOE = {
    "architectures": ["Ernie4_5_MoeForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "ernie4_5_moe",
    "moe_capacity": [16, 16, 16],
    "moe_gate": "topk",
    "moe_intermediate_size": 28,
    "moe_k": 4,
    "moe_layer_end_index": 3,
    "moe_layer_interval": 1,
    "moe_layer_start_index": 1,
    "moe_num_experts": 16,
    "moe_num_shared_experts": 2,
    "moe_use_aux_free": True,
    "num_attention_heads": 6,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_theta": 700.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_bias": False,
    "use_cache": True,
    "vocab_size": 283,
}

PHI_MOE = {
    "architectures": ["PhiMoEForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_dropout": 0.0,
    "hidden_size": 72,
    "initializer_range": 0.02,
    "input_jitter_noise": 0.01,
    "intermediate_size": 44,
    "lm_head_bias": True,
    "max_position_embeddings": 512,
    "model_type": "phimoe",
    "num_attention_heads": 6,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_local_experts": 16,
    "original_max_position_embeddings": 64,
    "output_router_logits": False,
    "rms_norm_eps": 0.003,
    "rope_scaling": {
        "long_factor": [1.1, 1.7, 2.3, 3.9, 5.5, 7.7], "long_mscale": 1.24,
        "original_max_position_embeddings": 64,
        "short_factor": [1.0, 1.05, 1.1, 1.3, 1.5, 1.8], "short_mscale": 1.24, "type": "longrope"},
    "rope_theta": 700.0,
    "router_aux_loss_coef": 0.0,
    "router_jitter_noise": 0.15,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.43.3",
    "use_cache": True,
    "vocab_size": 283,
}

ERNIE_BIAS = [round(0.07 * ((7 * i) % 16) / 16, 4) for i in range(16)]


def ernie_names(weights, config):
    """With the bias of the choice, which the reference drops on loading."""
    out = separate_experts(weights, config)
    for i in range(config["moe_layer_start_index"], config["moe_layer_end_index"] + 1):
        out[f"model.layers.{i}.mlp.moe_statics.e_score_correction_bias"] = np.array([ERNIE_BIAS], np.float32)
    return out


HUNYUAN_MOE = {
    "architectures": ["HunYuanMoEV1ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.1,
    "bos_token_id": 1,
    "cla_share_factor": 2,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 28,
    "max_position_embeddings": 512,
    "model_type": "hunyuan",
    "moe_intermediate_size": [28] * 3,
    "moe_topk": [4] * 3,
    "num_attention_heads": 6,
    "num_experts": 16,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_shared_expert": [2] * 3,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"alpha": 30.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
                     "mscale_all_dim": 1.0, "type": "dynamic"},
    "rope_theta": 300.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.41.2",
    "use_cache": True,
    "use_cla": False,
    "use_mixed_mlp_moe": True,
    "use_qk_norm": True,
    "vocab_size": 283,
}

DOTS1 = {
    "architectures": ["Dots1ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "first_k_dense_replace": 1,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "dots1",
    "moe_intermediate_size": 28,
    "n_group": 4,
    "n_routed_experts": 24,
    "n_shared_experts": 2,
    "norm_topk_prob": True,
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "routed_scaling_factor": 2.5,
    "scoring_func": "noaux_tc",
    "sliding_window": None,
    "tie_word_embeddings": False,
    "topk_group": 2,
    "torch_dtype": "float32",
    "transformers_version": "4.46.3",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 283,
}

MINIMAX_M2 = {
    "architectures": ["MiniMaxM2ForCausalLM"],
    "attention_dropout": 0.0,
    "attn_type_list": [1, 1, 1],
    "bos_token_id": None,
    "eos_token_id": None,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 28,
    "max_position_embeddings": 512,
    "model_type": "minimax_m2",
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_local_experts": 16,
    "output_router_logits": False,
    "rms_norm_eps": 0.003,
    "rope_theta": 700,
    "rotary_dim": 10,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "scoring_func": "sigmoid",
    "shared_intermediate_size": 0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "transformers_version": "4.46.1",
    "use_cache": True,
    "use_qk_norm": True,
    "use_routing_bias": True,
    "vocab_size": 283,
}

BAILING2 = {
    "architectures": ["BailingMoeV2ForCausalLM"],
    "attention_dropout": 0.0,
    "eos_token_id": 2,
    "embedding_dropout": 0.0,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "bailing_moe",
    "moe_intermediate_size": 28,
    "moe_router_enable_expert_bias": True,
    "n_group": 4,
    "norm_head": False,
    "norm_softmax": False,
    "norm_topk_prob": True,
    "num_attention_heads": 6,
    "num_experts": 24,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 0,
    "num_shared_experts": 1,
    "output_dropout": 0.0,
    "output_router_logits": False,
    "pad_token_id": 0,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "routed_scaling_factor": 2.5,
    "score_function": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 2,
    "torch_dtype": "float32",
    "transformers_version": "4.56.1",
    "use_bias": False,
    "use_cache": True,
    "use_qk_norm": True,
    "use_qkv_bias": False,
    "vocab_size": 283,
}


LLAMA4_TEXT = {
    "attention_bias": False,
    "attention_chunk_size": 28,
    "attention_dropout": 0.0,
    "attn_scale": 0.1,
    "attn_temperature_tuning": 4,
    "bos_token_id": 1,
    "eos_token_id": [2],
    "floor_scale": 24,
    "for_llm_compressor": False,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "interleave_moe_layer_step": 2,
    "intermediate_size": 44,
    "intermediate_size_mlp": 100,
    "max_position_embeddings": 512,
    "model_type": "llama4_text",
    "no_rope_layers": [],
    "num_attention_heads": 6,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "num_local_experts": 6,
    "output_router_logits": False,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 64, "rope_type": "llama3"},
    "rope_theta": 700.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "use_qk_norm": True,
    "vocab_size": 283,
}

LLAMA4 = {
    "architectures": ["Llama4ForConditionalGeneration"],
    "boi_token_index": 280,
    "eoi_token_index": 281,
    "image_token_index": 282,
    "model_type": "llama4",
    "text_config": LLAMA4_TEXT,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.51.0.dev0",
    "vision_config": {"model_type": "llama4_vision_model"},
}
LLAMA4_UNREAD = {"for_llm_compressor": "how to store, not what", "router_jitter_noise": "for training"}

MIMO2 = {
    "add_full_attention_sink_bias": False,
    "add_swa_attention_sink_bias": True,
    "architectures": ["MiMoV2FlashForCausalLM"],
    "attention_bias": False,
    "attention_chunk_size": 24,
    "attention_dropout": 0.0,
    "attention_value_scale": 0.707,
    "head_dim": 24,
    "hidden_act": "silu",
    "hidden_size": 72,
    "hybrid_block_size": None,
    "hybrid_layer_pattern": [0, 1, 1, 0],
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layernorm_epsilon": 0.003,
    "max_position_embeddings": 512,
    "model_type": "mimo_v2_flash",
    "moe_intermediate_size": 28,
    "moe_layer_freq": [0, 1, 1, 1],
    "n_group": 1,
    "n_routed_experts": 16,
    "n_shared_experts": None,
    "norm_topk_prob": True,
    "num_attention_heads": 4,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 1,
    "partial_rotary_factor": 0.334,
    "rope_theta": 900.0,
    "routed_scaling_factor": None,
    "scoring_func": "sigmoid",
    "sliding_window": 24,
    "sliding_window_size": 24,
    "swa_head_dim": 24,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_rope_theta": 300.0,
    "swa_v_head_dim": 16,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "torch_dtype": "float32",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "v_head_dim": 16,
    "vocab_size": 283,
}
MIMO2_UNREAD = {"attention_chunk_size": "the authors' code does not read it", "sliding_window": "sliding_window_size says it",
                "hybrid_block_size": "hybrid_layer_pattern says it"}

DEEPSEEK = {
    "architectures": ["DeepseekForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "deepseek",
    "moe_intermediate_size": 28,
    "moe_layer_freq": 1,
    "n_routed_experts": 16,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 3,
    "pretraining_tp": 1,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "scoring_func": "softmax",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.36.0",
    "use_cache": True,
    "vocab_size": 283,
}


def bailing_names(weights, config):
    """mlp.gate.gate_proj -> mlp.gate, and an expert per tensor."""
    return separate_experts({n.replace("mlp.gate.gate_proj", "mlp.gate"): v for n, v in weights.items()}, config)


def turned_experts(weights, config):
    """Experts as Meta publishes Llama 4's: gate and up of all in one tensor [n_expert, d, 2 d_ff], down [n_expert, d_ff, d]."""
    out = dict(weights)
    for name in [n for n in weights if n.endswith(".experts.gate_proj.weight")]:
        at = name.removesuffix("gate_proj.weight")
        gate, up, down = (out.pop(at + part + "_proj.weight").swapaxes(1, 2) for part in ("gate", "up", "down"))
        out[at + "gate_up_proj"], out[at + "down_proj"] = np.concatenate([gate, up], axis=-1), down
    out["vision_model.patch_embedding.linear.weight"] = np.zeros((4, 4), np.float32)
    out["multi_modal_projector.linear_1.weight"] = np.zeros((4, 4), np.float32)
    return out


def add_all(add):
    add("mixtral", MIXTRAL, to_hub=mixtral_names)
    add("mixtral-stacked", vary(MIXTRAL, num_experts_per_tok=3))  # as MLX stores it
    unused = {"intermediate_size": "no layer is dense"}
    sparse = {"mlp_only_layers": [1], "decoder_sparse_step": 2}
    add("qwen3-moe", QWEN3_MOE, to_hub=separate_experts, mutations=sparse, ignored=unused)
    add("qwen3-moe-stacked", vary(QWEN3_MOE, norm_topk_prob=False, tie_word_embeddings=True), tied=True, mutations=sparse,
        ignored=unused)
    add("qwen3-moe-some-dense", vary(QWEN3_MOE, decoder_sparse_step=2, mlp_only_layers=[3], num_hidden_layers=5),
        to_hub=separate_experts)
    add("qwen2-moe", QWEN2_MOE, to_hub=separate_experts, mutations=sparse, ignored=unused)
    # The reference does not read these keys; transformers does, or the authors' code.
    add("gpt-oss", GPT_OSS, reference={"yarn": "not rounded"}, ignored={
        "experts_per_token": "num_experts_per_tok says it", "initial_context_length": "rope_scaling says it",
        "hidden_act": "the experts' gate is the family's own"})
    add("glm4-moe", GLM4_MOE, to_hub=separate_experts, mutations={"n_group": 5}, ignored={
        "topk_group": "there is one group", "num_nextn_predict_layers": "layers behind the last are passed over"})
    add("glm4-moe-groups", vary(GLM4_MOE, n_group=4, topk_group=2, attention_bias=False, use_qk_norm=False,
                                norm_topk_prob=False), to_hub=separate_experts,
        ignored={"num_nextn_predict_layers": "layers behind the last are passed over"})
    add("olmoe", OLMOE, to_hub=separate_experts, mutations={"clip_qkv": 8.0})
    add("olmoe-normalized", vary(OLMOE, norm_topk_prob=True, tie_word_embeddings=True), tied=True,
        mutations={"clip_qkv": 8.0})
    add("granite-moe", GRANITE_MOE, tied=True, embed_std=0.3, to_hub=granite_names)
    add("ernie4_5-moe", ERNIE_MOE, to_hub=ernie_names, reference={"choice_bias": ERNIE_BIAS}, ignored={
        "moe_capacity": "for training", "moe_gate": "one kind is published",
        "moe_use_aux_free": "the tensor of the bias decides"},
        mutations={"moe_layer_interval": 2, "moe_layer_end_index": 2})
    add("hunyuan-moe", HUNYUAN_MOE, to_hub=separate_experts, tied=True, embed_std=0.35, no_rewrite="transformers calls this type hunyuan_v1_moe",
        reference={"routing": "normalized"}, ignored={
            "beta_fast": "alpha alone decides", "beta_slow": "alpha alone decides", "factor": "alpha alone decides",
            "mscale": "alpha alone decides", "mscale_all_dim": "alpha alone decides",
            "cla_share_factor": "use_cla is false"})
    add("phi-moe", PHI_MOE, to_hub=mixtral_names, no_rewrite="transformers moves its magnitudes", ignored={
        "short_factor": "the sequence is longer than the original context",
        "original_max_position_embeddings": "stated twice", "max_position_embeddings": "the magnitudes are stated"})
    # The reference's norm of queries and keys has an epsilon of its own.
    add("llama4", LLAMA4, to_hub=turned_experts, reference={"weightless_eps": 0.003}, no_rewrite="transformers lists what the reference counts",
        ignored=LLAMA4_UNREAD, mutations={"attn_temperature_tuning": 0, "no_rope_layers": [1, 0, 1, 1, 1]})
    listed = vary(LLAMA4_TEXT, no_rope_layers=[1, 1, 1, 0, 1], moe_layers=[0, 1, 2, 3, 4], interleave_moe_layer_step=1,
                  use_qk_norm=False, rope_scaling=None, attn_temperature_tuning=False)
    add("llama4-listed", vary(LLAMA4, text_config=listed), no_rewrite="the same", mutations={"moe_layers": [0, 2]}, ignored=dict(
        LLAMA4_UNREAD, interleave_moe_layer_step="moe_layers says it", intermediate_size_mlp="no layer is dense",
        floor_scale="no scaling by position", attn_scale="no scaling by position"))
    add("mimo-v2", MIMO2, to_hub=separate_experts, no_rewrite="the family's code lives on the hub", mutations={
        "sliding_window_size": 9, "topk_method": "greedy", "scoring_func": "softmax", "n_shared_experts": 1, "n_group": 5,
        "routed_scaling_factor": 1.5, "hybrid_layer_pattern": [1, 1, 1, 0], "moe_layer_freq": [1, 1, 1, 1]},
        ignored=dict(MIMO2_UNREAD, topk_group="there is one group"))
    add("mimo-v2-two-widths", vary(MIMO2, swa_num_attention_heads=6, swa_head_dim=36, swa_v_head_dim=20, n_group=4, topk_group=2,
                                   routed_scaling_factor=2.5, n_shared_experts=1, norm_topk_prob=False,
                                   add_full_attention_sink_bias=True, attention_value_scale=None),
        to_hub=separate_experts, no_rewrite="the family's code lives on the hub", ignored=MIMO2_UNREAD, mutations={
            "sliding_window_size": 9, "topk_method": "greedy", "scoring_func": "softmax", "attention_value_scale": 0.7,
            "hybrid_layer_pattern": [1, 1, 1, 0], "moe_layer_freq": [1, 1, 1, 1]})
    add("deepseek-1", DEEPSEEK, to_hub=separate_experts, no_rewrite="the family's code lives on the hub", ignored={
        "aux_loss_alpha": "for training", "seq_aux": "for training"},
        mutations={"scoring_func": "sigmoid", "moe_layer_freq": 2})
    add("deepseek-1-every-second", vary(DEEPSEEK, moe_layer_freq=2, first_k_dense_replace=1, attention_bias=True,
                                        num_hidden_layers=5), to_hub=separate_experts,
        no_rewrite="the family's code lives on the hub", ignored={"aux_loss_alpha": "for training", "seq_aux": "for training"},
        mutations={"scoring_func": "sigmoid", "first_k_dense_replace": 3})
    add("dots1", DOTS1, to_hub=separate_experts, mutations={"scoring_func": "softmax"})
    add("minimax-m2", MINIMAX_M2, to_hub=mixtral_names, mutations={"rope_theta": 1000, "scoring_func": "softmax",
                                                                   "attn_type_list": [0, 1, 1]}, ignored={
        "shared_intermediate_size": "of the elder models", "use_routing_bias": "the tensor is required",
        "router_jitter_noise": "for training"})
    add("bailing-moe-2", BAILING2, to_hub=bailing_names, no_rewrite="the family's code lives on the hub", ignored={
        "norm_softmax": "for training", "output_dropout": "for training", "num_nextn_predict_layers": "none here"},
        mutations={"score_function": "softmax"})
    add("bailing-moe", vary(BAILING2, n_group=1, topk_group=4, moe_router_enable_expert_bias=False, score_function="softmax",
                            use_qk_norm=False, partial_rotary_factor=1.0, first_k_dense_replace=0, num_shared_experts=2),
        no_rewrite="the family's code lives on the hub", to_hub=bailing_names, ignored={
            "norm_softmax": "for training", "output_dropout": "for training", "num_nextn_predict_layers": "none here",
            "intermediate_size": "no layer is dense", "topk_group": "there is one group"},
        mutations={"score_function": "sigmoid", "n_group": 5, "first_k_dense_replace": 1, "partial_rotary_factor": 0.5})
