// Readers of the fields that several dialects share.
#include "server/ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"

void hth_ask_init(hth_ask *a) {
    memset(a, 0, sizeof *a);
    a->keep_alive_ms = HTH_KEEP_ALIVE_UNSET;
    a->sampling = hth_sampler_default();
}

// ---- sampling

typedef enum value_type { VALUE_FLOAT, VALUE_INT, VALUE_SEED } value_type;

typedef struct sampling_row {
    const char *names; // with a space around each
    size_t offset;
    value_type type;
    double lo, hi;
} sampling_row;

#define ROW(names_, field_, type_, lo_, hi_) \
    { names_, offsetof(hth_sampler_params, field_), type_, lo_, hi_ }

// A row's place is its bit in hth_ask.sampling_given.
static const sampling_row rows[] = {
    ROW(" temperature ", temperature, VALUE_FLOAT, 0, 1e6),
    ROW(" top_k ", top_k, VALUE_INT, -1, INT32_MAX),
    ROW(" top_p ", top_p, VALUE_FLOAT, 0, 1),
    ROW(" min_p ", min_p, VALUE_FLOAT, 0, 1),
    ROW(" seed ", seed, VALUE_SEED, 0, 0),
    ROW(" dynatemp_range ", dynatemp_range, VALUE_FLOAT, 0, 1e6),
    ROW(" dynatemp_exponent ", dynatemp_exponent, VALUE_FLOAT, -1e6, 1e6),
    ROW(" typical_p typ_p ", typical_p, VALUE_FLOAT, 0, 1),
    ROW(" top_n_sigma ", top_n_sigma, VALUE_FLOAT, -1, 1e6),
    ROW(" xtc_probability ", xtc_probability, VALUE_FLOAT, 0, 1),
    ROW(" xtc_threshold ", xtc_threshold, VALUE_FLOAT, 0, 1),
    ROW(" repeat_last_n ", penalty_last_n, VALUE_INT, -1, INT32_MAX),
    ROW(" repeat_penalty repetition_penalty ", repeat_penalty, VALUE_FLOAT, 0, 1e6),
    ROW(" presence_penalty ", presence_penalty, VALUE_FLOAT, -1e6, 1e6),
    ROW(" frequency_penalty ", frequency_penalty, VALUE_FLOAT, -1e6, 1e6),
    ROW(" dry_multiplier ", dry_multiplier, VALUE_FLOAT, 0, 1e6),
    ROW(" dry_base ", dry_base, VALUE_FLOAT, 0, 1e6),
    ROW(" dry_allowed_length ", dry_allowed_length, VALUE_INT, 0, INT32_MAX),
    ROW(" dry_penalty_last_n dry_last_n ", dry_last_n, VALUE_INT, -1, INT32_MAX),
    ROW(" mirostat mirostat_mode ", mirostat, VALUE_INT, 0, 2),
    ROW(" mirostat_tau ", mirostat_tau, VALUE_FLOAT, 0, 1e6),
    ROW(" mirostat_eta ", mirostat_eta, VALUE_FLOAT, 0, 1e6),
    ROW(" min_keep ", min_keep, VALUE_INT, 0, INT32_MAX),
};

static const sampling_row *find_row(const char *name) {
    char word[64];
    snprintf(word, sizeof word, " %s ", name);
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (strstr(rows[i].names, word)) return &rows[i];
    }
    return NULL;
}

static void set_value(const sampling_row *row, double d, const hth_json *v, hth_sampler_params *p) {
    char *at = (char *)p + row->offset;
    const float as_float = (float)d;
    const int32_t as_int = (int32_t)d;
    const uint64_t as_seed = v->is_int ? (uint64_t)v->u.num.i : (uint64_t)(int64_t)d;
    if (row->type == VALUE_FLOAT)
        memcpy(at, &as_float, sizeof as_float);
    else if (row->type == VALUE_INT)
        memcpy(at, &as_int, sizeof as_int);
    else
        memcpy(at, &as_seed, sizeof as_seed);
}

