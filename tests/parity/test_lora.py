"""Low-rank adapters: what they add against weights that numpy has merged, against mlx-lm's own adapters, and (marker
`long`) against llama.cpp's. Then adapters that fit nothing."""
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("mlx_lm", reason="the reference is not installed")
gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")

import families  # noqa: E402
import harness  # noqa: E402
import tiny_gguf  # noqa: E402
import tiny_models  # noqa: E402

RANK, ALPHA, BOUND = 5, 8.0, 1e-10
FOLDERS = ["llama", "llama-bias", "qwen2", "gemma3", "phi3"]
FILES = ["gguf-llama", "gguf-qwen2", "gguf-gemma3"]


def halves(n_row, n_col, rng, rank=RANK):
    a = rng.standard_normal((rank, n_col)) / np.sqrt(n_col)
    b = rng.standard_normal((n_row, rank)) * 0.3
    return a.astype("<f4"), b.astype("<f4")


def matrices(weights):
    return {n: w for n, w in weights.items() if w.ndim == 2 and ".layers." in n and n.endswith("_proj.weight")}


def peft(folder, pairs, config=(), names=("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight")):
    folder.mkdir(exist_ok=True)
    say = dict(peft_type="LORA", r=RANK, lora_alpha=ALPHA, bias="none", fan_in_fan_out=False, modules_to_save=None)
    say.update(config)
    (folder / "adapter_config.json").write_text(json.dumps(say))
    tensors = {names[k].format(n.removesuffix(".weight")): x for n, p in pairs.items() for k, x in enumerate(p)}
    tiny_models.save_safetensors(folder / "adapter_model.safetensors", tensors)
    return folder


@pytest.fixture
def tiny(request):
    """family name -> (family, folder, weights, tokens)."""
    from safetensors.numpy import load_file

    def make(name):
        family = families.by_name(name)
        folder = tiny_models.build(family, tiny_models.default_root())
        return family, folder, load_file(folder / "model.safetensors"), np.load(folder / "tokens.npy")

    return make


def merged_logits(family, folder, weights, pairs, scale, tokens, at):
    """The reference's float64 logits of a folder with merged weights."""
    shutil.copytree(folder, at, ignore=shutil.ignore_patterns("*.npy", "*.gguf", "built"))
    merged = {n: w + scale * pairs[n][1].astype(np.float64) @ pairs[n][0] if n in pairs else w for n, w in weights.items()}
    tiny_models.save_safetensors(at / "model.safetensors", {n: np.asarray(w, "<f4") for n, w in merged.items()})
    return tiny_models.reference_logits(at, tokens, exact=True, adjust=family.reference)[0]


