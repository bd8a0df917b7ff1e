"""Prompts that fill in the middle, against the forms that the models' authors publish."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

from chat_probe import model_folder

tokenizers = pytest.importorskip("tokenizers")

PREFIX, SUFFIX = "def add(a, b):\n    \"\"\"é\"\"\"\n", "\n    return c\n"
FILES = [["lib/b.py", "x = 1\n"], ["c.py", "y = 'ü'\n"]]

# Spellings of a family's tokens, which of them the family's authors call special, and prompts as they show them:
# Hui et al. 2024 (Qwen2.5-Coder) 3.2.2; Lozhkov et al. 2024 (StarCoder 2) 5.1; CodeGemma report, figures 2 and 4;
# the model cards of DeepSeek-Coder, Granite 3.3, SantaCoder and StarCoder.
FORMS = {
    "qwen": (["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>", "<|fim_pad|>"], [], {
        "plain": "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
        "files": "<|repo_name|>r\n<|file_sep|>lib/b.py\nx = 1\n\n<|file_sep|>c.py\ny = 'ü'\n\n<|file_sep|>a.py\n"
                 "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    }),
    "starcoder2": (["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<repo_name>", "<file_sep>"], [0, 1, 2, 3, 4], {
        "plain": "<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
        "files": "<repo_name>r<file_sep>lib/b.py\nx = 1\n<file_sep>c.py\ny = 'ü'\n<file_sep><fim_prefix>a.py\n{p}<fim_suffix>{s}"
                 "<fim_middle>",
        "spm": "<fim_prefix><fim_suffix>{s}<fim_middle>{p}",
    }),
    "starcoder": (["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<reponame>", "<filename>"], [0, 1, 2, 3, 4], {
        "plain": "<fim_prefix>{p}<fim_suffix>{s}<fim_middle>",
        "spm": "<fim_prefix><fim_suffix>{s}<fim_middle>{p}",
    }),
    "granite": (["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|reponame|>", "<|filename|>"], [0, 1, 2, 3, 4], {
        "plain": "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
    }),
    "codegemma": (["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_separator|>"], [], {
        "plain": "<|fim_prefix|>{p}<|fim_suffix|>{s}<|fim_middle|>",
        "files": "lib/b.py\nx = 1\n<|file_separator|>c.py\ny = 'ü'\n<|file_separator|>a.py\n<|fim_prefix|>{p}<|fim_suffix|>{s}"
                 "<|fim_middle|>",
    }),
    "deepseek": (["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"], [], {
        "plain": "<｜fim▁begin｜>{p}<｜fim▁hole｜>{s}<｜fim▁end｜>",
        "files": "<｜fim▁begin｜>#lib/b.py\nx = 1\n\n#c.py\ny = 'ü'\n\n#a.py\n{p}<｜fim▁hole｜>{s}<｜fim▁end｜>",
    }),
    "santacoder": (["<fim-prefix>", "<fim-suffix>", "<fim-middle>"], [0, 1, 2], {
        "plain": "<fim-prefix>{p}<fim-suffix>{s}<fim-middle>",
        "spm": "<fim-prefix><fim-suffix>{s}<fim-middle>{p}",
    }),
}


class Infill:
    """tests/parity/probe_infill.c for one model."""

    def __init__(self, model):
        probe = pathlib.Path(os.environ["HEARTH_PROBES"]) / "probe_infill"
        if not probe.exists():
            pytest.skip("probe_infill is not built")
        self.command = [probe, model]

    def ask(self, **question):
        done = subprocess.run(self.command, input=json.dumps(question).encode() + b"\n", capture_output=True, check=True)
        return json.loads(done.stdout)


def byte_tokenizer(extra, special):
    """A byte-level vocabulary of single bytes and the family's tokens; None where they are no special ones."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    t = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(letters)}, []))
    t.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = tokenizers.decoders.ByteLevel()
    for i, word in enumerate(extra):
        add = t.add_special_tokens if i in special else t.add_tokens
        add([tokenizers.AddedToken(word, normalized=False, special=i in special)])
    return t


