"""Writes the seed files of tests/fuzz/corpus, by the cases of the other tests (see tests/malformed and tests/parity)."""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "malformed"), str(HERE.parent / "parity")]

import folder_cases
import gguf_cases
import output_cases
import template_cases
import template_snippets
from gguf_file import ARRAY, F32, I32, KIND_NAMES, STRING, TYPES, U8, U32, Array, Gguf, type_bytes


def ggufs():
    g = gguf_cases.tiny_llama()
    g.tensors = [("w", [32, 1], 8, bytes(34)), ("b", [4], 0, bytes(16))]
    g.replace("tokenizer.ggml.tokens", ARRAY, Array(STRING, ["a", "b", "ab"]))
    g.replace("tokenizer.ggml.scores", ARRAY, Array(F32, [0, -1, -2]))
    g.replace("tokenizer.ggml.token_type", ARRAY, Array(I32, [1, 1, 1]))
    yield "model", g.build()
    yield "empty", Gguf().build()
    yield "version2", Gguf(version=2).build()
    for kind in range(13):
        g = Gguf()
        g.add("k", kind, gguf_cases.dummy(kind))
        yield "kind_" + KIND_NAMES[kind], g.build()
    g = Gguf(align=8)
    g.add("general.alignment", U32, 8)
    for i, type_id in enumerate(TYPES):
        shape = [TYPES[type_id][0]]
        g.tensor(f"t{i}", shape, type_id, bytes(type_bytes(type_id, shape)))
    yield "types", g.build()
    g = Gguf(align=16)
    g.add("general.alignment", U32, 16)
    g.tensor("four", [1, 2, 1, 3], 24, bytes(6))
    yield "dims", g.build()
    yield "split", gguf_cases.split_set(3)["m-00002-of-00003.gguf"][:300]
    yield (
        "string",
        b"GGUF"
        + struct.pack("<IQQQ", 3, 0, 1, 1)
        + b"s"
        + struct.pack("<IQ", STRING, 3)
        + b"\xff\0a"
        + bytes([U8]),
    )


def jsons():
    for name, raw in folder_cases.BROKEN_JSON.items():
        yield "broken_" + name.replace(" ", "_"), raw[:300]
    yield "config", folder_cases.folder()["config.json"]
    yield "tokenizer", folder_cases.folder()["tokenizer.json"]
    yield (
        "numbers",
        b"[0,-0,1.5,1e5,-1E-5,0.1,123456789012345678901234567890,1e-400,9007199254740993,NaN,-Infinity]",
    )
    yield "strings", '["\\u00e9\\ud83d\\ude00\\n\\"", "é€😀", "", "\\u0000"]'.encode()
    yield "many_keys", ("{" + ",".join(f'"k{i}":{i}' for i in range(40)) + "}").encode()
    yield "nested", b"[" * 100 + b"]" * 100


def safetensors():
    make = folder_cases.safetensors
    yield "two", make({"a": ("F32", (2, 3)), "b": ("F16", (4,))})
    yield "metadata", make({"s": ("F64", ())}, header=lambda e: {"__metadata__": {"format": "pt"}, **e})
    yield "dtypes", make({d.lower(): (d, (1,)) for d in folder_cases.SIZES})
    yield "empty", make({})
    yield "zero", make({"z": ("U8", (0, 3))}, pad=b"   ")


def imatrices():
    floats = lambda *v: struct.pack(f"<{len(v)}f", *v)  # noqa: E731
    g = Gguf()
    g.add("general.type", STRING, "imatrix")
    g.add("imatrix.datasets", ARRAY, Array(STRING, ["a.txt"]))
    g.add("imatrix.chunk_count", U32, 3)
    g.tensor("w.in_sum2", [3, 2], 0, floats(1, 2, 3, 4, 5, 6))
    g.tensor("w.counts", [1, 2], 0, floats(2, 0))
    yield "gguf", g.build()
    entry = struct.pack("<I", 1) + b"w" + struct.pack("<ii", 2, 3) + floats(1, 2, 3)
    yield "dat", struct.pack("<i", 1) + entry + struct.pack("<iI", 7, 5) + b"a.txt"


