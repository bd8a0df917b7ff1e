// Strings with provenance. A text is built piece by piece; each piece says whose bytes it is, and pieces cut
// from other strings bring their own provenance along.
#include "chat/jinja_impl.h"

#include "base/hash.h"
#include "text/unicode.h"

bool jj_is_space(uint32_t cp) { // str.isspace
    if (cp < 0x80) return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x1f);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

uint32_t jj_cp(const char *p, size_t left, unsigned *len) {
    const uint8_t *u = (const uint8_t *)p;
    if (left >= 3 && u[0] == 0xed && u[1] >= 0xa0 && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80) {
        *len = 3;
        return 0xd000u | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    }
    return hth_cp_at(u, left, len);
}

uint32_t jj_count(const char *p, size_t n) {
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((uint8_t)p[i] & 0xc0) != 0x80;
    return count;
}

uint32_t jj_byte_of(const jj_str *s, int64_t at) {
    if (s->n == s->n_char) return (uint32_t)at;
    if (at >= s->n_char) return s->n;
    uint32_t i = 0;
    for (int64_t k = -1; i < s->n; i++) {
        if (((uint8_t)s->p[i] & 0xc0) != 0x80 && ++k == at) break;
    }
    return i;
}

// The run that holds a byte.
static uint32_t run_at(const jj_str *s, uint32_t byte) {
    uint32_t low = 0, high = s->n_run - 1;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->runs[mid].end > byte) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

bool jj_client_at(const jj_str *s, uint32_t byte) {
    return s->n_run == 0 ? s->is_client : s->runs[run_at(s, byte)].is_client;
}

bool jj_str_is(const jj_str *s, const char *text) {
    size_t n = strlen(text);
    return s->n == n && memcmp(s->p, text, n) == 0;
}

bool jj_str_equal(const jj_str *a, const jj_str *b) {
    return a->n == b->n && (a->p == b->p || memcmp(a->p, b->p, a->n) == 0);
}

