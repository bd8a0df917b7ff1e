// Opening a model for a command, with a word on the terminal while it takes and a statement on standard error where it
// does not fit into memory.
#ifndef HTH_CLI_LOAD_H
#define HTH_CLI_LOAD_H

#include "base/json_out.h"
#include "engine/engine.h"

// `how`: all but the progress, which is shown here.
HTH_NODISCARD hth_code cli_open_engine(const char *path, const hth_engine_params *how, hth_engine **out, hth_err *err);

// The same with a tokenizer, and the tokens of a text file ("-": standard input), special ones added as the model wants
// them. *out and `list` are the caller's to close and free, after a failure too.
HTH_NODISCARD hth_code cli_open_engine_and_text(const char *path, const hth_engine_params *how, const char *file,
                                                hth_engine **out, hth_token_list *list, hth_err *err);

// What is in memory of the process's own and what comes from disk, as the member "residency"; nothing where all is mapped.
void cli_residency_json(hth_json_out *j, const hth_model *m);

#endif
