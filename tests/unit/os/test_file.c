// Files: what is no regular file is refused with a sentence; what is written appears whole or not at all.
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "unit/cmocka_all.h"

static char folder[256];

static const char *path_of(const char *name) {
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text) {
    hth_err err;
    if (hth_file_write(path_of(name), text, strlen(text), &err) != HTH_OK) fail_msg("%s", err.msg);
}

static int count_entries(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = 0;
    for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int make_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/hearth-file-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    if (!d) return -1;
    for (const struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlink(path_of(e->d_name)) != 0) rmdir(path_of(e->d_name));
    }
    closedir(d);
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return rmdir(folder) == 0 && stats.n_blocks == 0 ? 0 : -1;
}

static void a_written_file_reads_and_maps_the_same(void **state) {
    (void)state;
    hth_err err;
    put("a", "first");
    put("a", "second, longer"); // over the first
    char *text;
    size_t n;
    assert_int_equal(hth_file_read(path_of("a"), HTH_MEM_MISC, 14, &text, &n, &err), HTH_OK);
    assert_int_equal(n, 14);
    assert_string_equal(text, "second, longer");
    hth_free(text);
    hth_file_map map;
    assert_int_equal(hth_file_map_open(path_of("a"), &map, &err), HTH_OK);
    assert_int_equal(map.n_bytes, 14);
    assert_memory_equal(map.data, "second, longer", 14);
    hth_file_map_advise(&map, 3, UINT64_MAX, HTH_MAP_WILL_NEED);
    hth_file_map_advise(&map, UINT64_MAX, 1, HTH_MAP_RANDOM);
    hth_file_map_advise(&map, 14, 0, HTH_MAP_NORMAL);
    hth_file_map_close(&map);
    assert_null(map.data);
    hth_file_map_close(&map);
    assert_int_equal(count_entries(), 1); // no temporary file is left
}

static void check_refused(const char *name, hth_code code, const char *reason) {
    hth_err err;
    hth_file_map map = {.n_bytes = 7};
    assert_int_equal(hth_file_map_open(path_of(name), &map, &err), code);
    assert_null(map.data);
    assert_non_null(strstr(err.msg, path_of(name)));
    assert_non_null(strstr(err.msg, reason));
    char *text = folder;
    size_t n = 7;
    assert_int_equal(hth_file_read(path_of(name), HTH_MEM_MISC, 100, &text, &n, &err), code);
    assert_null(text);
    assert_int_equal(n, 0);
    assert_non_null(strstr(err.msg, reason));
}

static void what_is_not_a_regular_file_is_refused_with_a_reason(void **state) {
    (void)state;
    assert_int_equal(mkdir(path_of("folder"), 0700), 0);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_int_equal(symlink("nowhere", path_of("dangling")), 0);
    put("file", "x");
    check_refused("missing", HTH_ERR_NOTFOUND, "no such file");
    check_refused("dangling", HTH_ERR_NOTFOUND, "no such file");
    check_refused("file/below", HTH_ERR_NOTFOUND, "not a folder");
    check_refused("folder", HTH_ERR_IO, "folder");
    check_refused("pipe", HTH_ERR_IO, "regular"); // and does not hang
    assert_int_equal(hth_path_kind_of(path_of("missing")), HTH_PATH_NONE);
    assert_int_equal(hth_path_kind_of(path_of("folder")), HTH_PATH_FOLDER);
    assert_int_equal(hth_path_kind_of(path_of("pipe")), HTH_PATH_OTHER);
    assert_int_equal(hth_path_kind_of(path_of("file")), HTH_PATH_FILE);
}

static void an_empty_file_is_valid_and_empty(void **state) {
    (void)state;
    hth_err err;
    put("empty", "");
    hth_file_map map;
    assert_int_equal(hth_file_map_open(path_of("empty"), &map, &err), HTH_OK);
    assert_null(map.data);
    assert_int_equal(map.n_bytes, 0);
    hth_file_map_advise(&map, 0, 1, HTH_MAP_WILL_NEED);
    hth_file_map_close(&map);
    char *text;
    size_t n = 7;
    assert_int_equal(hth_file_read(path_of("empty"), HTH_MEM_MISC, 0, &text, &n, &err), HTH_OK);
    assert_string_equal(text, "");
    assert_int_equal(n, 0);
    hth_free(text);
}

static void a_file_over_the_limit_is_refused_before_it_is_read(void **state) {
    (void)state;
    hth_err err;
    char *text;
    size_t n;
    put("file", "12345");
    hth_mem_fail_at(1, true); // an allocation would fail with another code
    assert_int_equal(hth_file_read(path_of("file"), HTH_MEM_MISC, 4, &text, &n, &err), HTH_ERR_LIMIT);
    assert_int_equal(hth_file_read(path_of("file"), HTH_MEM_MISC, 5, &text, &n, &err), HTH_ERR_NOMEM);
    hth_mem_fail_at(0, false);
}

