// Drafts in general, and what they are worth.
#include "engine/draft.h"

int32_t hth_draft_child(const hth_draft *d, int32_t node, int32_t token) {
    for (int32_t i = node + 1; i < d->n; i++) {
        if (d->parent[i] == node && d->tokens[i] == token) return i;
    }
    return -1;
}

bool hth_draft_is_line(const hth_draft *d) {
    for (int32_t i = 0; i < d->n; i++) {
        if (d->parent[i] != i - 1) return false;
    }
    return true;
}

hth_code hth_drafter_propose(hth_drafter *d, const int32_t *tokens, size_t n, int32_t most, hth_draft *out,
                             hth_err *err) {
    out->n = 0;
    out->source = 0;
    return most > 0 ? d->ops->propose(d, tokens, n, most < HTH_MAX_DRAFT ? most : HTH_MAX_DRAFT, out, err) : HTH_OK;
}

void hth_drafter_free(hth_drafter *d) {
    if (d) d->ops->free(d);
}

// ---- cost

#define COST_WEIGHT 0.1 // of the newest step

void hth_row_cost_add(hth_row_cost *c, int32_t n_row, double ns) {
    if (n_row < 1 || n_row > HTH_MAX_COST_ROWS) return;
    double *old = &c->ns[n_row];
    if (*old == 0) *old = ns;
    else if (ns < 4 * *old) *old += COST_WEIGHT * (ns - *old); // the system was busy elsewhere
    else *old += COST_WEIGHT * *old;
}

// One more row, where nothing better is known: a tenth of the first one, whose time is that of reading the weights.
#define GUESSED_ROW 0.1

double hth_row_cost_ns(const hth_row_cost *c, int32_t n_row) {
    if (n_row > HTH_MAX_COST_ROWS) return hth_row_cost_ns(c, HTH_MAX_COST_ROWS) / HTH_MAX_COST_ROWS * n_row;
    if (n_row < 1) return 0;
    if (c->ns[n_row] > 0) return c->ns[n_row];
    int32_t below = n_row - 1, above = n_row + 1;
    while (below > 0 && c->ns[below] == 0) below--;
    while (above <= HTH_MAX_COST_ROWS && c->ns[above] == 0) above++;
    if (below == 0 && above > HTH_MAX_COST_ROWS) return 0;
    if (below == 0) return c->ns[above];
    const double from = c->ns[below];
    if (above > HTH_MAX_COST_ROWS) {
        return from * (1 + GUESSED_ROW * (n_row - 1)) / (1 + GUESSED_ROW * (below - 1));
    }
    return from + (c->ns[above] - from) * (n_row - below) / (above - below);
}

// ---- gain

#define RATE_WEIGHT 0.15    // of the newest token
#define ALLOWED_SHARE 0.005 // of a request's time may be lost
#define ALLOWED_STEPS 0.5   // and so many steps at its beginning

void hth_gain_init(hth_gain *g) {
    // Priors: n-grams of 2, 3, 4 tokens, a line that was right so far, a draft model, a predicting layer.
    *g = (hth_gain){.rate = {0.5, 0.4, 0.6, 0.75, 0.9, 0.7, 0.7}};
}

// What a step costs this request without a draft, and what n more rows cost.
static double cost_alone(const hth_row_cost *cost, int32_t n_row, int32_t n_sequence) {
    return hth_row_cost_ns(cost, n_row) / (n_sequence > 0 ? n_sequence : 1);
}

static double cost_more(const hth_row_cost *cost, int32_t n_row, int32_t n) {
    const double more = hth_row_cost_ns(cost, n_row + n) - hth_row_cost_ns(cost, n_row);
    return more > 0 ? more : 0;
}

int32_t hth_gain_length(const hth_gain *g, const hth_row_cost *cost, int32_t source, const hth_gain_step *step, int32_t most) {
    const double alone = cost_alone(cost, step->n_row, step->n_sequence), rate = g->rate[source];
    const double allowance = ALLOWED_SHARE * g->spent_ns + ALLOWED_STEPS * alone;
    if (alone == 0) return 0;
    double expected = 0, share = 1, best_gain = 0;
    int32_t best = 0;
    for (int32_t n = 1; n <= most; n++) {
        share *= rate;
        expected += share; // accepted tokens
        const double more = cost_more(cost, step->n_row, n) + n * step->guess_ns, gain = expected * alone - more;
        if (g->balance_ns - more < -allowance) break; // not even if all were wrong
        if (gain <= best_gain) continue;
        best_gain = gain;
        best = n;
    }
    return best;
}

void hth_gain_add(hth_gain *g, const hth_row_cost *cost, int32_t source, const hth_gain_step *step, int32_t n_drafted,
                  int32_t n_accepted) {
    const double alone = cost_alone(cost, step->n_row, step->n_sequence);
    g->spent_ns += alone;
    if (n_drafted == 0) return;
    for (int32_t i = 0; i <= n_accepted && i < n_drafted; i++) {
        g->rate[source] += RATE_WEIGHT * ((i < n_accepted) - g->rate[source]);
    }
    const double more = cost_more(cost, step->n_row, n_drafted) + n_drafted * step->guess_ns;
    g->balance_ns += n_accepted * alone - more;
    // What was won long ago does not pay for what does not pay now.
    const double most = 0.02 * g->spent_ns + 8 * alone;
    if (g->balance_ns > most) g->balance_ns = most;
    g->n_drafted += n_drafted;
    g->n_accepted += n_accepted;
}
