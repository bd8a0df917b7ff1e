// The host: one thread that owns the thread team and the executor, and decides which engine's step is next. Engines
// with work take turns by the time that their steps have taken, so that two models share the cores fairly.
#include "engine/impl.h"

#include "os/clock.h"
#include "model/spread.h"
#include "os/cpu.h"
#include "os/node.h"

// ---- the thread

// The engine with work that has had the least time. Who had nothing to do does not save up for later.
static hth_engine *choose_engine(hth_host *h) {
    hth_engine *best = NULL;
    for (hth_engine *e = h->engines; e; e = e->next) {
        if (engine_has_work(e) && (!best || e->vtime_ns < best->vtime_ns)) best = e;
    }
    for (hth_engine *e = h->engines; best && e; e = e->next) {
        if (e->vtime_ns < best->vtime_ns) e->vtime_ns = best->vtime_ns;
    }
    return best;
}

// Takes waiting requests whose deadline has passed out of the queues, one list of all engines. Returns when the next
// deadline is, or 0.
static uint64_t take_late(hth_host *h, uint64_t now, hth_request **late) {
    uint64_t next = 0;
    for (hth_engine *e = h->engines; e; e = e->next) {
        for (int q = 0; q < 2 && e->n_deadline > 0; q++) {
            for (hth_request *r = e->waiting[q].head, *after; r; r = after) {
                after = r->next;
                if (r->deadline_ns == 0) continue;
                if (r->deadline_ns > now) {
                    if (next == 0 || r->deadline_ns < next) next = r->deadline_ns;
                    continue;
                }
                queue_remove(e, r);
                r->phase = REQUEST_DONE;
                r->next = *late;
                *late = r;
            }
        }
    }
    return next;
}

static void end_late(hth_request *late) {
    while (late) {
        hth_request *r = late;
        late = r->next;
        hth_err err;
        (void)!hth_fail(&err, HTH_ERR_TIMEOUT, "the deadline passed while the request was waiting");
        request_end_waiting(r, &err);
    }
}

static void *run_host(void *user) {
    hth_host *h = user;
    hth_spread_team(h->team, h->n_node);
    hth_lock(&h->lock);
    for (;;) {
        hth_request *late = NULL;
        const uint64_t deadline = take_late(h, hth_clock_ns(), &late);
        hth_engine *e = choose_engine(h);
        if (e || late) {
            if (e) e->is_stepping = true;
            hth_unlock(&h->lock);
            end_late(late);
            if (e) engine_step(e);
            hth_lock(&h->lock);
            if (e) e->is_stepping = false;
            hth_cond_wake_all(&h->done);
        } else if (h->is_closing) {
            break;
        } else if (deadline) {
            hth_cond_wait_until(&h->work, &h->lock, deadline);
        } else {
            hth_cond_wait(&h->work, &h->lock);
        }
    }
    hth_unlock(&h->lock);
    return NULL;
}

// ---- life

void host_hold(hth_host *h) {
    atomic_fetch_add(&h->n_hold, 1);
}

void host_drop(hth_host *h) {
    if (atomic_fetch_sub(&h->n_hold, 1) != 1) return;
    hth_cond_destroy(&h->done);
    hth_cond_destroy(&h->work);
    hth_mutex_destroy(&h->lock);
    hth_free(h);
}

static hth_code init_lock(hth_host *h, hth_err *err) {
    HTH_TRY(hth_mutex_init(&h->lock, err));
    hth_code code = hth_cond_init(&h->work, err);
    if (code != HTH_OK) {
        hth_mutex_destroy(&h->lock);
        return code;
    }
    code = hth_cond_init(&h->done, err);
    if (code != HTH_OK) {
        hth_cond_destroy(&h->work);
        hth_mutex_destroy(&h->lock);
    }
    return code;
}

hth_code hth_host_new(const hth_host_params *p, hth_host **out, hth_err *err) {
    const int n_thread = p ? p->n_thread : 0;
    *out = NULL;
    if (n_thread < 0 || n_thread > 1024) return hth_fail(err, HTH_ERR_RANGE, "n_thread is %d; 1 to 1024 are possible", n_thread);
    hth_host *h = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *h);
    if (!h) return hth_fail_nomem(err, sizeof *h);
    atomic_init(&h->n_hold, 1);
    hth_code code = init_lock(h, err);
    if (code != HTH_OK) {
        hth_free(h);
        return code;
    }
    h->n_node = p && p->numa ? hth_node_count() : 1;
    HTH_TRY_GOTO(code, hth_team_new(n_thread ? n_thread : hth_cpu_default_threads(), &h->team, err), fail);
    HTH_TRY_GOTO(code, hth_executor_cpu_new(h->team, &h->executor, err), fail);
    HTH_TRY_GOTO(code, hth_thread_start(&h->thread, run_host, h, err), fail);
    h->has_thread = true;
    *out = h;
    return HTH_OK;
fail:
    hth_host_free(h);
    return code;
}

void hth_host_free(hth_host *h) {
    if (!h) return;
    if (h->has_thread) {
        hth_lock(&h->lock);
        h->is_closing = true;
        hth_cond_wake_all(&h->work);
        hth_unlock(&h->lock);
        hth_thread_join(&h->thread);
    }
    if (h->executor) hth_executor_free(h->executor);
    if (h->team) hth_team_free(h->team);
    h->executor = NULL;
    h->team = NULL;
    host_drop(h);
}

int hth_host_n_thread(const hth_host *h) {
    return hth_team_size(h->team);
}

// ---- its engines

void host_add(hth_host *h, hth_engine *e) {
    hth_lock(&h->lock);
    e->next = h->engines;
    h->engines = e;
    hth_unlock(&h->lock);
}

// The first request in line, taken out; NULL when none waits.
static hth_request *take_waiting(hth_engine *e) {
    hth_request *r = e->waiting[0].head ? e->waiting[0].head : e->waiting[1].head;
    if (!r) return NULL;
    queue_remove(e, r);
    r->phase = REQUEST_DONE;
    return r;
}

void host_remove(hth_host *h, hth_engine *e) {
    hth_lock(&h->lock);
    e->is_closing = true;
    for (hth_request *r; (r = take_waiting(e));) {
        hth_unlock(&h->lock);
        request_end_waiting(r, NULL);
        hth_lock(&h->lock);
    }
    if (e->is_stepping) atomic_store(&h->abort_step, true);
    hth_cond_wake_all(&h->work);
    while (e->n_running > 0 || e->is_stepping) hth_cond_wait(&h->done, &h->lock);
    hth_engine **at = &h->engines;
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    hth_unlock(&h->lock);
}
