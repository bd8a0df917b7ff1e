// Panels with AVX2: for some columns the codes of each row are unpacked in the order of the columns, then sixteen rows
// are transposed, four columns at a time. Quantization of activations. Bits are those of ref/q8_codes.c and
// ref/q8_gemm.c; layouts are drawn in quant/type_<name>.c.
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "quant/grid.h"
#include "quant/type_impl.h"

enum { STEP = 256 }; // columns between transpositions

typedef __m256i vb;

static HTH_ALWAYS_INLINE vb load(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static HTH_ALWAYS_INLINE void store(uint8_t *p, vb a) {
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}
static HTH_ALWAYS_INLINE __m128i load_half(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
static HTH_ALWAYS_INLINE vb set(int v) {
    return _mm256_set1_epi8((char)v);
}
static HTH_ALWAYS_INLINE vb and(vb a, vb b) {
    return _mm256_and_si256(a, b);
}
static HTH_ALWAYS_INLINE vb or(vb a, vb b) {
    return _mm256_or_si256(a, b);
}
// Bits n ... of every byte, under a mask.
static HTH_ALWAYS_INLINE vb bits(vb a, int n, int mask) {
    return and(_mm256_srli_epi16(a, n), set(mask));
}
// `value` where the bit is set in a byte.
static HTH_ALWAYS_INLINE vb if_bit(vb a, int bit, int value) {
    return and(_mm256_cmpeq_epi8(and(a, set(1 << bit)), set(1 << bit)), set(value));
}
// Byte i gets `value` where bit i of 32 is set.
static HTH_ALWAYS_INLINE vb spread(uint32_t v, int value) {
    const vb from = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const vb which = _mm256_set1_epi64x((long long)0x8040201008040201);
    vb a = and(_mm256_shuffle_epi8(_mm256_set1_epi32((int)v), from), which);
    return and(_mm256_cmpeq_epi8(a, which), set(value));
}
// Sixteen bytes: low nibbles, then high ones.
static HTH_ALWAYS_INLINE vb nibbles(const uint8_t *p) {
    __m128i a = load_half(p);
    return and(_mm256_set_m128i(_mm_srli_epi16(a, 4), a), set(15));
}
static HTH_ALWAYS_INLINE vb lookup(const uint8_t table[16], vb a) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_half(table)), a);
}
static HTH_ALWAYS_INLINE float f16(const uint8_t *p) {
    return _cvtsh_ss(hth_load_u16(p));
}

// --- rows: n blocks of a type ---

static HTH_ALWAYS_INLINE void codes_q4_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = f16(b);
    store(code, nibbles(b + 2));
}

static HTH_ALWAYS_INLINE void codes_q4_1(const uint8_t *b, uint8_t *code, float *d, float *m) {
    d[0] = f16(b);
    m[0] = f16(b + 2);
    store(code, nibbles(b + 4));
}

static HTH_ALWAYS_INLINE void codes_q5_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = f16(b);
    store(code, or(nibbles(b + 6), spread(hth_load_u32(b + 2), 16)));
}

static HTH_ALWAYS_INLINE void codes_q5_1(const uint8_t *b, uint8_t *code, float *d, float *m) {
    d[0] = f16(b);
    m[0] = f16(b + 2);
    store(code, or(nibbles(b + 8), spread(hth_load_u32(b + 4), 16)));
}

static HTH_ALWAYS_INLINE void codes_q8_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = f16(b);
    store(code, _mm256_xor_si256(load(b + 2), set(128)));
}

// Levels of iq4 plus 128, of e2m1 doubled plus 12.
static const uint8_t iq4_codes[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t e2m1_codes[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

static HTH_ALWAYS_INLINE void codes_iq4_nl(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = f16(b);
    store(code, lookup(iq4_codes, nibbles(b + 2)));
}

static HTH_ALWAYS_INLINE void codes_mxfp4(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    d[0] = e8m0_half(b[0]);
    store(code, lookup(e2m1_codes, nibbles(b + 1)));
}

static HTH_ALWAYS_INLINE void codes_nvfp4(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 4; g++) {
        int exp = b[g] >> 3 & 15, man = b[g] & 7;
        float normal = hth_f32_from_bits((uint32_t)(exp + 119) << 23 | (uint32_t)man << 20);
        d[g] = b[g] == 0x7f ? 0 : exp == 0 ? (float)man * 0x1p-10f : normal;
    }
    for (int h = 0; h < 2; h++) { // eight bytes a group: low nibbles, then high ones
        vb a = nibbles(b + 4 + 16 * h);
        store(code + 32 * h, lookup(e2m1_codes, _mm256_permute4x64_epi64(a, 0xd8)));
    }
}

static HTH_ALWAYS_INLINE void codes_q1_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 4; g++) {
        d[g] = f16(b);
        store(code + 32 * g, spread(hth_load_u32(b + 2 + 4 * g), 2));
    }
}

