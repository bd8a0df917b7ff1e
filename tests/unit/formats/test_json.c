// The JSON reader against RFC 8259, its limits, and exact number conversion.
#include "cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "formats/json.h"

#define MAX ((uint64_t)1 << 24)

static hth_err err;

static hth_json_doc *parse(const char *text) {
    hth_json_doc *doc = NULL;
    hth_code code = hth_json_parse(text, strlen(text), MAX, &doc, &err);
    if (code != HTH_OK) fail_msg("%s: %s", text, err.msg);
    return doc;
}

// The text is refused, with the position `pos`, and the message holds `words`.
static void refused(const char *text, uint64_t pos, const char *words) {
    hth_json_doc *doc = NULL;
    hth_code code = hth_json_parse(text, strlen(text), MAX, &doc, &err);
    if (code != HTH_ERR_FORMAT) fail_msg("%s: accepted, or code %d", text, (int)code);
    assert_null(doc);
    assert_int_equal(err.pos, pos);
    if (!strstr(err.msg, words)) fail_msg("%s: \"%s\" lacks \"%s\"", text, err.msg, words);
}

static double number_of(const char *text) {
    hth_json_doc *doc = parse(text);
    const hth_json *v = hth_json_root(doc);
    assert_int_equal(v->kind, HTH_JSON_NUMBER);
    double d = v->u.num.d;
    hth_json_free(doc);
    return d;
}

static void a_document_becomes_a_tree(void **state) {
    (void)state;
    hth_json_doc *doc = parse(" {\"a\": [1, -2.5, true, false, null, \"x\"], \"b\": {}, \"c\": [] } ");
    const hth_json *root = hth_json_root(doc), *a = hth_json_get(root, "a");
    assert_int_equal(root->kind, HTH_JSON_OBJECT);
    assert_int_equal(root->n, 3);
    assert_int_equal(root->pos, 1);
    assert_string_equal(root->u.members[2].key, "c");
    assert_int_equal(a->kind, HTH_JSON_ARRAY);
    assert_int_equal(a->n, 6);
    assert_int_equal(a->pos, 7);
    assert_true(a->u.items[0].is_int && a->u.items[0].u.num.i == 1);
    assert_true(!a->u.items[1].is_int && a->u.items[1].u.num.d == -2.5);
    assert_true(a->u.items[2].u.b && !a->u.items[3].u.b);
    assert_int_equal(a->u.items[4].kind, HTH_JSON_NULL);
    assert_string_equal(a->u.items[5].u.str, "x");
    assert_int_equal(hth_json_get(root, "b")->n, 0);
    assert_int_equal(hth_json_get(root, "c")->n, 0);
    assert_null(hth_json_get(root, "d"));
    assert_null(hth_json_get(hth_json_get(root, "d"), "e"));
    assert_null(hth_json_get(a, "a"));
    hth_json_free(doc);
}

static void every_kind_of_value_may_be_the_root(void **state) {
    (void)state;
    const char *texts[] = {"null", "true", "0", "\"\"", "[]", "{}", "NaN", "-Infinity"};
    const hth_json_kind kinds[] = {HTH_JSON_NULL,  HTH_JSON_BOOL,   HTH_JSON_NUMBER, HTH_JSON_STRING,
                                   HTH_JSON_ARRAY, HTH_JSON_OBJECT, HTH_JSON_NUMBER, HTH_JSON_NUMBER};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) {
        hth_json_doc *doc = parse(texts[i]);
        assert_int_equal(hth_json_root(doc)->kind, kinds[i]);
        hth_json_free(doc);
    }
    assert_true(isnan(number_of("NaN")) && number_of("Infinity") == INFINITY &&
                number_of("-Infinity") == -INFINITY);
}

static void escapes_become_characters(void **state) {
    (void)state;
    hth_json_doc *doc = parse(
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0041\\u00e9\\u20AC\\ud83d\\ude00 \\u0000|12345678\xc4\xa0xyz\"");
    const hth_json *v = hth_json_root(doc);
    const char want[] = "\"\\/\b\f\n\r\t A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \0|12345678\xc4\xa0xyz";
    assert_int_equal(v->n, sizeof want - 1);
    assert_memory_equal(v->u.str, want, sizeof want);
    hth_json_free(doc);
}

