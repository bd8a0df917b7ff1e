// The commands: one file each.
#ifndef HTH_CLI_COMMANDS_H
#define HTH_CLI_COMMANDS_H

#include "cli/args.h"

extern const cli_command cli_command_run, cli_command_show, cli_command_tokenize, cli_command_detokenize,
    cli_command_logits, cli_command_perplexity, cli_command_embed, cli_command_bench,
    cli_command_quantize, cli_command_imatrix, cli_command_info, cli_command_template, cli_command_serve;

// The program under the name llama-server (cmd_serve.c); the words after the name.
int cli_run_llama_server(int argc, char **argv);

#endif
