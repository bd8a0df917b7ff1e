// A completion's place in a grammar, and the masks of tokens there.
//
// A mask is made once per place and kept. Where one terminal's automaton takes all plain text of some length, the tokens
// made of that are allowed together (vocab.h); the other tries are walked byte by byte along the places.
#include <string.h>

#include "grammar/chart.h"
#include "grammar/forced.h"
#include "grammar/plain.h"
#include "grammar/vocab.h"

#define MAX_MASKS 512 // kept; then all are made anew as they are needed
#define MAX_INSIDE 64 // states of terminals whose tokens are kept, likewise
#define FORCED_MAX 4096 // bytes looked ahead
#define BYTES_DEFAULT (64u << 20)

typedef struct step {
    int32_t token;
    uint32_t place; // after it; PLACE_NONE after an end token
} step;

// The bytes that may come at a place, found once for all tries that are walked from it.
typedef struct first_bytes {
    uint8_t list[256];
    size_t n;
} first_bytes;

// Where a terminal may end within a token: the trie's node, and the state.
typedef struct way_out {
    const trie_group *trie;
    uint32_t node, q;
} way_out;

// What a terminal's automaton says about tokens, wherever in the grammar it stands: those that stay inside of it, and
// where others leave it.
typedef struct inside {
    uint32_t term, q;
    first_bytes first;
    uint32_t *bits; // owned, [n_word]
    way_out *outs;  // owned
    size_t n_out, cap_out;
} inside;

struct hth_guide {
    hth_grammar *grammar; // held
    const hth_grammar_vocab *vocab;
    int32_t *ends; // owned
    size_t n_end;
    g_token_set *tokens; // owned, [grammar->n_tokens]: found in this vocabulary
    hth_chart chart;
    plain_memo plain;
    uint32_t place;
    step *steps; // owned
    size_t n_step, cap_step;
    uint32_t *masks; // owned, [cap_mask, n_word]
    size_t n_mask, cap_mask;
    uint32_t *walk;  // owned, [max_len + 2]: the places, or states, on the way to a trie's node
    inside kept[MAX_INSIDE]; // of tokens that are neither plain nor long
    size_t n_kept;
    inside rest; // of the other tokens, made anew each time
};

// ---- making one

static bool has_some(const hth_grammar_vocab *v, const g_token_set *set) {
    for (int32_t id = 0; id < v->n_vocab; id++) {
        if (g_token_is_in(set, id, v->text[id + 1] > v->text[id])) return true;
    }
    return false;
}

// A set without tokens would be a place where nothing can come: it is refused.
static hth_code find_tokens(hth_guide *g, hth_err *err) {
    const hth_grammar *gr = g->grammar;
    g->tokens = hth_calloc(HTH_MEM_TEXT, (size_t)gr->n_tokens + 1, sizeof *g->tokens);
    if (!g->tokens) return hth_fail_nomem(err, gr->n_tokens * sizeof *g->tokens);
    for (uint32_t i = 0; i < gr->n_tokens; i++) {
        g->tokens[i] = gr->tokens[i];
        if (!gr->tokens[i].name) {
            if (has_some(g->vocab, &g->tokens[i])) continue;
            return hth_fail(err, HTH_ERR_NOTFOUND, "the grammar names tokens %s%d to %d, which the vocabulary of %d does not have",
                            gr->tokens[i].is_other ? "other than " : "", gr->tokens[i].first, gr->tokens[i].last, g->vocab->n_vocab);
        }
        const int32_t id = hth_tokenizer_find(g->vocab->tokenizer, gr->tokens[i].name, gr->tokens[i].n_name);
        if (id < 0) {
            return hth_fail(err, HTH_ERR_NOTFOUND, "the grammar names the token %.*s, which the vocabulary does not have",
                            (int)gr->tokens[i].n_name, gr->tokens[i].name);
        }
        g->tokens[i].first = g->tokens[i].last = id;
    }
    return HTH_OK;
}

