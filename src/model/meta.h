// Typed look-ups of hyper-parameters in whichever metadata a container carries: GGUF keys (with the
// architecture's prefix) or config.json. Absent values leave the output untouched; a value of a wrong
// kind or out of its range is a sticky error, checked once by hth_meta_check.
#ifndef HTH_MODEL_META_H
#define HTH_MODEL_META_H

#include "formats/container.h"

// A value that a family's authors leave out of config.json because their code has it as default.
typedef struct hth_meta_default {
    const char *path;
    hth_json value;
} hth_meta_default;

typedef struct hth_meta {
    const hth_gguf *gguf;      // NULL for a folder
    const char *arch;          // GGUF general.architecture; prefix of its keys
    const hth_json *root;      // config.json; NULL for GGUF
    const hth_json *text;      // its text_config where there is one, else root
    const hth_meta_default *defaults; // ended by path NULL; or NULL
    hth_code code;             // first error
    hth_err *err;              // borrowed
} hth_meta;

// Reads the architecture: `arch` for GGUF, text model_type for a folder.
HTH_NODISCARD hth_code hth_meta_open(hth_container *c, hth_meta *out, const char **family, hth_err *err);

// `key` is the GGUF key without "<arch>." (a key that begins with '/' is taken whole, without it), or
// NULL when GGUF has none; `path` the config.json member ("rope_scaling.factor" descends), or NULL. Both may
// list alternatives, "a|b": the first that exists counts.
// Return whether the value is there. Integers outside [lo, hi] are errors that name the key.
bool hth_meta_int(hth_meta *m, const char *key, const char *path, int64_t lo, int64_t hi, int64_t *out);
bool hth_meta_i32(hth_meta *m, const char *key, const char *path, int32_t lo, int32_t hi, int32_t *out);
bool hth_meta_num(hth_meta *m, const char *key, const char *path, double *out); // finite
bool hth_meta_float(hth_meta *m, const char *key, const char *path, float *out);
bool hth_meta_bool(hth_meta *m, const char *key, const char *path, bool *out);
// Owned by the container.
bool hth_meta_str(hth_meta *m, const char *key, const char *path, const char **out);
// Per-layer values: a scalar fills all n; an array must have at least n items.
bool hth_meta_ints(hth_meta *m, const char *key, const char *path, int64_t lo, int64_t hi, int64_t *out, int64_t n);
// An array of exactly n numbers.
bool hth_meta_nums(hth_meta *m, const char *key, const char *path, float *out, int64_t n);
// Item i of an array of strings in config.json, NULL when absent.
const char *hth_meta_item(hth_meta *m, const char *path, int64_t i);
// Whether the value exists and is not null.
bool hth_meta_has(hth_meta *m, const char *key, const char *path);

// A computed number as float; one that is too large (or NaN) is an error that names it, and gives 0.
float hth_meta_narrow(hth_meta *m, const char *what, double v);

// Records an error found by the caller (keeps the first).
void hth_meta_fail(hth_meta *m, hth_code code, const char *fmt, ...) HTH_PRINTF(3, 4);
HTH_NODISCARD hth_code hth_meta_check(const hth_meta *m);

#endif