bool hth_ask_read_sampling(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    const sampling_row *row = find_row(f->row->name);
    if (!row) return hth_fields_refuse(f, "is not known to the sampler");
    if (v->kind != HTH_JSON_NUMBER) return hth_fields_refuse_kind(f, v, "a number");
    const double d = v->u.num.d;
    if (!isfinite(d)) return hth_fields_refuse(f, "must be a finite number");
    if (row->type != VALUE_FLOAT && (d != floor(d) || fabs(d) > 9.3e18))
        return hth_fields_refuse(f, "must be a whole number");
    if (row->lo != row->hi && (d < row->lo || d > row->hi)) {
        return hth_fields_refuse(f, "must be from %.10g to %.10g, not %.10g", row->lo, row->hi, d);
    }
    set_value(row, d, v, &a->sampling);
    a->sampling_given |= (uint64_t)1 << (row - rows);
    return true;
}

void hth_ask_lay_sampling(const hth_ask *a, hth_sampler_params *base) {
    static const size_t widths[] = {
        [VALUE_FLOAT] = sizeof(float), [VALUE_INT] = sizeof(int32_t), [VALUE_SEED] = sizeof(uint64_t)};
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        if (!(a->sampling_given >> i & 1)) continue;
        memcpy((char *)base + rows[i].offset, (const char *)&a->sampling + rows[i].offset,
               widths[rows[i].type]);
    }
    if (base->top_k < 0) base->top_k = 0; // all of them, as clients say it
    if (a->sampling.has_order) {
        base->has_order = true;
        memcpy(base->order, a->sampling.order, sizeof base->order);
        base->n_order = a->sampling.n_order;
    }
}

bool hth_ask_read_samplers(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    char order[512] = "";
    const hth_chat_text *names;
    size_t n, len = 0;
    hth_err err;
    if (!hth_fields_read_texts(f, v, &names, &n)) return false;
    for (size_t i = 0; i < n && len < sizeof order; i++) {
        len += (size_t)snprintf(order + len, sizeof order - len, "%s%.40s", i ? ";" : "", names[i].p);
    }
    if (hth_sampler_parse_order(order, &a->sampling, &err) == HTH_OK) return true;
    return hth_fields_refuse(f, "is no order of samplers: %s", err.msg);
}

// ---- the rest

bool hth_ask_read_stop(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    const hth_chat_text *texts;
    size_t n, n_stop = 0;
    if (!hth_fields_read_texts(f, v, &texts, &n)) return false;
    hth_bytes *stop = hth_arena_alloc(f->arena, n + 1, sizeof *stop);
    if (!stop) return hth_fields_no_memory(f);
    for (size_t i = 0; i < n; i++) {
        if (texts[i].n > 0) stop[n_stop++] = (hth_bytes){texts[i].p, texts[i].n}; // an empty one never comes
    }
    a->stop = stop;
    a->n_stop = n_stop;
    return true;
}

static bool read_bias_value(hth_fields *f, const hth_json *v, float *out) {
    const bool is_ban = v->kind == HTH_JSON_BOOL && !v->u.b;
    if (!is_ban && (v->kind != HTH_JSON_NUMBER || isnan(v->u.num.d)))
        return hth_fields_refuse_kind(f, v, "a number, or false");
    *out = is_ban ? -INFINITY : (float)v->u.num.d;
    return true;
}

// A key of an object: an id in digits, else the text whose tokens are meant.
static hth_ask_bias bias_of_key(const char *key, size_t n) {
    char *end;
    const long id = strtol(key, &end, 10);
    if (n > 0 && *end == 0 && key[0] >= '0' && key[0] <= '9' && id < INT32_MAX)
        return (hth_ask_bias){.token = (int32_t)id};
    return (hth_ask_bias){.text = {key, n}};
}

