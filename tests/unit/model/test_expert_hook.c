// The hook of linear operations on routed experts: each expert in use once, with its own tokens; and what importance
// makes of that.
#include <math.h>

#include "model/importance.h"
#include "rig.h"
#include "tiny_moe.h"

enum { N = 23 };

static rig open_moe(int n_thread) {
    tiny *t = malloc(sizeof *t);
    tiny_moe(t);
    rig r = rig_of(t, n_thread);
    free(t);
    return r;
}

// What went into each expert's first row, and how often each row of the three products was made.
typedef struct watch {
    const hth_layer *layer;
    double sum[MOE_EXPERTS], router_sum;
    int64_t n_tok[MOE_EXPERTS];
    _Atomic int made[3][MOE_EXPERTS][MOE_D_FF];
} watch;

static void look(void *user, const hth_linear_call *call, int64_t first, int64_t last, float *y, int64_t y_stride) {
    watch *w = user;
    const hth_weight *p = call->w;
    const int64_t expert = call->expert, n_tok = call->n_tok;
    (void)y, (void)y_stride;
    const hth_weight *const all[] = {&w->layer->expert_gate, &w->layer->expert_up, &w->layer->expert_down};
    double sum = 0;
    for (int64_t t = 0; t < n_tok; t++) {
        const float *x = call->x + t * call->x_stride;
        for (int64_t c = 0; c < p->n_col; c++) sum += (double)x[c] * (double)x[c];
        assert_int_equal(call->seqs[t], 0);
    }
    if (p == &w->layer->router && first == 0) w->router_sum += sum;
    if (p == all[0] && first == 0) {
        w->sum[expert] += sum;
        w->n_tok[expert] += n_tok;
    }
    for (int i = 0; i < 3; i++) {
        for (int64_t r = first; p == all[i] && r < last; r++) atomic_fetch_add(&w->made[i][expert][r], 1);
    }
}

static void the_hook_meets_each_expert_in_use_once_with_its_own_tokens(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 71);
    float *logits = rig_floats(N * TINY_VOCAB);
    for (int n_thread = 1; n_thread <= 4; n_thread++) {
        rig r = open_moe(n_thread);
        hth_state *s = rig_state(&r, 64);
        watch *w = calloc(1, sizeof *w);
        w->layer = &r.m->layers[0];
        const hth_linear_hook hook = {.add = look, .user = w};
        hth_step step = rig_step(&r, &s, 1, rows, N, logits);
        step.hook = &hook;
        rig_must(&r, &step);
        int64_t n_tok = 0;
        double sum = 0;
        for (int e = 0; e < MOE_EXPERTS; e++) {
            n_tok += w->n_tok[e];
            sum += w->sum[e];
            for (int row = 0; row < MOE_D_FF; row++) {
                for (int i = 0; i < 3; i++)
                    assert_int_equal(w->made[i][e][row], w->n_tok[e] > 0 && row < (i < 2 ? MOE_D_FF : MOE_D));
            }
        }
        assert_int_equal(n_tok, N * MOE_USED);
        assert_true(fabs(sum - MOE_USED * w->router_sum) <= 1e-9 * sum); // every row goes to so many experts
        free(w);
        hth_state_free(s);
        rig_close(&r);
    }
    free(logits);
    free(rows);
}

static bool is_expert(const hth_model *m, const hth_weight *p) {
    bool found = false;
    for (int i = 0; i < m->desc.n_layer; i++) {
        const hth_layer *l = &m->layers[i];
        found |= p == &l->expert_gate || p == &l->expert_up || p == &l->expert_down;
    }
    return found;
}

static void double_by_add(void *user, const hth_linear_call *call, int64_t first, int64_t last, float *y, int64_t y_stride) {
    for (int64_t t = 0; is_expert(user, call->w) && t < call->n_tok; t++) {
        for (int64_t r = first; r < last; r++) y[t * y_stride + r] *= 2;
    }
}

