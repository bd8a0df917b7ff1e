"""Every field of every endpoint with values of every kind: refusals name the field in the dialect's own shape, and nothing
that a client sends, at any place in a request, is a 5xx. The fields are those that the server itself names (probe_fields)."""
import json
import os
import pathlib
import random
import subprocess
import sys

import pytest

from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import api_doc  # noqa: E402

BASE = {
    "POST /v1/chat/completions": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1},
    "POST /v1/completions": {"prompt": "x", "max_tokens": 1},
    "POST /v1/embeddings": {"input": "x"},
    "POST /v1/rerank": {"query": "x", "documents": ["x"]},
    "POST /v1/responses": {"input": "x", "max_output_tokens": 16},
    "POST /v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "model": "x"},
    "POST /api/chat": {"messages": [{"role": "user", "content": "x"}], "options": {"num_predict": 1}},
    "POST /api/generate": {"prompt": "x", "options": {"num_predict": 1}},
    "POST /api/embed": {"input": "x"},
    "POST /api/embeddings": {"prompt": "x"},
    "POST /api/show": {},
    "POST /api/create": {"model": "made"},
    "POST /api/copy": {"source": "x", "destination": "y"},
    "DELETE /api/delete": {"model": "none"},
    "POST /completion": {"prompt": "x", "n_predict": 1},
    "POST /infill": {"input_prefix": "x", "input_suffix": "y", "n_predict": 1},
    "POST /embedding": {"content": "x"},
    "POST /tokenize": {"content": "x"},
    "POST /detokenize": {"tokens": [1]},
    "POST /apply-template": {"messages": [{"role": "user", "content": "x"}]},
}
OF_KIND = {"boolean": True, "number": 1.5, "string": "some text", "array": [[{}]], "object": {"no such": 1}}
DEEP = json.loads("[" * 100 + "]" * 100)
EXTREME = [None, True, False, -1, 0, 1, 2**31, -(2**53), 2**63, 10**400, 1e308, -1e308, -0.0, 1e-320, float("nan"), "", "NaN", "\u0000", "x" * 5000,
           [], [[]], [None], [-1], ["x", 1], [{}], DEEP, {}, {"": {}}, {"a": DEEP}, {"type": "x"}]

# What a request may hold below its fields: every place in it is given every value.
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}, "strict": True}}
USER = {"role": "user", "content": [{"type": "text", "text": "x"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer", "minimum": 1}}}, "required": ["a"]}
OPTIONS = {"num_predict": 1, "temperature": 0.5, "stop": ["x"], "num_ctx": 64}
NESTED = {
    "POST /v1/chat/completions": {
        "messages": [{"role": "system", "content": "x"}, USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                     {"role": "tool", "tool_call_id": "c1", "content": "x"}, USER],
        "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}, "stream_options": {"include_usage": True}, "stream": True,
        "logit_bias": {"1": 1}, "reasoning": {"effort": "low"}, "chat_template_kwargs": {"a": [1]}, "options": {"num_ctx": 64}, "samplers": ["top_k"], "max_tokens": 1},
    "POST /v1/completions": {"prompt": [[1, 2], [3]], "max_tokens": 1, "stop": ["x"], "logit_bias": {"1": 1}, "json_schema": SCHEMA},
    "POST /v1/embeddings": {"input": [[1, 2], [3]]},
    "POST /v1/rerank": {"query": "x", "documents": ["x", {"text": "y"}]},
    "POST /v1/responses": {
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
                  {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "x"},
                  {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                  {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
                  {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"},
                  {"type": "custom_tool_call_output", "call_id": "d", "output": "x"}],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}, {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "regex", "definition": "a"}}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "text": {"format": {"type": "text"}, "verbosity": "low"}, "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "metadata": {"a": "b"}, "stream_options": {"include_obfuscation": False}, "max_output_tokens": 16},
    "POST /v1/messages": {
        "model": "x", "max_tokens": 1025, "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        "messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                     {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}], "is_error": False}]}],
        "tools": [{"name": "f", "description": "d", "input_schema": SCHEMA}], "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "stop_sequences": ["x"], "metadata": {"user_id": "x"}},
    "POST /api/chat": {
        "messages": [{"role": "user", "content": "x", "images": []}, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
                     {"role": "tool", "tool_name": "f", "content": "x"}],
        "tools": [TOOL], "format": SCHEMA, "options": OPTIONS},
    "POST /api/generate": {"prompt": "x", "format": SCHEMA, "options": OPTIONS, "context": [1, 2]},
    "POST /api/embed": {"input": ["x"], "options": OPTIONS},
    "POST /api/create": {"model": "made", "from": "x", "messages": [{"role": "user", "content": "x"}], "parameters": OPTIONS, "files": {"a": "b"}, "adapters": {"a": "b"}},
    "POST /completion": {"prompt": ["x", [1, "y"], {"prompt_string": "z"}], "n_predict": 1, "logit_bias": [[1, 0.5], ["x", False]], "lora": [{"id": 0, "scale": 1}],
                         "stop": ["x"], "samplers": ["top_k"], "json_schema": SCHEMA, "response_fields": ["content"]},
    "POST /infill": {"input_prefix": "x", "input_suffix": "y", "input_extra": [{"filename": "f", "text": "t"}], "n_predict": 1},
    "POST /tokenize": {"content": ["x", 1]},
    "POST /apply-template": {"messages": [USER], "tools": [TOOL], "chat_template_kwargs": {"a": {"b": 1}}},
}


