// Responses at work: one thread reads the calls of all of them, and exchanges read their journals.
#include "server/responses_impl.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "server/access.h"
#include "server/config.h"
#include "server/store.h"

#define MAX_JOBS 4096
#define MAX_KEPT 128 // that ended and are kept for who reads their events again
#define KEPT_NS ((uint64_t)600 * 1000000000)
#define MAX_EVENTS_BYTES ((size_t)64 << 20)
#define MAX_BATCH 64 // events of a call before others have their turn
#define FILL_BYTES ((size_t)64 << 10)

// What an engine's thread holds of a job. Tickets are given again but never freed before the end, so one that
// is told late is told to somebody else at worst, who finds nothing new.
typedef struct responses_ticket {
    hth_responses *all;
    responses_job *job; // under the lock
    struct responses_ticket *next_free, *next;
} responses_ticket;

// --- jobs ---

static void free_job(responses_job *j) {
    hth_str *const texts[] = {&j->events, &j->body,     &j->text,    &j->call_id,
                              &j->name,   &j->logprobs, &j->pending, &j->done};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) hth_str_free(texts[i]);
    hth_free(j->ends);
    if (j->doc) hth_json_free(j->doc);
    hth_arena_free(&j->arena);
    hth_mutex_destroy(&j->lock);
    hth_free(j);
}

// With the lock.
static void unlink_job(hth_responses *all, responses_job *j) {
    responses_job **at = &all->jobs;
    while (*at && *at != j) at = &(*at)->next;
    if (!*at) return;
    *at = j->next;
    all->n_job--;
    if (j->ticket) {
        j->ticket->job = NULL;
        j->ticket->next_free = all->free_tickets;
        all->free_tickets = j->ticket;
    }
}

void responses_job_drop(responses_job *j) {
    hth_responses *all = j->owner_of;
    hth_lock(&all->lock);
    const bool is_last = --j->n_hold == 0;
    if (is_last) unlink_job(all, j);
    hth_unlock(&all->lock);
    if (is_last) free_job(j);
}

static responses_ticket *take_ticket(hth_responses *all) {
    responses_ticket *t = all->free_tickets;
    if (t) {
        all->free_tickets = t->next_free;
        return t;
    }
    t = hth_calloc(HTH_MEM_SERVER, 1, sizeof *t);
    if (!t) return NULL;
    t->all = all;
    t->next = all->tickets;
    all->tickets = t;
    return t;
}

responses_job *responses_job_new(hth_responses *all, hth_exchange *x, hth_fault *fault) {
    const hth_who *who = hth_exchange_who(x);
    responses_job *j = hth_calloc(HTH_MEM_SERVER, 1, sizeof *j);
    if (!j || hth_mutex_init(&j->lock, NULL) != HTH_OK) {
        hth_free(j);
        (void)hth_refuse(fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the response");
        return NULL;
    }
    j->owner_of = all;
    j->n_hold = 1;
    j->created = (int64_t)time(NULL);
    hth_call_new_id("resp_", j->id);
    if (who) (void)snprintf(j->who, sizeof j->who, "%s", who->name);
    hth_arena_init(&j->arena, HTH_MEM_SERVER, (uint64_t)4 << 30);
    hth_str *const texts[] = {&j->events, &j->body,     &j->text,    &j->call_id,
                              &j->name,   &j->logprobs, &j->pending, &j->done};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) hth_str_init(texts[i], HTH_MEM_SERVER, MAX_EVENTS_BYTES);
    return j;
}

responses_job *responses_job_find(hth_responses *all, const char *who, const char *id) {
    hth_lock(&all->lock);
    responses_job *j = all->jobs;
    while (j && (j->is_forgotten || strcmp(j->id, id) != 0 || strcmp(j->who, who) != 0)) j = j->next;
    if (j) j->n_hold++;
    hth_unlock(&all->lock);
    return j;
}

void responses_job_cancel(responses_job *j) {
    hth_lock(&j->lock);
    if (j->call) {
        j->was_cancelled = true;
        hth_call_cancel(j->call);
    }
    hth_unlock(&j->lock);
}

void responses_job_forget(responses_job *j) {
    hth_lock(&j->owner_of->lock);
    j->is_forgotten = true;
    hth_unlock(&j->owner_of->lock);
    hth_lock(&j->lock);
    j->r.store = false;
    hth_unlock(&j->lock);
    responses_job_cancel(j);
}

// --- reading calls ---

// Any thread.
static void on_more(void *user) {
    responses_ticket *t = user;
    hth_responses *all = t->all;
    hth_lock(&all->lock);
    responses_job *j = t->job;
    if (j && !j->is_ready) {
        j->is_ready = true;
        j->n_hold++;
        j->next_ready = NULL;
        if (all->last_ready)
            all->last_ready->next_ready = j;
        else
            all->ready = j;
        all->last_ready = j;
        hth_cond_wake_all(&all->wake);
    }
    hth_unlock(&all->lock);
}

