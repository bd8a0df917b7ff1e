// Weights that are spread over memory nodes: every byte of a tensor has one place, rows lie where they are computed, and
// the results are those of the mapped model.
#include "model/residency.h"
#include "model/spread.h"
#include "os/node.h"
#include "rig.h"
#include "tiny_moe.h"

enum { N_NODE = 3, N_ROW = 20 };

typedef struct seen {
    const hth_model *m;
    uint64_t n_bytes, last;
    int n_all, n_border;
} seen;

static void look(void *user, uint64_t first, uint64_t last, int node) {
    seen *s = user;
    assert_true(first < last && node >= HTH_NODE_ALL && node < N_NODE);
    s->n_bytes += last - first;
    s->n_all += node == HTH_NODE_ALL;
    for (int64_t k = 0; k < hth_container_n_tensor(s->m->container); k++) {
        const hth_tensor *t = hth_container_tensor_at(s->m->container, k);
        if (first <= t->off || first >= t->off + t->n_bytes) continue;
        const uint64_t row_bytes = t->n_bytes / (uint64_t)t->dim[0]; // a border inside a tensor
        assert_int_equal((first - t->off) % (16 * row_bytes), 0);
        assert_int_equal(first, s->last);
        s->n_border++;
    }
    s->last = last;
}

static void every_byte_of_a_tensor_has_one_place(void **state) {
    (void)state;
    rig r = rig_open(TINY_LLAMA, 1);
    seen s = {.m = r.m};
    uint64_t want = 0, first = UINT64_MAX, middle = 0;
    for (int64_t k = 0; k < hth_container_n_tensor(r.m->container); k++) {
        const hth_tensor *t = hth_container_tensor_at(r.m->container, k);
        want += t->n_bytes;
        first = t->off < first ? t->off : first;
        middle = t->off + t->n_bytes / 2;
    }
    hth_spread(r.m, 0, 0, UINT64_MAX, N_NODE, look, &s);
    assert_int_equal(s.n_bytes, want);
    assert_true(s.n_border > 10 && s.n_all > 0);
    // A part of the file, as it is read.
    seen before = {.m = r.m}, after = {.m = r.m};
    hth_spread(r.m, 0, 0, first + 40, N_NODE, look, &before);
    assert_int_equal(before.n_bytes, 40);
    hth_spread(r.m, 1, 0, middle, N_NODE, look, &after); // there is no such file
    assert_int_equal(after.n_bytes, 0);
    rig_close(&r);
}

static char folder[128];

static void write_model(const tiny *t) {
    tiny_make_dir(folder);
    tiny_write_config(t, folder);
    tiny_write_weights(t, folder);
}

