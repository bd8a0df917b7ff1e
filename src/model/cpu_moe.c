// Routed experts on the CPU. Every thread routes its own rows; then all (row, expert) pairs are sorted by expert,
// the rows gathered in that order and multiplied expert by expert; at last each row adds up its own results in
// the order of its own ranking. So a row's bits depend on its input and kind alone.
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "model/cpu.h"

// ---- memory

// The largest of each number over all layers with experts.
typedef struct moe_sizes {
    int64_t n_expert, n_used, d_ff, d_latent;
} moe_sizes;

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

typedef struct moe_buffer {
    void *at; // the pointer that is to point to it
    uint64_t n, size;
} moe_buffer;

// Adds n * size bytes, padded to 64; false on overflow.
static bool add_bytes(uint64_t *total, uint64_t n, uint64_t size) {
    uint64_t bytes;
    if (!hth_mul_u64(n, size, &bytes) || !hth_add_u64(bytes, 63, &bytes)) return false;
    return hth_add_u64(*total, bytes & ~(uint64_t)63, total) && *total < SIZE_MAX / 2;
}

hth_code cpu_moe_prepare(cpu_executor *ex, cpu_step *c, hth_err *err) {
    const hth_desc *d = &c->model->desc;
    moe_sizes z = {0};
    for (int32_t i = 0; i < d->n_layer; i++) {
        const hth_moe_desc *moe = &d->layers[i].moe;
        if (d->layers[i].ffn != HTH_FFN_MOE) continue;
        z.n_expert = max64(z.n_expert, moe->n_expert);
        z.n_used = max64(z.n_used, moe->n_used);
        z.d_ff = max64(z.d_ff, moe->d_ff);
        z.d_latent = max64(z.d_latent, moe->d_latent);
    }
    if (z.n_expert == 0) return HTH_OK;
    cpu_moe_scratch *s = &c->s.moe;
    const uint64_t n = (uint64_t)c->n_row, m = n * (uint64_t)z.n_used, n_expert = (uint64_t)z.n_expert;
    const uint64_t width = (uint64_t)max64(d->d_model, z.d_latent), ff = (uint64_t)z.d_ff, n_thread = (uint64_t)hth_team_size(ex->team);
    const moe_buffer buffers[] = {
        {&s->logits, n * n_expert, sizeof(float)}, {&s->choice, n_thread * n_expert, sizeof(float)},
        {&s->weights, m, sizeof(float)},           {&s->ids, m, sizeof(int32_t)},
        {&s->place, m, sizeof(int32_t)},           {&s->seqs, m, sizeof(int32_t)},
        {&s->kinds, m, 1},                         {&s->count, 2 * n_expert, sizeof(int64_t)},
        {&s->experts, n_expert, sizeof(cpu_expert)}, {&s->absent, n_expert, sizeof(cpu_expert)},
        {&s->latent, n * (uint64_t)z.d_latent, sizeof(float)}, {&s->x, m * width, sizeof(float)},
        {&s->gate, m * ff, sizeof(float)},         {&s->up, m * ff, sizeof(float)},
    };
    uint64_t total = 0;
    for (size_t i = 0; i < HTH_COUNT(buffers); i++) {
        if (!add_bytes(&total, buffers[i].n, buffers[i].size)) {
            return hth_fail(err, HTH_ERR_LIMIT, "a step of %d rows is too large", (int)c->n_row);
        }
    }
    if (c->planned_bytes) {
        *c->planned_bytes += total;
        return HTH_OK;
    }
    if (total > ex->moe_bytes) {
        hth_free(ex->moe_memory);
        ex->moe_bytes = 0;
        ex->moe_memory = hth_alloc_aligned(HTH_MEM_SCRATCH, (size_t)total);
        if (!ex->moe_memory) return hth_fail_nomem(err, total);
        ex->moe_bytes = (size_t)total;
    }
    uint8_t *at = ex->moe_memory;
    for (size_t i = 0; i < HTH_COUNT(buffers); i++) {
        memcpy(buffers[i].at, &at, sizeof at);
        at += (buffers[i].n * buffers[i].size + 63) & ~(uint64_t)63;
    }
    return HTH_OK;
}

// ---- routing of one row

