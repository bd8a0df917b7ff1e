// Embeddings: the hidden rows after the output norm, pooled into one vector. An encoder sees its whole
// text in one step; a causal model goes through it in chunks with a state that is dropped afterwards.
#include <math.h>

#include "engine/session.h"

#define EMBED_CHUNK 256

typedef struct embedding {
    hth_solo *engine;
    const hth_token *tokens;
    int64_t n;
    hth_pooling pooling;
    double *sum;   // [d_model] of the pooled rows
    float *hidden; // [chunk, d_model]
    hth_row *rows; // [chunk]
    int32_t chunk;
} embedding;

hth_pooling hth_solo_pooling(const hth_solo *e) {
    const hth_desc *d = &e->model->desc;
    if (d->pooling != HTH_POOL_NONE) return d->pooling;
    return d->causal ? HTH_POOL_LAST : HTH_POOL_MEAN;
}

int32_t hth_solo_n_embed(const hth_solo *e, hth_pooling pooling) {
    const hth_desc *d = &e->model->desc;
    if (pooling == HTH_POOL_NONE) pooling = hth_solo_pooling(e);
    if (pooling != HTH_POOL_RANK) return d->d_model;
    const hth_weight *last = hth_weight_exists(&e->model->cls_out) ? &e->model->cls_out : &e->model->cls;
    return hth_weight_exists(last) ? (int32_t)last->n_row : 0;
}

static bool is_pooled(const embedding *b, int64_t row) {
    switch (b->pooling) {
    case HTH_POOL_MEAN: return true;
    case HTH_POOL_LAST: return row == b->n - 1;
    // A causal model's first row has seen nothing: its classification head reads the last.
    case HTH_POOL_RANK: return row == (b->engine->model->desc.causal ? b->n - 1 : 0);
    default: return row == 0;
    }
}

// Runs rows [row, row + n) and adds those that are pooled to the sum.
static hth_code run_chunk(embedding *b, hth_state *state, int64_t row, int32_t n, hth_err *err) {
    const hth_model *m = b->engine->model;
    int32_t n_pooled = 0;
    for (int32_t i = 0; i < n; i++) {
        int64_t pos = row + i;
        bool want = is_pooled(b, pos);
        n_pooled += want;
        b->rows[i] = (hth_row){.token = b->tokens[pos],
                               .pos = {pos, pos, pos, pos},
                               .parent = HTH_PARENT_PREVIOUS,
                               .span = -1,
                               .kind = HTH_ROW_PROMPT,
                               .want = want ? HTH_WANT_HIDDEN : 0};
    }
    hth_step step = {.model = m,
                     .batch = {.rows = b->rows, .n_row = n, .states = &state, .n_seq = 1},
                     .layer_last = m->desc.n_layer,
                     .hidden_want = b->hidden,
                     .activations = HTH_ACTIVATIONS_F32,
                     .hidden_layer = -1};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(b->engine->executor, &step, &ticket, err));
    HTH_TRY(hth_executor_wait(b->engine->executor, ticket, err));
    for (int32_t i = 0; i < n_pooled; i++) {
        const float *hidden = b->hidden + (size_t)i * (size_t)m->desc.d_model;
        for (int32_t j = 0; j < m->desc.d_model; j++) b->sum[j] += (double)hidden[j];
    }
    return HTH_OK;
}

static hth_code run_all(embedding *b, hth_err *err) {
    const hth_model *m = b->engine->model;
    if (!m->desc.causal) return run_chunk(b, NULL, 0, (int32_t)b->n, err);
    hth_state *state;
    hth_state_params params = {.n_ctx = b->n, .k_type = HTH_KV_F32, .v_type = HTH_KV_F32};
    HTH_TRY(hth_state_new(b->engine->executor, m, &params, &state, err));
    hth_code code = HTH_OK;
    for (int64_t row = 0; code == HTH_OK && row < b->n; row += b->chunk) {
        int32_t n = b->n - row < b->chunk ? (int32_t)(b->n - row) : b->chunk;
        code = run_chunk(b, state, row, n, err);
    }
    hth_state_free(state);
    return code;
}

// y = w x + bias in double; `row` is scratch [n_col].
static void apply_head(const hth_weight *w, const float *bias, const double *x, float *row, double *y) {
    for (int64_t r = 0; r < w->n_row; r++) {
        hth_weight_row_f32(w, 0, r, 0, w->n_col, row);
        y[r] = bias ? (double)bias[r] : 0;
        for (int64_t c = 0; c < w->n_col; c++) y[r] += (double)row[c] * x[c];
    }
}

