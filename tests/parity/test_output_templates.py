"""What a template writes for an assistant's message is read back from it: the same thoughts, content and calls, with the
arguments of the same types. The template is its family's own account of how its models answer."""
import json
import os
import re

import pytest

from test_output_llama import parse  # noqa: F401 - the fixture

USER = {"role": "user", "content": "What is it like?"}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"},
                       "limit": {"type": "number"}, "tags": {"type": "array", "items": {"type": "string"}},
                       "where": {"type": "object"}, "note": {"type": ["string", "null"]}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "run_code", "description": "Runs.", "parameters": {
        "type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}}},
]

ARGUMENTS = [
    ("get_weather", {"city": "Paris"}),
    ("get_weather", {"city": "São Paulo \u2014 日本", "days": 3, "exact": True, "limit": -2.5}),
    ("get_weather", {"city": "42", "days": 0, "exact": False, "note": None}),
    ("get_weather", {"city": "x", "tags": ["a", "b c", "d'e"], "where": {"lat": 1.5, "deep": {"list": [1, [2, {}]], "no": None}}}),
    ("run_code", {"code": "def f(x):\n    return \"x\" + 'y'\n\nprint(f(\"\\\\n\"))"}),
    ("run_code", {"code": "if a < b and b > c:\n\tprint('<b>{\"k\": [1, 2]}</b>')"}),
    ("run_code", {"code": ""}),
]

# What an engine's end of generation takes away.
ENDS = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>", "<|end|>", "<|call|>", "<|return|>", "<end_of_turn>", "<turn|>", "[EOS]",
        "<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "<seed:eos>", "[e~[", "<|role_end|>", "<|endoftext|>", "<|eot|>",
        "<SPECIAL_12>", "<|assistant_end|>", "<|end_of_text|>", "<|user|>", "<|observation|>", "<|end_of_role|>", "<|eom|>",
        "<sep>", "<｜hy_eos:opensource｜>", "<|message_sep|>\n\n", "<|tool_response>", "<|endofassistant|>", "<|end_of_msg|>", "[|endofturn|]",
        "</assistant>", "<｜Assistant｜>",
        "<|START_THINKING|><|END_THINKING|>", "<|CHATBOT_TOKEN|>", "<|START_OF_TURN_TOKEN|>", "<end_of_sentence>", "<|python_end|>", "<|end▁of▁sentence|>"]


def call(i, name, arguments, template):
    id = f"functions.{name}:{i}" if "<|tool_call_argument_begin|>" in template else f"{i + 1:09d}"
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}}


def without_end(text):
    while True:
        short = text.rstrip()
        for end in ENDS:
            short = short.removesuffix(end.strip())
        if short == text:
            return text
        text = short


THOUGHT_OPENS = ("<think>", "<seed:think>", "<think:opensource>", "Here are my reasoning steps:", "<|START_THINKING|>", "[THINK]",
                 "<|channel>thought", "<|open|>think<|sep|>", "<|think|>")


def before_tag(text, n):
    """n, or where the tag begins that stands around it."""
    at = max(text.rfind("<", 0, n), text.rfind("[", 0, n))
    inside = re.match(r"[<\[][/|｜\w:▁-]*", text[at:])
    return at if at >= 0 and inside and at + inside.end() >= n and text[n - 1] not in ">]" else n


class Case:
    """A message, and what is left of it in the text that the template wrote."""

    def __init__(self, parse, template, message, kwargs):
        self.error = None
        base = {**template, "tools": TOOLS, "kwargs": kwargs}
        before = parse(**base, messages=[USER])
        whole = parse(**base, messages=[USER, message], no_answer=True)
        if "error" in before or "error" in whole:
            self.error = before.get("error") or whole.get("error")
            return
        self.format, self.prompt, self.text = before["format"], before.get("prompt", ""), whole.get("prompt", "")
        n = len(os.path.commonprefix([self.prompt, self.text]))
        self.begins = before["begins"]
        if n < len(self.prompt):  # history is written otherwise than a prompt opens an answer
            n = before_tag(self.text, n)
            self.begins = "thought" if self.text[:n].rstrip().endswith(THOUGHT_OPENS) else "answer"
        self.answer = without_end(self.text[n:])

    def parse(self, parse):
        begins = ["answer", "thought", "content"].index(self.begins)
        return parse(format=self.format, tools=TOOLS, text=self.answer, begins=begins, cuts=10)


def messages(template):
    for name, arguments in ARGUMENTS:
        yield {"role": "assistant", "content": "", "tool_calls": [call(0, name, arguments, template)]}
    one = [call(0, *ARGUMENTS[1], template)]
    two = [call(0, *ARGUMENTS[0], template), call(1, *ARGUMENTS[4], template)]
    yield {"role": "assistant", "content": "Let me look.", "tool_calls": one}
    yield {"role": "assistant", "content": "", "tool_calls": two}
    yield {"role": "assistant", "content": "", "reasoning_content": "They want\n\nweather.", "tool_calls": one}
    yield {"role": "assistant", "content": "Fine.\n\nAnd [mild](x) {warm}.", "reasoning_content": "They want\n\nweather."}
    yield {"role": "assistant", "content": "Fine.\n\n1 < 2 <b>", "reasoning_content": ""}


