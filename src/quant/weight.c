// Reads rows of a weight through its view, and cuts slices. Plain reference arithmetic: every faster
// kernel is judged against it. A weight has been validated when it gets here, so addresses are trusted.
#include "quant/weight.h"

#include <inttypes.h>

#include "quant/type_impl.h"

// First byte of row `row` of a plane for one expert.
static const uint8_t *plane_row(const hth_plane *p, int64_t expert, int64_t row) {
    const uint8_t *base = p->experts ? hth_ref_host(p->experts[expert])
                                     : hth_ref_host(p->at) + (uint64_t)expert * p->expert_bytes;
    return base + (uint64_t)row * p->row_bytes;
}

int64_t hth_weight_granule(const hth_weight *w) {
    switch (w->scheme) {
    case HTH_SCHEME_BLOCK: {
        const hth_type_info *info = hth_type_get(w->type);
        return info ? info->block_len : 1;
    }
    case HTH_SCHEME_NONE:
    case HTH_SCHEME_FP8: return 1;
    case HTH_SCHEME_AFFINE:
    case HTH_SCHEME_MXFP4:
    case HTH_SCHEME_MXFP8:
    case HTH_SCHEME_NVFP4: break;
    }
    return w->group;
}

// Scale (or bias) number `i` of a row of them. Bytes without a type of their own are e8m0 for the MX
// schemes and e4m3 for NVFP4.
static float read_scale(const hth_weight *w, const uint8_t *row, int64_t i) {
    switch (w->scale_type) {
    case HTH_TYPE_F32: return hth_f32_from_bits(hth_load_u32(row + 4 * i));
    case HTH_TYPE_F16: return load_f16(row + 2 * i);
    case HTH_TYPE_BF16: return hth_bf16_to_f32(hth_load_u16(row + 2 * i));
    case HTH_TYPE_F8_E4M3: return hth_e4m3_to_f32(row[i]);
    default: return w->scheme == HTH_SCHEME_NVFP4 ? hth_e4m3_to_f32(row[i]) : hth_e8m0_to_f32(row[i]);
    }
}

// Codes are one little-endian stream of bits; eight of them always fill `bits` bytes, whatever the
// width, so they are cut from one 64-bit word. n is a multiple of 8.
static void read_affine_group(const uint8_t *codes, int bits, float scale, float bias, int64_t n,
                              float *dst) {
    uint64_t mask = (1u << bits) - 1;
    for (int64_t i = 0; i < n; i += 8, codes += bits) {
        const uint64_t word = hth_load_bytes(codes, bits);
        for (int j = 0; j < 8; j++) dst[i + j] = scale * (float)(word >> (bits * j) & mask) + bias;
    }
}

// Minus zero is kept: hub programs multiply by it. (In ggml's blocks the same code is plain zero.)
static const float e2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                               -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

// Neighbours share a byte, the first in the low nibble.
static void read_e2m1_group(const uint8_t *codes, float scale, int64_t n, float *dst) {
    for (int64_t i = 0; i < n; i += 2) {
        dst[i] = scale * e2m1[codes[i / 2] & 15];
        dst[i + 1] = scale * e2m1[codes[i / 2] >> 4];
    }
}

static void read_groups(const hth_weight *w, int64_t expert, int64_t row, int64_t col, int64_t n,
                        float *dst) {
    const uint8_t *codes = plane_row(&w->codes, expert, row);
    const uint8_t *scales = plane_row(&w->scales, expert, row);
    const uint8_t *biases = w->scheme == HTH_SCHEME_AFFINE ? plane_row(&w->biases, expert, row) : NULL;
    int64_t group = w->group;
    for (int64_t c = col; c < col + n; c += group, dst += group) {
        float scale = read_scale(w, scales, c / group);
        switch (w->scheme) {
        case HTH_SCHEME_AFFINE:
            read_affine_group(codes + c * w->bits / 8, w->bits, scale, read_scale(w, biases, c / group),
                              group, dst);
            break;
        case HTH_SCHEME_MXFP8:
            for (int64_t i = 0; i < group; i++) dst[i] = scale * hth_e4m3_to_f32(codes[c + i]);
            break;
        default: read_e2m1_group(codes + c / 2, scale, group, dst); break;
        }
    }
}

// Scales cover scale_rows rows and `group` columns; the last of either may be cut by the matrix's edge.
static void read_fp8(const hth_weight *w, int64_t expert, int64_t row, int64_t col, int64_t n, float *dst) {
    const uint8_t *codes = plane_row(&w->codes, expert, row);
    const uint8_t *scales = plane_row(&w->scales, expert, row / w->scale_rows);
    bool e5m2 = w->type == HTH_TYPE_F8_E5M2;
    for (int64_t c = col, end = col + n; c < end;) {
        int64_t stop = (c / w->group + 1) * w->group;
        if (stop > end) stop = end;
        float scale = read_scale(w, scales, c / w->group);
        for (; c < stop; c++) *dst++ = scale * (e5m2 ? hth_e5m2_to_f32(codes[c]) : hth_e4m3_to_f32(codes[c]));
    }
}

// A row of a turned matrix is a column of what is stored.
static void read_turned(const hth_weight *w, int64_t expert, int64_t row, int64_t col, int64_t n, float *dst) {
    const hth_type_info *info = hth_type_get(w->type);
    const uint64_t at = (uint64_t)(row * hth_weight_row_step(w)) * info->block_bytes;
    for (int64_t i = 0; i < n; i++) info->dequantize(plane_row(&w->codes, expert, col + i) + at, dst + i, 1);
}