static void wake_readers(responses_job *j) {
    for (int i = 0; i < j->n_reader; i++) hth_exchange_wake(j->readers[i]);
}

static bool store_response(responses_job *j) {
    hth_store *store = j->owner_of->s->store;
    if (!hth_store_is_on(store)) return true;
    hth_err err;
    hth_str input;
    hth_str_init(&input, HTH_MEM_SERVER, j->n_own + 2);
    hth_str_putc(&input, '[');
    (void)hth_str_append(&input, j->own, j->n_own);
    hth_str_putc(&input, ']');
    const hth_stored_response r = {.id = j->id,
                                   .owner = j->who,
                                   .previous = j->r.previous.p ? j->r.previous.p : "",
                                   .body = hth_str_text(&j->body),
                                   .n_body = j->body.len,
                                   .input = hth_str_text(&input),
                                   .n_input = input.len,
                                   .created = j->created};
    const hth_code code =
        input.failed ? hth_fail_nomem(&err, j->n_own) : hth_store_put_response(store, &r, &err);
    if (code != HTH_OK) hth_log(HTH_LOG_WARN, "%s is not stored: %s", j->id, err.msg);
    hth_str_free(&input);
    return code == HTH_OK;
}

// Old responses and those beyond their number are forgotten; what was stored stays in the store. With the
// lock.
static responses_job *choose_forgotten(hth_responses *all) {
    responses_job *oldest = NULL;
    for (responses_job *j = all->jobs; j; j = j->next) {
        if (j->ended_ns && (!oldest || j->ended_ns < oldest->ended_ns)) oldest = j;
    }
    if (!oldest || (all->n_kept <= MAX_KEPT && hth_clock_ns() - oldest->ended_ns < KEPT_NS)) return NULL;
    oldest->ended_ns = 0;
    all->n_kept--;
    return oldest;
}

static void forget_old(hth_responses *all) {
    for (;;) {
        hth_lock(&all->lock);
        responses_job *j = choose_forgotten(all);
        hth_unlock(&all->lock);
        if (!j) return;
        responses_job_drop(j);
    }
}

// Stores what has ended, unless it was deleted meanwhile.
static void keep_response(responses_job *j) {
    hth_err ignored;
    hth_lock(&j->lock);
    const bool wants = j->r.store;
    hth_unlock(&j->lock);
    if (!wants) return;
    const bool is_kept = store_response(j);
    hth_lock(&j->lock);
    const bool is_late = !j->r.store;
    if (!is_kept) { // the answer is there all the same, and says what became of it
        j->r.store = false;
        hth_str_clear(&j->body);
        hth_json_out o = hth_json_out_make(&j->body, false);
        responses_write(j, &o, NULL);
    }
    hth_unlock(&j->lock);
    if (is_late) (void)!hth_store_delete_response(j->owner_of->s->store, j->who, j->id, &ignored);
}

// The call has ended. What is to be kept is kept before anybody hears of it; of the request nothing is needed
// any more.
static void end_job(responses_job *j) {
    hth_responses *all = j->owner_of;
    hth_lock(&j->lock);
    hth_call *call = j->call;
    j->call = NULL;
    hth_json_out o = hth_json_out_make(&j->body, false);
    responses_write(j, &o, NULL);
    hth_unlock(&j->lock);
    keep_response(j);
    hth_lock(&j->lock);
    responses_print_end(j);
    j->has_ended = true;
    wake_readers(j);
    hth_call_drop(call);
    hth_json_free(j->doc);
    j->doc = NULL;
    hth_arena_free(&j->arena);
    hth_unlock(&j->lock);
    const bool is_kept = j->r.background;
    hth_lock(&all->lock);
    if (is_kept) {
        j->ended_ns = hth_clock_ns();
        all->n_kept++;
    }
    hth_unlock(&all->lock);
    if (!is_kept) responses_job_drop(j); // the call's hold
    forget_old(all);
}

static void work_on(responses_job *j) {
    hth_lock(&j->lock);
    hth_call_state state = HTH_CALL_WAIT;
    if (j->call) {
        state = hth_call_read(j->call, MAX_BATCH, responses_print, j);
        if (j->events.failed) hth_call_cancel(j->call); // nobody could read how it goes on
        wake_readers(j);
    }
    const bool has_ended = j->call && state == HTH_CALL_ENDED;
    hth_unlock(&j->lock);
    if (has_ended)
        end_job(j);
    else if (state == HTH_CALL_MORE)
        on_more(j->ticket);
}

