// Ollama's options ("num_ctx", "temperature", ...), which created models carry too, and what a created model
// adds to every request for it, whatever dialect the request came in.
#ifndef HTH_SERVER_OPTIONS_H
#define HTH_SERVER_OPTIONS_H

#include "server/ask.h"
#include "server/models.h"

// The rows, for reading and for docs/api.md.
const hth_field *hth_options_fields(size_t *n);

// A reader of fields (hth_field.read): an object of options into the hth_ask at `to`.
bool hth_options_read(hth_fields *f, const hth_json *v, void *to);

// Lays what a created model was made with below what the ask says: options that the ask does not give, a
// system message where it has none, the messages that come first. What is made lives in `arena`; the ask's
// messages are borrowed. False: *fault says what is wrong with the model's own settings.
HTH_NODISCARD bool hth_preset_lay(const hth_preset *p, hth_arena *arena, hth_ask *a, hth_fault *fault);

// Messages as Ollama's clients send them: content is a text, arguments of calls are objects. A reader of
// fields.
bool hth_options_read_messages(hth_fields *f, const hth_json *v, void *to);

#endif
