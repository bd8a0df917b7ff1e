"""Calls of tools that come back from clients: in the model's own spelling where they mean the same, so that the prefix cache holds
what was computed for them. The scripted model writes JSON as no template would."""
import json
import re
import urllib.parse

import pytest

from server import Server

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "number"}, "of": {"type": "array"}}}}} for name in ("weather", "news")]
QUESTION = {"role": "user", "content": "What is the weather like?"}
RESULT = {"role": "tool", "content": "sunny"}
FIRST = '{"days":2.0,  "city":"Par\\u0069s", "of":[1,{"b":1,"a":2}] }'
CALL = f'<tool_call>\n{{"name": "weather", "arguments": {FIRST}}}\n</tool_call>'


@pytest.fixture(scope="module")
def server(hearth, models):
    path = models("llama_templates") / "Qwen-Qwen3-0.6B.jinja"
    with Server(hearth, models("default"), "--alias", "small", "--ctx", "4096", "--chat-template-file", path,
                env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


def chat(server, messages, text="fine", **more):
    body = {"model": "small", "max_tokens": 200, "messages": messages, "tools": TOOLS} | more
    got = server.json("/v1/chat/completions", body, headers={"X-Hearth-Script": urllib.parse.quote(text)})
    return got["choices"][0]["message"], got["usage"]


def counts(server):
    return {k: int(v) for k, v in re.findall(r'hearth_calls_sent_back_total\{found="(\w+)"\} (\d+)', server.get("/metrics").body.decode())}


def turn(server, change, text=CALL, name="Ann"):
    """Asks, changes the call that comes as a client would, and sends it back. Returns the tokens of the first turn and those
    cached of the second."""
    question = QUESTION | {"content": f"I am {name}. {QUESTION['content']}"}  # every test a conversation of its own
    message, first = chat(server, [question], text)
    assert message["tool_calls"][0]["function"]["arguments"] == FIRST
    message = {k: v for k, v in message.items() if v is not None and k != "reasoning"}
    change(message)
    results = [RESULT | {"tool_call_id": c["id"]} for c in message["tool_calls"]]
    _, second = chat(server, [question, message, *results])
    return first["prompt_tokens"], first["total_tokens"], second["prompt_tokens_details"]["cached_tokens"]


def respell(message):
    for call in message["tool_calls"]:
        call["function"]["arguments"] = json.dumps(json.loads(call["function"]["arguments"]), sort_keys=True)


def test_a_call_that_means_the_same_is_cached_to_its_end(server):
    before = counts(server)
    _, total, cached = turn(server, respell, name="Bob")
    assert cached >= total - 2  # the end that the script has not written, and the token to go on from
    assert counts(server) == before | {"same": before["same"] + 1}


def test_several_calls_and_a_thought_before_them_too(server):
    text = "<think>\nHe wants both.\n</think>\n\n" + CALL + "\n" + CALL.replace("weather", "news").replace('"days":2.0,', '"days": 3 ,')
    prompt, total, cached = turn(server, respell, text, name="Cid")
    assert cached >= total - 2


@pytest.mark.parametrize("what", ["arguments", "name", "id"])
def test_a_call_that_was_changed_is_rendered_and_counted(server, what):
    def change(message):
        respell(message)
        call = message["tool_calls"][0]
        if what == "arguments":
            call["function"]["arguments"] = call["function"]["arguments"].replace("Paris", "Rome")
        elif what == "name":
            call["function"]["name"] = "news"
        else:
            call["id"] = "call_unknown"

    before = counts(server)
    prompt, total, cached = turn(server, change, name=what)
    assert prompt - 1 <= cached < total - 10
    found = "unknown" if what == "id" else "changed"
    assert counts(server) == before | {found: before[found] + 1}


def test_the_other_dialects_send_calls_back_as_well(server):
    question = [{"role": "user", "content": "Dialects. What is the weather like?"}]
    tools = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in TOOLS]
    headers = {"X-Hearth-Script": urllib.parse.quote(CALL)}
    # Thinking off is an empty thought in this template, which it does not write into history.
    body = {"model": "small", "max_tokens": 200, "messages": question, "tools": tools, "thinking": {"type": "enabled", "budget_tokens": 100}}
    got = server.json("/v1/messages", body, headers=headers)
    back = [{"role": "assistant", "content": got["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": got["content"][0]["id"], "content": "sunny"}]}]
    usage = server.json("/v1/messages", body | {"messages": question + back}, headers=headers)["usage"]
    first = got["usage"]
    assert usage["cache_read_input_tokens"] >= first["input_tokens"] + first["cache_read_input_tokens"] + first["output_tokens"] - 2
    tools = [t["function"] | {"type": "function"} for t in TOOLS]
    body = {"model": "small", "input": "Respond. What is the weather like?", "tools": tools}
    got = server.json("/v1/responses", body, headers=headers)
    call = got["output"][0]
    call["arguments"] = json.dumps(json.loads(call["arguments"]))
    items = [{"role": "user", "content": body["input"]}, call, {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}]
    usage = server.json("/v1/responses", body | {"input": items}, headers=headers)["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] >= got["usage"]["total_tokens"] - 2
