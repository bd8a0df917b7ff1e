// Searches behind the reference quantizers. Deterministic; any input, finite or not, gives some valid
// codes: comparisons are written so that a NaN never wins.
#include "quant/fit.h"

#include "quant/type_impl.h"

enum { N_TRY = 19 }; // steps tried per group

const int8_t hth_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static int nearest_whole(float v, int lo, int hi) {
    return clamp_nearest(v, lo, hi);
}

static int nearest_iq4(float v, int lo, int hi) {
    int i = 0; // the levels ascend: count the midpoints below v
    (void)lo, (void)hi;
    for (int k = 0; k < 15; k++) i += v > 0.5f * (float)(hth_iq4_values[k] + hth_iq4_values[k + 1]);
    return hth_iq4_values[i];
}

hth_fit_levels hth_fit_whole(int lo, int hi) {
    return (hth_fit_levels){lo, hi, 0.9f, nearest_whole};
}

hth_fit_levels hth_fit_iq4(void) {
    return (hth_fit_levels){hth_iq4_values[0], hth_iq4_values[15], 12.0f, nearest_iq4};
}

int hth_iq4_index(int level) {
    int i = 0;
    while (i < 15 && hth_iq4_values[i] < level) i++;
    return i;
}

void hth_fit_weights(const float *x, const float *importance, int n, float *weight) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    float mean = sum / (float)n;
    for (int i = 0; i < n; i++) {
        weight[i] = importance ? importance[i] * sqrtf(mean + x[i] * x[i]) : sqrtf(mean) + fabsf(x[i]);
    }
}

static float extreme_of(const float *x, int n) {
    float extreme = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    return extreme;
}

// With levels l fixed, the best step is sum(w x l) / sum(w l l) and lowers the squared error by
// sum(w x l)^2 / sum(w l l): the try with the largest such gain wins.
float hth_fit_signed(const float *x, const float *weight, int n, hth_fit_levels levels, int8_t *level) {
    float extreme = extreme_of(x, n), best_step = 0, best_gain = 0;
    for (int i = 0; i < n; i++) level[i] = (int8_t)levels.nearest(0, levels.lo, levels.hi);
    if (!(fabsf(extreme) > 1e-30f) || !isfinite(extreme)) return 0;
    for (int k = 0; k < N_TRY; k++) {
        float away = levels.spread * (float)(k - N_TRY / 2) / (float)(N_TRY / 2);
        float inv = ((float)levels.lo + away) / extreme;
        int8_t trial[HTH_FIT_SUPER];
        float xl = 0, ll = 0;
        for (int i = 0; i < n; i++) {
            int l = levels.nearest(inv * x[i], levels.lo, levels.hi);
            trial[i] = (int8_t)l;
            xl += weight[i] * x[i] * (float)l;
            ll += weight[i] * (float)(l * l);
        }
        if (ll > 0 && xl * xl > best_gain * ll) {
            best_gain = xl * xl / ll;
            best_step = xl / ll;
            for (int i = 0; i < n; i++) level[i] = trial[i];
        }
    }
    return best_step;
}

// Least squares for x ~ step * code + offset with codes fixed; an offset above zero cannot be stored
// and becomes zero. Returns the weighted squared error.
static float solve_affine(const float *x, const float *weight, int n, const uint8_t *code, float *step,
                          float *offset) {
    float sw = 0, sx = 0, sc = 0, scc = 0, sxc = 0;
    for (int i = 0; i < n; i++) {
        float w = weight[i], c = (float)code[i];
        sw += w;
        sx += w * x[i];
        sc += w * c;
        scc += w * c * c;
        sxc += w * x[i] * c;
    }
    float det = sw * scc - sc * sc;
    *step = 0;
    *offset = 0;
    if (det > 0) {
        *step = (sw * sxc - sx * sc) / det;
        *offset = (scc * sx - sc * sxc) / det;
    }
    if (!(*offset <= 0)) {
        *offset = 0;
        *step = scc > 0 ? sxc / scc : 0;
    }
    float err = 0;
    for (int i = 0; i < n; i++) {
        float diff = *step * (float)code[i] + *offset - x[i];
        err += weight[i] * diff * diff;
    }
    return err;
}

