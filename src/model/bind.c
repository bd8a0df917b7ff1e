// Finds each tensor by its role, checks it, and makes a view or (for small vectors) an f32 copy of it.
#include "model/bind_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "model/rope.h"

// Vectors are kept as f32 copies; more than this is no vector of a model.
#define MAX_VECTOR (16 << 20)

// ---- finding

// name = prefix + pattern with "%d" and "%e" replaced + suffix. Returns false when it would not fit.
static bool make_name(char name[HTH_NAME_LEN], const char *prefix, const char *pattern, size_t n, int32_t layer,
                      int64_t expert, const char *suffix) {
    char body[HTH_NAME_LEN];
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const bool is_number = pattern[i] == '%' && i + 1 < n && (pattern[i + 1] == 'd' || pattern[i + 1] == 'e');
        const long long number = is_number && pattern[i + 1] == 'e' ? (long long)expert : layer;
        int wrote = is_number ? snprintf(body + at, sizeof body - at, "%lld", number)
                              : snprintf(body + at, sizeof body - at, "%c", pattern[i]);
        at += (size_t)wrote;
        i += is_number;
        if (at >= sizeof body) return false;
    }
    body[at] = 0;
    int len = snprintf(name, HTH_NAME_LEN, "%s%s%s", prefix, body, suffix);
    return len > 0 && len < HTH_NAME_LEN;
}

static const char *own_name(const hth_name *names, hth_role role) {
    for (; names && names->role != HTH_ROLE_NONE; names++) {
        if (names->role == role) return names->name;
    }
    return NULL;
}

static const char *patterns_of(const hth_binder *k, hth_role role) {
    const hth_family *f = k->b->family;
    const char *own = own_name(k->b->is_gguf ? f->gguf_names : f->hub_names, role);
    return own ? own : k->b->is_gguf ? hth_role_gguf(role) : hth_role_hub(role);
}

// Tries all spellings; `base` gets the name without suffix of the one that exists (or of the first, for messages).
const hth_tensor *hth_bind_find(const hth_binder *k, hth_role role, int32_t layer, const char *suffix, char base[HTH_NAME_LEN]) {
    const char *const output_roots[] = {"", k->root, "language_model.", "model.", "model.language_model."};
    const char *one_root[] = {k->b->is_gguf ? "" : k->root};
    const bool is_output = role == HTH_ROLE_OUTPUT || role == HTH_ROLE_CLS_OUT || role == HTH_ROLE_CLS;
    const char *const *roots = is_output && !k->b->is_gguf ? output_roots : one_root;
    const size_t n_root = is_output && !k->b->is_gguf ? HTH_COUNT(output_roots) : 1;
    base[0] = 0;
    for (const char *p = patterns_of(k, role); *p;) {
        size_t n = strcspn(p, "|");
        for (size_t r = 0; r < n_root; r++) {
            char name[HTH_NAME_LEN];
            if (!make_name(name, roots[r], p, n, k->first_layer + layer, k->expert, suffix)) continue;
            const hth_tensor *t = hth_container_find(k->c, name);
            if (t || base[0] == 0) {
                snprintf(base, HTH_NAME_LEN, "%.*s", (int)(strlen(name) - strlen(suffix)), name);
            }
            if (t) return t;
        }
        p += n + (p[n] == '|');
    }
    return NULL;
}

static const hth_tensor *find_named(const hth_binder *k, const char *base, const char *suffix) {
    char name[HTH_NAME_LEN];
    int n = snprintf(name, sizeof name, "%s%s", base, suffix);
    return n > 0 && n < HTH_NAME_LEN ? hth_container_find(k->c, name) : NULL;
}

void hth_bind_mark_used(hth_binder *k, const hth_tensor *t) {
    if (t) k->used[t - hth_container_tensor_at(k->c, 0)] = true;
}

hth_code hth_bind_missing(const hth_binder *k, hth_role role, int32_t layer, const char *base, const char *suffix) {
    if (layer < 0) {
        return hth_fail(k->err, HTH_ERR_FORMAT, "tensor %s%s (%s) is missing", base, suffix, hth_role_title(role));
    }
    return hth_fail(k->err, HTH_ERR_FORMAT, "tensor %s%s (%s of layer %d) is missing", base, suffix, hth_role_title(role),
                    (int)layer);
}

// Whether the tensor is [n_row, n_col], for each expert where these are stacked.
static bool has_shape(const hth_binder *k, const hth_tensor *t, int64_t n_row, int64_t n_col) {
    if (k->stack == 0) return t->n_dim == 2 && t->dim[0] == n_row && t->dim[1] == n_col;
    return t->n_dim == 3 && t->dim[0] == k->stack && t->dim[1] == n_row && t->dim[2] == n_col;
}

static hth_code bad_shape(const hth_binder *k, const hth_tensor *t, int64_t n_row, int64_t n_col) {
    char shape[160] = "";
    for (int i = 0; i < t->n_dim; i++) {
        size_t at = strlen(shape);
        snprintf(shape + at, sizeof shape - at, "%s%lld", i ? " x " : "", (long long)t->dim[i]);
    }
    if (n_row < 0) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, t->off, "tensor %s is [%s], %lld numbers are needed", t->name, shape,
                           (long long)n_col);
    }
    char experts[32] = "";
    if (k->stack > 0) snprintf(experts, sizeof experts, "%lld x ", (long long)k->stack);
    return hth_fail_at(k->err, HTH_ERR_FORMAT, t->off, "tensor %s is [%s], [%s%lld x %lld] is needed", t->name, shape, experts,
                       (long long)n_row, (long long)n_col);
}

// ---- planes

static hth_plane plane_of(const hth_binder *k, const hth_tensor *t, uint64_t row_bytes) {
    uint64_t n;
    const uint8_t *file = hth_container_file_data(k->c, t->i_file, &n);
    (void)n;
    return (hth_plane){.at = {&k->m->buffers[t->i_file], (uint64_t)(t->data - file)}, .row_bytes = row_bytes};
}

static int64_t n_element(const hth_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n_dim; i++) n *= t->dim[i];
    return n;
}

static bool is_float(hth_type t) {
    return t == HTH_TYPE_F32 || t == HTH_TYPE_F16 || t == HTH_TYPE_BF16;
}

// A plain or ggml-quantized matrix.
static hth_code bind_block(hth_binder *k, const hth_tensor *t, int64_t n_row, int64_t n_col, hth_weight *w) {
    const hth_type_info *info = hth_type_get(t->type);
    const bool is_known = info && t->type < HTH_TYPE_GGML_COUNT && t->type != HTH_TYPE_I8 && t->type != HTH_TYPE_I16 &&
                          t->type != HTH_TYPE_I32 && t->type != HTH_TYPE_I64;
    if (!is_known) {
        return hth_fail_at(k->err, HTH_ERR_UNSUPPORTED, t->off, "tensor %s has type %s, which cannot hold weights", t->name,
                           info ? info->name : "?");
    }
    if (n_col % info->block_len != 0) return bad_shape(k, t, n_row, n_col);
    const uint64_t row_bytes = (uint64_t)(n_col / info->block_len) * info->block_bytes;
    *w = (hth_weight){.scheme = HTH_SCHEME_BLOCK, .type = t->type, .codes = plane_of(k, t, row_bytes)};
    return HTH_OK;
}

typedef struct mlx_mode {
    const char *name;
    hth_scheme scheme;
    int bits, group;
} mlx_mode;

