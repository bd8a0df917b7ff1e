"""`hearth quantize` against llama.cpp: the types that a mix gives, what a reader finds in the file, and what is lost.

llama-cpp-python quantizes the same file, or the same rows, and the gguf package reads both.
"""
import ctypes
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
gguf = pytest.importorskip("gguf")
import llamacpp  # noqa: E402
from gguf import quants  # noqa: E402

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
        how.nthread, how.allow_requantize = 2, True
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


# ---- what is lost

QUANTIZED = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs", "mxfp4", "nvfp4",
             "tq1_0", "tq2_0", "q1_0", "q2_0"]


@pytest.fixture(scope="module")
def matrices(models, run_hearth, tmp_path_factory):
    """(rows, importance of columns): of SmolLM2, zero-padded to what 256 divides, measured on a text; and of MiniLM,
    whose weights were never quantized, with importance made up."""
    path = models("default")
    folder = tmp_path_factory.mktemp("importance")
    run_hearth("imatrix", path, "--file", HERE.parents[1] / "ARCHITECTURE.md", "-o", folder / "i.gguf", "--ctx", 128, "--chunks", 4)
    means = {t.name: t.data / 512 for t in gguf.GGUFReader(str(folder / "i.gguf")).tensors if t.name.endswith("in_sum2")}
    wanted = [f"blk.{i}.{n}.weight" for i in (0, 14, 29) for n in ("attn_q", "attn_v", "attn_output", "ffn_up", "ffn_down")]
    found = []
    for t in gguf.GGUFReader(str(path)).tensors:
        if t.name in wanted:
            x = quants.dequantize(t.data, t.tensor_type)[:96]
            pad = -x.shape[1] % 256
            found.append((np.pad(x, ((0, 0), (0, pad))), np.pad(means[t.name + ".in_sum2"], (0, pad))))
    rng = np.random.default_rng(9)
    raw = (models("minilm") / "model.safetensors").read_bytes()
    n = int.from_bytes(raw[:8], "little")
    for name, t in sorted(json.loads(raw[8:8 + n]).items()):
        if name.endswith("output.dense.weight") and t["shape"][1] % 256 == 0 and t["dtype"] == "F32":
            x = np.frombuffer(raw, np.float32, count=96 * t["shape"][1], offset=8 + n + t["data_offsets"][0])
            found.append((x.reshape(96, -1), rng.lognormal(0, 1.5, t["shape"][1]).astype(np.float32)))
    assert len(found) > len(wanted)
    return [(np.ascontiguousarray(x, np.float32), np.ascontiguousarray(w, np.float32)) for x, w in found]


@pytest.fixture(scope="module")
def ggml():
    lib = llamacpp.ggml()
    if lib is None:
        pytest.skip("llama-cpp-python is not installed")
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    p = ctypes.c_void_p
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, p, p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, p]
    return lib


@pytest.mark.parametrize("weighed", [False, True], ids=["", "imatrix"])
@pytest.mark.parametrize("name", QUANTIZED)
def test_no_quantizer_loses_more_than_llamacpp(name, weighed, matrices, ggml, tmp_path):
    """By the sum of squared errors, weighed with importance; for each matrix and in all."""
    import test_quant
    number, block_len, block_bytes, _ = test_quant.table()[name]
    exe = test_quant.find_probe()
    ours_all = theirs_all = 0
    for x, w in matrices:
        weights = np.ascontiguousarray(np.broadcast_to(w, x.shape))
        (tmp_path / "x").write_bytes(x.tobytes())
        (tmp_path / "w").write_bytes(weights.tobytes())
        subprocess.run([exe, "quantize", name, tmp_path / "x", tmp_path / "q", *([tmp_path / "w"] if weighed else [])], check=True)
        theirs = np.zeros(x.size // block_len * block_bytes, np.uint8)
        ggml.ggml_quantize_chunk(number, x.ctypes.data, theirs.ctypes.data, 0, x.shape[0], x.shape[1],
                                 w.ctypes.data if weighed else None)
        lost = []
        for raw in (np.fromfile(tmp_path / "q", np.uint8), theirs):
            (tmp_path / "q").write_bytes(raw.tobytes())
            subprocess.run([exe, "dequantize", name, tmp_path / "q", tmp_path / "y"], check=True)
            y = np.fromfile(tmp_path / "y", np.float32).reshape(x.shape).astype(np.float64)
            cost = weights if weighed else 1.0
            lost.append(float((cost * (y - x) ** 2).sum() / (cost * x.astype(np.float64) ** 2).sum()))
        # Q4_1 weights are exact in some types: what is left is rounding.
        assert lost[0] <= 1.001 * lost[1] + 1e-8, lost
        ours_all, theirs_all = ours_all + lost[0], theirs_all + lost[1]
    assert ours_all <= theirs_all + 1e-8
    if weighed and name in ("q4_0", "q5_0", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs", "mxfp4", "nvfp4"):
        assert ours_all < 0.97 * theirs_all  # so that importance not used would be seen


# ---- the file again

@pytest.mark.long
@pytest.mark.parametrize("kind", ["Q4_K_M", "IQ4_XS", "Q2_K", "MXFP4"])
def test_files_open_again_and_mean_what_their_tensors_say(kind, models, run_hearth, tmp_path):
    import gguf_files
    import harness
    pytest.importorskip("llama_cpp")
    made, plain = tmp_path / "made.gguf", tmp_path / "plain.gguf"
    run_hearth("quantize", models("default"), made, kind)
    gguf_files.dequantize(made, plain)
    tokens = llamacpp.tokens_of(models("default"), (HERE.parents[1] / "README.md").read_text(), 48)
    ours, same = (harness.logits(p, tokens, "--activations", "f32") for p in (made, plain))
    assert np.array_equal(ours, same)
    theirs = llamacpp.judge(made, tokens, tmp_path / "made.npy").astype(np.float64)
    reference = llamacpp.judge(plain, tokens, tmp_path / "plain.npy").astype(np.float64)
    assert ((ours - reference) ** 2).sum() < 1e-9 * (reference ** 2).sum()
    assert ((theirs - reference) ** 2).sum() < 1e-2 * (reference ** 2).sum()
