"""The table of families that the parity tests cover: one row per family and variant.

`config` is what the hub's config.json of that family holds (sizes made tiny and odd). Sizes that an
implementation could confuse differ from each other: query heads, key heads, widths, window, layers.
Epsilons are large so that they show; thetas are small so that slow rotations turn within the sequence.
"""
import dataclasses
from typing import Callable

import numpy as np

from configs import vary


def same_names(weights, config):
    """Most families: mlx-lm's parameter names are the hub's."""
    return weights


@dataclasses.dataclass
class Family:
    name: str
    config: dict
    n_tokens: int = 120
    bound: float = 1e-10  # of NMSE against the float64 reference
    norm_plus_one: bool = False  # the published norm weights are offsets from 1
    tied: bool = False  # no output matrix in the file
    extra: bool = False  # not promised: tested when Hearth knows the family
    embed_std: float = 0.5
    head_gain: float = 3.0
    qk_gain: float = 1.7
    qk_norm: tuple = (1.1, 2.7)  # range of the weights of norms on queries and keys
    gains: dict = dataclasses.field(default_factory=dict)  # name part -> gain of that matrix
    # Where mlx-lm differs from the published model: "windows": one per layer (None: all), "gelu": "tanh",
    # "cache": True when its layers share keys and values through the cache, "config": keys changed for it.
    reference: dict = dataclasses.field(default_factory=dict)
    # Why transformers cannot rewrite this config in its own form, or None when it can.
    no_rewrite: str | None = None
    to_hub: Callable = same_names
    ignored: dict = dataclasses.field(default_factory=dict)  # config key -> why a change of it is harmless
    mutations: dict = dataclasses.field(default_factory=dict)  # config key -> value; overrides the rule

    @property
    def text_config(self):
        return self.config.get("text_config", self.config)

    def key(self):
        return (self.config, self.n_tokens, self.norm_plus_one, self.tied, self.embed_std, self.head_gain,
                self.qk_gain, self.qk_norm, self.gains, self.name, self.reference, self.to_hub.__name__)


HUB_CODE = "the family's code lives on the hub, not in transformers"
ALL = []


def add(name, config, **rest):
    ALL.append(Family(name, config, **rest))


def by_name(name):
    return next(f for f in ALL if f.name == name)


# ---------------------------------------------------------------------------------------------
# Llama and those that are Llama with a switch

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 500.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.46.0",
    "use_cache": True,
    "vocab_size": 283,
}

add("llama", LLAMA)
add("llama-tied-headdim", vary(LLAMA, head_dim=20, tie_word_embeddings=True, num_attention_heads=3,
                               num_key_value_heads=1), tied=True, embed_std=0.4)
add("llama-mha-old", vary(LLAMA, _drop=("num_key_value_heads", "rope_theta", "attention_bias", "mlp_bias",
                                        "attention_dropout", "rope_scaling"), num_attention_heads=3))
add("llama-bias", vary(LLAMA, attention_bias=True, mlp_bias=True))
add("llama-linear", vary(LLAMA, rope_scaling={"type": "linear", "factor": 3.5}))
add("llama-llama3", vary(LLAMA, rope_scaling={
    "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
    "original_max_position_embeddings": 48, "rope_type": "llama3"}))
add("llama-yarn", vary(LLAMA, head_dim=24, rope_scaling={
    "beta_fast": 2.0, "beta_slow": 0.25, "factor": 4.0, "original_max_position_embeddings": 64,
    "rope_type": "yarn"}))

# Mistral's own folders say "mistral"; the window of 7B v0.1 is not applied by the reference.
MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "mistral",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.003,
    "rope_theta": 700.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.42.0",
    "use_cache": True,
    "vocab_size": 283,
}
add("mistral", MISTRAL)
add("mistral-nohead", vary(MISTRAL, _drop=("head_dim",)))

QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.003,
    "rope_theta": 800.0,
    "sliding_window": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 283,
}
add("qwen2", QWEN2)
add("qwen2-tied", vary(QWEN2, tie_word_embeddings=True), tied=True, embed_std=0.4)
add("qwen2-yarn", vary(QWEN2, rope_scaling={
    "factor": 4.0, "original_max_position_embeddings": 64, "type": "yarn"}))

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "max_window_layers": 36,
    "model_type": "qwen3",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 900.0,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 283,
}
add("qwen3", QWEN3, tied=True, embed_std=0.4)
add("qwen3-untied-yarn", vary(QWEN3, tie_word_embeddings=False, rope_scaling={
    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}))

# ---------------------------------------------------------------------------------------------
# Gemma

GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": [1, 106],
    "final_logit_softcapping": None,
    "head_dim": 20,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "gemma3_text",
    "num_attention_heads": 6,
    "num_hidden_layers": 7,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 23,
    "rms_norm_eps": 0.003,
    "rope_local_base_freq": 100.0,
    "rope_scaling": None,
    "rope_theta": 3000.0,
    "sliding_window": 24,
    "sliding_window_pattern": 6,
    "torch_dtype": "float32",
    "transformers_version": "4.50.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}
add("gemma3", GEMMA3, norm_plus_one=True, tied=True, embed_std=0.35)
add("gemma3-linear", vary(GEMMA3, rope_scaling={"factor": 8.0, "rope_type": "linear"}),
    norm_plus_one=True, tied=True, embed_std=0.35)

# ---------------------------------------------------------------------------------------------
# Phi

