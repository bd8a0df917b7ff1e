// The choices as tables: which tensors stay as they are, and which get a better type than the rest of the file.
// The facts are llama-quantize's, so that a name means the same file everywhere.
#include "model/mix.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

// general.file_type as llama.h numbers it (LLAMA_FTYPE_...).
static const hth_mix mixes[] = {
    {"F32", HTH_TYPE_F32, 0},       {"F16", HTH_TYPE_F16, 1},       {"BF16", HTH_TYPE_BF16, 32},
    {"Q8_0", HTH_TYPE_Q8_0, 7},     {"Q6_K", HTH_TYPE_Q6_K, 18},    {"Q5_K_M", HTH_TYPE_Q5_K, 17},
    {"Q5_K_S", HTH_TYPE_Q5_K, 16},  {"Q5_1", HTH_TYPE_Q5_1, 9},     {"Q5_0", HTH_TYPE_Q5_0, 8},
    {"Q4_K_M", HTH_TYPE_Q4_K, 15},  {"Q4_K_S", HTH_TYPE_Q4_K, 14},  {"Q4_1", HTH_TYPE_Q4_1, 3},
    {"Q4_0", HTH_TYPE_Q4_0, 2},     {"IQ4_NL", HTH_TYPE_IQ4_NL, 25}, {"IQ4_XS", HTH_TYPE_IQ4_XS, 30},
    {"MXFP4", HTH_TYPE_MXFP4, 38},  {"MXFP4_MOE", HTH_TYPE_MXFP4, 38}, {"NVFP4", HTH_TYPE_NVFP4, 39},
    {"Q3_K_L", HTH_TYPE_Q3_K, 13},  {"Q3_K_M", HTH_TYPE_Q3_K, 12},  {"Q3_K_S", HTH_TYPE_Q3_K, 11},
    {"Q2_K", HTH_TYPE_Q2_K, 10},    {"Q2_K_S", HTH_TYPE_Q2_K, 21},  {"TQ2_0", HTH_TYPE_TQ2_0, 37},
    {"TQ1_0", HTH_TYPE_TQ1_0, 36},  {"Q2_0", HTH_TYPE_Q2_0, 41},    {"Q1_0", HTH_TYPE_Q1_0, 40},
};

// Mixes whose names the rules below use, by file type.
enum {
    MIX_Q4_0 = 2, MIX_Q5_0 = 8, MIX_Q2_K = 10, MIX_Q3_K_S = 11, MIX_Q3_K_M = 12, MIX_Q3_K_L = 13, MIX_Q4_K_S = 14,
    MIX_Q4_K_M = 15, MIX_Q5_K_M = 17, MIX_Q2_K_S = 21, MIX_IQ4_NL = 25, MIX_IQ4_XS = 30,
};

static bool is_same_word(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        const char x = *a >= 'a' && *a <= 'z' ? (char)(*a - 32) : *a, y = *b >= 'a' && *b <= 'z' ? (char)(*b - 32) : *b;
        if (x != y) return false;
    }
    return *a == *b;
}

const hth_mix *hth_mix_by_name(const char *name) {
    static const char *const aliases[][2] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};
    for (size_t i = 0; i < HTH_COUNT(aliases); i++) {
        if (is_same_word(name, aliases[i][0])) name = aliases[i][1];
    }
    for (size_t i = 0; i < HTH_COUNT(mixes); i++) {
        if (is_same_word(name, mixes[i].name)) return &mixes[i];
    }
    return NULL;
}

const hth_mix *hth_mix_at(int i) {
    return i >= 0 && (size_t)i < HTH_COUNT(mixes) ? &mixes[i] : NULL;
}

// ---- tensors by their names

typedef enum part { PART_OTHER, PART_OUTPUT, PART_EMBD, PART_ATTN_V, PART_ATTN_K, PART_ATTN_OUT, PART_FFN_DOWN } part;

bool hth_mix_is_embedding(const char *name) {
    return strcmp(name, "token_embd.weight") == 0 || strcmp(name, "per_layer_token_embd.weight") == 0;
}

