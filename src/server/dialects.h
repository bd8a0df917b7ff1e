// What each dialect gives to the table of routes: its words for faults, and its rows, the last one without pattern.
#ifndef HTH_SERVER_DIALECTS_H
#define HTH_SERVER_DIALECTS_H

#include "server/route.h"

extern const hth_dialect hth_openai, hth_ollama, hth_llama, hth_anthropic;

extern const hth_route hth_server_routes[]; // server_routes.c: of no dialect
extern const hth_route hth_anthropic_routes[]; // before OpenAI's: its paths of models are for who names its version
extern const hth_route hth_openai_routes[];
extern const hth_route hth_responses_routes[]; // OpenAI's too
extern const hth_route hth_ollama_routes[];
extern const hth_route hth_llama_routes[];

#endif
