// Options of a command from one table, which also writes its --help. Everything unknown, missing or out
// of range is an error in one line.
#ifndef HTH_CLI_ARGS_H
#define HTH_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cli_kind {
    CLI_FLAG,   // bool: true when given
    CLI_INT,    // int64_t in [lo, hi]
    CLI_NUM,    // double in [lo, hi]
    CLI_TEXT,   // const char *
    CLI_CHOICE, // int: index in `choices`
} cli_kind;

typedef struct cli_option {
    const char *name; // long name without dashes
    char letter;      // short name, 0: none
    cli_kind kind;
    size_t offset; // of the value in the command's own options struct
    const char *value; // what --help calls the value; NULL for a flag
    const char *help;
    double lo, hi;
    const char *choices; // "f32|f16|bf16"
} cli_option;

#define CLI_MAX_ARGS 4096

// What is left of a command line: the arguments that are no options.
typedef struct cli_args {
    const char *const *items; // [n] borrowed
    int n;
} cli_args;

typedef struct cli_command {
    const char *name;
    const char *arguments; // "MODEL [PROMPT]"
    const char *summary;   // one line for `hearth --help`
    const char *details;   // more for its own --help; may be NULL
    const cli_option *options; // ended by an entry without name
    int min_args, max_args;    // max_args < 0: any number
    void *values;              // the options struct, already holding defaults
    int (*run)(const cli_args *args, const void *values);
} cli_command;

// Parses argv [argc] (the words after the command's name) into command->values and runs it, or prints its help. Returns
// the exit code.
int cli_run_command(const cli_command *command, int argc, char **argv);

// Prints the command's help on standard output.
void cli_print_help(const cli_command *command);

// The entry of names [n] closest to `word`, or NULL when none is near enough to suggest.
const char *cli_nearest(const char *word, const char *const *names, size_t n);

#endif