static const mlx_mode mlx_modes[] = {{"affine", HTH_SCHEME_AFFINE, 4, 64},
                                     {"mxfp4", HTH_SCHEME_MXFP4, 4, 32},
                                     {"mxfp8", HTH_SCHEME_MXFP8, 8, 32},
                                     {"nvfp4", HTH_SCHEME_NVFP4, 4, 16}};

static hth_code read_mlx_config(hth_binder *k, const char *base, const hth_tensor *t, const mlx_mode **mode, int64_t *bits,
                                int64_t *group) {
    const hth_json *own = hth_json_get(k->mlx, base);
    const hth_json *cfg = own && own->kind == HTH_JSON_OBJECT ? own : k->mlx;
    const hth_json *bad = NULL;
    const char *name = hth_json_str(cfg, "mode", "affine", &bad); // a tensor's own setting without mode is affine
    *mode = NULL;
    for (size_t i = 0; i < HTH_COUNT(mlx_modes); i++) {
        if (strcmp(mlx_modes[i].name, name) == 0) *mode = &mlx_modes[i];
    }
    if (!*mode || bad) {
        return hth_fail_at(k->err, HTH_ERR_UNSUPPORTED, t->off, "tensor %s: quantization mode \"%s\" is not known", t->name, name);
    }
    *bits = hth_json_int(cfg, "bits", (*mode)->bits, &bad);
    *group = hth_json_int(cfg, "group_size", (*mode)->group, &bad);
    const bool affine = (*mode)->scheme == HTH_SCHEME_AFFINE;
    const bool bits_ok = affine ? *bits == 2 || *bits == 3 || *bits == 4 || *bits == 5 || *bits == 6 || *bits == 8
                                : *bits == (*mode)->bits;
    const bool group_ok = affine ? *group == 32 || *group == 64 || *group == 128 : *group == (*mode)->group;
    if (bits_ok && group_ok && !bad) return HTH_OK;
    return hth_fail_at(k->err, HTH_ERR_UNSUPPORTED, t->off, "tensor %s: %s quantization with %lld bits in groups of %lld",
                       t->name, name, (long long)*bits, (long long)*group);
}

// Codes packed in 32-bit words with scales (and biases) beside them.
static hth_code bind_mlx(hth_binder *k, const char *base, const hth_tensor *t, int64_t n_row, int64_t n_col, hth_weight *w) {
    const mlx_mode *mode;
    int64_t bits = 0, group = 1;
    HTH_TRY(read_mlx_config(k, base, t, &mode, &bits, &group));
    const hth_tensor *scales = find_named(k, base, ".scales"), *biases = find_named(k, base, ".biases");
    hth_bind_mark_used(k, scales);
    hth_bind_mark_used(k, biases);
    if (n_col % group != 0 || n_col * bits % 32 != 0 || !has_shape(k, t, n_row, n_col * bits / 32)) {
        return bad_shape(k, t, n_row, n_col * bits / 32);
    }
    if (!has_shape(k, scales, n_row, n_col / group)) return bad_shape(k, scales, n_row, n_col / group);
    const bool affine = mode->scheme == HTH_SCHEME_AFFINE;
    if (affine && !biases) return hth_fail(k->err, HTH_ERR_FORMAT, "tensor %s.biases is missing", base);
    if (affine && (biases->type != scales->type || n_element(biases) != n_element(scales))) {
        return bad_shape(k, biases, n_row, n_col / group);
    }
    if (affine ? !is_float(scales->type) : scales->type != HTH_TYPE_U8) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, scales->off, "tensor %s has a type that cannot hold scales", scales->name);
    }
    const uint64_t scale_row = scales->n_bytes / (uint64_t)n_row / (uint64_t)(k->stack > 0 ? k->stack : 1);
    *w = (hth_weight){.scheme = mode->scheme, .type = HTH_TYPE_U32, .scale_type = scales->type, .bits = (uint8_t)bits,
                      .group = (uint32_t)group, .scale_rows = 1, .codes = plane_of(k, t, (uint64_t)(n_col * bits / 32) * 4),
                      .scales = plane_of(k, scales, scale_row)};
    if (affine) w->biases = plane_of(k, biases, scale_row);
    return HTH_OK;
}

// FP8 codes with one scale per block of rows and columns (DeepSeek: weight_scale_inv), or one per matrix.
static hth_code bind_fp8(hth_binder *k, const char *base, const hth_tensor *t, int64_t n_row, int64_t n_col, hth_weight *w) {
    const hth_tensor *scales = find_named(k, base, ".weight_scale_inv");
    if (!scales) scales = find_named(k, base, ".weight_scale");
    if (!scales) return hth_fail(k->err, HTH_ERR_FORMAT, "tensor %s is FP8 but has no scales", t->name);
    hth_bind_mark_used(k, scales);
    if (!is_float(scales->type)) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, scales->off, "tensor %s has a type that cannot hold scales", scales->name);
    }
    const hth_json *block = hth_json_get(k->quant, "weight_block_size");
    int64_t rows = 128, cols = 128;
    if (block && block->kind == HTH_JSON_ARRAY && block->n == 2) {
        rows = block->u.items[0].is_int ? block->u.items[0].u.num.i : 0;
        cols = block->u.items[1].is_int ? block->u.items[1].u.num.i : 0;
    }
    if (rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX || n_row > INT32_MAX || n_col > INT32_MAX) {
        return hth_fail(k->err, HTH_ERR_FORMAT, "config.json: weight_block_size is not two positive integers");
    }
    const int64_t n_block_row = (n_row + rows - 1) / rows, n_block_col = (n_col + cols - 1) / cols;
    if (!has_shape(k, scales, n_block_row, n_block_col)) { // one scale for all, or one per row
        if (k->stack > 0) return bad_shape(k, scales, n_block_row, n_block_col);
        if (n_element(scales) != 1 && n_element(scales) != n_row) return bad_shape(k, scales, n_block_row, n_block_col);
        rows = n_element(scales) == 1 ? n_row : 1;
        cols = n_col;
    }
    const uint64_t per_row = (uint64_t)((n_col + cols - 1) / cols);
    *w = (hth_weight){.scheme = HTH_SCHEME_FP8, .type = t->type, .scale_type = scales->type, .bits = 8,
                      .group = (uint32_t)cols, .scale_rows = (uint32_t)rows, .codes = plane_of(k, t, (uint64_t)n_col),
                      .scales = plane_of(k, scales, per_row * hth_type_get(scales->type)->block_bytes)};
    return HTH_OK;
}

// Bytes between the experts of a stacked plane.
static void step_experts(const hth_binder *k, hth_plane *p, int64_t n_row) {
    if (k->stack > 0) p->expert_bytes = p->row_bytes * (uint64_t)n_row;
}

// What a bound weight adds to the model's sums.
static void count_weight(hth_binder *k, const hth_weight *w) {
    k->m->n_param += (uint64_t)w->n_row * (uint64_t)w->n_col * (uint64_t)w->n_expert;
    k->m->weight_bytes += hth_weight_bytes(w);
    k->m->has_bf16 |= w->scheme == HTH_SCHEME_BLOCK && w->type == HTH_TYPE_BF16;
}

