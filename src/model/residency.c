// From a model to the tables of a tier: the byte ranges of each expert's planes, and what is left when they are taken
// away.
#include "model/residency.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/spread.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/node.h"
#include "os/page.h"

#define N_READER 8                          // requests that keep a disk busy
#define DENSE_READ ((uint64_t)16 << 20)     // one read of the dense part
#define N_DENSE_READ 4                      // of them at a time
#define PROBE_NS 600000000u                 // for measuring the disk
#define N_PLANE (3 * 3)                     // three weights of three planes

_Static_assert(N_PLANE <= HTH_TIER_PARTS, "every plane may be a part");

// ---- one layer as a table

// A plane of one of a layer's expert weights.
typedef struct source {
    hth_weight *w;
    hth_plane *plane;
    uint64_t n_bytes; // of one expert
    int32_t part;     // of the table, and where it begins in it
    uint64_t delta;
} source;

typedef struct routed {
    source sources[N_PLANE];
    int n_source;
    int lead[N_PLANE]; // of each part: the source that begins it
    hth_tier_table table;
} routed;

static hth_ref place_of(const hth_plane *p, int64_t expert) {
    if (p->experts) return p->experts[expert];
    return (hth_ref){p->at.buffer, p->at.off + (uint64_t)expert * p->expert_bytes};
}

// Whether source b lies inside or behind the beginning of a, for all experts alike, with no gap between: gate and up of
// one tensor are read as one.
static bool overlaps(const source *a, const source *b) {
    const hth_plane *p = a->plane, *q = b->plane;
    return !p->experts && !q->experts && p->at.buffer == q->at.buffer && p->expert_bytes == q->expert_bytes &&
           q->at.off >= p->at.off && q->at.off - p->at.off <= a->n_bytes;
}

static void add_source(routed *r, hth_weight *w, hth_plane *plane) {
    const uint64_t n = hth_weight_plane_bytes(w, plane);
    if (n > 0) r->sources[r->n_source++] = (source){.w = w, .plane = plane, .n_bytes = n};
}

static void find_part(routed *r, int i) {
    source *s = &r->sources[i];
    for (int32_t p = 0; p < r->table.n_part; p++) {
        const source *first = &r->sources[r->lead[p]];
        if (!overlaps(first, s)) continue;
        s->part = p;
        s->delta = s->plane->at.off - first->plane->at.off;
        if (s->delta + s->n_bytes > r->table.part_bytes[p]) r->table.part_bytes[p] = s->delta + s->n_bytes;
        return;
    }
    s->part = r->table.n_part++;
    r->lead[s->part] = i;
    r->table.part_bytes[s->part] = s->n_bytes;
}

static bool is_routed(const hth_model *m, int32_t layer) {
    return m->desc.layers[layer].ffn == HTH_FFN_MOE && hth_weight_exists(&m->layers[layer].expert_down);
}

static void describe_routed(const hth_model *m, int32_t layer, routed *r) {
    hth_layer *l = &m->layers[layer];
    hth_weight *const all[] = {&l->expert_gate, &l->expert_up, &l->expert_down};
    *r = (routed){.table = {.item = "expert", .n_item = m->desc.layers[layer].moe.n_expert,
                            .n_together = m->desc.layers[layer].moe.n_used}};
    for (size_t i = 0; i < HTH_COUNT(all); i++) {
        if (!hth_weight_exists(all[i])) continue;
        add_source(r, all[i], &all[i]->codes);
        add_source(r, all[i], &all[i]->scales);
        add_source(r, all[i], &all[i]->biases);
    }
    for (int i = 0; i < r->n_source; i++) find_part(r, i);
}

static uint64_t item_bytes(const routed *r) {
    uint64_t n = 0;
    for (int32_t p = 0; p < r->table.n_part; p++) n += r->table.part_bytes[p];
    return n;
}

static int32_t file_of(const hth_model *m, const hth_buffer *b) {
    return (int32_t)(b - m->buffers);
}

