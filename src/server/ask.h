// The internal request: what every dialect parses into. Texts are borrowed from the document or live in the exchange's
// arena. Zero everywhere is an empty chat with the model's own settings.
//
// A dialect fills what its clients can say. What an ask says and the engine cannot do is refused by hth_call_start with
// the field's name in the dialect's words (hth_ask.names), never left out silently.
#ifndef HTH_SERVER_ASK_H
#define HTH_SERVER_ASK_H

#include "chat/message.h"
#include "engine/sampler.h"
#include "server/fields.h"

typedef enum hth_ask_kind {
    HTH_ASK_CHAT,   // messages, through the model's template
    HTH_ASK_TEXT,   // prompts as they are; with a suffix: what is between
    HTH_ASK_EMBED,  // one vector per prompt
    HTH_ASK_RERANK, // one score per prompt (document) for the query
} hth_ask_kind;

// A prompt in pieces, text or tokens, in order.
typedef struct hth_ask_prompt {
    const hth_segment *segments; // [n_segment]
    size_t n_segment;
} hth_ask_prompt;

typedef enum hth_tool_kind { HTH_TOOL_FUNCTION, HTH_TOOL_CUSTOM } hth_tool_kind;

typedef struct hth_ask_tool {
    hth_tool_kind kind;
    hth_chat_text name, description;
    const hth_json *parameters; // FUNCTION: a JSON schema in the document; NULL: none
    bool strict;
    hth_chat_text grammar; // of its member `input`, as Lark has them; p NULL: none
} hth_ask_tool;

typedef enum hth_tool_choice {
    HTH_TOOLS_AUTO,     // the model decides
    HTH_TOOLS_NONE,
    HTH_TOOLS_REQUIRED, // at least one
} hth_tool_choice;

typedef enum hth_format_kind {
    HTH_FORMAT_TEXT,
    HTH_FORMAT_JSON,    // any JSON object
    HTH_FORMAT_SCHEMA,  // .schema
    HTH_FORMAT_GRAMMAR, // .text, GBNF
    HTH_FORMAT_LARK,    // .text
    HTH_FORMAT_REGEX,   // .text
} hth_format_kind;

typedef enum hth_thinking { HTH_THINK_DEFAULT, HTH_THINK_OFF, HTH_THINK_ON } hth_thinking;

typedef struct hth_ask_bias {
    int32_t token;      // or, where text.p is set, every token of the text
    hth_chat_text text;
    float bias;         // -INFINITY bans
} hth_ask_bias;

typedef struct hth_ask_lora {
    int64_t id;
    double scale;
} hth_ask_lora;

// What a dialect calls the things that may have to be refused later; NULL: the name of the field in hth_ask.
typedef struct hth_ask_names {
    const char *messages, *prompt, *tools, *tool_choice, *format, *max_tokens, *n, *suffix, *adapters, *logprobs, *thinking;
} hth_ask_names;

#define HTH_KEEP_ALIVE_UNSET INT64_MIN
#define HTH_KEEP_ALIVE_FOREVER INT64_MAX

