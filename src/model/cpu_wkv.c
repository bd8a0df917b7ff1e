// RWKV-7 (arXiv:2503.14456). Everything is projected from a mixture of a row's input with that of the row before:
//
//   q, k, v = R x_q, K x_k, V x_v;  decay = e^(-e^-0.5 sigmoid(w));  w, beta, gate by way of a few numbers each
//   v += (v of layer 0 - v) * sigmoid(mix)
//   u = unit(k * key_unit);  k *= 1 + (sigmoid(beta) - 1) * key_beta
//   state = decay * state + k v' - (sigmoid(beta) u) (u' state);  y = q' state           for each head
//   out((norm(y) + (q . (bonus * k)) v) * gate)
//
// The feed-forward mixes its input in the same way. Both inputs of the latest row are the tail of the layer's block.
#include <math.h>
#include <string.h>

#include "model/cpu.h"

#define DECAY_SCALE (-0.606531f)  // -e^-0.5, as published
#define HEAD_NORM_EPS 64e-5f      // of the norm of heads, as published
enum { N_MIX = 6, N_SLOT = 9 };   // mixtures; rows of d numbers that a row of the batch needs

// A row's numbers are slots of d numbers, reused as their contents are no longer needed, and then the few numbers that
// others are projected from.
typedef enum slot {
    MIX_Q, MIX_DECAY, MIX_K, MIX_V, MIX_BETA, MIX_GATE, // cpu.h's order of shift
    QUERY,
    OUT,
    FIRST_V, // values of the first layer, kept through all layers of a step
    KEY = MIX_Q,
    VALUE = MIX_K,
    DECAY = MIX_DECAY,
    BETA = MIX_BETA, // then what is taken out of the state
    GATE = MIX_GATE,
    FIRST_PART = MIX_V, // then the unit keys
    UNIT = MIX_V,
} slot;

typedef struct layout {
    int64_t d, low_decay, low_beta, low_value, low_gate, width;
} layout;

static layout lay_out(const hth_recurrent_desc *r) {
    layout l = {.d = (int64_t)r->n_head * r->head_cols};
    l.low_decay = N_SLOT * l.d;
    l.low_beta = l.low_decay + r->wkv.rank_decay;
    l.low_value = l.low_beta + r->wkv.rank_beta;
    l.low_gate = l.low_value + r->wkv.rank_value;
    l.width = l.low_gate + r->wkv.rank_gate;
    return l;
}

int64_t cpu_wkv_width(const hth_recurrent_desc *r) {
    return lay_out(r).width;
}

// ---- mixing with the row before

// to = x + (x before - x) * w in channels [first, last), `n` times for weights d apart.
static void mix(const float *x, const float *before, const float *w, int64_t d, int n, int64_t first, int64_t last, float *to) {
    for (int j = 0; j < n; j++) {
        for (int64_t c = first; c < last; c++) to[j * d + c] = x[c] + (before[c] - x[c]) * w[j * d + c];
    }
}

// All rows in the order of their lines, for this thread's channels. Row `tail` of a block holds the row before.
static void shift_rows(const cpu_thread *t, int32_t layer, int tail, const float *in, const float *w, int n, float *to,
                       int64_t to_stride) {
    const int64_t d = t->c->model->desc.d_model;
    cpu_range own;
    hth_team_part(d, 16, t->i, t->n, &own.first, &own.last);
    for (int32_t j = 0; j < t->c->n_row; j++) {
        const int32_t i = t->c->line_rows[j];
        const cpu_row *row = &t->c->rows[i];
        const float *x = in + i * d;
        mix(x, hth_state_block(row->state, layer, row->block_from) + tail * d, w, d, n, own.first, own.last, to + i * to_stride);
        memcpy(hth_state_block(row->state, layer, row->block_to) + tail * d + own.first, x + own.first,
               (size_t)(own.last - own.first) * sizeof *x);
    }
    cpu_barrier(t);
}

const float *cpu_shift_ffn(const cpu_thread *t, int32_t layer, const float *in) {
    const float *w = t->c->model->layers[layer].recurrent.ffn_shift;
    shift_rows(t, layer, 1, in, w, 1, t->c->s.branch2, t->c->model->desc.d_model);
    return t->c->s.branch2;
}

