// Families whose authors publish their prompt's encoder as code: the same text, by templates.
#include "chat/classic_impl.h"

// Contents as one string, its parts joined as mistral-common joins them.
#define TEXT                                                                                                     \
    "{% macro text(m) %}{% if m.content is string %}{{ m.content }}{% elif m.content %}"                          \
    "{{ m.content | selectattr('text', 'defined') | map(attribute='text') | select | join('\n\n') }}{% endif %}{% endmacro %}"

// ---- DeepSeek: encoding_dsv32.py, encoding_dsv4.py ----

// `thinking` or `enable_thinking` chooses the mode; tools stand in the first system message, or in an empty one.
#define DEEPSEEK_BEGIN                                                                                            \
    TEXT "{% set thinking = thinking | default(enable_thinking | default(false)) %}{{ bos_token }}"                \
         "{% set think, done = '<think>', '</think>' %}"

#define DSML_CALLS(block)                                                                                          \
    "{% if m.tool_calls %}{{ '\n\n<｜DSML｜" block ">\n' }}{% for call in m.tool_calls %}{% set f = call.function %}"     \
    "{{ '<｜DSML｜invoke name=\"' + f.name + '\">\n' }}"                                                              \
    "{% for k, v in (f.arguments.items() if f.arguments is mapping else {'arguments': f.arguments}.items()) %}"    \
    "{{ '<｜DSML｜parameter name=\"' + k + '\" string=\"' + ('true' if v is string else 'false') + '\">' }}"          \
    "{{ (v if v is string else v | tojson) + '</｜DSML｜parameter>' + ('' if loop.last else '\n') }}{% endfor %}"   \
    "{{ '\n</｜DSML｜invoke>\n' }}{% endfor %}{{ '</｜DSML｜" block ">' }}{% endif %}"

#define SCHEMAS "{% for tool in tools %}{{ tool.function | tojson + ('' if loop.last else '\n') }}{% endfor %}"

#define DSML_BLOCK(block, name)                                                                                    \
    "<｜DSML｜" block ">\n<｜DSML｜invoke name=\"$" name "_NAME\">\n<｜DSML｜parameter name=\"$PARAMETER_NAME\""         \
    " string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n...\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"$" name  \
    "_NAME2\">\n...\n</｜DSML｜invoke>\n</｜DSML｜" block ">\n\n"

const char hth_chat_deepseek_v32[] =
    DEEPSEEK_BEGIN
    "{% macro schemas() %}{% if tools %}{{ '\n\n## Tools\n\nYou have access to a set of tools you can use to answer the user\\'s"
    " question.\nYou can invoke functions by writing a \"<｜DSML｜function_calls>\" block like the following as part of your"
    " reply to the user:\n" DSML_BLOCK("function_calls", "FUNCTION")
    "String and scalar parameters should be specified as is without any escaping or quotes, while lists and objects should"
    " use JSON format. The \"string\" attribute should be set to \"true\" for string type parameters and \"false\" for other"
    " types (numbers, booleans, arrays, objects).\n\nIf the thinking_mode is enabled, then after function results you should"
    " strongly consider outputting a thinking block. Here is an example:\n\n<｜DSML｜function_calls>\n...\n"
    "</｜DSML｜function_calls>\n\n<function_results>\n...\n</function_results>\n\n<think>...thinking about results</think>\n\n"
    "Here are the functions available in JSONSchema format:\n<functions>\n' }}" SCHEMAS "{{ '\n</functions>\n' }}"
    "{% endif %}{% endmacro %}"
    "{% set ns = namespace(user=-1, system=-1, calls=0, results=0) %}"
    "{% for m in messages %}{% if m.role in ['user', 'developer'] %}{% set ns.user = loop.index0 %}"
    "{% elif m.role == 'system' and ns.system < 0 %}{% set ns.system = loop.index0 %}{% endif %}{% endfor %}"
    "{% if ns.system < 0 %}{{ schemas() }}{% endif %}"
    "{% for m in messages %}{% set i = loop.index0 %}"
    "{% if m.role == 'system' %}{{ text(m) }}{% if i == ns.system %}{{ schemas() }}{% endif %}"
    "{% elif m.role == 'developer' and thinking and i < ns.user %}" // dropped with the reasoning
    "{% elif m.role in ['user', 'developer'] %}"
    "{{ '<｜User｜>' + ('\n\n# The user\\'s message is: ' if m.role == 'developer' else '') + text(m) }}"
    "{% if add_generation_prompt or not loop.last %}"
    "{{ '<｜Assistant｜>' + (think if thinking and i == ns.user else done) }}{% endif %}"
    "{% elif m.role == 'tool' %}{% set ns.results = ns.results + 1 %}"
    "{{ ('\n\n<function_results>' if ns.results == 1 else '') + '\n<result>' + text(m) + '</result>' }}"
    "{% if ns.results == ns.calls %}{{ '\n</function_results>' }}{% if add_generation_prompt or not loop.last %}"
    "{{ '\n\n' + (think if thinking and i >= ns.user else done) }}{% endif %}{% endif %}"
    "{% elif m.role == 'assistant' %}{% set ns.calls = (m.tool_calls or []) | length %}{% set ns.results = 0 %}"
    "{% if thinking and i > ns.user %}{{ (m.reasoning_content or '') + done }}{% endif %}{{ text(m) }}"
    DSML_CALLS("function_calls") "{{ eos_token }}"
    "{% else %}{{ raise_exception('Unknown role: ' + m.role) }}{% endif %}{% endfor %}";

