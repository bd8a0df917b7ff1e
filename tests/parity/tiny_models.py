"""Builds tiny models of every family and the reference's logits for them.

A tiny model is a folder as hubs publish it: config.json and model.safetensors (f32, the hub's tensor
names). Every parameter is random and seeded by the model's name: nothing is left at its initial value,
so that a forgotten bias, a norm in the wrong place or a swapped head shows. The reference is mlx-lm,
which loads the folder through its own loader.

The reference runs twice. Once as it is, in float32 on the CPU; and once with the same model code in
float64 (`exact_arithmetic`), which rounds nothing that matters. Hearth is compared with the float64
logits; the distance of the float32 ones from them is the reference's own noise and is kept beside
them (stats.json). The distance also proves that the float64 primitives below compute the same thing.
"""
import contextlib
import copy
import hashlib
import json
import math
import os
import pathlib
import zlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
FORMAT = 4  # changes when the files that this writes change


def nmse(reference, value):
    """Normalised mean squared error: 0 is equal, 1 is as bad as answering zero."""
    reference = np.asarray(reference, np.float64)
    value = np.asarray(value, np.float64)
    if reference.shape != value.shape or not np.all(np.isfinite(value)):
        return math.inf
    return float(np.sum((reference - value) ** 2) / np.sum(reference**2))


# ---------------------------------------------------------------------------------------------
# The reference in float64


def _rope64(x, dims, *, traditional, base, scale, offset, freqs=None, stream=None):
    """mlx.core.fast.rope: rotates the first `dims` elements of each head."""
    import mlx.core as mx

    half = dims // 2
    if freqs is None:
        freqs = mx.array(float(base) ** (np.arange(half) * 2.0 / dims), mx.float64)
    inverse = 1.0 / freqs.astype(mx.float64)
    positions = mx.array(np.arange(x.shape[-2]) + float(offset), mx.float64)
    angles = (positions * scale)[:, None] * inverse[None, :]
    cos, sin = mx.cos(angles), mx.sin(angles)
    turned, rest = x[..., :dims], x[..., dims:]
    if traditional:
        a, b = turned[..., 0::2], turned[..., 1::2]
        out = mx.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(turned.shape)
    else:
        a, b = turned[..., :half], turned[..., half:]
        out = mx.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    return mx.concatenate([out, rest], axis=-1) if rest.shape[-1] else out


def _rms_norm64(x, weight, eps, stream=None):
    import mlx.core as mx

    y = x / mx.sqrt(mx.mean(x * x, axis=-1, keepdims=True) + eps)
    return y if weight is None else y * weight


