// The allocator front and the arena: counting, limits, injected failures.
#include "base/arena.h"
#include "base/mem.h"
#include "unit/cmocka_all.h"

static hth_mem_stats stats(void) {
    hth_mem_stats s;
    hth_mem_get_stats(&s);
    return s;
}

// Every test leaves nothing allocated and no limit behind.
static int check_clean(void **state) {
    (void)state;
    hth_mem_set_limit(0);
    hth_mem_fail_at(0, false);
    return stats().n_blocks == 0 && stats().total_bytes == 0 ? 0 : -1;
}

static void counts_live_bytes_by_tag(void **state) {
    (void)state;
    void *a = hth_alloc(HTH_MEM_TEXT, 100), *b = hth_calloc(HTH_MEM_STATE, 10, 7);
    void *c = hth_alloc_aligned(HTH_MEM_TEXT, 1000);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_int_equal(stats().n_bytes[HTH_MEM_TEXT], 1100);
    assert_int_equal(stats().n_bytes[HTH_MEM_STATE], 70);
    assert_int_equal(stats().total_bytes, 1170);
    assert_int_equal(stats().n_blocks, 3);
    assert_true(stats().peak_bytes >= 1170);
    hth_free(a);
    assert_int_equal(stats().n_bytes[HTH_MEM_TEXT], 1000);
    hth_free(b);
    hth_free(c);
    hth_free(NULL);
}

static void realloc_moves_the_count_from_tag_to_tag(void **state) {
    (void)state;
    char *p = hth_realloc(HTH_MEM_TEXT, NULL, 5);
    assert_non_null(p);
    memcpy(p, "four", 5);
    char *q = hth_realloc(HTH_MEM_MODEL, p, 50000);
    assert_non_null(q);
    assert_string_equal(q, "four");
    assert_int_equal(stats().n_bytes[HTH_MEM_TEXT], 0);
    assert_int_equal(stats().n_bytes[HTH_MEM_MODEL], 50000);
    q = hth_realloc(HTH_MEM_MODEL, q, 3);
    assert_non_null(q);
    assert_int_equal(stats().total_bytes, 3);
    assert_int_equal(stats().n_blocks, 1);
    hth_free(q);
}

static void blocks_are_aligned_and_usable_at_every_size(void **state) {
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = hth_alloc(HTH_MEM_MISC, n), *q = hth_alloc_aligned(HTH_MEM_MISC, n);
        unsigned char *z = hth_calloc(HTH_MEM_MISC, n, 1);
        assert_true(p && q && z);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_int_equal((uintptr_t)q % 64, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(z[i], 0);
        memset(p, 0xa5, n);
        memset(q, 0x5a, n);
        hth_free(p);
        hth_free(q);
        hth_free(z);
    }
}

static void a_size_that_overflows_is_refused(void **state) {
    (void)state;
    volatile size_t most = SIZE_MAX;
    assert_null(hth_alloc(HTH_MEM_MISC, most));
    assert_null(hth_alloc_aligned(HTH_MEM_MISC, most - 20));
    assert_null(hth_calloc(HTH_MEM_MISC, most / 2, 3));
    assert_int_equal(stats().total_bytes, 0);
}

static void the_limit_holds_and_a_refused_block_costs_nothing(void **state) {
    (void)state;
    hth_mem_set_limit(1000);
    void *a = hth_alloc(HTH_MEM_MISC, 600);
    assert_non_null(a);
    assert_null(hth_alloc(HTH_MEM_MISC, 401));
    assert_int_equal(stats().total_bytes, 600);
    void *b = hth_alloc(HTH_MEM_MISC, 400);
    assert_non_null(b);
    assert_null(hth_realloc(HTH_MEM_MISC, b, 401));
    assert_int_equal(stats().total_bytes, 1000);
    void *c = hth_realloc(HTH_MEM_MISC, a, 100); // smaller is always possible
    assert_non_null(c);
    assert_int_equal(stats().total_bytes, 500);
    void *d = hth_realloc(HTH_MEM_MISC, b, 900); // what grows counts by its growth
    assert_non_null(d);
    hth_free(c);
    hth_free(d);
}

static void fails_the_nth_allocation_only(void **state) {
    (void)state;
    hth_mem_fail_at(3, false);
    void *p[5];
    for (int i = 0; i < 5; i++) p[i] = hth_alloc(HTH_MEM_MISC, 8);
    for (int i = 0; i < 5; i++) assert_int_equal(p[i] == NULL, i == 2);
    assert_true(hth_mem_fail_hit());
    for (int i = 0; i < 5; i++) hth_free(p[i]);
}

