// A JSON document as a tree, in one pass and without recursion. Values under construction lie on a
// stack of slots; when a container closes, its slots move to the arena, where children are contiguous.
// Strings go to one pool as large as the text: unescaping never lengthens, and the two quotes pay for
// the terminating zero, so the pool cannot overflow.
#include "formats/json.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "formats/extent.h"
#include "formats/json_impl.h"
#include "formats/utf8.h"

#define POOL_SLACK 8    // strings are copied in words
#define DUP_BY_PAIRS 12 // members up to which keys are compared pair by pair

struct hth_json_doc {
    hth_arena arena;
    char *pool; // owned
    hth_json root;
};

typedef struct frame {
    bool is_object;
    size_t slot;  // of the container itself
    size_t first; // slot of the first child
} frame;

typedef struct key_slot {
    uint32_t hash;
    uint32_t member; // index + 1; 0 is free
} key_slot;

typedef struct parser {
    const uint8_t *text;
    size_t n, at;
    uint64_t base; // position of text[0] in its file
    hth_err *err;
    hth_json_doc *doc;
    size_t pool_used;
    hth_json_member *slots; // owned
    size_t n_slot, cap_slot, max_slot;
    key_slot *keys; // owned; scratch of the duplicate check
    size_t cap_keys;
    int depth;
    frame frames[HTH_JSON_MAX_DEPTH];
} parser;

static hth_code fail_json(parser *p, size_t at, const char *what) {
    if (at >= p->n) {
        return hth_fail_at(p->err, HTH_ERR_FORMAT, p->base + p->n,
                           "not valid JSON: the text ends too early, %s", what);
    }
    return hth_fail_at(p->err, HTH_ERR_FORMAT, p->base + at, "not valid JSON: %s", what);
}

static hth_code fail_limit(parser *p) {
    return hth_fail_at(p->err, HTH_ERR_LIMIT, p->base + p->at,
                       "this JSON needs more memory than it may take");
}

static void skip_space(parser *p) {
    while (p->at < p->n) {
        uint8_t c = p->text[p->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
        p->at++;
    }
}

static int peek(const parser *p) {
    return p->at < p->n ? p->text[p->at] : -1;
}

// ---- strings

static bool has_special(uint64_t x) {
    const uint64_t ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
    uint64_t quote = x ^ (ones * '"'), slash = x ^ (ones * '\\');
    return (((quote - ones) | (slash - ones) | (x - ones * 0x20) | x) & high) !=
           0; // may be true needlessly, after 0x80
}

static bool read_hex4(const uint8_t *s, const uint8_t *end, uint32_t *out) {
    uint32_t v = 0;
    if (end - s < 4) return false;
    for (int i = 0; i < 4; i++) {
        uint8_t c = s[i], low = c | 0x20;
        if (c >= '0' && c <= '9') {
            v = v * 16 + (uint32_t)(c - '0');
        } else if (low >= 'a' && low <= 'f') {
            v = v * 16 + (uint32_t)(low - 'a' + 10);
        } else {
            return false;
        }
    }
    *out = v;
    return true;
}

static char *put_utf8(char *d, uint32_t c) {
    if (c < 0x80) {
        *d++ = (char)c;
    } else if (c < 0x800) {
        *d++ = (char)(0xc0 | c >> 6);
        *d++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *d++ = (char)(0xe0 | c >> 12);
        *d++ = (char)(0x80 | (c >> 6 & 0x3f));
        *d++ = (char)(0x80 | (c & 0x3f));
    } else {
        *d++ = (char)(0xf0 | c >> 18);
        *d++ = (char)(0x80 | (c >> 12 & 0x3f));
        *d++ = (char)(0x80 | (c >> 6 & 0x3f));
        *d++ = (char)(0x80 | (c & 0x3f));
    }
    return d;
}

// Reads \uXXXX, or the pair that a character above U+FFFF takes; s points behind the backslash.
static hth_code read_unicode(parser *p, const uint8_t **s, char **d) {
    const uint8_t *end = p->text + p->n;
    size_t at = (size_t)(*s - p->text) - 1;
    uint32_t c, low;
    if (!read_hex4(*s + 1, end, &c)) return fail_json(p, at, "\\u needs four hexadecimal digits");
    *s += 5;
    if (c >= 0xd800 && c <= 0xdfff) {
        bool is_pair = c < 0xdc00 && end - *s >= 6 && (*s)[0] == '\\' && (*s)[1] == 'u' &&
                       read_hex4(*s + 2, end, &low) && low >= 0xdc00 && low <= 0xdfff;
        if (!is_pair) return fail_json(p, at, "half of a surrogate pair alone is no character");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        *s += 6;
    }
    *d = put_utf8(*d, c);
    return HTH_OK;
}

static hth_code read_escape(parser *p, const uint8_t **s, char **d) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t at = (size_t)(*s - p->text);
    if (++*s >= p->text + p->n) return fail_json(p, p->n, "inside a string");
    if (**s == 'u') return read_unicode(p, s, d);
    const char *hit = **s ? strchr(from, **s) : NULL;
    if (!hit) return fail_json(p, at, "unknown escape in a string");
    *(*d)++ = to[hit - from];
    ++*s;
    return HTH_OK;
}

