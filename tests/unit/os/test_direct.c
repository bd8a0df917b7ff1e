// Explicit reads: what comes is what the file has there, and what fails is an error of its own.
#include <stdlib.h>
#include <unistd.h>

#include "os/direct.h"
#include "os/file.h"
#include "unit/cmocka_all.h"

enum { N_BYTE = (3 << 20) + 1234, N_READ = 40 };

static char path[256];
static uint8_t *bytes; // [N_BYTE] of the file

static void write_file(size_t n) {
    hth_err err;
    if (hth_file_write(path, bytes, n, &err) != HTH_OK) fail_msg("%s", err.msg);
}

static int make_file(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hearth-direct-XXXXXX", base && *base ? base : "/tmp");
    if (close(mkstemp(path)) != 0) return -1;
    bytes = malloc(N_BYTE);
    if (!bytes) return -1;
    uint32_t v = 1;
    for (size_t i = 0; i < N_BYTE; i++) bytes[i] = (uint8_t)((v = v * 1664525 + 1013904223) >> 24);
    write_file(N_BYTE);
    return 0;
}

static int remove_file(void **state) {
    (void)state;
    free(bytes);
    hth_mem_stats stats;
    hth_mem_get_stats(&stats);
    return unlink(path) == 0 && stats.n_blocks == 0 ? 0 : -1;
}

typedef struct setup {
    hth_direct *file;
    hth_reader *reader;
} setup;

static setup open_all(int n_thread) {
    setup s;
    hth_err err;
    if (hth_direct_open(path, &s.file, &err) != HTH_OK) fail_msg("%s", err.msg);
    if (hth_reader_new(n_thread, &s.reader, &err) != HTH_OK) fail_msg("%s", err.msg);
    return s;
}

static void close_all(setup *s) {
    hth_reader_free(s->reader);
    hth_direct_close(s->file);
}

// Asks for [off, off + n); *lead bytes come before it. The memory is the caller's (free).
static uint8_t *ask(const setup *s, hth_direct_read *r, uint64_t off, uint64_t n, uint64_t *lead) {
    const uint64_t room = hth_direct_cover(off, n, lead);
    uint8_t *to = aligned_alloc(HTH_DIRECT_ALIGN, (size_t)room);
    assert_non_null(to);
    *r = (hth_direct_read){.file = s->file, .off = off - *lead, .n_bytes = n + *lead, .to = to};
    hth_reader_ask(s->reader, r);
    return to;
}

static void reads_bring_the_bytes_of_any_range(void **state) {
    static const uint64_t ranges[][2] = {{0, 1},         {0, N_BYTE},          {4095, 2},           {4096, 4096},
                                         {1, N_BYTE - 1}, {N_BYTE - 1, 1},      {(1 << 20) - 1, 2}, {1 << 20, 2 << 20},
                                         {N_BYTE - 1234, 1234}, {777777, 1500000}};
    (void)state;
    for (int n_thread = 1; n_thread <= 5; n_thread += 2) {
        setup s = open_all(n_thread);
        for (size_t i = 0; i < HTH_COUNT(ranges); i++) {
            hth_direct_read r;
            hth_err err;
            uint64_t lead;
            uint8_t *to = ask(&s, &r, ranges[i][0], ranges[i][1], &lead);
            if (hth_reader_wait(s.reader, &r, &err) != HTH_OK) fail_msg("%s", err.msg);
            assert_memory_equal(to + lead, bytes + ranges[i][0], ranges[i][1]);
            free(to);
        }
        close_all(&s);
    }
}

static void many_reads_at_once_each_bring_their_own_bytes(void **state) {
    (void)state;
    setup s = open_all(4);
    static hth_direct_read reads[N_READ];
    uint8_t *to[N_READ];
    uint64_t lead[N_READ];
    for (uint64_t i = 0; i < N_READ; i++) to[i] = ask(&s, &reads[i], i * 70001, 50000 + i * 997, &lead[i]);
    for (uint64_t i = N_READ; i-- > 0;) {
        hth_err err;
        if (hth_reader_wait(s.reader, &reads[i], &err) != HTH_OK) fail_msg("%s", err.msg);
        assert_memory_equal(to[i] + lead[i], bytes + i * 70001, 50000 + i * 997);
        free(to[i]);
    }
    const hth_reader_stats stats = hth_reader_get_stats(s.reader);
    assert_true(stats.n_bytes >= (uint64_t)N_READ * 50000 && stats.busy_ns > 0);
    close_all(&s);
}

