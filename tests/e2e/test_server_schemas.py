"""Every shape that the server answers with, against descriptions that nobody here wrote: the types of the Python packages
`openai`, `anthropic` and `ollama`, read strictly, and OpenAI's own OpenAPI description where HEARTH_OPENAPI names its JSON file
(openapi.json of github.com/openai/openai-openapi)."""
import json
import os
import pathlib
import typing

import anthropic.types
import ollama._types as ollama_types
import openai.types
import openai.types.chat
import openai.types.responses
import pydantic
import pytest

from server import Server
from test_pitfalls import ASK, SCHEMA, TEMPLATE, WEATHER, call_text, frames_of, script

TEXTS = {"text": "some words", "thought": "<think>hm</think>words", "call": "I look. " + call_text("Paris")}
FLAT = {"type": "function"} | WEATHER["function"]
ANTHROPIC = {"name": "get_weather", "description": "d", "input_schema": SCHEMA}
CUSTOM = {"type": "custom", "name": "get_weather"}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def server(hearth, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    (folder / "t.jinja").write_text(TEMPLATE.replace("<think>\n{% endif %}{% endif %}", "{% endif %}{% endif %}"))
    flags = ["--alias", "small", "--ctx", "1536", "--chat-template-file", folder / "t.jinja", "--state-folder", folder]
    with Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def answers(server, hearth, models):
    """{shape: [answers]}."""
    got = {}

    def keep(shape, *found):
        got.setdefault(shape, []).extend(found)

    def both(path, body, whole, piece, text="text"):
        headers = script(TEXTS[text]) if text else {}
        keep(whole, server.json(path, body, headers=headers))
        frames = frames_of(server.post(path, body | {"stream": True}, headers=headers))
        keep(piece, *(f for f in frames if f != "[DONE]"))

    openai_answers(server, both, keep)
    anthropic_answers(server, both, keep)
    ollama_answers(server, both, keep)
    with Server(hearth, models("minilm")) as s:
        for encoding in ("float", "base64"):
            keep("embeddings", s.json("/v1/embeddings", {"input": ["a", "b"], "model": "", "encoding_format": encoding}))
    return got


def openai_answers(server, both, keep):
    chat = {"model": "small", "messages": ASK, "max_tokens": 30, "stream_options": {"include_usage": True}}
    for more in ({}, {"n": 2}, {"logprobs": True, "top_logprobs": 2}, {"max_tokens": 1}, {"response_format": FORM}, {"timings_per_token": True}):
        both("/v1/chat/completions", chat | more, "chat", "chunk", None if "response_format" in more else "text")
    for text in ("thought", "call"):
        both("/v1/chat/completions", chat | {"tools": [WEATHER]}, "chat", "chunk", text)
    for more in ({}, {"n": 2}, {"logprobs": 2}, {"echo": True, "logprobs": 1}, {"prompt": ["a", "b"]}):
        both("/v1/completions", {"model": "small", "prompt": "x", "max_tokens": 3} | more, "completion", "completion", None)
    items = [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]
    ask = {"model": "small", "input": items, "max_output_tokens": 60, "metadata": {"a": "b"}, "instructions": "Be kind."}
    for text, more in (("text", {}), ("thought", {}), ("thought", {"reasoning": {"summary": "auto", "effort": "low"}}), ("call", {"tools": [FLAT]}),
                       ("call", {"tools": [CUSTOM, FLAT], "tool_choice": "auto"}), ("text", {"max_output_tokens": 1}), ("text", {"background": True}),
                       ("text", {"include": ["message.output_text.logprobs"], "top_logprobs": 1}),
                       ("thought", {"include": ["reasoning.encrypted_content"], "store": False}),
                       (None, {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}})):
        both("/v1/responses", ask | more, "response", "event", text)
    one = server.json("/v1/responses", ask, headers=script(TEXTS["call"]))["id"]
    keep("response", server.json("/v1/responses/" + one))
    keep("input items", server.json(f"/v1/responses/{one}/input_items"))
    keep("input tokens", server.json("/v1/responses/input_tokens", ask))
    keep("deleted", json.loads(server.request("DELETE", "/v1/responses/" + one).body))
    keep("models", server.json("/v1/models"))
    keep("model", server.json("/v1/models/small"))
    long = [{"role": "user", "content": "word " * 2000}]
    for status, body in ((400, {"messages": 5}), (404, {"messages": ASK, "model": "none"}), (400, {"messages": long}), (400, {"messages": ASK, "audio": {"a": 1}})):
        keep("error", server.json("/v1/chat/completions", body, status=status))
    keep("error", server.json("/v1/nothing", status=404), server.json("/v1/responses/resp_x", status=404), server.json("/v1/embeddings", status=405))


def anthropic_answers(server, both, keep):
    ask = {"model": "small", "messages": ASK, "max_tokens": 60}
    for text, more in (("text", {}), ("text", {"max_tokens": 1}), ("call", {"tools": [ANTHROPIC]}), ("text", {"stop_sequences": ["words"]}),
                       ("thought", {"max_tokens": 1100, "thinking": {"type": "enabled", "budget_tokens": 1024}})):
        both("/v1/messages", ask | more, "message", "message event", text)
    headers = {"anthropic-version": "2023-06-01"}
    keep("message tokens", server.json("/v1/messages/count_tokens", ask))
    keep("anthropic models", *server.json("/v1/models", headers=headers)["data"], server.json("/v1/models/small", headers=headers))
    for status, body in ((400, {"messages": 5}), (404, ask | {"model": "none"}), (400, ask | {"messages": [{"role": "user", "content": "word " * 2000}]})):
        keep("anthropic error", server.json("/v1/messages", body, status=status))


