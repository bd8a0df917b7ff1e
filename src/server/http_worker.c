// Threads that handle requests, started as they are needed: one that waits for a model to load holds up
// nobody else until all of them do.
#include "os/clock.h"
#include "server/http_impl.h"

static void handle(hth_exchange *x) {
    hth_http *h = x->http;
    if (!atomic_load(&x->gone) && http_unpack_body(x)) h->p.on_request(h->p.user, x);
    hth_lock(&x->lock);
    x->is_working = false;
    hth_unlock(&x->lock);
    hth_exchange_wake(x);
    hth_exchange_drop(x);
}

static void *work(void *user) {
    hth_http *h = user;
    hth_lock(&h->lock);
    for (;;) {
        hth_exchange *x = h->first_work;
        if (x) {
            h->first_work = x->next_work;
            if (!h->first_work) h->last_work = NULL;
            h->n_free--;
            hth_unlock(&h->lock);
            handle(x);
            hth_lock(&h->lock);
            h->n_free++;
        } else if (h->is_stopping) {
            break;
        } else {
            hth_cond_wait(&h->work, &h->lock);
        }
    }
    hth_unlock(&h->lock);
    return NULL;
}

void http_work_push(hth_exchange *x) {
    hth_http *h = x->http;
    hth_err err;
    hth_exchange_hold(x);
    hth_lock(&h->lock);
    x->next_work = NULL;
    if (h->last_work)
        h->last_work->next_work = x;
    else
        h->first_work = x;
    h->last_work = x;
    int n_waiting = 0;
    for (hth_exchange *at = h->first_work; at && n_waiting <= h->n_free; at = at->next_work) n_waiting++;
    if (n_waiting > h->n_free && h->n_started < h->p.n_worker &&
        hth_thread_start(&h->workers[h->n_started], work, h, &err) == HTH_OK) {
        h->n_started++;
        h->n_free++;
    }
    hth_cond_wake_all(&h->work);
    hth_unlock(&h->lock);
}

void http_workers_stop(hth_http *h) {
    hth_lock(&h->lock);
    h->is_stopping = true;
    hth_cond_wake_all(&h->work);
    hth_unlock(&h->lock);
    for (int i = 0; i < h->n_started; i++) hth_thread_join(&h->workers[i]);
    h->n_started = 0;
}
