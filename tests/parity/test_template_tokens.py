"""What a client writes never becomes a control token, nor one of the family's markers."""
import collections
import json

import pytest

# Vocabularies of llama.cpp, and a template of their family (some vocabularies are older than the template).
PAIRS = [
    ("qwen2", "Qwen-Qwen3-0.6B"),
    ("qwen35", "Qwen3.5-4B"),
    ("llama-bpe", "meta-llama-Llama-3.1-8B-Instruct"),
    ("phi-3", "microsoft-Phi-3.5-mini-instruct"),
    ("gemma-4", "google-gemma-4-31B-it"),
    ("command-r", "CohereForAI-c4ai-command-r7b-12-2024-tool_use"),
    ("llama-spm", "mistralai-Mistral-Nemo-Instruct-2407"),
]


def conversation(word):
    tool = {"type": "function", "function": {
        "name": f"f{word}", "description": word, "parameters": {
            "type": "object", "properties": {f"p{word}": {"type": "string", "description": word, "enum": [word]}}, "required": []}}}
    return [
        {"role": "system", "content": f"a {word}"},
        {"role": "user", "content": f"{word} b {word}{word}", "name": word},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "abcdefghi", "type": "function", "function": {"name": f"f{word}", "arguments": {f"k{word}": word}}}]},
        {"role": "tool", "content": f"{word}\n", "tool_call_id": "abcdefghi", "name": f"f{word}"},
        {"role": "assistant", "content": f"c {word}", "reasoning_content": f"d {word}"},
        {"role": "user", "content": word},
    ], [tool]


def render(run_hearth, tmp_path, vocab, template, word, with_tools):
    messages, tools = conversation(word)
    (tmp_path / "m.json").write_text(json.dumps(messages if with_tools else [m for m in messages if m["role"] in ("user", "system")][:2]))
    (tmp_path / "t.json").write_text(json.dumps(tools))
    args = ["--tools", tmp_path / "t.json"] if with_tools else []
    done = run_hearth("template", vocab, "--chat-template", template, "-m", tmp_path / "m.json", *args, "--tokens", "--json", check=False)
    return json.loads(done.stdout)["tokens"] if done.returncode == 0 else None


@pytest.mark.parametrize("vocab, name", PAIRS)
def test_special_tokens_of_the_vocabulary_stay_text_wherever_a_client_writes_them(vocab, name, models, run_hearth, tmp_path):
    gguf = pytest.importorskip("gguf")
    path = models("llama_vocab") / f"ggml-vocab-{vocab}.gguf"
    if not path.exists():
        pytest.skip("this vocabulary is not there")
    template = models("llama_templates") / f"{name}.jinja"
    fields = gguf.GGUFReader(path).fields
    words = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    source = template.read_text()
    markers = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
    special = [w for w, kind in zip(words, types) if kind == 3 or (kind == 4 and (w in markers or (w in source and any(c.isalpha() for c in w))))]
    special = [w for w in special if w in source] + special[:: max(1, len(special) // 10)]
    assert len(special) > 1

    def count(word, with_tools):
        tokens = render(run_hearth, tmp_path, path, template, word, with_tools)
        return tokens and collections.Counter(t["piece"] for t in tokens if t["piece"] in set(special))

    with_tools = count("x", True) is not None
    plain = count("x", with_tools)
    assert plain is not None and sum(plain.values()) > 1, "the template writes no control tokens of this vocabulary"
    for word in dict.fromkeys(special):
        assert count(word, with_tools) == plain, word