def wanted_of(message, text):
    """What the template kept of the message."""
    kept = {"content": message["content"], "reasoning": message.get("reasoning_content", ""), "calls": message.get("tool_calls", [])}
    for key in ("content", "reasoning"):
        if kept[key] and kept[key].split("\n")[0] not in text:
            kept[key] = ""
    kept["calls"] = [c for c in kept["calls"] if c["function"]["name"] in text]
    return kept


def difference(wanted, got):
    if "error" in got or "cut" in got:
        return got.get("error") or f"depends on the cutting: {got['cut']}"
    for key in ("content", "reasoning"):
        if wanted[key].strip() != got[key].strip():
            return f"{key} {got[key]!r}"
    if [c["function"]["name"] for c in wanted["calls"]] != [c["name"] for c in got["calls"]]:
        return f"calls {got['calls']}"
    for w, g in zip(wanted["calls"], got["calls"]):
        try:
            same = json.loads(w["function"]["arguments"]) == json.loads(g["arguments"])
        except ValueError:
            same = False
        if not same or g["is_cut"]:
            return f"arguments {g['arguments']!r} instead of {w['function']['arguments']!r}"
    return None


# Templates that write no calls of an assistant, or cannot be rendered with these conversations.
SILENT = {
    "Kimi-K2-Instruct", "Kimi-K2-Thinking",
    "CohereForAI-c4ai-command-r-plus-tool_use", "HuggingFaceTB-SmolLM3-3B", "LFM2-8B-A1B", "LFM2.5-Instruct",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "fireworks-ai-llama-3-firefunction-v2", "google-gemma-2-2b-it",
    "ibm-granite-granite-3.3-2B-Instruct", "llama-cpp-deepseek-r1", "llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct",
}
WITHOUT_A_ROW = {"MiniMax-M3", "muse-glimmer"}

# What a template writes otherwise than its models do: (template, part of its text) and why.
EXCEPTIONS = {
    ("Apriel-1.6-15b-Thinker-fixed", "They want"): "thoughts in history lack what opens them",
    ("LFM2.5-8B-A1B", "code='"): "strings are quoted without escaping what is in them",
    ("NVIDIA-Nemotron-Nano-v2", "<think>\nLet me"): "history has an opened thought before content",
    ("NVIDIA-Nemotron-Nano-v2", "<think>\nFine."): "history has an opened thought before content",
    ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "Let me look."): "content comes behind the calls, in a turn of its own",
    ("openai-gpt-oss-120b", "Let me look."): "content before a call is written as a thought",
}


def check_template(parse, template):
    """`template` is {"template": text} or {"classic": name}.
    -> (how many messages with calls came back, [(the text, what went wrong)])."""
    n, failed = 0, []
    for message in messages(template.get("template", "")):
        for kwargs in ({}, {"enable_thinking": True, "thinking": True}, {"enable_thinking": False, "thinking": False}):
            case = Case(parse, template, message, kwargs)
            if case.error:
                continue
            wanted = wanted_of(message, case.answer)
            bad = difference(wanted, case.parse(parse))
            n += not bad and bool(wanted["calls"])
            if bad:
                failed.append((case.text, f"{case.format} ({case.begins}) {case.answer!r}: {bad}"))
    return n, failed


# Formats whose authors publish an encoder in code; tests/parity/test_encoders.py and others hold these templates to them.
ENCODERS = {"harmony", "deepseek-v3.2", "deepseek-v4", "mistral-v3", "mistral-v3-tekken", "mistral-v7",
            "mistral-v11", "mistral-v13", "mistral-v15"}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_what_encoders_write_is_read_back(parse, name):  # noqa: F811
    n, failed = check_template(parse, {"classic": name})
    assert not failed, "\n".join(what for _, what in failed)
    assert n > 20


def test_what_templates_write_is_read_back(parse, models):  # noqa: F811
    bad, silent, excused = [], set(), set()
    for path in sorted(models("llama_templates").glob("*.jinja")):
        name = path.stem
        if name in WITHOUT_A_ROW:
            continue
        n, failed = check_template(parse, {"template": path.read_text()})
        if n == 0:
            silent.add(name)
        for text, what in failed:
            why = [e for e in EXCEPTIONS if e[0] == name and e[1] in text]
            excused.update(why)
            if not why:
                bad.append(f"{name}: {what}")
    assert not bad, "\n".join(bad)
    assert silent == SILENT
    assert excused == set(EXCEPTIONS), "an exception is none any more"
