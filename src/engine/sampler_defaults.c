// Sampling settings from the files that come with a model.
#include "engine/sampler_defaults.h"

static hth_code take_f32(const hth_gguf *g, const char *key, float *out, hth_err *err) {
    double v = (double)*out;
    HTH_TRY(hth_gguf_get_f64(g, key, &v, err));
    *out = (float)v;
    return HTH_OK;
}

// A whole number; what lies outside `least` ... INT32_MAX becomes `least`.
static int32_t clamp(int64_t v, int32_t least) {
    return v < least || v > INT32_MAX ? least : (int32_t)v;
}

static hth_code take_i32(const hth_gguf *g, const char *key, int32_t least, int32_t *out, hth_err *err) {
    int64_t v = *out;
    HTH_TRY(hth_gguf_get_i64(g, key, &v, err));
    *out = clamp(v, least);
    return HTH_OK;
}

static hth_code take_gguf(const hth_gguf *g, hth_sampler_params *p, hth_err *err) {
    HTH_TRY(take_f32(g, "general.sampling.temp", &p->temperature, err));
    HTH_TRY(take_i32(g, "general.sampling.top_k", 0, &p->top_k, err));
    HTH_TRY(take_f32(g, "general.sampling.top_p", &p->top_p, err));
    HTH_TRY(take_f32(g, "general.sampling.min_p", &p->min_p, err));
    HTH_TRY(take_f32(g, "general.sampling.xtc_probability", &p->xtc_probability, err));
    HTH_TRY(take_f32(g, "general.sampling.xtc_threshold", &p->xtc_threshold, err));
    HTH_TRY(take_i32(g, "general.sampling.penalty_last_n", -1, &p->penalty_last_n, err));
    HTH_TRY(take_f32(g, "general.sampling.penalty_repeat", &p->repeat_penalty, err));
    HTH_TRY(take_i32(g, "general.sampling.mirostat", 0, &p->mirostat, err));
    HTH_TRY(take_f32(g, "general.sampling.mirostat_tau", &p->mirostat_tau, err));
    HTH_TRY(take_f32(g, "general.sampling.mirostat_eta", &p->mirostat_eta, err));
    const char *sequence = "";
    HTH_TRY(hth_gguf_get_str(g, "general.sampling.sequence", &sequence, NULL, err));
    // An order with steps that are not known here is no reason to refuse the model: ours stays.
    if (*sequence && hth_sampler_parse_order(sequence, p, err) != HTH_OK) p->has_order = false;
    return HTH_OK;
}

static void take_json(const hth_json *config, hth_sampler_params *p) {
    p->temperature = (float)hth_json_num(config, "temperature", (double)p->temperature, NULL);
    p->top_k = clamp(hth_json_int(config, "top_k", p->top_k, NULL), 0);
    p->top_p = (float)hth_json_num(config, "top_p", (double)p->top_p, NULL);
    p->min_p = (float)hth_json_num(config, "min_p", (double)p->min_p, NULL);
    p->typical_p = (float)hth_json_num(config, "typical_p", (double)p->typical_p, NULL);
    if (hth_json_num(config, "repetition_penalty", 1, NULL) != 1) { // there it looks back on everything
        p->repeat_penalty = (float)hth_json_num(config, "repetition_penalty", 1, NULL);
        p->penalty_last_n = -1;
    }
    if (!hth_json_bool(config, "do_sample", true, NULL)) p->temperature = 0;
}

hth_code hth_sampler_defaults_of(hth_container *c, hth_sampler_params *out, hth_err *err) {
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
