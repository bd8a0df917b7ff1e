// Sequences that share pages: whoever writes first, whoever is freed first, nobody sees the other's rows.
#include "base/mem.h"
#include "os/thread.h"
#include "rig.h"

enum { N = 150 };

// Rows [0, n) in steps of up to 16, so that windows slide on the way.
static void run_in_steps(const rig *r, hth_state *s, const hth_row *rows, int first, int n, float *logits) {
    for (int i = first; i < n; i += 16) {
        const int step = n - i < 16 ? n - i : 16;
        rig_rows(r, s, rows + i, step, logits + (int64_t)i * TINY_VOCAB);
    }
}

static hth_row *branch_of(const hth_row *rows, int at, int by) {
    hth_row *b = calloc(N, sizeof *b);
    memcpy(b, rows, N * sizeof *b);
    for (int i = at; i < N; i++) b[i].token = (rows[i].token + by) % TINY_VOCAB;
    return b;
}

static void must_be(const rig *r, const float *got, const hth_row *rows, int first, const char *who) {
    float *want = rig_alone(r, rows, N);
    const int64_t from = (int64_t)first * TINY_VOCAB;
    if (!rig_same(got + from, want + from, (int64_t)(N - first) * TINY_VOCAB)) {
        fail_msg("family %s, fork at %d: %s differs from a fresh run", r->m->desc.family, first, who);
    }
    free(want);
}

static hth_state *must_fork(const hth_state *s, int64_t n) {
    hth_state *f;
    hth_err err = {0};
    if (hth_state_fork(s, n, &f, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_state_len(f), n);
    return f;
}

// The origin, a fork and the fork's fork go on with different tokens, taking turns.
static void diverge(const rig *r, int at, int first_freed) {
    hth_row *rows = rig_tokens(N, 0, 81), *b = branch_of(rows, at, 1), *c = branch_of(rows, at, 2);
    const hth_row *lines[3] = {rows, b, c};
    float *got[3];
    hth_state *s[3] = {rig_state(r, 512)};
    for (int k = 0; k < 3; k++) got[k] = rig_floats(N * TINY_VOCAB);
    run_in_steps(r, s[0], rows, 0, at, got[0]);
    s[1] = must_fork(s[0], at);
    s[2] = must_fork(s[1], at);
    for (int i = at; i < 100; i++) {
        for (int k = 0; k < 3; k++) rig_rows(r, s[k], lines[k] + i, 1, got[k] + (int64_t)i * TINY_VOCAB);
    }
    for (int k = first_freed, n = 0; n < 3; k = (k + 1) % 3, n++) {
        run_in_steps(r, s[k], lines[k], 100, N, got[k]);
        hth_state_free(s[k]);
        must_be(r, got[k], lines[k], at, k == 0 ? "the origin" : k == 1 ? "the fork" : "the fork's fork");
    }
    for (int k = 0; k < 3; k++) free(got[k]);
    free(rows);
    free(b);
    free(c);
}

static void forks_go_their_own_ways_like_fresh_sequences(void **unused) {
    static const int ats[] = {1, 31, 32, 33, 96};
    (void)unused;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        for (size_t i = 0; i < HTH_COUNT(ats); i++) diverge(&r, ats[i], (int)i % 3);
        assert_int_equal(hth_executor_state_bytes(r.ex), 0);
        rig_close(&r);
    }
}

static void a_fork_of_earlier_rows_leaves_the_origin_as_it_was(void **unused) {
    static const int ats[] = {0, 1, 32, 77, 128};
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 2);
    hth_row *rows = rig_tokens(N, 0, 82);
    float *got = rig_floats(N * TINY_VOCAB), *other = rig_floats(N * TINY_VOCAB);
    for (size_t i = 0; i < HTH_COUNT(ats); i++) {
        const int at = ats[i];
        hth_row *b = branch_of(rows, at, 3);
        hth_state *s = rig_state(&r, 512);
        run_in_steps(&r, s, rows, 0, 130, got);
        hth_state *f = must_fork(s, at);
        run_in_steps(&r, f, b, at, N, other);
        run_in_steps(&r, s, rows, 130, N, got);
        must_be(&r, got, rows, 0, "the origin");
        must_be(&r, other, b, at, "the fork");
        hth_state_free(s);
        hth_state_free(f);
        free(b);
    }
    free(rows);
    free(got);
    free(other);
    rig_close(&r);
}

