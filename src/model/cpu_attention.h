// What the two ways of attention share: the keys that a row sees, and where they lie.
//
// The keys of a row are numbered along its own line of ancestors and cut into blocks of CPU_ATTN_BLOCK at absolute
// multiples. Each block gives a partial result (maximum, sum, weighted values), and these are folded in order
// (online softmax, arXiv:2205.14135). So a row's result is the same bits whether its keys were computed in one
// step or many, stand in a draft tree or in a line, and whoever else is in the batch. Prompt rows and generated
// rows differ in how a block is computed.
#ifndef HTH_MODEL_CPU_ATTENTION_H
#define HTH_MODEL_CPU_ATTENTION_H

#include "model/cpu.h"

// The layer at work.
typedef struct cpu_attn {
    const hth_attention_desc *a;
    const float *sinks; // [n_head] or NULL
    int32_t n_rep;      // query heads of a K/V head
} cpu_attn;

// Keys [first, end) of a row's line.
typedef struct cpu_keys {
    int64_t first, end;
} cpu_keys;

cpu_keys cpu_visible_keys(const cpu_row *r, const hth_attention_desc *a);
// The keys [j, j + n), j + n <= end, that lie behind each other in one page, from *slot on; returns n > 0.
int64_t cpu_key_run(const cpu_row *r, int64_t j, int64_t end, int64_t *slot);

static inline hth_kv_run cpu_k_run(const cpu_row *r, const hth_attention_desc *a, int32_t kv_head, int64_t slot, int64_t n) {
    const hth_layer_state *l = &r->state->layers[a->kv_layer];
    return (hth_kv_run){hth_state_k(l, kv_head, slot), l->k_head_bytes / HTH_PAGE_ROWS, n, a->head_dim};
}

static inline hth_kv_run cpu_v_run(const cpu_row *r, const hth_attention_desc *a, int32_t kv_head, int64_t slot, int64_t n) {
    const hth_layer_state *l = &r->state->layers[a->kv_layer];
    return (hth_kv_run){hth_state_v(l, kv_head, slot), l->v_head_bytes / HTH_PAGE_ROWS, n, a->head_dim_v};
}

// Prompt rows, as tiles of queries.
int64_t cpu_prompt_tasks(const cpu_step *c, const cpu_attn *at);
void cpu_prompt_task(const cpu_thread *t, const cpu_attn *at, int64_t task);
size_t cpu_prompt_work(const hth_attention_desc *a); // floats that a thread needs

// Generated rows: all query heads of a K/V head over each run of keys. Every thread calls it.
void cpu_attend_generated(const cpu_thread *t, const cpu_attn *at);
size_t cpu_generated_work(const hth_attention_desc *a);              // floats that a thread needs
size_t cpu_generated_parts(const hth_attention_desc *a, int n_thread); // and all of them together

#endif
