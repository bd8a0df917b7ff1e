// Matrix products on the CPU. Weights with an integer path meet activations quantized to 8 bits, or twice 8: prompt rows
// through panels of converted rows, generated rows straight from the file's layout. Weights of bf16 meet prompts rounded
// to bf16, where a unit multiplies that. Other weights, and steps that ask for f32 activations, turn a few rows into f32
// in a thread's own panel and multiply them with every token.
// One output element is one dot product whose arithmetic depends on nothing but its own row, column and kind,
// so threads, chunks and neighbours never change a bit of it.
#include "model/cpu_linear.h"

#include <string.h>

// Where an expert's plane begins, and its codes.
static const uint8_t *plane_of(const hth_plane *p, int64_t expert) {
    return p->experts ? hth_ref_host(p->experts[expert]) : hth_ref_host(p->at) + (uint64_t)expert * p->expert_bytes;
}
static const uint8_t *codes_of(const hth_weight *w, int64_t expert) {
    return plane_of(&w->codes, expert);
}

// A row of numbers of 8 bits with a scale for some columns each.
static void read_f8_row(const hth_kernels *k, const hth_weight *w, int64_t expert, int64_t row, float *dst) {
    const uint8_t *src = codes_of(w, expert) + (uint64_t)(w->row0 + row) * w->codes.row_bytes + (uint64_t)w->col0;
    const int64_t group = w->group;
    for (int64_t c = 0, n; c < w->n_col; c += n) {
        n = group - (w->col0 + c) % group;
        if (n > w->n_col - c) n = w->n_col - c;
        k->dequantize_f8[w->type == HTH_TYPE_F8_E5M2](src + c, hth_weight_scale(w, expert, row, c), dst + c, n);
    }
}

void cpu_weight_row(const hth_kernels *k, const hth_weight *w, int64_t expert, int64_t row, float *dst) {
    if ((w->scheme == HTH_SCHEME_FP8 || w->scheme == HTH_SCHEME_MXFP8) && !w->flags) {
        read_f8_row(k, w, expert, row, dst);
        return;
    }
    if (w->scheme != HTH_SCHEME_BLOCK || w->type >= HTH_TYPE_GGML_COUNT ||
        !k->dequantize[w->type] || w->flags) {
        hth_weight_row_f32(w, expert, row, 0, w->n_col, dst);
        return;
    }
    const hth_type_info *info = hth_type_get(w->type);
    const uint8_t *src = codes_of(w, expert) + (uint64_t)(w->row0 + row) * w->codes.row_bytes +
                         (uint64_t)(w->col0 / info->block_len) * info->block_bytes;
    k->dequantize[w->type](src, dst, w->n_col);
}

// n <= CPU_PANEL_ROWS rows of a turned matrix: of each column the neighbouring numbers, tile by tile.
static void read_turned(const hth_kernels *k, const hth_weight *w, int64_t expert, int64_t row, int64_t n, float *panel) {
    enum { TILE = 16, MOST = 2 * CPU_PANEL_ROWS };
    const hth_type_info *info = hth_type_get(w->type);
    const int64_t step = hth_weight_row_step(w), n_number = (n - 1) * step + 1;
    const uint8_t *at = codes_of(w, expert) + (uint64_t)w->col0 * w->codes.row_bytes +
                        (uint64_t)((w->row0 + row) * step) * info->block_bytes;
    const hth_dequantize_fn widen = k->dequantize[w->type] ? k->dequantize[w->type] : info->dequantize;
    for (int64_t c = 0; c < w->n_col; c += TILE) {
        float tile[TILE][MOST];
        const int64_t n_col = w->n_col - c < TILE ? w->n_col - c : TILE;
        for (int64_t j = 0; j < n_col; j++) widen(at + (uint64_t)(c + j) * w->codes.row_bytes, tile[j], n_number);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < n_col; j++) panel[i * w->n_col + c + j] = tile[j][i * step];
        }
    }
}

