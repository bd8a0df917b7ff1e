// A thousand conversations of two turns through 16 places: nothing is lost, mixed or told twice, each is what it is
// alone, and afterwards everything is as it was.
//
// HEARTH_SOAK_SECONDS=N: they go on for so long, and memory must not grow meanwhile (Linux). HEARTH_SOAK_CSV=FILE gets
// what was seen.
#include <stdio.h>
#include <stdlib.h>

#include "os/clock.h"
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
    uint64_t until_ns;
    int64_t n_talk; // conversations that were had
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

// N_AT_ONCE conversations from `at` on, side by side.
static void talk_from(user *u, int at) {
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
            u->n_talk += turn == 1 && r[k];
        }
    }
}

// All of the user's conversations, and again while there is time.
static void *talk(void *p) {
    user *u = p;
    do {
        for (int at = u->first; at < n_conversation; at += N_THREAD * N_AT_ONCE) talk_from(u, at);
    } while (hth_clock_ns() < u->until_ns);
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

// ---- memory over time

enum { MAX_SAMPLE = 1 << 16 };

typedef struct samples {
    double seconds[MAX_SAMPLE], kilobytes[MAX_SAMPLE];
    size_t n;
} samples;

// Of the process, what is no file's. 0: this system does not tell.
static double anonymous_kilobytes(void) {
    char line[256];
    double kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) (void)!sscanf(line, "RssAnon: %lf", &kilobytes);
    if (f) fclose(f);
    return kilobytes;
}

static void watch(samples *s, uint64_t until_ns) {
    memset(s, 1, sizeof *s); // its memory is there from the beginning
    s->n = 0;
    const uint64_t start_ns = hth_clock_ns();
    hth_mutex lock;
    hth_cond never;
    hth_err err;
    assert_int_equal(hth_mutex_init(&lock, &err), HTH_OK);
    assert_int_equal(hth_cond_init(&never, &err), HTH_OK);
    for (uint64_t now = start_ns; now < until_ns && s->n < MAX_SAMPLE; now = hth_clock_ns()) {
        s->seconds[s->n] = (double)(now - start_ns) / 1e9;
        s->kilobytes[s->n++] = anonymous_kilobytes();
        hth_lock(&lock);
        hth_cond_wait_until(&never, &lock, now + 1000000000);
        hth_unlock(&lock);
    }
    hth_cond_destroy(&never);
    hth_mutex_destroy(&lock);
}

// Kilobytes per hour of the straight line nearest to the samples from `first` on.
static double slope_of(const samples *s, size_t first) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = first; i < s->n; i++) {
        const double t = s->seconds[i] / 3600;
        n++;
        x += t;
        y += s->kilobytes[i];
        xx += t * t;
        xy += t * s->kilobytes[i];
    }
    return (n * xy - x * y) / (n * xx - x * x);
}

// Half a megabyte an hour is less than a byte per conversation. The first fifth is for what is made once.
static void check_memory(const samples *s, int64_t n_talk) {
    if (s->n < 20 || s->kilobytes[0] == 0) return;
    const double slope = slope_of(s, s->n / 5);
    const char *path = getenv("HEARTH_SOAK_CSV");
    FILE *f = path ? fopen(path, "w") : NULL;
    for (size_t i = 0; f && i < s->n; i++) fprintf(f, "%.1f,%.0f\n", s->seconds[i], s->kilobytes[i]);
    if (f) fclose(f);
    print_message("%lld conversations in %.0f s, %.0f kB of memory, %+.1f kB an hour\n", (long long)n_talk, s->seconds[s->n - 1],
                  s->kilobytes[s->n - 1], slope);
    assert_true(slope < 512);
}

static void a_thousand_conversations_are_what_they_are_alone(void **state) {
    (void)state;
    const char *soak = getenv("HEARTH_SOAK_SECONDS");
    if (getenv("HEARTH_TEST_QUICK")) n_conversation = 64;
    conversation *all = calloc((size_t)n_conversation, sizeof *all);
    samples *seen = malloc(sizeof *seen);
    assert_true(all && seen);
    run_alone(all);
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_engine *e = asked_open(TINY_LLAMA, &(hth_engine_params){.n_thread = 2, .n_ctx = 128, .n_sequence = N_PLACE, .n_chunk = 32,
                                                                .cache_bytes = 1 << 20});
    user users[N_THREAD];
    hth_err err;
    const uint64_t until_ns = hth_clock_ns() + (soak ? strtoull(soak, NULL, 10) : 0) * 1000000000;
    for (int i = 0; i < N_THREAD; i++) {
        users[i] = (user){.engine = e, .all = all, .first = i * N_AT_ONCE, .until_ns = until_ns};
        assert_int_equal(hth_thread_start(&users[i].thread, talk, &users[i], &err), HTH_OK);
    }
    watch(seen, until_ns);
    int n_bad = 0;
    int64_t n_talk = 0;
    for (int i = 0; i < N_THREAD; i++) {
        hth_thread_join(&users[i].thread);
        n_bad += users[i].n_bad;
        n_talk += users[i].n_talk;
    }
    hth_engine_stats s;
    hth_engine_get_stats(e, &s);
    assert_int_equal(n_bad, 0);
    assert_true(n_talk >= n_conversation && s.n_done == 2 * (uint64_t)n_talk);
    assert_true(s.n_cached_token > 0 && s.cache_bytes <= 1 << 20);
    assert_int_equal(s.reserved_bytes, 0);
    hth_engine_close(e);
    hth_mem_get_stats(&after);
    assert_int_equal(after.n_blocks, before.n_blocks);
    check_memory(seen, n_talk);
    free(seen);
    free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thousand_conversations_are_what_they_are_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
