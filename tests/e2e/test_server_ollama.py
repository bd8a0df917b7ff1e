"""hearth serve as Ollama's clients use it: the Python package `ollama`, unmodified, and the raw protocol where the
package hides it."""
import asyncio
import hashlib
import json
import pathlib
import re
import subprocess
import time
import urllib.parse

import ollama
import pytest

from server import Server

ASK = [{"role": "user", "content": "Say hi"}]
BRIEF = {"num_predict": 8, "temperature": 0}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TOOL_TEMPLATE = (
    "{%- if tools %}<tools>{{ tools | tojson }}</tools>\n{% endif -%}"
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content %}{{ m.content }}{% endif %}"
    "{%- for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(hearth, models, state):
    flags = ["--ctx", "2048", "--state-folder", state]
    with Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(server.url)


@pytest.fixture(scope="module")
def model(client):
    return client.list().models[0].model


@pytest.fixture(scope="module")
def reasoner(client, model):
    """The model with a template that knows tools and thinking."""
    client.create("reasoner", from_=model, template=TOOL_TEMPLATE)
    return "reasoner"


def lines(reply):
    """The objects of a stream, one in each line: clients parse every line."""
    assert reply.status == 200, reply.body
    assert reply.getheader("Content-Type") == "application/x-ndjson"
    return [json.loads(line) for line in reply.body.decode().removesuffix("\n").split("\n")]


def loaded(client, model):
    return [m for m in client.ps().models if m.model == model]


def refused(call):
    with pytest.raises(ollama.ResponseError) as e:
        call()
    return e.value.status_code, e.value.error


# ---- what there is


def test_the_root_says_that_ollama_is_running(server):
    reply = server.get("/")
    assert (reply.status, reply.body) == (200, b"Ollama is running")
    assert server.request("HEAD", "/").status == 200
    assert server.request("HEAD", "/api/tags").status == 200


def test_tags_list_models_with_tags_and_details(client, model):
    first = client.list().models[0]
    assert ":" in first.model and first.size > 1e7 and re.fullmatch(r"[0-9a-f]{64}", first.digest)
    assert first.details.format == "gguf" and first.details.parameter_size == "134.52M"
    assert first.modified_at.year >= 2024


def test_show_lists_long_arrays_and_tensors_only_when_asked(server, model):
    brief, verbose = (server.json("/api/show", {"model": model, "verbose": v}) for v in (False, True))
    assert brief["model_info"]["tokenizer.ggml.tokens"] is None and "tensors" not in brief
    assert len(verbose["model_info"]["tokenizer.ggml.tokens"]) == 49152
    assert {"name": "output_norm.weight", "type": "f32", "shape": [576]} in verbose["tensors"]


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda n: n.split(":")[0], lambda n: n.replace(":", "-")])
def test_names_are_found_in_any_case_and_without_tag(client, model, change):
    assert client.show(change(model)).modelinfo["llama.context_length"] == 8192


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client, model):
    for call in (client.chat, client.show, client.generate, client.embed, client.delete):
        status, error = refused(lambda: call("gpt-17", **({"messages": ASK} if call == client.chat else {})))
        assert status == 404 and "not found" in error and model in error


# ---- chat


def test_a_chat_in_one_piece_counts_and_times(client, model):
    r = client.chat(model, ASK, options=BRIEF)
    assert r.message.role == "assistant" and r.message.content and r.done and r.done_reason == "length"
    assert r.eval_count == 8 and r.prompt_eval_count > 20
    assert 0 < r.prompt_eval_duration <= r.total_duration and 0 < r.eval_duration <= r.total_duration


