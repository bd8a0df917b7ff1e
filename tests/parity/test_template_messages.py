"""Messages as clients send them, through real templates: what we write is what transformers writes for the messages in
one of the shapes that templates expect, and it is a shape in which nothing was lost."""
import copy
import itertools
import json

import pytest

import template_cases as cases
import template_reference as reference
from chat_probe import Chat
from test_templates import TEMPLATES

pytest.importorskip("transformers")

CONVERSATIONS = {
    "system": [cases.s("sysTEXT"), cases.u("userTEXT")],
    "two_systems": [cases.s("sysTEXT"), cases.s("moreTEXT"), cases.u("userTEXT")],
    "developer": [{"role": "developer", "content": "sysTEXT"}, cases.u("userTEXT")],
    "turns": [cases.s("sysTEXT"), cases.u("userTEXT"), cases.a("answerTEXT"), cases.u("againTEXT")],
    "parts": [cases.u([{"type": "text", "text": "oneTEXT"}, {"type": "text", "text": "twoTEXT"}])],
    "calls": [cases.u("userTEXT"), cases.a("", tool_calls=[cases.call("get_weather", {"city": "cityTEXT"}, "call00001")]),
              cases.t("resultTEXT", "call00001"), cases.a("answerTEXT"), cases.u("againTEXT")],
    "tool_parts": [cases.u("userTEXT"), cases.a("", tool_calls=[cases.call("get_weather", {"city": "cityTEXT"}, "call00001")]),
                   cases.t([{"type": "text", "text": "resultTEXT"}], "call00001")],
}


def joined(messages):
    return "".join(p["text"] for m in messages for p in ([{"text": m}] if isinstance(m, str) else m))


def shapes(messages):
    """The messages as templates may want them."""
    def with_systems(how):
        out = copy.deepcopy(messages)
        n = next((i for i, m in enumerate(out) if m["role"] not in ("system", "developer")), len(out))
        if how != "as they are":
            for m in out:
                m["role"] = "system" if m["role"] == "developer" else m["role"]
        if n and how in ("one", "none"):
            text = "\n\n".join(m["content"] for m in out[:n])
            if how == "one":
                return [cases.s(text)] + out[n:]
            return [{**out[n], "content": text + "\n\n" + out[n]["content"]}] + out[n + 1:]
        return out

    for systems, lists, objects in itertools.product(("as they are", "renamed", "one", "none"), ("strings", "lists", "given"), (True, False)):
        out = with_systems(systems)
        for m in out:
            if lists == "strings" or (lists == "given" and m["role"] != "user"):
                m["content"] = m["content"] if isinstance(m["content"], str) else joined([m["content"]])
            elif lists == "lists":
                m["content"] = [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"]
            for call in m.get("tool_calls", []):
                if not objects:
                    call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
            if "reasoning_content" in m:
                m["thinking"] = m["reasoning_content"]
        yield out


@pytest.fixture(scope="module")
def chat(models):
    c = Chat(models("default"))
    yield c
    c.close()


def texts(messages):
    return [w for w in ("sysTEXT", "moreTEXT", "userTEXT", "answerTEXT", "againTEXT", "oneTEXT", "twoTEXT", "cityTEXT", "resultTEXT")
            if w in json.dumps(messages)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_messages_come_in_a_shape_that_the_template_knows(name, models, chat):
    template = (models("llama_templates") / f"{name}.jinja").read_text()
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>"}
    kwargs = {"date_string": "today", "datetime": "today", "functions": "[]"}
    n = 0
    for case, messages in CONVERSATIONS.items():
        tools = [cases.SIMPLE] if "call" in case or "tool" in case else None
        known = [reference.render_chat(template, m, tools, add_generation_prompt=True, **tokens, **kwargs) for m in shapes(messages)]
        known = [t for t in known if isinstance(t, str)]
        complete = [t for t in known if all(w in t for w in texts(messages))]
        if not complete:
            continue
        got = chat.ask(messages, tools, template=template, kwargs=kwargs)
        assert "error" not in got, f"{case}: {got}"
        assert got["text"] in known, f"{case}: {got['text']!r}"
        assert all(w in got["text"] for w in texts(messages)), f"{case}: {got['text']!r}"
        n += 1
    assert n > 1
