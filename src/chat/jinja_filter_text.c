// Filters that make texts.
#include "chat/jinja_impl.h"

#include <math.h>
#include <stdio.h>

#include "text/unicode.h"

#define ARGS jj_vm *vm, jj_value v, const jj_args *args, jj_value *out

static bool is_given(jj_value v) {
    return v.kind != HTH_JINJA_MISSING && v.kind != HTH_JINJA_NONE;
}

static hth_code no_arguments(jj_vm *vm, const char *what, const jj_args *args) {
    if (args->n_pos + args->n_kw == 0) return HTH_OK;
    return jj_fail(vm, JJ_TYPE_ERROR, "%s() takes no arguments (%u given)", what, args->n_pos + args->n_kw);
}

static hth_code whole(jj_vm *vm, jj_value v, int64_t dflt, int64_t *out) {
    *out = dflt;
    if (!is_given(v)) return HTH_OK;
    if (!jj_is_int(v)) return jj_fail(vm, JJ_TYPE_ERROR, "an integer is required, not '%s'", jj_type_name(v));
    *out = jj_int_of(v);
    return HTH_OK;
}

// A method of the value's text.
static hth_code by_method(jj_vm *vm, const char *name, jj_value v, const jj_args *args, jj_value *out) {
    jj_str s = {.p = name, .n = (uint32_t)strlen(name)};
    jj_value text;
    HTH_TRY(jj_soft_str(vm, v, &text));
    return jj_find_method(text, &s)->call(vm, text, args, out);
}

static hth_code do_upper(ARGS) {
    HTH_TRY(no_arguments(vm, "upper", args));
    return by_method(vm, "upper", v, args, out);
}

static hth_code do_lower(ARGS) {
    HTH_TRY(no_arguments(vm, "lower", args));
    return by_method(vm, "lower", v, args, out);
}

static hth_code do_capitalize(ARGS) {
    HTH_TRY(no_arguments(vm, "capitalize", args));
    return by_method(vm, "capitalize", v, args, out);
}

static hth_code do_trim(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "trim", args, "chars", 0, a));
    jj_args one = {.pos = a, .n_pos = is_given(a[0])};
    return by_method(vm, "strip", v, &one, out);
}

static hth_code do_center(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "center", args, "width", 0, a));
    if (!is_given(a[0])) a[0] = jj_int(80);
    jj_args one = {.pos = a, .n_pos = 1};
    return by_method(vm, "center", v, &one, out);
}

static hth_code do_string(ARGS) {
    HTH_TRY(no_arguments(vm, "string", args));
    return jj_soft_str(vm, v, out);
}

static bool begins_word(uint32_t cp) {
    return jj_is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
}

static hth_code do_title(ARGS) {
    jj_value text, part;
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(no_arguments(vm, "title", args));
    HTH_TRY(jj_soft_str(vm, v, &text));
    const jj_str *s = text.u.s;
    for (uint32_t at = 0; at < s->n;) { // a run of separators or of other characters
        unsigned len;
        uint32_t end = at, head;
        bool is_sep = begins_word(jj_cp(s->p + at, s->n - at, &len));
        head = at + len;
        while (end < s->n && begins_word(jj_cp(s->p + end, s->n - end, &len)) == is_sep) end += len;
        HTH_TRY(jj_part(vm, s, at, head, &part));
        HTH_TRY(jj_case(vm, part.u.s, 'u', &part));
        HTH_TRY(jj_put_str(&b, part.u.s));
        HTH_TRY(jj_part(vm, s, head, end, &part));
        HTH_TRY(jj_case(vm, part.u.s, 'l', &part));
        HTH_TRY(jj_put_str(&b, part.u.s));
        at = end;
    }
    return jj_take(&b, out);
}

