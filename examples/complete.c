// Continues a text: examples/complete MODEL "Once upon a time"
#include <stdio.h>
#include <string.h>

#include "hearth.h"

int main(int argc, char **argv) {
    hth_engine *engine = NULL;
    hth_request *request = NULL;
    hth_err err = {0};
    hth_event event;
    if (argc != 3) return fprintf(stderr, "usage: complete MODEL TEXT\n"), 2;
    const hth_segment prompt = {.text = argv[2], .n_text = strlen(argv[2])};
    const hth_request_params params = {.segments = &prompt, .n_segment = 1, .add_special = true, .max_tokens = 64};
    hth_code code = hth_engine_open(argv[1], &(hth_engine_params){.need_tokenizer = true}, &engine, &err);
    if (code == HTH_OK) code = hth_request_submit(engine, &params, &request, NULL, &err);
    while (code == HTH_OK && (code = hth_request_next(request, -1, &event, &err)) == HTH_OK) {
        fwrite(event.text, 1, event.n_text, stdout);
        if (event.kind == HTH_EVENT_ERROR) err = *event.error.err;
        if (event.kind == HTH_EVENT_END) break;
    }
    printf("\n");
    if (err.code != HTH_OK) fprintf(stderr, "%s\n", err.msg);
    hth_request_free(request);
    hth_engine_close(engine);
    return err.code != HTH_OK;
}
