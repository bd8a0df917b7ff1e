"""What clients stumble over with other servers, by the number that it has in the list of pitfalls: P1 to P30, each in every
dialect that can have it. The model is scripted where it matters what it writes (X-Hearth-Script)."""
import asyncio
import base64
import json
import re
import struct
import time
import urllib.parse

import anthropic
import numpy
import ollama
import openai
import pytest

from server import Server, at_work, leave, post, start_chat, until_idle

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": SCHEMA}}

# Hermes' calls, thoughts that the prompt opens, one system message and that first: what families of templates do.
TEMPLATE = """\
{%- if tools is defined and tools is not none %}<|im_start|>system
Tools: {% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'system' and not loop.first %}{{ raise_exception('System message must be at the beginning.') }}{% endif -%}
<|im_start|>{{ m.role }}
{{ m.content or '' }}
{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}
{%- for k, v in c.function.arguments | items %} {{ k }}={{ v }}{% endfor %}</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% else %}<think>
{% endif %}{% endif %}"""
HARMONY = """\
{%- for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content or '' }}<|end|>{% endfor -%}
{%- for t in tools or [] %}{{ t | tojson }}{% endfor -%}
{%- if add_generation_prompt %}<|start|>assistant{% endif %}{% set final = '<|channel|>final' %}"""


def call_text(city):
    return '<tool_call>\n{"name": "get_weather", "arguments": {"city": "%s"}}\n</tool_call>' % city


@pytest.fixture(scope="module")
def server(hearth, models, tmp_path_factory):
    """The default model, by its own template: no thoughts, no tools."""
    flags = ["--alias", "small", "--ctx", "2048", "--state-folder", tmp_path_factory.mktemp("state")]
    with Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def start(hearth, models, tmp_path_factory):
    """start(template, *flags): a server whose model has this template."""

    def run(template, *flags):
        folder = tmp_path_factory.mktemp("template")
        (folder / "t.jinja").write_text(template)
        flags = ["--alias", "small", "--ctx", "2048", "--chat-template-file", folder / "t.jinja", "--state-folder", folder, *flags]
        return Server(hearth, models("default"), *flags, env={"HEARTH_TEST_SCRIPTS": "1"})

    return run


@pytest.fixture(scope="module")
def thinker(start):
    with start(TEMPLATE) as s:
        yield s


@pytest.fixture(scope="module")
def embedder(hearth, models):
    with Server(hearth, models("minilm")) as s:
        yield s


@pytest.fixture(scope="module")
def coder(hearth, models, tmp_path_factory):
    """The default model with three of its control tokens renamed to those that fill in the middle."""
    path = tmp_path_factory.mktemp("coder") / "coder.gguf"
    data = models("default").read_bytes()
    for old, new in (b"<jupyter_text>", b"<|fim_prefix|>"), (b"<jupyter_code>", b"<|fim_suffix|>"), (b"<empty_output>", b"<|fim_middle|>"):
        assert data.count(old) == 1 and len(old) == len(new)
        data = data.replace(old, new)
    path.write_bytes(data)
    with Server(hearth, path, "--ctx", "512") as s:
        yield s
    path.unlink()


# ---- one way to ask in every dialect: what was said, thought and called


class Chat:
    path, more = CHAT, {}

    def body(self, **more):
        return {"model": "small", "messages": ASK, "max_tokens": 200} | self.more | more

    def tool(self):
        return WEATHER

    def read(self, answer):
        m = answer["choices"][0]["message"]
        calls = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in m.get("tool_calls", [])]
        return m["content"] or "", m.get("reasoning_content", ""), calls

    def collect(self, frames):
        text, thought, calls = "", "", {}
        for d in (f["choices"][0]["delta"] for f in frames if f != "[DONE]" and f["choices"]):
            text += d.get("content") or ""
            thought += d.get("reasoning_content") or ""
            for c in d.get("tool_calls", []):
                name, pieces = calls.setdefault(c["index"], [c["function"].get("name"), []])
                pieces.append(c["function"].get("arguments") or "")
        return text, thought, [(n, json.loads("".join(p))) for _, (n, p) in sorted(calls.items())]


class Responses(Chat):
    path = "/v1/responses"

    def body(self, **more):
        return {"model": "small", "input": ASK[0]["content"], "max_output_tokens": 200} | self.more | more

    def tool(self):
        return {"type": "function"} | WEATHER["function"]

    def read(self, answer):
        of = lambda kind: [i for i in answer["output"] if i["type"] == kind]  # noqa: E731
        text = "".join(p["text"] for i in of("message") for p in i["content"])
        thought = "".join(p["text"] for i in of("reasoning") for p in i["content"])
        return text, thought, [(i["name"], json.loads(i["arguments"])) for i in of("function_call")]

    def collect(self, frames):
        (last,) = [f["response"] for f in frames if f["type"] == "response.completed"]
        text = "".join(f["delta"] for f in frames if f["type"] == "response.output_text.delta")
        thought = "".join(f["delta"] for f in frames if f["type"] == "response.reasoning_text.delta")
        assert (text, thought) == self.read(last)[:2]
        return self.read(last)


