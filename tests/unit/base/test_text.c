// Strings, errors, the hash map and the JSON writer.
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/json_out.h"
#include "base/str.h"
#include "unit/cmocka_all.h"

static void a_string_grows_and_is_always_terminated(void **state) {
    (void)state;
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 100000);
    assert_string_equal(hth_str_text(&s), "");
    for (int i = 0; i < 5000; i++) assert_true(hth_str_printf(&s, "%d,", i % 10));
    assert_int_equal(s.len, 10000);
    assert_int_equal(strlen(hth_str_text(&s)), 10000);
    assert_true(hth_str_append(&s, "a\0b", 3));
    assert_int_equal(s.len, 10003);
    assert_memory_equal(s.p + 10000, "a\0b", 4);
    hth_str_clear(&s);
    assert_string_equal(hth_str_text(&s), "");
    hth_str_free(&s);
}

static void a_refused_append_is_remembered_until_clear(void **state) {
    (void)state;
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 10);
    assert_true(hth_str_puts(&s, "1234567890")); // exactly the maximum
    assert_false(hth_str_putc(&s, '!'));
    assert_true(s.failed);
    assert_false(hth_str_append(&s, "", 0));
    assert_string_equal(hth_str_text(&s), "1234567890");
    hth_str_clear(&s);
    assert_true(hth_str_puts(&s, "again"));
    assert_false(hth_str_printf(&s, "%s", "too long now"));
    assert_string_equal(hth_str_text(&s), "again");
    hth_str_free(&s);
}

static void a_string_survives_out_of_memory(void **state) {
    (void)state;
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, SIZE_MAX);
    assert_true(hth_str_puts(&s, "abc"));
    hth_mem_fail_at(1, false);
    assert_false(hth_str_append(&s, "0123456789012345678901234567890123456789", 40));
    assert_string_equal(hth_str_text(&s), "abc");
    assert_true(s.failed);
    hth_mem_fail_at(0, false);
    hth_str_free(&s);
}

static void errors_carry_code_position_and_a_clean_line(void **state) {
    (void)state;
    hth_err e;
    assert_int_equal(hth_fail_at(&e, HTH_ERR_FORMAT, 77, "bad name '%s'", "a\nb\x1b[2J\x7f\xc2\x9b" "c"), HTH_ERR_FORMAT);
    assert_string_equal(e.msg, "bad name 'a?b?[2J???c' (at byte 77)");
    assert_int_equal(e.pos, 77);
    assert_int_equal(e.code, HTH_ERR_FORMAT);
    assert_int_equal(hth_fail_in(&e, e.code, "model.gguf"), HTH_ERR_FORMAT);
    assert_string_equal(e.msg, "model.gguf: bad name 'a?b?[2J???c' (at byte 77)");
    assert_int_equal(hth_fail(NULL, HTH_ERR_IO, "nobody %s", "reads this"), HTH_ERR_IO);
    assert_int_equal(hth_fail_nomem(&e, 12345), HTH_ERR_NOMEM);
    assert_non_null(strstr(e.msg, "12345"));
    assert_true(e.pos == HTH_NO_POS);
}

static void errors_of_any_length_stay_in_bounds_and_keep_the_position(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    hth_err e;
    assert_int_equal(hth_fail_at(&e, HTH_ERR_FORMAT, UINT64_MAX - 1, "%s", text), HTH_ERR_FORMAT);
    assert_non_null(strstr(e.msg, " (at byte 18446744073709551614)"));
    assert_int_equal(hth_fail_in(&e, e.code, text), HTH_ERR_FORMAT);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    assert_non_null(strstr(e.msg, "x: x"));
}

static void the_map_finds_what_was_put_in_and_nothing_else(void **state) {
    (void)state;
    enum { N = 20000 };
    static char keys[N][8];
    hth_map m;
    assert_true(hth_map_init(&m, HTH_MEM_TEXT, 0));
    for (uint32_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        bool was_there = true;
        assert_true(hth_map_insert(&m, keys[i], strlen(keys[i]), i, NULL, &was_there));
        assert_false(was_there);
    }
    assert_int_equal(m.n_used, N);
    uint32_t v = 0;
    for (uint32_t i = 0; i < N; i++) {
        assert_true(hth_map_find(&m, keys[i], strlen(keys[i]), &v));
        assert_int_equal(v, i);
    }
    assert_false(hth_map_find(&m, "k20000", 6, &v));
    assert_false(hth_map_find(&m, "k1", 3, &v)); // with its zero byte: another key
    hth_map_free(&m);
    assert_false(hth_map_find(&m, "k1", 2, &v));
}