def _layer_norm64(x, weight, bias, eps, stream=None):
    import mlx.core as mx

    centred = x - mx.mean(x, axis=-1, keepdims=True)
    y = centred / mx.sqrt(mx.mean(centred * centred, axis=-1, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _by_numpy(function):
    """mlx computes some functions of float64 arrays through float32: numpy computes them instead."""

    def apply(x, stream=None):
        import mlx.core as mx

        return mx.array(function(np.array(x)), mx.float64)

    return apply


def _softmax64(x, axis=-1, precise=False, stream=None):
    import mlx.core as mx

    weights = mx.exp(x - mx.max(x, axis=axis, keepdims=True))
    return weights / mx.sum(weights, axis=axis, keepdims=True)


def _gather_mm64(a, b, /, lhs_indices=None, rhs_indices=None, *, sorted_indices=False, stream=None):
    """mlx.core.gather_mm: each row with the matrix of its expert."""
    import mlx.core as mx

    assert lhs_indices is None
    return a @ mx.take(b, rhs_indices, axis=0)


def _conv1d64(x, weight, stride=1, padding=0, dilation=1, groups=1, stream=None):
    """mlx.core.conv1d by channel: x [n, rows, channels], weight [channels, taps, 1]."""
    assert (stride, padding, dilation, groups) == (1, 0, 1, weight.shape[0])
    n = x.shape[1] - weight.shape[1] + 1
    return sum(x[:, j : j + n] * weight[:, j, 0] for j in range(weight.shape[1]))


def _logaddexp64(a, b, stream=None):
    import mlx.core as mx

    return mx.array(np.logaddexp(np.array(a), np.array(b)), mx.float64)


class AttentionPeaks:
    """Collects how peaked attention is: the mean over rows of the largest probability."""

    def __init__(self):
        self.values = []

    def attention(self, q, k, v, *, scale, mask=None, sinks=None, stream=None):
        """mlx.core.fast.scaled_dot_product_attention, spelled out."""
        import mlx.core as mx

        repeats = q.shape[1] // k.shape[1]
        k, v = mx.repeat(k, repeats, axis=1), mx.repeat(v, repeats, axis=1)
        scores = (q * scale) @ k.swapaxes(-1, -2)
        n_q, n_k = scores.shape[-2:]
        if isinstance(mask, str):
            mask = mx.array(np.tril(np.ones((n_q, n_k), bool), n_k - n_q))
        if mask is not None and mask.dtype != mx.bool_:  # what latent attention adds to the scores
            scores = scores + mask
        elif mask is not None:
            scores = mx.where(mask, scores, mx.array(-math.inf, mx.float64))
        if sinks is not None:  # one more key with a fixed score and no value
            column = mx.broadcast_to(sinks.reshape(1, -1, 1, 1), (*scores.shape[:3], 1))
            weights = mx.softmax(mx.concatenate([scores, column], axis=-1))[..., :-1]
        else:
            weights = mx.softmax(scores)
        self.values.append(float(mx.mean(mx.max(weights, axis=-1)[..., 8:]).item()))
        return weights @ v


@contextlib.contextmanager
def exact_arithmetic():
    """Makes mlx compute in float64 wherever a model asks for float32 or for a fused primitive."""
    import mlx.core as mx

    peaks = AttentionPeaks()
    arange = mx.arange

    def arange64(*args, **kwargs):
        kwargs.pop("dtype", None)
        return arange(*args, dtype=mx.float64, **kwargs)

    patches = [
        (mx, "float32", mx.float64),
        (mx, "arange", arange64),
        (mx, "cos", _by_numpy(np.cos)),
        (mx, "sin", _by_numpy(np.sin)),
        (mx, "exp", _by_numpy(np.exp)),
        (mx, "erf", _by_numpy(np.vectorize(math.erf, otypes=[np.float64]))),
        (mx, "tanh", _by_numpy(np.tanh)),
        (mx, "sigmoid", _by_numpy(lambda x: 1 / (1 + np.exp(-x)))),
        (mx, "softmax", _softmax64),
        (mx, "gather_mm", _gather_mm64),
        (mx, "conv1d", _conv1d64),
        (mx, "logaddexp", _logaddexp64),
        (mx.fast, "rope", _rope64),
        (mx.fast, "rms_norm", _rms_norm64),
        (mx.fast, "layer_norm", _layer_norm64),
        (mx.fast, "scaled_dot_product_attention", peaks.attention),
    ]
    saved = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    mx.disable_compile()
    try:
        for owner, name, value in patches:
            setattr(owner, name, value)
        yield peaks
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)
        mx.enable_compile()


FLOATING = ("mlx.core.float16", "mlx.core.bfloat16", "mlx.core.float32")


def load_reference(folder, exact=False, config=None):
    """The model that mlx-lm makes of a folder, dequantized and in float32 (or float64). `config`: keys changed."""
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm import utils

    mx.set_default_device(mx.cpu)
    loaded = utils.load_model(pathlib.Path(folder), model_config=config)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    # Scales and biases too, before dequantizing: nothing is rounded to the folder's 16-bit type.
    dtype = mx.float64 if exact else mx.float32

    def up_cast():
        model.update(tree_map(lambda a: a.astype(dtype) if repr(a.dtype) in FLOATING else a, model.parameters()))

    up_cast()
    if "quantization" in json.loads((pathlib.Path(folder) / "config.json").read_text()):
        assert not exact, "mlx dequantizes in float32 only: make a plain folder of it first"
        model = utils.dequantize_model(model)
        up_cast()
    for module in model.modules():  # frequencies that were computed in float32 at construction
        if exact and hasattr(module, "_freqs") and module._freqs is not None:
            module._freqs = module._freqs.astype(mx.float64)
    return model


class WindowedLayer:
    """A layer of the reference whose mask is replaced by a causal window."""

    def __init__(self, layer, window):
        self.layer, self.window = layer, window

    def __call__(self, x, mask, *args, **kwargs):
        from mlx_lm.models.base import create_causal_mask

        return self.layer(x, create_causal_mask(x.shape[1], window_size=self.window), *args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.layer, name)


class OneGoCache:
    """Holds one layer's keys and values for the layers that share them, without windows or wrapping."""

    offset = 0

    def update_and_fetch(self, keys, values):
        self.kept = keys, values
        return self.kept

    def keys_and_values(self):
        return self.kept


@contextlib.contextmanager
def published_behaviour(adjust):
    """Corrects mlx-lm where it departs from the published model (Family.reference)."""
    import mlx.core as mx
    import mlx.nn as nn

    softmax = mx.softmax
    gelu, bfloat16, std, take, choose = nn.gelu, mx.bfloat16, mx.std, mx.take_along_axis, mx.argpartition
    rms_norm = mx.fast.rms_norm
    if "weightless_eps" in adjust:  # Llama 4 fixes it where the config has a key
        mx.fast.rms_norm = lambda x, weight, eps: rms_norm(x, weight, adjust["weightless_eps"] if weight is None else eps)
    if "choice_bias" in adjust:  # the experts with the best sum of score and bias; the routers pass -score
        mx.argpartition = lambda scores, kth, axis=-1: choose(scores - mx.array(adjust["choice_bias"], scores.dtype), kth, axis)
    if adjust.get("routing") == "normalized":  # the weights of the chosen experts sum to 1

        def take_weights(values, indices, axis):
            chosen = take(values, indices, axis=axis)
            return chosen / mx.sum(chosen, axis=axis, keepdims=True)

        mx.take_along_axis = take_weights
    if adjust.get("routing") == "softmax of all":  # routers alone ask for a precise one
        mx.take_along_axis = lambda values, indices, axis: take(softmax(values, axis=-1), indices, axis=axis)
        mx.softmax = lambda x, axis=-1, precise=False, stream=None: x if precise else softmax(x, axis=axis)
    if adjust.get("std") == "sample":
        mx.std = lambda x, axis=None, keepdims=False: std(x, axis=axis, keepdims=keepdims, ddof=1)
    if adjust.get("gelu") == "tanh":
        nn.gelu = nn.gelu_approx
    if adjust.get("embedding_scale") == "exact":  # Gemma 3 rounds the square root of its width to bfloat16
        mx.bfloat16 = mx.float32
    try:
        yield
    finally:
        nn.gelu, mx.bfloat16, mx.std, mx.take_along_axis, mx.argpartition = gelu, bfloat16, std, take, choose
        mx.fast.rms_norm, mx.softmax = rms_norm, softmax


def run_reference(model, tokens, adjust):
    """Evaluates all positions of the sequence in one go."""
    import mlx.core as mx

    if "windows" in adjust:
        inner = next(m for m in model.modules() if isinstance(m.get("layers"), list))
        inner.layers = [WindowedLayer(layer, w) if w else layer
                        for layer, w in zip(inner.layers, adjust["windows"])]
    cache = [OneGoCache() for _ in model.layers] if adjust.get("cache") else None
    inputs = mx.array(np.asarray(tokens, np.int32))[None]
    with published_behaviour(adjust):
        out = model(inputs, cache=cache) if cache else model(inputs)
        out = out[0] if isinstance(out, tuple) else out
        mx.eval(out)
    return out[0]


@contextlib.contextmanager
def published_rotation(adjust):
    """The reference rounds yarn's correction range to whole dimensions whatever the config says."""
    import types

    from mlx_lm.models import rope_utils

    kept = rope_utils.math
    if adjust.get("yarn") == "not rounded":
        rope_utils.math = types.SimpleNamespace(**{**vars(math), "floor": float, "ceil": float})
    try:
        yield
    finally:
        rope_utils.math = kept


def reference_logits(folder, tokens, exact=False, adjust={}):
    """[n_tokens, n_vocab] of the whole sequence in one go; with `exact`, (logits64, mean peak)."""
    import mlx.core as mx

    config = copy.deepcopy(adjust.get("config"))
    if not exact:
        with published_rotation(adjust):
            model = load_reference(folder, config=config)
        return np.array(run_reference(model, tokens, adjust).astype(mx.float32))
    with exact_arithmetic() as peaks, published_rotation(adjust):
        out = run_reference(load_reference(folder, exact=True, config=config), tokens, adjust)
        assert out.dtype == mx.float64, "the reference left float64"
        return np.array(out), float(np.mean(peaks.values)) if peaks.values else float("nan")


# ---------------------------------------------------------------------------------------------
# Random parameters


QK_NORMS = ("q_norm", "k_norm", "query_layernorm", "key_layernorm", "q_layernorm", "k_layernorm")


# RWKV: how much of the row before is mixed in, and factors of keys.
RWKV_PARTS = {**{"x_" + part: (-0.1, 1.1) for part in "rwkvag"}, "k_k": (0.4, 1.6), "k_a": (0.3, 1.3), "r_k": (-0.6, 0.9)}


def is_norm(name):
    last = name.rsplit(".", 2)
    return any("norm" in part or part.startswith("ln_") for part in last)


def random_parameter(family, name, shape, rng):
    """A value for the reference's parameter `name`. Matrices are scaled by their input width."""
    leaf = name.rsplit(".", 1)[-1]
    gains = family.gains
    for part, gain in gains.items():
        if part in name and leaf != "bias":
            return rng.standard_normal(shape) * gain / math.sqrt(shape[-1])
    if leaf == "bias":
        return rng.standard_normal(shape) * 0.3
    if leaf in ("e_score_correction_bias", "expert_bias"):  # not below zero: see docs/models.md on limited groups
        return rng.uniform(0, 0.4, shape)
    if leaf in ("sinks", "attention_sink_bias"):
        return rng.standard_normal(shape) * 1.5
    if leaf in ("layer_scalar", "correct_output_scale"):
        return rng.uniform(0.5, 1.4, shape)
    if "dt_layernorm" in name or ("_layernorm" in name and name.rsplit(".", 2)[1] in ("b_layernorm", "c_layernorm")):
        return rng.uniform(0.4, 1.9, shape)
    if leaf == "A_log":  # decays of Mamba: fast and slow ones
        return rng.uniform(-2.5, 1.5, shape)
    if leaf in RWKV_PARTS:
        return rng.uniform(*RWKV_PARTS[leaf], shape)
    if leaf == "D":
        return rng.uniform(0.4, 1.6, shape)
    if leaf == "dt_bias":
        return rng.standard_normal(shape) - 0.5
    if "conv1d.weight" in name:
        return rng.standard_normal(shape) * 0.6
    if leaf in ("alpha_p", "alpha_n", "beta", "eps"):  # xIELU
        return {"eps": -1e-6}.get(leaf, rng.uniform(0.3, 0.9)) * np.ones(shape)
    if leaf == "weight" and is_norm(name) and (len(shape) == 1 or "q_norm" in name or "k_norm" in name or "g_norm" in name):
        low, high = family.qk_norm if any(p in name for p in QK_NORMS) else (0.4, 1.9)
        return rng.uniform(low, high, shape) - (1.0 if family.norm_plus_one else 0.0)
    if "embed" in name or "wte" in name:
        return rng.standard_normal(shape) * family.embed_std
    if "lm_head" in name or name == "output.weight":
        return rng.standard_normal(shape) * family.head_gain / math.sqrt(shape[-1])
    peaked = ("q_proj", "k_proj", "qkv_proj", "query_key_value", "wqkv", "W_pack", "c_attn")
    if any(part in name for part in peaked):
        return rng.standard_normal(shape) * family.qk_gain / math.sqrt(shape[-1])
    return rng.standard_normal(shape) * 1.2 / math.sqrt(shape[-1])


def random_weights(family):
    """{hub name: float32 array}, seeded by the family's name."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm import utils

    mx.set_default_device(mx.cpu)
    config = json.loads(json.dumps(family.config))
    model_class, args_class = utils._get_classes(config)
    model = model_class(args_class.from_dict(config))
    shapes = {name: tuple(a.shape) for name, a in tree_flatten(model.parameters())}
    if family.tied:
        shapes = {n: s for n, s in shapes.items() if not n.endswith("lm_head.weight")}
    rng = np.random.default_rng(zlib.crc32(family.name.encode()))
    weights = {
        name: random_parameter(family, name, shape, rng).astype(np.float32)
        for name, shape in sorted(shapes.items())
    }
    return family.to_hub(weights, config)


def tokens_of(family):
    """The token sequence of a family: seeded, without repeating structure."""
    rng = np.random.default_rng(zlib.crc32(family.name.encode()) ^ 0x70617269)
    n_vocab = family.text_config["vocab_size"]
    return rng.integers(0, n_vocab, family.n_tokens).astype(np.int32)


# ---------------------------------------------------------------------------------------------
# Files


def save_safetensors(path, tensors, dtype="float32"):
    """Writes tensors of one type; bfloat16 rounds to nearest even."""
    from safetensors.numpy import save_file

    path = pathlib.Path(path)
    if dtype == "float32":
        save_file({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}, str(path),
                  metadata={"format": "pt"})
        return
    import mlx.core as mx

    assert dtype == "bfloat16"
    mx.save_safetensors(str(path), {k: mx.array(v).astype(mx.bfloat16) for k, v in tensors.items()},
                        metadata={"format": "pt"})


def fingerprint(family, dtype):
    """Names a build: it is made again when the family's row or this module changes."""
    text = repr((FORMAT, family.key(), dtype)) + (HERE / "tiny_models.py").read_text()
    return hashlib.sha256(text.encode()).hexdigest()


def rewritten_config(folder):
    """The same config as transformers 5 would save it again (nested rope_parameters and so on)."""
    import logging

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder))
    return json.loads(config.to_json_string(use_diff=False))


