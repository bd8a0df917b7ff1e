// What a step takes and gives: embedding rows, ranges of layers, hidden rows, hooks, cancelling, and refusals
// that leave everything as it was.
#include <stdatomic.h>

#include "rig.h"

// ---- embedding rows

// What the executor makes of a token before the first layer.
static void embed(const hth_model *m, int32_t token, float *embd, float *per_layer) {
    const hth_desc *d = &m->desc;
    hth_weight_row_f32(&m->token_embd, 0, token, 0, d->d_model, embd);
    for (int i = 0; i < d->d_model; i++) embd[i] *= d->embd_scale;
    if (d->d_per_layer == 0) return;
    const int64_t width = (int64_t)d->n_layer * d->d_per_layer;
    hth_weight_row_f32(&m->per_layer_embd, 0, token < d->n_vocab_per_layer ? token : 0, 0, width, per_layer);
    for (int64_t i = 0; i < width; i++) per_layer[i] *= sqrtf((float)d->d_per_layer);
}

static void embedding_rows_with_a_tokens_own_vectors_equal_the_token(void **unused) {
    enum { N = 20 };
    (void)unused;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        const hth_desc *d = &r.m->desc;
        const int64_t width = (int64_t)d->n_layer * d->d_per_layer;
        hth_row *rows = rig_tokens(N, 0, 61);
        float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
        float *embd = rig_floats(N * d->d_model), *per_layer = rig_floats(N * width + 1);
        for (int i = 1; i < N; i += 1 + i % 2) { // some rows stay tokens
            rows[i].i_embd = N - 1 - i;
            embed(r.m, rows[i].token, embd + (int64_t)(N - 1 - i) * d->d_model,
                  per_layer + (N - 1 - i) * width);
            rows[i].token = -1;
        }
        hth_state *s = rig_state(&r, 512);
        hth_step step = rig_step(&r, &s, 1, rows, N, got);
        step.batch.embd = embd;
        step.batch.n_embd = N;
        step.batch.per_layer = width > 0 ? per_layer : NULL;
        rig_must(&r, &step);
        if (!rig_same(got, want, N * TINY_VOCAB)) fail_msg("family %s differs", d->family);
        if (width > 0) { // without additions the projection alone is used
            assert_int_equal(hth_state_truncate(s, 0, NULL), HTH_OK);
            step.batch.per_layer = NULL;
            rig_must(&r, &step);
            assert_false(rig_same(got + TINY_VOCAB, want + TINY_VOCAB, TINY_VOCAB));
        }
        hth_state_free(s);
        free(rows);
        free(want);
        free(got);
        free(embd);
        free(per_layer);
        rig_close(&r);
    }
}

// ---- ranges of layers

enum { N_RANGE = 70 };

// Runs the rows in steps of `chunk` through layers [0, cut) with one state and [cut, n) with another.
static void run_in_two(const rig *r, hth_row *rows, int chunk, int cut, float *logits, float *between) {
    const hth_desc *d = &r->m->desc;
    const int64_t width = (int64_t)d->n_stream * d->d_model;
    hth_state *a = rig_state(r, 512), *b = rig_state(r, 512);
    for (int at = 0; at < N_RANGE; at += chunk) {
        const int n = N_RANGE - at < chunk ? N_RANGE - at : chunk;
        hth_step first = rig_step(r, &a, 1, rows + at, n, NULL),
                 second = rig_step(r, &b, 1, rows + at, n, logits + at * TINY_VOCAB);
        first.layer_last = second.layer_first = cut;
        first.hidden_out = between + at * width;
        second.hidden_in = between + at * width;
        rig_must(r, &first);
        rig_must(r, &second);
    }
    hth_state_free(a);
    hth_state_free(b);
}

static bool can_cut(const hth_desc *d, int cut) {
    for (int i = cut; i < d->n_layer; i++) {
        if (d->layers[i].attn.kv_layer < cut || d->layers[i].recurrent.kind == HTH_RECURRENT_WKV) return false;
    }
    return true;
}