class Messages(Chat):
    path, more = "/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1100}

    def tool(self):
        f = WEATHER["function"]
        return {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}

    def read(self, answer):
        of = lambda kind: [b for b in answer["content"] if b["type"] == kind]  # noqa: E731
        text, thought = ("".join(b[k] for b in of(k)) for k in ("text", "thinking"))
        return text, thought, [(b["name"], b["input"]) for b in of("tool_use")]

    def collect(self, frames):
        blocks = {}
        for f in frames:
            if f["type"] == "content_block_start":
                blocks[f["index"]] = f["content_block"] | {"json": ""}
            elif f["type"] == "content_block_delta":
                key = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}.get(f["delta"]["type"])
                if key:
                    b = blocks[f["index"]]
                    to = "json" if key == "partial_json" else key
                    b[to] = b.get(to, "") + f["delta"][key]
        for b in blocks.values():
            b |= {"input": json.loads(b["json"])} if b["json"] else {}
        return self.read({"content": list(blocks.values())})


class Ollama(Chat):
    path, more = "/api/chat", {"think": True}

    def body(self, stream=False, **more):
        return {"model": "small", "messages": ASK, "options": {"num_predict": 200}, "stream": stream} | self.more | more

    def read(self, answer):
        return self.collect([answer])

    def collect(self, frames):
        messages = [f["message"] for f in frames]
        calls = [(c["function"]["name"], c["function"]["arguments"]) for m in messages for c in m.get("tool_calls", [])]
        return "".join(m["content"] for m in messages), "".join(m.get("thinking", "") for m in messages), calls


DIALECTS = [Chat(), Responses(), Messages(), Ollama()]
each_dialect = pytest.mark.parametrize("d", DIALECTS, ids=lambda d: d.path)


def frames_of(reply):
    """The data of a stream of any dialect, without its signs of life."""
    assert reply.status == 200, reply.body
    text = reply.body.decode()
    if reply.getheader("Content-Type") == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [x if x == "[DONE]" else json.loads(x) for x in data]


def say(server, d, text, **more):
    """Has the model write `text` and returns (content, thoughts, calls): whole and streamed, which must be the same."""
    headers = {"X-Hearth-Script": urllib.parse.quote(text)}
    whole = d.read(server.json(d.path, d.body(**more), headers=headers))
    streamed = d.collect(frames_of(server.post(d.path, d.body(stream=True, **more), headers=headers)))
    assert whole == streamed
    return whole


def script(text):
    return {"X-Hearth-Script": urllib.parse.quote(text)}


def openai_client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def error_of(server, path, body, status=400):
    got = server.json(path, body, status=status)
    return got["error"]["message"] if isinstance(got["error"], dict) else got["error"]


def n_prompt(server, **more):
    """Tokens of the prompt of a chat: equal prompts have equal numbers."""
    return server.json(CHAT, {"messages": ASK, "max_tokens": 1} | more)["usage"]["prompt_tokens"]


# ---- P1 to P4: thoughts


@each_dialect
def test_p01_a_thought_that_the_prompt_opened_ends_where_the_model_closes_it(thinker, d):
    assert say(thinker, d, "hm, a question\n</think>\n\nHello!") == ("Hello!", "hm, a question", [])


@each_dialect
def test_p02_an_answer_without_a_thought_is_no_thought(server, thinker, d):
    d_off = {"thinking": {"type": "disabled"}} if isinstance(d, Messages) else {"think": False} if isinstance(d, Ollama) else {}
    assert say(server, d, "Hello!", **d_off) == ("Hello!", "", [])
    off = d_off or ({"reasoning": {"effort": "none"}} if isinstance(d, Responses) else {"reasoning_effort": "none"})
    assert say(thinker, d, "Hello!", **off) == ("Hello!", "", [])


def test_p02_a_form_is_the_content_where_the_template_opens_a_thought(thinker):
    done = thinker.json(CHAT, {"messages": ASK, "max_tokens": 80, "temperature": 0, "json_schema": SCHEMA})
    m = done["choices"][0]["message"]
    assert isinstance(json.loads(m["content"]), dict) and not m.get("reasoning_content")


def test_p03_thoughts_have_both_names_and_a_switch(thinker):
    text = "hm</think>Hello"
    m = thinker.json(CHAT, {"messages": ASK}, headers=script(text))["choices"][0]["message"]
    assert m["reasoning_content"] == m["reasoning"] == "hm"
    for f in frames_of(thinker.post(CHAT, {"messages": ASK, "stream": True}, headers=script(text)))[:-1]:
        delta = f["choices"][0]["delta"]
        assert delta.get("reasoning_content") == delta.get("reasoning")
    m = thinker.json(CHAT, {"messages": ASK, "reasoning_format": "none"}, headers=script(text))["choices"][0]["message"]
    assert "hm</think>Hello" in m["content"] and "reasoning_content" not in m


