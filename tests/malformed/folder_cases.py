"""Malformed folders: a tiny safetensors llama as hubs publish it, with one thing wrong at a time. A case is
(name, files, opened, valid); opened is "." for the folder itself."""

import json
import random
import struct

N_VOCAB, N_EMBD, N_FF = 64, 32, 64
SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
}
INDEX = "model.safetensors.index.json"

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": N_EMBD,
    "intermediate_size": N_FF,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": N_VOCAB,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 128,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
}

TOKENIZER = {
    "version": "1.0",
    "added_tokens": [
        {
            "id": 0,
            "content": "<unk>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel"},
    "model": {
        "type": "BPE",
        "unk_token": None,
        "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3},
        "merges": [["a", "b"]],
    },
}


def safetensors(tensors, header=None, length=None, data=None, pad=b""):
    """tensors: {name: (dtype, shape)} in order; the other arguments replace what is written."""
    entries, blob, rng = {}, b"", random.Random(3)
    for name, (dtype, shape) in tensors.items():
        n = SIZES[dtype]
        for dim in shape:
            n *= dim
        if dtype == "F32":
            raw = struct.pack(f"<{n // 4}f", *(rng.uniform(-0.2, 0.2) for _ in range(n // 4)))
        else:
            raw = bytes(n)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(blob), len(blob) + n]}
        blob += raw
    if callable(header):
        entries = header(entries)
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    raw += pad
    n_header = len(raw) if length is None else length(len(raw), len(blob))
    return struct.pack("<Q", n_header % 2**64) + raw + (blob if data is None else data(blob))


def llama_tensors():
    n_kv = N_EMBD // 2
    t = {
        "model.embed_tokens.weight": (N_VOCAB, N_EMBD),
        "model.norm.weight": (N_EMBD,),
        "lm_head.weight": (N_VOCAB, N_EMBD),
    }
    layer = {
        "input_layernorm": (N_EMBD,),
        "post_attention_layernorm": (N_EMBD,),
        "self_attn.q_proj": (N_EMBD, N_EMBD),
        "self_attn.k_proj": (n_kv, N_EMBD),
        "self_attn.v_proj": (n_kv, N_EMBD),
        "self_attn.o_proj": (N_EMBD, N_EMBD),
        "mlp.gate_proj": (N_FF, N_EMBD),
        "mlp.up_proj": (N_FF, N_EMBD),
        "mlp.down_proj": (N_EMBD, N_FF),
    }
    t |= {f"model.layers.0.{name}.weight": shape for name, shape in layer.items()}
    return {name: ("F32", shape) for name, shape in t.items()}


def folder(**replaced):
    """The valid folder; keyword arguments replace files (dots written as __), None removes one."""
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": json.dumps(TOKENIZER).encode(),
        "tokenizer_config.json": b'{"chat_template": "x"}',
        "generation_config.json": b'{"temperature": 0.7}',
        "model.safetensors": safetensors(llama_tensors()),
    }
    for name, data in replaced.items():
        files[name.replace("__", ".")] = data
    return {name: data for name, data in files.items() if data is not None}


def sharded(index=None, parts=2, edit=None):
    """The folder with several weight files. `edit` changes the weight map, `index` replaces its file."""
    tensors = llama_tensors()
    names = list(tensors)
    files = folder(model__safetensors=None)
    weight_map = {}
    for i in range(parts):
        shard = f"model-{i + 1:05}-of-{parts:05}.safetensors"
        mine = names[i::parts]
        files[shard] = safetensors({n: tensors[n] for n in mine})
        weight_map |= {n: shard for n in mine}
    if edit:
        weight_map = edit(weight_map)
    files[INDEX] = (
        index
        if index is not None
        else json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()
    )
    return files


def case(name, files, opened=".", valid=False):
    return name, files, opened, valid


BROKEN_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "cut": b'{"hidden_size": 32, "vocab',
    "not JSON": b"hidden_size: 32\n",
    "a trailing comma": b'{"a": 1,}',
    "a comment": b'{"a": 1} // x',
    "two documents": b"{}{}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a": "\xff"}',
    "a control character": b'{"a": "\n"}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a duplicate key": b'{"a": 1, "a": 2}',
    "an unknown escape": b'{"a": "\\q"}',
    "single quotes": b"{'a': 1}",
    "a bare word": b'{"a": none}',
    "a leading zero": b'{"a": 01}',
    "an endless number": b'{"a": 1e999}',
    "a zero byte": b'{"a": 1\0}',
    "deep arrays": b'{"a": ' + b"[" * 100000,
    "deep objects": b'{"a":' * 100000,
    "closed too often": b'{"a": 1}}',
    "a missing colon": b'{"a" 1}',
    "a missing comma": b'{"a": 1 "b": 2}',
    "an array": b"[1, 2]",
    "a string": b'"x"',
    "a number": b"5",
    "null": b"null",
    "binary": bytes(range(256)),
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
}


