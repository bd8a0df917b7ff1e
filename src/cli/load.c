// Opening a model. Files are mapped, so this takes long only on a cold disk.
#include "cli/load.h"

#include <stdio.h>

#include "os/term.h"

hth_code cli_load_engine(const char *path, int64_t n_thread, bool need_tokenizer, hth_engine **out,
                         hth_err *err) {
    bool is_watched = hth_term_is_stderr_tty();
    if (is_watched) {
        fprintf(stderr, "loading %s ...", path);
        fflush(stderr);
    }
    hth_engine_params params = {.n_thread = (int)n_thread, .need_tokenizer = need_tokenizer};
    hth_code code = hth_engine_open(path, &params, out, err);
    if (is_watched) fputs("\r\033[K", stderr);
    return code;
}
