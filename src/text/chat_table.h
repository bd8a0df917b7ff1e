// The table of chat formats, apart from the code that uses it.
#ifndef HTH_TEXT_CHAT_TABLE_H
#define HTH_TEXT_CHAT_TABLE_H

#include "text/chat_format.h"

// In the pieces below these stand for the model's own BOS and EOS.
#define CHAT_BOS "\x01"
#define CHAT_EOS "\x02"

enum {
    CHAT_TRIM = 1 << 0,           // white space around user and assistant texts goes
    CHAT_TRIM_ASSISTANT = 1 << 1, // around assistant texts only
    CHAT_TRIM_SYSTEM = 1 << 2,    // around the system text
    CHAT_SYSTEM_FIRST = 1 << 3,   // no system turn: the text opens the first user turn
    CHAT_SYSTEM_LAST = 1 << 4,    // no system turn: the text opens the last user turn
    CHAT_SYSTEM_ALWAYS = 1 << 5,  // the system turn stands even when it is empty
    CHAT_CHECK_ANSWER = 1 << 6,   // the template must hold `answer` as a whole string
    CHAT_DEFAULT_SYSTEM = 1 << 7, // the template may carry a system text for chats without one
    CHAT_ONLY_BY_NAME = 1 << 8,
};

typedef struct chat_row {
    const char *name;
    const char *has[3];    // strings that the template must contain
    const char *lacks[8];  // strings that show a template of another kind
    const char *tokens[2]; // control tokens by which a vocabulary without a template shows the format
    const char *around[HTH_CHAT_ROLE_COUNT][2]; // text before and after a message, by role
    const char *answer;                         // what stands before the answer to be written
    unsigned flags;
} chat_row;

extern const chat_row hth_chat_rows[];
extern const size_t hth_chat_n_row;

#endif
