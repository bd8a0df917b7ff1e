// What the engine tells becomes a call's events; a call's events become a reply.
#include <string.h>

#include "os/clock.h"
#include "server/call_impl.h"
#include "server/metrics.h"

#define MAX_EVENTS 256       // per round, so that one call does not keep an HTTP thread
#define PRINTED_ENOUGH 65536 // bytes per round

// ---- telling

static void tell(hth_call *c, hth_call_event *e) {
    c->fn(c->fn_user, e);
}

static void tell_text(hth_call *c, hth_call_kind kind, int32_t choice, const char *text, size_t n) {
    hth_call_event e = {.kind = kind, .choice = choice, .text = text, .n_text = n};
    if (n > 0) tell(c, &e);
}

static void tell_started(hth_call *c) {
    hth_call_event e = {.kind = HTH_CALL_STARTED, .choice = -1};
    e.started.model = c->ask->model.n > 0 ? c->ask->model.p : c->use->card->label;
    e.started.created = c->created;
    e.started.tokenizer = c->use->tokenizer;
    c->has_started = true;
    tell(c, &e);
}

static void fail(hth_call *c, const hth_fault *fault) {
    if (c->has_failed) return;
    c->has_failed = true;
    c->fault = *fault;
    hth_call_event e = {.kind = HTH_CALL_ERROR, .choice = -1};
    e.fault = &c->fault;
    tell(c, &e);
}

static void keep_call(const hth_call *c, const call_choice *x) {
    hth_sampled_keep(c->use->sampled, (hth_chat_text){hth_str_text(&x->id), x->id.len},
                     (hth_chat_text){hth_str_text(&x->name), x->name.len},
                     (hth_chat_text){hth_str_text(&x->arguments), x->arguments.len});
}

hth_code call_take_delta(void *user, const hth_chat_delta *d, hth_err *err) {
    hth_call *c = user;
    call_choice *x = &c->choices[c->at_choice];
    hth_call_event e = {.choice = c->at_choice, .text = d->text, .n_text = d->n_text};
    (void)err;
    switch (d->kind) {
    case HTH_CHAT_DELTA_REASONING:
        tell_text(c, HTH_CALL_REASONING, c->at_choice, d->text, d->n_text);
        return HTH_OK;
    case HTH_CHAT_DELTA_CONTENT:
        tell_text(c, HTH_CALL_CONTENT, c->at_choice, d->text, d->n_text);
        return HTH_OK;
    case HTH_CHAT_DELTA_CALL:
        hth_str_clear(&x->id);
        hth_str_clear(&x->name);
        hth_str_clear(&x->arguments);
        hth_str_append(&x->id, d->id.p, d->id.n);
        hth_str_append(&x->name, d->name.p, d->name.n);
        x->n_call++;
        e.kind = HTH_CALL_TOOL;
        e.text = NULL;
        e.n_text = 0;
        break;
    case HTH_CHAT_DELTA_ARGUMENTS:
        hth_str_append(&x->arguments, d->text, d->n_text);
        e.kind = HTH_CALL_ARGUMENTS;
        break;
    case HTH_CHAT_DELTA_CALL_END:
        if (!d->is_cut && !x->arguments.failed) keep_call(c, x);
        e.kind = HTH_CALL_TOOL_END;
        break;
    }
    e.tool.index = d->call;
    e.tool.id = hth_str_text(&x->id);
    e.tool.name = hth_str_text(&x->name);
    tell(c, &e);
    return HTH_OK;
}

// ---- one event of the engine

static void take_text(hth_call *c, int32_t choice, const char *text, size_t n) {
    call_choice *x = &c->choices[choice];
    hth_err err;
    c->at_choice = choice;
    if (!x->parser) {
        tell_text(c, HTH_CALL_CONTENT, choice, text, n);
    } else if (n > 0 && hth_chat_output_feed(x->parser, text, n, &err) != HTH_OK) {
        hth_fault fault = {0};
        (void)hth_refuse_err(&fault, &err, NULL);
        fail(c, &fault);
    }
}

const char *hth_call_spell(const hth_tokenizer *t, int32_t id, size_t *n) {
    *n = 0;
    const char *text = t ? hth_tokenizer_bytes(t, id, n) : NULL;
    if (t && !text) text = hth_tokenizer_spelling(t, id, n);
    if (!text) *n = 0;
    return text ? text : "";
}

