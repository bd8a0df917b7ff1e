// The sampler's options, in llama.cpp's spellings.
#ifndef HTH_CLI_SAMPLING_H
#define HTH_CLI_SAMPLING_H

#include <math.h>

#include "cli/args.h"
#include "engine/breakers.h"
#include "engine/sampler.h"

// What was given: NAN and CLI_NOT_GIVEN stand for what was not.
#define CLI_NOT_GIVEN (-2)
typedef struct cli_sampling {
    int64_t seed, top_k, repeat_last_n, dry_allowed_length, dry_last_n, mirostat, min_keep;
    double temperature, top_p, min_p, dynatemp_range, dynatemp_exponent, typical_p, top_n_sigma;
    double xtc_probability, xtc_threshold, repeat_penalty, presence_penalty, frequency_penalty;
    double dry_multiplier, dry_base, mirostat_tau, mirostat_eta;
    const char *samplers; // NULL: not given
    cli_list breakers, bias;
} cli_sampling;

#define CLI_SAMPLING                                                                                                   \
    {                                                                                                                  \
        .seed = CLI_NOT_GIVEN, .top_k = CLI_NOT_GIVEN, .repeat_last_n = CLI_NOT_GIVEN,                                 \
        .dry_allowed_length = CLI_NOT_GIVEN, .dry_last_n = CLI_NOT_GIVEN, .mirostat = CLI_NOT_GIVEN,                   \
        .min_keep = CLI_NOT_GIVEN, .temperature = NAN, .top_p = NAN, .min_p = NAN, .dynatemp_range = NAN,              \
        .dynatemp_exponent = NAN, .typical_p = NAN, .top_n_sigma = NAN, .xtc_probability = NAN, .xtc_threshold = NAN,  \
        .repeat_penalty = NAN, .presence_penalty = NAN, .frequency_penalty = NAN, .dry_multiplier = NAN,               \
        .dry_base = NAN, .mirostat_tau = NAN, .mirostat_eta = NAN                                                      \
    }

// Rows of a command's table for a cli_sampling.
#define CLI_OPTIONS_SAMPLING(type, f)                                                                                  \
    CLI_OPTION_INT("seed", 0, "N", type, f.seed, 0, 9007199254740991.0,                                                \
                   "same seed, same answer (default: a new one each time)"),                                           \
        CLI_OPTION_NUM("temp", 0, "T", type, f.temperature, 0, 1000, "temperature, 0 always takes the likeliest token"), \
        CLI_OPTION_INT("top-k", 0, "K", type, f.top_k, 0, 2147483647, "choose among the K likeliest tokens, 0: all"),  \
        CLI_OPTION_NUM("top-p", 0, "P", type, f.top_p, 0, 1, "choose among the likeliest that share P, 1: all"),       \
        CLI_OPTION_NUM("min-p", 0, "P", type, f.min_p, 0, 1, "leave out tokens below P of the likeliest, 0: none"),    \
        CLI_OPTION_NUM("typical", 0, "P", type, f.typical_p, 0, 1,                                                     \
                       "choose among the tokens nearest to the expected surprise that share P, 1: all"),               \
        CLI_OPTION_NUM("top-n-sigma", 0, "N", type, f.top_n_sigma, -1, 1000,                                           \
                       "leave out logits more than N deviations below the best, -1: none"),                            \
        CLI_OPTION_NUM("xtc-probability", 0, "P", type, f.xtc_probability, 0, 1,                                       \
                       "chance of leaving out the likeliest but one above the threshold, 0: never"),                   \
        CLI_OPTION_NUM("xtc-threshold", 0, "P", type, f.xtc_threshold, 0, 1, "share from which they count (default: 0.1)"), \
        CLI_OPTION_NUM("dynatemp-range", 0, "T", type, f.dynatemp_range, 0, 1000,                                      \
                       "temperature between temp - T and temp + T, by entropy, 0: fixed"),                             \
        CLI_OPTION_NUM("dynatemp-exp", 0, "X", type, f.dynatemp_exponent, 0, 1000, "exponent of that (default: 1)"),   \
        CLI_OPTION_INT("repeat-last-n", 0, "N", type, f.repeat_last_n, -1, 2147483647,                                 \
                       "tokens that penalties look back on, 0: off, -1: all (default: 64)"),                           \
        CLI_OPTION_NUM("repeat-penalty", 0, "X", type, f.repeat_penalty, 1e-6, 1000, "weakens repeated tokens, 1: off"), \
        CLI_OPTION_NUM("presence-penalty", 0, "X", type, f.presence_penalty, -1000, 1000, "taken from repeated tokens, 0: off"), \
        CLI_OPTION_NUM("frequency-penalty", 0, "X", type, f.frequency_penalty, -1000, 1000,                            \
                       "taken from repeated tokens for each time, 0: off"),                                            \
        CLI_OPTION_NUM("dry-multiplier", 0, "X", type, f.dry_multiplier, 0, 1000, "weakens what lengthens repetitions, 0: off"), \
        CLI_OPTION_NUM("dry-base", 0, "X", type, f.dry_base, 0, 1000, "how fast that grows with their length (default: 1.75)"), \
        CLI_OPTION_INT("dry-allowed-length", 0, "N", type, f.dry_allowed_length, 0, 2147483647,                        \
                       "longest repetition that costs nothing (default: 2)"),                                          \
        CLI_OPTION_INT("dry-penalty-last-n", 0, "N", type, f.dry_last_n, -1, 2147483647,                               \
                       "tokens searched for repetitions, -1: all (default: 64)"),                                      \
        CLI_OPTION_LIST("dry-sequence-breaker", 0, "TEXT", type, f.breakers,                                           \
                        "what ends a repetition; again for more; or 'none' (default: newline : \" *)"),                  \
        CLI_OPTION_INT("mirostat", 0, "N", type, f.mirostat, 0, 2, "mirostat 1 or 2 in place of the filters, 0: off"), \
        CLI_OPTION_NUM("mirostat-ent", 0, "X", type, f.mirostat_tau, 0, 1000, "its target surprise in bits (default: 5)"), \
        CLI_OPTION_NUM("mirostat-lr", 0, "X", type, f.mirostat_eta, 0, 1000, "its learning rate (default: 0.1)"),      \
        CLI_OPTION_LIST("logit-bias", 0, "ID+X", type, f.bias,                                                         \
                        "add X to a token's logit, or ID-X, or TEXT=X for a text's tokens; -inf bans"),                  \
        CLI_OPTION_INT("min-keep", 0, "N", type, f.min_keep, 0, 2147483647, "tokens that each filter leaves at least"), \
        CLI_OPTION_TEXT("samplers", 0, "NAMES", type, f.samplers,                                                      \
                        "default: penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature")

// Parameters with what they borrow.
typedef struct cli_sampler {
    hth_sampler_params params;
    hth_breakers *breakers; // owned
    hth_logit_bias *bias;   // owned
} cli_sampler;

// The model's own settings, changed by those that were given.
HTH_NODISCARD hth_code cli_sampler_make(const cli_sampling *given, hth_container *c, const hth_tokenizer *t,
                                        cli_sampler *out, hth_err *err);
void cli_sampler_free(cli_sampler *s);
// A seed for a run without --seed, short enough to type again.
uint64_t cli_new_seed(void);

#endif
