// Overlap check over tensors sorted by offset. Files written in order, the usual case, are not sorted.
#include "formats/extent.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "formats/utf8.h"

hth_shown hth_show_name(const char *name, size_t n) {
    hth_shown s;
    const size_t room = sizeof s.text - sizeof "...";
    size_t keep = n;
    if (keep > room) {
        keep = room;
        while (keep > 0 && hth_utf8_is_tail((uint8_t)name[keep])) keep--;
    }
    if (keep) memcpy(s.text, name, keep);
    snprintf(s.text + keep, sizeof s.text - keep, "%s", keep < n ? "..." : "");
    return s;
}

hth_code hth_refuse_pointer(const uint8_t *data, uint64_t n_bytes, hth_err *err) {
    static const char first[] = "version https://git-lfs";
    if (n_bytes < sizeof first - 1 || memcmp(data, first, sizeof first - 1) != 0) return HTH_OK;
    return hth_fail_at(err, HTH_ERR_FORMAT, 0,
                       "this is a git-lfs pointer, not the weights; fetch the real file (git lfs pull)");
}

static int compare_offsets(const void *a, const void *b) {
    const hth_tensor *x = *(const hth_tensor *const *)a, *y = *(const hth_tensor *const *)b;
    if (x->off != y->off) return x->off < y->off ? -1 : 1;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return 0;
}

static hth_code check_pair(const hth_tensor *prev, const hth_tensor *t, bool gapless, uint64_t at,
                           hth_err *err) {
    hth_shown name = hth_show_name(t->name, strlen(t->name));
    if (prev && t->off < at) {
        hth_shown other = hth_show_name(prev->name, strlen(prev->name));
        return hth_fail_at(err, HTH_ERR_FORMAT, t->off, "tensors '%s' and '%s' overlap", other.text,
                           name.text);
    }
    if (gapless && t->off != at) {
        return hth_fail_at(err, HTH_ERR_FORMAT, at, "%llu bytes before tensor '%s' belong to no tensor",
                           (unsigned long long)(t->off - at), name.text);
    }
    return HTH_OK;
}

static hth_code check_sorted(const hth_tensor *const *sorted, size_t n, bool gapless, uint64_t begin,
                             uint64_t end, hth_err *err) {
    uint64_t at = begin;
    const hth_tensor *prev = NULL;
    for (size_t i = 0; i < n; i++) {
        if (sorted[i]->n_bytes == 0) continue; // shares bytes with nothing
        HTH_TRY(check_pair(prev, sorted[i], gapless, at, err));
        at = sorted[i]->off + sorted[i]->n_bytes;
        prev = sorted[i];
    }
    if (gapless && at != end) {
        return hth_fail_at(err, HTH_ERR_FORMAT, at, "the last %llu bytes of the file belong to no tensor",
                           (unsigned long long)(end - at));
    }
    return HTH_OK;
}

hth_code hth_extent_check(const hth_tensor *tensors, size_t n, bool gapless, uint64_t begin, uint64_t end,
                          hth_err *err) {
    const hth_tensor **sorted = hth_calloc(HTH_MEM_FORMAT, n, sizeof *sorted);
    if (!sorted) return hth_fail_nomem(err, n * sizeof *sorted);
    bool in_order = true;
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &tensors[i];
        in_order = in_order && (i == 0 || tensors[i - 1].off <= tensors[i].off);
    }
    if (!in_order) qsort((void *)sorted, n, sizeof *sorted, compare_offsets);
    hth_code code = check_sorted(sorted, n, gapless, begin, end, err);
    hth_free((void *)sorted);
    return code;
}
