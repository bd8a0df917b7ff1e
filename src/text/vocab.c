// All bytes lie in one pool, which stops moving when the maps are built: they point into it.
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

hth_code hth_vocab_init(hth_vocab *v, int64_t n, hth_err *err) {
    *v = (hth_vocab){0};
    hth_str_init(&v->pool, HTH_MEM_TEXT, HTH_VOCAB_MAX_POOL);
    if (n <= 0) return hth_fail(err, HTH_ERR_FORMAT, "the vocabulary is empty");
    if (n > HTH_VOCAB_MAX)
        return hth_fail(err, HTH_ERR_LIMIT, "a vocabulary of %lld tokens is too large", (long long)n);
    v->e = hth_calloc(HTH_MEM_TEXT, (size_t)n, sizeof *v->e);
    if (!v->e || !hth_str_putc(&v->pool, 0)) return hth_fail_nomem(err, (uint64_t)n * sizeof *v->e);
    v->n = (int32_t)n;
    for (int32_t i = 0; i < v->n; i++) v->e[i].flags = TOK_ABSENT;
    return HTH_OK;
}

void hth_vocab_free(hth_vocab *v) {
    hth_free(v->e);
    hth_free(v->score);
    hth_free(v->rank);
    hth_map_free(&v->by_text);
    hth_map_free(&v->by_special);
    hth_str_free(&v->pool);
    *v = (hth_vocab){0};
}

static hth_code add_bytes(hth_vocab *v, const char *bytes, size_t n, uint32_t *at, hth_err *err) {
    *at = (uint32_t)v->pool.len;
    if (hth_str_append(&v->pool, bytes, n) && hth_str_putc(&v->pool, 0)) return HTH_OK;
    if (v->pool.len + n >= HTH_VOCAB_MAX_POOL)
        return hth_fail(err, HTH_ERR_LIMIT, "the vocabulary's texts are too large");
    return hth_fail_nomem(err, n);
}

hth_code hth_vocab_set(hth_vocab *v, int32_t id, const char *spelling, size_t n, unsigned flags,
                       hth_err *err) {
    tok_entry *e = &v->e[id];
    HTH_TRY(add_bytes(v, spelling, n, &e->spelling, err));
    e->text = e->spelling;
    e->n_text = e->n_spelling = (uint32_t)n;
    e->flags = (uint8_t)flags;
    return HTH_OK;
}

hth_code hth_vocab_set_text(hth_vocab *v, int32_t id, const char *text, size_t n, hth_err *err) {
    HTH_TRY(add_bytes(v, text, n, &v->e[id].text, err));
    v->e[id].n_text = (uint32_t)n;
    return HTH_OK;
}

hth_code hth_vocab_decode_bytes(hth_vocab *v, int32_t id, bool *ok, hth_err *err) {
    tok_entry *e = &v->e[id];
    uint32_t at = (uint32_t)v->pool.len;
    *ok = true;
    bool same = true; // plain ASCII spells itself
    for (uint32_t i = 0; i < e->n_spelling && same; i++) {
        uint8_t b = (uint8_t)v->pool.p[e->spelling + i];
        same = b > 0x20 && b < 0x7f;
    }
    if (same) return HTH_OK;
    for (uint32_t i = 0; i < e->n_spelling;) {
        unsigned len;
        const uint8_t *p = (const uint8_t *)v->pool.p + e->spelling + i;
        int b = hth_char_to_byte(hth_cp_at(p, e->n_spelling - i, &len));
        if (b < 0) {
            v->pool.len = at;
            e->flags |= TOK_FOREIGN;
            *ok = false;
            return HTH_OK;
        }
        if (!hth_str_putc(&v->pool, (char)b)) return hth_fail_nomem(err, 1);
        i += len;
    }
    e->text = at;
    e->n_text = (uint32_t)v->pool.len - at;
    return hth_str_putc(&v->pool, 0) ? HTH_OK : hth_fail_nomem(err, 1);
}

// The table is larger than the caches: asks for the slot of a token that will be inserted soon.
static void prefetch_slot(const hth_vocab *v, int32_t i) {
    if (i >= v->n) return;
    uint64_t hash = hth_hash(v->pool.p + v->e[i].text, v->e[i].n_text, v->by_text.seed);
    __builtin_prefetch(&v->by_text.slots[(size_t)hash & (v->by_text.n_slot - 1)]);
}

