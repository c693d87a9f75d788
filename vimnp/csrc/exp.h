/* 2^x, exp, softplus and silu on vectors. Included once for each instruction set, after simd.h.
 *
 * Largest errors over all of float32, in units in the last place (bench/vector_accuracy.py on x86-64,
 * with AVX2 and SSE2), for instruction sets with fused multiply-add and without:
 *
 *                 |x| <= 1     |x| <= 10     all x with a result from 2^-100 on
 *     exp         2.4   3.0    4.0    8.8    20.3   64.1
 *     softplus    4.4   4.7    5.0    9.5    15.9   60.0
 *     silu        2.9   2.8    4.5   10.0    18.6   62.7
 *
 * That is at most 3.5 + |x| / 4 with and 3.5 + 5 |x| / 4 without, for softplus a unit more:
 * tests/ops/test_vector_functions.py holds a sample to it. |x| multiplies the rounding of x * log2 e. More
 * precision was tried, and cost the scan time.
 *
 * Below 2^-100, results may be zero and err by at most 3e-36. Without AVX-512, exp is infinite from
 * 88.3763 on, half a binade early. NaN gives NaN, whatever its payload, and infinities the limits.
 */

/* 2^f for f in [-0.5, 0.5]: the polynomial of degree 5 with p(0) = 1 and p'(0) = ln 2 whose largest
 * relative error is least, 1.05e-7 (solved as a linear programme over a fine Chebyshev grid). p(0) = 1
 * keeps a step of size zero exact: exp(0) = 1. The slope keeps slow decays exact, of which thousands are
 * multiplied; for them too, p - 1 is added to 1 in one rounding at the end, since what a second one
 * would lose is always lost the same way. In pairs (Estrin's scheme), because each step of Horner's
 * waits for the one before: that is a product more, and a shorter chain. */
