"""The rows of families.py with routed experts.

Enough experts that a wrong choice shows in every row, few enough that ties do not occur.
"""
import copy
import re

import numpy as np


def vary(config, _drop=(), **changes):
    out = copy.deepcopy(config)
    for key in _drop:
        out.pop(key, None)
    out.update(changes)
    return out


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
