// What recurrent mixers share: which one runs, and the causal convolution by channel.
#include <string.h>

#include "model/cpu.h"

int64_t cpu_recurrent_width(const hth_recurrent_desc *r) {
    switch (r->kind) {
    case HTH_RECURRENT_CONV: return 3 * (int64_t)r->tail_width;
    case HTH_RECURRENT_DELTA: return cpu_delta_width(r);
    case HTH_RECURRENT_MAMBA1: return cpu_mamba1_width(r);
    case HTH_RECURRENT_MAMBA2: return cpu_mamba_width(r);
    case HTH_RECURRENT_WKV: return cpu_wkv_width(r);
    case HTH_RECURRENT_NONE: break;
    }
    return 0;
}

void cpu_recurrent(const cpu_thread *t, int32_t i, const float *in, float *out) {
    switch (t->c->model->desc.layers[i].recurrent.kind) {
    case HTH_RECURRENT_CONV: cpu_short_conv(t, i, in, out); break;
    case HTH_RECURRENT_DELTA: cpu_delta(t, i, in, out); break;
    case HTH_RECURRENT_MAMBA1: cpu_mamba1(t, i, in, out); break;
    case HTH_RECURRENT_MAMBA2: cpu_mamba(t, i, in, out); break;
    case HTH_RECURRENT_WKV: cpu_wkv(t, i, in, out); break;
    case HTH_RECURRENT_NONE: break;
    }
}

// The tail is [tail_rows, tail_width] at the beginning of a block. The row's block may be the one that it reads.
void cpu_convolve_row(const cpu_thread *t, int32_t layer, int32_t row, float *x, int64_t first, int64_t n) {
    const hth_recurrent_desc *d = &t->c->model->desc.layers[layer].recurrent;
    const hth_recurrent_weights *w = &t->c->model->layers[layer].recurrent;
    const cpu_row *r = &t->c->rows[row];
    const float *from = hth_state_block(r->state, layer, r->block_from) + first;
    float *to = hth_state_block(r->state, layer, r->block_to) + first;
    float now[CPU_CONV_CHANNELS];
    memcpy(now, x, (size_t)n * sizeof *now);
    t->c->k->conv(x, now, from, d->tail_width, w->conv + first, d->tail_width, w->conv_bias ? w->conv_bias + first : NULL,
                  d->tail_rows, n);
    for (int32_t j = 0; j < d->tail_rows; j++) {
        const float *next = j + 1 < d->tail_rows ? from + (int64_t)(j + 1) * d->tail_width : now;
        memcpy(to + (int64_t)j * d->tail_width, next, (size_t)n * sizeof *to);
    }
}
