// Opening a model. Files are mapped, so this takes long only on a cold disk.
#include "cli/load.h"

#include <stdio.h>

#include "cli/input.h"
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

hth_code cli_load_engine_and_text(const char *path, int64_t n_thread, const char *file, hth_engine **out,
                                  hth_token_list *list, hth_err *err) {
    *out = NULL;
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code;
    HTH_TRY_GOTO(code, cli_read_text(file, &text, err), done);
    HTH_TRY_GOTO(code, cli_load_engine(path, n_thread, true, out, err), done);
    const hth_text_segment segment = {.text = hth_str_text(&text), .n = text.len};
    code = hth_tokenize((*out)->tokenizer, &segment, 1, HTH_TOKENIZE_ADD_SPECIAL, list, err);
done:
    hth_str_free(&text);
    return code;
}