// Logits become scores, in place. False when they are no numbers.
static bool make_scores(const hth_kernels *k, const hth_moe_desc *moe, float *logits) {
    const int32_t n = moe->n_expert;
    for (int32_t i = 0; i < n; i++) {
        if (!isfinite(logits[i])) return false;
    }
    if (moe->score == HTH_SCORE_SIGMOID) {
        for (int32_t i = 0; i < n; i++) logits[i] = (float)(1 / (1 + exp(-(double)logits[i])));
    } else if (moe->score == HTH_SCORE_SOFTMAX) {
        k->scale(logits, logits, 1 / k->exp_sum(logits, k->max(logits, n), n), n);
    }
    return true;
}

// The index of the largest of n numbers, the first among equals; those that are -inf do not count. -1: none.
static int32_t best_of(const float *x, int32_t n) {
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++) {
        if (x[i] > -INFINITY && (best < 0 || x[i] > x[best])) best = i;
    }
    return best;
}

// What a group is worth: the sum of its best numbers.
static float group_worth(const hth_moe_desc *moe, const float *choice) {
    const int32_t n = moe->n_expert / moe->n_group;
    float best[2] = {-INFINITY, -INFINITY};
    for (int32_t i = 0; i < n; i++) {
        if (choice[i] > best[0]) {
            best[1] = best[0];
            best[0] = choice[i];
        } else if (choice[i] > best[1]) {
            best[1] = choice[i];
        }
    }
    return moe->group_best > 1 && n > 1 ? best[0] + best[1] : best[0];
}

// Experts of the groups that do not take part become -inf.
static void limit_groups(const hth_moe_desc *moe, float *choice) {
    const int32_t size = moe->n_expert / moe->n_group;
    float worth[HTH_MAX_EXPERT];
    bool takes_part[HTH_MAX_EXPERT] = {false};
    for (int32_t g = 0; g < moe->n_group; g++) worth[g] = group_worth(moe, choice + (int64_t)g * size);
    for (int32_t i = 0; i < moe->n_group_used; i++) {
        const int32_t g = best_of(worth, moe->n_group);
        if (g < 0) break;
        takes_part[g] = true;
        worth[g] = -INFINITY;
    }
    for (int32_t e = 0; e < moe->n_expert; e++) {
        if (!takes_part[e / size]) choice[e] = -INFINITY;
    }
}

static void make_weights(const hth_moe_desc *moe, const float *scores, const int32_t *ids, float *w) {
    const int32_t n = moe->n_used;
    double v[HTH_MAX_EXPERT_USED], sum = 0;
    for (int32_t i = 0; i < n; i++) {
        v[i] = (double)scores[ids[i]];
        if (moe->score == HTH_SCORE_CHOSEN) v[i] = exp(v[i] - (double)scores[ids[0]]);
        sum += v[i];
    }
    if (sum < (double)moe->normalize_min) sum = (double)moe->normalize_min;
    const bool divide = moe->normalize || moe->score == HTH_SCORE_CHOSEN;
    for (int32_t i = 0; i < n; i++) w[i] = (float)((divide ? v[i] / sum : v[i]) * (double)moe->scale);
}

// The same for HTH_SCORE_BAND.
static void make_band_weights(const hth_moe_desc *moe, const float *logits, const int32_t *ids, float *w) {
    for (int32_t i = 0; i < moe->n_used; i++) {
        const float top = logits[ids[i]];
        double sum = 0;
        for (int32_t j = 0; j < moe->n_expert; j++) {
            const float factor = fmaxf(fabsf(logits[j]), top);
            bool is_better = false;
            for (int32_t k = 0; k < i; k++) is_better |= ids[k] == j;
            if (!is_better && !((top - logits[j]) / factor > moe->band)) sum += exp((double)logits[j] - (double)top);
        }
        w[i] = (float)(1 / sum * (double)moe->scale);
    }
}

