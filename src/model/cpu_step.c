// The forward pass on the CPU: every thread walks the layer list together. Matrix products split by output
// rows, everything else by batch rows; a barrier stands where the next operation reads what other threads wrote.
#include <math.h>
#include <string.h>

#include "model/cpu.h"
#include "model/rope.h"

static void norm(const cpu_thread *t, hth_norm_kind kind, float *dst, const float *x, const float *w, const float *b,
                 int64_t n) {
    float eps = t->c->model->desc.norm_eps;
    if (kind == HTH_NORM_RMS) {
        t->c->k->norm_rms(dst, x, w, n, eps);
    } else if (kind == HTH_NORM_LAYER) {
        t->c->k->norm_layer(dst, x, w, b, n, eps);
    } else if (dst != x) {
        memcpy(dst, x, (size_t)n * sizeof *dst);
    }
}

// ---- into the first layer

static void add_row(const cpu_thread *t, const hth_weight *w, int64_t row, float *work, float *x) {
    cpu_weight_row(t->c->k, w, 0, row, work);
    t->c->k->add(x, x, work, w->n_col);
}

static void embed_row(const cpu_thread *t, int64_t i) {
    const hth_model *m = t->c->model;
    const hth_desc *d = &m->desc;
    const hth_row *row = &t->c->step->batch.rows[i];
    float *x = t->c->s.x + i * d->d_model, *work = t->c->s.branch + i * d->d_model;
    if (row->token < 0) {
        memcpy(x, t->c->step->batch.embd + (int64_t)row->i_embd * d->d_model, (size_t)d->d_model * sizeof *x);
    } else {
        const hth_linear_hook *hook = t->c->step->hook;
        cpu_weight_row(t->c->k, &m->token_embd, 0, row->token, x);
        if (hook && hook->embed) hook->embed(hook->user, row->i_seq, row->token, x);
        if (d->embd_scale != 1) t->c->k->scale(x, x, d->embd_scale, d->d_model);
    }
    if (hth_weight_exists(&m->type_embd)) add_row(t, &m->type_embd, row->type, work, x);
    if (hth_weight_exists(&m->pos_embd)) add_row(t, &m->pos_embd, row->pos[0], work, x);
    if (m->embd_norm) norm(t, d->norm, x, x, m->embd_norm, m->embd_norm_bias, d->d_model);
}

// A predictor reads two things of each row: its token's embedding, and what the model made of the token before.
static void combine(const cpu_thread *t) {
    const hth_model *m = t->c->model;
    const int64_t d = m->desc.d_model;
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        const float *hidden = t->c->step->batch.embd + (int64_t)t->c->step->batch.rows[i].i_embd * d;
        float *pair = t->c->s.pair + i * 2 * d;
        norm(t, m->desc.norm, pair, t->c->s.x + i * d, m->combine_embd_norm, NULL, d);
        norm(t, m->desc.norm, pair + d, hidden, m->combine_hidden_norm, NULL, d);
    }
    cpu_barrier(t);
    const cpu_product p = {.w = &m->combine, .y = t->c->s.x, .y_stride = d};
    cpu_linear(t, &p, 1, &(cpu_input){t->c->s.pair, 2 * d, t->c->n_row, t->c->kinds});
}

