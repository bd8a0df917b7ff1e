"""Every family's way of calling tools, over every dialect: the scripted model writes what a model of the family would, and clients
get the same thoughts, text and calls. How each format is read in detail is tests/parity/test_output*.py's."""
import concurrent.futures
import json
import re
import urllib.parse

import pytest

from server import Server

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
ASK = [{"role": "user", "content": "What is the weather like?"}]
WANTED = {"city": "Paris", "days": 2}
JSON = '{"city": "Paris", "days": 2}'
OBJECT = '{"name": "get_weather", "arguments": ' + JSON + "}"
THINK = "<think>\nI look.\n</think>\n\n"
XML = "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>"
KEYS = "<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
DSML = ('<｜DSML｜{0}>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜{0}>')

# format: (what the model writes for one call, its thought's beginning and end). Of llama.cpp's cases, the templates, and the
# families' documentation.
FORMATS = {
    "hermes": (f"<tool_call>\n{OBJECT}\n</tool_call>", THINK),
    "qwen3-coder": (f"<tool_call>\n{XML}\n</tool_call>", THINK),
    "gpt-oss": ("<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" + JSON,
                "<|channel|>analysis<|message|>I look.<|end|>"),
    "mistral-v3": (f'[TOOL_CALLS][{OBJECT[:-1]}, "id": "abcdefghi"}}]', ""),
    "mistral-v11": (f"[TOOL_CALLS]get_weather[ARGS]{JSON}", "[THINK]I look.[/THINK]"),
    "magistral": (f"[TOOL_CALLS]get_weather[ARGS]{JSON}", "[THINK]I look.[/THINK]"),
    "deepseek-r1": ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" + JSON +
                    "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", THINK),
    "deepseek-v3.1": ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" + JSON +
                      "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "<think>I look.</think>"),
    "deepseek-v3.2": (DSML.format("function_calls"), "<think>I look.</think>"),
    "deepseek-v4": (DSML.format("tool_calls"), "<think>I look.</think>"),
    "llama-3": ('{"name": "get_weather", "parameters": ' + JSON + "}", ""),
    "llama-4": ('<|python_start|>[get_weather(city="Paris", days=2)]<|python_end|>', ""),
    "command-r7b": ('<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": ' + JSON + "}]<|END_ACTION|>",
                    "<|START_THINKING|>I look.<|END_THINKING|>"),
    "command-r": ('Action: ```json\n[{"tool_name": "get_weather", "parameters": ' + JSON + "}]```", ""),
    "glm-4.5": (f"<tool_call>get_weather\n{KEYS}</tool_call>", "<think>I look.</think>"),
    "kimi-k2": ("<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>" + JSON +
                "<|tool_call_end|><|tool_calls_section_end|>", "<think>I look.</think>"),
    "minimax-m2": ('<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
                   '<parameter name="days">2</parameter>\n</invoke>\n</minimax:tool_call>', THINK),
    "granite-3": (f"<|tool_call|>[{OBJECT}]", "<think>I look.</think>"),
    "functionary-v3.1": (f"<function=get_weather>{JSON}</function>", ""),
    "functionary-v3.2": (f">>>get_weather\n{JSON}", ""),
    "gemma-3": ('```tool_code\nget_weather(city="Paris", days=2)\n```', ""),
    "gemma-4": ('<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>', "<|channel>thought\nI look.\n<channel|>"),
    "nemotron-v2": (f"<TOOLCALL>[{OBJECT}]</TOOLCALL>", THINK),
    "seed-oss": (f"<seed:tool_call>{XML.replace(chr(10), '')}</seed:tool_call>", "<seed:think>I look.</seed:think>"),
    "lfm2": ('<|tool_call_start|>[get_weather(city="Paris", days=2)]<|tool_call_end|>', THINK),
    "phi-4-mini": (f"<|tool_call|>[{OBJECT}]<|/tool_call|>", ""),
    "apertus": ('<|tools_prefix|>[{"get_weather": ' + JSON + "}]<|tools_suffix|>", "<|inner_prefix|>I look.<|inner_suffix|>"),
    "generic": (f"<tool_call>{OBJECT}</tool_call>", THINK),
}
IDS = {"mistral-v3": r"abcdefghi", "mistral-v11": r"\w{9}", "magistral": r"\w{9}", "kimi-k2": r"functions\.get_weather:0"}