static bool read_bias_pair(hth_fields *f, const hth_json *v, hth_ask_bias *out) {
    if (v->kind != HTH_JSON_ARRAY || v->n != 2)
        return hth_fields_refuse(f, "must be a pair of a token and a number");
    const hth_json *token = &v->u.items[0];
    if (token->kind == HTH_JSON_STRING)
        *out = (hth_ask_bias){.text = {token->u.str, token->n}};
    else if (token->kind == HTH_JSON_NUMBER && token->is_int && token->u.num.i >= 0 &&
             token->u.num.i < INT32_MAX)
        *out = (hth_ask_bias){.token = (int32_t)token->u.num.i};
    else
        return hth_fields_refuse(f, "must begin with a token's id or a text");
    return read_bias_value(f, &v->u.items[1], &out->bias);
}

bool hth_ask_read_bias(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_OBJECT && v->kind != HTH_JSON_ARRAY)
        return hth_fields_refuse_kind(f, v, "an object or an array of pairs");
    hth_ask_bias *bias = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *bias);
    if (!bias) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const bool is_member = v->kind == HTH_JSON_OBJECT;
        const size_t mark =
            is_member ? hth_fields_enter(f, v->u.members[i].key) : hth_fields_enter_item(f, i);
        if (is_member) bias[i] = bias_of_key(v->u.members[i].key, v->u.members[i].key_len);
        if (is_member ? !read_bias_value(f, &v->u.members[i].value, &bias[i].bias)
                      : !read_bias_pair(f, &v->u.items[i], &bias[i]))
            return false;
        hth_fields_leave(f, mark);
    }
    a->bias = bias;
    a->n_bias = v->n;
    return true;
}

bool hth_ask_add_kwarg(hth_fields *f, hth_ask *a, const char *name, hth_jinja_value value) {
    hth_err err;
    if (a->kwargs.kind == HTH_JINJA_MISSING && hth_jinja_make_dict(f->arena, &a->kwargs, &err) != HTH_OK)
        return hth_fields_no_memory(f);
    if (hth_jinja_set(f->arena, &a->kwargs, name, strlen(name), HTH_JINJA_OF_TEMPLATE, value, &err) != HTH_OK)
        return hth_fields_no_memory(f);
    return true;
}

bool hth_ask_read_kwargs(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    hth_err err;
    if (v->kind != HTH_JSON_OBJECT) return hth_fields_refuse_kind(f, v, "an object");
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json_member *m = &v->u.members[i];
        hth_jinja_value value;
        if (strcmp(m->key, "enable_thinking") == 0 && m->value.kind == HTH_JSON_BOOL) {
            a->thinking = m->value.u.b ? HTH_THINK_ON : HTH_THINK_OFF;
        }
        if (strcmp(m->key, "thinking_budget") == 0 && m->value.kind == HTH_JSON_NUMBER && m->value.is_int && m->value.u.num.i > 0) {
            a->thinking_budget = m->value.u.num.i;
        }
        if (hth_jinja_from_json(f->arena, &m->value, f->text, f->n_text, HTH_JINJA_OF_CLIENT, &value, &err) !=
            HTH_OK) {
            return hth_fields_refuse(f, "cannot be given to the template: %s", err.msg);
        }
        if (!hth_ask_add_kwarg(f, a, m->key, value)) return false;
    }
    return true;
}

bool hth_ask_set_effort(hth_ask *a, hth_chat_text word) {
    static const char *const efforts[] = {"minimal", "low", "medium", "high", "xhigh", "max"};
    if (strcmp(word.p, "none") == 0 || strcmp(word.p, "off") == 0) {
        a->thinking = HTH_THINK_OFF;
        return true;
    }
    if (strcmp(word.p, "on") == 0 || strcmp(word.p, "auto") == 0) {
        a->thinking = word.p[0] == 'o' ? HTH_THINK_ON : HTH_THINK_DEFAULT;
        return true;
    }
    for (size_t i = 0; i < HTH_COUNT(efforts); i++) {
        if (strcmp(word.p, efforts[i]) != 0) continue;
        a->thinking = HTH_THINK_ON;
        a->effort = hth_chat_text_of(i < 3 ? efforts[i] : "high");
        return true;
    }
    return false;
}

