// A pattern, a zero byte, a text: no crash, searches that end, matches that lie in the text and come in
// order.
#include <stdlib.h>
#include <string.h>

#include "text/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void search(const hth_regex *re, const uint8_t *text, size_t n) {
    hth_matcher m = {0};
    hth_err err = {.msg = ""};
    size_t from = 0;
    bool found = true;
    hth_code code = hth_matcher_begin(&m, re, text, n, &err);
    while (code == HTH_OK && found && from <= n) {
        size_t start = 0, end = 0;
        code = hth_matcher_find(&m, from, &found, &start, &end, &err);
        if (code != HTH_OK || !found) break;
        if (start < from || end < start || end > n) abort();
        from = end > start ? end : end + 1;
    }
    if (code != HTH_OK && code != HTH_ERR_LIMIT) abort();
    hth_matcher_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static hth_unicode unicode;
    hth_err err = {.msg = ""};
    if (!unicode.runs && hth_unicode_init(&unicode, &err) != HTH_OK) abort();
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size;
    hth_regex *re = NULL;
    hth_code code = hth_regex_compile((const char *)data, n, &unicode, &re, &err);
    if ((code == HTH_OK) != (re != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (re) search(re, zero ? zero + 1 : data, zero ? size - n - 1 : size);
    hth_regex_free(re);
    return 0;
}
