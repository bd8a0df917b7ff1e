// hearth run: talk to a model, or ask it once.
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/input.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/repl.h"
#include "os/term.h"

typedef struct run_values {
    cli_chat_params chat;
    bool json, verbose;
} run_values;

static run_values values = {
    .chat = {.sampling = CLI_SAMPLING, .kv = CLI_KV(HTH_KV_F16)}};

static double per_second(int64_t n, uint64_t ns) {
    return ns ? (double)n / ((double)ns * 1e-9) : 0;
}

static void print_timings(const cli_chat *c, const cli_answer *a) {
    if (!values.verbose) return;
    hth_mem_stats mem;
    char text[16];
    hth_mem_get_stats(&mem);
    fprintf(stderr, "\nload      %.0f ms\n", (double)c->load_ns * 1e-6);
    fprintf(stderr, "prompt    %lld tokens (%lld computed before), %.0f ms, %.1f tokens/s\n",
            (long long)a->n_prompt, (long long)a->n_cached, (double)a->prefill_ns * 1e-6,
            per_second(a->n_prompt - a->n_cached, a->prefill_ns));
    fprintf(stderr, "answer    %lld tokens, %.0f ms, %.1f tokens/s, ended by %s\n", (long long)a->n_generated,
            (double)a->decode_ns * 1e-6, per_second(a->n_step, a->decode_ns), cli_stop_name(a->stop));
    if (a->n_drafted > 0) {
        fprintf(stderr, "guesses   %lld tokens, %lld of them right\n", (long long)a->n_drafted, (long long)a->n_accepted);
    }
    if (a->n_forced > 0) fprintf(stderr, "forced    %lld tokens\n", (long long)a->n_forced);
    fprintf(stderr, "threads   %d\nseed      %llu\n", hth_engine_n_thread(c->engine),
            (unsigned long long)c->sampler.params.seed);
    fprintf(stderr, "weights   %s%s\nmemory   ", cli_bytes(hth_engine_model(c->engine)->weight_bytes, text),
            hth_engine_model(c->engine)->stream      ? ", experts on disk"
            : hth_engine_model(c->engine)->own_bytes ? " in memory"
                                                     : " mapped");
    for (int i = 0; i < HTH_MEM_TAG_COUNT; i++) {
        if (mem.n_bytes[i] == 0) continue;
        fprintf(stderr, " %s %s,", hth_mem_tag_name((hth_mem_tag)i), cli_bytes(mem.n_bytes[i], text));
    }
    fprintf(stderr, " peak %s\n", cli_bytes(mem.peak_bytes, text));
}

static void write_read(hth_json_out *j, const hth_chat_answer *a) {
    hth_json_out_str(j, "text", hth_str_text(&a->content), a->content.len);
    if (a->reasoning.len > 0) {
        hth_json_out_str(j, "reasoning", a->reasoning.p, a->reasoning.len);
    } else {
        hth_json_out_text(j, "reasoning", NULL);
    }
    hth_json_out_begin(j, "tool_calls", '[');
    for (size_t i = 0; i < a->n_call; i++) {
        const hth_chat_answer_call *c = &a->calls[i];
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_str(j, "id", hth_str_text(&c->id), c->id.len);
        hth_json_out_str(j, "name", hth_str_text(&c->name), c->name.len);
        hth_json_out_str(j, "arguments", hth_str_text(&c->arguments), c->arguments.len);
        hth_json_out_bool(j, "is_cut", c->is_cut);
        hth_json_out_end(j, '}');
    }
    hth_json_out_end(j, ']');
}

static void write_json(hth_json_out *j, const cli_chat *c, const cli_answer *a, const char *path) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "model", path);
    hth_json_out_text(j, "chat_format", c->format ? hth_chat_template_name(c->format) : NULL);
    write_read(j, &a->read);
    hth_json_out_text(j, "stop_reason", cli_stop_name(a->stop));
    hth_json_out_bool(j, "context_full", a->stop == CLI_STOP_CONTEXT);
    hth_json_out_int(j, "n_ctx", hth_engine_n_ctx(c->engine));
    hth_json_out_int(j, "seed", (int64_t)c->sampler.params.seed);
    hth_json_out_begin(j, "tokens", '{');
    hth_json_out_int(j, "prompt", a->n_prompt);
    hth_json_out_int(j, "generated", a->n_generated);
    hth_json_out_int(j, "drafted", a->n_drafted);
    hth_json_out_int(j, "accepted", a->n_accepted);
    hth_json_out_int(j, "forced", a->n_forced);
    hth_json_out_end(j, '}');
    hth_json_out_begin(j, "timings", '{');
    hth_json_out_num(j, "load_ms", (double)c->load_ns * 1e-6);
    hth_json_out_num(j, "prefill_ms", (double)a->prefill_ns * 1e-6);
    hth_json_out_num(j, "decode_ms", (double)a->decode_ns * 1e-6);
    hth_json_out_num(j, "prefill_tokens_per_second", per_second(a->n_prompt - a->n_cached, a->prefill_ns));
    hth_json_out_num(j, "decode_tokens_per_second", per_second(a->n_step, a->decode_ns));
    hth_json_out_end(j, '}');
    cli_residency_json(j, hth_engine_model(c->engine));
    hth_json_out_end(j, '}');
}