bool hth_ask_read_think(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind == HTH_JSON_BOOL) {
        a->thinking = v->u.b ? HTH_THINK_ON : HTH_THINK_OFF;
        return true;
    }
    if (v->kind != HTH_JSON_STRING) return hth_fields_refuse_kind(f, v, "a boolean or an effort");
    if (hth_ask_set_effort(a, (hth_chat_text){v->u.str, v->n})) return true;
    return hth_fields_refuse(f, "must be one of none, minimal, low, medium, high, xhigh");
}

bool hth_ask_read_budget(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_NUMBER || !v->is_int) return hth_fields_refuse_kind(f, v, "a whole number");
    if (v->u.num.i < -1) return hth_fields_refuse(f, "must be a number of tokens, 0 for no thoughts, or -1 for no limit");
    if (v->u.num.i == 0) a->thinking = HTH_THINK_OFF;
    else a->thinking_budget = v->u.num.i;
    return true;
}

bool hth_ask_read_lora(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind != HTH_JSON_ARRAY) return hth_fields_refuse_kind(f, v, "an array");
    hth_ask_lora *list = hth_arena_alloc(f->arena, (size_t)v->n + 1, sizeof *list);
    if (!list) return hth_fields_no_memory(f);
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json *bad = NULL, *item = &v->u.items[i];
        const size_t mark = hth_fields_enter_item(f, i);
        list[i] = (hth_ask_lora){hth_json_int(item, "id", -1, &bad), hth_json_num(item, "scale", 0, &bad)};
        if (bad || item->kind != HTH_JSON_OBJECT || list[i].id < 0 || !(fabs(list[i].scale) < 1e6))
            return hth_fields_refuse(f, "must be an object with 'id' and 'scale'");
        hth_fields_leave(f, mark);
    }
    a->lora = list;
    a->n_lora = v->n;
    return true;
}

bool hth_ask_read_priority(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind == HTH_JSON_STRING && strcmp(v->u.str, "background") == 0)
        a->priority = HTH_PRIORITY_BACKGROUND;
    else if (v->kind != HTH_JSON_STRING || strcmp(v->u.str, "interactive") != 0)
        return hth_fields_refuse(f, "must be interactive or background");
    return true;
}

// Go's spelling of durations: numbers with units, one after the other.
static bool parse_duration(const char *p, int64_t *ms) {
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    const bool is_negative = *p == '-';
    double sum = 0;
    p += *p == '-' || *p == '+';
    do {
        char *end;
        if ((*p < '0' || *p > '9') && *p != '.') return false;
        const double number = strtod(p, &end);
        const size_t n = strcspn(end, "0123456789.");
        double unit = n == 0 && *end == 0 ? 1000 : 0; // a plain number is seconds
        for (size_t i = 0; i < HTH_COUNT(units); i++) {
            if (n > 0 && strlen(units[i].unit) == n && memcmp(units[i].unit, end, n) == 0) unit = units[i].ms;
        }
        if (unit == 0) return false;
        sum += number * unit;
        p = end + n;
    } while (*p);
    *ms = is_negative ? HTH_KEEP_ALIVE_FOREVER : sum < 9e15 ? (int64_t)sum : HTH_KEEP_ALIVE_FOREVER;
    return true;
}

bool hth_ask_read_keep_alive(hth_fields *f, const hth_json *v, void *to) {
    hth_ask *a = to;
    if (v->kind == HTH_JSON_NUMBER && isfinite(v->u.num.d)) {
        a->keep_alive_ms =
            v->u.num.d < 0 || v->u.num.d > 9e12 ? HTH_KEEP_ALIVE_FOREVER : (int64_t)(v->u.num.d * 1000);
        return true;
    }
    if (v->kind != HTH_JSON_STRING)
        return hth_fields_refuse_kind(f, v, "a duration such as \"5m\" or a number of seconds");
    if (parse_duration(v->u.str, &a->keep_alive_ms)) return true;
    return hth_fields_refuse(f, "must be a duration such as \"5m\", or a number of seconds");
}
