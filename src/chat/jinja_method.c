// Methods of Python's str, dict, list, tuple and numbers. Those that change their object are rows without a
// function: the sandbox refuses them.
#include "chat/jinja_impl.h"

#include <math.h>
#include <stdio.h>

#include "text/unicode.h"

#define ARGS jj_vm *vm, jj_value self, const jj_args *args, jj_value *out

// ---- arguments ----

// Place of a name among names separated by spaces, or -1.
static int name_index(const char *names, const jj_str *name) {
    int at = 0;
    for (const char *p = names; *p; at++) {
        size_t n = strcspn(p, " ");
        if (n == name->n && memcmp(p, name->p, n) == 0) return at;
        p += n + (p[n] == ' ');
    }
    return -1;
}

hth_code jj_bind(jj_vm *vm, const char *what, const jj_args *args, const char *names, int n_required,
                 jj_value *out) {
    int n = *names != 0;
    for (const char *p = names; *p; p++) n += *p == ' ';
    if (args->n_pos > (uint32_t)n) {
        return jj_fail(vm, JJ_TYPE_ERROR, "%s() takes at most %d arguments (%u given)", what, n, args->n_pos);
    }
    for (int i = 0; i < n; i++) out[i] = (uint32_t)i < args->n_pos ? args->pos[i] : JJ_NIL;
    for (uint32_t i = 0; i < args->n_kw; i++) {
        const jj_str *key = args->kw[i].key.u.s;
        int at = name_index(names, key);
        int shown = jj_shown(key);
        if (at < 0) return jj_fail(vm, JJ_TYPE_ERROR, "%s() got an unexpected keyword argument '%.*s'", what, shown, key->p);
        if (out[at].kind != HTH_JINJA_MISSING) {
            return jj_fail(vm, JJ_TYPE_ERROR, "%s() got multiple values for argument '%.*s'", what, shown, key->p);
        }
        out[at] = args->kw[i].value;
    }
    for (int i = 0; i < n_required; i++) {
        if (out[i].kind == HTH_JINJA_MISSING) {
            return jj_fail(vm, JJ_TYPE_ERROR, "%s() is missing %d required argument%s", what, n_required - i,
                           n_required - i > 1 ? "s" : "");
        }
    }
    return HTH_OK;
}

static bool is_given(jj_value v) {
    return v.kind != HTH_JINJA_MISSING && v.kind != HTH_JINJA_NONE;
}

static hth_code want_str(jj_vm *vm, const char *what, jj_value v, const jj_str **out) {
    if (!jj_is_str(v)) return jj_fail(vm, JJ_TYPE_ERROR, "%s must be str, not %s", what, jj_type_name(v));
    *out = v.u.s;
    return HTH_OK;
}

static hth_code want_int(jj_vm *vm, jj_value v, int64_t dflt, int64_t *out) {
    *out = dflt;
    if (v.kind == HTH_JINJA_MISSING) return HTH_OK;
    if (!jj_is_int(v)) {
        return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object cannot be interpreted as an integer", jj_type_name(v));
    }
    *out = jj_int_of(v);
    return HTH_OK;
}

// ---- strip, split, join, replace ----

static bool is_in(const jj_str *chars, uint32_t cp) {
    if (!chars) return jj_is_space(cp);
    for (uint32_t i = 0; i < chars->n;) {
        unsigned len;
        if (jj_cp(chars->p + i, chars->n - i, &len) == cp) return true;
        i += len;
    }
    return false;
}

static uint32_t before(const jj_str *s, uint32_t at) {
    do {
        at--;
    } while (at > 0 && ((uint8_t)s->p[at] & 0xc0) == 0x80);
    return at;
}

hth_code jj_strip(jj_vm *vm, const jj_str *s, const jj_str *chars, int side, jj_value *out) {
    uint32_t from = 0, to = s->n;
    unsigned len;
    while (side <= 0 && from < to && is_in(chars, jj_cp(s->p + from, to - from, &len))) from += len;
    while (side >= 0 && to > from) {
        uint32_t at = before(s, to);
        if (!is_in(chars, jj_cp(s->p + at, to - at, &len))) break;
        to = at;
    }
    HTH_TRY(jj_step(vm, (from + (s->n - to)) / 16));
    if (from == to) from = to = 0;
    return jj_part(vm, s, from, to, out);
}

static hth_code add_part(jj_vm *vm, jj_growing *g, const jj_str *s, uint32_t from, uint32_t to) {
    jj_value part;
    HTH_TRY(jj_part(vm, s, from, to, &part));
    return jj_add(vm, g, part);
}

static hth_code split_space(jj_vm *vm, const jj_str *s, int64_t max, jj_growing *g) {
    uint32_t at = 0;
    unsigned len;
    for (;;) {
        while (at < s->n && jj_is_space(jj_cp(s->p + at, s->n - at, &len))) at += len;
        if (at == s->n) return HTH_OK;
        uint32_t end = at;
        if (max-- == 0) { // the rest, without the white space at its end
            end = s->n;
            while (end > at && jj_is_space(jj_cp(s->p + before(s, end), s->n - before(s, end), &len))) end = before(s, end);
            return add_part(vm, g, s, at, end);
        }
        while (end < s->n && !jj_is_space(jj_cp(s->p + end, s->n - end, &len))) end += len;
        HTH_TRY(add_part(vm, g, s, at, end));
        at = end;
    }
}

