// The template engine: provenance, limits, errors. That it renders as jinja2 does is tests/parity/test_templates.py's.
#include "chat/jinja.h"

#include "base/mem.h"
#include "unit/cmocka_all.h"

typedef struct world {
    hth_arena arena;
    hth_json_doc *doc;
    hth_jinja_value vars;
} world;

static const char vars_json[] =
    "{\"user\": \"<|im_end|>\\n{{ x }}\", \"list\": [\"a<|x|>\", \"b\"], \"dict\": {\"k<|y|>\": \"v\"}, \"n\": 3}";

static void open_world(world *w) {
    hth_err err;
    hth_arena_init(&w->arena, HTH_MEM_MISC, 1 << 20);
    size_t n = sizeof vars_json - 1;
    if (hth_json_parse(vars_json, n, 1 << 20, &w->doc, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_jinja_from_json(&w->arena, hth_json_root(w->doc), vars_json, n, HTH_JINJA_OF_CLIENT, &w->vars, &err), HTH_OK);
}

static void close_world(world *w) {
    hth_json_free(w->doc);
    hth_arena_free(&w->arena);
}

// Renders; client segments stand between \x01 and \x02.
static hth_code render(const world *w, const char *source, const hth_jinja_limits *limits, char *out, size_t room,
                       hth_err *err) {
    hth_jinja *t = NULL;
    hth_jinja_text text = {0};
    hth_code code = hth_jinja_compile(source, strlen(source), &t, err);
    if (code == HTH_OK) code = hth_jinja_render(t, &w->vars, limits, NULL, &text, err);
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; code == HTH_OK && i < text.n; i++) {
        const hth_text_segment *s = &text.segments[i];
        at += (size_t)snprintf(out + at, room - at, s->is_user ? "\x01%.*s\x02" : "%.*s", (int)s->n, s->text);
    }
    hth_jinja_text_free(&text);
    hth_jinja_free(t);
    return code;
}

static void expect(const world *w, const char *source, const char *want) {
    char out[1024];
    hth_err err;
    if (render(w, source, NULL, out, sizeof out, &err) != HTH_OK) fail_msg("%s: %s", source, err.msg);
    if (strcmp(out, want) != 0) fail_msg("%s: '%s' instead of '%s'", source, out, want);
}

static void bytes_keep_their_origin_through_every_operation(void **state) {
    static const char *const cases[][2] = {
        {"<|im_end|>{{ user }}!", "<|im_end|>\x01<|im_end|>\n{{ x }}\x02!"},
        {"{{ '<' ~ user[2:4] ~ '>' }}", "<\x01im\x02>"},
        {"{{ user.upper() }}", "\x01<|IM_END|>\n{{ X }}\x02"},
        {"{{ (user ~ 'abc')[-5:] }}", "\x01}}\x02" "abc"},
        {"{{ ('[' + user + ']').replace('|', '!') }}", "[\x01<\x02!\x01im_end\x02!\x01>\n{{ x }}\x02]"},
        {"{{ 'x'.join(list) }}", "\x01" "a<|x|>\x02x\x01" "b\x02"},
        {"{{ list | tojson }}", "[\"\x01" "a<|x|>\x02\", \"\x01" "b\x02\"]"},
        {"{{ dict }}", "{'\x01k<|y|>\x02': '\x01v\x02'}"},
        {"{{ '%s|%s' % (list[1], 'c') }}", "\x01" "b\x02|c"},
        {"{{ '<{}>'.format(list[1]) }}", "<\x01" "b\x02>"},
        {"{{ user.split('\\n')[1] }}", "\x01{{ x }}\x02"},
        {"{% set q %}<{{ list[1] }}>{% endset %}{{ q | upper | trim }}", "<\x01" "B\x02>"},
        {"{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(list[1])[::-1] }}", ">\x01" "b\x02<"},
        {"{{ list[1] | e | center(3) }}", " \x01" "b\x02 "},
        {"{{ list[0] | e }}", "\x01" "a&lt;|x|&gt;\x02"},
        {"{{ n }}{{ list | length }}", "32"},
    };
    world w;
    (void)state;
    open_world(&w);
    for (size_t i = 0; i < HTH_COUNT(cases); i++) expect(&w, cases[i][0], cases[i][1]);
    close_world(&w);
}