@pytest.mark.parametrize("family", FORMS)
def test_a_prompt_is_what_the_authors_show(family, tmp_path):
    extra, special, prompts = FORMS[family]
    t = byte_tokenizer(extra, special)
    infill = Infill(model_folder(tmp_path / "m", {"tokenizer.json": t.to_str()}))
    for name, prompt in prompts.items():
        more = {"files": FILES, "path": "a.py", "repo": "r"} if name == "files" else {"order": "spm"} if name == "spm" else {}
        got = infill.ask(prefix=PREFIX, suffix=SUFFIX, **more)
        assert got.get("format") == family, got
        assert got["ids"] == t.encode(prompt.format(p=PREFIX, s=SUFFIX)).ids, name
    if "spm" not in prompts and family != "granite":
        assert "not trained" in infill.ask(prefix="a", suffix="b", order="spm")["error"]


@pytest.mark.parametrize("family", FORMS)
def test_what_a_client_writes_is_no_token_of_the_format(family, tmp_path):
    extra, special, _ = FORMS[family]
    t = byte_tokenizer(extra, special)
    infill = Infill(model_folder(tmp_path / "m", {"tokenizer.json": t.to_str()}))
    own = {t.token_to_id(word) for word in extra}

    def marks(text):
        got = infill.ask(prefix=text, suffix=text, path=text, repo=text, files=[[text, text]])["ids"]
        return [i for i in got if i in own]

    assert marks("".join(extra)) == marks("x")


def test_a_vocabulary_without_such_tokens_is_refused(tmp_path):
    infill = Infill(model_folder(tmp_path / "m", {"tokenizer.json": byte_tokenizer([], []).to_str()}))
    assert "no prefix token" in infill.ask(prefix="a", suffix="b")["error"]


def test_what_is_too_long_is_cut_away_from_the_gap(tmp_path):
    extra, special, _ = FORMS["qwen"]
    t = byte_tokenizer(extra, special)
    infill = Infill(model_folder(tmp_path / "m", {"tokenizer.json": t.to_str()}))

    def ask(**more):
        got = infill.ask(prefix="0123456789" * 3, suffix="abcdefghij" * 3, **more)
        return t.decode(got["ids"], skip_special_tokens=False), got["taken"], len(got["ids"])

    assert ask(max_text=20) == ("<|fim_prefix|>" + ("0123456789" * 3)[-15:] + "<|fim_suffix|>abcde<|fim_middle|>", [15, 5, 0], 23)
    assert ask(max_text=40)[1] == [30, 10, 0]  # what the prefix leaves is the suffix's
    assert ask(max_text=200)[1] == [30, 30, 0]
    assert ask(max_all=23)[1:] == ([15, 5, 0], 23)
    files = [["a", "A" * 20], ["b", "B" * 20]]
    text, taken, n = ask(max_all=110, files=files)  # the first file loses its beginning first
    assert n == 110 and "b\n" + "B" * 20 in text and "A" in text and "A" * 20 not in text
    assert ask(max_all=50, files=files)[1][2] == 0 and ask(max_all=50, files=files)[2] <= 50
    assert "too few" in infill.ask(prefix="a", suffix="b", max_all=2)["error"]


def test_codestral_prompts_are_those_of_mistral_common(models, tmp_path):
    folder = models("mistral")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for needed in ("pydantic", "jsonschema", "PIL", "pydantic_extra_types"):
        pytest.importorskip(needed)
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
    from mistral_common.protocol.fim.request import FIMRequest

    data = folder / "mistral_common" / "data"
    for name, source in (("tokenizer.model", next(data.glob("*.model.v3"))), ("tekken.json", data / "tekken_240911.json")):
        infill = Infill(model_folder(tmp_path / name, {name: source.read_bytes()}))
        reference = MistralTokenizer.from_file(str(source))
        for prefix, suffix in ((PREFIX, SUFFIX), ("a", "b"), ("x = ", " + 1"), ("", "\n"), ("[PREFIX]<s>", "[SUFFIX]</s>"), ("é", " ü")):
            wanted = reference.encode_fim(FIMRequest(prompt=prefix, suffix=suffix)).tokens
            assert infill.ask(prefix=prefix, suffix=suffix)["ids"] == wanted, (name, prefix, suffix)


