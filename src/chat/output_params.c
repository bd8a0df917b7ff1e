// Arguments between marks, one by one: <parameter=key>value</parameter>. A value that the tool's schema, or an
// attribute, calls a string is told as it comes; others are kept until their end shows what they are.
#include "chat/output_impl.h"

#define CDATA_END "]]>"

static size_t marks_of(const fmt_calls *c, const char *list[8]) {
    size_t n = 0;
    const char *const all[] = {c->key_open,  c->close[0],   c->close[1],   c->open[0],
                               c->open[1],   c->section_end, c->section[0], c->section[1]};
    for (size_t i = 0; i < HTH_COUNT(all); i++) {
        if (all[i] && *all[i]) list[n++] = all[i];
    }
    return n;
}

static size_t find(const char *p, size_t n, const char *word) {
    const size_t k = strlen(word);
    for (size_t i = 0; i + k <= n; i++) {
        if (memcmp(p + i, word, k) == 0) return i;
    }
    return n;
}

static void begin_member(hth_chat_output *o, const char *key, size_t n) {
    out_args_text(o, o->params.has_any ? ", \"" : "{\"");
    out_args_escaped(o, key, n);
    out_args_text(o, "\": ");
    o->params.has_any = true;
}

// What the attributes between a key and its value say: string="true", type="number".
static unsigned kinds_of(const hth_chat_output *o, const char *key, size_t n_key, const char *attributes, size_t n) {
    const char *mark = o->calls->string_mark;
    if (mark && find(attributes, n, mark) < n) return HTH_CHAT_KIND_STRING;
    if (mark && memchr(attributes, '=', n)) return HTH_CHAT_KIND_ALL;
    return o->tool ? hth_chat_tool_kinds(o->tool, key, n_key) : HTH_CHAT_KIND_ALL;
}

static bool begins_with(const char *p, size_t n, const char *word) {
    return n >= strlen(word) && memcmp(p, word, strlen(word)) == 0;
}

// A key with all that stands before its value. 0: more is needed.
static size_t use_key(hth_chat_output *o, const char *p, size_t n) {
    const fmt_calls *c = o->calls;
    const size_t begin = strlen(c->key_open), k = find(p + begin, n - begin, c->key_end);
    if (k == n - begin) return n > 4 * OUT_MAX_NAME ? n : 0;
    size_t i = begin + k + strlen(c->key_end), from = i;
    if (c->value_open) {
        i += find(p + i, n - i, c->value_open);
        if (i == n) return n > 8 * OUT_MAX_NAME ? n : 0;
    }
    const unsigned kinds = kinds_of(o, p + begin, k, p + from, i - from);
    if (c->value_open) i += strlen(c->value_open);
    begin_member(o, p + begin, k);
    o->params.kinds = kinds;
    o->params.at_start = true;
    o->params.in_cdata = false;
    o->params.mode = kinds == HTH_CHAT_KIND_STRING ? OUT_PARAM_STRING : OUT_PARAM_VALUE;
    if (kinds == HTH_CHAT_KIND_STRING) out_args_text(o, "\"");
    hth_str_clear(&o->value);
    return i;
}

static size_t step_key(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    const char *list[8];
    size_t len;
    if (out_is_space(p[0])) return 1;
    const out_found found = out_match(list, marks_of(o->calls, list), p, n, at_end, &len);
    *more = found == OUT_MORE;
    if (*more) return 0;
    if (found == OUT_NO) return 1; // nothing that belongs here
    if (begins_with(p, len, o->calls->key_open)) {
        const size_t used = use_key(o, p, n);
        *more = used == 0;
        return used == 0 && at_end ? n : used;
    }
    if (o->params.has_any) out_args_text(o, "}");
    *done = true;
    return 0;
}

// ---- values ----

static unsigned kind_of_json(const hth_json *v) {
    static const unsigned kinds[] = {HTH_CHAT_KIND_NULL,   HTH_CHAT_KIND_BOOL,  HTH_CHAT_KIND_NUMBER,
                                     HTH_CHAT_KIND_STRING, HTH_CHAT_KIND_ARRAY, HTH_CHAT_KIND_OBJECT};
    return kinds[v->kind];
}

static bool is_json_of(hth_chat_output *o, const char *p, size_t n, unsigned kinds) {
    hth_json_doc *doc = NULL;
    if (n == 0 || *p == 'N' || *p == 'I' || (n > 1 && p[0] == '-' && p[1] == 'I')) return false; // NaN is none
    const hth_code code = hth_json_parse(p, n, 64 * (uint64_t)n + 4096, &doc, NULL);
    if (code == HTH_ERR_NOMEM && o->code == HTH_OK) out_fail(o, hth_fail_nomem(&o->err, n));
    if (code != HTH_OK) return false;
    const bool fits = (kind_of_json(hth_json_root(doc)) & kinds) != 0;
    hth_json_free(doc);
    return fits;
}

