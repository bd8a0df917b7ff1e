// Weights read through views: places of rows, groups and experts, slices, and what is refused. The
// numbers themselves are compared with hub programs in tests/parity/test_quant.py.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fp.h"
#include "quant/weight.h"

enum { N_EXPERT = 3, N_ROW = 10, N_COL = 768, PAD = 24 }; // rows lie PAD bytes further apart than they need

// A weight of every scheme over random bytes, with its memory.
typedef struct fixture {
    uint8_t codes[N_EXPERT * N_ROW * (4 * N_COL + PAD)];
    uint8_t scales[N_EXPERT * N_ROW * (N_COL / 4 + PAD)], biases[N_EXPERT * N_ROW * (N_COL / 4 + PAD)];
    hth_buffer buffer[3];
    hth_weight w;
} fixture;

static uint64_t seed;

static uint8_t next_byte(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(seed >> 56);
}

static void fill(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = next_byte();
}

static hth_plane plane(hth_buffer *buffer, const uint8_t *host, size_t n, uint64_t row_bytes,
                       uint64_t n_row) {
    *buffer = (hth_buffer){.host = host, .n_bytes = n};
    return (hth_plane){.at = {.buffer = buffer, .off = 1}, // odd on purpose
                       .row_bytes = row_bytes + PAD,
                       .expert_bytes = (row_bytes + PAD) * n_row};
}

static const struct {
    hth_scheme scheme;
    hth_type type, scale_type;
    uint8_t bits;
    uint16_t group, scale_rows;
} cases[] = {
    {HTH_SCHEME_BLOCK, HTH_TYPE_F32, 0, 0, 0, 1},
    {HTH_SCHEME_BLOCK, HTH_TYPE_BF16, 0, 0, 0, 1},
    {HTH_SCHEME_BLOCK, HTH_TYPE_Q4_0, 0, 0, 0, 1},
    {HTH_SCHEME_BLOCK, HTH_TYPE_Q6_K, 0, 0, 0, 1},
    {HTH_SCHEME_AFFINE, HTH_TYPE_U32, HTH_TYPE_F32, 2, 64, 1},
    {HTH_SCHEME_AFFINE, HTH_TYPE_U32, HTH_TYPE_BF16, 3, 32, 1},
    {HTH_SCHEME_AFFINE, HTH_TYPE_U32, HTH_TYPE_F16, 4, 128, 1},
    {HTH_SCHEME_AFFINE, HTH_TYPE_U32, HTH_TYPE_F32, 5, 64, 1},
    {HTH_SCHEME_AFFINE, HTH_TYPE_U32, HTH_TYPE_F32, 6, 32, 1},
    {HTH_SCHEME_AFFINE, HTH_TYPE_U32, HTH_TYPE_BF16, 8, 64, 1},
    {HTH_SCHEME_MXFP4, HTH_TYPE_U8, HTH_TYPE_U8, 4, 32, 1},
    {HTH_SCHEME_MXFP8, HTH_TYPE_U32, HTH_TYPE_F8_E8M0, 8, 32, 1},
    {HTH_SCHEME_NVFP4, HTH_TYPE_U32, HTH_TYPE_F8_E4M3, 4, 16, 1},
    {HTH_SCHEME_FP8, HTH_TYPE_F8_E4M3, HTH_TYPE_F32, 8, 128, 4},
    {HTH_SCHEME_FP8, HTH_TYPE_F8_E5M2, HTH_TYPE_BF16, 8, 128, 4},
};

