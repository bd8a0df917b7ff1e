// An adapter's modules, and what they do in a step. B is applied to the rows that a thread has just computed; A times
// the input is needed for all of them, so each thread keeps it for the product that it is at.
#include "model/lora.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/lora_impl.h"
#include "os/file.h"

// ---- loading

void hth_lora_free(hth_lora *l) {
    if (!l) return;
    for (size_t i = 0; i < l->n; i++) {
        hth_free(l->modules[i].a);
        hth_free(l->modules[i].b);
    }
    hth_free(l->modules);
    hth_map_free(&l->by_name);
    hth_free(l);
}

// Grows *n_row and *n_col to what a view covers of the tensor of that name; keeps the model's own spelling.
static void cover(const hth_weight *w, const char *name, const char **own, int64_t *n_row, int64_t *n_col) {
    if (!hth_weight_exists(w) || !w->name || strcmp(w->name, name) != 0) return;
    *own = w->name;
    if (w->row0 + w->n_row > *n_row) *n_row = w->row0 + w->n_row;
    if (w->col0 + w->n_col > *n_col) *n_col = w->col0 + w->n_col;
}

// The matrix of that name among those whose products have the hook. Returns the model's own spelling, or NULL.
static const char *find_matrix(const hth_model *m, const char *name, int64_t *n_row, int64_t *n_col) {
    const char *own = NULL;
    *n_row = *n_col = 0;
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        const hth_weight *all[HTH_LAYER_MATRICES];
        const int n = hth_layer_matrices(&m->layers[i], all);
        for (int k = 0; k < n; k++) cover(all[k], name, &own, n_row, n_col);
    }
    if (!m->desc.tied_output) cover(&m->output, name, &own, n_row, n_col);
    cover(&m->per_layer_model_proj, name, &own, n_row, n_col);
    return own;
}

static hth_code bad_shape(const lora_pair *p, int64_t n_row, int64_t n_col, hth_err *err) {
    return hth_fail(err, HTH_ERR_FORMAT,
                    "adapter of %s: its halves are %lld x %lld and %lld x %lld, which gives no matrix of %lld x %lld", p->name,
                    (long long)p->a->dim[0], (long long)p->a->dim[1], (long long)p->b->dim[0], (long long)p->b->dim[1],
                    (long long)n_row, (long long)n_col);
}

// A tensor [n_row, n_col] as f32, turned where asked.
static hth_code copy_tensor(const hth_tensor *t, bool is_turned, float **out, hth_err *err) {
    const hth_type_info *info = hth_type_get(t->type);
    const int64_t n_row = t->dim[0], n_col = t->dim[1];
    if (!info || !info->dequantize || n_col % info->block_len != 0)
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter: %s has type %s", t->name, info ? info->name : "unknown");
    const uint64_t n = (uint64_t)n_row * (uint64_t)n_col; // both were compared with the model's
    float *v = hth_calloc(HTH_MEM_MODEL, n, sizeof *v), *row = is_turned ? hth_calloc(HTH_MEM_MODEL, (size_t)n_col, sizeof *row) : NULL;
    if (!v || (is_turned && !row)) {
        hth_free(v);
        hth_free(row);
        return hth_fail_nomem(err, n * sizeof *v);
    }
    if (!is_turned) info->dequantize(t->data, v, (int64_t)n);
    for (int64_t r = 0; is_turned && r < n_row; r++) {
        info->dequantize(t->data + (uint64_t)r * (uint64_t)(n_col / info->block_len) * info->block_bytes, row, n_col);
        for (int64_t c = 0; c < n_col; c++) v[c * n_row + r] = row[c];
    }
    hth_free(row);
    for (uint64_t i = 0; i < n; i++) {
        if (isfinite(v[i])) continue;
        hth_free(v);
        return hth_fail(err, HTH_ERR_FORMAT, "adapter: %s holds a value that is no number", t->name);
    }
    *out = v;
    return HTH_OK;
}

// The rank, once the shapes fit; 0 otherwise. The embedding's first half has a row per token.
static int64_t rank_of(const lora_pair *p, bool is_embedding, int64_t n_row, int64_t n_col) {
    const int64_t *a = p->a->dim, *b = p->b->dim;
    if (p->a->n_dim != 2 || p->b->n_dim != 2) return 0;
    if (is_embedding) return a[0] == n_row && b[0] == n_col && a[1] == b[1] ? a[1] : 0;
    if (p->is_turned) return a[0] == n_col && b[1] == n_row && a[1] == b[0] ? a[1] : 0;
    return a[1] == n_col && b[0] == n_row && a[0] == b[1] ? a[0] : 0;
}

static hth_code push(hth_lora *l, const lora_module *m, hth_err *err) {
    bool was_there;
    uint32_t old;
    if (!hth_grow(HTH_MEM_MODEL, (void **)&l->modules, &l->cap, l->n + 1, sizeof *l->modules, SIZE_MAX / 1024) ||
        !hth_map_insert(&l->by_name, m->name, strlen(m->name), (uint32_t)l->n, &old, &was_there)) {
        return hth_fail_nomem(err, (l->n + 1) * sizeof *l->modules);
    }
    if (was_there) return hth_fail(err, HTH_ERR_FORMAT, "adapter: %s is there twice", m->name);
    l->modules[l->n++] = *m;
    if (m->rank > l->max_rank) l->max_rank = m->rank;
    return HTH_OK;
}

