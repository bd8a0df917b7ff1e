// A step of an engine: admit, end what is to end, plan the rows of one forward pass, run it, deliver.
//
// Generated rows always take part. Prompt rows join them in chunks that are sized by time: a mixed step may last twice
// a pure one, or 100 ms where that is more; where nobody generates, a chunk is as large as it is fast. Readers of
// prompts share a chunk evenly, interactive ones first.
#include <string.h>

#include "engine/impl.h"
#include "os/clock.h"

#define MIXED_STEP_NS 1e8
#define FIRST_CHUNK 64 // of a mixed step, while no prompt row has been timed
#define MOST_DUE 64   // tokens that are taken behind a chosen one
#define LEAST_SHARE 32 // rows below which a chunk is not divided
#define LOGITS_BYTES ((size_t)64 << 20) // of prompt rows in a step

// ---- admission

static hth_request *first_waiting(const hth_engine *e) {
    return e->waiting[0].head ? e->waiting[0].head : e->waiting[1].head;
}

static bool is_interactive_at_work(const hth_engine *e) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        if (e->seqs[i]->request->p.priority == HTH_PRIORITY_INTERACTIVE) return true;
    }
    return e->waiting[HTH_PRIORITY_INTERACTIVE].head != NULL;
}

static bool fits(const hth_engine *e, const hth_request *r) {
    const bool is_background = r->p.priority == HTH_PRIORITY_BACKGROUND;
    // One place stays free for who is waited for by a person.
    const int32_t n_kept = is_background && e->n_seq > 0 && e->n_sequence > 1 ? 1 : 0;
    if (e->n_seq + r->n_seq + n_kept > e->n_sequence || e->reserved_bytes + r->first_bytes > e->kv_limit_bytes) return false;
    if (room_is_awaited(e, r->p.priority)) return false;
    // And the beginnings of conversations stay while those go on.
    return !is_background || e->reserved_bytes + r->first_bytes + e->cached_bytes <= e->kv_limit_bytes || !is_interactive_at_work(e);
}

bool engine_has_work(const hth_engine *e) {
    const hth_request *r = first_waiting(e);
    return e->n_seq > 0 || (r && fits(e, r));
}

static int32_t free_slot(const hth_engine *e) {
    for (int32_t slot = 0;; slot++) {
        bool is_taken = false;
        for (int32_t i = 0; i < e->n_seq; i++) is_taken |= e->seqs[i]->slot == slot;
        if (!is_taken) return slot;
    }
}

static void start(hth_engine *e, hth_request *r) {
    hth_err err;
    const int32_t n_before = e->n_seq;
    hth_code code = HTH_OK;
    r->start_ns = hth_clock_ns();
    r->usage.miss = HTH_MISS_COLD;
    for (int32_t i = 0; code == HTH_OK && i < r->n_seq; i++) {
        code = sequence_new(e, r, i, free_slot(e), &e->seqs[e->n_seq], &err);
        if (code == HTH_OK) e->n_seq++;
    }
    if (code == HTH_OK) {
        r->n_live = r->n_seq;
        room_take(e, r);
        e->n_cached_token += (uint64_t)r->usage.n_cached;
        return;
    }
    while (e->n_seq > n_before) sequence_free(e->seqs[--e->n_seq]);
    request_fail(r, -1, &err, NULL);
    request_end(r);
}

static void admit(hth_engine *e) {
    hth_host *h = e->host;
    hth_lock(&h->lock);
    for (hth_request *r; !e->is_closing && (r = first_waiting(e)) && fits(e, r);) {
        queue_remove(e, r);
        r->phase = REQUEST_RUNNING;
        e->n_running++;
        hth_unlock(&h->lock);
        start(e, r);
        hth_lock(&h->lock);
    }
    hth_unlock(&h->lock);
}

// ---- ends

