// Draft trees: every row computes what it would at the end of its own line, and the branch that is kept
// leaves the sequence as if it alone had been run.
#include "rig.h"

enum { N_PREFIX = 45, N_TREE = 24, MAX_LINE = N_PREFIX + N_TREE };

typedef struct tree {
    hth_row rows[N_TREE];
    int parent[N_TREE]; // -1: a root
} tree;

// Random parents: mostly the row before, so that lines grow longer than a window.
static void grow(tree *t, int64_t first_pos, uint64_t seed) {
    for (int i = 0; i < N_TREE; i++) {
        const float u = (tiny_random(&seed) + 1) / 2;
        t->parent[i] = i == 0 || u > 0.92f ? -1
                     : u < 0.7f            ? i - 1
                                           : (int)((tiny_random(&seed) + 1) / 2 * (float)i);
        const int64_t pos = t->parent[i] < 0 ? first_pos : t->rows[t->parent[i]].pos[0] + 1;
        t->rows[i] = rig_row((int32_t)((tiny_random(&seed) + 1) / 2 * TINY_VOCAB), pos);
        t->rows[i].parent = t->parent[i] < 0 ? HTH_PARENT_NONE : t->parent[i];
        t->rows[i].kind = HTH_ROW_GENERATED;
    }
}

// The rows of the tree from a root to row i; returns their number.
static int line_to(const tree *t, int i, int line[N_TREE]) {
    int n = 0;
    for (int j = i; j >= 0; j = t->parent[j]) n++;
    for (int j = i, k = n; j >= 0; j = t->parent[j]) line[--k] = j;
    return n;
}

// Logits of the prefix followed by the line to row i, all in one go. [n, n_vocab], owned by the caller.
static float *run_line(const rig *r, const hth_row *prefix, const tree *t, int i, int *n) {
    hth_row rows[MAX_LINE];
    int line[N_TREE];
    memcpy(rows, prefix, N_PREFIX * sizeof *rows);
    *n = line_to(t, i, line);
    for (int k = 0; k < *n; k++) {
        rows[N_PREFIX + k] = t->rows[line[k]];
        rows[N_PREFIX + k].parent = HTH_PARENT_PREVIOUS;
    }
    *n += N_PREFIX;
    return rig_alone(r, rows, *n);
}

static void rows_of_a_tree_get_the_bits_of_their_own_line(void **unused) {
    (void)unused;
    hth_row *prefix = rig_tokens(N_PREFIX, 0, 51);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        for (uint64_t seed = 1; seed <= 3; seed++) {
            tree t;
            grow(&t, N_PREFIX, seed * 31);
            float *got = rig_floats(N_TREE * TINY_VOCAB), *before = rig_floats(N_PREFIX * TINY_VOCAB);
            hth_state *s = rig_state(&r, 512);
            rig_rows(&r, s, prefix, N_PREFIX, before);
            rig_rows(&r, s, t.rows, N_TREE, got);
            for (int i = 0; i < N_TREE; i++) {
                int n;
                float *want = run_line(&r, prefix, &t, i, &n);
                if (!rig_same(got + i * TINY_VOCAB, want + (n - 1) * TINY_VOCAB, TINY_VOCAB)) {
                    fail_msg("family %s: row %d of tree %d differs", r.m->desc.family, i, (int)seed);
                }
                free(want);
            }
            hth_state_free(s);
            free(got);
            free(before);
        }
        rig_close(&r);
    }
    free(prefix);
}

// Where keys are cut into blocks, the blocks are counted along a row's own line, not by where it is stored.
static void check_behind(int n_before, uint64_t seed) {
    hth_row *rows = rig_tokens(n_before + N_TREE, 0, 59);
    rig r = rig_open(TINY_LLAMA, 2);
    tree t;
    grow(&t, n_before, seed);
    float *got = rig_floats((int64_t)n_before * TINY_VOCAB);
    hth_state *s = rig_state(&r, 512);
    rig_rows(&r, s, rows, n_before, got);
    rig_rows(&r, s, t.rows, N_TREE, got);
    for (int i = 0; i < N_TREE; i++) {
        int line[N_TREE], n = line_to(&t, i, line);
        for (int k = 0; k < n; k++) {
            rows[n_before + k] = t.rows[line[k]];
            rows[n_before + k].parent = HTH_PARENT_PREVIOUS;
        }
        float *want = rig_alone(&r, rows, n_before + n);
        assert_true(
            rig_same(got + i * TINY_VOCAB, want + (int64_t)(n_before + n - 1) * TINY_VOCAB, TINY_VOCAB));
        free(want);
    }
    hth_state_free(s);
    free(got);
    free(rows);
    rig_close(&r);
}