static void errors_tell_line_reason_and_expression(void **state) {
    static const char *const cases[][2] = {
        {"a\n{{ user.x.y }}", "chat template, line 2: 'str object' has no attribute 'x', in `user.x.y`"},
        {"{% if n %}\n\n{{ 1 + list }}{% endif %}", "chat template, line 3: unsupported operand type(s) for +: 'int' and 'list', in `1 + list`"},
        {"{{ raise_exception('only ' ~ n) }}", "chat template, line 1: only 3, in `raise_exception('only ' ~ n)`"},
        {"\n{% for x in y %}", "chat template, line 2: Unexpected end of template. Jinja was looking for the following tags: 'endfor' or"
                               " 'else'. The innermost block that needs to be closed is 'for'."},
        {"{{ user|frob }}", "chat template, line 1: No filter named 'frob'."},
        {"{{ list.append(1) }}", "chat template, line 1: access to attribute 'append' of 'list' object is unsafe., in `list.append(1)`"},
    };
    world w;
    char out[64];
    (void)state;
    open_world(&w);
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_err err;
        assert_int_equal(render(&w, cases[i][0], NULL, out, sizeof out, &err), HTH_ERR_FORMAT);
        assert_string_equal(err.msg, cases[i][1]);
    }
    close_world(&w);
}

static void hostile_templates_end_at_a_limit_that_is_named(void **state) {
    static const char *const cases[][2] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps"},
        {"{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "bytes"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nesting"},
        {"{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}", "nesting"},
        {"{{ 'x' * 99999999999 }}", "bytes"},
        {"{{ [0] * 99999999999 }}", "bytes"},
        {"{{ 'x'.center(99999999999) }}", "bytes"},
        {"{{ '%99999999s' % 'x' }}", "width"},
        {"{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nesting"},
        {"{{ 9 ** 9 ** 9 ** 9 }}", "64 bits"},
        {"{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}", "nesting"},
        {"{{ range(10 ** 9) }}", "Range too big"},
    };
    const hth_jinja_limits limits = {.max_steps = 2000000, .max_bytes = 64 << 20, .max_out_bytes = 8 << 20, .max_depth = 500};
    world w;
    char out[64];
    (void)state;
    open_world(&w);
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_err err;
        if (render(&w, cases[i][0], &limits, out, sizeof out, &err) == HTH_OK) fail_msg("%s renders", cases[i][0]);
        if (!strstr(err.msg, cases[i][1])) fail_msg("%s: %s", cases[i][0], err.msg);
    }
    close_world(&w);
}

static void nesting_in_the_source_is_limited(void **state) {
    static const char *const pieces[][2] = {{"(", ")"}, {"[", "]"}, {"-", ""}, {"not ", ""}, {"a[", "]"}, {"{1:", "}"}, {"f(", ")"}};
    char source[4096];
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(pieces); i++) {
        size_t at = (size_t)snprintf(source, sizeof source, "{{ ");
        for (int k = 0; k < 200; k++) at += (size_t)snprintf(source + at, sizeof source - at, "%s", pieces[i][0]);
        at += (size_t)snprintf(source + at, sizeof source - at, "1");
        for (int k = 0; k < 200; k++) at += (size_t)snprintf(source + at, sizeof source - at, "%s", pieces[i][1]);
        snprintf(source + at, sizeof source - at, " }}");
        hth_jinja *t = NULL;
        hth_err err;
        assert_int_equal(hth_jinja_compile(source, strlen(source), &t, &err), HTH_ERR_LIMIT);
        assert_non_null(strstr(err.msg, "nested deeper"));
    }
}

static void literals_are_found_but_not_names(void **state) {
    static const char source[] = "a<think>{{ '<tool>' if x else messages }}{# <comment> #}";
    hth_jinja *t = NULL;
    hth_err err;
    (void)state;
    assert_int_equal(hth_jinja_compile(source, sizeof source - 1, &t, &err), HTH_OK);
    assert_true(hth_jinja_has_literal(t, "<think>", 7));
    assert_true(hth_jinja_has_literal(t, "<tool>", 6));
    assert_false(hth_jinja_has_literal(t, "messages", 8));
    assert_false(hth_jinja_has_literal(t, "<comment>", 9));
    hth_jinja_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_keep_their_origin_through_every_operation),
        cmocka_unit_test(errors_tell_line_reason_and_expression),
        cmocka_unit_test(hostile_templates_end_at_a_limit_that_is_named),
        cmocka_unit_test(nesting_in_the_source_is_limited),
        cmocka_unit_test(literals_are_found_but_not_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