def json_cases():
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        for text, raw in BROKEN_JSON.items():
            files = folder()
            files[name] = raw
            yield case(f"{name}: {text}", files)
    good = json.dumps(CONFIG).encode()
    for keep in range(0, len(good), 37):
        yield case(f"config.json truncated to {keep} bytes", folder(config__json=good[:keep]))
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        for value in ("32", [32], {}, True, 32.5, 1e300):
            yield case(
                f"config.json: {key} = {value!r}",
                folder(config__json=json.dumps({**CONFIG, key: value}).encode()),
            )


def header_cases():
    one = {"a": ("F32", (2, 3)), "b": ("F16", (4,))}

    def edited(key, value, name="a"):
        return lambda e: {**e, name: {**e[name], key: value}}

    def dropped(key):
        return lambda e: {**e, "a": {k: v for k, v in e["a"].items() if k != key}}

    headers = {
        f"dtype {v!r}": edited("dtype", v)
        for v in ("F33", "", "f32", "F32\0", 32, None, [], "F4", "C64", "Q4_0", "\U0001f600")
    }
    headers |= {f"dtype {v} for other bytes": edited("dtype", v) for v in ("F64", "F16", "U8")}
    headers |= {
        f"shape {v!r}": edited("shape", v)
        for v in (
            [3],
            [2, 4],
            [-2, -3],
            [2.5, 3],
            ["2", "3"],
            [2, 3, 1e300],
            6,
            None,
            {},
            [2**63],
            [2**62, 4],
            [2**32, 2**32],
            [2**62, 2],
            [2**63 - 1, 2**63 - 1],
            [0, 3],
            [1] * 9 + [6],
            [[2, 3]],
            [True, 6],
            [2, 3, 0],
        )
    }
    headers |= {
        f"data_offsets {v!r}": edited("data_offsets", v)
        for v in (
            [0],
            [0, 24, 48],
            [24, 0],
            [-1, 23],
            [0, 23],
            [0, 25],
            [1, 25],
            [0, 2**63 - 1],
            [0, 2**64],
            [2**63, 2**63],
            [8, 32],
            ["0", "24"],
            None,
            {},
            [0.5, 24.5],
            [2**62, 2**62 + 24],
            [16, 40],
        )
    }
    headers |= {f"without {k}": dropped(k) for k in ("dtype", "shape", "data_offsets")}
    headers |= {f"entry {v!r}": (lambda e, v=v: {**e, "a": v}) for v in (None, 1, "x", [], {})}
    headers |= {
        f"__metadata__ {v!r}": (lambda e, v=v: {**e, "__metadata__": v})
        for v in (1, "x", [], {"a": 1}, {"a": None}, {"a": {}})
    }
    headers["a size that only a wrapped difference has"] = lambda e: {
        **e,
        "c": {"dtype": "F16", "shape": [2**63 - 4], "data_offsets": [8, 0]},
    }
    headers["half an element in no bytes"] = lambda e: {
        **e,
        "c": {"dtype": "U8", "shape": [0.5], "data_offsets": [0, 0]},
    }
    headers["overlap"] = edited("data_offsets", [16, 24], "b")
    headers["b on a"] = edited("data_offsets", [0, 8], "b")
    headers["a hole at the end"] = lambda e: {"a": e["a"]}
    headers["a hole at the beginning"] = lambda e: {"b": e["b"]}
    headers["no tensors for data"] = lambda e: {}
    headers["a name with a zero"] = lambda e: {"a\0": e["a"], "b": e["b"]}
    headers["an empty name"] = lambda e: {"": e["a"], "b": e["b"]}
    headers["a name twice"] = lambda e: json.dumps(e).encode().replace(b'"b"', b'"a"')
    headers |= {f"header {text}": (lambda e, raw=raw: raw) for text, raw in BROKEN_JSON.items()}
    headers["a space before the header"] = lambda e: b" " + json.dumps(e).encode()
    for text, header in headers.items():
        yield case(f"model.safetensors: {text}", folder(model__safetensors=safetensors(one, header=header)))
    yield from length_cases(one)


def length_cases(one):
    lengths = {
        "0": lambda n, d: 0,
        "1": lambda n, d: 1,
        "one less": lambda n, d: n - 1,
        "one more": lambda n, d: n + 1,
        "the file": lambda n, d: n + d,
        "remaining + 1": lambda n, d: n + d + 1,
        "with itself": lambda n, d: n + d + 8,
        "100 MB": lambda n, d: 10**8,
        "2^31": lambda n, d: 2**31,
        "2^32": lambda n, d: 2**32,
        "2^63": lambda n, d: 2**63,
        "max": lambda n, d: 2**64 - 1,
        "max - 7": lambda n, d: 2**64 - 8,
    }
    for text, length in lengths.items():
        yield case(
            f"model.safetensors: header length {text}",
            folder(model__safetensors=safetensors(one, length=length)),
        )
    whole = safetensors(one)
    for keep in [*range(0, 12), *range(12, len(whole), 9), len(whole) - 1]:
        yield case(f"model.safetensors truncated to {keep} bytes", folder(model__safetensors=whole[:keep]))
    yield case("model.safetensors: a byte too many", folder(model__safetensors=whole + b"\0"))
    yield case("model.safetensors twice in one file", folder(model__safetensors=whole * 2))


