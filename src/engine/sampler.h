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

#include "base/err.h"
#include "hearth.h" // hth_logprob, hth_sampler_params

// Memory that picking needs: about 16 bytes per token of the vocabulary. One pick at a time.
typedef struct hth_sampler_work hth_sampler_work;

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
