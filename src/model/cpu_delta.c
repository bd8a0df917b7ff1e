// The gated delta rule (arXiv:2412.06464; Qwen3-Next, Qwen 3.5, and with a decay per row Kimi Linear):
//
//   q, k, v = silu(conv(in(x))); q and k become unit vectors, q / sqrt(head_rows)
//   state   = decay * state;  state += k (beta * (v - k' state))';  y = q' state     for each head of values
//   out(norm(y) * act(gate))
//
// A row's numbers lie in s.recurrent. The recurrence runs down the rows for some columns of a state at a time, which
// stay in the first cache; that order of additions is the same for a row of a prompt and one alone.
#include <math.h>
#include <string.h>

#include "model/cpu.h"

// Columns of a state that one task takes down all rows. They lie together, [head_cols / COLUMNS, head_rows, COLUMNS], so
// that 128 rows of them fill two thirds of a first cache; spread over wider rows they would meet in half of its sets.
#define COLUMNS 64

// Where a row's numbers are, in floats from its beginning; those of key head h begin h steps further.
typedef struct layout {
    int64_t q, k, v, gate, step_qk, step_v; // step_v: also of gates
    int64_t beta, decay, step_beta;
    int64_t y;     // the heads' results, [n_head, head_cols]
    int64_t low;   // what the decays are projected from, and as many numbers for the gates; where decays are by row
    int64_t width; // of the whole row
} layout;

static layout lay_out(const hth_recurrent_desc *r, const hth_recurrent_weights *w) {
    const int64_t n_key = r->delta.n_key_head, dk = r->head_rows, per_key = r->n_head / n_key, dv = per_key * r->head_cols;
    const int64_t end = n_key * (2 * dk + 2 * dv), n_decay = r->n_head * (r->delta.decay_by_row ? dk : 1);
    layout l = {.q = 0, .k = n_key * dk, .v = 2 * n_key * dk, .gate = n_key * (2 * dk + dv), .step_qk = dk, .step_v = dv,
                .beta = end, .decay = end + r->n_head, .step_beta = per_key};
    if (w->is_grouped) {
        l = (layout){.k = dk, .v = 2 * dk, .gate = 2 * dk + dv, .step_qk = 2 * dk + 2 * dv, .step_v = 2 * dk + 2 * dv,
                     .beta = end, .decay = end + r->n_head, .step_beta = per_key};
    }
    if (w->beta_is_grouped) {
        l.decay = end + per_key;
        l.step_beta = 2 * per_key;
    }
    l.y = end + r->n_head + n_decay;
    l.low = l.y + n_key * dv;
    l.width = l.low + (r->delta.decay_by_row ? 2 * dk : 0);
    return l;
}

int64_t cpu_delta_width(const hth_recurrent_desc *r) {
    return lay_out(r, &(hth_recurrent_weights){0}).width;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// ---- convolution

// Channels [first, first + n) of the convolution lie behind each other from u on, in every row.
static void convolve(const cpu_thread *t, int32_t layer, float *u, int64_t width, int64_t first, int64_t n) {
    for (int64_t c = 0; c < n; c += CPU_CONV_CHANNELS) {
        const int64_t m = smaller(n - c, CPU_CONV_CHANNELS);
        for (int64_t j = 0; j < t->c->n_row; j++) {
            const int32_t row = t->c->line_rows[j];
            float *x = u + row * width + c;
            cpu_convolve_row(t, layer, row, x, first + c, m);
            t->c->k->act[HTH_ACT_SILU](x, x, m);
        }
    }
}

static void run_convolution(const cpu_thread *t, int32_t layer, const layout *l) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const bool grouped = t->c->model->layers[layer].recurrent.is_grouped;
    const int64_t group = grouped ? r->tail_width / r->delta.n_key_head : r->tail_width; // channels side by side
    cpu_range own;
    hth_team_part(r->tail_width, 16, t->i, t->n, &own.first, &own.last);
    for (int64_t c = own.first; c < own.last;) {
        const int64_t n = smaller(own.last - c, group - c % group);
        convolve(t, layer, t->c->s.recurrent + c / group * l->step_qk * grouped + c % group, l->width, c, n);
        c += n;
    }
}

// ---- what goes into the recurrence

// Unit vectors, scaled. 1e-6 is the authors', added to the sum of squares.
static void normalize(const cpu_thread *t, float *x, int64_t n, double scale) {
    t->c->k->norm_rms(x, x, NULL, n, (float)(1e-6 / (double)n));
    t->c->k->scale(x, x, (float)scale, n);
}

static void prepare_row(const cpu_thread *t, int32_t layer, const layout *l, float *u) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const hth_kernels *k = t->c->k;
    const double root = sqrt((double)r->head_rows);
    const int64_t n_key = r->delta.n_key_head, per_key = r->n_head / n_key;
    const int64_t n_decay = per_key * (r->delta.decay_by_row ? r->head_rows : 1);
    for (int64_t h = 0; h < n_key; h++) {
        normalize(t, u + l->q + h * l->step_qk, r->head_rows, 1 / (root * root));
        normalize(t, u + l->k + h * l->step_qk, r->head_rows, 1 / root);
        float *beta = u + l->beta + h * l->step_beta;
        float *decay = u + l->decay + h * (l->step_beta == per_key ? n_decay : l->step_beta);
        k->act[HTH_ACT_SIGMOID](beta, beta, per_key);
        k->add(decay, decay, w->decay_bias + h * n_decay, n_decay);
        k->act[HTH_ACT_SOFTPLUS](decay, decay, n_decay);
        k->act_mul[HTH_ACT_NONE](decay, decay, w->decay_rate + h * n_decay, n_decay);
        k->act[HTH_ACT_EXP](decay, decay, n_decay);
    }
}