OFF = [{"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}, {"enable_thinking": False}, {"think": False},
       {"thinking": {"type": "disabled"}}, {"thinking": False}, {"reasoning": {"effort": "none"}}, {"reasoning": {"enabled": False}}]
ON = [{"reasoning_effort": "high"}, {"chat_template_kwargs": {"enable_thinking": True}}, {"enable_thinking": True}, {"think": True},
      {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning": {"effort": "low"}}, {"reasoning": {"enabled": True}}]


@pytest.mark.parametrize("how", OFF, ids=json.dumps)
def test_p04_thinking_is_turned_off_by_whatever_a_client_sends(thinker, how):
    assert say(thinker, DIALECTS[0], "Hello!", **how) == ("Hello!", "", [])


def test_p04_what_the_server_was_told_is_for_requests_that_say_nothing(start):
    with start(TEMPLATE, "--reasoning", "off") as s:
        assert say(s, DIALECTS[0], "Hello!") == ("Hello!", "", [])
        for how in ON:
            assert say(s, DIALECTS[0], "hm</think>Hello!", **how) == ("Hello!", "hm", []), how


def test_p04_thinking_that_a_model_cannot_do_is_refused_or_named(server):
    assert error_of(server, "/api/chat", {"model": "small", "messages": ASK, "think": True}) == '"small" does not support thinking'
    assert server.json("/api/chat", {"model": "small", "messages": ASK, "think": False, "stream": False, "options": {"num_predict": 1}})
    reply = server.post(CHAT, {"messages": ASK, "max_tokens": 1, "reasoning_effort": "high"})
    assert reply.status == 200 and reply.getheader("X-Hearth-Ignored")


# ---- P5 to P7: streams and tools


@pytest.mark.parametrize("path, body", [(CHAT, {"messages": ASK}), ("/v1/completions", {"prompt": "x"})])
def test_p05_counts_come_in_a_stream_only_when_asked_for(server, path, body):
    frames = frames_of(server.post(path, body | {"max_tokens": 3, "stream": True}))[:-1]
    assert all(len(f["choices"]) == 1 and not f.get("usage") for f in frames)
    frames = frames_of(server.post(path, body | {"max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}))[:-1]
    assert frames[-1]["choices"] == [] and frames[-1]["usage"]["prompt_tokens"] > 0
    assert all(f["choices"] and not f.get("usage") for f in frames[:-1])


@each_dialect
def test_p06_calls_are_the_same_streamed_and_whole(thinker, d):
    text = "hm</think>I look. " + call_text("Paris") + "\n" + call_text("Rome")
    content, thought, calls = say(thinker, d, text, tools=[d.tool()])
    assert (content.strip(), thought) == ("I look.", "hm")
    assert calls == [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})]


def test_p06_streamed_calls_have_an_index_an_id_once_and_arguments_in_pieces(thinker):
    text = "</think>" + call_text("Paris") + "\n" + call_text("Rome")
    calls, finish = {}, None
    stream = openai_client(thinker).chat.completions.create(model="small", messages=ASK, tools=[WEATHER], stream=True, extra_headers=script(text))
    for chunk in stream:
        finish = chunk.choices[0].finish_reason or finish
        for d in chunk.choices[0].delta.tool_calls or []:
            if d.index not in calls:
                assert d.id and d.type == "function" and d.function.name == "get_weather"
                calls[d.index] = {"id": d.id, "arguments": ""}
            else:
                assert d.id is None and d.function.name is None  # an empty name would be one more name
            calls[d.index]["arguments"] += d.function.arguments or ""
    assert finish == "tool_calls" and sorted(calls) == [0, 1]
    assert [json.loads(calls[i]["arguments"])["city"] for i in (0, 1)] == ["Paris", "Rome"]
    assert calls[0]["id"] != calls[1]["id"]


def test_p06_in_ollamas_words_calls_come_whole_with_indices_from_0(thinker):
    text = "</think>" + call_text("Paris") + "\n" + call_text("Rome")
    got = frames_of(thinker.post("/api/chat", {"model": "small", "messages": ASK, "tools": [WEATHER]}, headers=script(text)))
    calls = [c["function"] for p in got for c in p["message"].get("tool_calls", [])]
    assert [(c["index"], c["arguments"]["city"]) for c in calls] == [(0, "Paris"), (1, "Rome")]
    assert got[-1]["done_reason"] == "stop"


def test_p06_in_anthropics_words_id_and_name_come_first_then_pieces_of_json(thinker):
    d = DIALECTS[2]
    frames = frames_of(thinker.post(d.path, d.body(stream=True, tools=[d.tool()], thinking=None), headers=script(call_text('Par\\"is'))))
    start = next(f for f in frames if f["type"] == "content_block_start")["content_block"]
    assert (start["type"], start["name"], start["input"]) == ("tool_use", "get_weather", {}) and start["id"]
    pieces = [f["delta"]["partial_json"] for f in frames if f["type"] == "content_block_delta"]
    assert json.loads("".join(pieces)) == {"city": 'Par"is'}
    assert frames[-2]["delta"]["stop_reason"] == "tool_use"


def test_p06_a_call_among_responses_is_added_then_filled_then_done(thinker):
    d = DIALECTS[1]
    body = d.body(stream=True, tools=[d.tool()], reasoning={"effort": "none"})
    events = frames_of(thinker.post(d.path, body, headers=script(call_text("Paris"))))
    types = [e["type"].removeprefix("response.") for e in events][2:-1]
    assert types[0] == "output_item.added" and types[-2:] == ["function_call_arguments.done", "output_item.done"]
    assert set(types[1:-2]) == {"function_call_arguments.delta"}
    assert events[2]["item"]["name"] == "get_weather" and events[2]["item"]["call_id"]
    assert "".join(e["delta"] for e in events if e["type"].endswith("arguments.delta")) == events[-3]["arguments"]


@pytest.mark.parametrize("path", ["/apply-template", "/api/chat"])
def test_p07_arguments_of_earlier_calls_reach_the_template_as_an_object(thinker, path):
    prompts = []
    for arguments in ('{"city": "Paris"}', {"city": "Paris"}):
        call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
        result = {"role": "tool", "tool_call_id": "c1", "tool_name": "get_weather", "content": "22 C"}
        messages = ASK + [{"role": "assistant", "content": "", "tool_calls": [call]}, result]
        body = {"model": "small", "messages": messages, "_debug_render_only": True}
        got = thinker.json(path, body)
        prompts.append(got["prompt"] if "prompt" in got else got["_debug_info"]["rendered_template"])
    assert prompts[0] == prompts[1] and "get_weather city=Paris" in prompts[0] and "22 C" in prompts[0]


def test_p07_no_tools_are_no_empty_list_of_tools(thinker):
    assert n_prompt(thinker, tools=[]) == n_prompt(thinker) < n_prompt(thinker, tools=[WEATHER])


def test_p07_a_type_may_be_a_list_of_types(thinker):
    schema = {"type": "object", "properties": {"city": {"type": ["string", "null"]}}, "required": ["city"], "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    body = {"messages": ASK, "tools": [tool], "tool_choice": "required", "max_tokens": 100, "temperature": 0, "think": False,
            "parallel_tool_calls": False}
    (call,) = thinker.json(CHAT, body)["choices"][0]["message"]["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"])["city"], (str, type(None)))


# ---- P8 and P9: templates and control tokens


@pytest.mark.parametrize("template", ["{% if messages %}", "{{ messages | no_such_filter }}", "{{ raise_exception('never') }}"])
def test_p08_a_template_that_fails_is_an_error_and_no_other_template(start, template):
    with start(template) as s:
        for d in DIALECTS:
            assert error_of(s, d.path, d.body(**{k: None for k in d.more if k != "max_tokens"})), d.path
        assert s.json("/v1/completions", {"prompt": "x", "max_tokens": 1})["choices"]  # which needs no template


def test_p09_control_tokens_are_in_no_text_and_in_no_name(start):
    call = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>'
    final = "<|start|>assistant<|channel|>final<|message|>Hello!<|return|>"
    with start(HARMONY) as s:
        for d in DIALECTS:
            assert say(s, d, "<|channel|>analysis<|message|>hm<|end|>" + final) == ("Hello!", "hm", []), d.path
            assert say(s, d, call, tools=[d.tool()]) == ("", "", [("get_weather", {"city": "Paris"})]), d.path


def test_p09_the_models_own_end_is_not_part_of_its_answer(server):
    for d in DIALECTS:
        more = {k: None for k in d.more if k != "max_tokens"}
        assert say(server, d, "Hello!<|im_end|>", **more)[0] == "Hello!", d.path


# ---- P10 to P12: limits


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("path, body", [(CHAT, {"messages": ASK}), ("/v1/completions", {"prompt": "The sky is"})])
def test_p10_both_names_of_the_limit_count(server, path, body, limit):
    done = server.json(path, body | {"temperature": 0, limit: 3})
    assert done["usage"]["completion_tokens"] == 3 and done["choices"][0]["finish_reason"] == "length"


LONG = "word " * 3000
TOO_LONG = [
    (CHAT, {"messages": [{"role": "user", "content": LONG}]}),
    ("/v1/completions", {"prompt": LONG}),
    ("/v1/responses", {"input": LONG}),
    ("/v1/messages", {"model": "small", "max_tokens": 10, "messages": [{"role": "user", "content": LONG}]}),
    ("/api/chat", {"model": "small", "messages": [{"role": "user", "content": LONG}]}),
    ("/api/generate", {"model": "small", "prompt": LONG}),
    ("/completion", {"prompt": LONG}),
]


@pytest.mark.parametrize("path, body", TOO_LONG, ids=[p for p, _ in TOO_LONG])
@pytest.mark.parametrize("stream", [False, True])
def test_p11_p12_a_prompt_that_is_too_long_is_an_error_with_the_numbers_in_words_agents_know(server, path, body, stream):
    got = server.json(path, body | {"stream": stream}, status=400)
    error = got["error"]
    text = error if isinstance(error, str) else error["message"]
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    assert 2048 in numbers and any(3000 <= n < 3100 for n in numbers), text
    if path == "/v1/messages":
        assert re.match(r"prompt is too long: 30\d\d tokens > 2048 maximum", text)
    else:
        assert "exceeds the available context size" in text
    if path == "/completion":
        assert error["type"] == "exceed_context_size_error"
    elif path.startswith("/v1/") and path != "/v1/messages":
        assert error["code"] == "context_length_exceeded"
    if isinstance(error, dict) and path != "/v1/messages":
        assert error["n_ctx"] == 2048 and 3000 <= error["n_prompt_tokens"] < 3100


@pytest.mark.parametrize("path, body", [(CHAT, {"num_ctx": 0}), (CHAT, {"options": {"num_ctx": 0}}),
                                        ("/api/chat", {"options": {"num_ctx": 0, "num_predict": 1}})])
def test_p11_a_context_that_a_client_wants_is_there_or_it_is_told(server, path, body):
    for n, told in ((512, False), (2048, False), (4096, True)):
        own = json.loads(json.dumps(body).replace('"num_ctx": 0', f'"num_ctx": {n}'))
        reply = server.post(path, {"model": "small", "messages": ASK, "stream": False, "n": 1} | own | ({"max_tokens": 1} if path == CHAT else {}))
        assert reply.status == 200 and ("num_ctx" in (reply.getheader("X-Hearth-Ignored") or "")) == told, n


# ---- P13 to P18: what particular clients do


def test_p13_copilot_finds_a_version_of_numbers_that_is_new_enough(server):
    version = server.json("/api/version")["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)


def test_p13_copilot_finds_the_context_and_tools_and_chats_on_the_same_port(server, thinker):
    client = ollama.Client(thinker.url)
    shown = client.show("small")
    assert shown.modelinfo["llama.context_length"] == 8192 and shown.modelinfo["general.architecture"] == "llama"
    assert {"completion", "tools", "thinking"} <= set(shown.capabilities)
    assert ollama.Client(server.url).show("small").capabilities == ["completion"]
    assert openai_client(thinker).chat.completions.create(model="small", messages=ASK, max_tokens=1).choices


@pytest.mark.parametrize("prefix", ["/api/api/tags", "/ollama/api/tags", "/v1/api/tags", "/ollama/api/api/tags"])
def test_p14_prefixes_that_clients_double_lead_to_the_same(server, prefix):
    assert server.json(prefix)["models"]


@pytest.mark.parametrize("path", ["/v1/v1", "/ollama/api/v1", "/ollama/v1", "/api/v1", ""])
def test_p14_chats_are_found_behind_doubled_prefixes_too(server, path):
    assert server.json(path + "/chat/completions", {"messages": ASK, "max_tokens": 1})["choices"]


def test_p15_every_event_of_a_response_comes_in_order_with_its_number(server):
    stream = openai_client(server).responses.create(model="small", input="Hello", stream=True, extra_headers=script("some words"))
    events = list(stream)
    types = [e.type.removeprefix("response.") for e in events]
    n = types.count("output_text.delta")
    assert types == ["created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * n,
                     "output_text.done", "content_part.done", "output_item.done", "completed"] and n >= 2
    assert [e.sequence_number for e in events] == list(range(len(events)))
    last = events[-1].response
    assert last.status == "completed" and last.output_text == "some words" and last.usage.output_tokens > 0
    assert events[0].response.id == last.id and events[0].response.output == []
    item = events[2].item.id
    assert all(e.item_id == item and e.output_index == 0 for e in events if hasattr(e, "item_id"))
    assert events[-2].item == last.output[0]
    assert last.output[0].content[0].annotations == [] and last.output[0].content[0].logprobs == []


def count(server, **body):
    return server.json("/v1/responses/input_tokens", {"model": "small"} | body)["input_tokens"]


def test_p16_instructions_and_a_developers_message_are_one_system_message_in_front(thinker):
    user = {"role": "user", "content": "x"}
    apart = count(thinker, instructions="Be kind.", input=[{"role": "developer", "content": "Be brief."}, user])
    assert apart == count(thinker, input=[{"role": "system", "content": "Be kind."}, {"role": "developer", "content": "Be brief."}, user])
    assert apart > count(thinker, instructions="Be kind.", input="x")
    late = [user, {"role": "assistant", "content": "y"}, {"role": "developer", "content": "Be brief."}, user]
    assert count(thinker, instructions="Be kind.", input=late) > count(thinker, instructions="Be kind.", input=[late[0], late[1], late[3]])
    prompt = thinker.json("/apply-template", {"messages": [{"role": "system", "content": "A."}, {"role": "developer", "content": "B."}, *ASK]})["prompt"]
    assert prompt.count("<|im_start|>system") == 1 and prompt.index("A.") < prompt.index("B.") < prompt.index("France")


def test_p16_tools_and_items_of_other_kinds_do_not_refuse_the_request(server):
    tools = [DIALECTS[1].tool(), {"type": "web_search"}, {"type": "local_shell"}, {"type": "namespace", "name": "x", "tools": []}]
    items = [{"type": "web_search_call", "id": "ws_1", "status": "completed"}, {"role": "user", "content": "x"}]
    reply = server.post("/v1/responses", {"model": "small", "tools": tools, "input": items}, headers=script("fine"))
    assert reply.status == 200
    for name in ("web_search", "local_shell", "namespace", "web_search_call"):
        assert name in reply.headers["X-Hearth-Ignored"]
    reply = server.post("/v1/responses", {"model": "small", "input": "x", "tools": [{"type": "custom", "name": "patch"}]}, headers=script("fine"))
    assert reply.status == 200


def test_p17_a_first_block_that_changes_each_time_does_not_cost_the_prefix(server):
    def ask(change):
        system = [{"type": "text", "text": f"x-anthropic-billing-header: cc_version=2; cch={change};"}, {"type": "text", "text": "Be kind. " * 50}]
        return server.json("/v1/messages", {"model": "small", "max_tokens": 1, "messages": ASK, "system": system})["usage"]

    ask("abc")
    assert ask("def")["cache_read_input_tokens"] > 100
    blocks = {"model": "small", "messages": ASK, "system": [{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}, {"type": "text", "text": "Be kind."}]}
    with_block = server.json("/v1/messages/count_tokens", blocks)
    assert with_block == server.json("/v1/messages/count_tokens", blocks | {"system": "Be kind."})


def test_p18_what_claude_code_probes_is_there(server):
    assert server.request("HEAD", "/").status == 200
    body = {"model": "small", "max_tokens": 8, "messages": ASK, "betas": ["x"], "something_new": {"a": [1]}}
    reply = server.post("/v1/messages?beta=true", body, headers=script("fine"))
    assert reply.status == 200 and "something_new" in reply.headers["X-Hearth-Ignored"]
    assert server.json("/v1/messages/count_tokens?beta=true", {"model": "small", "messages": ASK})["input_tokens"] > 0


def test_p18_tools_that_anthropic_runs_are_named_and_do_no_harm(server):
    tools = [DIALECTS[2].tool(), {"type": "web_search_20250305", "name": "web_search"}, {"type": "bash_20250124", "name": "bash"}]
    reply = server.post("/v1/messages", {"model": "small", "max_tokens": 8, "messages": ASK, "tools": tools}, headers=script("fine"))
    assert reply.status == 200
    assert "web_search_20250305" in reply.headers["X-Hearth-Ignored"] and "bash_20250124" in reply.headers["X-Hearth-Ignored"]


# ---- P19 and P20: long prompts, and clients that leave


@pytest.fixture(scope="module")
def pinging(start):
    with start(TEMPLATE, "--ping", "20ms") as s:
        yield s


SIGNS = [
    (CHAT, {"messages": [{"role": "user", "content": "p " * 500}]}, rb"^:"),
    ("/v1/completions", {"prompt": "q " * 500}, rb"^:"),
    ("/v1/responses", {"input": "r " * 500}, rb"^:"),
    ("/v1/messages", {"model": "small", "messages": [{"role": "user", "content": "s " * 500}]}, rb"^event: ping\ndata: "),
    ("/completion", {"prompt": "t " * 500}, rb"^:"),
    ("/api/generate", {"model": "small", "prompt": "u " * 500, "raw": True}, rb'^\{"model":"small","created_at":"[^"]*","response":"","done":false\}$'),
    ("/api/chat", {"model": "small", "messages": [{"role": "user", "content": "v " * 500}]}, rb'"message":\{"role":"assistant","content":""\},"done":false\}$'),
]


@pytest.mark.parametrize("path, body, sign", SIGNS, ids=[p for p, *_ in SIGNS])
def test_p19_a_long_prompt_gives_signs_of_life_in_each_dialects_own_way(pinging, path, body, sign):
    one = {"options": {"num_predict": 1}} if path.startswith("/api/") else {"n_predict": 1} if path == "/completion" else {"max_tokens": 1}
    if path == "/v1/responses":
        one = {"max_output_tokens": 16}
    reply = pinging.post(path, body | one | {"stream": True})
    assert re.search(sign, reply.body, re.M) and frames_of(reply)
    for frame in re.split(rb"\n\n", reply.body) if b"data: " in reply.body else []:
        assert not frame or frame.startswith((b":", b"data: ", b"event: ")), frame


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_p20_a_client_that_leaves_while_tokens_come_frees_its_place(server, stream, how):
    s = start_chat(server, stream=stream)
    leave(s, how)
    until_idle(server)


def test_p20_a_client_of_ollama_frees_its_place_too(server):
    body = json.dumps({"model": "small", "prompt": "1 2 3", "raw": True, "options": {"num_predict": 1500, "temperature": 0}}).encode()
    with server.connect() as c:
        c.sendall(post("/api/generate", body))
        assert c.recv(65536).startswith(b"HTTP/1.1 200")
    until_idle(server)


def test_p20_a_client_that_leaves_during_prefill_frees_its_place(server):
    words = "one two three four five six seven eight nine ten " * 150
    s = server.connect()
    s.sendall(post(CHAT, json.dumps({"messages": [{"role": "user", "content": words}], "max_tokens": 500}).encode()))
    time.sleep(0.2)
    leave(s, "close")
    until_idle(server)


def test_p20_clients_that_leave_the_queue_are_not_computed(hearth, models):
    with Server(hearth, models("default"), "--ctx", "2048", "--parallel", "1") as s:
        first = start_chat(s, max_tokens=1500, stream=True)
        others = [start_chat(s, wait_for=2 + i, max_tokens=1500) for i in range(5)]
        for o in others:
            leave(o, "close")
        until_idle(s, left=1)  # the first goes on
        leave(first, "close")
        until_idle(s)


# ---- P21 to P23: loading


def loads(server):
    return sum("was loaded" in line for line in server.lines)


def test_p21_no_option_of_a_request_loads_the_model_again(server):
    before = loads(server)
    chat = {"model": "small", "messages": ASK, "stream": False}
    for n in (512, 1024, 4096):
        options = {"num_predict": 1, "num_ctx": n, "num_gpu": 1, "num_thread": 1, "num_batch": n, "use_mmap": False}
        assert server.json("/api/chat", chat | {"options": options})["load_duration"] == 0
        assert server.json(CHAT, {"messages": ASK, "max_tokens": 1, "num_ctx": n, "keep_alive": n})
    assert loads(server) == before


def loaded(client):
    return client.ps().models


def test_p22_requests_for_a_cold_model_share_one_load(server):
    client = ollama.Client(server.url)
    client.generate("small", "", keep_alive=0)
    until = time.monotonic() + 30
    while loaded(client):
        assert time.monotonic() < until
        time.sleep(0.01)
    before = loads(server)

    async def run():
        c = ollama.AsyncClient(server.url)
        return await asyncio.gather(*(c.chat("small", ASK, options={"num_predict": 8, "temperature": 0}) for _ in range(6)))

    assert len({r.message.content for r in asyncio.run(run())}) == 1
    assert len(loaded(client)) == 1 and loads(server) == before + 1


def test_p22_unloading_waits_for_who_is_answered(server):
    with start_chat(server, stream=True, max_tokens=100) as s:
        ollama.Client(server.url).generate("small", "", keep_alive=0)
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            piece = s.recv(65536)
            assert piece, "the answer was cut off"
            got += piece
    assert b'"finish_reason":"length"' in got and b"[DONE]" in got


def test_p23_the_context_that_the_user_set_is_the_one_there_is(hearth, models):
    with Server(hearth, models("default"), "--ctx", "96", "--parallel", "3") as s:
        name = s.json("/v1/models")["data"][0]["id"]
        s.json(CHAT, {"messages": ASK, "max_tokens": 1})
        assert s.json("/props")["default_generation_settings"]["n_ctx"] == 96
        assert s.json("/v1/models")["data"][0]["meta"]["n_ctx"] == 96
        assert [m["context_length"] for m in s.json("/api/ps")["models"]] == [96]
        full = s.json(CHAT, {"messages": ASK, "ignore_eos": True})
        assert full["usage"]["total_tokens"] in (96, 97) and full["choices"][0]["finish_reason"] == "length"
        assert "96" in error_of(s, "/api/generate", {"model": name, "prompt": "word " * 120, "raw": True})


# ---- P24: forms hold, or the request is refused

NUMBER = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["n"], "additionalProperties": False}


def forms(schema):
    """How each dialect asks for an answer of this schema, and where its answer stands."""
    named = {"type": "json_schema", "name": "x", "strict": True, "schema": schema}
    return [
        (CHAT, {"messages": ASK, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}}, "response_format"),
        (CHAT, {"messages": ASK, "json_schema": schema}, "json_schema"),
        ("/v1/responses", {"input": "x", "text": {"format": named}}, "text.format"),
        ("/v1/messages", {"model": "small", "max_tokens": 100, "messages": ASK, "output_config": {"format": {"type": "json_schema", "schema": schema}}},
         "output_config.format"),
        ("/api/chat", {"model": "small", "messages": ASK, "format": schema, "options": {"temperature": 1.5}}, "format"),
        ("/api/generate", {"model": "small", "prompt": "x", "format": schema, "options": {"temperature": 1.5}}, "format"),
        ("/completion", {"prompt": "x", "json_schema": schema}, "json_schema"),
    ]


TEXT_OF = {CHAT: lambda d: d["choices"][0]["message"]["content"], "/v1/responses": lambda d: d["output"][0]["content"][0]["text"],
           "/v1/messages": lambda d: d["content"][0]["text"], "/api/chat": lambda d: d["message"]["content"],
           "/api/generate": lambda d: d["response"], "/completion": lambda d: d["content"]}


@pytest.mark.parametrize("i", range(7))
def test_p24_a_schema_is_kept_in_every_dialect(server, i):
    path, body, _ = forms(NUMBER)[i]
    hot = {"temperature": 1.5} if path.startswith("/v1/") and path != "/v1/messages" else {}
    answer = json.loads(TEXT_OF[path](server.json(path, body | hot | {"stream": False})))
    assert list(answer) == ["n"] and answer["n"] in range(1, 10)


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"type": "object", "properties": {"a": {"type": "what"}}}, {"$ref": "#/nowhere"},
                                    {"type": "string", "pattern": "("}])
