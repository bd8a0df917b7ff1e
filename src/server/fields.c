// The reader of tables. Objects in requests have some tens of members at most that anybody knows, so rows are
// searched one by one.
#include "server/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"

// ---- paths

static size_t enter(hth_fields *f, const char *fmt, ...) HTH_PRINTF(2, 3);
static size_t enter(hth_fields *f, const char *fmt, ...) {
    const size_t mark = strlen(f->path);
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->path + mark, sizeof f->path - mark, fmt, args);
    va_end(args);
    return mark;
}

// A name that came from outside may be long, or hold anything.
static void clean(char *text) {
    for (char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f) *p = '?';
    }
}

size_t hth_fields_enter(hth_fields *f, const char *key) {
    const size_t mark = enter(f, f->path[0] ? ".%.60s" : "%.60s", key);
    clean(f->path + mark);
    return mark;
}

size_t hth_fields_enter_item(hth_fields *f, size_t i) {
    return enter(f, "[%zu]", i);
}

void hth_fields_leave(hth_fields *f, size_t mark) {
    f->path[mark] = 0;
}

// ---- refusals

const char *hth_json_kind_word(const hth_json *v) {
    if (!v) return "nothing";
    switch (v->kind) {
    case HTH_JSON_NULL: return "null";
    case HTH_JSON_BOOL: return "a boolean";
    case HTH_JSON_NUMBER: return "a number";
    case HTH_JSON_STRING: return "a string";
    case HTH_JSON_ARRAY: return "an array";
    default: return "an object";
    }
}

bool hth_fields_refuse(hth_fields *f, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (f->path[0] == 0) return hth_refuse(f->fault, HTH_FAULT_BAD_REQUEST, NULL, "the request %s", text);
    return hth_refuse(f->fault, HTH_FAULT_BAD_REQUEST, f->path, "'%s' %s", f->path, text);
}

bool hth_fields_refuse_kind(hth_fields *f, const hth_json *v, const char *expected) {
    return hth_fields_refuse(f, "must be %s, not %s", expected, hth_json_kind_word(v));
}

void hth_fields_ignore(hth_fields *f, const char *name) {
    const size_t n = strlen(f->ignored), room = sizeof f->ignored - n;
    const size_t need = strlen(name) + 2;
    if (need >= room || need > 80) return;
    snprintf(f->ignored + n, room, "%s%s", n > 0 ? ", " : "", name);
    clean(f->ignored + n);
}

// ---- values

static bool read_int(hth_fields *f, const hth_field *row, const hth_json *v, void *to) {
    const bool is_whole = v->kind == HTH_JSON_NUMBER &&
                          (v->is_int || (v->u.num.d == floor(v->u.num.d) && fabs(v->u.num.d) < 9e15));
    if (!is_whole) return hth_fields_refuse_kind(f, v, "a whole number");
    const int64_t i = v->is_int ? v->u.num.i : (int64_t)v->u.num.d;
    if (row->lo != row->hi && ((double)i < row->lo || (double)i > row->hi)) {
        return hth_fields_refuse(f, "must be from %.15g to %.15g, not %lld", row->lo, row->hi, (long long)i);
    }
    *(int64_t *)to = i;
    return true;
}

static bool read_num(hth_fields *f, const hth_field *row, const hth_json *v, void *to) {
    if (v->kind != HTH_JSON_NUMBER) return hth_fields_refuse_kind(f, v, "a number");
    const double d = v->u.num.d;
    if (!isfinite(d)) return hth_fields_refuse(f, "must be a finite number");
    if (row->lo != row->hi && (d < row->lo || d > row->hi)) {
        return hth_fields_refuse(f, "must be from %.15g to %.15g, not %.15g", row->lo, row->hi, d);
    }
    *(double *)to = d;
    return true;
}

static bool read_word(hth_fields *f, const hth_field *row, const hth_json *v, void *to) {
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
    int i = 0;
    for (const char *at = row->words; *at; i++) {
        const size_t n = strcspn(at, "|");
        if (n == v->n && memcmp(at, v->u.str, n) == 0) {
            *(int *)to = i;
            return true;
        }
        at += n + (at[n] == '|');
    }
    return hth_fields_refuse(f, "must be one of %s", row->words);
}

bool hth_fields_no_memory(hth_fields *f) {
    return hth_refuse(f->fault, HTH_FAULT_NO_MEMORY, NULL, "no memory to read the request");
}

bool hth_fields_need_text(hth_fields *f, const hth_json *v, const char *key, hth_chat_text *out) {
    const hth_json *m = hth_json_get(v, key);
    const size_t mark = hth_fields_enter(f, key);
    if (!m) return hth_fields_refuse(f, "is required");
    if (m->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, m, "a string");
    hth_fields_leave(f, mark);
    *out = hth_json_text(m);
    return true;
}