// n <= CPU_PANEL_ROWS rows of any weight as f32.
static void read_rows(const hth_kernels *k, const hth_weight *w, int64_t expert, int64_t row, int64_t n, float *panel) {
    if (w->flags & HTH_WEIGHT_TURNED) {
        read_turned(k, w, expert, row, n, panel);
        return;
    }
    for (int64_t i = 0; i < n; i++) cpu_weight_row(k, w, expert, row + i, panel + i * w->n_col);
}

// f32 rows in memory that the kernel may read in place: 4-byte aligned as both containers align tensors.
static const float *rows_in_place(const hth_weight *w, int64_t expert, int64_t *stride) {
    if (w->scheme != HTH_SCHEME_BLOCK || w->type != HTH_TYPE_F32 || w->flags) return NULL;
    const uint8_t *p = codes_of(w, expert) + (uint64_t)w->row0 * w->codes.row_bytes + (uint64_t)w->col0 * 4;
    if ((uintptr_t)p % 4 != 0 || w->codes.row_bytes % 4 != 0) return NULL;
    *stride = (int64_t)(w->codes.row_bytes / 4);
    return (const float *)(const void *)p;
}

void cpu_add_bias(const cpu_product *p, int64_t first, int64_t last, int64_t tok, int64_t tok_end) {
    if (!p->bias) return;
    const float *bias = p->bias + p->expert * p->w->n_row;
    for (int64_t t = tok; t < tok_end; t++) {
        float *y = p->y + t * p->y_stride;
        for (int64_t r = first; r < last; r++) y[r] += bias[r];
    }
}

// ---- f32 activations

// Rows of halves that a few tokens meet are read where they lie, with the same bits as by way of a panel. Returns false
// where that is not possible.
static bool multiply_halves(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in,
                            int64_t tok, int64_t tok_end) {
    const hth_weight *w = p->w;
    const bool is_f16 = w->type == HTH_TYPE_F16, is_half = is_f16 || w->type == HTH_TYPE_BF16;
    if (!is_half || w->scheme != HTH_SCHEME_BLOCK || w->flags || tok_end - tok > HTH_GEMV_TOKENS) return false;
    const int64_t row_bytes = (int64_t)w->codes.row_bytes;
    const uint8_t *rows = codes_of(w, p->expert) + (uint64_t)w->row0 * w->codes.row_bytes + (uint64_t)w->col0 * 2;
    for (int64_t r = first; r < last; r += CPU_PANEL_ROWS) {
        const int64_t n = last - r < CPU_PANEL_ROWS ? last - r : CPU_PANEL_ROWS;
        (is_f16 ? t->c->k->gemm_f16 : t->c->k->gemm_bf16)(rows + r * row_bytes, row_bytes, in->x + tok * in->x_stride,
                                                          in->x_stride, p->y + tok * p->y_stride + r, p->y_stride, n,
                                                          tok_end - tok, w->n_col);
    }
    return true;
}

// Rows [first, last) of one product with tokens [tok, tok_end).
static void multiply_f32(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in,
                         int64_t tok, int64_t tok_end) {
    if (multiply_halves(t, p, first, last, in, tok, tok_end)) return;
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
            read_rows(k, w, p->expert, r, n, panel);
        }
        k->gemm_f32(rows, stride, in->x + tok * in->x_stride, in->x_stride, p->y + tok * p->y_stride + r, p->y_stride, n,
                    tok_end - tok, w->n_col);
    }
}

void cpu_multiply_f32(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in) {
    const hth_op before = cpu_profile_linear(t, p->w);
    multiply_f32(t, p, first, last, in, 0, in->n_tok);
    (void)cpu_profile_enter(t, before);
}

// ---- 8-bit activations

static int affine_layout(const hth_weight *w) {
    static const int layouts[9] = {[2] = HTH_Q8_AFFINE_2, [3] = HTH_Q8_AFFINE_3, [4] = HTH_Q8_AFFINE_4,
                                   [5] = HTH_Q8_AFFINE_5, [6] = HTH_Q8_AFFINE_6, [8] = HTH_Q8_AFFINE_8};
    const bool is_read = w->scale_type == HTH_TYPE_F32 || w->scale_type == HTH_TYPE_F16 || w->scale_type == HTH_TYPE_BF16;
    return is_read && w->bits <= 8 && layouts[w->bits] ? layouts[w->bits] : -1;
}