static void broken_strings_are_refused_where_they_break(void **state) {
    (void)state;
    refused("\"abc", 4, "inside a string");
    refused("[\"a\nb\"]", 3, "control character");
    refused("\"\\x\"", 1, "escape");
    refused("\"\\", 2, "ends");
    refused("\"\\u12g4\"", 1, "hexadecimal");
    refused("\"\\u12", 1, "hexadecimal");
    refused("\"ab\\ud800\"", 3, "surrogate");
    refused("\"\\udc00\"", 1, "surrogate");
    refused("\"\\ud83d\\u0041\"", 1, "surrogate");
    refused("\"\\ud83dabcdefg\"", 1, "surrogate");
    refused("\"\\ud83d\\ue000\"", 1, "surrogate");
    refused("\"a\xff\"", 2, "UTF-8");
    refused("\"\xc0\x80\"", 1, "UTF-8");
    refused("\"\xed\xa0\x80\"", 1, "UTF-8");
    refused("\"\xf4\x90\x80\x80\"", 1, "UTF-8");
    refused("\"\xe2\x82\"", 1, "UTF-8");
    refused("\"12345678\xc3\"", 9, "UTF-8");
}

static void broken_documents_are_refused_where_they_break(void **state) {
    (void)state;
    refused("", 0, "ends");
    refused("  ", 2, "ends");
    refused("[1,]", 3, "value");
    refused("[1 2]", 3, "','");
    refused("[1}", 2, "']'");
    refused("{\"a\":1]", 6, "'}'");
    refused("{\"a\" 1}", 5, "':'");
    refused("{\"a\":}", 5, "value");
    refused("{a:1}", 1, "key");
    refused("{\"a\":1,}", 7, "key");
    refused("{,}", 1, "key");
    refused("[", 1, "ends");
    refused("{\"a\":[1,2", 9, "ends");
    refused("1 2", 2, "follows");
    refused("[] ]", 3, "follows");
    refused("truex", 4, "follows");
    refused("tru", 0, "value");
    refused("nul", 0, "value");
    refused("// c\n1", 0, "value");
    refused("'a'", 0, "value");
    refused("\xef\xbb\xbf{}", 0, "byte order mark");
    refused("]", 0, "value");
    refused("inf", 0, "value");
    refused("+1", 0, "value");
    refused(".5", 0, "value");
}

static void broken_numbers_are_refused(void **state) {
    (void)state;
    refused("-", 0, "number");
    refused("[01]", 2, "','");
    refused("1.", 0, "number");
    refused("[1.e5]", 1, "number");
    refused("1e", 0, "number");
    refused("1e+", 0, "number");
    refused("-a", 0, "number");
    refused("1e999", 0, "too large");
    refused("-1e400", 0, "too large");
    refused("0x10", 1, "follows");
    refused("-Infinit", 0, "value");
}

static void integers_are_exact_to_the_ends_of_int64(void **state) {
    (void)state;
    const struct {
        const char *text;
        bool is_int;
        int64_t i;
    } cases[] = {{"0", true, 0},
                 {"-0", true, 0},
                 {"9223372036854775807", true, INT64_MAX},
                 {"-9223372036854775808", true, INT64_MIN},
                 {"9223372036854775808", false, 0},
                 {"-9223372036854775809", false, 0},
                 {"18446744073709551616", false, 0},
                 {"1.0", false, 0},
                 {"1e2", false, 0},
                 {"9007199254740993", true, 9007199254740993}};
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_json_doc *doc = parse(cases[i].text);
        const hth_json *v = hth_json_root(doc);
        if (v->is_int != cases[i].is_int) fail_msg("%s", cases[i].text);
        if (v->is_int) assert_true(v->u.num.i == cases[i].i);
        hth_json_free(doc);
    }
}

static void same_as_strtod(const char *text) {
    double got = number_of(text), want = strtod(text, NULL);
    if (memcmp(&got, &want, sizeof got) != 0) fail_msg("%s is %.17g, not %.17g", text, got, want);
}

