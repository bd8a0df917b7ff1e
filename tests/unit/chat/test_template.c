// Classic formats by name, the shapes that templates want, and messages left open.
#include "chat/classic.h"
#include "chat/template.h"
#include "unit/cmocka_all.h"

// Messages as "s:text", "u:text", "a:text".
static size_t parse(const char *const *chat, hth_chat_message *m, hth_chat_part *parts) {
    size_t n = 0;
    for (; chat[n]; n++) {
        const char *role = chat[n][0] == 's' ? "system" : chat[n][0] == 'u' ? "user" : "assistant";
        parts[n] = (hth_chat_part){HTH_CHAT_PART_TEXT, hth_chat_text_of(chat[n] + 2)};
        m[n] = (hth_chat_message){.role = hth_chat_text_of(role), .parts = &parts[n], .n_part = 1};
    }
    return n;
}

static void expect(const hth_chat_choice *choice, const char *const *chat, const char *continues, const char *want) {
    hth_chat_template *t = NULL;
    hth_chat_message m[8];
    hth_chat_part parts[8];
    hth_jinja_text text;
    hth_err err;
    hth_chat_request r = {.messages = m, .n_message = parse(chat, m, parts), .continues = continues};
    if (hth_chat_template_open(NULL, NULL, choice, &t, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_chat_render(t, &r, &text, &err) != HTH_OK) fail_msg("%s", err.msg);
    char out[1024];
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < text.n; i++) {
        at += (size_t)snprintf(out + at, sizeof out - at, "%.*s", (int)text.segments[i].n, text.segments[i].text);
    }
    assert_string_equal(out, want);
    hth_jinja_text_free(&text);
    hth_chat_template_free(t);
}

static void classic_formats_give_their_authors_prompts(void **state) {
    static const struct {
        const char *name, *chat[6], *want;
    } cases[] = {
        {"chatml", {"s:S", "u: U "}, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U <|im_end|>\n<|im_start|>assistant\n"},
        {"gemma", {"s:S", "u: Hi ", "a: Hello\n", "u:more"},
         "<s><start_of_turn>user\nS\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n<start_of_turn>user\nmore"
         "<end_of_turn>\n<start_of_turn>model\n"},
        {"llama3", {"s:S", "u: U "},
         "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"llama2", {"s:S", "u:U", "a:A", "u:V"}, "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] V [/INST]"},
        {"mistral-v3-tekken", {"s:S", "u:U", "a:A", "u:V"}, "<s>[INST]U[/INST]A</s>[INST]S\n\nV[/INST]"},
        {"mistral-v3", {"s:S", "u:U", "a:A ", "u:V"}, "<s>[INST]U[/INST]A</s>[INST]S\n\nV[/INST]"},
        {"mistral-v7", {"s:S", "u:U", "a:A"}, "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U[/INST]A</s>"},
        {"mistral-v11", {"s:S", "u:U"}, "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U[/INST]"},
        {"mistral-v13", {"s:S", "u:U"}, "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U[/INST]"},
        {"mistral-v15", {"u:U"}, "<s>[MODEL_SETTINGS]{\"reasoning_effort\": \"none\"}[/MODEL_SETTINGS][INST]U[/INST]"},
        {"deepseek-v3.2", {"s:S", "u:U"}, "<s>S<｜User｜>U<｜Assistant｜></think>"},
        {"deepseek-v4", {"s:S", "u:U"}, "<s>S<｜User｜>U<｜Assistant｜></think>"},
        {"harmony", {"s:S", "u:U"}, NULL}, // has the date in it; compared with openai-harmony elsewhere
        {"mistral-v1", {"s:S", "u:U", "a:A", "u:V"}, "<s> [INST] S\n\nU [/INST] A</s> [INST] V [/INST]"},
        {"mistral-v0", {"u:U", "a:A", "u:V"}, "<s>[INST] U [/INST]A</s>[INST] V [/INST]"},
        {"zephyr", {"s:S", "u:U"}, "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n"},
        {"phi3", {"s:S", "u:U"}, "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\n"},
        {"phi4", {"u:U"}, "<|im_start|>user<|im_sep|>U<|im_end|><|im_start|>assistant<|im_sep|>"},
        {"phi4-mini", {"u:U"}, "<|user|>U<|end|><|assistant|>"},
        {"command-r", {"s:S", "u: U "},
         "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>U"
         "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
        {"llama3.1", {"u:U"},
         "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
         "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"rwkv-world", {"s:S", "u: U ", "a:A", "u:V"}, "System: S\n\nUser: U\n\nAssistant: A\n\nUser: V\n\nAssistant:"},
        {"plain", {"s:S", "u:U"}, "S\n\nU\n"},
    };
    (void)state;
    assert_null(hth_chat_classic_at(HTH_COUNT(cases))); // none is left out
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        if (cases[i].want) expect(&(hth_chat_choice){.name = cases[i].name}, cases[i].chat, NULL, cases[i].want);
    }
}

#define TEXT(source) (&(hth_chat_choice){.text = {source, sizeof source - 1}})

static void contents_and_system_texts_come_as_the_template_wants_them(void **state) {
    static const char lists[] = "{% for m in messages %}{{ m.role }}:{% for p in m.content %}{{ p.text + '|' }}{% endfor %}{% endfor %}";
    static const char no_system[] = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
                                    "{{ m.role + ':' + m.content + ';' }}{% endfor %}";
    static const char strings[] = "{% for m in messages %}{{ m.role + ':' + m.content + ';' }}{% endfor %}";
    static const char one_system[] = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('no') }}"
                                     "{% endif %}{{ m.role + ':' + m.content + ';' }}{% endfor %}";
    const char *const chat[] = {"s:S", "s:T", "u:U", NULL};
    (void)state;
    expect(TEXT(lists), chat, NULL, "system:S|system:T|user:U|");
    expect(TEXT(one_system), chat, NULL, "system:S\n\nT;user:U;");
    expect(TEXT(no_system), chat, NULL, "user:S\n\nT\n\nU;");
    expect(TEXT(strings), chat, NULL, "system:S;system:T;user:U;");
}

