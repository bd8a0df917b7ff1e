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
}

static cli_stop stop_of(hth_stop_reason reason) {
    switch (reason) {
    case HTH_STOP_LENGTH: return CLI_STOP_LIMIT;
    case HTH_STOP_CONTEXT: return CLI_STOP_CONTEXT;
    case HTH_STOP_CANCELLED: return CLI_STOP_INTERRUPTED;
    default: return CLI_STOP_END;
    }
}

// One answer on its way.
typedef struct reading {
    hth_request *request;
    cli_progress progress;
    cli_text_sink sink;
    void *user;
    cli_answer *answer;
} reading;

static hth_code take_text(reading *r, const hth_event *e, hth_err *err) {
    if (e->n_text == 0) return HTH_OK;
    cli_progress_end(&r->progress);
    if (!hth_str_append(&r->answer->text, e->text, e->n_text)) return hth_fail_nomem(err, r->answer->text.len);
    if (r->sink && !r->sink(r->user, e->text, e->n_text)) hth_request_cancel(r->request);
    return HTH_OK;
}

static hth_code take_event(reading *r, const hth_event *e, hth_err *err) {
    cli_answer *a = r->answer;
    switch (e->kind) {
    case HTH_EVENT_PREFILL: (void)cli_progress_step(&r->progress, e->progress.n_done, e->progress.n_total); break;
    case HTH_EVENT_TOKEN: a->n_generated++; return take_text(r, e, err);
    case HTH_EVENT_STOP: a->stop = stop_of(e->stop.reason); return take_text(r, e, err);
    case HTH_EVENT_ERROR: *err = *e->error.err; return err->code;
    case HTH_EVENT_END:
        a->n_prompt = e->usage.n_prompt;
        a->n_cached = e->usage.n_cached;
        a->prefill_ns = e->usage.prefill_ns;
        a->decode_ns = e->usage.generate_ns;
        break;
    default: break;
    }
    return HTH_OK;
}

// Until the end, also after a failure: then nothing that the request borrows is in use any more.
static hth_code read_events(reading *r, hth_err *err) {
    hth_code failure = HTH_OK;
    for (;;) {
        hth_event e;
        hth_err here;
        hth_code code = hth_request_next(r->request, LOOK_MS, &e, &here);
        if (hth_term_is_interrupted()) hth_request_cancel(r->request);
        if (code == HTH_ERR_TIMEOUT) continue;
        const bool is_end = code != HTH_OK || e.kind == HTH_EVENT_END;
        if (code == HTH_OK) code = take_event(r, &e, &here);
        if (code != HTH_OK && failure == HTH_OK) {
            failure = code;
            *err = here;
            hth_request_cancel(r->request);
        }
        if (is_end) return failure;
    }
}

hth_code cli_generate(hth_engine *e, const hth_request_params *params, cli_text_sink sink, void *user, cli_answer *out,
                      hth_err *err) {
    cli_answer a = {0};
    reading r = {.progress = cli_progress_make("reading the prompt"), .sink = sink, .user = user, .answer = &a};
    hth_str_init(&a.text, HTH_MEM_TEXT, MAX_ANSWER);
    HTH_TRY(hth_request_submit(e, params, &r.request, NULL, err));
    const hth_code code = read_events(&r, err);
    cli_progress_end(&r.progress);
    hth_request_free(r.request);
    if (code != HTH_OK) {
        cli_answer_free(&a);
        return code;
    }
    a.n_step = a.n_generated > 0 ? a.n_generated - 1 : 0;
    *out = a;
    return HTH_OK;
}
