// Sequence state: pages of keys and values per layer, allocated as rows come, shared by forks, copied before the
// first write to one that is shared. For recurrent layers see state_recurrent.c.
#include "model/state.h"

#include <string.h>

#include "base/checked.h"
#include "model/kv_page.h"
#include "model/rope.h"

static void describe_pages(hth_layer_state *l, const hth_state *s, int32_t i) {
    const hth_attention_desc *a = &s->model->desc.layers[i].attn;
    l->window = a->window;
    if (s->model->desc.layers[i].mixer == HTH_MIXER_NONE || a->kv_layer != i) return;
    l->k_head_bytes = HTH_PAGE_ROWS * hth_kv_row_bytes(s->k_type, a->head_dim);
    if (!hth_values_in_keys(&s->model->desc.layers[i])) l->v_head_bytes = HTH_PAGE_ROWS * hth_kv_row_bytes(s->v_type, a->head_dim_v);
    l->v_off = (uint32_t)a->n_kv_head * l->k_head_bytes;
    l->page_bytes = l->v_off + (uint32_t)a->n_kv_head * l->v_head_bytes;
}

// A layer whose keys others read keeps what the widest reader needs.
static void widen_shared_windows(hth_state *s) {
    const hth_desc *d = &s->model->desc;
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_layer_state *owner = &s->layers[d->layers[i].attn.kv_layer];
        int64_t w = d->layers[i].attn.window;
        if (owner->window != 0 && (w == 0 || w > owner->window)) owner->window = w;
    }
}

hth_code hth_state_new(hth_executor *ex, const hth_model *m, const hth_state_params *params, hth_state **out,
                       hth_err *err) {
    *out = NULL;
    if (params->n_ctx < 1) {
        return hth_fail(err, HTH_ERR_RANGE, "context of %lld tokens: at least 1 is needed", (long long)params->n_ctx);
    }
    if ((unsigned)params->k_type >= HTH_KV_TYPE_COUNT || (unsigned)params->v_type >= HTH_KV_TYPE_COUNT) {
        return hth_fail(err, HTH_ERR_RANGE, "unknown K/V type");
    }
    hth_state *s = hth_calloc(HTH_MEM_STATE, 1, sizeof *s);
    if (!s) return hth_fail_nomem(err, sizeof *s);
    *s = (hth_state){.ex = ex,
                     .model = m,
                     .n_ctx = params->n_ctx,
                     .tree_first = -1,
                     .k_type = params->k_type,
                     .v_type = params->v_type};
    s->layers = hth_calloc(HTH_MEM_STATE, (size_t)m->desc.n_layer, sizeof *s->layers);
    if (!s->layers) {
        hth_state_free(s);
        return hth_fail_nomem(err, (uint64_t)m->desc.n_layer * sizeof *s->layers);
    }
    for (int32_t i = 0; i < m->desc.n_layer; i++) describe_pages(&s->layers[i], s, i);
    widen_shared_windows(s);
    const hth_code code = hth_blocks_new(s, params->n_keep, err);
    if (code != HTH_OK) {
        hth_state_free(s);
        return code;
    }
    *out = s;
    return HTH_OK;
}

static void drop_pages(hth_state *s, hth_layer_state *l, size_t first, size_t last) {
    for (size_t p = first; p < last; p++) {
        if (!l->pages[p]) continue;
        hth_kv_page_drop(s->ex, l->pages[p], l->page_bytes);
        l->pages[p] = NULL;
        s->n_bytes -= l->page_bytes;
    }
}

void hth_state_free(hth_state *s) {
    if (!s) return;
    for (int32_t i = 0; s->layers && i < s->model->desc.n_layer; i++) {
        hth_layer_state *l = &s->layers[i];
        if (l->pages) drop_pages(s, l, l->first_page, l->n_page);
        hth_free(l->pages);
    }
    hth_blocks_free(s);
    hth_free(s->layers);
    hth_free(s->pos);
    hth_free(s);
}

int64_t hth_state_len(const hth_state *s) {
    return s->len;
}

int64_t hth_state_n_ctx(const hth_state *s) {
    return s->n_ctx;
}

