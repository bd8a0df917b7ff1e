// All tables of fields with the endpoints that read them: for docs/api.md and for tests that give every field
// a wrong value.
#ifndef HTH_SERVER_FIELD_SETS_H
#define HTH_SERVER_FIELD_SETS_H

#include "server/fields.h"

typedef struct hth_field_set {
    const hth_field *fields; // [n]
    size_t n;
} hth_field_set;

extern const hth_field_set hth_openai_chat_set, hth_openai_completion_set, hth_openai_embedding_set,
    hth_openai_rerank_set, hth_responses_set, hth_anthropic_set, hth_ollama_chat_set, hth_ollama_generate_set,
    hth_ollama_embed_set, hth_ollama_embeddings_set, hth_ollama_show_set, hth_ollama_create_set,
    hth_ollama_copy_set, hth_ollama_delete_set, hth_llama_completion_set, hth_llama_infill_set,
    hth_llama_embedding_set, hth_llama_tokenize_set, hth_llama_detokenize_set, hth_llama_template_set;

typedef struct hth_endpoint {
    const char *dialect, *name; // "openai", "POST /v1/chat/completions"
    const hth_field_set *set;
} hth_endpoint;

extern const hth_endpoint hth_endpoints[]; // ends with a row without name

#endif
