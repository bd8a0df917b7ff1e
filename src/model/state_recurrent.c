// The recurrent part of a sequence's state: slots of blocks, and which of them are kept.
//
// hth_state.kept lists all slots: the first n_kept hold the blocks after the latest rows, newest first; those behind
// hold nothing and are where the next step writes. So a step that fails has changed nothing, and going back is
// reordering the list.
#include <string.h>

#include "model/kv_page.h"
#include "model/state.h"

static int32_t n_slot(const hth_state *s) {
    return 2 * (s->n_keep + 1);
}

hth_code hth_blocks_new(hth_state *s, int32_t n_keep, hth_err *err) {
    const hth_desc *d = &s->model->desc;
    int64_t n = 0;
    if (n_keep < 0 || n_keep > HTH_MAX_KEEP) {
        return hth_fail(err, HTH_ERR_RANGE, "%d rows to take back; 0 to %d are possible", (int)n_keep, HTH_MAX_KEEP);
    }
    for (int32_t i = 0; i < d->n_layer; i++) {
        s->layers[i].block_at = n;
        n += hth_recurrent_len(&d->layers[i].recurrent);
    }
    if (n == 0) return HTH_OK;
    s->n_keep = n_keep;
    s->slots = hth_calloc(HTH_MEM_STATE, (size_t)n_slot(s), sizeof *s->slots);
    s->kept = hth_calloc(HTH_MEM_STATE, (size_t)n_slot(s), sizeof *s->kept);
    if (!s->slots || !s->kept) return hth_fail_nomem(err, (uint64_t)n_slot(s) * sizeof *s->kept);
    for (int32_t i = 0; i < n_slot(s); i++) s->kept[i].slot = i;
    return HTH_OK;
}

static size_t slot_bytes(const hth_state *s) {
    return (size_t)s->slot_len * sizeof(float);
}

static void drop_slot(hth_state *s, int32_t slot) {
    if (!s->slots[slot]) return;
    hth_kv_page_drop(s->ex, s->slots[slot], slot_bytes(s));
    s->slots[slot] = NULL;
    s->n_bytes -= slot_bytes(s);
}

// Slots are given back when nothing is kept.
static void free_slots(hth_state *s) {
    for (int32_t i = 0; i < n_slot(s); i++) drop_slot(s, i);
    s->n_kept = 0;
}

void hth_blocks_free(hth_state *s) {
    if (s->slots) free_slots(s);
    hth_free(s->slots);
    hth_free(s->kept);
}

// Makes a slot that holds nothing to keep one that can be written to.
static hth_code need_slot(hth_state *s, int32_t slot, hth_err *err) {
    if (s->slots[slot] && hth_kv_page_is_shared(s->slots[slot], slot_bytes(s))) drop_slot(s, slot);
    if (s->slots[slot]) return HTH_OK;
    s->slots[slot] = hth_kv_page_new(s->ex, slot_bytes(s));
    if (!s->slots[slot]) return hth_fail_nomem(err, slot_bytes(s));
    s->n_bytes += slot_bytes(s);
    return HTH_OK;
}

hth_code hth_blocks_reserve(hth_state *s, int32_t first, int32_t last, hth_err *err) {
    if (!s->slots || s->len > 0) return HTH_OK;
    const hth_desc *d = &s->model->desc;
    const int64_t at = first < last ? s->layers[first].block_at : 0;
    const int64_t end = first < last ? s->layers[last - 1].block_at + hth_recurrent_len(&d->layers[last - 1].recurrent) : 0;
    if (end - at != s->slot_len) free_slots(s);
    s->slot_first = at;
    s->slot_len = end - at;
    HTH_TRY(need_slot(s, s->kept[0].slot, err));
    memset(s->slots[s->kept[0].slot], 0, slot_bytes(s));
    s->kept[0].parent = -1;
    s->n_kept = 1;
    return HTH_OK;
}

hth_code hth_blocks_pick(hth_state *s, int32_t n, int32_t *slots, hth_err *err) {
    for (int32_t i = 0; i < n; i++) {
        slots[i] = s->kept[s->n_kept + i].slot;
        HTH_TRY(need_slot(s, slots[i], err));
    }
    return HTH_OK;
}