// The layout of a weight in the terms of kernels/q8.h; -1: none.
static int layout_of(const hth_weight *w) {
    const bool is_group = w->group >= 32 && w->group <= 512 && (w->group & (w->group - 1)) == 0;
    const bool is_byte = w->scale_type == HTH_TYPE_U8;
    switch (w->scheme) {
    case HTH_SCHEME_BLOCK: return w->type < HTH_TYPE_GGML_COUNT && !w->flags ? (int)w->type : -1;
    case HTH_SCHEME_AFFINE: return is_group && !w->flags ? affine_layout(w) : -1;
    case HTH_SCHEME_MXFP4: return is_group && !w->flags && (is_byte || w->scale_type == HTH_TYPE_F8_E8M0) ? HTH_Q8_E2M1 : -1;
    case HTH_SCHEME_NVFP4:
        return w->group == 16 && !w->flags && (is_byte || w->scale_type == HTH_TYPE_F8_E4M3) ? HTH_Q8_E2M1_16 : -1;
    case HTH_SCHEME_NONE:
    case HTH_SCHEME_MXFP8:
    case HTH_SCHEME_FP8: break;
    }
    return -1;
}

static bool is_integer(const cpu_step *c, const cpu_product *p) {
    const int layout = p->exact || !c->is_integer ? -1 : layout_of(p->w);
    return layout >= 0 && c->q8->type[layout].group != 0 && c->q8->panel[layout] && p->w->n_col % HTH_Q8_BLOCK == 0 &&
           p->w->n_col % hth_q8_layout_unit((uint32_t)layout) == 0;
}

// The rows of `all` from i on.
static hth_q8 q8_from(const hth_q8 *all, int64_t i) {
    hth_q8 x = *all;
    x.q += i * x.q_stride;
    x.d += i * x.d_stride;
    x.sum += i * 2 * x.d_stride;
    if (x.wide_d) x.wide_d += i * x.wide_stride;
    if (x.wide_sum) x.wide_sum += i * x.wide_stride;
    x.first += i;
    return x;
}

// One part of each row, from row i on; without wide fields where there are two.
static hth_q8 part_of(const cpu_thread *t, const hth_q8 *all, int64_t i, int part) {
    const int n_part = t->c->n_part;
    hth_q8 rows = q8_from(all, i * n_part + part);
    rows.q_stride *= n_part;
    rows.d_stride *= n_part;
    return rows;
}

// One row as bytes, row i of `all`. With 16 bits what the first rounding leaves is rounded too and becomes a row behind it.
static void quantize_row(const cpu_thread *t, const float *x, bool is_prompt, int64_t n_col, const hth_q8 *all, int64_t i) {
    enum { CHUNK = 1024 };
    float rest[CHUNK];
    if (t->c->n_part == 1 && is_prompt) {
        t->c->q8->quantize_prompt(x, n_col, all, i);
        return;
    }
    const hth_q8 a = part_of(t, all, i, 0), b = part_of(t, all, i, 1);
    t->c->q8->quantize(x, n_col, a.q, a.d, a.sum);
    for (int64_t c = 0; t->c->n_part == 2 && c < n_col; c += CHUNK) {
        const int64_t n = n_col - c < CHUNK ? n_col - c : CHUNK;
        for (int64_t j = 0; j < n; j++) rest[j] = x[c + j] - a.d[(c + j) / HTH_Q8_BLOCK] * (float)a.q[c + j];
        t->c->q8->quantize(rest, n, b.q + c, b.d + c / HTH_Q8_BLOCK, b.sum + c / HTH_Q8_BLOCK * 2);
    }
}

// Rows that x has: fewer than the input where each goes to several places.
static int64_t n_source(const cpu_input *in, const cpu_scatter *scatter) {
    return scatter ? in->n_tok / scatter->n_copy : in->n_tok;
}

