// The hash under the maps: no seed and no chosen word makes different keys meet.
#include <string.h>

#include "base/hash.h"
#include "unit/cmocka_all.h"

#define K0 0x9e3779b97f4a7c15ull
#define K1 0xd6e8feb86659fd93ull

// Counts pairs of equal hashes among 4,096 keys of n bytes that differ in the two bytes at `at`.
static int count_meetings(size_t n, size_t at, uint64_t fill, uint64_t seed) {
    static uint64_t seen[4096];
    unsigned char key[64];
    int meetings = 0;
    for (size_t i = 0; i + 8 <= sizeof key; i += 8) memcpy(key + i, &fill, 8);
    for (unsigned i = 0; i < 4096; i++) {
        key[at] = (unsigned char)i;
        key[at + 1] = (unsigned char)(i >> 8);
        seen[i] = hth_hash(key, n, seed);
        for (unsigned j = 0; j < i; j++) meetings += seen[i] == seen[j];
    }
    return meetings;
}

static void keys_do_not_meet_under_any_seed(void **state) {
    (void)state;
    static const uint64_t seeds[] = {0, 1, K0, K1, K0 ^ K1, UINT64_MAX};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        assert_int_equal(count_meetings(5, 1, 0, seeds[i]), 0);
        assert_int_equal(count_meetings(8, 3, 0, seeds[i]), 0);
        assert_int_equal(count_meetings(40, 2, 0, seeds[i]), 0);
    }
}

static void words_that_are_the_hash_s_constants_hide_nothing(void **state) {
    (void)state;
    static const uint64_t words[] = {K0, K1, K0 ^ K1, ~K0, ~K1};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        for (size_t at = 0; at < 40; at += 8) assert_int_equal(count_meetings(48, at, words[i], 12345), 0);
    }
}

static void the_length_counts(void **state) {
    (void)state;
    static const unsigned char zeros[32] = {0};
    for (size_t n = 0; n < 32; n++) {
        for (size_t m = 0; m < n; m++) assert_true(hth_hash(zeros, n, 7) != hth_hash(zeros, m, 7));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_do_not_meet_under_any_seed),
        cmocka_unit_test(words_that_are_the_hash_s_constants_hide_nothing),
        cmocka_unit_test(the_length_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
