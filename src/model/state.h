// Inside of a sequence's state, shared by the executor's files. Keys and values of a layer lie in
// pages of HTH_PAGE_ROWS rows:
//
//   page = [ K: n_kv_head x HTH_PAGE_ROWS x head_dim | V: n_kv_head x HTH_PAGE_ROWS x head_dim_v ]
//
// so that the keys of one head are contiguous. A layer that reads another layer's keys has no pages.
// Pages that a window has left behind are given back; `first_page` counts them. Forks share pages
// (model/kv_page.h): hth_state_reserve makes those that a step writes to the sequence's own.
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
} hth_layer_state;

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
    uint64_t n_bytes;        // of pages, shared ones too
};

// Makes room for rows [len, len + n) in the pages of layers [first, last), which are then nobody else's. On failure
// some pages may stay allocated; they are used by a later step.
HTH_NODISCARD hth_code hth_state_reserve(hth_state *s, int64_t n, int32_t first, int32_t last, hth_err *err);
// Gives back the pages that no future row can see: those left of the window, with one window of slack so
// that a conversation can step back a little.
void hth_state_slide(hth_state *s);

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