static void two_ranges_of_layers_equal_the_whole_and_hidden_rows_are_what_passes(void **unused) {
    (void)unused;
    hth_row *rows = rig_tokens(N_RANGE, 0, 62);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 2);
        const hth_desc *d = &r.m->desc;
        float *want = rig_alone(&r, rows, N_RANGE), *got = rig_floats(N_RANGE * TINY_VOCAB);
        float *between = rig_floats((int64_t)N_RANGE * d->n_stream * d->d_model),
              *hidden = rig_floats(N_RANGE * d->d_model);
        int n_cut = 0;
        for (int cut = 1; cut < d->n_layer; cut++) {
            if (!can_cut(d, cut)) continue;
            n_cut++;
            run_in_two(&r, rows, cut == 1 ? N_RANGE : 9, cut, got, between);
            if (!rig_same(got, want, N_RANGE * TINY_VOCAB))
                fail_msg("family %s cut at %d differs", d->family, cut);
            hth_state *s = rig_state(&r, 512); // the same hidden rows, asked for
            for (int i = 0; i < N_RANGE; i++) rows[i].want = i % 3 == 0 ? HTH_WANT_HIDDEN : 0;
            hth_step step = rig_step(&r, &s, 1, rows, N_RANGE, NULL);
            step.hidden_want = hidden;
            step.hidden_layer = cut - 1;
            rig_must(&r, &step);
            for (int i = 0; i < N_RANGE; i += 3) {
                assert_true(rig_same(hidden + i / 3 * d->d_model,
                                     between + (int64_t)i * d->n_stream * d->d_model, d->d_model));
            }
            for (int i = 0; i < N_RANGE; i++) rows[i].want = HTH_WANT_LOGITS;
            hth_state_free(s);
        }
        assert_true(n_cut > 0 || kind == TINY_RWKV7); // whose layers read the first one's values
        free(want);
        free(got);
        free(between);
        free(hidden);
        rig_close(&r);
    }
    free(rows);
}

static void hidden_rows_after_the_output_norm_times_the_output_matrix_are_the_logits(void **unused) {
    enum { N = 9 };
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 2);
    const int64_t d = r.m->desc.d_model;
    hth_row *rows = rig_tokens(N, 0, 63);
    float *logits = rig_floats(N * TINY_VOCAB), *hidden = rig_floats(N * d), *w = rig_floats(d);
    double *want = calloc(TINY_VOCAB, sizeof *want);
    for (int i = 0; i < N; i++)
        rows[i].want = (i % 2 ? HTH_WANT_LOGITS : 0) | (i % 3 == 0 ? HTH_WANT_HIDDEN : 0);
    hth_state *s = rig_state(&r, 16);
    hth_step step = rig_step(&r, &s, 1, rows, N, logits);
    step.hidden_want = hidden;
    rig_must(&r, &step);
    // Row 3 has both: the second of the logits (rows 1, 3, 5, 7), the second of the hidden rows (0, 3, 6).
    for (int v = 0; v < TINY_VOCAB; v++) {
        hth_weight_row_f32(&r.m->output, 0, v, 0, d, w);
        want[v] = 0;
        for (int64_t c = 0; c < d; c++) want[v] += (double)w[c] * (double)hidden[d + c];
    }
    assert_true(rig_nmse(logits + TINY_VOCAB, want, TINY_VOCAB) < 1e-12);
    hth_state_free(s);
    free(rows);
    free(logits);
    free(hidden);
    free(w);
    free(want);
    rig_close(&r);
}

// ---- the linear hook

enum { MAX_PRODUCT = 64, MAX_OUT = 128 };

typedef struct watch {
    const hth_weight *products[MAX_PRODUCT];
    atomic_int added[MAX_PRODUCT][MAX_OUT]; // times that each row was handed to `add`
    atomic_int reduced[MAX_PRODUCT];
    atomic_int n_unknown;
    int n_product;
    const hth_weight *output;
} watch;

static int find_product(watch *w, const hth_weight *p) {
    for (int i = 0; i < w->n_product; i++) {
        if (w->products[i] == p) return i;
    }
    atomic_fetch_add(&w->n_unknown, 1);
    return 0;
}

static void add_and_count(void *user, const hth_linear_call *call, int64_t first, int64_t last, float *y, int64_t y_stride) {
    watch *w = user;
    const hth_weight *p = call->w;
    const int i = find_product(w, p);
    for (int64_t r = first; r < last; r++) atomic_fetch_add(&w->added[i][r], 1);
    for (int64_t t = 0; p == w->output && t < call->n_tok; t++) {
        const float *x = call->x + t * call->x_stride;
        for (int64_t r = first; r < last; r++) y[t * y_stride + r] += 0.125f * x[r % p->n_col];
    }
}