// What others may ask for, before they hear that something has ended.
static void publish(hth_engine *e) {
    uint64_t kv_bytes = 0;
    hth_prefix_stats cached = {0};
    if (e->prefix) hth_prefix_get_stats(e->prefix, &cached);
    for (int32_t i = 0; i < e->n_seq; i++) kv_bytes += e->seqs[i]->state ? hth_state_bytes(e->seqs[i]->state) : 0;
    hth_lock(&e->host->lock);
    e->stats.kv_bytes = kv_bytes;
    e->stats.reserved_bytes = e->reserved_bytes;
    e->stats.n_sequence = e->n_seq;
    e->stats.n_cached_token = e->n_cached_token;
    e->stats.n_parked = e->n_parked;
    e->stats.cache_bytes = cached.n_bytes;
    e->stats.n_cache_entry = cached.n_entry;
    hth_unlock(&e->host->lock);
}

// Frees the sequences that have ended, and ends the requests of which none is left.
static void reap(hth_engine *e) {
    int32_t n = 0;
    hth_request *ended = NULL;
    for (int32_t i = 0; i < e->n_seq; i++) {
        if (e->seqs[i]->is_ended) reuse_let_go(e, e->seqs[i]);
    }
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        if (!s->is_ended) {
            e->seqs[n++] = s;
            continue;
        }
        hth_request *r = s->request;
        reuse_keep_end(e, s);
        sequence_free(s);
        if (--r->n_live > 0) continue;
        room_give(e, r);
        r->next = ended;
        ended = r;
    }
    if (n == e->n_seq) return;
    e->n_seq = n;
    publish(e);
    for (hth_request *r; (r = ended);) {
        ended = r->next;
        request_end(r);
    }
}

// Without completion 0 the others have no prompt.
static void end_orphans(hth_engine *e) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        const sequence *first = e->seqs[i];
        if (!first->is_ended || first->has_prompt || first->completion != 0) continue;
        for (int32_t j = 0; j < e->n_seq; j++) {
            if (e->seqs[j]->request == first->request) e->seqs[j]->is_ended = true;
        }
    }
}

static void end_hopeless(hth_engine *e) {
    hth_host *h = e->host;
    const uint64_t now = hth_clock_ns();
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        hth_request *r = s->request;
        hth_lock(&h->lock);
        const bool is_cancelled = r->is_cancelled || e->is_closing;
        hth_unlock(&h->lock);
        if (is_cancelled) {
            sequence_stop(s, HTH_STOP_CANCELLED, -1, -1);
        } else if (r->deadline_ns && now >= r->deadline_ns) {
            hth_err err;
            (void)!hth_fail(&err, HTH_ERR_TIMEOUT, "the deadline passed");
            sequence_fail(s, &err);
        }
    }
    end_orphans(e);
    reap(e);
}

// ---- time

static double decode_estimate(const timing *t, int32_t n) {
    const int32_t last = (int32_t)HTH_COUNT(t->decode_ns) - 1;
    const int32_t at = n - 1 > last ? last : n - 1;
    for (int32_t d = 0; d <= last; d++) {
        if (at - d >= 0 && t->decode_ns[at - d] > 0) return t->decode_ns[at - d];
        if (at + d <= last && t->decode_ns[at + d] > 0) return t->decode_ns[at + d];
    }
    return 0;
}

static void learn(timing *t, int32_t n_prompt, int32_t n_generated, double ns) {
    if (n_prompt == 0) {
        const int32_t last = (int32_t)HTH_COUNT(t->decode_ns) - 1;
        double *mean = &t->decode_ns[n_generated - 1 > last ? last : n_generated - 1];
        *mean = *mean == 0 ? ns : 0.8 * *mean + 0.2 * ns;
    } else if (n_prompt >= 8) {
        double alone = n_generated > 0 ? decode_estimate(t, n_generated) : 0;
        if (alone > 0.9 * ns) alone = 0.9 * ns;
        const double row = (ns - alone) / n_prompt;
        t->prompt_row_ns = t->prompt_row_ns == 0 ? row : 0.7 * t->prompt_row_ns + 0.3 * row;
    }
}

static int32_t prompt_budget(const hth_engine *e, int32_t n_generated) {
    if (n_generated == 0) return e->n_chunk;
    const timing *t = &e->timing;
    if (t->prompt_row_ns == 0) return FIRST_CHUNK < e->n_chunk ? FIRST_CHUNK : e->n_chunk;
    const double alone = decode_estimate(t, n_generated);
    const double limit = 2 * alone > MIXED_STEP_NS ? 2 * alone : MIXED_STEP_NS;
    const double rows = (0.85 * limit - alone) / t->prompt_row_ns;
    return rows < 1 ? 1 : rows > e->n_chunk ? e->n_chunk : (int32_t)rows;
}