static part part_of(const char *name) {
    static const struct {
        const char *piece;
        part part;
    } parts[] = {
        {"attn_qkv.weight", PART_ATTN_V},       {"attn_kv_b.weight", PART_ATTN_V}, {"attn_v.weight", PART_ATTN_V},
        {"attn_k.weight", PART_ATTN_K},         {"attn_output.weight", PART_ATTN_OUT},
        {"ffn_down", PART_FFN_DOWN},
    };
    if (strcmp(name, "output.weight") == 0) return PART_OUTPUT;
    if (hth_mix_is_embedding(name)) return PART_EMBD;
    for (size_t i = 0; i < HTH_COUNT(parts); i++) {
        if (strstr(name, parts[i].piece)) return parts[i].part;
    }
    return PART_OTHER;
}

int64_t hth_mix_layer(const char *name) {
    int64_t layer = 0;
    const char *p = name + 4;
    if (strncmp(name, "blk.", 4) != 0 || *p < '0' || *p > '9') return -1;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (layer > INT32_MAX / 10) return -1;
        layer = 10 * layer + (*p - '0');
    }
    return *p == '.' ? layer : -1;
}

bool hth_mix_is_quantizable(const hth_tensor *t) {
    // Norms, routers, small tables and convolutions; pieces of other models (images, sound) kept whole.
    static const char *const kept[] = {
        "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
        "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
        "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
        "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight",
        "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd",
        "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
        "mm.a.code_embd",
    };
    int n_dim = 0; // trailing ones do not make a matrix
    for (int i = 0; i < t->n_dim; i++) {
        if (t->dim[i] > 1 && n_dim == 0) n_dim = t->n_dim - i;
    }
    const size_t n = strlen(t->name);
    if (n_dim < 2 || n < 6 || strcmp(t->name + n - 6, "weight") != 0) return false;
    if (strcmp(t->name, "position_embd.weight") == 0 || strcmp(t->name, "token_types.weight") == 0) return false;
    for (size_t i = 0; i < HTH_COUNT(kept); i++) {
        if (strstr(t->name, kept[i])) return false;
    }
    return true;
}

// ---- the model

static hth_code read_count(const hth_gguf *g, const char *arch, const char *what, int64_t *out, hth_err *err) {
    char key[160];
    snprintf(key, sizeof key, "%.100s.%s", arch, what);
    const hth_gguf_kv *kv = hth_gguf_find(g, key);
    if (kv && kv->kind == HTH_GGUF_ARRAY && kv->item_kind != HTH_GGUF_STRING) { // one number per layer
        if (kv->n > 0) *out = hth_gguf_item_i64(kv, 0);
        return HTH_OK;
    }
    return hth_gguf_get_i64(g, key, out, err);
}

hth_code hth_mix_model_read(const hth_gguf *g, hth_mix_model *out, hth_err *err) {
    const char *arch = "";
    int64_t n_head = 0, n_head_kv = -1;
    *out = (hth_mix_model){.is_tied = true};
    HTH_TRY(hth_gguf_get_str(g, "general.architecture", &arch, NULL, err));
    HTH_TRY(read_count(g, arch, "block_count", &out->n_layer, err));
    HTH_TRY(read_count(g, arch, "expert_count", &out->n_expert, err));
    HTH_TRY(read_count(g, arch, "attention.head_count", &n_head, err));
    HTH_TRY(read_count(g, arch, "attention.head_count_kv", &n_head_kv, err));
    if (n_head_kv < 0) n_head_kv = n_head;
    out->n_gqa = n_head_kv > 0 ? n_head / n_head_kv : 0;
    out->is_falcon = strcmp(arch, "falcon") == 0;
    out->is_llama_70b = strcmp(arch, "llama") == 0 && out->n_layer == 80 && n_head != n_head_kv;
    for (int64_t i = 0; i < hth_gguf_n_tensor(g); i++) {
        const part p = part_of(hth_gguf_tensor_at(g, i)->name);
        out->n_attn_v += p == PART_ATTN_V;
        if (p == PART_OUTPUT) out->is_tied = false;
    }
    return HTH_OK;
}

// ---- the choice

// When a rule holds, i being the tensor's layer of n.
typedef enum when { ALWAYS, I_BELOW_2, I_BELOW_4, I_BELOW_EIGHTH, I_BELOW_SIXTEENTH, MORE_BITS, GQA_4, FALCON, FALCON_MORE_BITS,
                    FALCON_SIXTEENTH, EIGHTH_PLAIN, EIGHTH_WEIGHED } when;

typedef struct rule {
    part part;
    int file_type;
    when when;
    hth_type type;
} rule;