// A matrix [n_row, n_col] from the tensor `t` that stands under base + ".weight".
hth_code hth_bind_tensor(hth_binder *k, const char *base, const hth_tensor *t, int64_t n_row, int64_t n_col, hth_weight *w) {
    hth_bind_mark_used(k, t);
    if (t->type == HTH_TYPE_U32 && find_named(k, base, ".scales")) {
        HTH_TRY(bind_mlx(k, base, t, n_row, n_col, w));
    } else {
        if (!has_shape(k, t, n_row, n_col)) return bad_shape(k, t, n_row, n_col);
        HTH_TRY(t->type == HTH_TYPE_F8_E4M3 || t->type == HTH_TYPE_F8_E5M2 ? bind_fp8(k, base, t, n_row, n_col, w)
                                                                          : bind_block(k, t, n_row, n_col, w));
    }
    w->n_row = n_row;
    w->n_col = n_col;
    w->n_expert = k->stack > 0 ? k->stack : 1;
    w->name = t->name;
    step_experts(k, &w->codes, n_row);
    step_experts(k, &w->biases, n_row);
    step_experts(k, &w->scales, w->scale_rows > 1 ? (n_row + w->scale_rows - 1) / w->scale_rows : n_row);
    count_weight(k, w);
    return HTH_OK;
}

// What stands behind the name of a tensor of all experts.
static const char *stack_suffix(const hth_binder *k, hth_role role, int32_t layer) {
    char base[HTH_NAME_LEN];
    return k->b->bare_experts && hth_bind_find(k, role, layer, "", base) ? "" : ".weight";
}

// Stacked matrices of which the tensor has the columns.
static hth_code bind_turned(hth_binder *k, const hth_tensor *t, int64_t n_row, int64_t n_col, hth_weight *w) {
    hth_bind_mark_used(k, t);
    if (!has_shape(k, t, n_col, n_row)) return bad_shape(k, t, n_col, n_row);
    if (!is_float(t->type)) {
        return hth_fail_at(k->err, HTH_ERR_UNSUPPORTED, t->off, "tensor %s: turned experts must be f32, f16 or bf16", t->name);
    }
    HTH_TRY(bind_block(k, t, n_col, n_row, w));
    w->flags = HTH_WEIGHT_TURNED;
    w->n_row = n_row;
    w->n_col = n_col;
    w->n_expert = k->stack;
    w->name = t->name;
    step_experts(k, &w->codes, n_col);
    count_weight(k, w);
    return HTH_OK;
}

hth_code hth_bind_matrix(hth_binder *k, hth_role role, int32_t layer, int64_t n_row, int64_t n_col, hth_weight *w) {
    char base[HTH_NAME_LEN];
    const char *suffix = k->stack > 0 ? stack_suffix(k, role, layer) : ".weight";
    const hth_tensor *t = hth_bind_find(k, role, layer, suffix, base);
    if (!t) return hth_bind_missing(k, role, layer, base, suffix);
    if (k->b->turned_experts && suffix[0] == 0) return bind_turned(k, t, n_row, n_col, w);
    return hth_bind_tensor(k, base, t, n_row, n_col, w);
}

// ---- vectors

hth_code hth_bind_vector(hth_binder *k, const hth_tensor *t, int64_t n, float plus, const float **out) {
    hth_bind_mark_used(k, t);
    if (n_element(t) != n || n > MAX_VECTOR) return bad_shape(k, t, -1, n);
    const hth_type_info *info = hth_type_get(t->type);
    if (!is_float(t->type)) {
        return hth_fail_at(k->err, HTH_ERR_UNSUPPORTED, t->off, "tensor %s has type %s; f32, f16 or bf16 is needed", t->name,
                           info ? info->name : "?");
    }
    float *v = hth_arena_alloc(&k->m->arena, (size_t)n, sizeof *v);
    if (!v) return hth_fail_nomem(k->err, (uint64_t)n * sizeof *v);
    info->dequantize(t->data, v, n);
    for (int64_t i = 0; plus != 0 && i < n; i++) v[i] += plus;
    k->m->n_param += (uint64_t)n;
    k->m->weight_bytes += t->n_bytes;
    *out = v;
    return HTH_OK;
}

// A norm's weight: required. Its bias: taken when there.
hth_code hth_bind_norm(hth_binder *k, hth_role role, int32_t layer, int64_t n, const float **w, const float **bias) {
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, role, layer, ".weight", base);
    if (!t && k->b->is_gguf) t = hth_bind_find(k, role, layer, "", base); // one of Falcon H1's
    if (!t) return hth_bind_missing(k, role, layer, base, ".weight");
    HTH_TRY(hth_bind_vector(k, t, n, k->plus_one ? 1 : 0, w));
    const hth_tensor *b = bias ? find_named(k, base, ".bias") : NULL;
    return b ? hth_bind_vector(k, b, n, 0, bias) : HTH_OK;
}

// A projection's bias. promise: 1 must be there, 0 must not, -1 either.
hth_code hth_bind_bias(hth_binder *k, hth_role role, int32_t layer, int64_t n, int promise, const float **out) {
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, role, layer, ".bias", base);
    if (t && promise == 0) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, t->off, "tensor %s exists, but config.json says there is no such bias", t->name);
    }
    if (!t && promise == 1) return hth_bind_missing(k, role, layer, base, ".bias");
    return t ? hth_bind_vector(k, t, n, 0, out) : HTH_OK;
}

// ---- layers

static hth_code bind_fused_qkv(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_attention_desc *a = &k->b->d->layers[i].attn;
    const int64_t nq = (int64_t)a->n_head * a->head_dim * (1 + a->gated), nk = (int64_t)a->n_kv_head * a->head_dim;
    const int64_t nv = (int64_t)a->n_kv_head * a->head_dim_v;
    hth_weight all;
    const float *bias = NULL;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_QKV, i, nq + nk + nv, k->b->d->d_model, &all));
    HTH_TRY(hth_weight_slice_rows(&all, 0, nq, &l->q, k->err));
    HTH_TRY(hth_weight_slice_rows(&all, nq, nk, &l->k, k->err));
    HTH_TRY(hth_weight_slice_rows(&all, nq + nk, nv, &l->v, k->err));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_QKV, i, nq + nk + nv, k->b->qkv_bias, &bias));
    if (bias) {
        l->q_bias = bias;
        l->k_bias = bias + nq;
        l->v_bias = bias + nq + nk;
    }
    return HTH_OK;
}

static hth_code bind_qkv(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_attention_desc *a = &k->b->d->layers[i].attn;
    const int64_t d = k->b->d->d_model;
    const int64_t nq = (int64_t)a->n_head * a->head_dim * (1 + a->gated), nk = (int64_t)a->n_kv_head * a->head_dim;
    const int64_t nv = (int64_t)a->n_kv_head * a->head_dim_v;
    char base[HTH_NAME_LEN];
    if (hth_bind_find(k, HTH_ROLE_QKV, i, ".weight", base)) return bind_fused_qkv(k, i, l);
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_Q, i, nq, d, &l->q));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_Q, i, nq, k->b->qkv_bias, &l->q_bias));
    if (a->kv_layer != i) return HTH_OK;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_K, i, nk, d, &l->k));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_K, i, nk, k->b->qkv_bias, &l->k_bias));
    if (a->v_is_k) return HTH_OK;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_V, i, nv, d, &l->v));
    return hth_bind_bias(k, HTH_ROLE_V, i, nv, k->b->qkv_bias, &l->v_bias);
}

