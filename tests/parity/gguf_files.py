"""Rewrites GGUF files: dequantized to float32, or SmolLM2 zero-padded to a width that 256 divides.

    gguf_files.py dequantize SOURCE TARGET
    gguf_files.py pad-smollm2 SOURCE TARGET
    gguf_files.py quantize SOURCE TARGET KIND     with llama-cpp-python: Q4_K_M, IQ4_XS, ...
"""
import math
import sys

import numpy as np


def copy_metadata(reader, writer, changes=None):
    """Every key but the ones that the writer makes itself; `changes` replaces values."""
    import gguf

    changes = changes or {}
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, changes.get(field.name, field.contents()), kind, inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def architecture(reader):
    return reader.fields["general.architecture"].contents()


def tensor_f32(tensor):
    """A tensor of any type as float32, in numpy's order of dimensions."""
    import gguf

    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(
        [int(n) for n in reversed(tensor.shape)])


def write(path, arch, reader, tensors, changes=None):
    import gguf

    writer = gguf.GGUFWriter(str(path), arch)
    copy_metadata(reader, writer, changes)
    for name, value in tensors:
        writer.add_tensor(name, np.ascontiguousarray(value, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def dequantize(source, target):
    """The same model with every tensor in float32."""
    import gguf

    reader = gguf.GGUFReader(str(source))
    write(target, architecture(reader), reader, ((t.name, tensor_f32(t)) for t in reader.tensors))


def pad_rows(value, n):
    return np.concatenate([value, np.zeros((n - value.shape[0], *value.shape[1:]), np.float32)])


def pad_columns(value, n):
    return np.concatenate([value, np.zeros((value.shape[0], n - value.shape[1]), np.float32)], axis=1)


def pad_smollm2(source, target):
    """SmolLM2-135M (576 wide, 9/3 heads of 64) as a model of width 768 with 12/4 heads that answers the same.

    The new elements of every hidden row are zero and stay zero. RMS norm then divides by 768 instead of 576:
    the mean of squares is r = 576/768 of what it was, so with eps * r the norm comes out 1/sqrt(r) larger,
    which the weights take back (w * sqrt(r)). New heads have zero keys, values and output columns.
    """
    import gguf

    reader = gguf.GGUFReader(str(source))
    old, new, head = 576, 768, 64
    r = old / new
    tensors = []
    for t in reader.tensors:
        value, name = tensor_f32(t), t.name
        if name.endswith("norm.weight"):
            value = np.concatenate([value * np.float32(math.sqrt(r)), np.ones(new - old, np.float32)])
        elif name.endswith("attn_q.weight"):
            value = pad_columns(pad_rows(value, 12 * head), new)
        elif name.endswith(("attn_k.weight", "attn_v.weight")):
            value = pad_columns(pad_rows(value, 4 * head), new)
        elif name.endswith("attn_output.weight"):
            value = pad_columns(pad_rows(value, new), 12 * head)
        elif name.endswith("ffn_down.weight"):
            value = pad_rows(value, new)
        else:  # token_embd, output, ffn_gate, ffn_up: read hidden rows
            value = pad_columns(value, new)
        tensors.append((name, value))
    eps = reader.fields["llama.attention.layer_norm_rms_epsilon"].contents()
    write(target, "llama", reader, tensors, {
        "llama.embedding_length": new, "llama.attention.head_count": 12, "llama.attention.head_count_kv": 4,
        "llama.attention.layer_norm_rms_epsilon": eps * r})


def quantize(source, target, kind):
    """Quantizes a float32 file with llama.cpp: "Q4_K_M", "IQ4_XS", ..."""
    import llama_cpp as lib

    how = lib.llama_model_quantize_default_params()
    how.ftype = getattr(lib, "LLAMA_FTYPE_MOSTLY_" + kind)
    how.nthread = 2
    how.allow_requantize = True
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), how) != 0:
        raise ValueError(f"llama.cpp does not quantize {source} to {kind}")


if __name__ == "__main__":
    {"dequantize": dequantize, "pad-smollm2": pad_smollm2, "quantize": quantize}[sys.argv[1]](*sys.argv[2:])