// ---- projections

static void multiply(const cpu_thread *t, const layout *l, const hth_weight *w, int64_t from, int64_t to) {
    const cpu_product p = {.w = w, .y = t->c->s.recurrent + to, .y_stride = l->width};
    cpu_linear(t, &p, 1, &(cpu_input){t->c->s.recurrent + from, l->width, t->c->n_row, t->c->kinds});
}

// tanh, as the sigmoid that the kernels have: 2 / (1 + e^-2x) - 1.
static void apply_tanh(const hth_kernels *k, float *x, int64_t n) {
    k->scale(x, x, 2, n);
    k->act[HTH_ACT_SIGMOID](x, x, n);
    for (int64_t i = 0; i < n; i++) x[i] = 2 * x[i] - 1;
}

static void activate_low(const cpu_thread *t, const layout *l, const hth_wkv_desc *r) {
    const cpu_range own = cpu_my_rows(t);
    for (int64_t i = own.first; i < own.last; i++) {
        float *u = t->c->s.recurrent + i * l->width;
        apply_tanh(t->c->k, u + l->low_decay, r->rank_decay);
        t->c->k->act[HTH_ACT_SIGMOID](u + l->low_gate, u + l->low_gate, r->rank_gate);
    }
    cpu_barrier(t);
}

static void project(const cpu_thread *t, int32_t layer, const layout *l) {
    const hth_wkv_desc *r = &t->c->model->desc.layers[layer].recurrent.wkv;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    multiply(t, l, &w->in, MIX_Q * l->d, QUERY * l->d);
    multiply(t, l, &w->key, MIX_K * l->d, KEY * l->d);
    multiply(t, l, &w->value, MIX_V * l->d, VALUE * l->d);
    if (!r->is_first) multiply(t, l, &w->value_mix_a, MIX_V * l->d, l->low_value);
    multiply(t, l, &w->decay_a, MIX_DECAY * l->d, l->low_decay);
    multiply(t, l, &w->beta_a, MIX_BETA * l->d, l->low_beta);
    multiply(t, l, &w->gate_a, MIX_GATE * l->d, l->low_gate);
    activate_low(t, l, r);
    multiply(t, l, &w->decay, l->low_decay, DECAY * l->d);
    multiply(t, l, &w->beta, l->low_beta, BETA * l->d);
    multiply(t, l, &w->gate, l->low_gate, GATE * l->d);
    if (!r->is_first) multiply(t, l, &w->value_mix, l->low_value, FIRST_PART * l->d);
}

// ---- rows around the recurrence

static void take_first_values(const hth_kernels *k, const hth_recurrent_weights *w, const layout *l, float *u) {
    float *part = u + FIRST_PART * l->d, *v = u + VALUE * l->d;
    const float *first = u + FIRST_V * l->d;
    k->add(part, part, w->value_mix_bias, l->d);
    k->act[HTH_ACT_SIGMOID](part, part, l->d);
    for (int64_t c = 0; c < l->d; c++) v[c] += (first[c] - v[c]) * part[c];
}

// Unit keys, betas times these, and the keys that values are put under.
static void prepare_keys(const hth_kernels *k, const hth_recurrent_desc *r, const hth_recurrent_weights *w, const layout *l,
                         float *u) {
    float *key = u + KEY * l->d, *beta = u + BETA * l->d, *unit = u + UNIT * l->d;
    const int64_t n = r->head_cols;
    for (int64_t c = 0; c < l->d; c++) unit[c] = key[c] * w->key_unit[c];
    for (int32_t h = 0; h < r->n_head; h++) { // the epsilon keeps heads of zeros from becoming no numbers
        k->norm_rms(unit + h * n, unit + h * n, NULL, n, 1e-24f / (float)n);
        k->scale(unit + h * n, unit + h * n, (float)(1 / sqrt((double)n)), n);
    }
    for (int64_t c = 0; c < l->d; c++) {
        key[c] *= 1 + (beta[c] - 1) * w->key_beta[c];
        beta[c] *= unit[c];
    }
}

