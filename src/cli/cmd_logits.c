// hearth logits: the scores of every token of the vocabulary after every token of a list, as a NumPy file.
#include <stdio.h>
#include <string.h>

#include "cli/adapters.h"
#include "cli/commands.h"
#include "cli/generate.h"
#include "cli/input.h"
#include "cli/load.h"
#include "cli/out.h"
#include "os/file.h"
#include "os/term.h"

typedef struct logits_values {
    const char *tokens, *out;
    int64_t n_chunk, n_ctx, n_thread;
    cli_kv kv;
    int activations;
    bool as_generated;
    cli_list loras;
    uint64_t memory;
} logits_values;

static logits_values values = {.activations = HTH_ACTIVATIONS_F32, .kv = CLI_KV(HTH_KV_F32)};

// Format version 1.0: magic, header length, a Python dictionary padded to a multiple of 64 bytes.
static hth_code write_npy_header(hth_file_out *f, size_t n_row, size_t n_col, hth_err *err) {
    char header[128];
    int n = snprintf(header + 10, sizeof header - 10,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", n_row, n_col);
    memset(header + 10 + n, ' ', sizeof header - 11 - (size_t)n);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); // 0x76 = 128 - 10
    header[sizeof header - 1] = '\n';
    return hth_file_out_write(f, header, sizeof header, err);
}

typedef struct writer {
    hth_file_out *file;
    hth_code code; // of the first failure
    hth_err err;
} writer;

static bool write_rows(void *user, int64_t first, int32_t n_row, int32_t n_vocab, const float *logits) {
    (void)first;
    writer *w = user;
    w->code = hth_file_out_write(w->file, logits, (size_t)n_row * (size_t)n_vocab * sizeof *logits, &w->err);
    return w->code == HTH_OK;
}

static hth_code compute(hth_engine *e, const hth_token_list *list, const hth_lora_set *adapters, writer *w, hth_err *err) {
    const hth_segment segment = {.tokens = list->ids, .n_token = list->n};
    const hth_request_params params = {.segments = &segment, .n_segment = 1, .no_output = true, .no_cache = true,
                                       .on_logits = write_rows, .user = w, .adapters = adapters,
                                       .prompt_as_generated = values.as_generated};
    const hth_code code = cli_request(e, &params, NULL, NULL, err);
    if (w->code != HTH_OK) *err = w->err; // what stopped the request
    return w->code != HTH_OK ? w->code : code;
}

static hth_code write_logits(hth_engine *e, const hth_token_list *list, hth_err *err) {
    cli_adapters adapters = {0};
    writer w = {0};
    hth_code code;
    HTH_TRY_GOTO(code, cli_adapters_open(&values.loras, hth_engine_model(e), &adapters, err), done);
    HTH_TRY_GOTO(code, hth_file_out_open(values.out, &w.file, err), done);
    HTH_TRY_GOTO(code, write_npy_header(w.file, list->n, (size_t)hth_engine_n_vocab(e), err), done);
    HTH_TRY_GOTO(code, compute(e, list, &adapters.set, &w, err), done);
    code = hth_file_out_commit(w.file, err);
    w.file = NULL;
done:
    hth_file_out_abort(w.file);
    cli_adapters_free(&adapters);
    return code;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    if (!values.tokens) return cli_usage_error("logits", "--tokens is missing");
    if (!values.out) return cli_usage_error("logits", "--out is missing");
    hth_err err;
    hth_token_list list = {0};
    hth_engine *engine = NULL;
    hth_code code;
    HTH_TRY_GOTO(code, cli_read_ids(values.tokens, &list, &err), done);
    if (list.n == 0) {
        code = hth_fail(&err, HTH_ERR_RANGE, "--tokens holds no token ids");
        goto done;
    }
    const hth_engine_params how = {.n_thread = (int)values.n_thread, .weight_bytes = values.memory, .n_sequence = 1,
                                   .n_ctx = values.n_ctx ? values.n_ctx : (int64_t)list.n, .n_chunk = (int32_t)values.n_chunk,
                                   .k_type = hth_kv_type_name((hth_kv_type)cli_kv_k(&values.kv)),
                                   .v_type = hth_kv_type_name((hth_kv_type)cli_kv_v(&values.kv)),
                                   .activations = hth_activations_name((hth_activations)values.activations)};
    HTH_TRY_GOTO(code, cli_open_engine(args->items[0], &how, &engine, &err), done);
    hth_term_catch_stop();
    code = write_logits(engine, &list, &err);
done:
    hth_engine_close(engine);
    hth_token_list_free(&list);
    if (code == HTH_ERR_CANCELLED) return CLI_INTERRUPTED;
    return code == HTH_OK ? CLI_OK : cli_fail(&err);
}

static const cli_option options[] = {
    CLI_OPTION_TEXT("tokens", 0, "IDS", logits_values, tokens,
                    "token ids: 1,2,3 or @FILE (@- for standard input)"),
    CLI_OPTION_TEXT("out", 'o', "FILE.npy", logits_values, out, "file to write"),
    CLI_OPTION_INT("chunk", 0, "N", logits_values, n_chunk, 1, 32768,
                   "tokens computed together; the result does not depend on it"),
    CLI_OPTION_INT("ctx", 'c', "N", logits_values, n_ctx, 1, 1e15,
                   "planned context (default: the number of tokens); decides long rope factors"),
    CLI_OPTION_FLAG("as-generated", 0, logits_values, as_generated,
                    "compute the rows as generated tokens, not as a prompt"),
    CLI_OPTION_LORA(logits_values, loras),
    CLI_OPTION_THREADS(logits_values, n_thread),
    CLI_OPTION_MEMORY(logits_values, memory),
    CLI_OPTION_KV(logits_values, kv, "f32"),
    CLI_OPTION_ACTIVATIONS(logits_values, activations, "f32"),
    {0},
};

const cli_command cli_command_logits = {
    .name = "logits",
    .arguments = "MODEL --tokens IDS --out FILE.npy",
    .summary = "Write a model's logits for a list of tokens.",
    .details = "Writes float32 [n_tokens, n_vocab] as NumPy reads it. No BOS is added and no tokenizer\n"
               "is needed. The file appears when it is complete, or not at all.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .values = &values,
    .run = run,
};
