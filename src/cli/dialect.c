// The format of a model's answers, what it is asked for, and how answers are shown.
#include "cli/dialect.h"

#include <stdio.h>
#include <string.h>

#include "cli/input.h"
#include "cli/out.h"
#include "os/clock.h"
#include "os/term.h"

#define MAX_TOOLS ((size_t)64 << 20)

static hth_code read_tools(cli_dialect *d, const char *path, hth_err *err) {
    HTH_TRY(cli_read_text(path, &d->text, err));
    const char *text = hth_str_text(&d->text);
    HTH_TRY(hth_json_parse(text, d->text.len, MAX_TOOLS, &d->doc, err));
    HTH_TRY(hth_chat_tools_from_json(&d->arena, hth_json_root(d->doc), text, d->text.len, &d->tools, err));
    return hth_jinja_from_json(&d->arena, hth_json_root(d->doc), text, d->text.len, HTH_JINJA_OF_CLIENT, &d->tool_list, err);
}

static hth_code set_thinking(cli_dialect *d, const char *word, int64_t budget, hth_err *err) {
    hth_chat_reasoning_choice choice;
    if (!hth_chat_reasoning_parse(word, &choice)) {
        return hth_fail(err, HTH_ERR_RANGE, "--think is on, off, low, medium or high, not '%.40s'", word);
    }
    choice.budget = budget;
    HTH_TRY(hth_chat_reasoning_apply(&d->reasoning, &choice, &d->arena, &d->kwargs, &d->plan, err));
    if (d->plan.ignores_on) return hth_fail(err, HTH_ERR_UNSUPPORTED, "--think: this model's chat template knows no thoughts");
    if (d->plan.ignores_effort) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "--think %.40s: this model's chat template knows no effort, only on and off", word);
    }
    return HTH_OK;
}

hth_code cli_dialect_open(cli_dialect *d, const hth_chat_template *t, const hth_tokenizer *tokenizer, const char *think,
                          int64_t think_budget, const char *tools, hth_err *err) {
    *d = (cli_dialect){.format = hth_chat_format_of(t, tokenizer)};
    hth_arena_init(&d->arena, HTH_MEM_TEXT, MAX_TOOLS);
    hth_str_init(&d->text, HTH_MEM_TEXT, MAX_TOOLS);
    HTH_TRY(hth_jinja_make_dict(&d->arena, &d->kwargs, err));
    if (tools) HTH_TRY(read_tools(d, tools, err));
    if (tools && !hth_chat_template_abilities(t)->tools) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "--tools: this model's chat template knows no tools");
    }
    if (!think && think_budget == 0) return HTH_OK;
    HTH_TRY(hth_chat_reasoning_find(t, d->format, &d->reasoning, err));
    if (think_budget > 0 && !d->reasoning.thinks) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "--think-budget: this model's chat template knows no thoughts");
    }
    return set_thinking(d, think ? think : "auto", think_budget, err);
}

void cli_dialect_free(cli_dialect *d) {
    hth_json_free(d->doc);
    hth_str_free(&d->text);
    hth_arena_free(&d->arena);
}

// ---- answers ----

static void show_thought(cli_printer *p, const hth_chat_delta *d) {
    if (!p->is_thinking) {
        *p = (cli_printer){.is_thinking = true, .begin_ns = hth_clock_ns()};
    }
    for (size_t i = 0; i < d->n_text; i++) {
        const unsigned char c = (unsigned char)d->text[i];
        const bool is_space = c <= 0x20;
        p->n_word += p->in_word && is_space;
        p->in_word = !is_space;
        if (p->n_line == sizeof p->line - 1) {
            memmove(p->line, p->line + 1, --p->n_line);
        }
        p->line[p->n_line++] = (char)(is_space || c == 0x7f ? ' ' : c);
    }
    if (!hth_term_is_stdout_tty()) return;
    size_t from = 0;
    while (from < p->n_line && ((unsigned char)p->line[from] & 0xc0) == 0x80) from++; // whole characters
    cli_print("\r\x1b[2K\x1b[90m%.*s\x1b[0m", (int)(p->n_line - from), p->line + from);
    cli_flush();
}

static void end_thought(cli_printer *p) {
    if (!p->is_thinking) return;
    p->is_thinking = false;
    if (!hth_term_is_stdout_tty()) return;
    cli_print("\r\x1b[2K\x1b[90mthought for %.1f s, %lld words\x1b[0m\n", (double)(hth_clock_ns() - p->begin_ns) * 1e-9,
              (long long)p->n_word + p->in_word);
}

hth_code cli_printer_take(void *user, const hth_chat_delta *d, hth_err *err) {
    cli_printer *p = user;
    if (d->kind == HTH_CHAT_DELTA_REASONING) {
        show_thought(p, d);
    } else {
        end_thought(p);
    }
    switch (d->kind) {
    case HTH_CHAT_DELTA_CONTENT: cli_write_text(d->text, d->n_text); break;
    case HTH_CHAT_DELTA_CALL:
        cli_print("\n");
        cli_write_text(d->name.p, d->name.n);
        cli_print("(");
        break;
    case HTH_CHAT_DELTA_ARGUMENTS: cli_write_text(d->text, d->n_text); break;
    case HTH_CHAT_DELTA_CALL_END: cli_print(d->is_cut ? "" : ")"); break;
    default: break;
    }
    cli_flush();
    return cli_can_write() ? HTH_OK : hth_fail(err, HTH_ERR_CANCELLED, "standard output is closed");
}

void cli_printer_end(cli_printer *p) {
    end_thought(p);
}
