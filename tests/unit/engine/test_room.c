// Memory of requests that do not say how long they will be: they share what there is, and who has to wait in the
// middle goes on with the same tokens.
#include "os/sync.h"
#include "unit/engine/asked.h"

enum { N_CTX = 2048, N_USER = 8 };

static hth_token numbers[N_USER][64];

static int make_prompts(void **state) {
    (void)state;
    for (int i = 0; i < N_USER; i++) asked_random(numbers[i], 64, (uint64_t)i + 5);
    return 0;
}

// Memory with which sequences hold `n` tokens together.
static uint64_t memory_for(tiny_kind kind, int64_t n) {
    hth_plan plan, work;
    hth_err err;
    hth_engine *e = asked_open(kind, &(hth_engine_params){.n_thread = 2, .n_ctx = N_CTX, .n_sequence = N_USER});
    assert_int_equal(hth_engine_plan(e, n, 1, &plan, &err), HTH_OK);
    assert_int_equal(hth_engine_plan(e, 0, 0, &work, &err), HTH_OK);
    hth_engine_close(e);
    return plan.kv_bytes + work.scratch_bytes;
}

typedef struct party {
    hth_mutex lock;
    hth_cond come;
    bool is_open; // all have been submitted
    int n_begun, n_ended, most;
} party;

typedef struct guest {
    party *party;
    bool has_begun;
} guest;

// The engine's thread waits with the first token until all are there; then counts who has begun and not ended.
static void count_guests(void *user, const hth_event *event) {
    guest *g = user;
    party *p = g->party;
    hth_lock(&p->lock);
    while (event->kind == HTH_EVENT_TOKEN && !p->is_open) hth_cond_wait(&p->come, &p->lock);
    if (event->kind == HTH_EVENT_TOKEN && !g->has_begun) {
        g->has_begun = true;
        p->n_begun++;
    }
    if (event->kind == HTH_EVENT_STOP) p->n_ended++;
    if (p->n_begun - p->n_ended > p->most) p->most = p->n_begun - p->n_ended;
    hth_unlock(&p->lock);
}

static void party_init(party *p) {
    hth_err err;
    *p = (party){0};
    assert_int_equal(hth_mutex_init(&p->lock, &err), HTH_OK);
    assert_int_equal(hth_cond_init(&p->come, &err), HTH_OK);
}

static void party_open(party *p) {
    hth_lock(&p->lock);
    p->is_open = true;
    hth_cond_wake_all(&p->come);
    hth_unlock(&p->lock);
}

static void party_end(party *p) {
    hth_cond_destroy(&p->come);
    hth_mutex_destroy(&p->lock);
}

static void users_without_max_tokens_on_a_big_context_run_together(void **state) {
    (void)state;
    party p;
    guest guests[N_USER];
    hth_request *r[N_USER];
    static hth_token said[100];
    const hth_segment answer = asked_tokens(said, 100);
    party_init(&p);
    // What all may become is sixteen times what there is room for at once; what they say fits.
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = N_CTX, .n_sequence = N_USER,
                                                                .memory_bytes = memory_for(TINY_LLAMA, N_CTX + 1024)});
    for (int i = 0; i < N_USER; i++) {
        const hth_segment prompt = asked_tokens(numbers[i], 40);
        guests[i] = (guest){.party = &p};
        r[i] = asked_submit(e, &(hth_request_params){.segments = &prompt, .n_segment = 1, .forced = &answer, .n_forced = 1,
                                                     .on_event = count_guests, .user = &guests[i]});
    }
    party_open(&p);
    for (int i = 0; i < N_USER; i++) {
        asked *a = asked_all(r[i]);
        assert_int_equal(a->of[0].n, 100);
        assert_int_equal(a->of[0].reason, HTH_STOP_END);
        hth_request_free(r[i]);
        free(a);
    }
    assert_int_equal(p.most, N_USER);
    hth_engine_stats s;
    hth_engine_get_stats(e, &s);
    assert_int_equal(s.n_parked, 0);
    hth_engine_close(e);
    party_end(&p);
}

