// A tensor is cut into pieces: a row, or a part of a long one. Threads take pieces one after the other; where
// a piece's blocks go is known beforehand, so who takes it does not matter.
#include "model/quantize.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fp.h"
#include "formats/extent.h"
#include "formats/gguf_write.h"
#include "text/regex.h"

#define PIECE 16384                 // longest piece; a multiple of every block length
#define SLICE_LEN ((int64_t)1 << 20) // numbers that a thread quantizes between two writes
#define MAX_SLICE_LEN ((int64_t)1 << 24)
#define COPY_BYTES (4u << 20)       // of a tensor that stays as it is between two looks at Ctrl-C
#define QUANTIZATION_VERSION 2      // of ggml's block layouts

// ---- rules

typedef struct matchers {
    hth_unicode unicode;
    hth_regex **regexes; // [n] owned
    int64_t *n_match;    // [n] owned
    const hth_quantize_params *params;
    hth_matcher matcher;
} matchers;

static void matchers_free(matchers *m) {
    hth_matcher_free(&m->matcher);
    for (int i = 0; m->regexes && i < m->params->n_rule; i++) hth_regex_free(m->regexes[i]);
    hth_free(m->regexes);
    hth_free(m->n_match);
    hth_unicode_free(&m->unicode);
}

static hth_code matchers_init(matchers *m, const hth_quantize_params *params, hth_err *err) {
    *m = (matchers){.params = params};
    if (params->n_rule == 0) return HTH_OK;
    HTH_TRY(hth_unicode_init(&m->unicode, err));
    m->regexes = hth_calloc(HTH_MEM_MISC, (size_t)params->n_rule, sizeof *m->regexes);
    m->n_match = hth_calloc(HTH_MEM_MISC, (size_t)params->n_rule, sizeof *m->n_match);
    if (!m->regexes || !m->n_match) return hth_fail_nomem(err, (uint64_t)params->n_rule * sizeof *m->regexes);
    for (int i = 0; i < params->n_rule; i++) {
        const char *pattern = params->rules[i].pattern;
        hth_code code = hth_regex_compile(pattern, strlen(pattern), &m->unicode, &m->regexes[i], err);
        if (code != HTH_OK) return hth_fail_in(err, code, pattern);
    }
    return HTH_OK;
}

// The first rule whose pattern the name holds, or NULL. All that match are counted.
static hth_code find_rule(matchers *m, const char *name, const hth_quantize_rule **out, hth_err *err) {
    *out = NULL;
    for (int i = 0; i < m->params->n_rule; i++) {
        bool found;
        size_t start, end;
        HTH_TRY(hth_matcher_begin(&m->matcher, m->regexes[i], (const uint8_t *)name, strlen(name), err));
        HTH_TRY(hth_matcher_find(&m->matcher, 0, &found, &start, &end, err));
        if (!found) continue;
        m->n_match[i]++;
        if (!*out) *out = &m->params->rules[i];
    }
    return HTH_OK;
}

// ---- the plan

// In the order that the mixes count along: tensors outside of layers, then layer by layer by name.
typedef struct place {
    int64_t layer;
    const char *name;
    size_t i;
} place;