// The classification head: cls, tanh, cls_out; either may be missing.
static hth_code rank(const hth_model *m, const double *pooled, float *out, hth_err *err) {
    int64_t d = m->desc.d_model;
    const hth_weight *cls = &m->cls, *last = &m->cls_out;
    bool has_cls = hth_weight_exists(cls), has_last = hth_weight_exists(last);
    if ((has_cls && cls->n_col != d) || (has_last && last->n_col != (has_cls ? cls->n_row : d))) {
        return hth_fail(err, HTH_ERR_FORMAT, "the classification head does not fit the model's width %lld",
                        (long long)d);
    }
    int64_t n = (has_cls && cls->n_row > d ? cls->n_row : d) + (has_last ? last->n_row : 0);
    double *a = hth_calloc(HTH_MEM_SCRATCH, (size_t)n, 2 * sizeof *a);
    float *row = hth_calloc(HTH_MEM_SCRATCH, (size_t)n, sizeof *row);
    hth_code code = a && row ? HTH_OK : hth_fail_nomem(err, (uint64_t)n * sizeof *a);
    if (code == HTH_OK) {
        double *b = a + n;
        const double *x = pooled;
        if (has_cls) {
            apply_head(cls, m->cls_bias, x, row, a);
            for (int64_t i = 0; i < cls->n_row; i++) a[i] = tanh(a[i]);
            x = a;
        }
        if (has_last) {
            apply_head(last, m->cls_out_bias, x, row, b);
            x = b;
        }
        int64_t n_out = has_last ? last->n_row : cls->n_row;
        for (int64_t i = 0; i < n_out; i++) out[i] = (float)x[i];
    }
    hth_free(a);
    hth_free(row);
    return code;
}

static hth_code finish(const embedding *b, bool normalize, float *out, hth_err *err) {
    const hth_model *m = b->engine->model;
    int32_t d = m->desc.d_model;
    if (b->pooling == HTH_POOL_RANK) return rank(m, b->sum, out, err);
    double scale = b->pooling == HTH_POOL_MEAN ? 1.0 / (double)b->n : 1.0, norm = 0;
    for (int32_t i = 0; i < d; i++) norm += b->sum[i] * scale * b->sum[i] * scale;
    if (!isfinite(norm)) return hth_fail(err, HTH_ERR_INTERNAL, "the embedding is not a number");
    if (normalize && norm > 0) scale /= sqrt(norm);
    for (int32_t i = 0; i < d; i++) out[i] = (float)(b->sum[i] * scale);
    return HTH_OK;
}

static hth_code check(const hth_solo *e, const hth_token *tokens, size_t n, hth_pooling pooling,
                      hth_err *err) {
    const hth_desc *d = &e->model->desc;
    if (n == 0) return hth_fail(err, HTH_ERR_RANGE, "there are no tokens to embed");
    uint64_t limit = d->n_ctx_train > 0 && d->n_ctx_train < INT32_MAX ? (uint64_t)d->n_ctx_train : INT32_MAX;
    if (n > limit) {
        return hth_fail(err, HTH_ERR_LIMIT, "%zu tokens do not fit in the model's context of %llu", n,
                        (unsigned long long)limit);
    }
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] >= 0 && tokens[i] < d->n_vocab) continue;
        return hth_fail(err, HTH_ERR_RANGE, "token %zu is %d; the model's vocabulary has %d", i, tokens[i],
                        d->n_vocab);
    }
    if (pooling == HTH_POOL_RANK && hth_solo_n_embed(e, pooling) == 0) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "the model has no classification head to rank with");
    }
    return HTH_OK;
}

hth_code hth_solo_embed(hth_solo *e, const hth_token *tokens, size_t n, hth_pooling pooling,
                          bool normalize, float *out, hth_err *err) {
    if (pooling == HTH_POOL_NONE) pooling = hth_solo_pooling(e);
    HTH_TRY(check(e, tokens, n, pooling, err));
    const hth_desc *d = &e->model->desc;
    int32_t chunk = d->causal && n > EMBED_CHUNK ? EMBED_CHUNK : (int32_t)n;
    size_t d_model = (size_t)d->d_model, n_hidden = pooling == HTH_POOL_MEAN ? (size_t)chunk : 1;
    embedding b = {.engine = e, .tokens = tokens, .n = (int64_t)n, .pooling = pooling, .chunk = chunk};
    b.rows = hth_calloc(HTH_MEM_SCRATCH, (size_t)chunk, sizeof *b.rows);
    b.sum = hth_calloc(HTH_MEM_SCRATCH, d_model, sizeof *b.sum);
    b.hidden = hth_calloc(HTH_MEM_SCRATCH, n_hidden * d_model, sizeof *b.hidden);
    hth_code code =
        b.rows && b.sum && b.hidden ? HTH_OK : hth_fail_nomem(err, n_hidden * d_model * sizeof *b.hidden);
    if (code == HTH_OK) code = run_all(&b, err);
    if (code == HTH_OK) code = finish(&b, normalize, out, err);
    hth_free(b.rows);
    hth_free(b.sum);
    hth_free(b.hidden);
    return code;
}