static hth_code bind_qk_norms(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_attention_desc *a = &k->b->d->layers[i].attn;
    if (a->qk_norm == HTH_QK_NORM_NONE || a->qk_norm_no_weight) return HTH_OK;
    const bool whole = a->qk_norm == HTH_QK_NORM_ALL || a->qk_norm_per_head_weight;
    HTH_TRY(hth_bind_norm(k, HTH_ROLE_Q_NORM, i, (int64_t)a->head_dim * (whole ? a->n_head : 1), &l->q_norm, &l->q_norm_bias));
    if (a->kv_layer != i) return HTH_OK;
    return hth_bind_norm(k, HTH_ROLE_K_NORM, i, (int64_t)a->head_dim * (whole ? a->n_kv_head : 1), &l->k_norm, &l->k_norm_bias);
}

static hth_code bind_attention(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_attention_desc *a = &k->b->d->layers[i].attn;
    const int64_t d = k->b->d->d_model;
    const bool is_latent = k->b->d->layers[i].mixer == HTH_MIXER_LATENT;
    const int64_t d_v = is_latent ? k->b->d->layers[i].latent.d_v : a->head_dim_v;
    char base[HTH_NAME_LEN];
    if (is_latent) {
        HTH_TRY(hth_bind_latent(k, i, l));
    } else {
        HTH_TRY(bind_qkv(k, i, l));
        HTH_TRY(bind_qk_norms(k, i, l));
    }
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_O, i, d, a->n_head * d_v, &l->o));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_O, i, d, k->b->o_bias, &l->o_bias));
    const hth_tensor *sinks = hth_bind_find(k, HTH_ROLE_SINKS, i, k->b->is_gguf ? ".weight" : "", base);
    return sinks ? hth_bind_vector(k, sinks, a->n_head, 0, &l->sinks) : HTH_OK;
}

// The roles of a gated feed-forward: the layer's own, or the shared one beside experts.
typedef struct ffn_roles {
    hth_role gate, up, gate_up, down;
} ffn_roles;

static hth_code bind_gated(hth_binder *k, int32_t i, const ffn_roles *r, hth_layer *l) {
    const hth_layer_desc *ld = &k->b->d->layers[i];
    const int64_t d = k->b->d->d_model, ff = ld->d_ff;
    char base[HTH_NAME_LEN];
    const bool gated = ld->ffn != HTH_FFN_PLAIN && !ld->moe.no_gate;
    const bool fused = gated && !hth_bind_find(k, r->gate, i, ".weight", base) && hth_bind_find(k, r->gate_up, i, ".weight", base);
    if (fused) {
        hth_weight all;
        HTH_TRY(hth_bind_matrix(k, r->gate_up, i, 2 * ff, d, &all));
        HTH_TRY(hth_weight_slice_rows(&all, 0, ff, &l->gate, k->err));
        HTH_TRY(hth_weight_slice_rows(&all, ff, ff, &l->up, k->err));
    } else {
        if (gated) HTH_TRY(hth_bind_matrix(k, r->gate, i, ff, d, &l->gate));
        if (gated) HTH_TRY(hth_bind_bias(k, r->gate, i, ff, k->b->mlp_bias, &l->gate_bias));
        HTH_TRY(hth_bind_matrix(k, r->up, i, ff, d, &l->up));
        HTH_TRY(hth_bind_bias(k, r->up, i, ff, k->b->mlp_bias, &l->up_bias));
    }
    HTH_TRY(hth_bind_matrix(k, r->down, i, d, ff, &l->down));
    return hth_bind_bias(k, r->down, i, d, k->b->mlp_bias, &l->down_bias);
}

static hth_code bind_moe(hth_binder *k, int32_t i, hth_layer *l);

static hth_code bind_ffn(hth_binder *k, int32_t i, hth_layer *l) {
    static const ffn_roles own = {HTH_ROLE_GATE, HTH_ROLE_UP, HTH_ROLE_GATE_UP, HTH_ROLE_DOWN};
    return k->b->d->layers[i].ffn == HTH_FFN_MOE ? bind_moe(k, i, l) : bind_gated(k, i, &own, l);
}

// ---- routed experts

static bool same_layout(const hth_weight *a, const hth_weight *b) {
    return a->scheme == b->scheme && a->type == b->type && a->scale_type == b->scale_type && a->bits == b->bits &&
           a->group == b->group && a->scale_rows == b->scale_rows && a->codes.row_bytes == b->codes.row_bytes &&
           a->scales.row_bytes == b->scales.row_bytes && a->biases.row_bytes == b->biases.row_bytes;
}

// Experts with a tensor each become one weight with a base per expert.
static hth_code bind_separate(hth_binder *k, hth_role role, int32_t i, int64_t n_row, int64_t n_col, hth_weight *w) {
    const int64_t n = k->b->d->layers[i].moe.n_expert;
    hth_ref *refs = hth_arena_alloc(&k->m->arena, (size_t)(3 * n), sizeof *refs);
    if (!refs) return hth_fail_nomem(k->err, (uint64_t)(3 * n) * sizeof *refs);
    for (k->expert = 0; k->expert < n; k->expert++) {
        hth_weight one;
        HTH_TRY(hth_bind_matrix(k, role, i, n_row, n_col, &one));
        if (k->expert == 0) *w = one;
        if (!same_layout(w, &one)) {
            return hth_fail(k->err, HTH_ERR_UNSUPPORTED, "tensor %s is stored in another way than %s", one.name, w->name);
        }
        refs[k->expert] = one.codes.at;
        refs[n + k->expert] = one.scales.at;
        refs[2 * n + k->expert] = one.biases.at;
    }
    w->n_expert = n;
    w->codes.experts = refs;
    w->scales.experts = refs + n;
    w->biases.experts = refs + 2 * n;
    return HTH_OK;
}

// All experts in one tensor [n_expert, n_row, n_col].
static hth_code bind_stacked(hth_binder *k, hth_role role, int32_t i, int64_t n_row, int64_t n_col, hth_weight *w) {
    k->stack = k->b->d->layers[i].moe.n_expert;
    const hth_code code = hth_bind_matrix(k, role, i, n_row, n_col, w);
    k->stack = 0;
    return code;
}

// One matrix of all experts, as the container has them.
static hth_code bind_experts(hth_binder *k, hth_role stacked, hth_role separate, int32_t i, int64_t n_row, int64_t n_col,
                             hth_weight *w, const float **bias) {
    char base[HTH_NAME_LEN];
    k->expert = 0;
    const bool is_separate = hth_bind_find(k, separate, i, ".weight", base) != NULL;
    if (is_separate || (!k->b->is_gguf && !hth_bind_find(k, stacked, i, stack_suffix(k, stacked, i), base))) {
        return bind_separate(k, separate, i, n_row, n_col, w);
    }
    HTH_TRY(bind_stacked(k, stacked, i, n_row, n_col, w));
    return hth_bind_bias(k, stacked, i, n_row * w->n_expert, -1, bias);
}

