// Recognizes calls: from the mark that opens them to where the arguments begin. Each look starts at the mark and says
// yes, no, or that the text so far decides nothing.
#include "chat/output_impl.h"

typedef struct cursor {
    const char *p;
    size_t n, i;
    bool at_end;
} cursor;

static void skip_space(cursor *c) {
    while (c->i < c->n && out_is_space(c->p[c->i])) c->i++;
}

// Past one of the texts.
static out_found eat(cursor *c, const char *const *list, size_t n_list) {
    size_t len;
    const out_found found = out_match(list, n_list, c->p + c->i, c->n - c->i, c->at_end, &len);
    if (found == OUT_YES) c->i += len;
    return found;
}

static out_found at_end_of_text(const cursor *c) {
    return c->at_end ? OUT_NO : OUT_MORE;
}

static out_found eat_char(cursor *c, char want) {
    skip_space(c);
    if (c->i == c->n) return at_end_of_text(c);
    if (c->p[c->i] != want) return OUT_NO;
    c->i++;
    return OUT_YES;
}

// ---- tools ----

static const char call_suffix[] = ".call"; // Llama's built-in tools: brave_search.call(query=...)

static const hth_chat_tool *tool_named(const hth_chat_output *o, const char *name, size_t n) {
    return o->p.tools ? hth_chat_tools_find(o->p.tools, name, n) : NULL;
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' ||
           (unsigned char)c >= 0x80;
}

bool out_find_tool(const hth_chat_output *o, const char *name, size_t n, const hth_chat_tool **tool) {
    *tool = NULL;
    if (n == 0 || n > OUT_MAX_NAME) return false;
    *tool = tool_named(o, name, n);
    if (*tool || !o->p.any_tool) return *tool != NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is_name_char(name[i]) && name[i] != '/' && name[i] != ':') return false;
    }
    return true;
}

// Whether a tool's name begins like this.
static bool may_be_tool(const hth_chat_output *o, const char *name, size_t n) {
    if (o->p.any_tool) return n <= OUT_MAX_NAME;
    for (size_t i = 0; o->p.tools && i < o->p.tools->n; i++) {
        const hth_chat_text *t = &o->p.tools->items[i].name;
        if (memcmp(t->p, name, t->n < n ? t->n : n) != 0) continue;
        if (n <= t->n || (n - t->n < sizeof call_suffix && memcmp(name + t->n, call_suffix, n - t->n) == 0)) return true;
    }
    return false;
}

static bool set_name(hth_chat_output *o, const char *name, size_t n, const hth_chat_tool **tool) {
    while (n > 0 && out_is_space(name[n - 1])) n--;
    while (n > 0 && out_is_space(*name)) name++, n--;
    const size_t k = sizeof call_suffix - 1;
    if (!out_find_tool(o, name, n, tool)) {
        if (n <= k || memcmp(name + n - k, call_suffix, k) != 0) return false;
        n -= k;
        if (!out_find_tool(o, name, n, tool)) return false;
    }
    hth_str_clear(&o->name);
    out_hold(o, &o->name, name, n);
    return true;
}

// "functions.NAME:0"
static bool set_name_from_id(hth_chat_output *o, const char *id, size_t n, const hth_chat_tool **tool) {
    while (n > 0 && out_is_space(id[n - 1])) n--;
    while (n > 0 && out_is_space(*id)) id++, n--;
    size_t begin = n > 10 && memcmp(id, "functions.", 10) == 0 ? 10 : 0, end = n;
    while (end > begin && id[end - 1] >= '0' && id[end - 1] <= '9') end--;
    if (end == begin || id[end - 1] != ':' || end == n) {
        end = n; // no number
    } else {
        end--;
        hth_str_clear(&o->id);
        if (begin > 0) out_hold(o, &o->id, id, n);
    }
    return set_name(o, id + begin, end - begin, tool);
}

// ---- objects ----

