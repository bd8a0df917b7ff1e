// The GGUF reader: what it gives for a valid file, and the checks that a caller relies on. Damage of
// every field is tested in tests/malformed.
#include "cmocka_all.h"

#include <stdlib.h>

#include "bytes.h"
#include "base/mem.h"
#include "formats/gguf.h"

static hth_err err;

static hth_gguf *open_bytes(const bytes *b) {
    hth_gguf *g = NULL;
    if (hth_gguf_open_memory(b->p, b->n, &g, &err) != HTH_OK) fail_msg("%s", err.msg);
    return g;
}

static void refused(const bytes *b, hth_code code, uint64_t pos, const char *words) {
    hth_gguf *g = NULL;
    hth_code got = hth_gguf_open_memory(b->p, b->n, &g, &err);
    assert_null(g);
    if (got != code || !strstr(err.msg, words)) {
        fail_msg("code %d, \"%s\" lacks \"%s\"", (int)got, err.msg, words);
    }
    assert_int_equal(err.pos, pos);
}

// One pair of each scalar kind, an array of each interesting kind, two tensors.
static bytes sample(void) {
    bytes b;
    put_gguf(&b, 3, 2, 16);
    put_pair(&b, "u8", HTH_GGUF_U8), put(&b, 0xff, 1);
    put_pair(&b, "i8", HTH_GGUF_I8), put(&b, 0xff, 1);
    put_pair(&b, "u16", HTH_GGUF_U16), put(&b, 0xfffe, 2);
    put_pair(&b, "i16", HTH_GGUF_I16), put(&b, 0xfffe, 2);
    put_pair(&b, "u32", HTH_GGUF_U32), put(&b, 0xfffffffd, 4);
    put_pair(&b, "i32", HTH_GGUF_I32), put(&b, 0xfffffffd, 4);
    put_pair(&b, "u64", HTH_GGUF_U64), put(&b, UINT64_MAX, 8);
    put_pair(&b, "i64", HTH_GGUF_I64), put(&b, (uint64_t)INT64_MIN, 8);
    put_pair(&b, "f32", HTH_GGUF_F32), put(&b, 0x3fc00000, 4);
    put_pair(&b, "f64", HTH_GGUF_F64), put(&b, 0x4004000000000000, 8);
    put_pair(&b, "yes", HTH_GGUF_BOOL), put(&b, 1, 1);
    put_pair(&b, "text", HTH_GGUF_STRING), put_text(&b, "h\xc3\xa9llo");
    put_pair(&b, "words", HTH_GGUF_ARRAY), put(&b, HTH_GGUF_STRING, 4), put(&b, 3, 8);
    put_text(&b, "one"), put_text(&b, ""), put_text(&b, "\xff\xfe");
    put_pair(&b, "ints", HTH_GGUF_ARRAY), put(&b, HTH_GGUF_I16, 4), put(&b, 2, 8), put(&b, 7, 2),
        put(&b, 0xffff, 2);
    put_pair(&b, "floats", HTH_GGUF_ARRAY), put(&b, HTH_GGUF_F32, 4), put(&b, 2, 8), put(&b, 0x3f800000, 4),
        put(&b, 0xff800000, 4);
    put_pair(&b, "none", HTH_GGUF_ARRAY), put(&b, HTH_GGUF_BOOL, 4), put(&b, 0, 8);
    put_tensor(&b, "w", 32, 2, 8, 0); // q8_0: 2 rows of one block, 68 bytes
    put_tensor(&b, "b", 3, 0, 0, 96);
    pad_to(&b, 32);
    for (int i = 0; i < 96 + 12; i++) put(&b, (uint64_t)i, 1);
    return b;
}