static void reduce_and_count(void *user, const hth_weight *p, int64_t n_tok, float *y, int64_t y_stride) {
    watch *w = user;
    atomic_fetch_add(&w->reduced[find_product(w, p)], 1);
    for (int64_t t = 0; p == w->output && t < n_tok; t++) {
        for (int64_t r = 0; r < p->n_row; r++) y[t * y_stride + r] *= 2;
    }
}

static void list_products(watch *w, const hth_model *m) {
    for (int i = 0; i < m->desc.n_layer; i++) {
        const hth_layer *l = &m->layers[i];
        const hth_weight *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < HTH_COUNT(all); j++) w->products[w->n_product++] = all[j];
    }
    w->output = w->products[w->n_product++] = &m->output;
}

static void the_hook_sees_every_row_of_every_product_once_and_changes_it(void **unused) {
    enum { N = 5 };
    static watch w;
    (void)unused;
    for (int n_thread = 1; n_thread <= 4; n_thread++) {
        for (int with_reduce = 0; with_reduce < 2; with_reduce++) {
            rig r = rig_open(TINY_LLAMA, n_thread);
            const int64_t d = r.m->desc.d_model;
            hth_row *rows = rig_tokens(N, 0, 64);
            float *plain = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB),
                  *hidden = rig_floats(N * d);
            memset(&w, 0, sizeof w);
            list_products(&w, r.m);
            const hth_linear_hook hook = {
                .add = add_and_count, .reduce = with_reduce ? reduce_and_count : NULL, .user = &w};
            for (int i = 0; i < N; i++) rows[i].want |= HTH_WANT_HIDDEN;
            hth_state *s = rig_state(&r, 512);
            hth_step step = rig_step(&r, &s, 1, rows, N, got);
            step.hidden_want = hidden;
            step.hook = &hook;
            rig_must(&r, &step);
            assert_int_equal(w.n_unknown, 0);
            for (int i = 0; i < w.n_product; i++) {
                for (int64_t row = 0; row < MAX_OUT; row++)
                    assert_int_equal(w.added[i][row], row < w.products[i]->n_row);
                assert_int_equal(w.reduced[i], with_reduce);
            }
            for (int t = 0; t < N; t++) {
                for (int v = 0; v < TINY_VOCAB; v++) {
                    const float want = plain[t * TINY_VOCAB + v] + 0.125f * hidden[t * d + v % d];
                    assert_true(got[t * TINY_VOCAB + v] == (with_reduce ? 2 * want : want));
                }
            }
            hth_state_free(s);
            free(rows);
            free(plain);
            free(got);
            free(hidden);
            rig_close(&r);
        }
    }
}

static void double_everything(void *user, const hth_weight *p, int64_t n_tok, float *y, int64_t y_stride) {
    (void)user;
    for (int64_t t = 0; t < n_tok; t++) {
        for (int64_t r = 0; r < p->n_row; r++) y[t * y_stride + r] *= 2;
    }
}

static void add_itself(void *user, const hth_linear_call *call, int64_t first, int64_t last, float *y, int64_t y_stride) {
    (void)user;
    for (int64_t t = 0; t < call->n_tok; t++) {
        for (int64_t r = first; r < last; r++) y[t * y_stride + r] *= 2;
    }
}

// A bias belongs behind the sum over machines: doubling by `add` and by `reduce` must come to the same.
static void a_bias_is_added_once_after_the_reduction(void **unused) {
    enum { N = 7 };
    (void)unused;
    const hth_linear_hook by_add = {.add = add_itself}, by_reduce = {.reduce = double_everything};
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        rig r = rig_open(TINY_BERT, n_thread);
        const int64_t d = r.m->desc.d_model;
        hth_row *rows = rig_tokens(N, 0, 65);
        float *a = rig_floats(N * d), *b = rig_floats(N * d);
        for (int i = 0; i < N; i++) rows[i].want = HTH_WANT_HIDDEN;
        hth_step step = rig_step(&r, NULL, 1, rows, N, NULL);
        step.hidden_want = a;
        step.hook = &by_add;
        rig_must(&r, &step);
        step.hidden_want = b;
        step.hook = &by_reduce;
        rig_must(&r, &step);
        assert_true(rig_same(a, b, N * d));
        free(rows);
        free(a);
        free(b);
        rig_close(&r);
    }
}

// ---- cancelling

typedef struct brake {
    atomic_bool cancel;
    const hth_weight *at;
} brake;