// MXFP4 as gpt-oss publishes it: bytes [n_expert, n_row, n_col / 32, 16] and exponents [n_expert, n_row, n_col / 32].
static hth_code bind_mxfp4(hth_binder *k, hth_role role, int32_t i, int64_t n_row, int64_t n_col, hth_weight *w) {
    const int64_t n = k->b->d->layers[i].moe.n_expert, groups = n_col / 32;
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, role, i, "_blocks", base);
    if (!t) return hth_bind_missing(k, role, i, base, "_blocks");
    const hth_tensor *scales = find_named(k, base, "_scales");
    if (!scales) return hth_bind_missing(k, role, i, base, "_scales");
    hth_bind_mark_used(k, t);
    hth_bind_mark_used(k, scales);
    if (n_col % 32 != 0 || t->type != HTH_TYPE_U8 || t->n_dim != 4 || t->dim[0] != n || t->dim[1] != n_row ||
        t->dim[2] != groups || t->dim[3] != 16) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, t->off, "tensor %s: bytes [%lld x %lld x %lld x 16] are needed", t->name,
                           (long long)n, (long long)n_row, (long long)groups);
    }
    if (scales->type != HTH_TYPE_U8 || scales->n_dim != 3 || scales->dim[0] != n || scales->dim[1] != n_row ||
        scales->dim[2] != groups) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, scales->off, "tensor %s: bytes [%lld x %lld x %lld] are needed",
                           scales->name, (long long)n, (long long)n_row, (long long)groups);
    }
    *w = (hth_weight){.scheme = HTH_SCHEME_MXFP4, .type = HTH_TYPE_U32, .scale_type = HTH_TYPE_U8, .bits = 4, .group = 32,
                      .scale_rows = 1, .n_row = n_row, .n_col = n_col, .n_expert = n, .name = t->name,
                      .codes = plane_of(k, t, (uint64_t)n_col / 2), .scales = plane_of(k, scales, (uint64_t)groups)};
    w->codes.expert_bytes = w->codes.row_bytes * (uint64_t)n_row;
    w->scales.expert_bytes = w->scales.row_bytes * (uint64_t)n_row;
    count_weight(k, w);
    return HTH_OK;
}

static void every_second_row(hth_plane *p, uint64_t first) {
    p->at.off += first * p->row_bytes;
    p->row_bytes *= 2;
}

// Rows first, first + 2, ... of a weight of stacked experts.
static hth_weight alternate_rows(const hth_weight *all, uint64_t first) {
    hth_weight w = *all;
    w.n_row /= 2;
    if (w.flags & HTH_WEIGHT_TURNED) {
        w.flags |= HTH_WEIGHT_PAIRED;
        w.codes.at.off += first * hth_type_get(w.type)->block_bytes;
        return w;
    }
    every_second_row(&w.codes, first);
    every_second_row(&w.scales, first);
    return w;
}

// Numbers of gate and up that alternate, as two vectors.
static hth_code part_biases(hth_binder *k, const float *both, int64_t n, hth_layer *l) {
    float *v = hth_arena_alloc(&k->m->arena, (size_t)(2 * n), sizeof *v);
    if (!v) return hth_fail_nomem(k->err, (uint64_t)(2 * n) * sizeof *v);
    for (int64_t i = 0; i < n; i++) {
        v[i] = both[2 * i];
        v[n + i] = both[2 * i + 1];
    }
    l->expert_gate_bias = v;
    l->expert_up_bias = v + n;
    return HTH_OK;
}

// Rows of gate and up alternate; in MXFP4, or plain and turned.
static hth_code bind_gpt_oss(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_moe_desc *moe = &k->b->d->layers[i].moe;
    const int64_t d = k->b->d->d_model, ff = moe->d_ff;
    char base[HTH_NAME_LEN];
    hth_weight both;
    const bool is_plain = !hth_bind_find(k, HTH_ROLE_EXPERTS_GATE_UP, i, "_blocks", base);
    HTH_TRY((is_plain ? bind_stacked : bind_mxfp4)(k, HTH_ROLE_EXPERTS_GATE_UP, i, 2 * ff, d, &both));
    l->expert_gate = alternate_rows(&both, 0);
    l->expert_up = alternate_rows(&both, 1);
    HTH_TRY((is_plain ? bind_stacked : bind_mxfp4)(k, HTH_ROLE_EXPERTS_DOWN, i, d, ff, &l->expert_down));
    const float *bias;
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_EXPERTS_GATE_UP, i, "_bias", base);
    if (!t) return hth_bind_missing(k, HTH_ROLE_EXPERTS_GATE_UP, i, base, "_bias");
    HTH_TRY(hth_bind_vector(k, t, moe->n_expert * 2 * ff, 0, &bias));
    HTH_TRY(part_biases(k, bias, moe->n_expert * ff, l));
    t = hth_bind_find(k, HTH_ROLE_EXPERTS_DOWN, i, "_bias", base);
    if (!t) return hth_bind_missing(k, HTH_ROLE_EXPERTS_DOWN, i, base, "_bias");
    return hth_bind_vector(k, t, moe->n_expert * d, 0, &l->expert_down_bias);
}

static hth_code bind_routed(hth_binder *k, int32_t i, hth_layer *l) {
    const int64_t d = hth_moe_width(&k->b->d->layers[i].moe, k->b->d->d_model), ff = k->b->d->layers[i].moe.d_ff;
    char base[HTH_NAME_LEN];
    // Only gpt-oss has a bias under this name, beside either form of its experts.
    const bool is_gpt_oss = hth_bind_find(k, HTH_ROLE_EXPERTS_GATE_UP, i, "_blocks", base) ||
                            hth_bind_find(k, HTH_ROLE_EXPERTS_GATE_UP, i, "_bias", base);
    if (is_gpt_oss) return bind_gpt_oss(k, i, l);
    if (hth_bind_find(k, HTH_ROLE_EXPERTS_GATE_UP, i, stack_suffix(k, HTH_ROLE_EXPERTS_GATE_UP, i), base)) {
        hth_weight all;
        HTH_TRY(bind_stacked(k, HTH_ROLE_EXPERTS_GATE_UP, i, 2 * ff, d, &all));
        HTH_TRY(hth_weight_slice_rows(&all, 0, ff, &l->expert_gate, k->err));
        HTH_TRY(hth_weight_slice_rows(&all, ff, ff, &l->expert_up, k->err));
    } else {
        if (!k->b->d->layers[i].moe.no_gate) {
            HTH_TRY(bind_experts(k, HTH_ROLE_EXPERTS_GATE, HTH_ROLE_EXPERT_GATE, i, ff, d, &l->expert_gate, &l->expert_gate_bias));
        }
        HTH_TRY(bind_experts(k, HTH_ROLE_EXPERTS_UP, HTH_ROLE_EXPERT_UP, i, ff, d, &l->expert_up, &l->expert_up_bias));
    }
    return bind_experts(k, HTH_ROLE_EXPERTS_DOWN, HTH_ROLE_EXPERT_DOWN, i, d, ff, &l->expert_down, &l->expert_down_bias);
}

// [1, d]; GGUF files have [d].
static hth_code bind_shared_router(hth_binder *k, int32_t i, hth_weight *w) {
    const int64_t d = k->b->d->d_model;
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_SHARED_ROUTER, i, ".weight", base);
    if (!t) return hth_bind_missing(k, HTH_ROLE_SHARED_ROUTER, i, base, ".weight");
    if (t->n_dim != 1) return hth_bind_tensor(k, base, t, 1, d, w);
    hth_bind_mark_used(k, t);
    if (t->dim[0] != d) return bad_shape(k, t, -1, d);
    HTH_TRY(bind_block(k, t, 1, d, w));
    w->n_row = w->n_expert = 1;
    w->n_col = d;
    w->name = t->name;
    count_weight(k, w);
    return HTH_OK;
}

