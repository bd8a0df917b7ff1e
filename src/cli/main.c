// The program: finds the command and hands over.
#include <signal.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "kernels/kernels.h"

static const cli_command *const commands[] = {
    &cli_command_run,    &cli_command_show,       &cli_command_tokenize, &cli_command_detokenize,
    &cli_command_logits, &cli_command_perplexity, &cli_command_embed,    &cli_command_bench,
    &cli_command_quantize, &cli_command_imatrix, &cli_command_info,
    &cli_command_template, &cli_command_serve,
};

static void print_help(void) {
    cli_print(
        "Usage: hearth COMMAND [OPTIONS] ...\n\n"
        "Runs open AI models on this machine. MODEL is a GGUF file (any part of a split set) or a folder\n"
        "as model hubs publish it (config.json and safetensors, plain or MLX-quantized).\n\nCommands:\n");
    for (size_t i = 0; i < HTH_COUNT(commands); i++) {
        cli_print("  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    cli_print("\n`hearth COMMAND --help` tells more about a command; `hearth --version` prints the version.\n"
              "Exit codes: 0 done, 1 failed (one line on standard error says why), 2 wrong usage.\n");
}

static const cli_command *find_command(const char *name) {
    for (size_t i = 0; i < HTH_COUNT(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[HTH_COUNT(commands)];
    for (size_t i = 0; i < HTH_COUNT(commands); i++) names[i] = commands[i]->name;
    const char *near = hth_nearest(name, names, HTH_COUNT(commands));
    if (near) return cli_usage_error(NULL, "unknown command '%s'; did you mean '%s'?", name, near);
    return cli_usage_error(NULL, "unknown command '%s'", name);
}

static int help_about(int argc, char **argv) {
    if (argc > 0) {
        const cli_command *c = find_command(argv[0]);
        if (!c) return unknown_command(argv[0]);
        cli_print_help(c);
    } else {
        print_help();
    }
    return CLI_OK;
}

static bool is_called(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

static int dispatch(int argc, char **argv) {
    if (argc > 0 && is_called(argv[0], "llama-server")) return cli_run_llama_server(argc - 1, argv + 1);
    if (argc < 2) return cli_usage_error(NULL, "no command given");
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return help_about(0, NULL);
    if (strcmp(word, "help") == 0) return help_about(argc - 2, argv + 2);
    if (strcmp(word, "--version") == 0) {
        cli_print("hearth %s\n", HEARTH_VERSION);
        return CLI_OK;
    }
    if (word[0] == '-') return cli_usage_error(NULL, "unknown option %s before the command", word);
    const cli_command *c = find_command(word);
    return c ? cli_run_command(c, argc - 2, argv + 2) : unknown_command(word);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); // a reader that goes away shows as a failed write, so that files are cleaned up
    signal(SIGXFSZ, SIG_IGN); // nor does a file that may not grow (ulimit -f) end a server
    (void)hth_kernels_get();  // fills the table before there are threads
    return cli_finish(dispatch(argc, argv));
}
