// What the server was told for requests that say nothing themselves.
#ifndef HTH_SERVER_DEFAULTS_H
#define HTH_SERVER_DEFAULTS_H

#include "server/ask.h"
#include "server/config.h"

// Fills what the ask leaves open; what is made lives in `arena`.
HTH_NODISCARD bool hth_defaults_lay(const hth_config *c, hth_arena *arena, hth_ask *a, hth_fault *fault);

#endif
