"""MLX folders: affine 2 to 8 bits, mxfp4, mxfp8, nvfp4, per-layer overrides; logits of the weights they hold.

The folders are made by mlx-lm's own quantizer. The reference is the same model with every weight dequantized
from scales and biases up-cast to float32, evaluated in float64: activations are not quantized and nothing is
rounded to the folder's 16-bit type, so that the bound is that of a float32 model.
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
import families_hybrid  # noqa: E402
import families_mamba  # noqa: E402
import families_rwkv  # noqa: E402
import harness  # noqa: E402
import tiny_models  # noqa: E402

# Widths that the groups divide: 128 and 256; 192 is not a multiple of 128, so that matrix stays as it was.
BASES = {
    "llama": families.Family("mlx-llama", families.vary(
        families.LLAMA, hidden_size=128, num_attention_heads=4, intermediate_size=256, num_hidden_layers=2)),
    "llama192": families.Family("mlx-llama192", families.vary(
        families.LLAMA, hidden_size=128, num_attention_heads=4, intermediate_size=192, num_hidden_layers=2,
        attention_bias=True)),
    "qwen3": families.Family("mlx-qwen3", families.vary(
        families.QWEN3, hidden_size=128, num_attention_heads=4, head_dim=64, intermediate_size=256,
        num_hidden_layers=2), tied=True, embed_std=0.4),
    "gemma3": families.Family("mlx-gemma3", families.vary(
        families.GEMMA3, hidden_size=128, num_attention_heads=4, head_dim=32, intermediate_size=256),
        **families.GEMMA_SHAPE),
    # Recurrent mixers as mlx-lm stores them; ranks and heads that no group divides stay as they were.
    "mamba2": families.Family("mlx-mamba2", families.vary(
        families_mamba.MAMBA2, hidden_size=128, num_heads=8, head_dim=32, intermediate_size=256, num_hidden_layers=2)),
    "jamba": families.Family("mlx-jamba", families.vary(
        families_mamba.JAMBA, hidden_size=128, num_attention_heads=4, intermediate_size=192, mamba_dt_rank=64, num_experts=8),
        reference={"routing": "softmax of all"}),
    "rwkv7": families.Family("mlx-rwkv7", families.vary(
        families_rwkv.RWKV7, hidden_size=128, head_dim=32, num_heads=4, value_dim=None, intermediate_size=192, a_low_rank_dim=64,
        v_low_rank_dim=64, gate_low_rank_dim=64, decay_low_rank_dim=64, num_hidden_layers=2), no_rewrite=families_rwkv.HUB_CODE),
    "lfm2": families.Family("mlx-lfm2", families.vary(
        families_hybrid.LFM2, hidden_size=128, block_dim=128, num_attention_heads=4, num_heads=4, num_hidden_layers=4,
        block_ff_dim=192, block_auto_adjust_ff_dim=False)),
    "qwen3.5": families.Family("mlx-qwen3.5", families.vary(families_hybrid.QWEN3_5, text_config=families.vary(
        families_hybrid.QWEN3_5["text_config"], hidden_size=128, intermediate_size=192, head_dim=32, num_attention_heads=4,
        linear_key_head_dim=32, linear_value_head_dim=32, linear_num_key_heads=2, linear_num_value_heads=4))),
}
RECURRENT = ["mamba2", "jamba", "rwkv7", "lfm2", "qwen3.5"]

OVERRIDES = {
    "model.embed_tokens": {"group_size": 32, "bits": 8},
    "model.layers.0.mlp.down_proj": {"group_size": 128, "bits": 6},
    "model.layers.1.self_attn.v_proj": {"group_size": 64, "bits": 3},
    "model.layers.1.self_attn.q_proj": False,
    "model.layers.0.self_attn.k_proj": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
}

CASES = [("llama", "affine", bits, group, "bfloat16", None)
         for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
CASES += [(base, mode, bits, group, "bfloat16", None)
          for base in ("llama", "qwen3", "gemma3")
          for mode, bits, group in (("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16))]
CASES += [(base, "affine", bits, group, "bfloat16", None) for base in RECURRENT for bits, group in ((4, 64), (8, 32))]
CASES += [
    ("llama", "affine", 4, 64, "float16", None),
    ("llama", "affine", 4, 64, "float32", None),
    ("llama192", "affine", 4, 128, "bfloat16", None),
    ("llama192", "affine", 4, 64, "bfloat16", None),
    ("qwen3", "affine", 4, 64, "bfloat16", None),
    ("qwen3", "affine", 8, 32, "bfloat16", None),
    ("gemma3", "affine", 4, 64, "bfloat16", None),
    ("gemma3", "affine", 6, 32, "bfloat16", None),
    ("llama", "affine", 4, 64, "bfloat16", OVERRIDES),
]


def name_of(case):
    base, mode, bits, group, dtype, overrides = case
    return f"{base}-{mode}-{bits}-g{group}" + ("" if dtype == "bfloat16" else "-" + dtype) + (
        "-overrides" if overrides else "")


def quantize(source, target, mode, bits, group, dtype, overrides):
    """Writes the folder that mlx_lm.convert -q would write."""
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm import utils

    mx.set_default_device(mx.cpu)
    loaded = utils.load_model(source)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    model.update(tree_map(lambda a: a.astype(getattr(mx, dtype)), model.parameters()))
    config = json.loads((source / "config.json").read_text())
    config["torch_dtype"] = dtype
    predicate = (lambda path, module: overrides.get(path, True)) if overrides else None
    model, config = utils.quantize_model(model, config, group, bits, mode=mode, quant_predicate=predicate)
    for path, value in (overrides or {}).items():
        config["quantization"].setdefault(path, value)
    utils.save_model(target, model)
    (target / "config.json").write_text(json.dumps(config, indent=2))


def dequantized(source, target):
    """The same model as a float32 folder: weights = codes * scales + biases, computed in float32."""
    import mlx.core as mx

    config = json.loads((source / "config.json").read_text())
    settings = config.pop("quantization")
    config.pop("quantization_config", None)
    tensors = {}
    for file in source.glob("model*.safetensors"):
        tensors.update(mx.load(str(file)))
    plain = {}
    for name, value in tensors.items():
        if name.endswith((".scales", ".biases")):
            continue
        path = name.removesuffix(".weight")
        if path + ".scales" in tensors:
            own = settings.get(path) or settings  # its own setting, where mlx takes a missing mode for affine, and 64 for a missing size
            scales, biases = tensors[path + ".scales"], tensors.get(path + ".biases")
            if own.get("mode", "affine") == "affine":
                scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
            value = mx.dequantize(value, scales, biases, own.get("group_size", 64), own["bits"], own.get("mode", "affine"))
        plain[name] = np.array(value.astype(mx.float32))
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(config, indent=2))
    tiny_models.save_safetensors(target / "model.safetensors", plain)


def build(case):
    """The quantized folder with tokens.npy and ref.npy; made again when this file changes."""
    base, *settings = case
    family = BASES[base]
    folder = tiny_models.default_root() / "mlx" / name_of(case)
    mark = tiny_models.fingerprint(family, repr(case)) + hashlib.sha256(
        pathlib.Path(__file__).read_bytes()).hexdigest()
    if (folder / "built").exists() and (folder / "built").read_text() == mark:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quantize(tiny_models.build(family, tiny_models.default_root()), folder, *settings)
    dequantized(folder, folder / "plain")
    tokens = tiny_models.tokens_of(family)
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "ref.npy", tiny_models.reference_logits(folder / "plain", tokens, exact=True, adjust=family.reference)[0])
    # mlx-lm's own reading of the quantized folder: checks that the plain folder was made right
    np.save(folder / "ref32.npy", tiny_models.reference_logits(folder, tokens, adjust=family.reference))
    (folder / "built").write_text(mark)
    return folder


@pytest.mark.parametrize("case", [pytest.param(c, id=name_of(c)) for c in CASES])
def test_a_quantized_mlx_folder_gives_the_logits_of_its_weights(case):
    folder = build(case)
    got = harness.logits(folder, np.load(folder / "tokens.npy"))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= 1e-10


@pytest.mark.parametrize("rows", [[], ["--as-generated"]], ids=["prompt", "generated"])
@pytest.mark.parametrize("case", [pytest.param(c, id=name_of(c)) for c in CASES])
def test_integer_products_with_16_bits_give_them_too(case, rows):
    folder = build(case)
    got = harness.logits(folder, np.load(folder / "tokens.npy"), "--activations", "q16", *rows)
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= 2e-5


@pytest.mark.parametrize("case", [pytest.param(c, id=name_of(c)) for c in CASES])
def test_the_reference_reads_the_quantized_folder_alike(case):
    folder = build(case)
    assert tiny_models.nmse(np.load(folder / "ref.npy"), np.load(folder / "ref32.npy")) <= 5e-10


def test_the_overrides_are_felt():
    plain = next(c for c in CASES if c[1:5] == ("affine", 4, 64, "bfloat16") and c[0] == "llama" and not c[5])
    mixed = next(c for c in CASES if c[5])
    a, b = build(plain), build(mixed)
    assert tiny_models.nmse(np.load(a / "ref.npy"), np.load(b / "ref.npy")) >= 1e-3


WRONG = {"bits": 3, "group_size": 32, "mode": "mxfp8"}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_quantization_setting_is_refused_or_shows(key, tmp_path):
    case = next(c for c in CASES if c[:4] == ("llama", "affine", 4, 64) and not c[5])
    source = build(case)
    shutil.copytree(source, tmp_path / "model")
    config = json.loads((source / "config.json").read_text())
    for block in ("quantization", "quantization_config"):
        config[block][key] = WRONG[key]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    try:
        got = harness.logits(tmp_path / "model", np.load(source / "tokens.npy"))
    except harness.Refused:
        return
    assert tiny_models.nmse(np.load(source / "ref.npy"), got) > 1e-6
