"""The rows of families.py with RWKV's mixers."""
from configs import vary

RWKV7 = {
    "a_low_rank_dim": 12,
    "architectures": ["RWKV7ForCausalLM"],
    "attn": None,
    "attn_mode": "chunk",
    "bos_token_id": 1,
    "decay_low_rank_dim": 20,
    "eos_token_id": 2,
    "fuse_cross_entropy": True,
    "fuse_norm": False,
    "gate_low_rank_dim": 28,
    "head_dim": 18,
    "hidden_act": "sqrelu",
    "hidden_ratio": 4.0,
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "max_position_embeddings": 512,
    "model_type": "rwkv7",
    "norm_bias": True,
    "norm_eps": 0.003,
    "norm_first": True,
    "num_heads": 4,
    "num_hidden_layers": 3,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.48.0",
    "use_cache": True,
    "v_low_rank_dim": 8,
    "value_dim": [72, 72, 72],
    "vocab_size": 283,
}
HUB_CODE = "the family's code lives on the hub, not in transformers"


def hub_shapes(weights, config):
    """Vectors flat where mlx-lm keeps them by head."""
    flat = ("attn.k_k", "attn.k_a", "g_norm.weight", "g_norm.bias")
    return {name: value.reshape(-1) if name.endswith(flat) else value for name, value in weights.items()}


def add_all(add):
    ignored = {"attn_mode": "how to run, not what", "fuse_cross_entropy": "only used while training", "fuse_norm": "how to run, not what",
               "hidden_ratio": "intermediate_size says it"}
    changes = {"attn": {"layers": [1], "num_heads": 4}, "hidden_act": "silu", "value_dim": [72, 72, 36], "num_heads": 6}
    add("rwkv7", RWKV7, to_hub=hub_shapes, no_rewrite=HUB_CODE, ignored=ignored, mutations=changes)
    # As MLX stores it, tied, and with the feed-forward's width by ratio.
    add("rwkv7-mlx", vary(RWKV7, tie_word_embeddings=True, head_dim=12, num_heads=None, value_dim=None, intermediate_size=160,
                          hidden_ratio=2.2), tied=True, no_rewrite=HUB_CODE, ignored=ignored,
        mutations=dict(changes, head_dim=18, num_heads=4, value_dim=[72, 36, 72]))
