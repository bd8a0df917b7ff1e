// What one request has computed is there for the next: how much, for whom, and that it changes no token.
#include <math.h>

#include "unit/engine/asked.h"

static const hth_sampler_params greedy = {.top_p = 1};
enum { N_PROMPT = 120 };

static hth_token prompt[256];
static hth_segment segment;

static int make_prompt(void **state) {
    (void)state;
    asked_random(prompt, 256, 31);
    segment = asked_tokens(prompt, N_PROMPT);
    return 0;
}

static hth_request_params asking(void) {
    return (hth_request_params){.segments = &segment, .n_segment = 1, .sampling = &greedy, .max_tokens = 12};
}

static hth_engine *open_kind(tiny_kind kind, bool no_cache) {
    return asked_open(kind, &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 48, .no_cache = no_cache});
}

static void the_next_turn_reads_only_what_is_new(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_GEMMA3, TINY_GEMMA4};
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *e = open_kind(kinds[k], false);
        hth_request_params p = asking();
        asked *first = asked_run(e, &p);
        assert_int_equal(first->usage.n_cached, 0);
        assert_int_equal(first->usage.miss, HTH_MISS_COLD);
        hth_token turn[256];
        memcpy(turn, prompt, N_PROMPT * sizeof *turn);
        memcpy(turn + N_PROMPT, first->of[0].tokens, 12 * sizeof *turn);
        memcpy(turn + N_PROMPT + 12, prompt + 200, 20 * sizeof *turn);
        const hth_segment more = asked_tokens(turn, N_PROMPT + 32);
        p.segments = &more;
        asked *second = asked_run(e, &p);
        assert_int_equal(second->usage.n_cached, N_PROMPT + 11); // the last token of an answer is never computed
        assert_int_equal(second->usage.miss, HTH_MISS_ENDED);
        assert_int_equal(second->usage.n_prompt, N_PROMPT + 32);
        assert_int_equal(second->of[0].n, 12);
        free(first);
        free(second);
        hth_engine_close(e);
    }
}

// Three prompts that share their first rows: the second finds nothing that its layers could go back to, and leaves a
// snapshot where they part, which the third goes on from.
static void where_prompts_part_a_snapshot_is_left_for_the_third(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_GEMMA3, TINY_GEMMA4, TINY_LFM2};
    enum { SHARED = 70 };
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *e = open_kind(kinds[k], false), *forgetful = open_kind(kinds[k], true);
        hth_token own[3][N_PROMPT];
        asked *said[3];
        for (int i = 0; i < 3; i++) {
            asked_random(own[i], N_PROMPT, 60 + (uint64_t)i);
            memcpy(own[i], prompt, SHARED * sizeof **own);
            own[i][SHARED] = i;
            const hth_segment mine = asked_tokens(own[i], N_PROMPT);
            hth_request_params p = asking();
            p.segments = &mine;
            said[i] = asked_run(e, &p);
            asked *alone = asked_run(forgetful, &p);
            assert_memory_equal(said[i]->of[0].tokens, alone->of[0].tokens, 12 * sizeof(hth_token));
            free(alone);
        }
        assert_int_equal(said[1]->usage.miss, HTH_MISS_STATE);
        assert_int_equal(said[1]->usage.miss_at, SHARED);
        assert_int_equal(said[1]->usage.n_cached, 0);
        assert_int_equal(said[2]->usage.miss, HTH_MISS_DIFFERENT);
        assert_int_equal(said[2]->usage.n_cached, SHARED);
        for (int i = 0; i < 3; i++) free(said[i]);
        hth_engine_close(e);
        hth_engine_close(forgetful);
    }
}

// The cached rows are prompt rows here, so that not a bit may differ.
static void tokens_are_the_same_with_and_without_what_was_kept(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_GEMMA3, TINY_GEMMA4};
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *kept = open_kind(kinds[k], false), *forgetful = open_kind(kinds[k], true);
        hth_request_params p = asking();
        p.echo = true;
        free(asked_run(kept, &p));
        hth_token other[N_PROMPT];
        memcpy(other, prompt, sizeof other);
        for (int from = N_PROMPT - 1; from > 40; from -= 13) {
            for (int i = from; i < N_PROMPT; i++) other[i] = prompt[i + 77];
            const hth_segment branch = asked_tokens(other, N_PROMPT);
            p.segments = &branch;
            asked *got = asked_run(kept, &p), *want = asked_run(forgetful, &p);
            assert_int_equal(want->usage.n_cached, 0);
            if (kinds[k] == TINY_LLAMA) assert_true(got->usage.n_cached >= from && got->usage.n_cached < N_PROMPT);
            assert_int_equal(got->of[0].n, want->of[0].n);
            assert_memory_equal(got->of[0].tokens, want->of[0].tokens, (size_t)want->of[0].n * sizeof(hth_token));
            assert_int_equal(got->prompt.n, N_PROMPT); // echoed whole, cached or not
            assert_memory_equal(got->prompt.tokens, other, sizeof other);
            free(got);
            free(want);
        }
        hth_engine_close(kept);
        hth_engine_close(forgetful);
    }
}

