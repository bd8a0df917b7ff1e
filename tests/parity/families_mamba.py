"""The rows of families.py with Mamba 2 mixers."""
import numpy as np

from configs import vary

MAMBA2 = {
    "architectures": ["Mamba2ForCausalLM"],
    "bos_token_id": 0,
    "chunk_size": 256,
    "conv_kernel": 4,
    "eos_token_id": 0,
    "expand": 2,
    "head_dim": 18,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.1,
    "intermediate_size": 144,
    "layer_norm_epsilon": 1e-05,
    "model_type": "mamba2",
    "n_groups": 1,
    "norm_before_gate": True,
    "num_heads": 8,
    "num_hidden_layers": 3,
    "pad_token_id": 0,
    "rescale_prenorm_residual": False,
    "residual_in_fp32": True,
    "rms_norm": True,
    "state_size": 20,
    "tie_word_embeddings": False,
    "time_step_floor": 0.0001,
    "time_step_init_scheme": "random",
    "time_step_limit": [0.05, 2.5],
    "time_step_max": 0.1,
    "time_step_min": 0.001,
    "time_step_rank": 256,
    "time_step_scale": 1.0,
    "torch_dtype": "float32",
    "transformers_version": "4.44.0",
    "use_bias": False,
    "use_cache": True,
    "use_conv_bias": True,
    "vocab_size": 283,
}
TRAINING = {key: "for training" for key in (
    "chunk_size", "rescale_prenorm_residual", "residual_in_fp32", "time_step_floor", "time_step_init_scheme", "time_step_max",
    "time_step_min", "time_step_rank", "time_step_scale", "mamba_chunk_size")}


def hub_convolutions(weights, config):
    """[channels, taps, 1] as MLX stores them -> [channels, 1, taps]."""
    return {name: value.swapaxes(1, 2) if "conv1d.weight" in name else value for name, value in weights.items()}


