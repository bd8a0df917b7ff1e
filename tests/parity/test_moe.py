"""Routed experts in the ways that containers store them: MXFP4 as gpt-oss publishes it, MLX's stacked and quantized
experts, FP8 with a tensor per expert, ggml types; and what happens when a router fails."""
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
import families_moe  # noqa: E402
import harness  # noqa: E402
import test_fp8  # noqa: E402
import test_mlx_quant  # noqa: E402
import tiny_gguf  # noqa: E402
import tiny_models  # noqa: E402
from configs import vary  # noqa: E402


def ready(name, family, make):
    """The folder that `make(folder)` fills, made again when the tests change."""
    folder = tiny_models.default_root() / "moe" / name
    mark = tiny_models.fingerprint(family, name) + hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
    if not (folder / "built").exists() or (folder / "built").read_text() != mark:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        (folder / "built").write_text(mark)
    return folder


def save_plain(folder, config, weights, tokens, adjust):
    """The float32 folder of what the stored numbers mean, and its logits."""
    (folder / "plain").mkdir()
    (folder / "plain" / "config.json").write_text(json.dumps(config))
    tiny_models.save_safetensors(folder / "plain" / "model.safetensors", weights)
    np.save(folder / "ref.npy", tiny_models.reference_logits(folder / "plain", tokens, exact=True, adjust=adjust)[0])


# ---------------------------------------------------------------------------------------------
# gpt-oss as published

GPT_OSS = families.by_name("gpt-oss")
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def mxfp4(w):
    """[..., n] -> blocks [..., n / 32, 16], scales [..., n / 32], and what they mean."""
    groups = w.reshape(*w.shape[:-1], -1, 32)
    exponent = np.floor(np.log2(np.abs(groups).max(-1))).astype(int) - 2
    codes = np.abs(groups[..., None] / np.exp2(exponent)[..., None, None] - E2M1).argmin(-1).astype(np.uint8)
    values = (E2M1[codes] * np.exp2(exponent)[..., None]).reshape(w.shape).astype(np.float32)
    return codes[..., 0::2] | codes[..., 1::2] << 4, (exponent + 127).astype(np.uint8), values


def interleaved(gate, up):
    return np.stack([gate, up], axis=2).reshape(gate.shape[0], -1, *gate.shape[2:])


def make_gpt_oss(folder):
    plain = tiny_models.random_weights(GPT_OSS)
    stored = {name: (value, "F32") for name, value in plain.items() if ".experts." not in name}
    for i in range(GPT_OSS.config["num_hidden_layers"]):
        at = f"model.layers.{i}.mlp.experts."
        parts = {}
        for part in ("gate_proj", "up_proj", "down_proj"):
            *parts[part], plain[at + part + ".weight"] = mxfp4(plain[at + part + ".weight"])
        for k, leaf in enumerate(("blocks", "scales")):
            stored[at + "gate_up_proj_" + leaf] = (interleaved(parts["gate_proj"][k], parts["up_proj"][k]), "U8")
            stored[at + "down_proj_" + leaf] = (parts["down_proj"][k], "U8")
        stored[at + "gate_up_proj_bias"] = (
            interleaved(plain[at + "gate_proj.bias"], plain[at + "up_proj.bias"]), "F32")
        stored[at + "down_proj_bias"] = (plain[at + "down_proj.bias"], "F32")
    save_plain(folder, GPT_OSS.config, plain, tiny_models.tokens_of(GPT_OSS), GPT_OSS.reference)
    (folder / "config.json").write_text(json.dumps(dict(GPT_OSS.config, quantization_config={
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
                                   "lm_head"], "quant_method": "mxfp4"})))
    test_fp8.save(folder / "model.safetensors", stored)


def test_gpt_oss_with_its_mxfp4_blocks_gives_the_logits_of_its_weights():
    folder = ready("gpt-oss-mxfp4", GPT_OSS, make_gpt_oss)
    tokens = tiny_models.tokens_of(GPT_OSS)
    one = harness.logits(folder, tokens)
    assert tiny_models.nmse(np.load(folder / "ref.npy"), one) <= 1e-10
    assert np.array_equal(one, harness.logits(folder, tokens, "--chunk", "9", "-t", "2"))


