// The functions that every template knows.
#include "chat/jinja_impl.h"

#include <stdio.h>

#define ARGS jj_vm *vm, jj_value self, const jj_args *args, jj_value *out
#define MAX_RANGE 100000

// A global is called as a filter is: `self` is not used.

static hth_code call_range(ARGS) {
    jj_value a[3];
    int64_t v[3] = {0, 0, 1};
    (void)self;
    if (args->n_kw > 0) return jj_fail(vm, JJ_TYPE_ERROR, "range() takes no keyword arguments");
    HTH_TRY(jj_bind(vm, "range", args, "start stop step", 1, a));
    for (uint32_t i = 0; i < args->n_pos; i++) {
        if (jj_is_undefined(a[i])) return jj_fail_undefined(vm, a[i]);
        if (!jj_is_int(a[i])) {
            return jj_fail(vm, JJ_TYPE_ERROR, "'%s' object cannot be interpreted as an integer", jj_type_name(a[i]));
        }
        v[args->n_pos == 1 ? 1 : i] = jj_int_of(a[i]);
    }
    if (v[2] == 0) return jj_fail(vm, JJ_VALUE_ERROR, "range() arg 3 must not be zero");
    uint64_t span = v[2] > 0 ? (v[1] > v[0] ? (uint64_t)v[1] - (uint64_t)v[0] : 0)
                             : (v[0] > v[1] ? (uint64_t)v[0] - (uint64_t)v[1] : 0);
    uint64_t by = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2], n = span ? (span - 1) / by + 1 : 0;
    if (n > MAX_RANGE) {
        return jj_fail(vm, JJ_OVERFLOW_ERROR, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", MAX_RANGE);
    }
    jj_range *r = jj_alloc(vm, 1, sizeof *r);
    if (!r) return jj_nomem(vm);
    *r = (jj_range){v[0], v[1], v[2], (int64_t)n};
    *out = jj_pointer(HTH_JINJA_RANGE, r);
    return HTH_OK;
}

// dict(mapping or pairs, key=value...).
static hth_code call_dict(ARGS) {
    (void)self;
    HTH_TRY(jj_new_dict(vm, out));
    if (args->n_pos > 1) return jj_fail(vm, JJ_TYPE_ERROR, "dict expected at most 1 argument, got %u", args->n_pos);
    if (args->n_pos == 1 && args->pos[0].kind == HTH_JINJA_DICT) {
        const jj_dict *d = args->pos[0].u.dict;
        for (uint32_t i = 0; i < d->n; i++) HTH_TRY(jj_dict_set(vm, out->u.dict, d->entries[i].key, d->entries[i].value));
    } else if (args->n_pos == 1) {
        jj_iter *it;
        HTH_TRY(jj_iter_of(vm, args->pos[0], &it));
        for (uint32_t i = 0;; i++) {
            jj_value item, pair;
            bool more;
            HTH_TRY(jj_next(vm, it, &item, &more));
            if (!more) break;
            if (!jj_is_iterable(item)) {
                return jj_fail(vm, JJ_TYPE_ERROR, "cannot convert dictionary update sequence element #%u to a sequence", i);
            }
            HTH_TRY(jj_collect(vm, item, &pair));
            if (pair.u.list->n != 2) {
                return jj_fail(vm, JJ_VALUE_ERROR, "dictionary update sequence element #%u has length %u; 2 is required", i,
                               pair.u.list->n);
            }
            HTH_TRY(jj_dict_set(vm, out->u.dict, pair.u.list->items[0], pair.u.list->items[1]));
        }
    }
    for (uint32_t i = 0; i < args->n_kw; i++) {
        HTH_TRY(jj_dict_set(vm, out->u.dict, args->kw[i].key, args->kw[i].value));
    }
    return HTH_OK;
}

static hth_code call_namespace(ARGS) {
    HTH_TRY(call_dict(vm, self, args, out));
    for (uint32_t i = 0; i < out->u.dict->n; i++) {
        jj_value key = out->u.dict->entries[i].key;
        if (!jj_is_str(key) || key.u.s->n == 0 || key.u.s->p[0] != '_') continue;
        return jj_fail(vm, JJ_SECURITY_ERROR, "Chat templates cannot store underscore-prefixed attributes on a namespace, but"
                                              " got '%.*s'. Please rename the attribute.",
                       jj_shown(key.u.s), key.u.s->p);
    }
    out->kind = HTH_JINJA_NAMESPACE;
    return HTH_OK;
}

