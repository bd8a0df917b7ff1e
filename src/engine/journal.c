// A ring of events with their payloads. What always holds: events [first, next) are in the ring at number modulo its
// size, and `n_last` places are free until the last events take them.
#include "engine/journal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "os/clock.h"
#include "os/sync.h"

#define MAX_EVENTS ((size_t)1 << 26)

typedef struct entry {
    hth_event event; // its pointers lead into payload
    void *payload;   // owned; NULL where there is none
} entry;

struct hth_journal {
    hth_mutex lock;
    hth_cond grown;
    atomic_int n_hold;
    entry *ring; // [cap], a power of two
    size_t cap, n_keep, n_last;
    uint64_t first, next;
    int n_waiting; // readers that sleep
    bool is_ended;
    void (*on_more)(void *user, bool is_last);
    void *more_user;
};

struct hth_replay {
    hth_journal *journal;
    uint64_t next;
    uint8_t *payload; // [cap] of the event that was handed out
    size_t cap;
};

// ---- payloads: top candidates, embedding or error first (they need alignment), then text

static size_t head_bytes(const hth_event *e) {
    if (e->kind == HTH_EVENT_TOKEN || e->kind == HTH_EVENT_PROMPT) return (size_t)e->token.n_top * sizeof *e->token.top;
    if (e->kind == HTH_EVENT_EMBEDDING) return (size_t)e->embedding.n * sizeof *e->embedding.values;
    if (e->kind == HTH_EVENT_ERROR && e->error.err) return sizeof *e->error.err;
    return 0;
}

// Copies the payload of *e to `to` and lets *e point there.
static void move_payload(hth_event *e, uint8_t *to) {
    const size_t n = head_bytes(e);
    void *head = to;
    if (n > 0 && e->kind == HTH_EVENT_EMBEDDING) e->embedding.values = memcpy(head, e->embedding.values, n);
    else if (n > 0 && e->kind == HTH_EVENT_ERROR) e->error.err = memcpy(head, e->error.err, n);
    else if (n > 0) e->token.top = memcpy(head, e->token.top, n);
    if (e->n_text > 0) e->text = memcpy(to + n, e->text, e->n_text);
}

static size_t payload_bytes(const hth_event *e) {
    return head_bytes(e) + e->n_text;
}

// ---- life

hth_code hth_journal_new(size_t n_keep, size_t n_last, hth_journal **out, hth_err *err) {
    hth_journal *j = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *j);
    if (!j) return hth_fail_nomem(err, sizeof *j);
    j->n_keep = n_keep == 0 || n_keep > MAX_EVENTS / 2 ? MAX_EVENTS / 2 : n_keep;
    if (j->n_keep < n_last) j->n_keep = n_last;
    j->n_last = n_last;
    j->first = j->next = 1;
    j->cap = 16;
    while (j->cap < n_last + 2) j->cap *= 2;
    j->ring = hth_calloc(HTH_MEM_ENGINE, j->cap, sizeof *j->ring);
    hth_code code = j->ring ? hth_mutex_init(&j->lock, err) : hth_fail_nomem(err, j->cap * sizeof *j->ring);
    if (code != HTH_OK) goto fail;
    code = hth_cond_init(&j->grown, err);
    if (code != HTH_OK) {
        hth_mutex_destroy(&j->lock);
        goto fail;
    }
    atomic_init(&j->n_hold, 1);
    *out = j;
    return HTH_OK;
fail:
    hth_free(j->ring);
    hth_free(j);
    return code;
}

void hth_journal_hold(hth_journal *j) {
    atomic_fetch_add(&j->n_hold, 1);
}

void hth_journal_drop(hth_journal *j) {
    if (!j || atomic_fetch_sub(&j->n_hold, 1) != 1) return;
    for (uint64_t i = j->first; i < j->next; i++) hth_free(j->ring[i & (j->cap - 1)].payload);
    hth_cond_destroy(&j->grown);
    hth_mutex_destroy(&j->lock);
    hth_free(j->ring);
    hth_free(j);
}

void hth_journal_set_waker(hth_journal *j, void (*fn)(void *user, bool is_last), void *user) {
    j->on_more = fn;
    j->more_user = user;
}

// ---- writing

static bool double_ring(hth_journal *j) {
    entry *bigger = hth_calloc(HTH_MEM_ENGINE, 2 * j->cap, sizeof *bigger);
    if (!bigger) return false;
    for (uint64_t i = j->first; i < j->next; i++) bigger[i & (2 * j->cap - 1)] = j->ring[i & (j->cap - 1)];
    hth_free(j->ring);
    j->ring = bigger;
    j->cap *= 2;
    return true;
}

static void drop_oldest(hth_journal *j) {
    entry *oldest = &j->ring[j->first++ & (j->cap - 1)];
    hth_free(oldest->payload);
    *oldest = (entry){0};
}

