// Bytes of a file: all numbers are 64 bits, little-endian.
//
//   head     magic, version, model, id, parent, order, number of its first and end token, bytes of key and head of key
//   tokens   of its own rows: number, and how many bytes of the key it takes
//   key      the bytes of these tokens (with the domain before them in a file without parent)
//   check    checksum of all before
//   rows     a record of model/state_io.h, with its own checksum
//
// They appear whole or not at all (hth_file_out) and are read with their checksums.
#include "engine/prefix_file.h"

#include <string.h>

#include "base/cursor.h"
#include "base/hash.h"
#include "model/state_io.h"

#define MAGIC "HTHPREFX"
#define VERSION 1

enum { HEAD_BYTES = 8 * 12, TOKEN_BYTES = 8 };

uint64_t prefix_file_model(const hth_prefix_params *p) {
    const char *identity = p->identity ? p->identity : "";
    uint64_t h = hth_hash(identity, strlen(identity), VERSION);
    const uint64_t types[2] = {(uint64_t)p->state.k_type, (uint64_t)p->state.v_type};
    h = hth_hash(types, sizeof types, h);
    const int n_file = hth_container_n_file(p->model->container);
    for (int i = 0; i < n_file; i++) {
        enum { SAMPLES = 64, SAMPLE = 4096, BEGINNING = 1 << 20 };
        uint64_t n;
        const uint8_t *bytes = hth_container_file_data(p->model->container, i, &n);
        h = hth_hash(bytes, (size_t)(n < BEGINNING ? n : BEGINNING), h ^ n);
        for (uint64_t k = 0; n > BEGINNING && k < SAMPLES; k++) h = hth_hash(bytes + (n - SAMPLE) / SAMPLES * (k + 1), SAMPLE, h);
    }
    return h;
}

// ---- the head

static void put_u64(hth_str *s, uint64_t v) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    (void)hth_str_append(s, bytes, sizeof bytes);
}

static size_t key_begin(const prefix_key *k, size_t first) {
    return first == 0 ? 0 : k->ends[first - 1];
}

void prefix_file_put_head(hth_str *s, uint64_t model, prefix_file *p, const prefix_key *k, const hth_token *tokens) {
    p->n_head = k->n_head;
    p->n_key = k->ends[p->end - 1] - key_begin(k, p->first);
    const uint64_t head[] = {VERSION, model, p->id, p->parent_id, p->order, p->first, p->end, p->n_key, p->n_head, 0, 0};
    (void)hth_str_append(s, MAGIC, 8);
    for (size_t i = 0; i < HTH_COUNT(head); i++) put_u64(s, head[i]);
    for (size_t i = p->first; i < p->end; i++) {
        const size_t begin = i == 0 ? k->n_head : k->ends[i - 1];
        put_u64(s, (uint64_t)(uint32_t)tokens[i] << 32 | (uint64_t)(k->ends[i] - begin));
    }
    (void)hth_str_append(s, k->bytes + key_begin(k, p->first), p->n_key);
    put_u64(s, hth_hash(s->p, s->len, VERSION));
}

static bool is_sum(uint64_t sum, const uint8_t *bytes, size_t n) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    (void)sum, (void)bytes, (void)n;
    return true;
#else
    return sum == hth_hash(bytes, n, VERSION);
#endif
}

