// Nothing is sorted beyond what a filter needs. The k best of a vocabulary are found by the greatest numbers of its
// blocks: k of those numbers are logits, so the k-th of them is a bound that the k best reach, and few others do.
// Ties go to the lower id everywhere, so a choice depends on the logits alone.
#include <math.h>
#include <string.h>

#include "engine/sampler_impl.h"

hth_code hth_sampler_work_new(int32_t n_vocab, hth_sampler_work **out, hth_err *err) {
    if (n_vocab <= 0)
        return hth_fail(err, HTH_ERR_RANGE, "a vocabulary of %d tokens has nothing to choose", n_vocab);
    hth_sampler_work *w = hth_calloc(HTH_MEM_ENGINE, 1, sizeof *w);
    if (!w) return hth_fail_nomem(err, sizeof *w);
    const size_t n = (size_t)n_vocab, n_block = (n + HTH_LOGIT_BLOCK - 1) / HTH_LOGIT_BLOCK;
    w->n_vocab = n_vocab;
    w->n_block = (int32_t)n_block;
    w->kernels = hth_kernels_get();
    w->block_max = hth_calloc(HTH_MEM_ENGINE, n_block, sizeof *w->block_max);
    w->heap = hth_calloc(HTH_MEM_ENGINE, n_block, sizeof *w->heap);
    w->block_sum = hth_calloc(HTH_MEM_ENGINE, n_block, sizeof *w->block_sum);
    w->own = hth_calloc(HTH_MEM_ENGINE, n, sizeof *w->own);
    w->list = hth_calloc(HTH_MEM_ENGINE, n, sizeof *w->list);
    if (!w->block_max || !w->heap || !w->block_sum || !w->own || !w->list) {
        hth_sampler_work_free(w);
        return hth_fail_nomem(err, n * sizeof *w->list);
    }
    *out = w;
    return HTH_OK;
}

void hth_sampler_work_free(hth_sampler_work *w) {
    if (!w) return;
    hth_free(w->block_max);
    hth_free(w->heap);
    hth_free(w->block_sum);
    hth_free(w->own);
    hth_free(w->list);
    hth_free(w);
}

// ---- the whole vocabulary

static int32_t block_len(const hth_sampler_work *w, int32_t block) {
    const int32_t left = w->n_vocab - block * HTH_LOGIT_BLOCK;
    return left < HTH_LOGIT_BLOCK ? left : HTH_LOGIT_BLOCK;
}

static float max_of_block(const hth_pool *p, int32_t block) {
    return p->work->kernels->max(p->logits + block * HTH_LOGIT_BLOCK, block_len(p->work, block));
}

// Copies the logits, with the least of all where a bit is not set.
static void copy_allowed(const hth_sampler_work *w, const float *logits, const uint32_t *allowed) {
    for (int32_t i = 0; i < w->n_vocab; i += 32) {
        const int32_t n = w->n_vocab - i < 32 ? w->n_vocab - i : 32;
        const uint32_t bits = allowed[i / 32];
        if (bits == UINT32_MAX) {
            memcpy(w->own + i, logits + i, (size_t)n * sizeof *logits);
            continue;
        }
        for (int32_t j = 0; j < n; j++) w->own[i + j] = bits >> j & 1 ? logits[i + j] : HTH_LEAST_LOGIT;
    }
}

hth_code hth_pool_begin(hth_pool *p, hth_sampler_work *w, const float *logits, const uint32_t *allowed, hth_err *err) {
    *p = (hth_pool){.work = w, .logits = logits, .temperature = 1};
    if (allowed) {
        copy_allowed(w, logits, allowed);
        p->logits = w->own;
    }
    float max = -INFINITY;
    for (int32_t b = 0; b < w->n_block; b++) {
        const float m = w->block_max[b] = max_of_block(p, b);
        if (!(m < INFINITY)) return hth_fail(err, HTH_ERR_NUMBERS, "logits are not numbers");
        if (m > max) max = m;
    }
    if (max > HTH_LEAST_LOGIT) return HTH_OK;
    if (allowed) return hth_fail(err, HTH_ERR_RANGE, "no token is allowed here");
    return hth_fail(err, HTH_ERR_NUMBERS, "logits are not numbers: all are -infinity");
}

void hth_pool_change(hth_pool *p, int32_t token, float logit) {
    hth_sampler_work *w = p->work;
    if (p->logits != w->own) {
        memcpy(w->own, p->logits, (size_t)w->n_vocab * sizeof *w->own);
        p->logits = w->own;
    }
    const int32_t block = token / HTH_LOGIT_BLOCK;
    const float old = w->own[token], limit = FLT_MAX / 2; // so that differences of logits stay finite
    w->own[token] = logit > limit ? limit : logit > -limit ? logit : HTH_LEAST_LOGIT;
    if (w->own[token] > w->block_max[block]) w->block_max[block] = w->own[token];
    else if (old == w->block_max[block]) w->block_max[block] = max_of_block(p, block);
}