hth_chat_text hth_fields_source(const hth_fields *f, const hth_json *v) {
    return (hth_chat_text){f->text + v->pos, hth_json_extent(f->text, f->n_text, v)};
}

bool hth_fields_read_ids(hth_fields *f, const hth_json *v, int64_t lo, int64_t hi, const int32_t **out,
                         size_t *n) {
    const hth_json *items = v->kind == HTH_JSON_ARRAY ? v->u.items : v;
    *n = v->kind == HTH_JSON_ARRAY ? v->n : 1;
    int32_t *ids = hth_arena_alloc(f->arena, *n + 1, sizeof *ids);
    if (!ids) return hth_fields_no_memory(f);
    for (size_t i = 0; i < *n; i++) {
        if (items[i].kind == HTH_JSON_NUMBER && items[i].is_int && items[i].u.num.i >= lo &&
            items[i].u.num.i <= hi) {
            ids[i] = (int32_t)items[i].u.num.i;
            continue;
        }
        if (v->kind == HTH_JSON_ARRAY) (void)hth_fields_enter_item(f, i);
        return hth_fields_refuse(f, "must be a whole number from %lld to %lld", (long long)lo, (long long)hi);
    }
    *out = ids;
    return true;
}

bool hth_fields_read_texts(hth_fields *f, const hth_json *v, const hth_chat_text **out, size_t *n) {
    const hth_json *items = v->kind == HTH_JSON_ARRAY ? v->u.items : v;
    *n = v->kind == HTH_JSON_ARRAY ? v->n : 1;
    hth_chat_text *texts = hth_arena_alloc(f->arena, *n + 1, sizeof *texts);
    if (!texts) return hth_fields_no_memory(f);
    for (size_t i = 0; i < *n; i++) {
        texts[i] = (hth_chat_text){items[i].u.str, items[i].n};
        if (items[i].kind == HTH_JSON_STRING) continue;
        if (v->kind == HTH_JSON_ARRAY) (void)hth_fields_enter_item(f, i);
        return hth_fields_refuse_kind(
            f, &items[i], v->kind == HTH_JSON_ARRAY ? "a string" : "a string or an array of strings");
    }
    *out = texts;
    return true;
}

// Whether a value asks for nothing, so that refusing it would only annoy.
static bool asks_nothing(const hth_json *v) {
    if (v->kind == HTH_JSON_BOOL) return !v->u.b;
    if (v->kind == HTH_JSON_NUMBER) return v->u.num.d == 0;
    return v->n == 0;
}

static bool read_value(hth_fields *f, const hth_field *row, const hth_json *v, void *to) {
    void *at = (char *)to + row->offset;
    switch (row->kind) {
    case HTH_FIELD_BOOL:
        if (v->kind != HTH_JSON_BOOL) return hth_fields_refuse_kind(f, v, "a boolean");
        *(bool *)at = v->u.b != row->negated;
        return true;
    case HTH_FIELD_INT: return read_int(f, row, v, at);
    case HTH_FIELD_NUM: return read_num(f, row, v, at);
    case HTH_FIELD_TEXT:
        if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a string");
        *(hth_chat_text *)at = hth_json_text(v);
        return true;
    case HTH_FIELD_WORD: return read_word(f, row, v, at);
    case HTH_FIELD_CUSTOM: f->row = row; return row->read(f, v, to);
    case HTH_FIELD_IGNORED: hth_fields_ignore(f, row->name); return true;
    case HTH_FIELD_REFUSED:
        if (asks_nothing(v)) return true;
        return hth_refuse(f->fault, HTH_FAULT_UNSUPPORTED, f->path, "'%s' is not supported: %s", f->path,
                          row->help);
    }
    return true;
}

static const hth_field *find_row(const hth_field *table, size_t n, const hth_json_member *m) {
    for (size_t i = 0; i < n; i++) {
        if (strlen(table[i].name) == m->key_len && memcmp(table[i].name, m->key, m->key_len) == 0)
            return &table[i];
    }
    return NULL;
}

bool hth_fields_read(hth_fields *f, const hth_field *table, size_t n, const hth_json *v, void *to) {
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    for (size_t i = 0; i < n; i++) {
        const hth_json *value = table[i].required ? hth_json_get(v, table[i].name) : v;
        if (value && (value->kind != HTH_JSON_NULL || value == v)) continue;
        const size_t mark = hth_fields_enter(f, table[i].name);
        (void)hth_fields_refuse(f, "is required");
        hth_fields_leave(f, mark);
        return false;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json_member *m = &v->u.members[i];
        const hth_field *row = find_row(table, n, m);
        if (!row) hth_fields_ignore(f, m->key);
        if (!row || m->value.kind == HTH_JSON_NULL) continue;
        const size_t mark = hth_fields_enter(f, m->key);
        if (!read_value(f, row, &m->value, to)) return false;
        if (row->given) *((bool *)((char *)to + row->given - 1)) = true;
        hth_fields_leave(f, mark);
    }
    return true;
}
