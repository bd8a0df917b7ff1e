"""The rows of families.py with latent attention.

Every size differs from every other, so that a swapped one shows. mlx-lm computes a prompt in the expanded form
and keeps the second generation's keys expanded, so the absorbed form is compared with it too.
"""
import re

import numpy as np

from families_moe import separate_experts, vary


def join_heads(weights, config):
    """embed_q [n_head, kv_rank, d_nope] and unembed_out [n_head, d_v, kv_rank] -> kv_b_proj, as hubs publish it."""
    out = {}
    for name, value in weights.items():
        match = re.fullmatch(r"(.*\.self_attn)\.(embed_q|unembed_out)\.weight", name)
        if not match:
            out[name] = value
        elif match[2] == "embed_q":
            values = weights[match[1] + ".unembed_out.weight"]
            both = np.concatenate([value.swapaxes(1, 2), values], axis=1)
            out[match[1] + ".kv_b_proj.weight"] = both.reshape(-1, both.shape[-1])
    return out


def as_published(weights, config):
    return separate_experts(join_heads(weights, config), config)


def fused_experts(weights, config):
    """Heads joined, and gate and up projections of all experts in one parameter."""
    out = {}
    for name, value in join_heads(weights, config).items():
        match = re.fullmatch(r"(.*)\.switch_mlp\.(gate|up|down)_proj\.weight", name)
        if not match:
            out[name] = value
        elif match[2] == "down":
            out[match[1] + ".experts.down_proj"] = value
        elif match[2] == "gate":
            out[match[1] + ".experts.gate_up_proj"] = np.concatenate([value, weights[name.replace("gate_proj", "up_proj")]], axis=1)
    return out


def with_prediction_layer(weights, config):
    """As published, with the layer behind the last that predicts a further token."""
    out = as_published(weights, config)
    last, extra = config["num_hidden_layers"] - 1, config["num_hidden_layers"]
    for name, value in list(out.items()):
        if f"layers.{last}." in name:
            out[name.replace(f"layers.{last}.", f"layers.{extra}.")] = value * 0.5
    width = config["hidden_size"]
    out[f"model.layers.{extra}.eh_proj.weight"] = np.ones((width, 2 * width), np.float32)
    for norm in ("enorm", "hnorm", "shared_head.norm"):
        out[f"model.layers.{extra}.{norm}.weight"] = np.ones(width, np.float32)
    return out


DEEPSEEK_V2 = {
    "architectures": ["DeepseekV2ForCausalLM"],
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
    "kv_lora_rank": 40,
    "max_position_embeddings": 512,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 28,
    "moe_layer_freq": 1,
    "n_group": 4,
    "n_routed_experts": 24,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 6,
    "pretraining_tp": 1,
    "q_lora_rank": 52,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 16,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"beta_fast": 3.0, "beta_slow": 0.25, "factor": 12.0, "mscale": 0.707, "mscale_all_dim": 0.707,
                     "original_max_position_embeddings": 64, "type": "yarn"},
    "rope_theta": 900.0,
    "routed_scaling_factor": 4.0,
    "scoring_func": "softmax",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "topk_group": 2,
    "topk_method": "group_limited_greedy",
    "torch_dtype": "float32",
    "transformers_version": "4.39.3",
    "use_cache": True,
    "v_head_dim": 24,
    "vocab_size": 283,
}

DEEPSEEK_V3 = vary(
    DEEPSEEK_V2, architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", norm_topk_prob=True, ep_size=1,
    num_nextn_predict_layers=1, routed_scaling_factor=2.5, scoring_func="sigmoid", topk_method="noaux_tc",
    transformers_version="4.33.1", _drop=("aux_loss_alpha", "seq_aux", "pretraining_tp"),
    rope_scaling={"beta_fast": 3.0, "beta_slow": 0.25, "factor": 12.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                  "original_max_position_embeddings": 64, "type": "yarn"})

DEEPSEEK_V32 = vary(DEEPSEEK_V3, architectures=["DeepseekV32ForCausalLM"], model_type="deepseek_v32", index_head_dim=28,
                    index_n_heads=5, index_topk=200)

GLM4_MOE_LITE = vary(
    DEEPSEEK_V3, architectures=["Glm4MoeLiteForCausalLM"], model_type="glm4_moe_lite", n_group=1, topk_group=1,
    rope_scaling=None, routed_scaling_factor=1.8, partial_rotary_factor=1.0, max_position_embeddings=2048,
    num_attention_heads=5, num_key_value_heads=5, n_shared_experts=1, transformers_version="5.0.0rc0",
    _drop=("ep_size", "moe_layer_freq", "scoring_func"))

YOUTU = vary(
    DEEPSEEK_V2, architectures=["YoutuForCausalLM"], model_type="youtu_llm", mlp_bias=False, rope_scaling=None,
    rope_traditional=True, tie_word_embeddings=True,
    _drop=("aux_loss_alpha", "seq_aux", "first_k_dense_replace", "moe_intermediate_size", "moe_layer_freq", "n_group",
           "n_routed_experts", "n_shared_experts", "norm_topk_prob", "num_experts_per_tok", "routed_scaling_factor",
           "scoring_func", "topk_group", "topk_method", "pretraining_tp"))