static rig open_written(int n_thread) {
    rig r;
    hth_err err = {0};
    if (hth_model_open(folder, &r.m, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_team_new(n_thread, &r.team, &err), HTH_OK);
    assert_int_equal(hth_executor_cpu_new(r.team, &r.ex, &err), HTH_OK);
    return r;
}

static float *logits_of(const rig *r) {
    float *logits = rig_floats((int64_t)N_ROW * TINY_VOCAB);
    hth_row *rows = rig_tokens(N_ROW, 0, 41);
    hth_state *s = rig_state(r, 128);
    for (int32_t i = N_ROW / 2; i < N_ROW; i++) rows[i].kind = HTH_ROW_GENERATED;
    rig_rows(r, s, rows, N_ROW / 2, logits);
    for (int32_t i = N_ROW / 2; i < N_ROW; i++) rig_rows(r, s, rows + i, 1, logits + (int64_t)i * TINY_VOCAB);
    hth_state_free(s);
    free(rows);
    return logits;
}

static bool count_calls(void *user, int64_t done, int64_t total) {
    assert_true(done > 0 && done <= total);
    ++*(int *)user;
    return true;
}

// Of weights that are read into memory: spread over the nodes, or as they come.
static void check_reading(bool is_spread) {
    tiny *t = malloc(sizeof *t);
    for (int is_moe = 0; is_moe < 2; is_moe++) {
        if (is_moe) tiny_moe(t);
        else tiny_make(TINY_GEMMA3, t);
        write_model(t);
        rig mapped = open_written(2), spread = open_written(4);
        hth_residency plan;
        hth_err err = {0};
        int n_call = 0;
        const hth_residency_wish wish = {.n_ctx = 64, .n_chunk = 8, .n_node = is_spread ? N_NODE : 1, .no_map = !is_spread};
        assert_int_equal(hth_residency_plan(spread.m, &wish, &plan, &err), HTH_OK);
        assert_true(!plan.is_streamed && plan.is_read && plan.n_node == wish.n_node);
        if (hth_residency_apply(spread.m, &plan, count_calls, &n_call, &err) != HTH_OK) fail_msg("%s", err.msg);
        assert_true(n_call > 0);
        assert_true(mapped.m->own_bytes == 0 && spread.m->own_bytes >= spread.m->weight_bytes);
        if (is_spread) hth_spread_team(spread.team, N_NODE);
        float *want = logits_of(&mapped), *got = logits_of(&spread);
        assert_true(rig_same(got, want, N_ROW * TINY_VOCAB));
        free(want);
        free(got);
        rig_close(&spread);
        rig_close(&mapped);
        tiny_remove_dir(folder);
    }
    free(t);
}

static void a_spread_model_computes_what_the_mapped_one_does(void **state) {
    (void)state;
    assert_int_equal(hth_node_count(), N_NODE);
    check_reading(true);
}

static void a_model_that_was_read_computes_what_the_mapped_one_does(void **state) {
    (void)state;
    check_reading(false);
}

static void what_does_not_fit_is_mapped_but_not_read(void **state) {
    (void)state;
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_LLAMA, t);
    write_model(t);
    free(t);
    rig r = open_written(1);
    hth_residency plan;
    hth_err err = {0};
    hth_residency_wish wish = {.n_ctx = (int64_t)1 << 40, .n_chunk = 8}; // whose keys no machine holds
    assert_int_equal(hth_residency_plan(r.m, &wish, &plan, &err), HTH_OK);
    assert_true(!plan.is_read);
    wish.no_map = true;
    assert_int_equal(hth_residency_plan(r.m, &wish, &plan, &err), HTH_ERR_LIMIT);
    rig_close(&r);
    tiny_remove_dir(folder);
}

static bool stop(void *user, int64_t done, int64_t total) {
    (void)user, (void)done, (void)total;
    return false;
}

static void reading_can_be_stopped_and_a_failed_read_is_told(void **state) {
    (void)state;
    tiny *t = malloc(sizeof *t);
    tiny_make(TINY_LLAMA, t);
    write_model(t);
    free(t);
    for (int is_failure = 0; is_failure < 2; is_failure++) {
        rig r = open_written(1);
        hth_residency plan = {.is_read = true, .n_node = N_NODE};
        hth_err err = {0};
        if (is_failure) hth_direct_fail_at(1);
        const hth_code code = hth_residency_apply(r.m, &plan, is_failure ? NULL : stop, NULL, &err);
        hth_direct_fail_at(0);
        assert_int_equal(code, is_failure ? HTH_ERR_IO : HTH_ERR_CANCELLED);
        if (is_failure) assert_non_null(strstr(err.msg, ".safetensors"));
        rig_close(&r);
    }
    tiny_remove_dir(folder);
}

int main(void) {
    setenv("HEARTH_NODES", "3", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_byte_of_a_tensor_has_one_place),
                                       cmocka_unit_test(a_spread_model_computes_what_the_mapped_one_does),
                                       cmocka_unit_test(a_model_that_was_read_computes_what_the_mapped_one_does),
                                       cmocka_unit_test(what_does_not_fit_is_mapped_but_not_read),
                                       cmocka_unit_test(reading_can_be_stopped_and_a_failed_read_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
