// States written to bytes and read back: whole, piece by piece, damaged in every way.
#include "model/state_io.h"

#include "base/mem.h"
#include "rig.h"

enum { N = 150 };

typedef struct bytes {
    uint8_t *p;
    size_t n, cap, at, limit; // limit: the sink is full there; 0: never
} bytes;

static hth_code take(void *user, const void *p, size_t n, hth_err *err) {
    bytes *b = user;
    if (b->limit > 0 && b->n + n > b->limit) return hth_fail(err, HTH_ERR_IO, "full");
    if (b->n + n > b->cap) b->p = realloc(b->p, b->cap = 2 * (b->n + n));
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return HTH_OK;
}

static hth_code give(void *user, void *p, size_t n, hth_err *err) {
    bytes *b = user;
    if (n > b->n - b->at) return hth_fail(err, HTH_ERR_FORMAT, "it ends");
    memcpy(p, b->p + b->at, n);
    b->at += n;
    return HTH_OK;
}

static hth_code write_to(const hth_state *s, int64_t first, bytes *b) {
    const hth_state_sink sink = {take, b};
    hth_err err;
    return hth_state_write(s, first, &sink, &err);
}

static hth_code read_from(hth_state *s, bytes *b, hth_err *err) {
    const hth_state_source source = {give, b};
    b->at = 0;
    return hth_state_read(s, &source, err);
}

static void run_in_steps(const rig *r, hth_state *s, const hth_row *rows, int first, int n, float *logits) {
    for (int i = first; i < n; i += 16) {
        const int step = n - i < 16 ? n - i : 16;
        rig_rows(r, s, rows + i, step, logits + (int64_t)i * TINY_VOCAB);
    }
}

static void must_go_on(const rig *r, hth_state *s, const hth_row *rows, int at, const float *want) {
    float *got = rig_floats(N * TINY_VOCAB);
    assert_int_equal(hth_state_len(s), at);
    run_in_steps(r, s, rows, at, N, got);
    if (!rig_same(got + (int64_t)at * TINY_VOCAB, want + (int64_t)at * TINY_VOCAB, (int64_t)(N - at) * TINY_VOCAB)) {
        fail_msg("family %s, written at %d: it goes on differently", r->m->desc.family, at);
    }
    free(got);
}

// Without the room that recurrent layers keep for the next rows.
static uint64_t bytes_of_fork(const hth_state *s) {
    hth_state *f;
    hth_err err;
    assert_int_equal(hth_state_fork(s, hth_state_len(s), &f, &err), HTH_OK);
    const uint64_t n = hth_state_bytes(f);
    hth_state_free(f);
    return n;
}

static void a_state_that_was_read_goes_on_like_the_written_one(void **unused) {
    static const int ats[] = {0, 1, 32, 77, 140};
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 91);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
        for (size_t i = 0; i < HTH_COUNT(ats); i++) {
            bytes b = {0};
            hth_err err = {0};
            hth_state *s = rig_state(&r, 512), *t = rig_state(&r, 512);
            run_in_steps(&r, s, rows, 0, ats[i], got);
            assert_int_equal(write_to(s, 0, &b), HTH_OK);
            if (read_from(t, &b, &err) != HTH_OK) fail_msg("%s", err.msg);
            assert_int_equal(b.at, b.n);
            assert_int_equal(hth_state_bytes(t), bytes_of_fork(s));
            must_go_on(&r, t, rows, ats[i], want);
            must_go_on(&r, s, rows, ats[i], want);
            hth_state_free(s);
            hth_state_free(t);
            free(b.p);
        }
        free(want);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

static void every_type_of_keys_and_values_comes_back(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 92);
    rig r = rig_open(TINY_LLAMA, 2);
    for (hth_kv_type type = HTH_KV_F32; type <= HTH_KV_BF16; type++) {
        bytes b = {0};
        hth_err err = {0};
        float *want = rig_floats(N * TINY_VOCAB);
        hth_state *s = rig_state_of(&r, 512, type), *t = rig_state_of(&r, 512, type);
        run_in_steps(&r, s, rows, 0, 70, want);
        assert_int_equal(write_to(s, 0, &b), HTH_OK);
        run_in_steps(&r, s, rows, 70, N, want);
        if (read_from(t, &b, &err) != HTH_OK) fail_msg("%s", err.msg);
        must_go_on(&r, t, rows, 70, want);
        hth_state_free(s);
        hth_state_free(t);
        hth_state *other = rig_state_of(&r, 512, type == HTH_KV_F32 ? HTH_KV_F16 : HTH_KV_F32);
        assert_int_equal(read_from(other, &b, &err), HTH_ERR_UNSUPPORTED);
        hth_state_free(other);
        free(b.p);
        free(want);
    }
    free(rows);
    rig_close(&r);
}

// Three records: [0, 50), [32, 100), [96, 140). Windows slide in between.
static void records_continue_each_other(void **unused) {
    static const int ends[] = {50, 100, 140}, firsts[] = {0, 32, 96};
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 93);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
        bytes b[3] = {0};
        hth_err err = {0};
        hth_state *s = rig_state(&r, 512), *t = rig_state(&r, 512);
        for (int i = 0; i < 3; i++) {
            run_in_steps(&r, s, rows, i == 0 ? 0 : ends[i - 1], ends[i], got);
            assert_int_equal(write_to(s, firsts[i], &b[i]), HTH_OK);
        }
        assert_int_equal(read_from(t, &b[2], &err), HTH_ERR_FORMAT); // what stands before it is missing
        assert_int_equal(hth_state_bytes(t), 0);
        for (int i = 0; i < 3; i++) {
            if (read_from(t, &b[i], &err) != HTH_OK) fail_msg("%s", err.msg);
            assert_int_equal(hth_state_len(t), ends[i]);
        }
        assert_int_equal(hth_state_bytes(t), bytes_of_fork(s));
        must_go_on(&r, t, rows, 140, want);
        hth_state_free(s);
        hth_state_free(t);
        for (int i = 0; i < 3; i++) free(b[i].p);
        free(want);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