static void a_tree_across_the_border_of_attention_blocks_gets_the_same_bits(void **unused) {
    (void)unused;
    for (uint64_t seed = 5; seed < 8; seed++) {
        check_behind(250, seed * 31); // the border lies in the tree
        check_behind(270, seed * 31); // and before it
    }
}

static void a_tree_in_an_empty_sequence_and_beside_others_gets_the_same_bits(void **unused) {
    enum { N_OTHER = 30 };
    (void)unused;
    hth_row *other = rig_tokens(N_OTHER, 0, 52), rows[N_TREE + N_OTHER];
    tree t;
    grow(&t, 0, 99);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 3);
        float *alone = rig_alone(&r, other, N_OTHER), *tree_alone = rig_alone(&r, t.rows, N_TREE);
        float *got = rig_floats((N_TREE + N_OTHER) * TINY_VOCAB);
        hth_state *states[] = {rig_state(&r, 512), rig_state(&r, 512)};
        int at[N_TREE], n = 0, io = 0; // where each row of the tree stands in the batch
        for (int i = 0; i < N_TREE; i++) {
            if (io < N_OTHER) {
                rows[n] = other[io++];
                rows[n++].i_seq = 1;
            }
            rows[n] = t.rows[i];
            if (t.parent[i] >= 0) rows[n].parent = at[t.parent[i]];
            at[i] = n++;
        }
        hth_step step = rig_step(&r, states, 2, rows, n, got);
        rig_must(&r, &step);
        for (int i = 0; i < N_TREE; i++) {
            assert_true(rig_same(got + at[i] * TINY_VOCAB, tree_alone + i * TINY_VOCAB, TINY_VOCAB));
        }
        for (int i = 0, k = 0; i < n; i++) {
            if (rows[i].i_seq == 1)
                assert_true(rig_same(got + i * TINY_VOCAB, alone + k++ * TINY_VOCAB, TINY_VOCAB));
        }
        for (int i = 0; i < 2; i++) hth_state_free(states[i]);
        free(alone);
        free(tree_alone);
        free(got);
        rig_close(&r);
    }
    free(other);
}

// After prefix and tree, keeps the line to row i and runs 40 more rows; they must equal a linear run.
static void check_kept(const rig *r, const hth_row *prefix, const tree *t, int i, const hth_row *more) {
    enum { N_MORE = 40 };
    hth_row all[MAX_LINE + N_MORE];
    int line[N_TREE], n = line_to(t, i, line);
    int64_t kept[N_TREE];
    float *got = rig_floats((N_PREFIX + N_TREE + N_MORE) * TINY_VOCAB);
    hth_err err;
    hth_state *s = rig_state(r, 512);
    rig_rows(r, s, prefix, N_PREFIX, got);
    rig_rows(r, s, t->rows, N_TREE, got);
    for (int k = 0; k < n; k++) kept[k] = N_PREFIX + line[k];
    assert_int_equal(hth_state_keep(s, N_PREFIX, kept, n, &err), HTH_OK);
    assert_int_equal(hth_state_len(s), N_PREFIX + n);
    memcpy(all, prefix, N_PREFIX * sizeof *all);
    for (int k = 0; k < n; k++) {
        all[N_PREFIX + k] = t->rows[line[k]];
        all[N_PREFIX + k].parent = HTH_PARENT_PREVIOUS;
    }
    for (int k = 0; k < N_MORE; k++) {
        all[N_PREFIX + n + k] = more[k];
        all[N_PREFIX + n + k].pos[0] = N_PREFIX + n + k;
    }
    float *want = rig_alone(r, all, N_PREFIX + n + N_MORE);
    for (int k = 0; k < N_MORE; k += 4) rig_rows(r, s, all + N_PREFIX + n + k, 4, got + k * TINY_VOCAB);
    if (!rig_same(got, want + (int64_t)(N_PREFIX + n) * TINY_VOCAB, N_MORE * TINY_VOCAB)) {
        fail_msg("family %s: what follows the kept line to row %d differs", r->m->desc.family, i);
    }
    hth_state_free(s);
    free(got);
    free(want);
}

static void the_kept_branch_continues_like_a_linear_run(void **unused) {
    (void)unused;
    hth_row *prefix = rig_tokens(N_PREFIX, 0, 53), *more = rig_tokens(40, 0, 54);
    tree t;
    grow(&t, N_PREFIX, 7);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        for (int i = 1; i < N_TREE; i += 5) check_kept(&r, prefix, &t, i, more);
        check_kept(&r, prefix, &t, N_TREE - 1, more);
        rig_close(&r);
    }
    free(prefix);
    free(more);
}

