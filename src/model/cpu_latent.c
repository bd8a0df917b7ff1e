// Multi-head latent attention on the CPU (desc.h has the formulas). Keys and values are stored as compressed rows, and
// a row's kind says which of two ways it takes:
//
//   prompt     expanded: a task goes through the keys of one head with many queries, and makes keys and values of a
//              block of compressed rows as it gets there (cpu_attention_prompt.c); nothing but the compressed rows stays.
//   generated  absorbed: each head's query is turned to meet the compressed rows themselves, and what it finds is
//              turned into the head's value. So a row of the past is read once for many heads.
//
// Per query and key the first costs d_nope + d_rope + d_v multiplications and the second 2 * kv_rank + d_rope, several
// times as many; but the first has to make the keys, which pays when some hundred queries share them.
#include <math.h>
#include <string.h>

#include "model/cpu_attention.h"

enum { HEADS_TOGETHER = 8 }; // that read compressed rows together, at most

static cpu_latent latent_of(const hth_layer_desc *l, const hth_latent *w) {
    const hth_latent_desc *d = &l->latent;
    cpu_latent latent = {.d = d, .w = w, .expanded = l->attn, .absorbed = l->attn};
    latent.expanded.n_kv_head = l->attn.n_head;
    latent.expanded.head_dim = d->d_nope + d->d_rope;
    latent.expanded.head_dim_v = d->d_v;
    int32_t n = HEADS_TOGETHER;
    while (l->attn.n_head % n != 0) n--;
    latent.absorbed.n_kv_head = l->attn.n_head / n;
    return latent;
}

cpu_latent_sizes cpu_latent_sizes_of(const hth_layer_desc *l, int n_thread) {
    const cpu_latent latent = latent_of(l, NULL);
    const cpu_attn at = {.a = &latent.expanded, .n_rep = 1, .latent = &latent};
    const size_t prompt = cpu_prompt_work(&at), generated = cpu_generated_work(&latent.absorbed);
    const hth_latent_desc *d = &l->latent;
    const int64_t n_head = l->attn.n_head;
    return (cpu_latent_sizes){
        .work = prompt > generated ? prompt : generated,
        .parts = cpu_generated_parts(&latent.absorbed, n_thread),
        .q = n_head * (d->d_nope + d->d_rope),
        .compressed_q = d->q_rank,
        .compressed_kv = d->kv_rank + d->d_rope,
        .out = n_head * d->d_v,
        .latent_q = n_head * (d->kv_rank + d->d_rope),
        .latent_out = n_head * d->kv_rank,
    };
}

// ---- prompt rows: keys and values of one head

size_t cpu_latent_room(const hth_latent_desc *d) {
    const int64_t n_weight = (int64_t)(d->d_nope + d->d_v) * d->kv_rank;
    return (size_t)(n_weight + CPU_ATTN_BLOCK * (int64_t)(d->kv_rank + d->d_rope));
}

float *cpu_latent_rows(const hth_latent_desc *d, float *room) {
    return room + (int64_t)(d->d_nope + d->d_v) * d->kv_rank;
}

// [kv_rank, d_nope] -> [d_nope, kv_rank], a few rows at a time.
static void turn_keys(const cpu_thread *t, const hth_weight *w, float *to) {
    float *panel = t->c->s.panels + (size_t)t->i * t->c->s.panel_len;
    for (int64_t r = 0; r < w->n_row; r += CPU_PANEL_ROWS) {
        const int64_t n = w->n_row - r < CPU_PANEL_ROWS ? w->n_row - r : CPU_PANEL_ROWS;
        for (int64_t i = 0; i < n; i++) cpu_weight_row(t->c->k, w, 0, r + i, panel + i * w->n_col);
        for (int64_t c = 0; c < w->n_col; c++) {
            for (int64_t i = 0; i < n; i++) to[c * w->n_row + r + i] = panel[i * w->n_col + c];
        }
    }
}

