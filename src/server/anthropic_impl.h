// Anthropic's Messages: what reading, printing and the routes share.
#ifndef HTH_SERVER_ANTHROPIC_IMPL_H
#define HTH_SERVER_ANTHROPIC_IMPL_H

#include "base/sha256.h"
#include "server/call.h"

// A request as it is read. The ask is first: the shared readers of fields fill it.
typedef struct anthropic_request {
    hth_ask ask;
    // Being built from `system` and `messages`. messages[0] is the system's place; parts and calls of a
    // message lie together, since only the last one grows.
    hth_chat_message *messages;
    hth_chat_part *parts;
    hth_chat_call *calls;
    char *thoughts;
    size_t n_message, n_part, n_call, n_thought;
    bool begins_turn;            // the next block begins a message, whatever its role
    const hth_chat_part *system; // [n_system]
    size_t n_system;
    hth_chat_text effort;
    bool has_max_tokens;
    bool omits_thoughts; // thinking blocks come without their text
} anthropic_request;

typedef enum anthropic_block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL } anthropic_block;

// A reply as it is printed.
typedef struct anthropic_reply {
    char id[HTH_CALL_ID];
    const char *model;
    bool has_begun, has_failed, omits_thoughts;
    anthropic_block block; // the open one
    int64_t n_block;       // those that were opened
    int64_t n_prompt, n_cached;
    hth_finish reason;
    hth_chat_text stop; // STOP_TEXT
    hth_arena *arena;   // of the exchange
    hth_sha256 thought; // of the open thinking block
} anthropic_reply;

// Reads the body of /v1/messages, or of count_tokens, which needs no max_tokens.
HTH_NODISCARD bool anthropic_read(hth_fields *f, const hth_json *root, bool counts_only,
                                  anthropic_request *r);

extern const hth_printer anthropic_printer; // its user is an anthropic_reply
void anthropic_write_fault(const hth_fault *fault, int status, hth_str *out);

#endif