static void metadata_reads_back_with_its_kinds(void **state) {
    (void)state;
    bytes b = sample();
    hth_gguf *g = open_bytes(&b);
    const struct {
        const char *key;
        int64_t i;
    } ints[] = {{"u8", 255},         {"i8", -1},  {"u16", 65534},    {"i16", -2},
                {"u32", 4294967293}, {"i32", -3}, {"i64", INT64_MIN}};
    for (size_t i = 0; i < HTH_COUNT(ints); i++) {
        int64_t v = 0;
        double d = 0;
        assert_int_equal(hth_gguf_get_i64(g, ints[i].key, &v, &err), HTH_OK);
        assert_true(v == ints[i].i);
        assert_int_equal(hth_gguf_get_f64(g, ints[i].key, &d, &err), HTH_OK);
        assert_true(d == (double)ints[i].i);
    }
    double d = 0;
    assert_int_equal(hth_gguf_get_f64(g, "f32", &d, &err), HTH_OK);
    assert_true(d == 1.5);
    assert_int_equal(hth_gguf_get_f64(g, "f64", &d, &err), HTH_OK);
    assert_true(d == 2.5);
    assert_int_equal(hth_gguf_get_f64(g, "u64", &d, &err), HTH_OK);
    assert_true(d == 18446744073709551616.0);
    bool yes = false;
    assert_int_equal(hth_gguf_get_bool(g, "yes", &yes, &err), HTH_OK);
    assert_true(yes);
    const char *text = NULL;
    size_t n = 0;
    assert_int_equal(hth_gguf_get_str(g, "text", &text, &n, &err), HTH_OK);
    assert_int_equal(n, 6);
    assert_string_equal(text, "h\xc3\xa9llo");
    assert_int_equal(hth_gguf_n_kv(g), 16);
    assert_string_equal(hth_gguf_kv_at(g, 3)->key, "i16");
    assert_int_equal(hth_gguf_kv_at(g, 0)->pos, 24);
    assert_null(hth_gguf_kv_at(g, 16));
    assert_null(hth_gguf_kv_at(g, -1));
    assert_int_equal(hth_gguf_version(g), 3);
    hth_gguf_close(g);
}

static void an_absent_key_leaves_the_default(void **state) {
    (void)state;
    bytes b = sample();
    hth_gguf *g = open_bytes(&b);
    int64_t i = 5;
    double d = 6;
    bool yes = true;
    const char *text = "default";
    assert_int_equal(hth_gguf_get_i64(g, "absent", &i, &err), HTH_OK);
    assert_int_equal(hth_gguf_get_f64(g, "absent", &d, &err), HTH_OK);
    assert_int_equal(hth_gguf_get_bool(g, "absent", &yes, &err), HTH_OK);
    assert_int_equal(hth_gguf_get_str(g, "absent", &text, NULL, &err), HTH_OK);
    assert_true(i == 5 && d == 6 && yes && strcmp(text, "default") == 0);
    assert_null(hth_gguf_find(g, "absent"));
    hth_gguf_close(g);
}

static void a_key_of_another_kind_is_an_error_naming_it(void **state) {
    (void)state;
    bytes b = sample();
    hth_gguf *g = open_bytes(&b);
    int64_t i = 5;
    double d;
    bool yes;
    const char *text;
    assert_int_equal(hth_gguf_get_i64(g, "f32", &i, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "'f32' is of kind f32, not an integer"));
    assert_int_equal(hth_gguf_get_i64(g, "yes", &i, &err), HTH_ERR_FORMAT);
    assert_int_equal(hth_gguf_get_i64(g, "u64", &i, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "out of range"));
    assert_int_equal(hth_gguf_get_i64(g, "ints", &i, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "array of i16"));
    assert_int_equal(hth_gguf_get_f64(g, "text", &d, &err), HTH_ERR_FORMAT);
    assert_int_equal(hth_gguf_get_f64(g, "yes", &d, &err), HTH_ERR_FORMAT);
    assert_int_equal(hth_gguf_get_bool(g, "u8", &yes, &err), HTH_ERR_FORMAT);
    assert_int_equal(hth_gguf_get_str(g, "words", &text, NULL, &err), HTH_ERR_FORMAT);
    assert_int_equal(i, 5);
    assert_int_equal(err.pos, hth_gguf_find(g, "words")->pos);
    hth_gguf_close(g);
}

static void arrays_are_walked_in_the_mapping(void **state) {
    (void)state;
    bytes b = sample();
    hth_gguf *g = open_bytes(&b);
    const hth_gguf_kv *words = hth_gguf_find(g, "words"), *ints = hth_gguf_find(g, "ints"),
                      *floats = hth_gguf_find(g, "floats");
    const uint8_t *it = words->data;
    const char *want[] = {"one", "", "\xff\xfe"}, *text;
    assert_true(words->data > b.p && words->data < b.p + b.n);
    for (uint64_t i = 0; i < words->n; i++) {
        size_t n;
        hth_gguf_next_str(&it, &text, &n);
        assert_int_equal(n, strlen(want[i]));
        assert_memory_equal(text, want[i], n);
    }
    assert_int_equal(words->n, 3);
    assert_int_equal(ints->n, 2);
    assert_int_equal(hth_gguf_item_i64(ints, 0), 7);
    assert_int_equal(hth_gguf_item_i64(ints, 1), -1);
    assert_true(hth_gguf_item_f64(ints, 1) == -1.0 && hth_gguf_item_f64(floats, 0) == 1.0);
    assert_true(hth_gguf_item_i64(floats, 1) == INT64_MIN); // minus infinity
    assert_int_equal(hth_gguf_find(g, "none")->n, 0);
    hth_gguf_close(g);
}

