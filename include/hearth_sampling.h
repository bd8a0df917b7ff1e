// How tokens are drawn: a chain of filters in an order of the caller's choice, then a draw that depends on the seed, the
// position and what it chooses from.
#ifndef HEARTH_SAMPLING_H
#define HEARTH_SAMPLING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hearth_err.h"

#ifdef __cplusplus
extern "C" {
#endif

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

// Texts that end a repetition, as tokens; immutable, any number of requests may share it.
typedef struct hth_breakers hth_breakers;
HTH_API void hth_breakers_free(hth_breakers *b); // NULL is valid

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
    const hth_breakers *dry_breakers;        // borrowed for as long as it is sampled with; may be NULL
    int32_t mirostat;                        // 1 or 2: in place of all other filters; 0: off
    float mirostat_tau, mirostat_eta;        // target surprise in bits, learning rate
    int32_t min_keep;                        // a filter leaves at least so many
    const hth_logit_bias *bias;              // [n_bias]
    size_t n_bias;
    bool has_order; // false: the default one
    uint8_t order[HTH_MAX_SAMPLER_STEPS]; // [n_order] hth_sampler_step; what is not listed is not done
    int32_t n_order;
} hth_sampler_params;

// llama.cpp's defaults: temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, penalties over 64 tokens but off, DRY base
// 1.75, length 2, 64 tokens but off, mirostat tau 5 and eta 0.1 but off; seed 0.
HTH_API hth_sampler_params hth_sampler_default(void);
// Temperature 1 and no filter; what is off keeps the other values of the default.
HTH_API hth_sampler_params hth_sampler_neutral(void);

// HTH_ERR_RANGE naming the parameter when one is absurd (NaN, negative).
HTH_CHECKED hth_code hth_sampler_check(const hth_sampler_params *p, hth_err *err);

// Reads an order: names separated by ';' or ',' ("top_k;top-p;temp", in any of llama.cpp's spellings); "" is an order
// without steps. HTH_ERR_RANGE for an unknown name.
HTH_CHECKED hth_code hth_sampler_parse_order(const char *text, hth_sampler_params *p, hth_err *err);
HTH_API const char *hth_sampler_step_name(hth_sampler_step step);

#ifdef __cplusplus
}
#endif

#endif
