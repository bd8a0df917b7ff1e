"""Thinking: what is found out about templates, and that what is asked for is what they are told."""
import pytest

from test_output_llama import parse  # noqa: F401 - the fixture

USER = [{"role": "user", "content": "hi"}]

# template: (the variable that switches, for effort, for a budget, how the answer begins when off, on, left alone).
# From the templates' own text.
KNOWN = {
    "Qwen-Qwen3-0.6B": ("enable_thinking", None, None, "content", "answer", "answer"),
    "Qwen3.5-4B": ("enable_thinking", None, None, "content", "thought", "thought"),
    "Qwen-QwQ-32B": ("enable_thinking", None, None, "content", "thought", "content"),
    "GLM-4.6": ("enable_thinking", None, None, "content", "answer", "answer"),
    "GLM-4.7-Flash": ("enable_thinking", None, None, "content", "thought", "thought"),
    "HuggingFaceTB-SmolLM3-3B": ("enable_thinking", None, None, "content", "answer", "answer"),
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": ("enable_thinking", None, None, "content", "thought", "thought"),
    "ibm-granite-granite-3.3-2B-Instruct": ("thinking", None, None, "answer", "answer", "answer"),
    "Cohere2MoE": ("reasoning", None, None, "content", "thought", "thought"),
    "Kimi-K3": ("thinking", "thinking_effort", None, "content", "thought", "thought"),
    "ByteDance-Seed-OSS": (None, None, "thinking_budget", "answer", "answer", "answer"),
    "openai-gpt-oss-120b": (None, "reasoning_effort", None, "answer", "answer", "answer"),
    "tencent-Hy3": ("reasoning_effort", "reasoning_effort", None, "content", "thought", "content"),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": (None, None, None, "thought", "thought", "thought"),
    "MiniMax-M2": (None, None, None, "thought", "thought", "thought"),
    "Qwen-Qwen2.5-7B-Instruct": (None, None, None, "answer", "answer", "answer"),
    "meta-llama-Llama-3.1-8B-Instruct": (None, None, None, "answer", "answer", "answer"),
}
THOUGHTLESS = {"Qwen-Qwen2.5-7B-Instruct", "meta-llama-Llama-3.1-8B-Instruct"}


def ask(parse, models, name, think, **more):  # noqa: F811
    text = (models("llama_templates") / f"{name}.jinja").read_text()
    got = parse(template=text, messages=USER, think=think, **more)
    assert "error" not in got, got["error"]
    return got


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_what_a_template_understands_is_found(parse, models, name):  # noqa: F811
    switch, effort, budget, *begins = KNOWN[name]
    got = {word: ask(parse, models, name, word) for word in ("off", "on", "auto")}
    found = got["off"]["thinking"]
    assert (found["switch"], found["effort"], found["budget"]) == (switch, effort, budget)
    assert [got[word]["begins"] for word in ("off", "on", "auto")] == begins
    assert found["thinks"] == (name not in THOUGHTLESS)
    assert got["on"]["thinking"]["ignores_on"] == (name in THOUGHTLESS)
    # Off is kept in one of the three ways, or there is nothing to turn off.
    assert switch or found["word"] or found["must_skip"] or name in THOUGHTLESS


def test_a_thought_that_cannot_be_turned_off_is_ended(parse, models):  # noqa: F811
    assert ask(parse, models, "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "off")["skip"] == "\n</think>\n\n"
    assert ask(parse, models, "ByteDance-Seed-OSS", "off")["skip"] == "<seed:think></seed:think>"
    assert ask(parse, models, "openai-gpt-oss-120b", "off")["skip"] == "<|channel|>final<|message|>"


# How a thought ends that is cut short. Qwen's words are those of its documentation, Seed's of its model card; the line breaks
# are the templates'.
CUTS = {
    "Qwen-Qwen3-0.6B": "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now."
                       "\n</think>\n\n",
    "ByteDance-Seed-OSS": "\n<seed:cot_budget_reflect>I have exhausted my token budget, and now I will start answering the question."
                          "</seed:cot_budget_reflect>\n</seed:think>",
    "openai-gpt-oss-120b": "<|end|><|start|>assistant<|channel|>final<|message|>",
    "HuggingFaceTB-SmolLM3-3B": "\n</think>\n",
    "GLM-4.6": "</think>",
    "deepseek-ai-DeepSeek-V3.1": "</think>",
    "Qwen3.5-4B": "\n</think>\n\n",
    "Kimi-K3": "<|close|>think<|sep|><|open|>response<|sep|>",
}


@pytest.mark.parametrize("name", sorted(CUTS))
def test_a_thought_is_cut_as_the_family_ends_it(parse, models, name):  # noqa: F811
    assert ask(parse, models, name, "on")["cut"] == CUTS[name]


def test_what_follows_a_cut_thought_is_content_in_every_family(parse, models):  # noqa: F811
    n_cut = 0
    for path in sorted(models("llama_templates").glob("*.jinja")):
        got = parse(template=path.read_text(), messages=USER, think="on")
        if "error" in got or not got["cut"]:
            continue
        opened = {"answer": "<|channel|>analysis<|message|>" if "<|channel|>final" in got["cut"] else None, "thought": ""}[got["begins"]] \
            if got["begins"] != "content" else None
        if opened is None:
            continue
        read = parse(template=path.read_text(), messages=USER, think="on", text=opened + "So far" + got["cut"] + "the answer")
        assert read["reasoning"].startswith("So far") and "answer" not in read["reasoning"], path.stem
        assert read["content"] == "the answer" and "think" not in read["reasoning"].split("thinking directly")[0], path.stem
        n_cut += 1
    assert n_cut >= 12


def test_effort_and_budget_reach_the_template(parse, models):  # noqa: F811
    for word in ("low", "medium", "high"):
        assert f"Reasoning: {word}" in ask(parse, models, "openai-gpt-oss-120b", word)["prompt"]
    assert "1024" in ask(parse, models, "ByteDance-Seed-OSS", "on", budget=1024)["prompt"]
    assert ask(parse, models, "Qwen-Qwen3-0.6B", "low")["thinking"]["ignores_effort"]


def test_the_callers_own_variables_count(parse, models):  # noqa: F811
    got = ask(parse, models, "Qwen-Qwen3-0.6B", "on", kwargs={"enable_thinking": False})
    assert got["begins"] == "content"


def test_what_history_keeps_is_found(parse, models):  # noqa: F811
    kept = {name: ask(parse, models, name, "auto")["thinking"] for name in
            ("Qwen-Qwen3-0.6B", "Kimi-K3", "openai-gpt-oss-120b", "Spark2.5", "Qwen-Qwen2.5-7B-Instruct")}
    assert {n: (k["keeps_earlier"], k["keeps_current"]) for n, k in kept.items()} == {
        "Qwen-Qwen3-0.6B": (False, True), "Kimi-K3": (True, True), "openai-gpt-oss-120b": (False, True),
        "Spark2.5": (True, True), "Qwen-Qwen2.5-7B-Instruct": (False, False)}
