"""hearth serve as Anthropic's clients use it: the Python package `anthropic`, unmodified, against the default model."""
import asyncio
import json
import urllib.parse

import anthropic
import pytest

from server import Server

ASK = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par\\"is"}}\n</tool_call>'


@pytest.fixture(scope="module")
def server(hearth, models):
    with Server(hearth, models("default"), "--alias", "small", "--ctx", "2048", env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def client(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)


def script(text):
    """What the model is made to write, by the tests' header."""
    return {"X-Hearth-Script": urllib.parse.quote(text)}


def ask(client, text=None, **more):
    headers = script(text) if text is not None else {}
    return client.messages.create(**{"model": "small", "max_tokens": 64, "messages": ASK, "extra_headers": headers} | more)


def raw(server, **more):
    body = {"model": "small", "max_tokens": 64, "messages": ASK} | more
    return server.post("/v1/messages", body, headers=script("fine"))


def events(server, text, **more):
    """The stream's frames as (event, data)."""
    body = {"model": "small", "max_tokens": 64, "messages": ASK, "stream": True} | more
    reply = server.post("/v1/messages", body, headers=script(text))
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].startswith("text/event-stream")
    frames = []
    for frame in reply.body.decode().split("\n\n"):
        if frame and not frame.startswith(":"):
            event, data = frame.split("\n")
            frames.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(name == data["type"] for name, data in frames)
    return frames


def prompt_of(server, **body):
    """What a request's prompt is, by the number of its tokens: equal requests have equal numbers."""
    reply = server.post("/v1/messages/count_tokens", {"model": "small"} | body)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["input_tokens"]


# ---- replies


def test_a_message_has_the_official_shape(client):
    m = ask(client, "The capital is Paris.")
    assert (m.type, m.role, m.model, m.stop_reason, m.stop_sequence) == ("message", "assistant", "small", "end_turn", None)
    assert m.id.startswith("msg_") and [b.type for b in m.content] == ["text"]
    assert m.content[0].text == "The capital is Paris."
    assert m.usage.input_tokens + m.usage.cache_read_input_tokens > 20 and m.usage.output_tokens > 0


def test_what_is_generated_streamed_and_whole_is_the_same(client):
    # After the first, the whole prompt is cached for both.
    ask(client, max_tokens=1)
    whole = ask(client, max_tokens=12, extra_body={"temperature": 0})
    with client.messages.stream(model="small", max_tokens=12, messages=ASK, extra_body={"temperature": 0}) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == whole.content[0].text == final.content[0].text != ""
    assert (final.stop_reason, final.usage) == (whole.stop_reason, whole.usage)


def test_the_answer_goes_on_from_an_assistants_turn_at_the_end(server):
    closed = prompt_of(server, messages=ASK + [{"role": "assistant", "content": "The"}, {"role": "user", "content": "x"}])
    assert prompt_of(server, messages=ASK + [{"role": "assistant", "content": "The"}]) < closed


def test_stop_sequences_and_limits_name_the_reason(client):
    m = ask(client, "one two three four", stop_sequences=["three", "nine"])
    assert (m.stop_reason, m.stop_sequence, m.content[0].text) == ("stop_sequence", "three", "one two ")
    m = ask(client, "one two three four", max_tokens=2)
    assert (m.stop_reason, m.usage.output_tokens) == ("max_tokens", 2)


def test_cached_tokens_are_counted_apart(client):
    long = [{"role": "user", "content": "word " * 200}]
    first = ask(client, messages=long, max_tokens=1).usage
    second = ask(client, messages=long, max_tokens=1).usage
    total = first.input_tokens + first.cache_read_input_tokens
    assert second.cache_read_input_tokens > 150
    assert second.input_tokens + second.cache_read_input_tokens == total


# ---- the stream


def test_the_stream_has_each_event_in_its_place(server):
    frames = events(server, "some words")
    names = [name for name, _ in frames if name != "ping"]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[2:-3]) == {"content_block_delta"}
    start = frames[0][1]["message"]
    assert start["content"] == [] and start["stop_reason"] is None
    assert start["usage"]["input_tokens"] + start["usage"]["cache_read_input_tokens"] > 20
    assert frames[-2][1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert frames[-2][1]["usage"]["output_tokens"] > 0


def test_an_empty_answer_is_a_block_without_words(server):
    frames = events(server, "")
    assert [n for n, _ in frames] == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]


def test_blocks_are_numbered_and_closed_one_after_the_other(server):
    open_block, last = None, -1
    for name, data in events(server, "<think>first</think>then " + CALL, tools=[TOOL], thinking={"type": "enabled", "budget_tokens": 32}):
        if name == "content_block_start":
            assert open_block is None and data["index"] == last + 1
            open_block = last = data["index"]
        elif name == "content_block_delta":
            assert data["index"] == open_block
        elif name == "content_block_stop":
            assert data["index"] == open_block
            open_block = None
    assert last == 2 and open_block is None


def test_thoughts_are_blocks_with_a_signature(client, server):
    m = ask(client, "<think>a thought</think>the answer", thinking={"type": "enabled", "budget_tokens": 32})
    assert [b.type for b in m.content] == ["thinking", "text"]
    assert m.content[0].thinking == "a thought" and m.content[0].signature and m.content[1].text == "the answer"
    frames = events(server, "<think>a thought</think>the answer", thinking={"type": "enabled", "budget_tokens": 32})
    deltas = [d["delta"] for n, d in frames if n == "content_block_delta"]
    assert "".join(d["thinking"] for d in deltas if d["type"] == "thinking_delta") == "a thought"
    assert [d["signature"] for d in deltas if d["type"] == "signature_delta"] == [m.content[0].signature]
    assert frames[-2][1]["usage"]["output_tokens_details"]["thinking_tokens"] > 0


