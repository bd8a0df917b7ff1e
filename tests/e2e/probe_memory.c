// What an engine says that its sequences will take, against what they take, for the tests.
//
//   probe_memory MODEL N_CTX N_SEQUENCE [K/V TYPE [DRAFT MODEL [ADAPTER]]]     -: none
//
// Fills N_SEQUENCE sequences of N_CTX tokens together, with guesses ahead, and prints one JSON object: the plan, and by how much the
// process's anonymous memory has grown at most since the model was opened (and the adapter, if there is one). Bytes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"

enum { N_OUT = 32, MAX_SEQUENCE = 64 };

static uint64_t anonymous_bytes(void) {
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) (void)!sscanf(line, "RssAnon: %llu", &kilobytes);
    if (f) fclose(f);
    return (uint64_t)kilobytes * 1024;
}

static uint64_t most;

// By the host's thread, between steps.
static void sample(void *user, const hth_event *event) {
    (void)user;
    if (event->kind != HTH_EVENT_TOKEN && event->kind != HTH_EVENT_PREFILL) return;
    const uint64_t now = anonymous_bytes();
    if (now > most) most = now;
}

static hth_code read_to_the_end(hth_request *r, hth_err *err) {
    hth_event e = {.kind = HTH_EVENT_QUEUED};
    while (e.kind != HTH_EVENT_END) {
        HTH_TRY(hth_request_next(r, -1, &e, err));
        if (e.kind == HTH_EVENT_ERROR) return *err = *e.error.err, err->code;
    }
    return HTH_OK;
}

// A token of each of two sequences is drawn, which is work space too: of all threads.
static hth_code draw(hth_engine *e, hth_err *err) {
    const int32_t token = 1;
    const hth_segment segment = {.tokens = &token, .n_token = 1};
    const hth_sampler_params sampling = hth_sampler_neutral();
    const hth_request_params p = {.segments = &segment, .n_segment = 1, .max_tokens = 2, .sampling = &sampling, .no_cache = true, .n = 2};
    hth_request *r;
    HTH_TRY(hth_request_submit(e, &p, &r, NULL, err));
    const hth_code code = read_to_the_end(r, err);
    hth_request_free(r);
    return code;
}

// Prompts that repeat themselves are continued from what stood there before; others by the draft model.
static void make_tokens(int32_t *tokens, size_t n, size_t i_seq, bool repeats, uint32_t n_vocab) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t mixed = (uint32_t)(i * 64 + i_seq) * 2654435761u;
        tokens[i] = (int32_t)((repeats ? (uint32_t)(i % 41 + i_seq * 50) : mixed >> 8) % n_vocab);
    }
}

static hth_code fill(hth_engine *e, int64_t n_ctx, int32_t n_sequence, bool repeats, const hth_lora_set *adapters, hth_err *err) {
    hth_request *requests[MAX_SEQUENCE];
    const size_t n = (size_t)n_ctx - N_OUT;
    int32_t *tokens = hth_calloc(HTH_MEM_MISC, n + N_OUT, sizeof *tokens);
    if (!tokens) return hth_fail_nomem(err, n * sizeof *tokens);
    // The answer is given: it goes on repeating what the prompt repeats, so that every guess is made and right.
    const hth_segment segment = {.tokens = tokens, .n_token = n}, answer = {.tokens = tokens + n, .n_token = N_OUT};
    const hth_request_params p = {.segments = &segment, .n_segment = 1, .max_tokens = N_OUT, .ignore_end = true, .no_cache = true, .n_draft = 15,
                                  .forced = &answer, .n_forced = 1, .on_event = sample, .adapters = adapters};
    hth_code code = HTH_OK;
    int32_t n_submitted = 0;
    for (; code == HTH_OK && n_submitted < n_sequence; n_submitted++) {
        make_tokens(tokens, n + N_OUT, (size_t)n_submitted, repeats, (uint32_t)hth_engine_n_vocab(e));
        code = hth_request_submit(e, &p, &requests[n_submitted], NULL, err);
        if (code != HTH_OK) break;
    }
    for (int32_t i = 0; i < n_submitted; i++) {
        if (code == HTH_OK) code = read_to_the_end(requests[i], err);
        hth_request_free(requests[i]);
    }
    hth_free(tokens);
    return code;
}

static const char *argument(int argc, char **argv, int i) {
    return i < argc && strcmp(argv[i], "-") != 0 ? argv[i] : NULL;
}

int main(int argc, char **argv) {
    hth_engine *e = NULL;
    hth_plan plan;
    hth_err err;
    hth_lora *lora = NULL;
    if (argc < 4) return fprintf(stderr, "usage: probe_memory MODEL N_CTX N_SEQUENCE [K/V TYPE [DRAFT MODEL [ADAPTER]]]\n"), 2;
    const int64_t n_ctx = strtoll(argv[2], NULL, 10);
    const int32_t n_sequence = (int32_t)strtol(argv[3], NULL, 10);
    if (n_ctx <= N_OUT || n_sequence < 1 || n_sequence > MAX_SEQUENCE) return fprintf(stderr, "out of range\n"), 2;
    const char *type = argument(argc, argv, 4), *draft = argument(argc, argv, 5), *adapter = argument(argc, argv, 6);
    const hth_engine_params how = {.n_ctx = n_ctx, .n_sequence = n_sequence, .n_thread = 2, .k_type = type, .v_type = type,
                                   .draft = draft};
    hth_code code = hth_engine_open(argv[1], &how, &e, &err);
    if (code == HTH_OK) code = hth_engine_plan(e, 0, 0, &plan, &err);
    if (code == HTH_OK && adapter) code = hth_engine_lora(e, adapter, &lora, &err);
    const hth_lora_use use = {lora, 1};
    const hth_lora_set set = {&use, 1};
    const uint64_t before = most = anonymous_bytes();
    if (code == HTH_OK) code = draw(e, &err);
    if (code == HTH_OK) code = fill(e, n_ctx, n_sequence, !draft, lora ? &set : NULL, &err);
    if (code == HTH_OK) {
        hth_engine_stats stats;
        hth_engine_get_stats(e, &stats);
        printf("{\"kv\": %llu, \"scratch\": %llu, \"grown\": %llu, \"steps\": %llu}\n", (unsigned long long)plan.kv_bytes,
               (unsigned long long)plan.scratch_bytes, (unsigned long long)(most - before), (unsigned long long)stats.n_step);
    } else {
        fprintf(stderr, "%s\n", err.msg);
    }
    hth_lora_free(lora);
    hth_engine_close(e);
    return code != HTH_OK;
}
