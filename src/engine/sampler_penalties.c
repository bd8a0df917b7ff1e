// What a sequence has said already, and what that costs: penalties and DRY ("don't repeat yourself",
// text-generation-webui#5677: a token that would lengthen a repetition is penalized by the repetition's length).
#include <math.h>
#include <string.h>

#include "engine/breakers.h"
#include "engine/sampler_impl.h"

// ---- tables of tokens

// Where a token stands unless others had been there before.
static size_t home_of(const hth_token_table *t, int32_t token) {
    const uint32_t hash = (uint32_t)token * UINT32_C(2654435769);
    return (hash ^ hash >> 15) & (t->n_slot - 1);
}

static size_t slot_of(const hth_token_table *t, int32_t token) {
    size_t i = home_of(t, token);
    while (t->slots[i].token != token && t->slots[i].token >= 0) i = (i + 1) & (t->n_slot - 1);
    return i;
}

static int32_t value_of(const hth_token_table *t, int32_t token) {
    if (t->n_used == 0) return 0;
    const hth_token_slot *slot = &t->slots[slot_of(t, token)];
    return slot->token == token ? slot->value : 0;
}

static void clear_table(hth_token_table *t) {
    for (size_t i = 0; t->n_used > 0 && i < t->n_slot; i++) t->slots[i].token = -1;
    t->n_used = 0;
}

// The value of a token that is there or, with value 0, from now on; there is room.
static int32_t *insert(hth_token_table *t, int32_t token) {
    hth_token_slot *slot = &t->slots[slot_of(t, token)];
    if (slot->token < 0) {
        *slot = (hth_token_slot){.token = token};
        t->n_used++;
    }
    return &slot->value;
}

// Room for n tokens.
static bool reserve_table(hth_token_table *t, size_t n) {
    if (2 * n <= t->n_slot) return true;
    hth_token_table bigger = {.n_slot = 128};
    while (bigger.n_slot < 2 * n) bigger.n_slot *= 2;
    bigger.slots = hth_calloc(HTH_MEM_ENGINE, bigger.n_slot, sizeof *bigger.slots);
    if (!bigger.slots) return false;
    for (size_t i = 0; i < bigger.n_slot; i++) bigger.slots[i].token = -1;
    for (size_t i = 0; i < t->n_slot; i++) {
        if (t->slots[i].token >= 0) *insert(&bigger, t->slots[i].token) = t->slots[i].value;
    }
    hth_free(t->slots);
    *t = bigger;
    return true;
}

// Takes the slot out and moves up those that had to make way for it.
static void remove_slot(hth_token_table *t, size_t hole) {
    const size_t mask = t->n_slot - 1;
    for (size_t i = (hole + 1) & mask; t->slots[i].token >= 0; i = (i + 1) & mask) {
        if (((i - home_of(t, t->slots[i].token)) & mask) < ((i - hole) & mask)) continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole].token = -1;
    t->n_used--;
}

// ---- the sequence

bool hth_penalties_on(const hth_sampler_params *p) {
    return p->penalty_last_n != 0 &&
           (p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0);
}

bool hth_dry_on(const hth_sampler_params *p) {
    return p->dry_multiplier != 0 && p->dry_base >= 1 && p->dry_last_n != 0;
}

static size_t window_of(int32_t last_n) {
    return last_n < 0 ? SIZE_MAX / 4 : (size_t)last_n;
}

void hth_history_init(hth_history *h, const hth_sampler_params *p) {
    *h = (hth_history){0};
    if (hth_penalties_on(p)) h->window = window_of(p->penalty_last_n);
    if (hth_dry_on(p) && window_of(p->dry_last_n) > h->window) h->window = window_of(p->dry_last_n);
}

void hth_history_free(hth_history *h) {
    hth_free(h->tokens);
    hth_free(h->counts.slots);
    hth_free(h->repeats.slots);
    hth_free(h->lengths);
}

void hth_history_reset(hth_history *h) {
    h->n = h->n_counted = 0;
    clear_table(&h->counts);
}

static void count(hth_history *h, size_t last_n, int32_t token) {
    ++*insert(&h->counts, token);
    if (h->n_counted < last_n) {
        h->n_counted++;
        return;
    }
    const size_t old = slot_of(&h->counts, h->tokens[h->n - h->n_counted]);
    if (--h->counts.slots[old].value == 0) remove_slot(&h->counts, old);
}

// Where a window has an end, only its last part is kept: when the tokens are twice as many they move to the front.
hth_code hth_history_accept(hth_history *h, const hth_sampler_params *p, int32_t token, hth_err *err) {
    if (h->window == 0) return HTH_OK;
    if (h->n >= 2 * h->window) {
        memmove(h->tokens, h->tokens + (h->n - h->window), h->window * sizeof *h->tokens);
        h->n = h->window;
    }
    const size_t n_dry = !hth_dry_on(p) ? 0 : h->n + 1 < window_of(p->dry_last_n) ? h->n + 1 : window_of(p->dry_last_n);
    if (!hth_grow(HTH_MEM_ENGINE, (void **)&h->tokens, &h->cap, h->n + 1, sizeof *h->tokens, SIZE_MAX / 64) ||
        (hth_penalties_on(p) && !reserve_table(&h->counts, h->counts.n_used + 1)) || !reserve_table(&h->repeats, n_dry) ||
        !hth_grow(HTH_MEM_ENGINE, (void **)&h->lengths, &h->cap_lengths, n_dry, sizeof *h->lengths, SIZE_MAX / 64)) {
        return hth_fail_nomem(err, (h->n + 1) * sizeof *h->tokens);
    }
    if (hth_penalties_on(p)) count(h, window_of(p->penalty_last_n), token);
    h->tokens[h->n++] = token;
    return HTH_OK;
}