// A row of tiles: 64 bytes of each tile that it has a part in.
static void copy_tiles(const hth_q8 *all, int64_t n_col, int64_t from, int64_t to) {
    enum { RUN = 64, TILE = 16 * RUN, BLOCK = HTH_Q8_WIDE / RUN * 2 * TILE };
    const int8_t *src = all->tiles + from / 16 * BLOCK + from % 16 * RUN;
    int8_t *dst = all->tiles + to / 16 * BLOCK + to % 16 * RUN;
    for (int64_t c = 0; c < n_col; c += HTH_Q8_WIDE, src += all->tile_stride, dst += all->tile_stride) {
        const int64_t n = n_col - c < HTH_Q8_WIDE ? (n_col - c + RUN - 1) / RUN * 2 : BLOCK / TILE;
        for (int64_t j = 0; j < n; j++) memcpy(dst + j * TILE, src + j * TILE, RUN);
    }
}

// Row `to` of `all` becomes row `from`, which was quantized just before.
static void copy_row(const cpu_thread *t, bool is_prompt, int64_t n_col, const hth_q8 *all, int64_t from, int64_t to) {
    const bool is_wide = is_prompt && t->c->n_part == 1, in_tiles = is_wide && t->c->q8->tiles;
    const size_t n_wide = (size_t)((n_col + HTH_Q8_WIDE - 1) / HTH_Q8_WIDE) * sizeof(float);
    if (is_wide && all->wide_sum) memcpy(all->wide_sum + to * all->wide_stride, all->wide_sum + from * all->wide_stride, n_wide);
    if (in_tiles) {
        memcpy(all->wide_d + to * all->wide_stride, all->wide_d + from * all->wide_stride, n_wide);
        copy_tiles(all, n_col, from, to);
        return;
    }
    for (int part = 0; part < t->c->n_part; part++) {
        const hth_q8 a = part_of(t, all, from, part), b = part_of(t, all, to, part);
        const size_t n_block = (size_t)(n_col / HTH_Q8_BLOCK);
        memcpy(b.q, a.q, (size_t)((n_col + 63) / 64 * 64));
        memcpy(b.d, a.d, n_block * sizeof *b.d);
        memcpy(b.sum, a.sum, 2 * n_block * sizeof *b.sum);
    }
}

// Row i of the input, wherever it goes.
static void quantize_to_places(const cpu_thread *t, const cpu_input *in, const cpu_scatter *scatter, int64_t n_col,
                               const hth_q8 *all, int64_t i) {
    const int32_t *to = scatter ? scatter->place + i * scatter->n_copy : NULL;
    const int64_t at = to ? to[0] : i;
    const bool is_prompt = in->kinds[at] != HTH_ROW_GENERATED;
    quantize_row(t, in->x + i * in->x_stride, is_prompt, n_col, all, at);
    for (int32_t j = 1; to && j < scatter->n_copy; j++) copy_row(t, is_prompt, n_col, all, at, to[j]);
}

static hth_q8 quantize_rows(const cpu_thread *t, const cpu_input *in, const cpu_scatter *scatter, int64_t n_col) {
    const hth_q8 strides = cpu_q8_strides(in->n_tok * t->c->n_part, n_col, t->c->q8->tiles);
    hth_q8 all = t->c->s.q8;
    int64_t first, last;
    all.q_stride = strides.q_stride;
    all.d_stride = strides.d_stride;
    all.wide_stride = strides.wide_stride;
    all.tile_stride = strides.tile_stride;
    hth_team_part(n_source(in, scatter), 1, t->i, t->n, &first, &last);
    for (int64_t i = first; i < last; i++) quantize_to_places(t, in, scatter, n_col, &all, i);
    cpu_barrier(t);
    return all;
}

// The input as bytes. A few generated rows cost less than a barrier: each thread has them for itself.
static hth_q8 quantize_input(const cpu_thread *t, const cpu_input *in, const cpu_scatter *scatter, int64_t n_col) {
    bool is_own = in->n_tok <= t->c->s.n_own;
    for (int64_t i = 0; is_own && i < in->n_tok; i++) is_own = in->kinds[i] == HTH_ROW_GENERATED;
    if (!is_own) return quantize_rows(t, in, scatter, n_col);
    const hth_q8 own = q8_from(&t->c->s.q8_own, (int64_t)t->i * t->c->s.n_own * t->c->n_part);
    for (int64_t i = 0; i < n_source(in, scatter); i++) quantize_to_places(t, in, scatter, n_col, &own, i);
    return own;
}