void cpu_latent_open(const cpu_thread *t, const cpu_latent *l, int32_t head, float *room) {
    const int64_t rank = l->d->kv_rank, d_nope = l->d->d_nope;
    const hth_weight *k = &l->w->k_up[head], *v = &l->w->v_up[head];
    if (l->w->k_up_turned) turn_keys(t, k, room);
    for (int64_t r = 0; r < d_nope && !l->w->k_up_turned; r++) cpu_weight_row(t->c->k, k, 0, r, room + r * rank);
    for (int64_t r = 0; r < l->d->d_v; r++) cpu_weight_row(t->c->k, v, 0, r, room + (d_nope + r) * rank);
}

// y [n, n_row] = rows [n, width] times w [n_row, rank]
static void expand(const cpu_thread *t, const cpu_latent *l, const float *w, int64_t n_row, const float *rows, int64_t n,
                   float *y, int64_t y_stride) {
    const int64_t rank = l->d->kv_rank, width = rank + l->d->d_rope;
    for (int64_t r = 0; r < n_row; r += CPU_PANEL_ROWS) {
        const int64_t some = n_row - r < CPU_PANEL_ROWS ? n_row - r : CPU_PANEL_ROWS;
        t->c->k->gemm_f32(w + r * rank, rank, rows, width, y + r, y_stride, some, n, rank);
    }
}

void cpu_latent_make(const cpu_thread *t, const cpu_latent *l, float *room, int64_t n, float *k, float *v) {
    const hth_latent_desc *d = l->d;
    const int64_t rank = d->kv_rank, width = rank + d->d_rope, dim = d->d_nope + d->d_rope;
    const float *rows = cpu_latent_rows(d, room);
    expand(t, l, room, d->d_nope, rows, n, k, dim);
    expand(t, l, room + d->d_nope * rank, d->d_v, rows, n, v, d->d_v);
    for (int64_t j = 0; j < n; j++) memcpy(k + j * dim + d->d_nope, rows + j * width + rank, (size_t)d->d_rope * sizeof *k);
}

// ---- generated rows

// The n generated rows from number i on that follow each other in the batch.
static int32_t run_of_rows(const cpu_step *c, int32_t i) {
    int32_t n = 1;
    while (i + n < c->n_generated && cpu_generated_row(c, i + n) == cpu_generated_row(c, i) + n) n++;
    return n;
}

// Products of all heads, rows [h * n_row, (h + 1) * n_row) being those of head h: x and y of head h begin x_head and
// y_head floats after those of the one before.
typedef struct head_products {
    const hth_weight *w; // [n_head]
    int32_t n_head;
    const float *x;
    float *y;
    int64_t n_tok, x_stride, y_stride, x_head, y_head;
} head_products;

static void multiply_heads(const cpu_thread *t, const head_products *p) {
    const int64_t n_row = p->w[0].n_row;
    int64_t first, last;
    hth_team_part(n_row * p->n_head, CPU_PANEL_ROWS, t->i, t->n, &first, &last);
    for (int64_t h = first / n_row; h * n_row < last; h++) {
        const int64_t a = first - h * n_row, b = last - h * n_row;
        const cpu_product one = {.w = &p->w[h], .y = p->y + h * p->y_head, .y_stride = p->y_stride};
        const cpu_input in = {.x = p->x + h * p->x_head, .x_stride = p->x_stride, .n_tok = p->n_tok};
        cpu_multiply_f32(t, &one, a < 0 ? 0 : a, b > n_row ? n_row : b, &in);
    }
}

// y += K' x where the rows of K are [d_nope, kv_rank]: each is read once and added to all rows' sums.
static void turn_queries(const cpu_thread *t, const head_products *p) {
    float *row = t->c->s.panels + (size_t)t->i * t->c->s.panel_len;
    int64_t first, last;
    hth_team_part(p->n_head, 1, t->i, t->n, &first, &last);
    for (int64_t h = first; h < last; h++) {
        const hth_weight *w = &p->w[h];
        const float *x = p->x + h * p->x_head;
        float *y = p->y + h * p->y_head;
        for (int64_t i = 0; i < p->n_tok; i++) memset(y + i * p->y_stride, 0, (size_t)w->n_col * sizeof *y);
        for (int64_t r = 0; r < w->n_row; r++) {
            cpu_weight_row(t->c->k, w, 0, r, row);
            for (int64_t i = 0; i < p->n_tok; i++)
                t->c->k->add_scaled(y + i * p->y_stride, row, x[i * p->x_stride + r], w->n_col);
        }
    }
}