static void tell_token(hth_call *c, int32_t choice, const hth_event *from) {
    hth_call_event e = {.kind = HTH_CALL_TOKEN, .choice = choice};
    e.text = hth_call_spell(c->use->tokenizer, from->token.id, &e.n_text);
    e.token.id = from->token.id;
    e.token.is_prompt = from->kind == HTH_EVENT_PROMPT;
    e.token.has_logprob = from->token.has_logprob;
    e.token.logprob = from->token.logprob;
    e.token.top = from->token.top;
    e.token.n_top = from->token.n_top;
    tell(c, &e);
}

// Who reads all at the end cannot tell when tokens came.
static void count_gap(hth_call *c, call_choice *x) {
    const uint64_t now = hth_clock_ns();
    if (c->s->metrics && !c->wakes_at_end && x->last_token_ns) hth_metrics_gap(c->s->metrics, now - x->last_token_ns);
    x->last_token_ns = now;
}

static void take_token(hth_call *c, int32_t choice, const hth_event *from) {
    const hth_ask *a = c->ask;
    call_choice *x = &c->choices[choice];
    count_gap(c, x);
    if (x->parser && hth_chat_output_is_thinking(x->parser)) c->usage.n_reasoning++;
    if (a->tokens || a->logprobs) tell_token(c, choice, from);
    take_text(c, choice, from->text, from->n_text);
}

static hth_finish finish_of(const hth_call *c, int32_t choice, hth_stop_reason reason) {
    switch (reason) {
    case HTH_STOP_TEXT: return HTH_FINISH_STOP_TEXT;
    case HTH_STOP_LENGTH: return HTH_FINISH_LENGTH;
    case HTH_STOP_CONTEXT: return HTH_FINISH_CONTEXT;
    case HTH_STOP_CANCELLED: return HTH_FINISH_CANCELLED;
    default: return c->choices[choice].n_call > 0 ? HTH_FINISH_TOOLS : HTH_FINISH_STOP;
    }
}

static void take_stop(hth_call *c, int32_t choice, const hth_event *from) {
    call_choice *x = &c->choices[choice];
    hth_err err;
    take_text(c, choice, from->text, from->n_text);
    if (x->parser && hth_chat_output_end(x->parser, &err) != HTH_OK) {
        hth_fault fault = {0};
        (void)hth_refuse_err(&fault, &err, NULL);
        fail(c, &fault);
        return;
    }
    hth_call_event e = {.kind = HTH_CALL_FINISH, .choice = choice};
    e.finish.reason = finish_of(c, choice, from->stop.reason);
    const int32_t i = from->stop.i_stop;
    if (from->stop.reason == HTH_STOP_TEXT && i >= 0 && (size_t)i < c->ask->n_stop) {
        e.finish.stop = (hth_chat_text){c->ask->stop[i].p, c->ask->stop[i].n};
    }
    tell(c, &e);
}

static void take_error(hth_call *c, const call_job *job, const hth_event *from) {
    hth_fault fault = {0};
    const hth_err *why = call_guide_error(job, from->completion);
    (void)hth_refuse_err(&fault, why ? why : from->error.err, &from->error.refusal);
    if (fault.kind == HTH_FAULT_BAD_REQUEST) fault.kind = HTH_FAULT_INTERNAL; // the request was checked
    fail(c, &fault);
}

static void take_embedding(hth_call *c, int32_t choice, const call_job *job, const hth_event *from) {
    hth_call_event e = {.choice = choice};
    if (c->ask->kind == HTH_ASK_RERANK) {
        e.kind = HTH_CALL_SCORE;
        e.score.value = from->embedding.n > 0 ? (double)from->embedding.values[0] : 0;
        e.score.n_prompt = job->n_prompt;
    } else {
        e.kind = HTH_CALL_EMBEDDING;
        e.embedding.values = from->embedding.values;
        e.embedding.n = from->embedding.n;
        e.embedding.n_prompt = job->n_prompt;
    }
    tell(c, &e);
}

static void add_usage(hth_call *c, call_job *job, const hth_usage *u) {
    hth_call_usage *sum = &c->usage;
    job->n_prompt = u->n_prompt;
    sum->n_prompt += u->n_prompt;
    sum->n_cached += u->n_cached;
    sum->n_output += u->n_output;
    sum->n_drafted += u->n_drafted;
    sum->n_accepted += u->n_accepted;
    sum->queued_ns += u->queued_ns;
    sum->prefill_ns += u->prefill_ns;
    sum->generate_ns += u->generate_ns;
    sum->miss = u->miss;
}