static HTH_ALWAYS_INLINE void codes_q2_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    const __m128i three = _mm_set1_epi8(3);
    __m128i a = load_half(b + 2);
    __m128i a0 = _mm_and_si128(a, three), a1 = _mm_and_si128(_mm_srli_epi16(a, 2), three);
    __m128i a2 = _mm_and_si128(_mm_srli_epi16(a, 4), three), a3 = _mm_and_si128(_mm_srli_epi16(a, 6), three);
    __m128i low01 = _mm_unpacklo_epi8(a0, a1), low23 = _mm_unpacklo_epi8(a2, a3);
    __m128i high01 = _mm_unpackhi_epi8(a0, a1), high23 = _mm_unpackhi_epi8(a2, a3);
    d[0] = d[1] = f16(b);
    store(code, _mm256_set_m128i(_mm_unpackhi_epi16(low01, low23), _mm_unpacklo_epi16(low01, low23)));
    store(code + 32, _mm256_set_m128i(_mm_unpackhi_epi16(high01, high23), _mm_unpacklo_epi16(high01, high23)));
}

// Eight bytes as floats times s.
static HTH_ALWAYS_INLINE void put_u8(float *dst, __m128i a, float s) {
    _mm256_storeu_ps(dst, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a)), _mm256_set1_ps(s)));
}
static HTH_ALWAYS_INLINE void put_i8(float *dst, __m128i a, float s) {
    _mm256_storeu_ps(dst, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(a)), _mm256_set1_ps(s)));
}

static HTH_ALWAYS_INLINE void codes_q2_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    __m128i scales = load_half(b), fifteen = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(scales, fifteen), high = _mm_and_si128(_mm_srli_epi16(scales, 4), fifteen);
    put_u8(d, low, f16(b + 80));
    put_u8(d + 8, _mm_srli_si128(low, 8), f16(b + 80));
    put_u8(m, high, -f16(b + 82));
    put_u8(m + 8, _mm_srli_si128(high, 8), -f16(b + 82));
    for (int h = 0; h < 2; h++) {
        vb qs = load(b + 16 + 32 * h);
        HTH_UNROLL for (int i = 0; i < 4; i++) store(code + 128 * h + 32 * i, bits(qs, 2 * i, 3));
    }
}

static HTH_ALWAYS_INLINE void codes_q3_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    const uint32_t nibble = 0x0f0f0f0f, top = 0x03030303;
    uint32_t l = hth_load_u32(b + 96), h = hth_load_u32(b + 100), t = hth_load_u32(b + 104);
    uint32_t s[4] = {(l & nibble) | (t & top) << 4, (h & nibble) | (t >> 2 & top) << 4,
                     (l >> 4 & nibble) | (t >> 4 & top) << 4, (h >> 4 & nibble) | (t >> 6 & top) << 4};
    __m128i scales = _mm_sub_epi8(_mm_set_epi32((int)s[3], (int)s[2], (int)s[1], (int)s[0]), _mm_set1_epi8(32));
    put_i8(d, scales, f16(b + 108));
    put_i8(d + 8, _mm_srli_si128(scales, 8), f16(b + 108));
    vb high = load(b);
    HTH_UNROLL for (int g = 0; g < 8; g++)
        store(code + 32 * g, or(bits(load(b + 32 + g / 4 * 32), g % 4 * 2, 3), if_bit(high, g, 4)));
}

// Eight scales and minima of q4_K and q5_K; see unpack_scales_k4.
static HTH_ALWAYS_INLINE void put_k4_scales(const uint8_t *b, float *d, float *m) {
    const uint32_t six = 0x3f3f3f3f, nibble = 0x0f0f0f0f, top = 0x03030303;
    uint32_t s = hth_load_u32(b + 4), n = hth_load_u32(b + 8), r = hth_load_u32(b + 12);
    uint64_t scales = (s & six) | (uint64_t)((r & nibble) | (s >> 6 & top) << 4) << 32;
    uint64_t mins = (n & six) | (uint64_t)((r >> 4 & nibble) | (n >> 6 & top) << 4) << 32;
    put_u8(d, _mm_cvtsi64_si128((long long)scales), f16(b));
    put_u8(m, _mm_cvtsi64_si128((long long)mins), -f16(b + 2));
}

static HTH_ALWAYS_INLINE void codes_q4_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    put_k4_scales(b, d, m);
    HTH_UNROLL for (int g = 0; g < 8; g += 2) {
        vb qs = load(b + 16 + 16 * g);
        store(code + 32 * g, bits(qs, 0, 15));
        store(code + 32 * g + 32, bits(qs, 4, 15));
    }
}

static HTH_ALWAYS_INLINE void codes_q5_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    put_k4_scales(b, d, m);
    vb high = load(b + 16);
    HTH_UNROLL for (int g = 0; g < 8; g += 2) {
        vb qs = load(b + 48 + 16 * g);
        store(code + 32 * g, or(bits(qs, 0, 15), if_bit(high, g, 16)));
        store(code + 32 * g + 32, or(bits(qs, 4, 15), if_bit(high, g + 1, 16)));
    }
}