static int compare_places(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool is_number(hth_type type) {
    return type < HTH_TYPE_GGML_COUNT && type != HTH_TYPE_F64 && !(type >= HTH_TYPE_I8 && type <= HTH_TYPE_I64);
}

static uint64_t bytes_as(const hth_tensor *t, hth_type type) {
    const hth_type_info *from = hth_type_get(t->type), *to = hth_type_get(type);
    const uint64_t n = t->n_bytes / from->block_bytes * from->block_len;
    return n / to->block_len * to->block_bytes;
}

// Importance has a number per column, for stacked matrices (experts) per column of each.
static hth_code find_importance(hth_quantize_plan *p, hth_quantize_choice *c, hth_err *err) {
    const hth_tensor *t = c->tensor;
    const int64_t n_col = t->dim[t->n_dim - 1];
    int64_t n = n_col;
    if (!p->params.imatrix || hth_type_get(c->type)->block_len == 1) return HTH_OK;
    for (int i = 0; i < t->n_dim - 2; i++) n *= t->dim[i];
    c->importance = hth_imatrix_find(p->params.imatrix, t->name);
    if (c->importance && c->importance->n != n) {
        if (!hth_mix_is_embedding(t->name)) {
            hth_shown shown = hth_show_name(t->name, strlen(t->name));
            return hth_fail(err, HTH_ERR_RANGE,
                            "the importance matrix has %" PRId64 " numbers for '%s', which needs %" PRId64 "; is it of this model?",
                            c->importance->n, shown.text, n);
        }
        c->importance = NULL;
    }
    if (!c->importance) p->n_unweighed++;
    return HTH_OK;
}

static hth_code choose(hth_quantize_plan *p, hth_quantize_choice *c, hth_mix_walk *walk, matchers *m, hth_err *err) {
    const hth_tensor *t = c->tensor;
    const hth_quantize_rule *rule;
    c->type = c->wanted = t->type;
    c->n_bytes = t->n_bytes;
    if (!hth_mix_is_quantizable(t) || !is_number(t->type)) return HTH_OK;
    HTH_TRY(find_rule(m, t->name, &rule, err));
    c->why = rule ? HTH_QUANTIZE_RULE : HTH_QUANTIZE_MIX;
    c->wanted = rule ? rule->type : p->params.is_pure ? p->params.mix->type : hth_mix_choose(walk, t);
    c->type = hth_mix_fallback(c->wanted, t->dim[t->n_dim - 1]);
    if (c->type != c->wanted) {
        c->why = HTH_QUANTIZE_FALLBACK;
        p->n_fallback++;
    }
    c->n_bytes = bytes_as(t, c->type);
    if (c->type == t->type) return HTH_OK;
    if (hth_type_get(t->type)->block_len > 1 && hth_type_get(c->type)->block_len > 1) p->n_again++;
    return find_importance(p, c, err);
}

static hth_code check_rules(const matchers *m, hth_err *err) {
    for (int i = 0; i < m->params->n_rule; i++) {
        if (m->n_match[i] == 0)
            return hth_fail(err, HTH_ERR_NOTFOUND, "'%.100s' matches no tensor that can be quantized", m->params->rules[i].pattern);
    }
    return HTH_OK;
}

static hth_code choose_all(hth_quantize_plan *p, place *places, matchers *m, hth_err *err) {
    hth_mix_model model;
    HTH_TRY(hth_mix_model_read(p->in, &model, err));
    hth_mix_walk walk = {.mix = p->params.mix, .model = &model, .has_imatrix = p->params.imatrix != NULL};
    for (size_t i = 0; i < p->n; i++) {
        const hth_tensor *t = hth_gguf_tensor_at(p->in, (int64_t)i);
        p->choices[i].tensor = t;
        places[i] = (place){.layer = hth_mix_layer(t->name), .name = t->name, .i = i};
    }
    qsort(places, p->n, sizeof *places, compare_places);
    for (size_t i = 0; i < p->n; i++) HTH_TRY(choose(p, &p->choices[places[i].i], &walk, m, err));
    for (size_t i = 0; i < p->n; i++) {
        p->in_bytes += p->choices[i].tensor->n_bytes;
        p->out_bytes += p->choices[i].n_bytes;
    }
    return check_rules(m, err);
}

static hth_code check_type(hth_type type, hth_err *err) {
    const hth_type_info *info = hth_type_get(type);
    const bool is_for_files = type != HTH_TYPE_Q8_1 && type != HTH_TYPE_Q8_K; // those are of activations
    if (info && info->quantize && is_number(type) && is_for_files) return HTH_OK;
    return hth_fail(err, HTH_ERR_UNSUPPORTED, "there is no quantizer for %s yet", info ? info->name : "this type");
}

hth_code hth_quantize_plan_make(const hth_gguf *in, const hth_quantize_params *params, hth_quantize_plan *out, hth_err *err) {
    *out = (hth_quantize_plan){.in = in, .params = *params, .n = (size_t)hth_gguf_n_tensor(in)};
    HTH_TRY(check_type(params->mix->type, err));
    for (int i = 0; i < params->n_rule; i++) HTH_TRY(check_type(params->rules[i].type, err));
    out->choices = hth_calloc(HTH_MEM_MISC, out->n + 1, sizeof *out->choices);
    place *places = hth_calloc(HTH_MEM_MISC, out->n + 1, sizeof *places);
    matchers m;
    hth_code code = matchers_init(&m, params, err);
    if (code == HTH_OK && (!out->choices || !places)) code = hth_fail_nomem(err, out->n * sizeof *out->choices);
    if (code == HTH_OK) code = choose_all(out, places, &m, err);
    matchers_free(&m);
    hth_free(places);
    if (code != HTH_OK) hth_quantize_plan_free(out);
    return code;
}

void hth_quantize_plan_free(hth_quantize_plan *p) {
    hth_free(p->choices);
    *p = (hth_quantize_plan){0};
}

// ---- the work

// One slice of a tensor: pieces [first, last).
typedef struct job {
    const hth_quantize_choice *choice;
    const hth_type_info *from, *to;
    int64_t n_col, piece_len, n_per_row; // pieces per row
    int64_t rows_per_matrix;
    int64_t first, last;
    atomic_llong next;
    atomic_llong bad; // the first piece with a number that cannot be stored, INT64_MAX: none
    uint32_t limit;   // bits of the largest magnitude that can
    uint8_t *out;     // [slice]
    float *scratch;   // [n_thread][PIECE]
} job;

// Bits of the largest magnitude; a NaN is above infinity.
static uint32_t largest_bits(const float *x, int64_t n) {
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t b = hth_f32_bits(x[i]) & 0x7fffffff;
        most = b > most ? b : most;
    }
    return most;
}

