/* The exact GELU, x * Phi(x) with Phi the normal distribution's: on vectors, and on floats in memory.
 *
 * Included once for each instruction set by kernels.h, after exp.h.
 *
 * gelu(x) = max(x, 0) - |x| Phi(-|x|): nothing cancels, so that small results keep their relative
 * precision, too. Phi(-t) = exp(-t^2 / 2) R(t), where R falls slowly from 1/2 on, as 1 / t does in the
 * end: a quotient of polynomials of degrees 4 and 5 with R(0) = 1/2, relative error 4.2e-9 up to t = 12
 * (nonlinear least squares, reweighted until the largest error was least). All their terms are positive.
 *
 * Largest errors over all floats, in units in the last place (on x86-64, with AVX2 and SSE2), for
 * instruction sets with fused multiply-add and without:
 *
 *                 -1 <= x <= 0    all x < 0 with a result from 2^-100 on     x > 0
 *     gelu        4.3   5.0       7.3   8.4                                  3.6   3.6
 *
 * As a number the error stays below 2.4e-7 up to x = 12. Results below 2^-100 may be zero and err by at
 * most 3e-37. tests/ops/test_vector_functions.py holds a sample to this.
 */

/* Beyond it exp(-t^2 / 2) is below all floats, and comes out as zero; just before, `rounded` works. */
#undef GELU_LIMIT
#if ISA == ISA_AVX512
#define GELU_LIMIT 14.5f
#else
#define GELU_LIMIT 13.27f
#endif

/* exp(-t^2 / 2), as if t^2 were not rounded: t^2 / 2 reaches 88, where half a unit in its last place would be
 * some 60 in the result's. */
INLINE FN(vec) FN(normal_density)(FN(vec) t)
{
    const float factor = -0.72134752f; /* -log2(e) / 2 */
    const FN(vec) square = t * t;
    const FN(vec) rounded = FN(rounded)(square * factor);
#if ISA == ISA_SCALAR || ISA == ISA_SSE2
    /* Without fused multiply-add t is split in two, the first a multiple of 1/128: its square has 22 bits, and
     * n ln 2, with the ln 2 of 16 bits, 23. So each is exact, and their difference is. A compiler that does
     * fuse them changes nothing. */
    const float split = 98304.0f; /* 1.5 * 2^23 / 128 */
    const FN(vec) coarse = (t + split) - split, n = FN(whole)(rounded);
    const FN(vec) high = coarse * (coarse * -0.5f) - n * 0.693145752f;
    const FN(vec) low = (t - coarse) * ((t + coarse) * -0.5f) - n * 1.42860682e-6f; /* ln 2 less its 16 bits */
    const FN(vec) fraction = (high + low) * LOG2_E;
#else
    const FN(vec) low = FN(fma)(t, t, -square); /* what t^2 lost; below, what the factor did */
    FN(vec) fraction = FN(fma)(square, FN(set1)(factor), -FN(whole)(rounded));
    fraction = FN(fma)(low, FN(set1)(factor), fraction);
    fraction = FN(fma)(square, FN(set1)(-9.62981496e-9f), fraction);
#endif
    return FN(scaled)(FN(exp2_polynomial)(fraction), rounded);
}

/* R(t) */
INLINE FN(vec) FN(normal_tail)(FN(vec) t)
{
    FN(vec) p = FN(set1)(3.87459228e-3f), q = FN(set1)(9.71198119e-3f);
    p = FN(fma)(p, t, FN(set1)(3.90037276e-2f));
    q = FN(fma)(q, t, FN(set1)(9.77766997e-2f));
    p = FN(fma)(p, t, FN(set1)(1.78395309e-1f));
    q = FN(fma)(q, t, FN(set1)(4.56693317e-1f));
    p = FN(fma)(p, t, FN(set1)(4.31747229e-1f));
    q = FN(fma)(q, t, FN(set1)(1.18237664f));
    p = FN(fma)(p, t, FN(set1)(0.5f));
    q = FN(fma)(q, t, FN(set1)(1.66137922f));
    return p / FN(fma)(q, t, FN(set1)(1.0f));
}

/* As softplus it goes over some vectors operation by operation. `t` is room for as many. */
INLINE void FN(gelu)(FN(vec) *x, FN(vec) *t, int number)
{
    for (int i = 0; i < number; i++)
        t[i] = FN(at_most)(FN(larger)(x[i], -x[i]), GELU_LIMIT);
    for (int i = 0; i < number; i++)
        t[i] = FN(normal_density)(t[i]) * FN(normal_tail)(t[i]);
    for (int i = 0; i < number; i++) {
        /* -|x|, but of plus infinity a finite number: times zero it is nothing. Of minus infinity the
         * result is NaN, as PyTorch's: minus infinity times zero. */
        const FN(vec) negative = FN(smaller)(x[i], -FN(at_most)(x[i], 1e30f));
        x[i] = FN(fma)(negative, t[i], FN(at_least)(x[i], 0.0f));
    }
}

/* Vectors that are in hand together. */
#undef TOGETHER
#define TOGETHER 8

/* Of neighbouring floats; `out` may be `x`. */
static void FN(gelu_floats)(const float *x, float *out, ptrdiff_t length)
{
    for (ptrdiff_t first = 0; first < length; first += TOGETHER * W) {
        const ptrdiff_t end = length - first < TOGETHER * W ? length : first + TOGETHER * W;
        FN(vec) values[TOGETHER], room[TOGETHER];
        int number = 0;
        for (ptrdiff_t i = first; i < end; i += W)
            values[number++] = FN(load)(x + i, FN(lanes_from)(i, end));
        FN(gelu)(values, room, number);
        number = 0;
        for (ptrdiff_t i = first; i < end; i += W)
            FN(store)(out + i, values[number++], FN(lanes_from)(i, end));
    }
}

/* Of the floats from `begin` to `end` of a struct elements. */
static void FN(gelu_elements)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct elements *e = task;
    FN(gelu_floats)(e->x + begin, e->out + begin, end - begin);
}