// ---- planning

// The first row whose logits are wanted; all after it are.
static int64_t first_wanted(const sequence *s) {
    const hth_request_params *p = &s->request->p;
    const int64_t last = (int64_t)s->n_token - 1;
    if (s->has_prompt) return last;
    if (p->prompt_logprobs) return 0;
    if (p->on_logits && p->logits_from < last) return p->logits_from;
    return p->no_output && !p->on_logits ? last + 1 : last;
}

// Most rows that a reader takes at once.
static int64_t most_rows(const hth_engine *e, const sequence *s) {
    const int64_t pending = sequence_pending(s);
    if (sequence_is_embedding(s)) return pending;
    // What was given back is computed as it was: the prompt as a prompt, what was generated as that.
    if (s->has_prompt) return s->n_computed < s->n_prompt_row ? s->n_prompt_row - s->n_computed : pending;
    const int64_t n_fit = (int64_t)(LOGITS_BYTES / sizeof(float)) / e->model->desc.n_vocab;
    const int64_t before = first_wanted(s) - s->n_computed; // rows without logits
    int64_t most = (before > 0 ? before : 0) + (n_fit < 1 ? 1 : n_fit);
    if (s->snapshot_at > s->n_computed && most > s->snapshot_at - s->n_computed) most = s->snapshot_at - s->n_computed;
    return pending < most ? pending : most;
}

static bool is_reading(const sequence *s, bool embeds, hth_priority priority) {
    return sequence_pending(s) > 0 && !sequence_is_generating(s) && sequence_is_embedding(s) == embeds &&
           s->request->p.priority == priority;
}

// Shares `budget` prompt rows among the readers of a priority, in turn. Returns what is left.
static int32_t share_rows(hth_engine *e, bool embeds, hth_priority priority, int32_t budget) {
    int32_t n_reader = 0;
    for (int32_t i = 0; i < e->n_seq; i++) n_reader += is_reading(e->seqs[i], embeds, priority);
    bool has_given = n_reader > 0;
    while (budget > 0 && has_given) {
        int32_t share = budget / n_reader;
        if (share < LEAST_SHARE) share = LEAST_SHARE;
        has_given = false;
        for (int32_t i = 0; i < e->n_seq && budget > 0; i++) {
            sequence *s = e->seqs[(i + e->turn) % e->n_seq];
            if (!is_reading(s, embeds, priority)) continue;
            const int64_t left = most_rows(e, s) - s->n_row;
            int64_t n = left < share ? left : share;
            if (!e->model->desc.causal) n = left; // a text is read whole
            else if (n > budget) n = budget;
            if (n <= 0) continue;
            s->n_row += (int32_t)n;
            budget -= (int32_t)n;
            has_given = true;
        }
    }
    return budget;
}

// Chunks of whole tiles are the fastest.
static void round_chunks(hth_engine *e) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        if (s->n_row > LEAST_SHARE && s->n_row < sequence_pending(s)) s->n_row = s->n_row / LEAST_SHARE * LEAST_SHARE;
    }
}

// Decides how many rows each sequence has in the step. Returns the number of generated ones.
static int32_t plan_rows(hth_engine *e, bool embeds) {
    int32_t n_generated = 0, n_interactive = 0;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        s->n_row = 0;
        n_interactive += is_reading(s, embeds, HTH_PRIORITY_INTERACTIVE);
        if (embeds || sequence_pending(s) == 0 || sequence_is_embedding(s) || !sequence_is_generating(s)) continue;
        s->n_row = (int32_t)sequence_pending(s);
        n_generated += s->n_row;
    }
    const int32_t budget = prompt_budget(e, n_generated);
    share_rows(e, embeds, HTH_PRIORITY_INTERACTIVE, budget);
    if (n_interactive == 0) share_rows(e, embeds, HTH_PRIORITY_BACKGROUND, budget);
    if (e->model->desc.causal) round_chunks(e);
    e->turn++;
    return n_generated;
}