static void the_map_keeps_the_first_value_and_knows_the_empty_key(void **state) {
    (void)state;
    hth_map m;
    assert_true(hth_map_init(&m, HTH_MEM_TEXT, 100));
    uint32_t old = 0;
    bool was_there = false;
    assert_true(hth_map_insert(&m, NULL, 0, 5, NULL, NULL));
    assert_true(hth_map_insert(&m, "", 0, 6, &old, &was_there));
    assert_true(was_there);
    assert_int_equal(old, 5);
    assert_true(hth_map_insert(&m, "a\0b", 3, 1, NULL, &was_there));
    assert_false(was_there);
    assert_true(hth_map_insert(&m, "a\0c", 3, 2, NULL, &was_there));
    assert_false(was_there);
    uint32_t v = 0;
    assert_true(hth_map_find(&m, "a\0c", 3, &v) && v == 2);
    assert_true(hth_map_find(&m, "", 0, &v) && v == 5);
    hth_map_free(&m);
}

static void a_map_that_cannot_grow_stays_as_it_was(void **state) {
    (void)state;
    static char keys[200][8];
    hth_map m;
    assert_true(hth_map_init(&m, HTH_MEM_TEXT, 0));
    hth_mem_fail_at(1, true);
    uint32_t n = 0;
    for (; n < 200; n++) {
        snprintf(keys[n], sizeof keys[n], "%u", n);
        if (!hth_map_insert(&m, keys[n], strlen(keys[n]), n, NULL, NULL)) break;
    }
    hth_mem_fail_at(0, false);
    assert_true(n > 0 && n < 200);
    uint32_t v;
    for (uint32_t i = 0; i < n; i++) assert_true(hth_map_find(&m, keys[i], strlen(keys[i]), &v) && v == i);
    hth_map_free(&m);
}

