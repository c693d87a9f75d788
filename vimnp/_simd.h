/* A vector of neighbouring channels, and exp, softplus and silu on it.
 *
 * Included once for each instruction set by _isa.h, which sets
 *     ISA         one of ISA_SCALAR, ISA_SSE2, ISA_AVX2, ISA_AVX512, ISA_NEON
 *     FN(name)    name with the instruction set's suffix
 * so there is no include guard. The kernels above this file are the same source everywhere.
 */

#undef W

/* ---- The vector type: W floats -------------------------------------------------------------- */

#if ISA == ISA_SCALAR
#define W 1
typedef float FN(vec);
#else
#if ISA == ISA_AVX512
#define W 16
#elif ISA == ISA_AVX2
#define W 8
#else /* SSE2, NEON */
#define W 4
#endif
/* may_alias and the weak alignment make a plain dereference an unaligned load or store. */
typedef float FN(vec) __attribute__((vector_size(4 * W)));
typedef float FN(unaligned) __attribute__((vector_size(4 * W), aligned(4), may_alias));
#endif

INLINE FN(vec) FN(set1)(float value)
{
#if ISA == ISA_SCALAR
    return value;
#elif ISA == ISA_AVX512
    return (FN(vec))_mm512_set1_ps(value);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_set1_ps(value);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_set1_ps(value);
#else
    return (FN(vec))vdupq_n_f32(value);
#endif
}

/* `lanes` is W for all blocks of channels but the last: there it keeps to the array's end. */
INLINE FN(vec) FN(load)(const float *from, int lanes)
{
#if ISA == ISA_SCALAR
    (void)lanes;
    return *from;
#else
    if (lanes == W)
        return *(const FN(unaligned) *)from;
    FN(vec) some = {0};
    memcpy(&some, from, sizeof(float) * (size_t)lanes);
    return some;
#endif
}

INLINE void FN(store)(float *to, FN(vec) value, int lanes)
{
#if ISA == ISA_SCALAR
    (void)lanes;
    *to = value;
#else
    if (lanes == W)
        *(FN(unaligned) *)to = value;
    else
        memcpy(to, &value, sizeof(float) * (size_t)lanes);
#endif
}