static HTH_ALWAYS_INLINE void codes_q6_k(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    __m128i scales = load_half(b + 192);
    put_i8(d, scales, f16(b + 208));
    put_i8(d + 8, _mm_srli_si128(scales, 8), f16(b + 208));
    for (int h = 0; h < 2; h++, code += 128) {
        vb l0 = load(b + 64 * h), l1 = load(b + 64 * h + 32), high = load(b + 128 + 32 * h);
        store(code, or(bits(l0, 0, 15), _mm256_slli_epi16(bits(high, 0, 3), 4)));
        store(code + 32, or(bits(l1, 0, 15), _mm256_slli_epi16(bits(high, 2, 3), 4)));
        store(code + 64, or(bits(l0, 4, 15), _mm256_slli_epi16(bits(high, 4, 3), 4)));
        store(code + 96, or(bits(l1, 4, 15), _mm256_slli_epi16(bits(high, 6, 3), 4)));
    }
}

static HTH_ALWAYS_INLINE void codes_iq4_xs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    float step = f16(b);
    int high = hth_load_u16(b + 2);
    for (int g = 0; g < 8; g++) {
        int scale = (b[4 + g / 2] >> (g % 2 * 4) & 15) | (high >> (2 * g) & 3) << 4;
        d[g] = step * (float)(scale - 32);
        store(code + 32 * g, lookup(iq4_codes, nibbles(b + 8 + 16 * g)));
    }
}

// The first trit of y / 256 written in base 3: how many thirds y has reached.
static HTH_ALWAYS_INLINE vb first_trit(vb y) {
    vb one = _mm256_cmpeq_epi8(_mm256_max_epu8(y, set(86)), y), two = _mm256_cmpeq_epi8(_mm256_max_epu8(y, set(171)), y);
    return _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two));
}

static HTH_ALWAYS_INLINE void codes_tq1_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) d[g] = f16(b + 52);
    vb y = load(b), z = _mm256_broadcastsi128_si256(load_half(b + 32));
    for (int k = 0; k < 5; k++) {
        store(code + 32 * k, first_trit(y));
        _mm_storeu_si128((__m128i *)(void *)(code + 160 + 16 * k), _mm256_castsi256_si128(first_trit(z)));
        y = _mm256_add_epi8(y, _mm256_add_epi8(y, y));
        z = _mm256_add_epi8(z, _mm256_add_epi8(z, z));
    }
    for (int k = 0, pow3 = 1; k < 4; k++, pow3 *= 3)
        for (int i = 0; i < 4; i++) code[240 + 4 * k + i] = (uint8_t)((b[48 + i] * pow3 & 255) * 3 >> 8);
}

static HTH_ALWAYS_INLINE void codes_tq2_0(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    HTH_UNROLL for (int g = 0; g < 8; g++) {
        d[g] = f16(b + 64);
        store(code + 32 * g, bits(load(b + g / 4 * 32), g % 4 * 2, 3));
    }
}

// --- rows of codes in planes, whose scales lie elsewhere ---

// Sixteen bytes: the codes in them in order, of four bits.
static HTH_ALWAYS_INLINE vb neighbours(const uint8_t *p) {
    const __m128i a = load_half(p), low = _mm_and_si128(a, _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(a, 4), _mm_set1_epi8(15));
    return _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
}

static HTH_ALWAYS_INLINE void codes_affine_4(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)d, (void)m;
    store(code, neighbours(b));
}

static HTH_ALWAYS_INLINE void codes_affine_8(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)d, (void)m;
    store(code, load(b));
}

static HTH_ALWAYS_INLINE void codes_e2m1(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)d, (void)m;
    store(code, lookup(e2m1_codes, neighbours(b)));
}

static const uint64_t every_byte = 0x0101010101010101;

// Eight codes fill n_bit bytes.
static HTH_ALWAYS_INLINE void codes_affine(const uint8_t *b, const int n_bit, uint8_t *code) {
    HTH_UNROLL for (int i = 0; i < 4; i++) {
        const uint64_t bytes = _pdep_u64(hth_load_bytes(b + i * n_bit, n_bit), every_byte * ((1u << n_bit) - 1));
        memcpy(code + 8 * i, &bytes, sizeof bytes);
    }
}
#define DEFINE_CODES(n_bit)                                                                                          \
    static HTH_ALWAYS_INLINE void codes_affine_##n_bit(const uint8_t *b, uint8_t *code, float *d, float *m) {        \
        (void)d, (void)m;                                                                                            \
        codes_affine(b, n_bit, code);                                                                                \
    }
DEFINE_CODES(2)
DEFINE_CODES(3)
DEFINE_CODES(5)
DEFINE_CODES(6)
#undef DEFINE_CODES

// --- rows of types with a codebook: levels and signs are spread to bytes and looked up together ---