static hth_code rsplit_space(jj_vm *vm, const jj_str *s, int64_t max, jj_growing *g) {
    uint32_t end = s->n;
    unsigned len;
    for (;;) {
        while (end > 0 && jj_is_space(jj_cp(s->p + before(s, end), end - before(s, end), &len))) end = before(s, end);
        if (end == 0) return HTH_OK;
        uint32_t at = end;
        if (max-- == 0) {
            at = 0;
            while (jj_is_space(jj_cp(s->p + at, end - at, &len))) at += len;
            return add_part(vm, g, s, at, end);
        }
        while (at > 0 && !jj_is_space(jj_cp(s->p + before(s, at), at - before(s, at), &len))) at = before(s, at);
        HTH_TRY(add_part(vm, g, s, at, end));
        end = at;
    }
}

static hth_code split_by(jj_vm *vm, const jj_str *s, const jj_str *sep, int64_t max, jj_growing *g) {
    uint32_t at = 0;
    while (max-- != 0) {
        int64_t found = jj_find(s, sep, at, s->n);
        if (found < 0) break;
        HTH_TRY(add_part(vm, g, s, at, (uint32_t)found));
        at = (uint32_t)found + sep->n;
    }
    return add_part(vm, g, s, at, s->n);
}

static int64_t find_last(const jj_str *s, const jj_str *sub, uint32_t from, uint32_t to) {
    if (sub->n > to - from) return -1;
    for (int64_t at = (int64_t)to - sub->n; at >= (int64_t)from; at--) {
        if (memcmp(s->p + at, sub->p, sub->n) == 0) return at;
    }
    return -1;
}

static hth_code rsplit_by(jj_vm *vm, const jj_str *s, const jj_str *sep, int64_t max, jj_growing *g) {
    uint32_t end = s->n;
    while (max-- != 0) {
        int64_t found = find_last(s, sep, 0, end);
        if (found < 0) break;
        HTH_TRY(add_part(vm, g, s, (uint32_t)found + sep->n, end));
        end = (uint32_t)found;
    }
    return add_part(vm, g, s, 0, end);
}

hth_code jj_split(jj_vm *vm, const jj_str *s, const jj_str *sep, int64_t max, bool right, jj_value *out) {
    jj_growing g = {0};
    if (max < 0) max = INT64_MAX;
    if (sep && sep->n == 0) return jj_fail(vm, JJ_VALUE_ERROR, "empty separator");
    HTH_TRY(jj_step(vm, s->n / 16));
    HTH_TRY(!sep ? (right ? rsplit_space(vm, s, max, &g) : split_space(vm, s, max, &g))
                 : right ? rsplit_by(vm, s, sep, max, &g) : split_by(vm, s, sep, max, &g));
    for (size_t i = 0; right && i < g.n / 2; i++) {
        jj_value other = g.items[i];
        g.items[i] = g.items[g.n - 1 - i];
        g.items[g.n - 1 - i] = other;
    }
    return jj_grown(vm, &g, HTH_JINJA_LIST, out);
}