@pytest.mark.parametrize("rooted", [False, True], ids=["plain", "rslora"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_peft_adapter_gives_the_logits_of_merged_weights(name, rooted, tiny, tmp_path):
    family, folder, weights, tokens = tiny(name)
    rng = np.random.default_rng(3)
    pairs = {n: halves(*w.shape, rng) for n, w in matrices(weights).items()}
    assert len(pairs) > 6
    adapter = peft(tmp_path / "adapter", pairs, dict(use_rslora=rooted))
    scale = ALPHA / np.sqrt(RANK) if rooted else ALPHA / RANK
    want = merged_logits(family, folder, weights, pairs, 0.5 * scale, tokens, tmp_path / "merged")
    got = harness.logits(folder, tokens, "--lora", f"{adapter}:0.5")
    assert tiny_models.nmse(want, got) <= max(BOUND, family.bound)
    assert tiny_models.nmse(want, np.load(folder / "ref.npy")) > 1e-3, "the adapter changes too little to show"


def test_an_adapter_of_latent_attention_gives_the_logits_of_merged_weights(tiny, tmp_path):
    """The projections around the compressed rows; in both forms that rows take (prompt and generated)."""
    family, folder, weights, tokens = tiny("deepseek3")
    rng = np.random.default_rng(6)
    parts = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj")
    pairs = {n: halves(*w.shape, rng) for n, w in weights.items() if n.split(".")[-2] in parts}
    assert {n.split(".")[-2] for n in pairs} == set(parts)
    adapter = peft(tmp_path / "adapter", pairs)
    want = merged_logits(family, folder, weights, pairs, ALPHA / RANK, tokens, tmp_path / "merged")
    for how in ((), ("--as-generated",), ("--chunk", "7")):
        assert tiny_models.nmse(want, harness.logits(folder, tokens, "--lora", adapter, *how)) <= max(BOUND, family.bound), how
    assert tiny_models.nmse(want, np.load(folder / "ref.npy")) > 1e-3


def test_an_adapter_of_the_expansion_of_compressed_rows_is_refused_by_name(tiny, tmp_path):
    """Generated rows never make the keys and values that it would change."""
    _, folder, weights, tokens = tiny("deepseek3")
    name = next(n for n in weights if n.endswith("kv_b_proj.weight"))
    adapter = peft(tmp_path / "adapter", {name: halves(*weights[name].shape, np.random.default_rng(7))})
    with pytest.raises(harness.Refused, match="changes of .*kv_b_proj.weight are not supported"):
        harness.logits(folder, tokens, "--lora", adapter)


def test_two_adapters_add_up_and_chunks_do_not_matter(tiny, tmp_path):
    family, folder, weights, tokens = tiny("llama")
    rng = np.random.default_rng(4)
    one = {n: halves(*w.shape, rng) for n, w in matrices(weights).items() if "self_attn" in n}
    two = {n: halves(*w.shape, rng) for n, w in matrices(weights).items() if "down" in n or "q_proj" in n}
    use = ["--lora", peft(tmp_path / "one", one), "--lora", f"{peft(tmp_path / 'two', two)}:-0.25"]
    both = {n: (np.concatenate([p[n][0] for p in (one, two) if n in p]),
                np.concatenate([s * p[n][1] for p, s in ((one, 1), (two, -0.25)) if n in p], axis=1)) for n in {*one, *two}}
    want = merged_logits(family, folder, weights, both, ALPHA / RANK, tokens, tmp_path / "merged")
    got = harness.logits(folder, tokens, *use)
    assert tiny_models.nmse(want, got) <= BOUND
    for more in (["--chunk", "3"], ["--threads", "1"], ["--threads", "5", "--chunk", "1"]):
        assert np.array_equal(got, harness.logits(folder, tokens, *use, *more))


def test_an_adapter_of_mlx_lm_gives_its_logits(tiny, tmp_path):
    from mlx_lm.tuner.utils import load_adapters

    family, folder, weights, tokens = tiny("llama")
    rng = np.random.default_rng(5)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    keys = ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"]
    (adapter / "adapter_config.json").write_text(json.dumps(dict(
        fine_tune_type="lora", num_layers=2, lora_parameters=dict(rank=RANK, scale=3.0, dropout=0.0, keys=keys))))
    tensors = {}
    for n, w in matrices(weights).items():
        if any(k in n for k in keys) and ".layers.0." not in n:
            a, b = halves(*w.shape, rng)
            base = n.removesuffix(".weight")
            tensors[base + ".lora_a"], tensors[base + ".lora_b"] = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    tiny_models.save_safetensors(adapter / "adapters.safetensors", tensors)
    model = load_adapters(tiny_models.load_reference(folder), str(adapter))
    want = np.array(tiny_models.run_reference(model, tokens, family.reference))
    assert tiny_models.nmse(want, harness.logits(folder, tokens, "--lora", adapter)) <= 1e-9
    assert tiny_models.nmse(want, np.load(folder / "ref.npy")) > 1e-3


# ---- GGUF


def gguf_adapter(path, arch, pairs, alpha=ALPHA, kind="adapter", how="lora", dtype=np.float32, extra=()):
    w = gguf.GGUFWriter(path, arch)
    w.add_type(kind)
    w.add_string("adapter.type", how)
    w.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        w.add_tensor(name + ".lora_a", a.astype(dtype))
        w.add_tensor(name + ".lora_b", b.astype(dtype))
    for name, x in extra:
        w.add_tensor(name, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


@pytest.fixture(params=FILES)
def tiny_file(request, tmp_path):
    """(path, architecture, {name: array of the file [n_row, n_col]}, tokens)."""
    family = next(f for f in tiny_gguf.gguf_rows() if f.name == request.param)
    path, folder = tiny_gguf.build(family, tiny_models.default_root())
    reader = gguf.GGUFReader(path)
    arch = bytes(reader.fields["general.architecture"].parts[-1]).decode()
    tensors = {t.name: np.array(t.data) for t in reader.tensors if t.name.startswith("blk.") and len(t.shape) == 2}
    tensors |= {t.name: np.array(t.data) for t in reader.tensors if t.name in ("token_embd.weight", "output.weight")}
    return path, arch, tensors, np.load(folder / "tokens.npy")


def make_pairs(tensors, rng):
    """Halves of all matrices; the embedding's are kept the other way round: a row of `a` per token."""
    pairs = {}
    for name, w in tensors.items():
        a, b = halves(*w.shape, rng)
        pairs[name] = (np.ascontiguousarray(b * 0.2), np.ascontiguousarray(a.T)) if name == "token_embd.weight" else (a, b)
    return pairs


def test_a_gguf_adapter_gives_the_logits_of_merged_weights(tiny_file, tmp_path):
    path, arch, tensors, tokens = tiny_file
    if "output.weight" not in tensors:
        del tensors["token_embd.weight"]  # tied: merging would change the output too
    pairs = make_pairs(tensors, np.random.default_rng(6))
    shutil.copy(path, tmp_path / "merged.gguf")
    for t in gguf.GGUFReader(tmp_path / "merged.gguf", "r+").tensors:
        if t.name in pairs:
            a, b = (x.astype(np.float64) for x in pairs[t.name])
            t.data[:] = t.data + ALPHA / RANK * (a @ b.T if t.name == "token_embd.weight" else b @ a)
    adapter = gguf_adapter(tmp_path / "adapter.gguf", arch, pairs)
    want = harness.logits(tmp_path / "merged.gguf", tokens)
    assert tiny_models.nmse(want, harness.logits(path, tokens, "--lora", adapter)) <= 1e-9
    assert tiny_models.nmse(want, harness.logits(path, tokens)) > 1e-3


@pytest.mark.long
def test_llamacpp_gives_the_same_logits_with_a_gguf_adapter(tiny_file, tmp_path):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    import llamacpp

    path, arch, tensors, tokens = tiny_file
    if "output.weight" not in tensors:
        del tensors["token_embd.weight"]  # llama.cpp takes it for the tied output's, whose halves would lie the other way
    adapter = gguf_adapter(tmp_path / "adapter.gguf", arch, make_pairs(tensors, np.random.default_rng(8)))
    want = llamacpp.logits(path, tokens, lora=(adapter, 0.75))
    got = harness.logits(path, tokens, "--lora", f"{adapter}:0.75")
    assert tiny_models.nmse(want, got) <= (3e-6 if "gemma" in arch else 1e-9)  # GELU by table


# ---- what fits nothing


def refusal(model, adapter):
    with pytest.raises(harness.Refused) as e:
        harness.logits(model, [1, 2, 3], "--lora", adapter)
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)


def test_folders_that_do_not_fit_are_refused(tiny, tmp_path):
    _, folder, weights, _ = tiny("llama")
    rng = np.random.default_rng(9)
    name = "model.layers.1.self_attn.q_proj.weight"
    a, b = halves(*weights[name].shape, rng)
    at = tmp_path / "adapter"
    assert "no matrix of 72 x 72" in refusal(folder, peft(at, {name: (a, b[:, :3])}))
    assert "no matrix of 72 x 72" in refusal(folder, peft(at, {name: (a[:, :-8], b)}))
    assert "no tensor model.layers.9" in refusal(folder, peft(at, {name.replace(".1.", ".9."): (a, b)}))
    assert "second half" in refusal(folder, peft(at, {name: (a, b)}, names=("base_model.model.{}.lora_A.weight", "base_model.model.x.lora_B.weight")))
    assert "no half" in refusal(folder, peft(at, {name: (a, b)}, names=("base_model.model.{}.lora_magnitude_vector", "base_model.model.{}.lora_scale")))
    assert "no number" in refusal(folder, peft(at, {name: (a * np.nan, b)}))
    for key, value in dict(fan_in_fan_out=True, use_dora=True, bias="all", modules_to_save=["x"], alpha_pattern={"q": 3}, peft_type="IA3").items():
        assert key in refusal(folder, peft(at, {name: (a, b)}, {key: value})), key
    assert "lora_alpha" in refusal(folder, peft(at, {name: (a, b)}, dict(lora_alpha=0)))
    (at / "adapter_config.json").write_text("{")
    assert "adapter_config.json" in refusal(folder, at)
    assert "GGUF" in refusal(folder, gguf_adapter(tmp_path / "a.gguf", "llama", {"blk.0.attn_q.weight": (a, b)}))
    assert "no scale" in refusal(folder, f"{at}:much")


def test_gguf_adapters_that_do_not_fit_are_refused(tmp_path):
    family = next(f for f in tiny_gguf.gguf_rows() if f.name == "gguf-llama")
    path, _ = tiny_gguf.build(family, tiny_models.default_root())
    a, b = halves(72, 72, np.random.default_rng(10))
    pairs, at = {"blk.0.attn_q.weight": (a, b)}, tmp_path / "a.gguf"
    assert "general.type" in refusal(path, gguf_adapter(at, "llama", pairs, kind="model"))
    assert "adapter.type" in refusal(path, gguf_adapter(at, "llama", pairs, how="ia3"))
    assert "general.architecture" in refusal(path, gguf_adapter(at, "qwen2", pairs))
    assert "blk.0.attn_norm.weight" in refusal(path, gguf_adapter(at, "llama", {"blk.0.attn_norm.weight": (a, b)}))
    assert "no tensor" in refusal(path, gguf_adapter(at, "llama", {"blk.7.attn_q.weight": (a, b)}))
    assert "no matrix" in refusal(path, gguf_adapter(at, "llama", {"blk.0.ffn_up.weight": (a, b)}))
    assert "no half" in refusal(path, gguf_adapter(at, "llama", pairs, extra=[("blk.0.attn_norm.weight", np.ones(72, np.float32))]))
    assert "no tensors" in refusal(path, gguf_adapter(at, "llama", {}))
    assert "folder" in refusal(path, peft(tmp_path / "peft", {"model.layers.0.self_attn.q_proj.weight": (a, b)}))
    half = gguf_adapter(at, "llama", pairs).read_bytes()
    at.write_bytes(half[: len(half) - 100])
    refusal(path, at)