// Reads the string whose opening quote is at p->at into the pool.
static hth_code read_string(parser *p, const char **out, uint32_t *n) {
    const uint8_t *s = p->text + p->at + 1, *end = p->text + p->n;
    char *first = p->doc->pool + p->pool_used, *d = first;
    for (;;) {
        uint64_t word;
        while (end - s >= 8 && (memcpy(&word, s, 8), !has_special(word))) {
            memcpy(d, &word, 8);
            s += 8;
            d += 8;
        }
        while (s < end && *s >= 0x20 && *s < 0x80 && *s != '"' && *s != '\\') *d++ = (char)*s++;
        if (s >= end) return fail_json(p, p->n, "inside a string");
        if (*s == '"') break;
        if (*s == '\\') {
            HTH_TRY(read_escape(p, &s, &d));
            continue;
        }
        size_t at = (size_t)(s - p->text);
        if (*s < 0x20) return fail_json(p, at, "a control character in a string must be escaped");
        unsigned len = hth_utf8_len(s, (size_t)(end - s));
        if (len == 0) return fail_json(p, at, "invalid UTF-8 in a string");
        for (; len > 0; len--) *d++ = (char)*s++;
    }
    *d = 0;
    *out = first;
    *n = (uint32_t)(d - first);
    p->pool_used += (size_t)(d - first) + 1;
    p->at = (size_t)(s - p->text) + 1;
    return HTH_OK;
}

// ---- keys

static bool same_key(const hth_json_member *a, const hth_json_member *b) {
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

static hth_code fail_duplicate(parser *p, const hth_json_member *m) {
    hth_shown key = hth_show_name(m->key, m->key_len);
    return hth_fail_at(p->err, HTH_ERR_FORMAT, m->value.pos,
                       "not valid JSON here: the key '%s' appears twice", key.text);
}

// A fresh table of at least 2n slots, in memory that is kept from object to object.
static bool reset_keys(parser *p, size_t n, size_t *n_slot) {
    size_t want = 64;
    while (want < 2 * n) want *= 2;
    if (want > p->cap_keys) {
        hth_free(p->keys);
        p->keys = hth_alloc(HTH_MEM_FORMAT, want * sizeof *p->keys);
        p->cap_keys = p->keys ? want : 0;
    }
    if (p->keys) memset(p->keys, 0, want * sizeof *p->keys);
    *n_slot = want;
    return p->keys != NULL;
}

static hth_code check_keys_hashed(parser *p, const hth_json_member *m, size_t n) {
    size_t n_slot;
    if (!reset_keys(p, n, &n_slot)) return hth_fail_nomem(p->err, 4 * n * sizeof *p->keys);
    uint64_t seed = (uint64_t)(uintptr_t)p->doc; // unknown to the author of the file
    for (size_t i = 0; i < n; i++) {
        uint64_t full = hth_hash(m[i].key, m[i].key_len, seed);
        uint32_t hash = (uint32_t)(full >> 32);
        size_t at = (size_t)full & (n_slot - 1);
        for (; p->keys[at].member != 0; at = (at + 1) & (n_slot - 1)) {
            if (p->keys[at].hash == hash && same_key(&m[p->keys[at].member - 1], &m[i])) {
                return fail_duplicate(p, &m[i]);
            }
        }
        p->keys[at] = (key_slot){.hash = hash, .member = (uint32_t)i + 1};
    }
    return HTH_OK;
}

static hth_code check_keys(parser *p, const hth_json_member *m, size_t n) {
    if (n > DUP_BY_PAIRS) return check_keys_hashed(p, m, n);
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (same_key(&m[i], &m[j])) return fail_duplicate(p, &m[i]);
        }
    }
    return HTH_OK;
}

