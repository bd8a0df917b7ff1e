"""FP8 folders as published: e4m3 with scales per 128 x 128 block, per row or per matrix, and e5m2.

Codes are made by mlx's own conversion and read back by it; the reference is the float32 model of what they mean,
evaluated in float64. The widths cut the last block of rows and of columns.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("mlx_lm", reason="the reference is not installed")

import families  # noqa: E402
import harness  # noqa: E402
import tiny_models  # noqa: E402

BASE = families.Family("fp8-llama", families.vary(
    families.LLAMA, hidden_size=192, num_attention_heads=6, num_key_value_heads=2, intermediate_size=320,
    num_hidden_layers=2))
GRIDS = {"blocks": (128, 128), "small-blocks": (64, 32), "rows": (1, None), "matrix": (None, None)}
CASES = [(f, g) for f in ("e4m3", "e5m2") for g in GRIDS]


def e4m3(x):
    """Codes of x, and what mlx reads in them."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    codes = mx.to_fp8(mx.array(x))
    return np.array(codes), np.array(mx.from_fp8(codes, dtype=mx.float32))


def e5m2(x):
    """The upper byte of an IEEE half is an e5m2."""
    codes = (x.astype(np.float16).view(np.uint16) >> 8).astype(np.uint8)
    return codes, (codes.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def quantize(w, form, grid):
    """codes, scales, and the matrix that they mean."""
    rows, cols = (edge or size for edge, size in zip(grid, w.shape))
    n = [-(-size // edge) for size, edge in zip(w.shape, (rows, cols))]
    peak = 448.0 if form == "e4m3" else 28672.0
    padded = np.zeros((n[0] * rows, n[1] * cols), np.float32)
    padded[:w.shape[0], :w.shape[1]] = np.abs(w)
    scales = (padded.reshape(n[0], rows, n[1], cols).max(axis=(1, 3)) / peak).astype(np.float32)
    wide = scales.repeat(rows, 0).repeat(cols, 1)[:w.shape[0], :w.shape[1]]
    codes, values = (e4m3 if form == "e4m3" else e5m2)(w / wide)
    return codes, scales, values * wide


def save(path, tensors):
    """tensors: name -> (array, safetensors dtype)."""
    header, data = {}, b""
    for name, (a, dtype) in tensors.items():
        raw = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def build(case):
    form, grid = case
    folder = tiny_models.default_root() / "fp8" / f"{form}-{grid}"
    mark = tiny_models.fingerprint(BASE, repr(case)) + hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    if (folder / "built").exists() and (folder / "built").read_text() == mark:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "plain").mkdir(parents=True)
    stored, plain = {}, {}
    for name, w in tiny_models.random_weights(BASE).items():
        plain[name], stored[name] = w, (w, "F32")
        if "_proj.weight" not in name:
            continue
        codes, scales, plain[name] = quantize(w, form, GRIDS[grid])
        stored[name] = (codes, "F8_" + form.upper())
        if "blocks" in grid:
            stored[name + "_scale_inv"] = (scales, "F32")
        else:
            stored[name + "_scale"] = (scales if grid == "rows" else scales.reshape(1), "F32")
    config = dict(BASE.config)
    (folder / "plain" / "config.json").write_text(json.dumps(config))
    tiny_models.save_safetensors(folder / "plain" / "model.safetensors", plain)
    config["quantization_config"] = {"quant_method": "fp8", "fmt": form, "activation_scheme": "dynamic"}
    if "blocks" in grid:
        config["quantization_config"]["weight_block_size"] = list(GRIDS[grid])
    (folder / "config.json").write_text(json.dumps(config))
    save(folder / "model.safetensors", stored)
    np.save(folder / "ref.npy", tiny_models.reference_logits(folder / "plain", tiny_models.tokens_of(BASE), exact=True)[0])
    (folder / "built").write_text(mark)
    return folder


@pytest.mark.parametrize("case", [pytest.param(c, id="-".join(c)) for c in CASES])
def test_an_fp8_folder_gives_the_logits_of_its_weights(case):
    folder = build(case)
    assert tiny_models.nmse(np.load(folder / "ref.npy"), harness.logits(folder, tiny_models.tokens_of(BASE))) <= 1e-10


def test_the_block_size_is_read_from_the_config(tmp_path):
    shutil.copytree(build(("e4m3", "small-blocks")), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["quantization_config"]["weight_block_size"] = [32, 64]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(harness.Refused, match=r"weight_scale_inv is \[3 x 6\], \[6 x 3\] is needed"):
        harness.logits(tmp_path / "model", tiny_models.tokens_of(BASE))


def test_codes_without_scales_are_refused(tmp_path):
    shutil.copytree(build(("e4m3", "blocks")), tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    raw = file.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    hidden = raw[8:8 + n].replace(b"layers.1.mlp.up_proj.weight_scale_inv", b"layers.1.mlp.up_proj.weight_scale_xyz")
    file.write_bytes(raw[:8] + hidden + raw[8 + n:])
    with pytest.raises(harness.Refused, match="layers.1.mlp.up_proj.weight is FP8 but has no scales"):
        harness.logits(tmp_path / "model", tiny_models.tokens_of(BASE))
