// Attention on the CPU. The keys that a row sees are numbered along its own line of ancestors and cut into
// blocks of CPU_ATTN_BLOCK at absolute multiples; each block gives a partial (maximum, sum, weighted values)
// and the partials are folded in order (online softmax, arXiv:2205.14135). So the result is the same bits
// whether the keys were computed in one step or many, stand in a draft tree or in a line, and whoever else
// is in the batch. Scratch is one block, whatever the context.
#include "model/cpu.h"

#include <math.h>
#include <string.h>

// One query head of one row.
typedef struct query {
    const cpu_row *row;
    const hth_layer_state *layer;
    const hth_attention_desc *a;
    const hth_kernels *k;
    const float *q; // [head_dim]
    int32_t kv_head;
} query;

// A run of keys [j, j + n) of the row's line that lie behind each other in one page.
static int64_t run_length(const query *q, int64_t j, int64_t end, int64_t *slot) {
    const cpu_row *r = q->row;
    int64_t n = end - j;
    if (r->n_ancestor > 0 && j >= r->base) {
        *slot = r->ancestors[j - r->base];
        n = 1;
    } else {
        *slot = j;
        if (r->n_ancestor > 0 && j + n > r->base) n = r->base - j;
    }
    int64_t left = HTH_PAGE_ROWS - *slot % HTH_PAGE_ROWS;
    return n < left ? n : left;
}

static void score_block(const query *q, int64_t first, int64_t end, float *scores) {
    const hth_kv_type type = q->row->state->k_type;
    const int64_t stride = q->layer->k_head_bytes / HTH_PAGE_ROWS;
    for (int64_t j = first, n; j < end; j += n) {
        int64_t slot;
        n = run_length(q, j, end, &slot);
        q->k->kv_dot[type](q->q, hth_state_k(q->layer, q->kv_head, slot), stride, n, q->a->head_dim, q->a->scale,
                           scores + (j - first));
    }
    if (q->a->softcap > 0) q->k->tanh_cap(scores, q->a->softcap, end - first);
}

static void add_values(const query *q, int64_t first, int64_t end, const float *p, float *acc) {
    const hth_kv_type type = q->row->state->v_type;
    const int64_t stride = q->layer->v_head_bytes / HTH_PAGE_ROWS;
    for (int64_t j = first, n; j < end; j += n) {
        int64_t slot;
        n = run_length(q, j, end, &slot);
        q->k->kv_acc[type](p + (j - first), hth_state_v(q->layer, q->kv_head, slot), stride, n, q->a->head_dim_v, acc);
    }
}

// Folds a partial (max_b, sum_b, acc_b) into the running (max, sum, acc).
static void fold(float *max, float *sum, float *acc, float max_b, float sum_b, const float *acc_b, int64_t n) {
    float top = max_b > *max ? max_b : *max;
    float keep = expf(*max - top), take = expf(max_b - top);
    for (int64_t d = 0; d < n; d++) acc[d] = acc[d] * keep + acc_b[d] * take;
    *sum = *sum * keep + sum_b * take;
    *max = top;
}

// acc [2 * head_dim_v]: running sum, then one block's. Writes head_dim_v numbers to out.
static void attend(const query *q, float sink, float *scores, float *acc, float *out) {
    const cpu_row *r = q->row;
    const int64_t n_v = q->a->head_dim_v;
    const int64_t end = r->n_ancestor > 0 ? r->base + r->n_ancestor : r->end;
    const int64_t q_pos = r->state->pos[r->slot];
    const int64_t n_line = r->n_ancestor > 0 ? r->base : end; // the part whose positions ascend row by row
    int64_t j = hth_state_first_visible(r->state, q->a->window, q_pos, n_line);
    while (j >= r->base && j < end && r->n_ancestor > 0 && q->a->window != 0 &&
           r->state->pos[r->ancestors[j - r->base]] <= q_pos - q->a->window) {
        j++;
    }
    float max = -INFINITY, sum = 0;
    float *acc_b = acc + n_v;
    memset(acc, 0, (size_t)n_v * sizeof *acc);
    while (j < end) {
        int64_t stop = (j / CPU_ATTN_BLOCK + 1) * CPU_ATTN_BLOCK;
        if (stop > end) stop = end;
        score_block(q, j, stop, scores);
        float max_b = q->k->max(scores, stop - j);
        float sum_b = q->k->exp_sum(scores, max_b, stop - j);
        memset(acc_b, 0, (size_t)n_v * sizeof *acc_b);
        add_values(q, j, stop, scores, acc_b);
        fold(&max, &sum, acc, max_b, sum_b, acc_b, n_v);
        j = stop;
    }
    if (sink > -INFINITY) { // a learned score that takes its share of the sum and has no value
        float top = sink > max ? sink : max;
        float keep = expf(max - top);
        sum = sum * keep + expf(sink - top);
        for (int64_t d = 0; d < n_v; d++) acc[d] *= keep;
    }
    for (int64_t d = 0; d < n_v; d++) out[d] = acc[d] / sum;
}

void cpu_attention(const cpu_thread *t, int32_t i) {
    cpu_step *c = t->c;
    const hth_attention_desc *a = &c->model->desc.layers[i].attn;
    const float *sinks = c->model->layers[i].sinks;
    float *scores = c->s.scores + (size_t)t->i * CPU_ATTN_BLOCK;
    float *acc = c->s.accs + (size_t)t->i * c->s.acc_len;
    const int32_t n_rep = a->n_head / a->n_kv_head;
    // Later rows see more keys: dealing the tasks in turn keeps the threads even.
    for (int64_t task = t->i; task < (int64_t)c->n_row * a->n_head; task += t->n) {
        int64_t row = task / a->n_head;
        int32_t head = (int32_t)(task % a->n_head);
        const cpu_row *r = &c->rows[row];
        query q = {.row = r,
                   .layer = &r->state->layers[a->kv_layer],
                   .a = a,
                   .k = c->k,
                   .q = c->s.q + (row * a->n_head + head) * a->head_dim,
                   .kv_head = head / n_rep};
        attend(&q, sinks ? sinks[head] : -INFINITY, scores, acc,
               c->s.attn + (row * a->n_head + head) * a->head_dim_v);
    }
    hth_team_barrier(c->team);
}
