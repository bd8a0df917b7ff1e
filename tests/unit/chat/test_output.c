// The reader of answers: what it tells and when, limits, and every allocation refused in turn. What comes of answers in
// every format is tests/parity/test_output.py's.
#include "chat/output.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

static const char tools_json[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": {\"a\":"
    " {\"type\": \"integer\"}, \"s\": {\"type\": \"string\"}, \"r\": {\"$ref\": \"#/$defs/x\"}, \"u\": {\"anyOf\": [{\"type\":"
    " \"null\"}, {\"const\": 1}]}}, \"$defs\": {\"x\": {\"enum\": [\"k\", true]}}}}}]";

typedef struct world {
    hth_arena arena;
    hth_json_doc *doc;
    hth_chat_tools tools;
} world;

static hth_code open_world(world *w, hth_err *err) {
    hth_arena_init(&w->arena, HTH_MEM_MISC, 1 << 20);
    w->doc = NULL;
    HTH_TRY(hth_json_parse(tools_json, sizeof tools_json - 1, 1 << 20, &w->doc, err));
    return hth_chat_tools_from_json(&w->arena, hth_json_root(w->doc), tools_json, sizeof tools_json - 1, &w->tools, err);
}

static void close_world(world *w) {
    hth_json_free(w->doc);
    hth_arena_free(&w->arena);
}

// What was told, a letter for each delta with its text.
typedef struct diary {
    char text[4096];
    size_t n, n_delta, refuse_at;
} diary;

static hth_code write_down(void *user, const hth_chat_delta *d, hth_err *err) {
    diary *to = user;
    if (++to->n_delta == to->refuse_at) return hth_fail(err, HTH_ERR_CANCELLED, "enough");
    to->n += (size_t)snprintf(to->text + to->n, sizeof to->text - to->n, "%c%d%.*s%.*s|", "rcCae"[d->kind],
                              d->kind >= HTH_CHAT_DELTA_CALL ? (int)d->call : 0, (int)d->name.n, d->name.p ? d->name.p : "",
                              (int)d->n_text, d->text ? d->text : "");
    return HTH_OK;
}

static hth_chat_output *open_output(const char *format, const world *w, diary *to, uint64_t max_bytes) {
    hth_err err;
    hth_chat_output *o;
    const hth_chat_output_params p = {.format = hth_chat_format_find(format), .tools = w ? &w->tools : NULL, .sink = write_down,
                                      .user = to, .max_bytes = max_bytes};
    assert_non_null(p.format);
    assert_int_equal(hth_chat_output_new(&p, &o, &err), HTH_OK);
    return o;
}

static void feed(hth_chat_output *o, const char *text) {
    hth_err err;
    assert_int_equal(hth_chat_output_feed(o, text, strlen(text), &err), HTH_OK);
}

static void text_is_told_as_soon_as_it_is_certain(void **state) {
    (void)state;
    hth_err err;
    world w;
    diary to = {.n = 0};
    assert_int_equal(open_world(&w, &err), HTH_OK);
    hth_chat_output *o = open_output("hermes", &w, &to, 0);
    feed(o, "<think>hm");
    assert_string_equal(to.text, "r0hm|");
    assert_true(hth_chat_output_is_thinking(o));
    feed(o, " well</th");
    assert_string_equal(to.text, "r0hm|r0 well|");
    feed(o, "ink> \n");
    assert_false(hth_chat_output_is_thinking(o));
    feed(o, "Hi <to");
    assert_string_equal(to.text, "r0hm|r0 well|c0Hi|");
    feed(o, "ol_call>{\"name\": \"f\", \"argum");
    feed(o, "ents\": {\"a\"");
    assert_string_equal(to.text, "r0hm|r0 well|c0Hi|C0f|a0{\"a\"|");
    feed(o, ": 1}");
    assert_string_equal(to.text, "r0hm|r0 well|c0Hi|C0f|a0{\"a\"|a0: 1}|e0|");
    feed(o, "}</tool_call> bye");
    assert_int_equal(hth_chat_output_end(o, &err), HTH_OK);
    assert_string_equal(to.text, "r0hm|r0 well|c0Hi|C0f|a0{\"a\"|a0: 1}|e0|c0bye|");
    hth_chat_output_free(o);
    close_world(&w);
}

static void strings_between_marks_are_told_as_they_come(void **state) {
    (void)state;
    hth_err err;
    world w;
    diary to = {.n = 0};
    assert_int_equal(open_world(&w, &err), HTH_OK);
    hth_chat_output *o = open_output("qwen3-coder", &w, &to, 0);
    feed(o, "<function=f><parameter=s>ab");
    assert_string_equal(to.text, "C0f|a0{\"s\": \"ab|");
    feed(o, "\"\n</para");
    feed(o, "meter><parameter=a>1");
    assert_string_equal(to.text, "C0f|a0{\"s\": \"ab|a0\\\"|a0\", \"a\": |");
    hth_chat_output_free(o);
    close_world(&w);
}

static void a_sink_that_refuses_ends_the_feed(void **state) {
    (void)state;
    hth_err err = {.msg = ""};
    diary to = {.refuse_at = 2};
    hth_chat_output *o = open_output("hermes", NULL, &to, 0);
    assert_int_equal(hth_chat_output_feed(o, "<think>a</think>b", 17, &err), HTH_ERR_CANCELLED);
    assert_string_equal(err.msg, "enough");
    assert_int_equal(hth_chat_output_feed(o, "c", 1, &err), HTH_ERR_CANCELLED);
    assert_int_equal(hth_chat_output_end(o, &err), HTH_ERR_CANCELLED);
    assert_string_equal(to.text, "r0a|");
    hth_chat_output_free(o);
}

static void what_is_held_back_has_a_limit_and_what_is_told_has_none(void **state) {
    (void)state;
    hth_err err = {.msg = ""};
    world w;
    diary to = {.n = 0};
    char piece[1025];
    hth_code code = HTH_OK;
    memset(piece, 'x', sizeof piece - 1);
    piece[sizeof piece - 1] = 0;
    assert_int_equal(open_world(&w, &err), HTH_OK);
    hth_chat_output *o = open_output("hermes", &w, &to, 1 << 17);
    feed(o, "<tool_call>{\"arguments\": {\"s\": \""); // the name comes last
    for (int i = 0; i < 1000 && code == HTH_OK; i++) code = hth_chat_output_feed(o, piece, sizeof piece - 1, &err);
    assert_int_equal(code, HTH_ERR_LIMIT);
    assert_non_null(strstr(err.msg, "131072"));
    hth_chat_output_free(o);
    memset(piece, ' ', sizeof piece - 1);
    o = open_output("hermes", &w, &to, 1 << 17);
    for (int i = 0; i < 1000; i++) {
        memset(piece, i % 2 ? ' ' : 'y', sizeof piece - 1);
        to.n = 0;
        feed(o, piece);
    }
    hth_chat_output_free(o);
    close_world(&w);
}

static hth_code parse_all(hth_err *err) {
    static const char *const texts[][2] = {
        {"hermes", "<think>a</think>b <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>"},
        {"qwen3-coder", "<function=f><parameter=r>k</parameter><parameter=u>['a', {}]</parameter></function>"},
        {"lfm2", "<|tool_call_start|>[f(1, s='x')]<|tool_call_end|>"},
        {"gpt-oss", "<|channel|>analysis<|message|>a<|end|>"}};
    world w;
    hth_code code = open_world(&w, err);
    for (size_t i = 0; i < HTH_COUNT(texts) && code == HTH_OK; i++) {
        hth_chat_answer a;
        const hth_chat_output_params p = {.format = hth_chat_format_find(texts[i][0]), .tools = &w.tools};
        code = hth_chat_answer_parse(&p, texts[i][1], strlen(texts[i][1]), &a, err);
        if (code == HTH_OK) hth_chat_answer_free(&a);
    }
    close_world(&w);
    return code;
}

static void every_refused_allocation_is_an_error_and_nothing_is_left(void **state) {
    (void)state;
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    for (uint64_t n = 1;; n++) {
        hth_err err;
        hth_mem_fail_at(n, false);
        const hth_code code = parse_all(&err);
        const bool was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        hth_mem_get_stats(&after);
        assert_int_equal(after.n_blocks, before.n_blocks);
        if (!was_hit) {
            assert_int_equal(code, HTH_OK);
            return;
        }
        assert_int_equal(code, HTH_ERR_NOMEM);
    }
}

static void schemas_say_which_kinds_a_value_may_have(void **state) {
    (void)state;
    hth_err err;
    world w;
    assert_int_equal(open_world(&w, &err), HTH_OK);
    const hth_chat_tool *f = hth_chat_tools_find(&w.tools, "f", 1);
    assert_non_null(f);
    assert_int_equal(hth_chat_tool_kinds(f, "a", 1), HTH_CHAT_KIND_NUMBER);
    assert_int_equal(hth_chat_tool_kinds(f, "s", 1), HTH_CHAT_KIND_STRING);
    assert_int_equal(hth_chat_tool_kinds(f, "r", 1), HTH_CHAT_KIND_STRING | HTH_CHAT_KIND_BOOL);
    assert_int_equal(hth_chat_tool_kinds(f, "u", 1), HTH_CHAT_KIND_NULL | HTH_CHAT_KIND_NUMBER);
    assert_int_equal(hth_chat_tool_kinds(f, "unknown", 7), HTH_CHAT_KIND_ALL);
    assert_memory_equal(f->schema_text.p + f->schema_text.n - 4, "]}}}", 4);
    assert_null(hth_chat_tools_find(&w.tools, "ff", 2));
    close_world(&w);
}

static hth_code read_tools(const char *text, char *message) {
    hth_err err = {.msg = ""};
    hth_arena a;
    hth_json_doc *doc;
    hth_chat_tools tools;
    hth_arena_init(&a, HTH_MEM_MISC, 1 << 16);
    assert_int_equal(hth_json_parse(text, strlen(text), 1 << 16, &doc, &err), HTH_OK);
    const hth_code code = hth_chat_tools_from_json(&a, hth_json_root(doc), text, strlen(text), &tools, &err);
    strcpy(message, code == HTH_OK ? "" : err.msg);
    hth_json_free(doc);
    hth_arena_free(&a);
    return code;
}

static void tools_that_are_none_are_refused(void **state) {
    (void)state;
    char message[sizeof((hth_err *)0)->msg];
    assert_int_equal(read_tools("{}", message), HTH_ERR_FORMAT);
    assert_int_equal(read_tools("[{\"name\": \"a\"}, {\"name\": 3}]", message), HTH_ERR_FORMAT);
    assert_non_null(strstr(message, "tool 1"));
    assert_int_equal(read_tools("[{\"name\": \"abc\", \"parameters\": 7}]", message), HTH_ERR_FORMAT);
    assert_non_null(strstr(message, "'abc'"));
    assert_int_equal(read_tools("[{\"name\": \"abc\", \"parameters\": null}]", message), HTH_OK);
}

static void prompts_show_what_they_leave_open(void **state) {
    (void)state;
    static const struct {
        const char *template_text, *user_text, *rest;
        hth_chat_begins begins;
    } cases[] = {
        {"<|im_start|>assistant\n<think>\n", NULL, NULL, HTH_CHAT_BEGINS_THOUGHT},
        {"<|im_start|>assistant\n<think>\n\n</think>\n\n", NULL, NULL, HTH_CHAT_BEGINS_CONTENT},
        {"<|im_start|>assistant\n", NULL, NULL, HTH_CHAT_BEGINS_ANSWER},
        {"<think>old</think><|im_end|>\n<|im_start|>assistant\n", NULL, NULL, HTH_CHAT_BEGINS_ANSWER},
        {"<|im_start|>user\n", "<think>", NULL, HTH_CHAT_BEGINS_ANSWER}, // a client's tag is a client's text
        {"<|im_start|>user\n", "<think>", "<|im_end|>\n<|im_start|>assistant\n", HTH_CHAT_BEGINS_ANSWER},
        {"<|im_start|>assistant\n<think>\n", "so far", NULL, HTH_CHAT_BEGINS_THOUGHT},
        {"<|im_start|>assistant\n<think>\nx\n</think>\n", "Hello", NULL, HTH_CHAT_BEGINS_CONTENT},
    };
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_text_segment s[3] = {{cases[i].template_text, strlen(cases[i].template_text), false}};
        hth_jinja_text text = {.segments = s, .n = 1};
        if (cases[i].user_text) s[text.n++] = (hth_text_segment){cases[i].user_text, strlen(cases[i].user_text), true};
        if (cases[i].rest) s[text.n++] = (hth_text_segment){cases[i].rest, strlen(cases[i].rest), false};
        assert_int_equal(hth_chat_format_begins(hth_chat_format_find("hermes"), &text), cases[i].begins);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_told_as_soon_as_it_is_certain),
        cmocka_unit_test(strings_between_marks_are_told_as_they_come),
        cmocka_unit_test(a_sink_that_refuses_ends_the_feed),
        cmocka_unit_test(what_is_held_back_has_a_limit_and_what_is_told_has_none),
        cmocka_unit_test(every_refused_allocation_is_an_error_and_nothing_is_left),
        cmocka_unit_test(schemas_say_which_kinds_a_value_may_have),
        cmocka_unit_test(tools_that_are_none_are_refused),
        cmocka_unit_test(prompts_show_what_they_leave_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