@pytest.mark.parametrize("i", range(7))
def test_p24_a_schema_that_cannot_be_kept_is_refused(server, i, schema):
    path, body, name = forms(schema)[i]
    assert name in json.dumps(server.json(path, body, status=400)["error"])


def test_p24_a_schema_holds_while_streaming_and_for_every_answer(server):
    path, body, _ = forms(NUMBER)[0]
    for choice in server.json(path, body | {"n": 3, "temperature": 1.5, "max_tokens": 60})["choices"]:
        assert json.loads(choice["message"]["content"])["n"] in range(1, 10)
    text, _, _ = DIALECTS[0].collect(frames_of(server.post(path, body | {"stream": True, "temperature": 1.5, "max_tokens": 60})))
    assert list(json.loads(text)) == ["n"]


@pytest.mark.parametrize("path, more", [("/api/chat", {"model": "small", "format": "json", "stream": False, "options": {"temperature": 0, "num_predict": 200}}),
                                        (CHAT, {"response_format": {"type": "json_object"}, "temperature": 0, "max_tokens": 200})])
def test_p24_json_is_json(server, path, more):
    ask = [{"role": "user", "content": "The capital of France as JSON with one key, city."}]
    done = server.json(path, {"messages": ask} | more)
    text = TEXT_OF[path](done)
    assert text.lstrip().startswith("{")
    assert '"length"' in json.dumps(done) or isinstance(json.loads(text), dict)


