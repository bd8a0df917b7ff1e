// A tiny llama with random weights and a vocabulary of bytes, written as a GGUF file: for tests that need text.
#ifndef HTH_TEST_BYTE_MODEL_H
#define HTH_TEST_BYTE_MODEL_H

#include "unit/model/tiny.h"

enum { D = 32, N_HEAD = 4, N_KV = 2, D_FF = 48, N_LAYER = 2, N_VOCAB = 260 };

typedef struct gguf_writer {
    FILE *f;
    uint64_t off; // of the next tensor's data
} gguf_writer;

static inline void put(FILE *f, const void *p, size_t n) {
    assert_int_equal(fwrite(p, 1, n, f), n);
}
static inline void put_u32(FILE *f, uint32_t v) {
    put(f, &v, 4);
}
static inline void put_u64(FILE *f, uint64_t v) {
    put(f, &v, 8);
}
static inline void put_str(FILE *f, const char *s) {
    put_u64(f, strlen(s));
    put(f, s, strlen(s));
}
static inline void put_key(FILE *f, const char *key, uint32_t kind) {
    put_str(f, key);
    put_u32(f, kind);
}
static inline void put_key_u32(FILE *f, const char *key, uint32_t v) {
    put_key(f, key, HTH_GGUF_U32);
    put_u32(f, v);
}
static inline void put_key_f32(FILE *f, const char *key, float v) {
    put_key(f, key, HTH_GGUF_F32);
    put(f, &v, 4);
}
static inline void put_key_str(FILE *f, const char *key, const char *v) {
    put_key(f, key, HTH_GGUF_STRING);
    put_str(f, v);
}
static inline void put_key_array(FILE *f, const char *key, uint32_t kind, uint64_t n) {
    put_key(f, key, HTH_GGUF_ARRAY);
    put_u32(f, kind);
    put_u64(f, n);
}

// GPT-2's spelling of a byte: itself when printable, else a character from U+0100 on.
static inline void spell_byte(int byte, char out[3]) {
    int c = byte;
    bool is_plain = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    if (!is_plain) {
        c = 256;
        for (int b = 0; b < byte; b++)
            c += !((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae);
    }
    memset(out, 0, 3);
    if (c < 0x80) {
        out[0] = (char)c;
    } else {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
    }
}

static inline void put_vocabulary(FILE *f) {
    char text[3];
    put_key_str(f, "tokenizer.ggml.model", "gpt2");
    put_key_str(f, "tokenizer.ggml.pre", "smollm");
    put_key_array(f, "tokenizer.ggml.tokens", HTH_GGUF_STRING, N_VOCAB);
    for (int i = 0; i < 256; i++) {
        spell_byte(i, text);
        put_str(f, text);
    }
    put_str(f, "he");
    put_str(f, "<|im_start|>");
    put_str(f, "<|im_end|>");
    put_str(f, "<|endoftext|>");
    put_key_array(f, "tokenizer.ggml.token_type", HTH_GGUF_I32, N_VOCAB);
    for (int i = 0; i < N_VOCAB; i++) put_u32(f, i < 257 ? 1 : 3);
    put_key_array(f, "tokenizer.ggml.merges", HTH_GGUF_STRING, 1);
    put_str(f, "h e");
    put_key_u32(f, "tokenizer.ggml.bos_token_id", 257);
    put_key_u32(f, "tokenizer.ggml.eos_token_id", 258);
    put_key_str(
        f, "tokenizer.chat_template",
        "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{{ '<|im_start|>assistant\n' }}");
}

static inline void put_metadata(FILE *f) {
    put_key_str(f, "general.architecture", "llama");
    put_key_u32(f, "llama.block_count", N_LAYER);
    put_key_u32(f, "llama.context_length", 128);
    put_key_u32(f, "llama.embedding_length", D);
    put_key_u32(f, "llama.feed_forward_length", D_FF);
    put_key_u32(f, "llama.attention.head_count", N_HEAD);
    put_key_u32(f, "llama.attention.head_count_kv", N_KV);
    put_key_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_key_f32(f, "llama.rope.freq_base", 10000);
    put_key_u32(f, "llama.rope.dimension_count", D / N_HEAD);
    put_vocabulary(f);
}
enum { N_KV_PAIRS = 10 + 8 };

static inline void put_tensor(gguf_writer *w, const char *name, uint64_t n_col, uint64_t n_row) {
    put_str(w->f, name);
    put_u32(w->f, n_row ? 2 : 1);
    put_u64(w->f, n_col);
    if (n_row) put_u64(w->f, n_row);
    put_u32(w->f, HTH_TYPE_F32);
    put_u64(w->f, w->off);
    w->off += (n_col * (n_row ? n_row : 1) * 4 + 31) / 32 * 32;
}

static inline void put_layer(gguf_writer *w, int i) {
    static const struct {
        const char *name;
        uint64_t n_col, n_row;
    } parts[] = {{"attn_norm", D, 0},
                 {"attn_q", D, D},
                 {"attn_k", D, D / N_HEAD * N_KV},
                 {"attn_v", D, D / N_HEAD * N_KV},
                 {"attn_output", D, D},
                 {"ffn_norm", D, 0},
                 {"ffn_gate", D, D_FF},
                 {"ffn_up", D, D_FF},
                 {"ffn_down", D_FF, D}};
    for (size_t k = 0; k < HTH_COUNT(parts); k++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s.weight", i, parts[k].name);
        put_tensor(w, name, parts[k].n_col, parts[k].n_row);
    }
}

// `noise` is added to the weights: a model that is nearly the one of 0.
static inline void byte_model_write_like(const char *path, float noise) {
    gguf_writer w = {.f = fopen(path, "wb")};
    assert_non_null(w.f);
    put(w.f, "GGUF", 4);
    put_u32(w.f, 3);
    put_u64(w.f, 2 + 9 * N_LAYER);
    put_u64(w.f, N_KV_PAIRS);
    put_metadata(w.f);
    put_tensor(&w, "token_embd.weight", D, N_VOCAB);
    put_tensor(&w, "output_norm.weight", D, 0);
    for (int i = 0; i < N_LAYER; i++) put_layer(&w, i);
    while (ftell(w.f) % 32) fputc(0, w.f);
    uint64_t seed = 1, other_seed = 2;
    for (uint64_t i = 0; i < w.off; i += 4) {
        float v = tiny_random(&seed) + noise * tiny_random(&other_seed);
        put(w.f, &v, 4);
    }
    assert_int_equal(fclose(w.f), 0);
}

static inline void byte_model_write(const char *path) {
    byte_model_write_like(path, 0);
}

#endif
