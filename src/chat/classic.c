// Formats as their authors publish them.
#include "chat/classic.h"
#include "chat/classic_impl.h"

#include <string.h>

#include "base/attr.h"

#define EACH "{% for m in messages %}"
#define END "{% endfor %}"
#define ANSWER(text) "{% if add_generation_prompt %}{{ '" text "' }}{% endif %}"
// One turn after another, each with its role.
#define TURNS(before, between, after) \
    EACH "{{ '" before "' + m['role'] + '" between "' + m['content'] + '" after "' }}" END
#define TRIMMED(before, between, after) \
    EACH "{{ '" before "' + m['role'] + '" between "' + m['content'] | trim + '" after "' }}" END
// Formats without a system turn: the text opens a user's turn.
#define TAKE_SYSTEM                                                            \
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}" \
    "{% set messages = messages[1:] %}{% endif %}"
#define MISTRAL(open, close, at_last)                                                                             \
    TAKE_SYSTEM "{{ bos_token }}" EACH "{% if m['role'] == 'user' %}{{ '" open "' }}"                              \
    "{% if system is defined and " at_last " %}{{ system + '\n\n' }}{% endif %}{{ m['content'] + '" close "' }}" \
    "{% else %}"

static const hth_chat_classic rows[] = {
    {.name = "phi4",
     .tokens = {"<|im_sep|>", "<|im_end|>"},
     .source = TURNS("<|im_start|>", "<|im_sep|>", "<|im_end|>") ANSWER("<|im_start|>assistant<|im_sep|>")},
    {.name = "chatml",
     .tokens = {"<|im_start|>", "<|im_end|>"},
     .source = TURNS("<|im_start|>", "\n", "<|im_end|>\n") ANSWER("<|im_start|>assistant\n")},
    {.name = "llama3",
     .tokens = {"<|start_header_id|>", "<|eot_id|>"},
     .source = "{{ bos_token }}" TRIMMED("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")
         ANSWER("<|start_header_id|>assistant<|end_header_id|>\n\n")},
    {.name = "llama3.1",
     .source = "{{ bos_token }}" TAKE_SYSTEM
               "{{ '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
               "Today Date: 26 Jul 2024\n\n' + system | default('') | trim + '<|eot_id|>' }}"
         TRIMMED("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")
         ANSWER("<|start_header_id|>assistant<|end_header_id|>\n\n")},
    {.name = "gemma",
     .tokens = {"<start_of_turn>", "<end_of_turn>"},
     .source = "{{ bos_token }}" TAKE_SYSTEM EACH
               "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' }}"
               "{% if loop.first and system is defined %}{{ system + '\n\n' }}{% endif %}"
               "{{ m['content'] | trim + '<end_of_turn>\n' }}" END ANSWER("<start_of_turn>model\n")},
    {.name = "llama2",
     .source = TAKE_SYSTEM EACH
               "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' }}"
               "{% if loop.first and system is defined %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}"
               "{{ m['content'] | trim + ' [/INST]' }}{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}"
               "{% endif %}" END},
    {.name = "harmony", .tokens = {"<|channel|>", "<|constrain|>"}, .source = hth_chat_harmony},
    {.name = "deepseek-v4", .tokens = {"<｜latest_reminder｜>", "<｜User｜>"}, .source = hth_chat_deepseek_v4},
    {.name = "deepseek-v3.2", .tokens = {"<think>", "<｜User｜>"}, .source = hth_chat_deepseek_v32},
    {.name = "mistral-v15", .tokens = {"[MODEL_SETTINGS]", "[INST]"}, .source = hth_chat_mistral_v15},
    {.name = "mistral-v13", .tokens = {"[THINK]", "[INST]"}, .source = hth_chat_mistral_v13},
    {.name = "mistral-v11", .tokens = {"[CALL_ID]", "[INST]"}, .source = hth_chat_mistral_v11},
    {.name = "mistral-v7", .tokens = {"[TOOL_CONTENT]", "[INST]"}, .source = hth_chat_mistral_v7},
    {.name = "mistral-v3", .tokens = {"[TOOL_RESULTS]", "[INST]"}, .source = hth_chat_mistral_v3},
    {.name = "mistral-v3-tekken", .source = hth_chat_mistral_v3}, // as llama.cpp calls it
    {.name = "mistral-v1",
     .source = MISTRAL(" [INST] ", " [/INST]", "loop.first") "{{ ' ' + m['content'] + eos_token }}{% endif %}" END},
    {.name = "mistral-v0",
     .source = MISTRAL("[INST] ", " [/INST]", "loop.first") "{{ m['content'] + eos_token }}{% endif %}" END},
    {.name = "command-r",
     .tokens = {"<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"},
     .source = "{{ bos_token }}" EACH
               "{{ '<|START_OF_TURN_TOKEN|><|' + ('CHATBOT' if m['role'] == 'assistant' else m['role'] | upper)"
               " + '_TOKEN|>' + (m['content'] if m['role'] == 'system' else m['content'] | trim)"
               " + '<|END_OF_TURN_TOKEN|>' }}" END ANSWER("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>")},
    {.name = "zephyr",
     .source = EACH "{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}" END ANSWER("<|assistant|>\n")},
    {.name = "phi4-mini", .source = TURNS("<|", "|>", "<|end|>") ANSWER("<|assistant|>")},
    {.name = "phi3", .source = TURNS("<|", "|>\n", "<|end|>\n") ANSWER("<|assistant|>\n")},
    {.name = "rwkv-world", .source = EACH "{{ m['role'] | capitalize + ': ' + m['content'] | trim + '\n\n' }}" END ANSWER("Assistant:")},
    {.name = "plain",
     .source = EACH "{{ m['content'] + ('\n\n' if m['role'] == 'system' else '\n') }}" END},
};

const hth_chat_classic *hth_chat_classic_at(size_t i) {
    return i < HTH_COUNT(rows) ? &rows[i] : NULL;
}

const hth_chat_classic *hth_chat_classic_find(const char *name) {
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    }
    return NULL;
}

// Control tokens, and added ones: DeepSeek's are no control tokens.
static bool has_token(const hth_tokenizer *t, const char *spelling) {
    hth_token id = hth_tokenizer_find(t, spelling, strlen(spelling));
    size_t n;
    return id >= 0 && !hth_tokenizer_bytes(t, id, &n);
}

const hth_chat_classic *hth_chat_classic_of_vocabulary(const hth_tokenizer *t) {
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (rows[i].tokens[0] && has_token(t, rows[i].tokens[0]) && has_token(t, rows[i].tokens[1])) return &rows[i];
    }
    return NULL;
}
