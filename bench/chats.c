// Many chats at once through the engine's own interface: tokens per second of all together, the gaps between tokens
// of each, and what a long prompt does to them.
//
//   bench_chats MODEL [THREADS] [TOKENS [DRAFT MODEL]]     CSV on standard output
//
// With a draft model up to four tokens are guessed per step, whether it pays or not.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "os/clock.h"

enum { MAX_CHAT = 16, MAX_TOKEN = 4096, PROMPT = 64, LONG_PROMPT = 2048 };

typedef struct chat {
    uint64_t times[MAX_TOKEN]; // of its tokens
    atomic_int n;
    hth_token prompt[LONG_PROMPT];
    hth_segment segment;
    hth_request *request;
    hth_usage usage;
    uint64_t begin;
} chat;

static chat chats[MAX_CHAT + 1]; // the last one is the long prompt's
static int n_draft = -1;

static void note_time(void *user, const hth_event *event) {
    chat *c = user;
    if (event->kind == HTH_EVENT_TOKEN && c->n < MAX_TOKEN) c->times[c->n++] = hth_clock_ns();
    if (event->kind == HTH_EVENT_END) c->usage = event->usage;
    if (event->kind == HTH_EVENT_ERROR) {
        fprintf(stderr, "%s\n", event->error.err->msg);
        exit(1);
    }
}

static void begin_chat(hth_engine *e, chat *c, int number, int n_prompt, int n_token) {
    hth_err err;
    const hth_sampler_params sampling = {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1,
                                         .seed = (uint64_t)number};
    const int n_vocab = hth_engine_n_vocab(e) < 40000 ? hth_engine_n_vocab(e) : 40000;
    for (int i = 0; i < n_prompt; i++) c->prompt[i] = (i * 7919 + number * 104729 + 1000) % (n_vocab - 300) + 300;
    c->segment = (hth_segment){.tokens = c->prompt, .n_token = (size_t)n_prompt};
    c->n = 0;
    c->begin = hth_clock_ns();
    const hth_request_params p = {.segments = &c->segment, .n_segment = 1, .sampling = &sampling, .max_tokens = n_token,
                                  .ignore_end = true, .no_cache = true, .n_draft = n_draft, .on_event = note_time, .user = c};
    if (hth_request_submit(e, &p, &c->request, NULL, &err) == HTH_OK) return;
    fprintf(stderr, "%s\n", err.msg);
    exit(1);
}

static void end_chat(chat *c) {
    hth_event e = {0};
    hth_err err;
    while (e.kind != HTH_EVENT_END && hth_request_next(c->request, -1, &e, &err) == HTH_OK) continue;
    hth_request_free(c->request);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Gaps of all chats from `first` on, in ms, sorted.
static int collect_gaps(int n_chat, uint64_t first, double *gaps) {
    int n = 0;
    for (int i = 0; i < n_chat; i++) {
        for (int k = 1; k < chats[i].n; k++) {
            if (chats[i].times[k - 1] >= first) gaps[n++] = (double)(chats[i].times[k] - chats[i].times[k - 1]) / 1e6;
        }
    }
    qsort(gaps, (size_t)n, sizeof *gaps, compare);
    return n;
}

static double gaps[MAX_CHAT * MAX_TOKEN];

static void run(hth_engine *e, int n_chat, int n_token, bool has_long) {
    hth_engine_stats before, after;
    hth_engine_get_stats(e, &before);
    const uint64_t begin = hth_clock_ns();
    for (int i = 0; i < n_chat; i++) begin_chat(e, &chats[i], i, PROMPT, n_token);
    if (has_long) { // when everybody writes
        while (chats[n_chat - 1].n < 8) continue;
        begin_chat(e, &chats[MAX_CHAT], 99, LONG_PROMPT, 2);
    }
    for (int i = 0; i < n_chat; i++) end_chat(&chats[i]);
    uint64_t first = 0, last = begin;
    int n = 0;
    for (int i = 0; i < n_chat; i++) { // from where all write
        if (chats[i].times[0] > first) first = chats[i].times[0];
        if (chats[i].times[chats[i].n - 1] > last) last = chats[i].times[chats[i].n - 1];
    }
    for (int i = 0; i < n_chat; i++) {
        for (int k = 0; k < chats[i].n; k++) n += chats[i].times[k] > first;
    }
    if (has_long) end_chat(&chats[MAX_CHAT]);
    hth_engine_get_stats(e, &after);
    const int n_gap = collect_gaps(n_chat, first, gaps);
    const double n_step = (double)(after.n_step - before.n_step);
    printf("%d,%d,%.1f,%.2f,%.2f,%.2f,%.1f,%.1f", n_chat, has_long, n / ((double)(last - first) / 1e9), gaps[n_gap / 2],
           gaps[n_gap * 99 / 100], gaps[n_gap - 1], (double)(after.overhead_ns - before.overhead_ns) / n_step / 1e3,
           (double)(after.sample_ns - before.sample_ns) / n_step / 1e3);
    if (has_long) printf(",%.0f", LONG_PROMPT / ((double)chats[MAX_CHAT].usage.prefill_ns / 1e9));
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: bench_chats MODEL [THREADS] [TOKENS [DRAFT MODEL]]\n");
        return 0;
    }
    hth_engine *e;
    hth_err err;
    const int n_token = argc > 3 ? atoi(argv[3]) : 128;
    const hth_engine_params params = {.n_thread = argc > 2 ? atoi(argv[2]) : 0, .n_ctx = 4096, .n_sequence = MAX_CHAT + 1,
                                      .draft = argc > 4 ? argv[4] : NULL};
    if (params.draft) n_draft = 4;
    if (hth_engine_open(argv[1], &params, &e, &err) != HTH_OK || n_token < 16 || n_token > MAX_TOKEN) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("chats,long_prompt,tokens_per_s,gap_p50_ms,gap_p99_ms,gap_max_ms,overhead_us_per_step,sampling_us_per_step,long_prefill_per_s\n");
    run(e, 1, 16, false); // warms up
    for (int n = 1; n <= MAX_CHAT; n *= 2) run(e, n, n_token, false);
    for (int n = 1; n <= 8; n *= 8) run(e, n, n_token, true);
    begin_chat(e, &chats[MAX_CHAT], 99, LONG_PROMPT, 2);
    end_chat(&chats[MAX_CHAT]);
    printf("0,1,,,,,,,%.0f\n", LONG_PROMPT / ((double)chats[MAX_CHAT].usage.prefill_ns / 1e9));
    hth_engine_close(e);
    return 0;
}
