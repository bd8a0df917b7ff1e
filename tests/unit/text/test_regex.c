// The split expressions: syntax, what they find, and that time stays linear.
#include <stdio.h>
#include <string.h>

#include "unit/cmocka_all.h"

#include "os/clock.h"
#include "text/regex.h"

static hth_unicode unicode;

static int set_up(void **state) {
    (void)state;
    hth_err err;
    return hth_unicode_init(&unicode, &err) == HTH_OK ? 0 : 1;
}

static int tear_down(void **state) {
    (void)state;
    hth_unicode_free(&unicode);
    return 0;
}

static hth_regex *compile(const char *pattern) {
    hth_err err = {.msg = ""};
    hth_regex *re = NULL;
    if (hth_regex_compile(pattern, strlen(pattern), &unicode, &re, &err) != HTH_OK)
        fail_msg("%s: %s", pattern, err.msg);
    return re;
}

// All matches of the pattern in text, as "[..][..]" into out.
static void find_all(const char *pattern, const char *text, char *out, size_t room) {
    hth_regex *re = compile(pattern);
    hth_matcher m = {0};
    hth_err err;
    size_t n = strlen(text), from = 0, used = 0;
    assert_int_equal(hth_matcher_begin(&m, re, (const uint8_t *)text, n, &err), HTH_OK);
    out[0] = 0;
    while (from <= n) {
        bool found = false;
        size_t start = 0, end = 0;
        assert_int_equal(hth_matcher_find(&m, from, &found, &start, &end, &err), HTH_OK);
        if (!found) break;
        used += (size_t)snprintf(out + used, room - used, "[%.*s]", (int)(end - start), text + start);
        from = end > start ? end : end + 1;
    }
    hth_matcher_free(&m);
    hth_regex_free(re);
}

#define assert_finds(pattern, text, want)           \
    do {                                            \
        char got_[512];                             \
        find_all(pattern, text, got_, sizeof got_); \
        assert_string_equal(got_, want);            \
    } while (0)

static void the_first_alternative_that_matches_wins(void **state) {
    (void)state;
    assert_finds("a|ab", "ab", "[a]");
    assert_finds("ab|a", "ab", "[ab]");
    assert_finds("(?:a|ab)(?:c|bcd)d*", "abcd", "[abcd]");
}

static void quantifiers_are_greedy_lazy_or_possessive(void **state) {
    (void)state;
    assert_finds("a+", "caaat", "[aaa]");
    assert_finds("a{2}", "aaaaa", "[aa][aa]");
    assert_finds("a{2,3}", "aaaaa", "[aaa][aa]");
    assert_finds("<.+?>", "<a><b>", "[<a>][<b>]");
    assert_finds("a++b", "aaab", "[aaab]");
    assert_finds("a++a", "aaaa", "");
    assert_finds("(?:ab)+c?", "ababc ab", "[ababc][ab]");
    assert_finds("x{,2}y", "xxxy", "[xxy]");
    assert_finds("a{x", "a{x", "[a{x]");
}

static void classes_follow_unicode(void **state) {
    (void)state;
    assert_finds("\\p{Lu}\\p{Ll}+", "Éclair über Ωmega", "[Éclair][Ωmega]");
    assert_finds("[\\p{L}&&[^\\p{Han}]]+", "ab中c", "[ab][c]");
    assert_finds("[^\\s\\p{L}\\p{N}]+", "a, b! ٣?", "[,][!][?]");
    assert_finds("\\p{^L}+|\\P{N}", "1a", "[1][a]");
    assert_finds("[[:alpha:]_]+", "a_1é", "[a_][é]");
    assert_finds("[\\x41-\\x{43}\\u0044]+", "xABCDE", "[ABCD]");
    assert_finds("[]a]+", "a]b", "[a]]");
    assert_finds("(?i)straße|k", "STRAßE K", "[STRAßE][K]");
    assert_finds("(?i:'s)", "'s 'S 'ſ", "['s]['S]['ſ]");
}

static void look_around_consumes_nothing(void **state) {
    (void)state;
    assert_finds("\\s+(?!\\S)", "a   b", "[  ]");
    assert_finds("a(?=b)|c(?!d)", "ab cd c", "[a][c]");
    assert_finds("(?<=a)b|(?<!x)y", "ab xy y", "[b][y]");
    assert_finds("\\d{1,3}(?=(?:\\d{3})*\\b)", "1234567 12", "[1][234][567][12]");
    assert_finds("(?=(\\d{3})+(?!\\d))", "12345", "[]");
    assert_finds("(?>a|ab)c", "abc ac", "[ac]");
    assert_finds("^a|a$|\\bx\\b", "a ba\nx xa", "[a][a][x][a]");
}