def test_thoughts_can_be_left_out(client):
    thinking = {"type": "enabled", "budget_tokens": 32, "display": "omitted"}
    m = ask(client, "<think>a thought</think>the answer", thinking=thinking)
    assert [(b.type, getattr(b, "thinking", None)) for b in m.content] == [("thinking", ""), ("text", None)]


def test_async_streams_work_side_by_side(server):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as c:
            async def one(i):
                text = f"answer {i} " * 5
                async with c.messages.stream(model="small", max_tokens=64, messages=ASK, extra_headers=script(text)) as s:
                    return await s.get_final_text() == text
            return await asyncio.gather(*(one(i) for i in range(8)))

    assert all(asyncio.run(run()))


# ---- tools


def test_tools_are_called_and_their_input_is_an_object(client):
    m = ask(client, CALL, tools=[TOOL])
    assert m.stop_reason == "tool_use" and [b.type for b in m.content] == ["tool_use"]
    assert (m.content[0].name, m.content[0].input) == ("get_weather", {"city": 'Par"is'}) and m.content[0].id


def test_a_loop_with_a_tool_reaches_its_answer(client):
    messages = list(ASK)
    m = ask(client, "I look. " + CALL, tools=[TOOL], messages=messages)
    call = m.content[-1]
    messages += [{"role": "assistant", "content": m.content},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}]
    m = ask(client, "It is sunny.", tools=[TOOL], messages=messages)
    assert (m.stop_reason, m.content[0].text) == ("end_turn", "It is sunny.")


def test_tool_results_and_text_of_one_turn_are_all_in_the_prompt(server):
    def turn(*blocks):
        call = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}
        return prompt_of(server, messages=ASK + [{"role": "assistant", "content": [call]}, {"role": "user", "content": list(blocks)}])

    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny sunny sunny"}]}
    text = {"type": "text", "text": "and tomorrow and tomorrow and tomorrow?"}
    assert turn(result) < turn(result, text)
    assert turn(text) < turn(result, text)


def test_a_tool_can_be_demanded(client):
    m = ask(client, tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}, max_tokens=200)
    assert (m.stop_reason, [b.type for b in m.content]) == ("tool_use", ["tool_use"])
    assert m.content[0].name == "get_weather" and isinstance(m.content[0].input["city"], str)


def test_tools_can_be_forbidden(client, server):
    m = ask(client, "no", tools=[TOOL], tool_choice={"type": "none"})
    assert m.content[0].text == "no"
    assert prompt_of(server, messages=ASK, tools=[TOOL], tool_choice={"type": "none"}) == prompt_of(server, messages=ASK)


# ---- prompts


def test_system_is_a_text_or_blocks(server):
    a = prompt_of(server, messages=ASK, system="Be kind. Be brief.")
    b = prompt_of(server, messages=ASK, system=[{"type": "text", "text": "Be kind. ", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Be brief."}])
    assert a == b


def test_turns_of_one_role_are_one(server):
    two = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    both = [{"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]}]
    assert prompt_of(server, messages=two) == prompt_of(server, messages=both)


def test_counting_needs_no_max_tokens_and_counts_what_is_computed(client):
    n = client.messages.count_tokens(model="small", messages=ASK, system="Be kind.", tools=[TOOL]).input_tokens
    m = ask(client, "x", system="Be kind.", tools=[TOOL])
    assert m.usage.input_tokens + m.usage.cache_read_input_tokens == n


def test_the_list_of_models_has_the_clients_shape(client, server):
    page = client.models.list()
    assert [m.type for m in page.data] == ["model"] and page.data[0].created_at.year > 2000
    assert client.models.retrieve(page.data[0].id).id == page.data[0].id
    assert server.json("/v1/models")["object"] == "list"  # for everybody else it is OpenAI's


# ---- refusals

BAD = {
    "max_tokens": {"max_tokens": None},
    "messages": {"messages": "hello"},
    "messages[0]": {"messages": [1]},
    "messages[0].role": {"messages": [{"role": "king", "content": "x"}]},
    "messages[0].content": {"messages": [{"role": "user", "content": 7}]},
    "messages[0].content[1].type": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {}]}]},
    "messages[0].content[0].text": {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
    "messages[0].content[0]": {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]},
    "messages[0].content[0].tool_use_id": {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
    "messages[0].content[0].input": {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": "c"}]}]},
    "system": {"system": {"a": 1}},
    "stream": {"stream": "yes"},
    "temperature": {"temperature": "hot"},
    "tools[0].input_schema": {"tools": [{"name": "a"}]},
    "tool_choice": {"tool_choice": {"type": "perhaps"}},
    "thinking.budget_tokens": {"thinking": {"type": "enabled"}},
    "output_config.format": {"output_config": {"format": {"type": "xml"}}},
    "mcp_servers": {"mcp_servers": [{"url": "http://x"}]},
}


@pytest.mark.parametrize("path", BAD)
def test_a_wrong_field_is_named_in_the_dialects_own_shape(server, path):
    reply = raw(server, **BAD[path])
    body = json.loads(reply.body)
    assert reply.status == 400 and body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert f"'{path}'" in body["error"]["message"]
    assert reply.headers["request-id"] and reply.headers["x-should-retry"] == "false"


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client):
    with pytest.raises(anthropic.NotFoundError) as e:
        ask(client, model="claude-unknown")
    assert e.value.body["error"]["type"] == "not_found_error" and "small" in str(e.value)


def test_a_schema_is_kept(client):
    schema = {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"], "additionalProperties": False}
    m = ask(client, max_tokens=200, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(m.content[0].text) == {"n": 7}
