#!/usr/bin/env python3
"""Writes Llama-shaped GGUF files with random weights, for measurements of speed.

    bench/random_model.py TYPE... --out FOLDER       FOLDER/random-TYPE.gguf; TYPE: q4_0, q4_k_m, iq4_xs, f16, ...

The default shape has 1.10 B weights, of which a prompt token multiplies 0.973 B: 16 layers, width 2048, feed-forward
8192, 32 heads on 8 of keys and values, 32000 tokens. Needs the Python packages gguf, numpy and llama-cpp-python, whose
libggml quantizes: a few rows of normal numbers per matrix, repeated in random order, so that codes and scales are
those of everyday and a file takes seconds. As llama.cpp's mixes have it, the output is q6_K below 6 bits, and q4_k_m
has q6_K for half of the down and value matrices.
"""
import argparse
import ctypes
import importlib.util
import pathlib

import numpy as np

N_ROW = 128  # distinct rows per matrix


def libggml():
    folder = pathlib.Path(importlib.util.find_spec("llama_cpp").origin).parent / "lib"
    lib = ctypes.CDLL(str(next(f for f in folder.iterdir() if f.name in ("libggml-base.so", "libggml-base.dylib"))))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    return lib


class Maker:
    def __init__(self, seed):
        self.lib, self.random, self.rows = libggml(), np.random.default_rng(seed), {}

    def quantized(self, kind, n_col):
        """N_ROW rows of n_col normal numbers as the bytes of a type."""
        import gguf

        if (kind, n_col) not in self.rows:
            block, n_bytes = gguf.constants.GGML_QUANT_SIZES[kind]
            x = (self.random.standard_normal((N_ROW, n_col)) / np.sqrt(n_col)).astype(np.float32)
            out = np.zeros((N_ROW, n_col // block * n_bytes), np.uint8)
            even = np.ones(n_col, np.float32)  # some types insist on an importance
            pointer = [ctypes.c_void_p(a.ctypes.data) for a in (x, out, even)]
            done = self.lib.ggml_quantize_chunk(ctypes.c_int(kind.value), pointer[0], pointer[1], ctypes.c_int64(0),
                                                ctypes.c_int64(N_ROW), ctypes.c_int64(n_col), pointer[2])
            assert done == out.size, kind
            self.rows[kind, n_col] = out
        return self.rows[kind, n_col]

    def matrix(self, kind, n_row, n_col):
        return self.quantized(kind, n_col)[self.random.integers(0, N_ROW, n_row)]


def type_of(name, mix, i_layer, n_layer):
    """As llama.cpp's mixes do, roughly."""
    from gguf.constants import GGMLQuantizationType as T

    if mix == "q4_k_m":
        half = i_layer < n_layer // 8 or i_layer >= 7 * n_layer // 8 or (i_layer - n_layer // 8) % 3 == 2
        return T.Q6_K if name == "output" or (half and name in ("ffn_down", "attn_v")) else T.Q4_K
    kind = next(t for t in T if t.name.lower() == mix)
    if name == "output" and kind not in (T.Q8_0, T.F16, T.BF16, T.F32):
        return T.Q6_K
    return kind


def write(path, mix, args):
    import gguf

    maker, w = Maker(args.seed), gguf.GGUFWriter(str(path), "llama")
    d, ff, d_kv = args.width, args.ff, args.width // args.heads * args.kv_heads
    w.add_name(f"random {mix}")
    w.add_context_length(32768)
    w.add_embedding_length(d)
    w.add_block_count(args.layers)
    w.add_feed_forward_length(ff)
    w.add_head_count(args.heads)
    w.add_head_count_kv(args.kv_heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(d // args.heads)
    w.add_vocab_size(args.vocabulary)
    w.add_tokenizer_model("no_vocab")

    def add(name, n_row, n_col, i_layer=0):
        kind = type_of(name.split(".")[-2], mix, i_layer, args.layers)
        w.add_tensor(name, maker.matrix(kind, n_row, n_col), raw_dtype=kind)

    add("token_embd.weight", args.vocabulary, d)
    add("output.weight", args.vocabulary, d)
    w.add_tensor("output_norm.weight", np.ones(d, np.float32))
    for i in range(args.layers):
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(d, np.float32))
        for name, n_row, n_col in (("attn_q", d, d), ("attn_k", d_kv, d), ("attn_v", d_kv, d), ("attn_output", d, d),
                                   ("ffn_gate", ff, d), ("ffn_up", ff, d), ("ffn_down", d, ff)):
            add(f"blk.{i}.{name}.weight", n_row, n_col, i)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("types", nargs="+", metavar="TYPE")
    p.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    for name, value in (("layers", 16), ("width", 2048), ("ff", 8192), ("heads", 32), ("kv-heads", 8),
                        ("vocabulary", 32000), ("seed", 1)):
        p.add_argument(f"--{name}", type=int, default=value)
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for mix in map(str.lower, args.types):
        path = args.out / f"random-{mix}.gguf"
        write(path, mix, args)
        print(path)


if __name__ == "__main__":
    main()
