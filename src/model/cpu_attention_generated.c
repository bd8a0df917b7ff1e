// Attention of generated rows: all query heads of a K/V head go over each run of keys together, so a key is read
// once. Where there are fewer pairs of row and K/V head than the threads need, blocks of keys are dealt out instead:
// each gives a partial result into a slot, and one thread folds a pair's partials in the order of the keys. The
// number of slots is fixed, and longer lines take several passes.
//
// A partial of n heads is [n, head_dim_v] weighted values, then n maxima, then n sums.
#include <math.h>
#include <string.h>

#include "model/cpu_attention.h"

enum {
    SPLIT_BELOW = 4, // pairs per thread
    SLOTS = 64,      // partials per thread
};

static int64_t part_len(const cpu_attn *at) {
    return at->n_rep * ((int64_t)at->a->head_dim_v + 2);
}

size_t cpu_generated_work(const hth_attention_desc *a) {
    const cpu_attn at = {.a = a, .n_rep = a->n_head / a->n_kv_head};
    return (size_t)(at.n_rep * (int64_t)CPU_ATTN_BLOCK + 2 * part_len(&at));
}

size_t cpu_generated_parts(const hth_attention_desc *a, int n_thread) {
    const cpu_attn at = {.a = a, .n_rep = a->n_head / a->n_kv_head};
    return (size_t)((SPLIT_BELOW + SLOTS) * n_thread * part_len(&at));
}

// A row and a K/V head.
typedef struct pair {
    const cpu_thread *t;
    const cpu_attn *at;
    int32_t row, kv_head;
    int64_t at_row; // of queries and results
    cpu_keys keys;
} pair;

static pair pair_at(const cpu_thread *t, const cpu_attn *at, int64_t i) {
    const cpu_step *c = t->c;
    pair p = {.t = t, .at = at, .kv_head = (int32_t)(i % at->a->n_kv_head)};
    const int32_t from_last = (int32_t)(c->n_generated - 1 - i / at->a->n_kv_head);
    p.row = cpu_generated_row(c, from_last);
    p.at_row = at->latent ? from_last : p.row;
    p.keys = cpu_visible_keys(&c->rows[p.row], at->a);
    return p;
}

static int64_t first_block(const pair *p) {
    return p->keys.first / CPU_ATTN_BLOCK;
}

static int64_t n_block(const pair *p) {
    return (p->keys.end + CPU_ATTN_BLOCK - 1) / CPU_ATTN_BLOCK - first_block(p);
}

// ---- one block

static void score_block(const pair *p, int64_t first, int64_t end, float *scores) {
    const hth_attention_desc *a = p->at->a;
    const cpu_step *c = p->t->c;
    const cpu_row *r = &c->rows[p->row];
    const float *q = p->at->q + (p->at_row * a->n_head + (int64_t)p->kv_head * p->at->n_rep) * a->head_dim;
    for (int64_t j = first, n; j < end; j += n) {
        int64_t slot;
        n = cpu_key_run(r, j, end, &slot);
        const hth_kv_run k = cpu_k_run(r, p->at, p->kv_head, slot, n);
        c->k->kv_dot[r->state->k_type](&k, q, a->head_dim, p->at->n_rep, a->scale, scores + (j - first), CPU_ATTN_BLOCK);
    }
}

// The b-th block that the pair sees, into `part`.
static void attend_block(const pair *p, int64_t b, float *scores, float *part) {
    const hth_attention_desc *a = p->at->a;
    const cpu_step *c = p->t->c;
    const cpu_row *r = &c->rows[p->row];
    const int64_t n_rep = p->at->n_rep, dim = a->head_dim_v, at = (first_block(p) + b) * CPU_ATTN_BLOCK;
    const int64_t first = at > p->keys.first ? at : p->keys.first;
    const int64_t end = at + CPU_ATTN_BLOCK < p->keys.end ? at + CPU_ATTN_BLOCK : p->keys.end;
    float *max = part + n_rep * dim, *sum = max + n_rep;
    score_block(p, first, end, scores);
    for (int64_t h = 0; h < n_rep; h++) {
        float *s = scores + h * CPU_ATTN_BLOCK;
        if (a->softcap > 0) c->k->tanh_cap(s, a->softcap, end - first);
        max[h] = c->k->max(s, end - first);
        sum[h] = c->k->exp_sum(s, max[h], end - first);
    }
    memset(part, 0, (size_t)(n_rep * dim) * sizeof *part);
    for (int64_t j = first, n; j < end; j += n) {
        int64_t slot;
        n = cpu_key_run(r, j, end, &slot);
        const hth_kv_run v = cpu_v_run(r, p->at, p->kv_head, slot, n);
        c->k->kv_acc[cpu_v_type(r, p->at)](&v, scores + (j - first), CPU_ATTN_BLOCK, n_rep, part, dim);
    }
}

// ---- partials

