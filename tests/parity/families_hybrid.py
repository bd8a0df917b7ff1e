"""The rows of families.py whose layers are recurrent in part.

Heads, widths and taps differ from each other wherever an implementation could confuse them.
"""
import re

import numpy as np

from configs import vary
from families_latent import GAINS, HEADS, join_heads
from families_moe import mixtral_names, separate_experts


def convolution_of_hub(name, value):
    """mlx [channels, taps, 1] -> hub [channels, 1, taps]."""
    return np.moveaxis(value, 2, 1) if "conv" in name and value.ndim == 3 else value


def lfm2_names(weights, config):
    """The hub's convolution, and an expert per tensor with the short names."""
    letters = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
    out = {}
    for name, value in weights.items():
        stacked = re.fullmatch(r"(.*\.feed_forward)\.switch_mlp\.(\w+_proj)\.weight", name)
        dense = re.fullmatch(r"(.*\.feed_forward)\.(\w+_proj)\.weight", name)
        if stacked:
            for e in range(len(value)):
                out[f"{stacked[1]}.experts.{e}.{letters[stacked[2]]}.weight"] = value[e]
        elif dense:
            out[f"{dense[1]}.{letters[dense[2]]}.weight"] = value
        else:
            out[name] = convolution_of_hub(name, value)
    return out


LFM2 = {
    "architectures": ["Lfm2ForCausalLM"],
    "block_auto_adjust_ff_dim": True,
    "block_dim": 72,
    "block_ff_dim": 150,
    "block_ffn_dim_multiplier": 1.1,
    "block_mlp_init_scale": 1.0,
    "block_multiple_of": 12,
    "block_norm_eps": 0.003,
    "block_out_init_scale": 1.0,
    "block_use_swiglu": True,
    "block_use_xavier_init": True,
    "bos_token_id": 1,
    "conv_L_cache": 3,
    "conv_bias": False,
    "conv_dim": 72,
    "conv_dim_out": 72,
    "conv_use_xavier_init": True,
    "eos_token_id": 7,
    "full_attn_idxs": [1, 3],
    "hidden_size": 72,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "model_type": "lfm2",
    "norm_eps": 0.003,
    "num_attention_heads": 6,
    "num_heads": 6,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rope_theta": 700.0,
    "torch_dtype": "float32",
    "transformers_version": "4.54.0.dev0",
    "use_cache": True,
    "use_pos_enc": True,
    "vocab_size": 283,
}
TYPES = ["conv", "full_attention", "conv", "full_attention", "conv"]
LFM2_UNREAD = {key: "a note of the authors: the model's code does not read it" for key in (
    "block_mlp_init_scale", "block_norm_eps", "block_out_init_scale", "block_use_swiglu", "block_use_xavier_init",
    "conv_dim", "conv_dim_out", "conv_use_xavier_init", "num_heads", "use_pos_enc")}
LFM2_UNREAD["block_dim"] = "repeats hidden_size"

LFM2_MOE = {
    "architectures": ["Lfm2MoeForCausalLM"],
    "bos_token_id": 1,
    "conv_L_cache": 3,
    "conv_bias": False,
    "eos_token_id": 7,
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_types": TYPES,
    "max_position_embeddings": 512,
    "model_type": "lfm2_moe",
    "moe_intermediate_size": 28,
    "norm_eps": 0.003,
    "norm_topk_prob": True,
    "num_attention_heads": 6,
    "num_dense_layers": 2,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rope_theta": 700.0,
    "routed_scaling_factor": 1.5,
    "torch_dtype": "float32",
    "transformers_version": "4.56.1",
    "use_cache": True,
    "use_expert_bias": True,
    "vocab_size": 283,
}

