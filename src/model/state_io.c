// Records of a sequence's state. All numbers are little-endian; pages are as the kernels store them.
//
//   header   magic, version, shape (a hash of what decides the layout of pages), first row, end row, layers, context
//   rows     position of each row
//   layers   for each with pages: number of the first page that is still there; pages from row `first` on, or all
//            that are there where a window slides
//   blocks   of recurrent layers after the last row
//   end      checksum
//
// How many bytes follow is computed from the header and the model, never read.
#include "model/state_io.h"

#include <string.h>

#include "base/hash.h"
#include "model/kv_page.h"
#include "model/rope.h"
#include "model/state.h"

#define MAGIC "HTHSTATE"
#define VERSION 2

typedef struct record {
    int64_t first, end, n_ctx;
    int32_t layer_first, layer_last;
} record;

typedef struct stream {
    const hth_state_sink *sink;
    const hth_state_source *source;
    uint64_t sum;
} stream;

static hth_code put(stream *t, const void *bytes, size_t n, hth_err *err) {
    t->sum = hth_hash(bytes, n, t->sum);
    return t->sink->write(t->sink->user, bytes, n, err);
}

static hth_code get(stream *t, void *bytes, size_t n, hth_err *err) {
    HTH_TRY(t->source->read(t->source->user, bytes, n, err));
    t->sum = hth_hash(bytes, n, t->sum);
    return HTH_OK;
}

static hth_code put_u64(stream *t, uint64_t v, hth_err *err) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    return put(t, bytes, sizeof bytes, err);
}

static hth_code get_u64(stream *t, uint64_t *v, hth_err *err) {
    uint8_t bytes[8];
    HTH_TRY(get(t, bytes, sizeof bytes, err));
    *v = 0;
    for (int i = 0; i < 8; i++) *v |= (uint64_t)bytes[i] << (8 * i);
    return HTH_OK;
}

// Two states with the same shape have pages of the same layout in every layer.
static uint64_t shape_of(const hth_state *s) {
    uint64_t h = hth_hash(MAGIC, 8, HTH_PAGE_ROWS);
    for (int32_t i = 0; i < s->model->desc.n_layer; i++) {
        const hth_layer_state *l = &s->layers[i];
        const uint64_t shape[] = {l->page_bytes, l->v_off, l->k_head_bytes, l->v_head_bytes, (uint64_t)l->window,
                                  (uint64_t)s->k_type, (uint64_t)s->v_type, (uint64_t)l->block_at};
        h = hth_hash(shape, sizeof shape, h);
    }
    return h;
}

static size_t pages_for(int64_t n_row) {
    return (size_t)((n_row + HTH_PAGE_ROWS - 1) / HTH_PAGE_ROWS);
}

// The first page of a layer that a record holds, which has pages from `first_page` on.
static size_t record_page(const hth_layer_state *l, const record *r, size_t first_page) {
    return l->window > 0 ? first_page : pages_for(r->first);
}

// ---- writing

static hth_code write_layer(stream *t, const hth_layer_state *l, const record *r, hth_err *err) {
    HTH_TRY(put_u64(t, l->first_page, err));
    const size_t n_page = pages_for(r->end);
    for (size_t p = record_page(l, r, l->first_page); p < n_page; p++) {
        HTH_TRY(put(t, l->pages[p], l->page_bytes, err));
    }
    return HTH_OK;
}

static hth_code write_record(stream *t, const hth_state *s, const record *r, hth_err *err) {
    HTH_TRY(put(t, MAGIC, 8, err));
    const uint64_t head[] = {VERSION,           shape_of(s), (uint64_t)r->first,       (uint64_t)r->end,
                             (uint64_t)r->n_ctx, (uint64_t)r->layer_first, (uint64_t)r->layer_last};
    for (size_t i = 0; i < HTH_COUNT(head); i++) HTH_TRY(put_u64(t, head[i], err));
    for (int64_t i = r->first; i < r->end; i++) HTH_TRY(put_u64(t, (uint64_t)s->pos[i], err));
    for (int32_t i = r->layer_first; i < r->layer_last; i++) {
        if (s->layers[i].page_bytes > 0) HTH_TRY(write_layer(t, &s->layers[i], r, err));
    }
    size_t n;
    const uint8_t *blocks = r->end > 0 ? hth_blocks_last(s, &n) : NULL;
    if (blocks) HTH_TRY(put(t, blocks, n, err));
    return put_u64(t, t->sum, err);
}

