// The matcher: a backtracking machine with its own stack.
//
// A loop over one class scans its run once, leaves one frame behind however long the run is, and
// remembers where the run ends and from where on its continuation is known to fail; so neither many
// starts in one run nor nested loops make it quadratic. Choice points between groups remember their
// outcome per position in a bitmap, which is allocated only when a text turns out to be hard.
// Both are sound because without captures and back-references the outcome of running from an
// instruction at a position depends on nothing else.
#include <string.h>

#include "text/regex_impl.h"

#define MAX_FRAMES (1u << 23)
#define MAX_MEMO_BYTES (1u << 28)
#define MEMO_AFTER_STEPS 20000u // plus 32 per byte passed
#define STEPS_BASE 1000000u
#define STEPS_PER_BYTE 4096u

typedef enum frame_kind { FRAME_ALT, FRAME_LOOP, FRAME_LOOK, FRAME_ATOMIC, FRAME_MEMO } frame_kind;

struct match_frame {
    uint32_t pc;
    uint32_t kind;
    size_t pos; // where to resume
    size_t min; // LOOP: shortest end; LOOK, ATOMIC: enclosing barrier
    size_t hi;  // LOOP: end of the run
};
typedef struct match_frame frame;

// What one class loop knows of the text: the latest run [lo, hi), and that the continuation fails at
// every position of [fail, hi].
struct match_run {
    size_t lo, hi, fail;
};

#define RUN_NONE SIZE_MAX

typedef enum verdict { GO_ON, FAILED, NO_MEM } verdict;

static hth_code fail_costly(hth_err *err) {
    return hth_fail(err, HTH_ERR_LIMIT, "a split pattern of this tokenizer is too costly for this text");
}

static bool push(hth_matcher *m, frame f) {
    if (m->n_stack == m->cap_stack &&
        !hth_grow(HTH_MEM_TEXT, (void **)&m->stack, &m->cap_stack, m->n_stack + 1, sizeof f, MAX_FRAMES)) {
        return false;
    }
    m->stack[m->n_stack++] = f;
    return true;
}

static size_t step_back(const hth_matcher *m, size_t pos) {
    return m->text[pos - 1] < 0x80 ? pos - 1 : hth_cp_before(m->text, pos);
}

// End of the characters of `set` in [pos, limit), at most max of them; *count says how many.
static size_t scan(const hth_matcher *m, const hth_charset *set, size_t pos, size_t limit, uint32_t max,
                   uint32_t *count) {
    const uint8_t *t = m->text;
    uint32_t left = max;
    while (pos < limit && left > 0) {
        unsigned len = 1;
        if (t[pos] < 0x80) {
            if (!(set->ascii[t[pos] >> 6] >> (t[pos] & 63) & 1)) break;
        } else if (!hth_charset_has(set, hth_cp_decode(t + pos, m->n - pos, &len))) {
            break;
        }
        pos += len;
        left--;
    }
    *count = max - left;
    return pos;
}

// ---- memo ----

static size_t memo_bit(const hth_matcher *m, const re_ins *ins, size_t pos) {
    return 2 * (ins->slot * m->memo_len + (pos - m->memo_base));
}

static unsigned memo_get(const hth_matcher *m, const re_ins *ins, size_t pos) {
    size_t bit = memo_bit(m, ins, pos);
    return m->memo[bit >> 3] >> (bit & 7) & 3;
}

static void memo_set(hth_matcher *m, const re_ins *ins, size_t pos, unsigned outcome) {
    size_t bit = memo_bit(m, ins, pos);
    m->memo[bit >> 3] |= (uint8_t)(outcome << (bit & 7));
}

enum { MEMO_FAILS = 1, MEMO_SUCCEEDS = 2 };

static hth_code start_memo(hth_matcher *m, size_t pos, hth_err *err) {
    m->memo_on = true;
    m->limit =
        m->n < UINT64_MAX / 2 / STEPS_PER_BYTE ? STEPS_BASE + (uint64_t)m->n * STEPS_PER_BYTE : UINT64_MAX;
    if (m->re->n_split == 0) return HTH_OK;
    // Look-behind may step left of pos by its width; nothing needs a memo there.
    m->memo_base = pos;
    m->memo_len = m->n - pos + 1;
    uint64_t bytes = ((uint64_t)m->re->n_split * m->memo_len * 2 + 7) / 8;
    if (bytes > MAX_MEMO_BYTES) return fail_costly(err);
    m->memo = hth_calloc(HTH_MEM_TEXT, (size_t)bytes, 1);
    return m->memo ? HTH_OK : hth_fail_nomem(err, bytes);
}

