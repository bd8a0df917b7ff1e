// The guides of a request's completions, as an engine asks for their masks.
#include "grammar/grammar.h"

#define MOST_FORCED 64 // tokens at once

struct hth_guides {
    int32_t n;
    struct guide_slot {
        hth_guide *guide; // owned
        hth_token_list forced;
        hth_err err;
    } slots[];
};

hth_code hth_guides_new(const hth_guide_params *p, int32_t n, hth_guides **out, hth_err *err) {
    if (n < 1 || n > 4096) return hth_fail(err, HTH_ERR_RANGE, "%d completions cannot be guided", (int)n);
    hth_guides *gs = hth_calloc(HTH_MEM_TEXT, 1, sizeof *gs + (size_t)n * sizeof gs->slots[0]);
    if (!gs) return hth_fail_nomem(err, (size_t)n * sizeof gs->slots[0]);
    for (; gs->n < n; gs->n++) {
        hth_code code = hth_guide_new(p, &gs->slots[gs->n].guide, err);
        if (code != HTH_OK) {
            hth_guides_free(gs);
            return code;
        }
    }
    *out = gs;
    return HTH_OK;
}

void hth_guides_free(hth_guides *gs) {
    if (!gs) return;
    for (int32_t i = 0; i < gs->n; i++) {
        hth_guide_free(gs->slots[i].guide);
        hth_token_list_free(&gs->slots[i].forced);
    }
    hth_free(gs);
}

bool hth_guides_mask(void *user, int32_t completion, const int32_t *tokens, size_t n, uint32_t *mask) {
    hth_guides *gs = user;
    if (completion < 0 || completion >= gs->n) return false;
    struct guide_slot *s = &gs->slots[completion];
    return hth_guide_sync(s->guide, tokens, n, &s->err) == HTH_OK && hth_guide_mask(s->guide, mask, &s->err) == HTH_OK;
}

size_t hth_guides_force(void *user, int32_t completion, const int32_t *tokens, size_t n, const int32_t **out) {
    hth_guides *gs = user;
    hth_err err;
    if (completion < 0 || completion >= gs->n) return 0;
    struct guide_slot *s = &gs->slots[completion];
    s->forced.n = 0;
    hth_code code = hth_guide_sync(s->guide, tokens, n, &err);
    if (code == HTH_OK) code = hth_guide_forced(s->guide, MOST_FORCED, &s->forced, &err);
    if (code != HTH_OK) return 0;
    *out = s->forced.ids;
    return s->forced.n;
}

hth_guide *hth_guides_at(hth_guides *gs, int32_t i) {
    return i >= 0 && i < gs->n ? gs->slots[i].guide : NULL;
}

const hth_err *hth_guides_error(const hth_guides *gs, int32_t i) {
    return i >= 0 && i < gs->n ? &gs->slots[i].err : NULL;
}