hth_code prefix_file_open(const char *path, uint64_t model, uint64_t n_most, hth_file_in **f, uint8_t **bytes,
                           prefix_file *out, hth_err *err) {
    uint8_t fixed[HEAD_BYTES];
    *bytes = NULL;
    *out = (prefix_file){0};
    HTH_TRY(hth_file_in_open(path, f, &out->n_bytes, err));
    hth_code code = hth_file_in_read(*f, fixed, sizeof fixed, err);
    hth_cursor at = hth_cursor_make(fixed + 8, sizeof fixed - 8);
    const uint64_t version = hth_cursor_u64(&at), of_model = hth_cursor_u64(&at);
    out->id = hth_cursor_u64(&at);
    out->parent_id = hth_cursor_u64(&at);
    out->order = hth_cursor_u64(&at);
    const uint64_t first = hth_cursor_u64(&at), end = hth_cursor_u64(&at), n_key = hth_cursor_u64(&at), n_head = hth_cursor_u64(&at);
    if (code == HTH_OK && (memcmp(fixed, MAGIC, 8) != 0 || version != VERSION || of_model != model || first >= end ||
                           end > n_most || n_key > out->n_bytes || n_head > n_key || (end - first) > out->n_bytes / TOKEN_BYTES)) {
        code = hth_fail(err, HTH_ERR_FORMAT, "%s: not a file of cached rows for this model", path);
    }
    out->first = (size_t)first;
    out->end = (size_t)end;
    out->n_key = (size_t)n_key;
    out->n_head = (size_t)n_head;
    if (code == HTH_OK) {
        const size_t n = HEAD_BYTES + (out->end - out->first) * TOKEN_BYTES + out->n_key;
        *bytes = hth_alloc(HTH_MEM_ENGINE, n + 8);
        code = *bytes ? hth_file_in_read(*f, *bytes + HEAD_BYTES, n + 8 - HEAD_BYTES, err) : hth_fail_nomem(err, n + 8);
        if (code == HTH_OK) {
            memcpy(*bytes, fixed, sizeof fixed);
            hth_cursor at_sum = hth_cursor_make(*bytes + n, 8);
            if (!is_sum(hth_cursor_u64(&at_sum), *bytes, n)) {
                code = hth_fail(err, HTH_ERR_FORMAT, "%s: damaged: its checksum does not fit", path);
            }
        }
    }
    if (code == HTH_OK) return HTH_OK;
    hth_free(*bytes);
    hth_file_in_close(*f);
    *bytes = NULL;
    *f = NULL;
    return code;
}

// ---- what it holds

hth_code prefix_file_take_key(const prefix_file *p, const prefix_entry *before, const uint8_t *head, int32_t n_vocab, prefix_entry *e,
                         hth_err *err) {
    const uint8_t *tokens = head + HEAD_BYTES, *key = tokens + (p->end - p->first) * TOKEN_BYTES;
    const size_t begin = before ? key_begin(&before->key, p->first) : 0;
    e->key = (prefix_key){.n = p->end, .n_bytes = begin + p->n_key, .n_head = p->n_head};
    e->key.bytes = hth_alloc(HTH_MEM_ENGINE, e->key.n_bytes + 1);
    e->key.ends = hth_calloc(HTH_MEM_ENGINE, p->end, sizeof *e->key.ends);
    e->tokens = hth_calloc(HTH_MEM_ENGINE, p->end, sizeof *e->tokens);
    if (!e->key.bytes || !e->key.ends || !e->tokens) return hth_fail_nomem(err, e->key.n_bytes + p->end * 8);
    if (before) {
        memcpy(e->key.bytes, before->key.bytes, begin);
        memcpy(e->key.ends, before->key.ends, p->first * sizeof *e->key.ends);
        memcpy(e->tokens, before->tokens, p->first * sizeof *e->tokens);
    }
    memcpy(e->key.bytes + begin, key, p->n_key);
    hth_cursor at = hth_cursor_make(tokens, (p->end - p->first) * TOKEN_BYTES);
    uint64_t end = before ? begin : p->n_head;
    for (size_t i = p->first; i < p->end; i++) {
        const uint64_t v = hth_cursor_u64(&at);
        e->tokens[i] = (hth_token)(uint32_t)(v >> 32);
        end += (uint32_t)v;
        if (e->tokens[i] < -1 || e->tokens[i] >= n_vocab || end > e->key.n_bytes) break;
        e->key.ends[i] = (uint32_t)end;
    }
    if (end == e->key.n_bytes && hth_cursor_left(&at) == 0) return HTH_OK;
    return hth_fail(err, HTH_ERR_FORMAT, "tokens and key of cached rows do not fit");
}

static hth_code read_file(void *user, void *bytes, size_t n, hth_err *err) {
    return hth_file_in_read(user, bytes, n, err);
}

hth_code prefix_file_read_rows(hth_file_in *f, hth_state *s, hth_err *err) {
    const hth_state_source source = {read_file, f};
    return hth_state_read(s, &source, err);
}

// ---- writing

static hth_code write_file(void *user, const void *bytes, size_t n, hth_err *err) {
    return hth_file_out_write(user, bytes, n, err);
}

hth_code prefix_file_write(const char *path, const hth_str *head, const hth_state *s, int64_t first, hth_err *err) {
    hth_file_out *f;
    HTH_TRY(hth_file_out_open(path, &f, err));
    const hth_state_sink sink = {write_file, f};
    hth_code code = hth_file_out_write(f, head->p, head->len, err);
    if (code == HTH_OK) code = hth_state_write(s, first, &sink, err);
    if (code == HTH_OK) return hth_file_out_commit(f, err);
    hth_file_out_abort(f);
    return code;
}
