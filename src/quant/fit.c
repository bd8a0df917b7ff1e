// Groups and simple blocks. Deterministic; any input, finite or not, gives some valid codes: comparisons are
// written so that a NaN never wins. Sums run in eight lanes, so that they vectorise with one order of additions
// everywhere.
#include "quant/fit.h"

#include <string.h>

#include "quant/type_impl.h"

enum { N_TRY = 19, N_OTHER = 4, N_TURN = 3, LANES = 8 }; // steps tried, turns of codes and least squares

const int8_t hth_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

typedef struct lanes {
    float v[LANES];
} lanes;

static inline float sum_of(const lanes *a) {
    return ((a->v[0] + a->v[4]) + (a->v[2] + a->v[6])) + ((a->v[1] + a->v[5]) + (a->v[3] + a->v[7]));
}

hth_fit_levels hth_fit_whole(int lo, int hi) {
    return (hth_fit_levels){lo, hi, 0.9f, false};
}

hth_fit_levels hth_fit_iq4(void) {
    return (hth_fit_levels){hth_iq4_values[0], hth_iq4_values[15], 12.0f, true};
}

int hth_iq4_index(int level) {
    int i = 0;
    while (i < 15 && hth_iq4_values[i] < level) i++;
    return i;
}

float hth_fit_round_f16(float v) {
    return hth_f16_to_f32(hth_f32_to_f16(v));
}

// A little is added everywhere: columns that a text never used must still be something.
void hth_fit_weights(const float *importance, int n, float *weight) {
    float sum = 0;
    for (int i = 0; i < n && importance; i++) sum += importance[i];
    const float base = 1e-4f * sum / (float)n;
    for (int i = 0; i < n; i++) weight[i] = importance && base > 1e-30f && base < 1e30f ? importance[i] + base : 1.0f;
}

// ---- rounding

// Nearest whole number in [lo, hi], as clamp_nearest, but left a float.
static inline float nearest_float(float v, float lo, float hi) {
    const float c = v > lo ? (v < hi ? v : hi) : lo;
    return (c + 0x1.8p23f) - 0x1.8p23f;
}

static void round_whole(const float *x, float inv, float add, int n, float lo, float hi, float *out) {
    for (int i = 0; i < n; i++) out[i] = nearest_float(inv * x[i] + add, lo, hi);
}

// The levels ascend: each midpoint below v adds its distance.
static void round_iq4(const float *x, float inv, int n, float *out) {
    for (int i = 0; i < n; i++) out[i] = hth_iq4_values[0];
    for (int k = 0; k < 15; k++) {
        const float mid = 0.5f * (float)(hth_iq4_values[k] + hth_iq4_values[k + 1]);
        const float up = (float)(hth_iq4_values[k + 1] - hth_iq4_values[k]);
        for (int i = 0; i < n; i++) out[i] += inv * x[i] > mid ? up : 0.0f;
    }
}

static void round_levels(const hth_fit_levels *levels, const float *x, float inv, int n, float *out) {
    if (levels->is_iq4) round_iq4(x, inv, n, out);
    else round_whole(x, inv, 0, n, (float)levels->lo, (float)levels->hi, out);
}

float hth_fit_round_signed(const float *x, const float *weight, int n, const hth_fit_levels *levels, float step,
                           float *level) {
    round_levels(levels, x, inverse_or_zero(step), n, level);
    lanes err = {0};
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float diff = step * level[i + l] - x[i + l];
            err.v[l] += weight[i + l] * (diff * diff);
        }
    }
    return sum_of(&err);
}

static float error_affine(const float *x, const float *weight, int n, const float *code, float step, float offset) {
    lanes err = {0};
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float diff = step * code[i + l] + offset - x[i + l];
            err.v[l] += weight[i + l] * (diff * diff);
        }
    }
    return sum_of(&err);
}

