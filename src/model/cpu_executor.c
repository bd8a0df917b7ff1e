// The CPU executor: checks a step, lays out its scratch memory, sends the thread team through it.
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "model/cpu.h"

#define MAX_STEP_ROWS 65536

// ---- checking

static hth_code check_row(const hth_step *step, int32_t i, hth_err *err) {
    const hth_desc *d = &step->model->desc;
    const hth_batch *b = &step->batch;
    const hth_row *r = &b->rows[i];
    if (r->token < -1 || r->token >= d->n_vocab) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d: token %d is outside the vocabulary of %d", (int)i, (int)r->token,
                        (int)d->n_vocab);
    }
    const bool reads_input = step->layer_first == 0 || d->d_per_layer > 0;
    const bool reads_both = hth_weight_exists(&step->model->combine); // a token and a hidden row
    if ((r->token < 0 || reads_both) && reads_input && !b->embd) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d has %s", (int)i, reads_both ? "no hidden row" : "neither a token nor an embedding");
    }
    if (r->token < 0 && reads_both) return hth_fail(err, HTH_ERR_RANGE, "row %d has no token", (int)i);
    if ((r->token < 0 || reads_both) && reads_input && (r->i_embd < 0 || r->i_embd >= b->n_embd)) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d: embedding %d of %d", (int)i, (int)r->i_embd, (int)b->n_embd);
    }
    if (r->i_seq < 0 || r->i_seq >= b->n_seq) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d: sequence %d of %d", (int)i, (int)r->i_seq, (int)b->n_seq);
    }
    if (r->pos[0] < 0) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d: position %lld is negative", (int)i, (long long)r->pos[0]);
    }
    if (d->learned_positions && r->pos[0] >= d->n_ctx_train) {
        return hth_fail(err, HTH_ERR_LIMIT, "row %d: position %lld, the model knows positions below %lld", (int)i,
                        (long long)r->pos[0], (long long)d->n_ctx_train);
    }
    if (d->n_token_type > 0 && (r->type < 0 || r->type >= d->n_token_type)) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d: token type %d of %d", (int)i, (int)r->type, (int)d->n_token_type);
    }
    bool parent_ok = r->parent < 0 ? r->parent >= HTH_PARENT_NONE : r->parent < i && b->rows[r->parent].i_seq == r->i_seq;
    if (!parent_ok) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d: parent %d is no earlier row of its sequence", (int)i, (int)r->parent);
    }
    if (!d->causal && r->parent != HTH_PARENT_PREVIOUS) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "row %d has a parent, but %s is an encoder", (int)i, d->family);
    }
    return HTH_OK;
}

// Whether the step computes what HTH_WANT_LOGITS and HTH_WANT_HIDDEN ask for: a step over some of the layers
// may carry rows whose wishes another step of the chain fulfils.
static bool gives_logits(const hth_step *step) {
    return step->layer_last == step->model->desc.n_layer;
}

static bool gives_hidden(const hth_step *step) {
    if (step->hidden_layer < 0) return gives_logits(step);
    return step->hidden_layer >= step->layer_first && step->hidden_layer < step->layer_last;
}

static hth_code check_wants(const hth_step *step, int32_t i, hth_err *err) {
    const uint8_t want = step->batch.rows[i].want;
    const bool logits = (want & HTH_WANT_LOGITS) && gives_logits(step);
    const bool hidden = (want & HTH_WANT_HIDDEN) && gives_hidden(step);
    if ((logits && !step->logits) || (hidden && !step->hidden_want)) {
        return hth_fail(err, HTH_ERR_RANGE, "row %d wants %s but there is no buffer for it", (int)i,
                        hidden && !step->hidden_want ? "hidden numbers" : "logits");
    }
    if (logits && !hth_weight_exists(&step->model->output)) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s is an encoder: it has no logits", step->model->desc.family);
    }
    return HTH_OK;
}

