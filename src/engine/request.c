// Requests as their owners see them: submitted, cancelled, read, freed. What happens to them in between is the host
// thread's business (step.c).
#include <string.h>

#include "engine/prompt.h"
#include "os/clock.h"

#define MAX_ARENA ((uint64_t)1 << 36)

void request_hold(hth_request *r) {
    atomic_fetch_add(&r->n_hold, 1);
}

void request_drop(hth_request *r) {
    if (atomic_fetch_sub(&r->n_hold, 1) != 1) return;
    hth_replay_free(r->reader);
    hth_journal_drop(r->journal);
    hth_arena_free(&r->arena);
    host_drop(r->host);
    hth_free(r);
}

// ---- events

hth_code request_tell(hth_request *r, hth_event *event, hth_err *err) {
    return hth_journal_add(r->journal, event, r->p.on_event, r->p.user, err);
}

void request_tell_last(hth_request *r, hth_event *event) {
    hth_journal_add_last(r->journal, event, r->p.on_event, r->p.user);
}

void request_fail(hth_request *r, int32_t completion, const hth_err *err, const hth_refusal *why) {
    hth_event event = {.kind = HTH_EVENT_ERROR, .completion = completion};
    event.error.err = err;
    if (why) event.error.refusal = *why;
    request_tell_last(r, &event);
}

// The moving average of how long requests take, for the answer "come back then".
static void learn_duration(hth_engine *e, const hth_request *r, uint64_t now) {
    if (r->start_ns == 0) return;
    const double ns = (double)(now - r->start_ns);
    e->timing.request_ns = e->timing.request_ns == 0 ? ns : 0.8 * e->timing.request_ns + 0.2 * ns;
}

void request_end(hth_request *r) {
    const uint64_t now = hth_clock_ns();
    hth_usage *u = &r->usage;
    u->n_prompt = r->n_prompt;
    u->queued_ns = (r->start_ns ? r->start_ns : now) - r->submit_ns;
    if (r->start_ns) u->prefill_ns = (r->prompt_ns ? r->prompt_ns : now) - r->start_ns;
    if (r->prompt_ns) u->generate_ns = now - r->prompt_ns;
    hth_event event = {.kind = HTH_EVENT_END, .completion = -1};
    event.usage = *u;
    hth_lock(&r->host->lock);
    if (r->phase == REQUEST_RUNNING) {
        r->engine->n_running--;
        r->engine->stats.n_done++;
        learn_duration(r->engine, r, now);
    }
    r->phase = REQUEST_DONE;
    hth_cond_wake_all(&r->host->done);
    hth_unlock(&r->host->lock);
    request_tell_last(r, &event);
    request_drop(r);
}

void request_end_waiting(hth_request *r, const hth_err *err) {
    if (err) {
        request_fail(r, -1, err, NULL);
    } else {
        for (int32_t i = 0; i < r->n_seq; i++) {
            hth_event event = {.kind = HTH_EVENT_STOP, .completion = i};
            event.stop.reason = HTH_STOP_CANCELLED;
            event.stop.token = event.stop.i_stop = -1;
            request_tell_last(r, &event);
        }
    }
    request_end(r);
}

// ---- the queue

static void queue_push(hth_engine *e, hth_request *r) {
    queue *q = &e->waiting[r->p.priority];
    r->next = NULL;
    if (q->tail) q->tail->next = r;
    else q->head = r;
    q->tail = r;
    e->n_waiting++;
    e->n_deadline += r->deadline_ns != 0;
}

void queue_remove(hth_engine *e, hth_request *r) {
    queue *q = &e->waiting[r->p.priority];
    hth_request *before = NULL;
    for (hth_request *at = q->head; at != r; at = at->next) before = at;
    if (before) before->next = r->next;
    else q->head = r->next;
    if (q->tail == r) q->tail = before;
    r->next = NULL;
    e->n_waiting--;
    e->n_deadline -= r->deadline_ns != 0;
}

// ---- submission

static int64_t retry_after(const hth_engine *e) {
    const double mean = e->timing.request_ns == 0 ? 1e9 : e->timing.request_ns;
    const double ms = mean / 1e6 * (1 + (double)e->n_waiting / e->n_sequence) / 2;
    return ms < 100 ? 100 : ms > 60000 ? 60000 : (int64_t)ms;
}

static hth_code enqueue(hth_engine *e, hth_request *r, hth_refusal *why, hth_err *err) {
    hth_host *h = e->host;
    hth_code code = HTH_OK;
    hth_lock(&h->lock);
    if (e->is_closing) {
        code = hth_fail(err, HTH_ERR_CANCELLED, "the engine is being closed");
    } else if (e->n_waiting >= e->n_queue) {
        why->retry_ms = retry_after(e);
        e->stats.n_busy++;
        code = hth_fail(err, HTH_ERR_BUSY, "%d requests are waiting already; try again in %lld ms", e->n_waiting,
                        (long long)why->retry_ms);
    } else {
        request_hold(r);
        queue_push(e, r);
        hth_cond_wake_all(&h->work);
    }
    hth_unlock(&h->lock);
    return code;
}

