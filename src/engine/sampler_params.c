// The sampler's parameters: defaults, what is absurd, and the names of the steps.
#include <math.h>
#include <string.h>

#include "engine/sampler.h"

hth_sampler_params hth_sampler_neutral(void) {
    return (hth_sampler_params){.temperature = 1,
                                .top_p = 1,
                                .dynatemp_exponent = 1,
                                .typical_p = 1,
                                .xtc_threshold = 0.1f,
                                .penalty_last_n = 64,
                                .repeat_penalty = 1,
                                .dry_base = 1.75f,
                                .dry_allowed_length = 2,
                                .dry_last_n = 64,
                                .mirostat_tau = 5,
                                .mirostat_eta = 0.1f};
}

hth_sampler_params hth_sampler_default(void) {
    hth_sampler_params p = hth_sampler_neutral();
    p.temperature = 0.8f;
    p.top_k = 40;
    p.top_p = 0.95f;
    p.min_p = 0.05f;
    return p;
}

// A number's name, value and bounds; `is_used` is false where another parameter switches it off.
typedef struct number {
    const char *name;
    float value;
    bool is_used;
    float lo, hi;
} number;

static hth_code check_number(const number *n, hth_err *err) {
    if (!n->is_used || (n->value >= n->lo && n->value <= n->hi)) return HTH_OK;
    const double value = (double)n->value, lo = (double)n->lo, hi = (double)n->hi;
    if (!isfinite(n->value) || (isinf(n->hi) && isinf(n->lo)))
        return hth_fail(err, HTH_ERR_RANGE, "%s is %g; it must be a number", n->name, value);
    if (isinf(n->hi)) return hth_fail(err, HTH_ERR_RANGE, "%s is %g; it must be at least %g", n->name, value, lo);
    return hth_fail(err, HTH_ERR_RANGE, "%s is %g; it must be between %g and %g", n->name, value, lo, hi);
}

typedef struct whole {
    const char *name;
    int64_t value, lo, hi;
} whole;

static hth_code check_whole(const hth_sampler_params *p, hth_err *err) {
    const whole all[] = {{"top_k", p->top_k, 0, INT32_MAX},
                         {"repeat_last_n", p->penalty_last_n, -1, INT32_MAX},
                         {"dry_allowed_length", p->dry_allowed_length, 0, INT32_MAX},
                         {"dry_penalty_last_n", p->dry_last_n, -1, INT32_MAX},
                         {"mirostat", p->mirostat, 0, 2},
                         {"min_keep", p->min_keep, 0, INT32_MAX}};
    for (size_t i = 0; i < HTH_COUNT(all); i++) {
        if (all[i].value >= all[i].lo && all[i].value <= all[i].hi) continue;
        return hth_fail(err, HTH_ERR_RANGE, "%s is %lld; it must be between %lld and %lld", all[i].name,
                        (long long)all[i].value, (long long)all[i].lo, (long long)all[i].hi);
    }
    return HTH_OK;
}

static hth_code check_lists(const hth_sampler_params *p, hth_err *err) {
    if (p->n_order < 0 || p->n_order > HTH_MAX_SAMPLER_STEPS)
        return hth_fail(err, HTH_ERR_RANGE, "samplers has %d entries; it may have %d", p->n_order, HTH_MAX_SAMPLER_STEPS);
    for (int32_t i = 0; i < p->n_order; i++) {
        if (p->order[i] >= HTH_STEP_COUNT) return hth_fail(err, HTH_ERR_RANGE, "samplers: there is no step %d", p->order[i]);
    }
    for (size_t i = 0; i < p->n_bias; i++) {
        const float bias = p->bias[i].bias;
        if (bias == -INFINITY || isfinite(bias)) continue;
        return hth_fail(err, HTH_ERR_RANGE, "logit_bias of token %d is %g; it must be a number or -infinity",
                        p->bias[i].token, (double)bias);
    }
    return HTH_OK;
}

