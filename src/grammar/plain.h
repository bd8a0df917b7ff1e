// How many characters of plain text an automaton takes whatever they are.
#ifndef HTH_GRAMMAR_PLAIN_H
#define HTH_GRAMMAR_PLAIN_H

#include "grammar/impl.h"
#include "grammar/vocab.h"

// Remembered per automaton; a zeroed struct is ready.
typedef struct plain_memo {
    uint8_t **known; // owned, [n_dfa]: [PLAIN_COUNT, n_state], 0 where not known, else the number + 1
    size_t n_dfa;
} plain_memo;

void plain_free(plain_memo *m);
// Every text of at most so many characters of a class leads from state q of the terminal to a living state. At most
// PLAIN_MAX. Where memory is refused, 0, which is right but slow.
unsigned plain_length(plain_memo *m, const hth_grammar *g, const g_term *t, uint32_t q, int class);

#endif