def ollama_answers(server, both, keep):
    def ask(path, shape, body, text="text"):
        headers = script(TEXTS[text])
        keep(shape, server.json(path, body | {"stream": False}, headers=headers), *frames_of(server.post(path, body, headers=headers)))

    chat = {"model": "small", "messages": ASK, "options": {"num_predict": 40}}
    for text, more in (("text", {}), ("text", {"logprobs": True, "top_logprobs": 2}), ("call", {"tools": [WEATHER]})):
        ask("/api/chat", "ollama chat", chat | more, text)
    ask("/api/chat", "ollama chat", {"model": "small", "messages": []})
    for more in ({}, {"raw": True}, {"prompt": ""}, {"logprobs": True}):
        ask("/api/generate", "ollama generate", {"model": "small", "prompt": "x", "options": {"num_predict": 5}} | more)
    keep("ollama embed", server.json("/api/embed", {"model": "small", "input": "x"}))
    keep("ollama embeddings", server.json("/api/embeddings", {"model": "small", "prompt": "x"}))
    keep("ollama tags", server.json("/api/tags"))
    keep("ollama ps", server.json("/api/ps"))
    keep("ollama show", server.json("/api/show", {"model": "small"}))
    keep("ollama progress", *frames_of(server.post("/api/create", {"model": "made", "from": "small", "system": "x"})))


TYPES = {
    "chat": openai.types.chat.ChatCompletion, "chunk": openai.types.chat.ChatCompletionChunk, "completion": openai.types.Completion,
    "response": openai.types.responses.Response, "event": openai.types.responses.ResponseStreamEvent,
    "embeddings": openai.types.CreateEmbeddingResponse, "model": openai.types.Model, "message": anthropic.types.Message,
    "message event": anthropic.types.RawMessageStreamEvent, "message tokens": anthropic.types.MessageTokensCount,
    "anthropic models": anthropic.types.ModelInfo, "anthropic error": anthropic.types.ErrorResponse,
    "ollama chat": ollama_types.ChatResponse, "ollama generate": ollama_types.GenerateResponse, "ollama embed": ollama_types.EmbedResponse,
    "ollama embeddings": ollama_types.EmbeddingsResponse, "ollama tags": ollama_types.ListResponse, "ollama ps": ollama_types.ProcessResponse,
    "ollama show": ollama_types.ShowResponse, "ollama progress": ollama_types.ProgressResponse,
}


def as_described(shape, answer):
    """The answer without the nulls that OpenAI's server, and the examples of its description, have where its types know none:
    while a text goes on, while counts are to come, for what nobody gave, and of a prompt's first token."""
    a = json.loads(json.dumps(answer))
    for c in a["choices"] if shape in ("chunk", "completion") else []:
        c["finish_reason"] = c["finish_reason"] or "stop"
        if shape == "completion":
            c["logprobs"] = c["logprobs"] and {k: v[1:] if v[:1] == [None] else v for k, v in c["logprobs"].items()}
        elif c["logprobs"] is None:
            del c["logprobs"]
        elif c["logprobs"]["refusal"] is None:
            del c["logprobs"]["refusal"]
    for name in [k for k in ("usage", "user") if shape in ("chunk", "response") and a.get(k, 0) is None]:
        del a[name]
    if shape == "event" and "response" in a:
        a["response"] = as_described("response", a["response"])
    return a


@pytest.mark.parametrize("shape", TYPES)
def test_answers_are_what_the_clients_types_say(answers, shape):
    kind = pydantic.TypeAdapter(typing.cast(type, TYPES[shape]))
    assert answers[shape]
    for a in answers[shape]:
        if shape == "embeddings" and isinstance(a["data"][0]["embedding"], str):
            continue  # the package unpacks these before its types see them
        kind.validate_json(json.dumps(a if shape == "chunk" else as_described(shape, a)), strict=True)


# What OpenAI's description has no name for is left to the others.
DESCRIBED = {
    "chat": "CreateChatCompletionResponse", "chunk": "CreateChatCompletionStreamResponse", "completion": "CreateCompletionResponse",
    "response": "Response", "event": "ResponseStreamEvent", "embeddings": "CreateEmbeddingResponse", "model": "Model",
    "models": "ListModelsResponse", "error": "ErrorResponse", "input items": "ResponseItemList",
}


@pytest.mark.long
@pytest.mark.parametrize("shape", DESCRIBED)
def test_answers_are_what_openais_description_says(answers, shape):
    if not os.environ.get("HEARTH_OPENAPI"):
        pytest.skip("HEARTH_OPENAPI names no file")
    import jsonschema

    document = json.loads(pathlib.Path(os.environ["HEARTH_OPENAPI"]).read_text())
    named = document["components"]["schemas"]

    def check(name):
        return jsonschema.Draft202012Validator({"$ref": "#/components/schemas/" + name, "components": document["components"]})

    # Events are of many kinds: only the one that it says it is may tell what is wrong.
    kinds = [branch["$ref"].rsplit("/")[-1] for branch in named[DESCRIBED[shape]].get("anyOf", [])]
    kinds = {named[k]["properties"]["type"]["enum"][0]: k for k in kinds}
    for a in answers[shape]:
        if shape == "embeddings" and isinstance(a["data"][0]["embedding"], str):
            continue  # described as numbers alone
        errors = check(kinds.get(a.get("type"), DESCRIBED[shape])).iter_errors(as_described(shape, a))
        error = jsonschema.exceptions.best_match(errors)
        assert error is None, (error.json_path, error.message[:300], a)
