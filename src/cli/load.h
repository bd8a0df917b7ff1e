// Opening a model for a command, with a word on the terminal while it takes.
#ifndef HTH_CLI_LOAD_H
#define HTH_CLI_LOAD_H

#include "engine/session.h"

// Options that several commands share.
#define CLI_THREADS_OPTION(type)                                                                                       \
    {.name = "threads", .letter = 't', .kind = CLI_INT, .offset = offsetof(type, n_thread), .value = "N", .lo = 1,     \
     .hi = 1024, .help = "threads to compute with (default: one per physical core)"}
#define CLI_KV_OPTION(type, text)                                                                                      \
    {.name = "kv", .kind = CLI_CHOICE, .offset = offsetof(type, kv), .value = "TYPE", .choices = "f32|f16|bf16",       \
     .help = text}

HTH_NODISCARD hth_code cli_load_engine(const char *path, int64_t n_thread, bool need_tokenizer, hth_engine **out,
                                       hth_err *err);

#endif