// A list or dict in Python's spelling, which some templates write: ['a', None].
static bool tell_python(hth_chat_output *o, const char *p, size_t n) {
    const unsigned brackets = HTH_CHAT_KIND_ARRAY | HTH_CHAT_KIND_OBJECT;
    if (n < 2 || (*p != '[' && *p != '{') || (o->params.kinds & brackets) == 0) return false;
    const out_params params = o->params; // shares its place with what reads the literal
    const fmt_calls *calls = o->calls, python = {.body = FMT_DICT};
    hth_str text;
    bool more = false, done = false;
    size_t i = 0;
    hth_str_init(&text, HTH_MEM_TEXT, o->value.max);
    o->instead = &text;
    o->calls = &python;
    o->literal = (out_literal){.depth = 0};
    while (i < n && !done && !more) i += out_step_literal(o, p + i, n - i, true, &more, &done);
    o->instead = NULL;
    o->calls = calls;
    o->params = params;
    const bool fits = done && i == n && is_json_of(o, hth_str_text(&text), text.len, params.kinds);
    if (fits) out_args(o, hth_str_text(&text), text.len);
    hth_str_free(&text);
    return fits;
}

// The value is known whole: JSON of a kind that the schema has, else a string.
static void tell_value(hth_chat_output *o) {
    static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const char *p = hth_str_text(&o->value);
    size_t n = o->value.len, end = n, begin = 0;
    while (end > 0 && out_is_space(p[end - 1])) end--;
    while (begin < end && out_is_space(p[begin])) begin++;
    const char *text = p + begin;
    size_t len = end - begin;
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        if (strlen(words[i][0]) != len || memcmp(words[i][0], text, len) != 0) continue;
        if (!is_json_of(o, words[i][1], strlen(words[i][1]), o->params.kinds)) continue;
        text = words[i][1];
        len = strlen(text);
        break;
    }
    if (is_json_of(o, text, len, o->params.kinds)) {
        out_args(o, text, len);
    } else if (!tell_python(o, text, len)) {
        out_args_text(o, "\"");
        out_args_escaped(o, p, n);
        out_args_text(o, "\"");
    }
    hth_str_clear(&o->value);
}

static void use_value(hth_chat_output *o, const char *p, size_t n) {
    if (o->params.mode == OUT_PARAM_STRING) {
        out_args_escaped(o, p, n);
    } else {
        out_hold(o, &o->value, p, n);
    }
}

static void end_value(hth_chat_output *o) {
    if (o->params.mode == OUT_PARAM_STRING) {
        out_args_text(o, "\"");
    } else {
        tell_value(o);
    }
    o->params.mode = OUT_PARAM_KEY;
}

// Where a value's closing mark stands: with the newline before it, where that is not part of the value.
static out_found match_end(const hth_chat_output *o, const char *p, size_t n, bool at_end, size_t *len) {
    const char *mark = o->params.in_cdata ? CDATA_END : o->calls->value_close;
    const size_t skip = o->calls->newlines && p[0] == '\n';
    const out_found found = n == skip && !at_end ? OUT_MORE : out_match(&mark, 1, p + skip, n - skip, at_end, len);
    if (found == OUT_YES) *len += skip;
    return found;
}

static size_t step_value(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    size_t i = 0, from = 0, len;
    if (o->params.at_start && o->calls->cdata) {
        static const char *const opening = "<![CDATA[";
        const out_found found = out_match(&opening, 1, p, n, at_end, &len);
        *more = found == OUT_MORE;
        if (*more) return 0;
        o->params.in_cdata = found == OUT_YES;
        o->params.at_start = false;
        if (found == OUT_YES) return len;
    }
    const char first = o->params.in_cdata ? CDATA_END[0] : o->calls->value_close[0];
    if (o->params.at_start && o->calls->newlines && p[0] == '\n') {
        const out_found found = match_end(o, p, n, at_end, &len); // an empty value has one newline alone
        *more = found == OUT_MORE;
        if (*more) return 0;
        if (found == OUT_NO) i = from = 1;
    }
    o->params.at_start = false;
    for (; i < n; i++) {
        if (p[i] != first && !(o->calls->newlines && p[i] == '\n')) continue;
        const out_found found = match_end(o, p + i, n - i, at_end, &len);
        if (found == OUT_NO) continue;
        use_value(o, p + from, i - from);
        *more = found == OUT_MORE;
        if (*more) return i;
        if (o->params.in_cdata) { // its own end, which the value's follows
            o->params.in_cdata = false;
        } else {
            end_value(o);
        }
        return i + len;
    }
    use_value(o, p + from, n - from);
    return n;
}

size_t out_step_params(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    if (o->params.mode == OUT_PARAM_KEY) return step_key(o, p, n, at_end, more, done);
    return step_value(o, p, n, at_end, more);
}

void out_finish_params(hth_chat_output *o) {
    if (o->params.mode == OUT_PARAM_VALUE && o->value.len > 0) tell_value(o);
}
