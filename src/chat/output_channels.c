// Messages in channels (gpt-oss): ... to=functions.f<|channel|>commentary <|constrain|>json<|message|>{...}<|call|>
// The header says what the body is: a recipient makes it a call, the channel "analysis" a thought.
#include "chat/output_impl.h"

typedef struct span {
    const char *p;
    size_t n;
} span;

static const char *find(const char *p, size_t n, const char *word) {
    const size_t k = strlen(word);
    for (size_t i = 0; i + k <= n; i++) {
        if (memcmp(p + i, word, k) == 0) return p + i;
    }
    return NULL;
}

// The word behind the last `mark`, up to a space or '<'.
static span word_after(const char *p, size_t n, const char *mark) {
    span word = {NULL, 0};
    const size_t k = strlen(mark);
    for (const char *at = p; (at = find(at, (size_t)(p + n - at), mark)) != NULL;) {
        at += k;
        word = (span){at, 0};
        while (at + word.n < p + n && !out_is_space(at[word.n]) && at[word.n] != '<') word.n++;
    }
    return word;
}

static bool is_word(span s, const char *word) {
    return s.n == strlen(word) && memcmp(s.p, word, s.n) == 0;
}

static bool open_call(hth_chat_output *o, span to) {
    static const char prefix[] = "functions.";
    const hth_chat_tool *tool;
    if (to.n > sizeof prefix - 1 && memcmp(to.p, prefix, sizeof prefix - 1) == 0) {
        to.p += sizeof prefix - 1;
        to.n -= sizeof prefix - 1;
    }
    if (to.n == 0 || is_word(to, "assistant") || is_word(to, "user")) return false;
    if (!out_find_tool(o, to.p, to.n, &tool)) return false;
    hth_str_clear(&o->name);
    hth_str_clear(&o->id);
    out_hold(o, &o->name, to.p, to.n);
    o->n_open = 0;
    out_begin_call(o, NULL, tool);
    return true;
}

static void open_body(hth_chat_output *o, const char *header, size_t n) {
    const span to = word_after(header, n, "to="), channel = word_after(header, n, "<|channel|>");
    o->said = false;
    o->skip_space = false;
    if (to.n > 0 && open_call(o, to)) return;
    const bool is_thought = is_word(channel, "analysis");
    o->state = is_thought ? OUT_THOUGHT : OUT_TEXT;
    if (is_thought && o->p.raw_reasoning) {
        static const char opening[] = "<|channel|>analysis<|message|>";
        out_emit(o, HTH_CHAT_DELTA_CONTENT, opening, sizeof opening - 1);
    }
}

// What a header may begin with; anything else is content without one.
static const char *const beginnings[] = {"<|channel|>", "<|start|>", "<|message|>", "<|constrain|>", "to="};
static const char *const endings[] = {"<|end|>", "<|return|>", "<|call|>"};

size_t out_step_header(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    size_t len;
    if (out_is_space(p[0])) return 1;
    const out_found ends = out_match(endings, HTH_COUNT(endings), p, n, at_end, &len);
    if (ends == OUT_YES) return len;
    const out_found found = out_match(beginnings, HTH_COUNT(beginnings), p, n, at_end, &len);
    *more = found == OUT_MORE || (ends == OUT_MORE && found == OUT_NO);
    if (*more) return 0;
    const char *message = found == OUT_YES ? find(p, n < OUT_MAX_HEADER ? n : OUT_MAX_HEADER, "<|message|>") : NULL;
    if (message) {
        open_body(o, p, (size_t)(message - p));
        return (size_t)(message - p) + strlen("<|message|>");
    }
    if (found == OUT_YES && n < OUT_MAX_HEADER) { // the answer's end drops a header that has no message
        *more = !at_end;
        return at_end ? n : 0;
    }
    o->state = OUT_TEXT;
    o->said = true;
    return found == OUT_YES ? len : 0;
}
