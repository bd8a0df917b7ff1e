"""Embeddings of encoders against their forward pass in numpy, float64, and of MiniLM as published.

The forward passes follow the papers and the published code: BERT (arXiv:1810.04805) and nomic-bert
(arXiv:2402.01613: rotary positions, gated SiLU feed-forward, no biases in the matrices).
"""
import json
import math
import pathlib
import sys
import zlib

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402
import tiny_models  # noqa: E402

erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def layer_norm(x, weight, bias, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias


def attention(q, k, v, n_head, angles=None):
    """All rows see all rows. [n_tok, n_head * d] each; `angles` [n_tok, d/2] turns q and k."""
    n_tok = q.shape[0]
    q, k, v = (a.reshape(n_tok, n_head, -1).swapaxes(0, 1) for a in (q, k, v))
    if angles is not None:
        half, cos, sin = q.shape[-1] // 2, np.cos(angles), np.sin(angles)

        def turn(x):
            a, b = x[..., :half], x[..., half:]
            return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

        q, k = turn(q), turn(k)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return ((weights / weights.sum(-1, keepdims=True)) @ v).swapaxes(0, 1).reshape(n_tok, -1)


def bert(weights, config, tokens):
    """Hidden rows [n_tok, d] of BERT."""
    w = {k.removeprefix("bert."): v.astype(np.float64) for k, v in weights.items()}
    eps, e = config["layer_norm_eps"], "embeddings."
    x = (w[e + "word_embeddings.weight"][tokens] + w[e + "position_embeddings.weight"][: len(tokens)]
         + w[e + "token_type_embeddings.weight"][0])
    x = layer_norm(x, w[e + "LayerNorm.weight"], w[e + "LayerNorm.bias"], eps)
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."

        def linear(name, x, p=p):
            return x @ w[p + name + ".weight"].T + w[p + name + ".bias"]

        def norm(name, x, p=p):
            return layer_norm(x, w[p + name + ".weight"], w[p + name + ".bias"], eps)

        q, k, v = (linear(f"attention.self.{n}", x) for n in ("query", "key", "value"))
        mixed = linear("attention.output.dense", attention(q, k, v, config["num_attention_heads"]))
        x = norm("attention.output.LayerNorm", x + mixed)
        x = norm("output.LayerNorm", x + linear("output.dense", gelu(linear("intermediate.dense", x))))
    return x


def nomic(weights, config, tokens):
    """Hidden rows [n_tok, d] of nomic-bert."""
    w = {k: v.astype(np.float64) for k, v in weights.items()}
    eps, n_head = config["layer_norm_epsilon"], config["n_head"]
    d = config["n_embd"] // n_head
    angles = np.arange(len(tokens))[:, None] * config["rotary_emb_base"] ** (-np.arange(0, d, 2) / d)
    x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, w["emb_ln.weight"], w["emb_ln.bias"], eps)
    for i in range(config["n_layer"]):
        p = f"encoder.layers.{i}."
        q, k, v = np.split(x @ w[p + "attn.Wqkv.weight"].T, 3, axis=-1)
        x = x + attention(q, k, v, n_head, angles) @ w[p + "attn.out_proj.weight"].T
        x = layer_norm(x, w[p + "norm1.weight"], w[p + "norm1.bias"], eps)
        gate = x @ w[p + "mlp.fc12.weight"].T
        up = x @ w[p + "mlp.fc11.weight"].T
        x = x + (up * gate / (1 + np.exp(-gate))) @ w[p + "mlp.fc2.weight"].T
        x = layer_norm(x, w[p + "norm2.weight"], w[p + "norm2.bias"], eps)
    return x


def pool(rows, how):
    pooled = {"mean": rows.mean(0), "cls": rows[0], "last": rows[-1]}[how]
    return pooled / np.linalg.norm(pooled)


# ---------------------------------------------------------------------------------------------
# Tiny models