static hth_code bind_latent_experts(hth_binder *k, int32_t i, hth_layer *l) {
    const int64_t d = k->b->d->d_model, n = k->b->d->layers[i].moe.d_latent;
    if (n == 0) return HTH_OK;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_LATENT_IN, i, n, d, &l->latent_in));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_LATENT_IN, i, n, k->b->mlp_bias, &l->latent_in_bias));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_LATENT_OUT, i, d, n, &l->latent_out));
    return hth_bind_bias(k, HTH_ROLE_LATENT_OUT, i, d, k->b->mlp_bias, &l->latent_out_bias);
}

static hth_code bind_moe(hth_binder *k, int32_t i, hth_layer *l) {
    static const ffn_roles shared = {HTH_ROLE_SHARED_GATE, HTH_ROLE_SHARED_UP, HTH_ROLE_SHARED_GATE_UP, HTH_ROLE_SHARED_DOWN};
    const hth_layer_desc *ld = &k->b->d->layers[i];
    char base[HTH_NAME_LEN];
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_ROUTER, i, ld->moe.n_expert, k->b->d->d_model, &l->router));
    HTH_TRY(hth_bind_bias(k, HTH_ROLE_ROUTER, i, ld->moe.n_expert, -1, &l->router_bias));
    const char *suffix = k->b->is_gguf ? ".bias" : "";
    const hth_tensor *choice = hth_bind_find(k, HTH_ROLE_CHOICE_BIAS, i, suffix, base);
    if (choice && k->b->choice_bias == 0) {
        return hth_fail_at(k->err, HTH_ERR_FORMAT, choice->off, "tensor %s exists, but config.json says there is no such bias",
                           choice->name);
    }
    if (!choice && k->b->choice_bias == 1) return hth_bind_missing(k, HTH_ROLE_CHOICE_BIAS, i, base, suffix);
    if (choice) HTH_TRY(hth_bind_vector(k, choice, ld->moe.n_expert, 0, &l->choice_bias));
    HTH_TRY(bind_latent_experts(k, i, l));
    HTH_TRY(bind_routed(k, i, l));
    if (ld->d_ff == 0) return HTH_OK;
    HTH_TRY(bind_gated(k, i, &shared, l));
    return ld->moe.shared_gated ? bind_shared_router(k, i, &l->shared_router) : HTH_OK;
}

static hth_code bind_per_layer(hth_binder *k, int32_t i, hth_layer *l) {
    const hth_desc *d = k->b->d;
    const hth_layer_desc *ld = &d->layers[i];
    char base[HTH_NAME_LEN];
    if (ld->has_per_layer_input) {
        HTH_TRY(hth_bind_matrix(k, HTH_ROLE_PER_LAYER_GATE, i, d->d_per_layer, d->d_model, &l->per_layer_gate));
        HTH_TRY(hth_bind_matrix(k, HTH_ROLE_PER_LAYER_PROJ, i, d->d_model, d->d_per_layer, &l->per_layer_proj));
        HTH_TRY(hth_bind_norm(k, HTH_ROLE_PER_LAYER_NORM, i, d->d_model, &l->per_layer_norm, NULL));
    }
    if (!ld->has_layer_scalar) return HTH_OK;
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_LAYER_SCALAR, i, k->b->is_gguf ? ".weight" : "", base);
    if (!t) return HTH_OK; // absent in the first files: 1
    const float *v;
    HTH_TRY(hth_bind_vector(k, t, 1, 0, &v));
    l->scalar = v[0];
    return HTH_OK;
}

// A small matrix as f32 copy, clipped to +-clip where that is not 0.
static hth_code copy_matrix(hth_binder *k, hth_role role, int32_t layer, int64_t n_row, int64_t n_col, float clip,
                            const float **out) {
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, role, layer, ".weight", base);
    if (!t) return hth_bind_missing(k, role, layer, base, ".weight");
    if (t->n_dim != 2 || t->dim[0] != n_row || t->dim[1] != n_col) return bad_shape(k, t, n_row, n_col);
    HTH_TRY(hth_bind_vector(k, t, n_row * n_col, 0, out));
    if (clip == 0) return HTH_OK;
    float *v = hth_arena_alloc(&k->m->arena, (size_t)(n_row * n_col), sizeof *v);
    if (!v) return hth_fail_nomem(k->err, (uint64_t)(n_row * n_col) * sizeof *v);
    for (int64_t i = 0; i < n_row * n_col; i++) v[i] = fmaxf(-clip, fminf(clip, (*out)[i]));
    *out = v;
    return HTH_OK;
}

static hth_code bind_altup(hth_binder *k, int32_t i, hth_altup *a) {
    const hth_desc *d = k->b->d;
    const int64_t n = d->n_stream;
    char base[HTH_NAME_LEN];
    HTH_TRY(copy_matrix(k, HTH_ROLE_ALTUP_ROUTER, i, n, d->d_model, 0, &a->router));
    HTH_TRY(hth_bind_norm(k, HTH_ROLE_ALTUP_ROUTER_NORM, i, d->d_model, &a->router_norm, NULL));
    HTH_TRY(copy_matrix(k, HTH_ROLE_ALTUP_PREDICT, i, n * n, n, d->stream_clip, &a->predict));
    HTH_TRY(copy_matrix(k, HTH_ROLE_ALTUP_CORRECT, i, n, n, d->stream_clip, &a->correct));
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_ALTUP_SCALE, i, k->b->is_gguf ? ".weight" : "", base);
    if (!t) return HTH_OK;
    if (d->stream_scale) return hth_bind_vector(k, t, d->d_model, 0, &a->scale);
    hth_bind_mark_used(k, t);
    return HTH_OK;
}

// The rank of the learned residual is that of its tensor.
static hth_code bind_laurel(hth_binder *k, int32_t i, hth_layer *l) {
    const int64_t d = k->b->d->d_model;
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_LAUREL_LEFT, i, ".weight", base);
    if (!t) return hth_bind_missing(k, HTH_ROLE_LAUREL_LEFT, i, base, ".weight");
    int64_t rank = t->n_dim == 2 && t->dim[0] <= d ? t->dim[0] : 1;
    hth_meta_int(k->b->m, NULL, "laurel_rank", 1, d, &rank);
    HTH_TRY(hth_meta_check(k->b->m));
    HTH_TRY(hth_bind_tensor(k, base, t, rank, d, &l->laurel_left));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_LAUREL_RIGHT, i, d, rank, &l->laurel_right));
    return hth_bind_norm(k, HTH_ROLE_LAUREL_NORM, i, d, &l->laurel_norm, NULL);
}

hth_code hth_bind_layer(hth_binder *k, int32_t i) {
    hth_layer *l = &k->m->layers[i];
    const hth_layer_desc *ld = &k->b->d->layers[i];
    const int64_t d = k->b->d->d_model;
    char base[HTH_NAME_LEN];
    l->scalar = 1;
    const bool has_mixer = hth_layer_has_mixer(ld), has_ffn = ld->ffn != HTH_FFN_NONE;
    if (ld->pre_norm && has_mixer) HTH_TRY(hth_bind_norm(k, HTH_ROLE_ATTN_NORM, i, d, &l->attn_norm, &l->attn_norm_bias));
    // Parallel blocks share the first norm unless the file has a second.
    if (ld->pre_norm && has_ffn && (!ld->parallel || hth_bind_find(k, HTH_ROLE_FFN_NORM, i, ".weight", base))) {
        HTH_TRY(hth_bind_norm(k, HTH_ROLE_FFN_NORM, i, d, &l->ffn_norm, &l->ffn_norm_bias));
    }
    if (ld->sandwich && has_mixer) {
        HTH_TRY(hth_bind_norm(k, HTH_ROLE_ATTN_POST_NORM, i, d, &l->attn_post_norm, &l->attn_post_norm_bias));
    }
    if (ld->sandwich && has_ffn) {
        HTH_TRY(hth_bind_norm(k, HTH_ROLE_FFN_POST_NORM, i, d, &l->ffn_post_norm, &l->ffn_post_norm_bias));
    }
    if (ld->mixer != HTH_MIXER_NONE) HTH_TRY(bind_attention(k, i, l));
    HTH_TRY(hth_bind_recurrent(k, i, &l->recurrent));
    if (has_ffn) HTH_TRY(bind_ffn(k, i, l));
    if (ld->has_laurel) HTH_TRY(bind_laurel(k, i, l));
    if (k->b->d->n_stream > 1) HTH_TRY(bind_altup(k, i, &l->altup));
    return bind_per_layer(k, i, l);
}

