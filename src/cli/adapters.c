// "FILE" or "FILE:SCALE". A path that exists as a whole is taken as it is: it may have colons.
#include "cli/adapters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"

static hth_code open_one(const char *text, const hth_model *m, cli_adapters *out, hth_err *err) {
    char path[4096];
    float scale = 1;
    const size_t n = strlen(text);
    if (n >= sizeof path) return hth_fail(err, HTH_ERR_RANGE, "--lora: the path is too long");
    memcpy(path, text, n + 1);
    char *colon = strrchr(path, ':'), *end;
    if (colon && hth_path_kind_of(path) == HTH_PATH_NONE) {
        scale = strtof(colon + 1, &end);
        if (end == colon + 1 || *end || !isfinite(scale))
            return hth_fail(err, HTH_ERR_RANGE, "--lora: there is no %s, and '%s' is no scale", path, colon + 1);
        *colon = 0;
    }
    hth_lora **lora = &out->owned[out->set.n];
    HTH_TRY(hth_lora_open(path, m, lora, err));
    out->uses[out->set.n++] = (hth_lora_use){.lora = *lora, .scale = scale};
    return HTH_OK;
}

hth_code cli_adapters_open(const cli_list *given, const hth_model *m, cli_adapters *out, hth_err *err) {
    *out = (cli_adapters){.set = {.uses = out->uses}};
    if (given->n > HTH_MAX_LORA) return hth_fail(err, HTH_ERR_RANGE, "--lora is given more than %d times", HTH_MAX_LORA);
    for (int i = 0; i < given->n; i++) HTH_TRY(open_one(given->items[i], m, out, err));
    return HTH_OK;
}

void cli_adapters_free(cli_adapters *a) {
    for (int32_t i = 0; i < a->set.n; i++) hth_lora_free(a->owned[i]);
    a->set.n = 0;
}
