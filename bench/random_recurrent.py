#!/usr/bin/env python3
"""Writes GGUF files with recurrent layers and random weights, for measurements of speed.

    bench/random_recurrent.py FAMILY... --out FOLDER [--type q4_k] [--layers 12]    FOLDER/random-FAMILY.gguf

mamba2: width 2048, 64 heads of 64 with states of 128 (Mamba 2 1.3B). qwen35: layers of Qwen 3.5, three of a gated delta
rule (16 key heads, 32 value heads of 128) to one of attention, feed-forward 6144. rwkv7: width 2048, heads of 64 (RWKV-7 1.5B).
"""
import argparse
import pathlib

import numpy as np
import random_model

D, VOCABULARY = 2048, 32000


def mamba2(args):
    """(metadata, matrices, vectors as (shape, low, high)) of a family; names without ".weight" end in one."""
    n_head, head, state = 64, 64, 128
    inner = n_head * head
    keys = {"ssm.conv_kernel": 4, "ssm.inner_size": inner, "ssm.state_size": state, "ssm.time_step_rank": n_head,
            "ssm.group_count": 1, "attention.layer_norm_rms_epsilon": 1e-5, "attention.head_count": 0}
    matrices, vectors = {}, {}
    for i in range(args.layers):
        at = f"blk.{i}."
        matrices[at + "ssm_in"] = (2 * inner + 2 * state + n_head, D)
        matrices[at + "ssm_out"] = (D, inner)
        vectors |= {at + "attn_norm": ((D,), 1, 1), at + "ssm_conv1d": ((inner + 2 * state, 4), -0.5, 0.5),
                    at + "ssm_conv1d.bias": ((inner + 2 * state,), 0, 0), at + "ssm_a.": ((n_head, 1), -8, -1),
                    at + "ssm_d.": ((n_head, 1), 1, 1), at + "ssm_dt.bias": ((n_head,), -4, -2),
                    at + "ssm_norm": ((1, inner), 1, 1)}
    return keys, matrices, vectors


def qwen35(args):
    n_key, n_value, dk, dv, heads, kv_heads, d_head, ff = 16, 32, 128, 128, 16, 2, 256, 6144
    channels = 2 * n_key * dk + n_value * dv
    keys = {"ssm.conv_kernel": 4, "ssm.inner_size": n_value * dv, "ssm.state_size": dk, "ssm.time_step_rank": n_value,
            "ssm.group_count": n_key, "full_attention_interval": 4, "attention.layer_norm_rms_epsilon": 1e-6,
            "attention.head_count": heads, "attention.head_count_kv": kv_heads, "attention.key_length": d_head,
            "attention.value_length": d_head, "feed_forward_length": ff, "rope.freq_base": 1e7, "rope.dimension_count": 64,
            "rope.dimension_sections": [11, 11, 10, 0]}
    matrices, vectors = {}, {}
    for i in range(args.layers):
        at = f"blk.{i}."
        matrices |= {at + "ffn_gate": (ff, D), at + "ffn_up": (ff, D), at + "ffn_down": (D, ff)}
        vectors |= {at + "attn_norm": ((D,), 1, 1), at + "post_attention_norm": ((D,), 1, 1)}
        if i % 4 == 3:
            matrices |= {at + "attn_q": (2 * heads * d_head, D), at + "attn_k": (kv_heads * d_head, D),
                         at + "attn_v": (kv_heads * d_head, D), at + "attn_output": (D, heads * d_head)}
            vectors |= {at + "attn_q_norm": ((d_head,), 1, 1), at + "attn_k_norm": ((d_head,), 1, 1)}
            continue
        matrices |= {at + "attn_qkv": (channels, D), at + "attn_gate": (n_value * dv, D), at + "ssm_out": (D, n_value * dv),
                     at + "ssm_beta": (n_value, D), at + "ssm_alpha": (n_value, D)}
        vectors |= {at + "ssm_conv1d": ((channels, 4), -0.5, 0.5), at + "ssm_a.": ((n_value,), -4, -0.5),
                    at + "ssm_dt.bias": ((n_value,), -4, -2), at + "ssm_norm": ((dv,), 1, 1)}
    return keys, matrices, vectors


