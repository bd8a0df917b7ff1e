// hearth perplexity: how well a model predicts a text.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/generate.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "os/clock.h"
#include "os/term.h"

#define DEFAULT_WINDOW 512

typedef struct perplexity_values {
    const char *file;
    int64_t n_ctx, n_window, n_thread;
    cli_kv kv;
    int activations;
    bool json;
    uint64_t memory;
} perplexity_values;

static perplexity_values values = {.activations = HTH_ACTIVATIONS_F32, .kv = CLI_KV(HTH_KV_F32)};

// Sums over all scored tokens.
typedef struct score {
    const hth_token *tokens; // of the window in work
    int64_t n_ctx;
    int64_t n;
    double nll, nll2; // sum of -log p and of its square
    bool is_bad;      // a logit is no number
} score;

static double log_probability(const float *logits, int64_t n, hth_token token) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) max = (double)logits[i] > max ? (double)logits[i] : max;
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - max);
    return (double)logits[token] - max - log(sum);
}

static bool add_rows(void *user, int64_t first, int32_t n_row, int32_t n_vocab, const float *logits) {
    score *s = user;
    for (int32_t i = 0; i < n_row; i++) {
        int64_t next = first + i + 1;
        if (next >= s->n_ctx) break; // the last row predicts a token outside the window
        double nll = -log_probability(logits + (size_t)i * (size_t)n_vocab, n_vocab, s->tokens[next]);
        s->is_bad = !isfinite(nll);
        if (s->is_bad) return false;
        s->nll += nll;
        s->nll2 += nll * nll;
        s->n++;
    }
    return true;
}

static hth_code score_window(hth_engine *e, score *s, hth_err *err) {
    const hth_segment segment = {.tokens = s->tokens, .n_token = (size_t)s->n_ctx};
    const hth_request_params params = {.segments = &segment, .n_segment = 1, .no_output = true, .no_cache = true,
                                       .on_logits = add_rows, .logits_from = s->n_ctx / 2, .user = s};
    const hth_code code = cli_request(e, &params, NULL, NULL, err);
    return s->is_bad ? hth_fail(err, HTH_ERR_NUMBERS, "logits are not numbers") : code;
}

// Windows of n_ctx tokens, the first of each replaced by BOS where the model wants one.
static hth_code score_all(hth_engine *e, hth_token_list *list, int64_t n_window, score *s, hth_err *err) {
    const hth_tokenizer *t = hth_engine_tokenizer(e);
    hth_token bos = hth_tokenizer_special(t, HTH_SPECIAL_BOS);
    bool adds_bos = hth_tokenizer_adds_bos(t) && bos >= 0;
    cli_progress progress = cli_progress_make("scoring");
    hth_code code = HTH_OK;
    for (int64_t i = 0; i < n_window && code == HTH_OK; i++) {
        (void)cli_progress_step(&progress, i * s->n_ctx, n_window * s->n_ctx);
        hth_token *tokens = list->ids + i * s->n_ctx;
        if (adds_bos) tokens[0] = bos;
        s->tokens = tokens;
        code = score_window(e, s, err);
    }
    cli_progress_end(&progress);
    return code;
}

