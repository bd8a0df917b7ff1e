// Attention over many blocks of keys, for the shapes of heads that models have: one layer's attention of the executor
// against one in double precision, and its bits whatever the chunks, threads, neighbours and trees. The stored types
// round keys and values; that part is bounded, the rest compared closely, by rounding them here as well.
#include "rig.h"

enum { WINDOW = 300, N_LONG = 1100, D = 64 };

typedef struct shape {
    int n_head, n_kv, dim, window;
} shape;

// One llama layer without feed-forward worth speaking of: what attention gives goes straight into the logits.
static rig open_shape(const shape *s, int n_thread) {
    tiny *t = malloc(sizeof *t);
    const tiny_shape one = {.d = D, .n_head = s->n_head, .n_kv = s->n_kv, .head_dim = s->dim, .d_ff = 16, .norm = 1};
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm", NULL};
    tiny_common(t, s->window ? "mistral" : "llama", &one, 1);
    tiny_set(t, "rms_norm_eps", "1e-5");
    tiny_set(t, "hidden_act", "\"silu\"");
    tiny_set(t, "max_position_embeddings", "4096");
    if (s->window) tiny_set_int(t, "sliding_window", s->window);
    tiny_norms(t, "model.layers.0.", &one, norms);
    tiny_attention(t, "model.layers.0.", &one);
    tiny_ffn(t, "model.layers.0.", &one);
    tiny_ends(t, &one, false);
    rig r = rig_of(t, n_thread);
    free(t);
    return r;
}

// The rows' hidden numbers after the layer [n, D], through a fresh state in steps of `chunk` rows.
static float *run_chunks(const rig *r, hth_row *rows, int32_t n, int32_t chunk, hth_kv_type type) {
    float *out = rig_floats((int64_t)n * D);
    hth_state *s = rig_state_of(r, n, type);
    for (int32_t i = 0, m; i < n; i += m) {
        m = n - i < chunk ? n - i : chunk;
        hth_step step = rig_step(r, &s, 1, rows + i, m, NULL);
        step.hidden_layer = 0;
        step.hidden_want = out + (int64_t)i * D;
        rig_must(r, &step);
    }
    hth_state_free(s);
    return out;
}

static hth_row *make_rows(int32_t n, uint64_t seed, hth_row_kind kind) {
    hth_row *rows = rig_tokens(n, 0, seed);
    for (int32_t i = 0; i < n; i++) {
        rows[i].want = HTH_WANT_HIDDEN;
        rows[i].kind = (uint8_t)kind;
    }
    return rows;
}

// ---- in double precision

// y [w.n_row] = w x
static void multiply(const hth_weight *w, const double *x, double *y) {
    float row[D * 64];
    for (int64_t r = 0; r < w->n_row; r++) {
        hth_weight_row_f32(w, 0, r, 0, w->n_col, row);
        y[r] = 0;
        for (int64_t c = 0; c < w->n_col; c++) y[r] += row[c] * x[c];
    }
}

static void normalize(const double *x, const float *w, double *y) {
    double sum = 0;
    for (int i = 0; i < D; i++) sum += x[i] * x[i];
    for (int i = 0; i < D; i++) y[i] = x[i] / sqrt(sum / D + 1e-5) * w[i];
}

static void turn(double *x, const hth_rope *r, int64_t pos, int n_head, int dim) {
    for (int h = 0; h < n_head; h++, x += dim)
        for (int i = 0; i < dim / 2; i++) {
            const double angle = (double)pos * r->inv_freq[0][i], a = x[i], b = x[i + dim / 2];
            x[i] = a * cos(angle) - b * sin(angle);
            x[i + dim / 2] = b * cos(angle) + a * sin(angle);
        }
}