// Rows of an expert from `row` on.
static hth_q8_rows rows_of(const hth_weight *w, int64_t expert, int64_t row) {
    const uint64_t at = (uint64_t)(w->row0 + row), col = (uint64_t)w->col0;
    hth_q8_rows rows = {.code = codes_of(w, expert) + at * w->codes.row_bytes, .row_bytes = (int64_t)w->codes.row_bytes};
    if (w->scheme == HTH_SCHEME_BLOCK) {
        const hth_type_info *info = hth_type_get(w->type);
        rows.code += col / info->block_len * info->block_bytes;
        return rows;
    }
    const uint64_t scale_off = at * w->scales.row_bytes + col / w->group * hth_type_get(w->scale_type)->block_bytes;
    rows.code += col * (w->scheme == HTH_SCHEME_AFFINE ? w->bits : 4) / 8;
    rows.scale = plane_of(&w->scales, expert) + scale_off;
    if (w->scheme == HTH_SCHEME_AFFINE) rows.bias = plane_of(&w->biases, expert) + scale_off;
    rows.scale_bytes = (int64_t)w->scales.row_bytes;
    rows.scale_type = w->scale_type;
    rows.group = (int)w->group;
    return rows;
}

// Where panel i of a thread's panels lies.
static hth_panel panel_at(const cpu_thread *t, const hth_weight *w, int i) {
    const int64_t group = t->c->q8->panel_type[layout_of(w)].group, n_code = HTH_PANEL_ROWS * ((w->n_col + 63) / 64 * 64);
    const int64_t n_scale = HTH_PANEL_ROWS * ((w->n_col + group - 1) / group);
    const size_t bytes = t->c->s.q8_panel_bytes / CPU_Q8_PANELS;
    uint8_t *at = t->c->s.q8_panels + (size_t)t->i * t->c->s.q8_panel_bytes + (size_t)i * bytes;
    float *scales = (float *)(void *)(at + n_code);
    return (hth_panel){.code = at, .scale = scales, .min = scales + n_scale};
}

// y += what the second parts of rows [tok, tok + n_tok) make with the panels.
static void add_rest(const cpu_thread *t, const hth_weight *w, const hth_panel *panels, int64_t n_row, const hth_q8 *q8,
                     int64_t tok, int64_t n_tok, float *y, int64_t y_stride) {
    float more[CPU_Q8_TOKENS * CPU_Q8_PANELS * HTH_PANEL_ROWS];
    const hth_q8 x = part_of(t, q8, tok, 1);
    t->c->q8->gemm(panels, t->c->q8->panel_type[layout_of(w)], n_row, w->n_col, &x, n_tok, more, n_row);
    for (int64_t i = 0; i < n_tok; i++) t->c->k->add(y + i * y_stride, y + i * y_stride, more + i * n_row, n_row);
}

// Prompt rows [tok, tok_end): rows of the weight become panels, each used by all tokens.
static void multiply_prompt(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const hth_q8 *q8,
                            int64_t tok, int64_t tok_end) {
    const hth_q8_kernels *k = t->c->q8;
    const hth_weight *w = p->w;
    const int layout = layout_of(w);
    for (int64_t r = first; r < last; r += CPU_Q8_PANELS * HTH_PANEL_ROWS) {
        hth_panel panels[CPU_Q8_PANELS];
        const int64_t n_row = last - r < CPU_Q8_PANELS * HTH_PANEL_ROWS ? last - r : CPU_Q8_PANELS * HTH_PANEL_ROWS;
        for (int64_t at = 0; at < n_row; at += HTH_PANEL_ROWS) {
            const int64_t n = n_row - at < HTH_PANEL_ROWS ? n_row - at : HTH_PANEL_ROWS;
            hth_panel *panel = &panels[at / HTH_PANEL_ROWS];
            *panel = panel_at(t, w, (int)(at / HTH_PANEL_ROWS));
            const hth_q8_rows rows = rows_of(w, p->expert, r + at);
            k->panel[layout](&rows, n, w->n_col, panel);
        }
        for (int64_t i = tok; i < tok_end; i += CPU_Q8_TOKENS) {
            const int64_t n_tok = tok_end - i < CPU_Q8_TOKENS ? tok_end - i : CPU_Q8_TOKENS;
            const hth_q8 x = part_of(t, q8, i, 0);
            float *y = p->y + i * p->y_stride + r;
            k->gemm(panels, k->panel_type[layout], n_row, w->n_col, &x, n_tok, y, p->y_stride);
            if (t->c->n_part == 2) add_rest(t, w, panels, n_row, q8, i, n_tok, y, p->y_stride);
        }
    }
}

