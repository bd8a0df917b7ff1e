// What is kept over restarts: by owner, within its limits, and over damage.
#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "os/file.h"
#include "server/store.h"

static hth_err err;
static char folder[64];
static hth_config c;
static hth_arena a;
static hth_store *s;

static void file(char path[128], const char *name) {
    snprintf(path, 128, "%s/%s", folder, name);
}

static int begin(void **unused) {
    (void)unused;
    strcpy(folder, "/tmp/hearth-store-XXXXXX");
    assert_non_null(mkdtemp(folder));
    c = (hth_config){.state_folder = folder, .store = true, .store_bytes = 10000000, .store_age_ms = 3600000};
    hth_arena_init(&a, HTH_MEM_MISC, 1 << 24);
    s = hth_store_new(&c);
    assert_non_null(s);
    return 0;
}

static int end(void **unused) {
    (void)unused;
    static const char *const names[] = {"responses.db", "responses.db-wal", "responses.db-shm"};
    char path[128];
    hth_store_free(s);
    hth_arena_free(&a);
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        file(path, names[i]);
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

static void reopen(void) {
    hth_store_free(s);
    s = hth_store_new(&c);
}

static hth_code put(const char *id, const char *owner, const char *body, size_t n, int64_t created) {
    const hth_stored_response r = {.id = id, .owner = owner, .previous = "p", .body = body, .n_body = n, .input = "[]", .n_input = 2, .created = created};
    return hth_store_put_response(s, &r, &err);
}

static int64_t now(void) {
    return (int64_t)time(NULL);
}

static void nothing_is_written_before_it_is_needed(void **unused) {
    (void)unused;
    char path[128];
    file(path, "responses.db");
    assert_int_equal(hth_path_kind_of(path), HTH_PATH_NONE);
    assert_int_equal(put("r", "", "{}", 2, now()), HTH_OK);
    assert_int_equal(hth_path_kind_of(path), HTH_PATH_FILE);
}

static void responses_are_found_again_by_their_owner_alone(void **unused) {
    (void)unused;
    hth_stored_response r;
    assert_int_equal(put("r1", "alice", "{\"a\":\"\0x\"}", 11, now()), HTH_OK);
    reopen();
    assert_int_equal(hth_store_get_response(s, "alice", "r1", &a, &r, &err), HTH_OK);
    assert_int_equal(r.n_body, 11);
    assert_memory_equal(r.body, "{\"a\":\"\0x\"}", 11);
    assert_string_equal(r.input, "[]");
    assert_string_equal(r.previous, "p");
    assert_int_equal(hth_store_get_response(s, "bob", "r1", &a, &r, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_get_response(s, "", "r1", &a, &r, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_delete_response(s, "bob", "r1", &err), HTH_ERR_NOTFOUND);
    assert_int_equal(put("r1", "bob", "{}", 2, now()), HTH_OK); // changes nothing of alice's
    assert_int_equal(hth_store_get_response(s, "alice", "r1", &a, &r, &err), HTH_OK);
    assert_int_equal(r.n_body, 11);
    assert_int_equal(put("r1", "alice", "new", 3, now()), HTH_OK);
    assert_int_equal(hth_store_get_response(s, "alice", "r1", &a, &r, &err), HTH_OK);
    assert_string_equal(r.body, "new");
    assert_int_equal(hth_store_delete_response(s, "alice", "r1", &err), HTH_OK);
    assert_int_equal(hth_store_get_response(s, "alice", "r1", &a, &r, &err), HTH_ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, "r1"));
    assert_int_equal(hth_store_get_response(s, "alice", "' OR 1=1 --", &a, &r, &err), HTH_ERR_NOTFOUND);
}

static void what_is_too_old_goes(void **unused) {
    (void)unused;
    hth_stored_response r;
    assert_int_equal(put("old", "", "{}", 2, now() - 4000), HTH_OK);
    assert_int_equal(put("new", "", "{}", 2, now()), HTH_OK);
    assert_int_equal(hth_store_get_response(s, "", "old", &a, &r, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_get_response(s, "", "new", &a, &r, &err), HTH_OK);
}

static void the_oldest_go_when_there_is_too_much(void **unused) {
    (void)unused;
    static char big[100000];
    hth_stored_response r;
    char id[32];
    memset(big, 'x', sizeof big);
    c.store_bytes = 1000000;
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "r%d", i);
        assert_int_equal(put(id, "", big, sizeof big, now() - 100 + i), HTH_OK);
    }
    assert_int_equal(hth_store_get_response(s, "", "r39", &a, &r, &err), HTH_OK);
    assert_int_equal(hth_store_get_response(s, "", "r0", &a, &r, &err), HTH_ERR_NOTFOUND);
    c.store_bytes = 1000;
    assert_int_equal(put("r40", "", big, sizeof big, now()), HTH_ERR_LIMIT);
}

static void conversations_keep_their_items_in_order(void **unused) {
    (void)unused;
    const hth_stored_item first[] = {{"i1", "{1}", 3}, {"i2", "{2}", 3}}, more[] = {{"i3", "{3}", 3}};
    const hth_stored_conversation talk = {.id = "c", .owner = "alice", .metadata = "{}", .created = now()};
    hth_stored_conversation got;
    hth_stored_item *items;
    size_t n;
    assert_int_equal(hth_store_add_items(s, "alice", "c", first, 2, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_put_conversation(s, &talk, &err), HTH_OK);
    assert_int_equal(hth_store_add_items(s, "alice", "c", first, 2, &err), HTH_OK);
    assert_int_equal(hth_store_add_items(s, "bob", "c", more, 1, &err), HTH_ERR_NOTFOUND);
    reopen();
    assert_int_equal(hth_store_add_items(s, "alice", "c", more, 1, &err), HTH_OK);
    assert_int_equal(hth_store_get_items(s, "alice", "c", &a, &items, &n, &err), HTH_OK);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(items[i].body[1], '1' + (int)i);
    assert_int_equal(hth_store_get_items(s, "bob", "c", &a, &items, &n, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_delete_item(s, "bob", "c", "i2", &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_delete_item(s, "alice", "c", "i2", &err), HTH_OK);
    assert_int_equal(hth_store_get_items(s, "alice", "c", &a, &items, &n, &err), HTH_OK);
    assert_int_equal(n, 2);
    assert_int_equal(hth_store_get_conversation(s, "bob", "c", &a, &got, &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_get_conversation(s, "alice", "c", &a, &got, &err), HTH_OK);
    assert_string_equal(got.metadata, "{}");
    assert_int_equal(hth_store_delete_conversation(s, "bob", "c", &err), HTH_ERR_NOTFOUND);
    assert_int_equal(hth_store_delete_conversation(s, "alice", "c", &err), HTH_OK);
    assert_int_equal(hth_store_put_conversation(s, &talk, &err), HTH_OK);
    assert_int_equal(hth_store_get_items(s, "alice", "c", &a, &items, &n, &err), HTH_OK);
    assert_int_equal(n, 0); // its items went with it
}

static void a_damaged_or_newer_file_is_an_error_and_no_harm(void **unused) {
    (void)unused;
    char path[128];
    file(path, "responses.db");
    assert_int_equal(hth_file_write(path, "this is no database, whatever its name may say..........................................................", 100, &err), HTH_OK);
    assert_int_equal(put("r", "", "{}", 2, now()), HTH_ERR_IO); // not the fault of who asks
    assert_non_null(strstr(err.msg, path));
    unlink(path);
    assert_int_equal(put("r", "", "{}", 2, now()), HTH_OK); // tries again
}

static void a_store_that_is_off_says_so(void **unused) {
    (void)unused;
    c.store = false;
    assert_int_equal(put("r", "", "{}", 2, now()), HTH_ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, "--no-store"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_written_before_it_is_needed, begin, end),
        cmocka_unit_test_setup_teardown(responses_are_found_again_by_their_owner_alone, begin, end),
        cmocka_unit_test_setup_teardown(what_is_too_old_goes, begin, end),
        cmocka_unit_test_setup_teardown(the_oldest_go_when_there_is_too_much, begin, end),
        cmocka_unit_test_setup_teardown(conversations_keep_their_items_in_order, begin, end),
        cmocka_unit_test_setup_teardown(a_damaged_or_newer_file_is_an_error_and_no_harm, begin, end),
        cmocka_unit_test_setup_teardown(a_store_that_is_off_says_so, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