uint64_t hth_state_bytes(const hth_state *s) {
    return s->n_bytes;
}

uint64_t hth_state_own_bytes(const hth_state *s) {
    uint64_t n = hth_blocks_own_bytes(s);
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        const hth_layer_state *l = &s->layers[i];
        for (size_t p = l->first_page; p < l->n_page; p++) {
            if (!hth_kv_page_is_shared(l->pages[p], l->page_bytes)) n += l->page_bytes;
        }
    }
    return n;
}

uint64_t hth_state_bytes_beside(const hth_state *s, const hth_state *other) {
    if (!other) return s->n_bytes;
    uint64_t n = s->n_bytes - hth_blocks_common_bytes(s, other);
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        const hth_layer_state *l = &s->layers[i], *o = &other->layers[i];
        for (size_t p = l->first_page; p < l->n_page && p < o->n_page; p++) {
            if (l->pages[p] == o->pages[p]) n -= l->page_bytes;
        }
    }
    return n;
}

bool hth_state_goes_anywhere(const hth_model *m) {
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        const hth_layer_desc *l = &m->desc.layers[i];
        if (l->attn.window != 0 || hth_recurrent_len(&l->recurrent) > 0) return false;
    }
    return true;
}

// Makes the pages with row `row` and all after it this sequence's own.
static hth_code own_from(hth_state *s, hth_layer_state *l, int64_t row, hth_err *err) {
    size_t p = (size_t)(row / HTH_PAGE_ROWS);
    for (p = p < l->first_page ? l->first_page : p; p < l->n_page; p++) {
        if (!hth_kv_page_own(s->ex, &l->pages[p], l->page_bytes)) return hth_fail_nomem(err, l->page_bytes);
    }
    return HTH_OK;
}

static hth_code reserve_layer(hth_state *s, hth_layer_state *l, size_t n_page, hth_err *err) {
    if (l->page_bytes == 0) return HTH_OK;
    HTH_TRY(own_from(s, l, s->len, err));
    if (!hth_grow(HTH_MEM_STATE, (void **)&l->pages, &l->cap, n_page, sizeof *l->pages, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (uint64_t)n_page * sizeof *l->pages);
    }
    while (l->n_page < n_page) {
        uint8_t *page = hth_kv_page_new(s->ex, l->page_bytes);
        if (!page) return hth_fail_nomem(err, l->page_bytes);
        l->pages[l->n_page++] = page;
        s->n_bytes += l->page_bytes;
    }
    return HTH_OK;
}

hth_code hth_state_reserve(hth_state *s, int64_t n, int32_t first, int32_t last, hth_err *err) {
    int64_t need = s->len + n;
    if (!hth_grow(HTH_MEM_STATE, (void **)&s->pos, &s->pos_cap, (size_t)need, sizeof *s->pos, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (uint64_t)need * sizeof *s->pos);
    }
    size_t n_page = (size_t)((need + HTH_PAGE_ROWS - 1) / HTH_PAGE_ROWS);
    for (int32_t i = first; i < last; i++) HTH_TRY(reserve_layer(s, &s->layers[i], n_page, err));
    return hth_blocks_reserve(s, first, last, err);
}

void hth_state_slide(hth_state *s) {
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        hth_layer_state *l = &s->layers[i];
        if (l->window == 0 || l->page_bytes == 0) continue;
        if (s->len == 0) continue;
        int64_t keep = hth_state_first_visible(s, 2 * l->window, s->pos[s->len - 1], s->len);
        size_t first = (size_t)(keep / HTH_PAGE_ROWS);
        if (first > l->n_page) first = l->n_page;
        if (first <= l->first_page) continue;
        drop_pages(s, l, l->first_page, first);
        l->first_page = first;
    }
}

// The first layer of which a page is gone that a row after the first n may look at, or -1. Its position may repeat
// the last one's (M-RoPE).
static int32_t layer_out_of_reach(const hth_state *s, int64_t n) {
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        const hth_layer_state *l = &s->layers[i];
        if (l->first_page == 0) continue;
        int64_t needed = n == 0 ? 0 : hth_state_first_visible(s, l->window, s->pos[n - 1], n);
        if (needed / HTH_PAGE_ROWS < (int64_t)l->first_page) return i;
    }
    return -1;
}

