#!/usr/bin/env python3
"""Writes DeepSeek-V2-Lite-shaped GGUF files with random weights, for measurements of speed.

    bench/random_latent.py TYPE... --out FOLDER [--layers N] [--joined]    FOLDER/random-latent-TYPE.gguf

True layer shapes: width 2048, 16 heads of 128 + 64 with values of 128 from rows of 512 + 64, 64 experts of 1408 (6 used,
2 shared), the first layer dense. Queries are compressed to 1536 as in the larger DeepSeek 2, since llama.cpp knows
direct ones by their 27 layers. --joined: the expansion of keys and values in one tensor, as in older files.
"""
import argparse
import pathlib

import numpy as np
import random_model

D, HEADS, Q_RANK, KV_RANK, NOPE, ROPE, V = 2048, 16, 1536, 512, 128, 64, 128
FF, EXPERTS, USED, SHARED, EXPERT_FF = 10944, 64, 6, 2, 1408


def write_keys(w, args):
    import gguf

    w.add_name("random latent")
    w.add_context_length(32768)
    w.add_embedding_length(D)
    w.add_block_count(args.layers)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS if args.joined else 1)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_dimension_count(ROPE)
    w.add_q_lora_rank(Q_RANK)
    w.add_kv_lora_rank(KV_RANK)
    w.add_key_length(NOPE + ROPE if args.joined else KV_RANK + ROPE)
    w.add_value_length(V if args.joined else KV_RANK)
    if not args.joined:
        w.add_key_length_mla(NOPE + ROPE)
        w.add_value_length_mla(V)
    w.add_leading_dense_block_count(1)
    w.add_expert_count(EXPERTS)
    w.add_expert_used_count(USED)
    w.add_expert_shared_count(SHARED)
    w.add_expert_feed_forward_length(EXPERT_FF)
    w.add_expert_weights_scale(1.0)
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)
    w.add_vocab_size(args.vocabulary)
    w.add_tokenizer_model("no_vocab")


def matrices_of(i, joined):
    """name -> (stacked, rows, columns) of a layer."""
    m = {"attn_q_a": (0, Q_RANK, D), "attn_q_b": (0, HEADS * (NOPE + ROPE), Q_RANK), "attn_kv_a_mqa": (0, KV_RANK + ROPE, D),
         "attn_output": (0, D, HEADS * V)}
    if joined:
        m["attn_kv_b"] = (0, HEADS * (NOPE + V), KV_RANK)
    else:
        m.update(attn_k_b=(HEADS, KV_RANK, NOPE), attn_v_b=(HEADS, V, KV_RANK))
    if i == 0:
        m.update(ffn_gate=(0, FF, D), ffn_up=(0, FF, D), ffn_down=(0, D, FF))
    else:
        n = SHARED * EXPERT_FF
        m.update(ffn_gate_exps=(EXPERTS, EXPERT_FF, D), ffn_up_exps=(EXPERTS, EXPERT_FF, D), ffn_down_exps=(EXPERTS, D, EXPERT_FF),
                 ffn_gate_shexp=(0, n, D), ffn_up_shexp=(0, n, D), ffn_down_shexp=(0, D, n))
    return m


def write(path, mix, args):
    import gguf

    maker, w = random_model.Maker(args.seed), gguf.GGUFWriter(str(path), "deepseek2")
    write_keys(w, args)
    for name in ("token_embd", "output"):
        kind = random_model.type_of(name, mix, 0, args.layers)
        w.add_tensor(name + ".weight", maker.matrix(kind, args.vocabulary, D), raw_dtype=kind)
    w.add_tensor("output_norm.weight", np.ones(D, np.float32))
    for i in range(args.layers):
        for name, n in (("attn_norm", D), ("ffn_norm", D), ("attn_q_a_norm", Q_RANK), ("attn_kv_a_norm", KV_RANK)):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(n, np.float32))
        if i > 0:
            router = maker.random.standard_normal((EXPERTS, D)) / np.sqrt(D)
            w.add_tensor(f"blk.{i}.ffn_gate_inp.weight", router.astype(np.float32))
        for name, (stacked, n_row, n_col) in matrices_of(i, args.joined).items():
            kind = random_model.type_of(name, mix, i, args.layers)
            rows = maker.matrix(kind, max(stacked, 1) * n_row, n_col)
            w.add_tensor(f"blk.{i}.{name}.weight", rows.reshape(stacked, n_row, -1) if stacked else rows, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("types", nargs="+", metavar="TYPE")
    p.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    p.add_argument("--joined", action="store_true")
    for name, value in (("layers", 5), ("vocabulary", 32000), ("seed", 1)):
        p.add_argument(f"--{name}", type=int, default=value)
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for mix in map(str.lower, args.types):
        path = args.out / f"random-latent-{mix}{'-joined' if args.joined else ''}.gguf"
        write(path, mix, args)
        print(path)


if __name__ == "__main__":
    main()