static void dropping_the_whole_tree_leaves_the_prefix(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N_PREFIX + 3, 0, 55);
    rig r = rig_open(TINY_GEMMA3, 2);
    tree t;
    grow(&t, N_PREFIX, 8);
    float *want = rig_alone(&r, rows, N_PREFIX + 3), *got = rig_floats((N_PREFIX + N_TREE) * TINY_VOCAB);
    hth_state *s = rig_state(&r, 512);
    hth_err err;
    rig_rows(&r, s, rows, N_PREFIX, got);
    rig_rows(&r, s, t.rows, N_TREE, got);
    assert_int_equal(hth_state_keep(s, N_PREFIX, NULL, 0, &err), HTH_OK);
    rig_rows(&r, s, rows + N_PREFIX, 3, got);
    assert_true(rig_same(got, want + N_PREFIX * TINY_VOCAB, 3 * TINY_VOCAB));
    hth_state_free(s);
    free(want);
    free(got);
    free(rows);
    rig_close(&r);
}

static void a_step_after_a_tree_is_refused_until_a_branch_is_kept(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(8, 0, 56);
    rig r = rig_open(TINY_LLAMA, 1);
    float *got = rig_floats(8 * TINY_VOCAB);
    hth_state *s = rig_state(&r, 64);
    hth_err err;
    rig_rows(&r, s, rows, 4, got);
    hth_row fork[] = {rows[4], rows[4]};
    fork[0].parent = fork[1].parent = HTH_PARENT_NONE;
    rig_rows(&r, s, fork, 2, got);
    hth_step step = rig_step(&r, &s, 1, rows + 5, 1, got);
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "draft tree"));
    assert_int_equal(hth_state_len(s), 6);
    const int64_t second = 5;
    assert_int_equal(hth_state_keep(s, 4, &second, 1, &err), HTH_OK);
    rig_rows(&r, s, rows + 5, 1, got);
    hth_state_free(s);
    free(got);
    free(rows);
    rig_close(&r);
}

static void rows_that_are_no_branch_are_refused_and_nothing_is_lost(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(12, 0, 57);
    rig r = rig_open(TINY_LLAMA, 1);
    float *want = rig_alone(&r, rows, 12), *got = rig_floats(12 * TINY_VOCAB);
    hth_state *s = rig_state(&r, 64);
    hth_err err;
    const int64_t beyond[] = {5, 10}, falling[] = {7, 6}, twice[] = {7, 7}, early[] = {3, 6};
    rig_rows(&r, s, rows, 10, got);
    assert_int_equal(hth_state_keep(s, 4, beyond, 2, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_keep(s, 4, falling, 2, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_keep(s, 4, twice, 2, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_keep(s, 4, early, 2, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_keep(s, -1, NULL, 0, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_keep(s, 11, NULL, 0, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_state_len(s), 10);
    rig_rows(&r, s, rows + 10, 2, got);
    assert_true(rig_same(got, want + 10 * TINY_VOCAB, 2 * TINY_VOCAB));
    hth_state_free(s);
    free(want);
    free(got);
    free(rows);
    rig_close(&r);
}

static void a_tree_and_a_two_way_span_do_not_mix(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(4, 0, 58);
    rig r = rig_open(TINY_LLAMA, 1);
    float *got = rig_floats(4 * TINY_VOCAB);
    hth_state *s = rig_state(&r, 64);
    hth_err err;
    rows[0].span = rows[1].span = 0;
    rows[3].parent = 1;
    hth_step step = rig_step(&r, &s, 1, rows, 4, got);
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "span"));
    assert_int_equal(hth_state_len(s), 0);
    hth_state_free(s);
    free(got);
    free(rows);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_tree_get_the_bits_of_their_own_line),
        cmocka_unit_test(a_tree_across_the_border_of_attention_blocks_gets_the_same_bits),
        cmocka_unit_test(a_tree_in_an_empty_sequence_and_beside_others_gets_the_same_bits),
        cmocka_unit_test(the_kept_branch_continues_like_a_linear_run),
        cmocka_unit_test(dropping_the_whole_tree_leaves_the_prefix),
        cmocka_unit_test(a_step_after_a_tree_is_refused_until_a_branch_is_kept),
        cmocka_unit_test(rows_that_are_no_branch_are_refused_and_nothing_is_lost),
        cmocka_unit_test(a_tree_and_a_two_way_span_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