static void *run(void *user) {
    hth_responses *all = user;
    hth_lock(&all->lock);
    while (!all->ends || all->ready) {
        responses_job *j = all->ready;
        if (!j) {
            hth_cond_wait(&all->wake, &all->lock);
            continue;
        }
        all->ready = j->next_ready;
        if (!all->ready) all->last_ready = NULL;
        j->is_ready = false;
        hth_unlock(&all->lock);
        work_on(j);
        responses_job_drop(j);
        hth_lock(&all->lock);
    }
    hth_unlock(&all->lock);
    return NULL;
}

static bool enlist(responses_job *j, hth_fault *fault) {
    hth_responses *all = j->owner_of;
    hth_lock(&all->lock);
    bool ok = all->n_job < MAX_JOBS && !all->stops;
    if (ok) {
        j->ticket = take_ticket(all);
        ok = j->ticket != NULL;
    }
    if (ok) {
        j->ticket->job = j;
        j->is_forgotten = !j->r.store; // nobody asks for it by its id
        j->next = all->jobs;
        all->jobs = j;
        all->n_job++;
        j->n_hold++; // the call's
    }
    hth_unlock(&all->lock);
    if (!ok) {
        (void)hth_refuse(fault, HTH_FAULT_BUSY, NULL, "there are too many responses at work");
        fault->retry_ms = 1000;
    }
    return ok;
}

bool responses_job_start(responses_job *j, hth_fault *fault) {
    hth_call *call;
    if (!enlist(j, fault)) return false;
    // What the call tells from its start on is read when it is there: the lock is held until then.
    hth_lock(&j->lock);
    const bool ok = hth_call_start_detached(j->owner_of->s, &j->r.ask, on_more, j->ticket, &call, fault);
    if (ok) {
        j->call = call;
        responses_print_begin(j);
    }
    hth_unlock(&j->lock);
    if (ok)
        on_more(j->ticket); // something may have been told before
    else
        responses_job_drop(j);
    return ok;
}

// --- answers ---

typedef struct reader {
    responses_job *job; // held
    hth_exchange *x;
    size_t at; // next event
    uint64_t last_ns;
    hth_answer how;
} reader;

static void poll(void *user, hth_exchange *x) {
    reader *r = user;
    responses_job *j = r->job;
    hth_str body;
    hth_lock(&j->lock);
    const bool has_ended = j->has_ended;
    if (has_ended) {
        hth_str_init(&body, HTH_MEM_SERVER, MAX_EVENTS_BYTES);
        (void)hth_str_append(&body, hth_str_text(&j->body), j->body.len);
    }
    const hth_fault fault = j->fault;
    hth_unlock(&j->lock);
    if (!has_ended) return;
    if (fault.kind != HTH_FAULT_NONE && !j->r.background)
        hth_reply_fault(x, &fault);
    else
        hth_reply(x, 200, "application/json", &body);
    hth_str_free(&body);
}

static hth_fill fill(void *user, hth_str *out) {
    reader *r = user;
    responses_job *j = r->job;
    const uint64_t now = hth_clock_ns();
    hth_lock(&j->lock);
    const size_t from = r->at == 0 ? 0 : r->at <= j->n_event ? j->ends[r->at - 1] : j->events.len;
    size_t last = r->at;
    while (last < j->n_event && j->ends[last] - from < FILL_BYTES) last++;
    if (last == r->at && last < j->n_event) last++; // one that is larger than that
    if (last > r->at) (void)hth_str_append(out, j->events.p + from, j->ends[last - 1] - from);
    const bool is_all = last >= j->n_event, has_ended = j->has_ended;
    hth_unlock(&j->lock);
    if (last > r->at) r->at = last;
    if (out->len == 0 && !has_ended && r->how.quiet_ms > 0 &&
        now - r->last_ns > (uint64_t)r->how.quiet_ms * 900000)
        hth_str_puts(out, ": still at work\n\n");
    if (out->len > 0) r->last_ns = now;
    return !is_all ? HTH_FILL_MORE : has_ended ? HTH_FILL_END : HTH_FILL_WAIT;
}

static void gone(void *user) {
    reader *r = user;
    if (!r->job->r.background) responses_job_cancel(r->job);
}

static void close_reader(void *user) {
    reader *r = user;
    responses_job *j = r->job;
    hth_lock(&j->lock);
    for (int i = 0; i < j->n_reader; i++) {
        if (j->readers[i] != r->x) continue;
        j->readers[i] = j->readers[--j->n_reader];
        break;
    }
    hth_unlock(&j->lock);
    hth_exchange_drop(r->x);
    responses_job_drop(j);
}