static hth_code tell_queued(hth_request *r, hth_err *err) {
    hth_event queued = {.kind = HTH_EVENT_QUEUED, .completion = -1};
    HTH_TRY(request_tell(r, &queued, err));
    if (r->cut_n == 0) return HTH_OK;
    hth_event cut = {.kind = HTH_EVENT_CUT, .completion = -1};
    cut.cut.first = r->cut_first;
    cut.cut.n = r->cut_n;
    return request_tell(r, &cut, err);
}

static hth_request *new_request(hth_engine *e) {
    hth_request *r = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *r);
    if (!r) return NULL;
    atomic_init(&r->n_hold, 1);
    r->host = e->host;
    r->engine = e;
    host_hold(e->host);
    hth_arena_init(&r->arena, HTH_MEM_ENGINE, MAX_ARENA);
    return r;
}

hth_code hth_request_submit(hth_engine *e, const hth_request_params *p, hth_request **out, hth_refusal *why,
                            hth_err *err) {
    hth_refusal unasked;
    hth_err unread;
    if (!why) why = &unasked;
    if (!err) err = &unread;
    *why = (hth_refusal){0};
    *out = NULL;
    hth_request *r = new_request(e);
    if (!r) return hth_fail_nomem(err, sizeof *r);
    hth_code code = prompt_prepare(r, p, why, err);
    if (code == HTH_OK) code = hth_journal_new(p->n_log, (size_t)r->n_seq + 2, &r->journal, err);
    if (code == HTH_OK) code = hth_journal_replay(r->journal, 0, &r->reader, err);
    if (code == HTH_OK) code = tell_queued(r, err);
    if (code == HTH_OK && p->on_more) hth_journal_set_waker(r->journal, p->on_more, p->user);
    if (code == HTH_OK) code = enqueue(e, r, why, err);
    if (code != HTH_OK) {
        request_drop(r);
        return code;
    }
    *out = r;
    return HTH_OK;
}

// ---- what is cached of a request's prompt, in a file

typedef hth_code (*file_fn)(const hth_request *r, const char *path, int64_t *n, hth_err *err);
typedef hth_code (*prepare_fn)(hth_request *r, const hth_request_params *p, hth_refusal *why, hth_err *err);

// With a request that is never submitted.
static hth_code use_file(hth_engine *e, const hth_request_params *p, prepare_fn prepare, file_fn use, const char *path,
                         int64_t *n, hth_err *err) {
    hth_refusal why;
    int64_t unasked;
    if (!n) n = &unasked;
    *n = 0;
    if (!e->prefix) return hth_fail(err, HTH_ERR_UNSUPPORTED, "this engine keeps nothing of what it has computed");
    hth_request *r = new_request(e);
    if (!r) return hth_fail_nomem(err, sizeof *r);
    hth_code code = prepare(r, p, &why, err);
    if (code == HTH_OK) code = use(r, path, n, err);
    request_drop(r);
    return code;
}

hth_code hth_engine_save(hth_engine *e, const hth_request_params *p, const char *path, int64_t *n, hth_err *err) {
    return use_file(e, p, prompt_prepare, reuse_save, path, n, err);
}

hth_code hth_engine_restore(hth_engine *e, const hth_request_params *p, const char *path, int64_t *n, hth_err *err) {
    return use_file(e, p, prompt_domain, reuse_restore, path, n, err);
}

// ---- what owners do

void hth_request_cancel(hth_request *r) {
    hth_host *h = r->host;
    bool was_waiting = false;
    hth_lock(&h->lock);
    if (r->phase == REQUEST_WAITING) {
        queue_remove(r->engine, r);
        r->phase = REQUEST_DONE;
        was_waiting = true;
    } else if (r->phase == REQUEST_RUNNING && !r->is_cancelled) {
        r->is_cancelled = true;
        // A step that is mostly for nothing is given up between two layers; the others' rows run again at once.
        h->n_cancelled_row += r->n_row_in_step;
        if (2 * h->n_cancelled_row > h->n_row_in_step) atomic_store(&h->abort_step, true);
        hth_cond_wake_all(&h->work);
    }
    hth_unlock(&h->lock);
    if (was_waiting) request_end_waiting(r, NULL);
}

void hth_request_free(hth_request *r) {
    if (!r) return;
    hth_request_cancel(r);
    request_drop(r);
}

hth_code hth_request_next(hth_request *r, int64_t timeout_ms, hth_event *out, hth_err *err) {
    return hth_replay_next(r->reader, timeout_ms, out, err);
}

hth_code hth_replay_new(hth_request *r, uint64_t after, hth_replay **out, hth_err *err) {
    return hth_journal_replay(r->journal, after, out, err);
}
