// Attention on the CPU: which keys a row sees, and how the work of a layer is dealt out.
#include "model/cpu_attention.h"

cpu_keys cpu_visible_keys(const cpu_row *r, const hth_attention_desc *a) {
    const int64_t end = r->n_ancestor > 0 ? r->base + r->n_ancestor : r->end;
    const int64_t q_pos = r->state->pos[r->slot];
    const int64_t window = a->chunked ? q_pos % a->window + 1 : a->window; // back to where the chunk begins
    const int64_t n_line = r->n_ancestor > 0 ? r->base : end; // the part whose positions ascend row by row
    int64_t j = hth_state_first_visible(r->state, window, q_pos, n_line);
    while (window != 0 && r->n_ancestor > 0 && j >= r->base && j < end &&
           r->state->pos[r->ancestors[j - r->base]] <= q_pos - window) {
        j++;
    }
    return (cpu_keys){j, end};
}

int64_t cpu_key_run(const cpu_row *r, int64_t j, int64_t end, int64_t *slot) {
    int64_t n = end - j;
    if (r->n_ancestor > 0 && j >= r->base) {
        *slot = r->ancestors[j - r->base];
        return 1;
    }
    *slot = j;
    if (r->n_ancestor > 0 && j + n > r->base) n = r->base - j;
    const int64_t left = HTH_PAGE_ROWS - j % HTH_PAGE_ROWS;
    return n < left ? n : left;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

size_t cpu_attention_work(const hth_attention_desc *a) {
    const cpu_attn at = {.a = a, .n_rep = a->n_head / a->n_kv_head};
    return larger(cpu_prompt_work(&at), cpu_generated_work(a));
}

size_t cpu_attention_parts(const hth_attention_desc *a, int n_thread) {
    return cpu_generated_parts(a, n_thread);
}

void cpu_attention(const cpu_thread *t, int32_t i) {
    const hth_attention_desc *a = &t->c->model->desc.layers[i].attn;
    const cpu_attn at = {.a = a, .sinks = t->c->model->layers[i].sinks, .n_rep = a->n_head / a->n_kv_head,
                         .q = t->c->s.q, .out = t->c->s.attn};
    cpu_attend(t, &at, &at);
}

void cpu_attend(const cpu_thread *t, const cpu_attn *prompt, const cpu_attn *generated) {
    cpu_step *c = t->c;
    const int64_t n_task = cpu_prompt_tasks(c, prompt);
    // Later rows see more keys: the largest tasks go first.
    for (int64_t task; n_task > 0 && (task = atomic_fetch_add(&c->next_task, 1)) < n_task;) {
        cpu_prompt_task(t, prompt, n_task - 1 - task);
    }
    if (c->n_generated > 0) cpu_attend_generated(t, generated);
    cpu_barrier(t);
    if (t->i != 0) return;
    atomic_store(&c->next_task, 0); // the next layer has a barrier before its attention
    atomic_store(&c->next_part, 0);
}