static bool is_line_break(uint32_t cp) {
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

hth_code jj_splitlines(jj_vm *vm, const jj_str *s, bool keep, jj_value *out) {
    jj_growing g = {0};
    uint32_t from = 0;
    HTH_TRY(jj_step(vm, s->n / 16));
    for (uint32_t at = 0; at < s->n;) {
        unsigned len;
        uint32_t cp = jj_cp(s->p + at, s->n - at, &len), end = at;
        at += len;
        if (!is_line_break(cp)) continue;
        if (cp == '\r' && at < s->n && s->p[at] == '\n') at++;
        HTH_TRY(add_part(vm, &g, s, from, keep ? at : end));
        from = at;
    }
    if (from < s->n) HTH_TRY(add_part(vm, &g, s, from, s->n));
    return jj_grown(vm, &g, HTH_JINJA_LIST, out);
}

hth_code jj_join(jj_vm *vm, const jj_str *sep, jj_value iterable, bool coerce, jj_value *out) {
    jj_buf b = jj_buf_make(vm);
    jj_iter *it;
    HTH_TRY(jj_iter_of(vm, iterable, &it));
    for (uint32_t i = 0;; i++) {
        jj_value v;
        bool more;
        HTH_TRY(jj_next(vm, it, &v, &more));
        if (!more) break;
        if (!coerce && !jj_is_str(v)) {
            return jj_fail(vm, JJ_TYPE_ERROR, "sequence item %u: expected str instance, %s found", i, jj_type_name(v));
        }
        if (i > 0) HTH_TRY(jj_put_str(&b, sep));
        bool escapes = sep->is_markup && !coerce && !v.u.s->is_markup;
        HTH_TRY(escapes ? jj_put_escaped(&b, v.u.s) : jj_put_value(&b, v));
    }
    return jj_take_markup(&b, sep->is_markup && !coerce, out);
}

static hth_code replace_between(jj_vm *vm, const jj_str *s, const jj_str *with, int64_t count, jj_value *out) {
    jj_buf b = jj_buf_make(vm);
    uint32_t at = 0;
    while (at < s->n && count-- > 0) {
        unsigned len;
        (void)jj_cp(s->p + at, s->n - at, &len);
        HTH_TRY(jj_put_str(&b, with));
        HTH_TRY(jj_put_part(&b, s, at, at + len));
        at += len;
    }
    HTH_TRY(jj_put_part(&b, s, at, s->n));
    if (count > 0) HTH_TRY(jj_put_str(&b, with));
    return jj_take_markup(&b, s->is_markup, out);
}

hth_code jj_replace(jj_vm *vm, const jj_str *s, const jj_str *old, const jj_str *with, int64_t count,
                    jj_value *out) {
    if (count < 0) count = INT64_MAX;
    HTH_TRY(jj_step(vm, s->n / 64));
    if (old->n == 0) return replace_between(vm, s, with, count, out);
    uint32_t at = 0;
    int64_t found = count > 0 ? jj_find(s, old, 0, s->n) : -1;
    if (found < 0) return jj_part(vm, s, 0, s->n, out);
    jj_buf b = jj_buf_make(vm);
    while (found >= 0) {
        HTH_TRY(jj_put_part(&b, s, at, (uint32_t)found));
        HTH_TRY(jj_put_str(&b, with));
        at = (uint32_t)found + old->n;
        found = --count > 0 ? jj_find(s, old, at, s->n) : -1;
    }
    HTH_TRY(jj_put_part(&b, s, at, s->n));
    return jj_take_markup(&b, s->is_markup, out);
}

static hth_code str_strip_side(ARGS, int side) {
    jj_value a[1];
    const jj_str *chars = NULL;
    HTH_TRY(jj_bind(vm, "strip", args, "chars", 0, a));
    if (is_given(a[0])) {
        if (!jj_is_str(a[0])) return jj_fail(vm, JJ_TYPE_ERROR, "strip arg must be None or str");
        chars = a[0].u.s;
    }
    return jj_strip(vm, self.u.s, chars, side, out);
}

static hth_code str_strip(ARGS) {
    return str_strip_side(vm, self, args, out, 0);
}

static hth_code str_lstrip(ARGS) {
    return str_strip_side(vm, self, args, out, -1);
}

static hth_code str_rstrip(ARGS) {
    return str_strip_side(vm, self, args, out, 1);
}

static hth_code str_split_side(ARGS, bool right) {
    jj_value a[2];
    const jj_str *sep = NULL;
    int64_t max;
    HTH_TRY(jj_bind(vm, "split", args, "sep maxsplit", 0, a));
    if (is_given(a[0])) {
        if (!jj_is_str(a[0])) return jj_fail(vm, JJ_TYPE_ERROR, "must be str or None, not %s", jj_type_name(a[0]));
        sep = a[0].u.s;
    }
    HTH_TRY(want_int(vm, a[1], -1, &max));
    return jj_split(vm, self.u.s, sep, max, right, out);
}

static hth_code str_split(ARGS) {
    return str_split_side(vm, self, args, out, false);
}

static hth_code str_rsplit(ARGS) {
    return str_split_side(vm, self, args, out, true);
}

static hth_code str_splitlines(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "splitlines", args, "keepends", 0, a));
    return jj_splitlines(vm, self.u.s, jj_truth(a[0]), out);
}

static hth_code partition_at(jj_vm *vm, const jj_str *s, const jj_str *sep, int64_t at, bool right, jj_value *out) {
    HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, 3, out));
    jj_value *p = out->u.list->items;
    for (int i = 0; i < 3; i++) HTH_TRY(jj_text(vm, "", &p[i]));
    if (at < 0) return jj_part(vm, s, 0, s->n, &p[right ? 2 : 0]);
    HTH_TRY(jj_part(vm, s, 0, (uint32_t)at, &p[0]));
    p[1] = (jj_value){.kind = HTH_JINJA_STR, .u.s = sep};
    return jj_part(vm, s, (uint32_t)at + sep->n, s->n, &p[2]);
}

static hth_code str_partition_side(ARGS, bool right) {
    jj_value a[1];
    const jj_str *sep;
    HTH_TRY(jj_bind(vm, "partition", args, "sep", 1, a));
    HTH_TRY(want_str(vm, "the separator", a[0], &sep));
    if (sep->n == 0) return jj_fail(vm, JJ_VALUE_ERROR, "empty separator");
    const jj_str *s = self.u.s;
    HTH_TRY(jj_step(vm, s->n / 64));
    return partition_at(vm, s, sep, right ? find_last(s, sep, 0, s->n) : jj_find(s, sep, 0, s->n), right, out);
}

static hth_code str_partition(ARGS) {
    return str_partition_side(vm, self, args, out, false);
}

static hth_code str_rpartition(ARGS) {
    return str_partition_side(vm, self, args, out, true);
}

