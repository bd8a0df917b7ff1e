// Lines from a person: libedit where it was found (HEARTH_EDITLINE), else plain reads.
#include "cli/line.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "os/term.h"

#ifdef HEARTH_EDITLINE
#include <histedit.h>

#define HISTORY_LINES 1000

static EditLine *editor;
static History *history_list;
static const char *current_prompt;
static bool was_interrupted;

static char *get_prompt(EditLine *el) {
    (void)el;
    static char text[16];
    snprintf(text, sizeof text, "%s", current_prompt);
    return text;
}

// While a line is edited the terminal sends Ctrl-C and Ctrl-Z as characters.
static unsigned char on_interrupt(EditLine *el, int c) {
    (void)el;
    (void)c;
    was_interrupted = true;
    return CC_EOF;
}

static unsigned char on_suspend(EditLine *el, int c) {
    (void)c;
    el_set(el, EL_PREP_TERM, 0);
    raise(SIGTSTP);
    el_set(el, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
}

// Editing works on characters, so the locale must know UTF-8.
static void choose_locale(void) {
    static const char *const fallbacks[] = {"C.UTF-8", "en_US.UTF-8"};
    const char *name = setlocale(LC_CTYPE, "");
    for (size_t i = 0;
         i < HTH_COUNT(fallbacks) && (!name || (!strstr(name, "UTF-8") && !strstr(name, "utf8"))); i++) {
        name = setlocale(LC_CTYPE, fallbacks[i]);
    }
}

bool cli_line_open(void) {
    HistEvent event;
    choose_locale();
    editor = el_init("hearth", stdin, hth_term_is_stdout_tty() ? stdout : stderr, stderr);
    history_list = history_init();
    if (!editor || !history_list) {
        cli_line_close();
        return false;
    }
    history(history_list, &event, H_SETSIZE, HISTORY_LINES);
    el_set(editor, EL_HIST, history, history_list);
    el_set(editor, EL_PROMPT, get_prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 1);
    el_set(editor, EL_SETTY, "-d", "-isig", NULL);
    el_set(editor, EL_ADDFN, "hearth-interrupt", "drop the line", on_interrupt);
    el_set(editor, EL_BIND, "^C", "hearth-interrupt", NULL);
    el_set(editor, EL_ADDFN, "hearth-suspend", "stop until the shell continues", on_suspend);
    el_set(editor, EL_BIND, "^Z", "hearth-suspend", NULL);
    return true;
}

void cli_line_close(void) {
    if (editor) el_end(editor);
    if (history_list) history_end(history_list);
    editor = NULL;
    history_list = NULL;
}

cli_line_status cli_line_read(const char *prompt, hth_str *out) {
    HistEvent event;
    hth_str_clear(out);
    current_prompt = prompt;
    was_interrupted = false;
    int n = 0;
    el_set(editor, EL_PREP_TERM, 1); // before the prompt shows: a key pressed at once counts as one at leisure
    const char *line = el_gets(editor, &n);
    if (was_interrupted || (!line && hth_term_take_interrupt())) {
        fputc('\n', stderr);
        return CLI_LINE_INTERRUPTED;
    }
    if (!line || n <= 0) {
        fputc('\n', stderr);
        return CLI_LINE_END;
    }
    size_t len = strlen(line);
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--;
    if (len > 0) history(history_list, &event, H_ENTER, line);
    hth_str_append(out, line, len);
    return CLI_LINE_OK;
}

#else

bool cli_line_open(void) {
    return true;
}

void cli_line_close(void) {
}

cli_line_status cli_line_read(const char *prompt, hth_str *out) {
    hth_str_clear(out);
    fputs(prompt, stderr);
    fflush(stderr);
    for (;;) {
        int c = fgetc(stdin);
        if (c == EOF) {
            clearerr(stdin);
            fputc('\n', stderr);
            return hth_term_take_interrupt() ? CLI_LINE_INTERRUPTED : CLI_LINE_END;
        }
        if (c == '\n') return CLI_LINE_OK;
        hth_str_putc(out, (char)c);
    }
}

#endif