QWEN3_NEXT = {
    "architectures": ["Qwen3NextForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "decoder_sparse_step": 1,
    "eos_token_id": 2,
    "full_attention_interval": 3,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 12,
    "linear_num_key_heads": 3,
    "linear_num_value_heads": 6,
    "linear_value_head_dim": 20,
    "max_position_embeddings": 512,
    "mlp_only_layers": [],
    "model_type": "qwen3_next",
    "moe_intermediate_size": 28,
    "norm_topk_prob": True,
    "num_attention_heads": 4,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "partial_rotary_factor": 0.4,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "router_aux_loss_coef": 0.001,
    "shared_expert_intermediate_size": 36,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.57.0.dev0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 283,
}

QWEN3_5 = {
    "architectures": ["Qwen3_5ForConditionalGeneration"],
    "image_token_id": 5,
    "model_type": "qwen3_5",
    "text_config": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_output_gate": True,
        "dtype": "float32",
        "eos_token_id": 2,
        "full_attention_interval": 3,
        "head_dim": 20,
        "hidden_act": "silu",
        "hidden_size": 72,
        "initializer_range": 0.02,
        "intermediate_size": 104,
        "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention", "linear_attention"],
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 12,
        "linear_num_key_heads": 3,
        "linear_num_value_heads": 6,
        "linear_value_head_dim": 20,
        "mamba_ssm_dtype": "float32",
        "max_position_embeddings": 512,
        "mlp_only_layers": [],
        "model_type": "qwen3_5_text",
        "mtp_num_hidden_layers": 0,
        "mtp_use_dedicated_embeddings": False,
        "num_attention_heads": 4,
        "num_hidden_layers": 5,
        "num_key_value_heads": 2,
        "rms_norm_eps": 0.003,
        "rope_parameters": {
            "mrope_interleaved": True,
            "mrope_section": [2, 1, 1],
            "partial_rotary_factor": 0.4,
            "rope_theta": 700.0,
            "rope_type": "default",
        },
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": 283,
    },
    "tie_word_embeddings": False,
    "transformers_version": "5.0.0",
}
QWEN_UNREAD = {
    "mrope_section": "text has one position", "mrope_interleaved": "text has one position",
    "mtp_num_hidden_layers": "layers behind the last are passed over", "mamba_ssm_dtype": "states are f32",
    "mtp_use_dedicated_embeddings": "layers behind the last are passed over",
    "mlp_only_layers": "no layer has experts", "intermediate_size": "every layer has experts",
}


KIMI = {
    "architectures": ["KimiLinearForCausalLM"],
    "bos_token_id": 1,
    "dtype": "float32",
    "eos_token_id": 2,
    "first_k_dense_replace": 1,
    "head_dim": 12,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "kv_lora_rank": 40,
    "linear_attn_config": {
        "full_attn_layers": [3, 5],
        "head_dim": 20,
        "kda_layers": [1, 2, 4],
        "num_heads": 4,
        "short_conv_kernel_size": 4,
    },
    "mla_use_nope": True,
    "model_max_length": 512,
    "model_type": "kimi_linear",
    "moe_intermediate_size": 28,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "moe_router_activation_func": "sigmoid",
    "num_attention_heads": 6,
    "num_expert_group": 1,
    "num_experts": 16,
    "num_experts_per_token": 4,
    "num_hidden_layers": 5,
    "num_key_value_heads": 6,
    "num_nextn_predict_layers": 0,
    "num_shared_experts": 1,
    "q_lora_rank": None,
    "qk_nope_head_dim": 20,
    "qk_rope_head_dim": 16,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "routed_scaling_factor": 2.446,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "transformers_version": "4.56.2",
    "use_cache": True,
    "use_grouped_topk": True,
    "v_head_dim": 28,
    "vocab_size": 283,
}
KIMI_UNREAD = {
    **HEADS, "head_dim": "each kind of layer has its own", "model_max_length": "a limit", "rope_theta": "nothing is rotated",
    "rope_scaling": "nothing is rotated", "topk_group": "there is one group", "use_grouped_topk": "there is one group",
    "topk_method": "one kind is published", "num_nextn_predict_layers": "layers behind the last are passed over",
}


def kimi_names(weights, config):
    out = {}
    for name, value in join_heads(weights, config).items():
        name = re.sub(r"\.([qkv])_conv\.conv\.", r".\1_conv1d.", name)
        if re.search(r"\.mlp\.(switch_mlp|gate|shared_experts)\.", name):
            name = name.replace(".mlp.", ".block_sparse_moe.")
        name = name.replace(".mlp.e_score", ".block_sparse_moe.gate.e_score")
        out[name] = convolution_of_hub(name, value)
    return mixtral_names(out, config)


def offsets_from_one(weights):
    """The hub's norms are stored as w - 1, but for the one inside a linear attention."""
    last = ("input_layernorm.weight", "post_attention_layernorm.weight", "model.norm.weight", "q_norm.weight", "k_norm.weight")
    return {n: v - 1 if n.endswith(last) else v for n, v in weights.items()}


def qwen_names(weights, config):
    weights = separate_experts(offsets_from_one(weights), config)
    return {n: convolution_of_hub(n, v) for n, v in weights.items()}