// ---- penalties

static float penalized(const hth_sampler_params *s, float logit, int32_t n) {
    logit = logit <= 0 ? logit * s->repeat_penalty : logit / s->repeat_penalty;
    return logit - ((float)n * s->frequency_penalty + s->presence_penalty);
}

// Whether the vocabulary can be changed where it lies: not once a temperature is due.
static bool is_plain(const hth_pool *p) {
    return !p->list && p->temperature == 1;
}

void hth_step_penalties(const hth_sampler *s, hth_pool *p) {
    const hth_token_table *counts = &s->history.counts;
    if (!hth_penalties_on(&s->params) || counts->n_used == 0) return;
    if (is_plain(p)) {
        for (size_t i = 0; i < counts->n_slot; i++) {
            const hth_token_slot *slot = &counts->slots[i];
            if (slot->token < 0 || p->logits[slot->token] <= HTH_LEAST_LOGIT) continue;
            hth_pool_change(p, slot->token, penalized(&s->params, p->logits[slot->token], slot->value));
        }
        return;
    }
    hth_pool_list(p);
    for (size_t i = 0; i < p->n; i++) {
        const int32_t n = value_of(counts, p->list[i].id);
        if (n > 0) p->list[i].logit = penalized(&s->params, p->list[i].logit, n);
    }
    p->is_sorted = false;
}

// ---- DRY

// The i-th token from the end.
static int32_t back(const hth_history *h, size_t i) {
    return h->tokens[h->n - 1 - i];
}

// How far back a repetition may reach: to the nearest breaker.
static size_t find_limit(const hth_history *h, const hth_breakers *b, size_t n) {
    for (size_t i = 0; b && i < n; i++) {
        const int64_t len = hth_breakers_match(b, h->tokens + (h->n - 1 - i), i + 1);
        if (len > 0) return i + 1 - (size_t)len;
    }
    return n;
}

// lengths[k]: how many of the last tokens stand also k tokens earlier (the Z function of the reversed sequence).
static void find_repeats(const hth_history *h, size_t n) {
    int32_t *z = h->lengths;
    size_t left = 0, right = 0; // the stretch [left, right) that equals the beginning, with the greatest end so far
    z[0] = 0;
    for (size_t k = 1; k < n; k++) {
        size_t len = 0;
        if (k < right) len = (size_t)z[k - left] < right - k ? (size_t)z[k - left] : right - k;
        while (k + len < n && back(h, len) == back(h, k + len)) len++;
        z[k] = (int32_t)len;
        if (k + len <= right) continue;
        left = k;
        right = k + len;
    }
}

// Fills `repeats`: for each token that would lengthen a repetition, the longest such.
static void find_continuations(hth_history *h, size_t n, size_t limit, int32_t allowed) {
    clear_table(&h->repeats);
    find_repeats(h, n);
    for (size_t k = 1; k < n; k++) {
        const int32_t len = (size_t)h->lengths[k] < limit ? h->lengths[k] : (int32_t)limit;
        if (len < allowed) continue;
        int32_t *longest = insert(&h->repeats, back(h, k - 1));
        if (len > *longest) *longest = len;
    }
}

static float dry_penalty(const hth_sampler_params *s, int32_t length) {
    int32_t exponent = length - s->dry_allowed_length, most = 0;
    if (s->dry_base > 1.000001f) most = (int32_t)(88.7228391f / logf(s->dry_base)); // where a float overflows
    if (most > 0 && exponent > most) exponent = most;
    return s->dry_multiplier * powf(s->dry_base, (float)exponent);
}

static bool is_breaker(const hth_sampler_params *s, int32_t token) {
    return s->dry_breakers && hth_breakers_match(s->dry_breakers, &token, 1) > 0;
}

void hth_step_dry(hth_sampler *s, hth_pool *p) {
    hth_history *h = &s->history;
    if (!hth_dry_on(&s->params)) return;
    const int32_t allowed = s->params.dry_allowed_length;
    const size_t window = window_of(s->params.dry_last_n), n = h->n < window ? h->n : window;
    if (n <= (size_t)allowed) return;
    const size_t limit = find_limit(h, s->params.dry_breakers, n);
    if (limit < (size_t)allowed) return;
    find_continuations(h, n, limit, allowed);
    hth_token_table *repeats = &h->repeats;
    if (is_plain(p)) {
        for (size_t i = 0; repeats->n_used > 0 && i < repeats->n_slot; i++) {
            const hth_token_slot *slot = &repeats->slots[i];
            if (slot->token < 0 || p->logits[slot->token] <= HTH_LEAST_LOGIT || is_breaker(&s->params, slot->token)) continue;
            hth_pool_change(p, slot->token, p->logits[slot->token] - dry_penalty(&s->params, slot->value));
        }
        return;
    }
    hth_pool_list(p);
    for (size_t i = 0; repeats->n_used > 0 && i < p->n; i++) {
        const size_t at = slot_of(repeats, p->list[i].id);
        if (repeats->slots[at].token != p->list[i].id || is_breaker(&s->params, p->list[i].id)) continue;
        p->list[i].logit -= dry_penalty(&s->params, repeats->slots[at].value);
    }
    p->is_sorted = false;
}