// Past a JSON string; *begin, *end: its inside.
static out_found eat_string(cursor *c, size_t *begin, size_t *end) {
    const out_found found = eat_char(c, '"');
    if (found != OUT_YES) return found;
    for (*begin = c->i; c->i < c->n; c->i++) {
        if (c->p[c->i] == '\\') {
            c->i++;
        } else if (c->p[c->i] == '"') {
            *end = c->i++;
            return OUT_YES;
        }
    }
    c->i = c->n;
    return at_end_of_text(c);
}

// Past a JSON value, which is not checked.
static out_found eat_value(cursor *c) {
    size_t begin, end, depth = 0;
    skip_space(c);
    const size_t from = c->i;
    for (; c->i < c->n; c->i++) {
        const char ch = c->p[c->i];
        if (ch == '"') {
            const out_found found = eat_string(c, &begin, &end);
            if (found != OUT_YES) return found;
            if (depth == 0) return OUT_YES;
            c->i--;
        } else if (ch == '{' || ch == '[') {
            depth++;
        } else if (ch == '}' || ch == ']') {
            if (depth == 0) return c->i > from ? OUT_YES : OUT_NO;
            if (--depth > 0) continue;
            c->i++;
            return OUT_YES;
        } else if (depth == 0 && (ch == ',' || out_is_space(ch))) {
            return c->i > from ? OUT_YES : OUT_NO;
        }
    }
    return at_end_of_text(c);
}

static bool is_one_of(const char *p, size_t n, const char *const *words) {
    for (; *words; words++) {
        if (strlen(*words) == n && memcmp(*words, p, n) == 0) return true;
    }
    return false;
}

static const char *const name_keys[] = {"name", "tool_name", "function", NULL};
static const char *const id_keys[] = {"id", "tool_call_id", "call_id", NULL};
static const char *const args_keys[] = {"arguments", "parameters", "args", "tool_parameters", NULL};
static const char *const other_keys[] = {"type", "index", NULL};

// What is known of an object so far.
typedef struct object {
    size_t name, n_name, args, n_args;
    bool has_name, has_args;
    int depth;
} object;

static bool take_name(hth_chat_output *o, const cursor *c, object *x, out_head *h) {
    x->has_name = set_name(o, c->p + x->name, x->n_name, &h->tool);
    return x->has_name;
}

static out_found eat_id(hth_chat_output *o, cursor *c) {
    size_t begin, end;
    skip_space(c);
    const bool is_string = c->i < c->n && c->p[c->i] == '"';
    if (!is_string) begin = c->i;
    const out_found found = is_string ? eat_string(c, &begin, &end) : eat_value(c);
    if (found != OUT_YES) return found;
    if (!is_string) end = c->i;
    hth_str_clear(&o->id);
    if (end - begin <= OUT_MAX_NAME) out_hold(o, &o->id, c->p + begin, end - begin);
    return OUT_YES;
}

// One member. *begins: the arguments follow, and all that has to be known before them is.
static out_found eat_member(hth_chat_output *o, const fmt_calls *way, cursor *c, object *x, out_head *h, bool *begins) {
    size_t key, end;
    out_found found = eat_string(c, &key, &end);
    if (found != OUT_YES) return found;
    const char *k = c->p + key;
    const size_t n = end - key;
    if ((found = eat_char(c, ':')) != OUT_YES) return found;
    skip_space(c);
    if (c->i == c->n) return at_end_of_text(c);
    if (is_one_of(k, n, name_keys)) {
        if (c->p[c->i] == '{' && x->depth == 1 && !x->has_name) { // {"type": "function", "function": {...}}
            c->i++;
            x->depth++;
            return OUT_YES;
        }
        if ((found = eat_string(c, &x->name, &end)) != OUT_YES) return found;
        x->n_name = end - x->name;
        return take_name(o, c, x, h) ? OUT_YES : OUT_NO;
    }
    if (is_one_of(k, n, id_keys)) return eat_id(o, c);
    if (is_one_of(k, n, args_keys)) {
        *begins = x->has_name && !way->id_last;
        if (*begins) return OUT_YES;
        x->args = c->i;
        x->has_args = true;
        found = eat_value(c);
        x->n_args = c->i - x->args;
        return found;
    }
    if (!x->has_name && !is_one_of(k, n, other_keys)) return OUT_NO;
    return eat_value(c);
}

