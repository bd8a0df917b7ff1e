// What was computed before is not computed again: the engine's side of the cache of beginnings (engine/prefix.h). All
// of memory_bytes that no request has been promised may hold cached beginnings; they go when it is needed.
#include <string.h>

#include "engine/impl.h"

#define WRITE_AFTER_MS 2000
#define LEAST_NEW_ROWS 32 // a prompt that adds fewer is not worth an entry of its own

// Background requests push nothing out while others are at work: they need some memory of their own.
static uint64_t most_cached(const hth_engine *e) {
    return e->kv_limit_bytes - e->kv_limit_bytes / 8;
}

hth_code reuse_open(hth_engine *e, const hth_engine_params *p, hth_err *err) {
    if (!e->model->desc.causal || p->no_cache) return HTH_OK;
    const hth_prefix_params params = {
        .executor = e->host->executor,
        .model = e->model,
        .tokenizer = e->tokenizer,
        .state = plan_state(e, e->n_ctx, false),
        .limit_bytes = p->cache_bytes && p->cache_bytes < e->kv_limit_bytes ? p->cache_bytes : most_cached(e),
        .folder = p->cache_folder,
        .folder_bytes = p->cache_folder_bytes ? p->cache_folder_bytes : (uint64_t)4 << 30,
        .identity = hth_activations_name(hth_activations_for(e->model, e->activations)),
        .write_after_ms = WRITE_AFTER_MS,
    };
    return hth_prefix_new(&params, &e->prefix, err);
}

// Requests that ask about the rows of their prompt need them computed.
static bool is_reusable(const hth_engine *e, const hth_request *r) {
    return e->prefix && r->p.task == HTH_TASK_GENERATE && !r->p.no_cache && !r->p.prompt_logprobs && !r->p.on_logits &&
           !r->p.prompt_as_generated;
}

// What must be equal besides the tokens: each adapter with its scale, then the salt.
hth_code reuse_make_domain(hth_request *r, hth_err *err) {
    const hth_lora_set *set = &r->adapters;
    const size_t one = sizeof(uint64_t) + sizeof(float), n = 1 + (size_t)set->n * one + r->p.salt.n;
    char *domain = hth_arena_alloc(&r->arena, n, 1), *at = domain + 1;
    if (!domain) return hth_fail_nomem(err, n);
    domain[0] = (char)set->n; // at most HTH_MAX_LORA
    for (int32_t i = 0; i < set->n; i++, at += one) {
        const uint64_t id = hth_lora_id(set->uses[i].lora);
        memcpy(at, &id, sizeof id);
        memcpy(at + sizeof id, &set->uses[i].scale, sizeof set->uses[i].scale);
    }
    if (r->p.salt.n > 0) memcpy(at, r->p.salt.p, r->p.salt.n);
    r->domain = (hth_bytes){domain, n};
    r->p.salt = (hth_bytes){0};
    return HTH_OK;
}

static hth_prefix_text text_of(const hth_request *r, const hth_token *tokens, int64_t n) {
    return (hth_prefix_text){.domain = r->domain.p, .n_domain = r->domain.n, .tokens = tokens, .n = (size_t)n};
}

hth_code reuse_tokens(const hth_request *r, hth_token_list *tokens, hth_err *err) {
    if (!is_reusable(r->engine, r)) return HTH_OK;
    for (size_t i = 0; i < r->p.n_segment; i++) {
        if (r->p.segments[i].tokens) return HTH_OK; // somebody chose them
    }
    return hth_prefix_reuse_tokens(r->engine->prefix, r->domain.p, r->domain.n, tokens, err);
}

void reuse_fetch(const hth_request *r) {
    hth_err ignored;
    if (!is_reusable(r->engine, r) || r->p.priority != HTH_PRIORITY_INTERACTIVE) return; // it would push others out
    const hth_prefix_text text = text_of(r, r->prompt, r->n_prompt);
    (void)!hth_prefix_fetch(r->engine->prefix, &text, r->n_prompt - 1, &ignored);
}