// Embeddings are computed with f32 activations, so they have steps of their own; the two kinds take turns.
static bool is_embedding_next(hth_engine *e) {
    bool has[2] = {false, false};
    for (int32_t i = 0; i < e->n_seq; i++) {
        if (sequence_pending(e->seqs[i]) > 0) has[sequence_is_embedding(e->seqs[i])] = true;
    }
    if (has[0] && has[1]) return e->embeds_next = !e->embeds_next;
    return has[1];
}

static bool grow(void **p, size_t *cap, size_t need, size_t size) {
    return hth_grow(HTH_MEM_ENGINE, p, cap, need, size, SIZE_MAX / 16);
}

static void write_rows(hth_engine *e, sequence *s, int32_t i_seq, hth_row *rows, int64_t wanted) {
    const bool embeds = sequence_is_embedding(s), learns = speculate_wants_hidden(e, s);
    for (int32_t i = 0; i < s->n_row; i++) {
        const int64_t pos = s->n_computed + i;
        const bool is_wanted = embeds ? hth_pooled_wants(&s->pooled, e->model, pos) : pos >= wanted;
        const bool is_prompt = pos < s->n_prompt_row && !s->request->p.prompt_as_generated;
        s->n_hidden += embeds ? is_wanted : learns;
        s->n_logits += !embeds && is_wanted;
        const int64_t ahead = pos - (int64_t)s->n_token; // of the tokens that are certain
        rows[i] = (hth_row){.token = ahead < 0 ? s->tokens[pos] : s->draft.tokens[ahead], .i_seq = i_seq, .pos = {pos, pos, pos, pos},
                            .parent = HTH_PARENT_PREVIOUS, .span = -1,
                            .kind = (uint8_t)(is_prompt ? HTH_ROW_PROMPT : HTH_ROW_GENERATED),
                            .want = (uint8_t)((!is_wanted ? 0 : embeds ? HTH_WANT_HIDDEN : HTH_WANT_LOGITS) |
                                              (learns ? HTH_WANT_HIDDEN : 0))};
    }
}

// Writes the batch of what was planned. Returns the number of rows; -1 where memory is refused.
static int32_t make_batch(hth_engine *e) {
    size_t n_row = 0, n_logits = 0, n_hidden = 0;
    e->n_stepping = 0;
    for (int32_t i = 0; i < e->n_seq; i++) n_row += (size_t)e->seqs[i]->n_row;
    if (!grow((void **)&e->rows, &e->row_cap, n_row, sizeof *e->rows)) return -1;
    n_row = 0;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        if (s->n_row == 0) continue;
        s->first_row = (int32_t)n_row;
        s->first_logits = (int32_t)(sequence_is_embedding(s) ? n_hidden : n_logits);
        s->first_hidden = (int32_t)n_hidden;
        s->n_logits = s->n_hidden = 0;
        s->is_rolled = false;
        write_rows(e, s, e->n_stepping, e->rows + n_row, first_wanted(s));
        n_row += (size_t)s->n_row;
        n_logits += (size_t)s->n_logits;
        n_hidden += (size_t)s->n_hidden;
        e->states[e->n_stepping] = s->state;
        e->sets[e->n_stepping] = s->request->adapters;
        e->stepping[e->n_stepping++] = s;
    }
    const size_t n_vocab = (size_t)e->model->desc.n_vocab, d = (size_t)e->model->desc.d_model;
    if (!grow((void **)&e->logits, &e->logits_cap, n_logits * n_vocab, sizeof *e->logits) ||
        !grow((void **)&e->hidden, &e->hidden_cap, n_hidden * d, sizeof *e->hidden)) {
        return -1;
    }
    return (int32_t)n_row;
}

// ---- running

static float *outputs_of(const hth_engine *e, const sequence *s) {
    const size_t width = (size_t)(sequence_is_embedding(s) ? e->model->desc.d_model : e->model->desc.n_vocab);
    float *base = sequence_is_embedding(s) ? e->hidden : e->logits;
    return base ? base + (size_t)s->first_logits * width : NULL;
}

