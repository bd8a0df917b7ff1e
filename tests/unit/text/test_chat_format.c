// Chat formats: which templates are recognised, and what is written for conversations. The templates here
// are short ones of the same build as published ones; the rendering of those was compared with Jinja's.
#include "base/attr.h"
#include "text/chat_format.h"
#include "unit/cmocka_all.h"

// The template inside SmolLM2's GGUF.
static const char smollm2[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
    "'<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n"
    "' + message['content'] + '<|im_end|>' + '\n"
    "'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static const char chatml[] =
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + "
    "'<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}";

static const char thinking[] =
    "{% for m in messages %}{% set c = m.content.split('</think>')[-1].lstrip('\\n') %}{{ '<|im_start|>' + "
    "m.role + '\\n' "
    "+ c + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}";

static const char gemma[] = "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + role + '\n' + "
                            "m['content'] | trim + '<end_of_turn>\n' "
                            "}}{% endfor %}{{'<start_of_turn>model\n'}}";

static const char llama3[] =
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "m['content'] | trim + '<|eot_id|>' }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' "
    "}}";

static const char llama2[] = "{% if messages[0]['role'] == 'system' %}{% set content = '<<SYS>>\\n' + "
                             "system_message + '\\n<</SYS>>\\n\\n' + "
                             "content %}{% endif %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' "
                             "}}{{ ' ' + content.strip() + ' ' + "
                             "eos_token }}";

static const char tekken[] =
    "{{- bos_token }}[AVAILABLE_TOOLS]{{- \"[INST]\" + system_message + \"\\n\\n\" + content + "
    "\"[/INST]\" }}{{- content + eos_token}}";

static const char zephyr[] =
    "{% for m in messages %}{{ '<|user|>\\n' + message['content'] + eos_token }}\n{% endfor %}"
    "{{ '<|assistant|>' }}\n";

static const char phi3[] = "{% for m in messages %}{{'<|user|>\n' + m['content'] + '<|end|>\n'}}{% endfor %}"
                           "{{ '<|assistant|>\n' }}";

static const char command_r[] =
    "{{ bos_token }}{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}"
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}";

static hth_chat_format *recognise(const char *text, const char *name) {
    hth_chat_format *f = NULL;
    hth_err err;
    if (hth_chat_format_recognise(text, strlen(text), NULL, &f, &err) != HTH_OK)
        fail_msg("%s: %s", name, err.msg);
    assert_string_equal(hth_chat_format_name(f), name);
    return f;
}

// Messages as "s:text", "u:text", "a:text".
static size_t parse(const char *const *chat, hth_chat_message *messages) {
    size_t n = 0;
    for (; chat[n]; n++) {
        hth_chat_role role = chat[n][0] == 's' ? HTH_CHAT_SYSTEM
                           : chat[n][0] == 'u' ? HTH_CHAT_USER
                                               : HTH_CHAT_ASSISTANT;
        messages[n] = (hth_chat_message){role, chat[n] + 2, strlen(chat[n] + 2)};
    }
    return n;
}

