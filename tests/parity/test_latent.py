"""Latent attention in the ways that containers store its weights: FP8 blocks as DeepSeek publishes them, MLX's
quantized matrices per head, ggml types; and the two forms in which rows are computed."""
import json
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("mlx_lm", reason="the reference is not installed")

import families  # noqa: E402
import families_latent  # noqa: E402
import harness  # noqa: E402
import test_fp8  # noqa: E402
import test_mlx_quant  # noqa: E402
import test_moe  # noqa: E402
import tiny_gguf  # noqa: E402
import tiny_models  # noqa: E402
from families_moe import vary  # noqa: E402

# Sizes that groups of 32 and 64 divide. Heads of 64 + 96 rows: blocks of 128 rows go across their borders.
WIDE = vary(families_latent.DEEPSEEK_V3, hidden_size=128, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=64,
            kv_lora_rank=64, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=96, moe_intermediate_size=64,
            intermediate_size=128, num_hidden_layers=2)
GAINS = families_latent.GAINS
STACKED = families.Family("latent-mlx", WIDE, gains=GAINS)
PUBLISHED = families.Family("latent-wide", WIDE, gains=GAINS, to_hub=families_latent.as_published)
# No experts, of which rounding makes some rows choose others.
SIZES = ("hidden_size", "num_attention_heads", "num_key_value_heads", "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim",
         "qk_rope_head_dim", "v_head_dim", "intermediate_size", "num_hidden_layers")
DENSE = vary(families_latent.YOUTU, tie_word_embeddings=False, **{key: WIDE[key] for key in SIZES})
DENSE_FOLDER = families.Family("latent-dense", DENSE, gains=GAINS, no_rewrite="not of interest")
ROWS = [pytest.param(f, id=f.name) for f in families.ALL if "kv_lora_rank" in f.text_config]


@pytest.mark.parametrize("family", ROWS)
def test_generated_rows_give_the_logits_of_the_reference(family):
    folder = tiny_models.build(family, tiny_models.default_root())
    tokens, reference = np.load(folder / "tokens.npy"), np.load(folder / "ref.npy")
    one = harness.logits(folder, tokens, "--as-generated", "-t", "1")
    assert tiny_models.nmse(reference, one) <= family.bound
    for how in (("--chunk", "1"), ("--chunk", "9", "-t", "2"), ("-t", "2")):
        assert np.array_equal(one, harness.logits(folder, tokens, "--as-generated", *how)), how


@pytest.mark.parametrize("grid", [(128, 128), (48, 32)])
def test_fp8_blocks_give_the_logits_of_their_weights(grid):
    def make(folder):
        stored, plain = {}, {}
        for name, w in tiny_models.random_weights(PUBLISHED).items():
            plain[name], stored[name] = w, (w, "F32")
            if "_proj" in name and name.endswith(".weight"):
                codes, scales, plain[name] = test_fp8.quantize(w, "e4m3", grid)
                stored[name], stored[name + "_scale_inv"] = (codes, "F8_E4M3"), (scales, "F32")
        test_moe.save_plain(folder, WIDE, plain, tiny_models.tokens_of(PUBLISHED), {})
        (folder / "config.json").write_text(json.dumps(dict(WIDE, quantization_config={
            "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": list(grid)})))
        test_fp8.save(folder / "model.safetensors", stored)

    folder = test_moe.ready(f"latent-fp8-{grid[0]}", PUBLISHED, make)
    for rows in ((), ("--as-generated",)):
        got = harness.logits(folder, tiny_models.tokens_of(PUBLISHED), *rows)
        assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= 1e-10


@pytest.mark.parametrize("mode, bits, group", [("affine", 4, 32), ("affine", 8, 64), ("mxfp4", 4, 32)])
def test_mlx_folders_with_a_quantized_matrix_per_head_give_the_logits_of_their_weights(mode, bits, group):
    def make(folder):
        test_mlx_quant.quantize(tiny_models.build(STACKED, tiny_models.default_root()), folder, mode, bits, group,
                                "bfloat16", None)
        test_mlx_quant.dequantized(folder, folder / "plain")
        np.save(folder / "ref.npy", tiny_models.reference_logits(
            folder / "plain", tiny_models.tokens_of(STACKED), exact=True)[0])

    folder = test_moe.ready(f"latent-mlx-{mode}-{bits}", STACKED, make)
    for rows in ((), ("--as-generated",)):
        got = harness.logits(folder, tiny_models.tokens_of(STACKED), *rows)
        assert tiny_models.nmse(np.load(folder / "ref.npy"), got) <= 1e-10