float hth_fit_round_affine(const float *x, const float *weight, int n, int max, float step, float offset, float *code) {
    const float inv = inverse_or_zero(step);
    for (int i = 0; i < n; i++) code[i] = nearest_float(inv * (x[i] - offset), 0, (float)max);
    return error_affine(x, weight, n, code, step, offset);
}

// ---- signed

static float extreme_of(const float *x, int n) {
    float extreme = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    return extreme;
}

// The best levels so far. With levels l fixed the best step is xl / ll, and it lowers the squared error by
// xl^2 / ll, where xl = sum(w x l) and ll = sum(w l l): the levels with the largest such gain win.
typedef struct signed_best {
    float gain, step, curve;
} signed_best;

static bool try_signed(const float *x, const float *weight, int n, const hth_fit_levels *levels, float inv, float *level,
                       signed_best *best) {
    float trial[HTH_FIT_MAX_LEN];
    lanes a = {0}, b = {0};
    round_levels(levels, x, inv, n, trial);
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float wl = weight[i + l] * trial[i + l];
            a.v[l] += wl * x[i + l];
            b.v[l] += wl * trial[i + l];
        }
    }
    const float xl = sum_of(&a), ll = sum_of(&b);
    if (!(ll > 0 && xl * xl > best->gain * ll)) return false;
    *best = (signed_best){xl * xl / ll, xl / ll, ll};
    memcpy(level, trial, (size_t)n * sizeof *level);
    return true;
}

float hth_fit_signed(const float *x, const float *weight, int n, const hth_fit_levels *levels, float *level, float *curve) {
    const float extreme = extreme_of(x, n);
    signed_best best = {0};
    *curve = 0;
    round_levels(levels, x, 0, n, level);
    if (!(fabsf(extreme) > 1e-30f) || !isfinite(extreme)) return 0;
    for (int k = 0; k < N_TRY; k++) {
        const float away = levels->spread * (float)(k - N_TRY / 2) / (float)(N_TRY / 2);
        (void)try_signed(x, weight, n, levels, ((float)levels->lo + away) / extreme, level, &best);
    }
    // The extreme at the other end of the levels, which are not symmetric.
    for (int k = -N_OTHER; k <= N_OTHER; k++) {
        const float away = levels->spread * (float)k / (float)N_OTHER;
        (void)try_signed(x, weight, n, levels, ((float)levels->hi + away) / extreme, level, &best);
    }
    // Where the extreme matters little it may be cut off.
    for (int k = 1; k <= 6; k++)
        (void)try_signed(x, weight, n, levels, (float)levels->lo * (1 + 0.15f * (float)k) / extreme, level, &best);
    for (int k = 0; k < N_TURN && best.step != 0; k++) {
        if (!try_signed(x, weight, n, levels, 1 / best.step, level, &best)) break;
    }
    *curve = best.curve;
    return best.step;
}

float hth_fit_block_signed(const float *x, const float *importance, int n, const hth_fit_levels *levels, float *level) {
    float weight[HTH_FIT_MAX_LEN], curve;
    hth_fit_weights(importance, n, weight);
    const float d = hth_fit_round_f16(hth_fit_signed(x, weight, n, levels, level, &curve));
    const float plain = hth_fit_round_f16(extreme_of(x, n) / (float)levels->lo);
    const float plain_err = hth_fit_round_signed(x, weight, n, levels, plain, level);
    float trial[HTH_FIT_MAX_LEN];
    if (!(hth_fit_round_signed(x, weight, n, levels, d, trial) < plain_err)) return plain;
    memcpy(level, trial, (size_t)n * sizeof *level);
    return d;
}

// ---- affine