static hth_code check_reachable(const hth_state *s, int64_t n, hth_err *err) {
    const int32_t i = layer_out_of_reach(s, n);
    if (i < 0) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED,
                    "cannot go back to row %lld: the sliding window of layer %d has moved on", (long long)n, (int)i);
}

// What can be gone back to is the end, the beginning, and, as positions ascend, all rows from some row on.
int64_t hth_state_reach(const hth_state *s, int64_t n_most) {
    int64_t n = n_most < s->len ? n_most : s->len;
    if (s->tree_first >= 0 && n > s->tree_first) n = s->tree_first;
    if (n <= 0) return 0;
    return n == s->len || (layer_out_of_reach(s, n) < 0 && hth_blocks_reach(s, n)) ? n : 0;
}

// Drops pages and rows from row n on; nothing is checked.
static void forget_rows(hth_state *s, int64_t n) {
    size_t n_page = (size_t)((n + HTH_PAGE_ROWS - 1) / HTH_PAGE_ROWS);
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        hth_layer_state *l = &s->layers[i];
        if (n_page >= l->n_page && n != 0) continue;
        drop_pages(s, l, n_page < l->first_page ? l->first_page : n_page, l->n_page);
        l->n_page = n_page;
        if (n == 0) l->first_page = 0;
    }
    if (n <= s->tree_first) s->tree_first = -1;
    s->len = n;
}

hth_code hth_state_truncate(hth_state *s, int64_t n, hth_err *err) {
    if (n < 0 || n > s->len) {
        return hth_fail(err, HTH_ERR_RANGE, "cannot go back to row %lld of a sequence of %lld", (long long)n,
                        (long long)s->len);
    }
    if (n != 0 && n != s->len) HTH_TRY(check_reachable(s, n, err));
    HTH_TRY(hth_blocks_check(s, n, err));
    hth_blocks_keep(s, n, NULL, 0);
    forget_rows(s, n);
    return HTH_OK;
}

static void move_row(hth_state *s, int64_t from, int64_t to) {
    const hth_desc *d = &s->model->desc;
    for (int32_t i = 0; i < d->n_layer; i++) {
        hth_layer_state *l = &s->layers[i];
        if (l->n_page == 0) continue; // reads another layer's, or is not run here
        for (int32_t h = 0; h < d->layers[i].attn.n_kv_head; h++) {
            memcpy(hth_state_k(l, h, to), hth_state_k(l, h, from), l->k_head_bytes / HTH_PAGE_ROWS);
            memcpy(hth_state_v(l, h, to), hth_state_v(l, h, from), l->v_head_bytes / HTH_PAGE_ROWS);
        }
    }
    s->pos[to] = s->pos[from];
}

hth_code hth_state_keep(hth_state *s, int64_t first, const int64_t *rows, int64_t n_row, hth_err *err) {
    if (first < 0 || first > s->len) {
        return hth_fail(err, HTH_ERR_RANGE, "cannot keep rows from %lld on of a sequence of %lld", (long long)first,
                        (long long)s->len);
    }
    for (int64_t i = 0; i < n_row; i++) {
        if (rows[i] < (i == 0 ? first : rows[i - 1] + 1) || rows[i] >= s->len) {
            return hth_fail(err, HTH_ERR_RANGE, "rows to keep must ascend from %lld to below %lld", (long long)first,
                            (long long)s->len);
        }
        const int64_t before = i == 0 ? first - 1 : rows[i - 1];
        if (before >= 0 && s->pos[rows[i]] < s->pos[before]) {
            return hth_fail(err, HTH_ERR_RANGE, "rows to keep are no branch: row %lld has position %lld after %lld",
                            (long long)rows[i], (long long)s->pos[rows[i]], (long long)s->pos[before]);
        }
    }
    if (first < s->len) HTH_TRY(check_reachable(s, first, err)); // so that moving and truncating cannot fail
    HTH_TRY(hth_blocks_check_branch(s, first, rows, n_row, err));
    for (int32_t i = 0; n_row > 0 && i < s->model->desc.n_layer; i++) {
        HTH_TRY(own_from(s, &s->layers[i], first, err));
    }
    hth_blocks_keep(s, first, rows, n_row);
    s->tree_first = -1;
    for (int64_t i = 0; i < n_row; i++) {
        if (rows[i] != first + i) move_row(s, rows[i], first + i);
    }
    forget_rows(s, first + n_row);
    return HTH_OK;
}

