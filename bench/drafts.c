// How much guessing ahead gains: one user's answer to a prompt with and without, in turn.
//
//   drafts MODEL FILE [TOKENS [ROUNDS [TEMPERATURE [THREADS]]]]
//
// Prints tokens per second of the best round of each, and checks that both wrote the same.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "os/file.h"

typedef struct result {
    hth_usage usage;
    uint64_t hash; // of the tokens
    double speed;
} result;

static hth_code ask(hth_engine *e, const hth_request_params *p, result *out, hth_err *err) {
    hth_request *r;
    hth_event event = {.kind = HTH_EVENT_QUEUED};
    *out = (result){.hash = 14695981039346656037u};
    HTH_TRY(hth_request_submit(e, p, &r, NULL, err));
    hth_code code = HTH_OK;
    while (code == HTH_OK && event.kind != HTH_EVENT_END) {
        code = hth_request_next(r, -1, &event, err);
        if (code == HTH_OK && event.kind == HTH_EVENT_TOKEN) out->hash = (out->hash ^ (uint64_t)event.token.id) * 1099511628211u;
        if (code == HTH_OK && event.kind == HTH_EVENT_ERROR) code = (*err = *event.error.err).code;
    }
    out->usage = event.usage;
    hth_request_free(r);
    out->speed = (double)(out->usage.n_output - 1) / ((double)out->usage.generate_ns * 1e-9);
    return code;
}

static hth_code compare(hth_engine *e, hth_request_params *p, int n_round, hth_err *err) {
    result best[2] = {{.speed = 0}}, one;
    for (int i = 0; i < 2 * n_round; i++) {
        p->n_draft = i % 2 ? 0 : -1;
        HTH_TRY(ask(e, p, &one, err));
        if (i > 0 && one.hash != best[0].hash) return hth_fail(err, HTH_ERR_INTERNAL, "guessing has changed the answer");
        if (one.speed > best[i % 2].speed) best[i % 2] = one;
    }
    printf("%lld tokens: %.1f tokens/s alone, %.1f with guesses (%.2fx), %lld of %lld guesses were right\n",
           (long long)best[0].usage.n_output, best[0].speed, best[1].speed, best[1].speed / best[0].speed,
           (long long)best[1].usage.n_accepted, (long long)best[1].usage.n_drafted);
    return HTH_OK;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: drafts MODEL FILE [TOKENS [ROUNDS [TEMPERATURE [THREADS]]]]\n"), 2;
    hth_err err;
    hth_engine *e = NULL;
    char *text = NULL;
    size_t n;
    hth_sampler_params sampling = hth_sampler_neutral();
    sampling.temperature = argc > 5 ? strtof(argv[5], NULL) : 0;
    const hth_engine_params how = {.need_tokenizer = true, .n_sequence = 1, .n_thread = argc > 6 ? atoi(argv[6]) : 0};
    hth_code code = hth_file_read(argv[2], HTH_MEM_MISC, 1 << 24, &text, &n, &err);
    if (code == HTH_OK) code = hth_engine_open(argv[1], &how, &e, &err);
    const hth_segment prompt = {.text = text, .n_text = code == HTH_OK ? n : 0};
    hth_request_params p = {.segments = &prompt, .n_segment = 1, .add_special = true, .sampling = &sampling, .ignore_end = true,
                            .max_tokens = argc > 3 ? atoi(argv[3]) : 200};
    if (code == HTH_OK) code = compare(e, &p, argc > 4 ? atoi(argv[4]) : 3, &err);
    if (code != HTH_OK) fprintf(stderr, "%s\n", err.msg);
    hth_engine_close(e);
    hth_free(text);
    return code == HTH_OK ? 0 : 1;
}