hth_code hth_state_write(const hth_state *s, int64_t first, const hth_state_sink *to, hth_err *err) {
    if (first < 0 || first > s->len || first % HTH_PAGE_ROWS != 0) {
        return hth_fail(err, HTH_ERR_RANGE, "a record of a sequence of %lld rows cannot begin with row %lld",
                        (long long)s->len, (long long)first);
    }
    if (s->tree_first >= 0) {
        return hth_fail(err, HTH_ERR_RANGE, "a draft tree cannot be written: a branch of it must be kept first");
    }
    const record r = {first, s->len, s->n_ctx, s->len > 0 ? s->layer_first : 0, s->len > 0 ? s->layer_last : 0};
    stream t = {.sink = to};
    return write_record(&t, s, &r, err);
}

// ---- reading

static hth_code read_header(stream *t, const hth_state *s, record *r, hth_err *err) {
    char magic[8];
    uint64_t h[7];
    HTH_TRY(get(t, magic, sizeof magic, err));
    if (memcmp(magic, MAGIC, sizeof magic) != 0) return hth_fail(err, HTH_ERR_FORMAT, "not a record of a sequence");
    for (size_t i = 0; i < HTH_COUNT(h); i++) HTH_TRY(get_u64(t, &h[i], err));
    if (h[0] != VERSION) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "a sequence's record has version %llu, this program knows %d",
                        (unsigned long long)h[0], VERSION);
    }
    if (h[1] != shape_of(s)) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "a sequence's record was made for another model or other K/V types");
    }
    if (h[3] > (uint64_t)s->n_ctx) {
        return hth_fail(err, HTH_ERR_LIMIT, "a sequence's record has %llu rows, the context %lld",
                        (unsigned long long)h[3], (long long)s->n_ctx);
    }
    const uint64_t n_layer = (uint64_t)s->model->desc.n_layer;
    if (h[2] > h[3] || h[2] % HTH_PAGE_ROWS != 0 || h[5] > h[6] || h[6] > n_layer || h[4] < h[3] || h[4] > INT64_MAX) {
        return hth_fail(err, HTH_ERR_FORMAT, "a sequence's record has a header that makes no sense");
    }
    for (int32_t i = 0; i < s->model->desc.n_rope; i++) {
        const hth_rope *rope = &s->model->desc.rope[i];
        if (hth_rope_is_long(rope, (int64_t)h[4]) == hth_rope_is_long(rope, s->n_ctx)) continue;
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "a sequence's record was made for a context of %llu, which rotates otherwise",
                        (unsigned long long)h[4]);
    }
    *r = (record){(int64_t)h[2], (int64_t)h[3], (int64_t)h[4], (int32_t)h[5], (int32_t)h[6]};
    const bool same_layers = s->layer_first == r->layer_first && s->layer_last == r->layer_last;
    if (r->first > s->len || (r->first > 0 && !same_layers)) {
        return hth_fail(err, HTH_ERR_FORMAT, "a record that begins with row %lld does not continue a sequence of %lld",
                        (long long)r->first, (long long)s->len);
    }
    return HTH_OK;
}

