// Stop texts. The held text is shorter than the longest of them, so each comparison is short.
#include "engine/stop.h"

#include <string.h>

void hth_stop_filter_init(hth_stop_filter *f, const hth_bytes *texts, size_t n) {
    *f = (hth_stop_filter){.texts = texts, .n = n};
    hth_str_init(&f->held, HTH_MEM_ENGINE, (size_t)1 << 30);
}

void hth_stop_filter_free(hth_stop_filter *f) {
    hth_str_free(&f->held);
}

// The first place where a stop text ends, and where it begins; false when none is there.
static bool find(const hth_stop_filter *f, size_t *begin, int32_t *which) {
    const char *p = f->held.p;
    for (size_t end = 1; end <= f->held.len; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < f->n; i++) {
            const size_t n = f->texts[i].n;
            if (n > end || n <= longest || memcmp(p + end - n, f->texts[i].p, n) != 0) continue;
            longest = n;
            *which = (int32_t)i;
        }
        if (longest == 0) continue;
        *begin = end - longest;
        return true;
    }
    return false;
}

// How many bytes at the end may be the beginning of a stop text.
static size_t count_undecided(const hth_stop_filter *f) {
    size_t most = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t n = f->texts[i].n - 1 < f->held.len ? f->texts[i].n - 1 : f->held.len;
        while (n > most && memcmp(f->held.p + f->held.len - n, f->texts[i].p, n) != 0) n--;
        if (n > most) most = n;
    }
    return most;
}

hth_code hth_stop_filter_push(hth_stop_filter *f, const char *text, size_t n, hth_str *out, int32_t *which, hth_err *err) {
    *which = -1;
    if (n == 0) return HTH_OK;
    if (f->n == 0) return hth_str_append(out, text, n) ? HTH_OK : hth_fail_nomem(err, n);
    if (!hth_str_append(&f->held, text, n)) return hth_fail_nomem(err, n);
    size_t certain = 0;
    if (!find(f, &certain, which)) certain = f->held.len - count_undecided(f);
    if (!hth_str_append(out, f->held.p, certain)) return hth_fail_nomem(err, certain);
    const size_t left = *which >= 0 ? 0 : f->held.len - certain;
    memmove(f->held.p, f->held.p + certain, left);
    f->held.len = left;
    return HTH_OK;
}

hth_code hth_stop_filter_end(hth_stop_filter *f, hth_str *out, hth_err *err) {
    const size_t n = f->held.len;
    if (n > 0 && !hth_str_append(out, f->held.p, n)) return hth_fail_nomem(err, n);
    hth_str_clear(&f->held);
    return HTH_OK;
}