// Generated rows [tok, tok_end): the weight is read where it lies.
static void multiply_generated(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const hth_q8 *q8,
                               int64_t tok, int64_t tok_end) {
    const hth_weight *w = p->w;
    const hth_q8_rows rows = rows_of(w, p->expert, first);
    for (int64_t i = tok; i < tok_end; i += HTH_GEMV_TOKENS) {
        const int64_t n_tok = tok_end - i < HTH_GEMV_TOKENS ? tok_end - i : HTH_GEMV_TOKENS;
        const hth_q8 x = q8_from(q8, i);
        t->c->q8->gemv[layout_of(w)](&rows, last - first, w->n_col, &x, n_tok, p->y + i * p->y_stride + first, p->y_stride);
    }
}

// The same with 16 bits: both parts of a row are tokens of one product, and then added.
static void multiply_generated_parts(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const hth_q8 *q8,
                                     int64_t tok, int64_t tok_end) {
    enum { TOKENS = HTH_GEMV_TOKENS / 2 };
    const hth_weight *w = p->w;
    uint8_t *room = t->c->s.q8_panels + (size_t)t->i * t->c->s.q8_panel_bytes;
    float *parts = (float *)(void *)room; // [2 * n_tok, n_row]
    const int64_t most = (int64_t)(t->c->s.q8_panel_bytes / (2 * TOKENS * sizeof *parts));
    for (int64_t r = first; r < last; r += most) {
        const int64_t n_row = last - r < most ? last - r : most;
        const hth_q8_rows rows = rows_of(w, p->expert, r);
        for (int64_t i = tok; i < tok_end; i += TOKENS) {
            const int64_t n_tok = tok_end - i < TOKENS ? tok_end - i : TOKENS;
            const hth_q8 x = q8_from(q8, 2 * i);
            t->c->q8->gemv[layout_of(w)](&rows, n_row, w->n_col, &x, 2 * n_tok, parts, n_row);
            for (int64_t j = 0; j < n_tok; j++) {
                t->c->k->add(p->y + (i + j) * p->y_stride + r, parts + 2 * j * n_row, parts + (2 * j + 1) * n_row, n_row);
            }
        }
    }
}

// ---- bf16 activations

static bool is_bf16(const cpu_step *c, const cpu_product *p) {
    const hth_weight *w = p->w;
    return !p->exact && c->is_bf16 && w->scheme == HTH_SCHEME_BLOCK && w->type == HTH_TYPE_BF16 && !w->flags &&
           w->n_col % HTH_BF16_STEP == 0;
}

// All rows of the input, generated ones among prompts too, as blocks of bf16; ends with a barrier. Where there are no
// prompts, nothing.
static void pack_input(const cpu_thread *t, const cpu_input *in, int64_t n_col) {
    const int64_t block = hth_bf16_block(n_col, t->c->n_part), n_block = (in->n_tok + HTH_BF16_TOKENS - 1) / HTH_BF16_TOKENS;
    int64_t i = 0, first, last;
    while (i < in->n_tok && in->kinds[i] == HTH_ROW_GENERATED) i++;
    if (i == in->n_tok) return;
    hth_team_part(n_block, 1, t->i, t->n, &first, &last);
    for (int64_t b = first; b < last; b++) {
        const int64_t tok = b * HTH_BF16_TOKENS, left = in->n_tok - tok;
        t->c->ex->bf16.pack(in->x + tok * in->x_stride, in->x_stride, left < HTH_BF16_TOKENS ? left : HTH_BF16_TOKENS, n_col,
                            t->c->n_part, t->c->s.bf16 + b * block);
    }
    cpu_barrier(t);
}

