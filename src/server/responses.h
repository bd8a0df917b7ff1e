// Responses that are being made or were asked to be kept, of OpenAI's /v1/responses.
#ifndef HTH_SERVER_RESPONSES_H
#define HTH_SERVER_RESPONSES_H

#include "base/err.h"

struct hth_server;
typedef struct hth_responses hth_responses;

// Returns owned. `s` is borrowed.
HTH_NODISCARD hth_code hth_responses_new(struct hth_server *s, hth_responses **out, hth_err *err);
// Cancels what is at work and waits for it; before the models are closed. NULL is valid.
void hth_responses_free(hth_responses *r);

#endif