// The prompt as one text; user segments stand in {}.
static void render(const hth_chat_format *f, const char *const *chat, char *out, size_t n_out) {
    hth_chat_message messages[8];
    hth_chat_prompt p;
    hth_err err;
    size_t n = parse(chat, messages), at = 0;
    if (hth_chat_render(f, messages, n, &p, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (p.starts_with_bos) at = (size_t)snprintf(out, n_out, "<BOS>");
    for (size_t i = 0; i < p.n; i++) {
        bool is_user = p.segments[i].is_user;
        at += (size_t)snprintf(out + at, n_out - at, "%s%.*s%s", is_user ? "{" : "", (int)p.segments[i].n,
                               p.segments[i].text, is_user ? "}" : "");
        assert_true(at < n_out);
    }
    hth_chat_prompt_free(&p);
}

typedef struct expected {
    const char *template_text, *name;
    const char *chat[6];
    const char *prompt;
} expected;

static const expected cases[] = {
    {smollm2,
     "chatml",
     {"u:Hi"},
     "<|im_start|>system\n{You are a helpful AI assistant named SmolLM, trained by Hugging Face}<|im_end|>\n"
     "<|im_start|>user\n{Hi}<|im_end|>\n<|im_start|>assistant\n"},
    {smollm2,
     "chatml",
     {"s:Be brief.", "u:Hi", "a:Hello", "u: more \n"},
     "<|im_start|>system\n{Be "
     "brief.}<|im_end|>\n<|im_start|>user\n{Hi}<|im_end|>\n<|im_start|>assistant\n{Hello}"
     "<|im_end|>\n<|im_start|>user\n{ more \n}<|im_end|>\n<|im_start|>assistant\n"},
    {chatml, "chatml", {"u:a"}, "<BOS><|im_start|>user\n{a}<|im_end|>\n<|im_start|>assistant\n"},
    {thinking,
     "chatml",
     {"u:a", "a:<think>\nx</think>\n\nb", "u:c"},
     "<|im_start|>user\n{a}<|im_end|>\n<|im_start|>assistant\n{b}<|im_end|>\n<|im_start|>user\n{c}<|im_end|>"
     "\n"
     "<|im_start|>assistant\n"},
    {gemma,
     "gemma",
     {"s: Be brief. ", "u: Hi ", "a: Hello\n", "u:more"},
     "<BOS><start_of_turn>user\n{ Be brief. "
     "}\n\n{Hi}<end_of_turn>\n<start_of_turn>model\n{Hello}<end_of_turn>\n"
     "<start_of_turn>user\n{more}<end_of_turn>\n<start_of_turn>model\n"},
    {gemma, "gemma", {"u:Hi"}, "<BOS><start_of_turn>user\n{Hi}<end_of_turn>\n<start_of_turn>model\n"},
    {llama3,
     "llama3",
     {"s:S", "u: U "},
     "<BOS><|start_header_id|>system<|end_header_id|>\n\n{S}<|eot_id|><|start_header_id|>user<|end_header_id|"
     ">\n\n{U}"
     "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
    {llama2,
     "llama2",
     {"s:S", "u:U", "a:A", "u:V"},
     "<BOS>[INST] <<SYS>>\n{S}\n<</SYS>>\n\n{U} [/INST] {A} </s><s>[INST] {V} [/INST]"},
    {tekken,
     "mistral-v3-tekken",
     {"s:S", "u:U", "a:A", "u:V"},
     "<BOS>[INST]{U}[/INST]{A}</s>[INST]{S}\n\n{V}[/INST]"},
    {zephyr, "zephyr", {"s:S", "u:U"}, "<|system|>\n{S}</s>\n<|user|>\n{U}</s>\n<|assistant|>\n"},
    {phi3, "phi3", {"s:S", "u:U"}, "<|system|>\n{S}<|end|>\n<|user|>\n{U}<|end|>\n<|assistant|>\n"},
    {command_r,
     "command-r",
     {"s:S", "u: U "},
     "<BOS><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{S}<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_"
     "TOKEN|>{U}"
     "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
};

static void known_templates_give_their_authors_prompts(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        char prompt[1024];
        hth_chat_format *f = recognise(cases[i].template_text, cases[i].name);
        assert_int_equal(hth_chat_format_source(f), HTH_CHAT_FROM_TEMPLATE);
        render(f, cases[i].chat, prompt, sizeof prompt);
        assert_string_equal(prompt, cases[i].prompt);
        hth_chat_format_free(f);
    }
}

static void templates_that_do_more_than_a_format_are_refused(void **state) {
    (void)state;
    static const char *const refused[] = {
        "",
        "{{ messages }}",
        // opens the answer with a thought
        "{{ '<|im_start|>user\\n' }}<|im_end|>{{ '<|im_start|>assistant\\n<think>\\n' }}",
        // writes today's date
        "{{ strftime_now('%d') }}{{ '<|im_start|>user\\n' }}<|im_end|>{{ '<|im_start|>assistant\\n' }}",
        // drops thoughts in a way of its own
        "{{ c.split('</think>')[1:] }}{{ '<|im_start|>user\\n' }}<|im_end|>{{ '<|im_start|>assistant\\n' }}",
        // never opens an answer
        "{{ '<|im_start|>user\\n' }}<|im_end|>",
        "<|start|>assistant<|channel|>final<|message|><|end|><|user|><|assistant|>",
    };
    for (size_t i = 0; i < HTH_COUNT(refused); i++) {
        hth_chat_format *f = NULL;
        hth_err err;
        assert_int_equal(hth_chat_format_recognise(refused[i], strlen(refused[i]), NULL, &f, &err),
                         HTH_ERR_UNSUPPORTED);
        assert_null(f);
    }
}

static void hostile_templates_cost_no_time(void **state) {
    (void)state;
    static const char piece[] = "<|im_start|>system\n", tail[] = "<|im_end|>'<|im_start|>assistant\n'";
    size_t n = (1 << 20) - sizeof tail, at = 0;
    char *text = test_malloc((1 << 20) + 8);
    while (at + sizeof piece < n) {
        memcpy(text + at, piece, sizeof piece - 1);
        at += sizeof piece - 1;
    }
    memcpy(text + at, tail, sizeof tail);
    hth_chat_format *f = NULL;
    hth_err err;
    assert_int_equal(hth_chat_format_recognise(text, at + sizeof tail - 1, NULL, &f, &err), HTH_OK);
    hth_chat_format_free(f);
    memset(text, '<', (1 << 20) + 1);
    assert_int_equal(hth_chat_format_recognise(text, (1 << 20) + 1, NULL, &f, &err), HTH_ERR_LIMIT);
    test_free(text);
}

static void roles_out_of_turn_are_errors(void **state) {
    (void)state;
    static const char *const chats[][6] = {{NULL},
                                           {"s:S"},
                                           {"a:A"},
                                           {"u:U", "a:A"},
                                           {"u:U", "u:V"},
                                           {"u:U", "s:S"},
                                           {"s:S", "a:A"},
                                           {"s:S", "s:T", "u:U"},
                                           {"u:U", "a:A", "s:S", "u:U"}};
    hth_chat_format *f = recognise(smollm2, "chatml");
    for (size_t i = 0; i < HTH_COUNT(chats); i++) {
        hth_chat_message messages[8];
        hth_chat_prompt p;
        hth_err err;
        size_t n = parse(chats[i], messages);
        assert_int_equal(hth_chat_render(f, messages, n, &p, &err), HTH_ERR_RANGE);
    }
    hth_chat_format_free(f);
}

static void refused_memory_leaks_nothing(void **state) {
    (void)state;
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    bool was_hit = true;
    int n_failed = 0;
    for (uint64_t n = 1; was_hit; n++) {
        hth_chat_message messages[8];
        hth_chat_format *f = NULL;
        hth_chat_prompt p = {0};
        hth_err err;
        size_t n_message = parse(cases[1].chat, messages);
        hth_mem_fail_at(n, false);
        hth_code code = hth_chat_format_recognise(smollm2, strlen(smollm2), NULL, &f, &err);
        if (code == HTH_OK) code = hth_chat_render(f, messages, n_message, &p, &err);
        was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        assert_int_equal(code, was_hit ? HTH_ERR_NOMEM : HTH_OK);
        n_failed += was_hit;
        hth_chat_prompt_free(&p);
        hth_chat_format_free(f);
    }
    hth_mem_get_stats(&after);
    assert_int_equal(before.n_blocks, after.n_blocks);
    assert_true(n_failed >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_templates_give_their_authors_prompts),
        cmocka_unit_test(templates_that_do_more_than_a_format_are_refused),
        cmocka_unit_test(hostile_templates_cost_no_time),
        cmocka_unit_test(roles_out_of_turn_are_errors),
        cmocka_unit_test(refused_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