void hth_blocks_commit(hth_state *s, const hth_kept *rows, int32_t n) {
    if (!s->slots) return;
    memmove(s->kept + n, s->kept, (size_t)s->n_kept * sizeof *s->kept);
    for (int32_t i = 0; i < n; i++) s->kept[i] = rows[n - 1 - i];
    s->n_kept = s->n_kept + n < s->n_keep + 1 ? s->n_kept + n : s->n_keep + 1;
}

bool hth_blocks_reach(const hth_state *s, int64_t n) {
    return !s->slots || n == 0 || s->len - n < s->n_kept;
}

hth_code hth_blocks_check(const hth_state *s, int64_t n, hth_err *err) {
    if (hth_blocks_reach(s, n)) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED,
                    "cannot go back to row %lld: %s has recurrent layers, which keep their state for the last %d rows",
                    (long long)n, s->model->desc.family, (int)s->n_kept - 1);
}

hth_code hth_blocks_check_branch(const hth_state *s, int64_t first, const int64_t *rows, int64_t n_row, hth_err *err) {
    if (!s->slots) return HTH_OK;
    for (int64_t i = 0; i < n_row; i++) {
        const int64_t at = s->len - 1 - rows[i], before = i == 0 ? first - 1 : rows[i - 1];
        if (at >= s->n_kept || s->kept[at].parent == before) continue;
        return hth_fail(err, HTH_ERR_RANGE, "rows to keep are no branch: row %lld does not follow row %lld",
                        (long long)rows[i], (long long)before);
    }
    return hth_blocks_check(s, n_row > 0 ? rows[n_row - 1] + 1 : first, err);
}

void hth_blocks_keep(hth_state *s, int64_t first, const int64_t *rows, int64_t n_row) {
    if (!s->slots) return;
    int32_t n = 0;
    int64_t next = n_row - 1; // rows are met from the last one on
    for (int32_t i = 0; i < s->n_kept; i++) {
        const int64_t row = s->len - 1 - i;
        if (row >= first && (next < 0 || rows[next] != row)) continue;
        next -= row >= first;
        const hth_kept moved = s->kept[i];
        s->kept[i] = s->kept[n];
        s->kept[n] = moved;
        s->kept[n].parent = first + n_row - 2 - n;
        n++;
    }
    s->n_kept = n;
    if (first + n_row == 0) free_slots(s);
}

void hth_blocks_fork(hth_state *to, const hth_state *from, int64_t n) {
    if (!from->slots) return;
    uint8_t *page = from->slots[from->kept[from->len - n].slot];
    to->slot_first = from->slot_first;
    to->slot_len = from->slot_len;
    hth_kv_page_hold(page, slot_bytes(to));
    to->slots[to->kept[0].slot] = page;
    to->n_bytes += slot_bytes(to);
    to->kept[0].parent = n - 2;
    to->n_kept = 1;
}

uint64_t hth_blocks_own_bytes(const hth_state *s) {
    uint64_t n = 0;
    for (int32_t i = 0; s->slots && i < n_slot(s); i++) {
        if (s->slots[i] && !hth_kv_page_is_shared(s->slots[i], slot_bytes(s))) n += slot_bytes(s);
    }
    return n;
}

uint64_t hth_blocks_common_bytes(const hth_state *s, const hth_state *other) {
    uint64_t n = 0;
    for (int32_t i = 0; s->slots && other->slots && i < n_slot(s); i++) {
        for (int32_t k = 0; s->slots[i] && k < n_slot(other); k++) {
            if (other->slots[k] == s->slots[i]) n += slot_bytes(s);
        }
    }
    return n;
}

const uint8_t *hth_blocks_last(const hth_state *s, size_t *n_bytes) {
    if (!s->slots || s->n_kept == 0) return NULL;
    *n_bytes = slot_bytes(s);
    return s->slots[s->kept[0].slot];
}

uint8_t *hth_blocks_fill(hth_state *s, int32_t first, int32_t last, int64_t n_row, size_t *n_bytes) {
    hth_err err;
    if (!s->slots || hth_blocks_reserve(s, first, last, &err) != HTH_OK) return NULL;
    s->kept[0].parent = n_row - 2;
    *n_bytes = slot_bytes(s);
    return s->slots[s->kept[0].slot];
}