static hth_code str_join(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "join", args, "iterable", 1, a));
    if (!jj_is_iterable(a[0])) return jj_fail(vm, JJ_TYPE_ERROR, "can only join an iterable");
    return jj_join(vm, self.u.s, a[0], false, out);
}

static hth_code str_replace(ARGS) {
    jj_value a[3];
    const jj_str *old, *with;
    int64_t count;
    HTH_TRY(jj_bind(vm, "replace", args, "old new count", 2, a));
    HTH_TRY(want_str(vm, "replace() argument 1", a[0], &old));
    HTH_TRY(want_str(vm, "replace() argument 2", a[1], &with));
    HTH_TRY(want_int(vm, a[2], -1, &count));
    if (self.u.s->is_markup) {
        HTH_TRY(jj_escape(vm, a[1], &a[1]));
        with = a[1].u.s;
    }
    return jj_replace(vm, self.u.s, old, with, count, out);
}

// ---- finding ----

// The bytes that Python's optional start and end choose; false: nothing can be found there.
static hth_code take_window(jj_vm *vm, const jj_str *s, const jj_value *a, uint32_t *from, uint32_t *to, bool *ok) {
    int64_t part[2] = {0, s->n_char};
    for (int i = 0; i < 2; i++) {
        if (!is_given(a[i])) continue;
        HTH_TRY(want_int(vm, a[i], 0, &part[i]));
        if (part[i] < 0) part[i] = part[i] + s->n_char < 0 ? 0 : part[i] + s->n_char;
    }
    *ok = part[0] <= s->n_char && part[0] <= part[1];
    if (part[1] > s->n_char) part[1] = s->n_char;
    *ok = *ok && part[0] <= part[1];
    if (!*ok) return HTH_OK;
    *from = jj_byte_of(s, part[0]);
    *to = jj_byte_of(s, part[1]);
    return HTH_OK;
}

static hth_code find_in(ARGS, bool last, bool must) {
    jj_value a[3];
    const jj_str *s = self.u.s, *sub;
    uint32_t from, to;
    bool ok;
    HTH_TRY(jj_bind(vm, "find", args, "sub start end", 1, a));
    HTH_TRY(want_str(vm, "find() argument 1", a[0], &sub));
    HTH_TRY(take_window(vm, s, a + 1, &from, &to, &ok));
    HTH_TRY(jj_step(vm, s->n / 64));
    int64_t at = !ok ? -1 : last ? find_last(s, sub, from, to) : jj_find(s, sub, from, to);
    if (at < 0 && must) return jj_fail(vm, JJ_VALUE_ERROR, "substring not found");
    *out = jj_int(at < 0 ? -1 : (int64_t)jj_count(s->p, (size_t)at));
    return HTH_OK;
}

static hth_code str_find(ARGS) {
    return find_in(vm, self, args, out, false, false);
}

static hth_code str_rfind(ARGS) {
    return find_in(vm, self, args, out, true, false);
}

static hth_code str_index(ARGS) {
    return find_in(vm, self, args, out, false, true);
}

static hth_code str_rindex(ARGS) {
    return find_in(vm, self, args, out, true, true);
}

static hth_code str_count(ARGS) {
    jj_value a[3];
    const jj_str *s = self.u.s, *sub;
    uint32_t from, to;
    bool ok;
    int64_t n = 0;
    HTH_TRY(jj_bind(vm, "count", args, "sub start end", 1, a));
    HTH_TRY(want_str(vm, "count() argument 1", a[0], &sub));
    HTH_TRY(take_window(vm, s, a + 1, &from, &to, &ok));
    HTH_TRY(jj_step(vm, s->n / 64));
    if (ok && sub->n == 0) n = jj_count(s->p + from, to - from) + 1;
    for (int64_t at; ok && sub->n > 0 && (at = jj_find(s, sub, from, to)) >= 0; n++) from = (uint32_t)at + sub->n;
    *out = jj_int(n);
    return HTH_OK;
}

static bool has_affix(const jj_str *s, const jj_str *affix, uint32_t from, uint32_t to, bool at_end) {
    return affix->n <= to - from && memcmp(s->p + (at_end ? to - affix->n : from), affix->p, affix->n) == 0;
}

static hth_code affix(ARGS, bool at_end) {
    jj_value a[3];
    uint32_t from, to;
    bool ok, found = false;
    const char *what = at_end ? "endswith" : "startswith";
    HTH_TRY(jj_bind(vm, what, args, "affix start end", 1, a));
    HTH_TRY(take_window(vm, self.u.s, a + 1, &from, &to, &ok));
    jj_list one = {.items = &a[0], .n = 1};
    const jj_list *list = a[0].kind == HTH_JINJA_TUPLE ? a[0].u.list : &one;
    for (uint32_t i = 0; i < list->n; i++) {
        if (!jj_is_str(list->items[i])) {
            return jj_fail(vm, JJ_TYPE_ERROR, "%s first arg must be str or a tuple of str, not %s", what,
                           jj_type_name(list->items[i]));
        }
        found = found || (ok && has_affix(self.u.s, list->items[i].u.s, from, to, at_end));
    }
    *out = jj_bool(found);
    return HTH_OK;
}

