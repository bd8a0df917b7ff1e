// Kernels of recurrent mixers: the bits of the reference at every level, and what the reference computes.
#include "check.h"

enum { MAX_TAIL = 5, MAX_WIDTH = 300, MAX_ROWS = 40 };

static const int64_t widths[] = {0, 1, 3, 8, 15, 16, 17, 64, 65, 128, 200, 257};

#define FOR_EACH_WIDTH(n) \
    for (size_t i_width_ = 0, n; i_width_ < HTH_COUNT(widths) && (n = (size_t)widths[i_width_], true); i_width_++)

static void convolutions_have_the_bits_of_the_reference_at_every_level(void **state) {
    (void)state;
    static float want[MAX_WIDTH];
    hth_kernels k, ref;
    const char *level;
    hth_kernels_fill(&ref, 0);
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        for (int64_t n_tail = 0; n_tail <= MAX_TAIL; n_tail++)
            FOR_EACH_WIDTH(width) {
                const int64_t n = (int64_t)width;
                float *x = guarded_floats(0, n, side), *tail = guarded_floats(1, n_tail * n, side);
                float *w = guarded_floats(2, (n_tail + 1) * n, side), *bias = guarded_floats(3, n, side);
                fill_normal(x, n);
                fill_normal(tail, n_tail * n);
                fill_normal(w, (n_tail + 1) * n);
                fill_normal(bias, n);
                const float *b = random_bits() % 2 ? bias : NULL;
                ref.conv(want, x, tail, n, w, n, b, n_tail, n);
                k.conv(x, x, tail, n, w, n, b, n_tail, n);
                assert_same_floats(level, "conv", x, want, n);
            }
}

static void the_delta_rule_has_the_bits_of_the_reference_at_every_level(void **state) {
    (void)state;
    static float want[MAX_WIDTH], want_to[MAX_ROWS * MAX_WIDTH];
    hth_kernels k, ref;
    const char *level;
    hth_kernels_fill(&ref, 0);
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        for (int64_t n_row = 1; n_row <= MAX_ROWS; n_row += 13)
            FOR_EACH_WIDTH(width) {
                const int64_t n = (int64_t)width, step = random_bits() % 2;
                float *from = guarded_floats(0, n_row * n, side), *kqg = guarded_floats(1, 3 * n_row, side);
                float *v = guarded_floats(2, n, side), *out = guarded_floats(3, n, side);
                float *to = guarded_floats(4, n_row * n, side);
                fill_normal(from, n_row * n);
                fill_normal(kqg, 3 * n_row);
                fill_normal(v, n);
                ref.delta(want_to, from, n, kqg, kqg + n_row, kqg + 2 * n_row, step, v, 0.7f, want, n_row, n);
                k.delta(to, from, n, kqg, kqg + n_row, kqg + 2 * n_row, step, v, 0.7f, out, n_row, n);
                assert_same_floats(level, "delta out", out, want, n);
                assert_same_floats(level, "delta state", to, want_to, n_row * n);
                k.delta(from, from, n, kqg, kqg + n_row, kqg + 2 * n_row, step, v, 0.7f, v, n_row, n); // in place
                assert_same_floats(level, "delta out in place", v, want, n);
                assert_same_floats(level, "delta state in place", from, want_to, n_row * n);
            }
}

static void rwkv_has_the_bits_of_the_reference_at_every_level(void **state) {
    (void)state;
    static float want[MAX_WIDTH], want_to[MAX_ROWS * MAX_WIDTH];
    hth_kernels k, ref;
    const char *level;
    hth_kernels_fill(&ref, 0);
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        for (int64_t n_row = 1; n_row <= MAX_ROWS; n_row += 13)
            FOR_EACH_WIDTH(width) {
                const int64_t n = (int64_t)width;
                float *from = guarded_floats(0, n_row * n, side), *x = guarded_floats(1, 5 * n_row, side);
                float *v = guarded_floats(2, n, side), *out = guarded_floats(3, n, side);
                float *to = guarded_floats(4, n_row * n, side);
                fill_normal(from, n_row * n);
                fill_normal(x, 5 * n_row);
                fill_normal(v, n);
                const float *b = x + n_row, *t = b + n_row, *g = t + n_row, *q = g + n_row;
                ref.wkv(want_to, from, n, x, b, t, g, q, v, want, n_row, n);
                k.wkv(to, from, n, x, b, t, g, q, v, out, n_row, n);
                assert_same_floats(level, "wkv out", out, want, n);
                assert_same_floats(level, "wkv state", to, want_to, n_row * n);
                k.wkv(from, from, n, x, b, t, g, q, v, out, n_row, n); // in place
                assert_same_floats(level, "wkv out in place", out, want, n);
                assert_same_floats(level, "wkv state in place", from, want_to, n_row * n);
            }
}

