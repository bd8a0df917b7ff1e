// What commands read besides models: texts from standard input and files, lists of token ids.
#ifndef HTH_CLI_INPUT_H
#define HTH_CLI_INPUT_H

#include "base/str.h"
#include "text/tokenizer.h"

#define CLI_MAX_TEXT ((size_t)1 << 30)

// Reads all of standard input, at most CLI_MAX_TEXT bytes. `out` is initialised by the caller.
HTH_NODISCARD hth_code cli_read_stdin(hth_str *out, hth_err *err);
// Reads a file; "-" is standard input.
HTH_NODISCARD hth_code cli_read_text(const char *path, hth_str *out, hth_err *err);
// Appends ids separated by commas or white space. Anything else is HTH_ERR_RANGE.
HTH_NODISCARD hth_code cli_parse_ids(const char *text, size_t n, hth_token_list *out, hth_err *err);
// The same from an option's value: "1,2,3", or "@FILE" for a file that holds them ("@-": standard input).
HTH_NODISCARD hth_code cli_read_ids(const char *value, hth_token_list *out, hth_err *err);

// The tokenizer of a model, or of a tokenizer file or folder without weights. *container is NULL for those.
HTH_NODISCARD hth_code cli_open_tokenizer(const char *path, hth_container **container, hth_tokenizer **out,
                                          hth_err *err);

#endif
