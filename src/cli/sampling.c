// Sampling settings from the files that come with a model.
#include "cli/sampling.h"

#include <time.h>

#include "engine/random.h"
#include "os/clock.h"

static hth_code take_gguf(const hth_gguf *g, hth_sampler_params *p, hth_err *err) {
    double temperature = (double)p->temperature, top_p = (double)p->top_p, min_p = (double)p->min_p;
    int64_t top_k = p->top_k;
    HTH_TRY(hth_gguf_get_f64(g, "general.sampling.temp", &temperature, err));
    HTH_TRY(hth_gguf_get_i64(g, "general.sampling.top_k", &top_k, err));
    HTH_TRY(hth_gguf_get_f64(g, "general.sampling.top_p", &top_p, err));
    HTH_TRY(hth_gguf_get_f64(g, "general.sampling.min_p", &min_p, err));
    p->temperature = (float)temperature;
    p->top_k = top_k < 0 || top_k > INT32_MAX ? 0 : (int32_t)top_k;
    p->top_p = (float)top_p;
    p->min_p = (float)min_p;
    return HTH_OK;
}

static void take_json(const hth_json *config, hth_sampler_params *p) {
    p->temperature = (float)hth_json_num(config, "temperature", (double)p->temperature, NULL);
    int64_t top_k = hth_json_int(config, "top_k", p->top_k, NULL);
    p->top_k = top_k < 0 || top_k > INT32_MAX ? 0 : (int32_t)top_k;
    p->top_p = (float)hth_json_num(config, "top_p", (double)p->top_p, NULL);
    p->min_p = (float)hth_json_num(config, "min_p", (double)p->min_p, NULL);
    if (!hth_json_bool(config, "do_sample", true, NULL)) p->temperature = 0;
}

hth_code cli_sampling_of(hth_container *c, hth_sampler_params *out, hth_err *err) {
    *out = hth_sampler_default();
    const hth_gguf *g = hth_container_gguf(c);
    if (g) {
        HTH_TRY(take_gguf(g, out, err));
    } else {
        const hth_json *config;
        HTH_TRY(hth_container_json(c, "generation_config.json", &config, err));
        if (config) take_json(config, out);
    }
    hth_code code = hth_sampler_check(out, err);
    return code == HTH_OK ? code : hth_fail_in(err, code, "the model's sampling defaults");
}

uint64_t cli_new_seed(void) {
    return (uint64_t)(hth_random_at((uint64_t)time(NULL), (int64_t)hth_clock_ns()) * 0x1p32);
}