// ---- the recurrence

// Columns [first, first + n) of a head's state, down the rows of a line.
static void run_head(const cpu_thread *t, int32_t layer, const layout *l, const cpu_line *line, int64_t head, int64_t first,
                     int64_t n) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const int64_t per_key = r->n_head / r->delta.n_key_head, n_row = r->head_rows, n_col = r->head_cols;
    const int64_t at = (int64_t)r->tail_rows * r->tail_width + (head * n_col + first) * n_row;
    const int64_t owner = head / per_key, of_owner = head % per_key; // how values, gates and betas are grouped
    const int64_t key = r->delta.keys_alternate ? head % r->delta.n_key_head : owner;
    const int64_t v = l->v + owner * l->step_v + of_owner * n_col + first;
    const int64_t beta = l->beta + owner * l->step_beta + of_owner;
    const int64_t decay = r->delta.decay_by_row ? l->decay + head * n_row : l->decay + owner * l->step_beta + of_owner;
    for (int32_t j = 0; j < line->n; j++) {
        const int32_t i = t->c->line_rows[line->first + j];
        const cpu_row *row = &t->c->rows[i];
        float *u = t->c->s.recurrent + i * l->width;
        t->c->k->delta(hth_state_block(row->state, layer, row->block_to) + at,
                       hth_state_block(row->state, layer, row->block_from) + at, n, u + l->k + key * l->step_qk,
                       u + l->q + key * l->step_qk, u + decay, r->delta.decay_by_row, u + v, u[beta],
                       u + l->y + head * n_col + first, n_row, n);
    }
}

static void run_recurrence(const cpu_thread *t, int32_t layer, const layout *l) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const int64_t per_head = (r->head_cols + COLUMNS - 1) / COLUMNS;
    int64_t first, last;
    hth_team_part(r->n_head * per_head, 1, t->i, t->n, &first, &last);
    for (int64_t task = first; task < last; task++) {
        const int64_t c = task % per_head * COLUMNS;
        for (int32_t i = 0; i < t->c->n_line; i++) {
            run_head(t, layer, l, &t->c->lines[i], task / per_head, c, smaller(r->head_cols - c, COLUMNS));
        }
    }
}

// y = norm(y) * act(gate), for the heads of this thread.
static void finish_heads(const cpu_thread *t, int32_t layer, const layout *l) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const int64_t per_key = r->n_head / r->delta.n_key_head, n = r->head_cols;
    int64_t first, last;
    hth_team_part(t->c->n_row * (int64_t)r->n_head, 1, t->i, t->n, &first, &last);
    for (int64_t i = first; i < last; i++) {
        const int64_t h = i % r->n_head;
        float *u = t->c->s.recurrent + i / r->n_head * l->width, *y = u + l->y + h * n;
        t->c->k->norm_rms(y, y, w->norm, n, t->c->model->desc.norm_eps);
        t->c->k->act_mul[r->delta.gate_act](y, u + l->gate + h / per_key * l->step_v + h % per_key * n, y, n);
    }
}

// Everything that a row is projected to.
static void project(const cpu_thread *t, int32_t i, const layout *l, const float *in) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[i].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[i].recurrent;
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row;
    float *u = t->c->s.recurrent;
    const bool in_two = r->delta.decay_by_row; // decays and gates by way of a few numbers
    const struct {
        const hth_weight *w;
        int64_t at;
    } parts[] = {{&w->in, 0}, {&w->key, l->k}, {&w->value, l->v}, {&w->beta, l->beta},
                 {in_two ? &w->decay_a : &w->decay, in_two ? l->low : l->decay},
                 {in_two ? &w->gate_a : &w->gate, in_two ? l->low + r->head_rows : l->gate}};
    cpu_product p[HTH_COUNT(parts)];
    int n_p = 0;
    for (size_t j = 0; j < HTH_COUNT(parts); j++) {
        if (!hth_weight_exists(parts[j].w)) continue; // a part of another
        p[n_p++] = (cpu_product){.w = parts[j].w, .y = u + parts[j].at, .y_stride = l->width};
    }
    cpu_linear(t, p, n_p, &(cpu_input){in, d, n, t->c->kinds});
    if (!in_two) return;
    const cpu_product decay = {.w = &w->decay, .y = u + l->decay, .y_stride = l->width};
    const cpu_product gate = {.w = &w->gate, .y = u + l->gate, .y_stride = l->width};
    cpu_linear(t, &decay, 1, &(cpu_input){u + l->low, l->width, n, t->c->kinds});
    cpu_linear(t, &gate, 1, &(cpu_input){u + l->low + r->head_rows, l->width, n, t->c->kinds});
}

void cpu_delta(const cpu_thread *t, int32_t i, const float *in, float *out) {
    const hth_recurrent_weights *w = &t->c->model->layers[i].recurrent;
    const layout l = lay_out(&t->c->model->desc.layers[i].recurrent, w);
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row;
    float *u = t->c->s.recurrent;
    project(t, i, &l, in);
    (void)cpu_profile_enter(t, HTH_OP_RECURRENT);
    run_convolution(t, i, &l);
    cpu_barrier(t);
    const cpu_range own = cpu_my_rows(t);
    for (int64_t j = own.first; j < own.last; j++) prepare_row(t, i, &l, u + j * l.width);
    cpu_barrier(t);
    run_recurrence(t, i, &l);
    cpu_barrier(t);
    finish_heads(t, i, &l);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    cpu_barrier(t);
    const cpu_product o = {.w = &w->out, .y = out, .y_stride = d};
    cpu_linear(t, &o, 1, &(cpu_input){u + l.y, l.width, n, t->c->kinds});
}
