"""Answers in every format: what comes of them, and that it is the same for every cutting."""
import json

import pytest

import output_cases
from test_output_llama import parse  # noqa: F401 - the fixture


def question_of(case):
    question = {"tools": output_cases.TOOLS, **case}
    if question["tools"] is None:
        del question["tools"]
    return {k: question[k] for k in ("format", "text", "begins", "tools", "raw", "any_tool") if k in question}


@pytest.mark.parametrize("case", output_cases.CASES, ids=lambda c: c["name"])
def test_an_answer_is_read(parse, case):  # noqa: F811
    got = parse(**question_of(case), cuts=1000)
    assert "error" not in got, got["error"]
    assert "cut" not in got, "depends on the cutting"
    assert (got["content"], got["reasoning"]) == (case["content"], case["reasoning"])
    assert [c["name"] for c in got["calls"]] == [c[0] for c in case["calls"]]
    for (name, arguments, id), call in zip(case["calls"], got["calls"]):
        assert call["is_cut"] == case.get("cut", False)
        assert id in (None, call["id"]) and call["id"]
        try:
            assert json.loads(call["arguments"]) == json.loads(arguments)
        except ValueError:
            assert call["arguments"] == arguments


def test_every_format_has_a_case(parse, formats):  # noqa: F811
    here = {c["format"] for c in output_cases.CASES}
    elsewhere = {"generic", "nemotron-v2", "command-r", "deepseek-v3.1", "deepseek-v4", "firefunction", "functionary-v3.1",
                 "gigachat-3", "gigachat-3.1", "apriel", "hunyuan-3", "kimi-k3"}  # llama.cpp's cases and templates
    assert formats - here == elsewhere - here


@pytest.fixture
def formats(parse):  # noqa: F811
    return set(parse(list_formats=True)["formats"])


def test_ids_are_made_up_once_for_each_call(parse):  # noqa: F811
    text = '<tool_call>{"name": "g"}</tool_call>' * 40
    ids = [c["id"] for c in parse(format="hermes", tools=output_cases.TOOLS, text=text)["calls"]]
    assert len(set(ids)) == 40 and all(i.startswith("call_") and len(i) == 29 for i in ids)
    nine = [c["id"] for c in parse(format="mistral-v11", tools=output_cases.TOOLS, text="[TOOL_CALLS]g[ARGS]{}")["calls"]]
    assert len(nine[0]) == 9 and nine[0].isalnum()


def test_time_is_linear_where_a_name_comes_late(parse):  # noqa: F811
    long = json.dumps({"s": "x" * 400000})
    text = f'<tool_call>{{"arguments": {long}, "name": "f"}}</tool_call>'
    (call,) = parse(format="hermes", tools=output_cases.TOOLS, text=text, cuts=0)["calls"]
    assert call["arguments"] == long


def test_control_tokens_of_the_vocabulary_are_left_out(parse, models):  # noqa: F811
    path = str(models("llama_vocab") / "ggml-vocab-llama-bpe.gguf")
    text = "Hello<|reserved_special_token_5|> wor<|reserved_special_token_50|>ld<|eot_id|> <|x|> <|begin_of"
    got = parse(format="llama-3", text=text, tokenizer=path, cuts=300)
    assert "cut" not in got and got["content"] == "Hello world <|x|> <|begin_of"


# The format that each classic template's models answer in; the others have no calls of their own.
CLASSICS = {"phi4": "phi-4", "llama3": "llama-3", "llama3.1": "llama-3", "gemma": "gemma-3", "deepseek-v4": "deepseek-v4",
            "deepseek-v3.2": "deepseek-v3.2", "mistral-v15": "mistral-v11", "mistral-v13": "mistral-v11", "mistral-v11": "mistral-v11",
            "mistral-v7": "mistral-v3", "mistral-v3": "mistral-v3", "mistral-v3-tekken": "mistral-v3", "harmony": "gpt-oss"}


def test_classic_templates_have_their_formats(parse):  # noqa: F811
    for name in parse(list_formats=True)["classics"]:
        assert parse(classic=name, messages=[{"role": "user", "content": "x"}])["format"] == CLASSICS.get(name, "generic"), name