static int print_result(const score *s, int64_t n_window, int64_t n_tokens, double seconds) {
    double mean = s->nll / (double)s->n, ppl = exp(mean);
    double variance = s->nll2 / (double)s->n - mean * mean;
    double error = s->n > 1 && variance > 0 ? ppl * sqrt(variance / (double)(s->n - 1)) : 0;
    double speed = (double)(n_window * s->n_ctx) / seconds;
    if (!values.json) {
        cli_print("perplexity %.4f +/- %.4f (%lld tokens scored in %lld windows of %lld; %.0f tokens/s)\n",
                  ppl, error, (long long)s->n, (long long)n_window, (long long)s->n_ctx, speed);
        return CLI_OK;
    }
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, 1 << 16);
    hth_json_out j = hth_json_out_make(&text, true);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_num(&j, "perplexity", ppl);
    hth_json_out_num(&j, "standard_error", error);
    hth_json_out_num(&j, "mean_nll", mean);
    hth_json_out_int(&j, "n_scored", s->n);
    hth_json_out_int(&j, "n_window", n_window);
    hth_json_out_int(&j, "n_ctx", s->n_ctx);
    hth_json_out_int(&j, "n_tokens", n_tokens);
    hth_json_out_num(&j, "tokens_per_second", speed);
    hth_json_out_end(&j, '}');
    int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static hth_code measure(hth_engine *e, hth_token_list *list, int *exit_code, hth_err *err) {
    const int64_t n_ctx_train = hth_engine_model(e)->desc.n_ctx_train;
    int64_t n_ctx = values.n_ctx;
    if (n_ctx == 0) n_ctx = n_ctx_train > 1 && n_ctx_train < DEFAULT_WINDOW ? n_ctx_train : DEFAULT_WINDOW;
    int64_t n_window = (int64_t)list->n / n_ctx;
    if (n_window == 0) {
        return hth_fail(err, HTH_ERR_RANGE,
                        "the text has %zu tokens, fewer than one window of %lld (see --ctx)", list->n,
                        (long long)n_ctx);
    }
    if (values.n_window && values.n_window < n_window) n_window = values.n_window;
    score s = {.n_ctx = n_ctx};
    uint64_t begin = hth_clock_ns();
    HTH_TRY(score_all(e, list, n_window, &s, err));
    *exit_code = print_result(&s, n_window, (int64_t)list->n, (double)(hth_clock_ns() - begin) * 1e-9);
    return HTH_OK;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    if (!values.file) return cli_usage_error("perplexity", "--file is missing");
    hth_err err;
    hth_token_list list = {0};
    hth_engine *engine;
    int exit_code = CLI_OK;
    const hth_engine_params how = {.n_thread = (int)values.n_thread, .weight_bytes = values.memory, .n_sequence = 1,
                                   .n_ctx = values.n_ctx ? values.n_ctx : DEFAULT_WINDOW,
                                   .k_type = hth_kv_type_name((hth_kv_type)cli_kv_k(&values.kv)),
                                   .v_type = hth_kv_type_name((hth_kv_type)cli_kv_v(&values.kv)),
                                   .activations = hth_activations_name((hth_activations)values.activations)};
    hth_code code = cli_open_engine_and_text(args->items[0], &how, values.file, &engine, &list, &err);
    hth_term_catch_stop();
    if (code == HTH_OK) code = measure(engine, &list, &exit_code, &err);
    hth_engine_close(engine);
    hth_token_list_free(&list);
    if (code == HTH_ERR_CANCELLED) return CLI_INTERRUPTED;
    return code == HTH_OK ? exit_code : cli_fail(&err);
}

static const cli_option options[] = {
    CLI_OPTION_TEXT("file", 'f', "FILE", perplexity_values, file, "the text, - for standard input"),
    CLI_OPTION_INT("ctx", 'c', "N", perplexity_values, n_ctx, 2, 1e9, "tokens in a window (default: 512)"),
    CLI_OPTION_INT("windows", 0, "N", perplexity_values, n_window, 1, 1e9, "score at most so many windows"),
    CLI_OPTION_THREADS(perplexity_values, n_thread),
    CLI_OPTION_MEMORY(perplexity_values, memory),
    CLI_OPTION_KV(perplexity_values, kv, "f32"),
    CLI_OPTION_ACTIVATIONS(perplexity_values, activations, "f32"),
    CLI_OPTION_FLAG("json", 0, perplexity_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_perplexity = {
    .name = "perplexity",
    .arguments = "MODEL --file FILE",
    .summary = "Measure how well a model predicts a text.",
    .details = "The text's tokens are cut into windows of N (--ctx) that do not overlap; what is left at\n"
               "the end is not used. Each window starts from an empty context, its first token replaced\n"
               "by BOS where the model wants one. The tokens at places N/2+1 .. N-1 of each window\n"
               "(counted from 0) are scored: perplexity = exp(mean of -log p), with its standard error.\n"
               "llama.cpp's llama-perplexity does the same.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .values = &values,
    .run = run,
};
