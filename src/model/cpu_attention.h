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

// Latent attention of a layer in both forms (cpu_latent.c).
typedef struct cpu_latent {
    const hth_latent_desc *d;
    const hth_latent *w;
    hth_attention_desc expanded; // prompt rows: each head has keys and values, made of the compressed rows
    hth_attention_desc absorbed; // generated rows: keys are the compressed rows, some heads together
} cpu_latent;

// The layer at work.
typedef struct cpu_attn {
    const hth_attention_desc *a;
    const float *sinks; // [n_head] or NULL
    int32_t n_rep;      // query heads of a K/V head
    const float *q; // [n, n_head, head_dim]
    float *out;     // [n, n_head, head_dim_v]
    const cpu_latent *latent; // keys and values come of compressed rows; NULL: they are stored as they are
} cpu_attn;

// The i-th generated row of the batch, by ascending row.
static inline int32_t cpu_generated_row(const cpu_step *c, int32_t i) {
    return c->order[c->n_row - 1 - i];
}

// Keys [first, end) of a row's line.
typedef struct cpu_keys {
    int64_t first, end;
} cpu_keys;

cpu_keys cpu_visible_keys(const cpu_row *r, const hth_attention_desc *a);
// The keys [j, j + n), j + n <= end, that lie behind each other in one page, from *slot on; returns n > 0.
int64_t cpu_key_run(const cpu_row *r, int64_t j, int64_t end, int64_t *slot);

// Keys and values where they are stored. Compressed rows are those of all heads, and begin with the values.
static inline hth_kv_run cpu_k_run(const cpu_row *r, const cpu_attn *at, int32_t kv_head, int64_t slot, int64_t n) {
    const hth_layer_state *l = &r->state->layers[at->a->kv_layer];
    return (hth_kv_run){hth_state_k(l, at->latent ? 0 : kv_head, slot), l->k_head_bytes / HTH_PAGE_ROWS, n, at->a->head_dim};
}

static inline hth_kv_run cpu_v_run(const cpu_row *r, const cpu_attn *at, int32_t kv_head, int64_t slot, int64_t n) {
    const hth_layer_state *l = &r->state->layers[at->a->kv_layer];
    if (at->latent) return (hth_kv_run){hth_state_k(l, 0, slot), l->k_head_bytes / HTH_PAGE_ROWS, n, at->a->head_dim_v};
    return (hth_kv_run){hth_state_v(l, kv_head, slot), l->v_head_bytes / HTH_PAGE_ROWS, n, at->a->head_dim_v};
}

static inline hth_kv_type cpu_v_type(const cpu_row *r, const cpu_attn *at) {
    return at->latent ? r->state->k_type : r->state->v_type;
}

// Both kinds of rows; ends with a barrier.
void cpu_attend(const cpu_thread *t, const cpu_attn *prompt, const cpu_attn *generated);

// Keys and values of one head from compressed rows: `open` reads the head's weights into room, `make` turns the rows
// that lie at cpu_latent_rows(room) into k [n, d_nope + d_rope] and v [n, d_v].
size_t cpu_latent_room(const hth_latent_desc *d); // floats
void cpu_latent_open(const cpu_thread *t, const cpu_latent *l, int32_t head, float *room);
float *cpu_latent_rows(const hth_latent_desc *d, float *room);
// Undoes the mixing of n compressed rows that were widened, where the row's sequence stores them mixed.
void cpu_latent_unmix(const cpu_row *r, const hth_latent_desc *d, float *rows, int64_t n);
void cpu_latent_make(const cpu_thread *t, const cpu_latent *l, float *room, int64_t n, float *k, float *v);

// Prompt rows, as tiles of queries.
int64_t cpu_prompt_tasks(const cpu_step *c, const cpu_attn *at);
void cpu_prompt_task(const cpu_thread *t, const cpu_attn *at, int64_t task);
size_t cpu_prompt_work(const cpu_attn *at); // floats that a thread needs

// Generated rows: all query heads of a K/V head over each run of keys. Every thread calls it.
void cpu_attend_generated(const cpu_thread *t, const cpu_attn *at);
size_t cpu_generated_work(const hth_attention_desc *a);              // floats that a thread needs
size_t cpu_generated_parts(const hth_attention_desc *a, int n_thread); // and all of them together

#endif
