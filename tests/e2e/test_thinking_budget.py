"""Thoughts that are cut short, over HTTP: the scripted model goes on as its script does, so that what of the script comes before
the cut is the thought, and the rest is the answer."""
import json
import threading
import time
import urllib.parse

import pytest

from server import Server

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n" \
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
ASK = [{"role": "user", "content": "How many?"}]
WORDS = " ".join(["one two three four five six seven eight nine ten"] * 4)


@pytest.fixture(scope="module")
def server(hearth, models, tmp_path_factory):
    path = tmp_path_factory.mktemp("budget") / "template.jinja"
    path.write_text(TEMPLATE)
    with Server(hearth, models("default"), "--alias", "small", "--ctx", "2048", "--chat-template-file", path,
                env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        yield s


def script(text):
    return {"X-Hearth-Script": urllib.parse.quote(text)}


def chat(server, text=WORDS, status=200, **more):
    body = {"model": "small", "max_tokens": 200, "messages": ASK} | more
    got = server.json("/v1/chat/completions", body, headers=script(text), status=status)
    return got["choices"][0]["message"] | {"usage": got["usage"]} if status == 200 else got


def thought(message):
    return message.get("reasoning_content") or ""


FIELDS = [{"thinking_budget": 7}, {"reasoning_budget": 7}, {"thinking_budget_tokens": 7}, {"reasoning_budget_tokens": 7},
          {"reasoning": {"max_tokens": 7}}, {"thinking": {"type": "enabled", "budget_tokens": 7}},
          {"chat_template_kwargs": {"thinking_budget": 7}}]


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: next(iter(f)))
def test_a_thought_ends_where_its_budget_does(server, field):
    got = chat(server, **field)
    # Seven tokens are seven words here, and the end's own tokens come on top.
    assert thought(got) == "one two three four five six seven"
    assert got["content"] == WORDS.removeprefix("one two three four five six seven").strip()
    assert got["usage"]["completion_tokens_details"]["reasoning_tokens"] >= 7
    assert got["usage"]["completion_tokens"] > len(WORDS.split())  # what ended it counts


def test_without_a_budget_it_goes_on(server):
    assert thought(chat(server)) == WORDS and thought(chat(server, thinking_budget=-1)) == WORDS


def test_a_thought_that_ends_by_itself_in_time_is_left_alone(server):
    got = chat(server, "one two\n</think>\n\nfine", thinking_budget=7)
    assert (thought(got), got["content"]) == ("one two", "fine")


def test_a_budget_of_nothing_turns_thoughts_off(server):
    got = chat(server, "fine", thinking_budget=0)
    assert (thought(got), got["content"]) == ("", "fine")


def test_words_of_ones_own_come_before_the_end(server):
    assert thought(chat(server, thinking_budget=3, reasoning_budget_message=" That will do.")) == "one two three That will do."


def test_a_budget_does_not_cut_a_character(server):
    got = chat(server, "\U0001f98a" * 20, thinking_budget=5)
    assert "\ufffd" not in thought(got) + got["content"] and thought(got) + got["content"] == "\U0001f98a" * 20


@pytest.mark.parametrize("value", [-2, 1.5, "7", True])
def test_a_budget_that_is_none_is_refused(server, value):
    assert chat(server, thinking_budget=value, status=400)["error"]["param"] == "thinking_budget"


@pytest.mark.parametrize("budget", [1, 6, 20])
def test_a_stream_is_the_whole_in_pieces(server, budget):
    whole = chat(server, thinking_budget=budget)
    body = {"model": "small", "max_tokens": 200, "messages": ASK, "stream": True, "thinking_budget": budget}
    deltas = [e["choices"][0]["delta"] for e in server.events("/v1/chat/completions", body, script(WORDS))[:-1] if e["choices"]]
    kinds = ["r" if d.get("reasoning_content") else "c" for d in deltas if d.get("reasoning_content") or d.get("content")]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == thought(whole)
    assert "".join(d.get("content") or "" for d in deltas) == whole["content"]
    assert "cr" not in "".join(kinds), "no thought after content"


def test_a_call_can_follow_a_cut_thought_where_one_must_come(server):
    schema = {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"model": "small", "messages": ASK, "temperature": 0, "max_tokens": 100, "thinking_budget": 2, "tools": [tool],
            "tool_choice": "required", "parallel_tool_calls": False}
    got = server.json("/v1/chat/completions", body)["choices"][0]
    assert got["finish_reason"] == "tool_calls" and json.loads(got["message"]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert len(got["message"]["reasoning_content"].split()) <= 2


# ---- the other dialects


def test_anthropic_budgets_cut_and_leave_room_for_the_answer(server):
    body = {"model": "small", "max_tokens": 200, "messages": ASK, "thinking": {"type": "enabled", "budget_tokens": 7}}
    got = server.json("/v1/messages", body, headers=script(WORDS))
    assert [b["type"] for b in got["content"]] == ["thinking", "text"]
    assert got["content"][0]["thinking"] == "one two three four five six seven"
    for most in (7, 6):
        refused = server.json("/v1/messages", body | {"max_tokens": most}, headers=script(WORDS), status=400)
        assert "thinking.budget_tokens" in refused["error"]["message"]


def test_responses_take_a_budget(server):
    body = {"model": "small", "input": "How many?", "reasoning": {"max_tokens": 7}}
    got = server.json("/v1/responses", body, headers=script(WORDS))
    assert [i["type"] for i in got["output"]] == ["reasoning", "message"]
    assert got["output"][0]["content"][0]["text"] == "one two three four five six seven"


def test_the_servers_own_budget_counts_where_a_request_says_nothing(hearth, models, tmp_path):
    path = tmp_path / "template.jinja"
    path.write_text(TEMPLATE)
    with Server(hearth, models("default"), "--alias", "small", "--ctx", "2048", "--chat-template-file", path, "--reasoning-budget", "4",
                "--reasoning-budget-message", "!", env={"HEARTH_TEST_SCRIPTS": "1"}) as s:
        assert thought(chat(s)) == "one two three four!"
        assert thought(chat(s, thinking_budget=2)) == "one two!" and thought(chat(s, thinking_budget=-1)) == WORDS


# ---- stop thinking now


def test_a_thought_is_ended_from_beside_its_stream(server):
    body = {"model": "small", "messages": ASK, "max_tokens": 400, "stream": True, "reasoning_control": True}
    script_text = "la " * 150
    pieces, told = [], []

    def tell(name):
        told.append(server.json("/v1/chat/completions/control", {"id": name, "action": "reasoning_end"}))

    with server.connect() as s:
        text = json.dumps(body)
        head = f"POST /v1/chat/completions HTTP/1.0\r\nX-Hearth-Script: {urllib.parse.quote(script_text)}\r\nContent-Length: {len(text)}\r\n\r\n"
        s.sendall((head + text).encode())
        thread = None
        for line in s.makefile("r", encoding="utf-8"):
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            pieces += [event["choices"][0]["delta"]] if event["choices"] else []
            if not thread and any(d.get("reasoning_content") for d in pieces):
                thread = threading.Thread(target=tell, args=(event["id"],))
                thread.start()
                last = event["id"]
        thread.join()
    words = [("".join(d.get(k) or "" for d in pieces)).count("la") for k in ("reasoning_content", "content")]
    assert told == [{"success": True}] and sum(words) == 150 and words[1] > 0 and words[0] > 0
    until = time.monotonic() + 20  # its end is a matter of the connection's
    while server.json("/v1/chat/completions/control", {"id": last, "action": "reasoning_end"})["success"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    server.json("/v1/chat/completions/control", {"id": last, "action": "dance"}, status=400)
