"""`hearth quantize` against llama.cpp: the types that a mix gives, what a reader finds in the file, and what is lost.

llama-cpp-python quantizes the same file, or the same rows, and the gguf package reads both.
"""
import ctypes
import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
gguf = pytest.importorskip("gguf")
from gguf import quants  # noqa: E402
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T  # noqa: E402

# Mixes that llama-quantize knows, by the number of general.file_type.
MIXES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
         "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "Q2_K_S": 21, "IQ4_NL": 25,
         "IQ4_XS": 30, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38}


def types_of(path):
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(str(path)).tensors}


# ---- mixes

def write_model(path, arch="llama", n_layer=32, n_head=8, n_head_kv=8, n_expert=0, n_col=256, tied=False, fused=False):
    """A file with the tensors of a model but two rows in each: the choice of types looks at names only."""
    rng = np.random.default_rng(1)
    w = gguf.GGUFWriter(str(path), arch)
    w.add_block_count(n_layer)
    w.add_context_length(64)
    w.add_embedding_length(n_col)
    w.add_feed_forward_length(n_col)
    w.add_head_count(n_head)
    w.add_head_count_kv(n_head_kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_layer_norm_eps(1e-5)
    w.add_rope_dimension_count(n_col // n_head)
    w.add_vocab_size(2)
    if n_expert:
        w.add_expert_count(n_expert)
        w.add_expert_used_count(2)

    def add(name, *shape):
        w.add_tensor(name, rng.standard_normal(shape).astype(np.float32))

    add("token_embd.weight", 2, n_col)
    add("output_norm.weight", n_col)
    if not tied:
        add("output.weight", 2, n_col)
    for i in range(n_layer):
        attention = ["attn_qkv"] if fused else ["attn_q", "attn_k", "attn_v"]
        for name in attention + ["attn_output"]:
            add(f"blk.{i}.{name}.weight", 2, n_col)
        add(f"blk.{i}.attn_norm.weight", n_col)
        if n_expert:
            add(f"blk.{i}.ffn_gate_inp.weight", n_expert, n_col)
        for name in ["ffn_gate", "ffn_up", "ffn_down"]:
            if n_expert:
                add(f"blk.{i}.{name}_exps.weight", n_expert, 2, n_col)
            else:
                add(f"blk.{i}.{name}.weight", 2, n_col)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ask_llamacpp(source, targets, importance=None):
    """llama.cpp's own quantizations {path: number}, in a process of its own, since it ends the process on what it
    does not like."""
    code = """if True:
        import sys, json, ctypes, numpy, llama_cpp as lib
        source, targets, importance = json.loads(sys.argv[1])
        quiet = lib.llama_log_callback(lambda level, text, data: None)
        lib.llama_log_set(quiet, ctypes.c_void_p(0))
        how = lib.llama_model_quantize_default_params()
        how.nthread, how.allow_requantize = 1, True
        if importance:
            data = numpy.load(importance)
            field = {n: t for n, t in how._fields_}["imatrix"]._type_
            rows = (field * (len(data.files) + 1))()
            keep = [numpy.ascontiguousarray(data[n], numpy.float32) for n in data.files]
            for i, n in enumerate(data.files):
                rows[i].name, rows[i].size = n.encode(), keep[i].size
                rows[i].data = keep[i].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            how.imatrix = rows
        for target, number in targets.items():
            how.ftype = number
            if lib.llama_model_quantize(source.encode(), target.encode(), how) != 0:
                sys.exit("llama.cpp does not quantize to " + target)
    """
    args = json.dumps([str(source), {str(k): v for k, v in targets.items()}, str(importance) if importance else None])
    done = subprocess.run([sys.executable, "-c", code, args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]


MODELS = {
    "plain": dict(),
    "grouped": dict(n_head_kv=2),
    "tied": dict(tied=True),
    "fused": dict(fused=True),
    "few-layers": dict(n_layer=5, n_head_kv=2),
    "eight-experts": dict(n_expert=8, n_layer=12, n_head_kv=2),
    "four-experts": dict(n_expert=4, n_layer=12),
    "70b": dict(n_layer=80, n_head_kv=1),
    "narrow": dict(n_col=288, n_layer=9),
    "odd": dict(n_col=264, n_layer=9),
    "falcon": dict(arch="falcon", fused=True, n_layer=32),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weighed", [False, True], ids=["", "imatrix"])
def test_every_mix_gives_each_tensor_the_type_that_llamacpp_gives(model, weighed, tmp_path, run_hearth):
    pytest.importorskip("llama_cpp")
    source = tmp_path / "in.gguf"
    write_model(source, **MODELS[model])
    options, importance = [], None
    if weighed:
        importance = tmp_path / "importance.npz"
        means = {t.name: np.ones(int(np.prod(t.shape)) // int(t.shape[1]), np.float32)
                 for t in gguf.GGUFReader(str(source)).tensors if len(t.shape) > 1}
        np.savez(importance, **means)
        write_importance(tmp_path / "i.gguf", {n: (v, np.ones(1)) for n, v in means.items()})
        options = ["--imatrix", tmp_path / "i.gguf"]
    mixes = [m for m in MIXES if weighed or m != "Q2_K_S"]  # which llama.cpp refuses without importance
    ask_llamacpp(source, {tmp_path / f"{m}.gguf": MIXES[m] for m in mixes}, importance)
    for mix in mixes:
        said = json.loads(run_hearth("quantize", source, tmp_path / "ours.gguf", mix, "--dry-run", "--json", *options).stdout)
        ours = {t["name"]: t["to"].upper() for t in said["tensors"]}
        theirs = {n: t.upper() for n, t in types_of(tmp_path / f"{mix}.gguf").items()}
        assert ours == theirs, mix


def write_importance(path, entries, **keys):
    """entries: name -> (sums, counts)."""
    w = gguf.GGUFWriter(str(path), "none")
    w.kv_data[0].pop("general.architecture", None)
    w.add_string("general.type", keys.get("type", "imatrix"))
    w.add_array("imatrix.datasets", ["a.txt"])
    w.add_uint32("imatrix.chunk_count", 3)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, (sums, counts) in entries.items():
        w.add_tensor(name + ".in_sum2", np.asarray(sums, np.float32))
        w.add_tensor(name + ".counts", np.asarray(counts, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
