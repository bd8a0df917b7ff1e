// Fields that requests for chats and for completions have in common.
#ifndef HTH_SERVER_OPENAI_GENERATION_H
#define HTH_SERVER_OPENAI_GENERATION_H

#include "server/openai.h"

// Begins with the ask: readers of fields find it there.
typedef struct openai_request {
    hth_ask ask;
    bool include_usage, timings_per_token, return_progress, cache_prompt, has_cache_prompt, wants_logprobs, reasoning_control;
    int64_t max_tokens, max_completion_tokens, n_predict; // where has_...
    bool has_max_tokens, has_max_completion_tokens, has_n_predict;
    int64_t top_logprobs, best_of, num_ctx;
    bool has_best_of, has_opens, has_continue;
    hth_chat_text user, grammar;
    const hth_json *json_schema;
} openai_request;

bool openai_read_stream_options(hth_fields *f, const hth_json *v, void *to);
bool openai_read_json_schema(hth_fields *f, const hth_json *v, void *to);
bool openai_read_grammar(hth_fields *f, const hth_json *v, void *to);
bool openai_read_options(hth_fields *f, const hth_json *v, void *to);
bool openai_read_metadata(hth_fields *f, const hth_json *v, void *to);
// A new request in *out, of the exchange's arena, read from the body by a table.
bool openai_read_fields(hth_exchange *x, const hth_field *table, size_t n, openai_request **out, hth_fields *f, hth_fault *fault);
// What single fields cannot tell: which of the limits counts, and so on.
bool openai_finish_request(hth_fields *f, openai_request *r);

