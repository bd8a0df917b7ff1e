// An answer: one request, its events read until the end.
#include "cli/generate.h"

#include "cli/progress.h"
#include "os/term.h"

#define MAX_ANSWER ((size_t)1 << 30)
#define LOOK_MS 50 // how often Ctrl-C is looked for while nothing comes

const char *cli_stop_name(cli_stop stop) {
    return stop == CLI_STOP_END ? "stop" : stop == CLI_STOP_INTERRUPTED ? "interrupted" : "length";
}

void cli_answer_free(cli_answer *a) {
    hth_str_free(&a->text);
    hth_chat_answer_free(&a->read);
}

static cli_stop stop_of(hth_stop_reason reason) {
    switch (reason) {
    case HTH_STOP_LENGTH: return CLI_STOP_LIMIT;
    case HTH_STOP_CONTEXT: return CLI_STOP_CONTEXT;
    case HTH_STOP_CANCELLED: return CLI_STOP_INTERRUPTED;
    default: return CLI_STOP_END;
    }
}

// ---- any request

static hth_code take(cli_event_fn fn, void *user, const hth_event *e, hth_err *err) {
    if (e->kind == HTH_EVENT_ERROR) return *err = *e->error.err, err->code;
    return fn ? fn(user, e, err) : HTH_OK;
}

// `stop` may take a Ctrl-C for itself.
static void obey(hth_request *r, cli_stop_fn stop, void *user) {
    if (!hth_term_is_interrupted()) return;
    if (stop && stop(user)) (void)hth_term_take_interrupt();
    else hth_request_cancel(r);
}

static hth_code read_events(hth_request *r, cli_event_fn fn, cli_stop_fn stop, void *user, hth_err *err) {
    hth_code failure = HTH_OK;
    for (;;) {
        hth_event e;
        hth_err here;
        hth_code code = hth_request_next(r, LOOK_MS, &e, &here);
        obey(r, stop, user);
        if (code == HTH_ERR_TIMEOUT) continue;
        const bool is_end = code != HTH_OK || e.kind == HTH_EVENT_END;
        if (code == HTH_OK) code = take(fn, user, &e, &here);
        if (code != HTH_OK && failure == HTH_OK) {
            failure = code;
            *err = here;
            hth_request_cancel(r);
        }
        if (is_end) return failure;
    }
}

hth_code cli_read_events(hth_request *r, cli_event_fn fn, void *user, hth_err *err) {
    return read_events(r, fn, NULL, user, err);
}

static hth_code run_request(hth_engine *e, const hth_request_params *params, cli_event_fn fn, cli_stop_fn stop, void *user,
                            hth_err *err) {
    hth_request *r;
    HTH_TRY(hth_request_submit(e, params, &r, NULL, err));
    const hth_code code = read_events(r, fn, stop, user, err);
    hth_request_free(r);
    return code;
}

hth_code cli_request(hth_engine *e, const hth_request_params *params, cli_event_fn fn, void *user, hth_err *err) {
    HTH_TRY(run_request(e, params, fn, NULL, user, err));
    return hth_term_is_interrupted() ? hth_fail(err, HTH_ERR_CANCELLED, "interrupted") : HTH_OK;
}

// ---- an answer

typedef struct answering {
    cli_progress progress;
    cli_text_sink sink;
    cli_stop_fn stop;
    void *user;
    cli_answer answer;
    bool is_unwanted; // the sink wants no more
} answering;

static hth_code take_text(answering *a, const hth_event *e, hth_err *err) {
    if (e->n_text == 0 || a->is_unwanted) return HTH_OK;
    cli_progress_end(&a->progress);
    if (!hth_str_append(&a->answer.text, e->text, e->n_text)) return hth_fail_nomem(err, a->answer.text.len);
    a->is_unwanted = a->sink && !a->sink(a->user, e->text, e->n_text);
    return a->is_unwanted ? hth_fail(err, HTH_ERR_CANCELLED, "the reader wants no more") : HTH_OK;
}

static hth_code take_event(void *user, const hth_event *e, hth_err *err) {
    answering *a = user;
    cli_answer *answer = &a->answer;
    switch (e->kind) {
    case HTH_EVENT_PREFILL: (void)cli_progress_step(&a->progress, e->progress.n_done, e->progress.n_total); break;
    case HTH_EVENT_TOKEN: answer->n_generated++; return take_text(a, e, err);
    case HTH_EVENT_STOP: answer->stop = stop_of(e->stop.reason); return take_text(a, e, err);
    case HTH_EVENT_END:
        answer->n_prompt = e->usage.n_prompt;
        answer->n_cached = e->usage.n_cached;
        answer->prefill_ns = e->usage.prefill_ns;
        answer->decode_ns = e->usage.generate_ns;
        answer->n_drafted = e->usage.n_drafted;
        answer->n_accepted = e->usage.n_accepted;
        answer->n_forced = e->usage.n_forced;
        break;
    default: break;
    }
    return HTH_OK;
}

static bool pass_stop(void *user) {
    answering *a = user;
    return a->stop && a->stop(a->user);
}

hth_code cli_generate(hth_engine *e, const hth_request_params *params, cli_text_sink sink, cli_stop_fn stop, void *user,
                      cli_answer *out, hth_err *err) {
    answering a = {.progress = cli_progress_make("reading the prompt"), .sink = sink, .stop = stop, .user = user};
    hth_str_init(&a.answer.text, HTH_MEM_TEXT, MAX_ANSWER);
    hth_chat_answer_init(&a.answer.read);
    hth_code code = run_request(e, params, take_event, pass_stop, &a, err);
    cli_progress_end(&a.progress);
    if (code == HTH_ERR_CANCELLED && a.is_unwanted) code = HTH_OK; // as after Ctrl-C
    if (code != HTH_OK) {
        cli_answer_free(&a.answer);
        return code;
    }
    a.answer.n_step = a.answer.n_generated > 0 ? a.answer.n_generated - 1 : 0;
    *out = a.answer;
    return HTH_OK;
}
