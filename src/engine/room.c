// Memory of the requests at work. Nobody knows how long an answer becomes, so a request is given room for its prompt
// and some tokens, and more as it writes. Where there is no more, who came last gives its state back and waits, and
// computes it again, to the same numbers, when there is room: nothing ends for want of memory, since each request alone
// fits (prompt.c). Several completions of one prompt share it, and have all their room from the beginning.
#include "engine/impl.h"

#define AHEAD 256 // tokens of an answer that room is taken for at once
#define LEAST 32  // where there is not so much

static bool is_elastic(const hth_request *r) {
    return r->n_seq == 1 && r->p.task == HTH_TASK_GENERATE;
}

hth_code room_plan(hth_request *r, hth_err *err) {
    r->n_first = r->n_room;
    r->first_bytes = r->need_bytes;
    if (!is_elastic(r) || r->n_room - r->n_prompt <= AHEAD) return HTH_OK;
    r->n_first = r->n_prompt + AHEAD;
    return plan_request(r->engine, r->n_prompt, r->n_first, 1, false, &r->first_bytes, err);
}

void room_take(hth_engine *e, hth_request *r) {
    r->n_held = r->n_first;
    r->held_bytes = r->first_bytes;
    e->reserved_bytes += r->held_bytes;
    reuse_make_room(e);
}

void room_give(hth_engine *e, hth_request *r) {
    e->reserved_bytes -= r->held_bytes;
    r->n_held = 0;
    r->held_bytes = 0;
}

// Room for n tokens, as far as the request may need them. False where it does not fit.
static bool hold(hth_engine *e, hth_request *r, int64_t n) {
    uint64_t bytes = r->need_bytes;
    hth_err ignored;
    if (n > r->n_room) n = r->n_room;
    if (n < r->n_room && plan_request(e, r->n_prompt, n, 1, false, &bytes, &ignored) != HTH_OK) return false;
    if (bytes < r->held_bytes) bytes = r->held_bytes;
    if (e->reserved_bytes - r->held_bytes + bytes > e->kv_limit_bytes) return false;
    e->reserved_bytes += bytes - r->held_bytes;
    r->held_bytes = bytes;
    r->n_held = n;
    reuse_make_room(e);
    return true;
}

// ---- who gives, who waits

// What a prompt's reader has told already it would tell again; and it holds no more than what it began with.
static bool can_park(const sequence *s) {
    return is_elastic(s->request) && s->has_prompt && !s->is_parked && !s->is_ended;
}

// Who gives its room to `s`: the latest in the background, then the latest of all, at last s itself.
static sequence *giver(const hth_engine *e, sequence *s) {
    for (int priority = HTH_PRIORITY_BACKGROUND; priority >= HTH_PRIORITY_INTERACTIVE; priority--) {
        for (int32_t i = e->n_seq - 1; i >= 0; i--) { // in the order in which they came
            sequence *other = e->seqs[i];
            if ((int)other->request->p.priority != priority) continue;
            if (other == s) return s;
            if (can_park(other)) return other;
        }
    }
    return s;
}

static void park(hth_engine *e, sequence *s) {
    room_give(e, s->request);
    reuse_park(e, s);
    e->n_parked++;
}

static void grow(hth_engine *e, sequence *s) {
    while (!s->is_parked && !hold(e, s->request, (int64_t)s->n_token + AHEAD) &&
           !hold(e, s->request, (int64_t)s->n_token + LEAST)) {
        park(e, giver(e, s));
    }
}

static bool needs_more(const sequence *s) {
    const hth_request *r = s->request;
    return can_park(s) && (int64_t)s->n_token >= r->n_held && r->n_held < r->n_room;
}

// Those that wait come back in their order: none before one that came earlier.
static void resume(hth_engine *e, hth_priority priority) {
    hth_err err;
    for (int32_t i = 0; i < e->n_seq; i++) {
        sequence *s = e->seqs[i];
        if (!s->is_parked || s->is_ended || s->request->p.priority != priority) continue;
        if (!hold(e, s->request, (int64_t)s->n_token + AHEAD)) return;
        if (reuse_resume(e, s, &err) != HTH_OK) sequence_fail(s, &err);
    }
}

bool room_is_awaited(const hth_engine *e, hth_priority priority) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        if (e->seqs[i]->is_parked && e->seqs[i]->request->p.priority <= priority) return true;
    }
    return false;
}

void room_settle(hth_engine *e) {
    for (int32_t i = 0; i < e->n_seq; i++) {
        if (needs_more(e->seqs[i])) grow(e, e->seqs[i]);
    }
    resume(e, HTH_PRIORITY_INTERACTIVE);
    if (!room_is_awaited(e, HTH_PRIORITY_INTERACTIVE)) resume(e, HTH_PRIORITY_BACKGROUND);
}