#define EFFORT_HIGH                                                                                                \
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\nYou MUST be very thorough in your thinking and"  \
    " comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against"   \
    " all potential paths, edge cases, and adversarial scenarios.\nExplicitly write out your entire deliberation"       \
    " process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure"         \
    " absolutely no assumption is left unchecked.\n\n"
#define EFFORT_MAX                                                                                                  \
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\nYou MUST reason with the utmost"  \
    " depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the problem into its most"         \
    " fundamental components, trace every causal chain to its root, and resolve the underlying cause rather than any"  \
    " surface symptom.\nDo not stop reasoning until you have independently verified the solution from multiple angles" \
    " and are certain that no assumption remains unchecked and no error remains undiscovered.\n\n"

// Results of tools are a part of the user's turn, in the order of their calls. With tools earlier reasoning is kept.
const char hth_chat_deepseek_v4[] =
    DEEPSEEK_BEGIN
    "{% if thinking %}{{ {'high': '" EFFORT_HIGH "', 'max': '" EFFORT_MAX "'}.get(reasoning_effort | default('low'), '') }}"
    "{% endif %}"
    "{% macro schemas() %}{% if tools %}{{ '\n\n## Tools\n\nYou have access to a set of tools to help answer the user\\'s"
    " question. You can invoke tools by writing a \"<｜DSML｜tool_calls>\" block like the following:\n\n"
    DSML_BLOCK("tool_calls", "TOOL")
    "String parameters should be specified as is and set `string=\"true\"`. For all other types (numbers, booleans, arrays,"
    " objects), pass the value in JSON format and set `string=\"false\"`.\n\nIf thinking_mode is enabled (triggered by"
    " <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final"
    " response.\n\nOtherwise, output directly after </think> with tool calls or final response.\n\n### Available Tool"
    " Schemas\n\n' }}" SCHEMAS
    "{{ '\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n' }}"
    "{% endif %}{% endmacro %}"
    "{% set ns = namespace(user=-1, system=-1, ids=[], open=false, turn=[], results=[], at=0) %}{% set drop = not tools %}"
    "{% for m in messages %}{% if m.role in ['user', 'developer', 'tool'] %}{% set ns.user = loop.index0 %}"
    "{% elif m.role == 'system' and ns.system < 0 %}{% set ns.system = loop.index0 %}{% endif %}{% endfor %}"
    "{% if ns.system < 0 %}{{ schemas() }}{% endif %}"
    "{% for m in messages %}{% set i = loop.index0 %}{% set is_turn = m.role in ['user', 'tool'] %}"
    "{% if not is_turn %}{% set ns.open = false %}{% endif %}"
    "{% if m.role == 'system' %}{{ text(m) }}{% if i == ns.system %}{{ schemas() }}{% endif %}"
    "{% elif m.role == 'developer' %}{% if not (thinking and drop and i < ns.user) %}{{ '<｜User｜>' + text(m) }}{% endif %}"
    "{% elif m.role == 'latest_reminder' %}{{ '<｜latest_reminder｜>' + text(m) }}"
    "{% elif is_turn %}"
    "{% if ns.open %}{{ '\n\n' }}{% else %}{{ '<｜User｜>' }}{% set ns.open, ns.turn, ns.results, ns.at = true, [], [], 0 %}"
    "{% for x in messages[i:] %}{% if x.role == 'tool' %}{% set ns.turn = ns.turn + [x] %}{% elif x.role != 'user' %}{% break %}"
    "{% endif %}{% endfor %}"
    "{% for k in range([ns.ids | length, 1] | max) %}{% for x in ns.turn %}"
    "{% if (ns.ids.index(x.tool_call_id) if x.tool_call_id in ns.ids else 0) == k %}{% set ns.results = ns.results + [x] %}"
    "{% endif %}{% endfor %}{% endfor %}{% endif %}"
    "{% if m.role == 'user' %}{{ text(m) }}{% else %}{{ '<tool_result>' + text(ns.results[ns.at]) + '</tool_result>' }}"
    "{% set ns.at = ns.at + 1 %}{% endif %}"
    "{% elif m.role == 'assistant' %}"
    "{% if thinking and (not drop or i > ns.user) %}{{ (m.reasoning_content or '') + done }}{% endif %}{{ text(m) }}"
    DSML_CALLS("tool_calls") "{{ eos_token }}"
    "{% if m.tool_calls %}{% set ns.ids = m.tool_calls | map(attribute='id', default='') | list %}{% endif %}"
    "{% else %}{{ raise_exception('Unknown role: ' + m.role) }}{% endif %}"
    "{% if m.role in ['user', 'tool', 'developer'] and (add_generation_prompt if loop.last else"
    " loop.nextitem.role in ['assistant', 'latest_reminder']) %}"
    "{{ '<｜Assistant｜>' + (think if thinking and (not drop or i >= ns.user) else done) }}{% endif %}{% endfor %}";

