// Who may: the matrix of names, pages, addresses and keys, and the files that keys and certificates live in.
#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "server/access.h"
#include "server/address.h"
#include "server/keys.h"
#include "server/route.h"
#include "server/tls.h"

static hth_err err;
static hth_config c;
static hth_access *access_; // of the test at work
static hth_str notes;
static char state[64];

static int begin(void **unused) {
    (void)unused;
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    strcpy(state, "/tmp/hearth-access-XXXXXX");
    assert_non_null(mkdtemp(state));
    hth_str_init(&notes, HTH_MEM_MISC, 65536);
    access_ = NULL;
    return 0;
}

static int end(void **unused) {
    (void)unused;
    static const char *const names[] = {"api-key", "keys.json", "tls-certificate.pem", "tls-key.pem"};
    char path[128];
    hth_access_free(access_);
    hth_config_free(&c);
    hth_str_free(&notes);
    for (size_t i = 0; i < HTH_COUNT(names); i++) {
        snprintf(path, sizeof path, "%s/%s", state, names[i]);
        unlink(path);
    }
    rmdir(state);
    return 0;
}

// A server with these flags.
static void server(hth_config_style style, int n, const char *const *flags) {
    char *argv[24] = {(char *)(uintptr_t) "--state-folder", state};
    for (int i = 0; i < n; i++) argv[2 + i] = (char *)(uintptr_t)flags[i];
    hth_access_free(access_);
    hth_config_free(&c);
    if (hth_config_load(n + 2, argv, style, &c, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_access_new(&c, &notes, &access_, &err) != HTH_OK) fail_msg("%s", err.msg);
}
#define SERVER(...) \
    server(HTH_CONFIG_HEARTH, (int)(sizeof((const char *[]){NULL, ##__VA_ARGS__}) / sizeof(char *)) - 1, (const char *[]){NULL, ##__VA_ARGS__} + 1)

static hth_who who;
static hth_fault fault;

// The status that an ask gets: 200 or the refusal's.
static int ask(hth_access_ask a) {
    if (!a.peer) a.peer = "127.0.0.1";
    if (hth_access_decide(access_, &a, &who, &fault)) return 200;
    return fault.kind == HTH_FAULT_UNAUTHORIZED ? 401 : fault.kind == HTH_FAULT_FORBIDDEN ? 403 : -1;
}
#define ASK(...) ask((hth_access_ask){__VA_ARGS__})

static void ranges_of_addresses_are_exact(void **unused) {
    (void)unused;
    static const struct { const char *range, *address; bool has; } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},     {"10.0.0.0/8", "11.0.0.1", false}, {"192.168.1.128/25", "192.168.1.128", true},
        {"192.168.1.128/25", "192.168.1.127", false}, {"1.2.3.4", "1.2.3.4", true}, {"1.2.3.4", "1.2.3.5", false},
        {"0.0.0.0/0", "255.1.1.1", true},       {"0.0.0.0/0", "::1", false},        {"::/0", "fe80::1", true},
        {"::/0", "1.2.3.4", true},              {"fd00::/8", "fdff::1", true},      {"fd00::/8", "fe00::1", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true}, {"fe80::/10", "fe80::1%eth0", true},
    };
    static const char *const bad[] = {"", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "host", "1.2.3.4/ 8"};
    hth_cidr range;
    hth_address address;
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        assert_true(hth_cidr_parse(rows[i].range, &range));
        assert_true(hth_address_parse(rows[i].address, strlen(rows[i].address), &address));
        if (hth_cidr_has(&range, &address) != rows[i].has) fail_msg("%s in %s", rows[i].address, rows[i].range);
    }
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        if (hth_cidr_parse(bad[i], &range)) fail_msg("'%s' is accepted", bad[i]);
    }
    assert_true(hth_address_parse("127.8.8.8", 9, &address) && hth_address_is_loopback(&address));
    assert_true(hth_address_parse("[::1]", 5, &address) && hth_address_is_loopback(&address));
    assert_true(hth_address_parse("128.0.0.1", 9, &address) && !hth_address_is_loopback(&address));
}

static void a_server_of_this_machine_alone_needs_no_key(void **unused) {
    (void)unused;
    SERVER();
    assert_int_equal(ASK(.host = "localhost:11434", .flags = HTH_ROUTE_ADMIN), 200);
    assert_int_equal(who.scopes, HTH_SCOPE_USE | HTH_SCOPE_ADMIN);
    assert_int_equal(notes.len, 0);
    SERVER("--host", "::1");
    assert_int_equal(ASK(.peer = "::1"), 200);
}

static void a_name_that_is_not_ours_is_refused_on_loopback_too(void **unused) {
    (void)unused;
    static const char *const ours[] = {"localhost", "LOCALHOST:11434", "127.0.0.1:1", "[::1]:11434", "192.168.1.5", "x.localhost",
                                       "printer.local", "host.docker.internal:11434", "localhost."};
    static const char *const others[] = {"evil.example", "evil.example:11434", "localhost.evil.example", "127.0.0.1.evil.example",
                                         "local", "notlocalhost", "evil.example."};
    SERVER();
    for (size_t i = 0; i < HTH_COUNT(ours); i++) {
        if (ASK(.host = ours[i]) != 200) fail_msg("%s is refused", ours[i]);
    }
    for (size_t i = 0; i < HTH_COUNT(others); i++) {
        if (ASK(.host = others[i], .flags = HTH_ROUTE_PUBLIC) != 403) fail_msg("%s is let in", others[i]);
    }
    assert_int_equal(ASK(.host = NULL), 200); // HTTP/1.0
    SERVER("--allow-host", "ai.example,*.home.example");
    assert_int_equal(ASK(.host = "ai.example"), 200);
    assert_int_equal(ASK(.host = "x.home.example:80"), 200);
    assert_int_equal(ASK(.host = "xhome.example"), 403);
    // A key in a header that no page elsewhere can set proves more than a name; Basic, which browsers keep, does not.
    SERVER("--api-key", "k");
    assert_int_equal(ASK(.host = "evil.example", .authorization = "Bearer k"), 200);
    assert_int_equal(ASK(.host = "evil.example", .authorization = "Basic eDpr"), 403);
    assert_int_equal(ASK(.host = "localhost", .authorization = "Basic eDpr"), 200);
}

static void pages_of_this_machine_may_ask_and_others_may_not(void **unused) {
    (void)unused;
    static const char *const local[] = {"http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://0.0.0.0", "http://[::1]:5",
                                        "app://obsidian.md", "file://x", "tauri://localhost", "vscode-webview://abc", "vscode-file://vscode-app"};
    static const char *const others[] = {"https://evil.example", "http://localhost.evil.example", "http://localhost:80.evil.example", "null",
                                         "http://127.0.0.1.evil.example", "http://localhost:", "ftp://localhost", "http://evil@localhost.x",
                                         "http://localhost:1x"};
    SERVER();
    for (size_t i = 0; i < HTH_COUNT(local); i++) {
        if (ASK(.origin = local[i]) != 200) fail_msg("%s is refused", local[i]);
    }
    for (size_t i = 0; i < HTH_COUNT(others); i++) {
        const bool is_port_without_number = strcmp(others[i], "http://localhost:") == 0;
        if ((ASK(.origin = others[i]) == 200) != is_port_without_number) fail_msg("%s is let in", others[i]);
    }
    SERVER("--allow-host", "ai.example", "--origins", "https://chat.example,https://*.b.example");
    assert_int_equal(ASK(.origin = "https://chat.example"), 200);
    assert_int_equal(ASK(.origin = "https://x.b.example"), 200);
    assert_int_equal(ASK(.origin = "https://b.example"), 403);
    assert_int_equal(ASK(.origin = "http://chat.example"), 403);
    assert_int_equal(ASK(.origin = "http://ai.example", .host = "ai.example"), 200); // its own page
    assert_int_equal(ASK(.origin = "https://ai.example", .host = "ai.example"), 403);
    assert_int_equal(ASK(.origin = "https://ai.example", .host = "ai.example", .is_tls = true), 200);
    SERVER("--origins", "*");
    assert_int_equal(ASK(.origin = "https://evil.example"), 200);
}

static void as_llama_server_any_page_may_ask_with_a_key_only(void **unused) {
    (void)unused;
    static const char *const with_key[] = {"--api-key", "k"};
    server(HTH_CONFIG_LLAMA_SERVER, 2, with_key);
    assert_int_equal(ASK(.origin = "web.mydomain.fr", .authorization = "Bearer k"), 200);
    assert_int_equal(ASK(.origin = "web.mydomain.fr"), 401);
    server(HTH_CONFIG_LLAMA_SERVER, 0, NULL);
    assert_int_equal(ASK(.origin = "web.mydomain.fr"), 403);
}

static void a_key_counts_however_it_is_carried(void **unused) {
    (void)unused;
    SERVER("--api-key", "secret,other");
    static const struct { const char *authorization, *api_key; int status; } rows[] = {
        {"Bearer secret", NULL, 200},  {"bearer  secret", NULL, 200}, {"secret", NULL, 200},   {NULL, "secret", 200},
        {NULL, "other", 200},          {"Basic dXNlcjpzZWNyZXQ=", NULL, 200}, {"Basic c2VjcmV0Og==", NULL, 200}, {"", "secret", 200},
        {NULL, NULL, 401},             {"Bearer", NULL, 401},         {"Bearer ", NULL, 401},  {"Bearer Secret", NULL, 401},
        {"Bearer secret ", NULL, 401}, {"Bearer secre", NULL, 401},   {NULL, "secret1", 401},  {"Basic !!!", NULL, 401},
        {"Basic ", NULL, 401},         {"Basic dXNlcjp3cm9uZw==", NULL, 401}, {"Bearer wrong", "secret", 401}, {"", "", 401},
    };
    for (size_t i = 0; i < HTH_COUNT(rows); i++) {
        const int status = ASK(.authorization = rows[i].authorization, .api_key = rows[i].api_key);
        if (status != rows[i].status) fail_msg("row %zu: %d", i, status);
    }
    assert_int_equal(ASK(.flags = HTH_ROUTE_PUBLIC), 200);
    assert_int_equal(who.scopes, 0);
}

static void scopes_hold_for_every_carrier(void **unused) {
    (void)unused;
    char path[128];
    snprintf(path, sizeof path, "%s/list", state);
    const char text[] = "# comment\n\nuser-key  bob\nadmin-key eve:admin:3\r\nplain\n";
    assert_int_equal(hth_file_write(path, text, sizeof text - 1, &err), HTH_OK);
    SERVER("--api-key-file", path);
    static const char *const carried[][2] = {{"Bearer user-key", NULL}, {NULL, "user-key"}, {"Basic eDp1c2VyLWtleQ==", NULL}};
    for (size_t i = 0; i < HTH_COUNT(carried); i++) {
        assert_int_equal(ASK(.authorization = carried[i][0], .api_key = carried[i][1]), 200);
        assert_string_equal(who.name, "bob");
        assert_int_equal(ASK(.authorization = carried[i][0], .api_key = carried[i][1], .flags = HTH_ROUTE_ADMIN), 403);
    }
    assert_int_equal(ASK(.api_key = "admin-key", .flags = HTH_ROUTE_ADMIN), 200);
    assert_int_equal(who.key->limit, 3);
    assert_int_equal(ASK(.api_key = "plain", .flags = HTH_ROUTE_ADMIN), 200);
    assert_int_equal(ASK(.api_key = "# comment"), 401);
    unlink(path);
}

static void others_can_reach_it_only_with_the_key_that_is_made(void **unused) {
    (void)unused;
    struct stat st;
    char path[128], *text, key[128];
    size_t n;
    SERVER("--host", "0.0.0.0");
    snprintf(path, sizeof path, "%s/api-key", state);
    assert_non_null(strstr(notes.p, path)); // its path is told, itself not
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(hth_file_read(path, HTH_MEM_MISC, 4096, &text, &n, &err), HTH_OK);
    snprintf(key, sizeof key, "%.*s", (int)strcspn(text, " \n"), text);
    hth_free(text);
    assert_int_equal(strlen(key), 4 + 64);
    assert_null(strstr(notes.p, key));
    assert_int_equal(ASK(.peer = "192.168.1.2"), 401);
    assert_int_equal(ASK(.peer = "127.0.0.1"), 401);
    assert_int_equal(ASK(.peer = "192.168.1.2", .api_key = key, .flags = HTH_ROUTE_ADMIN), 200);
    SERVER("--host", "::"); // the next start finds it again
    assert_int_equal(ASK(.peer = "fd00::1", .api_key = key), 200);
}

static void allowed_addresses_need_no_key_and_others_are_refused(void **unused) {
    (void)unused;
    SERVER("--host", "0.0.0.0", "--allow-from", "192.168.0.0/16,fd00::/8");
    assert_int_equal(ASK(.peer = "192.168.3.4"), 200);
    assert_int_equal(who.scopes, HTH_SCOPE_USE);
    assert_int_equal(ASK(.peer = "192.168.3.4", .flags = HTH_ROUTE_ADMIN), 403);
    assert_int_equal(ASK(.peer = "::ffff:192.168.3.4"), 200);
    assert_int_equal(ASK(.peer = "10.0.0.1"), 403);
    assert_int_equal(ASK(.peer = "10.0.0.1", .forwarded_for = "192.168.3.4"), 403); // nobody trusts that
    SERVER("--host", "0.0.0.0", "--allow-from", "192.168.0.0/16", "--api-key", "k", "--trusted-proxies", "10.0.0.0/8");
    assert_int_equal(ASK(.peer = "172.16.0.1"), 401);
    assert_int_equal(ASK(.peer = "172.16.0.1", .api_key = "k"), 200);
    assert_int_equal(ASK(.peer = "10.0.0.1", .forwarded_for = "192.168.3.4"), 200);
    assert_string_equal(who.address, "192.168.3.4");
    assert_int_equal(ASK(.peer = "10.0.0.1", .forwarded_for = "192.168.3.4, 8.8.8.8, 10.2.2.2"), 401); // the last that is no proxy
    assert_string_equal(who.address, "8.8.8.8");
    assert_int_equal(ASK(.peer = "10.0.0.1", .forwarded_for = "192.168.3.4, junk"), 401);
    hth_access *bad = NULL;
    char *argv[] = {(char *)(uintptr_t) "--allow-from", (char *)(uintptr_t) "everywhere"};
    hth_config wrong;
    assert_int_equal(hth_config_load(2, argv, HTH_CONFIG_HEARTH, &wrong, &err), HTH_OK);
    assert_int_equal(hth_access_new(&wrong, &notes, &bad, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "--allow-from: 'everywhere'"));
    hth_config_free(&wrong);
}

static void new_keys_are_kept_as_hashes(void **unused) {
    (void)unused;
    hth_str key;
    char path[128], *text;
    size_t n;
    struct stat st;
    hth_str_init(&key, HTH_MEM_MISC, 256);
    SERVER("--api-key", "first");
    assert_int_equal(hth_access_new_key(&c, "alice:use:2", &key, &err), HTH_OK);
    snprintf(path, sizeof path, "%s/keys.json", state);
    assert_int_equal(hth_file_read(path, HTH_MEM_MISC, 4096, &text, &n, &err), HTH_OK);
    assert_null(strstr(text, key.p + 4));
    assert_non_null(strstr(text, "alice"));
    hth_free(text);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ASK(.api_key = key.p), 401); // from the next start on
    SERVER("--api-key", "first");
    assert_int_equal(ASK(.api_key = key.p), 200);
    assert_string_equal(who.name, "alice");
    assert_int_equal(who.key->limit, 2);
    assert_int_equal(ASK(.api_key = key.p, .flags = HTH_ROUTE_ADMIN), 403);
    hth_str_clear(&key);
    assert_int_equal(hth_access_new_key(&c, "alice", &key, &err), HTH_ERR_RANGE);
    assert_non_null(strstr(err.msg, "there is a key called 'alice' already"));
    assert_int_equal(hth_access_new_key(&c, "bob:king", &key, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_access_new_key(&c, "bob:use:many", &key, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_access_new_key(&c, ":use", &key, &err), HTH_ERR_RANGE);
    hth_str_free(&key);
}

static void a_list_of_hashes_that_is_damaged_is_an_error(void **unused) {
    (void)unused;
    static const char *const bad[] = {"{", "{}", "[]", "{\"keys\": 1}", "{\"keys\": [{}]}", "{\"keys\": [{\"sha256\": \"00\"}]}",
        "{\"keys\": [{\"sha256\": \"zz00000000000000000000000000000000000000000000000000000000000000\"}]}",
        "{\"keys\": [{\"sha256\": \"0000000000000000000000000000000000000000000000000000000000000000\", \"scope\": \"all\"}]}"};
    char path[128];
    snprintf(path, sizeof path, "%s/keys.json", state);
    for (size_t i = 0; i < HTH_COUNT(bad); i++) {
        hth_keys keys = {0};
        assert_int_equal(hth_file_write(path, bad[i], strlen(bad[i]), &err), HTH_OK);
        if (hth_keys_read_hashes(&keys, path, &err) == HTH_OK) fail_msg("%s is accepted", bad[i]);
        assert_non_null(strstr(err.msg, path));
        hth_keys_free(&keys);
    }
}

static void a_certificate_is_made_once_and_found_again(void **unused) {
    (void)unused;
    struct stat st;
    char path[128];
    hth_tls first, second;
    SERVER("--tls", "--host", "::1");
    assert_int_equal(hth_tls_load(&c, &notes, &first, &err), HTH_OK);
    assert_non_null(strstr(first.certificate, "BEGIN CERTIFICATE"));
    assert_non_null(strstr(first.key, "PRIVATE KEY"));
    assert_non_null(strstr(notes.p, "SHA-256"));
    snprintf(path, sizeof path, "%s/tls-key.pem", state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(hth_tls_load(&c, &notes, &second, &err), HTH_OK);
    assert_string_equal(first.certificate, second.certificate);
    assert_string_equal(first.key, second.key);
    hth_tls_free(&first);
    hth_tls_free(&second);
    assert_int_equal(hth_file_write(path, "x", 1, &err), HTH_OK);
    assert_int_not_equal(hth_tls_load(&c, &notes, &second, &err), HTH_OK);
    hth_tls_free(&second);
    SERVER();
    assert_int_equal(hth_tls_load(&c, &notes, &second, &err), HTH_OK);
    assert_null(second.certificate);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_of_addresses_are_exact),
        cmocka_unit_test_setup_teardown(a_server_of_this_machine_alone_needs_no_key, begin, end),
        cmocka_unit_test_setup_teardown(a_name_that_is_not_ours_is_refused_on_loopback_too, begin, end),
        cmocka_unit_test_setup_teardown(pages_of_this_machine_may_ask_and_others_may_not, begin, end),
        cmocka_unit_test_setup_teardown(as_llama_server_any_page_may_ask_with_a_key_only, begin, end),
        cmocka_unit_test_setup_teardown(a_key_counts_however_it_is_carried, begin, end),
        cmocka_unit_test_setup_teardown(scopes_hold_for_every_carrier, begin, end),
        cmocka_unit_test_setup_teardown(others_can_reach_it_only_with_the_key_that_is_made, begin, end),
        cmocka_unit_test_setup_teardown(allowed_addresses_need_no_key_and_others_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(new_keys_are_kept_as_hashes, begin, end),
        cmocka_unit_test_setup_teardown(a_list_of_hashes_that_is_damaged_is_an_error, begin, end),
        cmocka_unit_test_setup_teardown(a_certificate_is_made_once_and_found_again, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