static hth_code do_replace(ARGS) {
    jj_value a[3], s;
    int64_t count;
    HTH_TRY(jj_bind(vm, "replace", args, "old new count", 2, a));
    HTH_TRY(whole(vm, a[2], -1, &count));
    HTH_TRY(jj_to_str(vm, v, &s));
    HTH_TRY(jj_to_str(vm, a[0], &a[0]));
    HTH_TRY(jj_to_str(vm, a[1], &a[1]));
    return jj_replace(vm, s.u.s, a[0].u.s, a[1].u.s, count, out);
}

static hth_code do_join(ARGS) {
    jj_value a[2], sep;
    HTH_TRY(jj_bind(vm, "join", args, "d attribute", 0, a));
    if (a[0].kind == HTH_JINJA_MISSING) HTH_TRY(jj_text(vm, "", &a[0]));
    HTH_TRY(jj_to_str(vm, a[0], &sep));
    if (is_given(a[1])) {
        jj_value all;
        HTH_TRY(jj_collect(vm, v, &all));
        for (uint32_t i = 0; i < all.u.list->n; i++) {
            HTH_TRY(jj_attribute(vm, all.u.list->items[i], a[1], &all.u.list->items[i]));
        }
        v = all;
    }
    return jj_join(vm, sep.u.s, v, true, out);
}

static hth_code do_format(ARGS) {
    jj_value s, values;
    if (args->n_pos > 0 && args->n_kw > 0) {
        return jj_fail(vm, JJ_TEMPLATE_ERROR, "can't handle positional and keyword arguments at the same time");
    }
    HTH_TRY(jj_soft_str(vm, v, &s));
    if (args->n_kw > 0) {
        HTH_TRY(jj_new_dict(vm, &values));
        for (uint32_t i = 0; i < args->n_kw; i++) {
            HTH_TRY(jj_dict_set(vm, values.u.dict, args->kw[i].key, args->kw[i].value));
        }
    } else {
        HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, args->n_pos, &values));
        for (uint32_t i = 0; i < args->n_pos; i++) values.u.list->items[i] = args->pos[i];
    }
    return jj_percent(vm, s.u.s, values, out);
}

// ---- layout ----

static hth_code do_indent(ARGS) {
    jj_value a[3], lines, width;
    int64_t n;
    HTH_TRY(jj_bind(vm, "indent", args, "width first blank", 0, a));
    if (jj_is_undefined(v)) return jj_fail_undefined(vm, v);
    if (!jj_is_str(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "unsupported operand type(s) for +=: '%s' and 'str'", jj_type_name(v));
    }
    if (jj_is_str(a[0])) {
        width = a[0];
    } else {
        jj_buf spaces = jj_buf_make(vm);
        HTH_TRY(whole(vm, a[0], 4, &n));
        HTH_TRY(jj_pad(&spaces, " ", 1, n));
        HTH_TRY(jj_take(&spaces, &width));
    }
    jj_buf whole_text = jj_buf_make(vm), b = jj_buf_make(vm);
    HTH_TRY(jj_put_str(&whole_text, v.u.s));
    HTH_TRY(jj_puts(&whole_text, "\n")); // so that a line break at the end makes a line of its own
    HTH_TRY(jj_take(&whole_text, &lines));
    HTH_TRY(jj_splitlines(vm, lines.u.s, false, &lines));
    for (uint32_t i = 0; i < lines.u.list->n; i++) {
        const jj_str *line = lines.u.list->items[i].u.s;
        bool indents = i == 0 ? jj_truth(a[1]) : jj_truth(a[2]) || line->n > 0;
        if (i > 0) HTH_TRY(jj_puts(&b, "\n"));
        if (indents) HTH_TRY(jj_put_str(&b, width.u.s));
        HTH_TRY(jj_put_str(&b, line));
    }
    return jj_take_markup(&b, v.u.s->is_markup, out);
}

