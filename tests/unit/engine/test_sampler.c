// The sampler against distributions worked out by hand, a brute-force reference, and the generator's
// published answers.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/random.h"
#include "engine/sampler.h"

static hth_sampler_params plain(float temperature) {
    return (hth_sampler_params){.temperature = temperature, .top_p = 1};
}

static hth_sampler *make(hth_sampler_params p, int32_t n_vocab) {
    hth_sampler *s = NULL;
    hth_err err;
    assert_int_equal(hth_sampler_new(&p, n_vocab, &s, &err), HTH_OK);
    return s;
}

static int32_t pick(hth_sampler *s, const float *logits, int64_t pos) {
    int32_t token = -1;
    hth_err err;
    assert_int_equal(hth_sampler_pick(s, logits, pos, &token, &err), HTH_OK);
    return token;
}

// Random123's known answers for philox4x32, 10 rounds.
static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];
        hth_philox4x32(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

static void greedy_takes_the_greatest_and_ties_go_to_the_lower_id(void **state) {
    (void)state;
    const float logits[] = {1, 7, -INFINITY, 7, 3};
    hth_sampler *s = make(plain(0), 5);
    assert_int_equal(pick(s, logits, 0), 1);
    hth_sampler_free(s);
    hth_sampler_params p = plain(1);
    p.top_k = 1;
    s = make(p, 5);
    assert_int_equal(pick(s, logits, 9), 1);
    hth_sampler_free(s);
}

static void the_same_seed_and_position_give_the_same_token(void **state) {
    (void)state;
    float logits[100];
    for (int i = 0; i < 100; i++) logits[i] = (float)(i % 7);
    hth_sampler_params p = plain(1);
    p.seed = 42;
    hth_sampler *a = make(p, 100), *b = make(p, 100);
    p.seed = 43;
    hth_sampler *other = make(p, 100);
    int n_other = 0, n_pos = 0, last = pick(a, logits, 0);
    for (int64_t pos = 200; pos-- > 0;) { // backwards: history must not matter
        int32_t token = pick(a, logits, pos);
        assert_int_equal(token, pick(b, logits, pos));
        n_other += token != pick(other, logits, pos);
        n_pos += token != last;
        last = token;
    }
    assert_true(n_other > 150);
    assert_true(n_pos > 150);
    hth_sampler_free(a);
    hth_sampler_free(b);
    hth_sampler_free(other);
}

// Chi-square of n draws at positions 0..n-1 against expected shares.
static double chi_square(hth_sampler *s, const float *logits, const double *share, int n_vocab, int n) {
    int count[16] = {0};
    for (int i = 0; i < n; i++) count[pick(s, logits, i)]++;
    double chi = 0;
    for (int i = 0; i < n_vocab; i++) {
        if (share[i] == 0) {
            assert_int_equal(count[i], 0);
            continue;
        }
        double expected = share[i] * n;
        chi += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return chi;
}

// 50.0 is passed by chance once in 10 million seeds at 9 degrees of freedom; the seed is fixed.
static const double CHI_LIMIT = 50.0;
static const int N_DRAW = 200000;
static const float LOGITS[10] = {0.3f, 2.1f, -1.0f, 1.4f, 0.0f, 2.0f, -3.0f, 0.9f, 1.1f, -0.4f};

static void softmax(double temperature, const bool *kept, double *share) {
    double sum = 0;
    for (int i = 0; i < 10; i++) sum += share[i] = kept[i] ? exp((double)LOGITS[i] / temperature) : 0;
    for (int i = 0; i < 10; i++) share[i] /= sum;
}

static void draws_follow_the_distribution_at_any_temperature(void **state) {
    (void)state;
    const bool all[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const float temperatures[] = {0.5f, 1.0f, 2.0f};
    for (int i = 0; i < 3; i++) {
        double share[10];
        softmax((double)temperatures[i], all, share);
        hth_sampler *s = make(plain(temperatures[i]), 10);
        assert_true(chi_square(s, LOGITS, share, 10, N_DRAW) < CHI_LIMIT);
        softmax((double)temperatures[i] * 1.1, all, share); // the test can tell a tenth of temperature
        assert_true(chi_square(s, LOGITS, share, 10, N_DRAW) > CHI_LIMIT);
        hth_sampler_free(s);
    }
}

// What each filter keeps, by sorting everything: top-k, then top-p of what is left, then min-p.
static void filter_by_sorting(const float *logits, int n, hth_sampler_params p, bool *kept) {
    int *order = calloc((size_t)n, sizeof *order);
    assert_non_null(order);
    for (int i = 0; i < n; i++) {
        int at = i;
        while (at > 0 && logits[order[at - 1]] < logits[i]) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
        kept[i] = false;
    }
    int k = p.top_k > 0 && p.top_k < n ? p.top_k : n;
    double sum = 0, reached = 0, best = exp((double)logits[order[0]]);
    for (int i = 0; i < k; i++) sum += exp((double)logits[order[i]]);
    for (int i = 0; i < k; i++) {
        double w = exp((double)logits[order[i]]);
        if (w >= (double)p.min_p * best) kept[order[i]] = true;
        reached += w;
        if (p.top_p < 1 && reached >= (double)p.top_p * sum) break;
    }
    free(order);
}

static void filters_keep_what_sorting_everything_would_keep(void **state) {
    (void)state;
    static const struct {
        int32_t top_k;
        float top_p, min_p;
    } cases[] = {{3, 1, 0},     {0, 0.8f, 0},    {0, 1, 0.2f},       {5, 0.9f, 0.1f},   {10, 0.5f, 0},
                 {99, 1, 0.9f}, {0, 0.0f, 0.0f}, {4, 0.999f, 0.01f}, {0, 0.99f, 0.05f}, {2, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hth_sampler_params p = {.temperature = 0.7f,
                                .top_k = cases[i].top_k,
                                .top_p = cases[i].top_p,
                                .min_p = cases[i].min_p,
                                .seed = i};
        bool kept[10];
        double share[10];
        filter_by_sorting(LOGITS, 10, p, kept);
        softmax((double)0.7f, kept, share);
        hth_sampler *s = make(p, 10);
        assert_true(chi_square(s, LOGITS, share, 10, N_DRAW) < CHI_LIMIT);
        hth_sampler_free(s);
    }
}

static void filters_agree_with_sorting_on_a_large_vocabulary(void **state) {
    (void)state;
    enum { N = 700 };
    float logits[N];
    bool kept[N];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) logits[i] = (float)(8 * hth_random_at((uint64_t)round, i) - 4);
        hth_sampler_params p = {.temperature = 5, // flat, so that the edge of the kept set is drawn
                                .top_k = round % 3 ? 4 * round : 0,
                                .top_p = 0.05f * (float)round,
                                .min_p = round % 2 ? 0.3f : 0};
        filter_by_sorting(logits, N, p, kept);
        int n_kept = 0, n_seen = 0;
        bool seen[N] = {false};
        for (int i = 0; i < N; i++) n_kept += kept[i];
        hth_sampler *s = make(p, N);
        for (int i = 0; i < 3000; i++) {
            int32_t token = pick(s, logits, i);
            assert_true(kept[token]);
            n_seen += !seen[token];
            seen[token] = true;
        }
        assert_true(n_kept > 60 || n_seen == n_kept); // and nothing too few
        hth_sampler_free(s);
    }
}

static void logits_that_are_not_numbers_are_refused(void **state) {
    (void)state;
    hth_err err;
    int32_t token;
    const float nan_last[] = {1, 2, NAN}, inf[] = {1, INFINITY, 0},
                none[] = {-INFINITY, -INFINITY, -INFINITY};
    const float *bad[] = {nan_last, inf, none};
    for (int t = 0; t < 2; t++) {
        hth_sampler *s = make(plain((float)t), 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(hth_sampler_pick(s, bad[i], 0, &token, &err), HTH_ERR_NUMBERS);
            assert_non_null(strstr(err.msg, "not numbers"));
        }
        hth_sampler_free(s);
    }
}

static void masked_tokens_are_never_drawn(void **state) {
    (void)state;
    const float logits[] = {-INFINITY, 0, -INFINITY, 0.5f};
    hth_sampler *s = make(plain(100), 4);
    for (int i = 0; i < 1000; i++) assert_true(pick(s, logits, i) % 2 == 1);
    hth_sampler_free(s);
}

static void absurd_parameters_are_named(void **state) {
    (void)state;
    hth_err err;
    hth_sampler *s = NULL;
    struct {
        hth_sampler_params p;
        const char *name;
    } bad[] = {{{.temperature = -1, .top_p = 1}, "temperature"},
               {{.temperature = NAN, .top_p = 1}, "temperature"},
               {{.temperature = INFINITY, .top_p = 1}, "temperature"},
               {{.top_p = 1, .top_k = -1}, "top_k"},
               {{.top_p = 1.5f}, "top_p"},
               {{.top_p = NAN}, "top_p"},
               {{.top_p = 1, .min_p = -0.1f}, "min_p"},
               {{.top_p = 1, .min_p = NAN}, "min_p"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hth_sampler_new(&bad[i].p, 10, &s, &err), HTH_ERR_RANGE);
        assert_non_null(strstr(err.msg, bad[i].name));
    }
    hth_sampler_params ok = hth_sampler_default();
    assert_int_equal(hth_sampler_new(&ok, 0, &s, &err), HTH_ERR_RANGE);
}

static void refused_memory_is_reported_and_nothing_leaks(void **state) {
    (void)state;
    hth_mem_stats before, after;
    hth_mem_get_stats(&before);
    hth_code code = HTH_ERR_NOMEM;
    uint64_t n_refused = 0;
    for (uint64_t n = 1; code != HTH_OK; n++) {
        const hth_logit_bias bias = {3, 1};
        hth_sampler_params p = hth_sampler_default();
        p.bias = &bias;
        p.n_bias = 1;
        p.repeat_penalty = p.dry_multiplier = 2;
        hth_sampler *s = NULL;
        hth_err err;
        hth_mem_fail_at(n, false);
        code = hth_sampler_new(&p, 10, &s, &err);
        for (int32_t i = 0; i < 10 && code == HTH_OK; i++) code = hth_sampler_accept(s, i, &err);
        hth_mem_fail_at(0, false);
        hth_sampler_free(s);
        assert_true(code == HTH_OK || code == HTH_ERR_NOMEM);
        n_refused += code != HTH_OK;
    }
    assert_true(n_refused > 6);
    hth_mem_get_stats(&after);
    assert_int_equal(before.n_blocks, after.n_blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(greedy_takes_the_greatest_and_ties_go_to_the_lower_id),
        cmocka_unit_test(the_same_seed_and_position_give_the_same_token),
        cmocka_unit_test(draws_follow_the_distribution_at_any_temperature),
        cmocka_unit_test(filters_keep_what_sorting_everything_would_keep),
        cmocka_unit_test(filters_agree_with_sorting_on_a_large_vocabulary),
        cmocka_unit_test(logits_that_are_not_numbers_are_refused),
        cmocka_unit_test(masked_tokens_are_never_drawn),
        cmocka_unit_test(absurd_parameters_are_named),
        cmocka_unit_test(refused_memory_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
