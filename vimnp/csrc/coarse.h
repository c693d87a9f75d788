/* 2^x, softplus and silu on vectors to four digits, for networks in int8 mode: their products err by seventy
 * times as much. Included once for each instruction set, after exp.h.
 *
 * Largest relative errors, over all of float32 whose results are 2^-100 or more:
 *     2^x        1.1e-4; of 1 - 2^x, by which a state decays, 3.3e-4
 *     softplus   1.7e-4
 *     silu       1.1e-4, on ARM 1.2e-4
 * Results below err by at most 1e-34. NaN gives NaN, and infinities the limits.
 *
 * A scan's y is right to 1e-4 (root mean square), and does not drift: after 4,097 tokens of slow decays it is
 * within 1e-3. That is why it is no polynomial of degree 2, and no table without a polynomial: they make all
 * decays near 1 wrong in the same way. bench/peers/int8 measures what it saves of the scan.
 */

/* 2^f for f in [-0.5, 0.5] by a polynomial of degree 3 with p(0) = 1, which keeps a step of size zero exact. It
 * has the least largest error of 1 - 2^x over all x < 0, or of 2^f three times if that is more (solved as a
 * linear programme over a fine Chebyshev grid). */
INLINE FN(vec) FN(coarse_polynomial)(FN(vec) f)
{
    FN(vec) p = FN(fma)(FN(set1)(0.05472037f), f, FN(set1)(0.24217869f));
    p = FN(fma)(p, f, FN(set1)(0.69334969f));
    return FN(fma)(p, f, FN(set1)(1.0f));
}

/* 2^(a b) where |a b| <= EXP2_BOUND. */
INLINE FN(vec) FN(coarse_exp2_product)(FN(vec) a, FN(vec) b)
{
    const float rounding = 12582912.0f; /* 1.5 * 2^23 */
#if ISA == ISA_AVX512
    /* The product by itself, as in exp2_product of exp.h. */
    const FN(vec) x = (FN(vec))_mm512_mul_round_ps(
        (__m512)a, (__m512)b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const FN(vec) rounded = x + rounding;
    const FN(vec) p = FN(coarse_polynomial)(x - (rounded - rounding));
    return (FN(vec))_mm512_add_epi32((__m512i)p, _mm512_slli_epi32((__m512i)rounded, 23));
#else
    const FN(vec) rounded = FN(fma)(a, b, FN(set1)(rounding));
    const FN(vec) f = FN(fma)(a, b, rounding - rounded);
    return FN(add_exponent)(FN(coarse_polynomial)(f), rounded);
#endif
}

/* log(1 + exp(x)) = max(x, 0) + log1p(e) with e = exp(-|x|), of which log1p is a polynomial, without a
 * division. `e` is room for as many vectors. */
INLINE void FN(coarse_softplus)(FN(vec) *x, FN(vec) *e, int number)
{
    for (int i = 0; i < number; i++)
        e[i] = FN(coarse_exp2_product)(
            FN(at_least)(FN(smaller)(x[i], -x[i]), -86.0f), FN(set1)(LOG2_E));
    for (int i = 0; i < number; i++) {
        FN(vec) p = FN(set1)(0.04134702f);
        p = FN(fma)(p, e[i], FN(set1)(-0.15742699f));
        p = FN(fma)(p, e[i], FN(set1)(0.30630117f));
        p = FN(fma)(p, e[i], FN(set1)(-0.496978f));
        p = FN(fma)(p, e[i], FN(set1)(0.99994329f));
        x[i] = FN(fma)(p, e[i], FN(at_least)(x[i], 0.0f));
    }
}

/* silu(x) = x / (1 + exp(-x)): what x is to be divided by, by the next function. */
INLINE void FN(coarse_silu_divisors)(const FN(vec) *x, FN(vec) *divisors, int number)
{
    for (int i = 0; i < number; i++) {
        const FN(vec) limited = FN(at_most)(FN(at_least)(-x[i], LEAST_EXPONENT), MOST_EXPONENT);
        const FN(vec) rounded = FN(rounded)(limited * LOG2_E);
        const FN(vec) f = FN(fma)(limited, FN(set1)(LOG2_E), -FN(whole)(rounded));
        divisors[i] = FN(scaled)(FN(coarse_polynomial)(f), rounded) + 1.0f;
    }
}

/* x / d for d from 1 to infinity. A division has a unit of its own on x86-64, and costs nothing beside what
 * else there is to do; on the small cores of ARM it costs four vectors' work. There it is the reciprocal of eight
 * bits, and a Newton step that makes them sixteen. */
INLINE FN(vec) FN(coarse_quotient)(FN(vec) x, FN(vec) d)
{
#if ISA == ISA_NEON
    const float32x4_t reciprocal = vrecpeq_f32((float32x4_t)d);
    return x * (FN(vec))vmulq_f32(reciprocal, vrecpsq_f32((float32x4_t)d, reciprocal));
#else
    return x / d;
#endif
}
