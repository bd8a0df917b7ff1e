// Super-blocks: the steps (and offsets) of their groups are themselves whole numbers of a common f16 step.
#include <string.h>

#include "quant/fit.h"
#include "quant/type_impl.h"

enum { N_TURN = 2 }; // turns of codes, scales and least squares for the common step

// ---- steps of the groups as whole numbers of one step

// d such that value[g] ~ d * code with codes lo..hi errs least, errors weighed by curve[g].
static float fit_common(const float *value, const float *curve, int n, int lo, int hi) {
    float extreme = 0, best = 0, best_err = INFINITY;
    for (int g = 0; g < n; g++)
        if (fabsf(value[g]) > fabsf(extreme)) extreme = value[g];
    if (!(fabsf(extreme) > 1e-30f) || !isfinite(extreme)) return 0;
    const float end = (float)(lo < 0 ? lo : hi);
    for (int k = -8; k <= 8; k++) {
        const float inv = (end + 0.1f * (float)k) / extreme;
        float num = 0, den = 0, err = 0;
        for (int g = 0; g < n; g++) {
            const float c = (float)clamp_nearest(inv * value[g], lo, hi);
            num += curve[g] * c * value[g];
            den += curve[g] * c * c;
        }
        const float d = den > 0 ? num / den : 1 / inv;
        for (int g = 0; g < n; g++) {
            const float diff = d * (float)clamp_nearest(inv * value[g], lo, hi) - value[g];
            err += curve[g] * diff * diff;
        }
        if (err < best_err) best_err = err, best = d;
    }
    return hth_fit_round_f16(best);
}

// ---- signed

typedef struct signed_work {
    const float *x;
    float weight[HTH_FIT_SUPER], level[HTH_FIT_SUPER];
    float step[HTH_FIT_MAX_GROUPS]; // that groups would like
    int scale[HTH_FIT_MAX_GROUPS];
    int group, n_group, lo, hi;
    hth_fit_levels levels;
    float d, err;
} signed_work;

// Scales near the wished ones and their levels under k->d. Returns the error of all.
static float choose_signed(signed_work *k) {
    const float inv = inverse_or_zero(k->d);
    float sum = 0;
    for (int g = 0; g < k->n_group; g++) {
        const int at = g * k->group, near = clamp_nearest(inv * k->step[g], k->lo, k->hi);
        float best = INFINITY, trial[HTH_FIT_MAX_LEN];
        k->scale[g] = near;
        for (int s = near - 1; s <= near + 1; s++) {
            if (s < k->lo || s > k->hi) continue;
            const float err = hth_fit_round_signed(k->x + at, k->weight + at, k->group, &k->levels, k->d * (float)s, trial);
            if (!(err < best) && !(s == near && best == INFINITY)) continue;
            best = err;
            k->scale[g] = s;
            memcpy(k->level + at, trial, (size_t)k->group * sizeof *trial);
        }
        sum += best;
    }
    return sum;
}

// The common step that suits scales and levels best.
static float refit_signed(const signed_work *k) {
    float num = 0, den = 0;
    for (int i = 0; i < HTH_FIT_SUPER; i++) {
        const float c = (float)k->scale[i / k->group] * k->level[i];
        num += k->weight[i] * k->x[i] * c;
        den += k->weight[i] * c * c;
    }
    return hth_fit_round_f16(den > 0 ? num / den : k->d);
}

void hth_fit_signed_super(const float *x, const float *importance, int group, hth_fit_levels levels,
                          int scale_lo, int scale_hi, hth_fit_super_signed *out) {
    signed_work k = {.x = x, .group = group, .n_group = HTH_FIT_SUPER / group, .lo = scale_lo, .hi = scale_hi, .levels = levels};
    float curve[HTH_FIT_MAX_GROUPS] = {0};
    hth_fit_weights(importance, HTH_FIT_SUPER, k.weight);
    for (int g = 0; g < k.n_group; g++)
        k.step[g] = hth_fit_signed(x + g * group, k.weight + g * group, group, &levels, k.level + g * group, &curve[g]);
    k.d = fit_common(k.step, curve, k.n_group, scale_lo, scale_hi);
    k.err = choose_signed(&k);
    for (int turn = 0; turn < N_TURN; turn++) {
        signed_work other = k;
        other.d = refit_signed(&k);
        if (other.d == k.d || !isfinite(other.d)) break;
        other.err = choose_signed(&other);
        if (!(other.err < k.err)) break;
        k = other;
    }
    out->d = k.d;
    for (int g = 0; g < k.n_group; g++) out->scale[g] = (int8_t)k.scale[g];
    for (int i = 0; i < HTH_FIT_SUPER; i++) out->level[i] = (int8_t)k.level[i];
}

// ---- affine

typedef struct affine_work {
    const float *x;
    float weight[HTH_FIT_SUPER], code[HTH_FIT_SUPER];
    float step[HTH_FIT_MAX_GROUPS], min[HTH_FIT_MAX_GROUPS]; // that groups would like; min = -offset
    int scale[HTH_FIT_MAX_GROUPS], m[HTH_FIT_MAX_GROUPS];
    int group, n_group, max, scale_max;
    float d, dmin, err;
} affine_work;

typedef struct affine_group {
    int scale, m;
    float err, code[HTH_FIT_MAX_LEN];
} affine_group;