// Chooses the experts of a row and their weights; false when the router gave no numbers.
static bool route_row(const cpu_thread *t, int32_t layer, int64_t row) {
    const hth_moe_desc *moe = &t->c->model->desc.layers[layer].moe;
    const cpu_moe_scratch *s = &t->c->s.moe;
    const float *bias = t->c->model->layers[layer].choice_bias;
    float *scores = s->logits + row * moe->n_expert, *choice = s->choice + (int64_t)t->i * moe->n_expert;
    int32_t *ids = s->ids + row * moe->n_used;
    float *weights = s->weights + row * moe->n_used;
    // The logits order experts as their sigmoids do, but never tie where these have reached 1.
    const bool by_logits = moe->score == HTH_SCORE_SIGMOID && !bias && moe->n_group <= 1;
    if (by_logits) memcpy(choice, scores, (size_t)moe->n_expert * sizeof *choice);
    bool ok = make_scores(t->c->k, moe, scores);
    if (!by_logits) memcpy(choice, scores, (size_t)moe->n_expert * sizeof *choice);
    if (bias) t->c->k->add(choice, choice, bias, moe->n_expert);
    if (ok && moe->n_group > 1) limit_groups(moe, choice);
    for (int32_t i = 0; ok && i < moe->n_used; i++) {
        ids[i] = best_of(choice, moe->n_expert);
        ok = ids[i] >= 0;
        if (ok) choice[ids[i]] = -INFINITY;
    }
    if (ok && moe->score == HTH_SCORE_BAND) make_band_weights(moe, scores, ids, weights);
    if (ok && moe->score != HTH_SCORE_BAND) make_weights(moe, scores, ids, weights);
    for (int32_t i = 0; ok && i < moe->n_used; i++) ok = isfinite(weights[i]);
    if (ok) return true;
    for (int32_t i = 0; i < moe->n_used; i++) { // the step fails; what comes meanwhile needs valid indices
        ids[i] = i;
        weights[i] = 0;
    }
    return false;
}

// ---- all rows

// The experts in use and how many prompt and generated rows each has.
static void count_pairs(const cpu_step *c, const hth_moe_desc *moe, cpu_moe_scratch *s) {
    const int64_t n_pair = (int64_t)c->n_row * moe->n_used, n_expert = moe->n_expert;
    memset(s->count, 0, (size_t)(2 * n_expert) * sizeof *s->count);
    for (int64_t p = 0; p < n_pair; p++) s->count[2 * s->ids[p] + (c->kinds[p / moe->n_used] == HTH_ROW_GENERATED)]++;
    s->n_in_use = 0;
    for (int64_t e = 0; e < n_expert; e++) {
        const int64_t n = s->count[2 * e] + s->count[2 * e + 1];
        if (n > 0) s->experts[s->n_in_use++] = (cpu_expert){.expert = e, .n = n};
    }
}

// Sorts the pairs by expert, in the order of the list; prompt rows before generated ones, else in order. By one thread.
static void place_pairs(const cpu_step *c, const hth_moe_desc *moe, cpu_moe_scratch *s) {
    const int64_t n_pair = s->n_pair = (int64_t)c->n_row * moe->n_used;
    int64_t at = 0;
    for (int64_t i = 0; i < s->n_in_use; i++) { // counts become the places of the next pair
        int64_t *count = s->count + 2 * s->experts[i].expert;
        s->experts[i].first = at;
        count[1] = at + count[0];
        count[0] = at;
        at += s->experts[i].n;
    }
    for (int64_t p = 0; p < n_pair; p++) {
        const int64_t row = p / moe->n_used, to = s->count[2 * s->ids[p] + (c->kinds[row] == HTH_ROW_GENERATED)]++;
        s->place[p] = (int32_t)to;
        s->seqs[to] = c->seqs[row];
        s->kinds[to] = c->kinds[row];
    }
}

// Whether the experts read rows of `in` as bytes, to which each row is brought once for all of its experts. By thread 0.
static bool can_quantize_first(const cpu_step *c, int32_t layer) {
    const hth_layer *l = &c->model->layers[layer];
    const hth_moe_desc *moe = &c->model->desc.layers[layer].moe;
    const cpu_product p[2] = {{.w = &l->expert_up}, {.w = &l->expert_gate}};
    return c->s.moe.table < 0 && !moe->weight_input && cpu_reads_bytes(c, p, moe->no_gate ? 1 : 2, c->kinds, c->n_row);
}