FALCON_H1 = {
    "architectures": ["FalconH1ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_in_multiplier": 0.9,
    "attention_out_multiplier": 0.8,
    "bos_token_id": 1,
    "embedding_multiplier": 2.3,
    "eos_token_id": 2,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "key_multiplier": 0.64,
    "lm_head_multiplier": 0.7,
    "mamba_chunk_size": 128,
    "mamba_conv_bias": True,
    "mamba_d_conv": 4,
    "mamba_d_head": 18,
    "mamba_d_ssm": 108,
    "mamba_d_state": 20,
    "mamba_expand": 2,
    "mamba_n_groups": 2,
    "mamba_n_heads": 6,
    "mamba_norm_before_gate": False,
    "mamba_proj_bias": False,
    "mamba_rms_norm": False,
    "mamba_use_mlp": True,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "mlp_expansion_factor": 8,
    "mlp_multipliers": [0.88, 0.59],
    "model_type": "falcon_h1",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "num_logits_to_keep": 1,
    "pad_token_id": 0,
    "projectors_bias": False,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 900.0,
    "ssm_in_multiplier": 1.25,
    "ssm_multipliers": [0.85, 0.75, 0.65, 1.2, 0.9],
    "ssm_out_multiplier": 0.74,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.53.0",
    "use_cache": True,
    "vocab_size": 283,
}
# mlx-lm does not multiply keys by key_multiplier, nor values by attention_in_multiplier: the same by what it does read.
FALCON_REFERENCE = {"config": {"attention_in_multiplier": 0.9 * 0.64**0.5, "attention_out_multiplier": 0.8 * 0.9}}

GRANITE_HYBRID = {
    "architectures": ["GraniteMoeHybridForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_multiplier": 0.21,
    "bos_token_id": 0,
    "embedding_multiplier": 2.2,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 44,
    "layer_types": ["mamba", "mamba", "attention", "mamba"],
    "logits_scaling": 1.7,
    "mamba_chunk_size": 256,
    "mamba_conv_bias": True,
    "mamba_d_conv": 4,
    "mamba_d_head": 18,
    "mamba_d_state": 20,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_n_heads": 8,
    "mamba_proj_bias": False,
    "max_position_embeddings": 512,
    "model_type": "granitemoehybrid",
    "normalization_function": "rmsnorm",
    "num_attention_heads": 6,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 12,
    "output_router_logits": False,
    "pad_token_id": 0,
    "position_embedding_type": "nope",
    "residual_multiplier": 0.62,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 900.0,
    "router_aux_loss_coef": 0.0001,
    "shared_intermediate_size": 60,
    "tie_word_embeddings": True,
    "time_step_limit": [0.05, 2.5],
    "torch_dtype": "float32",
    "transformers_version": "4.56.0",
    "use_cache": True,
    "vocab_size": 283,
}

NEMOTRON_H = {
    "architectures": ["NemotronHForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "chunk_size": 128,
    "conv_kernel": 4,
    "eos_token_id": 12,
    "expand": 2,
    "head_dim": 20,
    "hidden_dropout": 0.0,
    "hidden_size": 72,
    "hybrid_override_pattern": "M-M*-",
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_norm_epsilon": 0.003,
    "mamba_head_dim": 18,
    "mamba_hidden_act": "silu",
    "mamba_num_heads": 8,
    "mamba_proj_bias": False,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "mlp_hidden_act": "relu2",
    "model_type": "nemotron_h",
    "n_groups": 2,
    "num_attention_heads": 6,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "num_logits_to_keep": 1,
    "pad_token_id": 0,
    "rescale_prenorm_residual": True,
    "residual_in_fp32": False,
    "rms_norm_eps": 0.003,
    "sliding_window": None,
    "ssm_state_size": 20,
    "tie_word_embeddings": False,
    "time_step_floor": 0.0001,
    "time_step_limit": [0.05, 2.5],
    "time_step_max": 0.1,
    "time_step_min": 0.001,
    "torch_dtype": "float32",
    "transformers_version": "4.48.0.dev0",
    "use_bias": False,
    "use_cache": True,
    "use_conv_bias": True,
    "use_mamba_kernels": True,
    "vocab_size": 283,
}


MAMBA = {
    "architectures": ["MambaForCausalLM"],
    "bos_token_id": 0,
    "conv_kernel": 4,
    "eos_token_id": 0,
    "expand": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.1,
    "intermediate_size": 144,
    "layer_norm_epsilon": 1e-05,
    "model_type": "mamba",
    "num_hidden_layers": 3,
    "pad_token_id": 0,
    "rescale_prenorm_residual": False,
    "residual_in_fp32": True,
    "state_size": 12,
    "tie_word_embeddings": True,
    "time_step_floor": 0.0001,
    "time_step_init_scheme": "random",
    "time_step_max": 0.1,
    "time_step_min": 0.001,
    "time_step_rank": 8,
    "time_step_scale": 1.0,
    "torch_dtype": "float32",
    "transformers_version": "4.39.0",
    "use_bias": False,
    "use_cache": True,
    "use_conv_bias": True,
    "vocab_size": 283,
}
JAMBA = {
    "architectures": ["JambaForCausalLM"],
    "attention_dropout": 0.0,
    "attn_layer_offset": 1,
    "attn_layer_period": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "expert_layer_offset": 1,
    "expert_layer_period": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "mamba_conv_bias": True,
    "mamba_d_conv": 4,
    "mamba_d_state": 12,
    "mamba_dt_rank": 8,
    "mamba_expand": 2,
    "mamba_proj_bias": False,
    "max_position_embeddings": 512,
    "model_type": "jamba",
    "num_attention_heads": 6,
    "num_experts": 12,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "num_logits_to_keep": 1,
    "output_router_logits": False,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "router_aux_loss_coef": 0.001,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.40.0",
    "use_cache": True,
    "use_mamba_kernels": True,
    "vocab_size": 283,
}


def jamba_names(weights, config):
    """The hub's convolution, and a tensor for each expert."""
    out = {}
    for name, value in hub_convolutions(weights, config).items():
        if ".switch_mlp." not in name:
            out[name] = value
            continue
        stem, part = name.split(".switch_mlp.")
        for e in range(len(value)):
            out[f"{stem}.experts.{e}.{part}"] = value[e]
    return out


def nemotron_names(weights, config):
    """mixer.switch_mlp.fc1 [n_expert, ...] -> mixer.experts.<e>.up_proj"""
    out = {}
    for name, value in hub_convolutions(weights, config).items():
        if ".switch_mlp." not in name:
            out[name] = value
            continue
        stem, part = name.split(".switch_mlp.")
        for e in range(len(value)):
            out[f"{stem}.experts.{e}.{'up' if 'fc1' in part else 'down'}_proj.weight"] = value[e]
    return out


def granite_names(weights, config):
    """The shared feed-forward and the experts with gate and up in one, as hubs have them."""
    out = hub_convolutions(weights, config)
    for name in [n for n in out if "mlp.gate_proj" in n]:
        up, down = name.replace("gate_proj", "up_proj"), name.replace("gate_proj", "down_proj")
        stem = name.split(".switch_mlp")[0] if "switch_mlp" in name else name.split(".mlp")[0] + ".shared_mlp"
        value = np.concatenate([out.pop(name), out.pop(up)], axis=-2)
        out[stem + ".input_linear.weight"] = value
        out[stem + ".output_linear.weight"] = out.pop(down)
    return out


def add_all(add):
    unread = dict(TRAINING, expand="the heads say it", intermediate_size="the heads say it", hidden_act="one kind is published",
                  norm_before_gate="the authors' code does not read it")
    limits = {"time_step_limit": [0.2, 2.5]}
    add("mamba2", MAMBA2, to_hub=hub_convolutions, ignored=unread, mutations=limits)
    add("mamba2-mlx", vary(MAMBA2, use_bias=True, use_conv_bias=False, tie_word_embeddings=True, conv_kernel=3), tied=True,
        ignored=unread, mutations=limits)
    unread = {key: why for key, why in TRAINING.items() if key != "time_step_rank"}
    unread["expand"] = "intermediate_size says it"
    add("mamba", MAMBA, tied=True, to_hub=hub_convolutions, embed_std=0.05, ignored=unread)
    add("mamba-auto-bias", vary(MAMBA, time_step_rank="auto", use_bias=True, use_conv_bias=False, tie_word_embeddings=False,
                                conv_kernel=3), embed_std=0.05, ignored=unread, mutations={"time_step_rank": 6})
    add("falcon-mamba", vary(MAMBA, model_type="falcon_mamba", mixer_rms_eps=0.003, tie_word_embeddings=False), embed_std=0.05,
        to_hub=hub_convolutions, ignored=unread)
    unread = {"num_logits_to_keep": "what to return, not what to compute", "use_mamba_kernels": "how to run, not what",
              "sliding_window": "the authors' code does not read it"}
    changes = {"attn_layer_offset": 2, "attn_layer_period": 2, "expert_layer_offset": 0, "expert_layer_period": 3}
    # mlx-lm takes the softmax of the chosen experts alone, the authors that of all.
    add("jamba", JAMBA, to_hub=jamba_names, reference={"routing": "softmax of all"}, ignored=unread, mutations=changes)
    dense = {key: "there are no experts" for key in ("expert_layer_offset", "expert_layer_period", "num_experts_per_tok")}
    add("jamba-dense", vary(JAMBA, num_experts=1, mamba_dt_rank="auto", mamba_proj_bias=True, mamba_conv_bias=False,
                            tie_word_embeddings=True, mamba_expand=3,
                            layers_block_type=["mamba", "attention", "mamba", "attention"]), tied=True,
        ignored=dict(unread, attn_layer_offset="layers_block_type says it", attn_layer_period="layers_block_type says it", **dense),
        no_rewrite="transformers drops layers_block_type",
        mutations={"num_experts": 4, "mamba_dt_rank": 6, "layers_block_type": ["attention", "mamba", "mamba", "attention"]})
    unread = dict(TRAINING, mamba_expand="the heads say it", mamba_d_ssm="the heads say it", mamba_use_mlp="one kind is published",
                  mlp_expansion_factor="intermediate_size says it", num_logits_to_keep="what to return, not what to compute",
                  mamba_norm_before_gate="there is no norm")
    add("falcon-h1", FALCON_H1, to_hub=hub_convolutions, reference=FALCON_REFERENCE, ignored=unread,
        mutations={"ssm_multipliers": [0.85, 0.75, 0.65, 1.2, 1.1]})
    add("falcon-h1-norm", vary(FALCON_H1, mamba_rms_norm=True, mamba_norm_before_gate=True, mamba_n_groups=1, mamba_d_conv=3,
                               tie_word_embeddings=True, mamba_conv_bias=False), tied=True, to_hub=hub_convolutions,
        reference=FALCON_REFERENCE, ignored={k: v for k, v in unread.items() if k != "mamba_norm_before_gate"})
    # As MLX stores it: most multipliers are in the weights.
    folded = ("attention_out_multiplier", "ssm_in_multiplier", "ssm_multipliers", "ssm_out_multiplier", "mlp_multipliers")
    add("falcon-h1-mlx", vary(FALCON_H1, key_multiplier=1.0, attention_in_multiplier=1.0, tie_word_embeddings=True), tied=True,
        no_rewrite="a convolution of MLX's shape", ignored=dict(unread, **{key: "in the weights" for key in folded}))
    unread = dict(TRAINING, mamba_expand="the heads say it", normalization_function="one kind is published")
    rotated = {"rope_theta": "there are no positions", "rope_scaling": "there are no positions"}
    add("granite-hybrid", GRANITE_HYBRID, tied=True, embed_std=0.3, to_hub=granite_names, mutations=dict(
        limits, position_embedding_type="rope", layer_types=["attention", "mamba", "attention", "mamba"]),
        ignored=dict(unread, **rotated))
    add("granite-hybrid-dense", vary(GRANITE_HYBRID, num_local_experts=0, num_experts_per_tok=0, intermediate_size=60,
                                     position_embedding_type="rope", tie_word_embeddings=False, mamba_conv_bias=False),
        embed_std=0.3, to_hub=granite_names, mutations=dict(
            limits, layer_types=["attention", "mamba", "attention", "mamba"], num_local_experts=4),
        ignored=dict(unread, intermediate_size="shared_intermediate_size says it", rope_scaling="the reference has none",
                     num_experts_per_tok="there are no experts"))
    unread = dict(TRAINING, expand="the heads say it", num_logits_to_keep="what to return, not what to compute",
                  use_mamba_kernels="how to run, not what", sliding_window="the authors' code does not read it",
                  mamba_hidden_act="one kind is published", use_bias="mamba_proj_bias says it",
                  rms_norm_eps="layer_norm_epsilon says it")
    add("nemotron-h", NEMOTRON_H, to_hub=hub_convolutions, ignored=unread, mutations=dict(
        limits, hybrid_override_pattern="M-*M-", mlp_hidden_act="gelu"))
    add("nemotron-h-listed", vary(NEMOTRON_H, hybrid_override_pattern=None, mamba_proj_bias=True, attention_bias=True, mlp_bias=True,
                                  use_conv_bias=False, layers_block_type=["mamba", "mlp", "mamba", "attention", "mlp"]),
        ignored=unread, mutations=dict(limits, hybrid_override_pattern="M-*M-", mlp_hidden_act="gelu",
                                       layers_block_type=["mamba", "mlp", "attention", "mamba", "mlp"]))
    moe = vary(NEMOTRON_H, hybrid_override_pattern="MEM*E", moe_intermediate_size=28, moe_shared_expert_intermediate_size=44,
               n_routed_experts=16, n_shared_experts=1, num_experts_per_tok=4, norm_topk_prob=True, routed_scaling_factor=2.5,
               n_group=1, topk_group=1)
    add("nemotron-h-moe", moe, to_hub=nemotron_names, ignored=dict(
        unread, topk_group="there is one group", intermediate_size="no layer is dense",
        n_shared_experts="moe_shared_expert_intermediate_size says it"), mutations=dict(
            limits, hybrid_override_pattern="MEME*", mlp_hidden_act="gelu", n_group=5))
    # Nemotron 3 Super: experts between projections of their own.
    add("nemotron-h-latent", vary(moe, moe_latent_size=36, moe_intermediate_size=52), to_hub=nemotron_names, ignored=dict(
        unread, topk_group="there is one group", intermediate_size="no layer is dense",
        n_shared_experts="moe_shared_expert_intermediate_size says it"), mutations=dict(
            limits, hybrid_override_pattern="MEME*", mlp_hidden_act="gelu", n_group=5, moe_latent_size=40))
    add("nemotron-h-latent-bias", vary(moe, moe_latent_size=36, mlp_bias=True, hybrid_override_pattern="ME-*E"), no_rewrite=
        "MLX's names", ignored=dict(unread, topk_group="there is one group",
                                    n_shared_experts="moe_shared_expert_intermediate_size says it"), mutations=dict(
            limits, hybrid_override_pattern="MEE*-", mlp_hidden_act="gelu", n_group=5, moe_latent_size=40))
    add("nemotron-h-moe-mlx", vary(moe, hybrid_override_pattern="ME-*E", n_group=4, topk_group=2, norm_topk_prob=False,
                                   n_shared_experts=None), no_rewrite="transformers wants a number of shared experts", ignored=dict(
        unread, moe_shared_expert_intermediate_size="there is none"), mutations=dict(
            limits, hybrid_override_pattern="MEE*-", mlp_hidden_act="gelu", n_shared_experts=1))