PHI3 = {
    "architectures": ["Phi3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "embd_pdrop": 0.0,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 256,
    "model_type": "phi3",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "original_max_position_embeddings": 256,
    "pad_token_id": 0,
    "resid_pdrop": 0.0,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.40.2",
    "use_cache": True,
    "vocab_size": 283,
}
add("phi3", PHI3)
PHI3_LONG = vary(
    PHI3, original_max_position_embeddings=64, max_position_embeddings=512, sliding_window=262144,
    rope_scaling={
        "long_factor": [1.1, 1.7, 2.3, 3.9, 5.5, 7.7],
        "short_factor": [1.0, 1.05, 1.1, 1.3, 1.5, 1.8],
        "type": "longrope"})
add("phi3-longrope", PHI3_LONG)
add("phi3-su", vary(PHI3_LONG, rope_scaling=dict(PHI3_LONG["rope_scaling"], type="su")),
    no_rewrite="transformers has dropped the old name of longrope")
# A sequence that fits the original context takes the short divisors; mlx-lm always takes the long ones.
add("phi3-longrope-short", PHI3_LONG, n_tokens=60, reference={"config": {
    "rope_scaling": dict(PHI3_LONG["rope_scaling"], long_factor=PHI3_LONG["rope_scaling"]["short_factor"])}})
add("phi4-mini", vary(
    PHI3_LONG, hidden_size=96, partial_rotary_factor=0.75, tie_word_embeddings=True), tied=True,
    embed_std=0.35)

add("phi", {
    "architectures": ["PhiForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "embd_pdrop": 0.0,
    "eos_token_id": 2,
    "hidden_act": "gelu_new",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_norm_eps": 0.003,
    "max_position_embeddings": 512,
    "model_type": "phi",
    "num_attention_heads": 3,
    "num_hidden_layers": 3,
    "num_key_value_heads": 3,
    "partial_rotary_factor": 0.35,
    "qk_layernorm": False,
    "resid_pdrop": 0.0,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.37.0",
    "use_cache": True,
    "vocab_size": 283,
}, extra=True)

# ---------------------------------------------------------------------------------------------
# Windows that transformers applies and mlx-lm does not: the mask of the reference is replaced

add("mistral-window", vary(MISTRAL, sliding_window=23), reference={"windows": [23] * 3})
add("phi3-window", vary(PHI3, sliding_window=23), reference={"windows": [23] * 3})
add("qwen2-window", vary(QWEN2, use_sliding_window=True, sliding_window=23, max_window_layers=1),
    reference={"windows": [None, 23, 23]})

# ---------------------------------------------------------------------------------------------
# Mistral 3 and Ministral 3

MISTRAL3_TEXT = {
    "attention_dropout": 0.0,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "mistral",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.003,
    "rope_theta": 700.0,
    "sliding_window": None,
    "use_cache": True,
    "vocab_size": 283,
}
MISTRAL3 = {
    "architectures": ["Mistral3ForConditionalGeneration"],
    "image_token_index": 10,
    "model_type": "mistral3",
    "multimodal_projector_bias": False,
    "projector_hidden_act": "gelu",
    "spatial_merge_size": 2,
    "text_config": MISTRAL3_TEXT,
    "torch_dtype": "float32",
    "transformers_version": "4.50.0.dev0",
    "vision_feature_layer": -1,
}
MINISTRAL3_TEXT = vary(
    MISTRAL3_TEXT, _drop=("rope_theta",), model_type="ministral3", max_position_embeddings=1024,
    tie_word_embeddings=False, rope_parameters={
        "beta_fast": 2.0, "beta_slow": 0.25, "factor": 8.0, "llama_4_scaling_beta": 0.35, "mscale": 1.0,
        "mscale_all_dim": 1.0, "original_max_position_embeddings": 48, "rope_theta": 700.0,
        "rope_type": "yarn", "type": "yarn"})


def with_image_tower(weights, config):
    """Adds tensors of an image tower, which a text model must pass over."""
    return dict(weights, **{
        "vision_tower.vision_model.embeddings.patch_embedding.weight": np.ones((4, 3, 2, 2), np.float32),
        "multi_modal_projector.linear_1.weight": np.ones((5, 7), np.float32)})


def language_model_inside(weights, config):
    """language_model.model.x -> model.language_model.x, as transformers 5 saves wrapped models."""
    out = {"model.vision_tower.patch_conv.weight": np.ones((4, 3, 2, 2), np.float32)}
    for name, value in weights.items():
        name = name.removeprefix("language_model.")
        out[name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name] = value
    return out


add("mistral3", MISTRAL3, to_hub=with_image_tower)
add("mistral3-inside", MISTRAL3, to_hub=language_model_inside)
add("ministral3", vary(MISTRAL3, text_config=MINISTRAL3_TEXT, vision_feature_layer=-1), n_tokens=170)
add("ministral3-mscale", vary(MISTRAL3, text_config=vary(
    MINISTRAL3_TEXT, rope_parameters=dict(MINISTRAL3_TEXT["rope_parameters"], mscale=1.6))))
add("ministral3-text", vary(MINISTRAL3_TEXT, architectures=["Ministral3ForCausalLM"]))

# ---------------------------------------------------------------------------------------------
# SmolLM 3

SMOLLM3 = {
    "architectures": ["SmolLM3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_types": ["full_attention"] * 6,
    "max_position_embeddings": 512,
    "max_window_layers": 28,
    "mlp_bias": False,
    "model_type": "smollm3",
    "no_rope_layer_interval": 4,
    "no_rope_layers": [1, 1, 1, 0, 1, 1],
    "num_attention_heads": 6,
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
    "pretraining_tp": 2,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 900.0,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.53.0.dev0",
    "use_cache": False,
    "use_sliding_window": False,
    "vocab_size": 283,
}
add("smollm3", SMOLLM3, tied=True, embed_std=0.4,
    ignored={"no_rope_layer_interval": "no_rope_layers is given and wins"})
add("smollm3-interval", vary(SMOLLM3, _drop=("no_rope_layers", "layer_types"), no_rope_layer_interval=3),
    tied=True, embed_std=0.4)

# ---------------------------------------------------------------------------------------------
# Gemma 1, 2, 3 wrapped, 4, 3n

GEMMA = {
    "architectures": ["GemmaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "head_dim": 20,
    "hidden_act": "gelu",
    "hidden_activation": None,
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "gemma",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "torch_dtype": "float32",
    "transformers_version": "4.38.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}
GEMMA_SHAPE = dict(norm_plus_one=True, tied=True, embed_std=0.35)
add("gemma", GEMMA, reference={"gelu": "tanh"}, **GEMMA_SHAPE)

GEMMA2 = vary(
    GEMMA, _drop=("hidden_act", "rope_scaling"), architectures=["Gemma2ForCausalLM"], attn_logit_softcapping=4.0,
    cache_implementation="hybrid", final_logit_softcapping=7.0, hidden_activation="gelu_pytorch_tanh",
    model_type="gemma2", num_hidden_layers=4, query_pre_attn_scalar=13, sliding_window=4096)
add("gemma2", GEMMA2, **GEMMA_SHAPE)
add("gemma2-window", vary(GEMMA2, sliding_window=21), reference={"windows": [21, None, 21, None]},
    **GEMMA_SHAPE)


GEMMA3_WRAPPED = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "boi_token_index": 5,
    "eoi_token_index": 6,
    "eos_token_id": [1, 106],
    "image_token_index": 7,
    "initializer_range": 0.02,
    "mm_tokens_per_image": 256,
    "model_type": "gemma3",
    "text_config": {
        # What the 4b model states; the rest are the family's defaults.
        "head_dim": 20,
        "hidden_size": 72,
        "intermediate_size": 104,
        "model_type": "gemma3_text",
        "num_attention_heads": 6,
        "num_hidden_layers": 7,
        "num_key_value_heads": 2,
        "query_pre_attn_scalar": 23,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 24,
        "vocab_size": 283,
    },
    "torch_dtype": "float32",
    "transformers_version": "4.50.0.dev0",
    "vocab_size": 283,
}
add("gemma3-wrapped", GEMMA3_WRAPPED, to_hub=with_image_tower, **GEMMA_SHAPE)

GEMMA4_TEXT = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_k_eq_v": False,
    "bos_token_id": 2,
    "enable_moe_block": False,
    "eos_token_id": 1,
    "final_logit_softcapping": 7.0,
    "global_head_dim": 24,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 72,
    "hidden_size_per_layer_input": 12,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention",
                    "full_attention", "sliding_attention", "sliding_attention", "full_attention"],
    "max_position_embeddings": 512,
    "model_type": "gemma4_text",
    "num_attention_heads": 6,
    "num_experts": None,
    "num_global_key_value_heads": None,
    "num_hidden_layers": 8,
    "num_key_value_heads": 2,
    "num_kv_shared_layers": 3,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_parameters": {
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 3000.0, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"},
    },
    "sliding_window": 24,
    "tie_word_embeddings": True,
    "top_k_experts": None,
    "use_bidirectional_attention": None,
    "use_cache": True,
    "use_double_wide_mlp": True,
    "vocab_size": 283,
    "vocab_size_per_layer_input": 283,
}
GEMMA4 = {
    "architectures": ["Gemma4ForConditionalGeneration"],
    "audio_config": None,
    "dtype": "float32",
    "eos_token_id": [1, 106],
    "image_token_id": 7,
    "initializer_range": 0.02,
    "model_type": "gemma4",
    "text_config": GEMMA4_TEXT,
    "tie_word_embeddings": True,
    "transformers_version": "5.5.0.dev0",
    "vision_config": None,
    "vocab_size": 283,
}


def gemma4_to_hub(weights, config):
    """language_model.model.x -> model.language_model.x, plus what the published files carry unused."""
    text = config["text_config"]
    out = {"model.vision_tower.patch_embedder.input_proj.weight": np.ones((4, 6), np.float32),
           "model.embed_vision.embedding_projection.weight": np.ones((5, 7), np.float32)}
    for name, value in weights.items():
        out[name.replace("language_model.model.", "model.language_model.", 1)] = value
    for i in range(text["num_hidden_layers"] - text["num_kv_shared_layers"], text["num_hidden_layers"]):
        prefix = f"model.language_model.layers.{i}.self_attn."
        head_dim = out[prefix + "q_norm.weight"].shape[0]
        rows = text["num_key_value_heads"] * head_dim
        for leaf in ("k_proj", "v_proj"):
            out[prefix + leaf + ".weight"] = np.full((rows, text["hidden_size"]), 0.1, np.float32)
        out[prefix + "k_norm.weight"] = np.ones(head_dim, np.float32)
    return out


GEMMA4_SHAPE = dict(tied=True, embed_std=0.35, qk_norm=(0.5, 1.0))
add("gemma4", GEMMA4, to_hub=gemma4_to_hub, **GEMMA4_SHAPE)
add("gemma4-text", vary(GEMMA4_TEXT, architectures=["Gemma4ForCausalLM"]), **GEMMA4_SHAPE)
# The large dense one: keys are values on full layers, no per-layer inputs, nothing shared.
add("gemma4-keys-are-values", vary(GEMMA4, text_config=vary(
    GEMMA4_TEXT, attention_k_eq_v=True, hidden_size_per_layer_input=0, num_kv_shared_layers=0,
    num_global_key_value_heads=1, num_hidden_layers=6, layer_types=GEMMA4_TEXT["layer_types"][:5] + [
        "full_attention"], use_double_wide_mlp=False)), to_hub=gemma4_to_hub, **GEMMA4_SHAPE)

GEMMA3N = {
    "architectures": ["Gemma3nForConditionalGeneration"],
    "model_type": "gemma3n",
    "text_config": {
        "activation_sparsity_pattern": [0.9, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0],
        "altup_active_idx": 0,
        "altup_coef_clip": 0.4,
        "altup_correct_scale": True,
        "altup_num_inputs": 4,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "final_logit_softcapping": 7.0,
        "head_dim": 20,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 72,
        "hidden_size_per_layer_input": 12,
        "initializer_range": 0.02,
        "intermediate_size": [104] * 7,
        "laurel_rank": 10,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention",
                        "full_attention", "sliding_attention", "full_attention"],
        "max_position_embeddings": 512,
        "model_type": "gemma3n_text",
        "num_attention_heads": 6,
        "num_hidden_layers": 7,
        "num_key_value_heads": 2,
        "num_kv_shared_layers": 2,
        "rms_norm_eps": 0.003,
        "rope_local_base_freq": 100.0,
        "rope_scaling": None,
        "rope_theta": 3000.0,
        "sliding_window": 24,
        "use_cache": True,
        "vocab_size": 283,
        "vocab_size_per_layer_input": 270,
    },
    "torch_dtype": "float32",
    "transformers_version": "4.53.0.dev0",
}
add("gemma3n", GEMMA3N, tied=True, embed_std=0.35, qk_norm=(0.5, 1.0), reference={"cache": True}, extra=True,
    gains={"prediction_coefs": 0.5, "correction_coefs": 0.5, "modality_router": 60.0})