// Queries that meet the compressed rows: s.q -> s.latent_q.
static void absorb_queries(const cpu_thread *t, const cpu_latent *l) {
    cpu_step *c = t->c;
    const hth_latent_desc *d = l->d;
    const int64_t n_head = l->expanded.n_head, dim = d->d_nope + d->d_rope, width = d->kv_rank + d->d_rope;
    for (int32_t i = 0, n; i < c->n_generated; i += n) {
        n = run_of_rows(c, i);
        const float *q = c->s.q + cpu_generated_row(c, i) * n_head * dim;
        float *y = c->s.latent_q + i * n_head * width;
        const head_products p = {.w = l->w->k_up, .n_head = (int32_t)n_head, .x = q, .y = y, .n_tok = n,
                                 .x_stride = n_head * dim, .y_stride = n_head * width, .x_head = dim, .y_head = width};
        if (l->w->k_up_turned) {
            multiply_heads(t, &p);
        } else {
            turn_queries(t, &p);
        }
        for (int64_t h = t->i; h < n * n_head; h += t->n) {
            memcpy(y + h * width + d->kv_rank, q + h * dim + d->d_nope, (size_t)d->d_rope * sizeof *y);
        }
    }
}

// Values from what was found: s.latent_out -> s.attn.
static void expand_results(const cpu_thread *t, const cpu_latent *l) {
    cpu_step *c = t->c;
    const int64_t n_head = l->expanded.n_head, rank = l->d->kv_rank, d_v = l->d->d_v;
    for (int32_t i = 0, n; i < c->n_generated; i += n) {
        n = run_of_rows(c, i);
        const head_products p = {.w = l->w->v_up, .n_head = (int32_t)n_head, .n_tok = n,
                                 .x = c->s.latent_out + i * n_head * rank, .x_stride = n_head * rank, .x_head = rank,
                                 .y = c->s.attn + cpu_generated_row(c, i) * n_head * d_v, .y_stride = n_head * d_v,
                                 .y_head = d_v};
        multiply_heads(t, &p);
    }
}

// ---- types that store numbers mixed (hth_kv_is_mixed)

// Mixes the numbers of compressed rows x [n], or undoes it: in blocks that divide the latent part and the turned one. So
// a product with a mixed query is what it was, and what was found of the latent part can be mixed back by itself.
static void mix(const hth_latent_desc *d, float *x, int64_t n) {
    hth_hadamard(x, n, d->kv_rank | d->d_rope);
}

void cpu_latent_unmix(const cpu_row *r, const hth_latent_desc *d, float *rows, int64_t n) {
    if (hth_kv_is_mixed(r->state->k_type)) mix(d, rows, n * (d->kv_rank + d->d_rope));
}

// x [n_generated, n], the rows of sequences that store mixed; ends with a barrier.
static void mix_generated(const cpu_thread *t, const hth_latent_desc *d, float *x, int64_t n) {
    for (int32_t i = t->i; i < t->c->n_generated; i += t->n) {
        const hth_state *state = t->c->rows[cpu_generated_row(t->c, i)].state;
        if (hth_kv_is_mixed(state->k_type)) mix(d, x + i * n, n);
    }
    cpu_barrier(t);
}

// ---- both

static void rotate(const cpu_thread *t, const hth_attention_desc *a, int64_t i, float *x) {
    const hth_rope *r = &t->c->model->desc.rope[a->rope];
    const int64_t at = ((int64_t)a->rope * t->c->n_row + i) * (t->c->s.n_rot_max / 2);
    t->c->k->rope[r->pairing](x, t->c->s.cos_ + at, t->c->s.sin_ + at, r->n_rot);
}

