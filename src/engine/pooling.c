// Pooling in double, and the classification heads of rerankers.
#include "engine/pooling.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"", "mean", "cls", "last", "rank"};

bool hth_pooling_find(const char *name, hth_pooling *out) {
    for (int i = 1; i < (int)HTH_COUNT(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (hth_pooling)i;
        return true;
    }
    return false;
}

hth_pooling hth_pooling_of(const hth_model *m, hth_pooling wish) {
    if (wish != HTH_POOL_NONE) return wish;
    if (m->desc.pooling != HTH_POOL_NONE) return m->desc.pooling;
    return m->desc.causal ? HTH_POOL_LAST : HTH_POOL_MEAN;
}

int32_t hth_pooling_width(const hth_model *m, hth_pooling pooling) {
    if (pooling != HTH_POOL_RANK) return m->desc.d_model;
    const hth_weight *last = hth_weight_exists(&m->cls_out) ? &m->cls_out : &m->cls;
    return hth_weight_exists(last) ? (int32_t)last->n_row : 0;
}

hth_code hth_pooled_init(hth_pooled *p, const hth_model *m, hth_pooling pooling, int64_t n, hth_err *err) {
    *p = (hth_pooled){.pooling = pooling, .n = n};
    p->sum = hth_calloc(HTH_MEM_ENGINE, (size_t)m->desc.d_model, sizeof *p->sum);
    return p->sum ? HTH_OK : hth_fail_nomem(err, (uint64_t)m->desc.d_model * sizeof *p->sum);
}

void hth_pooled_free(hth_pooled *p) {
    hth_free(p->sum);
    p->sum = NULL;
}

bool hth_pooled_wants(const hth_pooled *p, const hth_model *m, int64_t row) {
    switch (p->pooling) {
    case HTH_POOL_MEAN: return true;
    case HTH_POOL_LAST: return row == p->n - 1;
    // A causal model's first row has seen nothing: its classification head reads the last.
    case HTH_POOL_RANK: return row == (m->desc.causal ? p->n - 1 : 0);
    default: return row == 0;
    }
}

void hth_pooled_add(hth_pooled *p, const hth_model *m, const float *hidden, int32_t n_row) {
    const int32_t d = m->desc.d_model;
    for (int32_t i = 0; i < n_row; i++) {
        for (int32_t j = 0; j < d; j++) p->sum[j] += (double)hidden[(size_t)i * (size_t)d + (size_t)j];
    }
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

hth_code hth_pooled_finish(const hth_pooled *p, const hth_model *m, bool normalize, float *out, hth_err *err) {
    const int32_t d = m->desc.d_model;
    if (p->pooling == HTH_POOL_RANK) return rank(m, p->sum, out, err);
    double scale = p->pooling == HTH_POOL_MEAN ? 1.0 / (double)p->n : 1.0, norm = 0;
    for (int32_t i = 0; i < d; i++) norm += p->sum[i] * scale * p->sum[i] * scale;
    if (!isfinite(norm)) return hth_fail(err, HTH_ERR_NUMBERS, "the embedding is not a number");
    if (normalize && norm > 0) scale /= sqrt(norm);
    for (int32_t i = 0; i < d; i++) out[i] = (float)(p->sum[i] * scale);
    return HTH_OK;
}