// Eight numbers: levels of two bits, a sign above.
static HTH_ALWAYS_INLINE uint64_t spread_2(uint16_t entry, uint32_t signs) {
    return _pdep_u64(entry, 3 * every_byte) | _pdep_u64(signs, 4 * every_byte);
}
// Two entries of four levels of three bits, a sign above.
static HTH_ALWAYS_INLINE uint64_t spread_3(uint16_t first, uint16_t second, uint32_t signs) {
    return _pdep_u64(first | (uint32_t)second << 12, 7 * every_byte) | _pdep_u64(signs, 8 * every_byte);
}
static HTH_ALWAYS_INLINE void put_four(uint8_t *code, const uint64_t a[4], const uint8_t table[16]) {
    store(code, lookup(table, _mm256_set_epi64x((long long)a[3], (long long)a[2], (long long)a[1], (long long)a[0])));
}

static const uint8_t iq2_codes[16] = {64 + 8, 64 + 25, 64 + 43, 0, 64 - 8, 64 - 25, 64 - 43};
static const uint8_t iq3_xxs_codes[16] = {68, 76, 84, 92, 100, 108, 116, 126, 60, 52, 44, 36, 28, 20, 12, 2};
static const uint8_t iq3_s_codes[16] = {17, 19, 21, 23, 25, 27, 29, 31, 15, 13, 11, 9, 7, 5, 3, 1};
static const uint8_t iq1_codes[16] = {9, 17, 25, 0, 7, 15, 23};

static HTH_ALWAYS_INLINE void codes_iq2_xxs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) {
        const uint8_t *index = b + 2 + 8 * g;
        uint32_t rest = hth_load_u32(index + 4);
        uint64_t a[4];
        d[g] = f16(b) * (0.5f + (float)(rest >> 28)) * 0.25f;
        HTH_UNROLL for (int e = 0; e < 4; e++)
            a[e] = spread_2(hth_grid_iq2_xxs[index[e]], grid_even_signs(rest >> (7 * e)));
        put_four(code + 32 * g, a, iq2_codes);
    }
}

static HTH_ALWAYS_INLINE void put_iq2_scales(const uint8_t *b, const uint8_t *scales, float *d) {
    for (int g = 0; g < 16; g++) d[g] = f16(b) * (0.5f + (float)(scales[g / 2] >> (g % 2 * 4) & 15)) * 0.25f;
}

static HTH_ALWAYS_INLINE void codes_iq2_xs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    put_iq2_scales(b, b + 66, d);
    for (int g = 0; g < 8; g++) {
        uint64_t a[4];
        HTH_UNROLL for (int e = 0; e < 4; e++) {
            uint32_t word = hth_load_u16(b + 2 + 8 * g + 2 * e);
            a[e] = spread_2(hth_grid_iq2_xs[word & 511], grid_even_signs(word >> 9));
        }
        put_four(code + 32 * g, a, iq2_codes);
    }
}

static HTH_ALWAYS_INLINE void codes_iq2_s(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    put_iq2_scales(b, b + 74, d);
    for (int g = 0; g < 8; g++) {
        uint64_t a[4];
        HTH_UNROLL for (int e = 0; e < 4; e++)
            a[e] = spread_2(hth_grid_iq2_s[b[2 + 4 * g + e] | (b[66 + g] >> (2 * e) & 3) << 8], b[34 + 4 * g + e]);
        put_four(code + 32 * g, a, iq2_codes);
    }
}

static HTH_ALWAYS_INLINE void codes_iq3_xxs(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) {
        const uint8_t *qs = b + 2 + 8 * g;
        uint32_t rest = hth_load_u32(b + 66 + 4 * g);
        uint64_t a[4];
        d[g] = f16(b) * (0.5f + (float)(rest >> 28)) * 0.5f;
        HTH_UNROLL for (int e = 0; e < 4; e++)
            a[e] = spread_3(hth_grid_iq3_xxs[qs[2 * e]], hth_grid_iq3_xxs[qs[2 * e + 1]], grid_even_signs(rest >> (7 * e)));
        put_four(code + 32 * g, a, iq3_xxs_codes);
    }
}

static HTH_ALWAYS_INLINE void codes_iq3_s(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) {
        const uint8_t *qs = b + 2 + 8 * g;
        int ninth = b[66 + g];
        uint64_t a[4];
        d[g] = f16(b) * (float)(2 * (b[106 + g / 2] >> (g % 2 * 4) & 15) + 1);
        HTH_UNROLL for (int e = 0; e < 4; e++)
            a[e] = spread_3(hth_grid_iq3_s[qs[2 * e] | (ninth >> (2 * e) & 1) << 8],
                            hth_grid_iq3_s[qs[2 * e + 1] | (ninth >> (2 * e + 1) & 1) << 8], b[74 + 4 * g + e]);
        put_four(code + 32 * g, a, iq3_s_codes);
    }
}