/* a * b + c, rounded once where the instruction set can. */
INLINE FN(vec) FN(fma)(FN(vec) a, FN(vec) b, FN(vec) c)
{
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif ISA == ISA_NEON
    return (FN(vec))vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* The larger and the smaller of the two; NaN if x is NaN, whatever the limit. */
INLINE FN(vec) FN(at_least)(FN(vec) x, float limit)
{
    FN(vec) bound = FN(set1)(limit);
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_max_ps((__m512)bound, (__m512)x); /* NaN: the second operand */
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_max_ps((__m256)bound, (__m256)x);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_max_ps((__m128)bound, (__m128)x);
#elif ISA == ISA_NEON
    return (FN(vec))vmaxq_f32((float32x4_t)bound, (float32x4_t)x);
#else
    return bound > x ? bound : x;
#endif
}

INLINE FN(vec) FN(at_most)(FN(vec) x, float limit)
{
    FN(vec) bound = FN(set1)(limit);
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_min_ps((__m512)bound, (__m512)x);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_min_ps((__m256)bound, (__m256)x);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_min_ps((__m128)bound, (__m128)x);
#elif ISA == ISA_NEON
    return (FN(vec))vminq_f32((float32x4_t)bound, (float32x4_t)x);
#else
    return bound < x ? bound : x;
#endif
}

/* ---- exp2, exp, softplus, silu --------------------------------------------------------------
 *
 * Errors of exp, softplus and silu, in units in the last place (ulp): at most 4 + |x| / 4 with an
 * instruction set that has fused multiply-add (AVX2, AVX-512, NEON) and 4 + 5 |x| / 4 without; |x|
 * multiplies the rounding of x * log2 e. tests/test_vector_functions.py holds every instruction set
 * to that over the whole of float32. More precision was tried: 4 ulp everywhere cost the scan 4 %.
 *
 * Results below 2^-100 may be zero: silu is below -88. Without AVX-512, exp is infinite above 88.376,
 * half a binade early. NaN gives NaN.
 */

/* 2^f for f in [-0.5, 0.5]: the polynomial of degree 5 with p(0) = 1 whose largest relative error
 * is least, 9.1e-8 (solved as a linear programme over a fine Chebyshev grid). p(0) = 1 keeps a
 * step of size zero exact: exp(0) = 1. */
INLINE FN(vec) FN(exp2_polynomial)(FN(vec) f)
{
    FN(vec) p = FN(set1)(1.3264652e-3f);
    p = FN(fma)(p, f, FN(set1)(9.6715113e-3f));
    p = FN(fma)(p, f, FN(set1)(5.5507340e-2f));
    p = FN(fma)(p, f, FN(set1)(2.4022242e-1f));
    p = FN(fma)(p, f, FN(set1)(6.9314698e-1f));
    return FN(fma)(p, f, FN(set1)(1.0f));
}

/* A whole number n near x, in a form for the next two functions. AVX-512 has instructions for it.
 * Elsewhere, adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits of the sum;
 * the 127 more is the exponent's bias, so that those bits, moved up, are the float 2^n. n may run
 * from -127 (exponent 0: zero) to 128 (infinity). */
#ifndef ROUNDING
#define ROUNDING (12582912.0f + 127.0f)
#endif

INLINE FN(vec) FN(rounded)(FN(vec) x)
{
#if ISA == ISA_AVX512
    const int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return (FN(vec))_mm512_roundscale_ps((__m512)x, nearest);
#else
    return x + ROUNDING;
#endif
}

INLINE FN(vec) FN(whole)(FN(vec) rounded)
{
#if ISA == ISA_AVX512
    return rounded;
#else
    return rounded - ROUNDING;
#endif
}

/* p * 2^n */
INLINE FN(vec) FN(scaled)(FN(vec) p, FN(vec) rounded)
{
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_scalef_ps((__m512)p, (__m512)rounded);
#elif ISA == ISA_AVX2
    return p * (FN(vec))_mm256_slli_epi32((__m256i)rounded, 23);
#elif ISA == ISA_SSE2
    return p * (FN(vec))_mm_slli_epi32((__m128i)rounded, 23);
#elif ISA == ISA_NEON
    return p * (FN(vec))vshlq_n_u32((uint32x4_t)rounded, 23);
#else
    uint32_t bits;
    float power;
    memcpy(&bits, &rounded, sizeof bits);
    bits <<= 23;
    memcpy(&power, &bits, sizeof power);
    return p * power;
#endif
}

INLINE FN(vec) FN(exp2)(FN(vec) x)
{
#if ISA != ISA_AVX512
    x = FN(at_most)(FN(at_least)(x, -127.0f), 128.0f);
#endif
    const FN(vec) rounded = FN(rounded)(x);
    return FN(scaled)(FN(exp2_polynomial)(x - FN(whole)(rounded)), rounded);
}

#ifndef LOG2_E
#define LOG2_E 1.44269504f
#endif

/* Beyond these exp is zero and infinity; within, `rounded` works. */
#undef LEAST_EXPONENT
#undef MOST_EXPONENT
#if ISA == ISA_AVX512
#define LEAST_EXPONENT -104.0f
#define MOST_EXPONENT 89.0f
#else
#define LEAST_EXPONENT -88.0f
#define MOST_EXPONENT 88.7228f
#endif

INLINE FN(vec) FN(exp)(FN(vec) x)
{
    x = FN(at_most)(FN(at_least)(x, LEAST_EXPONENT), MOST_EXPONENT);
    const FN(vec) rounded = FN(rounded)(x * LOG2_E);
    /* The product once more: rounded with the difference, not before it, it costs no precision. */
    const FN(vec) fraction = FN(fma)(x, FN(set1)(LOG2_E), -FN(whole)(rounded));
    return FN(scaled)(FN(exp2_polynomial)(fraction), rounded);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(e) with e = exp(-|x|) in (0, 1].
 *
 * log1p(e) = 2 artanh(s) with s = e / (2 + e) in (0, 1/3], and artanh(s) / s is a smooth function
 * of s^2: minimax of degree 4, relative error 4.5e-9. Unlike log(1 + e) it keeps its relative
 * precision for small e. Above 20, where PyTorch's softplus turns into the identity, the second
 * term is below half a unit in the last place, so the two agree. */
INLINE FN(vec) FN(softplus)(FN(vec) x)
{
    const FN(vec) positive = FN(at_least)(x, 0.0f);
    const FN(vec) e = FN(exp)(FN(at_most)(x, 0.0f) - positive);
    const FN(vec) s = e / (e + 2.0f);
    const FN(vec) q = s * s;
    FN(vec) p = FN(set1)(0.28011986f);
    p = FN(fma)(p, q, FN(set1)(0.28001805f));
    p = FN(fma)(p, q, FN(set1)(0.40021527f));
    p = FN(fma)(p, q, FN(set1)(0.66666416f));
    p = FN(fma)(p, q, FN(set1)(2.0f));
    return FN(fma)(p, s, positive);
}

INLINE FN(vec) FN(silu)(FN(vec) x)
{
    return x / (FN(exp)(-x) + 1.0f);
}