// Gemma 3n and 4: each layer gets an input of its own, half from a second embedding table, half projected
// from the embedding.
static void prepare_per_layer(const cpu_thread *t) {
    const hth_model *m = t->c->model;
    const hth_desc *d = &m->desc;
    if (d->d_per_layer == 0) return;
    const int64_t width = (int64_t)d->n_layer * d->d_per_layer;
    cpu_product p = {.w = &m->per_layer_model_proj, .y = t->c->s.per_layer, .y_stride = width};
    cpu_linear(t, &p, 1, &(cpu_input){t->c->s.x, d->d_model, t->c->n_row, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    float *work = t->c->s.panels + (size_t)t->i * t->c->s.panel_len;
    for (int64_t i = r.first; i < r.last; i++) {
        const hth_row *row = &t->c->step->batch.rows[i];
        float *y = t->c->s.per_layer + i * width;
        t->c->k->scale(y, y, 1 / sqrtf((float)d->d_model), width);
        for (int32_t l = 0; l < d->n_layer; l++) {
            float *part = y + (int64_t)l * d->d_per_layer;
            t->c->k->norm_rms(part, part, m->per_layer_proj_norm, d->d_per_layer, d->norm_eps);
        }
        const float *extra = NULL;
        if (row->token >= 0) {
            cpu_weight_row(t->c->k, &m->per_layer_embd, 0, row->token < d->n_vocab_per_layer ? row->token : 0, work);
            t->c->k->scale(work, work, sqrtf((float)d->d_per_layer), width);
            extra = work;
        } else if (t->c->step->batch.per_layer) {
            extra = t->c->step->batch.per_layer + (int64_t)row->i_embd * width;
        }
        if (!extra) continue;
        t->c->k->add(y, y, extra, width);
        t->c->k->scale(y, y, sqrtf(0.5f), width);
    }
}

static void prepare_angles(const cpu_thread *t) {
    const hth_desc *d = &t->c->model->desc;
    const cpu_range r = cpu_my_rows(t);
    for (int32_t j = 0; j < d->n_rope; j++) {
        for (int64_t i = r.first; i < r.last; i++) {
            int64_t at = ((int64_t)j * t->c->n_row + i) * (t->c->s.n_rot_max / 2);
            hth_rope_angles(&d->rope[j], t->c->step->batch.rows[i].pos[0], t->c->rows[i].state->n_ctx,
                            t->c->s.cos_ + at, t->c->s.sin_ + at);
        }
    }
}

// What passes between layers and ranges of them: [n, n_stream, d].
static float *carried(const cpu_thread *t) {
    return t->c->model->desc.n_stream > 1 ? t->c->s.streams : t->c->s.x;
}

static void begin(const cpu_thread *t) {
    const hth_desc *d = &t->c->model->desc;
    const int64_t width = (int64_t)d->n_stream * d->d_model;
    const cpu_range r = cpu_my_rows(t);
    prepare_angles(t);
    if (t->c->step->layer_first == 0 || d->d_per_layer > 0) {
        for (int64_t i = r.first; i < r.last; i++) embed_row(t, i);
        if (hth_weight_exists(&t->c->model->combine)) combine(t);
        cpu_barrier(t);
        prepare_per_layer(t);
    }
    if (t->c->step->layer_first > 0) {
        memcpy(carried(t) + r.first * width, t->c->step->hidden_in + r.first * width,
               (size_t)((r.last - r.first) * width) * sizeof(float));
    } else if (d->n_stream > 1) {
        cpu_streams_begin(t);
    }
}

// ---- attention block

static void norm_heads(const cpu_thread *t, const hth_attention_desc *a, float *x, int32_t n_head, const float *w,
                       const float *b) {
    if ((!w && !a->qk_norm_no_weight) || a->qk_norm == HTH_QK_NORM_NONE) return;
    if (a->qk_norm == HTH_QK_NORM_ALL) {
        norm(t, a->qk_norm_kind, x, x, w, b, (int64_t)n_head * a->head_dim);
        return;
    }
    for (int32_t h = 0; h < n_head; h++) {
        const int64_t off = a->qk_norm_per_head_weight ? (int64_t)h * a->head_dim : 0;
        float *head = x + (int64_t)h * a->head_dim;
        norm(t, a->qk_norm_kind, head, head, w ? w + off : NULL, b ? b + off : NULL, a->head_dim);
    }
}

static void rotate_heads(const cpu_thread *t, const hth_attention_desc *a, int64_t i, float *x, int32_t n_head) {
    if (a->rope < 0) return;
    const hth_rope *r = &t->c->model->desc.rope[a->rope];
    const int64_t at = ((int64_t)a->rope * t->c->n_row + i) * (t->c->s.n_rot_max / 2);
    for (int32_t h = 0; h < n_head; h++) {
        t->c->k->rope[r->pairing](x + (int64_t)h * a->head_dim, t->c->s.cos_ + at, t->c->s.sin_ + at, r->n_rot);
    }
}

static void norm_and_rotate(const cpu_thread *t, const hth_attention_desc *a, int64_t i, float *x, int32_t n_head,
                            const float *w, const float *b) {
    if (!a->qk_norm_after_rope) norm_heads(t, a, x, n_head, w, b);
    rotate_heads(t, a, i, x, n_head);
    if (a->qk_norm_after_rope) norm_heads(t, a, x, n_head, w, b);
}

static void store_kv(const cpu_thread *t, int32_t layer, int64_t i, const float *k, const float *v) {
    const hth_attention_desc *a = &t->c->model->desc.layers[layer].attn;
    const cpu_row *row = &t->c->rows[i];
    const hth_layer_state *l = &row->state->layers[layer];
    for (int32_t h = 0; h < a->n_kv_head; h++) {
        t->c->k->kv_store[row->state->k_type](hth_state_k(l, h, row->slot), k + (int64_t)h * a->head_dim, a->head_dim);
        t->c->k->kv_store[row->state->v_type](hth_state_v(l, h, row->slot), v + (int64_t)h * a->head_dim_v,
                                              a->head_dim_v);
    }
}

// Undoes the mixing of stored values in what attention made of them, for the rows of this thread.
static void unmix_heads(const cpu_thread *t, const hth_attention_desc *a) {
    const cpu_range r = cpu_my_rows(t);
    const int64_t n = (int64_t)a->n_head * a->head_dim_v;
    for (int64_t i = r.first; i < r.last; i++) {
        if (hth_kv_is_mixed(t->c->rows[i].state->v_type)) hth_hadamard(t->c->s.attn + i * n, n, a->head_dim_v);
    }
    cpu_barrier(t);
}

// Where a head's query and behind it its gate were projected to.
static float *gated_query(const cpu_thread *t, const hth_attention_desc *a, int64_t i, int32_t h) {
    return t->c->s.recurrent + 2 * (i * a->n_head + h) * a->head_dim;
}

// attn *= sigmoid(gate), for the rows of this thread; ends with a barrier.
static void gate_heads(const cpu_thread *t, const hth_attention_desc *a) {
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        for (int32_t h = 0; h < a->n_head; h++) {
            float *y = t->c->s.attn + (i * a->n_head + h) * a->head_dim;
            t->c->k->act_mul[HTH_ACT_SIGMOID](y, gated_query(t, a, i, h) + a->head_dim, y, a->head_dim);
        }
    }
    cpu_barrier(t);
}

void cpu_scale_query(const cpu_thread *t, const hth_attention_desc *a, int64_t i, float *q, int64_t n) {
    if (a->pos_scale_beta == 0) return;
    const int64_t pos = t->c->step->batch.rows[i].pos[0] + a->pos_scale_offset;
    const double turns = floor((double)pos / (double)a->pos_scale_n_orig);
    t->c->k->scale(q, q, (float)(1 + (double)a->pos_scale_beta * log(1 + turns)), n);
}

// Norms, rotation and storing of one row's query, key and value.
static void prepare_qkv(const cpu_thread *t, int32_t layer, int64_t i) {
    const hth_attention_desc *a = &t->c->model->desc.layers[layer].attn;
    const hth_layer *l = &t->c->model->layers[layer];
    const hth_kernels *kern = t->c->k;
    const int64_t n_q = (int64_t)a->n_head * a->head_dim, n_k = (int64_t)a->n_kv_head * a->head_dim;
    const int64_t n_v = (int64_t)a->n_kv_head * a->head_dim_v;
    float *q = t->c->s.q + i * n_q, *k = t->c->s.k + i * n_k, *v = t->c->s.v + i * n_v;
    for (int32_t h = 0; a->gated && h < a->n_head; h++) {
        memcpy(q + (int64_t)h * a->head_dim, gated_query(t, a, i, h), (size_t)a->head_dim * sizeof *q);
    }
    norm_and_rotate(t, a, i, q, a->n_head, l->q_norm, l->q_norm_bias);
    cpu_scale_query(t, a, i, q, n_q);
    const hth_state *state = t->c->rows[i].state;
    if (hth_kv_is_mixed(state->k_type)) hth_hadamard(q, n_q, a->head_dim);
    if (a->kv_layer != layer) return;
    if (a->v_is_k) memcpy(v, k, (size_t)n_v * sizeof *v);
    for (int32_t h = 0; a->v_norm && h < a->n_kv_head; h++) {
        float *head = v + (int64_t)h * a->head_dim_v;
        kern->norm_rms(head, head, NULL, a->head_dim_v, t->c->model->desc.norm_eps);
    }
    if (a->v_scale != 0) kern->scale(v, v, a->v_scale, n_v);
    norm_and_rotate(t, a, i, k, a->n_kv_head, l->k_norm, l->k_norm_bias);
    if (hth_kv_is_mixed(state->k_type)) hth_hadamard(k, n_k, a->head_dim);
    if (hth_kv_is_mixed(state->v_type)) hth_hadamard(v, n_v, a->head_dim_v);
    store_kv(t, layer, i, k, v);
}

// in [n, d] -> s.attn [n, n_head * head_dim_v]
static void attend(const cpu_thread *t, int32_t layer, const float *in) {
    const hth_attention_desc *a = &t->c->model->desc.layers[layer].attn;
    const hth_layer *l = &t->c->model->layers[layer];
    const cpu_scratch *s = &t->c->s;
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row;
    cpu_product p[3];
    int n_p = 0;
    p[n_p++] = (cpu_product){.w = &l->q, .bias = l->q_bias, .y = a->gated ? s->recurrent : s->q, .y_stride = l->q.n_row};
    if (a->kv_layer == layer) {
        p[n_p++] = (cpu_product){.w = &l->k, .bias = l->k_bias, .y = s->k, .y_stride = (int64_t)a->n_kv_head * a->head_dim};
        if (!a->v_is_k) {
            p[n_p++] = (cpu_product){
                .w = &l->v, .bias = l->v_bias, .y = s->v, .y_stride = (int64_t)a->n_kv_head * a->head_dim_v};
        }
    }
    cpu_linear(t, p, n_p, &(cpu_input){in, d, n, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) prepare_qkv(t, layer, i);
    cpu_barrier(t);
    (void)cpu_profile_enter(t, HTH_OP_ATTENTION);
    cpu_attention(t, layer);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    if (t->c->mixes_values) unmix_heads(t, a);
    if (a->gated) gate_heads(t, a);
}

// in [n, d] -> branch [n, d]
static void run_attention(const cpu_thread *t, int32_t layer, const float *in) {
    const hth_layer *l = &t->c->model->layers[layer];
    const int64_t d = t->c->model->desc.d_model;
    if (t->c->model->desc.layers[layer].mixer == HTH_MIXER_LATENT) {
        cpu_latent_attention(t, layer, in);
    } else {
        attend(t, layer, in);
    }
    cpu_product o = {.w = &l->o, .bias = l->o_bias, .y = t->c->s.branch, .y_stride = d};
    cpu_linear(t, &o, 1, &(cpu_input){t->c->s.attn, l->o.n_col, t->c->n_row, t->c->kinds});
}

// in [n, d] -> branch [n, d]
static void run_mixers(const cpu_thread *t, int32_t layer, const float *in) {
    const hth_layer_desc *ld = &t->c->model->desc.layers[layer];
    const bool attends = ld->mixer != HTH_MIXER_NONE;
    if (attends) run_attention(t, layer, in);
    if (ld->recurrent.kind == HTH_RECURRENT_NONE) return;
    cpu_recurrent(t, layer, in, attends ? t->c->s.branch2 : t->c->s.branch);
    if (!attends) return;
    const cpu_range r = cpu_my_rows(t);
    const int64_t d = t->c->model->desc.d_model, n = (r.last - r.first) * d;
    float *sum = t->c->s.branch + r.first * d;
    const float *more = t->c->s.branch2 + r.first * d;
    if (ld->attn.out_scale != 0) t->c->k->scale(sum, sum, ld->attn.out_scale, n);
    if (ld->recurrent.out_scale != 0) {
        t->c->k->add_scaled(sum, more, ld->recurrent.out_scale, n);
    } else {
        t->c->k->add(sum, sum, more, n);
    }
}

// ---- feed-forward block: in [n, d] -> out [n, d]

// up = act(gate) * up, or act(up), in columns [first, last) of all rows.
static void activate(const cpu_thread *t, const void *layer_desc, int64_t first, int64_t last) {
    const hth_layer_desc *ld = layer_desc;
    const cpu_scratch *s = &t->c->s;
    for (int64_t i = 0; i < t->c->n_row; i++) {
        float *up = s->up + i * ld->d_ff + first, *gate = s->gate + i * ld->d_ff + first;
        if (ld->ffn == HTH_FFN_GATED) {
            if (ld->gate_scale != 0) t->c->k->scale(gate, gate, ld->gate_scale, last - first);
            t->c->k->act_mul[ld->act](up, gate, up, last - first);
        } else {
            t->c->k->act[ld->act](up, up, last - first);
        }
    }
}

static void run_ffn(const cpu_thread *t, int32_t layer, const float *in, float *out) {
    const hth_layer_desc *ld = &t->c->model->desc.layers[layer];
    const hth_layer *l = &t->c->model->layers[layer];
    const cpu_scratch *s = &t->c->s;
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row, d_ff = ld->d_ff;
    const bool gated = ld->ffn == HTH_FFN_GATED;
    if (ld->ffn == HTH_FFN_MOE) {
        cpu_moe(t, layer, in, out);
        return;
    }
    cpu_product p[2] = {{.w = &l->up, .bias = l->up_bias, .y = s->up, .y_stride = d_ff},
                        {.w = &l->gate, .bias = l->gate_bias, .y = s->gate, .y_stride = d_ff}};
    const cpu_input input = {in, d, n, t->c->kinds};
    if (ld->has_gate_cut) { // needs whole rows
        cpu_range own;
        cpu_linear(t, p, gated ? 2 : 1, &input);
        cpu_cut_gate(t, ld->gate_cut, d_ff);
        hth_team_part(d_ff, CPU_PANEL_ROWS, t->i, t->n, &own.first, &own.last);
        activate(t, ld, own.first, own.last);
        cpu_barrier(t);
    } else {
        cpu_linear_then(t, p, gated ? 2 : 1, &input, activate, ld);
    }
    cpu_product down = {.w = &l->down, .bias = l->down_bias, .y = out, .y_stride = d};
    cpu_linear(t, &down, 1, &(cpu_input){s->up, d_ff, n, t->c->kinds});
}

// ---- one layer

static void scale_branch(const cpu_thread *t, float scale) {
    const int64_t d = t->c->model->desc.d_model;
    const cpu_range r = cpu_my_rows(t);
    float *b = t->c->s.branch + r.first * d;
    if (scale != 0) t->c->k->scale(b, b, scale, (r.last - r.first) * d);
}

// x += scale * post(branch), for the rows of this thread.
static void add_branch(const cpu_thread *t, const hth_layer_desc *ld, float *branch, const float *post,
                       const float *post_bias) {
    const hth_desc *d = &t->c->model->desc;
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float *x = t->c->s.x + i * d->d_model, *b = branch + i * d->d_model;
        if (post && !ld->post_ln) norm(t, d->norm, b, b, post, post_bias, d->d_model);
        if (ld->residual_scale == 1) {
            t->c->k->add(x, x, b, d->d_model);
        } else {
            t->c->k->add_scaled(x, b, ld->residual_scale, d->d_model);
        }
        if (post && ld->post_ln) norm(t, d->norm, x, x, post, post_bias, d->d_model);
    }
}

// h = norm(x) for all rows, or x itself where the family has no norm there; ends with a barrier.
static const float *norm_input(const cpu_thread *t, const float *w, const float *b) {
    const hth_desc *d = &t->c->model->desc;
    const cpu_range r = cpu_my_rows(t);
    if (w) {
        for (int64_t i = r.first; i < r.last; i++) {
            norm(t, d->norm, t->c->s.h + i * d->d_model, t->c->s.x + i * d->d_model, w, b, d->d_model);
        }
    }
    cpu_barrier(t);
    return w ? t->c->s.h : t->c->s.x;
}

static void add_per_layer(const cpu_thread *t, int32_t layer) {
    const hth_desc *d = &t->c->model->desc;
    const hth_layer *l = &t->c->model->layers[layer];
    const int64_t width = d->d_per_layer, n = t->c->n_row;
    cpu_barrier(t);
    cpu_product gate = {.w = &l->per_layer_gate, .y = t->c->s.gate, .y_stride = width};
    cpu_linear(t, &gate, 1, &(cpu_input){t->c->s.x, d->d_model, n, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float *g = t->c->s.gate + i * width;
        const float *in = t->c->s.per_layer + (i * d->n_layer + layer) * width;
        t->c->k->act_mul[HTH_ACT_GELU_TANH](g, g, in, width);
    }
    cpu_barrier(t);
    cpu_product proj = {.w = &l->per_layer_proj, .y = t->c->s.branch, .y_stride = d->d_model};
    cpu_linear(t, &proj, 1, &(cpu_input){t->c->s.gate, width, n, t->c->kinds});
    for (int64_t i = r.first; i < r.last; i++) {
        float *x = t->c->s.x + i * d->d_model, *b = t->c->s.branch + i * d->d_model;
        norm(t, d->norm, b, b, l->per_layer_norm, NULL, d->d_model);
        if (d->n_stream > 1) {
            cpu_streams_add(t, i, b);
        } else {
            t->c->k->add(x, x, b, d->d_model);
        }
    }
}

// Returns whether the step goes on.
static bool run_layer(const cpu_thread *t, int32_t layer) {
    const hth_desc *d = &t->c->model->desc;
    const hth_layer_desc *ld = &d->layers[layer];
    const hth_layer *l = &t->c->model->layers[layer];
    if (d->n_stream > 1) cpu_streams_predict(t, layer);
    // All threads must agree, so thread 0 looks, and the barrier publishes what it saw.
    const atomic_bool *cancel = t->c->step->cancel;
    if (t->i == 0 && cancel && atomic_load_explicit(cancel, memory_order_relaxed)) atomic_store(&t->c->cancelled, true);
    if (t->i == 0 && hth_model_check_files(t->c->model, NULL) != HTH_OK) atomic_store(&t->c->cancelled, true);
    const float *in = norm_input(t, l->attn_norm, l->attn_norm_bias);
    if (atomic_load(&t->c->cancelled)) return false;
    if (ld->has_laurel) cpu_laurel(t, layer, in);
    if (hth_layer_has_mixer(ld)) run_mixers(t, layer, in);
    if (ld->parallel) {
        // The attention result waits in `branch`; the feed-forward reads the same normed input, or its own.
        if (l->ffn_norm) {
            cpu_barrier(t);
            in = norm_input(t, l->ffn_norm, l->ffn_norm_bias);
        }
        run_ffn(t, layer, in, t->c->s.branch2);
        add_branch(t, ld, t->c->s.branch2, NULL, NULL);
        add_branch(t, ld, t->c->s.branch, NULL, NULL);
    } else {
        if (hth_layer_has_mixer(ld)) add_branch(t, ld, t->c->s.branch, l->attn_post_norm, l->attn_post_norm_bias);
        if (ld->has_laurel) cpu_add_laurel(t);
        if (ld->ffn != HTH_FFN_NONE) {
            in = norm_input(t, l->ffn_norm, l->ffn_norm_bias);
            if (ld->has_ffn_shift) in = cpu_shift_ffn(t, layer, in);
            run_ffn(t, layer, in, t->c->s.branch);
            scale_branch(t, ld->ffn_scale);
            add_branch(t, ld, t->c->s.branch, l->ffn_post_norm, l->ffn_post_norm_bias);
        }
    }
    if (d->n_stream > 1) cpu_streams_correct(t, layer);
    if (ld->has_per_layer_input) add_per_layer(t, layer);
    if (l->scalar != 1) {
        const cpu_range r = cpu_my_rows(t);
        float *x = t->c->s.x + r.first * d->d_model;
        t->c->k->scale(x, x, l->scalar, (r.last - r.first) * d->d_model);
    }
    return true;
}

// ---- out of the last layer

static void copy_hidden(const cpu_thread *t, bool normed) {
    const hth_desc *d = &t->c->model->desc;
    int64_t at = 0;
    for (int64_t i = 0; t->i == 0 && i < t->c->n_row; i++) {
        if (!(t->c->step->batch.rows[i].want & HTH_WANT_HIDDEN)) continue;
        float *dst = t->c->step->hidden_want + at++ * d->d_model;
        const float *x = normed ? t->c->s.x + i * d->d_model : carried(t) + i * d->n_stream * d->d_model;
        if (normed && t->c->model->output_norm) {
            norm(t, d->norm, dst, x, t->c->model->output_norm, t->c->model->output_norm_bias, d->d_model);
        } else {
            memcpy(dst, x, (size_t)d->d_model * sizeof *dst);
        }
    }
}

static void compute_logits(const cpu_thread *t) {
    const hth_model *m = t->c->model;
    const hth_desc *d = &m->desc;
    int64_t at = 0;
    for (int64_t i = 0; i < t->c->n_row; i++) { // rows are gathered to the front of h, normed
        if (!(t->c->step->batch.rows[i].want & HTH_WANT_LOGITS)) continue;
        if (at % t->n == t->i) {
            norm(t, m->output_norm ? d->norm : HTH_NORM_NONE, t->c->s.h + at * d->d_model, t->c->s.x + i * d->d_model,
                 m->output_norm, m->output_norm_bias, d->d_model);
        }
        at++;
    }
    cpu_barrier(t);
    cpu_product p = {.w = &m->output, .bias = m->output_bias, .y = t->c->step->logits, .y_stride = d->n_vocab};
    cpu_linear(t, &p, 1, &(cpu_input){t->c->s.h, d->d_model, t->c->n_logits, t->c->logit_kinds});
    int64_t first, last;
    hth_team_part((int64_t)t->c->n_logits * d->n_vocab, 16, t->i, t->n, &first, &last);
    float *y = t->c->step->logits + first;
    if (d->logit_scale != 1) t->c->k->scale(y, y, d->logit_scale, last - first);
    if (d->logit_softcap > 0) t->c->k->tanh_cap(y, d->logit_softcap, last - first);
}

static void finish(const cpu_thread *t) {
    const hth_step *step = t->c->step;
    const hth_desc *d = &t->c->model->desc;
    const int64_t width = (int64_t)d->n_stream * d->d_model;
    cpu_barrier(t);
    if (step->layer_last < d->n_layer) {
        const cpu_range r = cpu_my_rows(t);
        memcpy(step->hidden_out + r.first * width, carried(t) + r.first * width,
               (size_t)((r.last - r.first) * width) * sizeof(float));
        return;
    }
    if (d->n_stream > 1) {
        cpu_streams_end(t);
        cpu_barrier(t);
    }
    if (t->c->n_hidden > 0 && step->hidden_layer < 0) copy_hidden(t, true);
    if (t->c->n_logits > 0) compute_logits(t);
}

void cpu_run_step(void *user, int i_thread, int n_thread) {
    cpu_step *c = user;
    const cpu_thread t = {.c = c, .i = i_thread, .n = n_thread};
    (void)cpu_profile_enter(&t, HTH_OP_SMALL);
    begin(&t);
    bool goes_on = true;
    for (int32_t layer = c->step->layer_first; goes_on && layer < c->step->layer_last; layer++) {
        goes_on = run_layer(&t, layer);
        if (goes_on && c->n_hidden > 0 && c->step->hidden_layer == layer) {
            cpu_barrier(&t);
            copy_hidden(&t, false);
            cpu_barrier(&t);
        }
    }
    if (goes_on) finish(&t);
    cpu_profile_end(&t);
}
