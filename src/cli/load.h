// Opening a model for a command, with a word on the terminal while it takes.
#ifndef HTH_CLI_LOAD_H
#define HTH_CLI_LOAD_H

#include "engine/session.h"

HTH_NODISCARD hth_code cli_load_engine(const char *path, int64_t n_thread, bool need_tokenizer,
                                       hth_engine **out, hth_err *err);

// The same with a tokenizer, and the tokens of a text file ("-": standard input), special ones added as the model wants
// them. *out and `list` are the caller's to close and free, after a failure too.
HTH_NODISCARD hth_code cli_load_engine_and_text(const char *path, int64_t n_thread, const char *file, hth_engine **out,
                                                hth_token_list *list, hth_err *err);

#endif