int jj_str_compare(const jj_str *a, const jj_str *b) { // UTF-8 sorts as code points do
    uint32_t n = a->n < b->n ? a->n : b->n;
    int order = n > 0 ? memcmp(a->p, b->p, n) : 0;
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

uint32_t jj_str_hash(const jj_str *s) {
    uint32_t h = s->hash;
    return h ? h : ((uint32_t)hth_hash(s->p, s->n, 0x6a696e6a61u) | 1u);
}

int64_t jj_find(const jj_str *a, const jj_str *b, uint32_t from, uint32_t to) {
    if (b->n > to - from) return -1;
    if (b->n == 0) return from;
    const char *p = a->p + from, *last = a->p + to - b->n;
    while (p <= last) {
        p = memchr(p, b->p[0], (size_t)(last - p) + 1);
        if (!p) return -1;
        if (memcmp(p, b->p, b->n) == 0) return p - a->p;
        p++;
    }
    return -1;
}

// ---- building ----

jj_buf jj_buf_make(jj_vm *vm) {
    return (jj_buf){.vm = vm};
}

static hth_code make_room(jj_buf *b, size_t n) {
    if (n <= b->cap - b->n) return HTH_OK;
    uint64_t need = (uint64_t)b->n + n, cap = b->cap ? 2 * (uint64_t)b->cap : 64;
    if (need > b->vm->limits.max_out_bytes) {
        return jj_fail(b->vm, JJ_LIMIT, "a text beyond %llu bytes",
                       (unsigned long long)b->vm->limits.max_out_bytes);
    }
    if (cap < need) cap = need;
    if (cap > UINT32_MAX / 2) cap = UINT32_MAX / 2;
    char *p = jj_alloc(b->vm, (size_t)cap, 1);
    if (!p) return jj_nomem(b->vm);
    if (b->n > 0) memcpy(p, b->p, b->n);
    b->p = p;
    b->cap = (uint32_t)cap;
    return HTH_OK;
}

// Says whose the last n bytes are.
static hth_code mark(jj_buf *b, uint32_t n, bool is_client) {
    if (n == 0) return HTH_OK;
    if (b->n_run > 0 && b->runs[b->n_run - 1].is_client == is_client) {
        b->runs[b->n_run - 1].end = b->n;
        return HTH_OK;
    }
    if (b->n_run == b->cap_run) {
        uint32_t cap = b->cap_run ? 2 * b->cap_run : 4;
        jj_run *runs = jj_alloc(b->vm, cap, sizeof *runs);
        if (!runs) return jj_nomem(b->vm);
        if (b->n_run > 0) memcpy(runs, b->runs, b->n_run * sizeof *runs);
        b->runs = runs;
        b->cap_run = cap;
    }
    b->runs[b->n_run++] = (jj_run){b->n, is_client};
    return HTH_OK;
}

hth_code jj_put(jj_buf *b, const char *p, size_t n, bool is_client) {
    if (n == 0) return HTH_OK;
    HTH_TRY(jj_step(b->vm, n / 64));
    HTH_TRY(make_room(b, n));
    memcpy(b->p + b->n, p, n);
    b->n += (uint32_t)n;
    b->n_char += jj_count(p, n);
    return mark(b, (uint32_t)n, is_client);
}

hth_code jj_puts(jj_buf *b, const char *text) {
    return jj_put(b, text, strlen(text), false);
}

hth_code jj_put_cp(jj_buf *b, uint32_t cp, bool is_client) {
    uint8_t bytes[4];
    return jj_put(b, (const char *)bytes, hth_cp_encode(cp, bytes), is_client);
}

hth_code jj_put_part(jj_buf *b, const jj_str *s, uint32_t from, uint32_t to) {
    if (from >= to) return HTH_OK;
    if (s->n_run == 0) return jj_put(b, s->p + from, to - from, s->is_client);
    for (uint32_t i = run_at(s, from); from < to; i++) {
        uint32_t end = s->runs[i].end < to ? s->runs[i].end : to;
        HTH_TRY(jj_put(b, s->p + from, end - from, s->runs[i].is_client));
        from = end;
    }
    return HTH_OK;
}

hth_code jj_put_str(jj_buf *b, const jj_str *s) {
    return jj_put_part(b, s, 0, s->n);
}

hth_code jj_pad(jj_buf *b, const char *fill, size_t n_fill, int64_t n) {
    if (n <= 0) return HTH_OK;
    if ((uint64_t)n > b->vm->limits.max_out_bytes) {
        return jj_fail(b->vm, JJ_LIMIT, "a text beyond %llu bytes",
                       (unsigned long long)b->vm->limits.max_out_bytes);
    }
    for (; n > 0; n--) HTH_TRY(jj_put(b, fill, n_fill, false));
    return HTH_OK;
}

static hth_code new_str(jj_vm *vm, jj_str s, jj_value *out) {
    jj_str *copy = jj_alloc(vm, 1, sizeof *copy);
    if (!copy) return jj_nomem(vm);
    *copy = s;
    *out = (jj_value){.kind = HTH_JINJA_STR, .u.s = copy};
    return HTH_OK;
}

hth_code jj_take_markup(jj_buf *b, bool is_markup, jj_value *out) {
    jj_str s = {.p = b->p ? b->p : "", .n = b->n, .n_char = b->n_char, .is_markup = is_markup};
    if (b->n_run == 1) {
        s.is_client = b->runs[0].is_client;
    } else {
        s.runs = b->runs;
        s.n_run = b->n_run;
    }
    return new_str(b->vm, s, out);
}

hth_code jj_take(jj_buf *b, jj_value *out) {
    return jj_take_markup(b, false, out);
}

hth_code jj_text(jj_vm *vm, const char *text, jj_value *out) {
    size_t n = strlen(text);
    return new_str(vm, (jj_str){.p = text, .n = (uint32_t)n, .n_char = jj_count(text, n)}, out);
}

hth_code jj_part(jj_vm *vm, const jj_str *s, uint32_t from, uint32_t to, jj_value *out) {
    if (from >= to) from = to = 0;
    if (from == 0 && to == s->n) {
        *out = (jj_value){.kind = HTH_JINJA_STR, .u.s = s};
        return HTH_OK;
    }
    if (s->n_run > 0) {
        jj_buf b = jj_buf_make(vm);
        HTH_TRY(jj_put_part(&b, s, from, to));
        return jj_take_markup(&b, s->is_markup, out);
    }
    uint32_t n = to - from;
    bool is_ascii = s->n == s->n_char;
    if (!is_ascii) HTH_TRY(jj_step(vm, n / 64));
    return new_str(vm, (jj_str){.p = s->p + from, .n = n, .n_char = is_ascii ? n : jj_count(s->p + from, n),
                                .is_markup = s->is_markup, .is_client = s->is_client}, out);
}

hth_code jj_as_markup(jj_vm *vm, const jj_str *s, bool is_markup, jj_value *out) {
    jj_str copy = *s;
    copy.is_markup = is_markup;
    if (copy.is_markup == s->is_markup) {
        *out = (jj_value){.kind = HTH_JINJA_STR, .u.s = s};
        return HTH_OK;
    }
    return new_str(vm, copy, out);
}
