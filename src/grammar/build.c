// Limits, memory and errors of a compilation.
#include "grammar/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORK_MAX 400000000u // elementary steps of one compilation: some seconds

static uint32_t or_default(uint32_t v, uint32_t dflt) {
    return v ? v : dflt;
}

void g_build_init(g_build *b, const hth_grammar_options *o, hth_err *err) {
    const hth_grammar_options none = {0};
    if (!o) o = &none;
    *b = (g_build){.limits = o->limits, .lenient = o->lenient, .space = o->space, .err = err, .work = WORK_MAX};
    b->limits.nesting = or_default(b->limits.nesting, 64);
    b->limits.repetition = or_default(b->limits.repetition, 20000);
    b->limits.alternatives = or_default(b->limits.alternatives, 20000);
    b->limits.states = or_default(b->limits.states, 400000);
    if (b->limits.bytes == 0) b->limits.bytes = 256u << 20;
    hth_arena_init(&b->arena, HTH_MEM_TEXT, b->limits.bytes);
    hth_str_init(&b->literals, HTH_MEM_TEXT, 64u << 20);
    b->start_rule = G_NONE;
}

void g_build_free(g_build *b) {
    hth_arena_free(&b->arena);
    hth_free(b->nodes);
    hth_free(b->kids);
    hth_free(b->sets);
    hth_str_free(&b->literals);
    hth_free(b->dfas);
    for (size_t i = 0; i < b->n_charset; i++) hth_cpset_free(&b->charsets[i].set);
    hth_free(b->charsets);
    if (b->has_unicode) hth_unicode_free(&b->unicode);
    hth_free(b->terms);
    hth_free(b->term_rx);
    hth_free(b->tokens);
    hth_free(b->heads);
    hth_free(b->edges);
    hth_free(b->rules);
    hth_free(b->widened);
}

bool g_fail(g_build *b, hth_code code, const char *fmt, ...) {
    if (b->code != HTH_OK) return false;
    char msg[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    b->code = hth_fail(b->err, code, "%s", msg);
    return false;
}

bool g_fail_nomem(g_build *b) {
    return g_fail(b, HTH_ERR_NOMEM, "the grammar does not fit in the memory that it may use");
}

bool g_work(g_build *b, uint64_t n) {
    if (b->code != HTH_OK) return false;
    if (b->work < n) {
        b->work = 0;
        return g_fail(b, HTH_ERR_LIMIT, "compiling the grammar takes more steps than allowed (%u)", WORK_MAX);
    }
    b->work -= n;
    return true;
}

void *g_alloc(g_build *b, size_t count, size_t size) {
    if (b->code != HTH_OK) return NULL;
    void *p = hth_arena_alloc(&b->arena, count, size);
    if (!p) {
        g_fail(b, HTH_ERR_LIMIT, "the grammar takes more memory than allowed (%llu bytes)",
               (unsigned long long)b->limits.bytes);
    }
    return p;
}

const hth_unicode *g_unicode(g_build *b) {
    if (b->has_unicode) return &b->unicode;
    if (b->code != HTH_OK) return NULL;
    b->code = hth_unicode_init(&b->unicode, b->err);
    b->has_unicode = b->code == HTH_OK;
    return b->has_unicode ? &b->unicode : NULL;
}