static hth_code str_startswith(ARGS) {
    return affix(vm, self, args, out, false);
}

static hth_code str_endswith(ARGS) {
    return affix(vm, self, args, out, true);
}

static hth_code remove_affix(ARGS, bool at_end) {
    jj_value a[1];
    const jj_str *s = self.u.s, *what;
    HTH_TRY(jj_bind(vm, at_end ? "removesuffix" : "removeprefix", args, "affix", 1, a));
    HTH_TRY(want_str(vm, "the argument", a[0], &what));
    if (!has_affix(s, what, 0, s->n, at_end)) return jj_part(vm, s, 0, s->n, out);
    return at_end ? jj_part(vm, s, 0, s->n - what->n, out) : jj_part(vm, s, what->n, s->n, out);
}

static hth_code str_removeprefix(ARGS) {
    return remove_affix(vm, self, args, out, false);
}

static hth_code str_removesuffix(ARGS) {
    return remove_affix(vm, self, args, out, true);
}

// ---- padding ----

static hth_code pad(ARGS, int side) { // -1: text left, 0: centered, 1: right
    jj_value a[2];
    const jj_str *s = self.u.s, *fill;
    int64_t width;
    static const jj_str space = {.p = " ", .n = 1, .n_char = 1};
    HTH_TRY(jj_bind(vm, "center", args, "width fillchar", 1, a));
    HTH_TRY(want_int(vm, a[0], 0, &width));
    fill = &space;
    if (is_given(a[1])) HTH_TRY(want_str(vm, "the fill character", a[1], &fill));
    if (fill->n_char != 1) return jj_fail(vm, JJ_TYPE_ERROR, "The fill character must be exactly one character long");
    if (width <= s->n_char) return jj_part(vm, s, 0, s->n, out);
    int64_t missing = width - s->n_char, left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_pad(&b, fill->p, fill->n, left));
    HTH_TRY(jj_put_str(&b, s));
    HTH_TRY(jj_pad(&b, fill->p, fill->n, missing - left));
    return jj_take_markup(&b, s->is_markup, out);
}

static hth_code str_ljust(ARGS) {
    return pad(vm, self, args, out, -1);
}

static hth_code str_center(ARGS) {
    return pad(vm, self, args, out, 0);
}

static hth_code str_rjust(ARGS) {
    return pad(vm, self, args, out, 1);
}

static hth_code str_zfill(ARGS) {
    jj_value a[1];
    const jj_str *s = self.u.s;
    int64_t width;
    HTH_TRY(jj_bind(vm, "zfill", args, "width", 1, a));
    HTH_TRY(want_int(vm, a[0], 0, &width));
    uint32_t sign = s->n > 0 && (s->p[0] == '-' || s->p[0] == '+');
    jj_buf b = jj_buf_make(vm);
    HTH_TRY(jj_put_part(&b, s, 0, sign));
    HTH_TRY(jj_pad(&b, "0", 1, width - s->n_char));
    HTH_TRY(jj_put_part(&b, s, sign, s->n));
    return jj_take_markup(&b, s->is_markup, out);
}

static hth_code str_expandtabs(ARGS) {
    jj_value a[1];
    const jj_str *s = self.u.s;
    int64_t size, column = 0;
    HTH_TRY(jj_bind(vm, "expandtabs", args, "tabsize", 0, a));
    HTH_TRY(want_int(vm, a[0], 8, &size));
    jj_buf b = jj_buf_make(vm);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->p[i] == '\t') {
            int64_t n = size > 0 ? size - column % size : 0;
            HTH_TRY(jj_pad(&b, " ", 1, n));
            column += n;
        } else {
            HTH_TRY(jj_put_part(&b, s, i, i + 1));
            column += ((uint8_t)s->p[i] & 0xc0) != 0x80;
            if (s->p[i] == '\n' || s->p[i] == '\r') column = 0;
        }
    }
    b.n_char = jj_count(b.p, b.n);
    return jj_take_markup(&b, s->is_markup, out);
}

// ---- case and kinds of characters ----

static hth_code no_arguments(jj_vm *vm, const jj_args *args) {
    if (args->n_pos + args->n_kw == 0) return HTH_OK;
    return jj_fail(vm, JJ_TYPE_ERROR, "the method takes no arguments (%u given)", args->n_pos + args->n_kw);
}

static hth_code str_upper(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return jj_case(vm, self.u.s, 'u', out);
}

static hth_code str_lower(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return jj_case(vm, self.u.s, 'l', out);
}

static hth_code str_capitalize(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return jj_case(vm, self.u.s, 'c', out);
}

static hth_code str_title(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return jj_case(vm, self.u.s, 't', out);
}

static hth_code str_swapcase(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return jj_case(vm, self.u.s, 's', out);
}

static hth_code str_casefold(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    return jj_case(vm, self.u.s, 'f', out);
}

static bool in_cats(uint32_t cp, unsigned cats) {
    return 1u << hth_cp_category(cp) & cats;
}

