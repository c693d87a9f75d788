/* AVX-512 and its sums of four products of bytes (VNNI), imitated on machines with AVX2: for tests of the
 * kernels where no machine has them.
 *
 *     CFLAGS="-include $PWD/.ci/imitate/avx512.h" pip install -e .
 *
 * builds the kernels' own source, in which these functions take the place of the compiler's. The results have
 * the bits that the instructions give (Intel's manual, volume 2: check.c beside this file holds them to it);
 * only which of two NaNs comes out of a sum or a product may differ, as it does between two compilers. A
 * function of the compiler that is missing here does not compile: it says that a target does not fit.
 *
 * Vectors of 64 bytes are kept in memory and handled in halves, so the kernels are several times slower.
 */
#ifndef VIMNP_IMITATED
#define VIMNP_IMITATED 1

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__) || defined(__clang__) || !defined(__x86_64__)
#error "the imitation of AVX-512 is written for gcc on x86-64"
#endif

#define IMITATION static inline __attribute__((always_inline, unused, target("avx2,fma")))

/* The two halves of a vector. */
struct imitated_floats { __m256 half[2]; };
struct imitated_ints { __m256i half[2]; };

IMITATION struct imitated_floats imitated_floats(__m512 whole)
{
    struct imitated_floats parts;
    memcpy(&parts, &whole, sizeof parts);
    return parts;
}

IMITATION struct imitated_ints imitated_ints(__m512i whole)
{
    struct imitated_ints parts;
    memcpy(&parts, &whole, sizeof parts);
    return parts;
}

IMITATION __m512 imitated_floats_of(__m256 low, __m256 high)
{
    const struct imitated_floats parts = {{low, high}};
    __m512 whole;
    memcpy(&whole, &parts, sizeof whole);
    return whole;
}

IMITATION __m512i imitated_ints_of(__m256i low, __m256i high)
{
    const struct imitated_ints parts = {{low, high}};
    __m512i whole;
    memcpy(&whole, &parts, sizeof whole);
    return whole;
}

/* IN_HALVES(name, f): what AVX2 does to each half as AVX-512 does it to the whole. */
#define FLOATS_IN_HALVES(name, of_256)                                                            \
    IMITATION __m512 imitated_##name(__m512 a, __m512 b)                                          \
    {                                                                                             \
        const struct imitated_floats x = imitated_floats(a), y = imitated_floats(b);              \
        return imitated_floats_of(of_256(x.half[0], y.half[0]), of_256(x.half[1], y.half[1]));    \
    }
#define INTS_IN_HALVES(name, of_256)                                                              \
    IMITATION __m512i imitated_##name(__m512i a, __m512i b)                                       \
    {                                                                                             \
        const struct imitated_ints x = imitated_ints(a), y = imitated_ints(b);                    \
        return imitated_ints_of(of_256(x.half[0], y.half[0]), of_256(x.half[1], y.half[1]));      \
    }
#define SHIFT_IN_HALVES(name, of_256)                                                             \
    IMITATION __m512i imitated_##name(__m512i a, unsigned count)                                  \
    {                                                                                             \
        const struct imitated_ints x = imitated_ints(a);                                          \
        return imitated_ints_of(of_256(x.half[0], (int)count), of_256(x.half[1], (int)count));    \
    }

/* ---- Constants, and memory ---- */

IMITATION __m512 imitated_set1_ps(float value)
{
    return imitated_floats_of(_mm256_set1_ps(value), _mm256_set1_ps(value));
}

IMITATION __m512i imitated_set1_epi32(int value)
{
    return imitated_ints_of(_mm256_set1_epi32(value), _mm256_set1_epi32(value));
}

IMITATION __m512i imitated_set1_epi16(short value)
{
    return imitated_ints_of(_mm256_set1_epi16(value), _mm256_set1_epi16(value));
}

IMITATION __m512i imitated_loadu_si512(const void *from)
{
    const __m256i *halves = (const __m256i *)from;
    return imitated_ints_of(_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1));
}

/* The instruction stops the process where the address does not fit. */
IMITATION __m512i imitated_load_si512(const void *from)
{
    if ((uintptr_t)from % 64 != 0)
        __builtin_trap();
    return imitated_loadu_si512(from);
}