// What a unit key held moves to another place, decays stay apart by row, and the new value lies under its own key.
static void rwkv_takes_out_puts_in_and_decays(void **state) {
    (void)state;
    const hth_kernels *k = hth_kernels_get();
    float s[3 * 2] = {5, 6, 7, 8, 9, 10}, out[2];
    const float key[3] = {1, 0, 0}, from[3] = {0.5f, 0, 0}, to[3] = {0, 0, 2}, keep[3] = {1, 0.5f, 0}, ask[3] = {1, 10, 100};
    const float v[2] = {1, -1}, want[6] = {2.5f, 3, 3.5f, 4, 2, -2};
    k->wkv(s, s, 2, key, from, to, keep, ask, v, out, 3, 2);
    for (int i = 0; i < 6; i++) assert_true(s[i] == want[i]);
    assert_true(out[0] == 237.5f && out[1] == -157);
}

static void the_scan_has_the_bits_of_the_reference_at_every_level(void **state) {
    (void)state;
    static float want[MAX_WIDTH], want_to[MAX_ROWS * MAX_WIDTH];
    hth_kernels k, ref;
    const char *level;
    hth_kernels_fill(&ref, 0);
    FOR_EACH_LEVEL(k, level)
    for (guard_side side = 0; side < GUARD_SIDES; side++)
        for (int64_t n_row = 1; n_row <= MAX_ROWS; n_row += 13)
            FOR_EACH_WIDTH(width) {
                const int64_t n = (int64_t)width;
                float *from = guarded_floats(0, n_row * n, side), *bc = guarded_floats(1, 2 * n_row, side);
                float *x = guarded_floats(2, n, side), *y = guarded_floats(3, n, side);
                float *to = guarded_floats(4, n_row * n, side);
                fill_normal(from, n_row * n);
                fill_normal(bc, 2 * n_row);
                fill_normal(x, n);
                ref.scan(want_to, from, bc, bc + n_row, 0.7f, n_row, n, x, want);
                k.scan(to, from, bc, bc + n_row, 0.7f, n_row, n, x, y);
                assert_same_floats(level, "scan out", y, want, n);
                assert_same_floats(level, "scan state", to, want_to, n_row * n);
                k.scan(from, from, bc, bc + n_row, 0.7f, n_row, n, x, x); // in place
                assert_same_floats(level, "scan out in place", x, want, n);
                assert_same_floats(level, "scan state in place", from, want_to, n_row * n);
            }
}

static void the_scan_decays_takes_in_and_gives_out(void **state) {
    (void)state;
    const hth_kernels *k = hth_kernels_get();
    float s[2 * 3] = {8, 0, 0, 0, 4, 0}, y[3];
    const float b[2] = {1, 2}, c[2] = {10, 100}, x[3] = {0, 1, 3};
    k->scan(s, s, b, c, 0.5f, 2, 3, x, y);
    const float want[2 * 3] = {4, 1, 3, 0, 4, 6};
    for (int i = 0; i < 6; i++) assert_true(s[i] == want[i]);
    assert_true(y[0] == 40 && y[1] == 410 && y[2] == 630);
}

// With unit keys and beta 1 the state answers a key with the value that was stored under it last.
static void the_delta_rule_replaces_what_a_key_held(void **state) {
    (void)state;
    const hth_kernels *k = hth_kernels_get();
    float s[3 * 2] = {0}, out[2];
    const float keys[2][3] = {{1, 0, 0}, {0, 0, 1}}, values[2][2] = {{5, 6}, {7, 8}}, none = 1;
    for (int i = 0; i < 2; i++) k->delta(s, s, 2, keys[i], keys[i], &none, 0, values[i], 1, out, 3, 2);
    const float newer[2] = {-1, 2};
    k->delta(s, s, 2, keys[0], keys[0], &none, 0, newer, 1, out, 3, 2);
    assert_true(out[0] == -1 && out[1] == 2);
    k->delta(s, s, 2, keys[0], keys[1], &none, 0, newer, 0, out, 3, 2); // beta 0 stores nothing; the other key
    assert_true(out[0] == 7 && out[1] == 8);
    const float half = 0.5f;
    k->delta(s, s, 2, keys[0], keys[0], &half, 0, newer, 0, out, 3, 2);
    assert_true(out[0] == -0.5f && out[1] == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_have_the_bits_of_the_reference_at_every_level),
        cmocka_unit_test(the_delta_rule_has_the_bits_of_the_reference_at_every_level),
        cmocka_unit_test(the_delta_rule_replaces_what_a_key_held),
        cmocka_unit_test(rwkv_has_the_bits_of_the_reference_at_every_level),
        cmocka_unit_test(rwkv_takes_out_puts_in_and_decays),
        cmocka_unit_test(the_scan_has_the_bits_of_the_reference_at_every_level),
        cmocka_unit_test(the_scan_decays_takes_in_and_gives_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
