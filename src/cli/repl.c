// The conversation at the terminal: reads messages and commands, prints answers. Everything that is no answer
// goes to standard error.
#include "cli/repl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/line.h"
#include "cli/out.h"
#include "os/term.h"

#define MAX_INPUT ((size_t)1 << 26)

static void print_commands(void) {
    fputs("/help               this list\n"
          "/clear              forget the conversation\n"
          "/thoughts           show what the model thought before its latest answer\n"
          "/set                show the settings\n"
          "/set NAME VALUE     change one: temperature, top_k, top_p, min_p, seed, n_predict, system\n"
          "/bye, /exit         leave (also Ctrl-D)\n"
          "\"\"\"                 begins and ends a text of several lines\n"
          "Ctrl-C              ends a thought, then an answer; drops a line\n",
          stderr);
}

static void print_settings(const cli_chat *c) {
    const hth_sampler_params *s = &c->sampler.params;
    bool has_system = c->n > 0 && strcmp(c->entries[0].role, "system") == 0;
    fprintf(stderr, "temperature %g\ntop_k %d\ntop_p %g\nmin_p %g\nseed %llu\nn_predict %lld\nsystem %s\n",
            (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p, (unsigned long long)s->seed,
            (long long)c->n_predict, has_system ? c->entries[0].text : "(none)");
    fprintf(stderr, "context %lld of %lld tokens\n", (long long)c->n_held,
            (long long)hth_engine_n_ctx(c->engine));
}

static void print_thoughts(const cli_chat *c) {
    const hth_str *text = c->n > 0 ? &c->entries[c->n - 1].answer.reasoning : NULL;
    if (text && text->len > 0) cli_write_text(text->p, text->len);
    cli_print(text && text->len > 0 ? "\n" : "");
    cli_flush();
    if (!text || text->len == 0) fputs("there are none\n", stderr);
}

// Changes a setting that is a number; false when there is none of that name.
static bool set_number(cli_chat *c, const char *name, double v, hth_err *err) {
    hth_sampler_params s = c->sampler.params;
    bool is_whole = v >= 0 && v <= 9007199254740992.0 && v == (double)(int64_t)v;
    if (strcmp(name, "temperature") == 0) {
        s.temperature = (float)v;
    } else if (strcmp(name, "top_p") == 0) {
        s.top_p = (float)v;
    } else if (strcmp(name, "min_p") == 0) {
        s.min_p = (float)v;
    } else if (strcmp(name, "top_k") == 0) {
        s.top_k = is_whole && v <= INT32_MAX ? (int32_t)v : -1;
    } else if (strcmp(name, "seed") == 0 && is_whole) {
        s.seed = (uint64_t)v;
    } else if (strcmp(name, "n_predict") == 0 && is_whole) {
        c->n_predict = (int64_t)v;
    } else {
        return false;
    }
    if (hth_sampler_check(&s, err) != HTH_OK) {
        fprintf(stderr, "%s\n", err->msg);
    } else {
        c->sampler.params = s;
    }
    return true;
}

static void set(cli_chat *c, char *rest) {
    hth_err err;
    while (*rest == ' ') rest++;
    if (!*rest) {
        print_settings(c);
        return;
    }
    char *name = rest, *value = rest + strcspn(rest, " ");
    if (*value) *value++ = 0;
    while (*value == ' ') value++;
    if (strcmp(name, "system") == 0) {
        if (cli_chat_set_system(c, value, &err) != HTH_OK) fprintf(stderr, "%s\n", err.msg);
        return;
    }
    char *end;
    double v = strtod(value, &end);
    if (end == value || *end || !set_number(c, name, v, &err)) {
        fprintf(stderr,
                "/set needs one of temperature, top_k, top_p, min_p, seed, n_predict, system and a value\n");
    }
}

// Runs a command; false: leave.
static bool run_command(cli_chat *c, char *line) {
    if (strcmp(line, "/bye") == 0 || strcmp(line, "/exit") == 0 || strcmp(line, "/quit") == 0) return false;
    if (strcmp(line, "/clear") == 0) {
        cli_chat_clear(c);
    } else if (strcmp(line, "/thoughts") == 0) {
        print_thoughts(c);
    } else if (strcmp(line, "/help") == 0 || strcmp(line, "/?") == 0) {
        print_commands();
    } else if (strncmp(line, "/set", 4) == 0 && (line[4] == ' ' || !line[4])) {
        set(c, line + 4);
    } else {
        fprintf(stderr, "unknown command %s; /help lists them\n", line);
    }
    return true;
}

// Reads a message: a line, or several between """.
static cli_line_status read_message(hth_str *message, hth_str *line) {
    static const char quote[] = "\"\"\"";
    hth_str_clear(message);
    cli_line_status status = cli_line_read(">>> ", line);
    const char *text = hth_str_text(line);
    if (status != CLI_LINE_OK || strncmp(text, quote, 3) != 0) {
        hth_str_append(message, text, line->len);
        return status;
    }
    text += 3;
    for (;;) {
        size_t n = strlen(text);
        if (n >= 3 && strcmp(text + n - 3, quote) == 0) {
            hth_str_append(message, text, n - 3);
            return CLI_LINE_OK;
        }
        hth_str_append(message, text, n);
        if (message->len > 0) hth_str_putc(message, '\n');
        status = cli_line_read("... ", line);
        if (status != CLI_LINE_OK) return status;
        text = hth_str_text(line);
    }
}

void cli_print_stop(const cli_chat *c, const cli_answer *a) {
    if (a->stop != CLI_STOP_CONTEXT) return;
    fprintf(stderr,
            "hearth: the context of %lld tokens is full (%lld of prompt, %lld of answer); the answer stops "
            "here\n",
            (long long)hth_engine_n_ctx(c->engine), (long long)a->n_prompt, (long long)a->n_generated);
}

static void ask(cli_chat *c, const hth_str *message, cli_after_fn after) {
    hth_err err;
    cli_answer answer;
    cli_printer printer = {.n_line = 0};
    (void)hth_term_take_interrupt(); // one that came while the line was read is not meant for the answer
    hth_code code = message->failed ? hth_fail_nomem(&err, MAX_INPUT)
                                    : cli_chat_ask(c, hth_str_text(message), message->len, cli_printer_take,
                                                   &printer, &answer, &err);
    cli_printer_end(&printer);
    (void)hth_term_take_interrupt();
    if (code != HTH_OK) {
        cli_fail(&err);
        if (code == HTH_ERR_LIMIT) fputs("/clear starts over\n", stderr);
        return;
    }
    cli_print("\n");
    cli_flush();
    cli_print_stop(c, &answer);
    after(c, &answer);
    cli_answer_free(&answer);
}

static void loop(cli_chat *c, hth_str *message, hth_str *line, cli_after_fn after) {
    while (cli_can_write()) {
        cli_line_status status = read_message(message, line);
        if (status == CLI_LINE_END) return;
        if (status == CLI_LINE_INTERRUPTED) {
            fputs("(/bye or Ctrl-D leaves)\n", stderr);
            continue;
        }
        if (message->len == 0) continue;
        if (message->p[0] == '/' && !memchr(message->p, '\n', message->len)) {
            if (!run_command(c, message->p)) return;
        } else {
            ask(c, message, after);
        }
    }
}

int cli_repl(cli_chat *c, cli_after_fn after) {
    if (!cli_line_open()) return cli_error("cannot prepare the terminal for editing lines");
    hth_str message, line;
    hth_str_init(&message, HTH_MEM_TEXT, MAX_INPUT);
    hth_str_init(&line, HTH_MEM_TEXT, MAX_INPUT);
    fputs("Type a message; /help lists commands, Ctrl-D leaves.\n", stderr);
    loop(c, &message, &line, after);
    hth_str_free(&message);
    hth_str_free(&line);
    cli_line_close();
    return CLI_OK;
}
