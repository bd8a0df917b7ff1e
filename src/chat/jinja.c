// Compiling and rendering: the template engine's two calls.
#include "chat/jinja.h"

#include <stdio.h>

#include "chat/jinja_impl.h"
#include "formats/utf8.h"

#define MAX_COMPILED ((uint64_t)256 << 20)

hth_jinja_limits hth_jinja_default_limits(void) {
    return (hth_jinja_limits){.max_steps = 20000000, .max_bytes = (uint64_t)512 << 20,
                              .max_out_bytes = (uint64_t)128 << 20, .max_depth = 1000};
}

// Keeps the source with \n for every line break, without one at its end.
static hth_code take_source(hth_jinja *t, const char *source, size_t n, hth_err *err) {
    char *copy = hth_arena_alloc(&t->arena, n + 1, 1);
    if (!copy) return hth_fail_nomem(err, n);
    for (size_t i = 0; i < n;) {
        unsigned len = hth_utf8_len((const uint8_t *)source + i, n - i);
        if (len == 0) return hth_fail_at(err, HTH_ERR_FORMAT, i, "the chat template is not UTF-8");
        if (source[i] == '\r') {
            copy[t->n_source++] = '\n';
            i += 1 + (i + 1 < n && source[i + 1] == '\n');
            continue;
        }
        memcpy(copy + t->n_source, source + i, len);
        t->n_source += len;
        i += len;
    }
    if (t->n_source > 0 && copy[t->n_source - 1] == '\n') t->n_source--;
    copy[t->n_source] = 0;
    t->source = copy;
    return HTH_OK;
}

static hth_code compile(hth_jinja *t, const char *source, size_t n, hth_err *err) {
    jj_tokens tokens = {0};
    HTH_TRY(take_source(t, source, n, err));
    hth_code code = jj_lex(t, &tokens, err);
    if (code == HTH_OK) code = jj_parse(t, &tokens, err);
    hth_free(tokens.p);
    return code == HTH_OK ? jj_bind_names(t, err) : code;
}

hth_code hth_jinja_compile(const char *source, size_t n, hth_jinja **out, hth_err *err) {
    if (n > HTH_JINJA_MAX_SOURCE) {
        return hth_fail(err, HTH_ERR_LIMIT, "the chat template has %zu bytes; the limit is %zu", n, HTH_JINJA_MAX_SOURCE);
    }
    hth_jinja *t = hth_calloc(HTH_MEM_TEXT, 1, sizeof *t);
    if (!t) return hth_fail_nomem(err, sizeof *t);
    hth_arena_init(&t->arena, HTH_MEM_TEXT, MAX_COMPILED);
    hth_code code = compile(t, source, n, err);
    if (code != HTH_OK) {
        hth_jinja_free(t);
        return code;
    }
    *out = t;
    return HTH_OK;
}

void hth_jinja_free(hth_jinja *t) {
    if (!t) return;
    hth_arena_free(&t->arena);
    hth_free(t);
}

// ---- literals ----

static bool literal_has(const jj_node *n, const jj_str *word);

static bool literals_have(jj_nodes list, const jj_str *word) {
    for (uint32_t i = 0; i < list.n; i++) {
        if (literal_has(list.p[i], word)) return true;
    }
    return false;
}

static bool literal_has(const jj_node *n, const jj_str *word) {
    if (!n) return false;
    if ((n->type == JJ_DATA || n->type == JJ_CONST) && jj_is_str(n->value)) {
        return jj_find(n->value.u.s, word, 0, n->value.u.s->n) >= 0;
    }
    return literal_has(n->a, word) || literal_has(n->b, word) || literal_has(n->c, word) ||
           literals_have(n->list, word) || literals_have(n->list2, word) || literals_have(n->list3, word);
}

bool hth_jinja_has_literal(const hth_jinja *t, const char *word, size_t n) {
    jj_str s = {.p = word, .n = (uint32_t)n};
    return n > 0 && n < UINT32_MAX && literals_have(t->body, &s);
}

