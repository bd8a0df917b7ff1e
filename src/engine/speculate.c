// Speculation in the scheduler: a sequence that writes gets guessed rows behind its last token as far as they pay, and
// after the step goes on from row to row while what is chosen was guessed. Rows that were not reached are dropped.
// Guesses are looked up in the sequence's own tokens, or made by a small model, for all sequences together, or by a layer
// that the model's file carries for that; steps with prompt rows have none, for those are full already.
#include "engine/impl.h"

#include "os/clock.h"

#define MOST_DRAFT 15     // of a sequence, unless the request says so
#define LEAST_SHARE 0.3f  // the draft model ends a guess below this probability
#define SURE_LOOKUP 2     // a lookup of so many equal tokens and one is better than the draft model

// ---- opening

static hth_code open_draft(hth_engine *e, const char *path, hth_err *err) {
    hth_tokenizer *t = NULL;
    if (!e->tokenizer) return hth_fail(err, HTH_ERR_UNSUPPORTED, "the model carries no tokenizer: nothing can guess for it");
    HTH_TRY(hth_model_open(path, &e->draft, err));
    if (!e->draft->desc.causal) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s: %s is an encoder, it cannot guess", path, e->draft->desc.family);
    }
    HTH_TRY(hth_tokenizer_load(e->draft->container, &t, err));
    const hth_code code = hth_draft_check_vocab(e->tokenizer, t, err);
    hth_tokenizer_free(t);
    return code;
}

// Layers that are not recurrent drop rows as they like.
hth_code speculate_open(hth_engine *e, const char *draft, hth_err *err) {
    if (!draft && !e->model->stream) e->predictor = e->model->predictor;
    e->can_draft = e->model->desc.causal;
    e->goes_back = true;
    for (int32_t i = 0; i < e->model->desc.n_layer; i++) {
        if (e->model->desc.layers[i].recurrent.kind != HTH_RECURRENT_NONE) e->goes_back = false;
    }
    return draft ? open_draft(e, draft, err) : HTH_OK;
}

// ---- guessing

static bool is_writing(const sequence *s) {
    return s->n_row > 0 && s->has_prompt && sequence_is_generating(s) && !sequence_is_embedding(s);
}

static int32_t most_guesses(const hth_engine *e, const sequence *s, int32_t n_left) {
    const hth_request *r = s->request;
    int64_t most = r->p.n_draft == 0 ? MOST_DRAFT : r->p.n_draft;
    if (most > r->n_held - (int64_t)s->n_token) most = r->n_held - (int64_t)s->n_token;
    if (most > e->n_ctx - (int64_t)s->n_token) most = e->n_ctx - (int64_t)s->n_token;
    if (most > e->n_keep && !e->goes_back) most = e->n_keep;
    return most > n_left ? n_left : (int32_t)most;
}

// Tokens of a draft from `source` to compute, of at most n.
static int32_t worthwhile(const hth_engine *e, const sequence *s, int32_t source, const hth_gain_step *step, int32_t n) {
    return s->request->p.n_draft == 0 ? hth_gain_length(&s->gain, &e->row_cost, source, step, n) : n;
}

// Guesses that follow from what stood there before. Where they are few or unsure, who knows more is to be asked.
static bool look_up(const hth_engine *e, sequence *s, const hth_gain_step *step, int32_t most) {
    hth_err err;
    s->draft.n = s->draft.source = 0;
    if (most <= 0 || (!s->lookup && hth_drafter_ngram_new(&s->lookup, &err) != HTH_OK)) return false;
    if (hth_drafter_propose(s->lookup, s->tokens, s->n_token, most, &s->draft, &err) != HTH_OK) s->draft.n = 0;
    s->draft.n = worthwhile(e, s, s->draft.source, step, s->draft.n);
    return (e->draft || e->predictor) && (s->draft.n == 0 || s->draft.source < SURE_LOOKUP);
}

static hth_code make_guesser(const hth_engine *e, sequence *s, hth_err *err) {
    const hth_sampler_params sampling = sequence_sampling(s);
    const hth_drafter_model_params p = {.model = e->draft, .executor = e->host->executor, .n_vocab = e->n_choice, .n_ctx = e->n_ctx,
                                        .sampling = &sampling, .least_share = LEAST_SHARE};
    return hth_drafter_model_new(&p, &s->guesser, err);
}

// ---- the predicting layer

#define HOPELESS_RATE 0.1 // a request's guesses that are right less often are not made any more

bool speculate_wants_hidden(const hth_engine *e, const sequence *s) {
    const hth_request_params *p = &s->request->p;
    const bool is_hopeless = p->n_draft == 0 && s->gain.rate[HTH_DRAFT_BY_LAYER] < HOPELESS_RATE;
    return e->predictor && e->can_draft && p->n_draft >= 0 && !p->no_output && !sequence_is_embedding(s) && !is_hopeless &&
           (e->goes_back || e->n_keep > 0);
}

static hth_code make_predictor(const hth_engine *e, sequence *s, hth_err *err) {
    const hth_sampler_params sampling = sequence_sampling(s);
    const hth_drafter_predict_params p = {.model = e->predictor, .executor = e->host->executor, .n_vocab = e->n_choice,
                                          .n_ctx = e->n_ctx, .sampling = &sampling, .least_share = LEAST_SHARE,
                                          .activations = e->activations};
    return hth_drafter_predict_new(&p, &s->guesser, err);
}