float hth_fit_affine(const float *x, const float *weight, int n, int max, uint8_t *code, float *min) {
    float lo = 0, hi = x[0], best_step = 0, best_err = INFINITY; // 0 is always in reach: *min >= 0
    for (int i = 0; i < n; i++) {
        code[i] = 0;
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
    }
    *min = -lo;
    if (!(hi > lo) || !isfinite(hi - lo)) return 0;
    for (int k = 0; k < N_TRY; k++) {
        float inv = ((float)max + 0.1f * (float)(k - N_TRY / 2)) / (hi - lo), step, offset;
        uint8_t trial[HTH_FIT_SUPER];
        for (int i = 0; i < n; i++) trial[i] = (uint8_t)clamp_nearest(inv * (x[i] - lo), 0, max);
        float err = solve_affine(x, weight, n, trial, &step, &offset);
        if (err < best_err && step >= 0) {
            best_err = err;
            best_step = step;
            *min = -offset;
            for (int i = 0; i < n; i++) code[i] = trial[i];
        }
    }
    return best_step;
}

static float round_f16(float v) {
    return hth_f16_to_f32(hth_f32_to_f16(v));
}

void hth_fit_signed_super(const float *x, const float *importance, int group, hth_fit_levels levels,
                          int scale_lo, int scale_hi, hth_fit_super_signed *out) {
    int n_group = HTH_FIT_SUPER / group;
    float weight[HTH_FIT_SUPER], step[HTH_FIT_MAX_GROUPS] = {0};
    hth_fit_weights(x, importance, HTH_FIT_SUPER, weight);
    for (int g = 0; g < n_group; g++)
        step[g] = hth_fit_signed(x + g * group, weight + g * group, group, levels, out->level + g * group);
    float extreme = extreme_of(step, n_group);
    out->d = round_f16(extreme / (float)scale_lo);
    float inv = inverse_or_zero(extreme / (float)scale_lo);
    for (int g = 0; g < n_group; g++) {
        out->scale[g] = (int8_t)clamp_nearest(inv * step[g], scale_lo, scale_hi);
        float inv_step = inverse_or_zero(out->d * (float)out->scale[g]);
        for (int i = g * group; i < (g + 1) * group; i++)
            out->level[i] = (int8_t)levels.nearest(inv_step * x[i], levels.lo, levels.hi);
    }
}

// Rounds n steps to codes 0..max times one f16 number, which is returned.
static float quantize_steps(const float *step, int n, int max, uint8_t *code) {
    float largest = 0;
    for (int g = 0; g < n; g++) largest = fmaxf(largest, step[g]);
    float inv = inverse_or_zero(largest / (float)max);
    for (int g = 0; g < n; g++) code[g] = (uint8_t)clamp_nearest(inv * step[g], 0, max);
    return round_f16(largest / (float)max);
}

void hth_fit_affine_super(const float *x, const float *importance, int group, int max, int scale_max,
                          hth_fit_super_affine *out) {
    int n_group = HTH_FIT_SUPER / group;
    float weight[HTH_FIT_SUPER], step[HTH_FIT_MAX_GROUPS] = {0}, min[HTH_FIT_MAX_GROUPS] = {0};
    hth_fit_weights(x, importance, HTH_FIT_SUPER, weight);
    for (int g = 0; g < n_group; g++)
        step[g] =
            hth_fit_affine(x + g * group, weight + g * group, group, max, out->code + g * group, &min[g]);
    out->d = quantize_steps(step, n_group, scale_max, out->scale);
    out->dmin = quantize_steps(min, n_group, scale_max, out->min);
    for (int g = 0; g < n_group; g++) {
        float inv = inverse_or_zero(out->d * (float)out->scale[g]), offset = out->dmin * (float)out->min[g];
        for (int i = g * group; i < (g + 1) * group; i++)
            out->code[i] = (uint8_t)clamp_nearest(inv * (x[i] + offset), 0, max);
    }
}
