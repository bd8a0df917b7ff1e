// Values of settings: from text to their field, within their range.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/config_impl.h"

int hth_word_index(const char *words, const char *word, size_t n) {
    int i = 0;
    for (const char *p = words; p; i++) {
        size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, word, n) == 0) return i;
        p = p[len] ? p + len + 1 : NULL;
    }
    return -1;
}

// Nanoseconds of a Go unit at p, and its length; 0 where there is none.
static double unit_ms(const char *p, size_t left, size_t *len) {
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"ms", 1},
                 {"s", 1e3},   {"m", 6e4},   {"h", 3.6e6},        {"d", 8.64e7}};
    for (size_t i = 0; i < HTH_COUNT(units); i++) {
        *len = strlen(units[i].name);
        if (*len <= left && memcmp(p, units[i].name, *len) == 0) return units[i].ms;
    }
    return 0;
}

// A number of digits with at most one point, at *p; -1 where there is none.
static double take_number(const char **p, const char *end) {
    char digits[32];
    size_t n = 0;
    while (*p < end && n < sizeof digits - 1 && ((**p >= '0' && **p <= '9') || **p == '.'))
        digits[n++] = *(*p)++;
    digits[n] = 0;
    char *rest;
    double v = strtod(digits, &rest);
    return n == 0 || *rest ? -1 : v;
}

bool hth_duration_parse(const char *text, size_t n, int64_t *ms) {
    const char *p = text, *end = text + n;
    bool negative = p < end && *p == '-';
    if (negative || (p < end && *p == '+')) p++;
    double sum = 0;
    if (p == end) return false;
    while (p < end) {
        const double v = take_number(&p, end);
        size_t len = 0;
        // The unit may be missing where the number is all there is: seconds.
        const bool is_bare = p == end && sum == 0;
        const double unit = is_bare ? 1000 : unit_ms(p, (size_t)(end - p), &len);
        if (v < 0 || unit == 0) return false;
        sum += v * unit;
        p += len;
        if (is_bare) break;
    }
    if (!(sum < 9e15)) return false;
    *ms = negative && sum > 0 ? -1 : (int64_t)ceil(sum);
    return true;
}

// The end of a list of words, "a, b or c".
static void list_words(const char *words, char *to, size_t n) {
    hth_str s;
    hth_str_init(&s, HTH_MEM_MISC, n);
    for (const char *p = words; *p;) {
        size_t len = strcspn(p, "|");
        bool last = !p[len];
        hth_str_printf(&s, "%s%.*s", p == words ? "" : last ? " or " : ", ", (int)len, p);
        p += len + !last;
    }
    (void)snprintf(to, n, "%s", hth_str_text(&s));
    hth_str_free(&s);
}

static hth_code parse_bool(const char *where, const char *text, bool *out, hth_err *err) {
    static const char *const yes = "1|true|on|yes|enabled|True|TRUE|t|T",
                             *const no = "0|false|off|no|disabled|False|FALSE|f|F";
    size_t n = strlen(text);
    if (hth_word_index(yes, text, n) < 0 && hth_word_index(no, text, n) < 0) {
        return hth_fail(err, HTH_ERR_RANGE, "%s must be true or false, not '%s'", where, text);
    }
    *out = hth_word_index(yes, text, n) >= 0;
    return HTH_OK;
}

static hth_code parse_int(const hth_setting *s, const char *where, const char *text, int64_t *out,
                          hth_err *err) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || (double)v < s->lo || (double)v > s->hi) {
        return hth_fail(err, HTH_ERR_RANGE, "%s must be a whole number from %.0f to %.0f, not '%s'", where,
                        s->lo, s->hi, text);
    }
    *out = v;
    return HTH_OK;
}

static hth_code parse_num(const hth_setting *s, const char *where, const char *text, double *out,
                          hth_err *err) {
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || v < s->lo || v > s->hi) {
        return hth_fail(err, HTH_ERR_RANGE, "%s must be a number from %g to %g, not '%s'", where, s->lo,
                        s->hi, text);
    }
    *out = v;
    return HTH_OK;
}