hth_code hth_vocab_index(hth_vocab *v, hth_err *err) {
    size_t n_text = 0, n_special = 0;
    const unsigned special = TOK_CONTROL | TOK_ADDED | TOK_UNKNOWN | TOK_FOREIGN;
    for (int32_t i = 0; i < v->n; i++) {
        n_special += (v->e[i].flags & special) != 0;
        n_text += (v->e[i].flags & (TOK_CONTROL | TOK_ABSENT | TOK_BYTE | TOK_UNKNOWN)) == 0;
    }
    if (!hth_map_init(&v->by_text, HTH_MEM_TEXT, n_text) ||
        !hth_map_init(&v->by_special, HTH_MEM_TEXT, n_special)) {
        return hth_fail_nomem(err, n_text * sizeof(hth_map_slot));
    }
    for (int i = 0; i < 256; i++) v->byte_id[i] = -1;
    bool ok = true;
    for (int32_t i = 0; i < v->n && ok; i++) {
        const tok_entry *e = &v->e[i];
        prefetch_slot(v, i + 16);
        if (e->flags & TOK_ABSENT) continue;
        if (e->flags & special)
            ok = hth_map_insert(&v->by_special, v->pool.p + e->spelling, e->n_spelling, (uint32_t)i, NULL,
                                NULL);
        if (e->flags & TOK_BYTE && v->byte_id[e->byte] < 0) v->byte_id[e->byte] = i;
        if (e->flags & (TOK_CONTROL | TOK_BYTE | TOK_UNKNOWN | TOK_FOREIGN) || e->n_text == 0) continue;
        ok = ok && hth_map_insert(&v->by_text, v->pool.p + e->text, e->n_text, (uint32_t)i, NULL, NULL);
    }
    if (!ok) return hth_fail_nomem(err, (uint64_t)n_text * sizeof(hth_map_slot));
    v->has_bytes = true;
    for (int i = 0; i < 256; i++) v->has_bytes = v->has_bytes && v->byte_id[i] >= 0;
    return HTH_OK;
}

typedef struct scored {
    double score;
    int32_t id;
} scored;

static int compare_scores(const void *a, const void *b) {
    double x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x < y) - (x > y);
}

hth_code hth_vocab_rank_scores(hth_vocab *v, hth_err *err) {
    scored *order = hth_alloc(HTH_MEM_TEXT, (size_t)v->n * sizeof *order);
    v->rank = hth_calloc(HTH_MEM_TEXT, (size_t)v->n, sizeof *v->rank);
    if (!order || !v->rank) {
        hth_free(order);
        return hth_fail_nomem(err, (uint64_t)v->n * sizeof *order);
    }
    for (int32_t i = 0; i < v->n; i++) order[i] = (scored){.score = v->score[i], .id = i};
    qsort(order, (size_t)v->n, sizeof *order, compare_scores);
    uint32_t rank = 0;
    for (int32_t i = 0; i < v->n; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank++;
        v->rank[order[i].id] = rank;
    }
    hth_free(order);
    return HTH_OK;
}

int32_t hth_vocab_find(const hth_vocab *v, const char *spelling, size_t n) {
    uint32_t id;
    if (hth_map_find(&v->by_special, spelling, n, &id)) return (int32_t)id;
    if (hth_map_find(&v->by_text, spelling, n, &id) && v->e[id].n_spelling == n &&
        memcmp(v->pool.p + v->e[id].spelling, spelling, n) == 0) {
        return (int32_t)id;
    }
    // A spelling in the byte alphabet: look its bytes up.
    char bytes[256];
    size_t len = 0;
    for (size_t i = 0; i < n && len < sizeof bytes;) {
        unsigned step;
        int b = hth_char_to_byte(hth_cp_at((const uint8_t *)spelling + i, n - i, &step));
        if (b < 0) return -1;
        bytes[len++] = (char)b;
        i += step;
    }
    if (!hth_map_find(&v->by_text, bytes, len, &id) || v->e[id].n_spelling != n ||
        memcmp(v->pool.p + v->e[id].spelling, spelling, n) != 0) {
        return -1;
    }
    return (int32_t)id;
}