#define OPENAI_ROW(name_, kind_, field_, help_) \
    { .name = name_, .kind = HTH_FIELD_##kind_, .offset = offsetof(openai_request, field_), .help = help_ }
#define OPENAI_NOT(name_, field_, help_)                                                                             \
    {                                                                                                                \
        .name = name_, .kind = HTH_FIELD_BOOL, .offset = offsetof(openai_request, field_), .negated = true, .help = help_ \
    }
#define OPENAI_RANGE(name_, field_, lo_, hi_, help_)                                                                 \
    {                                                                                                                \
        .name = name_, .kind = HTH_FIELD_INT, .offset = offsetof(openai_request, field_), .lo = lo_, .hi = hi_, .help = help_ \
    }
#define OPENAI_LIMIT(name_, field_, help_)                                                                           \
    {                                                                                                                \
        .name = name_, .kind = HTH_FIELD_INT, .offset = offsetof(openai_request, field_), .lo = -2, .hi = 1e15,        \
        .given = offsetof(openai_request, has_##field_) + 1, .help = help_                                             \
    }
#define OPENAI_CUSTOM(name_, words_, read_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = words_, .read = read_, .help = help_ }
#define OPENAI_IGNORED(name_, help_) { .name = name_, .kind = HTH_FIELD_IGNORED, .help = help_ }
#define OPENAI_REFUSED(name_, help_) { .name = name_, .kind = HTH_FIELD_REFUSED, .help = help_ }

#define OPENAI_GENERATION                                                                                              \
    OPENAI_ROW("model", TEXT, ask.model, "which model; without it the default one"),                                  \
    OPENAI_ROW("stream", BOOL, ask.stream, "the answer comes as it is made"),                                          \
    OPENAI_CUSTOM("stream_options", "object", openai_read_stream_options, "include_usage: counts at the end of the stream"), \
    OPENAI_LIMIT("max_tokens", max_tokens, "most tokens of each answer; -1: no limit"),                               \
    OPENAI_LIMIT("max_completion_tokens", max_completion_tokens, "the same by its newer name, which counts where both are given"), \
    OPENAI_LIMIT("n_predict", n_predict, "the same by llama-server's name"),                                          \
    OPENAI_RANGE("n", ask.n, 1, 128, "answers"),                                                                       \
    OPENAI_CUSTOM("stop", "string|array", hth_ask_read_stop, "texts that end an answer"),                              \
    OPENAI_CUSTOM("logit_bias", "object|array", hth_ask_read_bias, "by token id, or by text; false bans"),             \
    HTH_ASK_SAMPLING("temperature", "0: the likeliest token"),                                                         \
    HTH_ASK_SAMPLING("top_p", "choose among the likeliest that share this"),                                           \
    HTH_ASK_SAMPLING("seed", "the same seed gives the same answer; -1: any"),                                          \
    HTH_ASK_SAMPLING("presence_penalty", "taken from repeated tokens"),                                                \
    HTH_ASK_SAMPLING("frequency_penalty", "taken for each repetition"),                                                \
    HTH_ASK_SAMPLING("top_k", "choose among so many, 0 or -1: all"),                                                   \
    HTH_ASK_SAMPLING("min_p", "leave out tokens below this part of the likeliest"),                                    \
    HTH_ASK_SAMPLING("typical_p", "locally typical sampling, 1: off"),                                                 \
    HTH_ASK_SAMPLING("top_n_sigma", "deviations below the best logit, -1: off"),                                       \
    HTH_ASK_SAMPLING("repeat_penalty", "weakens repeated tokens, 1: off"),                                             \
    HTH_ASK_SAMPLING("repetition_penalty", "the same"),                                                                \
    HTH_ASK_SAMPLING("repeat_last_n", "tokens that penalties look back on, -1: all"),                                  \
    HTH_ASK_SAMPLING("dynatemp_range", "temperature moves by so much with the entropy"),                               \
    HTH_ASK_SAMPLING("dynatemp_exponent", "and how it does"),                                                          \
    HTH_ASK_SAMPLING("xtc_probability", "leaves out the likeliest tokens now and then"),                               \
    HTH_ASK_SAMPLING("xtc_threshold", "those above this"),                                                             \
    HTH_ASK_SAMPLING("dry_multiplier", "weakens what lengthens repetitions, 0: off"),                                  \
    HTH_ASK_SAMPLING("dry_base", "how fast that grows"),                                                               \
    HTH_ASK_SAMPLING("dry_allowed_length", "longest repetition that costs nothing"),                                   \
    HTH_ASK_SAMPLING("dry_penalty_last_n", "tokens searched for repetitions, -1: all"),                                \
    HTH_ASK_SAMPLING("mirostat", "1 or 2: in place of other filters"),                                                 \
    HTH_ASK_SAMPLING("mirostat_tau", "its target surprise"),                                                           \
    HTH_ASK_SAMPLING("mirostat_eta", "its learning rate"),                                                             \
    HTH_ASK_SAMPLING("min_keep", "a filter leaves at least so many"),                                                  \
    OPENAI_CUSTOM("samplers", "array|string", hth_ask_read_samplers, "order of the filters"),                          \
    OPENAI_REFUSED("dry_sequence_breakers", "texts of one's own that end repetitions are not known here yet"),        \
    OPENAI_CUSTOM("json_schema", "object", openai_read_json_schema, "the answer satisfies this schema"),               \
    OPENAI_CUSTOM("grammar", "string", openai_read_grammar, "the answer is a text of this grammar, GBNF or Lark"),     \
    OPENAI_ROW("ignore_eos", BOOL, ask.ignore_end, "the model's own end does not end the answer"),                     \
    OPENAI_ROW("timings_per_token", BOOL, timings_per_token, "timings in every piece of a stream"),                    \
    OPENAI_ROW("return_progress", BOOL, return_progress, "a stream tells how far the prompt is"),                      \
    OPENAI_ROW("return_tokens", BOOL, ask.tokens, "ids of tokens with the text"),                                      \
    {.name = "cache_prompt", .kind = HTH_FIELD_BOOL, .offset = offsetof(openai_request, cache_prompt),                 \
     .given = offsetof(openai_request, has_cache_prompt) + 1, .help = "false: nothing computed before is used, nothing is kept"}, \
    OPENAI_CUSTOM("keep_alive", "string|number", hth_ask_read_keep_alive, "how long the model stays loaded afterwards"), \
    OPENAI_CUSTOM("ttl", "number", hth_ask_read_keep_alive, "the same in seconds"),                                    \
    OPENAI_CUSTOM("options", "object", openai_read_options, "Ollama's options, of which num_ctx is understood here"),  \
    OPENAI_RANGE("num_ctx", ask.n_ctx, 0, 1e12, "tokens of context that are needed at least"),                         \
    OPENAI_CUSTOM("priority", "string", hth_ask_read_priority, "interactive, or background: waits for all others"),    \
    OPENAI_ROW("user", TEXT, user, "taken; nothing is done with it"),                                                  \
    OPENAI_IGNORED("id_slot", "slots are chosen by what they hold"),                                                   \
    OPENAI_IGNORED("service_tier", "there is one"),                                                                    \
    OPENAI_IGNORED("safety_identifier", "taken; nothing is done with it"),                                             \
    OPENAI_IGNORED("prompt_cache_key", "beginnings are found by what they hold"),                                      \
    OPENAI_IGNORED("prompt_cache_retention", "beginnings are kept as long as there is room"),                          \
    OPENAI_CUSTOM("lora", "array", hth_ask_read_lora, "[{id, scale}] of the server's adapters; the others are off")

#endif