// ---- Mistral: mistral-common ----

// What the versions of its tokenizer share. Neighbours of one role are one turn; v3 has no system turn and puts the
// system texts and the tools before the last question, later ones have `system` turns, and the tools from v13 on before
// the first question.
#define MISTRAL(version, call, result)                                                                              \
    TEXT "{% set v = " version " %}{{ bos_token }}"                                                                   \
         "{% set ns = namespace(first=-1, last=-1, system=[], texts=[], calls=[], thoughts=[], ids=[]) %}"          \
         "{% for m in messages %}"                                                                                  \
         "{% if m.role == 'user' and (loop.first or loop.previtem.role != 'user') %}"                               \
         "{% if ns.first < 0 %}{% set ns.first = loop.index0 %}{% endif %}{% set ns.last = loop.index0 %}{% endif %}"  \
         "{% if m.role in ['system', 'developer'] and m.content %}{% set ns.system = ns.system + [text(m)] %}{% endif %}" \
         "{% endfor %}"                                                                                             \
         "{% for m in messages %}{% set i = loop.index0 %}"                                                         \
         "{% set begins, ends = loop.first or loop.previtem.role != m.role, loop.last or loop.nextitem.role != m.role %}" \
         "{% if begins %}{% set ns.texts, ns.calls, ns.thoughts = [], [], [] %}{% endif %}"                         \
         "{% if m.role in ['system', 'developer'] %}"                                                               \
         "{% if v > 3 %}{{ '[SYSTEM_PROMPT]' + text(m) + '[/SYSTEM_PROMPT]' }}{% endif %}"                          \
         "{% elif m.role == 'user' %}"                                                                              \
         "{% if begins and i == (ns.first if v > 11 else ns.last) %}"                                               \
         "{% if tools %}{{ '[AVAILABLE_TOOLS][' }}{% for t in tools %}{{ {'type': 'function', 'function': {'name': t.function.name," \
         " 'description': t.function.description | default('', true), 'parameters': t.function.parameters | default({})}}"   \
         " | tojson + ('' if loop.last else ', ') }}{% endfor %}{{ '][/AVAILABLE_TOOLS]' }}{% endif %}"              \
         "{% if v > 13 %}"                                                                                          \
         "{{ '[MODEL_SETTINGS]' + {'reasoning_effort': reasoning_effort | default('none')} | tojson + '[/MODEL_SETTINGS]' }}" \
         "{% endif %}{% endif %}"                                                                                   \
         "{% if begins %}{{ '[INST]' }}{% if v == 3 and i == ns.last and ns.system %}{{ ns.system | join('\n\n') + '\n\n' }}" \
         "{% endif %}{% endif %}"                                                                                   \
         "{% if m.content %}{% set ns.texts = ns.texts + [text(m)] %}{% endif %}"                                   \
         "{% if ends %}{{ ns.texts | join('\n\n') + '[/INST]' }}{% endif %}"                                        \
         "{% elif m.role == 'assistant' %}"                                                                         \
         "{% if v > 11 and m.reasoning_content %}{% set ns.thoughts = ns.thoughts + [m.reasoning_content] %}{% endif %}" \
         "{% if m.content %}{% set ns.texts = ns.texts + [text(m)] %}{% endif %}"                                   \
         "{% if m.tool_calls %}{% set ns.calls = ns.calls + m.tool_calls %}{% endif %}"                             \
         "{% if ends %}"                                                                                            \
         "{% for thought in ns.thoughts %}{{ '[THINK]' + thought + '[/THINK]' }}{% endfor %}"                       \
         "{% set said = ns.texts | join('\n\n') %}{{ said if ns.thoughts else said.rstrip(' ') }}"                  \
         "{% if ns.calls %}" call                                                                                   \
         "{% set ns.ids = ns.ids + ns.calls | map(attribute='id', default='') | list %}{% endif %}{{ eos_token }}{% endif %}" \
         "{% elif m.role == 'tool' %}{% set ns.texts = ns.texts + [m] %}{% if ends %}"                              \
         "{% if v > 7 %}{% set ns.calls = [] %}{% for id in ns.ids %}"                                              \
         "{% set ns.calls = ns.calls + ns.texts | selectattr('tool_call_id', 'eq', id) | list %}{% endfor %}"        \
         "{% set ns.texts = ns.calls + ns.texts | rejectattr('tool_call_id', 'in', ns.ids) | list %}{% endif %}"     \
         "{% for m in ns.texts %}{{ '[TOOL_RESULTS]' }}" result "{{ '[/TOOL_RESULTS]' }}{% endfor %}"               \
         "{% set ns.ids = [] %}{% endif %}"                                                                         \
         "{% else %}{{ raise_exception('Unknown role: ' + m.role) }}{% endif %}{% endfor %}"