def rwkv7(args):
    ranks, ff = {"w": 96, "a": 96, "v": 64, "g": 256}, 4 * D
    keys = {"wkv.head_size": 64, "attention.decay_lora_rank": ranks["w"], "attention.iclr_lora_rank": ranks["a"],
            "attention.value_residual_mix_lora_rank": ranks["v"], "attention.gate_lora_rank": ranks["g"],
            "attention.layer_norm_epsilon": 1e-5, "attention.head_count": 0, "feed_forward_length": ff}
    matrices, vectors = {}, {"token_embd_norm": ((D,), 1, 1), "token_embd_norm.bias": ((D,), 0, 0), "output_norm.bias": ((D,), 0, 0)}
    for i in range(args.layers):
        at = f"blk.{i}."
        matrices |= {at + "time_mix_" + part: (D, D) for part in ("receptance", "key", "value", "output")}
        matrices |= {at + "channel_mix_key": (ff, D), at + "channel_mix_value": (D, ff)}
        for part, rank in ranks.items():
            rank = ranks["a"] if part == "v" and i == 0 else rank  # as converters fill what the first layer lacks
            vectors |= {f"{at}time_mix_{part}1": ((rank, D), -0.03, 0.03), f"{at}time_mix_{part}2": ((D, rank), -0.1, 0.1)}
            if part != "g":
                vectors[f"{at}time_mix_{part}0"] = ((D,), -2, 1)
        vectors |= {at + "time_mix_lerp_fused": ((6, 1, 1, D), 0, 1), at + "channel_mix_lerp_k": ((D,), 0, 1),
                    at + "time_mix_k_k": ((D,), 0.5, 1), at + "time_mix_k_a": ((D,), 0.5, 1), at + "time_mix_r_k": ((D,), -0.1, 0.1)}
        for norm in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            vectors |= {at + norm: ((D,), 1, 1), at + norm + ".bias": ((D,), 0, 0)}
    return keys, matrices, vectors


FAMILIES = {"mamba2": mamba2, "qwen35": qwen35, "rwkv7": rwkv7}


def add_key(w, name, value):
    add = {int: w.add_uint32, float: w.add_float32, list: w.add_array}[type(value)]
    add(f"{w.arch}.{name}", value)


def write(path, family, args):
    import gguf

    maker = random_model.Maker(1)
    w = gguf.GGUFWriter(str(path), family)
    keys, matrices, vectors = FAMILIES[family](args)
    matrices = {"token_embd": (VOCABULARY, D), "output": (VOCABULARY, D), **matrices}
    keys = {"context_length": 32768, "embedding_length": D, "block_count": args.layers, "vocab_size": VOCABULARY,
            "feed_forward_length": 0, **keys}
    w.add_name("random " + family)
    w.add_tokenizer_model("no_vocab")
    for name, value in keys.items():
        add_key(w, name, value)
    for name, (shape, low, high) in {"output_norm": ((D,), 1, 1), **vectors}.items():
        whole = name.removesuffix(".") if name.endswith(".") else name if name.endswith(".bias") else name + ".weight"
        w.add_tensor(whole, maker.random.uniform(low, high, shape).astype(np.float32))
    for name, shape in matrices.items():
        kind = random_model.type_of(name, args.type, 0, args.layers)
        w.add_tensor(name + ".weight", maker.matrix(kind, *shape), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("families", nargs="+", choices=FAMILIES)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--type", default="q4_k")
    p.add_argument("--layers", type=int, default=12)
    args = p.parse_args()
    for family in args.families:
        write(args.out / f"random-{family}.gguf", family, args)


if __name__ == "__main__":
    main()