static void clear_part(const cpu_attn *at, float *part) {
    const int64_t n = at->n_rep * (int64_t)at->a->head_dim_v;
    memset(part, 0, (size_t)part_len(at) * sizeof *part);
    for (int64_t h = 0; h < at->n_rep; h++) part[n + h] = -INFINITY;
}

static void fold(const cpu_attn *at, float *all, const float *part) {
    const int64_t n_rep = at->n_rep, dim = at->a->head_dim_v;
    float *max = all + n_rep * dim, *sum = max + n_rep;
    const float *max_p = part + n_rep * dim, *sum_p = max_p + n_rep;
    for (int64_t h = 0; h < n_rep; h++) {
        const float top = max_p[h] > max[h] ? max_p[h] : max[h];
        const float keep = expf(max[h] - top), take = expf(max_p[h] - top);
        for (int64_t d = h * dim; d < (h + 1) * dim; d++) all[d] = all[d] * keep + part[d] * take;
        sum[h] = sum[h] * keep + sum_p[h] * take;
        max[h] = top;
    }
}

static void finish(const pair *p, const float *all) {
    const int64_t n_rep = p->at->n_rep, dim = p->at->a->head_dim_v;
    const int64_t head = (int64_t)p->kv_head * n_rep;
    const float *max = all + n_rep * dim, *sum = max + n_rep;
    float *out = p->at->out + (p->at_row * p->at->a->n_head + head) * dim;
    for (int64_t h = 0; h < n_rep; h++) {
        float whole = sum[h], keep = 1;
        if (p->at->sinks) { // a learned score that takes its share of the sum and has no value
            const float sink = p->at->sinks[head + h], top = sink > max[h] ? sink : max[h];
            keep = expf(max[h] - top);
            whole = whole * keep + expf(sink - top);
        }
        const float by = keep / whole;
        for (int64_t d = h * dim; d < (h + 1) * dim; d++) out[d] = all[d] * by;
    }
}

// ---- dealing out

static float *scores_of(const cpu_thread *t) {
    return t->c->s.attn_work + (size_t)t->i * t->c->s.attn_work_len;
}

static void attend_pairs(const cpu_thread *t, const cpu_attn *at, int64_t n_pair) {
    float *scores = scores_of(t), *all = scores + at->n_rep * (int64_t)CPU_ATTN_BLOCK, *part = all + part_len(at);
    for (int64_t i; (i = atomic_fetch_add(&t->c->next_part, 1)) < n_pair;) {
        const pair p = pair_at(t, at, i);
        clear_part(at, all);
        for (int64_t b = 0; b < n_block(&p); b++) {
            attend_block(&p, b, scores, part);
            fold(at, all, part);
        }
        finish(&p, all);
    }
}

// Blocks [done, done + n_each) of every pair.
static void attend_slots(const cpu_thread *t, const cpu_attn *at, int64_t n_pair, int64_t n_each, int64_t done) {
    float *scores = scores_of(t);
    for (int64_t i; (i = atomic_fetch_add(&t->c->next_part, 1)) < n_pair * n_each;) {
        const pair p = pair_at(t, at, i / n_each);
        const int64_t b = done + i % n_each;
        if (b < n_block(&p)) attend_block(&p, b, scores, t->c->s.attn_parts + i * part_len(at));
    }
}

static void fold_slots(const cpu_thread *t, const cpu_attn *at, int64_t n_pair, int64_t n_each, int64_t done) {
    const int64_t len = part_len(at);
    float *parts = t->c->s.attn_parts, *running = parts + (int64_t)SLOTS * t->n * len;
    for (int64_t i = t->i; i < n_pair; i += t->n) {
        const pair p = pair_at(t, at, i);
        float *all = running + i * len;
        if (done == 0) clear_part(at, all);
        for (int64_t b = done; b < done + n_each && b < n_block(&p); b++) {
            fold(at, all, parts + (i * n_each + b - done) * len);
            if (b + 1 == n_block(&p)) finish(&p, all);
        }
    }
}

void cpu_attend_generated(const cpu_thread *t, const cpu_attn *at) {
    cpu_step *c = t->c;
    const int64_t n_pair = (int64_t)c->n_generated * at->a->n_kv_head;
    int64_t most = 1;
    if (t->n > 1 && n_pair < SPLIT_BELOW * t->n) {
        for (int64_t i = 0; i < n_pair; i += at->a->n_kv_head) {
            const pair p = pair_at(t, at, i);
            if (n_block(&p) > most) most = n_block(&p);
        }
    }
    if (most == 1) {
        attend_pairs(t, at, n_pair);
        return;
    }
    int64_t n_each = (int64_t)SLOTS * t->n / n_pair;
    if (n_each > most) n_each = most;
    for (int64_t done = 0; done < most; done += n_each) {
        if (done > 0) cpu_barrier(t);
        attend_slots(t, at, n_pair, n_each, done);
        cpu_barrier(t);
        if (t->i == 0) atomic_store(&c->next_part, 0);
        fold_slots(t, at, n_pair, n_each, done);
    }
}
