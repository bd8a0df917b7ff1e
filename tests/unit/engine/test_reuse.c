// What one request has computed is there for the next: how much, for whom, and that it changes no token.
#include <math.h>
#include <unistd.h>

#include "os/sync.h"
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

// ---- files

static void a_saved_beginning_is_found_by_another_engine(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_GEMMA3, TINY_LFM2, TINY_QWEN35};
    char dir[128], path[160];
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/saved", dir);
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *e = open_kind(kinds[k], false);
        hth_request_params p = asking();
        hth_err err;
        int64_t n = -1;
        p.salt = (hth_bytes){"anna", 4};
        assert_int_equal(hth_engine_save(e, &p, path, &n, &err), HTH_ERR_NOTFOUND);
        asked *want = asked_run(e, &p);
        hth_token turn[N_PROMPT + 12 + 20]; // the conversation so far, and more
        memcpy(turn, prompt, N_PROMPT * sizeof *turn);
        memcpy(turn + N_PROMPT, want->of[0].tokens, 12 * sizeof *turn);
        memcpy(turn + N_PROMPT + 12, prompt + 200, 20 * sizeof *turn);
        const hth_segment so_far = asked_tokens(turn, N_PROMPT + 12), more = asked_tokens(turn, N_PROMPT + 32);
        p.segments = &so_far;
        if (hth_engine_save(e, &p, path, &n, &err) != HTH_OK) fail_msg("%s", err.msg);
        assert_int_equal(n, N_PROMPT + 11);
        p.segments = &more;
        asked *here = asked_run(e, &p);
        hth_engine_close(e);
        e = open_kind(kinds[k], false);
        p.salt = (hth_bytes){"bert", 4};
        assert_int_equal(hth_engine_restore(e, &p, path, &n, &err), HTH_ERR_UNSUPPORTED);
        p.salt = (hth_bytes){"anna", 4};
        if (hth_engine_restore(e, &p, path, &n, &err) != HTH_OK) fail_msg("%s", err.msg);
        assert_int_equal(n, N_PROMPT + 11);
        asked *there = asked_run(e, &p);
        assert_int_equal(there->usage.n_cached, N_PROMPT + 11);
        assert_memory_equal(there->of[0].tokens, here->of[0].tokens, 12 * sizeof(hth_token));
        hth_engine_close(e);
        free(want);
        free(here);
        free(there);
    }
    unlink(path);
    rmdir(dir);
}

// Each byte of the file is changed once, and it is cut off at many places: a typed error, and nothing is cached.
static void a_damaged_file_is_refused(void **state) {
    (void)state;
    char dir[128], path[160];
    static uint8_t bytes[1 << 17];
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/saved", dir);
    hth_engine *e = open_kind(TINY_LFM2, false);
    hth_request_params p = asking();
    hth_err err;
    int64_t n;
    hth_engine_stats s;
    free(asked_run(e, &p));
    assert_int_equal(hth_engine_save(e, &p, path, &n, &err), HTH_OK);
    hth_engine_close(e);
    e = open_kind(TINY_LFM2, false);
    FILE *f = fopen(path, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(size > 1000 && size < sizeof bytes);
    for (size_t at = 0; at < size; at += at < 1500 ? 1 : 97) {
        for (int cut = 0; cut < 2; cut++) {
            f = fopen(path, "wb");
            bytes[at] ^= 0x20;
            assert_int_equal(fwrite(bytes, 1, cut ? at : size, f), cut ? at : size);
            bytes[at] ^= 0x20;
            fclose(f);
            const hth_code code = hth_engine_restore(e, &p, path, &n, &err);
            if (code == HTH_OK || n != 0) fail_msg("byte %d was changed", (int)at);
            assert_true(code != HTH_ERR_INTERNAL && err.msg[0] != 0);
        }
    }
    assert_int_equal(hth_engine_restore(e, &p, "/nowhere/at/all", &n, &err), HTH_ERR_NOTFOUND);
    hth_engine_get_stats(e, &s);
    assert_int_equal(s.n_cache_entry, 0);
    hth_engine_close(e);
    e = open_kind(TINY_LFM2, true);
    assert_int_equal(hth_engine_restore(e, &p, path, &n, &err), HTH_ERR_UNSUPPORTED);
    hth_engine_close(e);
    unlink(path);
    rmdir(dir);
}

// ---- at the same time

// Holds the host's thread after a request's first chunk, until others have been submitted.
typedef struct gate {
    hth_mutex lock;
    hth_cond change;
    bool is_reached, is_open;
} gate;

static void stop_at_gate(void *user, const hth_event *event) {
    gate *g = user;
    if (event->kind != HTH_EVENT_PREFILL) return;
    hth_lock(&g->lock);
    g->is_reached = true;
    hth_cond_wake_all(&g->change);
    while (!g->is_open) hth_cond_wait(&g->change, &g->lock);
    hth_unlock(&g->lock);
}

static hth_request *submit_and_hold(hth_engine *e, hth_request_params p, gate *g) {
    hth_err err;
    *g = (gate){.is_open = false};
    assert_int_equal(hth_mutex_init(&g->lock, &err), HTH_OK);
    assert_int_equal(hth_cond_init(&g->change, &err), HTH_OK);
    p.on_event = stop_at_gate;
    p.user = g;
    hth_request *r = asked_submit(e, &p);
    hth_lock(&g->lock);
    while (!g->is_reached) hth_cond_wait(&g->change, &g->lock);
    hth_unlock(&g->lock);
    return r;
}

static void let_go(gate *g) {
    hth_lock(&g->lock);
    g->is_open = true;
    hth_cond_wake_all(&g->change);
    hth_unlock(&g->lock);
}

static void end_gate(gate *g) {
    hth_cond_destroy(&g->change);
    hth_mutex_destroy(&g->lock);
}

static void equal_prompts_at_the_same_time_are_read_once(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_GEMMA3, TINY_LFM2, TINY_QWEN35};
    enum { SHARED = 77, CHUNK = 16 };
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *e = asked_open(kinds[k], &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = CHUNK});
        hth_engine *forgetful = open_kind(kinds[k], true);
        hth_token other[N_PROMPT];
        memcpy(other, prompt, sizeof other);
        other[SHARED] = (prompt[SHARED] + 1) % TINY_VOCAB;
        const hth_segment branch = asked_tokens(other, N_PROMPT);
        hth_request_params p = asking();
        asked *want = asked_run(forgetful, &p);
        gate g;
        hth_request *r[3] = {submit_and_hold(e, p, &g)};
        p.n = 2;
        r[1] = asked_submit(e, &p);
        p.n = 1;
        p.segments = &branch;
        r[2] = asked_submit(e, &p);
        asked *want_branch = asked_run(forgetful, &p);
        let_go(&g);
        for (int i = 0; i < 3; i++) {
            asked *a = asked_all(r[i]);
            assert_int_equal(a->usage.n_cached, i == 0 ? 0 : i == 1 ? N_PROMPT - 1 : SHARED);
            assert_int_equal(a->of[0].n, 12);
            assert_memory_equal(a->of[0].tokens, (i == 2 ? want_branch : want)->of[0].tokens, 12 * sizeof(hth_token));
            hth_request_free(r[i]);
            free(a);
        }
        hth_engine_stats s;
        hth_engine_get_stats(e, &s);
        assert_int_equal(s.n_prompt_row, N_PROMPT + 1 + N_PROMPT - SHARED);
        end_gate(&g);
        free(want);
        free(want_branch);
        hth_engine_close(e);
        hth_engine_close(forgetful);
    }
}

