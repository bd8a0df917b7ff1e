// hearth imatrix: which columns of a model's matrices matter, measured on a text.
#include <string.h>

#include "cli/commands.h"
#include "cli/generate.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "model/importance.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/term.h"

#define DEFAULT_CTX 512

typedef struct imatrix_values {
    const char *file, *out;
    int64_t n_ctx, n_chunk, n_thread;
    int activations;
    bool with_output, force, json;
    uint64_t memory;
} imatrix_values;

static imatrix_values values = {.out = "imatrix.gguf"};

typedef struct result {
    int64_t n_chunk, n_ctx;
    size_t n_weight;
    double seconds;
} result;

static int print_result(const result *r) {
    if (!values.json) {
        cli_print("%s: importance of %zu matrices from %lld chunks of %lld tokens, %.0f tokens/s\n", values.out, r->n_weight,
                  (long long)r->n_chunk, (long long)r->n_ctx, (double)(r->n_chunk * r->n_ctx) / r->seconds);
        return CLI_OK;
    }
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, 1 << 16);
    hth_json_out j = hth_json_out_make(&text, true);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_text(&j, "out", values.out);
    hth_json_out_int(&j, "matrices", (int64_t)r->n_weight);
    hth_json_out_int(&j, "chunks", r->n_chunk);
    hth_json_out_int(&j, "chunk_size", r->n_ctx);
    hth_json_out_num(&j, "seconds", r->seconds);
    hth_json_out_end(&j, '}');
    const int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static bool pass_over(void *user, int64_t first, int32_t n_row, int32_t n_vocab, const float *logits) {
    (void)user, (void)first, (void)n_row, (void)n_vocab, (void)logits;
    return true; // that they were made is enough
}

static hth_code run_chunk(hth_engine *e, const hth_token *tokens, int64_t n, hth_err *err) {
    const hth_segment segment = {.tokens = tokens, .n_token = (size_t)n};
    const hth_request_params params = {.segments = &segment, .n_segment = 1, .no_output = true, .no_cache = true,
                                       .on_logits = values.with_output ? pass_over : NULL};
    return cli_request(e, &params, NULL, NULL, err);
}

// Chunks that do not overlap, the first token of each replaced by BOS where the model wants one.
static hth_code run_chunks(hth_engine *e, hth_importance *im, hth_token_list *list, const result *r, hth_err *err) {
    const hth_tokenizer *t = hth_engine_tokenizer(e);
    const hth_token bos = hth_tokenizer_special(t, HTH_SPECIAL_BOS);
    const bool adds_bos = hth_tokenizer_adds_bos(t) && bos >= 0;
    const hth_linear_hook hook = hth_importance_hook(im);
    cli_progress progress = cli_progress_make("measuring");
    hth_code code = HTH_OK;
    hth_engine_watch(e, &hook);
    for (int64_t i = 0; i < r->n_chunk && code == HTH_OK; i++) {
        (void)cli_progress_step(&progress, i * r->n_ctx, r->n_chunk * r->n_ctx);
        hth_token *tokens = list->ids + i * r->n_ctx;
        if (adds_bos) tokens[0] = bos;
        code = run_chunk(e, tokens, r->n_ctx, err);
    }
    hth_engine_watch(e, NULL);
    cli_progress_end(&progress);
    return code;
}

static hth_code measure(hth_engine *e, hth_token_list *list, int *exit_code, hth_err *err) {
    const hth_model *m = hth_engine_model(e);
    const hth_desc *d = &m->desc;
    result r = {.n_ctx = values.n_ctx};
    if (!hth_container_gguf(m->container)) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s: importance is measured on GGUF files, whose tensors quantize knows",
                        hth_container_path(m->container));
    }
    if (r.n_ctx == 0) r.n_ctx = d->n_ctx_train > 1 && d->n_ctx_train < DEFAULT_CTX ? d->n_ctx_train : DEFAULT_CTX;
    r.n_chunk = (int64_t)list->n / r.n_ctx;
    if (r.n_chunk == 0) {
        return hth_fail(err, HTH_ERR_RANGE, "the text has %zu tokens, fewer than one chunk of %lld (see --ctx)", list->n,
                        (long long)r.n_ctx);
    }
    if (!d->causal) return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s is an encoder: importance is measured on decoders", d->family);
    if (values.n_chunk && values.n_chunk < r.n_chunk) r.n_chunk = values.n_chunk;
    hth_importance *im;
    HTH_TRY(hth_importance_new(m, values.with_output, &im, err));
    const uint64_t begin = hth_clock_ns();
    const hth_imatrix_sums *sums;
    hth_code code = run_chunks(e, im, list, &r, err);
    if (code == HTH_OK) code = hth_importance_sums(im, &sums, &r.n_weight, err);
    r.seconds = (double)(hth_clock_ns() - begin) * 1e-9;
    if (code == HTH_OK)
        code = hth_imatrix_write(values.out, sums, r.n_weight, values.file, (uint32_t)r.n_chunk, (uint32_t)r.n_ctx, err);
    hth_importance_free(im);
    if (code == HTH_OK) *exit_code = print_result(&r);
    return code;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    if (!values.file) return cli_usage_error("imatrix", "--file is missing");
    if (!values.force && hth_path_kind_of(values.out) == HTH_PATH_FILE)
        return cli_error("%s: the file is there already (--force replaces it)", values.out);
    if (hth_path_is_same(values.out, args->items[0]) || hth_path_is_same(values.out, values.file))
        return cli_error("%s: cannot write over a file that is read", values.out);
    hth_err err;
    hth_token_list list = {0};
    hth_engine *engine;
    int exit_code = CLI_OK;
    const hth_engine_params how = {.n_thread = (int)values.n_thread, .weight_bytes = values.memory, .n_sequence = 1,
                                   .n_ctx = values.n_ctx ? values.n_ctx : DEFAULT_CTX,
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
    CLI_OPTION_TEXT("file", 'f', "FILE", imatrix_values, file, "the text, - for standard input"),
    CLI_OPTION_TEXT("out", 'o', "OUT", imatrix_values, out, "the file to write (default: imatrix.gguf)"),
    CLI_OPTION_INT("chunks", 0, "N", imatrix_values, n_chunk, 1, 1e9, "read at most so many chunks"),
    CLI_OPTION_INT("ctx", 'c', "N", imatrix_values, n_ctx, 2, 1e9, "tokens in a chunk (default: 512)"),
    CLI_OPTION_FLAG("output", 0, imatrix_values, with_output, "the output matrix too"),
    CLI_OPTION_THREADS(imatrix_values, n_thread),
    CLI_OPTION_MEMORY(imatrix_values, memory),
    CLI_OPTION_ACTIVATIONS(imatrix_values, activations, "auto"),
    CLI_OPTION_FLAG("force", 0, imatrix_values, force, "replace OUT when it is there"),
    CLI_OPTION_FLAG("json", 0, imatrix_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_imatrix = {
    .name = "imatrix",
    .arguments = "MODEL --file FILE",
    .summary = "Measure on a text which weights matter, for quantize.",
    .details = "Runs the text through MODEL (a GGUF file, best one that is not quantized or only to Q8_0) in\n"
               "chunks that do not overlap, and writes for each matrix the sums of squares of what its\n"
               "columns are multiplied with: an importance matrix as llama.cpp reads and writes it. A text\n"
               "of some hundred thousand words of the kind that the model will meet is plenty.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .values = &values,
    .run = run,
};
