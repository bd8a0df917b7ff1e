// A thousand conversations of two turns through 16 places: nothing is lost, mixed or told twice, each is what it is
// alone, and afterwards everything is as it was.
#include <stdlib.h>

#include "os/sync.h"
#include "unit/engine/asked.h"

enum { N_THREAD = 4, N_PLACE = 16, N_AT_ONCE = 8, LEN = 40, OUT = 10, SHARED = 16 };

static int n_conversation = 1000;

typedef struct conversation {
    hth_token prompt[2 * LEN + OUT];
    hth_sampler_params sampling;
    hth_token want[2][OUT];
} conversation;

typedef struct user {
    hth_engine *engine;
    conversation *all;
    int first, n_bad;
    hth_thread thread;
} user;

// Prompts begin alike in groups, so that beginnings are shared.
static void make(conversation *c, int i) {
    asked_random(c->prompt, 2 * LEN + OUT, (uint64_t)i + 7);
    asked_random(c->prompt, SHARED, (uint64_t)i % 5 + 10000);
    c->sampling = (hth_sampler_params){.temperature = i % 3 ? 0.9f : 0, .top_p = 1, .repeat_penalty = 1, .seed = (uint64_t)i};
}

static size_t length_of(int turn) {
    return turn == 0 ? LEN : 2 * LEN + OUT;
}

static hth_request_params turn_of(const conversation *c, int turn, int i, hth_segment *segment) {
    *segment = asked_tokens(c->prompt, length_of(turn));
    return (hth_request_params){.segments = segment, .n_segment = 1, .sampling = &c->sampling, .max_tokens = OUT, .n_draft = i % 4 ? 0 : -1,
                                .priority = i % 7 ? HTH_PRIORITY_INTERACTIVE : HTH_PRIORITY_BACKGROUND, .ignore_end = true};
}

// Reads to the end: every token once, in order, as alone. Returns whether that is so.
static bool is_as_alone(hth_request *r, const hth_token *want) {
    hth_event e = {.kind = HTH_EVENT_QUEUED};
    hth_err err;
    int n = 0;
    uint64_t number = 0;
    bool is_right = true;
    while (e.kind != HTH_EVENT_END) {
        if (hth_request_next(r, 120000, &e, &err) != HTH_OK) return false;
        is_right &= e.number == ++number && e.kind != HTH_EVENT_ERROR;
        if (e.kind != HTH_EVENT_TOKEN) continue;
        is_right &= n < OUT && e.token.index == n && e.token.id == want[n];
        n++;
    }
    return is_right && n == OUT && e.usage.n_output == OUT;
}

static void *talk(void *p) {
    user *u = p;
    for (int at = u->first; at < n_conversation; at += N_THREAD * N_AT_ONCE) {
        for (int turn = 0; turn < 2; turn++) {
            hth_request *r[N_AT_ONCE] = {NULL};
            for (int k = 0; k < N_AT_ONCE && at + k < n_conversation; k++) {
                hth_segment segment;
                hth_err err;
                const hth_request_params q = turn_of(&u->all[at + k], turn, at + k, &segment);
                if (hth_request_submit(u->engine, &q, &r[k], NULL, &err) != HTH_OK) u->n_bad++;
            }
            for (int k = 0; k < N_AT_ONCE; k++) {
                if (r[k]) u->n_bad += !is_as_alone(r[k], u->all[at + k].want[turn]);
                hth_request_free(r[k]);
            }
        }
    }
    return NULL;
}

// One by one, without anything kept; the second turn goes on from the first answer.
static void run_alone(conversation *all) {
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 1, .n_ctx = 128, .n_sequence = 1, .no_cache = true});
    for (int i = 0; i < n_conversation; i++) {
        make(&all[i], i);
        for (int turn = 0; turn < 2; turn++) {
            hth_segment segment;
            hth_request_params q = turn_of(&all[i], turn, i, &segment);
            q.n_draft = -1;
            asked *a = asked_run(e, &q);
            assert_int_equal(a->of[0].n, OUT);
            memcpy(all[i].want[turn], a->of[0].tokens, sizeof all[i].want[turn]);
            free(a);
        }
    }
    hth_engine_close(e);
}

static void a_thousand_conversations_are_what_they_are_alone(void **state) {
    (void)state;
    if (getenv("HEARTH_TEST_QUICK")) n_conversation = 64;
    conversation *all = calloc((size_t)n_conversation, sizeof *all);
    assert_non_null(all);
    run_alone(all);
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 128, .n_sequence = N_PLACE, .n_chunk = 32,
                                                                .cache_bytes = 1 << 20});
    user users[N_THREAD];
    hth_err err;
    for (int i = 0; i < N_THREAD; i++) {
        users[i] = (user){.engine = e, .all = all, .first = i * N_AT_ONCE};
        assert_int_equal(hth_thread_start(&users[i].thread, talk, &users[i], &err), HTH_OK);
    }
    int n_bad = 0;
    for (int i = 0; i < N_THREAD; i++) {
        hth_thread_join(&users[i].thread);
        n_bad += users[i].n_bad;
    }
    hth_engine_stats s;
    hth_engine_get_stats(e, &s);
    assert_int_equal(n_bad, 0);
    assert_int_equal(s.n_done, 2 * n_conversation);
    assert_true(s.n_cached_token > 0 && s.cache_bytes <= 1 << 20);
    assert_int_equal(s.reserved_bytes, 0);
    hth_engine_close(e);
    hth_mem_get_stats(&after);
    assert_int_equal(after.n_blocks, before.n_blocks);
    free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thousand_conversations_are_what_they_are_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
