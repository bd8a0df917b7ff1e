// tokenizer.model: SentencePiece's ModelProto (sentencepiece_model.proto), read field by field from its
// protocol-buffer encoding. Fields that do not matter here are stepped over.
#include <math.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fp.h"
#include "text/tok_impl.h"

#define MARK "\xe2\x96\x81"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { SP_UNIGRAM = 1, SP_BPE = 2 };
enum { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE };

typedef struct field {
    uint32_t number, wire;
    uint64_t value; // of VARINT, 32 and 64
    const uint8_t *bytes;
    uint64_t n;
} field;

typedef struct sp_model {
    const uint8_t *charsmap;
    uint64_t n_charsmap;
    int64_t n_piece, type, unk, bos, eos, pad;
    bool byte_fallback, add_prefix, merge_spaces, escape, as_suffix;
} sp_model;

static uint64_t read_varint(hth_cursor *c) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = hth_cursor_u8(c);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) return v;
    }
    if (!c->failed) c->fail_pos = c->pos;
    c->failed = true;
    return 0;
}

// The next field; false at the end or when the bytes are broken (the cursor has failed then).
static bool next_field(hth_cursor *c, field *f) {
    if (c->failed || hth_cursor_left(c) == 0) return false;
    uint64_t key = read_varint(c);
    *f = (field){.number = (uint32_t)(key >> 3), .wire = key & 7};
    switch (f->wire) {
    case WIRE_VARINT: f->value = read_varint(c); break;
    case WIRE_64: f->value = hth_cursor_u64(c); break;
    case WIRE_32: f->value = hth_cursor_u32(c); break;
    case WIRE_BYTES:
        f->n = read_varint(c);
        f->bytes = hth_cursor_bytes(c, f->n);
        break;
    default: c->failed = true;
    }
    return !c->failed;
}

static void read_trainer(sp_model *m, hth_cursor c) {
    field f;
    while (next_field(&c, &f)) {
        switch (f.number) {
        case 3: m->type = (int64_t)f.value; break;
        case 24: m->as_suffix = f.value != 0; break;
        case 35: m->byte_fallback = f.value != 0; break;
        case 40: m->unk = (int32_t)f.value; break;
        case 41: m->bos = (int32_t)f.value; break;
        case 42: m->eos = (int32_t)f.value; break;
        case 43: m->pad = (int32_t)f.value; break;
        default: break;
        }
    }
}

static void read_normalizer(sp_model *m, hth_cursor c) {
    field f;
    while (next_field(&c, &f)) {
        switch (f.number) {
        case 2:
            m->charsmap = f.bytes;
            m->n_charsmap = f.n;
            break;
        case 3: m->add_prefix = f.value != 0; break;
        case 4: m->merge_spaces = f.value != 0; break;
        case 5: m->escape = f.value != 0; break;
        default: break;
        }
    }
}

static hth_code read_head(sp_model *m, const uint8_t *data, size_t n, hth_err *err) {
    hth_cursor c = hth_cursor_make(data, n);
    field f;
    while (next_field(&c, &f)) {
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 1) m->n_piece++;
        if (f.number == 2) read_trainer(m, hth_cursor_make(f.bytes, f.n));
        if (f.number == 3) read_normalizer(m, hth_cursor_make(f.bytes, f.n));
    }
    if (c.failed) return hth_fail_at(err, HTH_ERR_FORMAT, c.fail_pos, "not a SentencePiece model");
    if (m->type != SP_UNIGRAM && m->type != SP_BPE) {
        return hth_fail(err, HTH_ERR_UNSUPPORTED, "trainer_spec.model_type %d is not supported",
                        (int)m->type);
    }
    return HTH_OK;
}

static unsigned flags_of(uint64_t type) {
    switch (type) {
    case PIECE_UNKNOWN: return TOK_UNKNOWN;
    case PIECE_CONTROL: return TOK_CONTROL;
    case PIECE_USER: return TOK_ADDED;
    case PIECE_UNUSED: return TOK_UNUSED;
    default: return 0;
    }
}