@pytest.mark.parametrize("grammar", ["root ::= (", "", 'root ::= undefined'])
def test_p24_a_grammar_that_cannot_be_kept_is_refused(server, grammar):
    if grammar:
        assert "grammar" in error_of(server, CHAT, {"messages": ASK, "grammar": grammar})
        assert "grammar" in error_of(server, "/completion", {"prompt": "x", "grammar": grammar})
    else:
        assert server.json(CHAT, {"messages": ASK, "grammar": "", "max_tokens": 1})["choices"]  # none


# ---- P25 to P30


def test_p25_embeddings_come_as_floats_and_as_base64(embedder):
    client = openai_client(embedder)
    name = client.models.list().data[0].id
    texts = ["a cat sat on the mat", "a kitten was sitting on a rug", "interest rates rose"]
    floats = [d.embedding for d in client.embeddings.create(model=name, input=texts, encoding_format="float").data]
    packed = [d.embedding for d in client.embeddings.create(model=name, input=texts).data]  # base64 by default
    assert numpy.array_equal(numpy.float32(floats), numpy.float32(packed))
    raw = embedder.json("/v1/embeddings", {"model": name, "input": texts[0], "encoding_format": "base64"})["data"][0]["embedding"]
    assert struct.unpack(f"<{len(floats[0])}f", base64.b64decode(raw)) == tuple(numpy.float32(floats[0]).tolist())
    v = numpy.array(floats)
    assert numpy.allclose((v * v).sum(1), 1, atol=1e-4) and v[0] @ v[1] > v[0] @ v[2]


