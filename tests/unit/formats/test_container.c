// Containers: one table over files, side files parsed once, and folders told apart.
#include "cmocka_all.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "formats/container.h"
#include "os/file.h"

static hth_err err;
static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/hth-container-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char **names;
    size_t n;
    if (hth_folder_list(folder, "", HTH_MEM_MISC, 100, &names, &n, &err) != HTH_OK) return -1;
    for (size_t i = 0; i < n; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    hth_free(names);
    return rmdir(folder);
}

static void write_file(const char *name, const void *data, size_t n) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

// A shard with one U8 tensor [n] whose bytes are all `fill`.
static void write_shard(const char *file, const char *tensor, int n, int fill) {
    bytes b = {.n = 0};
    char header[300];
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
             tensor, n, n);
    put_text(&b, header);
    for (int i = 0; i < n; i++) put(&b, (uint64_t)fill, 1);
    write_file(file, b.p, b.n);
}

static void write_gguf(const char *file, const char *tensor) {
    bytes b;
    put_gguf(&b, 3, 1, 0);
    put_tensor(&b, tensor, 4, 0, HTH_TYPE_F32, 0);
    pad_to(&b, 32);
    for (int i = 0; i < 16; i++) put(&b, 9, 1);
    write_file(file, b.p, b.n);
}

static hth_container *open_it(const char *path) {
    hth_container *c = NULL;
    if (hth_container_open(path, &c, &err) != HTH_OK) fail_msg("%s", err.msg);
    return c;
}

static void write_sharded(void) {
    write_text("config.json", "{\"hidden_size\": 8}");
    write_shard("model-00001-of-00002.safetensors", "one", 5, 1);
    write_shard("model-00002-of-00002.safetensors", "two", 7, 2);
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"two\": \"model-00002-of-00002.safetensors\", "
               "\"one\": \"model-00001-of-00002.safetensors\"}}");
}

static void a_sharded_folder_becomes_one_table(void **state) {
    (void)state;
    write_sharded();
    hth_container *c = open_it(folder);
    assert_int_equal(hth_container_n_tensor(c), 2);
    assert_int_equal(hth_container_n_file(c), 2);
    const hth_tensor *one = hth_container_find(c, "one"), *two = hth_container_find(c, "two");
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one->n_bytes == 5 && one->data[4] == 1 && two->n_bytes == 7 && two->data[6] == 2);
    assert_int_not_equal(one->i_file, two->i_file);
    assert_non_null(strstr(hth_container_file_path(c, two->i_file), "model-00002"));
    uint64_t n;
    const uint8_t *file = hth_container_file_data(c, two->i_file, &n);
    assert_ptr_equal(file + two->off, two->data);
    assert_int_equal(two->off + two->n_bytes, n);
    assert_null(hth_container_find(c, "three"));
    assert_null(hth_container_gguf(c));
    struct stat a, b;
    assert_true(stat(hth_container_file_path(c, 0), &a) == 0 && stat(hth_container_file_path(c, 1), &b) == 0);
    assert_int_equal(hth_container_bytes(c), a.st_size + b.st_size);
    hth_container_close(c);
}

static void side_files_are_parsed_once_and_may_be_absent(void **state) {
    (void)state;
    write_sharded();
    write_text("chat_template.jinja", "{{ x }}");
    write_text("tokenizer.json", "{\"a\" 1}");
    hth_container *c = open_it(folder);
    const hth_json *config = NULL, *again = NULL, *absent = NULL;
    assert_int_equal(hth_container_json(c, "config.json", &config, &err), HTH_OK);
    assert_int_equal(hth_json_int(config, "hidden_size", 0, NULL), 8);
    assert_int_equal(hth_container_json(c, "config.json", &again, &err), HTH_OK);
    assert_ptr_equal(config, again);
    assert_int_equal(hth_container_json(c, "generation_config.json", &absent, &err), HTH_OK);
    assert_null(absent);
    const char *text;
    size_t n;
    assert_int_equal(hth_container_text(c, "chat_template.jinja", &text, &n, &err), HTH_OK);
    assert_string_equal(text, "{{ x }}");
    assert_int_equal(n, 7);
    assert_int_equal(hth_container_text(c, "absent.jinja", &text, &n, &err), HTH_OK);
    assert_null(text);
    assert_int_equal(hth_container_json(c, "tokenizer.json", &absent, &err), HTH_ERR_FORMAT);
    assert_non_null(strstr(err.msg, "tokenizer.json: "));
    assert_int_equal(err.pos, 5);
    hth_container_close(c);
}