/* A lane whose bit is not set is neither read nor written; read, it is zero. */
IMITATION __m512 imitated_maskz_loadu_ps(__mmask16 mask, const void *from)
{
    float lanes[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy(lanes + i, (const char *)from + 4 * i, sizeof lanes[i]);
    __m512 result;
    memcpy(&result, lanes, sizeof result);
    return result;
}

IMITATION void imitated_mask_storeu_ps(void *to, __mmask16 mask, __m512 a)
{
    float lanes[16];
    memcpy(lanes, &a, sizeof lanes);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy((char *)to + 4 * i, lanes + i, sizeof lanes[i]);
}

/* ---- Floats ---- */

FLOATS_IN_HALVES(max_ps, _mm256_max_ps) /* b, where one of them is NaN, or both are zero */
FLOATS_IN_HALVES(min_ps, _mm256_min_ps)

IMITATION __m512 imitated_fmadd_ps(__m512 a, __m512 b, __m512 c)
{
    const struct imitated_floats x = imitated_floats(a), y = imitated_floats(b), z = imitated_floats(c);
    return imitated_floats_of(_mm256_fmadd_ps(x.half[0], y.half[0], z.half[0]),
                              _mm256_fmadd_ps(x.half[1], y.half[1], z.half[1]));
}

/* A product that the compiler does not fuse with a sum, as it does not fuse that of the instruction which has
 * its rounding with it. To the nearest is the one way that is imitated. */
IMITATION __m256 imitated_single_product(__m256 a, __m256 b)
{
    __m256 product = _mm256_mul_ps(a, b);
    __asm__("" : "+x"(product));
    return product;
}
FLOATS_IN_HALVES(product, imitated_single_product)

#define imitated_mul_round_ps(a, b, rounding)                                                     \
    (__extension__({                                                                              \
        _Static_assert((rounding) == (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), "rounding"); \
        imitated_product(a, b);                                                                   \
    }))

/* To whole numbers: the upper half of `control`, the number of binary digits after the point, is 0. */
IMITATION __m512 imitated_to_nearest(__m512 a)
{
    const struct imitated_floats x = imitated_floats(a);
    enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return imitated_floats_of(_mm256_round_ps(x.half[0], NEAREST), _mm256_round_ps(x.half[1], NEAREST));
}

#define imitated_roundscale_ps(a, control)                                                        \
    (__extension__({                                                                              \
        _Static_assert((control) == (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), "control");  \
        imitated_to_nearest(a);                                                                   \
    }))

IMITATION float imitated_quiet(float nan)
{
    uint32_t bits;
    memcpy(&bits, &nan, sizeof bits);
    bits |= 1u << 22;
    memcpy(&nan, &bits, sizeof nan);
    return nan;
}

IMITATION int imitated_is_quiet(float nan)
{
    uint32_t bits;
    memcpy(&bits, &nan, sizeof bits);
    return (bits >> 22 & 1) != 0;
}

/* What an invalid operation gives: the sign bit is set. */
IMITATION float imitated_indefinite(void)
{
    const uint32_t bits = 0xffc00000;
    float nan;
    memcpy(&nan, &bits, sizeof nan);
    return nan;
}

/* a * 2^floor(b), rounded once: in double precision the product is exact, and what comes out of floats is
 * decided long before 2^300. Where an infinite b meets a quiet NaN, the NaN is lost. */
static __attribute__((noinline, unused, target("avx2,fma"))) void imitated_scalef_lanes(
    float *out, const float *a, const float *b)
{
    for (int i = 0; i < 16; i++) {
        const float x = a[i], y = b[i];
        const int infinite = __builtin_isinf_sign(y);
        if (__builtin_isnan(x)) {
            if (infinite && imitated_is_quiet(x))
                out[i] = infinite > 0 ? __builtin_inff() : 0.0f;
            else
                out[i] = imitated_quiet(x);
        } else if (__builtin_isnan(y)) {
            out[i] = imitated_quiet(y);
        } else if ((infinite > 0 && x == 0.0f) || (infinite < 0 && __builtin_isinf_sign(x))) {
            out[i] = imitated_indefinite();
        } else {
            const double n = __builtin_fmin(__builtin_fmax(__builtin_floor((double)y), -300.0), 300.0);
            const uint64_t bits = (uint64_t)(1023 + (int64_t)n) << 52;
            double power;
            memcpy(&power, &bits, sizeof power);
            out[i] = (float)((double)x * power);
        }
    }
}

IMITATION __m512 imitated_scalef_ps(__m512 a, __m512 b)
{
    float x[16], y[16], scaled[16];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    imitated_scalef_lanes(scaled, x, y);
    __m512 result;
    memcpy(&result, scaled, sizeof result);
    return result;
}

/* A bit for each lane. A comparison with NaN does not hold. */
IMITATION __mmask16 imitated_less_or_equal(__m512 a, __m512 b)
{
    const struct imitated_floats x = imitated_floats(a), y = imitated_floats(b);
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(x.half[0], y.half[0], _CMP_LE_OQ));
    const int high = _mm256_movemask_ps(_mm256_cmp_ps(x.half[1], y.half[1], _CMP_LE_OQ));
    return (__mmask16)(high << 8 | low);
}

#define imitated_cmp_ps_mask(a, b, predicate)                                                     \
    (__extension__({                                                                              \
        _Static_assert((predicate) == _CMP_LE_OQ, "predicate");                                   \
        imitated_less_or_equal(a, b);                                                             \
    }))

/* ---- Whole numbers ---- */

INTS_IN_HALVES(add_epi32, _mm256_add_epi32)
INTS_IN_HALVES(and_si512, _mm256_and_si256)
INTS_IN_HALVES(max_epi32, _mm256_max_epi32)
INTS_IN_HALVES(madd_epi16, _mm256_madd_epi16)
INTS_IN_HALVES(maddubs_epi16, _mm256_maddubs_epi16)
SHIFT_IN_HALVES(slli_epi32, _mm256_slli_epi32)
SHIFT_IN_HALVES(srli_epi16, _mm256_srli_epi16)