static hth_code check_layers(const hth_step *step, hth_err *err) {
    const hth_desc *d = &step->model->desc;
    if (step->layer_first < 0 || step->layer_first > step->layer_last || step->layer_last > d->n_layer) {
        return hth_fail(err, HTH_ERR_RANGE, "layers %d to %d of %d", (int)step->layer_first, (int)step->layer_last,
                        (int)d->n_layer);
    }
    if (step->hidden_layer < -1 || step->hidden_layer >= d->n_layer) {
        return hth_fail(err, HTH_ERR_RANGE, "hidden layer %d of %d", (int)step->hidden_layer, (int)d->n_layer);
    }
    if ((step->layer_first > 0 && !step->hidden_in) || (step->layer_last < d->n_layer && !step->hidden_out)) {
        return hth_fail(err, HTH_ERR_RANGE, "a range of layers needs its hidden rows");
    }
    for (int32_t i = step->layer_first; i < step->layer_last; i++) {
        const bool takes_values = d->layers[i].recurrent.kind == HTH_RECURRENT_WKV && step->layer_first > 0;
        if (!takes_values && d->layers[i].attn.kv_layer >= step->layer_first) continue;
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "layer %d reads the %s of layer %d: both must run in one step", (int)i,
                        takes_values ? "values" : "keys", takes_values ? 0 : (int)d->layers[i].attn.kv_layer);
    }
    return HTH_OK;
}

static hth_code check_state(const hth_step *step, int32_t s, hth_err *err) {
    const hth_state *state = step->batch.states ? step->batch.states[s] : NULL;
    if (!state || state->model != step->model) {
        return hth_fail(err, HTH_ERR_RANGE, "sequence %d has no state of this model", (int)s);
    }
    if (state->tree_first >= 0) {
        return hth_fail(err, HTH_ERR_RANGE, "sequence %d holds a draft tree: a branch of it must be kept first", (int)s);
    }
    if (state->len > 0 && (state->layer_first != step->layer_first || state->layer_last != step->layer_last)) {
        return hth_fail(err, HTH_ERR_RANGE, "sequence %d holds layers %d to %d, the step runs %d to %d", (int)s,
                        (int)state->layer_first, (int)state->layer_last, (int)step->layer_first, (int)step->layer_last);
    }
    return HTH_OK;
}

static hth_code check_step(const hth_step *step, hth_err *err) {
    const hth_desc *d = &step->model->desc;
    const hth_batch *b = &step->batch;
    if (b->n_row < 1 || b->n_row > MAX_STEP_ROWS) {
        return hth_fail(err, HTH_ERR_RANGE, "a step of %d rows; 1 to %d are possible", (int)b->n_row, MAX_STEP_ROWS);
    }
    HTH_TRY(check_layers(step, err));
    if (step->hook && step->hook->reduce && step->model->stream) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "a model whose experts are on disk cannot be split between machines");
    }
    for (int32_t s = 0; d->causal && s < b->n_seq; s++) HTH_TRY(check_state(step, s, err));
    for (int32_t i = 0; i < b->n_row; i++) {
        HTH_TRY(check_row(step, i, err));
        HTH_TRY(check_wants(step, i, err));
    }
    return HTH_OK;
}

// ---- scratch

typedef struct planner {
    size_t n; // floats so far
    bool overflow;
} planner;

// Reserves a x b floats, rounded to a cache line; returns the offset.
static size_t plan(planner *p, int64_t a, int64_t b) {
    size_t n, at = p->n;
    if (!hth_mul_size((size_t)a, (size_t)b, &n) || !hth_add_size(n, 15, &n) || !hth_add_size(p->n, n & ~(size_t)15, &p->n)) {
        p->overflow = true;
    }
    return at;
}

typedef struct widths {
    int64_t q, k, v, attn, ff, n_rot, cols, attn_work, attn_parts, recurrent, latent_q, latent_out;
    int64_t n_used, expert_cols; // experts per row, and the widest input of theirs
    bool branch2;
} widths;

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static void widen_for_attention(widths *w, const hth_attention_desc *a, int n_thread) {
    w->q = max64(w->q, (int64_t)a->n_head * a->head_dim);
    if (a->gated) w->recurrent = max64(w->recurrent, 2 * (int64_t)a->n_head * a->head_dim);
    w->k = max64(w->k, (int64_t)a->n_kv_head * a->head_dim);
    w->v = max64(w->v, (int64_t)a->n_kv_head * a->head_dim_v);
    w->attn = max64(w->attn, (int64_t)a->n_head * a->head_dim_v);
    w->attn_work = max64(w->attn_work, (int64_t)cpu_attention_work(a));
    w->attn_parts = max64(w->attn_parts, (int64_t)cpu_attention_parts(a, n_thread));
}

