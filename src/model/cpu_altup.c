// Models that carry several streams per token between layers: AltUp (arXiv:2301.13310), as Gemma 3n has it,
// and its learned residual beside attention, Laurel (arXiv:2411.07501).
//
//   predict: every stream j becomes s_j + sum_i C[i][j] s_i; C depends on stream 0
//   the layer's blocks run on the new stream 0, in cpu_scratch.x, and give f
//   correct: every stream j becomes s_j + c_j (f - s_0);        c depends on f
//
// All of that is arithmetic of one row; only the projections into and out of the streams are matrix products.
#include <float.h>
#include <math.h>
#include <string.h>

#include "model/cpu.h"

// Stream j of row i.
static float *stream(const cpu_thread *t, int64_t i, int32_t j) {
    const hth_desc *d = &t->c->model->desc;
    return t->c->s.streams + (i * d->n_stream + j) * d->d_model;
}

static double root_mean_square(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t c = 0; c < n; c++) sum += (double)x[c] * (double)x[c];
    return sqrt(sum / (double)n);
}

// Gives x the size that `target` has.
static void match_size(const cpu_thread *t, float *x, double target, int64_t n) {
    t->c->k->scale(x, x, (float)(target / fmax(root_mean_square(x, n), FLT_MIN)), n);
}

void cpu_streams_begin(const cpu_thread *t) {
    const hth_model *m = t->c->model;
    const hth_desc *d = &m->desc;
    cpu_product p[HTH_MAX_STREAM - 1];
    for (int32_t j = 1; j < d->n_stream; j++) {
        p[j - 1] = (cpu_product){
            .w = &m->stream_proj[j - 1], .y = stream(t, 0, j), .y_stride = (int64_t)d->n_stream * d->d_model};
    }
    cpu_linear(t, p, d->n_stream - 1, &(cpu_input){t->c->s.x, d->d_model, t->c->n_row, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        const float *x = t->c->s.x + i * d->d_model;
        const double target = root_mean_square(x, d->d_model);
        memcpy(stream(t, i, 0), x, (size_t)d->d_model * sizeof *x);
        for (int32_t j = 1; j < d->n_stream; j++) match_size(t, stream(t, i, j), target, d->d_model);
    }
}

// What the coefficients depend on: tanh(router(norm(x) / d)). out [n_stream], work [d_model].
static void route(const cpu_thread *t, const hth_altup *a, const float *x, float *work, float *out) {
    const hth_desc *d = &t->c->model->desc;
    t->c->k->norm_rms(work, x, a->router_norm, d->d_model, d->norm_eps);
    t->c->k->scale(work, work, 1 / (float)d->d_model, d->d_model);
    t->c->k->gemm_f32(a->router, d->d_model, work, d->d_model, out, d->n_stream, d->n_stream, 1, d->d_model);
    for (int32_t j = 0; j < d->n_stream; j++) out[j] = tanhf(out[j]);
}

// y [n_row] = w [n_row, n_stream] x
static void small_product(const float *w, const float *x, int32_t n_row, int32_t n_stream, float *y) {
    for (int32_t r = 0; r < n_row; r++) {
        y[r] = 0;
        for (int32_t i = 0; i < n_stream; i++) y[r] += w[r * n_stream + i] * x[i];
    }
}

static void predict_row(const cpu_thread *t, const hth_altup *a, int64_t i) {
    const hth_desc *d = &t->c->model->desc;
    const int32_t n = d->n_stream;
    float m[HTH_MAX_STREAM], coef[HTH_MAX_STREAM * HTH_MAX_STREAM]; // coef [to, from]
    route(t, a, stream(t, i, 0), t->c->s.h + i * d->d_model, m);
    small_product(a->predict, m, n * n, n, coef);
    float *s = stream(t, i, 0);
    for (int64_t c = 0; c < d->d_model; c++) {
        float old[HTH_MAX_STREAM];
        for (int32_t j = 0; j < n; j++) old[j] = s[j * (int64_t)d->d_model + c];
        for (int32_t j = 0; j < n; j++) {
            float sum = 0;
            for (int32_t from = 0; from < n; from++) sum += old[from] * coef[j * n + from];
            s[j * (int64_t)d->d_model + c] = old[j] + sum;
        }
    }
}

void cpu_streams_predict(const cpu_thread *t, int32_t layer) {
    const hth_desc *d = &t->c->model->desc;
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        predict_row(t, &t->c->model->layers[layer].altup, i);
        memcpy(t->c->s.x + i * d->d_model, stream(t, i, 0), (size_t)d->d_model * sizeof(float));
    }
}

