// SHA-256 against the standard's own examples, in any number of pieces.
#include <string.h>

#include "base/sha256.h"
#include "unit/cmocka_all.h"

static void add_in_pieces(hth_sha256 *s, const char *text, size_t n, size_t piece) {
    for (size_t at = 0; at < n; at += piece) hth_sha256_add(s, text + at, n - at < piece ? n - at : piece);
}

static void the_standard_s_examples_come_out_whatever_the_pieces(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = strlen(rows[i].text);
        for (size_t piece = 1; piece <= n + 1; piece++) {
            hth_sha256 s;
            char got[65];
            hth_sha256_init(&s);
            add_in_pieces(&s, rows[i].text, n, piece);
            hth_sha256_end_hex(&s, got);
            assert_string_equal(got, rows[i].want);
        }
    }
}

static void a_million_letters_come_out(void **state) {
    (void)state;
    char block[1000], got[65];
    hth_sha256 s;
    memset(block, 'a', sizeof block);
    hth_sha256_init(&s);
    for (int i = 0; i < 1000; i++) hth_sha256_add(&s, block, sizeof block);
    hth_sha256_end_hex(&s, got);
    assert_string_equal(got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standard_s_examples_come_out_whatever_the_pieces),
        cmocka_unit_test(a_million_letters_come_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