static void sticky_fails_the_nth_and_all_after(void **state) {
    (void)state;
    hth_mem_fail_at(2, true);
    void *a = hth_alloc(HTH_MEM_MISC, 8);
    assert_non_null(a);
    assert_false(hth_mem_fail_hit());
    assert_null(hth_calloc(HTH_MEM_MISC, 1, 8));
    assert_null(hth_realloc(HTH_MEM_MISC, a, 4)); // even a smaller block; the old one stays
    assert_null(hth_alloc_aligned(HTH_MEM_MISC, 8));
    assert_true(hth_mem_fail_hit());
    hth_mem_fail_at(0, true);
    assert_false(hth_mem_fail_hit());
    void *b = hth_alloc(HTH_MEM_MISC, 8);
    assert_non_null(b);
    hth_free(a);
    hth_free(b);
}

static void grow_doubles_up_to_its_maximum(void **state) {
    (void)state;
    int *p = NULL;
    size_t cap = 0, before = stats().n_calls;
    for (int i = 0; i < 1000; i++) {
        assert_true(hth_grow(HTH_MEM_MISC, (void **)&p, &cap, (size_t)i + 1, sizeof *p, 1000));
        p[i] = i;
    }
    for (int i = 0; i < 1000; i++) assert_int_equal(p[i], i);
    assert_true(stats().n_calls - before < 12);
    assert_int_equal(cap, 1000);
    const int *same = p;
    assert_false(hth_grow(HTH_MEM_MISC, (void **)&p, &cap, 1001, sizeof *p, 1000));
    assert_ptr_equal(p, same);
    assert_int_equal(cap, 1000);
    hth_free(p);
}

static void the_arena_gives_zeroed_aligned_memory(void **state) {
    (void)state;
    hth_arena a;
    hth_arena_init(&a, HTH_MEM_FORMAT, 8u << 20);
    for (size_t n = 1; n < 3000; n += 7) {
        unsigned char *p = hth_arena_alloc(&a, n, 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_string_equal(hth_arena_strndup(&a, "hearthstone", 6), "hearth");
    assert_int_equal(stats().n_bytes[HTH_MEM_FORMAT], a.total_bytes);
    hth_arena_free(&a);
    assert_int_equal(stats().total_bytes, 0);
    assert_non_null(hth_arena_alloc(&a, 1, 1)); // usable again
    hth_arena_free(&a);
}

static void the_arena_never_passes_its_maximum(void **state) {
    (void)state;
    hth_arena a;
    hth_arena_init(&a, HTH_MEM_FORMAT, 10000);
    size_t n = 0;
    while (hth_arena_alloc(&a, 100, 1)) n += 112;
    assert_true(n > 9500 && n <= 10000); // and uses nearly all of it
    assert_true(a.total_bytes <= 10000);
    assert_null(hth_arena_alloc(&a, SIZE_MAX / 2, 3));
    assert_null(hth_arena_alloc(&a, SIZE_MAX, 1));
    assert_null(hth_arena_strndup(&a, "x", SIZE_MAX));
    hth_arena_free(&a);
}

static void a_failed_chunk_leaves_the_arena_whole(void **state) {
    (void)state;
    hth_arena a;
    hth_arena_init(&a, HTH_MEM_FORMAT, 1u << 20);
    char *p = hth_arena_strndup(&a, "kept", 4);
    assert_non_null(p);
    hth_mem_fail_at(1, false);
    assert_null(hth_arena_alloc(&a, 100000, 1));
    assert_non_null(hth_arena_alloc(&a, 100000, 1));
    assert_string_equal(p, "kept");
    hth_arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(counts_live_bytes_by_tag, check_clean),
        cmocka_unit_test_teardown(realloc_moves_the_count_from_tag_to_tag, check_clean),
        cmocka_unit_test_teardown(blocks_are_aligned_and_usable_at_every_size, check_clean),
        cmocka_unit_test_teardown(a_size_that_overflows_is_refused, check_clean),
        cmocka_unit_test_teardown(the_limit_holds_and_a_refused_block_costs_nothing, check_clean),
        cmocka_unit_test_teardown(fails_the_nth_allocation_only, check_clean),
        cmocka_unit_test_teardown(sticky_fails_the_nth_and_all_after, check_clean),
        cmocka_unit_test_teardown(grow_doubles_up_to_its_maximum, check_clean),
        cmocka_unit_test_teardown(the_arena_gives_zeroed_aligned_memory, check_clean),
        cmocka_unit_test_teardown(the_arena_never_passes_its_maximum, check_clean),
        cmocka_unit_test_teardown(a_failed_chunk_leaves_the_arena_whole, check_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