typedef struct hth_ask {
    hth_ask_kind kind;
    hth_chat_text model; // as the client wrote it; empty: the default one
    const hth_ask_names *names;
    const char *document; // [n_document] what the hth_json pointers below were parsed from
    size_t n_document;

    // CHAT
    const hth_chat_message *messages; // [n_message]
    size_t n_message;
    const hth_ask_tool *tools; // [n_tool]
    size_t n_tool;
    hth_tool_choice tool_choice;
    const hth_chat_text *tool_names; // [n_tool_name] the choice is among these; 0: all
    size_t n_tool_name;
    bool one_tool;           // at most one call (parallel_tool_calls: false)
    hth_jinja_value kwargs;  // dict of more variables for the template; MISSING: none
    bool no_answer;          // do not open the answer (add_generation_prompt: false)
    bool no_continue;        // a last message of the assistant is not continued but answered

    hth_ask_prompt before;   // what stands before the rendered messages: a conversation's tokens; n_segment 0: nothing

    // TEXT, EMBED, RERANK
    const hth_ask_prompt *prompts; // [n_prompt] answered in this order
    size_t n_prompt;
    hth_chat_text suffix, query; // p NULL: none
    const hth_ask_prompt *extra; // [n_extra] of fill-in-the-middle: other files, .. with their names
    const hth_chat_text *extra_names;
    size_t n_extra;
    bool no_special;             // no BOS and the like around it

    // how it is thought about
    hth_thinking thinking;
    hth_chat_text effort;      // "low", "high", ...; p NULL: by itself
    int64_t thinking_budget;   // tokens; 0: none given, -1: unlimited
    hth_chat_text thinking_words; // said where the budget ends a thought; p NULL: the family's own
    hth_chat_text control_id;  // by which it can be told to stop thinking; p NULL: it cannot
    bool thinking_in_content;  // reasoning stays in the content, as the model wrote it

    // how it is chosen. `sampling` counts only where `sampling_given` has the field's bit (ask.c: hth_ask_sampling)
    hth_sampler_params sampling;
    uint64_t sampling_given;
    const hth_ask_bias *bias; // [n_bias]
    size_t n_bias;
    hth_format_kind format;
    const char *format_name; // the field that says it; NULL: names->format
    const hth_json *schema;
    bool strict_schema;
    hth_chat_text grammar; // text of FORMAT_GRAMMAR, LARK, REGEX
    int64_t n;             // completions; 0: 1
    int64_t max_tokens;    // 0: as many as the context holds
    bool no_output;        // the prompt alone: for its logprobs, or to fill the cache
    const hth_bytes *stop; // [n_stop]
    size_t n_stop;
    const int32_t *stop_tokens; // [n_stop_token]
    size_t n_stop_token;
    bool ignore_end, show_control, echo;
    bool logprobs, prompt_logprobs;
    bool logprobs_after; // of what the filters have left
    int64_t n_top; // alternatives with each logprob
    bool tokens;   // the ids of tokens are wanted with the text
    bool prompt_tokens; // and those of the prompt
    const hth_ask_lora *lora; // [n_lora] those that are not named are off; NULL: the server's scales
    size_t n_lora;
    int64_t n_draft;          // as hth_request_params

    // EMBED
    hth_chat_text pooling;
    bool no_normalize;
    int64_t dimensions; // 0: all

    // how it runs
    hth_priority priority;
    bool no_cache;
    hth_chat_text salt;   // tenants share nothing
    hth_overflow overflow;
    int64_t n_keep;
    int64_t deadline_ms;
    int64_t keep_alive_ms; // of the model afterwards; HTH_KEEP_ALIVE_UNSET: the server's
    int64_t n_ctx;         // at least; 0: any
    bool detached;         // goes on when the client leaves
    hth_chat_text conversation; // an id of the client's that stays the same over turns; p NULL: none

    // what is told
    bool stream, usage, timings, progress;

    // the scripted model (tests only): every completion is this text
    hth_chat_text script;
    hth_chat_text script_format; // it is written in this format, whatever the model's is; p NULL: in the model's
} hth_ask;

// An ask with the values that zero does not say (keep-alive).
void hth_ask_init(hth_ask *a);

// ---- readers of fields that clients of several dialects send. Their `to` is an hth_ask, or a struct that begins with
// one; what they set is fixed.

// A field of the sampler, by the row's name; sets the value and its bit.
bool hth_ask_read_sampling(hth_fields *f, const hth_json *v, void *to);
#define HTH_ASK_SAMPLING(name_, help_) \
    { .name = name_, .kind = HTH_FIELD_CUSTOM, .words = "number", .read = hth_ask_read_sampling, .help = help_ }
bool hth_ask_read_stop(hth_fields *f, const hth_json *v, void *to);   // a string, or an array of them
bool hth_ask_read_bias(hth_fields *f, const hth_json *v, void *to);   // {"ID": bias}, [[ID or text, bias or false]]
bool hth_ask_read_kwargs(hth_fields *f, const hth_json *v, void *to); // more variables for the template
bool hth_ask_read_samplers(hth_fields *f, const hth_json *v, void *to);  // an order: names in an array or a string
bool hth_ask_read_think(hth_fields *f, const hth_json *v, void *to);     // true, false, or an effort
bool hth_ask_read_budget(hth_fields *f, const hth_json *v, void *to);    // tokens of thoughts; 0: none at all, -1: no limit
bool hth_ask_read_keep_alive(hth_fields *f, const hth_json *v, void *to); // "5m", 300, "300", -1
bool hth_ask_read_lora(hth_fields *f, const hth_json *v, void *to);      // [{"id": 0, "scale": 1}]
bool hth_ask_read_priority(hth_fields *f, const hth_json *v, void *to);

// The effort by its word: sets `thinking`, `effort`. False for an unknown one.
bool hth_ask_set_effort(hth_ask *a, hth_chat_text word);
// Adds a variable for the template.
HTH_NODISCARD bool hth_ask_add_kwarg(hth_fields *f, hth_ask *a, const char *name, hth_jinja_value value);

// Lays what is given over `base`, the model's own settings. `bias` [n_bias] are those of the ask that are tokens.
void hth_ask_lay_sampling(const hth_ask *a, hth_sampler_params *base);

#endif