static hth_code fill_table(const hth_model *m, hth_arena *arena, int32_t layer, routed *r, hth_err *err) {
    hth_tier_table *t = &r->table;
    char name[32];
    snprintf(name, sizeof name, "layer %d", (int)layer);
    t->name = hth_arena_strndup(arena, name, strlen(name));
    const size_t n = (size_t)t->n_item * (size_t)t->n_part;
    t->places = hth_arena_alloc(arena, n, sizeof *t->places);
    if (!t->name || !t->places) return hth_fail_nomem(err, n * sizeof *t->places);
    for (int32_t e = 0; e < t->n_item; e++) {
        for (int32_t p = 0; p < t->n_part; p++) {
            const hth_ref at = place_of(r->sources[r->lead[p]].plane, e);
            t->places[(size_t)e * (size_t)t->n_part + (size_t)p] = (hth_tier_place){file_of(m, at.buffer), at.off};
        }
    }
    return HTH_OK;
}

// From here on the weights' experts lie where the tier has them.
static hth_code redirect(hth_model *m, hth_tier *tier, int32_t table, routed *r, hth_err *err) {
    for (int i = 0; i < r->n_source; i++) {
        const source *s = &r->sources[i];
        hth_ref *refs = hth_arena_alloc(&m->arena, (size_t)r->table.n_item, sizeof *refs);
        if (!refs) return hth_fail_nomem(err, (uint64_t)r->table.n_item * sizeof *refs);
        HTH_TRY(hth_tier_follow(tier, table, s->part, s->delta, refs, err));
        s->plane->experts = refs;
    }
    return HTH_OK;
}

// ---- the plan

static uint64_t used_bytes(const hth_model *m) {
    uint64_t n = 0;
    for (int64_t i = 0; i < hth_container_n_tensor(m->container); i++) {
        if (m->tensor_used[i]) n += hth_container_tensor_at(m->container, i)->n_bytes;
    }
    return n;
}

static uint64_t kv_bytes(const hth_desc *d, int64_t n_ctx) {
    uint64_t n = 0;
    for (int32_t i = 0; i < d->n_layer; i++) {
        const hth_attention_desc *a = &d->layers[i].attn;
        const int64_t rows = a->window > 0 && 2 * a->window < n_ctx ? 2 * a->window : n_ctx;
        if (a->kv_layer == i) n += (uint64_t)(rows * a->n_kv_head * (a->head_dim + a->head_dim_v)) * 2;
    }
    return n;
}

// Roughly what a step of n_chunk rows needs: see cpu_executor.c.
static uint64_t scratch_bytes(const hth_desc *d, int64_t n_chunk) {
    uint64_t most = 0;
    for (int32_t i = 0; i < d->n_layer; i++) {
        const hth_layer_desc *l = &d->layers[i];
        const int64_t heads = (int64_t)l->attn.n_head * (l->attn.head_dim + l->attn.head_dim_v) +
                              (int64_t)l->attn.n_kv_head * (l->attn.head_dim + l->attn.head_dim_v);
        const int64_t experts = l->moe.n_used * (2 * (int64_t)hth_moe_width(&l->moe, d->d_model) + 3 * (int64_t)l->moe.d_ff);
        const uint64_t n = (uint64_t)(5 * (int64_t)d->d_model + heads + 3 * (int64_t)l->d_ff + experts) * sizeof(float);
        most = n > most ? n : most;
    }
    return most * (uint64_t)n_chunk + (uint64_t)d->n_vocab * sizeof(float);
}

static hth_code refuse_limit(const hth_residency *r, uint64_t least, hth_err *err) {
    return hth_fail(err, HTH_ERR_LIMIT,
                    "%.0f MB are too little memory: %.0f MB of weights stay resident, keys, values and work need %.0f MB, "
                    "and experts at least %.0f MB",
                    (double)r->limit_bytes * 1e-6, (double)r->dense_bytes * 1e-6, (double)r->work_bytes * 1e-6,
                    ceil((double)least * 1e-6));
}

// What the system can give without pushing others out, with something left for itself.
static uint64_t default_limit(void) {
    hth_machine machine;
    hth_machine_get(&machine);
    const uint64_t n = machine.available_bytes > 0 ? machine.available_bytes : machine.memory_bytes / 4 * 3;
    return n - n / 16;
}

