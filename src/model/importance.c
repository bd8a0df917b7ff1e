// Sums are kept in double and added row after row by the one thread that computes a product's first row.
#include "model/importance.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"

typedef struct entry {
    const char *name; // borrowed from the container
    double *sum;      // [n_expert, n] owned
    int64_t *count;   // [n_expert] behind the sums
    int64_t n, n_expert;
} entry;

struct hth_importance {
    const hth_model *model;
    bool with_output;
    entry *entries; // [n] owned
    size_t n, cap;
    hth_map by_name;
    hth_imatrix_sums *sums; // [n] owned
};

// Only views on whole columns that begin with the tensor's first row: other slices of it meet the same input.
static hth_code add_entry(hth_importance *im, const hth_weight *w, hth_err *err) {
    if (!hth_weight_exists(w) || !w->name || w->row0 != 0 || w->col0 != 0) return HTH_OK;
    bool was_there;
    entry e = {.name = w->name, .n = w->n_col, .n_expert = w->n_expert};
    _Static_assert(sizeof *e.sum == sizeof *e.count, "both lie in one block");
    const size_t n = (size_t)w->n_expert * ((size_t)w->n_col + 1);
    e.sum = hth_calloc(HTH_MEM_MODEL, n, sizeof *e.sum);
    if (e.sum) e.count = (int64_t *)(void *)(e.sum + w->n_expert * w->n_col);
    if (!e.sum || !hth_grow(HTH_MEM_MODEL, (void **)&im->entries, &im->cap, im->n + 1, sizeof e, SIZE_MAX / sizeof e) ||
        !hth_map_insert(&im->by_name, e.name, strlen(e.name), (uint32_t)im->n, NULL, &was_there)) {
        hth_free(e.sum);
        return hth_fail_nomem(err, n * sizeof *e.sum);
    }
    if (was_there) hth_free(e.sum);
    else im->entries[im->n++] = e;
    return HTH_OK;
}

static hth_code add_entries(hth_importance *im, hth_err *err) {
    const hth_model *m = im->model;
    for (int32_t i = 0; i < m->desc.n_layer; i++) {
        const hth_layer *l = &m->layers[i];
        const hth_weight *const experts[] = {&l->expert_gate, &l->expert_up, &l->expert_down};
        const hth_weight *all[HTH_LAYER_MATRICES];
        const int n = hth_layer_matrices(l, all);
        for (int k = 0; k < n; k++) HTH_TRY(add_entry(im, all[k], err));
        for (size_t k = 0; k < HTH_COUNT(experts); k++) HTH_TRY(add_entry(im, experts[k], err));
    }
    if (im->with_output) HTH_TRY(add_entry(im, &m->output, err));
    im->sums = hth_calloc(HTH_MEM_MODEL, im->n + 1, sizeof *im->sums);
    return im->sums ? HTH_OK : hth_fail_nomem(err, im->n * sizeof *im->sums);
}

hth_code hth_importance_new(const hth_model *m, bool with_output, hth_importance **out, hth_err *err) {
    *out = NULL;
    hth_importance *im = hth_calloc(HTH_MEM_MODEL, 1, sizeof *im);
    if (!im) return hth_fail_nomem(err, sizeof *im);
    im->model = m;
    im->with_output = with_output;
    hth_code code = hth_map_init(&im->by_name, HTH_MEM_MODEL, 256) ? add_entries(im, err) : hth_fail_nomem(err, 0);
    if (code != HTH_OK) {
        hth_importance_free(im);
        return code;
    }
    *out = im;
    return HTH_OK;
}

void hth_importance_free(hth_importance *im) {
    if (!im) return;
    for (size_t i = 0; i < im->n; i++) hth_free(im->entries[i].sum);
    hth_free(im->entries);
    hth_free(im->sums);
    hth_map_free(&im->by_name);
    hth_free(im);
}

static void collect(void *user, const hth_linear_call *call, int64_t first_row, int64_t last_row, float *y, int64_t y_stride) {
    hth_importance *im = user;
    const hth_weight *w = call->w;
    uint32_t i;
    (void)last_row, (void)y, (void)y_stride;
    if (first_row != 0 || w->row0 != 0 || w->col0 != 0 || !w->name) return;
    if (!hth_map_find(&im->by_name, w->name, strlen(w->name), &i)) return;
    entry *e = &im->entries[i];
    double *sum = e->sum + call->expert * e->n;
    for (int64_t t = 0; t < call->n_tok; t++) {
        const float *row = call->x + t * call->x_stride;
        for (int64_t c = 0; c < e->n; c++) sum[c] += (double)row[c] * (double)row[c];
    }
    e->count[call->expert] += call->n_tok;
}

hth_linear_hook hth_importance_hook(hth_importance *im) {
    return (hth_linear_hook){.add = collect, .user = im};
}

hth_code hth_importance_sums(hth_importance *im, const hth_imatrix_sums **sums, size_t *n, hth_err *err) {
    *n = 0;
    *sums = im->sums;
    for (size_t i = 0; i < im->n; i++) {
        const entry *e = &im->entries[i];
        int64_t n_row = 0;
        for (int64_t k = 0; k < e->n_expert; k++) n_row += e->count[k];
        if (n_row == 0) continue;
        for (int64_t c = 0; c < e->n_expert * e->n; c++) {
            if (!(e->sum[c] <= 3e38))
                return hth_fail(err, HTH_ERR_RANGE, "tensor '%s' was multiplied with numbers that are not finite", e->name);
        }
        im->sums[(*n)++] = (hth_imatrix_sums){.name = e->name, .n = e->n, .n_expert = e->n_expert, .sum = e->sum, .count = e->count};
    }
    return HTH_OK;
}