static fixture *make_fixture(size_t i) {
    static fixture f;
    const hth_type_info *type = hth_type_get(cases[i].type), *scale = hth_type_get(cases[i].scale_type);
    bool block = cases[i].scheme == HTH_SCHEME_BLOCK;
    uint64_t code_row = block ? N_COL / type->block_len * type->block_bytes : N_COL * cases[i].bits / 8u;
    uint64_t scale_row = block ? 0 : N_COL / cases[i].group * scale->block_bytes;
    uint64_t n_scale_row = (N_ROW + cases[i].scale_rows - 1u) / cases[i].scale_rows;
    seed = i + 1;
    fill(f.codes, sizeof f.codes);
    fill(f.scales, sizeof f.scales);
    fill(f.biases, sizeof f.biases);
    f.w = (hth_weight){
        .scheme = cases[i].scheme,
        .type = cases[i].type,
        .scale_type = cases[i].scale_type,
        .bits = cases[i].bits,
        .group = cases[i].group,
        .scale_rows = cases[i].scale_rows,
        .n_row = N_ROW,
        .n_col = N_COL,
        .n_expert = N_EXPERT,
        .codes = plane(&f.buffer[0], f.codes, sizeof f.codes, code_row, N_ROW),
        .scales = plane(&f.buffer[1], f.scales, sizeof f.scales, scale_row, n_scale_row),
        .biases = plane(&f.buffer[2], f.biases, sizeof f.biases, scale_row, n_scale_row),
        .name = "blk.0.ffn_up.weight",
    };
    return &f;
}

static void assert_same(const float *a, const float *b, int64_t n, size_t i, const char *what) {
    for (int64_t k = 0; k < n; k++) {
        if (a[k] != a[k] && b[k] != b[k]) continue;
        if (hth_f32_bits(a[k]) != hth_f32_bits(b[k])) fail_msg("case %zu: %s differs at %d", i, what, (int)k);
    }
}

static void part_of_a_row_is_that_part_of_the_whole_row(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        const hth_weight *w = &make_fixture(i)->w;
        int64_t granule = hth_weight_granule(w);
        float whole[N_COL], part[N_COL];
        for (int64_t e = 0; e < N_EXPERT; e++) {
            hth_weight_row_f32(w, e, 7, 0, N_COL, whole);
            for (int64_t col = 0; col < N_COL; col += granule) {
                hth_weight_row_f32(w, e, 7, col, granule, part);
                assert_same(part, whole + col, granule, i, "one granule");
            }
            hth_weight_row_f32(w, e, 7, 256, 512, part);
            assert_same(part, whole + 256, 512, i, "the last two thirds");
        }
    }
}

static void slices_of_slices_show_the_same_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        const hth_weight *w = &make_fixture(i)->w;
        hth_weight s;
        hth_err err;
        assert_int_equal(hth_weight_slice_rows(w, 2, 7, &s, &err), HTH_OK);
        assert_int_equal(hth_weight_slice_cols(&s, 256, 512, &s, &err), HTH_OK);
        assert_int_equal(hth_weight_slice_rows(&s, 3, 4, &s, &err), HTH_OK); // rows 5..8
        assert_int_equal(hth_weight_slice_cols(&s, 256, 256, &s, &err), HTH_OK); // columns 512..767
        assert_true(s.n_row == 4 && s.n_col == 256 && s.n_expert == N_EXPERT);
        float want[N_COL], got[N_COL];
        for (int64_t e = 0; e < N_EXPERT; e++) {
            for (int64_t r = 0; r < 4; r++) {
                hth_weight_row_f32(w, e, r + 5, 0, N_COL, want);
                hth_weight_row_f32(&s, e, r, 0, 256, got);
                assert_same(got, want + 512, 256, i, "slice");
            }
        }
    }
}

static void experts_with_bases_of_their_own_equal_strided_ones(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        const hth_weight *w = &make_fixture(i)->w;
        hth_weight own = *w;
        hth_ref bases[3][N_EXPERT];
        hth_plane *planes[3] = {&own.codes, &own.scales, &own.biases};
        for (int p = 0; p < 3; p++) {
            for (uint64_t e = 0; e < N_EXPERT; e++)
                bases[p][e] =
                    (hth_ref){planes[p]->at.buffer, planes[p]->at.off + e * planes[p]->expert_bytes};
            planes[p]->experts = bases[p];
            planes[p]->expert_bytes = 0;
            planes[p]->at = (hth_ref){0};
        }
        float want[N_COL], got[N_COL];
        for (int64_t e = 0; e < N_EXPERT; e++) {
            hth_weight_row_f32(w, e, 4, 0, N_COL, want);
            hth_weight_row_f32(&own, e, 4, 0, N_COL, got);
            assert_same(got, want, N_COL, i, "expert");
        }
    }
}