// A look-around's body has succeeded: so has every choice point that is still open inside it.
static void memo_successes(hth_matcher *m, size_t from) {
    for (size_t i = from; i < m->n_stack; i++) {
        const frame *f = &m->stack[i];
        if (f->kind == FRAME_MEMO) memo_set(m, &m->re->ins[f->pc], f->pos, MEMO_SUCCEEDS);
    }
}

// ---- instructions ----

static bool is_word_at(const hth_matcher *m, size_t pos) {
    unsigned len;
    return pos < m->n && hth_charset_has(m->re->word, hth_cp_at(m->text + pos, m->n - pos, &len));
}

static bool assertion_holds(const hth_matcher *m, const re_ins *ins, size_t pos) {
    bool edge;
    switch (ins->op) {
    case RE_LINE_BEGIN: return pos == 0 || m->text[pos - 1] == '\n';
    case RE_LINE_END: return pos == m->n || m->text[pos] == '\n';
    case RE_TEXT_BEGIN: return pos == 0;
    case RE_TEXT_END: return pos == m->n;
    case RE_TEXT_END_NL: return pos == m->n || (pos + 1 == m->n && m->text[pos] == '\n');
    default:
        edge = (pos > 0 && is_word_at(m, step_back(m, pos))) != is_word_at(m, pos);
        return edge == (ins->op == RE_WORD_EDGE);
    }
}

// Brings the loop's memory up to date for an entry at `from`: afterwards `from` lies in its run.
static void find_run(hth_matcher *m, const hth_charset *set, struct match_run *run, size_t from) {
    uint32_t count;
    if (run->lo != RUN_NONE && from >= run->lo && from <= run->hi) return;
    if (run->lo != RUN_NONE && from < run->lo && scan(m, set, from, run->lo, UINT32_MAX, &count) == run->lo) {
        run->lo = from;
        return;
    }
    size_t end = scan(m, set, from, m->n, UINT32_MAX, &count);
    *run = (struct match_run){.lo = from, .hi = end, .fail = end + 1};
}

// x* and x+, the loops that can be long.
static verdict enter_long_loop(hth_matcher *m, const re_ins *ins, uint32_t pc, size_t *pos) {
    const hth_charset *set = m->re->sets[ins->x];
    struct match_run *run = &m->runs[ins->slot];
    size_t first = *pos;
    find_run(m, set, run, first);
    if (ins->min == 1) {
        unsigned len;
        if (first == run->hi) return FAILED;
        (void)hth_cp_at(m->text + first, m->n - first, &len);
        first += len;
    }
    *pos = run->hi;
    if (ins->op == RE_LOOP_POSSESSIVE || (first == run->hi && ins->min == 0)) return GO_ON;
    if (run->fail <= first) return FAILED;
    if (run->fail <= run->hi) *pos = step_back(m, run->fail);
    return push(m, (frame){.kind = FRAME_LOOP, .pc = pc, .pos = *pos, .min = first, .hi = run->hi}) ? GO_ON
                                                                                                    : NO_MEM;
}

static verdict enter_loop(hth_matcher *m, const re_ins *ins, uint32_t pc, size_t *pos) {
    if (ins->max == HTH_RE_INFINITE && ins->min <= 1) return enter_long_loop(m, ins, pc, pos);
    uint32_t count;
    size_t first = *pos;
    *pos = scan(m, m->re->sets[ins->x], first, m->n, ins->max, &count);
    if (count < ins->min) return FAILED;
    if (ins->op == RE_LOOP_POSSESSIVE || count == ins->min) return GO_ON;
    for (uint32_t i = 0; i < ins->min; i++) {
        unsigned len;
        (void)hth_cp_at(m->text + first, m->n - first, &len);
        first += len;
    }
    return push(m, (frame){.kind = FRAME_LOOP, .pc = pc, .pos = *pos, .min = first, .hi = RUN_NONE}) ? GO_ON
                                                                                                     : NO_MEM;
}