// ---- the model's own tensors

static hth_code bind_rope_divisors(hth_binder *k) {
    static const hth_role roles[2][2] = {{HTH_ROLE_ROPE_FREQS, HTH_ROLE_ROPE_SHORT}, {HTH_ROLE_ROPE_FREQS, HTH_ROLE_ROPE_LONG}};
    hth_desc *d = k->b->d;
    char base[HTH_NAME_LEN];
    for (int set = 0; k->b->is_gguf && d->n_rope > 0 && set < 2; set++) {
        for (int j = 0; j < 2; j++) {
            const hth_tensor *t = hth_bind_find(k, roles[set][j], -1, ".weight", base);
            if (!t) continue;
            HTH_TRY(hth_bind_vector(k, t, d->rope[0].n_rot / 2, 0, &d->rope[0].divisors[set]));
            if (j == 1) d->rope[0].scaling = HTH_SCALING_LONGROPE;
        }
    }
    for (int32_t r = 0; r < d->n_rope; r++) HTH_TRY(hth_rope_prepare(&d->rope[r], &k->m->arena, k->err));
    return HTH_OK;
}

static hth_code bind_output(hth_binder *k) {
    hth_desc *d = k->b->d;
    hth_model *m = k->m;
    char base[HTH_NAME_LEN];
    if (!d->causal) return HTH_OK;
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_OUTPUT, -1, ".weight", base);
    d->tied_output = t == NULL;
    if (hth_meta_bool(k->b->m, NULL, "tie_word_embeddings|tie_embedding", &d->tied_output) && !d->tied_output && !t) {
        return hth_bind_missing(k, HTH_ROLE_OUTPUT, -1, base, ".weight");
    }
    HTH_TRY(hth_meta_check(k->b->m));
    if (d->tied_output) {
        hth_bind_mark_used(k, t);
        m->output = m->token_embd;
        return HTH_OK;
    }
    HTH_TRY(hth_bind_tensor(k, base, t, d->n_vocab, d->d_model, &m->output));
    return hth_bind_bias(k, HTH_ROLE_OUTPUT, -1, d->n_vocab, -1, &m->output_bias);
}

static hth_code bind_per_layer_tables(hth_binder *k) {
    hth_desc *d = k->b->d;
    if (d->d_per_layer == 0) return HTH_OK;
    const int64_t width = (int64_t)d->n_layer * d->d_per_layer;
    if (k->b->is_gguf) d->n_vocab_per_layer = d->n_vocab;
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_PER_LAYER_EMBD, -1, d->n_vocab_per_layer, width, &k->m->per_layer_embd));
    HTH_TRY(hth_bind_matrix(k, HTH_ROLE_PER_LAYER_MODEL_PROJ, -1, width, d->d_model, &k->m->per_layer_model_proj));
    return hth_bind_norm(k, HTH_ROLE_PER_LAYER_PROJ_NORM, -1, d->d_per_layer, &k->m->per_layer_proj_norm, NULL);
}

// The matrices of streams 1.. for one role: separate tensors in a folder, one [n_stream - 1, d, d] in GGUF.
static hth_code bind_stream_matrices(hth_binder *k, hth_role role, hth_weight *out) {
    const int64_t d = k->b->d->d_model, n = k->b->d->n_stream - 1;
    char base[HTH_NAME_LEN];
    for (int32_t j = 0; !k->b->is_gguf && j < n; j++) HTH_TRY(hth_bind_matrix(k, role, j, d, d, &out[j]));
    if (!k->b->is_gguf) return HTH_OK;
    const hth_tensor *t = hth_bind_find(k, role, -1, ".weight", base);
    if (!t) return hth_bind_missing(k, role, -1, base, ".weight");
    hth_bind_mark_used(k, t);
    hth_weight all;
    if (t->n_dim != 3 || t->dim[0] != n || t->dim[1] != d || t->dim[2] != d) return bad_shape(k, t, n * d, d);
    HTH_TRY(bind_block(k, t, n * d, d, &all));
    all.n_row = n * d;
    all.n_col = d;
    all.n_expert = 1;
    all.name = t->name;
    for (int32_t j = 0; j < n; j++) HTH_TRY(hth_weight_slice_rows(&all, j * d, d, &out[j], k->err));
    k->m->n_param += (uint64_t)(n * d * d);
    k->m->weight_bytes += hth_weight_bytes(&all);
    return HTH_OK;
}

static hth_code bind_streams(hth_binder *k) {
    if (k->b->d->n_stream == 1) return HTH_OK;
    HTH_TRY(bind_stream_matrices(k, HTH_ROLE_STREAM_PROJ, k->m->stream_proj));
    return bind_stream_matrices(k, HTH_ROLE_STREAM_UNEMBD, k->m->stream_unembd);
}

// Ranking heads: tanh(dense(cls)) then out, or out alone.
static hth_code bind_classifier(hth_binder *k) {
    hth_desc *d = k->b->d;
    char base[HTH_NAME_LEN];
    if (d->pooling != HTH_POOL_RANK) return HTH_OK;
    if (hth_bind_find(k, HTH_ROLE_CLS, -1, ".weight", base)) {
        HTH_TRY(hth_bind_matrix(k, HTH_ROLE_CLS, -1, d->d_model, d->d_model, &k->m->cls));
        HTH_TRY(hth_bind_bias(k, HTH_ROLE_CLS, -1, d->d_model, -1, &k->m->cls_bias));
    }
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_CLS_OUT, -1, ".weight", base);
    if (!t) return hth_bind_missing(k, HTH_ROLE_CLS_OUT, -1, base, ".weight");
    if (d->n_class == 0) d->n_class = (int32_t)(t->n_dim == 2 && t->dim[0] <= 65536 ? t->dim[0] : 1);
    HTH_TRY(hth_bind_tensor(k, base, t, d->n_class, d->d_model, &k->m->cls_out));
    return hth_bind_bias(k, HTH_ROLE_CLS_OUT, -1, d->n_class, -1, &k->m->cls_out_bias);
}

