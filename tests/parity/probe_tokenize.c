// Tokenizes a file for the tests: ids as little-endian int32 on standard output.
//
//   probe_tokenize MODEL FILE [OPTIONS]
//     -s  add special tokens       -u  everything is a user's text
//     -l  every NUL-terminated record of FILE is a text of its own; a record's ids end with -1
//     -t  seconds for loading and for tokenizing on standard error
//     -d  FILE holds int32 ids; their text goes to standard output, pushed token by token
//
// Exits 1 with one line on standard error when something is refused.
#include <stdio.h>
#include <string.h>

#include "os/clock.h"
#include "os/file.h"
#include "text/tokenizer.h"

typedef struct options {
    bool special, user, records, time, decode;
} options;

static hth_code tokenize(const hth_tokenizer *t, const char *text, size_t n, const options *o,
                         hth_token_list *ids, hth_err *err) {
    hth_text_segment s = {.text = text, .n = n, .is_user = o->user};
    return hth_tokenize(t, &s, 1, o->special ? HTH_TOKENIZE_ADD_SPECIAL : 0, ids, err);
}

static hth_code tokenize_all(const hth_tokenizer *t, const char *text, size_t n, const options *o,
                             hth_err *err) {
    hth_token_list ids = {0};
    hth_code code = HTH_OK;
    if (!o->records) code = tokenize(t, text, n, o, &ids, err);
    for (size_t at = 0; o->records && at < n && code == HTH_OK;) {
        const char *zero = memchr(text + at, 0, n - at);
        size_t len = zero ? (size_t)(zero - text) - at : n - at;
        hth_token_list one = {0};
        code = tokenize(t, text + at, len, o, &one, err);
        int32_t end = -1;
        if (one.n > 0) fwrite(one.ids, sizeof *one.ids, one.n, stdout);
        fwrite(&end, sizeof end, 1, stdout);
        hth_token_list_free(&one);
        at += len + 1;
    }
    if (code == HTH_OK && ids.n > 0) fwrite(ids.ids, sizeof *ids.ids, ids.n, stdout);
    hth_token_list_free(&ids);
    return code;
}

static hth_code detokenize(const hth_tokenizer *t, const char *bytes, size_t n, hth_err *err) {
    hth_detokenizer d = hth_detokenizer_make(t, false);
    hth_str out;
    hth_str_init(&out, HTH_MEM_TEXT, (size_t)1 << 31);
    hth_code code = HTH_OK;
    for (size_t i = 0; i + 4 <= n && code == HTH_OK; i += 4) {
        int32_t id;
        memcpy(&id, bytes + i, 4);
        code = hth_detokenizer_push(&d, id, &out, err);
    }
    if (code == HTH_OK) code = hth_detokenizer_end(&d, &out, err);
    if (code == HTH_OK) fwrite(hth_str_text(&out), 1, out.len, stdout);
    hth_str_free(&out);
    return code;
}

int main(int argc, char **argv) {
    options o = {0};
    if (argc < 3) return 2;
    for (int i = 3; i < argc; i++) {
        o.special = o.special || strcmp(argv[i], "-s") == 0;
        o.user = o.user || strcmp(argv[i], "-u") == 0;
        o.records = o.records || strcmp(argv[i], "-l") == 0;
        o.time = o.time || strcmp(argv[i], "-t") == 0;
        o.decode = o.decode || strcmp(argv[i], "-d") == 0;
    }
    hth_err err;
    hth_tokenizer *t = NULL;
    char *text = NULL;
    size_t n = 0;
    uint64_t t0 = hth_clock_ns();
    hth_code code = hth_tokenizer_load_file(argv[1], &t, &err);
    uint64_t t1 = hth_clock_ns();
    if (code == HTH_OK) code = hth_file_read(argv[2], HTH_MEM_MISC, (uint64_t)1 << 32, &text, &n, &err);
    uint64_t t2 = hth_clock_ns();
    if (code == HTH_OK) code = o.decode ? detokenize(t, text, n, &err) : tokenize_all(t, text, n, &o, &err);
    if (o.time)
        fprintf(stderr, "load %.6f run %.6f\n", (double)(t1 - t0) * 1e-9,
                (double)(hth_clock_ns() - t2) * 1e-9);
    if (code != HTH_OK) fprintf(stderr, "%s\n", err.msg);
    hth_tokenizer_free(t);
    hth_free(text);
    return code == HTH_OK ? 0 : 1;
}
