// What is remembered of calls: what counts as the same, and that there is an end to it.
#include "server/sampled.h"

#include <string.h>

#include "base/mem.h"
#include "unit/cmocka_all.h"

static hth_chat_text text(const char *p) {
    return (hth_chat_text){p, strlen(p)};
}

static hth_sampled_found find(hth_sampled *s, const char *id, const char *name, const char *arguments, char out[64]) {
    hth_arena a;
    hth_arena_init(&a, HTH_MEM_MISC, 1 << 20);
    hth_chat_call call = {text(id), text(name), text(arguments), false};
    const hth_sampled_found found = hth_sampled_find(s, &a, &call);
    assert_int_equal(call.as_written, found == HTH_SAMPLED_SAME);
    if (out) snprintf(out, 64, "%.*s", (int)call.arguments.n, call.arguments.p);
    hth_arena_free(&a);
    return found;
}

static void what_means_the_same_is_given_as_it_was_written(void **state) {
    (void)state;
    static const struct {
        const char *written, *sent;
        hth_sampled_found found;
    } rows[] = {
        {"{\"a\":1,\"b\":[1,2]}", "{\"b\": [1, 2], \"a\": 1.0}", HTH_SAMPLED_SAME},
        {"{\"a\":\"\\u00e9\"}", "{\"a\":\"\xc3\xa9\"}", HTH_SAMPLED_SAME},
        {"{}", " { } ", HTH_SAMPLED_SAME},
        {"no json", "no json", HTH_SAMPLED_SAME},
        {"{\"a\":1}", "{\"a\":2}", HTH_SAMPLED_CHANGED},
        {"{\"a\":1}", "{\"a\":true}", HTH_SAMPLED_CHANGED},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", HTH_SAMPLED_CHANGED},
        {"{\"a\":[1,2]}", "{\"a\":[2,1]}", HTH_SAMPLED_CHANGED},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"c\":1}}", HTH_SAMPLED_CHANGED},
        {"{\"a\":1}", "{\"a\":", HTH_SAMPLED_CHANGED},
        {"{\"a\":9007199254740993}", "{\"a\":9007199254740992}", HTH_SAMPLED_CHANGED},
    };
    hth_sampled *s = hth_sampled_new();
    char id[16], got[64];
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        snprintf(id, sizeof id, "call_%zu", i);
        hth_sampled_keep(s, text(id), text("f"), text(rows[i].written));
        assert_int_equal(find(s, id, "f", rows[i].sent, got), rows[i].found);
        assert_string_equal(got, rows[i].found == HTH_SAMPLED_SAME ? rows[i].written : rows[i].sent);
    }
    assert_int_equal(find(s, "call_0", "g", rows[0].written, NULL), HTH_SAMPLED_CHANGED);
    assert_int_equal(find(s, "call_", "f", "{}", NULL), HTH_SAMPLED_UNKNOWN);
    assert_int_equal(find(s, "", "f", "{}", NULL), HTH_SAMPLED_UNKNOWN);
    hth_sampled_keep(s, text("call_0"), text("f"), text("{\"new\":1}")); // the newest of an id counts
    assert_int_equal(find(s, "call_0", "f", "{\"new\": 1}", NULL), HTH_SAMPLED_SAME);
    hth_sampled_free(s);
}

static void the_oldest_are_forgotten(void **state) {
    (void)state;
    static char big[60000];
    hth_sampled *s = hth_sampled_new();
    char id[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(id, sizeof id, "id%d", i);
        hth_sampled_keep(s, text(id), text("f"), text("{}"));
        assert_int_equal(find(s, id, "f", "{}", NULL), HTH_SAMPLED_SAME);
    }
    assert_int_equal(find(s, "id1976", "f", "{}", NULL), HTH_SAMPLED_SAME);
    assert_int_equal(find(s, "id1975", "f", "{}", NULL), HTH_SAMPLED_UNKNOWN);
    memset(big, 'x', sizeof big - 1);
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    for (int i = 0; i < 500; i++) hth_sampled_keep(s, text("big"), text("f"), text(big));
    hth_mem_get_stats(&after);
    assert_true(after.n_bytes[HTH_MEM_SERVER] - before.n_bytes[HTH_MEM_SERVER] < (uint64_t)9 << 20);
    assert_int_equal(find(s, "big", "f", big, NULL), HTH_SAMPLED_SAME);
    assert_int_equal(find(s, "id2999", "f", "{}", NULL), HTH_SAMPLED_UNKNOWN); // there was no room for it
    hth_sampled_free(s);
    hth_mem_get_stats(&after);
    assert_int_equal(after.n_bytes[HTH_MEM_SERVER], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_means_the_same_is_given_as_it_was_written),
        cmocka_unit_test(the_oldest_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
