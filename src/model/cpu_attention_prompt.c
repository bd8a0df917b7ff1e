// Attention of prompt rows: tiles of queries against blocks of keys that are widened to f32 once per task. The lanes
// of a tile are the query heads of one K/V head, row after row, so heads that share keys fill a tile together. A lane
// goes through its keys in order by itself (kernels.h, tile_*), and keys that it does not see count as nothing, so
// its bits do not depend on what else is in the tile. Rows of a draft tree see keys of their own: one row per task.
#include <math.h>
#include <string.h>

#include "model/cpu_attention.h"

enum {
    LANES = HTH_TILE_LANES,
    TASK_LANES = 128, // queries of a task; fewer where threads would idle
    // Where keys and values of a task are made of compressed rows, which costs as much as some 400 queries that meet them.
    LATENT_LANES = 512,
};

typedef struct prompt_task {
    const cpu_thread *t;
    const cpu_step *c;
    const cpu_attn *at;
    const int32_t *rows; // [n_row] of the batch, of one sequence
    int32_t n_row, kv_head;
    int64_t n_lane;            // n_row * n_rep
    cpu_keys *keys; // [n_row]
    float *k, *v;              // [CPU_ATTN_BLOCK, head_dim] a block of keys, of values
    float *s;                  // [CPU_ATTN_BLOCK, LANES]
    float *q, *acc;            // [tile, head_dim, LANES] scaled queries, sums of values
    float *top, *sum;          // [tile, LANES]
    float *room; // for latent attention
    float keep[LANES];
} prompt_task;

static int64_t most_lanes(const cpu_attn *at) {
    const int64_t most = at->latent ? LATENT_LANES : TASK_LANES, n = at->n_rep > most ? at->n_rep : most;
    return (n + LANES - 1) / LANES * LANES;
}

size_t cpu_prompt_work(const cpu_attn *at) {
    const int64_t lanes = most_lanes(at), dims = (int64_t)at->a->head_dim + at->a->head_dim_v;
    const size_t room = at->latent ? cpu_latent_room(at->latent->d) : 0;
    return (size_t)((CPU_ATTN_BLOCK + lanes) * dims + CPU_ATTN_BLOCK * LANES + 2 * lanes) + room;
}

// ---- tasks

static int64_t rows_per_task(const cpu_step *c, const cpu_attn *at) {
    const int64_t all = (int64_t)(c->n_row - c->n_generated) * at->a->n_head;
    const int64_t n_task = hth_team_size(c->team) * (at->latent ? 2 : 4);
    int64_t lanes = at->latent ? LATENT_LANES : TASK_LANES;
    while (lanes > LANES && all / lanes < n_task) lanes /= 2;
    return lanes > at->n_rep ? lanes / at->n_rep : 1;
}

int64_t cpu_prompt_tasks(const cpu_step *c, const cpu_attn *at) {
    const int64_t per_task = rows_per_task(c, at);
    int64_t n = 0;
    for (int32_t g = 0; g < c->n_group; g++) n += (c->groups[g].n + per_task - 1) / per_task;
    return n * at->a->n_kv_head;
}

static void find_rows(prompt_task *w, int64_t task) {
    const int64_t per_task = rows_per_task(w->c, w->at);
    const cpu_group *g = w->c->groups;
    w->kv_head = (int32_t)(task % w->at->a->n_kv_head);
    task /= w->at->a->n_kv_head;
    for (int64_t n; task >= (n = (g->n + per_task - 1) / per_task); g++) task -= n;
    const int64_t first = task * per_task, n_row = g->n - first;
    w->rows = w->c->order + g->first + first;
    w->n_row = (int32_t)(n_row < per_task ? n_row : per_task);
    w->n_lane = (int64_t)w->n_row * w->at->n_rep;
}

static void find_buffers(prompt_task *w, float *work) {
    const hth_attention_desc *a = w->at->a;
    const int64_t lanes = most_lanes(w->at);
    w->s = work;
    w->q = w->s + CPU_ATTN_BLOCK * LANES;
    w->acc = w->q + lanes * a->head_dim;
    w->top = w->acc + lanes * a->head_dim_v;
    w->sum = w->top + lanes;
    w->k = w->sum + lanes;
    w->v = w->k + CPU_ATTN_BLOCK * a->head_dim;
    w->room = w->v + CPU_ATTN_BLOCK * a->head_dim_v;
}

// Which head of the layer lane i is, of which row.
static int64_t head_of(const prompt_task *w, int64_t i, int32_t *row) {
    *row = w->rows[i / w->at->n_rep];
    return (int64_t)w->kv_head * w->at->n_rep + i % w->at->n_rep;
}

