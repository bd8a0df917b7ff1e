// Calls of tools as a model wrote them, by their ids. Clients send arguments back in another spelling, often another order;
// where they mean the same, the prompt gets the model's own, so that what was computed of the answer is of use again.
#ifndef HTH_SERVER_SAMPLED_H
#define HTH_SERVER_SAMPLED_H

#include "chat/message.h"

typedef struct hth_sampled hth_sampled; // of one model; bounded, the oldest go first. Any thread may use it

hth_sampled *hth_sampled_new(void); // returns owned; NULL: no memory
void hth_sampled_free(hth_sampled *s); // NULL is valid

// Remembers a call that is complete. What is too long, or finds no memory, is not remembered.
void hth_sampled_keep(hth_sampled *s, hth_chat_text id, hth_chat_text name, hth_chat_text arguments);

typedef enum hth_sampled_found {
    HTH_SAMPLED_SAME,    // the arguments have been replaced by those that were written
    HTH_SAMPLED_CHANGED, // another name, or arguments that mean something else
    HTH_SAMPLED_UNKNOWN, // no call of this id, or none any more
    HTH_SAMPLED_COUNT
} hth_sampled_found;
// A call that a client has sent back. A copy of the arguments lives in `a`.
hth_sampled_found hth_sampled_find(hth_sampled *s, hth_arena *a, hth_chat_call *call);

#endif
