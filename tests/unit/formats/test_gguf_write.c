// Written GGUF files read back as what was asked for, and appear whole or not at all.
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/gguf_write.h"
#include "formats/imatrix.h"
#include "os/file.h"
#include "unit/cmocka_all.h"
#include "unit/formats/bytes.h"

static char folder[256];

static const char *path_of(const char *name) {
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static int make_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/hearth-gguf-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    if (!d) return -1;
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] != '.') unlink(path_of(e->d_name));
    }
    closedir(d);
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return rmdir(folder) == 0 && stats.n_blocks == 0 ? 0 : -1;
}

static int count_files(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = 0;
    for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void must(hth_code code, const hth_err *err) {
    if (code != HTH_OK) fail_msg("%s", err->msg);
}

static hth_gguf_writer *writer(const char *name) {
    hth_err err;
    hth_gguf_writer *w;
    must(hth_gguf_writer_new(path_of(name), &w, &err), &err);
    return w;
}

// A file with a pair of every kind of value, an alignment of 64 and two tensors.
static void make_source(bytes *b) {
    put_gguf(b, 3, 2, 7);
    put_pair(b, "general.alignment", HTH_GGUF_U32);
    put(b, 64, 4);
    put_pair(b, "a.text", HTH_GGUF_STRING);
    put_text(b, "with \"quotes\"");
    put_pair(b, "a.words", HTH_GGUF_ARRAY);
    put(b, HTH_GGUF_STRING, 4);
    put(b, 3, 8);
    put_text(b, "one");
    put_text(b, "");
    put_text(b, "\xff half");
    put_pair(b, "a.bools", HTH_GGUF_ARRAY);
    put(b, HTH_GGUF_BOOL, 4);
    put(b, 3, 8);
    put(b, 0x010001, 3);
    put_pair(b, "a.number", HTH_GGUF_U32);
    put(b, 7, 4);
    put_pair(b, "a.long", HTH_GGUF_I64);
    put(b, (uint64_t)-5, 8);
    put_pair(b, "a.none", HTH_GGUF_ARRAY);
    put(b, HTH_GGUF_F32, 4);
    put(b, 0, 8);
    put_tensor(b, "m", 32, 3, HTH_TYPE_Q8_0, 0);
    put_tensor(b, "v", 5, 0, HTH_TYPE_F32, 128);
    pad_to(b, 64);
    for (int i = 0; i < 102; i++) put(b, (uint64_t)i, 1);
    pad_to(b, 64);
    for (int i = 0; i < 20; i++) put(b, (uint64_t)(200 + i), 1);
}

static void copy_header(hth_gguf_writer *w, const hth_gguf *g) {
    hth_err err;
    for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) must(hth_gguf_writer_copy(w, hth_gguf_kv_at(g, i), &err), &err);
    for (int64_t i = 0; i < hth_gguf_n_tensor(g); i++) {
        const hth_tensor *t = hth_gguf_tensor_at(g, i);
        must(hth_gguf_writer_tensor(w, t->name, t->type, t->n_dim, t->dim, &err), &err);
    }
}

static void a_copied_file_is_the_same_bytes(void **state) {
    (void)state;
    static bytes b;
    hth_err err;
    hth_gguf *g;
    make_source(&b);
    must(hth_gguf_open_memory(b.p, b.n, &g, &err), &err);
    // In pieces of every size, across the border of the two tensors.
    for (uint64_t piece = 1; piece < 130; piece += 11) {
        hth_gguf_writer *w = writer("copy.gguf");
        copy_header(w, g);
        must(hth_gguf_writer_begin(w, &err), &err);
        uint8_t all[122];
        memcpy(all, hth_gguf_tensor_at(g, 0)->data, 102);
        memcpy(all + 102, hth_gguf_tensor_at(g, 1)->data, 20);
        for (uint64_t at = 0; at < sizeof all; at += piece)
            must(hth_gguf_writer_data(w, all + at, sizeof all - at < piece ? sizeof all - at : piece, &err), &err);
        assert_int_equal(hth_gguf_writer_bytes(w), b.n + 44); // the last tensor is padded too
        must(hth_gguf_writer_commit(w, &err), &err);
        char *text;
        size_t n;
        must(hth_file_read(path_of("copy.gguf"), HTH_MEM_MISC, 1 << 20, &text, &n, &err), &err);
        assert_int_equal(n, b.n + 44);
        assert_memory_equal(text, b.p, b.n);
        hth_free(text);
    }
    hth_gguf_close(g);
    unlink(path_of("copy.gguf"));
}