#define CALLS_AS_JSON                                                                                               \
    "{{ '[TOOL_CALLS][' }}{% for c in ns.calls %}{% set f = c.function %}"                                          \
    "{{ ({'name': f.name, 'arguments': f.arguments, 'id': c.id} if c.id and c.id != 'null' else"                    \
    " {'name': f.name, 'arguments': f.arguments}) | tojson + ('' if loop.last else ', ') }}{% endfor %}{{ ']' }}"
#define CALLS_WITH_ID                                                                                               \
    "{% for c in ns.calls %}{{ '[TOOL_CALLS]' + c.function.name }}"                                                 \
    "{% if c.id and c.id != 'null' %}{{ '[CALL_ID]' + c.id }}{% endif %}{{ '[ARGS]' + c.function.arguments | tojson }}{% endfor %}"
#define CALLS "{% for c in ns.calls %}{{ '[TOOL_CALLS]' + c.function.name + '[ARGS]' + c.function.arguments | tojson }}{% endfor %}"

// `parsed` is a result's text as JSON where it is JSON (see hth_chat_shape).
#define RESULT_AS_JSON \
    "{{ {'content': m.parsed if m.parsed is defined else text(m), 'call_id': m.tool_call_id} | tojson }}"
#define RESULT_WITH_ID "{{ m.tool_call_id + '[TOOL_CONTENT]' + text(m) }}"

const char hth_chat_mistral_v3[] = MISTRAL("3", CALLS_AS_JSON, RESULT_AS_JSON);
const char hth_chat_mistral_v7[] = MISTRAL("7", CALLS_AS_JSON, RESULT_WITH_ID);
const char hth_chat_mistral_v11[] = MISTRAL("11", CALLS_WITH_ID, RESULT_WITH_ID);
const char hth_chat_mistral_v13[] = MISTRAL("13", CALLS, "{{ text(m) }}");
const char hth_chat_mistral_v15[] = MISTRAL("15", CALLS, "{{ text(m) }}");

// ---- gpt-oss: openai-harmony ----

