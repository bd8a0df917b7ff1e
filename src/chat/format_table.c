// The table of formats. The order matters where a template shows the signs of several rows: the first counts.
#include "chat/format_impl.h"

#include <string.h>

// clang-format off
#define THINK .think_open = {"<think>"}, .think_close = {"</think>"}, .ends_thought = "\n</think>\n\n"
#define THINK_IN_LINE .think_open = {"<think>"}, .think_close = {"</think>"}, .ends_thought = "</think>"
#define ARGUMENTS .key_name = "name", .key_args = "arguments"

// <tool_call>{"name": ..., "arguments": ...}</tool_call>
#define HERMES {.body = FMT_OBJECT, .open = {"<tool_call>"}, .close = {"</tool_call>"}, ARGUMENTS}
// <tool_call><function=name><parameter=key>value</parameter></function></tool_call>
#define FUNCTION_XML(section_, section_end_, newlines_)                                                              \
    {.body = FMT_PARAMS, .section = {section_}, .section_end = section_end_, .own_section = true, .open = {"<function="}, \
     .name_end = {">"}, .close = {"</function>"}, .key_open = "<parameter=", .key_end = ">",                         \
     .value_close = "</parameter>", .newlines = newlines_}
// <tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>
#define ARG_KEYS {.body = FMT_PARAMS, .open = {"<tool_call>"}, .name_end = {"\n"},                                   \
     .name_stop = {"<arg_key>", "</tool_call>"}, .close = {"</tool_call>"}, .key_open = "<arg_key>",                 \
     .key_end = "</arg_key>", .value_open = "<arg_value>", .value_close = "</arg_value>"}
#define DEEPSEEK_SECTION .section = {"<｜tool▁calls▁begin｜>", "<｜tool_calls_begin｜>"}, .section_end = "<｜tool▁calls▁end｜>"
#define DEEPSEEK_R1 {.body = FMT_JSON, DEEPSEEK_SECTION, .open = {"<｜tool▁call▁begin｜>function<｜tool▁sep｜>"},      \
     .name_end = {"\n```json", "\n```", "\n"}, .close = {"```<｜tool▁call▁end｜>", "<｜tool▁call▁end｜>"}}
#define DEEPSEEK_V3_1 {.body = FMT_JSON, DEEPSEEK_SECTION, .open = {"<｜tool▁call▁begin｜>"},                         \
     .name_end = {"<｜tool▁sep｜>"}, .name_stop = {"{"}, .close = {"<｜tool▁call▁end｜>"}}
#define DEEPSEEK_OBJECT {.body = FMT_OBJECT, DEEPSEEK_SECTION, .open = {"<｜tool▁call▁begin｜>"},                       \
     .close = {"<｜tool▁call▁end｜>"}, .key_name = "name", .key_args = "parameters"}
#define DSML(section_) {.body = FMT_PARAMS, .section = {"<｜DSML｜" section_ ">"}, .section_end = "</｜DSML｜" section_ ">", \
     .open = {"<｜DSML｜invoke name=\""}, .name_end = {"\">"}, .close = {"</｜DSML｜invoke>"},                         \
     .key_open = "<｜DSML｜parameter name=\"", .key_end = "\"", .value_open = ">",                                    \
     .value_close = "</｜DSML｜parameter>", .string_mark = "string=\"true\""}
#define MISTRAL_NAMED {.body = FMT_JSON, .open = {"[TOOL_CALLS]"}, .name_end = {"[ARGS]"}, .name_stop = {"{"},       \
     .id_open = "[CALL_ID]"}
#define MISTRAL_LIST(id_last_) {.body = FMT_OBJECT, .section = {"[TOOL_CALLS]"}, .list = true, .key_id = "id",       \
     .id_last = id_last_, ARGUMENTS}
#define COHERE {.body = FMT_OBJECT, .section = {"<|START_ACTION|>"}, .section_end = "<|END_ACTION|>", .list = true,  \
     .key_id = "tool_call_id", .key_name = "tool_name", .key_args = "parameters"}