static void the_origin_goes_back_and_writes_over_rows_that_a_fork_keeps(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 2);
    hth_row *rows = rig_tokens(N, 0, 83), *b = branch_of(rows, 40, 1);
    float *got = rig_floats(N * TINY_VOCAB), *other = rig_floats(N * TINY_VOCAB);
    hth_err err;
    hth_state *s = rig_state(&r, 512);
    run_in_steps(&r, s, rows, 0, 120, got);
    hth_state *f = must_fork(s, 120);
    assert_int_equal(hth_state_truncate(s, 40, &err), HTH_OK);
    run_in_steps(&r, s, b, 40, N, other);
    run_in_steps(&r, f, rows, 120, N, got);
    must_be(&r, other, b, 40, "the origin");
    must_be(&r, got, rows, 0, "the fork");
    hth_state_free(s);
    hth_state_free(f);
    free(rows);
    free(b);
    free(got);
    free(other);
    rig_close(&r);
}

// A draft tree of three rows after 40: two roots, of which the second is kept.
static void keeping_a_branch_moves_rows_in_own_pages_only(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 2);
    hth_row *rows = rig_tokens(N, 0, 84);
    float *got = rig_floats(N * TINY_VOCAB), *other = rig_floats(N * TINY_VOCAB);
    hth_err err;
    hth_state *s = rig_state(&r, 512), *f;
    run_in_steps(&r, s, rows, 0, 40, got);
    hth_row tree[3] = {rows[41], rows[40], rows[41]};
    tree[0].pos[0] = 40;
    tree[1].parent = HTH_PARENT_NONE;
    tree[2].parent = 1;
    rig_rows(&r, s, tree, 3, other);
    assert_int_equal(hth_state_fork(s, 43, &f, &err), HTH_ERR_RANGE); // inside the tree
    assert_int_equal(hth_state_reach(s, 43), 40);
    f = must_fork(s, 40);
    const int64_t kept[2] = {41, 42};
    assert_int_equal(hth_state_keep(s, 40, kept, 2, &err), HTH_OK);
    hth_state *g = must_fork(s, 42);
    run_in_steps(&r, f, rows, 40, N, got);
    must_be(&r, got, rows, 0, "the fork before the tree");
    run_in_steps(&r, s, rows, 42, N, other);
    must_be(&r, other, rows, 42, "the origin");
    run_in_steps(&r, g, rows, 42, N, other);
    must_be(&r, other, rows, 42, "the fork of the branch");
    hth_state_free(s);
    hth_state_free(f);
    hth_state_free(g);
    free(rows);
    free(got);
    free(other);
    rig_close(&r);
}