static float *hidden_of(const hth_engine *e, const sequence *s) {
    return e->hidden ? e->hidden + (size_t)s->first_hidden * (size_t)e->model->desc.d_model : NULL;
}

// Runs the rows of stepping[first ... first + n).
static hth_code run(hth_engine *e, int32_t first, int32_t n, hth_err *err) {
    const sequence *a = e->stepping[first], *z = e->stepping[first + n - 1];
    const bool embeds = sequence_is_embedding(a);
    const int32_t n_row = z->first_row + z->n_row - a->first_row;
    float *outputs = outputs_of(e, a);
    const hth_linear_hook *hook;
    HTH_TRY(hth_lora_runner_begin(e->lora_runner, e->sets + first, n, n_row, hth_team_size(e->host->team), &hook, err));
    if (e->watcher) hook = e->watcher;
    hth_step step = {.model = e->model,
                     .batch = {.rows = e->rows + a->first_row, .n_row = n_row,
                               .states = e->states + first, .n_seq = n},
                     .layer_last = e->model->desc.n_layer,
                     .logits = embeds ? NULL : outputs,
                     .hidden_want = hidden_of(e, a),
                     .activations = embeds ? HTH_ACTIVATIONS_F32 : e->activations,
                     .hidden_layer = -1,
                     .hook = hook,
                     .cancel = &e->host->abort_step};
    hth_ticket ticket;
    HTH_TRY(hth_executor_submit(e->host->executor, &step, &ticket, err));
    return hth_executor_wait(e->host->executor, ticket, err);
}

// A step failed that had rows of several sequences: each is run alone, and only those that fail then end.
static hth_code run_alone(hth_engine *e) {
    hth_err err;
    for (int32_t i = 0; i < e->n_stepping; i++) {
        sequence *s = e->stepping[i];
        for (int32_t r = 0; r < s->n_row; r++) e->rows[s->first_row + r].i_seq = 0;
        const hth_code code = run(e, i, 1, &err);
        if (code == HTH_OK) continue;
        s->n_row = 0;
        if (code != HTH_ERR_CANCELLED) sequence_fail(s, &err);
    }
    return HTH_OK;
}

// Tells cancellers what is at stake. Returns false where a request was cancelled meanwhile: plan anew.
static bool announce(hth_engine *e, int32_t n_row) {
    hth_host *h = e->host;
    bool is_current = true;
    hth_lock(&h->lock);
    for (int32_t i = 0; i < e->n_stepping; i++) is_current &= !e->stepping[i]->request->is_cancelled && !e->is_closing;
    if (is_current) {
        atomic_store(&h->abort_step, false);
        h->n_row_in_step = n_row;
        h->n_cancelled_row = 0;
        for (int32_t i = 0; i < e->n_stepping; i++) e->stepping[i]->request->n_row_in_step += e->stepping[i]->n_row;
    }
    hth_unlock(&h->lock);
    return is_current;
}

static void withdraw(hth_engine *e) {
    hth_host *h = e->host;
    hth_lock(&h->lock);
    h->n_row_in_step = h->n_cancelled_row = 0;
    for (int32_t i = 0; i < e->n_stepping; i++) e->stepping[i]->request->n_row_in_step = 0;
    hth_unlock(&h->lock);
}

// ---- delivering

static void add_choice(hth_engine *e, sequence *s, const float *logits) {
    choice *c = &e->choices[e->n_choices++];
    c->seq = s;
    c->logits = logits;
    c->code = HTH_OK;
    c->is_forced = false;
    c->n_top = 0;
}

static hth_code tell_progress(sequence *s, hth_err *err) {
    hth_event event = {.kind = HTH_EVENT_PREFILL, .completion = s->completion};
    event.progress.n_done = s->n_computed;
    event.progress.n_total = (int64_t)s->n_token;
    event.progress.n_cached = s->request->usage.n_cached;
    return request_tell(s->request, &event, err);
}