def plain_gpt_oss(weights):
    """The experts as transformers stores those that are not quantized: rows of gate and up alternate, matrices are turned."""
    out = {name: value for name, value in weights.items() if ".experts." not in name}
    for i in range(GPT_OSS.config["num_hidden_layers"]):
        at = f"model.layers.{i}.mlp.experts."
        gate_up, bias = (interleaved(weights[at + "gate_proj" + leaf], weights[at + "up_proj" + leaf])
                         for leaf in (".weight", ".bias"))
        out[at + "gate_up_proj"], out[at + "gate_up_proj_bias"] = gate_up.swapaxes(1, 2), bias
        out[at + "down_proj"] = weights[at + "down_proj.weight"].swapaxes(1, 2)
        out[at + "down_proj_bias"] = weights[at + "down_proj.bias"]
    return out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gpt_oss_with_plain_experts_gives_the_logits_of_its_weights(dtype, tmp_path):
    folder = tiny_models.build(GPT_OSS, tiny_models.default_root(), dtype)
    shutil.copy(folder / "config.json", tmp_path)
    weights = plain_gpt_oss(tiny_models.random_weights(GPT_OSS))
    tiny_models.save_safetensors(tmp_path / "model.safetensors", weights, dtype)
    tokens = np.load(folder / "tokens.npy")
    one = harness.logits(tmp_path, tokens)
    assert tiny_models.nmse(np.load(folder / "ref.npy"), one) <= 1e-10
    for how in (("--chunk", "9", "-t", "2"), ("--activations", "q8", "-t", "1"), ("--activations", "q8", "--chunk", "1")):
        other = harness.logits(tmp_path, tokens, *how)
        assert tiny_models.nmse(one, other) <= (2e-2 if "q8" in how else 0), how


@pytest.mark.parametrize("change", ["wide", "short", "bytes"])
def test_turned_experts_of_another_shape_or_type_are_refused(change, tmp_path):
    from safetensors.numpy import load_file, save_file

    source = tiny_models.build(families.by_name("llama4"), tiny_models.default_root())
    shutil.copy(source / "config.json", tmp_path)
    weights = load_file(source / "model.safetensors")
    name = next(n for n in weights if n.endswith("experts.gate_up_proj"))
    w = weights[name]
    weights[name] = {"wide": w[:, :, :-1], "short": w.swapaxes(1, 2), "bytes": w.astype(np.int8)}[change].copy()
    save_file(weights, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(harness.Refused, match="gate_up_proj"):
        harness.logits(tmp_path, [1, 2, 3])


def test_show_counts_what_only_images_need():
    folder = tiny_models.build(families.by_name("llama4"), tiny_models.default_root())
    assert json.loads(harness.run("show", folder, "--json"))["n_unused_other"] == 2
    assert "2 tensors of images or sound" in harness.run("show", folder)


def test_clamping_of_the_gate_is_felt(tmp_path):
    """The limit of 7 is reached by none of these small numbers: a smaller one must show."""
    folder = tiny_models.build(GPT_OSS, tiny_models.default_root())
    shutil.copy(folder / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(dict(GPT_OSS.config, swiglu_limit=0.7)))
    got = harness.logits(tmp_path, np.load(folder / "tokens.npy"))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) > 1e-4


# ---------------------------------------------------------------------------------------------
# MLX: quantized stacks; FP8: a tensor per expert

