// Prompts that fill in the middle, for the Python tests: probe_infill MODEL reads one JSON object per line of standard
// input, {"prefix", "suffix", "path", "repo", "files": [["path", "text"]], "order": "psm"|"spm", "max_text", "max_all"},
// and writes {"format": "...", "ids": [...], "taken": [prefix, suffix, files]} or {"error": "..."}.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "chat/infill.h"

#define MAX_FILES 16

static hth_chat_text text_of(const hth_json *v, const char *key) {
    const hth_json *text = hth_json_get(v, key);
    return text && text->kind == HTH_JSON_STRING ? (hth_chat_text){text->u.str, text->n} : (hth_chat_text){NULL, 0};
}

static size_t number_of(const hth_json *v, const char *key) {
    const hth_json *number = hth_json_get(v, key);
    return number ? (size_t)number->u.num.i : 0;
}

static hth_infill_request read_request(const hth_json *v, hth_infill_file *files) {
    const hth_json *list = hth_json_get(v, "files");
    const char *order = hth_json_str(v, "order", "", NULL);
    hth_infill_request r = {.prefix = text_of(v, "prefix"), .suffix = text_of(v, "suffix"), .path = text_of(v, "path"),
                            .repo = text_of(v, "repo"), .files = files, .max_text = number_of(v, "max_text"),
                            .max_all = number_of(v, "max_all")};
    r.order = strcmp(order, "psm") == 0 ? HTH_INFILL_PSM : strcmp(order, "spm") == 0 ? HTH_INFILL_SPM : HTH_INFILL_OWN;
    for (uint32_t i = 0; list && i < list->n && i < MAX_FILES; i++) {
        const hth_json *pair = list->u.items[i].u.items;
        files[r.n_file++] = (hth_infill_file){{pair[0].u.str, pair[0].n}, {pair[1].u.str, pair[1].n}};
    }
    return r;
}

static void write_prompt(hth_json_out *j, const hth_infill_format *f, const hth_token_list *ids, const hth_infill_counts *c) {
    const size_t taken[] = {c->prefix_taken, c->suffix_taken, c->files_taken};
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "format", f->name);
    hth_json_out_begin(j, "ids", '[');
    for (size_t i = 0; i < ids->n; i++) hth_json_out_int(j, NULL, ids->ids[i]);
    hth_json_out_end(j, ']');
    hth_json_out_begin(j, "taken", '[');
    for (size_t i = 0; i < 3; i++) hth_json_out_int(j, NULL, (int64_t)taken[i]);
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

static void answer(const hth_tokenizer *t, const char *line, size_t n, hth_json_out *j) {
    hth_err err;
    hth_json_doc *doc = NULL;
    hth_token_list ids = {0};
    hth_infill_counts counts;
    hth_infill_format f;
    hth_infill_file files[MAX_FILES];
    hth_infill_request r = {0};
    hth_code code = hth_json_parse(line, n, (uint64_t)1 << 30, &doc, &err);
    if (code == HTH_OK) r = read_request(hth_json_root(doc), files);
    if (code == HTH_OK) code = hth_infill_find(t, &f, &err);
    if (code == HTH_OK) code = hth_infill_prompt(&f, t, &r, &ids, &counts, &err);
    if (code == HTH_OK) {
        write_prompt(j, &f, &ids, &counts);
    } else {
        hth_json_out_begin(j, NULL, '{');
        hth_json_out_text(j, "error", err.msg);
        hth_json_out_text(j, "code", hth_code_name(code));
        hth_json_out_end(j, '}');
    }
    hth_token_list_free(&ids);
    hth_json_free(doc);
}

int main(int argc, char **argv) {
    hth_err err;
    hth_container *c = NULL;
    hth_tokenizer *t = NULL;
    if (argc != 2 || hth_container_open(argv[1], &c, &err) != HTH_OK || hth_tokenizer_load(c, &t, &err) != HTH_OK) {
        fprintf(stderr, "%s\n", argc == 2 ? err.msg : "usage: probe_infill MODEL");
        return 1;
    }
    hth_str out;
    hth_str_init(&out, HTH_MEM_MISC, SIZE_MAX / 2);
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        hth_json_out j = hth_json_out_make(&out, false);
        answer(t, line, (size_t)n, &j);
        hth_str_putc(&out, '\n');
        fwrite(hth_str_text(&out), 1, out.len, stdout);
        fflush(stdout);
        hth_str_clear(&out);
    }
    free(line);
    hth_str_free(&out);
    hth_tokenizer_free(t);
    hth_container_close(c);
    return 0;
}
