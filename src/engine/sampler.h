// From logits to a token: a chain of filters in an order of the caller's choice, then a draw. Randomness is
// counter-based: a draw depends on (seed, position) and on what it chooses from, so the same seed gives the same
// tokens whatever happens around it, also when a draft's rows are picked from in one step.
//
//   logits -> allowed tokens -> logit bias -> the steps of `order` -> draw
//
// Where the order of steps agrees, the resulting distribution is llama.cpp's; two deviations: top-n-sigma leaves
// tokens out instead of giving them probability 0 (which dynamic temperature would count), and mirostat keeps the
// penalties and DRY where they are switched on.
//
// A sampler belongs to one sequence and has one owner at a time; samplers with work space of their own are
// independent of each other.
#ifndef HTH_ENGINE_SAMPLER_H
#define HTH_ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "hearth.h" // hth_logprob

// Steps of the chain, by llama-server's names: penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc,
// temperature. This is also the default order.
typedef enum hth_sampler_step {
    HTH_STEP_PENALTIES, HTH_STEP_DRY, HTH_STEP_TOP_N_SIGMA, HTH_STEP_TOP_K, HTH_STEP_TYPICAL_P, HTH_STEP_TOP_P,
    HTH_STEP_MIN_P, HTH_STEP_XTC, HTH_STEP_TEMPERATURE, HTH_STEP_COUNT
} hth_sampler_step;

#define HTH_MAX_SAMPLER_STEPS 16

typedef struct hth_logit_bias {
    int32_t token;
    float bias; // added to the logit; -INFINITY bans the token
} hth_logit_bias;

// Texts that end a repetition, as tokens (sampler_breakers.h); immutable, any number of samplers may share it.
typedef struct hth_breakers hth_breakers;
// Memory that picking needs: about 16 bytes per token of the vocabulary. One pick at a time.
typedef struct hth_sampler_work hth_sampler_work;

// All zero is a valid setting that is greedy; start from hth_sampler_default, or from hth_sampler_neutral, which
// leaves the model's distribution as it is.
typedef struct hth_sampler_params {
    float temperature; // 0: greedy
    int32_t top_k;     // 0: off
    float top_p;       // 1: off
    float min_p;       // 0: off
    uint64_t seed;
    float dynatemp_range, dynatemp_exponent; // temperature +- range by the entropy of what is left; range 0: off
    float typical_p;                         // 0 or 1: off
    float top_n_sigma;                       // 0 or less: off
    float xtc_probability, xtc_threshold;    // probability 0 or threshold above 0.5: off
    int32_t penalty_last_n;                  // tokens that the three penalties look back on; 0: off, -1: all
    float repeat_penalty;                    // divides positive logits, multiplies others; 1: off
    float presence_penalty, frequency_penalty; // subtracted, once and per occurrence; 0: off
    float dry_multiplier, dry_base;          // a token that would lengthen a repetition of n >= allowed tokens
    int32_t dry_allowed_length, dry_last_n;  //   loses multiplier * base ^ (n - allowed); multiplier 0: off
    const hth_breakers *dry_breakers;        // borrowed, outlives the sampler; may be NULL
    int32_t mirostat;                        // 1 or 2: in place of all other filters; 0: off
    float mirostat_tau, mirostat_eta;        // target surprise in bits, learning rate
    int32_t min_keep;                        // a filter leaves at least so many
    const hth_logit_bias *bias;              // [n_bias] copied by hth_sampler_new
    size_t n_bias;
    bool has_order; // false: the default one
    uint8_t order[HTH_MAX_SAMPLER_STEPS]; // [n_order] hth_sampler_step; what is not listed is not done
    int32_t n_order;
} hth_sampler_params;

// llama.cpp's defaults: temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, penalties over 64 tokens but off, DRY base
// 1.75, length 2, 64 tokens but off, mirostat tau 5 and eta 0.1 but off; seed 0.
hth_sampler_params hth_sampler_default(void);
// Temperature 1 and no filter; what is off keeps the other values of the default.
hth_sampler_params hth_sampler_neutral(void);

// HTH_ERR_RANGE naming the parameter when one is absurd (NaN, negative).
HTH_NODISCARD hth_code hth_sampler_check(const hth_sampler_params *p, hth_err *err);

// Reads an order: names separated by ';' or ',' ("top_k;top-p;temp", in any of llama.cpp's spellings); "" is an order
// without steps. HTH_ERR_RANGE for an unknown name.
HTH_NODISCARD hth_code hth_sampler_parse_order(const char *text, hth_sampler_params *p, hth_err *err);
const char *hth_sampler_step_name(hth_sampler_step step);

HTH_NODISCARD hth_code hth_sampler_work_new(int32_t n_vocab, hth_sampler_work **out, hth_err *err);
void hth_sampler_work_free(hth_sampler_work *w);

typedef struct hth_sampler hth_sampler;
// HTH_ERR_RANGE also for a bias on a token that is not in the vocabulary. Returns owned.
HTH_NODISCARD hth_code hth_sampler_new(const hth_sampler_params *p, int32_t n_vocab, hth_sampler **out,
                                       hth_err *err);
// The same with work space that the caller lends (made for n_vocab): samplers that never pick at the same time may
// share one.
HTH_NODISCARD hth_code hth_sampler_new_in(const hth_sampler_params *p, hth_sampler_work *work, hth_sampler **out,
                                          hth_err *err);
void hth_sampler_free(hth_sampler *s);

// A token has become part of the sequence: those of the prompt in order, then each one that was picked and kept.
// Penalties, DRY and mirostat look back on them; for other samplers it does nothing.
HTH_NODISCARD hth_code hth_sampler_accept(hth_sampler *s, int32_t token, hth_err *err);
// Forgets the sequence.
void hth_sampler_reset(hth_sampler *s);

// Chooses from logits [n_vocab] for the token at `pos`. Changes nothing that a later pick depends on: that is accept's
// business. NaN or +infinity anywhere: HTH_ERR_NUMBERS "logits are not numbers".
HTH_NODISCARD hth_code hth_sampler_pick(hth_sampler *s, const float *logits, int64_t pos, int32_t *token,
                                        hth_err *err);

typedef struct hth_pick_params {
    const float *logits; // [n_vocab]
    int64_t pos;
    const uint32_t *allowed; // bit (id % 32) of word id / 32; NULL: all tokens
    bool want_logprobs;
    bool after;       // logprobs after the chain, as the draw sees them; otherwise the model's own
    hth_logprob *top; // [n_top] gets the likeliest tokens, best first
    int32_t n_top;
} hth_pick_params;

typedef struct hth_pick {
    int32_t token;
    float logprob; // of the token, where wanted
    int32_t n_top; // entries in `top`: fewer than asked for where fewer are left
} hth_pick;

// The same with all that can be asked for. HTH_ERR_RANGE when every token is forbidden.
HTH_NODISCARD hth_code hth_sampler_pick_from(hth_sampler *s, const hth_pick_params *p, hth_pick *out, hth_err *err);

// The model's own log-probabilities of `token` (the prompt's next one; -1: none) and of the n_top likeliest.
HTH_NODISCARD hth_code hth_logprobs(hth_sampler_work *w, const float *logits, int32_t token, float *logprob,
                                    hth_logprob *top, int32_t n_top, hth_err *err);

#endif
