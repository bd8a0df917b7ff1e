"""What a client writes never becomes a control token, nor one of the family's markers."""
import collections

import pytest

from chat_probe import Chat
from test_tokenizers import gguf_bytes, gguf_fields

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


def special_tokens(path, source):
    """Control tokens of a GGUF, and added ones that the template writes or that mark thoughts and calls."""
    words = [w.decode() for w in gguf_bytes(path, "tokens")]
    markers = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
    return [w for w, kind in zip(words, gguf_fields(path)("token_type"))
            if kind == 3 or (kind == 4 and (w in markers or (w in source and any(c.isalpha() for c in w))))]


@pytest.mark.parametrize("vocab, name", PAIRS)
def test_special_tokens_of_the_vocabulary_stay_text_wherever_a_client_writes_them(vocab, name, models):
    path = models("llama_vocab") / f"ggml-vocab-{vocab}.gguf"
    source = (models("llama_templates") / f"{name}.jinja").read_text()
    special = special_tokens(path, source)
    assert len(special) > 1
    words = [w.decode() for w in gguf_bytes(path, "tokens")]
    ids = {i for i, w in enumerate(words) if w in set(special)}
    chat = Chat(path)

    def count(word, with_tools):
        messages, tools = conversation(word)
        if not with_tools:
            messages, tools = [m for m in messages if m["role"] in ("user", "system")][:2], None
        got = chat.ask(messages, tools, template=source)
        return collections.Counter(words[i] for i in got["ids"] if i in ids) if "ids" in got else None

    with_tools = count("x", True) is not None
    plain = count("x", with_tools)
    assert plain is not None and sum(plain.values()) > 1, "the template writes no control tokens of this vocabulary"
    for word in dict.fromkeys(special):
        assert count(word, with_tools) == plain, word
        assert plain[words[chat_bos(path)]] <= 1
    chat.close()


def chat_bos(path):
    return gguf_fields(path)("bos_token_id", 0)


def test_what_a_client_writes_is_tokenized_as_any_text_but_for_control_tokens(models):
    """Runs of spaces and other ordinary added tokens match in a client's text."""
    path = models("llama_vocab") / "ggml-vocab-gpt-neox.gguf"
    words = [w.decode() for w in gguf_bytes(path, "tokens")]
    added = [i for i, kind in enumerate(gguf_fields(path)("token_type")) if kind == 4 and words[i].strip() == ""]
    assert len(added) > 10
    chat = Chat(path)
    for i in added:
        text = f"a{words[i]}b<|endoftext|>"
        ids = chat.ask([{"role": "user", "content": text}], template="{% for m in messages %}{{ m.content }}{% endfor %}")["ids"]
        assert i in ids and words.index("<|endoftext|>") not in ids, repr(text)
    chat.close()