static out_found end_object(const cursor *c, const object *x, out_head *h, bool is_whole) {
    h->n_used = c->i;
    h->args = x->args;
    h->n_args = x->has_args ? x->n_args : 0;
    h->is_whole = is_whole;
    h->n_open = is_whole ? 0 : x->depth;
    return OUT_YES;
}

// The answer ends within the object: a call where the name is known.
static out_found end_cut(const cursor *c, const object *x, out_head *h) {
    if (!c->at_end || !x->has_name || c->i != c->n) return OUT_NO;
    return end_object(c, x, h, false);
}

// {"name": "f", "arguments": ... with the members in any order.
static out_found find_object(hth_chat_output *o, const fmt_calls *way, cursor *c, out_head *h) {
    object x = {.depth = 1};
    out_found found = eat_char(c, '{');
    while (found == OUT_YES) {
        bool begins = false;
        found = eat_member(o, way, c, &x, h, &begins);
        if (begins) return end_object(c, &x, h, false);
        if (found != OUT_YES) return found == OUT_NO ? end_cut(c, &x, h) : found;
        if (c->i > 0 && c->p[c->i - 1] == '{' && x.depth == 2 && !x.has_name) continue; // the inner object's first
        for (;;) {
            found = eat_char(c, ',');
            if (found != OUT_NO || c->i == c->n || c->p[c->i] != '}') break;
            c->i++;
            if (--x.depth == 0) return x.has_name ? end_object(c, &x, h, true) : OUT_NO;
        }
        if (found == OUT_NO) return end_cut(c, &x, h);
    }
    return found;
}

// {"f": {...}}
static out_found find_keyed(hth_chat_output *o, cursor *c, out_head *h) {
    size_t begin, end;
    out_found found = eat_char(c, '{');
    if (found == OUT_YES) found = eat_string(c, &begin, &end);
    if (found != OUT_YES) return found;
    if (!set_name(o, c->p + begin, end - begin, &h->tool)) return OUT_NO;
    if ((found = eat_char(c, ':')) != OUT_YES) return found;
    h->n_used = c->i;
    h->n_open = 1;
    return OUT_YES;
}

// ---- names ----

// Up to the first of the texts that end a name.
static out_found find_name_end(const fmt_calls *way, cursor *c, size_t *end) {
    const size_t from = c->i;
    for (; c->i - from <= 2 * OUT_MAX_NAME; c->i++) {
        size_t len;
        if (c->i == c->n) break;
        *end = c->i;
        const char *p = c->p + c->i;
        const out_found stops = out_match(way->name_stop, HTH_COUNT(way->name_stop), p, c->n - c->i, c->at_end, &len);
        if (stops != OUT_NO) return stops;
        const out_found ends = out_match(way->name_end, HTH_COUNT(way->name_end), p, c->n - c->i, c->at_end, &len);
        if (ends != OUT_NO) {
            c->i += len;
            return ends;
        }
    }
    return c->i == c->n ? at_end_of_text(c) : OUT_NO;
}

