// What the fuzz targets of grammars share: a grammar compiled with small limits, a random walk through it by its masks,
// and what must hold on the way.
#ifndef HTH_FUZZ_GRAMMAR_WALK_H
#define HTH_FUZZ_GRAMMAR_WALK_H

#include "grammar/chart.h"
#include "../unit/grammar/toy.h"

typedef hth_code (*fuzz_compile)(const char *text, size_t n, const hth_grammar_options *o, hth_grammar **out, hth_err *err);

static void fuzz_walk(hth_grammar *g) {
    static hth_tokenizer *t;
    static hth_grammar_vocab *vocab;
    hth_err err = {.msg = ""};
    hth_guide *guide;
    uint32_t mask[64], seed = 1;
    if (!t) {
        t = toy_tokenizer();
        if (hth_grammar_vocab_new(t, &vocab, &err) != HTH_OK) abort();
    }
    if (!g) return; // only to have the vocabulary made
    const int32_t n = hth_tokenizer_n_vocab(t);
    if (hth_guide_new(&(hth_guide_params){.grammar = g, .vocab = vocab, .max_bytes = 4u << 20}, &guide, &err) != HTH_OK) {
        if (err.code != HTH_ERR_NOTFOUND && err.code != HTH_ERR_LIMIT) abort();
        return;
    }
    for (int i = 0; i < 24 && !hth_guide_is_done(guide); i++) {
        if (hth_guide_mask(guide, mask, &err) != HTH_OK) break;
        int32_t token = (int32_t)((seed = seed * 1664525u + 1013904223u) % (uint32_t)n), tried = 0;
        while (tried < n && !(mask[token / 32] >> (token % 32) & 1)) token = (token + 1) % n, tried++;
        if (tried == n) abort(); // a living place has a way on: all bytes are tokens
        if (hth_guide_accept(guide, token, &err) != HTH_OK && err.code != HTH_ERR_LIMIT) abort();
        if (i % 7 == 6 && hth_guide_rollback(guide, 2, &err) != HTH_OK) abort();
    }
    hth_guide_free(guide);
}

static void fuzz_grammar(fuzz_compile compile, const uint8_t *data, size_t size) {
    hth_mem_stats before, after;
    hth_err err = {.msg = ""};
    hth_grammar *g = NULL;
    const hth_grammar_options o = {.lenient = size % 2, .limits = {.repetition = 300, .states = 20000, .bytes = 32u << 20}};
    fuzz_walk(NULL);
    hth_mem_get_stats(&before);
    const hth_code code = compile((const char *)data, size, &o, &g, &err);
    if ((code == HTH_OK) != (g != NULL) || (code != HTH_OK && err.msg[0] == 0) || code == HTH_ERR_INTERNAL) abort();
    if (g) fuzz_walk(g);
    hth_grammar_free(g);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
}

#endif
