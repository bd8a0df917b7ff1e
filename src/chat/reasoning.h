// Thinking: what a request asks for, in the terms that a family's template understands. Which those are is found by
// asking the template (hth_chat_reasoning_find), as its other abilities are.
#ifndef HTH_CHAT_REASONING_H
#define HTH_CHAT_REASONING_H

#include "chat/format.h"

typedef enum hth_chat_think { HTH_CHAT_THINK_AUTO, HTH_CHAT_THINK_OFF, HTH_CHAT_THINK_ON } hth_chat_think;

typedef enum hth_chat_effort {
    HTH_CHAT_EFFORT_AUTO,
    HTH_CHAT_EFFORT_MINIMAL,
    HTH_CHAT_EFFORT_LOW,
    HTH_CHAT_EFFORT_MEDIUM,
    HTH_CHAT_EFFORT_HIGH,
} hth_chat_effort;

// What a template understands.
typedef struct hth_chat_reasoning {
    bool thinks;             // the family has thoughts
    const char *switch_key;  // the variable that turns them on and off, NULL: none
    const char *switch_off;  // JSON of its values
    const char *switch_on;
    const char *effort_key;  // the variable for effort, NULL: none
    const char *budget_key;  // the variable for a budget in tokens, NULL: none
    const char *word_off, *word_on; // words in a message that turn thoughts off and on ("/no_think"), NULL: none
    bool keeps_earlier;      // thoughts of earlier turns are written into the prompt again
    bool keeps_current;      // those since the last question are (between calls of tools)
} hth_chat_reasoning;

HTH_NODISCARD hth_code hth_chat_reasoning_find(const hth_chat_template *t, const hth_chat_format *f,
                                               hth_chat_reasoning *out, hth_err *err);

typedef struct hth_chat_reasoning_choice {
    hth_chat_think think;
    hth_chat_effort effort;
    int64_t budget; // tokens, where the template tells its model (chat/budget.h keeps it); 0: none
} hth_chat_reasoning_choice;

// "off", "none", "on", "auto", "minimal", "low", "medium", "high"; false for anything else.
bool hth_chat_reasoning_parse(const char *word, hth_chat_reasoning_choice *out);

typedef struct hth_chat_reasoning_plan {
    const char *word;   // to be written at the end of the system text, NULL: nothing
    bool must_skip;     // the template cannot be told: hth_chat_format_skip_thought's text goes behind the prompt
    bool ignores_effort, ignores_on; // what the family cannot be asked for
} hth_chat_reasoning_plan;

// Adds the variables to `kwargs`, a dict in `a`; those that are there already stay as they are.
HTH_NODISCARD hth_code hth_chat_reasoning_apply(const hth_chat_reasoning *r, const hth_chat_reasoning_choice *choice,
                                                hth_arena *a, hth_jinja_value *kwargs, hth_chat_reasoning_plan *out,
                                                hth_err *err);

#endif