hth_code hth_residency_plan(const hth_model *m, const hth_residency_wish *wish, hth_residency *out, hth_err *err) {
    *out = (hth_residency){.limit_bytes = wish->limit_bytes ? wish->limit_bytes : default_limit(), .n_node = 1,
                           .work_bytes = kv_bytes(&m->desc, wish->n_ctx) + scratch_bytes(&m->desc, wish->n_chunk)};
    uint64_t least = 0;
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        if (!is_routed(m, i)) continue;
        routed r;
        describe_routed(m, i, &r);
        out->n_expert += r.table.n_item;
        out->routed_bytes += (uint64_t)r.table.n_item * item_bytes(&r);
        out->token_bytes += (uint64_t)r.table.n_together * item_bytes(&r);
        const uint64_t n = (uint64_t)r.table.n_together * item_bytes(&r);
        least = n > least ? n : least;
    }
    const uint64_t all = used_bytes(m);
    out->dense_bytes = all > out->routed_bytes ? all - out->routed_bytes : 0;
    const uint64_t resident = out->dense_bytes + out->work_bytes;
    if (resident + out->routed_bytes <= out->limit_bytes) {
        if (wish->n_node > 1) out->n_node = wish->n_node;
        out->is_read = wish->no_map || out->n_node > 1;
        return HTH_OK;
    }
    if (out->routed_bytes == 0 || resident + least > out->limit_bytes) {
        // The system's own paging is what is left where nobody named a limit.
        return wish->limit_bytes || wish->no_map ? refuse_limit(out, least, err) : HTH_OK;
    }
    out->is_streamed = true;
    if (wish->n_node > 1) out->n_node = wish->n_node;
    out->cache_bytes = out->limit_bytes - resident;
    return HTH_OK;
}

// ---- the dense part

// A range of a file that becomes ours.
typedef struct part {
    int i_file;
    uint64_t first, last;
} part;

typedef struct parts {
    part *items; // [n] owned
    size_t n, cap;
} parts;

static hth_code add_part(parts *p, part one, hth_err *err) {
    if (!hth_grow(HTH_MEM_MODEL, (void **)&p->items, &p->cap, p->n + 1, sizeof *p->items, SIZE_MAX / sizeof *p->items)) {
        return hth_fail_nomem(err, sizeof *p->items);
    }
    p->items[p->n++] = one;
    return HTH_OK;
}

static int compare_parts(const void *a, const void *b) {
    const part *x = a, *y = b;
    if (x->i_file != y->i_file) return x->i_file < y->i_file ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static void sort_parts(parts *p) {
    if (p->n > 1) qsort(p->items, p->n, sizeof *p->items, compare_parts);
}

// Rounds to whole pages and joins what meets.
static void join_parts(const hth_model *m, parts *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        part one = p->items[i];
        const uint64_t size = m->buffers[one.i_file].n_bytes, page = HTH_FILE_OWN_ALIGN;
        one.first -= one.first % page;
        one.last = size - one.last < page ? size : (one.last + page - 1) / page * page;
        if (one.last > size) one.last = size;
        if (n > 0 && p->items[n - 1].i_file == one.i_file && p->items[n - 1].last >= one.first) {
            if (one.last > p->items[n - 1].last) p->items[n - 1].last = one.last;
        } else {
            p->items[n++] = one;
        }
    }
    p->n = n;
}

// Every range that a tier reads, sorted.
static hth_code find_routed(const hth_model *m, const routed *layers, parts *out, hth_err *err) {
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        const hth_tier_table *t = &layers[i].table;
        for (size_t k = 0; k < (size_t)t->n_item * (size_t)t->n_part; k++) {
            const hth_tier_place at = t->places[k];
            HTH_TRY(add_part(out, (part){at.i_file, at.off, at.off + t->part_bytes[k % (size_t)t->n_part]}, err));
        }
    }
    sort_parts(out);
    return HTH_OK;
}

