// Every allocation of opening a model and serving three requests at once fails once: each time what fails says so with
// a typed error, what does not fail is right, everything ends, and nothing leaks.
#include <unistd.h>

#include "os/sync.h"
#include "unit/engine/asked.h"
#include "unit/engine/byte_model.h"

enum { N_REQUEST = 3, N_OUT = 6 };

typedef struct outcome {
    hth_code code; // of opening or submitting
    hth_code ends[N_REQUEST];
    hth_token tokens[N_REQUEST][2][N_OUT];
    int n[N_REQUEST][2];
} outcome;

// Counts the requests that have ended. Nothing is read before all have: a reader at work beside the host's thread would
// meet some of the failures that are meant for that.
typedef struct ended {
    hth_mutex lock;
    hth_cond more;
    int n;
} ended;

static void count_end(void *user, const hth_event *event) {
    ended *all = user;
    if (event->kind != HTH_EVENT_END) return;
    hth_lock(&all->lock);
    all->n++;
    hth_cond_wake_all(&all->more);
    hth_unlock(&all->lock);
}

static void wait_for(ended *all, int n) {
    hth_lock(&all->lock);
    while (all->n < n) hth_cond_wait(&all->more, &all->lock);
    hth_unlock(&all->lock);
}

static hth_code submit(hth_engine *e, int i, ended *all, hth_request **out, hth_err *err) {
    static const char *const texts[N_REQUEST] = {"hello there, this is a prompt", "he", "what is it?"};
    static const hth_bytes stop = {"never to come", 13};
    const hth_sampler_params sampling = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 5};
    const hth_segment segment = {.text = texts[i], .n_text = strlen(texts[i])};
    const hth_request_params p = {.segments = &segment, .n_segment = 1, .sampling = &sampling, .max_tokens = N_OUT, .ignore_end = true,
                                  .n = 2, .stop = &stop, .n_stop = 1, .logprobs = true, .n_top = 2, .echo = i == 0,
                                  .on_event = count_end, .user = all};
    return hth_request_submit(e, &p, out, NULL, err);
}

// Memory may be refused to the reader too: then it reads again.
static void read_all(hth_request *r, outcome *o, int i) {
    hth_event e = {.kind = HTH_EVENT_QUEUED};
    hth_err err;
    while (e.kind != HTH_EVENT_END) {
        const hth_code code = hth_request_next(r, 20000, &e, &err);
        if (code != HTH_OK) {
            assert_int_equal(code, HTH_ERR_NOMEM);
            hth_mem_fail_at(0, false);
            continue;
        }
        if (e.kind == HTH_EVENT_ERROR) o->ends[i] = e.error.err->code;
        if (e.kind != HTH_EVENT_TOKEN) continue;
        assert_true(o->n[i][e.completion] < N_OUT);
        o->tokens[i][e.completion][o->n[i][e.completion]++] = e.token.id;
    }
}

static void run(const char *path, outcome *o) {
    hth_engine *e = NULL;
    hth_request *r[N_REQUEST] = {NULL};
    hth_err err;
    ended all = {.n = 0};
    int n_submitted = 0;
    *o = (outcome){0};
    assert_int_equal(hth_mutex_init(&all.lock, &err), HTH_OK);
    assert_int_equal(hth_cond_init(&all.more, &err), HTH_OK);
    o->code = hth_engine_open(path, &(hth_engine_params){.n_thread = 2, .n_ctx = 96, .n_chunk = 8, .need_tokenizer = true, .memory_bytes = 1 << 26}, &e, &err);
    for (int i = 0; o->code == HTH_OK && i < N_REQUEST; i++) {
        o->code = submit(e, i, &all, &r[i], &err);
        n_submitted += o->code == HTH_OK;
    }
    wait_for(&all, n_submitted);
    for (int i = 0; i < N_REQUEST; i++) {
        if (r[i]) read_all(r[i], o, i);
        hth_request_free(r[i]);
    }
    hth_engine_close(e);
    hth_cond_destroy(&all.more);
    hth_mutex_destroy(&all.lock);
}

static uint64_t live_blocks(void) {
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return stats.n_blocks;
}

static void every_failed_allocation_is_survived(const char *path, bool sticky) {
    outcome want, got;
    run(path, &want);
    assert_int_equal(want.code, HTH_OK);
    const uint64_t start = live_blocks();
    int n_failed_early = 0, n_failed_late = 0; // how many of each depends on which thread comes first
    for (uint64_t n = 1;; n++) {
        hth_mem_fail_at(n, sticky);
        run(path, &got);
        const bool was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        assert_int_equal(live_blocks(), start);
        n_failed_early += got.code != HTH_OK;
        if (got.code != HTH_OK && got.code != HTH_ERR_NOMEM) fail_msg("allocation %d: %s", (int)n, hth_code_name(got.code));
        for (int i = 0; got.code == HTH_OK && i < N_REQUEST; i++) {
            if (got.ends[i] != HTH_OK && got.ends[i] != HTH_ERR_NOMEM) fail_msg("allocation %d: %s", (int)n, hth_code_name(got.ends[i]));
            n_failed_late += got.ends[i] != HTH_OK;
            for (int k = 0; k < 2; k++) {
                if (got.ends[i] == HTH_OK) assert_int_equal(got.n[i][k], N_OUT);
                assert_memory_equal(got.tokens[i][k], want.tokens[i][k], (size_t)got.n[i][k] * sizeof(hth_token));
            }
        }
        if (!was_hit) break;
        if (got.code == HTH_OK && sticky && n > 400) n += 2; // the many of the steps: a part of them
    }
    assert_true(n_failed_early > 0);
    assert_true(n_failed_late > 0);
}

static void an_engine_survives_every_failed_allocation(void **state) {
    (void)state;
    char dir[128], path[160];
    tiny_make_dir(dir);
    snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    byte_model_write(path);
    every_failed_allocation_is_survived(path, false);
    every_failed_allocation_is_survived(path, true);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_engine_survives_every_failed_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