static HTH_ALWAYS_INLINE void codes_iq1_s(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    for (int g = 0; g < 8; g++) {
        int word = hth_load_u16(b + 34 + 2 * g);
        uint64_t a[4];
        d[g] = f16(b) * (float)(2 * (word >> 12 & 7) + 1) * 0.125f;
        HTH_UNROLL for (int e = 0; e < 4; e++)
            a[e] = spread_2(hth_grid_iq1[b[2 + 4 * g + e] | (word >> (e * 3) & 7) << 8], word & 0x8000 ? 255 : 0);
        put_four(code + 32 * g, a, iq1_codes);
    }
}

static HTH_ALWAYS_INLINE void codes_iq1_m(const uint8_t *b, uint8_t *code, float *d, float *m) {
    (void)m;
    int half = 0;
    for (int k = 0; k < 4; k++) half |= hth_load_u16(b + 48 + 2 * k) >> 12 << (4 * k);
    float step = _cvtsh_ss((uint16_t)half);
    for (int g = 0; g < 16; g++)
        d[g] = step * (float)(2 * (hth_load_u16(b + 48 + g / 4 * 2) >> (g % 4 * 3) & 7) + 1) * 0.125f;
    for (int g = 0; g < 8; g++) {
        uint64_t a[4];
        HTH_UNROLL for (int e = 0; e < 4; e++) {
            int nibble = b[32 + 2 * g + e / 2] >> (e % 2 * 4) & 15;
            a[e] = spread_2(hth_grid_iq1[b[4 * g + e] | (nibble & 7) << 8], nibble & 8 ? 255 : 0);
        }
        put_four(code + 32 * g, a, iq1_codes);
    }
}

// --- transposition ---