void hth_weight_row_f32(const hth_weight *w, int64_t expert, int64_t row, int64_t col, int64_t n,
                        float *dst) {
    int64_t r = w->row0 + row, c = w->col0 + col;
    switch (w->scheme) {
    case HTH_SCHEME_NONE: return;
    case HTH_SCHEME_BLOCK: {
        const hth_type_info *info = hth_type_get(w->type);
        if (w->flags & HTH_WEIGHT_TURNED) {
            read_turned(w, expert, r, c, n, dst);
            break;
        }
        info->dequantize(plane_row(&w->codes, expert, r) + c / info->block_len * info->block_bytes, dst, n);
        break;
    }
    case HTH_SCHEME_FP8: read_fp8(w, expert, r, c, n, dst); break;
    case HTH_SCHEME_AFFINE:
    case HTH_SCHEME_MXFP4:
    case HTH_SCHEME_MXFP8:
    case HTH_SCHEME_NVFP4: read_groups(w, expert, r, c, n, dst); break;
    }
    if (w->flags & HTH_WEIGHT_PLUS_ONE)
        for (int64_t i = 0; i < n; i++) dst[i] += 1.0f;
}

float hth_weight_scale(const hth_weight *w, int64_t expert, int64_t row, int64_t col) {
    const int64_t r = w->row0 + row, c = w->col0 + col;
    return read_scale(w, plane_row(&w->scales, expert, w->scheme == HTH_SCHEME_FP8 ? r / w->scale_rows : r), c / w->group);
}

// Bytes of codes in n_col columns of one row.
static uint64_t code_bytes(const hth_weight *w) {
    uint64_t n = (uint64_t)w->n_col;
    switch (w->scheme) {
    case HTH_SCHEME_NONE: return 0;
    case HTH_SCHEME_BLOCK: {
        const hth_type_info *info = hth_type_get(w->type);
        return info ? n / info->block_len * info->block_bytes : 0;
    }
    case HTH_SCHEME_AFFINE: return n * w->bits / 8;
    case HTH_SCHEME_MXFP4:
    case HTH_SCHEME_NVFP4: return n / 2;
    case HTH_SCHEME_MXFP8:
    case HTH_SCHEME_FP8: return n;
    }
    return 0;
}

// How many groups of `size` the range [from, from + n) touches.
static uint64_t groups_touched(int64_t from, int64_t n, int64_t size) {
    return n > 0 ? (uint64_t)((from + n - 1) / size - from / size + 1) : 0;
}

uint64_t hth_weight_bytes(const hth_weight *w) {
    uint64_t bytes = code_bytes(w) * (uint64_t)w->n_row;
    const hth_type_info *scale = hth_type_get(w->scale_type);
    if (w->scheme != HTH_SCHEME_BLOCK && w->scheme != HTH_SCHEME_NONE && scale) {
        uint64_t n_scale = groups_touched(w->row0, w->n_row, w->scale_rows > 0 ? w->scale_rows : 1) *
                           groups_touched(w->col0, w->n_col, w->group > 0 ? w->group : 1);
        bytes += n_scale * scale->block_bytes * (w->scheme == HTH_SCHEME_AFFINE ? 2 : 1);
    }
    return bytes * (uint64_t)w->n_expert;
}

uint64_t hth_weight_plane_bytes(const hth_weight *w, const hth_plane *plane) {
    if (!plane->at.buffer) return 0;
    if (w->flags & HTH_WEIGHT_TURNED) {
        const uint64_t last_row = (uint64_t)((w->row0 + w->n_row - 1) * hth_weight_row_step(w)) + 1;
        return (uint64_t)(w->col0 + w->n_col - 1) * plane->row_bytes + last_row * hth_type_get(w->type)->block_bytes;
    }
    uint64_t n_row = (uint64_t)(w->row0 + w->n_row), last;
    if (plane == &w->codes) {
        hth_weight whole = *w; // all columns up to the slice's last one
        whole.n_col += w->col0;
        last = code_bytes(&whole);
    } else {
        const hth_type_info *scale = hth_type_get(w->scale_type);
        last = groups_touched(0, w->col0 + w->n_col, w->group) * (scale ? scale->block_bytes : 0);
        n_row = (n_row + w->scale_rows - 1) / w->scale_rows;
    }
    return (n_row - 1) * plane->row_bytes + last;
}

static hth_code fail_slice(const hth_weight *w, const char *what, int64_t from, int64_t n, int64_t total,
                           hth_err *err) {
    return hth_fail(err, HTH_ERR_RANGE,
                    "weight %s: cannot take %" PRId64 " %s from %" PRId64 " on; it has %" PRId64,
                    w->name ? w->name : "(unnamed)", n, what, from, total);
}

hth_code hth_weight_slice_rows(const hth_weight *w, int64_t row, int64_t n_row, hth_weight *out,
                               hth_err *err) {
    if (row < 0 || n_row <= 0 || row > w->n_row || n_row > w->n_row - row)
        return fail_slice(w, "rows", row, n_row, w->n_row, err);
    *out = *w;
    out->row0 += row;
    out->n_row = n_row;
    return HTH_OK;
}

hth_code hth_weight_slice_cols(const hth_weight *w, int64_t col, int64_t n_col, hth_weight *out,
                               hth_err *err) {
    if (col < 0 || n_col <= 0 || col > w->n_col || n_col > w->n_col - col)
        return fail_slice(w, "columns", col, n_col, w->n_col, err);
    int64_t granule = hth_weight_granule(w);
    if (col % granule != 0 || n_col % granule != 0)
        return hth_fail(err, HTH_ERR_RANGE,
                        "weight %s: columns %" PRId64 " to %" PRId64
                        " do not begin and end on a multiple of %" PRId64,
                        w->name ? w->name : "(unnamed)", col, col + n_col, granule);
    *out = *w;
    out->col0 += col;
    out->n_col = n_col;
    return HTH_OK;
}
