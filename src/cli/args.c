// Reading a command line against a command's table of options, and writing its help from the same table.
#include "cli/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "cli/out.h"

static int unknown_option(const cli_command *c, const char *word, const char *name) {
    const char *names[64];
    size_t n = 0;
    for (const cli_option *o = c->options; o->name && n < 62; o++) names[n++] = o->name;
    names[n++] = "help";
    const char *near = hth_nearest(name, names, n);
    if (near) return cli_usage_error(c->name, "unknown option %s; did you mean --%s?", word, near);
    return cli_usage_error(c->name, "unknown option %s", word);
}

// Writes a choice's index; -1 when `text` is none of them.
static int find_choice(const char *choices, const char *text) {
    size_t n = strlen(text);
    int i = 0;
    for (const char *p = choices;; i++) {
        size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, text, n) == 0) return i;
        if (!p[len]) return -1;
        p += len + 1;
    }
}

static int bad_range(const cli_command *c, const cli_option *o, const char *text) {
    if (o->kind == CLI_INT) {
        return cli_usage_error(c->name, "--%s must be a whole number from %.0f to %.0f, not '%s'", o->name,
                               o->lo, o->hi, text);
    }
    return cli_usage_error(c->name, "--%s must be a number from %g to %g, not '%s'", o->name, o->lo, o->hi,
                           text);
}

// "8G", "500M": a number of bytes in powers of 1000. False where it is none.
static bool parse_bytes(const char *text, uint64_t *out) {
    static const char units[] = "kMGT";
    char *end;
    double v = strtod(text, &end);
    if (end == text || !(v > 0)) return false;
    const char *unit = *end == 'K' ? units : *end ? strchr(units, *end) : NULL;
    for (const char *u = units; unit && u <= unit; u++) v *= 1000;
    if (unit) end++;
    if (*end == 'B') end++;
    if (*end || !(v >= 1 && v < 1e18)) return false;
    *out = (uint64_t)v;
    return true;
}

// Stores one value; returns 0 or the exit code.
static int store(const cli_command *c, const cli_option *o, const char *text) {
    void *to = (char *)c->values + o->offset;
    char *end;
    errno = 0;
    if (o->kind == CLI_FLAG) {
        *(bool *)to = true;
    } else if (o->kind == CLI_TEXT) {
        *(const char **)to = text;
    } else if (o->kind == CLI_LIST) {
        cli_list *list = to;
        if (list->n == CLI_MAX_LIST) return cli_usage_error(c->name, "--%s is given more than %d times", o->name, CLI_MAX_LIST);
        list->items[list->n++] = text;
    } else if (o->kind == CLI_CHOICE) {
        int i = find_choice(o->choices, text);
        if (i < 0)
            return cli_usage_error(c->name, "--%s must be one of %s, not '%s'", o->name, o->choices, text);
        *(int *)to = i;
    } else if (o->kind == CLI_BYTES) {
        if (!parse_bytes(text, to))
            return cli_usage_error(c->name, "--%s must be a size like 500M or 8G, not '%s'", o->name, text);
    } else if (o->kind == CLI_INT) {
        long long v = strtoll(text, &end, 10);
        if (end == text || *end || errno || (double)v < o->lo || (double)v > o->hi)
            return bad_range(c, o, text);
        *(int64_t *)to = v;
    } else {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v) || v < o->lo || v > o->hi) return bad_range(c, o, text);
        *(double *)to = v;
    }
    return 0;
}

// The option named by the n bytes at `name`, or by a letter.
static const cli_option *find_option(const cli_command *c, const char *name, size_t n, char letter) {
    for (const cli_option *o = c->options; o->name; o++) {
        if (letter ? o->letter == letter : strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    }
    return NULL;
}

// argv[*i] begins with a dash: takes it and, where it needs one, its value. Returns 0 or the exit code.
static int take_option(const cli_command *c, int argc, char **argv, int *i) {
    const char *word = argv[*i], *value = NULL;
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1), *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option *o = find_option(c, name, n, is_long ? 0 : name[0]);
    if (!o) {
        char text[41];
        snprintf(text, sizeof text, "%.*s", (int)(n < 40 ? n : 40), name);
        return unknown_option(c, word, text);
    }
    if (is_long && equals) value = equals + 1;
    if (!is_long && name[1]) value = name + 1 + (name[1] == '=');
    if (o->kind == CLI_FLAG) {
        if (value && is_long) return cli_usage_error(c->name, "--%s takes no value", o->name);
        if (value) return unknown_option(c, word, name);
    } else if (!value) {
        if (*i + 1 >= argc) return cli_usage_error(c->name, "--%s needs a value (%s)", o->name, o->value);
        value = argv[++*i];
    }
    return store(c, o, value);
}

static int check_count(const cli_command *c, int n) {
    if (n < c->min_args)
        return cli_usage_error(c->name, "too few arguments: hearth %s %s", c->name, c->arguments);
    if (c->max_args >= 0 && n > c->max_args) {
        return cli_usage_error(c->name, "too many arguments: hearth %s %s", c->name, c->arguments);
    }
    return 0;
}

int cli_run_command(const cli_command *c, int argc, char **argv) {
    if (c->run_words) return c->run_words(argc, argv);
    const char **items = hth_calloc(HTH_MEM_MISC, (size_t)argc + 1, sizeof *items);
    if (!items) return cli_error("out of memory");
    int n = 0, code = 0;
    bool options = true;
    for (int i = 0; i < argc && code == 0; i++) {
        const char *word = argv[i];
        if (!options || word[0] != '-' || !word[1]) {
            items[n++] = word;
        } else if (strcmp(word, "--") == 0) {
            options = false;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            cli_print_help(c);
            hth_free(items);
            return 0;
        } else {
            code = take_option(c, argc, argv, &i);
        }
    }
    if (code == 0) code = check_count(c, n);
    if (code == 0) code = c->run(&(cli_args){items, n}, c->values);
    hth_free(items);
    return code;
}

static void print_option(const char *name, char letter, const char *value, const char *help) {
    char left[64];
    char with_letter[5] = {'-', letter, ',', ' ', 0};
    snprintf(left, sizeof left, "%s--%s%s%s", letter ? with_letter : "    ", name, value ? " " : "",
             value ? value : "");
    cli_print("  %-26s %s\n", left, help);
}

void cli_print_help(const cli_command *c) {
    if (c->run_words) {
        char help[] = "--help";
        (void)c->run_words(1, (char *[]){help, NULL});
        return;
    }
    cli_print("Usage: hearth %s %s%s%s\n\n%s\n", c->name, c->options->name ? "[OPTIONS] " : "", c->arguments,
              "", c->summary);
    if (c->details) cli_print("\n%s\n", c->details);
    cli_print("\nOptions:\n");
    for (const cli_option *o = c->options; o->name; o++) print_option(o->name, o->letter, o->value, o->help);
    print_option("help", 'h', NULL, "show this help");
}