// Eight rows of eight 32-bit numbers, `stride` bytes apart, become columns 64 bytes apart.
static HTH_ALWAYS_INLINE void transpose(const uint8_t *src, int64_t stride, uint8_t *dst) {
    vb r[8], a[8], c[8];
    HTH_UNROLL for (int i = 0; i < 8; i++) r[i] = load(src + i * stride);
    HTH_UNROLL for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    HTH_UNROLL for (int i = 0; i < 8; i += 4) {
        c[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        c[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        c[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        c[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    HTH_UNROLL for (int i = 0; i < 4; i++) {
        store(dst + 64 * i, _mm256_permute2x128_si256(c[i], c[i + 4], 0x20));
        store(dst + 64 * (i + 4), _mm256_permute2x128_si256(c[i], c[i + 4], 0x31));
    }
}

// Numbers of n groups of sixteen rows.
static HTH_ALWAYS_INLINE void put_scales(float *dst, const float src[HTH_PANEL_ROWS][16], int64_t n) {
    int64_t g = 0;
    for (; g + 8 <= n; g += 8, dst += 128) {
        transpose((const uint8_t *)(src[0] + g), sizeof src[0], (uint8_t *)dst);
        transpose((const uint8_t *)(src[8] + g), sizeof src[0], (uint8_t *)(dst + 8));
    }
    for (; g < n; g++, dst += 16)
        for (int r = 0; r < HTH_PANEL_ROWS; r++) dst[r] = src[r][g];
}

// --- conversion ---

typedef void codes_fn(const uint8_t *block, uint8_t *code, float *d, float *m);

typedef struct rows {
    uint8_t code[HTH_PANEL_ROWS][STEP];
    float d[HTH_PANEL_ROWS][16], m[HTH_PANEL_ROWS][16]; // by group
} rows;

// What turns codes of a type into wide ones, see levels.h: 16 bits, twice.
typedef struct wide_factors {
    int32_t a[16][HTH_PANEL_ROWS], b[16][HTH_PANEL_ROWS]; // by group
} wide_factors;

static HTH_ALWAYS_INLINE vb twice(vb a) {
    return _mm256_blend_epi16(a, _mm256_slli_epi32(a, 16), 0xaa);
}

// Eight rows of n groups, whose numbers lie 16 apart; of `out`, a and b of these rows.
static HTH_ALWAYS_INLINE void find_factors(const float *d, const float *m, int64_t n, hth_q8_range range, int zero,
                                           int32_t *a_out, int32_t *b_out, float *wide_d, float *wide_m) {
    const __m256 c0 = _mm256_set1_ps((float)(range.least - zero)), c1 = _mm256_set1_ps((float)(range.most - zero));
    const __m256 infinity = _mm256_set1_ps(INFINITY), none = _mm256_setzero_ps();
    __m256 lo = infinity, hi = _mm256_set1_ps(-INFINITY), poison = none;
    for (int64_t g = 0; g < n; g++) {
        __m256 vd = _mm256_load_ps(d + 16 * g), vm = _mm256_load_ps(m + 16 * g);
        __m256 x = _mm256_add_ps(_mm256_mul_ps(vd, c0), vm), y = _mm256_add_ps(_mm256_mul_ps(vd, c1), vm);
        poison = _mm256_add_ps(poison, _mm256_add_ps(_mm256_sub_ps(x, x), _mm256_sub_ps(y, y)));
        lo = _mm256_min_ps(lo, _mm256_min_ps(x, y));
        hi = _mm256_max_ps(hi, _mm256_max_ps(x, y));
    }
    const __m256 step = _mm256_add_ps(_mm256_div_ps(_mm256_sub_ps(hi, lo), _mm256_set1_ps(253.0f)), poison);
    const __m256 finite = _mm256_cmp_ps(step, infinity, _CMP_LT_OQ);
    const __m256 good = _mm256_and_ps(finite, _mm256_cmp_ps(step, _mm256_set1_ps(HTH_Q8_WIDE_LEAST_STEP), _CMP_GE_OQ));
    const __m256 bad = _mm256_andnot_ps(finite, _mm256_set1_ps(NAN));
    _mm256_storeu_ps(wide_d, _mm256_blendv_ps(bad, step, good));
    _mm256_storeu_ps(wide_m, _mm256_blendv_ps(_mm256_add_ps(bad, lo), _mm256_sub_ps(lo, step), good));
    const __m256 f = _mm256_mul_ps(_mm256_div_ps(_mm256_set1_ps(1.0f), step), _mm256_set1_ps(256.0f));
    const vb mask = _mm256_castps_si256(good), base = _mm256_set1_epi32(384), z = _mm256_set1_epi32(zero);
    for (int64_t g = 0; g < n; g++) {
        vb a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_load_ps(d + 16 * g), f));
        vb b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_sub_ps(_mm256_load_ps(m + 16 * g), lo), f));
        b = _mm256_sub_epi32(_mm256_add_epi32(b, base), _mm256_mullo_epi32(a, z));
        store((uint8_t *)(a_out + 16 * g), and(twice(a), mask));
        store((uint8_t *)(b_out + 16 * g), and(twice(b), mask));
    }
}

// The numbers for 32 codes from group g on, in the order of the codes: the lower half of a register has the first 16.
static HTH_ALWAYS_INLINE vb of_groups(const int32_t (*a)[HTH_PANEL_ROWS], int64_t g, int64_t r, const int group) {
    vb all = _mm256_set1_epi32(a[g][r]);
    return group == 32 ? all : _mm256_blend_epi32(all, _mm256_set1_epi32(a[g + 1][r]), 0xf0);
}

static HTH_ALWAYS_INLINE vb widen_16(vb code, vb a, vb b) {
    return _mm256_srli_epi16(_mm256_add_epi16(_mm256_mullo_epi16(code, a), b), 8);
}

static HTH_ALWAYS_INLINE void widen_row(uint8_t *code, const wide_factors *f, int64_t r, int64_t n, const int group) {
    for (int64_t i = 0; i < n; i += 32) {
        const vb a = of_groups(f->a, i / group, r, group), b = of_groups(f->b, i / group, r, group);
        const vb c = load(code + i), none = _mm256_setzero_si256();
        vb low = widen_16(_mm256_unpacklo_epi8(c, none), a, b), high = widen_16(_mm256_unpackhi_epi8(c, none), a, b);
        store(code + i, _mm256_packus_epi16(low, high));
    }
}

// Makes wide codes of all rows, and zeros up to a multiple of 64.
static HTH_ALWAYS_INLINE void widen(rows *a, uint32_t type, int64_t n_row, int64_t n, const int group, const bool has_min,
                                    float *wide_d, float *wide_m) {
    float d[256] __attribute__((aligned(64))), m[256] __attribute__((aligned(64)));
    wide_factors f __attribute__((aligned(64)));
    const int zero = hth_q8_type_of(type).zero;
    const hth_q8_range range = hth_q8_range_of(type);
    put_scales(d, a->d, n / group);
    if (has_min) put_scales(m, a->m, n / group);
    else memset(m, 0, sizeof m);
    for (int h = 0; h < 16; h += 8)
        find_factors(d + h, m + h, n / group, range, zero, f.a[0] + h, f.b[0] + h, wide_d + h, wide_m + h);
    for (int64_t r = 0; r < n_row; r++) {
        if (n == STEP) widen_row(a->code[r], &f, r, STEP, group);
        else widen_row(a->code[r], &f, r, n, group);
        if (n % 64) memset(a->code[r] + n, 0, 32);
    }
}

// A layout as it is known when compiled: blocks, or codes of so many bits in planes.
typedef struct source {
    uint32_t layout;
    codes_fn *codes;
    int len, bytes; // of a block, of 32 columns of planes
    int group;
    bool has_min, wide;
} source;

// Columns c ... c + n - 1 of row r.
static HTH_ALWAYS_INLINE void read_row(const source s, const hth_q8_rows *w, int64_t r, int64_t c, int64_t n, rows *out) {
    const uint8_t *b = w->code + r * w->row_bytes + c / s.len * s.bytes;
    _mm_prefetch((const char *)b + 512, _MM_HINT_T0);
    for (int64_t i = 0; i < n; i += s.len, b += s.bytes)
        s.codes(b, out->code[r] + i, out->d[r] + i / s.group, out->m[r] + i / s.group);
    if (s.layout >= HTH_TYPE_GGML_COUNT) hth_q8_read_scales(s.layout, w, r, c, n, out->d[r], out->m[r]);
}

static HTH_ALWAYS_INLINE void convert(const source s, const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out) {
    rows a __attribute__((aligned(64)));
    if (n_row < HTH_PANEL_ROWS) memset(&a, 0, sizeof a);
    for (int64_t c = 0; c < n_col; c += STEP) {
        int64_t n = n_col - c < STEP ? n_col - c : STEP;
        for (int64_t r = 0; r < n_row; r++) read_row(s, w, r, c, n, &a);
        if (s.wide) widen(&a, s.layout, n_row, n, s.group, s.has_min, out->scale + c / STEP * 16, out->min + c / STEP * 16);
        for (int64_t i = 0; i < (s.wide ? (n + 63) / 64 * 64 : n); i += 32) {
            transpose(a.code[0] + i, STEP, out->code + (c + i) * 16);
            transpose(a.code[8] + i, STEP, out->code + (c + i) * 16 + 32);
        }
        if (!s.wide) put_scales(out->scale + c / s.group * 16, a.d, n / s.group);
        if (!s.wide && s.has_min) put_scales(out->min + c / s.group * 16, a.m, n / s.group);
    }
}

#define FOR_EACH_LAYOUT(X)                                                                                           \
    X(HTH_TYPE_Q4_0, q4_0, 32, 18, 32, false)                                                                        \
    X(HTH_TYPE_Q4_1, q4_1, 32, 20, 32, true)                                                                         \
    X(HTH_TYPE_Q5_0, q5_0, 32, 22, 32, false)                                                                        \
    X(HTH_TYPE_Q5_1, q5_1, 32, 24, 32, true)                                                                         \
    X(HTH_TYPE_Q8_0, q8_0, 32, 34, 32, false)                                                                        \
    X(HTH_TYPE_IQ4_NL, iq4_nl, 32, 18, 32, false)                                                                    \
    X(HTH_TYPE_MXFP4, mxfp4, 32, 17, 32, false)                                                                      \
    X(HTH_TYPE_NVFP4, nvfp4, 64, 36, 16, false)                                                                      \
    X(HTH_TYPE_Q1_0, q1_0, 128, 18, 32, false)                                                                       \
    X(HTH_TYPE_Q2_0, q2_0, 64, 18, 32, false)                                                                        \
    X(HTH_TYPE_Q2_K, q2_k, 256, 84, 16, true)                                                                        \
    X(HTH_TYPE_Q3_K, q3_k, 256, 110, 16, false)                                                                      \
    X(HTH_TYPE_Q4_K, q4_k, 256, 144, 32, true)                                                                       \
    X(HTH_TYPE_Q5_K, q5_k, 256, 176, 32, true)                                                                       \
    X(HTH_TYPE_Q6_K, q6_k, 256, 210, 16, false)                                                                      \
    X(HTH_TYPE_IQ4_XS, iq4_xs, 256, 136, 32, false)                                                                  \
    X(HTH_TYPE_IQ2_XXS, iq2_xxs, 256, 66, 32, false)                                                                 \
    X(HTH_TYPE_IQ2_XS, iq2_xs, 256, 74, 16, false)                                                                   \
    X(HTH_TYPE_IQ2_S, iq2_s, 256, 82, 16, false)                                                                     \
    X(HTH_TYPE_IQ3_XXS, iq3_xxs, 256, 98, 32, false)                                                                 \
    X(HTH_TYPE_IQ3_S, iq3_s, 256, 110, 32, false)                                                                    \
    X(HTH_TYPE_IQ1_S, iq1_s, 256, 50, 32, false)                                                                     \
    X(HTH_TYPE_IQ1_M, iq1_m, 256, 56, 16, false)                                                                     \
    X(HTH_TYPE_TQ1_0, tq1_0, 256, 54, 32, false)                                                                     \
    X(HTH_TYPE_TQ2_0, tq2_0, 256, 66, 32, false)                                                                     \
    X(HTH_Q8_AFFINE_2, affine_2, 32, 8, 32, true)                                                                    \
    X(HTH_Q8_AFFINE_3, affine_3, 32, 12, 32, true)                                                                   \
    X(HTH_Q8_AFFINE_4, affine_4, 32, 16, 32, true)                                                                   \
    X(HTH_Q8_AFFINE_5, affine_5, 32, 20, 32, true)                                                                   \
    X(HTH_Q8_AFFINE_6, affine_6, 32, 24, 32, true)                                                                   \
    X(HTH_Q8_AFFINE_8, affine_8, 32, 32, 32, true)                                                                   \
    X(HTH_Q8_E2M1, e2m1, 32, 16, 32, false)                                                                          \
    X(HTH_Q8_E2M1_16, e2m1, 32, 16, 16, false)

#define DEFINE_PANEL(L, t, len, bytes, group, has_min, wide, name)                                                   \
    static void name(const hth_q8_rows *w, int64_t n_row, int64_t n_col, const hth_panel *out) {                     \
        convert((source){L, codes_##t, len, bytes, group, has_min, wide}, w, n_row, n_col, out);                     \
    }
#define DEFINE_BOTH(L, t, len, bytes, group, has_min)                                                                \
    DEFINE_PANEL(L, t, len, bytes, group, has_min, false, panel_##t##_##group##_avx2)                                \
    DEFINE_PANEL(L, t, len, bytes, group, has_min, true, panel_wide_##t##_##group##_avx2)
FOR_EACH_LAYOUT(DEFINE_BOTH)
#undef DEFINE_PANEL
#undef DEFINE_BOTH

// --- activations ---

// Sums of each sixteen of 32 signed bytes.
static HTH_ALWAYS_INLINE void put_sums(int32_t *sum, vb q) {
    vb pairs = _mm256_maddubs_epi16(set(1), q);
    vb fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
    fours = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0xb1));
    sum[0] = _mm256_extract_epi32(fours, 0);
    sum[1] = _mm256_extract_epi32(fours, 4);
}

static HTH_ALWAYS_INLINE uint32_t largest_of(vb a) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

static void quantize_avx2(const float *x, int64_t n, int8_t *q, float *d, int32_t *sum) {
    const vb magnitude = _mm256_set1_epi32(0x7fffffff), order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
    for (int64_t i = 0; i < n; i += 32, x += 32, q += 32, d++, sum += 2) {
        __m256 v[4];
        vb a = _mm256_setzero_si256(), w[4];
        HTH_UNROLL for (int j = 0; j < 4; j++) {
            v[j] = _mm256_loadu_ps(x + 8 * j);
            a = _mm256_max_epi32(a, and(_mm256_castps_si256(v[j]), magnitude));
        }
        uint32_t largest = largest_of(a); // as bits: NaN above infinity above numbers
        float step = largest < 0x7f800000 ? hth_f32_from_bits(largest) / 127.0f : hth_f32_from_bits(0x7fc00000);
        if (step < 0x1p-126f) step = 0;
        *d = step;
        HTH_UNROLL for (int j = 0; j < 4; j++) w[j] = _mm256_cvtps_epi32(_mm256_div_ps(v[j], _mm256_set1_ps(step)));
        vb packed = _mm256_packs_epi16(_mm256_packs_epi32(w[0], w[1]), _mm256_packs_epi32(w[2], w[3]));
        packed = _mm256_permutevar8x32_epi32(packed, order);
        if (!(step > 0)) packed = _mm256_setzero_si256();
        _mm256_storeu_si256((__m256i *)(void *)q, packed);
        put_sums(sum, packed);
    }
    if (n % 64) memset(q, 0, HTH_Q8_BLOCK);
}

static void quantize_prompt_avx2(const float *x, int64_t n, const hth_q8 *out, int64_t row) {
    const float *d = out->d + row * out->d_stride;
    const int32_t *sum = out->sum + row * 2 * out->d_stride;
    float *wide_sum = out->wide_sum + row * out->wide_stride;
    quantize_avx2(x, n, out->q + row * out->q_stride, out->d + row * out->d_stride, out->sum + row * 2 * out->d_stride);
    for (int64_t i = 0; i < n; i += HTH_Q8_WIDE) {
        float s = 0;
        for (int64_t j = i; j < n && j < i + HTH_Q8_WIDE; j += HTH_Q8_BLOCK, d++, sum += 2) s += *d * (float)(sum[0] + sum[1]);
        *wide_sum++ = s;
    }
}
#endif

void hth_q8_panel_avx2(hth_q8_kernels *k) {
#if defined(__x86_64__)
    k->quantize = quantize_avx2;
    k->quantize_prompt = quantize_prompt_avx2;
#define SET_PANEL(L, t, len, bytes, group, has_min) k->panel[L] = panel_##t##_##group##_avx2;
    FOR_EACH_LAYOUT(SET_PANEL)
#undef SET_PANEL
#else
    (void)k;
#endif
}

void hth_q8_panel_wide_avx2(hth_q8_kernels *k, hth_q8_wide wide) {
#if defined(__x86_64__)
    for (uint32_t t = 0; t < HTH_Q8_LAYOUTS; t++) k->panel_type[t] = hth_q8_panel_type_of(t, wide);
#define SET_PANEL(L, t, len, bytes, per, has_min)                                                                    \
    if (k->panel_type[L].group == HTH_Q8_WIDE) k->panel[L] = panel_wide_##t##_##per##_avx2;
    FOR_EACH_LAYOUT(SET_PANEL)
#undef SET_PANEL
#else
    (void)k, (void)wide;
#endif
}
