// Mamba 1 (arXiv:2312.00752): a convolution over the projected input x, from which a step, B and C are projected; then
// each channel has a state that decays, takes in and is read:
//
//   s = exp(step A) s + B (step x);  y = C . s + D x;  out(y * silu(gate))
//
// States lie as [state, channels], so that channels are lanes.
#include <string.h>

#include "model/cpu.h"

// Where the parts of a row stand: x and gates as projected, steps, then the numbers for steps, B and C.
typedef struct layout {
    int64_t n_channel, gate, step, low, b, c, width;
} layout;

static layout lay_out(const hth_recurrent_desc *r) {
    layout l = {.n_channel = r->head_cols};
    l.gate = l.n_channel;
    l.step = 2 * l.n_channel;
    l.low = 3 * l.n_channel;
    l.b = l.low + r->mamba1.step_rank;
    l.c = l.b + r->head_rows;
    l.width = l.c + r->head_rows;
    return l;
}

int64_t cpu_mamba1_width(const hth_recurrent_desc *r) {
    return lay_out(r).width;
}

// Channels [first, first + n) of all rows.
typedef void (*channels_fn)(const cpu_thread *t, int32_t layer, const layout *l, int32_t row, int64_t first, int64_t n);

// This thread's channels, some at a time down all rows; lines stand behind each other, each in its order.
static void each_channel(const cpu_thread *t, int32_t layer, const layout *l, channels_fn fn) {
    cpu_range own;
    hth_team_part(l->n_channel, 16, t->i, t->n, &own.first, &own.last);
    for (int64_t c = own.first; c < own.last; c += CPU_CONV_CHANNELS) {
        const int64_t n = own.last - c < CPU_CONV_CHANNELS ? own.last - c : CPU_CONV_CHANNELS;
        for (int32_t j = 0; j < t->c->n_row; j++) fn(t, layer, l, t->c->line_rows[j], c, n);
    }
    cpu_barrier(t);
}

static void convolve(const cpu_thread *t, int32_t layer, const layout *l, int32_t row, int64_t first, int64_t n) {
    float *x = t->c->s.recurrent + row * l->width + first;
    cpu_convolve_row(t, layer, row, x, first, n);
    t->c->k->act[HTH_ACT_SILU](x, x, n);
}

// y takes the place of x.
static void scan(const cpu_thread *t, int32_t layer, const layout *l, int32_t row, int64_t first, int64_t n) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const hth_kernels *k = t->c->k;
    const cpu_row *cr = &t->c->rows[row];
    const int64_t at = (int64_t)r->tail_rows * r->tail_width + first;
    const float *from = hth_state_block(cr->state, layer, cr->block_from) + at;
    float *to = hth_state_block(cr->state, layer, cr->block_to) + at;
    float *u = t->c->s.recurrent + row * l->width, *x = u + first, *step = u + l->step + first;
    float in[CPU_CONV_CHANNELS], s[CPU_CONV_CHANNELS], y[CPU_CONV_CHANNELS];
    k->add(step, step, w->decay_bias + first, n);
    k->act[HTH_ACT_SOFTPLUS](step, step, n);
    k->act_mul[HTH_ACT_NONE](in, step, x, n);
    k->act_mul[HTH_ACT_NONE](y, w->skip + first, x, n);
    for (int32_t i = 0; i < r->head_rows; i++) {
        k->act_mul[HTH_ACT_NONE](s, step, w->decay_rate + i * l->n_channel + first, n);
        k->act[HTH_ACT_EXP](s, s, n);
        k->act_mul[HTH_ACT_NONE](s, s, from + i * l->n_channel, n);
        k->add_scaled(s, in, u[l->b + i], n);
        memcpy(to + i * l->n_channel, s, (size_t)n * sizeof *s);
        k->add_scaled(y, s, u[l->c + i], n);
    }
    k->act_mul[HTH_ACT_SILU](x, u + l->gate + first, y, n);
}

static void norm_row(const cpu_thread *t, int32_t layer, const layout *l, float *u) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const float eps = r->mamba1.norm_eps;
    t->c->k->norm_rms(u + l->low, u + l->low, w->step_norm, r->mamba1.step_rank, eps);
    t->c->k->norm_rms(u + l->b, u + l->b, w->b_norm, r->head_rows, eps);
    t->c->k->norm_rms(u + l->c, u + l->c, w->c_norm, r->head_rows, eps);
}

void cpu_mamba1(const cpu_thread *t, int32_t i, const float *in, float *out) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[i].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[i].recurrent;
    const layout l = lay_out(r);
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row;
    float *u = t->c->s.recurrent;
    const cpu_product project = {.w = &w->in, .bias = w->in_bias, .y = u, .y_stride = l.width};
    cpu_linear(t, &project, 1, &(cpu_input){in, d, n, t->c->kinds});
    (void)cpu_profile_enter(t, HTH_OP_RECURRENT);
    each_channel(t, i, &l, convolve);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    const cpu_product low = {.w = &w->x, .y = u + l.low, .y_stride = l.width};
    cpu_linear(t, &low, 1, &(cpu_input){u, l.width, n, t->c->kinds});
    const cpu_range own = cpu_my_rows(t);
    for (int64_t j = own.first; r->mamba1.normed && j < own.last; j++) norm_row(t, i, &l, u + j * l.width);
    cpu_barrier(t);
    const cpu_product step = {.w = &w->step, .y = u + l.step, .y_stride = l.width};
    cpu_linear(t, &step, 1, &(cpu_input){u + l.low, l.width, n, t->c->kinds});
    (void)cpu_profile_enter(t, HTH_OP_RECURRENT);
    each_channel(t, i, &l, scan);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    const cpu_product o = {.w = &w->out, .bias = w->out_bias, .y = out, .y_stride = d};
    cpu_linear(t, &o, 1, &(cpu_input){u, l.width, n, t->c->kinds});
}