// ---- values

// Makes the slot that the next value goes into.
static hth_code push_slot(parser *p, const char *key, uint32_t key_len) {
    if (p->n_slot == p->cap_slot) {
        if (p->n_slot >= p->max_slot) return fail_limit(p);
        if (!hth_grow(HTH_MEM_FORMAT, (void **)&p->slots, &p->cap_slot, p->n_slot + 1, sizeof *p->slots,
                      p->max_slot)) {
            return hth_fail_nomem(p->err, 2 * p->n_slot * sizeof *p->slots);
        }
    }
    p->slots[p->n_slot++] =
        (hth_json_member){.key = key, .key_len = key_len, .value = {.pos = p->base + p->at}};
    return HTH_OK;
}

// Reads up to the value of the next child: for an object its key and colon.
static hth_code begin_child(parser *p) {
    const char *key = NULL;
    uint32_t key_len = 0;
    skip_space(p);
    if (p->frames[p->depth - 1].is_object) {
        if (peek(p) != '"') return fail_json(p, p->at, "a key in quotes was expected");
        HTH_TRY(read_string(p, &key, &key_len));
        skip_space(p);
        if (peek(p) != ':') return fail_json(p, p->at, "':' was expected");
        p->at++;
        skip_space(p);
    }
    return push_slot(p, key, key_len);
}

static hth_code fail_arena(parser *p, size_t n_bytes) {
    uint64_t left = p->doc->arena.max_bytes - p->doc->arena.total_bytes;
    return n_bytes > left ? fail_limit(p) : hth_fail_nomem(p->err, n_bytes);
}

// Moves the children of the innermost container to the arena and steps over its bracket.
static hth_code close_container(parser *p) {
    frame f = p->frames[--p->depth];
    const hth_json_member *from = p->slots + f.first;
    size_t n = p->n_slot - f.first;
    hth_json *v = &p->slots[f.slot].value;
    v->n = (uint32_t)n;
    if (f.is_object) {
        HTH_TRY(check_keys(p, from, n));
        hth_json_member *to = hth_arena_alloc(&p->doc->arena, n, sizeof *to);
        if (!to) return fail_arena(p, n * sizeof *to);
        if (n) memcpy(to, from, n * sizeof *to);
        v->u.members = to;
    } else {
        hth_json *to = hth_arena_alloc(&p->doc->arena, n, sizeof *to);
        if (!to) return fail_arena(p, n * sizeof *to);
        for (size_t i = 0; i < n; i++) to[i] = from[i].value;
        v->u.items = to;
    }
    p->n_slot = f.first;
    p->at++;
    return HTH_OK;
}

// Steps into '[' or '{'. *is_open is false when the container is empty and already closed.
static hth_code open_container(parser *p, bool is_object, bool *is_open) {
    if (p->depth == HTH_JSON_MAX_DEPTH) {
        return hth_fail_at(p->err, HTH_ERR_LIMIT, p->base + p->at, "this JSON is nested more than %d deep",
                           HTH_JSON_MAX_DEPTH);
    }
    p->slots[p->n_slot - 1].value.kind = is_object ? HTH_JSON_OBJECT : HTH_JSON_ARRAY;
    p->frames[p->depth++] = (frame){.is_object = is_object, .slot = p->n_slot - 1, .first = p->n_slot};
    p->at++;
    skip_space(p);
    *is_open = peek(p) != (is_object ? '}' : ']');
    return *is_open ? HTH_OK : close_container(p);
}

static hth_code read_number(parser *p, hth_json *v) {
    hth_json_number number = hth_json_read_number(p->text + p->at, p->n - p->at);
    if (number.len == 0) return fail_json(p, p->at, "malformed number");
    if (isinf(number.d)) return fail_json(p, p->at, "this number is too large");
    v->kind = HTH_JSON_NUMBER;
    v->is_int = number.is_int;
    v->u.num.d = number.d;
    v->u.num.i = number.i;
    p->at += number.len;
    return HTH_OK;
}