static void take(hth_call *c, size_t i_job, const hth_event *from) {
    call_job *job = &c->jobs[i_job];
    const int32_t first = (int32_t)i_job * c->n_completion;
    const int32_t choice = first + (from->completion > 0 ? from->completion : 0);
    hth_call_event e = {.kind = HTH_CALL_PROGRESS, .choice = first};
    switch (from->kind) {
    case HTH_EVENT_PREFILL:
        job->n_prompt = from->progress.n_total;
        e.progress.n_done = from->progress.n_done;
        e.progress.n_total = from->progress.n_total;
        e.progress.n_cached = from->progress.n_cached;
        e.progress.elapsed_ns = hth_clock_ns() - c->start_ns;
        tell(c, &e);
        break;
    case HTH_EVENT_PROMPT:
        for (int32_t k = 0; k < c->n_completion; k++) {
            if (c->ask->prompt_logprobs || c->ask->tokens) tell_token(c, first + k, from);
            if (c->ask->echo) tell_text(c, HTH_CALL_CONTENT, first + k, from->text, from->n_text);
        }
        break;
    case HTH_EVENT_TOKEN: take_token(c, choice, from); break;
    case HTH_EVENT_STOP: take_stop(c, choice, from); break;
    case HTH_EVENT_ERROR: take_error(c, job, from); break;
    case HTH_EVENT_EMBEDDING: take_embedding(c, choice, job, from); break;
    case HTH_EVENT_END: add_usage(c, job, &from->usage); break;
    case HTH_EVENT_QUEUED:
    case HTH_EVENT_CUT: break;
    }
}

// ---- reading

static void end_job(hth_call *c, call_job *job) {
    hth_request *r = job->request;
    hth_lock(&c->lock);
    job->request = NULL;
    hth_unlock(&c->lock);
    hth_request_free(r);
    job->is_over = true;
    c->n_over++;
}

// Puts prompts that did not find room at first into the queue.
static void submit_more(hth_call *c) {
    hth_fault fault = {0};
    while (c->n_submitted < c->n_job && c->n_submitted - c->n_over < CALL_MAX_AT_WORK) {
        if (call_submit_next(c, &fault)) continue;
        if (fault.kind == HTH_FAULT_BUSY && c->n_submitted > c->n_over) return;
        fail(c, &fault);
        return;
    }
}

// Up to `max` events of one prompt; returns how many there were.
static int read_job(hth_call *c, size_t i_job, int max) {
    call_job *job = &c->jobs[i_job];
    hth_event event;
    hth_err err;
    int n = 0;
    while (n < max && !c->has_failed && job->request) {
        const hth_code code = hth_request_next(job->request, 0, &event, &err);
        if (code == HTH_ERR_TIMEOUT) break;
        n++;
        if (code != HTH_OK) {
            hth_fault fault = {0};
            (void)hth_refuse_err(&fault, &err, NULL);
            fail(c, &fault);
            break;
        }
        take(c, i_job, &event);
        if (event.kind == HTH_EVENT_END) end_job(c, job);
    }
    return n;
}

static void tell_end(hth_call *c) {
    hth_call_event e = {.kind = HTH_CALL_END, .choice = -1};
    c->usage.total_ns = hth_clock_ns() - c->start_ns;
    e.usage = &c->usage;
    c->has_ended = true;
    const hth_call_usage *u = &c->usage;
    const uint64_t first_ns = u->n_output > 0 ? u->load_ns + u->queued_ns + u->prefill_ns : 0;
    if (c->s->metrics) hth_metrics_call(c->s->metrics, u, first_ns);
    tell(c, &e);
}

hth_call_state hth_call_read(hth_call *c, int max, hth_call_fn fn, void *user) {
    if (c->has_ended) return HTH_CALL_ENDED;
    c->fn = fn;
    c->fn_user = user;
    if (!c->has_started) tell_started(c);
    int n = 0;
    for (size_t k = 0; k < c->n_submitted && n < max && !c->has_failed; k++) {
        n += read_job(c, c->next_job, max - n);
        if (n < max) c->next_job = (c->next_job + 1) % c->n_submitted;
    }
    if (!c->has_failed) submit_more(c);
    if (!c->has_failed && c->n_over < c->n_job) return n >= max ? HTH_CALL_MORE : HTH_CALL_WAIT;
    tell_end(c);
    return HTH_CALL_ENDED;
}