INLINE FN(vec) FN(exp2_polynomial)(FN(vec) f)
{
    const FN(vec) square = f * f;
    const FN(vec) high = FN(fma)(FN(set1)(1.3300600e-3f), f, FN(set1)(9.6696900e-3f));
    const FN(vec) low = FN(fma)(FN(set1)(5.5505580e-2f), f, FN(set1)(2.4022282e-1f));
    const FN(vec) slope = FN(fma)(FN(fma)(high, square, low), f, FN(set1)(6.9314718e-1f));
    return FN(fma)(slope, f, FN(set1)(1.0f));
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
    return (FN(vec))_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
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

#if ISA != ISA_AVX512
/* The low bits of `rounded`, where a float has its exponent. */
INLINE FN(vec) FN(moved_up)(FN(vec) rounded)
{
#if ISA == ISA_AVX2
    return (FN(vec))_mm256_slli_epi32((__m256i)rounded, 23);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_slli_epi32((__m128i)rounded, 23);
#elif ISA == ISA_NEON
    return (FN(vec))vshlq_n_u32((uint32x4_t)rounded, 23);
#else
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    bits <<= 23;
    memcpy(&rounded, &bits, sizeof rounded);
    return rounded;
#endif
}
#endif

/* p * 2^n */
INLINE FN(vec) FN(scaled)(FN(vec) p, FN(vec) rounded)
{
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_scalef_ps((__m512)p, (__m512)rounded);
#else
    return p * FN(moved_up)(rounded);
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

/* 2^(a b) where |a b| <= EXP2_BOUND: without limits to watch. */
#undef EXP2_BOUND
#define EXP2_BOUND 125.0f

#if ISA == ISA_AVX512
/* 2^(j/16) for j = 0 .. 15, as the bits of a float less j << 19: what adding (16 n + j) << 19 undoes,
 * so that the sum is the float 2^(n + j/16). */
static const uint32_t FN(powers)[16] __attribute__((aligned(64))) = {
    0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532,
    0x3f75fed7, 0x3f75583f, 0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c,
    0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d,
};

/* 2^(k/16) from the table, and 2^f for f in [-1/32, 1/32] by the polynomial of degree 3 with p(0) = 1
 * and p'(0) = ln 2 whose p - 1 has the least relative error, 7.5e-8: what matters where a decay is slow.
 * Two products fewer than the polynomial above. A table of 32 would do with a degree less, but for slow
 * decays: the best one's p - 1 is 1e-5 off. */
INLINE FN(vec) FN(exp2_product)(FN(vec) a, FN(vec) b)
{
    const float rounding = 12582912.0f / 16; /* 1.5 * 2^23 / 16: leaves 16ths in the low bits */
    const __m512i powers = _mm512_load_si512(FN(powers));
    /* The product by itself, in a form that the compiler does not fuse into the sums: those have units of
     * their own beside the multiply-adds', of which a state needs most. */
    const FN(vec) x = (FN(vec))_mm512_mul_round_ps(
        (__m512)a, (__m512)b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const FN(vec) rounded = x + rounding;
    const FN(vec) f = x - (rounded - rounding);
    const __m512i k = (__m512i)rounded;
    const __m512i power = _mm512_permutexvar_epi32(k, powers); /* by the four lowest bits of k */
    const FN(vec) scale = (FN(vec))_mm512_add_epi32(power, _mm512_slli_epi32(k, 19));
    const FN(vec) curve = FN(fma)(f, FN(set1)(0.05550346f), FN(set1)(0.24023353f));
    const FN(vec) p = f * FN(fma)(f, curve, FN(set1)(0.6931472f));
    return FN(fma)(scale, p, scale);
}
#else
/* p * 2^n, n in the low bits of `rounded`: added to the exponent of p, which is -1 or 0. */
INLINE FN(vec) FN(add_exponent)(FN(vec) p, FN(vec) rounded)
{
    const FN(vec) n = FN(moved_up)(rounded);
#if ISA == ISA_AVX2
    return (FN(vec))_mm256_add_epi32((__m256i)p, (__m256i)n);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_add_epi32((__m128i)p, (__m128i)n);
#elif ISA == ISA_NEON
    return (FN(vec))vaddq_u32((uint32x4_t)p, (uint32x4_t)n);
#else
    uint32_t bits_of_p, bits_of_n;
    memcpy(&bits_of_p, &p, sizeof bits_of_p);
    memcpy(&bits_of_n, &n, sizeof bits_of_n);
    bits_of_p += bits_of_n;
    memcpy(&p, &bits_of_p, sizeof p);
    return p;
#endif
}

INLINE FN(vec) FN(exp2_product)(FN(vec) a, FN(vec) b)
{
    const float rounding = 12582912.0f; /* 1.5 * 2^23 */
    const FN(vec) rounded = FN(fma)(a, b, FN(set1)(rounding));
    const FN(vec) f = FN(fma)(a, b, rounding - rounded);
    return FN(add_exponent)(FN(exp2_polynomial)(f), rounded);
}
#endif

/* Whether every |a b| <= EXP2_BOUND; not if there is a NaN among them. */
INLINE int FN(is_bounded)(FN(vec) a, FN(vec) b)
{
    const FN(vec) square = (a * b) * (a * b);
    const FN(vec) limit = FN(set1)(EXP2_BOUND * EXP2_BOUND);
#if ISA == ISA_AVX512
    return _mm512_cmp_ps_mask((__m512)square, (__m512)limit, _CMP_LE_OQ) == 0xffff;
#elif ISA == ISA_AVX2
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)square, (__m256)limit, _CMP_LE_OQ)) == 0xff;
#elif ISA == ISA_SSE2
    return _mm_movemask_ps(_mm_cmple_ps((__m128)square, (__m128)limit)) == 0xf;
#elif ISA == ISA_NEON
    return vminvq_u32(vcleq_f32((float32x4_t)square, (float32x4_t)limit)) != 0;
#else
    return square <= limit;
#endif
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

/* Softplus and silu take some vectors and go over them operation by operation: each is a chain of some thirty
 * instructions that wait for each other, and a CPU looks only so far ahead; in short loops it finds
 * more that can be done at once. */

/* log(1 + exp(x)) = max(x, 0) + log1p(e) with e = exp(-|x|) in (0, 1].
 *
 * log1p(e) = 2 artanh(s) with s = e / (2 + e) in (0, 1/3], and artanh(s) / s is a smooth function
 * of s^2: minimax of degree 4, relative error 4.5e-9. Unlike log(1 + e) it keeps its relative
 * precision for small e. Above 20, where PyTorch's softplus turns into the identity, the second
 * term is below half a unit in the last place, so the two agree. `s` is room for as many vectors. */
INLINE void FN(softplus)(FN(vec) *x, FN(vec) *s, int number)
{
    for (int i = 0; i < number; i++)
        s[i] = FN(exp)(FN(at_most)(x[i], 0.0f) - FN(at_least)(x[i], 0.0f));
    for (int i = 0; i < number; i++)
        s[i] = s[i] / (s[i] + 2.0f);
    for (int i = 0; i < number; i++) {
        const FN(vec) q = s[i] * s[i];
        FN(vec) p = FN(set1)(0.28011986f);
        p = FN(fma)(p, q, FN(set1)(0.28001805f));
        p = FN(fma)(p, q, FN(set1)(0.40021527f));
        p = FN(fma)(p, q, FN(set1)(0.66666416f));
        p = FN(fma)(p, q, FN(set1)(2.0f));
        x[i] = FN(fma)(p, s[i], FN(at_least)(x[i], 0.0f));
    }
}

/* silu(x) = x / (1 + exp(-x)): what x is to be divided by. The quotient is left to the loop that uses
 * it, for one pass less over them. */
INLINE void FN(silu_divisors)(const FN(vec) *x, FN(vec) *divisors, int number)
{
    for (int i = 0; i < number; i++)
        divisors[i] = FN(exp)(-x[i]) + 1.0f;
}