// A JSON schema as a TypeScript type, with the same line breaks and comments. `items` is read by get: a dict has a
// method of that name.
#define HARMONY_TYPES                                                                                               \
    "{% macro number(d) %}{{ d | tojson(separators=(',', ':')) | replace('e-0', 'e-') | replace('e+', 'e') }}{% endmacro %}" \
    "{% macro dflt(s, bare) %}{% set d = s.default %}{% if d is string and bare and s.enum %}{{ d }}"               \
    "{% elif d is string and s.enum %}{{ d | tojson }}{% elif d is string %}{{ '\"' + d + '\"' }}"                  \
    "{% elif d is number and d is not boolean %}{{ number(d) }}{% else %}{{ d | tojson(separators=(',', ':')) }}{% endif %}" \
    "{% endmacro %}"                                                                                                \
    "{% macro typed(s, indent) %}{% set t = ts(s, indent) %}"                                                       \
    "{{ t }}{% if s.nullable is true and 'null' not in t %}{{ ' | null' }}{% endif %}{% endmacro %}"               \
    "{% macro notes(text, s, bare) %}{% if text is string or s.default is defined %}{{ ' //' }}"                    \
    "{% if text is string %}{{ ' ' + text }}{% endif %}"                                                            \
    "{% if s.default is defined %}{{ ' default: ' + dflt(s, bare) }}{% endif %}{% endif %}{% endmacro %}"          \
    "{% macro property(key, s, indent, needed) %}"                                                                  \
    "{% set one = s.oneOf is defined and s.oneOf is sequence and s.oneOf is not string %}"                          \
    "{% set mark = key + ('' if needed else '?') + ':' %}"                                                          \
    "{% if s.title is string %}{{ indent + '// ' + s.title + '\n' + indent + '//\n' }}{% endif %}"                  \
    "{% if not one and s.oneOf is not defined and s.description is string %}{{ indent + '// ' + s.description + '\n' }}{% endif %}" \
    "{% if s.examples %}{{ indent + '// Examples:\n' }}{% for e in s.examples if e is string %}"                     \
    "{{ indent + '// - \"' + e + '\"\n' }}{% endfor %}{% endif %}"                                                  \
    "{% if one %}{% set said = s.description is string and s.oneOf and s.oneOf[0].description != s.description %}"   \
    "{% if said %}{{ indent + '// ' + s.description + '\n' }}{% endif %}"                                           \
    "{% if s.default is defined %}{{ indent + '// default: ' + dflt(s, true) + '\n' }}{% endif %}"                  \
    "{{ indent + mark + '\n' }}{% for v in s.oneOf %}{{ indent + ' | ' + typed(v, indent + '   ') }}"               \
    "{{ notes(none if (loop.first and said) or v.description == s.description else v.description, v, true) + '\n' }}"  \
    "{% endfor %}{{ indent + ',\n' }}{% else %}{{ indent + mark + ' ' + typed(s, indent + '    ') + ',' }}"        \
    "{% if s.oneOf is not defined and s.default is defined %}{{ ' // default: ' + dflt(s, true) }}{% endif %}{{ '\n' }}" \
    "{% endif %}{% endmacro %}"                                                                                     \
    "{% macro ts(s, indent) %}{% set types = s.type | default(none) %}"                                             \
    "{% if s.oneOf is defined and s.oneOf is sequence and s.oneOf is not string %}"                                 \
    "{% for v in s.oneOf %}{{ '\n' + indent + ' | ' + typed(v, indent + '   ') + notes(v.description, v, false) }}{% endfor %}" \
    "{% elif types is sequence and types is not string and types | select('string') | list %}"                      \
    "{% for t in types if t is string %}{{ ('' if loop.first else ' | ') + ('number' if t == 'integer' else t) }}{% endfor %}" \
    "{% elif types == 'object' %}{% if s.description is string %}{{ indent + '// ' + s.description + '\n' }}{% endif %}{{ '{\n' }}" \
    "{% for key, v in (s.properties or {}).items() %}{{ property(key, v, indent, key in (s.required or [])) }}{% endfor %}" \
    "{{ indent + '}' }}"                                                                                            \
    "{% elif types == 'string' %}{% set names = (s.enum or []) | select('string') | list %}"                        \
    "{% for e in names %}{{ ('' if loop.first else ' | ') + '\"' + e + '\"' }}{% endfor %}{{ '' if names else 'string' }}" \
    "{% elif types in ['number', 'integer'] %}{{ 'number' }}{% elif types == 'boolean' %}{{ 'boolean' }}"           \
    "{% elif types == 'array' %}{{ ts(s.get('items'), indent) + '[]' if 'items' in s else 'Array<any>' }}"          \
    "{% else %}{{ 'any' }}{% endif %}{% endmacro %}"