float hth_pool_max(const hth_pool *p) {
    return p->work->kernels->max(p->work->block_max, p->work->n_block);
}

int32_t hth_pool_best(const hth_pool *p) {
    const float max = hth_pool_max(p);
    int32_t b = 0, i = 0;
    while (p->work->block_max[b] != max) b++;
    const float *logits = p->logits + b * HTH_LOGIT_BLOCK;
    while (logits[i] != max) i++;
    return b * HTH_LOGIT_BLOCK + i;
}

// Weights exp((logit - max) / temperature) of a block; returns their sum.
static double weigh_block(const hth_pool *p, int32_t block, float max, float weights[HTH_LOGIT_BLOCK]) {
    const int32_t n = block_len(p->work, block);
    const float *logits = p->logits + block * HTH_LOGIT_BLOCK;
    if (p->temperature == 1) {
        memcpy(weights, logits, (size_t)n * sizeof *weights);
    } else {
        for (int32_t i = 0; i < n; i++) weights[i] = logits[i] / p->temperature;
    }
    return (double)p->work->kernels->exp_sum(weights, max / p->temperature, n);
}

double hth_pool_sum(const hth_pool *p) {
    float weights[HTH_LOGIT_BLOCK];
    const float max = hth_pool_max(p);
    double sum = 0;
    for (int32_t b = 0; b < p->work->n_block; b++) sum += p->work->block_sum[b] = weigh_block(p, b, max, weights);
    return sum;
}

void hth_pool_collect(hth_pool *p, float least) {
    const hth_sampler_work *w = p->work;
    p->list = w->list;
    p->n = 0;
    for (int32_t b = 0; b < w->n_block; b++) {
        if (w->block_max[b] < least) continue;
        for (int32_t i = b * HTH_LOGIT_BLOCK, end = i + block_len(w, b); i < end; i++) {
            const float logit = p->logits[i];
            if (logit < least || logit <= HTH_LEAST_LOGIT) continue;
            p->list[p->n++] = (hth_candidate){.id = i, .logit = p->temperature == 1 ? logit : logit / p->temperature};
        }
    }
    p->is_sorted = false;
}

void hth_pool_list(hth_pool *p) {
    if (!p->list) hth_pool_collect(p, HTH_LEAST_LOGIT);
}

// ---- sorting

typedef bool (*order_fn)(const hth_candidate *a, const hth_candidate *b);