hth_code reuse_find(hth_engine *e, sequence *s, hth_err *err) {
    hth_request *r = s->request;
    if (!is_reusable(e, r)) return HTH_OK;
    const hth_prefix_text text = text_of(r, r->prompt, r->n_prompt);
    hth_prefix_hit hit;
    HTH_TRY(hth_prefix_find(e->prefix, &text, r->n_prompt - 1, &hit, err)); // the last row gives the first logits
    s->state = hit.state;
    s->n_computed = hit.n;
    if (hit.why == HTH_PREFIX_STATE && hit.n_same < r->n_prompt) s->snapshot_at = hit.n_same;
    r->usage.n_cached = hit.n;
    r->usage.miss = (hth_miss)hit.why;
    r->usage.miss_at = hit.n_same;
    return HTH_OK;
}

// ---- files that users ask for

hth_code reuse_save(const hth_request *r, const char *path, int64_t *n, hth_err *err) {
    const hth_prefix_text text = text_of(r, r->prompt, r->n_prompt);
    return hth_prefix_save(r->engine->prefix, &text, path, n, err);
}

hth_code reuse_restore(const hth_request *r, const char *path, int64_t *n, hth_err *err) {
    const hth_prefix_text domain = text_of(r, NULL, 0);
    return hth_prefix_restore(r->engine->prefix, &domain, path, n, err);
}

// ---- prompts that are being read

// Rows that s could take over from a once it has read them.
static int64_t common_rows(const sequence *a, const sequence *s) {
    const hth_request *x = a->request, *y = s->request;
    const int64_t most = x->n_prompt < y->n_prompt - 1 ? x->n_prompt : y->n_prompt - 1;
    if (x->domain.n != y->domain.n || memcmp(x->domain.p, y->domain.p, x->domain.n) != 0) return 0;
    int64_t n = 0;
    while (n < most && x->prompt[n] == y->prompt[n]) n++;
    return n;
}

// Who waits for somebody leads nobody: so nobody waits for himself.
static bool can_lead(const hth_engine *e, const sequence *a, const sequence *s) {
    return !a->leader && a->request != s->request && a->completion == 0 && a->state && !a->is_ended && !a->has_prompt &&
           is_reusable(e, a->request) && a->request->p.priority <= s->request->p.priority;
}

// Windows and recurrent layers cannot go back to where both part: the leader stops there for a moment.
static void stop_at(sequence *a, int64_t n) {
    if (a->n_computed < n && (a->snapshot_at <= a->n_computed || a->snapshot_at > n)) a->snapshot_at = n;
}

void reuse_wait(hth_engine *e, sequence *s) {
    if (!is_reusable(e, s->request) || s->completion > 0) return;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *a = e->seqs[i];
        if (a == s || !can_lead(e, a, s)) continue;
        const int64_t n = common_rows(a, s);
        if (n < s->n_computed + LEAST_NEW_ROWS || n <= s->n_led) continue;
        s->leader = a;
        s->n_led = n;
    }
    if (s->leader && !hth_state_goes_anywhere(e->model)) stop_at(s->leader, s->n_led);
}

// Takes over what the leader has; where that fails, s reads on by itself.
static void take_over(hth_engine *e, sequence *s) {
    const sequence *a = s->leader;
    const int64_t most = s->n_led < a->n_computed ? s->n_led : a->n_computed;
    hth_state *copy;
    hth_err ignored;
    s->leader = NULL;
    s->n_led = 0;
    const int64_t n = hth_state_reach(a->state, most);
    if (n <= s->n_computed || hth_state_fork(a->state, n, &copy, &ignored) != HTH_OK) return;
    hth_state_free(s->state);
    s->state = copy;
    s->request->usage.n_cached += n - s->n_computed;
    e->n_cached_token += (uint64_t)(n - s->n_computed);
    s->n_computed = n;
    if (s->snapshot_at <= n) s->snapshot_at = 0;
}

void reuse_catch_up(hth_engine *e) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        if (!s->leader || s->is_ended || (s->leader->n_computed < s->n_led && !s->leader->has_prompt)) continue;
        take_over(e, s);
        reuse_wait(e, s); // for somebody with whom it has still more in common
    }
}

