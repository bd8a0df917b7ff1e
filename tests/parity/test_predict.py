"""Layers that predict one token further: their logits against mlx-lm's code for a layer of the family, which is given
what numpy makes of embeddings and hidden rows; and that their guesses change no token.

The predicting layer is like the last layer with other weights. So the reference takes the last layer of a copy of the
model in which those weights stand.
"""
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("mlx_lm", reason="the reference is not installed")

import families  # noqa: E402
import harness  # noqa: E402
import tiny_models  # noqa: E402

BOUND = 1e-9
NAMES = ["glm4-moe", "glm4-moe-groups", "deepseek3", "deepseek3-bias"]


def random_like(weights, rng):
    """Other weights of the same sizes and kinds: the old ones in another order."""
    return {n: rng.permutation(w.reshape(-1)).reshape(w.shape) for n, w in weights.items()}


@pytest.fixture
def made(tmp_path, request):
    """(family, folder with a predicting layer, folder whose last layer it is, the layer's own tensors, tokens)."""
    from safetensors.numpy import load_file

    family = families.by_name(request.param)
    folder = tiny_models.build(family, tiny_models.default_root())
    weights = load_file(folder / "model.safetensors")
    n = family.config["num_hidden_layers"]
    assert not any(f".layers.{n}." in name for name in weights)
    rng = np.random.default_rng(5)
    layer = random_like({k: w for k, w in weights.items() if f".layers.{n - 1}." in k}, rng)
    d = family.config["hidden_size"]
    own = {
        "enorm.weight": rng.uniform(0.5, 1.5, d), "hnorm.weight": rng.uniform(0.5, 1.5, d),
        "shared_head.norm.weight": rng.uniform(0.5, 1.5, d), "eh_proj.weight": rng.standard_normal((d, 2 * d)) / np.sqrt(d),
        "shared_head.head.weight": rng.permutation(weights["lm_head.weight"]),
        "embed_tokens.weight": rng.permutation(weights["model.embed_tokens.weight"]),
    }
    own = {name: np.asarray(w, np.float32) for name, w in own.items()}
    whole, block = tmp_path / "whole", tmp_path / "block"
    for at in (whole, block):
        shutil.copytree(folder, at, ignore=shutil.ignore_patterns("*.npy", "*.gguf", "built"))
    behind = {name.replace(f".layers.{n - 1}.", f".layers.{n}."): w for name, w in layer.items()}
    tiny_models.save_safetensors(whole / "model.safetensors",
                                 {**weights, **behind, **{f"model.layers.{n}.{name}": w for name, w in own.items()}})
    tiny_models.save_safetensors(block / "model.safetensors", {**weights, **layer})
    return family, folder, whole, block, own, np.load(folder / "tokens.npy")[:60]


def rms(x, weight, eps):
    x = np.asarray(x, np.float64)
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def reference(family, folder, block, own, tokens):
    import mlx.core as mx

    eps = family.config["rms_norm_eps"]
    with tiny_models.published_rotation(family.reference), tiny_models.published_behaviour(family.reference):
        model = tiny_models.load_reference(folder)
        layer = tiny_models.load_reference(block).model.layers[-1]
        hidden = np.array(model.model(mx.array(tokens[None])))[0]
        pair = np.concatenate([rms(own["embed_tokens.weight"][tokens[1:]], own["enorm.weight"], eps),
                               rms(hidden[:-1], own["hnorm.weight"], eps)], axis=-1)
        x = (pair @ own["eh_proj.weight"].T.astype(np.float64)).astype(np.float32)
        y = np.array(layer(mx.array(x[None]), "causal" if "glm" in family.name else causal(len(x)), None))[0]
    return rms(y, own["shared_head.norm.weight"], eps) @ own["shared_head.head.weight"].T.astype(np.float64)


def causal(n):
    import mlx.core as mx

    return mx.array(np.tril(np.ones((n, n), bool)))


def probe(folder, tokens, at):
    path = pathlib.Path(os.environ.get("HEARTH_PROBES", "build/release")) / "probe_predict"
    if not path.exists():
        pytest.skip("probe_predict is not built")
    subprocess.run([path, folder, ",".join(map(str, tokens)), at], check=True)
    return np.fromfile(at, np.float32).reshape(len(tokens) - 1, -1)


@pytest.mark.parametrize("made", NAMES, indirect=True)
def test_a_predicting_layer_is_what_its_weights_say(made, tmp_path):
    family, folder, whole, block, own, tokens = made
    want = reference(family, folder, block, own, tokens)
    assert tiny_models.nmse(want, probe(whole, tokens, tmp_path / "out")) <= BOUND
    # The ordinary pass does not know it.
    plain = harness.logits(folder, tokens)
    assert np.array_equal(plain, harness.logits(whole, tokens))


@pytest.mark.parametrize("made", NAMES[:1], indirect=True)
@pytest.mark.parametrize("change", ["eh_proj.weight", "enorm.weight", "hnorm.weight", "shared_head.norm.weight"])
def test_each_of_its_tensors_counts(made, tmp_path, change):
    family, folder, whole, block, own, tokens = made
    own = {**own, change: own[change] * np.linspace(0.8, 1.2, own[change].shape[-1], dtype=np.float32)}
    want = reference(family, folder, block, own, tokens)
    assert tiny_models.nmse(want, probe(whole, tokens, tmp_path / "out")) > 1e4 * BOUND


@pytest.mark.parametrize("made", NAMES[:1], indirect=True)
def test_a_strange_predicting_layer_is_passed_over(made, tmp_path):
    from safetensors.numpy import load_file

    family, folder, whole, block, own, tokens = made
    n = family.config["num_hidden_layers"]
    weights = load_file(whole / "model.safetensors")
    weights[f"model.layers.{n}.eh_proj.weight"] = weights[f"model.layers.{n}.eh_proj.weight"][:, :-1]
    tiny_models.save_safetensors(whole / "model.safetensors", weights)
    assert np.array_equal(harness.logits(folder, tokens), harness.logits(whole, tokens))
    with pytest.raises(subprocess.CalledProcessError):
        probe(whole, tokens, tmp_path / "out")
