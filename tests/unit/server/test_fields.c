// Tables of fields: what is honoured, what is refused by its path, what is named as ignored.
#include "unit/cmocka_all.h"

#include "server/field_sets.h"

typedef struct things {
    bool flag;
    int64_t n;
    double x;
    hth_chat_text word;
    int choice;
    bool has_n;
} things;

static const hth_field table[] = {
    {.name = "flag", .kind = HTH_FIELD_BOOL, .offset = offsetof(things, flag)},
    {.name = "n", .kind = HTH_FIELD_INT, .offset = offsetof(things, n), .lo = 0, .hi = 10, .given = offsetof(things, has_n) + 1},
    {.name = "x", .kind = HTH_FIELD_NUM, .offset = offsetof(things, x), .lo = 0, .hi = 1},
    {.name = "word", .kind = HTH_FIELD_TEXT, .offset = offsetof(things, word), .required = true},
    {.name = "choice", .kind = HTH_FIELD_WORD, .offset = offsetof(things, choice), .words = "low|high"},
    {.name = "idle", .kind = HTH_FIELD_IGNORED},
    {.name = "never", .kind = HTH_FIELD_REFUSED, .help = "it is never done"},
};

typedef struct reading {
    hth_arena arena;
    hth_fault fault;
    hth_fields f;
    hth_json_doc *doc;
    things to;
    bool ok;
} reading;

static void read_text(reading *r, const char *text) {
    hth_err err;
    memset(r, 0, sizeof *r);
    hth_arena_init(&r->arena, HTH_MEM_SERVER, 1 << 20);
    r->f = (hth_fields){.arena = &r->arena, .text = text, .n_text = strlen(text), .fault = &r->fault};
    assert_int_equal(hth_json_parse(text, strlen(text), 1 << 20, &r->doc, &err), HTH_OK);
    r->ok = hth_fields_read(&r->f, table, HTH_COUNT(table), hth_json_root(r->doc), &r->to);
}

static void done(reading *r) {
    hth_json_free(r->doc);
    hth_arena_free(&r->arena);
}

static void values_find_their_places(void **state) {
    reading r;
    (void)state;
    read_text(&r, "{\"flag\":true,\"n\":4.0,\"x\":0.5,\"word\":\"a\\u0000b\",\"choice\":\"high\"}");
    assert_true(r.ok && r.to.flag && r.to.has_n && r.to.n == 4 && r.to.x == 0.5 && r.to.word.n == 3 && r.to.choice == 1);
    assert_string_equal(r.f.ignored, "");
    done(&r);
}

static void null_is_as_if_it_were_not_there(void **state) {
    reading r;
    (void)state;
    read_text(&r, "{\"word\":\"a\",\"n\":null,\"flag\":null,\"never\":null}");
    assert_true(r.ok && !r.to.has_n);
    done(&r);
    read_text(&r, "{\"word\":null}");
    assert_false(r.ok);
    assert_string_equal(r.fault.message, "'word' is required");
    done(&r);
}

static void what_has_no_effect_and_what_nobody_knows_is_named(void **state) {
    reading r;
    (void)state;
    read_text(&r, "{\"word\":\"a\",\"idle\":1,\"odd\\n\":2,\"never\":false}");
    assert_true(r.ok);
    assert_string_equal(r.f.ignored, "idle, odd?"); // it becomes a header: no line breaks
    done(&r);
}

static void refusals_name_the_field(void **state) {
    static const struct {
        const char *text, *param, *message;
    } cases[] = {
        {"{\"word\":1}", "word", "'word' must be a string, not a number"},
        {"{\"word\":\"\",\"n\":11}", "n", "'n' must be from 0 to 10, not 11"},
        {"{\"word\":\"\",\"n\":1.5}", "n", "'n' must be a whole number, not a number"},
        {"{\"word\":\"\",\"x\":NaN}", "x", "'x' must be a finite number"},
        {"{\"word\":\"\",\"choice\":\"lo\"}", "choice", "'choice' must be one of low|high"},
        {"{\"word\":\"\",\"never\":true}", "never", "'never' is not supported: it is never done"},
        {"{}", "word", "'word' is required"},
        {"[]", "", "the request must be an object, not an array"},
    };
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        reading r;
        read_text(&r, cases[i].text);
        assert_false(r.ok);
        assert_string_equal(r.fault.param, cases[i].param);
        assert_string_equal(r.fault.message, cases[i].message);
        done(&r);
    }
}

static void every_row_of_every_endpoint_says_what_it_means(void **state) {
    (void)state;
    for (const hth_endpoint *e = hth_endpoints; e->name; e++) {
        for (size_t i = 0; i < e->set->n; i++) {
            const hth_field *f = &e->set->fields[i];
            assert_true(f->help && f->help[0]);
            assert_true(f->kind != HTH_FIELD_CUSTOM || (f->read && f->words));
            assert_true(f->kind != HTH_FIELD_WORD || f->words);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_find_their_places),
        cmocka_unit_test(null_is_as_if_it_were_not_there),
        cmocka_unit_test(what_has_no_effect_and_what_nobody_knows_is_named),
        cmocka_unit_test(refusals_name_the_field),
        cmocka_unit_test(every_row_of_every_endpoint_says_what_it_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
