// The plainest forward pass of a llama-like model, in double, without pages, steps or threads: what the
// executor is compared with. A row sees those before it, and all of its span, that are nearer than the
// window, or not before its chunk.
#ifndef HTH_TEST_PLAIN_H
#define HTH_TEST_PLAIN_H

#include "rig.h"

typedef struct plain_rows {
    const int32_t *token, *span;
    const int64_t *pos;
    int n;
} plain_rows;

static inline double *plain_zeros(int64_t n) {
    double *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

// y [n, w.n_row] = x [n, w.n_col] w'
static inline void plain_matmul(const hth_weight *w, const double *x, int n, double *y) {
    float *row = rig_floats(w->n_col);
    for (int64_t r = 0; r < w->n_row; r++) {
        hth_weight_row_f32(w, 0, r, 0, w->n_col, row);
        for (int i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t c = 0; c < w->n_col; c++) sum += row[c] * x[i * w->n_col + c];
            y[i * w->n_row + r] = sum;
        }
    }
    free(row);
}

static inline void plain_norm(const double *x, const float *w, double eps, int64_t n, double *y) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    for (int64_t i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / (double)n + eps) * w[i];
}

static inline void plain_rotate(double *x, const hth_rope *r, int64_t pos) {
    const int half = r->n_rot / 2;
    for (int i = 0; i < half; i++) {
        const double angle = (double)pos * r->inv_freq[0][i], a = x[i], b = x[i + half];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + half] = b * cos(angle) + a * sin(angle);
    }
}

static inline bool plain_sees(const plain_rows *rows, int i, int j, const hth_attention_desc *a) {
    const int64_t window = a->window;
    const bool together = rows->span && rows->span[i] >= 0 && rows->span[i] == rows->span[j];
    if (a->chunked) return (j <= i || together) && rows->pos[j] / window >= rows->pos[i] / window;
    return (j <= i || together) && (window == 0 || rows->pos[i] - rows->pos[j] < window);
}

// One head of one row over all rows: out [head_dim].
static inline void plain_attend(const plain_rows *rows, const hth_attention_desc *a, int i, int head,
                                const double *q, const double *k, const double *v, double *out) {
    const int dim = a->head_dim, kv = head / (a->n_head / a->n_kv_head);
    double *score = plain_zeros(rows->n), max = -INFINITY, sum = 0;
    for (int j = 0; j < rows->n; j++) {
        score[j] = -INFINITY;
        if (!plain_sees(rows, i, j, a)) continue;
        score[j] = 0;
        for (int d = 0; d < dim; d++) {
            score[j] += q[(i * a->n_head + head) * dim + d] * k[(j * a->n_kv_head + kv) * dim + d] * a->scale;
        }
        max = fmax(max, score[j]);
    }
    for (int j = 0; j < rows->n; j++) sum += exp(score[j] - max);
    for (int j = 0; j < rows->n; j++) {
        const double p = exp(score[j] - max) / sum;
        for (int d = 0; d < dim && p > 0; d++) out[d] += p * v[(j * a->n_kv_head + kv) * dim + d];
    }
    free(score);
}

static inline void plain_attention(const hth_model *m, const plain_rows *rows, int layer, const double *in,
                                   double *out) {
    const hth_attention_desc *a = &m->desc.layers[layer].attn;
    const hth_layer *l = &m->layers[layer];
    const int n = rows->n, dim = a->head_dim;
    double *q = plain_zeros(n * l->q.n_row), *k = plain_zeros(n * l->k.n_row),
           *v = plain_zeros(n * l->v.n_row);
    double *mixed = plain_zeros(n * l->q.n_row);
    plain_matmul(&l->q, in, n, q);
    plain_matmul(&l->k, in, n, k);
    plain_matmul(&l->v, in, n, v);
    for (int i = 0; i < n; i++) {
        const hth_rope *r = &m->desc.rope[a->rope];
        for (int h = 0; h < a->n_head; h++) plain_rotate(q + (i * a->n_head + h) * dim, r, rows->pos[i]);
        for (int h = 0; h < a->n_kv_head; h++)
            plain_rotate(k + (i * a->n_kv_head + h) * dim, r, rows->pos[i]);
    }
    for (int i = 0; i < n; i++) {
        for (int h = 0; h < a->n_head; h++)
            plain_attend(rows, a, i, h, q, k, v, mixed + (i * a->n_head + h) * dim);
    }
    plain_matmul(&l->o, mixed, n, out);
    free(q);
    free(k);
    free(v);
    free(mixed);
}

static inline void plain_ffn(const hth_layer *l, const double *in, int n, double *out) {
    double *gate = plain_zeros(n * l->gate.n_row), *up = plain_zeros(n * l->up.n_row);
    plain_matmul(&l->gate, in, n, gate);
    plain_matmul(&l->up, in, n, up);
    for (int64_t i = 0; i < n * l->up.n_row; i++) up[i] *= gate[i] / (1 + exp(-gate[i]));
    plain_matmul(&l->down, up, n, out);
    free(gate);
    free(up);
}

// Logits [n, n_vocab]; owned by the caller (free).
static inline double *plain_logits(const hth_model *m, const plain_rows *rows) {
    const int n = rows->n;
    const int64_t d = m->desc.d_model;
    double *x = plain_zeros(n * d), *h = plain_zeros(n * d), *y = plain_zeros(n * d);
    double *logits = plain_zeros(n * m->output.n_row);
    float *row = rig_floats(d);
    for (int i = 0; i < n; i++) {
        hth_weight_row_f32(&m->token_embd, 0, rows->token[i], 0, d, row);
        for (int64_t c = 0; c < d; c++) x[i * d + c] = row[c];
    }
    for (int layer = 0; layer < m->desc.n_layer; layer++) {
        const hth_layer *l = &m->layers[layer];
        for (int i = 0; i < n; i++) plain_norm(x + i * d, l->attn_norm, m->desc.norm_eps, d, h + i * d);
        plain_attention(m, rows, layer, h, y);
        for (int64_t i = 0; i < n * d; i++) x[i] += y[i];
        for (int i = 0; i < n; i++) plain_norm(x + i * d, l->ffn_norm, m->desc.norm_eps, d, h + i * d);
        plain_ffn(l, h, n, y);
        for (int64_t i = 0; i < n * d; i++) x[i] += y[i];
    }
    for (int i = 0; i < n; i++) plain_norm(x + i * d, m->output_norm, m->desc.norm_eps, d, h + i * d);
    plain_matmul(&m->output, h, n, logits);
    free(x);
    free(h);
    free(y);
    free(row);
    return logits;
}

#endif