def test_a_stream_adds_up_to_the_reply_in_one_piece(client, model):
    whole = client.chat(model, ASK, options=BRIEF)
    pieces = list(client.chat(model, ASK, options=BRIEF, stream=True))
    assert "".join(p.message.content for p in pieces) == whole.message.content
    assert [p.done for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert len(pieces) > 4 and pieces[-1].done_reason == "length" and pieces[-1].eval_count == 8


def test_streaming_is_what_happens_when_nobody_says_otherwise(server, model):
    got = lines(server.post("/api/chat", {"model": model, "messages": ASK, "options": BRIEF}))
    assert all(set(p) >= {"model", "created_at", "message", "done"} for p in got)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", p["created_at"]) for p in got)
    assert got[-1]["total_duration"] > 1e6  # nanoseconds


def test_the_asynchronous_client_streams(server, model):
    async def run():
        c = ollama.AsyncClient(server.url)
        return [p.message.content async for p in await c.chat(model, ASK, options=BRIEF, stream=True)]

    assert len("".join(asyncio.run(run()))) > 0


def test_many_at_once_get_their_own_answers(server, model):
    async def run():
        c = ollama.AsyncClient(server.url)
        ask = lambda i: c.chat(model, [{"role": "user", "content": f"Count to {i}"}], options=BRIEF)  # noqa: E731
        alone = [(await ask(i)).message.content for i in range(6)]
        together = await asyncio.gather(*map(ask, range(6)))
        assert [r.message.content for r in together] == alone

    asyncio.run(run())


def scripted(server, path, text, body):
    return server.post(path, body, headers={"X-Hearth-Script": urllib.parse.quote(text)})


CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def test_tool_calls_have_objects_for_arguments(server, reasoner):
    body = {"model": reasoner, "messages": ASK, "tools": [WEATHER], "stream": False}
    message = json.loads(scripted(server, "/api/chat", CALL, body).body)["message"]
    assert message["content"] == ""
    (call,) = message["tool_calls"]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}} and call["id"]


def test_thinking_is_apart_from_the_content(server, client, reasoner):
    body = {"model": reasoner, "messages": ASK, "think": True}
    got = lines(scripted(server, "/api/chat", "<think>hm, a greeting</think>Hello!", body))
    assert "".join(p["message"].get("thinking", "") for p in got) == "hm, a greeting"
    assert "".join(p["message"]["content"] for p in got) == "Hello!"
    whole = json.loads(scripted(server, "/api/chat", "<think>hm</think>Hello!", body | {"stream": False}).body)
    assert whole["message"] == {"role": "assistant", "content": "Hello!", "thinking": "hm"}


def test_logprobs_are_told_with_their_alternatives(server, model):
    body = {"model": model, "messages": ASK, "options": BRIEF, "logprobs": True, "top_logprobs": 3}
    whole = server.json("/api/chat", body | {"stream": False})
    assert len(whole["logprobs"]) == 8
    assert "".join(t["token"] for t in whole["logprobs"]) == whole["message"]["content"]
    for t in whole["logprobs"]:
        assert len(t["top_logprobs"]) == 3 and t["logprob"] == t["top_logprobs"][0]["logprob"] <= 0
        assert bytes(t["bytes"]).decode() == t["token"]
    streamed = [t for p in lines(server.post("/api/chat", body)) for t in p.get("logprobs", [])]
    assert streamed == whole["logprobs"]


# ---- generate


def test_generate_goes_through_the_template_unless_raw(server, client, model):
    body = {"model": model, "prompt": "Say hi", "system": "Be brief.", "_debug_render_only": True}
    prompt = server.json("/api/generate", body)["_debug_info"]["rendered_template"]
    assert "Be brief." in prompt and prompt.endswith("<|im_start|>assistant\n")
    raw = server.json("/api/generate", {"model": model, "prompt": "Say hi", "raw": True, "_debug_render_only": True})
    assert raw["_debug_info"]["rendered_template"] == "Say hi"
    assert client.generate(model, "The sky is", raw=True, options=BRIEF).prompt_eval_count == 3


def test_generate_and_chat_of_one_turn_are_the_same(client, model):
    assert client.generate(model, "Say hi", options=BRIEF).response == client.chat(model, ASK, options=BRIEF).message.content


