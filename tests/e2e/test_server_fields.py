"""Every field of every endpoint with values of every kind: refusals name the field in the dialect's own shape, and nothing
that a client sends is a 5xx. The fields are those that the server itself names (probe_fields)."""
import json
import os
import pathlib
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
EXTREME = [True, False, -1, 0, 1, 2**31, -(2**53), 1e308, -1e308, -0.0, 1e-320, "", "NaN", "\u0000", "x" * 5000, [], [[]], [None], [-1], [{}], {}, {"": {}}]


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


@pytest.mark.long
@pytest.mark.parametrize("endpoint, field", FIELDS)
def test_no_value_is_the_servers_fault(server, endpoint, field):
    for value in EXTREME:
        reply = send(server, endpoint, field, value)
        assert reply.status < 500 or reply.status == 501, (value, reply.status, reply.body)
    assert server.get("/health").status == 200


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
