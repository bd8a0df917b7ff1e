// The gated short convolution (LFM2): y = out(c * conv(b * x)), where b, c and x are projections of the input.
#include "model/cpu.h"

// Channels [first, first + n) of one row. u [3 * d]: b, c, x; the result takes x's place.
static void convolve(const cpu_thread *t, int32_t layer, int32_t row, float *u, int64_t first, int64_t n) {
    const int64_t d = t->c->model->desc.d_model;
    const float *b = u + first, *c = u + d + first;
    float *x = u + 2 * d + first;
    t->c->k->act_mul[HTH_ACT_NONE](x, b, x, n);
    cpu_convolve_row(t, layer, row, x, first, n);
    t->c->k->act_mul[HTH_ACT_NONE](x, c, x, n);
}

void cpu_short_conv(const cpu_thread *t, int32_t i, const float *in, float *out) {
    const hth_recurrent_weights *w = &t->c->model->layers[i].recurrent;
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row;
    float *u = t->c->s.recurrent;
    const cpu_product p = {.w = &w->in, .bias = w->in_bias, .y = u, .y_stride = 3 * d};
    cpu_linear(t, &p, 1, &(cpu_input){in, d, n, t->c->kinds});
    (void)cpu_profile_enter(t, HTH_OP_RECURRENT);
    cpu_range own;
    hth_team_part(d, 16, t->i, t->n, &own.first, &own.last);
    for (int64_t c = own.first; c < own.last; c += CPU_CONV_CHANNELS) {
        const int64_t m = own.last - c < CPU_CONV_CHANNELS ? own.last - c : CPU_CONV_CHANNELS;
        // Lines stand behind each other, each in its order.
        for (int64_t j = 0; j < n; j++) convolve(t, i, t->c->line_rows[j], u + t->c->line_rows[j] * 3 * d, c, m);
    }
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    cpu_barrier(t);
    const cpu_product o = {.w = &w->out, .bias = w->out_bias, .y = out, .y_stride = d};
    cpu_linear(t, &o, 1, &(cpu_input){u + 2 * d, 3 * d, n, t->c->kinds});
}
