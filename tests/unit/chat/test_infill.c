// Prompts that fill in the middle: their order, what is cut, and memory that is refused. tests/parity/test_infill.py
// compares them with what the models' authors show.
#include <stdio.h>
#include <string.h>

#include "chat/infill.h"
#include "text/load_json.h"
#include "text/tok_impl.h"
#include "unit/cmocka_all.h"

// Letters have their own ids, 0 for a; then the newline and Qwen's tokens.
enum { NEWLINE = 26, PRE, SUF, MID, REPO, FILE_SEP };

static hth_tokenizer *make_tokenizer(void) {
    char json[2048];
    size_t n = (size_t)snprintf(json, sizeof json, "{\"added_tokens\":[");
    static const char *const added[] = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"};
    for (int i = 0; i < 5; i++) {
        n += (size_t)snprintf(json + n, sizeof json - n, "%s{\"id\":%d,\"content\":\"%s\",\"special\":false,\"normalized\":false}",
                              i ? "," : "", PRE + i, added[i]);
    }
    n += (size_t)snprintf(json + n, sizeof json - n, "],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                                                     "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"\xc4\x8a\":26");
    for (int i = 0; i < 26; i++) n += (size_t)snprintf(json + n, sizeof json - n, ",\"%c\":%d", 'a' + i, i);
    n += (size_t)snprintf(json + n, sizeof json - n, "}}}");
    hth_err err;
    hth_json_doc *doc = NULL;
    hth_tokenizer *t = NULL;
    if (hth_json_parse(json, n, 1u << 20, &doc, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_tok_load_json(hth_json_root(doc), &t, &err) != HTH_OK) fail_msg("%s", err.msg);
    hth_json_free(doc);
    return t;
}

// Ids as text: letters, / for a newline, capitals for the format's tokens.
static void expect(const hth_tokenizer *t, const hth_infill_request *r, const char *want) {
    hth_infill_format f;
    hth_token_list ids = {0};
    hth_err err;
    char got[256] = "";
    if (hth_infill_find(t, &f, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_infill_prompt(&f, t, r, &ids, NULL, &err) != HTH_OK) fail_msg("%s", err.msg);
    for (size_t i = 0; i < ids.n && i < sizeof got - 1; i++) {
        got[i] = ids.ids[i] < 26 ? (char)('a' + ids.ids[i]) : "/PSMRF"[ids.ids[i] - NEWLINE];
    }
    assert_string_equal(got, want);
    hth_token_list_free(&ids);
}

#define T(text) hth_chat_text_of(text)

static void files_come_before_the_gap_and_the_repository_before_the_files(void **state) {
    hth_tokenizer *t = make_tokenizer();
    const hth_infill_file files[] = {{T("x"), T("aa")}, {{NULL, 0}, T("bb")}};
    hth_infill_request r = {.prefix = T("pre"), .suffix = T("suf")};
    (void)state;
    expect(t, &r, "PpreSsufM");
    r = (hth_infill_request){.prefix = T("pre"), .suffix = T("suf"), .path = T("y"), .repo = T("r"), .files = files, .n_file = 2};
    expect(t, &r, "Rr/Fx/aa/Ffilename/bb/Fy/PpreSsufM");
    r = (hth_infill_request){.prefix = {NULL, 0}, .suffix = {NULL, 0}};
    expect(t, &r, "PSM");
    hth_tokenizer_free(t);
}

static void what_a_client_writes_stays_text(void **state) {
    hth_tokenizer *t = make_tokenizer();
    const hth_infill_file file = {T("<|file_sep|>"), T("<|repo_name|>")};
    hth_infill_request r = {.prefix = T("<|fim_suffix|>a"), .suffix = T("<|fim_middle|>b"), .files = &file, .n_file = 1};
    (void)state;
    expect(t, &r, "Rmyproject/Ffilesep/reponame/Ffilename/PfimsuffixaSfimmiddlebM"); // < | _ > are in no vocabulary
    hth_tokenizer_free(t);
}

static void what_is_too_long_is_cut_away_from_the_gap(void **state) {
    hth_tokenizer *t = make_tokenizer();
    const hth_infill_file files[] = {{T("x"), T("aaaa")}, {T("y"), T("bbbb")}};
    hth_infill_request r = {.prefix = T("abcdefgh"), .suffix = T("stuvwxyz"), .max_text = 8};
    (void)state;
    expect(t, &r, "PcdefghSstM");
    r.suffix = T("s");
    expect(t, &r, "PbcdefghSsM"); // what the suffix leaves
    r = (hth_infill_request){.prefix = T("p"), .suffix = T("s"), .path = T("z"), .repo = T("r"), .files = files, .n_file = 2, .max_all = 22};
    expect(t, &r, "Rr/aa/Fy/bbbb/Fz/PpSsM");
    hth_infill_format f;
    hth_token_list ids = {0};
    hth_err err;
    r.max_all = 5;
    assert_int_equal(hth_infill_find(t, &f, &err), HTH_OK);
    assert_int_equal(hth_infill_prompt(&f, t, &r, &ids, NULL, &err), HTH_ERR_LIMIT);
    assert_int_equal(ids.n, 0);
    r.max_all = 0;
    r.order = HTH_INFILL_SPM;
    assert_int_equal(hth_infill_prompt(&f, t, &r, &ids, NULL, &err), HTH_ERR_UNSUPPORTED);
    hth_token_list_free(&ids);
    hth_tokenizer_free(t);
}

static void refused_memory_leaves_nothing_behind(void **state) {
    hth_tokenizer *t = make_tokenizer();
    const hth_infill_file file = {T("x"), T("aa")};
    const hth_infill_request r = {.prefix = T("pre"), .suffix = T("suf"), .files = &file, .n_file = 1};
    hth_infill_format f;
    hth_err err;
    hth_mem_stats before, after;
    uint64_t n = 1;
    (void)state;
    assert_int_equal(hth_infill_find(t, &f, &err), HTH_OK);
    hth_mem_get_stats(&before);
    for (hth_code code = HTH_ERR_NOMEM; code != HTH_OK && n < 1000; n++) {
        hth_token_list ids = {0};
        hth_mem_fail_at(n, true);
        code = hth_infill_prompt(&f, t, &r, &ids, NULL, &err);
        hth_mem_fail_at(0, false);
        assert_true(code == HTH_OK || (code == HTH_ERR_NOMEM && ids.n == 0));
        hth_token_list_free(&ids);
    }
    hth_mem_get_stats(&after);
    assert_int_equal(before.n_blocks, after.n_blocks);
    assert_in_range(n, 5, 999);
    hth_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_before_the_gap_and_the_repository_before_the_files),
        cmocka_unit_test(what_a_client_writes_stays_text),
        cmocka_unit_test(what_is_too_long_is_cut_away_from_the_gap),
        cmocka_unit_test(refused_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