static void widen_for_latent(widths *w, const hth_layer_desc *l, int n_thread) {
    const cpu_latent_sizes z = cpu_latent_sizes_of(l, n_thread);
    w->q = max64(w->q, z.q);
    w->k = max64(w->k, z.compressed_kv);
    w->v = max64(w->v, z.compressed_q);
    w->attn = max64(w->attn, z.out);
    w->cols = max64(w->cols, max64(l->latent.d_nope, max64(z.compressed_kv, z.compressed_q)));
    w->latent_q = max64(w->latent_q, z.latent_q);
    w->latent_out = max64(w->latent_out, z.latent_out);
    w->attn_work = max64(w->attn_work, (int64_t)z.work);
    w->attn_parts = max64(w->attn_parts, (int64_t)z.parts);
}

static widths find_widths(const hth_model *m, int n_thread) {
    const hth_desc *d = &m->desc;
    widths w = {.cols = max64(d->d_model, (int64_t)d->n_layer * d->d_per_layer), .ff = d->d_per_layer, .n_used = 1};
    for (int32_t i = 0; i < d->n_layer; i++) {
        const hth_layer_desc *l = &d->layers[i];
        if (l->mixer == HTH_MIXER_ATTENTION) widen_for_attention(&w, &l->attn, n_thread);
        if (l->mixer == HTH_MIXER_LATENT) widen_for_latent(&w, l, n_thread);
        w.recurrent = max64(w.recurrent, cpu_recurrent_width(&l->recurrent));
        w.cols = max64(w.cols, m->layers[i].recurrent.out.n_col);
        w.ff = max64(w.ff, max64(l->d_ff, m->layers[i].laurel_left.n_row));
        w.cols = max64(w.cols, max64(l->moe.d_ff, l->moe.d_latent));
        w.n_used = max64(w.n_used, l->moe.n_used);
        if (l->moe.n_used > 0) w.expert_cols = max64(w.expert_cols, max64(d->d_model, max64(l->moe.d_ff, l->moe.d_latent)));
        w.branch2 |= l->parallel || l->has_laurel || l->has_ffn_shift;
        w.branch2 |= (l->mixer != HTH_MIXER_NONE && l->recurrent.kind != HTH_RECURRENT_NONE);
    }
    w.cols = max64(w.cols, max64(w.attn, max64(w.ff, m->combine.n_col)));
    for (int32_t i = 0; i < d->n_rope; i++) w.n_rot = max64(w.n_rot, d->rope[i].n_rot);
    return w;
}

// Floats that the rounded input of a product takes.
typedef struct input_sizes {
    int64_t codes, scales, wide_scales, wide_sums, tiles, bf16;
} input_sizes;

static input_sizes sizes_of_input(const cpu_step *c, int64_t n_tok, int64_t n_col) {
    const int64_t n_row = n_tok * c->n_part, n_block = (n_tok + HTH_BF16_TOKENS - 1) / HTH_BF16_TOKENS;
    const hth_q8 x = cpu_q8_strides(n_row, n_col, c->q8->tiles);
    return (input_sizes){.codes = n_row * x.q_stride / 4,
                         .scales = n_row * x.d_stride,
                         .wide_scales = c->q8->tiles ? (n_row + 15) / 16 * 16 * x.wide_stride : 0,
                         .wide_sums = n_row * x.wide_stride,
                         .tiles = x.wide_stride * x.tile_stride / 4,
                         .bf16 = c->is_bf16 ? n_block * hth_bf16_block((n_col + 63) / 64 * 64, c->n_part) / 2 : 0};
}

// All rows with the widest input, or each as often as it has experts with the widest of theirs.
static input_sizes sizes_of_inputs(const cpu_step *c, const widths *w) {
    const input_sizes a = sizes_of_input(c, c->n_row, w->cols), b = sizes_of_input(c, c->n_row * w->n_used, w->expert_cols);
    return (input_sizes){max64(a.codes, b.codes), max64(a.scales, b.scales), max64(a.wide_scales, b.wide_scales),
                         max64(a.wide_sums, b.wide_sums), max64(a.tiles, b.tiles), max64(a.bf16, b.bf16)};
}