static void a_key_set_again_gets_the_new_value_in_its_place(void **state) {
    (void)state;
    static bytes b;
    hth_err err;
    hth_gguf *g;
    make_source(&b);
    must(hth_gguf_open_memory(b.p, b.n, &g, &err), &err);
    hth_gguf_writer *w = writer("set.gguf");
    const char *words[] = {"x", "", "yz"};
    for (int64_t i = 0; i < hth_gguf_n_kv(g); i++) must(hth_gguf_writer_copy(w, hth_gguf_kv_at(g, i), &err), &err);
    must(hth_gguf_writer_set_u32(w, "a.words", 1234567, &err), &err);
    must(hth_gguf_writer_set_text(w, "a.number", "text", &err), &err);
    must(hth_gguf_writer_set_texts(w, "b.new", words, 3, &err), &err);
    must(hth_gguf_writer_begin(w, &err), &err);
    must(hth_gguf_writer_commit(w, &err), &err);
    hth_gguf_close(g);
    must(hth_gguf_open(path_of("set.gguf"), &g, &err), &err);
    assert_int_equal(hth_gguf_n_kv(g), 8);
    assert_string_equal(hth_gguf_kv_at(g, 2)->key, "a.words");
    int64_t v = 0;
    const char *text = NULL;
    must(hth_gguf_get_i64(g, "a.words", &v, &err), &err);
    must(hth_gguf_get_str(g, "a.number", &text, NULL, &err), &err);
    assert_int_equal(v, 1234567);
    assert_string_equal(text, "text");
    const hth_gguf_kv *kv = hth_gguf_kv_at(g, 7);
    assert_int_equal(kv->n, 3);
    const uint8_t *it = kv->data;
    for (int i = 0; i < 3; i++) {
        size_t n;
        hth_gguf_next_str(&it, &text, &n);
        assert_int_equal(n, strlen(words[i]));
        assert_memory_equal(text, words[i], n);
    }
    hth_gguf_close(g);
    unlink(path_of("set.gguf"));
}

static void a_file_without_all_its_data_does_not_appear(void **state) {
    (void)state;
    hth_err err;
    const int64_t dim[] = {2, 3};
    const float x[6] = {0};
    hth_gguf_writer *w = writer("short.gguf");
    must(hth_gguf_writer_tensor(w, "t", HTH_TYPE_F32, 2, dim, &err), &err);
    must(hth_gguf_writer_begin(w, &err), &err);
    must(hth_gguf_writer_data(w, x, 23, &err), &err);
    assert_int_equal(count_files(), 1); // the temporary one
    assert_int_equal(hth_gguf_writer_commit(w, &err), HTH_ERR_INTERNAL);
    assert_int_equal(count_files(), 0);
    w = writer("long.gguf");
    must(hth_gguf_writer_tensor(w, "t", HTH_TYPE_F32, 2, dim, &err), &err);
    must(hth_gguf_writer_begin(w, &err), &err);
    must(hth_gguf_writer_data(w, x, 24, &err), &err);
    assert_int_equal(hth_gguf_writer_data(w, x, 1, &err), HTH_ERR_INTERNAL);
    hth_gguf_writer_abort(w);
    assert_int_equal(count_files(), 0);
}

