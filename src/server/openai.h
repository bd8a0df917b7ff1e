// What the files of OpenAI's dialect share.
#ifndef HTH_SERVER_OPENAI_H
#define HTH_SERVER_OPENAI_H

#include "base/json_out.h"
#include "server/body.h"
#include "server/call.h"
#include "server/dialects.h"
#include "server/server.h"

#define OPENAI_FINGERPRINT "b1-hearth"

// openai.c
void openai_write_fault(const hth_fault *f, int status, hth_str *out);
void openai_fault_object(const hth_fault *f, int status, hth_json_out *j); // {"error": {...}}
const char *openai_finish(hth_finish reason);
void openai_usage(hth_json_out *j, const hth_call_usage *u);
void openai_timings(hth_json_out *j, const hth_call_usage *u);
// The members of an object {"id": ...} that was written before, as the first ones of another.
void openai_head(hth_json_out *j, const hth_str *object);
// One frame of a stream: "data: " before, a blank line after what write appends.
void openai_data(hth_str *out, const char *json, size_t n);
// Prompts of /v1/completions, /v1/embeddings: a text, texts, tokens, lists of tokens. `what` names them in refusals.
bool openai_read_prompts(hth_fields *f, const hth_json *v, hth_ask *a);

// openai_messages.c: readers of fields; their `to` begins with an hth_ask.
bool openai_read_messages(hth_fields *f, const hth_json *v, void *to);
bool openai_read_tools(hth_fields *f, const hth_json *v, void *to);
bool openai_read_tool_choice(hth_fields *f, const hth_json *v, void *to);
bool openai_read_format(hth_fields *f, const hth_json *v, void *to);

// Handlers.
void openai_chat(hth_server *s, hth_exchange *x, const hth_match *m);
void openai_control(hth_server *s, hth_exchange *x, const hth_match *m);
void openai_chat_count(hth_server *s, hth_exchange *x, const hth_match *m);
void openai_completions(hth_server *s, hth_exchange *x, const hth_match *m);
void openai_embeddings(hth_server *s, hth_exchange *x, const hth_match *m);
void openai_rerank(hth_server *s, hth_exchange *x, const hth_match *m);

#endif