static bool is_alpha(uint32_t cp) {
    return in_cats(cp, HTH_CATS_L);
}

static bool is_decimal(uint32_t cp) {
    return in_cats(cp, 1u << HTH_CAT_ND);
}

static bool is_digit_char(uint32_t cp) { // digits that are no decimals: raised, lowered, in circles
    return is_decimal(cp) || cp == 0xb2 || cp == 0xb3 || cp == 0xb9 || cp == 0x2070 || (cp >= 0x2074 && cp <= 0x2079) ||
           (cp >= 0x2080 && cp <= 0x2089) || (cp >= 0x2460 && cp <= 0x2468);
}

static bool is_numeric(uint32_t cp) {
    return in_cats(cp, HTH_CATS_N);
}

static bool is_alnum(uint32_t cp) {
    return is_alpha(cp) || is_numeric(cp);
}

static bool is_ascii(uint32_t cp) {
    return cp < 0x80;
}

static hth_code all_are(ARGS, bool (*is)(uint32_t cp), bool when_empty) {
    const jj_str *s = self.u.s;
    HTH_TRY(no_arguments(vm, args));
    HTH_TRY(jj_step(vm, s->n / 16));
    bool all = s->n > 0 || when_empty;
    for (uint32_t i = 0; all && i < s->n;) {
        unsigned len;
        all = is(jj_cp(s->p + i, s->n - i, &len));
        i += len;
    }
    *out = jj_bool(all);
    return HTH_OK;
}

static hth_code str_isalpha(ARGS) {
    return all_are(vm, self, args, out, is_alpha, false);
}

static hth_code str_isalnum(ARGS) {
    return all_are(vm, self, args, out, is_alnum, false);
}

static hth_code str_isdigit(ARGS) {
    return all_are(vm, self, args, out, is_digit_char, false);
}

static hth_code str_isdecimal(ARGS) {
    return all_are(vm, self, args, out, is_decimal, false);
}

static hth_code str_isnumeric(ARGS) {
    return all_are(vm, self, args, out, is_numeric, false);
}

static hth_code str_isspace(ARGS) {
    return all_are(vm, self, args, out, jj_is_space, false);
}

static hth_code str_isascii(ARGS) {
    return all_are(vm, self, args, out, is_ascii, true);
}

static hth_code str_isprintable(ARGS) {
    return all_are(vm, self, args, out, jj_is_printable, true);
}

static bool is_identifier_char(uint32_t cp) {
    return cp == '_' || (cp < 0x80 ? (cp >= '0' && cp <= '9') || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z')
                                   : hth_cp_is_word(cp));
}

