// Runs the sampler for the tests.
//
//   probe_sampler LOGITS [NAME=VALUE...]
//
// LOGITS holds little-endian floats, one per token. Names are those of llama-server's parameters, and: samplers,
// history=FILE (int32 ids that were accepted), mask=FILE (bytes, one per token), ban=ID, bias=ID:X, breaker=TEXT with
// model=FILE, pos=N, time=N (microseconds per pick of N picks on standard error), draws=N (N int32 ids at positions
// from pos on instead of the distribution). Standard output gets pairs of int32 id and float log-probability as the
// draw sees them, or with raw=1 as the model gives them, best first.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/breakers.h"
#include "engine/sampler.h"
#include "os/clock.h"
#include "os/file.h"

#define MAX_LIST 64
#define MAX_BYTES ((uint64_t)1 << 30)

typedef struct options {
    hth_sampler_params params;
    hth_logit_bias bias[MAX_LIST];
    const char *breakers[MAX_LIST];
    size_t n_breaker;
    const char *history, *mask, *model;
    long long pos, n_time, n_draw;
    bool raw;
} options;

static bool take_number(options *o, const char *name, size_t n, const char *value) {
    hth_sampler_params *p = &o->params;
    const struct {
        const char *name;
        float *f;
        int32_t *i;
    } all[] = {{"temperature", &p->temperature, NULL}, {"top_k", NULL, &p->top_k}, {"top_p", &p->top_p, NULL},
               {"min_p", &p->min_p, NULL}, {"typical_p", &p->typical_p, NULL}, {"top_n_sigma", &p->top_n_sigma, NULL},
               {"dynatemp_range", &p->dynatemp_range, NULL}, {"dynatemp_exponent", &p->dynatemp_exponent, NULL},
               {"xtc_probability", &p->xtc_probability, NULL}, {"xtc_threshold", &p->xtc_threshold, NULL},
               {"repeat_last_n", NULL, &p->penalty_last_n}, {"repeat_penalty", &p->repeat_penalty, NULL},
               {"presence_penalty", &p->presence_penalty, NULL}, {"frequency_penalty", &p->frequency_penalty, NULL},
               {"dry_multiplier", &p->dry_multiplier, NULL}, {"dry_base", &p->dry_base, NULL},
               {"dry_allowed_length", NULL, &p->dry_allowed_length}, {"dry_penalty_last_n", NULL, &p->dry_last_n},
               {"mirostat", NULL, &p->mirostat}, {"mirostat_tau", &p->mirostat_tau, NULL},
               {"mirostat_eta", &p->mirostat_eta, NULL}, {"min_keep", NULL, &p->min_keep}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strlen(all[i].name) != n || memcmp(all[i].name, name, n) != 0) continue;
        if (all[i].f) *all[i].f = strtof(value, NULL);
        else *all[i].i = (int32_t)strtol(value, NULL, 10);
        return true;
    }
    return false;
}

static hth_code take(options *o, const char *text, hth_err *err) {
    const char *equals = strchr(text, '='), *value = equals ? equals + 1 : "";
    const size_t n = equals ? (size_t)(equals - text) : strlen(text);
    if (take_number(o, text, n, value)) return HTH_OK;
    if (strncmp(text, "samplers=", 9) == 0) return hth_sampler_parse_order(value, &o->params, err);
    if (strncmp(text, "history=", 8) == 0) o->history = value;
    else if (strncmp(text, "mask=", 5) == 0) o->mask = value;
    else if (strncmp(text, "model=", 6) == 0) o->model = value;
    else if (strncmp(text, "breaker=", 8) == 0 && o->n_breaker < MAX_LIST) o->breakers[o->n_breaker++] = value;
    else if (strncmp(text, "seed=", 5) == 0) o->params.seed = strtoull(value, NULL, 10);
    else if (strncmp(text, "pos=", 4) == 0) o->pos = strtoll(value, NULL, 10);
    else if (strncmp(text, "time=", 5) == 0) o->n_time = strtoll(value, NULL, 10);
    else if (strncmp(text, "draws=", 6) == 0) o->n_draw = strtoll(value, NULL, 10);
    else if (strcmp(text, "raw=1") == 0) o->raw = true;
    else if (strncmp(text, "bias=", 5) == 0 && strchr(value, ':') && o->params.n_bias < MAX_LIST) {
        o->bias[o->params.n_bias++] = (hth_logit_bias){(int32_t)strtol(value, NULL, 10), strtof(strchr(value, ':') + 1, NULL)};
        o->params.bias = o->bias;
    } else {
        return hth_fail(err, HTH_ERR_RANGE, "no such option: %s", text);
    }
    return HTH_OK;
}