static void a_folder_lists_sorted_files_with_the_suffix(void **state) {
    (void)state;
    hth_err err;
    char **names = NULL;
    size_t n = 7;
    assert_int_equal(hth_folder_list(folder, "", HTH_MEM_MISC, 10, &names, &n, &err), HTH_OK);
    assert_int_equal(n, 0);
    hth_free(names);
    put("b.gguf", "");
    put("a.gguf", "");
    put("Z.gguf", "");
    put("gguf", "");
    put(".hidden.gguf", "");
    assert_int_equal(mkdir(path_of("folder.gguf"), 0700), 0);
    assert_int_equal(hth_folder_list(folder, ".gguf", HTH_MEM_MISC, 3, &names, &n, &err), HTH_OK);
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "Z.gguf");
    assert_string_equal(names[1], "a.gguf");
    assert_string_equal(names[2], "b.gguf");
    hth_free(names);
    assert_int_equal(hth_folder_list(folder, ".gguf", HTH_MEM_MISC, 2, &names, &n, &err), HTH_ERR_LIMIT);
    assert_null(names);
    assert_int_equal(hth_folder_list(path_of("gguf"), "", HTH_MEM_MISC, 2, &names, &n, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_folder_list(path_of("none"), "", HTH_MEM_MISC, 2, &names, &n, &err), HTH_ERR_NOTFOUND);
}

static void a_listing_survives_every_failed_allocation(void **state) {
    (void)state;
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "file-with-a-name-%02d", i);
        put(name, "");
    }
    int n_fail = 0;
    for (uint64_t at = 1;; at++) {
        hth_err err;
        char **names;
        size_t n;
        hth_mem_fail_at(at, false);
        hth_code code = hth_folder_list(folder, "", HTH_MEM_MISC, 100, &names, &n, &err);
        bool hit = hth_mem_fail_hit();
        hth_mem_fail_at(0, false);
        assert_int_equal(code, hit ? HTH_ERR_NOMEM : HTH_OK);
        hth_free(names);
        if (!hit) break;
        assert_int_equal(n, 0);
        n_fail++;
    }
    assert_true(n_fail >= 5);
}

static void a_file_in_the_making_is_not_seen_and_abort_leaves_nothing(void **state) {
    (void)state;
    hth_err err;
    put("file", "old");
    hth_file_out *f;
    assert_int_equal(hth_file_out_open(path_of("file"), &f, &err), HTH_OK);
    assert_int_equal(hth_file_out_write(f, "new", 3, &err), HTH_OK);
    hth_file_map map;
    assert_int_equal(hth_file_map_open(path_of("file"), &map, &err), HTH_OK);
    assert_memory_equal(map.data, "old", 3);
    hth_file_map_close(&map);
    hth_file_out_abort(f);
    hth_file_out_abort(NULL);
    assert_int_equal(count_entries(), 1);
}

static void two_writers_do_not_mix(void **state) {
    (void)state;
    hth_err err;
    hth_file_out *a, *b;
    assert_int_equal(hth_file_out_open(path_of("file"), &a, &err), HTH_OK);
    assert_int_equal(hth_file_out_open(path_of("file"), &b, &err), HTH_OK);
    assert_int_equal(hth_file_out_write(a, "aaaa", 4, &err), HTH_OK);
    assert_int_equal(hth_file_out_write(b, "bb", 2, &err), HTH_OK);
    assert_int_equal(hth_file_out_commit(a, &err), HTH_OK);
    assert_int_equal(hth_file_out_commit(b, &err), HTH_OK);
    char *text;
    size_t n;
    assert_int_equal(hth_file_read(path_of("file"), HTH_MEM_MISC, 10, &text, &n, &err), HTH_OK);
    assert_string_equal(text, "bb");
    hth_free(text);
    assert_int_equal(count_entries(), 1);
}

static void writing_where_it_cannot_be_says_why(void **state) {
    (void)state;
    hth_err err;
    assert_int_equal(hth_file_write(path_of("none/file"), "x", 1, &err), HTH_ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, "none/file"));
    assert_int_equal(mkdir(path_of("folder"), 0700), 0);
    assert_int_equal(hth_file_write(path_of("folder"), "x", 1, &err), HTH_ERR_IO);
    assert_non_null(strstr(err.msg, "folder"));
    hth_mem_fail_at(1, false);
    assert_int_equal(hth_file_write(path_of("file"), "x", 1, &err), HTH_ERR_NOMEM);
    hth_mem_fail_at(0, false);
    assert_int_equal(count_entries(), 1);
}

// A limit on the size of files stands for a full disk: both end a write half-way.
static void a_write_that_fails_half_way_leaves_the_old_file(void **state) {
    (void)state;
    static const char bytes[100000];
    put("file", "old");
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    hth_err err = {0};
    hth_code code = hth_file_write(path_of("file"), bytes, sizeof bytes, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(code, HTH_ERR_IO);
    assert_non_null(strstr(err.msg, "cannot write"));
    assert_int_equal(count_entries(), 1);
    hth_file_map map;
    assert_int_equal(hth_file_map_open(path_of("file"), &map, &err), HTH_OK);
    assert_int_equal(map.n_bytes, 3);
    hth_file_map_close(&map);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_written_file_reads_and_maps_the_same),
        IN_FOLDER(what_is_not_a_regular_file_is_refused_with_a_reason),
        IN_FOLDER(an_empty_file_is_valid_and_empty),
        IN_FOLDER(a_file_over_the_limit_is_refused_before_it_is_read),
        IN_FOLDER(a_folder_lists_sorted_files_with_the_suffix),
        IN_FOLDER(a_listing_survives_every_failed_allocation),
        IN_FOLDER(a_file_in_the_making_is_not_seen_and_abort_leaves_nothing),
        IN_FOLDER(two_writers_do_not_mix),
        IN_FOLDER(writing_where_it_cannot_be_says_why),
        IN_FOLDER(a_write_that_fails_half_way_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