static void a_folder_with_one_gguf_opens_as_that(void **state) {
    (void)state;
    write_gguf("some.gguf", "w");
    hth_container *c = open_it(folder);
    const hth_json *root;
    assert_non_null(hth_container_gguf(c));
    assert_int_equal(hth_container_find(c, "w")->data[15], 9);
    assert_int_equal(hth_container_json(c, "config.json", &root, &err), HTH_OK);
    assert_null(root);
    hth_container_close(c);
    write_gguf("other.gguf", "w");
    assert_int_equal(hth_container_open(folder, &c, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "other.gguf, some.gguf"));
}

static void a_split_gguf_opens_by_any_part(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        bytes b;
        char name[40];
        put_gguf(&b, 3, 1, 3);
        put_pair(&b, "split.no", HTH_GGUF_U16), put(&b, (uint64_t)i, 2);
        put_pair(&b, "split.count", HTH_GGUF_U16), put(&b, 2, 2);
        put_pair(&b, "split.tensors.count", HTH_GGUF_I32), put(&b, 2, 4);
        put_tensor(&b, i == 0 ? "first" : "second", 4, 0, HTH_TYPE_F32, 0);
        pad_to(&b, 32);
        for (int k = 0; k < 16; k++) put(&b, (uint64_t)i + 5, 1);
        snprintf(name, sizeof name, "m-%05d-of-00002.gguf", i + 1);
        write_file(name, b.p, b.n);
    }
    char path[100];
    snprintf(path, sizeof path, "%s/m-00002-of-00002.gguf", folder);
    const char *paths[] = {folder, path};
    for (int i = 0; i < 2; i++) {
        hth_container *c = open_it(paths[i]);
        const hth_tensor *t = hth_container_find(c, "second");
        assert_int_equal(hth_container_n_file(c), 2);
        assert_int_equal(t->i_file, 1);
        assert_int_equal(t->data[0], 6);
        assert_non_null(strstr(hth_container_file_path(c, 1), "m-00002-of-00002.gguf"));
        assert_ptr_equal(hth_container_file_data(c, 1, NULL) + t->off, t->data);
        assert_int_equal(hth_container_find(c, "first")->data[0], 5);
        hth_container_close(c);
    }
    unlink(path);
    assert_int_equal(hth_container_open(folder, (hth_container *[]){NULL}, &err), HTH_ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, "m-00002-of-00002.gguf"));
}

static void a_missing_shard_is_named(void **state) {
    (void)state;
    write_sharded();
    char path[100];
    snprintf(path, sizeof path, "%s/model-00001-of-00002.safetensors", folder);
    unlink(path);
    hth_container *c;
    assert_int_equal(hth_container_open(folder, &c, &err), HTH_ERR_NOTFOUND);
    assert_null(c);
    assert_non_null(strstr(err.msg, path));
}

static void every_allocation_of_opening_may_fail(void **state) {
    (void)state;
    write_sharded();
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    int n_failed = 0;
    for (uint64_t at = 1;; at++) {
        hth_container *c = NULL;
        const hth_json *root;
        const char *text;
        hth_mem_fail_at(at, at % 2 != 0);
        hth_code code = hth_container_open(folder, &c, &err);
        if (code == HTH_OK) code = hth_container_json(c, "config.json", &root, &err);
        if (code == HTH_OK) code = hth_container_text(c, "config.json", &text, NULL, &err);
        bool hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        hth_container_close(c);
        hth_mem_get_stats(&after);
        assert_int_equal(after.n_blocks, before.n_blocks);
        if (!hit) break;
        n_failed++;
        if (code == HTH_OK) fail_msg("allocation %d fails unnoticed", (int)at);
    }
    assert_true(n_failed > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sharded_folder_becomes_one_table, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(side_files_are_parsed_once_and_may_be_absent, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_folder_with_one_gguf_opens_as_that, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_split_gguf_opens_by_any_part, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_missing_shard_is_named, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(every_allocation_of_opening_may_fail, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