static void another_salt_and_requests_without_cache_share_nothing(void **state) {
    (void)state;
    hth_engine *e = open_kind(TINY_LLAMA, false);
    hth_request_params p = asking();
    p.no_cache = true;
    free(asked_run(e, &p));
    p.no_cache = false;
    p.salt = (hth_bytes){"anna", 4};
    asked *a = asked_run(e, &p);
    assert_int_equal(a->usage.n_cached, 0);
    free(a);
    p.salt = (hth_bytes){"bert", 4};
    a = asked_run(e, &p);
    assert_int_equal(a->usage.n_cached, 0);
    free(a);
    a = asked_run(e, &p);
    assert_int_equal(a->usage.n_cached, N_PROMPT - 1);
    assert_int_equal(a->usage.miss_at, N_PROMPT);
    free(a);
    p.salt = (hth_bytes){"anna", 4};
    p.prompt_logprobs = true; // asks about every row
    a = asked_run(e, &p);
    assert_int_equal(a->usage.n_cached, 0);
    assert_int_equal(a->prompt.n, N_PROMPT);
    free(a);
    hth_engine_close(e);
}

static void a_background_request_uses_the_cache_and_leaves_nothing(void **state) {
    (void)state;
    hth_engine *e = open_kind(TINY_LLAMA, false);
    hth_request_params p = asking();
    hth_engine_stats s;
    p.priority = HTH_PRIORITY_BACKGROUND;
    free(asked_run(e, &p));
    hth_engine_get_stats(e, &s);
    assert_int_equal(s.n_cache_entry, 0);
    p.priority = HTH_PRIORITY_INTERACTIVE;
    free(asked_run(e, &p));
    p.priority = HTH_PRIORITY_BACKGROUND;
    asked *a = asked_run(e, &p);
    assert_int_equal(a->usage.n_cached, N_PROMPT - 1);
    free(a);
    hth_engine_close(e);
}

static void a_cancelled_prompt_is_not_read_twice(void **state) {
    (void)state;
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256, .n_chunk = 2});
    hth_request_params p = asking();
    hth_request *r = asked_submit(e, &p);
    hth_event event = {0};
    hth_err err;
    while (event.kind != HTH_EVENT_PREFILL || event.progress.n_done < 20) {
        assert_int_equal(hth_request_next(r, 20000, &event, &err), HTH_OK);
    }
    hth_request_cancel(r);
    while (event.kind != HTH_EVENT_END) assert_int_equal(hth_request_next(r, 20000, &event, &err), HTH_OK);
    hth_request_free(r);
    asked *a = asked_run(e, &p);
    assert_true(a->usage.n_cached >= 20);
    free(a);
    hth_engine_close(e);
}

static void what_is_kept_gives_way_to_requests(void **state) {
    (void)state;
    hth_engine *e = open_kind(TINY_LLAMA, false);
    hth_plan plan;
    hth_err err;
    assert_int_equal(hth_engine_plan(e, 256, 1, &plan, &err), HTH_OK);
    hth_engine_close(e);
    const uint64_t memory = plan.scratch_bytes * 2 + 2 * plan.kv_bytes;
    e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256, .n_chunk = 48, .memory_bytes = memory});
    assert_int_equal(hth_engine_plan(e, 0, 0, &plan, &err), HTH_OK);
    for (int i = 0; i < 12; i++) {
        hth_token tokens[200];
        asked_random(tokens, 200, (uint64_t)i + 100);
        const hth_segment one = asked_tokens(tokens, 200);
        asked *a = asked_run(e, &(hth_request_params){.segments = &one, .n_segment = 1, .sampling = &greedy, .max_tokens = 20});
        assert_int_equal(a->of[0].n, 20);
        free(a);
        hth_engine_stats s;
        hth_engine_get_stats(e, &s);
        assert_true(s.cache_bytes + s.reserved_bytes + plan.scratch_bytes <= memory);
    }
    hth_engine_close(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_turn_reads_only_what_is_new),
        cmocka_unit_test(where_prompts_part_a_snapshot_is_left_for_the_third),
        cmocka_unit_test(tokens_are_the_same_with_and_without_what_was_kept),
        cmocka_unit_test(another_salt_and_requests_without_cache_share_nothing),
        cmocka_unit_test(a_background_request_uses_the_cache_and_leaves_nothing),
        cmocka_unit_test(a_cancelled_prompt_is_not_read_twice),
        cmocka_unit_test(what_is_kept_gives_way_to_requests),
    };
    return cmocka_run_group_tests(tests, make_prompt, NULL);
}