// Whether an expert begins in the tensor: then all of it is experts.
static bool holds_experts(const parts *routed_parts, const hth_tensor *t) {
    size_t lo = 0, hi = routed_parts->n;
    const part want = {t->i_file, t->off, 0};
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (compare_parts(&routed_parts->items[mid], &want) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo < routed_parts->n && routed_parts->items[lo].i_file == t->i_file &&
           routed_parts->items[lo].first < t->off + t->n_bytes;
}

// Headers, and the tensors that are in use and hold no experts.
static hth_code find_dense(const hth_model *m, const parts *routed_parts, parts *out, hth_err *err) {
    const int n_file = hth_container_n_file(m->container);
    for (int i = 0; i < n_file; i++) HTH_TRY(add_part(out, (part){i, 0, m->buffers[i].n_bytes}, err));
    for (int64_t k = 0; k < hth_container_n_tensor(m->container); k++) {
        const hth_tensor *t = hth_container_tensor_at(m->container, k);
        if (t->off < out->items[t->i_file].last) out->items[t->i_file].last = t->off;
        if (!m->tensor_used[k] || t->n_bytes == 0 || holds_experts(routed_parts, t)) continue;
        HTH_TRY(add_part(out, (part){t->i_file, t->off, t->off + t->n_bytes}, err));
    }
    sort_parts(out);
    join_parts(m, out);
    return HTH_OK;
}

// What is being read of the dense part.
typedef struct dense_load {
    hth_model *m;
    hth_tier *tier; // for its files and its readers
    int n_node;
    hth_direct_read reads[N_DENSE_READ];
    uint64_t n_asked, n_waited; // reads
    uint64_t done, total;       // bytes
    hth_residency_progress_fn progress;
    void *user;
} dense_load;

static hth_code wait_for_oldest(dense_load *d, hth_err *err) {
    const hth_direct_read *r = &d->reads[d->n_waited++ % N_DENSE_READ];
    HTH_TRY(hth_reader_wait(hth_tier_reader(d->tier), r, err));
    d->done += r->n_bytes;
    if (d->progress && !d->progress(d->user, (int64_t)d->done, (int64_t)d->total)) return hth_fail(err, HTH_ERR_CANCELLED, "cancelled");
    return HTH_OK;
}

// Of a part that is being loaded: where its first byte goes, and which of the file it is.
typedef struct placing {
    uint8_t *to;
    uint64_t first;
} placing;

static void place(void *user, uint64_t first, uint64_t last, int node) {
    const placing *p = user;
    (void)hth_node_place(p->to + (first - p->first), (size_t)(last - first), node); // a wish
}

static hth_code load_part(dense_load *d, const part *p, hth_err *err) {
    const hth_buffer *b = &d->m->buffers[p->i_file];
    const hth_file_map map = {b->host, b->n_bytes};
    uint8_t *to;
    HTH_TRY(hth_file_map_own(&map, p->first, p->last - p->first, &to, err));
    hth_page_want_large(to, (size_t)(p->last - p->first));
    if (d->n_node > 1) hth_spread(d->m, p->i_file, p->first, p->last, d->n_node, place, &(placing){to, p->first});
    hth_code code = HTH_OK;
    for (uint64_t at = p->first; code == HTH_OK && at < p->last; at += DENSE_READ) {
        if (d->n_asked - d->n_waited == N_DENSE_READ) code = wait_for_oldest(d, err);
        if (code != HTH_OK) break;
        hth_direct_read *r = &d->reads[d->n_asked++ % N_DENSE_READ];
        *r = (hth_direct_read){.file = hth_tier_file(d->tier, p->i_file), .off = at, .to = to + (at - p->first),
                               .n_bytes = p->last - at < DENSE_READ ? p->last - at : DENSE_READ};
        hth_reader_ask(hth_tier_reader(d->tier), r);
    }
    return code;
}

static hth_code load_dense(hth_model *m, hth_tier *tier, const parts *dense, int n_node, hth_residency_progress_fn progress,
                           void *user, hth_err *err) {
    dense_load d = {.m = m, .tier = tier, .n_node = n_node, .progress = progress, .user = user};
    hth_code code = HTH_OK;
    for (size_t i = 0; i < dense->n; i++) d.total += dense->items[i].last - dense->items[i].first;
    for (size_t i = 0; i < dense->n && code == HTH_OK; i++) code = load_part(&d, &dense->items[i], err);
    while (d.n_waited < d.n_asked) { // also after a failure: nobody may write into freed memory
        hth_err later;
        const hth_code one = wait_for_oldest(&d, &later);
        if (code != HTH_OK || one == HTH_OK) continue;
        code = one;
        if (err) *err = later;
    }
    for (size_t i = 0; i < dense->n && code == HTH_OK; i++) {
        const part *p = &dense->items[i];
        const hth_file_map map = {m->buffers[p->i_file].host, m->buffers[p->i_file].n_bytes};
        hth_file_map_seal(&map, p->first, p->last - p->first);
    }
    if (code == HTH_OK) m->own_bytes = d.total;
    return code;
}

// ---- carrying it out

// The tables and the files of the tier, and the list of what else is read.
static hth_code make_tables(hth_model *m, hth_stream *s, routed *layers, parts *dense, hth_err *err) {
    parts all = {0};
    hth_code code = HTH_OK;
    for (int32_t i = 0; i < m->desc.n_layer && code == HTH_OK; i++) {
        s->tables[i] = -1;
        if (!is_routed(m, i)) continue;
        describe_routed(m, i, &layers[i]);
        code = fill_table(m, &m->arena, i, &layers[i], err);
        if (code == HTH_OK) code = hth_tier_add(s->tier, &layers[i].table, &s->tables[i], err);
    }
    if (code == HTH_OK) code = find_routed(m, layers, &all, err);
    if (code == HTH_OK) code = find_dense(m, &all, dense, err);
    hth_free(all.items);
    return code;
}

static hth_code open_tier(const hth_model *m, hth_tier **out, hth_err *err) {
    const int n = hth_container_n_file(m->container);
    const char **paths = hth_calloc(HTH_MEM_MODEL, (size_t)n, sizeof *paths);
    if (!paths) return hth_fail_nomem(err, (uint64_t)n * sizeof *paths);
    for (int i = 0; i < n; i++) paths[i] = hth_container_file_path(m->container, i);
    const hth_code code = hth_tier_new(paths, n, N_READER, out, err);
    hth_free(paths);
    return code;
}

static void complete(hth_residency *r, hth_tier *tier) {
    const hth_tier_stats stats = hth_tier_get_stats(tier);
    r->n_slot = stats.n_slot;
    r->cache_bytes = stats.slot_bytes;
    r->is_past_cache = stats.is_past_cache;
    const double missing = 1 - (double)stats.n_slot / (double)stats.n_item;
    if (missing > 0) r->tokens_per_second = r->read_rate / (missing * (double)r->token_bytes);
}

static hth_code apply(hth_model *m, hth_stream *s, routed *layers, hth_residency_progress_fn progress, void *user, hth_err *err) {
    parts dense = {0};
    hth_code code = open_tier(m, &s->tier, err);
    if (code == HTH_OK) code = make_tables(m, s, layers, &dense, err);
    if (code == HTH_OK) code = load_dense(m, s->tier, &dense, s->residency.n_node, progress, user, err);
    hth_free(dense.items);
    HTH_TRY(code);
    uint64_t room = s->residency.cache_bytes;
    const uint64_t least = hth_tier_min_bytes(s->tier);
    if (room < least) return refuse_limit(&s->residency, least, err);
    HTH_TRY(hth_tier_make_room(s->tier, room, err));
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        if (s->tables[i] >= 0) HTH_TRY(redirect(m, s->tier, s->tables[i], &layers[i], err));
    }
    HTH_TRY(hth_tier_probe(s->tier, PROBE_NS, &s->residency.read_rate, err));
    complete(&s->residency, s->tier);
    m->own_bytes += s->residency.cache_bytes;
    return HTH_OK;
}

