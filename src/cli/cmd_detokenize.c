// hearth detokenize: token ids to text.
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "os/term.h"

typedef struct detokenize_values {
    bool no_special, json;
} detokenize_values;

static detokenize_values values;

static hth_code read_ids(const cli_args *args, hth_token_list *list, hth_err *err) {
    for (int i = 1; i < args->n; i++)
        HTH_TRY(cli_parse_ids(args->items[i], strlen(args->items[i]), list, err));
    return args->n > 1 ? HTH_OK : cli_read_ids("@-", list, err);
}

static hth_code detokenize(const hth_tokenizer *t, const hth_token_list *list, hth_str *text, hth_err *err) {
    hth_detokenizer d = hth_detokenizer_make(t, !values.no_special);
    for (size_t i = 0; i < list->n; i++) HTH_TRY(hth_detokenizer_push(&d, list->ids[i], text, err));
    return hth_detokenizer_end(&d, text, err);
}

static int print_text(const hth_str *text) {
    if (values.json) {
        hth_str out;
        hth_str_init(&out, HTH_MEM_TEXT, SIZE_MAX / 2);
        hth_json_out j = hth_json_out_make(&out, false);
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_str(&j, "text", hth_str_text(text), text->len);
        hth_json_out_end(&j, '}');
        int code = cli_print_json(&out);
        hth_str_free(&out);
        return code;
    }
    cli_write_text(hth_str_text(text), text->len);
    if (hth_term_is_stdout_tty()) cli_print("\n"); // files and pipes get the exact text
    return CLI_OK;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    hth_err err;
    hth_container *container = NULL;
    hth_tokenizer *t = NULL;
    hth_token_list list = {0};
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code;
    int exit_code = CLI_OK;
    HTH_TRY_GOTO(code, cli_open_tokenizer(args->items[0], &container, &t, &err), done);
    HTH_TRY_GOTO(code, read_ids(args, &list, &err), done);
    HTH_TRY_GOTO(code, detokenize(t, &list, &text, &err), done);
    exit_code = print_text(&text);
done:
    if (code != HTH_OK) exit_code = cli_fail(&err);
    hth_token_list_free(&list);
    hth_str_free(&text);
    if (t) hth_tokenizer_free(t);
    if (container) hth_container_close(container);
    return exit_code;
}

static const cli_option options[] = {
    CLI_OPTION_FLAG("no-special", 0, detokenize_values, no_special, "leave out control tokens"),
    CLI_OPTION_FLAG("json", 0, detokenize_values, json, "print JSON"),
    {0},
};

const cli_command cli_command_detokenize = {
    .name = "detokenize",
    .arguments = "MODEL [ID...]",
    .summary = "Turn token ids into text.",
    .details = "Ids are separated by spaces or commas and come from the command line or standard input.\n"
               "The exact text is printed; a newline follows only on a terminal. Bytes that make no\n"
               "character become U+FFFD.",
    .options = options,
    .min_args = 1,
    .max_args = -1,
    .values = &values,
    .run = run,
};
