// The list of endpoints that read tables.
#include "server/field_sets.h"

const hth_endpoint hth_endpoints[] = {
    {"openai", "POST /v1/chat/completions", &hth_openai_chat_set},
    {"openai", "POST /v1/completions", &hth_openai_completion_set},
    {"openai", "POST /v1/embeddings", &hth_openai_embedding_set},
    {"openai", "POST /v1/rerank", &hth_openai_rerank_set},
    {"openai", "POST /v1/responses", &hth_responses_set},
    {"anthropic", "POST /v1/messages", &hth_anthropic_set},
    {"ollama", "POST /api/chat", &hth_ollama_chat_set},
    {"ollama", "POST /api/generate", &hth_ollama_generate_set},
    {"ollama", "POST /api/embed", &hth_ollama_embed_set},
    {"ollama", "POST /api/embeddings", &hth_ollama_embeddings_set},
    {"ollama", "POST /api/show", &hth_ollama_show_set},
    {"ollama", "POST /api/create", &hth_ollama_create_set},
    {"ollama", "POST /api/copy", &hth_ollama_copy_set},
    {"ollama", "DELETE /api/delete", &hth_ollama_delete_set},
    {"llama-server", "POST /completion", &hth_llama_completion_set},
    {"llama-server", "POST /infill", &hth_llama_infill_set},
    {"llama-server", "POST /embedding", &hth_llama_embedding_set},
    {"llama-server", "POST /tokenize", &hth_llama_tokenize_set},
    {"llama-server", "POST /detokenize", &hth_llama_detokenize_set},
    {"llama-server", "POST /apply-template", &hth_llama_template_set},
    {NULL, NULL, NULL},
};