// The first rule that holds says the type; none: the mix's own.
static const rule rules[] = {
    {PART_ATTN_V, MIX_Q2_K, GQA_4, HTH_TYPE_Q4_K},
    {PART_ATTN_V, MIX_Q2_K, ALWAYS, HTH_TYPE_Q3_K},
    {PART_ATTN_V, MIX_Q2_K_S, GQA_4, HTH_TYPE_Q4_K},
    {PART_ATTN_V, MIX_Q3_K_M, I_BELOW_2, HTH_TYPE_Q5_K},
    {PART_ATTN_V, MIX_Q3_K_M, ALWAYS, HTH_TYPE_Q4_K},
    {PART_ATTN_V, MIX_Q3_K_L, ALWAYS, HTH_TYPE_Q5_K},
    {PART_ATTN_V, MIX_IQ4_NL, GQA_4, HTH_TYPE_Q5_K},
    {PART_ATTN_V, MIX_IQ4_XS, GQA_4, HTH_TYPE_Q5_K},
    {PART_ATTN_V, MIX_Q4_K_M, MORE_BITS, HTH_TYPE_Q6_K},
    {PART_ATTN_V, MIX_Q5_K_M, MORE_BITS, HTH_TYPE_Q6_K},
    {PART_ATTN_V, MIX_Q4_K_S, I_BELOW_4, HTH_TYPE_Q5_K},
    {PART_ATTN_OUT, MIX_Q3_K_L, FALCON, HTH_TYPE_Q4_K},
    {PART_ATTN_OUT, 0, FALCON, HTH_TYPE_GGML_COUNT},
    {PART_ATTN_OUT, MIX_Q2_K, ALWAYS, HTH_TYPE_Q3_K},
    {PART_ATTN_OUT, MIX_Q3_K_M, ALWAYS, HTH_TYPE_Q4_K},
    {PART_ATTN_OUT, MIX_Q3_K_L, ALWAYS, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_Q2_K, ALWAYS, HTH_TYPE_Q3_K},
    {PART_FFN_DOWN, MIX_Q2_K_S, I_BELOW_EIGHTH, HTH_TYPE_Q4_K},
    {PART_FFN_DOWN, MIX_Q3_K_M, I_BELOW_SIXTEENTH, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_Q3_K_M, FALCON_MORE_BITS, HTH_TYPE_Q4_K},
    {PART_FFN_DOWN, MIX_Q3_K_M, FALCON, HTH_TYPE_Q3_K},
    {PART_FFN_DOWN, MIX_Q3_K_M, ALWAYS, HTH_TYPE_Q4_K},
    {PART_FFN_DOWN, MIX_Q3_K_L, FALCON, HTH_TYPE_Q4_K},
    {PART_FFN_DOWN, MIX_Q3_K_L, ALWAYS, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_Q4_K_M, FALCON_SIXTEENTH, HTH_TYPE_Q6_K},
    {PART_FFN_DOWN, MIX_Q4_K_M, FALCON_MORE_BITS, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_Q4_K_M, FALCON, HTH_TYPE_Q4_K},
    {PART_FFN_DOWN, MIX_Q4_K_M, MORE_BITS, HTH_TYPE_Q6_K},
    {PART_FFN_DOWN, MIX_IQ4_NL, EIGHTH_PLAIN, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_IQ4_XS, EIGHTH_PLAIN, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_Q5_K_M, MORE_BITS, HTH_TYPE_Q6_K},
    {PART_FFN_DOWN, MIX_Q4_K_S, FALCON, HTH_TYPE_GGML_COUNT},
    {PART_FFN_DOWN, MIX_Q4_K_S, I_BELOW_EIGHTH, HTH_TYPE_Q5_K},
    {PART_FFN_DOWN, MIX_Q4_0, EIGHTH_WEIGHED, HTH_TYPE_Q4_1},
    {PART_FFN_DOWN, MIX_Q5_0, EIGHTH_WEIGHED, HTH_TYPE_Q5_1},
};

