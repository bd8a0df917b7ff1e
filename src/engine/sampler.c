// The sampler keeps a candidate list that each filter shortens. Nothing is sorted beyond what a filter
// needs: top-k selects k, top-p takes candidates off a heap until their share is reached. Sums are in double,
// ties go to the lower id, so the choice depends on logits, parameters, seed and position only.
#include "engine/sampler.h"

#include <math.h>

#include "base/mem.h"
#include "engine/random.h"

typedef struct candidate {
    int32_t id;
    float logit;
    double weight; // exp(logit - max)
} candidate;

struct hth_sampler {
    hth_sampler_params params;
    int32_t n_vocab;
    candidate *list; // [n_vocab] owned
};

hth_sampler_params hth_sampler_default(void) {
    return (hth_sampler_params){.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 0};
}

hth_code hth_sampler_check(const hth_sampler_params *p, hth_err *err) {
    if (!isfinite(p->temperature) || p->temperature < 0) {
        return hth_fail(err, HTH_ERR_RANGE, "temperature is %g; it must be 0 or more",
                        (double)p->temperature);
    }
    if (p->top_k < 0)
        return hth_fail(err, HTH_ERR_RANGE, "top_k is %d; it must be 0 (off) or more", p->top_k);
    if (!(p->top_p >= 0 && p->top_p <= 1)) {
        return hth_fail(err, HTH_ERR_RANGE, "top_p is %g; it must be between 0 and 1", (double)p->top_p);
    }
    if (!(p->min_p >= 0 && p->min_p <= 1)) {
        return hth_fail(err, HTH_ERR_RANGE, "min_p is %g; it must be between 0 and 1", (double)p->min_p);
    }
    return HTH_OK;
}

hth_code hth_sampler_new(const hth_sampler_params *p, int32_t n_vocab, hth_sampler **out, hth_err *err) {
    HTH_TRY(hth_sampler_check(p, err));
    if (n_vocab <= 0)
        return hth_fail(err, HTH_ERR_RANGE, "a vocabulary of %d tokens has nothing to choose", n_vocab);
    hth_sampler *s = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *s);
    candidate *list = hth_calloc(HTH_MEM_ENGINE, (size_t)n_vocab, sizeof *list);
    if (!s || !list) {
        hth_free(s);
        hth_free(list);
        return hth_fail_nomem(err, (uint64_t)n_vocab * sizeof *list);
    }
    *s = (hth_sampler){.params = *p, .n_vocab = n_vocab, .list = list};
    *out = s;
    return HTH_OK;
}

void hth_sampler_free(hth_sampler *s) {
    if (!s) return;
    hth_free(s->list);
    hth_free(s);
}

// Whether a comes before b: the greater logit, then the lower id.
static bool is_before(const candidate *a, const candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static void swap(candidate *a, candidate *b) {
    candidate c = *a;
    *a = *b;
    *b = c;
}

// Heaps of n candidates; `first` tells which of two belongs nearer the top.
typedef bool (*order_fn)(const candidate *a, const candidate *b);

static bool is_after(const candidate *a, const candidate *b) {
    return is_before(b, a);
}

static void sift_down(candidate *heap, size_t n, size_t i, order_fn first) {
    for (;;) {
        size_t top = i, left = 2 * i + 1, right = left + 1;
        if (left < n && first(&heap[left], &heap[top])) top = left;
        if (right < n && first(&heap[right], &heap[top])) top = right;
        if (top == i) return;
        swap(&heap[i], &heap[top]);
        i = top;
    }
}

static void make_heap(candidate *list, size_t n, order_fn first) {
    for (size_t i = n / 2; i-- > 0;) sift_down(list, n, i, first);
}

// Moves the k first of n candidates to the front, in no order: a heap of the best so far with the worst
// of them on top.
static void select_top_k(candidate *list, size_t n, size_t k) {
    make_heap(list, k, is_after);
    for (size_t i = k; i < n; i++) {
        if (!is_before(&list[i], &list[0])) continue;
        list[0] = list[i];
        sift_down(list, k, 0, is_after);
    }
}

// Keeps the fewest best candidates whose weights reach `p` of the sum of all. They end at the back of the
// list as a heap is emptied, so they are moved to the front again, best first. Returns how many.
static size_t keep_top_p(candidate *list, size_t n, double p) {
    double sum = 0, reached = 0;
    for (size_t i = 0; i < n; i++) sum += list[i].weight;
    // All candidates below this bound together weigh less than (1 - p) of the sum: none can be needed.
    double bound = sum * (1 - p) / (double)n;
    size_t n_large = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].weight >= bound) swap(&list[n_large++], &list[i]);
    }
    make_heap(list, n_large, is_before);
    size_t left = n_large;
    while (left > 0) {
        left--;
        reached += list[0].weight;
        swap(&list[0], &list[left]);
        sift_down(list, left, 0, is_before);
        if (reached >= p * sum) break;
    }
    size_t n_kept = n_large - left;
    for (size_t i = 0; i < n_large / 2; i++) swap(&list[i], &list[n_large - 1 - i]);
    return n_kept;
}

static size_t keep_min_p(candidate *list, size_t n, double min_p) {
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].weight >= min_p) list[n_kept++] = list[i]; // the greatest weight is exp(0) = 1
    }
    return n_kept;
}

// The greatest logit's id; -1 when any is NaN or +infinity, or none is finite.
static int32_t find_greatest(const float *logits, int32_t n) {
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY) return -1;
        if (logits[i] != -INFINITY && (best < 0 || logits[i] > logits[best])) best = i;
    }
    return best;
}

static int32_t draw(candidate *list, size_t n, double temperature, float max, double uniform) {
    double sum = 0, reached = 0;
    for (size_t i = 0; i < n; i++) {
        list[i].weight = exp(((double)list[i].logit - (double)max) / temperature);
        sum += list[i].weight;
    }
    for (size_t i = 0; i < n; i++) {
        reached += list[i].weight;
        if (uniform * sum < reached) return list[i].id;
    }
    return list[n - 1].id; // rounding left the last sum a hair short
}

hth_code hth_sampler_pick(hth_sampler *s, const float *logits, int64_t pos, int32_t *token, hth_err *err) {
    const hth_sampler_params *p = &s->params;
    int32_t best = find_greatest(logits, s->n_vocab);
    if (best < 0) return hth_fail(err, HTH_ERR_INTERNAL, "logits are not numbers");
    if (p->temperature == 0 || p->top_k == 1) {
        *token = best;
        return HTH_OK;
    }
    float max = logits[best];
    size_t n = 0;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        if (logits[i] != -INFINITY) s->list[n++] = (candidate){.id = i, .logit = logits[i]};
    }
    if (p->top_k > 0 && (size_t)p->top_k < n) {
        select_top_k(s->list, n, (size_t)p->top_k);
        n = (size_t)p->top_k;
    }
    for (size_t i = 0; i < n; i++) s->list[i].weight = exp((double)s->list[i].logit - (double)max);
    if (p->top_p < 1) n = keep_top_p(s->list, n, (double)p->top_p);
    if (p->min_p > 0) n = keep_min_p(s->list, n, (double)p->min_p);
    *token = draw(s->list, n, (double)p->temperature, max, hth_random_at(p->seed, pos));
    return HTH_OK;
}
