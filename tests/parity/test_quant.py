"""Numbers read from quantized bytes against programs that nobody here wrote, bit by bit.

gguf (numpy) is the reference for ggml's block types, libggml for those that the package lacks, mlx for
the hub formats. A NaN equals any NaN; everything else is compared as bits.
"""
import ctypes
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
gguf = pytest.importorskip("gguf")
import llamacpp  # noqa: E402
from gguf import quants  # noqa: E402
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T  # noqa: E402

BUILD = pathlib.Path(os.environ.get("HEARTH_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))

# Types whose reference quantizer must give the same bytes as gguf's or libggml's.
EXACT_GGUF = ["f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "tq1_0", "tq2_0", "mxfp4"]
EXACT_GGML = ["q1_0", "q2_0", "q8_1", "q8_K"]
# Types with quantizers of our own, which must not be worse than libggml's reference.
FITTED = ["q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs", "nvfp4"]
SCHEME = {"block": 1, "affine": 2, "mxfp4": 3, "mxfp8": 4, "nvfp4": 5, "fp8": 6}
TYPE = {"f32": 0, "f16": 1, "bf16": 30, "u8": 1000, "u32": 1002, "f8_e4m3": 1005, "f8_e5m2": 1006}


def find_probe():
    path = os.environ.get("HEARTH_PROBE_QUANT")
    found = [pathlib.Path(path)] if path else sorted(BUILD.glob("**/parity_probe_quant"), key=os.path.getmtime)
    assert found, f"parity_probe_quant is not built under {BUILD}"
    return found[-1]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Runs the probe: probe(verb, name, array) -> array of uint8."""
    exe, folder = find_probe(), tmp_path_factory.mktemp("probe")

    def run(verb, name, data):
        (folder / "in").write_bytes(np.ascontiguousarray(data).tobytes())
        subprocess.run([exe, verb, name, folder / "in", folder / "out"], check=True)
        return np.fromfile(folder / "out", dtype=np.uint8)

    def weight(planes, **settings):
        for name, data in planes.items():
            (folder / name).write_bytes(np.ascontiguousarray(data).tobytes())
            settings[name] = folder / name
        args = [f"{k}={v}" for k, v in settings.items()] + [f"out={folder / 'out'}"]
        done = subprocess.run([exe, "weight", *args], check=True, capture_output=True, text=True)
        return np.fromfile(folder / "out", dtype=np.float32), int(done.stdout)

    run.weight = weight
    return run


@pytest.fixture(scope="module")
def ggml():
    lib = llamacpp.ggml()
    if lib is None:
        pytest.skip("llama-cpp-python is not installed")
    return lib


def table():
    rows = subprocess.run([find_probe(), "table"], check=True, capture_output=True, text=True).stdout
    return {r[1]: tuple(map(int, [r[0], *r[2:]])) for r in (line.split() for line in rows.splitlines())}


def same_bits(got, want):
    got, want = got.ravel(), np.ascontiguousarray(want, dtype=np.float32).ravel()
    assert got.shape == want.shape
    equal = (got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want))
    bad = np.flatnonzero(~equal)
    assert bad.size == 0, f"{bad.size} of {got.size} differ, first at {bad[0]}: {got[bad[0]]!r} {want[bad[0]]!r}"


def ggml_quantize(ggml, name, x, n_bytes):
    out = np.zeros(n_bytes, dtype=np.uint8)
    f = getattr(ggml, f"quantize_row_{name}_ref")
    f(x.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
    return out


def ggml_dequantize(ggml, name, raw, n):
    out = np.zeros(n, dtype=np.float32)
    f = getattr(ggml, f"dequantize_row_{name}")
    f(raw.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(n))
    return out


def random_blocks(name, n_block, seed=1):
    """Random bytes: every index, every scale bit pattern, infinities and NaNs too."""
    _, _, n_bytes, _ = table()[name]
    return np.random.default_rng(seed).integers(0, 256, n_block * n_bytes, dtype=np.uint8)


def tame_weights(n, seed=2):
    """Numbers as trained weights are: mostly small, a few large, some groups all zero."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(n) * rng.lognormal(-3, 1, n)).astype(np.float32)
    x[256:512] = 0
    return x


# The package's size of Q8_1 (40) is that of a layout that ggml left; libggml is asked below.
GGUF_TYPES = sorted(t.name for t in T if t in GGML_QUANT_SIZES and t.name != "Q8_1")


@pytest.mark.parametrize("name", GGUF_TYPES)
def test_table_agrees_with_the_gguf_package(name):
    number, block_len, block_bytes, _ = table()[next(k for k in table() if k.lower() == name.lower())]
    assert (number, block_len, block_bytes) == (T[name].value, *GGML_QUANT_SIZES[T[name]])


def test_table_agrees_with_libggml(ggml):
    ggml.ggml_type_size.restype = ctypes.c_size_t
    ggml.ggml_blck_size.restype = ctypes.c_int64
    for name, (number, block_len, block_bytes, _) in table().items():
        if number < 1000:
            assert (ggml.ggml_blck_size(number), ggml.ggml_type_size(number)) == (block_len, block_bytes), name


@pytest.mark.parametrize("name", sorted(t.name for t in quants._type_traits))
def test_dequantize_equals_gguf(probe, name):
    ours = next(k for k in table() if k.lower() == name.lower())
    raw = random_blocks(ours, 4000)
    with np.errstate(all="ignore"):
        want = quants.dequantize(raw.reshape(1, -1), T[name])
    same_bits(probe("dequantize", ours, raw).view(np.float32), want)


@pytest.mark.parametrize("name", ["q1_0", "q2_0", "q8_K", "nvfp4", "mxfp4"])
def test_dequantize_equals_libggml(probe, ggml, name):
    _, block_len, _, _ = table()[name]
    raw = random_blocks(name, 4000, seed=3)
    same_bits(probe("dequantize", name, raw).view(np.float32), ggml_dequantize(ggml, name, raw, 4000 * block_len))


def test_dequantize_q8_1_and_q8_K_follow_the_written_formula(probe):
    """q8_1: f16 d, f16 s, 32 x int8, value = d * q. q8_K: f32 d, 256 x int8, 16 x int16, value = d * q."""
    raw = random_blocks("q8_1", 1000).reshape(-1, 36)
    d = raw[:, :2].copy().view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):
        same_bits(probe("dequantize", "q8_1", raw).view(np.float32), d * raw[:, 4:].view(np.int8).astype(np.float32))
    raw = random_blocks("q8_K", 1000).reshape(-1, 292)
    d = raw[:, :4].copy().view(np.float32)
    with np.errstate(all="ignore"):
        same_bits(probe("dequantize", "q8_K", raw).view(np.float32), d * raw[:, 4:260].view(np.int8).astype(np.float32))


@pytest.mark.parametrize("name,dtype", [("f32", np.float32), ("f64", np.float64), ("i8", np.int8), ("i16", np.int16),
                                        ("i32", np.int32), ("i64", np.int64), ("u8", np.uint8), ("u16", np.uint16),
                                        ("u32", np.uint32), ("u64", np.uint64), ("f16", np.float16)])
def test_plain_types_convert_as_numpy_does(probe, name, dtype):
    raw = random_blocks(name, 20000)
    if name == "f16":
        raw = np.arange(65536, dtype=np.uint16).view(np.uint8)
    with np.errstate(all="ignore"):
        same_bits(probe("dequantize", name, raw).view(np.float32), raw.view(dtype).astype(np.float32))


def minifloat(byte, exp_bits, man_bits, bias):
    """Value of an 8-bit float from its definition (OCP 8-bit floating point specification)."""
    sign = -1.0 if byte >> 7 else 1.0
    exp, man = byte >> man_bits & (1 << exp_bits) - 1, byte & (1 << man_bits) - 1
    if exp == 0:
        return sign * man * 2.0 ** (1 - bias - man_bits)
    return sign * (1 + man / (1 << man_bits)) * 2.0 ** (exp - bias)


def test_all_bytes_of_the_8_bit_floats_follow_their_definition(probe):
    every = np.arange(256, dtype=np.uint8)
    e4m3 = np.array([np.nan if b & 127 == 127 else minifloat(b, 4, 3, 7) for b in range(256)])
    e5m2 = np.array([minifloat(b, 5, 2, 15) for b in range(256)])
    special = every & 0x7C == 0x7C
    e5m2[special] = np.where(every[special] & 3, np.nan, np.where(every[special] >> 7, -np.inf, np.inf))
    e8m0 = np.array([2.0 ** (b - 127) for b in range(255)] + [np.nan])
    for name, want in (("f8_e4m3", e4m3), ("f8_e5m2", e5m2), ("f8_e8m0", e8m0)):
        same_bits(probe("dequantize", name, every).view(np.float32), want)
    same_bits(probe("dequantize", "bool", every).view(np.float32), every != 0)


@pytest.mark.parametrize("name", EXACT_GGUF)
def test_quantize_equals_gguf(probe, name):
    x = tame_weights(1 << 16)
    want = quants.quantize(x.reshape(1, -1), T[name.upper()])
    assert np.array_equal(probe("quantize", name, x), np.ascontiguousarray(want).view(np.uint8).ravel())


def test_every_rounding_case_of_f16_and_bf16(probe):
    bits = np.random.default_rng(5).integers(0, 1 << 32, 1 << 20, dtype=np.uint64).astype(np.uint32)
    ties = (np.arange(1 << 16, dtype=np.uint32) << 16) | 0x8000
    halves = np.arange(0x33000000, 0x47900000, 0x1000, dtype=np.uint32)  # all f16 ties and neighbours
    x = np.concatenate([bits, ties, halves, halves + 1, halves - 1]).view(np.float32)
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore"):
        assert np.array_equal(probe("quantize", "f16", x).view(np.uint16), x.astype(np.float16).view(np.uint16))
    want = quants.quantize(x.reshape(1, -1), T.BF16)
    assert np.array_equal(probe("quantize", "bf16", x), want.ravel())


@pytest.mark.parametrize("name", EXACT_GGML)
def test_quantize_equals_libggml(probe, ggml, name):
    x = tame_weights(1 << 16)
    got = probe("quantize", name, x)
    want = ggml_quantize(ggml, name, x, got.size)
    if name == "q8_K":  # libggml leaves the sums of an all-zero block unset
        got, want = got.reshape(-1, 292), want.reshape(-1, 292)
        want[1, 260:] = 0
    assert np.array_equal(got, want)


@pytest.mark.parametrize("name", FITTED)
def test_own_quantizers_lose_no_more_than_libggml(probe, ggml, name):
    x = tame_weights(1 << 16)
    raw = probe("quantize", name, x)
    ours = probe("dequantize", name, raw).view(np.float32)
    theirs = ggml_dequantize(ggml, name, ggml_quantize(ggml, name, x, raw.size), x.size)
    error, their_error = (np.sqrt(np.mean((y - x) ** 2)) for y in (ours, theirs))
    assert error <= 1.02 * their_error, f"rms error {error:.3e}, libggml's {their_error:.3e}"


# The hub formats.

@pytest.fixture(scope="module")
def mx():
    core = pytest.importorskip("mlx.core")
    core.set_default_device(core.cpu)
    return core


def matrix(n_row, n_col, seed=7):
    return np.random.default_rng(seed).standard_normal((n_row, n_col)).astype(np.float32)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("scale_type", ["f32", "f16", "bf16"])
def test_affine_equals_mlx(probe, mx, bits, group, scale_type):
    dtype = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}[scale_type]
    w = mx.array(matrix(6, 768)).astype(dtype)
    codes, scales, biases = mx.quantize(w, group_size=group, bits=bits)
    want = mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group_size=group, bits=bits)
    as_bytes = (lambda a: np.array(a.view(mx.uint16))) if scale_type != "f32" else np.array
    got, n_bytes = probe.weight({"codes": np.array(codes), "scales": as_bytes(scales), "biases": as_bytes(biases)},
                                scheme=SCHEME["affine"], type=TYPE["u32"], scale_type=TYPE[scale_type], bits=bits,
                                group=group, n_row=6, n_col=768)
    same_bits(got, np.array(want))
    assert n_bytes == codes.nbytes + scales.nbytes + biases.nbytes