static hth_code find_ends(hth_guide *g, const hth_guide_params *p, hth_err *err) {
    const hth_tokenizer *t = g->vocab->tokenizer;
    size_t n = p->end_tokens ? p->n_end : 0;
    for (int32_t id = 0; !p->end_tokens && id < g->vocab->n_vocab; id++) n += hth_tokenizer_is_end(t, id);
    g->ends = hth_calloc(HTH_MEM_TEXT, n + 1, sizeof *g->ends);
    if (!g->ends) return hth_fail_nomem(err, n * sizeof *g->ends);
    for (int32_t id = 0; !p->end_tokens && id < g->vocab->n_vocab; id++) {
        if (hth_tokenizer_is_end(t, id)) g->ends[g->n_end++] = id;
    }
    for (size_t i = 0; p->end_tokens && i < n; i++) {
        if (p->end_tokens[i] < 0 || p->end_tokens[i] >= g->vocab->n_vocab) {
            return hth_fail(err, HTH_ERR_RANGE, "the end token %d is outside the vocabulary", (int)p->end_tokens[i]);
        }
        g->ends[g->n_end++] = p->end_tokens[i];
    }
    return HTH_OK;
}

hth_code hth_guide_new(const hth_guide_params *p, hth_guide **out, hth_err *err) {
    hth_guide *g = hth_calloc(HTH_MEM_TEXT, 1, sizeof *g);
    if (!g) return hth_fail_nomem(err, sizeof *g);
    g->grammar = hth_grammar_hold(p->grammar);
    g->vocab = p->vocab;
    g->walk = hth_calloc(HTH_MEM_TEXT, p->vocab->max_len + 2, sizeof *g->walk);
    hth_code code = g->walk ? HTH_OK : hth_fail_nomem(err, p->vocab->max_len);
    if (code == HTH_OK) code = find_tokens(g, err);
    if (code == HTH_OK) code = find_ends(g, p, err);
    if (code == HTH_OK) code = chart_init(&g->chart, g->grammar, p->max_bytes ? p->max_bytes : BYTES_DEFAULT, err);
    if (code != HTH_OK) {
        hth_guide_free(g);
        return code;
    }
    g->place = g->chart.start;
    *out = g;
    return HTH_OK;
}

void hth_guide_free(hth_guide *g) {
    if (!g) return;
    chart_free(&g->chart);
    plain_free(&g->plain);
    hth_grammar_free(g->grammar);
    hth_free(g->ends);
    hth_free(g->tokens);
    hth_free(g->steps);
    hth_free(g->masks);
    hth_free(g->walk);
    for (size_t i = 0; i < MAX_INSIDE; i++) {
        hth_free(g->kept[i].bits);
        hth_free(g->kept[i].outs);
    }
    hth_free(g->rest.outs);
    hth_free(g);
}

// ---- steps

static bool is_end(const hth_guide *g, int32_t token) {
    for (size_t i = 0; i < g->n_end; i++) {
        if (g->ends[i] == token) return true;
    }
    return false;
}

// The place after a token, PLACE_NONE where it may not come.
static uint32_t step_token(hth_guide *g, uint32_t place, int32_t token) {
    size_t n;
    const uint8_t *text = vocab_text(g->vocab, token, &n);
    if (g->grammar->n_tokens > 0) {
        const uint32_t to = chart_step_token(&g->chart, place, g->tokens, token, n > 0);
        if (to != PLACE_NONE) return to;
    }
    if (n == 0) return PLACE_NONE;
    for (size_t i = 0; i < n && place != PLACE_NONE; i++) place = chart_step(&g->chart, place, g->grammar->class_of[text[i]]);
    return place;
}

static hth_code told(hth_guide *g, hth_err *err) {
    if (g->chart.code == HTH_OK) return HTH_OK;
    return hth_fail(err, g->chart.code, "following the grammar takes more memory than allowed (%llu bytes)",
                    (unsigned long long)g->chart.max_bytes);
}

