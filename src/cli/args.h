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
    CLI_BYTES,  // uint64_t: "500M", "7.5G", powers of 1000
    CLI_TEXT,   // const char *
    CLI_CHOICE, // int: index in `choices`
    CLI_LIST,   // cli_list: may be given again and again
} cli_kind;

// What an option that may be repeated was given, in order; borrowed from the command line.
#define CLI_MAX_LIST 128
typedef struct cli_list {
    const char *items[CLI_MAX_LIST];
    int n;
} cli_list;

typedef struct cli_option {
    const char *name; // long name without dashes
    char letter;      // short name, 0: none
    cli_kind kind;
    size_t offset;     // of the value in the command's own options struct
    const char *value; // what --help calls the value; NULL for a flag
    const char *help;
    double lo, hi;
    const char *choices; // "f32|f16|bf16"
} cli_option;

// Types of keys and values (hth_kv_type); k and v are -1 where `both` holds.
typedef struct cli_kv {
    int both, k, v;
} cli_kv;

#define CLI_KV(type) {type, -1, -1}

static inline int cli_kv_k(const cli_kv *kv) {
    return kv->k < 0 ? kv->both : kv->k;
}

static inline int cli_kv_v(const cli_kv *kv) {
    return kv->v < 0 ? kv->both : kv->v;
}

// Rows of the table. `letter` is 0 where there is none; `type` and `field` say where the value goes.
#define CLI_OPTION_FLAG(name_, letter_, type, field, help_) \
    { .name = name_, .letter = letter_, .kind = CLI_FLAG, .offset = offsetof(type, field), .help = help_ }
#define CLI_OPTION_TEXT(name_, letter_, value_, type, field, help_)                          \
    {                                                                                        \
        .name = name_, .letter = letter_, .kind = CLI_TEXT, .offset = offsetof(type, field), \
        .value = value_, .help = help_                                                       \
    }
#define CLI_OPTION_LIST(name_, letter_, value_, type, field, help_)                          \
    {                                                                                        \
        .name = name_, .letter = letter_, .kind = CLI_LIST, .offset = offsetof(type, field), \
        .value = value_, .help = help_                                                       \
    }
#define CLI_OPTION_CHOICE(name_, letter_, value_, type, field, choices_, help_)                \
    {                                                                                          \
        .name = name_, .letter = letter_, .kind = CLI_CHOICE, .offset = offsetof(type, field), \
        .value = value_, .choices = choices_, .help = help_                                    \
    }
#define CLI_OPTION_INT(name_, letter_, value_, type, field, lo_, hi_, help_)                                 \
    {                                                                                                        \
        .name = name_, .letter = letter_, .kind = CLI_INT, .offset = offsetof(type, field), .value = value_, \
        .lo = lo_, .hi = hi_, .help = help_                                                                  \
    }
#define CLI_OPTION_NUM(name_, letter_, value_, type, field, lo_, hi_, help_)                                 \
    {                                                                                                        \
        .name = name_, .letter = letter_, .kind = CLI_NUM, .offset = offsetof(type, field), .value = value_, \
        .lo = lo_, .hi = hi_, .help = help_                                                                  \
    }
// Options that several commands share.
#define CLI_OPTION_THREADS(type, field) \
    CLI_OPTION_INT("threads", 't', "N", type, field, 1, 1024, "threads (default: one per physical core)")
#define CLI_OPTION_NUMA(type, field) \
    CLI_OPTION_FLAG("numa", 0, type, field, "spread threads and weights over the machine's memory nodes")
#define CLI_OPTION_NO_MMAP(type, field) \
    CLI_OPTION_FLAG("no-mmap", 0, type, field, "read the weights into memory, in large pages: slower to open, faster to run")
#define CLI_OPTION_MEMORY(type, field)                                                             \
    {                                                                                              \
        .name = "memory", .kind = CLI_BYTES, .offset = offsetof(type, field), .value = "SIZE",     \
        .help = "most memory, like 8G: experts beyond it stay on disk (default: what is free)"     \
    }
// Three rows for a cli_kv. The last two are called as llama-bench calls them.
#define CLI_KV_TYPES "f32|f16|bf16|q8_0|q4_0|q5_0"
#define CLI_OPTION_KV(type, field, default_)                                                                   \
    CLI_OPTION_CHOICE("kv", 0, "TYPE", type, field.both, CLI_KV_TYPES,                                         \
                      "type of keys and values: f32, f16, bf16, q8_0, q4_0, q5_0 (default: " default_ ")"),          \
    CLI_OPTION_CHOICE("ctk", 0, "TYPE", type, field.k, CLI_KV_TYPES, "type of the keys (default: that of --kv)"), \
    CLI_OPTION_CHOICE("ctv", 0, "TYPE", type, field.v, CLI_KV_TYPES, "type of the values (default: that of --kv)")
// An hth_activations.
#define CLI_OPTION_ACTIVATIONS(type, field, default_)                  \
    CLI_OPTION_CHOICE("activations", 0, "TYPE", type, field, "auto|q8|q16|f32",                \
                      "input of quantized weights: q8, q16, f32 or auto (default: " default_ ")")

// What is left of a command line: the arguments that are no options.
typedef struct cli_args {
    const char *const *items; // [n] borrowed
    int n;
} cli_args;

typedef struct cli_command {
    const char *name;
    const char *arguments;     // "MODEL [PROMPT]"
    const char *summary;       // one line for `hearth --help`
    const char *details;       // more for its own --help; may be NULL
    const cli_option *options; // ended by an entry without name
    int min_args, max_args;    // max_args < 0: any number
    void *values;              // the options struct, already holding defaults
    int (*run)(const cli_args *args, const void *values);
    int (*run_words)(int argc, char **argv); // instead of all from `details` on: reads its words itself, --help too
} cli_command;

// Parses argv [argc] (the words after the command's name) into command->values and runs it, or prints its
// help. Returns the exit code.
int cli_run_command(const cli_command *command, int argc, char **argv);

// Prints the command's help on standard output.
void cli_print_help(const cli_command *command);

#endif