// Takes the payload. The journal is not locked, but this thread is the only one that writes to it.
static void append(hth_journal *j, hth_event *event, void *payload, hth_event_fn fn, void *user) {
    event->number = j->next;
    if (fn) fn(user, event);
    hth_lock(&j->lock);
    if (j->next - j->first >= j->n_keep || j->next - j->first >= j->cap) drop_oldest(j);
    entry *e = &j->ring[j->next++ & (j->cap - 1)];
    *e = (entry){*event, payload};
    if (payload) move_payload(&e->event, payload);
    j->is_ended |= event->kind == HTH_EVENT_END;
    if (j->n_waiting > 0) hth_cond_wake_all(&j->grown);
    hth_unlock(&j->lock);
    if (j->on_more) j->on_more(j->more_user, event->kind == HTH_EVENT_END);
}

hth_code hth_journal_add(hth_journal *j, hth_event *event, hth_event_fn fn, void *user, hth_err *err) {
    const size_t n = payload_bytes(event);
    void *payload = n > 0 ? hth_alloc(HTH_MEM_ENGINE, n) : NULL;
    if (n > 0 && !payload) return hth_fail_nomem(err, n);
    hth_lock(&j->lock);
    const size_t used = (size_t)(j->next - j->first);
    const bool fits = used + j->n_last < j->cap || used >= j->n_keep || double_ring(j);
    hth_unlock(&j->lock);
    if (!fits) {
        hth_free(payload);
        return hth_fail_nomem(err, 2 * j->cap * sizeof *j->ring);
    }
    append(j, event, payload, fn, user);
    return HTH_OK;
}

void hth_journal_add_last(hth_journal *j, hth_event *event, hth_event_fn fn, void *user) {
    static const hth_err no_words = {HTH_ERR_NOMEM, HTH_NO_POS, "out of memory"};
    const size_t n = payload_bytes(event);
    void *payload = n > 0 ? hth_alloc(HTH_MEM_ENGINE, n) : NULL;
    if (n > 0 && !payload) {
        if (event->kind == HTH_EVENT_ERROR) event->error.err = &no_words;
        event->n_text = 0;
    }
    append(j, event, payload, fn, user);
}

// ---- reading

hth_code hth_journal_replay(hth_journal *j, uint64_t after, hth_replay **out, hth_err *err) {
    hth_replay *r = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *r);
    if (!r) return hth_fail_nomem(err, sizeof *r);
    hth_journal_hold(j);
    *r = (hth_replay){.journal = j, .next = after + 1};
    *out = r;
    return HTH_OK;
}

void hth_replay_free(hth_replay *r) {
    if (!r) return;
    hth_journal_drop(r->journal);
    hth_free(r->payload);
    hth_free(r);
}

// Waits until event `number` is there or cannot come. The journal is locked.
static void wait_for(hth_journal *j, uint64_t number, int64_t timeout_ms) {
    const uint64_t until = timeout_ms < 0 ? 0 : hth_clock_ns() + (uint64_t)timeout_ms * 1000000;
    j->n_waiting++;
    while (number >= j->next && !j->is_ended) {
        if (timeout_ms < 0) {
            hth_cond_wait(&j->grown, &j->lock);
        } else if (hth_clock_ns() < until) {
            hth_cond_wait_until(&j->grown, &j->lock, until);
        } else {
            break;
        }
    }
    j->n_waiting--;
}

static hth_code take(hth_replay *r, hth_event *out, hth_err *err) {
    hth_journal *j = r->journal;
    if (r->next >= j->next) {
        if (j->is_ended) return hth_fail(err, HTH_ERR_NOTFOUND, "the request has ended");
        return hth_fail(err, HTH_ERR_TIMEOUT, "no event in the time given");
    }
    if (r->next < j->first) {
        return hth_fail(err, HTH_ERR_LIMIT, "event %llu is no longer kept; the oldest is %llu", (unsigned long long)r->next,
                        (unsigned long long)j->first);
    }
    const entry *e = &j->ring[r->next & (j->cap - 1)];
    const size_t n = payload_bytes(&e->event);
    if (e->payload && n > 0) {
        if (!hth_grow(HTH_MEM_ENGINE, (void **)&r->payload, &r->cap, n, 1, SIZE_MAX / 2)) return hth_fail_nomem(err, n);
        *out = e->event;
        move_payload(out, r->payload);
    } else {
        *out = e->event;
    }
    r->next++;
    return HTH_OK;
}

hth_code hth_replay_next(hth_replay *r, int64_t timeout_ms, hth_event *out, hth_err *err) {
    hth_journal *j = r->journal;
    hth_lock(&j->lock);
    if (r->next >= j->next && timeout_ms != 0) wait_for(j, r->next, timeout_ms);
    hth_code code = take(r, out, err);
    hth_unlock(&j->lock);
    return code;
}