// The tensor that is meant, and its size.
static hth_code find_target(const hth_model *model, const char *name, lora_module *m, bool *is_embedding, hth_err *err) {
    const hth_weight *embd = &model->token_embd;
    *is_embedding = embd->name && strcmp(embd->name, name) == 0;
    if (*is_embedding) {
        *m = (lora_module){.name = embd->name, .n_row = embd->n_row, .n_col = embd->n_col};
        return HTH_OK;
    }
    m->name = find_matrix(model, name, &m->n_row, &m->n_col);
    if (m->name) return HTH_OK;
    if (hth_container_find(model->container, name))
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "adapter: changes of %s are not supported", name);
    return hth_fail(err, HTH_ERR_FORMAT, "adapter: the model has no tensor %s; is it for another model?", name);
}

hth_code lora_add(hth_lora *l, const lora_pair *p, hth_err *err) {
    lora_module m = {0};
    bool is_embedding;
    HTH_TRY(find_target(l->model, p->name, &m, &is_embedding, err));
    const int64_t rank = rank_of(p, is_embedding, m.n_row, m.n_col);
    if (rank < 1 || rank > HTH_MAX_LORA_RANK) return bad_shape(p, m.n_row, m.n_col, err);
    m.rank = (int32_t)rank;
    m.scale = (float)(p->alpha == 0 ? p->scale : p->is_rooted ? p->alpha / sqrt((double)rank) : p->alpha / (double)rank);
    if (!isfinite(m.scale)) return hth_fail(err, HTH_ERR_FORMAT, "adapter: its scale is no number");
    hth_code code = copy_tensor(p->a, p->is_turned, &m.a, err);
    if (code == HTH_OK) code = copy_tensor(p->b, p->is_turned, &m.b, err);
    if (code == HTH_OK) code = push(l, &m, err);
    if (code != HTH_OK) {
        hth_free(m.a);
        hth_free(m.b);
    }
    return code;
}

static uint64_t hash_modules(const hth_lora *l) {
    uint64_t id = 0;
    for (size_t i = 0; i < l->n; i++) {
        const lora_module *m = &l->modules[i];
        const bool is_embedding = m == l->embedding;
        id = hth_hash(m->name, strlen(m->name), id ^ (uint64_t)m->rank);
        id = hth_hash(&m->scale, sizeof m->scale, id);
        id = hth_hash(m->a, (size_t)(m->rank * (is_embedding ? m->n_row : m->n_col)) * sizeof *m->a, id);
        id = hth_hash(m->b, (size_t)(m->rank * (is_embedding ? m->n_col : m->n_row)) * sizeof *m->b, id);
    }
    return id;
}

hth_code hth_lora_open(const char *path, const hth_model *m, hth_lora **out, hth_err *err) {
    hth_lora *l = hth_calloc(HTH_MEM_MODEL, 1, sizeof *l);
    if (!l) return hth_fail_nomem(err, sizeof *l);
    l->model = m;
    hth_code code = hth_map_init(&l->by_name, HTH_MEM_MODEL, 64) ? HTH_OK : hth_fail_nomem(err, 0);
    const bool is_folder = hth_path_kind_of(path) == HTH_PATH_FOLDER;
    if (code == HTH_OK) code = is_folder ? lora_load_folder(l, path, err) : lora_load_gguf(l, path, err);
    if (code == HTH_OK && l->n == 0) code = hth_fail(err, HTH_ERR_FORMAT, "%s: there are no tensors in the adapter", path);
    if (code != HTH_OK) {
        hth_lora_free(l);
        return code;
    }
    uint32_t i;
    const char *name = m->token_embd.name;
    if (name && hth_map_find(&l->by_name, name, strlen(name), &i)) l->embedding = &l->modules[i];
    l->id = hash_modules(l);
    *out = l;
    return HTH_OK;
}

uint64_t hth_lora_id(const hth_lora *l) {
    return l->id;
}

int32_t hth_lora_rank(const hth_lora *l) {
    return l->max_rank;
}

int32_t hth_lora_n_module(const hth_lora *l) {
    return (int32_t)l->n;
}

// ---- applying

// A times the input of the product that a thread is at.
typedef struct lora_cache {
    const hth_weight *w;
    const float *x;
    float *values; // part of the runner's room
} lora_cache;

struct hth_lora_runner {
    hth_linear_hook hook;
    const hth_kernels *kernels;
    const hth_lora_set *sets; // borrowed for the step
    lora_cache *caches;       // [n_thread] owned
    size_t n_cache;
    float *room; // [n_thread, n_row * ranks] owned
    size_t n_room;
};

static const lora_module *find_module(const hth_lora *l, const hth_weight *w) {
    uint32_t i;
    if (!w->name || !hth_map_find(&l->by_name, w->name, strlen(w->name), &i)) return NULL;
    return &l->modules[i] == l->embedding ? NULL : &l->modules[i];
}