static int finish(const cli_chat *c, const cli_answer *a, const char *path) {
    int code = CLI_OK;
    if (values.json) {
        hth_str text;
        hth_str_init(&text, HTH_MEM_TEXT, SIZE_MAX / 2);
        hth_json_out j = hth_json_out_make(&text, true);
        write_json(&j, c, a, path);
        code = cli_print_json(&text);
        hth_str_free(&text);
    } else {
        cli_print("\n");
        cli_flush();
    }
    cli_print_stop(c, a);
    print_timings(c, a);
    if (a->stop == CLI_STOP_INTERRUPTED && cli_can_write()) return CLI_INTERRUPTED;
    return code;
}

static int ask_once(cli_chat *c, const hth_str *prompt, const char *path) {
    hth_err err;
    cli_answer answer;
    if (prompt->len == 0) return cli_error("the prompt is empty");
    cli_printer printer = {.n_line = 0};
    hth_chat_sink sink = values.json ? NULL : cli_printer_take;
    const hth_code done = cli_chat_ask(c, hth_str_text(prompt), prompt->len, sink, &printer, &answer, &err);
    cli_printer_end(&printer);
    if (done != HTH_OK) return cli_fail(&err);
    int code = finish(c, &answer, path);
    cli_answer_free(&answer);
    return code;
}

