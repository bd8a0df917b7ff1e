"""The table of families that the parity tests cover: one row per family and variant.

`config` is what the hub's config.json of that family holds (sizes made tiny and odd). Sizes that an
implementation could confuse differ from each other: query heads, key heads, widths, window, layers.
Epsilons are large so that they show; thetas are small so that slow rotations turn within the sequence.
"""
import copy
import dataclasses
from typing import Callable


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
    gains: dict = dataclasses.field(default_factory=dict)  # name part -> gain of that matrix
    to_hub: Callable = same_names
    ignored: dict = dataclasses.field(default_factory=dict)  # config key -> why a change of it is harmless
    mutations: dict = dataclasses.field(default_factory=dict)  # config key -> value; overrides the rule

    @property
    def text_config(self):
        return self.config.get("text_config", self.config)

    def key(self):
        return (self.config, self.n_tokens, self.norm_plus_one, self.tied, self.embed_std, self.head_gain,
                self.qk_gain, self.gains, self.name)


ALL = []


def add(name, config, **rest):
    ALL.append(Family(name, config, **rest))


def vary(config, _drop=(), **changes):
    """A copy of a config with some keys changed or dropped."""
    out = copy.deepcopy(config)
    for key in _drop:
        out.pop(key, None)
    out.update(changes)
    return out


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
    "beta_fast": 16.0, "beta_slow": 2.0, "factor": 4.0, "original_max_position_embeddings": 64,
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
    "query_pre_attn_scalar": 13,
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
add("phi3-su", vary(PHI3_LONG, rope_scaling=dict(PHI3_LONG["rope_scaling"], type="su")))
add("phi4-mini", vary(
    PHI3_LONG, hidden_size=96, partial_rotary_factor=0.75, tie_word_embeddings=True), tied=True,
    embed_std=0.35)
