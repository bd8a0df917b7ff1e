// Importance: sums of squares of a matrix's input, once per token, whatever the threads and the chunks.
#include <math.h>

#include "model/importance.h"
#include "rig.h"

enum { N = 23 };

static const hth_imatrix_sums *find(const hth_imatrix_sums *sums, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(sums[i].name, name) == 0) return &sums[i];
    }
    return NULL;
}

// Runs the tokens as one sequence, n_chunk to a step.
static void run_tokens(const rig *r, hth_importance *im, const int32_t *tokens, int32_t n_chunk) {
    const hth_linear_hook hook = hth_importance_hook(im);
    float *logits = rig_floats(N * TINY_VOCAB);
    hth_state *s = rig_state(r, N);
    hth_row rows[N];
    for (int32_t i = 0; i < N; i++) rows[i] = rig_row(tokens[i], i);
    for (int32_t at = 0; at < N; at += n_chunk) {
        hth_step step = rig_step(r, &s, 1, rows + at, N - at < n_chunk ? N - at : n_chunk, logits);
        step.hook = &hook;
        step.activations = HTH_ACTIVATIONS_F32;
        rig_must(r, &step);
    }
    hth_state_free(s);
    free(logits);
}

static const hth_imatrix_sums *collect(const rig *r, hth_importance *im, const int32_t *tokens, int32_t n_chunk, size_t *n) {
    hth_err err = {0};
    const hth_imatrix_sums *sums;
    run_tokens(r, im, tokens, n_chunk);
    if (hth_importance_sums(im, &sums, n, &err) != HTH_OK) fail_msg("%s", err.msg);
    return sums;
}

// Squares of the first layer's normed embeddings, which is what its first matrices are multiplied with.
static void expected(const rig *r, const int32_t *tokens, double *sum) {
    const int64_t d = r->m->desc.d_model;
    float *x = rig_floats(d);
    for (int t = 0; t < N; t++) {
        double squares = 0;
        hth_weight_row_f32(&r->m->token_embd, 0, tokens[t], 0, d, x);
        for (int64_t c = 0; c < d; c++) squares += (double)x[c] * (double)x[c];
        const double scale = 1 / (squares / (double)d + (double)r->m->desc.norm_eps);
        for (int64_t c = 0; c < d; c++) {
            const double w = (double)r->m->layers[0].attn_norm[c];
            sum[c] += (double)x[c] * (double)x[c] * scale * w * w;
        }
    }
    free(x);
}

static void sums_are_those_of_the_input(void **unused) {
    static const tiny_kind kinds[] = {TINY_LLAMA, TINY_PHI3}; // Q, K and V apart, and rows of one matrix
    (void)unused;
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        int32_t tokens[N];
        double *first = NULL;
        for (int n_thread = 1; n_thread <= 3; n_thread++) {
            rig r = rig_open(kinds[k], n_thread);
            hth_err err;
            hth_importance *im;
            size_t n;
            const int64_t d = r.m->desc.d_model;
            for (int i = 0; i < N; i++) tokens[i] = (7 * i + 3) % TINY_VOCAB;
            assert_int_equal(hth_importance_new(r.m, false, &im, &err), HTH_OK);
            const hth_imatrix_sums *sums = collect(&r, im, tokens, n_thread == 2 ? 5 : 64, &n);
            const hth_imatrix_sums *q = find(sums, n, r.m->layers[0].q.name);
            assert_non_null(q);
            assert_int_equal(q->n, d);
            assert_int_equal(q->count[0], N);
            assert_null(find(sums, n, r.m->output.name));
            double *want = calloc((size_t)d, sizeof *want);
            expected(&r, tokens, want);
            for (int64_t c = 0; c < d; c++) assert_true(fabs(q->sum[c] - want[c]) <= 1e-4 * want[c] + 1e-9);
            if (!first) {
                first = calloc((size_t)d, sizeof *first);
                memcpy(first, q->sum, (size_t)d * sizeof *first);
            }
            assert_memory_equal(first, q->sum, (size_t)d * sizeof *first); // threads and chunks change no bit
            free(want);
            hth_importance_free(im);
            rig_close(&r);
        }
        free(first);
    }
}

static void runs_add_up_and_the_output_counts_when_asked_for(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 2);
    hth_err err;
    hth_importance *im;
    size_t n;
    int32_t tokens[N];
    for (int i = 0; i < N; i++) tokens[i] = (5 * i + 1) % TINY_VOCAB;
    assert_int_equal(hth_importance_new(r.m, true, &im, &err), HTH_OK);
    double once = 0;
    for (int run = 1; run <= 2; run++) {
        const hth_imatrix_sums *sums = collect(&r, im, tokens, 8, &n), *out = find(sums, n, r.m->output.name);
        assert_non_null(out);
        assert_int_equal(out->count[0], run * N);
        assert_true(out->sum[0] > 0);
        if (run == 1) once = out->sum[0];
        assert_true(fabs(out->sum[0] - run * once) <= 1e-9 * once);
    }
    hth_importance_free(im);
    rig_close(&r);
}

// Mixers that are no attention of the usual kind: what their first matrices are multiplied with is known, too.
static void recurrent_and_compressing_matrices_have_their_importance(void **unused) {
    static const tiny_kind kinds[] = {TINY_NEMOTRON_H, TINY_JAMBA, TINY_LATENT};
    (void)unused;
    for (size_t k = 0; k < HTH_COUNT(kinds); k++) {
        int32_t tokens[N];
        rig r = rig_open(kinds[k], 2);
        const hth_layer *l = &r.m->layers[0];
        hth_err err;
        hth_importance *im;
        size_t n;
        const int64_t d = r.m->desc.d_model;
        for (int i = 0; i < N; i++) tokens[i] = (7 * i + 3) % TINY_VOCAB;
        assert_int_equal(hth_importance_new(r.m, false, &im, &err), HTH_OK);
        const hth_imatrix_sums *sums = collect(&r, im, tokens, 64, &n);
        const hth_imatrix_sums *in = find(sums, n, kinds[k] == TINY_LATENT ? l->latent.kv_a.name : l->recurrent.in.name);
        const hth_imatrix_sums *out = find(sums, n, kinds[k] == TINY_LATENT ? l->latent.q_a.name : l->recurrent.out.name);
        assert_true(in && out && in->n == d && in->count[0] == N && out->count[0] == N);
        double *want = calloc((size_t)d, sizeof *want);
        expected(&r, tokens, want);
        for (int64_t c = 0; c < d; c++) assert_true(fabs(in->sum[c] - want[c]) <= 1e-4 * want[c] + 1e-9);
        free(want);
        hth_importance_free(im);
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_and_compressing_matrices_have_their_importance),
        cmocka_unit_test(sums_are_those_of_the_input),
        cmocka_unit_test(runs_add_up_and_the_output_counts_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
