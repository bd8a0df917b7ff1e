// Any bytes as a Lark grammar: no crash, no leak, bounded work, an error that says something, and a mask that always has a way on.
#include "grammar/grammar.h"

#include "grammar_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_grammar(hth_grammar_from_lark, data, size);
    return 0;
}
