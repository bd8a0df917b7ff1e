// Speculation in the scheduler: a sequence that writes gets guessed rows behind its last token as far as they pay, and
// after the step goes on from row to row while what is chosen was guessed. Rows that were not reached are dropped.
// Guesses are made from the sequence's own tokens; steps with prompt rows have none, for those are full already.
#include "engine/impl.h"

#define MOST_DRAFT 15 // of a sequence, unless the request says so

bool speculate_can(const hth_model *m) {
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        if (m->desc.layers[i].recurrent.kind != HTH_RECURRENT_NONE) return false; // it cannot go back
    }
    return m->desc.causal;
}

static bool is_writing(const sequence *s) {
    return s->n_row == 1 && s->has_prompt && sequence_is_generating(s) && !sequence_is_embedding(s);
}

// Guesses for one sequence, of which at most n_left rows have room in the step.
static void guess(hth_engine *e, sequence *s, int32_t n_row, int32_t n_writing, int32_t n_left) {
    const hth_request *r = s->request;
    hth_err err;
    int64_t most = r->p.n_draft == 0 ? MOST_DRAFT : r->p.n_draft;
    if (most > r->n_room - (int64_t)s->n_token) most = r->n_room - (int64_t)s->n_token;
    if (most > e->n_ctx - (int64_t)s->n_token) most = e->n_ctx - (int64_t)s->n_token;
    if (most > n_left) most = n_left;
    if (most <= 0) return;
    if (!s->drafter && hth_drafter_ngram_new(&s->drafter, &err) != HTH_OK) return; // it goes on without
    if (hth_drafter_propose(s->drafter, s->tokens, s->n_token, (int32_t)most, &s->draft, &err) != HTH_OK) return;
    s->n_draft = s->draft.n;
    if (r->p.n_draft == 0) s->n_draft = hth_gain_length(&s->gain, &e->row_cost, s->draft.source, n_row, n_writing, s->draft.n);
    s->n_row += s->n_draft;
}

int32_t speculate_plan(hth_engine *e) {
    int32_t n_writing = 0, n_row = 0, n_guessed = 0;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        s->n_draft = s->i_draft = 0;
        n_row += s->n_row;
        n_writing += is_writing(s);
    }
    if (!e->can_draft || n_row != n_writing) return 0;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[(i + e->turn) % e->n_seq];
        if (!is_writing(s)) continue;
        guess(e, s, n_row, n_writing, HTH_DRAFT_ROWS - n_guessed);
        n_guessed += s->n_draft;
        n_row += s->n_draft;
    }
    return n_guessed;
}

bool speculate_follow(sequence *s, int32_t token) {
    if (s->is_ended || s->i_draft >= s->n_draft || s->draft.tokens[s->i_draft] != token) return false;
    s->i_draft++;
    s->n_computed++;
    return true;
}

static void settle(hth_engine *e, sequence *s, int32_t n_row) {
    hth_err err;
    if (!is_writing(s) && s->n_draft == 0) return;
    hth_gain_add(&s->gain, &e->row_cost, s->draft.source, n_row - s->n_draft, e->n_stepping, s->n_draft, s->i_draft);
    if (s->n_draft == 0) return;
    s->request->usage.n_drafted += s->n_draft;
    s->request->usage.n_accepted += s->i_draft;
    s->n_draft = 0;
    if (s->is_ended || hth_state_len(s->state) <= s->n_computed) return;
    if (hth_state_truncate(s->state, s->n_computed, &err) != HTH_OK) sequence_fail(s, &err);
}

void speculate_settle(hth_engine *e) {
    int32_t n_row = 0;
    for (int32_t i = 0; i < e->n_stepping; i++) n_row += e->stepping[i]->n_row;
    for (int32_t i = 0; i < e->n_stepping; i++) settle(e, e->stepping[i], n_row);
}