BERT = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 72,
    "initializer_range": 0.02,
    "intermediate_size": 104,
    "layer_norm_eps": 0.003,
    "max_position_embeddings": 160,
    "model_type": "bert",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.8.2",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 283,
}
NOMIC = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "attn_pdrop": 0.0,
    "bos_token_id": None,
    "causal": False,
    "dense_seq_output": True,
    "embd_pdrop": 0.0,
    "eos_token_id": None,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 0.003,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 72,
    "n_head": 6,
    "n_inner": 104,
    "n_layer": 3,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 100,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "torch_dtype": "float32",
    "transformers_version": "4.34.0",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 283,
}


def bert_shapes(c, prefix=""):
    d, ff = c["hidden_size"], c["intermediate_size"]
    out = {"embeddings.word_embeddings.weight": (c["vocab_size"], d),
           "embeddings.position_embeddings.weight": (c["max_position_embeddings"], d),
           "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], d)}
    matrices = {"attention.self.query": (d, d), "attention.self.key": (d, d), "attention.self.value": (d, d),
                "attention.output.dense": (d, d), "intermediate.dense": (ff, d), "output.dense": (d, ff)}
    norms = ["embeddings.LayerNorm"]
    for i in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        out.update({p + n + ".weight": s for n, s in matrices.items()})
        out.update({p + n + ".bias": s[:1] for n, s in matrices.items()})
        norms += [p + "attention.output.LayerNorm", p + "output.LayerNorm"]
    for n in norms:
        out[n + ".weight"] = out[n + ".bias"] = (d,)
    return {prefix + n: s for n, s in out.items()}


def nomic_shapes(c):
    d, ff = c["n_embd"], c["n_inner"]
    out = {"embeddings.word_embeddings.weight": (c["vocab_size"], d),
           "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], d)}
    norms = ["emb_ln"]
    for i in range(c["n_layer"]):
        p = f"encoder.layers.{i}."
        out.update({p + "attn.Wqkv.weight": (3 * d, d), p + "attn.out_proj.weight": (d, d),
                    p + "mlp.fc11.weight": (ff, d), p + "mlp.fc12.weight": (ff, d), p + "mlp.fc2.weight": (d, ff)})
        norms += [p + "norm1", p + "norm2"]
    for n in norms:
        out[n + ".weight"] = out[n + ".bias"] = (d,)
    return out


def random_weights(shapes, seed):
    """Every parameter random; attention peaked."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    out = {}
    for name, shape in sorted(shapes.items()):
        is_norm = "norm" in name.lower() or "emb_ln" in name
        if name.endswith(".bias"):
            value = rng.standard_normal(shape) * 0.3
        elif is_norm:
            value = rng.uniform(0.4, 1.9, shape)
        elif "embeddings" in name:
            value = rng.standard_normal(shape) * 0.6
        else:
            peaked = any(part in name for part in ("query", "key", "Wqkv"))
            value = rng.standard_normal(shape) * (1.9 if peaked else 1.2) / math.sqrt(shape[-1])
        out[name] = value.astype(np.float32)
    return out


def make_folder(folder, config, weights, how, normalized=True):
    """A sentence-transformers folder: the model, 1_Pooling and, when normalized, 2_Normalize."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    tiny_models.save_safetensors(folder / "model.safetensors", weights)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({
        "word_embedding_dimension": 72, "pooling_mode_cls_token": how == "cls",
        "pooling_mode_mean_tokens": how == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False, "pooling_mode_lasttoken": how == "last"}))
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if normalized else [])
    (folder / "modules.json").write_text(json.dumps([
        {"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind}
        for i, (path, kind) in enumerate(steps)]))
    return folder


def unit(x):
    return x / np.linalg.norm(x)


TOKENS = np.random.default_rng(7).integers(0, 283, 130)


@pytest.mark.parametrize("how", ["mean", "cls", "last"])
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_bert_embeddings_are_those_of_the_paper(how, prefix, tmp_path):
    weights = random_weights(bert_shapes(BERT, prefix), "bert")
    folder = make_folder(tmp_path / "model", BERT, weights, how)
    for tokens in (TOKENS, TOKENS[:1], TOKENS[40:57]):
        want, got = pool(bert(weights, BERT, tokens), how), harness.embedding(folder, tokens)
        assert tiny_models.nmse(want, got) <= 1e-10


@pytest.mark.parametrize("how", ["mean", "cls"])
def test_nomic_bert_embeddings_are_those_of_the_paper(how, tmp_path):
    weights = random_weights(nomic_shapes(NOMIC), "nomic")
    folder = make_folder(tmp_path / "model", NOMIC, weights, how)
    for tokens in (TOKENS, TOKENS[:1], TOKENS[40:57]):
        want, got = pool(nomic(weights, NOMIC, tokens), how), harness.embedding(folder, tokens)
        assert tiny_models.nmse(want, got) <= 1e-10


def gguf_cases():
    """(architecture, config, shapes, forward pass, pooling) of the tiny encoders as GGUF."""
    for how in ("mean", "cls"):
        yield pytest.param("bert", BERT, bert_shapes(BERT), bert, how, id=f"bert-{how}")
        yield pytest.param("nomic-bert", NOMIC, nomic_shapes(NOMIC), nomic, how, id=f"nomic-bert-{how}")


@pytest.mark.parametrize("arch, config, shapes, forward, how", gguf_cases())
def test_an_encoder_in_a_gguf_file_gives_the_same_embeddings(arch, config, shapes, forward, how, tmp_path):
    pytest.importorskip("gguf", reason="the gguf package is not installed")
    import tiny_gguf

    weights = random_weights(shapes, arch)
    path = tiny_gguf.convert_encoder(arch, config, weights, tmp_path / "model.gguf", how)
    for tokens in (TOKENS, TOKENS[:1], TOKENS[40:57]):
        want, got = pool(forward(weights, config, tokens), how), harness.embedding(path, tokens)
        assert tiny_models.nmse(want, got) <= 1e-10


def test_a_decoder_with_last_token_pooling_gives_its_normed_hidden_row(tmp_path):
    pytest.importorskip("mlx_lm", reason="the reference is not installed")
    import families
    import mlx.core as mx
    from safetensors.numpy import load_file

    family = families.by_name("qwen3")
    source = tiny_models.build(family, tiny_models.default_root())
    tokens = np.load(source / "tokens.npy")[:50]
    folder = make_folder(tmp_path / "model", family.config, load_file(source / "model.safetensors"), "last")
    with tiny_models.exact_arithmetic():
        model = tiny_models.load_reference(source, exact=True)
        rows = np.array(model.model(mx.array(tokens)[None])[0])
    assert tiny_models.nmse(pool(rows, "last"), harness.embedding(folder, tokens)) <= 1e-10


@pytest.mark.parametrize("kind", ["bert", "nomic"])
def test_every_changed_hyper_parameter_of_an_encoder_shows_or_is_refused(kind, tmp_path):
    config, shapes = (BERT, bert_shapes(BERT)) if kind == "bert" else (NOMIC, nomic_shapes(NOMIC))
    weights = random_weights(shapes, kind)
    want = pool({"bert": bert, "nomic": nomic}[kind](weights, config, TOKENS), "mean")
    changes = {
        "bert": {"hidden_act": "relu", "hidden_size": 76, "intermediate_size": 108, "layer_norm_eps": 0.012,
                 "max_position_embeddings": 100, "num_attention_heads": 3, "num_hidden_layers": 2,
                 "position_embedding_type": "relative_key", "type_vocab_size": 3, "vocab_size": 287},
        "nomic": {"activation_function": "gelu", "causal": True, "layer_norm_epsilon": 0.012, "mlp_fc1_bias": True,
                  "mlp_fc2_bias": True, "n_embd": 76, "n_head": 3, "n_inner": 108, "n_layer": 2,
                  "parallel_block": True, "prenorm": True, "qkv_proj_bias": True, "rotary_emb_base": 140,
                  "rotary_emb_fraction": 0.5, "rotary_emb_interleaved": True, "rotary_emb_scale_base": 512,
                  "type_vocab_size": 3, "vocab_size": 287},
    }[kind]
    holes = []
    for i, (key, value) in enumerate(changes.items()):
        folder = make_folder(tmp_path / str(i), dict(config, **{key: value}), weights, "mean")
        try:
            got = harness.embedding(folder, TOKENS)
        except harness.Refused:
            continue
        if got.shape == want.shape and tiny_models.nmse(want, got) <= 1e-10:
            holes.append(key)
    assert not holes, f"changes that nothing notices: {holes}"


def test_a_bert_ranker_gives_the_score_of_its_head(tmp_path):
    config = dict(BERT, architectures=["BertForSequenceClassification"], id2label={"0": "LABEL_0"},
                  label2id={"LABEL_0": 0})
    shapes = bert_shapes(config, "bert.")
    shapes.update({"bert.pooler.dense.weight": (72, 72), "bert.pooler.dense.bias": (72,),
                   "classifier.weight": (1, 72), "classifier.bias": (1,)})
    weights = random_weights(shapes, "ranker")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tiny_models.save_safetensors(folder / "model.safetensors", weights)
    w = {k: v.astype(np.float64) for k, v in weights.items()}
    first = bert(weights, config, TOKENS)[0]
    pooled = np.tanh(first @ w["bert.pooler.dense.weight"].T + w["bert.pooler.dense.bias"])
    want = pooled @ w["classifier.weight"].T + w["classifier.bias"]
    got = harness.embedding(folder, TOKENS)
    assert tiny_models.nmse(want, got) <= 1e-10, f"{got} instead of {want}"


# ---------------------------------------------------------------------------------------------
# MiniLM as published

TEXTS = [
    "A man is playing a guitar.",
    "The quick brown fox jumps over the lazy dog",
    "How do I reset my password?",
    "naïve café, Zürich, ångström — déjà vu!",
    "東京は日本の首都です。 서울은 한국의 수도입니다.",
    "def f(x):\n    return x**2  # square",
    "1234567890 $%&/()=?",
    " ".join(["The bank raised its rate by 0.25 percent, and the river bank flooded."] * 6),
    "x",
]


@pytest.fixture(scope="module")
def minilm(models):
    """(folder, weights, config, tokenizer) of all-MiniLM-L6-v2."""
    folder = models("minilm")
    safetensors = pytest.importorskip("safetensors.numpy")
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    return (folder, safetensors.load_file(folder / "model.safetensors"),
            json.loads((folder / "config.json").read_text()), tokenizer)


def test_minilm_embeds_tokens_as_in_numpy(minilm):
    folder, weights, config, tokenizer = minilm
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        want, got = pool(bert(weights, config, ids), "mean"), harness.embedding(folder, ids)
        assert tiny_models.nmse(want, got) <= 1e-10, text


def test_minilm_embeds_text_as_published(minilm):
    folder, weights, config, tokenizer = minilm
    for text in TEXTS:
        want = pool(bert(weights, config, tokenizer.encode(text).ids), "mean")
        got = harness.embeddings(folder, text)[0]
        assert float(want @ unit(got)) >= 0.9999, text
        assert abs(np.linalg.norm(got) - 1) <= 1e-5


PERSON = "That is a happy person"
PUBLISHED = {"That is a happy dog": 0.695, "That is a very happy person": 0.943, "Today is a sunny day": 0.257}


def test_the_reference_itself_gives_the_similarities_that_the_hub_shows(minilm):
    folder, weights, config, tokenizer = minilm
    first, *others = (pool(bert(weights, config, tokenizer.encode(t).ids), "mean") for t in (PERSON, *PUBLISHED))
    for other, want in zip(others, PUBLISHED.values()):
        assert abs(float(first @ other) - want) <= 0.001