def test_the_context_goes_on_with_the_conversation(server, client, model):
    first = client.generate(model, "My name is Ada.", options=BRIEF)
    assert len(first.context) == first.prompt_eval_count + first.eval_count
    text = server.json("/detokenize", {"tokens": first.context})["content"]
    assert text.endswith("assistant\n" + first.response) and "Ada" in text
    second = client.generate(model, "What is my name?", context=first.context, options=BRIEF)
    assert second.context[: len(first.context)] == first.context
    assert second.prompt_eval_count > first.prompt_eval_count + first.eval_count
    streamed = list(client.generate(model, "My name is Ada.", options=BRIEF, stream=True))
    assert list(streamed[-1].context) == list(first.context) and streamed[0].context is None


def test_raw_and_system_exclude_each_other(client, model):
    status, error = refused(lambda: client.generate(model, "x", raw=True, system="y"))
    assert status == 400 and "raw mode" in error


def test_pictures_are_refused_by_a_model_of_text(client, model):
    message = {"role": "user", "content": "what is this?", "images": ["aGVsbG8="]}
    assert refused(lambda: client.chat(model, [message]))[0] == 400
    assert refused(lambda: client.generate(model, "what is this?", images=["aGVsbG8="]))[0] == 400


# ---- options


def test_options_are_obeyed(client, model):
    assert client.chat(model, ASK, options=BRIEF | {"num_predict": 3}).eval_count == 3
    long = client.generate(model, "1 2 3 4", raw=True, options={"num_predict": 12, "temperature": 0})
    stop = long.response[4:6]
    cut = client.generate(model, "1 2 3 4", raw=True, options={"num_predict": 12, "temperature": 0, "stop": [stop]})
    assert cut.response == long.response[: long.response.index(stop)] and cut.done_reason == "stop"
    hot = {"temperature": 2.0, "num_predict": 12, "top_k": 0, "top_p": 1.0}
    one, same, other = (client.generate(model, "a", raw=True, options=hot | {"seed": s}).response for s in (1, 1, 2))
    assert one == same != other


def test_options_that_have_no_effect_are_named(server, model):
    body = {"model": model, "messages": ASK, "options": BRIEF | {"num_gpu": 1, "numa": True}, "stream": False}
    reply = server.post("/api/chat", body)
    assert reply.status == 200 and "num_gpu" in reply.getheader("X-Hearth-Ignored")


@pytest.mark.parametrize(
    "field,value",
    [("temperature", "hot"), ("temperature", -1), ("top_k", 1.5), ("num_predict", "many"), ("stop", 5), ("num_ctx", -7)],
)
def test_a_wrong_option_is_a_400_that_names_it(client, model, field, value):
    status, error = refused(lambda: client.chat(model, ASK, options={field: value}))
    assert status == 400 and f"options.{field}" in error