static void hashes_depend_on_every_bit_length_and_seed(void **state) {
    (void)state;
    unsigned char bytes[40] = {0};
    for (size_t n = 0; n <= sizeof bytes; n++) {
        uint64_t h = hth_hash(bytes, n, 1);
        assert_true(h != hth_hash(bytes, n, 2));
        if (n < sizeof bytes) assert_true(h != hth_hash(bytes, n + 1, 1));
        for (size_t bit = 0; bit < n * 8; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            assert_true(h != hth_hash(bytes, n, 1));
            bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

// --- JSON ---

static void json_places_commas_and_nests(void **state) {
    (void)state;
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 10000);
    for (int pretty = 0; pretty < 2; pretty++) {
        hth_json_out j = hth_json_out_make(&s, pretty);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_int(&j, "a", INT64_MIN);
        hth_json_out_begin(&j, "b", '[');
        hth_json_out_bool(&j, NULL, true);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_end(&j, '}');
        hth_json_out_text(&j, NULL, NULL);
        hth_json_out_end(&j, ']');
        hth_json_out_num(&j, "c", 0.1);
        hth_json_out_end(&j, '}');
        assert_false(s.failed);
        assert_string_equal(hth_str_text(&s),
                            pretty ? "{\n  \"a\": -9223372036854775808,\n  \"b\": [\n    true,\n    {},\n    null\n"
                                     "  ],\n  \"c\": 0.1\n}"
                                   : "{\"a\":-9223372036854775808,\"b\":[true,{},null],\"c\":0.1}");
        hth_str_clear(&s);
    }
    hth_str_free(&s);
}

static void check_json_string(const char *in, size_t n, const char *expect) {
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 10000);
    hth_json_out j = hth_json_out_make(&s, false);
    hth_json_out_str(&j, NULL, in, n);
    assert_string_equal(hth_str_text(&s), expect);
    hth_str_free(&s);
}

static void json_escapes_control_characters_and_quotes(void **state) {
    (void)state;
    check_json_string("a\"\\/\n\t\r\b\f\x01\x1f\x7f\0z", 14, "\"a\\\"\\\\/\\n\\t\\r\\b\\f\\u0001\\u001f\\u007f\\u0000z\"");
    check_json_string(NULL, 0, "\"\"");
}

#define BAD "\xef\xbf\xbd"
static void json_keeps_valid_utf8_and_replaces_the_rest(void **state) {
    (void)state;
    const char *valid = "\"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\xa5 \xf4\x8f\xbf\xbf \xed\x9f\xbf\"";
    check_json_string(valid + 1, strlen(valid) - 2, valid);
    check_json_string("\xc0\xaf", 2, "\"" BAD BAD "\"");             // over-long
    check_json_string("\xe0\x80\xaf", 3, "\"" BAD BAD BAD "\"");     // over-long
    check_json_string("\xed\xa0\x80", 3, "\"" BAD BAD BAD "\"");     // surrogate
    check_json_string("\xf4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""); // above U+10FFFF
    check_json_string("a\x80z", 3, "\"a" BAD "z\"");
    check_json_string("\xe2\x82", 2, "\"" BAD BAD "\"");     // cut off
    check_json_string("\xe2\x82\xac", 2, "\"" BAD BAD "\""); // the length counts, not what follows
}

static void json_numbers_read_back_the_same(void **state) {
    (void)state;
    const double values[] = {0, -0.0, 1, 0.1, 1.0 / 3, 1e300, 5e-324, 1.7976931348623157e308, 123456789.123, 3.4028234663852886e38};
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 10000);
    for (size_t i = 0; i < HTH_COUNT(values); i++) {
        hth_json_out j = hth_json_out_make(&s, false);
        hth_json_out_num(&j, NULL, values[i]);
        double back = strtod(hth_str_text(&s), NULL);
        assert_memory_equal(&back, &values[i], sizeof back);
        hth_str_clear(&s);
    }
    hth_json_out j = hth_json_out_make(&s, false);
    hth_json_out_begin(&j, NULL, '[');
    hth_json_out_num(&j, NULL, NAN);
    hth_json_out_num(&j, NULL, -INFINITY);
    hth_json_out_num(&j, NULL, 1e22);
    hth_json_out_end(&j, ']');
    assert_string_equal(hth_str_text(&s), "[null,null,1e+22]");
    hth_str_free(&s);
}

static void json_takes_floats_and_ready_json(void **state) {
    (void)state;
    static const struct {
        float v;
        const char *want;
    } rows[] = {{0.1f, "0.1"}, {1, "1"}, {-3.4028235e38f, "-3.4028235e+38"}, {1.0f / 3, "0.33333334"}, {NAN, "null"}, {1e-45f, "1.4013e-45"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hth_str s;
        hth_str_init(&s, HTH_MEM_MISC, 100);
        hth_json_out j = hth_json_out_make(&s, false);
        hth_json_out_begin(&j, NULL, '[');
        hth_json_out_float(&j, NULL, rows[i].v);
        hth_json_out_raw(&j, NULL, "{\"a\":1}", 7);
        hth_json_out_end(&j, ']');
        char want[64];
        snprintf(want, sizeof want, "[%s,{\"a\":1}]", rows[i].want);
        assert_string_equal(hth_str_text(&s), want);
        hth_str_free(&s);
    }
}

static void json_nested_too_deep_fails_instead_of_lying(void **state) {
    (void)state;
    hth_str s;
    hth_str_init(&s, HTH_MEM_TEXT, 10000);
    hth_json_out j = hth_json_out_make(&s, false);
    for (int i = 0; i < 63; i++) hth_json_out_begin(&j, NULL, '[');
    hth_json_out_int(&j, NULL, 1);
    hth_json_out_int(&j, NULL, 2);
    assert_false(s.failed);
    for (int i = 0; i < 63; i++) hth_json_out_end(&j, ']');
    assert_false(s.failed);
    assert_int_equal(s.len, 63 + 3 + 63);
    hth_json_out_end(&j, ']');
    assert_true(s.failed);
    hth_str_clear(&s);
    j = hth_json_out_make(&s, false);
    for (int i = 0; i < 64; i++) hth_json_out_begin(&j, NULL, '[');
    assert_true(s.failed);
    hth_str_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_grows_and_is_always_terminated),
        cmocka_unit_test(a_refused_append_is_remembered_until_clear),
        cmocka_unit_test(a_string_survives_out_of_memory),
        cmocka_unit_test(errors_carry_code_position_and_a_clean_line),
        cmocka_unit_test(errors_of_any_length_stay_in_bounds_and_keep_the_position),
        cmocka_unit_test(the_map_finds_what_was_put_in_and_nothing_else),
        cmocka_unit_test(the_map_keeps_the_first_value_and_knows_the_empty_key),
        cmocka_unit_test(a_map_that_cannot_grow_stays_as_it_was),
        cmocka_unit_test(hashes_depend_on_every_bit_length_and_seed),
        cmocka_unit_test(json_places_commas_and_nests),
        cmocka_unit_test(json_escapes_control_characters_and_quotes),
        cmocka_unit_test(json_keeps_valid_utf8_and_replaces_the_rest),
        cmocka_unit_test(json_numbers_read_back_the_same),
        cmocka_unit_test(json_takes_floats_and_ready_json),
        cmocka_unit_test(json_nested_too_deep_fails_instead_of_lying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
