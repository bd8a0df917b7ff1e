"""Answers against llama.cpp's own cases for its parsers: the same thoughts, content and calls, and the same whatever the
cutting. Whitespace at either end of a text does not count, as it does not there."""
import json
import os
import pathlib
import subprocess

import pytest

import llama_chat_cases

USER = {"role": "user", "content": "Hey there!"}

# Templates that cannot be rendered without tools, or want variables of their own: the format alone is asked for.
UNRENDERED = {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
              "CohereForAI-c4ai-command-r-plus-tool_use": "command-r", "fireworks-ai-llama-3-firefunction-v2": "firefunction",
              "llama-cpp-deepseek-r1": "deepseek-r1"}

# Cases that come out otherwise here: (template, part of the text, asks for raw thoughts) and why.
EXCEPTIONS = {
    ("Qwen3.5-4B", "<think>\n\n</think>", False): "an opening tag that the model repeats is no thought",
    ("inclusionai-ling-3.0-flash", "I need to check the time first.", True): "raw thoughts have their opening tag",
    ("Kimi-K3", "<|open|>response", True): "raw thoughts have their tags",
    ("Apriel-1.6-15b-Thinker-fixed", "I'm\nthinking", False): "the sentence that opens thoughts is a tag",
    ("openai-gpt-oss-120b", "container.exec", False): "what goes to a tool that was not offered is content",
    ("openai-gpt-oss-120b", "to=python", False): "what goes to a tool that was not offered is content",
    ("mistralai-Ministral-3-14B-Reasoning-2512", "```json", False): "fences around structured output are the server's affair",
    ("meta-llama-Llama-3.1-8B-Instruct", "```json", False): "fences around structured output are the server's affair",
    ("MiniMax-M3", "", None): "a format without a row",
    ("muse-glimmer", "", None): "a format without a row",
}


@pytest.fixture(scope="session")
def parse():
    """parse(**question) -> what tests/parity/probe_output.c answers."""
    path = pathlib.Path(os.environ["HEARTH_PROBES"]) / "probe_output"
    if not path.exists():
        pytest.skip("probe_output is not built")
    probe = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(**question):
        probe.stdin.write(json.dumps(question).encode() + b"\n")
        probe.stdin.flush()
        return json.loads(probe.stdout.readline())

    yield ask
    probe.stdin.close()
    assert probe.wait() == 0, "memory was left"


def message_of(m):
    out = {"role": m["role"], "content": m["content"]}
    if m["reasoning"]:
        out["reasoning_content"] = m["reasoning"]
    if m["calls"]:
        out["tool_calls"] = [{"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
                             for name, arguments, id in m["calls"]]
    for key in ("tool_call_id", "tool_name"):
        if m.get(key):
            out["name" if key == "tool_name" else key] = m[key]
    return out


def question_of(case, models):
    name = pathlib.PurePosixPath(case["template"]).name
    question = {
        "template": (models("llama_templates") / name).read_text(),
        "messages": [message_of(m) for m in case.get("messages", [])] or [USER],
        "kwargs": {"enable_thinking": case.get("enable_thinking", True)},
        "text": case["test"],
        "raw": case.get("reasoning_format", "COMMON_REASONING_FORMAT_NONE") == "COMMON_REASONING_FORMAT_NONE",
    }
    if case.get("tools"):
        question["tools"] = case["tools"]
    if name_of(case) in UNRENDERED:
        del question["template"], question["messages"], question["kwargs"]
        question["format"] = UNRENDERED[name_of(case)]
        question["begins"] = int(question["format"] == "deepseek-r1")  # its template opens a thought
    how = case.get("continue_final_message")
    if how:  # the caller knows what it left open
        if "template" in question:
            question["messages"] = [USER]
        question["begins"] = 1 if how.endswith("REASONING") else 2
    return question


def wanted_of(case):
    wanted = dict(case.get("expect") or llama_chat_cases.message())
    wanted["content"] = case.get("expect_content", wanted["content"])
    wanted["reasoning"] = case.get("expect_reasoning", wanted["reasoning"])
    wanted["calls"] = [tuple(c) for c in case.get("expect_tool_calls", wanted["calls"])]
    if case.get("continue_final_message"):  # what was there before is not part of the answer
        before = case["messages"][-1]
        wanted["content"] = wanted["content"].removeprefix(before["content"])
        wanted["reasoning"] = wanted["reasoning"].removeprefix(before["reasoning"])
    return wanted


def same_arguments(wanted, got, is_partial):
    if is_partial:
        return wanted.strip().startswith(got.strip()) or got.strip().startswith(wanted.strip())
    return json.loads(wanted or "{}") == json.loads(got)


def differences(case, answer):
    wanted = wanted_of(case)
    if "error" in answer:
        return answer["error"]
    if "cut" in answer:
        return f"depends on the cutting: {answer['cut']}"
    for key in ("content", "reasoning"):
        if wanted[key].strip() != answer[key].strip():
            return f"{key} {answer[key]!r} instead of {wanted[key]!r}"
    if [c[0] for c in wanted["calls"]] != [c["name"] for c in answer["calls"]]:
        return f"calls {answer['calls']} instead of {wanted['calls']}"
    for (name, arguments, *id), got in zip(wanted["calls"], answer["calls"]):
        if id and id[0] and id[0] != got["id"]:
            return f"id {got['id']} instead of {id[0]}"
        if not same_arguments(arguments, got["arguments"], case.get("is_partial")):
            return f"arguments {got['arguments']} instead of {arguments}"
    return None


def name_of(case):
    return pathlib.PurePosixPath(case["template"]).stem


def exceptions_of(case, raw):
    return [e for e in EXCEPTIONS if e[0] == name_of(case) and e[1] in case["test"] and e[2] in (None, raw)]


@pytest.fixture(scope="session")
def cases(models):
    return llama_chat_cases.read(models("llama_chat_tests") / "test-chat.cpp")


def test_every_case_of_llama_cpp_comes_out_the_same(parse, models, cases):
    failed, excused = [], set()
    for i, case in enumerate(cases):
        question = question_of(case, models)
        bad = differences(case, parse(**question, cuts=20))
        why = exceptions_of(case, question["raw"])
        excused.update(why if bad else [])
        if bad and not why:
            failed.append(f"{i} {name_of(case)}: {case['test']!r}: {bad}")
    assert not failed, f"{len(failed)} of {len(cases)}:\n" + "\n".join(failed)
    assert excused == set(EXCEPTIONS), "an exception is none any more"