// Norm, rotation and storing of what one row leaves to later ones; rotation of its query.
static void prepare_row(const cpu_thread *t, int32_t layer, const cpu_latent *l, int64_t i) {
    const hth_latent_desc *d = l->d;
    const hth_attention_desc *a = &l->expanded;
    const int64_t width = d->kv_rank + d->d_rope, dim = a->head_dim;
    const cpu_row *row = &t->c->rows[i];
    float *q = t->c->s.q + i * a->n_head * dim, *kv = t->c->s.k + i * width;
    t->c->k->norm_rms(kv, kv, l->w->kv_norm, d->kv_rank, d->norm_eps);
    if (a->rope >= 0) {
        rotate(t, a, i, kv + d->kv_rank);
        for (int32_t h = 0; h < a->n_head; h++) rotate(t, a, i, q + h * dim + d->d_nope);
    }
    cpu_scale_query(t, a, i, q, a->n_head * dim);
    if (hth_kv_is_mixed(row->state->k_type)) mix(d, kv, width);
    t->c->k->kv_store[row->state->k_type](hth_state_k(&row->state->layers[layer], 0, row->slot), kv, width);
}

// in [n, d] -> s.q, s.k
static void project(const cpu_thread *t, const hth_layer *l, const hth_latent_desc *d, const float *in) {
    const cpu_scratch *s = &t->c->s;
    const int64_t n = t->c->n_row, d_model = t->c->model->desc.d_model;
    const cpu_product p[2] = {
        {.w = &l->latent.kv_a, .bias = l->latent.kv_a_bias, .y = s->k, .y_stride = d->kv_rank + d->d_rope},
        {.w = d->q_rank > 0 ? &l->latent.q_a : &l->q, .bias = l->latent.q_a_bias, .y = d->q_rank > 0 ? s->v : s->q,
         .y_stride = d->q_rank > 0 ? d->q_rank : l->q.n_row}};
    cpu_linear(t, p, 2, &(cpu_input){in, d_model, n, t->c->kinds});
    if (d->q_rank == 0) return;
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float *x = s->v + i * d->q_rank;
        t->c->k->norm_rms(x, x, l->latent.q_norm, d->q_rank, d->norm_eps);
    }
    cpu_barrier(t);
    const cpu_product q = {.w = &l->q, .y = s->q, .y_stride = l->q.n_row};
    cpu_linear(t, &q, 1, &(cpu_input){s->v, d->q_rank, n, t->c->kinds});
}

void cpu_latent_attention(const cpu_thread *t, int32_t layer, const float *in) {
    cpu_step *c = t->c;
    const hth_layer *l = &c->model->layers[layer];
    const cpu_latent latent = latent_of(&c->model->desc.layers[layer], &l->latent);
    const cpu_attn prompt = {.a = &latent.expanded, .n_rep = 1, .q = c->s.q, .out = c->s.attn, .latent = &latent};
    const cpu_attn generated = {.a = &latent.absorbed, .n_rep = latent.absorbed.n_head / latent.absorbed.n_kv_head,
                                .q = c->s.latent_q, .out = c->s.latent_out, .latent = &latent};
    project(t, l, latent.d, in);
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) prepare_row(t, layer, &latent, i);
    cpu_barrier(t);
    const int64_t n_head = latent.expanded.n_head, rank = latent.d->kv_rank;
    if (c->n_generated > 0) {
        absorb_queries(t, &latent);
        cpu_barrier(t);
        if (c->mixes_keys) mix_generated(t, latent.d, c->s.latent_q, n_head * (rank + latent.d->d_rope));
    }
    (void)cpu_profile_enter(t, HTH_OP_ATTENTION);
    cpu_attend(t, &prompt, &generated);
    (void)cpu_profile_enter(t, HTH_OP_SMALL);
    if (c->n_generated == 0) return;
    if (c->mixes_keys) mix_generated(t, latent.d, c->s.latent_out, n_head * rank);
    expand_results(t, &latent);
    cpu_barrier(t);
}
