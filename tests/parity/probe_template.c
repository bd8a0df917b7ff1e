// Renders templates for the Python tests: one JSON object per line of standard input,
// {"template": "...", "vars": {...}, "now": [year, month, day, hour, minute, second, weekday, yearday]},
// one per line of output, {"segments": [["text", is_client], ...]} or {"error": "...", "line": n, "code": "..."}.
// The last template stays compiled.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "chat/jinja.h"

typedef struct probe {
    hth_jinja *t;
    char *source; // of t
    size_t n_source;
} probe;

static void write_error(hth_json_out *j, const hth_err *err, uint32_t line, bool is_compile) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "error", err->msg);
    hth_json_out_text(j, "code", hth_code_name(err->code));
    hth_json_out_bool(j, "compile", is_compile);
    hth_json_out_int(j, "line", line);
    hth_json_out_end(j, '}');
}

static void write_text(hth_json_out *j, const hth_jinja_text *text) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_begin(j, "segments", '[');
    for (size_t i = 0; i < text->n; i++) {
        hth_json_out_begin(j, NULL, '[');
        hth_json_out_str(j, NULL, text->segments[i].text, text->segments[i].n);
        hth_json_out_bool(j, NULL, text->segments[i].is_user);
        hth_json_out_end(j, ']');
    }
    hth_json_out_end(j, ']');
    hth_json_out_end(j, '}');
}

static hth_jinja_time read_time(const hth_json *v) {
    int part[8] = {2024, 7, 26, 12, 34, 56, 4, 208};
    for (uint32_t i = 0; v && i < v->n && i < 8; i++) part[i] = (int)v->u.items[i].u.num.i;
    return (hth_jinja_time){part[0], part[1], part[2], part[3], part[4], part[5], part[6], part[7]};
}

static hth_code compile(probe *p, const hth_json *source, hth_err *err) {
    if (p->t && p->n_source == source->n && memcmp(p->source, source->u.str, source->n) == 0) return HTH_OK;
    hth_jinja_free(p->t);
    hth_free(p->source);
    p->t = NULL;
    p->source = hth_strndup(HTH_MEM_MISC, source->u.str, source->n);
    p->n_source = source->n;
    return hth_jinja_compile(source->u.str, source->n, &p->t, err);
}

static void answer(probe *p, const char *line, size_t n, hth_json_out *j) {
    hth_err err;
    hth_json_doc *doc = NULL;
    hth_jinja_value vars;
    hth_jinja_text text = {0};
    hth_arena arena;
    hth_arena_init(&arena, HTH_MEM_MISC, (uint64_t)1 << 30);
    hth_code code = hth_json_parse(line, n, (uint64_t)1 << 30, &doc, &err);
    const hth_json *root = code == HTH_OK ? hth_json_root(doc) : NULL;
    hth_jinja_time now = read_time(hth_json_get(root, "now"));
    bool is_compile = true;
    if (code == HTH_OK) {
        code = hth_jinja_from_json(&arena, hth_json_get(root, "vars"), line, n, HTH_JINJA_OF_CLIENT, &vars, &err);
    }
    if (code == HTH_OK) code = compile(p, hth_json_get(root, "template"), &err);
    if (code == HTH_OK) {
        is_compile = false;
        code = hth_jinja_render(p->t, &vars, NULL, &now, &text, &err);
    }
    if (code == HTH_OK) {
        write_text(j, &text);
    } else {
        write_error(j, &err, text.line, is_compile);
    }
    hth_jinja_text_free(&text);
    hth_arena_free(&arena);
    hth_json_free(doc);
}

int main(void) {
    probe p = {0};
    hth_str out;
    hth_str_init(&out, HTH_MEM_MISC, SIZE_MAX / 2);
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        hth_json_out j = hth_json_out_make(&out, false);
        answer(&p, line, (size_t)n, &j);
        hth_str_putc(&out, '\n');
        fwrite(hth_str_text(&out), 1, out.len, stdout);
        fflush(stdout);
        hth_str_clear(&out);
    }
    free(line);
    hth_str_free(&out);
    hth_free(p.source);
    hth_jinja_free(p.t);
    return 0;
}