static hth_code do_truncate(ARGS) {
    jj_value a[4], part, list;
    int64_t length, leeway, n;
    HTH_TRY(jj_bind(vm, "truncate", args, "length killwords end leeway", 0, a));
    HTH_TRY(whole(vm, a[0], 255, &length));
    HTH_TRY(whole(vm, a[3], 5, &leeway));
    if (!is_given(a[2])) HTH_TRY(jj_text(vm, "...", &a[2]));
    if (!jj_is_str(a[2])) return jj_fail(vm, JJ_TYPE_ERROR, "object of type '%s' has no len()", jj_type_name(a[2]));
    int64_t n_end = a[2].u.s->n_char;
    if (length < n_end) {
        return jj_fail(vm, JJ_OTHER_ERROR, "expected length >= %lld, got %lld", (long long)n_end, (long long)length);
    }
    if (leeway < 0) return jj_fail(vm, JJ_OTHER_ERROR, "expected leeway >= 0, got %lld", (long long)leeway);
    HTH_TRY(jj_length(vm, v, &n));
    *out = v;
    if (n <= length + leeway) return HTH_OK;
    jj_slice head = {{JJ_PY_NONE, jj_int(length - n_end), JJ_PY_NONE}};
    HTH_TRY(jj_slice_value(vm, v, &head, &part));
    if (!jj_truth(a[1])) {
        static const jj_str space = {.p = " ", .n = 1, .n_char = 1};
        if (!jj_is_str(part)) return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object has no attribute 'rsplit'", jj_type_name(part));
        HTH_TRY(jj_split(vm, part.u.s, &space, 1, true, &list));
        part = list.u.list->items[0];
    }
    return jj_binary(vm, JJ_ADD, part, a[2], out);
}

static bool is_word_char(uint32_t cp) { // \w
    return cp == '_' || (1u << hth_cp_category(cp) & (HTH_CATS_L | HTH_CATS_N));
}

static hth_code do_wordcount(ARGS) {
    jj_value text;
    int64_t n = 0;
    bool inside = false;
    HTH_TRY(no_arguments(vm, "wordcount", args));
    HTH_TRY(jj_soft_str(vm, v, &text));
    HTH_TRY(jj_step(vm, text.u.s->n / 16));
    for (uint32_t i = 0; i < text.u.s->n;) {
        unsigned len;
        bool is_word = is_word_char(jj_cp(text.u.s->p + i, text.u.s->n - i, &len));
        n += is_word && !inside;
        inside = is_word;
        i += len;
    }
    *out = jj_int(n);
    return HTH_OK;
}

// ---- HTML and URLs ----

static hth_code do_escape(ARGS) {
    HTH_TRY(no_arguments(vm, "escape", args));
    return jj_escape(vm, v, out);
}

static hth_code do_forceescape(ARGS) {
    HTH_TRY(no_arguments(vm, "forceescape", args));
    HTH_TRY(jj_to_str(vm, v, &v));
    return jj_escape(vm, v, out);
}

static hth_code do_safe(ARGS) {
    HTH_TRY(no_arguments(vm, "safe", args));
    HTH_TRY(jj_soft_str(vm, v, out));
    return jj_as_markup(vm, out->u.s, true, out);
}