// "8G", "500M", "64k", "1GiB": a number of bytes.
static hth_code parse_bytes(const char *where, const char *text, uint64_t *out, hth_err *err) {
    static const char units[] = "kMGT";
    char *end;
    double v = strtod(text, &end);
    const bool has_number = end != text && v >= 0;
    const char *unit = *end == 'K' ? units : *end ? strchr(units, *end) : NULL;
    const double step = unit && end[1] == 'i' ? 1024 : 1000;
    for (const char *u = units; unit && u <= unit; u++) v *= step;
    if (unit) end += 1 + (end[1] == 'i');
    if (*end == 'B') end++;
    if (!has_number || *end || !(v < 1e18)) {
        return hth_fail(err, HTH_ERR_RANGE, "%s must be a size like 500M or 8G, not '%s'", where, text);
    }
    *out = (uint64_t)v;
    return HTH_OK;
}

static hth_code parse_choice(const hth_setting *s, const char *where, const char *text, int *out,
                             hth_err *err) {
    char words[128];
    *out = hth_word_index(s->choices, text, strlen(text));
    if (*out >= 0) return HTH_OK;
    list_words(s->choices, words, sizeof words);
    return hth_fail(err, HTH_ERR_RANGE, "%s must be %s, not '%s'", where, words, text);
}

static hth_code keep_text(hth_config *c, const char *text, size_t n, const char **out, hth_err *err) {
    *out = hth_arena_strndup(&c->arena, text, n);
    return *out ? HTH_OK : hth_fail_nomem(err, n);
}

static hth_code add_item(hth_config *c, hth_config_list *list, const char *where, const char *text, size_t n,
                         hth_err *err) {
    while (n > 0 && *text == ' ') text++, n--;
    while (n > 0 && text[n - 1] == ' ') n--;
    if (n == 0) return HTH_OK;
    if (list->n == HTH_CONFIG_MAX_LIST)
        return hth_fail(err, HTH_ERR_RANGE, "%s: more than %d entries", where, HTH_CONFIG_MAX_LIST);
    HTH_TRY(keep_text(c, text, n, &list->items[list->n], err));
    list->n++;
    return HTH_OK;
}

static hth_code store_list(hth_config *c, const hth_setting *s, const char *where, const char *text,
                           hth_err *err) {
    hth_config_list *list = (void *)((char *)c + s->offset);
    if (s->kind == SET_LIST) return add_item(c, list, where, text, strlen(text), err);
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        HTH_TRY(add_item(c, list, where, p, n, err));
        p += n;
        if (!*p) return HTH_OK;
    }
}

static hth_code note_idle(hth_config *c, const char *where, const char *text, const hth_setting *s,
                          hth_err *err) {
    if (s->choices && hth_word_index(s->choices, text, strlen(text)) >= 0) return HTH_OK;
    char note[512];
    int n = snprintf(note, sizeof note, "%s has no effect: %s", where, s->help);
    if (n < 0 || c->notes.n == HTH_CONFIG_MAX_LIST) return HTH_OK;
    if ((size_t)n >= sizeof note) n = sizeof note - 1;
    HTH_TRY(keep_text(c, note, (size_t)n, &c->notes.items[c->notes.n], err));
    c->notes.n++;
    return HTH_OK;
}

static hth_code store_cache(hth_config *c, const hth_setting *s, const char *where, const char *text,
                            hth_err *err) {
    int64_t mib;
    HTH_TRY(parse_int(s, where, text, &mib, err));
    c->cache = mib != 0;
    if (mib <= 0) return HTH_OK;
    return note_idle(c, where, text, &(hth_setting){.help = "what is kept takes the memory that is free"},
                     err);
}

