// The reader of answers: content, thoughts, and where calls begin and end. How calls are recognized is in
// output_head.c, how their arguments are read in output_json.c, output_params.c and output_literal.c.
#include "chat/output_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_HELD ((uint64_t)64 << 20)
#define RETRY_FROM 4096
#define PIECE ((size_t)1 << 15) // of a feed: what is waited for is bounded, not what is fed

// ---- what is told ----

void out_fail(hth_chat_output *o, hth_code code) {
    if (o->code == HTH_OK) o->code = code;
}

void out_hold(hth_chat_output *o, hth_str *s, const char *p, size_t n) {
    if (hth_str_append(s, p, n) || o->code != HTH_OK) return;
    const bool is_limit = n > s->max || s->len > s->max - n;
    out_fail(o, is_limit ? hth_fail(&o->err, HTH_ERR_LIMIT, "the answer has a value of more than %zu bytes", s->max)
                         : hth_fail_nomem(&o->err, s->len));
}

static void tell(hth_chat_output *o, const hth_chat_delta *d) {
    if (o->code == HTH_OK) out_fail(o, o->p.sink(o->p.user, d, &o->err));
}

static void flush(hth_chat_output *o) {
    if (o->run.len == 0) return;
    const hth_chat_delta d = {.kind = o->run_kind, .call = o->n_call - 1, .text = hth_str_text(&o->run), .n_text = o->run.len};
    tell(o, &d);
    hth_str_clear(&o->run);
}

void out_emit(hth_chat_output *o, hth_chat_delta_kind kind, const char *p, size_t n) {
    if (n == 0) return;
    if (o->run_kind != kind) flush(o);
    o->run_kind = kind;
    out_hold(o, &o->run, p, n);
    if (o->run.len > 1 << 16) flush(o);
}

void out_args(hth_chat_output *o, const char *p, size_t n) {
    if (o->instead) {
        out_hold(o, o->instead, p, n);
        return;
    }
    o->has_args = o->has_args || n > 0;
    out_emit(o, HTH_CHAT_DELTA_ARGUMENTS, p, n);
}

void out_args_text(hth_chat_output *o, const char *text) {
    out_args(o, text, strlen(text));
}

static bool needs_escape(char c) {
    return (unsigned char)c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
}

void out_args_escaped(hth_chat_output *o, const char *p, size_t n) {
    for (size_t i = 0, from = 0; i <= n; i++) {
        if (i < n && !needs_escape(p[i])) continue;
        out_args(o, p + from, i - from);
        from = i + 1;
        if (i == n) return;
        static const char plain[] = "\b\f\n\r\t\"\\", letter[] = "bfnrt\"\\";
        const char *at = p[i] ? strchr(plain, p[i]) : NULL;
        char text[8];
        if (at) {
            snprintf(text, sizeof text, "\\%c", letter[at - plain]);
        } else {
            snprintf(text, sizeof text, "\\u%04x", (unsigned)(unsigned char)p[i]);
        }
        out_args_text(o, text);
    }
}