def qwen35_names(weights, config):
    """The hub's names, with the experts of a layer in two tensors."""
    out, parts = {}, {}
    for name, value in offsets_from_one(weights).items():
        name = name.replace("language_model.model.", "model.language_model.").replace("language_model.lm_head", "lm_head")
        stacked = re.fullmatch(r"(.*\.mlp)\.switch_mlp\.(\w+)_proj\.weight", name)
        if stacked:
            parts.setdefault(stacked[1], {})[stacked[2]] = value
        else:
            out[name] = convolution_of_hub(name, value)
    for at, part in parts.items():
        out[at + ".experts.gate_up_proj"] = np.concatenate([part["gate"], part["up"]], axis=1)
        out[at + ".experts.down_proj"] = part["down"]
    return out


def add_all(add):
    add("lfm2", LFM2, tied=True, embed_std=0.4, to_hub=lfm2_names, ignored=LFM2_UNREAD)
    add("lfm2-bias-types", vary(LFM2, _drop=("full_attn_idxs",), conv_bias=True, layer_types=TYPES, conv_L_cache=5,
                                block_auto_adjust_ff_dim=False), tied=True, embed_std=0.4, to_hub=lfm2_names,
        mutations={"layer_types": TYPES[1:] + TYPES[:1]}, ignored=dict(
            LFM2_UNREAD, block_ffn_dim_multiplier="the width is not adjusted", block_multiple_of="the width is not adjusted"))
    add("lfm2-moe", LFM2_MOE, tied=True, embed_std=0.4, to_hub=lfm2_names, mutations={"layer_types": TYPES[1:] + TYPES[:1]})
    add("lfm2-moe-stacked", vary(LFM2_MOE, norm_topk_prob=False, use_expert_bias=False, routed_scaling_factor=1.0), tied=True,
        embed_std=0.4, mutations={"layer_types": TYPES[1:] + TYPES[:1]})
    add("qwen3-next", QWEN3_NEXT, to_hub=qwen_names, ignored={"intermediate_size": "no layer is dense"},
        mutations={"mlp_only_layers": [1], "decoder_sparse_step": 2})
    add("qwen3-next-stacked", vary(QWEN3_NEXT, linear_num_value_heads=3, norm_topk_prob=False, partial_rotary_factor=1.0,
                                   num_hidden_layers=4, full_attention_interval=2),  # as MLX stores it
        ignored={"intermediate_size": "no layer is dense"}, mutations={
            "mlp_only_layers": [1], "decoder_sparse_step": 2, "partial_rotary_factor": 0.5})
    add("qwen3-next-some-dense", vary(QWEN3_NEXT, decoder_sparse_step=2, mlp_only_layers=[3]), to_hub=qwen_names)
    types = QWEN3_5["text_config"]["layer_types"]
    add("qwen3.5", QWEN3_5, to_hub=qwen35_names, ignored=dict(QWEN_UNREAD, full_attention_interval="layer_types wins"),
        mutations={"layer_types": types[1:] + types[:1], "intermediate_size": 108})
    text = vary(QWEN3_5["text_config"], _drop=("layer_types", "intermediate_size"), model_type="qwen3_5_moe_text",
                num_experts=16, num_experts_per_tok=4, moe_intermediate_size=28, shared_expert_intermediate_size=36,
                norm_topk_prob=True, linear_num_value_heads=9, router_aux_loss_coef=0.001, output_router_logits=False)
    add("qwen3.5-moe", vary(QWEN3_5, architectures=["Qwen3_5MoeForConditionalGeneration"], model_type="qwen3_5_moe",
                            text_config=text), to_hub=qwen35_names,
        ignored={k: v for k, v in QWEN_UNREAD.items() if k != "intermediate_size"})
    refused = {"moe_router_activation_func": "softmax", "num_expert_group": 3, "mla_use_nope": False, "q_lora_rank": 52,
               "full_attn_layers": [3, 4], "kda_layers": [1, 2, 5]}
    add("kimi-linear", KIMI, to_hub=kimi_names, no_rewrite="the family's code lives on the hub", gains=GAINS, mutations=refused,
        ignored=KIMI_UNREAD)
    add("kimi-linear-stacked", vary(KIMI, num_shared_experts=2, moe_renormalize=False, first_k_dense_replace=0,
                                    linear_attn_config=dict(KIMI["linear_attn_config"], short_conv_kernel_size=3)),
        no_rewrite="the family's code lives on the hub", gains=GAINS, mutations=refused,
        ignored={**KIMI_UNREAD, "intermediate_size": "no layer is dense"})