static hth_code store_value(hth_config *c, const hth_setting *s, const char *text, const char *where,
                            hth_err *err) {
    void *to = (char *)c + s->offset;
    int i = 0;
    bool on = false;
    switch (s->kind) {
    case SET_BOOL: return parse_bool(where, text, to, err);
    case SET_INT: return parse_int(s, where, text, to, err);
    case SET_NUM: return parse_num(s, where, text, to, err);
    case SET_BYTES: return parse_bytes(where, text, to, err);
    case SET_CACHE: return store_cache(c, s, where, text, err);
    case SET_TIME:
        if (hth_duration_parse(text, strlen(text), to)) return HTH_OK;
        return hth_fail(err, HTH_ERR_RANGE, "%s must be a time like 30s, 5m or 1h, not '%s'", where, text);
    case SET_TEXT: return keep_text(c, text, strlen(text), to, err);
    case SET_NAME:
        HTH_TRY(parse_choice(s, where, text, &i, err));
        return keep_text(c, text, strlen(text), to, err);
    case SET_CHOICE: return parse_choice(s, where, text, to, err);
    case SET_LIST:
    case SET_COMMAS: return store_list(c, s, where, text, err);
    case SET_TO:
        HTH_TRY(parse_bool(where, text, &on, err));
        if (on) *(int *)to = (int)s->lo;
        return HTH_OK;
    case SET_IDLE:
    case SET_IDLE_FLAG: return note_idle(c, where, text, s, err);
    case SET_REFUSED:
    case SET_REFUSED_FLAG: break;
    }
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "%s cannot be used: %s", where, s->help);
}

hth_code hth_setting_store(hth_config *c, const hth_setting *s, const char *text, hth_config_origin from,
                           const char *where, hth_err *err) {
    const size_t i = (size_t)(s - hth_settings);
    if (c->origin[i] > from) return HTH_OK;
    if ((s->kind == SET_LIST || s->kind == SET_COMMAS) && c->origin[i] < from) {
        ((hth_config_list *)(void *)((char *)c + s->offset))->n = 0; // a list is replaced, not mixed
    }
    HTH_TRY(store_value(c, s, text, where, err));
    HTH_TRY(keep_text(c, where, strlen(where), &c->origin_of[i], err));
    c->origin[i] = (uint8_t)from;
    return HTH_OK;
}

hth_code hth_setting_switch(hth_config *c, const hth_setting *s, bool on, hth_config_origin from,
                            const char *where, hth_err *err) {
    return hth_setting_store(c, s, on ? "on" : "off", from, where, err);
}

// Splits "host:port", "[v6]:port", "v6", ":port" or "host".
static void split_port(const char *text, size_t n, size_t *n_host, const char **port, size_t *n_port) {
    const char *colon = memchr(text, ':', n), *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ':') last = text + i;
    }
    const char *bracket = n > 0 && text[0] == '[' ? memchr(text, ']', n) : NULL;
    *n_host = n, *port = NULL, *n_port = 0;
    if (bracket ? last < bracket : colon != last) return; // the colons of an IPv6 address
    if (!last) return;
    *n_host = (size_t)(last - text);
    *port = last + 1;
    *n_port = n - *n_host - 1;
}

hth_code hth_config_ollama_host(hth_config *c, const char *text, hth_err *err) {
    size_t n = strlen(text), n_host, n_port;
    while (n > 0 && strchr(" \"'", text[0])) text++, n--;
    while (n > 0 && strchr(" \"'", text[n - 1])) n--;
    if (n == 0) return HTH_OK;
    const char *scheme = strstr(text, "://"), *port, *where = "variable OLLAMA_HOST";
    int64_t number = 11434;
    if (scheme && scheme < text + n) {
        const size_t len = (size_t)(scheme - text);
        const bool https = len == 5 && memcmp(text, "https", 5) == 0;
        if (!https && !(len == 4 && memcmp(text, "http", 4) == 0)) {
            return hth_fail(err, HTH_ERR_RANGE, "%s: '%.*s' is neither http nor https", where, (int)len,
                            text);
        }
        number = https ? 443 : 80;
        c->tls = c->tls || https;
        text += len + 3;
        n -= len + 3;
    }
    const char *slash = memchr(text, '/', n);
    if (slash) n = (size_t)(slash - text); // a path is for clients
    split_port(text, n, &n_host, &port, &n_port);
    if (port) {
        char digits[16];
        const hth_setting range = {.hi = 65535};
        (void)snprintf(digits, sizeof digits, "%.*s", (int)(n_port < 15 ? n_port : 15), port);
        HTH_TRY(parse_int(&range, "the port of variable OLLAMA_HOST", digits, &number, err));
    }
    if (n_host > 1 && text[0] == '[') text++, n_host -= 2;
    const char *host = "0.0.0.0"; // ":11434" is every address
    if (n_host > 0)
        HTH_TRY(keep_text(c, text, n_host, &host, err));
    else if (!port)
        host = "127.0.0.1";
    c->host = host;
    c->port = number;
    return HTH_OK;
}