def test_p25_embeddings_can_be_shorter_and_come_from_tokens(embedder):
    client = openai_client(embedder)
    name = client.models.list().data[0].id
    short = client.embeddings.create(model=name, input="a cat", dimensions=16).data[0].embedding
    assert len(short) == 16 and abs(sum(x * x for x in short) - 1) < 1e-4
    ids = [101, 1037, 4937, 102]
    assert len(client.embeddings.create(model=name, input=ids).data) == 1
    assert len(client.embeddings.create(model=name, input=[ids, [101, 102]]).data) == 2


def test_p26_the_list_of_models_is_there_whatever_models_there_are(hearth, embedder):
    (one,) = embedder.json("/v1/models")["data"]
    assert one["object"] == "model" and embedder.json("/v1/models/" + one["id"])["id"] == one["id"]
    with Server(hearth, ready=False) as s:
        assert s.json("/v1/models") == {"object": "list", "data": []}
        assert s.json("/api/tags") == {"models": []}
        assert s.json("/v1/models", headers={"anthropic-version": "2023-06-01"})["data"] == []
        assert "no models" in error_of(s, CHAT, {"messages": ASK}, status=404)


@pytest.mark.parametrize("path", ["speech", "transcriptions", "translations", "voices"])
def test_p27_sound_which_is_not_offered_is_refused_in_words(server, path):
    reply = server.post("/v1/audio/" + path, {"model": "tts-1", "input": "x", "voice": "alloy"})
    assert reply.status == 404 and path in json.loads(reply.body)["error"]["message"]
    assert reply.getheader("x-should-retry") == "false"


