// What the pipeline promises, on a small tokenizer of every kind: segments, streaming, invalid bytes, memory.
#include <string.h>

#include "unit/cmocka_all.h"

#include "fuzz/tokenizer_kinds.h"

enum { BYTES, FALLBACK, UNIGRAM, WORDPIECE, N_KIND };

static hth_tokenizer *kinds[N_KIND];

static int set_up(void **state) {
    (void)state;
    for (unsigned i = 0; i < N_KIND; i++) kinds[i] = make_tokenizer_kind(i);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (unsigned i = 0; i < N_KIND; i++) hth_tokenizer_free(kinds[i]);
    return 0;
}

static hth_token_list tokenize(int kind, const hth_text_segment *s, size_t n) {
    hth_token_list ids = {0};
    hth_err err = {.msg = ""};
    if (hth_tokenize(kinds[kind], s, n, 0, &ids, &err) != HTH_OK) fail_msg("%s", err.msg);
    return ids;
}

static hth_text_segment segment(const char *text, bool is_user) {
    return (hth_text_segment){.text = text, .n = strlen(text), .is_user = is_user};
}

static void assert_ids(hth_token_list ids, size_t n, const hth_token *want) {
    assert_int_equal(ids.n, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(ids.ids[i], want[i]);
    hth_token_list_free(&ids);
}

static void merges_cross_segment_borders(void **state) {
    (void)state;
    hth_text_segment cut[] = {segment(" t", false), segment("h", true), segment("", false),
                              segment("e", false)};
    const hth_token want[] = {302};
    assert_ids(tokenize(BYTES, cut, 4), 1, want);
}

static void a_users_bytes_never_become_control_tokens(void **state) {
    (void)state;
    hth_text_segment s[] = {segment("<s>", false), segment("<s>ab", true), segment("<s>", false)};
    hth_token_list ids = tokenize(BYTES, s, 3);
    size_t n_control = 0;
    for (size_t i = 0; i < ids.n; i++) n_control += hth_tokenizer_is_control(kinds[BYTES], ids.ids[i]);
    assert_int_equal(n_control, 2);
    assert_int_equal(ids.ids[0], 0);
    assert_int_equal(ids.ids[ids.n - 1], 0);
    assert_int_equal(ids.ids[ids.n - 2], 2); // the ordinary "ab"
    assert_int_equal(ids.ids[1], '<' + 3);
    hth_token_list_free(&ids);
}

static void a_control_token_half_in_a_users_text_stays_text(void **state) {
    (void)state;
    hth_text_segment s[] = {segment("<", false), segment("s>", true)};
    const hth_token want[] = {'<' + 3, 's' + 3, '>' + 3};
    assert_ids(tokenize(BYTES, s, 2), 3, want);
    hth_text_segment normalized[] = {segment("a<|x|", false), segment(">", true)};
    hth_token_list ids = tokenize(BYTES, normalized, 2);
    for (size_t i = 0; i < ids.n; i++) assert_false(hth_tokenizer_is_control(kinds[BYTES], ids.ids[i]));
    hth_token_list_free(&ids);
}

static void ordinary_added_tokens_are_found_in_a_users_text(void **state) {
    (void)state;
    hth_text_segment s = segment("ab", true);
    const hth_token want[] = {2};
    assert_ids(tokenize(BYTES, &s, 1), 1, want);
    assert_ids(tokenize(UNIGRAM, &s, 1), 1, want);
}

static void no_text_gives_no_tokens(void **state) {
    (void)state;
    for (int k = 0; k < N_KIND; k++) {
        assert_ids(tokenize(k, NULL, 0), 0, NULL);
        hth_text_segment s = segment("", true);
        assert_ids(tokenize(k, &s, 1), 0, NULL);
    }
}

static void byte_level_keeps_invalid_bytes(void **state) {
    (void)state;
    hth_text_segment s = segment("\xe4\xb8\xff"
                                 "a",
                                 true);
    const hth_token want[] = {0xe4 + 3, 0xb8 + 3, 0xff + 3, 'a' + 3};
    assert_ids(tokenize(BYTES, &s, 1), 4, want);
}

static void character_kinds_see_invalid_bytes_as_replacement_characters(void **state) {
    (void)state;
    hth_text_segment bad = segment("a\xe4\xb8"
                                   "b\xff",
                                   true),
                     good = segment("a\xef\xbf\xbd"
                                    "b\xef\xbf\xbd",
                                    true);
    for (int k = FALLBACK; k < N_KIND; k++) {
        hth_token_list a = tokenize(k, &bad, 1), b = tokenize(k, &good, 1);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
        hth_token_list_free(&a);
        hth_token_list_free(&b);
    }
}

static void the_stream_never_ends_within_a_character(void **state) {
    (void)state;
    const char *text = "h\xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80!";
    hth_text_segment s = segment(text, true);
    hth_token_list ids = tokenize(BYTES, &s, 1);
    hth_detokenizer d = hth_detokenizer_make(kinds[BYTES], false);
    hth_str out;
    hth_err err;
    hth_str_init(&out, HTH_MEM_TEXT, 1000);
    for (size_t i = 0; i < ids.n; i++) {
        assert_int_equal(hth_detokenizer_push(&d, ids.ids[i], &out, &err), HTH_OK);
        for (size_t at = 0; at < out.len;) {
            unsigned len;
            uint32_t cp = hth_cp_at((const uint8_t *)out.p + at, out.len - at, &len);
            assert_false(hth_cp_is_invalid((const uint8_t *)out.p + at, cp, len));
            at += len;
        }
    }
    assert_int_equal(hth_detokenizer_end(&d, &out, &err), HTH_OK);
    assert_string_equal(hth_str_text(&out), text);
    hth_str_free(&out);
    hth_token_list_free(&ids);
}

static void an_unfinished_character_comes_out_as_one_replacement(void **state) {
    (void)state;
    static const struct {
        hth_token ids[4];
        size_t n;
        const char *want;
    } cases[] = {
        {{0xe4 + 3, 0xb8 + 3}, 2, "\xef\xbf\xbd"},
        {{0xe4 + 3, 'a' + 3},
         2,
         "\xef\xbf\xbd"
         "a"},
        {{0xf0 + 3, 0x9f + 3, 0xe4 + 3, 0xb8 + 3}, 4, "\xef\xbf\xbd\xef\xbf\xbd"},
        {{0xff + 3, 0x80 + 3}, 2, "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_detokenizer d = hth_detokenizer_make(kinds[BYTES], false);
        hth_str out;
        hth_err err;
        hth_str_init(&out, HTH_MEM_TEXT, 1000);
        for (size_t k = 0; k < cases[i].n; k++)
            assert_int_equal(hth_detokenizer_push(&d, cases[i].ids[k], &out, &err), HTH_OK);
        assert_int_equal(hth_detokenizer_end(&d, &out, &err), HTH_OK);
        assert_string_equal(hth_str_text(&out), cases[i].want);
        hth_str_free(&out);
    }
}

static void control_tokens_are_shown_only_on_request(void **state) {
    (void)state;
    hth_err err;
    for (int show = 0; show < 2; show++) {
        hth_detokenizer d = hth_detokenizer_make(kinds[BYTES], show);
        hth_str out;
        hth_str_init(&out, HTH_MEM_TEXT, 1000);
        assert_int_equal(hth_detokenizer_push(&d, 0, &out, &err), HTH_OK);
        assert_int_equal(hth_detokenizer_push(&d, 2, &out, &err), HTH_OK);
        assert_string_equal(hth_str_text(&out), show ? "<s>ab" : "ab");
        hth_str_free(&out);
    }
}

static void an_id_outside_the_vocabulary_is_refused(void **state) {
    (void)state;
    hth_detokenizer d = hth_detokenizer_make(kinds[BYTES], false);
    hth_str out;
    hth_err err;
    hth_str_init(&out, HTH_MEM_TEXT, 1000);
    assert_int_equal(hth_detokenizer_push(&d, -1, &out, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_detokenizer_push(&d, hth_tokenizer_n_vocab(kinds[BYTES]), &out, &err),
                     HTH_ERR_RANGE);
    hth_str_free(&out);
}

static void spellings_lead_to_ids_and_back(void **state) {
    (void)state;
    size_t n = 0;
    assert_int_equal(hth_tokenizer_find(kinds[BYTES], "<s>", 3), 0);
    assert_int_equal(hth_tokenizer_find(kinds[BYTES], "\xc4\xa0the", 5), 302);
    assert_int_equal(hth_tokenizer_find(kinds[BYTES], "nope", 4), -1);
    assert_memory_equal(hth_tokenizer_spelling(kinds[BYTES], 302, &n), "\xc4\xa0the", 5);
    assert_int_equal(n, 5);
    assert_null(hth_tokenizer_spelling(kinds[BYTES], 100000, &n));
}

static void long_words_merge_as_short_ones_do(void **state) {
    (void)state;
    char text[400]; // beyond the length up to which pairs are found by scanning
    memset(text, 'a', sizeof text);
    hth_text_segment s = {.text = text, .n = 399};
    hth_token_list ids = tokenize(BYTES, &s, 1);
    assert_int_equal(ids.n, 99 + 2);
    for (size_t i = 0; i < 99; i++) assert_int_equal(ids.ids[i], 304);
    assert_int_equal(ids.ids[99], 303);
    assert_int_equal(ids.ids[100], 'a' + 3);
    hth_token_list_free(&ids);
}

static void tokens_are_appended_and_a_failure_takes_them_back(void **state) {
    (void)state;
    hth_text_segment s = segment("the aaaa caf\xc3\xa9 e\xcc\x81 <s> ab \xff", false);
    hth_err err;
    for (int k = 0; k < N_KIND; k++) {
        hth_mem_stats before, after;
        hth_mem_get_stats(&before);
        hth_code code = HTH_ERR_NOMEM;
        uint64_t n = 1;
        for (; code != HTH_OK && n < 1000; n++) {
            hth_token_list ids = {0};
            assert_int_equal(hth_token_push(&ids, 7, &err), HTH_OK);
            hth_mem_fail_at(n, true);
            code = hth_tokenize(kinds[k], &s, 1, 0, &ids, &err);
            hth_mem_fail_at(0, false);
            if (code != HTH_OK) {
                assert_int_equal(code, HTH_ERR_NOMEM);
                assert_int_equal(ids.n, 1);
            }
            assert_int_equal(ids.ids[0], 7);
            hth_token_list_free(&ids);
        }
        assert_true(n > 3 && n < 1000);
        hth_mem_get_stats(&after);
        assert_int_equal(before.n_blocks, after.n_blocks);
    }
}

static void loading_survives_refused_memory(void **state) {
    (void)state;
    hth_err err;
    const char *json =
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],\"normalizer\":{\"type\":"
        "\"NFC\"},"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},{\"type\":"
        "\"ByteLevel\"}]},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":2,\"ab\":3},\"merges\":[\"a b\"]}}";
    hth_json_doc *doc = NULL;
    assert_int_equal(hth_json_parse(json, strlen(json), 1u << 20, &doc, &err), HTH_OK);
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_code code = HTH_ERR_NOMEM;
    uint64_t n = 1;
    for (; code != HTH_OK && n < 5000; n++) {
        hth_tokenizer *t = NULL;
        hth_mem_fail_at(n, true);
        code = hth_tok_load_json(hth_json_root(doc), &t, &err);
        hth_mem_fail_at(0, false);
        assert_true(code == HTH_OK || code == HTH_ERR_NOMEM);
        hth_tokenizer_free(t);
    }
    assert_int_equal(code, HTH_OK);
    assert_true(n > 20);
    hth_mem_get_stats(&after);
    assert_int_equal(before.n_blocks, after.n_blocks);
    hth_json_free(doc);
}

static void files_that_contradict_themselves_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"{}", "model"},
        {"{\"model\":{\"type\":\"RWKV\",\"vocab\":{}}}", "RWKV"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "empty"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "token id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":9000000},\"merges\":[]}}", "far beyond"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"ab\"]}}", "merges"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":5,\"vocab\":[[\"a\",0]]}}", "unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "score"},
        {"{\"added_tokens\":[{\"content\":\"x\"}],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":"
         "[]}}",
         "without an id"},
        {"{\"normalizer\":{\"type\":\"Odd\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         "Odd"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"},"
         "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         "( without )"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////////\"},"
         "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
         "precompiled_charsmap"},
    };
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        hth_err err = {.msg = ""};
        hth_json_doc *doc = NULL;
        hth_tokenizer *t = NULL;
        assert_int_equal(hth_json_parse(bad[i].json, strlen(bad[i].json), 1u << 20, &doc, &err), HTH_OK);
        assert_int_not_equal(hth_tok_load_json(hth_json_root(doc), &t, &err), HTH_OK);
        assert_null(t);
        if (!strstr(err.msg, bad[i].says)) fail_msg("'%s' does not say '%s'", err.msg, bad[i].says);
        hth_json_free(doc);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_cross_segment_borders),
        cmocka_unit_test(a_users_bytes_never_become_control_tokens),
        cmocka_unit_test(a_control_token_half_in_a_users_text_stays_text),
        cmocka_unit_test(ordinary_added_tokens_are_found_in_a_users_text),
        cmocka_unit_test(no_text_gives_no_tokens),
        cmocka_unit_test(byte_level_keeps_invalid_bytes),
        cmocka_unit_test(character_kinds_see_invalid_bytes_as_replacement_characters),
        cmocka_unit_test(the_stream_never_ends_within_a_character),
        cmocka_unit_test(an_unfinished_character_comes_out_as_one_replacement),
        cmocka_unit_test(control_tokens_are_shown_only_on_request),
        cmocka_unit_test(an_id_outside_the_vocabulary_is_refused),
        cmocka_unit_test(spellings_lead_to_ids_and_back),
        cmocka_unit_test(long_words_merge_as_short_ones_do),
        cmocka_unit_test(tokens_are_appended_and_a_failure_takes_them_back),
        cmocka_unit_test(loading_survives_refused_memory),
        cmocka_unit_test(files_that_contradict_themselves_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