static void begin_task(prompt_task *w) {
    const hth_attention_desc *a = w->at->a;
    const int64_t padded = (w->n_lane + LANES - 1) / LANES * LANES;
    for (int32_t i = 0; i < w->n_row; i++) w->keys[i] = cpu_visible_keys(&w->c->rows[w->rows[i]], a);
    memset(w->acc, 0, (size_t)(padded * a->head_dim_v) * sizeof *w->acc);
    if (a->softcap > 0) memset(w->s, 0, (size_t)CPU_ATTN_BLOCK * LANES * sizeof *w->s); // capped as a whole
    for (int64_t i = 0; i < padded; i++) {
        int32_t row;
        float *to = w->q + i / LANES * LANES * a->head_dim + i % LANES;
        w->top[i] = -INFINITY;
        w->sum[i] = 0;
        if (i < w->n_lane) {
            const int64_t head = head_of(w, i, &row);
            const float *from = w->at->q + ((int64_t)row * a->n_head + head) * a->head_dim;
            for (int64_t d = 0; d < a->head_dim; d++) to[d * LANES] = from[d] * a->scale;
        } else {
            for (int64_t d = 0; d < a->head_dim; d++) to[d * LANES] = 0;
        }
    }
}

static void finish_lane(const prompt_task *w, int64_t i) {
    const hth_attention_desc *a = w->at->a;
    int32_t row;
    const int64_t head = head_of(w, i, &row);
    const float *from = w->acc + i / LANES * LANES * a->head_dim_v + i % LANES;
    float *to = w->at->out + ((int64_t)row * a->n_head + head) * a->head_dim_v;
    float sum = w->sum[i], keep = 1;
    if (w->at->sinks) { // a learned score that takes its share of the sum and has no value
        const float sink = w->at->sinks[head], top = sink > w->top[i] ? sink : w->top[i];
        keep = expf(w->top[i] - top);
        sum = sum * keep + expf(sink - top);
    }
    const float by = keep / sum;
    for (int64_t d = 0; d < a->head_dim_v; d++) to[d] = from[d * LANES] * by;
}

// ---- one block of keys

// Keys [first, end) of the line, made of compressed rows.
static void expand_block(const prompt_task *w, int64_t first, int64_t end) {
    const cpu_row *r = &w->c->rows[w->rows[0]];
    const hth_latent_desc *d = w->at->latent->d;
    const int64_t width = d->kv_rank + d->d_rope;
    float *rows = cpu_latent_rows(d, w->room);
    for (int64_t j = first, n; j < end; j += n) {
        int64_t slot;
        n = cpu_key_run(r, j, end, &slot);
        hth_kv_run run = cpu_k_run(r, w->at, 0, slot, n);
        run.dim = width;
        w->c->k->kv_load[r->state->k_type](&run, rows + (j - first) * width);
    }
    cpu_latent_unmix(r, d, rows, end - first);
    cpu_latent_make(w->t, w->at->latent, w->room, end - first, w->k, w->v);
}

// Keys [first, end) of the line, widened. All rows of a task have the same line.
static void load_block(const prompt_task *w, int64_t first, int64_t end) {
    const cpu_row *r = &w->c->rows[w->rows[0]];
    const hth_attention_desc *a = w->at->a;
    if (w->at->latent) {
        expand_block(w, first, end);
        return;
    }
    for (int64_t j = first, n; j < end; j += n) {
        int64_t slot;
        n = cpu_key_run(r, j, end, &slot);
        const hth_kv_run k = cpu_k_run(r, w->at, w->kv_head, slot, n), v = cpu_v_run(r, w->at, w->kv_head, slot, n);
        w->c->k->kv_load[r->state->k_type](&k, w->k + (j - first) * a->head_dim);
        w->c->k->kv_load[r->state->v_type](&v, w->v + (j - first) * a->head_dim_v);
    }
}

// What the lanes of a tile see of a block: some lane sees [first, end), every lane [all_first, all_end).
typedef struct tile_view {
    int64_t n_q, first, end, all_first, all_end;
    cpu_keys lane[LANES];
} tile_view;

static int64_t within(int64_t v, int64_t lo, int64_t hi) {
    return v < lo ? lo : v < hi ? v : hi;
}