static hth_code lay_out(cpu_executor *ex, cpu_step *c, hth_err *err) {
    const hth_desc *d = &c->model->desc;
    const widths w = find_widths(c->model, hth_team_size(ex->team));
    const int64_t n = c->n_row, n_thread = hth_team_size(ex->team);
    cpu_scratch *s = &c->s;
    s->panel_len = (size_t)(CPU_PANEL_ROWS * w.cols + 16);
    s->attn_work_len = (size_t)(w.attn_work + 16);
    s->n_rot_max = (int32_t)w.n_rot;
    // A panel holds the codes of its rows and, in the worst case, a scale and a minimum per 16.
    const int64_t q8_cols = (w.cols + 63) / 64 * 64, q8_blocks = q8_cols / HTH_Q8_BLOCK;
    const input_sizes in = sizes_of_inputs(c, &w);
    s->q8_panel_bytes = (size_t)(CPU_Q8_PANELS * HTH_PANEL_ROWS * (q8_cols + q8_cols / 16 * 8));
    s->n_own = (int32_t)(n < HTH_GEMV_TOKENS ? n : HTH_GEMV_TOKENS);
    s->q8_own.q_stride = q8_cols;
    s->q8_own.d_stride = q8_blocks;
    float *q8_codes, *q8_sums, *q8_tiles, *own_codes, *own_sums, *q8_panels, *bf16;
    planner p = {0};
    float **const parts[] = {&s->x,  &s->h,  &s->branch,    &s->branch2, &s->streams, &s->q, &s->k,      &s->v,     &s->attn,
                             &s->gate, &s->up, &s->per_layer, &s->recurrent,
                             &s->cos_,    &s->sin_, &s->pair, &s->panels, &s->attn_work, &s->attn_parts,
                             &s->latent_q, &s->latent_out,
                             &q8_codes, &s->q8.d, &q8_sums, &s->q8.wide_d, &s->q8.wide_sum, &q8_tiles, &own_codes, &s->q8_own.d,
                             &own_sums, &q8_panels, &bf16};
    const int64_t half_rot = w.n_rot / 2 * d->n_rope, n_own = n_thread * s->n_own * c->n_part;
    const size_t at[] = {plan(&p, n, d->d_model), plan(&p, n, d->d_model), plan(&p, n, d->d_model),
                         plan(&p, w.branch2 ? n : 0, d->d_model),
                         plan(&p, d->n_stream > 1 ? n * d->n_stream : 0, d->d_model), plan(&p, n, w.q), plan(&p, n, w.k), plan(&p, n, w.v),
                         plan(&p, n, w.attn), plan(&p, n, w.ff), plan(&p, n, w.ff),
                         plan(&p, n, (int64_t)d->n_layer * d->d_per_layer), plan(&p, n, w.recurrent),
                         plan(&p, n, half_rot), plan(&p, n, half_rot),
                         plan(&p, hth_weight_exists(&c->model->combine) ? n : 0, 2 * (int64_t)d->d_model),
                         plan(&p, n_thread, (int64_t)s->panel_len), plan(&p, n_thread, (int64_t)s->attn_work_len),
                         plan(&p, 1, w.attn_parts), plan(&p, c->n_generated, w.latent_q),
                         plan(&p, c->n_generated, w.latent_out), plan(&p, 1, in.codes), plan(&p, 1, in.scales),
                         plan(&p, 2, in.scales), plan(&p, 1, in.wide_scales), plan(&p, 1, in.wide_sums),
                         plan(&p, 1, in.tiles), plan(&p, n_own, q8_cols / 4), plan(&p, n_own, q8_blocks),
                         plan(&p, n_own, 2 * q8_blocks), plan(&p, n_thread, (int64_t)s->q8_panel_bytes / 4),
                         plan(&p, 1, in.bf16)};
    _Static_assert(HTH_COUNT(parts) == HTH_COUNT(at), "one offset per buffer");
    if (p.overflow) return hth_fail(err, HTH_ERR_LIMIT, "a step of %lld rows is too large", (long long)n);
    if (c->planned_bytes) {
        *c->planned_bytes += p.n * sizeof *ex->memory;
        return HTH_OK;
    }
    if (p.n > ex->memory_len) {
        hth_free(ex->memory);
        ex->memory_len = 0;
        ex->memory = hth_alloc_aligned(HTH_MEM_SCRATCH, p.n * sizeof *ex->memory);
        if (!ex->memory) return hth_fail_nomem(err, p.n * sizeof *ex->memory);
        ex->memory_len = p.n;
    }
    for (size_t i = 0; i < HTH_COUNT(parts); i++) *parts[i] = ex->memory + at[i];
    s->q8.q = (int8_t *)(void *)q8_codes;
    s->q8.sum = (int32_t *)(void *)q8_sums;
    s->q8_own.q = (int8_t *)(void *)own_codes;
    s->q8_own.sum = (int32_t *)(void *)own_sums;
    if (!c->q8->tiles) s->q8.wide_d = NULL;
    s->q8.tiles = c->q8->tiles ? (int8_t *)(void *)q8_tiles : NULL;
    s->q8_panels = (uint8_t *)(void *)q8_panels;
    s->bf16 = c->is_bf16 ? (uint16_t *)(void *)bf16 : NULL;
    return HTH_OK;
}

