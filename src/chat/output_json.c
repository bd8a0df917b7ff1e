// Arguments that are JSON: passed on as they come, with raw control characters in strings escaped. A string that holds
// JSON is unpacked. What is not JSON is passed on too; it ends where the call's closing mark stands outside a string.
#include "chat/output_impl.h"

static const char *const channel_ends[] = {"<|call|>", "<|end|>", "<|return|>", "<|start|>", "<|channel|>"};

out_found out_match_close(const hth_chat_output *o, const char *p, size_t n, bool at_end) {
    size_t len;
    const fmt_calls *c = o->calls;
    if (!c) return out_match(channel_ends, HTH_COUNT(channel_ends), p, n, at_end, &len);
    const char *const list[] = {c->close[0] ? c->close[0] : "", c->close[1] ? c->close[1] : "", c->section_end ? c->section_end : ""};
    return out_match(list, HTH_COUNT(list), p, n, at_end, &len);
}

// Bytes that stand in no JSON outside of strings.
static bool is_strange(char c) {
    return c == '<' || c == '`';
}

static void start(hth_chat_output *o, char c) {
    out_json *j = &o->json;
    hth_str_clear(&o->value);
    j->mode = c == '{' || c == '[' ? OUT_JSON_RAW : c == '"' ? OUT_JSON_QUOTED : OUT_JSON_SCALAR;
}

// Follows brackets and strings; true: the byte closes the outermost bracket.
static bool follow(out_json *j, char c) {
    if (j->in_string) {
        if (j->is_escaped) {
            j->is_escaped = false;
        } else if (c == '\\') {
            j->is_escaped = true;
        } else if (c == '"') {
            j->in_string = false;
        }
    } else if (c == '"') {
        j->in_string = true;
    } else if (c == '{' || c == '[') {
        j->depth++;
    } else if (c == '}' || c == ']') {
        return --j->depth <= 0;
    }
    return false;
}

static size_t step_raw(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    out_json *j = &o->json;
    size_t from = 0, i = 0;
    for (; i < n && !*done; i++) {
        if (!j->in_string && is_strange(p[i])) {
            const out_found found = out_match_close(o, p + i, n - i, at_end);
            *more = found == OUT_MORE;
            *done = found == OUT_YES;
            if (found != OUT_NO) break;
        }
        if (j->in_string && (unsigned char)p[i] < 0x20) {
            out_args(o, p + from, i - from);
            out_args_escaped(o, p + i, 1);
            from = i + 1;
        }
        *done = follow(j, p[i]);
    }
    out_args(o, p + from, i - from);
    return i;
}

static int hex(const char *p) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

// An escape of a JSON string, unpacked. Returns its bytes, 0: more are needed.
static size_t unpack_escape(hth_chat_output *o, const char *p, size_t n, bool at_end) {
    static const char letter[] = "bfnrt", plain[] = "\b\f\n\r\t";
    if (n < 2) return at_end ? n : 0;
    const char *at = p[1] ? strchr(letter, p[1]) : NULL;
    if (p[1] != 'u') {
        out_args(o, at ? &plain[at - letter] : &p[1], 1);
        return 2;
    }
    if (n < 6) return at_end ? n : 0;
    const int high = hex(p + 2);
    uint32_t c = high < 0 ? 0xfffd : (uint32_t)high;
    size_t used = 6;
    if (high >= 0xd800 && high < 0xdc00) {
        if (n < 12 && !at_end) return 0;
        const int low = n >= 12 && p[6] == '\\' && p[7] == 'u' ? hex(p + 8) : -1;
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
            used = 12;
        }
    }
    out_args_char(o, c);
    return used;
}

static size_t step_quoted(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    out_json *j = &o->json;
    size_t i = 0;
    if (!j->in_string) {
        j->in_string = true;
        return 1;
    }
    while (i < n && !*more) {
        if (p[i] == '"') {
            *done = true;
            return i + 1;
        }
        if (p[i] == '\\') {
            const size_t used = unpack_escape(o, p + i, n - i, at_end);
            *more = used == 0;
            i += used;
        } else {
            size_t k = i;
            while (k < n && p[k] != '"' && p[k] != '\\') k++;
            out_args(o, p + i, k - i);
            i = k;
        }
    }
    return i;
}

// A word where the object should be. null means no arguments.
static size_t step_scalar(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    size_t i = 0;
    for (; i < n && !*done && !*more; i++) {
        const bool ends_value = o->n_open > 0 && (p[i] == ',' || p[i] == '}' || p[i] == ']');
        const out_found found = ends_value ? OUT_YES : is_strange(p[i]) ? out_match_close(o, p + i, n - i, at_end) : OUT_NO;
        *more = found == OUT_MORE;
        *done = found == OUT_YES;
        if (found != OUT_NO) break;
    }
    out_hold(o, &o->value, p, i);
    if (!*done && !(at_end && i == n)) return i;
    size_t len = o->value.len;
    while (len > 0 && out_is_space(o->value.p[len - 1])) len--;
    const bool is_none = (len == 4 && (memcmp(o->value.p, "null", 4) == 0 || memcmp(o->value.p, "None", 4) == 0));
    if (!is_none) out_args(o, hth_str_text(&o->value), len);
    hth_str_clear(&o->value);
    return i;
}

size_t out_step_json(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more, bool *done) {
    if (o->json.mode == OUT_JSON_START) {
        if (out_is_space(p[0])) return 1;
        const out_found found = is_strange(p[0]) ? out_match_close(o, p, n, at_end) : OUT_NO;
        *more = found == OUT_MORE;
        *done = found == OUT_YES || (o->n_open > 0 && (p[0] == '}' || p[0] == ','));
        if (*more || *done) return 0;
        start(o, p[0]);
    }
    switch (o->json.mode) {
    case OUT_JSON_RAW: return step_raw(o, p, n, at_end, more, done);
    case OUT_JSON_QUOTED: return step_quoted(o, p, n, at_end, more, done);
    default: return step_scalar(o, p, n, at_end, more, done);
    }
}

size_t out_step_rest(hth_chat_output *o, const char *p, size_t n, bool at_end, bool *more) {
    out_json *j = &o->json;
    size_t i = 0;
    for (; i < n; i++) {
        if (!j->in_string && is_strange(p[i])) {
            const out_found found = out_match_close(o, p + i, n - i, at_end);
            *more = found == OUT_MORE;
            if (*more) return i;
            if (found == OUT_YES) break;
        }
        if (follow(j, p[i])) {
            i++;
            break;
        }
        if (i + 1 == n) return n;
    }
    o->state = OUT_CLOSE;
    return i;
}