// Forgets the places and finds the present one again.
static hth_code renew(hth_guide *g, hth_err *err) {
    HTH_TRY(chart_reset(&g->chart, err));
    g->n_mask = 0;
    g->place = g->chart.start;
    for (size_t i = 0; i < g->n_step && g->steps[i].place != PLACE_NONE; i++) {
        g->place = g->steps[i].place = step_token(g, g->place, g->steps[i].token);
        HTH_TRY(told(g, err));
    }
    if (g->n_step > 0) g->place = g->steps[g->n_step - 1].place;
    return HTH_OK;
}

// Before anything that may need more places.
static hth_code make_room(hth_guide *g, hth_err *err) {
    if (g->chart.n_bytes < g->chart.max_bytes / 4 * 3 && g->chart.code == HTH_OK) return HTH_OK;
    return renew(g, err);
}

hth_code hth_guide_accept(hth_guide *g, int32_t token, hth_err *err) {
    if (token < 0 || token >= g->vocab->n_vocab) return hth_fail(err, HTH_ERR_RANGE, "token %d is outside the vocabulary", (int)token);
    if (!hth_grow(HTH_MEM_TEXT, (void **)&g->steps, &g->cap_step, g->n_step + 1, sizeof *g->steps, SIZE_MAX)) {
        return hth_fail_nomem(err, (g->n_step + 1) * sizeof *g->steps);
    }
    HTH_TRY(make_room(g, err));
    uint32_t to = g->place == PLACE_NONE ? PLACE_NONE : step_token(g, g->place, token);
    HTH_TRY(told(g, err));
    const bool ends = to == PLACE_NONE && hth_guide_is_accepting(g) && is_end(g, token);
    if (to == PLACE_NONE && !ends) {
        return hth_fail(err, HTH_ERR_RANGE, "the grammar does not allow token %d here", (int)token);
    }
    g->steps[g->n_step++] = (step){token, to};
    g->place = to;
    return HTH_OK;
}

hth_code hth_guide_rollback(hth_guide *g, size_t n, hth_err *err) {
    if (n > g->n_step) return hth_fail(err, HTH_ERR_RANGE, "%zu tokens cannot be taken back: there are %zu", n, g->n_step);
    g->n_step -= n;
    g->place = g->n_step > 0 ? g->steps[g->n_step - 1].place : g->chart.start;
    return HTH_OK;
}

hth_code hth_guide_sync(hth_guide *g, const int32_t *tokens, size_t n, hth_err *err) {
    size_t same = 0;
    while (same < n && same < g->n_step && g->steps[same].token == tokens[same]) same++;
    HTH_TRY(hth_guide_rollback(g, g->n_step - same, err));
    for (size_t i = same; i < n; i++) HTH_TRY(hth_guide_accept(g, tokens[i], err));
    return HTH_OK;
}

bool hth_guide_is_accepting(const hth_guide *g) {
    return g->place != PLACE_NONE && g->chart.places[g->place].accepting;
}

bool hth_guide_is_done(hth_guide *g) {
    return g->place == PLACE_NONE || (hth_guide_is_accepting(g) && g->chart.places[g->place].n_config == 0);
}

// ---- masks

static void set_token(const hth_guide *g, uint32_t *mask, int32_t token) {
    for (; token >= 0; token = g->vocab->same[token]) mask[token / 32] |= 1u << (token % 32);
}

// Allows the tokens of a part of a trie, [from, end), that lead from the place of the walk to a place.
static void walk_nodes(hth_guide *g, const trie_group *t, size_t from, size_t end, uint32_t *mask) {
    const uint8_t *class_of = g->grammar->class_of;
    const trie_node *nodes = t->nodes;
    uint32_t *at = g->walk;
    for (size_t i = from; i < end;) {
        const trie_node node = nodes[i];
        const uint32_t to = chart_step(&g->chart, at[node.depth], class_of[node.byte]);
        if (to == PLACE_NONE) {
            i = node.end;
            continue;
        }
        at[node.depth + 1] = to;
        if (t->tokens[i] >= 0) set_token(g, mask, t->tokens[i]);
        i++;
    }
}