// ---- rows

// What each sequence brings to the step; working memory of submit.
typedef struct sequence {
    hth_state *state;
    bool is_temporary, is_open;
    int32_t n_row, last_row; // rows in this batch; the latest one seen
    bool is_tree, has_span;
    hth_kept *blocks; // [n_block] recurrent layers: the slots of its last rows, the oldest first
    int32_t n_block;
} sequence;

static hth_code open_sequences(cpu_executor *ex, const hth_step *step, sequence *seqs, hth_err *err) {
    const hth_batch *b = &step->batch;
    for (int32_t i = 0; i < b->n_row; i++) seqs[b->rows[i].i_seq].n_row++;
    for (int32_t s = 0; s < b->n_seq; s++) {
        sequence *q = &seqs[s];
        q->last_row = -1;
        q->state = step->model->desc.causal ? b->states[s] : NULL;
        if (!q->state) { // encoders: everything is visible at once and nothing stays
            hth_state_params params = {.n_ctx = q->n_row > 0 ? q->n_row : 1};
            HTH_TRY(hth_state_new(&ex->base, step->model, &params, &q->state, err));
            q->is_temporary = true;
        }
        if (q->state->in_step) return hth_fail(err, HTH_ERR_RANGE, "sequence %d has the state of another one", (int)s);
        q->state->in_step = q->is_open = true;
        if (q->n_row > q->state->n_ctx - q->state->len) {
            return hth_fail(err, HTH_ERR_LIMIT, "context full: %lld tokens are stored, %d more do not fit in %lld",
                            (long long)q->state->len, (int)q->n_row, (long long)q->state->n_ctx);
        }
        HTH_TRY(hth_state_reserve(q->state, q->n_row, step->layer_first, step->layer_last, err));
    }
    return HTH_OK;
}

// The row that row i follows in this batch, or -1.
static int32_t parent_of(const hth_row *r, const sequence *q) {
    return r->parent == HTH_PARENT_PREVIOUS ? q->last_row : r->parent == HTH_PARENT_NONE ? -1 : r->parent;
}

static hth_code link_ancestors(cpu_row *rows, const int32_t *parents, int32_t i, hth_arena *arena, hth_err *err) {
    int32_t depth = 0;
    for (int32_t j = i; j >= 0; j = parents[j]) depth++;
    int64_t *line = hth_arena_alloc(arena, (size_t)depth, sizeof *line);
    if (!line) return hth_fail_nomem(err, (uint64_t)depth * sizeof *line);
    rows[i].n_ancestor = depth;
    rows[i].ancestors = line;
    for (int32_t j = i; j >= 0; j = parents[j]) line[--depth] = rows[j].slot;
    return HTH_OK;
}

// Two-way spans: a row sees up to the last row of its span, which lie behind each other in the sequence.
static hth_code link_spans(const hth_step *step, sequence *seqs, cpu_row *rows, hth_err *err) {
    const hth_batch *b = &step->batch;
    for (int32_t s = 0; s < b->n_seq; s++) {
        seqs[s].last_row = -1;
        if (!seqs[s].has_span || !seqs[s].is_tree) continue;
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "sequence %d has a draft tree and a two-way span in one step", (int)s);
    }
    for (int32_t i = b->n_row - 1; i >= 0; i--) {
        sequence *q = &seqs[b->rows[i].i_seq];
        const int32_t next = q->last_row, span = b->rows[i].span;
        if (span >= 0 && next >= 0 && b->rows[next].span == span) rows[i].end = rows[next].end;
        q->last_row = i;
    }
    return HTH_OK;
}

