// The likeliest word for one that was mistyped, by edit distance.
#include "base/nearest.h"

#include <string.h>

// Edit distance of two words, none longer than MAX_WORD.
#define MAX_WORD 40
static size_t distance(const char *a, const char *b) {
    size_t row[MAX_WORD + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < change) change = row[j] + 1;
            if (row[j - 1] + 1 < change) change = row[j - 1] + 1;
            row[j] = change;
        }
    }
    return row[n];
}

const char *hth_nearest(const char *word, const char *const *names, size_t n) {
    size_t len = strlen(word), best = len / 3 + 2;
    const char *found = NULL;
    if (len == 0 || len > MAX_WORD) return NULL;
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) > MAX_WORD) continue;
        size_t d = len > 1 && strncmp(names[i], word, len) == 0 ? 1 : distance(word, names[i]);
        if (d >= best) continue;
        best = d;
        found = names[i];
    }
    return found;
}
