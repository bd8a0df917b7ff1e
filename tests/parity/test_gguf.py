"""Tiny GGUF files of every family: Hearth's logits, and what it makes of changed metadata.

The files are written by tiny_gguf.py; that llama.cpp reads them alike is the business of the long tests.
"""
import json
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("mlx_lm", reason="the reference is not installed")
pytest.importorskip("gguf", reason="the gguf package is not installed")

import harness  # noqa: E402
import tiny_gguf  # noqa: E402
import tiny_gguf_mamba  # noqa: E402
import tiny_gguf_rwkv  # noqa: E402
import tiny_models  # noqa: E402

ROWS = [pytest.param(f, id=f.name) for f in tiny_gguf.gguf_rows()]

# What a file says without a bearing on the logits of a short sequence.
HARMLESS = {
    "context_length": "a limit",
    "rope.scaling.original_context_length": "only where there is a scaling",
    "vocab_size": "the embedding table has the say",
}


def answer(family, path, tokens):
    try:
        return harness.logits(path, tokens)
    except harness.Refused as refused:
        if family.extra and "known" in str(refused):
            pytest.skip(f"not promised: {refused}")
        raise


@pytest.mark.parametrize("family", ROWS)
def test_a_gguf_file_gives_the_logits_of_its_folder(family):
    path, folder = tiny_gguf.build(family, tiny_models.default_root())
    got = answer(family, path, np.load(folder / "tokens.npy"))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= bound_of(family)


def bound_of(family):
    """The reference's own float32 noise where that is more: 64 layers, or gates that cut sharply."""
    stats = json.loads((tiny_models.default_root() / family.name / "stats.json").read_text())
    return max(family.bound, stats["reference_noise"])


def changed(key, value):
    """Another value for a metadata key."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value * (4.0 if "epsilon" in key else 1 / 16 if "beta" in key else 1.4)
    if isinstance(value, str):
        return "yarn" if value == "linear" else "linear"
    if isinstance(value, list):
        first = value[0]
        return [not first if isinstance(first, bool) else type(first)(first + 1), *value[1:]]
    if key == "attention.sliding_window":
        return 9
    if key == "rope.scaling.original_context_length":
        return value * 4
    if key in ("block_count", "attention.shared_kv_layers"):
        return value - 1 if value else 1
    if "head_count" in key:
        return value * 2
    return value + 4


def harmless(family, key, value, written):
    scaled = written.get("rope.scaling.type") in ("linear", "yarn", "longrope")
    if key == "rope.scaling.original_context_length" and family.name == "gguf-phi3-longrope-short":
        return True  # longer than the sequence before and after
    if key == "rope.scaling.original_context_length" and scaled:
        return False
    if key == "attention.sliding_window" and written["block_count"] and family.config["model_type"] == "phi3":
        return True  # llama.cpp does not apply it either
    if key == "attention.layer_norm_epsilon" and family.config["model_type"] in ("exaone",):
        return True  # the family's norm is RMS; the other key is used
    if key == "attention.layer_norm_rms_epsilon" and family.config["model_type"] in ("nemotron",):
        return True
    if key == "feed_forward_length" and "expert_feed_forward_length" in written:
        return written.get("leading_dense_block_count", 0) == 0  # no layer is dense
    if key == "expert_shared_count" and "expert_shared_feed_forward_length" in written:
        return True  # the width says it
    if key == "expert_group_used_count" and written["expert_group_count"] == 1:
        return True
    if key == "attention.layer_norm_rms_epsilon" and value <= 1e-5:
        return True  # llama.cpp wants it as small as that of a delta rule's keys, or of compressed rows
    if "attention.kv_lora_rank" in written and key == "attention.head_count_kv":
        return True  # all heads share one compressed row
    if "attention.key_length_mla" in written and key in ("attention.key_length", "attention.value_length"):
        return True  # sizes of the state, which follow from the rank
    if "expert_count" not in written and key.startswith(("expert_", "leading_dense")):
        return True
    if key == "full_attention_interval" and "attention.recurrent_layers" in written:
        return True  # the list wins
    if family.config["model_type"] == "kimi_linear" and key in ("attention.key_length", "attention.value_length", "rope.freq_base"):
        return True  # the lengths have names of their own, and nothing is rotated
    if key == "rope.dimension_sections":
        return True  # text has one position
    if key == "rope.scaling.type" and value in ("none", "longrope"):
        return True  # without a factor any type means the same; longrope is in its tensors
    return key in HARMLESS or tiny_gguf_mamba.is_unread(family.config, key) or tiny_gguf_rwkv.is_unread(family.config, key)


@pytest.mark.parametrize("family", ROWS)
def test_every_changed_metadata_value_shows_or_is_refused(family, tmp_path):
    from safetensors.numpy import load_file

    path, folder = tiny_gguf.build(family, tiny_models.default_root())
    tokens, reference = np.load(folder / "tokens.npy"), np.load(folder / "ref.npy")
    answer(family, path, tokens)
    weights = load_file(folder / "model.safetensors")
    written = tiny_gguf.convert(family, weights, tmp_path / "same.gguf")
    holes = []
    for key, value in written.items():
        if harmless(family, key, value, written):
            continue
        new = changed(key, value)
        tiny_gguf.convert(family, weights, tmp_path / "changed.gguf", {key: new})
        try:
            got = harness.logits(tmp_path / "changed.gguf", tokens)
        except harness.Refused:
            continue
        if got.shape == reference.shape and tiny_models.nmse(reference, got) <= bound_of(family):
            holes.append(f"{key}={new!r:.40}")
    assert not holes, f"changes that nothing notices: {holes}"


REQUIRED = ["block_count", "embedding_length", "feed_forward_length", "attention.head_count"]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_required_key_is_refused_by_name(key, tmp_path):
    from safetensors.numpy import load_file

    family = next(f for f in tiny_gguf.gguf_rows() if f.name == "gguf-llama")
    _, folder = tiny_gguf.build(family, tiny_models.default_root())
    tiny_gguf.convert(family, load_file(folder / "model.safetensors"), tmp_path / "model.gguf", {key: None})
    with pytest.raises(harness.Refused, match=key.replace(".", r"\.")):
        harness.logits(tmp_path / "model.gguf", [1, 2, 3])