static void tensors_that_no_file_can_hold_are_refused(void **state) {
    (void)state;
    hth_err err;
    const int64_t odd[] = {2, 33}, none[] = {0}, huge[] = {INT64_MAX / 2, 32}, five[] = {1, 1, 1, 1, 32};
    hth_gguf_writer *w = writer("never.gguf");
    assert_int_equal(hth_gguf_writer_tensor(w, "t", HTH_TYPE_Q4_0, 2, odd, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_gguf_writer_tensor(w, "t", HTH_TYPE_F32, 1, none, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_gguf_writer_tensor(w, "t", HTH_TYPE_F32, 2, huge, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_gguf_writer_tensor(w, "t", HTH_TYPE_F32, 5, five, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_gguf_writer_tensor(w, "t", HTH_TYPE_F8_E4M3, 1, five + 4, &err), HTH_ERR_RANGE);
    hth_gguf_writer_abort(w);
    assert_int_equal(count_files(), 0);
}

// ---- importance matrices

static const double squares_a[] = {4, 0, 1e30}, squares_b[] = {0.5};
static const int64_t counts[] = {2, 8};
static const hth_imatrix_sums sums[] = {{"blk.1.b", 1, 1, squares_b, counts}, {"blk.0.a", 3, 1, squares_a, counts + 1}};

static void a_written_importance_matrix_reads_back_as_means(void **state) {
    (void)state;
    hth_err err;
    hth_imatrix *m;
    must(hth_imatrix_write(path_of("i.gguf"), sums, 2, "text.txt", 5, 512, &err), &err);
    must(hth_imatrix_open(path_of("i.gguf"), &m, &err), &err);
    assert_int_equal(hth_imatrix_n(m), 2);
    assert_string_equal(hth_imatrix_at(m, 0)->name, "blk.0.a");
    const hth_imatrix_entry *e = hth_imatrix_find(m, "blk.0.a");
    assert_int_equal(e->n, 3);
    assert_true(e->mean[0] == 0.5f && e->mean[1] == 0 && e->mean[2] == 1e30f / 8);
    assert_true(hth_imatrix_find(m, "blk.1.b")->mean[0] == 0.25f);
    assert_null(hth_imatrix_find(m, "blk.0"));
    assert_int_equal(hth_imatrix_n_chunk(m), 5);
    assert_string_equal(hth_imatrix_dataset(m), "text.txt");
    hth_imatrix_close(m);
    unlink(path_of("i.gguf"));
}

static void write_bytes(const char *name, const bytes *b) {
    hth_err err;
    must(hth_file_write(path_of(name), b->p, b->n, &err), &err);
}

static void put_float(bytes *b, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put(b, bits, 4);
}

// The old format: one entry of four numbers made by two calls, then chunks and the text's name.
static void make_dat(bytes *b, float third) {
    b->n = 0;
    put(b, 1, 4);
    put(b, 3, 4);
    memcpy(b->p + b->n, "w.x", 3);
    b->n += 3;
    put(b, 2, 4);
    put(b, 4, 4);
    put_float(b, 1);
    put_float(b, 2);
    put_float(b, third);
    put_float(b, 0);
    put(b, 9, 4);
    put(b, 1, 4);
    put(b, 't', 1);
}

static void the_old_format_is_read_and_checked(void **state) {
    (void)state;
    static bytes b;
    hth_err err;
    hth_imatrix *m;
    make_dat(&b, 3);
    const size_t whole = b.n;
    write_bytes("old.dat", &b);
    must(hth_imatrix_open(path_of("old.dat"), &m, &err), &err);
    const hth_imatrix_entry *e = hth_imatrix_find(m, "w.x");
    assert_int_equal(e->n, 4);
    assert_true(e->mean[0] == 0.5f && e->mean[1] == 1 && e->mean[2] == 1.5f && e->mean[3] == 0);
    assert_int_equal(hth_imatrix_n_chunk(m), 9);
    assert_string_equal(hth_imatrix_dataset(m), "t");
    hth_imatrix_close(m);
    for (size_t n = 0; n < whole; n++) { // cut anywhere: an error until only what may be missing is
        b.n = n;
        write_bytes("cut.dat", &b);
        const hth_code code = hth_imatrix_open(path_of("cut.dat"), &m, &err);
        assert_int_equal(code, n < whole - 9 ? HTH_ERR_FORMAT : HTH_OK);
        if (code == HTH_OK) hth_imatrix_close(m);
    }
    static const float wrong[] = {-1, INFINITY, NAN};
    for (size_t i = 0; i < HTH_COUNT(wrong); i++) {
        make_dat(&b, wrong[i]);
        write_bytes("cut.dat", &b);
        assert_int_equal(hth_imatrix_open(path_of("cut.dat"), &m, &err), HTH_ERR_FORMAT);
        assert_non_null(strstr(err.msg, "w.x"));
    }
    unlink(path_of("cut.dat"));
    unlink(path_of("old.dat"));
}

// A GGUF importance matrix of one weight with two matrices of two columns; the second met no token.
static void make_new(bytes *b, const char *type, const char *second, uint64_t n_count, float count, uint32_t dtype) {
    put_gguf(b, 3, 2, 1);
    put_pair(b, "general.type", HTH_GGUF_STRING);
    put_text(b, type);
    put_tensor(b, "w.in_sum2", 2, 2, HTH_TYPE_F32, 0);
    put_tensor(b, second, n_count, 0, dtype, 32);
    pad_to(b, 32);
    for (int i = 0; i < 4; i++) put_float(b, (float)i);
    pad_to(b, 32);
    put_float(b, count);
    for (uint64_t i = 1; i < n_count; i++) put_float(b, 0);
    pad_to(b, 32);
}

static hth_code open_new(const bytes *b, hth_imatrix **m, hth_err *err) {
    write_bytes("new.gguf", b);
    return hth_imatrix_open(path_of("new.gguf"), m, err);
}

static void the_new_format_is_checked(void **state) {
    (void)state;
    static bytes b;
    hth_err err;
    hth_imatrix *m;
    make_new(&b, "imatrix", "w.counts", 2, 4, HTH_TYPE_F32);
    must(open_new(&b, &m, &err), &err);
    const float *mean = hth_imatrix_find(m, "w")->mean;
    assert_true(mean[0] == 0 && mean[1] == 0.25f && mean[2] == 1 && mean[3] == 1);
    hth_imatrix_close(m);
    make_new(&b, "model", "w.counts", 2, 4, HTH_TYPE_F32);
    assert_int_equal(open_new(&b, &m, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "general.type"));
    make_new(&b, "imatrix", "v.counts", 2, 4, HTH_TYPE_F32);
    assert_int_equal(open_new(&b, &m, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "counts"));
    make_new(&b, "imatrix", "w.counts", 3, 4, HTH_TYPE_F32);
    assert_int_equal(open_new(&b, &m, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "4 sums for 3 counts"));
    make_new(&b, "imatrix", "w.counts", 2, -1, HTH_TYPE_F32);
    assert_int_equal(open_new(&b, &m, &err), HTH_ERR_FORMAT);
    make_new(&b, "imatrix", "w.counts", 2, 4, HTH_TYPE_I32);
    assert_int_equal(open_new(&b, &m, &err), HTH_ERR_FORMAT);
    put_gguf(&b, 3, 0, 1);
    put_pair(&b, "general.type", HTH_GGUF_STRING);
    put_text(&b, "imatrix");
    assert_int_equal(open_new(&b, &m, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "empty"));
    unlink(path_of("new.gguf"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copied_file_is_the_same_bytes),
        cmocka_unit_test(a_key_set_again_gets_the_new_value_in_its_place),
        cmocka_unit_test(a_file_without_all_its_data_does_not_appear),
        cmocka_unit_test(tensors_that_no_file_can_hold_are_refused),
        cmocka_unit_test(a_written_importance_matrix_reads_back_as_means),
        cmocka_unit_test(the_old_format_is_read_and_checked),
        cmocka_unit_test(the_new_format_is_checked),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