#define HARMONY_TOOLS                                                                                               \
    "{% macro lines(text) %}{% if text %}{% for line in (text[:-1] if text.endswith('\n') else text).split('\n') %}" \
    "{{ '// ' + line + '\n' }}{% endfor %}{% endif %}{% endmacro %}"                                                \
    "{% macro described() %}{{ '# Tools\n\n## functions\n\nnamespace functions {\n\n' }}"                          \
    "{% for tool in tools %}{% set f = tool.function %}"                                                            \
    "{{ lines(f.description) + 'type ' + f.name + ' = (' }}"                                                        \
    "{% if f.parameters %}{{ '_: ' + ts(f.parameters, '') }}{% endif %}{{ ') => any;\n\n' }}{% endfor %}"           \
    "{{ '} // namespace functions' }}{% endmacro %}"

// A system turn of its own, the client's system text as the developer's; reasoning before the first final answer is
// left out once the assistant has given its last one.
const char hth_chat_harmony[] =
    TEXT HARMONY_TYPES HARMONY_TOOLS
    "{{ '<|start|>system<|message|>' + (model_identity | default('You are ChatGPT, a large language model trained by OpenAI.'))"
    " + '\nKnowledge cutoff: 2024-06\nCurrent date: ' + strftime_now('%Y-%m-%d') + '\n\nReasoning: '"
    " + (reasoning_effort | default('medium')) + '\n\n# Valid channels: analysis, commentary, final. Channel must be included"
    " for every message.' + ('\nCalls to these tools must go to the commentary channel: \\'functions\\'.' if tools else '')"
    " + '<|end|>' }}"
    "{% set given = messages and messages[0].role in ['system', 'developer'] %}"
    "{% if given or tools %}{{ '<|start|>developer<|message|>' }}"
    "{% if given %}{{ '# Instructions\n\n' + text(messages[0]) + ('\n\n' if tools else '') }}{% endif %}"
    "{% if tools %}{{ described() }}{% endif %}{{ '<|end|>' }}{% endif %}"
    "{% set ns = namespace(first=-1, ended=false, names={}, name='') %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set ns.ended = m.content and not m.tool_calls %}{% if ns.ended and ns.first < 0 %}{% set ns.first = loop.index0 %}{% endif %}"
    "{% endif %}{% endfor %}"
    "{% for m in messages %}"
    "{% if m.role in ['system', 'developer'] %}"
    "{% if not loop.first %}{{ '<|start|>developer<|message|># Instructions\n\n' + text(m) + '<|end|>' }}{% endif %}"
    "{% elif m.role == 'user' %}{{ '<|start|>user<|message|>' + text(m) + '<|end|>' }}"
    "{% elif m.role == 'assistant' %}"
    "{% if m.reasoning_content and not (ns.ended and loop.index0 <= ns.first) %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.reasoning_content + '<|end|>' }}{% endif %}"
    "{% if m.content %}{{ '<|start|>assistant<|channel|>' + ('commentary' if m.tool_calls else 'final') + '<|message|>' + text(m)"
    " + '<|end|>' }}{% endif %}"
    "{% for call in m.tool_calls or [] %}{% set f = call.function %}{% set ns.name = f.name %}"
    "{% set ns.names = dict(ns.names, **{call.id | default('', true): f.name}) %}"
    "{{ '<|start|>assistant to=functions.' + f.name + '<|channel|>commentary <|constrain|>json<|message|>' }}"
    "{{ (f.arguments if f.arguments is string else f.arguments | tojson) + '<|call|>' }}{% endfor %}"
    "{% elif m.role == 'tool' %}"
    "{{ '<|start|>functions.' + (m.name or ns.names.get(m.tool_call_id, ns.name)) }}"
    "{{ ' to=assistant<|channel|>commentary<|message|>' + text(m) + '<|end|>' }}"
    "{% else %}{{ raise_exception('Unknown role: ' + m.role) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}";