static void a_fork_where_the_window_has_left_is_refused(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_GEMMA3, 2);
    hth_row *rows = rig_tokens(N, 0, 85);
    float *got = rig_floats(N * TINY_VOCAB), *other = rig_floats(N * TINY_VOCAB);
    hth_err err = {0};
    hth_state *s = rig_state(&r, 512), *f;
    run_in_steps(&r, s, rows, 0, 20, got);
    hth_state *snapshot = must_fork(s, 20);
    run_in_steps(&r, s, rows, 20, N, got);
    assert_int_equal(hth_state_fork(s, 20, &f, &err), HTH_ERR_UNSUPPORTED);
    assert_null(f);
    assert_non_null(strstr(err.msg, "window of layer 0"));
    assert_int_equal(hth_state_fork(s, N + 1, &f, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_fork(s, -1, &f, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_reach(s, 20), 0);
    assert_int_equal(hth_state_reach(s, N + 5), N);
    assert_int_equal(hth_state_reach(s, N - TINY_WINDOW), N - TINY_WINDOW);
    f = must_fork(s, N - TINY_WINDOW);
    run_in_steps(&r, f, rows, N - TINY_WINDOW, N, other);
    must_be(&r, other, rows, N - TINY_WINDOW, "the fork");
    run_in_steps(&r, snapshot, rows, 20, N, other); // a snapshot keeps what the window has left
    must_be(&r, other, rows, 20, "the snapshot");
    hth_state_free(s);
    hth_state_free(f);
    hth_state_free(snapshot);
    free(rows);
    free(got);
    free(other);
    rig_close(&r);
}

static void shared_pages_are_counted_once(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_row *rows = rig_tokens(N, 0, 86);
    float *got = rig_floats(N * TINY_VOCAB);
    const uint64_t page = 3u * 32 * 2 * (16 + 16) * 4; // of all layers: rows, key heads, K and V of 16 floats
    hth_state *s = rig_state(&r, 512);
    run_in_steps(&r, s, rows, 0, 70, got);
    assert_int_equal(hth_state_bytes(s), 3 * page);
    assert_int_equal(hth_state_own_bytes(s), 3 * page);
    hth_state *f = must_fork(s, 64);
    assert_int_equal(hth_state_bytes(f), 2 * page);
    assert_int_equal(hth_state_own_bytes(f), 0);
    assert_int_equal(hth_state_own_bytes(s), page);
    assert_int_equal(hth_executor_state_bytes(r.ex), 3 * page);
    run_in_steps(&r, f, rows, 64, 65, got); // a page begins: nothing is copied
    assert_int_equal(hth_executor_state_bytes(r.ex), 4 * page);
    hth_state *g = must_fork(s, 50);
    run_in_steps(&r, g, rows, 50, 51, got); // amid a page: that one is copied
    assert_int_equal(hth_executor_state_bytes(r.ex), 5 * page);
    assert_int_equal(hth_state_own_bytes(g), page);
    hth_state_free(s);
    assert_int_equal(hth_executor_state_bytes(r.ex), 4 * page);
    hth_state_free(g);
    hth_state_free(f);
    assert_int_equal(hth_executor_state_bytes(r.ex), 0);
    free(rows);
    free(got);
    rig_close(&r);
}

static void another_limit_is_taken_unless_it_turns_keys_differently(void **unused) {
    (void)unused;
    rig llama = rig_open(TINY_LLAMA, 1), phi = rig_open(TINY_PHI3, 1); // longrope from 128 tokens on
    hth_row *rows = rig_tokens(N, 0, 87);
    float *got = rig_floats(N * TINY_VOCAB);
    hth_err err;
    hth_state *s = rig_state(&llama, 64), *p = rig_state(&phi, 64);
    run_in_steps(&llama, s, rows, 0, 60, got);
    assert_int_equal(hth_state_set_n_ctx(s, 59, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_set_n_ctx(s, 512, &err), HTH_OK);
    run_in_steps(&llama, s, rows, 60, N, got);
    must_be(&llama, got, rows, 0, "a longer context");
    assert_int_equal(hth_state_set_n_ctx(p, 0, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_set_n_ctx(p, 512, &err), HTH_OK); // nothing is stored yet
    run_in_steps(&phi, p, rows, 0, N, got);
    must_be(&phi, got, rows, 0, "a longer context");
    assert_int_equal(hth_state_truncate(p, 10, &err), HTH_OK);
    assert_int_equal(hth_state_set_n_ctx(p, 128, &err), HTH_ERR_UNSUPPORTED);
    assert_int_equal(hth_state_n_ctx(p), 512);
    assert_int_equal(hth_state_set_n_ctx(p, 129, &err), HTH_OK);
    hth_state_free(s);
    hth_state_free(p);
    free(rows);
    free(got);
    rig_close(&llama);
    rig_close(&phi);
}

// Forks, writes to both, keeps a branch. Returns the first error.
static hth_code fork_and_write(const rig *r, hth_state *s, const hth_row *rows, float *logits) {
    hth_err err;
    hth_state *f = NULL;
    hth_code code = hth_state_fork(s, 40, &f, &err);
    if (code == HTH_OK) {
        hth_state *both[2] = {s, f};
        hth_row next[2] = {rows[40], rows[40]};
        next[1].i_seq = 1;
        hth_step step = rig_step(r, both, 2, next, 2, logits);
        code = rig_submit(r, &step, &err);
    }
    const int64_t kept[2] = {39, 40};
    if (code == HTH_OK) code = hth_state_keep(f, 39, kept, 2, &err);
    hth_state_free(f);
    return code;
}

static void every_allocation_of_forks_may_fail_and_the_origin_goes_on(void **unused) {
    (void)unused;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 1);
        hth_row *rows = rig_tokens(N, 0, 88);
        float *got = rig_floats(N * TINY_VOCAB), two[2 * TINY_VOCAB];
        bool was_hit = true;
        for (uint64_t n = 1; was_hit; n++) {
            hth_err err;
            hth_state *s = rig_state(&r, 512);
            run_in_steps(&r, s, rows, 0, 40, got);
            hth_mem_fail_at(n, n % 2 == 0);
            const hth_code code = fork_and_write(&r, s, rows, two);
            was_hit = hth_mem_fail_hit();
            hth_mem_fail_at(0, false);
            if (code != (was_hit ? HTH_ERR_NOMEM : HTH_OK)) fail_msg("kind %d, allocation %d: code %d", kind, (int)n, (int)code);
            assert_int_equal(hth_state_truncate(s, 40, &err), HTH_OK);
            run_in_steps(&r, s, rows, 40, N, got);
            if (n % 5 == 1 || !was_hit) must_be(&r, got, rows, 0, "the origin");
            hth_state_free(s);
            assert_int_equal(hth_executor_state_bytes(r.ex), 0);
            assert_true(n < 1000);
        }
        free(rows);
        free(got);
        rig_close(&r);
    }
}

// Thread 0 goes on with a sequence; the others fork its frozen fork, read it and free what they hold.
typedef struct crowd {
    hth_state *forks[4];
    const rig *r;
    hth_state *s;
    const hth_row *rows;
    float *logits;
    atomic_int n_refused; // cmocka's asserts are for the main thread
} crowd;

static void use_forks(void *user, int i, int n) {
    crowd *c = user;
    (void)n;
    for (int k = 0; i > 0 && k < 200; k++) {
        hth_err err;
        hth_state *f;
        if (hth_state_fork(c->forks[i], 1 + (k * 7) % 69, &f, &err) != HTH_OK) c->n_refused++;
        else (void)hth_state_own_bytes(f);
        hth_state_free(f);
    }
    if (i > 0) hth_state_free(c->forks[i]);
    else run_in_steps(c->r, c->s, c->rows, 70, N, c->logits);
}

static void forks_may_be_forked_and_freed_in_other_threads(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_team *team;
    hth_err err;
    hth_row *rows = rig_tokens(N, 0, 89);
    crowd c = {.r = &r, .s = rig_state(&r, 512), .rows = rows, .logits = rig_floats(N * TINY_VOCAB)};
    assert_int_equal(hth_team_new(4, &team, &err), HTH_OK);
    run_in_steps(&r, c.s, rows, 0, 70, c.logits);
    for (int i = 1; i < 4; i++) c.forks[i] = must_fork(c.s, 70);
    hth_team_run(team, use_forks, &c);
    assert_int_equal(c.n_refused, 0);
    must_be(&r, c.logits, rows, 0, "the origin");
    assert_int_equal(hth_state_own_bytes(c.s), hth_state_bytes(c.s));
    hth_state_free(c.s);
    assert_int_equal(hth_executor_state_bytes(r.ex), 0);
    hth_team_free(team);
    free(rows);
    free(c.logits);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forks_go_their_own_ways_like_fresh_sequences),
        cmocka_unit_test(a_fork_of_earlier_rows_leaves_the_origin_as_it_was),
        cmocka_unit_test(the_origin_goes_back_and_writes_over_rows_that_a_fork_keeps),
        cmocka_unit_test(keeping_a_branch_moves_rows_in_own_pages_only),
        cmocka_unit_test(a_fork_where_the_window_has_left_is_refused),
        cmocka_unit_test(shared_pages_are_counted_once),
        cmocka_unit_test(another_limit_is_taken_unless_it_turns_keys_differently),
        cmocka_unit_test(every_allocation_of_forks_may_fail_and_the_origin_goes_on),
        cmocka_unit_test(forks_may_be_forked_and_freed_in_other_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