static void find_first(hth_guide *g, uint32_t place, first_bytes *out) {
    bool may[256];
    for (uint32_t c = 0; c < g->grammar->n_class; c++) may[c] = chart_step(&g->chart, place, c) != PLACE_NONE;
    out->n = 0;
    for (unsigned b = 0; b < 256; b++) {
        if (may[g->grammar->class_of[b]]) out->list[out->n++] = (uint8_t)b;
    }
    g->walk[0] = place;
}

static void walk_trie(hth_guide *g, const trie_group *t, const first_bytes *first, uint32_t *mask) {
    for (size_t i = 0; i < first->n; i++) {
        const unsigned b = first->list[i];
        if (t->first[b] < t->first[b + 1]) walk_nodes(g, t, t->first[b], t->first[b + 1], mask);
    }
}

// How many of the length groups of a class are allowed together: those whose characters some terminal takes.
static int n_plain_groups(hth_guide *g, const chart_place *p, int class) {
    unsigned most = 0;
    for (uint32_t i = 0; i < p->n_config && most < PLAIN_MAX; i++) {
        const chart_config *f = &g->chart.configs[p->config + i];
        const unsigned n = plain_length(&g->plain, g->grammar, &g->grammar->terms[f->term], f->q, class);
        if (n > most) most = n;
    }
    int k = 0;
    while (k < N_LENGTHS && g_lengths[k] <= most) k++;
    return k;
}

// ---- one terminal: what its automaton says is found without places

// A state that allows the same tokens of at most PLAIN_MAX bytes: counts far from their limits are alike.
static uint32_t like_state(const g_term *t, uint32_t q) {
    if (t->kind != TERM_COUNTED || q < 3) return q;
    const uint32_t count = (q - 3) >> G_COUNT_SHIFT;
    if (t->max == G_INFINITE || count < t->min || t->max - count <= PLAIN_MAX) return q;
    const uint32_t like = t->max - PLAIN_MAX - 1; // as far from the upper limit as counts
    return like > count ? q + ((like - count) << G_COUNT_SHIFT) : q;
}

static bool add_out(hth_guide *g, inside *in, way_out out) {
    if (hth_grow(HTH_MEM_TEXT, (void **)&in->outs, &in->cap_out, in->n_out + 1, sizeof out, SIZE_MAX)) {
        in->outs[in->n_out++] = out;
        return true;
    }
    g->chart.code = HTH_ERR_NOMEM;
    return false;
}

// Walks [from, end) of a trie. The same loop is compiled for each kind of terminal.
static HTH_ALWAYS_INLINE void walk_kind(hth_guide *g, const trie_group *t, size_t from, size_t end, inside *in, g_term_kind kind,
                                        uint32_t *bits) {
    const g_term *term = &g->grammar->terms[in->term];
    const g_dfa *d = &g->grammar->dfas[term->dfa];
    const trie_node *nodes = t->nodes;
    uint32_t *at = g->walk;
    at[0] = in->q;
    for (size_t i = from; i < end;) {
        const trie_node node = nodes[i];
        const uint32_t last = at[node.depth];
        const uint32_t q = kind == TERM_DFA ? g_dfa_step(d, last, node.byte) : counted_step(d, term, last, node.byte);
        if (q == 0) {
            i = node.end;
            continue;
        }
        at[node.depth + 1] = q;
        if (t->tokens[i] >= 0) set_token(g, bits, t->tokens[i]);
        const bool accepts = kind == TERM_DFA ? d->accept[q] != 0 : q == 2;
        if (accepts && node.end > i + 1 && !add_out(g, in, (way_out){t, (uint32_t)i, q})) return;
        i++;
    }
}

