// The body of a request as JSON.
#ifndef HTH_SERVER_BODY_H
#define HTH_SERVER_BODY_H

#include "server/fields.h"
#include "server/http.h"

// Parses the body and prepares *f for reading it. What is read, and the document, live as long as the exchange. False:
// *fault says where the body is no JSON object.
HTH_NODISCARD bool hth_body_read(hth_exchange *x, hth_fields *f, const hth_json **root, hth_fault *fault);
// The same where a request may come without a body: *root is NULL then.
HTH_NODISCARD bool hth_body_read_optional(hth_exchange *x, hth_fields *f, const hth_json **root, hth_fault *fault);

// Names what was not honoured in the reply's X-Hearth-Ignored.
void hth_body_tell_ignored(hth_exchange *x, const hth_fields *f);

#endif