static void pull(void *user, const hth_weight *p, int64_t n_tok, float *y, int64_t y_stride) {
    brake *b = user;
    (void)n_tok;
    (void)y;
    (void)y_stride;
    if (p == b->at) b->cancel = true;
}

static void a_cancelled_step_leaves_the_sequences_as_they_were(void **unused) {
    enum { N = 50 };
    (void)unused;
    hth_row *rows = rig_tokens(N, 0, 66);
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) {
        rig r = rig_open((tiny_kind)kind, 3);
        float *want = rig_alone(&r, rows, N), *got = rig_floats(N * TINY_VOCAB);
        hth_state *s = rig_state(&r, 512);
        hth_err err;
        rig_rows(&r, s, rows, 20, got);
        const hth_layer *l = &r.m->layers[0];
        brake b = {.cancel = true, .at = hth_weight_exists(&l->o) ? &l->o : &l->recurrent.out};
        const hth_linear_hook hook = {.reduce = pull, .user = &b};
        hth_step step = rig_step(&r, &s, 1, rows + 20, 20, got);
        step.cancel = &b.cancel;
        assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_CANCELLED); // before the first layer
        assert_int_equal(hth_state_len(s), 20);
        b.cancel = false;
        step.hook = &hook;
        assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_CANCELLED); // after it
        assert_int_equal(hth_state_len(s), 20);
        rig_rows(&r, s, rows + 20, 30, got);
        assert_true(rig_same(got, want + 20 * TINY_VOCAB, 30 * TINY_VOCAB));
        hth_state_free(s);
        free(want);
        free(got);
        rig_close(&r);
    }
    free(rows);
}

// ---- refusals

typedef struct refusal {
    hth_code code;
    const char *says;
    void (*spoil)(hth_step *step, hth_row *rows);
} refusal;

static void spoil_token(hth_step *step, hth_row *rows) {
    (void)step;
    rows[2].token = TINY_VOCAB;
}
static void spoil_token_below(hth_step *step, hth_row *rows) {
    step->batch.embd = step->logits;
    rows[2].token = -2;
}
static void spoil_embedding(hth_step *step, hth_row *rows) {
    (void)step;
    rows[2].token = -1;
}
static void spoil_embedding_index(hth_step *step, hth_row *rows) {
    step->batch.embd = step->logits;
    step->batch.n_embd = 3;
    rows[2].token = -1;
    rows[2].i_embd = 3;
}
static void spoil_sequence(hth_step *step, hth_row *rows) {
    (void)step;
    rows[1].i_seq = 2;
}
static void spoil_sequence_below(hth_step *step, hth_row *rows) {
    (void)step;
    rows[1].i_seq = -1;
}
static void spoil_parent(hth_step *step, hth_row *rows) {
    (void)step;
    rows[2].parent = 2;
}
static void spoil_parent_below(hth_step *step, hth_row *rows) {
    (void)step;
    rows[2].parent = -3;
}
static void spoil_foreign_parent(hth_step *step, hth_row *rows) {
    (void)step;
    rows[2].parent = 0;
    rows[2].i_seq = 1;
}
static void spoil_position(hth_step *step, hth_row *rows) {
    (void)step;
    rows[2].pos[0] = -1;
}
static void spoil_order(hth_step *step, hth_row *rows) {
    (void)step;
    rows[3].pos[0] = rows[2].pos[0] - 1;
}
static void spoil_first_order(hth_step *step, hth_row *rows) {
    (void)step;
    rows[0].pos[0] = 4; // ten rows are stored, the last at 9
}
static void spoil_count(hth_step *step, hth_row *rows) {
    (void)rows;
    step->batch.n_row = 0;
}
static void spoil_count_above(hth_step *step, hth_row *rows) {
    (void)rows;
    step->batch.n_row = 1 << 20;
}
static void spoil_states(hth_step *step, hth_row *rows) {
    (void)rows;
    step->batch.states = NULL;
}
static void spoil_logits(hth_step *step, hth_row *rows) {
    (void)rows;
    step->logits = NULL;
}
static void spoil_hidden(hth_step *step, hth_row *rows) {
    (void)step;
    rows[3].want |= HTH_WANT_HIDDEN;
}
static void spoil_layers(hth_step *step, hth_row *rows) {
    (void)rows;
    step->layer_last++;
}
static void spoil_layers_below(hth_step *step, hth_row *rows) {
    (void)rows;
    step->layer_first = -1;
}
static void spoil_layers_order(hth_step *step, hth_row *rows) {
    (void)rows;
    step->hidden_in = step->hidden_out = step->logits;
    step->layer_first = 2;
    step->layer_last = 1;
}
static void spoil_range(hth_step *step, hth_row *rows) {
    (void)rows;
    step->layer_first = 1;
}
static void spoil_range_end(hth_step *step, hth_row *rows) {
    (void)rows;
    step->layer_last = 1;
}
static void spoil_other_range(hth_step *step, hth_row *rows) {
    (void)rows;
    step->layer_last = 1;
    step->hidden_out = step->logits;
}
static void spoil_hidden_layer(hth_step *step, hth_row *rows) {
    (void)rows;
    step->hidden_layer = 3;
}
static void spoil_hidden_layer_below(hth_step *step, hth_row *rows) {
    (void)rows;
    step->hidden_layer = -2;
}