#define BARE_OBJECT(args_) {.body = FMT_OBJECT, .bare = true, .key_name = "name", .key_args = args_}
#define BARE_LIST {.body = FMT_OBJECT, .bare = true, .list = true, ARGUMENTS}
#define LFM2_CALLS(body_) .body = body_, .section = {"<|tool_call_start|>"}, .section_end = "<|tool_call_end|>", .list = true
#define LFM2_PYTHON {LFM2_CALLS(FMT_PYTHON)}
#define LFM2_OBJECT {LFM2_CALLS(FMT_OBJECT), ARGUMENTS}
#define PHI_4_MINI {.body = FMT_OBJECT, .section = {"<|tool_call|>", "functools"}, .section_end = "<|/tool_call|>",       \
     .list = true, ARGUMENTS}
#define PYTHON_LIST {.body = FMT_PYTHON, .bare = true, .list = true}

static const hth_chat_format table[] = {
    {.name = "gpt-oss", .signs = {"<|channel|>", "<|message|>"}, .channels = true,
     .think_open = {"<|channel|>analysis<|message|>"}, .think_close = {"<|end|>", "<|channel|>final<|message|>"},
     .ends_thought = "<|end|><|start|>assistant<|channel|>final<|message|>"},
    {.name = "deepseek-v3.2", .signs = {"｜DSML｜", "function_calls>"}, THINK_IN_LINE, .calls_in_thought = true,
     .calls = {DSML("function_calls"), DSML("tool_calls")}},
    {.name = "deepseek-v4", .signs = {"｜DSML｜"}, THINK_IN_LINE, .calls_in_thought = true,
     .calls = {DSML("tool_calls"), DSML("function_calls")}},
    {.name = "deepseek-r1", .signs = {"<｜tool▁call▁begin｜>", "```json"}, THINK, .calls = {DEEPSEEK_R1, DEEPSEEK_V3_1, DEEPSEEK_OBJECT}},
    {.name = "deepseek-v3.1", .signs = {"<｜tool▁call▁begin｜>"}, THINK_IN_LINE, .calls = {DEEPSEEK_V3_1, DEEPSEEK_R1, DEEPSEEK_OBJECT}},
    {.name = "deepseek-r1", .signs = {"<｜Assistant｜>"}, THINK, .calls = {DEEPSEEK_R1, DEEPSEEK_V3_1, DEEPSEEK_OBJECT}},
    {.name = "kimi-k3", .signs = {"<|open|>"}, .think_open = {"<|open|>think<|sep|>"},
     .think_close = {"<|close|>think<|sep|>", "<|open|>response<|sep|>"},
     .ends_thought = "<|close|>think<|sep|><|open|>response<|sep|>", .think_anywhere = true,
     .before_calls = "<|open|>response<|sep|><|close|>response<|sep|>", .after_calls = "<|close|>message<|sep|>",
     .drop = {"<|close|>response<|sep|>", "<|close|>message<|sep|>", "<|open|>message<|sep|>"},
     .calls = {{.body = FMT_PARAMS, .section = {"<|open|>tools<|sep|>"}, .section_end = "<|close|>tools<|sep|>",
                .open = {"<|open|>call tool=\""}, .name_end = {"\"<|sep|>"}, .id_open = "\" index=\"",
                .close = {"<|close|>call<|sep|>"}, .key_open = "<|open|>argument key=\"", .key_end = "\"",
                .value_open = "<|sep|>", .value_close = "<|close|>argument<|sep|>", .string_mark = "type=\"string\"",
                .id_is_index = true}}},
    {.name = "kimi-k2", .signs = {"<|tool_call_argument_begin|>"}, THINK_IN_LINE, .calls_in_thought = true, .id = FMT_ID_KIMI,
     .calls = {{.body = FMT_JSON, .section = {"<|tool_calls_section_begin|>"}, .section_end = "<|tool_calls_section_end|>",
                .open = {"<|tool_call_begin|>"}, .name_end = {"<|tool_call_argument_begin|>"},
                .close = {"<|tool_call_end|>"}, .name_is_id = true}}},
    {.name = "solar", .signs = {"<|tool_call:begin|>"}, .think_open = {"<|think|>"}, .think_close = {"<|end|>", "<|begin|>assistant"},
     .ends_thought = "<|end|><|begin|>assistant<|content|>", .think_anywhere = true,
     .drop = {"<|content|>", "<|calls|>"}, .after_calls = "<|calls|>",
     .calls = {{.body = FMT_JSON, .section = {"<|tool_calls|>"}, .open = {"<|tool_call:begin|>"}, .id_open = "<|tool_call:name|>",
                .id_first = true, .name_end = {"<|tool_call:args|>"}, .close = {"<|tool_call:end|>"}}}},
    {.name = "minimax-m2", .signs = {"<minimax:tool_call>"}, THINK, .calls_in_thought = true,
     .calls = {{.body = FMT_PARAMS, .section = {"<minimax:tool_call>"}, .section_end = "</minimax:tool_call>",
                .open = {"<invoke name=\""}, .name_end = {"\">"}, .close = {"</invoke>"},
                .key_open = "<parameter name=\"", .key_end = "\">", .value_close = "</parameter>"}}},
    {.name = "seed-oss", .signs = {"<seed:tool_call>"}, .think_open = {"<seed:think>"}, .think_close = {"</seed:think>"},
     .ends_thought = "</seed:think>",
     .calls = {FUNCTION_XML("<seed:tool_call>", "</seed:tool_call>", false)}},
    {.name = "hunyuan-3", .signs = {"<arg_key{}>"}, .think_open = {"<think:opensource>"},
     .think_close = {"</think:opensource>"}, .ends_thought = "</think:opensource>", .think_anywhere = true,
     .calls = {{.body = FMT_PARAMS, .section = {"<tool_calls:opensource>"}, .section_end = "</tool_calls:opensource>",
                .open = {"<tool_call:opensource>"}, .name_end = {"<tool_sep:opensource>"},
                .name_stop = {"<arg_key:opensource>", "</tool_call:opensource>"}, .close = {"</tool_call:opensource>"},
                .key_open = "<arg_key:opensource>", .key_end = "</arg_key:opensource>",
                .value_open = "<arg_value:opensource>", .value_close = "</arg_value:opensource>"}}},
    {.name = "glm-4.5", .signs = {"<arg_key>"}, THINK_IN_LINE, .calls_in_thought = true, .drop = {"<|role_end|>"},
     .calls = {ARG_KEYS, HERMES}},
    {.name = "qwen3-coder", .signs = {"<function=", "<parameter="}, THINK, .calls_in_thought = true,
     .calls = {FUNCTION_XML("<tool_call>", "</tool_call>", true), HERMES}},
    {.name = "minicpm5", .signs = {"<function name=\""}, THINK,
     .calls = {{.body = FMT_PARAMS, .open = {"<function name=\""}, .name_end = {"\">"}, .close = {"</function>"},
                .key_open = "<param name=\"", .key_end = "\">", .value_close = "</param>", .cdata = true}}},
    {.name = "functionary-v3.2", .signs = {">>>all\n"}, .start_drop = "all\n", .drop = {">>>all\n"},
     .calls = {{.body = FMT_JSON, .bare = true, .open = {">>>"}, .name_end = {"\n"}}}},
    {.name = "functionary-v3.1", .signs = {"<function="},
     .calls = {{.body = FMT_JSON, .open = {"<function="}, .name_end = {">"}, .close = {"</function>"}}}},
    {.name = "mistral-v11", .signs = {"[TOOL_CALLS]", "[ARGS]"}, .think_open = {"[THINK]"}, .think_close = {"[/THINK]"},
     .ends_thought = "[/THINK]", .think_anywhere = true, .id = FMT_ID_NINE,
     .calls = {MISTRAL_NAMED, MISTRAL_LIST(true)}},
    {.name = "mistral-v3", .signs = {"[TOOL_CALLS]"}, .think_open = {"[THINK]", "<think>"},
     .think_close = {"[/THINK]", "</think>"}, .ends_thought = "[/THINK]", .id = FMT_ID_NINE,
     .calls = {MISTRAL_LIST(true), MISTRAL_NAMED}},
    {.name = "magistral", .signs = {"[THINK]"}, .think_open = {"[THINK]"}, .think_close = {"[/THINK]"},
     .ends_thought = "[/THINK]", .think_anywhere = true, .id = FMT_ID_NINE, .calls = {MISTRAL_NAMED, MISTRAL_LIST(true)}},
    {.name = "command-r7b", .signs = {"<|START_ACTION|>"}, .think_open = {"<|START_THINKING|>"},
     .think_close = {"<|END_THINKING|>"}, .ends_thought = "<|END_THINKING|>", .think_anywhere = true,
     .drop = {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>", "<|CHATBOT_TOKEN|>",
              "<|END_OF_TURN_TOKEN|>"},
     .calls = {COHERE}},
    {.name = "command-r", .signs = {"\nAction:\n```json"}, .drop = {"<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .calls = {{.body = FMT_OBJECT, .section = {"Action:\n```json", "Action: ```json"}, .section_end = "```", .list = true,
                .key_name = "tool_name", .key_args = "parameters"}}},
    {.name = "apertus", .signs = {"<|tools_prefix|>"}, .think_open = {"<|inner_prefix|>"}, .think_close = {"<|inner_suffix|>"},
     .ends_thought = "<|inner_suffix|>", .think_anywhere = true,
     .calls = {{.body = FMT_KEYED, .section = {"<|tools_prefix|>"}, .section_end = "<|tools_suffix|>", .list = true}}},
    {.name = "gemma-4", .signs = {"<|tool_call>"}, .think_open = {"<|channel>thought"}, .think_close = {"<channel|>"},
     .ends_thought = "<channel|>", .think_anywhere = true, .drop = {"<|channel>", "<turn|>"},
     .calls = {{.body = FMT_DICT, .open = {"<|tool_call>call:", "<|tool_call> call:"}, .name_stop = {"{"},
                .close = {"<tool_call|>"}, .quote = "<|\"|>"}}},
    {.name = "gemma-3", .signs = {"<start_of_turn>"}, .drop = {"<end_of_turn>"},
     .calls = {{.body = FMT_PYTHON, .section = {"```tool_code"}, .section_end = "```", .list = true}, PYTHON_LIST,
               BARE_OBJECT("parameters")}},
    {.name = "nemotron-v2", .signs = {"<TOOLCALL>"}, THINK,
     .calls = {{.body = FMT_OBJECT, .section = {"<TOOLCALL>"}, .section_end = "</TOOLCALL>", .list = true, ARGUMENTS}}},
    {.name = "lfm2", .signs = {"<|tool_call_start|>"}, THINK, .calls = {LFM2_PYTHON, LFM2_OBJECT}},
    {.name = "lfm2", .signs = {"<|tool_list_start|>"}, THINK, .calls = {LFM2_PYTHON, LFM2_OBJECT}},
    {.name = "lfm2", .signs = {"List of tools: ["}, THINK, .calls = {LFM2_PYTHON, LFM2_OBJECT}},
    {.name = "phi-4-mini", .signs = {"<|/tool_call|>"}, THINK, .calls = {PHI_4_MINI}},
    {.name = "phi-4-mini", .signs = {"<|/tool|>"}, THINK, .calls = {PHI_4_MINI}},
    {.name = "granite-3", .signs = {"<|tool_call|>"}, .think_open = {"<think>", "Here is my thought process:"},
     .think_close = {"</think>", "Here is my response:"}, .ends_thought = "</think>", .drop = {"<response>", "</response>"},
     .calls = {{.body = FMT_OBJECT, .section = {"<|tool_call|>"}, .list = true, ARGUMENTS}, HERMES}},
    {.name = "firefunction", .signs = {"functools["},
     .calls = {{.body = FMT_OBJECT, .section = {"functools"}, .list = true, ARGUMENTS}}},
    {.name = "gigachat-3.1", .signs = {"<|function_call|>"},
     .calls = {{.body = FMT_OBJECT, .open = {"<|function_call|>"}, ARGUMENTS}}},
    {.name = "gigachat-3", .signs = {"<|message_sep|>", "function call"}, .drop = {"<|message_sep|>"},
     .calls = {{.body = FMT_OBJECT, .open = {"<|message_sep|>\n\nfunction call<|role_sep|>"}, ARGUMENTS}}},
    {.name = "apriel", .signs = {"<tool_calls>", "[BEGIN FINAL RESPONSE]"}, .think_open = {"Here are my reasoning steps:"},
     .think_close = {"[BEGIN FINAL RESPONSE]"}, .ends_thought = "\n[BEGIN FINAL RESPONSE]\n", .think_anywhere = true,
     .drop = {"[END FINAL RESPONSE]", "<|end|>"},
     .calls = {{.body = FMT_OBJECT, .section = {"<tool_calls>"}, .section_end = "</tool_calls>", .list = true, ARGUMENTS}}},
    {.name = "minimax-m1", .signs = {"<tool_calls>", "<beginning_of_sentence>"}, THINK,
     .calls = {{.body = FMT_OBJECT, .section = {"<tool_calls>"}, .section_end = "</tool_calls>", ARGUMENTS}}},
    {.name = "tool-calls", .signs = {"<tool_calls>"}, .think_open = {"<think>", "<thinking>"},
     .think_close = {"</think>", "</thinking>"}, .ends_thought = "\n</think>\n\n", .drop = {"<answer>", "</answer>"},
     .calls = {{.body = FMT_OBJECT, .section = {"<tool_calls>"}, .section_end = "</tool_calls>", .list = true, ARGUMENTS},
               HERMES}},
    {.name = "ernie-4.5", .signs = {"<tool_call>", "<response>"}, THINK, .drop = {"<response>", "</response>"}, .calls = {HERMES}},
    {.name = "hermes", .signs = {"<tool_call>"}, THINK, .calls = {HERMES, FUNCTION_XML("<tool_call>", "</tool_call>", true)}},
    {.name = "llama-4", .signs = {"<|header_start|>"}, .drop = {"<|python_start|>", "<|python_end|>"},
     .calls = {PYTHON_LIST, BARE_OBJECT("parameters"),
               {.body = FMT_PYTHON, .section = {"<|python_start|>"}, .section_end = "<|python_end|>", .list = true}}},
    {.name = "llama-3", .signs = {"<|start_header_id|>"}, THINK,
     .calls = {BARE_OBJECT("parameters"), PYTHON_LIST,
               {.body = FMT_OBJECT, .open = {"<|python_tag|>"}, .key_name = "name", .key_args = "parameters"},
               {.body = FMT_PYTHON, .open = {"<|python_tag|>"}}}},
    {.name = "phi-4", .signs = {"<|im_sep|>"}, THINK, .calls = {BARE_LIST, BARE_OBJECT("arguments")}},
    {.name = "xlam", .signs = {"\"tool_calls\""}, .calls = {BARE_LIST, BARE_OBJECT("arguments"), HERMES}},
    {.name = "generic", THINK, .calls = {HERMES, FUNCTION_XML("<tool_call>", "</tool_call>", true), BARE_OBJECT("arguments"), BARE_LIST}},
};

static const fmt_words words[] = {
    // Qwen's documentation of thinking budgets, for Qwen3 and QwQ.
    {"hermes", {"<|im_start|>", "<think>", "<tool_response>", "You may call one or more functions to assist with the user query"},
     "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now."},
    // Seed-OSS reflects on its budget between these tags; so its last reflection reads.
    {"seed-oss", {"seed:cot_budget_reflect>"},
     "\n<seed:cot_budget_reflect>I have exhausted my token budget, and now I will start answering the question."
     "</seed:cot_budget_reflect>\n"},
};
// clang-format on

const fmt_words *fmt_words_at(size_t i) {
    return i < HTH_COUNT(words) ? &words[i] : NULL;
}

const hth_chat_format *hth_chat_format_at(size_t i) {
    return i < HTH_COUNT(table) ? &table[i] : NULL;
}