/* Each lane of `from` that a lane of `places` names by its four lowest bits. */
IMITATION __m512i imitated_permutexvar_epi32(__m512i places, __m512i from)
{
    int32_t place[16], lanes[16], chosen[16];
    memcpy(place, &places, sizeof place);
    memcpy(lanes, &from, sizeof lanes);
    for (int i = 0; i < 16; i++)
        chosen[i] = lanes[place[i] & 15];
    __m512i result;
    memcpy(&result, chosen, sizeof result);
    return result;
}

/* To each sum four products of unsigned bytes and signed ones; nothing is cut off before it is added up, as
 * maddubs cuts it off. */
IMITATION __m256i imitated_dpbusd_half(__m256i sums, __m256i bytes, __m256i numbers)
{
    const __m256i even = _mm256_madd_epi16(
        _mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(numbers, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(bytes, 8), _mm256_srai_epi16(numbers, 8));
    return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
}

IMITATION __m512i imitated_dpbusd_epi32(__m512i sums, __m512i bytes, __m512i numbers)
{
    const struct imitated_ints s = imitated_ints(sums), x = imitated_ints(bytes), y = imitated_ints(numbers);
    return imitated_ints_of(imitated_dpbusd_half(s.half[0], x.half[0], y.half[0]),
                            imitated_dpbusd_half(s.half[1], x.half[1], y.half[1]));
}

/* ---- From one kind to another ---- */

IMITATION __m512 imitated_cvtepi32_ps(__m512i a)
{
    const struct imitated_ints x = imitated_ints(a);
    return imitated_floats_of(_mm256_cvtepi32_ps(x.half[0]), _mm256_cvtepi32_ps(x.half[1]));
}

/* The least number of all, where the float is beyond them or NaN. */
IMITATION __m512i imitated_cvtps_epi32(__m512 a)
{
    const struct imitated_floats x = imitated_floats(a);
    return imitated_ints_of(_mm256_cvtps_epi32(x.half[0]), _mm256_cvtps_epi32(x.half[1]));
}

IMITATION __m512i imitated_cvtepu16_epi32(__m256i a)
{
    return imitated_ints_of(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)),
                            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1)));
}

/* The lower bits, whatever was above them. */
IMITATION __m256i imitated_cvtepi32_epi16(__m512i a)
{
    int32_t lanes[16];
    int16_t lower[16];
    memcpy(lanes, &a, sizeof lanes);
    for (int i = 0; i < 16; i++)
        lower[i] = (int16_t)lanes[i];
    return _mm256_loadu_si256((const __m256i *)lower);
}

IMITATION __m128i imitated_cvtepi32_epi8(__m512i a)
{
    int32_t lanes[16];
    int8_t lower[16];
    memcpy(lanes, &a, sizeof lanes);
    for (int i = 0; i < 16; i++)
        lower[i] = (int8_t)lanes[i];
    return _mm_loadu_si128((const __m128i *)lower);
}

/* ---- In the place of the compiler's ---- */

#undef _mm512_set1_ps
#define _mm512_set1_ps imitated_set1_ps
#undef _mm512_set1_epi32
#define _mm512_set1_epi32 imitated_set1_epi32
#undef _mm512_set1_epi16
#define _mm512_set1_epi16 imitated_set1_epi16
#undef _mm512_loadu_si512
#define _mm512_loadu_si512 imitated_loadu_si512
#undef _mm512_load_si512
#define _mm512_load_si512 imitated_load_si512
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps imitated_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps imitated_mask_storeu_ps
#undef _mm512_max_ps
#define _mm512_max_ps imitated_max_ps
#undef _mm512_min_ps
#define _mm512_min_ps imitated_min_ps
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps imitated_fmadd_ps
#undef _mm512_mul_round_ps
#define _mm512_mul_round_ps imitated_mul_round_ps
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps imitated_roundscale_ps
#undef _mm512_scalef_ps
#define _mm512_scalef_ps imitated_scalef_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask imitated_cmp_ps_mask
#undef _mm512_add_epi32
#define _mm512_add_epi32 imitated_add_epi32
#undef _mm512_and_si512
#define _mm512_and_si512 imitated_and_si512
#undef _mm512_max_epi32
#define _mm512_max_epi32 imitated_max_epi32
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 imitated_madd_epi16
#undef _mm512_maddubs_epi16
#define _mm512_maddubs_epi16 imitated_maddubs_epi16
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 imitated_slli_epi32
#undef _mm512_srli_epi16
#define _mm512_srli_epi16 imitated_srli_epi16
#undef _mm512_permutexvar_epi32
#define _mm512_permutexvar_epi32 imitated_permutexvar_epi32
#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32 imitated_dpbusd_epi32
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps imitated_cvtepi32_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 imitated_cvtps_epi32
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 imitated_cvtepu16_epi32
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 imitated_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 imitated_cvtepi32_epi8

#endif
