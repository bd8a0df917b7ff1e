// From the options to the sampler's parameters.
#include "cli/sampling.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/random.h"
#include "engine/sampler_defaults.h"
#include "os/clock.h"

static void take_num(double given, float *to) {
    if (!isnan(given)) *to = (float)given;
}

static void take_int(int64_t given, int32_t *to) {
    if (given != CLI_NOT_GIVEN) *to = (int32_t)given;
}

static void take_numbers(const cli_sampling *given, hth_sampler_params *p) {
    take_num(given->temperature, &p->temperature);
    take_num(given->top_p, &p->top_p);
    take_num(given->min_p, &p->min_p);
    take_num(given->dynatemp_range, &p->dynatemp_range);
    take_num(given->dynatemp_exponent, &p->dynatemp_exponent);
    take_num(given->typical_p, &p->typical_p);
    take_num(given->top_n_sigma, &p->top_n_sigma);
    take_num(given->xtc_probability, &p->xtc_probability);
    take_num(given->xtc_threshold, &p->xtc_threshold);
    take_num(given->repeat_penalty, &p->repeat_penalty);
    take_num(given->presence_penalty, &p->presence_penalty);
    take_num(given->frequency_penalty, &p->frequency_penalty);
    take_num(given->dry_multiplier, &p->dry_multiplier);
    take_num(given->dry_base, &p->dry_base);
    take_num(given->mirostat_tau, &p->mirostat_tau);
    take_num(given->mirostat_eta, &p->mirostat_eta);
    take_int(given->top_k, &p->top_k);
    take_int(given->repeat_last_n, &p->penalty_last_n);
    take_int(given->dry_allowed_length, &p->dry_allowed_length);
    take_int(given->dry_last_n, &p->dry_last_n);
    take_int(given->mirostat, &p->mirostat);
    take_int(given->min_keep, &p->min_keep);
    p->seed = given->seed == CLI_NOT_GIVEN ? cli_new_seed() : (uint64_t)given->seed;
}

static hth_code take_breakers(const cli_list *given, const hth_tokenizer *t, cli_sampler *s, hth_err *err) {
    const char *texts[CLI_MAX_LIST];
    size_t n = 0;
    if (s->params.dry_multiplier == 0) return HTH_OK;
    for (; given->n == 0 && hth_breakers_default_at((int)n); n++) texts[n] = hth_breakers_default_at((int)n);
    for (int i = 0; i < given->n; i++) {
        if (strcmp(given->items[i], "none") == 0) n = 0;
        else texts[n++] = given->items[i];
    }
    HTH_TRY(hth_breakers_new(t, texts, n, &s->breakers, err));
    s->params.dry_breakers = s->breakers;
    return HTH_OK;
}

static hth_code bad_bias(const char *text, hth_err *err) {
    return hth_fail(err, HTH_ERR_RANGE, "--logit-bias needs ID+X, ID-X or TEXT=X, not '%s'", text);
}

static hth_code push_bias(cli_sampler *s, size_t *cap, int32_t token, double bias, hth_err *err) {
    const size_t n = s->params.n_bias;
    if (!hth_grow(HTH_MEM_MISC, (void **)&s->bias, cap, n + 1, sizeof *s->bias, SIZE_MAX / 64))
        return hth_fail_nomem(err, (n + 1) * sizeof *s->bias);
    s->bias[n] = (hth_logit_bias){.token = token, .bias = (float)bias};
    s->params.bias = s->bias;
    s->params.n_bias = n + 1;
    return HTH_OK;
}

static hth_code take_bias(const char *text, const hth_tokenizer *t, cli_sampler *s, size_t *cap, hth_err *err) {
    char *end, *after;
    const long long id = strtoll(text, &end, 10);
    if (end > text && id >= 0 && id <= INT32_MAX && (*end == '+' || *end == '-')) {
        const double bias = strtod(end, &after); // the sign is the number's own
        if (after > end + 1 && !*after) return push_bias(s, cap, (int32_t)id, bias, err);
    }
    const char *equals = strrchr(text, '=');
    const double bias = equals ? strtod(equals + 1, &after) : 0;
    if (!equals || equals == text || after == equals + 1 || *after) return bad_bias(text, err);
    hth_token_list list = {0};
    const hth_text_segment segment = {.text = text, .n = (size_t)(equals - text)};
    hth_code code = hth_tokenize(t, &segment, 1, 0, &list, err);
    for (size_t i = 0; i < list.n && code == HTH_OK; i++) code = push_bias(s, cap, list.ids[i], bias, err);
    hth_token_list_free(&list);
    return code;
}

hth_code cli_sampler_make(const cli_sampling *given, hth_container *c, const hth_tokenizer *t, cli_sampler *out,
                          hth_err *err) {
    cli_sampler s = {0};
    size_t cap = 0;
    hth_code code;
    HTH_TRY_GOTO(code, hth_sampler_defaults_of(c, &s.params, err), fail);
    take_numbers(given, &s.params);
    if (given->samplers) HTH_TRY_GOTO(code, hth_sampler_parse_order(given->samplers, &s.params, err), fail);
    HTH_TRY_GOTO(code, take_breakers(&given->breakers, t, &s, err), fail);
    for (int i = 0; i < given->bias.n; i++) HTH_TRY_GOTO(code, take_bias(given->bias.items[i], t, &s, &cap, err), fail);
    HTH_TRY_GOTO(code, hth_sampler_check(&s.params, err), fail);
    *out = s;
    return HTH_OK;
fail:
    cli_sampler_free(&s);
    return code;
}

void cli_sampler_free(cli_sampler *s) {
    hth_breakers_free(s->breakers);
    hth_free(s->bias);
}

uint64_t cli_new_seed(void) {
    return (uint64_t)(hth_random_at((uint64_t)time(NULL), (int64_t)hth_clock_ns()) * 0x1p32);
}