// As the type stores heads of `dim` numbers: those of few bits mix them before, which is undone here.
static void store(double *x, int64_t n, int dim, hth_kv_type type) {
    static float part[64 * 256], back[64 * 256];
    uint8_t bytes[256 * 4];
    hth_kernels ref;
    if (type == HTH_KV_F32) return;
    hth_kernels_fill(&ref, 0);
    for (int64_t i = 0; i < n; i++) part[i] = (float)x[i];
    if (hth_kv_is_mixed(type)) hth_hadamard(part, n, dim);
    for (int64_t i = 0; i < n; i += dim) {
        ref.kv_store[type](bytes, part + i, dim);
        ref.kv_load[type](&(hth_kv_run){bytes, 0, 1, dim}, back + i);
    }
    if (hth_kv_is_mixed(type)) hth_hadamard(back, n, dim);
    for (int64_t i = 0; i < n; i++) x[i] = back[i];
}

typedef struct plain {
    double *x, *q, *k, *v; // [n, ...]
} plain;

static plain prepare(const rig *r, const shape *s, const hth_row *rows, int n) {
    const hth_layer *l = &r->m->layers[0];
    const int nq = s->n_head * s->dim, nk = s->n_kv * s->dim;
    plain p = {calloc((size_t)n * D, 8), calloc((size_t)(n * nq), 8), calloc((size_t)(n * nk), 8), calloc((size_t)(n * nk), 8)};
    for (int i = 0; i < n; i++) {
        float row[D];
        double h[D];
        hth_weight_row_f32(&r->m->token_embd, 0, rows[i].token, 0, D, row);
        for (int c = 0; c < D; c++) p.x[i * D + c] = row[c];
        normalize(p.x + i * D, l->attn_norm, h);
        multiply(&l->q, h, p.q + i * nq);
        multiply(&l->k, h, p.k + i * nk);
        multiply(&l->v, h, p.v + i * nk);
        turn(p.q + i * nq, &r->m->desc.rope[0], rows[i].pos[0], s->n_head, s->dim);
        turn(p.k + i * nk, &r->m->desc.rope[0], rows[i].pos[0], s->n_kv, s->dim);
    }
    return p;
}

// The same with keys and values as the type stores them; x and q are those of `all`.
static plain stored(const plain *all, const shape *s, int n, hth_kv_type type) {
    const int nk = s->n_kv * s->dim;
    const size_t bytes = (size_t)(n * nk) * sizeof(double);
    plain p = {all->x, all->q, malloc(bytes), malloc(bytes)};
    memcpy(p.k, all->k, bytes);
    memcpy(p.v, all->v, bytes);
    for (int i = 0; i < n; i++) {
        store(p.k + i * nk, nk, s->dim, type);
        store(p.v + i * nk, nk, s->dim, type);
    }
    return p;
}

static void release(plain *p) {
    free(p->x);
    free(p->q);
    free(p->k);
    free(p->v);
}

static void attend(const rig *r, const shape *s, const plain *p, int i, int head, double *out) {
    const int nq = s->n_head * s->dim, nk = s->n_kv * s->dim, at = head / (s->n_head / s->n_kv) * s->dim;
    const int first = s->window && i >= s->window ? i - s->window + 1 : 0;
    double *score = calloc((size_t)i + 1, sizeof *score), max = -INFINITY, sum = 0;
    for (int j = first; j <= i; j++) {
        for (int d = 0; d < s->dim; d++) score[j] += p->q[i * nq + head * s->dim + d] * p->k[j * nk + at + d];
        score[j] *= r->m->desc.layers[0].attn.scale;
        max = fmax(max, score[j]);
    }
    for (int j = first; j <= i; j++) sum += score[j] = exp(score[j] - max);
    for (int d = 0; d < s->dim; d++) out[d] = 0;
    for (int j = first; j <= i; j++)
        for (int d = 0; d < s->dim; d++) out[d] += score[j] / sum * p->v[j * nk + at + d];
    free(score);
}

