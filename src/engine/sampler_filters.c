// The steps that leave tokens out, and temperature. Formulas: top-p arXiv:1904.09751, typical-p arXiv:2202.00666,
// top-n-sigma arXiv:2411.07641, min-p arXiv:2407.01082, mirostat arXiv:2007.14966, XTC as text-generation-webui#6335.
#include <math.h>

#include "engine/random.h"
#include "engine/sampler_impl.h"

// Below this a temperature is as good as none, and quotients of logits would overflow.
#define LEAST_TEMPERATURE 1e-6f
// Draws that are not the token's own; counters beside (seed, position).
#define DRAW_XTC 1

static size_t min_keep(const hth_sampler_params *s) {
    return s->min_keep > 1 ? (size_t)s->min_keep : 1;
}

// Keeps the listed candidates from `least` on (a logit as listed), but no fewer than min_keep.
static void keep_from(const hth_sampler_params *s, hth_pool *p, float least) {
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += p->list[i].logit >= least;
    if (n < min_keep(s)) {
        hth_pool_select(p, min_keep(s));
        return;
    }
    n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i].logit >= least) p->list[n++] = p->list[i];
    }
    p->n = n;
}

// The same, of the whole vocabulary; `least` is still to be divided by the temperature.
static void collect_from(const hth_sampler_params *s, hth_pool *p, float least) {
    hth_pool_collect(p, least);
    if (p->n >= min_keep(s)) return;
    p->list = NULL;
    hth_pool_select(p, min_keep(s));
}

// Of the list, or of the whole vocabulary as it lies there.
static float greatest(const hth_pool *p) {
    if (!p->list) return hth_pool_max(p);
    float max = p->list[0].logit;
    for (size_t i = 1; !p->is_sorted && i < p->n; i++) max = p->list[i].logit > max ? p->list[i].logit : max;
    return max;
}

// ---- by rank

void hth_step_top_k(const hth_sampler_params *s, hth_pool *p) {
    if (s->top_k <= 0) return;
    const size_t k = (size_t)s->top_k > min_keep(s) ? (size_t)s->top_k : min_keep(s);
    if (k < (p->list ? p->n : (size_t)p->work->n_vocab)) hth_pool_select(p, k);
}

// The sum of (x - center), squared or not, over all logits x that are allowed; *n is how many. Four sums at a time,
// because each addition waits for the one before.
static double sum_from(const hth_pool *p, double center, bool is_squared, double *n) {
    const size_t count = p->list ? p->n : (size_t)p->work->n_vocab;
    double sums[4] = {0};
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        const float x = p->list ? p->list[i].logit : p->logits[i];
        const double d = (double)x - center;
        if (x <= HTH_LEAST_LOGIT) continue;
        sums[i % 4] += is_squared ? d * d : d;
        *n += 1;
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

void hth_step_top_n_sigma(const hth_sampler_params *s, hth_pool *p) {
    if (!(s->top_n_sigma > 0)) return;
    double n;
    const double sum = sum_from(p, 0, false, &n), mean = sum / n;
    const double deviation = sqrt(sum_from(p, mean, true, &n) / n);
    const float least = greatest(p) - s->top_n_sigma * (float)deviation;
    if (p->list) keep_from(s, p, least);
    else collect_from(s, p, least);
}

// ---- by share

// Shares of candidates that were collected from the whole vocabulary, whose weights have this sum.
static void set_shares(hth_pool *p, float max, double sum) {
    for (size_t i = 0; i < p->n; i++) {
        p->list[i].p = (float)(exp((double)p->list[i].logit - (double)max / (double)p->temperature) / sum);
    }
}

void hth_step_top_p(const hth_sampler_params *s, hth_pool *p) {
    if (s->top_p >= 1) return;
    if (p->list) {
        (void)hth_pool_softmax(p);
    } else {
        // All tokens below the bound together have less than 1 - top_p: none can be needed.
        const float max = hth_pool_max(p);
        const double sum = hth_pool_sum(p);
        const double bound = (double)max + (double)p->temperature * log(sum * (1 - (double)s->top_p) / p->work->n_vocab);
        collect_from(s, p, nextafterf((float)bound, -INFINITY));
        set_shares(p, max, sum);
    }
    hth_pool_keep_share(p, (double)s->top_p, min_keep(s));
}

void hth_step_min_p(const hth_sampler_params *s, hth_pool *p) {
    if (!(s->min_p > 0)) return;
    if (p->list) keep_from(s, p, greatest(p) + logf(s->min_p));
    else collect_from(s, p, greatest(p) + p->temperature * logf(s->min_p));
}

static double entropy_of(const hth_pool *p) {
    double entropy = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i].p > 0) entropy -= (double)p->list[i].p * log((double)p->list[i].p);
    }
    return entropy;
}