static hth_code link_rows(const hth_step *step, sequence *seqs, cpu_row *rows, int32_t *parents, hth_arena *arena,
                          hth_err *err) {
    const hth_batch *b = &step->batch;
    for (int32_t i = 0, n; i < b->n_row; i++) {
        const hth_row *r = &b->rows[i];
        sequence *q = &seqs[r->i_seq];
        n = q->last_row < 0 ? 0 : (int32_t)(rows[q->last_row].slot + 1 - q->state->len);
        parents[i] = parent_of(r, q);
        rows[i] = (cpu_row){.state = q->state, .base = q->state->len, .slot = q->state->len + n};
        rows[i].end = step->model->desc.causal ? rows[i].slot + 1 : q->state->len + q->n_row;
        int64_t before = parents[i] >= 0    ? b->rows[parents[i]].pos[0]
                         : q->state->len > 0 ? q->state->pos[q->state->len - 1]
                                             : 0;
        if (r->pos[0] < before) {
            return hth_fail(err, HTH_ERR_RANGE, "row %d: position %lld comes after %lld", (int)i, (long long)r->pos[0],
                            (long long)before);
        }
        q->state->pos[rows[i].slot] = r->pos[0];
        q->is_tree |= parents[i] != q->last_row;
        q->has_span |= r->span >= 0 && step->model->desc.causal;
        if (q->is_tree) HTH_TRY(link_ancestors(rows, parents, i, arena, err));
        q->last_row = i;
    }
    return link_spans(step, seqs, rows, err);
}

// Recurrent layers: the slots that the rows of one sequence read and write. The last ones that can be kept get a slot
// each, those before them share the first of these; in a draft tree every row has its own.
static hth_code link_line(const cpu_line *line, sequence *q, cpu_step *c, const int32_t *parents, hth_arena *arena,
                          hth_err *err) {
    const int32_t *order = c->line_rows + line->first, most = q->state->n_keep + !q->is_tree;
    if (q->is_tree && line->n > most) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "a draft tree of %d rows: this sequence keeps recurrent state for %d",
                        (int)line->n, (int)most);
    }
    q->n_block = line->n < most ? line->n : most;
    q->blocks = hth_arena_alloc(arena, (size_t)q->n_block, sizeof *q->blocks);
    int32_t *slots = hth_arena_alloc(arena, (size_t)q->n_block, sizeof *slots);
    if (!q->blocks || !slots) return hth_fail_nomem(err, (uint64_t)q->n_block * sizeof *q->blocks);
    HTH_TRY(hth_blocks_pick(q->state, q->n_block, slots, err));
    for (int32_t j = 0, first = line->n - q->n_block; j < line->n; j++) {
        cpu_row *r = &c->rows[order[j]];
        const int32_t parent = parents[order[j]], slot = slots[j < first ? 0 : j - first];
        r->block_from = parent >= 0 ? c->rows[parent].block_to : q->state->kept[0].slot;
        r->block_to = slot;
        if (j >= first) q->blocks[j - first] = (hth_kept){slot, parent >= 0 ? c->rows[parent].slot : r->base - 1};
    }
    return HTH_OK;
}

static hth_code link_lines(cpu_step *c, sequence *seqs, const int32_t *parents, hth_arena *arena, hth_err *err) {
    const hth_batch *b = &c->step->batch;
    int32_t at = 0;
    c->lines = hth_arena_alloc(arena, (size_t)b->n_seq, sizeof *c->lines);
    c->line_rows = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *c->line_rows);
    int32_t *line_of = hth_arena_alloc(arena, (size_t)b->n_seq, sizeof *line_of);
    if (!c->lines || !c->line_rows || !line_of) return hth_fail_nomem(err, (uint64_t)b->n_row * sizeof *c->line_rows);
    for (int32_t s = 0; s < b->n_seq; s++) {
        if (!seqs[s].state->slots || seqs[s].n_row == 0) continue;
        line_of[s] = c->n_line;
        c->lines[c->n_line++] = (cpu_line){.state = seqs[s].state, .first = at};
        at += seqs[s].n_row;
    }
    for (int32_t i = 0; c->n_line > 0 && i < b->n_row; i++) {
        cpu_line *line = &c->lines[line_of[b->rows[i].i_seq]];
        c->line_rows[line->first + line->n++] = i;
    }
    for (int32_t s = 0; s < b->n_seq; s++) {
        if (!seqs[s].state->slots || seqs[s].n_row == 0) continue;
        HTH_TRY(link_line(&c->lines[line_of[s]], &seqs[s], c, parents, arena, err));
    }
    return HTH_OK;
}

