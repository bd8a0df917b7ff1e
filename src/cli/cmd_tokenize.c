// hearth tokenize: text to token ids.
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "os/term.h"

typedef struct tokenize_values {
    const char *file;
    bool no_special, as_text, ids, pieces, json;
} tokenize_values;

static tokenize_values values;

static void print_ids(const hth_token_list *list) {
    for (size_t i = 0; i < list->n; i++) cli_print(i ? " %d" : "%d", list->ids[i]);
    cli_print("\n");
}

static int print_json(const hth_tokenizer *t, const hth_token_list *list) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, SIZE_MAX / 2);
    hth_json_out j = hth_json_out_make(&text, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_int(&j, "n_tokens", (int64_t)list->n);
    hth_json_out_begin(&j, "tokens", '[');
    for (size_t i = 0; i < list->n; i++) {
        size_t n;
        const char *spelling = hth_tokenizer_spelling(t, list->ids[i], &n);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_int(&j, "id", list->ids[i]);
        hth_json_out_str(&j, "piece", spelling ? spelling : "", spelling ? n : 0);
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static void print_pieces(const hth_tokenizer *t, const hth_token_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        size_t n;
        const char *spelling = hth_tokenizer_spelling(t, list->ids[i], &n);
        cli_print("%8d  ", list->ids[i]);
        if (spelling) cli_write_text(spelling, n);
        cli_print("\n");
    }
}

static hth_code read_text(const cli_args *args, hth_str *text, hth_err *err) {
    if (values.file) return cli_read_text(values.file, text, err);
    if (args->n < 2) return cli_read_stdin(text, err);
    size_t n = strlen(args->items[1]);
    return hth_str_append(text, args->items[1], n) ? HTH_OK : hth_fail_nomem(err, n);
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    if (values.file && args->n > 1) return cli_usage_error("tokenize", "give either TEXT or --file");
    hth_err err;
    hth_container *container = NULL;
    hth_tokenizer *t = NULL;
    hth_token_list list = {0};
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    unsigned flags = values.no_special ? 0 : HTH_TOKENIZE_ADD_SPECIAL;
    int exit_code = CLI_OK;
    hth_code code;
    HTH_TRY_GOTO(code, cli_open_tokenizer(args->items[0], &container, &t, &err), done);
    HTH_TRY_GOTO(code, read_text(args, &text, &err), done);
    hth_text_segment segment = {.text = hth_str_text(&text), .n = text.len, .is_user = values.as_text};
    HTH_TRY_GOTO(code, hth_tokenize(t, &segment, 1, flags, &list, &err), done);
    if (values.json) {
        exit_code = print_json(t, &list);
    } else if (values.pieces) {
        print_pieces(t, &list);
    } else {
        print_ids(&list);
    }
done:
    if (code != HTH_OK) exit_code = cli_fail(&err);
    hth_token_list_free(&list);
    hth_str_free(&text);
    if (t) hth_tokenizer_free(t);
    if (container) hth_container_close(container);
    return exit_code;
}

static const cli_option options[] = {
    CLI_OPTION_TEXT("file", 'f', "FILE", tokenize_values, file,
                    "read the text from a file, - for standard input"),
    CLI_OPTION_FLAG("no-special", 0, tokenize_values, no_special, "do not add BOS, EOS, [CLS], [SEP]"),
    CLI_OPTION_FLAG("as-text", 0, tokenize_values, as_text, "control tokens spelled in the text stay text"),
    CLI_OPTION_FLAG("ids", 0, tokenize_values, ids, "print ids on one line, separated by spaces (default)"),
    CLI_OPTION_FLAG("pieces", 0, tokenize_values, pieces, "print each token's id and spelling on a line"),
    CLI_OPTION_FLAG("json", 0, tokenize_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_tokenize = {
    .name = "tokenize",
    .arguments = "MODEL [TEXT]",
    .summary = "Turn text into token ids.",
    .details = "TEXT comes from the command line, --file, or standard input. MODEL may also be a\n"
               "tokenizer file (tokenizer.json, tekken.json, tokenizer.model, vocab.txt, *.tiktoken).",
    .options = options,
    .min_args = 1,
    .max_args = 2,
    .values = &values,
    .run = run,
};