// The first byte of piece i within the tensor as type `info`.
static uint64_t offset_of(const job *j, int64_t i, const hth_type_info *info) {
    const uint64_t row_bytes = (uint64_t)(j->n_col / info->block_len) * info->block_bytes;
    return (uint64_t)(i / j->n_per_row) * row_bytes +
           (uint64_t)(i % j->n_per_row * j->piece_len / info->block_len) * info->block_bytes;
}

// Numbers in piece i: the last one of a row may be shorter.
static int64_t piece_n(const job *j, int64_t i) {
    const int64_t col = i % j->n_per_row * j->piece_len;
    return j->n_col - col < j->piece_len ? j->n_col - col : j->piece_len;
}

static void quantize_piece(job *j, int64_t i, float *x) {
    const int64_t col = i % j->n_per_row * j->piece_len, row = i / j->n_per_row, n = piece_n(j, i);
    const hth_quantize_choice *c = j->choice;
    j->from->dequantize(c->tensor->data + offset_of(j, i, j->from), x, n);
    if (largest_bits(x, n) > j->limit) {
        long long seen = atomic_load(&j->bad);
        while (i < seen && !atomic_compare_exchange_weak(&j->bad, &seen, i)) continue;
        return;
    }
    const float *importance = c->importance ? c->importance->mean + row / j->rows_per_matrix * j->n_col + col : NULL;
    j->to->quantize(x, j->out + (offset_of(j, i, j->to) - offset_of(j, j->first, j->to)), n, importance);
}

static void work(void *user, int i_thread, int n_thread) {
    job *j = user;
    (void)n_thread;
    for (;;) {
        const int64_t i = atomic_fetch_add(&j->next, 1);
        if (i >= j->last || i > atomic_load(&j->bad)) return;
        quantize_piece(j, i, j->scratch + (size_t)i_thread * PIECE);
    }
}

static hth_code fail_number(const job *j, hth_err *err) {
    const int64_t i = atomic_load(&j->bad);
    hth_shown shown = hth_show_name(j->choice->tensor->name, strlen(j->choice->tensor->name));
    const int64_t n = piece_n(j, i);
    j->from->dequantize(j->choice->tensor->data + offset_of(j, i, j->from), j->scratch, n);
    return hth_fail(err, HTH_ERR_RANGE, "tensor '%s', row %" PRId64 ": %s", shown.text, i / j->n_per_row,
                    largest_bits(j->scratch, n) >= 0x7f800000 ? "it holds a number that is not finite"
                                                              : "a number is too large for this type");
}

