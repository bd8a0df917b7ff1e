// Error values of Hearth's C interface. A function that can fail returns a code and, where it is given a place
// for it, describes what happened and where in one sentence for a person.
#ifndef HEARTH_ERR_H
#define HEARTH_ERR_H

#include <stdint.h>

#define HTH_API __attribute__((visibility("default")))
#define HTH_CHECKED __attribute__((warn_unused_result)) HTH_API

typedef enum hth_code {
    HTH_OK = 0,
    HTH_ERR_NOMEM,       // an allocation failed, or would pass a limit
    HTH_ERR_IO,          // the operating system refused: open, read, map
    HTH_ERR_FORMAT,      // bytes from outside contradict their format
    HTH_ERR_LIMIT,       // well-formed, but larger than a stated limit
    HTH_ERR_UNSUPPORTED, // well-formed, but a kind this build does not know
    HTH_ERR_RANGE,       // an argument outside its stated range
    HTH_ERR_NOTFOUND,
    HTH_ERR_CANCELLED,
    HTH_ERR_INTERNAL, // our own bug, reported instead of crashing
    HTH_ERR_BUSY,     // the queue is full: try again later
    HTH_ERR_TIMEOUT,  // a deadline passed, or nothing came in the time that was given
    HTH_ERR_NUMBERS,  // the model computed values that are no numbers
} hth_code;

// One error: what and where. `pos` is a byte offset in the file at fault, or HTH_NO_POS.
#define HTH_NO_POS UINT64_MAX
typedef struct hth_err {
    hth_code code;
    uint64_t pos;
    char msg[512]; // one line, no trailing newline, control characters replaced
} hth_err;

#endif