static void walk_inside(hth_guide *g, const trie_group *t, inside *in, uint32_t *bits) {
    for (size_t k = 0; k < in->first.n; k++) {
        const uint32_t from = t->first[in->first.list[k]], end = t->first[in->first.list[k] + 1];
        if (from == end) continue;
        if (g->grammar->terms[in->term].kind == TERM_DFA) {
            walk_kind(g, t, from, end, in, TERM_DFA, bits);
        } else {
            walk_kind(g, t, from, end, in, TERM_COUNTED, bits);
        }
    }
}

static void begin_inside(const hth_grammar *gr, uint32_t term, uint32_t q, inside *in) {
    in->term = term;
    in->q = q;
    in->n_out = in->first.n = 0;
    for (unsigned b = 0; b < 256; b++) {
        if (term_step(gr, &gr->terms[term], q, (uint8_t)b)) in->first.list[in->first.n++] = (uint8_t)b;
    }
}

// The kept answer for tokens that are neither plain nor long, made where it is not there. NULL where memory is refused.
static const inside *find_inside(hth_guide *g, uint32_t term, uint32_t q) {
    for (size_t i = 0; i < g->n_kept; i++) {
        if (g->kept[i].term == term && g->kept[i].q == q) return &g->kept[i];
    }
    if (g->n_kept == MAX_INSIDE) g->n_kept = 0;
    inside *in = &g->kept[g->n_kept];
    const size_t n_byte = g->vocab->n_word * sizeof *in->bits;
    if (!in->bits) in->bits = hth_alloc(HTH_MEM_TEXT, n_byte);
    if (!in->bits) {
        g->chart.code = HTH_ERR_NOMEM;
        return NULL;
    }
    memset(in->bits, 0, n_byte);
    begin_inside(g->grammar, term, q, in);
    walk_inside(g, &g->vocab->groups[GROUP_OTHER], in, in->bits);
    if (g->chart.code != HTH_OK) return NULL;
    g->n_kept++;
    return in;
}

// Goes on where tokens leave the terminal.
static void follow_outs(hth_guide *g, const chart_config *f, const inside *in, uint32_t *mask) {
    uint32_t q = 0, place = PLACE_NONE;
    for (size_t i = 0; i < in->n_out && g->chart.code == HTH_OK; i++) {
        const way_out *out = &in->outs[i];
        const trie_node *node = &out->trie->nodes[out->node];
        if (out->q != q) place = chart_enter(&g->chart, f->term, out->q, f->set);
        q = out->q;
        if (place == PLACE_NONE) continue;
        g->walk[node->depth + 1] = place;
        walk_nodes(g, out->trie, out->node + 1, node->end, mask);
    }
}

static void allow_plain(hth_guide *g, int class, int n, uint32_t *mask) {
    const uint32_t *plain = g->vocab->plain + (size_t)(class * N_LENGTHS + n - 1) * g->vocab->n_word;
    for (size_t i = 0; i < g->vocab->n_word; i++) mask[i] |= plain[i];
}

// The most characters of plain text that may come in a counted terminal; no plain text ends one.
static unsigned most_plain(const g_term *t, uint32_t q) {
    if (t->kind != TERM_COUNTED || q < 3 || t->max == G_INFINITE) return PLAIN_MAX;
    const uint32_t left = t->max - ((q - 3) >> G_COUNT_SHIFT);
    return left < PLAIN_MAX ? left : PLAIN_MAX;
}