// ---- any activations

// Tokens [tok, tok_end), all of one kind.
static void multiply_kind(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in,
                          const hth_q8 *q8, int64_t tok, int64_t tok_end) {
    const bool is_prompt = in->kinds[tok] != HTH_ROW_GENERATED;
    if (is_prompt && is_bf16(t->c, p)) {
        t->c->ex->bf16.gemm(rows_of(p->w, p->expert, first).code, (int64_t)p->w->codes.row_bytes, last - first, p->w->n_col,
                            t->c->s.bf16, t->c->n_part, tok, tok_end, p->y + first, p->y_stride);
    } else if (!is_integer(t->c, p) || (!is_prompt && !t->c->ex->fast_gemv[layout_of(p->w)])) {
        multiply_f32(t, p, first, last, in, tok, tok_end);
    } else if (is_prompt) {
        multiply_prompt(t, p, first, last, q8, tok, tok_end);
    } else if (t->c->n_part == 2) {
        multiply_generated_parts(t, p, first, last, q8, tok, tok_end);
    } else {
        multiply_generated(t, p, first, last, q8, tok, tok_end);
    }
}

static void multiply_tokens(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in,
                            const hth_q8 *q8, int64_t tok, int64_t tok_end) {
    const bool is_rounded = is_integer(t->c, p) || is_bf16(t->c, p);
    for (int64_t i = tok, end; i < tok_end; i = end) {
        for (end = i + 1; end < tok_end && (!is_rounded || in->kinds[end] == in->kinds[i]); end++) continue;
        multiply_kind(t, p, first, last, in, q8, i, end);
    }
}

// Which sequence each row of a product's input belongs to, where they are rows of the batch, or gathered ones.
static const int32_t *sequences_of(const cpu_thread *t, const cpu_input *in) {
    const cpu_moe_scratch *moe = &t->c->s.moe;
    const uintptr_t gathered = (uintptr_t)in->kinds - (uintptr_t)moe->kinds; // huge where it is elsewhere
    if (gathered < (uintptr_t)moe->n_pair) return moe->seqs + gathered;
    return in->kinds == t->c->kinds ? t->c->seqs : in->kinds == t->c->logit_kinds ? t->c->logit_seqs : NULL;
}

void cpu_multiply_rows(const cpu_thread *t, const cpu_product *p, int64_t first, int64_t last, const cpu_input *in,
                       const hth_q8 *q8, int64_t tok, int64_t tok_end) {
    const hth_op before = cpu_profile_linear(t, p->w);
    multiply_tokens(t, p, first, last, in, q8, tok, tok_end);
    const hth_linear_hook *hook = t->c->step->hook;
    if (hook && hook->add) {
        const int32_t *seqs = sequences_of(t, in);
        const hth_linear_call call = {.w = p->w, .expert = p->expert, .x = in->x + tok * in->x_stride, .x_stride = in->x_stride,
                                      .n_tok = tok_end - tok, .seqs = seqs ? seqs + tok : NULL, .i_thread = t->i};
        hook->add(hook->user, &call, first, last, p->y + tok * p->y_stride, p->y_stride);
    }
    if (!hook || !hook->reduce) cpu_add_bias(p, first, last, tok, tok_end);
    (void)cpu_profile_enter(t, before);
}

// After a reduction over machines the bias is added once, by the thread that reduced.
static void reduce_products(const cpu_thread *t, const cpu_product *products, int n_product, int64_t n_tok) {
    const hth_linear_hook *hook = t->c->step->hook;
    if (!hook || !hook->reduce) return;
    for (int i = 0; t->i == 0 && i < n_product; i++) {
        hook->reduce(hook->user, products[i].w, n_tok, products[i].y, products[i].y_stride);
        cpu_add_bias(&products[i], 0, products[i].w->n_row, 0, n_tok);
    }
    cpu_barrier(t);
}