void cpu_streams_correct(const cpu_thread *t, int32_t layer) {
    const hth_desc *d = &t->c->model->desc;
    const hth_altup *a = &t->c->model->layers[layer].altup;
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float m[HTH_MAX_STREAM], coef[HTH_MAX_STREAM];
        float *x = t->c->s.x + i * d->d_model, *innovation = t->c->s.h + i * d->d_model;
        route(t, a, x, innovation, m);
        small_product(a->correct, m, d->n_stream, d->n_stream, coef);
        const float *active = stream(t, i, 0);
        for (int64_t c = 0; c < d->d_model; c++) innovation[c] = x[c] - active[c];
        for (int32_t j = 0; j < d->n_stream; j++)
            t->c->k->add_scaled(stream(t, i, j), innovation, coef[j] + 1, d->d_model);
        memcpy(x, active, (size_t)d->d_model * sizeof *x);
        for (int64_t c = 0; a->scale && c < d->d_model; c++) x[c] *= a->scale[c];
    }
}

void cpu_streams_add(const cpu_thread *t, int64_t i, const float *branch) {
    const hth_desc *d = &t->c->model->desc;
    for (int32_t j = 1; j < d->n_stream; j++)
        t->c->k->add(stream(t, i, j), stream(t, i, j), branch, d->d_model);
}

// x = mean of stream 0 and the projections of the others, each at stream 0's size.
void cpu_streams_end(const cpu_thread *t) {
    const hth_model *m = t->c->model;
    const hth_desc *d = &m->desc;
    const int64_t n = d->d_model;
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++)
        memcpy(t->c->s.x + i * n, stream(t, i, 0), (size_t)n * sizeof(float));
    for (int32_t j = 1; j < d->n_stream; j++) {
        for (int64_t i = r.first; i < r.last; i++)
            memcpy(t->c->s.h + i * n, stream(t, i, j), (size_t)n * sizeof(float));
        cpu_barrier(t);
        cpu_product p = {.w = &m->stream_unembd[j - 1], .y = t->c->s.branch, .y_stride = n};
        cpu_linear(t, &p, 1, &(cpu_input){t->c->s.h, n, t->c->n_row, t->c->kinds});
        for (int64_t i = r.first; i < r.last; i++) {
            float *b = t->c->s.branch + i * n;
            match_size(t, b, root_mean_square(stream(t, i, 0), n), n);
            t->c->k->add(t->c->s.x + i * n, t->c->s.x + i * n, b, n);
        }
    }
    for (int64_t i = r.first; i < r.last; i++)
        t->c->k->scale(t->c->s.x + i * n, t->c->s.x + i * n, 1 / (float)d->n_stream, n);
}

// in [n, d] -> branch2 = in + norm(right(left(in)))
void cpu_laurel(const cpu_thread *t, int32_t layer, const float *in) {
    const hth_desc *d = &t->c->model->desc;
    const hth_layer *l = &t->c->model->layers[layer];
    const int64_t rank = l->laurel_left.n_row, n = d->d_model;
    cpu_product left = {.w = &l->laurel_left, .y = t->c->s.gate, .y_stride = rank};
    cpu_linear(t, &left, 1, &(cpu_input){in, n, t->c->n_row, t->c->kinds});
    cpu_product right = {.w = &l->laurel_right, .y = t->c->s.branch2, .y_stride = n};
    cpu_linear(t, &right, 1, &(cpu_input){t->c->s.gate, rank, t->c->n_row, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float *b = t->c->s.branch2 + i * n;
        t->c->k->norm_rms(b, b, l->laurel_norm, n, d->norm_eps);
        t->c->k->add(b, b, in + i * n, n);
    }
}

void cpu_add_laurel(const cpu_thread *t) {
    const int64_t n = t->c->model->desc.d_model;
    const cpu_range r = cpu_my_rows(t);
    float *x = t->c->s.x + r.first * n;
    t->c->k->add(x, x, t->c->s.branch2 + r.first * n, (r.last - r.first) * n);
    t->c->k->scale(x, x, sqrtf(0.5f), (r.last - r.first) * n);
}

void cpu_cut_gate(const cpu_thread *t, float cutoff, int64_t d_ff) {
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float *g = t->c->s.gate + i * d_ff;
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < d_ff; c++) sum += g[c];
        const double mean = sum / (double)d_ff;
        for (int64_t c = 0; c < d_ff; c++) squares += (g[c] - mean) * (g[c] - mean);
        const float least = (float)(mean + cutoff * sqrt(squares / (double)d_ff));
        for (int64_t c = 0; c < d_ff; c++) g[c] = g[c] > least ? g[c] - least : 0;
    }
    cpu_barrier(t);
}
