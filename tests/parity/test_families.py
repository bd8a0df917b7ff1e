"""Logits of tiny models of every family against mlx-lm, position by position.

The reference is mlx-lm's model code evaluated in float64 (tiny_models.py says how), so that the bound can be
tight: 1e-10 of NMSE. A wrong norm, a swapped pairing or an ignored scale gives 1e-4 or more.
"""
import json
import os
import pathlib
import shutil
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("mlx_lm", reason="the reference is not installed")

import families  # noqa: E402
import harness  # noqa: E402
import mutations  # noqa: E402
import tiny_models  # noqa: E402

EVERY = [pytest.param(f, id=f.name) for f in families.ALL]


def folder_of(family, dtype="float32"):
    return tiny_models.build(family, tiny_models.default_root(), dtype)


def answer(family, folder, tokens, *options):
    """Hearth's logits; families that are not promised may be unknown."""
    try:
        return harness.logits(folder, tokens, *options)
    except harness.Refused as refused:
        if family.extra and "known" in str(refused):
            pytest.skip(f"not promised: {refused}")
        raise


def variant_folder(family, target, config):
    """The folder of `family` with another config.json; the weights are linked, not copied."""
    source = folder_of(family)
    target.mkdir(exist_ok=True)
    link = target / "model.safetensors"
    if not link.exists():
        try:
            os.link(source / "model.safetensors", link)
        except OSError:
            shutil.copy(source / "model.safetensors", link)
    (target / "config.json").write_text(json.dumps(config, indent=2))
    return target


@pytest.mark.parametrize("family", EVERY)
def test_logits_are_those_of_the_reference(family):
    folder = folder_of(family)
    reference = np.load(folder / "ref.npy")
    got = answer(family, folder, np.load(folder / "tokens.npy"))
    assert got.dtype == np.float32 and got.shape == reference.shape
    distance = tiny_models.nmse(reference, got)
    worst = np.argmax(np.mean((got - reference) ** 2, axis=1))
    assert distance <= family.bound, f"NMSE {distance:.2e}; position {worst} is worst"


@pytest.mark.parametrize("family", EVERY)
def test_prefill_in_chunks_equals_prefill_in_one_go_bit_for_bit(family):
    folder = folder_of(family)
    tokens = np.load(folder / "tokens.npy")
    one_go = answer(family, folder, tokens, "-t", "1")
    for options in (("--chunk", "7", "-t", "1"), ("--chunk", "32", "-t", "2"), ("-t", "2")):
        assert np.array_equal(one_go, answer(family, folder, tokens, *options)), options


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in families.ALL if not f.no_rewrite])
def test_a_config_rewritten_by_transformers_5_means_the_same(family, tmp_path):
    source = folder_of(family)
    config = json.loads((source / "config.transformers5.json").read_text())
    tokens = np.load(source / "tokens.npy")
    as_published = answer(family, source, tokens)
    rewritten = answer(family, variant_folder(family, tmp_path / "model", config), tokens)
    assert tiny_models.nmse(np.load(source / "ref.npy"), rewritten) <= family.bound
    assert tiny_models.nmse(as_published, rewritten) <= 1e-12


@pytest.mark.parametrize("family", EVERY)
def test_every_changed_hyper_parameter_shows_or_is_refused(family, tmp_path):
    source = folder_of(family)
    tokens, reference = np.load(source / "tokens.npy"), np.load(source / "ref.npy")
    answer(family, source, tokens)
    holes = []
    for name, config in mutations.of(family):
        try:
            got = harness.logits(variant_folder(family, tmp_path / "model", config), tokens)
        except harness.Refused:
            continue
        if got.shape == reference.shape and tiny_models.nmse(reference, got) <= family.bound:
            holes.append(name)
    assert not holes, f"changes that nothing notices: {holes}"


@pytest.mark.parametrize("family", EVERY)
def test_every_key_of_a_config_has_a_rule_or_a_reason(family):
    assert len(list(mutations.of(family))) >= 8


BF16 = ["llama-bias", "qwen3", "gemma2", "gemma3", "gemma4", "olmo2", "starcoder2"]


@pytest.mark.parametrize("name", BF16)
def test_bfloat16_folders_give_the_logits_of_their_rounded_weights(name):
    family = families.by_name(name)
    folder = folder_of(family, "bfloat16")
    got = answer(family, folder, np.load(folder / "tokens.npy"))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= family.bound
    # and the rounding is felt: these are not the logits of the float32 folder
    assert tiny_models.nmse(np.load(folder_of(family) / "ref.npy"), got) >= 1e-7


@pytest.mark.parametrize("family", EVERY)
def test_the_reference_as_it_is_agrees_with_itself_in_float64(family):
    folder = folder_of(family)
    noise = json.loads((folder / "stats.json").read_text())["reference_noise"]
    assert noise <= 5e-10, "the float64 primitives compute something else than the reference"


def plain_llama(weights, config, tokens):
    """Llama's forward pass in numpy, float64: what no reference library had a hand in."""
    n_head, n_kv = config["num_attention_heads"], config["num_key_value_heads"]
    d = config["hidden_size"] // n_head
    angles = np.arange(len(tokens))[:, None] * config["rope_theta"] ** (-np.arange(0, d, 2) / d)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]

    def norm(x, w):
        return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + config["rms_norm_eps"]) * w

    def rope(x):  # [n_tok, heads, d]
        a, b = x[..., : d // 2], x[..., d // 2 :]
        return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

    w = {k.removeprefix("model."): v.astype(np.float64) for k, v in weights.items()}
    h = w["embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        p = f"layers.{i}."
        x = norm(h, w[p + "input_layernorm.weight"])
        q = rope((x @ w[p + "self_attn.q_proj.weight"].T).reshape(len(tokens), n_head, d))
        k = rope((x @ w[p + "self_attn.k_proj.weight"].T).reshape(len(tokens), n_kv, d))
        v = (x @ w[p + "self_attn.v_proj.weight"].T).reshape(len(tokens), n_kv, d)
        out = np.zeros_like(q)
        for j in range(n_head):
            scores = q[:, j] @ k[:, j * n_kv // n_head].T / np.sqrt(d)
            scores = np.where(np.tri(len(tokens), dtype=bool), scores, -np.inf)
            weight = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, j] = weight / weight.sum(-1, keepdims=True) @ v[:, j * n_kv // n_head]
        h = h + out.reshape(len(tokens), -1) @ w[p + "self_attn.o_proj.weight"].T
        x = norm(h, w[p + "post_attention_layernorm.weight"])
        gate, up = x @ w[p + "mlp.gate_proj.weight"].T, x @ w[p + "mlp.up_proj.weight"].T
        h = h + (gate / (1 + np.exp(-gate)) * up) @ w[p + "mlp.down_proj.weight"].T
    return norm(h, w["norm.weight"]) @ w["lm_head.weight"].T


def test_the_float64_reference_agrees_with_a_forward_pass_written_in_numpy():
    from safetensors.numpy import load_file

    family = families.by_name("llama")
    folder = folder_of(family)
    logits = plain_llama(load_file(folder / "model.safetensors"), family.config, np.load(folder / "tokens.npy"))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), logits) <= 1e-20