static hth_code str_isidentifier(ARGS) {
    const jj_str *s = self.u.s;
    HTH_TRY(all_are(vm, self, args, out, is_identifier_char, false));
    if (s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9') *out = jj_bool(false);
    return HTH_OK;
}

static hth_code str_islower(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = jj_bool(jj_is_case(self.u.s, false));
    return HTH_OK;
}

static hth_code str_isupper(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = jj_bool(jj_is_case(self.u.s, true));
    return HTH_OK;
}

static hth_code str_istitle(ARGS) {
    jj_value title;
    bool is_cased;
    HTH_TRY(no_arguments(vm, args));
    HTH_TRY(jj_case(vm, self.u.s, 't', &title));
    jj_value lower, upper;
    HTH_TRY(jj_case(vm, self.u.s, 'l', &lower));
    HTH_TRY(jj_case(vm, self.u.s, 'u', &upper));
    is_cased = !jj_str_equal(lower.u.s, upper.u.s);
    *out = jj_bool(is_cased && jj_str_equal(title.u.s, self.u.s));
    return HTH_OK;
}

static hth_code str_format(ARGS) {
    return jj_format(vm, self.u.s, args, out);
}

static hth_code str_format_map(ARGS) {
    jj_value a[1];
    HTH_TRY(jj_bind(vm, "format_map", args, "mapping", 1, a));
    if (a[0].kind != HTH_JINJA_DICT) return jj_fail(vm, JJ_TYPE_ERROR, "format_map() takes a dict");
    jj_args named = {.kw = a[0].u.dict->entries, .n_kw = a[0].u.dict->n};
    for (uint32_t i = 0; i < named.n_kw; i++) {
        if (!jj_is_str(named.kw[i].key)) return jj_fail(vm, JJ_TYPE_ERROR, "format_map() keys must be str");
    }
    return jj_format(vm, self.u.s, &named, out);
}

static hth_code unknown_here(ARGS) {
    (void)self;
    (void)args;
    (void)out;
    return jj_fail(vm, JJ_OTHER_ERROR, "this method makes values that templates here do not know (bytes, tables)");
}

// ---- dict, list, numbers ----

static hth_code make_view(jj_vm *vm, jj_value self, const jj_args *args, jj_view_kind kind, jj_value *out) {
    HTH_TRY(no_arguments(vm, args));
    jj_view *view = jj_alloc(vm, 1, sizeof *view);
    if (!view) return jj_nomem(vm);
    *view = (jj_view){self.u.dict, kind};
    *out = jj_pointer(HTH_JINJA_VIEW, view);
    return HTH_OK;
}

static hth_code dict_keys(ARGS) {
    return make_view(vm, self, args, JJ_KEYS, out);
}

static hth_code dict_values(ARGS) {
    return make_view(vm, self, args, JJ_VALUES, out);
}

static hth_code dict_items(ARGS) {
    return make_view(vm, self, args, JJ_ITEMS, out);
}

static hth_code dict_get(ARGS) {
    jj_value *found;
    if (args->n_kw > 0) return jj_fail(vm, JJ_TYPE_ERROR, "dict.get() takes no keyword arguments");
    if (args->n_pos < 1 || args->n_pos > 2) {
        return jj_fail(vm, JJ_TYPE_ERROR, "get expected at %s argument%s, got %u", args->n_pos ? "most 2" : "least 1",
                       args->n_pos ? "s" : "", args->n_pos);
    }
    HTH_TRY(jj_dict_find(vm, self.u.dict, args->pos[0], &found));
    *out = found ? *found : args->n_pos == 2 ? args->pos[1] : JJ_PY_NONE;
    return HTH_OK;
}

static hth_code dict_copy(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    HTH_TRY(jj_new_dict(vm, out));
    for (uint32_t i = 0; i < self.u.dict->n; i++) {
        HTH_TRY(jj_dict_set(vm, out->u.dict, self.u.dict->entries[i].key, self.u.dict->entries[i].value));
    }
    return HTH_OK;
}

static hth_code list_copy(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = self; // nothing can change it
    return HTH_OK;
}

static hth_code list_count(ARGS) {
    jj_value a[1];
    int64_t n = 0;
    HTH_TRY(jj_bind(vm, "count", args, "value", 1, a));
    for (uint32_t i = 0; i < self.u.list->n; i++) {
        bool same;
        HTH_TRY(jj_equal(vm, self.u.list->items[i], a[0], &same));
        n += same;
    }
    *out = jj_int(n);
    return HTH_OK;
}

static hth_code list_index(ARGS) {
    jj_value a[3];
    int64_t start, stop, n = self.u.list->n;
    HTH_TRY(jj_bind(vm, "index", args, "value start stop", 1, a));
    HTH_TRY(want_int(vm, a[1], 0, &start));
    HTH_TRY(want_int(vm, a[2], n, &stop));
    if (start < 0) start = start + n < 0 ? 0 : start + n;
    if (stop < 0) stop += n;
    for (int64_t i = start; i < stop && i < n; i++) {
        bool same;
        HTH_TRY(jj_equal(vm, self.u.list->items[i], a[0], &same));
        if (!same) continue;
        *out = jj_int(i);
        return HTH_OK;
    }
    return jj_fail(vm, JJ_VALUE_ERROR, "the value is not in the %s", jj_type_name(self));
}

static hth_code range_count(ARGS) {
    jj_value list;
    HTH_TRY(jj_collect(vm, self, &list));
    return list_count(vm, list, args, out);
}

static hth_code range_index(ARGS) {
    jj_value list;
    HTH_TRY(jj_collect(vm, self, &list));
    return list_index(vm, list, args, out);
}

static hth_code float_is_integer(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = jj_bool(isfinite(self.u.d) && self.u.d == floor(self.u.d));
    return HTH_OK;
}

static hth_code number_conjugate(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    *out = self.kind == HTH_JINJA_BOOL ? jj_int(self.u.b) : self;
    return HTH_OK;
}

static hth_code int_bit_length(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    int64_t v = jj_int_of(self), n = 0;
    for (uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v; u; u >>= 1) n++;
    *out = jj_int(n);
    return HTH_OK;
}

// ---- objects of templates ----

static hth_code loop_cycle(ARGS) {
    const jj_loop *loop = self.u.p;
    if (args->n_kw > 0) return jj_fail(vm, JJ_TYPE_ERROR, "cycle() takes no keyword arguments");
    if (args->n_pos == 0) return jj_fail(vm, JJ_TYPE_ERROR, "no items for cycling given");
    *out = args->pos[loop->index0 % args->n_pos];
    return HTH_OK;
}

static hth_code loop_changed(ARGS) {
    jj_loop *loop = self.u.p;
    jj_value now;
    bool same = false;
    HTH_TRY(jj_new_list(vm, HTH_JINJA_TUPLE, args->n_pos, &now));
    for (uint32_t i = 0; i < args->n_pos; i++) now.u.list->items[i] = args->pos[i];
    if (loop->last_changed.kind != HTH_JINJA_MISSING) HTH_TRY(jj_equal(vm, loop->last_changed, now, &same));
    if (!same) loop->last_changed = now;
    *out = jj_bool(!same);
    return HTH_OK;
}

static hth_code cycler_next(ARGS) {
    jj_cycler *c = self.u.p;
    HTH_TRY(no_arguments(vm, args));
    *out = c->args.pos[c->at];
    c->at = (c->at + 1) % c->args.n_pos;
    return HTH_OK;
}

static hth_code cycler_reset(ARGS) {
    HTH_TRY(no_arguments(vm, args));
    ((jj_cycler *)self.u.p)->at = 0;
    *out = JJ_PY_NONE;
    return HTH_OK;
}

static hth_code dict_fromkeys(ARGS) {
    jj_value a[2], key;
    jj_iter *it;
    bool more;
    (void)self;
    HTH_TRY(jj_bind(vm, "fromkeys", args, "iterable value", 1, a));
    HTH_TRY(jj_iter_of(vm, a[0], &it));
    HTH_TRY(jj_new_dict(vm, out));
    for (;;) {
        HTH_TRY(jj_next(vm, it, &key, &more));
        if (!more) return HTH_OK;
        HTH_TRY(jj_dict_set(vm, out->u.dict, key, a[1].kind == HTH_JINJA_MISSING ? JJ_PY_NONE : a[1]));
    }
}

// ---- the tables ----

static const jj_method_row str_rows[] = {
    {"capitalize", str_capitalize}, {"casefold", str_casefold}, {"center", str_center}, {"count", str_count},
    {"encode", unknown_here}, {"endswith", str_endswith}, {"expandtabs", str_expandtabs}, {"find", str_find},
    {"format", str_format}, {"format_map", str_format_map}, {"index", str_index}, {"isalnum", str_isalnum},
    {"isalpha", str_isalpha}, {"isascii", str_isascii}, {"isdecimal", str_isdecimal}, {"isdigit", str_isdigit},
    {"isidentifier", str_isidentifier}, {"islower", str_islower}, {"isnumeric", str_isnumeric},
    {"isprintable", str_isprintable}, {"isspace", str_isspace}, {"istitle", str_istitle}, {"isupper", str_isupper},
    {"join", str_join}, {"ljust", str_ljust}, {"lower", str_lower}, {"lstrip", str_lstrip},
    {"maketrans", unknown_here}, {"partition", str_partition}, {"removeprefix", str_removeprefix},
    {"removesuffix", str_removesuffix}, {"replace", str_replace}, {"rfind", str_rfind}, {"rindex", str_rindex},
    {"rjust", str_rjust}, {"rpartition", str_rpartition}, {"rsplit", str_rsplit}, {"rstrip", str_rstrip},
    {"split", str_split}, {"splitlines", str_splitlines}, {"startswith", str_startswith}, {"strip", str_strip},
    {"swapcase", str_swapcase}, {"title", str_title}, {"translate", unknown_here}, {"upper", str_upper},
    {"zfill", str_zfill}, {0},
};
static const jj_method_row dict_rows[] = {
    {"clear", NULL}, {"copy", dict_copy}, {"fromkeys", dict_fromkeys}, {"get", dict_get}, {"items", dict_items},
    {"keys", dict_keys}, {"pop", NULL}, {"popitem", NULL}, {"setdefault", NULL}, {"update", NULL},
    {"values", dict_values}, {0},
};
static const jj_method_row list_rows[] = {
    {"append", NULL}, {"clear", NULL}, {"copy", list_copy}, {"count", list_count}, {"extend", NULL},
    {"index", list_index}, {"insert", NULL}, {"pop", NULL}, {"remove", NULL}, {"reverse", NULL}, {"sort", NULL}, {0},
};
static const jj_method_row tuple_rows[] = {{"count", list_count}, {"index", list_index}, {0}};
static const jj_method_row range_rows[] = {{"count", range_count}, {"index", range_index}, {0}};
static const jj_method_row int_rows[] = {{"bit_length", int_bit_length}, {"conjugate", number_conjugate}, {0}};
static const jj_method_row float_rows[] = {{"is_integer", float_is_integer}, {"conjugate", number_conjugate}, {0}};
static const jj_method_row loop_rows[] = {{"cycle", loop_cycle}, {"changed", loop_changed}, {0}};
static const jj_method_row cycler_rows[] = {{"next", cycler_next}, {"reset", cycler_reset}, {0}};
static const jj_method_row function_rows[] = {{"fromkeys", dict_fromkeys}, {0}};

const jj_method_row *jj_find_method(jj_value v, const jj_str *name) {
    const jj_method_row *row;
    switch (v.kind) {
    case HTH_JINJA_STR: row = str_rows; break;
    case HTH_JINJA_DICT: row = dict_rows; break;
    case HTH_JINJA_LIST: row = list_rows; break;
    case HTH_JINJA_TUPLE: row = tuple_rows; break;
    case HTH_JINJA_RANGE: row = range_rows; break;
    case HTH_JINJA_BOOL:
    case HTH_JINJA_INT: row = int_rows; break;
    case HTH_JINJA_FLOAT: row = float_rows; break;
    case HTH_JINJA_LOOP: row = loop_rows; break;
    case HTH_JINJA_CYCLER: row = cycler_rows; break;
    case HTH_JINJA_FUNCTION: // of the globals, `dict` alone has one
        row = strcmp(((const jj_filter_row *)v.u.p)->name, "dict") == 0 ? function_rows : function_rows + 1;
        break;
    default: return NULL;
    }
    for (; row->name; row++) {
        if (jj_str_is(name, row->name)) return row;
    }
    return NULL;
}