static out_found find_named(hth_chat_output *o, const fmt_calls *way, out_place place, cursor *c, out_head *h) {
    skip_space(c);
    const size_t begin = c->i;
    size_t end = begin;
    const out_found found = find_name_end(way, c, &end);
    if (found == OUT_MORE && place == OUT_BARE) {
        return may_be_tool(o, c->p + begin, c->n - begin) ? OUT_MORE : OUT_NO;
    }
    if (found != OUT_YES) return found;
    const char *p = c->p + begin;
    size_t n = end - begin;
    if (way->id_open) { // name, id
        const size_t k = strlen(way->id_open);
        for (size_t i = 0; i + k <= n; i++) {
            if (memcmp(p + i, way->id_open, k) != 0) continue;
            hth_str_clear(&o->id);
            if (way->id_first) {
                out_hold(o, &o->id, p, i);
                p += i + k;
                n -= i + k;
            } else {
                if (!way->id_is_index) out_hold(o, &o->id, p + i + k, n - i - k);
                n = i;
            }
            break;
        }
    }
    h->n_used = c->i;
    h->n_open = 0;
    return (way->name_is_id ? set_name_from_id : set_name)(o, p, n, &h->tool) ? OUT_YES : OUT_NO;
}

// f(
static out_found find_python(hth_chat_output *o, cursor *c, out_head *h) {
    skip_space(c);
    const size_t begin = c->i;
    while (c->i < c->n && is_name_char(c->p[c->i])) c->i++;
    const size_t end = c->i;
    if (end - begin > OUT_MAX_NAME) return OUT_NO;
    if (end == c->n) return may_be_tool(o, c->p + begin, end - begin) ? at_end_of_text(c) : OUT_NO;
    const out_found found = eat_char(c, '(');
    if (found != OUT_YES) return found;
    h->n_used = c->i;
    h->n_open = 0;
    return set_name(o, c->p + begin, end - begin, &h->tool) ? OUT_YES : OUT_NO;
}

// ---- ways to call ----

static out_found find_body(hth_chat_output *o, const fmt_calls *way, out_place place, cursor *c, out_head *h) {
    switch (way->body) {
    case FMT_OBJECT: return find_object(o, way, c, h);
    case FMT_KEYED: return find_keyed(o, c, h);
    case FMT_PYTHON: return find_python(o, c, h);
    case FMT_NONE: return OUT_NO;
    default: return find_named(o, way, place, c, h);
    }
}

// What stands before a call where a run of calls may begin.
static out_found eat_opening(const fmt_calls *way, out_place place, cursor *c, out_head *h) {
    out_found found = OUT_NO;
    bool marked = place != OUT_AT_MARK;
    if (place == OUT_AT_MARK) {
        found = eat(c, way->section, HTH_COUNT(way->section));
        if (found == OUT_MORE) return found;
        marked = h->in_section = found == OUT_YES;
    }
    if (way->list && place != OUT_IN_RUN) {
        found = eat_char(c, '[');
        if (found == OUT_MORE) return found;
        h->in_list = found == OUT_YES;
    }
    skip_space(c);
    if (way->open[0]) {
        found = eat(c, way->open, HTH_COUNT(way->open));
        if (found == OUT_MORE) return found;
        if (found == OUT_YES) return OUT_YES;
        if (place != OUT_BARE) return OUT_NO;
    }
    return marked ? OUT_YES : OUT_NO;
}

static out_found find_way(hth_chat_output *o, const fmt_calls *way, out_place place, const char *p, size_t n, bool at_end,
                          out_head *h) {
    cursor c = {.p = p, .n = n, .at_end = at_end};
    *h = (out_head){.calls = way};
    hth_str_clear(&o->id);
    if (way->body == FMT_NONE || (place == OUT_BARE && !way->bare)) return OUT_NO;
    const out_found found = eat_opening(way, place, &c, h);
    return found == OUT_YES ? find_body(o, way, place, &c, h) : found;
}

out_found out_find_head(hth_chat_output *o, const fmt_calls *only, out_place place, const char *p, size_t n, bool at_end,
                        out_head *h) {
    for (size_t i = 0; i < FMT_MAX_CALLS; i++) {
        const fmt_calls *way = &o->f->calls[i];
        if (only && only != way) continue;
        const out_found found = find_way(o, way, place, p, n, at_end, h);
        if (found != OUT_NO) return found; // one that may still be is waited for: the order of the rows decides
    }
    return OUT_NO;
}