static void plus_one_is_added_after_conversion(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_weight w = make_fixture(i)->w;
        float plain[N_COL], plus[N_COL];
        hth_weight_row_f32(&w, 0, 0, 0, N_COL, plain);
        w.flags |= HTH_WEIGHT_PLUS_ONE;
        hth_weight_row_f32(&w, 0, 0, 0, N_COL, plus);
        for (int k = 0; k < N_COL; k++) plain[k] += 1.0f;
        assert_same(plus, plain, N_COL, i, "w + 1");
    }
}

static void granules_are_what_is_stored_together(void **state) {
    (void)state;
    static const int64_t want[] = {1, 1, 32, 256, 64, 32, 128, 64, 32, 64, 32, 32, 16, 1, 1};
    for (size_t i = 0; i < HTH_COUNT(cases); i++)
        assert_int_equal(hth_weight_granule(&make_fixture(i)->w), want[i]);
}

static void bytes_count_all_planes_of_the_slice_only(void **state) {
    (void)state;
    static const uint64_t code_bits[] = {32, 16, 0, 0, 2, 3, 4, 5, 6, 8, 4, 8, 4, 8, 8};
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        hth_weight w = make_fixture(i)->w;
        hth_err err;
        // Rows 3..8 touch FP8's scale rows 0..2 (four rows each); columns 256..511 half of all groups.
        assert_int_equal(hth_weight_slice_rows(&w, 3, 6, &w, &err), HTH_OK);
        assert_int_equal(hth_weight_slice_cols(&w, 256, 256, &w, &err), HTH_OK);
        uint64_t want = 6 * 256 * code_bits[i] / 8;
        if (cases[i].type == HTH_TYPE_Q4_0) want = 6 * 8 * 18;
        if (cases[i].type == HTH_TYPE_Q6_K) want = 6 * 210;
        if (cases[i].scheme != HTH_SCHEME_BLOCK) {
            uint64_t n_scale = 256u / cases[i].group * (cases[i].scale_rows == 4 ? 3 : 6);
            want += n_scale * hth_type_get(cases[i].scale_type)->block_bytes *
                    (cases[i].scheme == HTH_SCHEME_AFFINE ? 2 : 1);
        }
        assert_int_equal(hth_weight_bytes(&w), want * N_EXPERT);
    }
}

static void codes_are_cut_from_the_bit_stream_low_bits_first(void **state) {
    (void)state;
    for (int bits = 2; bits <= 8; bits++) {
        if (bits == 7) continue;
        uint8_t codes[32] = {0};
        for (int k = 0; k < 32; k++) { // code of column k is k modulo 2^bits, written bit by bit
            for (int b = 0; b < bits; b++) {
                int at = k * bits + b;
                codes[at / 8] |= (uint8_t)((k >> b & 1) << (at % 8));
            }
        }
        float scale = 0.5f, bias = -3, got[32];
        hth_buffer buffers[3] = {
            {.host = codes}, {.host = (const uint8_t *)&scale}, {.host = (const uint8_t *)&bias}};
        hth_weight w = {.scheme = HTH_SCHEME_AFFINE,
                        .type = HTH_TYPE_U32,
                        .scale_type = HTH_TYPE_F32,
                        .bits = (uint8_t)bits,
                        .group = 32,
                        .scale_rows = 1,
                        .n_row = 1,
                        .n_col = 32,
                        .n_expert = 1,
                        .codes = {.at = {&buffers[0], 0}},
                        .scales = {.at = {&buffers[1], 0}},
                        .biases = {.at = {&buffers[2], 0}}};
        hth_weight_row_f32(&w, 0, 0, 0, 32, got);
        for (int k = 0; k < 32; k++) assert_true(got[k] == 0.5f * (float)(k % (1 << bits)) - 3);
    }
}