def quantized_gguf(family, folder, kind):
    """The file with its attention in a ggml type, beside a folder of what that means."""
    import gguf

    type_, whole = gguf.GGMLQuantizationType[kind], tiny_gguf.Writer.tensor

    def rounded(a):
        return gguf.quants.dequantize(gguf.quants.quantize(np.ascontiguousarray(a, np.float32), type_), type_)

    plain = {}
    for name, w in tiny_models.random_weights(family).items():
        plain[name] = rounded(w) if ".self_attn." in name and "_proj" in name else w
        if "kv_b_proj" in name and not family.name.endswith("-joined"):  # rounded as the file has it, then joined again
            keys, values = map(rounded, tiny_gguf.split_expansion(w, family.config))
            plain[name] = np.concatenate([keys.swapaxes(1, 2), values], 1).reshape(w.shape)
    test_moe.save_plain(folder, family.config, plain, tiny_models.tokens_of(family), {})

    def tensor(self, name, value):
        if ".attn_" in name and "norm" not in name:
            data = gguf.quants.quantize(np.ascontiguousarray(value, np.float32), type_)
            self.file.add_tensor(name, data, raw_dtype=type_)
        else:
            whole(self, name, value)

    tiny_gguf.Writer.tensor = tensor
    try:
        tiny_gguf.convert(family, tiny_models.random_weights(family), folder / "model.gguf")
    finally:
        tiny_gguf.Writer.tensor = whole


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
@pytest.mark.parametrize("name", ["latent-gguf", "latent-gguf-joined"])
def test_quantized_ggufs_give_the_logits_of_their_weights(name, kind):
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    family = families.Family(name, DENSE, gains=GAINS, to_hub=families_latent.join_heads)
    folder = test_moe.ready(f"{name}-{kind}", family, lambda f: quantized_gguf(family, f, kind))
    tokens, reference = tiny_models.tokens_of(family), np.load(folder / "ref.npy")
    for rows in ((), ("--as-generated",)):
        assert tiny_models.nmse(reference, harness.logits(folder / "model.gguf", tokens, *rows)) <= 1e-10
        fast = harness.logits(folder / "model.gguf", tokens, "--activations", "q8", "-t", "1", *rows)
        assert tiny_models.nmse(reference, fast) <= 5e-3
        for how in (("--chunk", "7"), ("-t", "2")):
            assert np.array_equal(fast, harness.logits(folder / "model.gguf", tokens, "--activations", "q8", *rows, *how))


@pytest.mark.parametrize("kind, bound", [("f16", 1e-5), ("bf16", 1e-3), ("q8_0", 5e-3), ("q4_0", 0.3)])
def test_compressed_rows_may_be_stored_in_any_type(kind, bound):
    folder = tiny_models.build(DENSE_FOLDER, tiny_models.default_root())
    tokens, reference = np.load(folder / "tokens.npy"), np.load(folder / "ref.npy")
    for rows in ((), ("--as-generated",)):
        got = harness.logits(folder, tokens, "--kv", kind, *rows)
        assert 1e-10 < tiny_models.nmse(reference, got) <= bound
        assert np.array_equal(got, harness.logits(folder, tokens, "--kv", kind, "--chunk", "11", *rows))


def test_show_says_what_a_token_leaves_and_that_the_indexer_is_not_used():
    folder = tiny_models.build(families.by_name("deepseek32"), tiny_models.default_root())
    told = harness.run("show", folder)
    assert "compressed rows of 40 + 16" in told and "trained to choose 200 tokens" in told
    data = json.loads(harness.run("show", folder, "--json"))
    assert data["kv_rank"] == 40 and data["n_chosen_keys"] == 200


WRONG = [
    ({"attention.kv_lora_rank": None}, "attention.kv_lora_rank (the rank of keys and values) is missing"),
    ({"attention.kv_lora_rank": 0}, "attention.kv_lora_rank is 0"),
    ({"attention.kv_lora_rank": 2**32 - 1}, "attention.kv_lora_rank is 4294967295"),
    ({"attention.q_lora_rank": None}, "blk.0.attn_q.weight"),
    ({"rope.dimension_count": 96}, "keys of 96 numbers have no room for 96 rotated ones"),
    ({"rope.dimension_count": None}, "rope.dimension_count (the size of a key's rotated part) is missing"),
    ({"rope.dimension_count": 31}, "blk.0.attn_kv_a_mqa.weight|rotary dimension"),
    ({"attention.key_length_mla": None}, "blk.0.attn_v_b.weight"),
    ({"attention.key_length_mla": 97}, "blk.0.attn_q_b.weight"),
    ({"attention.value_length_mla": None}, "attention.value_length_mla (the size of a value) is missing"),
    ({"attention.value_length_mla": 97}, "blk.0.attn_v_b.weight"),
    ({"attention.head_count": 5}, "blk.0.attn_q_b.weight"),
]


@pytest.mark.parametrize("changes, told", WRONG, ids=lambda v: json.dumps(v) if isinstance(v, dict) else "")
def test_a_size_that_contradicts_the_tensors_is_refused(changes, told, tmp_path):
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    family = families.Family("latent-gguf", DENSE, gains=GAINS, to_hub=families_latent.join_heads)
    tiny_gguf.convert(family, tiny_models.random_weights(family), tmp_path / "model.gguf", changes)
    with pytest.raises(harness.Refused) as refused:
        harness.logits(tmp_path / "model.gguf", [1, 2, 3])
    assert any(t in str(refused.value) for t in told.split("|")), refused.value
