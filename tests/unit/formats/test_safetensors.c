// The safetensors reader: what it gives for a valid file. Damage is tested in tests/malformed.
#include "cmocka_all.h"

#include "formats/safetensors.h"

static hth_err err;

typedef struct file {
    uint8_t p[4096];
    size_t n;
} file;

static file make(const char *header, size_t n_data) {
    file f = {.n = 8 + strlen(header) + n_data};
    for (int i = 0; i < 8; i++) f.p[i] = (uint8_t)((uint64_t)strlen(header) >> (8 * i));
    memcpy(f.p + 8, header, strlen(header));
    for (size_t i = 0; i < n_data; i++) f.p[8 + strlen(header) + i] = (uint8_t)i;
    return f;
}

static void refused(const char *header, size_t n_data, hth_code code, uint64_t pos, const char *words) {
    file f = make(header, n_data);
    hth_safetensors *s = NULL;
    hth_code got = hth_safetensors_open_memory(f.p, f.n, &s, &err);
    assert_null(s);
    if (got != code || !strstr(err.msg, words)) {
        fail_msg("%s: code %d, \"%s\" lacks \"%s\"", header, (int)got, err.msg, words);
    }
    assert_int_equal(err.pos, pos);
}

static void tensors_have_their_place_type_and_shape(void **state) {
    (void)state;
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],"
                         "\"data_offsets\":[4,16]},"
                         "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                         "\"z\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[16,16]}}   ";
    file f = make(header, 16);
    hth_safetensors *s = NULL;
    if (hth_safetensors_open_memory(f.p, f.n, &s, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_safetensors_n_tensor(s), 3);
    const hth_tensor *b = hth_safetensors_tensor_at(s, 0), *a = hth_safetensors_tensor_at(s, 1),
                     *z = hth_safetensors_tensor_at(s, 2);
    assert_string_equal(b->name, "b");
    assert_true(b->type == HTH_TYPE_BF16 && b->n_dim == 2 && b->dim[0] == 2 && b->dim[1] == 3 &&
                b->n_bytes == 12);
    assert_int_equal(b->off, 8 + strlen(header) + 4);
    assert_int_equal(b->data[0], 4);
    assert_true(a->n_dim == 0 && a->n_bytes == 4 && a->data == b->data - 4);
    assert_true(z->n_bytes == 0 && z->dim[0] == 0 && z->dim[1] == 7);
    assert_null(hth_safetensors_tensor_at(s, 3));
    uint64_t n;
    assert_ptr_equal(hth_safetensors_data(s, &n), f.p);
    assert_int_equal(n, f.n);
    hth_safetensors_close(s);
}

static void every_dtype_opens_with_its_size(void **state) {
    (void)state;
    const struct {
        const char *name;
        hth_type type;
        int n_bytes;
    } cases[] = {
        {"F64", HTH_TYPE_F64, 8},        {"F32", HTH_TYPE_F32, 4},         {"F16", HTH_TYPE_F16, 2},
        {"BF16", HTH_TYPE_BF16, 2},      {"I64", HTH_TYPE_I64, 8},         {"I32", HTH_TYPE_I32, 4},
        {"I16", HTH_TYPE_I16, 2},        {"I8", HTH_TYPE_I8, 1},           {"U64", HTH_TYPE_U64, 8},
        {"U32", HTH_TYPE_U32, 4},        {"U16", HTH_TYPE_U16, 2},         {"U8", HTH_TYPE_U8, 1},
        {"BOOL", HTH_TYPE_BOOL, 1},      {"F8_E4M3", HTH_TYPE_F8_E4M3, 1}, {"F8_E5M2", HTH_TYPE_F8_E5M2, 1},
        {"F8_E8M0", HTH_TYPE_F8_E8M0, 1}};
    for (size_t i = 0; i < HTH_COUNT(cases); i++) {
        char header[200];
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%d]}}",
                 cases[i].name, 3 * cases[i].n_bytes);
        file f = make(header, 3 * (size_t)cases[i].n_bytes);
        hth_safetensors *s = NULL;
        if (hth_safetensors_open_memory(f.p, f.n, &s, &err) != HTH_OK) fail_msg("%s", err.msg);
        assert_int_equal(hth_safetensors_tensor_at(s, 0)->type, cases[i].type);
        hth_safetensors_close(s);
    }
}

static void positions_in_errors_count_from_the_beginning_of_the_file(void **state) {
    (void)state;
    refused("{\"a\":5}", 0, HTH_ERR_FORMAT, 8 + 5, "'a' is not described");
    refused("{\"a\":{}", 0, HTH_ERR_FORMAT, 8 + 7, "not valid JSON");
    refused("{\"a\":{\"dtype\":\"Q9\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, HTH_ERR_UNSUPPORTED, 8 + 14,
            "unknown dtype 'Q9'");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"U8\","
            "\"shape\":[2],\"data_offsets\":[0,2]}}",
            2, HTH_ERR_FORMAT, 8 + 105, "overlap");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 3, HTH_ERR_FORMAT, 8 + 54,
            "belong to no tensor");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}", 3, HTH_ERR_FORMAT, 8 + 53,
            "belong to no tensor");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_their_place_type_and_shape),
        cmocka_unit_test(every_dtype_opens_with_its_size),
        cmocka_unit_test(positions_in_errors_count_from_the_beginning_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