// ---- replies

typedef struct reply {
    hth_call *call;
    const hth_printer *printer;
    void *user;
    hth_str *out; // while filling
    hth_call_whole whole;
    uint64_t last_ns; // when something was printed
    hth_answer how;
} reply;

static void print(void *user, const hth_call_event *e) {
    reply *r = user;
    r->printer->event(r->user, e, r->out);
}

static hth_fill fill(void *user, hth_str *out) {
    reply *r = user;
    hth_call_state state = HTH_CALL_MORE;
    r->out = out;
    while (state == HTH_CALL_MORE && out->len < PRINTED_ENOUGH)
        state = hth_call_read(r->call, MAX_EVENTS, print, r);
    const uint64_t now = hth_clock_ns();
    const bool is_quiet = r->how.quiet_ms > 0 && now - r->last_ns > (uint64_t)r->how.quiet_ms * 900000;
    if (out->len == 0 && state == HTH_CALL_WAIT && is_quiet) {
        if (r->printer->ping)
            r->printer->ping(r->user, out);
        else
            hth_str_puts(out, ": still at work\n\n");
    }
    if (out->len > 0) r->last_ns = now;
    return state == HTH_CALL_ENDED ? HTH_FILL_END : state == HTH_CALL_WAIT ? HTH_FILL_WAIT : HTH_FILL_MORE;
}

static void poll(void *user, hth_exchange *x) {
    reply *r = user;
    hth_call_state state;
    do state = hth_call_read(r->call, MAX_EVENTS, hth_call_collect, &r->whole);
    while (state == HTH_CALL_MORE);
    if (state != HTH_CALL_ENDED) return;
    hth_str body;
    hth_str_init(&body, HTH_MEM_SERVER, SIZE_MAX / 2);
    if (r->whole.failed)
        (void)hth_refuse(&r->whole.fault, HTH_FAULT_NO_MEMORY, NULL, "no memory to collect the answer");
    if (r->whole.fault.kind == HTH_FAULT_NONE) {
        r->printer->whole(r->user, &r->whole, &body);
        hth_reply(x, 200, r->printer->type ? r->printer->type : "application/json; charset=utf-8", &body);
    } else {
        hth_reply_fault(x, &r->whole.fault);
    }
    hth_str_free(&body);
}

static void on_gone(void *user) {
    reply *r = user;
    if (!r->call->ask->detached) hth_call_cancel(r->call);
}

static void close_reply(void *user) {
    reply *r = user;
    hth_call_whole_free(&r->whole);
    hth_call_drop(r->call); // the reply is in the exchange's arena
}

void hth_call_answer(hth_call *c, const hth_printer *printer, void *user) {
    hth_exchange *x = c->x;
    reply *r = hth_arena_alloc(hth_exchange_arena(x), 1, sizeof *r);
    if (!r) {
        hth_fault fault = {0};
        (void)hth_refuse(&fault, HTH_FAULT_NO_MEMORY, NULL, "no memory for the answer");
        hth_reply_fault(x, &fault);
        hth_call_drop(c);
        return;
    }
    *r = (reply){.call = c, .printer = printer, .user = user, .last_ns = hth_clock_ns()};
    r->how = (hth_answer){.gone = on_gone, .close = close_reply};
    if (c->ask->stream) {
        const int64_t ping_ms = c->s->config->ping_ms;
        r->how.fill = fill;
        r->how.quiet_ms = ping_ms > 0 && ping_ms < UINT32_MAX ? (uint32_t)ping_ms : 0;
    } else {
        r->how.poll = poll;
    }
    hth_exchange_bind(x, &r->how, r);
    if (c->ask->stream)
        hth_reply_stream(x, 200,
                         printer->stream_type ? printer->stream_type : "text/event-stream; charset=utf-8");
}

void hth_call_serve(hth_server *s, hth_exchange *x, const hth_ask *ask, const char *ignored,
                    const hth_printer *printer, void *user) {
    hth_fault fault = {0};
    hth_call *c;
    if (ignored && *ignored) hth_reply_header(x, "X-Hearth-Ignored", ignored);
    if (hth_call_start(s, x, ask, &c, &fault))
        hth_call_answer(c, printer, user);
    else
        hth_reply_fault(x, &fault);
}