static void fp8_scales_cover_rows_and_columns_up_to_the_edge(void **state) {
    (void)state;
    uint8_t codes[3 * 5];
    memset(codes, 0x38, sizeof codes); // e4m3 1.0
    const float scales[2][3] = {{1, 2, 3}, {4, 5, 6}};
    hth_buffer buffers[2] = {{.host = codes}, {.host = (const uint8_t *)scales}};
    hth_weight w = {.scheme = HTH_SCHEME_FP8,
                    .type = HTH_TYPE_F8_E4M3,
                    .scale_type = HTH_TYPE_F32,
                    .group = 2,
                    .scale_rows = 2,
                    .n_row = 3,
                    .n_col = 5,
                    .n_expert = 1,
                    .codes = {.at = {&buffers[0], 0}, .row_bytes = 5},
                    .scales = {.at = {&buffers[1], 0}, .row_bytes = sizeof scales[0]}};
    static const float want[3][5] = {{1, 1, 2, 2, 3}, {1, 1, 2, 2, 3}, {4, 4, 5, 5, 6}};
    for (int r = 0; r < 3; r++) {
        float got[5];
        hth_weight_row_f32(&w, 0, r, 0, 5, got);
        assert_memory_equal(got, want[r], sizeof got);
        hth_weight_row_f32(&w, 0, r, 1, 3, got); // begins and ends inside groups
        assert_memory_equal(got, want[r] + 1, 3 * sizeof *got);
    }
}

static void slices_outside_the_weight_are_refused(void **state) {
    (void)state;
    const hth_weight *w = &make_fixture(0)->w;
    static const int64_t bad[][2] = {{-1, 2}, {0, 0}, {0, -1}, {0, 769}, {768, 1}, {767, 2}, {INT64_MAX, 1},
                                     {1, INT64_MAX}, {INT64_MIN, INT64_MIN}};
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        hth_weight out = {.name = "untouched"};
        hth_err err;
        assert_int_equal(hth_weight_slice_rows(w, bad[i][0], bad[i][1], &out, &err), HTH_ERR_RANGE);
        assert_non_null(strstr(err.msg, "blk.0.ffn_up.weight"));
        assert_int_equal(hth_weight_slice_cols(w, bad[i][0], bad[i][1], &out, &err), HTH_ERR_RANGE);
        assert_non_null(strstr(err.msg, "blk.0.ffn_up.weight"));
        assert_string_equal(out.name, "untouched");
    }
}

static void column_slices_that_cut_a_group_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        const hth_weight *w = &make_fixture(i)->w;
        int64_t granule = hth_weight_granule(w);
        hth_weight out;
        hth_err err;
        hth_code want = granule == 1 ? HTH_OK : HTH_ERR_RANGE;
        assert_int_equal(hth_weight_slice_cols(w, granule / 2, granule > 1 ? granule : 7, &out, &err), want);
        assert_int_equal(hth_weight_slice_cols(w, 0, granule + granule / 2, &out, &err), want);
        assert_int_equal(hth_weight_slice_cols(w, granule, granule, &out, &err), HTH_OK);
    }
}

static void an_absent_weight_exists_not_and_has_no_bytes(void **state) {
    (void)state;
    hth_weight w = {0};
    float y = 5;
    assert_false(hth_weight_exists(&w));
    assert_int_equal(hth_weight_bytes(&w), 0);
    hth_weight_row_f32(&w, 0, 0, 0, 1, &y);
    assert_true(y == 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(part_of_a_row_is_that_part_of_the_whole_row),
        cmocka_unit_test(slices_of_slices_show_the_same_numbers),
        cmocka_unit_test(experts_with_bases_of_their_own_equal_strided_ones),
        cmocka_unit_test(plus_one_is_added_after_conversion),
        cmocka_unit_test(granules_are_what_is_stored_together),
        cmocka_unit_test(bytes_count_all_planes_of_the_slice_only),
        cmocka_unit_test(codes_are_cut_from_the_bit_stream_low_bits_first),
        cmocka_unit_test(fp8_scales_cover_rows_and_columns_up_to_the_edge),
        cmocka_unit_test(slices_outside_the_weight_are_refused),
        cmocka_unit_test(column_slices_that_cut_a_group_are_refused),
        cmocka_unit_test(an_absent_weight_exists_not_and_has_no_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