def build(family, root, dtype="float32"):
    """Makes the folder of `family` under `root` unless it is there; returns its path.

    Beside the model: tokens.npy, ref.npy (float64), ref32.npy (the reference as it is), stats.json.
    """
    folder = pathlib.Path(root) / (family.name + ("" if dtype == "float32" else "-" + dtype))
    stamp = folder / "built"
    mark = fingerprint(family, dtype)
    if stamp.exists() and stamp.read_text() == mark:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    weights = random_weights(family)
    config = dict(family.config)
    if dtype != "float32":
        config["torch_dtype"] = dtype
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_safetensors(folder / "model.safetensors", weights, dtype)
    if not family.no_rewrite:
        (folder / "config.transformers5.json").write_text(json.dumps(rewritten_config(folder), indent=2))
    tokens = tokens_of(family)
    exact, peak = reference_logits(folder, tokens, exact=True, adjust=family.reference)
    plain = reference_logits(folder, tokens, adjust=family.reference)
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "ref.npy", exact)
    np.save(folder / "ref32.npy", plain)
    stats = {
        "n_param": int(sum(w.size for w in weights.values())),
        "logit_std": float(exact.std()),
        "attention_peak": peak,
        "reference_noise": nmse(exact, plain),
    }
    (folder / "stats.json").write_text(json.dumps(stats, indent=2))
    stamp.write_text(mark)
    return folder


def default_root():
    """build/parity of this checkout, or HEARTH_PARITY; for each worker its own, since they write at once."""
    root = pathlib.Path(os.environ.get("HEARTH_PARITY", HERE.parents[1] / "build" / "parity"))
    return root / os.environ.get("PYTEST_XDIST_WORKER", "")


def main():
    """Builds everything, or the families named on the command line, and prints what came out."""
    import sys

    import families

    wanted = sys.argv[1:]
    for family in families.ALL:
        if wanted and not any(family.name == w or family.name.startswith(w + "-") for w in wanted):
            continue
        stats = json.loads((build(family, default_root()) / "stats.json").read_text())
        print(f"{family.name:28} {stats['n_param']:8d} parameters  logits {stats['logit_std']:6.2f}"
              f"  peak {stats['attention_peak']:.2f}  reference noise {stats['reference_noise']:.1e}",
              flush=True)


if __name__ == "__main__":
    main()
