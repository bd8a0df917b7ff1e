// hearth serve: the server, from its command line to its end. What it is told is read by server/config.h.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/out.h"
#include "os/clock.h"
#include "os/socket.h"
#include "os/sync.h"
#include "os/term.h"
#include "server/access.h"
#include "server/config.h"
#include "server/server.h"

static int print_text(const hth_str *text) {
    if (text->failed) return cli_error("out of memory");
    cli_print("%s", hth_str_text(text));
    return CLI_OK;
}

static int show_help(hth_config_style style) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, (size_t)1 << 20);
    hth_config_help(style, &text);
    const int code = print_text(&text);
    hth_str_free(&text);
    return code;
}

static int show_config(const hth_config *c) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, (size_t)1 << 20);
    int code;
    if (c->json) {
        hth_json_out j = hth_json_out_make(&text, true);
        hth_config_json(c, &j);
        code = cli_print_json(&text);
    } else {
        hth_config_text(c, &text);
        code = print_text(&text);
    }
    hth_str_free(&text);
    return code;
}

// Says what is wrong, a line for each; true where nothing is.
static bool check(const hth_config *c) {
    hth_str problems;
    hth_str_init(&problems, HTH_MEM_TEXT, (size_t)1 << 20);
    const size_t n = hth_config_check(c, &problems);
    if (n > 0) fprintf(stderr, "%s", hth_str_text(&problems));
    hth_str_free(&problems);
    return n == 0;
}

static bool in_a_hurry(void) {
    return hth_term_take_interrupt();
}

// Until a signal comes, or nothing can be served.
static int wait_for_end(const hth_server *s) {
    hth_mutex lock;
    hth_cond never;
    hth_err err;
    int code = CLI_OK;
    if (hth_mutex_init(&lock, &err) != HTH_OK || hth_cond_init(&never, &err) != HTH_OK) return cli_fail(&err);
    hth_lock(&lock);
    while (!hth_term_take_interrupt()) {
        hth_cond_wait_until(&never, &lock, hth_clock_ns() + 50000000);
        if (atomic_load(&s->is_loading) || *hth_server_load_error(s) == 0) continue;
        code = cli_error("%s", hth_server_load_error(s));
        break;
    }
    hth_unlock(&lock);
    hth_cond_destroy(&never);
    hth_mutex_destroy(&lock);
    return code;
}

static int serve(const hth_config *c) {
    hth_server *s;
    hth_str notes;
    hth_err err;
    hth_str_init(&notes, HTH_MEM_TEXT, (size_t)1 << 20);
    hth_socket_raise_limit();
    hth_term_catch_stop();
    for (size_t i = 0; i < c->notes.n; i++) fprintf(stderr, "hearth: %s\n", c->notes.items[i]);
    const hth_code code = hth_server_start(c, STDERR_FILENO, &notes, &s, &err);
    fprintf(stderr, "%s", hth_str_text(&notes));
    hth_str_free(&notes);
    if (code != HTH_OK) return cli_fail(&err);
    const bool is_v6 = strchr(c->host, ':') != NULL;
    fprintf(stderr, "hearth: listening on %s://%s%s%s:%u%s\n", c->tls || c->tls_cert ? "https" : "http",
            is_v6 ? "[" : "", c->host, is_v6 ? "]" : "", hth_http_port(s->http), c->prefix);
    const int exit_code = wait_for_end(s);
    hth_server_stop(s, in_a_hurry);
    return exit_code;
}

static int make_key(const hth_config *c) {
    hth_str key;
    hth_err err;
    hth_str_init(&key, HTH_MEM_TEXT, 256);
    const hth_code code = hth_access_new_key(c, c->new_key, &key, &err);
    if (code == HTH_OK) cli_print("%s\n", hth_str_text(&key));
    hth_str_free(&key);
    return code == HTH_OK ? CLI_OK : cli_fail(&err);
}

static int run_with(const hth_config *c, hth_config_style style) {
    if (c->help) return show_help(style);
    if (c->version) {
        cli_print("hearth %s\n", HEARTH_VERSION);
        return CLI_OK;
    }
    if (c->print_config) return show_config(c);
    if (c->new_key) return make_key(c);
    if (!check(c)) return CLI_FAILED;
    if (!c->check) return serve(c);
    cli_print("the settings are valid\n");
    return CLI_OK;
}

static int run(int argc, char **argv, hth_config_style style) {
    hth_config c;
    hth_err err;
    const hth_code code = hth_config_load(argc, argv, style, &c, &err);
    int exit_code;
    if (code == HTH_OK)
        exit_code = run_with(&c, style);
    else if (code == HTH_ERR_RANGE)
        exit_code = cli_usage_error("serve", "%s", err.msg);
    else
        exit_code = cli_fail(&err);
    hth_config_free(&c);
    return exit_code;
}

static int run_serve(int argc, char **argv) {
    return run(argc, argv, HTH_CONFIG_HEARTH);
}

int cli_run_llama_server(int argc, char **argv) {
    return run(argc, argv, HTH_CONFIG_LLAMA_SERVER);
}

const cli_command cli_command_serve = {
    .name = "serve",
    .arguments = "[MODEL ...]",
    .summary = "Serve models to clients of OpenAI, Ollama, llama-server and Anthropic.",
    .run_words = run_serve,
};