static hth_code bind_embeddings(hth_binder *k) {
    hth_desc *d = k->b->d;
    hth_model *m = k->m;
    char base[HTH_NAME_LEN];
    const hth_tensor *t = hth_bind_find(k, HTH_ROLE_TOKEN_EMBD, -1, ".weight", base);
    if (!t) return hth_bind_missing(k, HTH_ROLE_TOKEN_EMBD, -1, base, ".weight");
    if (k->b->is_gguf) {
        if (t->n_dim != 2 || t->dim[0] > INT32_MAX) return bad_shape(k, t, 1, d->d_model);
        d->n_vocab = (int32_t)t->dim[0];
    }
    HTH_TRY(hth_bind_tensor(k, base, t, d->n_vocab, d->d_model, &m->token_embd));
    if (d->learned_positions) HTH_TRY(hth_bind_matrix(k, HTH_ROLE_POS_EMBD, -1, d->n_ctx_train, d->d_model, &m->pos_embd));
    if (d->n_token_type > 0) HTH_TRY(hth_bind_matrix(k, HTH_ROLE_TYPE_EMBD, -1, d->n_token_type, d->d_model, &m->type_embd));
    if (!d->causal || d->has_embd_norm) {
        HTH_TRY(hth_bind_norm(k, HTH_ROLE_EMBD_NORM, -1, d->d_model, &m->embd_norm, &m->embd_norm_bias));
    }
    return d->causal ? hth_bind_norm(k, HTH_ROLE_OUTPUT_NORM, -1, d->d_model, &m->output_norm, &m->output_norm_bias) : HTH_OK;
}

// ---- around it

static const char *find_root(const hth_binder *k) {
    static const char *const roots[] = {"model.", "", "model.language_model.", "language_model.model.", "language_model.",
                                        "transformer.", "bert.", "backbone."};
    hth_binder try = *k;
    char base[HTH_NAME_LEN];
    for (size_t i = 0; i < HTH_COUNT(roots); i++) {
        try.root = roots[i];
        if (hth_bind_find(&try, HTH_ROLE_TOKEN_EMBD, -1, ".weight", base)) return roots[i];
    }
    return "model.";
}

// The layer number in "...layers.<n>...." or "blk.<n>."; -1 for tensors outside the text model's layers.
static int64_t layer_of(const hth_binder *k, const char *name) {
    const char *p = name;
    if (!k->b->is_gguf) {
        size_t n = strlen(k->root);
        if (strncmp(name, k->root, n) != 0) return -1;
        p += n;
        if (strncmp(p, "encoder.", 8) == 0) p += 8;
    }
    static const char *const heads[] = {"blk.", "layers.", "layer.", "h."};
    for (size_t i = 0; i < HTH_COUNT(heads); i++) {
        size_t n = strlen(heads[i]);
        if (strncmp(p, heads[i], n) != 0) continue;
        int64_t v = 0;
        const char *c = p + n;
        while (*c >= '0' && *c <= '9' && v < HTH_MAX_LAYER) v = v * 10 + (*c++ - '0');
        return *c == '.' ? v : -1;
    }
    return -1;
}

// Tensors that published files carry and no forward pass reads.
static bool is_ignorable(const hth_binder *k, const char *name, int64_t layer) {
    static const char *const parts[] = {"rotary_emb.inv_freq", ".attn.bias", ".masked_bias", "attn_rot_embd", ".input_max",
                                        ".input_min", ".output_max", ".output_min", "activation_scale", "input_scale",
                                        "indexer."};
    for (size_t i = 0; i < HTH_COUNT(parts); i++) {
        if (strstr(name, parts[i])) return true;
    }
    // Layers that read another's keys may carry projections of their own, unused.
    return k->b->d->layers[layer].attn.kv_layer != layer &&
           (strstr(name, "k_proj") || strstr(name, "v_proj") || strstr(name, "k_norm") || strstr(name, "attn_k") ||
            strstr(name, "attn_v"));
}

static hth_code check_unused(const hth_binder *k) {
    for (int64_t i = 0; i < hth_container_n_tensor(k->c); i++) {
        if (k->used[i]) continue;
        const hth_tensor *t = hth_container_tensor_at(k->c, i);
        int64_t layer = layer_of(k, t->name);
        if (layer >= 0 && layer < k->b->d->n_layer && !is_ignorable(k, t->name, layer)) {
            return hth_fail_at(k->err, HTH_ERR_UNSUPPORTED, t->off, "tensor %s has no place in family %s", t->name,
                               k->b->family->name);
        }
        hth_log(HTH_LOG_DEBUG, "tensor %s is not used", t->name);
    }
    return HTH_OK;
}

static hth_code check_quantization(const hth_binder *k) {
    static const char *const known[] = {"fp8", "mxfp4"};
    const char *method = hth_json_str(k->quant, "quant_method", NULL, NULL);
    if (k->mlx || !method) return HTH_OK;
    for (size_t i = 0; i < HTH_COUNT(known); i++) {
        if (strcmp(known[i], method) == 0) return HTH_OK;
    }
    return hth_fail(k->err, HTH_ERR_UNSUPPORTED, "config.json: quantization method \"%s\" is not known", method);
}

// Whether norms are stored as w - 1. MLX folders of families with convolutions are not: they are known by their
// convolutions, [channels, taps, 1] instead of [channels, 1, taps].
static bool norms_are_offsets(const hth_binder *k) {
    if (k->b->is_gguf || !(k->b->family->traits & HTH_TRAIT_PLUS_ONE_HUB)) return false;
    char base[HTH_NAME_LEN];
    for (int32_t i = 0; i < k->b->d->n_layer; i++) {
        if (k->b->d->layers[i].recurrent.tail_rows == 0) continue;
        const hth_tensor *t = hth_bind_find(k, HTH_ROLE_CONV, i, ".weight", base);
        return !(t && t->n_dim == 3 && t->dim[2] == 1);
    }
    return true;
}

hth_code hth_bind(hth_builder *b, hth_err *err) {
    hth_model *m = b->model;
    hth_binder k = {.b = b, .m = m, .c = m->container, .err = err, .root = ""};
    const size_t n_tensor = (size_t)hth_container_n_tensor(k.c);
    k.used = hth_arena_alloc(&m->arena, n_tensor, sizeof *k.used);
    m->layers = hth_arena_alloc(&m->arena, (size_t)b->d->n_layer, sizeof *m->layers);
    m->tensor_used = k.used;
    if (!k.used || !m->layers) return hth_fail_nomem(err, n_tensor + (uint64_t)b->d->n_layer * sizeof *m->layers);
    if (!b->is_gguf) {
        k.root = find_root(&k);
        k.mlx = hth_json_get(b->m->root, "quantization");
        k.quant = hth_json_get(b->m->root, "quantization_config");
        HTH_TRY(check_quantization(&k));
    }
    k.plus_one = norms_are_offsets(&k);
    HTH_TRY(bind_embeddings(&k));
    HTH_TRY(bind_rope_divisors(&k));
    HTH_TRY(bind_per_layer_tables(&k));
    HTH_TRY(bind_streams(&k));
    for (int32_t i = 0; i < b->d->n_layer; i++) HTH_TRY(hth_bind_layer(&k, i));
    HTH_TRY(bind_output(&k));
    HTH_TRY(bind_classifier(&k));
    HTH_TRY(hth_bind_predictor(&k));
    m->n_param_active = m->n_param;
    for (int32_t i = 0; i < b->d->n_layer; i++) {
        const hth_moe_desc *moe = &b->d->layers[i].moe;
        if (b->d->layers[i].ffn != HTH_FFN_MOE) continue;
        const uint64_t n_matrix = (uint64_t)(moe->n_expert - moe->n_used) * (moe->no_gate ? 2 : 3);
        m->n_param_active -= n_matrix * (uint64_t)hth_moe_width(moe, b->d->d_model) * (uint64_t)moe->d_ff;
    }
    return check_unused(&k);
}