static void tensors_have_their_place_and_their_dimensions_outermost_first(void **state) {
    (void)state;
    bytes b = sample();
    hth_gguf *g = open_bytes(&b);
    const hth_tensor *w = hth_gguf_tensor_at(g, 0), *v = hth_gguf_tensor_at(g, 1);
    assert_int_equal(hth_gguf_n_tensor(g), 2);
    assert_string_equal(w->name, "w");
    assert_true(w->n_dim == 2 && w->dim[0] == 2 && w->dim[1] == 32);
    assert_true(w->type == HTH_TYPE_Q8_0 && w->n_bytes == 68);
    assert_true(v->n_dim == 1 && v->dim[0] == 3 && v->type == HTH_TYPE_F32 && v->n_bytes == 12);
    assert_true(w->off % 32 == 0 && v->off == w->off + 96);
    assert_ptr_equal(w->data, b.p + w->off);
    assert_int_equal(w->data[5], 5);
    assert_int_equal(v->data[0], 96);
    assert_null(hth_gguf_tensor_at(g, 2));
    uint64_t n;
    assert_int_equal(hth_gguf_n_file(g), 1);
    assert_ptr_equal(hth_gguf_file_data(g, 0, &n), b.p);
    assert_int_equal(n, b.n);
    hth_gguf_close(g);
}

static void version_2_opens_and_others_are_refused_by_name(void **state) {
    (void)state;
    bytes b = sample();
    b.p[4] = 2;
    hth_gguf_close(open_bytes(&b));
    b.p[4] = 1;
    refused(&b, HTH_ERR_UNSUPPORTED, 4, "version 1");
    b.p[4] = 4;
    refused(&b, HTH_ERR_UNSUPPORTED, 4, "version 4");
    memcpy(b.p + 4, "\0\0\0\3", 4);
    refused(&b, HTH_ERR_UNSUPPORTED, 4, "big-endian");
    memcpy(b.p, "lmgg", 4);
    refused(&b, HTH_ERR_UNSUPPORTED, 0, "before GGUF");
    memcpy(b.p, "PK\3\4", 4);
    refused(&b, HTH_ERR_FORMAT, 0, "50 4b 03 04");
}

static void every_tensor_type_opens_with_its_size(void **state) {
    (void)state;
    int n_type = 0;
    for (uint32_t type = 0; type < HTH_TYPE_GGML_COUNT + 2; type++) {
        bytes b;
        const hth_type_info *info = type < HTH_TYPE_GGML_COUNT ? hth_type_get(type) : NULL;
        put_gguf(&b, 3, 1, 0);
        put_tensor(&b, "t", info ? 2 * info->block_len : 256, 3, type, 0);
        uint64_t type_pos = b.n - 12;
        pad_to(&b, 32);
        if (!info) {
            refused(&b, HTH_ERR_UNSUPPORTED, type_pos, "unknown type");
            continue;
        }
        n_type++;
        for (uint32_t i = 0; i < 6 * info->block_bytes; i++) put(&b, 0, 1);
        hth_gguf *g = open_bytes(&b);
        assert_int_equal(hth_gguf_tensor_at(g, 0)->n_bytes, 6 * info->block_bytes);
        hth_gguf_close(g);
        b.n--; // one byte short
        refused(&b, HTH_ERR_FORMAT, 24, "not lie inside");
    }
    assert_int_equal(n_type, 35);
}

static void opening_does_not_depend_on_counts_that_the_file_only_claims(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    uint8_t *big = calloc(1, N); // zeros: counts that would fit into the bytes left, but nothing behind them
    assert_non_null(big);
    bytes b;
    put_gguf(&b, 3, 0, N / 15);
    memcpy(big, b.p, b.n);
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_gguf *g;
    assert_int_equal(hth_gguf_open_memory(big, N, &g, &err), HTH_ERR_FORMAT);
    hth_mem_get_stats(&after);
    assert_true(after.peak_bytes <= before.total_bytes + 65536);
    free(big);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            opening_does_not_depend_on_counts_that_the_file_only_claims), // first: it looks at the peak
        cmocka_unit_test(metadata_reads_back_with_its_kinds),
        cmocka_unit_test(an_absent_key_leaves_the_default),
        cmocka_unit_test(a_key_of_another_kind_is_an_error_naming_it),
        cmocka_unit_test(arrays_are_walked_in_the_mapping),
        cmocka_unit_test(tensors_have_their_place_and_their_dimensions_outermost_first),
        cmocka_unit_test(version_2_opens_and_others_are_refused_by_name),
        cmocka_unit_test(every_tensor_type_opens_with_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