void out_args_char(hth_chat_output *o, uint32_t c) {
    char text[4];
    size_t n = 0;
    if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff) c = 0xfffd;
    if (c < 0x80) {
        text[n++] = (char)c;
    } else if (c < 0x800) {
        text[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        text[n++] = (char)(0xe0 | c >> 12);
        text[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        text[n++] = (char)(0xf0 | c >> 18);
        text[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        text[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80) text[n++] = (char)(0x80 | (c & 0x3f));
    out_args_escaped(o, text, n);
}

// ---- calls ----

static uint64_t mix(uint64_t x) { // the finalizer of splitmix64
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static void make_id(hth_chat_output *o) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    hth_str_clear(&o->id);
    if (o->f->id == FMT_ID_KIMI) {
        hth_str_printf(&o->id, "functions.%s:%d", hth_str_text(&o->name), (int)o->n_call);
        return;
    }
    uint64_t x = mix(o->p.seed ^ mix((uint64_t)o->n_call));
    if (o->f->id == FMT_ID_CALL) hth_str_puts(&o->id, "call_");
    for (int i = 0, n = o->f->id == FMT_ID_NINE ? 9 : 24; i < n; i++) {
        hth_str_putc(&o->id, letters[x % 62]);
        x = mix(x);
    }
}

void out_begin_call(hth_chat_output *o, const fmt_calls *c, const hth_chat_tool *tool) {
    flush(o);
    if (o->id.len == 0) make_id(o);
    const hth_chat_delta d = {.kind = HTH_CHAT_DELTA_CALL, .call = o->n_call++, .text = "",
                              .id = {hth_str_text(&o->id), o->id.len}, .name = {hth_str_text(&o->name), o->name.len}};
    if (o->id.failed) out_fail(o, hth_fail_nomem(&o->err, o->id.len));
    tell(o, &d);
    o->calls = c;
    o->tool = tool;
    o->in_call = true;
    o->has_args = false;
    o->state = OUT_ARGS;
    switch (c ? c->body : FMT_JSON) {
    case FMT_PARAMS: o->params = (out_params){.mode = OUT_PARAM_KEY}; break;
    case FMT_PYTHON:
    case FMT_DICT: o->literal = (out_literal){.depth = 0}; break;
    default: o->json = (out_json){.mode = OUT_JSON_START}; break;
    }
}

void out_end_call(hth_chat_output *o, bool is_cut) {
    if (!o->has_args && !is_cut) out_args_text(o, "{}");
    flush(o);
    const hth_chat_delta d = {.kind = HTH_CHAT_DELTA_CALL_END, .call = o->n_call - 1, .text = "", .is_cut = is_cut};
    tell(o, &d);
    o->in_call = false;
}

// ---- marks ----

out_found out_match(const char *const *list, size_t n_list, const char *p, size_t n, bool at_end, size_t *len) {
    *len = 0;
    bool is_partial = false;
    for (size_t i = 0; i < n_list && list[i]; i++) {
        const size_t k = strlen(list[i]), common = k < n ? k : n;
        if (k == 0 || memcmp(list[i], p, common) != 0) continue;
        if (common < k) {
            is_partial = true;
        } else if (k > *len) {
            *len = k;
        }
    }
    if (is_partial && !at_end) return OUT_MORE;
    return *len > 0 ? OUT_YES : OUT_NO;
}

// The mark, or control token, that the text begins with: the longest.
static out_found match_mark(const hth_chat_output *o, const char *p, size_t n, bool at_end, out_mark *found) {
    bool is_partial = false;
    found->n = 0;
    for (size_t i = 0; i < o->n_mark; i++) {
        const out_mark *m = &o->marks[i];
        if (memcmp(m->p, p, m->n < n ? m->n : n) != 0) continue;
        if (m->n > n) {
            is_partial = true;
        } else if (m->n > found->n) {
            *found = *m;
        }
    }
    size_t low = 0, high = o->n_control; // narrowed to those that share the text's first bytes
    for (size_t k = 0; low < high && k < n; k++) {
        const unsigned char c = (unsigned char)p[k];
        while (low < high && (o->control_len[low] <= k || (unsigned char)o->controls[low][k] < c)) low++;
        size_t end = low;
        while (end < high && (unsigned char)o->controls[end][k] == c) end++;
        high = end;
        if (low < high && o->control_len[low] == k + 1 && k + 1 > found->n) {
            *found = (out_mark){o->controls[low], k + 1, OUT_DROPPED};
        }
    }
    if (low < high && o->control_len[high - 1] > n) is_partial = true;
    if (is_partial && !at_end) return OUT_MORE;
    return found->n > 0 ? OUT_YES : OUT_NO;
}

static void add_mark(hth_chat_output *o, const char *p, out_role role) {
    if (!p || !*p || o->n_mark == OUT_MAX_MARKS) return;
    for (size_t i = 0; i < o->n_mark; i++) {
        if (strcmp(o->marks[i].p, p) == 0) return;
    }
    o->marks[o->n_mark++] = (out_mark){p, strlen(p), role};
    o->is_first[(unsigned char)*p] = 1;
}

static bool takes_calls(const hth_chat_output *o) {
    return o->p.tools || o->p.any_tool;
}

static void collect_marks(hth_chat_output *o) {
    const hth_chat_format *f = o->f;
    static const char *const ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"};
    for (size_t i = 0; f->channels && i < HTH_COUNT(ends); i++) add_mark(o, ends[i], OUT_ENDS_MESSAGE);
    for (size_t i = 0; !f->channels && i < HTH_COUNT(f->think_open); i++) {
        add_mark(o, f->think_open[i], OUT_OPENS_THOUGHT);
        add_mark(o, f->think_close[i], OUT_CLOSES_THOUGHT);
    }
    for (size_t i = 0; takes_calls(o) && i < FMT_MAX_CALLS; i++) {
        const fmt_calls *c = &f->calls[i];
        for (size_t k = 0; k < HTH_COUNT(c->section); k++) add_mark(o, c->section[k], OUT_OPENS_CALL);
        for (size_t k = 0; k < HTH_COUNT(c->open); k++) add_mark(o, c->open[k], OUT_OPENS_CALL);
    }
    for (size_t i = 0; i < HTH_COUNT(f->drop); i++) add_mark(o, f->drop[i], OUT_DROPPED);
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The vocabulary's control tokens, sorted.
static hth_code collect_controls(hth_chat_output *o, hth_err *err) {
    const hth_tokenizer *t = o->p.tokenizer;
    size_t n = 0, len;
    for (hth_token id = 0; t && id < hth_tokenizer_n_vocab(t); id++) n += hth_tokenizer_is_control(t, id);
    if (n == 0) return HTH_OK;
    o->controls = hth_calloc(HTH_MEM_TEXT, n, sizeof *o->controls);
    o->control_len = hth_calloc(HTH_MEM_TEXT, n, sizeof *o->control_len);
    if (!o->controls || !o->control_len) return hth_fail_nomem(err, n * sizeof *o->controls);
    for (hth_token id = 0; id < hth_tokenizer_n_vocab(t); id++) {
        const char *text = hth_tokenizer_is_control(t, id) ? hth_tokenizer_spelling(t, id, &len) : NULL;
        if (text && len > 0 && strlen(text) == len) o->controls[o->n_control++] = text;
    }
    qsort(o->controls, o->n_control, sizeof *o->controls, compare_texts);
    for (size_t i = 0; i < o->n_control; i++) {
        o->control_len[i] = strlen(o->controls[i]);
        o->is_first[(unsigned char)*o->controls[i]] = 1;
    }
    return HTH_OK;
}

// ---- text ----

static hth_chat_delta_kind kind_now(const hth_chat_output *o) {
    return o->state == OUT_THOUGHT && !o->p.raw_reasoning ? HTH_CHAT_DELTA_REASONING : HTH_CHAT_DELTA_CONTENT;
}

static void say(hth_chat_output *o, const char *p, size_t n) {
    const hth_chat_delta_kind kind = kind_now(o);
    out_emit(o, kind, hth_str_text(&o->held), o->held.len);
    hth_str_clear(&o->held);
    out_emit(o, kind, p, n);
    o->said = true;
    o->skip_space = false;
}

// A tag: nothing, or with raw_reasoning content.
static void pass_tag(hth_chat_output *o, const char *p, size_t n) {
    if (o->p.raw_reasoning) say(o, p, n);
    hth_str_clear(&o->held);
    o->skip_space = !o->p.raw_reasoning;
    o->said = false;
}

static bool takes_tag(const hth_chat_output *o, out_role role) {
    if (role == OUT_OPENS_THOUGHT) {
        return o->state == OUT_THOUGHT ? !o->said : o->f->think_anywhere || !o->said;
    }
    if (o->state == OUT_THOUGHT || o->f->think_anywhere) return true;
    return !o->thought_seen && o->p.begins != HTH_CHAT_BEGINS_CONTENT; // its opening tag is missing
}

static size_t use_tag(hth_chat_output *o, const out_mark *m) {
    const bool opens = m->role == OUT_OPENS_THOUGHT;
    if (opens && o->state == OUT_TEXT) o->state = OUT_THOUGHT;
    pass_tag(o, m->p, m->n);
    if (!opens) o->state = OUT_TEXT;
    o->thought_seen = true;
    return m->n;
}

// A call whose beginning is understood.
static size_t use_head(hth_chat_output *o, const out_head *h, const char *p) {
    bool more, done = false;
    if (!o->p.raw_reasoning || o->state != OUT_THOUGHT) hth_str_clear(&o->held);
    if (o->held.len > 0) say(o, "", 0);
    o->in_section = h->in_section;
    o->in_list = h->in_list;
    o->n_open = h->n_open;
    out_begin_call(o, h->calls, h->tool);
    if (h->n_args > 0) {
        size_t used = 0;
        while (used < h->n_args && !done) {
            const size_t k = out_step_json(o, p + h->args + used, h->n_args - used, true, &more, &done);
            if (k == 0) break;
            used += k;
        }
    }
    if (done || h->is_whole) {
        out_end_call(o, false);
        o->state = OUT_CLOSE;
    }
    return h->n_used;
}

static bool may_call(const hth_chat_output *o) {
    return takes_calls(o) && (o->state != OUT_THOUGHT || o->f->calls_in_thought);
}

static bool is_dropped(const hth_chat_output *o, const out_mark *m) {
    for (size_t i = 0; i < HTH_COUNT(o->f->drop) && o->f->drop[i]; i++) {
        if (strcmp(o->f->drop[i], m->p) == 0) return true;
    }
    return false;
}

static size_t use_mark(hth_chat_output *o, const out_mark *m, const char *p, size_t n, bool at_end, bool *more) {
    out_head h;
    out_found found;
    switch (m->role) {
    case OUT_OPENS_THOUGHT:
    case OUT_CLOSES_THOUGHT:
        if (takes_tag(o, m->role)) return use_tag(o, m);
        break;
    case OUT_OPENS_CALL:
        found = may_call(o) ? out_find_head(o, NULL, OUT_AT_MARK, p, n, at_end, &h) : OUT_NO;
        if (found == OUT_YES) return use_head(o, &h, p);
        *more = found == OUT_MORE;
        if (*more) return 0;
        if (is_dropped(o, m)) return m->n;
        break;
    case OUT_ENDS_MESSAGE:
        if (o->state == OUT_THOUGHT) {
            if (o->p.raw_reasoning) say(o, "<|end|>", 7);
            o->thought_seen = true;
        }
        o->state = OUT_HEADER;
        return 0;
    case OUT_DROPPED: return m->n;
    }
    say(o, m->p, m->n);
    return m->n;
}

static size_t plain_run(const hth_chat_output *o, const char *p, size_t n) {
    size_t i = 1;
    while (i < n && !out_is_space(p[i]) && !o->is_first[(unsigned char)p[i]]) i++;
    return i;
}

static size_t use_space(hth_chat_output *o, const char *p, size_t n) {
    size_t i = 0;
    while (i < n && out_is_space(p[i])) i++;
    if (!o->skip_space) out_hold(o, &o->held, p, i);
    return i;
}

// Content or a thought.
static size_t step_text(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    if (out_is_space(p[0])) return use_space(o, p, n);
    out_mark m;
    out_head h;
    out_found found = OUT_NO;
    if (!o->said && o->n_call == 0 && o->f->start_drop && o->state == OUT_TEXT) {
        size_t len;
        found = out_match(&o->f->start_drop, 1, p, n, at_end, &len);
        if (found == OUT_YES) {
            o->said = true; // once
            return len;
        }
    }
    if (found == OUT_NO && o->is_first[(unsigned char)p[0]]) {
        found = match_mark(o, p, n, at_end, &m);
        if (found == OUT_YES) return use_mark(o, &m, p, n, at_end, more);
    }
    if (found == OUT_NO && !o->said && o->state == OUT_TEXT && takes_calls(o)) {
        found = out_find_head(o, NULL, OUT_BARE, p, n, at_end, &h);
        if (found == OUT_YES) {
            o->bare_run = true;
            return use_head(o, &h, p);
        }
    }
    *more = found == OUT_MORE;
    if (*more) return 0;
    const size_t i = plain_run(o, p, n);
    say(o, p, i);
    return i;
}

// ---- runs of calls ----

static void leave_run(hth_chat_output *o) {
    o->in_section = o->in_list = o->bare_run = false;
    o->state = o->f->channels ? OUT_HEADER : OUT_TEXT;
    o->skip_space = true;
    o->said = false;
}

static size_t step_between(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    size_t len;
    out_head h;
    if (out_is_space(p[0])) return 1;
    if ((o->in_list || o->bare_run) && (p[0] == ',' || p[0] == ';')) return 1;
    if (o->in_list && p[0] == ']') {
        o->in_list = false;
        if (!o->in_section) leave_run(o);
        return 1;
    }
    out_found found = out_match(&o->calls->section_end, 1, p, n, at_end, &len); // also of a run that nothing opened
    if (found == OUT_YES) {
        leave_run(o);
        return len;
    }
    if (found == OUT_NO) {
        const out_place place = o->bare_run ? OUT_BARE : OUT_IN_RUN;
        found = out_find_head(o, o->calls, place, p, n, at_end, &h);
        if (found == OUT_YES) {
            h.in_section = o->in_section;
            h.in_list = o->in_list;
            return use_head(o, &h, p);
        }
    }
    *more = found == OUT_MORE;
    if (!*more) leave_run(o);
    return 0;
}

static void after_call(hth_chat_output *o) {
    if (o->in_section || o->in_list || o->bare_run || (o->calls && o->calls->section_end)) {
        o->state = OUT_BETWEEN;
    } else {
        leave_run(o);
    }
}

static size_t step_close(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    size_t len = 0;
    if (out_is_space(p[0])) return 1;
    const out_found found = o->calls ? out_match(o->calls->close, HTH_COUNT(o->calls->close), p, n, at_end, &len) : OUT_NO;
    *more = found == OUT_MORE;
    if (*more) return 0;
    if (found == OUT_NO && p[0] == '}' && o->calls && o->calls->close[0]) return 1; // one too many
    after_call(o);
    return len;
}

static size_t step_args(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    bool done = false;
    size_t used;
    switch (o->calls ? o->calls->body : FMT_JSON) {
    case FMT_PARAMS: used = out_step_params(o, p, n, at_end, more, &done); break;
    case FMT_PYTHON:
    case FMT_DICT: used = out_step_literal(o, p, n, at_end, more, &done); break;
    default: used = out_step_json(o, p, n, at_end, more, &done); break;
    }
    if (!done) return used;
    out_end_call(o, false);
    o->state = o->n_open > 0 ? OUT_REST : OUT_CLOSE;
    o->json = (out_json){.depth = o->n_open};
    return used;
}

// ---- the machine ----

static size_t step(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    switch (o->state) {
    case OUT_HEADER: return out_step_header(o, p, n, at_end, more);
    case OUT_BETWEEN: return step_between(o, p, n, at_end, more);
    case OUT_ARGS: return step_args(o, p, n, at_end, more);
    case OUT_REST: return out_step_rest(o, p, n, at_end, more);
    case OUT_CLOSE: return step_close(o, p, n, at_end, more);
    default: return step_text(o, p, n, at_end, more);
    }
}

// What is waited for may be long (an object whose name comes last): it is looked at again when it has grown by an
// eighth, so that the time stays linear.
static void wait_for_more(hth_chat_output *o, size_t n) {
    o->retry_at = n > RETRY_FROM ? n + n / 8 : 0;
}

static void pump(hth_chat_output *o, bool at_end) {
    while (o->at < o->in.len && o->code == HTH_OK) {
        const size_t n = o->in.len - o->at;
        bool more = false;
        if (!at_end && n < o->retry_at) break;
        const size_t used = step(o, o->in.p + o->at, n, at_end, &more);
        o->at += used;
        o->retry_at = 0;
        if (more) {
            wait_for_more(o, n - used);
            break;
        }
    }
    if (o->at == o->in.len) {
        hth_str_clear(&o->in);
        o->at = 0;
    } else if (o->at > o->in.len / 2) {
        memmove(o->in.p, o->in.p + o->at, o->in.len - o->at);
        o->in.len -= o->at;
        o->at = 0;
    }
}

hth_code hth_chat_output_feed(hth_chat_output *o, const char *text, size_t n, hth_err *err) {
    for (size_t i = 0, k; i < n && !o->is_over && o->code == HTH_OK; i += k) {
        k = n - i < PIECE ? n - i : PIECE;
        out_hold(o, &o->in, text + i, k);
        pump(o, false);
    }
    flush(o);
    if (o->code != HTH_OK && err) *err = o->err;
    return o->code;
}

hth_code hth_chat_output_end(hth_chat_output *o, hth_err *err) {
    if (!o->is_over) {
        o->retry_at = 0;
        pump(o, false);
        pump(o, true);
        if (o->in_call) {
            if (o->calls && o->calls->body == FMT_PARAMS) out_finish_params(o);
            out_end_call(o, true);
        } else if ((o->state == OUT_TEXT || o->p.raw_reasoning) && o->held.len > 0) {
            say(o, "", 0);
        }
        flush(o);
        o->is_over = true;
    }
    if (o->code != HTH_OK && err) *err = o->err;
    return o->code;
}

bool hth_chat_output_is_thinking(const hth_chat_output *o) {
    return o->state == OUT_THOUGHT;
}

static void open_state(hth_chat_output *o) {
    o->state = o->f->channels ? OUT_HEADER : OUT_TEXT;
    if (o->p.begins == HTH_CHAT_BEGINS_CONTENT) o->state = OUT_TEXT;
    if (o->p.begins != HTH_CHAT_BEGINS_THOUGHT) return;
    o->state = OUT_THOUGHT;
    o->skip_space = !o->p.raw_reasoning;
    if (!o->p.raw_reasoning || !o->f->think_open[0]) return;
    out_emit(o, HTH_CHAT_DELTA_CONTENT, o->f->think_open[0], strlen(o->f->think_open[0]));
    if (o->f->ends_thought && o->f->ends_thought[0] == '\n') out_emit(o, HTH_CHAT_DELTA_CONTENT, "\n", 1);
}

hth_code hth_chat_output_new(const hth_chat_output_params *p, hth_chat_output **out, hth_err *err) {
    hth_chat_output *o = hth_calloc(HTH_MEM_TEXT, 1, sizeof *o);
    if (!o) return hth_fail_nomem(err, sizeof *o);
    o->p = *p;
    o->f = p->format;
    const size_t max = (size_t)(p->max_bytes ? p->max_bytes : MAX_HELD);
    hth_str *const texts[] = {&o->in, &o->held, &o->run, &o->value, &o->name, &o->id};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) hth_str_init(texts[i], HTH_MEM_TEXT, max);
    collect_marks(o);
    const hth_code code = collect_controls(o, err);
    if (code != HTH_OK) {
        hth_chat_output_free(o);
        return code;
    }
    open_state(o);
    *out = o;
    return HTH_OK;
}

void hth_chat_output_free(hth_chat_output *o) {
    if (!o) return;
    hth_str *const texts[] = {&o->in, &o->held, &o->run, &o->value, &o->name, &o->id};
    for (size_t i = 0; i < HTH_COUNT(texts); i++) hth_str_free(texts[i]);
    hth_free(o->controls);
    hth_free(o->control_len);
    hth_free(o);
}