static void close_sequences(const hth_step *step, sequence *seqs, bool done) {
    for (int32_t s = 0; s < step->batch.n_seq; s++) {
        sequence *q = &seqs[s];
        if (q->is_open) q->state->in_step = false;
        if (q->is_temporary) {
            hth_state_free(q->state);
        } else if (done && q->state) {
            if (q->is_tree) q->state->tree_first = q->state->len;
            hth_blocks_commit(q->state, q->blocks, q->n_block);
            q->state->len += q->n_row;
            q->state->layer_first = step->layer_first;
            q->state->layer_last = step->layer_last;
            if (!q->is_tree) hth_state_slide(q->state);
        }
    }
}

// Puts rows in the order that attention takes them. `count` [n_seq] is zero.
static void group_rows(cpu_step *c, int32_t *count) {
    const hth_batch *b = &c->step->batch;
    int32_t at = 0;
    for (int32_t i = 0; i < c->n_row; i++) {
        if (c->kinds[i] == HTH_ROW_GENERATED) c->order[c->n_row - ++c->n_generated] = i;
        else if (c->rows[i].n_ancestor == 0) count[b->rows[i].i_seq]++;
    }
    for (int32_t s = 0; s < b->n_seq; s++) { // from here on: where its next row goes
        const int32_t n = count[s];
        count[s] = at;
        if (n > 0) c->groups[c->n_group++] = (cpu_group){at, n};
        at += n;
    }
    for (int32_t i = 0; i < c->n_row; i++) {
        if (c->kinds[i] == HTH_ROW_GENERATED) continue;
        if (c->rows[i].n_ancestor == 0) {
            c->order[count[b->rows[i].i_seq]++] = i;
        } else {
            c->groups[c->n_group++] = (cpu_group){at, 1};
            c->order[at++] = i;
        }
    }
}

// ---- running

static cpu_step begin_step(cpu_executor *ex, const hth_model *m, int32_t n_row, hth_activations wish) {
    cpu_step c = {.model = m, .k = ex->kernels, .q8 = ex->q8, .ex = ex, .team = ex->team,
                  .lanes = ex->lanes, .n_row = n_row};
    const hth_activations activations = hth_activations_for(m, wish);
    c.is_integer = activations != HTH_ACTIVATIONS_F32 && ex->fast_gemm;
    c.n_part = activations == HTH_ACTIVATIONS_Q16 ? 2 : 1;
    if (c.n_part == 2) c.q8 = ex->q8_exact;
    c.is_bf16 = activations != HTH_ACTIVATIONS_F32 && ex->bf16.name && m->has_bf16;
    return c;
}

static hth_code scratch_cpu(hth_executor *base, const hth_model *m, int32_t n_row, hth_activations activations,
                            uint64_t *n_bytes, hth_err *err) {
    cpu_executor *ex = (cpu_executor *)base;
    cpu_step c = begin_step(ex, m, n_row, activations);
    *n_bytes = 0;
    c.planned_bytes = n_bytes;
    HTH_TRY(lay_out(ex, &c, err));
    return cpu_moe_prepare(ex, &c, err);
}

