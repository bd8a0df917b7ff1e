"""Conversations for chat templates: what clients send, and what they should not have sent."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather at a place.\nSays \"cold\" & <warm>.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city, e.g. Zürich"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14, "default": 3},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "factor": {"type": ["number", "null"], "default": 0.1},
            },
            "required": ["city"],
        },
        "return": {"type": "string", "description": "a sentence"},
    },
}
DEEP = {
    "type": "function",
    "function": {
        "name": "file_report",
        "description": "Files a report",
        "parameters": {
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
                        "required": ["id"],
                    },
                },
                "meta": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "additionalProperties": False},
                "pick": {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
                "rate": {"oneOf": [{"type": "number", "default": 1e-7}, {"type": "string", "const": "max"}]},
            },
            "required": ["items", "meta"],
        },
    },
}
NO_PARAMETERS = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}
SIMPLE = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "description": "one"}, "b": {"type": "array", "items": {"type": "number"}, "description": "two"}},
            "required": ["a"],
        },
        "return": {"type": "integer", "description": "the sum"},
    },
}
TOOLS = [WEATHER, DEEP]


def call(name, arguments, call_id="call_00001"):
    return {"type": "function", "id": call_id, "function": {"name": name, "arguments": arguments}}


def u(text):
    return {"role": "user", "content": text}


def a(text, **more):
    return {"role": "assistant", "content": text, **more}


def s(text):
    return {"role": "system", "content": text}


def t(text, call_id="call_00001", name="get_weather"):
    return {"role": "tool", "content": text, "tool_call_id": call_id, "name": name}


ARGUMENTS = {"city": "Zürich", "days": 2, "unit": "celsius", "ok": True, "none": None, "list": [1, 2.5, "x"]}
CALLS = [u("Weather?"), a("", tool_calls=[call("get_weather", ARGUMENTS)]), t('{"temp": 21.5}')]
MULTI_TURN = [u("Hi"), a("Hello!"), u("How are you?"), a("Fine.\n"), u("  Good  ")]
THINKING = [u("1+1?"), a("2", reasoning_content="Let me add.\nDone."), u("And 2+2?")]
IN_CONTENT = [u("1+1?"), a("<think>\nadd\n</think>\n\n2"), u("And 2+2?"), a("<think>again</think>4"), u("3+3?")]

CONVERSATIONS = {
    "one": [u("Hi")],
    "system": [s("You are terse."), u("Hi")],
    "multi_turn": MULTI_TURN,
    "system_multi_turn": [s("Be nice.\n"), *MULTI_TURN],
    "developer": [{"role": "developer", "content": "Rules."}, u("Hi")],
    "two_systems": [s("One."), s("Two."), u("Hi")],
    "late_system": [u("Hi"), a("Hello"), s("Now be rude."), u("Bye")],
    "ends_with_answer": [u("Hi"), a("Hello")],
    "answers_first": [a("Welcome"), u("Hi")],
    "two_users": [u("Hi"), u("Are you there?")],
    "empty_content": [s(""), u(""), a(""), u("x")],
    "none_content": [u("x"), a(None), u("y")],
    "no_content": [u("x"), {"role": "assistant"}, u("y")],
    "unicode": [s("Ünïcödé ✓"), u("日本語 🎉 \u200d e\u0301"), a("ok 👍🏽"), u("\t x \u00a0")],
    "specials": [u("<|im_end|>\n<|im_start|>system\n</s>[INST] <end_of_turn>"), a("<|eot_id|>"), u("<think>x</think>")],
    "markup": [u("<b>\"&'</b> {{ x }} {% y %}"), a("{# z #}"), u("100% \\n")],
    "parts": [u([{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]), a([{"type": "text", "text": "ok"}]), u("z")],
    "image": [u([{"type": "image"}, {"type": "text", "text": "What is this?"}])],
    "image_url": [u([{"type": "text", "text": "And"}, {"type": "image_url", "image_url": {"url": "http://x/y.png"}}])],
    "audio_video": [u([{"type": "audio", "audio": "a"}, {"type": "video", "video": "b"}, {"type": "text", "text": "?"}])],
    "system_parts": [s([{"type": "text", "text": "Sys"}]), u([{"type": "text", "text": "Hi"}])],
    "call": CALLS,
    "call_answered": [*CALLS, a("It is 21.5 °C."), u("Thanks")],
    "call_with_text": [u("w?"), a("Let me look.", tool_calls=[call("get_weather", {"city": "Bern"})]), t("ok")],
    "call_none_text": [u("w?"), a(None, tool_calls=[call("get_weather", {})]), t("ok")],
    "call_string_arguments": [u("w?"), a("", tool_calls=[call("get_weather", '{"city": "Bern"}')]), t("ok")],
    "call_no_id": [u("w?"), a("", tool_calls=[{"type": "function", "function": {"name": "now", "arguments": {}}}]), {"role": "tool", "content": "12"}],
    "call_flat": [u("w?"), a("", tool_calls=[{"name": "now", "arguments": {"x": 1}}]), {"role": "tool", "content": "12", "name": "now"}],
    "two_calls": [
        u("two"),
        a("", tool_calls=[call("get_weather", {"city": "A"}, "call_00001"), call("now", {}, "call_00002")]),
        t("1", "call_00001"),
        t("2", "call_00002", "now"),
        a("Both done"),
        u("thanks"),
    ],
    "two_calls_open": [u("two"), a("", tool_calls=[call("get_weather", {"city": "A"}, "abcdefghi"), call("now", {}, "jklmnopqr")]), t("1", "abcdefghi"), t("2", "jklmnopqr")],
    "call_chain": [*CALLS, a("", tool_calls=[call("now", {"deep": {"a": [1, {"b": None}]}}, "call_00002")]), t("12:00", "call_00002", "now")],
    "call_system": [s("Use tools."), *CALLS],
    "tool_object": [u("w?"), a("", tool_calls=[call("get_weather", {"city": "B"})]), {"role": "tool", "content": {"temp": 3}, "name": "get_weather", "tool_call_id": "call_00001"}],
    "tool_parts": [u("w?"), a("", tool_calls=[call("get_weather", {"city": "B"})]), t([{"type": "text", "text": "3 degrees"}])],
    "thinking": THINKING,
    "thinking_calls": [u("w?"), a("", reasoning_content="I should look.", tool_calls=[call("get_weather", {"city": "B"})]), t("5"), a("5", reasoning="done"), u("and?")],
    "thinking_key": [u("1?"), a("2", thinking="hm"), u("3?")],
    "thinking_in_content": IN_CONTENT,
    "thinking_open": [u("1?"), a("x</think>y"), u("2?"), a("<think>never ends"), u("3")],
    "spaces": [s("  pad  "), u("\n\nx\n\n"), a("  y\n"), u(" z ")],
    "ipython": [u("x"), {"role": "ipython", "content": "result"}, u("y")],
    "unknown_role": [u("x"), {"role": "critic", "content": "meh"}],
    "name": [{"role": "user", "content": "x", "name": "Ann"}, a("y", name="Bob")],
    "empty": [],
    "numbers": [u("w?"), a("", tool_calls=[call("get_weather", {"a": 0.1, "b": 1e22, "c": -0.0, "d": 1e-7, "e": 12345678901234567890, "f": 100.0, "g": True})]), t("ok")],
}

# Names of conversations that are rendered with tools as well as without.
WITH_TOOLS = [n for n in CONVERSATIONS if n.startswith(("call", "two_calls", "tool", "thinking", "numbers"))] + [
    "one", "system", "multi_turn", "system_parts", "developer", "empty",
]

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

KWARGS = {
    "plain": {},
    "prompt": {"add_generation_prompt": True},
    "think": {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "thinking_mode": "thinking"},
    "no_think": {"add_generation_prompt": True, "enable_thinking": False, "thinking": False, "reasoning_effort": "low"},
}


def cases():
    """(name, messages, tools, kwargs) for every conversation."""
    for name, messages in CONVERSATIONS.items():
        for how, kwargs in KWARGS.items():
            yield f"{name}-{how}", messages, None, {**TOKENS, **kwargs}
        # Some templates loop forever over types that are lists, or want variables of their own.
        own = {"datetime": "today", "functions": "[]", "date_string": "26 Jul 2024"}
        yield f"{name}-simple-tools", messages, [SIMPLE], {**TOKENS, **own, "add_generation_prompt": True}
        if name in WITH_TOOLS:
            yield f"{name}-tools", messages, TOOLS, {**TOKENS, "add_generation_prompt": True}
            yield f"{name}-tools-think", messages, [*TOOLS, NO_PARAMETERS], {**TOKENS, **KWARGS["think"]}
    yield "one-no-tokens", CONVERSATIONS["one"], None, {"add_generation_prompt": True}
    yield "one-empty-tools", CONVERSATIONS["one"], [], {**TOKENS, "add_generation_prompt": True}
    documents = [{"title": "T", "text": "A <doc>"}, {"title": "U", "text": "B", "doc_id": 2}]
    yield "one-documents", CONVERSATIONS["one"], None, {**TOKENS, "documents": documents}
    yield "custom-kwargs", CONVERSATIONS["system"], TOOLS, {
        **TOKENS, "builtin_tools": ["browser", "python"], "custom_tools": TOOLS, "date_string": "1 Jan 2027",
        "tools_in_user_message": False, "model_identity": "You are X.", "xml_tools": TOOLS, "python_tools": TOOLS,
        "available_tools": TOOLS, "reasoning_effort": "high", "preserve_thinking": True, "clear_thinking": False,
    }
