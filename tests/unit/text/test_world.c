// RWKV's vocabulary files, line by line.
#include <string.h>

#include "unit/cmocka_all.h"

#include "text/tok_impl.h"

static hth_tokenizer *load(const char *text) {
    hth_tokenizer *t = NULL;
    hth_err err = {.msg = ""};
    if (hth_tok_load_world(text, strlen(text), &t, &err) != HTH_OK) fail_msg("%s", err.msg);
    return t;
}

static void assert_token(const hth_tokenizer *t, hth_token id, const char *bytes, size_t n) {
    size_t len = 0;
    const char *got = hth_tokenizer_bytes(t, id, &len);
    assert_non_null(got);
    assert_int_equal(len, n);
    assert_memory_equal(got, bytes, n);
}

static void literals_are_read_as_python_writes_them(void **state) {
    (void)state;
    hth_tokenizer *t = load("1 '\\x00' 1\n2 '\\x81' 2\n3 b'\\x81' 1\n4 \"'\" 1\r\n5 '\"\\'' 2\n\n6 '\\u200b' 3\n7 '\\U0001f600' 4\n"
                            "8 ' ' 1\n9 '\\t\\n\\r\\\\' 4\n12 'a b' 3");
    assert_int_equal(hth_tokenizer_n_vocab(t), 13);
    assert_token(t, 1, "\0", 1);
    assert_token(t, 2, "\xc2\x81", 2);
    assert_token(t, 3, "\x81", 1);
    assert_token(t, 4, "'", 1);
    assert_token(t, 5, "\"'", 2);
    assert_token(t, 6, "\xe2\x80\x8b", 3);
    assert_token(t, 7, "\xf0\x9f\x98\x80", 4);
    assert_token(t, 8, " ", 1);
    assert_token(t, 9, "\t\n\r\\", 4);
    assert_token(t, 12, "a b", 3);
    assert_true(hth_tokenizer_is_control(t, 0) && hth_tokenizer_is_end(t, 0));
    hth_tokenizer_free(t);
}

// Greedy, even where that leaves a byte that no token has.
static void the_longest_token_is_taken_each_time(void **state) {
    (void)state;
    hth_tokenizer *t = load("1 'a' 1\n2 'ab' 2\n3 'abcd' 4\n4 'bcd' 3\n5 'c' 1");
    const hth_token want[] = {3, 2, 5, 1, 4, 2};
    hth_token_list ids = {0};
    hth_err err;
    const hth_text_segment s = {.text = "abcdabcabxcdxbcdab", .n = 4 + 3};
    assert_int_equal(hth_tokenize(t, &s, 1, 0, &ids, &err), HTH_OK);
    assert_int_equal(ids.n, 3);
    assert_memory_equal(ids.ids, want, 3 * sizeof *want);
    ids.n = 0;
    const hth_text_segment u = {.text = "xaxbcdxab", .n = 9};
    assert_int_equal(hth_tokenize(t, &u, 1, 0, &ids, &err), HTH_OK);
    assert_int_equal(ids.n, 3);
    assert_memory_equal(ids.ids, want + 3, 3 * sizeof *want);
    hth_token_list_free(&ids);
    hth_tokenizer_free(t);
}

static void malformed_lines_are_refused_by_number(void **state) {
    static const char *const bad[] = {"x 'a' 1", "2 'a'", "2 'a' 2", "2 a 1", "2 'a 1", "2 '\\q' 1", "2 '\\x4' 1", "2 '' 0", "2 b'\\u0041' 1",
                                      "99999999 'a' 1", "-1 'a' 1", "2 'a' 1 1", "2 '\\U00110000' 4", "2 '\\", "2", "2 "};
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        char text[64];
        hth_tokenizer *t = NULL;
        hth_err err = {.msg = ""};
        const int n = snprintf(text, sizeof text, "1 'b' 1\n%s\n", bad[i]);
        assert_int_equal(hth_tok_load_world(text, (size_t)n, &t, &err), HTH_ERR_FORMAT);
        assert_null(t);
        if (!strstr(err.msg, "line 2")) fail_msg("%s: %s", bad[i], err.msg);
    }
    hth_tokenizer *t = NULL;
    hth_err err;
    assert_int_equal(hth_tok_load_world("\n\n", 2, &t, &err), HTH_ERR_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_are_read_as_python_writes_them),
        cmocka_unit_test(the_longest_token_is_taken_each_time),
        cmocka_unit_test(malformed_lines_are_refused_by_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