static tile_view view_of(const prompt_task *w, int64_t tile, int64_t first, int64_t end) {
    const int64_t left = w->n_lane - tile * LANES;
    tile_view view = {.n_q = left < LANES ? left : LANES, .first = end, .end = first, .all_first = first, .all_end = end};
    for (int64_t c = 0; c < view.n_q; c++) {
        const cpu_keys keys = w->keys[(tile * LANES + c) / w->at->n_rep];
        const cpu_keys here = {within(keys.first, first, end), within(keys.end, first, end)};
        view.lane[c] = here;
        if (here.first >= here.end) {
            view.all_end = first;
            continue;
        }
        if (here.first < view.first) view.first = here.first;
        if (here.end > view.end) view.end = here.end;
        if (here.first > view.all_first) view.all_first = here.first;
        if (here.end < view.all_end) view.all_end = here.end;
    }
    if (view.all_first > view.all_end) view.all_first = view.all_end;
    view.all_first = within(view.all_first, view.first, view.end);
    view.all_end = within(view.all_end, view.all_first, view.end);
    return view;
}

static bool sees(const tile_view *view, int64_t c, int64_t j) {
    return j >= view->lane[c].first && j < view->lane[c].end;
}

static void mask_keys(const tile_view *view, int64_t first, int64_t end, float *s) {
    for (int64_t j = first; j < end; j++)
        for (int64_t c = 0; c < view->n_q; c++)
            if (!sees(view, c, j)) s[(j - view->first) * LANES + c] = -INFINITY;
}

static bool has_odd_number(const float *x, int64_t n) {
    float odd = 0;
    for (int64_t i = 0; i < n; i++) odd += x[i] - x[i];
    return odd != 0; // NaN
}

// A hidden value times its weight of 0 is nothing unless it is no number: then the keys that not all lanes see are
// added one by one to the lanes that see them, in the same order.
static void add_odd_values(const prompt_task *w, const tile_view *view, const float *v, float *acc) {
    const int64_t dim = w->at->a->head_dim_v;
    for (int64_t d = 0; d < dim; d++) {
        for (int64_t c = 0; c < view->n_q; c++) {
            float sum = 0;
            for (int64_t j = view->lane[c].first; j < view->lane[c].end; j++)
                sum = fmaf(w->s[(j - view->first) * LANES + c], v[(j - view->first) * dim + d], sum);
            acc[d * LANES + c] = fmaf(acc[d * LANES + c], w->keep[c], sum);
        }
    }
}

// Keys [first, end) are in w->k and w->v.
static void attend_block(prompt_task *w, int64_t tile, int64_t first, int64_t end) {
    const hth_attention_desc *a = w->at->a;
    const hth_kernels *kern = w->c->k;
    const tile_view view = view_of(w, tile, first, end);
    const int64_t n = view.end - view.first, dim = a->head_dim_v;
    if (n <= 0) return;
    const float *v = w->v + (view.first - first) * dim;
    float *acc = w->acc + tile * LANES * dim;
    kern->tile_scores(w->k + (view.first - first) * a->head_dim, n, a->head_dim, w->q + tile * LANES * a->head_dim, view.n_q,
                      w->s);
    if (a->softcap > 0) kern->tanh_cap(w->s, a->softcap, n * LANES);
    mask_keys(&view, view.first, view.all_first, w->s);
    mask_keys(&view, view.all_end, view.end, w->s);
    kern->tile_softmax(w->s, n, view.n_q, w->top + tile * LANES, w->sum + tile * LANES, w->keep);
    if (has_odd_number(v, (view.all_first - view.first) * dim) ||
        has_odd_number(v + (view.all_end - view.first) * dim, (view.end - view.all_end) * dim)) {
        add_odd_values(w, &view, v, acc);
    } else {
        kern->tile_values(v, n, dim, w->s, w->keep, view.n_q, acc);
    }
}

void cpu_prompt_task(const cpu_thread *t, const cpu_attn *at, int64_t task) {
    cpu_keys keys[LATENT_LANES];
    prompt_task w = {.t = t, .c = t->c, .at = at, .keys = keys};
    find_rows(&w, task);
    find_buffers(&w, t->c->s.attn_work + (size_t)t->i * t->c->s.attn_work_len);
    begin_task(&w);
    if (at->latent) cpu_latent_open(t, at->latent, w.kv_head, w.room);
    cpu_keys all = w.keys[0];
    for (int32_t i = 1; i < w.n_row; i++) {
        if (w.keys[i].first < all.first) all.first = w.keys[i].first;
        if (w.keys[i].end > all.end) all.end = w.keys[i].end;
    }
    for (int64_t j = all.first, stop; j < all.end; j = stop) {
        stop = (j / CPU_ATTN_BLOCK + 1) * CPU_ATTN_BLOCK;
        if (stop > all.end) stop = all.end;
        load_block(&w, j, stop);
        for (int64_t tile = 0; tile * LANES < w.n_lane; tile++) attend_block(&w, tile, j, stop);
    }
    for (int64_t i = 0; i < w.n_lane; i++) finish_lane(&w, i);
}
