// Inside of a sequence's state, shared by the executor's files. Keys and values of a layer lie in
// pages of HTH_PAGE_ROWS rows:
//
//   page = [ K: n_kv_head x HTH_PAGE_ROWS x head_dim | V: n_kv_head x HTH_PAGE_ROWS x head_dim_v ]
//
// so that the keys of one head are contiguous. V is absent where values are part of the keys (latent attention).
// A layer that reads another layer's keys has no pages.
// Pages that a window has left behind are given back; `first_page` counts them. Forks share pages
// (model/kv_page.h): hth_state_reserve makes those that a step writes to the sequence's own.
//
// Recurrent layers have a block of floats each (hth_recurrent_desc). A slot holds the blocks of all of them as they
// were after one row. The slots of the latest rows are kept, so that taking rows back is choosing a slot; a step
// writes into other slots, which replace the oldest kept ones when it is done (state_recurrent.c). Forks share slots,
// and since a kept one is never written to, none is copied.
#ifndef HTH_MODEL_STATE_H
#define HTH_MODEL_STATE_H

#include "model/executor.h"

#define HTH_PAGE_ROWS 32

typedef struct hth_layer_state {
    uint8_t **pages;  // [n_page]; entries below first_page are NULL
    size_t n_page, cap;
    size_t first_page;
    uint32_t page_bytes, v_off; // bytes of a page, offset of V in it; 0: no pages of its own
    uint32_t k_head_bytes, v_head_bytes; // bytes of one head's rows in a page
    int64_t window; // 0: keeps all
    int64_t block_at; // floats of recurrent blocks in all layers before
} hth_layer_state;

// A slot. kept[i], i < n_kept, has the blocks as row len - 1 - i left them; row -1 stands for the beginning.
typedef struct hth_kept {
    int32_t slot;
    int64_t parent; // the row that it follows, -1: none
} hth_kept;

struct hth_state {
    hth_executor *ex;       // borrowed
    const hth_model *model; // borrowed
    int64_t n_ctx, len;
    int32_t layer_first, layer_last; // the range that its rows ran through; meaningless while empty
    int64_t tree_first;              // rows from here on are a draft tree of which no branch is kept yet; -1: none
    bool in_step;                    // a step is using it
    hth_kv_type k_type, v_type;
    int64_t *pos; // [len] position of each row; owned
    size_t pos_cap;
    hth_layer_state *layers; // [n_layer] owned
    uint64_t n_bytes;        // of pages and slots, shared ones too
    uint8_t **slots;         // [2 * (n_keep + 1)] kv_pages, NULL until needed; NULL: no layer is recurrent
    hth_kept *kept;          // [2 * (n_keep + 1)] owned: all slots; the first n_kept are those to keep, newest first
    int32_t n_keep, n_kept;
    int64_t slot_first, slot_len; // a slot's blocks: block_at of the first layer in it, floats
};

// Makes room for rows [len, len + n) in the pages of layers [first, last), which are then nobody else's. On failure
// some pages may stay allocated; they are used by a later step.
HTH_NODISCARD hth_code hth_state_reserve(hth_state *s, int64_t n, int32_t first, int32_t last, hth_err *err);
// Gives back the pages that no future row can see: those left of the window, with one window of slack so
// that a conversation can step back a little.
void hth_state_slide(hth_state *s);

// Recurrent blocks (state_recurrent.c); each does nothing where no layer is recurrent.
HTH_NODISCARD hth_code hth_blocks_new(hth_state *s, int32_t n_keep, hth_err *err);
void hth_blocks_free(hth_state *s);
// Sizes the slots for layers [first, last) of an empty sequence and zeroes the one before its first row.
HTH_NODISCARD hth_code hth_blocks_reserve(hth_state *s, int32_t first, int32_t last, hth_err *err);
// Picks n slots that hold nothing to keep; n <= n_keep + 1. The same ones are picked until hth_blocks_commit.
HTH_NODISCARD hth_code hth_blocks_pick(hth_state *s, int32_t n, int32_t *slots, hth_err *err);
// Puts the blocks after n new rows (the oldest first) before those kept so far.
void hth_blocks_commit(hth_state *s, const hth_kept *rows, int32_t n);
// Whether the blocks after the first n rows are kept (or can be made: those before any).
bool hth_blocks_reach(const hth_state *s, int64_t n);
HTH_NODISCARD hth_code hth_blocks_check(const hth_state *s, int64_t n, hth_err *err); // the same as an error
// Gives `to`, which is new, the blocks after the first n > 0 rows; they are shared.
void hth_blocks_fork(hth_state *to, const hth_state *from, int64_t n);
uint64_t hth_blocks_own_bytes(const hth_state *s); // of slots that no fork shares
uint64_t hth_blocks_common_bytes(const hth_state *s, const hth_state *other); // of slots that both hold
// The blocks after the last row: bytes that can be read, and those of an empty sequence of layers [first, last) to
// be filled. NULL where no layer is recurrent or memory is refused.
const uint8_t *hth_blocks_last(const hth_state *s, size_t *n_bytes);
uint8_t *hth_blocks_fill(hth_state *s, int32_t first, int32_t last, int64_t n_row, size_t *n_bytes);
// Whether rows are the branch from `first` on that hth_blocks_keep can keep.
HTH_NODISCARD hth_code hth_blocks_check_branch(const hth_state *s, int64_t first, const int64_t *rows, int64_t n_row,
                                               hth_err *err);
// What hth_state_keep does: the rows become rows first ...; the sequence's length changes after this.
void hth_blocks_keep(hth_state *s, int64_t first, const int64_t *rows, int64_t n_row);

// The block of a layer in a slot.
static inline float *hth_state_block(const hth_state *s, int32_t layer, int32_t slot) {
    return (float *)(void *)s->slots[slot] + (s->layers[layer].block_at - s->slot_first);
}

// The first of rows [0, n) that a query at position q_pos sees through `window` (0: row 0). Positions ascend.
static inline int64_t hth_state_first_visible(const hth_state *s, int64_t window, int64_t q_pos, int64_t n) {
    int64_t lo = 0, hi = window == 0 ? 0 : n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (s->pos[mid] > q_pos - window) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static inline uint8_t *hth_state_k(const hth_layer_state *l, int32_t kv_head, int64_t row) {
    return l->pages[row / HTH_PAGE_ROWS] + (size_t)kv_head * l->k_head_bytes +
           (size_t)(row % HTH_PAGE_ROWS) * (l->k_head_bytes / HTH_PAGE_ROWS);
}

static inline uint8_t *hth_state_v(const hth_layer_state *l, int32_t kv_head, int64_t row) {
    return l->pages[row / HTH_PAGE_ROWS] + l->v_off + (size_t)kv_head * l->v_head_bytes +
           (size_t)(row % HTH_PAGE_ROWS) * (l->v_head_bytes / HTH_PAGE_ROWS);
}

#endif