def test_p28_titles_and_other_calls_behind_a_chat_leave_its_beginning_in_the_cache(server):
    chat = [{"role": "user", "content": "This is a long conversation. " * 40}]
    first = server.json(CHAT, {"messages": chat, "max_tokens": 4, "temperature": 0})
    for i in range(8):
        title = [{"role": "user", "content": f"Write title number {i} for this: " + "other words " * 60}]
        server.json(CHAT, {"messages": title, "max_tokens": 4, "priority": "background"})
    chat += [first["choices"][0]["message"], {"role": "user", "content": "Go on."}]
    u = server.json(CHAT, {"messages": chat, "max_tokens": 4})["usage"]
    assert u["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"]


FIM = [
    ("/v1/completions", {"prompt": "def f(", "suffix": "return x", "max_tokens": 4}, "suffix", 400),
    ("/api/generate", {"model": "small", "prompt": "def f(", "suffix": "return x"}, "insert", 400),
    ("/infill", {"input_prefix": "a", "input_suffix": "b"}, "Infill is not supported by this model", 501),
]


@pytest.mark.parametrize("path, body, word, status", FIM, ids=[row[0] for row in FIM])
def test_p29_a_suffix_that_the_model_cannot_fill_in_is_refused_never_ignored(server, path, body, word, status):
    error = server.json(path, body, status=status)["error"]
    assert word in json.dumps(error)