// ---- rendering ----

// "line 3: what went wrong, in `messages[0].x`".
static hth_code tell(jj_vm *vm, hth_code code, hth_err *err) {
    const jj_node *n = vm->failed;
    char where[160] = "", text[512];
    if (n && n->end > n->begin) {
        uint32_t len = n->end - n->begin, shown = len < 80 ? len : 80;
        while (shown > 0 && shown < len && hth_utf8_is_tail((uint8_t)vm->t->source[n->begin + shown])) shown--;
        snprintf(where, sizeof where, ", in `%.*s%s`", (int)shown, vm->t->source + n->begin, shown < len ? "..." : "");
    }
    for (char *p = where; *p; p++) {
        if (*p == '\n') *p = ' ';
    }
    snprintf(text, sizeof text, "%s", err->msg);
    return hth_fail(err, code, "chat template, line %u: %.330s%s", vm->failed_line, text, where);
}

// The text as one block: segments first, then the bytes.
static hth_code copy_out(jj_vm *vm, const jj_buf *b, hth_jinja_text *out, hth_err *err) {
    size_t n_segment = b->n_run, head = (n_segment + 1) * sizeof *out->segments;
    for (uint32_t i = 0; i < b->n;) {
        unsigned len = hth_utf8_len((const uint8_t *)b->p + i, b->n - i);
        if (len == 0) {
            vm->failed_line = vm->line;
            return hth_fail(err, HTH_ERR_FORMAT, "the text has a lone surrogate, which is no character");
        }
        i += len;
    }
    out->segments = hth_alloc(HTH_MEM_TEXT, head + b->n + 1);
    if (!out->segments) return hth_fail_nomem(err, head + b->n + 1);
    char *bytes = (char *)(out->segments + n_segment + 1);
    if (b->n > 0) memcpy(bytes, b->p, b->n);
    bytes[b->n] = 0;
    uint32_t from = 0;
    for (size_t i = 0; i < n_segment; i++) {
        out->segments[i] = (hth_text_segment){bytes + from, b->runs[i].end - from, b->runs[i].is_client};
        from = b->runs[i].end;
    }
    out->n = n_segment;
    return HTH_OK;
}

static hth_code render(jj_vm *vm, hth_jinja_text *out, hth_err *err) {
    jj_value globals, vars;
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_new_dict(vm, &globals));
    HTH_TRY(jj_new_dict(vm, &vars));
    vm->globals = globals.u.dict;
    vm->vars = vars.u.dict;
    vm->out = &b;
    HTH_TRY(jj_add_globals(vm, vm->globals));
    HTH_TRY(jj_run_root(vm));
    return copy_out(vm, &b, out, err);
}

hth_code hth_jinja_render(const hth_jinja *t, const hth_jinja_value *vars, const hth_jinja_limits *limits,
                          const hth_jinja_time *now, hth_jinja_text *out, hth_err *err) {
    hth_err local;
    jj_vm vm = {.t = t, .limits = limits ? *limits : hth_jinja_default_limits(), .now = now, .given = vars->u.dict,
                .err = err ? err : &local, .line = 1, .random = 1};
    *out = (hth_jinja_text){0};
    vm.steps = vm.limits.max_steps;
    if (vm.limits.max_out_bytes > UINT32_MAX / 4) vm.limits.max_out_bytes = UINT32_MAX / 4;
    hth_arena_init(&vm.arena, HTH_MEM_TEXT, vm.limits.max_bytes);
    hth_code code = render(&vm, out, vm.err);
    if (code != HTH_OK) {
        out->line = vm.failed_line;
        code = tell(&vm, code, vm.err);
    }
    hth_arena_free(&vm.arena);
    return code;
}

void hth_jinja_text_free(hth_jinja_text *text) {
    hth_free(text->segments);
    *text = (hth_jinja_text){0};
}
