// Texts and token ids from the command line, files and standard input, each with a limit.
#include "cli/input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/file.h"

hth_code cli_read_stdin(hth_str *out, hth_err *err) {
    char buffer[1 << 14];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        if (out->len + n > CLI_MAX_TEXT) {
            return hth_fail(err, HTH_ERR_LIMIT, "standard input is longer than the limit of %zu bytes",
                            CLI_MAX_TEXT);
        }
        if (!hth_str_append(out, buffer, n)) return hth_fail_nomem(err, out->len + n);
    }
    if (ferror(stdin)) return hth_fail(err, HTH_ERR_IO, "cannot read standard input: %s", strerror(errno));
    return HTH_OK;
}

hth_code cli_read_text(const char *path, hth_str *out, hth_err *err) {
    if (strcmp(path, "-") == 0) return cli_read_stdin(out, err);
    char *text;
    size_t n;
    HTH_TRY(hth_file_read(path, HTH_MEM_TEXT, CLI_MAX_TEXT, &text, &n, err));
    bool ok = hth_str_append(out, text, n);
    hth_free(text);
    return ok ? HTH_OK : hth_fail_nomem(err, n);
}

static bool is_separator(char c) {
    return c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
}

hth_code cli_parse_ids(const char *text, size_t n, hth_token_list *out, hth_err *err) {
    for (size_t i = 0; i < n;) {
        if (is_separator(text[i])) {
            i++;
            continue;
        }
        size_t from = i;
        int64_t id = 0;
        while (i < n && text[i] >= '0' && text[i] <= '9' && id <= INT32_MAX) id = id * 10 + (text[i++] - '0');
        if (i == from || id > INT32_MAX || (i < n && !is_separator(text[i]))) {
            size_t len = 0;
            while (len < 20 && from + len < n && !is_separator(text[from + len])) len++;
            return hth_fail(err, HTH_ERR_RANGE, "'%.*s' is not a token id", (int)len, text + from);
        }
        if (!hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, out->n + 1, sizeof *out->ids,
                      SIZE_MAX / 16)) {
            return hth_fail_nomem(err, (out->n + 1) * sizeof *out->ids);
        }
        out->ids[out->n++] = (hth_token)id;
    }
    return HTH_OK;
}

hth_code cli_read_ids(const char *value, hth_token_list *out, hth_err *err) {
    if (value[0] != '@') return cli_parse_ids(value, strlen(value), out, err);
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code = cli_read_text(value + 1, &text, err);
    if (code == HTH_OK) code = cli_parse_ids(hth_str_text(&text), text.len, out, err);
    hth_str_free(&text);
    return code;
}

// A folder that holds a tokenizer but no weights.
static hth_code open_in_folder(const char *path, hth_tokenizer **out, hth_err *err) {
    static const char *const names[] = {"tokenizer.json", "tekken.json", "tokenizer.model", "vocab.txt"};
    hth_code code = HTH_ERR_NOTFOUND;
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        hth_str file;
        hth_str_init(&file, HTH_MEM_TEXT, 1 << 16);
        hth_str_printf(&file, "%s/%s", path, names[i]);
        bool exists = !file.failed && hth_path_kind_of(hth_str_text(&file)) == HTH_PATH_FILE;
        if (exists) code = hth_tokenizer_load_file(hth_str_text(&file), out, err);
        hth_str_free(&file);
        if (exists) break;
    }
    return code;
}

hth_code cli_open_tokenizer(const char *path, hth_container **container, hth_tokenizer **out, hth_err *err) {
    *container = NULL;
    if (hth_path_kind_of(path) == HTH_PATH_FILE) return hth_tokenizer_load_file(path, out, err);
    hth_code code = hth_container_open(path, container, err);
    if (code != HTH_OK) {
        hth_err other;
        return open_in_folder(path, out, &other) == HTH_OK ? HTH_OK : code; // the first error tells more
    }
    code = hth_tokenizer_load(*container, out, err);
    if (code != HTH_OK) {
        hth_container_close(*container);
        *container = NULL;
    }
    return code;
}
