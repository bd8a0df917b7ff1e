"""Layers that predict one token further: their logits against mlx-lm's code for a layer of the family, which is given
what numpy makes of embeddings and hidden rows; and that their guesses change no token.

The predicting layer is like one of the model's layers with other weights. So the reference takes the last layer of a
second model in which those weights stand.
"""
import dataclasses
import json
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
import tiny_gguf  # noqa: E402
import tiny_models  # noqa: E402
from configs import vary  # noqa: E402

BOUND = 5e-9  # the reference computes in float32
HUB = ["glm4-moe", "glm4-moe-groups", "deepseek3", "deepseek3-bias", "mimo-v2", "qwen3-next", "qwen3.5", "qwen3.5-moe"]
GGUF = ["gguf-glm4-moe", "gguf-deepseek3", "gguf-deepseek3-joined", "gguf-mimo-v2", "gguf-qwen3-next", "gguf-qwen3.5"]
# Of MiMo they are windowed and dense, of Qwen they have attention, whatever the last layer is.
FULL = dict(num_hidden_layers=4, full_attention_interval=4, layer_types=["linear_attention"] * 3 + ["full_attention"])
KINDS = {"mimo": dict(hybrid_layer_pattern=[0, 1, 1, 1], moe_layer_freq=[0, 1, 1, 0]), "qwen": FULL}
# What Qwen and MiMo call what DeepSeek and GLM have behind the last layer.
QWEN = {"eh_proj.weight": "fc.weight", "enorm.weight": "pre_fc_norm_embedding.weight",
        "hnorm.weight": "pre_fc_norm_hidden.weight", "shared_head.norm.weight": "norm.weight"}
MIMO = {"shared_head.norm.weight": "final_layernorm.weight", "post_attention_layernorm.weight": "pre_mlp_layernorm.weight"}


def is_of(family, kind):
    return family.name.removeprefix("gguf-").startswith(kind)


def family_of(name):
    return next(f for f in families.ALL + (tiny_gguf.gguf_rows() if name.startswith("gguf-") else []) if f.name == name)


def layer_family(family):
    """Another model of the family, whose last layer is the predicting one."""
    config = vary(family.text_config, **next((c for kind, c in KINDS.items() if is_of(family, kind)), {}))
    if "text_config" in family.config:
        config = vary(family.config, text_config=config)
    return dataclasses.replace(family, name=family.name + "-next", config=config)


def last_layer(family, weights):
    """The tensors of the last layer, by what stands behind its number."""
    mark = f"layers.{family.text_config['num_hidden_layers'] - 1}."
    return {name.split(mark, 1)[1]: w for name, w in weights.items() if f".{mark}" in name}


def published(family, layer, own):
    """The tensors of the predicting layer under the names of a hub."""
    n = family.text_config["num_hidden_layers"]
    if is_of(family, "qwen"):
        return {**{"mtp.layers.0." + name: w for name, w in layer.items()}, **{"mtp." + QWEN[n]: w for n, w in own.items()}}
    at, names = ("model.mtp.layers.0.", MIMO) if is_of(family, "mimo") else (f"model.layers.{n}.", {})
    return {at + names.get(name, name): w for name, w in {**layer, **own}.items()}


def one_more_layer(family):
    """The config as a GGUF file has it that counts the predicting layer among the others."""
    c = dict(family.text_config, num_hidden_layers=family.text_config["num_hidden_layers"] + 1, gguf_nextn=1)
    if "hybrid_layer_pattern" in c:
        c.update(hybrid_layer_pattern=c["hybrid_layer_pattern"] + [1], moe_layer_freq=c["moe_layer_freq"] + [0])
    if "layer_types" in c:
        c["layer_types"] = [*c["layer_types"], "full_attention"]
    return dataclasses.replace(family, config=dict(c))


@dataclasses.dataclass
class Made:
    family: families.Family
    folder: pathlib.Path  # without a predicting layer
    plain: pathlib.Path  # the model of it that is asked: the folder, or its GGUF file
    whole: pathlib.Path  # with one
    block: pathlib.Path  # the folder whose last layer it is
    own: dict  # what it has beside that layer, as it works
    tokens: np.ndarray


