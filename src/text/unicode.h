// Characters for the tokenizers: lenient UTF-8 decoding, general categories as runs (from utf8proc),
// script ranges, and the byte alphabet of byte-level BPE.
#ifndef HTH_TEXT_UNICODE_H
#define HTH_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define HTH_CP_END 0x110000u // one past the last code point
#define HTH_CP_BAD 0xFFFDu   // what invalid bytes decode to

// The code point at p (left > 0 bytes exist) and how many bytes it takes. A maximal invalid subpart
// (Unicode 3.9, U+FFFD substitution) decodes to HTH_CP_BAD.
uint32_t hth_cp_decode(const uint8_t *p, size_t left, unsigned *len);

static inline uint32_t hth_cp_at(const uint8_t *p, size_t left, unsigned *len) {
    if (p[0] < 0x80) {
        *len = 1;
        return p[0];
    }
    return hth_cp_decode(p, left, len);
}

// True when a decoded HTH_CP_BAD stands for invalid bytes, not for a written U+FFFD.
static inline bool hth_cp_is_invalid(const uint8_t *p, uint32_t cp, unsigned len) {
    return cp == HTH_CP_BAD && !(len == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] == 0xbd);
}

// Start of the character that ends at text[pos], pos > 0, in the same division into characters that
// decoding from the front gives.
size_t hth_cp_before(const uint8_t *text, size_t pos);

// Writes 1 to 4 bytes; cp below HTH_CP_END.
unsigned hth_cp_encode(uint32_t cp, uint8_t out[4]);

// Appends text with each maximal invalid subpart replaced by U+FFFD.
void hth_utf8_sanitize(hth_str *out, const uint8_t *text, size_t n);

// Categories as utf8proc numbers them (utf8proc_category_t); a mask has bit `category`.
enum {
    HTH_CAT_CN,
    HTH_CAT_LU,
    HTH_CAT_LL,
    HTH_CAT_LT,
    HTH_CAT_LM,
    HTH_CAT_LO,
    HTH_CAT_MN,
    HTH_CAT_MC,
    HTH_CAT_ME,
    HTH_CAT_ND,
    HTH_CAT_NL,
    HTH_CAT_NO,
    HTH_CAT_PC,
    HTH_CAT_PD,
    HTH_CAT_PS,
    HTH_CAT_PE,
    HTH_CAT_PI,
    HTH_CAT_PF,
    HTH_CAT_PO,
    HTH_CAT_SM,
    HTH_CAT_SC,
    HTH_CAT_SK,
    HTH_CAT_SO,
    HTH_CAT_ZS,
    HTH_CAT_ZL,
    HTH_CAT_ZP,
    HTH_CAT_CC,
    HTH_CAT_CF,
    HTH_CAT_CS,
    HTH_CAT_CO,
    HTH_CAT_COUNT
};
#define HTH_CATS(first, last) ((2u << (last)) - (1u << (first)))
#define HTH_CATS_L HTH_CATS(HTH_CAT_LU, HTH_CAT_LO)
#define HTH_CATS_M HTH_CATS(HTH_CAT_MN, HTH_CAT_ME)
#define HTH_CATS_N HTH_CATS(HTH_CAT_ND, HTH_CAT_NO)
#define HTH_CATS_P HTH_CATS(HTH_CAT_PC, HTH_CAT_PO)
#define HTH_CATS_S HTH_CATS(HTH_CAT_SM, HTH_CAT_SO)
#define HTH_CATS_Z HTH_CATS(HTH_CAT_ZS, HTH_CAT_ZP)
#define HTH_CATS_C (HTH_CATS(HTH_CAT_CC, HTH_CAT_CO) | 1u << HTH_CAT_CN)

unsigned hth_cp_category(uint32_t cp);
bool hth_cp_is_space(uint32_t cp); // White_Space
bool hth_cp_is_word(uint32_t cp);  // alphabetic, marks, decimal digits, connectors, joiners (UTS 18)

// All of Unicode as runs of one category, to build character sets from quickly.
typedef struct hth_cat_run {
    uint32_t first; // the run ends where the next begins
    uint32_t cat;
} hth_cat_run;
typedef struct hth_unicode {
    hth_cat_run *runs; // owned; the last is a sentinel at HTH_CP_END
    size_t n_run, cap;
} hth_unicode;
HTH_NODISCARD hth_code hth_unicode_init(hth_unicode *u, hth_err *err);
void hth_unicode_free(hth_unicode *u);

// Script by its Unicode name, compared without case, spaces, '-' and '_'. Pairs of first and last code
// point, NULL for a name that the table lacks.
const uint32_t *hth_script_ranges(const char *name, size_t n, size_t *n_range);

// The alphabet of byte-level BPE (GPT-2's encoder.py): each byte is written as a visible character.
extern const uint16_t hth_byte_to_char[256];
// The byte that such a character stands for, or -1.
int hth_char_to_byte(uint32_t cp);
// Undoes the alphabet. Returns the bytes written, -1 when they are too many or a character is foreign.
int hth_bytes_decode(const char *text, size_t n, char *out, size_t room);

#endif