static hth_request_params writing(const hth_segment *prompt, const hth_sampler_params *sampling, int i) {
    return (hth_request_params){.segments = prompt, .n_segment = 1, .sampling = sampling, .ignore_end = true, .logprobs = true,
                                .max_tokens = i % 2 ? 0 : 700, .no_cache = i % 3 == 0,
                                .overflow = i == 5 ? HTH_OVERFLOW_ROLLING : HTH_OVERFLOW_ERROR,
                                .priority = i == 1 ? HTH_PRIORITY_BACKGROUND : HTH_PRIORITY_INTERACTIVE};
}

static void assert_waiting_changes_no_token(tiny_kind kind) {
    enum { N = 6 };
    static asked *alone[N], *beside[N];
    hth_sampler_params sampling[N];
    hth_segment prompts[N];
    hth_request *r[N];
    party gate;
    guest guests[N];
    hth_engine *e = asked_open(kind, &(hth_engine_params){.n_thread = 2, .n_ctx = 800, .n_sequence = N});
    for (int i = 0; i < N; i++) {
        sampling[i] = (hth_sampler_params){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = (uint64_t)i + 1};
        prompts[i] = asked_tokens(numbers[i], 20 + (size_t)i);
        hth_request_params p = writing(&prompts[i], &sampling[i], i);
        if (p.max_tokens == 0) p.max_tokens = 800 - 20 - i;
        p.no_cache = true;
        alone[i] = asked_run(e, &p);
    }
    hth_engine_close(e);
    // Room for a little more than one whole answer: all the others have to wait again and again.
    e = asked_open(kind, &(hth_engine_params){.n_thread = 2, .n_ctx = 800, .n_sequence = N, .memory_bytes = memory_for(kind, 1200)});
    party_init(&gate);
    for (int i = 0; i < N; i++) {
        hth_request_params p = writing(&prompts[i], &sampling[i], i);
        guests[i] = (guest){.party = &gate};
        p.on_event = count_guests;
        p.user = &guests[i];
        if (p.overflow == HTH_OVERFLOW_ROLLING) p.max_tokens = 800 - 20 - i;
        r[i] = asked_submit(e, &p);
    }
    party_open(&gate);
    for (int i = 0; i < N; i++) beside[i] = asked_all(r[i]);
    hth_engine_stats s;
    hth_engine_get_stats(e, &s);
    assert_true(s.n_parked > 0);
    assert_int_equal(s.reserved_bytes, 0);
    assert_true(s.cache_bytes + s.reserved_bytes <= memory_for(kind, 1200));
    for (int i = 0; i < N; i++) {
        const asked_one *a = &alone[i]->of[0], *b = &beside[i]->of[0];
        assert_int_equal(b->code, HTH_OK);
        assert_true(b->n >= a->n);
        for (int k = 0; k < a->n; k++) {
            if (a->tokens[k] != b->tokens[k]) fail_msg("request %d: token %d is %d and not %d", i, k, b->tokens[k], a->tokens[k]);
            assert_true(a->logprobs[k] == b->logprobs[k]);
        }
        hth_request_free(r[i]);
        free(alone[i]);
        free(beside[i]);
    }
    hth_engine_close(e);
    party_end(&gate);
}

static void who_waits_in_the_middle_goes_on_with_the_same_tokens(void **state) {
    (void)state;
    assert_waiting_changes_no_token(TINY_LLAMA);
    assert_waiting_changes_no_token(TINY_GEMMA3); // windows
    assert_waiting_changes_no_token(TINY_QWEN35); // recurrent layers
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_without_max_tokens_on_a_big_context_run_together),
        cmocka_unit_test(who_waits_in_the_middle_goes_on_with_the_same_tokens),
    };
    return cmocka_run_group_tests(tests, make_prompts, NULL);
}