static void numbers_are_correctly_rounded(void **state) {
    (void)state;
    const char *texts[] = {"0.1",
                           "-0.0",
                           "1e22",
                           "1e23",
                           "8.529452323913574",
                           "-13.529452323913574",
                           "123456789012345678",
                           "9007199254740993",
                           "9007199254740993.0",
                           "1.7976931348623157e308",
                           "2.2250738585072014e-308",
                           "4.9e-324",
                           "2e-324",
                           "1e-400",
                           "0.000000000000000000000000000000000000000000000000000000000001",
                           "0.30000000000000004",
                           "1e-5",
                           "1e-06",
                           "18446744073709551615",
                           "18446744073709551616e0",
                           "99999999999999999999999999999999999999e-20",
                           "9007199254740992.5",
                           "9007199254740993.5",
                           "4503599627370496.5",
                           "4503599627370497.5",
                           "2.22507385850720113605740979670913197593481954635164565e-308",
                           "179769313486231580793728971405303415079934132710e260",
                           "0e999999999999999999999",
                           "0.00e-99999999999999999999",
                           "1e-99999999999999999999",
                           "9.5367431640625e-7",
                           "1234567890123456789e19",
                           "1234567890123456789e-19",
                           "9999999999999999999e19",
                           "1e0000000000000000000000001"};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) same_as_strtod(texts[i]);
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 20000; i++) { // digits and exponents of every length
        char text[64];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        int n_digit = (int)(x % 21) + 1, exp10 = (int)(x >> 8 & 63) - 32;
        uint64_t digits = x * 0x9e3779b97f4a7c15u;
        snprintf(text, sizeof text, "%.*s%llue%d", n_digit > 18 ? 3 : 0, "987",
                 (unsigned long long)(digits >> (x >> 20 & 63)), exp10);
        same_as_strtod(text);
        snprintf(text, sizeof text, "-%llu.%llu", (unsigned long long)(digits >> 48),
                 (unsigned long long)(digits >> (x >> 26 & 31)));
        same_as_strtod(text);
    }
}

static void digits_beyond_all_precision_still_count(void **state) {
    (void)state;
    char text[2000]; // 2^53 + 1 lies between two doubles: a 1 after a thousand zeros decides
    memset(text, '0', sizeof text);
    memcpy(text, "9007199254740993.", 17);
    strcpy(text + 1500, "1");
    assert_true(number_of(text) == 9007199254740994.0);
    text[1500] = '0';
    assert_true(number_of(text) == 9007199254740992.0);
    memset(text, '1', 1800); // too large in value, not in length
    strcpy(text + 1800, "e-1799");
    assert_true(number_of(text) == 1.1111111111111112);
}

static void a_duplicate_key_is_refused_in_small_and_large_objects(void **state) {
    (void)state;
    refused("{\"a\":1,\"b\":2,\"a\":3}", 17, "'a' appears twice");
    refused("{\"a\":1,\"\\u0061\":3}", 16, "'a' appears twice");
    char text[20000] = "{";
    size_t n = 1;
    for (int i = 0; i < 1000; i++) n += (size_t)snprintf(text + n, sizeof text - n, "\"k%d\":%d,", i, i);
    snprintf(text + n, sizeof text - n, "\"k%d\":0}", 1000);
    hth_json_doc *doc = parse(text);
    assert_int_equal(hth_json_root(doc)->n, 1001);
    assert_int_equal(hth_json_int(hth_json_root(doc), "k777", 0, NULL), 777);
    hth_json_free(doc);
    snprintf(text + n, sizeof text - n, "\"k%d\":0}", 500);
    refused(text, n + 7, "'k500' appears twice");
}

static void nesting_is_limited(void **state) {
    (void)state;
    char text[2 * HTH_JSON_MAX_DEPTH + 8] = "";
    memset(text, '[', HTH_JSON_MAX_DEPTH);
    memset(text + HTH_JSON_MAX_DEPTH, ']', HTH_JSON_MAX_DEPTH);
    hth_json_free(parse(text));
    memset(text, '[', HTH_JSON_MAX_DEPTH + 1);
    hth_json_doc *doc;
    assert_int_equal(hth_json_parse(text, strlen(text), MAX, &doc, &err), HTH_ERR_LIMIT);
    assert_int_equal(err.pos, HTH_JSON_MAX_DEPTH);
}