def told():
    probe = pathlib.Path(os.environ["HEARTH_PROBES"]) / "probe_fields"
    if not probe.exists():
        return {"endpoints": [], "routes": []}
    return json.loads(subprocess.run([probe], capture_output=True, check=True).stdout)


TOLD = told()
FIELDS = [pytest.param(e, f, id=f"{e['name']}-{f['name']}") for e in TOLD["endpoints"] for f in e["fields"]]


@pytest.fixture(scope="module")
def server(hearth, models, tmp_path_factory):
    with Server(hearth, models("default"), "--ctx", "512", "--any-model", "--state-folder", tmp_path_factory.mktemp("state")) as s:
        yield s


def message_of(dialect, reply):
    """The sentence of a refusal, which must have the dialect's shape."""
    body = json.loads(reply.body)
    if dialect == "ollama":
        assert isinstance(body["error"], str)
        return body["error"]
    if dialect == "anthropic":
        assert body["type"] == "error" and isinstance(body["error"]["type"], str)
    elif dialect == "llama-server":
        assert body["error"]["code"] == reply.status and isinstance(body["error"]["type"], str)
    else:
        assert set(body["error"]) >= {"message", "type", "param", "code"}
    return body["error"]["message"]


def wrong_values(f):
    """Values of kinds that the field's row does not have."""
    if f["kind"] == "ignored":
        return []
    if f["kind"] == "refused":
        return [{"a": 1}]
    kinds = {"integer": ["number"], "word": ["string"], "custom": (f["words"] or "").split("|")}.get(f["kind"], [f["kind"]])
    wrong = [v for k, v in OF_KIND.items() if k not in kinds]
    return wrong + ([1.5] if f["kind"] == "integer" else []) + (["no such word"] if f["kind"] == "word" else [])


def send(server, endpoint, field, value):
    method, path = endpoint["name"].split()
    body = dict(BASE[endpoint["name"]])
    body.pop(field["name"], None)
    return server.request(method, path, {field["name"]: value, **body})


@pytest.mark.parametrize("endpoint, field", FIELDS)
def test_a_value_of_the_wrong_kind_is_a_400_that_names_the_field(server, endpoint, field):
    for value in wrong_values(field):
        reply = send(server, endpoint, field, value)
        text = message_of(endpoint["dialect"], reply) if reply.status != 200 else reply.body
        assert reply.status == 400, (value, reply.status, text)
        assert field["name"] in text, (value, text)


def places(value, path=()):
    """The path of everything below a value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield (*path, key)
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    """The same value with another one at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def cases():
    """(endpoint, place, body) for every field, and every place below one, with every value."""
    for endpoint in TOLD["endpoints"]:
        name = endpoint["name"]
        for f in endpoint["fields"]:
            for value in EXTREME:
                yield endpoint, f["name"], {**{k: v for k, v in BASE[name].items() if k != f["name"]}, f["name"]: value}
        for path in places(NESTED.get(name, {})):
            for value in EXTREME:
                yield endpoint, path, replaced(NESTED[name], path, value)


ASK = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 8, "temperature": 0}


def no_value_is_the_servers_fault(server, some):
    def answer():
        return server.json("/v1/chat/completions", ASK)["choices"]

    before = answer()
    for endpoint, place, body in some:
        method, path = endpoint["name"].split()
        reply = server.request(method, path, body)
        assert reply.status < 500 or reply.status == 501, (place, body, reply.status, reply.body)
        if reply.status >= 400:
            assert message_of(endpoint["dialect"], reply), (place, body, reply.body)
    assert answer() == before  # nothing else was disturbed


def test_some_values_are_not_the_servers_fault(server):
    no_value_is_the_servers_fault(server, random.Random(1).sample(list(cases()), 200))


@pytest.mark.long
@pytest.mark.parametrize("name", list(BASE))
def test_no_value_is_the_servers_fault(server, name):
    no_value_is_the_servers_fault(server, [c for c in cases() if c[0]["name"] == name])


def test_every_endpoint_has_a_body_to_start_from():
    assert {e["name"] for e in TOLD["endpoints"]} <= set(BASE)


def test_the_documentation_says_what_the_program_does():
    if not TOLD["routes"]:
        pytest.skip("probe_fields is not built")
    doc = (ROOT / "docs" / "api.md").read_text()
    assert doc.split(api_doc.MARKER)[1].strip() == api_doc.tables(TOLD).strip(), "run tools/api_doc.py"


def test_every_path_but_the_public_ones_wants_a_key_where_there_is_one(hearth, models):
    with Server(hearth, models("default"), "--ctx", "512", "--api-key", "secret-of-the-test") as s:
        for r in TOLD["routes"]:
            path = r["pattern"].replace("{id...}", "x").replace("{id}", "x").replace("{digest}", "sha256:" + "0" * 64)
            for method in r["methods"]:
                reply = s.request(method, path, "{}" if method in ("POST", "PUT", "DELETE") else None)
                assert (reply.status == 401) != r["public"], (method, path, reply.status)