static bool take_word(parser *p, const char *word) {
    size_t n = strlen(word);
    if (p->n - p->at < n || memcmp(p->text + p->at, word, n) != 0) return false;
    p->at += n;
    return true;
}

// true, false, null, and the numbers that only Python writes.
static hth_code read_word(parser *p, hth_json *v) {
    static const struct {
        const char *word;
        hth_json_kind kind;
        bool b;
        double d;
    } words[] = {{"null", HTH_JSON_NULL, false, 0},
                 {"true", HTH_JSON_BOOL, true, 0},
                 {"false", HTH_JSON_BOOL, false, 0},
                 {"NaN", HTH_JSON_NUMBER, false, (double)NAN},
                 {"Infinity", HTH_JSON_NUMBER, false, (double)INFINITY},
                 {"-Infinity", HTH_JSON_NUMBER, false, -(double)INFINITY}};
    for (size_t i = 0; i < HTH_COUNT(words); i++) {
        if (!take_word(p, words[i].word)) continue;
        v->kind = words[i].kind;
        if (v->kind == HTH_JSON_BOOL) v->u.b = words[i].b;
        if (v->kind == HTH_JSON_NUMBER) v->u.num.d = words[i].d;
        return HTH_OK;
    }
    return fail_json(p, p->at, "a value was expected");
}

// Reads the value of the top slot, or opens it when it is a container with children.
static hth_code read_value(parser *p, bool *is_open) {
    hth_json *v = &p->slots[p->n_slot - 1].value;
    *is_open = false;
    int c = peek(p);
    if (c == '{' || c == '[') return open_container(p, c == '{', is_open);
    if (c == '"') {
        v->kind = HTH_JSON_STRING;
        return read_string(p, &v->u.str, &v->n);
    }
    if ((c >= '0' && c <= '9') || (c == '-' && (p->n - p->at < 2 || p->text[p->at + 1] != 'I'))) {
        return read_number(p, v);
    }
    return read_word(p, v);
}

// After a whole value: closes what ends here and goes on to the next child, if any.
static hth_code finish_value(parser *p) {
    while (p->depth > 0) {
        bool is_object = p->frames[p->depth - 1].is_object;
        skip_space(p);
        int c = peek(p);
        if (c == ',') {
            p->at++;
            return begin_child(p);
        }
        if (c != (is_object ? '}' : ']')) {
            return fail_json(p, p->at, is_object ? "',' or '}' was expected" : "',' or ']' was expected");
        }
        HTH_TRY(close_container(p));
    }
    return HTH_OK;
}

static hth_code parse_document(parser *p) {
    bool is_open;
    if (p->n >= 3 && memcmp(p->text, "\xef\xbb\xbf", 3) == 0) {
        return fail_json(p, 0, "it begins with a byte order mark");
    }
    skip_space(p);
    HTH_TRY(push_slot(p, NULL, 0));
    do {
        HTH_TRY(read_value(p, &is_open));
        HTH_TRY(is_open ? begin_child(p) : finish_value(p));
    } while (p->depth > 0);
    skip_space(p);
    if (p->at < p->n) return fail_json(p, p->at, "something follows the end of the document");
    p->doc->root = p->slots[0].value;
    return HTH_OK;
}

static hth_code new_doc(size_t n, uint64_t max_bytes, hth_json_doc **out, hth_err *err) {
    if (n > UINT32_MAX - POOL_SLACK || n + POOL_SLACK > max_bytes) {
        return hth_fail(err, HTH_ERR_LIMIT, "this JSON of %zu bytes is larger than it may be", n);
    }
    hth_json_doc *doc = hth_calloc(HTH_MEM_FORMAT, 1, sizeof *doc);
    char *pool = hth_alloc(HTH_MEM_FORMAT, n + POOL_SLACK);
    if (!doc || !pool) {
        hth_free(doc);
        hth_free(pool);
        return hth_fail_nomem(err, n + POOL_SLACK);
    }
    doc->pool = pool;
    hth_arena_init(&doc->arena, HTH_MEM_FORMAT, max_bytes - n - POOL_SLACK);
    *out = doc;
    return HTH_OK;
}

