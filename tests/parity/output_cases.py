"""Answers of models in every format, and what has to come of them: for what llama.cpp's own cases leave open. The tools
are f (a: integer, s: string, n: string or null, o: object, l: array), get_time and g."""

TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
        "a": {"type": "integer"}, "s": {"type": "string"}, "n": {"type": ["string", "null"]}, "o": {"type": "object"},
        "l": {"type": "array"}}}}},
    {"type": "function", "function": {"name": "get_time", "parameters": {}}},
    {"name": "g"},
]

ANSWER, THOUGHT, CONTENT = range(3)


def case(name, format, text, content="", reasoning="", calls=(), begins=ANSWER, **more):
    return {"name": name, "format": format, "text": text, "content": content, "reasoning": reasoning, "calls": list(calls),
            "begins": begins, **more}


# Calls are (name, arguments as JSON or as broken text, id or None).
F1 = ("f", '{"a": 1}', None)

CASES = [
    # thoughts
    case("thought_and_content", "hermes", "<think>\nhm\n</think>\n\nHi", "Hi", "hm"),
    case("thought_opened_by_the_prompt", "hermes", "hm\n</think>\n\nHi", "Hi", "hm", begins=THOUGHT),
    case("opening_tag_repeated", "hermes", "<think>\nhm</think>Hi", "Hi", "hm", begins=THOUGHT),
    case("opening_tag_missing", "hermes", "hm</think>Hi", "hmHi"),
    case("thought_never_closed", "hermes", "<think>\nhm  ", "", "hm"),
    case("empty_thought", "hermes", "<think>\n\n</think>\n\nHi", "Hi"),
    case("tags_spoken_of", "hermes", "The tag <think> opens.", "The tag <think> opens."),
    case("closing_tag_spoken_of", "hermes", "<think>a</think>The tag </think> closes.", "The tag </think> closes.", "a"),
    case("closing_tag_after_thinking_was_put_off", "hermes", "Write </think> there", "Write </think> there", begins=CONTENT),
    case("spaces_inside_are_kept", "hermes", "<think> a\n\n b </think> \n c \n\n d \n", "c \n\n d \n", "a\n\n b"),
    case("raw_thoughts", "hermes", "hm\n</think>\n\nHi", "<think>\nhm\n</think>\n\nHi", begins=THOUGHT, raw=True),
    case("a_call_in_a_thought_is_a_thought", "hermes", '<think>I could <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call></think>x',
         "x", 'I could <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'),
    case("half_a_tag_at_the_end", "hermes", "a </thi", "a </thi"),
    case("half_a_tag_within", "hermes", "<think>a </thin b</think>c", "c", "a </thin b"),
    case("seed_thought", "seed-oss", "<seed:think>a</seed:think>b", "b", "a"),
    case("magistral_thought", "magistral", "[THINK]a[/THINK]b [THINK]c[/THINK]d", "bd", "ac"),
    case("granite_sentences", "granite-3", "Here is my thought process: a Here is my response: b", "b", "a"),
    case("phi_4_reasoning", "phi-4", "<think>a</think>b", "b", "a"),
    case("ernie_response", "ernie-4.5", "<think>\na\n</think>\n\n<response>\nb\n</response>\n", "b\n\n", "a"),
    case("hunyuan_answer", "tool-calls", "<think>\na\n</think>\n<answer>\nb\n</answer>", "b\n", "a"),
    # JSON objects between marks
    case("two_calls", "hermes", '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
         calls=[F1, ("g", "{}", None)]),
    case("text_before_and_after", "hermes", 'Look:\n<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>\nDone.', "Look:Done.", calls=[F1]),
    case("unknown_tool", "hermes", '<tool_call>{"name": "h", "arguments": {}}</tool_call>', '<tool_call>{"name": "h", "arguments": {}}</tool_call>'),
    case("any_tool", "hermes", '<tool_call>{"name": "h", "arguments": {}}</tool_call>', calls=[("h", "{}", None)], any_tool=True),
    case("no_object", "hermes", "<tool_call>hello</tool_call>", "<tool_call>hello</tool_call>"),
    case("arguments_first", "hermes", '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', calls=[F1]),
    case("arguments_in_a_string", "hermes", '<tool_call>{"name": "f", "arguments": "{\\"s\\": \\"\\\\u00e9\\\\n\\"}"}</tool_call>',
         calls=[("f", '{"s": "\\u00e9\\n"}', None)]),
    case("no_arguments", "hermes", '<tool_call>{"name": "g"}</tool_call>', calls=[("g", "{}", None)]),
    case("null_arguments", "hermes", '<tool_call>{"name": "g", "arguments": null}</tool_call>', calls=[("g", "{}", None)]),
    case("nested_function", "hermes", '<tool_call>{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}</tool_call>', calls=[F1]),
    case("id_of_the_call", "hermes", '<tool_call>{"id": "x1", "name": "f", "arguments": {"a": 1}}</tool_call>', calls=[("f", '{"a": 1}', "x1")]),
    case("one_brace_too_many", "hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>ok', "ok", calls=[F1]),
    case("one_brace_too_few", "hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>ok', "ok", calls=[F1]),
    case("raw_newline_in_a_string", "hermes", '<tool_call>{"name": "f", "arguments": {"s": "a\nb"}}</tool_call>', calls=[("f", '{"s": "a\\nb"}', None)]),
    case("closing_mark_in_a_string", "hermes", '<tool_call>{"name": "f", "arguments": {"s": "</tool_call>"}}</tool_call>!', "!",
         calls=[("f", '{"s": "</tool_call>"}', None)]),
    case("broken_arguments", "hermes", '<tool_call>{"name": "f", "arguments": {"a": oops</tool_call>', calls=[("f", '{"a": oops', None)]),
    case("cut_within_arguments", "hermes", '<tool_call>{"name": "f", "arguments": {"a": 1', calls=[("f", '{"a": 1', None)], cut=True),
    case("cut_behind_the_name", "hermes", '<tool_call>{"name": "f", ', calls=[("f", "", None)], cut=True),
    case("cut_within_the_name", "hermes", '<tool_call>{"name": "f', '<tool_call>{"name": "f'),
    case("xml_under_hermes", "hermes", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>", calls=[F1]),
    # lists of objects
    case("mistral_list", "mistral-v3", '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"}, {"name": "g", "arguments": {}}]',
         calls=[("f", '{"a": 1}', "abcdefghi"), ("g", "{}", None)]),
    case("mistral_named", "mistral-v11", 'Hm.[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}', "Hm.", calls=[F1, ("g", "{}", None)]),
    case("mistral_without_a_mark", "mistral-v11", '[TOOL_CALLS]f{"a": 1}', calls=[F1]),
    case("mistral_with_an_id", "mistral-v11", '[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"a": 1}', calls=[("f", '{"a": 1}', "abcdefghi")]),
    case("phi_4_mini", "phi-4-mini", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]<|/tool_call|>', calls=[F1]),
    case("phi_4_mini_functools", "phi-4-mini", 'functools[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]',
         calls=[F1, ("g", "{}", None)]),
    case("granite_list", "granite-3", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]', calls=[F1]),
    case("xlam_list", "xlam", '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]', calls=[F1, ("g", "{}", None)]),
    case("xlam_answer_that_is_a_list", "xlam", '[{"name": "Ann"}, {"name": "Bob"}]', '[{"name": "Ann"}, {"name": "Bob"}]'),
    case("hunyuan_list", "tool-calls", '<tool_calls>[{"name": "f", "arguments": {"a": 1}}]</tool_calls>', calls=[F1]),
    case("minimax_m1_lines", "minimax-m1", '<tool_calls>\n{"name": "f", "arguments": {"a": 1}}\n{"name": "g", "arguments": {}}\n</tool_calls>',
         calls=[F1, ("g", "{}", None)]),
    case("cohere_numbers_as_ids", "command-r7b", '<|START_ACTION|>[{"tool_call_id": 7, "tool_name": "f", "parameters": {"a": 1}}]<|END_ACTION|>',
         calls=[("f", '{"a": 1}', "7")]),
    case("apertus_two", "apertus", '<|tools_prefix|>[{"f": {"a": 1}}, {"g": {}}]<|tools_suffix|>', calls=[F1, ("g", "{}", None)]),
    # bare JSON
    case("llama_object", "llama-3", '{"name": "f", "parameters": {"a": 1}}', calls=[F1]),
    case("llama_objects", "llama-3", '{"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}', calls=[F1, ("g", "{}", None)]),
    case("llama_python_tag", "llama-3", '<|python_tag|>{"name": "f", "parameters": {"a": 1}}', calls=[F1]),
    case("llama_builtin", "llama-3", '<|python_tag|>f.call(s="x")', calls=[("f", '{"s": "x"}', None)]),
    case("llama_pythonic", "llama-3", '[f(a=1), g()]', calls=[F1, ("g", "{}", None)]),
    case("json_answer", "llama-3", '{"amount": 1, "name": "f"}', '{"amount": 1, "name": "f"}'),
    case("json_within_text", "llama-3", 'Like {"name": "f", "parameters": {}}', 'Like {"name": "f", "parameters": {}}'),
    case("a_list_within_text", "llama-4", "[see](f) [f(a=1)]", "[see](f) [f(a=1)]"),
    case("llama_4_pythonic", "llama-4", '[f(a=-1, s="x"), f(s=\'y\\\'z\')]', calls=[("f", '{"a": -1, "s": "x"}', None), ("f", '{"s": "y\'z"}', None)]),
    # Python
    case("python_values", "lfm2", '<|tool_call_start|>[f(a=0, n=None, o={\'k\': [1, 2.5, (True, False)], "e": {}}, l=[], s="\\u00e9\\x41\\n")]<|tool_call_end|>',
         calls=[("f", '{"a": 0, "n": null, "o": {"k": [1, 2.5, [true, false]], "e": {}}, "l": [], "s": "\u00e9A\\n"}', None)]),
    case("python_triple_quotes", "lfm2", '<|tool_call_start|>[f(s="""a "b"\nc""")]<|tool_call_end|>', calls=[("f", '{"s": "a \\"b\\"\\nc"}', None)]),
    case("python_raw_string", "lfm2", "<|tool_call_start|>[f(s=r'a\\n')]<|tool_call_end|>", calls=[("f", '{"s": "a\\\\n"}', None)]),
    case("python_by_position", "lfm2", '<|tool_call_start|>[f(1, "x")]<|tool_call_end|>', calls=[("f", '{"a": 1, "s": "x"}', None)]),
    case("python_trailing_comma", "lfm2", "<|tool_call_start|>[f(a=1,),]<|tool_call_end|>", calls=[F1]),
    case("python_bracket_missing", "lfm2", "<|tool_call_start|>[f(l=[1<|tool_call_end|>x", "x", calls=[("f", '{"l": [1]}', None)]),
    case("python_word_that_is_none", "lfm2", "<|tool_call_start|>[f(s=abc)]<|tool_call_end|>", calls=[("f", '{"s": "abc"}', None)]),
    case("gemma_3_fence", "gemma-3", '```tool_code\nf(a=1)\n```', calls=[F1]),
    case("gemma_4_quotes", "gemma-4", '<|tool_call>call:f{s:<|"|>a"b\\n<|"|>,o:{k:[1,<|"|>x<|"|>]}}<tool_call|>',
         calls=[("f", '{"s": "a\\"b\\\\n", "o": {"k": [1, "x"]}}', None)]),
    # XML
    case("coder_types", "qwen3-coder", "<tool_call>\n<function=f>\n<parameter=a>\n7\n</parameter>\n<parameter=s>\n7\n</parameter>\n<parameter=n>\nnull\n"
         "</parameter>\n<parameter=o>\n{\"k\": True}\n</parameter>\n<parameter=l>\n['x', None]\n</parameter>\n</function>\n</tool_call>",
         calls=[("f", '{"a": 7, "s": "7", "n": null, "o": {"k": true}, "l": ["x", null]}', None)]),
    case("coder_markup_in_a_value", "qwen3-coder", "<tool_call>\n<function=f>\n<parameter=s>\n<b></parameter x>\n\n</parameter>\n</function>\n</tool_call>",
         calls=[("f", '{"s": "<b></parameter x>\\n"}', None)]),
    case("coder_call_not_closed", "qwen3-coder", "<function=f>\n<parameter=a>\n1\n</parameter>\n<function=g>\n</function>", calls=[F1, ("g", "{}", None)]),
    case("coder_cut_in_a_string", "qwen3-coder", "<tool_call>\n<function=f>\n<parameter=s>\nab", calls=[("f", '{"s": "ab', None)], cut=True),
    case("coder_wrong_type", "qwen3-coder", "<function=f><parameter=a>many</parameter></function>", calls=[("f", '{"a": "many"}', None)]),
    case("glm_types", "glm-4.5", "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>1</arg_value>\n<arg_key>zz</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
         calls=[("f", '{"s": "1", "zz": 1}', None)]),
    case("minimax_two", "minimax-m2", '<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">1</parameter>\n</invoke>\n<invoke name="g">\n</invoke>\n</minimax:tool_call>',
         calls=[F1, ("g", "{}", None)]),
    case("seed_value_keeps_newlines", "seed-oss", "<seed:tool_call><function=f><parameter=s>\na\n</parameter></function></seed:tool_call>",
         calls=[("f", '{"s": "\\na\\n"}', None)]),
    case("dsml_string_that_looks_like_a_number", "deepseek-v3.2", '<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="n" string="true">1'
         '</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>', calls=[("f", '{"n": "1"}', None)]),
    case("minicpm_cdata", "minicpm5", '<function name="f"><param name="s"><![CDATA[a</param>b]]></param></function>', calls=[("f", '{"s": "a</param>b"}', None)]),
    # names, then JSON
    case("deepseek_r1_fence", "deepseek-r1", '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{"a": 1}\n```<｜tool▁call▁end｜>\n'
         '<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>', calls=[F1, ("g", "{}", None)]),
    case("kimi_ids", "kimi-k2", '<|tool_calls_section_begin|><|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>'
         '<|tool_calls_section_end|>', calls=[("f", '{"a": 1}', "functions.f:3")]),
    case("kimi_without_ids", "kimi-k2", '<|tool_call_begin|>f<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>', calls=[("f", '{"a": 1}', "functions.f:0")]),
    case("functionary_text_and_call", "functionary-v3.2", 'all\nHi\n>>>f\n{"a": 1}>>>g\n{}', "Hi", calls=[F1, ("g", "{}", None)]),
    case("functionary_arrows_in_text", "functionary-v3.2", "all\nPython says >>> f", "Python says >>> f"),
    case("solar_call", "solar", '<|tool_calls|><|tool_call:begin|>id7<|tool_call:name|>f<|tool_call:args|>{"a": 1}<|tool_call:end|>', calls=[("f", '{"a": 1}', "id7")]),
    # channels
    case("harmony_all", "gpt-oss", '<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>Let me.<|end|>'
         '<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>', "Let me.", "a", [F1]),
    case("harmony_opened_thought", "gpt-oss", "a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "b", "a", begins=THOUGHT),
    case("harmony_without_headers", "gpt-oss", "Hello", "Hello"),
    case("harmony_header_cut", "gpt-oss", "<|channel|>anal", ""),
    case("harmony_words_in_content", "gpt-oss", "<|channel|>final<|message|>say to=functions.f please", "say to=functions.f please"),
    # nothing offered
    case("calls_without_tools", "hermes", '<tool_call>{"name": "f", "arguments": {}}</tool_call>', '<tool_call>{"name": "f", "arguments": {}}</tool_call>', tools=None),
    case("empty", "hermes", "", ""),
    case("space_alone", "hermes", " \n", " \n"),
    case("characters_of_four_bytes", "hermes", "<think>🜂</think>🜄 <", "🜄 <", "🜂"),
]
