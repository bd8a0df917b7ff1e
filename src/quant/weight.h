// A weight is a view: how a matrix (or one matrix per expert) lies in memory and how its numbers are
// read. All containers, slices for tensor parallelism and stacked experts come down to this struct;
// nothing is copied or repacked to make one.
//
// Up to three planes:
//   codes   the numbers, or packed integers
//   scales  one per group of `group` columns (and per `scale_rows` rows); absent for ggml blocks,
//           which carry theirs inside
//   biases  as scales (MLX affine)
//
//   value[r][c] = HTH_SCHEME_BLOCK   dequantize(block)                       ggml types, f32, f16, bf16
//                 HTH_SCHEME_AFFINE  scale * code + bias                     MLX, `bits` of 2,3,4,5,6,8
//                 HTH_SCHEME_MXFP4   2^(scale-127) * e2m1[code]              MLX mxfp4 and gpt-oss, group 32
//                 HTH_SCHEME_MXFP8   2^(scale-127) * e4m3[code]              MLX mxfp8, group 32
//                 HTH_SCHEME_NVFP4   e4m3(scale) * e2m1[code]                MLX nvfp4, group 16
//                 HTH_SCHEME_FP8     scale[r/scale_rows][c/group] * f8[code] DeepSeek 128 x 128
#ifndef HTH_QUANT_WEIGHT_H
#define HTH_QUANT_WEIGHT_H

#include "quant/type.h"

typedef enum hth_scheme {
    HTH_SCHEME_NONE, // no such weight
    HTH_SCHEME_BLOCK, HTH_SCHEME_AFFINE, HTH_SCHEME_MXFP4, HTH_SCHEME_MXFP8, HTH_SCHEME_NVFP4, HTH_SCHEME_FP8
} hth_scheme;

enum {
    HTH_WEIGHT_PLUS_ONE = 1u << 0, // norms stored as w - 1 (Gemma as its hub publishes it)
    // Plain types only: codes hold the matrix turned, column after column (row_bytes from one column to the next), as
    // transformers stores the experts of Llama 4 and gpt-oss.
    HTH_WEIGHT_TURNED = 1u << 1,
    HTH_WEIGHT_PAIRED = 1u << 2, // of turned ones: rows alternate with those of another matrix
};

// One memory region that an executor owns or borrows: host memory (mapped file) or device memory.
typedef struct hth_buffer {
    const uint8_t *host; // NULL when only a device can read it
    uint64_t n_bytes;
    void *device; // executor's own handle
} hth_buffer;

// A place in a buffer. buffer == NULL: absent.
typedef struct hth_ref {
    const hth_buffer *buffer;
    uint64_t off;
} hth_ref;

static inline const uint8_t *hth_ref_host(hth_ref r) {
    return r.buffer ? r.buffer->host + r.off : NULL;
}

typedef struct hth_plane {
    hth_ref at;             // first byte of row 0, column 0, expert 0
    uint64_t row_bytes;     // from one row (or row group) to the next
    uint64_t expert_bytes;  // from one expert to the next; 0 when each expert has its own base
    const hth_ref
        *experts; // [n_expert] bases when they are separate tensors, else NULL; borrowed from the model
} hth_plane;

typedef struct hth_weight {
    hth_scheme scheme;
    hth_type type;       // of codes: ggml type, F8_E4M3, or U32 for packed integers
    hth_type scale_type; // of scales and biases: F32, F16, BF16, F8_E8M0, F8_E4M3, U8
    uint8_t bits;        // per code of AFFINE
    uint32_t group;      // columns per scale
    uint32_t scale_rows; // rows per scale row; 1 but for FP8
    uint32_t flags;      // HTH_WEIGHT_...
    int64_t n_row;       // outputs
    int64_t n_col;       // inputs; [n_row, n_col] row-major
    int64_t row0, col0;  // a slice begins here in the planes (col0 a multiple of block and group)
    int64_t n_expert;    // 1 for an ordinary matrix
    hth_plane codes, scales, biases;
    const char *name; // for messages; borrowed from the container
} hth_weight;

static inline bool hth_weight_exists(const hth_weight *w) {
    return w->scheme != HTH_SCHEME_NONE;
}

// Fewest columns that can be read at once: block length or group of the weight; 1 for plain types and
// for FP8, whose codes are bytes and whose last group may be cut by the matrix's edge.
int64_t hth_weight_granule(const hth_weight *w);

// Dequantizes columns [col, col+n) of one row of one expert into dst[n]; col and n are multiples of
// the granule. Reference arithmetic, the specification of every faster kernel.
void hth_weight_row_f32(const hth_weight *w, int64_t expert, int64_t row, int64_t col, int64_t n, float *dst);

// Numbers from one row of a turned weight to the next in the codes.
static inline int64_t hth_weight_row_step(const hth_weight *w) {
    return w->flags & HTH_WEIGHT_PAIRED ? 2 : 1;
}

// The scale at [row, col] of a weight with scales in a plane.
float hth_weight_scale(const hth_weight *w, int64_t expert, int64_t row, int64_t col);

// Bytes that reading the whole weight touches (all planes, slice only).
uint64_t hth_weight_bytes(const hth_weight *w);

// Bytes from where an expert begins in a plane of w (&w->codes, &w->scales or &w->biases) to the end of the slice's last
// row; 0 for a plane that w does not have.
uint64_t hth_weight_plane_bytes(const hth_weight *w, const hth_plane *plane);

// The slice of rows [row, row+n_row) (columns likewise for _cols): a view on the same planes.
HTH_NODISCARD hth_code hth_weight_slice_rows(const hth_weight *w, int64_t row, int64_t n_row, hth_weight *out,
                                             hth_err *err);
HTH_NODISCARD hth_code hth_weight_slice_cols(const hth_weight *w, int64_t col, int64_t n_col, hth_weight *out,
                                             hth_err *err);

#endif