// The continuation of a greedy loop failed at f->pos: tries one character less. False: exhausted.
static bool retry_loop(hth_matcher *m, frame *f) {
    struct match_run *run = &m->runs[m->re->ins[f->pc].slot];
    if (f->hi != RUN_NONE && run->hi == f->hi && f->pos < run->fail) run->fail = f->pos;
    if (f->pos <= f->min) return false;
    f->pos = step_back(m, f->pos);
    return true;
}

// Takes frames off the stack until one offers another way; false when none is left.
static bool backtrack(hth_matcher *m, uint32_t *pc, size_t *pos) {
    while (m->n_stack > 0) {
        frame *f = &m->stack[m->n_stack - 1];
        m->steps++;
        switch ((frame_kind)f->kind) {
        case FRAME_ALT:
            *pc = f->pc;
            *pos = f->pos;
            m->n_stack--;
            return true;
        case FRAME_LOOP:
            if (retry_loop(m, f)) {
                *pc = f->pc + 1;
                *pos = f->pos;
                return true;
            }
            break;
        case FRAME_LOOK: // the body failed: good for a negated one
            m->barrier = f->min;
            if (m->re->ins[f->pc].y) {
                *pc = f->pc + (uint32_t)m->re->ins[f->pc].x;
                *pos = f->pos;
                m->n_stack--;
                return true;
            }
            break;
        case FRAME_ATOMIC: m->barrier = f->min; break;
        case FRAME_MEMO: memo_set(m, &m->re->ins[f->pc], f->pos, MEMO_FAILS); break;
        }
        m->n_stack--;
    }
    return false;
}

// The innermost look-around's body has matched. False: that is a failure (negated).
static bool leave_look(hth_matcher *m, uint32_t *pc, size_t *pos) {
    size_t at = m->barrier;
    if (m->memo) memo_successes(m, at + 1);
    frame f = m->stack[at];
    m->n_stack = at;
    m->barrier = f.min;
    *pc = f.pc + (uint32_t)m->re->ins[f.pc].x;
    *pos = f.pos;
    return !m->re->ins[f.pc].y;
}

static verdict run_split(hth_matcher *m, uint32_t *pc, size_t *pos) {
    const re_ins *ins = &m->re->ins[*pc];
    if (m->memo && *pos >= m->memo_base) {
        unsigned known = memo_get(m, ins, *pos);
        if (known & MEMO_FAILS) return FAILED;
        if (known & MEMO_SUCCEEDS) return leave_look(m, pc, pos) ? GO_ON : FAILED;
        if (!push(m, (frame){.kind = FRAME_MEMO, .pc = *pc, .pos = *pos})) return NO_MEM;
    }
    if (!push(m, (frame){.kind = FRAME_ALT, .pc = *pc + (uint32_t)ins->y, .pos = *pos})) return NO_MEM;
    *pc += (uint32_t)ins->x;
    return GO_ON;
}

static verdict run_behind(hth_matcher *m, const re_ins *ins, size_t *pos) {
    for (int32_t i = 0; i < ins->x; i++) {
        if (*pos == 0) return FAILED;
        *pos = step_back(m, *pos);
    }
    return GO_ON;
}

static verdict run_look_set(const hth_matcher *m, const re_ins *ins, size_t pos) {
    unsigned len;
    bool has = pos < m->n && hth_charset_has(m->re->sets[ins->x], hth_cp_at(m->text + pos, m->n - pos, &len));
    return has != (ins->y != 0) ? GO_ON : FAILED;
}