static hth_code run_step(cpu_executor *ex, const hth_step *step, sequence *seqs, hth_arena *arena, hth_err *err) {
    const hth_batch *b = &step->batch;
    HTH_TRY(open_sequences(ex, step, seqs, err));
    cpu_step c = begin_step(ex, step->model, b->n_row, step->activations);
    c.step = step;
    memset(ex->lanes, 0, (size_t)hth_team_size(ex->team) * sizeof *ex->lanes);
    c.rows = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *c.rows);
    int32_t *parents = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *parents);
    c.kinds = hth_arena_alloc(arena, (size_t)b->n_row, 1);
    c.logit_kinds = hth_arena_alloc(arena, (size_t)b->n_row, 1);
    c.seqs = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *c.seqs);
    c.logit_seqs = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *c.logit_seqs);
    c.order = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *c.order);
    c.groups = hth_arena_alloc(arena, (size_t)b->n_row, sizeof *c.groups);
    int32_t *count = hth_arena_alloc(arena, (size_t)b->n_seq, sizeof *count);
    if (!c.rows || !parents || !c.kinds || !c.logit_kinds || !c.seqs || !c.logit_seqs || !c.order || !c.groups || !count) {
        return hth_fail_nomem(err, (uint64_t)b->n_row * sizeof *c.rows);
    }
    HTH_TRY(link_rows(step, seqs, c.rows, parents, arena, err));
    for (int32_t i = 0; i < b->n_seq; i++) {
        c.mixes_keys |= hth_kv_is_mixed(seqs[i].state->k_type);
        c.mixes_values |= hth_kv_is_mixed(seqs[i].state->v_type);
    }
    HTH_TRY(link_lines(&c, seqs, parents, arena, err));
    for (int32_t i = 0; i < b->n_row; i++) {
        c.kinds[i] = b->rows[i].kind;
        c.seqs[i] = b->rows[i].i_seq;
        if ((b->rows[i].want & HTH_WANT_LOGITS) != 0) {
            c.logit_kinds[c.n_logits] = b->rows[i].kind;
            c.logit_seqs[c.n_logits] = b->rows[i].i_seq;
        }
        c.n_logits += (b->rows[i].want & HTH_WANT_LOGITS) != 0 && gives_logits(step);
        c.n_hidden += (b->rows[i].want & HTH_WANT_HIDDEN) != 0 && gives_hidden(step);
    }
    group_rows(&c, count);
    HTH_TRY(lay_out(ex, &c, err));
    HTH_TRY(cpu_moe_prepare(ex, &c, err));
    hth_team_run(ex->team, cpu_run_step, &c);
    HTH_TRY(hth_model_check_files(step->model, err));
    if (atomic_load(&c.read_failed)) {
        if (err) *err = c.read_err;
        return c.read_err.code;
    }
    if (atomic_load(&c.bad_router)) {
        return hth_fail(err, HTH_ERR_FORMAT, "layer %d: the router of experts gives values that are no numbers",
                        atomic_load(&c.bad_router) - 1);
    }
    if (atomic_load(&c.cancelled)) return hth_fail(err, HTH_ERR_CANCELLED, "cancelled");
    return HTH_OK;
}

static hth_code submit_cpu(hth_executor *base, const hth_step *step, hth_ticket *out, hth_err *err) {
    cpu_executor *ex = (cpu_executor *)base;
    HTH_TRY(check_step(step, err));
    hth_arena arena;
    hth_arena_init(&arena, HTH_MEM_SCRATCH, (uint64_t)1 << 32);
    sequence *seqs = hth_arena_alloc(&arena, (size_t)step->batch.n_seq, sizeof *seqs);
    hth_code code = seqs ? run_step(ex, step, seqs, &arena, err)
                         : hth_fail_nomem(err, (uint64_t)step->batch.n_seq * sizeof *seqs);
    if (seqs) close_sequences(step, seqs, code == HTH_OK);
    hth_arena_free(&arena);
    if (code == HTH_OK) *out = ++ex->n_done;
    return code;
}

static hth_code wait_cpu(hth_executor *base, hth_ticket ticket, hth_err *err) {
    cpu_executor *ex = (cpu_executor *)base;
    if (ticket == 0 || ticket > ex->n_done) return hth_fail(err, HTH_ERR_RANGE, "no such step");
    return HTH_OK;
}

static void free_cpu(hth_executor *base) {
    cpu_executor *ex = (cpu_executor *)base;
    hth_free(ex->memory);
    hth_free(ex->moe_memory);
    hth_free(ex->lanes);
    hth_free(ex);
}

static const hth_executor_ops cpu_ops = {.submit = submit_cpu, .wait = wait_cpu, .scratch = scratch_cpu, .free = free_cpu};

hth_code hth_executor_cpu_new(hth_team *team, hth_executor **out, hth_err *err) {
    *out = NULL;
    cpu_executor *ex = hth_calloc(HTH_MEM_SCRATCH, 1, sizeof *ex);
    if (!ex) return hth_fail_nomem(err, sizeof *ex);
    *ex = (cpu_executor){.base = {.ops = &cpu_ops}, .team = team, .kernels = hth_kernels_get(), .q8 = hth_q8_get(),
                         .q8_exact = hth_q8_get_exact(), .bf16 = hth_bf16_get()};
    const size_t lane_bytes = (size_t)hth_team_size(team) * sizeof *ex->lanes;
    ex->lanes = hth_alloc_aligned(HTH_MEM_SCRATCH, lane_bytes);
    if (!ex->lanes) {
        hth_free(ex);
        return hth_fail_nomem(err, lane_bytes);
    }
    hth_q8_kernels ref;
    hth_q8_fill(&ref, 0);
    ex->fast_gemm = ex->q8->gemm != ref.gemm;
    for (int t = 0; t < HTH_Q8_LAYOUTS; t++) ex->fast_gemv[t] = ex->q8->gemv[t] != ref.gemv[t];
    *out = &ex->base;
    return HTH_OK;
}