// The tokens whose surprise is nearest to the expected one, until they share typical_p.
void hth_step_typical_p(const hth_sampler_params *s, hth_pool *p) {
    if (!(s->typical_p > 0 && s->typical_p < 1)) return;
    hth_pool_list(p);
    const double log_sum = hth_pool_softmax(p), entropy = entropy_of(p);
    for (size_t i = 0; i < p->n; i++) {
        p->list[i].score = (float)fabs(log_sum - (double)p->list[i].logit - entropy);
    }
    size_t n = 0;
    for (size_t sorted = 64; n == 0; sorted *= 8) {
        hth_pool_sort_by_score(p, sorted);
        double reached = 0;
        for (size_t i = 0; i < p->n && i < sorted && n == 0; i++) {
            reached += (double)p->list[i].p;
            if (reached > (double)s->typical_p && i + 1 >= min_keep(s)) n = i + 1;
        }
        if (n == 0 && sorted >= p->n) n = p->n;
    }
    p->n = n;
}

// Exclude top choices: with a given probability, drops all tokens of at least the threshold but the least of them.
void hth_step_xtc(const hth_sampler_params *s, hth_pool *p, int64_t pos) {
    if (!(s->xtc_probability > 0) || s->xtc_threshold > 0.5f) return;
    if (hth_random_draw(s->seed, pos, DRAW_XTC) >= (double)s->xtc_probability) return;
    hth_pool_list(p);
    (void)hth_pool_softmax(p);
    size_t n_above = 0;
    const hth_candidate *least = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const hth_candidate *c = &p->list[i];
        if (c->p < s->xtc_threshold) continue;
        n_above++;
        if (!least || c->logit < least->logit || (c->logit == least->logit && c->id > least->id)) least = c;
    }
    if (n_above < 2 || p->n - (n_above - 1) < min_keep(s)) return;
    const int32_t kept = least->id;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i].p < s->xtc_threshold || p->list[i].id == kept) p->list[n++] = p->list[i];
    }
    p->n = n;
}

// ---- temperature

static void divide(hth_pool *p, float temperature) {
    if (temperature < LEAST_TEMPERATURE) {
        hth_pool_select(p, 1);
    } else if (!p->list) {
        p->temperature *= temperature;
    } else {
        for (size_t i = 0; i < p->n; i++) p->list[i].logit /= temperature;
    }
}

void hth_step_temperature(const hth_sampler_params *s, hth_pool *p) {
    float temperature = s->temperature;
    if (s->dynatemp_range > 0) {
        hth_pool_list(p);
        if (p->n <= 1) return;
        (void)hth_pool_softmax(p);
        const double least = fmax(0, (double)s->temperature - (double)s->dynatemp_range);
        const double most = (double)s->temperature + (double)s->dynatemp_range;
        temperature = (float)(least + (most - least) * pow(entropy_of(p) / log((double)p->n), (double)s->dynatemp_exponent));
    }
    divide(p, temperature);
}

// ---- mirostat

// Version 2: the tokens whose surprise is at most mu bits.
static void keep_by_surprise(const hth_sampler *s, hth_pool *p) {
    const double ln2 = 0.69314718055994531;
    if (p->list) {
        keep_from(&s->params, p, (float)(hth_pool_softmax(p) - (double)s->mu * ln2));
    } else {
        const double bound = (double)hth_pool_max(p) + (double)p->temperature * (log(hth_pool_sum(p)) - (double)s->mu * ln2);
        collect_from(&s->params, p, (float)bound);
    }
}

// Version 1: the exponent of Zipf's law, estimated from the 100 best, says how many tokens have the target surprise.
static void keep_by_zipf(const hth_sampler *s, hth_pool *p) {
    enum { N_BEST = 100 };
    hth_pool best = *p;
    if (p->list) hth_pool_sort(&best, N_BEST);
    else hth_pool_select(&best, N_BEST);
    double product = 0, square = 0;
    for (size_t i = 0; i + 1 < best.n && i + 1 < N_BEST; i++) {
        const double t = log((double)(i + 2) / (double)(i + 1));
        product += t * ((double)best.list[i].logit - (double)best.list[i + 1].logit);
        square += t * t;
    }
    const double exponent = square > 0 ? product / square : 1, e = exponent - 1;
    const double k = pow(e * pow(2, (double)s->mu) / (1 - pow((double)p->work->n_vocab, -e)), 1 / exponent);
    if (k < (double)(p->list ? p->n : (size_t)p->work->n_vocab)) hth_pool_select(p, k < 1 ? 1 : (size_t)k);
}

void hth_step_mirostat(const hth_sampler *s, hth_pool *p) {
    if (s->params.mirostat == 1) keep_by_zipf(s, p);
    else keep_by_surprise(s, p);
}