@pytest.fixture(scope="module")
def server(hearth, models, tmp_path_factory):
    path = tmp_path_factory.mktemp("formats") / "template.jinja"
    path.write_text("{% if tools %}{{ tools | tojson }}<think></think>{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}")
    with Server(hearth, models("default"), "--alias", "small", "--ctx", "2048", "--parallel", "64", "--chat-template-file", path,
                env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


@pytest.fixture(scope="module")
def answers(server):
    """All of them at once: a step of many sequences costs little more than one."""
    todo = [(dialect, format) for dialect in ASKS for format in FORMATS]
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        return dict(zip(todo, pool.map(lambda one: ASKS[one[0]](server, one[1]), todo)))


def headers(format):
    call, thought = FORMATS[format]
    return {"X-Hearth-Script": urllib.parse.quote(thought + call), "X-Hearth-Script-Format": format}


def functions():
    return [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]


def ask_openai(server, format):
    body = {"model": "small", "messages": ASK, "tools": functions(), "max_tokens": 300}
    got = server.json("/v1/chat/completions", body, headers=headers(format))["choices"][0]
    m = got["message"]
    calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in m.get("tool_calls") or []]
    return m.get("reasoning_content") or "", m["content"] or "", calls, got["finish_reason"] == "tool_calls"


def ask_openai_stream(server, format):
    body = {"model": "small", "messages": ASK, "tools": functions(), "max_tokens": 300, "stream": True}
    thought, content, calls, finish = "", "", {}, None
    for e in server.events("/v1/chat/completions", body, headers(format))[:-1]:
        for c in e["choices"]:
            thought += c["delta"].get("reasoning_content") or ""
            content += c["delta"].get("content") or ""
            finish = c["finish_reason"] or finish
            for t in c["delta"].get("tool_calls") or []:
                one = calls.setdefault(t["index"], [None, None, ""])
                one[0], one[1] = t.get("id") or one[0], t["function"].get("name") or one[1]
                one[2] += t["function"].get("arguments") or ""
    return thought, content, [tuple(c) for c in calls.values()], finish == "tool_calls"


def ask_anthropic(server, format):
    body = {"model": "small", "messages": ASK, "tools": [{"name": "get_weather", "input_schema": PARAMETERS}], "max_tokens": 300,
            "thinking": {"type": "enabled", "budget_tokens": 200}}
    got = server.json("/v1/messages", body, headers=headers(format))
    of = {k: [b for b in got["content"] if b["type"] == k] for k in ("thinking", "text", "tool_use")}
    calls = [(b["id"], b["name"], json.dumps(b["input"])) for b in of["tool_use"]]
    return ("".join(b["thinking"] for b in of["thinking"]), "".join(b["text"] for b in of["text"]), calls, got["stop_reason"] == "tool_use")


def ask_ollama(server, format):
    body = {"model": "small", "messages": ASK, "tools": functions(), "stream": False}
    got = server.json("/api/chat", body, headers=headers(format))
    m = got["message"]
    calls = [(c.get("id"), c["function"]["name"], json.dumps(c["function"]["arguments"])) for c in m.get("tool_calls") or []]
    return m.get("thinking") or "", m["content"], calls, got["done_reason"] == "stop"


def ask_responses(server, format):
    body = {"model": "small", "input": ASK, "tools": [functions()[0]["function"] | {"type": "function"}], "max_output_tokens": 300,
            "store": False}
    got = server.json("/v1/responses", body, headers=headers(format))
    of = {k: [i for i in got["output"] if i["type"] == k] for k in ("reasoning", "message", "function_call")}
    calls = [(i["call_id"], i["name"], i["arguments"]) for i in of["function_call"]]
    thought = "".join(p["text"] for i in of["reasoning"] for p in i["content"])
    return thought, "".join(p["text"] for i in of["message"] for p in i["content"]), calls, got["status"] == "completed"


ASKS = {"openai": ask_openai, "openai_stream": ask_openai_stream, "anthropic": ask_anthropic, "ollama": ask_ollama, "responses": ask_responses}


@pytest.mark.parametrize("dialect", ASKS)
@pytest.mark.parametrize("format", FORMATS)
def test_calls_of_every_family_reach_clients(answers, dialect, format):
    thought, content, calls, is_done = answers[dialect, format]
    assert thought == ("I look." if FORMATS[format][1] else "")
    assert content == "" and is_done
    assert [(name, json.loads(arguments)) for _, name, arguments in calls] == [("get_weather", WANTED)]
    assert calls[0][0] and re.fullmatch(IDS.get(format, r"call_\w+|[0-9]"), calls[0][0])


def test_a_call_in_another_familys_format_is_text(server):
    body = {"model": "small", "messages": ASK, "tools": functions()}
    head = {"X-Hearth-Script": urllib.parse.quote("<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>"),
            "X-Hearth-Script-Format": "hermes"}
    assert not server.json("/v1/chat/completions", body, headers=head)["choices"][0]["message"].get("tool_calls")