@pytest.mark.parametrize("body,what", [
    ({"messages": 5}, "messages"), ({"messages": [{"role": "x", "content": ""}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"), ({"tools": {}}, "tools"),
    ({"format": 5}, "format"), ({"format": "xml"}, "format"), ({"think": 5}, "think"), ({"keep_alive": "soon"}, "keep_alive"),
    ({"stream": "yes"}, "stream"), ({"options": []}, "options"), ({"top_logprobs": 21}, "top_logprobs"),
])
def test_a_wrong_field_is_a_400_that_names_it(server, model, body, what):
    reply = server.post("/api/chat", {"model": model, "messages": ASK} | body)
    assert reply.status == 400 and what in json.loads(reply.body)["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"model": 5}', b'\xff\xfe', b'{"a": NaN', b"[" * 500])
def test_a_body_that_is_no_request_is_a_400(server, body):
    reply = server.post("/api/chat", body)
    assert reply.status == 400 and set(json.loads(reply.body)) == {"error"}


# ---- embeddings


def test_embeddings_of_one_and_of_many_are_the_same(client, model):
    one = client.embed(model, "hello")
    many = client.embed(model, ["hello", "world"])
    assert one.embeddings[0] == pytest.approx(many.embeddings[0], abs=1e-4) and len(many.embeddings) == 2
    assert sum(x * x for x in one.embeddings[0]) == pytest.approx(1, abs=1e-4) and one.prompt_eval_count == 1


def test_dimensions_are_cut_and_normalized_again(client, model):
    whole, cut = client.embed(model, "hello").embeddings[0], client.embed(model, "hello", dimensions=8).embeddings[0]
    assert len(cut) == 8 and sum(x * x for x in cut) == pytest.approx(1, abs=1e-4)
    assert cut[0] / cut[1] == pytest.approx(whole[0] / whole[1], rel=1e-3)


def test_the_older_embeddings_and_nothing_to_embed(client, server, model):
    assert len(client.embeddings(model, "hello").embedding) == 576
    assert server.json("/api/embed", {"model": model, "input": []})["embeddings"] == []


def test_embedded_texts_that_are_too_long_lose_their_end_unless_that_is_forbidden(hearth, models):
    with Server(hearth, models("minilm")) as s:
        model = s.json("/api/tags")["models"][0]["name"]
        n_ctx = s.json("/v1/models")["data"][0]["context_length"]

        def embed(words, **more):
            return s.json("/api/embed", {"model": model, "input": "cat " * words} | more)

        whole = embed(n_ctx - 2)  # with the two tokens around each text
        assert whole["prompt_eval_count"] == n_ctx
        for more in ({}, {"truncate": True}):
            cut = embed(n_ctx + 50, **more)
            assert cut["prompt_eval_count"] == n_ctx
            assert cut["embeddings"][0] == pytest.approx(whole["embeddings"][0], abs=1e-6)
        reply = s.post("/api/embed", {"model": model, "input": "cat " * 2 * n_ctx, "truncate": False})
        assert reply.status == 400 and str(n_ctx) in json.loads(reply.body)["error"]


# ---- loading


def test_a_model_is_loaded_and_unloaded_by_empty_requests(client, model):
    assert client.generate(model, "").done_reason == "load"
    assert len(loaded(client, model)) == 1
    assert client.generate(model, "", keep_alive=0).done_reason == "unload"
    for _ in range(1000):
        if not loaded(client, model):
            break
        time.sleep(0.01)
    assert not loaded(client, model)
    assert client.chat(model, [], keep_alive="5m").done_reason == "load"
    assert loaded(client, model)[0].context_length == 2048


# ---- models that clients make


def test_a_created_model_has_its_own_settings(client, model):
    client.create("mario", from_=model, system="You are Mario.", parameters={"temperature": 0.0, "num_predict": 5, "stop": ["\n"]})
    shown = client.show("mario")
    assert shown.details.parent_model == model and "You are Mario." in shown.modelfile
    assert re.search(r"^num_predict +5$", shown.parameters, re.M) and re.search(r'^stop +"\\n"$', shown.parameters, re.M)
    r = client.chat("mario", ASK)
    assert r.eval_count == 5 and r.message.content == client.chat("mario", ASK).message.content
    assert client.chat("mario", ASK, options={"num_predict": 2}).eval_count == 2


def test_the_system_text_of_a_created_model_is_for_every_dialect(server, client, model):
    client.create("pirate", from_=model, system="Talk like a pirate.", messages=[{"role": "user", "content": "first"},
                                                                                 {"role": "assistant", "content": "second"}])
    render = lambda messages: server.json("/api/chat", {"model": "pirate", "messages": messages, "_debug_render_only": True})  # noqa: E731
    prompt = render(ASK)["_debug_info"]["rendered_template"]
    assert prompt.index("Talk like a pirate.") < prompt.index("first") < prompt.index("second") < prompt.index("Say hi")
    own = render([{"role": "system", "content": "Own."}, *ASK])["_debug_info"]["rendered_template"]
    assert "Own." in own and "pirate" not in own
    through = server.json("/apply-template", {"model": "pirate", "messages": ASK})["prompt"]
    assert through == prompt


def test_models_are_copied_and_deleted(client, model):
    client.create("one", from_=model, system="1")
    client.copy("one", "other/two:3")
    assert client.show("other/two:3").modelfile.count("SYSTEM") == 1
    client.delete("one")
    names = [m.model for m in client.list().models]
    assert "other/two:3" in names and "one:latest" not in names
    client.delete("OTHER/two:3")
    assert refused(lambda: client.show("other/two:3"))[0] == 404


def test_a_model_is_made_from_a_blob(server, client, models):
    path = pathlib.Path(models("default"))
    data = path.read_bytes()[: 1 << 20]  # no whole model: the header alone is looked at, and it says so
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    assert server.request("HEAD", f"/api/blobs/{digest}").status == 404
    assert server.post(f"/api/blobs/{digest}", data).status == 201
    assert server.post(f"/api/blobs/{digest}", data).status == 200
    assert server.request("HEAD", f"/api/blobs/{digest}").status == 200
    wrong = "sha256:" + "0" * 64
    assert server.post(f"/api/blobs/{wrong}", b"x").status == 400
    status, error = refused(lambda: client.create("cut", files={"m.gguf": digest}))
    assert status == 400 and "m" in error
    assert refused(lambda: client.create("none", files={"m.gguf": wrong}))[0] == 400


@pytest.mark.parametrize("path", ["/api/blobs/sha256:../../x", "/api/blobs/sha256-%2e%2e%2fx", "/api/blobs/md5:" + "0" * 64])
def test_nothing_but_a_digest_names_a_blob(server, path):
    assert server.post(path, b"x").status in (400, 404)


@pytest.mark.parametrize("body,what", [
    ({"model": "x"}, "from"), ({"model": "../x", "from": "m"}, "name"), ({"model": "x", "from": "none"}, "none"),
    ({"model": "x", "from": "/etc/passwd"}, "needs a key of scope admin"), ({"model": "x", "from": "m", "quantize": "q4_0"}, "quantize"),
    ({"model": "x", "from": "m", "template": "{{ .System }}"}, "Jinja"), ({"model": "x", "from": "m", "parameters": {"top_k": "x"}}, "top_k"),
])
def test_a_creation_that_cannot_be_is_refused(server, model, body, what):
    if body.get("from") == "m":
        body = body | {"from": model}
    reply = server.post("/api/create", body)
    assert 400 <= reply.status < 500 and what in json.loads(reply.body)["error"]


def test_a_path_on_the_servers_disk_needs_an_admins_key_and_nobody_else_learns_what_is_there(hearth, models, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush")
    made = subprocess.run([hearth, "serve", "--state-folder", tmp_path, "--new-key", "bob:use"], capture_output=True, text=True, check=True)
    with Server(hearth, "--state-folder", tmp_path, "--api-key", "boss", ready=False) as s:
        def create(path, key):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return s.post("/api/create", {"model": "x", "from": str(path), "stream": False}, headers=headers)

        assert create(secret, None).status == 401 and create(secret, made.stdout.strip()).status == 403
        assert create(secret, "boss").status == 400 and b"not a GGUF file" in create(secret, "boss").body
        assert create(models("default"), "boss").status == 200
    with Server(hearth, "--state-folder", tmp_path / "open", ready=False) as s:  # nobody needs a key: nor does it open the disk
        answers = {s.post("/api/create", {"model": "x", "from": str(p)}).body for p in (secret, tmp_path / "nothing", models("default"))}
        assert len(answers) == 1 and b"needs a key of scope admin" in answers.pop()


def test_created_models_are_there_after_a_restart(hearth, models, tmp_path):
    flags = ["--state-folder", tmp_path, "--ctx", "512"]
    with Server(hearth, models("default"), *flags) as s:
        base = ollama.Client(s.url).list().models[0].model
        ollama.Client(s.url).create("kept", from_=base, system="S")
    with Server(hearth, models("default"), *flags) as s:
        assert "SYSTEM" in ollama.Client(s.url).show("kept").modelfile


def test_pull_and_push_say_that_there_is_no_library(client):
    for call in (client.pull, client.push):
        status, error = refused(lambda: call("llama3"))
        assert status == 501 and "does not download or upload" in error


# ---- streams that wait or break
