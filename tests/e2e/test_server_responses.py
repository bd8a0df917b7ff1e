"""OpenAI's Responses: the Python package `openai`, unmodified, against the default model."""
import asyncio
import json
import re
import time
import urllib.parse

import openai
import pydantic
import pytest

from server import Server, stats

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CUSTOM = {"type": "custom", "name": "patch", "description": "Takes a patch.",
          "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "a"+'}}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
PATCH = '<tool_call>\n{"name": "patch", "arguments": {"input": "line \\"1\\"\\nline 2"}}\n</tool_call>'
THOUGHT = "<think>a thought</think>the answer"


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


def start(hearth, models, state, *flags, **popen):
    flags = ["--alias", "small", "--ctx", "2048", "--state-folder", state, *flags]
    return Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}, **popen)


@pytest.fixture(scope="module")
def server(hearth, models, state):
    with start(hearth, models, state) as s:
        yield s


def client_of(s, key="none"):
    return openai.OpenAI(base_url=s.url + "/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def client(server):
    return client_of(server)


def script(text):
    return {"X-Hearth-Script": urllib.parse.quote(text)}


def ask(client, text=None, **more):
    headers = script(text) if text is not None else {}
    return client.responses.create(**{"model": "small", "input": "Hello", "extra_headers": headers} | more)


def raw(server, **body):
    return server.post("/v1/responses", {"model": "small", "input": "Hello"} | body, headers=script("fine"))


def count(server, **body):
    """Tokens of the prompt that a request makes."""
    return server.json("/v1/responses/input_tokens", {"model": "small"} | body)["input_tokens"]


# ---- replies


def test_a_response_has_the_official_shape(client):
    r = ask(client, "some words", metadata={"a": "b"}, instructions="Be kind.", max_output_tokens=50, user="me")
    assert (r.object, r.status, r.model, r.output_text) == ("response", "completed", "small", "some words")
    assert r.id.startswith("resp_") and r.output[0].id.startswith("msg_") and r.output[0].content[0].annotations == []
    assert (r.metadata, r.instructions, r.max_output_tokens, r.user) == ({"a": "b"}, "Be kind.", 50, "me")
    assert (r.tools, r.tool_choice, r.parallel_tool_calls, r.truncation, r.error) == ([], "auto", True, "disabled", None)
    assert r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens and r.usage.output_tokens > 0


def test_an_answer_that_is_cut_is_incomplete(client):
    r = ask(client, "one two three four five", max_output_tokens=2)
    assert (r.status, r.incomplete_details.reason, r.output[0].status) == ("incomplete", "max_output_tokens", "incomplete")


def test_generated_text_is_the_same_streamed_and_whole(client):
    ask(client, max_output_tokens=1)
    one = ask(client, max_output_tokens=12, temperature=0).output_text
    with client.responses.stream(model="small", input="Hello", max_output_tokens=12, temperature=0) as stream:
        pieces = [e.delta for e in stream if e.type == "response.output_text.delta"]
    assert "".join(pieces) == one != ""


def test_logprobs_come_with_their_text(client):
    r = ask(client, include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=6, temperature=0)
    logprobs = r.output[0].content[0].logprobs
    assert "".join(p.token for p in logprobs) == r.output_text
    assert all(p.logprob <= 0 and len(p.top_logprobs) == 2 and p.top_logprobs[0].token == p.token for p in logprobs)


def test_a_schema_is_kept_and_parsed(client):
    class Answer(pydantic.BaseModel):
        yes: bool

    r = client.responses.parse(model="small", input="Is water wet?", text_format=Answer, max_output_tokens=200)
    assert isinstance(r.output_parsed, Answer)


def test_async_responses_work_side_by_side(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as c:
            async def one(i):
                text = f"answer {i} " * 5
                r = await c.responses.create(model="small", input="x", extra_headers=script(text))
                return r.output_text == text
            return await asyncio.gather(*(one(i) for i in range(8)))

    assert all(asyncio.run(run()))


# ---- tools


def test_functions_are_called(client):
    r = ask(client, CALL, tools=[TOOL])
    call = r.output[0]
    assert (call.type, call.name, json.loads(call.arguments), call.status) == ("function_call", "get_weather", {"city": "Paris"}, "completed")
    items = [{"role": "user", "content": "w?"}, call.model_dump(exclude_none=True),
             {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert ask(client, "It is sunny.", input=items, tools=[TOOL]).output_text == "It is sunny."


def test_custom_tools_take_text(client):
    r = ask(client, PATCH, tools=[TOOL, CUSTOM])
    call = r.output[0]
    assert (call.type, call.name, call.input) == ("custom_tool_call", "patch", 'line "1"\nline 2')
    events = list(ask(client, PATCH, tools=[CUSTOM], stream=True))
    assert "".join(e.delta for e in events if e.type == "response.custom_tool_call_input.delta") == call.input
    items = [{"role": "user", "content": "x"}, call.model_dump(exclude_none=True),
             {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"}]
    assert ask(client, "good", input=items, tools=[CUSTOM]).output_text == "good"


def test_a_call_that_must_come_keeps_to_the_custom_tools_pattern(client):
    tool = {"type": "custom", "name": "number", "description": "d", "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]{3}x\\\\"}}
    r = ask(client, tools=[TOOL, tool], tool_choice={"type": "custom", "name": "number"}, max_output_tokens=200, parallel_tool_calls=False)
    assert [i.type for i in r.output] == ["custom_tool_call"] and re.fullmatch(r"[0-9]{3}x\\", r.output[0].input)


def test_a_call_that_must_come_keeps_to_the_custom_tools_grammar(client):
    definition = 'start: "say" " " WORD ("\\n" quoted)+ "!"\nquoted: "\\"" /[a-c\\\\]{2,3}/ "\\""\nWORD: /[a-zé]{2,5}/'
    tool = {"type": "custom", "name": "say", "description": "d", "format": {"type": "grammar", "syntax": "lark", "definition": definition}}
    r = ask(client, tools=[TOOL, tool], tool_choice={"type": "custom", "name": "say"}, max_output_tokens=400, parallel_tool_calls=False,
            extra_body={"temperature": 1.5, "seed": 4})
    assert [i.type for i in r.output] == ["custom_tool_call"], r.output
    assert re.fullmatch(r'say [a-zé]{2,5}(\n"[a-c\\]{2,3}")+!', r.output[0].input), r.output[0].input


# ---- reasoning


def test_reasoning_is_an_item_of_its_own(client):
    r = ask(client, THOUGHT)
    assert [i.type for i in r.output] == ["reasoning", "message"]
    assert r.output[0].content[0].text == "a thought" and r.output[0].summary == [] and r.output_text == "the answer"
    assert r.usage.output_tokens_details.reasoning_tokens > 0
    types = [e.type for e in ask(client, THOUGHT, stream=True)]
    assert types.count("response.reasoning_text.done") == 1 and "response.reasoning_text.delta" in types


def test_reasoning_is_told_as_its_summary_where_one_is_wanted(client):
    r = ask(client, THOUGHT, reasoning={"summary": "auto", "effort": "low"})
    assert r.output[0].summary[0].text == "a thought" and not r.output[0].content
    types = [e.type for e in ask(client, THOUGHT, reasoning={"summary": "auto"}, stream=True)]
    part = [t for t in types if "reasoning" in t]
    assert part[0] == "response.reasoning_summary_part.added" and part[-1] == "response.reasoning_summary_part.done"


def test_sealed_reasoning_comes_back_and_cannot_be_changed(client, server):
    r = ask(client, THOUGHT, store=False, include=["reasoning.encrypted_content"], reasoning={"summary": "auto"})
    sealed = r.output[0].encrypted_content
    assert sealed and "thought" not in sealed
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    rest = [{"role": "user", "content": "x"}]
    reply = raw(server, input=[item | {"encrypted_content": sealed}, *rest])
    assert reply.status == 200 and "X-Hearth-Ignored" not in reply.headers
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1:]
    reply = raw(server, input=[item | {"encrypted_content": changed}, *rest])
    assert reply.status == 200 and "encrypted_content" in reply.headers["X-Hearth-Ignored"]


# ---- stored responses


def test_a_stored_response_is_found_listed_and_deleted(client):
    r = ask(client, "some words", input=[{"role": "user", "content": "One."}, {"role": "user", "content": [{"type": "input_text", "text": "Two."}]}])
    assert client.responses.retrieve(r.id) == r
    page = client.responses.input_items.list(r.id, order="asc")
    assert [i.content[0].text for i in page.data] == ["One.", "Two."]
    first = client.responses.input_items.list(r.id, order="desc", limit=1)
    assert first.data[0].content[0].text == "Two." and first.has_more
    after = client.responses.input_items.list(r.id, order="desc", after=first.data[0].id)
    assert [i.content[0].text for i in after.data] == ["One."]
    client.responses.delete(r.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(r.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(r.id)


def test_what_is_not_to_be_stored_is_not(client):
    r = ask(client, "some words", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(r.id)


def test_a_response_goes_on_from_another(client, server):
    first = ask(client, "My name is Ada.", input="Who are you?")
    second = ask(client, "Yes.", input="Really?", previous_response_id=first.id)
    whole = count(server, input=[{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "My name is Ada."},
                                 {"role": "user", "content": "Really?"}])
    assert second.usage.input_tokens == whole
    third = ask(client, "No.", input="Sure?", previous_response_id=second.id)
    assert third.usage.input_tokens > whole
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, previous_response_id="resp_nothing")
    assert (e.value.code, e.value.param) == ("previous_response_not_found", "previous_response_id")


def test_items_that_are_only_named_stand_for_themselves(client, server):
    first = ask(client, "I look." + CALL, input=[{"role": "user", "content": "Weather?"}], tools=[TOOL])
    said, called = first.output
    given = client.responses.input_items.list(first.id).data[0]
    result = {"type": "function_call_output", "call_id": called.call_id, "output": "sunny"}
    named = [{"type": "item_reference", "id": i.id} for i in (given, said, called)] + [result]
    whole = [{"role": "user", "content": "Weather?"}, said.model_dump(exclude_none=True), called.model_dump(exclude_none=True), result]
    assert count(server, input=named) == count(server, input=whole)
    del named[0]["type"]  # as the specification allows
    second = ask(client, "Sunny.", input=named, tools=[TOOL])
    stored = client.responses.input_items.list(second.id, order="asc").data
    assert [i.type for i in stored] == ["message", "message", "function_call", "function_call_output"]


@pytest.mark.parametrize("change", [lambda i: i[:-1] + "7", lambda i: i.replace("_0", "_"), lambda i: "msg_x", lambda i: "msg_" + "x" * 99 + "_0", lambda i: ""])
def test_items_that_are_not_there_are_named(client, change):
    said = ask(client, "words").output[0]
    with pytest.raises(openai.NotFoundError) as e:
        ask(client, input=[{"type": "item_reference", "id": change(said.id)}])
    assert e.value.param == "input[0]" and "not found" in e.value.message


def test_stored_responses_outlive_the_server(hearth, models, tmp_path):
    with start(hearth, models, tmp_path) as s:
        r = ask(client_of(s), "some words")
        sealed = ask(client_of(s), THOUGHT, include=["reasoning.encrypted_content"]).output[0].encrypted_content
    with start(hearth, models, tmp_path) as s:
        assert client_of(s).responses.retrieve(r.id).output_text == "some words"
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
        assert "X-Hearth-Ignored" not in raw(s, input=[item, {"role": "user", "content": "x"}]).headers


def test_nobody_reads_anothers_response(hearth, models, tmp_path):
    with start(hearth, models, tmp_path, "--api-key", "alice,bob") as s:
        alice, bob = client_of(s, "alice"), client_of(s, "bob")
        r = ask(alice, "a secret")
        assert alice.responses.retrieve(r.id).id == r.id
        for act in (bob.responses.retrieve, bob.responses.delete, bob.responses.cancel, bob.responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                act(r.id)
        with pytest.raises(openai.BadRequestError):
            ask(bob, previous_response_id=r.id)
        with pytest.raises(openai.NotFoundError):
            ask(bob, input=[{"type": "item_reference", "id": r.output[0].id}])
        assert alice.responses.retrieve(r.id).id == r.id


def damage(folder):
    (folder / "responses.db").write_bytes(b"this was a database. " * 500)


def block(folder):
    (folder / "responses.db").mkdir()


@pytest.mark.parametrize("how", [damage, block])
def test_a_store_that_cannot_be_used_costs_what_it_keeps_and_no_more(hearth, models, tmp_path, how):
    how(tmp_path)
    with start(hearth, models, tmp_path) as s:
        r = ask(client_of(s), "some words")
        assert (r.output_text, r.store) == ("some words", False)
        for path in ("/v1/responses/resp_1", "/v1/responses/resp_1/input_items"):
            assert s.json(path, status=500)["error"]["type"] == "server_error"
        assert s.request("DELETE", "/v1/responses/resp_1").status == 500
        assert raw(s, previous_response_id="resp_1").status == 500
        assert raw(s).status == 200


def test_a_disk_that_is_full_costs_what_is_kept_and_no_more(hearth, models, tmp_path):
    import resource

    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # noqa: E731: no file may be larger
    with start(hearth, models, tmp_path, preexec_fn=limit) as s:
        first = ask(client_of(s), "some words")
        assert first.store and client_of(s).responses.retrieve(first.id) == first
        long = [{"role": "system", "content": [{"type": "input_text", "text": ""}] * 5000}, {"role": "user", "content": "x"}]
        second = ask(client_of(s), "more words", input=long)
        assert (second.output_text, second.store) == ("more words", False)
        assert client_of(s).responses.retrieve(first.id) == first
        assert ask(client_of(s), "again").store


# ---- in the background


def wait_for(client, id, statuses, seconds=60):
    until = time.monotonic() + seconds
    while (r := client.responses.retrieve(id)).status not in statuses:
        assert time.monotonic() < until, r.status
        time.sleep(0.05)
    return r


def test_a_background_response_ends_without_a_client(client):
    r = ask(client, "some words", background=True)
    assert r.status in ("queued", "in_progress") and r.background
    assert wait_for(client, r.id, {"completed"}).output_text == "some words"


def test_a_background_response_can_be_cancelled(client, server):
    r = ask(client, "word " * 1500, background=True)
    assert client.responses.cancel(r.id).status == "cancelled"
    assert wait_for(client, r.id, {"cancelled"}).status == "cancelled"
    until = time.monotonic() + 30
    while stats(server) != (0, 0):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_only_background_responses_outlive_their_client(client, server):
    stream = ask(client, "word " * 1500, stream=True)
    next(iter(stream))
    stream.close()
    until = time.monotonic() + 30
    while stats(server) != (0, 0):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_stream_is_taken_up_where_it_was_left(client):
    stream = ask(client, "one two three four five six seven eight nine ten", background=True, stream=True)
    seen = []
    for e in stream:
        seen.append(e)
        if len(seen) == 8:
            break
    stream.close()
    id = seen[0].response.id
    rest = list(client.responses.retrieve(id, stream=True, starting_after=seen[-1].sequence_number))
    numbers = [e.sequence_number for e in seen + rest]
    assert numbers == list(range(len(numbers))) and rest[-1].type == "response.completed"
    text = "".join(e.delta for e in seen + rest if e.type == "response.output_text.delta")
    assert text == rest[-1].response.output_text == "one two three four five six seven eight nine ten"
    assert [e.sequence_number for e in client.responses.retrieve(id, stream=True)] == numbers


def test_background_needs_the_store(client):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, background=True, store=False)
    assert e.value.param == "background"


# ---- refusals

BAD = {
    "input": {"input": 7},
    "input[0]": {"input": ["x"]},
    "input[0].role": {"input": [{"role": "king", "content": "x"}]},
    "input[0].content": {"input": [{"role": "user"}]},
    "input[0].content[0]": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}]},
    "input[1].call_id": {"input": [{"role": "user", "content": "x"}, {"type": "function_call_output", "output": "x"}]},
    "input[0].arguments": {"input": [{"type": "function_call", "call_id": "c", "name": "n", "arguments": {}}]},
    "instructions": {"instructions": ["x"]},
    "temperature": {"temperature": "hot"},
    "max_output_tokens": {"max_output_tokens": -1},
    "tools[0].name": {"tools": [{"type": "function"}]},
    "tools[0].parameters": {"tools": [{"type": "function", "name": "f", "parameters": 3}]},
    "tools[0].format.definition": {"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "regex", "definition": "("}}]},
    "tool_choice": {"tool_choice": {"type": "file_search"}},
    "text.format": {"text": {"format": {"type": "xml"}}},
    "reasoning.effort": {"reasoning": {"effort": "huge"}},
    "truncation": {"truncation": "some"},
    "metadata": {"metadata": {"a": 1}},
    "conversation": {"conversation": "conv_1"},
    "prompt": {"prompt": {"id": "p"}},
}


@pytest.mark.parametrize("path", BAD)
def test_a_wrong_field_is_named(server, path):
    reply = raw(server, **BAD[path])
    body = json.loads(reply.body)["error"]
    assert reply.status == 400 and body["type"] == "invalid_request_error" and body["param"] == path
    assert f"'{path}'" in body["message"]