static void prepare_row(const cpu_thread *t, int32_t layer, const layout *l, float *u) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const hth_kernels *k = t->c->k;
    float *decay = u + DECAY * l->d, *beta = u + BETA * l->d;
    k->add(decay, decay, w->decay_bias, l->d);
    k->act[HTH_ACT_SIGMOID](decay, decay, l->d);
    k->scale(decay, decay, DECAY_SCALE, l->d);
    k->act[HTH_ACT_EXP](decay, decay, l->d);
    k->add(beta, beta, w->beta_bias, l->d);
    k->act[HTH_ACT_SIGMOID](beta, beta, l->d);
    if (r->wkv.is_first) {
        memcpy(u + FIRST_V * l->d, u + VALUE * l->d, (size_t)l->d * sizeof *u);
    } else {
        take_first_values(k, w, l, u);
    }
    prepare_keys(k, r, w, l, u);
}

static void finish_row(const cpu_thread *t, int32_t layer, const layout *l, float *u) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const int64_t n = r->head_cols;
    for (int64_t at = 0; at < l->d; at += n) {
        const float *q = u + QUERY * l->d + at, *key = u + KEY * l->d + at;
        float *y = u + OUT * l->d + at, own = 0;
        t->c->k->norm_layer(y, y, w->norm + at, w->norm_bias + at, n, HEAD_NORM_EPS);
        for (int64_t c = 0; c < n; c++) own += q[c] * key[c] * w->bonus[at + c];
        t->c->k->add_scaled(y, u + VALUE * l->d + at, own, n);
    }
    t->c->k->act_mul[HTH_ACT_NONE](u + OUT * l->d, u + GATE * l->d, u + OUT * l->d, l->d);
}

// Each thread takes some heads down all rows.
static void run_recurrence(const cpu_thread *t, int32_t layer, const layout *l) {
    const hth_recurrent_desc *r = &t->c->model->desc.layers[layer].recurrent;
    const int64_t n = r->head_cols;
    cpu_range own;
    hth_team_part(r->n_head, 1, t->i, t->n, &own.first, &own.last);
    for (int64_t h = own.first; h < own.last; h++) {
        for (int32_t j = 0; j < t->c->n_row; j++) {
            const int32_t i = t->c->line_rows[j];
            const cpu_row *row = &t->c->rows[i];
            const int64_t at = (int64_t)r->tail_rows * r->tail_width + h * n * n;
            float *u = t->c->s.recurrent + i * l->width + h * n;
            t->c->k->wkv(hth_state_block(row->state, layer, row->block_to) + at,
                         hth_state_block(row->state, layer, row->block_from) + at, n, u + UNIT * l->d, u + BETA * l->d,
                         u + KEY * l->d, u + DECAY * l->d, u + QUERY * l->d, u + VALUE * l->d, u + OUT * l->d, n, n);
        }
    }
    cpu_barrier(t);
}

void cpu_wkv(const cpu_thread *t, int32_t i, const float *in, float *out) {
    const hth_recurrent_weights *w = &t->c->model->layers[i].recurrent;
    const layout l = lay_out(&t->c->model->desc.layers[i].recurrent);
    float *u = t->c->s.recurrent;
    shift_rows(t, i, 0, in, w->shift, N_MIX, u, l.width);
    project(t, i, &l);
    (void)cpu_profile_enter(t, HTH_OP_RECURRENT);
    const cpu_range own = cpu_my_rows(t);
    for (int64_t j = own.first; j < own.last; j++) prepare_row(t, i, &l, u + j * l.width);
    cpu_barrier(t);
    run_recurrence(t, i, &l);
    for (int64_t j = own.first; j < own.last; j++) finish_row(t, i, &l, u + j * l.width);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    cpu_barrier(t);
    const cpu_product o = {.w = &w->out, .y = out, .y_stride = l.d};
    cpu_linear(t, &o, 1, &(cpu_input){u + OUT * l.d, l.width, t->c->n_row, t->c->kinds});
}