static void double_by_reduce(void *user, const hth_weight *p, int64_t n_tok, float *y, int64_t y_stride) {
    for (int64_t t = 0; is_expert(user, p) && t < n_tok; t++) {
        for (int64_t r = 0; r < p->n_row; r++) y[t * y_stride + r] *= 2;
    }
}

static void what_a_hook_adds_or_reduces_counts(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 72);
    float *first = NULL;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        rig r = open_moe(n_thread);
        const hth_linear_hook hooks[] = {{.add = double_by_add, .user = r.m}, {.reduce = double_by_reduce, .user = r.m}};
        float *plain = rig_alone(&r, rows, N);
        for (int i = 0; i < 2; i++) {
            float *got = rig_floats(N * TINY_VOCAB);
            hth_state *s = rig_state(&r, 64);
            hth_step step = rig_step(&r, &s, 1, rows, N, got);
            step.hook = &hooks[i];
            rig_must(&r, &step);
            assert_false(rig_same(got, plain, N * TINY_VOCAB));
            if (!first) first = got;
            assert_true(rig_same(got, first, N * TINY_VOCAB));
            if (got != first) free(got);
            hth_state_free(s);
        }
        free(plain);
        rig_close(&r);
    }
    free(first);
    free(rows);
}

static void run_watched(const rig *r, hth_importance *im, const hth_row *rows, int32_t n_chunk) {
    const hth_linear_hook hook = hth_importance_hook(im);
    float *logits = rig_floats(N * TINY_VOCAB);
    hth_state *s = rig_state(r, N);
    for (int32_t at = 0; at < N; at += n_chunk) {
        hth_step step = rig_step(r, &s, 1, rows + at, N - at < n_chunk ? N - at : n_chunk, logits);
        step.hook = &hook;
        step.activations = HTH_ACTIVATIONS_F32;
        rig_must(r, &step);
    }
    hth_state_free(s);
    free(logits);
}

static void each_expert_has_its_own_importance(void **unused) {
    (void)unused;
    hth_row rows[N];
    double first[MOE_EXPERTS * MOE_D];
    for (int i = 0; i < N; i++) rows[i] = rig_row((7 * i + 3) % TINY_VOCAB, i);
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        rig r = open_moe(n_thread);
        hth_err err;
        hth_importance *im;
        const hth_imatrix_sums *sums, *gate = NULL, *down = NULL;
        size_t n;
        assert_int_equal(hth_importance_new(r.m, false, &im, &err), HTH_OK);
        run_watched(&r, im, rows, n_thread == 2 ? 5 : N);
        assert_int_equal(hth_importance_sums(im, &sums, &n, &err), HTH_OK);
        for (size_t i = 0; i < n; i++) {
            if (strcmp(sums[i].name, r.m->layers[1].expert_gate.name) == 0) gate = &sums[i];
            if (strcmp(sums[i].name, r.m->layers[1].expert_down.name) == 0) down = &sums[i];
        }
        assert_non_null(gate);
        assert_non_null(down);
        assert_true(gate->n == MOE_D && gate->n_expert == MOE_EXPERTS && down->n == MOE_D_FF);
        int64_t n_row = 0;
        for (int e = 0; e < MOE_EXPERTS; e++) {
            n_row += gate->count[e];
            assert_int_equal(gate->count[e], down->count[e]);
            assert_true((gate->sum[e * MOE_D] > 0) == (gate->count[e] > 0));
        }
        assert_int_equal(n_row, N * MOE_USED);
        if (n_thread == 1) memcpy(first, gate->sum, sizeof first);
        assert_memory_equal(gate->sum, first, sizeof first);
        hth_importance_free(im);
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hook_meets_each_expert_in_use_once_with_its_own_tokens),
        cmocka_unit_test(what_a_hook_adds_or_reduces_counts),
        cmocka_unit_test(each_expert_has_its_own_importance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