hth_code hth_json_parse_at(const char *text, size_t n, uint64_t base, uint64_t max_bytes, hth_json_doc **out,
                           hth_err *err) {
    *out = NULL;
    hth_json_doc *doc;
    HTH_TRY(new_doc(n, max_bytes, &doc, err));
    uint64_t max_slot = max_bytes / sizeof(hth_json_member) + 1;
    parser p = {.text = (const uint8_t *)text, .n = n, .base = base, .err = err, .doc = doc};
    p.max_slot = max_slot < UINT32_MAX ? (size_t)max_slot : UINT32_MAX;
    hth_code code = parse_document(&p);
    hth_free(p.slots);
    hth_free(p.keys);
    if (code != HTH_OK) {
        hth_json_free(doc);
        return code;
    }
    *out = doc;
    return HTH_OK;
}

hth_code hth_json_parse(const char *text, size_t n, uint64_t max_bytes, hth_json_doc **out, hth_err *err) {
    return hth_json_parse_at(text, n, 0, max_bytes, out, err);
}

void hth_json_free(hth_json_doc *doc) {
    if (!doc) return;
    hth_arena_free(&doc->arena);
    hth_free(doc->pool);
    hth_free(doc);
}

const hth_json *hth_json_root(const hth_json_doc *doc) {
    return &doc->root;
}

// ---- look-ups

const hth_json *hth_json_get(const hth_json *v, const char *key) {
    if (!v || v->kind != HTH_JSON_OBJECT) return NULL;
    size_t n = strlen(key);
    for (uint32_t i = 0; i < v->n; i++) {
        const hth_json_member *m = &v->u.members[i];
        if (m->key_len == n && memcmp(m->key, key, n) == 0) return &m->value;
    }
    return NULL;
}

// The member when it is there and not null.
static const hth_json *find_value(const hth_json *v, const char *key) {
    const hth_json *m = hth_json_get(v, key);
    return m && m->kind != HTH_JSON_NULL ? m : NULL;
}

static void note_bad(const hth_json *m, const hth_json **bad) {
    if (bad && !*bad) *bad = m;
}

int64_t hth_json_int(const hth_json *v, const char *key, int64_t dflt, const hth_json **bad) {
    const hth_json *m = find_value(v, key);
    if (!m) return dflt;
    if (m->kind == HTH_JSON_NUMBER) {
        double d = m->u.num.d;
        if (m->is_int) return m->u.num.i;
        if (fabs(d) <= 0x1p53 && d == floor(d)) return (int64_t)d;
    }
    note_bad(m, bad);
    return dflt;
}

double hth_json_num(const hth_json *v, const char *key, double dflt, const hth_json **bad) {
    const hth_json *m = find_value(v, key);
    if (!m) return dflt;
    if (m->kind == HTH_JSON_NUMBER) return m->u.num.d;
    note_bad(m, bad);
    return dflt;
}

bool hth_json_bool(const hth_json *v, const char *key, bool dflt, const hth_json **bad) {
    const hth_json *m = find_value(v, key);
    if (!m) return dflt;
    if (m->kind == HTH_JSON_BOOL) return m->u.b;
    note_bad(m, bad);
    return dflt;
}

const char *hth_json_str(const hth_json *v, const char *key, const char *dflt, const hth_json **bad) {
    const hth_json *m = find_value(v, key);
    if (!m) return dflt;
    if (m->kind == HTH_JSON_STRING) return m->u.str;
    note_bad(m, bad);
    return dflt;
}

size_t hth_json_extent(const char *text, size_t n, const hth_json *v) {
    size_t at = (size_t)v->pos, depth = 0;
    bool in_string = false;
    const bool is_bare = v->kind != HTH_JSON_STRING && v->kind != HTH_JSON_ARRAY && v->kind != HTH_JSON_OBJECT;
    for (; at < n; at++) {
        const char c = text[at];
        if (is_bare) {
            if (strchr(" \t\r\n,]}", c)) break;
            continue;
        }
        if (in_string) {
            at += c == '\\';
            in_string = c != '"';
        } else {
            in_string = c == '"';
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
        }
        if (!in_string && depth == 0) return at + 1 - (size_t)v->pos;
    }
    return (at < n ? at : n) - (size_t)v->pos;
}