def test_codellama_prompts_have_a_space_before_the_prefix_alone(models, tmp_path):
    """As Meta's own code does it: the prefix is encoded as a text of its own, the suffix behind a character that is
    taken away again."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")
    source = models("mistral") / "mistral_common" / "data" / "tokenizer.model.v1"
    proto = model.ModelProto.FromString(source.read_bytes())
    n = len(proto.pieces)
    for word in ("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"):
        proto.pieces.add(piece=word, score=0, type=model.ModelProto.SentencePiece.CONTROL)
    infill = Infill(model_folder(tmp_path / "m", {"tokenizer.model": proto.SerializeToString()}))
    sp = sentencepiece.SentencePieceProcessor(model_file=str(source))
    for prefix, suffix in ((PREFIX, SUFFIX), ("a", "b"), ("x = ", " + 1"), ("", "")):
        ends = [n + 1, *sp.encode("☺" + suffix)[2:], n + 2]
        got = infill.ask(prefix=prefix, suffix=suffix)
        assert got["format"] == "codellama" and got["ids"] == [1, n, *sp.encode(prefix), *ends], (prefix, suffix)
        assert infill.ask(prefix=prefix, suffix=suffix, order="spm")["ids"] == [1, n, *ends, *sp.encode(prefix)]


def test_a_gguf_file_names_its_tokens(models):
    gguf = models("llama_vocab") / "ggml-vocab-deepseek-coder.gguf"
    got = Infill(gguf).ask(prefix="a", suffix="b")
    assert got["format"] == "deepseek" and got["ids"] == [32013, 32016, 64, 32015, 65, 32017]


def test_run_refuses_to_fill_in_with_a_model_that_cannot(run_hearth, models):
    # SmolLM2's vocabulary has StarCoder's tokens for files but none for gaps
    done = run_hearth("run", models("default"), "def f(x):", "--suffix", "return y", "-n", "4", check=False)
    assert done.returncode != 0 and b"fill in the middle" in done.stderr


def random_model(folder, tokenizer):
    numpy = pytest.importorskip("numpy")
    save = pytest.importorskip("safetensors.numpy").save_file
    rng, n, width = numpy.random.default_rng(7), tokenizer.get_vocab_size(), 32
    shapes = {"model.embed_tokens.weight": (n, width), "lm_head.weight": (n, width), "model.norm.weight": (width,)}
    layer = {"input_layernorm": (width,), "post_attention_layernorm": (width,), "self_attn.q_proj": (width, width),
             "self_attn.k_proj": (width, width), "self_attn.v_proj": (width, width), "self_attn.o_proj": (width, width),
             "mlp.gate_proj": (64, width), "mlp.up_proj": (64, width), "mlp.down_proj": (width, 64)}
    shapes.update({f"model.layers.0.{name}.weight": shape for name, shape in layer.items()})
    model_folder(folder, {"tokenizer.json": tokenizer.to_str()})
    save({k: rng.standard_normal(v).astype("float32") for k, v in shapes.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": width, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "vocab_size": n,
        "max_position_embeddings": 128, "tie_word_embeddings": False}))
    return folder


def test_run_gives_the_model_the_prompt_with_the_gap(run_hearth, tmp_path):
    """A model of random weights: what it answers is the same as with the prompt's own spelling given raw."""
    extra, special, prompts = FORMS["starcoder2"]
    path = random_model(tmp_path / "m", byte_tokenizer(extra, special))
    raw = run_hearth("run", path, prompts["plain"].format(p="ab", s="cd"), "--raw", "-n", "8", "--temp", "0").stdout
    assert run_hearth("run", path, "ab", "--suffix", "cd", "-n", "8", "--temp", "0").stdout == raw