static void bad_patterns_are_refused_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *pattern;
        hth_code code;
    } bad[] = {{"(a", HTH_ERR_FORMAT},
               {"a)", HTH_ERR_FORMAT},
               {"[a", HTH_ERR_FORMAT},
               {"*a", HTH_ERR_FORMAT},
               {"a{3,2}", HTH_ERR_FORMAT},
               {"[b-a]", HTH_ERR_FORMAT},
               {"\\", HTH_ERR_FORMAT},
               {"\\p{Nope}", HTH_ERR_UNSUPPORTED},
               {"(?<=a+)b", HTH_ERR_UNSUPPORTED},
               {"(a*)*", HTH_ERR_UNSUPPORTED},
               {"\\1", HTH_ERR_UNSUPPORTED},
               {"(?P<n>a)", HTH_ERR_UNSUPPORTED},
               {"((a{100}){100}){100}", HTH_ERR_LIMIT},
               {"a{100000}", HTH_ERR_FORMAT}};
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        hth_err err = {.msg = ""};
        hth_regex *re = NULL;
        hth_code code = hth_regex_compile(bad[i].pattern, strlen(bad[i].pattern), &unicode, &re, &err);
        if (code != bad[i].code) fail_msg("%s: code %d: %s", bad[i].pattern, (int)code, err.msg);
        assert_null(re);
        assert_non_null(strstr(err.msg, "regular expression"));
    }
}

static void groups_and_classes_may_not_nest_without_end(void **state) {
    (void)state;
    char pattern[1000];
    hth_err err;
    hth_regex *re = NULL;
    memset(pattern, '(', sizeof pattern);
    assert_int_equal(hth_regex_compile(pattern, sizeof pattern, &unicode, &re, &err), HTH_ERR_LIMIT);
    memset(pattern, '[', sizeof pattern);
    assert_int_equal(hth_regex_compile(pattern, sizeof pattern, &unicode, &re, &err), HTH_ERR_LIMIT);
}

static void invalid_bytes_are_characters_of_their_own(void **state) {
    (void)state;
    char got[64];
    find_all("[^a]",
             "a\xff\xe4\xb8"
             "a\x80",
             got, sizeof got);
    assert_string_equal(got, "[\xff][\xe4\xb8][\x80]");
    find_all("\\S+b",
             "\xe4\xb8\xff"
             "bb",
             got, sizeof got);
    assert_string_equal(got, "[\xe4\xb8\xff"
                             "bb]");
}

static double seconds(const char *pattern, const char *unit, size_t n) {
    hth_regex *re = compile(pattern);
    hth_matcher m = {0};
    hth_err err;
    size_t len = strlen(unit), from = 0;
    uint8_t *text = hth_alloc(HTH_MEM_MISC, n + 1);
    for (size_t i = 0; i < n; i++) text[i] = (uint8_t)unit[i % len];
    text[n] = 'x';
    uint64_t t0 = hth_clock_ns();
    assert_int_equal(hth_matcher_begin(&m, re, text, n + 1, &err), HTH_OK);
    for (bool found = true; found && from <= n;) {
        size_t start, end = 0;
        if (hth_matcher_find(&m, from, &found, &start, &end, &err) != HTH_OK)
            fail_msg("%s: %s", pattern, err.msg);
        from = end > from ? end : from + 1;
    }
    double s = (double)(hth_clock_ns() - t0) * 1e-9;
    hth_matcher_free(&m);
    hth_regex_free(re);
    hth_free(text);
    return s;
}

static void time_is_linear_even_where_backtracking_explodes(void **state) {
    (void)state;
    static const char *const patterns[] = {"\\s+$",
                                           "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                                           "(?:a+)+b",
                                           "(?:a|aa)+b",
                                           "a*a*a*b",
                                           ".*?y",
                                           "(?=a*b)a|(?=\\s*y)\\s",
                                           "\\d{1,3}(?=(?:\\d{3})*\\b)",
                                           "(?=(\\d{3})+(?!\\d))",
                                           "(?:a{1,2}){2,}c",
                                           "(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+y"};
    static const char *const units[] = {"a", " ", "1", "a ", "1 2"};
    for (size_t i = 0; i < HTH_COUNT(patterns); i++) {
        for (size_t k = 0; k < HTH_COUNT(units); k++) {
            bool ok = false;
            for (int attempt = 0; attempt < 3 && !ok; attempt++) {
                double small = seconds(patterns[i], units[k], 20000),
                       large = seconds(patterns[i], units[k], 80000);
                ok = large < 10 * small + 0.02; // quadratic would be 16 times as long
            }
            if (!ok) fail_msg("%s is not linear on '%s'", patterns[i], units[k]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_alternative_that_matches_wins),
        cmocka_unit_test(quantifiers_are_greedy_lazy_or_possessive),
        cmocka_unit_test(classes_follow_unicode),
        cmocka_unit_test(look_around_consumes_nothing),
        cmocka_unit_test(bad_patterns_are_refused_with_their_place),
        cmocka_unit_test(groups_and_classes_may_not_nest_without_end),
        cmocka_unit_test(invalid_bytes_are_characters_of_their_own),
        cmocka_unit_test(time_is_linear_even_where_backtracking_explodes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