static void memory_is_limited(void **state) {
    (void)state;
    enum { N = 100000 };
    char *text = malloc(2 * N + 2);
    assert_non_null(text);
    for (int i = 0; i < N; i++) memcpy(text + 2 * i, i == 0 ? "[0" : ",0", 2);
    text[2 * N] = ']';
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_json_doc *doc;
    assert_int_equal(hth_json_parse(text, 2 * N + 1, 1000000, &doc, &err), HTH_ERR_LIMIT);
    hth_mem_get_stats(&after);
    assert_true(after.peak_bytes < before.total_bytes + 4000000);
    assert_int_equal(hth_json_parse(text, 2 * N + 1, 2 * N, &doc, &err), HTH_ERR_LIMIT);
    assert_int_equal(hth_json_parse(text, 2 * N + 1, 10000000, &doc, &err), HTH_OK);
    assert_int_equal(hth_json_root(doc)->n, N);
    hth_json_free(doc);
    free(text);
}

static void typed_reads_give_defaults_and_name_the_offender(void **state) {
    (void)state;
    hth_json_doc *doc =
        parse("{\"i\":7,\"whole\":1e6,\"f\":1.5,\"b\":true,\"s\":\"x\",\"z\":null,\"big\":1e300}");
    const hth_json *root = hth_json_root(doc), *bad = NULL;
    assert_int_equal(hth_json_int(root, "i", 1, &bad), 7);
    assert_int_equal(hth_json_int(root, "whole", 1, &bad), 1000000);
    assert_int_equal(hth_json_int(root, "absent", 1, &bad), 1);
    assert_int_equal(hth_json_int(root, "z", 2, &bad), 2);
    assert_true(hth_json_num(root, "i", 0, &bad) == 7.0 && hth_json_num(root, "f", 0, &bad) == 1.5);
    assert_true(hth_json_bool(root, "b", false, &bad));
    assert_string_equal(hth_json_str(root, "s", "", &bad), "x");
    assert_null(bad);
    assert_int_equal(hth_json_int(root, "f", 9, &bad), 9);
    assert_ptr_equal(bad, hth_json_get(root, "f"));
    assert_int_equal(hth_json_int(root, "s", 9, &bad), 9); // the first offender stays
    assert_ptr_equal(bad, hth_json_get(root, "f"));
    bad = NULL;
    assert_int_equal(hth_json_int(root, "big", 3, &bad), 3);
    assert_non_null(bad);
    assert_true(hth_json_num(root, "s", 4, NULL) == 4.0 && !hth_json_bool(root, "i", false, NULL));
    assert_string_equal(hth_json_str(root, "i", "d", NULL), "d");
    hth_json_free(doc);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    char text[3000] = "{\"a\":[";
    for (int i = 0; i < 200; i++) strcat(text, "[\"k\"],");
    strcat(text, "{\"1\":0,\"2\":0,\"3\":0,\"4\":0,\"5\":0,\"6\":0,\"7\":0,\"8\":0,\"9\":0,\"10\":0,\"11\":0,"
                 "\"12\":0,\"13\":0}]}");
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    int n_failed = 0;
    for (uint64_t at = 1;; at++) {
        hth_json_doc *doc = NULL;
        hth_mem_fail_at(at, false);
        hth_code code = hth_json_parse(text, strlen(text), MAX, &doc, &err);
        bool hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        hth_json_free(doc);
        if (!hit) break;
        n_failed++;
        assert_int_equal(code, HTH_ERR_NOMEM);
        hth_mem_get_stats(&after);
        assert_int_equal(after.n_blocks, before.n_blocks);
    }
    assert_true(n_failed > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_becomes_a_tree),
        cmocka_unit_test(every_kind_of_value_may_be_the_root),
        cmocka_unit_test(escapes_become_characters),
        cmocka_unit_test(broken_strings_are_refused_where_they_break),
        cmocka_unit_test(broken_documents_are_refused_where_they_break),
        cmocka_unit_test(broken_numbers_are_refused),
        cmocka_unit_test(integers_are_exact_to_the_ends_of_int64),
        cmocka_unit_test(numbers_are_correctly_rounded),
        cmocka_unit_test(digits_beyond_all_precision_still_count),
        cmocka_unit_test(a_duplicate_key_is_refused_in_small_and_large_objects),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(typed_reads_give_defaults_and_name_the_offender),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