hth_q8 cpu_input_of(const cpu_thread *t, const cpu_product *products, int n_product, const cpu_input *in,
                    const cpu_scatter *scatter) {
    bool integer = false, bf16 = false;
    for (int i = 0; i < n_product; i++) {
        integer |= is_integer(t->c, &products[i]);
        bf16 |= is_bf16(t->c, &products[i]);
    }
    if (bf16) pack_input(t, in, products[0].w->n_col);
    return integer ? quantize_input(t, in, scatter, products[0].w->n_col) : (hth_q8){0};
}

// Rows that are dealt to a thread at once: enough that asking for more costs nothing, few enough that there is something
// left to take over from a slow thread. Prompts want whole blocks of panels.
static int64_t piece_of(const cpu_thread *t, const hth_weight *w, int64_t n_row, int64_t n_tok) {
    enum { PROMPT_LEAST = 64, PROMPT_MOST = CPU_Q8_PANELS * HTH_PANEL_ROWS, BYTES = 1 << 16 };
    const int64_t part = n_row / t->n;
    if (t->n == 1) return n_row;
    if (n_tok > HTH_GEMV_TOKENS) return part / 4 < PROMPT_LEAST ? PROMPT_LEAST : part / 4 > PROMPT_MOST ? PROMPT_MOST : part / 4;
    const int64_t least = BYTES / (int64_t)(w->codes.row_bytes + 1);
    return part / 32 < least ? least : part / 32;
}

void cpu_linear(const cpu_thread *t, const cpu_product *products, int n_product, const cpu_input *in) {
    const hth_q8 q8 = cpu_input_of(t, products, n_product, in, NULL);
    int64_t n_row = 0;
    for (int i = 0; i < n_product; i++) n_row += products[i].w->n_row;
    cpu_deal deal = cpu_deal_begin(t->c->lanes, t->i, t->n, n_row, CPU_PANEL_ROWS, piece_of(t, products[0].w, n_row, in->n_tok));
    for (int64_t first, last; cpu_deal_next(&deal, &first, &last);) {
        for (int64_t i = 0, before = 0; i < n_product; before += products[i++].w->n_row) { // one column of all rows
            const int64_t n = products[i].w->n_row;
            const int64_t a = first - before < 0 ? 0 : first - before, b = last - before > n ? n : last - before;
            if (a < b) cpu_multiply_rows(t, &products[i], a, b, in, &q8, 0, in->n_tok);
        }
    }
    cpu_barrier(t);
    reduce_products(t, products, n_product, in->n_tok);
}

void cpu_linear_then(const cpu_thread *t, const cpu_product *products, int n_product, const cpu_input *in, cpu_rows_fn fn,
                     const void *user) {
    const int64_t n_row = products[0].w->n_row;
    int64_t first, last;
    if (t->c->step->hook && t->c->step->hook->reduce) { // rows are complete only after the reduction
        cpu_linear(t, products, n_product, in);
        hth_team_part(n_row, CPU_PANEL_ROWS, t->i, t->n, &first, &last);
        fn(t, user, first, last);
        cpu_barrier(t);
        return;
    }
    const hth_q8 q8 = cpu_input_of(t, products, n_product, in, NULL);
    cpu_deal deal = cpu_deal_begin(t->c->lanes, t->i, t->n, n_row, CPU_PANEL_ROWS, piece_of(t, products[0].w, n_row, in->n_tok));
    while (cpu_deal_next(&deal, &first, &last)) {
        for (int i = 0; i < n_product; i++) cpu_multiply_rows(t, &products[i], first, last, in, &q8, 0, in->n_tok);
        fn(t, user, first, last);
    }
    cpu_barrier(t);
}

bool cpu_reads_bytes(const cpu_step *c, const cpu_product *products, int n_product, const uint8_t *kinds, int64_t n_tok) {
    bool generated = false;
    if (c->step->hook && c->step->hook->add) return false;
    for (int64_t i = 0; i < n_tok && !generated; i++) generated = kinds[i] == HTH_ROW_GENERATED;
    for (int i = 0; i < n_product; i++) {
        if (!is_integer(c, &products[i]) || (generated && !c->ex->fast_gemv[layout_of(products[i].w)])) return false;
    }
    return true;
}