// What was read onto shared pages leaves the other holder's alone.
static void reading_over_rows_leaves_a_fork_alone(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 94), *others = rig_tokens(N, 0, 95);
    rig r = rig_open(TINY_LLAMA, 2);
    float *want = rig_alone(&r, rows, N), *wants = rig_alone(&r, others, N), *got = rig_floats(N * TINY_VOCAB);
    bytes b = {0};
    hth_err err;
    hth_state *s = rig_state(&r, 512), *t = rig_state(&r, 512), *f;
    run_in_steps(&r, s, rows, 0, 100, got);
    assert_int_equal(write_to(s, 0, &b), HTH_OK);
    run_in_steps(&r, t, others, 0, 90, got);
    assert_int_equal(hth_state_fork(t, 90, &f, &err), HTH_OK);
    assert_int_equal(read_from(t, &b, &err), HTH_OK);
    must_go_on(&r, t, rows, 100, want);
    must_go_on(&r, f, others, 90, wants);
    hth_state_free(s);
    hth_state_free(t);
    hth_state_free(f);
    free(b.p);
    free(rows);
    free(others);
    free(want);
    free(wants);
    free(got);
    rig_close(&r);
}

static void damaged_records_are_refused_and_leave_an_empty_sequence(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 96);
    rig r = rig_open(TINY_GEMMA3, 2);
    float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
    bytes b = {0};
    hth_err err;
    hth_state *s = rig_state(&r, 512);
    run_in_steps(&r, s, rows, 0, 70, got);
    assert_int_equal(write_to(s, 0, &b), HTH_OK);
    hth_state_free(s);
    s = rig_state(&r, 512);
    for (size_t i = 0; i < b.n; i += i < 800 ? 1 : 97) {
        const uint8_t was = b.p[i];
        b.p[i] ^= (uint8_t)(1 + i % 255);
        const hth_code code = read_from(s, &b, &err);
        if (code != HTH_ERR_FORMAT && code != HTH_ERR_UNSUPPORTED && code != HTH_ERR_LIMIT) fail_msg("byte %zu: %d", i, code);
        assert_int_equal(hth_state_len(s), 0);
        assert_int_equal(hth_state_bytes(s), 0);
        b.p[i] = was;
    }
    const size_t whole = b.n;
    for (b.n = 0; b.n < whole; b.n += b.n < 800 ? 1 : 97) assert_int_equal(read_from(s, &b, &err), HTH_ERR_FORMAT);
    b.n = whole;
    hth_state *small = rig_state(&r, 69);
    assert_int_equal(read_from(small, &b, &err), HTH_ERR_LIMIT);
    assert_int_equal(read_from(s, &b, &err), HTH_OK);
    must_go_on(&r, s, rows, 70, want);
    hth_state_free(s);
    hth_state_free(small);
    free(b.p);
    free(rows);
    free(want);
    free(got);
    rig_close(&r);
}

static void what_cannot_be_written_says_so(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 97);
    rig r = rig_open(TINY_LLAMA, 1);
    float *got = rig_floats(N * TINY_VOCAB);
    bytes b = {0};
    hth_err err;
    hth_state *s = rig_state(&r, 512);
    run_in_steps(&r, s, rows, 0, 70, got);
    assert_int_equal(write_to(s, 33, &b), HTH_ERR_RANGE);
    assert_int_equal(write_to(s, 96, &b), HTH_ERR_RANGE);
    b.limit = 5000;
    assert_int_equal(write_to(s, 0, &b), HTH_ERR_IO);
    assert_int_equal(hth_state_truncate(s, 64, &err), HTH_OK);
    hth_row tree[2] = {rows[64], rows[64]};
    tree[1].parent = HTH_PARENT_NONE;
    rig_rows(&r, s, tree, 2, got);
    assert_int_equal(write_to(s, 0, &b), HTH_ERR_RANGE);
    hth_state_free(s);
    free(b.p);
    free(rows);
    free(got);
    rig_close(&r);
}

static void every_allocation_of_reading_may_fail(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 98);
    rig r = rig_open(TINY_GEMMA3, 1);
    float *got = rig_floats(N * TINY_VOCAB);
    bytes b = {0};
    hth_err err;
    hth_state *s = rig_state(&r, 512);
    run_in_steps(&r, s, rows, 0, 140, got);
    assert_int_equal(write_to(s, 0, &b), HTH_OK);
    hth_state_free(s);
    bool was_hit = true;
    for (uint64_t n = 1; was_hit; n++) {
        s = rig_state(&r, 512);
        hth_mem_fail_at(n, false);
        const hth_code code = read_from(s, &b, &err);
        was_hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        assert_int_equal(code, was_hit ? HTH_ERR_NOMEM : HTH_OK);
        assert_int_equal(hth_state_len(s), was_hit ? 0 : 140);
        hth_state_free(s);
        assert_int_equal(hth_executor_state_bytes(r.ex), 0);
    }
    free(b.p);
    free(rows);
    free(got);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_that_was_read_goes_on_like_the_written_one),
        cmocka_unit_test(every_type_of_keys_and_values_comes_back),
        cmocka_unit_test(records_continue_each_other),
        cmocka_unit_test(reading_over_rows_leaves_a_fork_alone),
        cmocka_unit_test(damaged_records_are_refused_and_leave_an_empty_sequence),
        cmocka_unit_test(what_cannot_be_written_says_so),
        cmocka_unit_test(every_allocation_of_reading_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