def test_p29_the_middle_is_filled_in_without_the_chats_template(coder):
    marked = "<|fim_prefix|>def f(<|fim_suffix|>return x<|fim_middle|>"
    n = len(coder.json("/tokenize", {"content": marked, "parse_special": True})["tokens"])
    body = {"prompt": "def f(", "suffix": "return x", "max_tokens": 4, "temperature": 0}
    done = coder.json("/v1/completions", body)
    assert done["usage"]["prompt_tokens"] == n and done["choices"][0]["text"]
    text = done["choices"][0]["text"]
    name = coder.json("/v1/models")["data"][0]["id"]
    for model in (None, name):
        infill = {"input_prefix": "def f(", "input_suffix": "return x", "n_predict": 4, "temperature": 0}
        got = coder.json("/infill", infill | ({"model": model} if model else {}))
        assert got["content"] == text and got["tokens_evaluated"] == n
    asked = {"model": name, "prompt": "def f(", "suffix": "return x", "stream": False, "options": {"num_predict": 4, "temperature": 0}}
    got = coder.json("/api/generate", asked)
    assert got["response"] == text and got["prompt_eval_count"] == n
    assert "insert" in coder.json("/api/show", {"model": name})["capabilities"]


@pytest.mark.parametrize("path, body", [("/api/generate", {"stream": False}), ("/api/chat", {"messages": [], "stream": False}),
                                        (CHAT, {"messages": ASK, "max_tokens": 1}), ("/v1/completions", {"prompt": "x", "max_tokens": 1})])
def test_p30_keep_alive_in_every_spelling(server, path, body):
    client = ollama.Client(server.url)
    for value, low, high in (("10m", 595, 601), (120, 115, 121), ("90", 85, 91), ("1h30m", 5395, 5401)):
        server.json(path, {"model": "small", "keep_alive": value} | body)
        (one,) = loaded(client)
        assert low <= one.expires_at.timestamp() - time.time() <= high, value
    for value in (-1, "-1m", "-1"):
        server.json(path, {"model": "small", "keep_alive": value} | body)
        assert loaded(client)[0].expires_at.year > 2100
    assert "keep_alive" in error_of(server, path, {"model": "small", "keep_alive": "soon"} | body)