static void plain_layer(const rig *r, const shape *s, const plain *p, int i, double out[D]) {
    const hth_layer *l = &r->m->layers[0];
    double *mixed = calloc((size_t)(s->n_head * s->dim), sizeof *mixed), gate[16], up[16], h[D], y[D];
    for (int head = 0; head < s->n_head; head++) attend(r, s, p, i, head, mixed + head * s->dim);
    multiply(&l->o, mixed, y);
    for (int c = 0; c < D; c++) out[c] = p->x[i * D + c] + y[c];
    normalize(out, l->ffn_norm, h);
    multiply(&l->gate, h, gate);
    multiply(&l->up, h, up);
    for (int c = 0; c < 16; c++) up[c] *= gate[c] / (1 + exp(-gate[c]));
    multiply(&l->down, up, y);
    for (int c = 0; c < D; c++) out[c] += y[c];
    free(mixed);
}

static const shape shapes[] = {
    {3, 1, 64, 0},       {6, 2, 80, WINDOW}, {8, 1, 64, 31}, {4, 4, 64, 0},  {8, 1, 128, 0},
    {6, 2, 80, 0},       {2, 2, 256, 0},     {33, 1, 32, 0}, {3, 1, 96, 257}, {3, 3, 64, WINDOW},
};

// Under an emulator a few have to do.
static bool is_quick(void) {
    const char *quick = getenv("HEARTH_TEST_QUICK");
    return quick && *quick;
}

static size_t n_shape(void) {
    return is_quick() ? 2 : HTH_COUNT(shapes);
}

// Rounding to a stored type turns a last bit of difference into a step of that type now and then.
static const double most_nmse[HTH_KV_TYPE_COUNT] = {1e-11, 1e-6, 1e-5, 1e-5, 1e-3, 1e-3};

static void compare(const rig *r, const shape *s, const plain *all, const float *got, hth_kv_type type, const char *what) {
    static const int at[] = {0, 1, 30, 31, 254, 255, 256, 257, 299, 300, 301, 511, 512, 700, 1023, 1024, N_LONG - 1};
    const plain p = stored(all, s, N_LONG, type);
    for (size_t i = 0; i < HTH_COUNT(at); i++) {
        double want[D];
        plain_layer(r, s, &p, at[i], want);
        const double e = rig_nmse(got + at[i] * D, want, D);
        if (!(e <= most_nmse[type]))
            fail_msg("%s rows, %d heads on %d of %d numbers, window %d, K/V type %d: row %d is off by %g", what, s->n_head,
                     s->n_kv, s->dim, s->window, (int)type, at[i], e);
    }
    free(p.k);
    free(p.v);
}

static void long_prompts_equal_attention_in_double_precision(void **unused) {
    (void)unused;
    hth_row *rows = make_rows(N_LONG, 61, HTH_ROW_PROMPT);
    for (size_t i = 0; i < n_shape(); i++) {
        rig r = open_shape(&shapes[i], 2);
        plain all = prepare(&r, &shapes[i], rows, N_LONG);
        for (hth_kv_type type = 0; type < HTH_KV_TYPE_COUNT; type++) {
            float *got = run_chunks(&r, rows, N_LONG, N_LONG, type);
            compare(&r, &shapes[i], &all, got, type, "prompt");
            free(got);
        }
        release(&all);
        rig_close(&r);
    }
    free(rows);
}

static void long_generations_equal_attention_in_double_precision(void **unused) {
    (void)unused;
    hth_row *rows = make_rows(N_LONG, 62, HTH_ROW_GENERATED);
    for (size_t i = 0; i < n_shape(); i++) {
        rig r = open_shape(&shapes[i], 3);
        plain all = prepare(&r, &shapes[i], rows, N_LONG);
        for (hth_kv_type type = 0; type < HTH_KV_TYPE_COUNT; type++) {
            float *got = run_chunks(&r, rows, N_LONG, 50, type);
            compare(&r, &shapes[i], &all, got, type, "generated");
            free(got);
        }
        release(&all);
        rig_close(&r);
    }
    free(rows);
}