// The first and last eighth, and every third layer between.
static bool is_more_bits(int64_t i, int64_t n) {
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static bool holds(const hth_mix_walk *k, when w, int64_t i, int64_t n) {
    const bool falcon = k->model->is_falcon;
    switch (w) {
    case ALWAYS: return true;
    case I_BELOW_2: return i < 2;
    case I_BELOW_4: return i < 4;
    case I_BELOW_EIGHTH: return i < n / 8;
    case I_BELOW_SIXTEENTH: return i < n / 16;
    case MORE_BITS: return is_more_bits(i, n);
    case GQA_4: return k->model->n_gqa >= 4;
    case FALCON: return falcon;
    case FALCON_MORE_BITS: return falcon && is_more_bits(i, n);
    case FALCON_SIXTEENTH: return falcon && i < n / 16;
    case EIGHTH_PLAIN: return i < n / 8 && !k->has_imatrix;
    case EIGHTH_WEIGHED: return i < n / 8 && k->has_imatrix;
    }
    return false;
}

static hth_type by_rules(const hth_mix_walk *k, part p, int64_t i, int64_t n) {
    for (size_t r = 0; r < HTH_COUNT(rules); r++) {
        if (rules[r].part != p || (rules[r].file_type != 0 && rules[r].file_type != k->mix->file_type)) continue;
        if (holds(k, rules[r].when, i, n))
            return rules[r].type == HTH_TYPE_GGML_COUNT ? k->mix->type : rules[r].type;
    }
    return k->mix->type;
}

static hth_type choose_output(const hth_mix_walk *k, int64_t n_col) {
    const hth_type type = k->mix->type;
    if (type == HTH_TYPE_MXFP4 || type == HTH_TYPE_Q8_0 || k->model->is_falcon || n_col % hth_type_get(type)->block_len != 0)
        return HTH_TYPE_Q8_0;
    return HTH_TYPE_Q6_K;
}

// Small attention matrices of a model with eight experts are worth more bits.
static hth_type choose_attention_of_experts(const hth_mix_walk *k, part p, hth_type type) {
    const int f = k->mix->file_type;
    if (p != PART_ATTN_OUT) return HTH_TYPE_Q8_0;
    return f == MIX_Q2_K || f == MIX_Q3_K_S || f == MIX_Q3_K_M || f == MIX_IQ4_NL || f == MIX_Q4_K_S || f == MIX_Q4_K_M ||
                   f == MIX_IQ4_XS
               ? HTH_TYPE_Q5_K
               : type;
}

hth_type hth_mix_choose(hth_mix_walk *k, const hth_tensor *t) {
    const hth_mix_model *m = k->model;
    const part p = part_of(t->name);
    const hth_type own = k->mix->type;
    int64_t i = p == PART_ATTN_V ? k->i_attn_v++ : p == PART_FFN_DOWN ? k->i_ffn_down++ : 0;
    if (hth_type_get(own)->block_len == 1) return own; // f32, f16, bf16: no mix
    if (p == PART_OUTPUT || (p == PART_EMBD && m->is_tied)) return choose_output(k, t->dim[t->n_dim - 1]);
    if (strcmp(k->mix->name, "MXFP4_MOE") == 0)
        return t->n_dim == 3 && t->dim[0] > 1 ? HTH_TYPE_MXFP4 : HTH_TYPE_Q8_0;
    if (p == PART_EMBD) return own == HTH_TYPE_TQ1_0 || own == HTH_TYPE_TQ2_0 || own == HTH_TYPE_Q2_0 ? HTH_TYPE_Q4_K : own;
    if (m->n_expert == 8 && (p == PART_ATTN_V || p == PART_ATTN_K || (p == PART_ATTN_OUT && !m->is_falcon)))
        return choose_attention_of_experts(k, p, own);
    if (p == PART_FFN_DOWN && m->n_expert > 1) i = hth_mix_layer(t->name);
    const hth_type type = by_rules(k, p, i, p == PART_ATTN_V ? m->n_attn_v : m->n_layer);
    if (p == PART_ATTN_V && m->is_llama_70b && (type == HTH_TYPE_Q3_K || type == HTH_TYPE_Q4_K)) return HTH_TYPE_Q5_K;
    return type;
}

hth_type hth_mix_fallback(hth_type type, int64_t n_col) {
    if (n_col % hth_type_get(type)->block_len == 0) return type;
    hth_type other = type;
    switch (type) {
    case HTH_TYPE_IQ4_XS: other = HTH_TYPE_IQ4_NL; break;
    case HTH_TYPE_Q4_K: other = HTH_TYPE_Q5_0; break;
    case HTH_TYPE_Q5_K: other = HTH_TYPE_Q5_1; break;
    case HTH_TYPE_Q6_K: other = HTH_TYPE_Q8_0; break;
    default: other = HTH_TYPE_Q4_0; break; // types of three bits and fewer; larger blocks of 64 and 128
    }
    return n_col % hth_type_get(other)->block_len == 0 ? other : HTH_TYPE_F16;
}
