// Mamba 2 (arXiv:2405.21060): a convolution over the projected input, then for each head a matrix that decays, takes in
// an outer product, and is read:  S = exp(dt A) S + B (dt x)';  y = C S + D x.  The result is gated, and normed where
// the family does.
#include <math.h>

#include "model/cpu.h"

// Where the parts of a projected row stand: z, then x, B, C (which are convolved), then a step for each head.
typedef struct mamba_parts {
    int64_t d_inner, d_state, width;
    int64_t x, b, c, dt;
} mamba_parts;

static mamba_parts find_parts(const hth_recurrent_desc *r) {
    mamba_parts p = {.d_inner = (int64_t)r->n_head * r->head_cols, .d_state = (int64_t)r->mamba.n_group * r->head_rows};
    p.x = p.d_inner;
    p.b = p.x + p.d_inner;
    p.c = p.b + p.d_state;
    p.dt = p.c + p.d_state;
    p.width = p.dt + r->n_head;
    return p;
}

int64_t cpu_mamba_width(const hth_recurrent_desc *r) {
    return find_parts(r).width;
}

// This thread's channels of x, B and C.
static void convolve(const cpu_thread *t, int32_t layer, const mamba_parts *p) {
    const int64_t n_channel = p->dt - p->x;
    cpu_range own;
    hth_team_part(n_channel, 16, t->i, t->n, &own.first, &own.last);
    for (int64_t c = own.first; c < own.last; c += CPU_CONV_CHANNELS) {
        const int64_t n = own.last - c < CPU_CONV_CHANNELS ? own.last - c : CPU_CONV_CHANNELS;
        for (int32_t j = 0; j < t->c->n_row; j++) { // lines stand behind each other, each in its order
            const int32_t row = t->c->line_rows[j];
            float *x = t->c->s.recurrent + row * p->width + p->x + c;
            cpu_convolve_row(t, layer, row, x, c, n);
            t->c->k->act[HTH_ACT_SILU](x, x, n);
        }
    }
}

// The step of a head: softplus within limits.
static double step_of(const hth_recurrent_desc *r, const hth_recurrent_weights *w, const float *u, int32_t head) {
    const double v = (double)u[head] * (double)r->mamba.in_scale[4] + (double)w->decay_bias[head];
    const double dt = v > 30 ? v : log1p(exp(v));
    return dt < r->mamba.dt_min ? r->mamba.dt_min : dt > r->mamba.dt_max ? r->mamba.dt_max : dt;
}

// One head of one row; y takes the place of x.
static void scan_row(const cpu_thread *t, int32_t layer, const mamba_parts *p, int32_t head, int32_t row) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const cpu_row *cr = &t->c->rows[row];
    const int64_t n = r->head_rows, m = r->head_cols;
    const int64_t at = (int64_t)r->tail_rows * r->tail_width + head * n * m;
    float *u = t->c->s.recurrent + row * p->width, *x = u + p->x + head * m;
    float stepped[HTH_MAX_HEAD_COLS], skip[HTH_MAX_HEAD_COLS];
    const double dt = step_of(r, w, u + p->dt, head);
    const int64_t group = head / (r->n_head / r->mamba.n_group);
    t->c->k->scale(stepped, x, (float)dt, m);
    t->c->k->scale(skip, x, w->skip[head], m);
    t->c->k->scan(hth_state_block(cr->state, layer, cr->block_to) + at, hth_state_block(cr->state, layer, cr->block_from) + at,
                  u + p->b + group * n, u + p->c + group * n, (float)exp(dt * (double)w->decay_rate[head]), n, m, stepped, x);
    t->c->k->add(x, x, skip, m);
}

// A row's norm, part by part.
static void norm_parts(const cpu_thread *t, int32_t layer, const mamba_parts *p, float *y) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const float *w = t->c->model->layers[layer].recurrent.norm;
    const int64_t n = r->mamba.norm_parts > 0 ? p->d_inner / r->mamba.norm_parts : 0;
    for (int32_t i = 0; i < r->mamba.norm_parts; i++) {
        t->c->k->norm_rms(y + i * n, y + i * n, w + i * n, n, t->c->model->desc.norm_eps);
    }
}

static void gate_row(const cpu_thread *t, int32_t layer, const mamba_parts *p, int64_t row) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    float *z = t->c->s.recurrent + row * p->width, *y = z + p->x;
    if (r->mamba.norm_before_gate) norm_parts(t, layer, p, y);
    if (r->mamba.in_scale[0] != 1) t->c->k->scale(z, z, r->mamba.in_scale[0], p->d_inner);
    t->c->k->act_mul[HTH_ACT_SILU](y, z, y, p->d_inner);
    if (!r->mamba.norm_before_gate) norm_parts(t, layer, p, y);
}

void cpu_mamba(const cpu_thread *t, int32_t i, const float *in, float *out) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[i].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[i].recurrent;
    const mamba_parts p = find_parts(r);
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row;
    float *u = t->c->s.recurrent;
    const cpu_product project = {.w = &w->in, .bias = w->in_bias, .y = u, .y_stride = p.width};
    cpu_linear(t, &project, 1, &(cpu_input){in, d, n, t->c->kinds});
    (void)cpu_profile_enter(t, HTH_OP_RECURRENT);
    convolve(t, i, &p);
    cpu_barrier(t); // heads share B and C
    cpu_range own;
    hth_team_part(r->n_head, 1, t->i, t->n, &own.first, &own.last);
    for (int64_t head = own.first; head < own.last; head++) {
        for (int64_t j = 0; j < n; j++) scan_row(t, i, &p, (int32_t)head, t->c->line_rows[j]);
    }
    cpu_barrier(t);
    own = cpu_my_rows(t);
    for (int64_t row = own.first; row < own.last; row++) gate_row(t, i, &p, row);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    cpu_barrier(t);
    const cpu_product project_out = {.w = &w->out, .bias = w->out_bias, .y = out, .y_stride = d};
    cpu_linear(t, &project_out, 1, &(cpu_input){u + p.x, p.width, n, t->c->kinds});
}