// The largest magnitude that the type can hold whatever its neighbours: scales are f16 in most types.
static uint32_t limit_of(hth_type type) {
    if (type == HTH_TYPE_F32) return 0x7f7fffff;
    if (type == HTH_TYPE_BF16) return 0x7f7f7fff; // above, rounding would give infinity
    if (type == HTH_TYPE_MXFP4) return 0x7e7fffff;
    if (type == HTH_TYPE_NVFP4) return hth_f32_bits(2688.0f); // e4m3 scale of 448 times 6
    return hth_f32_bits(65504.0f);
}

typedef struct runner {
    const hth_quantize_plan *plan;
    hth_gguf_writer *writer;
    hth_team *team;
    hth_quantize_progress_fn progress;
    void *user;
    uint8_t *out;
    float *scratch;
    int64_t slice_len; // numbers
    uint64_t done;     // bytes of tensors that are finished
} runner;

static hth_code tell(runner *r, size_t i, uint64_t more, hth_err *err) {
    if (!r->progress || r->progress(r->user, i, r->done + more, r->plan->in_bytes)) return HTH_OK;
    return hth_fail(err, HTH_ERR_CANCELLED, "cancelled");
}

static hth_code copy_tensor(runner *r, size_t i, hth_err *err) {
    const hth_tensor *t = r->plan->choices[i].tensor;
    for (uint64_t at = 0, n; at < t->n_bytes; at += n) {
        n = t->n_bytes - at < COPY_BYTES ? t->n_bytes - at : COPY_BYTES;
        HTH_TRY(tell(r, i, at, err));
        HTH_TRY(hth_gguf_writer_data(r->writer, t->data + at, n, err));
    }
    return HTH_OK;
}

static hth_code quantize_tensor(runner *r, size_t i, hth_err *err) {
    const hth_quantize_choice *c = &r->plan->choices[i];
    const hth_tensor *t = c->tensor;
    job j = {.choice = c, .from = hth_type_get(t->type), .to = hth_type_get(c->type), .limit = limit_of(c->type),
             .out = r->out, .scratch = r->scratch};
    j.n_col = t->dim[t->n_dim - 1];
    j.rows_per_matrix = t->dim[t->n_dim - 2];
    j.piece_len = j.n_col < PIECE ? j.n_col : PIECE;
    j.n_per_row = (j.n_col + j.piece_len - 1) / j.piece_len;
    int64_t n_row = 1;
    for (int d = 0; d < t->n_dim - 1; d++) n_row *= t->dim[d];
    const int64_t n_piece = n_row * j.n_per_row, step = r->slice_len / j.piece_len;
    for (j.first = 0; j.first < n_piece; j.first = j.last) {
        HTH_TRY(tell(r, i, offset_of(&j, j.first, j.from), err));
        j.last = n_piece - j.first < step ? n_piece : j.first + step;
        atomic_store(&j.next, j.first);
        atomic_store(&j.bad, INT64_MAX);
        hth_team_run(r->team, work, &j);
        if (atomic_load(&j.bad) != INT64_MAX) return fail_number(&j, err);
        HTH_TRY(hth_gguf_writer_data(r->writer, j.out, offset_of(&j, j.last, j.to) - offset_of(&j, j.first, j.to), err));
    }
    return HTH_OK;
}

// ---- the file

static bool is_stale(const char *key) {
    return strncmp(key, "split.", 6) == 0 || strncmp(key, "quantize.imatrix.", 17) == 0;
}

