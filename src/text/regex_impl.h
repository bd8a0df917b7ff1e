// The program that a pattern becomes; shared by its compiler and its matcher.
#ifndef HTH_TEXT_REGEX_IMPL_H
#define HTH_TEXT_REGEX_IMPL_H

#include "text/cpset.h"
#include "text/regex.h"

#define HTH_RE_MAX_INS 8192
#define HTH_RE_MAX_SETS 128
#define HTH_RE_MAX_ALTS 64 // top-level alternatives that are dispatched by first character
#define HTH_RE_INFINITE UINT32_MAX

typedef enum re_op {
    RE_SET,  // one character of set x
    RE_BYTE, // the ASCII character x
    RE_LOOP, // min to max characters of set x; y is the run slot
    RE_LOOP_POSSESSIVE,
    RE_SPLIT, // try at pc + x, then at pc + y; slot numbers the choice point
    RE_JUMP,  // to pc + x
    RE_LOOK,  // look-around body follows up to RE_LOOK_END; goes on at pc + x; y: is it negated
    RE_LOOK_END,
    RE_LOOK_SET, // next character is of set x (y = 0), or is not, or the text ends (y = 1)
    RE_BEHIND,   // steps x characters back
    RE_ATOMIC,   // body follows up to RE_ATOMIC_END
    RE_ATOMIC_END,
    RE_LINE_BEGIN,
    RE_LINE_END,
    RE_TEXT_BEGIN,
    RE_TEXT_END,
    RE_TEXT_END_NL,
    RE_WORD_EDGE,
    RE_NO_WORD_EDGE,
    RE_MATCH,
} re_op;

typedef struct re_ins {
    uint16_t op;
    uint16_t slot;
    int32_t x, y;
    uint32_t min, max;
} re_ins;

typedef struct re_alt {
    uint32_t pc;
    uint64_t first[2]; // ASCII characters that it can begin with
    bool first_high;   // can begin with a character beyond ASCII
    bool nullable;
} re_alt;

struct hth_regex {
    re_ins *ins; // owned
    size_t n_ins;
    hth_charset *sets[HTH_RE_MAX_SETS]; // owned
    size_t n_set;
    hth_charset *word; // owned; only when word edges are used
    re_alt alts[HTH_RE_MAX_ALTS];
    size_t n_alt;
    uint64_t by_first[128]; // which alternatives an ASCII character can begin
    uint64_t by_high;       // which any other character can begin
    uint64_t at_end;        // which can match nothing
    uint32_t n_split, n_run;
};

// Adds the property called name to a set; false when there is none such.
bool hth_re_add_property(const hth_unicode *u, hth_cpset *set, const char *name, size_t n);

#endif