# ---------------------------------------------------------------------------------------------
# Cohere

COHERE = {
    "architectures": ["CohereForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 5,
    "eos_token_id": 6,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_norm_eps": 0.003,
    "logit_scale": 0.8,
    "max_position_embeddings": 512,
    "model_type": "cohere",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rope_theta": 700.0,
    "torch_dtype": "float32",
    "transformers_version": "4.38.2",
    "use_cache": True,
    "use_qk_norm": False,
    "vocab_size": 283,
}
add("cohere", COHERE, tied=True)
add("cohere-qknorm", vary(COHERE, use_qk_norm=True), tied=True)
add("cohere-bias", vary(COHERE, attention_bias=True, num_attention_heads=3, num_key_value_heads=3), tied=True)

COHERE2 = vary(
    COHERE, _drop=("use_qk_norm",), architectures=["Cohere2ForCausalLM"], cache_implementation="hybrid",
    head_dim=12, model_type="cohere2", num_hidden_layers=5, order_of_interleaved_layers="local_attn_first",
    position_embedding_type="rope_gptj", rope_scaling=None, rotary_pct=1.0, sliding_window=24,
    sliding_window_pattern=4, use_embedding_sharing=True, use_gated_activation=True, use_parallel_block=True,
    use_parallel_embedding=True)
add("cohere2", COHERE2, tied=True)

# ---------------------------------------------------------------------------------------------
# OLMo, Granite, GLM, StarCoder, EXAONE, Seed, ERNIE, Hunyuan, MiniCPM

OLMO2 = {
    "architectures": ["Olmo2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "eos_token_id": 5,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "olmo2",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.47.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}
add("olmo2", OLMO2)
add("olmo2-bias", vary(OLMO2, attention_bias=True))
OLMO3 = vary(
    OLMO2, architectures=["Olmo3ForCausalLM"], model_type="olmo3", num_hidden_layers=5, sliding_window=24,
    layer_types=["sliding_attention"] * 3 + ["full_attention", "sliding_attention"])
OLMO3_THETA = "transformers gives sliding layers the published theta whatever the config says"
add("olmo3", OLMO3, no_rewrite=OLMO3_THETA)
add("olmo3-yarn", vary(OLMO3, rope_scaling={
    "attention_factor": 1.138629436111989, "beta_fast": 2.0, "beta_slow": 0.25, "factor": 4.0,
    "original_max_position_embeddings": 64, "rope_type": "yarn"}), no_rewrite=OLMO3_THETA)

add("granite", {
    "architectures": ["GraniteForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_multiplier": 0.41,
    "bos_token_id": 0,
    "embedding_multiplier": 5.0,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "logits_scaling": 1.7,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "model_type": "granite",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "residual_multiplier": 0.45,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.47.0",
    "use_cache": True,
    "vocab_size": 283,
}, tied=True, embed_std=0.4)

GLM4 = {
    "architectures": ["Glm4ForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": [5, 6],
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "glm4",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 0.003,
    "rope_theta": 700.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.52.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}
add("glm4", GLM4)
add("glm4-nobias", vary(GLM4, attention_bias=False))
# mlx-lm turns the whole head in glm whatever partial_rotary_factor says: the row keeps to 1.0.
add("glm", vary(GLM4, architectures=["GlmForCausalLM"], model_type="glm", partial_rotary_factor=1.0), extra=True)

STARCODER2 = {
    "architectures": ["Starcoder2ForCausalLM"],
    "attention_dropout": 0.1,
    "bos_token_id": 0,
    "embedding_dropout": 0.1,
    "eos_token_id": 0,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 72,
    "initializer_range": 0.018042,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "mlp_type": "default",
    "model_type": "starcoder2",
    "norm_epsilon": 0.003,
    "norm_type": "layer_norm",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "residual_dropout": 0.1,
    "rope_theta": 700.0,
    "sliding_window": 4096,
    "torch_dtype": "float32",
    "transformers_version": "4.37.0.dev0",
    "use_bias": True,
    "use_cache": True,
    "vocab_size": 283,
}
add("starcoder2", STARCODER2, tied=True, embed_std=0.4, reference={"gelu": "tanh"})
add("starcoder2-window", vary(STARCODER2, sliding_window=23), tied=True, embed_std=0.4,
    reference={"gelu": "tanh", "windows": [23] * 3})

EXAONE4 = {
    "architectures": ["Exaone4ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 5,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_types": ["sliding_attention"] * 3 + ["full_attention", "sliding_attention"],
    "max_position_embeddings": 512,
    "model_type": "exaone4",
    "num_attention_heads": 6,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 48, "rope_type": "llama3"},
    "rope_theta": 700.0,
    "sliding_window": 24,
    "sliding_window_pattern": "LLLG",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.54.0.dev0",
    "use_cache": True,
    "vocab_size": 283,
}
add("exaone4", EXAONE4)
add("exaone4-pattern", vary(EXAONE4, _drop=("layer_types",)),
    no_rewrite="transformers reads only layer_types where the pattern is a string")
add("exaone4-full", vary(EXAONE4, sliding_window=None, sliding_window_pattern=None, num_hidden_layers=3,
                         layer_types=["full_attention"] * 3, tie_word_embeddings=True), tied=True, embed_std=0.4)

add("exaone", {
    "activation_function": "silu",
    "architectures": ["ExaoneForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "embed_dropout": 0.0,
    "eos_token_id": 5,
    "head_dim": 12,
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_norm_epsilon": 0.003,
    "max_position_embeddings": 512,
    "model_type": "exaone",
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_layers": 3,
    "pad_token_id": 0,
    "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 48, "rope_type": "llama3"},
    "rope_theta": 700.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.43.0",
    "use_cache": True,
    "vocab_size": 283,
}, extra=True, no_rewrite=HUB_CODE)

SEED = {
    "architectures": ["SeedOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.1,
    "attention_out_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "model_type": "seed_oss",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 1,
    "residual_dropout": 0.1,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"rope_type": "default"},
    "rope_theta": 700.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.55.0",
    "use_cache": True,
    "vocab_size": 283,
}
add("seed-oss", SEED)
add("seed-oss-biases", vary(SEED, attention_bias=False, attention_out_bias=True, mlp_bias=True))

ERNIE = {
    "architectures": ["Ernie4_5_ForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "ernie4_5",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_theta": 700.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.54.0.dev0",
    "use_bias": False,
    "use_cache": False,
    "vocab_size": 283,
}
add("ernie4_5", ERNIE, tied=True, embed_std=0.4)
add("ernie4_5-bias", vary(ERNIE, use_bias=True, tie_word_embeddings=False))

HUNYUAN = {
    "architectures": ["HunYuanDenseV1ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_head_dim": 20,
    "bos_token_id": 1,
    "cla_share_factor": 2,
    "eos_token_id": 5,
    "head_dim": 20,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "model_type": "hunyuan_v1_dense",
    "norm_type": "rms",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 0.003,
    "rope_scaling": {"alpha": 50.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
                     "mscale_all_dim": 1.0, "type": "dynamic"},
    "rope_theta": 700.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.41.2",
    "use_cache": True,
    "use_cla": False,
    "use_qk_norm": True,
    "use_rotary_pos_emb": True,
    "vocab_size": 283,
}
add("hunyuan-v1-dense", HUNYUAN, tied=True, embed_std=0.4)
add("hunyuan-v1-dense-plain", vary(HUNYUAN, rope_scaling=None, use_qk_norm=False, attention_bias=True,
                                   tie_word_embeddings=False))

MINICPM = {
    "architectures": ["MiniCPMForCausalLM"],
    "bos_token_id": 1,
    "dim_model_base": 40,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 72,
    "initializer_range": 0.1,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "minicpm",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.003,
    "rope_scaling": None,
    "rope_theta": 700.0,
    "scale_depth": 0.9,
    "scale_emb": 6,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.36.0",
    "use_cache": True,
    "vocab_size": 283,
}
add("minicpm", MINICPM, no_rewrite=HUB_CODE)
# MiniCPM-2B: no output matrix in the file and no key that says so.
add("minicpm-nohead", vary(MINICPM, _drop=("tie_word_embeddings",)), tied=True, embed_std=0.4,
    no_rewrite=HUB_CODE)

# ---------------------------------------------------------------------------------------------
# Not promised yet: tested when Hearth knows them

add("helium", {
    "architectures": ["HeliumForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": 2, "head_dim": 12, "hidden_act": "silu", "hidden_size": 72,
    "initializer_range": 0.02, "intermediate_size": 104, "max_position_embeddings": 512, "mlp_bias": False,
    "model_type": "helium", "num_attention_heads": 6, "num_hidden_layers": 3, "num_key_value_heads": 2,
    "pad_token_id": 3, "rms_norm_eps": 0.003, "rope_theta": 700.0, "tie_word_embeddings": False,
    "torch_dtype": "float32", "transformers_version": "4.48.0", "use_cache": True, "vocab_size": 283,
}, extra=True)

STABLELM = {
    "architectures": ["StableLmForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 0,
    "hidden_act": "silu", "hidden_dropout": 0.0, "hidden_size": 72, "initializer_range": 0.02,
    "intermediate_size": 104, "layer_norm_eps": 0.003, "max_position_embeddings": 512,
    "model_type": "stablelm", "num_attention_heads": 6, "num_hidden_layers": 3, "num_key_value_heads": 2,
    "partial_rotary_factor": 0.5, "qk_layernorm": False, "rope_scaling": None, "rope_theta": 700.0,
    "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.38.0",
    "use_cache": True, "use_parallel_residual": False, "use_qkv_bias": True, "vocab_size": 283,
}
add("stablelm", STABLELM, extra=True)
add("stablelm-parallel", vary(STABLELM, qk_layernorm=True, use_parallel_residual=True, use_qkv_bias=False),
    extra=True)

add("nemotron", {
    "architectures": ["NemotronForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 2, "eos_token_id": 3, "head_dim": 20, "hidden_act": "relu2", "hidden_size": 72,
    "initializer_range": 0.0134, "intermediate_size": 104, "max_position_embeddings": 512, "mlp_bias": False,
    "model_type": "nemotron", "norm_eps": 0.003, "num_attention_heads": 6, "num_hidden_layers": 3,
    "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "rope_theta": 700.0,
    "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.44.0",
    "use_cache": True, "vocab_size": 283,
}, extra=True, norm_plus_one=True)

add("internlm2", {
    "architectures": ["InternLM2ForCausalLM"], "bias": False, "bos_token_id": 1, "eos_token_id": 2,
    "hidden_act": "silu", "hidden_size": 72, "initializer_range": 0.02, "intermediate_size": 104,
    "max_position_embeddings": 512, "model_type": "internlm2", "num_attention_heads": 6,
    "num_hidden_layers": 3, "num_key_value_heads": 2, "pad_token_id": 2, "rms_norm_eps": 0.003,
    "rope_scaling": None, "rope_theta": 700.0, "tie_word_embeddings": False, "torch_dtype": "float32",
    "transformers_version": "4.41.0", "use_cache": True, "vocab_size": 283,
}, extra=True, no_rewrite=HUB_CODE)

add("internlm3", {
    "architectures": ["InternLM3ForCausalLM"], "attention_dropout": 0.0, "bias": False, "bos_token_id": 1,
    "eos_token_id": 2, "head_dim": 12, "hidden_act": "silu", "hidden_size": 72, "initializer_range": 0.02,
    "intermediate_size": 104, "max_position_embeddings": 512, "model_type": "internlm3",
    "num_attention_heads": 6, "num_hidden_layers": 3, "num_key_value_heads": 2, "pad_token_id": 2,
    "qkv_bias": False, "rms_norm_eps": 0.003, "rope_scaling": None, "rope_theta": 700.0,
    "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.47.1",
    "use_cache": True, "vocab_size": 283,
}, extra=True)

# ---------------------------------------------------------------------------------------------
# Routed experts

import families_hybrid  # noqa: E402
import families_latent  # noqa: E402
import families_mamba  # noqa: E402
import families_moe  # noqa: E402
import families_rwkv  # noqa: E402

families_moe.add_all(add)
families_hybrid.add_all(add)
families_latent.add_all(add)
families_mamba.add_all(add)
families_rwkv.add_all(add)