static void arguments_come_as_objects_or_as_text(void **state) {
    static const struct {
        const char *source, *want;
    } cases[] = {
        {"{% for m in messages %}{% for c in m.tool_calls %}{% for k, v in c.function.arguments | items %}{{ k }}={{ v }};{% endfor %}"
         "{% endfor %}{% endfor %}", "a=1.5;b=None;"},
        {"{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments }}{% endfor %}{% endfor %}",
         "{\"a\": 1.5, \"b\":null}"},
        {"{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}",
         "{\"a\": 1.5, \"b\": null}"},
    };
    const hth_chat_call call = {hth_chat_text_of("c1"), hth_chat_text_of("f"), hth_chat_text_of("{\"a\": 1.5, \"b\":null}"), false};
    const hth_chat_message m = {.role = hth_chat_text_of("assistant"), .calls = &call, .n_call = 1};
    const hth_chat_request r = {.messages = &m, .n_message = 1};
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_chat_template *t = NULL;
        hth_jinja_text text;
        hth_err err;
        hth_chat_choice choice = {.text = hth_chat_text_of(cases[i].source)};
        assert_int_equal(hth_chat_template_open(NULL, NULL, &choice, &t, &err), HTH_OK);
        if (hth_chat_render(t, &r, &text, &err) != HTH_OK) fail_msg("%s", err.msg);
        assert_string_equal(text.segments[0].text, cases[i].want);
        hth_jinja_text_free(&text);
        hth_chat_template_free(t);
    }
}

static void a_message_may_be_left_open(void **state) {
    static const char plain[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</end>{% endfor %}{% if add_generation_prompt %}<go>{% endif %}";
    static const char trimming[] = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</end>{% endfor %}";
    const char *const chat[] = {"u:U", "a:Once ", NULL};
    (void)state;
    expect(TEXT(plain), chat, "content", "<user>U</end><assistant>Once ");
    expect(TEXT(trimming), chat, "content", "<user>U</end><assistant>Once");
}

static void an_unknown_name_lists_the_known_ones(void **state) {
    hth_chat_template *t = NULL;
    hth_err err;
    (void)state;
    assert_int_equal(hth_chat_template_open(NULL, NULL, &(hth_chat_choice){.name = "morse"}, &t, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "'morse'"));
    assert_non_null(strstr(err.msg, "chatml, llama3"));
    assert_int_equal(hth_chat_template_open(NULL, NULL, NULL, &t, &err), HTH_ERR_NOTFOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classic_formats_give_their_authors_prompts),
        cmocka_unit_test(contents_and_system_texts_come_as_the_template_wants_them),
        cmocka_unit_test(arguments_come_as_objects_or_as_text),
        cmocka_unit_test(a_message_may_be_left_open),
        cmocka_unit_test(an_unknown_name_lists_the_known_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
