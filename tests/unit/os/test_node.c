// The nodes of this machine, as far as it has any: what is asked for is done, and nothing else.
#include "os/cpu.h"
#include "os/node.h"
#include "unit/cmocka_all.h"

static void a_thread_is_tied_to_a_node_and_freed_again(void **state) {
    (void)state;
    const int before = hth_cpu_count();
    for (int i = 0; i < hth_node_count(); i++) {
        assert_true(hth_node_run_on(i));
        assert_in_range(hth_cpu_count(), 1, before);
    }
    assert_true(hth_node_run_on(HTH_NODE_ALL));
    assert_int_equal(hth_cpu_count(), before);
}

static void nodes_that_are_not_there_are_refused(void **state) {
    char memory[16];
    (void)state;
    assert_in_range(hth_node_count(), 1, HTH_NODE_MAX);
    assert_false(hth_node_run_on(hth_node_count()));
    assert_false(hth_node_run_on(-2));
    assert_false(hth_node_place(memory, sizeof memory, hth_node_count()));
    assert_false(hth_node_place(memory, sizeof memory, -2));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thread_is_tied_to_a_node_and_freed_again),
                                       cmocka_unit_test(nodes_that_are_not_there_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