static void try_group(const affine_work *k, int at, int scale, int m, affine_group *best) {
    float trial[HTH_FIT_MAX_LEN];
    const float err = hth_fit_round_affine(k->x + at, k->weight + at, k->group, k->max, k->d * (float)scale,
                                           -k->dmin * (float)m, trial);
    if (!(err < best->err)) return;
    *best = (affine_group){.scale = scale, .m = m, .err = err};
    memcpy(best->code, trial, (size_t)k->group * sizeof *trial);
}

// The whole number of dmin that suits the codes of a scale best.
static int best_min(const affine_work *k, int at, int scale, const float *code) {
    float sw = 0, sum = 0;
    for (int i = 0; i < k->group; i++) {
        sw += k->weight[at + i];
        sum += k->weight[at + i] * (k->d * (float)scale * code[i] - k->x[at + i]);
    }
    return clamp_nearest(sum / sw * inverse_or_zero(k->dmin), 0, k->scale_max);
}

// Scales and minima near the wished ones and their codes under k->d, k->dmin. Returns the error of all.
static float choose_affine(affine_work *k) {
    const float inv = inverse_or_zero(k->d), inv_min = inverse_or_zero(k->dmin);
    float sum = 0;
    for (int g = 0; g < k->n_group; g++) {
        const int at = g * k->group;
        const int near = clamp_nearest(inv * k->step[g], 0, k->scale_max);
        const int near_min = clamp_nearest(inv_min * k->min[g], 0, k->scale_max);
        affine_group best = {.scale = near, .m = near_min, .err = INFINITY};
        for (int s = near - 1; s <= near + 1; s++) {
            if (s < 0 || s > k->scale_max) continue;
            affine_group own = {.scale = s, .m = near_min, .err = INFINITY};
            try_group(k, at, s, near_min, &own);
            for (int turn = 0; turn < 2; turn++) {
                const int m = best_min(k, at, s, own.code);
                if (m == own.m || !isfinite(own.err)) break;
                try_group(k, at, s, m, &own);
                if (own.m != m) break;
            }
            if (own.err < best.err) best = own;
        }
        k->scale[g] = best.scale;
        k->m[g] = best.m;
        memcpy(k->code + at, best.code, (size_t)k->group * sizeof *best.code);
        sum += best.err;
    }
    return sum;
}

// Least squares for d and dmin with everything else fixed: x ~ d a - dmin b.
static void refit_affine(const affine_work *k, float *d, float *dmin) {
    float aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int g = 0; g < k->n_group; g++) {
        const float b = (float)k->m[g];
        for (int i = g * k->group; i < (g + 1) * k->group; i++) {
            const float w = k->weight[i], a = (float)k->scale[g] * k->code[i];
            aa += w * a * a;
            ab += w * a * b;
            bb += w * b * b;
            xa += w * k->x[i] * a;
            xb += w * k->x[i] * b;
        }
    }
    const float det = aa * bb - ab * ab;
    *d = k->d;
    *dmin = k->dmin;
    if (det > 1e-6f * aa * bb) {
        *d = hth_fit_round_f16((xa * bb - xb * ab) / det);
        *dmin = hth_fit_round_f16((xa * ab - xb * aa) / det);
    } else if (aa > 0 && !(bb > 0)) {
        *d = hth_fit_round_f16(xa / aa);
    }
}

static void wish_affine(affine_work *k, float *curve, float *curve_min) {
    for (int g = 0; g < k->n_group; g++) {
        const int at = g * k->group;
        float offset;
        k->step[g] = hth_fit_affine(k->x + at, k->weight + at, k->group, k->max, false, k->code + at, &offset);
        k->min[g] = -offset;
        curve[g] = curve_min[g] = 0;
        for (int i = at; i < at + k->group; i++) {
            curve[g] += k->weight[i] * k->code[i] * k->code[i];
            curve_min[g] += k->weight[i];
        }
    }
}

void hth_fit_affine_super(const float *x, const float *importance, int group, int max, int scale_max,
                          hth_fit_super_affine *out) {
    affine_work k = {.x = x, .group = group, .n_group = HTH_FIT_SUPER / group, .max = max, .scale_max = scale_max};
    float curve[HTH_FIT_MAX_GROUPS], curve_min[HTH_FIT_MAX_GROUPS];
    hth_fit_weights(importance, HTH_FIT_SUPER, k.weight);
    wish_affine(&k, curve, curve_min);
    k.d = fit_common(k.step, curve, k.n_group, 0, scale_max);
    k.dmin = fit_common(k.min, curve_min, k.n_group, 0, scale_max);
    k.err = choose_affine(&k);
    for (int turn = 0; turn < N_TURN; turn++) {
        affine_work other = k;
        refit_affine(&k, &other.d, &other.dmin);
        if ((other.d == k.d && other.dmin == k.dmin) || !(other.d >= 0 && other.dmin >= 0) || !isfinite(other.d + other.dmin))
            break;
        other.err = choose_affine(&other);
        if (!(other.err < k.err)) break;
        k = other;
    }
    out->d = k.d;
    out->dmin = k.dmin;
    for (int g = 0; g < k.n_group; g++) {
        out->scale[g] = (uint8_t)k.scale[g];
        out->min[g] = (uint8_t)k.m[g];
    }
    for (int i = 0; i < HTH_FIT_SUPER; i++) out->code[i] = (uint8_t)k.code[i];
}
