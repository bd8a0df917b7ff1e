// The cache of experts: what comes is the item's bytes, what is used most stays, what is held is never given up.
#include <stdlib.h>
#include <unistd.h>

#include "model/tier.h"
#include "os/file.h"
#include "unit/cmocka_all.h"

enum { N_ITEM = 64, N_PART = 2, N_TOGETHER = 4 };
static const uint64_t part_bytes[N_PART] = {5000, 301};

static char path[256];
static uint8_t file_bytes[N_ITEM * 5301 + 17];
static hth_tier_place places[N_ITEM * N_PART];

static int make_file(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hearth-tier-XXXXXX", base && *base ? base : "/tmp");
    if (close(mkstemp(path)) != 0) return -1;
    uint32_t v = 1;
    for (size_t i = 0; i < sizeof file_bytes; i++) file_bytes[i] = (uint8_t)((v = v * 1664525 + 1013904223) >> 24);
    for (uint64_t i = 0; i < N_ITEM; i++) { // the first parts of all, then the second ones
        places[i * N_PART] = (hth_tier_place){0, 17 + i * part_bytes[0]};
        places[i * N_PART + 1] = (hth_tier_place){0, 17 + N_ITEM * part_bytes[0] + i * part_bytes[1]};
    }
    hth_err err;
    return hth_file_write(path, file_bytes, sizeof file_bytes, &err) == HTH_OK ? 0 : -1;
}

static int remove_file(void **state) {
    (void)state;
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return unlink(path) == 0 && stats.n_blocks == 0 ? 0 : -1;
}