def index_cases():
    for text, raw in BROKEN_JSON.items():
        yield case(f"{INDEX}: {text}", sharded(index=raw))
    names = [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        ".",
        "",
        "model.bin",
        ".hidden.safetensors",
        "missing.safetensors",
        "a\\b.safetensors",
        "c:x.safetensors",
        "x" * 300 + ".safetensors",
        "model.safetensors\0.safetensors",
        "config.json",
        5,
        None,
        [],
        {},
    ]
    for name in names:
        yield case(
            f"{INDEX}: a tensor in {str(name)[:40]!r}",
            sharded(edit=lambda m, n=name: {**m, "lm_head.weight": n}),
        )
    for text, edit in {
        "all in the other file": lambda m: {k: "model-00001-of-00002.safetensors" for k in m},
        "a tensor that is nowhere": lambda m: {**m, "nowhere": "model-00001-of-00002.safetensors"},
        "no entries": lambda m: {},
        "a list": lambda m: list(m),
        "a name": lambda m: "model.safetensors",
    }.items():
        yield case(f"{INDEX}: weight_map with {text}", sharded(edit=edit))
    shard = "model-00001-of-00002.safetensors"
    for name in ("sub/" + shard, ".hidden.safetensors", "./" + shard, "back\\slash.safetensors", "no-suffix"):
        files = sharded(edit=lambda m, n=name: {k: n if v == shard else v for k, v in m.items()})
        if name not in ("./" + shard,):
            files[name] = files.pop(shard)
        yield case(f"{INDEX}: a part that is there, but is no plain name: {name}", files)
    files = sharded()
    for gone in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX):
        yield case(f"sharded folder without {gone}", {k: v for k, v in files.items() if k != gone})
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    yield case("sharded folder with a part twice", {**files, second: files[first]})
    yield case("sharded folder with parts exchanged", {**files, first: files[second], second: files[first]})
    yield case("sharded folder with an empty part", {**files, second: b""})
    yield case("sharded folder with a cut part", {**files, second: files[second][:-1]})
    both = safetensors({**llama_tensors()})
    yield case("sharded folder with a tensor in two parts", {**files, second: both})


def folder_cases():
    yield case("no files at all", {})
    yield case("only config.json", {"config.json": b"{}"})
    yield case("no config.json", folder(config__json=None))
    yield case("no config.json beside the opened file", folder(config__json=None), "model.safetensors")
    yield case("pickled weights", folder(model__safetensors=None, pytorch_model__bin=b"PK\3\4"))
    yield case(
        "two files of other names", folder(model__safetensors=None, a__safetensors=b"", b__safetensors=b"")
    )
    yield case(
        "a part of two without an index",
        folder(**{"model__safetensors": None, "model-00001-of-00002__safetensors": safetensors({})}),
    )
    yield case("two GGUF models", {"a.gguf": b"GGUF", "b.gguf": b"GGUF"})
    yield case("a broken GGUF", {"a.gguf": b"GGUF"})
    yield case("a path that does not exist", {}, "nothing.gguf")
    yield case("a config.json opened as a model", folder(), "config.json")


def valid_cases():
    import gguf_cases

    gguf = gguf_cases.tiny_llama().build()
    yield case("the valid folder", folder(), ".", True)
    yield case("the valid folder by its file", folder(), "model.safetensors", True)
    yield case("the valid sharded folder", sharded(), ".", True)
    yield case("the valid sharded folder in five parts", sharded(parts=5), ".", True)
    yield case("the valid sharded folder by a part", sharded(), "model-00002-of-00002.safetensors", True)
    yield case(
        "weights under another name",
        {**folder(model__safetensors=None), "weights.safetensors": safetensors(llama_tensors())},
        ".",
        True,
    )
    yield case(
        "spaces behind the header",
        folder(model__safetensors=safetensors(llama_tensors(), pad=b" " * 13)),
        ".",
        True,
    )
    yield case(
        "scalars, empty tensors and metadata",
        folder(
            model__safetensors=safetensors(
                {
                    "s": ("F32", ()),
                    "z": ("F32", (0, 5)),
                    "u": ("F8_E4M3", (3,)),
                    "w": ("U64", (1, 1, 1, 1, 1, 1, 1, 1)),
                },
                header=lambda e: {"__metadata__": {"format": "pt"}, **e},
            )
        ),
        ".",
        True,
    )
    yield case("a folder with one GGUF", {"x.gguf": gguf, "README.md": b"#"}, ".", True)
    yield case("a folder with one split set", dict(gguf_cases.split_set(3)), ".", True)
    yield case("a GGUF beside its config.json", {"x.gguf": gguf, "config.json": b"{}"}, ".", True)
    yield case("a GGUF of another name", {"blob": gguf}, "blob", True)


def all_cases():
    for make in (valid_cases, json_cases, header_cases, index_cases, folder_cases):
        yield from make()
