// The unit tests' tiny models for fuzz targets, which have no cmocka: what a model's maker checks aborts.
#ifndef HTH_TEST_FUZZ_TINY_MODEL_H
#define HTH_TEST_FUZZ_TINY_MODEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HTH_TEST_UNIT_CMOCKA_ALL_H
#define assert_true(is_so) ((is_so) ? (void)0 : abort())
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b) assert_true((a) == (b))
#include "unit/model/tiny.h"

static inline hth_model *fuzz_model(tiny_kind kind) {
    tiny *t = calloc(1, sizeof *t);
    hth_model *m = NULL;
    hth_err err;
    assert_non_null(t);
    tiny_make(kind, t);
    assert_int_equal(tiny_open(t, &m, &err), HTH_OK);
    free(t);
    return m;
}

static inline void fuzz_write(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

#endif
