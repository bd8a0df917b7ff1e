// Opening a model for a command, with a word on the terminal while it takes.
#ifndef HTH_CLI_LOAD_H
#define HTH_CLI_LOAD_H

#include "engine/session.h"

HTH_NODISCARD hth_code cli_load_engine(const char *path, int64_t n_thread, bool need_tokenizer,
                                       hth_engine **out, hth_err *err);

#endif