static hth_code put_importance(const hth_quantize_plan *p, hth_gguf_writer *w, hth_err *err) {
    const hth_imatrix *m = p->params.imatrix;
    if (!m) return HTH_OK;
    const char *dataset = hth_imatrix_dataset(m), *path = p->params.imatrix_path;
    HTH_TRY(hth_gguf_writer_set_text(w, "quantize.imatrix.file", path ? path : "", err));
    if (dataset[0]) HTH_TRY(hth_gguf_writer_set_text(w, "quantize.imatrix.dataset", dataset, err));
    HTH_TRY(hth_gguf_writer_set_u32(w, "quantize.imatrix.entries_count", (uint32_t)hth_imatrix_n(m), err));
    const int64_t n_chunk = hth_imatrix_n_chunk(m);
    if (n_chunk <= 0 || n_chunk > INT32_MAX) return HTH_OK;
    return hth_gguf_writer_set_u32(w, "quantize.imatrix.chunks_count", (uint32_t)n_chunk, err);
}

static hth_code put_header(const hth_quantize_plan *p, hth_gguf_writer *w, hth_err *err) {
    for (int64_t i = 0; i < hth_gguf_n_kv(p->in); i++) {
        const hth_gguf_kv *kv = hth_gguf_kv_at(p->in, i);
        if (!is_stale(kv->key)) HTH_TRY(hth_gguf_writer_copy(w, kv, err));
    }
    HTH_TRY(hth_gguf_writer_set_u32(w, "general.quantization_version", QUANTIZATION_VERSION, err));
    HTH_TRY(hth_gguf_writer_set_u32(w, "general.file_type", (uint32_t)p->params.mix->file_type, err));
    HTH_TRY(put_importance(p, w, err));
    for (size_t i = 0; i < p->n; i++) {
        const hth_tensor *t = p->choices[i].tensor;
        HTH_TRY(hth_gguf_writer_tensor(w, t->name, p->choices[i].type, t->n_dim, t->dim, err));
    }
    return hth_gguf_writer_begin(w, err);
}

static hth_code run_all(runner *r, hth_err *err) {
    const hth_quantize_plan *p = r->plan;
    HTH_TRY(put_header(p, r->writer, err));
    for (size_t i = 0; i < p->n; i++) {
        const hth_quantize_choice *c = &p->choices[i];
        HTH_TRY(c->type == c->tensor->type ? copy_tensor(r, i, err) : quantize_tensor(r, i, err));
        r->done += c->tensor->n_bytes;
    }
    return tell(r, p->n, 0, err);
}

static hth_code allocate(runner *r, hth_err *err) {
    const int n_thread = hth_team_size(r->team);
    r->slice_len = SLICE_LEN * n_thread < MAX_SLICE_LEN ? SLICE_LEN * n_thread : MAX_SLICE_LEN;
    size_t n_out = 0;
    for (size_t i = 0; i < r->plan->n; i++) {
        const hth_type_info *info = hth_type_get(r->plan->choices[i].type);
        const size_t n = (size_t)r->slice_len / info->block_len * info->block_bytes;
        if (r->plan->choices[i].type != r->plan->choices[i].tensor->type && n > n_out) n_out = n;
    }
    r->out = hth_alloc(HTH_MEM_SCRATCH, n_out);
    r->scratch = hth_calloc(HTH_MEM_SCRATCH, (size_t)n_thread * PIECE, sizeof *r->scratch);
    if (r->out && r->scratch) return HTH_OK;
    return hth_fail_nomem(err, n_out + (uint64_t)n_thread * PIECE * sizeof *r->scratch);
}

hth_code hth_quantize_run(const hth_quantize_plan *p, const char *path, hth_team *team, hth_quantize_progress_fn progress,
                          void *user, uint64_t *n_bytes, hth_err *err) {
    runner r = {.plan = p, .team = team, .progress = progress, .user = user};
    hth_code code = hth_gguf_writer_new(path, &r.writer, err);
    if (code == HTH_OK) code = allocate(&r, err);
    if (code == HTH_OK) code = run_all(&r, err);
    hth_free(r.out);
    hth_free(r.scratch);
    if (code != HTH_OK) {
        hth_gguf_writer_abort(r.writer);
        return code;
    }
    *n_bytes = hth_gguf_writer_bytes(r.writer);
    return hth_gguf_writer_commit(r.writer, err);
}