static hth_code call_raise(ARGS) {
    jj_value a[1];
    (void)self;
    HTH_TRY(jj_bind(vm, "raise_exception", args, "message", 1, a));
    HTH_TRY(jj_to_str(vm, a[0], &a[0]));
    (void)out;
    return jj_fail(vm, JJ_TEMPLATE_ERROR, "%.*s", a[0].u.s->n < 380 ? (int)a[0].u.s->n : 380, a[0].u.s->p);
}

static hth_code call_cycler(ARGS) {
    (void)self;
    if (args->n_kw > 0) return jj_fail(vm, JJ_TYPE_ERROR, "cycler() takes no keyword arguments");
    if (args->n_pos == 0) return jj_fail(vm, JJ_OTHER_ERROR, "at least one item has to be provided");
    jj_cycler *c = jj_alloc(vm, 1, sizeof *c);
    if (!c) return jj_nomem(vm);
    memcpy(c, &(jj_cycler){.args = *args}, sizeof *c);
    *out = jj_pointer(HTH_JINJA_CYCLER, c);
    return HTH_OK;
}

static hth_code call_joiner(ARGS) {
    jj_value a[1];
    (void)self;
    HTH_TRY(jj_bind(vm, "joiner", args, "sep", 0, a));
    if (a[0].kind == HTH_JINJA_MISSING) HTH_TRY(jj_text(vm, ", ", &a[0]));
    jj_joiner *j = jj_alloc(vm, 1, sizeof *j);
    if (!j) return jj_nomem(vm);
    j->sep = a[0];
    *out = jj_pointer(HTH_JINJA_JOINER, j);
    return HTH_OK;
}

static hth_code call_lipsum(ARGS) {
    (void)self;
    (void)args;
    (void)out;
    return jj_fail(vm, JJ_OTHER_ERROR, "lipsum makes random text, which a prompt has no use for; it is not known here");
}

// ---- strftime_now ----

static int iso_week(const hth_jinja_time *t) {
    int week = (t->yearday - 1 - t->weekday + 10) / 7;
    bool leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;
    int first = ((t->weekday - (t->yearday - 1)) % 7 + 7) % 7; // weekday of the first of January
    if (week < 1) {
        int y = t->year - 1;
        bool was_leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        int before = (first + 7 - (was_leap ? 366 : 365) % 7) % 7;
        return before == 3 || (was_leap && before == 2) ? 53 : 52;
    }
    if (week == 53 && !(first == 3 || (leap && first == 2))) return 1;
    return week;
}

static void print_directive(char c, const hth_jinja_time *t, char out[64]) {
    static const char *const days[] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    const char *day = days[t->weekday % 7], *month = months[(t->month + 11) % 12];
    int hour12 = t->hour % 12 ? t->hour % 12 : 12, sunday = (t->weekday + 1) % 7;
    switch (c) {
    case 'a': snprintf(out, 64, "%.3s", day); break;
    case 'A': snprintf(out, 64, "%s", day); break;
    case 'b':
    case 'h': snprintf(out, 64, "%.3s", month); break;
    case 'B': snprintf(out, 64, "%s", month); break;
    case 'c': snprintf(out, 64, "%.3s %.3s %2d %02d:%02d:%02d %d", day, month, t->day, t->hour, t->minute, t->second, t->year); break;
    case 'C': snprintf(out, 64, "%02d", t->year / 100); break;
    case 'd': snprintf(out, 64, "%02d", t->day); break;
    case 'D':
    case 'x': snprintf(out, 64, "%02d/%02d/%02d", t->month, t->day, t->year % 100); break;
    case 'e': snprintf(out, 64, "%2d", t->day); break;
    case 'f': snprintf(out, 64, "000000"); break;
    case 'F': snprintf(out, 64, "%d-%02d-%02d", t->year, t->month, t->day); break;
    case 'H': snprintf(out, 64, "%02d", t->hour); break;
    case 'I': snprintf(out, 64, "%02d", hour12); break;
    case 'j': snprintf(out, 64, "%03d", t->yearday); break;
    case 'k': snprintf(out, 64, "%2d", t->hour); break;
    case 'l': snprintf(out, 64, "%2d", hour12); break;
    case 'm': snprintf(out, 64, "%02d", t->month); break;
    case 'M': snprintf(out, 64, "%02d", t->minute); break;
    case 'n': snprintf(out, 64, "\n"); break;
    case 'p': snprintf(out, 64, "%s", t->hour < 12 ? "AM" : "PM"); break;
    case 'P': snprintf(out, 64, "%s", t->hour < 12 ? "am" : "pm"); break;
    case 'r': snprintf(out, 64, "%02d:%02d:%02d %s", hour12, t->minute, t->second, t->hour < 12 ? "AM" : "PM"); break;
    case 'R': snprintf(out, 64, "%02d:%02d", t->hour, t->minute); break;
    case 'S': snprintf(out, 64, "%02d", t->second); break;
    case 't': snprintf(out, 64, "\t"); break;
    case 'T':
    case 'X': snprintf(out, 64, "%02d:%02d:%02d", t->hour, t->minute, t->second); break;
    case 'u': snprintf(out, 64, "%d", t->weekday + 1); break;
    case 'U': snprintf(out, 64, "%02d", (t->yearday - 1 + 7 - sunday) / 7); break;
    case 'V': snprintf(out, 64, "%02d", iso_week(t)); break;
    case 'w': snprintf(out, 64, "%d", sunday); break;
    case 'W': snprintf(out, 64, "%02d", (t->yearday - 1 + 7 - t->weekday) / 7); break;
    case 'y': snprintf(out, 64, "%02d", t->year % 100); break;
    case 'Y': snprintf(out, 64, "%d", t->year); break;
    case 'z':
    case 'Z': out[0] = 0; break; // a time without a zone
    case '%': snprintf(out, 64, "%%"); break;
    default: snprintf(out, 64, "%%%c", c);
    }
}

