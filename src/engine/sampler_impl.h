// Inside of the sampler. A pick works on a pool: at first the whole vocabulary as it lies in the logits, of which
// only the greatest number of each block of 128 is known; once a filter has been through it, a list of candidates.
// What a forbidden token has for a logit is HTH_LEAST_LOGIT, which no sum of exponentials notices.
#ifndef HTH_ENGINE_SAMPLER_IMPL_H
#define HTH_ENGINE_SAMPLER_IMPL_H

#include <float.h>

#include "base/mem.h"
#include "engine/sampler.h"
#include "kernels/kernels.h"

#define HTH_LOGIT_BLOCK 128
#define HTH_LEAST_LOGIT (-FLT_MAX)

typedef struct hth_candidate {
    int32_t id;
    float logit; // divided by the temperature where that has been applied
    float p;     // share of the list, after hth_pool_softmax
    float score; // what a filter sorts by instead of the logit
} hth_candidate;

struct hth_sampler_work {
    int32_t n_vocab, n_block;
    const hth_kernels *kernels;
    float *block_max;    // [n_block] owned
    float *heap;         // [n_block] owned
    double *block_sum;   // [n_block] owned
    float *own;          // [n_vocab] owned: logits that were changed
    hth_candidate *list; // [n_vocab] owned
};

typedef struct hth_pool {
    hth_sampler_work *work;
    const float *logits; // [n_vocab] the caller's, or work->own
    float temperature;   // by which the logits still have to be divided
    hth_candidate *list; // [n] NULL: the whole vocabulary
    size_t n;
    bool is_sorted; // best first
} hth_pool;

// The whole vocabulary. HTH_ERR_INTERNAL for logits that are no numbers, HTH_ERR_RANGE when none is allowed.
HTH_NODISCARD hth_code hth_pool_begin(hth_pool *p, hth_sampler_work *w, const float *logits, const uint32_t *allowed,
                                      hth_err *err);
// Gives a token of the whole vocabulary another logit.
void hth_pool_change(hth_pool *p, int32_t token, float logit);
float hth_pool_max(const hth_pool *p);     // greatest logit as it lies there; of the whole vocabulary
int32_t hth_pool_best(const hth_pool *p);  // its token, the lowest of equals
double hth_pool_sum(const hth_pool *p);    // of exp((logit - max) / temperature) over the whole vocabulary

// From the whole vocabulary to a list: of all tokens whose logit as it lies there is at least `least`.
void hth_pool_collect(hth_pool *p, float least);
void hth_pool_list(hth_pool *p); // of all, unless it is a list already
// To the k best, sorted.
void hth_pool_select(hth_pool *p, size_t k);
// A list: puts the k best first, in order.
void hth_pool_sort(hth_pool *p, size_t k);
// The same by score, lowest first.
void hth_pool_sort_by_score(hth_pool *p, size_t k);
// Fills the shares of a list; returns the logarithm of the sum of exp(logit).
double hth_pool_softmax(hth_pool *p);
// Of a list with shares: keeps the fewest best that reach `share` together, but at least `least`.
void hth_pool_keep_share(hth_pool *p, double share, size_t least);
// Draws with a uniform number; *logprob is the logarithm of the chosen one's share.
int32_t hth_pool_draw(hth_pool *p, double uniform, double *logprob);

// ---- what a sequence has left behind

typedef struct hth_token_slot {
    int32_t token, value; // token -1: empty
} hth_token_slot;

// Maps tokens to numbers. Open addressing; at most half full.
typedef struct hth_token_table {
    hth_token_slot *slots; // [n_slot] owned; n_slot is 0 or a power of two
    size_t n_slot, n_used;
} hth_token_table;

typedef struct hth_history {
    int32_t *tokens; // [n] owned: at least the last `window` of the sequence
    size_t n, cap;
    size_t window;           // that anything looks back on; 0: nothing is kept
    size_t n_counted;        // of them, those in `counts`
    hth_token_table counts;  // how often a token stands among the last penalty_last_n
    hth_token_table repeats; // working memory of DRY: longest repetition that a token would lengthen
    int32_t *lengths;        // [cap_lengths] owned: likewise
    size_t cap_lengths;
} hth_history;

struct hth_sampler {
    hth_sampler_params params; // its pointers but dry_breakers are not used after hth_sampler_new
    hth_sampler_work *work;
    bool owns_work, is_greedy; // greedy: the best token is the answer whatever the filters leave
    hth_logit_bias *bias;      // [n_bias] owned
    hth_history history;
    float mu; // of mirostat
    int32_t last_token; // of the last pick, and its surprise in bits
    float last_surprise;
};

void hth_history_init(hth_history *h, const hth_sampler_params *p);
void hth_history_free(hth_history *h);
void hth_history_reset(hth_history *h);
HTH_NODISCARD hth_code hth_history_accept(hth_history *h, const hth_sampler_params *p, int32_t token, hth_err *err);

// ---- the steps

bool hth_penalties_on(const hth_sampler_params *p);
bool hth_dry_on(const hth_sampler_params *p);
void hth_step_penalties(const hth_sampler *s, hth_pool *p);
void hth_step_dry(hth_sampler *s, hth_pool *p);
void hth_step_top_n_sigma(const hth_sampler_params *s, hth_pool *p);
void hth_step_top_k(const hth_sampler_params *s, hth_pool *p);
void hth_step_typical_p(const hth_sampler_params *s, hth_pool *p);
void hth_step_top_p(const hth_sampler_params *s, hth_pool *p);
void hth_step_min_p(const hth_sampler_params *s, hth_pool *p);
void hth_step_xtc(const hth_sampler_params *s, hth_pool *p, int64_t pos);
void hth_step_temperature(const hth_sampler_params *s, hth_pool *p);
// Mirostat in place of the filters: leaves what may be drawn from.
void hth_step_mirostat(const hth_sampler *s, hth_pool *p);

#endif