hth_code hth_sampler_check(const hth_sampler_params *p, hth_err *err) {
    const float inf = INFINITY, most = 1e30f; // larger ones would leave float's range
    const bool dynatemp = p->dynatemp_range != 0, penalties = p->penalty_last_n != 0, dry = p->dry_multiplier != 0;
    const number all[] = {{"temperature", p->temperature, true, 0, most},
                          {"top_p", p->top_p, true, 0, 1},
                          {"min_p", p->min_p, true, 0, 1},
                          {"dynatemp_range", p->dynatemp_range, true, 0, most},
                          {"dynatemp_exponent", p->dynatemp_exponent, dynatemp, 0, most},
                          {"typical_p", p->typical_p, true, 0, 1},
                          {"top_n_sigma", p->top_n_sigma, true, -inf, most},
                          {"xtc_probability", p->xtc_probability, true, 0, 1},
                          {"xtc_threshold", p->xtc_threshold, true, 0, 1},
                          {"repeat_penalty", p->repeat_penalty, penalties, 1e-6f, most},
                          {"presence_penalty", p->presence_penalty, penalties, -most, most},
                          {"frequency_penalty", p->frequency_penalty, penalties, -most, most},
                          {"dry_multiplier", p->dry_multiplier, true, 0, most},
                          {"dry_base", p->dry_base, dry, 0, most},
                          {"mirostat_tau", p->mirostat_tau, p->mirostat != 0, 0, most},
                          {"mirostat_eta", p->mirostat_eta, p->mirostat != 0, 0, most}};
    for (size_t i = 0; i < HTH_COUNT(all); i++) HTH_TRY(check_number(&all[i], err));
    HTH_TRY(check_whole(p, err));
    return check_lists(p, err);
}

// ---- names

static const char *const step_names[HTH_STEP_COUNT] = {"penalties", "dry",   "top_n_sigma", "top_k",      "typ_p",
                                                       "top_p",     "min_p", "xtc",         "temperature"};

const char *hth_sampler_step_name(hth_sampler_step step) {
    return (unsigned)step < HTH_STEP_COUNT ? step_names[step] : "unknown";
}

// Whether n bytes spell the name: in either case, underscores as dashes or left out.
static bool is_name(const char *name, const char *text, size_t n) {
    size_t i = 0;
    for (; *name; name++) {
        const char c = i < n ? (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]) : 0;
        if (*name == '_') i += c == '_' || c == '-';
        else if (c == *name) i++;
        else return false;
    }
    return i == n;
}

static int find_step(const char *text, size_t n) {
    static const struct {
        const char *name;
        hth_sampler_step step;
    } others[] = {{"nucleus", HTH_STEP_TOP_P},
                  {"temp", HTH_STEP_TEMPERATURE},
                  {"typ", HTH_STEP_TYPICAL_P},
                  {"typical_p", HTH_STEP_TYPICAL_P}};
    for (int i = 0; i < HTH_STEP_COUNT; i++) {
        if (is_name(step_names[i], text, n)) return i;
    }
    for (size_t i = 0; i < HTH_COUNT(others); i++) {
        if (is_name(others[i].name, text, n)) return (int)others[i].step;
    }
    return -1;
}

hth_code hth_sampler_parse_order(const char *text, hth_sampler_params *p, hth_err *err) {
    hth_sampler_params to = *p;
    to.has_order = true;
    to.n_order = 0;
    while (*text) {
        const size_t n = strcspn(text, ";,");
        const int step = find_step(text, n);
        if (step < 0) {
            return hth_fail(err, HTH_ERR_RANGE,
                            "samplers: there is no '%.*s'; there are penalties, dry, top_n_sigma, top_k, typ_p, top_p, "
                            "min_p, xtc, temperature",
                            (int)(n < 40 ? n : 40), text);
        }
        if (to.n_order == HTH_MAX_SAMPLER_STEPS)
            return hth_fail(err, HTH_ERR_RANGE, "samplers has more than %d entries", HTH_MAX_SAMPLER_STEPS);
        to.order[to.n_order++] = (uint8_t)step;
        text += n + (text[n] != 0);
    }
    *p = to;
    return HTH_OK;
}