def weights_of(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def own_tensors(family, weights, rng):
    d = family.text_config["hidden_size"]
    own = {"enorm.weight": rng.uniform(0.5, 1.5, d), "hnorm.weight": rng.uniform(0.5, 1.5, d),
           "shared_head.norm.weight": rng.uniform(0.5, 1.5, d), "eh_proj.weight": rng.standard_normal((d, 2 * d)) / np.sqrt(d)}
    if not is_of(family, "qwen") and not is_of(family, "mimo"):
        own["shared_head.head.weight"] = rng.permutation(weights["lm_head.weight"])
        own["embed_tokens.weight"] = rng.permutation(weights["model.embed_tokens.weight"])
    return {name: np.asarray(w, np.float32) for name, w in own.items()}


@pytest.fixture
def made(tmp_path, request):
    family = family_of(request.param)
    folder = tiny_models.build(family, tiny_models.default_root())
    weights = weights_of(folder)
    other = layer_family(family)
    block, whole, plain = tmp_path / "block", tmp_path / "whole", folder
    for at, config in ((whole, family.config), (block, other.config)):
        at.mkdir()
        (at / "config.json").write_text(json.dumps(config))
    block_weights = tiny_models.random_weights(other)
    tiny_models.save_safetensors(block / "model.safetensors", block_weights)
    layer, own = last_layer(other, block_weights), own_tensors(family, weights, np.random.default_rng(5))
    shift = 1 if is_of(family, "qwen") else 0  # norms as the hub stores them
    stored = {name: w - (shift if w.ndim == 1 else 0) for name, w in own.items()}
    if not request.param.startswith("gguf-"):
        tiny_models.save_safetensors(whole / "model.safetensors", {**weights, **published(family, layer, stored)})
    else:
        pytest.importorskip("gguf", reason="the gguf package is not installed")
        plain, _ = tiny_gguf.build(family, tiny_models.default_root())
        n = family.text_config["num_hidden_layers"]
        names = {"shared_head.norm.weight": "final_layernorm.weight"} if is_of(family, "mimo") else {}
        behind = {f"model.layers.{n}.{names.get(name, name)}": w for name, w in {**layer, **stored}.items()}
        whole = whole / "model.gguf"
        tiny_gguf.convert(one_more_layer(family), {**weights, **behind}, whole)
    return Made(family, folder, plain, whole, block, own, np.load(folder / "tokens.npy")[:60])


def rms(x, weight, eps):
    x = np.asarray(x, np.float64)
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def decoder(model):
    """The part of a reference that gives hidden rows."""
    return getattr(model, "language_model", model).model


def tensor_ending(folder, *names):
    """The first of these tensors that the folder has, whatever stands before it."""
    weights = weights_of(folder)
    return next(w for name in names for n, w in weights.items() if n.endswith(name))


def mask_of(family, n):
    import mlx.core as mx
    from mlx_lm.models.base import create_causal_mask

    if is_of(family, "deepseek"):
        return mx.array(np.tril(np.ones((n, n), bool)))
    if is_of(family, "mimo"):
        return create_causal_mask(n, window_size=family.config["sliding_window_size"])
    return "causal"


def reference(made, own):
    import mlx.core as mx

    family, c = made.family, made.family.text_config
    eps = c.get("rms_norm_eps") or c["layernorm_epsilon"]
    embeddings = own.get("embed_tokens.weight", tensor_ending(made.folder, "embed_tokens.weight"))
    head = own.get("shared_head.head.weight", tensor_ending(made.folder, "lm_head.weight", "embed_tokens.weight"))
    with tiny_models.published_rotation(family.reference), tiny_models.published_behaviour(family.reference):
        layer = decoder(tiny_models.load_reference(made.block)).layers[-1]
        hidden = np.array(decoder(tiny_models.load_reference(made.folder))(mx.array(made.tokens[None])))[0]
        pair = np.concatenate([rms(embeddings[made.tokens[1:]], own["enorm.weight"], eps),
                               rms(hidden[:-1], own["hnorm.weight"], eps)], axis=-1)
        x = (pair @ own["eh_proj.weight"].T.astype(np.float64)).astype(np.float32)
        y = np.array(layer(mx.array(x[None]), mask_of(family, len(x)), None))[0]
    return rms(y, own["shared_head.norm.weight"], eps) @ head.T.astype(np.float64)


def probe(name, *words):
    path = pathlib.Path(os.environ.get("HEARTH_PROBES", "build/release")) / name
    if not path.exists():
        pytest.skip(f"{name} is not built")
    return subprocess.run([path, *map(str, words)], check=True, capture_output=True, timeout=120).stdout


def predicted(made, at):
    probe("probe_predict", made.whole, ",".join(map(str, made.tokens)), at)
    return np.fromfile(at, np.float32).reshape(len(made.tokens) - 1, -1)


@pytest.mark.parametrize("made", HUB + GGUF, indirect=True)
def test_a_predicting_layer_is_what_its_weights_say(made, tmp_path):
    want = reference(made, made.own)
    assert tiny_models.nmse(want, predicted(made, tmp_path / "out")) <= BOUND
    # The ordinary pass does not know it.
    assert np.array_equal(harness.logits(made.plain, made.tokens), harness.logits(made.whole, made.tokens))


@pytest.mark.parametrize("made", ["glm4-moe", "deepseek3", "mimo-v2", "qwen3-next", "gguf-mimo-v2", "gguf-qwen3.5"], indirect=True)
def test_its_guesses_change_no_token(made):
    alone, guessed, counts = probe("probe_predict", made.whole, ",".join(map(str, made.tokens)), "-").decode().splitlines()
    assert len(alone.split()) == 100 and guessed == alone
    assert int(counts.split()[0]) > 0, "nothing was guessed"


@pytest.mark.parametrize("made", ["glm4-moe", "mimo-v2"], indirect=True)
def test_each_of_its_tensors_counts(made, tmp_path):
    got = predicted(made, tmp_path / "out")
    for change in ("eh_proj.weight", "enorm.weight", "hnorm.weight", "shared_head.norm.weight"):
        w = made.own[change]
        own = {**made.own, change: w * np.linspace(0.8, 1.2, w.shape[-1], dtype=np.float32)}
        assert tiny_models.nmse(reference(made, own), got) > 1e4 * BOUND, change


@pytest.mark.parametrize("made", ["glm4-moe"], indirect=True)
def test_a_strange_predicting_layer_is_passed_over(made, tmp_path):
    n = made.family.config["num_hidden_layers"]
    weights = weights_of(made.whole)
    weights[f"model.layers.{n}.eh_proj.weight"] = weights[f"model.layers.{n}.eh_proj.weight"][:, :-1]
    tiny_models.save_safetensors(made.whole / "model.safetensors", weights)
    assert np.array_equal(harness.logits(made.folder, made.tokens), harness.logits(made.whole, made.tokens))
    with pytest.raises(subprocess.CalledProcessError):
        predicted(made, tmp_path / "out")
