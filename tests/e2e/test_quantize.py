"""hearth quantize and hearth imatrix from outside: what is in the file, and what is refused."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")
from gguf import quants  # noqa: E402
from gguf.constants import GGMLQuantizationType as T  # noqa: E402

WIDE = 20480  # longer than the pieces that rows are cut into


def metadata(writer):
    writer.add_block_count(2)
    writer.add_head_count(8)
    writer.add_head_count_kv(2)
    writer.add_file_type(0)
    writer.add_array("test.words", ["a", "", "\u00e9" * 40])
    writer.add_array("test.numbers", [1.5, -2.0])
    writer.add_string("quantize.imatrix.file", "stale")


def tensors(wide_rows=110):
    rng = np.random.default_rng(5)
    return {
        "token_embd.weight": rng.standard_normal((40, 256)),
        "output.weight": rng.standard_normal((40, 256)),
        "output_norm.weight": rng.standard_normal(256),
        "blk.0.attn_v.weight": rng.standard_normal((96, 512)) * rng.lognormal(0, 1, 512),
        "blk.0.attn_norm.weight": rng.standard_normal(512),
        "blk.1.ffn_up.weight": rng.standard_normal((wide_rows, WIDE)),
        "blk.1.ffn_gate.weight": rng.standard_normal((9, 288)),
        "blk.1.ffn_down_exps.weight": rng.standard_normal((3, 5, 256)),
    }


def write(path, values=None, split=0):
    w = gguf.GGUFWriter(str(path), "llama", split_max_tensors=split)
    metadata(w)
    for name, v in (values or tensors()).items():
        w.add_tensor(name, v.astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def write_imatrix(path, values, counts=None):
    w = gguf.GGUFWriter(str(path), "none")
    w.kv_data[0].pop("general.architecture", None)
    w.add_string("general.type", "imatrix")
    w.add_array("imatrix.datasets", ["text.txt"])
    w.add_uint32("imatrix.chunk_count", 7)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, v in values.items():
        w.add_tensor(name + ".in_sum2", v.astype(np.float32))
        w.add_tensor(name + ".counts", np.ones(v.shape[0] if v.ndim == 2 else 1, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("quantize") / "in.gguf")


@pytest.fixture(scope="module")
def importance(tmp_path_factory):
    rng = np.random.default_rng(6)
    return write_imatrix(tmp_path_factory.mktemp("imatrix") / "i.gguf", {
        "blk.0.attn_v.weight": rng.lognormal(0, 2, 512),
        "blk.1.ffn_up.weight": rng.lognormal(0, 2, WIDE),
        "blk.1.ffn_down_exps.weight": rng.lognormal(0, 2, (3, 256)),
    })


def values_of(field):
    return field.contents()


def test_tensors_are_what_gguf_quantizes_and_metadata_stays(run_hearth, source, tmp_path):
    out = tmp_path / "out.gguf"
    said = run_hearth("quantize", source, out, "Q4_0", "--pure").stdout.decode()
    before, after = gguf.GGUFReader(str(source)), gguf.GGUFReader(str(out))
    want = tensors()
    assert [t.name for t in after.tensors] == [t.name for t in before.tensors]
    for t in after.tensors:
        x = want[t.name].astype(np.float32)
        if x.ndim == 1:
            assert t.tensor_type == T.F32 and np.array_equal(t.data, x)
        else:
            assert t.tensor_type == T.Q4_0
            assert np.array_equal(t.data.reshape(-1), quants.quantize(x, T.Q4_0).reshape(-1)), t.name
    changed = {"general.file_type": 2, "general.quantization_version": 2}
    for key in (k for k in before.fields if not k.startswith("GGUF.")):
        if key == "quantize.imatrix.file":
            assert key not in after.fields  # of an earlier quantization
        else:
            assert values_of(after.fields[key]) == changed.get(key, values_of(before.fields[key])), key
    assert values_of(after.fields["general.quantization_version"]) == 2
    assert "q4_0" in said and "6 tensors" in said
    assert os.listdir(tmp_path) == ["out.gguf"]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M", "Q3_K_S", "IQ4_XS", "F16"])
def test_the_file_is_the_same_for_any_number_of_threads(run_hearth, source, importance, tmp_path, kind):
    for options in ([], ["--imatrix", importance]):
        files = []
        for threads in (1, 2, 3, 7):
            run_hearth("quantize", source, tmp_path / "out.gguf", kind, "-t", threads, "--force", *options)
            files.append((tmp_path / "out.gguf").read_bytes())
        assert all(f == files[0] for f in files)


def test_each_expert_has_its_own_importance(run_hearth, tmp_path):
    """Three equal matrices with different importance must come out as each would alone."""
    rng = np.random.default_rng(7)
    x, means = rng.standard_normal((5, 256)), rng.lognormal(0, 3, (3, 256))
    name = "blk.0.ffn_up_exps.weight"
    got = {}
    for label, weights, matrices in [("all", means, np.stack([x] * 3))] + [(i, means[i], x[None]) for i in range(3)]:
        write(tmp_path / "in.gguf", {name: matrices, "blk.0.attn_v.weight": x})
        write_imatrix(tmp_path / "i.gguf", {name: weights})
        run_hearth("quantize", tmp_path / "in.gguf", tmp_path / "out.gguf", "Q3_K_S", "--force", "-i", tmp_path / "i.gguf")
        got[label] = gguf.GGUFReader(str(tmp_path / "out.gguf")).tensors[0].data.reshape(len(matrices), -1)
    for i in range(3):
        assert np.array_equal(got["all"][i], got[i][0])
    assert not np.array_equal(got[0], got[1])


def test_importance_is_told_in_the_metadata_and_lowers_the_weighted_error(run_hearth, source, importance, tmp_path):
    errors = {}
    x = tensors()["blk.0.attn_v.weight"].astype(np.float32)
    mean = next(t for t in gguf.GGUFReader(str(importance)).tensors if t.name == "blk.0.attn_v.weight.in_sum2").data
    for label, options in [("plain", []), ("weighed", ["--imatrix", importance])]:
        said = json.loads(run_hearth("quantize", source, tmp_path / label, "Q4_K_S", "--json", *options).stdout)
        r = gguf.GGUFReader(str(tmp_path / label))
        t = next(t for t in r.tensors if t.name == "blk.0.attn_v.weight")
        errors[label] = float((mean * (quants.dequantize(t.data, t.tensor_type) - x) ** 2).sum())
        assert {t["name"] for t in said["tensors"] if t["imatrix"]} == ({
            "blk.0.attn_v.weight", "blk.1.ffn_up.weight", "blk.1.ffn_down_exps.weight"} if options else set())
        assert said["without_importance"] == (3 if options else 0)  # embedding, output, ffn_gate
    assert errors["weighed"] < 0.9 * errors["plain"]
    assert values_of(r.fields["quantize.imatrix.file"]) == str(importance)
    assert values_of(r.fields["quantize.imatrix.dataset"]) == "text.txt"
    assert values_of(r.fields["quantize.imatrix.entries_count"]) == 3
    assert values_of(r.fields["quantize.imatrix.chunks_count"]) == 7


def test_patterns_choose_types_and_the_first_that_matches_wins(run_hearth, source, tmp_path):
    said = json.loads(run_hearth(
        "quantize", source, tmp_path / "x", "Q4_K_M", "--dry-run", "--json", "--tensor-type", r"blk\.0\..*v\.weight=q8_0",
        "--tensor-type", "blk=IQ4_NL", "--tensor-type=^output=f16").stdout)
    kinds = {t["name"]: (t["to"], t["why"]) for t in said["tensors"]}
    assert kinds == {
        "token_embd.weight": ("q4_K", "mix"), "output.weight": ("f16", "tensor-type"), "output_norm.weight": ("f32", "kept"),
        "blk.0.attn_v.weight": ("q8_0", "tensor-type"), "blk.0.attn_norm.weight": ("f32", "kept"),
        "blk.1.ffn_up.weight": ("iq4_nl", "tensor-type"), "blk.1.ffn_gate.weight": ("iq4_nl", "tensor-type"),
        "blk.1.ffn_down_exps.weight": ("iq4_nl", "tensor-type")}
    assert not said["written"] and not (tmp_path / "x").exists()


def test_fallbacks_are_told(run_hearth, source, tmp_path):
    said = run_hearth("quantize", source, tmp_path / "x", "Q4_K_S", "--dry-run").stdout.decode()
    assert "fallback: 1 tensor q5_0 instead of q4_K (rows of 288" in said and "blk.1.ffn_gate.weight" in said


def test_a_split_set_becomes_one_file(run_hearth, source, tmp_path):
    write(tmp_path / "set.gguf", split=3)
    parts = sorted(p.name for p in tmp_path.iterdir())
    assert len(parts) == 3
    run_hearth("quantize", tmp_path / parts[1], tmp_path / "out.gguf", "Q5_1")
    run_hearth("quantize", source, tmp_path / "whole.gguf", "Q5_1")
    a, b = (gguf.GGUFReader(str(tmp_path / n)) for n in ("out.gguf", "whole.gguf"))
    assert not any(k.startswith("split.") for k in a.fields)
    assert set(a.fields) == set(b.fields)
    for x, y in zip(a.tensors, b.tensors):
        assert x.name == y.name and np.array_equal(x.data, y.data)


def test_quantizing_to_the_same_type_copies_and_again_is_told(run_hearth, source, tmp_path):
    run_hearth("quantize", source, tmp_path / "a", "Q8_0")
    again = json.loads(run_hearth("quantize", tmp_path / "a", tmp_path / "b", "Q8_0", "--json").stdout)
    assert again["requantized"] == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    lower = run_hearth("quantize", tmp_path / "a", tmp_path / "c", "Q4_0").stdout.decode()
    assert "quantized already" in lower


# ---- what is refused

def refused(run_hearth, *args, code=1):
    done = run_hearth(*args, check=False)
    assert done.returncode == code, done.stderr
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("args, words", [
    (["Q9_9"], ["unknown type 'Q9_9'"]),
    (["Q4_K_N"], ["did you mean"]),
    (["IQ2_XS"], ["no quantizer for iq2_xs"]),
    (["Q4_0", "--tensor-type", "attn"], ["PATTERN=TYPE"]),
    (["Q4_0", "--tensor-type", "=q8_0"], ["PATTERN=TYPE"]),
    (["Q4_0", "--tensor-type", "attn=q77"], ["unknown type 'q77'"]),
    (["Q4_0", "--threads", "0"], ["--threads"]),
    ([], ["too few"]),
])
def test_wrong_usage_is_one_line_and_exit_code_2(run_hearth, source, tmp_path, args, words):
    line = refused(run_hearth, "quantize", source, tmp_path / "out", *args, code=2)
    assert all(w in line for w in words), line
    assert not (tmp_path / "out").exists()


def test_patterns_that_cannot_work_are_refused(run_hearth, source, tmp_path):
    assert "(" in refused(run_hearth, "quantize", source, tmp_path / "o", "Q4_0", "--tensor-type", "(=q8_0")
    assert "matches no tensor" in refused(run_hearth, "quantize", source, tmp_path / "o", "Q4_0", "--tensor-type", "norm=q8_0")
    assert "no quantizer for q8_1" in refused(run_hearth, "quantize", source, tmp_path / "o", "Q4_0", "--tensor-type", "blk=q8_1")


def test_files_are_not_overwritten_unless_told(run_hearth, source, tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"mine")
    assert "--force" in refused(run_hearth, "quantize", source, out, "Q8_0")
    assert out.read_bytes() == b"mine"
    run_hearth("quantize", source, out, "Q8_0", "--force")
    assert out.read_bytes()[:4] == b"GGUF"
    link = tmp_path / "link"
    link.symlink_to(source)
    before = source.read_bytes()
    for target in (source, link):
        assert "cannot write over" in refused(run_hearth, "quantize", source, target, "Q8_0", "--force")
    assert source.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


def test_places_that_cannot_be_written_are_refused(run_hearth, source, tmp_path):
    assert "cannot create" in refused(run_hearth, "quantize", source, tmp_path / "no" / "out", "Q8_0")
    assert "folder" in refused(run_hearth, "quantize", source, tmp_path, "Q8_0")


@pytest.mark.parametrize("value, words", [(np.nan, "not finite"), (-np.inf, "not finite"), (7e4, "too large")])
def test_numbers_that_no_type_can_hold_are_found(run_hearth, tmp_path, value, words):
    bad = tensors(wide_rows=3)
    bad["blk.1.ffn_up.weight"][2, WIDE - 1] = value
    write(tmp_path / "in.gguf", bad)
    for kind in ("Q4_K_M", "F16"):
        line = refused(run_hearth, "quantize", tmp_path / "in.gguf", tmp_path / "out", kind)
        assert "blk.1.ffn_up.weight" in line and "row 2" in line and words in line
    assert os.listdir(tmp_path) == ["in.gguf"]


@pytest.mark.parametrize("change, words", [
    (lambda b: b[:-40], ["i.gguf"]),
    (lambda b: b"", ["i.gguf"]),
    (lambda b: b.replace(b"imatrix", b"imatrxi", 1), ["general.type"]),
    (lambda b: b.replace(b".counts", b".countz"), ["no counts"]),
    (lambda b: b"\xff" * 100, ["no importance matrix"]),
    (lambda b: b"\x02\0\0\0\x05\0\0\0abcde\x01\0\0\0", ["ends inside"]),
])
def test_damaged_importance_is_refused(run_hearth, source, importance, tmp_path, change, words):
    (tmp_path / "i.gguf").write_bytes(change(importance.read_bytes()))
    line = refused(run_hearth, "quantize", source, tmp_path / "out", "Q4_0", "--imatrix", tmp_path / "i.gguf")
    assert all(w in line for w in words), line
    assert os.listdir(tmp_path) == ["i.gguf"]


def test_importance_of_another_model_is_refused(run_hearth, source, tmp_path):
    write_imatrix(tmp_path / "i.gguf", {"blk.0.attn_v.weight": np.ones(511)})
    line = refused(run_hearth, "quantize", source, tmp_path / "out", "Q4_0", "--imatrix", tmp_path / "i.gguf")
    assert "511" in line and "512" in line and "blk.0.attn_v.weight" in line


def test_a_folder_of_safetensors_is_refused(run_hearth, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text('{"model_type": "llama"}')
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "m" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert "GGUF" in refused(run_hearth, "quantize", tmp_path / "m", tmp_path / "out", "Q4_0")


# ---- ends that come early

def big_file(path, n_row):
    """A file of n_row * 4096 zeros in f32, most of it a hole."""
    w = gguf.GGUFWriter(str(path), "llama")
    metadata(w)
    w.add_tensor_info("blk.0.ffn_up.weight", (n_row, 4096), np.dtype(np.float32), n_row * 4096 * 4)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    w.close()
    size = os.path.getsize(path)
    os.truncate(path, size + -size % 32 + n_row * 4096 * 4)
    return path


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_nothing_behind(how, hearth, tmp_path):
    source = big_file(tmp_path / "in.gguf", 1 << 16)
    p = subprocess.Popen([hearth, "quantize", source, tmp_path / "out.gguf", "F32", "-t", "1", "--tensor-type", "up=q2_K"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.time() + 30
    while len(os.listdir(tmp_path)) < 2 and time.time() < until:
        time.sleep(0.01)
    assert p.poll() is None and len(os.listdir(tmp_path)) == 2, "the work was over too soon to interrupt"
    p.send_signal(how)
    assert p.wait(timeout=30) == 130
    p.communicate()
    assert os.listdir(tmp_path) == ["in.gguf"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and files as Linux has them")
def test_a_full_disk_is_told_and_leaves_nothing_behind(hearth, source, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run([hearth, "quantize", source, tmp_path / "out.gguf", "Q8_0"], preexec_fn=limit, capture_output=True)
    assert done.returncode == 1
    assert b"out.gguf: cannot write" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and files as Linux has them")
def test_memory_does_not_grow_with_the_model(hearth, tmp_path):
    """256 MB of weights with 48 MB for everything that is not a mapped file."""
    source = big_file(tmp_path / "in.gguf", 1 << 14)

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (48 << 20, 48 << 20))

    done = subprocess.run([hearth, "quantize", source, tmp_path / "out.gguf", "F16", "-t", "2"], preexec_fn=limit,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- imatrix

TEXT = pathlib.Path(__file__).resolve().parents[2] / "ARCHITECTURE.md"


@pytest.fixture(scope="module")
def measured(run_hearth, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("measured") / "i.gguf"
    model = models("default")
    said = run_hearth("imatrix", model, "--file", TEXT, "-o", out, "--chunks", 2, "--ctx", 64, "--json").stdout
    return model, out, json.loads(said)


def test_imatrix_writes_sums_that_numpy_finds_too(run_hearth, measured):
    model, out, said = measured
    assert (said["chunks"], said["chunk_size"], said["matrices"]) == (2, 64, 210)
    r = gguf.GGUFReader(str(out))
    assert values_of(r.fields["general.type"]) == "imatrix"
    assert values_of(r.fields["imatrix.datasets"]) == [str(TEXT)]
    assert (values_of(r.fields["imatrix.chunk_count"]), values_of(r.fields["imatrix.chunk_size"])) == (2, 64)
    got = {t.name: np.array(t.data) for t in r.tensors}
    assert list(got) == [n + s for n in sorted({n.rsplit(".", 1)[0] for n in got}) for s in (".in_sum2", ".counts")]
    assert all(v[0] == 128 for n, v in got.items() if n.endswith(".counts"))
    # What the first layer's attention reads: normed embeddings.
    ids = json.loads(run_hearth("tokenize", model, "--json", stdin=TEXT.read_bytes()).stdout)
    ids = [t["id"] for t in ids["tokens"]][:128]
    w = {t.name: t for t in gguf.GGUFReader(str(model)).tensors if t.name in ("token_embd.weight", "blk.0.attn_norm.weight")}
    x = quants.dequantize(w["token_embd.weight"].data, w["token_embd.weight"].tensor_type)[ids].astype(np.float64)
    x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5) * w["blk.0.attn_norm.weight"].data
    for name in ("q", "k", "v"):
        assert np.allclose(got[f"blk.0.attn_{name}.weight.in_sum2"], (x * x).sum(axis=0), rtol=1e-4)


def test_imatrix_does_not_depend_on_threads(run_hearth, measured, tmp_path):
    model, out, _ = measured
    run_hearth("imatrix", model, "--file", TEXT, "-o", tmp_path / "i", "--chunks", 2, "--ctx", 64, "-t", 3)
    assert (tmp_path / "i").read_bytes() == out.read_bytes()


def test_quantize_takes_what_imatrix_wrote(run_hearth, measured, tmp_path):
    model, out, _ = measured
    said = json.loads(run_hearth("quantize", model, tmp_path / "q.gguf", "Q4_0", "--imatrix", out, "--json").stdout)
    assert said["without_importance"] == 0  # all but the embedding, which stays q8_0
    assert run_hearth("run", tmp_path / "q.gguf", "The capital of France is", "-n", 4).stdout.strip()


def test_imatrix_refuses_what_it_cannot_use(run_hearth, measured, tmp_path):
    model, out, _ = measured
    (tmp_path / "short").write_text("too short")
    assert "--file" in refused(run_hearth, "imatrix", model, code=2)
    assert "fewer than one chunk" in refused(run_hearth, "imatrix", model, "--file", tmp_path / "short", "-o", tmp_path / "o")
    assert "--force" in refused(run_hearth, "imatrix", model, "--file", TEXT, "-o", out)
    assert "cannot write over" in refused(run_hearth, "imatrix", model, "--file", TEXT, "-o", model, "--force")
    assert "no such file" in refused(run_hearth, "imatrix", model, "--file", tmp_path / "none", "-o", tmp_path / "o")
    assert os.listdir(tmp_path) == ["short"]