MINICPM3 = {
    "architectures": ["MiniCPM3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "dim_model_base": 24,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.1,
    "intermediate_size": 104,
    "kv_lora_rank": 40,
    "max_position_embeddings": 128,
    "model_type": "minicpm3",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 6,
    "q_lora_rank": 52,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 16,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"long_factor": [1.0, 1.1, 1.4, 1.9, 2.6, 3.9, 5.5, 7.7], "original_max_position_embeddings": 64,
                     "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.8, 2.1], "type": "longrope"},
    "rope_theta": 700.0,
    "scale_depth": 1.4,
    "scale_emb": 7,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.41.0",
    "use_cache": True,
    "vocab_size": 283,
}

# Mistral Small 4
MISTRAL4 = vary(
    DEEPSEEK_V3, architectures=["Mistral4ForCausalLM"], model_type="mistral4", head_dim=36, qk_head_dim=36, rope_interleave=True,
    n_shared_experts=1, transformers_version="5.0.0.dev0", n_group=4, topk_group=2,
    rope_parameters={"beta_fast": 3.0, "beta_slow": 0.25, "factor": 12.0, "llama_4_scaling_beta": 0.4, "mscale": 1.0,
                     "mscale_all_dim": 1.0, "original_max_position_embeddings": 32, "rope_theta": 700.0, "rope_type": "yarn",
                     "type": "yarn"},
    _drop=("ep_size", "moe_layer_freq", "num_nextn_predict_layers", "scoring_func", "topk_method", "rope_scaling", "rope_theta"))

# A wrapper around DeepSeek V3, whose text_config is that of Kimi K2.
KIMI_K25 = {
    "architectures": ["KimiK25ForConditionalGeneration"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "model_type": "kimi_k25",
    "text_config": vary(DEEPSEEK_V3, model_type="kimi_k2", n_group=1, topk_group=1),
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vision_config": {},
}

HEADS = {"num_key_value_heads": "all heads share one compressed row"}
TRAINING = {"aux_loss_alpha": "for training", "seq_aux": "for training", "ep_size": "how to run, not what"}
BEHIND = {"num_nextn_predict_layers": "layers behind the last are passed over"}
ONE_GROUP = {"n_group": "the method does not ask", "topk_group": "the method does not ask"}
# The compressed rows and their norms let little pass: gains that make attention choose.
GAINS = {"q_b_proj": 2.6, "kv_b_proj": 1.6, "embed_q": 2.0, "unembed_out": 1.2}


def add_all(add):
    refused = {"scoring_func": "softmax", "topk_method": "greedy"}
    add("deepseek2", DEEPSEEK_V2, to_hub=separate_experts, gains=GAINS, ignored={**HEADS, **TRAINING},
        mutations={"scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True})
    add("deepseek2-lite", vary(DEEPSEEK_V2, q_lora_rank=None, n_group=1, topk_group=1, topk_method="greedy",
                               routed_scaling_factor=1.5, first_k_dense_replace=0, moe_layer_freq=2, num_hidden_layers=4),
        gains=GAINS, ignored={**HEADS, **TRAINING, **ONE_GROUP}, to_hub=separate_experts,
        mutations={"scoring_func": "sigmoid", "topk_method": "noaux_tc", "q_lora_rank": 52})
    add("deepseek3", DEEPSEEK_V3, to_hub=as_published, gains=GAINS, mutations=refused,
        ignored={**HEADS, **TRAINING, **BEHIND})
    add("deepseek3-stacked", vary(DEEPSEEK_V3, num_attention_heads=10, num_key_value_heads=10, q_lora_rank=None),
        gains=GAINS, mutations={**refused, "q_lora_rank": 52}, ignored={**HEADS, **TRAINING, **BEHIND})
    add("deepseek3-bias", vary(DEEPSEEK_V3, attention_bias=True, norm_topk_prob=False, rope_scaling=None), gains=GAINS,
        to_hub=as_published, mutations=refused, ignored={**HEADS, **TRAINING, **BEHIND})
    add("deepseek32", DEEPSEEK_V32, to_hub=with_prediction_layer, gains=GAINS, mutations=refused,
        ignored={**HEADS, **TRAINING, **BEHIND, "index_head_dim": "attention is dense", "index_n_heads": "attention is dense",
                 "index_topk": "attention is dense"})
    add("glm4-moe-lite", GLM4_MOE_LITE, to_hub=as_published, gains=GAINS, mutations={**refused, "n_group": 5},
        ignored={**HEADS, **BEHIND, "topk_group": "there is one group", "partial_rotary_factor": "the rotated part has a size"})
    add("youtu", YOUTU, tied=True, no_rewrite="transformers calls this type youtu", gains=GAINS, embed_std=0.3, ignored=HEADS)
    add("minicpm3", MINICPM3, gains=GAINS, ignored={**HEADS, "short_factor": "the sequence is longer than the original context"})
    mistral = {**HEADS, "head_dim": "qk_nope_head_dim and qk_rope_head_dim say it", "qk_head_dim": "they say it",
               "type": "rope_type says it"}
    gains = {**GAINS, "q_b_proj": 1.6}  # queries grow with their positions
    add("mistral4", MISTRAL4, to_hub=fused_experts, gains=gains, ignored=mistral, no_rewrite="transformers adds keys of other families",
        mutations={"beta_fast": 0.4})
    add("mistral4-mlx", vary(MISTRAL4, rope_interleave=False, n_group=1, topk_group=1, attention_bias=True, norm_topk_prob=False,
                             q_lora_rank=None), gains=gains,
        no_rewrite="transformers adds keys of other families", ignored={**mistral, "topk_group": "there is one group"},
        mutations={"n_group": 5, "q_lora_rank": 52, "beta_fast": 0.4})
    add("kimi-k2.5", KIMI_K25, to_hub=as_published, gains=GAINS, mutations={**refused, "n_group": 5}, ignored={
        **HEADS, **TRAINING, **BEHIND, "topk_group": "there is one group"}, no_rewrite=
        "the family's code lives on the hub, not in transformers")
