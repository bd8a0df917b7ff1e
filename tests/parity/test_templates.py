"""Chat templates against transformers' render_jinja_template: the same bytes, or an error in the same line."""
import json
import os
import pathlib
import subprocess

import pytest

import template_cases
import template_reference as reference

pytest.importorskip("transformers")
pytest.importorskip("jinja2")

TEMPLATES = [
    "Apertus-8B-Instruct", "Apriel-1.6-15b-Thinker-fixed", "Bielik-11B-v3.0-Instruct", "ByteDance-Seed-OSS", "Cohere2MoE",
    "CohereForAI-c4ai-command-r-plus-tool_use", "CohereForAI-c4ai-command-r7b-12-2024-tool_use", "GLM-4.6",
    "GLM-4.7-Flash", "GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B", "HuggingFaceTB-SmolLM3-3B", "Kimi-K2-Instruct",
    "Kimi-K2-Thinking", "Kimi-K3", "LFM2-8B-A1B", "LFM2.5-8B-A1B", "LFM2.5-Instruct", "MiMo-VL", "MiniMax-M1", "MiniMax-M2",
    "MiniMax-M3", "Mistral-Small-3.2-24B-Instruct-2506", "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "NVIDIA-Nemotron-Nano-v2",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "Qwen-QwQ-32B",
    "Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "Qwen3-Coder", "Qwen3.5-4B", "Reka-Edge", "Spark2.5", "StepFun3.5-Flash",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek-ai-DeepSeek-V3.1",
    "deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4-Flash-0731", "deepseek-ai-DeepSeek-V4",
    "fireworks-ai-llama-3-firefunction-v2", "google-gemma-2-2b-it", "google-gemma-4-31B-it-interleaved", "google-gemma-4-31B-it",
    "ibm-granite-granite-3.3-2B-Instruct", "ibm-granite-granite-4.0", "ibm-granite-granite-4.1", "inclusionai-ling-3.0-flash",
    "llama-cpp-deepseek-r1", "llama-cpp-rwkv-world", "meetkai-functionary-medium-v3.1", "meetkai-functionary-medium-v3.2",
    "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct", "meta-llama-Llama-3.3-70B-Instruct",
    "microsoft-Phi-3.5-mini-instruct", "mistralai-Ministral-3-14B-Reasoning-2512", "mistralai-Mistral-Nemo-Instruct-2407",
    "moonshotai-Kimi-K2", "muse-glimmer", "openai-gpt-oss-120b", "openbmb-MiniCPM5-1B", "poolside-Laguna-S-2.1",
    "poolside-Laguna-XS-2.1", "poolside-Laguna-XS.2", "tencent-Hy3", "unsloth-Apriel-1.5", "unsloth-mistral-Devstral-Small-2507",
    "upstage-Solar-Open-100B",
]


@pytest.fixture(scope="session")
def engine():
    """engine(template, variables) -> what tests/parity/probe_template.c answers."""
    path = pathlib.Path(os.environ["HEARTH_PROBES"]) / "probe_template"
    if not path.exists():
        pytest.skip("probe_template is not built")
    probe = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(template, variables):
        question = {"template": template, "vars": variables, "now": reference.NOW_PARTS}
        probe.stdin.write(json.dumps(question).encode() + b"\n")
        probe.stdin.flush()
        return json.loads(probe.stdout.readline())

    yield ask
    probe.stdin.close()
    assert probe.wait() == 0


def text_of(answer):
    return "".join(text for text, _ in answer["segments"])


def check(wanted, answer, what):
    if not isinstance(wanted, reference.Failure):
        assert "error" not in answer, f"{what}: {answer['error']}"
        assert text_of(answer) == wanted, what
        return
    assert "error" in answer, f"{what}: {wanted!r}, but a text came: {text_of(answer)!r}"
    if wanted.kind == "RecursionError":  # where it ends depends on the size of a stack
        assert answer["code"] == "limit", what
    elif wanted.kind != "SyntaxError":  # found by Python, in a line of the code that jinja2 made

        line = int(answer["error"].split("line ")[1].split(":")[0])
        assert line == wanted.line, f"{what}: {wanted!r}, but {answer['error']}"


def read_template(models, name):
    return (models("llama_templates") / f"{name}.jinja").read_text()


def test_every_template_of_the_folder_is_in_the_list(models):
    assert sorted(p.stem for p in models("llama_templates").glob("*.jinja")) == sorted(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_as_transformers_renders_it(name, models, engine):
    template = read_template(models, name)
    n_text = 0
    for case, messages, tools, kwargs in template_cases.cases():
        wanted = reference.render_chat(template, messages, tools, **kwargs)
        check(wanted, engine(template, reference.variables_of(messages, tools, **kwargs)), f"{name}, {case}")
        n_text += isinstance(wanted, str)
    assert n_text > 15, "the conversations hardly fit the template: the comparison says little"


def test_each_construct_behaves_as_in_jinja2(engine):
    import template_snippets

    for snippet in template_snippets.snippets():
        check(reference.render(snippet, template_snippets.VARS), engine(snippet, template_snippets.VARS), snippet)