// What new rows of the prompt were asked for besides the last one's logits.
static hth_code deliver_prompt(hth_engine *e, sequence *s, const float *logits, hth_err *err) {
    const hth_request *r = s->request;
    const int64_t end = s->n_computed;
    HTH_TRY(tell_progress(s, err));
    if (s->has_prompt) return HTH_OK; // read again
    if (r->p.on_logits && s->n_logits > 0 && r->p.logits_from < end) {
        const int64_t first = end - s->n_logits, skip = r->p.logits_from > first ? r->p.logits_from - first : 0;
        const int32_t n_vocab = e->model->desc.n_vocab;
        if (!r->p.on_logits(r->p.user, first + skip, s->n_logits - (int32_t)skip, n_vocab,
                            logits + (size_t)skip * (size_t)n_vocab)) {
            return hth_fail(err, HTH_ERR_CANCELLED, "the reader of logits wants no more");
        }
    }
    if (!r->p.echo && !r->p.prompt_logprobs) return HTH_OK;
    const int64_t last = end + 1 < r->n_prompt ? end + 1 : r->n_prompt;
    const int64_t first = s->n_echoed;
    s->n_echoed = last;
    return sequence_tell_prompt(e, s, first, last, logits, err);
}

// The prompt has been read: tokens may come, of all completions.
static void begin_output(hth_engine *e, sequence *s, const float *last_logits) {
    hth_request *r = s->request;
    hth_err err;
    s->has_prompt = true;
    r->prompt_ns = hth_clock_ns();
    reuse_keep_prompt(e, s);
    if (r->p.no_output) {
        for (int32_t i = 0; i < e->n_seq; i++) {
            if (e->seqs[i]->request == r) sequence_stop(e->seqs[i], HTH_STOP_LENGTH, -1, -1);
        }
        return;
    }
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *other = e->seqs[i];
        if (other->request != r || !other->waits) continue;
        if (sequence_follow(other, s, &err) == HTH_OK) add_choice(e, other, last_logits);
        else sequence_fail(other, &err);
    }
}

static hth_code deliver_embedding(hth_engine *e, sequence *s, const float *hidden, hth_err *err) {
    const hth_request *r = s->request;
    hth_pooled_add(&s->pooled, e->model, hidden, s->n_hidden);
    if (sequence_pending(s) > 0) return tell_progress(s, err);
    const int32_t width = hth_pooling_width(e->model, r->pooling);
    float *values = hth_calloc(HTH_MEM_ENGINE, (size_t)width, sizeof *values);
    if (!values) return hth_fail_nomem(err, (uint64_t)width * sizeof *values);
    hth_code code = hth_pooled_finish(&s->pooled, e->model, r->p.normalize, values, err);
    if (code == HTH_OK) {
        hth_event event = {.kind = HTH_EVENT_EMBEDDING};
        event.embedding.values = values;
        event.embedding.n = width;
        code = request_tell(s->request, &event, err);
    }
    hth_free(values);
    s->is_ended = code == HTH_OK;
    return code;
}

// Of the last row that has turned out to be the sequence's.
static const float *logits_after(const hth_engine *e, const sequence *s) {
    return outputs_of(e, s) + (size_t)(s->n_logits - 1 - s->n_draft + s->i_draft) * (size_t)e->model->desc.n_vocab;
}

static hth_code deliver_rows(hth_engine *e, sequence *s, hth_err *err) {
    const bool was_reading = !sequence_is_generating(s);
    const float *out = outputs_of(e, s);
    s->n_computed += s->n_row - s->n_draft;
    if (sequence_is_embedding(s)) return deliver_embedding(e, s, out, err);
    if (was_reading) reuse_keep_branch(e, s);
    if (was_reading) HTH_TRY(deliver_prompt(e, s, out, err));
    if (sequence_pending(s) > 0) return HTH_OK;
    const float *last = s->n_logits > 0 ? logits_after(e, s) : NULL;
    if (!s->has_prompt) begin_output(e, s, last);
    if (!s->is_ended) add_choice(e, s, last);
    return HTH_OK;
}

// Takes a token, and those that are due behind it: they are computed with the next step, but for what was guessed. Returns
// whether the logits behind the last one are there.
static bool take_with_due(hth_engine *e, choice *c) {
    sequence *s = c->seq;
    bool has_row = true;
    int n = 0;
    do {
        const size_t n_before = s->n_token;
        sequence_take(e, s, c);
        has_row = has_row && s->n_token == n_before + 1 && speculate_follow(s, c->token);
    } while (!s->is_ended && ++n <= MOST_DUE && engine_choose_due(e, s, c));
    return has_row;
}