def templates():
    for i, snippet in enumerate(template_snippets.snippets()):
        yield f"{i:03d}", snippet.encode()
    yield "vars", b"{{ a }}{% for x in b %}{{ x }}{% endfor %}\0" + b'{"a": "x", "b": [1, {"c": null}]}'


def conversations():
    formats = range(22)
    for i, (name, messages) in enumerate(template_cases.CONVERSATIONS.items()):
        asked = {"messages": messages, "kwargs": {"thinking": i % 2 == 0, "reasoning_effort": "high"}}
        if i % 3 == 0:
            asked["tools"] = template_cases.TOOLS[:1]
        yield name, bytes([formats[i % len(formats)]]) + json.dumps(asked, ensure_ascii=False).encode()


def chat_outputs():
    names = []  # in the order of the table
    for line in (HERE.parents[1] / "src/chat/format_table.c").read_text().splitlines():
        if '{.name = "' in line:
            names.append(line.split('"')[1])
    for case in output_cases.CASES:
        flags = case["begins"] | 4 * case.get("any_tool", False) | 8 * case.get("raw", False)
        yield case["name"], bytes([names.index(case["format"]), flags, 7]) + case["text"].encode()


def saved():
    yield "whole", bytes(2)
    yield "cut", bytes([9, 0])
    yield "changed", bytes([0, 0, 40, 0, 7, 200, 1, 3])


def loras():
    def file(names, config):
        at, head, body = 0, {}, b""
        for name, shape in names.items():
            n = 4 * shape[0] * shape[1]
            head[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + n]}
            at += n
            body += bytes(n)
        text = json.dumps(head).encode()
        return bytes([config]) + struct.pack("<Q", len(text)) + text + body

    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_%s.weight"
    yield "peft", file({name % "A": (2, 48), name % "B": (48, 2)}, 0)
    yield "mlx", file({"model.layers.0.self_attn.q_proj.lora_a": (48, 2), "model.layers.0.self_attn.q_proj.lora_b": (2, 48)}, 1)
    yield "gguf", bytes([2]) + b"GGUF" + struct.pack("<IQQ", 3, 0, 0)


def requests():
    """The first byte is the endpoint's place in src/server/field_sets.c; most fields of most dialects, in four bodies."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "u"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "r"},
        {"role": "tool", "tool_call_id": "a", "content": "t"},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    bodies = [
        {"model": "m", "messages": messages, "tools": [tool], "tool_choice": "auto", "response_format": form, "stop": ["a"], "n": 2,
         "logit_bias": {"1": -100}, "stream_options": {"include_usage": True}, "keep_alive": "5m", "seed": -1, "max_tokens": 5},
        {"model": "m", "prompt": [[1, 2], "a"], "input": ["a"], "suffix": "s", "options": {"num_ctx": 1, "stop": ["x"]}, "format": "json",
         "think": "high", "logit_bias": [["a", False], [1, 2.5]], "samplers": ["top_k"], "grammar": "root ::= \"a\""},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}],
         "system": [{"type": "text", "text": "s"}], "tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "any"},
         "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5, "query": "q", "documents": ["d", {"text": "e"}],
         "input_extra": [{"filename": "f", "text": "t"}], "content": "c", "tokens": [1]},
        {"input": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "x"},
                   {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                   {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
                   {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"}],
         "tools": [{"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "regex", "definition": "a"}}],
         "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
         "text": {"format": {"type": "text"}}, "reasoning": {"summary": "auto"}, "metadata": {"a": "b"}},
    ]
    for endpoint in range(20):
        for i, body in enumerate(bodies):
            yield f"{endpoint}_{i}", bytes([endpoint]) + json.dumps(body).encode()


for folder, seeds in (
    ("fields", requests), ("saved", saved), ("lora", loras),
    ("chat_output", chat_outputs), ("template", templates), ("messages", conversations), ("gguf", ggufs), ("json", jsons),
    ("safetensors", safetensors), ("imatrix", imatrices),
):
    out = HERE / "corpus" / folder
    out.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (out / f"seed_{name}").write_bytes(data)