@pytest.mark.parametrize("mode,group,scale_type", [("mxfp4", 32, "u8"), ("mxfp8", 32, "u8"), ("nvfp4", 16, "u8")])
def test_float_modes_equal_mlx(probe, mx, mode, group, scale_type):
    bits = 8 if mode == "mxfp8" else 4
    for seed, w in enumerate([matrix(5, 512), matrix(5, 512, 8) * 1e-4, matrix(5, 512, 9) * 50]):
        codes, scales = mx.quantize(mx.array(w), group_size=group, bits=bits, mode=mode)
        want = mx.dequantize(codes, scales, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
        got, n_bytes = probe.weight({"codes": np.array(codes), "scales": np.array(scales)}, scheme=SCHEME[mode],
                                    type=TYPE["u32"], scale_type=TYPE[scale_type], bits=bits, group=group, n_row=5,
                                    n_col=512)
        same_bits(got, np.array(want))
        assert n_bytes == codes.nbytes + scales.nbytes


@pytest.mark.parametrize("mode,group", [("mxfp4", 32), ("mxfp8", 32), ("nvfp4", 16)])
def test_float_modes_equal_mlx_for_every_code_and_scale(probe, mx, mode, group):
    """Every scale but e8m0's 255, which the specification makes a NaN and mlx an infinity."""
    bits = 8 if mode == "mxfp8" else 4
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 1 << 32, (256, group * 16 * bits // 32), dtype=np.uint64).astype(np.uint32)
    scales = np.arange(4096, dtype=np.uint32).astype(np.uint8).reshape(256, 16)
    if mode != "nvfp4":
        scales = np.minimum(scales, 254)
    want = mx.dequantize(mx.array(codes), mx.array(scales), group_size=group, bits=bits, mode=mode, dtype=mx.float32)
    got, _ = probe.weight({"codes": codes, "scales": scales}, scheme=SCHEME[mode], type=TYPE["u32"],
                          scale_type=TYPE["u8"], bits=bits, group=group, n_row=256, n_col=group * 16)
    same_bits(got, np.array(want))


def test_mxfp4_blocks_as_gpt_oss_stores_them(probe):
    """`_blocks` uint8 [row, n / 32, 16], low nibble first, `_scales` uint8 [row, n / 32]."""
    rng = np.random.default_rng(13)
    blocks = rng.integers(0, 256, (3, 7, 4, 16), dtype=np.uint8)  # [expert, row, n / 32, 16]
    scales = rng.integers(100, 140, (3, 7, 4), dtype=np.uint8)
    e2m1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
    want = np.stack([e2m1[blocks & 15], e2m1[blocks >> 4]], axis=-1).reshape(3, 7, 4, 32)
    want = np.ldexp(want, scales.astype(np.int32)[..., None] - 127)
    got, n_bytes = probe.weight({"codes": blocks, "scales": scales}, scheme=SCHEME["mxfp4"], type=TYPE["u8"],
                                scale_type=TYPE["u8"], group=32, n_expert=3, n_row=7, n_col=128)
    same_bits(got, want)
    assert n_bytes == blocks.nbytes + scales.nbytes


@pytest.mark.parametrize("code_type", ["f8_e4m3", "f8_e5m2"])
@pytest.mark.parametrize("scale_type", ["f32", "bf16"])
@pytest.mark.parametrize("shape", [(256, 256), (576, 300), (5, 130)])
def test_fp8_with_block_scales(probe, code_type, scale_type, shape):
    rng = np.random.default_rng(17)
    codes = rng.integers(0, 256, shape, dtype=np.uint8)
    scales = rng.standard_normal((-(-shape[0] // 128), -(-shape[1] // 128))).astype(np.float32)
    if scale_type == "bf16":
        stored = (scales.view(np.uint32) >> 16).astype(np.uint16)
        scales = (stored.astype(np.uint32) << 16).view(np.float32)
    value = probe("dequantize", code_type, codes).view(np.float32).reshape(shape)
    with np.errstate(all="ignore"):
        want = np.repeat(np.repeat(scales, 128, 0), 128, 1)[:shape[0], :shape[1]] * value
    got, n_bytes = probe.weight({"codes": codes, "scales": stored if scale_type == "bf16" else scales},
                                scheme=SCHEME["fp8"], type=TYPE[code_type], scale_type=TYPE[scale_type], group=128,
                                scale_rows=128, n_row=shape[0], n_col=shape[1])
    same_bits(got, want)
    assert n_bytes == codes.nbytes + scales.size * (2 if scale_type == "bf16" else 4)
    cut = dict(row=shape[0] // 3, rows=shape[0] // 2, col=shape[1] // 3, cols=shape[1] // 2)
    got, _ = probe.weight({"codes": codes, "scales": stored if scale_type == "bf16" else scales},
                          scheme=SCHEME["fp8"], type=TYPE[code_type], scale_type=TYPE[scale_type], group=128,
                          scale_rows=128, n_row=shape[0], n_col=shape[1], **cut)
    same_bits(got, want[cut["row"]:cut["row"] + cut["rows"], cut["col"]:cut["col"] + cut["cols"]])