static void allow_inside(hth_guide *g, const chart_config *f, const int *n_plain, uint32_t *mask) {
    const hth_grammar_vocab *v = g->vocab;
    const inside *in = find_inside(g, f->term, like_state(&g->grammar->terms[f->term], f->q));
    const unsigned most = most_plain(&g->grammar->terms[f->term], f->q);
    int done = 0;
    if (!in) return;
    for (size_t i = 0; i < v->n_word; i++) mask[i] |= in->bits[i];
    follow_outs(g, f, in, mask);
    begin_inside(g->grammar, f->term, f->q, &g->rest);
    for (int class = PLAIN_COUNT - 1; class >= 0; class--) {
        if (n_plain[class] > done) allow_plain(g, class, done = n_plain[class], mask);
        for (int k = done; k < N_LENGTHS && (k == 0 || g_lengths[k - 1] < most); k++) {
            walk_inside(g, &v->groups[class * N_LENGTHS + k], &g->rest, mask);
        }
    }
    walk_inside(g, &v->groups[GROUP_LONG], &g->rest, mask);
    follow_outs(g, f, &g->rest, mask);
}

static void allow_texts(hth_guide *g, uint32_t place, const chart_place *p, uint32_t *mask) {
    const hth_grammar_vocab *v = g->vocab;
    int n_plain[PLAIN_COUNT], done = 0; // length groups that a wider class has covered
    first_bytes first;
    for (int class = 0; class < PLAIN_COUNT; class++) n_plain[class] = n_plain_groups(g, p, class);
    if (n_plain[PLAIN_ALNUM] > 0 && p->n_config == 1) {
        const chart_config f = g->chart.configs[p->config];
        allow_inside(g, &f, n_plain, mask);
        return;
    }
    find_first(g, place, &first);
    if (n_plain[PLAIN_ALNUM] == 0) { // the smallest class: then none has a group
        walk_trie(g, &v->all, &first, mask);
        return;
    }
    for (int class = PLAIN_COUNT - 1; class >= 0; class--) {
        if (n_plain[class] > done) allow_plain(g, class, done = n_plain[class], mask);
        for (int k = done; k < N_LENGTHS; k++) walk_trie(g, &v->groups[class * N_LENGTHS + k], &first, mask);
    }
    walk_trie(g, &v->groups[GROUP_OTHER], &first, mask);
    walk_trie(g, &v->groups[GROUP_LONG], &first, mask);
}

static void allow_named(hth_guide *g, const g_token_set *set, uint32_t *mask) {
    const hth_grammar_vocab *v = g->vocab;
    for (int32_t id = 0; id < v->n_vocab; id++) {
        if (g_token_is_in(set, id, v->text[id + 1] > v->text[id])) mask[id / 32] |= 1u << (id % 32);
    }
}

static void make_mask(hth_guide *g, uint32_t place, uint32_t *mask) {
    const chart_place p = g->chart.places[place];
    memset(mask, 0, g->vocab->n_word * sizeof *mask);
    allow_texts(g, place, &p, mask);
    for (uint32_t i = 0; i < p.n_config && g->grammar->n_tokens > 0; i++) {
        const g_term *t = &g->grammar->terms[g->chart.configs[p.config + i].term];
        if (t->kind == TERM_TOKENS) allow_named(g, &g->tokens[t->dfa], mask);
    }
    for (size_t i = 0; p.accepting && i < g->n_end; i++) mask[g->ends[i] / 32] |= 1u << (g->ends[i] % 32);
}

// The kept mask of the present place, made where it is not there.
static hth_code find_mask(hth_guide *g, const uint32_t **out, hth_err *err) {
    HTH_TRY(make_room(g, err));
    const size_t n_word = g->vocab->n_word;
    if (g->chart.places[g->place].mask < 0) {
        if (g->n_mask == MAX_MASKS) {
            for (size_t i = 0; i < g->chart.n_place; i++) g->chart.places[i].mask = -1;
            g->n_mask = 0;
        }
        if (!hth_grow(HTH_MEM_TEXT, (void **)&g->masks, &g->cap_mask, (g->n_mask + 1) * n_word, sizeof *g->masks, SIZE_MAX)) {
            return hth_fail_nomem(err, n_word * sizeof *g->masks);
        }
        make_mask(g, g->place, g->masks + g->n_mask * n_word);
        HTH_TRY(told(g, err));
        g->chart.places[g->place].mask = (int32_t)g->n_mask++;
    }
    *out = g->masks + (size_t)g->chart.places[g->place].mask * n_word;
    return HTH_OK;
}

