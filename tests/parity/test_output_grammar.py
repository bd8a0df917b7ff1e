"""Grammars of calls: what a family's template writes for a call is in the grammar that its format makes of the tools, and
what is no such call is not."""
import pytest

import test_output_templates as templates
from test_output_llama import parse  # noqa: F401 - the fixture

grammar_probe = pytest.importorskip("grammar_probe")

AUTO, REQUIRED, NAMED = 0, 2, 3

# Templates that write calls otherwise than their models are asked to: why.
OTHERWISE = {
    "GLM-4.7-Flash": "history closes a thought that nothing opened",
    "Spark2.5": "history closes a thought that nothing opened",
    "deepseek-ai-DeepSeek-V3.2": "history closes a thought that nothing opened",
    "openai-gpt-oss-120b": "history names the recipient before the channel",
}
PYTHON_LISTS = {"ByteDance-Seed-OSS", "openbmb-MiniCPM5-1B", "LFM2.5-8B-A1B"}  # printed by str(), not as JSON


def calls_of(parse, path):  # noqa: F811
    """(the answer's case, the number of its calls) for each message that is calls alone."""
    template = path.read_text()
    for message in templates.messages(template):
        if message["content"] or not message.get("tool_calls"):
            continue
        if path.stem in PYTHON_LISTS and '"tags"' in message["tool_calls"][0]["function"]["arguments"]:
            continue
        case = templates.Case(parse, {"template": template}, message, {})
        if not case.error and "They want" not in case.answer:
            yield case, len(message["tool_calls"])


@pytest.fixture(scope="module")
def probe():
    try:
        return grammar_probe.Probe()
    except FileNotFoundError:
        pytest.skip("probe_grammar is not built")


def ask(parse, case, **how):  # noqa: F811
    begins = ["answer", "thought", "content"].index(case.begins)
    got = parse(format=case.format, tools=templates.TOOLS, begins=begins, grammar=how)
    assert "error" not in got, got["error"]
    return got


def grammar_of(parse, case, **how):  # noqa: F811
    return ask(parse, case, **how)["grammar"]


def test_what_templates_write_is_in_the_grammar(parse, models, probe):  # noqa: F811
    bad, n = [], 0
    for path in sorted(models("llama_templates").glob("*.jinja")):
        if path.stem in templates.SILENT | templates.WITHOUT_A_ROW or path.stem in OTHERWISE:
            continue
        for case, n_call in calls_of(parse, path):
            if path.stem == "LFM2.5-8B-A1B" and "code=" in case.answer:
                continue  # quoted without escaping
            probe.compile("lark", grammar_of(parse, case, choice=REQUIRED, parallel=True))
            n += 1
            at = probe.test(case.answer)
            if at != 1:
                bad.append(f"{path.stem} ({case.begins}) {case.answer!r}: {at}")
            if n_call == 2 and "run_code" in case.answer:
                probe.compile("lark", grammar_of(parse, case, choice=REQUIRED))
                if probe.test(case.answer) == 1:
                    bad.append(f"{path.stem}: two calls where one may come")
    assert not bad, f"{len(bad)} of {n}:\n" + "\n".join(bad)
    assert n > 300


def test_another_tool_or_text_is_not_in_the_grammar(parse, models, probe):  # noqa: F811
    for path in sorted(models("llama_templates").glob("*.jinja")):
        if path.stem in templates.SILENT | templates.WITHOUT_A_ROW or path.stem in OTHERWISE:
            continue
        for case, n_call in calls_of(parse, path):
            if n_call != 1 or "run_code" not in case.answer or (path.stem == "LFM2.5-8B-A1B"):
                continue
            probe.compile("lark", grammar_of(parse, case, choice=NAMED, name="get_weather"))
            assert probe.test(case.answer) < 0, f"{path.stem}: another tool's call"
            probe.compile("lark", grammar_of(parse, case, choice=NAMED, name="run_code"))
            assert probe.test(case.answer) == 1, path.stem
            if case.begins != "thought":
                assert probe.test("Sure, here it is.") < 0, f"{path.stem}: text where a call must come"


def test_where_the_model_decides_the_grammar_begins_with_the_trigger(parse, models, probe):  # noqa: F811
    triggers = set()
    for path in sorted(models("llama_templates").glob("*.jinja")):
        if path.stem in templates.SILENT | templates.WITHOUT_A_ROW or path.stem in OTHERWISE:
            continue
        case = next(calls_of(parse, path))[0]
        got = ask(parse, case, choice=AUTO, parallel=True)
        if got["trigger"] is None or got["trigger"] not in case.answer:
            assert got["trigger"] in (None, ">>>"), path.stem  # bare calls; or the prompt has it
            continue
        triggers.add(got["trigger"])
        probe.compile("lark", got["grammar"])
        assert probe.test(case.answer[case.answer.index(got["trigger"]) :]) == 1, path.stem
        assert probe.test(got["trigger"]) == 0, f"{path.stem}: the trigger is a beginning"
    assert len(triggers) > 15


def test_marks_that_are_tokens_are_named_as_such(parse, models, probe):  # noqa: F811
    path = str(models("llama_vocab") / "ggml-vocab-gemma-4.gguf")
    got = parse(format="gemma-4", tools=templates.TOOLS, begins=2, tokenizer=path, grammar={"choice": REQUIRED})
    assert "<|tool_call>" not in got["grammar"] and "<[48]>" in got["grammar"]
    probe.vocab(path)
    probe.compile("lark", got["grammar"])
    n, allowed, may_end = probe.masks('<|tool_call>call:run_code{code:<|"|>x = {1: [2]}<|"|>}<tool_call|>')[:3]
    assert n == allowed and may_end
    n, allowed, _ = probe.masks("Sure, here it is.")[:3]
    assert allowed < n