static bool is_better(const hth_candidate *a, const hth_candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static bool is_lower_score(const hth_candidate *a, const hth_candidate *b) {
    return a->score < b->score || (a->score == b->score && a->id < b->id);
}

// A heap of n candidates with the last in order on top.
static void sift_down(hth_candidate *heap, size_t n, size_t i, order_fn is_before) {
    const hth_candidate moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_before(&heap[child], &heap[child + 1])) child++;
        if (!is_before(&moved, &heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

// Puts the k first of n in front, in order.
static void sort_first(hth_candidate *list, size_t n, size_t k, order_fn is_before) {
    if (k > n) k = n;
    for (size_t i = k / 2; i-- > 0;) sift_down(list, k, i, is_before);
    for (size_t i = k; i < n && k > 0; i++) {
        if (!is_before(&list[i], &list[0])) continue;
        const hth_candidate out = list[0];
        list[0] = list[i];
        list[i] = out;
        sift_down(list, k, 0, is_before);
    }
    for (size_t left = k; left-- > 1;) {
        const hth_candidate last = list[0];
        list[0] = list[left];
        list[left] = last;
        sift_down(list, left, 0, is_before);
    }
}

void hth_pool_sort(hth_pool *p, size_t k) {
    if (p->is_sorted) return;
    sort_first(p->list, p->n, k, is_better);
    p->is_sorted = k >= p->n;
}

void hth_pool_sort_by_score(hth_pool *p, size_t k) {
    sort_first(p->list, p->n, k, is_lower_score);
    p->is_sorted = false;
}

// The k-th greatest of the blocks' greatest numbers; k < n_block.
static float bound_of_best(const hth_sampler_work *w, size_t k) {
    float *heap = w->heap; // the k greatest so far, the least on top
    size_t n = 0;
    for (int32_t b = 0; b < w->n_block; b++) {
        const float v = w->block_max[b];
        size_t i = 0;
        if (n < k) { // up from the end
            for (i = n++; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
        } else if (v > heap[0]) { // down from the top
            for (size_t child; (child = 2 * i + 1) < k; i = child) {
                if (child + 1 < k && heap[child + 1] < heap[child]) child++;
                if (heap[child] >= v) break;
                heap[i] = heap[child];
            }
        } else {
            continue;
        }
        heap[i] = v;
    }
    return heap[0];
}

void hth_pool_select(hth_pool *p, size_t k) {
    if (k < 1) k = 1;
    if (!p->list) hth_pool_collect(p, k < (size_t)p->work->n_block ? bound_of_best(p->work, k) : HTH_LEAST_LOGIT);
    hth_pool_sort(p, k);
    if (k < p->n) p->n = k;
    p->is_sorted = true;
}

// ---- probabilities

double hth_pool_softmax(hth_pool *p) {
    float weights[HTH_LOGIT_BLOCK], max = p->list[0].logit;
    for (size_t i = 1; !p->is_sorted && i < p->n; i++) max = p->list[i].logit > max ? p->list[i].logit : max;
    double sum = 0;
    for (size_t at = 0; at < p->n; at += HTH_LOGIT_BLOCK) {
        const size_t n = p->n - at < HTH_LOGIT_BLOCK ? p->n - at : HTH_LOGIT_BLOCK;
        for (size_t i = 0; i < n; i++) weights[i] = p->list[at + i].logit;
        sum += (double)p->work->kernels->exp_sum(weights, max, (int64_t)n);
        for (size_t i = 0; i < n; i++) p->list[at + i].p = weights[i];
    }
    for (size_t i = 0; i < p->n; i++) p->list[i].p = (float)((double)p->list[i].p / sum);
    return (double)max + log(sum);
}

static void swap(hth_candidate *a, hth_candidate *b) {
    const hth_candidate c = *a;
    *a = *b;
    *b = c;
}

// Puts the better ones of list [lo, hi) before one of them, the others behind it. Returns its place, and the shares of
// the better ones.
static size_t divide(hth_candidate *list, size_t lo, size_t hi, double *shares) {
    hth_candidate *a = &list[lo], *b = &list[lo + (hi - lo) / 2], *c = &list[hi - 1];
    if (is_better(b, a)) swap(a, b);
    if (is_better(c, b)) swap(b, c);
    if (is_better(b, a)) swap(a, b);
    swap(b, c); // the middle one of three goes to the end
    size_t place = lo;
    *shares = 0;
    for (size_t i = lo; i + 1 < hi; i++) {
        if (!is_better(&list[i], c)) continue;
        *shares += (double)list[i].p;
        swap(&list[i], &list[place++]);
    }
    swap(&list[place], c);
    return place;
}

// Divides the list where the share is reached until few are left to be sorted.
void hth_pool_keep_share(hth_pool *p, double share, size_t least) {
    enum { FEW = 64 };
    size_t lo = 0, hi = p->n; // better ones than [lo, hi) are kept, worse ones are not
    double reached = 0, shares;
    while (!p->is_sorted && hi - lo > FEW) {
        const size_t place = divide(p->list, lo, hi, &shares);
        if (reached + shares >= share && place >= least) {
            hi = place;
            continue;
        }
        reached += shares + (double)p->list[place].p;
        lo = place + 1;
        if (reached < share || lo < least) continue;
        hi = lo;
    }
    if (!p->is_sorted) sort_first(p->list + lo, hi - lo, hi - lo, is_better);
    p->is_sorted = p->is_sorted || lo == 0;
    size_t n = lo;
    while (n < hi && (reached < share || n < least || n == 0)) reached += (double)p->list[n++].p;
    p->n = n;
}

static int32_t draw_from_list(hth_pool *p, double uniform, double *logprob) {
    const double log_sum = hth_pool_softmax(p);
    double sum = 0, reached = 0;
    for (size_t i = 0; i < p->n; i++) sum += (double)p->list[i].p;
    size_t chosen = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i].p > 0) chosen = i; // the last one too, where rounding leaves the sum a hair short
        reached += (double)p->list[i].p;
        if (uniform * sum < reached) break;
    }
    *logprob = (double)p->list[chosen].logit - log_sum;
    return p->list[chosen].id;
}

static int32_t draw_from_all(hth_pool *p, double uniform, double *logprob) {
    const hth_sampler_work *w = p->work;
    float weights[HTH_LOGIT_BLOCK];
    const float max = hth_pool_max(p);
    const double sum = hth_pool_sum(p);
    double goal = uniform * sum;
    int32_t block = 0, chosen = 0;
    for (int32_t b = 0; b < w->n_block; b++) {
        if (w->block_sum[b] > 0) block = b;
        if (goal < w->block_sum[b]) break;
        goal -= w->block_sum[b];
    }
    (void)weigh_block(p, block, max, weights);
    double reached = 0;
    for (int32_t i = 0; i < block_len(w, block); i++) {
        if (weights[i] > 0) chosen = i;
        reached += (double)weights[i];
        if (goal < reached && weights[i] > 0) break;
    }
    chosen += block * HTH_LOGIT_BLOCK;
    *logprob = ((double)p->logits[chosen] - (double)max) / (double)p->temperature - log(sum);
    return chosen;
}

int32_t hth_pool_draw(hth_pool *p, double uniform, double *logprob) {
    return p->list ? draw_from_list(p, uniform, logprob) : draw_from_all(p, uniform, logprob);
}