static void gather(const cpu_thread *t, const hth_moe_desc *moe, const float *in) {
    const cpu_moe_scratch *s = &t->c->s.moe;
    const int64_t d = hth_moe_width(moe, t->c->model->desc.d_model);
    const cpu_range r = cpu_my_rows(t);
    for (int64_t p = r.first * moe->n_used; p < r.last * moe->n_used; p++) {
        float *to = s->x + s->place[p] * d;
        const float *from = in + p / moe->n_used * d;
        if (moe->weight_input) {
            t->c->k->scale(to, from, s->weights[p], d);
        } else {
            memcpy(to, from, (size_t)d * sizeof *to);
        }
    }
    cpu_barrier(t);
}

// up = act(gate) * up, or act(up), for n numbers.
static void activate_row(const cpu_thread *t, const hth_layer_desc *ld, const float *gate, float *up, int64_t n) {
    const float limit = ld->moe.act_limit, alpha = ld->moe.act_alpha;
    if (ld->moe.no_gate) {
        t->c->k->act[ld->act](up, up, n);
        return;
    }
    if (limit <= 0) {
        t->c->k->act_mul[ld->act](up, gate, up, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const float g = gate[i] > limit ? limit : gate[i];
        const float u = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
        up[i] = g / (1 + expf(-alpha * g)) * (u + 1);
    }
}

// What experts make of their inputs before they are projected down, [m, d_ff].
typedef struct between {
    const hth_layer_desc *ld;
    float *gate, *up;
} between;

static void activate(const cpu_thread *t, const void *user, int64_t tok, int64_t tok_end, int64_t first, int64_t last) {
    const between *b = user;
    for (int64_t i = tok; i < tok_end; i++) {
        const int64_t at = i * b->ld->moe.d_ff + first;
        activate_row(t, b->ld, b->gate + at, b->up + at, last - first);
    }
}

// Experts [first, last) of the list, whose rows are neighbours. `in`: all rows where they are not gathered yet.
static void run_experts(const cpu_thread *t, int32_t layer, int64_t first, int64_t last, const float *in) {
    const hth_layer_desc *ld = &t->c->model->desc.layers[layer];
    const hth_layer *l = &t->c->model->layers[layer];
    const cpu_moe_scratch *s = &t->c->s.moe;
    const cpu_expert *experts = s->experts + first, *end = s->experts + last - 1;
    const int64_t d = hth_moe_width(&ld->moe, t->c->model->desc.d_model), d_ff = ld->moe.d_ff;
    const int64_t row = experts->first, m = end->first + end->n - row;
    float *x = s->x + row * d;
    const between b = {.ld = ld, .gate = s->gate + row * d_ff, .up = s->up + row * d_ff};
    const uint8_t *kinds = s->kinds + row;
    const cpu_product p[2] = {{.w = &l->expert_up, .bias = l->expert_up_bias, .y = b.up, .y_stride = d_ff},
                              {.w = &l->expert_gate, .bias = l->expert_gate_bias, .y = b.gate, .y_stride = d_ff}};
    const cpu_scatter scatter = {.place = s->place, .n_copy = ld->moe.n_used};
    const cpu_expert_job up = {.products = p, .n_product = ld->moe.no_gate ? 1 : 2, .experts = experts, .n_expert = last - first,
                               .in = &(cpu_input){s->is_gathered ? x : in, d, m, kinds},
                               .scatter = s->is_gathered ? NULL : &scatter, .fn = activate, .user = &b};
    cpu_linear_experts(t, &up);
    const cpu_product p_down = {.w = &l->expert_down, .bias = l->expert_down_bias, .y = x, .y_stride = d};
    const cpu_expert_job down = {.products = &p_down, .n_product = 1, .experts = experts, .n_expert = last - first,
                                 .in = &(cpu_input){b.up, d_ff, m, kinds}};
    cpu_linear_experts(t, &down);
}

// ---- experts on disk
//
// Those in memory come first, and while they are at work the others are read. Where they do not all find a place at
// once they take turns, each turn's reads beginning before the turn before it computes. By thread 0, but for the wait.

static hth_tier *tier_of(const cpu_step *c) {
    return c->model->stream->tier;
}

// Experts in memory go to the front of the list; otherwise the order stays.
static void put_present_first(const hth_tier *tier, cpu_moe_scratch *s) {
    int64_t n = 0, rest = 0;
    cpu_expert *absent = s->absent;
    for (int64_t i = 0; i < s->n_in_use; i++) {
        if (hth_tier_has(tier, s->table, (int32_t)s->experts[i].expert)) s->experts[n++] = s->experts[i];
        else absent[rest++] = s->experts[i];
    }
    memcpy(s->experts + n, absent, (size_t)rest * sizeof *absent);
}

// Begins what finds a place, and says up to where the next turn goes: half of what has begun, so that there is
// always something to read.
static void begin_turn(const cpu_step *c, cpu_moe_scratch *s) {
    hth_tier *tier = tier_of(c);
    while (s->n_begun < s->n_in_use && hth_tier_begin(tier, s->table, (int32_t)s->experts[s->n_begun].expert)) s->n_begun++;
    s->turn = s->turn_end;
    s->turn_end = s->n_begun;
    if (s->n_begun < s->n_in_use && s->n_begun - s->turn > 1) s->turn_end -= (s->n_begun - s->turn) / 2;
}

static void end_turn(const cpu_step *c, cpu_moe_scratch *s) {
    if (atomic_load(&c->read_failed)) { // what has begun is let go, and no more comes
        s->n_in_use = s->turn_end = s->n_begun;
    }
    for (int64_t i = s->turn; i < s->turn_end; i++) hth_tier_end(tier_of(c), s->table, (int32_t)s->experts[i].expert);
    begin_turn(c, s);
}

bool cpu_expert_wait(const cpu_thread *t, int64_t expert) {
    cpu_step *c = t->c;
    if (c->s.moe.table < 0) return true;
    hth_err err;
    const hth_op before = cpu_profile_enter(t, HTH_OP_DISK);
    const hth_code code = hth_tier_wait(tier_of(c), c->s.moe.table, (int32_t)expert, &err);
    (void)cpu_profile_enter(t, before);
    if (code == HTH_OK) return true;
    if (!atomic_exchange(&c->read_failed, true)) c->read_err = err; // read when the team has come together
    atomic_store(&c->cancelled, true);
    return false;
}

// ---- all together

// The list of experts and where their rows go. By thread 0.
static void plan_experts(cpu_step *c, int32_t layer) {
    const hth_moe_desc *moe = &c->model->desc.layers[layer].moe;
    cpu_moe_scratch *s = &c->s.moe;
    count_pairs(c, moe, s);
    s->table = c->model->stream ? c->model->stream->tables[layer] : -1;
    s->turn = 0;
    s->turn_end = s->n_in_use;
    if (s->table >= 0) {
        hth_tier_enter(tier_of(c), s->table);
        put_present_first(tier_of(c), s);
        s->n_begun = s->turn_end = 0;
        begin_turn(c, s);
    }
    place_pairs(c, moe, s);
    s->is_gathered = !can_quantize_first(c, layer);
}

static void run_turns(const cpu_thread *t, int32_t layer, const float *in) {
    cpu_moe_scratch *s = &t->c->s.moe;
    if (s->table < 0) {
        run_experts(t, layer, 0, s->n_in_use, in);
        return;
    }
    while (s->turn < s->turn_end) {
        run_experts(t, layer, s->turn, s->turn_end, in); // ends with a barrier
        if (t->i == 0) end_turn(t->c, s);
        cpu_barrier(t);
    }
    if (t->i == 0) hth_tier_leave(tier_of(t->c));
}

// out = sum of the row's results in the order of its ranking.
static void combine(const cpu_thread *t, const hth_moe_desc *moe, float *out) {
    const cpu_moe_scratch *s = &t->c->s.moe;
    const int64_t d = hth_moe_width(moe, t->c->model->desc.d_model);
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        float *y = out + i * d;
        for (int32_t j = 0; j < moe->n_used; j++) {
            const int64_t p = i * moe->n_used + j;
            const float *x = s->x + s->place[p] * d, w = moe->weight_input ? 1 : s->weights[p];
            if (j == 0) {
                t->c->k->scale(y, x, w, d);
            } else {
                t->c->k->add_scaled(y, x, w, d);
            }
        }
    }
}