static hth_code call_strftime_now(ARGS) {
    jj_value a[1];
    (void)self;
    HTH_TRY(jj_bind(vm, "strftime_now", args, "format", 1, a));
    if (!jj_is_str(a[0])) return jj_fail(vm, JJ_TYPE_ERROR, "strftime() argument 1 must be str, not %s", jj_type_name(a[0]));
    hth_jinja_time now = vm->now ? *vm->now : hth_clock_local();
    const jj_str *s = a[0].u.s;
    jj_buf b = jj_buf_make(vm);
    for (uint32_t i = 0; i < s->n; i++) {
        char text[64];
        if (s->p[i] != '%' || i + 1 == s->n) {
            uint32_t end = i + 1;
            while (end < s->n && s->p[end] != '%') end++;
            HTH_TRY(jj_put_part(&b, s, i, end));
            i = end - 1;
            continue;
        }
        bool unpadded = s->p[i + 1] == '-' && i + 2 < s->n; // %-d, as the C library of Linux has it
        i += unpadded ? 2 : 1;
        print_directive(s->p[i], &now, text);
        const char *p = text;
        while (unpadded && (*p == '0' || *p == ' ') && p[1]) p++;
        HTH_TRY(jj_puts(&b, p));
    }
    b.n_char = jj_count(b.p, b.n);
    return jj_take(&b, out);
}

static const jj_filter_row rows[] = {
    {"range", call_range}, {"dict", call_dict}, {"lipsum", call_lipsum}, {"cycler", call_cycler},
    {"joiner", call_joiner}, {"namespace", call_namespace}, {"raise_exception", call_raise},
    {"strftime_now", call_strftime_now},
};

hth_code jj_add_globals(jj_vm *vm, jj_dict *to) {
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        jj_value name;
        HTH_TRY(jj_text(vm, rows[i].name, &name));
        union {
            const jj_filter_row *row;
            void *p;
        } u = {.row = &rows[i]}; // never written through
        HTH_TRY(jj_dict_set(vm, to, name, jj_pointer(HTH_JINJA_FUNCTION, u.p)));
    }
    return HTH_OK;
}

hth_code jj_call_function(jj_vm *vm, jj_value f, const jj_args *args, jj_value *out) {
    return ((const jj_filter_row *)f.u.p)->call(vm, f, args, out);
}

bool jj_is_callable(jj_value v) {
    switch (v.kind) {
    case HTH_JINJA_UNDEFINED: // has __call__, which fails
    case HTH_JINJA_MACRO:
    case HTH_JINJA_LOOP:
    case HTH_JINJA_FUNCTION:
    case HTH_JINJA_METHOD:
    case HTH_JINJA_JOINER: return true;
    case HTH_JINJA_BLOCK: return v.u.p != NULL;
    default: return false;
    }
}