static const refusal refusals[] = {
    {HTH_ERR_RANGE, "row 2: token 97", spoil_token},
    {HTH_ERR_RANGE, "row 2: token -2", spoil_token_below},
    {HTH_ERR_RANGE, "row 2 has neither", spoil_embedding},
    {HTH_ERR_RANGE, "row 2: embedding 3 of 3", spoil_embedding_index},
    {HTH_ERR_RANGE, "row 1: sequence 2", spoil_sequence},
    {HTH_ERR_RANGE, "row 1: sequence -1", spoil_sequence_below},
    {HTH_ERR_RANGE, "row 2: parent 2", spoil_parent},
    {HTH_ERR_RANGE, "row 2: parent -3", spoil_parent_below},
    {HTH_ERR_RANGE, "row 2: parent 0", spoil_foreign_parent},
    {HTH_ERR_RANGE, "row 2: position -1", spoil_position},
    {HTH_ERR_RANGE, "row 3: position", spoil_order},
    {HTH_ERR_RANGE, "row 0: position 4 comes after 9", spoil_first_order},
    {HTH_ERR_RANGE, "0 rows", spoil_count},
    {HTH_ERR_RANGE, "1048576 rows", spoil_count_above},
    {HTH_ERR_RANGE, "sequence 0 has no state", spoil_states},
    {HTH_ERR_RANGE, "row 0 wants logits", spoil_logits},
    {HTH_ERR_RANGE, "row 3 wants hidden", spoil_hidden},
    {HTH_ERR_RANGE, "layers 0 to 4 of 3", spoil_layers},
    {HTH_ERR_RANGE, "layers -1 to 3 of 3", spoil_layers_below},
    {HTH_ERR_RANGE, "layers 2 to 1 of 3", spoil_layers_order},
    {HTH_ERR_RANGE, "hidden rows", spoil_range},
    {HTH_ERR_RANGE, "hidden rows", spoil_range_end},
    {HTH_ERR_RANGE, "holds layers 0 to 3", spoil_other_range},
    {HTH_ERR_RANGE, "hidden layer 3", spoil_hidden_layer},
    {HTH_ERR_RANGE, "hidden layer -2", spoil_hidden_layer_below},
};

static void a_refused_step_names_what_is_wrong_and_changes_nothing(void **unused) {
    enum { OLD = 10, N = 6 };
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 2);
    hth_row *all = rig_tokens(OLD + N, 0, 67), rows[N];
    float *want = rig_alone(&r, all, OLD + N), *got = rig_floats((OLD + N) * TINY_VOCAB);
    hth_state *states[] = {rig_state(&r, 512), rig_state(&r, 512)};
    hth_err err;
    rig_rows(&r, states[0], all, OLD, got);
    for (size_t i = 0; i < HTH_COUNT(refusals); i++) {
        const refusal *f = &refusals[i];
        memcpy(rows, all + OLD, sizeof rows);
        hth_step step = rig_step(&r, states, 2, rows, N, got);
        f->spoil(&step, rows);
        err = (hth_err){0};
        const hth_code code = rig_submit(&r, &step, &err);
        if (code != f->code || !strstr(err.msg, f->says))
            fail_msg("expected \"%s\", got %d \"%s\"", f->says, (int)code, err.msg);
        assert_int_equal(hth_state_len(states[0]), OLD);
        assert_int_equal(hth_state_len(states[1]), 0);
    }
    hth_step step = rig_step(&r, states, 1, all + OLD, N, got);
    rig_must(&r, &step);
    assert_true(rig_same(got, want + OLD * TINY_VOCAB, N * TINY_VOCAB));
    for (int i = 0; i < 2; i++) hth_state_free(states[i]);
    free(all);
    free(want);
    free(got);
    rig_close(&r);
}