WIDE = dict(hidden_size=128, num_attention_heads=4, moe_intermediate_size=64, intermediate_size=128, num_hidden_layers=2)
MLX = families.Family("mlx-qwen3-moe", vary(families_moe.QWEN3_MOE, head_dim=32, **WIDE))
MODES = [("affine", 4, 32), ("affine", 6, 64), ("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


@pytest.mark.parametrize("mode, bits, group", MODES)
def test_a_quantized_mlx_folder_with_experts_gives_the_logits_of_its_weights(mode, bits, group):
    def make(folder):
        source = tiny_models.build(MLX, tiny_models.default_root())
        test_mlx_quant.quantize(source, folder, mode, bits, group, "bfloat16", None)
        test_mlx_quant.dequantized(folder, folder / "plain")
        np.save(folder / "ref.npy", tiny_models.reference_logits(
            folder / "plain", tiny_models.tokens_of(MLX), exact=True)[0])

    folder = ready(f"mlx-{mode}-{bits}", MLX, make)
    got = harness.logits(folder, tiny_models.tokens_of(MLX))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= 1e-10


def test_fp8_experts_with_a_tensor_each_give_the_logits_of_their_weights():
    def make(folder):
        stored, plain = {}, {}
        for name, w in families_moe.separate_experts(tiny_models.random_weights(MLX), MLX.config).items():
            plain[name], stored[name] = w, (w, "F32")
            if "_proj.weight" in name:
                codes, scales, plain[name] = test_fp8.quantize(w, "e4m3", (32, 64))
                stored[name], stored[name + "_scale_inv"] = (codes, "F8_E4M3"), (scales, "F32")
        save_plain(folder, MLX.config, plain, tiny_models.tokens_of(MLX), {})
        (folder / "config.json").write_text(json.dumps(dict(MLX.config, quantization_config={
            "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [32, 64]})))
        test_fp8.save(folder / "model.safetensors", stored)

    folder = ready("fp8", MLX, make)
    got = harness.logits(folder, tiny_models.tokens_of(MLX))
    assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= 1e-10


# ---------------------------------------------------------------------------------------------
# ggml types, and bits

def quantized_gguf(folder, kind):
    """The tiny Qwen 3 MoE with its matrices in a ggml type, beside a folder of what they mean."""
    import gguf

    config = vary(families_moe.QWEN3_MOE, head_dim=32, **dict(WIDE, moe_intermediate_size=96))
    family = families.Family("gguf-qwen3-moe-wide", config, to_hub=families_moe.separate_experts)
    weights = tiny_models.random_weights(family)
    type_ = gguf.GGMLQuantizationType[kind]
    plain = {n: gguf.quants.dequantize(gguf.quants.quantize(w, type_), type_) if "_proj.weight" in n else w
             for n, w in weights.items()}
    save_plain(folder, config, plain, tiny_models.tokens_of(family), {})
    whole = tiny_gguf.Writer.tensor

    def tensor(self, name, value):
        if name.endswith(("_exps.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight")):
            data = gguf.quants.quantize(np.ascontiguousarray(value, np.float32), type_)
            self.file.add_tensor(name, data, raw_dtype=type_)
        else:
            whole(self, name, value)

    tiny_gguf.Writer.tensor = tensor
    try:
        tiny_gguf.convert(family, weights, folder / "model.gguf")
    finally:
        tiny_gguf.Writer.tensor = whole
    np.save(folder / "tokens.npy", tiny_models.tokens_of(family))


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_0"])
def test_quantized_experts_of_a_gguf_give_the_logits_of_their_weights(kind):
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    folder = ready("gguf-" + kind, MLX, lambda f: quantized_gguf(f, kind))
    tokens, reference = np.load(folder / "tokens.npy"), np.load(folder / "ref.npy")
    assert tiny_models.nmse(reference, harness.logits(folder / "model.gguf", tokens)) <= 1e-10
    for rows in ((), ("--as-generated",)):
        fast = harness.logits(folder / "model.gguf", tokens, "--activations", "q8", "-t", "1", *rows)
        assert tiny_models.nmse(reference, fast) <= 3e-2  # a few tokens choose other experts
        for how in (("--chunk", "1"), ("--chunk", "7"), ("--chunk", "50", "-t", "2"), ("-t", "2")):
            other = harness.logits(folder / "model.gguf", tokens, "--activations", "q8", *rows, *how)
            assert np.array_equal(fast, other), how


@pytest.mark.parametrize("what", [np.nan, np.inf])
def test_a_router_that_gives_no_numbers_is_an_error_that_names_the_layer(what, tmp_path):
    from safetensors.numpy import load_file, save_file

    source = tiny_models.build(families.by_name("mixtral"), tiny_models.default_root())
    shutil.copy(source / "config.json", tmp_path)
    weights = load_file(source / "model.safetensors")
    weights["model.layers.1.block_sparse_moe.gate.weight"][5, 3] = what
    save_file(weights, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(harness.Refused, match="layer 1: the router of experts"):
        harness.logits(tmp_path, [1, 2, 3], "-t", "2")


def test_the_shared_expert_of_granitemoeshared_is_that_of_the_hybrid(tmp_path):
    """mlx-lm has the type only as a hybrid one without recurrent layers: the same tensors and keys."""
    config = vary(families.by_name("granite-hybrid").config, layer_types=["attention"] * 4, position_embedding_type="rope")
    family = families.Family("granite-moe-shared", config, tied=True, embed_std=0.3,
                             to_hub=families.by_name("granite-hybrid").to_hub, no_rewrite="not asked for")
    folder = tiny_models.build(family, tiny_models.default_root())
    shutil.copy(folder / "model.safetensors", tmp_path)
    keys = {k: v for k, v in config.items() if not k.startswith("mamba") and k not in ("layer_types", "position_embedding_type")}
    (tmp_path / "config.json").write_text(json.dumps(dict(keys, model_type="granitemoeshared")))
    tokens = np.load(folder / "tokens.npy")
    assert tiny_models.nmse(np.load(folder / "ref.npy"), harness.logits(tmp_path, tokens)) <= 1e-10
    (tmp_path / "config.json").write_text(json.dumps(dict(keys, model_type="granitemoeshared", shared_intermediate_size=61)))
    with pytest.raises(harness.Refused, match="shared_mlp"):
        harness.logits(tmp_path, tokens)


def test_show_says_how_many_experts_and_parameters():
    folder = tiny_models.build(families.by_name("qwen3-moe"), tiny_models.default_root())
    told = harness.run("show", folder)
    assert "4 of 24 per token, 28 wide, in 3 of 3 layers" in told and "M active per token" in told
    data = json.loads(harness.run("show", folder, "--json"))
    n_idle = 3 * 20 * 3 * 72 * 28  # layers, experts not used, matrices, sizes
    assert data["n_expert"] == 24 and data["n_expert_used"] == 4
    assert data["active_parameters"] == data["parameters"] - n_idle