void speculate_learn(hth_engine *e, sequence *s, const float *hidden) {
    const int64_t n = s->n_row - s->n_draft + s->i_draft;
    hth_code code = HTH_OK;
    hth_err err;
    if (s->is_ended || s->is_rolled || n <= 0) return;
    if (!s->guesser) code = make_predictor(e, s, &err);
    // The last row's token may still be missing; then nothing asks for it before the next step.
    if (code == HTH_OK) code = hth_drafter_predict_learn(s->guesser, hidden, s->n_computed - n, n, s->tokens, &err);
    if (code == HTH_OK) return;
    hth_drafter_free(s->guesser); // it goes on without, or begins anew
    s->guesser = NULL;
}

// Guessed rows of a step, and who would have more of them.
typedef struct guesses {
    hth_gain_step step; // with the rows that are planned so far
    int32_t n_left;     // rows that have room
    sequence *askers[HTH_DRAFT_ROWS];
    hth_draft drafts[HTH_DRAFT_ROWS]; // theirs
    int32_t n_asker;
} guesses;

static void take_draft(guesses *g, sequence *s) {
    if (s->draft.n > g->n_left) s->draft.n = g->n_left;
    s->n_draft = s->draft.n;
    s->n_row += s->n_draft;
    g->n_left -= s->n_draft;
    g->step.n_row += s->n_draft;
}

// The predicting layer follows its sequence by itself: it is asked for one after the other.
static void ask_layer(guesses *g, const int32_t *most) {
    hth_err err;
    for (int32_t i = 0; i < g->n_asker; i++) {
        sequence *s = g->askers[i];
        g->drafts[i].n = 0;
        if (!s->guesser || most[i] == 0) continue;
        if (hth_drafter_propose(s->guesser, s->tokens, s->n_token, most[i], &g->drafts[i], &err) != HTH_OK) g->drafts[i].n = 0;
    }
}

static void ask_model(hth_engine *e, guesses *g, const int32_t *most) {
    hth_draft_ask asks[HTH_DRAFT_ROWS];
    int32_t n = 0;
    hth_err err;
    for (int32_t i = 0; i < g->n_asker; i++) {
        sequence *s = g->askers[i];
        g->drafts[i].n = 0;
        if (most[i] == 0 || (!s->guesser && make_guesser(e, s, &err) != HTH_OK)) continue;
        asks[n++] = (hth_draft_ask){.drafter = s->guesser, .tokens = s->tokens, .n = s->n_token, .most = most[i], .out = &g->drafts[i]};
    }
    (void)!hth_drafter_model_propose(asks, n, &e->draft_work, &err); // without, all go on
}

// Those who ask share the rows that are left. A guess longer than what was looked up takes its place.
static void ask(hth_engine *e, guesses *g) {
    const int32_t source = e->draft ? HTH_DRAFT_BY_MODEL : HTH_DRAFT_BY_LAYER;
    hth_gain_step step = g->step;
    int32_t most[HTH_DRAFT_ROWS], n_left = g->n_left, n_token = 0;
    step.guess_ns = e->guess_ns;
    for (int32_t i = 0; i < g->n_asker; i++) {
        const int32_t fair = most_guesses(e, g->askers[i], n_left / (g->n_asker - i));
        most[i] = fair > 0 ? worthwhile(e, g->askers[i], source, &step, fair) : 0;
        step.n_row += most[i];
        n_left -= most[i];
    }
    const uint64_t begin = hth_clock_ns();
    if (e->draft) ask_model(e, g, most);
    else ask_layer(g, most);
    for (int32_t i = 0; i < g->n_asker; i++) n_token += g->drafts[i].n;
    e->asked_ns = hth_clock_ns() - begin;
    const double ns = n_token > 0 ? (double)e->asked_ns / n_token : e->guess_ns;
    e->guess_ns = e->guess_ns == 0 ? ns : 0.9 * e->guess_ns + 0.1 * ns;
    for (int32_t i = 0; i < g->n_asker; i++) {
        sequence *s = g->askers[i];
        if (g->drafts[i].n > s->draft.n) s->draft = g->drafts[i];
        take_draft(g, s);
    }
}

int32_t speculate_plan(hth_engine *e) {
    guesses g = {.n_left = HTH_DRAFT_ROWS};
    int32_t n_written = 0;
    e->asked_ns = 0;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        s->n_draft = s->i_draft = 0;
        g.step.n_row += s->n_row;
        g.step.n_sequence += is_writing(s);
        n_written += is_writing(s) ? s->n_row : 0; // more than one where some were due
    }
    if (!e->can_draft || g.step.n_row != n_written) return 0;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[(i + e->turn) % e->n_seq];
        if (!is_writing(s)) continue;
        const bool asks = look_up(e, s, &g.step, most_guesses(e, s, g.n_left));
        if (asks && g.n_asker < HTH_DRAFT_ROWS) g.askers[g.n_asker++] = s;
        else take_draft(&g, s);
    }
    if (g.n_asker > 0) ask(e, &g);
    return HTH_DRAFT_ROWS - g.n_left;
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
    const hth_gain_step step = {n_row - s->n_draft, e->n_stepping, s->draft.source >= HTH_DRAFT_BY_MODEL ? e->guess_ns : 0};
    hth_gain_add(&s->gain, &e->row_cost, s->draft.source, &step, s->n_draft, s->i_draft);
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
