// Matrix products on the CPU: a few rows of the weight are turned into f32 in a thread's own panel and
// multiplied with every token. One output element is one dot product whose arithmetic depends on nothing
// but its own row and column, so threads, chunks and neighbours never change a bit of it.
#include "model/cpu.h"

#include <string.h>

void cpu_weight_row(const hth_kernels *k, const hth_weight *w, int64_t expert, int64_t row, float *dst) {
    if (w->scheme != HTH_SCHEME_BLOCK || w->type >= HTH_TYPE_GGML_COUNT || w->codes.experts ||
        !k->dequantize[w->type] || (w->flags & HTH_WEIGHT_PLUS_ONE)) {
        hth_weight_row_f32(w, expert, row, 0, w->n_col, dst);
        return;
    }
    const hth_type_info *info = hth_type_get(w->type);
    const uint8_t *src = hth_ref_host(w->codes.at) + (uint64_t)expert * w->codes.expert_bytes +
                         (uint64_t)(w->row0 + row) * w->codes.row_bytes +
                         (uint64_t)(w->col0 / info->block_len) * info->block_bytes;
    k->dequantize[w->type](src, dst, w->n_col);
}

// f32 rows in memory that the kernel may read in place: 4-byte aligned as both containers align tensors.
static const float *rows_in_place(const hth_weight *w, int64_t expert, int64_t *stride) {
    if (w->scheme != HTH_SCHEME_BLOCK || w->type != HTH_TYPE_F32 || w->codes.experts || w->flags) return NULL;
    const uint8_t *p = hth_ref_host(w->codes.at) + (uint64_t)expert * w->codes.expert_bytes +
                       (uint64_t)w->row0 * w->codes.row_bytes + (uint64_t)w->col0 * 4;
    if ((uintptr_t)p % 4 != 0 || w->codes.row_bytes % 4 != 0) return NULL;
    *stride = (int64_t)(w->codes.row_bytes / 4);
    return (const float *)(const void *)p;
}

static void add_bias(const cpu_product *p, int64_t first, int64_t last, int64_t n_tok) {
    if (!p->bias) return;
    for (int64_t t = 0; t < n_tok; t++) {
        float *y = p->y + t * p->y_stride;
        for (int64_t r = first; r < last; r++) y[r] += p->bias[r];
    }
}

// Rows [first, last) of one product.
static void multiply_rows(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const float *x,
                          int64_t x_stride, int64_t n_tok) {
    const hth_kernels *k = t->c->k;
    const hth_weight *w = p->w;
    float *panel = t->c->s.panels + (size_t)t->i * t->c->s.panel_len;
    int64_t stride = w->n_col;
    const float *in_place = rows_in_place(w, p->expert, &stride);
    for (int64_t r = first; r < last; r += CPU_PANEL_ROWS) {
        int64_t n = last - r < CPU_PANEL_ROWS ? last - r : CPU_PANEL_ROWS;
        const float *rows = panel;
        if (in_place) {
            rows = in_place + r * stride;
        } else {
            for (int64_t i = 0; i < n; i++) cpu_weight_row(k, w, p->expert, r + i, panel + i * w->n_col);
        }
        k->gemm_f32(rows, stride, x, x_stride, p->y + r, p->y_stride, n, n_tok, w->n_col);
    }
    const hth_linear_hook *hook = t->c->step->hook;
    if (hook && hook->add) hook->add(hook->user, w, x, n_tok, first, last, p->y, p->y_stride);
    if (!hook || !hook->reduce) add_bias(p, first, last, n_tok);
}

// After a reduction over machines the bias is added once, by the thread that reduced.
static void reduce_products(const cpu_thread *t, const cpu_product *products, int n_product, int64_t n_tok) {
    const hth_linear_hook *hook = t->c->step->hook;
    if (!hook || !hook->reduce) return;
    for (int i = 0; t->i == 0 && i < n_product; i++) {
        hook->reduce(hook->user, products[i].w, n_tok, products[i].y, products[i].y_stride);
        add_bias(&products[i], 0, products[i].w->n_row, n_tok);
    }
    hth_team_barrier(t->c->team);
}

void cpu_linear(const cpu_thread *t, const cpu_product *products, int n_product, const float *x, int64_t x_stride,
                int64_t n_tok) {
    int64_t n_row = 0;
    for (int i = 0; i < n_product; i++) n_row += products[i].w->n_row;
    int64_t first, last, before = 0;
    hth_team_part(n_row, CPU_PANEL_ROWS / 2, t->i, t->n, &first, &last);
    for (int i = 0; i < n_product; i++) {
        int64_t n = products[i].w->n_row;
        int64_t a = first - before < 0 ? 0 : first - before, b = last - before > n ? n : last - before;
        if (a < b) multiply_rows(t, &products[i], a, b, x, x_stride, n_tok);
        before += n;
    }
    hth_team_barrier(t->c->team);
    reduce_products(t, products, n_product, n_tok);
}
