#!/usr/bin/env python3
"""Writes GGUF files with random weights, shaped like Llama or like Qwen 3's mixture of experts, for measurements of speed.

    bench/random_model.py TYPE... --out FOLDER       FOLDER/random-TYPE.gguf; TYPE: q4_0, q4_k_m, iq4_xs, f16, ...

The default shape has 1.10 B weights, of which a prompt token multiplies 0.973 B: 16 layers, width 2048, feed-forward
8192, 32 heads on 8 of keys and values, 32000 tokens. Needs the Python packages gguf, numpy and llama-cpp-python, whose
libggml quantizes: a few rows of normal numbers per matrix, repeated in random order, so that codes and scales are
those of everyday and a file takes seconds. As llama.cpp's mixes have it, the output is q6_K below 6 bits, and q4_k_m
has q6_K for half of the down and value matrices.

    bench/random_model.py q4_k --experts 128 --layers 24 --heads 32 --head-dim 128 --kv-heads 4 --out FOLDER

has the layers of Qwen3-30B-A3B, half as many (--experts-used 8, --expert-ff 768). Embeddings are large and of many
kinds there, so that each token chooses experts of its own: a cache of experts finds no favourites.
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

    def matrix(self, kind, *shape):
        return self.quantized(kind, shape[-1])[self.random.integers(0, N_ROW, shape[:-1])]

    def embeddings(self, n_row, n_col, scale, n_kind=4096):
        import gguf

        rows = (scale * self.random.standard_normal((n_kind, n_col))).astype(np.float32)
        return gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)[self.random.integers(0, n_kind, n_row)]


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


def shapes(args):
    """name, shape and layer of each matrix; layer None: of the model."""
    d, d_head = args.width, args.head_dim or args.width // args.heads
    d_q, d_kv = args.heads * d_head, args.kv_heads * d_head
    yield "token_embd", (args.vocabulary, d), None
    yield "output", (args.vocabulary, d), None
    for i in range(args.layers):
        for name, *shape in (("attn_q", d_q, d), ("attn_k", d_kv, d), ("attn_v", d_kv, d), ("attn_output", d, d_q)):
            yield name, tuple(shape), i
        if args.experts:
            n, ff = args.experts, args.expert_ff
            yield "ffn_gate_inp", (n, d), i
            for name, *shape in (("ffn_gate_exps", n, ff, d), ("ffn_up_exps", n, ff, d), ("ffn_down_exps", n, d, ff)):
                yield name, tuple(shape), i
        else:
            for name, *shape in (("ffn_gate", args.ff, d), ("ffn_up", args.ff, d), ("ffn_down", d, args.ff)):
                yield name, tuple(shape), i


def norms(args):
    """name and length of each vector of ones."""
    yield "output_norm", args.width
    for i in range(args.layers):
        yield f"blk.{i}.attn_norm", args.width
        yield f"blk.{i}.ffn_norm", args.width
        if args.experts:
            yield f"blk.{i}.attn_q_norm", args.head_dim or args.width // args.heads
            yield f"blk.{i}.attn_k_norm", args.head_dim or args.width // args.heads


def kind_of(name, mix, i_layer, args):
    from gguf.constants import GGMLQuantizationType as T

    if name == "ffn_gate_inp":
        return T.F32
    if name == "token_embd" and args.experts:
        return T.Q8_0
    return type_of(name.removesuffix("_exps"), mix, i_layer or 0, args.layers)


def write_metadata(w, mix, args):
    d_head = args.head_dim or args.width // args.heads
    w.add_name(f"random {mix}")
    w.add_context_length(32768)
    w.add_embedding_length(args.width)
    w.add_block_count(args.layers)
    w.add_feed_forward_length(args.ff)
    w.add_head_count(args.heads)
    w.add_head_count_kv(args.kv_heads)
    w.add_key_length(d_head)
    w.add_value_length(d_head)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(d_head)
    w.add_vocab_size(args.vocabulary)
    w.add_tokenizer_model("no_vocab")
    if args.experts:
        w.add_expert_count(args.experts)
        w.add_expert_used_count(args.experts_used)
        w.add_expert_feed_forward_length(args.expert_ff)


def write(path, mix, args):
    """First what there will be, then tensor by tensor: a file may be larger than memory."""
    import gguf

    maker, w = Maker(args.seed), gguf.GGUFWriter(str(path), "qwen3moe" if args.experts else "llama")
    write_metadata(w, mix, args)
    matrices = [(name, shape, i, kind_of(name, mix, i, args)) for name, shape, i in shapes(args)]
    for name, n in norms(args):
        w.add_tensor_info(name + ".weight", (n,), np.dtype(np.float32), 4 * n)
    for name, shape, i, kind in matrices:
        block, n_bytes = gguf.constants.GGML_QUANT_SIZES[kind]
        stored = (*shape[:-1], shape[-1] // block * n_bytes)
        full = f"{name}.weight" if i is None else f"blk.{i}.{name}.weight"
        is_f32 = kind == gguf.GGMLQuantizationType.F32
        w.add_tensor_info(full, shape if is_f32 else stored, np.dtype(np.float32 if is_f32 else np.uint8),
                          int(np.prod(stored)), raw_dtype=None if is_f32 else kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for _, n in norms(args):
        w.write_tensor_data(np.ones(n, np.float32))
    for name, shape, i, kind in matrices:
        if name == "ffn_gate_inp":
            w.write_tensor_data(maker.random.standard_normal(shape).astype(np.float32))
        elif name == "token_embd" and args.experts:
            w.write_tensor_data(maker.embeddings(*shape, scale=8))
        else:
            w.write_tensor_data(maker.matrix(kind, *shape))
    w.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("types", nargs="+", metavar="TYPE")
    p.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    for name, value in (("layers", 16), ("width", 2048), ("ff", 8192), ("heads", 32), ("kv-heads", 8),
                        ("vocabulary", 32000), ("seed", 1), ("head-dim", 0), ("experts", 0), ("experts-used", 8),
                        ("expert-ff", 768)):
        p.add_argument(f"--{name}", type=int, default=value)
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for mix in map(str.lower, args.types):
        path = args.out / f"random-{mix}.gguf"
        write(path, mix, args)
        print(path)


if __name__ == "__main__":
    main()
