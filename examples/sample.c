// Writes several continuations of a text, each drawn with settings and a seed of its own, as they come:
//
//   examples/sample MODEL "Once upon a time" [ADAPTER]
#include <stdio.h>
#include <string.h>

#include "hearth.h"

enum { N_REQUEST = 3 };

// The model's own settings, then hotter and hotter, with what is rare left out.
static hth_sampler_params settings(const hth_engine *engine, int i) {
    hth_sampler_params p;
    hth_engine_sampling(engine, &p);
    p.seed = 100 + (uint64_t)i;
    if (i > 0) {
        p.temperature = 0.6f + 0.6f * (float)i;
        p.min_p = 0.1f;
    }
    return p;
}

static hth_code read_all(hth_request *r, int i, hth_err *err) {
    hth_event event;
    printf("--- %d\n", i);
    for (;;) {
        const hth_code code = hth_request_next(r, -1, &event, err);
        if (code != HTH_OK) return code;
        fwrite(event.text, 1, event.n_text, stdout);
        if (event.kind == HTH_EVENT_ERROR) return *err = *event.error.err, err->code;
        if (event.kind == HTH_EVENT_END) break;
    }
    printf("\n(%lld tokens, %lld of the prompt's were there already)\n", (long long)event.usage.n_output,
           (long long)event.usage.n_cached);
    return HTH_OK;
}

// All are submitted before the first one is read: they are computed together.
static hth_code run(hth_engine *engine, const char *text, const hth_lora_set *adapters, hth_err *err) {
    hth_request *requests[N_REQUEST] = {NULL};
    const hth_segment prompt = {.text = text, .n_text = strlen(text)};
    hth_code code = HTH_OK;
    for (int i = 0; code == HTH_OK && i < N_REQUEST; i++) {
        const hth_sampler_params sampling = settings(engine, i);
        const hth_request_params params = {.segments = &prompt, .n_segment = 1, .add_special = true, .max_tokens = 32,
                                           .sampling = &sampling, .adapters = adapters};
        code = hth_request_submit(engine, &params, &requests[i], NULL, err);
    }
    for (int i = 0; code == HTH_OK && i < N_REQUEST; i++) code = read_all(requests[i], i, err);
    for (int i = 0; i < N_REQUEST; i++) hth_request_free(requests[i]);
    return code;
}

int main(int argc, char **argv) {
    hth_engine *engine = NULL;
    hth_lora *lora = NULL;
    hth_err err = {0};
    if (argc != 3 && argc != 4) return fprintf(stderr, "usage: sample MODEL TEXT [ADAPTER]\n"), 2;
    hth_code code = hth_engine_open(argv[1], &(hth_engine_params){.need_tokenizer = true}, &engine, &err);
    if (code == HTH_OK && argc == 4) code = hth_engine_lora(engine, argv[3], &lora, &err);
    const hth_lora_use use = {.lora = lora, .scale = 1};
    const hth_lora_set adapters = {.uses = &use, .n = lora ? 1 : 0};
    if (code == HTH_OK) code = run(engine, argv[2], &adapters, &err);
    if (code != HTH_OK) fprintf(stderr, "%s\n", err.msg);
    hth_lora_free(lora);
    hth_engine_close(engine);
    return code != HTH_OK;
}