static int hex(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static hth_code read_piece(hth_tokenizer *t, int32_t id, hth_cursor c, hth_err *err) {
    field f, text = {0};
    double score = 0;
    uint64_t type = PIECE_NORMAL;
    while (next_field(&c, &f)) {
        if (f.number == 1 && f.wire == WIRE_BYTES) text = f;
        if (f.number == 2 && f.wire == WIRE_32) score = hth_f32_from_bits((uint32_t)f.value);
        if (f.number == 3) type = f.value;
    }
    if (c.failed || !isfinite(score)) return hth_fail(err, HTH_ERR_FORMAT, "piece %d is broken", (int)id);
    hth_vocab *v = &t->vocab;
    HTH_TRY(
        hth_vocab_set(v, id, text.n ? (const char *)text.bytes : "", (size_t)text.n, flags_of(type), err));
    v->score[id] = type == PIECE_USER ? 0 : score;
    if (type == PIECE_BYTE && text.n == 6 && hex(text.bytes[3]) >= 0 && hex(text.bytes[4]) >= 0) {
        v->e[id].flags |= TOK_BYTE;
        v->e[id].byte = (uint8_t)(hex(text.bytes[3]) * 16 + hex(text.bytes[4]));
    }
    if (text.n == 0 || !(flags_of(type) & (TOK_CONTROL | TOK_ADDED))) return HTH_OK;
    return hth_tok_add_added(t, (added_token){.id = id, .control = type == PIECE_CONTROL}, err);
}

static hth_code read_pieces(hth_tokenizer *t, const sp_model *m, const uint8_t *data, size_t n,
                            hth_err *err) {
    HTH_TRY(hth_vocab_init(&t->vocab, m->n_piece, err));
    t->vocab.score = hth_calloc(HTH_MEM_TEXT, (size_t)m->n_piece, sizeof *t->vocab.score);
    if (!t->vocab.score) return hth_fail_nomem(err, (uint64_t)m->n_piece * sizeof *t->vocab.score);
    hth_cursor c = hth_cursor_make(data, n);
    field f;
    for (int32_t id = 0; next_field(&c, &f);) {
        if (f.number == 1 && f.wire == WIRE_BYTES)
            HTH_TRY(read_piece(t, id++, hth_cursor_make(f.bytes, f.n), err));
    }
    return hth_vocab_index(&t->vocab, err);
}

static int32_t valid_id(const hth_tokenizer *t, int64_t id) {
    return id >= 0 && id < t->vocab.n ? (int32_t)id : -1;
}

static hth_code load(hth_tokenizer *t, const uint8_t *data, size_t n, hth_err *err) {
    sp_model m = {.type = SP_UNIGRAM,
                  .unk = 0,
                  .bos = 1,
                  .eos = 2,
                  .pad = -1,
                  .add_prefix = true,
                  .merge_spaces = true,
                  .escape = true};
    HTH_TRY(read_head(&m, data, n, err));
    HTH_TRY(read_pieces(t, &m, data, n, err));
    t->kind = m.type == SP_BPE ? "spm" : "unigram";
    t->model.kind = m.type == SP_BPE ? MODEL_RANKS : MODEL_UNIGRAM;
    t->model.byte_fallback = m.byte_fallback;
    t->model.fuse_unk = true;
    t->detok = DETOK_SPM;
    t->strip_first = m.add_prefix;
    norm_step *s = NULL;
    HTH_TRY(hth_tok_add_norm(t, NORM_SENTENCEPIECE, &s, err));
    s->add_prefix = m.add_prefix;
    s->merge_spaces = m.merge_spaces;
    s->escape = m.escape;
    s->as_suffix = m.as_suffix;
    HTH_TRY(hth_charsmap_init(&s->map, m.charsmap, (size_t)m.n_charsmap, err));
    t->special[HTH_SPECIAL_UNK] = t->model.unk = valid_id(t, m.unk);
    t->special[HTH_SPECIAL_BOS] = valid_id(t, m.bos);
    t->special[HTH_SPECIAL_EOS] = valid_id(t, m.eos);
    t->special[HTH_SPECIAL_PAD] = valid_id(t, m.pad);
    // The file does not say who adds what: BOS in front for BPE (llama), EOS behind for Unigram (T5).
    t->adds_bos = m.type == SP_BPE && t->special[HTH_SPECIAL_BOS] >= 0;
    t->adds_eos = m.type == SP_UNIGRAM && t->special[HTH_SPECIAL_EOS] >= 0;
    if (t->adds_bos) t->prefix[t->n_prefix++] = t->special[HTH_SPECIAL_BOS];
    if (t->adds_eos) t->suffix[t->n_suffix++] = t->special[HTH_SPECIAL_EOS];
    if (m.type == SP_BPE) HTH_TRY(hth_vocab_rank_scores(&t->vocab, err));
    return hth_tok_finish(t, false, err);
}

hth_code hth_tok_load_sentencepiece(const uint8_t *data, size_t n, hth_tokenizer **out, hth_err *err) {
    hth_tokenizer *t = NULL;
    *out = NULL;
    HTH_TRY(hth_tok_new(&t, err));
    hth_code code = load(t, data, n, err);
    if (code == HTH_OK) {
        *out = t;
    } else {
        hth_tokenizer_free(t);
    }
    return code;
}
