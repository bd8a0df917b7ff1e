// Matrix products of routed experts. A list of experts is one long column: all rows of the first, then of the second, ...
// A row costs as much as the tokens that it meets, and something for being read; pieces of equal cost are dealt out.
#include "model/cpu_linear.h"

#define READ_COST 4
#define PIECES 32 // of each thread's part

// The column of one operation.
typedef struct column {
    const cpu_expert_job *job;
    const cpu_expert *experts;
    int64_t n_expert, n_row; // of each expert and product
    hth_q8 q8;
} column;

// The first row of a group that lies at `cost` or behind it; `before` is the cost of the groups before it.
static int64_t row_at(const column *c, int64_t cost, int64_t before, int64_t cost_of_row) {
    if (cost <= before) return 0;
    const int64_t row = ((cost - before) / cost_of_row + CPU_PANEL_ROWS - 1) / CPU_PANEL_ROWS * CPU_PANEL_ROWS;
    return row < c->n_row ? row : c->n_row;
}

// Rows [first, last) of all products of one expert, with its tokens.
static void multiply_expert(const cpu_thread *t, const column *c, const cpu_expert *e, int64_t first, int64_t last) {
    const int64_t tok = e->first - c->experts[0].first;
    const hth_linear_hook *hook = t->c->step->hook;
    if (!cpu_expert_wait(t, e->expert)) return;
    for (int i = 0; i < c->job->n_product; i++) {
        cpu_product p = c->job->products[i];
        p.expert = e->expert;
        cpu_multiply_rows(t, &p, first, last, c->job->in, &c->q8, tok, tok + e->n);
    }
    if (c->job->fn && !(hook && hook->reduce)) c->job->fn(t, c->job->user, tok, tok + e->n, first, last);
}

// Experts that are still being read come one after the other: all threads share each of them.
static void share_each(const cpu_thread *t, const column *c) {
    int64_t first, last;
    hth_team_part(c->n_row, CPU_PANEL_ROWS / 2, t->i, t->n, &first, &last);
    for (int64_t g = 0; g < c->n_expert && first < last; g++) multiply_expert(t, c, &c->experts[g], first, last);
}

static void deal_out(const cpu_thread *t, const column *c) {
    const int64_t total = (c->job->in->n_tok + c->n_expert * READ_COST) * c->n_row;
    cpu_deal deal = cpu_deal_begin(t->c->lanes, t->i, t->n, total, 1, t->n == 1 ? total : total / (t->n * PIECES) + 1);
    for (int64_t begin, end; cpu_deal_next(&deal, &begin, &end);) {
        for (int64_t g = 0, before = 0; g < c->n_expert && before < end; g++) {
            const int64_t cost = c->experts[g].n + READ_COST;
            const int64_t first = row_at(c, begin, before, cost), last = row_at(c, end, before, cost);
            if (first < last) multiply_expert(t, c, &c->experts[g], first, last);
            before += cost * c->n_row;
        }
    }
}

// After a reduction over machines the bias is added once, that of each row's expert, by the thread that reduced.
static void reduce(const cpu_thread *t, const column *c) {
    const hth_linear_hook *hook = t->c->step->hook;
    int64_t first, last;
    if (!hook || !hook->reduce) return;
    for (int i = 0; t->i == 0 && i < c->job->n_product; i++) {
        cpu_product p = c->job->products[i];
        hook->reduce(hook->user, p.w, c->job->in->n_tok, p.y, p.y_stride);
        for (int64_t g = 0; g < c->n_expert; g++) {
            const int64_t tok = c->experts[g].first - c->experts[0].first;
            p.expert = c->experts[g].expert;
            cpu_add_bias(&p, 0, p.w->n_row, tok, tok + c->experts[g].n);
        }
    }
    cpu_barrier(t);
    if (!c->job->fn) return;
    hth_team_part(c->n_row, CPU_PANEL_ROWS, t->i, t->n, &first, &last);
    c->job->fn(t, c->job->user, 0, c->job->in->n_tok, first, last);
    cpu_barrier(t);
}

void cpu_linear_experts(const cpu_thread *t, const cpu_expert_job *job) {
    const column c = {.job = job, .experts = job->experts, .n_expert = job->n_expert, .n_row = job->products[0].w->n_row,
                      .q8 = cpu_input_of(t, job->products, job->n_product, job->in, job->scatter)};
    if (t->c->s.moe.table >= 0) {
        share_each(t, &c);
    } else {
        deal_out(t, &c);
    }
    cpu_barrier(t);
    reduce(t, &c);
}