// Least squares for x ~ step * code + offset with codes fixed.
static void solve_affine(const float *x, const float *weight, int n, const float *code, bool any_offset, float *step,
                         float *offset) {
    lanes w = {0}, wx = {0}, wc = {0}, wcc = {0}, wxc = {0};
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float a = weight[i + l], b = a * code[i + l];
            w.v[l] += a;
            wx.v[l] += a * x[i + l];
            wc.v[l] += b;
            wcc.v[l] += b * code[i + l];
            wxc.v[l] += b * x[i + l];
        }
    }
    const float sw = sum_of(&w), sx = sum_of(&wx), sc = sum_of(&wc), scc = sum_of(&wcc), sxc = sum_of(&wxc);
    const float det = sw * scc - sc * sc;
    *step = 0;
    *offset = 0;
    if (det > 0) {
        *step = (sw * sxc - sx * sc) / det;
        *offset = (scc * sx - sc * sxc) / det;
    }
    if (det > 0 && any_offset) return;
    if (!(*offset <= 0) || !(det > 0)) {
        *offset = 0;
        *step = scc > 0 ? sxc / scc : 0;
    }
}

typedef struct affine_best {
    float err, step, offset;
} affine_best;

static bool try_affine(const float *x, const float *weight, int n, int max, bool any_offset, float inv, float from,
                       float *code, affine_best *best) {
    float trial[HTH_FIT_MAX_LEN], step, offset;
    round_whole(x, inv, -inv * from, n, 0, (float)max, trial);
    solve_affine(x, weight, n, trial, any_offset, &step, &offset);
    const float err = error_affine(x, weight, n, trial, step, offset);
    if (!(err < best->err && step >= 0)) return false;
    *best = (affine_best){err, step, offset};
    memcpy(code, trial, (size_t)n * sizeof *code);
    return true;
}

float hth_fit_affine(const float *x, const float *weight, int n, int max, bool any_offset, float *code, float *offset) {
    float lo = any_offset ? x[0] : 0, hi = x[0]; // otherwise 0 is always in reach
    affine_best best = {.err = INFINITY};
    for (int i = 0; i < n; i++) {
        code[i] = 0;
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
    }
    *offset = isfinite(lo) ? lo : 0;
    if (!(hi > lo) || !isfinite(hi - lo)) return 0;
    for (int k = 0; k < N_TRY; k++) {
        const float inv = ((float)max + 0.1f * (float)(k - N_TRY / 2)) / (hi - lo);
        (void)try_affine(x, weight, n, max, any_offset, inv, lo, code, &best);
    }
    for (int k = 1; k <= 4; k++) { // either end, or both, cut off
        const float cut = 0.06f * (float)k * (hi - lo);
        (void)try_affine(x, weight, n, max, any_offset, (float)max / (hi - lo - cut), lo, code, &best);
        (void)try_affine(x, weight, n, max, any_offset, (float)max / (hi - lo - cut), lo + cut, code, &best);
        (void)try_affine(x, weight, n, max, any_offset, (float)max / (hi - lo - cut), lo + cut / 2, code, &best);
    }
    for (int k = 0; k < N_TURN && best.step > 0; k++) {
        if (!try_affine(x, weight, n, max, any_offset, 1 / best.step, best.offset, code, &best)) break;
    }
    *offset = best.offset;
    return best.step;
}

float hth_fit_block_affine(const float *x, const float *importance, int n, int max, float *code, float *offset) {
    float weight[HTH_FIT_MAX_LEN];
    float trial[HTH_FIT_MAX_LEN], lo = x[0], hi = x[0];
    hth_fit_weights(importance, n, weight);
    const float d = hth_fit_round_f16(hth_fit_affine(x, weight, n, max, true, code, offset));
    *offset = hth_fit_round_f16(*offset);
    const float err = hth_fit_round_affine(x, weight, n, max, d, *offset, code);
    for (int i = 1; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    const float plain = hth_fit_round_f16((hi - lo) / (float)max), plain_lo = hth_fit_round_f16(lo);
    if (!(hth_fit_round_affine(x, weight, n, max, plain, plain_lo, trial) <= err)) return d;
    memcpy(code, trial, (size_t)n * sizeof *code);
    *offset = plain_lo;
    return plain;
}