// A tier with one table and n_slot slots.
static hth_tier *open_tier(int64_t n_slot) {
    const char *const paths[] = {path};
    const hth_tier_table table = {.name = "layer 7", .item = "expert", .n_item = N_ITEM, .n_part = N_PART,
                                  .n_together = N_TOGETHER, .part_bytes = {part_bytes[0], part_bytes[1]}, .places = places};
    hth_tier *t;
    hth_err err;
    int32_t number;
    if (hth_tier_new(paths, 1, 3, &t, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_tier_add(t, &table, &number, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(number, 0);
    const uint64_t one = hth_tier_max_bytes(t) / N_ITEM;
    assert_int_equal(hth_tier_min_bytes(t), N_TOGETHER * one);
    assert_int_equal(hth_tier_make_room(t, N_TOGETHER * one - 1, &err), HTH_ERR_LIMIT);
    if (hth_tier_make_room(t, (uint64_t)n_slot * one, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_tier_get_stats(t).n_slot, n_slot);
    return t;
}

// A step that uses items [first, last) one after the other.
static void use(hth_tier *t, int32_t first, int32_t last) {
    hth_err err;
    hth_tier_enter(t, 0);
    for (int32_t i = first; i < last; i++) {
        assert_true(hth_tier_begin(t, 0, i));
        if (hth_tier_wait(t, 0, i, &err) != HTH_OK) fail_msg("%s", err.msg);
        hth_tier_end(t, 0, i);
    }
    hth_tier_leave(t);
}

static int count_present(const hth_tier *t, int32_t first, int32_t last) {
    int n = 0;
    for (int32_t i = first; i < last; i++) n += hth_tier_has(t, 0, i);
    return n;
}

static void an_item_that_was_waited_for_has_its_bytes_wherever_it_lies(void **state) {
    (void)state;
    hth_tier *t = open_tier(10);
    hth_err err;
    hth_ref refs[3][N_ITEM] = {0};
    assert_int_equal(hth_tier_follow(t, 0, 0, 0, refs[0], &err), HTH_OK);
    assert_int_equal(hth_tier_follow(t, 0, 0, 4999, refs[1], &err), HTH_OK);
    assert_int_equal(hth_tier_follow(t, 0, 1, 0, refs[2], &err), HTH_OK);
    assert_int_equal(hth_tier_follow(t, 0, 2, 0, refs[2], &err), HTH_ERR_RANGE);
    uint32_t v = 5;
    for (int turn = 0; turn < 200; turn++) {
        int32_t items[5];
        hth_tier_enter(t, 0);
        for (int k = 0; k < 5; k++) { // different ones
            items[k] = (int32_t)((v = v * 1664525 + 1013904223) >> 16) % (N_ITEM / 5) * 5 + k;
            if (items[k] >= N_ITEM) items[k] -= 5;
            assert_true(hth_tier_begin(t, 0, items[k]));
        }
        for (int k = 5; k-- > 0;) {
            const int32_t i = items[k];
            if (hth_tier_wait(t, 0, i, &err) != HTH_OK) fail_msg("%s", err.msg);
            assert_memory_equal(hth_ref_host(refs[0][i]), file_bytes + places[i * N_PART].off, part_bytes[0]);
            assert_int_equal(*hth_ref_host(refs[1][i]), file_bytes[places[i * N_PART].off + 4999]);
            assert_memory_equal(hth_ref_host(refs[2][i]), file_bytes + places[i * N_PART + 1].off, part_bytes[1]);
            hth_tier_end(t, 0, i);
        }
        hth_tier_leave(t);
    }
    hth_tier_free(t);
}

static void with_a_slot_for_each_item_nothing_is_read_twice(void **state) {
    (void)state;
    hth_tier *t = open_tier(N_ITEM);
    for (int i = 0; i < 3; i++) use(t, 0, N_ITEM);
    const hth_tier_stats s = hth_tier_get_stats(t);
    assert_int_equal(s.n_used, 3 * N_ITEM);
    assert_int_equal(s.n_read, N_ITEM);
    hth_tier_free(t);
}

static void what_every_step_uses_stays_while_everything_passes_by(void **state) {
    (void)state;
    hth_tier *t = open_tier(24); // a quarter, or 2 * N_TOGETHER, take what passes by
    for (int i = 0; i < 10; i++) use(t, 40, 50);
    for (int i = 0; i < 3; i++) {
        use(t, 0, N_ITEM);
        assert_int_equal(count_present(t, 40, 50), 10);
    }
    hth_tier_free(t);
}

static void repeated_passes_find_what_fits_and_do_not_drive_it_out(void **state) {
    (void)state;
    hth_tier *t = open_tier(32);
    use(t, 0, N_ITEM);
    const uint64_t before = hth_tier_get_stats(t).n_read;
    for (int i = 0; i < 4; i++) use(t, 0, N_ITEM);
    const uint64_t missed = hth_tier_get_stats(t).n_read - before; // in the order of last use: all 4 * N_ITEM
    assert_true(missed <= 4 * (N_ITEM - 24));
    hth_tier_free(t);
}

static void what_is_used_now_takes_the_place_of_what_was_used_once(void **state) {
    (void)state;
    hth_tier *t = open_tier(16);
    for (int i = 0; i < 6; i++) use(t, 0, 8);
    for (int i = 0; i < 12; i++) use(t, 20, 28);
    use(t, 30, N_ITEM);
    assert_int_equal(count_present(t, 20, 28), 8);
    hth_tier_free(t);
}

static void what_is_held_is_never_given_up(void **state) {
    (void)state;
    hth_tier *t = open_tier(8);
    hth_err err;
    hth_ref refs[N_ITEM] = {0};
    assert_int_equal(hth_tier_follow(t, 0, 0, 0, refs, &err), HTH_OK);
    hth_tier_enter(t, 0);
    int32_t n = 0;
    while (hth_tier_begin(t, 0, n)) n++;
    assert_int_equal(n, 8);
    for (int32_t i = 0; i < n; i++) {
        assert_int_equal(hth_tier_wait(t, 0, i, &err), HTH_OK);
        assert_memory_equal(hth_ref_host(refs[i]), file_bytes + places[i * N_PART].off, part_bytes[0]);
    }
    hth_tier_end(t, 0, 3);
    assert_true(hth_tier_begin(t, 0, 60)); // in the place of 3
    assert_false(hth_tier_has(t, 0, 3));
    assert_false(hth_tier_begin(t, 0, 61));
    assert_int_equal(hth_tier_wait(t, 0, 60, &err), HTH_OK);
    hth_tier_leave(t);
    hth_tier_free(t);
}

static void an_item_that_cannot_be_read_is_named_and_tried_again(void **state) {
    (void)state;
    hth_tier *t = open_tier(8);
    hth_err err;
    assert_int_equal(truncate(path, (off_t)places[50 * N_PART].off + 100), 0);
    hth_tier_enter(t, 0);
    assert_true(hth_tier_begin(t, 0, 50));
    assert_int_equal(hth_tier_wait(t, 0, 50, &err), HTH_ERR_IO);
    assert_non_null(strstr(err.msg, "layer 7, expert 50"));
    assert_non_null(strstr(err.msg, path));
    hth_tier_end(t, 0, 50);
    hth_tier_leave(t);
    // hth_file_write makes a new file: the old one, which the tier has open, must come back
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(file_bytes, 1, sizeof file_bytes, f), sizeof file_bytes);
    assert_int_equal(fclose(f), 0);
    use(t, 50, 51);
    hth_tier_free(t);
}

static void tables_of_other_sizes_have_slots_of_their_own(void **state) {
    (void)state;
    const char *const paths[] = {path};
    hth_tier *t;
    hth_err err;
    int32_t number;
    hth_tier_table table = {.name = "a", .item = "row", .n_item = 20, .n_part = 1, .n_together = 2, .part_bytes = {90000},
                            .places = places};
    hth_tier_place big[20], small[20];
    for (int i = 0; i < 20; i++) big[i] = (hth_tier_place){0, (uint64_t)i * 11}, small[i] = (hth_tier_place){0, (uint64_t)i * 10001};
    assert_int_equal(hth_tier_new(paths, 1, 2, &t, &err), HTH_OK);
    table.places = big;
    assert_int_equal(hth_tier_add(t, &table, &number, &err), HTH_OK);
    table.places = small;
    table.part_bytes[0] = 100;
    assert_int_equal(hth_tier_add(t, &table, &number, &err), HTH_OK);
    const uint64_t room = hth_tier_max_bytes(t) / 2;
    assert_int_equal(hth_tier_make_room(t, room, &err), HTH_OK);
    const hth_tier_stats s = hth_tier_get_stats(t);
    assert_true(s.slot_bytes <= room && s.slot_bytes > room - 200000 && s.n_slot >= 18);
    hth_ref refs[20];
    assert_int_equal(hth_tier_follow(t, 1, 0, 0, refs, &err), HTH_OK);
    hth_tier_enter(t, 1);
    for (int32_t i = 0; i < 20; i++) {
        assert_true(hth_tier_begin(t, 1, i));
        assert_int_equal(hth_tier_wait(t, 1, i, &err), HTH_OK);
        assert_memory_equal(hth_ref_host(refs[i]), file_bytes + i * 10001, 100);
        hth_tier_end(t, 1, i);
    }
    hth_tier_leave(t);
    hth_tier_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_that_was_waited_for_has_its_bytes_wherever_it_lies),
        cmocka_unit_test(with_a_slot_for_each_item_nothing_is_read_twice),
        cmocka_unit_test(what_every_step_uses_stays_while_everything_passes_by),
        cmocka_unit_test(repeated_passes_find_what_fits_and_do_not_drive_it_out),
        cmocka_unit_test(what_is_used_now_takes_the_place_of_what_was_used_once),
        cmocka_unit_test(what_is_held_is_never_given_up),
        cmocka_unit_test(an_item_that_cannot_be_read_is_named_and_tried_again),
        cmocka_unit_test(tables_of_other_sizes_have_slots_of_their_own),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
