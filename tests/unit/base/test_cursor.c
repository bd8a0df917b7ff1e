// The bounded cursor and checked arithmetic.
#include "base/checked.h"
#include "base/cursor.h"
#include "unit/cmocka_all.h"

static void reads_little_endian_numbers_in_order(void **state) {
    (void)state;
    const uint8_t bytes[] = {0x01, 0x78, 0x56, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x81, 0xaa};
    hth_cursor c = hth_cursor_make(bytes, sizeof bytes);
    assert_int_equal(hth_cursor_u8(&c), 1);
    assert_int_equal(hth_cursor_u32(&c), 0x12345678);
    assert_true(hth_cursor_u64(&c) == 0x8123456789abcdefull);
    assert_int_equal(hth_cursor_left(&c), 1);
    assert_true(hth_cursor_ok(&c));
}

static void a_read_past_the_end_fails_and_stays_failed(void **state) {
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5};
    hth_cursor c = hth_cursor_make(bytes, sizeof bytes);
    assert_int_equal(hth_cursor_u8(&c), 1);
    assert_int_equal(hth_cursor_u64(&c), 0);
    assert_false(hth_cursor_ok(&c));
    assert_int_equal(c.fail_pos, 1);
    assert_int_equal(hth_cursor_u8(&c), 0); // although one byte would be there
    assert_int_equal(c.fail_pos, 1);
    assert_int_equal(c.pos, 1);
}

static void reads_exactly_to_the_end(void **state) {
    (void)state;
    const uint8_t bytes[] = {9, 8, 7};
    hth_cursor c = hth_cursor_make(bytes, sizeof bytes);
    assert_ptr_equal(hth_cursor_bytes(&c, 3), bytes);
    assert_non_null(hth_cursor_bytes(&c, 0));
    assert_true(hth_cursor_ok(&c));
    assert_null(hth_cursor_bytes(&c, 1));
    assert_false(hth_cursor_ok(&c));
}

static void a_length_near_two_to_the_64_does_not_wrap(void **state) {
    (void)state;
    const uint8_t bytes[] = {9, 8, 7};
    hth_cursor c = hth_cursor_make(bytes, sizeof bytes);
    assert_int_equal(hth_cursor_u8(&c), 9);
    assert_null(hth_cursor_bytes(&c, UINT64_MAX));
    assert_false(hth_cursor_ok(&c));
}

static void checked_addition_refuses_only_overflow(void **state) {
    (void)state;
    uint64_t r = 7;
    assert_true(hth_add_u64(UINT64_MAX - 1, 1, &r));
    assert_true(r == UINT64_MAX);
    assert_false(hth_add_u64(UINT64_MAX, 1, &r));
    assert_true(r == UINT64_MAX); // untouched
    size_t s = 7;
    assert_true(hth_add_size(SIZE_MAX, 0, &s));
    assert_false(hth_add_size(SIZE_MAX, 1, &s));
    assert_true(s == SIZE_MAX);
}

static void checked_multiplication_refuses_only_overflow(void **state) {
    (void)state;
    uint64_t r = 7;
    assert_true(hth_mul_u64(0xffffffff, 0x100000001, &r));
    assert_true(r == UINT64_MAX);
    assert_false(hth_mul_u64(0x100000000, 0x100000000, &r));
    assert_true(r == UINT64_MAX);
    assert_true(hth_mul_u64(UINT64_MAX, 0, &r) && r == 0);
    assert_true(hth_mul_u64(0, UINT64_MAX, &r) && r == 0);
    size_t s = 7;
    assert_false(hth_mul_size(SIZE_MAX / 2 + 1, 2, &s));
    assert_true(s == 7);
    assert_true(hth_mul_size(SIZE_MAX / 2, 2, &s));
}

static void alignment_rounds_up_and_refuses_odd_powers(void **state) {
    (void)state;
    uint64_t r = 7;
    assert_true(hth_align_u64(0, 32, &r) && r == 0);
    assert_true(hth_align_u64(1, 32, &r) && r == 32);
    assert_true(hth_align_u64(32, 32, &r) && r == 32);
    assert_true(hth_align_u64(33, 1, &r) && r == 33);
    assert_false(hth_align_u64(33, 0, &r));
    assert_false(hth_align_u64(33, 24, &r));
    assert_false(hth_align_u64(UINT64_MAX - 3, 32, &r));
    assert_true(r == 33);
}

static void ranges_never_wrap(void **state) {
    (void)state;
    assert_true(hth_in_range(0, 10, 10));
    assert_true(hth_in_range(10, 0, 10));
    assert_false(hth_in_range(11, 0, 10));
    assert_false(hth_in_range(1, 10, 10));
    assert_false(hth_in_range(UINT64_MAX, 2, 10));
    assert_false(hth_in_range(2, UINT64_MAX, 10));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_little_endian_numbers_in_order),
        cmocka_unit_test(a_read_past_the_end_fails_and_stays_failed),
        cmocka_unit_test(reads_exactly_to_the_end),
        cmocka_unit_test(a_length_near_two_to_the_64_does_not_wrap),
        cmocka_unit_test(checked_addition_refuses_only_overflow),
        cmocka_unit_test(checked_multiplication_refuses_only_overflow),
        cmocka_unit_test(alignment_rounds_up_and_refuses_odd_powers),
        cmocka_unit_test(ranges_never_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