static void a_file_that_became_shorter_is_an_error_that_names_it(void **state) {
    (void)state;
    setup s = open_all(2);
    assert_int_equal(truncate(path, 100000), 0);
    hth_direct_read r;
    hth_err err;
    uint64_t lead;
    uint8_t *to = ask(&s, &r, 99000, 2000000, &lead);
    assert_int_equal(hth_reader_wait(s.reader, &r, &err), HTH_ERR_IO);
    assert_non_null(strstr(err.msg, path));
    assert_non_null(strstr(err.msg, "shorter"));
    free(to);
    to = ask(&s, &r, 99000, 1000, &lead); // what is still there can be read
    assert_int_equal(hth_reader_wait(s.reader, &r, &err), HTH_OK);
    assert_memory_equal(to + lead, bytes + 99000, 1000);
    free(to);
    close_all(&s);
    write_file(N_BYTE);
}

static void a_piece_that_fails_fails_its_read_and_no_other(void **state) {
    (void)state;
    setup s = open_all(1);
    hth_direct_read bad, good;
    hth_err err;
    uint64_t lead_bad, lead_good;
    hth_direct_fail_at(2); // the second of three pieces
    uint8_t *a = ask(&s, &bad, 0, 3 << 20, &lead_bad), *b = ask(&s, &good, 5000, 5000, &lead_good);
    assert_int_equal(hth_reader_wait(s.reader, &good, &err), HTH_OK);
    assert_memory_equal(b + lead_good, bytes + 5000, 5000);
    assert_int_equal(hth_reader_wait(s.reader, &bad, &err), HTH_ERR_IO);
    assert_non_null(strstr(err.msg, "disk failed"));
    hth_direct_fail_at(0);
    free(a);
    free(b);
    close_all(&s);
}

static void a_part_of_a_map_can_be_made_our_own(void **state) {
    (void)state;
    enum { FIRST = 1 << 16, LEN = 2 << 16 };
    hth_file_map map;
    hth_err err;
    uint8_t *to;
    if (hth_file_map_open(path, &map, &err) != HTH_OK) fail_msg("%s", err.msg);
    assert_int_equal(hth_file_map_own(&map, FIRST + 1, LEN, &to, &err), HTH_ERR_RANGE);
    assert_int_equal(hth_file_map_own(&map, FIRST, N_BYTE, &to, &err), HTH_ERR_RANGE);
    if (hth_file_map_own(&map, FIRST, LEN, &to, &err) != HTH_OK) fail_msg("%s", err.msg);
    memset(to, 7, LEN);
    hth_file_map_seal(&map, FIRST, LEN);
    for (int i = 0; i < LEN; i++) assert_int_equal(map.data[FIRST + i], 7);
    assert_memory_equal(map.data, bytes, FIRST);
    assert_memory_equal(map.data + FIRST + LEN, bytes + FIRST + LEN, N_BYTE - FIRST - LEN);
    // The end of the file, which is no whole page.
    const uint64_t last = N_BYTE / (1 << 16) * (1 << 16);
    if (hth_file_map_own(&map, last, N_BYTE - last, &to, &err) != HTH_OK) fail_msg("%s", err.msg);
    memcpy(to, bytes + last, N_BYTE - last);
    hth_file_map_seal(&map, last, N_BYTE - last);
    assert_int_equal(truncate(path, 0), 0); // it no longer matters to what is ours
    assert_int_equal(map.data[FIRST], 7);
    assert_memory_equal(map.data + last, bytes + last, N_BYTE - last);
    hth_file_map_close(&map);
    write_file(N_BYTE);
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    hth_err err;
    hth_direct *f;
    assert_int_equal(hth_direct_open("/", &f, &err), HTH_ERR_IO);
    assert_int_equal(hth_direct_open("/no/such/file", &f, &err), HTH_ERR_IO);
    hth_reader *r;
    assert_int_equal(hth_reader_new(0, &r, &err), HTH_ERR_RANGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_bring_the_bytes_of_any_range),
        cmocka_unit_test(many_reads_at_once_each_bring_their_own_bytes),
        cmocka_unit_test(a_file_that_became_shorter_is_an_error_that_names_it),
        cmocka_unit_test(a_piece_that_fails_fails_its_read_and_no_other),
        cmocka_unit_test(a_part_of_a_map_can_be_made_our_own),
        cmocka_unit_test(what_is_no_file_is_refused),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