// out += the shared feed-forward, for this thread's rows.
static void add_shared(const cpu_thread *t, int32_t layer, const float *in, float *out) {
    const hth_layer_desc *ld = &t->c->model->desc.layers[layer];
    const hth_layer *l = &t->c->model->layers[layer];
    const cpu_scratch *s = &t->c->s;
    const int64_t d = t->c->model->desc.d_model, n = t->c->n_row, d_ff = ld->d_ff;
    const bool gated = hth_weight_exists(&l->shared_router);
    cpu_product p[2] = {{.w = &l->up, .bias = l->up_bias, .y = s->up, .y_stride = d_ff},
                        {.w = &l->gate, .bias = l->gate_bias, .y = s->gate, .y_stride = d_ff}};
    cpu_linear(t, p, ld->moe.no_gate ? 1 : 2, &(cpu_input){in, d, n, t->c->kinds});
    int64_t first, last;
    hth_team_part(n * d_ff, 16, t->i, t->n, &first, &last);
    if (ld->moe.no_gate) {
        t->c->k->act[ld->act](s->up + first, s->up + first, last - first);
    } else {
        t->c->k->act_mul[ld->act](s->up + first, s->gate + first, s->up + first, last - first);
    }
    cpu_barrier(t);
    if (gated) { // the routers' logits are no longer needed
        const cpu_product gate = {.w = &l->shared_router, .y = s->moe.logits, .y_stride = 1, .exact = true};
        cpu_linear(t, &gate, 1, &(cpu_input){in, d, n, t->c->kinds});
    }
    const cpu_product down = {.w = &l->down, .bias = l->down_bias, .y = s->moe.x, .y_stride = d};
    cpu_linear(t, &down, 1, &(cpu_input){s->up, d_ff, n, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        const float w = gated ? (float)(1 / (1 + exp(-(double)s->moe.logits[i]))) : 1;
        t->c->k->add_scaled(out + i * d, s->moe.x + i * d, w, d);
    }
}

// The sums of the experts' results, projected back.
static void leave_latent(const cpu_thread *t, int32_t layer, float *out) {
    const hth_layer *l = &t->c->model->layers[layer];
    const int64_t d = t->c->model->desc.d_model, n = t->c->model->desc.layers[layer].moe.d_latent;
    const cpu_product p = {.w = &l->latent_out, .bias = l->latent_out_bias, .y = out, .y_stride = d};
    cpu_barrier(t);
    cpu_linear(t, &p, 1, &(cpu_input){t->c->s.moe.latent, n, t->c->n_row, t->c->kinds});
}

void cpu_moe(const cpu_thread *t, int32_t layer, const float *in, float *out) {
    const hth_layer_desc *ld = &t->c->model->desc.layers[layer];
    const hth_layer *l = &t->c->model->layers[layer];
    cpu_moe_scratch *s = &t->c->s.moe;
    const cpu_product p[2] = {
        {.w = &l->router, .bias = l->router_bias, .y = s->logits, .y_stride = ld->moe.n_expert, .exact = true},
        {.w = &l->latent_in, .bias = l->latent_in_bias, .y = s->latent, .y_stride = ld->moe.d_latent}};
    cpu_linear(t, p, ld->moe.d_latent > 0 ? 2 : 1, &(cpu_input){in, t->c->model->desc.d_model, t->c->n_row, t->c->kinds});
    const cpu_range r = cpu_my_rows(t);
    for (int64_t i = r.first; i < r.last; i++) {
        if (route_row(t, layer, i)) continue;
        atomic_store(&t->c->bad_router, layer + 1);
        atomic_store(&t->c->cancelled, true);
    }
    cpu_barrier(t);
    if (t->i == 0) plan_experts(t->c, layer);
    cpu_barrier(t);
    const float *x = ld->moe.d_latent > 0 ? s->latent : in;
    if (s->is_gathered) gather(t, &ld->moe, x);
    run_turns(t, layer, x);
    combine(t, &ld->moe, ld->moe.d_latent > 0 ? s->latent : out);
    if (ld->moe.d_latent > 0) leave_latent(t, layer, out);
    if (ld->d_ff > 0) add_shared(t, layer, in, out);
}