hth_code hth_guide_mask(hth_guide *g, uint32_t *mask, hth_err *err) {
    const uint32_t *found = NULL;
    if (g->place == PLACE_NONE) { // behind the end: only the end
        memset(mask, 0, g->vocab->n_word * sizeof *mask);
        for (size_t i = 0; i < g->n_end; i++) mask[g->ends[i] / 32] |= 1u << (g->ends[i] % 32);
        return HTH_OK;
    }
    HTH_TRY(find_mask(g, &found, err));
    memcpy(mask, found, g->vocab->n_word * sizeof *mask);
    return HTH_OK;
}

// ---- what is forced

// The only byte that may come, or -1.
static int only_byte(hth_guide *g, uint32_t place, uint32_t *to) {
    const hth_grammar *gr = g->grammar;
    const chart_place p = g->chart.places[place];
    int byte = -1;
    if (p.accepting) return -1;
    for (uint32_t i = 0; i < p.n_config; i++) {
        if (gr->terms[g->chart.configs[p.config + i].term].kind == TERM_TOKENS) return -1;
    }
    for (uint32_t c = 0; c < gr->n_class; c++) {
        const uint32_t next = chart_step(&g->chart, place, c);
        if (next == PLACE_NONE) continue;
        if (byte >= 0 || gr->n_byte[c] != 1) return -1;
        byte = gr->byte_of[c];
        *to = next;
    }
    return byte;
}

hth_code hth_guide_forced_text(hth_guide *g, hth_str *out, hth_err *err) {
    HTH_TRY(make_room(g, err));
    uint32_t place = g->place;
    for (size_t n = 0; n < FORCED_MAX && place != PLACE_NONE; n++) {
        const int byte = only_byte(g, place, &place);
        HTH_TRY(told(g, err));
        if (byte < 0) break;
        if (!hth_str_putc(out, (char)byte)) return hth_fail_nomem(err, n);
    }
    return HTH_OK;
}

// What stands before the text that is forced: a tokenizer may cut it differently at the beginning of a text.
static const uint8_t *text_before(const hth_guide *g, size_t *n) {
    if (g->n_step > 0) {
        const uint8_t *text = vocab_text(g->vocab, g->steps[g->n_step - 1].token, n);
        if (*n > 0) return text;
    }
    *n = 1;
    return (const uint8_t *)"\n"; // as chat templates end
}

// Appends the first tokens of a list, at most `most`, as far as they may come.
static hth_code take_forced(hth_guide *g, const hth_token_list *list, size_t most, hth_token_list *out, hth_err *err) {
    uint32_t place = g->place;
    for (size_t i = 0; i < list->n && i < most; i++) {
        place = step_token(g, place, list->ids[i]); // a tokenizer may change what it cuts
        if (place == PLACE_NONE) break;
        if (!hth_grow(HTH_MEM_TEXT, (void **)&out->ids, &out->cap, out->n + 1, sizeof *out->ids, SIZE_MAX)) {
            return hth_fail_nomem(err, (out->n + 1) * sizeof *out->ids);
        }
        out->ids[out->n++] = list->ids[i];
    }
    return told(g, err);
}

hth_code hth_guide_forced(hth_guide *g, size_t most, hth_token_list *out, hth_err *err) {
    hth_str text;
    hth_token_list list = {0};
    size_t n_before;
    const uint8_t *before = text_before(g, &n_before);
    hth_str_init(&text, HTH_MEM_TEXT, FORCED_MAX + 1);
    hth_code code = hth_guide_forced_text(g, &text, err);
    if (code == HTH_OK && text.len > 0) code = g_cut_forced(g->vocab, before, n_before, &text, &list, err);
    if (code == HTH_OK) code = take_forced(g, &list, most, out, err);
    hth_str_free(&text);
    hth_token_list_free(&list);
    return code;
}