static hth_code accept_file(hth_sampler *s, const char *path, hth_err *err) {
    char *ids;
    size_t n;
    HTH_TRY(hth_file_read(path, HTH_MEM_MISC, MAX_BYTES, &ids, &n, err));
    hth_code code = HTH_OK;
    for (size_t i = 0; i + 4 <= n && code == HTH_OK; i += 4) {
        int32_t id;
        memcpy(&id, ids + i, 4);
        code = hth_sampler_accept(s, id, err);
    }
    hth_free(ids);
    return code;
}

static hth_code read_mask(const char *path, uint32_t **out, int32_t n_vocab, hth_err *err) {
    char *bytes;
    size_t n;
    HTH_TRY(hth_file_read(path, HTH_MEM_MISC, MAX_BYTES, &bytes, &n, err));
    *out = hth_calloc(HTH_MEM_MISC, (size_t)n_vocab / 32 + 1, sizeof **out);
    for (int32_t i = 0; *out && i < n_vocab && (size_t)i < n; i++) (*out)[i / 32] |= (uint32_t)(bytes[i] != 0) << i % 32;
    hth_free(bytes);
    return *out ? HTH_OK : hth_fail_nomem(err, (uint64_t)n_vocab / 8);
}

static hth_code time_picks(hth_sampler *s, hth_pick_params *ask, long long n, hth_err *err) {
    hth_pick pick;
    const uint64_t begin = hth_clock_ns();
    for (long long i = 0; i < n; i++) {
        ask->pos++;
        HTH_TRY(hth_sampler_pick_from(s, ask, &pick, err));
    }
    fprintf(stderr, "%.1f\n", (double)(hth_clock_ns() - begin) * 1e-3 / (double)n);
    return HTH_OK;
}

static hth_code write_result(hth_sampler *s, const options *o, const float *logits, int32_t n_vocab, hth_err *err) {
    hth_pick pick;
    uint32_t *mask = NULL;
    hth_logprob *top = hth_calloc(HTH_MEM_MISC, (size_t)n_vocab, sizeof *top);
    if (!top) return hth_fail_nomem(err, (uint64_t)n_vocab * sizeof *top);
    hth_code code = o->mask ? read_mask(o->mask, &mask, n_vocab, err) : HTH_OK;
    hth_pick_params ask = {.logits = logits, .pos = o->pos, .allowed = mask};
    if (code == HTH_OK && o->n_time > 0) code = time_picks(s, &ask, o->n_time, err);
    for (long long i = 0; i < o->n_draw && code == HTH_OK; i++) {
        ask.pos = o->pos + i;
        code = hth_sampler_pick_from(s, &ask, &pick, err);
        if (code == HTH_OK) fwrite(&pick.token, sizeof pick.token, 1, stdout);
    }
    ask.want_logprobs = true;
    ask.after = !o->raw;
    ask.top = top;
    ask.n_top = n_vocab;
    if (code == HTH_OK && o->n_draw == 0 && o->n_time == 0) {
        code = hth_sampler_pick_from(s, &ask, &pick, err);
        if (code == HTH_OK) fwrite(top, sizeof *top, (size_t)pick.n_top, stdout);
    }
    hth_free(mask);
    hth_free(top);
    return code;
}

static hth_code run(options *o, const char *path, hth_err *err) {
    char *logits;
    size_t n;
    HTH_TRY(hth_file_read(path, HTH_MEM_MISC, MAX_BYTES, &logits, &n, err));
    hth_tokenizer *t = NULL;
    hth_breakers *breakers = NULL;
    hth_sampler *s = NULL;
    const int32_t n_vocab = (int32_t)(n / sizeof(float));
    hth_code code = HTH_OK;
    if (o->model) {
        HTH_TRY_GOTO(code, hth_tokenizer_load_file(o->model, &t, err), done);
        HTH_TRY_GOTO(code, hth_breakers_new(t, o->breakers, o->n_breaker, &breakers, err), done);
        o->params.dry_breakers = breakers;
    }
    HTH_TRY_GOTO(code, hth_sampler_new(&o->params, n_vocab, &s, err), done);
    if (o->history) HTH_TRY_GOTO(code, accept_file(s, o->history, err), done);
    code = write_result(s, o, (const float *)(const void *)logits, n_vocab, err);
done:
    hth_sampler_free(s);
    hth_breakers_free(breakers);
    if (t) hth_tokenizer_free(t);
    hth_free(logits);
    return code;
}

int main(int argc, char **argv) {
    hth_err err;
    options o = {.params = hth_sampler_neutral()};
    hth_code code = argc > 1 ? HTH_OK : hth_fail(&err, HTH_ERR_RANGE, "which logits?");
    for (int i = 2; i < argc && code == HTH_OK; i++) code = take(&o, argv[i], &err);
    if (code == HTH_OK) code = run(&o, argv[1], &err);
    if (code == HTH_OK) return 0;
    fprintf(stderr, "%s\n", err.msg);
    return 1;
}