// The prompt of a single question: the argument, the pipe, or both with a blank line between.
static hth_code read_prompt(const cli_args *args, hth_str *prompt, hth_err *err) {
    if (args->n > 1 && !hth_str_puts(prompt, args->items[1])) return hth_fail_nomem(err, prompt->len);
    if (hth_term_is_stdin_tty()) return HTH_OK;
    hth_str piped;
    hth_str_init(&piped, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code = cli_read_stdin(&piped, err);
    if (code == HTH_OK && !values.chat.raw) { // the newline that ends a file is not part of the question
        while (piped.len > 0 && (piped.p[piped.len - 1] == '\n' || piped.p[piped.len - 1] == '\r'))
            piped.len--;
    }
    if (code == HTH_OK && prompt->len > 0 && piped.len > 0) hth_str_puts(prompt, "\n\n");
    if (code == HTH_OK && !hth_str_append(prompt, hth_str_text(&piped), piped.len)) {
        code = hth_fail_nomem(err, piped.len);
    }
    hth_str_free(&piped);
    return code;
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    bool is_interactive = args->n == 1 && hth_term_is_stdin_tty();
    if (values.chat.suffix) values.chat.raw = true;
    if (values.chat.suffix && is_interactive) return cli_usage_error("run", "--suffix needs a prompt");
    if (values.chat.raw && values.chat.system)
        return cli_usage_error("run", "--system has no place with --raw");
    if (values.chat.raw && values.chat.format)
        return cli_usage_error("run", "give either --raw or --chat-format");
    if (values.chat.raw && (values.chat.think || values.chat.think_budget || values.chat.tools))
        return cli_usage_error("run", "--think, --think-budget and --tools have no place with --raw");
    if (values.chat.template_file && (values.chat.raw || values.chat.format))
        return cli_usage_error("run", "--chat-template stands alone, without --raw or --chat-format");
    const cli_structured_params *shape = &values.chat.structured;
    if ((shape->schema != NULL) + (shape->grammar != NULL) + (shape->regex != NULL) > 1)
        return cli_usage_error("run", "give one of --schema, --grammar and --regex");
    if (is_interactive && values.json) return cli_usage_error("run", "--json needs a prompt");
    hth_err err;
    cli_chat chat;
    hth_str prompt;
    hth_str_init(&prompt, HTH_MEM_TEXT, CLI_MAX_TEXT);
    int code;
    if (!is_interactive && read_prompt(args, &prompt, &err) != HTH_OK) {
        code = cli_fail(&err);
    } else if (cli_chat_open(args->items[0], &values.chat, &chat, &err) != HTH_OK) {
        code = cli_fail(&err);
    } else {
        if (chat.format && hth_chat_template_source(chat.format) == HTH_CHAT_FROM_TOKENS) {
            fprintf(
                stderr,
                "hearth: the model has no chat template; the format %s is taken from its control tokens\n",
                hth_chat_template_name(chat.format));
        }
        hth_term_catch_interrupt();
        code = is_interactive ? cli_repl(&chat, print_timings) : ask_once(&chat, &prompt, args->items[0]);
        cli_chat_close(&chat);
    }
    hth_str_free(&prompt);
    return code;
}

static const cli_option options[] = {
    CLI_OPTION_INT("n-predict", 'n', "N", run_values, chat.n_predict, 1, 1e15,
                   "most tokens of an answer (default: until it ends or the context is full)"),
    CLI_OPTION_INT("ctx", 'c', "N", run_values, chat.n_ctx, 1, 1e15,
                   "context in tokens (default: the model's, as far as memory holds it)"),
    CLI_OPTION_THREADS(run_values, chat.n_thread),
    CLI_OPTION_NUMA(run_values, chat.numa),
    CLI_OPTION_NO_MMAP(run_values, chat.no_mmap),
    CLI_OPTION_MEMORY(run_values, chat.memory),
    CLI_OPTION_TEXT("system", 0, "TEXT", run_values, chat.system, "system message"),
    CLI_OPTION_FLAG("raw", 0, run_values, chat.raw,
                    "give the prompt to the model as it is, without its chat format"),
    CLI_OPTION_TEXT("suffix", 0, "TEXT", run_values, chat.suffix,
                    "fill in what is between the prompt and TEXT (models of code; implies --raw)"),
    CLI_OPTION_TEXT("chat-format", 0, "NAME", run_values, chat.format,
                    "use this chat format whatever the model's template says"),
    CLI_OPTION_TEXT("chat-template", 0, "FILE", run_values, chat.template_file,
                    "use this Jinja template instead of the model's"),
    CLI_OPTION_INT("think-budget", 0, "N", run_values, chat.think_budget, 1, 1e15, "most tokens of thoughts before an answer"),
    CLI_OPTION_TEXT("think", 0, "HOW", run_values, chat.think,
                    "on, off, low, medium or high: thinking before an answer"),
    CLI_OPTION_TEXT("tools", 0, "FILE", run_values, chat.tools,
                    "a JSON list of tools as in OpenAI's API; calls are printed, not run"),
    CLI_OPTION_TEXT("schema", 0, "FILE", run_values, chat.structured.schema, "answer in JSON that satisfies this JSON schema"),
    CLI_OPTION_TEXT("grammar", 0, "FILE", run_values, chat.structured.grammar, "answer in the language of this GBNF or Lark grammar"),
    CLI_OPTION_TEXT("regex", 0, "PATTERN", run_values, chat.structured.regex, "answer with a text that matches this as a whole"),
    CLI_OPTION_FLAG("no-forcing", 0, run_values, chat.structured.no_forcing,
                    "with these: the model chooses every token, also what must come whatever it says"),
    CLI_OPTION_KV(run_values, chat.kv, "f16"),
    CLI_OPTION_ACTIVATIONS(run_values, chat.activations, "auto"),
    CLI_OPTION_LORA(run_values, chat.loras),
    CLI_OPTION_TEXT("draft", 0, "MODEL", run_values, chat.draft, "a small model of the same vocabulary that guesses ahead"),
    CLI_OPTION_INT("n-draft", 0, "N", run_values, chat.n_draft, -1, 31,
                   "tokens guessed ahead (changes none); 0: as far as it pays (default), -1: none"),
    CLI_OPTIONS_SAMPLING(run_values, chat.sampling),
    CLI_OPTION_FLAG("json", 0, run_values, json,
                    "print the answer with counts and timings as one JSON object"),
    CLI_OPTION_FLAG("verbose", 'v', run_values, verbose, "print timings and memory on standard error"),
    {0},
};

const cli_command cli_command_run = {
    .name = "run",
    .arguments = "MODEL [PROMPT]",
    .summary = "Talk to a model, or ask it once.",
    .details = "Without PROMPT and with a terminal it is a conversation; /help there lists its commands.\n"
               "With PROMPT, or with text piped in, it answers once and exits; both together are joined\n"
               "by a blank line. The answer goes to standard output, everything else to standard error.\n"
               "Ctrl-C stops the answer. Sampling settings that are not given are those of the model's\n"
               "authors, else temperature 0.8, top-k 40, top-p 0.95, min-p 0.05.",
    .options = options,
    .min_args = 1,
    .max_args = 2,
    .values = &values,
    .run = run,
};