// ---- bits

static void check_same(const shape *s, const float *got, const float *want, int32_t n, const char *what, int number) {
    for (int32_t i = 0; i < n; i++) {
        if (rig_same(got + (int64_t)i * D, want + (int64_t)i * D, D)) continue;
        fail_msg("%d heads on %d of %d numbers, window %d, %s %d: row %d differs", s->n_head, s->n_kv, s->dim, s->window, what,
                 number, (int)i);
    }
}

static void long_sequences_give_the_same_bits_in_any_chunks_with_any_threads(void **unused) {
    static const int chunks[] = {37, 256, 700};
    (void)unused;
    for (hth_row_kind kind = HTH_ROW_PROMPT; kind <= HTH_ROW_GENERATED; kind++) {
        hth_row *rows = make_rows(N_LONG, 63, kind);
        for (size_t i = 0; i < n_shape(); i++) {
            const hth_kv_type type = i % 2 ? HTH_KV_F16 : HTH_KV_F32;
            rig one = open_shape(&shapes[i], 1);
            float *want = run_chunks(&one, rows, N_LONG, N_LONG, type);
            for (size_t c = 0; c < (is_quick() ? 1 : HTH_COUNT(chunks)); c++) {
                float *got = run_chunks(&one, rows, N_LONG, chunks[c], type);
                check_same(&shapes[i], got, want, N_LONG, "chunks of", chunks[c]);
                free(got);
            }
            rig_close(&one);
            for (int n_thread = 2; n_thread <= (is_quick() ? 2 : 5); n_thread += 3) {
                rig many = open_shape(&shapes[i], n_thread);
                float *got = run_chunks(&many, rows, N_LONG, 300, type);
                check_same(&shapes[i], got, want, N_LONG, "threads:", n_thread);
                free(got);
                rig_close(&many);
            }
            free(want);
        }
        free(rows);
    }
}

// One row at a time behind a long prompt: here blocks of keys are dealt out to the threads, in several passes where
// the line is long.
static void single_generated_rows_give_the_same_bits_with_any_threads(void **unused) {
    enum { LINE = 256 * 20, STEP = 512 };
    (void)unused;
    static const shape s = {7, 7, 8, 0}; // seven heads for two threads: 18 blocks in a pass
    hth_row *rows = make_rows(LINE + 3, 64, HTH_ROW_PROMPT);
    float *want = NULL;
    for (int i = LINE; i < LINE + 3; i++) rows[i].kind = HTH_ROW_GENERATED;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        rig r = open_shape(&s, n_thread);
        hth_state *state = rig_state_of(&r, LINE + 3, HTH_KV_F16);
        float *got = rig_floats(3 * D), *prompt = rig_floats(STEP * D);
        for (int i = 0; i < LINE; i += STEP) {
            hth_step step = rig_step(&r, &state, 1, rows + i, LINE - i < STEP ? LINE - i : STEP, NULL);
            step.hidden_layer = 0;
            step.hidden_want = prompt;
            rig_must(&r, &step);
        }
        for (int i = 0; i < 3; i++) {
            hth_step step = rig_step(&r, &state, 1, rows + LINE + i, 1, NULL);
            step.hidden_layer = 0;
            step.hidden_want = got + i * D;
            rig_must(&r, &step);
        }
        if (want) check_same(&s, got, want, 3, "threads:", n_thread);
        if (want) free(got);
        else want = got;
        free(prompt);
        hth_state_free(state);
        rig_close(&r);
    }
    free(want);
    free(rows);
}