// One instruction that is neither RE_SET nor RE_MATCH.
static verdict run_ins(hth_matcher *m, uint32_t *pc, size_t *pos) {
    const re_ins *ins = &m->re->ins[*pc];
    verdict v = GO_ON;
    switch ((re_op)ins->op) {
    case RE_LOOP:
    case RE_LOOP_POSSESSIVE: v = enter_loop(m, ins, *pc, pos); break;
    case RE_SPLIT: return run_split(m, pc, pos);
    case RE_JUMP: *pc += (uint32_t)ins->x; return GO_ON;
    case RE_LOOK:
    case RE_ATOMIC:
        if (!push(m, (frame){.kind = ins->op == RE_LOOK ? FRAME_LOOK : FRAME_ATOMIC,
                             .pc = *pc,
                             .pos = *pos,
                             .min = m->barrier})) {
            return NO_MEM;
        }
        m->barrier = m->n_stack - 1;
        break;
    case RE_LOOK_END: return leave_look(m, pc, pos) ? GO_ON : FAILED;
    case RE_ATOMIC_END:
        m->n_stack = m->barrier;
        m->barrier = m->stack[m->n_stack].min;
        break;
    case RE_LOOK_SET: v = run_look_set(m, ins, *pos); break;
    case RE_BEHIND: v = run_behind(m, ins, pos); break;
    default: v = assertion_holds(m, ins, *pos) ? GO_ON : FAILED;
    }
    (*pc)++;
    return v;
}

// Runs the program from pc at pos; *end is where it matched.
static hth_code run_program(hth_matcher *m, uint32_t pc, size_t pos, bool *found, size_t *end, hth_err *err) {
    size_t start = pos;
    m->n_stack = 0;
    m->barrier = SIZE_MAX;
    if (!m->memo_on) m->limit = MEMO_AFTER_STEPS + 32 * (uint64_t)pos;
    for (;;) {
        const re_ins *ins = &m->re->ins[pc];
        verdict v;
        if (ins->op == RE_SET) {
            unsigned len;
            bool has = pos < m->n &&
                       hth_charset_has(m->re->sets[ins->x], hth_cp_at(m->text + pos, m->n - pos, &len));
            v = has ? GO_ON : FAILED;
            if (has) {
                pos += len;
                pc++;
            }
        } else if (ins->op == RE_MATCH) {
            *found = true;
            *end = pos;
            return HTH_OK;
        } else {
            v = run_ins(m, &pc, &pos);
        }
        m->steps++;
        if (v == FAILED && !backtrack(m, &pc, &pos)) {
            *found = false;
            return HTH_OK;
        }
        if (HTH_UNLIKELY(v == NO_MEM)) {
            return m->n_stack >= MAX_FRAMES ? fail_costly(err) : hth_fail_nomem(err, sizeof(frame));
        }
        if (HTH_UNLIKELY(m->steps > m->limit)) {
            if (m->memo_on) return fail_costly(err);
            HTH_TRY(start_memo(m, start, err));
        }
    }
}

// ---- searching ----

void hth_matcher_free(hth_matcher *m) {
    hth_free(m->stack);
    hth_free(m->runs);
    hth_free(m->memo);
    *m = (hth_matcher){0};
}

hth_code hth_matcher_begin(hth_matcher *m, const hth_regex *re, const uint8_t *text, size_t n, hth_err *err) {
    m->re = re;
    m->text = text;
    m->n = n;
    m->steps = 0;
    m->memo_on = false;
    if (m->memo) {
        hth_free(m->memo);
        m->memo = NULL;
    }
    if (!hth_grow(HTH_MEM_TEXT, (void **)&m->runs, &m->cap_runs, re->n_run, sizeof *m->runs,
                  HTH_RE_MAX_INS)) {
        return hth_fail_nomem(err, re->n_run * sizeof *m->runs);
    }
    for (uint32_t i = 0; i < re->n_run; i++) m->runs[i].lo = RUN_NONE;
    return HTH_OK;
}

hth_code hth_matcher_find(hth_matcher *m, size_t from, bool *found, size_t *start, size_t *end,
                          hth_err *err) {
    const hth_regex *re = m->re;
    for (size_t pos = from;;) {
        uint64_t todo = pos == m->n         ? re->at_end
                      : m->text[pos] < 0x80 ? re->by_first[m->text[pos]]
                                            : re->by_high;
        for (; todo; todo &= todo - 1) {
            unsigned i = (unsigned)__builtin_ctzll(todo);
            *found = false;
            HTH_TRY(run_program(m, re->alts[i].pc, pos, found, end, err));
            if (*found) {
                *start = pos;
                return HTH_OK;
            }
        }
        if (pos >= m->n) break;
        unsigned len;
        (void)hth_cp_at(m->text + pos, m->n - pos, &len);
        pos += len;
    }
    *found = false;
    return HTH_OK;
}