// Chooses one token for each sequence that waits for one. What was guessed waits for the next.
static void choose_round(hth_engine *e) {
    const int32_t n = e->n_choices;
    engine_choose(e);
    e->n_choices = 0;
    for (int32_t i = 0; i < n; i++) {
        choice c = e->choices[i]; // its place may be taken below
        if (!c.seq->is_ended && take_with_due(e, &c)) add_choice(e, c.seq, logits_after(e, c.seq));
    }
}

// Returns the time that choosing took.
static uint64_t deliver(hth_engine *e) {
    hth_err err;
    e->n_choices = 0;
    for (int32_t i = 0; i < e->n_stepping; i++) {
        sequence *s = e->stepping[i];
        if (s->n_row > 0 && deliver_rows(e, s, &err) != HTH_OK) sequence_fail(s, &err);
    }
    const uint64_t begin = hth_clock_ns();
    while (e->n_choices > 0) choose_round(e);
    for (int32_t i = 0; i < e->n_stepping; i++) {
        sequence *s = e->stepping[i];
        if (s->n_row > 0 && s->n_hidden > 0 && !sequence_is_embedding(s)) speculate_learn(e, s, hidden_of(e, s));
    }
    speculate_settle(e);
    return hth_clock_ns() - begin;
}

// ---- a step

static void count(hth_engine *e, int32_t n_row, int32_t n_generated, uint64_t step_ns, uint64_t sample_ns, uint64_t all_ns) {
    hth_lock(&e->host->lock);
    hth_engine_stats *t = &e->stats;
    t->n_step++;
    t->n_mixed_step += n_generated > 0 && n_row > n_generated;
    t->n_prompt_row += (uint64_t)(n_row - n_generated);
    t->n_generated_row += (uint64_t)n_generated;
    t->step_ns += step_ns;
    t->sample_ns += sample_ns;
    t->overhead_ns += all_ns - step_ns - sample_ns;
    hth_unlock(&e->host->lock);
}

static void fail_all(hth_engine *e, const hth_err *err) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        if (e->seqs[i]->n_row > 0) sequence_fail(e->seqs[i], err);
    }
}

// Runs the batch. A step that fails for several sequences is taken apart.
static hth_code run_batch(hth_engine *e, hth_err *err) {
    const hth_code code = run(e, 0, e->n_stepping, err);
    if (code == HTH_OK || code == HTH_ERR_CANCELLED || e->n_stepping == 1) return code;
    return run_alone(e);
}

void engine_step(hth_engine *e) {
    const uint64_t begin = hth_clock_ns();
    hth_err err;
    reuse_count(e);
    admit(e);
    end_hopeless(e);
    reuse_catch_up(e);
    room_settle(e);
    int32_t n_generated = e->n_seq > 0 ? plan_rows(e, is_embedding_next(e)) : 0;
    n_generated += speculate_plan(e);
    const int32_t n_row = make_batch(e);
    if (n_row < 0) {
        (void)!hth_fail(&err, HTH_ERR_NOMEM, "out of memory for the rows of a step");
        fail_all(e, &err);
    }
    if (n_row <= 0 || !announce(e, n_row)) {
        end_hopeless(e);
        return;
    }
    const uint64_t ready = hth_clock_ns();
    const hth_code code = run_batch(e, &err);
    const uint64_t ran = hth_clock_ns();
    withdraw(e);
    uint64_t sample_ns = 0;
    if (code == HTH_OK) {
        learn(&e->timing, n_row - n_generated, n_generated, (double)(ran - ready));
        if (n_row == n_generated) hth_row_cost_add(&e->row_cost, n_row, (double)(ran - ready));
        sample_ns = deliver(e);
    } else if (code != HTH_ERR_CANCELLED) {
        fail_all(e, &err);
    }
    const uint64_t all_ns = hth_clock_ns() - begin;
    e->vtime_ns += (double)all_ns;
    count(e, n_row, n_generated, ran - ready + e->asked_ns, sample_ns, all_ns);
    end_orphans(e);
    reap(e);
}
