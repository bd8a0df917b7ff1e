"""RWKV in GGUF's conventions (see tiny_gguf.py)."""
import re

import numpy as np

TYPES = ("rwkv7",)
PARTS = {  # of a layer, by the hub's names
    "attn_norm": "attn_norm", "ffn_norm": "attn_norm_2", "attn.g_norm": "time_mix_ln", "attn.k_k": "time_mix_k_k",
    "attn.k_a": "time_mix_k_a", "attn.r_k": "time_mix_r_k", "attn.r_proj": "time_mix_receptance", "attn.k_proj": "time_mix_key",
    "attn.v_proj": "time_mix_value", "attn.o_proj": "time_mix_output", "ffn.x_k": "channel_mix_lerp_k",
    "ffn.key": "channel_mix_key", "ffn.value": "channel_mix_value",
}
PARTS |= {f"attn.{part}_lora.lora.{i}": f"time_mix_{part}{i // 2 + 1}" for part in "wavg" for i in (0, 2)}
WHOLE = {"model.embeddings": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers.0.pre_norm": "token_embd_norm"}
VECTORS = ("k_k", "k_a", "r_k", "lerp_k")


def tensor_of(name, value):
    """(name, tensor) in GGUF"""
    stem, leaf = re.fullmatch(r"(.*?)(?:\.(weight|bias))?", name).groups()
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{leaf}", value
    layer, part = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", stem).groups()
    ours = PARTS[part]
    if leaf == "bias" and "lora" in part:  # vectors with names of their own
        return f"blk.{layer}.{ours[:-1]}0.weight", value
    if ours.endswith(VECTORS):
        value = value.reshape(-1)
    return f"blk.{layer}.{ours}.{leaf or 'weight'}", value


def prepare(c, weights):
    """(config as the writer reads it, tensors that are left, tensors by GGUF's names)"""
    ready, mixes = {}, {}
    for name, value in weights.items():
        mix = re.fullmatch(r"model\.layers\.(\d+)\.attn\.x_(\w)", name)
        if mix:
            mixes.setdefault(mix[1], {})[mix[2]] = value.reshape(1, 1, -1)
        else:
            ready.update([tensor_of(name, value)])
    for layer, parts in mixes.items():
        ready[f"blk.{layer}.time_mix_lerp_fused.weight"] = np.stack([parts[p] for p in "rwkvag"])
    for part in "012":  # converters put some others in the place of what the first layer lacks
        ready[f"blk.0.time_mix_v{part}.weight"] = ready[f"blk.0.time_mix_a{part}.weight"]
    c = dict(c, num_attention_heads=0, num_key_value_heads=0, layer_norm_eps=c["norm_eps"])
    for key in ("head_dim", "norm_eps"):
        del c[key]
    return c, {}, ready


def write_keys(w, c):
    w.number("wkv.head_size", c["head_dim"])
    w.number("attention.decay_lora_rank", c["decay_low_rank_dim"])
    w.number("attention.iclr_lora_rank", c["a_low_rank_dim"])
    w.number("attention.value_residual_mix_lora_rank", c["v_low_rank_dim"])
    w.number("attention.gate_lora_rank", c["gate_low_rank_dim"])


def is_unread(c, key):
    """Keys that converters write and that mean nothing."""
    return c["model_type"] in TYPES and key in ("attention.head_count", "attention.head_count_kv")


def rows(row, by_name):
    """llama.cpp takes 64 numbers of a head at once, and reads beyond shorter ones."""
    return [row("rwkv7", hidden_size=128, head_dim=64, num_heads=2, value_dim=None)]