static void rows_beyond_the_context_are_refused_with_the_counts(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 1);
    hth_row *rows = rig_tokens(12, 0, 68);
    float *got = rig_floats(12 * TINY_VOCAB);
    hth_state *s = rig_state(&r, 10);
    hth_err err;
    rig_rows(&r, s, rows, 8, got);
    hth_step step = rig_step(&r, &s, 1, rows + 8, 3, got);
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_LIMIT);
    assert_non_null(strstr(err.msg, "8 tokens are stored, 3 more do not fit in 10"));
    assert_int_equal(hth_state_len(s), 8);
    rig_rows(&r, s, rows + 8, 2, got);
    hth_state_free(s);
    free(rows);
    free(got);
    rig_close(&r);
}

static void one_state_cannot_be_two_sequences_or_another_models(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_LLAMA, 1), other = rig_open(TINY_LLAMA, 1);
    hth_row *rows = rig_tokens(2, 0, 69);
    float *got = rig_floats(2 * TINY_VOCAB);
    hth_state *s = rig_state(&r, 10), *twice[] = {s, s}, *foreign = rig_state(&other, 10);
    hth_err err;
    rows[1].i_seq = 1;
    hth_step step = rig_step(&r, twice, 2, rows, 2, got);
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "sequence 1"));
    step = rig_step(&r, &foreign, 1, rows, 1, got);
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "sequence 0"));
    rig_rows(&r, s, rows, 1, got); // usable as before
    hth_state_free(s);
    hth_state_free(foreign);
    free(rows);
    free(got);
    rig_close(&r);
    rig_close(&other);
}

static void layers_cannot_be_cut_from_the_layer_whose_keys_they_read(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_GEMMA4, 1);
    hth_row row = rig_row(3, 0);
    float *got = rig_floats(TINY_VOCAB), *hidden = rig_floats(r.m->desc.d_model);
    hth_state *s = rig_state(&r, 10);
    hth_err err;
    hth_step step = rig_step(&r, &s, 1, &row, 1, got);
    step.layer_first = 3; // layer 5 reads layer 2
    step.hidden_in = hidden;
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "layer 5 reads the keys of layer 2"));
    hth_state_free(s);
    free(got);
    free(hidden);
    rig_close(&r);
}

static void an_encoder_refuses_what_only_decoders_have(void **unused) {
    (void)unused;
    rig r = rig_open(TINY_BERT, 1);
    float *out = rig_floats(2 * TINY_VOCAB);
    hth_row rows[] = {rig_row(1, 0), rig_row(2, 1)};
    hth_err err;
    hth_step step = rig_step(&r, NULL, 1, rows, 2, out);
    step.hidden_want = out;
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_UNSUPPORTED); // logits
    rows[0].want = rows[1].want = HTH_WANT_HIDDEN;
    rig_must(&r, &step);
    rows[1].parent = 0;
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_UNSUPPORTED);
    rows[1].parent = HTH_PARENT_PREVIOUS;
    rows[1].pos[0] = 64;
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_LIMIT);
    assert_non_null(strstr(err.msg, "row 1: position 64"));
    rows[1].pos[0] = 1;
    rows[1].type = 2;
    assert_int_equal(rig_submit(&r, &step, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "row 1: token type 2 of 2"));
    free(out);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_rows_with_a_tokens_own_vectors_equal_the_token),
        cmocka_unit_test(two_ranges_of_layers_equal_the_whole_and_hidden_rows_are_what_passes),
        cmocka_unit_test(hidden_rows_after_the_output_norm_times_the_output_matrix_are_the_logits),
        cmocka_unit_test(the_hook_sees_every_row_of_every_product_once_and_changes_it),
        cmocka_unit_test(a_bias_is_added_once_after_the_reduction),
        cmocka_unit_test(a_cancelled_step_leaves_the_sequences_as_they_were),
        cmocka_unit_test(a_refused_step_names_what_is_wrong_and_changes_nothing),
        cmocka_unit_test(rows_beyond_the_context_are_refused_with_the_counts),
        cmocka_unit_test(one_state_cannot_be_two_sequences_or_another_models),
        cmocka_unit_test(layers_cannot_be_cut_from_the_layer_whose_keys_they_read),
        cmocka_unit_test(an_encoder_refuses_what_only_decoders_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
