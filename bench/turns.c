// The second turn of a long chat: time to the first token when the first turn is in memory, when it comes from files
// after a restart, and when nothing is there.
//
//   bench_turns MODEL TEXT FOLDER [TOKENS] [THREADS]     FOLDER: for the cache's files; best an empty one
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "os/clock.h"
#include "os/file.h"

static const char second[] = "<|im_end|>\n<|im_start|>user\nWhat of this is the most important, in one sentence?<|im_end|>\n"
                             "<|im_start|>assistant\n";
static const char other[] = "<|im_end|>\n<|im_start|>user\nAnd what could be left out?<|im_end|>\n<|im_start|>assistant\n";

typedef struct answer {
    uint64_t begin, first; // ns
    hth_str text;
    hth_usage usage;
} answer;

static void must(hth_code code, const hth_err *err) {
    if (code == HTH_OK) return;
    fprintf(stderr, "%s\n", err->msg);
    exit(1);
}

static void take(void *user, const hth_event *event) {
    answer *a = user;
    if (event->kind == HTH_EVENT_TOKEN && !a->first) a->first = hth_clock_ns();
    if (event->kind == HTH_EVENT_TOKEN || event->kind == HTH_EVENT_STOP) hth_str_append(&a->text, event->text, event->n_text);
    if (event->kind == HTH_EVENT_END) a->usage = event->usage;
    if (event->kind == HTH_EVENT_ERROR) must(event->error.err->code, event->error.err);
}

static double ask(hth_engine *e, const hth_segment *segments, size_t n, bool no_cache, answer *a) {
    hth_err err;
    hth_request *r;
    hth_event event = {0};
    hth_str_init(&a->text, HTH_MEM_MISC, 1 << 20);
    const hth_request_params p = {.segments = segments, .n_segment = n, .max_tokens = 32, .ignore_end = true, .no_cache = no_cache,
                                  .n_draft = -1, .on_event = take, .user = a};
    a->first = 0;
    a->begin = hth_clock_ns();
    must(hth_request_submit(e, &p, &r, NULL, &err), &err);
    while (event.kind != HTH_EVENT_END) must(hth_request_next(r, -1, &event, &err), &err);
    hth_request_free(r);
    return (double)(a->first - a->begin) / 1e6;
}

static void say(const char *what, double ms, double cold_ms, const answer *a) {
    printf("%-28s %9.1f ms  %6.2f %%  %lld of %lld tokens were there\n", what, ms, 100 * ms / cold_ms,
           (long long)a->usage.n_cached, (long long)a->usage.n_prompt);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: bench_turns MODEL TEXT FOLDER [TOKENS] [THREADS]\n");
        return 1;
    }
    const int n_token = argc > 4 ? atoi(argv[4]) : 8000, n_thread = argc > 5 ? atoi(argv[5]) : 0;
    const hth_engine_params params = {.n_thread = n_thread, .n_ctx = n_token + 256, .n_sequence = 2, .cache_folder = argv[3],
                                      .need_tokenizer = true};
    hth_err err;
    hth_engine *e;
    char *text;
    size_t n;
    must(hth_engine_open(argv[1], &params, &e, &err), &err);
    must(hth_file_read(argv[2], HTH_MEM_MISC, 1 << 24, &text, &n, &err), &err);
    hth_token_list ids = {0}; // as much text as makes n_token tokens
    const hth_text_segment all = {text, n, true};
    must(hth_tokenize(hth_engine_tokenizer(e), &all, 1, 0, &ids, &err), &err);
    if (ids.n > (size_t)n_token) n = n * (size_t)n_token / ids.n;
    const hth_segment user[] = {{.text = "<|im_start|>user\n", .n_text = 17}, {.text = text, .n_text = n, .is_user = true},
                                {.text = "<|im_end|>\n<|im_start|>assistant\n", .n_text = 33}};
    answer first = {0}, cold = {0}, warm = {0}, disk = {0};
    const double first_ms = ask(e, user, 3, false, &first);
    const hth_segment chat[] = {user[0], user[1], user[2], {.text = first.text.p, .n_text = first.text.len},
                                {.text = second, .n_text = sizeof second - 1}};
    const double warm_ms = ask(e, chat, 5, false, &warm);
    const double cold_ms = ask(e, chat, 5, true, &cold);
    const uint64_t closing = hth_clock_ns();
    hth_engine_close(e); // writes what no file has
    const double close_ms = (double)(hth_clock_ns() - closing) / 1e6;
    must(hth_engine_open(argv[1], &params, &e, &err), &err);
    const hth_segment later[] = {user[0], user[1], user[2], chat[3], {.text = other, .n_text = sizeof other - 1}};
    const double disk_ms = ask(e, later, 5, false, &disk);
    hth_engine_close(e);
    say("first turn", first_ms, cold_ms, &first);
    say("second turn, nothing there", cold_ms, cold_ms, &cold);
    say("second turn, in memory", warm_ms, cold_ms, &warm);
    say("another, after a restart", disk_ms, cold_ms, &disk);
    printf("closing %.1f ms\n", close_ms);
    return 0;
}