static hth_code do_striptags(ARGS) {
    jj_value text, parts;
    HTH_TRY(no_arguments(vm, "striptags", args));
    HTH_TRY(jj_to_str(vm, v, &text));
    const jj_str *s = text.u.s;
    static const jj_str open = {.p = "<", .n = 1}, close = {.p = ">", .n = 1}, end_comment = {.p = "-->", .n = 3};
    jj_buf b = jj_buf_make(vm);
    uint32_t at = 0;
    for (;;) {
        int64_t start = jj_find(s, &open, at, s->n), end;
        if (start < 0) break;
        bool is_comment = s->n - start >= 4 && memcmp(s->p + start, "<!--", 4) == 0;
        end = is_comment ? jj_find(s, &end_comment, (uint32_t)start + 4, s->n) : jj_find(s, &close, (uint32_t)start, s->n);
        if (end < 0) break;
        HTH_TRY(jj_put_part(&b, s, at, (uint32_t)start));
        at = (uint32_t)end + (is_comment ? 3 : 1);
    }
    HTH_TRY(jj_put_part(&b, s, at, s->n));
    HTH_TRY(jj_take(&b, &text));
    HTH_TRY(jj_split(vm, text.u.s, NULL, -1, false, &parts));
    static const jj_str space = {.p = " ", .n = 1, .n_char = 1};
    HTH_TRY(jj_join(vm, &space, parts, true, &text));
    static const char *const entities[][2] = {{"&lt;", "<"}, {"&gt;", ">"}, {"&#34;", "\""}, {"&quot;", "\""},
                                              {"&#39;", "'"}, {"&apos;", "'"}, {"&amp;", "&"}};
    for (size_t i = 0; i < HTH_COUNT(entities); i++) {
        jj_value from, to;
        HTH_TRY(jj_text(vm, entities[i][0], &from));
        HTH_TRY(jj_text(vm, entities[i][1], &to));
        HTH_TRY(jj_replace(vm, text.u.s, from.u.s, to.u.s, -1, &text));
    }
    *out = text;
    return HTH_OK;
}

static hth_code put_quoted(jj_buf *b, jj_value v, bool in_query) {
    jj_value text;
    HTH_TRY(jj_to_str(b->vm, v, &text));
    for (uint32_t i = 0; i < text.u.s->n; i++) {
        unsigned char c = (unsigned char)text.u.s->p[i];
        char hex[4];
        bool is_plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("_.-~", c) ||
                        (c == '/' && !in_query);
        snprintf(hex, sizeof hex, "%%%02X", c);
        if (c == ' ' && in_query) {
            HTH_TRY(jj_puts(b, "+"));
        } else if (is_plain && c) {
            HTH_TRY(jj_put_part(b, text.u.s, i, i + 1));
        } else {
            HTH_TRY(jj_puts(b, hex));
        }
    }
    return HTH_OK;
}

static hth_code do_urlencode(ARGS) {
    jj_buf b = jj_buf_make(vm);
    jj_iter *it;
    HTH_TRY(no_arguments(vm, "urlencode", args));
    if (jj_is_str(v) || !jj_is_iterable(v)) {
        HTH_TRY(put_quoted(&b, v, false));
        return jj_take(&b, out);
    }
    jj_view view = {v.u.dict, JJ_ITEMS};
    HTH_TRY(jj_iter_of(vm, v.kind == HTH_JINJA_DICT ? jj_pointer(HTH_JINJA_VIEW, &view) : v, &it));
    for (bool first = true;; first = false) {
        jj_value item, pair;
        bool more;
        HTH_TRY(jj_next(vm, it, &item, &more));
        if (!more) return jj_take(&b, out);
        HTH_TRY(jj_collect(vm, item, &pair));
        if (pair.u.list->n != 2) return jj_fail(vm, JJ_VALUE_ERROR, "urlencode wants pairs");
        if (!first) HTH_TRY(jj_puts(&b, "&"));
        HTH_TRY(put_quoted(&b, pair.u.list->items[0], true));
        HTH_TRY(jj_puts(&b, "="));
        HTH_TRY(put_quoted(&b, pair.u.list->items[1], true));
    }
}