static void who_waits_for_a_prompt_that_ends_early_reads_on(void **state) {
    (void)state;
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_QWEN35};
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        hth_engine *e = asked_open(kinds[k], &(hth_engine_params){.n_thread = 2, .n_ctx = 256, .n_chunk = 16});
        hth_engine *forgetful = open_kind(kinds[k], true);
        hth_request_params p = asking();
        asked *want = asked_run(forgetful, &p);
        gate g;
        hth_request *first = submit_and_hold(e, p, &g);
        hth_request *second = asked_submit(e, &p), *third = asked_submit(e, &p);
        hth_request_cancel(first);
        let_go(&g);
        asked *a = asked_all(second), *b = asked_all(third);
        assert_true(a->usage.n_cached >= 16 && a->usage.n_cached < N_PROMPT - 1);
        assert_int_equal(b->usage.n_cached, N_PROMPT - 1); // it waits for the second one then
        assert_memory_equal(a->of[0].tokens, want->of[0].tokens, 12 * sizeof(hth_token));
        assert_memory_equal(b->of[0].tokens, want->of[0].tokens, 12 * sizeof(hth_token));
        hth_request_free(first);
        hth_request_free(second);
        hth_request_free(third);
        end_gate(&g);
        free(a);
        free(b);
        free(want);
        hth_engine_close(e);
        hth_engine_close(forgetful);
    }
}

// Memory for three sequences: one is at work, the beginnings of ended ones fill more than another.
static void a_background_request_pushes_no_beginning_out_while_others_work(void **state) {
    (void)state;
    hth_engine *e = open_kind(TINY_LLAMA, false);
    hth_plan plan;
    hth_err err;
    hth_engine_stats before;
    assert_int_equal(hth_engine_plan(e, 256, 1, &plan, &err), HTH_OK);
    hth_engine_close(e);
    e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256, .n_sequence = 4, .n_chunk = 48,
                                                    .memory_bytes = plan.scratch_bytes * 2 + 4 * plan.kv_bytes});
    hth_plan own;
    assert_int_equal(hth_engine_plan(e, 0, 0, &own, &err), HTH_OK);
    const uint64_t memory = own.scratch_bytes + 3 * plan.kv_bytes;
    hth_engine_close(e);
    e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 256, .n_sequence = 4, .n_chunk = 48, .memory_bytes = memory});
    for (int i = 0; i < 2; i++) {
        hth_token tokens[200];
        asked_random(tokens, 200, (uint64_t)i + 300);
        const hth_segment one = asked_tokens(tokens, 200);
        free(asked_run(e, &(hth_request_params){.segments = &one, .n_segment = 1, .sampling = &greedy, .max_tokens = 2}));
    }
    hth_request_params p = asking();
    gate g;
    hth_request *working = submit_and_hold(e, p, &g);
    hth_engine_get_stats(e, &before);
    assert_int_equal(before.n_cache_entry, 2);
    p.priority = HTH_PRIORITY_BACKGROUND;
    p.max_tokens = 0;
    p.ignore_end = true;
    hth_request *title = asked_submit(e, &p);
    let_go(&g);
    asked *a = asked_all(working);
    asked *b = asked_all(title);
    assert_int_equal(b->of[0].reason, HTH_STOP_CONTEXT);
    assert_true((int64_t)b->usage.queued_ns >= (int64_t)a->usage.generate_ns); // it waited for the whole of the other's answer
    free(a);
    free(b);
    hth_request_free(working);
    hth_request_free(title);
    end_gate(&g);
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
        cmocka_unit_test(a_saved_beginning_is_found_by_another_engine),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(equal_prompts_at_the_same_time_are_read_once),
        cmocka_unit_test(who_waits_for_a_prompt_that_ends_early_reads_on),
        cmocka_unit_test(a_background_request_pushes_no_beginning_out_while_others_work),
    };
    return cmocka_run_group_tests(tests, make_prompt, NULL);
}
