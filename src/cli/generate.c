// The loop of an answer: read the prompt, then pick, print and push one token after another.
#include "cli/generate.h"

#include "cli/progress.h"
#include "os/clock.h"
#include "os/term.h"

#define MAX_ANSWER ((size_t)1 << 30)

const char *cli_stop_name(cli_stop stop) {
    return stop == CLI_STOP_END ? "stop" : stop == CLI_STOP_INTERRUPTED ? "interrupted" : "length";
}

void cli_answer_free(cli_answer *a) {
    hth_str_free(&a->text);
}

// Hands what the detokenizer has added since `from` to the sink.
static bool deliver(const hth_str *text, size_t from, cli_text_sink sink, void *user) {
    return !sink || text->len == from || sink(user, hth_str_text(text) + from, text->len - from);
}

static hth_code read_prompt(hth_session *session, const hth_token_list *prompt, cli_answer *a, hth_err *err) {
    const hth_token *old = hth_session_tokens(session);
    int64_t n_old = hth_session_len(session);
    a->n_prompt = (int64_t)prompt->n;
    while (a->n_cached < n_old && a->n_cached < a->n_prompt && old[a->n_cached] == prompt->ids[a->n_cached]) {
        a->n_cached++;
    }
    cli_progress progress = cli_progress_make("reading the prompt");
    hth_code code = hth_session_sync(session, prompt->ids, prompt->n, cli_progress_step, &progress, err);
    cli_progress_end(&progress);
    a->prefill_ns = hth_clock_ns() - progress.begin_ns;
    return code;
}

static hth_code write_answer(hth_solo *e, hth_session *session, hth_sampler *sampler, int64_t n_predict,
                             cli_text_sink sink, void *user, cli_answer *a, hth_err *err) {
    hth_detokenizer d = hth_detokenizer_make(e->tokenizer, false);
    d.at_start = false; // the answer continues a text: its first space is its own
    for (;;) {
        if (n_predict > 0 && a->n_generated >= n_predict) {
            a->stop = CLI_STOP_LIMIT;
            break;
        }
        hth_token token;
        HTH_TRY(
            hth_sampler_pick(sampler, hth_session_logits(session), hth_session_len(session), &token, err));
        if (hth_tokenizer_is_end(e->tokenizer, token)) {
            a->stop = CLI_STOP_END;
            break;
        }
        HTH_TRY(hth_sampler_accept(sampler, token, err));
        size_t from = a->text.len;
        HTH_TRY(hth_detokenizer_push(&d, token, &a->text, err));
        a->n_generated++;
        bool is_wanted = deliver(&a->text, from, sink, user);
        if (hth_session_len(session) >= hth_session_n_ctx(session)) {
            a->stop = CLI_STOP_CONTEXT;
            break;
        }
        if (n_predict > 0 && a->n_generated >= n_predict) continue; // the last one needs no step
        hth_code code = HTH_ERR_CANCELLED;
        if (is_wanted && !hth_term_is_interrupted()) {
            code = hth_session_push(session, token, hth_term_interrupt_flag(), err);
        }
        if (code == HTH_ERR_CANCELLED) {
            a->stop = CLI_STOP_INTERRUPTED;
            break;
        }
        if (code != HTH_OK) return code;
        a->n_step++;
    }
    size_t from = a->text.len;
    HTH_TRY(hth_detokenizer_end(&d, &a->text, err));
    (void)deliver(&a->text, from, sink, user);
    return a->text.failed ? hth_fail_nomem(err, a->text.len) : HTH_OK;
}

hth_code cli_generate(hth_solo *e, hth_session *session, hth_sampler *sampler, const hth_token_list *prompt,
                      int64_t n_predict, cli_text_sink sink, void *user, cli_answer *out, hth_err *err) {
    if (prompt->n == 0) return hth_fail(err, HTH_ERR_RANGE, "the prompt is empty");
    cli_answer a = {0};
    hth_str_init(&a.text, HTH_MEM_TEXT, MAX_ANSWER);
    hth_code code = read_prompt(session, prompt, &a, err);
    if (code == HTH_ERR_CANCELLED) {
        a.stop = CLI_STOP_INTERRUPTED;
        *out = a;
        return HTH_OK;
    }
    for (size_t i = 0; i < prompt->n && code == HTH_OK; i++) code = hth_sampler_accept(sampler, prompt->ids[i], err);
    if (code == HTH_OK) {
        uint64_t begin = hth_clock_ns();
        code = write_answer(e, session, sampler, n_predict, sink, user, &a, err);
        a.decode_ns = hth_clock_ns() - begin;
    }
    if (code != HTH_OK) {
        cli_answer_free(&a);
        return code;
    }
    *out = a;
    return HTH_OK;
}