static hth_code read_positions(stream *t, hth_state *s, const record *r, hth_err *err) {
    if (!hth_grow(HTH_MEM_STATE, (void **)&s->pos, &s->pos_cap, (size_t)r->end, sizeof *s->pos, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (uint64_t)r->end * sizeof *s->pos);
    }
    for (int64_t i = r->first; i < r->end; i++) {
        uint64_t pos;
        HTH_TRY(get_u64(t, &pos, err));
        if (pos > INT64_MAX || (i > 0 && (int64_t)pos < s->pos[i - 1])) {
            return hth_fail(err, HTH_ERR_FORMAT, "a sequence's record has positions that do not ascend");
        }
        s->pos[i] = (int64_t)pos;
    }
    return HTH_OK;
}

static void drop_page(hth_state *s, hth_layer_state *l, size_t p) {
    if (!l->pages[p]) return;
    hth_kv_page_drop(s->ex, l->pages[p], l->page_bytes);
    l->pages[p] = NULL;
    s->n_bytes -= l->page_bytes;
}

static hth_code read_layer(stream *t, hth_state *s, hth_layer_state *l, const record *r, hth_err *err) {
    const size_t n_page = pages_for(r->end);
    uint64_t first_page;
    HTH_TRY(get_u64(t, &first_page, err));
    if (first_page > n_page || (first_page > 0 && l->window == 0)) {
        return hth_fail(err, HTH_ERR_FORMAT, "a sequence's record lacks pages of a layer without a window");
    }
    if (!hth_grow(HTH_MEM_STATE, (void **)&l->pages, &l->cap, n_page, sizeof *l->pages, SIZE_MAX / 16)) {
        return hth_fail_nomem(err, (uint64_t)n_page * sizeof *l->pages);
    }
    const size_t from = record_page(l, r, (size_t)first_page), keep = l->window > 0 ? 0 : from;
    for (size_t p = keep; p < l->n_page; p++) drop_page(s, l, p);
    l->first_page = (size_t)first_page;
    for (l->n_page = keep; l->n_page < from; l->n_page++) l->pages[l->n_page] = NULL;
    while (l->n_page < n_page) {
        uint8_t *page = hth_kv_page_new(s->ex, l->page_bytes);
        if (!page) return hth_fail_nomem(err, l->page_bytes);
        l->pages[l->n_page++] = page;
        s->n_bytes += l->page_bytes;
        HTH_TRY(get(t, page, l->page_bytes, err));
    }
    return HTH_OK;
}

static hth_code read_blocks(stream *t, hth_state *s, const record *r, hth_err *err) {
    size_t n;
    if (!s->slots) return HTH_OK;
    s->len = 0; // none of the blocks that it may have is of use
    uint8_t *blocks = hth_blocks_fill(s, r->layer_first, r->layer_last, r->end, &n);
    return blocks ? get(t, blocks, n, err) : hth_fail_nomem(err, (uint64_t)s->slot_len * sizeof(float));
}

static hth_code read_record(stream *t, hth_state *s, record *r, hth_err *err) {
    HTH_TRY(read_header(t, s, r, err));
    HTH_TRY(read_positions(t, s, r, err));
    for (int32_t i = r->layer_first; i < r->layer_last; i++) {
        if (s->layers[i].page_bytes > 0) HTH_TRY(read_layer(t, s, &s->layers[i], r, err));
    }
    if (r->end > 0) HTH_TRY(read_blocks(t, s, r, err));
    const uint64_t want = t->sum;
    uint64_t sum;
    HTH_TRY(get_u64(t, &sum, err));
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    sum = want;
#endif
    if (sum != want) return hth_fail(err, HTH_ERR_FORMAT, "a sequence's record is damaged: its checksum does not fit");
    return HTH_OK;
}

hth_code hth_state_read(hth_state *s, const hth_state_source *from, hth_err *err) {
    stream t = {.source = from};
    record r;
    const hth_code code = read_record(&t, s, &r, err);
    if (code != HTH_OK) {
        hth_err unused;
        const hth_code emptied = hth_state_truncate(s, 0, &unused); // which is always possible
        return emptied == HTH_OK ? code : emptied;
    }
    s->len = r.end;
    s->layer_first = r.layer_first;
    s->layer_last = r.layer_last;
    return HTH_OK;
}