// A draft tree of two branches behind a prompt that ends inside a block; each branch as a line of its own.
static void trees_of_either_kind_across_blocks_give_the_bits_of_their_lines(void **unused) {
    enum { BEFORE = 500, BRANCH = 20 };
    (void)unused;
    for (size_t i = 0; i < n_shape(); i++)
        for (hth_row_kind kind = HTH_ROW_PROMPT; kind <= HTH_ROW_GENERATED; kind++) {
            const shape *s = &shapes[i];
            rig r = open_shape(s, 2);
            hth_row *rows = make_rows(BEFORE + 2 * BRANCH, 65, HTH_ROW_PROMPT);
            for (int j = 0; j < 2 * BRANCH; j++) {
                hth_row *row = &rows[BEFORE + j];
                row->kind = (uint8_t)kind;
                row->pos[0] = BEFORE + j % BRANCH;
            }
            float *lines[2];
            hth_row *line = make_rows(BEFORE + BRANCH, 65, HTH_ROW_PROMPT);
            for (int b = 0; b < 2; b++) {
                memcpy(line + BEFORE, rows + BEFORE + b * BRANCH, BRANCH * sizeof *line);
                lines[b] = run_chunks(&r, line, BEFORE + BRANCH, 128, HTH_KV_F32);
            }
            hth_state *state = rig_state(&r, BEFORE + 2 * BRANCH);
            float *got = rig_floats((BEFORE + 2 * BRANCH) * D);
            for (int j = 0; j < 2 * BRANCH; j++) {
                rows[BEFORE + j].parent = j % BRANCH == 0 ? HTH_PARENT_NONE : j - 1;
            }
            for (int part = 0; part < 2; part++) {
                hth_step step = rig_step(&r, &state, 1, rows + part * BEFORE, part ? 2 * BRANCH : BEFORE, NULL);
                step.hidden_layer = 0;
                step.hidden_want = got + part * BEFORE * D;
                rig_must(&r, &step);
            }
            for (int b = 0; b < 2; b++)
                check_same(s, got + (BEFORE + b * BRANCH) * D, lines[b] + BEFORE * D, BRANCH, "branch", b);
            hth_state_free(state);
            free(lines[0]);
            free(lines[1]);
            free(got);
            free(line);
            free(rows);
            rig_close(&r);
        }
}

// A key or value that is NaN reaches the rows that see it and no other.
static void a_value_that_is_no_number_does_not_reach_rows_before_it(void **unused) {
    enum { N = 90, BAD = 45 }; // neither at the border of a tile nor, with the window, its end
    (void)unused;
    for (int window = 0; window <= 20; window += 20) {
        const shape s = {3, 1, 64, window};
        rig r = open_shape(&s, 2);
        hth_row *rows = make_rows(N, 66, HTH_ROW_PROMPT);
        float *want = run_chunks(&r, rows, N, N, HTH_KV_F16);
        float embd[D];
        for (int i = 0; i < D; i++) embd[i] = NAN;
        rows[BAD].token = -1;
        hth_state *state = rig_state_of(&r, N, HTH_KV_F16);
        float *got = rig_floats(N * D);
        hth_step step = rig_step(&r, &state, 1, rows, N, NULL);
        step.batch.embd = embd;
        step.batch.n_embd = 1;
        step.hidden_layer = 0;
        step.hidden_want = got;
        rig_must(&r, &step);
        for (int i = 0; i < N; i++) {
            const bool sees = i >= BAD && (window == 0 || i < BAD + window);
            if (sees) assert_true(isnan(got[i * D + 1]));
            else if (!rig_same(got + i * D, want + i * D, D)) fail_msg("window %d: row %d differs", window, i);
        }
        hth_state_free(state);
        free(got);
        free(want);
        free(rows);
        rig_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_prompts_equal_attention_in_double_precision),
        cmocka_unit_test(long_generations_equal_attention_in_double_precision),
        cmocka_unit_test(long_sequences_give_the_same_bits_in_any_chunks_with_any_threads),
        cmocka_unit_test(single_generated_rows_give_the_same_bits_with_any_threads),
        cmocka_unit_test(trees_of_either_kind_across_blocks_give_the_bits_of_their_lines),
        cmocka_unit_test(a_value_that_is_no_number_does_not_reach_rows_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
