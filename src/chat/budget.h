// A budget for thoughts: watches completions as they are generated, and ends a thought that has used it up, or that is to
// stop now, in the family's own way. Goes into a request as its hth_force_fn.
#ifndef HTH_CHAT_BUDGET_H
#define HTH_CHAT_BUDGET_H

#include "chat/output.h"

typedef struct hth_chat_budget hth_chat_budget;

typedef struct hth_chat_budget_params {
    const hth_chat_output_params *answers; // how they are read; sink and user do not matter, the tokenizer is needed
    const hth_chat_template *chat;         // how its model ends thoughts; NULL: as the format does
    hth_chat_text words;  // said before the end; p NULL: what the family's authors have their models say
    int64_t most;         // tokens of a completion's thoughts; -1: no limit but hth_chat_budget_stop
    int32_t n_completion;
} hth_chat_budget_params;

// Returns owned. HTH_ERR_UNSUPPORTED where the format knows no end of thoughts.
HTH_NODISCARD hth_code hth_chat_budget_new(const hth_chat_budget_params *p, hth_chat_budget **out, hth_err *err);
void hth_chat_budget_free(hth_chat_budget *b); // NULL is valid
// Thoughts end now, those that are open and those to come. From any thread.
void hth_chat_budget_stop(hth_chat_budget *b);
// An hth_force_fn whose user is the budget. Never cuts inside of a character.
size_t hth_chat_budget_force(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out);

#endif