static hth_code do_xmlattr(ARGS) {
    jj_value a[1], key, value;
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_bind(vm, "xmlattr", args, "autospace", 0, a));
    if (v.kind != HTH_JINJA_DICT) return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object has no attribute 'items'", jj_type_name(v));
    for (uint32_t i = 0; i < v.u.dict->n; i++) {
        const jj_entry *e = &v.u.dict->entries[i];
        if (e->value.kind == HTH_JINJA_NONE || jj_is_undefined(e->value)) continue;
        if (!jj_is_str(e->key)) return jj_fail(vm, JJ_TYPE_ERROR, "expected string or bytes-like object, got '%s'", jj_type_name(e->key));
        if (strcspn(e->key.u.s->p, " \t\n\r\f\v/>=") < e->key.u.s->n) {
            return jj_fail(vm, JJ_VALUE_ERROR, "Invalid character in attribute name: '%.*s'", (int)e->key.u.s->n, e->key.u.s->p);
        }
        HTH_TRY(jj_escape(vm, e->key, &key));
        HTH_TRY(jj_escape(vm, e->value, &value));
        if (b.n > 0 || a[0].kind == HTH_JINJA_MISSING || jj_truth(a[0])) HTH_TRY(jj_puts(&b, " "));
        HTH_TRY(jj_put_str(&b, key.u.s));
        HTH_TRY(jj_puts(&b, "=\""));
        HTH_TRY(jj_put_str(&b, value.u.s));
        HTH_TRY(jj_puts(&b, "\""));
    }
    return jj_take_markup(&b, vm->autoescape, out);
}

static hth_code do_filesizeformat(ARGS) {
    static const char *const prefixes = "kMGTPEZY";
    jj_value a[1];
    double n;
    char text[400];
    HTH_TRY(jj_bind(vm, "filesizeformat", args, "binary", 0, a));
    HTH_TRY(jj_to_float(vm, v, &n));
    bool binary = jj_truth(a[0]);
    double base = binary ? 1024 : 1000, unit = base;
    if (n == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (n < base) {
        jj_value i;
        HTH_TRY(jj_to_int(vm, jj_float(n), 10, &i));
        snprintf(text, sizeof text, "%lld Bytes", (long long)i.u.i);
    } else {
        int k = 0;
        for (unit = base * base; n >= unit && k < 7; unit *= base) k++;
        char prefix = binary && k == 0 ? 'K' : prefixes[k];
        snprintf(text, sizeof text, "%.1f %c%sB", base * n / unit, prefix, binary ? "i" : "");
    }
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_puts(&b, text));
    return jj_take(&b, out);
}

// A value that fits on a line; how pprint breaks longer ones is not rebuilt here.
static hth_code do_pprint(ARGS) {
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(no_arguments(vm, "pprint", args));
    HTH_TRY(jj_put_repr(&b, v));
    if (b.n_char > 80) return jj_fail(vm, JJ_OTHER_ERROR, "pprint of a value that does not fit on a line is not known here");
    return jj_take(&b, out);
}

static hth_code do_wordwrap(ARGS) {
    jj_value a[4];
    int64_t width;
    HTH_TRY(jj_bind(vm, "wordwrap", args, "width break_long_words wrapstring break_on_hyphens", 0, a));
    HTH_TRY(whole(vm, a[0], 79, &width));
    return jj_wordwrap(vm, v, a, width, out);
}

static hth_code do_unknown(ARGS) {
    (void)v;
    (void)args;
    (void)out;
    return jj_fail(vm, JJ_OTHER_ERROR, "the filter urlize is not known here");
}

const jj_filter_row jj_text_filters[] = {
    {"capitalize", do_capitalize}, {"center", do_center}, {"e", do_escape}, {"escape", do_escape},
    {"filesizeformat", do_filesizeformat}, {"forceescape", do_forceescape}, {"format", do_format},
    {"indent", do_indent}, {"join", do_join}, {"lower", do_lower}, {"pprint", do_pprint}, {"replace", do_replace},
    {"safe", do_safe}, {"string", do_string}, {"striptags", do_striptags}, {"title", do_title}, {"trim", do_trim},
    {"truncate", do_truncate}, {"upper", do_upper}, {"urlencode", do_urlencode}, {"urlize", do_unknown},
    {"wordcount", do_wordcount}, {"wordwrap", do_wordwrap}, {"xmlattr", do_xmlattr}, {0},
};