static hth_code fork_layer(hth_state *to, int32_t layer, const hth_layer_state *from, int64_t n, hth_err *err) {
    hth_layer_state *l = &to->layers[layer];
    size_t n_page = (size_t)((n + HTH_PAGE_ROWS - 1) / HTH_PAGE_ROWS);
    if (n_page > from->n_page) n_page = from->n_page; // a layer that is not run here has none
    if (n_page == 0) return HTH_OK;
    if (!hth_grow(HTH_MEM_STATE, (void **)&l->pages, &l->cap, n_page, sizeof *l->pages, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (uint64_t)n_page * sizeof *l->pages);
    }
    l->first_page = from->first_page < n_page ? from->first_page : n_page;
    for (size_t p = 0; p < n_page; p++) {
        l->pages[p] = from->pages[p];
        if (!l->pages[p]) continue;
        hth_kv_page_hold(l->pages[p], l->page_bytes);
        to->n_bytes += l->page_bytes;
    }
    l->n_page = n_page;
    return HTH_OK;
}

static hth_code fork_rows(hth_state *to, const hth_state *from, int64_t n, hth_err *err) {
    if (!hth_grow(HTH_MEM_STATE, (void **)&to->pos, &to->pos_cap, (size_t)n, sizeof *to->pos, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (uint64_t)n * sizeof *to->pos);
    }
    memcpy(to->pos, from->pos, (size_t)n * sizeof *to->pos);
    for (int32_t i = 0; i < from->model->desc.n_layer; i++) HTH_TRY(fork_layer(to, i, &from->layers[i], n, err));
    hth_blocks_fork(to, from, n);
    to->len = n;
    to->layer_first = from->layer_first;
    to->layer_last = from->layer_last;
    return HTH_OK;
}

hth_code hth_state_fork(const hth_state *s, int64_t n, hth_state **out, hth_err *err) {
    *out = NULL;
    if (n < 0 || n > s->len || (s->tree_first >= 0 && n > s->tree_first)) {
        return hth_fail(err, HTH_ERR_RANGE, "cannot fork a sequence of %lld rows at row %lld%s", (long long)s->len,
                        (long long)n, n >= 0 && n <= s->len ? ": a draft tree stands there" : "");
    }
    if (n != 0 && n != s->len) HTH_TRY(check_reachable(s, n, err));
    HTH_TRY(hth_blocks_check(s, n, err));
    const hth_state_params params = {.n_ctx = s->n_ctx, .k_type = s->k_type, .v_type = s->v_type, .n_keep = s->n_keep};
    hth_state *to;
    HTH_TRY(hth_state_new(s->ex, s->model, &params, &to, err));
    const hth_code code = n > 0 ? fork_rows(to, s, n, err) : HTH_OK;
    if (code != HTH_OK) {
        hth_state_free(to);
        return code;
    }
    *out = to;
    return HTH_OK;
}

hth_code hth_state_set_n_ctx(hth_state *s, int64_t n_ctx, hth_err *err) {
    if (n_ctx < 1 || n_ctx < s->len) {
        return hth_fail(err, HTH_ERR_RANGE, "a context of %lld tokens for a sequence that holds %lld",
                        (long long)n_ctx, (long long)s->len);
    }
    const hth_desc *d = &s->model->desc;
    for (int32_t i = 0; i < d->n_rope && s->len > 0; i++) {
        if (hth_rope_is_long(&d->rope[i], n_ctx) == hth_rope_is_long(&d->rope[i], s->n_ctx)) continue;
        return hth_fail(err, HTH_ERR_UNSUPPORTED,
                        "a context of %lld tokens rotates differently than one of %lld, for which rows are stored",
                        (long long)n_ctx, (long long)s->n_ctx);
    }
    s->n_ctx = n_ctx;
    return HTH_OK;
}