void reuse_let_go(hth_engine *e, const sequence *leader) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        if (s->leader != leader) continue;
        take_over(e, s);
        reuse_wait(e, s);
    }
}

// ---- keeping

void reuse_count(hth_engine *e) {
    hth_prefix_stats stats;
    if (!e->prefix) return;
    hth_prefix_get_stats(e->prefix, &stats);
    e->cached_bytes = stats.n_bytes;
}

void reuse_make_room(hth_engine *e) {
    reuse_count(e);
    const uint64_t most = e->kv_limit_bytes > e->reserved_bytes ? e->kv_limit_bytes - e->reserved_bytes : 0;
    if (e->cached_bytes <= most) return;
    (void)hth_prefix_make_room(e->prefix, e->cached_bytes - most);
    reuse_count(e);
}

// Takes the state. Whether it could be kept changes nothing for the request.
static void put(hth_engine *e, const sequence *s, hth_state *state, int64_t n) {
    hth_err ignored;
    const hth_prefix_text text = text_of(s->request, s->tokens, n);
    (void)!hth_prefix_put(e->prefix, &text, state, &ignored);
    reuse_make_room(e);
}

// A title made in the background does not push a conversation out.
static bool is_worth_keeping(const hth_engine *e, const sequence *s) {
    return is_reusable(e, s->request) && s->request->p.priority == HTH_PRIORITY_INTERACTIVE && s->state && !s->is_broken;
}

// Windows and recurrent layers cannot go back to where two prompts part, so the second one leaves a snapshot there for
// the third: that is how the end of a system prompt is found without anybody naming it.
void reuse_keep_branch(hth_engine *e, const sequence *s) {
    hth_state *copy;
    hth_err ignored;
    if (s->snapshot_at == 0 || s->n_computed != s->snapshot_at || !is_worth_keeping(e, s)) return;
    if (hth_state_fork(s->state, s->n_computed, &copy, &ignored) == HTH_OK) put(e, s, copy, s->n_computed);
}

void reuse_keep_prompt(hth_engine *e, const sequence *s) {
    hth_state *copy;
    hth_err ignored;
    if (!is_worth_keeping(e, s) || s->n_computed - s->request->usage.n_cached < LEAST_NEW_ROWS) return;
    if (hth_state_fork(s->state, s->n_computed, &copy, &ignored) == HTH_OK) put(e, s, copy, s->n_computed);
}

void reuse_keep_end(hth_engine *e, sequence *s) {
    if (!is_worth_keeping(e, s) || s->n_computed <= s->request->usage.n_cached) return;
    hth_state *state = s->state;
    hth_err ignored;
    // It may have ended before the last guessed rows.
    if (hth_state_len(state) > s->n_computed && hth_state_truncate(state, s->n_computed, &ignored) != HTH_OK) return;
    s->state = NULL;
    put(e, s, state, s->n_computed);
}

// ---- room for others (room.c)

void reuse_park(hth_engine *e, sequence *s) {
    reuse_let_go(e, s);
    reuse_keep_end(e, s);
    hth_state_free(s->state);
    hth_drafter_free(s->guesser);
    s->state = NULL;
    s->guesser = NULL;
    s->n_computed = s->snapshot_at = 0;
    s->is_parked = true;
}

hth_code reuse_resume(hth_engine *e, sequence *s, hth_err *err) {
    const hth_request *r = s->request;
    s->is_parked = false;
    s->n_again = (int64_t)s->n_token - 1;
    if (is_reusable(e, r)) {
        const hth_prefix_text text = text_of(r, s->tokens, (int64_t)s->n_token);
        hth_prefix_hit hit;
        HTH_TRY(hth_prefix_find(e->prefix, &text, (int64_t)s->n_token - 1, &hit, err));
        s->state = hit.state;
        s->n_computed = hit.n;
    }
    if (s->state) return HTH_OK;
    const hth_state_params p = plan_state(e, e->n_ctx, false);
    return hth_state_new(e->host->executor, e->model, &p, &s->state, err);
}
