// Stop texts: what comes out does not depend on how the text is cut, and nothing of a stop text ever does.
#include "engine/stop.h"
#include "unit/cmocka_all.h"

// Pushes `text` in pieces that end where bits of `cuts` are set. Returns which stop came.
static int32_t filter(const hth_bytes *stops, size_t n_stop, const char *text, uint32_t cuts, char *out, size_t n_out) {
    hth_stop_filter f;
    hth_str got;
    hth_err err;
    int32_t which = -1;
    hth_stop_filter_init(&f, stops, n_stop);
    hth_str_init(&got, HTH_MEM_MISC, 1 << 16);
    size_t begin = 0, n = strlen(text);
    for (size_t i = 0; i < n && which < 0; i++) {
        if (i + 1 < n && !(cuts >> i & 1)) continue;
        assert_int_equal(hth_stop_filter_push(&f, text + begin, i + 1 - begin, &got, &which, &err), HTH_OK);
        begin = i + 1;
    }
    if (which < 0) assert_int_equal(hth_stop_filter_end(&f, &got, &err), HTH_OK);
    snprintf(out, n_out, "%s", hth_str_text(&got));
    hth_str_free(&got);
    hth_stop_filter_free(&f);
    return which;
}

static void every_cutting_of_a_text_gives_the_same(void **state) {
    (void)state;
    static const hth_bytes stops[] = {{"abab", 4}, {"ba", 2}, {"ccc", 3}, {"\n\nUser:", 7}};
    static const struct {
        const char *text, *want;
        int32_t which;
        size_t n_stop;
    } cases[] = {{"xxabab", "xxa", 1, 4}, {"xxabab", "xx", 0, 1},   {"aaaab", "aaaab", -1, 4},  {"accacccb", "acca", 2, 4},
                 {"ccacc", "ccacc", -1, 4}, {"hi\n\nUser: x", "hi", 3, 4}, {"hi\n\nUse", "hi\n\nUse", -1, 4}, {"abaabab", "aba", 0, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const size_t n = strlen(cases[c].text);
        for (uint32_t cuts = 0; cuts < 1u << (n - 1); cuts++) {
            char out[64];
            const int32_t which = filter(stops, cases[c].n_stop, cases[c].text, cuts, out, sizeof out);
            if (which != cases[c].which || strcmp(out, cases[c].want) != 0) {
                fail_msg("'%s' cut by %x: '%s' and %d", cases[c].text, (unsigned)cuts, out, (int)which);
            }
        }
    }
}

static void what_cannot_become_a_stop_text_comes_out_at_once(void **state) {
    (void)state;
    static const hth_bytes stops[] = {{"</s>", 4}};
    hth_stop_filter f;
    hth_str got;
    hth_err err;
    int32_t which;
    hth_stop_filter_init(&f, stops, 1);
    hth_str_init(&got, HTH_MEM_MISC, 64);
    assert_int_equal(hth_stop_filter_push(&f, "a<", 2, &got, &which, &err), HTH_OK);
    assert_string_equal(hth_str_text(&got), "a");
    assert_int_equal(hth_stop_filter_push(&f, "/", 1, &got, &which, &err), HTH_OK);
    assert_string_equal(hth_str_text(&got), "a");
    assert_int_equal(hth_stop_filter_push(&f, "b", 1, &got, &which, &err), HTH_OK);
    assert_string_equal(hth_str_text(&got), "a</b");
    hth_str_free(&got);
    hth_stop_filter_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cutting_of_a_text_gives_the_same),
        cmocka_unit_test(what_cannot_become_a_stop_text_comes_out_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