void responses_job_answer(responses_job *j, hth_exchange *x, bool stream, int64_t after) {
    const int64_t ping_ms = j->owner_of->s->config->ping_ms;
    hth_fault fault = {0};
    reader *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    hth_lock(&j->lock);
    const bool has_room = r && j->n_reader < RESPONSES_MAX_READERS;
    if (has_room) {
        hth_exchange_hold(x);
        j->readers[j->n_reader++] = x;
    }
    hth_unlock(&j->lock);
    if (!has_room) {
        (void)hth_refuse(&fault, HTH_FAULT_BUSY, NULL, "too many clients read this response");
        hth_reply_fault(x, &fault);
        if (!j->r.background) responses_job_cancel(j);
        responses_job_drop(j);
        return;
    }
    *r = (reader){.job = j, .x = x, .at = (size_t)(after + 1), .last_ns = hth_clock_ns()};
    r->how = (hth_answer){.gone = gone, .close = close_reader};
    if (stream)
        r->how.fill = fill;
    else
        r->how.poll = poll;
    if (stream && ping_ms > 0 && ping_ms < UINT32_MAX) r->how.quiet_ms = (uint32_t)ping_ms;
    hth_exchange_bind(x, &r->how, r);
    if (stream)
        hth_reply_stream(x, 200, "text/event-stream; charset=utf-8");
    else
        hth_exchange_wake(x);
}

// --- all of them ---

// The key that thoughts are sealed with: kept, so that a conversation outlives the server.
static void load_seal_key(hth_responses *all) {
    hth_str path;
    hth_err err;
    char *text = NULL;
    size_t n = 0;
    hth_str_init(&path, HTH_MEM_SERVER, 4096);
    hth_code code = hth_config_state_path(all->s->config, "reasoning-key", &path, &err);
    if (code == HTH_OK) code = hth_file_read(hth_str_text(&path), HTH_MEM_SERVER, 4096, &text, &n, &err);
    if (code == HTH_OK && n == sizeof all->seal_key) {
        memcpy(all->seal_key, text, n);
    } else {
        (void)gnutls_rnd(GNUTLS_RND_KEY, all->seal_key, sizeof all->seal_key);
        if (path.len)
            code = hth_file_write_private(hth_str_text(&path), all->seal_key, sizeof all->seal_key, &err);
        if (code != HTH_OK)
            hth_log(HTH_LOG_WARN, "encrypted reasoning will not outlive the server: %s", err.msg);
    }
    hth_free(text);
    hth_str_free(&path);
}

hth_code hth_responses_new(hth_server *s, hth_responses **out, hth_err *err) {
    *out = NULL;
    hth_responses *all = hth_calloc(HTH_MEM_SERVER, 1, sizeof *all);
    if (!all) return hth_fail_nomem(err, sizeof *all);
    all->s = s;
    hth_code code = hth_mutex_init(&all->lock, err);
    if (code == HTH_OK) {
        code = hth_cond_init(&all->wake, err);
        if (code != HTH_OK) hth_mutex_destroy(&all->lock);
    }
    if (code != HTH_OK) {
        hth_free(all);
        return code;
    }
    load_seal_key(all);
    code = hth_thread_start(&all->thread, run, all, err);
    all->has_thread = code == HTH_OK;
    if (code != HTH_OK) {
        hth_responses_free(all);
        return code;
    }
    *out = all;
    return HTH_OK;
}

// A job at work, held; NULL: none.
static responses_job *next_at_work(hth_responses *all) {
    hth_lock(&all->lock);
    responses_job *j = all->jobs;
    while (j && j->ended_ns) j = j->next;
    if (j) j->n_hold++;
    hth_unlock(&all->lock);
    return j;
}

void hth_responses_free(hth_responses *all) {
    if (!all) return;
    hth_lock(&all->lock);
    all->stops = true; // no new ones
    hth_unlock(&all->lock);
    for (responses_job *j; all->has_thread && (j = next_at_work(all)); responses_job_drop(j)) {
        responses_job_cancel(j);
        hth_lock(&all->lock);
        hth_cond_wait_until(&all->wake, &all->lock, hth_clock_ns() + 5000000);
        hth_unlock(&all->lock);
    }
    hth_lock(&all->lock);
    all->ends = true;
    hth_cond_wake_all(&all->wake);
    hth_unlock(&all->lock);
    if (all->has_thread) hth_thread_join(&all->thread);
    while (all->jobs) responses_job_drop(all->jobs);
    for (responses_ticket *t = all->tickets, *next; t; t = next) {
        next = t->next;
        hth_free(t);
    }
    hth_cond_destroy(&all->wake);
    hth_mutex_destroy(&all->lock);
    hth_free(all);
}
