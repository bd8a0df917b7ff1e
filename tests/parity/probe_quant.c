// Exposes src/quant to the Python parity tests through files of raw bytes.
//
//   probe_quant table                        number, name, block length, block bytes, has a quantizer
//   probe_quant dequantize TYPE IN OUT
//   probe_quant quantize TYPE IN OUT [IMPORTANCE]
//   probe_quant weight KEY=VALUE...          codes=, scales=, biases=, out= are files; scheme, type and
//                                            scale_type numbers; bits, group, scale_rows, flags,
//                                            n_expert, n_row, n_col; slice: row, rows, col, cols
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quant/weight.h"

typedef struct bytes {
    uint8_t *p;
    size_t n;
} bytes;

static void die(const char *what, const char *detail) {
    fprintf(stderr, "probe_quant: %s: %s\n", what, detail);
    exit(1);
}

// Places the contents at an odd address, so that every run also tests unaligned reads.
static bytes read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) die("cannot read", path);
    bytes b = {.n = (size_t)ftell(f)};
    rewind(f);
    b.p = hth_alloc(HTH_MEM_MISC, b.n + 1);
    if (!b.p || fread(++b.p, 1, b.n, f) != b.n) die("cannot read", path);
    fclose(f);
    return b;
}

static void write_file(const char *path, const void *p, size_t n) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) die("cannot write", path);
}

static void *get(size_t n) {
    void *p = hth_alloc(HTH_MEM_MISC, n);
    if (!p) die("out of memory", "");
    return p;
}

static int print_table(void) {
    const hth_type_info *t;
    for (int i = 0; (t = hth_type_at(i)); i++)
        printf("%d %s %u %u %d\n", (int)t->type, t->name, t->block_len, t->block_bytes, t->quantize != NULL);
    return 0;
}

static int run_dequantize(const hth_type_info *t, const char *in, const char *out) {
    bytes src = read_file(in);
    size_t n = src.n / t->block_bytes * t->block_len;
    float *dst = get(n * sizeof *dst);
    t->dequantize(src.p, dst, (int64_t)n);
    write_file(out, dst, n * sizeof *dst);
    return 0;
}

static float *floats(bytes b) {
    float *x = get(b.n);
    memcpy(x, b.p, b.n);
    return x;
}

static int run_quantize(const hth_type_info *t, const char *in, const char *out, const char *importance) {
    bytes src = read_file(in);
    size_t n = src.n / sizeof(float), n_bytes = n / t->block_len * t->block_bytes;
    float *x = floats(src), *weight = NULL;
    if (importance) {
        bytes b = read_file(importance);
        if (b.n != src.n) die("not as long as the numbers", importance);
        weight = floats(b);
    }
    uint8_t *dst = get(n_bytes);
    if (!t->quantize) die("no quantizer", t->name);
    t->quantize(x, dst, (int64_t)n, weight);
    write_file(out, dst, n_bytes);
    return 0;
}

static const char *arg(int argc, char **argv, const char *key) {
    size_t n = strlen(key);
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], key, n) == 0 && argv[i][n] == '=') return argv[i] + n + 1;
    return NULL;
}

static int64_t number(int argc, char **argv, const char *key, int64_t otherwise) {
    const char *text = arg(argc, argv, key);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

// A plane whose file holds n_row rows for each expert.
static hth_plane plane(hth_buffer *buffer, const char *path, int64_t n_expert, int64_t n_row) {
    if (!path) return (hth_plane){0};
    bytes b = read_file(path);
    *buffer = (hth_buffer){.host = b.p, .n_bytes = b.n};
    return (hth_plane){.at = {.buffer = buffer},
                       .row_bytes = b.n / (size_t)(n_expert * n_row),
                       .expert_bytes = b.n / (size_t)n_expert};
}

static int run_weight(int argc, char **argv) {
    int64_t n_expert = number(argc, argv, "n_expert", 1), n_row = number(argc, argv, "n_row", 1);
    int64_t scale_rows = number(argc, argv, "scale_rows", 1),
            n_scale_row = (n_row + scale_rows - 1) / scale_rows;
    hth_buffer buffers[3] = {0};
    hth_weight w = {
        .scheme = (hth_scheme)number(argc, argv, "scheme", 0),
        .type = (hth_type)number(argc, argv, "type", HTH_TYPE_U32),
        .scale_type = (hth_type)number(argc, argv, "scale_type", HTH_TYPE_U8),
        .bits = (uint8_t)number(argc, argv, "bits", 4),
        .group = (uint16_t)number(argc, argv, "group", 32),
        .scale_rows = (uint16_t)scale_rows,
        .flags = (uint32_t)number(argc, argv, "flags", 0),
        .n_row = n_row,
        .n_col = number(argc, argv, "n_col", 0),
        .n_expert = n_expert,
        .codes = plane(&buffers[0], arg(argc, argv, "codes"), n_expert, n_row),
        .scales = plane(&buffers[1], arg(argc, argv, "scales"), n_expert, n_scale_row),
        .biases = plane(&buffers[2], arg(argc, argv, "biases"), n_expert, n_scale_row),
    };
    hth_err err;
    if (hth_weight_slice_rows(&w, number(argc, argv, "row", 0), number(argc, argv, "rows", w.n_row), &w,
                              &err) ||
        hth_weight_slice_cols(&w, number(argc, argv, "col", 0), number(argc, argv, "cols", w.n_col), &w,
                              &err))
        die("slice refused", err.msg);
    size_t n = (size_t)(w.n_expert * w.n_row * w.n_col);
    float *dst = get(n * sizeof *dst), *at = dst;
    for (int64_t e = 0; e < w.n_expert; e++)
        for (int64_t r = 0; r < w.n_row; r++, at += w.n_col) hth_weight_row_f32(&w, e, r, 0, w.n_col, at);
    write_file(arg(argc, argv, "out"), dst, n * sizeof *dst);
    printf("%llu\n", (unsigned long long)hth_weight_bytes(&w));
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "table") == 0) return print_table();
    if (argc > 2 && strcmp(argv[1], "weight") == 0) return run_weight(argc, argv);
    const hth_type_info *t = argc == 5 || argc == 6 ? hth_type_by_name(argv[2]) : NULL;
    if (t && strcmp(argv[1], "dequantize") == 0) return run_dequantize(t, argv[3], argv[4]);
    if (t && strcmp(argv[1], "quantize") == 0) return run_quantize(t, argv[3], argv[4], argc == 6 ? argv[5] : NULL);
    die("arguments not understood", argc > 1 ? argv[1] : "none");
    return 1;
}