// y += factor * B u for rows [first, last) of the weight and n tokens; u [n, rank].
static void add_product(const hth_kernels *k, const lora_module *m, const hth_weight *w, float factor, const float *u, int64_t n,
                        int64_t first, int64_t last, float *y, int64_t y_stride) {
    enum { ROWS = 128, TOKENS = 16 };
    float part[ROWS * TOKENS];
    for (int64_t r = first; r < last; r += ROWS) {
        const int64_t n_row = last - r < ROWS ? last - r : ROWS;
        for (int64_t i = 0; i < n; i += TOKENS) {
            const int64_t n_tok = n - i < TOKENS ? n - i : TOKENS;
            k->gemm_f32(m->b + (w->row0 + r) * m->rank, m->rank, u + i * m->rank, m->rank, part, ROWS, n_row, n_tok, m->rank);
            for (int64_t t = 0; t < n_tok; t++) k->add_scaled(y + (i + t) * y_stride + r, part + t * ROWS, factor, n_row);
        }
    }
}

static void add(void *user, const hth_linear_call *c, int64_t first, int64_t last, float *y, int64_t y_stride) {
    hth_lora_runner *r = user;
    lora_cache *cache = &r->caches[c->i_thread];
    if (!c->seqs) return; // rows that are no sequence's own
    const bool is_new = cache->w != c->w || cache->x != c->x;
    float *u = cache->values;
    for (int64_t from = 0, to; from < c->n_tok; from = to) {
        for (to = from + 1; to < c->n_tok && c->seqs[to] == c->seqs[from]; to++) continue;
        const hth_lora_set *set = &r->sets[c->seqs[from]];
        for (int32_t i = 0; i < set->n; i++) {
            const lora_module *m = find_module(set->uses[i].lora, c->w);
            if (!m || set->uses[i].scale == 0) continue;
            const float *x = c->x + from * c->x_stride;
            if (is_new) r->kernels->gemm_f32(m->a + c->w->col0, m->n_col, x, c->x_stride, u, m->rank, m->rank, to - from, c->w->n_col);
            add_product(r->kernels, m, c->w, m->scale * set->uses[i].scale, u, to - from, first, last, y + from * y_stride, y_stride);
            u += (to - from) * m->rank;
        }
    }
    cache->w = c->w;
    cache->x = c->x;
}

// The embedding of a token: x += factor * B a[token].
static void embed(void *user, int32_t i_seq, int32_t token, float *x) {
    const hth_lora_runner *r = user;
    const hth_lora_set *set = &r->sets[i_seq];
    for (int32_t i = 0; i < set->n; i++) {
        const lora_module *m = set->uses[i].lora->embedding;
        if (!m || set->uses[i].scale == 0 || token >= m->n_row) continue;
        const hth_weight whole = {.n_row = m->n_col};
        add_product(r->kernels, m, &whole, m->scale * set->uses[i].scale, m->a + (int64_t)token * m->rank, 1, 0, m->n_col, x, m->n_col);
    }
}

hth_code hth_lora_runner_new(hth_lora_runner **out, hth_err *err) {
    hth_lora_runner *r = hth_calloc(HTH_MEM_SCRATCH, 1, sizeof *r);
    if (!r) return hth_fail_nomem(err, sizeof *r);
    r->hook = (hth_linear_hook){.add = add, .embed = embed, .user = r};
    r->kernels = hth_kernels_get();
    *out = r;
    return HTH_OK;
}

void hth_lora_runner_free(hth_lora_runner *r) {
    if (!r) return;
    hth_free(r->caches);
    hth_free(r->room);
    hth_free(r);
}

hth_code hth_lora_runner_begin(hth_lora_runner *r, const hth_lora_set *sets, int32_t n_seq, int32_t n_row, int n_thread,
                               const hth_linear_hook **out, hth_err *err) {
    size_t most = 0; // ranks of one sequence's adapters together
    *out = NULL;
    for (int32_t s = 0; s < n_seq; s++) {
        size_t ranks = 0;
        if (sets[s].n > HTH_MAX_LORA)
            return hth_fail(err, HTH_ERR_RANGE, "a sequence may use %d adapters, not %d", HTH_MAX_LORA, sets[s].n);
        for (int32_t i = 0; i < sets[s].n; i++) ranks += (size_t)sets[s].uses[i].lora->max_rank;
        if (ranks > most) most = ranks;
    }
    if (most == 0) return HTH_OK;
    const size_t each = most * (size_t)n_row, n = (size_t)n_thread;
    if (!hth_grow(HTH_MEM_SCRATCH, (void **)&r->caches, &r->n_cache, n, sizeof *r->caches, SIZE_MAX / 1024) ||
        !hth_grow(HTH_MEM_SCRATCH, (void **)&r->room, &r->n_room, each * n, sizeof *r->room, SIZE_MAX / 1024)) {
        return hth_fail_nomem(err, each * n * sizeof *r->room);
    }
    for (size_t i = 0; i < n; i++) r->caches[i] = (lora_cache){.values = r->room + i * each};
    r->sets = sets;
    *out = &r->hook;
    return HTH_OK;
}