// All weights become ours, in large pages, on the nodes where their threads are.
static hth_code apply_read(hth_model *m, int n_node, hth_residency_progress_fn progress, void *user, hth_err *err) {
    const parts no_experts = {0};
    parts dense = {0};
    hth_tier *tier = NULL;
    hth_code code = open_tier(m, &tier, err);
    if (code == HTH_OK) code = find_dense(m, &no_experts, &dense, err);
    if (code == HTH_OK) code = load_dense(m, tier, &dense, n_node, progress, user, err);
    hth_free(dense.items);
    hth_tier_free(tier);
    return code;
}

hth_code hth_residency_apply(hth_model *m, hth_residency *plan, hth_residency_progress_fn progress, void *user, hth_err *err) {
    if (m->stream) return HTH_OK;
    if (!plan->is_streamed) return plan->is_read ? apply_read(m, plan->n_node, progress, user, err) : HTH_OK;
    hth_stream *s = hth_arena_alloc(&m->arena, 1, sizeof *s);
    routed *layers = hth_calloc(HTH_MEM_MODEL, (size_t)m->desc.n_layer, sizeof *layers);
    hth_code code = HTH_OK;
    if (s) s->tables = hth_arena_alloc(&m->arena, (size_t)m->desc.n_layer, sizeof *s->tables);
    if (!s || !s->tables || !layers) {
        code = hth_fail_nomem(err, (uint64_t)m->desc.n_layer * sizeof *layers);
    } else {
        s->residency = *plan;
        m->stream = s; // freed with the model, whatever comes
        code = apply(m, s, layers, progress, user, err);
        *plan = s->residency;
    }
    hth_free(layers);
    return code;
}

void hth_stream_free(hth_stream *s) {
    if (s) hth_tier_free(s->tier);
}
