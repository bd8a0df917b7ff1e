// Three passes over a batch: ask for the slots, ask for the keys behind them, look up.
#include "text/merge_batch.h"

#include <string.h>

static int put_part(const hth_tokenizer *t, const char *s, size_t n, char *out, size_t room) {
    if (t->model.byte_level) return hth_bytes_decode(s, n, out, room);
    if (n > room) return -1;
    memcpy(out, s, n);
    return (int)n;
}

void hth_merge_batch_add(merge_batch *b, const char *a, size_t n_a, const char *p, size_t n_b, uint32_t rank,
                         bool *ok) {
    char *buf = b->buf[b->n];
    int k = put_part(b->t, a, n_a, buf, MERGE_BYTES);
    int m = k <= 0 ? -1 : put_part(b->t, p, n_b, buf + k, MERGE_BYTES - (size_t)k);
    *ok = m > 0;
    if (!*ok) return;
    b->n_a[b->n] = (uint32_t)k;
    b->n_b[b->n] = (uint32_t)m;
    b->rank[b->n++] = rank;
}

// Text i / 3 of the batch: left, right, both.
static const char *part(const merge_batch *b, size_t i, size_t *n) {
    size_t k = i / 3;
    *n = i % 3 == 0 ? b->n_a[k] : i % 3 == 1 ? b->n_b[k] : b->n_a[k] + b->n_b[k];
    return b->buf[k] + (i % 3 == 1 ? b->n_a[k] : 0);
}

static const hth_map_slot *home_slot(const hth_map *m, uint64_t hash) {
    return &m->slots[(size_t)hash & (m->n_slot - 1)];
}

hth_code hth_merge_batch_flush(merge_batch *b) {
    const hth_vocab *v = &b->t->vocab;
    uint64_t hash[3 * MERGE_BATCH];
    int32_t id[3 * MERGE_BATCH];
    size_t n;
    for (size_t i = 0; i < 3 * b->n; i++) {
        const char *text = part(b, i, &n);
        hash[i] = hth_hash(text, n, v->by_text.seed);
        __builtin_prefetch(home_slot(&v->by_text, hash[i]));
    }
    for (size_t i = 0; i < 3 * b->n; i++) {
        const char *key = home_slot(&v->by_text, hash[i])->key;
        if (key) __builtin_prefetch(key);
    }
    for (size_t i = 0; i < 3 * b->n; i++) {
        const char *text = part(b, i, &n);
        id[i] = hth_vocab_find_text(v, text, n);
        if (i % 3 == 1 && id[i - 1] >= 0 && id[i] >= 0) {
            hth_pieces_prefetch(&b->t->model, (uint32_t)id[i - 1], (uint32_t)id[i]);
        }
    }
    b->n_missing = 0;
    for (size_t k = 0; k < b->n; k++) {
        const int32_t *m = &id[3 * k];
        if (m[0] < 0 || m[1] < 0 || m[2] < 0) {
            b->missing[b->n_missing++] = b->rank[k];
            continue;
        }
        HTH_TRY(hth_pieces_add_merge(&b->t->model, b->n_expect, (uint32_t)m[0], (uint32_t)m[1], b->rank[k],
                                     (uint32_t)m[2], b->err));
    }
    b->n = 0;
    return HTH_OK;
}
